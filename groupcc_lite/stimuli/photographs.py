"""A folder of photographs as a set of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from groupcc_lite.base import digest, sha256_of
from groupcc_lite.stimuli.image_sets import ImageSource, as_floats, fingerprint_of
from groupcc_lite.stimuli.looks import (
    IMAGE_SUFFIXES,
    THOROUGH,
    UNREADABLE,
    Look,
    Remembered,
    look_at,
    look_at_all,
    square_of,
    usable_among,
)


class PhotoFolder(ImageSource):
    """All readable photographs below a folder, upright, centre-cropped to squares of `size` pixels.

    A photograph is scaled so that its short side has `size` pixels. Smaller ones are enlarged, up to twice, and the log
    says how many; files that cannot be decoded, and images whose short side is under half of `size`, are left out with
    one summary line. Cameras store photographs as the sensor sees them, with a note how to turn them; they are turned
    (EXIF orientation). Up to 20,000 files are decoded and hashed once when the folder is opened; in larger folders only
    headers are read, and names and sizes stand for the content. With `index`, a folder for such notes, what was seen is
    kept, and the next time only new and changed files are looked at; `workers` processes share this first look.
    ValueError for a folder without usable images, and for a file that turns out to be damaged when it is loaded.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (300, 200), "red").save(f"{folder}/red.png")
    ...     PhotoFolder(folder, size=138).load([0]).shape
    torch.Size([1, 3, 138, 138])
    """

    def __init__(self, folder: str | Path, size: int, limit: int | None = None, *, index: str | Path | None = None,
                 workers: int = 0):
        self.folder, self.size = Path(folder), size
        if not self.folder.is_dir():
            raise ValueError(f"images={str(folder)!r} is not a folder; give the folder that holds the photographs")
        files = _files(self.folder)[:limit]
        stamps = [_stamp(self.folder / name) for name in files]
        looks = _looks(self.folder, files, stamps, index, workers)
        usable = usable_among(files, looks, size, self.folder)
        self.names = [files[number] for number in usable]
        contents = [(looks[k].content if len(files) <= THOROUGH else str(stamps[k][0])) + looks[k].turned
                    for k in usable]
        self.fingerprint = fingerprint_of("photos", size, *self.names, *contents)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        return as_floats(self.load_bytes(indices))

    def load_bytes(self, indices: Sequence[int]) -> UInt8[Tensor, "b 3 h w"]:
        return torch.stack([self._load_one(self.folder / self.names[i]) for i in indices])

    def _load_one(self, path: Path) -> UInt8[Tensor, "3 h w"]:
        try:
            with Image.open(path) as file:
                return square_of(file, self.size)
        except UNREADABLE as error:
            raise ValueError(f"{path} cannot be decoded ({error}); remove it and run again") from error


def _files(folder: Path) -> list[str]:
    """Names of all image files below a folder, relative to it, sorted folder by folder as paths are."""
    found = [os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder)
             for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
    return sorted(found, key=lambda name: name.split(os.sep))


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change; of a link that leads nowhere, of the link."""
    status = os.stat(path) if path.exists() else os.lstat(path)
    return status.st_size, status.st_mtime_ns


def _looks(folder: Path, files: list[str], stamps: list[tuple[int, int]], index: str | Path | None,
           workers: int) -> list[Look]:
    """What is known of every file, from the index or by looking."""
    thorough = len(files) <= THOROUGH
    remembered = Remembered(None if index is None else Path(index) / f"photos-{digest(str(folder.resolve()))}.json")
    found = {name: remembered.of(name, stamp, thorough) for name, stamp in zip(files, stamps, strict=True)}
    new = [name for name, look in found.items() if look is None]
    look = partial(_look_at_files, folder, thorough)
    found |= dict(zip(new, look_at_all(look, new, workers), strict=True))
    remembered.keep(files, stamps, found.values())
    return list(found.values())


def _look_at_files(folder: Path, thorough: bool, names: Sequence[str]) -> list[Look]:
    return [look_at(folder / name, _sha256(folder / name) if thorough else None) for name in names]


def _sha256(path: Path) -> str:
    """Of a file; of one that cannot be read, nothing."""
    try:
        return sha256_of(path)
    except OSError:
        return ""
