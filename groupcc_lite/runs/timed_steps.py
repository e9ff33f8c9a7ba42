"""How long a step takes on this machine: what every estimate of a cost is made of."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from groupcc_lite.base import matrix_products
from groupcc_lite.coders import Trainable


def training_step(model: Trainable, x: Tensor, amp: bool, **terms: float) -> Callable[[], None]:
    """A training step of a coder or network on the same samples again and again, as a call; `terms` go to its loss.

    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> training_step(SparseAutoencoder(4, 8), torch.randn(16, 1, 4), amp=False)()
    """
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    x = x.to(model.device)

    def step() -> None:
        with matrix_products(x.device, amp):
            loss, _ = model.loss(x, **terms)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def seconds(work: Callable[[], object]) -> float:
    """Of one call, after another one that allocates and compiles.

    >>> seconds(lambda: None) < 1
    True
    """
    work()
    began = _clock()
    work()
    return _clock() - began


def _clock() -> float:
    """Seconds, read when the GPU has finished what it was given before."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
