"""The linear ceiling: how much of the other blocks of an orbit a linear reader of its first block could know."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor

from groupcc_lite.coders import SecondMoments


def linear_ceiling(train: Iterable[Tensor], held_out: Iterable[Tensor],
                   ridges: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)) -> Float[Tensor, " g"]:
    """Held-out FVE of the best ridge map from x[e] to x[g], per element: what a linear reader of x[e] could know.

    `train` and `held_out` give batches (b, g, d). The ridge strength, in units of the mean eigenvalue of x[e]'s
    covariance, is chosen on every fifth training batch, never on the held-out ones. Moments are summed in double
    precision where the training batches lie, and so is the result. ValueError for fewer than two training batches and
    for no held-out one.

    >>> import torch
    >>> x = torch.randn(400, 1, 5, generator=torch.Generator().manual_seed(0))
    >>> orbits = torch.cat([x, x.flip(2)], dim=1)  # block 1 is a linear function of block 0
    >>> linear_ceiling(orbits[:300].split(100), orbits[300:].split(100)).round(decimals=2)
    tensor([1., 1.])
    """
    fit, choose, test = SecondMoments(), SecondMoments(), SecondMoments()
    device = None
    for number, batch in enumerate(train):
        device, blocks = batch.device, batch.float()
        (choose if number % 5 == 1 else fit).add(blocks[:, 0], blocks)
    if not choose.count:
        raise ValueError("linear_ceiling needs at least 2 training batches, to choose the ridge strength on one")
    for batch in held_out:
        blocks = batch.to(device).float()
        test.add(blocks[:, 0], blocks)
    if not test.count:
        raise ValueError("held_out is empty; expected batches of orbit vectors (b, g, d)")
    best = max(ridges, key=lambda ridge: float(choose.fve(*fit.fit(ridge)).mean()))
    return test.fve(*fit.fit(best)).float()
