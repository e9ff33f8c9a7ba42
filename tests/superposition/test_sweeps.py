"""Tables over seeds: each number against its own function, and what the toys are known to show."""

import math

import pytest
import torch

from groupcc_lite.base import interval_of
from groupcc_lite.superposition import (
    SparseFeatures,
    Toys,
    effective_features,
    features_per_dimension,
    measure_toys,
    train_toys,
    vulnerability,
)


@pytest.fixture(scope="module")
def toys():
    return train_toys(SparseFeatures([0.0, 0.8, 0.95, 0.95], features=20), 4, seeds=[0, 1, 2], steps=500,
                      overlap=[0.0, 0.0, 0.0, 0.03])


@pytest.fixture(scope="module")
def found(toys):
    return measure_toys(toys, samples=1000)


def test_numbers_are_those_of_their_functions(toys, found, monkeypatch):
    one = toys.chosen(torch.tensor([6]))
    x = one.samples(1000, 1_000_000)
    cost = vulnerability(one.loss_about(x), x, one.radius(0.1), seed=1_000_000)
    assert float(found.attacked_ratio[6]) == pytest.approx(float(cost.attacked_ratio), rel=2e-3)
    assert float(found.clean[6]) == pytest.approx(float(cost.clean))
    assert float(found.effective[6]) == pytest.approx(effective_features(x[0] * one.W[0].square().sum(0), 4))
    assert torch.equal(found.per_dimension, features_per_dimension(toys.W))
    monkeypatch.setattr("groupcc_lite.superposition.sweeps._TOGETHER", 50_000)
    torch.testing.assert_close(measure_toys(toys, samples=1000).attacked_ratio, found.attacked_ratio, rtol=2e-3, atol=0)


def test_means_and_intervals_are_over_seeds(toys, found):
    rows = found.over_seeds("clean")
    values = found.clean[toys.which == 3].tolist()
    assert len(rows) == 4 and rows[3].mean == pytest.approx(sum(values) / 3)
    assert rows[3][1:] == pytest.approx(interval_of(values))
    alone = measure_toys(toys.chosen(toys.seeds == 1), samples=100).over_seeds("clean")
    assert len(alone) == 4 and math.isnan(alone[0].low)
    with pytest.raises(ValueError, match="name is 'which'"):
        found.over_seeds("which")


def test_superposition_is_vulnerable_and_parting_features_helps(found):
    """At one sparsity, with data and noise the same: what differs is superposition."""
    per_dimension, ratio, noise = (found.over_seeds(name) for name in ("per_dimension", "attacked_ratio",
                                                                       "noise_ratio"))
    assert per_dimension[0].mean < per_dimension[1].mean < per_dimension[2].mean
    assert ratio[0].mean < ratio[1].mean and ratio[0].high < ratio[2].low
    assert per_dimension[3].high < per_dimension[2].low and ratio[3].high < ratio[2].low
    assert max(row.mean for row in noise) < 1.1
    assert (found.excess > 1).all()


def test_what_an_attack_adds_without_superposition_is_its_square():
    """An identity passes every change of a feature that is on: eps^2, whatever the clean loss."""
    data = SparseFeatures([0.0], features=3)
    toys = Toys(torch.eye(3)[None], torch.zeros(1, 3), data, torch.tensor([0]), torch.tensor([0]), torch.ones(3))
    found = measure_toys(toys, samples=500)
    assert float(found.added) == pytest.approx(1, abs=1e-3) and float(found.per_dimension) == 1
    assert float(found.clean) == 0 and math.isinf(found.attacked_ratio)
