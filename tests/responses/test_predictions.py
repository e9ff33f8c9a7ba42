"""Members of a family are found where they were put, from the side from which responses move."""

import numpy as np
import pytest
import torch
from group_samples import A4, GROUPS, Q8
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.responses import orbit_members


def sparse(n, G, u, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, G.order, u, generator=generator) * (torch.rand(n, G.order, u, generator=generator) < 0.4)


def moved(q, G, h):
    """Responses of who looks for the pattern moved by h: q[h^-1 g]."""
    return q[:, [int(G.table[G.inverse[h], g]) for g in range(G.order)]]


@given(GROUPS, st.integers(0, 100))
def test_a_moved_copy_is_found_at_its_element(G, seed):
    a = sparse(30, G, 3, seed)
    h = seed % G.order
    others = sparse(30, G, 4, seed + 1000)
    found = orbit_members(a, torch.cat([others, moved(a, G, h)], 2), G)
    assert found.correlation[:, h].min() > 0.999
    assert found.partner[:, h].tolist() == [4, 5, 6]


def by_definition(a, b, G):
    """Correlations of every unit with every candidate, one pair at a time: a[n, g] with b[n, hg]."""
    found = np.zeros((a.shape[2], b.shape[2], G.order))
    for h in range(G.order):
        then = b[:, [int(G.table[h, g]) for g in range(G.order)]]
        for i, j in np.ndindex(found.shape[:2]):
            found[i, j, h] = np.corrcoef(a[..., i].flatten().numpy(), then[..., j].flatten().numpy())[0, 1]
    return found


@given(GROUPS, st.integers(0, 100))
def test_the_closest_is_the_closest_of_all_pairs(G, seed):
    a, b = 3 + 10 * sparse(12, G, 2, seed), sparse(12, G, 3, seed + 1)
    found, wanted = orbit_members(a, b, G), by_definition(a, b, G)
    np.testing.assert_allclose(found.correlation.numpy(), wanted.max(1), atol=1e-4)
    chosen = np.take_along_axis(wanted, found.partner.numpy()[:, None], 1)[:, 0]
    np.testing.assert_allclose(chosen, wanted.max(1), atol=1e-4)


@given(GROUPS, st.integers(0, 100))
def test_a_copy_moved_from_the_right_is_found_for_elements_that_commute_with_all_others_alone(G, seed):
    a, h = sparse(60, G, 1, seed), seed % G.order
    from_the_right = a[:, [int(G.table[g, h]) for g in range(G.order)]]  # q[gh], as dictionary vectors move
    found = orbit_members(a, from_the_right, G).correlation[0]
    if (G.table[h] == G.table[:, h]).all():
        assert found[int(G.inverse[h])] > 0.999
    else:
        assert found.max() < 0.9


@pytest.mark.parametrize("G", [dihedral(4), A4, Q8], ids=str)
def test_a_whole_family_is_found_and_a_missing_member_is_missed(G):
    """All copies of one unit but one; unrelated units stand beside them."""
    a, missing = sparse(40, G, 1, 5), G.order - 1
    family = torch.cat([moved(a, G, h) for h in range(G.order) if h != missing], 2)
    found = orbit_members(a, torch.cat([family, sparse(40, G, 20, 6)], 2), G)
    there = torch.arange(G.order) != missing
    assert found.correlation[0, there].min() > 0.999 and found.correlation[0, missing] < 0.6
    assert found.partner[0, there].tolist() == list(range(G.order - 1))


def test_louder_and_shifted_responses_are_the_same_and_opposite_ones_are_not():
    G = dihedral(3)
    a = sparse(30, G, 2, 4)
    torch.testing.assert_close(orbit_members(a, 5 * a + 1, G).correlation, orbit_members(a, a, G).correlation,
                               atol=1e-4, rtol=0)
    assert orbit_members(a[..., :1], -a[..., :1], G).correlation[0, 0] == pytest.approx(-1, abs=1e-4)


def test_a_copy_moved_from_the_other_side_is_not_found():
    G = dihedral(4)
    h = G.names.index("s")
    a = sparse(40, G, 1, 0)
    wrong = a[:, [int(G.table[g, h]) for g in range(G.order)]]  # q[gh], as dictionary vectors move
    assert orbit_members(a, wrong, G).correlation.max() < 0.9
    assert orbit_members(a, moved(a, G, h), G).correlation[0, h] > 0.999


def test_a_unit_among_its_own_candidates_finds_itself():
    G = dihedral(3)
    a = sparse(30, G, 5, 1)
    found = orbit_members(a, a, G)
    assert found.partner[:, 0].tolist() == list(range(5)) and found.correlation[:, 0].min() > 0.999


def test_silent_units_predict_nothing_and_are_nobody():
    G = cyclic(4)
    a = sparse(20, G, 3, 2)
    a[..., 1] = 0
    found = orbit_members(a, a, G)
    assert found.correlation[1].isnan().all() and not found.correlation[[0, 2]].isnan().any()
    assert not (found.partner[[0, 2]] == 1).any()


def test_units_without_candidates_who_speak_have_nobody():
    G = cyclic(4)
    found = orbit_members(sparse(20, G, 2, 3), torch.full((20, 4, 3), 0.25), G)
    assert found.correlation.isnan().all()


@pytest.mark.parametrize("first, second, order", [
    ((3, 4, 2), (3, 4, 2), 5), ((3, 4, 2), (2, 4, 2), 4), ((3, 4, 2), (3, 5, 2), 4), ((0, 4, 2), (0, 4, 2), 4)])
def test_responses_that_do_not_belong_together_are_refused(first, second, order, unchecked):
    with pytest.raises(ValueError, match=f"expected the same points, and {order} elements"):
        orbit_members(torch.ones(first), torch.ones(second), cyclic(order))
