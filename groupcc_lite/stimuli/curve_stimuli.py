"""Arcs and curved edges of known direction and curvature, to measure what a unit is tuned to.

An arc is a piece of a circle, at most half of it, with its middle in the middle of the image; a straight line is an arc
of curvature 0. Its *direction*
is where its hollow side faces, so it comes back after a full turn; a straight line comes back after half a turn. The
step in brightness across a stroke or an edge is the same in all stimuli, so what a unit prefers among them is the
direction or the curvature, and not the contrast. (With equal contrast of whole images short arcs would be the bright
ones.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

KINDS = ("line", "edge")
"""A stroke, or the border between light and dark."""
_SOFTNESS = 1.4  # px over which a border fades, as in `shapes`
_GREY, _STEP = 0.5, 0.5  # of the ground, and from it to a stroke, or from one side of an edge to the other


@dataclass(frozen=True)
class Arcs:
    """Arcs and edges; entry k of a field is about image k.

    >>> shown = arcs(48, curvatures=[0.0, 0.1], directions=8)
    >>> len(shown), shown.images.shape
    (64, torch.Size([64, 3, 48, 48]))
    """

    images: Float[Tensor, "k 3 h w"]
    kind: Int[Tensor, " k"]
    """Place in KINDS."""
    curvature: Float[Tensor, " k"]
    """1 / radius, in 1 / px; 0 is straight."""
    direction: Float[Tensor, " k"]
    """Where the hollow, or of a straight edge the light side faces: radians, counter-clockwise on the screen."""
    polarity: Int[Tensor, " k"]
    """+1: the stroke, or the hollow side, is lighter than the rest; -1: darker."""

    def __len__(self) -> int:
        return len(self.kind)

    def table(self, responses: Float[Tensor, "k u"]) -> Float[Tensor, "u s c d"]:
        """Responses to all of these by unit, style (kind and polarity), curvature and direction: for `arc_tuning`.

        >>> shown = arcs(32, curvatures=[0.0, 0.1], directions=4, kinds=["edge"])
        >>> shown.table(shown.direction[:, None].rad2deg())[0, :, 1].round().tolist()
        [[0.0, 90.0, 180.0, 270.0], [0.0, 90.0, 180.0, 270.0]]
        """
        sizes = [len(field.unique()) for field in (self.kind, self.curvature, self.polarity, self.direction)]
        return responses.T.reshape(-1, *sizes).transpose(2, 3).flatten(1, 2)


def arcs(size: int, *, curvatures: Sequence[float], directions: int = 72, kinds: Sequence[str] = KINDS,
         half_width: float = 1.4, window: float | None = None, middle: tuple[float, float] = (0.0, 0.0)) -> Arcs:
    """Arcs of every kind, curvature, polarity and direction, in this order, the directions last.

    `size`: side of the images in pixels; `curvatures` in 1 / px, not negative; `directions`: how many, evenly over a
    full turn from 0; `half_width` of a stroke in pixels; `window`: radius of the round window that they fill, by
    default the largest that fits; `middle`: the point that they run through, in pixels from the image's centre, x to
    the right and y down, such as a cell's centre. Float32 RGB images in [0, 1], grey. ValueError for anything else, and
    for circles that are smaller than their stroke.

    >>> shown = arcs(48, curvatures=[0.1], directions=4, kinds=["edge"])
    >>> [round(math.degrees(direction)) for direction in shown.direction[:4]]
    [0, 90, 180, 270]
    """
    _check(size, curvatures, directions, kinds, half_width, window)
    window = size / 2 - max(map(abs, middle)) if window is None else window
    angles = 2 * math.pi * torch.arange(directions, dtype=torch.float64) / directions
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    x, y = axis[None, None, :] - middle[0], middle[1] - axis[None, :, None]  # y up: angles are counter-clockwise
    u = torch.cos(angles)[:, None, None] * x + torch.sin(angles)[:, None, None] * y
    v = torch.cos(angles)[:, None, None] * y - torch.sin(angles)[:, None, None] * x
    mask = ((window - (x * x + y * y).sqrt()) / (0.15 * window)).clamp(0, 1)
    made, facts = [], []
    for kind, curvature, polarity in product(kinds, curvatures, (1, -1)):
        distance = _into_the_hollow(u, v, curvature)
        covered = _filled(distance.abs() - half_width) if kind == "line" else _filled(-distance)
        if kind == "line" and curvature:
            covered = covered * _filled(u - 1 / curvature)  # the half of the circle that is nearer
        made.append(_STEP * polarity * mask * (covered - (0.5 if kind == "edge" else 0.0)))
        facts.append((KINDS.index(kind), curvature, polarity))
    kind, curvature, polarity = (torch.tensor(column).repeat_interleave(directions)
                                 for column in zip(*facts, strict=True))
    images = (_GREY + torch.cat(made)).clamp(0, 1).float()[:, None].expand(-1, 3, -1, -1).contiguous()
    return Arcs(images, kind, curvature.float(), angles.repeat(len(facts)).float(), polarity)


def turned_noise(shown: Arcs, *, middle: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> Arcs:
    """Noise in place of each arc: for every style and curvature one pattern with its power spectrum, in all directions.

    A control for tuning. The pattern is what the arc of direction 0 becomes with random phases. It is turned about
    `middle`, where the arcs run through, through their directions, so a unit can be tuned to it as smoothly as to an
    arc; what it lacks is the curve. Kept within the round window of the image, with the arcs' mean; what is brighter
    than white or darker than black, a few percent of the pixels, is cut.

    >>> noise = turned_noise(arcs(32, curvatures=[0.0, 0.1], directions=4))
    >>> noise.images.shape, bool(noise.images.mean().sub(0.5).abs() < 0.05)
    (torch.Size([32, 3, 32, 32]), True)
    """
    directions = int(len(shown.direction.unique()))
    first, size = shown.images[::directions, :1].double(), shown.images.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    phases = torch.fft.rfft2(torch.randn(first.shape, generator=generator, dtype=torch.float64))
    spectrum = torch.fft.rfft2(first - _GREY).abs() * phases / phases.abs().clamp(min=1e-12)
    patterns = torch.fft.irfft2(spectrum, s=first.shape[2:])
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    far = ((axis[None, :] - middle[0]).square() + (axis[:, None] - middle[1]).square()).sqrt()
    inside = far <= size / 2 - max(map(abs, middle))
    angle, (x, y) = shown.direction[:directions].double(), (2 * place / size for place in middle)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y], 1).view(-1, 2, 3)
    grid = functional.affine_grid(turn, [directions, 1, size, size], align_corners=False)
    turned = [functional.grid_sample(pattern.expand(directions, 1, size, size), grid, "bicubic", align_corners=False)
              for pattern in patterns]
    images = (_GREY + torch.cat(turned) * inside).clamp(0, 1).float().expand(-1, 3, -1, -1).contiguous()
    return replace(shown, images=images)


def _into_the_hollow(u: Tensor, v: Tensor, curvature: float) -> Tensor:
    """Signed distance to the arc through the origin with its hollow towards +u; positive inside the circle.

    Radius minus the distance from its centre, in a form that is exact for straight lines, too.
    """
    root = ((1 - curvature * u).square() + (curvature * v).square()).sqrt()
    return (2 * u - curvature * (u * u + v * v)) / (1 + root)


def _filled(distance: Tensor) -> Tensor:
    return (0.5 - distance / _SOFTNESS).clamp(0, 1)


def _check(size: int, curvatures: Sequence[float], directions: int, kinds: Sequence[str], half_width: float,
           window: float | None) -> None:
    if size < 8 or directions < 1:
        raise ValueError(f"size is {size} and directions {directions}; expected at least 8 px and 1 direction")
    if not half_width > 0 or (window is not None and not window > 0):
        raise ValueError(f"half_width is {half_width} and window {window}; expected pixels above 0")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"kinds is {list(kinds)}; expected some of {', '.join(KINDS)}")
    if not curvatures or not all(0 <= curvature < 1 / half_width for curvature in curvatures):
        raise ValueError(f"curvatures is {list(curvatures)}; expected numbers from 0 to less than "
                         f"{1 / half_width:.3g}, the curvature of a circle as small as half a stroke")
