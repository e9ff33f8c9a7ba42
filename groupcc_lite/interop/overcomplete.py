"""overcomplete (KempnerInstitute): it has no format of its own, so a state dict, or better the module itself.

A state dict holds neither the activation nor k, nor the running threshold of BatchTopK; a module in memory has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from groupcc_lite.interop.files import exactly, tensors_in
from groupcc_lite.interop.weights import ForeignWeights, reached

DICTIONARY = "dictionary._weights"
"""The key that makes a state dict one of overcomplete."""
KINDS = {"SAE": "relu", "TopKSAE": "topk", "RATopKSAE": "topk", "BatchTopKSAE": "batchtopk", "JumpSAE": "jumprelu",
         "RAJumpSAE": "jumprelu"}
SAVE_IT = "call sae.eval(), take from_module(sae), and save that"


def read(path: Path, activation: str | None, k: int | None) -> ForeignWeights:
    """The dictionary in a state dict. ValueError where the file leaves anything open, with what to pass or do."""
    tensors = tensors_in(path)
    if "thresholds" in tensors:
        activation = "jumprelu"
    if activation not in ("relu", "topk", "jumprelu") or (activation == "topk") != (k is not None):
        raise ValueError(f"{path}: activation is {activation!r} and k is {k}, but a state dict of overcomplete says "
                         "neither: pass activation='relu' for SAE, or activation='topk' with k for TopKSAE; for "
                         f"BatchTopKSAE, whose threshold is not in the file, {SAVE_IT}")
    encoder = _encoder_keys(tensors, str(path))
    needed = {DICTIONARY: "m d", "dictionary.multiplier": ""}
    needed |= {"thresholds": "m"} if activation == "jumprelu" else {}
    needed |= {key: axes for key, axes in zip(encoder, ("m d", "m"), strict=True) if key is not None}
    t = exactly(tensors, needed, str(path), ignored=("encoder.tied_to._weights", "encoder.tied_to.multiplier"))
    W_d = t[DICTIONARY]
    if not torch.allclose(norms := W_d.norm(dim=1), torch.ones_like(norms), atol=1e-4):
        raise ValueError(f"{path}: dictionary vectors do not have norm 1, so the dictionary is normalised in another "
                         f"way than by default, or was saved between a step of training and sae.eval(); {SAVE_IT}")
    W_d = W_d * t["dictionary.multiplier"].exp()
    weight, bias = encoder
    passing = reached(t["thresholds"].exp()) if activation == "jumprelu" else None
    return ForeignWeights(W_d if weight is None else t[weight], W_d, None if bias is None else t[bias],
                          activation=activation, k=k, threshold=passing)


def _encoder_keys(tensors: Mapping[str, Tensor], where: str) -> tuple[str | None, str | None]:
    """Names of the encoder's weight, None if it is the dictionary, and of its bias, None if there is none."""
    if "encoder.final_block.0.weight" in tensors:
        return "encoder.final_block.0.weight", "encoder.final_block.0.bias"
    bias = "encoder.bias" if "encoder.bias" in tensors else None
    if "encoder.tied_to._weights" in tensors:
        return None, bias
    if "encoder.weight" in tensors:
        return "encoder.weight", bias
    raise ValueError(f"{where}: its encoder is not linear, it has {', '.join(k for k in tensors if 'encoder' in k)}; "
                     "only linear encoders are read")


@torch.no_grad()
def from_live(sae: Any) -> ForeignWeights:
    """A module in memory, with whatever normalisation its dictionary has."""
    name = type(sae).__name__
    if name not in KINDS:
        raise ValueError(f"this is a {name} of overcomplete; expected one of {', '.join(KINDS)}")
    if sae.training:
        raise ValueError(f"this {name} is in training mode, where its dictionary is not yet fixed; call sae.eval()")
    W_e, b_e = _linear_encoder(sae, name)
    activation = KINDS[name]
    if activation == "batchtopk" and sae.running_threshold is None:
        raise ValueError(f"this {name} has no running threshold, because it was never trained")
    threshold = None
    if activation == "batchtopk":  # outside training it is a JumpReLU with one threshold
        activation, threshold = "jumprelu", reached(sae.running_threshold).repeat(len(W_e))
    elif activation == "jumprelu":
        threshold = reached(sae.thresholds.exp())
    return ForeignWeights(W_e.float(), sae.get_dictionary().float(), b_e, activation=activation,
                          k=sae.top_k if activation == "topk" else None, threshold=threshold)


def _linear_encoder(sae: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of an encoder that is one linear map and a ReLU; ValueError for any other."""
    encoder = sae.encoder
    if hasattr(encoder, "tied_to"):
        return (encoder.weight if encoder.tied_to is None else sae.get_dictionary()), encoder.bias
    kinds = [type(part) for part in encoder.modules() if not isinstance(part, nn.Sequential | nn.ModuleList)]
    if kinds[1:] != [nn.Linear, nn.Identity, nn.ReLU]:
        raise ValueError(f"the encoder of this {name} is a {type(encoder).__name__} of more than one linear map and a "
                         "ReLU; only linear encoders are read")
    return encoder.final_block[0].weight, encoder.final_block[0].bias
