"""How something changes from layer to layer, for several networks beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from groupcc_lite.figures.style import BLUE, MARKERS, MUTED, ORANGE, SMALL

LINES = {"trained": dict(color=BLUE, linestyle="-"), "random": dict(color=ORANGE, linestyle="--")}
"""How trained and random weights are drawn."""


def depth_lines(values: Mapping[str, np.ndarray], layers: Sequence[str], ax: Axes, *, ylabel: str = "",
                title: str = "") -> Axes:
    """A line over the layers for each kind of weights: the mean of its seeds, each seed as a small mark.

    `values` have a row for each layer and a column for each seed, or one number a layer.

    ValueError for kinds other than those of LINES, and for rows that are not one for each layer.

    >>> from matplotlib.figure import Figure
    >>> ax = depth_lines({"trained": np.array([[0.1, 0.2], [0.3, 0.4]])}, ["conv", "mixed"], Figure().subplots())
    >>> len(ax.lines), [label.get_text() for label in ax.get_xticklabels()]
    (4, ['conv', 'mixed'])
    """
    if unknown := values.keys() - LINES.keys():
        raise ValueError(f"values has {', '.join(sorted(unknown))}; expected {' and '.join(LINES)}")
    for number, (kind, rows) in enumerate(values.items()):
        rows = np.asarray(rows, dtype=float).reshape(len(rows), -1)
        if len(rows) != len(layers):
            raise ValueError(f"{kind} has {len(rows)} rows for {len(layers)} layers; expected one each")
        look, marker = LINES[kind], MARKERS[number]
        ax.plot(range(len(layers)), rows.mean(1), marker=marker, label=f"{kind} weights", **look)
        for column in rows.T if rows.shape[1] > 1 else ():
            ax.plot(range(len(layers)), column, marker, markersize=3, alpha=0.5, color=look["color"])
    ax.set_xticks(range(len(layers)), layers, fontsize=SMALL)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.set(ylabel=ylabel, title=title)
    return ax
