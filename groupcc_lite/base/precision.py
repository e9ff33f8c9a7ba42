"""In which precision matrices are multiplied: bfloat16 where the processor can, float32 where it would only pretend."""

from __future__ import annotations

import torch

AMPERE = (8, 0)
"""The first of NVIDIA's compute capabilities with bfloat16. Older GPUs, such as Colab's T4 (7.5), emulate it slowly."""


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are worth asking for on this device."""
    if device.type != "cuda" or torch.version.hip is not None:
        return True
    return torch.cuda.get_device_capability(device) >= AMPERE


def matrix_products(device: torch.device, amp: bool) -> torch.autocast:
    """A context in which matrix products on `device` run in bfloat16 if `amp` is set and the device has it.

    >>> with matrix_products(torch.device("cpu"), amp=True):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=amp and has_bfloat16(device))
