"""Planted features of which some are spheres: where samples lie, what counts as found, and what is predicted."""

import numpy as np
import pytest
import torch

from groupcc_lite.coders import SparseAutoencoder
from groupcc_lite.manifolds import FeatureMixture, LossCurve, spending


def test_subspaces_are_orthogonal_and_samples_have_the_frequencies_and_radii():
    mixture = FeatureMixture(features=5, alpha=0.5, dim=3, radius=(0.5, 1.5), seed=2)
    frame = torch.cat(mixture.planes)
    torch.testing.assert_close(frame @ frame.T, torch.eye(mixture.channels), atol=1e-5, rtol=0)
    x = mixture.sample(20_000)
    for number, plane in enumerate(mixture.planes):
        part = x @ plane.T
        norms = part.norm(dim=1)
        on = norms > 1e-3
        assert float(on.float().mean()) == pytest.approx(mixture.rates[number], abs=0.015)
        assert norms[on].min() > 0.49 and norms[on].max() < 1.51
        if number % 2:
            assert (part[on] > 0).all()  # a direction, of one sign
    assert torch.equal(x, mixture.sample(20_000)) and not torch.equal(x, mixture.sample(20_000, seed=1))


def test_what_counts_as_found():
    mixture = FeatureMixture(features=4, alpha=1.0, dim=2)
    sphere, line = mixture.planes[0], mixture.planes[1]
    mixed = torch.nn.functional.normalize(sphere[:1] + line, dim=1)
    D = torch.cat([sphere, sphere[:1] * 3, -line, 2 * line, mixed])
    assert mixture.spent(D).tolist() == [3, 1, 0, 0]  # lengths do not matter, signs do on a line
    assert mixture.spent(mixed, share=0.7).tolist() == [1, 1, 0, 0]


def test_dead_latents_are_not_counted():
    mixture = FeatureMixture(features=2, alpha=1.0, dim=2)
    sae = SparseAutoencoder(mixture.channels, 3)
    with torch.no_grad():
        sae.W_d[:, 0] = torch.cat(mixture.planes)
        sae.W_e.copy_(sae.W_d[:, 0])
        sae.b_e[1] = -100.0
    found = spending(mixture, sae, mixture.sample(2000), 0.2)
    assert found.living == 2 and found.spent.tolist() == [1, 1] and found.discovered == 2


def test_the_prediction_is_the_best_split_and_its_loss_that_of_training():
    curve = LossCurve(np.array([1, 2, 4]), np.array([[0.6, 0.4, 0.3]]), np.zeros((1, 3)), np.array([0.19]))
    mixture = FeatureMixture(features=2, alpha=0.0, dim=2, most=0.5)
    split = mixture.predicted(curve, 3, 0.2)
    assert split.latents.tolist() == [2, 1]  # gains 0.2, 0.1 and 0.25 * (1.083 - 0.19)
    assert split.loss == pytest.approx(0.5 * 0.4 + 0.25 * 0.19)


@pytest.mark.parametrize("changes, message", [
    (dict(features=0), "features=0"), (dict(alpha=-1.0), "alpha=-1.0"), (dict(most=1.5), "most=1.5"),
    (dict(dim=0), "dim=0")])
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        FeatureMixture(**dict(features=3, alpha=1.0, dim=2) | changes)
