"""Reading a dictionary over a product of groups as one over a factor."""

import pytest
import torch

from groupcc_lite.groups import cyclic, dihedral, product
from groupcc_lite.symmetry.block_action import act, on_factor
from groupcc_lite.symmetry.similarity import self_similarity
from groupcc_lite.symmetry.spectra import irrep_power

FACTORS = (cyclic(4), dihedral(3), cyclic(2))
G = product(product(FACTORS[0], FACTORS[1]), FACTORS[2])
D = torch.randn(5, G.order, 3, generator=torch.Generator().manual_seed(0))


def element(*numbers):
    return (numbers[0] * FACTORS[1].order + numbers[1]) * FACTORS[2].order + numbers[2]


@pytest.mark.parametrize("number", range(3))
def test_a_factor_acts_on_the_view_as_it_acts_inside_the_product(number):
    view = on_factor(D, FACTORS, number)
    assert view.shape == (5, FACTORS[number].order, G.order // FACTORS[number].order * 3)
    for h in range(FACTORS[number].order):
        inside = element(*(h if k == number else 0 for k in range(3)))
        assert torch.equal(act(view, FACTORS[number], h), on_factor(act(D, G, inside), FACTORS, number))
        torch.testing.assert_close(self_similarity(view, FACTORS[number])[:, h], self_similarity(D, G)[:, inside])


def test_the_first_power_is_what_averaging_over_the_factor_leaves():
    mean = torch.stack([act(D, G, element(0, h, 0)) for h in range(6)]).mean(0)
    share = mean.flatten(1).square().sum(1) / D.flatten(1).square().sum(1)
    torch.testing.assert_close(irrep_power(on_factor(D, FACTORS, 1), FACTORS[1])[:, 0], share)


def test_two_factors_as_chapter_eight_lays_them_out():
    D = torch.arange(24.0).view(1, 12, 2)
    table = D.unflatten(1, (4, 3))
    assert torch.equal(on_factor(D, (cyclic(4), cyclic(3)), 0), table.flatten(2))
    assert torch.equal(on_factor(D, (cyclic(4), cyclic(3)), 1), table.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("factors, number, message", [
    (FACTORS, 3, "number is 3; expected 0 to 2"), (FACTORS, -1, "number is -1"),
    (FACTORS[:2], 0, r"expected \(features, 24, channels\) for the product of C_4, D_3"),
])
def test_factors_that_do_not_make_up_the_group_are_named(factors, number, message):
    with pytest.raises(ValueError, match=message):
        on_factor(D, factors, number)
