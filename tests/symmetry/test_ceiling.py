"""The linear ceiling against planted orbits and scikit-learn's ridge."""

import numpy as np
import pytest
import torch

from groupcc_lite.symmetry.ceiling import linear_ceiling


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
    kept = torch.cat([b for n, b in enumerate(blocks[:300].split(30)) if n % 5 != 1]).numpy()
    covariance = np.cov(kept[:, 0].T, bias=True)
    model = Ridge(alpha=len(kept) * 0.01 * np.trace(covariance) / 4).fit(kept[:, 0], kept[:, 1])
    test = blocks[300:].numpy()
    residual = np.square(test[:, 1] - model.predict(test[:, 0])).sum()
    variance = np.square(test[:, 1] - test[:, 1].mean(0)).sum()
    assert float(ours[1]) == pytest.approx(1 - residual / variance, abs=1e-4)


def test_too_few_batches_are_named():
    with pytest.raises(ValueError, match="at least 2 training batches"):
        linear_ceiling([torch.zeros(3, 2, 2)], [torch.zeros(3, 2, 2)])
