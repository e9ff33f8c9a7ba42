"""The spectrum of a dictionary vector: how its squared norm is shared out over the irreps of the group."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, fourier_power
from groupcc_lite.symmetry.block_action import check_vectors, in_parts


def irrep_power(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, "m k"]:
    """Shares of each dictionary vector's squared norm over the irreps, in the order of `G.irreps()`; rows sum to 1.

    A feature that no element changes has all power in the first irrep, the trivial one; in D_n, one that a half turn
    leaves as it is has power at even frequencies only. ValueError for vectors that are zero or not finite.

    >>> import torch
    >>> from groupcc_lite.groups import cyclic
    >>> G, f = cyclic(4), torch.tensor([[[1.0], [0.0], [1.0], [0.0]]])
    >>> [irrep.name for irrep in G.irreps()], irrep_power(f, G).round(decimals=4).tolist()
    (['A', 'E1', 'B'], [[0.5, 0.0, 0.5]])
    """
    check_vectors(D, G)
    shares = in_parts(D, lambda part: fourier_power(part, G))
    return (shares / shares.sum(1, keepdim=True)).float()
