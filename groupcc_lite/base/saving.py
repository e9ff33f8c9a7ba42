"""Trained modules in a folder: `weights.safetensors` and a `config.json` that vouches for them by their sha256."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from groupcc_lite.base.files import atomic_path, read_json, sha256_of, write_json

WEIGHTS, CONFIG = "weights.safetensors", "config.json"
Module = TypeVar("Module", bound=nn.Module)


def save_module(module: nn.Module, config: dict[str, Any], folder: str | Path) -> None:
    """Write the weights, then the configuration; neither file is ever half written.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> save_module(nn.Linear(2, 1), {"kind": "probe"}, folder.name)
    >>> sorted(path.name for path in Path(folder.name).iterdir())
    ['config.json', 'weights.safetensors']
    >>> folder.cleanup()
    """
    save_weights(module.state_dict(), config, folder)


def save_weights(tensors: Mapping[str, Tensor], config: dict[str, Any], folder: str | Path) -> None:
    """The same for tensors by name, such as those of a module that lies in parts.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(nn.Linear(2, 1).state_dict(), {"kind": "probe"}, folder)
    ...     sorted(saved_config(folder, "probe"))
    ['kind', 'sha256']
    """
    folder = Path(folder)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary)
    write_json(folder / CONFIG, config | {"sha256": sha256_of(folder / WEIGHTS)})


def saved_config(folder: str | Path, what: str) -> dict[str, Any]:
    """The configuration of a saved module; ValueError if a file is missing or the weights are damaged.

    `what` names the thing for people, such as "coder".

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> save_module(nn.Linear(2, 1), {"kind": "probe"}, folder.name)
    >>> saved_config(folder.name, "probe")["kind"]
    'probe'
    >>> folder.cleanup()
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no saved {what} ({name} is missing); train it first")
    config = read_json(folder / CONFIG)
    if sha256_of(folder / WEIGHTS) != config.get("sha256"):
        raise ValueError(f"{folder}/{WEIGHTS} does not match its checksum in {CONFIG}: damaged or truncated; delete "
                         "the folder and train again")
    return config


def with_saved_weights(module: Module, folder: str | Path) -> Module:
    """The module with the weights in a folder, in evaluation mode; ValueError if they do not fit.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> save_module(nn.Linear(2, 1), {"kind": "probe"}, folder.name)
    >>> with_saved_weights(nn.Linear(2, 1), folder.name).training
    False
    >>> folder.cleanup()
    """
    try:
        module.load_state_dict(load_file(Path(folder) / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder}: weights do not fit {CONFIG} ({error})") from error
    return module.eval()
