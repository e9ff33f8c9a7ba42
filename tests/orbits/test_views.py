"""Rows of stores: the same numbers as in the stores, and nothing of the rows that are left out."""

import numpy as np
import pytest
import torch

from groupcc_lite.coders import GroupCrosscoder, evaluate, train
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import IdentityBlocks, OrbitRows, OrbitStore, thinned


@pytest.fixture
def stores(tmp_path):
    """Two stores of 11 and 7 rows; the second has a thousandth of the size, so that float16 needs its exponent."""
    x = torch.randn(18, 4, 5, generator=torch.Generator().manual_seed(0)).half().float()
    return [OrbitStore.from_batches(tmp_path / "a", [x[:11]], cyclic(4)),
            OrbitStore.from_batches(tmp_path / "b", [x[11:] / 2**20], cyclic(4), exact=[True] * 4)]


def test_rows_are_those_of_the_stores_sorted_by_image(stores):
    both = OrbitRows(stores, [[0, 3, 10], [6, 2]], [np.array([4, 0, 2]), np.array([1, 3])])
    assert both.image.tolist() == [0, 1, 2, 3, 4] and len(both) == 5
    expected = torch.cat([stores[s].rows([r]) for s, r in ((0, 3), (1, 6), (0, 10), (1, 2), (0, 0))])
    assert torch.equal(both.rows(range(5)), expected) and torch.equal(torch.cat(list(both.in_order(2))), expected)
    assert torch.equal(both.rows([4, 1], slice(1, 3)), expected[[4, 1], 1:3])
    assert both.exact.tolist() == [True] * 4 and both.points.shape == (5, 2)


def test_a_view_of_everything_is_the_store(stores):
    (first, _), (whole,) = stores, [OrbitRows(stores[:1], [range(11)])]
    assert whole.scale == pytest.approx(first.scale, rel=1e-6)
    assert whole.scale_of(slice(0, 1)) == pytest.approx(first.scale_of(slice(0, 1)), rel=1e-6)
    for seed, epoch in ((0, 0), (3, 1)):
        assert all(map(torch.equal, whole.batches(4, seed=seed, epoch=epoch), first.batches(4, seed=seed, epoch=epoch)))
    assert np.allclose(first.row_squares, first.rows(range(11)).square().sum(-1))


def test_the_scale_is_that_of_the_chosen_rows_alone(stores):
    """A row that is left out, here one of a quite different size, must not be seen in the scale of the others."""
    small = OrbitRows(stores, [[], range(7)])
    x = small.rows(range(7)) * small.scale
    assert float(x.square().sum(-1).mean()) == pytest.approx(5, rel=1e-4)
    assert small.scale > 2**18 * stores[0].scale
    plain = IdentityBlocks(small)
    assert float((plain.scale * next(plain.batches(7))).square().sum(-1).mean()) == pytest.approx(5, rel=1e-4)


def test_a_coder_trains_and_is_judged_on_rows(stores):
    half = OrbitRows(stores[:1], [range(0, 11, 2)])
    coder = GroupCrosscoder(cyclic(4), 5, 8, activation="topk", k=2, scale=half.scale)
    train(coder, half, steps=3, batch_size=3, progress=False)
    assert np.isfinite(evaluate(coder, half).fve)


def test_fingerprints_tell_rows_apart(stores):
    views = [OrbitRows(stores[:1], [rows]) for rows in ([0, 1], [0, 2], [0, 1, 2])] + [OrbitRows(stores, [[0], [1]])]
    assert len({view.fingerprint for view in views}) == 4
    assert OrbitRows(stores[:1], [[0, 1]]).fingerprint == views[0].fingerprint


def test_thinned_rows_are_spread_over_all_and_can_be_thinned_again(stores):
    some = thinned(stores[0], 3)
    assert some.image.tolist() == [0, 5, 10] and thinned(some, 2).image.tolist() == [0, 10]
    assert torch.equal(some.rows([1]), stores[0].rows([5]))
    with pytest.raises(ValueError, match="most is 0"):
        thinned(stores[0], 0)


def test_bad_rows_are_refused(stores, tmp_path):
    with pytest.raises(ValueError, match="expected some rows"):
        OrbitRows(stores, [[], []])
    with pytest.raises(ValueError, match="2 stores and rows"):
        OrbitRows(stores, [[0]])
    with pytest.raises(ValueError, match="rows go from 0 to 11; expected 0 to 10"):
        OrbitRows(stores[:1], [[0, 11]])
    other = OrbitStore.from_batches(tmp_path / "c", [torch.ones(3, 8, 5)], dihedral(4))
    with pytest.raises(ValueError, match="different groups or channels"):
        OrbitRows([stores[0], other], [[0], [0]])
    resampled = OrbitStore.from_batches(tmp_path / "d", [torch.ones(3, 4, 5)], cyclic(4), exact=[True, False] * 2)
    with pytest.raises(ValueError, match=r"different elements as exact: \[\[True, True, True, True\], \[True, False"):
        OrbitRows([stores[0], resampled], [[0], [0]])
    for images in ([np.array([1])], [np.array([1]), np.array([2, 3])], [np.array([1, 2]), np.array([], dtype=int)]):
        with pytest.raises(ValueError, match=r"images number \[.*\] rows; expected the number of an image for each of"):
            OrbitRows(stores, [[0], [1]], images)
