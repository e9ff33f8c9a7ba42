"""What a profile will cost counts everything that its chapters make."""

import dataclasses

import pytest
from small_scenes import TINY_SCENES

from groupcc_lite.runs import costs
from groupcc_lite.runs.scene_run import CODERS


def test_cost_is_measured_without_weights_or_images():
    assert costs.cost("paper", images=None)["orbits"]["disk GB"] < 20
    stages = costs.cost("smoke")
    assert stages["images"]["count"] == 160 and stages["orbits"]["disk GB"] > 0
    assert all(stage["hours"] > 0 for name, stage in stages.items() if name != "images")
    assert not [stage for stage in stages if "chapter" in stage]  # their numbers change
    assert stages["one matrix for the layer"]["steps"] == 20
    with pytest.raises(ValueError, match="no image in"):
        costs.cost("smoke", images="tests")


@pytest.fixture
def an_hour_each(monkeypatch):
    """Every step that is timed runs, and is said to have taken an hour."""
    def seconds(work):
        work()
        return 3600.0

    monkeypatch.setattr(costs, "_seconds", seconds)
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def test_every_training_of_the_scenes_is_counted(an_hour_each):
    """5 steps of the base model, 3 + 1 of M and its penalty, 3 of each of 5 coders, and probes of 4 tasks: of the
    activations, of the reconstructions of 3 regular coders, and of 3 readings of the equivariant one."""
    assert costs._scene_cost(TINY_SCENES, "cpu") == {
        "base models": 1, "matrices M": 2, "coders": 5, "probing tasks": 4 * (1 + 3 + 3),
        "hours": pytest.approx(5 + (3 + 1) + 5 * 3 + 28)}


def test_a_step_is_timed_once_for_all_seeds(an_hour_each, monkeypatch):
    timed = []
    monkeypatch.setattr(costs, "_coder_step", lambda training, *_: timed.append(training) or 3600.0)
    more = dataclasses.replace(TINY_SCENES, seeds=2, coder_seeds=2, repeated_ks=(4,), ks=(4, 8))
    found = costs._scene_cost(more, "cpu")
    assert (found["base models"], found["matrices M"], found["coders"]) == (2, 4, 15)
    assert {(training["name"], training["k"]) for training in timed} == {
        (name, k) for name in CODERS for k in (4, 8)} and len(timed) == 10
