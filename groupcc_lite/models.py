"""Base models as one type: a network cut off after one layer, with its preprocessing and its geometry.

`load_model` knows the built-in network, GoogLeNet, Lucent's InceptionV1 and every torchvision model;
`wrap_model` takes your own module. All become a `BaseModel`: RGB images in [0, 1] go in, the layer's
activation grid comes out. The cut is made in the torch.fx graph, so nothing beyond the layer is ever
computed.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import logging
import os
import pickle
import urllib.error
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, fx, nn

from groupcc_lite.files import atomic_path, atomic_write, sha256_of
from groupcc_lite.geometry import (
    Geometry,
    LeafTracer,
    UnclearGeometry,
    check_geometry,
    derive_geometry,
    measure_geometry,
)
from groupcc_lite.networks import GoogLeNet, TinyInception, load_caffe, randomise
from groupcc_lite.shapes import SHAPES

log = logging.getLogger(__name__)

TINY_WEIGHTS = Path(__file__).parent / "weights" / "tiny_inception.safetensors"
_GOOGLENET_FILE = "googlenet-bvlc/googlenet_bvlc.safetensors"
_NAMES = ("tiny-inception", "googlenet", "inceptionv1", "torchvision/<name>/<layer>")


@dataclass(frozen=True)
class Preprocess:
    """What a network expects: (images * scale - mean) / std, with the channels in the order of `channels`."""

    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: str = "RGB"


TINY_PREPROCESS = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
_CAFFE_PREPROCESS = Preprocess(scale=255.0, mean=(104.0, 117.0, 123.0), channels="BGR")
_LUCID_PREPROCESS = Preprocess(scale=255.0, mean=(117.0, 117.0, 117.0))
_IMAGENET_PREPROCESS = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class BaseModel(nn.Module):
    """A frozen network up to one layer: RGB images (b, 3, S, S) in [0, 1] -> activations (b, d, h, w).

    Attributes: `name`, `layer`, `channels` (d), `input_size` (S), `geometry`, `fingerprint` (sha256 of the
    weights, the layer, the preprocessing and the input size: the model's content address). Gradients with
    respect to the images flow; the weights are frozen. Runs under bf16 autocast. Make one with `load_model`
    or `wrap_model`.
    """

    def __init__(self, network: fx.GraphModule, *, name: str, layer: str, input_size: int,
                 preprocess: Preprocess):
        super().__init__()
        self.name, self.layer, self.input_size, self.preprocess = name, layer, input_size, preprocess
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        mean, std = torch.tensor(preprocess.mean).view(1, 3, 1, 1), torch.tensor(preprocess.std).view(1, 3, 1, 1)
        self.register_buffer("_gain", preprocess.scale / std, persistent=False)
        self.register_buffer("_shift", -mean / std, persistent=False)
        self.geometry: Geometry = _geometry_of(self.network, input_size)
        weight = next(self.network.parameters(), self._gain)
        with torch.no_grad():
            self.channels: int = self.network(torch.zeros(1, 3, input_size, input_size).to(weight)).shape[1]
        self.fingerprint: str = self._fingerprint()

    def forward(self, images: Tensor) -> Float[Tensor, "b d h w"]:
        """Activations of the layer. ValueError for another shape, for NaN or infinity, and for bytes."""
        size = self.input_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size) or not len(images):
            raise ValueError(f"images have shape {tuple(images.shape)}; {self.name} expects (b, 3, {size}, {size}) "
                             "with b > 0. For another image size use model.at_size(size)")
        low, high = (float(v) for v in torch.aminmax(images.detach()))
        if not low > -10 or not high < 10:  # NaN fails both
            raise ValueError(f"images hold values from {low} to {high}; expected finite RGB values in [0, 1]")
        if self.preprocess.channels == "BGR":
            images = images.flip(1)
        ready = torch.addcmul(self._shift, images.contiguous(memory_format=torch.channels_last), self._gain)
        return self.network(ready)

    def at_size(self, input_size: int) -> BaseModel:
        """The same network for square images of another size; weights are shared, the geometry is new."""
        model = BaseModel(self.network, name=self.name, layer=self.layer, input_size=input_size,
                          preprocess=self.preprocess)
        return model.to(self._gain.device)

    def train(self, mode: bool = True) -> BaseModel:
        """A base model stays in evaluation mode, whatever module it becomes a part of."""
        return super().train(False)

    def extra_repr(self) -> str:
        return f"{self.name}, layer={self.layer}, {self.channels} channels, {self.geometry}"

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.layer, self.input_size, asdict(self.preprocess))).encode())
        digest.update(str(self.network.graph).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().double().numpy().tobytes())
        return digest.hexdigest()


def _geometry_of(network: nn.Module, input_size: int) -> Geometry:
    """Derived from the layers if they are known ones, else measured; verified by the impulse test either way."""
    try:
        geometry = derive_geometry(network, input_size)
    except UnclearGeometry as unclear:
        try:
            geometry = measure_geometry(network, input_size)
        except ValueError as unmeasured:
            raise ValueError(f"{unclear}. Measured: {unmeasured}") from unclear
    check_geometry(network, geometry)
    return geometry


def load_model(name: str = "tiny-inception", layer: str | None = None, *, weights: str | Path | None = None,
               input_size: int | None = None, device: str | torch.device = "cpu",
               sha256: str | None = None) -> BaseModel:
    """A base model by name, truncated after `layer`, on `device`, ready to use.

    - "tiny-inception": built in (default layer mixed3b, 96 px).
    - "googlenet": BVLC GoogLeNet (default mixed3b = inception_3b/output, 224 px). `weights` is its
      safetensors file; without it the file is looked for below the folder in the environment variable
      GROUPCC_DATA.
    - "inceptionv1": Lucent's InceptionV1, see `_inceptionv1` (default mixed3b, 224 px). `sha256` pins the
      download.
    - "torchvision/<name>/<layer>": any torchvision classifier with its published weights.
    `weights="random"` gives untrained weights (seed 0) to any of them, as a control. `weights` may also be a
    safetensors file with the network's own state dict.

    Raises ValueError for an unknown model or layer (with near matches) and a missing or wrong weights file,
    ConnectionError when a download is needed and impossible.
    """
    if name.startswith("torchvision/"):
        model = _torchvision(name, layer, weights, input_size)
    else:
        makers = {"tiny-inception": (_tiny, 96), "googlenet": (_googlenet, 224),
                  "inceptionv1": (_inceptionv1, 224)}
        if name not in makers:
            raise ValueError(f"unknown model {name!r}; {_near(name, _NAMES)}"
                             f"choose one of {', '.join(_NAMES)}")
        maker, size = makers[name]
        network, preprocess = maker(weights, sha256)
        model = _cut(network, layer or "mixed3b", name, input_size or size, preprocess)
    return model.to(device)


def wrap_model(module: nn.Module, layer: str, *, input_size: int, mean: Sequence[float] | None = None,
               std: Sequence[float] | None = None, name: str | None = None) -> BaseModel:
    """Your own network as a base model, truncated after `layer` (a name from `module.named_modules()`).

    `mean` and `std` (one number per R, G, B) are what your network was trained with: (images - mean) / std.
    The module must be traceable by torch.fx; it is copied, not changed. Raises ValueError for an unknown
    layer, or one without a place in the image.
    """
    preprocess = Preprocess(mean=_triple("mean", mean, 0.0), std=_triple("std", std, 1.0))
    return _cut(module, layer, name or type(module).__name__, input_size, preprocess)


def _triple(what: str, value: Sequence[float] | None, default: float) -> tuple[float, float, float]:
    triple = tuple(float(v) for v in value) if value is not None else (default,) * 3
    if len(triple) != 3 or (what == "std" and min(triple) <= 0):
        raise ValueError(f"{what} is {value}; expected three numbers for R, G, B"
                         + (", all positive" if what == "std" else ""))
    return triple


# -------------------------------------------------------------------------------------- cutting after a layer

def truncate(module: nn.Module, layer: str) -> fx.GraphModule:
    """The part of `module` that `layer` depends on, as a graph that returns the layer's output.

    `layer` is a submodule's name, also of one that torch.fx traces into (its last operation is taken).
    Inception blocks answer to both naming styles: mixed3b, inception_3b, inception_3b/output. ValueError when
    unknown.
    """
    module = copy.deepcopy(module).eval()
    graph = LeafTracer().trace(module)
    wanted = _canonical(layer)
    ends: dict[str, fx.Node] = {}
    for node in graph.nodes:
        if node.op in ("placeholder", "output", "get_attr"):
            continue
        ends[node.name] = node
        for scope in (node.meta.get("nn_module_stack") or {}):
            if scope:
                ends[scope] = node
    by_canonical = {_canonical(known): known for known in ends}
    if layer not in ends and wanted not in by_canonical:
        known = [n for n in ends if n in dict(module.named_modules())]
        raise ValueError(f"unknown layer {layer!r} of {type(module).__name__}; {_near(layer, known)}"
                         f"layers are: {', '.join(known[:40])}{' ...' if len(known) > 40 else ''}")
    end = ends[layer] if layer in ends else ends[by_canonical[wanted]]
    for node in reversed(graph.nodes):
        if node.op == "output":
            graph.erase_node(node)
            break
    with graph.inserting_after(end):
        graph.output(end)
    network = fx.GraphModule(module, graph)
    # Not eliminate_dead_code: that keeps operations which might have side effects, such as batch normalisation.
    for node in reversed(list(network.graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
    return network


def _canonical(layer: str) -> str:
    """Distill's and Caffe's names of an Inception block, made equal."""
    name = layer.lower().removesuffix("/output")
    return "mixed" + name.removeprefix("inception_") if name.startswith("inception_") else name


def _cut(module: nn.Module, layer: str, name: str, input_size: int, preprocess: Preprocess) -> BaseModel:
    network = truncate(module, layer)
    if name == "inceptionv1":
        network = _paper_normalisation(network)
    return BaseModel(network, name=name, layer=layer, input_size=input_size, preprocess=preprocess)


def _near(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"did you mean {' or '.join(map(repr, matches))}? " if matches else ""


# ------------------------------------------------------------------------------------------- the known models

def _existing(weights: str | Path, what: str) -> Path:
    path = Path(weights)
    if not path.is_file():
        raise ValueError(f"weights={str(weights)!r}: no such file; expected {what}, or \"random\" for an untrained "
                         "network")
    return path


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a .pth file that holds nothing but tensors."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as weights ({error}); it may be cut short: fetch it again") from error


def _load_state(network: nn.Module, path: Path) -> nn.Module:
    state = _read(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {type(network).__name__}: {error}") from error
    return network


def load_tiny(weights: str | Path | None = None) -> TinyInception:
    """The built-in network with its training head; `weights` defaults to the file in the package."""
    path = _existing(weights or TINY_WEIGHTS, "the file that `groupcc train-tiny` makes")
    return _load_state(TinyInception(len(SHAPES)), path).eval()


def _tiny(weights: str | Path | None, sha256: str | None) -> tuple[nn.Module, Preprocess]:
    network = randomise(TinyInception(len(SHAPES))) if weights == "random" else load_tiny(weights)
    return network, TINY_PREPROCESS


def load_googlenet(weights: str | Path | None = None) -> GoogLeNet:
    """GoogLeNet with its classifier, from the safetensors file of Caffe's tensors."""
    if weights is None:
        data = os.environ.get("GROUPCC_DATA")
        weights = Path(data) / _GOOGLENET_FILE if data else None
        if weights is None or not weights.is_file():
            where = f"{weights} does not exist" if weights else "the environment variable GROUPCC_DATA is not set"
            raise ValueError(f"no weights for googlenet: {where}. Give weights=<the BVLC GoogLeNet safetensors file>, "
                             f"or set GROUPCC_DATA to a folder that holds {_GOOGLENET_FILE}")
    path = _existing(weights, "BVLC GoogLeNet as safetensors")
    return load_caffe(GoogLeNet(), _read(path), str(path)).eval()


def _googlenet(weights: str | Path | None, sha256: str | None) -> tuple[nn.Module, Preprocess]:
    return (randomise(GoogLeNet()) if weights == "random" else load_googlenet(weights)), _CAFFE_PREPROCESS


def _inceptionv1(weights: str | Path | None, sha256: str | None) -> tuple[nn.Module, Preprocess]:
    """Lucent's InceptionV1 (the weights of the Distill articles) with the paper's response normalisation.

    Lucent's layer has size 9 and k 1; the group crosscoder paper used size 10, alpha 1e-3 and k 2, which
    `_paper_normalisation` sets. The weights come from the address that the installed Lucent names, into
    torch.hub's folder, where Lucent itself would put them. Their publisher gives no checksum, so none is
    built in: unless `sha256` is given, the first download is trusted, its sha256 is written beside it, and
    every later load must match it.
    """
    from lucent.modelzoo.inceptionv1.InceptionV1 import InceptionV1, model_urls

    network = InceptionV1(pretrained=False, redirected_ReLU=False)
    if weights == "random":
        randomise(network)
    elif weights is not None and str(weights).endswith(".safetensors"):
        _load_state(network, _existing(weights, "InceptionV1's state dict as safetensors"))
    else:
        path = _download(model_urls["inceptionv1"]) if weights is None else _existing(weights, "inception5h.pth")
        _check_pinned(path, sha256)
        _load_state(network, path)
    return network, _LUCID_PREPROCESS


def _paper_normalisation(network: fx.GraphModule) -> fx.GraphModule:
    """Set every local response normalisation of Lucent's network to size 10, alpha 1e-3, beta 0.5, k 2."""
    for node in network.graph.nodes:
        if node.target is F.local_response_norm:
            node.args, node.kwargs = node.args[:1], {"size": 10, "alpha": 1e-3, "beta": 0.5, "k": 2.0}
    network.recompile()
    return network


def _download(url: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    try:
        with atomic_path(path) as temporary:
            torch.hub.download_url_to_file(url, str(temporary), progress=True)
    except (urllib.error.URLError, OSError) as error:
        raise ConnectionError(f"cannot download InceptionV1's weights ({error}). With internet access try again; or "
                              f"put {path.name} at {path}; or use \"googlenet\", the same architecture") from error
    return path


def _check_pinned(path: Path, sha256: str | None) -> None:
    """Compare a file with the sha256 asked for, or with the one recorded when it was first used."""
    record, actual = path.with_name(path.name + ".sha256"), sha256_of(path)
    expected = sha256 or (record.read_text().strip() if record.is_file() else None)
    if expected is None:
        log.info("first use of %s: recording its sha256 %s", path, actual)
        atomic_write(record, actual + "\n")
    elif actual != expected.lower():
        raise ValueError(f"{path} has sha256 {actual}, expected {expected}; the file is damaged or was replaced. "
                         f"Delete it (and {record.name}) to download it again")


def _torchvision(name: str, layer: str | None, weights: str | Path | None,
                 input_size: int | None) -> BaseModel:
    import torchvision

    _, model_name, *rest = name.split("/", 2)
    layer = layer or (rest[0] if rest else None)
    known = torchvision.models.list_models(module=torchvision.models)
    if model_name not in known:
        raise ValueError(f"unknown torchvision model {model_name!r}; {_near(model_name, known)}"
                         "torchvision.models.list_models() gives all names")
    if not layer:
        raise ValueError(f"{name!r} names no layer; write torchvision/{model_name}/<layer>")
    published = torchvision.models.get_model_weights(model_name).DEFAULT
    size, preprocess = input_size or 224, _IMAGENET_PREPROCESS
    extra = {"init_weights": False} if model_name in ("googlenet", "inception_v3") else {}
    if weights is not None:
        network = torchvision.models.get_model(model_name, weights=None, **extra)
        network = (randomise(network) if weights == "random"
                   else _load_state(network, _existing(weights, f"{model_name}'s state dict as safetensors")))
    else:
        transform = published.transforms()
        size = input_size or transform.crop_size[0]
        preprocess = Preprocess(mean=tuple(transform.mean), std=tuple(transform.std))
        try:  # torchvision checks the sha256 that is part of the file's name
            network = torchvision.models.get_model(model_name, weights=published)
        except (urllib.error.URLError, OSError) as error:
            raise ConnectionError(f"cannot download torchvision's weights for {model_name!r} ({error}). With "
                                  "internet access try again; or give weights=<safetensors file> or "
                                  "weights=\"random\"") from error
    return _cut(network, layer, f"torchvision/{model_name}", size, preprocess)
