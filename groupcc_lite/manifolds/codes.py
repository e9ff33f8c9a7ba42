"""The best non-negative codes for a dictionary, and what an encoder loses against them.

A coder's encoder is one guess at the codes of a sample; the loss itself says what the best would be. They are found by
FISTA (Beck and Teboulle 2009) with restarts (O'Donoghue and Candes 2015), and what is still missing is known from a
dual bound, so that an optimum is one that was proved and not one where iterations ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groupcc_lite.coders import GroupCrosscoder

_EVERY = 10  # steps between two looks at what is still missing


class OptimalCodes(NamedTuple):
    """The best codes of some samples; `optimal_codes` finds them.

    >>> import torch
    >>> found = optimal_codes(torch.tensor([[3.0, -1.0]]), torch.eye(2), penalty=1.0)
    >>> [round(value, 4) for value in found.latents[0].tolist()], round(float(found.loss), 4)
    ([2.5, 0.0], 3.75)
    """

    latents: Float[Tensor, "b m"]
    loss: Float[Tensor, " b"]
    """||x - f D||^2 + lambda sum_i f_i ||D_i|| of each sample, float64."""
    missing: Float[Tensor, " b"]
    """The loss is at most so much above the least one: a proved bound, from 0, float64."""
    steps: int


@torch.no_grad()
def optimal_codes(x: Float[Tensor, "b n"], dictionary: Float[Tensor, "m n"], penalty: float, *,
                  tolerance: float = 1e-6, most: int = 20_000) -> OptimalCodes:
    """Codes f >= 0 that minimise ||x - f D||^2 + lambda sum_i f_i ||D_i|| for each sample, lambda = `penalty`.

    D has the rows of `dictionary`, in the units of x; the loss is that of a ReLU coder, `GroupCrosscoder.objective`.
    Iterates, in float64, until each sample's loss is proved to be within `tolerance` ||x||^2 of the least: with r = x -
    f D, every s r with 2 s D_i . r <= lambda ||D_i|| for all i bounds the least loss from below by 2 s x . r - s^2
    ||r||^2. Samples that are done drop out. Where directions are dependent the codes are one of many that are as good.
    ValueError for shapes that do not fit, a penalty or tolerance that is not positive, numbers that are not finite, and
    if `most` steps are not enough.

    >>> import torch
    >>> from groupcc_lite.manifolds import circle_directions
    >>> found = optimal_codes(circle_directions(24)[:1] * 2, circle_directions(24), penalty=0.1)
    >>> int((found.latents > 1e-4).sum()), round(float(found.latents.sum()), 3)
    (1, 1.95)
    """
    if x.shape[1] != dictionary.shape[1]:
        raise ValueError(f"samples have {x.shape[1]} numbers, the dictionary's vectors {dictionary.shape[1]}")
    if not (penalty > 0 and tolerance > 0):
        raise ValueError(f"penalty is {penalty} and tolerance {tolerance}; expected positive numbers")
    if not (torch.isfinite(x).all() and torch.isfinite(dictionary).all()):
        raise ValueError("samples or dictionary hold NaN or infinite values")
    x_all, D = x.double(), dictionary.double()
    problem = _Problem(D, penalty * D.norm(dim=1), 2 * float(torch.linalg.matrix_norm(D, 2)) ** 2)
    latents = x_all.new_zeros(len(x), len(D))
    loss, missing = problem.judged(x_all, latents)
    left = (missing > tolerance * x_all.square().sum(1)).nonzero()[:, 0]
    state, steps = _State.start(x_all[left] @ D.T, latents[left]), 0
    while len(left):
        if steps >= most:
            raise ValueError(f"after {steps} steps {len(left)} of {len(x)} samples are not within {tolerance:g} of "
                             f"their optimum, the worst {float(missing[left].max()):.3g} above it; raise most, "
                             "tolerance or penalty")
        for _ in range(_EVERY):
            state = problem.step(state)
        steps += _EVERY
        latents[left] = state.codes
        loss[left], missing[left] = problem.judged(x_all[left], state.codes)
        going = missing[left] > tolerance * x_all[left].square().sum(1)
        left, state = left[going], state.of(going)
    return OptimalCodes(latents.to(x.dtype), loss, missing, steps)


class _State(NamedTuple):
    """Of each sample x D^T, the codes, the point ahead of them, and FISTA's momentum."""

    products: Float[Tensor, "b m"]
    codes: Float[Tensor, "b m"]
    ahead: Float[Tensor, "b m"]
    momentum: Float[Tensor, "b 1"]

    @classmethod
    def start(cls, products: Float[Tensor, "b m"], codes: Float[Tensor, "b m"]) -> _State:
        return cls(products, codes, codes, codes.new_ones(len(codes), 1))

    def of(self, which: Bool[Tensor, " b"]) -> _State:
        return _State(*(part[which] for part in self))


class _Problem:
    """||x - f D||^2 + weights . f, for many samples at once."""

    def __init__(self, D: Float[Tensor, "m n"], weights: Float[Tensor, " m"], curvature: float):
        self.D, self.weights, self.gram = D, weights, D @ D.T
        self.curvature = max(curvature, 1e-300)

    def step(self, now: _State) -> _State:
        slope = 2 * (now.ahead @ self.gram - now.products) + self.weights
        codes = (now.ahead - slope / self.curvature).clamp(min=0)
        move = codes - now.codes
        # Momentum that points uphill is given up, sample by sample.
        uphill = ((now.ahead - codes) * move).sum(1, keepdim=True) > 0
        momentum = torch.where(uphill, 1.0, now.momentum)
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        return _State(now.products, codes, codes + (momentum - 1) / following * move, following)

    def judged(self, x: Float[Tensor, "b n"], codes: Float[Tensor, "b m"]) -> tuple[Float[Tensor, " b"],
                                                                                   Float[Tensor, " b"]]:
        """Loss, and a bound on how much of it the best codes would save."""
        residual = x - codes @ self.D
        squared = residual.square().sum(1)
        loss = squared + codes @ self.weights
        reached = 2 * residual @ self.D.T
        allowed = torch.where(reached > self.weights, self.weights / reached, 1.0).amin(1)
        along = (x * residual).sum(1)
        s = torch.minimum((along / squared.clamp(min=1e-300)).clamp(min=0), allowed)
        return loss, (loss - 2 * s * along + s.square() * squared).clamp(min=0)


@dataclass(frozen=True, eq=False)
class Amortisation:
    """What an encoder loses against the best codes; `amortisation` measures it.

    >>> import torch
    >>> found = Amortisation(encoder=torch.tensor([0.5, 0.3]), optimal=torch.tensor([0.3, 0.3]))
    >>> round(found.gap, 3)
    0.1
    """

    encoder: Float[Tensor, " b"]
    """||x - x^||^2 + lambda sum_i f_i ||W_d,i|| with the encoder's latents, sample by sample."""
    optimal: Float[Tensor, " b"]
    """The same with the best latents for the same dictionary."""

    @property
    def gap(self) -> float:
        """Mean difference, in the units of the loss; negative only by what `optimal_codes` may still miss."""
        return float((self.encoder - self.optimal).mean())


@torch.no_grad()
def amortisation(coder: GroupCrosscoder, x: Float[Tensor, "b g d"], sparsity: float, *, tolerance: float = 1e-6,
                 most: int = 20_000) -> Amortisation:
    """The loss of a coder's latents, outside training, beside that of the best ones on its dictionary and bias b_d.

    Both are the objective of a ReLU coder with lambda = `sparsity`, in normalised units, whatever the coder's
    activation; the best latents may look at all blocks of x, not at x[e] alone. `tolerance` and `most` as for
    `optimal_codes`. ValueError as there, and for orbits that do not fit the coder.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> from groupcc_lite.manifolds import circle_directions
    >>> sae = SparseAutoencoder(channels=2, latents=8)
    >>> amortisation(sae, circle_directions(50)[:, None], sparsity=0.2).gap > 0
    True
    """
    if x.ndim != 3 or tuple(x.shape[1:]) != (coder.group.order, coder.channels):
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, {coder.group.order}, {coder.channels})")
    was_training = coder.training
    coder.eval()
    latents = coder.encode(x[:, 0]).double()
    coder.train(was_training)
    W_d = coder.W_d.flatten(1).double()
    target = (x.double() * coder.scale.double() - coder.b_d.double()).flatten(1)
    loss = (target - latents @ W_d).square().sum(1) + sparsity * latents @ W_d.norm(dim=1)
    return Amortisation(loss, optimal_codes(target, W_d, sparsity, tolerance=tolerance, most=most).loss)
