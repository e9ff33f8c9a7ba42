"""How sure a number is: intervals of means and shares, the bootstrap, the jackknife, p values of permutation tests.

What is drawn anew must be independent: images and not their points, folds and not pairs of them. A statistic is a
function of the numbers of what was drawn, so that anything that can be indexed can be drawn, in pairs or alone.
Sources: Efron & Tibshirani 1993, "An introduction to the bootstrap"; Phipson & Smyth 2010, "Permutation p-values should
never be zero".
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ENDS = (0.025, 0.975)


def interval_of(values: Iterable[float]) -> tuple[float, float]:
    """Where the mean of such values lies with 95 % confidence, by Student's t: two values at least.

    Values must be independent of each other: one for each fold, each seed or each image, not one for each pair of them.

    >>> low, high = interval_of([0.48, 0.50, 0.52])
    >>> round(low, 3), round(high, 3)
    (0.45, 0.55)
    """
    from scipy.stats import t

    numbers = [float(value) for value in values]
    if len(numbers) < 2:
        raise ValueError(f"{len(numbers)} value has no spread; expected two or more")
    reach = float(t.ppf(0.975, len(numbers) - 1)) * statistics.stdev(numbers) / len(numbers) ** 0.5
    return statistics.fmean(numbers) - reach, statistics.fmean(numbers) + reach


def share_interval(successes: int, of: int) -> tuple[float, float]:
    """Where a share lies with 95 % confidence, at least (Clopper & Pearson 1934): also near 0 and 1, and for few.

    (0, 1) for nothing tried. ValueError for more successes than were tried.

    >>> low, high = share_interval(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.444, 0.975)
    """
    from scipy.stats import beta

    if not 0 <= successes <= of:
        raise ValueError(f"{successes} successes of {of}; expected between 0 and as many as were tried")
    return (float(beta.ppf(_ENDS[0], successes, of - successes + 1)) if successes else 0.0,
            float(beta.ppf(_ENDS[1], successes + 1, of - successes)) if successes < of else 1.0)


def percentile_interval(values: Sequence[float] | np.ndarray | Tensor, *,
                        skip_nan: bool = False) -> tuple[float, float]:
    """Where 95 % of these values lie: their 2.5 % and 97.5 % quantiles.

    Of `bootstrap` it is a statistic's 95 % interval, of shuffled data what chance gives, of features how they spread.
    NaN where a value is NaN, unless these are skipped, and where all are. ValueError for no values.

    >>> percentile_interval(np.arange(1001.0))
    (25.0, 975.0)
    """
    if not len(values):
        raise ValueError("no values; expected at least one")
    if isinstance(values, Tensor):  # torch's own quantiles: NumPy's can differ in the last bit
        quantile = Tensor.nanquantile if skip_nan else Tensor.quantile
        low, high = quantile(values.double(), torch.tensor(_ENDS, dtype=torch.double, device=values.device)).tolist()
    else:
        low, high = (np.nanquantile if skip_nan else np.quantile)(values, _ENDS)
    return float(low), float(high)


def bootstrap(statistic: Callable[..., Any], *counts: int, draws: int = 1000,
              seed: int | np.random.Generator | torch.Generator = 0) -> np.ndarray | Tensor:
    """A statistic of samples drawn anew with replacement, `draws` times: (draws, ...), for `percentile_interval`.

    `counts` are the sizes of the samples. The statistic gets, for each of them, as many numbers of its members, drawn
    independently of those of the others; what belongs together, such as two measurements of one image, is one sample.
    Percentiles are a little short for few values: those of a mean of 60 hold the truth in 94 % of cases instead of 95.
    With a torch generator numbers and result are tensors, and the result has torch's default precision. ValueError for
    an empty sample and for no draws.

    >>> x = np.arange(100.0)
    >>> low, high = percentile_interval(bootstrap(lambda drawn: x[drawn].mean(), len(x)))
    >>> 43 < low < 46, 53 < high < 56
    (True, True)
    >>> y = x + 20  # two samples: is the difference of their means above 0?
    >>> percentile_interval(bootstrap(lambda i, j: y[j].mean() - x[i].mean(), len(x), len(y)))[0] > 0
    True
    """
    if not counts or min(counts) < 1 or draws < 1:
        raise ValueError(f"samples of {list(counts)} and {draws} draws; expected a sample or more, and one or more in "
                         "each and of the draws")
    if isinstance(seed, torch.Generator):
        return torch.tensor([statistic(*(torch.randint(count, (count,), generator=seed) for count in counts))
                             for _ in range(draws)])
    random = np.random.default_rng(seed)
    return np.array([statistic(*(random.integers(count, size=count) for count in counts)) for _ in range(draws)])


def jackknife(statistic: Callable[[np.ndarray], float], count: int) -> float:
    """Standard error of a statistic of `count` things, from its values without one of them each.

    The statistic gets the numbers of those that are kept. It must be smooth: of a median this is wrong, use
    `bootstrap`. NaN for a single thing.

    >>> x = np.array([1.0, 2.0, 4.0, 5.0])
    >>> round(jackknife(lambda kept: x[kept].mean(), 4), 3), round(float(x.std(ddof=1)) / 2, 3)
    (0.913, 0.913)
    """
    if count < 2:
        return math.nan
    without = [statistic(np.delete(np.arange(count), left_out)) for left_out in range(count)]
    return float(np.std(without) * math.sqrt(count - 1))


def permutation_p(observed: float, null: Sequence[float] | np.ndarray | Tensor) -> float:
    """p value of a permutation test: share of the null's values that are as large, the observed one among them.

    Large means against the null: give distances for a test of both sides, and change both signs where small does. Of
    equal values one may come out smaller by rounding, so give an `observed` that is smaller by more than that. NaN if
    it is NaN; ValueError for NaN in the null, which would count as small.

    >>> permutation_p(3.0, [0.0, 1.0, 3.0, 2.0])
    0.4
    """
    if math.isnan(observed):
        return math.nan
    null = np.asarray(null, dtype=np.float64)
    if np.isnan(null).any():
        raise ValueError(f"{np.isnan(null).sum()} of {len(null)} values of the null are NaN; expected numbers")
    return (1 + int((null >= observed).sum())) / (1 + len(null))
