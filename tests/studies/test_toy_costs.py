"""What chapters on toys, planted features and robust networks will cost counts everything that they make."""

import dataclasses

import pytest

from groupcc_lite.models import load_model, load_tiny
from groupcc_lite.runs import (
    MANIFOLD_PROFILES,
    ROBUST_PROFILES,
    SAVINGS_PROFILES,
    SUPERPOSITION_PROFILES,
    Run,
    get_manifold_profile,
    get_robust_profile,
    get_savings_profile,
    get_superposition_profile,
)
from groupcc_lite.studies import robust_findings
from groupcc_lite.studies.costing import timing, toy_costs
from groupcc_lite.studies.superposition_findings import SuperpositionStudy


@pytest.fixture
def an_hour_each(monkeypatch):
    """Every step and every other piece of work that is timed runs, and is said to have taken an hour."""
    def taken(work, *counts):
        work(*counts[:1])
        return 3600.0

    monkeypatch.setattr(toy_costs, "seconds_of", taken)
    monkeypatch.setattr(toy_costs, "step_seconds", lambda train, few=2, many=10: taken(train, few))
    monkeypatch.setattr(toy_costs, "seconds_per_step", lambda *given, **settings: 3600.0)


@pytest.fixture
def counted_only(monkeypatch):
    """Nothing is trained or timed."""
    for name in [name for name in vars(toy_costs) if name.startswith("_") and name.endswith("_seconds")]:
        monkeypatch.setattr(toy_costs, name, lambda *given: 3600.0)


@pytest.fixture
def run():
    return Run("smoke", model=load_model("tiny-inception", weights="random"))


def test_a_step_is_timed_without_the_beginning_of_its_training(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(timing, "_clock", lambda: now[0])

    def train(steps):
        now[0] += 100.0 + 3.0 * steps

    assert timing.step_seconds(train) == pytest.approx(3.0)
    assert timing.step_seconds(lambda steps: None) > 0


def test_toys_mixtures_and_layers_are_counted(an_hour_each, run):
    """12 toys of 2 seeds have 30 steps and best codes each, 3 circles 90 steps; 6 mixtures of 4 seeds 40 steps and an
    hour for as many samples; 2 layer dictionaries of 2 seeds 20 steps, and 3 times families each."""
    given = get_manifold_profile("smoke")
    assert toy_costs.manifold_cost(given, run) == {
        "toys": 12 * 2 + 3, "mixtures": 24, "layer trainings": 4,
        "hours": pytest.approx(24 * 31 + 3 * 91 + 24 * 41 + 80 + 6)}
    more = toy_costs.manifold_cost(dataclasses.replace(given, most_compared=64, mixed_steps=41, mixed_seeds=5), run)
    assert more["mixtures"] == 30 and more["hours"] == pytest.approx(24 * 31 + 3 * 91 + 30 * 42 + 80 + 3)


def test_planted_broken_and_layer_coders_are_counted(an_hour_each, run):
    """Drawing orbits takes 3 hours. 7 coders of 2 sizes and 2 seeds have 30 steps and are read; 4 ways to break a
    symmetry by 2 seeds have 3 coders of 20 steps, and 6 are measured; 5 methods are scored; the layer has 6 coders, of
    which 2 are trained 3 times more."""
    given = get_savings_profile("smoke")
    hours = 2 * 3 + 28 * 31 + 8 * (9 + 60) + 12 * (3 + 1) + 2 * 5 * (20 + 3) + 12 * 2 * 10
    assert toy_costs.savings_cost(given, run) == {
        "planted trainings": 28 + 10, "broken symmetry": 24, "layer trainings": 24, "hours": pytest.approx(hours)}
    longer = toy_costs.savings_cost(dataclasses.replace(given, steps=(40,), layer_steps=20), run)
    assert longer["hours"] == pytest.approx(hours + 28 * 10 + 240)


def test_toys_and_attacks_are_counted(an_hour_each):
    """Of each seed: 4 sparsities with 3 attacks, 2 tied ones, 2 penalties, 2 decays, 2 with more room, twice 3 that are
    trained on changed inputs; 60 steps a stack, half an hour an attack where two were timed. Then the plane."""
    given = get_superposition_profile("smoke")
    each = (60 + 6) + 3 * (60 + 1) + 2 * (60 + 1) + 2 * (60 + 1.5)
    plane = 5 * 60 + 100
    assert toy_costs.superposition_cost(given) == {
        "toys": 18 * 2 + 20, "attacks": 26 * 2, "hours": pytest.approx(2 * each + plane)}
    assert toy_costs.superposition_cost(dataclasses.replace(given, seeds=4))["hours"] == pytest.approx(4 * each + plane)


def test_attacked_drawings_and_trainings_of_all_networks_are_counted(an_hour_each):
    """14 networks, of which 12 have a census and turned attacks; an eighth of an hour a drawing that is read."""
    given = get_robust_profile("smoke")
    attacked = 14 * 2 + 12 * 2 * (1 + 1 + 2)
    superposed, symmetry, census = 5 + (8 + 6 + 16) / 8, 14 + 2, 12 * (20 / 2 + 5 + 1)
    hours = attacked + 14 * (8 + 6) / 8 + 14 * superposed + symmetry + census
    assert toy_costs.robust_cost(given) == {
        "networks": 14, "attacked drawings": attacked, "trainings": 26, "hours": pytest.approx(hours)}
    longer = toy_costs.robust_cost(dataclasses.replace(given, sae_steps=7, census_steps=6))
    assert longer["hours"] == pytest.approx(hours + 14 * 2 + 12)


def test_the_stacks_that_are_counted_are_those_the_study_trains(monkeypatch, tmp_path):
    asked, toys = [], SuperpositionStudy("smoke", work=tmp_path)
    monkeypatch.setattr("groupcc_lite.studies.superposition_findings.train_toys",
                        lambda data, m, *, seeds, **given: asked.append((tuple(data.sparsities), m)) or _stop())
    for study in (toys.sparse, toys.tied, toys.penalised, lambda: toys.decayed(0.9), lambda: toys.trained_on("noisy"),
                  lambda: toys.trained_on("attacked")):
        with pytest.raises(StopIteration):
            study()
    rooms = len(toys.profile.rooms)
    planned = [(tuple(stack.sparsities), stack.dimensions) for stack in toy_costs._stacks(toys.profile)]
    assert sorted(asked) == sorted(p for p in planned if p[1] == toys.profile.dimensions)
    assert len(planned) == len(asked) + rooms


def _stop():
    raise StopIteration


@pytest.mark.parametrize("name", MANIFOLD_PROFILES)
def test_counts_of_all_profiles(name, run, counted_only):
    found = [toy_costs.manifold_cost(MANIFOLD_PROFILES[name], run),
             toy_costs.savings_cost(SAVINGS_PROFILES[name], run),
             toy_costs.superposition_cost(SUPERPOSITION_PROFILES[name]), toy_costs.robust_cost(ROBUST_PROFILES[name])]
    assert all(value > 0 for facts in found for value in facts.values())
    if name == "book":
        assert [list(facts.values())[:-1] for facts in found] == [
            [2 * 2 * 5 * 2 + 3, 3 * 4, 4], [4 * 7 * 3 + 15, (1 + 3 + 1 + 1) * 3 * 3, 12 * 3],
            [(14 + 8 + 5 + 3 * 4 + 3 + 2 * 5) * 5 + 20, (3 * 14 + 38) * 5],
            [21, 21 * 16 + 18 * 4 * 6, 21 * 3 + 18]]


def test_moved_drawings_are_attacked_as_often_as_is_counted(monkeypatch):
    calls = []

    class Counted(robust_findings.L2Attack):
        def __call__(self, loss, images):
            calls.append(len(images))
            return images

    monkeypatch.setattr(robust_findings, "L2Attack", Counted)
    robust_findings.attacks_move(load_tiny(), 0.5, 1, drawings=3)
    assert calls == [3] * toy_costs.MOVED
