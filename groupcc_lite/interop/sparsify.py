"""sparsify of EleutherAI (`eai-sparsify`): a folder with `cfg.json` and `sae.safetensors`; TopK autoencoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from groupcc_lite.interop.files import exactly, settings_in, tensors_in
from groupcc_lite.interop.weights import ForeignWeights

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
KEYS = {"W_dec": "m d", "b_dec": "d", "encoder.weight": "m d", "encoder.bias": "m"}
REFUSED = {"transcode": "it writes another layer than it reads",
           "skip_connection": "it has a linear map beside its latents", "signed": "its latents may be negative"}


def read(folder: Path) -> ForeignWeights:
    """The dictionary in a folder; ValueError for what a coder of ours cannot do exactly."""
    return converted(settings_in(folder / CONFIG), tensors_in(folder / WEIGHTS), str(folder))


def from_live(sae: Any) -> ForeignWeights:
    """The same of an autoencoder in memory."""
    return converted(vars(sae.cfg), sae.state_dict(), f"this {type(sae).__name__}")


def converted(config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> ForeignWeights:
    """Their weights under our names."""
    for setting, meaning in REFUSED.items():
        if config.get(setting):
            raise ValueError(f"{where}: {setting} is true, so {meaning}; only plain autoencoders are read")
    activation = config.get("activation", "topk")
    if activation != "topk":
        raise ValueError(f"{where}: activation is {activation!r}; expected 'topk'")
    t = exactly(tensors, KEYS, where)
    return ForeignWeights(t["encoder.weight"], t["W_dec"], t["encoder.bias"], t["b_dec"], t["b_dec"], "topk",
                          config.get("k"))
