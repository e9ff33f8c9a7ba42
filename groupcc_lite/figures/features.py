"""A group and a feature's blocks: the multiplication table, orders of blocks, heatmaps of all pairs, profiles.

Functions take `ax`, draw on it and return it; none shows anything. `heatmap_row` alone makes its own figure.

The figure belongs to the caller, who makes it inside `house_style()`. Arrays may be NumPy or torch. Blocks of a group
are always drawn in the order of its elements, with a thin line between rotations and reflections, and named by their
angle. Signed values use a diverging map that is symmetric about zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from groupcc_lite.figures.style import (
    BLUE,
    DIVERGING,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    SMALL,
    Array,
    array,
    bar_beside,
    bare,
    block_ticks,
    divide_halves,
    element_colours,
    name_halves,
    readable_on,
)
from groupcc_lite.groups import FiniteGroup, rotations_of

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
    divide_halves(ax, G)
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
    divide_halves(ax, G, rows=False)
    return ax


# --------------------------------------------------------------------------------------------------- blocks

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
    ticks, names = block_ticks(G, n_rotations)
    ax.set_xticks(ticks, names, fontsize=SMALL)
    ax.set_yticks(ticks, names, fontsize=SMALL)
    divide_halves(ax, G, n_rotations)
    name_halves(ax, G, n_rotations)
    if colour_bar:
        bar_beside(image, ax, label)
    return ax


def block_table(table: Float[Array, "g d"], G: FiniteGroup, ax: Axes, *, limit: float | None = None,
                n_rotations: int | None = None) -> Axes:
    """Blocks as rows of colour, elements downwards and channels across: an orbit vector, or a dictionary vector.

    White is zero; `limit` is the value of the darkest colours (default: the largest in the table). ValueError for
    another number of rows than elements.

    >>> from matplotlib.figure import Figure
    >>> from groupcc_lite.groups import dihedral
    >>> block_table(np.eye(8), dihedral(4), Figure().subplots(), n_rotations=4).has_data()
    True
    """
    values = array("table", table, "elements channels", elements=G.order)
    most = float(np.abs(values).max()) if limit is None else limit
    ax.imshow(values, aspect="auto", cmap=DIVERGING, vmin=-most, vmax=most, interpolation="nearest")
    bare(ax)
    ax.set_yticks(*block_ticks(G, n_rotations), fontsize=SMALL)
    n = rotations_of(G, n_rotations)
    if n is not None and n < G.order:
        ax.axhline(n - 0.5, color=INK, linewidth=0.9)
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
    bar_beside(ScalarMappable(Normalize(-limit, limit), DIVERGING), panels, label)
    return axes
