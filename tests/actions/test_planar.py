"""Planar actions: the screen convention on pixels, images against points, exactness, and a slow reference rotation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from groupcc_lite.actions.planar import PlanarAction
from groupcc_lite.base import digest
from groupcc_lite.groups import FiniteGroup, cyclic, dihedral, product, trivial

# Made beforehand: beartype draws random numbers, which a strategy must not.
planar = st.sampled_from([*map(cyclic, range(1, 13)), *map(dihedral, range(1, 10))])


def pixels(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def smooth(size, seed=0):
    """An image without detail below a few pixels, on which interpolation errors are small."""
    rough = np.random.default_rng(seed).normal(size=(1, 1, size, size))
    return torch.tensor(ndimage.gaussian_filter(rough, (0, 0, 4, 4)) * 20)


# -------------------------------------------------------------------------------------- the screen convention

@pytest.mark.parametrize("size", [5, 6])
def test_quarter_turn_and_mirror_as_seen_on_the_screen(size):
    x = pixels(2, 3, size, size)
    turned = PlanarAction(cyclic(4)).images(x)
    mirrored = PlanarAction(dihedral(4)).images(x)
    for k in range(4):
        assert torch.equal(turned[k], torch.rot90(x, k, (-2, -1)))  # rot90 is counter-clockwise, first row on top
        assert torch.equal(mirrored[4 + k], torch.rot90(x, k, (-2, -1)).flip(-1))  # first r^k, then left <-> right


def test_what_is_right_moves_up():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 4] = 1  # right of the centre
    turned = PlanarAction(cyclic(4)).images(x, elements=[1])
    assert turned[0, 0, 0, 0, 2] == 1 and turned.sum() == 1
    np.testing.assert_array_equal(PlanarAction(cyclic(4)).points(torch.tensor([[2.0, 0.0]]), [1]), [[[0.0, -2.0]]])
    np.testing.assert_array_equal(PlanarAction(dihedral(4)).points(torch.tensor([2.0, 1.0]), [4]), [[-2.0, 1.0]])


# ------------------------------------------------------------------------------------------------------- laws

@given(planar)
def test_points_are_an_action(G):
    A = PlanarAction(G)
    p = torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = A.points(p)
    assert moved.shape == (G.order, 3, 2, 2)
    torch.testing.assert_close(moved[0], p, rtol=0, atol=0)
    for g in range(G.order):
        torch.testing.assert_close(A.points(moved[g]), moved[G.table[:, g].tolist()])  # h (g p) = (h g) p
    torch.testing.assert_close(moved.norm(dim=-1), p.norm(dim=-1).expand(G.order, 3, 2))


@pytest.mark.parametrize("G", [cyclic(4), dihedral(4), dihedral(2), cyclic(2), dihedral(1), trivial()], ids=repr)
@pytest.mark.parametrize("size", [6, 7])
def test_exact_images_are_an_action_bit_for_bit(G, size):
    A = PlanarAction(G)
    assert A.exact.all()
    x = pixels(2, 1, size, size)
    moved = A.images(x)
    for g in range(G.order):
        assert torch.equal(A.images(moved[g]), moved[G.table[:, g].tolist()])
    assert len({tuple(image.flatten().tolist()) for image in moved}) == G.order


@given(st.sampled_from([cyclic(8), cyclic(16), dihedral(8), dihedral(16), dihedral(3), dihedral(12)]), st.data())
def test_exact_after_resampled_is_bit_for_bit(G, data):
    A = PlanarAction(G)
    x = pixels(1, 2, 22, 22)
    g = data.draw(st.integers(0, G.order - 1))
    h = data.draw(st.sampled_from(np.flatnonzero(A.exact).tolist()))
    (moved,) = A.images(x, 13, [g])
    (whole,) = A.images(moved, 13, [h])
    (product_,) = A.images(x, 13, [G.multiply(h, g)])
    assert torch.equal(whole, product_)


@pytest.mark.parametrize("G", [cyclic(16), dihedral(16), cyclic(5), dihedral(6)], ids=repr)
@pytest.mark.parametrize("sizes", [(40, 26), (41, 27), (41, 26), (40, 27)], ids=str)
def test_a_bright_dot_at_p_is_found_at_gp(G, sizes):
    """All elements, even and odd sides: the centre of mass of a turned blob is where `points` says."""
    source, size = sizes
    A = PlanarAction(G)
    p = torch.tensor([[5.0, -3.0]], dtype=torch.float64)
    middle = (source - 1) / 2 - 0.5 * ((source - size) % 2)  # the last row and column do not count if parities differ
    axis = torch.arange(source, dtype=torch.float64) - middle
    blob = torch.exp(-((axis[None] - p[0, 0]) ** 2 + (axis[:, None] - p[0, 1]) ** 2) / (2 * 1.5**2))
    seen = A.images(blob[None, None], size)[:, 0, 0]
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    mass = seen.sum((1, 2))
    found = torch.stack([(seen.sum(1) * axis).sum(1), (seen.sum(2) * axis).sum(1)], dim=-1) / mass[:, None]
    torch.testing.assert_close(found, A.points(p)[:, 0], rtol=0, atol=2e-2)
    wrong = A.points(p)[:, 0] * torch.tensor([1.0, -1.0])  # negative control: y pointing up is a different convention
    assert (found - wrong).norm(dim=-1).max() > 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resampled_elements_match_a_reference_rotation(dtype):
    """scipy's affine transform, one image at a time, is the oracle; it reads output pixel q at g^-1 q, order (y, x)."""
    G, size = dihedral(16), 40
    A = PlanarAction(G)
    x = pixels(2, 3, A.source_size(size), A.source_size(size)).to(dtype)
    seen = A.images(x, size)
    source_middle, middle = (x.shape[-1] - 1) / 2, (size - 1) / 2
    for g in range(G.order):
        inverse = A.matrices[g].T[::-1, ::-1]  # from (x, y) to (row, column)
        offset = source_middle - inverse @ np.full(2, middle)
        for b in range(2):
            slow = ndimage.affine_transform(x[b, 1].double().numpy(), inverse, offset, (size, size), order=1)
            np.testing.assert_allclose(seen[g, b, 1].numpy(), slow, atol=1e-12 if dtype == torch.float64 else 2e-4)


def test_composition_of_resampled_elements_is_close_on_smooth_images():
    G, A = cyclic(16), PlanarAction(cyclic(16))
    x = smooth(96)
    for g, h in ((1, 2), (3, 6), (5, 15)):
        (once,) = A.images(x, 40, [G.multiply(g, h)])
        (twice,) = A.images(A.images(x, 66, [h])[0], 40, [g])
        error = (once - twice).pow(2).mean() / once.var()
        assert error < 1e-3
        (other,) = A.images(x, 40, [G.multiply(g, h) + 1 - 16 * (G.multiply(g, h) == 15)])
        assert (other - twice).pow(2).mean() / once.var() > 50 * error  # negative control: one step further is far off


def test_no_corner_ever_shows():
    """A source of ones must give ones: a zero would be a corner from outside."""
    for G in (dihedral(16), cyclic(3), cyclic(7)):
        A = PlanarAction(G)
        for size in (1, 2, 31, 96):
            ones = torch.ones(1, 1, A.source_size(size), A.source_size(size))
            torch.testing.assert_close(A.images(ones, size), torch.ones(G.order, 1, 1, size, size))


# ------------------------------------------------------------------------------------------------------ sizes

def test_source_sizes():
    A = PlanarAction(dihedral(16))
    assert A.source_size(224) == 320 and A.source_size(96) == 138
    assert PlanarAction(dihedral(4)).source_size(97) == 97 and PlanarAction(trivial()).source_size(5) == 5


@given(planar, st.integers(1, 60))
def test_largest_default_size(G, side):
    A = PlanarAction(G)
    size = A.images(torch.ones(1, 1, side, side), elements=[0]).shape[-1]
    assert A.images(torch.ones(1, 1, side, side), size).min() > 0.999
    assert size == side if A.exact.all() else size >= math.floor((side - 2) / math.sqrt(2))
    for larger in range(size + 1, side + 1):
        with pytest.raises(ValueError, match=f"size is {larger}, but source images of {side} x {side} would"):
            A.images(torch.ones(1, 1, side, side), larger)


def test_the_source_may_be_a_rectangle_and_elements_may_be_chosen():
    A = PlanarAction(dihedral(8))
    x = pixels(2, 3, 40, 52)
    everything = A.images(x, 24)
    assert torch.equal(everything, A.images(x[..., 6:46], 24))
    assert torch.equal(A.images(x, 24, [9, 0, 3]), everything[[9, 0, 3]])
    assert torch.equal(everything[0], x[..., 8:32, 14:38])
    assert torch.equal(A.images(x, 40, [0, 2, 8])[2], x[..., 6:46].flip(-1))  # exact ones fit where others do not
    assert torch.equal(A.points(torch.eye(2), [9, 0]), A.points(torch.eye(2))[[9, 0]])


def test_types_and_determinism():
    A = PlanarAction(dihedral(16))
    x = pixels(1, 3, 64, 64)
    reference = A.images(x, 32)
    assert torch.equal(reference, A.images(x, 32)) and torch.equal(reference, PlanarAction(dihedral(16)).images(x, 32))
    for dtype in (torch.bfloat16, torch.float16):
        half = A.images(x.to(dtype), 32)
        assert half.dtype == dtype
        # Positions are computed in float32 whatever the images are in; only the pixels are rounded.
        torch.testing.assert_close(half.float(), A.images(x.to(dtype).float(), 32).to(dtype).float(), rtol=0, atol=0)
    assert A.points(torch.ones(2, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    A = PlanarAction(dihedral(16))
    x = pixels(2, 3, 64, 64)
    torch.testing.assert_close(A.images(x.cuda(), 32).cpu(), A.images(x, 32), rtol=0, atol=1e-5)
    assert A.points(torch.ones(2).cuda()).is_cuda


# ---------------------------------------------------------------------------------------- exactness, matrices

@pytest.mark.parametrize("G, exact", [
    (dihedral(16), [0, 4, 8, 12, 16, 20, 24, 28]), (cyclic(8), [0, 2, 4, 6]), (dihedral(3), [0, 3]), (cyclic(5), [0])])
def test_exact_elements(G, exact):
    A = PlanarAction(G)
    assert np.flatnonzero(A.exact).tolist() == exact
    assert repr(A) == f"PlanarAction({G!r}, {len(exact)} of {G.order} elements exact)"
    assert set(np.unique(A.matrices[A.exact])) <= {-1.0, 0.0, 1.0}


def test_own_matrices():
    half, mirror = -np.eye(2), np.diag([-1.0, 1.0])
    A = PlanarAction(product(cyclic(2), cyclic(2)), [np.eye(2), mirror, half, half @ mirror])
    x = pixels(1, 1, 4, 4)
    assert torch.equal(A.images(x)[3], x.flip(-2))
    unfaithful = PlanarAction(cyclic(8), PlanarAction(cyclic(4)).matrices[np.arange(8) % 4])
    assert torch.equal(unfaithful.images(x)[5], torch.rot90(x, 1, (-2, -1)))
    unnamed = FiniteGroup(cyclic(4).table)
    with pytest.raises(ValueError, match="how group of order 4 moves the plane is not known"):
        PlanarAction(unnamed)
    with pytest.raises(ValueError, match="how C_2 x C_2 moves the plane is not known"):
        PlanarAction(product(cyclic(2), cyclic(2)))
    renamed = FiniteGroup(dihedral(8).table, names=dihedral(8).names, name="from a file")
    np.testing.assert_array_equal(PlanarAction(renamed).matrices, PlanarAction(dihedral(8)).matrices)


def test_the_fingerprint_is_what_artefacts_have_always_been_named_by():
    assert PlanarAction(dihedral(16)).fingerprint == PlanarAction(dihedral(16)).matrices.tolist()
    assert digest(PlanarAction(dihedral(4)).fingerprint) == "2eb8abc4ce58a579"
    assert PlanarAction(cyclic(4)).fingerprint != PlanarAction(dihedral(2)).fingerprint


@pytest.mark.parametrize("change, message", [
    (lambda m: m[:3], "shape \\(3, 2, 2\\); expected \\(4, 2, 2\\)"),
    (lambda m: m * 2, "matrix of e is .*; expected an orthogonal one"),
    (lambda m: m * np.nan, "expected an orthogonal one"),
    (lambda m: m[[0, 2, 1, 3]], "matrix of r times the matrix of r is not the matrix of their product r\\^2"),
    (lambda m: m[[1, 1, 1, 1]], "no action of C_4"),
])
def test_matrices_that_are_no_action(change, message):
    with pytest.raises(ValueError, match=message):
        PlanarAction(cyclic(4), change(PlanarAction(cyclic(4)).matrices))


def test_bad_input(unchecked):
    A = PlanarAction(dihedral(16))
    with pytest.raises(ValueError, match="size is 60, but .* 64 x 64 would show corners .* at least 88 px"):
        A.images(pixels(1, 3, 64, 64), 60)
    for x in (pixels(3, 64, 64), torch.zeros(1, 3, 64, 64, dtype=torch.uint8), pixels(1, 3, 0, 64)):
        with pytest.raises(ValueError, match="expected \\(batch, channels, height, width\\), floating point"):
            A.images(x, 32)
    for size in (0, 2.5, "32", True):
        with pytest.raises(ValueError, match="expected the side of the output in pixels"):
            A.images(pixels(1, 3, 64, 64), size)
    for elements in ([], [32], [-1]):
        with pytest.raises(ValueError, match="expected one or more numbers from 0 to 31"):
            A.images(pixels(1, 3, 64, 64), 32, elements)
    for p in (torch.zeros(5, 3), torch.zeros(5, 2, dtype=torch.int64), torch.zeros(())):
        with pytest.raises(ValueError, match="expected \\(..., 2\\), floating point"):
            A.points(p)
    with pytest.raises(ValueError, match="expected the side of the output"):
        A.source_size(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("group, side, size", [(dihedral(16), 46, 31), (cyclic(6), 60, 40), (dihedral(3), 51, 35)])
def test_all_views_at_once_are_bit_for_bit_those_made_one_by_one(group, side, size, dtype):
    """One interpolation makes them all; each alone is the definition."""
    action = PlanarAction(group)
    x = torch.rand(3, 3, side, side, dtype=dtype, generator=torch.Generator().manual_seed(0))
    together = action.images(x, size=size)
    assert all(torch.equal(together[g], action.images(x, size=size, elements=[g])[0]) for g in range(group.order))
