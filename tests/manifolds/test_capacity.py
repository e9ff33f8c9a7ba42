"""The best split of latents: what every other way of finding it says, and what no split can break."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import zeta

from groupcc_lite.manifolds import (
    DiscreteLoss,
    FeatureLoss,
    ListedFeatures,
    MeasuredLoss,
    PowerLoss,
    ZipfFeatures,
    allocate,
    capacity_curve,
)


def convex(rng, points):
    """A random convex curve that does not rise and begins with 1; some have equal gains, some reach zero."""
    gains = np.sort(rng.choice([rng.random(), 0.1, 0.2, 0.0], size=points))[::-1]
    share = rng.uniform(0.2, 1.0) if gains.sum() else 0.0
    return 1 - np.append(0, np.cumsum(gains)) * share / max(gains.sum(), 1e-9)


def total(features, latents):
    """sum p_i L_i(n_i) of a split, written out."""
    return sum(p * float(features.losses[k].left(np.array([n]))[0])
               for p, k, n in zip(*features.head(0.0), latents, strict=True))


@given(st.integers(0, 10**6))
def test_greedy_is_as_good_as_the_best_of_all_splits(seed):
    rng = np.random.default_rng(seed)
    count, n = int(rng.integers(1, 5)), int(rng.integers(0, 8))
    features = ListedFeatures(rng.random(count), [MeasuredLoss(convex(rng, 5)) for _ in range(count)])
    best = min(total(features, split) for split in itertools.product(range(n + 1), repeat=count) if sum(split) <= n)
    found = allocate(features, n)
    assert found.loss == pytest.approx(best, abs=1e-12)
    assert total(features, found.latents) == pytest.approx(found.loss, abs=1e-12)
    assert found.latents.sum() + found.unused == n


def test_a_split_on_paper():
    # Gains: 0.5 x (1/2, 1/6, 1/12, ...) = 0.25, 0.083, 0.042; 0.3 x (1/2, 1/6) = 0.15, 0.05; 0.2 x 1.
    features = ListedFeatures([0.5, 0.3, 0.2], [PowerLoss(1.0), DiscreteLoss()], kinds=[0, 0, 1])
    order = [0, 2, 1, 0, 1, 0]
    for n in range(7):
        found = allocate(features, n)
        assert found.latents.tolist() == [order[:n].count(i) for i in range(3)]
    assert found.loss == pytest.approx(0.5 / 4 + 0.3 / 3) and found.discovered == 3
    curve = capacity_curve(features, list(range(7)))
    assert curve.discovered.tolist() == [0, 1, 2, 3, 3, 3, 3]
    assert curve.loss == pytest.approx([1, 0.75, 0.55, 0.4, 0.4 - 0.25 / 3, 0.4 - 0.4 / 3, 0.4 - 0.4 / 3 - 0.125 / 3])


@pytest.mark.parametrize("features", [
    ZipfFeatures(0.5, PowerLoss(2.0)), ZipfFeatures(2.0, PowerLoss(0.5, unit=3.0)), ZipfFeatures(0.7, DiscreteLoss()),
    ZipfFeatures(1.0, [DiscreteLoss(), PowerLoss(0.8), MeasuredLoss([3.0, 1.0, 0.5, 0.4])], shares=[0.5, 0.2, 0.3]),
    ZipfFeatures(1.0, PowerLoss(1.0), features=40)], ids=["spheres", "steep", "discrete", "mixed", "listed"])
def test_every_latent_is_spent_and_none_would_do_better_elsewhere(features):
    found = allocate(features, 3000)
    assert found.latents.sum() == 3000 and found.unused == 0 and (found.latents >= 0).all()
    p, kinds = features.head(0.0 if features.count else 1e-9)
    latents = np.append(found.latents, np.zeros(len(p) - len(found.latents), dtype=int))
    around = (np.maximum(latents - 1, 0), latents, latents + 1)
    losses = np.array([[loss.left(n) for n in around] for loss in features.losses])
    before, now, after = losses[kinds, :, np.arange(len(p))].T
    assert (p * (before - now))[latents > 0].min() >= (p * (now - after)).max() - 1e-15
    # The rest, which has no latent, keeps its whole loss.
    assert found.loss == pytest.approx((p * now).sum() + features.beyond(len(p)), rel=1e-9)


def test_one_pass_gives_what_each_size_alone_gives():
    features = ZipfFeatures(0.8, [DiscreteLoss(), PowerLoss(1.5)], shares=[0.4, 0.6])
    sizes = [0, 1, 7, 100, 5000]
    curve = capacity_curve(features, sizes)
    for n, discovered, loss in zip(*curve, strict=True):
        found = allocate(features, int(n))
        assert (found.discovered, found.loss) == (discovered, pytest.approx(loss, rel=1e-9))
    assert (np.diff(curve.loss) < 0).all() and curve.loss[0] == pytest.approx(1)


def test_probabilities_without_end_add_up_to_one():
    features = ZipfFeatures(0.5, DiscreteLoss())
    assert features.head(1e-7)[0].sum() + features.beyond(len(features.head(1e-7)[0])) == pytest.approx(1)
    assert features.beyond(0) == 1 and features.beyond(99) == pytest.approx(float(zeta(1.5, 100) / zeta(1.5)))
    last = ZipfFeatures(0.5, DiscreteLoss(), features=7)
    assert last.head(0.0)[0].sum() == pytest.approx(1) and last.beyond(7) == pytest.approx(0, abs=1e-15)


def test_kinds_are_mixed_evenly_and_do_not_depend_on_how_many_are_looked_at():
    features = ZipfFeatures(0.5, [DiscreteLoss(), PowerLoss(2.0)], shares=[0.75, 0.25])
    _, kinds = features.head(1e-6)
    assert np.array_equal(features.head(1e-4)[1], kinds[:len(features.head(1e-4)[1])])
    for first in range(0, 1000, 40):
        assert abs(kinds[first:first + 40].sum() - 10) <= 2


def test_ties_go_to_the_feature_listed_first():
    features = ListedFeatures(np.ones(5), MeasuredLoss([1.0, 0.5, 0.0]))
    assert allocate(features, 3).latents.tolist() == [2, 1, 0, 0, 0]
    many = allocate(ListedFeatures(np.ones(1000), MeasuredLoss(np.linspace(1, 0, 1001))), 2500)  # a million equal gains
    assert many.latents[:4].tolist() == [1000, 1000, 500, 0] and many.latents.sum() == 2500


def test_latents_that_are_good_for_nothing_are_counted():
    features = ListedFeatures([0.6, 0.4, 0.0], DiscreteLoss())
    found = allocate(features, 10)
    assert (found.latents.tolist(), found.unused, found.loss) == ([1, 1, 0], 8, 0.0)
    assert capacity_curve(features, [1, 10]).discovered.tolist() == [1, 2]
    assert allocate(ListedFeatures([0.0], DiscreteLoss()), 3).unused == 3
    nothing = allocate(ZipfFeatures(1.0, PowerLoss(1.0)), 0)
    assert nothing.latents.size == 0 and nothing.loss == pytest.approx(1)


def test_a_measured_curve_may_have_gaps_and_ends():
    loss = MeasuredLoss([10.0, 4.0, 2.0, 1.0], [0, 2, 4, 8])
    assert loss.left(np.array([0, 1, 2, 6, 8, 100])) == pytest.approx([1, 0.7, 0.4, 0.15, 0.1, 0.1])
    assert loss.gains(10) == pytest.approx([0.3, 0.3, 0.1, 0.1, 0.025, 0.025, 0.025, 0.025, 0, 0])


def test_a_curve_that_is_not_convex_is_refused_or_bridged():
    bumpy = [1.0, 0.95, 0.5, 0.3, 0.35]
    with pytest.raises(ValueError, match=r"with 1 latents 0.95 of the loss is left, where the .* envelope has 0.75"):
        MeasuredLoss(bumpy)
    bridged = MeasuredLoss(bumpy, envelope=True)
    assert bridged.left(np.arange(6)) == pytest.approx([1, 0.75, 0.5, 0.3, 0.3, 0.3])
    # A lower bound: the best split of the curves themselves is not better.
    raw = np.append(bumpy, [0.35] * 3)
    features = ListedFeatures([0.5, 0.4], bridged)
    for n in range(6):
        best = min(0.5 * raw[a] + 0.4 * raw[b] for a in range(n + 1) for b in range(n + 1 - a))
        assert allocate(features, n).loss <= best + 1e-12
    assert allocate(features, 4).loss == pytest.approx(0.9 * 0.5)  # here both end at corners


class Rising(FeatureLoss):
    def left(self, latents):
        return np.where(latents < 2, 1.0, 0.5)


@pytest.mark.parametrize("make, message", [
    (lambda: PowerLoss(0.0), "beta is 0.0"), (lambda: PowerLoss(1.0, unit=-1.0), "unit -1.0"),
    (lambda: MeasuredLoss([1.0]), "at least two points"),
    (lambda: MeasuredLoss([0.0, 0.0]), "positive without latents"),
    (lambda: MeasuredLoss([1.0, np.nan]), "finite"), (lambda: MeasuredLoss([1.0, 0.5], [1, 2]), "begin with 0"),
    (lambda: MeasuredLoss([1.0, 0.5, 0.1], [0, 2, 2]), "and rise"),
    (lambda: ZipfFeatures(0.0, DiscreteLoss()), "alpha is 0.0"),
    (lambda: ZipfFeatures(1.0, DiscreteLoss(), features=0), "at least 1 feature"),
    (lambda: ZipfFeatures(1.0, [DiscreteLoss()] * 2), "2 losses; expected one share for each"),
    (lambda: ZipfFeatures(1.0, [DiscreteLoss()] * 2, shares=[0.5, 0.6]), "add up to 1"),
    (lambda: ListedFeatures([], DiscreteLoss()), "at least one finite"),
    (lambda: ListedFeatures([0.5, -0.1], DiscreteLoss()), "finite number from 0"),
    (lambda: ListedFeatures([0.5] * 3, [DiscreteLoss()] * 2), "3 features have 2 losses"),
    (lambda: ListedFeatures([0.5] * 3, [DiscreteLoss()] * 2, kinds=[0, 1, 2]), "kinds that say"),
    (lambda: allocate(ZipfFeatures(1.0, DiscreteLoss()), -1), "is -1; expected at least 0"),
    (lambda: allocate(ZipfFeatures(1.0, Rising()), 5), "is not convex"),
    (lambda: capacity_curve(ZipfFeatures(1.0, DiscreteLoss()), []), "expected a list"),
    (lambda: capacity_curve(ZipfFeatures(1.0, DiscreteLoss()), [1, -2]), "is -2")])
def test_bad_input_is_refused(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_million_latents_and_features_take_seconds():
    began = time.perf_counter()
    assert allocate(ZipfFeatures(0.5, PowerLoss(2.0)), 10**6).latents.sum() == 10**6
    p = np.random.default_rng(0).random(10**6)
    assert allocate(ListedFeatures(p, [DiscreteLoss(), PowerLoss(1.0)], np.arange(10**6) % 2), 10**6).unused == 0
    assert time.perf_counter() - began < 20  # two on a free core
