"""Intervals hold the truth as often as they say, p values are uniform under the null, and neither when misused."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest

from groupcc_lite.base import bootstrap, interval_of, jackknife, percentile_interval, permutation_p, share_interval


def holds(interval, truth):
    low, high = interval
    return low <= truth <= high


# ------------------------------------------------------------------------------------------- of means and shares

def test_an_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = [holds(interval_of(rng.normal(1.0, 2.0, 3)), 1.0) for _ in range(2000)]
    assert abs(np.mean(inside) - 0.95) < 0.02
    with pytest.raises(ValueError, match="1 value has no spread"):
        interval_of([1.0])


def test_negative_control_values_that_depend_on_each_other_give_an_interval_that_is_too_short():
    rng = np.random.default_rng(0)
    inside = [holds(interval_of(np.repeat(rng.normal(size=3), 4)), 0.0) for _ in range(500)]
    assert np.mean(inside) < 0.85


@pytest.mark.parametrize("successes, of", [(0, 5), (1, 5), (5, 5), (33, 40)])
def test_a_shares_interval_is_the_exact_one(successes, of):
    assert share_interval(successes, of) == pytest.approx(tuple(binomtest(successes, of).proportion_ci()), abs=1e-9)


def test_a_shares_interval_holds_the_truth_at_least_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for truth in (0.02, 0.4):
        wins = rng.binomial(20, truth, 1000)
        exact = np.mean([holds(share_interval(int(k), 20), truth) for k in wins])
        by_t = np.mean([holds(interval_of((np.arange(20) < k).astype(float)), truth) for k in wins])
        assert exact > 0.94
        assert by_t < 0.5 or truth == 0.4  # where nearly nothing succeeds Student's t has no width to speak of


def test_impossible_shares_are_refused_and_nothing_tried_says_nothing():
    assert share_interval(0, 0) == (0, 1)
    for successes, of in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match=f"{successes} successes of {of}"):
            share_interval(successes, of)


# -------------------------------------------------------------------------------------------------- the bootstrap

def coverage(values_of, repetitions, count=60):
    """How often the bootstrap's interval of a mean holds 0, for samples as `values_of` makes them."""
    rng = np.random.default_rng(0)
    samples = [values_of(rng, count) for _ in range(repetitions)]
    return np.mean([holds(percentile_interval(bootstrap(lambda drawn, x=x: x[drawn].mean(), count, draws=300, seed=k)),
                          0.0) for k, x in enumerate(samples)])


def test_the_bootstrap_covers_the_mean_of_normal_values_nineteen_times_in_twenty():
    """A little less often for sixty values: percentiles know neither Student's t nor n - 1."""
    assert coverage(lambda rng, count: rng.normal(size=count), 1000) == pytest.approx(0.94, abs=0.02)


def test_negative_control_points_of_one_image_are_not_independent_draws():
    assert coverage(lambda rng, count: np.repeat(rng.normal(size=count // 6), 6), 200) < 0.75


def test_the_bootstrap_with_torch_covers_as_well():
    generator, inside = torch.Generator().manual_seed(0), []
    for _ in range(300):
        x = torch.randn(60, generator=generator)
        found = bootstrap(lambda drawn, x=x: float(x[drawn].mean()), 60, draws=200, seed=generator)
        assert isinstance(found, torch.Tensor)
        inside.append(holds(percentile_interval(found), 0.0))
    assert np.mean(inside) == pytest.approx(0.94, abs=0.03)


def test_samples_are_drawn_independently_of_each_other_and_measurements_of_one_sample_together():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    paired = bootstrap(lambda drawn: (x[drawn] - x[drawn]).mean(), 200, draws=400)
    apart = bootstrap(lambda i, j: x[i].mean() - x[j].mean(), 200, 200, draws=400)
    assert not paired.any()
    assert apart.std() == pytest.approx(x.std() * math.sqrt(2 / 200), rel=0.1)


def test_the_bootstrap_draws_as_many_with_replacement_and_repeats_with_its_seed():
    sizes = []

    def note(i, j):
        sizes.append((len(i), len(j), len(set(i.tolist())) < len(i), i.max() < 30 and j.max() < 50))
        return np.array([i.sum(), j.sum()])

    found = bootstrap(note, 30, 50, draws=20, seed=3)
    assert found.shape == (20, 2) and set(sizes) == {(30, 50, True, True)}
    assert (found == bootstrap(note, 30, 50, draws=20, seed=np.random.default_rng(3))).all()
    assert (found != bootstrap(note, 30, 50, draws=20, seed=4)).any()


@pytest.mark.parametrize("counts, draws", [((), 5), ((0,), 5), ((3, 0), 5), ((3,), 0)])
def test_nothing_to_draw_is_refused(counts, draws):
    with pytest.raises(ValueError, match=f"{draws} draws; expected a sample or more"):
        bootstrap(lambda *drawn: 0.0, *counts, draws=draws)


# ----------------------------------------------------------------------------------------------------- percentiles

def test_percentiles_are_those_between_which_nineteen_of_twenty_lie():
    values = np.random.default_rng(0).normal(size=20_001)
    low, high = percentile_interval(values)
    assert ((values >= low) & (values <= high)).mean() == pytest.approx(0.95, abs=1e-4)
    assert (values < low).sum() == pytest.approx((values > high).sum(), abs=1)
    assert percentile_interval(torch.tensor(values)) == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_missing_values_are_skipped_only_if_asked(kind):
    values = kind([1.0, 2.0, math.nan, 3.0])
    assert all(map(math.isnan, percentile_interval(values)))
    assert percentile_interval(values, skip_nan=True) == percentile_interval([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no values"):
        percentile_interval(kind([]))


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_only_missing_values_have_no_percentiles(kind):
    assert all(map(math.isnan, percentile_interval(kind([math.nan, math.nan]), skip_nan=True)))


# --------------------------------------------------------------------------------------------------- the jackknife

def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).normal(size=30)
    assert jackknife(lambda kept: x[kept].mean(), 30) == pytest.approx(x.std(ddof=1) / math.sqrt(30))
    assert math.isnan(jackknife(lambda kept: 1.0, 1))


def test_the_jackknife_knows_how_far_ratios_differ_but_not_medians():
    rng = np.random.default_rng(0)
    pairs = rng.normal([2.0, 5.0], 1.0, size=(400, 40, 2))
    said = [jackknife(lambda kept, x=x: x[kept, 0].mean() / x[kept, 1].mean(), 40) for x in pairs]
    true = (pairs[..., 0].mean(1) / pairs[..., 1].mean(1)).std()
    assert np.mean(said) == pytest.approx(true, rel=0.1)
    of_medians = [jackknife(lambda kept, x=x: np.median(x[kept, 0]), 40) for x in pairs]
    assert np.mean(np.square(of_medians)) > 1.4 * np.median(pairs[..., 0], axis=1).var()


# ----------------------------------------------------------------------------------------------- permutation tests

def p_of(a, b, rng, draws=199):
    """Permutation test of a difference of means, both sides."""
    both = np.concatenate([a, b])
    mixed = (rng.permutation(both) for _ in range(draws))
    return permutation_p(abs(a.mean() - b.mean()), [abs(m[:len(a)].mean() - m[len(a):].mean()) for m in mixed])


def test_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(0)
    found = np.array([p_of(rng.normal(size=10), rng.normal(size=15), rng) for _ in range(400)])
    assert kstest(found, "uniform").pvalue > 0.05
    assert (found <= 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_negative_control_p_values_are_small_where_the_groups_differ():
    rng = np.random.default_rng(0)
    assert np.mean([p_of(rng.normal(size=10) + 1.5, rng.normal(size=15), rng) < 0.05 for _ in range(50)]) > 0.8


def test_a_p_value_is_never_zero_and_the_observed_one_counts():
    assert permutation_p(9.0, np.zeros(99)) == 0.01
    assert permutation_p(0.0, torch.zeros(99)) == 1.0  # equal ones are as large
    assert permutation_p(-1.0, [-0.5, -2.0, -3.0]) == 0.5  # a small one against the null: both signs changed


def test_a_p_value_of_nothing_is_missing_and_a_null_with_gaps_is_refused():
    assert math.isnan(permutation_p(math.nan, [math.nan, 1.0]))
    with pytest.raises(ValueError, match="1 of 2 values of the null are NaN"):
        permutation_p(1.0, [math.nan, 1.0])
