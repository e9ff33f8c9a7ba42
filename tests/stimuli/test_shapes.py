"""Drawings: turning a drawing is drawing it turned; stabilisers; scenes that depend on nothing but seed and index."""

import math

import pytest
import torch

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.stimuli.shapes import SHAPE_NAMES, SHAPES, draw, sample_drawings, shape_index, stimuli

ROUGH = 0.006  # mean absolute error that one bilinear interpolation of a drawing may cause


def _distance(a, b):
    return (a - b).abs().mean().item()


@pytest.mark.parametrize("name", SHAPE_NAMES)
def test_turning_a_drawing_is_drawing_it_turned(name):
    """r^k turns by 2 pi k / 16; s r^k turns first, then mirrors: the angle a becomes pi - a."""
    action, start = PlanarAction(dihedral(16)), 0.3
    images = action.images(draw(name, start, 138), 96)
    turned = start + torch.arange(16) * (2 * math.pi / 16)
    angles = torch.cat([turned, math.pi - turned]).double()
    expected = draw(name, angles, 96)
    assert (images[:, 0] - expected).abs().mean((1, 2, 3)).max() < ROUGH
    exact = torch.from_numpy(action.exact.copy())
    assert torch.allclose(images[exact, 0], expected[exact], atol=1e-5)
    if SHAPES[shape_index(name)].fold in (1, 2):  # negative control: clockwise would be noticed, by far
        clockwise = start - 3 * math.pi / 8
        wrong = draw(name, torch.tensor([clockwise, math.pi - clockwise], dtype=torch.float64))
        for k, control in zip((3, 16 + 3), wrong, strict=True):
            assert _distance(images[k, 0], control) > 3 * _distance(images[k, 0], expected[k])


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_NAMES)
def test_fold_and_stabiliser(shape):
    base = draw(shape, 0.7)[0]
    assert torch.allclose(draw(shape, 0.7 + shape.period)[0], base, atol=1e-5)
    if shape.fold:
        half = draw(shape, 0.7 + shape.period / 2)[0]
        assert _distance(half, base) > ROUGH / 2  # no smaller angle leaves it alone
    else:
        assert torch.allclose(draw(shape, 2.0)[0], base, atol=1e-5)
    flat = draw(shape, 0.0)[0]
    assert torch.allclose(flat.flip(-2), flat, atol=1e-5)  # the mirror across its own axis
    assert shape.stabiliser in repr(shape)


def test_the_classes():
    assert len(SHAPES) == len(set(SHAPE_NAMES)) >= 10
    stabilisers = {shape.name: shape.stabiliser for shape in SHAPES}
    assert stabilisers["line"] == "C2 x C2" and stabilisers["curve"] == "one mirror"
    assert stabilisers["cross"] == "D4" and stabilisers["circle"] == stabilisers["blob"] == "all"


def test_a_line_lies_along_its_angle():
    line = draw("line", math.pi / 4)[0, 0]
    assert line[48 - 6, 48 + 5] > 0.8 and line[48 + 5, 48 + 5] < 0.5  # up and to the right, not down


def test_position_scale_and_colours():
    image = draw("blob", 0.0, 96, scale=2.0, position=(20.0, -10.0), foreground=(1.0, 0.0, 0.0),
                 background=(0.0, 0.0, 1.0))[0]
    red = image[0] > 0.5
    rows, columns = red.nonzero().float().mean(0).tolist()
    assert abs(columns - 67.5) < 0.3 and abs(rows - 37.5) < 0.3
    assert abs(red.sum().item() - math.pi * 12**2) < 15
    assert torch.allclose(image[0] + image[2], torch.ones(96, 96)) and image[1].max() == 0


@pytest.mark.parametrize("call, words", [
    (lambda: draw("triangle"), "unknown shape 'triangle'; choose one of line"),
    (lambda: draw(99), "unknown shape 99"),
    (lambda: draw("line", size=8), "size is 8"),
    (lambda: draw("line", scale=0.0), "scale is 0"),
    (lambda: sample_drawings([]), "at least one index"),
    (lambda: sample_drawings([-1]), "negative"),
    (lambda: sample_drawings(2, seed=-1), "seed -1"),
    (lambda: stimuli(orientations=6), "multiple of 4"),
    (lambda: stimuli(contrast=0.0), "contrast is 0"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ----------------------------------------------------------------------------------------------------- scenes

def test_a_scene_depends_on_seed_and_index_only():
    many, few = sample_drawings(40, 96, seed=5), sample_drawings([33, 2], 96, seed=5)
    alone = sample_drawings([33], seed=5)
    assert torch.equal(many.images[33], few.images[0]) and torch.equal(many.images[2], few.images[1])
    assert torch.equal(alone.images[0], few.images[0]) and torch.equal(alone.shapes[0], many.shapes[33])
    assert not torch.equal(sample_drawings([33], 96, seed=6).images[0], few.images[0])
    assert not torch.equal(many.images[0], many.images[1])


def test_scenes_are_images_with_a_main_shape():
    drawings = sample_drawings(64, 138, seed=1)
    assert drawings.images.shape == (64, 3, 138, 138) and drawings.images.dtype == torch.float32
    assert drawings.images.min() >= 0 and drawings.images.max() <= 1 and len(drawings) == 64
    assert (drawings.labels >= 0).all() and not drawings.faint[:, 0].any()
    assert drawings.positions[:, 0].norm(dim=1).max() <= 10.001
    assert (drawings.shapes >= 0).sum(1).float().mean() > 8
    small = sample_drawings(64, 96, seed=1)
    assert (small.shapes >= 0).sum(1).float().mean() < (drawings.shapes >= 0).sum(1).float().mean()


def test_every_class_and_no_preferred_direction():
    drawings = sample_drawings(400, 96, seed=2)
    counts = torch.bincount(drawings.labels, minlength=len(SHAPES))
    assert counts.min() > 400 / len(SHAPES) / 3
    grey = drawings.images.mean(1)
    dx, dy = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    xx, yy, xy = (dx * dx).mean(), (dy * dy).mean(), (dx * dy).mean()
    assert abs(xx - yy) / (xx + yy) < 0.03 and abs(2 * xy) / (xx + yy) < 0.03
    striped = draw("grating", torch.full((4,), 0.1))  # negative control: this does prefer a direction
    gx, gy = striped[:, 0, :, 1:].diff().square().mean(), striped[:, 0].diff(dim=1).square().mean()
    assert abs(gx - gy) / (gx + gy) > 0.3


# ---------------------------------------------------------------------------------------------------- stimuli

def test_stimuli_cover_everything_once():
    found = stimuli(64, 16)
    orientations = sum(max(16 // shape.fold, 1) if shape.fold else 1 for shape in SHAPES)
    assert len(found) == len(found.images) == orientations * 2 * 2
    rows = set(zip(found.shape.tolist(), found.orientation.tolist(), found.polarity.tolist(), found.scale.tolist(),
                   strict=True))
    assert len(rows) == len(found) and set(found.shape.tolist()) == set(range(len(SHAPES)))
    centre = found.images[:, :, 31:33, 31:33].mean((1, 2, 3)) - found.images[:, :, 0, 0].mean(1)
    blob = found.shape == shape_index("blob")
    assert torch.equal(centre[blob].sign().long(), found.polarity[blob])


def test_stimuli_grow_with_the_image():
    small, large = (stimuli(size, 4, scales=None).images for size in (48, 96))
    assert _distance(torch.nn.functional.avg_pool2d(large, 2), small) < 0.02


def test_elements_move_the_stimuli_as_they_move_the_images():
    action, shown = PlanarAction(dihedral(4)), stimuli(32, 16)
    images = action.images(shown.images, 32)
    for h in range(8):
        moved = shown.act(action, h)
        assert torch.allclose(shown.images[moved], images[h], atol=1e-5)
    assert shown.act(action, 0) == list(range(len(shown))) != shown.act(action, 1)  # negative control


@pytest.mark.parametrize("group, orientations", [(dihedral(16), 32), (cyclic(6), 96), (dihedral(8), 64)], ids=str)
def test_moving_stimuli_is_an_action(group, orientations):
    action, shown = PlanarAction(group), stimuli(24, orientations)
    moved = [shown.act(action, h) for h in range(group.order)]
    for a in range(0, group.order, 3):
        for b in range(group.order):
            assert [moved[a][k] for k in moved[b]] == moved[group.table[a, b]]


def test_moved_stimuli_are_those_of_the_angles():
    """r adds 2 pi / n, s turns an angle a into pi - a; counted in steps, modulo what looks alike."""
    n, steps = 8, 32
    action, shown = PlanarAction(dihedral(n)), stimuli(24, steps)
    ticks = (shown.orientation * steps / (2 * math.pi)).round().long().tolist()
    kinds = list(zip(shown.shape.tolist(), shown.polarity.tolist(), shown.scale.tolist(), strict=True))
    place = {(kind, tick): k for k, (kind, tick) in enumerate(zip(kinds, ticks, strict=True))}
    for h in range(2 * n):
        turned = [tick + (h % n) * steps // n for tick in ticks]
        turned = [steps // 2 - tick for tick in turned] if h >= n else turned
        assert shown.act(action, h) == [place[kind, tick % kinds.count(kind)]
                                        for kind, tick in zip(kinds, turned, strict=True)]


def test_orientations_that_the_group_leaves_are_named():
    with pytest.raises(ValueError, match=r"element r of C_6 turns drawing .* degrees, and none of these drawings"):
        stimuli(24, 16).act(PlanarAction(cyclic(6)), 1)
