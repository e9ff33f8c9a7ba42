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
import urllib.error
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

from groupcc_lite.base import require
from groupcc_lite.models.geometry import (
    Geometry,
    LeafTracer,
    UnclearGeometry,
    check_geometry,
    derive_geometry,
    measure_geometry,
)
from groupcc_lite.models.networks import GoogLeNet, TinyInception, load_caffe, randomise
from groupcc_lite.models.weight_files import (
    TINY_WEIGHTS,
    bundled_googlenet,
    existing_file,
    load_state,
    read_weights,
    verified_file,
)
from groupcc_lite.stimuli import SHAPES

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
    weights, the layers and their settings, the preprocessing and the input size: the model's content address).
    Gradients with respect to the images flow; the weights are frozen. Runs under bf16 autocast. Make one with
    `load_model` or `wrap_model`.
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
        # The graph only names its layers; what they are, such as the kind and size of a pooling, is in their repr.
        digest.update(f"{nn.Module.__repr__(self.network)} {self.geometry!r}".encode())
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
    - "inceptionv1": Lucent's InceptionV1, downloaded once, with the paper's response normalisation (default
      mixed3b, 224 px).
    - "torchvision/<name>/<layer>": any torchvision classifier with its published weights.

    `weights="random"` gives untrained weights (seed 0) to any of them, as a control. `weights` may also be a
    safetensors file with the network's own state dict. `sha256` is compared with the weights file, whichever it is.

    Raises ValueError for an unknown model or layer (with near matches), two different layers, and a missing or
    wrong weights file, ConnectionError when a download is needed and impossible.
    """
    makers = {"tiny-inception": (_tiny, 96, None), "googlenet": (_googlenet, 224, None),
              "inceptionv1": (_inceptionv1, 224, _paper_normalisation)}
    if name not in makers and not name.startswith("torchvision/"):
        raise ValueError(f"unknown model {name!r}; {_near(name, _NAMES)}choose one of {', '.join(_NAMES)}")
    file = verified_file(name, weights, sha256)
    if name in makers:
        maker, size, patch = makers[name]
        network, preprocess = maker(file)
        model = _cut(network, layer or "mixed3b", name, input_size or size, preprocess, patch)
    else:
        model = _torchvision(name, layer, file, input_size, published=weights is None)
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
    unknown, and for a module that torch.fx cannot trace.
    """
    module = copy.deepcopy(module).eval()
    try:
        graph = LeafTracer().trace(module)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"torch.fx cannot trace {type(module).__name__} ({error}); wrap the part of the network that "
                         "leads to the layer, without branches or loops that depend on the images") from error
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


def _cut(module: nn.Module, layer: str, name: str, input_size: int, preprocess: Preprocess,
         patch: Callable[[fx.GraphModule], fx.GraphModule] | None = None) -> BaseModel:
    network = truncate(module, layer)
    return BaseModel(patch(network) if patch else network, name=name, layer=layer, input_size=input_size,
                     preprocess=preprocess)


def _near(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"did you mean {' or '.join(map(repr, matches))}? " if matches else ""


# ------------------------------------------------------------------------------------------- the known models

def load_tiny(weights: str | Path | None = None) -> TinyInception:
    """The built-in network with its training head; `weights` defaults to the file in the package."""
    path = existing_file(weights or TINY_WEIGHTS, "the file that `groupcc train-tiny` makes")
    return load_state(TinyInception(len(SHAPES)), path).eval()


def _tiny(file: Path | None) -> tuple[nn.Module, Preprocess]:
    return (randomise(TinyInception(len(SHAPES))) if file is None else load_tiny(file)), TINY_PREPROCESS


def load_googlenet(weights: str | Path | None = None) -> GoogLeNet:
    """GoogLeNet with its classifier, from the safetensors file of Caffe's tensors."""
    path = bundled_googlenet() if weights is None else existing_file(weights, "BVLC GoogLeNet as safetensors")
    return load_caffe(GoogLeNet(), read_weights(path), str(path)).eval()


def _googlenet(file: Path | None) -> tuple[nn.Module, Preprocess]:
    return (randomise(GoogLeNet()) if file is None else load_googlenet(file)), _CAFFE_PREPROCESS


def _inceptionv1(file: Path | None) -> tuple[nn.Module, Preprocess]:
    """Lucent's InceptionV1 (the weights of the Distill articles); `_paper_normalisation` is applied to it later.

    Lucent's response normalisation has size 9 and k 1; the group crosscoder paper used size 10, alpha 1e-3 and k 2.
    The weights come from the address that the installed Lucent names, into torch.hub's folder, where Lucent itself
    would put them. Their publisher gives no checksum, so none is built in: unless `sha256` is given, the first
    download is trusted, its sha256 is written beside it, and every later load must match it.
    """
    InceptionV1 = require("lucent.modelzoo.inceptionv1.InceptionV1", "pictures").InceptionV1
    network = InceptionV1(pretrained=False, redirected_ReLU=False)
    return (randomise(network) if file is None else load_state(network, file)), _LUCID_PREPROCESS


def _paper_normalisation(network: fx.GraphModule) -> fx.GraphModule:
    """Set every local response normalisation of Lucent's network to size 10, alpha 1e-3, beta 0.5, k 2."""
    for node in network.graph.nodes:
        if node.target is F.local_response_norm:
            node.args, node.kwargs = node.args[:1], {"size": 10, "alpha": 1e-3, "beta": 0.5, "k": 2.0}
    network.recompile()
    return network


def _torchvision(name: str, layer: str | None, file: Path | None, input_size: int | None, *,
                 published: bool) -> BaseModel:
    """A torchvision model with its published weights, or those of `file` (None: untrained)."""
    torchvision = require("torchvision", "zoo")
    _, model_name, *rest = name.split("/", 2)
    if layer and rest and layer != rest[0]:
        raise ValueError(f"layer is {layer!r}, but {name!r} already names the layer {rest[0]!r}; give one of them")
    layer = rest[0] if rest else layer
    known = torchvision.models.list_models(module=torchvision.models)
    if model_name not in known:
        raise ValueError(f"unknown torchvision model {model_name!r}; {_near(model_name, known)}"
                         "torchvision.models.list_models() gives all names")
    if not layer:
        raise ValueError(f"{name!r} names no layer; write torchvision/{model_name}/<layer>")
    default = torchvision.models.get_model_weights(model_name).DEFAULT
    size, preprocess = input_size or 224, _IMAGENET_PREPROCESS
    extra = {"init_weights": False} if model_name in ("googlenet", "inception_v3") else {}
    if not published:
        network = torchvision.models.get_model(model_name, weights=None, **extra)
        network = randomise(network) if file is None else load_state(network, file)
    else:
        transform = default.transforms()
        size = input_size or transform.crop_size[0]
        preprocess = Preprocess(mean=tuple(transform.mean), std=tuple(transform.std))
        try:  # torchvision checks the sha256 that is part of the file's name
            network = torchvision.models.get_model(model_name, weights=default)
        except (urllib.error.URLError, OSError) as error:
            raise ConnectionError(f"cannot download torchvision's weights for {model_name!r} ({error}). With "
                                  "internet access try again; or give weights=<safetensors file> or "
                                  "weights=\"random\"") from error
    return _cut(network, layer, f"torchvision/{model_name}", size, preprocess)
