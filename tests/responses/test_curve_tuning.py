"""Tuning and coverage: units built to be tuned are found, half-turn units are not, and gaps are as counted by hand."""

import math

import numpy as np
import pytest
import torch

from groupcc_lite.groups import cyclic, dihedral, permutation_group
from groupcc_lite.responses import (
    CurveRule,
    arc_tuning,
    coverage_at,
    covered,
    gap_by_chance,
    largest_gap,
    ring,
    turning_profile,
)
from groupcc_lite.stimuli import arcs

CURVATURES = [0.0, 1 / 24, 1 / 12]
SHOWN = arcs(48, curvatures=CURVATURES)


def matched(chosen):
    """Units that look for one of the stimuli each: the product with it, above the product with any straight one."""
    patterns = (SHOWN.images[chosen, 0] - 0.5).flatten(1)
    return ((SHOWN.images[:, 0] - 0.5).flatten(1) @ patterns.T).clamp(min=0)


def test_units_that_look_for_an_arc_are_found_with_direction_and_curvature():
    """Within one step of 5 degrees."""
    chosen = [k for k in range(len(SHOWN)) if SHOWN.curvature[k] > 0][::37]
    found = arc_tuning(SHOWN.table(matched(chosen) ** 4), CURVATURES)
    gap = (found.direction - SHOWN.direction[chosen] + math.pi) % (2 * math.pi) - math.pi
    assert gap.abs().rad2deg().max() <= 5
    torch.testing.assert_close(found.curvature, SHOWN.curvature[chosen])
    assert CurveRule().tuned(found).float().mean() > 0.9


def test_units_that_cannot_tell_a_direction_from_its_opposite_are_rejected():
    """Those of straight lines, and the sum of two opposite arcs: a double curve."""
    straight = [k for k in range(len(SHOWN)) if SHOWN.curvature[k] == 0 and SHOWN.kind[k] == 0][::11]
    found = arc_tuning(SHOWN.table(matched(straight) ** 4), CURVATURES)
    assert not CurveRule().tuned(found).any() and (found.curvature == 0).all()
    tightest = SHOWN.curvature == SHOWN.curvature.max()
    tight = [k for k in range(len(SHOWN)) if tightest[k] and SHOWN.direction[k] < 1][::5]
    both = matched(tight) ** 4 + matched([k + 36 for k in tight]) ** 4
    found = arc_tuning(SHOWN.table(both), CURVATURES)
    assert not CurveRule().tuned(found).any() and (found.two > found.one).all()


def photographs(count=60, seed=0):
    """Responses of units to turned noise, by sample and rotation: each looks for a pattern that nothing turns into."""
    return torch.randn(400, 16, count, generator=torch.Generator().manual_seed(seed)).relu()


def test_random_patterns_are_tuned_more_seldom_than_planted_ones():
    """Any pattern fits some direction best, so the arcs alone are no proof; they are why every count has its null."""
    patterns = torch.randn(200, 48 * 48, generator=torch.Generator().manual_seed(0))
    responses = ((SHOWN.images[:, 0] - 0.5).flatten(1) @ patterns.T).clamp(min=0)
    random = CurveRule().tuned(arc_tuning(SHOWN.table(responses ** 4), CURVATURES)).float().mean()
    chosen = [k for k in range(len(SHOWN)) if SHOWN.curvature[k] > 0][::37]
    planted = CurveRule().tuned(arc_tuning(SHOWN.table(matched(chosen) ** 4), CURVATURES)).float().mean()
    assert random < 0.8 < planted


def test_photographs_confirm_no_unit_that_is_the_largest_by_accident():
    """Places are chosen by the untransformed image; what is left after any turn is the same for such units."""
    turning = turning_profile(photographs(), dihedral(8))
    tuning = arc_tuning(planted_tuning().expand(60, 1, 2, 8), [0.0, 0.1])
    assert CurveRule().tuned(tuning).all()
    found = CurveRule(driven=0.0).confirmed(tuning, turning)
    assert found.float().mean() < 0.05
    assert (turning.profile[:, 4] < 0.5).all()  # against the response that chose them, all would pass


def planted_tuning():
    angle = 2 * math.pi * torch.arange(8) / 8
    return torch.stack([0 * angle, ((1 + torch.cos(angle)) / 2) ** 2])


def test_a_unit_that_fires_at_a_single_direction_is_not_tuned():
    spike, smooth = torch.zeros(2, 72), torch.zeros(2, 72)
    spike[1, 10], smooth[1, 8:13] = 1.0, torch.tensor([0.2, 0.6, 1.0, 0.6, 0.2])
    found = arc_tuning(torch.stack([spike, smooth])[:, None], [0.0, 0.1])
    assert found.beside.tolist() == pytest.approx([0.0, 0.6])
    assert CurveRule().tuned(found).tolist() == [False, True]


def test_straight_stimuli_of_any_style_count():
    """A unit of bent strokes that likes straight edges as much is no curve detector."""
    angle = 2 * math.pi * torch.arange(8) / 8
    bump = (1 + torch.cos(angle)) / 2
    strokes, edges = torch.stack([0 * bump, bump]), torch.stack([0.9 * bump, 0 * bump])
    found = arc_tuning(torch.stack([strokes, edges])[None], [0.0, 0.1])
    assert found.straight.item() == pytest.approx(0.9) and not CurveRule().tuned(found).any()


def test_an_arc_must_excite_a_unit_as_photographs_do():
    tuning = arc_tuning(planted_tuning().expand(2, 1, 2, 8), [0.0, 0.1])
    r = ((1 + torch.cos(2 * math.pi * torch.arange(8) / 8)) / 2)[None, :, None] * torch.tensor([1.0, 3.0])
    turning = turning_profile(r.expand(5, 8, 2), cyclic(8))
    assert turning.strength.tolist() == pytest.approx([1.0, 3.0])
    assert CurveRule().confirmed(tuning, turning).tolist() == [True, False]


def test_a_silent_unit_is_tuned_to_nothing():
    found = arc_tuning(torch.zeros(2, 1, 2, 8), [0.0, 0.1])
    assert found.peak.tolist() == [0, 0] and found.one.isnan().all() and not CurveRule().tuned(found).any()


@pytest.mark.parametrize("curvatures, directions", [([0.1, 0.2], 8), ([0.0], 8), ([0.0, 0.1], 3), ([0.0, 0.1], 5)])
def test_responses_that_do_not_fit_are_refused(curvatures, directions):
    with pytest.raises(ValueError, match="one of them 0, and an even number of directions"):
        arc_tuning(torch.ones(1, 1, 2, directions), curvatures)


def test_turning_photographs_is_a_second_witness():
    """Of two units that pass by the stimuli, one keeps its response after half a turn of the photographs."""
    angle = 2 * math.pi * torch.arange(8) / 8
    one, two = (1 + torch.cos(angle)) / 2, (1 + torch.cos(2 * angle)) / 2
    strength = torch.rand(5, 1, 2, generator=torch.Generator().manual_seed(0))
    r = torch.stack([one, two], 1)[None] * strength
    profile = turning_profile(r, cyclic(8), strongest=3)
    torch.testing.assert_close(profile.profile, torch.stack([one, two]), atol=1e-6, rtol=0)
    tuning = arc_tuning(torch.stack([0 * angle, one]).expand(2, 1, 2, 8), [0.0, 0.1])
    assert CurveRule().tuned(tuning).all()
    assert CurveRule().confirmed(tuning, profile).tolist() == [True, False]


def test_only_the_strongest_samples_count_and_only_rotations():
    r = torch.zeros(4, 8, 1)
    r[0, :, 0] = torch.tensor([1.0, 0, 0.5, 0, 9, 9, 9, 9])  # the last four are mirrors of D_4
    r[1, :, 0] = torch.tensor([0.5, 1.0, 0, 0, 9, 9, 9, 9])
    found = turning_profile(r, dihedral(4), strongest=1)
    assert found.profile.tolist() == [[1, 0, 0.5, 0]] and found.strength.tolist() == [1]
    both = turning_profile(r, dihedral(4), strongest=2).profile[0]
    torch.testing.assert_close(both, torch.tensor([1, 2 / 3, 1 / 3, 0]))
    silent = turning_profile(torch.zeros(3, 8, 2), dihedral(4))
    assert silent.profile.isnan().all()
    assert not CurveRule().confirmed(arc_tuning(planted_tuning().expand(2, 1, 2, 8), [0.0, 0.1]), silent).any()
    for group in (permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4"), cyclic(3)):
        with pytest.raises(ValueError, match="has no half turn"):
            turning_profile(torch.zeros(3, group.order, 1), group)


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
    """90 of 180 units have directions, 4 degrees apart."""
    directions = np.full(180, np.nan)
    directions[::2] = 2 * math.pi * np.arange(90) / 90
    every = coverage_at(directions, 180, draws=3)
    assert every.detectors.tolist() == [90] * 3
    assert every.gap == pytest.approx(2 * math.pi / 90) and every.covered == pytest.approx(1)
    few = coverage_at(directions, 18, draws=200)
    assert few.detectors.mean() == pytest.approx(9, abs=0.6) and few.gap.mean() > 4 * 2 * math.pi / 90
    none = coverage_at([math.nan] * 4, 2, draws=2)
    assert none.detectors.tolist() == [0, 0] and none.gap == pytest.approx(2 * math.pi) and none.covered.sum() == 0
    with pytest.raises(ValueError, match="units is 181; expected 1 to 180"):
        coverage_at(directions, 181)


def test_a_ring_is_told_from_a_cloud():
    generator = torch.Generator().manual_seed(0)
    angles = 2 * math.pi * torch.rand(60, generator=generator)
    plane = torch.linalg.qr(torch.randn(20, 4, generator=generator))[0]
    circle = torch.stack([angles.cos(), angles.sin()], 1) @ plane[:, :2].T
    second = torch.stack([(2 * angles).cos(), (2 * angles).sin()], 1) @ plane[:, 2:].T
    exact, mixed = ring(circle, angles), ring(circle + second, angles)
    assert exact.shares[0] == pytest.approx(1) and exact.p < 0.01
    assert mixed.shares[:2] == pytest.approx([0.5, 0.5], abs=0.02)
    cloud = ring(torch.randn(60, 20, generator=generator), angles)
    assert cloud.p > 0.05 and cloud.shares[0] == pytest.approx(cloud.chance[0], abs=0.02)
    assert cloud.chance == pytest.approx(2 / 59, abs=0.005)  # two of 59 dimensions
    with pytest.raises(ValueError, match="expected more than 7"):
        ring(torch.randn(7, 3), angles[:7])
