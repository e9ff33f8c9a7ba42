"""What is known of image files without showing them: whether they can be used, their size, which way is up.

A first look at many files takes long, so it is done by several processes and, given a place, remembered: an index says
for each file what was seen and when the file was last changed, and only files that are new or changed are looked at.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from groupcc_lite.base import atomic_write, progress_bar
from groupcc_lite.stimuli.loading import in_order

log = logging.getLogger(__name__)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
"""Endings of the files that `PhotoFolder` and `TarImages` look at."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for damaged files
THOROUGH = 20_000
"""Up to so many images are decoded and hashed when a folder is opened for the first time."""
INDEX_FORMAT = 1
_A_TASK = 64  # files that a process looks at before it says so


class Look(NamedTuple):
    """What a look at an image says. All of it can be written as JSON."""

    problem: str | None
    """Why it cannot be read, or None."""
    short: int = 0
    """The shorter side in pixels."""
    orientation: int = 1
    """EXIF's, where it has to be turned to be upright; else 1."""
    content: str | None = None
    """sha256 of the bytes; None if only the header was read."""

    def unusable(self, minimum: int) -> str | None:
        """Why the image is left out, or None."""
        return self.problem or (f"short side {self.short} px" if self.short < minimum else None)

    @property
    def turned(self) -> str:
        """How it is turned, for a fingerprint; empty if it is not."""
        return f" orientation {self.orientation}" if self.orientation != 1 else ""


def look_at(file: Any, content: str | None) -> Look:
    """Of a path, bytes or an open file: decoded if its sha256 is given, and else the header alone, which shows no
    truncated file."""
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            if content is not None:
                image.convert("RGB")
            short, orientation = min(image.size), image.getexif().get(ExifTags.Base.Orientation, 1)
    except UNREADABLE as error:
        return Look(f"unreadable: {type(error).__name__}", content=content)
    return Look(None, short, orientation if orientation in range(2, 9) else 1, content)


def look_at_all(look: Callable[[Sequence[Any]], list[Look]], items: Sequence[Any], workers: int) -> list[Look]:
    """`look` at all items, some at a time, in processes if there are many."""
    tasks = [items[first:first + _A_TASK] for first in range(0, len(items), _A_TASK)]
    found = in_order(look, tasks, workers if len(tasks) > 4 * max(1, workers) else 0)
    bar = progress_bar(len(items) > 5000, iterable=found, total=len(tasks), desc="checking images", unit="files",
                       unit_scale=_A_TASK)
    return [one for some in bar for one in some]


class Remembered:
    """Looks of an earlier time, in a file; without a file nothing is known, and nothing kept.

    A look counts if the file has the size and time of change that it had then. A damaged index is made anew.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.entries: dict[str, list[Any]] = {}
        if path is not None and path.is_file():
            try:
                kept = json.loads(path.read_text())
                self.entries = kept["entries"] if kept["format"] == INDEX_FORMAT else {}
            except (ValueError, KeyError, TypeError):
                log.warning("%s is damaged; all images are looked at again", path)

    def of(self, name: str, stamp: Sequence[int], thorough: bool) -> Look | None:
        """What was seen, if it still holds and is as thorough as is wanted."""
        entry = self.entries.get(name)
        if entry is None or entry[0] != list(stamp):
            return None
        look = Look(*entry[1])
        return look if look.content is not None or not thorough else None

    def keep(self, names: Iterable[str], stamps: Iterable[Sequence[int]], looks: Iterable[Look]) -> None:
        """Write the index, if there is a place for it and something is new. One that cannot be written is no error."""
        entries = {name: [list(stamp), list(look)] for name, stamp, look in zip(names, stamps, looks, strict=True)}
        if self.path is None or entries == self.entries:
            return
        try:
            atomic_write(self.path, json.dumps(dict(format=INDEX_FORMAT, entries=entries), separators=(",", ":")))
        except OSError as error:
            log.warning("the index of the images cannot be written (%s); they will be looked at again", error)


def square_of(image: Image.Image, size: int) -> UInt8[Tensor, "3 h w"]:
    """Upright, scaled so that the short side has `size` pixels, and the square in its middle."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    short = min(image.size)
    if short != size:
        scaled = [max(size, round(side * size / short)) for side in image.size]
        image = image.resize(scaled, Image.Resampling.BICUBIC)  # Pillow's resize is antialiased
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def usable_among(names: Sequence[str], looks: Sequence[Look], size: int, where: Path) -> list[int]:
    """Which images can be used; one line in the log for those left out and one for those enlarged.

    ValueError if there are none.
    """
    problems = [look.unusable(size // 2) for look in looks]
    usable = [number for number, problem in enumerate(problems) if problem is None]
    short = [f"{Path(name).name} ({problem})" for name, problem in zip(names, problems, strict=True) if problem]
    say_some("skipped", short, len(names))
    say_some("enlarged", [f"{Path(names[k]).name} (short side {looks[k].short} px, {size} wanted)" for k in usable
                          if looks[k].short < size], len(names))
    if not usable:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"no usable image in {where} ({len(names)} files with {kinds} found, {len(short)} of them "
                         f"unreadable or smaller than {size // 2} px)")
    return usable


def say_some(what: str, images: Sequence[str], total: int) -> None:
    """One line for all of them, with the first few by name; nothing if there are none."""
    if images:
        log.warning("%s %d of %d images: %s%s", what, len(images), total, ", ".join(images[:5]),
                    " ..." if len(images) > 5 else "")
