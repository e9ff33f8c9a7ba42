"""A group acting on the colours of images, alone or together with an action on the plane.

A colour is a point of the RGB cube. Its grey is the mean of the three channels; the rest of it lies in a plane across
the grey axis, the hue circle: seen with red on top, green is at the lower left and blue at the lower right. Matrices
here keep greys and brightness, so a group acts on colours as it may act on the plane: C_n turns the hue
counter-clockwise by 2 pi / n (red, yellow, green, ...), and in D_n the mirror s swaps green and blue. With n = 3 these
are permutations of the channels, done bit for bit.

The hue circle is round and the cube is not: pure red turned by 60 degrees has less than no blue. Clipping would break
the group law. So images lose saturation first, for all elements alike, by the factor that keeps every colour of the
cube inside the cube under all elements: 1/2 for turns of the hue, 1 (nothing is lost) for permutations of the channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product as pairs
from operator import add
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groupcc_lite.actions.action import chosen_elements
from groupcc_lite.actions.planar import PlanarAction, as_homomorphism, as_matrices, coset_sources, standard_matrices
from groupcc_lite.groups import FiniteGroup, product

_TOLERANCE = 1e-9  # for matrices given in double precision
_GREY = np.full((3, 3), 1 / 3)  # the mean of the channels, in each of them
# Where red, green and blue lie on the hue circle, as (x right, y down): one column each, rows of length 1.
_CIRCLE = np.array([[0.0, -1.0, 1.0], [-2.0, 1.0, 1.0]]) / np.sqrt([[2.0], [6.0]])


class ColourAction:
    """A group acting on the colours of images and, through `matrices`, on the plane as well; an `Action`.

    `colours`: (|G|, 3, 3), colours[g] @ colours[h] = colours[gh], acting on (red, green, blue); rows and columns sum to
    1. Cyclic and dihedral groups act on the hue unless it is given. `matrices`: (|G|, 2, 2) as for `PlanarAction`;
    by default nothing moves. `saturation`: share of the images' saturation that is kept, in (0, 1]; by default the
    largest for which no colour leaves [0, 1]. Above it some may: values are never clipped.
    `exact` marks the elements that move pixels to pixels: all of them if nothing moves.
    ValueError if either set of matrices is no action of the group.

    >>> from groupcc_lite.groups import cyclic
    >>> red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    >>> ColourAction(cyclic(3)).images(red).flatten(1).tolist()  # red, green, blue
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    def __init__(self, group: FiniteGroup, colours: Any = None, matrices: Any = None, *,
                 saturation: float | None = None):
        self.plane = PlanarAction(group, np.stack([np.eye(2)] * group.order) if matrices is None else matrices)
        self.colours: Float[np.ndarray, "g 3 3"] = _checked(_standard(group) if colours is None else colours, group)
        self.saturation = _safe_saturation(self.colours) if saturation is None else float(saturation)
        if not 0 < self.saturation <= 1:
            raise ValueError(f"saturation is {saturation}; expected a share above 0 and at most 1, or None for the "
                             f"largest that keeps every colour inside [0, 1], here {_safe_saturation(self.colours):g}")
        fade = self.saturation * np.eye(3) + (1 - self.saturation) * _GREY
        self._weights = self.colours @ fade

    def __repr__(self) -> str:
        plane = "colours only" if (self.matrices == np.eye(2)).all() else "plane and colours"
        return f"ColourAction({self.group!r}, {plane}, saturation {self.saturation:g})"

    @property
    def group(self) -> FiniteGroup:
        """The group that acts."""
        return self.plane.group

    @property
    def matrices(self) -> Float[np.ndarray, "g 2 2"]:
        """How each element moves the plane; read-only."""
        return self.plane.matrices

    @property
    def exact(self) -> Bool[np.ndarray, " g"]:
        """Which elements move pixels to pixels; read-only."""
        return self.plane.exact

    @property
    def fingerprint(self) -> Any:
        """What tells this action from others of the same group, as plain lists and numbers."""
        return dict(matrices=self.matrices.tolist(), colours=self.colours.tolist(), saturation=self.saturation)

    def source_size(self, size: int) -> int:
        """Side of the source image that a crop of `size` pixels needs, as for `PlanarAction.source_size`."""
        return self.plane.source_size(size)

    def images(self, x: Float[Tensor, "b c h w"], size: int | None = None,
               elements: Sequence[SupportsIndex] | None = None) -> Float[Tensor, "g b c s s"]:
        """The images g I: faded to `saturation`, moved and cropped as by `PlanarAction.images`, and recoloured.

        (h g) I = h (g I) for views g I that are not faded again: up to interpolation by the plane's part and to
        rounding by the colours'; bit for bit if h maps pixels to pixels and permutes the channels.
        """
        return torch.stack(list(self.views(x, size, elements)))

    def views(self, x: Float[Tensor, "b c h w"], size: int | None = None,
              elements: Sequence[SupportsIndex] | None = None) -> Iterator[Float[Tensor, "b c s s"]]:
        """The images of `images` one after the other, as by `PlanarAction.views`."""
        if x.ndim == 4 and x.shape[1] != 3:
            raise ValueError(f"images have {x.shape[1]} channels; expected 3: red, green, blue")
        elements = chosen_elements(self.group, elements)
        for g, view in zip(elements, self.plane.views(x, size, elements), strict=True):
            yield _recoloured(view, self._weights[g])

    def points(self, p: Float[Tensor, "*p 2"],
               elements: Sequence[SupportsIndex] | None = None) -> Float[Tensor, "g *p 2"]:
        """g p for all elements or the given ones, as by `PlanarAction.points`."""
        return self.plane.points(p, elements)


def product_action(plane: PlanarAction, colours: ColourAction) -> ColourAction:
    """Both at once: (g, h) of the product group moves the image by g and recolours it by h.

    ValueError if `plane` recolours as well, or if both move the plane in ways that do not commute.

    >>> from groupcc_lite.groups import cyclic
    >>> product_action(PlanarAction(cyclic(4)), ColourAction(cyclic(3)))
    ColourAction(C_4 x C_3 (order 12), plane and colours, saturation 1)
    """
    if not isinstance(plane, PlanarAction):
        raise ValueError(f"plane is {plane!r}; expected an action that moves only the plane, such as PlanarAction")
    group = product(plane.group, colours.group)
    first, second = np.divmod(np.arange(group.order), colours.group.order)
    return ColourAction(group, colours.colours[second], plane.matrices[first] @ colours.matrices[second],
                        saturation=colours.saturation)


def hue_matrices(matrices: Float[np.ndarray, "g 2 2"]) -> Float[np.ndarray, "g 3 3"]:
    """RGB matrices that do to the hue circle what `matrices` do to the plane (x right, y down), and keep greys."""
    return _GREY + _CIRCLE.T @ matrices @ _CIRCLE


def _standard(group: FiniteGroup) -> np.ndarray:
    circle = standard_matrices(group)
    if circle is None:
        raise ValueError(f"how {group.name} changes colours is not known; expected cyclic(n) or dihedral(n), or pass "
                         f"colours, an array ({group.order}, 3, 3), one matrix per element")
    return hue_matrices(circle)


def _checked(colours: Any, group: FiniteGroup) -> np.ndarray:
    colours = as_matrices("colours", colours, group, side=3)
    sums = np.stack([colours.sum(1), colours.sum(2)])
    wrong = np.flatnonzero(~(np.abs(sums - 1) <= _TOLERANCE).all(axis=(0, 2)))
    if len(wrong):
        raise ValueError(f"the colour matrix of {group.names[wrong[0]]} is {colours[wrong[0]].tolist()}; expected rows "
                         "and columns that sum to 1, so that greys stay as they are and no colour gets brighter")
    colours = as_homomorphism("colours", colours, group)
    # Made from one another by permutations, so that these hold bit for bit after any element.
    permutes = np.isin(colours, (0, 1)).all(axis=(1, 2))
    colours = np.stack([colours[h] @ colours[k] for h, k in coset_sources(group, permutes)])
    colours.setflags(write=False)
    return colours


def _safe_saturation(colours: Float[np.ndarray, "g 3 3"]) -> float:
    """The largest share of saturation at which no element takes a colour out of the cube.

    What ends up inside a convex set under a linear map is convex: the cube's eight corners decide for all of it.
    """
    corners = np.array(list(pairs((0.0, 1.0), repeat=3)))
    grey = corners.mean(1, keepdims=True)
    moved = np.einsum("gij,vj->gvi", colours, corners - grey)
    room = np.where(moved > 0, 1 - grey, grey)
    apart = np.abs(moved) > _TOLERANCE
    return min(1.0, round(float((room[apart] / np.abs(moved[apart])).min()), 12))


def _recoloured(x: Float[Tensor, "b 3 h w"], weights: Float[np.ndarray, "3 3"]) -> Float[Tensor, "b 3 h w"]:
    """Channel i becomes the sum over j of weights[i, j] times channel j; permutations only copy."""
    if (weights == np.eye(3)).all():
        return x
    wide = x if x.dtype == torch.float64 else x.float()
    # Sums by hand: a matrix product need not add in the same order for every row, and then copies would not be bit for
    # bit the same.
    mixed = [reduce(add, (wide[:, j] * w for j, w in enumerate(row) if w)) for row in weights.tolist()]
    return torch.stack(mixed, dim=1).to(x.dtype)
