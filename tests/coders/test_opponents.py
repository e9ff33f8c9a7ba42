"""Directions that nobody trained, and activations of all poses one by one."""

import pytest
import torch

from groupcc_lite.answers import score, standard
from groupcc_lite.coders.opponents import (
    NOBODY,
    AllPoses,
    WholeOrbits,
    data_dictionary,
    data_point_dictionary,
    untrained_features,
)
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import TensorOrbits

G = dihedral(3)
X = torch.randn(300, 6, 8, generator=torch.Generator().manual_seed(0)).relu() + 1
ORBITS = TensorOrbits(X, G)


def test_all_poses_are_drawn_alike_and_one_of_each_orbit():
    blocks = torch.arange(6.0).view(1, 6, 1) + 10 * torch.arange(200.0).view(200, 1, 1)
    source = AllPoses(TensorOrbits(blocks, G))
    batches = list(source.batches(50, seed=1))
    values = torch.cat(batches).flatten().long()
    assert [batch.shape for batch in batches] == [(50, 1, 1)] * 4
    assert sorted((values // 10).tolist()) == list(range(200))
    assert (torch.bincount(values % 10, minlength=6) > 15).all()
    assert torch.equal(torch.cat(list(source.batches(50, seed=1, start=2))), torch.cat(batches[2:]))
    assert not torch.equal(torch.cat(list(source.batches(50, seed=1, epoch=1))).sort(0).values,
                           torch.cat(batches).sort(0).values)
    assert torch.cat(list(source.in_order(64))).flatten().tolist() == blocks.flatten().tolist()


def test_all_poses_are_scaled_by_all_blocks_and_named_apart():
    source = AllPoses(ORBITS)
    assert source.scale == ORBITS.scale and source.group.order == 1 and len(source) == 300
    assert source.fingerprint not in (None, ORBITS.fingerprint)


@pytest.mark.parametrize("kind", NOBODY)
def test_k_of_each_sample_fire_on_centred_activations(kind):
    found = untrained_features(kind, ORBITS, 20, k=3)
    latents = found.encoder.encode(X[:, 0])
    m = 8 if kind == "channels" else 20
    assert latents.shape == (300, m) and (latents > 0).sum(1).max() == 3
    centred = (X[:, 0] - X[:, 0].mean(0)) * ORBITS.scale
    expected = (centred @ found.encoder.W_e.T).relu()
    chosen = latents > 0
    assert torch.allclose(latents[chosen], expected[chosen], atol=1e-4)
    assert (found.dictionary is None) == (kind in ("channels", "random"))


def test_data_points_answer_to_themselves_and_bring_their_orbits():
    found = untrained_features("data points", ORBITS, 20, k=3)
    mean = X.mean(0)
    places = [int((X - mean - vector).abs().sum((1, 2)).argmin()) for vector in found.dictionary]
    assert len(set(places)) == 20 and torch.allclose(X[places] - mean, found.dictionary, atol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(found.encoder.W_e, found.dictionary[:, 0])
    assert torch.allclose(cosine, torch.ones(20), atol=1e-5)


def test_centres_of_clumps_are_found_with_their_orbits():
    generator = torch.Generator().manual_seed(1)
    centres = 5 * torch.randn(4, 6, 8, generator=generator)
    x = centres.repeat(100, 1, 1) + 0.1 * torch.randn(400, 6, 8, generator=generator)
    found = untrained_features("k-means", TensorOrbits(x, G), 12, k=1, seed=3)
    gap = torch.cdist(found.dictionary.flatten(1), (centres - x.mean(0)).flatten(1))
    assert set(gap.argmin(1).tolist()) == {0, 1, 2, 3} and gap.min(1).values.max() < 0.6


def test_random_directions_see_whitened_activations():
    generator = torch.Generator().manual_seed(2)
    mixed = torch.randn(4000, 1, 8, generator=generator) * torch.arange(1, 9.0)
    found = untrained_features("random", TensorOrbits(mixed, cyclic(1)), 50, k=3)
    spread = (mixed[:, 0] @ found.encoder.W_e.T).std(0)
    plain = (mixed[:, 0] @ torch.nn.functional.normalize(torch.randn(50, 8, generator=generator), dim=1).T).std(0)
    assert 0.3 < spread.min() and spread.max() < 2 and plain.mean() > 2  # unlike unit vectors
    lengths = torch.cov((mixed[:, 0] @ found.encoder.W_e.T).T).diagonal()
    assert torch.allclose(lengths.mean(), torch.tensor(1.0), atol=0.3)


def test_bad_input_is_one_clear_error():
    with pytest.raises(ValueError, match="kind is 'noise'; expected one of data points"):
        untrained_features("noise", ORBITS, 20, k=3)
    with pytest.raises(ValueError, match="count is 301; expected 1 to 300"):
        untrained_features("data points", ORBITS, 301, k=3)


def test_data_points_are_rows_about_the_mean_of_all():
    x = torch.randn(20, G.order, 5, generator=torch.Generator().manual_seed(3)) + 5
    found = data_dictionary(TensorOrbits(x, G), 6, seed=2)
    rows = (x - x.mean(0)).flatten(1)
    where = torch.cdist(found.flatten(1), rows).min(dim=1)
    assert where.values.max() < 1e-4 and len(set(where.indices.tolist())) == 6
    assert not torch.equal(found, data_dictionary(TensorOrbits(x, G), 6, seed=3))
    with pytest.raises(ValueError, match="count is 21; expected 1 to 20"):
        data_dictionary(TensorOrbits(x, G), 21)


def test_a_dictionary_of_data_points_holds_orbits_and_has_learnt_nothing():
    problem = standard(group="D_2", channels=12)
    orbits = problem.source(1500)
    coder = data_point_dictionary(orbits, latents=24, k=2, seed=1)
    centred = (orbits.blocks - orbits.blocks.mean(0)).flatten(1)
    centred = centred / centred.norm(dim=1, keepdim=True)
    best = (coder.dictionary.flatten(1) @ centred.T).max(1)
    assert torch.allclose(best.values, torch.ones(24), atol=1e-4) and len(best.indices.unique()) == 24
    first = centred.unflatten(1, (4, -1))[best.indices, 0]
    assert torch.cosine_similarity(coder.W_e, first, dim=1).min() > 0.999
    assert (coder.encode(orbits.blocks[:, 0]) > 0).sum(1).max() == 2
    assert score(coder.dictionary.detach(), problem).cosine < 0.9
    other = data_point_dictionary(orbits, latents=24, k=2, seed=2)
    assert not torch.equal(coder.W_d, other.W_d)
    with pytest.raises(ValueError, match="count is 1501"):
        data_point_dictionary(orbits, latents=1501, k=2)


def test_whole_orbits_are_the_same_orbits_in_one_block():
    whole = WholeOrbits(ORBITS)
    assert (len(whole), whole.channels, whole.group.order, whole.scale) == (300, 48, 1, ORBITS.scale)
    assert torch.equal(torch.cat(list(whole.in_order(70))).view(300, 6, 8), X)
    for long, x in zip(whole.batches(50, seed=2, epoch=1, start=2), ORBITS.batches(50, seed=2, epoch=1, start=2),
                       strict=True):
        assert torch.equal(long.view(50, 6, 8), x)
    assert next(whole.batches(5, elements=slice(0, 0))).shape == (5, 0, 48)
    assert whole.fingerprint != ORBITS.fingerprint and (whole.scale * X.flatten(1)).square().mean() == pytest.approx(1)
