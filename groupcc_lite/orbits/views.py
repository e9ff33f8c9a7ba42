"""Some rows of stores as a source of their own, without a copy: folds of images, and samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.base import digest
from groupcc_lite.orbits.source import StoredOrbits


class OrbitRows(StoredOrbits):
    """These rows of these stores, sorted by image; nothing is copied or computed again.

    `rows` are the row numbers for each store, `images` the number of each row's image where the stores number theirs
    apart; by default what the stores say. `scale` is measured on these rows alone, so that rows which are left out have
    no part in it. ValueError for no rows, for rows that a store does not have, for stores of different groups,
    channels or exact elements, and for `images` that are not as many as the rows.

    >>> import tempfile, torch
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import OrbitRows, OrbitStore
    >>> store = OrbitStore.from_batches(tempfile.mkdtemp(), [torch.arange(1.0, 6)[:, None, None].expand(5, 4, 3)],
    ...                                 cyclic(4))
    >>> some = OrbitRows([store], [[1, 3]])
    >>> len(some), some.rows([1])[0, 0].tolist(), some.image.tolist()
    (2, [4.0, 4.0, 4.0], [1, 3])
    """

    def __init__(self, stores: Sequence[StoredOrbits], rows: Sequence[Sequence[int] | np.ndarray],
                 images: Sequence[np.ndarray] | None = None):
        chosen = [np.asarray(part, dtype=np.int64) for part in rows]
        if len(stores) != len(chosen) or not sum(map(len, chosen)):
            raise ValueError(f"{len(stores)} stores and rows {[len(part) for part in chosen]}; expected some rows, one "
                             "list of them for each store")
        for store, part in zip(stores, chosen, strict=True):
            if len(part) and not 0 <= part.min() <= part.max() < len(store):
                raise ValueError(f"rows go from {part.min()} to {part.max()}; expected 0 to {len(store) - 1}")
        first = stores[0]
        if any(store.group != first.group or store.channels != first.channels for store in stores):
            raise ValueError("the stores have different groups or channels: "
                             f"{[(store.group.name, store.channels) for store in stores]}")
        if any(store.exact.tolist() != first.exact.tolist() for store in stores):
            raise ValueError("the stores mark different elements as exact: "
                             f"{[store.exact.tolist() for store in stores]}; take one OrbitRows for each")
        numbers = [store.image[part] for store, part in zip(stores, chosen, strict=True)] if images is None else images
        if list(map(len, numbers)) != list(map(len, chosen)):
            raise ValueError(f"images number {list(map(len, numbers))} rows; expected the number of an image for each "
                             f"of the stores' {list(map(len, chosen))} rows")
        image = np.concatenate(numbers)
        by_image = np.argsort(image, kind="stable")
        self.stores, self.group, self.channels, self.exact = list(stores), first.group, first.channels, first.exact
        self.image = image[by_image]
        self._store = np.repeat(np.arange(len(stores)), [len(part) for part in chosen])[by_image]
        self._row = np.concatenate(chosen)[by_image]
        self.points = self._gathered([store.points for store in stores])

    def __len__(self) -> int:
        return len(self._row)

    def _gathered(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """What the stores have for these rows, in this order."""
        out = np.empty((len(self), *values[0].shape[1:]), dtype=values[0].dtype)
        for number, value in enumerate(values):
            here = self._store == number
            out[here] = value[self._row[here]]
        return out

    @cached_property
    def row_squares(self) -> Float[np.ndarray, "n g"]:
        """Squared norm of every block of every row."""
        return self._gathered([store.row_squares for store in self.stores])

    @cached_property
    def scale(self) -> float:
        """The factor that brings the mean squared norm of a block of these rows to `channels`."""
        return self.scale_of(slice(None))

    def scale_of(self, elements: slice) -> float:
        squares = self.row_squares[:, elements].mean(dtype=np.float64)
        if not squares > 0:
            raise ValueError("all activations of these rows are zero; check the images, the layer and the weights")
        return float(np.sqrt(self.channels / squares))

    @cached_property
    def fingerprint(self) -> str:
        """Of the stores and the rows."""
        return digest([[store.fingerprint for store in self.stores], self._store.tolist(), self._row.tolist()])

    def rows(self, indices: Sequence[int] | np.ndarray, elements: slice = slice(None)) -> Float[Tensor, "b g d"]:
        indices = np.asarray(indices)
        out = torch.empty(len(indices), len(range(self.group.order)[elements]), self.channels)
        for number, store in enumerate(self.stores):
            here = np.flatnonzero(self._store[indices] == number)
            if len(here):
                out[torch.from_numpy(here)] = store.rows(self._row[indices[here]], elements)
        return out


def thinned(source: StoredOrbits, most: int) -> StoredOrbits:
    """At most so many rows, evenly spread over all of them: enough for a measurement that all would make slow.

    >>> import tempfile, torch
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import OrbitStore
    >>> store = OrbitStore.from_batches(tempfile.mkdtemp(), [torch.ones(10, 4, 3)], cyclic(4))
    >>> thinned(store, 3).image.tolist(), thinned(store, 99) is store
    ([0, 4, 9], True)
    """
    if most < 1:
        raise ValueError(f"most is {most}; expected at least one row")
    if len(source) <= most:
        return source
    return OrbitRows([source], [np.linspace(0, len(source) - 1, most).astype(int)])
