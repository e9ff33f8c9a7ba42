"""How fast a dictionary's loss falls, and how many features it discovers, as it grows: theory, and exact measurement.

With p_i ~ i^-(1 + alpha) and L_i(n) ~ n^-beta the best split has n_i ~ i^-s, s = (1 + alpha) / (1 + beta), because all
marginal gains p_i n_i^-(1 + beta) are equal. For alpha < beta that sum is spent on the last features, so D grows as N
and what was never found decides the loss; for alpha > beta the first features take a constant share, however large N
is, D grows slower than N, and the coarse tiling of the first features decides the loss. All of this is our algebra on
the model of Michaud, Gorton and McGrath 2025 (arXiv 2509.02565); no exponent here is quoted from the paper.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import zeta

from groupcc_lite.manifolds.capacity import DiscreteLoss, PowerLoss, ZipfFeatures, capacity_curve

_TERMS = 100_000  # of a sum over latents that are added one by one; the rest is a Hurwitz zeta function


class Scaling(NamedTuple):
    """D = discovered_at_1 N^discovered and L = loss_at_1 N^loss, to leading order; `asymptotic_scaling` gives it.

    >>> found = asymptotic_scaling(0.5, DiscreteLoss())
    >>> found.discovered, found.loss, round(found.discovered_at_1, 3)
    (1.0, -0.5, 1.0)
    """

    discovered: float
    """Exponent of D."""
    loss: float
    """Exponent of L, negative."""
    discovered_at_1: float
    """Constant in front of D."""
    loss_at_1: float
    """Constant in front of L, with probabilities that add up to 1."""

    def at(self, latents: float | int) -> tuple[float, float]:
        """(D, L) for so many latents.

        >>> asymptotic_scaling(1.0, PowerLoss(3.0)).at(1e6)[0] > 1e5
        True
        """
        latents = float(latents)  # whole numbers have no negative powers in numpy
        return self.discovered_at_1 * latents**self.discovered, self.loss_at_1 * latents**self.loss


def continuous_limit(alpha: float, beta: float) -> Scaling:
    """The textbook case: features i from 1 are a continuum of density alpha i^-(1 + alpha), L(n) = n^-beta from n = 1.

    alpha < beta: D = N (beta - alpha) / (1 + beta), L ~ N^-alpha. alpha > beta: D ~ N^((1 + beta) / (1 + alpha)),
    L ~ N^-beta. Derivation: n_i = (D / i)^s is 1 at i = D, and its integral from 1 to D is N. Constants are those of
    that continuum: whole latents and features have the constants of `asymptotic_scaling`, with equal exponents.
    ValueError for numbers that are not positive, and for alpha = beta, where powers have logarithms beside them.

    >>> continuous_limit(0.5, 2.0).at(1000)[0]
    500.0
    """
    s = _slope(alpha, beta)
    if s < 1:
        share = 1 - s  # N = D / share; found features leave alpha D^-alpha / share, the others D^-alpha
        return Scaling(1.0, -alpha, share, alpha * share**-alpha * (1 / share + 1 / alpha))
    return Scaling(1 / s, -beta, (s - 1) ** (1 / s), alpha * (s - 1) ** -(1 + beta))


def asymptotic_scaling(alpha: float, loss: PowerLoss | DiscreteLoss) -> Scaling:
    """Leading order, constants included, of the exact split over `ZipfFeatures(alpha, loss)`.

    With gains g_n = L(n - 1) - L(n), feature i has an n-th latent where p_i g_n reaches a level, so the features with n
    latents are the first D (g_n / g_1)^(1 / (1 + alpha)), D of them with at least one. alpha < beta, and discrete
    features always: the sum over n converges, D = sigma N with sigma = 1 / sum_n (g_n / g_1)^(1 / (1 + alpha)), and L
    = g_1 sigma^-(1 + alpha) N^-alpha / (alpha zeta(1 + alpha)). alpha > beta: n_i = N i^-s / zeta(s), therefore
    L = unit^beta zeta(s)^(1 + beta) N^-beta / zeta(1 + alpha). The next order is smaller by N^-(1 - s), or by
    N^-((s - 1) / s): where alpha and beta are close, no N that fits into a computer shows these laws. ValueError as for
    `continuous_limit`, and for another kind of loss.

    >>> from groupcc_lite.manifolds import allocate
    >>> round(allocate(ZipfFeatures(0.5, PowerLoss(2.0)), 100_000).discovered / 100_000, 3)
    0.511
    >>> round(asymptotic_scaling(0.5, PowerLoss(2.0)).discovered_at_1, 3)
    0.508
    """
    if isinstance(loss, DiscreteLoss):
        _slope(alpha, np.inf)
        return Scaling(1.0, -alpha, 1.0, 1 / (alpha * float(zeta(1 + alpha))))
    if not isinstance(loss, PowerLoss):
        raise ValueError(f"the loss is {loss!r}; expected a PowerLoss or DiscreteLoss, whose asymptotes are known")
    s, total, beta = _slope(alpha, loss.beta), float(zeta(1 + alpha)), loss.beta
    gains, strength = loss.gains(_TERMS), beta * loss.unit**beta
    if s < 1:
        # Beyond these terms g_n = strength (n + unit - 1/2)^-(1 + beta), a derivative instead of a difference.
        rest = strength ** (1 / (1 + alpha)) * float(zeta(1 / s, _TERMS + 0.5 + loss.unit))
        share = 1 / float(((gains ** (1 / (1 + alpha))).sum() + rest) / gains[0] ** (1 / (1 + alpha)))
        return Scaling(1.0, -alpha, share, gains[0] * share ** -(1 + alpha) / (alpha * total))
    head = float(zeta(s))  # n_1 = N / head, and its marginal gain strength n_1^-(1 + beta) is the level
    return Scaling(1 / s, -beta, (gains[0] / strength) ** (1 / (1 + alpha)) * head ** (-1 / s),
                   loss.unit**beta * head ** (1 + beta) / total)


class MeasuredScaling(NamedTuple):
    """Exponents of the exact split, as `measured_scaling` gives them: local slopes at growing N, and their limit.

    >>> found = measured_scaling(1.0, PowerLoss(3.0), largest=10_000)
    >>> found.loss_slopes.shape == found.latents.shape, round(found.loss, 2)
    (True, -1.0)
    """

    latents: Float[np.ndarray, " n"]
    """N in the middle of each pair of sizes, geometrically."""
    discovered_slopes: Float[np.ndarray, " n"]
    """d log D / d log N there: what a straight line through measurements would show."""
    loss_slopes: Float[np.ndarray, " n"]
    """d log L / d log N."""
    correction: float
    """omega: slopes differ from their limit by about N^-omega."""
    discovered: float
    """The slopes of D extrapolated to infinite N."""
    loss: float
    """The slopes of L extrapolated."""


def measured_scaling(alpha: float, loss: PowerLoss, *, smallest: int = 1000, largest: int = 1_000_000,
                     sizes: int = 13) -> MeasuredScaling:
    """Exponents of D(N) and L(N) from exact splits over features without end, the finite-size correction shown.

    `sizes` numbers of latents between `smallest` and `largest`, evenly on a logarithmic scale, give local slopes; a
    least-squares line in N^-omega through them, at N = infinity, is the exponent. omega = 1 - s for alpha < beta and
    (s - 1) / s else, the relative size of the model's next order: it is derived and not fitted, because whole features
    make the slopes of D too rough for a third parameter. Within 0.02 of theory while omega is 0.25 or more; a smaller
    one (alpha near beta) needs larger N than there are. ValueError as for `continuous_limit`, and for fewer than four
    sizes or a range that does not rise.

    >>> found = measured_scaling(0.5, PowerLoss(2.0), largest=100_000)
    >>> round(found.discovered, 2), round(found.loss, 2)
    (1.0, -0.5)
    """
    s = _slope(alpha, loss.beta)
    if sizes < 4 or not 0 < smallest < largest:
        raise ValueError(f"{sizes} sizes from {smallest} to {largest}; expected at least four, from a positive number "
                         "to a larger one")
    latents: Int[np.ndarray, " n"] = np.unique(np.geomspace(smallest, largest, sizes).round().astype(np.int64))
    if len(latents) < 4:
        raise ValueError(f"between {smallest} and {largest} there are {len(latents)} numbers; expected four or more")
    curve = capacity_curve(ZipfFeatures(alpha, loss), latents)
    x, omega = np.log(latents), 1 - s if s < 1 else (s - 1) / s
    slopes = [np.diff(np.log(y)) / np.diff(x) for y in (curve.discovered, curve.loss)]
    middle = np.exp((x[1:] + x[:-1]) / 2)
    limits = [float(np.polynomial.polynomial.polyfit(middle**-omega, slope, 1)[0]) for slope in slopes]
    return MeasuredScaling(middle, *slopes, omega, *limits)


def _slope(alpha: float, beta: float) -> float:
    """s = (1 + alpha) / (1 + beta)."""
    if not (0 < alpha < np.inf and beta > 0) or alpha == beta:
        raise ValueError(f"alpha is {alpha} and beta {beta}; expected positive numbers that differ")
    return (1 + alpha) / (1 + beta)
