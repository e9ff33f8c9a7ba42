"""Convolution over a group: its definition, both ways, and what moving codes does, for random groups."""

import pytest
import torch
from group_samples import GROUPS
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.groups import FiniteGroup, convolve, dihedral

cases = given(GROUPS | st.just(dihedral(16)), st.integers(0, 2**16), st.booleans())


def pair(G: FiniteGroup, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(3, G.order, 4, dtype=torch.double, generator=generator),
            torch.randn(2, G.order, 3, dtype=torch.double, generator=generator))


@cases
def test_both_ways_are_the_definition(G, seed, through_fourier):
    F, z = pair(G, seed)
    naive = torch.zeros(2, G.order, 4, dtype=torch.double)
    for g in range(G.order):
        for k in range(G.order):
            naive[:, g] += z[:, k] @ F[:, int(G.table[g, G.inverse[k]])]
    torch.testing.assert_close(convolve(F, z, G, through_fourier=through_fourier), naive, atol=1e-9, rtol=0)


@cases
def test_moving_codes_moves_what_is_written(G, seed, through_fourier):
    F, z = pair(G, seed)
    h = seed % G.order
    moved = torch.as_tensor(G.table[:, h])  # (h . z)[k] = z[kh]
    torch.testing.assert_close(convolve(F, z[:, moved], G, through_fourier=through_fourier),
                               convolve(F, z, G, through_fourier=through_fourier)[:, moved], atol=1e-9, rtol=0)


def test_the_wrong_side_would_be_seen():
    """With z[hk] in place of z[kh] the law fails in a group that does not commute."""
    G = dihedral(3)
    F, z = pair(G, 0)
    h = 1
    right, left = torch.as_tensor(G.table[:, h]), torch.as_tensor(G.table[h])
    assert not torch.allclose(convolve(F, z[:, left], G), convolve(F, z, G)[:, right], atol=0.1)


@pytest.mark.parametrize("order, large", [(4, False), (32, True)])
def test_large_groups_go_through_fourier_space(order, large):
    G = dihedral(order // 2)
    F, z = (part.float() for part in pair(G, 0))
    torch.testing.assert_close(convolve(F, z, G), convolve(F, z, G, through_fourier=large), atol=0, rtol=0)


def test_gradients_are_alike():
    F, z = pair(dihedral(4), 1)
    found = []
    for way in (True, False):
        f, c = F.clone().requires_grad_(), z.clone().requires_grad_()
        convolve(f, c, dihedral(4), through_fourier=way).square().sum().backward()
        found.append((f.grad, c.grad))
    torch.testing.assert_close(found[0], found[1], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("F, z", [((3, 5, 4), (2, 6, 3)), ((3, 6, 4), (2, 5, 3)), ((3, 5, 4), (2, 5, 3))])
def test_shapes_that_do_not_fit_are_refused(F, z):
    with pytest.raises(ValueError, match=r"expected \(patterns, 6, channels\) and \(batch, 6, patterns\) for D_3"):
        convolve(torch.zeros(F), torch.zeros(z), dihedral(3))
