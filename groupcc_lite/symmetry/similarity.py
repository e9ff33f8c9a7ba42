"""The symmetry of dictionary vectors, computed: block action, cosines over the group, heatmaps, the linear ceiling.

A dictionary vector is a function f: G -> R^d. The group acts on it by (h . f)[g] = f[g h] (right-regular action), the
rule that orbit vectors themselves obey when the image is transformed. Stabilisers and irreps build on these functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, Irrep


def act(D: Float[Tensor, "*m g d"], G: FiniteGroup, h: int) -> Float[Tensor, "*m g d"]:
    """(h . f)[g] = f[g h] for every dictionary vector; h is an element's number."""
    _check(D, G)
    return D[..., torch.tensor(G.regular[h], device=D.device), :]


def paper_reflection(D: Float[Tensor, "*m g d"], G: FiniteGroup) -> Float[Tensor, "*m g d"]:
    """The reflection as Gorton 2024, section 2.3.2 prints it: swap the halves, reverse only the new reflection half.

    Kept for comparison only. It has order 4 instead of 2, and with the rotations it generates 512 arrangements of 32
    blocks instead of 32; `act(D, G, n)` with n = |G| / 2 is the correct one.
    """
    _check(D, G)
    half = G.order // 2
    if half == 0 or not G.name.startswith("D_"):
        raise ValueError(f"the paper prints a reflection for dihedral groups only, not for {G.name}")
    order = [*range(half, G.order), 0, *range(half - 1, 0, -1)]
    return D[..., torch.as_tensor(order, device=D.device), :]


def normalised(D: Float[Tensor, "m g d"]) -> Float[Tensor, "m g d"]:
    """Each dictionary vector, all blocks together, scaled to norm 1; a zero vector stays zero."""
    return D / D.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]


# Single precision cannot tell cosines apart that are closer than this.
_ROUNDING = 5e-6


class MaxCosine(NamedTuple):
    """Similarity of all pairs, and the element that attains it."""

    similarity: Float[Tensor, "i j"]
    element: Int[Tensor, "i j"]


@torch.no_grad()
def max_cosine(D: Float[Tensor, "m g d"], G: FiniteGroup, *, elements: bool = False) -> Tensor | MaxCosine:
    """S_ij = max_h <F_i, h . F_j> over normalised dictionary vectors: (m, m), exactly symmetric.

    With `elements=True` also the h that attains it, the lowest number among those that rounding cannot tell apart.
    Computed by the group Fourier transform, tile by tile: memory is a second copy of D and what is returned, whatever
    the group. Source: Gorton 2024, section 2.3.1, with the reflection corrected.
    """
    _check(D, G)
    correlations = _Correlations(D, G)
    best = torch.empty((len(D), len(D)), device=D.device)
    where = torch.empty((len(D), len(D)), dtype=torch.long, device=D.device) if elements else None
    tiles = [slice(k, k + correlations.tile) for k in range(0, len(D), correlations.tile)]
    for number, rows in enumerate(tiles):
        moved = correlations.left(rows)
        for columns in tiles[number:]:  # the rest follows from C_ji(h) = C_ij(h^-1)
            cosine = correlations.between(moved, columns)
            highest = cosine.amax(0)
            if columns == rows:
                highest = torch.maximum(highest, highest.T)
            best[rows, columns], best[columns, rows] = highest, highest.T
            if where is not None:
                where[rows, columns] = _first_best(cosine, highest, range(G.order))
                where[columns, rows] = _first_best(cosine, highest, G.inverse.tolist()).T
    return best if where is None else MaxCosine(best, where)


def _first_best(cosine: Float[Tensor, "g i j"], highest: Float[Tensor, "i j"],
                order: Sequence[int]) -> Int[Tensor, "i j"]:
    """The lowest k for which element order[k] attains the highest cosine, up to rounding."""
    found, bar = torch.zeros_like(highest, dtype=torch.long), highest - _ROUNDING
    for k in reversed(range(len(order))):
        found.masked_fill_(cosine[order[k]] >= bar, k)
    return found


class _Correlations:
    """C_ij(h) = <F_i, h . F_j> of normalised dictionary vectors for all h, one tile of pairs at a time.

    In Fourier space a correlation is a product of matrices, C^_ij(rho) = F^_i(rho)^T F^_j(rho), contracted over
    channels: for D_16 sum d^3 = 60 multiplications per pair and channel instead of |G|^2 = 1024. Columns 0, e, 2e, ...
    of these matrices determine the others (see `irreps`): |G| numbers, from which one small product gives C(h) for
    every h.
    """

    def __init__(self, D: Float[Tensor, "m g d"], G: FiniteGroup):
        self.order, self.stacks, forward = G.order, [], []
        # Irreps of one size and type go through one batched product.
        for (d, e), irreps in groupby(sorted(G.irreps(), key=_size_and_type), key=_size_and_type):
            matrices = np.stack([irrep.matrices for irrep in irreps])
            kept = rearrange(matrices[..., ::e], "r g a b -> r (b a) g")
            forward.append(kept.reshape(-1, G.order))
            # With real type all columns are kept; else the left side of the product needs the others from these.
            completion = None if e == 1 else rearrange(matrices, "r g a b -> r (b a) g") @ np.linalg.pinv(kept)
            spectra = torch.empty((len(kept) * d // e, len(D), d * D.shape[-1]), device=D.device)
            self.stacks.append(_Stack(d, e, spectra, None if completion is None else _single(completion, D)))
        self.back = _single(np.linalg.inv(np.concatenate(forward)), D)
        self._transform(D, _single(np.concatenate(forward), D), [len(rows) for rows in forward])

    def _transform(self, D: Tensor, forward: Tensor, sizes: list[int]) -> None:
        for start in range(0, len(D), self.tile):
            part = slice(start, start + self.tile)
            transformed = forward @ normalised(D[part].detach().float())
            for stack, piece in zip(self.stacks, transformed.split(sizes, dim=1), strict=True):
                stack.spectra[:, part] = rearrange(piece, "m (b a) n -> b m (a n)", a=stack.dim)

    @property
    def tile(self) -> int:
        """Side of a tile: its numbers for all h together are 4 MiB, so that they stay in the cache."""
        return max(16, math.isqrt(2**20 // self.order))

    def left(self, rows: slice) -> list[Float[Tensor, "_ _ _"]]:
        """F^_i(rho)^T for a tile's rows: (columns of F^, i) x (rows of F^, channels), once for each kept column."""
        found = []
        for d, e, spectra, completion in self.stacks:
            part = rearrange(spectra[:, rows], "(r b) i (a n) -> r (b a) (i n)", a=d, b=d // e)
            part = part if completion is None else completion @ part
            part = rearrange(part, "r (b a) (i n) -> r (b i) (a n)", a=d, n=spectra.shape[-1] // d)
            found.append(part.repeat_interleave(d // e, dim=0))
        return found

    def between(self, left: list[Float[Tensor, "_ _ _"]], columns: slice) -> Float[Tensor, "g i j"]:
        """C_ij(h) of the rows that `left` was made for with these columns."""
        i, j = left[0].shape[1], self.stacks[0].spectra[0, columns].shape[0]  # the first irrep is the trivial one
        coefficients, filled = self.back.new_empty((self.order, i, j)), 0
        for rows, (d, _, spectra, _) in zip(left, self.stacks, strict=True):
            size = d * len(spectra)
            torch.bmm(rows, spectra[:, columns].mT, out=coefficients[filled:filled + size].view(-1, d * i, j))
            filled += size
        return (self.back @ coefficients.flatten(1)).view(-1, i, j)


class _Stack(NamedTuple):
    """Irreps of one dimension and type, in Fourier space."""

    dim: int
    kind: int
    spectra: Float[Tensor, "rb m an"]
    """Kept column b of F^(rho) for each irrep rho: its d entries for all channels."""
    completion: Float[Tensor, "r ba BA"] | None
    """All columns from the kept ones, for each irrep."""


def _size_and_type(irrep: Irrep) -> tuple[int, int]:
    return irrep.dim, irrep.kind


def _single(matrix: np.ndarray, D: Tensor) -> Tensor:
    return torch.as_tensor(matrix, dtype=torch.float32, device=D.device)


def self_similarity(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, "m h"]:
    """c_i(h) = <F_i, h . F_i>: 1 where h leaves the feature as it is, c(h) = c(h^-1)."""
    F = normalised(D.detach().float())
    return torch.stack([(F * act(F, G, h)).sum((1, 2)) for h in range(G.order)], dim=1)


def block_cosines(D: Float[Tensor, "m g d"]) -> Float[Tensor, "m g h"]:
    """B[g, h] = cos(f[g], f[h]) between the blocks of each dictionary vector (Gorton 2024, Figure 5)."""
    unit = torch.nn.functional.normalize(D.detach().float(), dim=-1)
    return einsum(unit, unit, "m g d, m h d -> m g h")


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


def _check(D: Tensor, G: FiniteGroup) -> None:
    if D.ndim < 2 or D.shape[-2] != G.order:
        raise ValueError(f"dictionary has shape {tuple(D.shape)}; expected (..., {G.order}, channels) for {G.name}")
