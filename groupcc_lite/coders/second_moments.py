"""How two vectors vary together, summed in one pass: linear maps between them are then closed forms."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

TINY = torch.finfo(torch.float64).tiny
"""What keeps 0 / 0 away, and nothing else: sums are in the model's units, so no small number is small by itself."""


class _Sums(NamedTuple):
    x: Float[Tensor, " p"]
    y: Float[Tensor, "g d"]
    xx: Float[Tensor, "p p"]
    xy: Float[Tensor, "p gd"]
    yy: Float[Tensor, " g"]


class SecondMoments:
    """Sums of x, y, x x^T, x y^T and |y|^2 over batches of x (b, p) and y (b, g, d), for instance latents and orbits.

    Batches are multiplied and summed in float64, on the device of the first one: what deviates from a mean is found by
    subtraction, which in float32 leaves nothing where means are large. Memory: 8 p (p + g d) bytes. Asking for anything
    before the first `add` is a ValueError.

    >>> import torch
    >>> from groupcc_lite.coders import SecondMoments
    >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> moments = SecondMoments()
    >>> for part in x.split(30):
    ...     moments.add(part, 3 * part[:, None, :1] + 1)
    >>> weights, intercept = moments.fit(ridge=0.0)
    >>> [round(w, 6) for w in (*weights.flatten().tolist(), float(intercept))]
    [3.0, 0.0, 1.0]
    >>> round(float(moments.fve(weights, intercept)), 6)
    1.0
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: _Sums | None = None

    def add(self, x: Float[Tensor, "b p"], y: Float[Tensor, "b g d"]) -> None:
        """Add a batch; ValueError for one that does not fit the others."""
        if x.ndim != 2 or y.ndim != 3 or len(x) != len(y):
            raise ValueError(f"x and y have shapes {tuple(x.shape)} and {tuple(y.shape)}; expected (b, p), (b, g, d)")
        x, y = x.double(), y.double()
        new = _Sums(x.sum(0), y.sum(0), x.T @ x, x.T @ y.flatten(1), y.square().sum((0, 2)))
        if self._sums is None:
            self._sums = _Sums(*(torch.zeros_like(term) for term in new))
        if [term.shape for term in new] != [term.shape for term in self._sums]:
            raise ValueError(f"x and y have shapes {tuple(x.shape)} and {tuple(y.shape)}; those before had "
                             f"{len(self._sums.x)} numbers, and blocks of {tuple(self._sums.y.shape)}")
        for total, term in zip(self._sums, new, strict=True):
            total += term
        self.count += len(x)

    def __add__(self, other: SecondMoments) -> SecondMoments:
        """The moments of the batches of both; neither changes."""
        both = SecondMoments()
        both.count = self.count + other.count
        both._sums = _Sums(*(a + b for a, b in zip(self.sums, other.sums, strict=True)))
        return both

    @property
    def sums(self) -> _Sums:
        """The sums themselves, with y flat in `xy`."""
        if self._sums is None or not self.count:
            raise ValueError("nothing was summed; expected at least one batch with a row")
        return self._sums

    @property
    def mean_x(self) -> Float[Tensor, " p"]:
        """Means of x."""
        return self.sums.x / self.count

    @property
    def mean_y(self) -> Float[Tensor, " gd"]:
        """Means of y, flat."""
        return self.sums.y.flatten() / self.count

    @property
    def squares(self) -> Float[Tensor, "p p"]:
        """Summed products of the deviations of x from its mean; divided by `count`, covariances."""
        return self.sums.xx - torch.outer(self.sums.x, self.sums.x) / self.count

    @property
    def products(self) -> Float[Tensor, "p gd"]:
        """The same of x and y: for latents and orbits the averaged orbits of chapter 5."""
        return self.sums.xy - torch.outer(self.sums.x, self.sums.y.flatten()) / self.count

    def blocks(self, ridge: float) -> Float[Tensor, "p gd"]:
        """What each entry of x adds to y, by ridge regression; `ridge` is in units of the mean variance of an entry.

        A ridge of 0 gives least squares, a large one `products`, shortened.
        """
        squares = self.squares
        damping = (max(ridge, 1e-15) * squares.diagonal().mean()).clamp(min=TINY)  # some, for entries that are 0
        return torch.linalg.solve(squares + damping * torch.eye(len(squares)).to(squares), self.products)

    def fit(self, ridge: float) -> tuple[Float[Tensor, "p g d"], Float[Tensor, "g d"]]:
        """Weights and intercepts of that regression: y ~ x W + b."""
        weights = self.blocks(ridge)
        intercept = self.mean_y - self.mean_x @ weights
        return weights.view(-1, *self.sums.y.shape), intercept.view_as(self.sums.y)

    def fve(self, weights: Float[Tensor, "p g d"], intercept: Float[Tensor, "g d"]) -> Float[Tensor, " g"]:
        """Fraction of the variance of each block of y, about its mean here, that any map x W + b explains here."""
        sums = self.sums
        xy = sums.xy.view(weights.shape)
        fit = einsum(weights, einsum(sums.xx, weights, "a c, c g d -> a g d"), "a g d, a g d -> g")
        fit += 2 * einsum(sums.x, weights, intercept, "c, c g d, g d -> g") + self.count * intercept.square().sum(-1)
        agreement = einsum(weights, xy, "c g d, c g d -> g") + (intercept * sums.y).sum(-1)
        variance = sums.yy - sums.y.square().sum(-1) / self.count
        return 1 - (sums.yy - 2 * agreement + fit) / variance.clamp(min=float(1e-12 * sums.yy.sum()) + TINY)
