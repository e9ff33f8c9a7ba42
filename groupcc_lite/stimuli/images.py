"""Where images come from: a folder of photographs, procedural drawings, or a tensor of your own.

Every source hands out *source images*: square, larger than the network's input by at least sqrt 2, so that a rotated
crop never shows a corner (`PlanarAction.source_size`). Photographs are scaled once, antialiased, and only if their
short side differs from the size asked for.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from groupcc_lite.base import progress_bar, sha256_of
from groupcc_lite.stimuli.shapes import sample_drawings

log = logging.getLogger(__name__)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
"""Endings of the files that `PhotoFolder` looks at."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for damaged files


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


class ImageSource:
    """A finite, ordered set of square images of one size, loaded by index.

    Attributes: `size` in pixels, `names` (one per image), `fingerprint` (sha256 that changes with any image).

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

    >>> ImageSubset(DrawingSource(10, 48), [7, 3]).names
    ['drawing-0-7', 'drawing-0-3']
    """

    def __init__(self, parent: ImageSource, indices: Sequence[int]):
        self.parent, self.indices, self.size = parent, list(indices), parent.size
        self.names = [parent.names[i] for i in self.indices]
        self.fingerprint = _fingerprint(parent.fingerprint, *self.names)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        return self.parent.load([self.indices[i] for i in indices])


class PhotoFolder(ImageSource):
    """All readable photographs below a folder, upright, centre-cropped to squares of `size` pixels.

    A photograph is scaled so that its short side has `size` pixels. Smaller ones are enlarged, up to twice, and the log
    says how many; files that cannot be decoded, and images whose short side is under half of `size`, are left out with
    one summary line. Cameras store photographs as the sensor sees them, with a note how to turn them; they are turned
    (EXIF orientation). Up to 20,000 files are decoded and hashed once when the folder is opened; in larger folders only
    headers are read, and names and sizes stand for the content. Raises ValueError for a folder without usable images.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (300, 200), "red").save(f"{folder}/red.png")
    ...     PhotoFolder(folder, size=138).load([0]).shape
    torch.Size([1, 3, 138, 138])
    """

    def __init__(self, folder: str | Path, size: int, limit: int | None = None):
        self.folder, self.size = Path(folder), size
        if not self.folder.is_dir():
            raise ValueError(f"images={str(folder)!r} is not a folder; give the folder that holds the photographs")
        files = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)[:limit]
        thorough = len(files) <= 20_000
        look = progress_bar(len(files) > 5000, iterable=files, desc="checking images", unit="file")
        looks = {path: _look_at(path, minimum=size // 2, decode=thorough) for path in look}
        self.paths = [path for path in files if looks[path].problem is None]
        skipped = [f"{path.name} ({found.problem})" for path, found in looks.items() if found.problem]
        _say_some("skipped", skipped, len(files))
        _say_some("enlarged", [f"{path.name} (short side {looks[path].short} px, {size} wanted)" for path in self.paths
                               if looks[path].short < size], len(files))
        if not self.paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise ValueError(f"no usable image in {self.folder} ({len(files)} files with {kinds} found, "
                             f"{len(skipped)} of them unreadable or smaller than {size // 2} px)")
        self.names = [str(path.relative_to(self.folder)) for path in self.paths]
        contents = [sha256_of(path) if thorough else str(path.stat().st_size) for path in self.paths]
        marks = [content + looks[path].turned for content, path in zip(contents, self.paths, strict=True)]
        self.fingerprint = _fingerprint("photos", size, *self.names, *marks)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        return torch.stack([self._load_one(self.paths[i]) for i in indices])

    def _load_one(self, path: Path) -> Float[Tensor, "3 h w"]:
        try:
            with Image.open(path) as file:
                return _square(file, self.size)
        except UNREADABLE as error:
            raise ValueError(f"{path} cannot be decoded ({error}); remove it and run again") from error


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
        self.fingerprint = _fingerprint("drawings", count, size, seed, sample_drawings([0], size, seed=seed).images)

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
        self.fingerprint = _fingerprint("tensor", self.images)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        return self.images[list(indices)]


def image_source(images: Any, size: int) -> ImageSource:
    """Whatever somebody has as images -> a source of them, square and of `size` pixels where that can be chosen.

    - a folder (path): its photographs, see `PhotoFolder`;
    - a tensor or numpy array of images, (b, 3, h, w), (b, h, w, 3), or grey (b, h, w), (b, 1, h, w): bytes, or floats
      in [0, 1];
    - a list of Pillow images, or of single images as tensors or arrays;
    - an `ImageSource`: itself, as it is.

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
        return PhotoFolder(images, size)
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
    _say_some("enlarged", [f"image {number} (short side {short} px, {size} wanted)"
                           for number, short in enumerate(shorts) if short < size], len(shorts))


def _one_tensor(image: Any, size: int) -> Tensor:
    if isinstance(image, Image.Image):
        return _square(image, size)
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
    return images.float() / 255 if images.dtype == torch.uint8 else images


class _Look(NamedTuple):
    """What a first look at a file says."""

    problem: str | None
    """Why it cannot be used, or None."""
    short: int = 0
    """The shorter side in pixels."""
    turned: str = ""
    """How it has to be turned to be upright; empty if it need not be."""


def _square(image: Image.Image, size: int) -> Float[Tensor, "3 h w"]:
    """Upright, scaled so that the short side has `size` pixels, and the square in its middle."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    short = min(image.size)
    if short != size:
        scaled = [max(size, round(side * size / short)) for side in image.size]
        image = image.resize(scaled, Image.Resampling.BICUBIC)  # Pillow's resize is antialiased
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def _look_at(path: Path, minimum: int, decode: bool) -> _Look:
    """Only decoding finds a truncated file, but it takes time."""
    try:
        with Image.open(path) as image:
            if decode:
                image.convert("RGB")
            short, orientation = min(image.size), image.getexif().get(ExifTags.Base.Orientation, 1)
    except UNREADABLE as error:
        return _Look(f"unreadable: {type(error).__name__}")
    turned = f" orientation {orientation}" if orientation in range(2, 9) else ""
    return _Look(f"short side {short} px" if short < minimum else None, short, turned)


def _say_some(what: str, images: Sequence[str], total: int) -> None:
    """One line for all of them, with the first few by name; nothing if there are none."""
    if images:
        log.warning("%s %d of %d images: %s%s", what, len(images), total, ", ".join(images[:5]),
                    " ..." if len(images) > 5 else "")


def _fingerprint(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.cpu().contiguous().numpy().tobytes() if isinstance(part, Tensor) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()
