"""What the chapters on equivariant SAEs measure: of one matrix, of coders, and of probes on what they read and write.

Source of the experiments: Erdogan & Lucic 2025, sections 3 to 5. `scene_report` makes report rows of the results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from groupcc_lite import coders
from groupcc_lite.answers import ProbeScores
from groupcc_lite.coders import EquivariantSAE, SparseAutoencoder, TransformMatrix
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.models import activations
from groupcc_lite.runs.scene_run import SceneRun
from groupcc_lite.stimuli import FAMILIES, Scenes, Task, probing_tasks, task_labels

CODER_NAMES = {"activations": "activations", "sae": "SAE", "wide": "wide SAE", "deep": "two-layer SAE",
               "equivariant": "equivariant SAE", "inferred": "element inferred", "invariant": "without M"}
"""What figures and tables call the coders, and the readings of an equivariant SAE's reconstruction."""
ABSENT = "not in this profile"
"""Stands in a report for a number that belongs to another base model or k."""
COMPARED = ("sae", "wide", "deep", "equivariant")
READINGS = (("activations", "activations"), *((name, "latents") for name in COMPARED),
            *((name, "reconstructions") for name in COMPARED), ("inferred", "inferred"), ("invariant", "invariant"))
"""(reading, view) of everything that is probed: a coder, the activations, or another reading of a reconstruction."""

NULL_SCENES = {"train": 1024, "held-out": 512}
"""Scenes of each part that base models with and without training are compared on."""
RIDGES = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Shrinkage of a least-squares M from which `best_ridge` chooses; the first is that of `coders.least_squares`."""


class Invariance(NamedTuple):
    """How alike a coder's latents are on the images of an orbit.

    >>> Invariance(cosine=1.0, favourite=0.25, unrelated=0.1, dead=0.0).favourite  # fires for all four turns alike
    0.25
    """

    cosine: float
    """Mean cosine between the latents of the canonical image and of its moved copies; 1 if they are the same."""
    favourite: float
    """Share of a latent's firing that falls on its favourite element, the median over living latents; 1 / |G| for a
    latent that fires for all elements alike."""
    unrelated: float
    """The same cosine between different images, both canonical: what it is without any symmetry."""
    dead: float
    """Share of latents that fire for no image."""


@torch.no_grad()
def invariance(coder: SparseAutoencoder | EquivariantSAE, x: Float[Tensor, "b g d"]) -> Invariance:
    """`Invariance` of the latents on orbits of activations, on the device of the coder.

    >>> coder = SparseAutoencoder(2, 8, activation="topk", k=2).eval()
    >>> alike = torch.randn(20, 1, 2).expand(-1, 4, -1)  # the turns change nothing
    >>> invariance(coder, alike).favourite
    0.25
    """
    x = x.to(coder.device)
    f = torch.stack([coder.encode(x[:, g]) for g in range(x.shape[1])], 1)
    unit = torch.nn.functional.normalize(f, dim=-1)
    fires = (f > 0).float().mean(0)
    alive = fires.sum(0) > 0
    favourite = (fires.amax(0) / fires.sum(0))[alive]
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x))).to(x.device)  # neighbours share shapes
    unrelated = (unit[order, 0] * unit[order.roll(1), 0]).sum(-1).mean()
    return Invariance(float((unit[:, :1] * unit[:, 1:]).sum(-1).mean()), float(favourite.median()), float(unrelated),
                      1 - float(alive.float().mean()))


@torch.no_grad()
def canonical_fve(coder: EquivariantSAE, x: Float[Tensor, "b g d"]) -> float:
    """Share of the variance of the canonical activations x[:, 0] that the invariant SAE explains from all blocks.

    >>> from groupcc_lite.groups import cyclic
    >>> coder = EquivariantSAE(cyclic(4), 2, 8, k=2).eval()
    >>> canonical_fve(coder, torch.randn(20, 4, 2)) < 1
    True
    """
    x = x.to(coder.device)
    guess = torch.stack([coder.sae.decode(coder.encode(x[:, g]))[:, 0] for g in range(x.shape[1])], 1)
    total = x.shape[1] * (x[:, 0] - x[:, 0].mean(0)).square().sum()
    return float(1 - (guess - x[:, :1]).square().sum() / total)


@torch.no_grad()
def far_powers(M: TransformMatrix, x: Float[Tensor, "b g d"], upto: int = 12) -> list[float]:
    """R^2 about the mean of M^p x[:, 0], p = 1 .. `upto`, against x[:, p mod |G|]: what errors add up to.

    For one generator, the quarter turn of a cyclic group. ValueError for a group with more.

    >>> from groupcc_lite.groups import cyclic
    >>> alike = torch.randn(20, 1, 2).expand(-1, 4, -1)
    >>> far_powers(TransformMatrix(cyclic(4), 2), alike, upto=3)  # a new M is the identity
    [1.0, 1.0, 1.0]
    """
    if len(M.M) != 1:
        raise ValueError(f"M has {len(M.M)} generators; expected 1, whose powers are taken")
    y, total, out = x[:, 0], (x - x.mean(0)).square().sum((0, 2)), []
    for p in range(1, upto + 1):
        y = y @ M.M[0].T
        g = p % x.shape[1]
        out.append(float(1 - (y - x[:, g]).square().sum() / total[g]))
    return out


class Additivity(NamedTuple):
    """What one matrix explains of a base model's activations, and what a sum over quadrants does, on held-out scenes.

    >>> Additivity(powers=(1.0, 1.0), additive=1.0).r2  # tiles that do not interact
    1.0
    """

    powers: tuple[float, ...]
    """R^2 about the mean of the least-squares M, by element; the entry of the identity is that of the power |G|."""
    additive: float
    """Variance explained by a sum of one vector for each shape, orientation and quadrant."""

    @property
    def r2(self) -> float:
        """The mean over powers."""
        return float(np.mean(self.powers))


def additivity(study: SceneRun, base: str, seed: int, *, trained: bool = True) -> Additivity:
    """`Additivity` of a base model, with random weights if not `trained`: the null of "a matrix turns activations".

    On up to `NULL_SCENES` scenes of each part, evenly spread.

    >>> found = additivity(SceneRun("smoke"), "cnn", 0, trained=False)  # its quadrants do not interact
    >>> found.additive > 0.999
    True
    """
    model, parts = study.autoencoder(base, seed, trained=trained), []
    for part, count in NULL_SCENES.items():
        scenes = study.scenes(part)
        chosen = np.linspace(0, len(scenes) - 1, min(count, len(scenes))).round().astype(int).tolist()
        parts += [tokens(scenes[chosen], study.group), activations(model, scenes[chosen], study.group)]
    M = coders.least_squares([parts[1]], study.group)
    return Additivity(tuple(coders.r2(M, parts[3], about="mean").tolist()), additive_share(*parts))


def tokens(scenes: Scenes, group: FiniteGroup) -> Float[Tensor, "b g t"]:
    """One-hot tokens of turned scenes: 1 for each shape that stands in this orientation in this quadrant, 112 in all.

    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.stimuli import random_scenes
    >>> tokens(random_scenes(3), cyclic(4)).sum(-1).unique().tolist()  # four shapes in every image
    [4.0]
    """
    asked = [task for task in probing_tasks() if task.family == "SPO"]
    return rearrange(task_labels(scenes.orbit(group), asked).double(), "(b g) t -> b g t", g=group.order)


def additive_share(train_tokens: Float[Tensor, "n g t"], train: Float[Tensor, "n g d"],
                   test_tokens: Float[Tensor, "k g t"], test: Float[Tensor, "k g d"]) -> float:
    """Share of the variance of `test` that a linear function of its tokens explains, fitted on `train`.

    >>> rows = torch.eye(3).double()[torch.randint(3, (50, 4))]
    >>> round(additive_share(rows, rows[..., :2], rows, rows[..., :2]), 6)
    1.0
    """
    t, x, q, y = (rows.flatten(0, 1).double() for rows in (train_tokens, train, test_tokens, test))
    vectors = torch.linalg.lstsq(t, x, driver="gelsd").solution
    return float(1 - (y - q @ vectors).square().sum() / (y - y.mean(0)).square().sum())


@torch.no_grad()
def explained_in_use(coder: EquivariantSAE, M: TransformMatrix, x: Float[Tensor, "b g d"]) -> float:
    """Variance of all turned activations that the equivariant SAE explains with this M, from the canonical image.

    What an M is for: it turns what an autoencoder wrote, errors and all, and not clean activations.

    >>> from groupcc_lite.groups import cyclic
    >>> coder = EquivariantSAE(cyclic(4), 2, 8, k=2).eval()
    >>> explained_in_use(coder, coder.transform, torch.randn(20, 4, 2)) < 1
    True
    """
    x, M = x.to(coder.device), M.to(coder.device)
    guess = M(coder.sae.decode(coder.encode(x[:, 0]))[:, 0].to(M.M.dtype))
    return float(1 - (x - guess).square().sum() / (x - x.mean((0, 1))).square().sum())


def best_ridge(coder: EquivariantSAE, x: Float[Tensor, "b g d"],
               ridges: Sequence[float] = RIDGES) -> tuple[float, TransformMatrix]:
    """(ridge, M): the least-squares M whose shrinkage explains most in use, all on training orbits `x`.

    >>> from groupcc_lite.groups import cyclic
    >>> coder = EquivariantSAE(cyclic(4), 2, 8, k=2).eval()
    >>> best_ridge(coder, torch.randn(20, 4, 2), ridges=(1e-3,))[0]
    0.001
    """
    fitted = {ridge: coders.least_squares([x], coder.group, ridge=ridge) for ridge in ridges}
    best = max(ridges, key=lambda ridge: explained_in_use(coder, fitted[ridge], x))
    return best, fitted[best]


class Probed(NamedTuple):
    """What probes have read.

    >>> Probed("mlp", "sae", "latents", k=16, kept=8).view
    'latents'
    """

    base: str
    reading: str
    """A coder, "activations", or "inferred" or "invariant" for other readings of the equivariant SAE."""
    view: str
    """One of `scene_run.VIEWS`."""
    k: int
    kept: int
    """How many latents were kept for each task."""


def probe_readings(study: SceneRun) -> dict[Probed, list[ProbeScores]]:
    """Scores of all `READINGS`, for every base model, k and number of latents kept: one entry per seed.

    >>> len(READINGS), probe_readings(SceneRun("smoke", base_models=()))
    (11, {})
    """
    profile, found = study.profile, {}
    for base in profile.base_models:
        for kept in profile.truncations:
            for k in profile.ks:
                for reading, view in READINGS:
                    coder = {"activations": "sae", "inferred": "equivariant", "invariant": "equivariant"}.get(
                        reading, reading)  # for activations the coder plays no part
                    found[Probed(base, reading, view, k, kept)] = [
                        study.probe(base, coder, k, view, kept, seed) for seed in study.coder_seeds(k)]
    return found


def family_f1(scores: Sequence[ProbeScores], tasks: Sequence[Task], probe: str = "xgboost") -> dict[str, list[float]]:
    """Mean F1 by task family and over "all" tasks, one number for each seed's scores.

    `probe`: one of `answers.PROBES`, or "best" for the one with the highest mean. ValueError if the tasks do not fit.

    >>> scores = ProbeScores(np.array([[0.5], [0.7]]), probes=("knn",))
    >>> family_f1([scores], [Task("S", 0), Task("SP", 0, position=1)], "knn")["SP"]
    [0.7]
    """
    found: dict[str, list[float]] = {family: [] for family in (*FAMILIES, "all")}
    for of_seed in scores:
        f1 = of_seed.of(of_seed.best_probe() if probe == "best" else probe)
        if len(f1) != len(tasks):
            raise ValueError(f"scores are of {len(f1)} tasks, but {len(tasks)} tasks are given")
        for family, values in found.items():
            values.append(mean_of(v for v, t in zip(f1, tasks, strict=True) if family in (t.family, "all")))
    return found


def mean_of(values: Iterable[Any]) -> float | str:
    """The mean as a plain number, or `ABSENT` of nothing."""
    values = list(values)
    return float(np.mean(values)) if values else ABSENT
