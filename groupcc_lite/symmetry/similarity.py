"""How similar dictionary vectors are: the largest cosine over the group, profiles of one vector, blocks of one vector.

Stabilisers, spectra and families build on these functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int, Integer
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, Irrep
from groupcc_lite.symmetry.block_action import act, check_blocks, normalised, paper_reflection

# Single precision cannot tell cosines apart that are closer than this.
_ROUNDING = 5e-6


class MaxCosine(NamedTuple):
    """Similarity of all pairs, and the element that attains it.

    >>> MaxCosine._fields
    ('similarity', 'element')
    """

    similarity: Float[Tensor, "i j"]
    element: Int[Tensor, "i j"]


@torch.no_grad()
def max_cosine(D: Float[Tensor, "m g d"], G: FiniteGroup, *, elements: bool = False) -> Tensor | MaxCosine:
    """S_ij = max_h <F_i, h . F_j> over normalised dictionary vectors: (m, m), exactly symmetric.

    With `elements=True` also the h that attains it, the lowest number among those that rounding cannot tell apart.
    Computed by the group Fourier transform, tile by tile: memory is a second copy of D and what is returned, whatever
    the group. Source: Gorton 2024, section 2.3.1, with the reflection corrected.

    >>> from groupcc_lite.groups import dihedral
    >>> f = torch.randn(1, 8, 5, generator=torch.Generator().manual_seed(0))
    >>> D = torch.cat([f, act(f, dihedral(4), 6)])  # a feature and its mirror image
    >>> S, element = max_cosine(D, dihedral(4), elements=True)
    >>> round(float(S[0, 1]), 4), int(element[1, 0])
    (1.0, 6)
    """
    check_blocks(D, G)
    return max_over_group(Correlations(D, G), G, elements=elements)


def max_over_group(correlations: Any, G: FiniteGroup, *, elements: bool) -> Tensor | MaxCosine:
    """The maximum over h of cosines C_ij(h), of which one tile of pairs is held at a time.

    `correlations` has a `count`, a `device`, the side of a `tile`, `left(rows)`, and `between(left, columns)`, which is
    C(h) of a tile for all h.

    >>> from groupcc_lite.groups import cyclic
    >>> max_over_group(Correlations(torch.eye(4)[:2, :, None], cyclic(4)), cyclic(4), elements=True).element.tolist()
    [[0, 1], [3, 0]]
    """
    count, device = correlations.count, correlations.device
    best = torch.empty((count, count), device=device)
    where = torch.empty((count, count), dtype=torch.long, device=device) if elements else None
    for rows, columns, cosine, highest in _tiles(correlations):
        best[rows, columns], best[columns, rows] = highest, highest.T
        if where is not None:
            where[rows, columns] = _first_best(cosine, highest, range(G.order))
            where[columns, rows] = _first_best(cosine, highest, G.inverse.tolist()).T
    return best if where is None else MaxCosine(best, where)


def _tiles(correlations: Any) -> Iterator[tuple[slice, slice, Float[Tensor, "g i j"], Float[Tensor, "i j"]]]:
    """Rows, columns, C(h) and its maximum over h, for tiles on and above the diagonal: the rest follows from
    C_ji(h) = C_ij(h^-1). Any one row meets the tiles of all others in increasing order."""
    tiles = [slice(k, k + correlations.tile) for k in range(0, correlations.count, correlations.tile)]
    for number, rows in enumerate(tiles):
        left = correlations.left(rows)
        for columns in tiles[number:]:
            cosine = correlations.between(left, columns)
            highest = cosine.amax(0)
            if columns == rows:
                highest = torch.maximum(highest, highest.T)
            yield rows, columns, cosine, highest


def _first_best(cosine: Float[Tensor, "g i j"], highest: Float[Tensor, "i j"],
                order: Sequence[int]) -> Int[Tensor, "i j"]:
    """The lowest k for which element order[k] attains the highest cosine, up to rounding."""
    found, bar = torch.zeros_like(highest, dtype=torch.long), highest - _ROUNDING
    for k in reversed(range(len(order))):
        found.masked_fill_(cosine[order[k]] >= bar, k)
    return found


class Neighbours(NamedTuple):
    """For each feature the others most similar to it when the group may move them, best first.

    >>> Neighbours._fields
    ('similarity', 'row', 'element')
    """

    similarity: Float[Tensor, "m k"]
    """Cosines, at most 1; a map's distance is 1 minus these."""
    row: Int[Tensor, "m k"]
    """Which they are; of equally similar ones the lower row comes first."""
    element: Integer[Tensor, "m k"]
    """The h with which F_i and h . F_row agree best, as by `max_cosine`; bytes up to 256 elements, so call `.long()`
    before it indexes a tensor."""


@torch.no_grad()
def nearest_neighbours(D: Float[Tensor, "m g d"], G: FiniteGroup, count: int = 50) -> Neighbours:
    """The `count` features most similar to each by `max_cosine`, with the element, and never the cosines of all pairs.

    The same tiles give the same numbers: what is kept of each tile is merged into the best so far. Memory is a second
    copy of D, one tile and what is returned, 13 bytes a neighbour; it grows with m and not with its square.
    ValueError for a count that is not between 1 and the number of other features.

    >>> from groupcc_lite.groups import dihedral
    >>> f = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0))
    >>> near = nearest_neighbours(torch.cat([f, act(f, dihedral(4), 6)]), dihedral(4), count=1)
    >>> near.row[:, 0].tolist(), near.element[:, 0].tolist(), near.element.dtype
    ([2, 3, 0, 1], [6, 6, 6, 6], torch.uint8)
    """
    check_blocks(D, G)
    if not 1 <= count < len(D):
        raise ValueError(f"count is {count}; expected 1 to {len(D) - 1}, the number of other features")
    best = _nobody(len(D), count, G, D.device)
    for rows, columns, cosine, highest in _tiles(Correlations(D, G)):
        if columns != rows:
            _merge(best, rows, columns, cosine, highest, range(G.order))
        _merge(best, columns, rows, cosine.mT, highest.T, G.inverse.tolist())
    return best


def _nobody(features: int, count: int, G: FiniteGroup, device: torch.device) -> Neighbours:
    """Places for neighbours, all of them empty: any feature is more similar than -infinity."""
    number = torch.uint8 if G.order <= 256 else torch.int16 if G.order <= 2**15 else torch.int32
    return Neighbours(torch.full((features, count), -torch.inf, device=device),
                      torch.zeros((features, count), dtype=torch.long, device=device),
                      torch.zeros((features, count), dtype=number, device=device))


def _merge(best: Neighbours, rows: slice, others: slice, cosine: Float[Tensor, "g i j"], highest: Float[Tensor, "i j"],
           order: Sequence[int]) -> None:
    """Take what is better in a tile into the best of these rows so far.

    Those kept so far have lower numbers than those of the tile, so a stable order leaves the lower of equals first.
    """
    offered = highest.clamp(max=1)  # rounding beyond 1 is no order
    if rows == others:
        offered = offered.masked_fill(torch.eye(len(offered), dtype=torch.bool, device=offered.device), -torch.inf)
    both = torch.cat([best.similarity[rows], offered], dim=1)
    count = best.row.shape[1]
    similarity, position = (kept[:, :count] for kept in both.sort(dim=1, descending=True, stable=True))
    fresh, old, new = position >= count, position.clamp(max=count - 1), (position - count).clamp(min=0)
    attained = cosine.gather(2, new.expand(len(cosine), -1, -1))  # elements are sought for those that stay only
    element = _first_best(attained, highest.gather(1, new), order).to(best.element.dtype)
    best.element[rows] = torch.where(fresh, element, best.element[rows].gather(1, old))
    best.row[rows] = torch.where(fresh, new + others.start, best.row[rows].gather(1, old))
    best.similarity[rows] = similarity


@torch.no_grad()
def distances_to_labels(D: Float[Tensor, "m g d"], G: FiniteGroup, labels: Int[Tensor, " k"]) -> Float[Tensor, "m c"]:
    """Sum of 1 - `max_cosine` between each feature and all those of each label 0, 1, ..., tile by tile.

    What a silhouette is made of, without the distances of all pairs. ValueError for other than one label a feature.

    >>> from groupcc_lite.groups import cyclic
    >>> D = torch.eye(3)[[0, 0, 1], None]
    >>> distances_to_labels(D, cyclic(1), torch.tensor([0, 0, 1])).tolist()
    [[0.0, 1.0], [0.0, 1.0], [2.0, 0.0]]
    """
    check_blocks(D, G)
    if len(labels) != len(D) or not len(D) or labels.min() < 0:
        raise ValueError(f"{len(labels)} labels for {len(D)} features; expected one for each, from 0 on")
    member = torch.nn.functional.one_hot(labels.to(D.device)).float()
    sums = torch.zeros(member.shape, device=D.device)
    for rows, columns, _, highest in _tiles(Correlations(D, G)):
        gap = (1 - highest).clamp(min=0)
        if rows == columns:
            gap.fill_diagonal_(0)
        else:
            sums[columns] += gap.T @ member[rows]
        sums[rows] += gap @ member[columns]
    return sums


class Correlations:
    """C_ij(h) = <F_i, h . F_j> for all h, one tile of pairs at a time; of normalised vectors, unless `unit` is False.

    In Fourier space a correlation is a product of matrices, C^_ij(rho) = F^_i(rho)^T F^_j(rho), contracted over
    channels: for D_16 sum d^3 = 60 multiplications per pair and channel instead of |G|^2 = 1024. Columns 0, e, 2e, ...
    of these matrices determine the others (see `irreps`): |G| numbers, from which one small product gives C(h) for
    every h.

    >>> from groupcc_lite.groups import cyclic
    >>> found = Correlations(torch.eye(4)[:2, :, None], cyclic(4))  # two vectors, each with one block of its own
    >>> cosine = found.between(found.left(slice(0, 1)), slice(1, 2)).flatten()  # by element
    >>> int(cosine.argmax()), round(float(cosine.max()), 4)
    (1, 1.0)
    """

    def __init__(self, D: Float[Tensor, "m g d"], G: FiniteGroup, *, unit: bool = True):
        self.order, self.count, self.device, self.stacks, forward = G.order, len(D), D.device, [], []
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
        self._transform(D, _single(np.concatenate(forward), D), [len(rows) for rows in forward], unit)

    def _transform(self, D: Tensor, forward: Tensor, sizes: list[int], unit: bool) -> None:
        for start in range(0, len(D), self.tile):
            part = slice(start, start + self.tile)
            vectors = D[part].detach().float()
            transformed = forward @ (normalised(vectors) if unit else vectors)
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

    def coefficients(self, left: list[Float[Tensor, "_ _ _"]], columns: slice) -> Float[Tensor, "g i j"]:
        """C_ij of the rows that `left` was made for with these columns, in Fourier space: |G| numbers for each pair."""
        i, j = left[0].shape[1], self.stacks[0].spectra[0, columns].shape[0]  # the first irrep is the trivial one
        coefficients, filled = self.back.new_empty((self.order, i, j)), 0
        for rows, (d, _, spectra, _) in zip(left, self.stacks, strict=True):
            size = d * len(spectra)
            torch.bmm(rows, spectra[:, columns].mT, out=coefficients[filled:filled + size].view(-1, d * i, j))
            filled += size
        return coefficients

    def between(self, left: list[Float[Tensor, "_ _ _"]], columns: slice) -> Float[Tensor, "g i j"]:
        """C_ij(h) of the rows that `left` was made for with these columns."""
        coefficients = self.coefficients(left, columns)
        return (self.back @ coefficients.flatten(1)).view_as(coefficients)


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
    """c_i(h) = <F_i, h . F_i>: 1 where h leaves the feature as it is, c(h) = c(h^-1).

    >>> from groupcc_lite.groups import cyclic
    >>> f = torch.tensor([[[1.0], [0.0], [1.0], [0.0]]])  # the same after half a turn
    >>> self_similarity(f, cyclic(4)).round(decimals=4)
    tensor([[1., 0., 1., 0.]])
    """
    F = normalised(D.detach().float())
    return torch.stack([(F * act(F, G, h)).sum((1, 2)) for h in range(G.order)], dim=1)


def block_cosines(D: Float[Tensor, "m g d"]) -> Float[Tensor, "m g h"]:
    """B[g, h] = cos(f[g], f[h]) between the blocks of each dictionary vector (Gorton 2024, Figure 5).

    >>> block_cosines(torch.tensor([[[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]]))[0, 0]
    tensor([ 1.,  0., -1.])
    """
    unit = torch.nn.functional.normalize(D.detach().float(), dim=-1)
    return einsum(unit, unit, "m g d, m h d -> m g h")


@torch.no_grad()
def printed_similarity(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, "m m"]:
    """The paper's similarity as its section 2.3.2 prints it, for dihedral groups; kept for comparison only.

    The largest cosine of F_i with R^k F_j and R^k S F_j, where S is `paper_reflection`. These arrangements are not
    closed under inverses, so the result is not symmetric, and mirror images of each other do not reach 1. Use
    `max_cosine`.

    >>> from groupcc_lite.groups import dihedral
    >>> D = torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0))
    >>> S = printed_similarity(D, dihedral(4))
    >>> bool((S - S.T).abs().max() > 0.01)
    True
    """
    F, best = normalised(D), torch.full((len(D), len(D)), -torch.inf, device=D.device)
    for start in (F, paper_reflection(F, G)):
        for k in range(G.order // 2):
            torch.maximum(best, F.flatten(1) @ act(start, G, k).flatten(1).T, out=best)
    return best


@torch.no_grad()
def unrelated(D: Float[Tensor, "m g d"], *, seed: int = 0) -> Float[Tensor, "m g d"]:
    """The same features without relatives: each principal component of the channels gets a random sign per feature.

    A null for similarities of pairs. Every feature keeps its self-similarity for every element, hence its irreps'
    powers and its symmetry, and its power in each principal component of all blocks; two features share no signs.

    >>> from groupcc_lite.groups import dihedral
    >>> D = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(self_similarity(unrelated(D), dihedral(4)), self_similarity(D, dihedral(4)), atol=1e-5)
    True
    """
    F = normalised(D.detach().double())
    components = torch.linalg.eigh(einsum(F, F, "m g a, m g b -> a b")).eigenvectors
    signs = torch.randint(2, (len(D), D.shape[2]), generator=torch.Generator().manual_seed(seed)).to(F) * 2 - 1
    return ((F @ components * signs[:, None]) @ components.T).to(D.dtype)


def nearest_relative(S: Float[Tensor, "m m"]) -> Float[Tensor, " m"]:
    """The similarity of each feature to its nearest other one; ValueError for fewer than two.

    >>> nearest_relative(torch.tensor([[1.0, 0.25], [0.25, 1.0]]))
    tensor([0.2500, 0.2500])
    """
    if S.ndim != 2 or S.shape[0] != S.shape[1] or len(S) < 2:
        raise ValueError(f"S has shape {tuple(S.shape)}; expected the similarities of all pairs of at least two")
    return S.masked_fill(torch.eye(len(S), dtype=torch.bool, device=S.device), -torch.inf).amax(1)
