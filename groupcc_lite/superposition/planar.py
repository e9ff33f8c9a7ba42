"""Features in two dimensions: the strongest attack exactly, and the loss around an input.

An attack delta on x^ = ReLU(W^T W x + b) acts through u = W delta alone, a vector of the plane, and an L2 ball of
inputs becomes an ellipse: u = eps R e, R = (W W^T)^(1/2), ||e|| <= 1, reached by delta = W^T (W W^T)^-1 u at the least
norm. The loss is then F(u) = sum_i I_i (ReLU(c_i + w_i . u) - x_i)^2 with c = W^T W x + b. The lines c_i + w_i . u = 0
cut the plane into pieces; on each F is a sum of squares of what is linear, hence convex, and a convex function is
largest at an extreme point of a piece: where two lines cross, or on the ellipse. There, on an arc between lines, F is

    p + q cos t + r sin t + s cos 2t + v sin 2t,

whose derivative vanishes at roots of a polynomial of degree 4 in e^it. So the best attack is the best of finitely many.
Where one feature is on and eps is small only its own output moves, and the best attack is the gradient of that output,
W^T w_i: on each feature as much as it overlaps with i. It adds eps^2 ||W^T w_i||^2 (`attack_gain`) to the loss.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class PlanarAttack(NamedTuple):
    """The strongest attack on one input; `planar_attack` finds it.

    >>> import numpy as np
    >>> pair = np.array([[1.0, -1.0], [0.0, 0.0]])
    >>> found = planar_attack(pair, np.zeros(2), np.array([0.5, 0.0]), eps=0.1)
    >>> (found.delta / found.delta[0]).round(3).tolist(), round(found.loss, 3)
    ([1.0, -1.0], 0.02)
    """

    delta: Float[np.ndarray, " n"]
    """The attack in the input, ||delta|| <= eps."""
    hidden: Float[np.ndarray, " 2"]
    """W delta."""
    loss: float
    """Of the attacked input."""
    clean: float
    """Of the input itself."""


def planar_attack(W: Float[np.ndarray, "2 n"], b: Float[np.ndarray, " n"], x: Float[np.ndarray, " n"], eps: float, *,
                  importance: Float[np.ndarray, " n"] | None = None) -> PlanarAttack:
    """The attack within ||delta|| <= eps that raises the loss of a toy model with two dimensions most: exact.

    For any number of features, two and three included; derivation at the head of this module. Features in one dimension
    are a W with a row of zeros. Where several attacks are as good, one of them. ValueError for shapes that do not fit,
    or a negative eps.

    >>> import numpy as np
    >>> from groupcc_lite.manifolds import circle_directions
    >>> triangle, x = circle_directions(3).numpy().T, np.array([0.5, 0.0, 0.0], dtype=np.float32)
    >>> found = planar_attack(triangle, np.zeros(3, dtype=np.float32), x, eps=0.1)
    >>> (found.delta / found.delta[0]).round(2).tolist(), round(100 * found.loss, 2)  # w_0 . w_j, and 3 / 2
    ([1.0, -0.5, -0.5], 1.5)
    """
    plane = _Plane.of(W, b, x, importance)
    if not 0 <= eps < np.inf:
        raise ValueError(f"eps is {eps}; expected a radius from 0")
    R = eps * plane.root
    angles = _angles(plane, R)
    candidates = np.concatenate([np.zeros((1, 2)), np.stack([np.cos(angles), np.sin(angles)], 1) @ R,
                                 _crossings(plane, R)])
    losses = plane.loss(candidates)
    best = candidates[losses.argmax()]
    return PlanarAttack(np.linalg.pinv(plane.W, rcond=1e-9) @ best, best, float(losses.max()), float(losses[0]))


class Landscape(NamedTuple):
    """The loss around an input, over the plane of hidden vectors; `loss_landscape` makes it.

    >>> import numpy as np
    >>> found = loss_landscape(np.eye(2), np.zeros(2), np.array([0.5, 0.0]), eps=0.1, points=5)
    >>> found.loss.shape, bool((np.linalg.norm(found.rim, axis=1).round(6) == 0.1).all())
    ((5, 5), True)
    """

    axis: Float[np.ndarray, " points"]
    """Coordinates of the grid along both axes of the plane, about the hidden vector of the input."""
    loss: Float[np.ndarray, "points points"]
    """Loss at u = (axis[column], axis[row])."""
    rim: Float[np.ndarray, "angles 2"]
    """u on the edge of what an attack of norm eps reaches: an ellipse, or a line there and back."""


def loss_landscape(W: Float[np.ndarray, "2 n"], b: Float[np.ndarray, " n"], x: Float[np.ndarray, " n"], eps: float, *,
                   reach: float = 1.5, points: int = 101,
                   importance: Float[np.ndarray, " n"] | None = None) -> Landscape:
    """The loss of a toy model with two dimensions at every hidden vector W x + u that an attack reaches, and around.

    The grid goes `reach` times as far as the furthest attack. ValueError as for `planar_attack`.

    >>> import numpy as np
    >>> found = loss_landscape(np.eye(2), np.zeros(2), np.array([0.5, 0.0]), eps=0.1, reach=1.0, points=3)
    >>> found.loss.round(2).tolist()  # below: the second feature's ReLU
    [[0.01, 0.0, 0.01], [0.01, 0.0, 0.01], [0.02, 0.01, 0.02]]
    """
    plane = _Plane.of(W, b, x, importance)
    if not 0 < eps < np.inf or points < 2 or not reach > 0:
        raise ValueError(f"eps={eps}, reach={reach}, points={points}: expected positive numbers, and 2 points or more")
    t = np.linspace(0, 2 * np.pi, 361)
    rim = eps * np.stack([np.cos(t), np.sin(t)], 1) @ plane.root
    axis = np.linspace(-1, 1, points) * reach * np.linalg.norm(rim, axis=1).max()
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    return Landscape(axis, plane.loss(grid).reshape(points, points), rim)


class _Plane(NamedTuple):
    """F(u) = sum_i I_i (ReLU(c_i + w_i . u) - x_i)^2, float64, and R / eps."""

    W: np.ndarray
    c: np.ndarray
    x: np.ndarray
    importance: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, W: np.ndarray, b: np.ndarray, x: np.ndarray, importance: np.ndarray | None) -> _Plane:
        weights = np.ones(W.shape[-1]) if importance is None else importance
        if W.ndim != 2 or len(W) != 2 or not W.shape[1:] == b.shape == x.shape == weights.shape:
            raise ValueError(f"W has shape {W.shape}, b {b.shape}, x {x.shape} and the importance {weights.shape}; "
                             "expected (2, n) and three times (n,)")
        W, b, x, weights = (np.asarray(part, dtype=np.float64) for part in (W, b, x, weights))
        values, vectors = np.linalg.eigh(W @ W.T)
        return cls(W, W.T @ (W @ x) + b, x, weights, vectors * np.sqrt(values.clip(0)) @ vectors.T)

    def loss(self, u: np.ndarray) -> np.ndarray:
        return np.square(np.maximum(self.c + u @ self.W, 0) - self.x) @ self.importance


def _angles(plane: _Plane, R: np.ndarray) -> np.ndarray:
    """Angles on the ellipse at which F can be largest: at the lines, and where its derivative vanishes on an arc."""
    along = R @ plane.W  # c_i + along_i . e at the unit vector e
    amplitude = np.hypot(*along)
    met = (np.abs(plane.c) <= amplitude) & (amplitude > 0)
    middle, half = np.arctan2(along[1, met], along[0, met]), np.arccos(-plane.c[met] / amplitude[met])
    breaks = np.sort(np.concatenate([middle + half, middle - half]) % (2 * np.pi))
    starts = breaks if len(breaks) else np.zeros(1)
    ends = np.append(starts[1:], starts[0] + 2 * np.pi)
    found = [breaks]
    for t in (starts + ends) / 2:
        on = plane.c + np.cos(t) * along[0] + np.sin(t) * along[1] > 0
        a, d = along[:, on], (plane.c - plane.x)[on]
        weights = plane.importance[on]
        q, r = 2 * a * d @ weights
        s, v = np.array([(a[0] ** 2 - a[1] ** 2) / 2, a[0] * a[1]]) @ weights
        # z = e^it turns -q sin t + r cos t - 2 s sin 2t + 2 v cos 2t into a polynomial over z^2.
        roots = np.roots([v + 1j * s, (r + 1j * q) / 2, 0, (r - 1j * q) / 2, v - 1j * s])
        # Where F is the same all along an arc, any point of it will do, and there are no roots.
        found += [np.angle(roots[np.abs(roots) > 0]), np.array([t])]
    return np.concatenate(found)


def _crossings(plane: _Plane, R: np.ndarray) -> np.ndarray:
    """Where two of the lines cross inside the ellipse."""
    i, j = np.triu_indices(plane.W.shape[1], 1)
    first, second = plane.W[:, i], plane.W[:, j]
    area = first[0] * second[1] - first[1] * second[0]
    crossing = np.abs(area) > 1e-12
    if not crossing.any():
        return np.zeros((0, 2))
    i, j, first, second = i[crossing], j[crossing], first[:, crossing], second[:, crossing]
    u = np.stack([plane.c[j] * first[1] - plane.c[i] * second[1],
                  plane.c[i] * second[0] - plane.c[j] * first[0]], 1) / area[crossing, None]
    # Two lines cross, so W spans the plane and R can be divided by, unless nothing is allowed.
    inside = np.linalg.norm(u @ np.linalg.pinv(R), axis=1) <= 1 if R.any() else np.zeros(len(u), bool)
    return u[inside]
