"""Double units are told from single and straight ones, and what a dictionary writes into a neuron adds up."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.coders import SparseAutoencoder
from groupcc_lite.responses import contributions, largest_parts, two_directions

ANGLE = 2 * math.pi * torch.arange(72) / 72


def bump(degrees, width=0.35):
    gap = (ANGLE - math.radians(degrees) + math.pi) % (2 * math.pi) - math.pi
    return torch.exp(-(gap / width) ** 2 / 2)


@given(st.integers(60, 145), st.integers(0, 71), st.floats(0.6, 0.95))
def test_two_planted_directions_are_found_wherever_they_lie(apart, turn, lesser):
    apart = 5 * (apart // 5)
    r = (bump(0) + lesser * bump(apart)).roll(turn)
    found = two_directions(r[None])
    assert math.degrees(found.apart) == pytest.approx(apart, abs=5.1)
    assert math.degrees(found.first) == pytest.approx(5 * turn % 360, abs=5.1) or turn == 71
    assert found.lesser.item() == pytest.approx(lesser, abs=0.1)


def test_single_opposite_and_shallow_pairs_are_not_double():
    single, opposite = bump(30), bump(30) + bump(210)
    shallow, double = bump(0, 0.6) + bump(70, 0.6), bump(0) + 0.8 * bump(90)
    found = two_directions(torch.stack([single, opposite, shallow, double]))
    assert found.double.tolist() == [False, False, False, True]
    assert found.apart[0].isnan() and math.degrees(found.apart[1]) == pytest.approx(180, abs=0.1)


@pytest.mark.parametrize("activation, k", [("relu", None), ("topk", 3), ("batchtopk", 3)])
def test_contributions_sum_to_what_is_written(activation, k):
    coder = SparseAutoencoder(6, 20, activation=activation, k=k, scale=1.7).eval()
    with torch.no_grad():
        coder.b_d.copy_(torch.randn(1, 6))
        coder.b_e.copy_(0.1 * torch.randn(20))
    x = torch.randn(9, 6)
    for channel in range(6):
        found = contributions(coder, x, channel)
        torch.testing.assert_close(found.parts.sum(1) + found.constant, coder.decode(coder.encode(x))[:, 0, channel],
                                   atol=1e-5, rtol=1e-5)
    largest = largest_parts(found, 4)
    assert (found.parts.sum(0)[largest].diff() <= 0).all() and len(largest) == 4
    with pytest.raises(ValueError, match="expected 0 to 5"):
        contributions(coder, x, 6)
