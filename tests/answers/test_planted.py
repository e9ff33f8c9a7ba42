"""The answer key itself: what is planted is what was asked for, and the scores mean what they say."""

import math

import numpy as np
import pytest
import torch

from groupcc_lite.answers.planted import STANDARD, Planted, plant, standard, unequal_poses, unequal_views
from groupcc_lite.answers.scoring import score
from groupcc_lite.groups import FiniteGroup, cyclic, dihedral, permutation_group, product, representatives, trivial
from groupcc_lite.symmetry import INVARIANT, act, self_similarity, stabilisers

Q8 = permutation_group([(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)], name="Q8")
A4 = permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4")
GROUPS = [trivial(), cyclic(6), cyclic(7), dihedral(1), dihedral(4), dihedral(5), product(cyclic(4), cyclic(2)), Q8, A4]
every_group = pytest.mark.parametrize("G", GROUPS, ids=lambda G: G.name)


@pytest.fixture(scope="module")
def benchmark() -> Planted:
    return standard()


@pytest.fixture(scope="module")
def small() -> Planted:
    return plant(dihedral(4), channels=24, active=3.0, seed=5)


def two_copies(G: FiniteGroup, **settings) -> Planted:
    return plant(G, channels=2 * G.order, active=1.0, **settings)


# ----------------------------------------------------------------------------------------- the representation

@every_group
@pytest.mark.parametrize("channels", [5, 24])
def test_rho_is_an_orthogonal_representation(G, channels):
    p = plant(G, channels=channels, active=1.0, seed=1)
    rho = p.representation
    assert rho.shape == (G.order, channels, channels) and torch.equal(p.maps, rho)
    products = torch.einsum("gab,hbc->ghac", rho, rho)
    torch.testing.assert_close(products, rho[torch.from_numpy(G.table)], atol=1e-5, rtol=0)
    torch.testing.assert_close(rho @ rho.mT, torch.eye(channels).expand_as(rho), atol=1e-5, rtol=0)
    character = sum(m * irrep.character for m, irrep in zip(p.multiplicities, G.irreps(), strict=True))
    np.testing.assert_allclose(torch.einsum("gaa->g", rho).numpy(), character, atol=1e-4)


@every_group
def test_whole_copies_of_the_regular_representation_where_they_fit(G):
    p = two_copies(G)
    assert p.multiplicities == tuple(2 * irrep.dim // irrep.kind for irrep in G.irreps())
    traces = torch.einsum("gaa->g", p.representation)
    torch.testing.assert_close(traces, torch.tensor([2.0 * G.order] + [0.0] * (G.order - 1)), atol=1e-4, rtol=0)


def test_channels_that_do_not_divide_are_filled_in_proportion():
    p = plant(dihedral(4), channels=11, active=1.0)  # A1, A2, E1, B1, B2 have 1, 1, 2, 1, 1 parts in 8
    assert sum(m * irrep.dim for m, irrep in zip(p.multiplicities, p.group.irreps(), strict=True)) == 11
    for m, irrep in zip(p.multiplicities, p.group.irreps(), strict=True):
        assert abs(m - 11 / 8 * irrep.dim) <= 1


# -------------------------------------------------------------------------------- families and stabilisers

@every_group
@pytest.mark.parametrize("separation", [0.5, 0.9])
def test_stabilisers_are_exactly_those_planted(G, separation):
    p = two_copies(G, separation=separation, seed=2)
    if separation <= INVARIANT:  # at 0.9 a feature may resemble all its copies so much that it counts as invariant
        found = stabilisers(p.dictionary, G, tau=0.95)
        assert [s.subgroup for s in found] == list(p.stabiliser)
    profile = self_similarity(p.dictionary, G)
    for j, H in enumerate(p.stabiliser):
        others = [h for h in range(G.order) if h not in H.elements]
        assert profile[j, list(H.elements)].min() > 1 - 1e-5
        assert not others or profile[j, others].max() < separation + 1e-5
        moved = p.representation[list(H.elements)] @ p.directions[j]
        torch.testing.assert_close(moved, p.directions[j].expand_as(moved), atol=1e-5, rtol=0)


@every_group
def test_every_class_is_planted_by_default_and_orbits_are_complete(G):
    p = plant(G, channels=4 * G.order, active=1.0, seed=3)
    assert {H.conjugacy_class for H in p.stabiliser} == {H.conjugacy_class for H in G.subgroups()}
    for number in p.family.unique():
        members = torch.nonzero(p.family == number).flatten().tolist()
        assert {G.order // p.stabiliser[j].order for j in members} == {len(members)}
        assert len({p.stabiliser[j].conjugacy_class for j in members}) == 1
    assert p.directions.norm(dim=1).tolist() == pytest.approx([1] * p.features, abs=1e-5)


@every_group
def test_act_moves_the_features_of_a_family_onto_each_other(G):
    p = two_copies(G, seed=4)
    D, base = p.dictionary, [int((p.family == f).nonzero()[0]) for f in p.family]
    for j, h in enumerate(p.mover.tolist()):
        torch.testing.assert_close(act(D[base[j]], G, h), D[j], atol=1e-5, rtol=0)
    for h in range(G.order):
        cosine = torch.einsum("igd,jgd->ij", act(D, G, h), D) / G.order
        to = cosine.argmax(1)
        assert cosine.amax(1).min() > 1 - 1e-5 and sorted(to.tolist()) == list(range(p.features))
        assert torch.equal(p.family[to], p.family)


def test_families_by_name_label_elements_and_subgroup():
    G = dihedral(4)
    whole = G.subgroups()[-1]
    asked = [("one mirror", 2), ("C4", 1), ((0, 2), 1), (whole, 3), ([0, 4], 1)]
    p = plant(G, channels=40, families=asked, active=2.0)
    assert p.features == 4 + 4 + 2 + 4 + 3 + 4 and p.family.max() == 7
    first = [p.stabiliser[int((p.family == f).nonzero()[0])] for f in range(8)]
    mirrors = [H for H in representatives(G.subgroups()) if H.label == "one mirror"]
    assert first[:2] == mirrors and len(mirrors) == 2  # classes of one name take turns
    assert [H.elements for H in first[2:]] == [(0, 1, 2, 3), (0, 2), *[tuple(range(8))] * 3, (0, 4)]


def test_default_families_by_hand():
    """D_4 has 8 classes of subgroups, with orbits 8, 4, 4, 4, 2, 2, 2, 1: 27. Of 10 more, 8 and the first 2 fit."""
    p = plant(dihedral(4), channels=20, superposition=37 / 20, active=1.0)
    sizes = torch.bincount(p.family)  # families are numbered by class, large orbits first
    assert sizes.tolist() == [8, 8, 4, 4, 4, 2, 2, 2, 2, 1] and p.features == 37


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0, 3.7])
def test_superposition(ratio):
    p = plant(dihedral(6), channels=48, superposition=ratio, active=1.0)
    assert ratio - 0.1 <= p.superposition <= ratio and p.superposition == p.features / 48


def test_the_standard_problem(benchmark):
    assert (benchmark.group, benchmark.channels, benchmark.features) == (dihedral(16), 64, 128)
    assert STANDARD["noise"] == benchmark.noise == 0.05 and benchmark.broken == 0
    assert benchmark.superposition == 2 and len({H.conjugacy_class for H in benchmark.stabiliser}) == 14
    found = stabilisers(benchmark.dictionary, benchmark.group)
    assert [s.subgroup for s in found] == list(benchmark.stabiliser)
    assert 0.3 < benchmark.coherence < 0.95
    apart = (benchmark.family[:, None] != benchmark.family).float()
    gram = torch.nn.functional.normalize(benchmark.dictionary.flatten(1)) @ benchmark.dictionary.flatten(1).T
    assert benchmark.coherence == pytest.approx(float((gram.abs() * apart).max()) / 32**0.5, abs=1e-5)
    assert standard(noise=0.3).noise == 0.3 and standard(group=cyclic(3), channels=6).group == cyclic(3)


# ------------------------------------------------------------------------------------------------------- data

def test_blocks_follow_the_coefficients():
    p = standard(group="D_4", channels=24, noise=0.0)
    sample = p.sample(50)
    rebuilt = torch.einsum("bm,mgd->bgd", sample.coefficients, p.dictionary)
    torch.testing.assert_close(sample.blocks, rebuilt, atol=1e-5, rtol=0)
    turned = torch.einsum("gac,bc->bga", p.representation, sample.blocks[:, 0])
    torch.testing.assert_close(sample.blocks, turned, atol=1e-5, rtol=0)  # exact equivariance


def test_coefficients_are_sparse_positive_and_of_the_stated_size(small):
    c = small.sample(20_000, seed=1).coefficients
    on = c[c > 0]
    assert (c >= 0).all() and 0.5 <= on.min() and on.max() <= 1.5
    assert float((c > 0).sum(1).float().mean()) == pytest.approx(3, abs=0.05)
    assert float(on.mean()) == pytest.approx(1, abs=0.01) and float(on.var()) == pytest.approx(1 / 12, abs=0.002)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
def test_noise_has_the_stated_norm_and_is_independent(noise):
    p = plant(dihedral(3), channels=12, noise=noise, active=2.0)
    blocks, c = p.sample(20_000)
    signal = torch.einsum("bm,mgd->bgd", c, p.dictionary)
    assert float(signal[:, 0].square().sum(1).mean().sqrt()) == pytest.approx(p.signal, rel=0.02)
    rest = blocks - signal
    for g in range(6):
        assert float(rest[:, g].square().sum(1).mean().sqrt()) == pytest.approx(noise * p.signal, rel=0.02, abs=1e-5)
    if noise:
        correlation = torch.corrcoef(rest.flatten(1).T)
        assert (correlation - torch.eye(72)).abs().max() < 0.05


def test_seeds_reproduce_and_differ(small):
    again = plant(dihedral(4), channels=24, active=3.0, seed=5)
    assert torch.equal(again.dictionary, small.dictionary) and torch.equal(again.family, small.family)
    other = plant(dihedral(4), channels=24, active=3.0, seed=6)
    assert not torch.allclose(other.directions, small.directions, atol=0.1)
    first, same, new = small.sample(5, seed=1), again.sample(5, seed=1), small.sample(5, seed=2)
    assert torch.equal(first.blocks, same.blocks) and torch.equal(first.coefficients, same.coefficients)
    assert not torch.equal(first.blocks, new.blocks)
    louder = plant(dihedral(4), channels=24, active=3.0, seed=5, noise=0.4, broken=0.3)
    assert torch.equal(louder.directions, small.directions)


def test_the_source_is_the_sample(small):
    source = small.source(64, seed=3)
    rows = torch.cat(list(source.in_order(10)))
    assert torch.equal(rows, small.sample(64, seed=3).blocks) and source.group == small.group
    assert next(source.batches(16, seed=0)).shape == (16, 8, 24)


def test_broken_turns_every_block_by_the_stated_angle():
    for channels in (8, 9):
        for broken in (0.0, 0.2, 0.7, 1.0):
            p = plant(dihedral(3), channels=channels, broken=broken, active=1.0)
            torch.testing.assert_close(p.maps @ p.maps.mT, torch.eye(channels).expand_as(p.maps), atol=1e-5, rtol=0)
            torch.testing.assert_close(p.maps[0], torch.eye(channels), atol=1e-6, rtol=0)
            asked = torch.einsum("gab,mb->mga", p.representation, p.directions)
            cosine = (asked * p.dictionary).sum(-1)[:, 1:]
            if channels == 8:
                torch.testing.assert_close(cosine, torch.full_like(cosine, math.cos(broken * math.pi / 2)),
                                           atol=1e-5, rtol=0)
            else:  # one direction stays
                assert cosine.min() > math.cos(broken * math.pi / 2) - 1e-5


def test_equivariance_breaks_monotonically():
    errors, symmetric = [], []
    for broken in (0.0, 0.1, 0.3, 0.6, 1.0):
        p = standard(group="D_4", channels=32, broken=broken)
        T = p.maps
        products = torch.einsum("gab,hbc->ghac", T, T) - T[torch.from_numpy(p.group.table)]
        errors.append(float(products.norm()))
        symmetric.append(score(p.dictionary, p).stabiliser)
    assert errors[0] < 1e-3 and all(a < b for a, b in zip(errors, errors[1:], strict=False))
    assert symmetric[:2] == [1, 1] and symmetric[-1] < 0.4 and symmetric == sorted(symmetric, reverse=True)


# --------------------------------------------------------------------------------------------------- bad input

@pytest.mark.parametrize("settings, message", [
    (dict(channels=0), "channels=0.*positive"),
    (dict(superposition=0.0), "superposition=0.0"),
    (dict(superposition=0.01), "less than the smallest orbit"),
    (dict(noise=-0.1), "noise=-0.1"),
    (dict(broken=1.5), "broken=1.5"),
    (dict(separation=0.0), "separation=0.0"),
    (dict(active=0.0), "active is 0.0"),
    (dict(active=500.0), "active is 500.0.*up to 48"),
    (dict(families=[("C3", 1)]), "no subgroup called 'C3'.*one mirror"),
    (dict(families=[((0, 1), 1)]), r"\(0, 1\) is not a subgroup of D_4.*generated"),
    (dict(families=[("C4", 0)]), "'C4' 0 times"),
    (dict(families=[("none", 1)], channels=2, separation=0.01), "in 2000 attempts no vector with stabiliser C1"),
    (dict(families=[("half turn", 1)], channels=2), "on 2 channels has the stabiliser C2.*at least 8 channels"),
])
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        plant(dihedral(4), **dict(channels=24) | settings)


def test_a_sample_needs_a_size(small):
    with pytest.raises(ValueError, match="count is 0"):
        small.sample(0)


# ---------------------------------------------------------------------------------------------------- upright

def test_upright_keeps_one_pose_of_every_family(small):
    one = small.upright()
    assert one.features == len(small.family.unique()) == len(one.family.unique())
    first = [int((small.family == family).nonzero()[0]) for family in one.family]
    torch.testing.assert_close(one.dictionary, small.dictionary[first])
    assert one.stabiliser == tuple(small.stabiliser[j] for j in first)
    assert not one.mover.any() and one.active == min(small.active, one.features)


def test_upright_data_are_a_part_of_the_data(small):
    sample = small.upright().sample(50)
    rebuilt = torch.einsum("bm,mgd->bgd", sample.coefficients, small.upright().dictionary)
    noise = (sample.blocks - rebuilt).norm(dim=-1).square().mean().sqrt()
    assert abs(noise / (small.noise * small.upright().signal) - 1) < 0.05


def test_families_of_unequal_frequency():
    """Members are alike, families follow a power of their rank, and data and the signal's norm follow the rates."""
    alike, unequal = (standard(group="D_4", channels=32, zipf=z, noise=0.0) for z in (0.0, 1.0))
    assert torch.equal(alike.dictionary, unequal.dictionary) and alike.weights is None
    rates, family = unequal.rates, unequal.family
    assert float(rates.sum()) == pytest.approx(unequal.active, rel=1e-5)
    assert all(len(rates[family == f].unique()) == 1 for f in family.unique())
    by_family = torch.stack([rates[family == f][0] for f in family.unique()]).sort(descending=True).values
    assert torch.allclose(by_family[0] / by_family, torch.arange(1.0, len(by_family) + 1), rtol=1e-4)
    sample = unequal.sample(20_000)
    assert torch.allclose((sample.coefficients > 0).float().mean(0), rates, atol=0.02)
    assert float(sample.blocks[:, 0].square().sum(1).mean().sqrt()) == pytest.approx(unequal.signal, rel=0.05)
    assert not torch.allclose((alike.sample(20_000).coefficients > 0).float().mean(0), rates, atol=0.02)


@pytest.mark.parametrize("zipf", [-1.0, math.inf, 3.0])
def test_frequencies_out_of_range(zipf):
    with pytest.raises(ValueError, match="zipf is"):
        standard(group="D_4", channels=32, zipf=zipf)


@pytest.mark.parametrize("group, channels", [("D_4", 32), ("D_8", 64), ("D_16", 64)])
def test_the_rule_for_stabilisers_is_right_about_what_is_planted(group, channels):
    """At random, one feature in sixteen came so close to a symmetry it does not have that its label was wrong."""
    for seed in range(3):
        problem = standard(seed, group=group, channels=channels)
        assert score(problem.dictionary, problem).stabiliser_of_all == 1


@every_group
def test_unequal_views_move_with_the_picture_and_keep_families(G):
    """Every member is still its base moved by the mover, and its stabiliser still leaves it as it is."""
    truth = plant(G, channels=24, superposition=1.0, active=0.5)
    moved = unequal_views(truth, 0.6)
    for j in range(moved.features):
        base = int(((truth.family == truth.family[j]) & (truth.mover == 0)).nonzero()[0])
        assert torch.allclose(act(moved.dictionary[base:base + 1], G, int(truth.mover[j]))[0], moved.dictionary[j])
        for h in truth.stabiliser[j].elements:
            assert torch.allclose(act(moved.dictionary[j:j + 1], G, h)[0], moved.dictionary[j], atol=1e-4)
    cosine = torch.nn.functional.cosine_similarity(moved.dictionary, truth.dictionary, dim=2)
    assert torch.minimum((cosine - 1).abs(), (cosine - math.cos(0.3 * math.pi)).abs()).max() < 1e-3
    assert torch.allclose(unequal_views(truth, 0.0).dictionary, truth.dictionary, atol=1e-4)


def test_broken_elements_do_not_move_with_the_picture():
    """The negative control: with `broken` members are no moved copies of each other."""
    truth = plant(dihedral(4), channels=24, broken=0.6)
    j = int((truth.mover == 1).nonzero()[0])
    base = int(((truth.family == truth.family[j]) & (truth.mover == 0)).nonzero()[0])
    assert not torch.allclose(act(truth.dictionary[base:base + 1], truth.group, 1)[0], truth.dictionary[j], atol=0.1)


def test_unequal_poses_are_rarer_by_the_amount():
    truth = plant(dihedral(4), channels=24, zipf=1.0, active=1.0)
    moved, gone = unequal_poses(truth, 0.25), unequal_poses(truth, 1.0)
    for f in truth.family.unique():
        rates = moved.rates[truth.family == f]
        assert torch.allclose(rates[1:], 0.75 * rates[0])
    assert moved.rates.sum() == pytest.approx(1.0) == gone.rates.sum().item()
    assert (gone.rates > 0).sum() == len(truth.family.unique())
    seen = (gone.sample(2000).coefficients > 0).any(0)
    assert not seen[truth.mover != 0].any() and seen[truth.mover == 0].any()


@pytest.mark.parametrize("change", [unequal_views, unequal_poses])
def test_amounts_beyond_0_to_1_are_refused(change):
    truth = plant(dihedral(4), channels=24)
    for amount in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="from 0"):
            change(truth, amount)


def test_one_pose_that_would_never_rest_is_refused():
    truth = plant(dihedral(4), channels=24, families=[("C1", 2)], active=4.0)
    with pytest.raises(ValueError, match="most frequent"):
        unequal_poses(truth, 1.0)
