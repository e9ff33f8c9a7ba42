"""Patch-centred orbits: the image is turned about the point itself, so that the point stays on one cell's centre.

Turned about its middle, an image carries a point to places between cells, where an activation grid must be
interpolated. Here every point gets views of its own: a window of the source image, centred on the point, is turned
about its middle by the group's action and shown to the network as a crop in which one cell sees just that window.
Nothing is read between cells. The price is |G| forward passes of a small crop for each point, instead of |G| passes of
the whole input for all points of an image.

A window's centre lies where a receptive field has its centre, on a pixel or between two, as a window of that many
pixels does. So elements that move pixels to pixels move those of the window bit for bit, and all others need one
interpolation, straight from the source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.actions import Action
from groupcc_lite.base import matrix_products
from groupcc_lite.models import BaseModel, Geometry

VIEWS = 64
"""How many crops go through the network at once: few enough for a CPU's cache."""


@dataclass(frozen=True)
class Crop:
    """The smallest input in which one cell sees what any cell sees of a whole image, all of it and no padding.

    >>> from groupcc_lite.models import load_model
    >>> crop = crop_for(load_model("tiny-inception", weights="random"))
    >>> crop.size, crop.cell, crop.low, crop.field  # of 96 pixels
    (62, 8, 3, 59)
    """

    model: BaseModel
    """The same network for images of `size` pixels."""
    cell: int
    """Row and column of the cell."""
    low: int
    """The first pixel that it sees, along both axes."""
    field: int
    """How many pixels it sees: the receptive field."""

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return self.model.input_size

    def read(self, windows: Float[Tensor, "b 3 f f"]) -> Float[Tensor, "b d"]:
        """The cell's activations for windows that fill its receptive field; what is around them it does not see."""
        after = self.size - self.low - self.field
        images = F.pad(windows, (self.low, after, self.low, after))
        return self.model(images, checked=True)[:, :, self.cell, self.cell].float()


_crops: WeakKeyDictionary[BaseModel, Crop] = WeakKeyDictionary()


def crop_for(model: BaseModel) -> Crop:
    """The crop in which a cell of this model's layer sees a whole receptive field; derived, then tested, once a model.

    Sizes from the receptive field upwards are tried until a cell's field lies inside. Then the network itself is asked:
    on noise the crop's cell must give what a cell of the whole image gives. ValueError for a layer whose cells see as
    much as the image has, or more than their receptive field says.
    """
    if model not in _crops:
        _crops[model] = _found(model)
    crop = _crops[model]
    return Crop(crop.model.to(model.device), crop.cell, crop.low, crop.field)


def _found(model: BaseModel) -> Crop:
    whole = model.geometry
    field, stride = whole.receptive_field, whole.stride
    for size in range(field, min(field + 3 * stride, whole.input_size)):
        try:
            small = model.at_size(size)
        except ValueError:  # too small for this network, or for measuring what its cells see
            continue
        place = _first_whole_cell(small.geometry)
        if place and (small.geometry.stride, small.geometry.receptive_field) == (stride, field):
            crop = Crop(small, *place, field)
            _ask_the_network(model, crop)
            return crop
    raise ValueError(f"{model.name}/{model.layer}: a cell sees {field} px of {whole.input_size}, and no smaller crop "
                     "holds that whole; patch-centred orbits need a layer with local receptive fields: take an "
                     "earlier layer, a larger input_size, or registration='image-centre'")


def _first_whole_cell(geometry: Geometry) -> tuple[int, int] | None:
    """The first cell whose receptive field lies in the input, and where that begins; None if there is none."""
    half = (geometry.receptive_field - 1) / 2
    cell = max(0, math.ceil((half - geometry.first) / geometry.stride))
    low = geometry.first + geometry.stride * cell - half
    fits = cell < geometry.grid and low + geometry.receptive_field <= geometry.input_size
    return (cell, int(low)) if fits and low.is_integer() else None


@torch.no_grad()
def _ask_the_network(model: BaseModel, crop: Crop) -> None:
    """ValueError unless a cell of a whole noise image and the crop's cell, shown the same pixels, answer alike."""
    size, place = model.input_size, _first_whole_cell(model.geometry)
    if place is None:
        raise ValueError(f"{model.name}/{model.layer}: no cell's receptive field of {crop.field} px lies whole in the "
                         f"input of {size} px; take an earlier layer or a larger input_size")
    cell, low = place
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(model.device)
    whole = model(noise)[:, :, cell, cell].float()
    alone = crop.read(noise[..., low:low + crop.field, low:low + crop.field])
    if (whole - alone).abs().max() > 1e-3 * whole.abs().max():
        raise ValueError(f"{model.name}/{model.layer}: a cell answers otherwise when it is shown the {crop.field} px "
                         "of its receptive field alone; it must see more of the image, so patch-centred orbits are "
                         "not defined for this layer; take registration='image-centre'")


@torch.no_grad()
def patch_blocks(model: BaseModel, action: Action, sources: Float[Tensor, "b 3 h w"], points: Float[Tensor, "b p 2"],
                 elements: Sequence[int], *, amp: bool = False) -> Float[Tensor, "n g d"]:
    """x[g] of each point for views turned about the point itself, for the given elements; rows image by image.

    `sources` are images as for `sample_orbits`, on the model's device, `points` pixels from their centre at which a
    receptive field can be centred, such as centres of cells. ValueError for others, for points whose window reaches out
    of the source, and as by `crop_for`.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.models import load_model
    >>> model, action = load_model("tiny-inception", weights="random"), PlanarAction(dihedral(4))
    >>> patch_blocks(model, action, torch.rand(1, 3, 138, 138), torch.tensor([[[0.5, -3.5]]]), range(8)).shape
    torch.Size([1, 8, 120])
    """
    crop = crop_for(model)
    windows = _windows(sources, points, model.input_size, crop.field, action.source_size(crop.field))
    parts = []
    for some in windows.split(max(1, VIEWS // len(elements))):
        views = action.images(some, size=crop.field, elements=elements).flatten(0, 1)
        with matrix_products(model.device, amp):
            parts.append(crop.read(views).unflatten(0, (len(elements), -1)).movedim(0, 1))
    return torch.cat(parts)


def _windows(sources: Tensor, points: Tensor, size: int, field: int, needed: int) -> Float[Tensor, "n 3 s s"]:
    """A window of every source around each of its points, from which `field` pixels can be turned to any angle."""
    side = needed - (needed - field) % 2  # both must have their centre on a pixel, or both between two
    sources = _centre_square(sources, size)
    square = sources.shape[-1]
    starts = points.cpu().double() + (square - side) / 2
    if (starts - starts.round()).abs().max() > 1e-3:
        raise ValueError("points lie where no receptive field has its centre; expected centres of cells, in pixels "
                         "from the image centre")
    starts = starts.round().long()
    if starts.min() < 0 or starts.max() > square - side:
        raise ValueError(f"windows of {side} px around the points reach out of source images of {square} px; use a "
                         "smaller mask_radius, or larger sources")
    return torch.stack([source[:, y:y + side, x:x + side]
                        for source, own in zip(sources, starts.tolist(), strict=True) for x, y in own])


def _centre_square(sources: Float[Tensor, "b 3 h w"], size: int) -> Float[Tensor, "b 3 s s"]:
    """As the actions crop images of any sides, so that both have one centre; `size` is that of the network's input."""
    side = min(sources.shape[-2:])
    side -= (side - size) % 2
    top, left = ((length - side) // 2 for length in sources.shape[-2:])
    return sources[..., top:top + side, left:left + side]
