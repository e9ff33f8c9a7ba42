"""A circle that latents tile: the best codes on n equally spaced directions, in closed form.

x lies on the unit circle, the dictionary has the directions at 2 pi k / n, and codes minimise the loss of a ReLU coder,
||x - D f||^2 + lambda sum_i f_i over f >= 0. With Delta = 2 pi / n, x at the angle psi from its nearest direction and
phi = Delta / 2 - psi from the middle m between its two nearest, the conditions of Karush, Kuhn and Tucker leave
three cases, with r = x - D f and d_i . r <= lambda / 2, equal where f_i > 0:

- two directions are active while sin psi > (lambda / 2) tan(Delta / 2), r = rho m, rho = lambda / (2 cos(Delta / 2));
- nearer to a direction it is alone, f = cos psi - lambda / 2;
- none is, once lambda / 2 >= cos psi.

So with lambda > 0 there is a zone around each direction where one latent fires, and between these two do. All numbers
here are means over the angle; for radius R they hold with lambda / R in the place of lambda and losses times R^2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor


def circle_directions(count: int) -> Float[Tensor, "n 2"]:
    """`count` unit vectors of the plane at equal angles, the first along the first axis. ValueError for fewer than 3.

    >>> circle_directions(4).round().tolist()
    [[1.0, 0.0], [-0.0, 1.0], [-1.0, -0.0], [0.0, -1.0]]
    """
    angles = torch.arange(_checked(count)) * (2 * math.pi / count)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def circle_l1(count: int) -> float:
    """Mean L1 norm of exact codes of the unit circle on n = `count` equally spaced directions: (n / pi) tan(pi / n).

    Derivation: x between two directions that are Delta apart, at the angle phi from their middle, is their combination
    with coefficients that add up to cos phi / cos(Delta / 2). What exceeds 1 is pi^2 / (3 n^2) to leading order: a
    circle has beta = 2. ValueError for fewer than 3 directions, which have no exact codes.

    >>> [round(circle_l1(n), 3) for n in (4, 8, 24)]
    [1.273, 1.055, 1.006]
    """
    return _checked(count) / math.pi * math.tan(math.pi / count)


class CircleOptimum(NamedTuple):
    """What the best codes of a circle cost; `circle_optimum` gives it.

    >>> found = circle_optimum(8, penalty=0.2)
    >>> abs(found.loss - (found.reconstruction + 0.2 * found.l1)) < 1e-12
    True
    """

    loss: float
    """Mean of ||x - D f||^2 + lambda sum_i f_i."""
    reconstruction: float
    """Mean of ||x - D f||^2."""
    l1: float
    """Mean of sum_i f_i."""
    active: float
    """Mean number of latents that fire."""


def circle_optimum(count: int, penalty: float) -> CircleOptimum:
    """The least loss with lambda = `penalty` of codes on n = `count` equally spaced directions, exact for any lambda.

    No encoder with these directions does better. One layer with a ReLU reaches it on four, which are orthogonal or
    opposite, relu(d_i . x - lambda / 2); training with more directions ends above it, see `amortisation`. Derivation at
    the head of this module. ValueError for fewer than 3 directions, or a negative penalty.

    >>> [round(circle_optimum(n, penalty=0.2).loss, 4) for n in (4, 8, 24)]
    [0.2351, 0.1993, 0.191]
    >>> round(circle_optimum(8, penalty=1e-6).l1, 3) == round(circle_l1(8), 3)
    True
    """
    half, weight = math.pi / _checked(count), penalty / 2
    if not 0 <= penalty < math.inf:
        raise ValueError(f"penalty is {penalty}; expected a number from 0")
    # Angles from the nearest direction, 0 to half: one is active up to `alone`, none from `silent` on, two between.
    silent = math.acos(min(1.0, weight))
    two = weight < math.cos(half)
    alone = math.asin(weight * math.tan(half)) if two else min(half, silent)
    # One active: ||r||^2 = sin^2 psi + weight^2.
    error = alone / 2 - math.sin(2 * alone) / 4 + weight**2 * alone
    l1, active = math.sin(alone) - weight * alone, alone
    if two:
        rho, phi = weight / math.cos(half), half - alone
        error += rho**2 * phi
        l1 += (math.sin(phi) - rho * phi) / math.cos(half)
        active += 2 * phi
    else:
        error += half - alone
    return CircleOptimum((error + penalty * l1) / half, error / half, l1 / half, active / half)


class OneLayer(NamedTuple):
    """The best encoder f_i = gain relu(d_i . x - threshold) on equal angles; `circle_one_layer` gives it.

    >>> OneLayer(loss=0.2, gain=1.0, threshold=0.1).threshold
    0.1
    """

    loss: float
    """Mean of ||x - D f||^2 + lambda sum_i f_i."""
    gain: float
    threshold: float


def circle_one_layer(count: int, penalty: float, *, points: int = 2000) -> OneLayer:
    """What one layer with a ReLU can reach on n = `count` equally spaced directions if all latents are alike.

    By symmetry the best gain and threshold are sought once for all latents, on angles spread evenly between two
    directions (`points` of them), from several starts. Training that ends above this has not ended; what lies between
    this and `circle_optimum` is the price of one layer. ValueError for fewer than 3 directions.

    >>> [round(circle_one_layer(n, penalty=0.2).loss, 4) for n in (4, 8, 24)]
    [0.2351, 0.2046, 0.1939]
    """
    half = math.pi / _checked(count)
    angle = half * (np.arange(points) + 0.5) / points  # from a direction to the middle: all else is a mirror image
    centres = 2 * half * np.arange(count)
    x, D = np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([np.cos(centres), np.sin(centres)], 1)
    along = x @ D.T

    def loss(settings: np.ndarray) -> float:
        f = settings[0] * np.maximum(along - settings[1], 0)
        return float(((x - f @ D) ** 2).sum(1).mean() + penalty * f.sum(1).mean())

    starts = [(1.0 / (count * share), math.cos(math.pi * share)) for share in (0.1, 0.2, 0.35, 0.5)]
    starts += [(1.0, penalty / 2), (1.0 / (1 - math.cos(2 * half)), math.cos(2 * half))]
    found = min((minimize(loss, start, method="Nelder-Mead", options=dict(xatol=1e-8, fatol=1e-12, maxiter=2000))
                 for start in starts), key=lambda one: one.fun)
    return OneLayer(float(found.fun), *map(float, found.x))


def _checked(count: int) -> int:
    if count < 3:
        raise ValueError(f"the number of directions is {count}; expected at least 3, which can reach all of a plane")
    return count
