"""What the report measures, and what it doubts, on runs whose answer is known."""

import numpy as np
import pytest
import torch
from small import noise_run

from groupcc_lite.analysis import doubts, measure
from groupcc_lite.coders import copy_fve


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
    low, high = (found._replace(ceiling=(found.metrics.fve + step) * np.ones(4)) for step in (-0.1, 0.1))
    assert any("explains less" in s for s in doubts(high)) and not any("explains less" in s for s in doubts(low))


def test_what_would_fail_is_said_before_anything_is_made(tmp_path):
    run = noise_run(tmp_path, count=3, batch_size=1000)
    with pytest.raises(ValueError, match="this run would fail"):
        measure(run)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_coder_in_which_hardly_anything_lives_is_said_as_soon_as_it_is_trained(tmp_path):
    run = noise_run(tmp_path, latents=6, k=1, steps=1, topk_ks=(1,))
    with pytest.raises(ValueError, match="latents ever fire on held-out images, too few for families .at least 8"):
        measure(run)
    assert not list((run.work / "ceilings").glob("*")) and not list((run.work / "maps").glob("*"))


def test_measuring_again_makes_nothing_anew(run, found, monkeypatch):
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *a, **k: pytest.fail("trained again"))
    assert measure(run).metrics.fve == found.metrics.fve
