"""JumpReLU with trained thresholds: its pseudo-gradients, what they are invariant to, and what training makes of it."""

import pytest
import torch

from groupcc_lite.answers import plant
from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder, SparseAutoencoder, evaluate, train
from groupcc_lite.coders.losses import jump_relu
from groupcc_lite.groups import cyclic


def crowded(bandwidth=0.1, thresholds=(0.5, 0.8, 0.6)):
    """Three latents in a plane, so that none is alone, and dictionary vectors of three lengths."""
    coder = SparseAutoencoder(2, 3, activation="jumprelu", bandwidth=bandwidth, seed=1)
    with torch.no_grad():
        coder.W_e.copy_(torch.tensor([[1.0, 0.2], [0.3, 1.0], [-0.8, 0.5]]))
        coder.W_d[:, 0] = torch.tensor([[1.5, 0.1], [0.2, 0.7], [-0.5, 0.6]])
        coder.log_threshold.copy_(torch.tensor(thresholds).log())
    return coder


def smoothed_slope(coder, x, i, sparsity):
    """Derivative in theta_i of the mean objective whose theta_i is spread evenly over the kernel: a difference."""
    width = coder.bandwidth / float(coder.W_d[i].detach().norm())
    values, before = [], coder.log_threshold.detach().clone()
    for end in (0.5, -0.5):
        with torch.no_grad():
            coder.log_threshold[i] = (before[i].exp() + end * width).log()
            values.append(float(coder.loss(x, sparsity=sparsity)[0]))
            coder.log_threshold.copy_(before)
    return (values[0] - values[1]) / width


def test_pseudo_gradients_are_those_of_the_smoothed_objective():
    """Half of the kernel is off and half on: the error is a parabola, and its slope's mean over both ends is exact."""
    x = 3 * torch.rand(400_000, 1, 2, generator=torch.Generator().manual_seed(0)) - 1
    coder = crowded()
    for sparsity in (0.0, 0.7):
        coder.zero_grad()
        coder.loss(x, sparsity=sparsity)[0].backward()
        ours = coder.log_threshold.grad / coder.thresholds.detach()  # d theta = theta d log theta
        expected = [smoothed_slope(coder, x, i, sparsity) for i in range(3)]
        assert ours.tolist() == pytest.approx(expected, abs=0.01)
        assert max(map(abs, expected)) > 0.1


def test_of_the_count_they_are_so_for_every_sample():
    pre = torch.linspace(-1, 2, 301)[:, None].double()
    for theta in (0.3, 0.704):
        threshold = torch.tensor([theta], dtype=torch.double, requires_grad=True)
        jump_relu(pre, threshold, torch.tensor([0.2]))[1].backward()
        share = [float((pre > theta + end).double().mean()) for end in (0.1, -0.1)]
        assert float(threshold.grad) == pytest.approx((share[0] - share[1]) / 0.2)


def test_latents_and_other_gradients_are_plain():
    pre = torch.tensor([[0.4, 0.6], [-1.0, 0.51]], requires_grad=True)
    f, count = jump_relu(pre, torch.tensor([0.3, 0.5]), torch.tensor([0.1, 0.1]))
    assert f.tolist() == [[0.4000000059604645, 0.6000000238418579], [0.0, 0.5099999904632568]]
    assert float(count.detach()) == 1.5
    (f.sum() + 100 * count).backward()
    assert pre.grad.tolist() == [[1, 1], [0, 1]]  # none from the count
    coder, x = crowded(), torch.randn(64, 1, 2, generator=torch.Generator().manual_seed(0))
    total, parts = coder.loss(x, sparsity=0.3)
    total.backward()
    ours = {name: p.grad.clone() for name, p in coder.named_parameters() if name != "log_threshold"}
    coder.zero_grad()
    (coder(x).reconstruction - x).square().sum((1, 2)).mean().backward()
    for name, grad in ours.items():
        torch.testing.assert_close(grad, coder.get_parameter(name).grad, msg=name)
    fired = (coder.encode(x[:, 0]) > 0).float().sum(1).mean()
    assert float(parts["l0"]) == float(fired) and float(parts["penalty"]) == pytest.approx(0.3 * float(fired))
    assert float(total.detach()) == pytest.approx(float(parts["reconstruction"] + parts["penalty"]))


def test_rescaling_a_latent_against_its_dictionary_vector_changes_nothing():
    coder = GroupCrosscoder(cyclic(3), 4, 8, activation="jumprelu", bandwidth=0.5, seed=2)
    x = torch.randn(400, 3, 4, generator=torch.Generator().manual_seed(0))
    found = []
    for factor in (1, 4):
        with torch.no_grad():
            coder.W_e[1] *= factor
            coder.b_e[1] *= factor
            coder.log_threshold[1] += torch.tensor(float(factor)).log()
            coder.W_d[1] /= factor
        coder.zero_grad()
        total, _ = coder.loss(x, sparsity=0.3)
        total.backward()
        found.append((total.detach(), coder.log_threshold.grad.clone(), coder(x).reconstruction.detach()))
    assert found[0][1].abs().min() > 0
    for before, after in zip(*found, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_a_vector_of_no_length_does_no_harm():
    coder = crowded()
    with torch.no_grad():
        coder.W_d[0] = 0
    coder.loss(torch.ones(5, 1, 2), sparsity=0.1)[0].backward()
    assert all(torch.isfinite(p.grad).all() for p in coder.parameters())


def test_dead_and_living_latents_are_counted():
    coder = crowded(thresholds=(0.5, 0.8, 1e6))
    x = torch.ones(30, 1, 2)
    _, parts = coder.loss(x, dead_after=40)
    assert float(parts["dead"]) == 0 and coder.idle.tolist() == [0, 0, 30]
    _, parts = coder.loss(x, dead_after=40)
    assert float(parts["dead"]) == pytest.approx(1 / 3) and float(parts["l0"]) == 2
    coder.eval()
    coder.loss(x)
    assert coder.idle.tolist() == [0, 0, 60]


@pytest.fixture(scope="module")
def planted():
    return plant(cyclic(1), channels=32, superposition=2.0, noise=0.05, active=4.0)


def learnt(planted, **settings):
    source = planted.source(8000)
    sparsity = settings.pop("sparsity", 0.0)
    sae = SparseAutoencoder(32, 96, scale=source.scale, **settings)
    rows = train(sae, source, steps=600, batch_size=512, lr=5e-3, sparsity=sparsity, progress=False)
    return sae, rows


def test_training_explains_as_much_as_topk_with_as_many_latents(planted):
    held_out = planted.source(2000, seed=1)
    sae, rows = learnt(planted, activation="jumprelu", bandwidth=1.0, sparsity=1.0)
    ours = evaluate(sae, held_out)
    topk = evaluate(learnt(planted, activation="topk", k=4)[0], held_out)
    assert ours.l0 < topk.l0 + 0.1 and ours.fve > topk.fve - 0.02
    assert ours.dead < 0.15 and {"penalty", "l0", "dead", "fve"} <= rows[-1].keys()
    # Thresholds have left the place where they began, each for its own.
    assert sae.thresholds.min() > 0 and sae.thresholds.std() > 0.05
    again, _ = learnt(planted, activation="jumprelu", bandwidth=1.0, sparsity=1.0)
    assert again.fingerprint == sae.fingerprint


def test_a_larger_penalty_leaves_fewer_latents_on(planted):
    held_out = planted.source(500, seed=1)
    l0 = [evaluate(learnt(planted, activation="jumprelu", bandwidth=1.0, sparsity=sparsity)[0], held_out).l0
          for sparsity in (0.3, 2.0)]
    assert l0[1] < 0.6 * l0[0]


def test_save_and_load_keep_thresholds_and_training_goes_on(tmp_path):
    coder = crowded()
    coder.save(tmp_path)
    again = SparseAutoencoder.load(tmp_path)
    assert again.bandwidth == 0.1 and again.fingerprint == coder.fingerprint
    assert torch.equal(again.thresholds, coder.thresholds)
    x = torch.rand(50, 1, 2)
    assert torch.equal(again(x).reconstruction, coder(x).reconstruction)
    again.loss(x, sparsity=0.1)[0].backward()
    assert again.log_threshold.grad is not None
    fitted = FittedCrosscoder(again, cyclic(4))
    fitted.save(tmp_path / "fitted")
    assert torch.equal(FittedCrosscoder.load(tmp_path / "fitted").encode(x[:, 0]), coder.encode(x[:, 0]))


def test_fixed_thresholds_are_saved_as_they_were_before_any_were_trained():
    fixed = SparseAutoencoder(2, 3, activation="jumprelu")
    assert "bandwidth" not in fixed.config and "threshold" in fixed.state_dict()
    assert not any("log" in name for name in fixed.state_dict())
    assert torch.equal(fixed.thresholds, fixed.threshold)
    trained = crowded().state_dict()
    assert "log_threshold" in trained and "threshold" not in trained


@pytest.mark.parametrize("call, message", [
    (lambda: SparseAutoencoder(2, 3, activation="relu", bandwidth=0.1), "bandwidth is 0.1 with activation 'relu'"),
    (lambda: SparseAutoencoder(2, 3, activation="jumprelu", bandwidth=0.0), "bandwidth is 0.0"),
    (lambda: SparseAutoencoder(2, 3, activation="jumprelu", bandwidth=float("inf")), "positive number"),
    (lambda: SparseAutoencoder(2, 3).thresholds, "only jumprelu has a threshold for each latent, this coder has relu"),
    (lambda: SparseAutoencoder(2, 3, activation="jumprelu").loss(torch.ones(1, 1, 2)), "build one with a bandwidth")])
def test_bad_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
