"""What training asks of orbit vectors, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, cyclic
from groupcc_lite.orbits.ahead import made_ahead, pinned


class OrbitSource:
    """What training needs: `len`, `group`, `channels`, `scale`, `exact` and `batches`.

    `scale` is the factor that brings the mean squared norm of a block to `channels` (over all rows of a store, over
    some hundred images of a stream); `exact` marks the elements that move pixels to pixels. `fingerprint` names what
    the rows are made from, for checkpoints: two sources of one fingerprint hand out the same batches. None: unknown.

    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import OrbitSource
    >>> class Ones(OrbitSource):
    ...     group, channels, scale, exact = cyclic(2), 3, 1.0, np.array([True, True])
    ...     def __len__(self):
    ...         return 10
    >>> Ones().batches_per_epoch(4)
    2
    """

    group: FiniteGroup
    channels: int
    scale: float
    exact: np.ndarray
    fingerprint: str | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def scale_of(self, elements: slice) -> float:
        """The same factor for some blocks alone; where a source measures nothing it is that of all blocks."""
        return self.scale

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Shuffled batches of one epoch, from batch number `start` on; the last incomplete batch is dropped.

        `elements` picks blocks; no others are read or computed.
        """
        raise NotImplementedError

    def in_order(self, batch_size: int = 1024, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Every row once, in order, where a source keeps rows; the last batch may be smaller.

        ValueError for one that only hands out shuffled batches, such as a stream.
        """
        raise ValueError(f"{type(self).__name__} hands out shuffled batches only; store its orbits with "
                         "OrbitStore.make, or take some that lie in memory (TensorOrbits), to go through every row")

    def batches_per_epoch(self, batch_size: int) -> int:
        """Number of full batches; ValueError when there is not even one."""
        if not 1 <= batch_size <= len(self):
            raise ValueError(f"batch_size is {batch_size}; expected 1 to {len(self)}, the number of orbits: take a "
                             "smaller one, or more images or points_per_image")
        return len(self) // batch_size


class StoredOrbits(OrbitSource):
    """Orbits whose rows can be read by number: a store, or some rows of stores.

    `image` says for each row which image of its source it comes from, `points` (n, 2) where in it, in pixels from the
    centre. Subclasses give `rows` and `row_squares`.

    >>> from groupcc_lite.orbits import OrbitRows, OrbitStore, StoredOrbits
    >>> issubclass(OrbitStore, StoredOrbits) and issubclass(OrbitRows, StoredOrbits)
    True
    """

    image: np.ndarray
    points: np.ndarray

    def rows(self, indices: Sequence[int] | np.ndarray, elements: slice = slice(None)) -> Float[Tensor, "b g d"]:
        """Orbit vectors of these rows, in this order, float32, in the model's own units."""
        raise NotImplementedError

    @property
    def row_squares(self) -> Float[np.ndarray, "n g"]:
        """Squared norm of every block of every row."""
        raise NotImplementedError

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The shuffled row numbers of one epoch."""
        return np.random.default_rng([seed, epoch]).permutation(len(self))

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """As by `OrbitSource`; a thread gathers the next batch while this one is used."""
        order, numbers = self.order(seed, epoch), range(start, self.batches_per_epoch(batch_size))
        return made_ahead(pinned(self.rows(order[number * batch_size:(number + 1) * batch_size], elements))
                          for number in numbers)

    def in_order(self, batch_size: int = 1024, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Every row once, in the order of the images; the last batch may be smaller."""
        for first in range(0, len(self), batch_size):
            yield self.rows(np.arange(first, min(first + batch_size, len(self))), elements)


class IdentityBlocks(OrbitSource):
    """The untransformed block of another source's orbits: what a plain sparse autoencoder is trained on.

    Its `scale` is that of these blocks alone, so that an autoencoder's inputs have mean squared norm `channels`.

    >>> import torch
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import IdentityBlocks, TensorOrbits
    >>> plain = IdentityBlocks(TensorOrbits(torch.ones(10, 4, 3), cyclic(4)))
    >>> next(plain.batches(5)).shape, plain.group.order
    (torch.Size([5, 1, 3]), 1)
    """

    def __init__(self, source: OrbitSource):
        self.source, self.group, self.channels = source, cyclic(1), source.channels
        self.exact = np.array([True])

    def __len__(self) -> int:
        return len(self.source)

    @property
    def scale(self) -> float:
        """The factor that brings the mean squared norm of the untransformed block to `channels`."""
        return self.source.scale_of(slice(0, 1))

    @property
    def fingerprint(self) -> str | None:
        """That of the whole orbits; a coder's group tells the two apart."""
        return self.source.fingerprint

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b 1 d"]]:
        one = slice(0, len(range(1)[elements]))  # `elements` counts this source's blocks, of which there is one
        return self.source.batches(batch_size, seed=seed, epoch=epoch, start=start, elements=one)

    def in_order(self, batch_size: int = 1024, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b 1 d"]]:
        """Every row of a store once, in order."""
        return self.source.in_order(batch_size, elements=slice(0, len(range(1)[elements])))
