"""On which device things are computed when nobody says."""

from __future__ import annotations

import torch


def default_device(device: str | torch.device | None = None) -> str:
    """The device asked for, else "cuda" where there is one, else "cpu".

    >>> default_device("cpu")
    'cpu'
    """
    return str(device) if device is not None else "cuda" if torch.cuda.is_available() else "cpu"
