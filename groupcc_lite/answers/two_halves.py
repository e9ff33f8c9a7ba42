"""Whether one half of a coder bears out what the other half says: a selection by one, a number read from the other.

A rule that selects features by a number and then reports this number cannot fail. The encoder and the decoder are
separate matrices, so what the encoder prefers may select, and the decoder's profile is then a test, and the other way
round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.base import bootstrap, percentile_interval, permutation_p

_DRAWS = 2000


class Separation(NamedTuple):
    """How far a number of selected features lies above that of the others.

    >>> separation(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([True, True, False])).auc
    1.0
    """

    auc: float
    """Chance that a selected feature has the larger number than another one, ties half: 0.5 says nothing."""
    selected: int
    others: int
    interval: tuple[float, float]
    """95 % for `auc`, features of both sides drawn again with replacement."""
    p: float
    """Share of random selections of the same size with an `auc` as far from 0.5, this one counted."""


def separation(values: Float[Tensor, " m"], selected: Bool[Tensor, " m"],
               others: Bool[Tensor, " m"] | None = None, *, draws: int = _DRAWS, seed: int = 0) -> Separation:
    """Do features that one half of a coder selects stand out in a number of the other half?

    `others` are what they are compared with, by default all the rest. Features whose value is NaN are left out. Without
    features on either side everything is NaN. Features of one dictionary are not independent of each other, so look at
    several seeds as well. ValueError for features on both sides.

    >>> generator = torch.Generator().manual_seed(0)
    >>> planted = torch.arange(200) < 60
    >>> found = separation(torch.randn(200, generator=generator) + planted, planted)
    >>> round(found.auc, 2), found.interval[0] > 0.5, found.p < 0.001
    (0.81, True, True)
    """
    others = ~selected if others is None else others
    if (selected & others).any():
        raise ValueError(f"{int((selected & others).sum())} features are on both sides; expected none")
    values = values.detach().cpu().double()
    there = ~values.isnan()
    a, b = values[selected.cpu() & there], values[others.cpu() & there]
    if not len(a) or not len(b):
        return Separation(torch.nan, len(a), len(b), (torch.nan, torch.nan), torch.nan)
    generator = torch.Generator().manual_seed(seed)
    above = (a[:, None] > b).double() + 0.5 * (a[:, None] == b).double()
    auc = float(above.mean())
    again = (_weights(len(a), draws, generator) @ above * _weights(len(b), draws, generator)).sum(1)
    ranks = _ranks(torch.cat([a, b]))
    chosen = torch.rand(draws, len(ranks), generator=generator).argsort(1)[:, :len(a)]
    chance = (ranks[chosen].sum(1) - len(a) * (len(a) - 1) / 2) / (len(a) * len(b))
    p = permutation_p(abs(auc - 0.5) - 1e-12, (chance - 0.5).abs())
    return Separation(auc, len(a), len(b), percentile_interval(again), p)


def interval_over_features(statistic: Callable[[Int[Tensor, " m"]], float], count: int, *, draws: int = 500,
              seed: int = 0) -> tuple[float, float]:
    """95 % interval of a statistic over features, such as a rank correlation: percentiles over features drawn again.

    `statistic` takes the numbers of the features that were drawn, of `count` with replacement. Draws in which it is NaN
    are left out. NaN if there are fewer than two features, or if the statistic is NaN in every draw.

    >>> x = torch.arange(100.0)
    >>> low, high = interval_over_features(lambda drawn: float(x[drawn].mean()), 100)
    >>> 43 < low < 46, 53 < high < 56
    (True, True)
    """
    if count < 2:
        return torch.nan, torch.nan
    generator = torch.Generator().manual_seed(seed)
    return percentile_interval(bootstrap(statistic, count, draws=draws, seed=generator), skip_nan=True)


def _weights(count: int, draws: int, generator: torch.Generator) -> Float[Tensor, "k n"]:
    """How often each of `count` things is drawn when as many are drawn with replacement, as shares."""
    drawn = torch.randint(count, (draws, count), generator=generator)
    ones = torch.full(drawn.shape, 1 / count, dtype=torch.double)
    return torch.zeros(draws, count, dtype=torch.double).scatter_add_(1, drawn, ones)


def _ranks(values: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """How many are smaller, equal ones counted half; a value is not compared with itself."""
    order = values.sort().values
    below, up_to = torch.searchsorted(order, values), torch.searchsorted(order, values, right=True)
    return (below + up_to - 1).double() / 2
