"""Images drawn on matplotlib axes: grids of features, orbits of an image, points on an image.

Like `features`, which hands these functions on: every function takes `ax`, draws on it and returns it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from groupcc_lite.figures.style import INK, PALETTE, PAPER, SMALL, Array, array, bare
from groupcc_lite.groups import FiniteGroup, rotations_of

_TITLE = 0.26  # height of a title, in widths of an image
_GAP = 0.07


def feature_grid(images: Float[Array, "k ..."], ax: Axes, titles: Sequence[str] | None = None, *,
                 columns: int | None = None) -> Axes:
    """Images as a tidy grid, with a title above each; `columns` defaults to what fills the axes best.

    `images`: (k, h, w, 3), (k, 3, h, w) or (k, h, w), values in [0, 1].

    >>> from matplotlib.figure import Figure
    >>> ax = feature_grid(np.zeros((4, 8, 8, 3)), Figure().subplots(), ["a", "b", "c", "d"], columns=2)
    >>> len(ax.images)
    4
    """
    pictures = as_pictures(images)
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"{len(titles)} titles for {len(pictures)} images; expected one each")
    if columns is not None and columns < 1:
        raise ValueError(f"columns is {columns}; expected at least 1, or None to choose")
    pitch, head = 1 + _GAP, _TITLE if titles is not None else 0.0
    columns = min(len(pictures), columns or _best_columns(len(pictures), ax, pitch, pitch + head))
    for k, picture in enumerate(pictures):
        x, y = pitch * (k % columns), (pitch + head) * (k // columns)
        ax.imshow(picture, extent=(x, x + 1, y + 1, y), cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        if titles is not None:
            ax.text(x + 0.5, y - 0.05, titles[k], ha="center", va="bottom", fontsize=SMALL)
    bare(ax)
    rows = math.ceil(len(pictures) / columns)
    ax.set(xlim=(0, pitch * columns - _GAP), ylim=((pitch + head) * rows - _GAP - head, -head), xticks=[], yticks=[],
           aspect="equal")
    return ax


def _best_columns(count: int, ax: Axes, pitch: float, row: float) -> int:
    """The number of columns that makes the images largest in these axes."""
    box = ax.get_window_extent()
    return max(range(1, count + 1),
               key=lambda c: min(box.width / (c * pitch), box.height / (math.ceil(count / c) * row)))


def orbit_grid(images: Float[Array, "g ..."], G: FiniteGroup, ax: Axes, *, columns: int | None = None) -> Axes:
    """An image under every element of the group, (|G|, 3, h, w) or (|G|, h, w, 3), each named by its element.

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import cyclic
    >>> len(orbit_grid(np.zeros((4, 8, 8)), cyclic(4), Figure().subplots()).images)
    4
    """
    if len(images) != G.order:
        raise ValueError(f"images has {len(images)} entries; expected {G.order}, one per element of {G.name}")
    return feature_grid(images, ax, G.latex, columns=columns or min(8, rotations_of(G) or 8))


def points_on_image(image: Float[Array, "x y z"] | Float[Array, "h w"], points: Float[Array, "p 2"], ax: Axes, *,
                    mask_radius: float | None = None, labels: bool = False) -> Axes:
    """An image with points on it, in pixels from the image centre (x right, y down), and the sampling mask.

    Point k keeps its colour from figure to figure, so that it can be followed under transformations.

    >>> from matplotlib.figure import Figure
    >>> ax = points_on_image(np.zeros((8, 8)), np.array([[0.0, 0.0], [2.0, -1.0]]), Figure().subplots())
    >>> ax.has_data()
    True
    """
    picture = as_pictures(image[None])[0]
    points = array("points", points, "p two", two=2)
    if mask_radius is not None and not mask_radius > 0:
        raise ValueError(f"mask_radius is {mask_radius}; expected a positive number of pixels")
    height, width = picture.shape[:2]
    ax.imshow(picture, extent=(-width / 2, width / 2, height / 2, -height / 2), cmap="gray", vmin=0, vmax=1)
    if mask_radius is not None:
        for colour, thickness in ((INK, 3.0), (PAPER, 1.6)):  # light within dark shows on any image
            ax.add_patch(Circle((0, 0), mask_radius, fill=False, edgecolor=colour, linewidth=thickness))
    colours = [PALETTE[k % len(PALETTE)] for k in range(len(points))]
    ax.scatter(*points.T, c=colours, s=46, edgecolors=PAPER, linewidths=1.3, zorder=3)
    if labels:
        for k, (x, y) in enumerate(points):
            ax.annotate(str(k), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=SMALL, color=INK,
                        bbox=dict(boxstyle="round,pad=0.15", facecolor=PAPER, edgecolor="none", alpha=0.85))
    bare(ax)
    ax.set(xticks=[], yticks=[])
    return ax


def as_pictures(images: Any) -> np.ndarray:
    """(k, h, w, 3) or (k, h, w) in [0, 1]; channels may come first. ValueError for other shapes and values."""
    pictures = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images, dtype=np.float64)
    if pictures.ndim == 4 and pictures.shape[-1] != 3 and pictures.shape[1] in (1, 3):
        pictures = pictures.transpose(0, 2, 3, 1)
    if pictures.ndim == 4 and pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    if not len(pictures) or pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[-1] != 3):
        raise ValueError(f"images has shape {pictures.shape}; expected (k, h, w, 3), (k, 3, h, w) or (k, h, w), k > 0")
    low, high = pictures.min(), pictures.max()
    if not (low > -0.01 and high < 1.01):  # NaN fails too
        raise ValueError(f"images hold values from {low:g} to {high:g}; expected [0, 1]")
    return pictures.clip(0, 1)
