"""Studies of manifolds: kept results, families, and the slope of frequencies."""

import numpy as np
import pytest
import torch

from groupcc_lite.groups import dihedral
from groupcc_lite.runs import MANIFOLD_PROFILES
from groupcc_lite.studies import ManifoldStudy, count_families, frequency_alpha
from groupcc_lite.symmetry import act


def test_results_are_kept_and_come_back_as_they_were(tmp_path):
    first = ManifoldStudy("smoke", work=tmp_path)
    toy, spent = first.toy(2), first.spent(2, 8, 0)
    files = sorted(path for path in tmp_path.rglob("found.json"))
    again = ManifoldStudy("smoke", work=tmp_path)
    assert np.array_equal(again.toy(2).encoder, toy.encoder) and (again.spent(2, 8, 0).spent == spent.spent).all()
    assert sorted(tmp_path.rglob("found.json")) == files and len(files) == 2


def test_every_profile_trains_four_latents_for_each_feature():
    for profile in MANIFOLD_PROFILES.values():
        assert 4 * profile.features in profile.mixed_sizes and len(profile.mixed_dims) == 2
        assert set(profile.mixed_dims) <= set(profile.dims)
        for dim in {*profile.dims, *profile.varied_dims}:
            assert sum(size >= 2 * dim for size in profile.sizes) >= 2


def test_random_directions_find_nothing_and_data_points_what_is_frequent(tmp_path):
    study = ManifoldStudy("smoke", work=tmp_path)
    assert study.drawn(5, 32, 0, from_data=False) == 0 and study.drawn(5, 32, 0, from_data=True) > 1


def test_turned_copies_are_one_family():
    G = dihedral(4)
    f = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    assert count_families(torch.cat([f, *(act(f[:1], G, h) for h in range(1, 8))]), G) == 3
    assert count_families(f[:1], G) == 1


def test_the_slope_of_frequencies_ignores_the_dead_and_refuses_too_few():
    p = np.append(0.3 * np.arange(1, 301) ** -1.7, np.zeros(50))
    assert frequency_alpha(p) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="three or more"):
        frequency_alpha(np.array([0.5, 0.4, 0.0]))
