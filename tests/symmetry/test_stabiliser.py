"""Stabilisers, irrep power and equivariance scores of planted features, for random groups."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.groups import FiniteGroup, cyclic, dihedral, permutation_group, product, trivial
from groupcc_lite.symmetry.block_action import act
from groupcc_lite.symmetry.equivariance import equivariance_score
from groupcc_lite.symmetry.similarity import block_cosines, self_similarity
from groupcc_lite.symmetry.spectra import centred, irrep_power, trivial_share
from groupcc_lite.symmetry.stabiliser import INVARIANT, TAU, profile_stabilisers, stabilisers

Q8 = permutation_group([(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)], name="Q8")
GROUPS = [*map(cyclic, (1, 2, 5, 6)), *map(dihedral, (1, 2, 3, 4, 6, 16)), product(cyclic(4), cyclic(2)),
          product(dihedral(3), cyclic(3)), Q8, permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4"),
          permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)], name="S4")]
cases = given(st.sampled_from(GROUPS), st.integers(0, 2**16))


def random_features(G: FiniteGroup, seed: int, m: int = 4, d: int = 40) -> torch.Tensor:
    return torch.randn(m, G.order, d, generator=torch.Generator().manual_seed(seed))


def planted(G: FiniteGroup, seed: int, noise: float = 0.0) -> torch.Tensor:
    """One feature for each subgroup, with exactly that stabiliser: a random one averaged over the subgroup."""
    D = random_features(G, seed, len(G.subgroups()))
    D = torch.stack([torch.stack([act(f, G, h) for h in H.elements]).mean(0)
                     for f, H in zip(D, G.subgroups(), strict=True)])
    error = random_features(G, seed + 1, len(D))
    return D + noise * error * (D.flatten(1).norm(dim=1) / error.flatten(1).norm(dim=1))[:, None, None]


def orbit_of_a_vector(G: FiniteGroup, channels: int, seed: int) -> torch.Tensor:
    """f[g] = rho(g) v with a random orthogonal rho: the regular representation in a random basis, repeated."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(G.order, G.order, generator=generator)).Q
    v = torch.randn(G.order, channels, generator=generator)
    return torch.stack([(basis @ v[torch.as_tensor(G.table[G.inverse[g]])]).flatten() for g in range(G.order)])


# ---------------------------------------------------------------------------------------------- stabilisers

@cases
def test_planted_stabilisers_are_found_also_under_noise(G, seed):
    for noise in (0.0, 0.3):
        found = stabilisers(planted(G, seed, noise), G)
        assert [s.subgroup for s in found] == list(G.subgroups())
        assert min(s.margin for s in found) > 0.05


@cases
def test_stabilisers_move_by_conjugation(G, seed):
    D, h = planted(G, seed), seed % G.order
    for before, after in zip(stabilisers(D, G), stabilisers(act(D, G, h), G), strict=True):
        moved = tuple(sorted(G.multiply(G.multiply(h, k), G.inverse[h]) for k in before.subgroup.elements))
        assert after.subgroup.elements == moved and after.subgroup.conjugacy_class == before.subgroup.conjugacy_class
        assert (after.inside, after.outside) == pytest.approx((before.inside, before.outside), abs=1e-5)


@cases
def test_negative_control_random_vectors_have_the_trivial_stabiliser(G, seed):
    for s in stabilisers(random_features(G, seed, d=400), G) if G.order > 1 else []:
        assert s.subgroup.elements == (0,) and s.inside == 1
        assert s.margin == pytest.approx(min(1 - TAU, TAU - s.outside))
        assert s.trivial == pytest.approx(1 / G.order, abs=0.3)


def slow_profile(f: torch.Tensor, G: FiniteGroup) -> tuple[list[float], list[float]]:
    """c and c' of one vector, word for word: cosines, and the same without the mean over the group of the blocks."""
    c = [float(torch.cosine_similarity(f.flatten(), act(f, G, h).flatten(), dim=0)) for h in range(G.order)]
    rest = f - f.mean(0)
    if float(rest.norm()) < 1e-4 * float(f.norm()):
        return c, [1.0] + [0.0] * (G.order - 1)
    return c, [float(torch.cosine_similarity(rest.flatten(), act(rest, G, h).flatten(), dim=0)) for h in range(G.order)]


@cases
def test_the_answer_is_the_largest_subgroup_that_passes_without_the_invariant_part(G, seed):
    """Against the definition, with thresholds at which random features have random stabilisers."""
    D, tau = random_features(G, seed, d=2), (1 + seed % 5) / 20
    for f, s in zip(D, stabilisers(D, G, tau=tau), strict=True):
        plain, c = slow_profile(f, G)
        assert s.trivial == pytest.approx(sum(plain) / G.order, abs=1e-4)
        if min(plain) >= INVARIANT:
            assert s.subgroup.order == G.order and s.inside == pytest.approx(min(plain), abs=1e-4)
            continue
        passing = [H for H in G.subgroups() if min(c[h] for h in H.elements) >= tau]
        size = max(H.order for H in passing)
        best = max((H for H in passing if H.order == size), key=lambda H: min(c[h] for h in H.elements))
        assert s.subgroup == best and G.generated(s.subgroup.elements) == s.subgroup.elements
        assert s.inside == pytest.approx(min([c[h] for h in best.elements[1:]], default=1), abs=1e-4)
        rest = [c[h] for h in range(G.order) if h not in best.elements]
        assert s.outside == pytest.approx(max(rest, default=-1), abs=1e-4)
        assert s.margin == pytest.approx(min(s.inside - tau, tau - s.outside), abs=1e-6)


@cases
def test_an_invariant_part_leaves_a_stabiliser_alone_and_is_reported(G, seed):
    """The old rule, c itself against a threshold, called such features symmetric under everything."""
    D = planted(G, seed)[:-1]  # the last one is invariant already
    if not len(D):
        return
    D = D - D.mean(1, keepdim=True)
    D = D[D.flatten(1).norm(dim=1) > 1e-3]
    u = torch.randn(len(D), 1, D.shape[2], generator=torch.Generator().manual_seed(seed)).expand_as(D)
    share = 0.45
    both = (1 - share)**0.5 * D / D.flatten(1).norm(dim=1)[:, None, None]
    both = both + share**0.5 * u / u.flatten(1).norm(dim=1)[:, None, None]
    for before, after in zip(stabilisers(D, G), stabilisers(both, G), strict=True):
        assert after.trivial == pytest.approx(share, abs=1e-3) and before.trivial == pytest.approx(0, abs=1e-4)
        if after.subgroup.order < G.order:  # c(h) >= 0.5 for all h makes an invariant feature, whatever the rest is
            assert before.subgroup == after.subgroup
            assert (before.inside, before.outside) == pytest.approx((after.inside, after.outside), abs=1e-3)


def test_one_notion_of_invariant():
    """c(h) >= INVARIANT for all h; the rest of the profile does not matter then, and one lower cosine is enough."""
    G = dihedral(4)
    row = torch.tensor([1.0, 0.5, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5])
    lower = row.clone()
    lower[5] = 0.49
    invariant, not_so = profile_stabilisers(torch.stack([row, lower]), G)
    assert invariant.subgroup.label == "all" and invariant.margin == pytest.approx(0)
    assert invariant.inside == pytest.approx(0.5) and invariant.trivial == pytest.approx(float(row.mean()))
    assert not_so.subgroup.label == "half turn"


def test_centred_profiles_are_those_of_centred_vectors():
    G = dihedral(4)
    D = random_features(G, 1) + 2
    c = self_similarity(D, G)
    for f, row in zip(D, centred(c, D, G), strict=True):
        assert row.tolist() == pytest.approx(slow_profile(f, G)[1], abs=1e-4)
    assert trivial_share(c).tolist() == pytest.approx(irrep_power(D, G)[:, 0].tolist(), abs=1e-5)
    assert centred(torch.ones(1, 8)).tolist() == [[1.0] + [0.0] * 7]
    with pytest.raises(ValueError, match="not the profiles of D"):
        centred(c.flip(0), D, G)


def test_a_profile_by_hand():
    """C_4, one channel: c(r) = c(r^3) = 1/2 and c(r^2) = 0 for two neighbouring ones; half of it is invariant."""
    f = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 4, 1)
    loose, strict = (stabilisers(f + extra, cyclic(4), tau=0.4)[0] for extra in (0.0, -0.5))
    for s, trivial_part in ((loose, 0.5), (strict, 0.0)):  # the rest, (1, 1, -1, -1), has c' = (1, 0, -1, 0)
        assert s.subgroup.name == "C1" and s.outside == pytest.approx(0) and s.trivial == pytest.approx(trivial_part)
        assert s.margin == pytest.approx(0.4)
    # c' = (1, 0.5, -0.5, ...) in C_6: the step itself passes, but not what it generates
    angle = torch.arange(6) * torch.pi / 3
    step = stabilisers(torch.cos(angle).view(1, 6, 1), cyclic(6))[0]
    assert step.subgroup.order == 1 and step.outside == pytest.approx(0.5)
    assert step.margin == pytest.approx(TAU - 0.5)
    everything = stabilisers(torch.ones(1, 4, 1), cyclic(4))[0]
    assert everything.subgroup.label == "all" and everything.outside == -1
    assert everything.margin == pytest.approx(1 - INVARIANT) and everything.trivial == pytest.approx(1)


def test_labels_of_shapes():
    """Functions of the angle alone on D_8, as drawn shapes would have them."""
    G = dihedral(8)
    angle = torch.arange(8) * torch.pi / 4
    waves = {"blob": torch.ones(8), "curve": torch.cos(angle), "line": torch.cos(2 * angle),
             "cross": torch.cos(4 * angle)}
    D = torch.stack([torch.cat([wave, wave]) for wave in waves.values()])[:, :, None]
    found = dict(zip(waves, stabilisers(D, G), strict=True))
    assert {name: s.subgroup.label for name, s in found.items()} == {
        "blob": "all", "curve": "one mirror", "line": "C2 x C2", "cross": "D4"}


# ---------------------------------------------------------------------------------------------- irrep power

@cases
def test_power_sums_to_one_and_does_not_move(G, seed):
    D = random_features(G, seed, m=5, d=3)
    shares = irrep_power(D, G)
    assert shares.shape == (5, len(G.irreps())) and shares.dtype == torch.float32 and shares.min() >= 0
    torch.testing.assert_close(shares.sum(1), torch.ones(5))
    torch.testing.assert_close(irrep_power(-3 * act(D, G, seed % G.order), G), shares, atol=1e-6, rtol=0)


@cases
def test_power_of_symmetric_features(G, seed):
    """Power lies only in irreps with a vector that the stabiliser fixes; all of it in the first for the whole group."""
    shares = irrep_power(planted(G, seed), G)
    assert shares[-1].tolist() == pytest.approx([1] + [0] * (len(G.irreps()) - 1), abs=1e-6)
    for H, row in zip(G.subgroups(), shares, strict=True):
        fixed = [irrep.character[list(H.elements)].mean() for irrep in G.irreps()]  # dimension of the fixed space
        assert all((share > 1e-6) == (dimension > 0.5) for share, dimension in zip(row.tolist(), fixed, strict=True))


def test_line_like_features_have_even_frequencies():
    G = dihedral(16)
    halfturn = next(H for H in G.subgroups() if H.label == "half turn")
    row = irrep_power(planted(G, 0), G)[G.subgroups().index(halfturn)]
    by_parity = [sum(float(share) for share, irrep in zip(row, G.irreps(), strict=True) if irrep.frequency % 2 == odd)
                 for odd in (0, 1)]
    assert by_parity == pytest.approx([1, 0], abs=1e-6)


# ------------------------------------------------------------------------------------------ equivariance score

def slow_score(f, G):
    """Regression of B on the class of (g, h), word for word, over pairs of different blocks."""
    B = block_cosines(f[None])[0].double()
    pairs = [(g, h) for g, h in itertools.product(range(G.order), repeat=2) if g != h]
    values = torch.stack([B[g, h] for g, h in pairs])
    kind = torch.tensor([G.multiply(G.inverse[g], h) for g, h in pairs])
    fitted = torch.stack([values[kind == k].mean() for k in kind])
    return float(1 - (values - fitted).square().sum() / (values - values.mean()).square().sum())


@pytest.mark.parametrize("G", [cyclic(6), dihedral(4), Q8, product(dihedral(3), cyclic(2))], ids=str)
def test_scores_equal_the_definition(G):
    D = random_features(G, 0, m=3, d=5)
    assert equivariance_score(D, G).tolist() == pytest.approx([slow_score(f, G) for f in D], abs=1e-4)


@cases
def test_orbits_of_a_vector_score_one_and_losing_the_structure_costs(G, seed):
    exact = orbit_of_a_vector(G, 3, seed)[None]
    assert float(equivariance_score(exact, G)) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(equivariance_score(act(exact, G, seed % G.order), G), torch.ones(1), atol=1e-4, rtol=0)
    if G.order > 4:
        noisy = exact + random_features(G, seed, 1, exact.shape[-1])
        assert float(equivariance_score(noisy, G)) < 0.99
        scores = equivariance_score(random_features(G, seed, 40), G)
        assert float(scores.mean()) < (0.35 if G.order < 12 else 2.5 / G.order)


def test_scores_are_one_where_nothing_varies():
    assert equivariance_score(torch.ones(2, 8, 3), dihedral(4)).tolist() == [1, 1]
    assert equivariance_score(torch.ones(2, 1, 3), trivial()).tolist() == [1, 1]


# -------------------------------------------------------------------------------------------------- bad input

def test_bad_input(unchecked):
    G, D = dihedral(4), random_features(dihedral(4), 0)
    for tau in (0, 1, 1.5, -0.1):
        with pytest.raises(ValueError, match="expected a cosine above 0 and below 1"):
            stabilisers(D, G, tau=tau)
    for value, said in ((0.0, "norm 0.0"), (float("nan"), "norm nan"), (float("inf"), "norm inf")):
        bad = D.clone()
        bad[2:] = value
        for measure in (stabilisers, irrep_power, equivariance_score):
            with pytest.raises(ValueError, match=f"vector 2 has {said}; expected .* here 2 of 4"):
                measure(bad, G)
    for measure in (stabilisers, irrep_power, equivariance_score):
        with pytest.raises(ValueError, match=r"\(4, 6, 40\); expected \(features, 8, channels\)"):
            measure(D[:, :6], G)
