"""SAELens (`sae-lens`): a folder with `cfg.json` and `sae_weights.safetensors`, read and written.

Read are standard, TopK, JumpReLU and gated autoencoders. BatchTopK and Matryoshka ones are JumpReLU in the files that
SAELens writes for use (`save_inference_model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from groupcc_lite.base import atomic_path, write_json
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.interop.files import exactly, settings_in, tensors_in
from groupcc_lite.interop.weights import ForeignWeights, folded, gated

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
WRITTEN_AS = "6.0.0"
"""The first version of SAELens that writes this format."""
SHARED = {"W_dec": "m d", "W_enc": "d m", "b_dec": "d"}
BIASES = {"standard": {"b_enc": "m"}, "topk": {"b_enc": "m"}, "jumprelu": {"b_enc": "m", "threshold": "m"},
          "gated": {"b_gate": "m", "r_mag": "m", "b_mag": "m"}}
"""Architectures that are read, and the tensors that each has beside those that all have."""


def read(folder: Path, scale: float | None) -> ForeignWeights:
    """The dictionary in a folder; ValueError for what a coder of ours cannot do exactly."""
    return converted(settings_in(folder / CONFIG), tensors_in(folder / WEIGHTS), scale, str(folder))


def from_live(sae: Any, scale: float | None) -> ForeignWeights:
    """The same of an autoencoder in memory."""
    return converted(sae.cfg.to_dict(), sae.state_dict(), scale, f"this {type(sae).__name__}")


def converted(config: Mapping[str, Any], tensors: dict[str, Tensor], scale: float | None, where: str) -> ForeignWeights:
    """Their weights under our names."""
    architecture, k = _architecture(config, where)
    _refuse(config, scale, where)
    if "log_threshold" in tensors and architecture == "jumprelu":  # before version 6
        tensors = tensors | dict(threshold=tensors["log_threshold"].exp())
    factor = tensors.get("scaling_factor")
    if factor is not None and not torch.allclose(factor.float(), torch.ones(())):
        raise ValueError(f"{where} has a finetuned scaling_factor for each latent; fold it into W_dec and save again")
    t = exactly(tensors, SHARED | BIASES[architecture], where, ignored=("scaling_factor", "log_threshold"))
    b = t["b_dec"] if config.get("apply_b_dec_to_input", True) else None
    shared = dict(b=b, b_d=t["b_dec"])
    W_e = t["W_enc"].mT
    if architecture == "gated":
        W_e, b_e, threshold = gated(W_e, t["r_mag"], t["b_gate"], t["b_mag"])
        return ForeignWeights(W_e, t["W_dec"], b_e, activation="jumprelu", threshold=threshold, **shared)
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm", False):
        W_d, W_e, b_e = folded(t["W_dec"], W_e, t["b_enc"])
        return ForeignWeights(W_e, W_d, b_e, activation="topk", k=k, **shared)
    activation = "relu" if architecture == "standard" else architecture
    return ForeignWeights(W_e, t["W_dec"], t["b_enc"], activation=activation, k=k, threshold=t.get("threshold"),
                          **shared)


def _architecture(config: Mapping[str, Any], where: str) -> tuple[str, int | None]:
    """Name of the architecture, and k; files from before version 6 say it in other words."""
    architecture, k = config.get("architecture", "standard"), config.get("k")
    activation = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    if activation == "topk":
        architecture, k = "topk", (config.get("activation_fn_kwargs") or {}).get("k", k)
    elif activation != "relu":
        raise ValueError(f"{where}: activation_fn is {activation!r}; expected 'relu' or 'topk'")
    if architecture in ("batchtopk", "matryoshka_batchtopk"):
        raise ValueError(f"{where} was saved for more training; `save_inference_model` of SAELens writes it as "
                         "JumpReLU, which is read")
    if architecture not in BIASES:
        raise ValueError(f"{where}: architecture is {architecture!r}; expected one of {', '.join(BIASES)}")
    return architecture, k if architecture == "topk" else None


def _refuse(config: Mapping[str, Any], scale: float | None, where: str) -> None:
    """ValueError for settings that change what goes in or comes out, unless a `scale` does the same."""
    normalised = config.get("normalize_activations") or "none"
    if normalised in (True, "expected_average_only_in"):
        if scale is None:
            raise ValueError(f"{where} expects activations multiplied by one number (normalize_activations is "
                             "'expected_average_only_in') which is not in the file: pass scale=that number, or "
                             "scale=1.0 if it has been folded into the weights")
    elif normalised != "none":
        raise ValueError(f"{where}: normalize_activations is {normalised!r}, which a coder of ours cannot do; only "
                         "'none' and 'expected_average_only_in' are read")
    reshaped = config.get("reshape_activations", "hook_z" if "hook_z" in str(config.get("hook_name")) else "none")
    if reshaped not in ("none", None):
        raise ValueError(f"{where}: reshape_activations is {reshaped!r}, so it reads heads of attention; only 'none' "
                         "is read")


@torch.no_grad()
def to_saelens(coder: GroupCrosscoder, folder: str | Path) -> None:
    """Write a sparse autoencoder so that `sae_lens.SAE.load_from_disk(folder)` reads it.

    Reconstructions are the same. So are latents, but for TopK that selects by contribution: SAELens has f_i ||W_d,i||
    in their place, and dictionary vectors of one norm. A BatchTopK coder is written with the threshold that it has
    outside training, as JumpReLU. ValueError for a coder with blocks of a group, or with a two-layer encoder.

    >>> import tempfile
    >>> from groupcc_lite.interop import load_dictionary
    >>> sae = SparseAutoencoder(channels=6, latents=20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_saelens(sae, folder)
    ...     again = load_dictionary(folder)
    >>> torch.equal(again.W_e, sae.W_e)
    True
    """
    if not isinstance(coder, SparseAutoencoder):
        raise ValueError("SAELens has no blocks of a group; expected a SparseAutoencoder, not a "
                         f"{type(coder).__name__}")
    if coder.hidden is not None:
        raise ValueError("SAELens has no autoencoder with a two-layer encoder; expected one with hidden=None")
    architecture, tensors, shifted = _theirs(coder)
    config = dict(d_in=coder.channels, d_sae=coder.latents, dtype="float32", device="cpu", architecture=architecture,
                  apply_b_dec_to_input=shifted, normalize_activations="none", reshape_activations="none",
                  metadata=dict(sae_lens_version=WRITTEN_AS, sae_lens_training_version=None, written_by="groupcc-lite"))
    if architecture == "topk":
        config |= dict(k=coder.k, rescale_acts_by_decoder_norm=False)
    folder = Path(folder)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: t.detach().cpu().float().contiguous() for name, t in tensors.items()}, temporary)
    write_json(folder / CONFIG, config)


def _theirs(coder: SparseAutoencoder) -> tuple[str, dict[str, Tensor], bool]:
    """Architecture, tensors, and whether b_dec is subtracted from the input."""
    scale, W_e, b_e, W_d = coder.scale, coder.W_e, coder.b_e, coder.W_d[:, 0]
    architecture = {"relu": "standard", "batchtopk": "jumprelu"}.get(coder.activation, coder.activation)
    threshold = None
    if coder.activation == "jumprelu":
        threshold = coder.thresholds
    elif coder.activation == "batchtopk":
        threshold = coder.threshold.expand(coder.latents)
    if coder.select == "contribution" and coder.activation == "topk":
        W_d, W_e, b_e = folded(W_d, W_e, b_e)
    elif coder.select == "contribution" and coder.activation == "batchtopk":
        norms = W_d.norm(dim=1)  # f ||W_d|| > threshold
        threshold = torch.where(norms > 0, threshold / norms, torch.inf)
    shifted = torch.equal(coder.b, coder.b_d[0])
    tensors = dict(W_enc=(W_e * scale).mT, b_enc=b_e if shifted else b_e - W_e @ coder.b, W_dec=W_d / scale,
                   b_dec=coder.b_d[0] / scale)
    return architecture, tensors if threshold is None else tensors | dict(threshold=threshold), shifted
