"""The group Fourier transform: definition, round trip, Parseval, shifts, correlations, for random groups."""

import pytest
import torch
from einops import einsum
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.groups.finite import FiniteGroup, cyclic, dihedral, permutation_group, product
from groupcc_lite.groups.fourier_transform import fourier, fourier_power, inverse_fourier
from groupcc_lite.symmetry import act

Q8 = permutation_group([(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)], name="Q8")
GROUPS = [*map(cyclic, range(1, 8)), *map(dihedral, range(1, 7)), dihedral(16), product(cyclic(4), cyclic(2)),
          product(cyclic(3), cyclic(4)), product(dihedral(3), cyclic(4)), Q8, product(Q8, cyclic(3)),
          permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4"),
          permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)], name="S4")]
cases = given(st.sampled_from(GROUPS), st.integers(0, 2**16))


def functions(G: FiniteGroup, seed: int, *batch: int) -> torch.Tensor:
    return torch.randn(*batch, G.order, 3, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def matrices(irrep):
    return torch.as_tensor(irrep.matrices)


@cases
def test_round_trip(G, seed):
    f = functions(G, seed, 2, 2)
    torch.testing.assert_close(inverse_fourier(fourier(f, G), G), f, atol=1e-10, rtol=0)
    single = f.float()
    torch.testing.assert_close(inverse_fourier(fourier(single, G), G), single, atol=1e-5, rtol=0)


@cases
def test_parseval(G, seed):
    f = functions(G, seed, 4)
    shares = fourier_power(f, G)
    assert shares.shape == (4, len(G.irreps())) and shares.min() >= 0
    torch.testing.assert_close(shares.sum(-1), f.square().sum((-2, -1)), atol=1e-9, rtol=0)
    by_hand = [irrep.dim / (G.order * irrep.kind) * part.square().sum((-3, -2, -1))
               for irrep, part in zip(G.irreps(), fourier(f, G), strict=True)]
    torch.testing.assert_close(shares, torch.stack(by_hand, dim=-1))


@cases
def test_moving_a_function_turns_its_parts_and_keeps_their_power(G, seed):
    f, h = functions(G, seed), seed % G.order
    moved = fourier(act(f, G, h), G)
    for irrep, before, after in zip(G.irreps(), fourier(f, G), moved, strict=True):
        expected = einsum(before, matrices(irrep)[h], "a b n, c b -> a c n")
        torch.testing.assert_close(after, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(fourier_power(act(f, G, h), G), fourier_power(f, G), atol=1e-9, rtol=0)


@cases
def test_correlations_become_products(G, seed):
    """sum_h <f1, h . f2> rho(h) = F^_1(rho)^T F^_2(rho)."""
    f1, f2 = functions(G, seed, 2)
    c = torch.stack([(f1 * act(f2, G, h)).sum() for h in range(G.order)])
    for irrep, a, b in zip(G.irreps(), fourier(f1, G), fourier(f2, G), strict=True):
        product = einsum(a, b, "c a n, c b n -> a b")
        torch.testing.assert_close(einsum(c, matrices(irrep), "h, h a b -> a b"), product, atol=1e-9, rtol=0)


def test_the_cyclic_transform_is_the_discrete_fourier_transform():
    f = functions(cyclic(6), 0)
    theirs = torch.fft.fft(f, dim=0)
    ours = fourier(f, cyclic(6))
    torch.testing.assert_close(ours[0][0, 0], theirs[0].real)
    torch.testing.assert_close(ours[3][0, 0], theirs[3].real)
    for k in (1, 2):  # rho(r^j) = [[cos, sin], [-sin, cos]]
        torch.testing.assert_close(ours[k][0, 0], theirs[k].real)
        torch.testing.assert_close(ours[k][1, 0], theirs[k].imag)


def test_parts_of_simple_functions():
    G = dihedral(4)
    for f, shares in (([1.0] * 8, [8, 0, 0, 0, 0]), ([1.0] * 4 + [-1.0] * 4, [0, 8, 0, 0, 0]),
                      ([1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0, 0.0], [0, 0, 4, 0, 0]),
                      ([1.0] + [0.0] * 7, [1 / 8, 1 / 8, 1 / 2, 1 / 8, 1 / 8])):
        assert fourier_power(torch.tensor(f)[:, None], G).tolist() == pytest.approx(shares, abs=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 8, channels\), floating point, for D_4"):
        fourier(torch.zeros(3, 7, 2), dihedral(4))
    with pytest.raises(ValueError, match=r"d = 1, 1, 2, 1, 1 for D_4"):
        inverse_fourier([torch.zeros(1, 1, 2)], dihedral(4))
