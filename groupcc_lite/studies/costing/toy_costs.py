"""What chapters on toys, planted features and robust networks will cost: a few steps of each kind, times its number.

A training has a part that does not grow with its steps, such as the best codes of a learned dictionary; it is timed
apart. What reads a layer's kept orbits, pictures and tables is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers import Budget, Problem, seconds_per_step, standard
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.groups import parse_group
from groupcc_lite.manifolds import FeatureMixture, Learning, SphereToy, learn, loss_curve, spending
from groupcc_lite.models import BaseModel, load_model, load_tiny
from groupcc_lite.orbits import TensorOrbits, sample_orbits
from groupcc_lite.runs import (
    ManifoldProfile,
    Profile,
    RobustProfile,
    Run,
    SavingsProfile,
    SuperpositionProfile,
    get_profile,
)
from groupcc_lite.studies.costing.timing import seconds_of, step_seconds, training_step
from groupcc_lite.studies.manifold_findings import HOLLOW, VARIED, count_families
from groupcc_lite.studies.robust_findings import layer_symmetry, three_versions
from groupcc_lite.studies.robust_study import ROBUST_KINDS
from groupcc_lite.studies.superposition_findings import SHARE, against_exact
from groupcc_lite.studies.symmetry_savings import (
    BROKEN,
    COMPARED,
    HELD_OUT,
    LAYER_CODERS,
    RIVALS,
    broken_size,
    discovered,
    layer_size,
    train_coder,
    unevenness,
)
from groupcc_lite.superposition import SparseFeatures, Toys, measure_toys, train_toys
from groupcc_lite.symmetry import confirmed_census

# ------------------------------------------------------------------------------------- how latents are spent

CIRCLES = (4, 8, 24)
"""Latents of the circles that chapter 18 shows, each trained three times as long as the toys."""
CODED = 64
"""Up to how many latents of a toy best codes are timed."""


def manifold_cost(settings: ManifoldProfile, run: Run) -> dict[str, Any]:
    """Toys on spheres with their best codes, planted features of three kinds, and sparse autoencoders of the layer.

    >>> from groupcc_lite.runs import get_manifold_profile
    >>> sorted(manifold_cost(get_manifold_profile("smoke", sizes=(4,), mixed_points=512), Run("smoke")))
    ['hours', 'layer trainings', 'mixtures', 'toys']
    """
    spheres = [(dim, HOLLOW) for dim in settings.dims] + [(dim, VARIED) for dim in settings.varied_dims]
    toys = [(dim, radius, size) for dim, radius in spheres for size in settings.sizes]
    arms = [(dim, HOLLOW) for dim in settings.mixed_dims] + [(settings.mixed_dims[-1], VARIED)]
    mixtures = [(dim, radius, size) for dim, radius in arms for size in settings.mixed_sizes]
    seconds = sum(_toy_seconds(*toy, settings.toy_steps) for toy in toys) * settings.toy_seeds
    seconds += sum(_toy_seconds(2, HOLLOW, size, 3 * settings.toy_steps) for size in CIRCLES)
    seconds += sum(_mixture_seconds(*mixture, settings) for mixture in mixtures) * settings.mixed_seeds
    seconds += sum(_layer_seconds(latents, settings, run) for latents in settings.latents)
    return {"toys": len(toys) * settings.toy_seeds + len(CIRCLES), "mixtures": len(mixtures) * settings.mixed_seeds,
            "layer trainings": len(settings.latents) * settings.layer_seeds, "hours": seconds / 3600}


def _toy_seconds(dim: int, radius: tuple[float, float], latents: int, steps: int) -> float:
    """Of one autoencoder of a sphere; the best codes are those of one that has hardly learned.

    To prove them takes longest where many latents have learned nothing, so they are timed on a few, and taken to grow
    as the latents do.
    """
    toy, how, few = SphereToy(dim, radius), Learning(steps=20), min(latents, CODED)
    codes = seconds_of(lambda: loss_curve(toy, [few], learning=how)) * latents / few
    x = toy.sample(how.points)
    return codes + steps * step_seconds(lambda count: learn(x, latents, Learning(steps=count)))


def _mixture_seconds(dim: int, radius: tuple[float, float], latents: int, settings: ManifoldProfile) -> float:
    """Of one autoencoder of planted features, their samples and where its latents went."""
    mixture, how = FeatureMixture(settings.features, settings.alpha, dim, radius), Learning()
    x = mixture.sample(4096)
    sae = learn(x, latents, Learning(steps=2, batch_size=512))
    fixed = seconds_of(lambda: (mixture.sample(4096), spending(mixture, sae, x, how.sparsity)))
    step = step_seconds(lambda count: learn(x, latents, Learning(steps=count, batch_size=512)))
    return fixed * settings.mixed_points / len(x) + step * settings.mixed_steps


def _layer_seconds(latents: int, settings: ManifoldProfile, run: Run) -> float:
    """Of the layer's autoencoders with so many latents, and of counting families, which only the first seed's have."""
    given, few = run.profile, min(latents, 256)
    sae = SparseAutoencoder(run.model.channels, latents, activation=given.activation, k=given.k).to(run.device)
    x = torch.randn(given.batch_size, 1, run.model.channels)
    seconds = seconds_of(training_step(sae, x, given.amp)) * settings.layer_steps * settings.layer_seeds
    if latents > settings.most_compared:
        return seconds
    blocks = torch.randn(few, run.group.order, run.model.channels)
    return seconds + 3 * seconds_of(lambda: count_families(blocks, run.group)) * (latents / few) * (latents / few)


# --------------------------------------------------------------------------------------- what symmetry saves

METHODS = ("SAE", "crosscoder, TopK", "block-sparse SAE", "tied crosscoder, TopK", "tied crosscoder, L1")
"""Those of the answer key that chapter 19 scores again."""
PAIRED = 3
"""How often two of the layer's coders are trained once more: on permuted blocks, and on both networks of a control."""


def savings_cost(settings: SavingsProfile, run: Run) -> dict[str, Any]:
    """Coders of planted orbits, of broken symmetry and of the layer; orbits of controls are counted with these.

    >>> from groupcc_lite.runs import get_savings_profile
    >>> sorted(savings_cost(get_savings_profile("smoke", sizes=((8,),)), Run("smoke")))
    ['broken symmetry', 'hours', 'layer trainings', 'planted trainings']
    """
    amounts = [(kind, amount) for kind in BROKEN
               for amount in (settings.amounts if kind == "elements" else settings.few_amounts)]
    trained = len({(kind if amount else "", amount) for kind, amount in amounts}) * settings.broken_seeds
    planted = sum(map(len, settings.sizes)) * len(COMPARED) * settings.seeds
    scored, layer = len(METHODS) * settings.seeds, (len(LAYER_CODERS) + 2 * PAIRED) * settings.layer_seeds
    seconds = sum(_planted_seconds(settings, number) for number in range(len(settings.groups)))
    seconds += _broken_seconds(settings, trained, len(amounts) * settings.broken_seeds)
    seconds += _scored_seconds(settings) + _layer_coder_seconds(settings, run)
    return {"planted trainings": planted + scored, "broken symmetry": trained * (1 + len(RIVALS)),
            "layer trainings": layer, "hours": seconds / 3600}


def _planted_seconds(settings: SavingsProfile, number: int) -> float:
    """Of all coders of a group's planted orbits; these are drawn once for a seed, or each time for more than three."""
    problem = standard(group=settings.groups[number], channels=settings.channels[number], active=settings.active,
                       superposition=settings.superpositions[number], zipf=1 + settings.alpha)
    sizes, draw = settings.sizes[number], _drawing_seconds(problem, settings)
    train, held_out = problem.source(1024), problem.source(HELD_OUT, seed=1)
    seconds = draw * settings.seeds * (1 if settings.seeds <= 3 else len(sizes) * len(COMPARED))
    for name in COMPARED:
        for size in sizes:
            coder = train_coder(name, train, size, settings.k, steps=1, batch_size=settings.batch_size)
            each = seconds_of(lambda coder=coder: discovered(coder, problem, held_out))
            each += settings.steps[number] * _coder_step(name, train, size, settings.k, settings.batch_size)
            seconds += each * settings.seeds
    return seconds


def _drawing_seconds(problem: Problem, settings: SavingsProfile) -> float:
    """Of the orbits for training, and those held out."""
    return seconds_of(lambda: problem.source(1024)) * (settings.orbits + HELD_OUT) / 1024


def _coder_step(name: str, source: TensorOrbits, size: int, k: int, batch: int) -> float:
    return step_seconds(lambda steps: train_coder(name, source, size, k, steps=steps, batch_size=batch))


def _broken_seconds(settings: SavingsProfile, trained: int, measured: int) -> float:
    """Of so many problems with three coders each, and of the two measures on so many."""
    problem = standard(group=settings.broken_group, channels=settings.broken_channels, active=settings.active)
    draw, train = _drawing_seconds(problem, settings), problem.source(1024)
    sizes = {name: broken_size(name, problem) for name in ("tied crosscoder", *RIVALS)}
    steps = sum(_coder_step(RIVALS.get(name, name), train, size, settings.k, settings.batch_size)
                for name, size in sizes.items())
    x, held_out = problem.sample(settings.orbits // 2).blocks, problem.sample(HELD_OUT, seed=1).blocks
    read = seconds_of(lambda: unevenness(x, held_out, problem.group))
    return trained * (len(sizes) * draw + steps * settings.broken_steps) + measured * (draw + read)


def _scored_seconds(settings: SavingsProfile) -> float:
    problem = standard(group="D_4", channels=32, active=settings.active)
    budget = Budget(orbits=1024, lr=settings.lr)
    steps = sum(seconds_per_step(name, problem, budget, steps=(2, 12), repeats=1, device="cpu") for name in METHODS)
    return settings.seeds * (steps * settings.broken_steps + len(METHODS) * _drawing_seconds(problem, settings))


def _layer_coder_seconds(settings: SavingsProfile, run: Run) -> float:
    """Of the layer's coders, of which two are trained again and again."""
    source = TensorOrbits(torch.randn(settings.layer_batch, run.group.order, run.model.channels), run.group)
    seconds = 0.0
    for name, kind in LAYER_CODERS.items():
        times = 1 + (PAIRED if name in ("orbit SAE", "tied crosscoder") else 0)
        size = layer_size(name, settings.layer_latents, run.group.order)
        seconds += times * _coder_step(kind, source, size, settings.layer_k, settings.layer_batch)
    return seconds * settings.layer_steps * settings.layer_seeds


# -------------------------------------------------------------------------------------- toys that are attacked

PLANES, PLANE_SEEDS, EXACT = 5, 4, 100
"""Stacks of toys in the plane, the toys in each, and samples of each that are attacked exactly, in chapter 20."""


class _Stack(NamedTuple):
    """Toys of one seed that are trained together, and with how many shares they are attacked."""

    sparsities: Sequence[float]
    dimensions: int
    attacks: int = 1
    train_on: str = "clean"
    times: int = 1


def superposition_cost(settings: SuperpositionProfile) -> dict[str, Any]:
    """Toys of all sparsities and interventions, and the attacks on each; these studies always run on the CPU.

    >>> from groupcc_lite.runs import get_superposition_profile
    >>> sorted(superposition_cost(get_superposition_profile("smoke")))
    ['attacks', 'hours', 'toys']
    """
    stacks = _stacks(settings)
    seconds = sum(_stack_seconds(stack, settings) * stack.times for stack in stacks) * settings.seeds
    toys = sum(len(stack.sparsities) * stack.times for stack in stacks) * settings.seeds
    attacks = sum(len(stack.sparsities) * stack.times * stack.attacks for stack in stacks) * settings.seeds
    return {"toys": toys + PLANES * PLANE_SEEDS, "attacks": attacks,
            "hours": (seconds + _plane_seconds(settings)) / 3600}


def _stacks(settings: SuperpositionProfile) -> list[Any]:
    """Each a `_Stack` of one seed, as `SuperpositionStudy` trains them."""
    fixed, m = settings.fixed, settings.dimensions
    trained = [S for S in settings.trained for _ in (settings.shares if S == fixed else [SHARE])]
    return [_Stack(settings.sparsities, m, len(settings.shares)), _Stack(settings.tied, m),
            _Stack([fixed] * len(settings.overlaps), m),
            _Stack([fixed] * len(settings.decays), m, times=len({fixed, *settings.trained})),
            *(_Stack([fixed], room) for room in settings.rooms),
            *(_Stack(trained, m, train_on=kind) for kind in ("attacked", "noisy"))]


def _stack_seconds(stack: Any, settings: SuperpositionProfile) -> float:
    data = SparseFeatures(list(stack.sparsities), settings.features)
    few = SparseFeatures(list(stack.sparsities[:2]), settings.features)

    def trained(features: SparseFeatures, steps: int) -> Toys:
        return train_toys(features, stack.dimensions, steps=steps, batch_size=settings.batch_size,
                          train_on=stack.train_on, progress=False)

    toys = trained(few, 2)
    attack = seconds_of(lambda: measure_toys(toys, samples=settings.samples, steps=settings.attack_steps)) / len(toys)
    step = step_seconds(lambda steps: trained(data, steps), 5, 30)
    return step * settings.steps + attack * len(stack.sparsities) * stack.attacks


def _plane_seconds(settings: SuperpositionProfile) -> float:
    """Of toys in the plane, one stack of which is attacked exactly."""
    def trained(steps: int) -> Toys:
        return train_toys(SparseFeatures([0.8], features=6), 2, batch_size=256, seeds=range(PLANE_SEEDS), steps=steps,
                          progress=False)

    toys = trained(20)
    exact = step_seconds(lambda samples: against_exact(toys, samples=samples, steps=settings.attack_steps), 1, 4)
    return step_seconds(trained, 5, 30) * settings.steps * PLANES + exact * EXACT


# -------------------------------------------------------------------------------------------- robust networks

MOVED = 2
"""Attacks for the control that moves drawings: on the moved ones and on those as they are."""


def robust_cost(settings: RobustProfile) -> dict[str, Any]:
    """All measures of all networks, which are there already; these studies always run on the CPU.

    >>> from groupcc_lite.runs import get_robust_profile
    >>> sorted(robust_cost(get_robust_profile("smoke", census_layers=())))
    ['attacked drawings', 'hours', 'networks', 'trainings']
    """
    seeds, kinds = len(settings.seeds), [kind for kind, _ in ROBUST_KINDS]
    asked = sum(kind != "stopped" for kind in kinds) * seeds  # for a census, and whether attacks turn
    networks, layers, census = len(kinds) * seeds, len(settings.layers), len(settings.census_layers)
    attacked = networks * settings.attacked * (1 + len(settings.radii))
    attacked += asked * settings.turned * (1 + sum(element != 0 for element in settings.elements) + MOVED)
    models = [load_model("tiny-inception", layer) for layer in settings.layers]
    seconds = attacked * _attack_seconds(settings)
    seconds += networks * (settings.named + 3 * settings.attacked) * _forward_seconds(models[-1])
    seconds += sum(networks * _superposed_seconds(model, settings) + _symmetry_seconds(model, settings) * (
        networks + seeds * kinds.count("plain") * len(settings.blurs)) for model in models)
    seconds += asked * sum(_census_seconds(load_model("tiny-inception", layer), settings, get_profile("book"))
                           for layer in settings.census_layers)
    return {"networks": networks, "attacked drawings": attacked, "trainings": networks * layers + asked * census,
            "hours": seconds / 3600}


def _attack_seconds(settings: RobustProfile) -> float:
    """Of one drawing."""
    network = load_tiny()
    return step_seconds(lambda drawings: three_versions(network, settings.eps, drawings=drawings), 2, 6)


def _forward_seconds(model: BaseModel) -> float:
    """Of one drawing."""
    x = torch.rand(8, 3, model.input_size, model.input_size)
    with torch.no_grad():
        return seconds_of(lambda: model(x)) / len(x)


def _superposed_seconds(model: BaseModel, settings: RobustProfile) -> float:
    """Of a sparse autoencoder, and of the drawings it and the share between pictures read."""
    x = torch.randn(min(512, settings.train_drawings * settings.points), 1, model.channels)
    sae = SparseAutoencoder(model.channels, settings.latents, activation="batchtopk", k=settings.k)
    drawings = settings.train_drawings + 3 * settings.attacked + settings.symmetry_drawings
    return (seconds_of(training_step(sae, x, amp=False)) * settings.sae_steps
            + _forward_seconds(model) * drawings)


def _symmetry_seconds(model: BaseModel, settings: RobustProfile) -> float:
    few = min(32, settings.symmetry_drawings)
    return seconds_of(lambda: layer_symmetry(model, drawings=few, points=settings.symmetry_points)
                      ) * settings.symmetry_drawings / few


def _census_seconds(model: BaseModel, settings: RobustProfile, book: Profile) -> float:
    """Of orbits, a crosscoder of them, and its census, whose run has the profile `book` but for a few settings."""
    group = parse_group(settings.group)
    action, held_out = PlanarAction(group), round(settings.census_drawings * book.held_out) * settings.census_points
    noise = torch.rand(2, 3, *[action.source_size(model.input_size)] * 2)
    image = seconds_of(lambda: sample_orbits(model, action, noise, points_per_image=settings.census_points,
                                             mask_radius=book.mask_radius, registration=book.registration)) / 2
    coder = GroupCrosscoder(group, model.channels, settings.census_latents, activation=book.activation,
                            k=settings.census_k)
    x = torch.randn(book.batch_size, group.order, model.channels)
    step = seconds_of(training_step(coder, x, book.amp))
    few = TensorOrbits(x[:max(2, min(len(x), held_out))], group)
    census = seconds_of(lambda: confirmed_census(coder, np.ones(settings.census_latents), few))
    return image * settings.census_drawings + step * settings.census_steps + census
