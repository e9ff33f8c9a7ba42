"""What everything else asks of a group that acts on images: the group, the moved images, the moved points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup


@runtime_checkable
class Action(Protocol):
    """A group acting on images and on the points in them; write a class with these members to bring your own.

    (h g) I = h (g I) up to interpolation. A point p of I is at g p in g I; points are pixels from the image centre, x
    right, y down.

    >>> from groupcc_lite.actions import ColourAction, PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> isinstance(PlanarAction(cyclic(4)), Action), isinstance(ColourAction(cyclic(3)), Action)
    (True, True)
    """

    @property
    def group(self) -> FiniteGroup:
        """The group that acts."""

    @property
    def exact(self) -> Bool[np.ndarray, " g"]:
        """Which elements move pixels to pixels, so that nothing is interpolated."""

    @property
    def fingerprint(self) -> Any:
        """What tells this action from others of the same group, as plain lists and numbers."""

    def source_size(self, size: int) -> int:
        """Side of the source image of which a crop of `size` pixels can be moved by any element, no corner showing."""

    def images(self, x: Float[Tensor, "b c h w"], size: int | None = None,
               elements: Sequence[SupportsIndex] | None = None) -> Float[Tensor, "g b c s s"]:
        """The images g I, cropped at the centre to `size` pixels: of all elements or the given ones, in order."""

    def points(self, p: Float[Tensor, "*p 2"],
               elements: Sequence[SupportsIndex] | None = None) -> Float[Tensor, "g *p 2"]:
        """g p for all elements or the given ones; pixels from the image centre, x right, y down."""


def chosen_elements(group: FiniteGroup, elements: Sequence[SupportsIndex] | None) -> list[int]:
    """The numbers of the elements asked for; all of them for None. ValueError for none and for unknown numbers."""
    if elements is None:
        return list(range(group.order))
    elements = [int(g) for g in elements]
    if not elements or min(elements) < 0 or max(elements) >= group.order:
        raise ValueError(f"elements is {elements}; expected one or more numbers from 0 to {group.order - 1}")
    return elements
