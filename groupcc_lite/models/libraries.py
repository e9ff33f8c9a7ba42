"""Networks by name from other libraries: torchvision, timm, and vision models of Hugging Face's transformers.

Each library is a `Library` with two functions: `check` says at once whether it knows a name, `load` builds the network
with its published weights, those of a file, or random ones, and gives the preprocessing and image size that belong to
it. Random weights never need a connection.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from groupcc_lite.base import near_matches, require
from groupcc_lite.models.base import Preprocess
from groupcc_lite.models.networks import randomise
from groupcc_lite.models.weight_files import load_state

_IMAGENET = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_CLIP = Preprocess(mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711))
_HALVES = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_SMALL: dict[str, Any] = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6)
_BASE: dict[str, Any] = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12)

TRANSFORMERS: dict[str, tuple[str, dict[str, Any], Preprocess]] = {
    "facebook/dinov2-small": ("dinov2", _SMALL | dict(patch_size=14, image_size=518), _IMAGENET),
    "facebook/dinov2-base": ("dinov2", _BASE | dict(patch_size=14, image_size=518), _IMAGENET),
    "facebook/dinov2-with-registers-small": (
        "dinov2_with_registers", _SMALL | dict(patch_size=14, image_size=518, num_register_tokens=4), _IMAGENET),
    "facebook/dinov3-vits16-pretrain-lvd1689m": (
        "dinov3_vit", _SMALL | dict(intermediate_size=1536, patch_size=16, num_register_tokens=4), _IMAGENET),
    "google/vit-base-patch16-224": ("vit", _BASE | dict(intermediate_size=3072, patch_size=16), _HALVES),
    "openai/clip-vit-base-patch32": ("clip_vision_model", _BASE | dict(intermediate_size=3072, patch_size=32), _CLIP),
    "openai/clip-vit-base-patch16": ("clip_vision_model", _BASE | dict(intermediate_size=3072, patch_size=16), _CLIP),
    "google/siglip-base-patch16-224": (
        "siglip_vision_model", _BASE | dict(intermediate_size=3072, patch_size=16), _HALVES),
}
"""Vision models whose sizes are known without a connection: kind, configuration, preprocessing; 224 pixels each."""


class Loaded(NamedTuple):
    """A network with what belongs to it.

    >>> Loaded(nn.Identity(), Preprocess(), 224).input_size
    224
    """

    module: nn.Module
    preprocess: Preprocess
    input_size: int


class Library(NamedTuple):
    """Where a kind of names leads: `check(name, random)` or ValueError, `load(name, file, published, size)`.

    >>> sorted(LIBRARIES)
    ['hf', 'timm', 'torchvision']
    """

    check: Callable[[str, bool], None]
    load: Callable[[str, Path | None, bool, int | None], Loaded]
    parts: int
    """How many parts of a path a network's name has."""


def split_name(name: str, layer: str | None) -> tuple[str, str, str | None]:
    """(library, network, layer) of a name such as "hf/<owner>/<name>/<layer>"; ValueError for two different layers.

    >>> split_name("torchvision/resnet18/layer2", None), split_name("hf/openai/clip-vit-base-patch32", "encoder")
    (('torchvision', 'resnet18', 'layer2'), ('hf', 'openai/clip-vit-base-patch32', 'encoder'))
    """
    library, *rest = name.split("/")
    parts = LIBRARIES[library].parts
    network, said = "/".join(rest[:parts]), "/".join(rest[parts:]) or None
    if layer and said and layer != said:
        raise ValueError(f"layer is {layer!r}, but {name!r} already names the layer {said!r}; give one of them")
    return library, network, said or layer


def named_bare(name: str) -> str:
    """What to say to whoever wrote a network of torchvision without its library; nothing for other names.

    >>> named_bare("resnet18"), named_bare("tiny")
    ("torchvision's is called 'torchvision/resnet18/<layer>'; ", '')
    """
    if find_spec("torchvision") and name in require("torchvision", "zoo").models.list_models():
        return f"torchvision's is called 'torchvision/{name}/<layer>'; "
    return ""


def from_library(library: str, network: str, layer: str | None, file: Path | None, *, published: bool,
                 input_size: int | None) -> Loaded:
    """The network; ValueError for an unknown one or a name without a layer, ConnectionError without its weights."""
    known = LIBRARIES[library]
    known.check(network, not published and file is None)
    if not layer:
        raise ValueError(f"'{library}/{network}' names no layer; write {library}/{network}/<layer>")
    return known.load(network, file, published, input_size)


def _unknown(library: str, name: str, known: Sequence[str], where: str) -> ValueError:
    return ValueError(f"unknown {library} model {name!r}; {near_matches(name, known)}{where}")


def _filled(make: Callable[[], nn.Module], file: Path | None) -> nn.Module:
    """The network with random weights that depend on nothing but its architecture, or with those of the file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what `randomise` leaves alone may be drawn too
        network = make()
    return _opened(randomise(network)) if file is None else load_state(network, file)


@torch.no_grad()
def _opened(network: nn.Module) -> nn.Module:
    """Scales that begin near zero, so that training may open residual branches, become 1: here nobody will train."""
    for name, parameter in network.named_parameters():
        if not name.endswith("bias") and parameter.ndim <= 1 and parameter.abs().max() < 1e-2:
            parameter.fill_(1.0)
    return network


def _no_connection(library: str, name: str, error: Exception) -> ConnectionError:
    return ConnectionError(f"cannot download {library}'s weights for {name!r} ({error}). With internet access try "
                           "again; or give weights=<safetensors file> or weights=\"random\"")


# ------------------------------------------------------------------------------------------------ torchvision

def _check_torchvision(name: str, random: bool) -> None:
    models = require("torchvision", "zoo").models
    known = models.list_models(module=models)
    if name not in known:
        raise _unknown("torchvision", name, known, "torchvision.models.list_models() gives all names")


def _load_torchvision(name: str, file: Path | None, published: bool, input_size: int | None) -> Loaded:
    """With published weights, their own size and preprocessing; else ImageNet's."""
    models = require("torchvision", "zoo").models
    if not published:
        extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        if name.startswith("vit_") and input_size:
            extra["image_size"] = input_size
        return Loaded(_filled(lambda: models.get_model(name, weights=None, **extra), file), _IMAGENET, 224)
    weights = models.get_model_weights(name).DEFAULT
    transform = weights.transforms()
    try:  # torchvision checks the sha256 that is part of the file's name
        network = models.get_model(name, weights=weights)
    except (urllib.error.URLError, OSError) as error:
        raise _no_connection("torchvision", name, error) from error
    preprocess = Preprocess(mean=tuple(transform.mean), std=tuple(transform.std))
    return Loaded(network, preprocess, transform.crop_size[0])


# ------------------------------------------------------------------------------------------------------- timm

def _check_timm(name: str, random: bool) -> None:
    timm = require("timm", "networks")
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models(), "timm.list_models() gives all names")


def _load_timm(name: str, file: Path | None, published: bool, input_size: int | None) -> Loaded:
    """Size and preprocessing by timm's own configuration; transformers are made for `input_size`, if it is given."""
    timm = require("timm", "networks")
    own = timm.get_pretrained_cfg(name)
    sized = {} if input_size in (None, own.input_size[1]) else {"img_size": input_size}

    def make(**extra: Any) -> nn.Module:
        try:
            return timm.create_model(name, pretrained=published, **sized, **extra)
        except TypeError as error:  # networks that take any size have no such setting
            if "img_size" not in str(error):
                raise
            return timm.create_model(name, pretrained=published, **extra)

    try:
        network = make() if published else _filled(make, file)
    except (urllib.error.URLError, OSError) as error:
        raise _no_connection("timm", name, error) from error
    except RuntimeError as error:
        if not published:
            raise
        raise ValueError(f"timm has no weights for {name!r} ({error}); give weights=FILE, or weights=\"random\" for an "
                         "untrained network") from error
    preprocess = Preprocess(mean=tuple(own.mean), std=tuple(own.std))
    return Loaded(network, preprocess, own.input_size[1])


# ----------------------------------------------------------------------------------------------- transformers

def _check_transformers(name: str, random: bool) -> None:
    require("transformers", "networks")
    if name.count("/") != 1:
        raise ValueError(f"unknown model 'hf/{name}'; expected hf/<owner>/<name>/<layer>, such as "
                         "hf/facebook/dinov2-small/encoder.layer.6")
    if random and name not in TRANSFORMERS:
        raise ValueError(f"the sizes of 'hf/{name}' are not known without a connection; "
                         f"{near_matches(name, list(TRANSFORMERS))}random weights are there for "
                         f"{', '.join(TRANSFORMERS)}; build any other with transformers and give it to wrap_model")


def _load_transformers(name: str, file: Path | None, published: bool, input_size: int | None) -> Loaded:
    """The vision model, or the vision tower of a model that has one, with the size and preprocessing of its repository.

    Where the configuration is built in, the published one is not asked for unless published weights are.
    """
    transformers = require("transformers", "networks")
    if not published and name in TRANSFORMERS:
        kind, sizes, preprocess = TRANSFORMERS[name]
        config = transformers.AutoConfig.for_model(kind, **sizes)
        if input_size and kind != "dinov2":  # DINOv2 fits its positions to every size by itself
            config.image_size = input_size
        return Loaded(_filled(lambda: transformers.AutoModel.from_config(config), file), preprocess, 224)
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        config = getattr(config, "vision_config", config)
        images = transformers.AutoImageProcessor.from_pretrained(name)
        if published:
            network = transformers.AutoModel.from_pretrained(name, config=config)
        else:
            network = _filled(lambda: transformers.AutoModel.from_config(config), file)
    except OSError as error:
        raise _no_connection("Hugging Face", name, error) from error
    return Loaded(network, Preprocess(mean=tuple(images.image_mean), std=tuple(images.image_std)), _side(images))


def _side(processor: Any) -> int:
    """The side of the square that an image processor cuts out."""
    size = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
    size = dict(size or processor.size)
    return int(size.get("height") or size.get("shortest_edge"))


LIBRARIES = {"torchvision": Library(_check_torchvision, _load_torchvision, 1),
             "timm": Library(_check_timm, _load_timm, 1),
             "hf": Library(_check_transformers, _load_transformers, 2)}
"""By the first part of a model's name."""
