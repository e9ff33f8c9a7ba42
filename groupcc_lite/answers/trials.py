"""Every method on problems with known answers: same orbits, same number of steps and latents, several seeds.

A trial trains one method on one problem and scores what it has found. `study` runs a list of trials and keeps each
result on disk, so that an interrupted study goes on where it stopped. What a method costs differs, for the same number
of steps, by more than an order of magnitude: `training_cost` counts it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from groupcc_lite import coders
from groupcc_lite.answers.planted import Problem
from groupcc_lite.answers.scoring import RECOVERED, SIMILAR, score, score_spans
from groupcc_lite.base import Artefact, Cache, default_device, jackknife, progress_bar, read_json, write_json
from groupcc_lite.coders import (
    BlockSparseAutoencoder,
    EquivariantSAE,
    FittedCrosscoder,
    GroupCrosscoder,
    SparseAutoencoder,
    TiedCrosscoder,
    fit_blocks,
    least_squares,
)
from groupcc_lite.groups import trivial
from groupcc_lite.orbits import IdentityBlocks, TensorOrbits
from groupcc_lite.responses import response_vectors
from groupcc_lite.symmetry import TAU

Coder = GroupCrosscoder | EquivariantSAE | FittedCrosscoder | TiedCrosscoder
"""What `train_method` may return: all have a `dictionary`."""

METHODS = ("SAE", "SAE, all poses", "wide SAE", "SAE, blocks fitted", "SAE, all poses, blocks fitted",
           "crosscoder, L1", "crosscoder, TopK", "crosscoder, BatchTopK", "equivariant SAE",
           "equivariant SAE, linear encoder", "SAE, response vectors", "tied crosscoder, L1", "tied crosscoder, TopK",
           "block-sparse SAE")
"""SAE: TopK on untransformed blocks. All poses: on every block as a sample of its own. Wide: the same with |G| times
the latents, which are as many decoder weights as a crosscoder's. Blocks fitted: either of the first two, with a decoder
for whole orbits by least squares (see `fitted`), which reads x[e] like a crosscoder. Equivariant SAE: M by least
squares and an encoder of two layers, which learns at a third of the others' rate, because at the full rate nearly all
its latents die. Response vectors: the SAE, whose latents are compared by what they say to the training orbits. Tied:
symmetric by construction, with bases for 0.75 x `latents_per_feature` as many families as there are, which reads whole
orbits; TopK has twice the k, since copies of a symmetric feature count. Block-sparse: as many latents as the SAE in
blocks of four, a block for each active feature; it is scored by the spans of its blocks, see `score_spans`."""
VERSION = 4
"""Of a trial. Raise it when the same settings give another result; no kept result is then taken for a new one."""
SINGLE = ("SAE", "SAE, all poses", "wide SAE", "SAE, response vectors", "block-sparse SAE")
"""Methods that write single blocks."""
EVERY_POSE = ("SAE, all poses", "wide SAE", "SAE, all poses, blocks fitted")
"""Methods trained on every block of the orbits as a sample of its own."""
BY_RESPONSES = "SAE, response vectors"
"""The method that has no blocks and reads symmetry off responses."""
BY_SPANS, BLOCK = "block-sparse SAE", 4
"""The method whose latents come in blocks, and how many make one."""
BASES = 0.75
"""Bases of a tied crosscoder for each family, as a multiple of `latents_per_feature`."""
FITTED = "blocks fitted"
"""How names of methods end that are given blocks after their training."""


@dataclass(frozen=True)
class Budget:
    """What every method gets alike. Equal steps are no equal cost: see `training_cost`.

    >>> Budget(steps=300).batch_size
    512
    """

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
    """One method on one problem with one seed.

    It seeds the data's sampling and the training, and the problem too where one is made for each seed.

    >>> Trial("standard", "crosscoder, TopK").seed
    0
    """

    problem: str
    method: str
    seed: int = 0


class Study(NamedTuple):
    """What `study` runs: every method on every problem with every seed.

    >>> from groupcc_lite.answers import standard
    >>> plan = Study({"easy": lambda seed: standard(seed, group="C_4", channels=8)}, ["SAE"], [0, 1], Budget(steps=5))
    >>> plan.trials[1], len(set(plan.keys().values()))
    (Trial(problem='easy', method='SAE', seed=1), 2)
    """

    problems: Mapping[str, Problem | Callable[[int], Problem]]
    """By a name for people. A function makes one for each seed, so that a spread over seeds is one over problems."""
    methods: Sequence[str]
    seeds: Sequence[int]
    budget: Budget

    @property
    def trials(self) -> list[Trial]:
        """In the order in which they are run."""
        return [Trial(name, method, seed) for name in self.problems for seed in self.seeds for method in self.methods]

    def made(self) -> Iterator[tuple[Trial, Problem]]:
        """Every trial with its problem; a problem is made once for all methods."""
        for name, given in self.problems.items():
            for seed in self.seeds:
                problem = given if isinstance(given, Problem) else given(seed)
                for method in self.methods:
                    yield Trial(name, method, seed), problem

    def keys(self) -> dict[Trial, str]:
        """Under which key the result of each trial is filed; problems are made for it, nothing is trained."""
        return {trial: trial_artefact(trial.method, problem, self.budget, trial.seed).key
                for trial, problem in self.made()}


def train_method(method: str, problem: Problem, budget: Budget, seed: int, *, device: str | None = None) -> Coder:
    """Train one of METHODS on `problem`, on `device` (default: the GPU if there is one); ValueError for any other."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    source, device = problem.source(budget.orbits, seed=2 * seed), default_device(device)
    latents = round(budget.latents_per_feature * problem.features)
    k = max(1, round(budget.k_per_active * problem.active))
    build = dict(activation="topk", k=k, scale=source.scale, seed=seed)
    loop = dict(steps=budget.steps, batch_size=budget.batch_size, lr=budget.lr, seed=seed, progress=False)
    if method.startswith("crosscoder"):
        activation = {"L1": "relu", "TopK": "topk", "BatchTopK": "batchtopk"}[method.split(", ")[1]]
        build |= dict(activation=activation, k=None if activation == "relu" else k)
        coder = GroupCrosscoder(problem.group, problem.channels, latents, **build).to(device)
        unit = math.sqrt(problem.group.order * problem.channels)
        coders.train(coder, source, sparsity=budget.sparsity * unit if activation == "relu" else 0.0, **loop)
        return coder
    if method.startswith("tied"):
        return _train_tied(method, problem, budget, source, loop, device)
    if method.startswith("equivariant SAE"):
        hidden = None if method.endswith("linear encoder") else budget.hidden
        coder = EquivariantSAE(problem.group, problem.channels, latents, hidden=hidden,
                               transform=least_squares([source.blocks], problem.group), **build).to(device)
        loop |= dict(batch_size=max(1, budget.batch_size // problem.group.order),
                     lr=budget.lr / (1 if hidden is None else 3))
        coders.train(coder, source, **loop)
        return coder
    every_pose = method in EVERY_POSE
    poses = TensorOrbits(rearrange(source.blocks, "b g d -> (b g) 1 d"), trivial()) if every_pose else \
        IdentityBlocks(source)
    if method == BY_SPANS:
        blocks = max(1, latents // BLOCK)
        sae = BlockSparseAutoencoder(problem.channels, blocks, size=BLOCK, k=min(k, blocks), scale=source.scale,
                                     seed=seed).to(device)
        coders.train(sae, poses, **loop)
        return sae
    sae = SparseAutoencoder(problem.channels, latents * (problem.group.order if method == "wide SAE" else 1), **build)
    sae = sae.to(device)
    coders.train(sae, poses, **loop)
    return fit_blocks(sae, source) if method.endswith(FITTED) else sae


def _train_tied(method: str, problem: Problem, budget: Budget, source: TensorOrbits, loop: dict[str, Any],
                device: str) -> TiedCrosscoder:
    topk, families = method.endswith("TopK"), len(problem.family.unique())
    bases = max(1, round(BASES * budget.latents_per_feature * families))
    k = min(bases * problem.group.order, max(1, round(2 * budget.k_per_active * problem.active))) if topk else None
    coder = TiedCrosscoder(problem.group, problem.channels, bases, activation="topk" if topk else "relu", k=k,
                           scale=source.scale, seed=loop["seed"]).to(device)
    unit = math.sqrt(problem.group.order * problem.channels)
    coders.train(coder, source, sparsity=0.0 if topk else budget.sparsity * unit, **loop)
    return coder


def run_trial(method: str, problem: Problem, budget: Budget, seed: int, *, similar: float = SIMILAR,
              device: str | None = None) -> dict[str, Any]:
    """Train, score and measure on orbits that nothing was trained on.

    Plain numbers; None where a method has no such score, NaN where nothing was recovered that it could be of.

    `fve` is over whole orbits, `fve_first` over the untransformed block; `fve_equal` is `fve_first` with only the k
    strongest latents of each sample, the same k for all methods, so that they are compared at equal L0.
    """
    coder = train_method(method, problem, budget, seed, device=device)
    held_out = problem.source(budget.held_out, seed=2 * seed + 1)
    single = coder.group.order == 1
    metrics = coders.evaluate(coder, IdentityBlocks(held_out) if single else held_out)
    dictionary = coder.dictionary.detach()
    written = torch.nonzero(dictionary.flatten(1).norm(dim=1) > 1e-6).flatten()
    said = None if method != BY_RESPONSES else response_vectors(
        coder, [problem.source(budget.orbits, seed=2 * seed).blocks], problem.group, written)
    if isinstance(coder, BlockSparseAutoencoder):
        spans = score_spans(dictionary[:, 0].unflatten(0, (coder.blocks, coder.size)), problem)
        found = dict(cosine=spans.cosine, recovered=spans.recovered, stabiliser=None, stabiliser_of_all=None,
                     ari=spans.ari)
    else:
        scores = score(dictionary[written], problem, similar=similar, by_responses=said)
        found = {name: getattr(scores, name) for name in ("cosine", "recovered", "stabiliser", "stabiliser_of_all",
                                                          "ari")}
    return found | dict(
        fve=None if single else metrics.fve,
        fve_first=metrics.fve_identity, fve_equal=truncated_fve(coder, held_out.blocks, max(1, round(problem.active))),
        l0=metrics.l0, dead=metrics.dead, parameters=sum(p.numel() for p in coder.parameters()))


class TrainingCost(NamedTuple):
    """What one training takes. Methods that are given the same number of steps differ in all the rest.

    >>> TrainingCost(steps=10, orbits=5120, blocks=20_480, flops=11_000_000).blocks
    20480
    """

    steps: int
    orbits: int
    """Orbit vectors that are read, with repetitions; for methods that read single blocks, those the blocks are of."""
    blocks: int
    """Activations that are read or reconstructed, with repetitions: blocks of an orbit each count."""
    flops: int
    """Floating-point operations of all products of vectors and matrices, forwards and backwards, as counted in a first
    training step. TopK decodes only what fires where that is few of many latents, and only that is counted then. The
    term that revives dead latents comes later, and is left out."""


def training_cost(method: str, problem: Problem, budget: Budget) -> TrainingCost:
    """What `train_method` takes, from the operations of its steps; fits in closed form before and after do not count.

    They are those of M for an equivariant SAE, and of the blocks for methods whose blocks are fitted, which read all
    orbits once more: their `blocks` do count.

    >>> from groupcc_lite.answers import plant
    >>> from groupcc_lite.groups import cyclic
    >>> problem = plant(cyclic(4), channels=8, superposition=1.0, active=1.0)
    >>> one, all = (training_cost(m, problem, Budget(steps=10)) for m in ("SAE", "crosscoder, TopK"))
    >>> one.steps == all.steps, all.blocks / one.blocks
    (True, 4.0)
    """
    from torch.utils.flop_counter import FlopCounterMode  # slow to import, and only this needs it

    def flops(steps: int) -> int:
        with FlopCounterMode(display=False, custom_mapping=_gathered_products()) as counter:
            train_method(method, problem, dataclasses.replace(small, steps=steps), 0, device="cpu")
        return counter.get_total_flops()

    order, batch = problem.group.order, budget.batch_size
    small = dataclasses.replace(budget, orbits=batch)
    equivariant, poses, fitted = method.startswith("equivariant"), method in EVERY_POSE, method.endswith(FITTED)
    orbits = max(1, batch // order) if equivariant or poses else batch
    blocks = batch if method in SINGLE or fitted else orbits * order
    extra = budget.orbits * order if fitted else 0
    return TrainingCost(budget.steps, budget.steps * orbits, budget.steps * blocks + extra,
                        budget.steps * (flops(2) - flops(1)))


def _gathered_products() -> dict[Any, Callable[..., int]]:
    """What torch's counter leaves out: products with gathered rows of a matrix, as sparse codes have them.

    Each function is given the shapes of an operation's arguments.
    """
    def decoded(weight: Sequence[int], indices: Sequence[int], *_: Any, **__: Any) -> int:
        return 2 * math.prod(indices) * weight[1]

    def added(_: Any, __: int, ___: Any, rows: Sequence[int], *____: Any, **_____: Any) -> int:
        return 2 * math.prod(rows) if len(rows) == 2 else 0  # a vector holds who fired, no product

    def encoded(rows: Sequence[int], *_: Any, **__: Any) -> int:
        return 6 * math.prod(rows)  # the rows' gradient, the other factor's, and the product itself forwards

    operations = torch.ops.aten
    return {operations._embedding_bag: decoded, operations._embedding_bag_forward_only: decoded,
            operations.index_add_: added, operations.embedding_dense_backward: encoded}


def seconds_per_step(method: str, problem: Problem, budget: Budget, *, steps: tuple[int, int] = (5, 25),
                     repeats: int = 3, device: str | None = None) -> float:
    """Seconds that a training step takes: the difference of a longer and a shorter training, the best of `repeats`.

    Compare methods by the ratio of such numbers from one run; alone they say more about the machine.

    >>> from groupcc_lite.answers import plant
    >>> from groupcc_lite.groups import cyclic
    >>> problem = plant(cyclic(4), channels=8, superposition=1.0, active=1.0)
    >>> seconds_per_step("SAE", problem, Budget(orbits=512), steps=(1, 2), repeats=1) > 0
    True
    """
    def seconds(count: int) -> float:
        began = time.perf_counter()
        train_method(method, problem, dataclasses.replace(budget, steps=count), 0, device=device)
        if device != "cpu" and torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - began

    few, many = steps
    if not 0 < few < many:
        raise ValueError(f"steps is {steps}; expected two rising numbers above 0")
    short, long = (min(seconds(count) for _ in range(repeats)) for count in steps)
    return max(1e-9, long - short) / (many - few)


@torch.no_grad()
def truncated_fve(coder: Any, blocks: Float[Tensor, "b g n"], k: int) -> float:
    """Held-out FVE of the untransformed block from each sample's k strongest latents, by length of contribution."""
    x = blocks[:, 0].to(coder.device)
    f = coder.encode(blocks.to(coder.device) if isinstance(coder, TiedCrosscoder) else x)
    strength = f * coder.dictionary[:, 0].norm(dim=1)
    if isinstance(coder, BlockSparseAutoencoder):  # a block is kept whole, and as many latents in all
        of_block = strength.square().unflatten(1, (coder.blocks, coder.size)).sum(2)
        chosen = of_block.topk(min(coder.blocks, max(1, k // coder.size)), dim=1).indices
        mask = torch.zeros_like(of_block).scatter(1, chosen, 1.0).repeat_interleave(coder.size, dim=1)
        found = coder.decode(f * mask)[:, 0]
        return float(1 - (x - found).square().sum() / (x - x.mean(0)).square().sum())
    kept = torch.zeros_like(f).scatter(1, strength.topk(k, dim=1).indices, 1.0)
    found = coder.decode(f * kept)[:, 0]
    return float(1 - (x - found).square().sum() / (x - x.mean(0)).square().sum())


def trial_artefact(method: str, problem: Problem, budget: Budget, seed: int, *, similar: float = SIMILAR) -> Artefact:
    """Under what the result of a trial is kept: everything that it depends on.

    >>> from groupcc_lite.answers import standard
    >>> easy, noisy = (standard(group="C_4", channels=8, noise=noise) for noise in (0.05, 0.5))
    >>> trial_artefact("SAE", easy, Budget(), 0).key == trial_artefact("SAE", noisy, Budget(), 0).key
    False
    """
    settings = dict(method=method, seed=seed, budget=dataclasses.asdict(budget), tau=TAU, recovered=RECOVERED,
                    similar=similar)
    return Artefact("trials", VERSION, settings, dict(problem=_content(problem)))


def study(problems: Mapping[str, Problem | Callable[[int], Problem]], methods: Sequence[str], seeds: Sequence[int],
          budget: Budget, *, folder: str | Path, similar: float = SIMILAR, progress: bool = True,
          device: str | None = None) -> dict[Trial, dict[str, Any]]:
    """`run_trial` for every problem, method and seed; each result is kept in `folder` and not computed again.

    Arguments as for `Study`, which may be given unpacked. Keys of `problems` are names for people; what a result is
    filed under is the problem's content.

    >>> import tempfile
    >>> from groupcc_lite.answers import plant
    >>> from groupcc_lite.groups import cyclic
    >>> work = tempfile.TemporaryDirectory()
    >>> def easy(seed):
    ...     return plant(cyclic(4), channels=8, superposition=1.0, active=1.0, seed=seed)
    >>> budget = Budget(orbits=512, held_out=128, steps=5)
    >>> found = study({"easy": easy}, ["SAE"], [0, 1], budget, folder=work.name, progress=False)
    >>> [trial.seed for trial in found], found[Trial("easy", "SAE", 0)]["fve"] is None
    ([0, 1], True)
    >>> work.cleanup()
    """
    plan, cache = Study(problems, methods, seeds, budget), Cache(folder, device=default_device(device))
    results = {}
    with progress_bar(progress, total=len(plan.trials), desc="answer key", unit="trial") as bar:
        for trial, problem in plan.made():
            results[trial] = _kept(cache, trial, problem, budget, similar, device)
            bar.update()
    return results


def _kept(cache: Cache, trial: Trial, problem: Problem, budget: Budget, similar: float,
          device: str | None) -> dict[str, Any]:
    def make(folder: Path) -> None:
        write_json(folder / "scores.json",
                   run_trial(trial.method, problem, budget, trial.seed, similar=similar, device=device))

    artefact = trial_artefact(trial.method, problem, budget, trial.seed, similar=similar)
    scores = read_json(cache.get(artefact, make) / "scores.json")
    undefined = ["ari"] if scores["stabiliser_of_all"] is None else ["ari", "stabiliser"]  # JSON has no NaN
    return scores | {name: math.nan for name in undefined if scores[name] is None}


def _content(problem: Problem) -> str:
    """Content address of a problem: its features, what is known about them, and how data are drawn."""
    found = hashlib.sha256()
    for tensor in (problem.dictionary, problem.family, problem.mover):
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    known = [problem.group.table.tolist(), [list(H.elements) for H in problem.stabiliser]]
    weights = None if problem.weights is None else problem.weights.tolist()
    found.update(repr([known, problem.noise, problem.active, problem.seed, weights]).encode())
    return found.hexdigest()


class ShareOfAdvantage(NamedTuple):
    """How much of a lead something in between reaches.

    >>> print(ShareOfAdvantage(0.78, 0.06))
    78% ± 6%
    """

    share: float
    """(mean of `between` - mean of `below`) / (mean of `above` - mean of `below`); NaN where there is no lead."""
    spread: float
    """Its standard error over seeds, by the jackknife: from the shares without one seed each; NaN for a single seed."""

    def __str__(self) -> str:
        return f"{self.share:.0%}" + ("" if math.isnan(self.spread) else f" ± {self.spread:.0%}")


def share_of_advantage(between: Sequence[float] | Float[np.ndarray, " s"],
                       below: Sequence[float] | Float[np.ndarray, " s"],
                       above: Sequence[float] | Float[np.ndarray, " s"]) -> ShareOfAdvantage:
    """Which share of the lead of `above` over `below` is reached by `between`; one number for each seed, paired.

    A ratio of differences is known badly when the lead is small; its spread says so. ValueError for unequal lengths.

    >>> print(share_of_advantage([0.72, 0.76, 0.74], below=[0.5, 0.5, 0.5], above=[0.8, 0.81, 0.79]))
    80% ± 3%
    """
    if not len(between) == len(below) == len(above) > 0:
        raise ValueError(f"between has {len(between)} numbers, below {len(below)}, above {len(above)}; expected one "
                         "number for each seed in all of them")
    table = np.array([below, between, above], dtype=np.float64)

    def share(columns: np.ndarray) -> float:
        low, middle, high = columns.mean(1)
        return float((middle - low) / (high - low)) if high != low else math.nan

    return ShareOfAdvantage(share(table), jackknife(lambda kept: share(table.take(kept, axis=1)), table.shape[1]))
