"""How a dictionary spends its latents when some features take many: the capacity-allocation model, solved exactly.

Feature i occurs with probability p_i and leaves the loss L_i(n) when n latents are spent on it, L_i(0) = 1. The best
split of N latents minimises sum_i p_i L_i(n_i) with sum_i n_i = N. Losses are convex, each latent of a feature gains no
more than the one before, so giving latents one by one to the largest gain p_i (L_i(n - 1) - L_i(n)) is exactly optimal:
any other split has a latent that would gain as much or more elsewhere. No heap is needed for it, because the gains of
each feature come in order: the best split consists of the N largest gains of all, which sorting finds.

The model is that of Michaud, Gorton and McGrath 2025 (arXiv 2509.02565), after Brill 2024; the algebra is ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import zeta

_EQUAL = 1e-13  # gains this close to each other, relatively, count as equal
_ROUNDING = 1e-12  # what differences of losses, which begin with 1, may be wrong by
_GOLDEN = (5**0.5 - 1) / 2


# ------------------------------------------------------------------------------------------- losses of a single feature

class FeatureLoss(ABC):
    """What is left of a feature's loss when latents are spent on it, as a share of its loss without any.

    Subclasses say `left`, which must begin with 1 and be convex and not rising: greedy spending is optimal only then.

    >>> import numpy as np
    >>> class Halving(FeatureLoss):
    ...     def left(self, latents):
    ...         return 0.5 ** latents
    >>> Halving().gains(3).tolist()
    [0.5, 0.25, 0.125]
    """

    @abstractmethod
    def left(self, latents: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """L(n) for these numbers of latents."""

    def gains(self, count: int) -> Float[np.ndarray, " n"]:
        """L(n - 1) - L(n) for n = 1 to `count`, none larger than the one before."""
        return -np.diff(self.left(np.arange(count + 1)))


@dataclass(frozen=True)
class PowerLoss(FeatureLoss):
    """L(n) = (1 + n / unit)^-beta, which falls as n^-beta: a manifold that is tiled more and more finely.

    n^-beta itself will not do: it gives L(1) = L(0) = 1, so that a first latent would be worth nothing and a second
    one much, which is not convex. `unit` > 0 latents take the loss to 2^-beta. A sphere S^(d-1) that is tiled has
    beta = 2 / (d - 1), see `circle_l1`. ValueError for numbers that are not positive.

    >>> PowerLoss(beta=2.0).left(np.array([0, 1, 3])).tolist()
    [1.0, 0.25, 0.0625]
    """

    beta: float
    unit: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.beta < np.inf and 0 < self.unit < np.inf):
            raise ValueError(f"beta is {self.beta} and unit {self.unit}; expected positive numbers")

    def left(self, latents: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        return (1 + latents / self.unit) ** -self.beta

    def gains(self, count: int) -> Float[np.ndarray, " n"]:
        before = np.arange(count)
        # Differences of nearly equal numbers lose digits, this does not: 1 - (1 + 1 / (unit + n - 1))^-beta.
        return self.left(before) * -np.expm1(-self.beta * np.log1p(1 / (self.unit + before)))


@dataclass(frozen=True)
class DiscreteLoss(FeatureLoss):
    """A feature that is one direction: its first latent explains all of it, L(1) = 0.

    >>> DiscreteLoss().left(np.arange(3)).tolist()
    [1.0, 0.0, 0.0]
    """

    def left(self, latents: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        return (np.asarray(latents) < 1).astype(float)


class MeasuredLoss(FeatureLoss):
    """A loss curve that was measured, in any unit: it is divided by its value without latents.

    `losses` (points,) for 0, 1, 2, ... latents, or for the numbers `latents`, which begin with 0 and rise; in between
    the loss is a straight line, and beyond the last point it stays. ValueError for a curve that rises or is not convex,
    naming where, beyond a share `tolerance` of the first value; with `envelope=True` its largest convex curve from
    below that never rises is taken instead. Spending is then optimal for the envelope, whose loss is a lower bound for
    that of the curve itself: reached if no feature ends between two points where the envelope touches the curve.

    >>> MeasuredLoss([8.0, 4.0, 2.0]).gains(3).tolist()
    [0.5, 0.25, 0.0]
    >>> MeasuredLoss([1.0, 0.9, 0.0], envelope=True).gains(2).tolist()
    [0.5, 0.5]
    """

    def __init__(self, losses: Sequence[float] | Float[np.ndarray, " points"],
                 latents: Sequence[int] | Int[np.ndarray, " points"] | None = None, *, envelope: bool = False,
                 tolerance: float = 1e-9):
        y = np.asarray(losses, dtype=float)
        x = np.arange(len(y)) if latents is None else np.asarray(latents)
        if y.ndim != 1 or len(y) < 2 or x.shape != y.shape or x[0] != 0 or not (np.diff(x) > 0).all():
            raise ValueError(f"losses have shape {y.shape} for {x.shape} numbers of latents; expected a curve of at "
                             "least two points, for numbers of latents that begin with 0 and rise")
        if not np.isfinite(y).all() or not y[0] > 0:
            raise ValueError("losses must be finite, and positive without latents")
        y = y / y[0]
        corners = _lower_hull(x, y)
        hull = np.interp(x, x[corners], y[corners])
        if not envelope and (y - hull).max() > tolerance:
            where = int((y - hull).argmax())
            raise ValueError(f"the curve is not convex, or rises: with {x[where]} latents {y[where]:.6g} of the loss "
                             f"is left, where the convex envelope has {hull[where]:.6g}; measure it again, or take "
                             "envelope=True")
        self._latents, self._losses = x[corners], y[corners]

    def left(self, latents: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        return np.interp(latents, self._latents, self._losses)

    def gains(self, count: int) -> Float[np.ndarray, " n"]:
        slopes = np.append(-np.diff(self._losses) / np.diff(self._latents), 0.0)
        return slopes[np.searchsorted(self._latents[1:], np.arange(1, count + 1))]  # on a straight line equal exactly


def _lower_hull(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Corners of the largest convex curve below the points that never rises; nothing after the lowest point."""
    corners: list[int] = []
    for i in range(int(y.argmin()) + 1):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (y[b] - y[a]) * (x[i] - x[b]) <= (y[i] - y[b]) * (x[b] - x[a]):
                break
            corners.pop()  # b lies above the line from a to i
        corners.append(i)
    return corners


# ------------------------------------------------------------------------------------------------------- many features

class Features(ABC):
    """Features with their probabilities, in an order, each with one of the `losses`: what subclasses say.

    >>> ZipfFeatures(1.0, DiscreteLoss(), features=2).head(0.0)[0].tolist()  # proportional to 1 and 1/4
    [0.8, 0.2]
    """

    losses: tuple[FeatureLoss, ...]
    count: int | None
    """How many features there are; None: no end."""

    @abstractmethod
    def head(self, least: float) -> tuple[Float[np.ndarray, " f"], Int[np.ndarray, " f"]]:
        """Probabilities of the first f features, and which of `losses` each has; the others have p < `least`."""

    @abstractmethod
    def beyond(self, count: int) -> float:
        """Sum of the probabilities of all features but the first `count`."""


class ZipfFeatures(Features):
    """Features i = 1, 2, ... without end, p_i = i^-(1 + alpha) / zeta(1 + alpha), or the first `features` of them.

    `losses`: one `FeatureLoss` for all, or several with `shares`, the fraction of features that has each. Kinds are
    mixed evenly, by the fractional parts of i times the golden ratio: a feature's kind depends on i only, and every
    stretch of features has all kinds in proportion. Nothing is cut off without end: what got no latent adds its
    Hurwitz zeta function to the loss. ValueError for alpha that is not positive (the probabilities would have no
    sum), and for shares that do not fit.

    >>> features = ZipfFeatures(1.0, [DiscreteLoss(), PowerLoss(2.0)], shares=[0.75, 0.25])
    >>> allocate(features, 8).latents.tolist()
    [1, 1, 2, 1, 1, 1, 1]
    """

    def __init__(self, alpha: float, losses: FeatureLoss | Sequence[FeatureLoss],
                 shares: Sequence[float] | None = None, *, features: int | None = None):
        self.losses = (losses,) if isinstance(losses, FeatureLoss) else tuple(losses)
        given = np.asarray([1.0] if shares is None else shares, dtype=float)
        if not 0 < alpha < np.inf or (features is not None and features < 1):
            raise ValueError(f"alpha is {alpha} and features {features}; expected a positive alpha, and at least 1 "
                             "feature or None for no end")
        if given.shape != (len(self.losses),) or not (given >= 0).all() or abs(given.sum() - 1) > 1e-9:
            raise ValueError(f"shares are {given.tolist()} for {len(self.losses)} losses; expected one share for each, "
                             "from 0, that add up to 1")
        self.alpha, self.count, self.shares = float(alpha), features, given
        self._sum = float(zeta(1 + alpha)) - (float(zeta(1 + alpha, features + 1)) if features else 0.0)

    def head(self, least: float) -> tuple[Float[np.ndarray, " f"], Int[np.ndarray, " f"]]:
        count = np.inf if least <= 0 else (least * self._sum) ** (-1 / (1 + self.alpha)) + 1
        rank = np.arange(1, int(count if self.count is None else min(count, self.count)) + 1)
        kind = np.searchsorted(np.cumsum(self.shares)[:-1], rank * _GOLDEN % 1, side="right")
        return rank ** -(1 + self.alpha) / self._sum, kind

    def beyond(self, count: int) -> float:
        last = float(zeta(1 + self.alpha, self.count + 1)) if self.count else 0.0
        return (float(zeta(1 + self.alpha, count + 1)) - last) / self._sum


class ListedFeatures(Features):
    """Finitely many features with these `probabilities` (f,), which need not add up to 1.

    `losses`: one for all, or one for each feature, or with `kinds` (f,) several that features share by number.
    ValueError for probabilities that are negative or not finite, and for losses that do not fit.

    >>> features = ListedFeatures([0.5, 0.4], [PowerLoss(1.0), DiscreteLoss()])
    >>> allocate(features, 3).latents.tolist()
    [2, 1]
    """

    def __init__(self, probabilities: Sequence[float] | Float[np.ndarray, " f"],
                 losses: FeatureLoss | Sequence[FeatureLoss],
                 kinds: Sequence[int] | Int[np.ndarray, " f"] | None = None):
        self.probabilities = p = np.asarray(probabilities, dtype=float)
        self.count = p.size
        self.losses = (losses,) if isinstance(losses, FeatureLoss) else tuple(losses)
        shared = len(self.losses) == 1
        self.kinds = np.arange(p.size) * (not shared) if kinds is None else np.asarray(kinds)
        if p.ndim != 1 or not p.size or not np.isfinite(p).all() or (p < 0).any():
            raise ValueError("probabilities must be a list of at least one finite number from 0")
        if (self.kinds.shape != p.shape or self.kinds.min() < 0 or self.kinds.max() >= len(self.losses)
                or (kinds is None and not shared and len(self.losses) != len(p))):
            raise ValueError(f"{len(p)} features have {len(self.losses)} losses; expected one for all, one for each, "
                             "or kinds that say for each feature which")

    def head(self, least: float) -> tuple[Float[np.ndarray, " f"], Int[np.ndarray, " f"]]:
        return self.probabilities, self.kinds

    def beyond(self, count: int) -> float:
        return float(self.probabilities[count:].sum())


# ------------------------------------------------------------------------------------------------------ the best split

@dataclass(frozen=True, eq=False)
class Allocation:
    """The best split of a number of latents; `allocate` finds it.

    >>> found = allocate(ListedFeatures([0.5, 0.3, 0.2], DiscreteLoss()), 2)
    >>> found.latents.tolist(), found.discovered, round(found.loss, 3)
    ([1, 1, 0], 2, 0.2)
    """

    latents: Int[np.ndarray, " f"]
    """n_i; features that are not listed have none."""
    loss: float
    """sum_i p_i L_i(n_i) over all features, also those that are not listed."""
    unused: int
    """Latents that could lower the loss nowhere, because all features are finished; n_i and these add up to N."""

    @property
    def discovered(self) -> int:
        """D, how many features have a latent."""
        return int((self.latents > 0).sum())


def allocate(features: Features, latents: int) -> Allocation:
    """The split of N = `latents` latents with the smallest loss, exact for convex losses.

    Of equal gains (to 13 digits) the feature listed first gets the latent. A million latents on features without end
    take about a second and 100 bytes a latent. ValueError if N is negative.

    >>> found = allocate(ZipfFeatures(0.5, PowerLoss(2.0)), 1000)
    >>> int(found.latents.sum()), found.latents[:5].tolist(), found.discovered
    (1000, [31, 22, 17, 15, 13], 531)
    """
    ranked = _ranked(features, latents)
    spent = np.bincount(ranked.feature, minlength=len(ranked.probabilities))
    # Of features without end those up to the last that has a latent.
    listed = ranked.feature.max(initial=-1) + 1 if features.count is None else len(spent)
    return Allocation(spent[:listed], ranked.loss(features, spent), latents - len(ranked.feature))


class CapacityCurve(NamedTuple):
    """Best splits of several numbers of latents, as `capacity_curve` gives them.

    >>> capacity_curve(ListedFeatures([0.5, 0.3], DiscreteLoss()), [0, 1]).loss.round(3).tolist()
    [0.8, 0.3]
    """

    latents: Int[np.ndarray, " n"]
    """N."""
    discovered: Int[np.ndarray, " n"]
    """D(N), how many features have a latent."""
    loss: Float[np.ndarray, " n"]
    """L(N)."""


def capacity_curve(features: Features, latents: Sequence[int] | Int[np.ndarray, " n"]) -> CapacityCurve:
    """D(N) and L(N) for all these N in the time of the largest: smaller splits are what it spends first.

    ValueError for a negative number of latents, or none to look at.

    >>> curve = capacity_curve(ZipfFeatures(0.5, PowerLoss(2.0)), [10, 100, 1000])
    >>> curve.discovered.tolist(), curve.loss.round(3).tolist()
    ([7, 58, 531], [0.369, 0.143, 0.048])
    """
    sizes = np.asarray(latents)
    if sizes.ndim != 1 or not sizes.size or sizes.dtype.kind != "i":
        raise ValueError(f"latents are {latents!r}; expected a list of whole numbers")
    if sizes.min() < 0:
        raise ValueError(f"the number of latents is {sizes.min()}; expected at least 0")
    ranked = _ranked(features, int(sizes.max()))
    spent = np.bincount(ranked.feature, minlength=len(ranked.probabilities))
    taken = np.minimum(sizes, len(ranked.gain))
    new = np.append(0, np.cumsum(ranked.latent == 0))
    # Gains that are still to come, added from the smallest: what is subtracted from 1 would lose the small losses.
    to_come = np.append(np.cumsum(ranked.gain[::-1])[::-1], 0.0)
    return CapacityCurve(sizes, new[taken], ranked.loss(features, spent) + to_come[taken])


class _Ranked(NamedTuple):
    """The largest gains, in order."""

    gain: Float[np.ndarray, " n"]
    feature: Int[np.ndarray, " n"]
    latent: Int[np.ndarray, " n"]
    """How many latents the feature had before."""
    probabilities: Float[np.ndarray, " f"]
    kinds: Int[np.ndarray, " f"]

    def loss(self, features: Features, spent: Int[np.ndarray, " f"]) -> float:
        """sum_i p_i L_i(n_i), small terms and the features beyond those that were looked at included."""
        total = features.beyond(len(spent))
        for number, loss in enumerate(features.losses):
            of_kind = self.kinds[:len(spent)] == number
            total += float((self.probabilities[:len(spent)][of_kind] * loss.left(spent[of_kind])).sum())
        return total


def _ranked(features: Features, latents: int) -> _Ranked:
    """The N largest gains of all features; fewer if fewer are positive."""
    if latents < 0:
        raise ValueError(f"the number of latents is {latents}; expected at least 0")
    gains = [_positive_gains(loss, max(latents, 1)) for loss in features.losses]
    p, kinds, counts = _candidates(features, gains, latents)
    feature = np.repeat(np.arange(len(counts)), counts)
    latent = np.arange(len(feature)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.cumsum([0, *map(len, gains)])[:-1]
    gain = p[feature] * np.concatenate(gains)[starts[kinds[feature]] + latent]
    order = np.argsort(-gain, kind="stable")[:latents]  # stable: of equal gains the first feature's comes first
    return _Ranked(gain[order], feature[order], latent[order], p, kinds)


def _positive_gains(loss: FeatureLoss, count: int) -> Float[np.ndarray, " n"]:
    """A feature's gains as far as they are positive; ValueError for a loss that is none."""
    gains, start = loss.gains(count), float(loss.left(np.zeros(1, dtype=int))[0])
    if abs(start - 1) > _ROUNDING or not (gains > -_ROUNDING).all() or not (np.diff(gains) < _ROUNDING).all():
        raise ValueError(f"{loss} begins with {start:g}, or rises, or is not convex; expected 1 without latents and "
                         "gains of which none is negative or exceeds the one before; see MeasuredLoss and its envelope")
    gains = np.minimum.accumulate(gains.clip(min=0))
    return gains[gains > 0]


def _candidates(features: Features, gains: list[np.ndarray],
                latents: int) -> tuple[Float[np.ndarray, " f"], Int[np.ndarray, " f"], Int[np.ndarray, " f"]]:
    """Probabilities, kinds, and how many of each feature's gains reach a level that N gains reach and few more."""
    first = max((g[0] for g in gains if len(g)), default=0.0)
    p, kinds = features.head(np.inf)
    high = 2 * first * p.max()
    if not latents or not high:
        return p, kinds, np.zeros(len(p), dtype=np.int64)
    lowest = _lowest(features, gains)
    low, found = high, _reaching(features, gains, first, high)
    while found[2].sum() < latents and low > lowest:
        high, low = low, max(low / 4, lowest)
        found = _reaching(features, gains, first, low)
    while found[2].sum() > latents + latents // 8 + 64:
        if high <= low * (1 + _EQUAL):
            return _tied(found, _reaching(features, gains, first, high)[2], latents)
        middle = low * (high / low) ** 0.5
        further = _reaching(features, gains, first, middle)
        low, high, found = (middle, high, further) if further[2].sum() >= latents else (low, middle, found)
    return found


def _lowest(features: Features, gains: list[np.ndarray]) -> float:
    """A level that every positive gain reaches; 0 if features have no end."""
    if features.count is None:
        return 0.0
    p, kinds = features.head(0.0)
    last = np.array([g[-1] if len(g) else np.inf for g in gains])[kinds]
    return float((last * np.where(p > 0, p, np.inf)).min() * (1 - _EQUAL))


def _reaching(features: Features, gains: list[np.ndarray], first: float,
              level: float) -> tuple[Float[np.ndarray, " f"], Int[np.ndarray, " f"], Int[np.ndarray, " f"]]:
    """Probabilities, kinds, and how many of each feature's gains are at least `level`."""
    p, kinds = features.head(level / first)
    counts = np.zeros(len(p), dtype=np.int64)
    with np.errstate(divide="ignore"):  # what never occurs would need an infinite gain
        needed = level / p
    for number, gain in enumerate(gains):
        of_kind = kinds == number
        counts[of_kind] = np.searchsorted(-gain, -needed[of_kind], side="right")
    return p, kinds, counts


def _tied(found: tuple[np.ndarray, np.ndarray, np.ndarray], above: Int[np.ndarray, " f"],
          latents: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of very many equal gains those that are needed: all larger ones, and of the equal ones the first features'."""
    p, kinds, counts = found
    sure = np.append(above, np.zeros(len(counts) - len(above), dtype=np.int64))
    tied = counts - sure
    before = np.cumsum(tied) - tied
    return p, kinds, sure + np.clip(latents - sure.sum() - before, 0, tied)
