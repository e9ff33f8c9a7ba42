"""Toy models of superposition, many of them at once: x^ = ReLU(W^T W x + b), with more features than dimensions.

All models of a call, one for each sparsity and seed, are one tensor, so that a fine grid costs seconds. Models of one
seed begin with the same W and see the same draws: what differs between them is what they were told to differ in.

Source: Elhage et al. 2022, "Toy models of superposition"; trained on attacks as in Gorton & Lewis 2025.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groupcc_lite.base import progress_bar
from groupcc_lite.superposition.attacks import Loss, gradient_step, pgd, random_noise
from groupcc_lite.superposition.features import SparseFeatures
from groupcc_lite.superposition.measures import interference

TRAINED_ON = ("clean", "attacked", "noisy")
"""What half of the training inputs are; the other half are clean."""
Strength = float | Sequence[float]


@dataclass(frozen=True, eq=False)
class Toys:
    """Trained toy models, stacked; `train_toys` makes them.

    >>> import torch
    >>> pair = Toys(torch.tensor([[[1.0, -1.0]]]), torch.zeros(1, 2), SparseFeatures([0.9], 2), torch.tensor([0]),
    ...             torch.tensor([0]), torch.ones(2))
    >>> pair(torch.tensor([[[0.5, 0.0], [0.5, 0.2]]]))
    tensor([[[0.5000, 0.0000],
             [0.3000, 0.0000]]])
    """

    W: Float[Tensor, "k m n"]
    b: Float[Tensor, "k n"]
    data: SparseFeatures
    which: Int[Tensor, " k"]
    """Which of the data's sparsities each model was trained on."""
    seeds: Int[Tensor, " k"]
    importance: Float[Tensor, " n"]
    """Weight of each feature in the loss."""

    @property
    def sparsity(self) -> Float[Tensor, " k"]:
        """S of each model."""
        return torch.tensor(self.data.sparsities)[self.which]

    def __len__(self) -> int:
        return len(self.W)

    def __call__(self, x: Float[Tensor, "k b n"]) -> Float[Tensor, "k b n"]:
        """x^ of each model for its own samples."""
        return torch.baddbmm(self.b[:, None], x @ self.W.transpose(1, 2), self.W).relu()

    def errors(self, x: Float[Tensor, "k b n"], target: Float[Tensor, "k b n"]) -> Float[Tensor, "k b"]:
        """sum_i I_i (x^_i - target_i)^2 of each sample: an attack's target are the features before the attack."""
        error = (self(x) - target).square()
        return error @ self.importance

    def loss_about(self, target: Float[Tensor, "k b n"]) -> Loss:
        """The loss that an attack on these samples raises: inputs vary, the features that are asked for do not."""
        return lambda x: self.errors(x, target)

    def samples(self, count: int, seed: int) -> Float[Tensor, "k count n"]:
        """`count` samples of each model's own data; models of one sparsity get the same ones."""
        return self.data.sample(count, torch.Generator().manual_seed(seed))[self.which]

    def radius(self, share: float) -> Float[Tensor, "k 1"]:
        """eps of each model: a share of the mean norm of its data."""
        return share * self.data.mean_norm()[self.which, None]

    def chosen(self, keep: Tensor) -> Toys:
        """Only the models that a mask, or numbers, choose."""
        return replace(self, W=self.W[keep], b=self.b[keep], which=self.which[keep], seeds=self.seeds[keep])


def train_toys(data: SparseFeatures, dimensions: int = 20, *, seeds: Sequence[int] = (0,),
               importance: Sequence[float] | None = None, train_on: str = "clean", share: float | Sequence[float] = 0.1,
               attack_steps: int = 1, overlap: Strength = 0.0, weight_decay: Strength = 0.0, steps: int = 2000,
               batch_size: int = 256, learning_rate: float = 1e-2, progress: bool = True) -> Toys:
    """One toy model for each seed and sparsity, in this order: seeds[0] with all sparsities, then seeds[1], ...

    Minimises the mean of `Toys.errors` with Adam, the learning rate following half a cosine to 0, on new samples at
    every step. What can be changed besides sparsity:

    - `train_on` "attacked": the mean of the loss on clean and on attacked samples, eps being `share` of the data's mean
      norm, one gradient step or, with more `attack_steps`, PGD. "noisy": random noise of the same norm, the control.
    - `overlap`: adds this times sum over i != j of (w_i . w_j)^2, which pushes features apart at the same sparsity.
    - `weight_decay`, decoupled as in AdamW: shrinks W as well, without regard to overlaps, the control.

    `share`, `overlap` and `weight_decay` may be one number for each sparsity: repeat a sparsity in `data` to compare
    strengths. `importance`: a weight for each feature, by default 1. Deterministic for a number of threads; 35 models
    of 100 features take some 40 seconds on one core. ValueError for settings that do not fit, and if training diverges.

    >>> toys = train_toys(SparseFeatures([0.0, 0.95], features=6), dimensions=2, seeds=[0, 1], steps=300)
    >>> from groupcc_lite.superposition import features_per_dimension
    >>> sparse = toys.sparsity > 0.5
    >>> toys.W.shape, bool((features_per_dimension(toys.W)[sparse] > features_per_dimension(toys.W)[~sparse]).all())
    (torch.Size([4, 2, 6]), True)
    """
    _check(data, dimensions, seeds, train_on, attack_steps, steps, batch_size)
    toys = _begin(data, dimensions, seeds, importance)
    eps, overlap_of, decay = (_each(value, data, len(seeds), name) for value, name in (
        (share, "share"), (overlap, "overlap"), (weight_decay, "weight_decay")))
    eps = (eps * data.mean_norm().repeat(len(seeds)))[:, None]
    W, b = toys.W.requires_grad_(), toys.b.requires_grad_()
    optimiser = torch.optim.Adam([W, b], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda t: (1 + math.cos(math.pi * t / steps)) / 2)
    generators = [torch.Generator().manual_seed(1_000_003 * seed + 1) for seed in seeds]
    for step in progress_bar(progress, iterable=range(steps), desc="training toys", unit="step"):
        x = torch.cat([data.sample(batch_size, generator) for generator in generators])
        total = toys.errors(x, x).mean(1)
        if train_on != "clean":
            total = (total + toys.errors(_changed(toys, x, eps, train_on, attack_steps, step), x).mean(1)) / 2
        if bool(overlap_of.any()):
            total = total + overlap_of * interference(W).sum(1)
        optimiser.zero_grad()
        total.sum().backward()  # no model has a share in another's loss
        optimiser.step()
        with torch.no_grad():
            W.mul_((1 - schedule.get_last_lr()[0] * decay)[:, None, None])
        schedule.step()
    if not bool(torch.isfinite(W).all() & torch.isfinite(b).all()):
        raise ValueError(f"training diverged; lower learning_rate (now {learning_rate}) or the strengths")
    return replace(toys, W=W.detach(), b=b.detach())


def _begin(data: SparseFeatures, dimensions: int, seeds: Sequence[int], importance: Sequence[float] | None) -> Toys:
    n, of = data.features, len(data.sparsities)
    weights = torch.ones(n) if importance is None else torch.tensor(importance, dtype=torch.float)
    if weights.shape != (n,) or not bool((weights >= 0).all()):
        raise ValueError(f"importance has shape {tuple(weights.shape)}; expected {n} weights, none negative")
    W = torch.cat([nn.init.normal_(torch.empty(1, dimensions, n), std=n**-0.5,
                                   generator=torch.Generator().manual_seed(seed)).expand(of, -1, -1) for seed in seeds])
    return Toys(W.contiguous(), torch.zeros(len(W), n), data, torch.arange(of).repeat(len(seeds)),
                torch.tensor(seeds).repeat_interleave(of), weights)


def _changed(toys: Toys, x: Float[Tensor, "k b n"], eps: Float[Tensor, "k 1"], train_on: str, attack_steps: int,
             step: int) -> Float[Tensor, "k b n"]:
    """Inputs of the second half of the loss."""
    if train_on == "noisy":
        # One draw for all models, as with the samples.
        return x + random_noise(torch.zeros_like(x[:1]), 1.0, lead=2, seed=step) * eps[:, None]
    frozen = replace(toys, W=toys.W.detach(), b=toys.b.detach())
    if attack_steps == 1:
        return gradient_step(frozen.loss_about(x), x, eps)
    return pgd(frozen.loss_about(x), x, eps, steps=attack_steps, seed=step)


def _each(value: Strength, data: SparseFeatures, seeds: int, name: str) -> Float[Tensor, " k"]:
    """A setting for each model."""
    of, given = len(data.sparsities), torch.as_tensor(value, dtype=torch.float)
    if given.shape not in ((), (of,)) or not bool((given >= 0).all()):
        raise ValueError(f"{name} is {value}; expected one number from 0, or {of}, one for each sparsity")
    return given.expand(of).repeat(seeds)


def _check(data: SparseFeatures, dimensions: int, seeds: Sequence[int], train_on: str, attack_steps: int, steps: int,
           batch_size: int) -> None:
    if train_on not in TRAINED_ON:
        raise ValueError(f"train_on is {train_on!r}; expected one of {', '.join(TRAINED_ON)}")
    if not len(seeds) or min(dimensions, attack_steps, steps, batch_size) < 1:
        raise ValueError(f"seeds={list(seeds)}, dimensions={dimensions}, attack_steps={attack_steps}, steps={steps}, "
                         f"batch_size={batch_size}: expected at least 1 of each")
