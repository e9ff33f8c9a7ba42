"""Convolution over a group: patterns put down in every orientation, as strongly as codes say."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups.finite import FiniteGroup
from groupcc_lite.groups.fourier_transform import plancherel_weight

LARGE = 16
"""From so many elements on, products of small matrices in Fourier space take less time than one large product."""


def convolve(F: Float[Tensor, "j g n"], z: Float[Tensor, "b k j"], G: FiniteGroup, *,
             through_fourier: bool | None = None) -> Float[Tensor, "b g n"]:
    """x[g] = sum_jk z_j[k] F_j[g k^-1]: pattern j in the pose k^-1 wherever z_j[k] is not 0.

    Moving codes moves what is written: with (h . z)[k] = z[kh], x moves to (h . x)[g] = x[gh]. In Fourier space it is
    the product F^(rho) z^(rho), with sum_rho d^3 multiplications for each pattern, channel and sample in place of
    |G|^2; for D_16 these are 60 and 1,024. `through_fourier`: None takes that way for groups of at least `LARGE`
    elements. ValueError for shapes that do not fit the group or each other.

    >>> from groupcc_lite.groups import cyclic
    >>> pattern = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> convolve(pattern, torch.tensor([[[0.0], [1.0], [0.0]]]), cyclic(3)).flatten().tolist()  # one step later
    [3.0, 1.0, 2.0]
    """
    if F.ndim != 3 or z.ndim != 3 or not F.shape[1] == z.shape[1] == G.order or len(F) != z.shape[2]:
        raise ValueError(f"F has shape {tuple(F.shape)} and z {tuple(z.shape)}; expected (patterns, {G.order}, "
                         f"channels) and (batch, {G.order}, patterns) for {G.name}")
    if G.order >= LARGE if through_fourier is None else through_fourier:
        return _through_fourier(F, z, G)
    poses = F[:, torch.as_tensor(G.table[:, G.inverse], device=F.device)]  # j, g, k: F_j[g k^-1]
    written = rearrange(z, "b k j -> b (k j)") @ rearrange(poses, "j g k n -> (k j) (g n)")
    return rearrange(written, "b (g n) -> b g n", g=G.order)


def _through_fourier(F: Float[Tensor, "j g n"], z: Float[Tensor, "b g j"], G: FiniteGroup) -> Float[Tensor, "b g n"]:
    """`convolve` as products of matrices. All irreps of one dimension are multiplied at once: many small ones take
    longer than their arithmetic."""
    written = 0
    for d in sorted({irrep.dim for irrep in G.irreps()}):
        alike = [irrep for irrep in G.irreps() if irrep.dim == d]
        rho = torch.as_tensor(np.stack([irrep.matrices for irrep in alike], 1), dtype=z.dtype, device=z.device)
        weights = [plancherel_weight(irrep, G) for irrep in alike]
        back = rho * torch.tensor(weights, dtype=z.dtype, device=z.device)[:, None, None]
        there = rearrange(rho, "g r s t -> g (r s t)")
        patterns = rearrange(F.transpose(1, 2) @ there, "j n (r s t) -> r (t j) (s n)", s=d, t=d)
        codes = rearrange(z.transpose(1, 2) @ there, "b j (r t u) -> r (b u) (t j)", t=d, u=d)
        product = rearrange(codes @ patterns, "r (b u) (s n) -> b (r s u) n", u=d, s=d)
        written = written + rearrange(back, "g r s u -> g (r s u)") @ product
    return written
