"""The spectrum of a dictionary vector: how its squared norm is shared out over the irreps of the group.

The first irrep, the trivial one, holds what no element changes; a centred profile is the profile of all the rest.
"""

from __future__ import annotations

import torch
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


def trivial_share(c: Float[Tensor, "m g"]) -> Float[Tensor, " m"]:
    """Share of the power that no element changes, from profiles alone: the mean of c over the group.

    For c = `self_similarity(D, G)` it is the first column of `irrep_power(D, G)`.

    >>> import torch
    >>> trivial_share(torch.tensor([[1.0, 0.0, 1.0, 0.0]]))
    tensor([0.5000])
    """
    return c.mean(1)


def centred(c: Float[Tensor, "m g"], D: Float[Tensor, "m g d"] | None = None,
            G: FiniteGroup | None = None) -> Float[Tensor, "m g"]:
    """c'(h) = (c(h) - p) / (1 - p): profiles of what is left of a feature without its invariant part, of share p.

    p is the mean of c over the group, so c alone is enough, and profiles of encoders can be centred too; where D and G
    are given they are checked to belong to c. c'(e) stays 1 and the mean of c' is 0. A feature that is nothing but
    invariant has no such profile: its row is 0, but for a 1 at e. ValueError for a D whose profiles are not c.

    >>> import torch
    >>> centred(torch.tensor([[1.0, 0.6, 0.8, 0.6]])).round(decimals=3)  # p = 0.75
    tensor([[ 1.0000, -0.6000,  0.2000, -0.6000]])
    """
    if D is not None and G is not None:
        check_profiles(c, G)
        power = irrep_power(D, G)[:, 0].to(c)
        if power.shape != c.shape[:1] or not torch.allclose(power, trivial_share(c), atol=1e-3):
            raise ValueError("c are not the profiles of D: the shares of the trivial irrep differ; expected "
                             "c = self_similarity(D, G)")
    share = trivial_share(c)[:, None]
    left = 1 - share
    profiles = torch.where(left > 1e-6, (c - share) / left.clamp(min=1e-6), torch.zeros_like(c))
    profiles[:, 0] = 1.0
    return profiles


def check_profiles(c: Float[Tensor, "m g"], G: FiniteGroup) -> None:
    """ValueError unless c is one finite number for each element of G, 1 at the identity."""
    if c.ndim != 2 or c.shape[1] != G.order:
        raise ValueError(f"c has shape {tuple(c.shape)}; expected (features, {G.order}) for {G.name}")
    wrong = torch.nonzero(~(torch.isfinite(c).all(1) & ((c[:, 0] - 1).abs() < 1e-3))).flatten().tolist()
    if wrong:
        raise ValueError(f"profile {wrong[0]} is not finite, or not 1 at the identity; leave out features that have "
                         f"none, here {len(wrong)} of {len(c)}")
