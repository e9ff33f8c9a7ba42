"""Roses of mirror axes: for each direction on the screen, how many features have their mirror there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from groupcc_lite.figures.style import BLUE, FAINT, INK, MUTED, ORANGE, SMALL, Array, array


def axis_rose(values: Float[Array, " k"], angles: Float[Array, " k"], ax: Axes, *,
              exact: Bool[Array, " k"] | None = None, expected: float | None = None, low: float = 0.0) -> Axes:
    """One petal for each axis, at both of its ends: an axis is a line through the centre, drawn as seen on the screen.

    `values` are lengths from `low` on, `angles` degrees counter-clockwise from level. Mirrors that are `exact` on the
    pixel grid are orange. A dashed circle marks the `expected` value. ValueError unless the axes are polar.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot(projection="polar")
    >>> ax = axis_rose(np.array([3.0, 1.0]), np.array([90.0, 0.0]), ax, expected=2.0)
    >>> len(ax.patches)
    4
    """
    values = array("values", values, "k")
    angles = np.radians(array("angles", angles, "k", k=len(values)))
    marked = np.zeros(len(values)) if exact is None else array("exact", exact, "k", k=len(values))
    if ax.name != "polar":
        raise ValueError('ax is not polar; expected one made with projection="polar"')
    width = np.pi / len(values)
    for turn in (0, np.pi):
        ax.bar(angles + turn, np.maximum(values - low, 0), width=0.78 * width, bottom=low,
               color=[ORANGE if mark else BLUE for mark in marked], edgecolor="none")
    if expected is not None:
        ax.plot(np.linspace(0, 2 * np.pi, 181), np.full(181, expected), "--", color=INK, linewidth=1)
    ax.set_xticks(np.radians([0, 45, 90, 135, 180, 225, 270, 315]), ["level", "", "upright", "", "", "", "", ""],
                  fontsize=SMALL, color=MUTED)
    ax.set_ylim(low, max(float(values.max()), expected or low) * 1.05 + 1e-9)
    ax.set_yticks([])
    ax.grid(color=FAINT)
    ax.spines[:].set_color(FAINT)
    return ax
