"""The built-in network: the shipped weights are what their record says, and training makes both files."""

import json

import pytest
import torch
from torch import fx

from groupcc_lite.base import sha256_of
from groupcc_lite.models.networks import TinyInception, TinyViT, randomise
from groupcc_lite.models.tiny_training import (
    HELD_OUT_SEED,
    SIZE,
    TINY_STEPS,
    VIT_STEPS,
    evaluate_tiny,
    orientation_tuning,
    targets,
    train_tiny,
    train_vit,
)
from groupcc_lite.models.weight_files import TINY_WEIGHTS, TOLD_WEIGHTS, VIT_WEIGHTS
from groupcc_lite.models.zoo import load_model, load_tiny, load_vit
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES, sample_drawings


@pytest.fixture(scope="module", params=[False, True], ids=["names only", "told"])
def told(request):
    """Both built-in networks: the one that names shapes, and the one that was told how they are turned as well."""
    return request.param


@pytest.fixture(scope="module")
def record(told):
    return json.loads((TOLD_WEIGHTS if told else TINY_WEIGHTS).with_suffix(".json").read_text())


def test_shipped_weights_are_the_recorded_ones(record, told):
    weights = TOLD_WEIGHTS if told else TINY_WEIGHTS
    assert sha256_of(weights) == record["sha256"] and record["training"]["told"] == told
    assert weights.stat().st_size < 1_000_000
    assert sum(p.numel() for p in load_tiny(told=told).parameters()) == record["parameters"]
    assert record["training"]["steps"] == TINY_STEPS
    assert set(record["held_out"]["accuracy_per_class"]) == set(SHAPE_NAMES)


def test_shipped_weights_reach_the_recorded_accuracy(record, told):
    """On a few hundred drawings of another seed than the record's, within three standard errors."""
    stated = record["held_out"]["accuracy"]
    found = evaluate_tiny(load_tiny(told=told), 256, seed=HELD_OUT_SEED + 1)
    error = (stated * (1 - stated) / found["questions"]) ** 0.5
    assert abs(found["accuracy"] - stated) < 3 * error + 0.005
    assert stated > 0.95 and min(record["held_out"]["accuracy_per_class"].values()) > 0.85
    assert ("orientation_error_degrees" in found) == ("orientation_error_degrees" in record["held_out"]) == told
    if told:
        assert max(found["orientation_error_degrees"].values()) < 8
        assert max(record["held_out"]["orientation_error_degrees"].values()) < 6


def test_an_untrained_network_is_at_chance():
    found = evaluate_tiny(randomise(TinyInception(len(SHAPES), told=True)), 128)
    assert found["accuracy"] < 0.2 and found["orientation_error_degrees"]["curve"] > 60


def test_features_follow_the_angle(record, told):
    """At mixed3b most active channels change as one curve or line turns, whether orientations were asked for or not."""
    stated = record["orientation_tuning"]["mixed3b"]
    for name, counts in orientation_tuning(load_tiny(told=told)).items():
        assert counts["active"] > 30 and counts["tuned"] > 0.5 * counts["active"]
        assert all(abs(counts[key] - stated[name][key]) <= 2 for key in counts)  # rounding may tip one channel
    round_shape = orientation_tuning(load_tiny(told=told), shapes=("circle",))["circle"]  # negative control
    assert round_shape["tuned"] == 0 and round_shape["steady"] == round_shape["active"] > 10


def test_questions_lie_on_the_models_grid():
    geometry = load_model(weights="random").geometry
    assert (geometry.stride, geometry.first, geometry.input_size) == (TinyInception.stride, TinyInception.first, SIZE)
    drawings = sample_drawings(8, SIZE, seed=3)
    where, kind, direction = targets(drawings)
    first = where[where[:, 0] == 0][0]
    cells = geometry.cells(drawings.positions[0, 0])
    assert (first[1:].flip(0) - cells).abs().max() <= 0.5 and kind[0] == drawings.labels[0]
    lengths = direction.norm(dim=1)
    round_ones = torch.tensor([SHAPES[i].fold == 0 for i in kind])
    assert torch.allclose(lengths, (~round_ones).float(), atol=1e-5)
    assert not drawings.faint[drawings.shapes >= 0].all() and len(kind) < (drawings.shapes >= 0).sum()


def test_training_writes_weights_and_record(tmp_path):
    train_tiny(tmp_path, steps=3, batch_size=4, seed=1, held_out=8)
    written = json.loads((tmp_path / TINY_WEIGHTS.with_suffix(".json").name).read_text())
    assert written["training"]["steps"] == 3 and written["training"]["seed"] == 1
    assert written["sha256"] == sha256_of(tmp_path / TINY_WEIGHTS.name)
    trained = load_tiny(tmp_path / TINY_WEIGHTS.name)
    untrained = randomise(TinyInception(len(SHAPES)), 1)
    assert not torch.equal(trained.conv2d0.weight, untrained.conv2d0.weight)


@pytest.mark.parametrize("given, steps", [([], TINY_STEPS), (["--steps", "3"], 3)])
def test_the_command_leaves_the_packages_weights_alone(tmp_path, monkeypatch, capsys, given, steps):
    from groupcc_lite.__main__ import main

    asked = []
    monkeypatch.setattr("groupcc_lite.models.train_tiny", lambda folder, **settings: asked.append((folder, settings)))
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path))
    assert main(["train-tiny", *given]) == 0
    assert asked == [(tmp_path / "tiny-inception", {"told": False, "steps": steps, "seed": 0})]
    assert f"The weights lie at {tmp_path / 'tiny-inception' / TINY_WEIGHTS.name}" in capsys.readouterr().out
    assert main(["train-tiny", "--folder", str(TINY_WEIGHTS.parent)]) == 0
    assert "own weights were replaced" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch_size": 0}, {"held_out": -1}])
def test_bad_settings(tmp_path, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        train_tiny(tmp_path, **change)


# ------------------------------------------------------------------------------------------- the vision transformer

def test_the_transformers_weights_are_the_recorded_ones():
    record = json.loads(VIT_WEIGHTS.with_suffix(".json").read_text())
    assert sha256_of(VIT_WEIGHTS) == record["sha256"] and VIT_WEIGHTS.stat().st_size < 1_000_000
    assert sum(p.numel() for p in load_vit().parameters()) == record["parameters"]
    assert record["training"]["steps"] == VIT_STEPS
    stated = record["held_out"]["accuracy"]
    found = evaluate_tiny(load_vit(), 256, seed=HELD_OUT_SEED + 1)
    assert abs(found["accuracy"] - stated) < 3 * (stated * (1 - stated) / found["questions"]) ** 0.5 + 0.005
    assert stated > 0.5 > 5 / len(SHAPES)  # chance is 1 / 14
    assert evaluate_tiny(TinyViT(len(SHAPES)).begin(), 128)["accuracy"] < 0.2


def test_the_transformers_questions_lie_on_its_patches():
    """Patch k is centred on pixel 3.5 + 8 k, and only what lies in it goes into its token."""
    network, drawings = TinyViT(len(SHAPES)).begin(), sample_drawings(8, SIZE, seed=3)
    where, kind, _ = targets(drawings, network.stride, network.first)
    middle = network.first + network.stride * where[0, 1:].flip(0) - (SIZE - 1) / 2
    assert (drawings.positions[0, 0] - middle).abs().max() <= network.stride / 2 and kind[0] == drawings.labels[0]
    spot = torch.zeros(1, 3, SIZE, SIZE)
    spot[..., 8 * where[0, 1]:8 * where[0, 1] + 8, 8 * where[0, 2]:8 * where[0, 2] + 8] = 1
    reached = (network.embedding(spot) - network.embedding(0 * spot)).abs().sum(1)[0].nonzero()
    assert reached.tolist() == [where[0, 1:].tolist()]


def test_the_transformer_has_blocks_of_tokens_and_can_be_traced():
    network, images = load_vit(), sample_drawings(2, SIZE, seed=3).images
    tokens = {}
    hooks = [
        block.register_forward_hook(lambda _module, _inputs, output, number=number: tokens.update({number: output}))
        for number, block in enumerate(network.blocks)]
    with torch.no_grad():
        logits, _ = network(images)
        for hook in hooks:  # tracing would call them with stand-ins for tensors
            hook.remove()
        traced, _ = fx.symbolic_trace(network)(images)
    assert {output.shape for output in tokens.values()} == {(2, 1 + 144, 64)} and len(tokens) == 6
    torch.testing.assert_close(traced, logits)


def test_the_transformer_knows_where_things_are():
    """Moved by a whole patch, the same image gives other logits at the moved places; without positions it would not."""
    network = load_vit()
    images = sample_drawings(2, SIZE, seed=3).images
    moved = images.roll(network.stride, 3)
    with torch.no_grad():
        apart = (network(moved)[0] - network(images)[0].roll(1, 3)).abs().max()
        network.positions.zero_()
        without = (network(moved)[0] - network(images)[0].roll(1, 3)).abs().max()
    assert apart > 0.1 and without < 1e-3


def test_training_the_transformer_writes_weights_and_record(tmp_path):
    train_vit(tmp_path, steps=2, batch_size=4, seed=1, held_out=8)
    written = json.loads((tmp_path / VIT_WEIGHTS.with_suffix(".json").name).read_text())
    assert written["training"]["steps"] == 2 and written["sha256"] == sha256_of(tmp_path / VIT_WEIGHTS.name)
    trained, before = load_vit(tmp_path / VIT_WEIGHTS.name), TinyViT(len(SHAPES)).begin(1)
    assert not torch.equal(trained.embedding.weight, before.embedding.weight)
    with pytest.raises(ValueError, match="batch_size is 0"):
        train_vit(tmp_path, batch_size=0)


def test_the_command_trains_the_transformer(tmp_path, monkeypatch, capsys):
    from groupcc_lite.__main__ import main

    asked = []
    monkeypatch.setattr("groupcc_lite.models.train_vit", lambda folder, **settings: asked.append((folder, settings)))
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path))
    assert main(["train-tiny", "--vit"]) == 0
    assert asked == [(tmp_path / "tiny-vit", {"steps": VIT_STEPS, "seed": 0})]
    assert VIT_WEIGHTS.name in capsys.readouterr().out
