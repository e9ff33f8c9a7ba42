"""Every method on problems with known answers: same data, same number of steps and latents, several seeds.

A trial trains one method on one problem and scores what it has found. `study` runs a list of trials and keeps each
result on disk, so that an interrupted study goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from groupcc_lite import coders
from groupcc_lite.answers.planted import Problem
from groupcc_lite.answers.scoring import SIMILAR, score
from groupcc_lite.base import digest, progress_bar, read_json, write_json
from groupcc_lite.coders import (
    EquivariantSAE,
    FittedCrosscoder,
    GroupCrosscoder,
    SparseAutoencoder,
    fit_blocks,
    least_squares,
)
from groupcc_lite.groups import trivial
from groupcc_lite.orbits import IdentityBlocks, TensorOrbits

Coder = GroupCrosscoder | EquivariantSAE | FittedCrosscoder
"""What `train_method` may return: all have a `dictionary`."""

METHODS = ("SAE", "SAE, all poses", "wide SAE", "SAE, blocks fitted", "crosscoder, L1", "crosscoder, TopK",
           "crosscoder, BatchTopK", "equivariant SAE", "equivariant SAE, linear encoder")
"""SAE: TopK on untransformed blocks. All poses: on every block as a sample of its own. Wide: the same with |G| times
the latents, which are as many decoder weights as a crosscoder's. Blocks fitted: the first, with a decoder for whole
orbits by least squares (see `fitted`). Equivariant SAE: M by least squares and an encoder of two layers, which learns
at a third of the others' rate, because at the full rate nearly all its latents die."""
FORMAT = 1  # raise it when the same settings give other results


@dataclass(frozen=True)
class Budget:
    """What every method gets alike."""

    orbits: int = 16_384
    held_out: int = 2048
    steps: int = 1500
    batch_size: int = 512
    """Orbits per step; methods that see single blocks get as many blocks, the equivariant SAE as many in whole
    orbits."""
    lr: float = 3e-3
    latents_per_feature: float = 2.0
    k_per_active: float = 1.0
    """k of TopK and BatchTopK as a multiple of the mean number of active features."""
    sparsity: float = 0.5
    """lambda of the L1 crosscoder, in units of the norm of an orbit vector, sqrt(|G| n)."""
    hidden: int = 512
    """Width of the equivariant SAE's hidden layer."""


@dataclass(frozen=True)
class Trial:
    """One method on one problem with one seed, which seeds the data's sampling and the training."""

    problem: str
    method: str
    seed: int = 0


def train_method(method: str, problem: Problem, budget: Budget, seed: int) -> Coder:
    """Train one of METHODS on `problem`; ValueError for any other."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    source = problem.source(budget.orbits, seed=2 * seed)
    latents = round(budget.latents_per_feature * problem.features)
    k = max(1, round(budget.k_per_active * problem.active))
    build = dict(activation="topk", k=k, scale=source.scale, seed=seed)
    loop = dict(steps=budget.steps, batch_size=budget.batch_size, lr=budget.lr, seed=seed, progress=False)
    if method.startswith("crosscoder"):
        activation = {"L1": "relu", "TopK": "topk", "BatchTopK": "batchtopk"}[method.split(", ")[1]]
        build |= dict(activation=activation, k=None if activation == "relu" else k)
        coder = GroupCrosscoder(problem.group, problem.channels, latents, **build)
        unit = math.sqrt(problem.group.order * problem.channels)
        coders.train(coder, source, sparsity=budget.sparsity * unit if activation == "relu" else 0.0, **loop)
        return coder
    if method.startswith("equivariant SAE"):
        hidden = None if method.endswith("linear encoder") else budget.hidden
        coder = EquivariantSAE(problem.group, problem.channels, latents, hidden=hidden,
                               transform=least_squares([source.blocks], problem.group), **build)
        loop |= dict(batch_size=max(1, budget.batch_size // problem.group.order),
                     lr=budget.lr / (1 if hidden is None else 3))
        coders.train(coder, source, **loop)
        return coder
    every_pose = method in ("SAE, all poses", "wide SAE")
    poses = TensorOrbits(rearrange(source.blocks, "b g d -> (b g) 1 d"), trivial()) if every_pose else \
        IdentityBlocks(source)
    sae = SparseAutoencoder(problem.channels, latents * (problem.group.order if method == "wide SAE" else 1), **build)
    coders.train(sae, poses, **loop)
    return fit_blocks(sae, source) if method == "SAE, blocks fitted" else sae


def run_trial(method: str, problem: Problem, budget: Budget, seed: int, *, similar: float = SIMILAR) -> dict[str, Any]:
    """Train, score and measure on orbits that nothing was trained on; plain numbers, None where a score has no sense.

    `fve` is over whole orbits, `fve_first` over the untransformed block; `fve_equal` is `fve_first` with only the k
    strongest latents of each sample, the same k for all methods, so that they are compared at equal L0.
    """
    coder = train_method(method, problem, budget, seed)
    held_out = problem.source(budget.held_out, seed=2 * seed + 1)
    single = coder.group.order == 1
    metrics = coders.evaluate(coder, IdentityBlocks(held_out) if single else held_out)
    dictionary = coder.dictionary.detach()
    scores = score(dictionary[dictionary.flatten(1).norm(dim=1) > 1e-6], problem, similar=similar)
    return dict(
        cosine=scores.cosine, recovered=scores.recovered, stabiliser=scores.stabiliser,
        stabiliser_of_all=scores.stabiliser_of_all, ari=scores.ari, fve=None if single else metrics.fve,
        fve_first=metrics.fve_identity, fve_equal=truncated_fve(coder, held_out.blocks, max(1, round(problem.active))),
        l0=metrics.l0, dead=metrics.dead, parameters=sum(p.numel() for p in coder.parameters()))


def seconds_per_step(method: str, problem: Problem, budget: Budget, *, steps: tuple[int, int] = (5, 25),
                     repeats: int = 3) -> float:
    """Seconds that a training step takes: the difference of a longer and a shorter training, the best of `repeats`.

    Compare methods by the ratio of such numbers from one run; alone they say more about the machine.
    """
    def seconds(count: int) -> float:
        began = time.perf_counter()
        train_method(method, problem, dataclasses.replace(budget, steps=count), 0)
        return time.perf_counter() - began

    few, many = steps
    if not 0 < few < many:
        raise ValueError(f"steps is {steps}; expected two rising numbers above 0")
    short, long = (min(seconds(count) for _ in range(repeats)) for count in steps)
    return max(1e-9, long - short) / (many - few)


@torch.no_grad()
def truncated_fve(coder: Any, blocks: Float[Tensor, "b g n"], k: int) -> float:
    """Held-out FVE of the untransformed block from each sample's k strongest latents, by length of contribution."""
    x = blocks[:, 0]
    f = coder.encode(x)
    strength = f * coder.dictionary[:, 0].norm(dim=1)
    kept = torch.zeros_like(f).scatter(1, strength.topk(k, dim=1).indices, 1.0)
    found = coder.decode(f * kept)[:, 0]
    return float(1 - (x - found).square().sum() / (x - x.mean(0)).square().sum())


def study(problems: Mapping[str, Problem], methods: Sequence[str], seeds: Sequence[int], budget: Budget, *,
          folder: str | Path, similar: float = SIMILAR, progress: bool = True) -> dict[Trial, dict[str, Any]]:
    """`run_trial` for every problem, method and seed; each result is kept in `folder` and not computed again.

    Keys of `problems` are names for people; what a result is filed under is the problem's content.
    """
    trials = [Trial(name, method, seed) for name in problems for seed in seeds for method in methods]
    results = {}
    with progress_bar(progress, total=len(trials), desc="answer key", unit="trial") as bar:
        for trial in trials:
            problem = problems[trial.problem]
            address = digest([FORMAT, _content(problem), trial.method, trial.seed, dataclasses.asdict(budget), similar])
            path = Path(folder) / f"{address}.json"
            if not path.is_file():
                write_json(path, run_trial(trial.method, problem, budget, trial.seed, similar=similar))
            results[trial] = read_json(path)
            bar.update()
    return results


def _content(problem: Problem) -> list[Any]:
    dictionary = hashlib.sha256(problem.dictionary.contiguous().numpy().tobytes()).hexdigest()
    return [dictionary, problem.group.table.tolist(), problem.noise, problem.active, problem.seed]
