"""Image files for tests: random pictures in a folder, and the same files in tar shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def write_photo(path: Path, width: int = 60, height: int = 48, seed: int = 0) -> np.ndarray:
    """A file of noise, and its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def write_photos(folder: Path, count: int, side: int = 48, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        write_photo(folder / f"{number:05d}{suffix}", side + number % 7, side, seed=number)
    return folder


def write_shards(folder: Path, files: list[Path], per_shard: int) -> Path:
    """The files as WebDataset lays them out, each with a label beside it that is no image."""
    folder.mkdir(parents=True)
    for first in range(0, len(files), per_shard):
        with tarfile.open(folder / f"shard-{first // per_shard:04d}.tar", "w") as tar:
            for path in files[first:first + per_shard]:
                tar.add(path, path.name)
                add_bytes(tar, f"{path.stem}.cls", b"7")
    return folder


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
