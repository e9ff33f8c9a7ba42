"""Codes that are proved optimal: conditions, another solver, laws, and encoders that never do better."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder, train
from groupcc_lite.groups import cyclic
from groupcc_lite.manifolds import SphereToy, amortisation, circle_directions, optimal_codes


def problem(seed, samples=6, latents=9, channels=4):
    generator = torch.Generator().manual_seed(seed)
    D = torch.randn(latents, channels, generator=generator, dtype=torch.double)
    return torch.randn(samples, channels, generator=generator, dtype=torch.double), D


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.5, 2.0]))
def test_the_conditions_of_an_optimum_hold(seed, penalty):
    x, D = problem(seed)
    found = optimal_codes(x, D, penalty, tolerance=1e-12, most=200_000)
    pull, bound = 2 * (x - found.latents @ D) @ D.T, penalty * D.norm(dim=1)
    assert (found.latents >= 0).all() and (pull <= bound + 1e-4).all()
    active = found.latents > 1e-3
    assert not active.any() or (pull - bound)[active].abs().max() < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_another_solver_finds_the_same_loss(seed):
    x, D = problem(seed)
    found = optimal_codes(x, D, 0.5, tolerance=1e-9)
    for row, loss in zip(x.numpy(), found.loss.tolist(), strict=True):
        def objective(f, row=row):
            r = row - f @ D.numpy()
            return r @ r + 0.5 * f @ np.linalg.norm(D, axis=1), -2 * D.numpy() @ r + 0.5 * np.linalg.norm(D, axis=1)

        other = minimize(objective, np.zeros(len(D)), jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(D),
                         options=dict(ftol=1e-15, gtol=1e-10))
        assert loss == pytest.approx(other.fun, abs=1e-7)


def test_the_proved_bound_bounds():
    x, D = problem(1, samples=30)
    least = optimal_codes(x, D, 0.3, tolerance=1e-11, most=200_000).loss
    rough = optimal_codes(x, D, 0.3, tolerance=1e-2)
    assert (rough.loss >= least - 1e-9).all() and (rough.loss - least <= rough.missing + 1e-9).all()
    assert (rough.missing <= 1e-2 * x.square().sum(1)).all()
    assert rough.steps < optimal_codes(x, D, 0.3, tolerance=1e-8).steps


def test_orthonormal_directions_on_paper():
    """Soft thresholds: f_i = x_i - lambda / 2 where positive."""
    x = torch.tensor([[3.0, -1.0, 0.3], [0.0, 0.0, 0.0]])
    found = optimal_codes(x, torch.eye(3), 1.0, tolerance=1e-10)
    assert found.latents.tolist() == [[2.5, 0, 0], [0, 0, 0]] and found.latents.dtype == x.dtype
    assert found.loss.tolist() == pytest.approx([0.25 + 1 + 0.09 + 2.5, 0])


def test_turning_data_and_dictionary_changes_nothing():
    x, D = problem(2)
    q = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double)).Q
    before, after = (optimal_codes(*pair, 0.4, tolerance=1e-10) for pair in ((x, D), (x @ q, D @ q)))
    torch.testing.assert_close(after.loss, before.loss, atol=1e-8, rtol=0)
    torch.testing.assert_close(after.latents @ D, before.latents @ D, atol=1e-3, rtol=0)
    toy = SphereToy(dim=2, channels=7)
    flat, D = toy.sample(50) @ toy.frame, circle_directions(6)
    torch.testing.assert_close(optimal_codes(toy.sample(50), toy.embed(D), 0.2).loss,
                               optimal_codes(flat, D, 0.2).loss, atol=2e-6, rtol=0)


def test_longer_dictionary_vectors_cost_as_much():
    """lambda f_i ||D_i||: what a vector grows by its latent shrinks by."""
    x, D = problem(3)
    longer = torch.linspace(0.3, 4, 9, dtype=torch.double)[:, None]
    a, b = optimal_codes(x, D, 0.4, tolerance=1e-9), optimal_codes(x, D * longer, 0.4, tolerance=1e-9)
    torch.testing.assert_close(a.loss, b.loss, atol=1e-7, rtol=0)
    nothing = torch.cat([D, torch.zeros(1, 4, dtype=torch.double)])
    found = optimal_codes(x, nothing, 0.4, tolerance=1e-9)
    assert (found.latents[:, -1] == 0).all()
    torch.testing.assert_close(found.loss, a.loss, atol=1e-7, rtol=0)
    assert (optimal_codes(x, 0 * D, 0.4).latents == 0).all()


@pytest.mark.parametrize("activation, k", [("relu", None), ("topk", 3), ("batchtopk", 3), ("jumprelu", None)])
def test_no_encoder_is_better_than_the_best_codes(activation, k):
    x = torch.randn(200, 3, 5, generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        coder = GroupCrosscoder(cyclic(3), 5, 12, activation=activation, k=k, scale=0.7, seed=seed)
        found = amortisation(coder.train(), x, 0.3)
        assert (found.encoder - found.optimal).min() > -1e-5 and found.gap > 0 and coder.training


def test_the_encoders_loss_is_the_objective_of_the_coder():
    coder = GroupCrosscoder(cyclic(3), 5, 12, scale=0.7)
    x = torch.randn(200, 3, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        coder.b_d += 0.1
        coder.W_d *= 2
    total, _ = coder.loss(x, sparsity=0.3)
    assert float(amortisation(coder, x, 0.3).encoder.mean()) == pytest.approx(float(total.detach()), rel=1e-5)


def test_training_narrows_the_gap():
    toy = SphereToy(dim=2, radius=(0.5, 1.5), channels=3)
    sae = SparseAutoencoder(3, 8, seed=0)
    x = toy.sample(500, seed=1)[:, None]
    before = amortisation(sae, x, 0.2)
    train(sae, toy.source(2000), steps=200, batch_size=256, lr=2e-2, sparsity=0.2, progress=False)
    after = amortisation(sae, x, 0.2)
    assert 0 < after.gap < before.gap and (after.encoder - after.optimal).min() > -1e-5


@pytest.mark.parametrize("call, message", [
    (lambda x, D: optimal_codes(x[:, :3], D, 0.1), "samples have 3 numbers, the dictionary's vectors 4"),
    (lambda x, D: optimal_codes(x, D, 0.0), "penalty is 0.0"),
    (lambda x, D: optimal_codes(x, D, 0.1, tolerance=0.0), "tolerance 0.0"),
    (lambda x, D: optimal_codes(x * torch.nan, D, 0.1), "NaN"),
    (lambda x, D: optimal_codes(x, D, 0.01, tolerance=1e-13, most=10), "after 10 steps 6 of 6 samples are not"),
    (lambda x, D: amortisation(SparseAutoencoder(5, 3), x[:, None].float(), 0.1), r"expected \(batch, 1, 5\)"),
    (lambda x, D: amortisation(SparseAutoencoder(4, 3), x[:, None].float(), 0.0), "penalty is 0.0")])
def test_bad_input_is_refused(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call(*problem(0))
