"""What a profile will cost counts everything that its chapters make."""

import dataclasses
import math

import pytest
from small_scenes import TINY_SCENES

from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.models import load_model
from groupcc_lite.runs import CURVE_PROFILES, DEPTH_PROFILES, Run
from groupcc_lite.runs.scene_run import CODERS
from groupcc_lite.studies.costing import costs, toy_costs


def test_cost_is_measured_without_weights_or_images():
    paper = Run("paper", model=load_model("inceptionv1", weights="random"))
    assert costs._orbits_cost(paper, costs.IMAGENET_TRAIN, 1.0)["disk GB"] < 20
    stages = costs.cost("smoke")
    assert stages["images"]["count"] == 160 and stages["orbits"]["disk GB"] > 0
    assert all(stage["hours"] > 0 for name, stage in stages.items() if name != "images")
    assert not [stage for stage in stages if "chapter" in stage]  # their numbers change
    assert {"folds", "controls", "second set", "patch-centred pair", "layers of two networks", "curve detectors",
            "latents and manifolds", "what symmetry saves", "superposition toys", "robust networks"} <= stages.keys()
    assert stages["one matrix for the layer"]["steps"] == 20
    with pytest.raises(ValueError, match="no image in"):
        costs.cost("smoke", images="tests")
    assert costs._image_count("inceptionv1", 0, None) == costs.IMAGENET_TRAIN
    assert costs._image_count("googlenet", 0, None) == costs.SAMPLE_PHOTOS


def test_a_stage_that_needs_an_extra_says_so_and_the_others_are_measured(monkeypatch):
    def lacking(settings, device):
        raise ModuleNotFoundError("other people's networks need 'timm', which is not installed")

    monkeypatch.setattr(costs, "depth_cost", lacking)
    stages = costs.cost("smoke")
    assert stages.pop("layers of two networks") == {"not measured": "other people's networks need 'timm', which is not "
                                                                    "installed"}
    assert all(stage["hours"] > 0 for name, stage in stages.items() if name != "images")


@pytest.fixture
def an_hour_each(monkeypatch):
    """Every step that is timed runs, and is said to have taken an hour."""
    def seconds(work):
        work()
        return 3600.0

    monkeypatch.setattr(costs, "seconds_of", seconds)
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def test_every_training_of_the_scenes_is_counted(an_hour_each):
    """5 steps of the base model, 3 + 1 of M and its penalty, 3 of each of 5 coders, and probes of 4 tasks: of the
    activations, of the reconstructions of 3 regular coders, and of 3 readings of the equivariant one."""
    assert costs.scene_cost(TINY_SCENES, "cpu") == {
        "base models": 1, "matrices M": 2, "coders": 5, "probing tasks": 4 * (1 + 3 + 3),
        "hours": pytest.approx(5 + (3 + 1) + 5 * 3 + 28)}


LAYER = dict(group="C_4", drawings=20, latents=32, k=4, points_per_image=2, batch_size=8, seeds=2, folds=3,
             fold_seeds=2, fold_steps=5, fold_batch=4, steps=7)


def layer_run(tmp_path, **changes):
    return Run("smoke", model=load_model("tiny-inception", weights="random"), work=tmp_path, **(LAYER | changes))


def test_coders_of_all_folds_are_counted(an_hour_each, tmp_path):
    assert costs._fold_cost(layer_run(tmp_path)) == {"trainings": 6, "steps": 5, "hours": pytest.approx(6 * 5)}


def test_controls_and_coders_of_moved_images_are_counted(an_hour_each, tmp_path):
    """Half an hour an image and an hour a step. With a budget of their own: 10 images for untrained, patches, told and
    the conjugated group, and 3 steps for 2 seeds of the first two and of trained, one of told, and 3 moved or
    conjugated; trained has rows of the run's orbits, unless the run keeps none. Without: all 20 images are read."""
    few = layer_run(tmp_path, control_images=10, control_steps=3)
    assert costs._control_cost(few, 20, 1800.0, 3600.0) == {
        "images": 10, "trainings": 10, "hours": pytest.approx(4 * 10 / 2 + 10 * 3)}
    partly = layer_run(tmp_path, control_images=10, control_steps=3, store_images=15)
    assert costs._control_cost(partly, 20, 1800.0, 3600.0)["hours"] == pytest.approx(5 * 10 / 2 + 10 * 3)
    assert costs._control_cost(layer_run(tmp_path), 20, 1800.0, 3600.0) == {
        "images": 20, "trainings": 8, "hours": pytest.approx(4 * 20 / 2 + 8 * 7)}
    streamed = costs._control_cost(layer_run(tmp_path, stream=True), 20, 1800.0, 3600.0)["hours"]
    assert streamed == pytest.approx(4 * 20 / 2 + 8 * 7 + 4 * 7 * 8 / 2 / 2)  # 4 streams; 8 orbits a step, 2 an image


def test_one_stream_is_counted_for_all_coders(tmp_path):
    """What is stored of 20 images, and the images of the longest training; a store is read as often as one likes."""
    def images(**changes):
        run = layer_run(tmp_path, **(dict(curve_steps=3) | changes))
        return costs._orbits_cost(run, 20, 3600.0)["hours"]

    assert images() == 20
    assert images(stream=True) == images(stream=True, seeds=9) == 20 + 7 * 8 / 2
    assert images(stream=True, curve_steps=50) == 20 + 50 * 8 / 2
    assert images(stream=True, store_images=5) == 5 + 2 + 7 * 8 / 2


def built_in(tmp_path, **changes):
    """A run that has its images, drawings."""
    return Run("smoke", work=tmp_path, **(LAYER | changes))


def test_a_report_costs_what_it_makes_and_no_more(an_hour_each, tmp_path):
    """Half an hour for each of 20 images, 7 steps of each coder, and the sums of the linear reference, twice: an hour
    for a batch, which is a tenth of the training orbits."""
    run = built_in(tmp_path)
    found, batch = costs.run_cost(run), math.ceil(len(run.source("train")) * 2 / 10)
    assert found.pop("atlas") > 0
    assert found == {"orbits": pytest.approx(20 / 2), "crosscoder": pytest.approx(7),
                     "sparse autoencoder": pytest.approx(7), "linear reference": pytest.approx(2 * 40 / batch)}
    assert costs.run_cost(run, atlas=False).keys() == {"orbits", "crosscoder", "linear reference"}


def test_without_the_atlas_no_picture_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("groupcc_lite.symmetry.render_features", lambda *a, **k: pytest.fail("drew pictures"))
    assert "atlas" not in costs.run_cost(built_in(tmp_path), atlas=False)


def test_of_a_given_dictionary_only_what_is_trained_beside_it_is_counted(an_hour_each, tmp_path):
    run = built_in(tmp_path)
    sae = run.with_dictionary(SparseAutoencoder(run.model.channels, 16))
    crosscoder = run.with_dictionary(GroupCrosscoder(run.group, run.model.channels, 16))
    drawn = {"orbits", "linear reference", "atlas"}
    assert costs.run_cost(sae).keys() == drawn and costs.run_cost(crosscoder).keys() == drawn | {"sparse autoencoder"}
    for given in (sae, crosscoder):
        assert costs.run_cost(given, atlas=False).keys() == drawn - {"atlas"}


def test_a_report_from_a_stream_costs_all_coders_that_it_trains_together(an_hour_each, tmp_path):
    run = built_in(tmp_path, stream=True, store_images=10, steps=6)
    planned = [one.settings for one in run.recipes.coders_of_chapters()]
    found, alone = costs.run_cost(run, atlas=False), costs.run_cost(run.with_dictionary(
        GroupCrosscoder(run.group, run.model.channels, 32)))
    for kind, stage in (("crosscoder", "crosscoder"), ("sae", "sparse autoencoder")):
        steps = sum(one["steps"] for one in planned if one["kind"] == kind)
        assert found[stage] == pytest.approx(steps) and steps > 6
    longest = max(one["steps"] for one in planned)
    stored = 10 + len(run.source("held-out"))
    assert found["orbits"] == pytest.approx((stored + longest * 8 / 2) / 2)
    assert alone["orbits"] == pytest.approx((stored + 6 * 8 / 2) / 2) and alone["sparse autoencoder"] == 6


def test_the_second_set_and_the_patch_centred_pair_are_counted(an_hour_each, tmp_path):
    few = layer_run(tmp_path, control_images=10, control_steps=3)
    assert costs._second_set_cost(few, 20, 1800.0, 3600.0) == {
        "images": 10, "trainings": 1, "hours": pytest.approx(10 / 2 + 3)}
    assert costs._pair_cost(few, 20, 1800.0) == {"images": 20, "points each": 5, "hours": pytest.approx(20)}
    assert costs._pair_cost(few, 999, 1800.0)["images"] == 240


def test_layers_are_read_in_one_pass_and_have_coders_each(an_hour_each):
    """Half an hour an image for all layers of a network, trained and random, and 3 coders of 2 steps for each layer: of
    an hour for the widest, and less in proportion for layers with fewer channels."""
    profile = dataclasses.replace(DEPTH_PROFILES["smoke"], images=10, steps=2, seeds=3)
    widths = sum(model.channels / max(m.channels for m in stack) for stack in (
        [load_model(network, layer) for layer in layers] for network, layers in profile.networks) for model in stack)
    assert costs.depth_cost(profile, "cpu") == {
        "images": 10, "layers": 16, "trainings": 48, "hours": pytest.approx(2 * (2 * 10 / 2 + 2 * 3 * widths))}


def test_curve_detectors_cost_images_arcs_and_dictionaries(an_hour_each):
    """Half an hour for each image, plain or in all orientations, with trained and with random weights; arcs three
    times; and an hour for each step of 11 kinds of dictionaries."""
    profile = dataclasses.replace(CURVE_PROFILES["smoke"], turned_images=4, steps=2, seeds=3)
    arcs = 4 * 3 * 72
    assert costs.curve_cost(profile, 10, "cpu") == {
        "images": 10, "arcs": arcs, "trainings": 33, "hours": pytest.approx(14 + 1.5 * arcs + 66)}


def test_a_step_is_timed_once_for_all_seeds(an_hour_each, monkeypatch):
    timed = []
    monkeypatch.setattr(costs, "_coder_step", lambda training, *_: timed.append(training) or 3600.0)
    more = dataclasses.replace(TINY_SCENES, seeds=2, coder_seeds=2, repeated_ks=(4,), ks=(4, 8))
    found = costs.scene_cost(more, "cpu")
    assert (found["base models"], found["matrices M"], found["coders"]) == (2, 4, 15)
    assert {(training["name"], training["k"]) for training in timed} == {
        (name, k) for name in CODERS for k in (4, 8)} and len(timed) == 10


def test_a_toy_of_many_latents_is_timed_without_proving_all_its_codes(monkeypatch):
    """Of 1,024 latents that have learned nothing the proof did not end, nor did the cost of the profile paper."""
    asked = []
    whole = toy_costs.loss_curve
    monkeypatch.setattr(toy_costs, "loss_curve", lambda toy, sizes, **how: asked.extend(sizes) or whole(
        toy, sizes, **how))
    assert toy_costs._toy_seconds(8, toy_costs.HOLLOW, 1024, 2) > 0 and set(asked) == {toy_costs.CODED}
