"""Maps of features in which one label can be seen at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from groupcc_lite.figures.style import BLUE, FAINT, SMALL, Array, array, bare


def label_facets(xy: Float[Array, "m 2"], labels: Int[Array, " m"] | Sequence[int], names: Sequence[str],
                 axes: Sequence[Axes] | np.ndarray, *, notes: Sequence[str] | None = None, size: float = 9.0,
                 colour: str = BLUE) -> Sequence[Axes] | np.ndarray:
    """The same map once for each label: its features in colour, all others grey.

    Eye and legend cannot keep fourteen colours apart; panels can. `notes` go below the names, such as a score of each.
    Axes that are left over are switched off. ValueError for fewer axes than names.

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
        ax.set_title(names[k] if notes is None else f"{names[k]}\n{notes[k]}", fontsize=SMALL, pad=3)
    return axes
