"""Tuning and coverage: units built to be tuned are found, half-turn units are not, and gaps are as counted by hand."""

import math

import numpy as np
import pytest
import torch

from groupcc_lite.groups import cyclic, dihedral, permutation_group
from groupcc_lite.responses import (
    CurveRule,
    arc_tuning,
    covered,
    gap_at_equal_numbers,
    gap_by_chance,
    largest_gap,
    turning_profile,
)
from groupcc_lite.stimuli import arcs

CURVATURES = [0.0, 1 / 24, 1 / 12]
SHOWN = arcs(48, curvatures=CURVATURES)


def by_style(responses):
    """(images, units) as (units, kinds x polarities, curvatures, directions)."""
    table = responses.T.view(-1, 2, len(CURVATURES), 2, 72)
    return table.permute(0, 1, 3, 2, 4).flatten(1, 2)


def matched(chosen):
    """Units that look for one of the stimuli each: the product with it, above the product with any straight one."""
    patterns = (SHOWN.images[chosen, 0] - 0.5).flatten(1)
    return ((SHOWN.images[:, 0] - 0.5).flatten(1) @ patterns.T).clamp(min=0)


def test_units_that_look_for_an_arc_are_found_with_direction_and_curvature():
    """Within one step of 5 degrees."""
    chosen = [k for k in range(len(SHOWN)) if SHOWN.curvature[k] > 0][::37]
    found = arc_tuning(by_style(matched(chosen) ** 4), CURVATURES)
    gap = (found.direction - SHOWN.direction[chosen] + math.pi) % (2 * math.pi) - math.pi
    assert gap.abs().rad2deg().max() <= 5
    torch.testing.assert_close(found.curvature, SHOWN.curvature[chosen])
    assert CurveRule().tuned(found).float().mean() > 0.9


def test_units_that_cannot_tell_a_direction_from_its_opposite_are_rejected():
    """Those of straight lines, and the sum of two opposite arcs: a double curve."""
    straight = [k for k in range(len(SHOWN)) if SHOWN.curvature[k] == 0 and SHOWN.kind[k] == 0][::11]
    found = arc_tuning(by_style(matched(straight) ** 4), CURVATURES)
    assert not CurveRule().tuned(found).any() and (found.curvature == 0).all()
    tightest = SHOWN.curvature == SHOWN.curvature.max()
    tight = [k for k in range(len(SHOWN)) if tightest[k] and SHOWN.direction[k] < 1][::5]
    both = matched(tight) ** 4 + matched([k + 36 for k in tight]) ** 4
    found = arc_tuning(by_style(both), CURVATURES)
    assert not CurveRule().tuned(found).any() and (found.two > found.one).all()


def test_random_units_are_seldom_called_curve_detectors():
    """By chance: random images as patterns, raised to the same power, which makes any unit selective."""
    patterns = torch.randn(200, 48 * 48, generator=torch.Generator().manual_seed(0))
    responses = ((SHOWN.images[:, 0] - 0.5).flatten(1) @ patterns.T).clamp(min=0)
    tuned = CurveRule().tuned(arc_tuning(by_style(responses), CURVATURES))
    assert tuned.float().mean() < 0.5  # noise has a best direction, too: the second witness is there for that


def test_a_silent_unit_is_tuned_to_nothing():
    found = arc_tuning(torch.zeros(2, 1, 2, 8), [0.0, 0.1])
    assert found.peak.tolist() == [0, 0] and found.one.isnan().all() and not CurveRule().tuned(found).any()


@pytest.mark.parametrize("curvatures, directions", [([0.1, 0.2], 8), ([0.0], 8), ([0.0, 0.1], 3)])
def test_responses_that_do_not_fit_are_refused(curvatures, directions):
    with pytest.raises(ValueError, match="one of them 0, and at least 4 directions"):
        arc_tuning(torch.ones(1, 1, 2, directions), curvatures)


def test_turning_photographs_is_a_second_witness():
    """Of two units that pass by the stimuli, one keeps its response after half a turn of the photographs."""
    angle = 2 * math.pi * torch.arange(8) / 8
    one, two = (1 + torch.cos(angle)) / 2, (1 + torch.cos(2 * angle)) / 2
    strength = torch.rand(5, 1, 2, generator=torch.Generator().manual_seed(0))
    r = torch.stack([one, two], 1)[None] * strength
    profile = turning_profile(r, cyclic(8), strongest=3)
    torch.testing.assert_close(profile, torch.stack([one, two]), atol=1e-6, rtol=0)
    tuning = arc_tuning(torch.stack([0 * angle, one]).expand(2, 1, 2, 8), [0.0, 0.1])
    assert CurveRule().tuned(tuning).all()
    assert CurveRule().confirmed(tuning, profile).tolist() == [True, False]


def test_only_the_strongest_samples_count_and_only_rotations():
    r = torch.zeros(4, 8, 1)
    r[0, :, 0] = torch.tensor([1.0, 0, 0.5, 0, 9, 9, 9, 9])  # the last four are mirrors of D_4
    r[1, :, 0] = torch.tensor([0.5, 1.0, 0, 0, 9, 9, 9, 9])
    assert turning_profile(r, dihedral(4), strongest=1).tolist() == [[1, 0, 0.5, 0]]
    torch.testing.assert_close(turning_profile(r, dihedral(4), strongest=2)[0], torch.tensor([1, 2 / 3, 1 / 3, 0]))
    assert turning_profile(torch.zeros(3, 8, 2), dihedral(4)).isnan().all()
    with pytest.raises(ValueError, match="no rotations to speak of"):
        turning_profile(torch.zeros(3, 12, 1), permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4"))


def test_gaps_by_hand():
    degrees = np.radians([350.0, 10.0, 100.0])
    assert math.degrees(largest_gap(degrees)) == pytest.approx(250)
    assert largest_gap([1.0]) == largest_gap([]) == pytest.approx(2 * math.pi)
    assert covered(degrees, reach=math.radians(10)) == pytest.approx((20 + 20 + 20) / 360)
    assert covered([], reach=1.0) == 0 and covered(np.radians(range(0, 360, 15))) == pytest.approx(1)


def test_more_directions_have_smaller_gaps_by_chance():
    few, many = gap_by_chance(20, draws=400), gap_by_chance(80, draws=400)
    assert np.median(many) < np.median(few)
    # The mean largest gap of n points on a circle is 2 pi (1 + 1/2 + ... + 1/n) / n.
    assert few.mean() == pytest.approx(2 * math.pi * sum(1 / k for k in range(1, 21)) / 20, rel=0.05)


def test_sets_are_compared_at_equal_numbers():
    many = 2 * math.pi * np.arange(90) / 90
    assert gap_at_equal_numbers(many, 90, draws=3) == pytest.approx(2 * math.pi / 90)
    assert gap_at_equal_numbers(many, 9, draws=200).mean() > 4 * 2 * math.pi / 90
    with pytest.raises(ValueError, match="count is 91; expected 1 to 90"):
        gap_at_equal_numbers(many, 91)
