"""Maps of features: all labels or angles at once, or one label at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from groupcc_lite.figures.style import (
    BLUE,
    CYCLIC,
    FAINT,
    INK,
    MARKERS,
    PALETTE,
    PAPER,
    SMALL,
    Array,
    array,
    bar_beside,
    bare,
)


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
            bar = bar_beside(ScalarMappable(Normalize(0, 360), CYCLIC), ax, "orientation")
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


def label_facets(xy: Float[Array, "m 2"], labels: Int[Array, " m"] | Sequence[int], names: Sequence[str],
                 axes: Sequence[Axes] | np.ndarray, *, notes: Sequence[str] | None = None,
                 pictures: Float[Array, "k h w"] | None = None, size: float = 9.0,
                 colour: str = BLUE) -> Sequence[Axes] | np.ndarray:
    """The same map once for each label: its features in colour, all others grey.

    Eye and legend cannot keep fourteen colours apart; panels can. `notes` go below the names, such as a score of each,
    and `pictures` of what the labels mean into a corner. Axes that are left over are switched off. ValueError for fewer
    axes than names.

    >>> from matplotlib.figure import Figure
    >>> axes = label_facets(np.eye(3, 2), [0, 1, -1], ["bar", "ring"], Figure().subplots(1, 3))
    >>> [ax.get_title(loc="left") or ax.get_title() for ax in axes]
    ['bar', 'ring', '']
    """
    xy = array("xy", xy, "m two", two=2)
    kinds = array("labels", labels, "m", m=len(xy)).astype(int)
    panels = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(panels) < len(names) or (notes is not None and len(notes) != len(names)):
        raise ValueError(f"{len(panels)} axes and {len(notes or names)} notes for {len(names)} names; expected an axes "
                         "and a note for each")
    for k, ax in enumerate(panels):
        bare(ax)
        ax.set(xticks=[], yticks=[])
        if k >= len(names):
            ax.axis("off")
            continue
        mine = kinds == k
        ax.scatter(*xy[~mine].T, color=FAINT, s=0.5 * size, linewidths=0)
        ax.scatter(*xy[mine].T, color=colour, s=size, linewidths=0)
        ax.set_aspect("equal", adjustable="datalim")
        if pictures is not None:
            corner = ax.inset_axes((0.0, 0.0, 0.24, 0.24))
            corner.imshow(pictures[k], cmap="gray", vmin=0, vmax=1)
            bare(corner)
            corner.set(xticks=[], yticks=[])
        ax.set_title(names[k] if notes is None else f"{names[k]}\n{notes[k]}", fontsize=SMALL, pad=3)
    return axes
