"""Surrogates keep the spectrum and lose the axes; false discovery rates mean what they say. For any group."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.groups import FiniteGroup, cyclic, dihedral, fourier, parse_group, permutation_group, product, trivial
from groupcc_lite.symmetry import nulls
from groupcc_lite.symmetry.block_action import act
from groupcc_lite.symmetry.nulls import Witnessed, _false_rates, supported_stabilisers, surrogate, witnessed
from groupcc_lite.symmetry.similarity import self_similarity
from groupcc_lite.symmetry.stabiliser import profile_stabilisers

Q8 = permutation_group([(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)], name="Q8")
A4 = permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4")  # its C3 gives an irrep of complex type
ABELIAN = [trivial(), cyclic(2), cyclic(6), product(cyclic(4), cyclic(2))]
OTHERS = [*map(dihedral, (3, 4, 6, 8, 16)), product(dihedral(3), cyclic(3)), Q8, A4,
          permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)], name="S4")]
cases = given(st.sampled_from(ABELIAN + OTHERS), st.integers(0, 2**16))


def profiles(G: FiniteGroup, seed: int, m: int = 6, d: int = 3, group_mirror: int | None = None) -> torch.Tensor:
    D = torch.randn(m, G.order, d, generator=torch.Generator().manual_seed(seed))
    return self_similarity(D if group_mirror is None else D + act(D, G, group_mirror), G)


def power(c: torch.Tensor, G: FiniteGroup) -> torch.Tensor:
    """Power in each irrep, from profiles alone: d / (e |G|) times the character's mean."""
    waves = [irrep.dim / (irrep.kind * G.order) * irrep.character for irrep in G.irreps()]
    return c.double() @ torch.as_tensor(np.stack(waves, axis=1))


def smooth_features(G: FiniteGroup, m: int, seed: int) -> torch.Tensor:
    """Broadly tuned features without a common axis: a few low frequencies of random phase, as learned ones have."""
    generator, n = torch.Generator().manual_seed(seed), G.order // 2
    angle = 2 * torch.pi * torch.arange(n) / n
    waves = torch.stack([torch.cos(k * angle[:, None] + 2 * torch.pi * torch.rand(m, generator=generator)) / k
                         for k in (1, 2, 3)])
    return surrogate(self_similarity(torch.cat([waves, waves], dim=1).permute(2, 1, 0).contiguous(), G), G, seed=seed)


# ------------------------------------------------------------------------------------------------- surrogates

@cases
def test_a_surrogate_keeps_powers_and_is_a_profile(G, seed):
    c = profiles(G, seed)
    s = surrogate(c.double(), G, seed=seed)
    torch.testing.assert_close(power(s, G), power(c, G), atol=1e-6, rtol=0)
    torch.testing.assert_close(s[:, 0], torch.ones(6, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(s, s[:, G.inverse], atol=1e-6, rtol=0)
    assert surrogate(c, G, seed=seed).dtype == torch.float32
    # c is the profile of something if and only if the matrix c(g^-1 h) is positive semidefinite
    matrix = s[:, G.table[G.inverse]]
    assert torch.linalg.eigvalsh((matrix + matrix.mT) / 2).min() > -1e-5


@cases
def test_each_irrep_keeps_its_own_shape(G, seed):
    """Eigenvalues of every C_rho are those of the original: only its place in the irrep is new."""
    c = profiles(G, seed).double()
    for before, after in zip(fourier(c[..., None], G), fourier(surrogate(c, G, seed=seed)[..., None], G), strict=True):
        spectra = [torch.linalg.eigvalsh((part[..., 0].reshape(len(c), *part.shape[-3:-1]) +
                                          part[..., 0].reshape(len(c), *part.shape[-3:-1]).mT) / 2)
                   for part in (before, after)]
        torch.testing.assert_close(*spectra, atol=1e-4, rtol=0)


@pytest.mark.parametrize("G", ABELIAN, ids=str)
def test_nothing_changes_in_an_abelian_group(G):
    c = profiles(G, 1)
    torch.testing.assert_close(surrogate(c, G), c, atol=1e-6, rtol=0)


@given(st.sampled_from([3, 4, 5, 8, 16]), st.integers(0, 2**16))
def test_rotations_of_a_dihedral_group_stay_and_mirrors_do_not(n, seed):
    G = dihedral(n)
    c = profiles(G, seed, m=40)
    s = surrogate(c, G, seed=seed)
    torch.testing.assert_close(s[:, :n], c[:, :n], atol=1e-5, rtol=0)
    assert (s[:, n:] - c[:, n:]).abs().max() > 0.01


@pytest.mark.parametrize("G", OTHERS, ids=str)
def test_the_surrogate_is_the_same_whatever_copy_of_a_feature_it_comes_from_in_distribution(G):
    """Conjugating a profile first makes no difference on average: no axis is special."""
    c = profiles(G, 5, m=1).repeat(4000, 1)
    h = G.order - 1
    conjugated = c[:, [G.multiply(G.multiply(G.inverse[h], k), h) for k in range(G.order)]]
    means = [surrogate(part, G, seed=seed).mean(0) for part, seed in ((c, 1), (conjugated, 2))]
    torch.testing.assert_close(*means, atol=0.04, rtol=0)
    for g in range(G.order):  # and the mean is the same for conjugate elements
        torch.testing.assert_close(means[0][[G.multiply(G.multiply(g, k), G.inverse[g]) for k in range(G.order)]],
                                   means[0], atol=0.04, rtol=0)


def test_axes_are_uniform_and_unrelated():
    """Every feature has the mirror s r^3. In the surrogate the best mirror is any of its class as often; the class
    itself, through corners or through sides, is a matter of power (B1 against B2), and stays more often than not."""
    G = dihedral(8)
    c = profiles(G, 0, m=2000, d=30, group_mirror=11)
    assert (c[:, 8:].argmax(1) == 3).all()
    counts = torch.bincount(surrogate(c, G)[:, 8:].argmax(1), minlength=8)
    for members in (counts[::2], counts[1::2]):
        mean = float(members.float().mean())
        assert mean > 60 and (members - mean).abs().max() < 5 * mean**0.5
    assert (surrogate(c, G)[:, 8:].amax(1) > 0.9).float().mean() < 0.1


def test_seeds():
    G, c = dihedral(8), profiles(dihedral(8), 0)
    assert torch.equal(surrogate(c, G, seed=3), surrogate(c, G, seed=3))
    assert not torch.allclose(surrogate(c, G, seed=3), surrogate(c, G, seed=4), atol=1e-3)


# -------------------------------------------------------------------------------------- false discovery rates

def count(found, order: int) -> int:
    return sum(1 < s.subgroup.order < order for s in found)


@pytest.mark.parametrize("G", [dihedral(8), dihedral(16)], ids=str)
def test_without_symmetry_hardly_anything_is_supported_though_much_is_labelled(G):
    labelled, supported = 0, 0
    for seed in range(5):
        c = smooth_features(G, 300, seed)
        labelled += count(profile_stabilisers(c, G), G.order)
        supported += count(supported_stabilisers(c, G, seed=100 + seed).stabilisers, G.order)
    assert labelled > 500  # of 1500: this null is not an easy one
    assert supported <= 0.02 * labelled


@pytest.mark.parametrize("G", [dihedral(8), dihedral(16)], ids=str)
def test_planted_mirrors_are_found_among_such_and_the_rate_holds(G):
    wrong = right = 0
    for seed in range(4):
        accidental = smooth_features(G, 300, seed)
        planted = profiles(G, seed, m=100, d=20, group_mirror=G.order // 2 + 3)
        found = supported_stabilisers(torch.cat([accidental, planted]), G, seed=seed).stabilisers
        wrong += count(found[:300], G.order)
        right += sum(s.subgroup.elements == (0, G.order // 2 + 3) for s in found[300:])
    assert right > 0.9 * 400
    assert wrong / (wrong + right) < 0.15  # asked for: 0.1


def test_larger_symmetries_do_not_lend_their_strength_to_smaller_ones():
    """Six hundred lines have mirrors too. Counted among the mirrors, they make 25 of 100 accidental ones supported."""
    G = dihedral(16)
    lines = torch.randn(600, 32, 20, generator=torch.Generator().manual_seed(0))
    lines = lines + act(lines, G, 8)
    lines = self_similarity(lines + act(lines, G, 16), G)
    found = supported_stabilisers(torch.cat([lines, smooth_features(G, 100, 1)]), G, draws=5).stabilisers
    assert all(s.subgroup.label == "C2 x C2" for s in found[:600])
    assert count(found[600:], 32) <= 5


def test_strengths_below_the_threshold_lend_nothing():
    """Three hundred weak features that are real, and ten at 0.5 of which the null has as many: all ten are false."""
    real = torch.cat([torch.full((300,), 0.2), torch.full((10,), 0.5)]).double()
    null = torch.zeros(20, 310).double()
    null[:, :10] = 0.5
    rates = _false_rates(real, null, 0.4)
    assert (rates[300:] == 1).all() and rates[:300].isnan().all()
    assert _false_rates(real, null, 0.1)[300:].max() < 0.04  # from there up they are claimed, and counted
    assert _false_rates(real[:300], null[:, :300], 0.4).isnan().all()


def test_what_the_surrogate_cannot_change_is_not_supported():
    G = dihedral(8)
    half = torch.randn(50, 16, 20, generator=torch.Generator().manual_seed(0))
    c = self_similarity(half + act(half, G, 4), G)
    assert {s.subgroup.label for s in profile_stabilisers(c, G)} == {"half turn"}
    found = supported_stabilisers(c, G)
    assert {s.subgroup.label for s in found.stabilisers} == {"none"} and (found.rate > 0.9).all()
    for group in ABELIAN[1:]:
        assert count(supported_stabilisers(profiles(group, 0, m=30), group).stabilisers, group.order) == 0


def test_invariant_features_keep_their_label_and_have_no_rate():
    G = dihedral(4)
    c = torch.cat([torch.ones(2, 8), profiles(G, 0, d=40)])
    found = supported_stabilisers(c, G)
    assert [s.subgroup.label for s in found.stabilisers[:2]] == ["all", "all"] and found.rate[:2].isnan().all()
    assert supported_stabilisers(torch.ones(2, 1), trivial()).stabilisers[0].subgroup.order == 1
    assert supported_stabilisers(torch.ones(0, 8), G).stabilisers == []


@pytest.mark.parametrize("G", OTHERS, ids=str)
def test_supported_labels_move_by_conjugation(G):
    """Counts of surrogates are random, so features with strong symmetries are taken, about which they cannot err."""
    D = torch.randn(30, G.order, 30, generator=torch.Generator().manual_seed(0))
    H, h = G.subgroups()[len(G.subgroups()) // 2], G.order - 1
    D[:20] = torch.stack([act(D[:20], G, k) for k in H.elements]).mean(0)
    before = supported_stabilisers(self_similarity(D, G), G, draws=5).stabilisers
    after = supported_stabilisers(self_similarity(act(D, G, h), G), G, draws=5).stabilisers
    same = sum(t.subgroup.elements == tuple(sorted(G.multiply(G.multiply(h, k), G.inverse[h])
                                                   for k in s.subgroup.elements))
               for s, t in zip(before, after, strict=True))
    assert same >= 29


def test_many_features_of_a_large_group_take_seconds():
    G = dihedral(16)
    c = profiles(G, 0, m=4096, d=4)
    began = time.perf_counter()
    supported_stabilisers(c, G, draws=5)
    assert time.perf_counter() - began < 60


@pytest.mark.parametrize("name", ["D_1", "D_4", "D_5", "C_6", "C_4 x C_2"])
def test_testable_labels_are_those_that_the_surrogate_can_lose(name):
    """Against the surrogate itself: cosines that it never moves are those of the other labels."""
    group = parse_group(name)
    c = self_similarity(torch.randn(6, group.order, 9, generator=torch.Generator().manual_seed(1)), group)
    moves = torch.stack([(surrogate(c, group, seed=k) - c).abs() for k in range(5)]).amax((0, 1)) > 1e-3
    for H in group.subgroups():
        expected = H.order < group.order and bool(moves[list(H.elements)].any())
        assert nulls.testable(H, group) == expected, H  # by its module: pytest would take the bare name for a test


# ------------------------------------------------------------------------------------------------- the encoder

def test_a_witness_with_the_same_axes_confirms_and_one_with_other_axes_is_chance():
    G = dihedral(16)
    c = smooth_features(G, 400, 0)
    labels = profile_stabilisers(c, G)
    same, other = witnessed(labels, c, G), witnessed(labels, surrogate(c, G, seed=99), G)
    assert same.count == count(labels, 32) and same.rate < 0.4
    assert other.count == pytest.approx(other.by_chance, rel=0.4) and other.rate > 0.7


def mirrored(m: int, seed: int, share: float = 0.0) -> torch.Tensor:
    """Profiles of features of D_16 with one mirror; this share of them has the upright one, the rest any."""
    G, generator = dihedral(16), torch.Generator().manual_seed(seed)
    f = torch.randn(m, 32, 20, generator=generator)
    axis = torch.randint(16, (m,), generator=generator)
    axis[torch.rand(m, generator=generator) < share] = 0
    return self_similarity(f + torch.stack([row[G.regular[16 + k]] for row, k in zip(f, axis.tolist(), strict=True)]),
                           G)


@pytest.mark.parametrize("share", [0.0, 0.35, 0.7])
def test_halves_that_share_nothing_but_preferred_axes_confirm_nothing_beyond_chance(share):
    """Surrogates have all axes alike, so that they alone made every second of these labels look true."""
    G = dihedral(16)
    labels = profile_stabilisers(mirrored(400, 0, share), G)
    w = witnessed(labels, mirrored(400, 1, share), G)
    assert w.rate > 0.8 and w.by_chance == max(w.surrogate, w.permuted)
    assert w.count == pytest.approx(w.permuted, rel=0.3, abs=8)
    if share:
        assert w.surrogate < 0.6 * w.count
    same = witnessed(labels, mirrored(400, 0, share), G)  # halves that do share their axes
    assert same.count == 400 and same.rate < share**2 + 0.2


def test_others_with_the_label_leave_the_feature_itself_out():
    """Two features with a mirror each: neither encoder confirms the other's, so chance is none, and not a half."""
    G = dihedral(8)
    c = torch.full((3, 16), -0.1)
    c[:, 0], c[0, 9], c[1, 12], c[2, 4] = 1.0, 0.9, 0.9, 0.9
    labels = profile_stabilisers(c, G)
    assert [s.subgroup.label for s in labels] == ["one mirror", "one mirror", "half turn"]
    assert witnessed(labels[:2], c[:2], G).permuted == 0
    alone = witnessed(labels, c, G)  # the half turn is alone with its label: all its surrogates keep it
    assert alone.count == 3 and alone.permuted == 1 and alone.surrogate >= 1


def test_nothing_to_confirm():
    G = dihedral(4)
    none = witnessed(profile_stabilisers(torch.eye(8)[:1], G), torch.eye(8)[:1], G)
    assert none == Witnessed(0, 0.0, 0.0) and np.isnan(none.rate)
    nan = torch.full((1, 8), torch.nan)
    labels = profile_stabilisers(torch.tensor([[1.0, 0, 0, 0, 0.9, 0, 0, 0]]), G)
    assert labels[0].subgroup.label == "one mirror" and witnessed(labels, nan, G) == Witnessed(0, 0.0, 0.0)
    invariant = profile_stabilisers(torch.ones(1, 8), G)
    assert witnessed(invariant, torch.ones(1, 8), G).count == 0


def test_bad_input():
    G = dihedral(4)
    for wrong, said in ((torch.ones(2, 7), r"\(2, 7\); expected \(features, 8\)"),
                        (torch.full((2, 8), 0.5), "not 1 at the identity"),
                        (torch.full((2, 8), torch.nan), "profile 0 is not finite")):
        for measure in (surrogate, supported_stabilisers):
            with pytest.raises(ValueError, match=said):
                measure(wrong, G)
    for changes in (dict(draws=0), dict(rate=0.0), dict(rate=1.0)):
        with pytest.raises(ValueError, match="expected at least one surrogate"):
            supported_stabilisers(torch.ones(2, 8), G, **changes)
    with pytest.raises(ValueError, match="draws is 0"):
        witnessed([], torch.ones(0, 8), G, draws=0)
