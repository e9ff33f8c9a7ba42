"""Orbit vectors that lie in memory; they may come from any model and any kind of data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.base import digest
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.orbits.source import OrbitSource


class TensorOrbits(OrbitSource):
    """Orbit vectors that lie in memory, such as the whole-image activations of a small network.

    `blocks` (n, |G|, d) in the model's units; ValueError if they do not fit the group or are not finite.

    >>> import torch
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> source = TensorOrbits(2 * torch.ones(10, 4, 3), cyclic(4))
    >>> len(source), source.scale, next(source.batches(5, elements=slice(0, 2))).shape
    (10, 0.5, torch.Size([5, 2, 3]))
    """

    def __init__(self, blocks: Float[Tensor, "n g d"], group: FiniteGroup):
        if blocks.ndim != 3 or blocks.shape[1] != group.order or not len(blocks):
            raise ValueError(f"blocks have shape {tuple(blocks.shape)}; expected (n, {group.order}, channels), one "
                             f"block per element of {group.name}, and at least one row")
        if not torch.isfinite(blocks).all():
            raise ValueError("blocks hold NaN or infinite values; check the activations they were made from")
        self.blocks, self.group, self.channels = blocks, group, blocks.shape[2]
        self.exact = np.ones(group.order, dtype=bool)

    def __len__(self) -> int:
        return len(self.blocks)

    @cached_property
    def scale(self) -> float:
        """The factor that brings the mean squared norm of a block to `channels`; ValueError if all are zero."""
        return self.scale_of(slice(None))

    def scale_of(self, elements: slice) -> float:
        blocks = self.blocks[:, elements].to(torch.promote_types(self.blocks.dtype, torch.float32))
        largest = float(blocks.abs().max())
        if largest == 0:
            raise ValueError("all activations are zero; check the inputs, the layer and the weights")
        # Squares of tiny or huge numbers are lost. A power of two brings them near 1 and back without rounding.
        exponent = min(max(math.frexp(largest)[1], -120), 120)
        squares = (blocks * 2.0 ** -exponent).square().sum(-1).mean()
        return math.ldexp(float((self.channels / squares).sqrt()), -exponent)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the numbers, and the group."""
        content = hashlib.sha256(self.blocks.detach().cpu().contiguous().view(torch.uint8).numpy())
        return digest([content.hexdigest(), list(self.blocks.shape), self.group.table.tolist()])

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(self))).to(self.blocks.device)
        for number in range(start, self.batches_per_epoch(batch_size)):
            yield self.blocks[order[number * batch_size:(number + 1) * batch_size]][:, elements]

    def in_order(self, batch_size: int = 1024, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Every row once, in order."""
        for first in range(0, len(self), batch_size):
            yield self.blocks[first:first + batch_size, elements]
