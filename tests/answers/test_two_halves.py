"""A selection by one half of a coder is tested on the other half: a planted case passes, a shuffled one does not."""

import math

import pytest
import torch
from scipy.stats import mannwhitneyu

from groupcc_lite.answers.two_halves import interval_over_features, separation
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.symmetry import encoder_profile, self_similarity

G = dihedral(8)
HALF = 4  # half a turn, as a number of an element


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def halves():
    """Half-turn cosines of encoders (by orbits) and decoders of 80 features; the first 30 have a half turn in both."""
    turned, count, d = torch.as_tensor(G.table[HALF]), 80, 24
    lines = torch.arange(count) < 30
    patterns = torch.randn(count, G.order, d, generator=generator(0))
    patterns[lines] = patterns[lines] + patterns[lines][:, torch.as_tensor(G.table[:, HALF])]
    coder = GroupCrosscoder(G, d, count, seed=0)
    x = torch.randn(400, G.order, d, generator=generator(1))
    x[:, turned, :d // 2] = x[:, :, :d // 2]  # half of the channels do not notice half a turn
    reads = torch.randn(count, d, generator=generator(2))
    reads[lines, d // 2:] = 0
    with torch.no_grad():
        coder.W_e.copy_(reads)
    return encoder_profile(coder, TensorOrbits(x, G))[:, HALF], self_similarity(patterns, G)[:, HALF], lines


def test_planted_features_are_found_from_either_half(halves):
    encoder, decoder, lines = halves
    for chosen_by, read in ((encoder, decoder), (decoder, encoder)):
        found = separation(read, chosen_by >= chosen_by.sort().values[-30])
        assert found.auc > 0.95 and found.interval[0] > 0.85 and found.p < 0.001
        assert (found.selected, found.others) == (30, 50)


def test_shuffled_labels_give_one_half(halves):
    encoder, decoder, lines = halves
    found = [separation(decoder, lines[torch.randperm(80, generator=generator(seed))], seed=seed) for seed in range(40)]
    assert sum(s.auc for s in found) / 40 == pytest.approx(0.5, abs=0.04)
    assert sum(s.interval[0] <= 0.5 <= s.interval[1] for s in found) >= 34
    assert sum(s.p <= 0.05 for s in found) <= 6


def test_the_area_is_that_of_mann_and_whitney_with_ties_and_without_the_missing():
    values = torch.randn(60, generator=generator(3)).round(decimals=1)
    values[[5, 50]] = torch.nan
    chosen = torch.arange(60) < 20
    found = separation(values, chosen, ~chosen & (torch.arange(60) < 55))
    a, b = values[:20][~values[:20].isnan()], values[20:55][~values[20:55].isnan()]
    assert found.auc == pytest.approx(mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    assert (found.selected, found.others) == (19, 34)


def test_the_permutation_test_agrees_with_the_exact_one():
    values = torch.tensor([0.1, 0.5, 0.2, 0.9, 0.7, 0.8, 0.3])
    chosen = torch.tensor([False, True, False, True, True, True, False])
    exact = mannwhitneyu(values[chosen], values[~chosen], method="exact").pvalue
    assert separation(values, chosen, draws=20_000).p == pytest.approx(exact, abs=0.01)


def test_what_cannot_be_compared_is_refused_or_undefined():
    values, none = torch.rand(5), torch.zeros(5, dtype=torch.bool)
    assert math.isnan(separation(values, none).auc) and math.isnan(separation(values, none).p)
    with pytest.raises(ValueError, match="on both sides"):
        separation(values, ~none, ~none)


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(60):
        x = torch.randn(50, generator=generator(seed)) + 1
        low, high = interval_over_features(lambda drawn, x=x: float(x[drawn].mean()), 50, draws=300, seed=seed)
        held += low <= 1 <= high
    assert 51 <= held <= 60
    assert math.isnan(interval_over_features(lambda drawn: 1.0, 1)[0])
