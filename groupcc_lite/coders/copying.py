"""The simplest prediction of an orbit: that transforming the image changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def copy_fve(orbits: Iterable[Tensor]) -> Float[np.ndarray, " g"]:
    """Fraction of variance explained when x[e] is copied into every block, by block, over batches (b, |G|, d).

    What a coder has to beat, as the linear ceiling is what it may hope for; as there, variance is about each block's
    mean. 1 for e, below 0 where a copy is worse than the mean. ValueError if there are no orbits or a block is
    constant.

    >>> copy_fve([torch.tensor([[[1.0], [1.0]], [[3.0], [2.0]]])]).tolist()
    [1.0, -1.0]
    """
    residual, squares, total, count = 0.0, 0.0, 0.0, 0
    for x in orbits:
        x = x.double()
        residual = residual + (x - x[:, :1]).square().sum((0, 2))
        squares = squares + x.square().sum((0, 2))
        total, count = total + x.sum(0), count + len(x)
    if not count:
        raise ValueError("there are no orbits to copy in; expected at least one")
    variance = squares - total.square().sum(1) / count
    if not (variance > 1e-12 * squares).all():
        raise ValueError(f"block {int(variance.argmin())} is the same in all {count} orbits; expected blocks that vary")
    return (1 - residual / variance).cpu().numpy()
