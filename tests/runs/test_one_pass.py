"""Layers that are read in one pass have the orbits that each would have by itself."""

import numpy as np
import pytest
import torch

from groupcc_lite.orbits import OrbitStore
from groupcc_lite.runs import Run, extract_layers
from groupcc_lite.stimuli import DrawingSource

LAYERS = ("conv2d2", "mixed3b")
SETTINGS = dict(group="C_4", drawings=10, points_per_image=3, mask_radius=12.0)


def runs(work):
    return [Run("smoke", layer=layer, work=work, **SETTINGS) for layer in LAYERS]


def test_orbits_are_those_of_single_passes(tmp_path, monkeypatch):
    together, alone = runs(tmp_path / "together"), runs(tmp_path / "alone")
    extract_layers(together)
    passes = []
    real = OrbitStore.make_layers.__func__
    monkeypatch.setattr(OrbitStore, "make_layers", classmethod(
        lambda cls, folders, models, *a, **k: passes.append(len(models)) or real(cls, folders, models, *a, **k)))
    extract_layers(together)
    assert passes == []  # everything is there
    for first, second in zip(together, alone, strict=True):
        for part in ("train", "held-out"):
            a, b = first.orbits(part), second.orbits(part)
            assert torch.equal(a.rows(range(len(a))), b.rows(range(len(b))))


def test_every_image_is_loaded_once_for_all_layers(tmp_path, monkeypatch):
    """And twice if each layer is read by itself; a second call loads nothing."""
    loaded = []
    real = DrawingSource.load
    monkeypatch.setattr(DrawingSource, "load", lambda self, indices: loaded.extend(indices) or real(self, indices))
    together = runs(tmp_path / "together")
    extract_layers(together)
    assert sorted(map(int, loaded)) == list(range(10))
    extract_layers(together)
    for run in together:
        run.orbits("train"), run.orbits("held-out")
    assert len(loaded) == 10
    loaded.clear()
    for run in runs(tmp_path / "alone"):
        run.orbits("train"), run.orbits("held-out")
    assert sorted(map(int, loaded)) == sorted([*range(10)] * 2)


def test_what_is_there_is_left_alone_and_only_what_is_missing_is_made(tmp_path, monkeypatch):
    first, second = runs(tmp_path)
    there = first.orbits("train").rows(range(5))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    asked = []
    real = OrbitStore.make_layers.__func__
    monkeypatch.setattr(OrbitStore, "make_layers", classmethod(
        lambda cls, folders, models, *a, **k: asked.append([m.layer for m in models]) or real(
            cls, folders, models, *a, **k)))
    extract_layers([first, second], ["train"])
    assert asked[0] == ["mixed3b"] and not any("conv2d2" in layers for layers in asked)
    assert written and all(path.stat().st_mtime_ns == then for path, then in written.items())
    assert torch.equal(first.orbits("train").rows(range(5)), there)


def test_layers_named_twice_and_in_another_order_are_the_same(tmp_path):
    first, second = runs(tmp_path / "a")
    extract_layers([first, second, first])
    third, fourth = runs(tmp_path / "b")
    extract_layers([fourth, third])
    for one, other in ((first, third), (second, fourth)):
        a, b = one.orbits("train"), other.orbits("train")
        assert torch.equal(a.rows(range(len(a))), b.rows(range(len(b)))) and np.array_equal(a.points, b.points)
    assert first.orbits("train").channels != second.orbits("train").channels


def test_one_part_is_made_without_the_other(tmp_path):
    some = runs(tmp_path)
    extract_layers(some, ["held-out"])
    assert [run.cache.has(run.recipes.orbits(part)) for run in some for part in ("train", "held-out")] == [
        False, True, False, True]


@pytest.mark.parametrize("changes", [dict(points_per_image=4), dict(group="C_2"), dict(drawings=12),
                                     dict(mask_radius=10.0), dict(seed=1)], ids=str)
def test_runs_that_read_other_points_are_refused(tmp_path, changes):
    first, _ = runs(tmp_path)
    other = Run("smoke", layer="mixed3b", work=tmp_path, **SETTINGS | changes)
    with pytest.raises(ValueError, match="read other points of other images"):
        extract_layers([first, other])
    assert not list(tmp_path.rglob("*.npy"))
