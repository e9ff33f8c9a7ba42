"""Trained modules in a folder: whole, checked, and explained when something is wrong."""

import json

import pytest
import torch
from torch import nn

from groupcc_lite.base.saving import save_module, saved_config, with_saved_weights
from groupcc_lite.groups import cyclic, dihedral, saved_group


def linear(seed: int = 0, outputs: int = 2) -> nn.Linear:
    layer = nn.Linear(3, outputs)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(seed))
    return layer


def group_config(G) -> dict:
    return dict(group=G.name, names=list(G.names), table=G.table.tolist())


def test_what_is_saved_comes_back(tmp_path):
    save_module(linear(), dict(kind="linear"), tmp_path / "new" / "folder")
    assert saved_config(tmp_path / "new" / "folder", "layer")["kind"] == "linear"
    again = with_saved_weights(linear(seed=1), tmp_path / "new" / "folder")
    assert torch.equal(again.weight, linear().weight) and not again.training


def test_each_thing_that_can_be_wrong_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no saved layer \(config.json is missing\); train it first"):
        saved_config(tmp_path, "layer")
    save_module(linear(), {}, tmp_path)
    with pytest.raises(ValueError, match="weights do not fit config.json"):
        with_saved_weights(linear(outputs=4), tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged or truncated; delete"):
        saved_config(tmp_path, "layer")
    weights.unlink()
    with pytest.raises(ValueError, match=r"\(weights.safetensors is missing\)"):
        saved_config(tmp_path, "layer")


def test_a_configuration_without_its_checksum_is_damaged(tmp_path):
    save_module(linear(), {}, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"kind": "linear"}))
    with pytest.raises(ValueError, match="does not match its checksum"):
        saved_config(tmp_path, "layer")


def test_the_group_is_the_saved_one_or_an_error(tmp_path):
    config = group_config(dihedral(3))
    assert saved_group(tmp_path, config, "layer", None) == dihedral(3)
    assert saved_group(tmp_path, config, "layer", dihedral(3)).names == dihedral(3).names
    with pytest.raises(ValueError, match="the layer in .* was trained for D_3, not for C_6"):
        saved_group(tmp_path, config, "layer", cyclic(6))
