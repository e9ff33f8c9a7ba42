"""What symmetry a feature has: its stabiliser with a margin, its power over irreps, how equivariant its blocks are.

All of it follows from a dictionary vector f: G -> R^d under (h . f)[g] = f[gh]; no picture is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, Subgroup, power
from groupcc_lite.symmetry.similarity import normalised, self_similarity

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
    _check(D, G)
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


def irrep_power(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, "m k"]:
    """Shares of each dictionary vector's squared norm over the irreps, in the order of `G.irreps()`; rows sum to 1.

    A feature that no element changes has all power in the first irrep, the trivial one; in D_n, one that a half turn
    leaves as it is has power at even frequencies only. ValueError for vectors that are zero or not finite.
    """
    _check(D, G)
    shares = _in_parts(D, lambda part: power(part, G))
    return (shares / shares.sum(1, keepdim=True)).float()


def equivariance_score(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, " m"]:
    """Share of the variance of B[g, h] = cos(f[g], f[h]) that a function of g^-1 h explains, per feature.

    1 if the blocks are one vector moved by an orthogonal representation, f[g] = rho(g) v, as in an exactly equivariant
    network, and where B does not vary at all. Only pairs of different blocks count, since B[g, g] = 1 says nothing.
    Chance level: blocks without structure score between 1 / |G| and 2 / |G| in large groups, since the function has
    many values to fit. ValueError for vectors that are zero or not finite.
    """
    _check(D, G)
    quotient = torch.as_tensor(G.table[G.inverse], device=D.device).flatten()  # g^-1 h for all (g, h)
    apart = quotient != 0

    def score(part: Float[Tensor, "m g d"]) -> Float[Tensor, " m"]:
        unit = torch.nn.functional.normalize(part, dim=-1)
        B = (unit @ unit.mT).flatten(1)[:, apart]
        number = quotient[apart].expand_as(B)
        means = B.new_zeros(len(B), G.order).scatter_add_(1, number, B) / G.order
        residual = (B - means.gather(1, number)).square().sum(1)
        variance = (B - B.mean(1, keepdim=True)).square().sum(1)
        return torch.where(variance > 1e-9, 1 - residual / variance, 1.0)

    return _in_parts(D, score).float()


def _in_parts(D: Float[Tensor, "m g d"], work: Callable[[Tensor], Tensor]) -> Tensor:
    """`work` on normalised vectors in double precision, a few at a time: a double copy of all of D may be too large."""
    return torch.cat([work(normalised(part.double())) for part in D.detach().split(256)])


def _check(D: Tensor, G: FiniteGroup) -> None:
    if D.ndim != 3 or D.shape[1] != G.order:
        raise ValueError(f"D has shape {tuple(D.shape)}; expected (features, {G.order}, channels) for {G.name}")
    norms = D.detach().flatten(1).norm(dim=1)
    wrong = torch.nonzero(~(norms.isfinite() & (norms > 1e-12))).flatten().tolist()
    if wrong:
        raise ValueError(f"dictionary vector {wrong[0]} has norm {float(norms[wrong[0]])}; expected a finite one above "
                         f"0 (leave out vectors that have no symmetry of their own, here {len(wrong)} of {len(D)})")
