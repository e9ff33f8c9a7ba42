"""Subgroups, stabilisers and spectra drawn on matplotlib axes, by the rules of `plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Patch

from groupcc_lite.figures.features import self_similarity_profile
from groupcc_lite.figures.style import (
    BLUE,
    FAINT,
    INK,
    MARKERS,
    MUTED,
    ORANGE,
    PALETTE,
    PAPER,
    SMALL,
    Array,
    array,
    readable_on,
)
from groupcc_lite.groups import FiniteGroup, Subgroup, representatives, rotations_of
from groupcc_lite.symmetry import TAU, Stabiliser

_MOST_CLASSES = 40
_PALE = "#8fc1e3"


# ---------------------------------------------------------------------------------------------- subgroups

def subgroup_lattice(G: FiniteGroup, ax: Axes, *, counts: Mapping[int, int] | None = None) -> Axes:
    """Subgroups by size, conjugate ones merged; a line where one lies in another with nothing between.

    Below each label stands how many subgroups the class has, or `counts`, features by class number, which also shade.
    ValueError for counts of classes that the group does not have, and for groups with more than 40 classes.
    """
    classes = representatives(G.subgroups())
    if len(classes) > _MOST_CLASSES:
        raise ValueError(f"{G.name} has {len(classes)} classes of subgroups; expected at most {_MOST_CLASSES}, more "
                         "cannot be read")
    unknown = sorted(set(counts or ()) - {H.conjugacy_class for H in classes})
    if unknown:
        raise ValueError(f"counts has the classes {unknown}; expected numbers from 0 to {len(classes) - 1}")
    places = _places(classes)
    for low, high in _covers(G, classes):
        ax.plot(*zip(places[low], places[high], strict=True), color=FAINT, linewidth=1.6, zorder=1)
    sizes = [sum(K.conjugacy_class == H.conjugacy_class for K in G.subgroups()) for H in classes]
    for H, size, place in zip(classes, sizes, places, strict=True):
        shade = 0.0 if not counts else (counts.get(H.conjugacy_class, 0) / max(1, *counts.values())) ** 0.5
        colour = (1 - shade) * np.array(to_rgba(PAPER)) + shade * np.array(to_rgba(BLUE))
        second = f"×{size}" if counts is None else str(counts.get(H.conjugacy_class, 0))
        ax.text(*place, f"{H.label}\n{second}", ha="center", va="center", fontsize=SMALL, color=readable_on(colour),
                zorder=3, bbox=dict(boxstyle="round,pad=0.3", facecolor=colour, edgecolor=MUTED, linewidth=0.8))
    orders = sorted({H.order for H in classes})
    widest = max(abs(x) for x, _ in places)
    ax.set(xlim=(-widest - 0.6, widest + 0.6), ylim=(-0.55, len(orders) - 0.45), xticks=[], ylabel="order")
    ax.set_yticks(range(len(orders)), [str(order) for order in orders])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


def _places(classes: Sequence[Subgroup]) -> list[tuple[float, float]]:
    """One row per order, the smallest at the bottom, every row centred."""
    rows: dict[int, list[Subgroup]] = {}
    for H in classes:
        rows.setdefault(H.order, []).append(H)
    level = {order: y for y, order in enumerate(sorted(rows))}
    return [(rows[H.order].index(H) - (len(rows[H.order]) - 1) / 2, float(level[H.order])) for H in classes]


def _covers(G: FiniteGroup, classes: Sequence[Subgroup]) -> list[tuple[int, int]]:
    """Pairs of classes, a member of the first inside one of the second and no third class between."""
    members = [[set(K.elements) for K in G.subgroups() if K.conjugacy_class == H.conjugacy_class] for H in classes]
    # One member of the first class is enough: conjugation moves it onto the others and the second class onto itself.
    below = np.array([[a != b and any(members[a][0] < K for K in members[b]) for b in range(len(classes))]
                      for a in range(len(classes))])
    between = (below.astype(int) @ below.astype(int)) > 0
    return [(int(a), int(b)) for a, b in np.argwhere(below & ~between)]


# -------------------------------------------------------------------------------------------- stabilisers

def stabiliser_profile(c: Float[Array, " g"], found: Stabiliser, G: FiniteGroup, ax: Axes, *, tau: float = TAU,
                       legend: bool = True) -> Axes:
    """A self-similarity profile with the threshold (dashed) and a ring around each element of the stabiliser."""
    c = array("c", c, "g", g=G.order)
    self_similarity_profile(c, G, ax, legend=legend)
    n, members = rotations_of(G), list(found.subgroup.elements)
    places = [float(h) if n is None else 360 * (h % n) / n for h in members]
    # A profile over angles ends with a second copy of its first points.
    again = [] if n is None else [h for h in members if h % n == 0]
    ax.scatter([*places, *(360.0 for _ in again)], c[members + again], s=85, facecolors="none", edgecolors=INK,
               linewidths=1.2, clip_on=False, zorder=4)
    ax.axhline(tau, color=MUTED, linestyle="--", linewidth=1)
    return ax


def census_bars(found: Sequence[Stabiliser], G: FiniteGroup, ax: Axes, *, doubtful: float = 0.05,
                legend: bool = True) -> Axes:
    """How many features have which label: dark where the margin is at least `doubtful`, pale where it is smaller.

    One bar per label of `G.subgroups()`, also for labels that no feature has, the smallest subgroups on top.
    """
    if not found:
        raise ValueError("found is empty; expected one stabiliser per feature")
    labels = list(dict.fromkeys(H.label for H in representatives(G.subgroups())))
    strangers = {s.subgroup.label for s in found} - set(labels)
    if strangers:
        raise ValueError(f"found has the labels {', '.join(sorted(strangers))}; expected labels of {G.name}, which are "
                         f"{', '.join(labels)}")
    clear, doubt = (np.array([sum(s.subgroup.label == label and (s.margin >= doubtful) == sure for s in found)
                              for label in labels]) for sure in (True, False))
    rows = np.arange(len(labels))
    ax.barh(rows, clear, color=BLUE, height=0.72)
    ax.barh(rows, doubt, left=clear, color=_PALE, height=0.72)
    for row, total in zip(rows, clear + doubt, strict=True):
        ax.annotate(str(total), (total, row), (4, 0), textcoords="offset points", va="center", fontsize=SMALL)
    ax.set_yticks(rows, labels)
    ax.set(xlabel="features", xlim=(0, 1.1 * (clear + doubt).max()), ylim=(len(labels) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    if legend:
        handles = [Patch(color=BLUE, label=f"margin at least {doubtful:g}"), Patch(color=_PALE, label="doubtful")]
        ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2)
    return ax


def threshold_curves(curves: Mapping[str, Float[Array, " t"] | Sequence[float]], taus: Float[Array, " t"], ax: Axes, *,
                     tau: float = TAU, ylabel: str = "", legend: bool = True) -> Axes:
    """Something measured at every threshold, one line per name; the threshold in use is dashed."""
    taus = array("taus", taus, "t")
    for number, (name, values) in enumerate(curves.items()):
        values = array(f"curves[{name!r}]", values, "t", t=len(taus))
        ax.plot(taus, values, marker=MARKERS[number % len(MARKERS)], markersize=4, label=name,
                color=PALETTE[number % len(PALETTE)])
    ax.axvline(tau, color=MUTED, linestyle="--", linewidth=1)
    ax.set(xlabel="threshold $τ$", ylabel=ylabel)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    if legend:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2)
    return ax


# ------------------------------------------------------------------------------------------------ spectra

def irrep_bars(power: Float[Array, " k"], G: FiniteGroup, ax: Axes, *, legend: bool = True) -> Axes:
    """Shares over the irreps in the order of `G.irreps()`; even and odd frequencies differ in colour, where there are
    frequencies."""
    irreps = G.irreps()
    power = array("power", power, "k", k=len(irreps))
    odd = [irrep.frequency is not None and irrep.frequency % 2 == 1 for irrep in irreps]
    ax.bar(range(len(irreps)), power, color=[ORANGE if o else BLUE for o in odd], width=0.75)
    ax.set_xticks(range(len(irreps)), [irrep.name for irrep in irreps], fontsize=SMALL)
    ax.set(ylabel="share", xlim=(-0.6, len(irreps) - 0.4))
    ax.grid(axis="x", visible=False)
    if legend and any(odd):
        handles = [Patch(color=BLUE, label="even frequency"), Patch(color=ORANGE, label="odd frequency")]
        ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2)
    return ax
