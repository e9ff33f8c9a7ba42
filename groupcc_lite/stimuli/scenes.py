"""The four-quadrant images of Erdogan & Lucic 2025: one of eight shapes in each quadrant, and the 180 probing tasks.

A scene is a description, which shape stands in which quadrant in which orientation, and every image is drawn from it.
The group acts on descriptions by permuting quadrants and counting orientations, on images by moving pixels, and drawing
carries the one action into the other bit for bit, so labels never need an image.

Conventions. r is a counter-clockwise quarter turn as seen on the screen, s the mirror left <-> right. Quadrants are
numbered counter-clockwise from the top right: 0 top right, 1 top left, 2 bottom left, 3 bottom right; r takes q to
q + 1. Orientation o is the shape turned by r^o. A scene is upright when all its orientations are 0. The paper's images
are read as turned upright scenes, because its text makes orientations by turning whole images; `random_scenes` draws
the other reading, every shape turned by itself. Mean shares of negative answers in the families S, SO, SP, SPO: 58.6,
88.2, 87.5, 96.4 % in our reading, 58.6, 86.5, 87.5, 96.4 % in the other; the paper prints 58, 87 - 89 and 97 %.

Source: section 4, appendix C.1, Figures 2 and 6 of the paper; the exact shapes are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import SupportsIndex

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, cyclic, dihedral, trivial

TILE = 32
"""Side of a quadrant in pixels, half the side of an image."""
QUADRANTS = ("top right", "top left", "bottom left", "bottom right")
"""In the order of their numbers."""
FAMILIES = ("S", "SO", "SP", "SPO")
"""Of questions, see `Task`."""

Outline = Callable[[Tensor, Tensor], Tensor]


# ------------------------------------------------------------------------------------------------ the shapes

@dataclass(frozen=True)
class SceneShape:
    """One of the eight shapes; all are mirror images of themselves, some after a turn.

    `orientations`: how many of its quarter turns differ, 4 or 2. `mirrored`: the orientation that its mirror image
    s(orientation 0) has: 0 if its axis is vertical, 1 if it is diagonal. `outline(x, y)`: signed distance in pixels,
    negative inside; x right, y up from the tile's centre.
    """

    name: str
    orientations: int
    mirrored: int
    outline: Outline

    def __repr__(self) -> str:
        return f"SceneShape({self.name}, {self.orientations} orientations)"


def _box(x: Tensor, y: Tensor, centre: tuple[float, float], half: tuple[float, float]) -> Tensor:
    return torch.maximum((x - centre[0]).abs() - half[0], (y - centre[1]).abs() - half[1])


def _bar(x: Tensor, y: Tensor) -> Tensor:
    return _box(x, y, (0.0, 0.0), (12.0, 4.0))


def _diagonal(x: Tensor, y: Tensor) -> Tensor:
    """Rises from left to right."""
    along, across = (x + y) / math.sqrt(2), (x - y) / math.sqrt(2)
    return torch.maximum(along.abs() - 15, across.abs() - 2.5)


def _corner(x: Tensor, y: Tensor) -> Tensor:
    """Strokes along the left and the bottom."""
    return torch.minimum(_box(x, y, (-7.0, 0.0), (3.0, 10.0)), _box(y, x, (-7.0, 0.0), (3.0, 10.0)))


def _tee(x: Tensor, y: Tensor) -> Tensor:
    """A bar on top of a stem."""
    return torch.minimum(_box(x, y, (0.0, 7.0), (12.0, 3.0)), _box(x, y, (0.0, -2.0), (3.0, 9.0)))


def _cup(x: Tensor, y: Tensor) -> Tensor:
    """Open at the top."""
    return torch.minimum(_box(x.abs(), y, (8.5, 0.0), (2.5, 11.0)), _box(x, y, (0.0, -8.5), (11.0, 2.5)))


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    """Filled, with a base of 18 px at the bottom and 24 px high."""
    side = ((12 - y) * 9 - x.abs() * 24) / math.hypot(9.0, 24.0)  # distance to the inside of a slanted side
    return torch.maximum(-side, -12 - y)


def _half_disc(x: Tensor, y: Tensor) -> Tensor:
    """Round above, straight below."""
    return torch.maximum((x * x + (y + 3) * (y + 3)).sqrt() - 13, -3 - y)


def _arrow(x: Tensor, y: Tensor) -> Tensor:
    """Points up: a head twice as wide as high, on a thin shaft."""
    head = torch.maximum((x.abs() + (y - 12)) / math.sqrt(2), 1 - y)
    return torch.minimum(head, _box(x, y, (0.0, -5.0), (2.0, 7.0)))


SCENE_SHAPES: tuple[SceneShape, ...] = (
    SceneShape("bar", 2, 0, _bar),
    SceneShape("diagonal", 2, 1, _diagonal),
    SceneShape("corner", 4, 1, _corner),
    SceneShape("tee", 4, 0, _tee),
    SceneShape("cup", 4, 0, _cup),
    SceneShape("triangle", 4, 0, _triangle),
    SceneShape("half-disc", 4, 0, _half_disc),
    SceneShape("arrow", 4, 0, _arrow),
)
"""The eight shapes that fill quadrants, in the order of their numbers."""
SCENE_SHAPE_NAMES: tuple[str, ...] = tuple(shape.name for shape in SCENE_SHAPES)
_ORIENTATIONS = torch.tensor([shape.orientations for shape in SCENE_SHAPES])
_MIRRORED = torch.tensor([shape.mirrored for shape in SCENE_SHAPES])


@lru_cache(maxsize=1)
def _tiles() -> Float[Tensor, "s o h w"]:
    """Every shape in four quarter turns; those with two orientations appear twice."""
    axis = torch.arange(TILE, dtype=torch.float64) - (TILE - 1) / 2
    x, y = axis[None, :].expand(TILE, TILE), -axis[:, None].expand(TILE, TILE)
    upright = torch.stack([(0.5 - shape.outline(x, y)).clamp(0, 1) for shape in SCENE_SHAPES]).float()
    return torch.stack([torch.rot90(upright, turns, (-2, -1)) for turns in range(4)], 1)


def tile(shape: int, orientation: int = 0) -> Float[Tensor, "h w"]:
    """The 32 x 32 drawing of one shape, 0 outside and 1 inside; ValueError for one that does not exist.

    >>> tile(2).shape  # a corner
    torch.Size([32, 32])
    """
    _check_shape_and_orientation(shape, orientation)
    return _tiles()[shape, orientation].clone()


def _check_shape_and_orientation(shape: int, orientation: int) -> None:
    if not 0 <= shape < len(SCENE_SHAPES):
        raise ValueError(f"shape is {shape}; expected 0 to {len(SCENE_SHAPES) - 1}: {', '.join(SCENE_SHAPE_NAMES)}")
    if not 0 <= orientation < SCENE_SHAPES[shape].orientations:
        raise ValueError(f"orientation is {orientation}; a {SCENE_SHAPE_NAMES[shape]} has orientations 0 to "
                         f"{SCENE_SHAPES[shape].orientations - 1}, its quarter turns")


# --------------------------------------------------------------------------------------------- descriptions

@dataclass(frozen=True, eq=False)
class Scenes:
    """Descriptions of images: `shape` (b, 4) indexes SCENE_SHAPES, `orientation` (b, 4) counts quarter turns.

    Column q is quadrant q. On the CPU. ValueError for other tensors, or a shape or an orientation that does not exist.

    >>> scene = Scenes(torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 0, 0, 0]]))
    >>> turned = scene.act(cyclic(4), 1)
    >>> turned.shape.tolist(), turned.images().equal(torch.rot90(scene.images(), 1, (-2, -1)))
    ([[3, 0, 1, 2]], True)
    """

    shape: Tensor
    orientation: Tensor

    def __post_init__(self) -> None:
        for name, field in (("shape", self.shape), ("orientation", self.orientation)):
            if field.ndim != 2 or field.shape[1] != 4 or field.is_floating_point() or len(field) != len(self.shape):
                raise ValueError(f"{name} is {field.dtype} of shape {tuple(field.shape)}; expected integers (b, 4), "
                                 "one column per quadrant, and as many rows as the other field")
        if not ((self.shape >= 0) & (self.shape < len(SCENE_SHAPES))).all():
            raise ValueError(f"shape holds {int(self.shape.min())} to {int(self.shape.max())}; expected 0 to "
                             f"{len(SCENE_SHAPES) - 1}, an index into SCENE_SHAPES")
        wrong = (self.orientation < 0) | (self.orientation >= _ORIENTATIONS[self.shape])
        if wrong.any():
            _check_shape_and_orientation(int(self.shape[wrong][0]), int(self.orientation[wrong][0]))

    def __repr__(self) -> str:
        return f"Scenes({len(self)})"

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, rows: slice | Tensor | Sequence[int]) -> Scenes:
        """The scenes of a slice, a list or tensor of indices, or a mask."""
        return Scenes(self.shape[rows], self.orientation[rows])

    @property
    def codes(self) -> Int[Tensor, " b"]:
        """One number per scene: equal codes, equal images; they sort by quadrant 0, then 1, 2, 3."""
        return ((self.shape * 4 + self.orientation).long() * (32 ** torch.arange(3, -1, -1))).sum(1)

    def act(self, G: FiniteGroup, g: SupportsIndex) -> Scenes:
        """The descriptions of the moved images, for element g of cyclic(4), dihedral(4) or the trivial group.

        Drawing them gives `act_on_images` of the drawings, bit for bit. ValueError for another group or element.
        """
        turns, mirror = _move(G, g)
        shape = self.shape.roll(turns, 1)
        orientation = (self.orientation.roll(turns, 1) + turns) % _ORIENTATIONS[shape]
        if mirror:
            shape, orientation = shape[:, [1, 0, 3, 2]], orientation[:, [1, 0, 3, 2]]
            orientation = (_MIRRORED[shape] - orientation) % _ORIENTATIONS[shape]  # s r^o = r^-o s
        return Scenes(shape, orientation)

    def orbit(self, G: FiniteGroup) -> Scenes:
        """Every scene moved by every element, (b |G|) of them: scene after scene, the elements of G in order."""
        moved = [self.act(G, g) for g in range(G.order)]
        return Scenes(*(rearrange([getattr(scenes, field) for scenes in moved], "g b q -> (b g) q")
                        for field in ("shape", "orientation")))

    def orbit_codes(self, G: FiniteGroup) -> Int[Tensor, " b"]:
        """The smallest code in each scene's orbit: equal for two scenes exactly if G moves one to the other."""
        return rearrange(self.orbit(G).codes, "(b g) -> b g", g=G.order).amin(1)

    def images(self) -> Float[Tensor, "b 1 64 64"]:
        """The drawings, float32 in [0, 1]: shapes 1 on 0, antialiased."""
        tiles = _tiles()[self.shape, self.orientation][:, [1, 0, 2, 3]]  # the order in which one reads
        return rearrange(tiles, "b (r c) h w -> b 1 (r h) (c w)", r=2)


def canonical_scenes() -> Scenes:
    """One upright scene per orbit of C_4, 4,090 in all, in the order of their codes.

    There are 8^4 = 4,096 upright scenes. Of the 16 made only of shapes with two orientations, 12 pair up by a half
    turn, and the smaller code of each pair stays.

    >>> canonical_scenes()
    Scenes(4090)
    """
    shape = torch.cartesian_prod(*[torch.arange(len(SCENE_SHAPES))] * 4)
    upright = Scenes(shape, torch.zeros_like(shape))
    seen: dict[int, int] = {}
    for row, code in enumerate(upright.orbit_codes(cyclic(4)).tolist()):
        seen.setdefault(code, row)
    return upright[list(seen.values())]


def split_scenes(held_out: float = 0.25, seed: int = 0) -> tuple[Scenes, Scenes]:
    """Canonical scenes to train on, and a share `held_out` of them to test on; no orbit has scenes in both.

    Upright scenes that are each other's mirror image stay on one side, so the split serves D_4 as well as C_4. The
    share is met to within one scene. ValueError unless 0 < held_out < 1.

    >>> train, test = split_scenes(0.25, seed=0)
    >>> len(train) + len(test) == len(canonical_scenes())
    True
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; expected a share between 0 and 1")
    scenes = canonical_scenes()
    _, orbit = scenes.orbit_codes(dihedral(4)).unique(return_inverse=True)
    sizes = orbit.bincount()
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    tested = torch.zeros(len(sizes), dtype=torch.bool)
    tested[order] = sizes[order].cumsum(0) <= round(held_out * len(scenes))
    if not 0 < int(tested.sum()) < len(sizes):
        raise ValueError(f"held_out is {held_out}, which leaves one side of {len(scenes)} scenes empty")
    return scenes[~tested[orbit]], scenes[tested[orbit]]


def random_scenes(count: int, seed: int = 0) -> Scenes:
    """Scenes whose shapes and orientations are drawn for every quadrant by itself, uniformly.

    >>> random_scenes(5, seed=1).images().shape
    torch.Size([5, 1, 64, 64])
    """
    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1")
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randint(len(SCENE_SHAPES), (count, 4), generator=generator)
    orientation = torch.randint(4, (count, 4), generator=generator)
    return Scenes(shape, orientation % _ORIENTATIONS[shape])


# ------------------------------------------------------------------------------------------ the pixels' side

def _move(G: FiniteGroup, g: SupportsIndex) -> tuple[int, bool]:
    """Element g as (quarter turns first, then perhaps the mirror)."""
    if G not in (trivial(), cyclic(4), dihedral(4)):
        raise ValueError(f"group is {G.name}; scenes are moved by cyclic(4), dihedral(4) or trivial(), the groups that "
                         "take quadrants to quadrants")
    mirror, turns = divmod(int(g), 4)
    if not 0 <= int(g) < G.order:
        raise ValueError(f"element is {g!r}; expected an integer from 0 to {G.order - 1} for {G.name}")
    return turns, bool(mirror)


def act_on_images(images: Float[Tensor, "b c h w"], G: FiniteGroup, g: SupportsIndex) -> Float[Tensor, "b c h w"]:
    """Square images moved by element g of cyclic(4), dihedral(4) or the trivial group, pixel for pixel."""
    if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected (b, 1, h, h), square ones")
    turns, mirror = _move(G, g)
    turned = torch.rot90(images, turns, (-2, -1))
    return turned.flip(-1) if mirror else turned


def scene_orbits(images: Float[Tensor, "b c h w"], G: FiniteGroup) -> Float[Tensor, "b g c h w"]:
    """Every image moved by every element: [:, g] is g image, [:, 0] the image itself.

    >>> scene_orbits(torch.rand(2, 1, 64, 64), dihedral(4)).shape
    torch.Size([2, 8, 1, 64, 64])
    """
    return torch.stack([act_on_images(images, G, g) for g in range(G.order)], 1)


# ------------------------------------------------------------------------------------------------- the tasks

@dataclass(frozen=True)
class Task:
    """A yes-no question about a scene (appendix C.1): is `shape` in it, at `position`, in `orientation`?

    `family` says what counts: S the shape alone, SO its orientation too, SP its position (quadrant), SPO both. What
    does not count is None. ValueError for a family, a number or a None that does not fit.

    >>> task = Task("SP", shape=2, position=0)  # is a corner in quadrant 0?
    >>> task_labels(random_scenes(4), [task]).shape
    torch.Size([4, 1])
    """

    family: str
    shape: int
    position: int | None = None
    orientation: int | None = None

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family is {self.family!r}; expected one of {', '.join(FAMILIES)}")
        for name, value, letter in (("position", self.position, "P"), ("orientation", self.orientation, "O")):
            if (value is None) == (letter in self.family):
                raise ValueError(f"{name} is {value} in family {self.family}; expected "
                                 + ("a number" if letter in self.family else "None, it does not count"))
        if self.position is not None and not 0 <= self.position < len(QUADRANTS):
            raise ValueError(f"position is {self.position}; expected 0 to 3: {', '.join(QUADRANTS)}")
        _check_shape_and_orientation(self.shape, self.orientation or 0)

    @property
    def name(self) -> str:
        """For people, such as "cup at top left, turned 90 degrees"."""
        place = "" if self.position is None else f" at {QUADRANTS[self.position]}"
        turn = "" if self.orientation is None else f", turned {90 * self.orientation} degrees"
        return SCENE_SHAPE_NAMES[self.shape] + place + turn


def probing_tasks() -> tuple[Task, ...]:
    """The paper's 180 tasks: 8 S, 28 SO, 32 SP, 112 SPO; within a family by shape, then position, then orientation.

    >>> len(probing_tasks()), probing_tasks()[0].family
    (180, 'S')
    """
    shapes = range(len(SCENE_SHAPES))
    positions = range(len(QUADRANTS))
    turns = [range(shape.orientations) for shape in SCENE_SHAPES]
    return (*(Task("S", s) for s in shapes),
            *(Task("SO", s, None, o) for s in shapes for o in turns[s]),
            *(Task("SP", s, p, None) for s in shapes for p in positions),
            *(Task("SPO", s, p, o) for s in shapes for p in positions for o in turns[s]))


def task_labels(scenes: Scenes, tasks: Sequence[Task] | None = None) -> Bool[Tensor, "b t"]:
    """The answers to `tasks` (default: all 180) for every scene.

    >>> task_labels(random_scenes(3)).shape
    torch.Size([3, 180])
    """
    columns = []
    for task in probing_tasks() if tasks is None else tasks:
        places = slice(None) if task.position is None else slice(task.position, task.position + 1)
        there = scenes.shape[:, places] == task.shape
        if task.orientation is not None:
            there = there & (scenes.orientation[:, places] == task.orientation)
        columns.append(there.any(1))
    return torch.stack(columns, 1)
