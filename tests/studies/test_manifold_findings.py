"""Studies of manifolds: kept results, families, and the slope of frequencies."""

import numpy as np
import pytest
import torch

from groupcc_lite.groups import dihedral
from groupcc_lite.manifolds import Learning, SphereToy, learn
from groupcc_lite.runs import MANIFOLD_PROFILES, Run
from groupcc_lite.studies import ManifoldStudy, count_families, frequency_alpha, layer_spending, nearest_cosine
from groupcc_lite.symmetry import act


def test_results_are_kept_and_come_back_as_they_were(tmp_path):
    first = ManifoldStudy("smoke", work=tmp_path)
    toy, spent = first.toy(2), first.spent(2, 8, 0)
    files = sorted(path for path in tmp_path.rglob("found.json"))
    again = ManifoldStudy("smoke", work=tmp_path)
    assert np.array_equal(again.toy(2).encoder, toy.encoder) and (again.spent(2, 8, 0).spent == spent.spent).all()
    assert sorted(tmp_path.rglob("found.json")) == files and len(files) == 2


def test_radii_make_another_problem_of_the_same_size(tmp_path):
    study = ManifoldStudy("smoke", work=tmp_path)
    hollow, varied = study.mixture(5), study.mixture(5, radius=(0.5, 1.5))
    assert hollow.channels == varied.channels and (hollow.spanning() == varied.spanning()).all()
    assert hollow.spanning().tolist() == [10, 1] * 4
    lengths = [(mixture.sample(2000) @ mixture.planes[0].T).norm(dim=1) for mixture in (hollow, varied)]
    spreads = [float(x[x > 0.1].std()) for x in lengths]
    assert spreads[0] < 1e-5 < 0.2 < spreads[1]
    assert study.spent(5, 8, 0).loss != study.spent(5, 8, 0, (0.5, 1.5)).loss


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


def test_tiles_are_seen_by_their_neighbours_and_turned_copies_by_their_families():
    """The positive control of what is asked of a layer: a dictionary that tiles, against random directions."""
    G, rng = dihedral(4), torch.Generator().manual_seed(0)
    angle = torch.arange(64) * (2 * torch.pi / 64)
    plane = torch.linalg.qr(torch.randn(120, 2, generator=rng)).Q
    tiles, random = torch.stack([angle.cos(), angle.sin()], 1) @ plane.T, torch.randn(64, 120, generator=rng)
    assert nearest_cosine(tiles) == pytest.approx(np.cos(2 * np.pi / 64), abs=1e-5)
    assert nearest_cosine(random) < 0.4
    bases = torch.randn(8, 8, 20, generator=rng)
    assert count_families(torch.cat([act(bases, G, h) for h in range(8)]), G) == 8


def test_training_that_tiles_leaves_its_start_and_both_traces_say_so():
    """The positive control with training: a circle in 40 channels, against the start and random directions."""
    toy = SphereToy(2, channels=40)
    x = toy.sample(4000)
    sae, start = learn(x, 24, Learning(steps=600)), learn(x, 24, Learning(steps=1, lr=1e-9))
    alive = (sae.encode(toy.sample(500, seed=1)) > 0).any(0)
    learned, before = (coder.dictionary.detach()[alive, 0] for coder in (sae, start))
    random = torch.randn(len(learned), 40, generator=torch.Generator().manual_seed(0))
    assert len(learned) >= 12 and nearest_cosine(learned) > 0.8
    assert max(nearest_cosine(before), nearest_cosine(random)) < 0.6
    assert float(torch.nn.functional.cosine_similarity(learned, before).mean()) < 0.7


def test_a_layer_that_has_learned_nothing_is_told_from_one_that_has(tmp_path):
    run = Run("smoke", group="C_4", drawings=24, points_per_image=16, k=4, batch_size=32, work=tmp_path)
    begun, trained = (layer_spending(run, 32, steps=steps) for steps in (1, 300))
    assert begun.moved > 0.99 and abs(begun.nearest - begun.nearest_start) < 0.02
    assert trained.moved < begun.moved - 0.1 and trained.loss < begun.loss
    assert begun.nearest_data > begun.nearest_start


def test_the_slope_of_frequencies_ignores_the_dead_and_refuses_too_few():
    p = np.append(0.3 * np.arange(1, 301) ** -1.7, np.zeros(50))
    assert frequency_alpha(p) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="three or more"):
        frequency_alpha(np.array([0.5, 0.4, 0.0]))
