"""The stabiliser of a feature, with a margin: the elements of the group that leave it as it is.

It follows from a dictionary vector f: G -> R^d under (h . f)[g] = f[gh], or from any profile c(h), such as that of an
encoder's responses; no picture is looked at. Profiles are read without the part that no element changes
(`spectra.centred`): it lifts every c(h), and most of what looks like a mirror in a real layer is owed to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, Subgroup
from groupcc_lite.symmetry.block_action import check_vectors
from groupcc_lite.symmetry.similarity import self_similarity
from groupcc_lite.symmetry.spectra import centred, check_profiles, trivial_share

TAU = 0.4
"""Centred cosine from which an element counts as leaving a feature as it is.

A dictionary vector that is learnt with cosine q to the truth has c(h) = q^2 on its stabiliser, less after centring. On
planted dictionaries, disturbed to q = 0.7, 0.8 and 0.9 by both kinds of error of `answers.disturbed`, the fewest
mistakes (9 % in D_16, 10 % on average over D_4, D_8, D_16 and C_6) are made at 0.34 in D_16 and 0.28 on average; 0.4
makes 11 % in D_16 and 16 % on average. It stays above the best, because planted features are not broadly tuned as
learned ones are, and what a lower threshold adds in a real layer is mostly what `surrogate` has too (chapter 7).
"""
INVARIANT = 0.5
"""A feature is invariant if no element takes it below this cosine, c(h) >= 0.5 for all h: of what it writes, more than
half is the same for all elements. Centred profiles have a mean of zero and cannot tell. On planted features 0.55 to 0.6
would make 1 % fewer mistakes where all have an invariant part, 0.4 where none has."""


class Stabiliser(NamedTuple):
    """The symmetry of one feature.

    >>> from groupcc_lite.groups import cyclic
    >>> found = stabilisers(torch.tensor([[[1.0], [-1.0], [1.0], [-1.0]]]), cyclic(4))[0]
    >>> found.subgroup.elements, found.inside, found.outside, round(found.margin, 3), found.trivial
    ((0, 2), 1.0, -1.0, 0.6, 0.0)
    """

    subgroup: Subgroup
    """The largest subgroup that leaves the feature as it is."""
    inside: float
    """Smallest cosine over the subgroup; 1 if it is the trivial one. Centred, but for an invariant feature."""
    outside: float
    """Largest centred cosine over the other elements; -1, the lowest there is, if there are none."""
    margin: float
    """How far the nearest cosine is from the threshold, min(inside - tau, tau - outside): small where the label is
    doubtful, negative where some element passes the threshold although the subgroup it would generate does not."""
    trivial: float
    """Share of the feature's power that no element changes."""

    @classmethod
    def of(cls, H: Subgroup, profile: Float[Tensor, " g"], trivial: float, tau: float) -> Stabiliser:
        """With this subgroup, from the profile that it was read from."""
        others = torch.ones(len(profile), dtype=torch.bool)
        others[list(H.elements)] = False
        inside = float(profile[list(H.elements[1:])].min()) if H.order > 1 else 1.0
        outside = float(profile[others].max()) if others.any() else -1.0
        return cls(H, inside, outside, min(inside - tau, tau - outside), trivial)


def stabilisers(D: Float[Tensor, "m g d"], G: FiniteGroup, *, tau: float = TAU) -> list[Stabiliser]:
    """The stabiliser of every dictionary vector: the largest subgroup H of G with c'(h) >= tau on all of H.

    c' is the centred profile, `centred(self_similarity(D, G), D, G)`. A feature with c(h) >= `INVARIANT` for all h,
    before centring, has the whole group, whatever the rest of it does. Of several subgroups with the same size the one
    with the largest minimum of c' is taken, and of those the first in `G.subgroups()`. ValueError for vectors that are
    zero or not finite, and for tau outside (0, 1): at 1 rounding decides.

    >>> from groupcc_lite.groups import cyclic
    >>> f = torch.tensor([[[1.0], [0.1], [1.0], [0.0]]])
    >>> stabilisers(f, cyclic(4))[0].subgroup.label
    'half turn'
    """
    check_vectors(D, G)
    return profile_stabilisers(self_similarity(D, G), G, tau=tau)


def profile_stabilisers(c: Float[Tensor, "m g"], G: FiniteGroup, *, tau: float = TAU) -> list[Stabiliser]:
    """The same from profiles c(h), not centred yet: those of dictionary vectors, encoders or surrogates.

    >>> from groupcc_lite.groups import cyclic
    >>> profile_stabilisers(torch.tensor([[1.0, 0.6, 0.7, 0.6]]), cyclic(4))[0].subgroup.label
    'all'
    """
    check_profiles(c, G)
    if not 0 < tau < 1:
        raise ValueError(f"tau is {tau}; expected a cosine above 0 and below 1, such as {TAU}")
    c = c.detach().cpu().double().clamp(-1, 1)
    profiles, trivial, subgroups = read_for(c), trivial_share(c), G.subgroups()
    lowest = lowest_on_subgroups(profiles, subgroups)
    whole = c.amin(1) >= INVARIANT
    size = torch.tensor([H.order for H in subgroups], dtype=torch.double)
    # c' is at most 1, so no cosine outweighs a larger subgroup. numpy's argmax is the first of equal ones.
    chosen = torch.where(lowest >= tau, 2 * size + lowest, 0.0).numpy().argmax(1).tolist()
    everything = next(H for H in subgroups if H.order == G.order)
    found = []
    for i, number in enumerate(chosen):
        if whole[i]:
            smallest = float(c[i].min())
            found.append(Stabiliser(everything, smallest, -1.0, smallest - INVARIANT, float(trivial[i])))
        else:
            found.append(Stabiliser.of(subgroups[number], profiles[i], float(trivial[i]), tau))
    return found


def read_for(c: Float[Tensor, "m g"]) -> Float[Tensor, "m g"]:
    """The centred profiles that symmetry is read from, on the CPU in double precision, c'(e) = 1."""
    profiles = centred(c.detach().cpu().double())
    profiles[:, 0] = 1.0
    return profiles


def lowest_on_subgroups(profiles: Float[Tensor, "m g"], subgroups: Sequence[Subgroup]) -> Float[Tensor, "m k"]:
    """Smallest cosine of each profile over each subgroup, the identity left out; 1 for the trivial one."""
    return torch.stack([profiles[:, list(H.elements[1:])].amin(1) if H.order > 1 else torch.ones_like(profiles[:, 0])
                        for H in subgroups], dim=1)
