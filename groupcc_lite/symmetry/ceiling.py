"""The linear ceiling: how much of the other blocks of an orbit a linear reader of its first block could know."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor


class _Moments:
    """Second moments of (x[e], x[g]) collected in one pass; every ridge strength is then closed form."""

    def __init__(self, order: int, channels: int):
        self.count = 0
        self.x = torch.zeros(channels, dtype=torch.float64)
        self.y = torch.zeros(order, channels, dtype=torch.float64)
        self.xx = torch.zeros(channels, channels, dtype=torch.float64)
        self.xy = torch.zeros(channels, order, channels, dtype=torch.float64)
        self.yy = torch.zeros(order, dtype=torch.float64)

    def add(self, blocks: Float[Tensor, "b g d"]) -> None:
        x0 = blocks[:, 0]
        self.count += len(blocks)
        self.x += x0.sum(0)
        self.y += blocks.sum(0)
        self.xx += x0.T @ x0
        self.xy += rearrange(x0.T @ blocks.flatten(1), "c (g d) -> c g d", d=blocks.shape[-1])
        self.yy += blocks.square().sum((0, 2))

    def fit(self, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights (c, g, d) and intercepts (g, d); `ridge` in units of the mean eigenvalue of x's covariance."""
        mean = self.x / self.count
        covariance = self.xx / self.count - torch.outer(mean, mean)
        cross = self.xy / self.count - einsum(mean, self.y / self.count, "c, g d -> c g d")
        penalty = ridge * covariance.trace() / len(mean)
        damped = covariance + penalty * torch.eye(len(mean), dtype=torch.float64)
        weights = torch.linalg.solve(damped, cross.flatten(1)).view_as(cross)
        return weights, self.y / self.count - einsum(mean, weights, "c, c g d -> g d")

    def fve(self, weights: Tensor, intercept: Tensor) -> Float[Tensor, " g"]:
        """1 - residual / variance about this data's own mean, per block."""
        predicted = einsum(self.xx, weights, "a c, c g d -> a g d")
        fit = einsum(weights, predicted, "a g d, a g d -> g")
        fit += 2 * einsum(self.x, weights, intercept, "c, c g d, g d -> g") + self.count * intercept.square().sum(-1)
        agreement = einsum(weights, self.xy, "c g d, c g d -> g") + (intercept * self.y).sum(-1)
        variance = self.yy - self.y.square().sum(-1) / self.count
        return 1 - (self.yy - 2 * agreement + fit) / variance.clamp(min=1e-12)


def linear_ceiling(train: Iterable[Tensor], held_out: Iterable[Tensor],
                   ridges: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)) -> Float[Tensor, " g"]:
    """Held-out FVE of the best ridge map from x[e] to x[g], per element: what a linear reader of x[e] could know.

    `train` and `held_out` give batches (b, g, d). The ridge strength, in units of the mean eigenvalue of x[e]'s
    covariance, is chosen on every fifth training batch, never on the held-out ones.
    """
    fit = choose = test = None
    for number, batch in enumerate(train):
        if fit is None:
            fit, choose, test = (_Moments(*batch.shape[1:]) for _ in range(3))
        (choose if number % 5 == 1 else fit).add(batch.float())
    if fit is None or not choose.count:
        raise ValueError("linear_ceiling needs at least 2 training batches, to choose the ridge strength on one")
    for batch in held_out:
        test.add(batch.float())
    if not test.count:
        raise ValueError("held_out is empty; expected batches of orbit vectors (b, g, d)")
    best = max(ridges, key=lambda ridge: float(choose.fve(*fit.fit(ridge)).mean()))
    return test.fve(*fit.fit(best)).float()
