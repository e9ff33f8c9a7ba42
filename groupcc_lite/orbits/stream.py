"""Orbit activations computed when they are needed, for data sets that no disk holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.actions import Action
from groupcc_lite.base import digest
from groupcc_lite.models import BaseModel
from groupcc_lite.orbits.ahead import pinned
from groupcc_lite.orbits.half_precision import exponent_for, from_half, to_half
from groupcc_lite.orbits.sampling import sample_orbits
from groupcc_lite.orbits.source import OrbitSource
from groupcc_lite.stimuli import ImageSource, load_ahead

SCALE_IMAGES = 256
"""From how many images the scale is measured: with 16 points each the mean squared norm is known to about one per
cent; the images of one class, which often stand together, would not do."""


class OrbitStream(OrbitSource):
    """Orbit vectors computed when they are needed; at most `buffer` rows are held, and nothing is written.

    Each epoch draws new points. Shuffling mixes the rows in the buffer: the larger it is, the nearer to a full shuffle.
    Resuming at batch `start` replays the shuffle on row names alone and recomputes only the images still buffered, in
    the groups in which they were computed before: on one CPU the batches are the same bit for bit. Sampling as by
    `sample_orbits`, `images_per_step` images at a time; `scale` is measured, when it is first asked for, on 256 images
    drawn with `seed`. `workers` processes load images ahead, which changes no batch. ValueError for a buffer smaller
    than one step, for steps of nothing, and for activations beyond float16.

    >>> import torch
    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.models import load_model
    >>> from groupcc_lite.orbits import OrbitStream
    >>> from groupcc_lite.stimuli import TensorImages
    >>> model, images = load_model("tiny-inception", weights="random"), TensorImages(torch.rand(4, 3, 96, 96))
    >>> stream = OrbitStream(model, PlanarAction(cyclic(4)), images, points_per_image=3, buffer=12, images_per_step=2)
    >>> len(stream), next(stream.batches(6)).shape == (6, 4, stream.channels)
    (12, True)
    """

    def __init__(self, model: BaseModel, action: Action, source: ImageSource, *, points_per_image: int = 16,
                 mask_radius: float | None = None, registration: str = "image-centre", seed: int = 0,
                 buffer: int = 16_384, images_per_step: int = 16, amp: bool = False, batch_size: int | None = None,
                 workers: int = 0):
        for name, value in dict(points_per_image=points_per_image, images_per_step=images_per_step).items():
            if value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        if buffer < points_per_image * images_per_step:
            raise ValueError(f"buffer is {buffer} rows; expected at least points_per_image x images_per_step "
                             f"= {points_per_image * images_per_step}")
        self.model, self.action, self.source = model, action, source
        self.group, self.channels, self.exact = action.group, model.channels, action.exact
        self.buffer, self.images_per_step, self.points_per_image, self.seed = (
            buffer, images_per_step, points_per_image, seed)
        self.batch_size, self.workers = batch_size, workers
        self._sampling: dict[str, Any] = dict(points_per_image=points_per_image, mask_radius=mask_radius,
                                              registration=registration, amp=amp)
        self._measured: dict[tuple[int, ...], tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self.source) * self.points_per_image

    @property
    def fingerprint(self) -> str:
        """What the batches depend on: model, action, images, sampling and shuffling."""
        return digest([self.model.fingerprint, self.group.table.tolist(), self.action.fingerprint,
                       self.source.fingerprint, self._sampling, self.seed, self.buffer, self.images_per_step])

    @property
    def scale(self) -> float:
        return self.scale_of(slice(None))

    def scale_of(self, elements: slice) -> float:
        return self._measure(elements)[0]

    def _measure(self, elements: slice) -> tuple[float, int]:
        """(scale, power of two for float16) of these blocks, from a sample of the images."""
        key = tuple(range(self.group.order)[elements])
        if key not in self._measured:
            drawn = np.random.default_rng(self.seed).permutation(len(self.source))[:SCALE_IMAGES].tolist()
            squares, largest, count = 0.0, torch.zeros(()), 0
            groups = [drawn[first:first + self.images_per_step] for first in range(0, len(drawn), self.images_per_step)]
            for blocks in self._samples(groups, 0, elements):
                squares += float(blocks.square().sum(-1).sum(dtype=torch.float64))
                largest = torch.maximum(largest, blocks.abs().max().cpu())
                count += len(blocks) * len(key)
            if squares <= 0:
                raise ValueError("all activations are zero: the layer is dead, or its images are empty; check the "
                                 "images, the layer and the weights")
            self._measured[key] = ((self.channels * count / squares) ** 0.5, exponent_for(largest))
        return self._measured[key]

    def _samples(self, groups: Sequence[Sequence[int]], epoch: int,
                 elements: slice) -> Iterator[Float[Tensor, "n g d"]]:
        """Blocks of each group of images, in their order; the images of the next ones are loaded meanwhile."""
        for numbers, images in zip(groups, load_ahead(self.source, groups, self.workers), strict=True):
            yield sample_orbits(self.model, self.action, images, indices=numbers, elements=elements,
                                seed=self.seed + 7919 * epoch, batch_size=self.batch_size, **self._sampling).blocks

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        step = self.images_per_step * self.points_per_image
        if batch_size + step > self.buffer:
            raise ValueError(f"a batch of {batch_size} rows and {step} fresh ones do not fit the shuffle buffer of "
                             f"{self.buffer} rows; give the stream a larger buffer")
        rng = np.random.default_rng([seed, epoch])
        pool = _Pool(self, rng.permutation(len(self.source)), epoch, elements)
        for number in range(self.batches_per_epoch(batch_size)):
            if number == start:  # everything before was replayed by name
                pool.materialise()
            pool.refill()
            taken = rng.choice(len(pool.names), size=batch_size, replace=False)
            if pool.live:
                yield pool.rows(taken)
            pool.drop(taken)


class _Pool:
    """The shuffle buffer: names of its rows and, once it is live, their activations.

    A row's name is (place, slot): the place of its image in the epoch's order, the number of its point.
    """

    def __init__(self, stream: OrbitStream, order: np.ndarray, epoch: int, elements: slice):
        self.stream, self.order, self.epoch, self.elements = stream, order, epoch, elements
        self.names, self.next, self.live = np.empty((0, 2), dtype=np.int64), 0, False
        self.exponent = stream._measure(elements)[1]
        self.blocks = torch.empty((0,))
        self.samples: Iterator[Tensor] = iter(())

    def refill(self) -> None:
        """Add images while a whole step of them fits."""
        step, points = self.stream.images_per_step, self.stream.points_per_image
        while self.next < len(self.order) and len(self.names) + step * points <= self.stream.buffer:
            places = np.arange(self.next, min(self.next + step, len(self.order)))
            fresh = np.stack([places.repeat(points), np.tile(np.arange(points), len(places))], axis=1)
            if self.live:
                self.blocks[len(self.names):len(self.names) + len(fresh)] = self._extracted()
            self.names, self.next = np.concatenate([self.names, fresh]), self.next + step

    def materialise(self) -> None:
        """Compute the rows that are in the buffer by name, image by image with those it came in with."""
        count = len(range(self.stream.group.order)[self.elements])
        self.blocks = torch.empty((self.stream.buffer, count, self.stream.channels), dtype=torch.float16)
        step, points = self.stream.images_per_step, self.stream.points_per_image
        first_places = self.names[:, 0] // step * step
        buffered = np.unique(first_places).tolist()
        groups = [self.order[first:first + step].tolist()
                  for first in (*buffered, *range(self.next, len(self.order), step))]
        self.samples = self.stream._samples(groups, self.epoch, self.elements)
        for first in buffered:
            rows = np.flatnonzero(first_places == first)
            within = (self.names[rows, 0] - first) * points + self.names[rows, 1]
            self.blocks[rows] = self._extracted()[within]
        self.live = True

    def _extracted(self) -> Float[Tensor, "n g d"]:
        """float16 activations of the next step of images: first those that are in the buffer, then new ones."""
        return to_half(next(self.samples).cpu(), self.exponent)  # its check for overflow waits for no device then

    def rows(self, taken: np.ndarray) -> Float[Tensor, "b g d"]:
        return pinned(from_half(self.blocks[taken], self.exponent))

    def drop(self, taken: np.ndarray) -> None:
        """Fill the holes that a batch leaves with the buffer's last rows, and shorten it."""
        left = len(self.names) - len(taken)
        holes = np.sort(taken[taken < left])
        movers = np.setdiff1d(np.arange(left, len(self.names)), taken)
        self.names = self.names.copy()
        self.names[holes] = self.names[movers]
        if self.live:
            self.blocks[holes] = self.blocks[movers]
        self.names = self.names[:left]
