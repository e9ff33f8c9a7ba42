"""Many shards of an orbit store in one large file with an index.

Extraction writes small shards, so that an interruption loses little. A store of millions of rows would then be tens of
thousands of files, and opening it would mean to read as many notes. So finished shards that lie next to each other are
packed: `pack-FIRST-LAST.npy` holds their rows as one array, and `pack-FIRST-LAST.safetensors`, which is written last
and so vouches for it, where each shard begins, its sha256, its power of two, and what is known of each row. Numbers
stay what they are, to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from groupcc_lite.base import atomic_path, digest

PACK_FORMAT = 1


@dataclass(frozen=True)
class ShardNotes:
    """What is known of a shard beside its rows."""

    rows: int
    exponent: int
    sha256: str
    squares: np.ndarray
    """Sum of squares by element (g)."""
    image: np.ndarray
    """Of each row, the number of its image."""
    points: np.ndarray
    """Where in it, (n, 2) pixels; NaN where there are no places."""


@dataclass(frozen=True)
class Pack:
    """A pack whose index has been read."""

    path: Path
    """Of the rows."""
    first: int
    """Number of its first shard."""
    sums: tuple[str, ...]
    """sha256 of each shard's rows."""
    rows: np.ndarray
    """How many each shard has."""
    exponents: np.ndarray
    squares: np.ndarray
    """(shards, g)"""
    image: np.ndarray
    points: np.ndarray
    stamp: dict[str, int]
    """Size and time of change of the file when it was written."""

    @property
    def shards(self) -> range:
        """Numbers of its shards."""
        return range(self.first, self.first + len(self.sums))

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *self.rows])

    def notes(self, shard: int) -> ShardNotes:
        """What is known of one shard."""
        number = shard - self.first
        where = slice(self._starts[number], self._starts[number + 1])
        return ShardNotes(int(self.rows[number]), int(self.exponents[number]), self.sums[number], self.squares[number],
                          self.image[where], self.points[where])

    def damaged(self, thorough: bool) -> list[int]:
        """Numbers of the shards whose rows are not those that were written. Unless `thorough`, a file with the noted
        size and time of change is not read."""
        if not self.path.is_file():
            return list(self.shards)
        if not thorough and stamp_of(self.path) == self.stamp:
            return []
        try:
            rows = np.load(self.path, mmap_mode="r")
        except (ValueError, OSError, EOFError):
            return list(self.shards)
        return [shard for shard, where in zip(self.shards, self._slices(), strict=True)
                if len(rows[where]) != self.rows[shard - self.first]
                or sum_of(rows[where]) != self.sums[shard - self.first]]

    def parts(self) -> Iterator[tuple[int, np.ndarray, ShardNotes]]:
        """Number, rows and notes of each shard."""
        rows = np.load(self.path, mmap_mode="r")
        for shard, where in zip(self.shards, self._slices(), strict=True):
            yield shard, rows[where], self.notes(shard)

    def _slices(self) -> list[slice]:
        return [slice(start, end) for start, end in zip(self._starts, self._starts[1:], strict=False)]

    def remove(self) -> None:
        """Index first: rows without one are no pack."""
        self.path.with_suffix(".safetensors").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def stamp_of(path: Path) -> dict[str, int]:
    """What tells cheaply that a file is still the one that was hashed."""
    status = path.stat()
    return dict(size=status.st_size, changed=status.st_mtime_ns)


def sum_of(rows: np.ndarray) -> str:
    """sha256 of the numbers."""
    return hashlib.sha256(np.ascontiguousarray(rows)).hexdigest()


def write_pack(folder: Path, first: int, files: Sequence[Path], notes: Sequence[ShardNotes]) -> Pack:
    """Pack the shards from number `first` on, whose rows lie in these files. They are left where they are."""
    path = folder / f"pack-{first:05d}-{first + len(files) - 1:05d}.npy"
    rows = np.array([note.rows for note in notes], dtype=np.int64)
    sums, row = [], 0
    with atomic_path(path) as temporary:
        shape = (int(rows.sum()), *np.load(files[0], mmap_mode="r").shape[1:])
        packed = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        for file in files:
            part = np.load(file)
            sums.append(sum_of(part))
            packed[row:row + len(part)] = part
            row += len(part)
        packed.flush()
        del packed
    pack = Pack(path, first, tuple(sums), rows, np.array([note.exponent for note in notes], dtype=np.int64),
                np.stack([note.squares for note in notes]).astype(np.float64),
                np.concatenate([note.image for note in notes]).astype(np.int64),
                np.concatenate([note.points for note in notes]).astype(np.float32), stamp_of(path))
    _write_index(pack)
    return pack


_ARRAYS = ("rows", "exponents", "squares", "image", "points")


def _write_index(pack: Pack) -> None:
    arrays = {name: np.ascontiguousarray(getattr(pack, name)) for name in _ARRAYS}
    facts = dict(format=PACK_FORMAT, first=pack.first, sums=list(pack.sums), stamp=pack.stamp)
    metadata = dict(facts=json.dumps(facts), digest=_digest(facts, arrays))
    with atomic_path(pack.path.with_suffix(".safetensors")) as temporary:
        save_file(arrays, temporary, metadata=metadata)


def _digest(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    return digest([facts, {name: hashlib.sha256(array).hexdigest() for name, array in arrays.items()}])


def packs_in(folder: Path) -> list[Pack]:
    """All packs with a whole index. A pack with a damaged one is none: its shards are missing."""
    found = [_read_index(path) for path in sorted(folder.glob("pack-*.safetensors"))]
    return [pack for pack in found if pack is not None]


def _read_index(path: Path) -> Pack | None:
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata()
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        facts = json.loads(metadata["facts"])
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None
    if metadata.get("digest") != _digest(facts, arrays) or facts["format"] != PACK_FORMAT:
        return None
    return Pack(path.with_suffix(".npy"), facts["first"], tuple(facts["sums"]), stamp=facts["stamp"], **arrays)


def remove_orphans(folder: Path, packs: Sequence[Pack]) -> None:
    """Files of packs that are half written or without a whole index, which an interruption or damage has left."""
    kept = {path for pack in packs for path in (pack.path, pack.path.with_suffix(".safetensors"))}
    for path in (*folder.glob("pack-*"), *folder.glob(".pack-*")):
        if path not in kept and re.fullmatch(r"\.?pack-\d+-\d+(-\w+)?\.(npy|safetensors)", path.name):
            path.unlink()
