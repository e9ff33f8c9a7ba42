"""How far a network is from equivariance, without any coder: for the elements of a group, and for small motions.

Both measures ask whether the representation at a point goes with what lies there. f(I)(p) are a layer's activations of
image I, read at p, pixels from the image centre; g I and g p are the moved image and the moved point. If every channel
is a map that moves along with the image, f(g I)(g p) = f(I)(p). Channels that change places when the image turns, as in
an exactly equivariant network with regular features, count as an error here: what a linear reader makes of them is said
by the linear reference (`symmetry.linear_ceiling`).

- `equivariance_error`, for a finite group: E |f(g I)(g p) - f(I)(p)|^2 / V for each element g.
- `local_equivariance_error`, for small motions T_t (rotation, shifts, scale): E |D f|^2 / V; D f is the derivative
  of f(T_t I)(T_t p) at t = 0, which is the Lie derivative of Gruver et al. (2023), "The Lie derivative for measuring
  learned equivariance", read at points instead of in a whole grid that is moved back. t is scaled so that t = 1 would
  move the points by one pixel in root mean square: rotation, scale and shifts then have one unit, 1 / pixel^2.

V = E |f(I)(p) - mean|^2, with one mean over all images and points, so that neither units nor the number of channels
matter. Images and grids are interpolated, and a layer's stride undersamples; so both come with the same measure for
pixels (means of tiles as wide as the stride), which is what that alone would give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from groupcc_lite.actions import Action
from groupcc_lite.base import bootstrap, percentile_interval
from groupcc_lite.models import BaseModel, patch_model
from groupcc_lite.orbits.sampling import mask_points, read_at

GENERATORS = {"rotation": math.radians(0.2), "shift x": 0.1, "shift y": 0.1, "scale": 0.003}
"""Small motions, and the usual steps of their central differences: radians (counter-clockwise), pixels, natural log of
the factor. Steps are well under a pixel: of shifts by a whole one a stride of 2 would be hidden."""


class EquivarianceError(NamedTuple):
    """Errors in units of the representation's variance: 0 where it moves along, 2 where reads have nothing in common.

    For small motions per pixel^2 that points move, in the mean of squares. Intervals are 95 %, over images.

    >>> found = EquivarianceError(("e", "r"), np.zeros(2), np.zeros((2, 2)), 0.0, (0.0, 0.0), np.zeros(2), np.ones(2))
    >>> found.names, found.mean
    (('e', 'r'), 0.0)
    """

    names: tuple[str, ...]
    """Elements of the group, or motions."""
    errors: Float[np.ndarray, " k"]
    intervals: Float[np.ndarray, "k 2"]
    mean: float
    """Over all motions, or all elements but e."""
    interval: tuple[float, float]
    """Of the mean."""
    pixels: Float[np.ndarray, " k"]
    """The same for means of tiles of pixels at the same points: interpolation and the layer's stride alone."""
    unfollowed: Float[np.ndarray, " k"]
    """The same for points that stay where they are while the image moves: how much there was to follow."""


def equivariance_error(model: BaseModel, action: Action, images: Float[Tensor, "b 3 s s"], *, points: int = 64,
                       mask_radius: float | None = None, batch_size: int = 8, draws: int = 400,
                       seed: int = 0) -> EquivarianceError:
    """E |f(g I)(g p) - f(I)(p)|^2 / V for each element g of the action's group.

    `images` are sources, large enough to be turned without showing a corner, as for `sample_orbits`. Up to `points`
    centres of cells within `mask_radius` pixels are read in each, evenly spread, all of which stay on the grid when
    they are moved; by default the largest mask that keeps receptive fields inside. Intervals come from `draws`
    bootstrap samples of the images. ValueError for images that are fewer than two or too small, a mask that holds no
    such cell, and a representation that does not vary.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.models import wrap_model
    >>> network = torch.nn.Sequential(torch.nn.AvgPool2d(3, stride=1))  # commutes with D_4
    >>> blurred = wrap_model(network, "0", input_size=32)
    >>> images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> bool(equivariance_error(blurred, PlanarAction(dihedral(4)), images).mean < 1e-9)
    True
    """
    elements = range(action.group.order)

    def differences(reader: _Reader, x: Tensor, p: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        plain = reader.read(reader.grid(start(x, reader.model.input_size)), p)
        for g, q in zip(elements, action.points(p), strict=True):
            grid = reader.grid(action.images(x, size=reader.model.input_size, elements=[g])[0])
            yield reader.read(grid, q) - plain, reader.read(grid, p) - plain

    def start(x: Tensor, size: int) -> Tensor:
        return action.images(x, size=size, elements=[0])[0]

    def places(p: Tensor) -> Tensor:
        return action.points(p)

    found = _measured(model, images, (start, differences, places), points, mask_radius, batch_size)
    return _result(action.group.names, found, slice(1, None) if len(elements) > 1 else slice(None), draws, seed)


def local_equivariance_error(model: BaseModel, images: Float[Tensor, "b 3 s s"], *,
                             generators: Sequence[str] = tuple(GENERATORS), points: int = 64,
                             mask_radius: float | None = None, step: float = 1.0, batch_size: int = 8,
                             draws: int = 400, seed: int = 0) -> EquivarianceError:
    """E |D f|^2 / V for small motions: D f is the derivative of f(T_t I)(T_t p) at t = 0 (Gruver et al. 2023).

    It is a central difference over +t and -t, t being `step` times that of `GENERATORS`; a one-sided derivative would
    see the kink that bilinear interpolation has at every pixel. Rotation and scale are about the image centre. Errors
    are per pixel^2 that the points move, in the mean of squares; those of rotation, times the points' mean squared
    distance from the centre, are per radian^2. Layers are comparable if `mask_radius` is the same for all.
    `images` are sources a few pixels larger than the model's input, into which the motions reach. The other settings
    and errors are those of `equivariance_error`; ValueError too for an unknown generator, for a step that is not
    positive, and where the only point is the centre, which neither rotation nor scale moves.

    >>> from groupcc_lite.models import wrap_model
    >>> blurred = wrap_model(torch.nn.Sequential(torch.nn.AvgPool2d(3, stride=1)), "0", input_size=32)
    >>> images = torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    >>> found = local_equivariance_error(blurred, images, generators=["shift x", "shift y"])
    >>> bool(found.mean < 1e-9), bool(found.unfollowed.min() > 0.1)
    (True, True)
    """
    unknown = [name for name in generators if name not in GENERATORS]
    if unknown or not len(generators):
        raise ValueError(f"generators are {list(generators)}; expected one or more of {', '.join(GENERATORS)}")
    if not step > 0:
        raise ValueError(f"step is {step}; expected a positive multiple of the usual steps {GENERATORS}")

    def differences(reader: _Reader, x: Tensor, p: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        for name in generators:
            speed = _speed(name, p)
            t = step * GENERATORS[name]
            followed, left = [], []
            for sign in (1, -1):
                motion = _motion(name, sign * t)
                grid = reader.grid(_moved(x, motion, reader.model.input_size))
                followed.append(reader.read(grid, _carried(p, motion)))
                left.append(reader.read(grid, p))
            yield (followed[0] - followed[1]) / (2 * t * speed), (left[0] - left[1]) / (2 * t * speed)

    def start(x: Tensor, size: int) -> Tensor:
        return _moved(x, _motion("shift x", 0.0), size)

    def places(p: Tensor) -> Tensor:
        return torch.stack([_carried(p, _motion(name, sign * step * GENERATORS[name]))
                            for name in generators for sign in (1, -1)])

    found = _measured(model, images, (start, differences, places), points, mask_radius, batch_size)
    return _result(tuple(generators), found, slice(None), draws, seed)


# ------------------------------------------------------------------------------------------------ small motions

def _motion(name: str, t: float) -> Float[Tensor, "2 3"]:
    """T_t as an affine map of points, x right, y down: a matrix and a shift."""
    cos, sin, grown = math.cos(t), math.sin(t), math.exp(t)
    rows = {"rotation": [[cos, sin, 0.0], [-sin, cos, 0.0]], "shift x": [[1.0, 0.0, t], [0.0, 1.0, 0.0]],
            "shift y": [[1.0, 0.0, 0.0], [0.0, 1.0, t]], "scale": [[grown, 0.0, 0.0], [0.0, grown, 0.0]]}
    return torch.tensor(rows[name], dtype=torch.float64)


def _carried(p: Float[Tensor, "p 2"], motion: Float[Tensor, "2 3"]) -> Float[Tensor, "p 2"]:
    """T p."""
    return p @ motion[:, :2].T.to(p) + motion[:, 2].to(p)


def _speed(name: str, p: Float[Tensor, "p 2"]) -> float:
    """Root mean square of how many pixels the points move for t = 1."""
    speed = 1.0 if name.startswith("shift") else float(p.square().sum(1).mean().sqrt())
    if speed == 0:
        raise ValueError(f"the only point is the image centre, which {name} does not move; use a larger mask_radius")
    return speed


def _moved(source: Float[Tensor, "b c h w"], motion: Float[Tensor, "2 3"], size: int) -> Float[Tensor, "b c s s"]:
    """T I, cropped at the centre to `size` pixels: I is read at T^-1 q, between pixels if need be."""
    side = min(source.shape[-2:])
    side -= (side - size) % 2  # both must have their centre on a pixel, or both between two
    top, left = ((length - side) // 2 for length in source.shape[-2:])
    window = source[..., top:top + side, left:left + side]
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    q = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    read = (q - motion[:, 2]) @ torch.linalg.inv(motion[:, :2]).T
    if side < size or read.abs().max() > (side - 1) / 2 + 1e-6:
        needed = size + 2 * math.ceil(float(read.abs().max()) - (size - 1) / 2)
        raise ValueError(f"images are {source.shape[-2]} x {source.shape[-1]} px, and small motions of {size} px reach "
                         f"beyond them; expected sources of at least {needed} px, or a smaller step")
    if bool((motion[:, :2] == torch.eye(2, dtype=torch.float64)).all()) and bool((motion[:, 2] % 1 == 0).all()):
        low_x, low_y = (int((side - size) / 2 - shift) for shift in motion[:, 2].tolist())
        return window[..., low_y:low_y + size, low_x:low_x + size]
    grid = (read * 2 / side).to(window).expand(len(window), -1, -1, -1)
    return F.grid_sample(window, grid, padding_mode="border", align_corners=False)


# ---------------------------------------------------------------------------------------------------- measuring

class _Reader(NamedTuple):
    """A model, read at points in pixels from the image centre."""

    model: BaseModel

    def grid(self, view: Tensor) -> Tensor:
        return self.model(view, checked=True)

    def read(self, grid: Tensor, p: Float[Tensor, "p 2"]) -> Float[Tensor, "b p d"]:
        return read_at(grid, self.model.geometry.cells(p).expand(len(grid), -1, -1)).double()


    def on_grid(self, p: Float[Tensor, "*p 2"]) -> Bool[Tensor, "*p"]:
        cells = self.model.geometry.cells(p)
        return ((cells >= 0) & (cells <= self.model.geometry.grid - 1)).all(-1)


class _Sums(NamedTuple):
    """Sums over points, for each image: what was missed by following, and by staying, and squares about the mean."""

    missed: Float[np.ndarray, "i k"]
    left: Float[np.ndarray, "i k"]
    about: Float[np.ndarray, " i"]


Differences = Callable[[_Reader, Tensor, Tensor], Iterable[tuple[Tensor, Tensor]]]
Start = Callable[[Tensor, int], Tensor]
Motions = tuple[Start, Differences, Callable[[Tensor], Tensor]]
"""The images as they are, cropped; what changes with each motion; and where points go."""


def _measured(model: BaseModel, images: Tensor, motions: Motions, points: int, mask_radius: float | None,
              batch_size: int) -> tuple[_Sums, _Sums]:
    """Sums of the model and, at the same points, of pixels."""
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected (b, channels, height, width) with b of 2 "
                         "or more, to say how much images differ")
    for name, value in {"points": points, "batch_size": batch_size}.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    radius = model.geometry.max_mask_radius if mask_radius is None else mask_radius
    readers = (_Reader(model), _Reader(patch_model(model, side=1).to(model.device)))
    start, differences, places = motions
    cells = mask_points(model.geometry, radius).double()
    staying = torch.stack([reader.on_grid(places(cells)).all(0) for reader in readers]).all(0)
    if not staying.any():
        raise ValueError(f"no cell within a mask of {radius:g} px stays on the grid when it is moved; take an earlier "
                         "layer, a larger input_size, or another mask_radius")
    cells = cells[staying]
    spread = np.linspace(0, len(cells) - 1, min(points, len(cells))).round().astype(int)
    p = cells[torch.from_numpy(spread)]
    model.check_values(images)
    network, pixels = (_sums(reader, images, start, differences, p, batch_size) for reader in readers)
    if not network.about.sum() > 0:
        raise ValueError(f"{model.name}/{model.layer} answers the same to all images at all points; check the images, "
                         "the layer and the weights")
    return network, pixels


@torch.no_grad()
def _sums(reader: _Reader, images: Tensor, start: Start, differences: Differences, p: Tensor,
          batch_size: int) -> _Sums:
    missed, left, plain = [], [], []
    for batch in images.split(batch_size):
        x = batch.to(reader.model.device)
        pairs = [(moved.square().sum((1, 2)).cpu(), stayed.square().sum((1, 2)).cpu())
                 for moved, stayed in differences(reader, x, p)]
        missed.append(torch.stack([pair[0] for pair in pairs], 1))
        left.append(torch.stack([pair[1] for pair in pairs], 1))
        plain.append(reader.read(reader.grid(start(x, reader.model.input_size)), p).cpu())
    reads = torch.cat(plain)
    about = (reads - reads.mean((0, 1))).square().sum((1, 2))
    return _Sums(torch.cat(missed).numpy(), torch.cat(left).numpy(), about.numpy())


def _result(names: tuple[str, ...], found: tuple[_Sums, _Sums], counted: slice, draws: int,
            seed: int) -> EquivarianceError:
    network, pixels = found

    def errors(drawn: np.ndarray) -> np.ndarray:
        each = network.missed[drawn].sum(0) / network.about[drawn].sum()
        return np.append(each, each[counted].mean())

    *each, mean = errors(np.arange(len(network.about)))
    samples = bootstrap(errors, len(network.about), draws=draws, seed=seed)
    *intervals, interval = (percentile_interval(column) for column in np.asarray(samples).T)
    return EquivarianceError(names, np.array(each), np.array(intervals), float(mean), interval,
                             pixels.missed.sum(0) / (pixels.about.sum() or np.nan),  # blank images have no pixels to go
                             network.left.sum(0) / network.about.sum())
