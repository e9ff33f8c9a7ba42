"""The exact attack in the plane: against a fine grid, against PGD, and against what was derived on paper."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.manifolds import circle_directions
from groupcc_lite.superposition import SparseFeatures, Toys, attack_gain, loss_landscape, pgd, planar_attack

PAIR, PAIRS = np.array([[1.0, -1.0], [0.0, 0.0]]), circle_directions(4).double().numpy().T
TRIANGLE = circle_directions(3).double().numpy().T


def problem(seed, most=6):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, most))
    return (rng.standard_normal((2, n)), 0.3 * rng.standard_normal(n), rng.random(n) * (rng.random(n) < 0.6),
            float(rng.uniform(0.05, 2)), rng.random(n))


def loss_of(W, b, x, importance, delta):
    return np.square(np.maximum((x + delta) @ W.T @ W + b, 0) - x) @ importance


@given(st.integers(0, 10**6))
def test_no_point_of_a_fine_grid_is_better_and_the_attack_does_what_it_says(seed):
    W, b, x, eps, importance = problem(seed)
    found = planar_attack(W, b, x, eps, importance=importance)
    assert np.linalg.norm(found.delta) <= eps * (1 + 1e-9)
    assert found.loss == pytest.approx(loss_of(W, b, x, importance, found.delta), rel=1e-9, abs=1e-12)
    assert found.clean == pytest.approx(loss_of(W, b, x, importance, 0 * x)) and found.loss >= found.clean - 1e-12
    np.testing.assert_allclose(W @ found.delta, found.hidden, atol=1e-9)
    t, radius = np.meshgrid(np.linspace(0, 2 * np.pi, 2001), np.linspace(0, 1, 41))
    u = (radius * np.stack([np.cos(t), np.sin(t)])).reshape(2, -1).T * eps
    values, vectors = np.linalg.eigh(W @ W.T)
    u = u @ (vectors * np.sqrt(values.clip(0)) @ vectors.T)
    grid = np.square(np.maximum(x @ W.T @ W + b + u @ W, 0) - x) @ importance
    assert grid.max() <= found.loss + 1e-9
    assert grid.max() >= found.loss - 1e-3 * (found.loss - found.clean) - 1e-4


@pytest.mark.parametrize("n", [2, 3])
def test_many_steps_come_as_far_and_no_further(n):
    rng = np.random.default_rng(n)
    W, b, eps = rng.standard_normal((60, 2, n)), 0.3 * rng.standard_normal((60, n)), rng.uniform(0.05, 2, 60)
    x, importance = rng.random((60, n)) * (rng.random((60, n)) < 0.6), rng.random(n)
    toys = Toys(torch.from_numpy(W), torch.from_numpy(b), SparseFeatures([0.0], n), torch.zeros(60, dtype=torch.long),
                torch.arange(60), torch.from_numpy(importance))
    samples = torch.from_numpy(x)[:, None]
    attacked = pgd(toys.loss_about(samples), samples, torch.from_numpy(eps)[:, None], steps=100, restarts=10)
    reached = toys.errors(attacked, samples)[:, 0].numpy()
    exact = np.array([planar_attack(*one, importance=importance).loss for one in zip(W, b, x, eps, strict=True)])
    assert (reached <= exact + 1e-9).all()
    assert (reached >= 0.999 * exact).mean() >= 0.95


@pytest.mark.parametrize("W, gain", [(np.eye(2), 1), (TRIANGLE, 1.5), (PAIR, 2), (PAIRS, 2)])
def test_one_feature_on_paper(W, gain):
    """A weak attack on the only feature that is on: the sum of what overlaps, and eps^2 times its squared length."""
    x = np.zeros(W.shape[1])
    x[0], eps = 0.6, 0.05
    found = planar_attack(W, np.zeros_like(x), x, eps)
    row = W.T @ W[:, 0]
    assert found.clean == pytest.approx(0, abs=1e-12) and found.loss == pytest.approx(gain * eps**2)
    assert float(attack_gain(torch.from_numpy(W))[0]) == pytest.approx(gain)
    if W is PAIR or W is TRIANGLE:  # else an output that is off can be raised by as much
        assert abs(found.delta @ row) / np.linalg.norm(found.delta) / np.linalg.norm(row) == pytest.approx(1)


def test_where_lines_cross_inside():
    """Outputs 0 and 1 are just killed; to go on would help output 2, to go back them: not on the ellipse."""
    W, x = np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.3]]), np.array([1.0, 1.0, 0.0])
    b = np.array([0.2, 0.2, 0.5]) - W.T @ W @ x
    found = planar_attack(W, b, x, eps=0.4)
    np.testing.assert_allclose(found.hidden, [-0.2, -0.2])
    assert found.loss == pytest.approx(2 + 0.38**2) and np.linalg.norm(found.delta) < 0.3


def test_with_no_radius_nothing_happens():
    found = planar_attack(TRIANGLE, np.zeros(3), np.array([0.3, 0.2, 0.0]), eps=0.0)
    assert found.loss == found.clean and not found.delta.any()


def test_the_landscape_is_the_loss():
    x, b = np.array([0.5, 0.3, 0.0]), np.array([0.1, 0.0, -0.1])
    found = loss_landscape(TRIANGLE, b, x, eps=0.3, points=41)
    for row, column in ((0, 0), (3, 40), (20, 20), (31, 7)):
        u = np.array([found.axis[column], found.axis[row]])
        delta = np.linalg.pinv(TRIANGLE) @ u
        assert found.loss[row, column] == pytest.approx(loss_of(TRIANGLE, b, x, np.ones(3), delta))
    # An even frame: the ball becomes a disc of radius eps sqrt(3 / 2).
    np.testing.assert_allclose(np.linalg.norm(found.rim, axis=1), 0.3 * 1.5**0.5)
    assert loss_landscape(PAIR, np.zeros(2), x[:2], eps=0.3).rim[:, 1] == pytest.approx(0)


@pytest.mark.parametrize("wrong", [
    lambda: planar_attack(TRIANGLE, np.zeros(3), np.zeros(3), eps=-1.0),
    lambda: planar_attack(TRIANGLE, np.zeros(2), np.zeros(3), eps=1.0),
    lambda: planar_attack(TRIANGLE.T, np.zeros(3), np.zeros(3), eps=1.0),
    lambda: loss_landscape(TRIANGLE, np.zeros(3), np.zeros(3), eps=0.0)])
def test_what_does_not_fit_is_refused(wrong, unchecked):
    with pytest.raises(ValueError, match="expected"):
        wrong()


def test_where_every_direction_is_as_good_one_of_them_is_found():
    """An identity on features that are on: eps^2 all around, and no slope to follow."""
    found = planar_attack(np.eye(2), np.zeros(2), np.array([0.5, 0.7]), eps=0.1)
    assert found.clean == 0 and found.loss == pytest.approx(0.01) and np.linalg.norm(found.delta) == pytest.approx(0.1)
