"""Double units are told from single and straight ones, and what a dictionary writes into a neuron adds up."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.coders import SparseAutoencoder
from groupcc_lite.responses import Contributions, contributions, largest_parts, two_directions

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


@given(st.integers(0, 1000), st.integers(0, 71), st.floats(0.1, 20))
def test_turning_the_stimuli_turns_both_directions_and_nothing_else(seed, turn, loud):
    r = torch.rand(4, 72, generator=torch.Generator().manual_seed(seed), dtype=torch.double) ** 3
    before, after = two_directions(r), two_directions(loud * r.roll(turn, 1))
    for name in ("first", "second"):
        gap = getattr(after, name) - getattr(before, name) - 2 * math.pi * turn / 72
        assert ((gap + math.pi) % (2 * math.pi) - math.pi).abs().max() < 1e-4
    for name in ("apart", "lesser", "valley"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), atol=1e-5, rtol=1e-5)
    assert torch.equal(before.double, after.double)


def test_two_directions_by_hand():
    """The second peak is the one that stands out, 4 above a low of 0, and not the taller shoulder of the first."""
    found = two_directions(torch.tensor([[6.0, 4.0, 4.5, 1.0, 0.0, 4.0, 2.0, -3.0]]))
    assert [round(math.degrees(value)) for value in (found.first, found.second, found.apart)] == [0, 225, 135]
    assert [found.lesser.item(), found.valley.item()] == pytest.approx([4 / 6, 0])
    other_way = two_directions(torch.tensor([[6.0, 3.0, 1.0, 2.0, 5.0, 2.0, 2.0, 3.0]]))
    assert other_way.valley.item() == pytest.approx(2 / 5)  # the higher of the two lows


def test_units_with_one_direction_or_none_have_no_second():
    level = torch.full((72,), 0.7)
    found = two_directions(torch.stack([bump(30), torch.zeros(72), -bump(10), level]))
    for name in ("second", "apart", "lesser", "valley"):
        assert getattr(found, name).isnan().all(), name
    assert not found.double.any() and math.degrees(found.first[0]) == pytest.approx(30)


@pytest.mark.parametrize("apart, lesser, double", [
    (45, 0.8, True), (40, 0.8, False), (150, 0.8, True), (155, 0.8, False), (90, 0.55, True), (90, 0.45, False)])
def test_the_bounds_of_double(apart, lesser, double):
    narrow = bump(0, 0.1) + lesser * bump(360 - apart, 0.1)
    assert two_directions(narrow[None].float()).double.item() == double


@pytest.mark.parametrize("low, double", [(1.4, True), (1.6, False)])
def test_the_low_on_either_way_counts(low, double):
    both = torch.tensor([[4.0, low, 3.0, low, low, low, low, low]])
    assert two_directions(both).double.item() == double
    one = torch.tensor([[4.0, 0.0, 3.0, low, low, low, low, low]])
    assert two_directions(one).valley.item() == pytest.approx(low / 3)


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
    assert found.parts.shape == (9, 20) and ((found.parts == 0) == (coder.encode(x) == 0)).all()  # who is silent adds 0
    largest = largest_parts(found, 4)
    assert (found.parts.sum(0)[largest].diff() <= 0).all() and len(largest) == 4
    for channel in (6, -1):
        with pytest.raises(ValueError, match=f"channel is {channel}; expected 0 to 5"):
            contributions(coder, x, channel)


def test_contributions_by_hand():
    """Two latents that read one channel each: what they write is what they say times their decoder, over the scale."""
    coder = SparseAutoencoder(2, 2, activation="relu", scale=2.0)
    with torch.no_grad():
        coder.W_e.copy_(torch.eye(2))
        coder.b_e.zero_()
        coder.b_d.copy_(torch.tensor([[0.0, 6.0]]))
        coder.W_d.copy_(torch.tensor([[[3.0, 1.0]], [[0.0, -2.0]]]))
    x = torch.tensor([[1.0, 4.0]])
    f = coder.encode(x)[0].detach()
    found = contributions(coder, x, 1)
    assert found.parts[0].tolist() == pytest.approx([0.5 * float(f[0]), -1.0 * float(f[1])])
    assert found.constant.item() == pytest.approx(3.0)
    assert contributions(coder, x, 0).parts[0].tolist() == pytest.approx([1.5 * float(f[0]), 0.0])


def test_the_largest_parts_are_those_of_the_sum_and_no_more_than_there_are():
    """Over samples the second writes most, though the third has the largest single part; what is taken away counts."""
    found = Contributions(torch.tensor([[1.0, 4.0, 9.0, 0.0], [1.0, 4.0, -6.0, 0.0]]), torch.tensor(0.0))
    assert largest_parts(found, 3).tolist() == [1, 2, 0]
    assert sorted(largest_parts(found, 10).tolist()) == [0, 1, 2, 3]
