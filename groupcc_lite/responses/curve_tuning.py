"""Which units are tuned to the direction of a curve, and how evenly their directions cover the circle.

A *unit* is whatever gives one number for an image: a channel at a place, or a latent. Stimuli are `stimuli.arcs`, whose
direction comes back after a full turn, and after half a turn if they are straight. What counts as a curve detector was
fixed before any count was looked at (`CurveRule`), and has a witness that has seen no stimulus: how the unit answers
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

from groupcc_lite.groups import FiniteGroup, rotations_of

Directions = Sequence[float] | Float[Tensor, " k"] | Float[np.ndarray, " k"]
"""Angles in radians, in any form."""


class Tuning(NamedTuple):
    """How units answer to arcs; every field has a number for each unit. Responses below 0 count as 0.

    >>> Tuning._fields
    ('peak', 'style', 'curvature', 'direction', 'one', 'two', 'opposite', 'straight')
    """

    peak: Float[Tensor, " u"]
    """The largest response."""
    style: Int[Tensor, " u"]
    """Kind and polarity of the stimuli with the largest response, by number; the other fields are about these."""
    curvature: Float[Tensor, " u"]
    """Of the stimulus with the largest response."""
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
    """Largest response to a straight stimulus of the same style, as a share of the peak."""


def arc_tuning(responses: Float[Tensor, "u s c d"], curvatures: Sequence[float]) -> Tuning:
    """Tuning of units from their responses to arcs of s styles, c curvatures and d directions, evenly over a full turn.

    `responses` to `stimuli.arcs` come in this order when reshaped to (u, kinds, curvatures, polarities, directions) and
    with kinds and polarities made one axis. Units that answer to nothing have a peak of 0 and NaN elsewhere. ValueError
    for other numbers of curvatures, if none is straight, and for fewer than 4 directions.

    >>> angle = 2 * math.pi * torch.arange(8) / 8
    >>> curved = torch.stack([0 * angle, (1 + torch.cos(angle - math.pi / 2)) / 2])  # nothing to a line, one direction
    >>> found = arc_tuning(curved.view(1, 1, 2, 8), [0.0, 0.1])
    >>> round(float(found.curvature), 3), round(math.degrees(float(found.direction))), round(float(found.one), 2)
    (0.1, 90, 0.5)
    """
    u, _, c, d = responses.shape
    if c != len(curvatures) or 0 not in curvatures or d < 4:
        raise ValueError(f"responses have shape {tuple(responses.shape)} and curvatures are {list(curvatures)}; "
                         "expected one for each place of axis 2, one of them 0, and at least 4 directions")
    r = responses.double().clamp(min=0)
    style = r.amax((2, 3)).argmax(1)
    of_style = r[torch.arange(u), style]  # (u, c, d)
    peak, place = of_style.flatten(1).max(1)
    best = of_style[torch.arange(u), place // d]  # (u, d)
    angle = 2 * math.pi * torch.arange(d, dtype=torch.double) / d
    total = best.sum(1)
    first, second = ((best * torch.exp(1j * k * angle)).sum(1) / total for k in (1, 2))
    opposite = best[torch.arange(u), (place % d + d // 2) % d]
    silent = torch.where(peak > 0, 1.0, torch.nan)
    straight = of_style[:, list(curvatures).index(0)].amax(1)
    chosen = torch.as_tensor(curvatures, dtype=torch.double)[place // d]
    return Tuning(peak.float(), style, (chosen * silent).float(), (first.angle() % (2 * math.pi)).float(),
                  first.abs().float(), second.abs().float(), (opposite / peak).float(), (straight / peak).float())


class CurveRule(NamedTuple):
    """What a curve detector is, by bars that were fixed before anything was counted.

    Tuned to one direction in a full turn and not two; curved rather than straight; and the same on photographs: where
    the unit is most excited, half a turn of the image takes most of the response away.

    >>> CurveRule().opposite
    0.5
    """

    one: float = 0.4
    """Vector strength over a full turn, at least; a raised cosine, the broadest smooth bump, has 0.5."""
    opposite: float = 0.5
    """Response to the opposite direction, at most: a share of the peak. Units of lines and gratings have 1."""
    straight: float = 0.8
    """Response to a straight stimulus, at most: a share of the peak."""
    turned: float = 0.5
    """On photographs, response after half a turn, at most: a share of that before."""

    def tuned(self, found: Tuning) -> Bool[Tensor, " u"]:
        """The units that pass by the stimuli alone."""
        return ((found.curvature > 0) & (found.one >= self.one) & (found.opposite <= self.opposite)
                & (found.straight <= self.straight))

    def confirmed(self, found: Tuning, turning: Float[Tensor, "u k"]) -> Bool[Tensor, " u"]:
        """Those whose `turning_profile` on photographs says so, too."""
        return self.tuned(found) & (turning[:, turning.shape[1] // 2] <= self.turned)


def turning_profile(r: Float[Tensor, "n g u"], G: FiniteGroup, *, strongest: int = 20) -> Float[Tensor, "u k"]:
    """Responses to photographs that are turned about the places where a unit is most excited, by rotation.

    `r`: responses to orbits, by sample and element; what is below 0 counts as 0. For each unit the `strongest` samples
    by the response to the untransformed image are taken, and the mean over them, after each rotation, is given as a
    share of that before. NaN for units that never respond. Only the untransformed image chooses, so rotations compete
    on equal terms but for the first, which is 1 by construction: compare rotations with each other, and with nulls.
    ValueError for a group without rotations.

    >>> from groupcc_lite.groups import cyclic
    >>> r = torch.tensor([[[1.0], [0.25], [0.5], [0.25]], [[0.0], [1.0], [0.0], [0.0]]])
    >>> turning_profile(r, cyclic(4), strongest=1)
    tensor([[1.0000, 0.2500, 0.5000, 0.2500]])
    """
    n = rotations_of(G)
    if n is None:
        raise ValueError(f"{G.name} has no rotations to speak of; expected a cyclic or dihedral group")
    r = r[:, :n].clamp(min=0)
    count = min(strongest, len(r))
    rows = r[:, 0].topk(count, dim=0).indices  # (count, u)
    chosen = torch.gather(r, 0, rows[:, None, :].expand(-1, n, -1)).mean(0)  # (n, u)
    return (chosen / chosen[:1].where(chosen[:1] > 0, torch.nan)).T


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


def gap_at_equal_numbers(directions: Directions, count: int, *, draws: int = 2000,
                         seed: int = 0) -> Float[np.ndarray, " draws"]:
    """Largest gaps of random subsets of `count` of these directions, to compare sets of other sizes with.

    ValueError for more than there are.

    >>> gap_at_equal_numbers(torch.tensor([0.0, 1.0, 2.0]), 3, draws=2).round(3).tolist()
    [4.283, 4.283]
    """
    angles = np.asarray(directions, dtype=float)
    if not 0 < count <= len(angles):
        raise ValueError(f"count is {count}; expected 1 to {len(angles)}, the number of directions")
    generator = np.random.default_rng(seed)
    return np.array([largest_gap(generator.choice(angles, count, replace=False)) for _ in range(draws)])
