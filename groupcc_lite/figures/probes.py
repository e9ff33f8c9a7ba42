"""Scores of probes and of spliced coders, drawn on matplotlib axes by the rules of `features`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from groupcc_lite.base import interval_of
from groupcc_lite.figures.style import INK, MARKERS, PALETTE, PAPER
from groupcc_lite.runs import CODER_NAMES

_ORDER = list(CODER_NAMES)
FLOOR = 1e-4
"""The smallest error that is drawn: smaller ones are a few answers of all tasks."""


def colour_of(name: str) -> str:
    """One colour per coder, the same in every figure; the base activations are dark."""
    return INK if name == "activations" else PALETTE[(_ORDER.index(name) - 1) % len(PALETTE)]


def task_errors(scores: Mapping[str, Mapping[str, Sequence[float]]], ax: Axes, *, legend: bool = True) -> Axes:
    """1 - F1 on a logarithmic axis: for each coder (key) and task family (inner key) a mark, with whiskers.

    Marks are means over seeds, whiskers 95 % intervals of the mean of log(1 - F1), where there are several seeds.
    Nothing is drawn below `FLOOR`. ValueError when two coders were scored on different families.

    >>> from matplotlib.figure import Figure
    >>> ax = task_errors({"sae": {"shapes": [0.6, 0.7], "colours": [0.5, 0.5]}}, Figure().subplots())
    >>> [tick.get_text() for tick in ax.get_xticklabels()]
    ['shapes', 'colours']
    """
    families = list(next(iter(scores.values())))
    if any(list(of_coder) != families for of_coder in scores.values()):
        raise ValueError(f"coders were scored on different families; expected {families} for each")
    for number, (name, of_coder) in enumerate(scores.items()):
        places = np.arange(len(families)) + (number - (len(scores) - 1) / 2) * 0.84 / len(scores)
        _error_marks(ax, places, [of_coder[family] for family in families], name, number, linestyle="none")
    for between in range(1, len(families)):
        ax.axvline(between - 0.5, color=INK, linewidth=0.4, alpha=0.4)
    ax.set_xticks(range(len(families)), families)
    if legend:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


def _error_marks(ax: Axes, places: Float[np.ndarray, " n"], scores: Sequence[Sequence[float]], name: str, number: int,
                 **style: Any) -> None:
    """Marks of 1 - F1 with whiskers over seeds."""
    errors = [np.maximum(1 - np.asarray(of_seeds, dtype=float), FLOOR) for of_seeds in scores]
    marks, reach = np.array([e.mean() for e in errors]), np.zeros((2, len(errors)))
    for place, e in enumerate(errors):
        if len(e) > 1:
            low, high = np.exp(interval_of(np.log(e)))
            reach[:, place] = max(0, marks[place] - max(low, FLOOR)), max(0, min(high, 1) - marks[place])
    ax.errorbar(places, marks, yerr=reach if reach.any() else None, marker=MARKERS[number % len(MARKERS)],
                markersize=4.5, color=colour_of(name), label=CODER_NAMES[name], elinewidth=1, **style)
    ax.set(yscale="log", ylim=(FLOOR / 1.3, 1.2), ylabel="1 - F1")


def splice_curves(points: Mapping[str, Mapping[int, Sequence[tuple[float, float]]]], ax: Axes, *,
                  base: float | None = None, legend: bool = True) -> Axes:
    """Loss of the spliced base model against the L1 norm of the latents (Erdogan & Lucic 2025, Figure 4).

    `points`: per coder and k one (loss, l1) per seed, the loss relative to the base model's own; the means are joined
    by a line, whiskers are standard deviations. `base` is the loss without a coder.

    >>> from matplotlib.figure import Figure
    >>> ax = splice_curves({"sae": {8: [(1.4, 20.0)], 16: [(1.2, 35.0)]}}, Figure().subplots())
    >>> ax.has_data()
    True
    """
    for number, (name, of_coder) in enumerate(points.items()):
        seeds = [np.asarray(of_k, dtype=float) for of_k in of_coder.values()]
        means = np.array([of_k.mean(0) for of_k in seeds])
        spread = np.array([of_k.std(0, ddof=1) if len(of_k) > 1 else (0.0, 0.0) for of_k in seeds])
        ax.errorbar(*means.T, xerr=spread[:, 0], yerr=spread[:, 1], marker=MARKERS[number % len(MARKERS)],
                    color=colour_of(name), label=CODER_NAMES[name], elinewidth=1)
        for k, (loss, norm) in zip(of_coder, means, strict=True):
            ax.annotate(str(k), (loss, norm), xytext=(4, 3), textcoords="offset points", fontsize=9.5,
                        color=colour_of(name), bbox=dict(facecolor=PAPER, edgecolor="none", pad=0.3, alpha=0.7))
    if base is not None:
        ax.axvline(base, color=INK, linestyle="--", linewidth=1, label="no coder")
    ax.set(xlabel="pixel loss / the base model's", ylabel="L1 norm of the latents")
    if legend:
        ax.legend()
    return ax


def error_lines(scores: Mapping[str, Mapping[int, Sequence[float]]], ax: Axes) -> Axes:
    """1 - F1 over k on a logarithmic axis, one line per coder; whiskers as in `task_errors`.

    >>> from matplotlib.figure import Figure
    >>> ax = error_lines({"sae": {8: [0.6, 0.7], 16: [0.8]}}, Figure().subplots())
    >>> [tick.get_text() for tick in ax.get_xticklabels()]
    ['8', '16']
    """
    for number, (name, of_coder) in enumerate(scores.items()):
        _error_marks(ax, np.arange(len(of_coder), dtype=float), list(of_coder.values()), name, number)
    ax.set_xticks(range(len(next(iter(scores.values())))), [str(k) for k in next(iter(scores.values()))])
    return ax


def power_curves(r2: Mapping[str, Sequence[float]], ax: Axes, *, labels: Sequence[str], ylabel: str = "$R^2$",
                 legend: bool = True) -> Axes:
    """One line per method over the elements or powers named by `labels`.

    >>> from matplotlib.figure import Figure
    >>> ax = power_curves({"Adam": [1.0, 0.9, 0.8]}, Figure().subplots(), labels=["e", "r", "r^2"])
    >>> list(map(float, ax.lines[0].get_ydata()))
    [1.0, 0.9, 0.8]
    """
    for number, (name, values) in enumerate(r2.items()):
        ax.plot(range(len(values)), values, marker=MARKERS[number % len(MARKERS)], markersize=5, label=name,
                color=PALETTE[number % len(PALETTE)])
    ax.set_xticks(range(len(labels)), labels)
    ax.set_ylabel(ylabel)
    if legend:
        ax.legend()
    return ax
