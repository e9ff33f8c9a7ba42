"""Where things are computed, and in which precision: bfloat16 where the processor can, else float32.

Training may also use float16, on GPUs that multiply in it and not in bfloat16. Its numbers end at 65,504 and lose their
digits below 6e-5, so whoever asks for it scales the loss, and leaves out steps whose gradients overflow.
"""

from __future__ import annotations

import torch

AMPERE = (8, 0)
"""The first of NVIDIA's compute capabilities with bfloat16. Older GPUs, such as Colab's T4 (7.5), emulate it slowly."""
VOLTA = (7, 0)
"""The first with fast products in float16."""


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are worth asking for on this device."""
    if device.type != "cuda" or torch.version.hip is not None:
        return True
    return torch.cuda.get_device_capability(device) >= AMPERE


def needs_float16(device: torch.device) -> bool:
    """Whether the device's fast products are in float16 only, so that a loss must be scaled.

    >>> needs_float16(torch.device("cpu"))
    False
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return VOLTA <= torch.cuda.get_device_capability(device) < AMPERE


def matrix_products(device: torch.device, amp: bool, *, float16: bool = False) -> torch.autocast:
    """A context in which matrix products on `device` run in bfloat16 if `amp` is set and the device has it.

    With `float16` they run in that, whatever the device: its caller scales the loss and watches for overflow.

    >>> with matrix_products(torch.device("cpu"), amp=True):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    if float16:
        return torch.autocast(device.type, torch.float16, enabled=amp)
    return torch.autocast(device.type, torch.bfloat16, enabled=amp and has_bfloat16(device))


def default_device(device: str | torch.device | None = None) -> str:
    """The device asked for, else "cuda" where there is one, else "cpu". ValueError, with those that there are, for one
    that is not there.

    >>> default_device("cpu")
    'cpu'
    >>> default_device("gpu")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: device is 'gpu', which is not here; expected one of cpu...
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not _is_there(str(device)):
        raise ValueError(f"device is {str(device)!r}, which is not here; expected one of {', '.join(_devices())}")
    return str(device)


def _is_there(name: str) -> bool:
    """Whether PyTorch can use a device. No GPU is asked: that would take memory on it, for every process."""
    try:
        device = torch.device(name)
        if device.type == "cuda":
            return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # what PyTorch says of a device that it lacks varies
        return False
    return True


def _devices() -> list[str]:
    """Names of the devices that there are; "cuda" is the first GPU, or with `torchrun` that of the process."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *(["cuda"] if gpus else []), *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
