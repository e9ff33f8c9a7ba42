"""What a profile will cost on this machine, measured on a small sample before anything large starts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from groupcc_lite import symmetry
from groupcc_lite.base import progress_bar
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder, TransformMatrix
from groupcc_lite.models import TINY_MODELS, BaseModel, load_model, patch_model
from groupcc_lite.orbits import sample_orbits
from groupcc_lite.runs import timed_steps
from groupcc_lite.runs.layer_run import Run
from groupcc_lite.runs.profiles import Profile, get_depth_profile, get_key_profile, get_scene_profile
from groupcc_lite.runs.recipes import LayerRecipes
from groupcc_lite.runs.study_costs import depth_cost, key_cost, scene_cost
from groupcc_lite.stimuli import IMAGE_SUFFIXES

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
    }


def _training_orbits(settings: Profile, count: int) -> int:
    return round(count * (1 - settings.held_out)) * settings.points_per_image


def _orbits_cost(run: Run, count: int, per_image: float) -> dict[str, Any]:
    """Orbits that are kept, and if the run streams, those of every batch of every coder."""
    settings, curve = run.profile, len(run.profile.l1_sparsities) + len(run.profile.topk_ks)
    trained = settings.steps * settings.seeds * 2 + settings.curve_steps * curve  # both kinds of coder, every seed
    stored = _stored(count, settings.held_out, settings.store_images)
    passes = stored + (trained * settings.batch_size / settings.points_per_image if settings.stream else 0)
    row_bytes = run.group.order * run.model.channels * 2
    return {"forward passes": round(passes * run.group.order), "hours": per_image * passes / 3600,
            "disk GB": stored * settings.points_per_image * row_bytes / 1e9}


def _crosscoder_cost(run: Run, count: int, per_step: float) -> dict[str, Any]:
    settings, curve = run.profile, len(run.profile.l1_sparsities) + len(run.profile.topk_ks)
    parameters = sum(p.numel() for p in _crosscoder(run, run.model).parameters())
    return {"parameters": parameters, "steps": settings.steps,
            "epochs": settings.steps * settings.batch_size / _training_orbits(settings, count),
            "hours": per_step * settings.steps / 3600, "disk GB": 4 * parameters * (settings.seeds + curve) / 1e9}


def _sae_cost(run: Run) -> dict[str, Any]:
    """The plain opponents of the crosscoder, one for each seed, trained on single blocks."""
    settings = run.profile
    coder = SparseAutoencoder(run.model.channels, settings.latents, activation=settings.activation, k=settings.k)
    x = torch.randn(settings.batch_size, 1, run.model.channels)
    step = timed_steps.seconds(timed_steps.training_step(coder.to(run.device), x, settings.amp))
    return {"trainings": settings.seeds, "hours": step * settings.steps * settings.seeds / 3600}


def run_cost(run: Run) -> dict[str, float]:
    """Hours that a run's orbits, crosscoder and atlas take on this machine, from a few timed steps, by stage.

    Nothing that is there already is counted out. `cost` says more, for a profile as it is.

    >>> sorted(run_cost(Run("smoke", group="C_4", drawings=4, points_per_image=2, latents=32, batch_size=8)))
    ['atlas', 'crosscoder', 'orbits']
    """
    settings, count = run.profile, len(run.all_images)
    per_image, per_step = _extraction_seconds(run, run.model), _crosscoder_seconds(run, run.model, settings.batch_size)
    passes = _stored(count, settings.held_out, settings.store_images)
    if settings.stream:
        passes += settings.steps * settings.batch_size / settings.points_per_image
    return {"orbits": per_image * passes / 3600, "crosscoder": per_step * settings.steps / 3600,
            "atlas": _atlas_cost(run)["hours"]}


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
    seconds = _made(run, images, per_image, per_step, extracted, of_network) + _made(
        run, images, _extraction_seconds(run, patches, mask_radius=radius),
        _crosscoder_seconds(run, patches, settings.batch_size), 1, settings.seeds)
    return {"images": images, "trainings": of_network + settings.seeds, "hours": seconds / 3600}


def _second_set_cost(run: Run, count: int, per_image: float, per_step: float) -> dict[str, Any]:
    """Orbits and a coder of other images, as many as controls have."""
    images = _control_images(run, count)
    return {"images": images, "trainings": 1, "hours": _made(run, images, per_image, per_step, 1, 1) / 3600}


def _made(run: Run, images: int, per_image: float, per_step: float, extracted: int, trainings: int) -> float:
    """Seconds for stored orbits of so many sets of images, and for coders with the budget of controls."""
    settings = run.profile
    steps = trainings * (settings.control_steps or settings.steps)
    passes = extracted * _stored(images, settings.held_out, settings.store_images)
    passes += steps * settings.batch_size / settings.points_per_image if settings.stream else 0
    return per_image * passes + per_step * steps


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
    return timed_steps.seconds(lambda: sample_orbits(model, run.action, noise, **given)) / 2


def _crosscoder(run: Run, model: BaseModel) -> GroupCrosscoder:
    settings = run.profile
    return GroupCrosscoder(run.group, model.channels, settings.latents, activation=settings.activation, k=settings.k)


def _crosscoder_seconds(run: Run, model: BaseModel, batch: int) -> float:
    """Of one training step."""
    x = torch.randn(batch, run.group.order, model.channels)
    return timed_steps.seconds(timed_steps.training_step(_crosscoder(run, model).to(run.device), x, run.profile.amp))


def _atlas_cost(run: Run) -> dict[str, Any]:
    """A picture of every feature of two coders, from a few steps of one batch; dead latents count too."""
    settings, steps, size = run.profile, 8, run.model.usable_size(run.profile.atlas_size)
    batch = max(1, min(16, (16 * 64**2) // size**2))  # about as many pixels whatever the size
    directions = torch.randn(batch, run.model.channels)
    seconds = timed_steps.seconds(lambda: symmetry.render_features(run.model, directions, size=size, steps=steps,
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
            "hours": timed_steps.seconds(timed_steps.training_step(model, x, amp=False)) * training["steps"] / 3600}


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
