"""How the group acts on dictionary vectors, and how one over a product of groups is read as one over a factor.

A dictionary vector is a function f: G -> R^d. The group acts on it by (h . f)[g] = f[g h] (right-regular action), the
rule that orbit vectors themselves obey when the image is transformed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup


def act(D: Float[Tensor, "*m g d"], G: FiniteGroup, h: int) -> Float[Tensor, "*m g d"]:
    """(h . f)[g] = f[g h] for every dictionary vector; h is an element's number."""
    check_blocks(D, G)
    return D[..., torch.tensor(G.regular[h], device=D.device), :]


def paper_reflection(D: Float[Tensor, "*m g d"], G: FiniteGroup) -> Float[Tensor, "*m g d"]:
    """The reflection as Gorton 2024, section 2.3.2 prints it: swap the halves, reverse only the new reflection half.

    Kept for comparison only. It has order 4 instead of 2, and with the rotations it generates 512 arrangements of 32
    blocks instead of 32; `act(D, G, n)` with n = |G| / 2 is the correct one.
    """
    check_blocks(D, G)
    half = G.order // 2
    if half == 0 or not G.name.startswith("D_"):
        raise ValueError(f"the paper prints a reflection for dihedral groups only, not for {G.name}")
    order = [*range(half, G.order), 0, *range(half - 1, 0, -1)]
    return D[..., torch.as_tensor(order, device=D.device), :]


def normalised(D: Float[Tensor, "m g d"]) -> Float[Tensor, "m g d"]:
    """Each dictionary vector, all blocks together, scaled to norm 1; a zero vector stays zero."""
    return D / D.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]


def on_factor(D: Float[Tensor, "m g d"], factors: Sequence[FiniteGroup], number: int) -> Float[Tensor, "m h c"]:
    """Dictionary vectors over the product of `factors`, read as functions on factor `number` alone.

    The blocks of the other factors count as channels, so what `irrep_power` and `stabilisers` say of the result with
    `factors[number]` is about this factor. The order of elements is that of `groups.product`: the last factor runs
    fastest. ValueError if the factors do not make up the group, and for a number that is none of them.
    """
    orders = [factor.order for factor in factors]
    if not 0 <= number < len(orders):
        raise ValueError(f"number is {number}; expected 0 to {len(orders) - 1}, the place of one of the factors")
    if D.ndim != 3 or D.shape[1] != math.prod(orders):
        raise ValueError(f"D has shape {tuple(D.shape)}; expected (features, {math.prod(orders)}, channels) for the "
                         f"product of {', '.join(factor.name for factor in factors)}")
    return D.unflatten(1, orders).movedim(number + 1, 1).flatten(2)


def check_blocks(D: Tensor, G: FiniteGroup) -> None:
    """ValueError unless D has one block for each element of G, next to last axis."""
    if D.ndim < 2 or D.shape[-2] != G.order:
        raise ValueError(f"dictionary has shape {tuple(D.shape)}; expected (..., {G.order}, channels) for {G.name}")


def check_vectors(D: Float[Tensor, "m g d"], G: FiniteGroup) -> None:
    """ValueError unless D is one block for each element of G and no vector is zero or not finite."""
    if D.ndim != 3 or D.shape[1] != G.order:
        raise ValueError(f"D has shape {tuple(D.shape)}; expected (features, {G.order}, channels) for {G.name}")
    norms = D.detach().flatten(1).norm(dim=1)
    wrong = torch.nonzero(~(norms.isfinite() & (norms > 1e-12))).flatten().tolist()
    if wrong:
        raise ValueError(f"dictionary vector {wrong[0]} has norm {float(norms[wrong[0]])}; expected a finite one above "
                         f"0 (leave out vectors that have no symmetry of their own, here {len(wrong)} of {len(D)})")


def in_parts(D: Float[Tensor, "m g d"], work: Callable[[Tensor], Tensor]) -> Tensor:
    """`work` on normalised vectors in double precision, a few at a time: a double copy of all of D may be too large."""
    return torch.cat([work(normalised(part.double())) for part in D.detach().split(256)])
