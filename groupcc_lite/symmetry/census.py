"""The features of a coder that are alive, and how many of them have which symmetry."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.symmetry.spectra import irrep_power
from groupcc_lite.symmetry.stabiliser import TAU, Stabiliser, stabilisers


class Census(NamedTuple):
    """What a set of features is made of.

    >>> import torch
    >>> from groupcc_lite.groups import cyclic
    >>> census = small_census(torch.ones(2, 4, 3), cyclic(4))
    >>> dict(census.counts), census.power.shape
    ({'all': 2}, torch.Size([2, 3]))
    """

    stabilisers: list[Stabiliser]
    """One for each feature."""
    counts: Counter[str]
    """How many features have which stabiliser, by the label of the subgroup."""
    power: Float[Tensor, "m k"]
    """Shares of each feature over the irreps."""


def living_dictionary(coder: GroupCrosscoder,
                      frequency: Float[np.ndarray, " m"]) -> tuple[Float[Tensor, "k g d"], Int[np.ndarray, " k"]]:
    """Dictionary vectors of the latents that ever fire, detached and on the CPU, and the numbers of these latents.

    `frequency`: how often each latent fires, as `coders.evaluate` measures it on held-out images. ValueError if it is
    not one number for each latent.

    >>> from groupcc_lite.groups import cyclic
    >>> D, features = living_dictionary(GroupCrosscoder(cyclic(4), 3, 5), np.array([0.1, 0.0, 0.0, 0.3, 0.0]))
    >>> tuple(D.shape), features.tolist()
    ((2, 4, 3), [0, 3])
    """
    D = coder.dictionary.detach().cpu()
    if np.shape(frequency) != (len(D),):
        raise ValueError(f"frequency has shape {np.shape(frequency)}; expected ({len(D)},), one for each latent")
    alive = np.asarray(frequency) > 0
    return D[alive], alive.nonzero()[0]


def small_census(D: Float[Tensor, "m g d"], G: FiniteGroup, *, tau: float = TAU) -> Census:
    """Stabilisers of dictionary vectors, their counts by label, and the power over irreps, in one go.

    ValueError as for `stabilisers`.

    >>> import torch
    >>> from groupcc_lite.groups import cyclic
    >>> D = torch.tensor([[[1.0], [0.0], [1.0], [0.0]], [[1.0], [1.0], [1.0], [1.0]], [[1.0], [0.0], [0.0], [0.0]]])
    >>> sorted(small_census(D, cyclic(4)).counts.items())
    [('all', 1), ('half turn', 1), ('none', 1)]
    """
    found = stabilisers(D, G, tau=tau)
    return Census(found, Counter(s.subgroup.label for s in found), irrep_power(D, G))
