"""Activations as float16, with a power of two beside them where they are too small for it.

float16 has ten binary digits down to 6.1e-5 and loses them below; under 6e-8 nothing is left. Activations of a layer
with small weights (LayerScale, for one) lie there altogether. A power of two moves them into range and back without
rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST = 65_504.0


def exponent_for(blocks: Tensor) -> int:
    """k such that 2^k lifts the largest magnitude to at least 1; 0 where it is there already, or everything is 0.

    Where the largest is 1 or more, so that k is 0, numbers of a ten-thousandth of it still have all their digits.
    """
    largest = float(blocks.abs().max())
    return 0 if largest >= 1 or largest == 0 else -math.floor(math.log2(largest))


def to_half(blocks: Tensor, exponent: int) -> Tensor:
    """`blocks` times 2^exponent as float16. ValueError for what float16 cannot hold: larger than 65,504, or NaN."""
    half = (blocks if exponent == 0 else blocks * 2.0 ** exponent).half()
    if not torch.isfinite(half).all():
        raise ValueError("activations exceed float16's range (65,504); choose a layer with smaller activations")
    return half


def from_half(half: Tensor, exponent: int) -> Tensor:
    """float32 in the original units."""
    return half.float() if exponent == 0 else half.float() * 2.0 ** -exponent
