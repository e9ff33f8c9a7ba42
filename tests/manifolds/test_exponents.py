"""Exponents: theory against exact splits, constants included."""

import numpy as np
import pytest
from scipy.integrate import quad

from groupcc_lite.manifolds import (
    DiscreteLoss,
    MeasuredLoss,
    PowerLoss,
    ZipfFeatures,
    asymptotic_scaling,
    capacity_curve,
    continuous_limit,
    measured_scaling,
)

FOUND, PATHOLOGICAL = [(0.5, 2.0), (0.5, 1.0), (1.0, 3.0), (0.3, 0.8)], [(1.0, 0.5), (2.0, 1.0), (1.5, 0.5), (2.0, 0.4)]


@pytest.mark.parametrize("alpha, beta", FOUND + PATHOLOGICAL)
def test_exact_splits_have_the_exponents_of_theory(alpha, beta):
    measured, theory = measured_scaling(alpha, PowerLoss(beta)), continuous_limit(alpha, beta)
    assert theory[:2] == pytest.approx((min(1, (1 + beta) / (1 + alpha)), -min(alpha, beta)))
    assert measured.discovered == pytest.approx(theory.discovered, abs=0.01)
    assert measured.loss == pytest.approx(theory.loss, abs=0.005)
    # The slopes themselves come closer to the limit as N grows: that is the correction which is taken off.
    away = np.abs(measured.loss_slopes - theory.loss)
    assert (np.diff(away) < 1e-3).all() and away[-1] < 0.3 * away[0]


@pytest.mark.parametrize("alpha, loss", [
    (0.5, PowerLoss(2.0)), (0.5, PowerLoss(2.0, unit=3.0)), (1.0, PowerLoss(3.0)), (1.5, PowerLoss(0.5)),
    (2.0, PowerLoss(0.4)), (2.0, PowerLoss(0.4, unit=3.0)), (0.7, DiscreteLoss())], ids=str)
def test_constants_are_those_of_exact_splits(alpha, loss):
    scaling, size = asymptotic_scaling(alpha, loss), 1_000_000
    curve = capacity_curve(ZipfFeatures(alpha, loss), [size])
    discovered, left = scaling.at(size)
    assert curve.discovered[0] / discovered == pytest.approx(1, abs=0.01)
    assert curve.loss[0] / left == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("alpha, beta", [(0.5, 2.0), (2.0, 0.4)])
def test_the_continuous_limit_is_that_of_its_integrals(alpha, beta):
    """n(i) = (D / i)^s for i from 1 to D: N and L by numerical integration."""
    s, discovered = (1 + alpha) / (1 + beta), 1e9
    latents = quad(lambda t: np.exp(t) * (discovered / np.exp(t)) ** s, 0, np.log(discovered), limit=500)[0]
    head = quad(lambda t: alpha * np.exp(-alpha * t) * (discovered / np.exp(t)) ** (-s * beta), 0, np.log(discovered),
                limit=500)[0]
    expected = continuous_limit(alpha, beta).at(latents)
    assert discovered == pytest.approx(expected[0], rel=1e-3)
    assert head + discovered**-alpha == pytest.approx(expected[1], rel=1e-3)
    if alpha < beta:
        assert expected[0] == pytest.approx(latents * (beta - alpha) / (1 + beta))


def test_far_too_close_to_the_border_is_seen():
    """alpha = 0.8, beta = 1: the correction falls as N^-0.1, and no extrapolation from a million latents helps."""
    found = measured_scaling(0.8, PowerLoss(1.0), largest=100_000)
    assert found.correction == pytest.approx(0.1) and abs(found.loss_slopes[-1] + 0.8) > 0.05


@pytest.mark.parametrize("call, message", [
    (lambda: continuous_limit(1.0, 1.0), "positive numbers that differ"),
    (lambda: continuous_limit(-1.0, 1.0), "alpha is -1.0"),
    (lambda: asymptotic_scaling(1.0, MeasuredLoss([1.0, 0.5])), "expected a PowerLoss or DiscreteLoss"),
    (lambda: asymptotic_scaling(0.0, DiscreteLoss()), "alpha is 0.0"),
    (lambda: measured_scaling(1.0, PowerLoss(2.0), sizes=3), "at least four"),
    (lambda: measured_scaling(1.0, PowerLoss(2.0), smallest=10, largest=10), "larger one"),
    (lambda: measured_scaling(1.0, PowerLoss(2.0), smallest=1, largest=2), "four or more")])
def test_bad_input_is_refused(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()
