"""Trained toys: a start that does not overshoot, losses bounded by the best codes, slopes of known curves."""

import numpy as np
import pytest
import torch

from groupcc_lite.manifolds import Learning, LossCurve, SphereToy, circle_optimum, learn, loss_curve


def test_four_latents_of_a_circle_reach_the_optimum():
    curve = loss_curve(SphereToy(dim=2), [4], learning=Learning(steps=300))
    assert curve.encoder[0, 0] == pytest.approx(circle_optimum(4, 0.2).loss, abs=0.01)
    assert curve.limit[0] == pytest.approx(0.19, abs=1e-6)


def test_the_best_codes_bound_the_encoder_and_levelling_out_is_the_encoders():
    """With radial variation an encoder gains nothing from 4 latents to 32, its dictionary's best codes do."""
    curve = loss_curve(SphereToy(dim=2, radius=(0.5, 1.5)), [4, 32], learning=Learning(steps=300))
    assert (curve.optimal <= curve.encoder + 1e-4).all()
    excess, best = curve.encoder[0] - curve.limit, curve.optimal[0] - curve.limit
    assert excess[1] > 0.7 * excess[0] and best[1] < 0.2 * best[0]


def test_many_latents_do_not_begin_with_a_reconstruction_that_is_too_large():
    x = SphereToy(dim=3).sample(500)
    sae = learn(x, 96, Learning(steps=1, lr=1e-9))
    assert 0.5 < float((sae.decode(sae.encode(x)).detach()[:, 0] * x).sum(1).mean()) < 2


def test_slopes_and_measured_losses_of_a_curve_that_is_known():
    sizes = np.array([4, 8, 16, 32])
    curve = LossCurve(sizes, np.stack([0.19 + sizes ** -2.0, 0.19 + sizes ** -1.0]), np.zeros((2, 4)),
                      np.array([0.19, 0.19]))
    assert curve.slopes(smallest=8) == pytest.approx([-2, -1])
    assert curve.measured(1.0).left(np.array([0, 32])) == pytest.approx([1, 0.19 + (32.0**-2 + 1 / 32) / 2])
    with pytest.raises(ValueError, match="1 are at least 32"):
        curve.slopes(smallest=32)


def test_training_repeats_bit_for_bit():
    x = SphereToy(dim=2).sample(500)
    one, two = (learn(x, 6, Learning(steps=20), seed=3) for _ in range(2))
    assert torch.equal(one.W_d, two.W_d)
