"""A group acting on the plane: on images by rotating and mirroring them, on points by matrices.

(g I)(q) = I(g^-1 q) with q measured from the image centre, so that what is at p in I is at g p in g I. Points are
pixels from the image centre, x right, y down. r is counter-clockwise and s is left <-> right, as seen on the screen.

Elements that map pixels to pixels (signed permutation matrices: the part of the group inside D_4) are done by flips and
transposes, bit for bit. The others need one bilinear interpolation, straight from the source image. Only one element of
each coset of the exact ones is interpolated; the rest of the coset are exact transforms of that, so (h g) I = h (g I)
holds bit for bit whenever h is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, SupportsIndex

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from groupcc_lite.actions.action import chosen_elements
from groupcc_lite.groups import FiniteGroup, cyclic, dihedral

_TOLERANCE = 1e-9  # for matrices given in double precision


class PlanarAction:
    """A group acting on images and points by rotations and mirrors about the image centre.

    `matrices`: (|G|, 2, 2), orthogonal, matrices[g] @ matrices[h] = matrices[gh], acting on (x right, y down).
    Cyclic and dihedral groups have theirs built in; any other group must bring its own. ValueError if they are no
    action of the group. An `Action`.

    >>> from groupcc_lite.groups import dihedral
    >>> action = PlanarAction(dihedral(8))
    >>> action
    PlanarAction(D_8 (order 16), 8 of 16 elements exact)
    >>> action.images(torch.rand(2, 3, 138, 138), 96).shape
    torch.Size([16, 2, 3, 96, 96])
    >>> action.points(torch.tensor([10.0, 0.0]))[:5:2].round().tolist()  # r^2 is a quarter turn, counter-clockwise
    [[10.0, 0.0], [0.0, -10.0], [-10.0, 0.0]]
    """

    def __init__(self, group: FiniteGroup, matrices: Any = None):
        self.group = group
        if matrices is None and (matrices := standard_matrices(group)) is None:
            raise ValueError(f"how {group.name} moves the plane is not known; expected cyclic(n) or dihedral(n), or "
                             f"pass matrices, an array ({group.order}, 2, 2), one matrix per element")
        self.matrices: Float[np.ndarray, "g 2 2"] = _checked(matrices, group)
        whole = np.abs(self.matrices) < 0.5
        self.exact: Bool[np.ndarray, " g"] = (np.abs(self.matrices) == np.where(whole, 0, 1)).all(axis=(1, 2))
        self.exact.setflags(write=False)
        self._source = coset_sources(group, self.exact)

    def __repr__(self) -> str:
        return f"PlanarAction({self.group!r}, {int(self.exact.sum())} of {self.group.order} elements exact)"

    @property
    def fingerprint(self) -> Any:
        """What tells this action from others of the same group, as plain lists and numbers.

        It is a part of the addresses of all artefacts, so for an action that moves only the plane it stays what it is.
        """
        return self.matrices.tolist()

    def conjugated(self, degrees: float) -> PlanarAction:
        """The same group about turned axes: every g becomes t g t^-1, t the rotation by `degrees`, counter-clockwise.

        Rotations stay what they are. Axes of mirrors turn by `degrees`. In D_n they lie 180 / n degrees apart, so by a
        multiple of that the same mirrors get each other's names; by half of it, for n a multiple of 4, no mirror moves
        pixels to pixels any more.

        >>> from groupcc_lite.groups import dihedral
        >>> PlanarAction(dihedral(16)).conjugated(11.25).exact.sum(), PlanarAction(dihedral(16)).conjugated(5.625)
        (np.int64(8), PlanarAction(D_16 (order 32), 4 of 32 elements exact))
        """
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = np.array([[cos, sin], [-sin, cos]])
        return PlanarAction(self.group, turn @ self.matrices @ turn.T)

    def source_size(self, size: int) -> int:
        """Side of the source image that lets a crop of `size` pixels turn to any angle without showing a corner.

        Includes a pixel for the bilinear stencil: 320 for 224, 138 for 96. Just `size` if every element is exact.
        """
        _check_size(size)
        return size if self.exact.all() else 2 * math.ceil(size / math.sqrt(2)) + 2

    def images(self, x: Float[Tensor, "b c h w"], size: int | None = None,
               elements: Sequence[SupportsIndex] | None = None) -> Float[Tensor, "g b c s s"]:
        """The images g I, cropped at the centre to `size` pixels, for all elements or the given ones, in their order.

        `size` defaults to the largest whose rotations stay inside the source. An even crop of an odd source, or an
        odd one of an even source, leaves out the source's last row and column, so that both have one centre.
        ValueError if a corner of some g I would lie outside the source.
        """
        elements = chosen_elements(self.group, elements)
        for row, view in enumerate(self.views(x, size, elements)):
            if row == 0:
                out = x.new_empty((len(elements), *view.shape))
            out[row] = view
        return out

    def views(self, x: Float[Tensor, "b c h w"], size: int | None = None,
              elements: Sequence[SupportsIndex] | None = None) -> Iterator[Float[Tensor, "b c s s"]]:
        """The images of `images` one after the other, for whoever need not have all of them in memory.

        Images are interpolated once, when the first is asked for; a view may share memory with others.

        >>> from groupcc_lite.groups import dihedral
        >>> [tuple(view.shape) for view in PlanarAction(dihedral(2)).views(torch.rand(1, 3, 8, 8), elements=[1, 3])]
        [(1, 3, 8, 8), (1, 3, 8, 8)]
        """
        _check_images(x)
        elements = chosen_elements(self.group, elements)
        size = self._largest(min(x.shape[-2:])) if size is None else size
        _check_size(size)
        source = _centre_window(x, min(x.shape[-2:]), size)
        self._check_fits(source.shape[-1], size, elements, tuple(x.shape[-2:]))
        wanted = sorted({self._source[g][1] for g in elements} - {0})
        sampled = {0: _centre_window(source, size, size)}
        if wanted:
            sampled |= dict(zip(wanted, _resample(source, self.matrices[wanted], size), strict=True))
        for h, k in (self._source[g] for g in elements):
            yield _permute_pixels(sampled[k], self.matrices[h])

    def points(self, p: Float[Tensor, "*p 2"],
               elements: Sequence[SupportsIndex] | None = None) -> Float[Tensor, "g *p 2"]:
        """g p for all elements or the given ones; pixels from the image centre, x right, y down."""
        if p.shape[-1:] != (2,) or not p.is_floating_point():
            raise ValueError(f"points have shape {tuple(p.shape)} and type {p.dtype}; expected (..., 2), floating "
                             "point, pixels from the image centre")
        matrices = torch.tensor(self.matrices[chosen_elements(self.group, elements)], dtype=p.dtype, device=p.device)
        return torch.einsum("gij,...j->g...i", matrices, p)

    def _reach(self, size: int, elements: Sequence[int]) -> float:
        """How far from the centre, along x or y, the corners of a crop are read."""
        return (size - 1) / 2 * float(np.abs(self.matrices[elements]).sum(axis=1).max())

    def _largest(self, available: int) -> int:
        everything = range(self.group.order)
        fitting = (size for size in range(available, 0, -1)
                   if self._reach(size, everything) <= (_same_parity(available, size) - 1) / 2 + _TOLERANCE)
        return next(fitting)  # one pixel always fits

    def _check_fits(self, available: int, size: int, elements: list[int], shape: tuple[int, ...]) -> None:
        if self._reach(size, elements) > (available - 1) / 2 + _TOLERANCE:
            raise ValueError(f"size is {size}, but source images of {shape[0]} x {shape[1]} would show corners when "
                             f"turned by {self.group.name}; use sources of at least {self.source_size(size)} px, or "
                             f"a size of at most {self._largest(min(shape))}")


def standard_matrices(group: FiniteGroup) -> Float[np.ndarray, "g 2 2"] | None:
    """Matrices of cyclic and dihedral groups on (x right, y down); None for any other group.

    Names count too: C_2 x C_2 has the table of D_2, but another meaning.

    >>> standard_matrices(cyclic(4))[1].round(6).tolist()  # a quarter turn takes x (right) to -y (up)
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    n = group.order
    if group.names == cyclic(n).names and group == cyclic(n):
        return _rotations(n)
    if n % 2 == 0 and group.names == dihedral(n // 2).names and group == dihedral(n // 2):
        rotations = _rotations(n // 2)
        return np.concatenate([rotations, np.diag([-1.0, 1.0]) @ rotations])
    return None


def _rotations(n: int) -> np.ndarray:
    """Counter-clockwise as seen on the screen; with y pointing down the signs of the sines are swapped."""
    angles = 2 * np.pi * np.arange(n) / n
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)


def _checked(matrices: Any, group: FiniteGroup) -> np.ndarray:
    matrices = as_matrices("matrices", matrices, group, side=2)
    gram = np.swapaxes(matrices, 1, 2) @ matrices
    wrong = np.flatnonzero(~(np.abs(gram - np.eye(2)) <= _TOLERANCE).all(axis=(1, 2)))
    if len(wrong):
        raise ValueError(f"the matrix of {group.names[wrong[0]]} is {matrices[wrong[0]].tolist()}; expected an "
                         "orthogonal one (a rotation or a mirror), in double precision")
    return as_homomorphism("matrices", matrices, group)


def as_matrices(name: str, matrices: Any, group: FiniteGroup, *, side: int) -> Float[np.ndarray, "g k k"]:
    """A copy in double precision; ValueError, under this name, unless it is one square matrix for each element."""
    matrices = np.array(matrices, dtype=np.float64)
    if matrices.shape != (group.order, side, side):
        raise ValueError(f"{name} have shape {matrices.shape}; expected ({group.order}, {side}, {side}), one matrix "
                         f"per element of {group.name}")
    return matrices


def as_homomorphism(name: str, matrices: Float[np.ndarray, "g k k"], group: FiniteGroup) -> Float[np.ndarray, "g k k"]:
    """The same matrices, entries next to an integer rounded, read-only; ValueError if they do not multiply like the
    group."""
    products = matrices[:, None] @ matrices[None]
    wrong = np.argwhere(~(np.abs(products - matrices[group.table]) <= 4 * _TOLERANCE).all(axis=(2, 3)))
    if len(wrong):
        g, h = (group.names[k] for k in wrong[0])
        raise ValueError(f"{name} are no action of {group.name}: the matrix of {g} times the matrix of {h} is not "
                         f"the matrix of their product {group.names[group.table[tuple(wrong[0])]]}")
    rounded = np.round(matrices)
    matrices = np.where(np.abs(matrices - rounded) <= _TOLERANCE, rounded, matrices) + 0.0  # + 0.0 turns -0.0 into 0.0
    matrices.setflags(write=False)
    return matrices


def coset_sources(group: FiniteGroup, exact: Bool[np.ndarray, " g"]) -> list[tuple[int, int]]:
    """For each g a pair (h, k) with g = h k, h exact and k the first element of g's coset."""
    pairs: dict[int, tuple[int, int]] = {}
    table = group.table
    for k in range(group.order):
        for h in np.flatnonzero(exact) if k not in pairs else ():
            pairs.setdefault(int(table[h, k]), (int(h), k))
    return [pairs[g] for g in range(group.order)]


def _permute_pixels(x: Tensor, matrix: np.ndarray) -> Tensor:
    """g I for a signed permutation matrix; I is read at g^-1 q = matrix^T q."""
    transposed = matrix[0, 0] == 0
    if transposed:
        x = x.transpose(-1, -2)
    read_y, read_x = (matrix[1, 0], matrix[0, 1]) if transposed else (matrix[1, 1], matrix[0, 0])
    flips = [axis for axis, sign in ((-2, read_y), (-1, read_x)) if sign < 0]
    return x.flip(flips) if flips else x


def _resample(source: Tensor, matrices: np.ndarray, size: int) -> list[Tensor]:
    """g I for each of the matrices by one bilinear interpolation of all; half precision is interpolated in float32."""
    dtype = source.dtype if source.dtype == torch.float64 else torch.float32
    # Views lie below each other in one tall picture: an image is then read where it lies, and not copied for each view.
    grid = torch.cat([_grid(tuple(matrix.flatten().tolist()), size, source.shape[-1], dtype, source.device)
                      for matrix in matrices], dim=1).expand(len(source), -1, -1, -1)
    # Every sample lies inside (checked); "border" only absorbs the rounding of those that lie on the outermost pixels.
    tall = F.grid_sample(source.to(dtype), grid, padding_mode="border", align_corners=False).to(source.dtype)
    return list(tall.split(size, dim=-2))


@lru_cache(maxsize=64)
def _grid(matrix: tuple[float, ...], size: int, available: int, dtype: torch.dtype,
          device: torch.device) -> Float[Tensor, "1 s s 2"]:
    """Where each output pixel is read, in grid_sample's units, in which the window's edges are at -1 and 1."""
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    read = torch.stack([x, y], dim=-1) @ torch.tensor(matrix, dtype=torch.float64).view(2, 2)  # row form of matrix^T q
    return (read * 2 / available)[None].to(dtype=dtype, device=device)


def _same_parity(available: int, size: int) -> int:
    return available - (available - size) % 2


def _centre_window(x: Tensor, available: int, size: int) -> Tensor:
    """The largest square of at most `available` pixels whose centre is that of a crop of `size` pixels."""
    side = _same_parity(available, size)
    top, left = ((length - side) // 2 for length in x.shape[-2:])
    return x[..., top:top + side, left:left + side]


def _check_images(x: Tensor) -> None:
    if x.ndim != 4 or not min(x.shape[-2:]) or not x.is_floating_point():
        raise ValueError(f"images have shape {tuple(x.shape)} and type {x.dtype}; expected (batch, channels, height, "
                         "width), floating point")


def _check_size(size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; expected the side of the output in pixels, a positive integer")
