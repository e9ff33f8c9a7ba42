"""dictionary_learning (`dictionary-learning`): a state dict `ae.pt`, and `config.json` with the name of its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groupcc_lite.interop.files import exactly, settings_in, tensors_in
from groupcc_lite.interop.weights import ForeignWeights, folded, gated

CONFIG, WEIGHTS = "config.json", "ae.pt"


def read(path: Path) -> ForeignWeights:
    """The dictionary in a folder, or in a checkpoint of a folder; ValueError for a class that is not known.

    As by that package's own loader, the decoder of an `AutoEncoder` gets rows of norm 1.
    """
    path = path / WEIGHTS if path.is_dir() else path
    tensors = tensors_in(path)
    name = _class_of(path, tensors)
    found = CLASSES[name](tensors, f"{path}, of class {name},")
    if name == "AutoEncoder" and not torch.allclose(norms := found.W_d.norm(dim=1), torch.ones_like(norms)):
        W_d, W_e, b_e = folded(found.W_d, found.W_e, found.b_e)
        return ForeignWeights(W_e, W_d, b_e, found.b, found.b_d)
    return found


def from_live(sae: Any) -> ForeignWeights:
    """The same of a dictionary in memory, as it is."""
    name = type(sae).__name__
    if name not in CLASSES:
        raise ValueError(f"this is a {name}; expected one of {', '.join(CLASSES)}")
    found = CLASSES[name](sae.state_dict(), f"this {name}")
    if name == "JumpReluAutoEncoder" and sae.apply_b_dec_to_input:
        return ForeignWeights(**vars(found) | dict(b=found.b_d))
    if name == "MatryoshkaBatchTopKSAE":  # latents of groups that are switched off never fire
        found.threshold[int(sae.group_indices[sae.active_groups]):] = torch.inf
    return found


def _class_of(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """From `config.json` beside the file, or in the folder above for a checkpoint; else from what the file holds."""
    places = [place for place in (path.parent / CONFIG, path.parent.parent / CONFIG) if place.is_file()]
    if places:
        trainer = settings_in(places[0]).get("trainer")
        name = trainer.get("dict_class") if isinstance(trainer, dict) else None
        if name not in CLASSES:
            raise ValueError(f"{places[0]}: dict_class of its trainer is {name!r}; expected one of "
                             f"{', '.join(CLASSES)}")
        return name
    alike = [name for name, needed in KEYS.items() if tensors.keys() == set(needed)]
    if len(alike) != 1:
        raise ValueError(f"{path} holds {', '.join(sorted(tensors)) or 'nothing'}, which fits " + (
            f"{' and '.join(alike)} alike" if alike else "no class that is known") + f"; put the {CONFIG} that "
            "dictionary_learning writes beside it")
    return alike[0]


def _auto_encoder(tensors: Mapping[str, Tensor], where: str) -> ForeignWeights:
    t = exactly(tensors, KEYS["AutoEncoder"], where)
    return ForeignWeights(t["encoder.weight"], t["decoder.weight"].mT, t["encoder.bias"], t["bias"], t["bias"])


def _auto_encoder_new(tensors: Mapping[str, Tensor], where: str) -> ForeignWeights:
    t = exactly(tensors, KEYS["AutoEncoderNew"], where)
    return ForeignWeights(t["encoder.weight"], t["decoder.weight"].mT, t["encoder.bias"], b_d=t["decoder.bias"])


def _gated(tensors: Mapping[str, Tensor], where: str) -> ForeignWeights:
    t = exactly(tensors, KEYS["GatedAutoEncoder"], where)
    W_e, b_e, threshold = gated(t["encoder.weight"], t["r_mag"], t["gate_bias"], t["mag_bias"])
    return ForeignWeights(W_e, t["decoder.weight"].mT, b_e, t["decoder_bias"], t["decoder_bias"], "jumprelu",
                          threshold=threshold)


def _jump_relu(tensors: Mapping[str, Tensor], where: str) -> ForeignWeights:
    t = exactly(tensors, KEYS["JumpReluAutoEncoder"], where)
    return ForeignWeights(t["W_enc"].mT, t["W_dec"], t["b_enc"], b_d=t["b_dec"], activation="jumprelu",
                          threshold=t["threshold"])


def _top_k(tensors: Mapping[str, Tensor], where: str) -> ForeignWeights:
    t = exactly(tensors, KEYS["AutoEncoderTopK"], where)
    return ForeignWeights(t["encoder.weight"], t["decoder.weight"].mT, t["encoder.bias"], t["b_dec"], t["b_dec"],
                          "topk", int(t["k"]))


def _batch_top_k(tensors: Mapping[str, Tensor], where: str) -> ForeignWeights:
    """Outside training it is a JumpReLU with one threshold; before that was learned it is -1, which cuts nothing."""
    t = exactly(tensors, KEYS["BatchTopKSAE"], where)
    return ForeignWeights(t["encoder.weight"], t["decoder.weight"].mT, t["encoder.bias"], t["b_dec"], t["b_dec"],
                          "jumprelu", threshold=t["threshold"].repeat(len(t["encoder.bias"])))


def _matryoshka(tensors: Mapping[str, Tensor], where: str) -> ForeignWeights:
    t = exactly(tensors, KEYS["MatryoshkaBatchTopKSAE"], where)
    return ForeignWeights(t["W_enc"].mT, t["W_dec"], t["b_enc"], t["b_dec"], t["b_dec"], "jumprelu",
                          threshold=t["threshold"].repeat(len(t["b_enc"])))


_LINEAR = {"decoder.weight": "d m", "encoder.weight": "m d", "encoder.bias": "m"}
_PLAIN = {"W_dec": "m d", "W_enc": "d m", "b_enc": "m", "b_dec": "d"}
_FEW = {"k": "", "threshold": ""}
KEYS: dict[str, dict[str, str]] = {
    "AutoEncoder": _LINEAR | {"bias": "d"}, "AutoEncoderNew": _LINEAR | {"decoder.bias": "d"},
    "GatedAutoEncoder": {"decoder.weight": "d m", "encoder.weight": "m d", "decoder_bias": "d", "r_mag": "m",
                         "gate_bias": "m", "mag_bias": "m"},
    "JumpReluAutoEncoder": _PLAIN | {"threshold": "m"},
    "AutoEncoderTopK": _LINEAR | {"b_dec": "d"} | _FEW, "BatchTopKSAE": _LINEAR | {"b_dec": "d"} | _FEW,
    "MatryoshkaBatchTopKSAE": _PLAIN | _FEW | {"group_sizes": "levels"},
}
"""The tensors of each class, and their shapes."""
CLASSES: dict[str, Callable[[Mapping[str, Tensor], str], ForeignWeights]] = {
    "AutoEncoder": _auto_encoder, "AutoEncoderNew": _auto_encoder_new, "GatedAutoEncoder": _gated,
    "JumpReluAutoEncoder": _jump_relu, "AutoEncoderTopK": _top_k, "BatchTopKSAE": _batch_top_k,
    "MatryoshkaBatchTopKSAE": _matryoshka,
}
"""What each class comes down to."""
