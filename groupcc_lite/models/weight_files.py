"""Weights files: where they lie, whether they are the right ones, and reading them.

A file is found before anything large starts, compared with its sha256 where one is known, and one that is missing, cut
short or made for another network is a ValueError that says what to do.
"""

from __future__ import annotations

import logging
import os
import pickle
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from groupcc_lite.base import atomic_path, atomic_write, require, sha256_of

log = logging.getLogger(__name__)

TINY_WEIGHTS = Path(__file__).parent / "weights" / "tiny_inception.safetensors"
TOLD_WEIGHTS = TINY_WEIGHTS.with_name("tiny_inception_told.safetensors")
"""Of the control that was trained to report orientations as well."""
VIT_WEIGHTS = TINY_WEIGHTS.with_name("tiny_vit.safetensors")
"""Of the vision transformer that was trained on the same drawings."""
TINY_MODELS = {"tiny-inception": TINY_WEIGHTS, "tiny-inception-told": TOLD_WEIGHTS, "tiny-vit": VIT_WEIGHTS}
"""The networks that come with the package; drawings are their images."""
LITE_NAME = "efficientnet-lite0"
_GOOGLENET_FILE = "googlenet-bvlc/googlenet_bvlc.safetensors"


def weights_file(name: str, weights: str | Path | None = None) -> Path | None:
    """The file that `load_model` would read, found but not opened; None if there is none to read.

    That is so for untrained weights, and where the file would be downloaded. ValueError if it should be there but is
    not.

    >>> weights_file("tiny-inception").name, weights_file("googlenet", "random")
    ('tiny_inception.safetensors', None)
    """
    if weights is not None:
        return None if weights == "random" else existing_file(weights, f"weights of {name}")
    if name in TINY_MODELS:
        return TINY_MODELS[name]
    if name == "googlenet":
        return bundled_googlenet()
    cached = lite_cache() if name == LITE_NAME else _inceptionv1_download()[1] if name == "inceptionv1" else None
    return cached if cached is not None and cached.is_file() else None


def verified_file(name: str, weights: str | Path | None, sha256: str | None,
                  fetch: Callable[[], Path] | None = None) -> Path | None:
    """`weights_file` after comparing its sha256. `fetch` is for networks whose file is had once and kept."""
    file = weights_file(name, weights)
    if fetch is not None and weights is None:
        file = file or fetch()
        _check_pinned(file, sha256)
    elif sha256 is not None and file is None:
        raise ValueError(f"sha256 is given, but {name} with weights={weights!r} reads no file that it could be "
                         "compared with; leave it out, or give weights=FILE")
    elif sha256 is not None and (actual := sha256_of(file)) != sha256.lower():
        raise ValueError(f"{file} has sha256 {actual}, expected {sha256}; it is not the file you asked for")
    return file


def existing_file(weights: str | Path, what: str) -> Path:
    """`weights` as a path; ValueError saying `what` was expected if there is no such file."""
    path = Path(weights)
    if not path.is_file():
        raise ValueError(f"weights={str(weights)!r}: no such file; expected {what}, or \"random\" for an untrained "
                         "network")
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a .pth file that holds nothing but tensors, alone or in a checkpoint.

    Of a checkpoint, the state dict under one of the usual names; `module.` before all names, which data-parallel
    training leaves, is dropped.
    """
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu",
                                                                                 weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise ValueError(f"{path} holds a whole module, which would run code as it is opened; save only its "
                             "weights: torch.save(network.state_dict(), file)") from error
        raise _unreadable(path) from error
    except (SafetensorError, RuntimeError, EOFError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise _unreadable(path) from error
    return _finite(_state_dict(found, path), path)


def _unreadable(path: Path) -> ValueError:
    return ValueError(f"{path} cannot be read as weights: it was cut short, or is another kind of file; expected "
                      "safetensors, or what torch.save(network.state_dict(), file) wrote")


def _state_dict(found: Any, path: Path) -> dict[str, Tensor]:
    """The state dict itself, taken out of what it was saved in."""
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            log.info("%s: the state dict lies under %r", path, name)
            found = found[name]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} holds no state dict but a {type(found).__name__}; save one: "
                         "torch.save(network.state_dict(), file)")
    if found and all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): value for name, value in found.items()}
    return found


def _finite(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    for name, value in state.items():
        if value.is_floating_point() and not (finite := value.isfinite()).all():
            raise ValueError(f"{path}: {name} holds values that are not finite ({int((~finite).sum())} of "
                             f"{value.numel()}); nothing can be read from such a network")
    return state


def _misfit(network: nn.Module, state: dict[str, Tensor]) -> str:
    """Which weights do not fit, by number and a few names."""
    wanted = network.state_dict()
    kinds = {"missing": sorted(wanted.keys() - state.keys()),
             "not the network's": sorted(state.keys() - wanted.keys()),
             "of another shape": [name for name, value in wanted.items()
                                  if name in state and state[name].shape != value.shape]}
    return "; ".join(f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
                     for what, names in kinds.items() if names)


def load_state(network: nn.Module, path: Path) -> nn.Module:
    """Fill `network` from a file with its state dict; ValueError if it does not fit."""
    state = read_weights(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {type(network).__name__}: {_misfit(network, state) or error}") from error
    return network


def bundled_googlenet() -> Path:
    """BVLC GoogLeNet below the folder in GROUPCC_DATA; ValueError if it is not there."""
    data = os.environ.get("GROUPCC_DATA")
    path = Path(data) / _GOOGLENET_FILE if data else None
    if path is None or not path.is_file():
        where = f"{path} does not exist" if path else "the environment variable GROUPCC_DATA is not set"
        raise ValueError(f"no weights for googlenet: {where}. Give weights=<the BVLC GoogLeNet safetensors file>, "
                         f"or set GROUPCC_DATA to a folder that holds {_GOOGLENET_FILE}")
    return path


def lite_cache() -> Path:
    """Where the converted weights of EfficientNet-Lite0 are kept: beside other downloads, in torch.hub's folder."""
    return Path(torch.hub.get_dir()) / "checkpoints" / "efficientnet_lite0.safetensors"


def _inceptionv1_download() -> tuple[str, Path]:
    """The address of InceptionV1's weights, and where a download of them lies."""
    url = require("lucent.modelzoo.inceptionv1.InceptionV1", "pictures").model_urls["inceptionv1"]
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def inceptionv1_weights() -> Path:
    """Lucent's weights of InceptionV1, downloaded; ConnectionError without a connection."""
    url, path = _inceptionv1_download()
    try:
        with atomic_path(path) as temporary:
            torch.hub.download_url_to_file(url, str(temporary), progress=True)
    except (urllib.error.URLError, OSError) as error:
        raise ConnectionError(f"cannot download InceptionV1's weights ({error}). With internet access try again; or "
                              f"put {path.name} at {path}; or use \"googlenet\", the same architecture") from error
    return path


def _check_pinned(path: Path, sha256: str | None) -> None:
    """Compare a download with the sha256 asked for, or with the one recorded when it was first used."""
    record, actual = path.with_name(path.name + ".sha256"), sha256_of(path)
    expected = sha256 or (record.read_text().strip() if record.is_file() else None)
    if expected is None:
        log.info("first use of %s: recording its sha256 %s", path, actual)
        atomic_write(record, actual + "\n")
    elif actual != expected.lower():
        raise ValueError(f"{path} has sha256 {actual}, expected {expected}; the file is damaged or was replaced. "
                         f"Delete it (and {record.name}) to download it again")
