"""Which units are tuned to the direction of a curve, and how evenly their directions cover the circle.

A *unit* is whatever gives one number for an image: a channel at a place, or a latent. Stimuli are `stimuli.arcs`, whose
direction comes back after a full turn, and after half a turn if they are straight. What counts as a curve detector was
fixed before counts were compared (`CurveRule`), and has a witness that has seen no stimulus: how the unit answers
when the photographs that excite it most are turned (`turning_profile`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.base import permutation_p
from groupcc_lite.groups import FiniteGroup, rotations_of

Directions = Sequence[float] | Float[Tensor, " k"] | Float[np.ndarray, " k"]
"""Angles in radians, in any form."""


class Tuning(NamedTuple):
    """How units answer to arcs; every field has a number for each unit. Responses below 0 count as 0.

    >>> Tuning._fields
    ('peak', 'style', 'curvature', 'row', 'direction', 'one', 'two', 'opposite', 'straight', 'beside')
    """

    peak: Float[Tensor, " u"]
    """The largest response."""
    style: Int[Tensor, " u"]
    """Kind and polarity of the stimuli with the largest response, by number; the other fields are about these."""
    curvature: Float[Tensor, " u"]
    """Of the stimulus with the largest response."""
    row: Int[Tensor, " u"]
    """The place of this curvature among those that were shown."""
    direction: Float[Tensor, " u"]
    """Mean direction of the responses at that curvature, in radians from 0 to 2 pi."""
    one: Float[Tensor, " u"]
    """Vector strength over a full turn at that curvature: 0 if all directions are alike or opposite ones are, 1 if a
    single direction excites the unit."""
    two: Float[Tensor, " u"]
    """The same over half a turn: large for units that take a direction and its opposite for the same."""
    opposite: Float[Tensor, " u"]
    """Response to the direction opposite to the best one, as a share of the peak."""
    straight: Float[Tensor, " u"]
    """Largest response to a straight stimulus of any style, as a share of the peak."""
    beside: Float[Tensor, " u"]
    """Response to the directions on both sides of the best one, the smaller of the two, as a share of the peak."""


def arc_tuning(responses: Float[Tensor, "u s c d"], curvatures: Sequence[float]) -> Tuning:
    """Tuning of units from responses to arcs of s styles, c curvatures and d directions, evenly over a full turn.

    `Arcs.table` brings responses to arcs into this order. Units that answer to nothing have a peak of 0, the first
    style and NaN elsewhere. ValueError for other numbers of curvatures, if none is straight, and for an odd number of
    directions or fewer than 4.

    >>> angle = 2 * math.pi * torch.arange(8) / 8
    >>> curved = torch.stack([0 * angle, (1 + torch.cos(angle - math.pi / 2)) / 2])  # nothing to a line, one direction
    >>> found = arc_tuning(curved.view(1, 1, 2, 8), [0.0, 0.1])
    >>> round(float(found.curvature), 3), round(math.degrees(float(found.direction))), round(float(found.one), 2)
    (0.1, 90, 0.5)
    """
    u, _, c, d = responses.shape
    if c != len(curvatures) or 0 not in curvatures or d < 4 or d % 2:
        raise ValueError(f"responses have shape {tuple(responses.shape)} and curvatures are {list(curvatures)}; "
                         "expected one for each place of axis 2, one of them 0, and an even number of directions, at "
                         "least 4")
    r = responses.double().clamp(min=0)
    style = r.amax((2, 3)).argmax(1)
    of_style = r[torch.arange(u), style]  # (u, c, d)
    peak, place = of_style.flatten(1).max(1)
    best = of_style[torch.arange(u), place // d]  # (u, d)
    angle = 2 * math.pi * torch.arange(d, dtype=torch.double) / d
    total = best.sum(1)
    first, second = ((best * torch.exp(1j * k * angle)).sum(1) / total for k in (1, 2))
    opposite, left, right = (best[torch.arange(u), (place + step) % d] for step in (d // 2, 1, -1))
    silent = torch.where(peak > 0, 1.0, torch.nan)
    straight = r[:, :, list(curvatures).index(0)].amax((1, 2))
    chosen = torch.as_tensor(curvatures, dtype=torch.double)[place // d]
    return Tuning(peak.float(), style, (chosen * silent).float(), place // d, (first.angle() % (2 * math.pi)).float(),
                  first.abs().float(), second.abs().float(), (opposite / peak).float(), (straight / peak).float(),
                  (torch.minimum(left, right) / peak).float())


class CurveRule(NamedTuple):
    """What a curve detector is.

    Tuned to one direction in a full turn, smoothly, and not two; curved rather than straight; and on photographs: where
    the unit is most excited, half a turn of the image leaves at most half of what the smallest turns leave, and an arc
    excites it not much less than these places do.

    >>> CurveRule().opposite
    0.5
    """

    one: float = 0.4
    """Vector strength over a full turn, at least; a raised cosine has 0.5."""
    opposite: float = 0.5
    """Response to the opposite direction, at most: a share of the peak. Units of lines and gratings have 1."""
    straight: float = 0.8
    """Response to a straight stimulus, at most: a share of the peak."""
    beside: float = 0.25
    """Response to both neighbouring directions, at least: a share of the peak, for directions 5 degrees apart. A unit
    that fires at a single one is not tuned."""
    turned: float = 0.5
    """On photographs, response after half a turn, at most: a share of that after the smallest turns."""
    near: float = 0.1
    """On photographs, response after the smallest turns, at least: a share of that before. Photographs that the
    smallest turn silences are no witness of a direction."""
    driven: float = 0.5
    """Response to the best arc, at least: a share of that to the photographs that excite the unit most."""

    def tuned(self, found: Tuning) -> Bool[Tensor, " u"]:
        """The units that pass by the stimuli alone."""
        return ((found.curvature > 0) & (found.one >= self.one) & (found.opposite <= self.opposite)
                & (found.straight <= self.straight) & (found.beside >= self.beside))

    def confirmed(self, found: Tuning, turning: Turning) -> Bool[Tensor, " u"]:
        """Those of which photographs say so, too."""
        steps = turning.profile.shape[1]
        near = (turning.profile[:, 1] + turning.profile[:, -1]) / 2  # not what the photographs were chosen by
        after = turning.profile[:, steps // 2]
        return (self.tuned(found) & (near >= self.near) & (after <= self.turned * near)
                & (found.peak >= self.driven * turning.strength))


class Turning(NamedTuple):
    """What units say when the photographs that excite them most are turned.

    >>> Turning._fields
    ('profile', 'strength')
    """

    profile: Float[Tensor, "u k"]
    """Mean response after each rotation, as a share of that before; NaN for units that never respond."""
    strength: Float[Tensor, " u"]
    """Mean response before."""


def turning_profile(r: Float[Tensor, "n g u"], G: FiniteGroup, *, strongest: int = 20) -> Turning:
    """Responses to photographs that are turned about the places where a unit is most excited, by rotation.

    `r`: responses to orbits, by sample and element; what is below 0 counts as 0. For each unit the `strongest` samples
    by the response to the untransformed image are taken. Only the untransformed image chooses, so rotations compete
    on equal terms but for the first, whose share is 1 by construction: compare the others with each other. ValueError
    for a group without a half turn.

    >>> from groupcc_lite.groups import cyclic
    >>> r = torch.tensor([[[1.0], [0.25], [0.5], [0.25]], [[0.0], [1.0], [0.0], [0.0]]])
    >>> turning_profile(r, cyclic(4), strongest=1).profile
    tensor([[1.0000, 0.2500, 0.5000, 0.2500]])
    """
    n = rotations_of(G)
    if n is None or n % 2:
        raise ValueError(f"{G.name} has no half turn among rotations; expected C_n or D_n with an even n")
    r = r[:, :n].clamp(min=0)
    count = min(strongest, len(r))
    rows = r[:, 0].topk(count, dim=0).indices  # (count, u)
    chosen = torch.gather(r, 0, rows[:, None, :].expand(-1, n, -1)).mean(0)  # (n, u)
    return Turning((chosen / chosen[:1].where(chosen[:1] > 0, torch.nan)).T, chosen[0])


# ------------------------------------------------------------------------------------------------ the circle

def largest_gap(directions: Directions) -> float:
    """The largest gap between neighbouring directions on the circle, in radians; 2 pi for one of them or none.

    >>> round(math.degrees(largest_gap(torch.tensor([0.0, math.pi / 2, math.pi]))))
    180
    """
    angles = np.sort(np.asarray(directions, dtype=float) % (2 * math.pi))
    if len(angles) < 2:
        return 2 * math.pi
    return float(np.append(np.diff(angles), angles[0] + 2 * math.pi - angles[-1]).max())


def covered(directions: Directions, *, reach: float = math.radians(7.5)) -> float:
    """The share of the circle that lies within `reach` radians of some direction.

    >>> round(covered(torch.tensor([0.0, math.pi]), reach=math.pi / 4), 3)
    0.5
    """
    angles = np.sort(np.asarray(directions, dtype=float) % (2 * math.pi))
    if not len(angles):
        return 0.0
    gaps = np.append(np.diff(angles), angles[0] + 2 * math.pi - angles[-1])
    return float(np.minimum(gaps, 2 * reach).sum() / (2 * math.pi))


def gap_by_chance(count: int, *, draws: int = 2000, seed: int = 0) -> Float[np.ndarray, " draws"]:
    """Largest gaps of so many independent, uniformly random directions: what coverage is worth by number alone.

    >>> bool(np.median(gap_by_chance(10)) > np.median(gap_by_chance(100)))
    True
    """
    generator = np.random.default_rng(seed)
    return np.array([largest_gap(2 * math.pi * generator.random(count)) for _ in range(draws)])


class Coverage(NamedTuple):
    """How well random draws of units cover the circle; arrays have an entry for each draw.

    >>> Coverage._fields
    ('detectors', 'gap', 'covered', 'gap_by_chance')
    """

    detectors: Int[np.ndarray, " k"]
    """How many of the units drawn have a direction."""
    gap: Float[np.ndarray, " k"]
    """Largest gap between their directions, in radians."""
    covered: Float[np.ndarray, " k"]
    """Share of the circle within 7.5 degrees of one of them."""
    gap_by_chance: Float[np.ndarray, " k"]
    """Largest gap between as many uniformly random directions, of the same groups: what number alone is worth."""


def coverage_at(directions: Directions, units: int, *, groups: Sequence[int] | Int[np.ndarray, " k"] | None = None,
                kinds: int = 1, draws: int = 200, seed: int = 0) -> Coverage:
    """Coverage by so many units drawn at random, to compare sets of other sizes with.

    `directions`: one for each unit of the set, NaN for those that are no detectors. With `groups`, a number from 0 to
    `kinds` - 1 for each unit, gap and coverage are taken within each group and averaged over the groups: detectors of
    light edges do not fill a gap between those of dark strokes. A group of one or none has a gap of a full turn, so
    that such means depend on how detectors are shared out; compare them with `gap_by_chance`. ValueError for more units
    than there are, and for detectors of a group that there is not.

    >>> every = coverage_at([0.0, math.nan, math.pi, math.nan], 4, draws=2)
    >>> every.detectors.tolist(), np.degrees(every.gap).tolist()
    ([2, 2], [180.0, 180.0])
    """
    angles = np.asarray(directions, dtype=float)
    if not 0 < units <= len(angles):
        raise ValueError(f"units is {units}; expected 1 to {len(angles)}, the number of units in the set")
    known = ~np.isnan(angles)
    group = np.zeros(len(angles), dtype=int) if groups is None else np.asarray(groups)
    if known.any() and not 0 <= group[known].min() <= group[known].max() < kinds:
        raise ValueError(f"groups of detectors are {group[known].min()} to {group[known].max()}; expected 0 to "
                         f"{kinds - 1}")
    generator = np.random.default_rng(seed)
    drawn = [generator.choice(len(angles), units, replace=False) for _ in range(draws)]
    drawn = [some[known[some]] for some in drawn]
    within = [[angles[some[group[some] == kind]] for kind in range(kinds)] for some in drawn]
    chance = [[2 * math.pi * generator.random(len(angle)) for angle in parts] for parts in within]
    return Coverage(np.array([len(some) for some in drawn]),
                    *(np.array([np.mean([measure(angle) for angle in parts]) for parts in every])
                      for measure, every in ((largest_gap, within), (covered, within), (largest_gap, chance))))


class Ring(NamedTuple):
    """How much of the variance of some vectors a circle explains.

    >>> Ring._fields
    ('shares', 'chance', 'p')
    """

    shares: Float[np.ndarray, " k"]
    """Of the variance about their mean, what the 1st, 2nd, ... harmonic of the direction explains."""
    chance: Float[np.ndarray, " k"]
    """The mean of the same with the directions dealt out anew."""
    p: float
    """Probability of as large a first share by chance."""


def ring(vectors: Float[Tensor, "u d"], directions: Directions, *, harmonics: int = 3, draws: int = 200,
         seed: int = 0) -> Ring:
    """Whether vectors lie on a circle in the order of their directions: a regression on cos(k a) and sin(k a).

    Vectors are taken at length 1. Harmonics are fitted together, one after the other, so their shares add up.
    ValueError for no more vectors than the regression has terms.

    >>> a = 2 * math.pi * torch.arange(12) / 12
    >>> found = ring(torch.stack([a.cos(), a.sin(), 0 * a], 1), a)
    >>> found.shares.round(3).tolist(), found.p < 0.01
    ([1.0, 0.0, 0.0], True)
    """
    angles = np.asarray(directions, dtype=float)
    if len(angles) <= 2 * harmonics + 1:
        raise ValueError(f"{len(angles)} vectors; expected more than {2 * harmonics + 1}")
    rest = torch.nn.functional.normalize(vectors.double(), dim=1).numpy()
    rest = rest - rest.mean(0)
    shares = _harmonic_shares(rest, angles, harmonics)
    generator = np.random.default_rng(seed)
    null = np.stack([_harmonic_shares(rest, generator.permutation(angles), harmonics) for _ in range(draws)])
    return Ring(shares, null.mean(0), permutation_p(shares[0], null[:, 0]))


def _harmonic_shares(rest: np.ndarray, angles: np.ndarray, harmonics: int) -> np.ndarray:
    terms = np.stack([wave(k * angles) for k in range(1, harmonics + 1) for wave in (np.cos, np.sin)], 1)
    basis, _ = np.linalg.qr(terms - terms.mean(0))
    explained = np.square(basis.T @ rest).sum(1).reshape(harmonics, 2).sum(1)
    return explained / np.square(rest).sum()
