"""The study of curve detectors: what is read is what was shown, and findings are those of planted cases."""

import numpy as np
import pytest
import torch

from groupcc_lite.base import Cache
from groupcc_lite.orbits import read_at
from groupcc_lite.responses import UNTRAINED, Turning, Units, contributions, neuron_units
from groupcc_lite.runs import get_curve_profile
from groupcc_lite.studies import (
    BRANCHES,
    SAES,
    CurveStudy,
    at_equal_numbers,
    by_responses,
    double_neurons,
    predicted,
    strongest,
    take_apart,
)

SMALL = get_curve_profile("smoke", layers=("conv2d2", "mixed3b"), steps=4, latents=40, k=4, batch_size=32,
                          points_per_image=4, turned_images=6, turned_points=6, directions=16, radii=(8.0,))
LAST = "mixed3b"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = CurveStudy(SMALL, work=tmp_path_factory.mktemp("work"))
    study.main = type(study.main)("smoke", model="tiny-inception", layer=LAST, drawings=20, steps=3, latents=40, k=4,
                                  batch_size=32, points_per_image=8, work=study.main.work)
    study.check()
    return study


def test_arcs_run_through_the_middle_of_a_cell_of_every_layer(study):
    for model in study.models():
        cells = model.geometry.cells(torch.tensor(study.middle))
        torch.testing.assert_close(cells, cells.round())


def test_layers_are_read_in_one_pass_as_each_reads_by_itself(study):
    for layer, model in zip(study.layers, study.models(), strict=True):
        images, cell = study.stimuli.images[:3], model.geometry.cells(torch.tensor(study.middle))
        alone = read_at(model(images), cell.expand(3, 1, 2))[:, 0]
        torch.testing.assert_close(study.shown(layer)[:3], alone.detach(), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(study.shown(LAST), study.shown(LAST, noise=True))
    assert not torch.allclose(study.shown(LAST), study.shown(LAST, "random"))


def test_every_set_of_units_is_there_and_judged(study):
    found = {name: study.detectors(LAST, study.units(LAST, name))
             for name in ("neurons", *SAES, "crosscoder", *BRANCHES, *UNTRAINED)}
    counts = {name: each.units.count for name, each in found.items()}
    assert counts["neurons"] == 120 == sum(counts[name] for name in BRANCHES)
    assert 0 < counts["crosscoder"] <= 40 and counts["random directions"] == counts["SAE, TopK"]
    for each in found.values():
        assert len(each.confirmed) == len(each.directions) == len(each.turning.strength) == each.units.count
        assert (each.confirmed <= each.tuned).all() and (~each.directions.isnan() == each.confirmed).all()
    # A branch is its part of the layer.
    parts = torch.cat([found[name].tuning.peak for name in BRANCHES])
    torch.testing.assert_close(parts, found["neurons"].tuning.peak)
    with pytest.raises(ValueError, match="name is 'SAE'"):
        study.units(LAST, "SAE")


def test_a_second_study_trains_and_reads_nothing_again(study, monkeypatch):
    before = [coder.W_d for coder, _ in study.saes("conv2d2", "SAE, TopK")]
    made = []
    real = Cache.get
    monkeypatch.setattr(Cache, "get", lambda self, artefact, make, **k: real(
        self, artefact, lambda folder: made.append(artefact) or make(folder), **k))
    fresh = CurveStudy(SMALL, work=study.main.work)
    fresh.main = study.main
    after = [coder.W_d for coder, _ in fresh.saes("conv2d2", "SAE, TopK")]
    assert made == [] and all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def planted(study, turns):
    """Detectors whose responses to orbits are those of one pattern, moved by rotations, and directions to match."""
    G, n = study.main.group, 4
    x = study.turned(LAST)
    base = neuron_units([int(x.clamp(min=0).var((0, 1)).argmax())]).of_orbits(x)[..., 0]  # (n, g)
    moved = torch.stack([base[:, [int(G.table[G.inverse[h], g]) for g in range(G.order)]] for h in turns], -1)
    units = Units("planted", len(turns), lambda flat: moved.flatten(0, 1))
    found = study.detectors(LAST, study.units(LAST, "neurons"))
    some = [0] * len(turns)
    tuning = type(found.tuning)(*(field[some] for field in found.tuning))._replace(
        direction=2 * torch.pi * torch.tensor(turns) / n % (2 * torch.pi))
    yes = torch.ones(len(turns), dtype=torch.bool)
    return type(found)(units, tuning, Turning(found.turning.profile[some], torch.arange(len(turns), 0, -1.0)), yes, yes)


def test_members_that_were_planted_are_present_and_others_missing(study):
    """One detector, and candidates in three of its four poses: two of three predictions are fulfilled."""
    one, three = planted(study, [0]), planted(study, [0, 1, 3])
    found = predicted(study, one, "neurons", three)
    assert found.members.correlation[0, [0, 1, 3]].min() > 0.99
    assert found.members.partner[0, [0, 1, 3]].tolist() == [0, 1, 2]
    assert found.present.tolist() == [[True, True, False, True]] and found.share == pytest.approx(2 / 3)
    nobody = one._replace(confirmed=torch.tensor([False]))
    with pytest.raises(ValueError, match="symmetry predicts nothing"):
        predicted(study, nobody, "neurons", three)
    assert strongest(three, 2).tolist() == [0, 1] and len(strongest(nobody)) == 0


def test_parts_of_a_neuron_and_the_rest_are_the_reconstruction(study):
    found = study.detectors(LAST, study.units(LAST, "neurons"))
    coder, _ = study.saes(LAST, "SAE, TopK")[0]
    neuron = int(found.tuning.peak.argmax())
    apart = take_apart(study, found, neuron, coder)
    assert apart.tuning.shape == apart.rest.shape == (16,) and apart.parts.shape[1] == 16
    assert apart.tuning.max() == pytest.approx(float(found.tuning.peak[neuron]), rel=1e-4)
    every = contributions(coder, study.shown(LAST), neuron)
    total = every.parts.sum(1) + every.constant
    sums = apart.parts.sum(0) + apart.rest
    assert all((total - value).abs().min() < 1e-4 for value in sums)
    doubles, two = double_neurons(study, found)
    assert two.double[doubles].all() and len(two.apart) == 120


def test_equal_numbers_are_drawn_for_every_seed(study):
    found = [study.detectors(LAST, study.units(LAST, "SAE, TopK", number)) for number in range(2)]
    equal = at_equal_numbers(found, 10, draws=5)
    assert equal.gap.shape == equal.detectors.shape == (2, 5) and (equal.detectors <= 10).all()
    assert ((equal.gap > 0) & (equal.gap <= 360)).all()


def test_features_are_compared_by_both_sides(study):
    coder = study.main.coder()
    alive = np.flatnonzero(study.main.evaluate(coder).frequency > 0)
    found = by_responses(study.main, coder, coder, alive)
    assert found.said.shape == found.written.shape == (len(alive),) * 2
    assert -1 <= found.agreement <= 1
    assert all(0 <= share <= 1 for share in (found.same, found.same_right, found.same_chance))


def test_the_report_says_what_was_studied(study):
    facts = study.report("16_curves").facts
    assert facts["settings"]["layers"] == SMALL.layers and set(facts["fingerprints"]) == set(SMALL.layers)


def test_problems_of_all_layers_are_told_at_once(tmp_path):
    study = CurveStudy(get_curve_profile(SMALL, batch_size=10**6), work=tmp_path)
    with pytest.raises(ValueError, match=r"(?s)conv2d2: .*batch_size.*mixed3b: .*batch_size"):
        study.check()
