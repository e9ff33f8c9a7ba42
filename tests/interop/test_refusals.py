"""Wrong files, and dictionaries that ours cannot equal: one clear error each, and never an approximation."""

import json
import shutil

import pytest
import torch
from foreign_dictionaries import DATA
from safetensors.torch import load_file, save_file
from torch import nn

from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder, TransformMatrix
from groupcc_lite.groups import cyclic
from groupcc_lite.interop import from_module, load_dictionary


@pytest.fixture
def copied(tmp_path):
    """A kept dictionary as a folder that a test may spoil."""
    def copy(name):
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(DATA / name, folder)
        return folder
    return copy


def reconfigured(folder, file="cfg.json", **settings):
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(config | settings))
    return folder


def reweighted(folder, file="sae_weights.safetensors", drop=(), **tensors):
    found = {name: t for name, t in load_file(folder / file).items() if name not in drop}
    save_file(found | tensors, folder / file)
    return folder


def refused(match, path, **options):
    with pytest.raises(ValueError, match=match):
        load_dictionary(path, **options)


def test_places_without_a_dictionary(tmp_path, copied):
    refused("nowhere does not exist", tmp_path / "nowhere")
    (tmp_path / "cfg.json").write_text("{}")
    refused("cfg.json holds settings; give the folder that it is in", tmp_path / "cfg.json")
    refused("holds none of sae_weights.safetensors .saelens.*for overcomplete give the file", tmp_path)
    copied("sparsify/topk")
    refused("its folders sparsify-topk do, give one of them", tmp_path)
    both = copied("sae_lens/topk")
    shutil.copy(DATA / "sparsify/topk/sae.safetensors", both)
    refused("holds more than one of", both)
    assert load_dictionary(both, "saelens").activation == "topk"
    refused("format is 'gemma'; expected one of saelens", both, format="gemma")
    refused("holds no ae.pt, where the weights should be", both, format="dictionary_learning")


def test_missing_halves(copied):
    for name in ("sae_lens/topk", "sparsify/topk"):
        folder = copied(name)
        (folder / "cfg.json").unlink()
        refused("holds no cfg.json, which says what kind", folder)
    folder = copied("sae_lens/standard")
    (folder / "sae_weights.safetensors").unlink()
    refused("holds none of", folder)
    refused("holds no sae_weights.safetensors, where the weights should be", folder, format="saelens")


def test_damaged_files(copied, tmp_path):
    for name, file in (("sae_lens/topk", "sae_weights.safetensors"), ("sparsify/topk", "sae.safetensors"),
                       ("dictionary_learning/topk", "ae.pt")):
        folder = copied(name)
        whole = (folder / file).read_bytes()
        (folder / file).write_bytes(whole[:-100])
        refused(f"{file} cannot be read, it is damaged or truncated", folder)
    folder = copied("sae_lens/standard")
    (folder / "cfg.json").write_text('{"d_in": 4,')
    refused("cfg.json", folder)
    (folder / "cfg.json").write_text("[1]")
    refused("holds a list; expected an object with settings", folder)
    torch.save({"weights": torch.ones(2), "step": 3}, tmp_path / "checkpoint.pt")
    refused("holds a dict with other things than tensors; expected a state dict", tmp_path / "checkpoint.pt")
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    refused("other.safetensors holds a, which is no format that is known", tmp_path / "other.safetensors")


def test_a_pickled_module_is_not_opened_and_the_way_out_is_said(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "sae.pt")
    refused(r"holds a pickled object.*from_module\(torch.load\(path, weights_only=False\)\)", tmp_path / "sae.pt")


def test_tensors_that_are_missing_unknown_or_do_not_fit(copied):
    refused("has no b_enc; it holds W_dec, W_enc, b_dec", reweighted(copied("sae_lens/standard"), drop=["b_enc"]))
    refused("holds W_skip beside", reweighted(copied("sae_lens/topk"), W_skip=torch.ones(4, 4)))
    refused(r"b_enc has shape \(6,\); expected \(7,\), because W_dec has shape \(7, 4\)",
            reweighted(copied("sae_lens/jumprelu"), b_enc=torch.ones(6)))
    refused(r"W_enc has shape \(7, 4\); expected \(4, 7\), because W_dec",
            reweighted(copied("sae_lens/gated"), W_enc=torch.ones(7, 4)))
    refused(r"W_dec has shape \(4,\); expected 2 axes", reweighted(copied("sae_lens/unshifted"), W_dec=torch.ones(4)))
    refused("the bias of the input holds numbers that are not finite",
            reweighted(copied("sae_lens/scaled"), b_dec=torch.full((4,), torch.nan)), scale=0.5)
    refused("scaling_factor for each latent; fold it", reweighted(copied("sae_lens/old_topk"),
                                                                 scaling_factor=torch.full((7,), 2.0)))
    refused("has no b_dec; it holds", reweighted(copied("sparsify/topk"), "sae.safetensors", drop=["b_dec"]))


def test_a_scaling_factor_of_one_is_none(copied):
    folder = reweighted(copied("sae_lens/old_topk"), scaling_factor=torch.ones(7))
    assert torch.equal(load_dictionary(folder).W_e, load_dictionary(DATA / "sae_lens/old_topk").W_e)


@pytest.mark.parametrize("settings, match", [
    (dict(architecture="temporal"), "architecture is 'temporal'; expected one of standard, topk, jumprelu, gated"),
    (dict(architecture="batchtopk"), "was saved for more training; `save_inference_model` of SAELens"),
    (dict(activation_fn="tanh-relu"), "activation_fn is 'tanh-relu'; expected 'relu' or 'topk'"),
    (dict(normalize_activations="layer_norm"), "normalize_activations is 'layer_norm', which a coder of ours cannot"),
    (dict(normalize_activations="constant_norm_rescale"), "'constant_norm_rescale', which a coder of ours cannot do"),
    (dict(normalize_activations=True), "which is not in the file: pass scale="),
    (dict(reshape_activations="hook_z"), "reads heads of attention"),
    (dict(architecture="topk"), "k is None; expected 1 to 7"),
    (dict(architecture="topk", k=8), "k is 8; expected 1 to 7")])
def test_settings_of_saelens_that_ours_has_not(settings, match, copied):
    refused(match, reconfigured(copied("sae_lens/standard"), **settings))


@pytest.mark.parametrize("settings, match", [
    (dict(transcode=True), "transcode is true, so it writes another layer"),
    (dict(skip_connection=True), "skip_connection is true, so it has a linear map"),
    (dict(activation="groupmax"), "activation is 'groupmax'; expected 'topk'"), (dict(k=0), "k is 0; expected 1 to 7")])
def test_settings_of_sparsify_that_ours_has_not(settings, match, copied):
    refused(match, reconfigured(copied("sparsify/topk"), **settings))


def test_dictionary_learning_needs_the_name_of_the_class_where_files_look_alike(copied, tmp_path):
    folder = copied("dictionary_learning/topk")
    (folder / "checkpoints").mkdir()
    checkpoint = shutil.copy(folder / "ae.pt", folder / "checkpoints" / "ae_5.pt")
    assert load_dictionary(checkpoint).activation == "topk"  # the settings lie in the folder above
    (folder / "config.json").unlink()
    refused("fits AutoEncoderTopK and BatchTopKSAE alike; put the config.json", folder)
    folder = copied("dictionary_learning/gated")
    (folder / "config.json").unlink()
    assert load_dictionary(folder).activation == "jumprelu"  # only one class has such weights
    folder = copied("dictionary_learning/standard")
    refused("dict_class of its trainer is 'CrossCoder'; expected one of AutoEncoder",
            reconfigured(folder, "config.json", trainer=dict(dict_class="CrossCoder")))
    refused("dict_class of its trainer is None", reconfigured(folder, "config.json", trainer=None))
    torch.save({"encoder.weight": torch.ones(3, 2)}, tmp_path / "ae.pt")
    refused("holds encoder.weight, which fits no class that is known", tmp_path / "ae.pt")


def test_overcomplete_says_too_little_in_its_files(tmp_path):
    file = DATA / "overcomplete" / "topk.pt"
    refused("says neither: pass activation='relu' for SAE, or activation='topk' with k", file)
    refused("for BatchTopKSAE, whose threshold is not in the file, call sae.eval", file, activation="batchtopk", k=2)
    refused("k is None", file, activation="topk")
    tensors = torch.load(file, weights_only=True)
    torch.save(tensors | {"dictionary._weights": 2 * tensors["dictionary._weights"]}, tmp_path / "a.pt")
    refused("do not have norm 1, so the dictionary is normalised in another way", tmp_path / "a.pt", activation="relu")
    moved = {name.replace("final_block", "mlp_blocks"): t for name, t in tensors.items()}
    torch.save(moved, tmp_path / "b.pt")
    refused("its encoder is not linear", tmp_path / "b.pt", activation="relu")
    torch.save(tensors | {"encoder.mlp_blocks.0.0.weight": torch.ones(4, 4)}, tmp_path / "c.pt")
    refused("holds encoder.mlp_blocks.0.0.weight beside", tmp_path / "c.pt", activation="relu")


def test_options_that_do_not_belong(copied, tmp_path):
    refused("activation and k are in files of saelens; leave them out", DATA / "sae_lens/topk", k=3)
    refused("scale is 0.0; expected a positive number", DATA / "sae_lens/topk", scale=0.0)
    SparseAutoencoder(4, 7).save(tmp_path / "ours")
    refused("a coder of ours has its scale in its file", tmp_path / "ours", scale=2.0)
    TransformMatrix(cyclic(2), 4).save(tmp_path / "other")
    refused("holds a TransformMatrix of format 2, not a SparseAutoencoder", tmp_path / "other")


@pytest.mark.parametrize("coder", [SparseAutoencoder(4, 7, activation="topk", k=2, seed=5),
                                   GroupCrosscoder(cyclic(2), 4, 7, seed=5)], ids=["autoencoder", "crosscoder"])
def test_ours_is_read_too(coder, tmp_path):
    coder.save(tmp_path)
    assert load_dictionary(tmp_path).fingerprint == coder.fingerprint


def test_any_factor_of_activations_is_applied_inside_and_undone_outside():
    """Whatever multiplied the activations in training need not be known to the file."""
    plain, scaled = (load_dictionary(DATA / "sparsify/topk", scale=scale) for scale in (None, 0.25))
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(scaled.encode(4 * x), plain.encode(x))
    torch.testing.assert_close(scaled(4 * x[:, None]).reconstruction, 4 * plain(x[:, None]).reconstruction)


def test_a_module_of_nobody():
    with pytest.raises(ValueError, match="this SparseAutoencoder is of groupcc_lite; expected a module of sae_lens"):
        from_module(SparseAutoencoder(4, 7))
