"""Which unit is another one, moved: what symmetry predicts of a layer, and who is there.

A unit that looks for a pattern P predicts others: one that looks for hP, for each element h. It would say of the moved
image hJ what the first says of J. So each prediction is a vector of responses, and the unit that comes closest to it
either is close or is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.groups import FiniteGroup


class Members(NamedTuple):
    """For each unit and element h, who comes closest to the unit moved by h.

    >>> Members._fields
    ('correlation', 'partner')
    """

    correlation: Float[Tensor, "u h"]
    """Of the predicted responses with the closest unit's, over samples and elements; NaN for units without variance."""
    partner: Int[Tensor, "u h"]
    """The closest unit's number among the candidates."""


def correlations_by_element(a: Float[Tensor, "n g u"], b: Float[Tensor, "n g k"],
                            G: FiniteGroup) -> Iterator[Float[Tensor, "u k"]]:
    """For each element h in turn corr(a_i[n, g], b_j[n, hg]), over samples and elements, of all pairs; on a's device.

    Both are responses to orbits of the same images at the same points. A unit that always says the same has NaN
    everywhere. ValueError for responses that do not belong together.

    >>> from groupcc_lite.groups import cyclic
    >>> a = torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(0))
    >>> own, turned = correlations_by_element(a, a, cyclic(2))
    >>> own.diagonal().round(decimals=2).tolist()
    [1.0, 1.0, 1.0]
    """
    if a.shape[:2] != b.shape[:2] or a.shape[1] != G.order or not len(a):
        raise ValueError(f"responses of shapes {tuple(a.shape)} and {tuple(b.shape)}; expected the same points, and "
                         f"{G.order} elements")
    first, second = _standardised(a), _standardised(b)
    # a[n, g] with b[n, hg] is a[n, h^-1 g] with b[n, g]: the smaller of the two is put in another order.
    small = first.shape[2] <= second.shape[2]
    for h in range(G.order):
        if small:
            moved = first[:, torch.as_tensor(G.table[G.inverse[h]])]
            yield moved.flatten(0, 1).T @ second.flatten(0, 1)
        else:
            yield first.flatten(0, 1).T @ second[:, torch.as_tensor(G.table[h])].flatten(0, 1)


@torch.no_grad()
def orbit_members(a: Float[Tensor, "n g u"], b: Float[Tensor, "n g k"], G: FiniteGroup) -> Members:
    """Closest candidate behind `b` to each unit behind `a` and each element: max over j of corr(a[n, g], b_j[n, hg]).

    As `correlations_by_element`. A candidate without variance is nobody's. A unit that is among its own candidates
    finds itself at h = e.

    >>> from groupcc_lite.groups import cyclic
    >>> a = torch.rand(50, 4, 3, generator=torch.Generator().manual_seed(0))
    >>> moved = a.roll(1, 1).flip(2)  # each looks for what another one looks for, moved by one step
    >>> found = orbit_members(a, moved, cyclic(4))
    >>> found.partner[:, 1].tolist(), found.correlation[:, 1].round(decimals=3).tolist()
    ([2, 1, 0], [1.0, 1.0, 1.0])
    """
    values, partners = zip(*(table.nan_to_num(-torch.inf).max(1) for table in correlations_by_element(a, b, G)),
                           strict=True)
    best = torch.stack(values, 1)
    return Members(best.where(best > -torch.inf, torch.nan), torch.stack(partners, 1))


def _standardised(r: Float[Tensor, "n g m"]) -> Float[Tensor, "n g m"]:
    """Mean 0 and length 1 over samples and elements; NaN where nothing varies."""
    rest = r.float() - r.float().mean((0, 1))
    length = rest.square().sum((0, 1)).sqrt()
    return rest / length.where(length > 0, torch.nan)
