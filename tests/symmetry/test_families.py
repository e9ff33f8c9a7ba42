import re

import numpy as np
import pytest
import torch
from small import small_model

from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import OrbitStore
from groupcc_lite.stimuli import SHAPES, stimuli
from groupcc_lite.symmetry import families
from groupcc_lite.symmetry.block_action import act
from groupcc_lite.symmetry.families import (
    Embedding,
    FamilyScores,
    Purity,
    centre_activations,
    cluster,
    dictionary_purity,
    distance,
    embed,
    embed_dictionary,
    label_by_response,
    neighbour_purity,
    score_dictionary,
    score_families,
)
from groupcc_lite.symmetry.similarity import max_cosine, nearest_neighbours


@pytest.fixture(scope="module")
def planted():
    """Six families of twelve features: noisy copies of one base vector, each moved by a random element."""
    G = dihedral(4)
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 8, 5, generator=generator)
    D = torch.cat([act(base, G, int(h)) for h in torch.randint(8, (12,), generator=generator)])
    D += 0.25 * torch.randn(D.shape, generator=generator)
    return G, D, np.tile(np.arange(6), 12)


@pytest.fixture(scope="module")
def mapped(planted):
    G, D, labels = planted
    gap = distance(max_cosine(D, G))
    return gap, embed(gap, seed=1), labels


def test_planted_families_are_recovered(mapped):
    gap, embedding, labels = mapped
    result = score_families(gap, embedding, cluster(embedding.four), labels)
    assert result.clusters == 6 and result.ari > 0.95 and result.ami > 0.95 and result.clustered > 0.95
    assert result.neighbour_purity > 0.98 and result.chance_purity == pytest.approx(11 / 71)
    assert result.label_silhouette > 0.5 and result.cluster_silhouette > 0.5


def test_negative_control_the_plain_cosine_does_not_see_the_families(planted):
    _, D, labels = planted
    flat = torch.nn.functional.normalize(D.flatten(1), dim=1)
    gap = distance(flat @ flat.T)
    plain = score_families(gap, Embedding(np.zeros((72, 4), np.float32), np.zeros((72, 2), np.float32)),
                  np.full(72, -1), labels)
    assert plain.label_silhouette < 0.3 and plain.clusters == 0 and np.isnan(plain.ari)


def test_negative_control_shuffled_labels_score_at_chance(mapped):
    gap, embedding, labels = mapped
    shuffled = np.random.default_rng(0).permutation(labels)
    result = score_families(gap, embedding, cluster(embedding.four), shuffled)
    assert abs(result.ari) < 0.1 and abs(result.neighbour_purity - result.chance_purity) < 0.1


def test_the_map_is_deterministic(mapped):
    gap, embedding, _ = mapped
    again = embed(gap, seed=1)
    assert np.array_equal(again.four, embedding.four) and np.array_equal(again.two, embedding.two)
    assert embedding.four.shape == (72, 4) and embedding.two.shape == (72, 2)


def test_distance_refuses_what_is_no_similarity():
    S = torch.eye(3)
    assert distance(S).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    lopsided = S + torch.triu(torch.ones(3, 3), 1)
    for bad, message in ((S[:2], "square"), (S * float("nan"), "NaN"), (lopsided, "symmetric")):
        with pytest.raises(ValueError, match=message):
            distance(bad)
    with pytest.raises(ValueError, match="at least 8"):
        embed(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="smallest is 1"):
        cluster(np.zeros((10, 4)), smallest=1)


def test_labels_name_the_shape_that_excites_a_feature_most():
    model, shown = small_model(input_size=64), stimuli(64, orientations=8)
    x0 = centre_activations(model, shown.images)
    (cell,) = model.geometry.cells(torch.zeros(1, 2)).round().long()
    near = model(shown.images)[:, :, cell[1], cell[0]]
    assert x0.shape == (len(shown.images), 6)
    assert torch.nn.functional.cosine_similarity(x0 - x0.mean(0), near - near.mean(0)).median() > 0.5
    coder = GroupCrosscoder(cyclic(1), 6, 4)
    target = int(x0.norm(dim=1).argmax())
    with torch.no_grad():
        coder.W_e[0] = x0[target] / x0[target].norm()
        coder.W_e[1], coder.b_e[1] = 0, -1.0
    result = label_by_response(coder, x0, shown.shape, margin=0.0)
    by_image = coder.preactivations(x0).relu()[:, 0]
    assert result.label[0] == int(shown.shape[int(by_image.argmax())])
    assert result.response.shape == (4, len(SHAPES)) and result.response[1].max() == 0
    assert result.selectivity[1] == 0 and 0 <= result.selectivity.min() <= result.selectivity.max() <= 1
    assert label_by_response(coder, x0, shown.shape, margin=0.1).label[1] == -1


def test_purity_is_corrected_by_what_random_neighbours_give(planted):
    G, D, labels = planted
    gap = distance(max_cosine(D, G))
    found = neighbour_purity(gap, labels)
    assert found.corrected == pytest.approx((found.purity - 11 / 71) / (1 - 11 / 71)) and found.corrected > 0.97
    assert found.interval[0] <= found.corrected <= found.interval[1] and found.of_label(0) > 0.9
    rng = np.random.default_rng(0)
    uneven = np.where(rng.random(72) < 0.8, 0, labels)  # one label has most: purity is high, and says nothing
    noise = rng.random((72, 72))
    nothing = neighbour_purity((noise + noise.T) / 2, uneven)
    assert nothing.purity > 0.6 and abs(nothing.corrected) < 0.12
    scores = score_families(gap, embed(gap), np.zeros(72, int), labels)
    assert scores.corrected_purity == pytest.approx(found.corrected)


def test_purity_leaves_out_features_without_a_label_and_refuses_other_sizes(planted):
    G, D, labels = planted
    gap = distance(max_cosine(D, G))
    named = np.where(np.arange(72) < 36, labels, -1)
    assert neighbour_purity(gap, named).purity == neighbour_purity(gap[:36, :36], labels[:36]).purity
    assert np.isnan(neighbour_purity(gap, np.full(72, -1)).corrected)
    with pytest.raises(ValueError, match="expected a square matrix"):
        neighbour_purity(gap[:5, :5], np.zeros(4, int))


def test_a_single_label_has_no_corrected_purity():
    """Chance gives all of it. Division by nothing gave an error in one place and a number in another."""
    gap = np.abs(np.arange(6.0)[:, None] - np.arange(6.0))
    found = neighbour_purity(gap, np.zeros(6, dtype=int))
    assert found.purity == found.chance == 1
    assert np.isnan([found.corrected, *found.interval, found.of_label(0), found.of_label(3)]).all()
    assert np.isnan(FamilyScores(0, 1.0, 0.1, 0.1, 1.0, 1.0, 1.0, 1.0).corrected_purity)


def test_the_purity_of_one_label_is_corrected_by_its_own_chance():
    """Five of ten have label 0: a random neighbour of one of them has it in 4 of 9 cases."""
    found = Purity(0.5, 0.5, 0.0, (0.0, 0.0), np.array([0] * 5 + [1] * 5), np.array([4 / 9] * 5 + [1.0] * 5))
    assert found.of_label(0) == pytest.approx(0) and found.of_label(1) == pytest.approx(1)
    half = found._replace(each=np.full(10, 0.5))
    assert half.of_label(0) == pytest.approx((0.5 - 4 / 9) / (5 / 9))


def test_the_interval_of_purity_holds_the_truth_nineteen_times_in_twenty():
    """A hundred features of two labels, each next to one of two hubs, in four of five cases to that of its label."""
    rng, inside = np.random.default_rng(0), []
    labels = np.append(np.arange(100) % 2, [0, 1])
    for seed in range(600):
        hub = np.where(rng.random(100) < 0.8, labels[:100], 1 - labels[:100])
        gap = np.full((102, 102), 2.0)
        gap[range(100), 100 + hub] = 1.0
        found = neighbour_purity(gap, labels, neighbours=1, draws=300, seed=seed)
        inside.append(found.interval[0] <= (0.8 - found.chance) / (1 - found.chance) <= found.interval[1])
    assert np.mean(inside) == pytest.approx(0.95, abs=0.025)


def test_umap_reads_from_neighbours_the_graph_it_reads_from_all_pairs(planted, monkeypatch):
    import umap.umap_

    G, D, _ = planted
    seen, whole = [], umap.umap_.fuzzy_simplicial_set

    def watched(data, *rest, **more):
        found = whole(data, *rest, **more)
        seen.append(found[0].toarray())
        return found

    monkeypatch.setattr(umap.umap_, "fuzzy_simplicial_set", watched)
    embed_dictionary(D, G, all_pairs=True)
    embed_dictionary(D, G, all_pairs=False)
    assert len(seen) == 4 and np.array_equal(seen[0], seen[2]) and seen[0].any()


def test_a_map_that_hangs_together_is_the_same_from_neighbours_and_from_all_pairs():
    G = cyclic(4)
    D = torch.randn(60, 4, 3, generator=torch.Generator().manual_seed(0))
    pairs, near = (embed_dictionary(D, G, seed=2, all_pairs=way) for way in (True, False))
    assert np.array_equal(pairs.four, near.four) and np.array_equal(pairs.two, near.two)
    assert not np.array_equal(embed_dictionary(D, G, seed=3, all_pairs=False).two, near.two)


def test_families_far_apart_are_found_from_neighbours_alone(planted):
    G, _, labels = planted
    generator = torch.Generator().manual_seed(1)
    base = torch.randn(12, 8, 5, generator=generator)
    D = torch.cat([act(base, G, int(h)) for h in torch.randint(8, (25,), generator=generator)])
    D, labels = D + 0.05 * torch.randn(D.shape, generator=generator), np.tile(np.arange(12), 25)
    gap, embedding = distance(max_cosine(D, G)), embed_dictionary(D, G, all_pairs=False)
    clusters = cluster(embedding.four)
    found, whole = score_dictionary(D, G, embedding, clusters, labels), score_families(gap, embedding, clusters, labels)
    assert found.clusters == 12 and found.ari > 0.95
    assert found._replace(label_silhouette=0) == whole._replace(label_silhouette=0)
    assert found.label_silhouette == pytest.approx(whole.label_silhouette, abs=1e-5)


def test_the_number_of_features_decides_whether_all_pairs_are_held(planted, monkeypatch):
    G, D, _ = planted
    asked = []
    monkeypatch.setattr(families, "max_cosine", lambda *given: asked.append("pairs") or max_cosine(*given))
    monkeypatch.setattr(families, "nearest_neighbours",
                        lambda *given: asked.append("neighbours") or nearest_neighbours(*given))
    for limit in (72, 71):
        monkeypatch.setattr(families, "LARGE", limit)
        embed_dictionary(D, G)
    assert asked == ["pairs", "neighbours"]
    with pytest.raises(ValueError, match="at least 8"):
        embed_dictionary(D[:5], G, all_pairs=False)
    with pytest.raises(ValueError, match="NaN"):
        embed_dictionary(torch.cat([D[:20], D[:1] * float("nan")]), G, all_pairs=False)


@pytest.mark.parametrize("labelled", [slice(None), slice(10, 40), slice(0, 4), slice(0, 1), slice(0, 0)])
def test_purity_and_silhouette_from_tiles_are_those_of_the_matrix(planted, labelled):
    G, D, labels = planted
    some = np.full(72, -1)
    some[labelled] = labels[labelled] % 5
    some[30:31] = 7 if labelled == slice(10, 40) else some[30:31]  # the only feature of its label
    gap, points = distance(max_cosine(D, G)), np.random.default_rng(0).normal(size=(72, 4)).astype(np.float32)
    ours, theirs = dictionary_purity(D, G, some), neighbour_purity(gap, some)
    np.testing.assert_equal(ours._asdict(), theirs._asdict())
    both = [score(*given, Embedding(points, points[:, :2]), some, some)
            for score, given in ((score_dictionary, (D, G)), (score_families, (gap,)))]
    np.testing.assert_allclose(*both, atol=1e-5)


def test_other_numbers_of_labels_are_refused(planted):
    G, D, labels = planted
    with pytest.raises(ValueError, match="71 labels for 72 features"):
        dictionary_purity(D, G, labels[1:])
    with pytest.raises(ValueError, match="expected one of each per feature"):
        score_dictionary(D[1:], G, Embedding(np.zeros((72, 4), np.float32), np.zeros((72, 2), np.float32)), labels,
                         labels)


def test_the_page_on_gpus_shows_what_runs(root, tmp_path, monkeypatch):
    """With a coder and held-out orbits where `groupcc train` and `groupcc orbits` would have left them."""
    monkeypatch.chdir(tmp_path)
    G = cyclic(4)
    OrbitStore.from_batches("orbits/held-out", [torch.rand(64, 4, 6)], G)
    GroupCrosscoder(G, channels=6, latents=20).save("coder")
    blocks = re.findall(r"```python\n(.*?)```", (root / "book" / "gpus.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        found = {}
        exec(block, found)
        if "near" in found:
            assert found["near"].row.shape == (300, 50) and found["places"].shape == (300, 2)
        else:
            assert len(found["found"].stabilisers) == found["coder"].latents == 20
