"""Base models by name, and from a module of your own.

`load_model` knows the built-in network, GoogLeNet, Lucent's InceptionV1 and every torchvision model; `wrap_model`
takes your own module. All become a `BaseModel`.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import fx, nn

from groupcc_lite.base import require
from groupcc_lite.models.base import BaseModel, Preprocess
from groupcc_lite.models.cut import near_matches, truncate
from groupcc_lite.models.networks import GoogLeNet, PixelPatches, TinyInception, TinyViT, load_caffe, randomise
from groupcc_lite.models.weight_files import (
    TINY_WEIGHTS,
    TOLD_WEIGHTS,
    VIT_WEIGHTS,
    bundled_googlenet,
    existing_file,
    load_state,
    read_weights,
    verified_file,
)
from groupcc_lite.stimuli import SHAPES

_NAMES = ("tiny-inception", "tiny-inception-told", "googlenet", "inceptionv1", "torchvision/<name>/<layer>")
TINY_PREPROCESS = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
_CAFFE_PREPROCESS = Preprocess(scale=255.0, mean=(104.0, 117.0, 123.0), channels="BGR")
_LUCID_PREPROCESS = Preprocess(scale=255.0, mean=(117.0, 117.0, 117.0))
_IMAGENET_PREPROCESS = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def load_model(name: str = "tiny-inception", layer: str | None = None, *, weights: str | Path | None = None,
               input_size: int | None = None, device: str | torch.device = "cpu",
               sha256: str | None = None) -> BaseModel:
    """A base model by name, truncated after `layer`, on `device`, ready to use.

    - "tiny-inception": built in (default layer mixed3b, 96 px); trained to name shapes in drawings, nothing else.
    - "tiny-inception-told": the same network, trained to report how the shapes are turned as well: a control.
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

    >>> model = load_model()
    >>> model.channels, model.geometry.stride, model(torch.zeros(1, 3, 96, 96)).shape
    (120, 4, torch.Size([1, 120, 24, 24]))
    """
    makers = {"tiny-inception": (_tiny, 96, None), "tiny-inception-told": (_told, 96, None),
              "googlenet": (_googlenet, 224, None), "inceptionv1": (_inceptionv1, 224, _paper_normalisation)}
    if name not in makers and not name.startswith("torchvision/"):
        raise ValueError(f"unknown model {name!r}; {near_matches(name, _NAMES)}choose one of {', '.join(_NAMES)}")
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
    The module must be traceable by torch.fx; it is copied, not changed, and the model is on its device. Raises
    ValueError for an unknown layer, or one without a place in the image.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    >>> wrap_model(network, "1", input_size=33, mean=(0.5,) * 3, std=(0.5,) * 3).geometry
    Geometry(stride=2, first=2.0, receptive_field=5, input_size=33, grid=15)
    """
    preprocess = Preprocess(mean=_triple("mean", mean, 0.0), std=_triple("std", std, 1.0))
    return _cut(module, layer, name or type(module).__name__, input_size, preprocess)


def patch_model(like: BaseModel, *, side: int = 8) -> BaseModel:
    """Pixels in place of a network: patches about as large as `like` sees, read at the same density.

    Its tiles are `like`'s stride wide. There are `side` x `side` of them, or fewer where `like` sees less. Channels are
    centred about the middle of grey. For photographs it says what symmetry there is before any network.

    >>> pixels = patch_model(load_model())
    >>> pixels.channels, pixels.geometry.stride, pixels.geometry.receptive_field
    (192, 4, 32)
    """
    tile = round(like.geometry.stride)
    side = max(1, min(side, like.geometry.receptive_field // tile))
    return wrap_model(PixelPatches(tile, side), "patches", input_size=like.input_size, mean=(0.5,) * 3,
                      std=(0.25,) * 3, name="patches")


def _triple(what: str, value: Sequence[float] | None, default: float) -> tuple[float, float, float]:
    triple = tuple(float(v) for v in value) if value is not None else (default,) * 3
    if len(triple) != 3 or (what == "std" and min(triple) <= 0):
        raise ValueError(f"{what} is {value}; expected three numbers for R, G, B"
                         + (", all positive" if what == "std" else ""))
    return triple


def _cut(module: nn.Module, layer: str, name: str, input_size: int, preprocess: Preprocess,
         patch: Callable[[fx.GraphModule], fx.GraphModule] | None = None) -> BaseModel:
    network = truncate(module, layer, input_size=input_size)
    return BaseModel(patch(network) if patch else network, name=name, layer=layer, input_size=input_size,
                     preprocess=preprocess)


# ------------------------------------------------------------------------------------------- the known models

def load_tiny(weights: str | Path | None = None, *, told: bool = False) -> TinyInception:
    """The built-in network, or the `told` control, with its training head; default weights are those in the package."""
    path = existing_file(weights or (TOLD_WEIGHTS if told else TINY_WEIGHTS),
                         "the file that `groupcc train-tiny` makes")
    return load_state(TinyInception(len(SHAPES), told=told), path).eval()


def load_vit(weights: str | Path | None = None) -> TinyViT:
    """The built-in vision transformer, with its readout; default weights are those in the package."""
    path = existing_file(weights or VIT_WEIGHTS, "the file that `groupcc train-tiny --vit` makes")
    return load_state(TinyViT(len(SHAPES)), path).eval()


def _vit(file: Path | None) -> tuple[nn.Module, Preprocess]:
    """Untrained, it is what training begins with."""
    return (TinyViT(len(SHAPES)).begin() if file is None else load_vit(file)), TINY_PREPROCESS


def _tiny(file: Path | None, told: bool = False) -> tuple[nn.Module, Preprocess]:
    network = randomise(TinyInception(len(SHAPES), told=told)) if file is None else load_tiny(file, told=told)
    return network, TINY_PREPROCESS


def _told(file: Path | None) -> tuple[nn.Module, Preprocess]:
    return _tiny(file, told=True)


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
        raise ValueError(f"unknown torchvision model {model_name!r}; {near_matches(model_name, known)}"
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
