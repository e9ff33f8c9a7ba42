"""Orbits in memory are a source like the others."""

import pytest
import torch

from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import IdentityBlocks, TensorOrbits


def test_orbits_in_memory_are_a_source_like_the_others():
    blocks = torch.randn(10, 8, 3, generator=torch.Generator().manual_seed(0))
    source = TensorOrbits(blocks, dihedral(4))
    assert abs(float((blocks * source.scale).square().sum(-1).mean()) - 3) < 1e-4
    batches = list(source.batches(3, seed=1, epoch=2))
    assert len(batches) == source.batches_per_epoch(3) == 3
    seen = torch.cat(batches)
    assert all((seen[i] == blocks).flatten(1).all(1).sum() == 1 for i in range(9))
    assert len({tuple(row.flatten().tolist()) for row in seen}) == 9
    assert torch.equal(torch.cat(list(source.batches(3, seed=1, epoch=2, start=1))), torch.cat(batches[1:]))
    assert not torch.equal(next(source.batches(3, seed=1, epoch=3)), batches[0])
    assert torch.equal(torch.cat(list(source.in_order(4))), blocks)
    assert torch.equal(next(source.batches(10, seed=1, elements=slice(0, 1))).sort(0).values,
                       blocks[:, :1].sort(0).values)


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e-9, 1e-7, 1e-3, 1.0, 1e4, 1e30, 3e37])
def test_the_scale_knows_no_unit(size):
    blocks = torch.randn(10, 8, 3, generator=torch.Generator().manual_seed(0))
    wanted = (3 / (blocks * size).double().square().sum(-1).mean()).sqrt()
    source = TensorOrbits(blocks * size, dihedral(4))
    assert source.scale == pytest.approx(float(wanted), rel=1e-6)
    one = (3 / (blocks[:, :1] * size).double().square().sum(-1).mean()).sqrt()
    assert IdentityBlocks(source).scale == pytest.approx(float(one), rel=1e-6)


def test_the_scale_of_ordinary_numbers_is_what_it_was_to_the_last_bit():
    """Trainings begin with it: sums of shifted numbers are shifted sums."""
    for seed in range(20):
        blocks = 3 * torch.randn(40, 8, 3, generator=torch.Generator().manual_seed(seed))
        assert TensorOrbits(blocks, dihedral(4)).scale == float((3 / blocks.square().sum(-1).mean()).sqrt())


def test_the_scale_of_half_precision_is_not_measured_in_half_precision():
    blocks = 300 * torch.ones(10, 8, 3, dtype=torch.float16)
    assert TensorOrbits(blocks, dihedral(4)).scale == pytest.approx(1 / 300, rel=1e-6)


def test_nothing_but_zeros_has_no_scale():
    with pytest.raises(ValueError, match="all activations are zero; check the inputs"):
        _ = TensorOrbits(torch.zeros(10, 8, 3), dihedral(4)).scale


@pytest.mark.parametrize("blocks, message", [
    (torch.zeros(3, 7, 2), "expected .n, 8, channels."), (torch.zeros(0, 8, 2), "at least one row"),
    (torch.full((2, 8, 2), float("nan")), "NaN or infinite")])
def test_orbits_in_memory_must_fit(blocks, message):
    with pytest.raises(ValueError, match=message):
        TensorOrbits(blocks, dihedral(4))


def test_the_fingerprint_is_that_of_the_numbers_and_the_group():
    blocks = torch.randn(5, 8, 2, generator=torch.Generator().manual_seed(0))
    one = TensorOrbits(blocks, dihedral(4)).fingerprint
    assert one == TensorOrbits(blocks.clone(), dihedral(4)).fingerprint
    changed = blocks.clone()
    changed[3, 2, 1] += 1e-6
    assert one != TensorOrbits(changed, dihedral(4)).fingerprint
