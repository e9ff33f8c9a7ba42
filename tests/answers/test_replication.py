"""Best matches of features, and their nulls."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from groupcc_lite.answers import above_null, best_matches, median_interval
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.symmetry import act

G = dihedral(4)


def dictionary(count, seed, channels=7):
    return torch.randn(count, 8, channels, generator=torch.Generator().manual_seed(seed))


def slow(D, others):
    """The definition, pair by pair."""
    best = torch.full((len(D),), -1.0)
    for i, f in enumerate(D):
        for j, other in enumerate(others if others is not None else D):
            if others is None and i == j:
                continue
            for h in range(8):
                best[i] = max(best[i], torch.cosine_similarity(f.flatten(), act(other[None], G, h).flatten(), dim=0))
    return best


@pytest.mark.parametrize("own", [True, False])
def test_matches_are_the_largest_cosines(own):
    D, others = dictionary(5, 0), None if own else dictionary(4, 1)
    found = best_matches(D, others, G)
    assert torch.allclose(found.group, slow(D, others), atol=1e-5)
    assert (found.group >= found.plain - 1e-5).all()


def test_moved_copies_match_over_the_group_and_in_any_order():
    D = dictionary(6, 0)
    moved = torch.cat([act(D[i:i + 1], G, i + 1) for i in range(6)]).flip(0) * 3
    found = best_matches(D, moved, G)
    assert torch.allclose(found.group, torch.ones(6), atol=1e-5) and found.plain.max() < 0.99


def test_a_feature_is_no_match_for_itself():
    assert best_matches(dictionary(6, 0), None, G).group.max() < 0.99
    twice = torch.cat([dictionary(3, 0)] * 2)
    assert torch.allclose(best_matches(twice, None, G).plain, torch.ones(6), atol=1e-5)


def test_bad_dictionaries_are_refused():
    with pytest.raises(ValueError, match="nothing to match with"):
        best_matches(dictionary(1, 0), None, G)


def test_the_null_passes_its_own_bar_one_time_in_a_hundred():
    draws = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    assert above_null(draws[0], draws[1]).share == pytest.approx(0.01, abs=0.003)
    shifted = above_null(draws[0] + 3, draws[1])
    assert shifted.share > 0.7 and shifted.features == 20_000
    with pytest.raises(ValueError, match="expected some of each"):
        above_null(draws[0][:0], draws[1])


def test_the_interval_knows_that_the_bar_is_estimated():
    """The 99 % quantile of a few hundred values is far from sure. With the bar taken as known, more than half of
    these intervals missed the truth."""
    generator, inside, known = torch.Generator().manual_seed(0), [], []
    normal = torch.distributions.Normal(0.0, 1.0)
    truth = float(normal.cdf(2 - normal.icdf(torch.tensor(0.99))))
    for seed in range(300):
        match, null = torch.randn(400, generator=generator) + 2, torch.randn(400, generator=generator)
        found = above_null(match, null, draws=200, seed=seed)
        inside.append(found.interval[0] <= truth <= found.interval[1])
        wilson = binomtest(round(found.share * 400), 400).proportion_ci(method="wilson")
        known.append(wilson.low <= truth <= wilson.high)
        assert found.interval[0] <= wilson.low and found.interval[1] >= wilson.high
    assert 0.87 < np.mean(inside) < 0.99 and np.mean(known) < 0.6
    everything = above_null(torch.ones(50), torch.zeros(50))  # drawing anew sees no spread here
    assert everything.interval[0] < 0.95 and everything.interval[1] == 1


def test_the_medians_interval_holds_the_truth_and_narrows_with_features():
    generator, inside, widths = torch.Generator().manual_seed(0), 0, {}
    for count in (50, 800):
        for _ in range(200):
            low, high = median_interval(torch.randn(count, generator=generator), draws=300)
            inside += low <= 0 <= high
            widths[count] = high - low
    assert inside / 400 == pytest.approx(0.95, abs=0.03) and widths[50] > 2 * widths[800]
    with pytest.raises(ValueError, match="no values"):
        median_interval(torch.zeros(0))


def test_features_that_are_there_come_back_and_noise_does_not():
    """Two noisy sights of one dictionary match far above data points that mix its features; two dictionaries of their
    own do not."""
    truth = dictionary(40, 0, channels=30)
    sights = [truth + 0.3 * dictionary(40, seed, channels=30) for seed in (1, 2)]
    mixed = torch.einsum("nk, kgd -> ngd", torch.rand(40, 40, generator=torch.Generator().manual_seed(4)), truth)
    null = best_matches(sights[0], mixed - mixed.mean(0), G).group
    assert above_null(best_matches(sights[0], sights[1], G).group, null).share == 1
    assert above_null(best_matches(dictionary(40, 5, channels=30), dictionary(40, 6, channels=30), G).group,
                      null).share < 0.1


def test_another_groups_dictionary_is_refused():
    with pytest.raises(ValueError, match="expected"):
        best_matches(dictionary(3, 0), dictionary(3, 1), cyclic(4))
