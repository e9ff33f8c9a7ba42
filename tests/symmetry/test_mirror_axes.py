"""Which line a mirror is about, whether axes are preferred, and by how much a preference turned."""

import numpy as np
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import TensorOrbits, sample_orbits
from groupcc_lite.symmetry import (
    MovedOrbits,
    Turn,
    act,
    axes_of,
    axis_voters,
    axis_votes,
    axis_weights,
    copies,
    encoder_profile,
    isotropy,
    mirror_agreement,
    preference_turn,
    profile_stabilisers,
    self_similarity,
    surrogate,
)

D16 = PlanarAction(dihedral(16))
AXES = axes_of(D16)


def spots(angle, size=65):
    """Two different spots on a line through the centre, at this angle on the screen: only that mirror keeps them."""
    y, x = torch.meshgrid(*[torch.arange(size, dtype=torch.double) - (size - 1) / 2] * 2, indexing="ij")
    image = torch.zeros(size, size, dtype=torch.double)
    for distance, weight in ((14.0, 1.0), (-8.0, 0.6)):
        cx, cy = distance * np.cos(np.radians(angle)), -distance * np.sin(np.radians(angle))
        image += weight * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18)
    return image.expand(1, 3, -1, -1).clone()


@pytest.mark.parametrize("action", [D16, PlanarAction(dihedral(5)), D16.conjugated(5.625), D16.conjugated(-30.0)])
def test_a_drawing_on_an_axis_is_kept_by_this_mirror_and_by_no_other(action):
    axes = axes_of(action)
    for k, angle in enumerate(axes.angles):
        picture = spots(angle)
        crop = action.images(picture, size=43, elements=[0, *axes.elements])[:, 0, 0]
        errors = (crop[1:] - crop[0]).abs().amax((1, 2))
        assert int(errors.argmin()) == k and errors[k] < 0.05
        assert errors[[j for j in range(len(errors)) if j != k]].min() > 0.1


def test_the_mirror_s_of_left_and_right_has_an_upright_axis():
    assert AXES.elements[0] == 16 and AXES.angles[0] == 90 and AXES.exact.sum() == 4
    assert np.allclose(AXES.angles, (90 - 11.25 * np.arange(16)) % 180)
    assert sorted(AXES.angles[AXES.exact]) == [0, 45, 90, 135]
    with pytest.raises(ValueError, match="no mirror"):
        axes_of(PlanarAction(cyclic(4)))


def test_conjugating_by_a_step_renames_the_same_mirrors_and_by_half_a_step_leaves_no_exact_one():
    renamed, between = D16.conjugated(11.25), D16.conjugated(5.625)
    for k in range(16):  # s r^k gets the matrix of s r^(k-1)
        assert np.allclose(renamed.matrices[16 + k], D16.matrices[16 + (k - 1) % 16])
    assert axes_of(renamed).exact.sum() == 4 and axes_of(between).exact.sum() == 0
    assert between.exact.tolist() == D16.exact[:16].tolist() + [False] * 16
    assert np.allclose((axes_of(between).angles - AXES.angles) % 180, 5.625)


def test_moved_orbits_are_the_orbits_of_moved_images():
    """With an exact element, so that nothing is interpolated twice."""
    model, action, h = small_model(), PlanarAction(dihedral(4)), 5
    images = noise_images(3, action.source_size(model.input_size))
    plain = sample_orbits(model, action, images, points_per_image=1)
    moved = action.images(images, size=images.shape[-1], elements=[h])[0]
    blocks = act(plain.blocks, action.group, h)
    source = MovedOrbits(TensorOrbits(plain.blocks, action.group), h)
    assert torch.equal(torch.cat(list(source.in_order())), blocks)
    cells = model(action.images(moved, size=model.input_size, elements=[0])[0])
    views = model(action.images(images, size=model.input_size, elements=[h])[0])
    assert torch.allclose(cells, views, atol=1e-5)
    assert source.fingerprint != TensorOrbits(plain.blocks, action.group).fingerprint
    assert torch.equal(next(source.batches(2, seed=1)),
                       act(next(TensorOrbits(plain.blocks, action.group).batches(2, seed=1)), action.group, h))
    with pytest.raises(ValueError, match="expected an element"):
        MovedOrbits(TensorOrbits(plain.blocks, action.group), 8)


def test_exact_blocks_move_with_the_orbits():
    """With an element that is not its own inverse: block g is block gh of the source, and as exact as that."""
    G = dihedral(8)
    source = TensorOrbits(torch.arange(16.0).view(1, 16, 1), G)
    source.exact = np.arange(16) % 3 == 0
    for h in (1, 3, 11):
        moved = MovedOrbits(source, h)
        came_from = next(moved.in_order()).flatten().long().tolist()
        assert came_from == [G.multiply(g, h) for g in range(16)]
        assert moved.exact.tolist() == source.exact[came_from].tolist()


def test_the_axes_of_moved_features_are_turned():
    """c of h.F is c of F conjugated: features of images turned by r have axes turned by 22.5 degrees."""
    G = dihedral(16)
    F = torch.randn(1, 32, 30, generator=torch.Generator().manual_seed(0))
    F = F + act(F, G, 16)  # an upright axis
    votes = [axis_votes(profile_stabilisers(self_similarity(D, G), G), AXES) for D in (F, act(F, G, 1))]
    assert AXES.angles[votes[0][0].argmax()] == 90
    turned = AXES.angles[votes[1][0].argmax()]
    assert turned == 112.5
    turn = preference_turn(votes[0], AXES.angles, votes[1], AXES.angles)
    assert turn.angle == 22.5 and turn.within(22.5, 1) == 1


def test_isotropy_accepts_what_is_uniform_and_refuses_what_is_not():
    rng = np.random.default_rng(0)
    uniform = [isotropy(np.eye(16)[rng.integers(0, 16, 90)], draws=200, seed=k) for k in range(60)]
    assert 0.3 < np.mean(uniform) < 0.7 and np.mean(np.array(uniform) < 0.05) < 0.15
    # 36 of 89 upright, as on a layer that prefers it
    assert isotropy(np.eye(16)[[0] * 36 + list(rng.integers(0, 16, 53))], draws=500) < 0.01
    smooth = np.cos(2 * np.radians(AXES.angles[None] - rng.uniform(0, 180, (400, 1))))
    assert isotropy(smooth, draws=200) > 0.01
    leaning = np.cos(2 * np.radians(AXES.angles[None] - rng.normal(90, 40, (400, 1))))
    assert isotropy(leaning, draws=200) < 0.01
    assert np.isnan(isotropy(np.zeros((0, 16))))


@pytest.mark.parametrize("times", [1, 2, 4])
def test_copies_neither_alarm_nor_hide_a_preference(times):
    """Every feature twice made it an alarm in half of all isotropic layers."""
    rng, many = np.random.default_rng(0), 80
    group = np.repeat(np.arange(many // times), times)
    alarms, blind, found = [], [], []
    for k in range(200):
        axes = rng.integers(0, 16, many // times)
        votes = np.eye(16)[axes[group]]
        alarms.append(isotropy(votes, copies=group, draws=200, seed=k) < 0.05)
        if k < 60:
            blind.append(isotropy(votes, draws=200, seed=k) < 0.05)
            preferred = np.where(rng.random(len(axes)) < 0.45, 0, axes)
            found.append(isotropy(np.eye(16)[preferred[group]], copies=group, draws=200, seed=k) < 0.05)
    assert np.mean(alarms) < 0.1 and np.mean(found) > 0.9
    assert times == 1 or np.mean(blind) > 0.3
    with pytest.raises(ValueError, match=r"copies has shape \(3,\); expected \(80,\)"):
        isotropy(votes, copies=group[:3])


def test_copies_need_not_be_equal_nor_in_order_and_single_ones_change_nothing():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(30, 8))
    assert isotropy(rows, copies=rng.permutation(30), draws=4000) == pytest.approx(isotropy(rows, draws=4000), abs=0.03)
    group = np.arange(30) // 3
    mixed = rng.permutation(30)
    assert isotropy(rows[mixed], copies=group[mixed] + 7, seed=2) == isotropy(rows, copies=group, seed=2)
    assert isotropy(rows, copies=np.zeros(30, dtype=int)) == 1  # one feature, thirty times: nothing can be said


def test_copies_are_what_points_the_same_way():
    generator, G = torch.Generator().manual_seed(0), dihedral(4)
    base = torch.randn(6, 8, 40, generator=generator)
    noisy = 3 * (base + 0.4 * torch.randn(6, 8, 40, generator=generator))  # cosine 0.93
    found = copies(torch.cat([base, noisy, act(base, G, 1), -base]))
    assert found[:6].tolist() == found[6:12].tolist() and len(set(found.tolist())) == 18
    assert len(set(copies(torch.cat([base, noisy]), cosine=0.97).tolist())) == 12


def test_voters_are_the_features_of_the_votes():
    c = torch.full((3, 32), -0.1)
    c[:, 0], c[0, 20], c[2, 17] = 1.0, 0.9, 0.8
    labels = profile_stabilisers(c, dihedral(16))
    assert axis_voters(labels, AXES).tolist() == [0, 2]
    assert axis_votes(labels, AXES).argmax(1).tolist() == [4, 1]


def test_isotropy_agrees_with_the_chi_square_test_where_that_is_good():
    """Less its part that alternates from axis to axis, which has one degree of freedom."""
    from scipy.stats import chi2

    rng, alternating = np.random.default_rng(1), np.array([1, -1] * 4)
    for _ in range(5):
        counts = np.bincount(rng.integers(0, 8, 400), minlength=8)
        statistic = ((counts - 50) ** 2).sum() / 50 - (counts @ alternating) ** 2 / 8 / 50
        p = chi2(6).sf(statistic)
        assert abs(isotropy(np.repeat(np.eye(8), counts, axis=0), draws=3000) - p) < 0.05


def test_isotropy_is_blind_to_the_two_classes_of_mirrors_which_the_surrogate_keeps():
    G = dihedral(16)
    D = torch.randn(150, 32, 6, generator=torch.Generator().manual_seed(0))
    alternating = torch.tensor([(-1.0) ** h for h in range(16)] * 2)
    D = D + 0.6 * alternating[None, :, None] * torch.randn(150, 1, 6, generator=torch.Generator().manual_seed(1))
    chance = surrogate(self_similarity(D, G), G)
    weights = axis_weights(chance, AXES)
    even = weights[:, ::2].mean()
    assert even > 0.01 and isotropy(weights, draws=300) > 0.01


def test_a_turn_between_two_sets_of_axes_is_found_to_half_a_degree():
    between = axes_of(D16.conjugated(5.625)).angles
    rng = np.random.default_rng(0)
    centre = rng.normal(90, 10, (300, 1))

    def rows(angles, turned):
        return np.exp(np.cos(2 * np.radians(angles[None] - centre - turned)) * 3)

    for turned in (0, 22.5, -40):
        found = preference_turn(rows(AXES.angles, 0), AXES.angles, rows(between, turned), between, draws=50)
        assert abs(found.angle - turned) <= 0.5 and found.within(turned, 4) > 0.9
    flat = preference_turn(rows(AXES.angles, 0), AXES.angles, np.eye(16)[rng.integers(0, 16, 160)], between)
    assert flat.within(flat.angle, 5) < 0.9


@pytest.mark.filterwarnings("error")
def test_there_is_no_turn_of_an_empty_or_flat_rose():
    votes, angles = np.eye(8)[[1, 2, 2]], np.arange(8) * 22.5
    for first, second in ((votes[:0], votes), (votes, votes[:0])):
        turn = preference_turn(first, angles, second, angles, draws=5)
        assert np.isnan(turn.angle) and np.isnan(turn.samples).all() and len(turn.samples) == 5
        assert np.isnan(turn.interval).all() and np.isnan(turn.within(0, 5))
    assert np.isnan(preference_turn(np.eye(8), angles, votes, angles, draws=5).angle)


def test_the_interval_of_a_turn_lies_about_it_on_the_circle():
    """At the seam linear quantiles of samples gave nearly all angles."""
    rng = np.random.default_rng(0)
    spread = rng.normal(0, 4, 2000)
    for angle in (0.0, 88.0, -89.0):
        samples = (angle + spread + 90) % 180 - 90
        low, high = Turn(angle, samples).interval
        assert low - angle == pytest.approx(-7.8, abs=0.6) and high - angle == pytest.approx(7.8, abs=0.6)
    between = rng.normal(90, 25, (300, 1))

    def rows(turned):
        return np.exp(np.cos(2 * np.radians(AXES.angles[None] - between - turned)) * 2)

    low, high = preference_turn(rows(0), AXES.angles, rows(89), AXES.angles, draws=200).interval
    assert high - low < 30 and (low < 89 < high or low < -91 < high)


def test_an_encoder_with_a_planted_axis_agrees_with_its_own_mirror_only():
    """A unit that looks for a pattern with one mirror; the decoder's labels are put on it and beside it."""
    G = dihedral(16)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 32, 32, generator=generator)  # blocks of the regular representation: exactly equivariant
    v = torch.randn(400, 32, generator=generator)
    for g in range(32):
        x[:, g] = v[:, torch.as_tensor(G.table[G.inverse[g]])]  # (g v)[k] = v[g^-1 k]
    pattern = torch.randn(32, generator=generator)
    pattern = pattern + pattern[torch.as_tensor(G.table[16 + 3])]  # (sr^3) v = v
    coder = GroupCrosscoder(G, 32, 1, seed=0)
    with torch.no_grad():
        coder.W_e[0] = pattern
        coder.b_e.zero_()
        coder.b.zero_()
    c = encoder_profile(coder, TensorOrbits(x, G))
    for k, steps in ((3, 0), (5, 2), (13, 6)):
        assert mirror_agreement([axis_label(G, 16 + k)], c, G).steps.tolist() == [steps]


def axis_label(G, h):
    c = torch.full((1, 32), -0.1)
    c[0, 0], c[0, h] = 1.0, 0.9
    return profile_stabilisers(c, G)[0]


def test_weights_do_not_see_what_no_element_changes():
    c = torch.rand(5, 32, generator=torch.Generator().manual_seed(0))
    c[:, 0] = 1
    lifted = 0.5 + 0.5 * c
    assert np.allclose(axis_weights(c, AXES), axis_weights(lifted, AXES), atol=1e-5)
    assert np.allclose(axis_weights(c, AXES).sum(1), 0)
