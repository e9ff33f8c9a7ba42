"""How equivariant the blocks of a dictionary vector are: whether f[g] and f[h] differ by g^-1 h alone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup
from groupcc_lite.symmetry.block_action import check_vectors, in_parts


def equivariance_score(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, " m"]:
    """Share of the variance of B[g, h] = cos(f[g], f[h]) that a function of g^-1 h explains, per feature.

    1 if the blocks are one vector moved by an orthogonal representation, f[g] = rho(g) v, as in an exactly equivariant
    network, and where B does not vary at all. Only pairs of different blocks count, since B[g, g] = 1 says nothing.
    Chance level: blocks without structure score between 1 / |G| and 2 / |G| in large groups, since the function has
    many values to fit. ValueError for vectors that are zero or not finite.
    """
    check_vectors(D, G)
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

    return in_parts(D, score).float()
