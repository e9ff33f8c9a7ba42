"""Layers that are read in one pass have the orbits that each would have by itself."""

import pytest
import torch

from groupcc_lite.orbits import OrbitStore
from groupcc_lite.runs import Run, extract_layers

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


def test_one_part_is_made_without_the_other(tmp_path):
    some = runs(tmp_path)
    extract_layers(some, ["held-out"])
    assert [run.cache.has(run.recipes.orbits(part)) for run in some for part in ("train", "held-out")] == [
        False, True, False, True]


def test_runs_that_read_other_points_are_refused(tmp_path):
    first, _ = runs(tmp_path)
    other = Run("smoke", layer="mixed3b", work=tmp_path, **SETTINGS | dict(points_per_image=4))
    with pytest.raises(ValueError, match="read other points of other images"):
        extract_layers([first, other])
