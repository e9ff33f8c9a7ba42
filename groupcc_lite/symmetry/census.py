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
    """What a set of features is made of."""

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
    """
    D = coder.dictionary.detach().cpu()
    if np.shape(frequency) != (len(D),):
        raise ValueError(f"frequency has shape {np.shape(frequency)}; expected ({len(D)},), one for each latent")
    alive = np.asarray(frequency) > 0
    return D[alive], alive.nonzero()[0]


def small_census(D: Float[Tensor, "m g d"], G: FiniteGroup, *, tau: float = TAU) -> Census:
    """Stabilisers of dictionary vectors, their counts by label, and the power over irreps, in one go.

    ValueError as for `stabilisers`.
    """
    found = stabilisers(D, G, tau=tau)
    return Census(found, Counter(s.subgroup.label for s in found), irrep_power(D, G))
