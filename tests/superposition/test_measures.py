"""Measures on matrices whose answers are known, and laws that hold for all."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.manifolds import circle_directions
from groupcc_lite.superposition import (
    antipodal_share,
    attack_gain,
    effective_features,
    feature_dimensions,
    features_per_dimension,
    interference,
    represented,
    vulnerability,
)

PAIRS = torch.eye(3).repeat(1, 2) * torch.tensor([1.0, 1, 1, -1, -1, -1])
TRIANGLE = circle_directions(3).T


@pytest.mark.parametrize("W, per_dimension, gain, share, paired", [
    (torch.eye(4), 1, 1, 1, 0), (PAIRS, 2, 2, 0.5, 1), (TRIANGLE, 1.5, 1.5, 2 / 3, 0),
    (circle_directions(5).T, 2.5, 2.5, 0.4, 0), (circle_directions(8).T, 4, 4, 0.25, 1)])
def test_known_arrangements(W, per_dimension, gain, share, paired):
    n = W.shape[1]
    assert float(features_per_dimension(W)) == pytest.approx(per_dimension)
    assert int(represented(W)) == n and float(antipodal_share(W)) == paired
    torch.testing.assert_close(attack_gain(W), torch.full((n,), float(gain)))
    torch.testing.assert_close(interference(W), torch.full((n,), gain - 1.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(feature_dimensions(W), torch.full((n,), float(share)))


@given(st.integers(0, 10**6))
def test_laws_of_a_stack(seed):
    W = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    rows = W.transpose(1, 2) @ W
    torch.testing.assert_close(attack_gain(W), rows.square().sum(2))
    torch.testing.assert_close(interference(W), rows.square().sum(2) - rows.diagonal(dim1=1, dim2=2).square())
    assert (feature_dimensions(W).sum(1) <= 4 + 1e-9).all()  # no more dimensions than there are: Scherlis et al. 2022
    turn = torch.linalg.qr(W[:, :, :4])[0]
    for measure in (features_per_dimension, represented, interference, attack_gain, feature_dimensions,
                    antipodal_share):
        torch.testing.assert_close(measure(turn @ W), measure(W))
        torch.testing.assert_close(measure(W)[1], measure(W[1]))


def test_directions_of_length_zero_count_nowhere():
    W = torch.cat([PAIRS, torch.zeros(3, 2)], 1)
    assert int(represented(W)) == 6 and float(antipodal_share(W)) == 1
    assert feature_dimensions(W)[-2:].tolist() == [0, 0] and interference(W)[-2:].tolist() == [0, 0]
    assert math.isnan(antipodal_share(torch.zeros(2, 3)))


def test_effective_features_of_known_mass():
    x = torch.eye(10).repeat(3, 1)
    assert effective_features(x, 10) == pytest.approx(1) and effective_features(-x * 7, 5) == pytest.approx(2)
    assert effective_features(torch.cat([x, torch.zeros(4, 10)]), 5) == pytest.approx(2)
    p = torch.tensor([[0.5, 0.25, 0.25, 0.0]])
    assert effective_features(p, 1) == pytest.approx(2**1.5)
    for wrong in (torch.zeros(2, 3), torch.full((2, 3), torch.nan), torch.full((2, 3), torch.inf)):
        with pytest.raises(ValueError, match="positive, finite sum"):
            effective_features(wrong, 2)
    with pytest.raises(ValueError, match="dimensions is 0"):
        effective_features(x, 0)


def test_vulnerability_of_a_linear_loss_in_closed_form():
    """1 + w . x: an attack adds eps ||w||, noise nothing on average; (w . x)^2 from 0: noise adds a 1 / n of it."""
    w, x = torch.full((16,), 0.25), torch.zeros(2, 5000, 16)
    eps = torch.tensor([[0.1], [0.4]])
    found = vulnerability(lambda x: 1 + x @ w, x, eps)
    torch.testing.assert_close(found.attacked_ratio, torch.tensor([1.1, 1.4]), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.noise_ratio, torch.ones(2), atol=5e-3, rtol=0)
    found = vulnerability(lambda x: 1 + (x @ w).square(), x, eps)
    torch.testing.assert_close(found.excess, torch.full((2,), 16.0), atol=0.7, rtol=0)
    nothing = vulnerability(lambda x: 1 + x @ w, x, 0.0)
    assert (nothing.attacked_ratio == 1).all() and (nothing.noise_ratio == 1).all()
