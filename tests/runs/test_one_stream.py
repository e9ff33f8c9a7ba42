"""A run that streams trains everything that chapters compare from one extraction, and each coder as if alone."""

import logging

import numpy as np
import pytest
import torch
from image_files import write_photos, write_shards
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import Cache
from groupcc_lite.coders import training_loop
from groupcc_lite.groups import cyclic
from groupcc_lite.orbits import OrbitStream
from groupcc_lite.runs import Run, extract_layers

TINY = dict(latents=24, k=4, steps=12, curve_steps=6, batch_size=32, points_per_image=8, mask_radius=7.0, drawings=24,
            topk_ks=(4,), l1_sparsities=(1.0,), seeds=2)


def new_run(work, **changes):
    model, action = small_model(), PlanarAction(cyclic(4))
    images = noise_images(20, action.source_size(model.input_size))
    return Run("smoke", **(dict(model=model, images=images, action=action, work=work, stream=True) | TINY | changes))


@pytest.fixture
def run(tmp_path):
    return new_run(tmp_path / "together")


@pytest.fixture
def passed(monkeypatch):
    """How many images streams have computed for batches, not counting those that a scale is measured on."""
    seen, samples = [], OrbitStream._samples

    def counted(self, groups, epoch, elements):
        for group, blocks in zip(groups, samples(self, groups, epoch, elements), strict=True):
            seen.append(len(group))
            yield blocks

    monkeypatch.setattr(OrbitStream, "_samples", counted)
    return seen


def everything(run):
    """Every coder that is asked for in the chapters, in another order than that in which they are made."""
    found = {("sae", 1): run.coder("sae", seed=1), ("crosscoder", 0): run.coder(), ("sae", 0): run.coder("sae")}
    found |= {("crosscoder", 1): run.coder(seed=1), "TopK": run.coder(activation="topk", k=4, sparsity=0.0, steps=6)}
    return found | {"L1": run.coder(activation="relu", k=None, sparsity=1.0, steps=6)}


def test_one_extraction_serves_all_coders_and_each_is_as_if_alone(run, tmp_path, passed, monkeypatch):
    asked = everything(run)
    together = sum(passed)
    passed.clear()
    monkeypatch.setattr(training_loop, "train_many", lambda *a, **k: pytest.fail("trained together"))
    alone = new_run(tmp_path / "alone", together=False)
    for name, coder in everything(alone).items():
        for ours, theirs in zip(asked[name].state_dict().values(), coder.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    assert sum(passed) > 3 * together
    assert alone.keys() == run.keys()
    assert len(run.history()) == len(alone.history()) and run.history("sae")[-1]["step"] == 12
    assert not list((tmp_path / "together").rglob("checkpoint.safetensors"))


def test_what_is_asked_for_first_decides_nothing_and_later_calls_find_it(run, caplog, monkeypatch):
    with caplog.at_level(logging.INFO):
        first = run.coder("sae", seed=1)
    assert "6 coders are trained together" in caplog.text
    monkeypatch.setattr(Cache, "_make", lambda self, artefact, *a: pytest.fail(f"{artefact} is made again"))
    assert torch.equal(run.coder("sae", seed=1).W_d, first.W_d)
    everything(run), run.history("sae")


def test_another_coder_than_the_chapters_compare_is_trained_by_itself(run, caplog):
    with caplog.at_level(logging.INFO):
        run.coder(latents=16)
    assert "together" not in caplog.text and not run.cache.has(run.recipes.coder())


def test_controls_share_a_stream_among_their_seeds(run, passed):
    untrained = run.control("untrained")
    for seed in (0, 1):
        untrained.coder(seed=seed)
    two = sum(passed)
    assert not untrained.cache.has(untrained.recipes.coder("sae"))
    passed.clear()
    new_run(run.work / "alone", together=False).coder()
    measured = len(run.source("train"))
    assert two - measured == sum(passed) - measured > 0
    turned = run.control(action=run.action.conjugated(22.5))
    assert untrained.together and not turned.together and not run.fold(0, of=2).together


def test_another_process_that_makes_one_of_them_first(run, tmp_path, monkeypatch):
    """Then nothing further in is made; who asked for a coder trains it by itself, to the same numbers."""
    expected = everything(new_run(tmp_path / "alone", together=False))
    planned = sorted(run.recipes.coders_of_chapters(), key=lambda one: one.key)
    get, done = Cache.get, []

    def other_process(self, artefact, make, **keywords):
        if artefact.key == planned[2].key and not done:
            done.append(artefact)
            return new_run(run.work, together=False)._trained(artefact, artefact.settings["kind"], run.stream)
        return get(self, artefact, make, **keywords)

    monkeypatch.setattr(Cache, "get", other_process)
    found = everything(run)
    assert done
    for name, coder in found.items():
        torch.testing.assert_close(coder.W_d, expected[name].W_d, atol=1e-6, rtol=1e-6)


def test_an_interrupted_training_of_many_goes_on(run, tmp_path, monkeypatch):
    expected, write, count = everything(new_run(tmp_path / "alone", together=False)), training_loop._Learner.write, []

    def stopping(self):
        write(self)
        count.append(1)
        if len(count) == 4:  # two coders of six steps, and two of twelve, are done
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_loop._Learner, "write", stopping)
        with pytest.raises(KeyboardInterrupt):
            run.coder()
    found = everything(run)
    for name, coder in found.items():
        torch.testing.assert_close(coder.W_d, expected[name].W_d, atol=1e-6, rtol=1e-6)


def test_how_images_are_read_changes_no_key_and_no_number(tmp_path):
    """Workers, images at a time, a folder or tar files of the same images: numbers are the same to rounding."""
    folder = write_photos(tmp_path / "photos", 20, side=48)
    write_shards(tmp_path / "shards", sorted(folder.iterdir()), per_shard=6)
    settings = TINY | dict(stream=False)
    plain = new_run(tmp_path / "a", images=folder, **settings)
    other = new_run(tmp_path / "b", images=folder, workers=2, extraction_batch=3, **settings)
    tars = new_run(tmp_path / "c", images=tmp_path / "shards", workers=1, **settings)
    assert other.keys() == plain.keys() != tars.keys()
    expected = plain.orbits()
    for run in (other, tars):
        found = run.orbits()
        np.testing.assert_allclose(found.rows(range(len(found))), expected.rows(range(len(expected))), atol=2e-3)
        assert list((run.work / "image-indexes").glob("*.json"))
    for derived in (other.control("untrained"), other.fold(0, of=2), other.two_image_sets(folder)[1]):
        assert (derived.workers, derived.extraction_batch) == (2, 3)
    assert not list(tmp_path.glob("b/orbits/*/pack-*"))  # a few shards stay as they are


def test_layers_are_read_by_the_same_workers(tmp_path, monkeypatch):
    from groupcc_lite.orbits import store

    asked, load = [], store.load_ahead
    monkeypatch.setattr(store, "load_ahead", lambda source, groups, workers: asked.append(workers) or load(
        source, groups, workers))
    runs = [new_run(tmp_path, model=small_model(channels), stream=False, workers=2) for channels in (5, 6)]
    extract_layers(runs, ["held-out"])
    assert set(asked) == {2}
