"""Attacks: what they never do, what they reach where the best is known, and that settings are refused."""

import pytest
import torch

from groupcc_lite.superposition import gradient_step, pgd, random_noise, relative_radius


def bumpy(x):
    """A loss with many maxima, for samples of any shape after the first two dimensions."""
    flat = x.flatten(2)
    return (3 * flat).sin().sum(2) + flat.square().sum(2)


def every_attack(x, eps, **box):
    return dict(pgd=pgd(bumpy, x, eps, steps=7, restarts=2, **box), step=gradient_step(bumpy, x, eps, **box),
                noise=random_noise(x, eps, lead=2, **box))


@pytest.mark.parametrize("shape", [(3, 5, 4), (2, 4, 3, 6, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_attack_leaves_the_ball(shape, dtype):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    eps = torch.linspace(0, 1, shape[0] * shape[1]).view(shape[:2])
    for name, attacked in every_attack(x, eps).items():
        norms = (attacked - x).flatten(2).norm(dim=2)
        assert (norms <= eps + 1e-6).all(), name
        assert attacked.dtype == dtype and not attacked.requires_grad
        assert name == "pgd" or torch.allclose(norms, eps.to(dtype), atol=1e-6)


def test_a_box_is_never_left_either():
    x = torch.rand(2, 4, 3, 6, 6, generator=torch.Generator().manual_seed(0)).round()
    for name, attacked in every_attack(x, 2.0, box=(0.0, 1.0)).items():
        assert attacked.min() >= 0 and attacked.max() <= 1, name
        assert ((attacked - x).flatten(2).norm(dim=2) <= 2 + 1e-6).all() and not torch.equal(attacked, x)


def test_with_no_radius_nothing_happens():
    x = torch.randn(3, 5, 4)
    assert all(torch.equal(attacked, x) for attacked in every_attack(x, 0.0).values())


def test_a_linear_loss_is_attacked_along_its_weights():
    """The most that a ball of radius eps adds to w . x is eps ||w||."""
    generator = torch.Generator().manual_seed(1)
    w, x = torch.randn(6, 1, 30, generator=generator), torch.randn(6, 9, 30, generator=generator)
    eps = torch.linspace(0.1, 2, 6)[:, None]
    best = x + eps[..., None] * w / w.norm(dim=2, keepdim=True)
    torch.testing.assert_close(gradient_step(lambda x: (x * w).sum(2), x, eps), best)
    torch.testing.assert_close(pgd(lambda x: (x * w).sum(2), x, eps, steps=40), best, atol=3e-4, rtol=0)


def test_a_linear_model_is_attacked_along_its_first_singular_vector():
    """||A (x + delta)||^2 from x = 0: at most eps^2 times the largest squared singular value, on which no gradient
    points from the start."""
    A = torch.randn(5, 8, generator=torch.Generator().manual_seed(2))
    attacked = pgd(lambda x: (x @ A.T).square().sum(1), torch.zeros(20, 8), 0.3, steps=200)
    reached = (attacked @ A.T).square().sum(1) / (0.09 * torch.linalg.matrix_norm(A, 2) ** 2)
    assert reached.min() > 0.999 and reached.max() < 1 + 1e-5
    assert torch.equal(gradient_step(lambda x: (x @ A.T).square().sum(1), torch.zeros(20, 8), 0.3), torch.zeros(20, 8))


def test_more_steps_restarts_and_room_raise_the_loss():
    x = torch.randn(1, 200, 5, generator=torch.Generator().manual_seed(3))
    clean, noisy = bumpy(x), bumpy(random_noise(x, 1.0, lead=2))
    assert (bumpy(pgd(bumpy, x, 1.0, steps=1)) >= clean).all()
    by_steps = [float(bumpy(pgd(bumpy, x, 1.0, steps=steps)).mean()) for steps in (1, 5, 25, 100)]
    assert by_steps == sorted(by_steps) and by_steps[0] > float(noisy.mean())
    by_restarts = [bumpy(pgd(bumpy, x, 1.0, restarts=restarts)) for restarts in (1, 2, 4)]
    assert all((more >= less).all() for less, more in zip(by_restarts, by_restarts[1:], strict=False))
    by_room = [float(bumpy(pgd(bumpy, x, eps, restarts=3)).mean()) for eps in (0.1, 0.3, 1.0, 2.0)]
    assert by_room == sorted(by_room)


def test_behind_a_relu_the_other_side_is_found():
    attacked = pgd(lambda x: x[:, 0].relu(), torch.zeros(50, 1), 0.5)
    torch.testing.assert_close(attacked, torch.full((50, 1), 0.5))


def test_a_sample_is_attacked_as_it_would_be_alone():
    """Each by its own gradient: losses of very different size do not mix, tiny gradients do not vanish."""
    w = torch.tensor([[1e-25, 1e-25], [1e25, 0.0]])
    attacked = gradient_step(lambda x: (x * w).sum(1), torch.zeros(2, 2), 1.0)
    torch.testing.assert_close(attacked, torch.tensor([[0.5**0.5, 0.5**0.5], [1.0, 0.0]]))


def test_attacks_repeat():
    x = torch.randn(2, 5, 4)
    assert torch.equal(pgd(bumpy, x, 1.0, seed=4), pgd(bumpy, x, 1.0, seed=4))
    assert torch.equal(random_noise(x, 1.0, seed=4), random_noise(x, 1.0, seed=4))
    assert not torch.equal(random_noise(x, 1.0, seed=4), random_noise(x, 1.0, seed=5))


def test_noise_has_no_direction():
    noise = random_noise(torch.zeros(20_000, 5), 1.0)
    assert noise.mean(0).abs().max() < 0.02
    torch.testing.assert_close(noise.T @ noise / len(noise), torch.eye(5) / 5, atol=0.01, rtol=0)


def test_the_radius_is_a_share_of_the_mean_norm():
    x = torch.stack([torch.full((4, 9), 1.0), torch.full((4, 9), 2.0)])
    torch.testing.assert_close(relative_radius(x, 0.1, lead=2), torch.tensor([[0.3], [0.6]]))
    torch.testing.assert_close(relative_radius(x[1], 0.5), torch.tensor(3.0))


@pytest.mark.parametrize("wrong, message", [
    (lambda x: pgd(bumpy, x, -1.0), "eps is -1"), (lambda x: pgd(bumpy, x, float("nan")), "eps is nan"),
    (lambda x: pgd(bumpy, x, 1.0, steps=0), "steps is 0"), (lambda x: pgd(torch.sum, x, 1.0), "one loss"),
    (lambda x: pgd(lambda x: x, x, 1.0), "one loss"), (lambda x: pgd(bumpy, x, 1.0, box=(0.0, 0.5)), "in the box"),
    (lambda x: random_noise(x, 1.0, box=(0.0, 0.5)), "in the box"), (lambda x: relative_radius(x, -0.1), "share is"),
    (lambda x: relative_radius(x, 0.1, lead=3), "lead 3"), (lambda x: gradient_step(torch.sum, x, 1.0), "one loss")])
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(torch.ones(2, 3, 4))
