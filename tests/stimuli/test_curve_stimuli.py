"""Arcs: their direction, curvature and contrast are what was asked for."""

import functools
import math

import pytest
import torch

from groupcc_lite.stimuli import KINDS, arcs, scrambled

CURVATURES = [0.0, 1 / 40, 1 / 20, 1 / 10]
SHOWN = arcs(64, curvatures=CURVATURES)


def degrees_between(a, b, period=2 * math.pi):
    gap = (a - b + period / 2) % period - period / 2
    return gap.abs().rad2deg()


@functools.cache
def signal():
    """Lightness about grey, by polarity +1."""
    return (SHOWN.images[:, 0].double() - 0.5) * SHOWN.polarity[:, None, None]


def places(size=64):
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return axis[None, :].expand(size, size), -axis[:, None].expand(size, size)


def test_every_combination_is_there_once():
    table = torch.stack([SHOWN.kind.double(), SHOWN.curvature.double(), SHOWN.polarity.double(),
                         SHOWN.direction.double()], 1)
    assert len(SHOWN) == len(table.unique(dim=0)) == 2 * 4 * 2 * 72
    assert SHOWN.images.min() >= 0 and SHOWN.images.max() <= 1


def test_an_edge_points_where_it_was_asked_to():
    """The light lies on the hollow side: the first moment of lightness has the direction, to half a degree."""
    x, y = places()
    chosen = SHOWN.kind == KINDS.index("edge")
    measured = torch.atan2((signal() * y).sum((1, 2)), (signal() * x).sum((1, 2)))
    assert degrees_between(measured[chosen], SHOWN.direction[chosen].double()).max() < 0.5


def test_a_curved_line_points_where_it_was_asked_to():
    """The points p of its ridge lie on a circle through the origin, 2 p . d = curvature |p|^2 for the direction d: to
    half a degree by least squares."""
    p = torch.stack(places(), -1).view(-1, 2)
    for k in range(len(SHOWN)):
        if SHOWN.kind[k] != KINDS.index("line") or SHOWN.curvature[k] == 0:
            continue
        weight = (signal()[k].clamp(min=0.15) - 0.15).view(-1, 1)
        moments, target = (weight * p).T @ p, (weight * p * p.square().sum(1, keepdim=True)).sum(0)
        w = torch.linalg.solve(moments, target)
        assert degrees_between(torch.atan2(w[1], w[0]), SHOWN.direction[k].double()) < 0.5


def test_a_straight_line_points_where_it_was_asked_to():
    """Up to half a turn: across its long axis."""
    x, y = places()
    chosen = (SHOWN.kind == KINDS.index("line")) & (SHOWN.curvature == 0)
    light = signal()[chosen].clamp(min=0)
    xx, yy, xy = ((light * part).sum((1, 2)) for part in (x * x, y * y, x * y))
    measured = 0.5 * torch.atan2(2 * xy, xx - yy) + math.pi / 2
    assert degrees_between(measured, SHOWN.direction[chosen].double(), math.pi).max() < 0.5


def test_a_line_is_as_curved_as_asked_for():
    """All points of the ridge lie on the circle: fitted by least squares, to one part in fifty."""
    x, y = places()
    for k in range(0, len(SHOWN), 7):
        if SHOWN.kind[k] != KINDS.index("line"):
            continue
        weight = signal()[k].clamp(min=0.15) - 0.15
        u = x * math.cos(SHOWN.direction[k]) + y * math.sin(SHOWN.direction[k])
        v = y * math.cos(SHOWN.direction[k]) - x * math.sin(SHOWN.direction[k])
        # On the circle u^2 + v^2 = 2 u / curvature, so curvature is the slope of 2u over u^2 + v^2.
        r2 = u * u + v * v
        fitted = float((weight * 2 * u * r2).sum() / (weight * r2 * r2).sum())
        assert fitted == pytest.approx(float(SHOWN.curvature[k]), rel=0.02, abs=2e-4)


def test_mean_and_contrast_do_not_depend_on_the_direction():
    rest = SHOWN.images[:, 0].double().flatten(1) - 0.5
    for values, bar in ((rest.mean(1), 2e-3), (rest.std(1), 2e-3)):
        by_direction = values.view(-1, 72)
        assert (by_direction.amax(1) - by_direction.amin(1)).max() < bar
    outside = torch.hypot(*places()) > 32
    assert (SHOWN.images[:, 0][:, outside] - 0.5).abs().max() < 1e-6


def test_polarities_are_each_other_turned_inside_out():
    light = SHOWN.images[:, 0].double().view(2, 4, 2, 72, 64, 64)
    torch.testing.assert_close(light[:, :, 0] - 0.5, 0.5 - light[:, :, 1], atol=0.12, rtol=0)  # but where it was cut


def test_a_straight_line_comes_back_after_half_a_turn_and_a_curve_does_not():
    light = SHOWN.images[:, 0].view(2, 4, 2, 72, 64, 64)[0]
    change = (light - light.roll(36, dims=2)).abs().amax((1, 2, 3, 4))
    assert change[0] < 1e-5 and (change[1:] > 0.2).all()


def test_scrambled_images_have_the_power_and_no_direction():
    noise = scrambled(SHOWN.images[:288], seed=3)
    torch.testing.assert_close(noise.mean((1, 2, 3)), SHOWN.images[:288].mean((1, 2, 3)), atol=0.01, rtol=0)
    x, y = places()
    light = noise[:, 0].double() - 0.5
    measured = torch.atan2((light * y).sum((1, 2)), (light * x).sum((1, 2)))
    off = degrees_between(measured, SHOWN.direction[:288].double())
    assert 60 < off.mean() < 120  # 90 by chance
    assert not torch.equal(noise, scrambled(SHOWN.images[:288], seed=4))


@pytest.mark.parametrize("settings, message", [
    (dict(size=4, curvatures=[0.1]), "size is 4"), (dict(size=32, curvatures=[0.1], directions=0), "directions 0"),
    (dict(size=32, curvatures=[]), "curvatures is"), (dict(size=32, curvatures=[-0.1]), "from 0 to less than 0.714"),
    (dict(size=32, curvatures=[1.0]), "as small as half a stroke"),
    (dict(size=32, curvatures=[0.1], kinds=["bar"]), "expected some of line, edge")])
def test_what_cannot_be_drawn_is_said(settings, message):
    with pytest.raises(ValueError, match=message):
        arcs(**settings)
