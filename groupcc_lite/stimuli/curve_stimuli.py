"""Arcs and curved edges of known direction and curvature, to measure what a unit is tuned to.

An arc is a piece of a circle through the middle of the image; a straight line is an arc of curvature 0. Its *direction*
is where its hollow side faces, so it comes back after a full turn, and after half a turn if it is straight. The step
in brightness across a stroke or an edge is the same in all stimuli, so what a unit prefers among them is the direction
or the curvature, and not the contrast. (Equal contrast of whole images would make the short arcs the bright ones.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

KINDS = ("line", "edge")
"""A stroke, or the border between light and dark."""
_SOFTNESS = 1.4  # px over which a border fades, as in `shapes`
_GREY, _STEP = 0.5, 0.6  # of the ground, and from it to a stroke, or from one side of an edge to the other


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


def arcs(size: int, *, curvatures: Sequence[float], directions: int = 72, kinds: Sequence[str] = KINDS,
         half_width: float = 1.4, window: float | None = None, middle: tuple[float, float] = (0.0, 0.0)) -> Arcs:
    """Arcs of every kind, curvature, polarity and direction, in this order, the directions last.

    `size`: side of the images in pixels; `curvatures` in 1 / px, not negative; `directions`: how many, evenly over a
    full turn from 0; `half_width` of a stroke in pixels; `window`: radius of the round window that they fill, by
    default the whole image; `middle`: the point that they run through, in pixels from the image's centre, x to the
    right and y down, such as a cell's centre. Float32 RGB images in [0, 1], grey. ValueError for anything else, and for
    circles that are smaller than their stroke.

    >>> shown = arcs(48, curvatures=[0.1], directions=4, kinds=["edge"])
    >>> [round(math.degrees(direction)) for direction in shown.direction[:4]]
    [0, 90, 180, 270]
    """
    _check(size, curvatures, directions, kinds, half_width)
    window = size / 2 if window is None else window
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
        made.append(_STEP * polarity * mask * (covered - (0.5 if kind == "edge" else 0.0)))
        facts.append((KINDS.index(kind), curvature, polarity))
    kind, curvature, polarity = (torch.tensor(column).repeat_interleave(directions)
                                 for column in zip(*facts, strict=True))
    images = (_GREY + torch.cat(made)).clamp(0, 1).float()[:, None].expand(-1, 3, -1, -1).contiguous()
    return Arcs(images, kind, curvature.float(), angles.repeat(len(facts)).float(), polarity)


def scrambled(images: Float[Tensor, "k c h w"], *, seed: int = 0) -> Float[Tensor, "k c h w"]:
    """Noise with the power spectra of these images: every image gets random phases of its own.

    A control for tuning: what is left of a preference for direction after this is a preference for the energy at an
    orientation, which a line has at both of its ends. Mean and contrast stay as they were; values may leave [0, 1] a
    little and are then cut.

    >>> shown = arcs(32, curvatures=[0.1], directions=4)
    >>> noise = scrambled(shown.images)
    >>> bool((noise.std((1, 2, 3)) - shown.images.std((1, 2, 3))).abs().max() < 0.02)
    True
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(images), 1, *images.shape[2:], generator=generator, dtype=torch.float64)
    phases = torch.fft.rfft2(noise)
    phases = phases / phases.abs().clamp(min=1e-12)
    phases[:, :, 0, 0] = 1
    spectrum = torch.fft.rfft2(images.double()).abs() * phases
    return torch.fft.irfft2(spectrum, s=images.shape[2:]).clamp(0, 1).float()


def _into_the_hollow(u: Tensor, v: Tensor, curvature: float) -> Tensor:
    """Signed distance to the arc through the origin with its hollow towards +u; positive inside the circle.

    Radius minus the distance from its centre, in a form that is exact for straight lines, too.
    """
    root = ((1 - curvature * u).square() + (curvature * v).square()).sqrt()
    return (2 * u - curvature * (u * u + v * v)) / (1 + root)


def _filled(distance: Tensor) -> Tensor:
    return (0.5 - distance / _SOFTNESS).clamp(0, 1)


def _check(size: int, curvatures: Sequence[float], directions: int, kinds: Sequence[str], half_width: float) -> None:
    if size < 8 or directions < 1:
        raise ValueError(f"size is {size} and directions {directions}; expected at least 8 px and 1 direction")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"kinds is {list(kinds)}; expected some of {', '.join(KINDS)}")
    if not curvatures or not all(0 <= curvature < 1 / half_width for curvature in curvatures):
        raise ValueError(f"curvatures is {list(curvatures)}; expected numbers from 0 to less than "
                         f"{1 / half_width:.3g}, the curvature of a circle as small as half a stroke")
