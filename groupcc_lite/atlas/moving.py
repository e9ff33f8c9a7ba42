"""A feature's relatives moving into its pose, as one animated picture: the idea of the whole method in two seconds.

Feature i and its relatives j have elements h with F_i near h F_j. Then the picture of j, moved by h, should look like
that of i (chapter 6). `relatives_of` takes pictures and elements from an atlas on disk. A square of nine shows them,
with the feature in the middle, and the eight around it move: `write_moving` makes an animated picture, `moving_html` a
piece of a page that needs no script.
"""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from groupcc_lite.atlas.storage import read_atlas
from groupcc_lite.base import atomic_write

AROUND = 8
"""Relatives in the picture."""
STEPS, STEP_MS, REST_MS = 14, 60, 1600
"""Frames of the way there, how long each of them stands, and how long the first and the last."""
PLACES = (4, 0, 1, 2, 5, 8, 7, 6, 3)
"""Where they stand in the square, row by row: the feature in the middle, the closest relative in the first corner."""
GAP, BACKGROUND, FRAME = 6, 255, (205, 92, 0)
"""Pixels between pictures, the grey level between them, and the colour of the line around the feature itself."""


class MovingRelatives(NamedTuple):
    """A feature with its relatives, as pictures with the maps that take each into the feature's pose.

    >>> grey = np.full((9, 8, 8, 3), 90, dtype=np.uint8)
    >>> MovingRelatives(3, grey, np.stack([np.eye(2)] * 9), np.full(8, 0.5)).feature
    3
    """

    feature: int
    images: UInt8[np.ndarray, "9 s s 3"]
    """The feature's own picture first."""
    matrices: Float[np.ndarray, "9 2 2"]
    """How each is moved, x right and y down; the identity for the feature itself."""
    cosines: Float[np.ndarray, " 8"]
    """Largest cosines over the group, by which they are its relatives."""


def relatives_of(folder: str | Path, feature: int | None = None) -> MovingRelatives:
    """The feature with its eight closest relatives; by default the one whose eighth relative is closest.

    ValueError for a folder without an atlas, for an atlas whose group does not act on the plane by turns and mirrors,
    and for features that the map does not have or that have no picture.

    >>> relatives_of("nowhere")
    Traceback (most recent call last):
    ValueError: nowhere holds no atlas (atlas.js is missing); make one with `groupcc atlas`
    """
    atlas = read_atlas(folder)
    table, group = atlas["tables"]["crosscoder"], atlas["group"]
    if group["colours"] is not None:
        raise ValueError(f"the atlas in {folder} has a group that changes colours; only pictures that turn can be "
                         "shown moving")
    drawn, (rows, elements, cosines) = table["picture"], (
        table[key][:, :AROUND] for key in ("relatives", "relative_element", "relative_cosine"))
    complete = (drawn >= 0) & (drawn[rows] >= 0).all(1)
    if not complete.any() or rows.shape[1] < AROUND:
        raise ValueError(f"the atlas in {folder} has no feature with a picture and {AROUND} relatives with pictures; "
                         "make it with more of them (`groupcc atlas --features`)")
    numbers = np.asarray(table["features"])
    if feature is None:
        row = int(np.where(complete, cosines.min(1), -np.inf).argmax())
    elif feature not in numbers[complete]:
        raise ValueError(f"feature is {feature}; expected one of the {int(complete.sum())} living features of the "
                         f"atlas in {folder} that have pictures, as have their relatives")
    else:
        row = int(np.flatnonzero(numbers == feature)[0])
    shown = [row, *rows[row].tolist()]
    matrices = np.asarray(group["matrices"]).reshape(-1, 2, 2)
    moved = [np.eye(2), *matrices[elements[row]]]
    images = np.stack([_picture(Path(folder), atlas, int(drawn[one]), table["picture_size"]) for one in shown])
    return MovingRelatives(int(numbers[row]), images, np.stack(moved), cosines[row])


def _picture(folder: Path, atlas: dict[str, Any], place: int, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """One picture, cut out of its sheet."""
    sheet, number = divmod(place, atlas["sheet"])
    y, x = (size * k for k in divmod(number, atlas["columns"]))
    with Image.open(folder / f"crosscoder-{sheet}.webp") as whole:
        return np.asarray(whole.convert("RGB").crop((x, y, x + size, y + size)))


def partway(matrix: Float[np.ndarray, "2 2"], share: float) -> Float[np.ndarray, "2 2"]:
    """An orthogonal map, carried out to a share: rotations by a part of their angle, the shorter way round.

    A mirror is a picture turned over like a card: half of the way it is seen from the side.

    >>> quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> np.allclose(partway(quarter, 0.5), np.array([[1, -1], [1, 1]]) / 2**0.5)
    True
    >>> partway(np.diag([-1.0, 1.0]), 0.5)
    array([[0., 0.],
           [0., 1.]])
    """
    if np.linalg.det(matrix) > 0:
        angle = share * np.arctan2(matrix[1, 0], matrix[0, 0])
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (1 - share) * np.eye(2) + share * matrix


def frame(found: MovingRelatives, share: float, *, tile: int = 104) -> UInt8[np.ndarray, "s s 3"]:
    """All nine pictures, round, with the eight relatives moved a share of their way."""
    maps = np.stack([partway(matrix, share) for matrix in found.matrices])
    tiles = _moved(torch.from_numpy(found.images).permute(0, 3, 1, 2).float(), maps, tile)
    side = 3 * tile + 2 * GAP
    canvas = np.full((side, side, 3), BACKGROUND, dtype=np.uint8)
    for place, image in zip(PLACES, tiles, strict=True):
        y, x = ((tile + GAP) * k for k in divmod(place, 3))
        canvas[y:y + tile, x:x + tile] = image
    return canvas


def _moved(images: Float[Tensor, "9 3 s s"], maps: Float[np.ndarray, "9 2 2"],
           tile: int) -> UInt8[np.ndarray, "9 t t 3"]:
    """The pictures under their maps, cut to discs; what a map makes narrow leaves the background beside it."""
    axis = (torch.arange(tile) + 0.5) / tile * 2 - 1
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    narrow = torch.from_numpy(np.linalg.pinv(maps, rcond=1e-3)).float()
    places = torch.einsum("nij,hwj->nhwi", narrow, grid)
    # A map without an inverse shows the picture from the side: nothing of it can be seen.
    flat = torch.from_numpy(np.abs(np.linalg.det(maps)) < 1e-3)
    inside = (places.norm(dim=-1) <= 1) & ~flat[:, None, None]
    shown = F.grid_sample(images, places * 0.995, mode="bicubic", padding_mode="border", align_corners=False)
    shown = torch.where(inside[:, None], shown, float(BACKGROUND))
    ring = (grid.norm(dim=-1) > 0.94) & (grid.norm(dim=-1) <= 1)
    shown[0] = torch.where(ring, torch.tensor(FRAME).float()[:, None, None], shown[0])
    return shown.clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy()


def write_moving(found: MovingRelatives, path: str | Path, *, still: str | Path | None = None, tile: int = 104) -> Path:
    """Write an animated WebP: as they are, moving, in the feature's pose, and back, over and over; returns the path.

    `still`: where a picture that does not move is written as well, before and after side by side, for paper and for
    readers who want no motion. ValueError for a name that does not end in .webp.

    >>> import tempfile
    >>> grey = np.full((9, 8, 8, 3), 90, dtype=np.uint8)
    >>> found = MovingRelatives(3, grey, np.stack([np.eye(2)] * 9), np.full(8, 0.5))
    >>> write_moving(found, Path(tempfile.mkdtemp()) / "moving.webp", tile=8).name
    'moving.webp'
    """
    path = Path(path)
    if path.suffix != ".webp":
        raise ValueError(f"the picture is to be {path}; expected a name that ends in .webp, the only format it has")
    shares = [0.0, *(0.5 - 0.5 * np.cos(np.pi * k / STEPS) for k in range(1, STEPS)), 1.0]
    way = [Image.fromarray(frame(found, float(share), tile=tile)) for share in shares]
    frames = [*way, *reversed(way[1:-1])]
    lasting = [REST_MS if k in (0, STEPS) else STEP_MS for k in range(len(frames))]
    buffer = BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=lasting, loop=0, quality=50,
                   method=6)
    atomic_write(path, buffer.getvalue())
    if still is not None:
        gap = np.full((way[0].height, 4 * GAP, 3), BACKGROUND, dtype=np.uint8)
        both = np.concatenate([np.asarray(way[0]), gap, np.asarray(way[-1])], axis=1)
        buffer = BytesIO()
        Image.fromarray(both).save(buffer, "PNG", optimize=True)
        atomic_write(Path(still), buffer.getvalue())
    return path


def moving_html(found: MovingRelatives, *, tile: int = 128) -> str:
    """The square of nine as a piece of a page: it moves once by itself, and there and back when the box is ticked.

    Keyboards reach the box. On paper, and for readers who want no motion, before and after stand side by side. The
    pictures are in it, so it needs no other file and no script.

    >>> grey = np.full((9, 8, 8, 3), 90, dtype=np.uint8)
    >>> found = MovingRelatives(3, grey, np.stack([np.eye(2)] * 9), np.full(8, 0.5))
    >>> moving_html(found).count('class="turns"')  # eight relatives, before and after
    16
    """
    strip = Image.fromarray(np.concatenate(list(found.images), axis=1))
    buffer = BytesIO()
    strip.resize((9 * tile, tile), Image.Resampling.BICUBIC).save(buffer, "WEBP", quality=80, method=6)
    data = base64.b64encode(buffer.getvalue()).decode()
    spans = [_span(number, matrix) for number, matrix in enumerate(found.matrices)]
    square = "".join(spans[PLACES.index(place)] for place in range(9))
    style = (Path(__file__).parent / "web" / "relatives.css").read_text()
    name = f"relatives-{found.feature}"
    return (f"<style>\n{style}#{name}-square span {{ background-image: url(data:image/webp;base64,{data}); }}\n"
            f'</style>\n<div class="relatives" id="{name}-square"><input type="checkbox" id="{name}">'
            f'<div class="relatives-squares" role="img" aria-label="{_said(found)}">'
            f'<div class="relatives-square relatives-before">{square}</div>'
            f'<div class="relatives-square relatives-after">{square}</div></div>'
            f'<label for="{name}">Move them all</label></div>')


def _span(number: int, matrix: Float[np.ndarray, "2 2"]) -> str:
    """One picture of the strip, with the way it goes in the words of the style sheet."""
    kind, way = "self", ""
    if number and np.linalg.det(matrix) > 0:
        kind, way = "turns", f"--turn:{np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])):.2f}deg;"
    elif number:  # matrix = R(2 axis) diag(1, -1)
        kind, way = "mirrors", f"--axis:{np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) / 2:.2f}deg;"
    return f'<span class="{kind}" style="{way}background-position:{100 * number / 8:.1f}% 0"></span>'


def _said(found: MovingRelatives) -> str:
    return (f"Picture of feature {found.feature} in the middle of eight pictures of its relatives, which turn or are "
            f"mirrored into its pose. Cosines {found.cosines.min():.2f} to {found.cosines.max():.2f}.")
