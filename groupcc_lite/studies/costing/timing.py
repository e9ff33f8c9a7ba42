"""Steps of trainings and other pieces of work, timed."""

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


def seconds_of(work: Callable[[], object]) -> float:
    """Of one call, after another one that allocates and compiles.

    >>> seconds_of(lambda: None) < 1
    True
    """
    work()
    began = _clock()
    work()
    return _clock() - began


def step_seconds(train: Callable[[int], object], few: int = 2, many: int = 10) -> float:
    """Of one step of a training that also has a beginning and an end: a longer one less a shorter one, by steps.

    One goes before, and of two the shorter time counts: a difference of short times is easily disturbed.

    >>> step_seconds(lambda steps: time.sleep(steps / 1000)) > 0.0005
    True
    """
    train(many)
    taken: dict[int, list[float]] = {few: [], many: []}
    for steps in (few, many, few, many):
        began = _clock()
        train(steps)
        taken[steps].append(_clock() - began)
    return max(1e-9, min(taken[many]) - min(taken[few])) / (many - few)


def _clock() -> float:
    """Seconds, read when the GPU has finished what it was given before."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
