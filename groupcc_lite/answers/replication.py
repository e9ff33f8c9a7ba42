"""Do features come back? The best match of each in another dictionary, and what such a match is worth by itself.

The best of a thousand cosines is never small. So a match in a coder of another seed stands beside the nearest *other*
feature of the same dictionary, and beside the nearest of as many data points, which nobody trained.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.base import bootstrap, percentile_interval
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.symmetry import max_cosine, normalised


class Matches(NamedTuple):
    """Each feature's best match.

    >>> Matches(torch.tensor([0.9]), torch.tensor([0.7]))._fields
    ('group', 'plain')
    """

    group: Float[Tensor, " m"]
    """Largest cosine over the group, which also accepts transformed copies."""
    plain: Float[Tensor, " m"]
    """Largest plain cosine."""


def best_matches(D: Float[Tensor, "m g d"], others: Float[Tensor, "k g d"] | None, G: FiniteGroup) -> Matches:
    """For each dictionary vector the most similar one among `others`; None: among the rest of its own dictionary.

    ValueError for nothing to match with, and for dictionaries that do not fit the group.

    >>> from groupcc_lite.groups import cyclic
    >>> D = torch.tensor([[[1.0], [0.0]], [[1.0], [1.0]]])
    >>> found = best_matches(D[:1], D[:1].flip(1), cyclic(2))  # the other dictionary holds the same, moved
    >>> found.group.item(), found.plain.item()
    (1.0, 0.0)
    >>> round(best_matches(D, None, cyclic(2)).group[0].item(), 3)
    0.707
    """
    if len(D if others is None else others) < (2 if others is None else 1):
        raise ValueError("there is nothing to match with; expected another feature")
    both = D if others is None else torch.cat([D, others.to(D)])
    flat = normalised(both.detach().float()).flatten(1)
    tables = max_cosine(both, G), flat @ flat.T
    if others is None:
        own = [table.clone().fill_diagonal_(-torch.inf) for table in tables]
        return Matches(*(table.amax(1) for table in own))
    return Matches(*(table[:len(D), len(D):].amax(1) for table in tables))


class AboveNull(NamedTuple):
    """How many matches are better than chance.

    >>> AboveNull(0.5, (0.4, 0.6), 0.9, 100).share
    0.5
    """

    share: float
    """Of features whose match is above `bar`; 1 % by chance."""
    interval: tuple[float, float]
    """Where the share lies with 95 % confidence, features taken as independent, and the bar as estimated as well."""
    bar: float
    """The null's 99 % quantile."""
    features: int


def above_null(match: Float[Tensor, " m"], null: Float[Tensor, " k"], *, level: float = 0.99, draws: int = 500,
               seed: int = 0) -> AboveNull:
    """Share of matches above the `level` quantile of a null's.

    The interval draws matches and null anew, with replacement, and both together move the share. It is Wilson's, which
    takes the bar as known, where that reaches further: near 0 and 1 drawing anew sees no spread. With a few hundred
    values of the null it is still a little short: it holds the truth in 90 % of cases instead of 95. ValueError for no
    matches, no null or no draws.

    >>> above_null(torch.tensor([0.2, 0.95, 0.99]), torch.linspace(0, 0.9, 100)).share
    0.6666666666666666
    """
    from scipy.stats import binomtest  # slow to import

    if not len(match) or not len(null) or draws < 1:
        raise ValueError(f"{len(match)} matches and {len(null)} of the null, {draws} draws; expected some of each")
    ours, other = match.detach().cpu().double().numpy(), null.detach().cpu().double().numpy()
    bar = float(np.quantile(other, level))
    above = int((ours > bar).sum())
    low, high = percentile_interval(bootstrap(lambda i, j: (ours[i] > np.quantile(other[j], level)).mean(), len(ours),
                                              len(other), draws=draws, seed=seed))
    ends = binomtest(above, len(ours)).proportion_ci(method="wilson")
    return AboveNull(above / len(ours), (min(low, ends.low), max(high, ends.high)), bar, len(ours))


def median_interval(values: Float[Tensor, " m"], *, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Where the median lies with 95 % confidence, features drawn with replacement; dictionaries are taken as given.

    >>> median_interval(torch.full((20,), 0.5))
    (0.5, 0.5)
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        raise ValueError("no values; expected at least one")
    return percentile_interval(bootstrap(lambda drawn: np.median(numbers[drawn]), len(numbers), draws=draws, seed=seed))
