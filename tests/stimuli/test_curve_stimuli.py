"""Arcs: their direction, curvature and contrast are what was asked for."""

import functools
import math

import pytest
import torch

from groupcc_lite.stimuli import KINDS, arcs, turned_noise

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
    """All points of the ridge lie on the circle: fitted by least squares, to three parts in a
    hundred, since a stroke has a width."""
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
        assert fitted == pytest.approx(float(SHOWN.curvature[k]), rel=0.03, abs=2e-4)


def test_mean_and_contrast_do_not_depend_on_the_direction():
    rest = SHOWN.images[:, 0].double().flatten(1) - 0.5
    means, spreads = rest.mean(1).view(-1, 72), rest.std(1).view(-1, 72)
    assert (means.amax(1) - means.amin(1)).max() < 2e-3
    assert ((spreads.amax(1) - spreads.amin(1)) / spreads.mean(1)).max() < 0.03
    outside = torch.hypot(*places()) > 32
    assert (SHOWN.images[:, 0][:, outside] - 0.5).abs().max() < 1e-6


def test_polarities_are_each_other_turned_inside_out():
    light = SHOWN.images[:, 0].double().view(2, 4, 2, 72, 64, 64)
    torch.testing.assert_close(light[:, :, 0] - 0.5, 0.5 - light[:, :, 1], atol=1e-6, rtol=0)


def test_the_step_in_brightness_is_the_same_in_all_stimuli():
    """From the ground to a stroke, and from one side of an edge to the other, whatever the curvature."""
    light = signal().view(2, 4, 2, 72, -1)
    line, edge = light[KINDS.index("line")], light[KINDS.index("edge")]
    torch.testing.assert_close(line.amax(-1), torch.full((4, 2, 72), 0.5, dtype=torch.double), atol=0.02, rtol=0)
    torch.testing.assert_close(edge.amax(-1) - edge.amin(-1), torch.full((4, 2, 72), 0.5, dtype=torch.double),
                               atol=1e-6, rtol=0)


def test_an_arc_is_at_most_half_of_a_circle():
    """Nothing of a stroke lies further along its direction than the circle's centre."""
    x, y = places()
    chosen = (SHOWN.kind == KINDS.index("line")) & (SHOWN.curvature > 0)
    for light, direction, curvature in zip(signal()[chosen][::5], SHOWN.direction[chosen][::5],
                                           SHOWN.curvature[chosen][::5], strict=True):
        along = x * math.cos(direction) + y * math.sin(direction)
        beyond = light[along > 1 / curvature + 1]
        assert not beyond.numel() or beyond.abs().max() < 1e-6
        assert light[(along < 1 / curvature - 1) & (light > 0.1)].numel() > 10


def test_stimuli_run_through_the_middle_that_was_asked_for():
    shown, moved = (arcs(65, curvatures=[1 / 12], directions=8, kinds=["line"], window=20.0, middle=middle)
                    for middle in ((0.0, 0.0), (5.0, -3.0)))
    there = moved.images[..., 2:-8, 10:-2]  # 5 to the right, 3 up
    torch.testing.assert_close(there, shown.images[..., 5:-5, 5:-7], atol=1e-6, rtol=0)


def test_responses_come_back_by_style_curvature_and_direction():
    numbers = SHOWN.table(torch.arange(len(SHOWN))[:, None].float())[0].long()
    assert numbers.shape == (4, 4, 72)
    style = 2 * SHOWN.kind + (SHOWN.polarity < 0)
    assert (style[numbers] == torch.arange(4)[:, None, None]).all()
    torch.testing.assert_close(SHOWN.curvature[numbers], torch.tensor(CURVATURES)[None, :, None].expand(4, 4, 72))
    assert (SHOWN.direction[numbers].diff(dim=2) > 0).all()


def test_a_straight_line_comes_back_after_half_a_turn_and_a_curve_does_not():
    light = SHOWN.images[:, 0].view(2, 4, 2, 72, 64, 64)[0]
    change = (light - light.roll(36, dims=2)).abs().amax((1, 2, 3, 4))
    assert change[0] < 1e-5 and (change[1:] > 0.2).all()


def test_noise_has_the_power_of_the_arc_and_turns_with_the_direction():
    shown = arcs(64, curvatures=[1 / 20], directions=8, kinds=["line"])
    noise = turned_noise(shown, seed=3)
    first, second = (images[0, 0].double() - 0.5 for images in (shown.images, noise.images))
    powers = [torch.fft.rfft2(light).abs() for light in (first, second)]
    likeness = (powers[0] * powers[1]).sum() / (powers[0].norm() * powers[1].norm())
    white = torch.fft.rfft2(torch.rand(64, 64, dtype=torch.double) - 0.5).abs()
    assert likeness > 0.9 > (powers[0] * white).sum() / (powers[0].norm() * white.norm())
    # A quarter turn of the direction is a quarter turn of the pattern, which no arc is like.
    quarter = torch.rot90(noise.images[0, 0], 1)
    inside = torch.hypot(*places()) < 28
    torch.testing.assert_close(noise.images[2, 0][inside], quarter[inside], atol=0.02, rtol=0)
    assert torch.corrcoef(torch.stack([first[inside], second[inside]]))[0, 1].abs() < 0.5
    assert not torch.equal(noise.images, turned_noise(shown, seed=4).images)


@pytest.mark.parametrize("middle", [(4.0, 0.0), (-3.5, 6.25), (0.0, -7.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_stimuli_that_were_moved_have_the_same_direction_and_stay_in_the_image(middle, kind):
    """Without a window of its own each keeps to the largest that fits about its middle, of which y points down."""
    shown = arcs(64, curvatures=[1 / 20], directions=12, kinds=[kind], middle=middle)
    x, y = places()
    x, y = x - middle[0], y + middle[1]
    light = (shown.images[:, 0].double() - 0.5) * shown.polarity[:, None, None]
    assert light[:, torch.hypot(x, y) > 32 - max(map(abs, middle))].abs().max() < 1e-6
    for picture, direction in zip(light, shown.direction.double(), strict=True):
        along = x * math.cos(direction) + y * math.sin(direction)
        if kind == "edge":
            measured = torch.atan2((picture * y).sum(), (picture * x).sum())
            assert degrees_between(measured, direction) < 0.5
        else:  # the centre of mass lies on the hollow side, in line with the middle
            moment = torch.stack([(picture * x).sum(), (picture * y).sum()]) / picture.sum()
            assert degrees_between(torch.atan2(moment[1], moment[0]), direction) < 1 and moment.norm() > 2
            assert along[(picture > 0.3)].min() > -2.5
    near = (x.square() + y.square()).argmin()
    assert kind == "edge" or light.flatten(1)[:, near].min() > 0.4


@pytest.mark.parametrize("curvature", [0.0, 1 / 12])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_direction_are_even_and_counter_clockwise(kind, curvature):
    """A quarter of the directions on, the picture is the same, a quarter turned."""
    shown = arcs(40, curvatures=[curvature], directions=16, kinds=[kind])
    light = shown.images[:16, 0]
    torch.testing.assert_close(light.roll(-4, 0), torch.rot90(light, 1, (1, 2)), atol=1e-5, rtol=0)
    assert curvature == 0 or not torch.allclose(light.roll(4, 0), torch.rot90(light, 1, (1, 2)), atol=0.1)


def test_noise_keeps_what_is_known_of_each_arc_and_the_power_of_each_kind():
    shown = arcs(48, curvatures=[0.0, 1 / 10], directions=6)
    noise = turned_noise(shown)
    for name in ("kind", "curvature", "direction", "polarity"):
        assert torch.equal(getattr(noise, name), getattr(shown, name))
    assert noise.images.shape == shown.images.shape and torch.equal(noise.images, turned_noise(shown).images)
    assert noise.images.min() >= 0 and noise.images.max() <= 1 and not torch.equal(noise.images, shown.images)
    outside = torch.hypot(*places(48)) > 24
    assert (noise.images[:, 0][:, outside] - 0.5).abs().max() < 1e-6
    powers = [torch.nn.functional.normalize(torch.fft.rfft2(images[::6, 0].double() - 0.5).abs().flatten(1), dim=1)
              for images in (shown.images, noise.images)]
    likeness = powers[1] @ powers[0].T
    assert likeness.diagonal().min() > 0.8
    # Each is like its own arc, or the one of the other polarity, which has the same power, and not like another kind.
    style = torch.arange(8) // 2
    assert (style[likeness.argmax(1)] == style).all()
    patterns = noise.images[::6, 0].flatten(1) - 0.5
    assert (torch.corrcoef(patterns) - torch.eye(8)).abs().max() < 0.6  # one pattern each


@pytest.mark.parametrize("settings, message", [
    (dict(size=4, curvatures=[0.1]), "size is 4"), (dict(size=32, curvatures=[0.1], directions=0), "directions 0"),
    (dict(size=32, curvatures=[]), "curvatures is"), (dict(size=32, curvatures=[-0.1]), "from 0 to less than 0.714"),
    (dict(size=32, curvatures=[1.0]), "as small as half a stroke"),
    (dict(size=32, curvatures=[0.1], kinds=["bar"]), "expected some of line, edge"),
    (dict(size=32, curvatures=[0.1], half_width=0.0), "expected pixels above 0"),
    (dict(size=32, curvatures=[0.1], window=-5.0), "expected pixels above 0")])
def test_what_cannot_be_drawn_is_said(settings, message):
    with pytest.raises(ValueError, match=message):
        arcs(**settings)


def test_noise_turns_about_the_middle_that_the_arcs_run_through():
    middle = (4.5, -2.5)
    shown = arcs(64, curvatures=[1 / 20], directions=8, kinds=["edge"], middle=middle)
    noise = turned_noise(shown, middle=middle, seed=1).images[:, 0]
    column, row = 36, 29  # the pixel at the middle: 31.5 + 4.5, 31.5 - 2.5
    around = noise[:, row - 20:row + 21, column - 20:column + 21]
    inside = torch.hypot(*torch.meshgrid(*[torch.arange(-20.0, 21.0)] * 2, indexing="ij")) < 18
    torch.testing.assert_close(around[2][inside], torch.rot90(around[0], 1)[inside], atol=0.02, rtol=0)
    off = turned_noise(shown, seed=1).images[:, 0, row - 20:row + 21, column - 20:column + 21]
    assert (off[2] - torch.rot90(off[0], 1))[inside].abs().max() > 0.1
