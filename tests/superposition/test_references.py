"""The networks of the plan: the shipped weights are the recorded ones, and the command makes the same file again."""

import json
import re

import pytest

from groupcc_lite.base import sha256_of
from groupcc_lite.models import load_tiny
from groupcc_lite.superposition import (
    REFERENCES,
    STOPPED,
    RobustNetwork,
    naming_under_attack,
    reference_weights,
    references,
    train_references,
    trained_networks,
)
from groupcc_lite.superposition.references import WEIGHTS_FOLDER

QUICK = dict(steps=2, batch_size=4, held_out=8)


def test_shipped_weights_are_the_recorded_ones():
    shipped = trained_networks()
    assert shipped and set(shipped) <= set(REFERENCES)
    for network in shipped:
        path = reference_weights(network)
        record = json.loads(path.with_suffix(".json").read_text())
        training = record["training"]
        assert sha256_of(path) == record["sha256"] and path.stat().st_size < 200_000
        assert (training["seed"], training["steps"], training["batch_size"]) == (network.seed, 500, 32)
        kind = {"attack": f"L2Attack(eps={network.eps}, steps=3)", "noise": f"L2Noise(eps={network.eps})"}
        assert training.get("change") == kind.get(network.kind)


@pytest.mark.parametrize("network", [RobustNetwork("plain", 0.0, 0), RobustNetwork("attack", 0.5, 0)],
                         ids=lambda network: network.name)
def test_a_shipped_network_does_what_its_record_says(network):
    path = reference_weights(network)
    stated = json.loads(path.with_suffix(".json").read_text())["under_attack"]
    found = naming_under_attack(load_tiny(path), stated["eps"], drawings=stated["drawings"])._asdict()
    assert {key: round(value, 3) for key, value in found.items() if "loss" not in key} == pytest.approx(
        {key: stated[key] for key in ("clean", "attacked", "noisy")}, abs=0.011)


def test_training_makes_the_same_file_again_and_keeps_what_is_there(tmp_path):
    chosen = [RobustNetwork(kind, eps, 0) for kind, eps in (("plain", 0.0), ("attack", 1.0), ("noise", 1.0))]
    first = train_references(tmp_path / "a", chosen, **QUICK)
    again = train_references(tmp_path / "b", chosen, **QUICK)
    assert [one["sha256"] for one in first] == [one["sha256"] for one in again]
    assert len({one["sha256"] for one in first}) == 3
    assert trained_networks(tmp_path / "a") == tuple(n for n in REFERENCES if n in chosen)
    when = reference_weights(chosen[0], tmp_path / "a").stat().st_mtime_ns
    # As text, for a class that no drawing asks for has the accuracy NaN.
    assert json.dumps(train_references(tmp_path / "a", chosen, **QUICK)) == json.dumps(first)
    assert reference_weights(chosen[0], tmp_path / "a").stat().st_mtime_ns == when
    with pytest.raises(ValueError, match="trained with"):
        train_references(tmp_path / "a", chosen, steps=3, batch_size=4)
    with pytest.raises(ValueError, match="train-robust"):
        reference_weights(RobustNetwork("attack", 7.0, 0))


def test_a_record_that_was_measured_under_something_else_is_measured_again(tmp_path, monkeypatch):
    chosen = [RobustNetwork("attack", 0.5, 0)]
    (first,) = train_references(tmp_path, chosen, **QUICK)
    monkeypatch.setattr(references, "train_robust", lambda *_, **__: pytest.fail("it was trained again"))
    (more,) = train_references(tmp_path, chosen, **QUICK | dict(held_out=12))
    assert (first["held_out"]["drawings"], more["held_out"]["drawings"]) == (8, 12)
    assert more["sha256"] == first["sha256"] and more["training"] == first["training"]
    assert more["under_attack"] == first["under_attack"]
    assert json.dumps(train_references(tmp_path, chosen, **QUICK)) == json.dumps([first])
    monkeypatch.setattr(references, "_AT", 1.0)
    (stronger,) = train_references(tmp_path, chosen, **QUICK)
    assert stronger["under_attack"]["eps"] == 1.0 and stronger["under_attack"] != first["under_attack"]


def test_a_network_that_was_trained_on_other_changes_is_refused(tmp_path):
    (record,) = train_references(tmp_path, [RobustNetwork("noise", 1.0, 0)], **QUICK)
    for kind, change in (("attack", record["training"]["change"]), ("plain", record["training"]["change"])):
        eps = 0.0 if kind == "plain" else 1.0
        for suffix in ("json", "safetensors"):
            made = tmp_path / f"noise_1_0.{suffix}"
            (tmp_path / f"{kind}_{eps:g}_0.{suffix}").write_bytes(made.read_bytes())
        with pytest.raises(ValueError, match=re.escape(change)):
            train_references(tmp_path, [RobustNetwork(kind, eps, 0)], **QUICK)


def test_the_shipped_records_are_valid_as_they_are(monkeypatch):
    for name in ("train_robust", "write_json"):
        monkeypatch.setattr(references, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))
    there = [network for network in REFERENCES + STOPPED if (WEIGHTS_FOLDER / f"{network.name}.json").is_file()]
    assert there and len(train_references(WEIGHTS_FOLDER, there)) == len(there)
