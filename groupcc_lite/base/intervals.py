"""How sure a mean is."""

from __future__ import annotations

import statistics
from collections.abc import Iterable


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
