"""Scores of methods on problems with known answers, drawn on matplotlib axes by the rules of `features`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from groupcc_lite.figures.style import INK, MARKERS, PALETTE

_ORDER = ("SAE", "SAE, all poses", "SAE, blocks fitted", "SAE, all poses, blocks fitted", "crosscoder, TopK",
          "crosscoder, L1", "crosscoder, BatchTopK", "equivariant SAE", "equivariant SAE, linear encoder", "wide SAE",
          "SAE, response vectors", "tied crosscoder, L1", "tied crosscoder, TopK", "block-sparse SAE")
_REST = ("P", "p", "h", "*", "8", "X")  # markers of what comes after the palette, in ink


def style_of(method: str) -> tuple[str, str]:
    """(colour, marker) of a method, the same in every figure; ValueError for an unknown one."""
    if method not in _ORDER:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(_ORDER)}")
    place = _ORDER.index(method)
    return (PALETTE[place], MARKERS[place]) if place < len(PALETTE) else (INK, _REST[place - len(PALETTE)])


def method_dots(values: Mapping[str, Sequence[float | None]], ax: Axes, *, names: bool = True) -> Axes:
    """One row per method: a dot per seed and a bar at their mean; a method without numbers gets the words "no answer".

    The first method is at the top. None and NaN count as no number.

    >>> from matplotlib.figure import Figure
    >>> ax = method_dots({"SAE": [0.4, 0.5], "crosscoder, TopK": [None]}, Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['no answer']
    """
    for row, (method, of_seeds) in enumerate(values.items()):
        colour, marker = style_of(method)
        numbers = np.array([v for v in of_seeds if v is not None and not np.isnan(v)])
        if len(numbers):
            ax.scatter(numbers, np.full(len(numbers), row), color=colour, marker=marker, s=34, alpha=0.8, zorder=3,
                       linewidths=0)
            ax.plot([numbers.mean()] * 2, [row - 0.3, row + 0.3], color=colour, linewidth=2.5)
        else:
            ax.text(0.5, row, "no answer", ha="center", va="center", fontsize=9.5, color=INK,
                    transform=ax.get_yaxis_transform())
    ax.set_yticks(range(len(values)), list(values) if names else [""] * len(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    return ax


def difficulty_lines(values: Mapping[str, Mapping[float, Sequence[float | None]]], ax: Axes) -> Axes:
    """One line per method over the levels of a difficulty: the mean over seeds, with the range of seeds behind it.

    `values`: method -> level -> one number per seed. None and NaN leave a gap.

    >>> from matplotlib.figure import Figure
    >>> ax = difficulty_lines({"SAE": {0.1: [0.8, 0.9], 0.2: [0.5]}}, Figure().subplots())
    >>> list(map(float, ax.lines[0].get_xdata()))
    [0.1, 0.2]
    """
    for method, levels in values.items():
        colour, marker = style_of(method)
        kept = {level: found for level, of_seeds in levels.items()
                if (found := [v for v in of_seeds if v is not None and not np.isnan(v)])}
        x = list(kept)
        ax.plot(x, [np.mean(kept[level]) for level in x], color=colour, marker=marker, label=method)
        ax.fill_between(x, [min(kept[level]) for level in x], [max(kept[level]) for level in x], color=colour,
                        alpha=0.15, linewidth=0)
    return ax
