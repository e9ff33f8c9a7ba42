"""From images to orbit vectors: which points to take, and where they go when the image turns.

An orbit vector of image I at point p is x[g] = a(g I)(g p), one block of `d` channels per group element
(Gorton 2024, section 2.2). Points are chosen once, on the untransformed image, and live in pixels from the image
centre. They become cell coordinates only when an activation grid is read. Warping whole grids back, as the paper
describes it, reads the same numbers (the bilinear weights are the same) at a much higher price;
`tests/orbits/test_sampling.py` keeps that slow way as the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.actions import Action
from groupcc_lite.base import matrix_products
from groupcc_lite.models import BaseModel, Geometry, read_together
from groupcc_lite.orbits.patches import crop_for, patch_blocks

REGISTRATIONS = ("image-centre", "grid-centre", "patch-centred")
"""What is turned about what (chapter 2): image and points about the image's middle; the points about the grid's own,
which is wrong, for comparison; or, for every point anew, the image about the point."""


class OrbitSample(NamedTuple):
    """Orbit vectors with where they come from; all on the device that computed the blocks.

    >>> import torch
    >>> from groupcc_lite.orbits import OrbitSample
    >>> sample = OrbitSample(torch.ones(2, 4, 6), image=torch.tensor([0, 0]), points=torch.zeros(2, 2))
    >>> sample.blocks[sample.image == 0].shape
    torch.Size([2, 4, 6])
    """

    blocks: Float[Tensor, "n g d"]
    """Activations x[g] of each sampled point."""
    image: Int[Tensor, " n"]
    """Index of the image in the batch that was sampled."""
    points: Float[Tensor, "n 2"]
    """Pixels from the centre of the untransformed image, x right, y down."""


def mask_points(geometry: Geometry, radius: float) -> Float[Tensor, "k 2"]:
    """Centres of the grid cells within `radius` pixels of the image centre, in pixels from the image centre.

    >>> from groupcc_lite.models import Geometry
    >>> from groupcc_lite.orbits import mask_points
    >>> grid = Geometry(stride=8, first=3.5, receptive_field=15, input_size=32, grid=4)
    >>> mask_points(grid, radius=6.0).tolist()
    [[-4.0, -4.0], [4.0, -4.0], [-4.0, 4.0], [4.0, 4.0]]
    """
    axis = torch.arange(geometry.grid, dtype=torch.float32)
    cells = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)
    points = geometry.pixels(cells)
    return points[points.norm(dim=-1) <= radius]


def choose_points(activations: Float[Tensor, "b d h w"], geometry: Geometry, count: int, mask_radius: float,
                  generators: Sequence[torch.Generator]) -> Float[Tensor, "b p 2"]:
    """Cells inside the circular mask, drawn without replacement, with probability proportional to the L2 norm there.

    One generator per image, so that an image's points do not depend on the batch it came in.
    Source: Gorton 2024, section 2.2, steps 1-3. ValueError if the mask holds fewer than `count` cells.
    """
    points = mask_points(geometry, mask_radius)
    if not len(points):
        raise ValueError(f"no point is left inside a mask of {mask_radius:g} px: each reads {geometry.receptive_field} "
                         f"px of {geometry.input_size}; take an earlier layer, a larger input_size, or a mask_radius")
    if not 0 < count <= len(points):
        raise ValueError(f"points_per_image is {count}, but a mask of {mask_radius:g} px holds {len(points)} cells of "
                         f"stride {geometry.stride}; take 1 to {len(points)} points or another mask_radius")
    cells = geometry.cells(points)
    _require_on_grid(_on_grid(cells, *activations.shape[-2:]), *activations.shape[-2:])  # where the host has them
    cells = cells.to(activations.device).expand(len(activations), -1, -1)
    norms = _interpolated(activations.float(), cells).norm(dim=-1)
    # A blank image has no norms to be proportional to; the tiny floor makes its points uniform instead of an error.
    return points.to(norms.device)[drawn(norms + 1e-6, count, generators)]


def drawn(weights: Float[Tensor, "b k"], count: int, generators: Sequence[torch.Generator]) -> Int[Tensor, "b p"]:
    """`count` places of each row, drawn without replacement in proportion to its weights, on the weights' device.

    What `torch.multinomial` draws on the CPU with these generators, by its method: the largest of weights over
    exponential numbers. Here the host draws the numbers and need not wait for the weights.
    """
    exponential = torch.stack([torch.empty(weights.shape[1]).exponential_(generator=g) for g in generators])
    return (weights / exponential.to(weights.device)).topk(count).indices


def read_at(grid: Float[Tensor, "b d h w"], cells: Float[Tensor, "b p 2"]) -> Float[Tensor, "b p d"]:
    """Bilinear read of activation grids at cell coordinates (x, y), in single precision or the grid's own if finer.

    ValueError for coordinates that lie outside the grid.

    >>> import torch
    >>> from groupcc_lite.orbits import read_at
    >>> grid = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> read_at(grid, torch.tensor([[[0.5, 0.0], [1.0, 1.0]]]))[0, :, 0].tolist()
    [0.5, 3.0]
    """
    cells = cells.to(grid.device)
    _require_on_grid(_on_grid(cells, *grid.shape[-2:]), *grid.shape[-2:])
    return _interpolated(grid, cells)


def _interpolated(grid: Float[Tensor, "b d h w"], cells: Float[Tensor, "b p 2"]) -> Float[Tensor, "b p d"]:
    """The same for cells that are known to lie on the grid: nothing is read back from the device.

    Weights and sums have single precision at least: the eight bits of bfloat16 would move points by up to a 256th of a
    cell.
    """
    limit = torch.tensor([length - 1 for length in (grid.shape[-1], grid.shape[-2])], device=grid.device)
    low = cells.floor().clamp(min=torch.zeros_like(limit), max=(limit - 1).clamp(min=0)).long()
    high = torch.minimum(low + 1, limit)
    precise = torch.promote_types(grid.dtype, torch.float32)
    fraction = (cells - low).to(precise)
    rows = rearrange(grid, "b d h w -> b h w d")  # a view without copy for channels-last activations
    image = torch.arange(len(grid), device=grid.device)[:, None]
    (x0, y0), (x1, y1) = low.unbind(-1), high.unbind(-1)
    fx, fy = fraction[..., :1], fraction[..., 1:]
    corners = [rows[image, y, x].to(precise) for y in (y0, y1) for x in (x0, x1)]
    top, bottom = (left * (1 - fx) + right * fx for left, right in (corners[:2], corners[2:]))
    return top * (1 - fy) + bottom * fy


def transformed_cells(points: Float[Tensor, "b p 2"], action: Action, geometry: Geometry,
                      registration: str = "image-centre") -> Float[Tensor, "g b p 2"]:
    """Cell coordinates of g p for every element.

    `image-centre` turns points about the image centre, where the image itself turns. `grid-centre` is the naive way,
    kept for comparison: it turns them about the middle of the activation grid, which lies `geometry.centre_offset`
    pixels away along both axes (up to twice that is lost at 180 degrees). ValueError for another registration;
    `patch-centred` leaves every point on one cell and reads no grid.

    >>> import torch
    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.models import Geometry
    >>> from groupcc_lite.orbits import transformed_cells
    >>> grid = Geometry(stride=8, first=3.5, receptive_field=15, input_size=32, grid=4)
    >>> transformed_cells(torch.tensor([[[4.0, -4.0]]]), PlanarAction(cyclic(2)), grid)[:, 0, 0].tolist()
    [[2.0, 1.0], [1.0, 2.0]]
    """
    if registration == "image-centre":
        return geometry.cells(action.points(points))
    if registration == "grid-centre":
        middle = (geometry.grid - 1) / 2
        return action.points(geometry.cells(points) - middle) + middle
    raise ValueError(f"registration is {registration!r}; expected image-centre or grid-centre, which read grids")


def sample_orbits(model: BaseModel, action: Action, images: Float[Tensor, "b 3 h w"], *,
                  points_per_image: int = 16, mask_radius: float | None = None, registration: str = "image-centre",
                  seed: int = 0, indices: Sequence[int] | None = None, amp: bool = False, batch_size: int | None = None,
                  elements: slice = slice(None)) -> OrbitSample:
    """Orbit vectors x[g] = a(g I)(g p) of points in each image, blocks float32, all on the model's device.

    `registration`: with "image-centre" images turn about their middle, |G| forward passes an image, and a turned point
    is read between cells. With "patch-centred" they turn about each point, |G| passes of a small crop a point, and it
    stays on a cell's centre: see `patches`. "grid-centre" misplaces points. The points are the same for all three.
    `images` are source images, large enough to be rotated without showing a corner; of those that are not square the
    middle is taken. `indices` name the images for the seeding (default 0, 1, ...): point choice depends on (seed,
    index) only. `mask_radius` in pixels defaults to the largest that keeps the receptive field of every chosen cell
    inside the input; a turned point lies between cells, and the outer ones of the four it is read from may see up to
    one stride further. `amp` computes the forward pass in bfloat16 where the processor has it; all views of
    `batch_size` images are made at a time. By default they are 8 on a CPU, in whose cache they stay, and 32 elsewhere,
    where as many views go through the network as fit into memory. `elements` picks blocks: only their views, and that
    of e, on which points are chosen, are computed. Nothing is read back from the device but one flag, at the end, which
    says whether all was well. Source: Gorton 2024, section 2.2. ValueError for images too small or with values far from
    [0, 1], a mask too large, an unknown registration, NaN activations, and "patch-centred" with a layer that has no
    local receptive field.

    >>> import torch
    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.models import load_model
    >>> from groupcc_lite.orbits import sample_orbits
    >>> model = load_model("tiny-inception", weights="random")
    >>> sample = sample_orbits(model, PlanarAction(cyclic(4)), torch.rand(1, 3, 96, 96), points_per_image=5)
    >>> sample.blocks.shape == (5, 4, model.channels), sample.points.shape
    (True, torch.Size([5, 2]))
    """
    (sample,) = sample_layers([model], action, images, points_per_image=points_per_image, mask_radius=mask_radius,
                              registration=registration, seed=seed, indices=indices, amp=amp, batch_size=batch_size,
                              elements=elements)
    return sample


@torch.no_grad()
def sample_layers(models: Sequence[BaseModel], action: Action, images: Float[Tensor, "b 3 h w"], *,
                  points_per_image: int = 16, mask_radius: float | None = None, registration: str = "image-centre",
                  seed: int = 0, indices: Sequence[int] | None = None, amp: bool = False, batch_size: int | None = None,
                  elements: slice = slice(None)) -> list[OrbitSample]:
    """What `sample_orbits` gives for each of several models, which see every view of an image in one pass.

    Layers of one network then cost what the deepest of them costs (`models.read_together`). Points are chosen for each
    layer by itself. ValueError as by `sample_orbits`, and for models that take images of different sizes.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.models import load_model
    >>> stack = [load_model(layer=layer) for layer in ("conv2d2", "mixed3b")]
    >>> both = sample_layers(stack, PlanarAction(cyclic(4)), torch.rand(1, 3, 96, 96), points_per_image=5)
    >>> [tuple(sample.blocks.shape) for sample in both]
    [(5, 4, 48), (5, 4, 120)]
    """
    if not len(images):
        raise ValueError("images is empty; expected at least one image")
    if registration not in REGISTRATIONS:
        raise ValueError(f"registration is {registration!r}; expected one of {', '.join(REGISTRATIONS)}")
    sizes = {model.input_size for model in models}
    if len(sizes) != 1:
        raise ValueError(f"the models take images of {sorted(sizes)} px; expected models of one size")
    if registration == "patch-centred":
        for model in models:
            crop_for(model)  # says at once if there is none
    numbers = list(range(len(images)) if indices is None else indices)
    if len(numbers) != len(images):
        raise ValueError(f"indices name {len(numbers)} of {len(images)} images; expected one number for each image")
    choosers = [_Chooser(model.geometry, points_per_image, model.geometry.max_mask_radius if mask_radius is None
                         else mask_radius, [_mix(seed, number) for number in numbers]) for model in models]
    checks, read, some = _Checks(), read_together(models), _images_at_a_time(models[0].device, batch_size)
    parts = [_orbits_of_batch(models, read, action, images[first:first + some], registration, amp, elements,
                              [partial(chooser.choose, first=first) for chooser in choosers], checks)
             for first in range(0, len(images), some)]
    image = torch.arange(len(images)).repeat_interleave(points_per_image)
    found = [_sample(model, [part[position] for part in parts], image, checks) for position, model in enumerate(models)]
    checks.settle()
    return found


class _Checks:
    """What must hold of numbers on a device, as flags there: the host waits once, when all of them are settled."""

    def __init__(self) -> None:
        self._flags: list[Tensor] = []
        self._complaints: list[Callable[[], object]] = []

    def add(self, holds: Bool[Tensor, ""], complain: Callable[[], object]) -> None:
        """`complain` raises what there is to say if `holds` turns out not to."""
        self._flags.append(holds)
        self._complaints.append(complain)

    def settle(self) -> None:
        """The first complaint, if there is any."""
        if not torch.stack(self._flags).all():
            for holds, complain in zip(self._flags, self._complaints, strict=True):
                if not holds:
                    complain()


CPU_IMAGES, OTHER_IMAGES = 8, 32
"""Images whose views are made at a time."""
VIEWS = 64
"""Views that go through a network together on a device whose memory is not known."""


def _images_at_a_time(device: torch.device, batch_size: int | None) -> int:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least one image at a time")
    return batch_size or (CPU_IMAGES if device.type == "cpu" else OTHER_IMAGES)


def _in_passes(passes: list[int], images: int, device: torch.device, per_view: int) -> list[list[int]]:
    """Elements whose views go through the network together, after e, on whose grid points are chosen.

    On a CPU one element at a time: more would leave the cache. Elsewhere as many as half of the memory that is free can
    hold, if a view takes `per_view` bytes.
    """
    views = VIEWS
    if device.type == "cuda" and per_view > 0:
        views = int(torch.cuda.mem_get_info(device)[0] / 2 / per_view)
    some = 1 if device.type == "cpu" else max(1, views // images)
    first, *rest = passes
    return [[first], *(rest[start:start + some] for start in range(0, len(rest), some))]


class _Memory:
    """The memory that passes take at their peak, for a view; 0 where no device tells."""

    def __init__(self, device: torch.device):
        self.cuda = device if device.type == "cuda" else None

    def __enter__(self) -> _Memory:
        if self.cuda is not None:
            torch.cuda.reset_peak_memory_stats(self.cuda)
            self._before = torch.cuda.memory_allocated(self.cuda)
        return self

    def __exit__(self, *error: object) -> None:
        self.taken = 0 if self.cuda is None else torch.cuda.max_memory_allocated(self.cuda) - self._before


class _Chooser:
    """Chooses points of a batch's images on one model's grids, with one generator an image."""

    def __init__(self, geometry: Geometry, count: int, radius: float, seeds: Sequence[int]):
        self.settings, self.seeds = dict(geometry=geometry, count=count, mask_radius=radius), seeds

    def choose(self, grid: Float[Tensor, "b d h w"], first: int) -> Float[Tensor, "b p 2"]:
        """Points of the images from number `first` on."""
        seeds = self.seeds[first:first + len(grid)]
        return choose_points(grid, **self.settings, generators=[torch.Generator().manual_seed(s) for s in seeds])


def _sample(model: BaseModel, parts: Sequence[tuple[Tensor, Tensor]], image: Tensor, checks: _Checks) -> OrbitSample:
    """One sample of the batches' blocks and points; checked for activations that are no numbers."""
    blocks, points = (torch.cat(some) for some in zip(*parts, strict=True))
    checks.add(torch.isfinite(blocks).all(), partial(_not_finite, model))
    return OrbitSample(blocks, image.to(blocks.device), points.to(blocks.device))


def _not_finite(model: BaseModel) -> None:
    raise ValueError(f"{model.name} gave NaN or infinite activations; check the images and the model's weights")


@torch.no_grad()
def orbits_at(model: BaseModel, action: Action, images: Float[Tensor, "b 3 h w"], points: Float[Tensor, "b p 2"], *,
              amp: bool = False, batch_size: int | None = None) -> Float[Tensor, "n g d"]:
    """Orbit vectors of given points, in pixels from the image centre: blocks of image 0's points first.

    What `sample_orbits` does with points of its own choice; several models can so be asked about the same places.
    Points lie anywhere: x[e] is read between cells as well. ValueError for points that leave the activation grid under
    some element, and as for `sample_orbits`.

    >>> import torch
    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.models import load_model
    >>> model = load_model("tiny-inception", weights="random")
    >>> orbits_at(model, PlanarAction(cyclic(4)), torch.rand(2, 3, 96, 96), torch.zeros(2, 3, 2)).shape
    torch.Size([6, 4, 120])
    """
    if not len(images) or points.shape[:1] != images.shape[:1]:
        raise ValueError(f"{len(images)} images and points of {len(points)}; expected some of each, and as many")
    checks, read, some = _Checks(), read_together([model]), _images_at_a_time(model.device, batch_size)
    parts = [_orbits_of_batch([model], read, action, images[first:first + some], "image-centre", amp, slice(None),
                              [lambda _, first=first: points[first:first + some]], checks)[0]
             for first in range(0, len(images), some)]
    found = _sample(model, parts, torch.empty(0), checks).blocks
    checks.settle()
    return found


def _orbits_of_batch(models: Sequence[BaseModel], read: Callable[[Tensor], list[Tensor]], action: Action,
                     images: Tensor, registration: str, amp: bool, elements: slice,
                     choosers: Sequence[Callable[[Tensor], Tensor]], checks: _Checks) -> list[tuple[Tensor, Tensor]]:
    """Blocks (n, g, d) and points (n, 2) of a few images for each model; points are chosen on the grid of e.

    Images are interpolated once for all views. A view is made when the network reads it: on a CPU all of them together
    would be fresh memory for every batch.
    """
    device = models[0].device
    wanted = list(range(action.group.order)[elements])
    passes = wanted if wanted[:1] == [0] else [0, *wanted]
    sources = images.to(device, non_blocking=True)
    checks.add(models[0].values_fit(sources), partial(models[0].check_values, sources))  # of no view: images say it all
    if registration == "patch-centred":
        return _about_points(models, read, action, sources, amp, wanted, choosers)
    views = _views(action, sources, models[0].input_size, passes)
    with _Memory(device) as memory, matrix_products(device, amp):
        grids = read(next(views))
    points = [choose(grid) for choose, grid in zip(choosers, grids, strict=True)]
    cells = [_cells_on(grid, chosen, action, model.geometry, registration, checks)
             for model, grid, chosen in zip(models, grids, points, strict=True)]
    blocks: list[list[Tensor]] = [[] for _ in models]
    for together in _in_passes(passes, len(images), device, memory.taken // len(images)):
        if together != [0]:
            some = list(islice(views, len(together)))
            with matrix_products(device, amp):
                grids = read(torch.cat(some) if len(some) > 1 else some[0])
        for kept, grid, at in zip(blocks, grids, cells, strict=True):
            kept += [_interpolated(own, at[g]).float()
                     for g, own in zip(together, grid.split(len(images)), strict=True) if g in wanted]
    return [(rearrange(kept, "g b p d -> (b p) g d"), chosen.reshape(-1, 2).to(device))
            for kept, chosen in zip(blocks, points, strict=True)]


def _views(action: Action, sources: Tensor, size: int, elements: list[int]) -> Iterator[Float[Tensor, "b c s s"]]:
    """One after the other where the action can make them so, as those of this library can."""
    one_by_one = getattr(action, "views", None)
    return iter(one_by_one(sources, size, elements) if one_by_one else action.images(sources, size, elements))


def _about_points(models: Sequence[BaseModel], read: Callable[[Tensor], list[Tensor]], action: Action, sources: Tensor,
                  amp: bool, wanted: Sequence[int],
                  choosers: Sequence[Callable[[Tensor], Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """The same for views that are turned about each point: small crops, whose places the host must know."""
    view = next(_views(action, sources, models[0].input_size, [0]))
    with matrix_products(models[0].device, amp):
        grids = read(view)
    points = [choose(grid) for choose, grid in zip(choosers, grids, strict=True)]
    return [(patch_blocks(model, action, sources, chosen, wanted, amp=amp), chosen.reshape(-1, 2))
            for model, chosen in zip(models, points, strict=True)]


def _cells_on(grid: Float[Tensor, "b d h w"], points: Float[Tensor, "b p 2"], action: Action, geometry: Geometry,
              registration: str, checks: _Checks) -> Float[Tensor, "g b p 2"]:
    """Where the points are under every element; checked for those that leave the grid."""
    cells, side = transformed_cells(points, action, geometry, registration).to(grid.device), grid.shape[-2:]
    checks.add(_on_grid(cells, *side), partial(_require_on_grid, False, *side))
    return cells


def _on_grid(cells: Float[Tensor, "*n 2"], height: int, width: int) -> Bool[Tensor, ""]:
    x, y = cells.unbind(-1)
    return ((x >= -1e-4) & (x <= width - 1 + 1e-4) & (y >= -1e-4) & (y <= height - 1 + 1e-4)).all()


def _require_on_grid(holds: Bool[Tensor, ""] | bool, height: int, width: int) -> None:
    if not holds:
        raise ValueError(f"points reach outside the {height} x {width} activation grid; use a smaller mask_radius")


def _mix(seed: int, number: int) -> int:
    """One 63-bit seed from two integers; consecutive seeds must not give overlapping streams (splitmix64 constants)."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    return (z ^ (z >> 31)) % 2**63
