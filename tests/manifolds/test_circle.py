"""The circle in closed form: against numerical integration, and against codes that were proved optimal."""

import math

import numpy as np
import pytest
import torch

from groupcc_lite.coders import SparseAutoencoder, train
from groupcc_lite.manifolds import (
    SphereToy,
    amortisation,
    circle_directions,
    circle_l1,
    circle_one_layer,
    circle_optimum,
    optimal_codes,
)


def one_cell(count, points):
    """Points at equal angles between two neighbouring directions: by symmetry means over the circle are theirs."""
    angles = (torch.arange(points, dtype=torch.double) + 0.5) * (2 * math.pi / count / points)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_exact_codes_have_the_l1_norm_of_the_closed_form():
    for count, printed in ((4, 1.273), (8, 1.055), (24, 1.006)):
        assert round(circle_l1(count), 3) == printed
        pair = circle_directions(count)[:2].double()
        coefficients = torch.linalg.solve(pair.T, one_cell(count, 10_000).T)
        assert coefficients.min() > -1e-6
        assert circle_l1(count) == pytest.approx(float(coefficients.sum(0).mean()), rel=1e-6)


def test_the_excess_falls_as_the_square():
    for count in (100, 1000):
        assert (circle_l1(count) - 1) * count**2 == pytest.approx(math.pi**2 / 3, rel=1e-3)


@pytest.mark.parametrize("count", [3, 4, 8, 13])
@pytest.mark.parametrize("penalty", [0.01, 0.2, 0.8, 1.3, 1.9, 2.5])
def test_the_closed_form_is_the_numerical_minimum(count, penalty):
    found = optimal_codes(one_cell(count, 2000), circle_directions(count).double(), penalty, tolerance=1e-8)
    optimum = circle_optimum(count, penalty)
    assert optimum.loss == pytest.approx(float(found.loss.mean()), abs=1e-6)
    assert optimum.l1 == pytest.approx(float(found.latents.sum(1).mean()), abs=2e-3)
    assert optimum.active == pytest.approx(float((found.latents > 1e-4).double().sum(1).mean()), abs=0.02)
    assert optimum.loss == pytest.approx(optimum.reconstruction + penalty * optimum.l1)


def test_the_three_cases_of_the_derivation():
    directions, penalty = circle_directions(8).double(), 0.4
    zone = math.asin(penalty / 2 * math.tan(math.pi / 8))
    for angle, active in ((0.9 * zone, 1), (1.1 * zone, 2), (math.pi / 8, 2)):
        x = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.double)
        found = optimal_codes(x, directions, penalty, tolerance=1e-10)
        assert int((found.latents > 1e-4).sum()) == active
        residual = x - found.latents @ directions
        if active == 2:
            assert float(residual.norm()) == pytest.approx(penalty / 2 / math.cos(math.pi / 8), abs=1e-4)
    assert circle_optimum(8, 0.0)[:3] == pytest.approx((0, 0, circle_l1(8)))
    assert circle_optimum(8, 3.0) == (1.0, 1.0, 0.0, 0.0)


def test_losses_scale_with_the_radius():
    x, directions = one_cell(5, 500), circle_directions(5).double()
    found = optimal_codes(3 * x, directions, 0.6, tolerance=1e-8)
    assert float(found.loss.mean()) == pytest.approx(9 * circle_optimum(5, 0.2).loss, rel=1e-5)


def test_a_trained_encoder_reaches_the_optimum_on_four_directions_and_not_on_eight():
    """Four orthogonal directions need no look at each other; with more, one layer with a ReLU fires too often."""
    toy, found = SphereToy(dim=2), {}
    x = toy.sample(2000, seed=1)[:, None]
    for count in (4, 8):
        sae = SparseAutoencoder(2, count, seed=1)
        train(sae, toy.source(4000), steps=600, batch_size=256, lr=2e-2, sparsity=0.2, progress=False)
        found[count] = amortisation(sae, x, 0.2)
        assert float(found[count].optimal.mean()) > circle_optimum(count, 0.2).loss - 5e-3  # points are a sample
    assert found[4].gap < 5e-4 and float(found[4].encoder.mean()) < circle_optimum(4, 0.2).loss + 5e-3
    assert found[8].gap > 5e-3


@pytest.mark.parametrize("call, message", [
    (lambda: circle_directions(2), "is 2; expected at least 3"), (lambda: circle_l1(0), "is 0"),
    (lambda: circle_optimum(1, 0.1), "is 1"), (lambda: circle_optimum(4, -0.1), "penalty is -0.1")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("count", [3, 4, 5, 8, 24])
def test_no_one_layer_is_better_than_the_best_codes_and_none_than_the_one_found(count):
    found, rng = circle_one_layer(count, 0.2, points=500), np.random.default_rng(0)
    assert found.loss >= circle_optimum(count, 0.2).loss - 1e-4
    angle = 2 * np.pi * (np.arange(4000) + 0.5) / 4000  # the whole circle, where the function sees one sector
    x, D = np.stack([np.cos(angle), np.sin(angle)], 1), circle_directions(count).double().numpy()

    def loss(gain, threshold):
        f = gain * np.maximum(x @ D.T - threshold, 0)
        return ((x - f @ D) ** 2).sum(1).mean() + 0.2 * f.sum(1).mean()

    assert loss(found.gain, found.threshold) == pytest.approx(found.loss, abs=2e-5)
    others = [loss(rng.uniform(0, 6), rng.uniform(-0.6, 1)) for _ in range(400)]
    near = [loss(found.gain * a, found.threshold + b) for a in (0.99, 1, 1.01) for b in (-0.003, 0, 0.003)]
    assert min(others + near) >= found.loss - 2e-5


def test_one_layer_reaches_the_best_codes_on_four_directions_only():
    assert circle_one_layer(4, 0.2).loss == pytest.approx(circle_optimum(4, 0.2).loss, abs=1e-6)
    assert circle_one_layer(24, 0.2).loss > circle_optimum(24, 0.2).loss + 0.002
