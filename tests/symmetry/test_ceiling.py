"""The linear reference against planted orbits and scikit-learn's ridge."""

import numpy as np
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.coders import SecondMoments
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import load_model, patch_model
from groupcc_lite.orbits import OrbitStore, sample_orbits
from groupcc_lite.stimuli import DrawingSource, TensorImages
from groupcc_lite.symmetry.ceiling import (
    RIDGES,
    ceiling_curve,
    fitting_batches,
    interval_over_images,
    linear_ceiling,
    linear_map,
    missed_by_image,
)


def test_the_ceiling_is_one_for_linear_orbits_and_zero_for_independent_ones():
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(3000, 5, generator=generator)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=generator)).Q
    blocks = torch.stack([x0, x0 @ rotation, torch.randn(3000, 5, generator=generator), x0 @ rotation + 3], dim=1)
    blocks[:, 3] += torch.randn(3000, 5, generator=generator)  # as much noise as signal
    ceiling = linear_ceiling(blocks[:2000].split(200), blocks[2000:].split(200))
    assert ceiling[:2].min() > 0.999 and abs(float(ceiling[2])) < 0.02
    assert float(ceiling[3]) == pytest.approx(0.5, abs=0.05)


def test_the_ceiling_equals_scikit_learns_ridge():
    from sklearn.linear_model import Ridge

    generator = torch.Generator().manual_seed(1)
    blocks = torch.randn(400, 2, 4, generator=generator)
    blocks[:, 1] += blocks[:, 0].roll(1, 1)
    ours = linear_ceiling(blocks[:300].split(30), blocks[300:].split(50), ridges=(0.01,))
    kept = blocks[:300].numpy()  # those that chose the ridge are fitted too
    covariance = np.cov(kept[:, 0].T, bias=True)
    model = Ridge(alpha=len(kept) * 0.01 * np.trace(covariance) / 4).fit(kept[:, 0], kept[:, 1])
    test = blocks[300:].numpy()
    residual = np.square(test[:, 1] - model.predict(test[:, 0])).sum()
    variance = np.square(test[:, 1] - test[:, 1].mean(0)).sum()
    assert float(ours[1]) == pytest.approx(1 - residual / variance, abs=1e-4)


def noisy_orbits(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 30, generator=generator)
    return torch.stack([x, x.roll(1, 1) + torch.randn(rows, 30, generator=generator)], dim=1)


def test_the_curve_rises_to_the_ceiling_of_all_portions_together():
    train, test = noisy_orbits(2000), noisy_orbits(2000, seed=1).split(500)
    parts = [train[a:b].split(40) for a, b in ((0, 200), (200, 600), (600, 2000))]
    curve = ceiling_curve(parts, test)
    assert curve.shape == (3, 2) and (curve[:, 1].diff() > 0.01).all()
    assert float(curve[2, 1]) == pytest.approx(0.5, abs=0.05)
    assert torch.equal(curve[0], linear_ceiling(parts[0], test))
    assert torch.equal(curve[2], linear_ceiling([*parts[0], *parts[1], *parts[2]], test))
    alone = linear_ceiling(parts[2], test)
    assert not torch.equal(alone, curve[2])


def test_all_training_rows_are_fitted_and_a_strong_penalty_can_be_chosen(tmp_path):
    """Of few rows none is to be wasted, and noise asks for a penalty that a large store never needs."""
    rows, test = few_and_noisy(90), few_and_noisy(2000, seed=1).split(500)
    store = OrbitStore.from_batches(tmp_path / "s", [rows], cyclic(2))
    batches = list(fitting_batches(store))
    assert torch.cat(batches).shape == rows.shape and len(batches) > 5
    moments = SecondMoments()
    for batch in batches:
        moments.add(batch[:, 0], batch)
    for ours, expected in zip(linear_map(batches, ridges=(0.3,)), moments.fit(0.3), strict=True):
        torch.testing.assert_close(ours, expected)
    found = {ridges: float(linear_ceiling(batches, test, ridges=ridges)[1]) for ridges in (RIDGES, RIDGES[:5])}
    assert found[RIDGES] > found[RIDGES[:5]] + 0.05


def few_and_noisy(rows, seed=0):
    x, noise = torch.randn(2, rows, 60, generator=torch.Generator().manual_seed(seed)).unbind()
    return torch.stack([x, x.flip(1) + 2 * noise], dim=1)


def test_the_map_explains_what_the_ceiling_says():
    train, test = noisy_orbits(600).split(100), noisy_orbits(400, seed=1)
    W, b = linear_map(train)
    x = test.double()
    missed = (x - torch.einsum("bc,cgd->bgd", x[:, 0], W) - b).square().sum((0, 2))
    spread = (x - x.mean(0)).square().sum((0, 2))
    torch.testing.assert_close((1 - missed / spread).float(), linear_ceiling(train, [test]), atol=1e-5, rtol=1e-5)


def test_what_is_missed_is_summed_by_image_and_drawn_in_pairs(tmp_path):
    model, action = small_model(), PlanarAction(cyclic(4))
    images = TensorImages(noise_images(6, model.input_size))
    store = OrbitStore.make(tmp_path / "s", model, action, images, points_per_image=9, mask_radius=8.0, progress=False)
    fitted = linear_map(noisy_blocks(store, 40).split(10))
    missed, about = missed_by_image(fitted, store)
    x = torch.cat(list(store.in_order())).double()
    own = x[store.image == 2]
    expected = (own - torch.einsum("bc,cgd->bgd", own[:, 0], fitted[0]) - fitted[1]).square().sum((0, 2))
    np.testing.assert_allclose(missed[2], expected, rtol=1e-4)
    np.testing.assert_allclose(about.sum(0), (x - x.mean(0)).square().sum((0, 2)), rtol=1e-4)
    assert interval_over_images(lambda a, b: float(a.sum() - b.sum()), missed, missed) == (0.0, 0.0)
    low, high = interval_over_images(lambda a: float(a.sum()), missed)
    assert low < missed.sum() < high
    for bad in ((missed, missed[:3]), (missed[:1],)):
        with pytest.raises(ValueError, match="expected the same number for all"):
            interval_over_images(lambda *a: 0.0, *bad)


def test_the_interval_over_images_holds_the_truth_nineteen_times_in_twenty():
    """Of a mean and of a paired difference, of which a level that both ways share is no part."""
    rng, inside, paired = np.random.default_rng(0), [], []
    for seed in range(500):
        level = 10 * rng.normal(size=(80, 1))
        first, second = level + rng.normal(size=(80, 1)), level + rng.normal(size=(80, 1))
        low, high = interval_over_images(lambda a: float(a.mean()), first, draws=300, seed=seed)
        inside.append(low <= 0 <= high)
        low, high = interval_over_images(lambda a, b: float(a.mean() - b.mean()), first, second, draws=300, seed=seed)
        paired.append(low <= 0 <= high and high - low < 1)
    assert np.mean(inside) == pytest.approx(0.945, abs=0.025) and np.mean(paired) == pytest.approx(0.945, abs=0.025)


def noisy_blocks(store, rows):
    x = store.rows(range(rows))
    return x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def test_random_weights_score_higher_than_trained_ones():
    """Why the ceiling is no measure of what was learned: were this to fail, the book's chapter 2 would be wrong."""
    trained, action = load_model("tiny-inception"), PlanarAction(dihedral(4))
    images = DrawingSource(60, action.source_size(trained.input_size), seed=0).load(range(60))
    found = {}
    for name, model in (("trained", trained), ("untrained", load_model("tiny-inception", weights="random")),
                        ("pixels", patch_model(trained))):
        blocks = sample_orbits(model, action, images, points_per_image=20).blocks
        found[name] = float(linear_ceiling(blocks[:900].split(90), blocks[900:].split(100))[1:].mean())
    assert found["pixels"] > found["untrained"] > found["trained"] + 0.05


def test_too_few_batches_are_named():
    with pytest.raises(ValueError, match="at least 2 training batches"):
        linear_ceiling([torch.zeros(3, 2, 2)], [torch.zeros(3, 2, 2)])
    with pytest.raises(ValueError, match="at least 2 training batches"):
        linear_map([torch.zeros(3, 2, 2)])
    with pytest.raises(ValueError, match="portions is empty"):
        ceiling_curve([], [torch.zeros(3, 2, 2)])
    with pytest.raises(ValueError, match="held_out is empty"):
        ceiling_curve([noisy_orbits(20).split(5)], [])


def test_the_ceiling_does_not_depend_on_the_mean_or_the_units():
    x = few_and_noisy(3000)
    expected = linear_ceiling(x[:2000].split(200), x[2000:].split(200))
    assert 0.15 < float(expected[1]) < 0.25
    for other in (x + 1000, 1e-9 * x):
        found = linear_ceiling(other[:2000].split(200), other[2000:].split(200))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
