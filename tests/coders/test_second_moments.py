"""One pass of sums, against numpy's and torch's own on everything at once."""

import pytest
import torch

from groupcc_lite.coders import SecondMoments


def data(count=60):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, generator=generator).double() + 1
    y = torch.einsum("bp,pgd->bgd", x, torch.randn(3, 4, 2, generator=generator).double()) + 5
    return x, y + 0.5 * torch.randn(count, 4, 2, generator=generator).double()


def summed(x, y, size=7):
    moments = SecondMoments()
    for parts in zip(x.split(size), y.split(size), strict=True):
        moments.add(*parts)
    return moments


def test_sums_are_those_of_the_whole():
    x, y = data()
    moments = summed(x, y)
    both = torch.cov(torch.cat([x, y.flatten(1)], dim=1).T, correction=0) * len(x)
    assert moments.count == 60
    torch.testing.assert_close(moments.squares, both[:3, :3])
    torch.testing.assert_close(moments.products, both[:3, 3:])
    torch.testing.assert_close(moments.mean_x, x.mean(0))
    torch.testing.assert_close(moments.mean_y, y.mean(0).flatten())


def test_the_fit_is_least_squares_and_its_fve_that_of_its_residuals():
    x, y = data()
    weights, intercept = summed(x, y).fit(ridge=0.0)
    design = torch.cat([x, torch.ones(60, 1).double()], dim=1)
    solution = torch.linalg.lstsq(design, y.flatten(1)).solution
    torch.testing.assert_close(weights.flatten(1), solution[:3])
    torch.testing.assert_close(intercept.flatten(), solution[3])
    other_x, other_y = data(30)
    residual = other_y - torch.einsum("bp,pgd->bgd", other_x, weights) - intercept
    spread = (other_y - other_y.mean(0)).square().sum((0, 2))
    torch.testing.assert_close(summed(other_x, other_y).fve(weights, intercept),
                               1 - residual.square().sum((0, 2)) / spread)
    assert summed(x, y).fit(ridge=100.0)[0].norm() < 0.1 * weights.norm()


def test_what_does_not_fit():
    x, y = data()
    with pytest.raises(ValueError, match="nothing was summed"):
        SecondMoments().squares  # noqa: B018
    moments = summed(x, y)
    with pytest.raises(ValueError, match=r"those before had 3 numbers, and blocks of \(4, 2\)"):
        moments.add(x, y[:, :2])


def test_large_means_and_small_units_lose_nothing():
    """Variances are differences of sums: float32 loses them where means are large, and floors where all is small."""
    x, y = data(4000)
    x, y = x.float() - x.mean(0), y.float() - y.mean(0)  # what adding 1,000 rounds is a thousandth of the noise
    weights, intercept = summed(x, y, 500).fit(ridge=1e-6)
    fve = summed(x, y, 500).fve(weights, intercept)
    shifted = summed(x + 1000, y + 1000, 500)
    torch.testing.assert_close(shifted.fve(*shifted.fit(ridge=1e-6)), fve, atol=1e-6, rtol=0)
    for ridge in (0.0, 1e-6):
        small = summed(1e-9 * x, 1e-9 * y, 500)
        torch.testing.assert_close(small.fit(ridge)[0], summed(x, y, 500).fit(ridge)[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(small.fve(*small.fit(ridge)), fve, rtol=1e-5, atol=1e-6)
    nothing = summed(0 * x, 0 * y, 500)
    assert not nothing.fit(ridge=0.0)[0].any() and nothing.fve(*nothing.fit(ridge=0.0)).tolist() == [1.0] * 4


def test_moments_add_up_and_neither_changes():
    x, y = data()
    both, first = summed(x, y), summed(x[:20], y[:20])
    added = first + summed(x[20:] + 0.0, y[20:])
    assert (first.count, added.count) == (20, 60)
    torch.testing.assert_close(added.squares, both.squares)
    torch.testing.assert_close(added.products, both.products)
    torch.testing.assert_close(first.squares, summed(x[:20], y[:20]).squares)
