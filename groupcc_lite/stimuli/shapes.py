"""Procedurally drawn images whose symmetry is known: lines, curves, corners, crosses, discs, gratings ...

Every shape is a function of local coordinates (u, v): u along the shape's direction, v across it. All of them are
mirror images of themselves across the u axis, so a shape turned by theta is one point of its orbit under O(2), and
the subgroup that leaves it alone is named in `Shape.stabiliser`. Angles are counter-clockwise as seen on the screen,
in radians; positions are pixels from the image centre, x right, y down. Edges are antialiased.

`draw` renders one clean shape, `stimuli` a systematic set of them, `sample_drawings` cluttered scenes: several shapes
in all orientations, colours and contrasts, faint ones between them, on a smooth background, with noise. Nothing in a
scene prefers a direction. Drawing i of a seed is the same whatever batch it is drawn in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.actions import Action

_SOFTNESS = 1.4  # px over which an edge fades; over 1, so that a bilinear rotation of a drawing is close to exact
_PATCH = 44  # px; holds every shape at the largest scale of a scene, turned anyhow
_SPACING = 34.0  # px between the places of a scene's shapes
_LIGHT, _DARK = (0.9, 0.9, 0.9), (0.4, 0.4, 0.4)
_CHUNK = 16  # drawings rendered at once: few enough to stay in the processor's cache

_SAME_ANGLE = 1e-3  # radians; orientations are kept in single precision

Coverage = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """One class of shapes.

    `fold`: number of rotations that leave it alone (0: every rotation). `stabiliser`: its subgroup of O(2), which
    always contains a mirror: "one mirror", "C2 x C2" (half turn, two mirrors), "D4" or "all". `coverage(u, v, scale,
    half_width)` is the fraction of each pixel that it covers; lengths in pixels, for scale 1.

    >>> SHAPES[0]
    Shape(line, stabiliser C2 x C2)
    >>> SHAPES[0].stabiliser, math.degrees(SHAPES[0].period)
    ('C2 x C2', 180.0)
    """

    name: str
    fold: int
    coverage: Coverage

    @property
    def stabiliser(self) -> str:
        return {0: "all", 1: "one mirror", 2: "C2 x C2", 4: "D4"}[self.fold]

    @property
    def period(self) -> float:
        """Angle in radians after which the orientation repeats; 2 pi for shapes that have none."""
        return 2 * math.pi / max(self.fold, 1)

    def __repr__(self) -> str:
        return f"Shape({self.name}, stabiliser {self.stabiliser})"


def _filled(distance: Tensor) -> Tensor:
    """Coverage of the inside of a signed distance (negative inside)."""
    return (0.5 - distance / _SOFTNESS).clamp(0, 1)


def _length(u: Tensor, v: Tensor) -> Tensor:
    return (u * u + v * v).sqrt()


def _segment(u: Tensor, v: Tensor, length: Tensor, angle: float) -> Tensor:
    """Distance to the segment from the origin, `length` long, at `angle` from the u axis."""
    along, across = u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)
    return _length(along - torch.minimum(along.clamp(min=0), length), across)


def _line(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    return _filled(_length((u.abs() - 13 * scale).clamp(min=0), v) - half_width)


def _curve(radius: float) -> Coverage:
    """A piece of a circle, 26 px along, whose middle is the origin and whose hollow side faces +u."""
    half_angle = 13 / radius

    def coverage(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
        from_centre, across = radius * scale - u, v.abs()
        on_arc = (_length(from_centre, across) - radius * scale).abs()
        end_u, end_v = math.cos(half_angle) * radius * scale, math.sin(half_angle) * radius * scale
        to_end = _length(from_centre - end_u, across - end_v)
        beside = torch.atan2(across, from_centre) <= half_angle
        return _filled(torch.where(beside, on_arc, to_end) - half_width)

    return coverage


def _corner(opening_degrees: float) -> Coverage:
    """Two strokes from the origin that open towards +u."""
    half = math.radians(opening_degrees / 2)

    def coverage(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
        return _filled(_segment(u, v.abs(), 15 * scale, half) - half_width)

    return coverage


def _junction(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    """A bar across with a stem towards +u."""
    bar, stem = _segment(v.abs(), u, 12 * scale, 0.0), _segment(u, v, 14 * scale, 0.0)
    return _filled(torch.minimum(bar, stem) - half_width)


def _cross(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    arms = torch.minimum(_segment(u.abs(), v, 12 * scale, 0.0), _segment(v.abs(), u, 12 * scale, 0.0))
    return _filled(arms - half_width)


def _edge(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    """Half a disc, on the side of +u; its straight edge passes through the origin."""
    return _filled(torch.maximum(_length(u, v) - 14 * scale, -u))


def _square(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    return _filled(torch.maximum(u.abs(), v.abs()) - 8 * scale)


def _circle(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    return _filled((_length(u, v) - 11 * scale).abs() - half_width)


def _blob(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    return _filled(_length(u, v) - 6 * scale)


def _window(u: Tensor, v: Tensor, scale: Tensor) -> Tensor:
    """A round window, 14 px in radius, that fades over its last 5 px."""
    return ((14 * scale - _length(u, v)) / 5).clamp(0, 1)


def _grating(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    """Stripes along u, 7 px apart, one of them through the origin."""
    return _window(u, v, scale) * (0.5 + 0.5 * torch.cos(2 * math.pi / 7 * v / scale))


def _checks(u: Tensor, v: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    """Soft chequers, 10 px a period, one of them on the origin."""
    waves = torch.cos(2 * math.pi / 10 * u / scale) * torch.cos(2 * math.pi / 10 * v / scale)
    return _window(u, v, scale) * (0.5 + 0.5 * waves)


SHAPES: tuple[Shape, ...] = (
    Shape("line", 2, _line),
    Shape("wide curve", 1, _curve(26.0)),
    Shape("curve", 1, _curve(14.0)),
    Shape("tight curve", 1, _curve(8.0)),
    Shape("corner", 1, _corner(90.0)),
    Shape("sharp corner", 1, _corner(45.0)),
    Shape("T-junction", 1, _junction),
    Shape("edge", 1, _edge),
    Shape("cross", 4, _cross),
    Shape("square", 4, _square),
    Shape("checks", 4, _checks),
    Shape("grating", 2, _grating),
    Shape("circle", 0, _circle),
    Shape("blob", 0, _blob),
)
"""All drawn shapes."""
SHAPE_NAMES: tuple[str, ...] = tuple(shape.name for shape in SHAPES)


def shape_index(shape: str | int | Shape) -> int:
    """Place of a shape in `SHAPES`, given its name, its index or itself; ValueError lists the names."""
    if isinstance(shape, Shape) and shape in SHAPES:
        return SHAPES.index(shape)
    if isinstance(shape, str) and shape in SHAPE_NAMES:
        return SHAPE_NAMES.index(shape)
    if isinstance(shape, int) and not isinstance(shape, bool) and 0 <= shape < len(SHAPES):
        return shape
    raise ValueError(f"unknown shape {shape!r}; choose one of {', '.join(SHAPE_NAMES)}")


def _local(x: Tensor, y: Tensor, orientation: Tensor) -> tuple[Tensor, Tensor]:
    """Screen offsets from a shape's origin (y down) -> its own (u, v)."""
    cos, sin = torch.cos(orientation), torch.sin(orientation)
    return cos * x - sin * y, -sin * x - cos * y


def draw(shape: str | int | Shape, orientation: float | Float[Tensor, " b"] = 0.0, size: int = 96, *,
         scale: float = 1.0, half_width: float = 1.4, position: tuple[float, float] = (0.0, 0.0),
         foreground: Sequence[float] = _LIGHT, background: Sequence[float] = _DARK) -> Float[Tensor, "b 3 h w"]:
    """One shape on a plain background, once for each orientation (radians, counter-clockwise on the screen).

    `size`: side in pixels; `scale` multiplies the shape's size, `half_width` (pixels) is half the width of its
    strokes; `position`: pixels from the image centre. Colours are RGB in [0, 1]. Returns float32 images in [0, 1].

    >>> draw("curve", torch.tensor([0.0, math.pi / 2]), size=48).shape  # in two orientations
    torch.Size([2, 3, 48, 48])
    """
    kind = SHAPES[shape_index(shape)]
    _check_size(size)
    if scale <= 0 or half_width <= 0:
        raise ValueError(f"scale is {scale} and half_width {half_width}; expected positive numbers")
    angles = torch.as_tensor(orientation, dtype=torch.float64).reshape(-1, 1, 1)
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    u, v = _local(axis[None, None, :] - position[0], axis[None, :, None] - position[1], angles)
    covered = kind.coverage(u, v, *torch.tensor([scale, half_width], dtype=torch.float64))[:, None]
    front, back = (torch.tensor(list(c), dtype=torch.float64).view(1, 3, 1, 1) for c in (foreground, background))
    return (back + covered * (front - back)).float()


@dataclass(frozen=True)
class Stimuli:
    """Clean, centred drawings for labelling features by their responses; entry k of a field is about image k.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import dihedral
    >>> shown, action = stimuli(size=48, orientations=8), PlanarAction(dihedral(4))
    >>> moved = shown.act(action, 1)  # a quarter turn
    >>> len(shown), [round(math.degrees(shown.orientation[k])) for k in (0, moved[0])]
    (288, [0, 90])
    """

    images: Float[Tensor, "k 3 h w"]
    shape: Int[Tensor, " k"]
    orientation: Float[Tensor, " k"]
    polarity: Int[Tensor, " k"]  # +1 light on dark, -1 dark on light
    scale: Float[Tensor, " k"]

    def __len__(self) -> int:
        return len(self.shape)

    def act(self, action: Action, h: int) -> list[int]:
        """The number of the drawing that each drawing becomes when element h turns or mirrors it.

        Colours play no part: the drawings are grey. So responses z to all drawings, moved by h, are `z[self.act(action,
        h)]`. ValueError if some drawing becomes one that is not among these, as when the orientations are too few for
        the group.
        """
        angles = self.orientation.double()
        x, y = action.points(torch.stack([angles.cos(), -angles.sin()], dim=1), [h])[0].T
        turned = torch.atan2(-y, x)
        gap = turned[:, None] - angles
        period = torch.tensor([SHAPES[shape].period for shape in self.shape.tolist()], dtype=torch.float64)[:, None]
        gap = (gap - period * (gap / period).round()).abs()
        gap[[SHAPES[shape].fold == 0 for shape in self.shape.tolist()]] = 0  # a circle looks alike at every angle
        for field in (self.shape, self.polarity, self.scale):
            gap[field[:, None] != field] = math.inf
        smallest, moved = gap.min(1)
        if (smallest > _SAME_ANGLE).any():
            k = int(smallest.argmax())
            raise ValueError(f"element {action.group.names[h]} of {action.group.name} turns drawing {k} "
                             f"({SHAPE_NAMES[self.shape[k]]}) to {math.degrees(turned[k]) % 360:.1f} degrees, and none "
                             "of these drawings shows that; draw more orientations")
        return moved.tolist()


def stimuli(size: int = 96, orientations: int = 32, *, scales: Sequence[float] | None = None,
            contrast: float = 0.5) -> Stimuli:
    """Every shape x orientation x polarity x scale, grey, in the middle of `size` px images.

    `orientations` per full turn, of which a shape gets those that differ under its own symmetry: 32 for a curve, 16
    for a line, 1 for a circle. `scales` default to 0.8 and 1.25 times size / 96, so that shapes keep their share of
    the image. `contrast` is the grey difference between shape and background, around 0.5.

    >>> shown = stimuli(size=48, orientations=8)
    >>> shown.images.shape, SHAPE_NAMES[shown.shape[0]], float(shown.orientation[1])
    (torch.Size([288, 3, 48, 48]), 'line', 0.7853981852531433)
    """
    if orientations < 4 or orientations % 4:
        raise ValueError(f"orientations is {orientations}; expected a positive multiple of 4 (some shapes repeat every "
                         "quarter turn)")
    if not 0 < contrast <= 1:
        raise ValueError(f"contrast is {contrast}; expected a number in (0, 1]")
    sizes = [0.8 * size / 96, 1.25 * size / 96] if scales is None else list(scales)
    images, rows = [], []
    for index, shape in enumerate(SHAPES):
        count = max(orientations // shape.fold, 1) if shape.fold else 1
        angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / orientations)
        for scale in sizes:
            for polarity in (1, -1):
                front, back = 0.5 + polarity * contrast / 2, 0.5 - polarity * contrast / 2
                images.append(draw(index, angles, size, scale=scale, half_width=1.4 * max(scale, 0.7),
                                   foreground=(front,) * 3, background=(back,) * 3))
                rows += [(index, float(angle), polarity, scale) for angle in angles]
    return Stimuli(torch.cat(images), *(torch.tensor(column) for column in zip(*rows, strict=True)))


@dataclass(frozen=True)
class Drawings:
    """Scenes and what is in them. Slot 0 of a scene is its main shape, drawn on top, near the centre.

    `images` (b, 3, S, S) float32 in [0, 1]. `shapes` (b, k) index into SHAPES, -1 for an empty slot; `orientations`
    (b, k) radians; `positions` (b, k, 2) pixels from the image centre, x right, y down; `faint` (b, k) marks clutter
    of low contrast. `labels` (b,) is the main shape's class.

    >>> drawings = sample_drawings(4, size=64, seed=0)
    >>> len(drawings), drawings.labels.shape == drawings.shapes[:, 0].shape
    (4, True)
    """

    images: Float[Tensor, "b 3 h w"]
    shapes: Int[Tensor, "b k"]
    orientations: Float[Tensor, "b k"]
    positions: Float[Tensor, "b k 2"]
    faint: Tensor

    @property
    def labels(self) -> Int[Tensor, " b"]:
        return self.shapes[:, 0]

    def __len__(self) -> int:
        return len(self.images)


def sample_drawings(indices: int | Sequence[int], size: int = 96, seed: int = 0) -> Drawings:
    """Scenes number `indices` (or 0 .. n-1 for an int n) of the endless list that `seed` stands for.

    `size`: side in pixels; shapes keep their size in pixels (about 26), a larger scene holds more of them.

    >>> sample_drawings([7], size=64).images.equal(sample_drawings(8, size=64).images[7:])
    True
    """
    wanted = list(range(indices)) if isinstance(indices, int) else [int(i) for i in indices]
    _check_size(size)
    if not wanted or min(wanted) < 0 or seed < 0:
        raise ValueError(f"indices are {indices!r} and seed {seed}; expected at least one index, none of them "
                         "negative, and a seed of 0 or more")
    parts = [_render([_Plan(i, size, seed) for i in wanted[start:start + _CHUNK]], size)
             for start in range(0, len(wanted), _CHUNK)]
    return Drawings(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _check_size(size: int) -> None:
    if size < 16:
        raise ValueError(f"size is {size} px; expected at least 16")


def _places(size: int) -> np.ndarray:
    """Centres of a scene's slots before it is turned, (k, 2): a square lattice, the nearest to the centre first."""
    reach = size / math.sqrt(2) + 8
    steps = np.arange(-math.ceil(reach / _SPACING), math.ceil(reach / _SPACING) + 1) * _SPACING
    lattice = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    distance = np.hypot(*lattice.T)
    order = np.argsort(distance, kind="stable")
    return lattice[order][distance[order] <= reach]


class _Plan:
    """The random choices of one scene, from a generator of its own: the batch it is drawn in plays no part."""

    def __init__(self, index: int, size: int, seed: int):
        random = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
        places = _places(size)
        k = len(places)
        turn = random.random() * 2 * math.pi
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        far, to = np.sqrt(random.random(k)) * 10, random.random(k) * 2 * math.pi
        self.positions = places @ rotation.T + np.stack([far * np.cos(to), far * np.sin(to)], 1)
        self.shapes = random.integers(len(SHAPES), size=k)
        present = random.random(k) < 0.75
        self.faint = random.random(k) < 0.3
        present[0], self.faint[0] = True, False
        inside = np.abs(self.positions).max(1) < size / 2 + 14
        self.shapes[~(present & inside)] = -1
        self.orientations = random.random(k) * 2 * math.pi
        self.scales = random.uniform(0.85, 1.15, k)
        self.half_widths = random.uniform(0.9, 1.9, k)
        self.opacities = np.where(self.faint, random.uniform(0.12, 0.35, k), 1.0)
        self.background, self.colours = _colours(random, k)
        self.waves = _waves(random)
        self.noise = random.standard_normal((size, size, 3), dtype=np.float32) * (random.random() * 0.06)


def _colours(random: np.random.Generator, k: int) -> tuple[np.ndarray, np.ndarray]:
    """A background colour and k colours that differ from it in brightness by 0.25 to 0.55, either way."""
    brightness = random.uniform(0.2, 0.8)
    background = brightness + random.uniform(-0.15, 0.15, 3)
    contrast = random.uniform(0.25, 0.55, k) * np.where(random.random(k) < 0.5, 1, -1)
    outside = (brightness + contrast < 0.02) | (brightness + contrast > 0.98)
    contrast = np.where(outside, -contrast, contrast)
    tint = random.uniform(-0.2, 0.2, (k, 3))
    colours = brightness + contrast[:, None] + tint - tint.mean(1, keepdims=True)
    return background.clip(0, 1), colours.clip(0, 1)


def _waves(random: np.random.Generator) -> np.ndarray:
    """Three slow plane waves: (frequency x, frequency y, phase, red, green, blue) each; radians per pixel."""
    angle, wavelength = random.random(3) * 2 * math.pi, random.uniform(45, 200, 3)
    amplitude = random.random() * 0.08
    colour = random.uniform(0.3, 1, (3, 3)) * random.choice([-1, 1], (3, 1)) * amplitude
    frequency, phase = 2 * math.pi / wavelength, random.random(3) * 2 * math.pi
    waves = [frequency * np.cos(angle), frequency * np.sin(angle), phase]
    return np.concatenate([np.stack(waves, 1), colour], 1)


def _stack(plans: list[_Plan], field: str) -> Tensor:
    values = torch.from_numpy(np.stack([getattr(plan, field) for plan in plans]))
    return values.float() if values.is_floating_point() else values


def _render(plans: list[_Plan], size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    shapes, positions, orientations = (_stack(plans, f) for f in ("shapes", "positions", "orientations"))
    canvas, margin = _backgrounds(plans, size, _PATCH), _PATCH
    corner = (positions + (size - 1) / 2).floor().long() - _PATCH // 2 + 1  # each slot's patch: its first pixel
    offset = corner.float() - (size - 1) / 2 - positions  # from the shape's origin to that pixel
    covered = _patches(shapes, offset, orientations, _stack(plans, "scales"), _stack(plans, "half_widths"))
    covered = covered * _stack(plans, "opacities")[shapes >= 0][:, None, None]
    which = torch.full(shapes.shape, -1)
    which[shapes >= 0] = torch.arange(len(covered))
    colours, steps = _stack(plans, "colours"), torch.arange(_PATCH)
    for slot in reversed(range(shapes.shape[1])):  # the main shape last: on top
        scene = (shapes[:, slot] >= 0).nonzero().flatten()
        columns, rows = (corner[scene, slot].T[:, :, None] + steps + margin)
        place = (scene[:, None, None], rows[:, :, None], columns[:, None, :])
        alpha = covered[which[scene, slot]][..., None]
        below = canvas[place]
        canvas[place] = below + alpha * (colours[scene, slot][:, None, None] - below)
    inner = canvas[:, margin:margin + size, margin:margin + size] + _stack(plans, "noise")
    images = rearrange(inner.clamp(0, 1), "b h w c -> b c h w").contiguous()
    return images, shapes, orientations, positions, _stack(plans, "faint")


def _backgrounds(plans: list[_Plan], size: int, margin: int) -> Float[Tensor, "b h w 3"]:
    """Plain colour and slow waves, inside an empty border on which the shapes at the rim may hang over."""
    axis, waves = torch.arange(size, dtype=torch.float32) - (size - 1) / 2, _stack(plans, "waves")[:, :, :, None, None]
    canvas = torch.zeros(len(plans), size + 2 * margin, size + 2 * margin, 3)
    inner = canvas[:, margin:margin + size, margin:margin + size]
    inner += _stack(plans, "background")[:, None, None, :]
    for i in range(waves.shape[1]):
        fx, fy, phase = waves[:, i, 0], waves[:, i, 1], waves[:, i, 2]
        wave = torch.cos(fx * axis[None, None, :] + fy * axis[None, :, None] + phase)
        inner += wave[..., None] * waves[:, i, 3:, 0, 0][:, None, None, :]
    return canvas


def _patches(shapes: Tensor, offset: Tensor, orientations: Tensor, scales: Tensor, half_widths: Tensor) -> Tensor:
    """Coverage of every shape present, in order of (scene, slot), on its own patch: (n, _PATCH, _PATCH)."""
    present = shapes >= 0
    kinds, start = shapes[present], offset[present]
    turned, sized, wide = (values[present][:, None, None] for values in (orientations, scales, half_widths))
    steps = torch.arange(_PATCH, dtype=torch.float32)
    covered = torch.zeros(len(kinds), _PATCH, _PATCH)
    for index, shape in enumerate(SHAPES):
        of_kind = (kinds == index).nonzero().flatten()
        if len(of_kind):
            x, y = start[of_kind, 0, None, None] + steps, start[of_kind, 1, None, None] + steps[:, None]
            u, v = _local(x, y, turned[of_kind])
            covered[of_kind] = shape.coverage(u, v, sized[of_kind], wide[of_kind])
    return covered
