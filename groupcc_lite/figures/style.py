"""How every figure of the book looks: type, colours, colour maps, and how elements of a group are named along an axis.

Use it as a context, and only for making a figure, so that no setting outlives it:

    with house_style():
        figure, ax = plt.subplots(figsize=(6, 4))
        cayley_table(G, ax)

The colours can be told apart with any kind of colour vision and in grey. Type is sized for a figure about six inches
wide, which stays readable when a phone shows it at a third of that. A thin line divides rotations from reflections.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.image import AxesImage
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, rotations_of

Array = np.ndarray | Tensor
"""Numbers to draw: NumPy arrays and tensors alike."""

INK, MUTED, FAINT, PAPER = "#22303c", "#5b6975", "#d5dbe0", "#ffffff"
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
PALETTE = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, "#6A4C93", "#7A5C3E")
"""Colours of kinds, in this order."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Markers of kinds, in this order."""

DIVERGING = LinearSegmentedColormap.from_list(
    "groupcc_diverging", ["#08306b", "#1f6fb0", "#7fb5d9", "#dfeaf1", "#f8f7f4", "#fae3d0", "#f0a76b", "#cf5d0b",
                          "#7a2e00"])
"""Signed values: blue below zero, orange above, paper-white at zero. Lightness falls equally on both sides."""
CYCLIC = "twilight"
"""Colour map of angles."""
SMALL = 9.5
"""Points; nothing is set smaller."""

_SETTINGS: dict[str, Any] = {
    "figure.dpi": 144, "savefig.dpi": 144, "figure.facecolor": PAPER, "savefig.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "mathtext.fontset": "dejavusans",
    "font.size": 11, "axes.titlesize": 12, "axes.labelsize": 11, "xtick.labelsize": 10, "ytick.labelsize": 10,
    "legend.fontsize": 10, "figure.titlesize": 13,
    "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.edgecolor": MUTED,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.titlelocation": "left", "axes.titlepad": 9, "axes.labelpad": 5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": FAINT, "grid.linewidth": 0.7,
    "xtick.major.width": 0.8, "ytick.major.width": 0.8, "xtick.major.size": 3.5, "ytick.major.size": 3.5,
    "lines.linewidth": 2.0, "lines.markersize": 5.5, "lines.solid_capstyle": "round",
    "axes.prop_cycle": cycler(color=PALETTE), "legend.frameon": False, "legend.handlelength": 1.6,
    "image.interpolation": "nearest", "image.cmap": "viridis",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Make figures in the book's style inside this block; outside it nothing has changed.

    >>> import matplotlib
    >>> with house_style():
    ...     inside = matplotlib.rcParams["legend.frameon"]
    >>> inside, matplotlib.rcParams["legend.frameon"]
    (False, True)
    """
    if "inline" in str(plt.rcParams["backend"]):
        # A notebook's backend switches itself on with the first figure. That must not happen inside rc_context, which
        # would switch it off again when it ends, and with it every later figure.
        plt.close(plt.figure())
    # Wakes a notebook's inline backend first. It turns interactive mode on, and the context would turn it off again on
    # leaving, after which no figure but the first would be shown.
    plt.close(plt.figure(figsize=(1, 1)))
    with plt.rc_context(_SETTINGS):
        yield


def array(name: str, values: Any, axes: str, **sizes: int) -> np.ndarray:
    """`values` (tensor, array or list) as float64, with one axis per word of `axes`; ValueError otherwise.

    A word that is a key of `sizes` must have that length. NaN and infinity are refused.
    """
    values = values.detach().cpu() if isinstance(values, Tensor) else values
    values = np.asarray(values, dtype=np.float64)
    wanted = axes.split()
    if values.ndim != len(wanted) or any(values.shape[i] != sizes[a] for i, a in enumerate(wanted) if a in sizes):
        expected = ", ".join(str(sizes.get(axis, axis)) for axis in wanted)
        raise ValueError(f"{name} has shape {values.shape}; expected ({expected})")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values; expected finite numbers")
    return values


def element_colours(G: FiniteGroup) -> np.ndarray:
    """One RGBA colour per element, (|G|, 4): reflections are paler and warmer than rotations.

    >>> from groupcc_lite.groups import dihedral
    >>> element_colours(dihedral(8)).shape
    (16, 4)
    """
    n = rotations_of(G)
    if n is None:
        return plt.get_cmap("viridis")(np.linspace(0.15, 1, G.order))
    angles = plt.get_cmap(CYCLIC)((np.arange(n) + 0.5 * (n == 1)) / n)
    pale = 0.45 * angles + 0.55 * np.array(to_rgba("#ffd9a8"))
    return angles if G.order == n else np.concatenate([angles, pale])


def readable_on(colour: Any) -> str:
    """Ink or paper, whichever is easier to read on this colour."""
    red, green, blue, _ = to_rgba(colour)
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else PAPER


def bare(ax: Axes) -> None:
    """Neither frame nor grid nor tick marks: what is drawn fills its axes."""
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def block_ticks(G: FiniteGroup, n_rotations: int | None) -> tuple[list[int], list[str]]:
    """Where an axis of elements has ticks, and their names: angles, or the elements' own where there are none."""
    n = rotations_of(G, n_rotations)
    if n is None:
        step = max(1, G.order // 8)
        return list(range(0, G.order, step)), [G.latex[g] for g in range(0, G.order, step)]
    wanted = [k for k in range(n) if (4 * k) % n == 0] if G.order == n else [k for k in range(n) if (2 * k) % n == 0]
    halves = range(0, G.order, n)
    return [half + k for half in halves for k in wanted], [f"{360 * k // n}°" for _ in halves for k in wanted]


def divide_halves(ax: Axes, G: FiniteGroup, n_rotations: int | None = None, rows: bool = True) -> None:
    """The thin line between rotations and reflections."""
    n = rotations_of(G, n_rotations)
    if n is None or n == G.order:
        return
    ax.axvline(n - 0.5, color=INK, linewidth=0.9, zorder=4)
    if rows:
        ax.axhline(n - 0.5, color=INK, linewidth=0.9, zorder=4)


def name_halves(ax: Axes, G: FiniteGroup, n_rotations: int | None, rows: bool = True) -> None:
    """The two halves' names below them, and beside them where the axes are large enough."""
    n = rotations_of(G, n_rotations)
    if n is None or n == G.order:
        ax.set_xlabel("element" if n is None else "rotation")
        return
    text = dict(xycoords="axes fraction", textcoords="offset points", fontsize=SMALL, color=MUTED)
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    names = ("rotations", "reflections") if box.width > 1.9 else ("rot.", "refl.")
    for place, name in zip((0.25, 0.75), names, strict=True):
        ax.annotate(name, (place, 0), (0, -20), ha="center", va="top", **text)
        if rows and min(box.width, box.height) > 1.9:
            ax.annotate(name, (0, 1 - place), (-36, 0), ha="right", va="center", rotation=90, **text)


def bar_beside(mappable: AxesImage | ScalarMappable, ax: Any, label: str) -> Any:
    """A colour bar beside an axes, or beside a list of axes that share it."""
    first, shrink = (ax[0], 0.7) if isinstance(ax, list) else (ax, 0.9)
    bar = first.figure.colorbar(mappable, ax=ax, fraction=0.05, pad=0.03, shrink=shrink, aspect=18)
    bar.outline.set_visible(False)
    bar.set_label(label)
    bar.ax.tick_params(length=2, labelsize=SMALL)
    bar.set_ticks(np.linspace(mappable.norm.vmin, mappable.norm.vmax, 5))
    return bar
