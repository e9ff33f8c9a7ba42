"""Arrays drawn on matplotlib axes. Functions take `ax`, draw on it and return it; none shows anything.

`heatmap_row` alone makes its own figure.

The figure belongs to the caller, who makes it inside `house_style()`. Arrays may be NumPy or torch. Blocks of a group
are always drawn in the order of its elements, with a thin line between rotations and reflections, and named by their
angle. Signed values use a diverging map that is symmetric about zero; angles use a cyclic one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

from groupcc_lite.figures.grids import feature_grid, orbit_grid, points_on_image
from groupcc_lite.figures.style import (
    BLUE,
    CYCLIC,
    DIVERGING,
    FAINT,
    GREEN,
    INK,
    MARKERS,
    MUTED,
    ORANGE,
    PALETTE,
    PAPER,
    SMALL,
    Array,
    array,
    bare,
    element_colours,
    house_style,
    readable_on,
)
from groupcc_lite.groups import FiniteGroup, rotations_of

__all__ = ["arrangements", "block_heatmap", "cayley_table", "colour_bar", "element_lines", "feature_grid",
           "fve_per_block", "heatmap_row", "heatmap_up_to", "house_style", "orbit_grid", "points_on_image",
           "registration_error", "self_similarity_profile", "tradeoff", "training_curves", "umap_scatter"]

_RESAMPLED = "#8fc1e3"


# --------------------------------------------------------------------------------------------------- groups

def cayley_table(G: FiniteGroup, ax: Axes, *, names: bool | None = None) -> Axes:
    """The multiplication table: row g, column h, cell gh, one colour per element.

    `names` writes the elements into the cells (default: for at most 12 elements).

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import dihedral
    >>> ax = cayley_table(dihedral(3), Figure().subplots())
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['$e$', '$r$', '$r^{2}$', '$s$', '$s r$', '$s r^{2}$']
    """
    names = G.order <= 12 if names is None else names
    colours = element_colours(G)
    ax.imshow(colours[G.table], interpolation="nearest")
    bare(ax)
    step = 1 if G.order <= 16 else max(1, G.order // 8)
    ticks = list(range(0, G.order, step))
    size = SMALL if G.order > 8 else 11
    ax.set_xticks(ticks, [G.latex[t] for t in ticks], fontsize=size, rotation=90 if G.order > 12 and step == 1 else 0)
    ax.set_yticks(ticks, [G.latex[t] for t in ticks], fontsize=size)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set(xlabel="$h$ (acts first)", ylabel="$g$ (acts second)")
    if names:
        for g, row in enumerate(G.table):
            for h, gh in enumerate(row):
                ax.text(h, g, G.latex[gh], ha="center", va="center", fontsize=size, color=readable_on(colours[gh]))
    _divide(ax, G)
    return ax


def arrangements(orders: Int[Array, "k g"] | Sequence[Sequence[int]], labels: Sequence[str], G: FiniteGroup,
                 ax: Axes) -> Axes:
    """Block orders as rows of coloured cells: cell i of a row says which block stands at place i.

    `orders` (k, |G|) holds permutations of the elements, for instance rows of `G.regular`.

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import cyclic
    >>> G = cyclic(4)
    >>> ax = arrangements(G.regular[:2], ["x", "r . x"], G, Figure().subplots())
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['x', 'r . x']
    """
    rows = array("orders", orders, "k g", g=G.order).astype(int)
    if len(labels) != len(rows):
        raise ValueError(f"{len(labels)} labels for {len(rows)} orders; expected one each")
    if (np.sort(rows, axis=1) != np.arange(G.order)).any():
        raise ValueError(f"orders hold a row that is no permutation of the {G.order} elements of {G.name}")
    colours = element_colours(G)
    ax.imshow(colours[rows], interpolation="nearest", aspect="equal" if G.order <= 16 else "auto")
    bare(ax)
    ax.set_yticks(range(len(rows)), labels)
    ax.set_xticks([])
    for k in range(1, len(rows)):
        ax.axhline(k - 0.5, color=PAPER, linewidth=5)
    if G.order <= 16:
        for k, row in enumerate(rows):
            for place, element in enumerate(row):
                ax.text(place, k, G.latex[element], ha="center", va="center", fontsize=SMALL,
                        color=readable_on(colours[element]))
    _divide(ax, G, rows=False)
    return ax


def block_heatmap(B: Float[Array, "g h"], G: FiniteGroup, ax: Axes, *, n_rotations: int | None = None,
                  colour_bar: bool = False, label: str = "cosine", limit: float = 1.0) -> Axes:
    """Values for all pairs of blocks, such as `symmetry.block_cosines(D)[i]` (Gorton 2024, Figure 5).

    The colour scale runs from -limit to limit. Top left and bottom right compare rotations with rotations and
    reflections with reflections; the other quarters compare across.

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import dihedral
    >>> ax = block_heatmap(np.eye(8), dihedral(4), Figure().subplots())
    >>> ax.images[0].get_clim()
    (-1.0, 1.0)
    """
    B = array("B", B, "g h", g=G.order, h=G.order)
    if not limit > 0:
        raise ValueError(f"limit is {limit}; expected a positive number, the end of the colour scale")
    image = ax.imshow(B, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
    bare(ax)
    ticks, names = _block_ticks(G, n_rotations)
    ax.set_xticks(ticks, names, fontsize=SMALL)
    ax.set_yticks(ticks, names, fontsize=SMALL)
    _divide(ax, G, n_rotations)
    _name_halves(ax, G, n_rotations)
    if colour_bar:
        _colour_bar(image, ax, label)
    return ax


def heatmap_row(B: Float[Array, "k g g"], titles: Sequence[str], G: FiniteGroup, *,
                pictures: Float[Array, "k c h w"] | None = None) -> Figure:
    """A figure of block heatmaps side by side with one colour bar, above each the picture that goes with it, if given.

    Small, so that its type is large on a phone. An empty panel if there are none.

    >>> from groupcc_lite.groups import dihedral
    >>> fig = heatmap_row(np.zeros((2, 4, 4)), ["one", "two"], dihedral(2))
    >>> [ax.get_title() for ax in fig.axes[:2]]
    ['one', 'two']
    """
    columns, B = max(1, len(titles)), array("B", B, "k g g", k=len(titles), g=G.order)
    rows = 1 if pictures is None else 2
    fig, axes = plt.subplots(rows, columns, figsize=(6, 2.7 if rows == 1 else 4), squeeze=False,
                             height_ratios=[1, 2][2 - rows:])
    for ax, picture in zip(axes[0], () if pictures is None else pictures, strict=False):
        _drawing(picture, ax)
    for ax, matrix, title in zip(axes[-1], B, titles, strict=False):
        block_heatmap(matrix, G, ax).set_title(title, fontsize=10)
        if ax is not axes[-1, 0]:
            ax.set_yticklabels([])
    colour_bar(axes[-1], "cosine")
    return fig


def heatmap_up_to(g: int, B: Float[Array, "g g"], picture: Float[Array, "c h w"], G: FiniteGroup,
                  axes: Sequence[Axes] | np.ndarray) -> Sequence[Axes] | np.ndarray:
    """A picture in position g on the first axes, on the second a block heatmap filled from the top to row g.

    >>> from groupcc_lite.groups import dihedral
    >>> from matplotlib.figure import Figure
    >>> left, right = heatmap_up_to(1, np.eye(4), np.zeros((3, 8, 8)), dihedral(2), Figure().subplots(1, 2))
    >>> len(right.patches)  # what hides the rows below, and a frame around row g
    2
    """
    left, right = axes
    _drawing(picture, left)
    block_heatmap(B, G, right)
    right.axhspan(g + 0.5, G.order, color="white", zorder=3)
    right.axhspan(g - 0.5, g + 0.5, fill=False, edgecolor=INK, linewidth=1.5, zorder=5)
    right.set_ylim(G.order - 0.5, -0.5)
    return axes


def _drawing(picture: Float[Array, "c h w"], ax: Axes) -> None:
    ax.imshow(np.asarray(picture).mean(0), cmap="gray", vmin=0, vmax=1)
    ax.axis("off")


def self_similarity_profile(c: Float[Array, " g"], G: FiniteGroup, ax: Axes, *, n_rotations: int | None = None,
                            legend: bool = True) -> Axes:
    """c(h) over the angle of the rotation in h: one line for rotations, one for reflections; always from -1 to 1.

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import cyclic
    >>> ax = self_similarity_profile(np.array([1.0, 0.2, 0.9, 0.2]), cyclic(4), Figure().subplots())
    >>> list(map(float, ax.lines[-1].get_xdata()))  # a full turn: the first point comes again
    [0.0, 90.0, 180.0, 270.0, 360.0]
    """
    c = array("c", c, "g", g=G.order)
    n = rotations_of(G, n_rotations)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    if n is None:
        ax.plot(c, "o-", color=BLUE)
        ax.set_xticks(range(G.order), G.latex, fontsize=SMALL)
        ax.set_xlabel("element $h$")
    else:
        angles = 360 * np.arange(n + 1) / n
        halves = (c[:n], BLUE, "o-", "rotation $r^k$"), (c[n:], ORANGE, "s--", "reflection $s r^k$")
        for half, colour, style, name in halves:
            if len(half):
                ax.plot(angles, [*half, half[0]], style, color=colour, label=name, clip_on=False, zorder=3)
        ax.set(xlim=(0, 360), xlabel="angle of $r^k$")
        ax.set_xticks(range(0, 361, 90), [f"{a}°" for a in range(0, 361, 90)])
        if legend and G.order > n:
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.2)
    ax.set(ylim=(-1.04, 1.04), yticks=(-1, -0.5, 0, 0.5, 1), ylabel="$c(h)$")
    return ax


# ------------------------------------------------------------------------------------------------- training

def fve_per_block(fve: Float[Array, " g"], G: FiniteGroup, ax: Axes, *, ceiling: Float[Array, " g"] | None = None,
                  exact: Sequence[bool] | Array | None = None, n_rotations: int | None = None) -> Axes:
    """Fraction of variance explained for each block as bars, the linear ceiling as a tick above each.

    `exact` (|G|) marks the elements whose images needed no interpolation; they are drawn darker.

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import cyclic
    >>> ax = fve_per_block(np.array([0.9, 0.6, 0.8, 0.6]), cyclic(4), Figure().subplots(), exact=[True, False] * 2)
    >>> len(ax.patches)
    4
    """
    fve = array("fve", fve, "g", g=G.order)
    exact = np.ones(G.order, bool) if exact is None else array("exact", exact, "g", g=G.order).astype(bool)
    places = np.arange(G.order)
    ax.bar(places, fve, width=0.78, color=np.where(exact, BLUE, _RESAMPLED), zorder=2)
    handles = [Patch(color=BLUE, label="exact")] if exact.any() else []
    handles += [Patch(color=_RESAMPLED, label="resampled")] if not exact.all() else []
    top = fve.max()
    if ceiling is not None:
        ceiling = array("ceiling", ceiling, "g", g=G.order)
        ax.hlines(ceiling, places - 0.45, places + 0.45, color=INK, linewidth=2, zorder=3)
        handles.append(Line2D([], [], color=INK, linewidth=2, label="linear ceiling"))
        top = max(top, ceiling.max())
    ticks, names = _block_ticks(G, n_rotations)
    ax.set_xticks(ticks, names, fontsize=SMALL)
    ax.set(xlim=(-0.7, G.order - 0.3), ylim=(min(0, 1.05 * fve.min()), min(1.0, 1.12 * max(top, 0.05))),
           ylabel="variance explained")
    ax.grid(axis="x", visible=False)
    _divide(ax, G, n_rotations, rows=False)
    _name_halves(ax, G, n_rotations, rows=False)
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2)
    return ax


_KINDS = {"relu": ("ReLU + L1", BLUE, "o", "sparsity", "λ"), "topk": ("TopK", ORANGE, "s", "k", "k"),
          "batchtopk": ("BatchTopK", GREEN, "^", "k", "k")}


def tradeoff(rows: Sequence[Mapping[str, Any]], ax: Axes, *, x: str = "l0", y: str = "fve") -> Axes:
    """Quality against sparsity, one line per activation, each point named by its lambda or k.

    `rows` are mappings with "activation" ("relu", "topk", "batchtopk"), "sparsity" or "k", and the keys x and y, as
    from `runs.Run.curve`.

    >>> from matplotlib.figure import Figure
    >>> rows = [dict(activation="topk", sparsity=0.0, k=k, l0=k, fve=fve) for k, fve in ((8, 0.5), (16, 0.7))]
    >>> ax = tradeoff(rows, Figure().subplots())
    >>> list(map(float, ax.lines[0].get_ydata()))
    [0.5, 0.7]
    """
    if not rows:
        raise ValueError("rows is empty; expected one mapping per trained coder")
    for row in rows:
        missing = [key for key in ("activation", x, y) if key not in row]
        if missing or row["activation"] not in _KINDS:
            raise ValueError(f"a row holds {dict(row)}; expected the keys activation (one of {', '.join(_KINDS)}), "
                             f"{x} and {y}")
    for activation, (name, colour, marker, setting, symbol) in _KINDS.items():
        mine = sorted((row for row in rows if row["activation"] == activation), key=lambda row: float(row[x]))
        if not mine:
            continue
        places = [(float(row[x]), float(row[y])) for row in mine]
        ax.plot(*zip(*places, strict=True), marker=marker, color=colour, label=name)
        # The curves rise to the right, so names sit above to the left, or below to the right.
        offset, side = ((8, -11), "left") if activation == "relu" else ((-7, 4), "right")
        for row, place in zip(mine, places, strict=True):
            if row.get(setting) is not None:
                ax.annotate(f"{symbol} = {row[setting]:g}", place, xytext=offset, textcoords="offset points", ha=side,
                            fontsize=SMALL, color=colour)
    ax.set_xscale("log")
    ax.margins(x=0.16, y=0.12)
    _plain_log_ticks(ax, [float(row[x]) for row in rows])
    ax.set(xlabel="L0: active latents per sample" if x == "l0" else x, ylabel="variance explained" if y == "fve" else y)
    ax.legend(loc="lower right")
    return ax


def _plain_log_ticks(ax: Axes, values: Sequence[float]) -> None:
    """Powers of two within the data: L0 doubles more often than it grows tenfold."""
    low, high = math.floor(math.log2(max(min(values), 1e-6))), math.ceil(math.log2(max(max(values), 1e-6)))
    step = max(1, (high - low) // 6)
    ax.set_xticks([2.0 ** e for e in range(low, high + 1, step) if min(values) / 1.5 < 2.0 ** e < 1.5 * max(values)])
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_minor_locator(NullLocator())


_CURVES = {"loss": "loss", "fve": "variance explained", "l0": "L0", "dead": "dead latents"}


def training_curves(rows: Sequence[Mapping[str, Any]], axes: Sequence[Axes] | np.ndarray,
                    keys: Sequence[str] = ("fve", "l0", "dead"), *,
                    label: str | None = None) -> Sequence[Axes] | np.ndarray:
    """One axes per key over the training step; `rows` as from `coders.train`. Call again to add another run.

    >>> from matplotlib.figure import Figure
    >>> rows = [dict(step=step, fve=fve) for step, fve in ((10, 0.1), (20, 0.4))]
    >>> ax, = training_curves(rows, [Figure().subplots()], keys=["fve"])
    >>> list(map(float, ax.lines[0].get_ydata()))
    [0.1, 0.4]
    """
    panels = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(panels) != len(keys):
        raise ValueError(f"{len(panels)} axes for {len(keys)} keys ({', '.join(keys)}); expected one each")
    missing = [key for key in ("step", *keys) if any(key not in row for row in rows)]
    if not rows or missing:
        raise ValueError(f"rows lack {', '.join(missing)}" if rows else "rows is empty; train for at least one step")
    steps = [row["step"] for row in rows]
    for ax, key in zip(panels, keys, strict=True):
        ax.plot(steps, [row[key] for row in rows], label=label)
        ax.set_title(_CURVES.get(key, key), fontsize=11)
        ax.set_xlabel("step")
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(5))
        if key in ("l0", "dead"):
            ax.set_ylim(bottom=0)
    if label is not None:
        panels[-1].legend()
    return axes


def element_lines(values: Mapping[str, Float[Array, " g"]], G: FiniteGroup, ax: Axes, *, ylabel: str = "",
                  n_rotations: int | None = None, legend: bool = True) -> Axes:
    """Numbers of every element, one line per name, which the mirrors interrupt.

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import cyclic
    >>> ax = element_lines({"copy": np.zeros(4), "map": np.ones(4)}, cyclic(4), Figure().subplots(), ylabel="FVE")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['copy', 'map']
    """
    n = rotations_of(G, n_rotations)
    for number, (name, line) in enumerate(values.items()):
        line = array(f"values[{name!r}]", line, "g", g=G.order)
        for half in np.split(np.arange(G.order), [n] if n is not None and n < G.order else []):
            ax.plot(half, line[half], marker=MARKERS[number % len(MARKERS)], color=PALETTE[number % len(PALETTE)],
                    label=name if half[0] == 0 else None)
    ticks, names = _block_ticks(G, n_rotations)
    ax.set_xticks(ticks, names, fontsize=SMALL)
    ax.set(xlim=(-0.7, G.order - 0.3), ylabel=ylabel)
    ax.grid(axis="x", visible=False)
    _divide(ax, G, n_rotations, rows=False)
    _name_halves(ax, G, n_rotations, rows=False)
    if legend:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2)
    return ax


def registration_error(centred: Float[Array, " g"], naive: Float[Array, " g"], G: FiniteGroup, ax: Axes, *,
                       ylabel: str = "relative error", n_rotations: int | None = None) -> Axes:
    """An error per element, with points registered about the image centre and about the grid's own centre.

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import cyclic
    >>> ax = registration_error(np.zeros(4), np.array([0.0, 0.1, 0.3, 0.1]), cyclic(4), Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['about the image centre', "about the grid's centre"]
    """
    element_lines({"about the image centre": array("centred", centred, "g", g=G.order),
                   "about the grid's centre": array("naive", naive, "g", g=G.order)}, G, ax, ylabel=ylabel,
                  n_rotations=n_rotations)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    return ax


# ------------------------------------------------------------------------------------------------- features

def umap_scatter(xy: Float[Array, "m 2"], ax: Axes, *, labels: Int[Array, " m"] | Sequence[int] | None = None,
                 names: Sequence[str] | None = None, angles: Float[Array, " m"] | None = None, size: float = 26.0,
                 legend: bool = True) -> Axes:
    """A map of features. `labels` colours them by class (-1: none, grey), `angles` (degrees) by a cyclic map.

    Classes differ in colour and marker; `names` are the classes' names. There are no ticks: UMAP's axes have no unit.

    >>> from matplotlib.figure import Figure
    >>> ax = umap_scatter(np.zeros((5, 2)), Figure().subplots(), labels=[0, 0, 1, 1, -1], names=["bar", "ring"])
    >>> sorted(text.get_text() for text in ax.get_legend().get_texts())
    ['bar', 'none', 'ring']
    """
    xy = array("xy", xy, "m two", two=2)
    if labels is not None and angles is not None:
        raise ValueError("labels and angles are both given; expected one of them to choose the colours")
    if labels is not None:
        _labelled(xy, array("labels", labels, "m", m=len(xy)).astype(int), names, ax, size, legend)
    elif angles is not None:
        turned = array("angles", angles, "m", m=len(xy)) % 360
        ax.scatter(*xy.T, c=turned, cmap=CYCLIC, vmin=0, vmax=360, s=size, edgecolors=INK, linewidths=0.3)
        if legend:
            bar = _colour_bar(ScalarMappable(Normalize(0, 360), CYCLIC), ax, "orientation")
            bar.set_ticks([0, 90, 180, 270, 360], labels=["0°", "90°", "180°", "270°", "360°"])
    else:
        ax.scatter(*xy.T, color=BLUE, s=size, alpha=0.8, linewidths=0)
    bare(ax)
    ax.set(xticks=[], yticks=[])
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def _labelled(xy: np.ndarray, labels: np.ndarray, names: Sequence[str] | None, ax: Axes, size: float,
              legend: bool) -> None:
    classes = sorted(set(labels[labels >= 0].tolist()))
    if names is not None and classes and classes[-1] >= len(names):
        raise ValueError(f"labels go up to {classes[-1]} but names has {len(names)} entries; expected one per class")
    ax.scatter(*xy[labels < 0].T, color=FAINT, s=0.6 * size, linewidths=0, zorder=1,
               label="none" if (labels < 0).any() else None)
    for label in classes:
        # Colour and marker step together but have another period after one round, so 56 classes differ.
        marker = MARKERS[(label + label // len(PALETTE)) % len(MARKERS)]
        ax.scatter(*xy[labels == label].T, color=PALETTE[label % len(PALETTE)], marker=marker, s=size,
                   edgecolors=PAPER, linewidths=0.3, zorder=2, label=str(label) if names is None else names[label])
    if legend and (classes or (labels < 0).any()):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=min(4, len(classes) + 1), markerscale=1.4,
                  handletextpad=0.2, columnspacing=1.0, fontsize=SMALL)


def colour_bar(axes: Axes | Sequence[Axes] | np.ndarray, label: str = "cosine", *,
               limit: float = 1.0) -> Axes | Sequence[Axes] | np.ndarray:
    """One bar beside an axes, or beside several that share it, for the diverging map from -limit to limit.

    >>> from matplotlib.figure import Figure
    >>> figure = Figure()
    >>> ax = colour_bar(figure.subplots(), "cosine")
    >>> len(figure.axes)
    2
    """
    panels = axes if isinstance(axes, Axes) else list(np.ravel(np.asarray(axes, dtype=object)))
    _colour_bar(ScalarMappable(Normalize(-limit, limit), DIVERGING), panels, label)
    return axes


# -------------------------------------------------------------------------------------------------- helpers

def _block_ticks(G: FiniteGroup, n_rotations: int | None) -> tuple[list[int], list[str]]:
    n = rotations_of(G, n_rotations)
    if n is None:
        step = max(1, G.order // 8)
        return list(range(0, G.order, step)), [G.latex[g] for g in range(0, G.order, step)]
    wanted = [k for k in range(n) if (4 * k) % n == 0] if G.order == n else [k for k in range(n) if (2 * k) % n == 0]
    halves = range(0, G.order, n)
    return [half + k for half in halves for k in wanted], [f"{360 * k // n}°" for _ in halves for k in wanted]


def _divide(ax: Axes, G: FiniteGroup, n_rotations: int | None = None, rows: bool = True) -> None:
    """The thin line between rotations and reflections."""
    n = rotations_of(G, n_rotations)
    if n is None or n == G.order:
        return
    ax.axvline(n - 0.5, color=INK, linewidth=0.9, zorder=4)
    if rows:
        ax.axhline(n - 0.5, color=INK, linewidth=0.9, zorder=4)


def _name_halves(ax: Axes, G: FiniteGroup, n_rotations: int | None, rows: bool = True) -> None:
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


def _colour_bar(mappable: AxesImage | ScalarMappable, ax: Any, label: str) -> Any:
    first, shrink = (ax[0], 0.7) if isinstance(ax, list) else (ax, 0.9)
    bar = first.figure.colorbar(mappable, ax=ax, fraction=0.05, pad=0.03, shrink=shrink, aspect=18)
    bar.outline.set_visible(False)
    bar.set_label(label)
    bar.ax.tick_params(length=2, labelsize=SMALL)
    bar.set_ticks(np.linspace(mappable.norm.vmin, mappable.norm.vmax, 5))
    return bar
