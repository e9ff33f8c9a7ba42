"""Where images come from: files, procedural drawings, or a tensor of your own.

Every source hands out *source images*: square, larger than the network's input by at least sqrt 2, so that a rotated
crop never shows a corner (`PlanarAction.source_size`). Photographs are scaled once, antialiased, and only if their
short side differs from the size asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from groupcc_lite.stimuli.image_sets import ImageSource, as_floats, fingerprint_of
from groupcc_lite.stimuli.looks import say_some, square_of
from groupcc_lite.stimuli.photographs import PhotoFolder
from groupcc_lite.stimuli.shapes import sample_drawings
from groupcc_lite.stimuli.tar_shards import TarImages, has_tars


def photo_folder(images: str | Path | None, profile: str) -> Path:
    """The folder given, or else GROUPCC_DATA's photographs; ValueError if neither is there.

    >>> photo_folder("holiday", "book").name
    'holiday'
    """
    data = os.environ.get("GROUPCC_DATA")
    if images is None and not data:
        raise ValueError(f"profile {profile!r} needs photographs: give images=FOLDER, or set GROUPCC_DATA to a folder "
                         "that holds imagenet-sample/images")
    return Path(images) if images is not None else Path(data, "imagenet-sample", "images")


def second_photo_folder() -> Path | None:
    """A second set of photographs that shares none with the first: GROUPCC_DATA's bsds/images, or None without it.

    >>> folder = second_photo_folder()
    >>> folder is None or folder.name == "images"
    True
    """
    data = os.environ.get("GROUPCC_DATA")
    folder = Path(data, "bsds", "images") if data else None
    return folder if folder is not None and folder.is_dir() else None


class DrawingSource(ImageSource):
    """`count` procedural drawings of known symmetry (`shapes.sample_drawings`); `labels` holds their shape class.

    >>> source = DrawingSource(100, size=138, seed=1)
    >>> len(source), source.load([0, 99]).shape
    (100, torch.Size([2, 3, 138, 138]))
    """

    def __init__(self, count: int, size: int, seed: int = 0):
        if count < 1:
            raise ValueError(f"count is {count}; expected at least one drawing")
        self.size, self.seed = size, seed
        self.names = [f"drawing-{seed}-{i}" for i in range(count)]
        self.fingerprint = fingerprint_of("drawings", count, size, seed, sample_drawings([0], size, seed=seed).images)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        return sample_drawings(list(indices), self.size, seed=self.seed).images


class TensorImages(ImageSource):
    """Images you already hold as one float tensor (b, 3, size, size), RGB in [0, 1].

    >>> TensorImages(torch.rand(2, 3, 64, 64), ["cat", "dog"]).names
    ['cat', 'dog']
    """

    def __init__(self, images: Tensor, names: Sequence[str] | None = None):
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or not len(images):
            raise ValueError(f"images have shape {tuple(images.shape)}; expected (b, 3, size, size) with b > 0")
        if not torch.isfinite(images).all() or images.min() < 0 or images.max() > 1:
            raise ValueError("images must be finite RGB values in [0, 1], before any normalisation (the model has its "
                             "mean and std); divide bytes by 255")
        self.images, self.size = images.float(), images.shape[-1]
        self.names = list(names) if names is not None else [f"image-{i}" for i in range(len(images))]
        if len(self.names) != len(images):
            raise ValueError(f"{len(self.names)} names for {len(images)} images")
        self.fingerprint = fingerprint_of("tensor", self.images)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        return self.images[list(indices)]


def image_source(images: Any, size: int, *, index: str | Path | None = None, workers: int = 0) -> ImageSource:
    """Whatever somebody has as images -> a source of them, square and of `size` pixels where that can be chosen.

    - a folder (path): its photographs, see `PhotoFolder`, or those in its tar files, see `TarImages`;
    - a tar file (path): the images in it;
    - a tensor or numpy array of images, (b, 3, h, w), (b, h, w, 3), or grey (b, h, w), (b, 1, h, w): bytes, or floats
      in [0, 1];
    - a list of Pillow images, or of single images as tensors or arrays;
    - an `ImageSource`: itself, as it is.

    `index`, a folder, and `workers` make opening many files faster, see `PhotoFolder`.
    All but the last are cut to squares and scaled to `size` pixels, but for arrays that are at most 15 % larger, of
    which the middle will be used. Images under `size` are enlarged, which the log says. ValueError for images under
    half of that, and for anything else, by what was given.

    >>> import numpy as np
    >>> image_source(np.zeros((5, 64, 64, 3), np.uint8), size=64).load([0]).shape
    torch.Size([1, 3, 64, 64])
    >>> image_source([Image.new("L", (90, 60))] * 2, size=48).load([0]).shape
    torch.Size([1, 3, 48, 48])
    """
    if isinstance(images, ImageSource):
        return images
    if isinstance(images, str | Path):
        tars = Path(images).is_file() or (Path(images).is_dir() and has_tars(Path(images)))
        return (TarImages if tars else PhotoFolder)(images, size, index=index, workers=workers)
    if isinstance(images, Sequence) and not len(images):
        raise ValueError("images is an empty list; expected at least two images")
    if isinstance(images, Sequence):
        shorts = [min(image.size) if isinstance(image, Image.Image) else size for image in images]
        _say_small(shorts, size)
        images = torch.stack([_one_tensor(image, size) for image in images])
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.ascontiguousarray(images))
    if not isinstance(images, Tensor):
        raise ValueError(f"images is {type(images).__name__}; expected a folder, a tensor or array (b, 3, size, size), "
                         "a list of images, or an ImageSource")
    return TensorImages(_fitted(_channels_first(images), size))


_SLACK = 1.15  # arrays up to so much larger than wanted are used as they are, from the middle


def _fitted(images: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c s s"]:
    """Squares from the middle, scaled to `size` unless they are hardly larger."""
    short = min(images.shape[-2:])
    top, left = ((side - short) // 2 for side in images.shape[-2:])
    squares = images[..., top:top + short, left:left + short]
    if size <= short <= _SLACK * size:
        return squares
    _say_small([short] * len(images), size)
    return torch.nn.functional.interpolate(squares.float(), (size, size), mode="bilinear", antialias=True,
                                           align_corners=False).clamp(squares.min(), squares.max())


def _say_small(shorts: Sequence[int], size: int) -> None:
    """The log's line about enlarged images; ValueError if some are under half of what is wanted."""
    tiny = [number for number, short in enumerate(shorts) if short < size // 2]
    if tiny:
        raise ValueError(f"image {tiny[0]} has a short side of {shorts[tiny[0]]} px, and {size} px are wanted, so that "
                         f"turned images have no empty corners; give images of at least {size // 2} px, or scale them "
                         "yourself")
    say_some("enlarged", [f"image {number} (short side {short} px, {size} wanted)"
                           for number, short in enumerate(shorts) if short < size], len(shorts))


def _one_tensor(image: Any, size: int) -> Tensor:
    if isinstance(image, Image.Image):
        return as_floats(square_of(image, size))
    if isinstance(image, str | Path):
        raise ValueError(f"images holds the path {str(image)!r}; give the folder itself, or opened images")
    one = torch.as_tensor(np.asarray(image))
    if one.ndim not in (2, 3):
        raise ValueError(f"images holds one of shape {tuple(one.shape)}; expected (3, h, w), (h, w, 3) or grey (h, w)")
    return _fitted(_channels_first(one[None]), size)[0]


def _channels_first(images: Tensor) -> Tensor:
    """Bytes as floats in [0, 1], channels before rows, grey as three equal channels; ValueError for other shapes."""
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim == 4 and images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"images have shape {tuple(images.shape)}; expected (b, 3, h, w), (b, h, w, 3), or grey "
                         "(b, h, w) or (b, 1, h, w), with b > 0")
    images = images.expand(-1, 3, -1, -1)
    return as_floats(images)
