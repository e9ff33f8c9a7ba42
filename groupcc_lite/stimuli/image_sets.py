"""What every set of images is: finite, ordered, loaded by index, and named by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


class ImageSource:
    """A finite, ordered set of square images of one size, loaded by index.

    Attributes: `size` in pixels, `names` (one per image), `fingerprint` (sha256 that changes with any image).

    >>> from groupcc_lite.stimuli import DrawingSource
    >>> train, held_out = DrawingSource(10, 48).split(0.2)
    >>> len(train), len(held_out), held_out.load([0]).shape
    (8, 2, torch.Size([1, 3, 48, 48]))
    """

    size: int
    names: list[str]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.names)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        """Images of these indices, RGB in [0, 1], float32."""
        raise NotImplementedError

    def load_bytes(self, indices: Sequence[int]) -> UInt8[Tensor, "b 3 h w"] | None:
        """The same before they are divided by 255, which is a quarter to hand on; None if they were never bytes."""
        return None

    def split(self, held_out: float | int, seed: int = 0) -> tuple[ImageSubset, ImageSubset]:
        """Two disjoint sources (train, held-out): whole images, never points of one image, change sides.

        `held_out` is the share of the second, strictly between 0 and 1; each side gets at least one image. ValueError
        for another share, and for a source of fewer than two images.
        """
        if not 0 < held_out < 1:
            raise ValueError(f"held_out is {held_out}; expected a fraction strictly between 0 and 1")
        if len(self) < 2:
            raise ValueError(f"a split needs at least 2 images, this source has {len(self)}")
        order = np.random.default_rng(seed).permutation(len(self))
        count = min(max(round(held_out * len(self)), 1), len(self) - 1)
        return ImageSubset(self, sorted(order[count:].tolist())), ImageSubset(self, sorted(order[:count].tolist()))


class ImageSubset(ImageSource):
    """Some images of another source, in the given order.

    >>> from groupcc_lite.stimuli import DrawingSource
    >>> ImageSubset(DrawingSource(10, 48), [7, 3]).names
    ['drawing-0-7', 'drawing-0-3']
    """

    def __init__(self, parent: ImageSource, indices: Sequence[int]):
        self.parent, self.indices, self.size = parent, list(indices), parent.size
        self.names = [parent.names[i] for i in self.indices]
        self.fingerprint = fingerprint_of(parent.fingerprint, *self.names)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        return self.parent.load([self.indices[i] for i in indices])

    def load_bytes(self, indices: Sequence[int]) -> UInt8[Tensor, "b 3 h w"] | None:
        return self.parent.load_bytes([self.indices[i] for i in indices])


def as_floats(images: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]; anything else as it is."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def fingerprint_of(*parts: object) -> str:
    """sha256 of all parts, tensors by their numbers."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.cpu().contiguous().numpy().tobytes() if isinstance(part, Tensor) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()
