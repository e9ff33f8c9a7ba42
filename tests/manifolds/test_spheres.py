"""Toys on spheres: where their points lie; directions that are known to be the best; how the excess falls."""

import numpy as np
import pytest
import torch

from groupcc_lite.manifolds import SphereToy, circle_directions, optimal_codes, spread_directions
from groupcc_lite.manifolds.spheres import _riesz


@pytest.mark.parametrize("dim, radius, channels", [(1, (1.0, 1.0), None), (2, (0.5, 1.5), 7), (4, (2.0, 2.0), 4)])
def test_points_lie_on_the_sphere_in_its_plane(dim, radius, channels):
    toy = SphereToy(dim, radius, channels, seed=3)
    x = toy.sample(4000)
    norms = x.norm(dim=1)
    assert x.shape == (4000, channels or dim)
    assert norms.min() > radius[0] - 1e-5 and norms.max() < radius[1] + 1e-5
    assert float(norms.mean()) == pytest.approx(sum(radius) / 2, abs=0.03)
    torch.testing.assert_close(toy.frame.T @ toy.frame, torch.eye(dim), atol=1e-6, rtol=0)
    flat = x @ toy.frame
    torch.testing.assert_close(toy.embed(flat), x, atol=1e-5, rtol=0)
    unit = flat / norms[:, None]  # evenly: no mean, the same variance along every axis
    assert unit.mean(0).abs().max() < 0.06
    torch.testing.assert_close(unit.T @ unit / len(unit), torch.eye(dim) / dim, atol=0.03, rtol=0)


def test_samples_depend_on_their_seed_only():
    toy = SphereToy(dim=3, channels=6, seed=1)
    assert torch.equal(toy.sample(10, 4), SphereToy(dim=3, channels=6, seed=1).sample(10, 4))
    assert not torch.equal(toy.sample(10, 4), toy.sample(10, 5))
    assert torch.equal(toy.source(10, 4).blocks[:, 0], toy.sample(10, 4)) and toy.source(10).group.order == 1


@pytest.mark.parametrize("count, dim, nearest", [
    (2, 3, 2.0), (4, 3, (8 / 3) ** 0.5), (6, 3, 2**0.5), (12, 3, 1.05146), (8, 4, 2**0.5), (5, 4, 2.5**0.5)])
def test_known_best_directions_are_found(count, dim, nearest):
    """Antipodes, tetrahedron, octahedron, icosahedron, cross-polytope and simplex in four dimensions."""
    directions = spread_directions(count, dim)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(count))
    assert float(torch.pdist(directions).min()) == pytest.approx(nearest, abs=2e-3)


def test_in_the_plane_they_are_equally_spaced():
    assert torch.equal(spread_directions(7, 2), circle_directions(7))
    assert float(torch.pdist(spread_directions(2, 2))) == pytest.approx(2, abs=1e-4)


def test_the_gradient_of_the_energy_in_pieces(monkeypatch):
    points = np.random.default_rng(0).standard_normal((9, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    whole = _riesz(points, 2)
    monkeypatch.setattr("groupcc_lite.manifolds.spheres._PAIRS", 20)
    pieces = _riesz(points, 2)
    assert pieces[0] == pytest.approx(whole[0]) and np.allclose(pieces[1], whole[1])
    # Along the sphere: there moving a point changes distances as 2 - 2 x . y says.
    move = np.cross(points[4], [0.3, -0.2, 0.9]) * 1e-6
    turned = points.copy()
    turned[4] = (points[4] + move) / np.linalg.norm(points[4] + move)
    assert (_riesz(turned, 2)[0] - whole[0]) / (whole[1][4] @ move) == pytest.approx(1, abs=1e-3)


def test_the_excess_on_a_sphere_falls_as_one_over_the_number_of_directions():
    """beta = 2 / (d - 1) is 1 in three dimensions; on few directions only roughly."""
    x, excess = SphereToy(dim=3).sample(300), []
    for count in (24, 96):
        found = optimal_codes(x, spread_directions(count, 3), 0.02, tolerance=1e-4)
        excess.append(float(found.latents.sum(1).mean()) + 0.01 - 1)  # a penalty takes about lambda / 2 off each
    assert 0.8 < np.log(excess[0] / excess[1]) / np.log(4) < 1.3


@pytest.mark.parametrize("call, message", [
    (lambda: SphereToy(dim=0), "dim=0"), (lambda: SphereToy(dim=3, channels=2), "channels=2"),
    (lambda: SphereToy(dim=2, radius=(1.0, 0.5)), "rising order"), (lambda: SphereToy(2).sample(0), "count is 0"),
    (lambda: spread_directions(1, 3), "count is 1"), (lambda: spread_directions(3, 1), "dim 1")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
