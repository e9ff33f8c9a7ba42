"""How well a coder does: while it trains, against its sparsity, and for each element of the group.

Functions take axes, draw on them and return them, as everywhere here. Numbers of elements stand in the order of the
group, with a thin line between rotations and reflections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

from groupcc_lite.figures.style import (
    BLUE,
    GREEN,
    INK,
    MARKERS,
    ORANGE,
    PALETTE,
    SMALL,
    Array,
    array,
    block_ticks,
    divide_halves,
    name_halves,
)
from groupcc_lite.groups import FiniteGroup, rotations_of

_PALE_BLUE = "#8fc1e3"
"""Of elements that resample, beside the exact ones' blue."""


def fve_per_block(fve: Float[Array, " g"], G: FiniteGroup, ax: Axes, *, ceiling: Float[Array, " g"] | None = None,
                  exact: Sequence[bool] | Array | None = None, n_rotations: int | None = None) -> Axes:
    """Fraction of variance explained for each block as bars, the linear reference as a tick above each.

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
    ax.bar(places, fve, width=0.78, color=np.where(exact, BLUE, _PALE_BLUE), zorder=2)
    handles = [Patch(color=BLUE, label="exact")] if exact.any() else []
    handles += [Patch(color=_PALE_BLUE, label="resampled")] if not exact.all() else []
    top = fve.max()
    if ceiling is not None:
        ceiling = array("ceiling", ceiling, "g", g=G.order)
        ax.hlines(ceiling, places - 0.45, places + 0.45, color=INK, linewidth=2, zorder=3)
        handles.append(Line2D([], [], color=INK, linewidth=2, label="linear reference"))
        top = max(top, ceiling.max())
    ticks, names = block_ticks(G, n_rotations)
    ax.set_xticks(ticks, names, fontsize=SMALL)
    ax.set(xlim=(-0.7, G.order - 0.3), ylim=(min(0, 1.05 * fve.min()), min(1.0, 1.12 * max(top, 0.05))),
           ylabel="variance explained")
    ax.grid(axis="x", visible=False)
    divide_halves(ax, G, n_rotations, rows=False)
    name_halves(ax, G, n_rotations, rows=False)
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
        offset, side = ((8, -11), "left") if activation == "relu" else ((-7, 5), "right")
        for row, place in zip(mine, places, strict=True):
            if row.get(setting) is not None:
                ax.annotate(f"{symbol} = {row[setting]:g}", place, xytext=offset, textcoords="offset points", ha=side,
                            fontsize=SMALL, color=colour, zorder=5,
                            bbox=dict(facecolor="white", edgecolor="none", pad=0.5))  # no line strikes through it
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
    ticks, names = block_ticks(G, n_rotations)
    ax.set_xticks(ticks, names, fontsize=SMALL)
    ax.set(xlim=(-0.7, G.order - 0.3), ylabel=ylabel)
    ax.grid(axis="x", visible=False)
    divide_halves(ax, G, n_rotations, rows=False)
    name_halves(ax, G, n_rotations, rows=False)
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
