"""Tuning and coverage: units built to be tuned are found, half-turn units are not, and gaps are as counted by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from groupcc_lite.groups import cyclic, dihedral, permutation_group
from groupcc_lite.responses import (
    CurveRule,
    Tuning,
    Turning,
    Units,
    arc_tuning,
    coverage_at,
    covered,
    gap_by_chance,
    largest_gap,
    ring,
    turning_profile,
    untrained_units,
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


def scenes(size, shown, count, seed):
    """Photographs in small: noise with the spectrum of natural images, and in three of ten of them an arc on top."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]).clamp(min=1 / size)
    noise = torch.fft.irfft2(torch.fft.rfft2(torch.randn(count, size, size, generator=generator)) / frequency,
                             s=(size, size))
    arc = shown.images[torch.randint(len(shown), (count,), generator=generator), 0] - 0.5
    there = torch.rand(count, 1, 1, generator=generator) < 0.3
    return 0.12 * noise / noise.std((1, 2), keepdim=True) + there * arc


def in_all_orientations(images, n):
    angle = 2 * math.pi * torch.arange(n) / n
    turn = torch.stack([angle.cos(), -angle.sin(), 0 * angle, angle.sin(), angle.cos(), 0 * angle], 1).view(n, 2, 3)
    views = []
    for matrix in turn:
        grid = functional.affine_grid(matrix.expand(len(images), 2, 3), [len(images), 1, *images.shape[1:]],
                                      align_corners=False)
        views.append(functional.grid_sample(images[:, None], grid, align_corners=False).flatten(1))
    return torch.stack(views, 1)


def test_both_witnesses_confirm_planted_units_and_none_of_straight_lines():
    """From images to the verdict: units that look for one arc each, at a threshold that one of a hundred images
    reaches. Directions that nobody trained are confirmed less often, but not seldom: any pattern fits some arc best and
    is lost after half a turn. So a count of detectors says something beside that null alone."""
    size, curvatures = 32, [0.0, 1 / 12, 1 / 6]
    shown = arcs(size, curvatures=curvatures)
    seen, fitted = in_all_orientations(scenes(size, shown, 1200, 0), 16), scenes(size, shown, 1500, 1).flatten(1)

    def share(units):
        tuning = arc_tuning(shown.table(units.read((shown.images[:, 0] - 0.5).flatten(1))), curvatures)
        turning = turning_profile(units.of_orbits(seen), cyclic(16))
        return float(CurveRule().confirmed(tuning, turning).double().mean()), tuning

    def looking_for(chosen):
        patterns = functional.normalize((shown.images[chosen, 0] - 0.5).flatten(1), dim=1)
        threshold = torch.quantile(fitted @ patterns.T, 0.99, dim=0)
        return Units("planted", len(chosen), lambda x: (x @ patterns.T - threshold).relu())

    curved, straight = ([k for k in range(len(shown)) if (shown.curvature[k] > 0) == which][::7] for which in (1, 0))
    planted, tuning = share(looking_for(curved))
    gap = (tuning.direction - shown.direction[curved] + math.pi) % (2 * math.pi) - math.pi
    assert gap.abs().rad2deg().max() <= 5
    untrained, _ = share(untrained_units("random directions", fitted, 150, rate=0.01))
    assert share(looking_for(straight))[0] == 0 < untrained < 0.7 < planted


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


def rule_by_hand(**changes):
    """One unit that passes with little to spare, but for the changes."""
    told = dict(peak=0.51, style=0.0, curvature=0.1, row=1.0, direction=1.0, one=0.41, two=0.1, opposite=0.49,
                straight=0.79, beside=0.26)
    tuning = Tuning(**{name: torch.tensor([value]) for name, value in (told | changes).items() if name in told}
                    | dict(style=torch.tensor([0]), row=torch.tensor([1])))
    profile = torch.tensor([[1.0, changes.get("near", 0.8), 0.2, 0.2, changes.get("after", 0.39), 0.2, 0.2,
                             changes.get("near", 0.8)]])
    turning = Turning(profile, torch.tensor([changes.get("strength", 1.0)]))
    return bool(CurveRule().tuned(tuning)), bool(CurveRule().confirmed(tuning, turning))


def test_every_criterion_can_reject_a_unit_by_itself():
    assert rule_by_hand() == (True, True)
    for change in (dict(curvature=0.0), dict(one=0.39), dict(opposite=0.51), dict(straight=0.81), dict(beside=0.24)):
        assert rule_by_hand(**change) == (False, False), change
    for change in (dict(after=0.41), dict(near=0.77), dict(peak=0.49), dict(strength=1.03)):
        assert rule_by_hand(**change) == (True, False), change


def test_photographs_that_the_smallest_turns_silence_are_no_witness():
    """What a unit finds in them is no curve that half a turn alone would take away: any accident is lost like this."""
    assert rule_by_hand(near=0.0, after=0.0) == (True, False)


@pytest.mark.parametrize("field", [*sorted({*Tuning._fields} - {"row"}), "near", "after", "strength"])
def test_what_is_not_known_confirms_nothing(field):
    if field in ("style", "direction", "two"):  # no criterion asks for these
        assert rule_by_hand(**{field: math.nan}) == (True, True)
    else:
        assert not rule_by_hand(**{field: math.nan})[1]


def test_units_that_say_nan_are_never_confirmed():
    table = planted_tuning().expand(2, 1, 2, 8).clone()
    table[1, 0, 1, 3] = math.nan
    r = ((1 + torch.cos(2 * math.pi * torch.arange(8) / 8)) / 2)[None, :, None].expand(5, 8, 2)
    tuning, turning = arc_tuning(table, [0.0, 0.1]), turning_profile(r, cyclic(8))
    assert CurveRule(driven=0.0).confirmed(tuning, turning).tolist() == [True, False]


@given(st.integers(0, 71), st.floats(0.1, 10), st.integers(0, 1000))
def test_turning_the_stimuli_turns_the_direction_and_nothing_else(turn, loud, seed):
    """And how loud a unit is changes its peak alone."""
    r = torch.rand(5, 2, 3, 72, generator=torch.Generator().manual_seed(seed)) ** 4
    before, after = arc_tuning(r, CURVATURES), arc_tuning(loud * r.roll(turn, -1), CURVATURES)
    gap = (after.direction - before.direction - 2 * math.pi * turn / 72 + math.pi) % (2 * math.pi) - math.pi
    assert gap.abs().max() < 1e-3
    torch.testing.assert_close(after.peak, loud * before.peak, rtol=1e-5, atol=1e-6)
    for name in ("style", "curvature", "one", "two", "opposite", "straight", "beside"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), atol=1e-5, rtol=1e-5)


def test_a_tuning_by_hand():
    """Two styles; the second has the peak, at 90 degrees and the flatter curvature. Below 0 is nothing."""
    r = torch.zeros(1, 2, 3, 4)
    r[0, 0, 0] = torch.tensor([1.0, 0.0, 3.0, -5.0])
    r[0, 1, 1] = torch.tensor([1.0, 4.0, 2.0, -1.0])
    r[0, 1, 2] = torch.tensor([3.5, 0.0, 0.0, 0.0])
    found = arc_tuning(r, [0.0, 0.05, 0.1])
    assert (found.peak.item(), found.style.item()) == (4, 1)
    assert found.curvature.item() == pytest.approx(0.05)
    assert [found.opposite.item(), found.beside.item(), found.straight.item()] == pytest.approx([0, 0.25, 0.75])
    assert found.one.item() == pytest.approx(math.hypot(1 - 2, 4) / 7)
    assert found.direction.item() == pytest.approx(math.atan2(4, -1))
    assert found.two.item() == pytest.approx(abs(1 - 4 + 2) / 7)


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


ANGLES = st.lists(st.integers(0, 3599), min_size=1, max_size=12, unique=True)


@given(ANGLES, st.integers(1, 400), st.integers(-720, 720))
def test_the_circle_is_measured_as_by_walking_around_it(tenths, reach, turn):
    """Tenths of a degree: each is covered if a direction is near, and the gap is the longest way without one."""
    angles = np.radians(np.array(tenths) / 10)
    middles = np.arange(3600) + 0.5
    away = np.abs((middles[:, None] - np.array(tenths) + 1800) % 3600 - 1800).min(1)
    assert covered(angles, reach=math.radians(reach / 10)) == pytest.approx((away < reach).mean(), abs=1e-9)
    there = np.zeros(3600, dtype=bool)
    there[tenths] = True
    walk = max(np.diff(np.flatnonzero(np.tile(there, 2))))
    assert math.degrees(largest_gap(angles)) == pytest.approx(walk / 10)
    moved = torch.as_tensor(angles) + math.radians(turn)
    assert largest_gap(moved) == pytest.approx(largest_gap(angles))
    assert covered(moved) == pytest.approx(covered(angles))
    assert 2 * math.pi / len(tenths) <= largest_gap(angles) + 1e-9


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


def test_draws_are_of_units_and_without_repetition():
    """Of three directions any two are drawn, and never one of them twice; one seed draws the same again."""
    directions = np.radians([0.0, 100.0, 200.0])
    two = coverage_at(directions, 2, draws=60)
    assert set(np.degrees(two.gap).round()) == {200, 260} and set(two.detectors) == {2}
    assert two.covered == pytest.approx(4 * 7.5 / 360)
    again, other = (coverage_at(directions, 2, draws=60, seed=seed) for seed in (0, 1))
    assert np.array_equal(again.gap, two.gap) and not np.array_equal(other.gap, two.gap)
    for units in (0, -1, 4):
        with pytest.raises(ValueError, match="expected 1 to 3, the number of units in the set"):
            coverage_at(directions, units)


def test_vectors_of_a_circle_in_another_order_are_no_ring():
    generator = torch.Generator().manual_seed(3)
    angles = 2 * math.pi * torch.arange(40) / 40
    circle = torch.stack([angles.cos(), angles.sin(), 0.3 * torch.randn(40, generator=generator)], 1)
    right = ring(circle, angles)
    assert right.shares[0] > 0.85 and right.p == pytest.approx(1 / 201)
    shuffled = [ring(circle, angles[torch.randperm(40, generator=generator)], draws=60) for _ in range(20)]
    assert max(found.shares[0] for found in shuffled) < 0.4
    assert np.mean([found.p < 0.1 for found in shuffled]) < 0.3 and np.median([found.p for found in shuffled]) > 0.2
    lengths = 0.1 + torch.rand(40, 1, generator=generator)
    assert ring(lengths * circle, angles + 1.0).shares == pytest.approx(right.shares, abs=1e-6)
    assert 0 <= right.shares.min() and right.shares.sum() <= 1 + 1e-9


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


def test_gaps_within_groups_are_not_filled_by_others():
    """Four directions of two kinds: together they are 90 degrees apart, within each kind 180."""
    directions = np.radians([0.0, 90.0, 180.0, 270.0])
    together = coverage_at(directions, 4, draws=2)
    apart = coverage_at(directions, 4, groups=[0, 1, 0, 1], kinds=2, draws=2)
    assert np.degrees(together.gap) == pytest.approx(90) and np.degrees(apart.gap) == pytest.approx(180)
    assert together.covered == pytest.approx(4 * 15 / 360) and apart.covered == pytest.approx(2 * 15 / 360)
    missing = coverage_at(directions, 4, groups=[0, 0, 0, 0], kinds=2, draws=2)
    assert np.degrees(missing.gap) == pytest.approx((90 + 360) / 2)  # a kind that nobody is of
