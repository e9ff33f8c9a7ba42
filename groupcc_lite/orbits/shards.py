"""Shards of a store on disk: each written whole with its checksum, many packed into large files, damage told.

A shard is `NNNNN.npy` with `NNNNN.json`, which is written last and so vouches for it; `packs` says how many become one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.base import atomic_path, digest, read_json, sha256_of, write_json
from groupcc_lite.orbits.half_precision import exponent_for, to_half
from groupcc_lite.orbits.packs import ShardNotes, packs_in, remove_orphans, stamp_of, write_pack

LOOSE_SHARDS = 64
"""So many shards are left as they are in a finished store: packing fewer would gain nothing."""

HEADER = 128
"""Bytes of a shard's file before its rows."""


def _data_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.npy"


def _meta_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.json"


def write_shard(folder: Path, shard: int, blocks: Float[Tensor, "n g d"], image: list[int],
                 points: list[list[float]] | None) -> str:
    """One shard and its meta file, which is written last and so vouches for a whole shard; the shard's sha256."""
    blocks = blocks.cpu()  # one wait for the device; everything that follows would be one each
    exponent = exponent_for(blocks)
    stored = to_half(blocks, exponent).numpy()
    squares = np.square(stored, dtype=np.float32).sum((0, 2), dtype=np.float64) * 4.0 ** -exponent
    return _write_rows(folder, shard, stored, exponent, squares, image, points)


def _write_rows(folder: Path, shard: int, stored: np.ndarray, exponent: int, squares: np.ndarray, image: list[int],
                points: list[list[float]] | None) -> str:
    path = _data_path(folder, shard)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, stored)
    meta = dict(rows=len(stored), sha256=sha256_of(path), **stamp_of(path), exponent=exponent,
                squares=squares.tolist(), image=image, points=points)
    write_json(_meta_path(folder, shard), meta | {"digest": digest(meta)})
    return meta["sha256"]


def _notes_of(meta: dict[str, Any]) -> ShardNotes:
    """Of a shard that is not packed."""
    points = np.full((meta["rows"], 2), np.nan) if meta["points"] is None else np.array(meta["points"])
    return ShardNotes(meta["rows"], meta["exponent"], meta["sha256"], np.array(meta["squares"]),
                      np.array(meta["image"]), points.astype(np.float32))


def _read_meta(folder: Path, shard: int) -> dict[str, Any] | None:
    """What was noted about a shard; None if it is damaged."""
    try:
        meta = read_json(_meta_path(folder, shard))
    except ValueError:
        return None
    return meta if isinstance(meta, dict) and meta.pop("digest", None) == digest(meta) else None


def _inspected(folder: Path, shard: int, thorough: bool) -> tuple[str | None, dict[str, Any]]:
    """(problem, what was noted) of a shard that is not packed: "missing", "damaged" or None; unless `thorough`, a file
    with the noted size and time of change is not read."""
    path = _data_path(folder, shard)
    if not (path.is_file() and _meta_path(folder, shard).is_file()):
        return "missing", {}
    meta = _read_meta(folder, shard)
    if meta is None:
        return "damaged", {}
    trusted = not thorough and stamp_of(path) == {key: meta.get(key) for key in ("size", "changed")}
    return None if trusted or sha256_of(path) == meta["sha256"] else "damaged", meta


def opened(folder: Path, shards: int, thorough: bool) -> tuple[list[tuple[int, Path]], list[ShardNotes]]:
    """Files of a finished store, each with the number of its first shard, and the notes of all shards, in order.

    ValueError for the first shard that is missing or damaged.
    """
    packs = {pack.first: pack for pack in packs_in(folder)}
    files: list[tuple[int, Path]] = []
    notes: list[ShardNotes] = []
    while (shard := len(notes)) < shards:
        if shard in packs:
            pack = packs[shard]
            damaged = pack.damaged(thorough)
            _complain(folder, damaged[0] if damaged else shard, "damaged" if damaged else None)
            files.append((shard, pack.path))
            notes += [pack.notes(number) for number in pack.shards]
        else:
            problem, meta = _inspected(folder, shard, thorough)
            _complain(folder, shard, problem)
            files.append((shard, _data_path(folder, shard)))
            notes.append(_notes_of(meta))
    return files, notes


def _complain(folder: Path, shard: int, problem: str | None) -> None:
    if problem:
        raise ValueError(f"{folder}: shard {shard} is {problem}; run the extraction again to remake it")


def lacking_shards(folder: Path, shards: int) -> set[int]:
    """Shards that have to be made, after what an interruption or damage has left is put in order.

    A damaged pack is taken apart, so that its other shards are not made again. Shards that are in a pack as well are
    those of an interruption between packing and clearing up.
    """
    packs = packs_in(folder)
    remove_orphans(folder, packs)
    packed: set[int] = set()
    for pack in packs:
        damaged = set(pack.damaged(thorough=False))
        if damaged:
            for shard, rows, note in pack.parts() if pack.path.is_file() and len(damaged) < len(pack.sums) else ():
                if shard not in damaged:
                    points = None if np.isnan(note.points).any() else note.points.tolist()
                    _write_rows(folder, shard, rows, note.exponent, note.squares, note.image.tolist(), points)
            pack.remove()
        else:
            packed.update(pack.shards)
            _clear(folder, pack.shards)
    return {shard for shard in range(shards)
            if shard not in packed and _inspected(folder, shard, thorough=False)[0]}


def _clear(folder: Path, shards: Iterable[int]) -> None:
    """Remove shards that are packed: what vouches for them first."""
    for shard in shards:
        _meta_path(folder, shard).unlink(missing_ok=True)
        _data_path(folder, shard).unlink(missing_ok=True)


def holds_shards(folder: Path) -> bool:
    """Whether there are any, packed or not."""
    return bool(packs_in(folder)) or any(re.fullmatch(r"\d{5,}\.(npy|json)", path.name) for path in folder.glob("*"))


def clear_all(folder: Path) -> None:
    """Remove every shard, and every pack."""
    for pack in packs_in(folder):
        pack.remove()
    _clear(folder, {int(path.stem) for path in folder.glob("*") if re.fullmatch(r"\d{5,}\.(npy|json)", path.name)})


class Packer:
    """Packs the shards of a folder as they are finished, as soon as they are large enough together."""

    def __init__(self, folder: Path, most: int):
        if most < 1:
            raise ValueError(f"pack_bytes is {most}; expected a positive number of bytes")
        self.folder, self.most = folder, most
        self._run: list[int] = []
        self._bytes = 0

    def shards_of(self, size: int) -> int:
        """How many shards of so many bytes become one pack."""
        return -(-self.most // (size + HEADER))

    def add(self, shard: int) -> None:
        """A shard is finished; those that follow each other are packed together."""
        if self._run and shard != self._run[-1] + 1:
            self._run, self._bytes = [], 0
        self._run.append(shard)
        self._bytes += _data_path(self.folder, shard).stat().st_size
        if self._bytes >= self.most:
            self.flush()

    def flush(self) -> None:
        """Pack what has come together; a single shard stays as it is.

        A pack has checksums of its own, so damage that went in would be vouched for. ValueError for a shard that is not
        what was written; it is then missing, and the next extraction makes it.
        """
        if len(self._run) > 1:
            notes = [self._whole(shard) for shard in self._run]
            write_pack(self.folder, self._run[0], [_data_path(self.folder, shard) for shard in self._run], notes)
            _clear(self.folder, self._run)
        self._run, self._bytes = [], 0

    def _whole(self, shard: int) -> ShardNotes:
        """The notes of a shard whose every byte was looked at."""
        problem, meta = _inspected(self.folder, shard, thorough=True)
        if problem:
            _meta_path(self.folder, shard).unlink(missing_ok=True)  # its size and time of change may look right
            _complain(self.folder, shard, problem)
        return _notes_of(meta)

    def finish(self, shards: int) -> None:
        """All shards are there. Those that are not packed are now, if they are many."""
        self._run, self._bytes = [], 0
        loose = [shard for shard in range(shards) if _meta_path(self.folder, shard).is_file()]
        if len(loose) > LOOSE_SHARDS:
            for shard in loose:
                if self._run and shard != self._run[-1] + 1:
                    self.flush()
                self.add(shard)
            self.flush()
