"""What is drawn around a circle: mirror axes, tuning curves, directions that are covered, families.

Directions are seen as on the screen, counter-clockwise from the right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from groupcc_lite.figures.style import BLUE, FAINT, INK, MUTED, ORANGE, PALETTE, SMALL, Array, array


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
    _check_polar(ax)
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


def tuning_rose(response: Float[Array, " d"], ax: Axes, *, label: str = "", colour: str = BLUE,
                fill: bool = True) -> Axes:
    """A radial tuning curve: how a unit responds to each of d directions, evenly over a full turn.

    Drawn as a share of the largest response that these axes show. ValueError unless the axes are polar.

    >>> from matplotlib.figure import Figure
    >>> ax = tuning_rose(np.array([1.0, 0.5, 0.0, 0.5]), Figure().add_subplot(projection="polar"))
    >>> len(ax.lines)
    1
    """
    response = array("response", response, "d")
    _check_polar(ax)
    around = 2 * np.pi * np.arange(len(response) + 1) / len(response)
    closed = np.append(response, response[0])
    ax.plot(around, closed, color=colour, label=label or None, linewidth=1.6)
    if fill:
        ax.fill(around, closed, color=colour, alpha=0.2, linewidth=0)
    top = max([float(np.max(line.get_ydata())) for line in ax.lines] + [1e-9])
    ax.set_ylim(0, 1.05 * top)
    _quiet(ax)
    return ax


def curvature_map(response: Float[Array, "c d"], curvatures: Sequence[float], ax: Axes) -> Axes:
    """What a unit says to arcs of every direction (across) and curvature (upwards, straight ones at the bottom).

    >>> from matplotlib.figure import Figure
    >>> ax = curvature_map(np.ones((2, 8)), [0.0, 0.1], Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['straight', '10 px']
    """
    response = array("response", response, "c d", c=len(curvatures))
    ax.imshow(response, origin="lower", aspect="auto", cmap="Blues", vmin=0,
              extent=(0, 360, -0.5, len(curvatures) - 0.5))
    ax.set_yticks(range(len(curvatures)), ["straight" if c == 0 else f"{1 / c:.0f} px" for c in curvatures])
    ax.set_xticks([0, 90, 180, 270, 360], ["0°", "90°", "180°", "270°", "360°"])
    ax.set(xlabel="direction", ylabel="radius")
    ax.grid(visible=False)
    return ax


def covered_circle(directions: Mapping[str, Sequence[float] | Float[Array, " k"]], ax: Axes) -> Axes:
    """Rings, from the inside outwards, with a mark for each direction (radians) of each set.

    ValueError unless the axes are polar.

    >>> from matplotlib.figure import Figure
    >>> ax = covered_circle({"neurons": [0.0, 1.0], "latents": [2.0]}, Figure().add_subplot(projection="polar"))
    >>> len(ax.collections)
    2
    """
    _check_polar(ax)
    for number, (name, given) in enumerate(directions.items()):
        at = np.asarray(given, dtype=float)
        ax.vlines(at, 1.15 + number, 1.85 + number, color=PALETTE[number % len(PALETTE)], linewidth=1.3, label=name)
    ax.set_ylim(0, len(directions) + 1.1)
    _quiet(ax)
    return ax


def family_circle(rings: Mapping[str, Sequence[Float[Array, "h w 3"] | None]],
                  values: Mapping[str, Float[Array, " k"]], ax: Axes, *,
                  centre: Float[Array, "h w 3"] | None = None, size: float = 31.0) -> Axes:
    """A family around the circle: rings from the inside outwards, with a picture at each angle for the member found.

    `rings` hold k pictures each, for angles evenly over a full turn from the right; None where nobody was found, which
    is drawn as an empty circle. `values`, from 0 to 1, are written below pictures. `centre`: a picture of whose family
    it is. `size` of the innermost pictures in points. ValueError for rings of unequal numbers.

    >>> from matplotlib.figure import Figure
    >>> found = {"latents": [np.zeros((4, 4, 3)), None]}
    >>> ax = family_circle(found, {"latents": np.array([0.9, 0.1])}, Figure().subplots())
    >>> len(ax.artists), len(ax.lines)
    (1, 1)
    """
    counts = {len(ring) for ring in rings.values()} | {len(row) for row in values.values()}
    if len(counts) != 1 or rings.keys() != values.keys():
        raise ValueError(f"rings {list(rings)} and values {list(values)} have {sorted(counts)} members; expected as "
                         "many in each, under the same names")
    count = counts.pop()
    for number, (name, ring) in enumerate(rings.items()):
        radius = 1.2 + 0.8 * number
        wide = size * min(radius / 1.2, 1.5)
        for place, picture in enumerate(ring):
            angle = 2 * np.pi * place / count
            x, y = radius * np.cos(angle), radius * np.sin(angle)
            if picture is None:
                ax.plot(x, y, "o", markersize=0.45 * wide, markerfacecolor="none", markeredgecolor=FAINT)
            else:
                image = OffsetImage(np.asarray(picture), zoom=wide / len(picture))
                ax.add_artist(AnnotationBbox(image, (x, y), frameon=False, pad=0))
                ax.annotate(f"{values[name][place]:.2f}", (x, y), xytext=(0, -0.5 * wide - 5),
                            textcoords="offset points", ha="center", va="center", fontsize=SMALL - 3, color=INK)
    edge = 0.8 * len(rings) + 0.75
    if centre is not None:
        ax.add_artist(AnnotationBbox(OffsetImage(np.asarray(centre), zoom=1.5 * size / len(centre)), (0, 0),
                                     frameon=False, pad=0))
    words = "\n".join(["from the inside:", *rings])
    ax.text(*((0, 0) if centre is None else (-edge, edge)), words, ha="center" if centre is None else "left",
            va="center" if centre is None else "top", fontsize=SMALL, color=MUTED)
    ax.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
    ax.axis("off")
    return ax


def _check_polar(ax: Axes) -> None:
    if ax.name != "polar":
        raise ValueError('ax is not polar; expected one made with projection="polar"')


def _quiet(ax: Axes) -> None:
    ax.set_xticks(np.radians([0, 90, 180, 270]), ["0°", "90°", "180°", "270°"], fontsize=SMALL, color=MUTED)
    ax.set_yticks([])
    ax.grid(color=FAINT)
    ax.spines[:].set_color(FAINT)
