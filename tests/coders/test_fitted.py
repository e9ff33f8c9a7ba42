"""The fitted decoder is the least-squares one, and leaves the latents as they are."""

import pytest
import torch

from groupcc_lite.answers import plant, score
from groupcc_lite.coders import BlockSparseAutoencoder, train
from groupcc_lite.coders.crosscoder import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.coders.fitted import FittedCrosscoder, fit_blocks, moments
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import IdentityBlocks, TensorOrbits


@pytest.fixture(scope="module")
def problem():
    return plant(dihedral(2), channels=12, superposition=1.0, active=2.0, seed=3)


@pytest.fixture(scope="module")
def orbits(problem):
    return problem.source(1500)


@pytest.fixture(scope="module")
def sae(problem, orbits):
    coder = SparseAutoencoder(12, 20, activation="topk", k=2, scale=orbits.scale)
    train(coder, IdentityBlocks(orbits), steps=300, batch_size=128, lr=5e-3, progress=False)
    return coder


def test_it_is_the_least_squares_decoder(sae, orbits):
    """Against numpy's solver, with an intercept as one more latent that is always on."""
    fitted = fit_blocks(sae, orbits, ridge=0.0)
    f = sae.encode(orbits.blocks[:, 0]).detach().double()
    design = torch.cat([f, torch.ones(len(f), 1).double()], dim=1)
    target = (orbits.blocks * orbits.scale).flatten(1).double()
    oracle = design @ torch.linalg.pinv(design) @ target
    found = (fitted.decode(f.float()) * sae.scale).flatten(1).double()
    torch.testing.assert_close(found, oracle, atol=1e-4, rtol=0)


def test_moments_are_those_of_numpy_and_a_large_ridge_leads_to_averaged_orbits(sae, orbits):
    f, x = sae.encode(orbits.blocks[:, 0]).detach().double(), orbits.blocks.flatten(1).double()
    summed = moments(sae, orbits, batch_size=400)
    together = torch.cov(torch.cat([f, x], dim=1).T, correction=0) * len(f)
    torch.testing.assert_close(summed.squares, together[:20, :20], atol=1e-2, rtol=1e-5)
    torch.testing.assert_close(summed.products, together[:20, 20:], atol=1e-2, rtol=1e-5)
    torch.testing.assert_close(summed.mean_x, f.mean(0), atol=1e-5, rtol=1e-5)
    averaged = torch.stack([(f[:, [i]] * (x - x.mean(0))).sum(0) for i in range(20)])
    fires = averaged.norm(dim=1) > 0
    assert torch.cosine_similarity(summed.blocks(1e6), averaged, dim=1)[fires].min() > 0.9999
    assert torch.cosine_similarity(summed.blocks(0.0), averaged, dim=1)[fires].min() < 0.99  # not the same thing


def test_latents_are_the_autoencoders_own(sae, orbits):
    fitted = fit_blocks(sae, orbits)
    x = orbits.blocks[:50]
    assert torch.equal(fitted(x).latents, sae.encode(x[:, 0]))
    assert fitted.dictionary.shape == (20, 4, 12) and fitted(x).reconstruction.shape == x.shape


def test_it_recovers_planted_blocks(sae, orbits, problem):
    """The first blocks come from training, the others from the fit only; random blocks recover nothing."""
    assert score(fit_blocks(sae, orbits).dictionary, problem).cosine > 0.9
    shuffled = TensorOrbits(torch.cat([orbits.blocks[:, :1], orbits.blocks[torch.randperm(len(orbits)), 1:]], 1),
                            problem.group)
    assert score(fit_blocks(sae, shuffled).dictionary, problem).cosine < 0.8


def test_a_latent_that_never_fires_gets_zeros(orbits):
    silent = SparseAutoencoder(12, 5, activation="relu", scale=orbits.scale)
    with torch.no_grad():
        silent.b_e[2] = -1e6
    fitted = fit_blocks(silent, orbits)
    assert not fitted.dictionary[2].any() and torch.isfinite(fitted.dictionary).all()


def test_save_and_load(sae, orbits, tmp_path):
    fitted = fit_blocks(sae, orbits)
    fitted.save(tmp_path)
    again = FittedCrosscoder.load(tmp_path, group=dihedral(2))
    x = orbits.blocks[:20]
    assert torch.equal(again(x).reconstruction, fitted(x).reconstruction)
    with pytest.raises(ValueError, match="C_4"):
        FittedCrosscoder.load(tmp_path, group=cyclic(4))
    with pytest.raises(ValueError, match="missing"):
        FittedCrosscoder.load(tmp_path / "nothing")


def test_what_cannot_be_fitted(sae, orbits):
    with pytest.raises(ValueError, match="has its blocks already"):
        fit_blocks(GroupCrosscoder(dihedral(2), 12, 20), orbits)
    with pytest.raises(ValueError, match="reads 12 channels, the orbits have 7"):
        fit_blocks(sae, TensorOrbits(torch.randn(5, 4, 7), dihedral(2)))


def test_a_source_without_a_group_says_what_to_give(unchecked):
    with pytest.raises(ValueError, match=r"source is Tensor, which does not say its group; give TensorOrbits\(x"):
        fit_blocks(SparseAutoencoder(3, 6), torch.randn(20, 4, 3))


def test_latents_in_blocks_are_refused_since_they_would_be_loaded_as_others(orbits):
    coder = BlockSparseAutoencoder(12, blocks=10, size=2, k=1)
    for fitting in (lambda: FittedCrosscoder(coder, dihedral(2)), lambda: fit_blocks(coder, orbits)):
        with pytest.raises(ValueError, match="is a BlockSparseAutoencoder, .* fit blocks to a SparseAutoencoder"):
            fitting()


def test_the_autoencoder_itself_stays_as_it_is_and_changes_nothing_later(orbits):
    own = SparseAutoencoder(12, 20, activation="topk", k=2, scale=orbits.scale).train()
    fitted = fit_blocks(own, orbits)
    before = fitted.encode(orbits.blocks[:50, 0])
    assert own.training and not fitted.training and not fitted.sae.training
    with torch.no_grad():
        own.W_e.add_(1.0)
    assert torch.equal(fitted.encode(orbits.blocks[:50, 0]), before)


def test_moments_are_those_outside_training_whatever_the_batch_size(orbits):
    """In training BatchTopK cuts each batch by itself."""
    coder = SparseAutoencoder(12, 20, activation="batchtopk", k=2, scale=orbits.scale).train()
    with torch.no_grad():
        coder.threshold.fill_(0.5)
    few, all_at_once = (moments(coder, orbits, batch_size=size) for size in (10, 1500))
    assert coder.training
    torch.testing.assert_close(few.squares, all_at_once.squares)
    torch.testing.assert_close(few.squares, moments(coder.eval(), orbits).squares)
