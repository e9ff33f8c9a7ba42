"""What the report measures, and what it doubts, on runs whose answer is known."""

import dataclasses

import numpy as np
import pytest
import torch
from small import QUICK, Stem, noise_images, noise_run
from torch import nn

from groupcc_lite.analysis import check_run, doubts, measure
from groupcc_lite.analysis.page import numbers
from groupcc_lite.coders import GroupCrosscoder, copy_fve
from groupcc_lite.models import wrap_model
from groupcc_lite.runs import Run
from groupcc_lite.symmetry import act


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return noise_run(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def found(run):
    return measure(run)


def test_numbers_are_those_of_the_library(run, found):
    assert np.array_equal(found.ceiling, run.ceiling())
    assert found.copied == pytest.approx(copy_fve(run.orbits("held-out").in_order()))
    assert found.metrics.fve == run.evaluate(run.coder()).fve
    assert found.table.features.tolist() == found.census.features.tolist()


def test_seen_orbits_are_explained_better_than_held_out_ones(found):
    """A coder and a map on noise know what they were fitted on, and little else."""
    assert found.metrics_seen.fve > found.metrics.fve and found.ceiling_seen[1:].mean() > found.ceiling[1:].mean()


def test_there_is_one_example_for_each_label_and_the_best_founded_one(found):
    labels = [s.subgroup.label for s in found.census.labels]
    shown = [labels[row] for row in found.examples]
    assert sorted(shown) == sorted(set(labels))
    sure = (found.census.confirmed | found.census.invariant).tolist()
    for row in found.examples:
        others = [other for other, label in enumerate(labels) if label == labels[row]]
        best = max((sure[other], found.census.labels[other].margin) for other in others)
        assert (sure[row], found.census.labels[row].margin) == best


def test_few_images_and_a_layer_that_does_not_turn_are_told_apart(found):
    """By what a linear map explains of seen and of held-out images, whatever the two are here."""
    ones = np.ones(4)
    few = found._replace(ceiling=0.05 * ones, ceiling_seen=0.5 * ones)
    stiff = found._replace(ceiling=0.05 * ones, ceiling_seen=0.08 * ones)
    good = found._replace(ceiling=0.6 * ones, ceiling_seen=0.65 * ones)
    for case, wanted in ((few, "Too few images"), (stiff, "hardly turns")):
        said = doubts(case)
        assert said[0].startswith(wanted) or wanted in said[0]
        assert sum("Too few images" in s or "hardly turns" in s for s in said) == 1
    assert not any("Too few images" in s or "hardly turns" in s for s in doubts(good))


def test_a_coder_below_the_ceiling_is_doubted_and_one_above_is_not(found):
    mine = found.metrics.fve_per_block[1:].mean()
    low, high = (found._replace(ceiling=(mine + step) * np.ones(4)) for step in (-0.1, 0.1))
    assert any("explains less" in s for s in doubts(high)) and not any("explains less" in s for s in doubts(low))


def test_the_block_that_the_linear_map_is_given_does_not_help_the_coder(found):
    """An SAE's fitted blocks explain e much better than the rest; the linear reference is of the rest alone."""
    high = dataclasses.replace(found.metrics, fve=0.55, fve_per_block=np.array([0.97, 0.4, 0.4, 0.4]))
    doubted = found._replace(metrics=high, ceiling=np.array([1.0, 0.5, 0.5, 0.5]))
    assert any("explains less (0.40) of the other blocks than a linear map does (0.50)" in s for s in doubts(doubted))
    trusted = doubted._replace(ceiling=np.array([1.0, 0.3, 0.3, 0.3]))
    assert not any("explains less" in s for s in doubts(trusted))


def planted(work, group, elements):
    """What is measured of a run in this group with features that these elements leave alone."""
    run = noise_run(work, group=group)
    coder, G = GroupCrosscoder(run.group, 6, 60, activation="relu", seed=0), run.group
    with torch.no_grad():
        f = torch.zeros(60, G.order, 6)
        f[:, 0] = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
        coder.dictionary.copy_(torch.stack([act(f, G, G.index(h)) for h in ("e", *elements)]).mean(0))
    return run, measure(run.with_dictionary(coder))


def rows(run, found):
    return {name: (value, meaning) for name, value, meaning in numbers(run, found)}


def test_exact_half_turns_are_not_called_chance(tmp_path):
    """The surrogate in D_8 leaves turns alone, so that they were in the number by chance as often as in the census."""
    run, found = planted(tmp_path, "D_8", ["r^4"])
    shown, living = rows(run, found), len(found.census.features)
    assert {s.subgroup.label for s in found.census.labels} == {"half turn"} and living > 30
    assert found.excess.count == 0 == found.witness.count and not found.tested.any()
    assert shown["with a symmetry"][0] == shown["not tested against chance"][0] == f"{living}"
    assert [shown[name][0] for name in ("tested against chance", "supported", "confirmed")] == ["0"] * 3
    assert f"{found.excess.surrogate:.1f} by chance" in shown["tested against chance"][1]
    (said,) = (s for s in doubts(found) if "by chance" in s)
    assert said.endswith(f"give by chance; {living} have one that cannot be tested.")


def test_mirrors_are_counted_against_chance(tmp_path):
    run, found = planted(tmp_path, "D_8", ["s r"])
    shown = rows(run, found)
    assert found.excess.count == found.tested.sum() > 30 and found.excess.share > 0
    assert shown["tested against chance"][0] == f"{found.excess.count}"
    assert shown["confirmed"][0] == f"{found.witness.count}"
    assert found.witness.count == int((found.census.confirmed.numpy() & found.tested).sum())
    assert not any("by chance" in s for s in doubts(found))


def test_where_nothing_can_be_tested_the_report_says_so(tmp_path):
    run, found = planted(tmp_path, "C_8", ["r^4"])
    shown = rows(run, found)
    assert shown["with a symmetry"][0] == shown["not tested against chance"][0] == f"{len(found.census.features)}"
    assert not shown.keys() & {"tested against chance", "supported", "confirmed"}
    assert any(s.startswith("No symmetry can be tested against chance in C_8") for s in doubts(found))


def test_what_would_fail_is_said_before_anything_is_made(tmp_path):
    run = noise_run(tmp_path, count=3, batch_size=1000)
    with pytest.raises(ValueError, match="this run would fail"):
        measure(run)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_group_that_moves_nothing_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="^the group is C_1, which moves nothing: .*; give another"):
        measure(noise_run(tmp_path, group="C_1"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("bias, said", [
    (-1e4, "all activations are zero: the layer is dead, or its images are empty"),
    (None, "layer 1 of Sequential is the same at all 176 points of the train images: there is nothing to explain")])
def test_a_layer_that_does_not_vary_is_said_before_anything_is_trained(tmp_path, monkeypatch, bias, said):
    """Whether it has died since it was wrapped, or the images are empty."""
    network = nn.Sequential(Stem(), nn.ReLU())
    run = Run("smoke", model=wrap_model(network, "1", input_size=32), group="C_4", work=tmp_path, **QUICK)
    images = noise_images(24, run.action.source_size(32))
    run.images = images if bias else torch.full_like(images, 0.4)
    if bias:
        for name, parameter in run.model.network.named_parameters():
            if name.endswith("features.bias"):
                parameter.data.fill_(bias)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(ValueError, match=f"^{said}"):
        measure(run)


def test_a_trade_off_curve_that_is_not_trained_is_not_looked_at(tmp_path):
    check_run(noise_run(tmp_path, latents=6, k=1, topk_ks=(1000,)))


def test_a_coder_in_which_hardly_anything_lives_is_said_as_soon_as_it_is_trained(tmp_path):
    run = noise_run(tmp_path, latents=6, k=1, steps=1)
    with pytest.raises(ValueError, match="latents ever fire on held-out images, too few for families .at least 8"):
        measure(run)
    assert not list((run.work / "ceilings").glob("*")) and not list((run.work / "maps").glob("*"))


def test_measuring_again_makes_nothing_anew(run, found, monkeypatch):
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *a, **k: pytest.fail("trained again"))
    assert measure(run).metrics.fve == found.metrics.fve
