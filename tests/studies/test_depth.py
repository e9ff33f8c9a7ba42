"""The study of layers: the same images and settings for all, and what is said of each layer."""

import numpy as np
import pytest
import torch

from groupcc_lite.base import Cache
from groupcc_lite.orbits import OrbitStore, orbits_at, sample_orbits
from groupcc_lite.runs import get_depth_profile
from groupcc_lite.studies import LayerStudy

SMALL = get_depth_profile("smoke", networks=(("tiny-inception", ("conv2d0", "mixed3b")), ("tiny-vit", ("blocks.1",))),
                          images=10, steps=2, latents=24, k=4, seeds=2, batch_size=16, turned_images=2)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return LayerStudy(SMALL, work=tmp_path_factory.mktemp("work"))


def test_layers_come_by_network_weights_and_depth(study):
    assert ["/".join(which) for which in study.layers] == [
        "tiny-inception/conv2d0/trained", "tiny-inception/mixed3b/trained", "tiny-inception/conv2d0/random",
        "tiny-inception/mixed3b/random", "tiny-vit/blocks.1/trained", "tiny-vit/blocks.1/random"]
    assert study.stack("tiny-vit", "random") == study.layers[-1:]


def test_all_layers_see_the_same_images_in_the_same_mask(study):
    runs = [study.run(which) for which in study.layers]
    assert len({run.source("train").fingerprint for run in runs}) == 1
    assert len({run.source("held-out").fingerprint for run in runs}) == 1
    assert {run.profile.mask_radius for run in runs} == {SMALL.mask_radius}
    assert len({run.model.fingerprint for run in runs}) == len(runs)


def test_a_layer_is_measured_once_for_each_coder(study):
    found = study.measure(study.layers[1])
    assert found.fve.shape == found.excess.shape == found.established.shape == found.invariant.shape == (2,)
    assert np.allclose(found.power.sum(1), 1, atol=1e-4)
    assert found.turning.names == study.run(study.layers[1]).group.names and found.local.errors.shape == (4,)
    assert found.turning.errors[0] == 0 and found.turning.mean > 0 and found.local.mean > 0


def test_features_of_all_layers_are_asked_about_the_same_places(study):
    one, other = (study.features(which) for which in (study.layers[0], study.layers[-1]))
    assert torch.equal(one.image, other.image) and one.photographs.shape[:2] == other.photographs.shape[:2]
    assert one.drawings.shape[0] == 14 and len(one.label) == one.photographs.shape[2]


def test_orbits_at_the_points_of_a_sample_are_the_sample(study, unchecked):
    run = study.run(study.layers[0])
    images = run.source("held-out").load([0, 1])
    sample = sample_orbits(run.model, run.action, images, points_per_image=4, mask_radius=18.0)
    blocks = orbits_at(run.model, run.action, images, sample.points.reshape(2, 4, 2))
    assert torch.equal(blocks, sample.blocks)
    with pytest.raises(ValueError, match="2 images and points of 1"):
        orbits_at(run.model, run.action, images, torch.zeros(1, 4, 2))


def test_layers_that_cannot_be_read_are_named_before_anything_is_made(tmp_path):
    crowded = get_depth_profile(SMALL, points_per_image=20)
    with pytest.raises(ValueError, match="(?s)tiny-vit/blocks.1/trained: .*points_per_image is 20") as found:
        LayerStudy(crowded, work=tmp_path).check()
    assert "tiny-inception" not in str(found.value) and not list(tmp_path.glob("orbits/*"))


def test_networks_of_two_sizes_are_refused(study, monkeypatch):
    monkeypatch.setattr(study.run(study.layers[-1]).model, "input_size", 97)
    monkeypatch.setattr(type(study.run(study.layers[0])), "check", lambda self: None)
    with pytest.raises(ValueError, match="images of different sizes, .*'tiny-vit': 97"):
        study.check()


def test_the_report_says_which_networks_were_compared(study):
    facts = study.report("15_depth").facts
    assert set(facts["fingerprints"]) == {"/".join(which) for which in study.layers}
    assert facts["model"] == "tiny-inception and tiny-vit"


def test_orbits_of_a_stack_are_made_in_one_pass_and_are_those_of_each_run(tmp_path, monkeypatch):
    passes = []
    made = OrbitStore.make_layers.__func__
    monkeypatch.setattr(OrbitStore, "make_layers", classmethod(
        lambda cls, folders, models, *a, **k: passes.append(len(models)) or made(cls, folders, models, *a, **k)))
    fresh = LayerStudy(SMALL, work=tmp_path / "work")
    fresh._extract(fresh.layers[0])
    assert passes == [2, 1, 1] * 2, "all at once; then each sees that nothing is missing"
    runs = [fresh.run(which) for which in fresh.stack("tiny-inception")]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    for number, run in enumerate(runs):
        alone = OrbitStore.make(tmp_path / f"alone{number}", run.model, run.action, run.source("held-out"),
                                **run.recipes.sampling)
        rows = range(len(alone))
        torch.testing.assert_close(run.orbits("held-out").rows(rows), alone.rows(rows), rtol=1e-3, atol=1e-4)
    assert len(written) == 4 and all(path.stat().st_mtime_ns == then for path, then in written.items())


def test_a_store_that_another_process_made_meanwhile_leaves_no_gap(tmp_path, monkeypatch):
    study, asked = LayerStudy(SMALL, work=tmp_path), []
    get = Cache.get

    def other_process(self, artefact, make, **kwargs):
        asked.append(artefact.key)
        if len(asked) == 2:  # what is asked for second is there by then
            (run,) = (study.run(which) for which in study.stack("tiny-inception")
                      if study.run(which).recipes.orbits("train").key == artefact.key)
            get(self, artefact, lambda folder: OrbitStore.make(folder, run.model, run.action, run.source("train"),
                                                               **run.recipes.sampling))
        return get(self, artefact, make, **kwargs)

    monkeypatch.setattr(Cache, "get", other_process)
    study._extract(study.layers[0])
    for which in study.stack("tiny-inception"):
        run = study.run(which)
        store = OrbitStore(run.cache.folder(run.recipes.orbits("train")))  # as it lies there: nobody repairs it
        assert len(store) == 8 * SMALL.points_per_image


def test_layers_in_another_order_are_asked_for_in_the_same_and_one_named_twice_once(tmp_path, monkeypatch):
    orders = []
    for layers in (("conv2d0", "mixed3b"), ("mixed3b", "conv2d0"), ("mixed3b", "conv2d0", "mixed3b")):
        asked, profile = [], get_depth_profile(SMALL, networks=(("tiny-inception", layers), SMALL.networks[1]))
        study = LayerStudy(profile, work=tmp_path / "-".join(layers))
        with monkeypatch.context() as patch:
            get = Cache.get
            patch.setattr(Cache, "get", lambda self, artefact, *a, asked=asked, get=get, **k: asked.append(
                artefact.key) or get(self, artefact, *a, **k))
            study._extract(study.layers[0])
        orders.append(asked)
    assert len(orders[0]) == 4 and orders[0] == orders[1] == orders[2]
