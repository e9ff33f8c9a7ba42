"""The encoder's side: planted encoders whose symmetry is known, for any group."""

import math

import pytest
import torch

from groupcc_lite.answers import plant
from groupcc_lite.answers.planted import Planted
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.groups import FiniteGroup, cyclic, dihedral, permutation_group, product
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.symmetry.encoder_side import (
    MirrorAgreement,
    confirmed,
    encoder_profile,
    inside_by_chance,
    mirror_agreement,
)
from groupcc_lite.symmetry.nulls import surrogate
from groupcc_lite.symmetry.similarity import self_similarity
from groupcc_lite.symmetry.stabiliser import Stabiliser, profile_stabilisers, stabilisers

A4 = permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4")
Q8 = permutation_group([(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)], name="Q8")
GROUPS = [dihedral(4), dihedral(8), dihedral(16), cyclic(6), product(dihedral(3), cyclic(2)), A4, Q8]


def planted_encoder(G: FiniteGroup, seed: int = 0) -> tuple[Planted, GroupCrosscoder, TensorOrbits]:
    """An encoder that reads the true directions, and orbits of random vectors together with all their copies."""
    problem = plant(G, channels=2 * G.order, superposition=1.0, seed=seed)
    coder = GroupCrosscoder(G, problem.channels, problem.features, seed=0)
    with torch.no_grad():
        coder.W_e.copy_(problem.directions)
        coder.b_e.zero_()
        coder.b.zero_()
    z = torch.randn(64, problem.channels, generator=torch.Generator().manual_seed(seed))
    copies = torch.einsum("gab,zb->zga", problem.maps, z).flatten(0, 1)
    return problem, coder, TensorOrbits(torch.einsum("gab,zb->zga", problem.maps, copies), G)


def on_the_wrong_side(coder: GroupCrosscoder, orbits: TensorOrbits) -> torch.Tensor:
    """What comes out if x[g] is compared with x[gh]."""
    G = orbits.group
    r = coder.preactivations(orbits.blocks.flatten(0, 1)).relu().unflatten(0, orbits.blocks.shape[:2]).detach().double()
    sums = torch.stack([(r * r[:, G.table[:, h].tolist()]).sum((0, 1)) for h in range(G.order)], dim=1)
    return (sums / sums[:, :1]).float()


@pytest.mark.parametrize("G", GROUPS, ids=str)
def test_the_very_elements_of_planted_encoders_are_found(G):
    problem, coder, orbits = planted_encoder(G)
    c = encoder_profile(coder, orbits)
    found = profile_stabilisers(c, G, tau=0.9)
    wanted = [H.elements for H in problem.stabiliser]
    assert len(set(wanted)) > 2 and [s.subgroup.elements for s in found] == wanted
    for row, H in zip(c, problem.stabiliser, strict=True):
        assert row[list(H.elements)].min() > 1 - 1e-4
    assert torch.allclose(c, c[:, G.inverse], atol=1e-5) and torch.allclose(c[:, 0], torch.ones(len(c)))


@pytest.mark.parametrize("G", [G for G in GROUPS if any(H.label == "one mirror" for H in G.subgroups())], ids=str)
def test_negative_control_from_the_right_no_mirror_is_told_from_another(G):
    problem, coder, orbits = planted_encoder(G)
    right, wrong = encoder_profile(coder, orbits), on_the_wrong_side(coder, orbits)
    classes = [[h for h in range(G.order) if h in C] for C in conjugates(G)]
    large = [C for C in classes if len(C) > 1]
    rows = [j for j, H in enumerate(problem.stabiliser) if H.label == "one mirror"]
    assert rows and large
    for C in large:
        assert (wrong[:, C].amax(1) - wrong[:, C].amin(1)).max() < 1e-5
    assert max(float((right[rows][:, C].amax(1) - right[rows][:, C].amin(1)).min()) for C in large) > 0.1
    found = profile_stabilisers(wrong, G, tau=0.9)
    assert not any(found[j].subgroup == problem.stabiliser[j] for j in rows)


def conjugates(G: FiniteGroup) -> set[frozenset[int]]:
    return {frozenset(G.multiply(G.multiply(g, h), G.inverse[g]) for g in range(G.order)) for h in range(G.order)}


@pytest.mark.parametrize("G", [dihedral(4), product(dihedral(3), cyclic(2)), A4], ids=str)
def test_the_profile_is_the_definition(G):
    _, coder, orbits = planted_encoder(G)
    few = TensorOrbits(orbits.blocks[5:60], G)
    r = torch.stack([coder.preactivations(x).relu() for x in few.blocks]).detach().double()  # (x, g, m)
    slow = torch.zeros(coder.latents, G.order, dtype=torch.double)
    for h in range(G.order):
        for g in range(G.order):
            slow[:, h] += (r[:, g] * r[:, G.multiply(h, g)]).sum(0)
    torch.testing.assert_close(encoder_profile(coder, few), (slow / slow[:, :1]).float(), atol=1e-5, rtol=0)


def test_decoder_and_encoder_agree_on_planted_features():
    G = dihedral(8)
    problem, coder, orbits = planted_encoder(G)
    found, c = stabilisers(problem.dictionary, G), encoder_profile(coder, orbits)
    symmetric = torch.tensor([H.order > 1 for H in problem.stabiliser])
    assert torch.equal(confirmed(found, c), symmetric)
    moved = c[torch.arange(len(c)).roll(7)]
    assert confirmed(found, moved).sum() < symmetric.sum() / 2  # another feature's encoder confirms little
    agreement = mirror_agreement(found, c, G)
    one = [j for j, H in enumerate(problem.stabiliser) if H.label == "one mirror"]
    assert agreement.features.tolist() == one and agreement.exact == 1
    assert float(agreement.chance.sum()) == pytest.approx(1) and agreement.chance[0] < 0.3
    own, other = inside_by_chance(found, c, permutations=40)
    assert own.min() > 0.9 and other.mean() < 0.7 and other.shape == (40, len(own))


@pytest.mark.parametrize("seed", range(3))
def test_agreement_with_a_surrogate_is_at_chance(seed):
    """A random mirror for each feature: one in eight is the same by chance, and a little more as classes stay."""
    G, count = dihedral(8), 800
    generator = torch.Generator().manual_seed(seed)
    f = torch.randn(count, 16, 24, generator=generator)
    mirror = torch.randint(8, 16, (count,), generator=generator)
    c = self_similarity(f + torch.stack([row[G.regular[h]] for row, h in zip(f, mirror.tolist(), strict=True)]), G)
    found = profile_stabilisers(c, G)
    a = mirror_agreement(found, surrogate(c, G, seed=seed), G)
    assert len(a.steps) > 0.9 * count and a.chance[0] == pytest.approx(0.125, abs=0.01)
    assert abs(a.exact - 0.125) < 0.1 and a.exact < 0.26
    assert mirror_agreement(found, c, G).exact == 1


def test_chance_knows_of_preferred_axes():
    """If all features prefer one mirror, agreement says nothing, and chance says so."""
    G = dihedral(4)
    c = torch.tensor([[1.0, 0, 0, 0, 0, 0.9, 0, 0]]).repeat(5, 1)
    a = mirror_agreement(profile_stabilisers(c, G), c, G)
    assert a.exact == 1 and a.chance.tolist() == [1, 0, 0]
    none = mirror_agreement(profile_stabilisers(torch.eye(8)[:1], G), torch.eye(8)[:1], G)
    assert len(none.steps) == 0 and math.isnan(none.exact) and none.chance.isnan().all()
    assert MirrorAgreement(torch.arange(2), torch.tensor([0, 3]), torch.ones(1)).near == 0.5


def one_mirror_each(axes, n=8):
    """Profiles of D_n, the best mirror of each at this axis."""
    c = torch.full((len(axes), 2 * n), -0.1)
    c[:, 0], c[range(len(axes)), n + torch.as_tensor(axes)] = 1.0, 0.9
    return c


def test_chance_is_that_of_other_features():
    """Three features, three axes, all in agreement: no other feature's encoder ever has the same mirror."""
    G, c = dihedral(8), one_mirror_each([0, 1, 4])
    a = mirror_agreement(profile_stabilisers(c, G), c, G)
    assert a.exact == 1 and a.chance.tolist() == pytest.approx([0, 1 / 3, 0, 1 / 3, 1 / 3])
    one = mirror_agreement(profile_stabilisers(c[:1], G), c[:1], G)
    assert one.exact == 1 and one.chance.isnan().all()


def test_halves_with_nothing_in_common_but_preferred_axes_agree_by_chance():
    """A third of both has the upright mirror. One in n, the chance of uniform axes, is far below what comes out."""
    generator, n, exact, near, chance = torch.Generator().manual_seed(0), 16, [], [], []
    G = dihedral(n)
    for _ in range(40):
        ours, theirs = torch.randint(n, (2, 100), generator=generator)
        for axes in (ours, theirs):
            axes[torch.rand(100, generator=generator) < 1 / 3] = 0
        a = mirror_agreement(profile_stabilisers(one_mirror_each(ours, n), G), one_mirror_each(theirs, n), G)
        exact.append(a.exact)
        near.append(a.near)
        chance.append(a.chance[:2].tolist())
    same, beside = torch.tensor(chance).mean(0).tolist()
    assert sum(exact) / 40 == pytest.approx(same, abs=0.02) and same > 2 / n
    assert sum(near) / 40 == pytest.approx(same + beside, abs=0.03)


def test_latents_that_never_respond_confirm_nothing():
    G = dihedral(4)
    _, coder, orbits = planted_encoder(G)
    with torch.no_grad():
        coder.b_e[3] = -1e6
    c = encoder_profile(coder, orbits)
    assert c[3].isnan().all() and not c[[0, 1, 2, 4]].isnan().any()
    everything, mirror = G.subgroups()[-1], next(H for H in G.subgroups() if H.label == "one mirror")
    labels = [Stabiliser(H, 1.0, 0.0, 0.2, 0.0) for H in (everything, mirror)]
    assert not confirmed(labels, c[[3, 3]]).any()
    assert len(mirror_agreement(labels[1:], c[3:4], G).steps) == 0
    own, other = inside_by_chance(labels, c[[3, 3]], permutations=3)
    assert own.numel() == 0 and other.shape == (3, 0)


def test_independent_responses_are_not_at_right_angles():
    """What makes invariance by the encoder a low bar: 1 / pi of the way to 1, and not 0, for unrelated views."""
    G = dihedral(4)
    coder = GroupCrosscoder(G, 16, 5, seed=0)
    with torch.no_grad():
        coder.b_e.zero_()
        coder.b.zero_()
    x = torch.randn(4000, 8, 16, generator=torch.Generator().manual_seed(0))
    c = encoder_profile(coder, TensorOrbits(x, G))
    assert torch.allclose(c[:, 1:], torch.tensor(1 / math.pi), atol=0.03)


def test_an_autoencoder_of_single_blocks_goes_with_any_group():
    x = TensorOrbits(torch.randn(30, 6, 5), cyclic(6))
    assert encoder_profile(SparseAutoencoder(5, 7), x).shape == (7, 6)


def test_bad_input():
    G = dihedral(4)
    _, coder, orbits = planted_encoder(G)
    with pytest.raises(ValueError, match="coder's group is D_4, the orbits' D_3"):
        encoder_profile(coder, TensorOrbits(torch.randn(2, 6, coder.channels), dihedral(3)))
    labels = profile_stabilisers(torch.eye(8)[:1], G)
    for compare in (confirmed, inside_by_chance, lambda s, c: mirror_agreement(s, c, G)):
        with pytest.raises(ValueError, match="1 labels for 2 profiles"):
            compare(labels, torch.ones(2, 8))
    with pytest.raises(ValueError, match="C_8 is no dihedral group"):
        mirror_agreement([], torch.ones(0, 8), cyclic(8))
