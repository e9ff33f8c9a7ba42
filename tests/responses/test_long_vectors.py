"""Response vectors: the streamed cosines are those of the long vectors, and symmetric features are found."""

import pytest
import torch
from group_samples import A4, GROUPS, max_cosine_direct
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.responses import SIDES, ResponseVectors, response_vectors
from groupcc_lite.responses import long_vectors as module
from groupcc_lite.symmetry import self_similarity


def responses(G, n=9, m=5, seed=0):
    """Sparse and not negative, like latents."""
    generator = torch.Generator().manual_seed(seed)
    fires = torch.rand(n, G.order, m, generator=generator) < 0.6
    return torch.randn(n, G.order, m, generator=generator).relu() * fires


def long_vectors(q, G, side="left"):
    """The naive way: one vector for each feature, as long as all images and elements; images are the channels. Seen
    with the elements inverted, the left action is the one of dictionary vectors."""
    q = q if side == "right" else q[:, G.inverse.tolist()]
    return q.permute(2, 1, 0).double()


def streamed(q, G, parts=1, side="left"):
    vectors = ResponseVectors(G, q.shape[2], side=side)
    for part in q.tensor_split(parts):
        vectors.add(part)
    return vectors


@given(GROUPS, st.integers(0, 2**16), st.integers(1, 4), st.sampled_from(SIDES))
def test_streamed_similarity_is_that_of_the_long_vectors(G, seed, parts, side):
    q = responses(G, seed=seed) + 1e-3
    S, element = streamed(q, G, parts, side).similarity(elements=True)
    wanted, first = max_cosine_direct(long_vectors(q, G, side), G)
    torch.testing.assert_close(S.double(), wanted, atol=1e-5, rtol=0)
    assert torch.equal(element, first)
    assert torch.equal(S, S.T)


@given(GROUPS, st.integers(0, 2**16))
def test_profiles_and_norms_are_those_of_the_long_vectors(G, seed):
    q = responses(G, seed=seed) + 1e-3
    vectors = streamed(q, G, 3)
    wanted = self_similarity(long_vectors(q, G).float(), G)
    torch.testing.assert_close(vectors.self_similarity(), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors.norms, long_vectors(q, G).flatten(1).norm(dim=1), rtol=1e-5, atol=1e-6)


def looks_for(patterns, G, n=500, seed=0):
    """Responses to random images of features that look for patterns, where g moves an image by permuting its pixels:
    pixel k of gJ is pixel g^-1 k of J. (n, |G|, number of patterns)"""
    images = torch.randn(n, G.order, generator=torch.Generator().manual_seed(seed))
    views = torch.stack([moved(images, G, g) for g in range(G.order)], 1)
    return (views @ patterns.T).relu()


def moved(images, G, g):
    return images[:, G.table[G.inverse[g]].tolist()]


@given(GROUPS, st.integers(0, 2**16))
def test_a_feature_that_looks_for_the_moved_pattern_is_a_relative_by_that_element(G, seed):
    """From the left, always. From the right, as the paper permutes, only where the element commutes with all others."""
    pattern, h = torch.randn(1, G.order, generator=torch.Generator().manual_seed(seed)), seed % G.order
    q = looks_for(torch.cat([pattern, moved(pattern, G, h)]), G, seed=seed)
    S, element = streamed(q, G).similarity(elements=True)
    assert float(S[1, 0]) == pytest.approx(1, abs=1e-5)
    if G.order > 2:
        assert int(element[1, 0]) == h  # F_1 = h . F_0
    central = (G.table[h] == G.table[:, h]).all()
    from_the_right = streamed(q, G, side="right").similarity()[1, 0]
    assert float(from_the_right) == pytest.approx(1, abs=1e-5) if central else from_the_right < 0.99


def test_a_feature_that_never_responds_resembles_nothing():
    q = responses(dihedral(3))
    q[..., 2] = 0
    vectors = streamed(q, dihedral(3))
    assert vectors.norms[2] == 0 and vectors.similarity()[2].abs().max() == 0
    assert vectors.self_similarity()[2].isnan().all() and not vectors.self_similarity()[0].isnan().any()


def test_what_is_held_does_not_grow_with_the_images():
    held = {}
    for n in (10, 1000):
        vectors = streamed(responses(cyclic(4), n=n), cyclic(4), parts=5)
        held[n] = sum(value.numel() for value in vars(vectors).values() if isinstance(value, torch.Tensor))
    assert held[10] == held[1000] == 4 * 5 * 5 + 4 * 4


class Made(TorchDispatchMode):
    """Bytes of the largest tensor that is made, views left out."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **kwargs or {})
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs))
                 if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in given:
                self.largest = max(self.largest, leaf.untyped_storage().nbytes())
        return made


def test_nothing_made_on_the_way_grows_with_the_images(monkeypatch):
    """One batch of all images, however many: neither what is said of it nor what the coder says is made in one go."""
    monkeypatch.setattr(module, "_AT_ONCE", 2**9)
    G, coder = cyclic(4), SparseAutoencoder(6, 12, activation="topk", k=3, seed=0)
    largest = {}
    for n in (4000, 12000):
        q, x = responses(G, n=n, m=3), torch.randn(n, G.order, 6)
        for name, run in (("add", lambda q=q: streamed(q, G)), ("coder", lambda x=x: response_vectors(coder, [x], G))):
            with Made() as made:
                run()
            largest[name, n] = made.largest
    assert largest["add", 12000] == largest["add", 4000] <= 8 * 3 * 2**9
    assert largest["coder", 12000] == largest["coder", 4000] < 4 * 4 * 12 * 4000


@pytest.mark.parametrize("side", SIDES)
def test_batches_may_be_cut_anywhere(monkeypatch, side):
    """Also by the class itself: the same to rounding, in parts of two samples, in single ones and in one go."""
    G = dihedral(3)
    q = responses(G, n=31, m=4)
    whole = streamed(q, G, side=side)
    monkeypatch.setattr(module, "_AT_ONCE", 2 * G.order)
    for parts in (1, 7, 31):
        cut = streamed(q, G, parts, side)
        torch.testing.assert_close(cut.similarity(), whole.similarity(), atol=1e-5, rtol=0)
        torch.testing.assert_close(cut.self_similarity(), whole.self_similarity(), atol=1e-5, rtol=0)
        torch.testing.assert_close(cut.norms, whole.norms, atol=1e-5, rtol=1e-5)


def test_many_features_are_compared_tile_by_tile():
    """More of them than one tile holds, on both ways: of sums and of similarities."""
    G = dihedral(2)
    q = responses(G, n=6, m=600, seed=2) + 1e-3
    S, element = streamed(q, G, 2).similarity(elements=True)
    wanted, first = max_cosine_direct(long_vectors(q, G), G)
    torch.testing.assert_close(S.double(), wanted, atol=1e-5, rtol=0)
    assert (element == first).double().mean() > 0.999


def test_many_small_batches_lose_nothing_to_rounding():
    """Sums are in double precision: one loud image and very many faint ones."""
    G = cyclic(2)
    loud, faint = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    loud[0, 0, 0], loud[0, 1, 1], faint[0, 0] = 1000.0, 1000.0, 0.2
    vectors = ResponseVectors(G, 2)
    vectors.add(loud)
    for _ in range(1000):
        vectors.add(faint)
    inner = vectors._back @ vectors._sums[:, 0, 1]
    assert sorted(inner.tolist()) == pytest.approx([1000 * 0.04, 1e6], rel=1e-5)


def test_a_coder_is_asked_about_every_block():
    G = dihedral(4)
    x = torch.randn(30, G.order, 6, generator=torch.Generator().manual_seed(1))
    for coder in (SparseAutoencoder(6, 12, activation="topk", k=3, seed=0), GroupCrosscoder(G, 6, 12, seed=0)):
        q = torch.stack([coder.encode(x[:, g]) for g in range(G.order)], 1)
        mine = response_vectors(coder, [x[:11], x[11:]], G, [4, 7, 0])
        torch.testing.assert_close(mine.similarity(), streamed(q[..., [4, 7, 0]], G).similarity(), atol=1e-5, rtol=0)
        stored = response_vectors(coder, TensorOrbits(x, G), G)
        torch.testing.assert_close(stored.similarity(), streamed(q, G).similarity(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("G", [dihedral(4), dihedral(6), A4], ids=str)
def test_stabilisers_are_read_from_responses(G):
    """Of features that look for random patterns, each made symmetric under a subgroup: all of them, and with the
    paper's side not those whose conjugates are others."""
    generator = torch.Generator().manual_seed(0)
    subgroups = [H for H in G.subgroups() if 1 < H.order < G.order]
    patterns = [torch.stack([moved(v, G, h)[0] for h in H.elements]).mean(0)
                for H in subgroups for v in [torch.randn(1, G.order, generator=generator)]]
    q = looks_for(torch.stack(patterns), G, n=4000)
    kept = {side: [set((c > 1 - 1e-4).nonzero()[:, 0].tolist()) for c in streamed(q, G, side=side).self_similarity()]
            for side in SIDES}
    assert kept["left"] == [set(H.elements) for H in subgroups]
    normal = [all({int(G.table[G.table[g, h], G.inverse[g]]) for h in H.elements} == set(H.elements)
                  for g in range(G.order)) for H in subgroups]
    assert not all(normal) and any(normal)
    assert [right == left for right, left in zip(kept["right"], kept["left"], strict=True)] == normal


@pytest.mark.parametrize("q, message", [
    (torch.zeros(3, 4, 2), r"q has shape \(3, 4, 2\); expected \(samples, 3, 2\)"),
    (torch.zeros(3, 3, 5), "the features")])
def test_batches_of_another_shape_are_refused(q, message):
    with pytest.raises(ValueError, match=message):
        ResponseVectors(cyclic(3), 2).add(q)


def test_another_side_is_refused():
    with pytest.raises(ValueError, match="side is 'both'; expected one of left, right"):
        ResponseVectors(cyclic(3), 2, side="both")


def test_nothing_added_says_so():
    vectors = ResponseVectors(cyclic(3), 2)
    with pytest.raises(ValueError, match="no responses were added"):
        vectors.similarity()
    assert vectors.norms.tolist() == [0, 0] and vectors.self_similarity().isnan().all()


def test_orbits_or_a_coder_of_another_group_and_masks_are_refused():
    """Eight elements each, but C_8 is not D_4."""
    sae = SparseAutoencoder(3, 5)
    orbits = TensorOrbits(torch.randn(4, 8, 3), cyclic(8))
    with pytest.raises(ValueError, match="that of the orbits C_8"):
        response_vectors(sae, orbits, dihedral(4))
    with pytest.raises(ValueError, match="that of the coder C_8"):
        response_vectors(GroupCrosscoder(cyclic(8), 3, 5), [orbits.blocks], dihedral(4))
    for features in ([True, False, True, False, False], [0, 5]):
        with pytest.raises(ValueError, match="expected numbers of latents, 0 to 4"):
            response_vectors(sae, [orbits.blocks], dihedral(4), features)


def test_in_a_commutative_group_sides_differ_by_the_inverse_element():
    G = cyclic(5)
    q = responses(G, n=20, m=4)
    left, right = (ResponseVectors(G, 4, side=side) for side in SIDES)
    for vectors in (left, right):
        vectors.add(q)
    (a, h), (b, k) = (vectors.similarity(elements=True) for vectors in (left, right))
    torch.testing.assert_close(a, b)
    off = ~torch.eye(4, dtype=torch.bool)
    assert (G.table[h[off], k[off]] == 0).all()
