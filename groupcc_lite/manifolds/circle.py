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

import torch
from jaxtyping import Float
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


def _checked(count: int) -> int:
    if count < 3:
        raise ValueError(f"the number of directions is {count}; expected at least 3, which can reach all of a plane")
    return count
