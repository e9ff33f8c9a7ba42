import numpy as np
import pytest
import torch
from group_samples import A4, GROUPS, Q8, max_cosine_direct
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.groups import cyclic, dihedral, product, trivial
from groupcc_lite.symmetry import similarity
from groupcc_lite.symmetry.block_action import act, normalised, paper_reflection
from groupcc_lite.symmetry.similarity import (
    block_cosines,
    distances_to_labels,
    max_cosine,
    nearest_neighbours,
    nearest_relative,
    printed_similarity,
    self_similarity,
    unrelated,
)


def random_dictionary(G, m=5, d=3, seed=0):
    return torch.randn(m, G.order, d, generator=torch.Generator().manual_seed(seed))


@given(GROUPS, st.integers(0, 2**16))
def test_the_block_action_is_a_left_action(G, seed):
    D = random_dictionary(G, seed=seed)
    a, b = seed % G.order, seed // 7 % G.order
    assert torch.equal(act(act(D, G, b), G, a), act(D, G, int(G.table[a, b])))
    assert torch.equal(act(D, G, 0), D)
    assert torch.equal(act(D, G, a)[:, 0], D[:, a])


@given(GROUPS, st.integers(0, 2**16))
def test_similarity_is_symmetric_bounded_and_blind_to_the_group(G, seed):
    D = random_dictionary(G, seed=seed)
    S = max_cosine(D, G)
    torch.testing.assert_close(S, S.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(S.diagonal(), torch.ones(len(D)))
    assert S.abs().max() <= 1 + 1e-5
    h = seed % G.order
    moved = torch.cat([act(D[:2], G, h), D[2:]])
    torch.testing.assert_close(max_cosine(moved, G), S, atol=1e-5, rtol=0)


@pytest.mark.parametrize("G", [dihedral(4), product(cyclic(3), cyclic(2))], ids=str)
def test_max_cosine_equals_the_naive_definition(G):
    D = random_dictionary(G, m=4)
    S, element = max_cosine(D, G, elements=True)
    for i in range(4):
        for j in range(4):
            cosines = []
            for h in range(G.order):
                moved = torch.stack([D[j, int(G.table[g, h])] for g in range(G.order)])
                cosines.append(float(torch.cosine_similarity(D[i].flatten(), moved.flatten(), dim=0)))
            assert float(S[i, j]) == pytest.approx(max(cosines), abs=1e-5)
            assert cosines[int(element[i, j])] == pytest.approx(max(cosines), abs=1e-5)


@given(GROUPS, st.integers(0, 2**16))
def test_max_cosine_equals_the_direct_products_in_every_tile(G, seed):
    D = random_dictionary(G, m=11, d=3, seed=seed)
    D[:3] = torch.stack([act(D[:3], G, h) for h in G.subgroups()[seed % len(G.subgroups())].elements]).mean(0)  # ties
    D[5] = 0
    S, element = max_cosine_direct(D, G)
    for tile in (4, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(similarity.Correlations, "tile", tile)
            ours = max_cosine(D, G, elements=True)
            assert torch.equal(max_cosine(D, G), ours.similarity) and torch.equal(ours.similarity, ours.similarity.T)
        torch.testing.assert_close(ours.similarity, S.float(), atol=1e-5, rtol=0)
        assert torch.equal(ours.element, element) and not ours.element.diagonal().any()


def test_moving_either_side_of_a_pair_by_any_element_changes_nothing():
    for G in (dihedral(3), A4, Q8):
        D = random_dictionary(G, m=2)
        S = max_cosine(D, G)[0, 1]
        moved = torch.cat([act(D[k:k + 1], G, h) for k in (0, 1) for h in range(G.order)])
        between = max_cosine(moved, G)[:G.order, G.order:]
        torch.testing.assert_close(between, S.expand(G.order, G.order), atol=1e-5, rtol=0)


def test_elements_align_pairs_whichever_comes_first():
    G = dihedral(5)
    D = random_dictionary(G, m=1, d=8)
    D = torch.cat([D, act(D, G, 7), act(D, G, 3)])
    S, element = max_cosine(D, G, elements=True)
    torch.testing.assert_close(S, torch.ones(3, 3), atol=1e-5, rtol=0)
    for i in range(3):
        for j in range(3):
            torch.testing.assert_close(act(D[j], G, int(element[i, j])), D[i])
    assert element[0, 1] == G.inverse[7] == 7 and element[0, 2] == G.inverse[3] == 2 and element[2, 0] == 3


def test_max_cosine_of_the_trivial_group_is_the_cosine_and_takes_other_types():
    D = random_dictionary(trivial(), m=30, d=6)
    expected = torch.nn.functional.cosine_similarity(D, D.transpose(0, 1), dim=-1)
    torch.testing.assert_close(max_cosine(D, trivial()), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(max_cosine(D.double(), trivial()), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(max_cosine(D.bfloat16(), trivial()), expected, atol=0.05, rtol=0)
    assert max_cosine(torch.nn.Parameter(D), trivial()).requires_grad is False
    assert max_cosine(D[:0], trivial()).shape == (0, 0)


def test_max_cosine_keeps_what_is_not_a_number():
    D = random_dictionary(dihedral(3), m=3)
    D[1, 0, 0] = float("nan")
    assert max_cosine(D, dihedral(3)).isnan().tolist() == [[False, True, False], [True] * 3, [False, True, False]]


def test_shifts_and_reversals_are_the_ones_of_the_conventions():
    """Block order [e, r, r2, r3 | s, sr, sr2, sr3]: r shifts both halves left, s swaps and reverses both."""
    G = dihedral(4)
    D = torch.arange(8.0).view(1, 8, 1)
    assert act(D, G, 1)[0, :, 0].tolist() == [1, 2, 3, 0, 5, 6, 7, 4]
    assert act(D, G, 4)[0, :, 0].tolist() == [4, 7, 6, 5, 0, 3, 2, 1]
    assert paper_reflection(D, G)[0, :, 0].tolist() == [4, 5, 6, 7, 0, 3, 2, 1]


def test_erratum_the_printed_reflection_has_order_four_and_generates_512_arrangements():
    G = dihedral(16)
    blocks = torch.arange(32.0).view(1, 32, 1)

    def as_permutation(move):
        return tuple(move(blocks).flatten().int().tolist())

    def generated(generators):
        seen, frontier = {tuple(range(32))}, [tuple(range(32))]
        while frontier:
            frontier = [tuple(p[i] for i in g) for p in frontier for g in generators]
            frontier = [p for p in dict.fromkeys(frontier) if p not in seen]
            seen.update(frontier)
        return seen

    R, right = as_permutation(lambda D: act(D, G, 1)), as_permutation(lambda D: act(D, G, 16))
    printed = as_permutation(lambda D: paper_reflection(D, G))
    twice = tuple(printed[i] for i in printed)
    assert twice != tuple(range(32)) and tuple(twice[i] for i in twice) == tuple(range(32))
    assert len(generated([R, right])) == 32 and len(generated([R, printed])) == 512


def test_negative_control_the_printed_reflection_makes_similarity_asymmetric():
    G = dihedral(8)
    F = normalised(random_dictionary(G, m=12)).flatten(1)
    moves = [act(F.view(12, 16, 3), G, k) for k in range(8)]
    moves += [paper_reflection(move, G) for move in moves]
    S = torch.stack([F @ move.flatten(1).T for move in moves]).amax(0)
    assert (S - S.T).abs().max() > 0.05


def test_self_similarity_sees_planted_stabilisers():
    G = dihedral(4)
    base = random_dictionary(G, m=1, seed=3)
    invariant = torch.stack([act(base, G, h) for h in range(8)]).mean(0)
    halfturn = (base + act(base, G, 2)) / 2
    profile = self_similarity(torch.cat([base, invariant, halfturn]), G)
    assert profile.shape == (3, 8)
    torch.testing.assert_close(profile[:, 0], torch.ones(3))
    torch.testing.assert_close(profile[1], torch.ones(8))
    assert float(profile[2, 2]) == pytest.approx(1, abs=1e-5) and profile[2, 1] < 0.9 and profile[0, 1:].max() < 0.9
    torch.testing.assert_close(profile, profile[:, torch.tensor(G.inverse)], atol=1e-5, rtol=0)


def test_block_cosines_are_those_of_the_blocks():
    D = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]])
    assert block_cosines(D)[0].tolist() == [[1, 0, -1], [0, 1, 0], [-1, 0, 1]]


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"expected \(..., 8, channels\) for D_4"):
        act(torch.zeros(3, 6, 2), dihedral(4), 1)


def test_the_printed_similarity_is_the_paper_s_maximum_over_its_own_arrangements():
    G = dihedral(16)
    D = random_dictionary(G, m=20, d=4)
    D = torch.cat([D, act(D, G, 16)])
    F = normalised(D)
    moves = [act(start, G, k).flatten(1) for start in (F, paper_reflection(F, G)) for k in range(16)]
    printed = printed_similarity(D, G)
    assert torch.equal(printed, torch.stack([F.flatten(1) @ move.T for move in moves]).amax(0))
    assert (printed - printed.T).abs().max() > 0.1 and printed.diagonal().min() > 0.9999
    twins = torch.arange(20)
    assert max_cosine(D, G)[twins, twins + 20].min() > 0.9999 and printed[twins, twins + 20].max() < 0.95
    with pytest.raises(ValueError, match="dihedral groups only"):
        printed_similarity(random_dictionary(cyclic(4)), cyclic(4))


def test_unrelated_features_keep_their_own_symmetry_and_lose_their_relatives():
    generator, G = torch.Generator().manual_seed(0), dihedral(4)
    base = torch.randn(5, 8, 30, generator=generator)
    D = torch.cat([act(base, G, h) for h in range(8)]) + 0.1 * torch.randn(40, 8, 30, generator=generator)
    alone = unrelated(D, seed=1)
    assert nearest_relative(max_cosine(D, G)).min() > 0.95 > 0.7 > nearest_relative(max_cosine(alone, G)).max()
    assert torch.allclose(self_similarity(alone, G), self_similarity(D, G), atol=1e-4)
    F, A = normalised(D), normalised(alone)
    components = torch.linalg.eigh(torch.einsum("mga,mgb->ab", F, F)).eigenvectors
    power = [(x @ components).square().sum((0, 1)) for x in (F, A)]
    assert torch.allclose(*power, atol=1e-3)
    assert torch.equal(unrelated(D, seed=1), alone) and not torch.equal(unrelated(D, seed=2), alone)


def test_the_nearest_relative_is_somebody_else():
    S = torch.tensor([[1.0, 0.2, 0.9], [0.2, 1.0, 0.4], [0.9, 0.4, 1.0]])
    assert nearest_relative(S).tolist() == pytest.approx([0.9, 0.4, 0.9])
    with pytest.raises(ValueError, match="at least two"):
        nearest_relative(torch.ones(1, 1))


def planted_copies(G, seed=0):
    """Copies moved by elements, symmetric features and others: neighbours with ties to the last bit among them."""
    D = random_dictionary(G, m=19, d=4, seed=seed)
    moved = torch.cat([act(D[:3], G, h) for h in range(min(G.order, 4))])
    halved = torch.stack([act(D[3:6], G, h) for h in G.subgroups()[1 % len(G.subgroups())].elements]).mean(0)
    return torch.cat([D, moved, halved, D[7:8], D[7:8]])


def brute_neighbours(D, G, count):
    """From the matrix of all pairs: distances in increasing order, the lower row first where they are equal."""
    S, element = max_cosine(D, G, elements=True)
    S = S.clamp(max=1).fill_diagonal_(-torch.inf)
    row = torch.from_numpy(np.argsort(-S.numpy(), axis=1, kind="stable")[:, :count])
    return S.gather(1, row), row, element.gather(1, row)


@given(GROUPS, st.integers(0, 2**16), st.sampled_from([4, 7, 100]), st.sampled_from([1, 5, 20]))
def test_neighbours_are_those_of_the_matrix_of_all_pairs_to_the_bit(G, seed, tile, count):
    D = planted_copies(G, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity.Correlations, "tile", tile)
        found, (S, row, element) = nearest_neighbours(D, G, count), brute_neighbours(D, G, count)
    assert torch.equal(found.similarity, S) and torch.equal(found.row, row)
    assert torch.equal(found.element.long(), element)


def test_the_last_neighbour_may_be_everybody_else_and_equals_come_by_row():
    D = torch.ones(1, 1, 2).repeat(30, 1, 1)
    for count in (1, 29):
        rows = [[k for k in range(30) if k != i][:count] for i in range(30)]
        assert nearest_neighbours(D, trivial(), count).row.tolist() == rows
    for bad in (0, 30):
        with pytest.raises(ValueError, match=f"count is {bad}; expected 1 to 29"):
            nearest_neighbours(D, trivial(), bad)


def test_neighbours_name_elements_in_as_few_bytes_as_they_need():
    for order, number in ((256, torch.uint8), (257, torch.int16)):
        G = cyclic(order)
        f = random_dictionary(G, m=1, d=1)
        found = nearest_neighbours(torch.cat([f, act(f, G, order - 1)]), G, 1)
        assert found.element.dtype == number and found.element[:, 0].tolist() == [1, order - 1]


@given(GROUPS, st.integers(0, 2**16), st.sampled_from([4, 100]))
def test_sums_of_distances_to_labels_are_those_of_the_matrix(G, seed, tile):
    D = planted_copies(G, seed)
    labels = torch.arange(len(D)) % 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity.Correlations, "tile", tile)
        gap, found = (1 - max_cosine(D, G)).clamp(min=0).fill_diagonal_(0), distances_to_labels(D, G, labels)
    torch.testing.assert_close(found, torch.stack([gap[:, labels == c].sum(1) for c in range(3)], 1))
    for bad in (labels[1:], labels - 1):
        with pytest.raises(ValueError, match="expected one for each"):
            distances_to_labels(D, G, bad)
