"""Members of a family are found where they were put, from the side from which responses move."""

import pytest
import torch
from group_samples import GROUPS
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


def test_responses_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="expected the same points, and 5 elements"):
        orbit_members(torch.ones(3, 4, 2), torch.ones(3, 4, 2), cyclic(5))
