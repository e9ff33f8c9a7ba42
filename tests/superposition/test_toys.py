"""Toy models: their data, their training against plain loops, and what is known to come out."""

import pytest
import torch

from groupcc_lite.superposition import (
    SparseFeatures,
    Toys,
    antipodal_share,
    features_per_dimension,
    interference,
    pgd,
    train_toys,
)

QUICK = dict(steps=400, batch_size=128)


@pytest.fixture(scope="module")
def data():
    return SparseFeatures([0.0, 0.7, 0.95], features=10)


@pytest.fixture(scope="module")
def plain(data):
    return train_toys(data, 3, seeds=[0, 1], **QUICK)


def test_presence_and_amplitude_are_independent():
    data = SparseFeatures([0.0, 0.5, 0.98], features=20)
    x = data.sample(20_000, torch.Generator().manual_seed(0))
    for values, S in zip(x, data.sparsities, strict=True):
        there = values[values > 0]
        assert float((values > 0).float().mean()) == pytest.approx(1 - S, abs=0.003)
        assert float(there.mean()) == pytest.approx(0.5, abs=0.01) and float(there.max()) > 0.99
        assert torch.cov((values.T > 0).float()).fill_diagonal_(0).abs().max() < 0.01
    assert ((x[1] == 0) | (x[1] == x[0])).all()  # the same draws


def test_the_defect_is_a_defect():
    x = SparseFeatures([0.0, 0.9], features=20, tied_amplitude=True).sample(20_000, torch.Generator().manual_seed(0))
    assert float((x[1] > 0).float().mean()) == pytest.approx(0.1, abs=0.003)
    assert float(x[1][x[1] > 0].min()) >= 0.9 and float(x[0].mean()) == pytest.approx(0.5, abs=0.01)


def test_the_mean_norm_is_that_of_other_samples():
    data = SparseFeatures([0.0, 0.9, 0.99])
    norms = data.sample(5000, torch.Generator().manual_seed(9)).norm(dim=2).mean(1)
    torch.testing.assert_close(data.mean_norm(), norms, rtol=0.03, atol=0)


def test_models_and_losses_written_out(plain):
    x = plain.samples(6, seed=3)
    attacked = x + 0.1 * torch.randn_like(x)
    for k in range(len(plain)):
        W, b = plain.W[k], plain.b[k]
        found = torch.stack([(W.T @ (W @ row) + b).relu() for row in attacked[k]])
        torch.testing.assert_close(plain(attacked)[k], found)
        torch.testing.assert_close(plain.errors(attacked, x)[k], (found - x[k]).square().sum(1))
    torch.testing.assert_close(plain.loss_about(x)(attacked), plain.errors(attacked, x))
    assert torch.equal(x[0], plain.samples(6, seed=3)[3])  # both seeds, one sparsity


def test_one_model_of_many_is_the_model_alone(plain, data):
    """A stack mixes nothing: a model trained alone is the same up to rounding."""
    alone = train_toys(SparseFeatures([0.7], features=10), 3, seeds=[1], **QUICK)
    torch.testing.assert_close(alone.W[0], plain.W[4], atol=2e-3, rtol=0)
    picked = plain.chosen(plain.sparsity == 0.7)
    assert len(picked) == 2 and picked.seeds.tolist() == [0, 1] and torch.equal(picked.W[1], plain.W[4])


def test_training_repeats_and_leaves_the_global_seed(plain, data):
    torch.manual_seed(0)
    again = train_toys(data, 3, seeds=[0, 1], **QUICK)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(again.W, plain.W) and torch.equal(again.b, plain.b)
    assert not torch.allclose(plain.W[:3], plain.W[3:], atol=0.1)


def test_sparsity_brings_superposition(plain):
    by_sparsity = features_per_dimension(plain.W).view(2, 3)
    assert (by_sparsity.diff(dim=1) > 0.3).all() and (by_sparsity[:, 0] < 1.2).all()


def test_two_sparse_features_in_one_dimension_become_a_pair():
    """Where they begin on one side they stay there, in a worse minimum."""
    toys = train_toys(SparseFeatures([0.8], features=2), 1, seeds=range(6), **QUICK)
    x, paired = toys.samples(5000, seed=1), antipodal_share(toys.W) == 1
    assert 0 < paired.sum() < 6
    torch.testing.assert_close(features_per_dimension(toys.W)[paired], torch.full((int(paired.sum()),), 2.0), atol=0.1,
                               rtol=0)
    losses = toys.errors(x, x).mean(1)
    assert losses[paired].max() < losses[~paired].min()


def test_importance_decides_who_is_kept():
    toys = train_toys(SparseFeatures([0.0], features=6), 2, importance=[1.0, 1.0, 0.1, 0.1, 0.1, 0.1], **QUICK)
    lengths = toys.W[0].norm(dim=0)
    assert lengths[:2].min() > 0.9 and lengths[2:].max() < 0.3


def test_interventions_do_what_they_are_for(plain):
    """Overlap penalties part the features at one sparsity; attacks in training shrink superposition more than noise."""
    data = SparseFeatures([0.95, 0.95, 0.95], features=10)
    strengths = train_toys(data, 3, overlap=[0.0, 0.01, 0.1], **QUICK)
    assert (interference(strengths.W).sum(1).diff() < 0).all()
    assert (features_per_dimension(strengths.W).diff() < -0.1).all()
    torch.testing.assert_close(strengths.W[0], plain.W[2], atol=2e-3, rtol=0)
    decayed = train_toys(data, 3, weight_decay=[0.0, 0.3, 3.0], **QUICK)
    assert (decayed.W.norm(dim=(1, 2)).diff() < 0).all()
    found = {on: train_toys(data, 3, train_on=on, share=[0.0, 0.2, 0.4], **QUICK) for on in ("attacked", "noisy")}
    drop = {on: -features_per_dimension(toys.W).diff() for on, toys in found.items()}
    assert (drop["attacked"] > 0.1).all() and (drop["attacked"] > 3 * drop["noisy"]).all()
    torch.testing.assert_close(found["noisy"].W[0], plain.W[2], atol=2e-3, rtol=0)


def test_a_model_trained_on_attacks_resists_them():
    data = SparseFeatures([0.9], features=10)
    plain, robust, many = (train_toys(data, 3, train_on=on, attack_steps=steps, share=0.3, steps=300, batch_size=128)
                           for on, steps in (("clean", 1), ("attacked", 1), ("attacked", 4)))
    x = plain.samples(2000, seed=5)

    def attacked(toys):
        return float(toys.errors(pgd(toys.loss_about(x), x, toys.radius(0.3)), x).mean())

    assert max(attacked(robust), attacked(many)) < 0.95 * attacked(plain)


@pytest.mark.parametrize("wrong, message", [
    (lambda: SparseFeatures([]), "at least one"), (lambda: SparseFeatures([1.0]), "below 1"),
    (lambda: SparseFeatures([0.5], features=0), "features=0"),
    (lambda: train_toys(SparseFeatures([0.5]), train_on="fish"), "train_on is 'fish'"),
    (lambda: train_toys(SparseFeatures([0.5]), seeds=[]), "at least 1"),
    (lambda: train_toys(SparseFeatures([0.5]), steps=0), "steps=0"),
    (lambda: train_toys(SparseFeatures([0.5]), overlap=[1.0, 2.0]), "overlap is"),
    (lambda: train_toys(SparseFeatures([0.5]), weight_decay=-1.0), "weight_decay is"),
    (lambda: train_toys(SparseFeatures([0.5]), importance=[1.0]), "expected 100 weights")])
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_training_that_diverges_says_so():
    with pytest.raises(ValueError, match="diverged"):
        train_toys(SparseFeatures([0.5], features=4), 2, steps=30, weight_decay=1e4)


def test_toys_are_a_plain_record():
    pair = Toys(torch.tensor([[[1.0, -1.0]]]), torch.zeros(1, 2), SparseFeatures([0.9], 2), torch.tensor([0]),
                torch.tensor([5]), torch.ones(2))
    assert len(pair) == 1 and pair.sparsity.tolist() == pytest.approx([0.9])
    assert float(pair.radius(0.5)) == pytest.approx(0.5 * float(pair.data.mean_norm()))
