"""What a profile will cost on this machine, measured on a small sample before anything large starts."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groupcc_lite import symmetry
from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers import Budget, Problem, probe_task, seconds_per_step, standard
from groupcc_lite.base import digest, progress_bar
from groupcc_lite.coders import EquivariantSAE, GroupCrosscoder, SecondMoments, SparseAutoencoder, TransformMatrix
from groupcc_lite.groups import cyclic, parse_group
from groupcc_lite.models import IMAGE_SHAPE, TINY_MODELS, BaseModel, ImageAutoencoder, load_model, patch_model
from groupcc_lite.orbits import sample_layers, sample_orbits
from groupcc_lite.runs import (
    KINDS,
    TURNING,
    CurveProfile,
    DepthProfile,
    KeyProfile,
    LayerRecipes,
    Profile,
    Run,
    SceneProfile,
    SceneRun,
    get_curve_profile,
    get_depth_profile,
    get_key_profile,
    get_manifold_profile,
    get_profile,
    get_robust_profile,
    get_savings_profile,
    get_scene_profile,
    get_superposition_profile,
)
from groupcc_lite.stimuli import IMAGE_SUFFIXES, canonical_scenes
from groupcc_lite.studies.answer_plan import answer_studies
from groupcc_lite.studies.costing.timing import seconds_of, training_step
from groupcc_lite.studies.costing.toy_costs import manifold_cost, robust_cost, savings_cost, superposition_cost
from groupcc_lite.studies.depth import WEIGHTS

IMAGENET_TRAIN = 1_281_167  # images in ImageNet-1k's training set, assumed when the `paper` profile gets no folder
SAMPLE_PHOTOS = 800


def cost(profile: str = "book", *, images: str | Path | None = None,
         progress: bool = False) -> dict[str, dict[str, Any]]:
    """Disk, memory and time of a profile's main artefacts, by stage: {"orbits": {...}, "crosscoder": {...}, ...}.

    Times are of one process, extrapolated from timed extractions of two images and single timed training steps;
    untrained weights do, since only shapes matter, so neither weights nor photographs nor internet are needed; a stage
    that needs an extra which is not installed says so. What is shared is counted once, with the stage that comes first.
    `progress`: a bar over the stages, which take a minute or two together.

    >>> cost("large")
    Traceback (most recent call last):
    ValueError: profile is 'large'; expected one of smoke, book, inception, paper
    """
    layer = Run(profile).profile.layer
    run = Run(profile, model=load_model(Run(profile).profile.model, layer, weights="random"))
    stages = _stages(run, _image_count(run.profile.model, run.profile.drawings, images))
    found = {}
    with progress_bar(progress, iterable=stages.items(), desc="timing a step of each", unit="stage") as bar:
        for name, measure in bar:
            bar.set_postfix_str(name)
            try:
                found[name] = measure()
            except ModuleNotFoundError as error:  # an extra that only this stage needs
                found[name] = {"not measured": str(error)}
    return found


def _stages(run: Run, count: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is measured under each name, in the order of the chapters."""
    settings = run.profile
    curve = len(settings.l1_sparsities) + len(settings.topk_ks)
    per_image = functools.cache(lambda: _extraction_seconds(run, run.model))
    per_step = functools.cache(lambda: _crosscoder_seconds(run, run.model, settings.batch_size))
    return {
        "images": lambda: {"count": count, "points each": settings.points_per_image,
                           "training orbits": _training_orbits(settings, count)},
        "orbits": lambda: _orbits_cost(run, count, per_image()),
        "crosscoder": lambda: _crosscoder_cost(run, count, per_step()),
        "sparse autoencoders": lambda: _sae_cost(run),
        "trade-off curve": lambda: {"trainings": curve, "hours": per_step() * settings.curve_steps * curve / 3600},
        "comparison over seeds": lambda: {"trainings": settings.seeds - 1,
                                          "hours": per_step() * settings.steps * (settings.seeds - 1) / 3600},
        "folds": lambda: _fold_cost(run),
        "controls": lambda: _control_cost(run, count, per_image(), per_step()),
        "second set": lambda: _second_set_cost(run, count, per_image(), per_step()),
        "patch-centred pair": lambda: _pair_cost(run, count, per_image()),
        "feature atlas": lambda: _atlas_cost(run),
        "one matrix for the layer": lambda: _layer_transform_cost(run),
        "equivariant SAEs": lambda: scene_cost(get_scene_profile(settings.name), run.device),
        "answer key": lambda: key_cost(get_key_profile(settings.name), run.device),
        "layers of two networks": lambda: depth_cost(get_depth_profile(settings.name), run.device),
        "curve detectors": lambda: curve_cost(get_curve_profile(settings.name), count, run.device),
        "latents and manifolds": lambda: manifold_cost(get_manifold_profile(settings.name), run),
        "what symmetry saves": lambda: savings_cost(get_savings_profile(settings.name), run),
        "superposition toys": lambda: superposition_cost(get_superposition_profile(settings.name)),
        "robust networks": lambda: robust_cost(get_robust_profile(settings.name)),
    }


def _training_orbits(settings: Profile, count: int) -> int:
    return round(count * (1 - settings.held_out)) * settings.points_per_image


def _orbits_cost(run: Run, count: int, per_image: float) -> dict[str, Any]:
    """Orbits that are kept, and if the run streams, those of every batch: all coders are trained from one stream."""
    settings = run.profile
    stored = _stored(count, settings.held_out, settings.store_images)
    passes = stored + _streamed(settings, max(settings.steps, settings.curve_steps))
    row_bytes = run.group.order * run.model.channels * 2
    return {"forward passes": round(passes * run.group.order), "hours": per_image * passes / 3600,
            "disk GB": stored * settings.points_per_image * row_bytes / 1e9}


def _streamed(settings: Profile, steps: int) -> float:
    """Images whose orbits so many training steps compute as they go."""
    return steps * settings.batch_size / settings.points_per_image if settings.stream else 0.0


def _crosscoder_cost(run: Run, count: int, per_step: float) -> dict[str, Any]:
    settings, curve = run.profile, len(run.profile.l1_sparsities) + len(run.profile.topk_ks)
    parameters = sum(p.numel() for p in _crosscoder(run, run.model).parameters())
    return {"parameters": parameters, "steps": settings.steps,
            "epochs": settings.steps * settings.batch_size / _training_orbits(settings, count),
            "hours": per_step * settings.steps / 3600, "disk GB": 4 * parameters * (settings.seeds + curve) / 1e9}


def _sae_cost(run: Run) -> dict[str, Any]:
    """The plain opponents of the crosscoder, one for each seed, trained on single blocks."""
    settings = run.profile
    return {"trainings": settings.seeds, "hours": _sae_seconds(run) * settings.steps * settings.seeds / 3600}


def _sae_seconds(run: Run) -> float:
    """Of one training step."""
    settings = run.profile
    coder = SparseAutoencoder(run.model.channels, settings.latents, activation=settings.activation, k=settings.k)
    x = torch.randn(settings.batch_size, 1, run.model.channels)
    return seconds_of(training_step(coder.to(run.device), x, settings.amp))


def run_cost(run: Run, *, atlas: bool = True) -> dict[str, float]:
    """Hours that a report on a run takes on this machine (`analysis.write_report`), from a few timed steps, by stage.

    Orbits, the coders that are trained, the linear reference, and with `atlas` the pictures, and the sparse autoencoder
    that the atlas compares with. Of a run with a given dictionary only what is trained beside it; of one that reads a
    stream, all coders that it trains together. Nothing that is there already is counted out. Not counted is what takes
    as long as timing it would, or little beside the rest: maps of families, some ten seconds and a few more for each
    thousand features, further passes over stored orbits, such as for the blocks that a given autoencoder gets, and
    figures. `cost` says more, for a profile as it is.

    >>> small = Run("smoke", group="C_4", drawings=4, points_per_image=2, latents=32, batch_size=8)
    >>> list(run_cost(small, atlas=False)), sorted(run_cost(small).keys() - run_cost(small, atlas=False).keys())
    (['orbits', 'crosscoder', 'linear reference'], ['atlas', 'sparse autoencoder'])
    """
    settings, trainings = run.profile, _trainings(run, KINDS if atlas else KINDS[:1])
    steps = {kind: sum(one["steps"] for one in trainings if one["kind"] == kind) for kind in KINDS}
    passes = _stored(len(run.all_images), settings.held_out, settings.store_images)
    read = max if run.together else sum  # of what coders that are trained together read, there is one stream
    passes += _streamed(settings, read([0, *(one["steps"] for one in trainings)]))
    seconds = {"orbits": _extraction_seconds(run, run.model) * passes}
    if steps["crosscoder"]:
        seconds["crosscoder"] = _crosscoder_seconds(run, run.model, settings.batch_size) * steps["crosscoder"]
    if steps["sae"]:
        seconds["sparse autoencoder"] = _sae_seconds(run) * steps["sae"]
    seconds["linear reference"] = _reference_seconds(run)
    if atlas:
        seconds["atlas"] = 3600 * _atlas_cost(run)["hours"]
    return {stage: taken / 3600 for stage, taken in seconds.items()}


def _trainings(run: Run, kinds: Sequence[str]) -> list[Mapping[str, Any]]:
    """Settings of the coders that a run trains when it is asked for these kinds; together, those of all chapters."""
    wanted = [run.recipes.coder(kind) for kind in kinds if run.recipes.trained(kind)]
    if wanted and run.together and run.profile.stream:
        wanted = run.recipes.coders_of_chapters()
    return [artefact.settings for artefact in wanted]


REFERENCE_CHANNELS = 256
"""With how many channels the linear reference is timed at most: sums grow with their square, a fit with the cube."""


def _reference_seconds(run: Run) -> float:
    """Of the linear reference on held-out orbits and on seen ones: sums over all training orbits, and a fit, twice."""
    settings, channels = run.profile, min(run.model.channels, REFERENCE_CHANNELS)
    train, held_out = (len(run.stored_source(part)) * settings.points_per_image for part in ("train", "held-out"))
    batch = min(1024, math.ceil(train / 10))  # as `fitting_batches`
    x, sums = torch.randn(batch, run.group.order, channels), SecondMoments()
    one = seconds_of(lambda: sums.add(x[:, 0], x))
    fit = max(0.0, seconds_of(lambda: symmetry.linear_ceiling([x, x], [x])) - 3 * one)
    larger = run.model.channels / channels
    return 2 * (one * larger**2 * (train + held_out) / batch + fit * larger**3)


def _fold_cost(run: Run) -> dict[str, Any]:
    """Coders of all folds; their orbits are rows of the run's."""
    settings = run.profile
    trainings = settings.folds * settings.fold_seeds
    seconds = _crosscoder_seconds(run, run.model, settings.fold_batch) * settings.fold_steps * trainings
    return {"trainings": trainings, "steps": settings.fold_steps, "hours": seconds / 3600}


def _control_cost(run: Run, count: int, per_image: float, per_step: float) -> dict[str, Any]:
    """Orbits and coders of `Run.control`: of every name for the seeds that the chapter on symmetry compares, and three
    coders of moved images or a conjugated group, which needs orbits of its own."""
    settings, patches = run.profile, patch_model(run.model)
    images, own = _control_images(run, count), settings.control_images is None and settings.control_steps is None
    told = int(settings.model == "tiny-inception")
    of_network = settings.seeds * (1 if own else 2) + told + 3  # without a budget of its own "trained" is the run
    apart = images < count and (settings.stream or settings.store_images is not None)
    extracted = 2 + told + int(apart)  # untrained, conjugated; and trained, if the run does not keep all its orbits
    radius = settings.mask_radius or run.model.geometry.max_mask_radius
    # All seeds of a control read one stream; coders of moved images are trained from the store.
    seconds = _made(run, images, per_image, per_step, extracted, of_network, streams=2 + told + int(not own)) + _made(
        run, images, _extraction_seconds(run, patches, mask_radius=radius),
        _crosscoder_seconds(run, patches, settings.batch_size), 1, settings.seeds, streams=1)
    return {"images": images, "trainings": of_network + settings.seeds, "hours": seconds / 3600}


def _second_set_cost(run: Run, count: int, per_image: float, per_step: float) -> dict[str, Any]:
    """Orbits and a coder of other images, as many as controls have."""
    images = _control_images(run, count)
    return {"images": images, "trainings": 1, "hours": _made(run, images, per_image, per_step, 1, 1, 1) / 3600}


def _made(run: Run, images: int, per_image: float, per_step: float, extracted: int, trainings: int,
          streams: int) -> float:
    """Seconds for stored orbits of so many sets of images, and for coders with the budget of controls, which read so
    many streams if the run streams."""
    settings = run.profile
    steps = settings.control_steps or settings.steps
    passes = extracted * _stored(images, settings.held_out, settings.store_images)
    passes += streams * _streamed(settings, steps)
    return per_image * passes + per_step * steps * trainings


def _control_images(run: Run, count: int) -> int:
    return min(count, run.profile.control_images or count)


PAIR_IMAGES = 240
"""Of how many images the chapter on orbits samples a few points in both ways."""
PAIR_POINTS = 5


def _pair_cost(run: Run, count: int, per_image: float) -> dict[str, Any]:
    """The same points of some images, read between cells and patch-centred, which costs as many crops as points."""
    images = min(count, PAIR_IMAGES)
    centred = _extraction_seconds(run, run.model, registration="patch-centred", points_per_image=PAIR_POINTS)
    return {"images": images, "points each": PAIR_POINTS, "hours": (per_image + centred) * images / 3600}


def _extraction_seconds(run: Run, model: BaseModel, **changes: Any) -> float:
    """Of one image."""
    settings = run.profile
    given = {name: getattr(settings, name) for name in ("mask_radius", "registration", "points_per_image")} | changes
    noise = torch.rand(2, 3, *[run.action.source_size(model.input_size)] * 2)
    return seconds_of(lambda: sample_orbits(model, run.action, noise, **given)) / 2


def _crosscoder(run: Run, model: BaseModel) -> GroupCrosscoder:
    settings = run.profile
    return GroupCrosscoder(run.group, model.channels, settings.latents, activation=settings.activation, k=settings.k)


def _crosscoder_seconds(run: Run, model: BaseModel, batch: int) -> float:
    """Of one training step."""
    x = torch.randn(batch, run.group.order, model.channels)
    return seconds_of(training_step(_crosscoder(run, model).to(run.device), x, run.profile.amp))


def _atlas_cost(run: Run) -> dict[str, Any]:
    """A picture of every feature of two coders, from a few steps of one batch; dead latents count too."""
    settings, steps, size = run.profile, 8, run.model.usable_size(run.profile.atlas_size)
    batch = max(1, min(16, (16 * 64**2) // size**2))  # about as many pixels whatever the size
    directions = torch.randn(batch, run.model.channels)
    seconds = seconds_of(lambda: symmetry.render_features(run.model, directions, size=size, steps=steps,
                                                                   batch=batch, progress=False))
    pictures = 2 * settings.latents
    return {"pictures": pictures, "hours": seconds / (batch * steps) * pictures * settings.atlas_steps / 3600}


def _layer_transform_cost(run: Run) -> dict[str, Any]:
    """M by Adam on the layer's orbits."""
    without_images = LayerRecipes(run.profile, run.seed, model="", images={}, stored={}, action="")
    training, group = without_images.transform_settings("adam"), run.group
    x = torch.randn(training["batch_size"], group.order, run.model.channels)
    model = TransformMatrix(group, run.model.channels).to(run.device)
    return {"steps": training["steps"],
            "hours": seconds_of(training_step(model, x, amp=False)) * training["steps"] / 3600}


def _stored(count: int, held_out: float, limit: int | None) -> int:
    """Images whose orbits are kept on disk."""
    parts = (round(count * (1 - held_out)), round(count * held_out))
    return sum(part if limit is None else min(part, limit) for part in parts)


def _image_count(model: str, drawings: int, images: str | Path | None) -> int:
    if images is not None:
        files = [p for p in Path(images).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise ValueError(f"no image in {images}; give a folder of photographs")
        return len(files)
    return drawings if model in TINY_MODELS else IMAGENET_TRAIN if model == "inceptionv1" else SAMPLE_PHOTOS


# ------------------------------------------------------------------------ studies that are no single run

SCENE_CHANNELS = 256  # width of the base models of scenes


def key_cost(settings: KeyProfile, device: str) -> dict[str, Any]:
    """The answer key, from a few steps of a crosscoder and of the wide SAE; other methods cost at most as much."""
    budget = Budget(orbits=1024)
    whole = standard(group=settings.group, channels=settings.channels)
    part = standard(group=settings.sweep_group, channels=settings.sweep_channels)

    def step(method: str, problem: Problem) -> float:
        return seconds_per_step(method, problem, budget, steps=(1, 4), repeats=1, device=device)

    wide, large, small = (step("wide SAE", whole), step("crosscoder, TopK", whole), step("crosscoder, TopK", part))
    trainings, seconds = 0, 0.0
    for name, study in answer_studies(settings).items():
        for trial in study.trials:
            each = wide if trial.method == "wide SAE" else large if name in ("standard", "drawings") else small
            trainings, seconds = trainings + 1, seconds + each * study.budget.steps
    return {"trainings": trainings, "hours": seconds / 3600}


def scene_cost(settings: SceneProfile, device: str) -> dict[str, Any]:
    """Base models, M, coders and probes of the chapters on equivariant SAEs: a step of each kind, times its steps."""
    made = list(SceneRun(settings).artefacts().values())
    kinds = {kind: [artefact.settings for artefact in made if artefact.kind == kind]
             for kind in ("base-models", "scene-transforms", "scene-coders", "probes")}
    batches = math.ceil(len(canonical_scenes()) * (1 - settings.held_out)) // settings.base_batch
    base = sum(_base_step(kind, settings, device) * batches * settings.base_epochs * settings.seeds
               for kind in settings.base_models)
    # probes of a few latents cost next to nothing
    fits = sum(len(probe["tasks"]) for probe in kinds["probes"] if probe["view"] != "latents")
    training = {kind: _hours(kinds[kind], step, settings, device)
                for kind, step in (("scene-transforms", _transform_step), ("scene-coders", _coder_step))}
    return {"base models": len(kinds["base-models"]), "matrices M": len(kinds["scene-transforms"]),
            "coders": len(kinds["scene-coders"]), "probing tasks": fits, "hours": sum(training.values()) + (
                base + _probe_seconds(settings) * fits / (os.cpu_count() or 1)) / 3600}


def _hours(trainings: list[Mapping[str, Any]], step: Callable[..., float], settings: SceneProfile,
           device: str) -> float:
    """Of trainings with these settings; a step is timed once for all that differ in seed and steps only."""
    seconds: dict[str, float] = {}
    total = 0.0
    for training in trainings:
        kind = digest({key: value for key, value in training.items() if key not in ("seed", "steps")})
        if kind not in seconds:
            seconds[kind] = step(training, settings, device)
        total += seconds[kind] * training["steps"]
    return total / 3600


def _base_step(kind: str, settings: SceneProfile, device: str) -> float:
    images = torch.rand(settings.base_batch, *IMAGE_SHAPE)
    return seconds_of(training_step(ImageAutoencoder(kind).to(device), images, settings.base_amp))


def _transform_step(training: Mapping[str, Any], settings: SceneProfile, device: str) -> float:
    group = cyclic(4)
    x = torch.randn(training["batch_size"], group.order, SCENE_CHANNELS)
    model = TransformMatrix(group, SCENE_CHANNELS).to(device)
    return seconds_of(training_step(model, x, amp=False, relations=training["relations"]))


def _coder_step(training: Mapping[str, Any], settings: SceneProfile, device: str) -> float:
    """Of one of `scene_run.CODERS`; those with M read whole orbits, a quarter as many."""
    build: dict[str, Any] = dict(activation="topk", k=training["k"], hidden=training["hidden"])
    order, coder = 1, SparseAutoencoder(SCENE_CHANNELS, training["latents"], **build)
    if training["name"] in TURNING:
        group = cyclic(4)
        order, coder = group.order, EquivariantSAE(group, SCENE_CHANNELS, training["latents"], **build,
                                                   transform=TransformMatrix(group, SCENE_CHANNELS))
    x = torch.randn(max(1, training["batch_size"] // order), order, SCENE_CHANNELS)
    return seconds_of(training_step(coder.to(device), x, training["amp"]))


def _probe_seconds(settings: SceneProfile) -> float:
    """Of one task."""
    shape = (settings.probe_train + settings.probe_test, SCENE_CHANNELS)
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    labels, split = features[:, 0] > 0, np.split(np.arange(len(features)), [settings.probe_train])
    parts = [array[part] for array in (features, labels) for part in split]
    return seconds_of(lambda: probe_task(*parts))


def depth_cost(settings: DepthProfile, device: str) -> dict[str, Any]:
    """Orbits and coders of many layers: every image is read once for all layers of a network, with either weights.

    >>> from groupcc_lite.runs import get_depth_profile
    >>> sorted(depth_cost(get_depth_profile("smoke"), "cpu"))
    ['hours', 'images', 'layers', 'trainings']
    """
    group, seconds, layers = parse_group(settings.group), 0.0, 0
    for network, names in settings.networks:
        models = [load_model(network, name, weights="random").to(device) for name in names]
        seconds += _layers_seconds(models, PlanarAction(group), settings) * settings.images
        seconds += _coder_seconds(models, settings, device)
        layers += len(names)
    return {"images": settings.images, "layers": layers * len(WEIGHTS),
            "trainings": layers * len(WEIGHTS) * settings.seeds, "hours": seconds * len(WEIGHTS) / 3600}


def _coder_seconds(models: Sequence[BaseModel], settings: DepthProfile, device: str) -> float:
    """Of the coders of all layers. A step's time grows with the channels, so the widest layer says it of all."""
    group, channels = parse_group(settings.group), [model.channels for model in models]
    coder = GroupCrosscoder(group, max(channels), settings.latents, activation="batchtopk", k=settings.k).to(device)
    x = torch.randn(settings.batch_size, group.order, max(channels))
    step = seconds_of(training_step(coder, x, get_profile("book").amp))
    return step * sum(channels) / max(channels) * settings.steps * settings.seeds


def _layers_seconds(models: Sequence[BaseModel], action: PlanarAction, settings: DepthProfile) -> float:
    """Of one image, for all layers of a network."""
    return _image_seconds(models, action, settings.points_per_image, settings.mask_radius)


def _image_seconds(models: Sequence[BaseModel], action: PlanarAction, points: int, radius: float) -> float:
    noise = torch.rand(2, 3, *[action.source_size(models[0].input_size)] * 2)
    return seconds_of(lambda: sample_layers(models, action, noise, points_per_image=points, mask_radius=radius)) / 2


def curve_cost(settings: CurveProfile, count: int, device: str) -> dict[str, Any]:
    """The chapter on curve detectors: `count` images once, some in all orientations, arcs, and SAEs of every layer.

    The crosscoder is counted with the chapters on one layer; pictures and maps are left out.

    >>> from groupcc_lite.runs import get_curve_profile
    >>> sorted(curve_cost(get_curve_profile("smoke"), 20, "cpu"))
    ['arcs', 'hours', 'images', 'trainings']
    """
    models = [load_model(settings.network, layer, weights="random").to(device) for layer in settings.layers]
    radius, group = models[-1].geometry.max_mask_radius, parse_group(get_profile(settings.name).group)
    once, turned = (_image_seconds(models, PlanarAction(G), points, radius) for G, points in (
        (cyclic(1), settings.points_per_image), (group, settings.turned_points)))
    arcs = 4 * (1 + len(settings.radii)) * settings.directions
    # Trained and random weights each; arcs are shown once more as noise.
    seconds = 2 * (once * count + turned * min(settings.turned_images, count)) + 3 * once * arcs
    kinds = (dict(activation="relu"), dict(activation="topk", k=settings.k))
    trainings = [(model, kind) for model in models for kind in kinds] + [(models[-1], kinds[1])]
    for model, kind in trainings:
        coder = SparseAutoencoder(model.channels, settings.latents, **kind).to(device)
        x = torch.randn(settings.batch_size, 1, model.channels)
        seconds += seconds_of(training_step(coder, x, get_profile("book").amp)) * settings.steps * settings.seeds
    return {"images": count, "arcs": arcs, "trainings": len(trainings) * settings.seeds, "hours": seconds / 3600}
