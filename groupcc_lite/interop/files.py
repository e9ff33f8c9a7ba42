"""Tensors and settings in the files of other packages; whatever is wrong with a file is one clear error."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from groupcc_lite.base import read_json


def tensors_in(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a state dict that torch saved; nothing in the file is ever executed.

    ValueError for a missing or damaged file, and for a pickle that holds anything but tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}, where the weights should be")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds a pickled object, or is no file of torch at all; reading one would run code from it. Where "
            "its package is installed and you trust the file: from_module(torch.load(path, weights_only=False))."
            "save(folder), and read that folder") from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read, it is damaged or truncated ({error}); fetch it again") from error
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} holds a {type(found).__name__} with other things than tensors; expected a state "
                         "dict, as torch.save(sae.state_dict(), path) writes it")
    return dict(found)


def settings_in(path: Path) -> dict[str, Any]:
    """The settings in a JSON file; ValueError if it is missing, damaged, or no object."""
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}, which says what kind of dictionary it is")
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}; expected an object with settings")
    return found


def exactly(tensors: Mapping[str, Tensor], needed: Mapping[str, str], where: str, *,
            ignored: Collection[str] = ()) -> dict[str, Tensor]:
    """The needed tensors, detached and in float32, each of a shape such as "m d": m latents, d channels.

    ValueError if one is missing or its shape does not fit those before it, and for one that nothing here would read.

    >>> import torch
    >>> exactly({"W_dec": torch.zeros(3, 2), "b_enc": torch.zeros(2)}, {"W_dec": "m d", "b_enc": "m"}, "my file")
    Traceback (most recent call last):
    ValueError: my file: b_enc has shape (2,); expected (3,), because W_dec has shape (3, 2)
    >>> exactly({"W_dec": torch.zeros(3, 2)}, {"W_dec": "m d", "b_enc": "m"}, "my file")
    Traceback (most recent call last):
    ValueError: my file has no b_enc; it holds W_dec
    """
    missing, extra = [name for name in needed if name not in tensors], sorted(tensors.keys() - {*needed, *ignored})
    if missing:
        raise ValueError(f"{where} has no {', '.join(missing)}; it holds {', '.join(sorted(tensors)) or 'nothing'}")
    if extra:
        raise ValueError(f"{where} holds {', '.join(extra)} beside what its kind of dictionary has; what that does is "
                         "unknown here, so it is not read")
    sizes: dict[str, int] = {}
    first = next(iter(needed))
    for name, axes in needed.items():
        shape, letters = tuple(tensors[name].shape), axes.split()
        if len(shape) != len(letters):
            raise ValueError(f"{where}: {name} has shape {shape}; expected {len(letters)} axes")
        expected = tuple(sizes.setdefault(letter, size) for letter, size in zip(letters, shape, strict=True))
        if shape != expected:
            raise ValueError(f"{where}: {name} has shape {shape}; expected {expected}, because {first} has shape "
                             f"{tuple(tensors[first].shape)}")
    return {name: tensors[name].detach().float() for name in needed}
