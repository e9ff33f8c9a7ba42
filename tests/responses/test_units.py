"""Units read what they say they read, and those that nobody trained fire as often as asked for."""

import pytest
import torch

from groupcc_lite.coders import SparseAutoencoder
from groupcc_lite.responses import UNTRAINED, latent_units, neuron_units, untrained_units

X = torch.randn(3000, 8, generator=torch.Generator().manual_seed(0)) @ torch.randn(
    8, 8, generator=torch.Generator().manual_seed(1)) + 2
DICTIONARY = torch.randn(12, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", UNTRAINED)
def test_untrained_units_fire_as_often_as_asked_for(kind):
    units = untrained_units(kind, X, 12, rate=0.1, dictionary=DICTIONARY)
    fires = (units.read(X) > 0).double().mean(0)
    assert units.count == len(fires) == 12 and units.name == kind
    assert fires.sub(0.1).abs().max() < 0.02
    again, other = (untrained_units(kind, X, 12, rate=0.1, dictionary=DICTIONARY, seed=seed) for seed in (0, 1))
    assert torch.equal(units.read(X), again.read(X))
    assert kind == "principal components" or not torch.allclose(units.read(X), other.read(X), atol=0.1)


def test_a_shuffled_dictionary_keeps_the_entries_of_its_rows():
    """The directions are read back as differences of responses above the threshold."""
    units = untrained_units("shuffled dictionary", X, 12, rate=0.9, dictionary=DICTIONARY)
    far = X.mean(0) + 1000 * torch.nn.functional.normalize(X[0] - X.mean(0), dim=0)
    start = units.read(far[None])[0]
    steps = torch.stack([units.read((far + 100 * axis)[None])[0] - start for axis in torch.eye(8)], 1)
    rows = torch.nn.functional.normalize(DICTIONARY, dim=1)
    reached = units.read(far[None])[0] > 200  # so far above the threshold that nothing is cut
    assert reached.any()
    torch.testing.assert_close((steps[reached] / 100).sort(1).values, rows[reached].sort(1).values, atol=1e-3, rtol=0)
    assert not torch.allclose(steps[reached] / 100, rows[reached], atol=0.05)


def test_principal_components_come_in_both_senses_and_are_no_more_than_there_are():
    units = untrained_units("principal components", X, 100, rate=0.3)
    assert units.count == 16
    says = units.read(X)
    assert ((says[:, 0::2] > 0) & (says[:, 1::2] > 0)).sum() == 0  # never one and its opposite
    spread = (says[:, 0::2].std(0))
    assert (spread.diff() < 0.2).all()  # the first component varies most


def test_latents_are_those_of_the_coder_and_orbits_are_read_block_by_block():
    coder = SparseAutoencoder(8, 20, activation="topk", k=4)
    units, x = latent_units(coder, [3, 7], "two"), torch.randn(5, 6, 8)
    torch.testing.assert_close(units.read(x[:, 0]), coder.encode(x[:, 0])[:, [3, 7]].detach())
    found = units.of_orbits(x, at_once=7)
    torch.testing.assert_close(found[:, 2], units.read(x[:, 2]))
    assert neuron_units([5, 1]).read(torch.arange(8.0)[None] - 3).tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("kind", UNTRAINED)
@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_rates_hold_on_data_that_were_not_seen(kind, rate):
    """Other draws of the same distribution; together they say how often a unit fires."""
    first, second = X[:2000], X[2000:]
    fires = untrained_units(kind, first, 12, rate=rate, dictionary=DICTIONARY).read(second) > 0
    assert fires.double().mean().item() == pytest.approx(rate, rel=0.25)
    assert not untrained_units(kind, first, 12, rate=rate, dictionary=DICTIONARY).read(second).lt(0).any()


def test_kinds_and_seeds_are_different_units():
    says = {kind: untrained_units(kind, X, 12, rate=0.3, dictionary=DICTIONARY).read(X) for kind in UNTRAINED}
    for kind, other in [(a, b) for a in UNTRAINED for b in UNTRAINED if a < b]:
        between = torch.corrcoef(torch.cat([says[kind].T, says[other].T]))[:12, 12:]
        assert between.diagonal().median() < 0.9, (kind, other)
    again = untrained_units("shuffled dictionary", X, 12, rate=0.3, dictionary=DICTIONARY).read(X)
    assert torch.equal(says["shuffled dictionary"], again)


def test_random_directions_have_the_covariance_of_the_data():
    """Data along one axis mostly: so are the directions; data points are rows of the data, from their mean."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(800, 3, generator=generator) * torch.tensor([10.0, 1.0, 0.1]) + 5
    units = untrained_units("random directions", x, 400, rate=0.5)
    steps = torch.stack([units.read((x.mean(0) + 1e4 * axis)[None])[0] - units.read((x.mean(0) - 1e4 * axis)[None])[0]
                         for axis in torch.eye(3)], 1) / 1e4
    assert (steps[:, 0].abs() > 0.9).double().mean() > 0.8 and (steps[:, 2].abs() < 0.2).double().mean() > 0.9
    assert 0.4 < (steps[:, 0] > 0).double().mean() < 0.6
    points = untrained_units("data points", x, 5, rate=0.5)
    rows = torch.nn.functional.normalize(x - x.mean(0), dim=1)
    found = torch.stack([points.read((x.mean(0) + 1e4 * axis)[None])[0] - points.read((x.mean(0) - 1e4 * axis)[None])[0]
                         for axis in torch.eye(3)], 1) / 1e4
    assert (found @ rows.T).amax(1).min() > 0.995


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5])
def test_rates_that_are_no_shares_are_refused(rate):
    with pytest.raises(ValueError, match="a rate between 0 and 1"):
        untrained_units("random directions", X, 3, rate=rate)


def test_what_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="kind is 'noise'"):
        untrained_units("noise", X, 3, rate=0.1)
    with pytest.raises(ValueError, match="for a shuffled dictionary the dictionary"):
        untrained_units("shuffled dictionary", X, 3, rate=0.1)
    with pytest.raises(ValueError, match="latents is a mask"):
        latent_units(SparseAutoencoder(8, 20), [True, False], "none")
