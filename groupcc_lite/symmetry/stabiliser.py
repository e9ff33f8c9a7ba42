"""The stabiliser of a feature, with a margin: the elements of the group that leave it as it is.

It follows from a dictionary vector f: G -> R^d under (h . f)[g] = f[gh]; no picture is looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, Subgroup
from groupcc_lite.symmetry.block_action import check_vectors
from groupcc_lite.symmetry.similarity import self_similarity

TAU = 0.7
"""Cosine from which an element counts as leaving a feature as it is.

A dictionary vector that is learnt up to a relative error u has c(h) = 1 / (1 + u^2) on its stabiliser. On planted
dictionaries of D_4, D_8, D_16 and C_6 whose vectors are disturbed to cosines of 0.90 to 0.99 with the truth, 0.7 makes
no mistake; 0.8 makes 26 % at 0.90, where it sits on 0.9^2 (`scoring.calibrate_tau`).
"""


class Stabiliser(NamedTuple):
    """The symmetry of one feature."""

    subgroup: Subgroup
    """The largest subgroup that leaves the feature as it is."""
    inside: float
    """Smallest cosine c(h) over the subgroup; 1 if it is the trivial one."""
    outside: float
    """Largest cosine over the other elements; -1, the lowest there is, if there are none."""
    margin: float
    """How far the nearest cosine is from the threshold, min(inside - tau, tau - outside): small where the label is
    doubtful, negative where some element passes the threshold although the subgroup it would generate does not."""


def stabilisers(D: Float[Tensor, "m g d"], G: FiniteGroup, *, tau: float = TAU) -> list[Stabiliser]:
    """The stabiliser of every dictionary vector: the largest subgroup H of G with c(h) >= tau on all of H.

    c is `self_similarity`. Of several subgroups with the same size the one with the largest minimum of c is taken, and
    of those the first in `G.subgroups()`. ValueError for vectors that are zero or not finite, and for tau outside
    (0, 1): at 1 rounding decides.
    """
    check_vectors(D, G)
    if not 0 < tau < 1:
        raise ValueError(f"tau is {tau}; expected a cosine above 0 and below 1, such as {TAU}")
    c, subgroups = self_similarity(D, G).cpu().double().clamp(-1, 1), G.subgroups()
    c[:, 0] = 1.0
    lowest = torch.stack([c[:, list(H.elements)].amin(1) for H in subgroups], dim=1)
    size = torch.tensor([H.order for H in subgroups], dtype=torch.double)
    # c is at most 1, so no cosine outweighs a larger subgroup. numpy's argmax is the first of equal ones.
    chosen = torch.where(lowest >= tau, 2 * size + lowest, 0.0).numpy().argmax(1).tolist()
    found = []
    for profile, minimum, number in zip(c, lowest, chosen, strict=True):
        others = torch.ones(G.order, dtype=torch.bool)
        others[list(subgroups[number].elements)] = False
        inside, outside = float(minimum[number]), float(profile[others].max()) if others.any() else -1.0
        found.append(Stabiliser(subgroups[number], inside, outside, min(inside - tau, tau - outside)))
    return found
