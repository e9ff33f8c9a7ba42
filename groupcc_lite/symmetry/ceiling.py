"""The linear ceiling: how much of the other blocks of an orbit a linear reader of its first block can know.

It is a reference and no upper bound. A nonlinear reader may know more, and so may a linear one that is fitted on more
images: `ceiling_curve` shows how far the fit has come. Nor does it measure what a network has learned. Random weights
are easier to predict than trained ones, and pixels easier still where the group turns them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.coders import SecondMoments

Map = tuple[Float[Tensor, "d g d"], Float[Tensor, "g d"]]
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Strengths of the penalty that are tried, in units of the mean eigenvalue of x[e]'s covariance."""


def linear_ceiling(train: Iterable[Tensor], held_out: Iterable[Tensor],
                   ridges: tuple[float, ...] = RIDGES) -> Float[Tensor, " g"]:
    """Held-out FVE of the best ridge map from x[e] to x[g], per element: what a linear reader of x[e] could know.

    `train` and `held_out` give batches (b, g, d). The ridge strength, in units of the mean eigenvalue of x[e]'s
    covariance, is chosen on every fifth training batch, never on the held-out ones. Moments are summed in double
    precision where the training batches lie, and so is the result. ValueError for fewer than two training batches and
    for no held-out one.

    >>> import torch
    >>> x = torch.randn(400, 1, 5, generator=torch.Generator().manual_seed(0))
    >>> orbits = torch.cat([x, x.flip(2)], dim=1)  # block 1 is a linear function of block 0
    >>> linear_ceiling(orbits[:300].split(100), orbits[300:].split(100)).round(decimals=2)
    tensor([1., 1.])
    """
    return ceiling_curve([train], held_out, ridges)[0]


def linear_map(train: Iterable[Tensor], ridges: tuple[float, ...] = RIDGES) -> Map:
    """Weights (d, g, d) and intercepts (g, d) of that map, x[g] ~ x[e] W[:, g] + b[g], to see what it misses where.

    >>> x = torch.randn(400, 1, 5, generator=torch.Generator().manual_seed(0))
    >>> orbits = torch.cat([x, x.flip(2) + 1], dim=1)
    >>> W, b = linear_map(orbits.split(100))
    >>> W.shape, round(float(W[0, 1, 4]), 2), round(float(b[1, 0]), 2)
    (torch.Size([5, 2, 5]), 1.0, 1.0)
    """
    (found,) = _growing([train], ridges)
    return found


def ceiling_curve(portions: Sequence[Iterable[Tensor]], held_out: Iterable[Tensor],
                  ridges: tuple[float, ...] = RIDGES) -> Float[Tensor, "k g"]:
    """The linear ceiling as the training data grow: row k is fitted on the first k + 1 portions, in one pass over all.

    Each portion gives batches (b, g, d), the first at least two; of every portion each fifth batch, from its second on,
    chooses the ridge strength. Portions should be of different images: points of one image resemble each other.
    ValueError as for `linear_ceiling`, and for no portion.

    >>> x = torch.randn(600, 1, 20, generator=torch.Generator().manual_seed(0))
    >>> noise = torch.randn(600, 1, 20, generator=torch.Generator().manual_seed(1))
    >>> orbits = torch.cat([x, x.flip(2) + noise], dim=1)
    >>> curve = ceiling_curve([orbits[:60].split(20), orbits[60:400].split(20)], orbits[400:].split(100))
    >>> curve.shape, bool(curve[0, 1] < curve[1, 1] < 0.5)  # half of block 1 is noise
    (torch.Size([2, 2]), True)
    """
    maps = list(_growing(portions, ridges))
    if not maps:
        raise ValueError("portions is empty; expected at least one, of batches of orbit vectors (b, g, d)")
    test = SecondMoments()
    for batch in held_out:
        blocks = batch.to(maps[0][0].device).float()
        test.add(blocks[:, 0], blocks)
    if not test.count:
        raise ValueError("held_out is empty; expected batches of orbit vectors (b, g, d)")
    return torch.stack([test.fve(*each).float() for each in maps])


def _growing(portions: Iterable[Iterable[Tensor]], ridges: tuple[float, ...]) -> Iterator[Map]:
    """The best map after each portion."""
    fit, choose = SecondMoments(), SecondMoments()
    for portion in portions:
        for number, batch in enumerate(portion):
            blocks = batch.float()
            (choose if number % 5 == 1 else fit).add(blocks[:, 0], blocks)
        if not choose.count:
            raise ValueError("linear_ceiling needs at least 2 training batches, to choose the ridge strength on one")
        best = max(ridges, key=lambda ridge: float(choose.fve(*fit.fit(ridge)).mean()))
        yield fit.fit(best)
