"""Copying the untransformed block, against the formula on all orbits at once."""

import pytest
import torch

from groupcc_lite.coders import copy_fve


def orbits(count=40):
    return torch.randn(count, 4, 5, generator=torch.Generator().manual_seed(0)) + 3


def test_batches_give_the_formula_over_all_orbits():
    x = orbits().double()
    x[:, 2] = x[:, 0]
    expected = 1 - (x - x[:, :1]).square().sum((0, 2)) / (x - x.mean(0)).square().sum((0, 2))
    found = torch.as_tensor(copy_fve(x.float().split(7)))
    assert torch.allclose(found, expected, atol=1e-5)
    assert found[0] == found[2] == 1 and found[1] < 0  # unrelated blocks: worse than the mean


def test_a_block_that_follows_x_e_in_part_is_explained_in_part():
    x = orbits(2000)
    x[:, 1] = x[:, 0] + 0.5 * (x[:, 1] - 3)  # variance 1.25, of which 0.25 is missed
    assert copy_fve([x])[1] == pytest.approx(1 - 0.25 / 1.25, abs=0.02)


@pytest.mark.parametrize("batches, match", [([], "no orbits"), ([torch.ones(3, 2, 2)], "block 0 is the same in all 3")])
def test_what_cannot_be_measured_is_refused(batches, match):
    with pytest.raises(ValueError, match=match):
        copy_fve(batches)
