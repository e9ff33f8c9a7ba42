"""Toys whose only feature is a sphere, and directions that tile one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from groupcc_lite.groups import cyclic
from groupcc_lite.manifolds.circle import circle_directions
from groupcc_lite.orbits import TensorOrbits

_PAIRS = 2**22  # of directions that are looked at together: some 100 MiB


@dataclass(frozen=True, eq=False)
class SphereToy:
    """Points spread evenly on S^(dim - 1), with radii spread evenly over an interval, in a random plane of R^channels.

    `dim` 2 is a circle. `radius`: (1, 1) is hollow, (0.5, 1.5) varies. `channels` from `dim` on, None for as many;
    `seed` draws the plane. A coder learns it as any other data, `train(sae, toy.source(10_000), sparsity=0.2, ...)`.
    ValueError for settings that do not fit.

    >>> toy = SphereToy(dim=2, radius=(0.5, 1.5), channels=5)
    >>> norms = toy.sample(1000).norm(dim=1)
    >>> toy.source(1000).blocks.shape, bool((norms > 0.5).all() and (norms < 1.5).all())
    (torch.Size([1000, 1, 5]), True)
    """

    dim: int
    radius: tuple[float, float] = (1.0, 1.0)
    channels: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.radius
        if self.dim < 1 or (self.channels is not None and self.channels < self.dim) or not 0 <= low <= high < np.inf:
            raise ValueError(f"dim={self.dim}, channels={self.channels}, radius={self.radius}: expected at least one "
                             "dimension, as many channels or more, and radii from 0 in rising order")

    @cached_property
    def frame(self) -> Float[Tensor, "c dim"]:
        """Orthonormal columns that span the sphere's plane; the identity where it fills all channels."""
        if self.channels in (None, self.dim):
            return torch.eye(self.dim)
        rng = np.random.default_rng([self.seed, 0])
        q, r = np.linalg.qr(rng.standard_normal((self.channels, self.dim)))
        return torch.from_numpy(q * np.sign(np.diag(r))).float()

    def embed(self, vectors: Float[Tensor, "n dim"]) -> Float[Tensor, "n c"]:
        """Vectors of the sphere's own space in all channels, such as directions that tile it.

        >>> SphereToy(dim=2, channels=5).embed(circle_directions(8)).shape
        torch.Size([8, 5])
        """
        return vectors @ self.frame.T.to(vectors)

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "n c"]:
        """`count` independent points; another `seed` gives others in the same plane. ValueError for none."""
        if count < 1:
            raise ValueError(f"count is {count}; expected at least 1 point")
        rng = np.random.default_rng([self.seed, 1, seed])
        points = rng.standard_normal((count, self.dim))
        points *= rng.uniform(*self.radius, (count, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
        return self.embed(torch.from_numpy(points.astype(np.float32)))

    def source(self, count: int, seed: int = 0) -> TensorOrbits:
        """The points of `sample` as training reads them: orbits of the trivial group."""
        return TensorOrbits(self.sample(count, seed)[:, None], cyclic(1))


def spread_directions(count: int, dim: int, *, seed: int = 0, steps: int = 500) -> Float[Tensor, "n dim"]:
    """`count` unit vectors of R^dim that lie far from each other: a tiling of S^(dim - 1) that is nearly uniform.

    They minimise the Riesz energy sum 1 / |x - y|^s, with s = dim - 1, the sphere's dimension, at which minimal points
    become uniform as their number grows (Hardin and Saff 2005). L-BFGS from a random start of `seed` takes `steps` at
    most and finds a local minimum; directions come in no order. In the plane they are `circle_directions`. A second for
    300 in 3 dimensions, ten for 1,000 in 5. ValueError for fewer than 2 directions or dimensions.

    >>> tetrahedron = spread_directions(4, dim=3)
    >>> (tetrahedron @ tetrahedron.T)[0, 1:].mul(3).round().tolist()
    [-1.0, -1.0, -1.0]
    """
    if count < 2 or dim < 2:
        raise ValueError(f"count is {count} and dim {dim}; expected at least 2 of each")
    if dim == 2 and count > 2:
        return circle_directions(count)

    def energy(flat: Float[np.ndarray, " entries"]) -> tuple[float, Float[np.ndarray, " entries"]]:
        points = flat.reshape(count, dim)
        norms = np.linalg.norm(points, axis=1, keepdims=True)
        value, slope = _riesz(points / norms, dim - 1)
        return value, ((slope - (slope * points).sum(1, keepdims=True) * points / norms**2) / norms).ravel()

    start = np.random.default_rng(seed).standard_normal((count, dim))
    found = minimize(energy, (start / np.linalg.norm(start, axis=1, keepdims=True)).ravel(), jac=True,
                     method="L-BFGS-B", options=dict(maxiter=steps, ftol=1e-13, gtol=1e-9))
    points = found.x.reshape(count, dim)
    return torch.from_numpy(points / np.linalg.norm(points, axis=1, keepdims=True)).float()


def _riesz(points: Float[np.ndarray, "n dim"], power: int) -> tuple[float, Float[np.ndarray, "n dim"]]:
    """Mean of 1 / |x - y|^power over all pairs, and its gradient; some rows of pairs at a time."""
    value, slope = 0.0, np.zeros_like(points)
    rows = max(1, _PAIRS // len(points))
    for first in range(0, len(points), rows):
        some = points[first:first + rows]
        squares = np.maximum(2 - 2 * some @ points.T, 1e-12)
        squares[np.arange(len(some)), first + np.arange(len(some))] = np.inf
        inverse = squares ** (-power / 2)
        value += inverse.sum()
        pull = inverse / squares  # each pair counts twice, once from either end
        slope[first:first + rows] = -2 * power * (pull.sum(1, keepdims=True) * some - pull @ points)
    pairs = len(points) * (len(points) - 1)
    return float(value) / pairs, slope / pairs
