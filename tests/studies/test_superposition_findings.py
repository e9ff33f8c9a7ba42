"""Studies of superposition: kept tables, each measure against its own function, and what is matched."""

import dataclasses

import numpy as np
import pytest
import torch

from groupcc_lite.runs import SUPERPOSITION_PROFILES, get_superposition_profile
from groupcc_lite.studies import SuperpositionStudy, against_exact, matched
from groupcc_lite.studies.superposition_findings import SHARE
from groupcc_lite.superposition import (
    SparseFeatures,
    Toys,
    attack_gain,
    measure_toys,
    train_toys,
)

QUICK = get_superposition_profile("smoke", steps=150, samples=200, attack_steps=10)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return SuperpositionStudy(QUICK, seed=3, work=tmp_path_factory.mktemp("work"))


def test_tables_are_kept_and_come_back_as_they_were(study, tmp_path):
    first = SuperpositionStudy(QUICK, work=tmp_path).tied()
    files = sorted(tmp_path.rglob("found.json"))
    again = SuperpositionStudy(QUICK, work=tmp_path).tied()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert sorted(tmp_path.rglob("found.json")) == files and len(files) == 1
    assert not np.array_equal(study.tied().clean, first.clean)  # another seed


@pytest.mark.parametrize("change", [dict(steps=151), dict(samples=201), dict(attack_steps=11), dict(seeds=3),
                                    dict(dimensions=5), dict(batch_size=65), dict(features=21), dict(fixed=0.7),
                                    dict(overlaps=(0.003,))])
def test_what_changes_a_result_changes_what_is_kept(change, tmp_path):
    for profile in (QUICK, dataclasses.replace(QUICK, **change)):
        SuperpositionStudy(profile, work=tmp_path).penalised()
    assert len(list(tmp_path.rglob("found.json"))) == 2


def test_measures_are_those_of_their_functions(study):
    """The same toys, trained here, measured by the library's own table."""
    table = study.sparse()
    toys = train_toys(SparseFeatures(QUICK.sparsities, QUICK.features), QUICK.dimensions, seeds=[4], steps=QUICK.steps,
                      batch_size=QUICK.batch_size, learning_rate=0.02)
    found = measure_toys(toys, SHARE, samples=QUICK.samples, steps=QUICK.attack_steps)
    share = QUICK.shares.index(SHARE)
    for ours, theirs in ((table.per_dimension, found.per_dimension), (table.represented, found.represented),
                         (table.antipodal, found.antipodal), (table.effective, found.effective),
                         (table.clean, found.clean), (table.ratio(share), found.attacked_ratio),
                         (table.ratio(share, "noisy"), found.noise_ratio), (table.added(share), found.added)):
        np.testing.assert_allclose(ours[:, 1], theirs.numpy(), rtol=5e-3)
    there = toys.W[3].norm(dim=0) > 0.5
    assert table.gain[3, 1] == pytest.approx(float(attack_gain(toys.W[3])[there].mean()), rel=1e-5)
    assert table.length[3, 1] == pytest.approx(float(toys.W[3].square().sum(0)[there].mean()), rel=1e-5)


def test_attacks_are_ordered_and_no_arrangement_is_below_the_bound(study):
    for table in (study.sparse(), study.penalised(), study.roomy(), study.trained_on("attacked")):
        assert (table.attacked >= table.one_step - 1e-6).all() and (table.attacked > table.noisy).all()
        assert (table.attacked >= table.clean - 1e-6).all() and (table.spread > 1 - 1e-5).all()
    assert (np.diff(study.sparse().attacked, axis=0) > 0).all()  # a larger eps costs more


def test_interventions_lower_features_per_dimension_at_one_sparsity(study):
    plain = study.sparse().per_dimension[QUICK.sparsities.index(QUICK.fixed)]
    for table in (study.penalised(), study.decayed(QUICK.fixed), study.roomy()):
        assert (table.per_dimension[-1] < plain).all() and (np.diff(table.per_dimension, axis=0) < 0).all()


def test_an_attack_on_one_feature_is_made_of_its_overlaps(study):
    entry = QUICK.sparsities.index(0.9)
    table = study.sparse()
    assert (table.own[entry] > 0.85).all() and (table.strange[entry] < table.own[entry] - 0.2).all()
    assert (table.others[entry] > 0.3).all()


def test_trainings_name_the_entries_of_their_tables(study):
    assert study.trainings == [(0.9, 0.05), (0.9, 0.1), (0.9, 0.2)]
    attacked = study.trained_on("attacked")
    assert attacked.per_dimension.shape == (3, 2) and attacked.radius.shape == (1, 3, 2)
    assert (attacked.radius == attacked.radius[0, 0, 0]).all()  # all are attacked alike, however they were trained
    with pytest.raises(ValueError, match="train_on"):
        study.trained_on("loud")


@pytest.mark.parametrize("profile", SUPERPOSITION_PROFILES.values(), ids=lambda profile: profile.name)
def test_profiles_hold_what_the_chapter_compares(profile):
    assert {0.0, 0.6, 0.7, profile.fixed, *profile.trained, *profile.tied} <= set(profile.sparsities)
    assert SHARE in profile.shares and profile.fixed in profile.trained and profile.seeds > 1
    assert profile.rooms[-1] == profile.features and len(profile.rooms) > 1
    assert min(profile.rooms) > profile.dimensions and list(profile.sparsities) == sorted(set(profile.sparsities))


def test_matching_is_by_seed_and_does_not_go_beyond_the_ends():
    per_dimension = np.array([[1.0, 4.0], [3.0, 2.0]])
    values = np.array([[10.0, 40.0], [30.0, 20.0]])
    np.testing.assert_allclose(matched(per_dimension, values, np.array([2.0, 3.0])), [20, 30])
    assert np.isnan(matched(per_dimension, values, np.array([0.9, 4.1]))).all()
    with pytest.raises(ValueError, match="expected twice"):
        matched(per_dimension, values[:1], np.ones(2))


def test_where_there_is_no_error_one_step_finds_nothing_and_every_direction_adds_as_much():
    """Two features passed on as they are: the clean loss has no gradient."""
    eye = Toys(torch.eye(2)[None], torch.zeros(1, 2), SparseFeatures([0.0], 2), torch.tensor([0]), torch.tensor([0]),
               torch.ones(2))
    found = against_exact(eye, samples=40)
    assert found.many_steps == pytest.approx(1, abs=1e-3) and found.one_step == 0
    assert 0.9 < found.noise < 1  # less than 1 where noise would make a feature negative
    with pytest.raises(ValueError, match="expected 2"):
        against_exact(train_toys(SparseFeatures([0.5], 4), 3, steps=2))
