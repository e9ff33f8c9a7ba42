"""Orbit activations on disk: float16 shards, each written whole with its checksum; many are packed into large files.

A killed extraction goes on where it was, and a damaged shard is noticed and remade. Batches depend only on (seed,
epoch, position), which is what makes an interrupted training resume exactly.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.actions import Action
from groupcc_lite.base import atomic_path, digest, progress_bar, read_json, sha256_of, write_json
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.models import BaseModel
from groupcc_lite.orbits.half_precision import exponent_for, to_half
from groupcc_lite.orbits.packs import ShardNotes, packs_in, remove_orphans, stamp_of, write_pack
from groupcc_lite.orbits.sampling import sample_layers
from groupcc_lite.orbits.source import StoredOrbits
from groupcc_lite.stimuli import ImageSource, load_ahead

STORE_FORMAT = 2
NAMES = ("model", "group", "names")
"""What a store notes for people. It decides no number, so orbits under another name are the same orbits."""
_OPENING = threading.Lock()
OPEN_SHARDS = 128
"""How many files are kept open: systems allow a process 256 to 1,024 files, and others want some of them."""
SHARD_BYTES = 2**26
"""Size of the shards that `from_batches` writes; those of `make` have a given number of images."""
PACK_BYTES = 2**30
"""Finished shards of so many bytes together are packed into one file."""
LOOSE_SHARDS = 64
"""So many shards are left as they are in a finished store: packing fewer would gain nothing."""


class OrbitStore(StoredOrbits):
    """Orbit vectors in a folder: `config.json` and, per shard, `NNNNN.npy` (rows, |G|, d) float16 with `NNNNN.json`.

    Where there are many shards they are packed into files of about 1 GiB with an index each, see `packs`. Opening
    raises ValueError that names the first damaged or missing shard; `OrbitStore.make` with the same arguments remakes
    just those. A file whose size and time of change are those that were noted when it was written is taken to be whole
    and not read; `check=True` compares everything with its sha256. Activations under 1 are stored times a power of two,
    see `half_precision`. Any number of shards may be stored: no more than `OPEN_SHARDS` files are open at a time.

    >>> import tempfile, torch
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import OrbitStore
    >>> made = OrbitStore.from_batches(tempfile.mkdtemp(), [torch.ones(10, 4, 3)], cyclic(4))
    >>> store = OrbitStore(made.folder)
    >>> len(store), store.rows([0, 7]).shape, store.scale
    (10, torch.Size([2, 4, 3]), 1.0)
    """

    def __init__(self, folder: str | Path, *, check: bool = False):
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            raise ValueError(f"{self.folder} holds no orbit store (no config.json); make one with OrbitStore.make or "
                             "OrbitStore.from_batches")
        self.config: dict[str, Any] = read_json(self.folder / "config.json")
        if self.config.get("format") != STORE_FORMAT:
            raise ValueError(f"{self.folder} holds an orbit store of format {self.config.get('format')}, expected "
                             f"{STORE_FORMAT}; make it anew in another folder")
        self.group = FiniteGroup(self.config["table"], names=self.config["names"], name=self.config["group"])
        self.channels = self.config["channels"]
        self.exact = np.array(self.config["exact"])
        self.fingerprint = digest(self.config)
        self._files, notes = _opened(self.folder, self.config["shards"], thorough=check)
        self._exponents = np.array([note.exponent for note in notes])
        self._first_row = np.cumsum([0, *(note.rows for note in notes)])
        self._file_rows = np.array([self._first_row[shard] for shard, _ in self._files])
        self._squares = np.sum([note.squares for note in notes], axis=0)
        if self._squares.sum() <= 0:
            raise ValueError(f"{self.folder}: all activations are zero; check the images, the layer and the weights")
        self.scale = self.scale_of(slice(None))
        self._open: OrderedDict[int, np.ndarray] = OrderedDict()
        self.points = np.concatenate([note.points for note in notes])
        self.image = np.concatenate([note.image for note in notes])

    def __len__(self) -> int:
        return int(self._first_row[-1])

    def scale_of(self, elements: slice) -> float:
        squares = self._squares[elements]
        return float(np.sqrt(self.channels * len(self) * len(squares) / squares.sum()))

    @classmethod
    def make(cls, folder: str | Path, model: BaseModel, action: Action, source: ImageSource, *,
             points_per_image: int = 16, mask_radius: float | None = None, registration: str = "image-centre",
             seed: int = 0, images_per_shard: int = 32, amp: bool = False, batch_size: int | None = None,
             workers: int = 0, pack_bytes: int = PACK_BYTES, progress: bool = True) -> OrbitStore:
        """Extract what is missing, then open. Interrupt it at any time and call it again.

        Sampling as by `sample_orbits`, whose arguments `points_per_image`, `mask_radius` (pixels), `registration`,
        `seed`, `amp` and `batch_size` are; `workers` processes load images ahead. `images_per_shard` is how much an
        interruption loses at most; shards of `pack_bytes` together become one file, and at the end those that are left,
        if they are many. `batch_size`, `workers` and `pack_bytes` are no settings. Finished shards are trusted as when
        a store is opened. ValueError if the folder holds a store made with other settings (it is never overwritten);
        names of the model, the group and its elements are no settings, and stay those of the first call.
        """
        (store,) = cls.make_layers([folder], [model], action, source, points_per_image=points_per_image,
                                   mask_radius=mask_radius, registration=registration, seed=seed,
                                   images_per_shard=images_per_shard, amp=amp, batch_size=batch_size, workers=workers,
                                   pack_bytes=pack_bytes, progress=progress)
        return store

    @classmethod
    def make_layers(cls, folders: Sequence[str | Path], models: Sequence[BaseModel], action: Action,
                    source: ImageSource, *, points_per_image: int = 16, mask_radius: float | None = None,
                    registration: str = "image-centre", seed: int = 0, images_per_shard: int = 32, amp: bool = False,
                    batch_size: int | None = None, workers: int = 0, pack_bytes: int = PACK_BYTES,
                    progress: bool = True) -> list[OrbitStore]:
        """`make` for several models, each with a folder of its own, from one pass of every view (`sample_layers`).

        The stores are those that `make` makes one by one. ValueError as there.
        """
        paths = [Path(folder) for folder in folders]
        sampling = dict(points_per_image=points_per_image, registration=registration, seed=seed, amp=amp)
        radii = [model.geometry.max_mask_radius if mask_radius is None else mask_radius for model in models]
        shards = -(-len(source) // images_per_shard)
        for folder, model, radius in zip(paths, models, radii, strict=True):
            _claim(folder, _config(action.group, action.exact, model.channels) | sampling | dict(
                action=digest(action.fingerprint), model=f"{model.name}/{model.layer}", mask_radius=radius,
                model_fingerprint=model.fingerprint, images_fingerprint=source.fingerprint, images=len(source),
                images_per_shard=images_per_shard, shards=shards))
        missing = [_lacking(folder, shards) for folder in paths]
        lacking = {shard: which for shard in range(shards)
                   if (which := [number for number, some in enumerate(missing) if shard in some])}
        groups = [range(shard * images_per_shard, min((shard + 1) * images_per_shard, len(source)))
                  for shard in lacking]
        bar = progress_bar(progress and bool(lacking), total=shards, initial=shards - len(lacking), desc="orbits",
                           unit="shard")
        packers = [_Packer(folder, pack_bytes) for folder in paths]
        with bar:
            for (shard, which), numbers, images in zip(lacking.items(), groups, load_ahead(source, groups, workers),
                                                       strict=True):
                samples = sample_layers([models[number] for number in which], action, images, indices=numbers,
                                        mask_radius=mask_radius, batch_size=batch_size, **sampling)
                for number, sample in zip(which, samples, strict=True):
                    _write_shard(paths[number], shard, sample.blocks, (sample.image.cpu() + numbers[0]).tolist(),
                                 sample.points.tolist())
                    packers[number].add(shard)
                bar.update()
        for packer in packers:
            packer.finish(shards)
        return [cls(folder) for folder in paths]

    @classmethod
    def from_batches(cls, folder: str | Path, batches: Iterable[Tensor], group: FiniteGroup, *,
                     exact: Sequence[bool] | None = None, pack_bytes: int = PACK_BYTES) -> OrbitStore:
        """Store orbit vectors that were made elsewhere, by any model from any kind of data, and open the store.

        Each of `batches` is (b, |G|, channels), with x[:, g] the response to the input that g has moved; they may lie
        on any device and differ in b. `exact` marks elements that move inputs without resampling (default: all). Row
        numbers stand for images, and `points` are NaN. `pack_bytes` as for `make`. What an interruption leaves is
        overwritten by the next call; a finished store never is. ValueError for it, for batches that do not fit, and for
        no rows at all.

        >>> import tempfile, torch
        >>> from groupcc_lite.groups import cyclic
        >>> from groupcc_lite.orbits import OrbitStore
        >>> sounds = (torch.randn(8, 1, 100) for _ in range(3))  # moved by four shifts in time, and filtered
        >>> shifted = (torch.cat([s.roll(25 * g, dims=2)[..., :5] for g in range(4)], dim=1) for s in sounds)
        >>> store = OrbitStore.from_batches(tempfile.mkdtemp(), shifted, cyclic(4))
        >>> len(store), store.channels
        (24, 5)
        """
        folder = Path(folder)
        if (folder / "config.json").is_file():
            raise ValueError(f"{folder} holds an orbit store already; open it with OrbitStore(folder), or choose "
                             "another folder")
        marks = np.ones(group.order, dtype=bool) if exact is None else np.asarray(exact, dtype=bool)
        _check_marks(group, marks)  # before the batches: they may be a long computation that can be read only once
        folder.mkdir(parents=True, exist_ok=True)
        for pack in packs_in(folder):  # of a call that was interrupted
            pack.remove()
        channels, rows, sums, packer = None, 0, [], _Packer(folder, pack_bytes)
        for shard, blocks in enumerate(_in_shards(batches, group)):
            channels = blocks.shape[2]
            image = range(rows, rows + len(blocks))
            rows += len(blocks)
            sums.append(_write_shard(folder, shard, blocks, list(image), points=None))
            packer.add(shard)
        if channels is None:
            raise ValueError("batches is empty; expected at least one batch of orbit vectors (b, |G|, channels)")
        packer.finish(len(sums))
        # The checksums stand for the rows: two stores of the same numbers have one fingerprint.
        write_json(folder / "config.json",
                   _config(group, marks, channels) | dict(shards=len(sums), content=digest(sums)))
        return cls(folder)

    def rows(self, indices: Sequence[int] | np.ndarray, elements: slice = slice(None)) -> Float[Tensor, "b g d"]:
        """Orbit vectors of these rows, in this order, float32, in the model's own units."""
        indices = np.asarray(indices)
        count = len(range(self.group.order)[elements])
        out = np.empty((len(indices), count, self.channels), dtype=np.float16)
        file_of = np.searchsorted(self._file_rows, indices, side="right") - 1
        for file in np.unique(file_of).tolist():
            here = np.flatnonzero(file_of == file)
            out[here] = self._file(file)[indices[here] - self._file_rows[file], elements]
        found = torch.from_numpy(out).float()
        if not self._exponents.any():
            return found
        shard_of = np.searchsorted(self._first_row, indices, side="right") - 1
        factor = np.ldexp(1.0, -self._exponents[shard_of]).astype(np.float32)
        return found * torch.from_numpy(factor)[:, None, None]

    def _file(self, number: int) -> np.ndarray:
        """The file's rows, opened if they are not; those that were used last stay open."""
        with _OPENING:  # batches are gathered by a thread of their own
            if number in self._open:
                self._open.move_to_end(number)
            else:
                while len(self._open) >= OPEN_SHARDS:
                    self._open.popitem(last=False)  # NumPy closes a map that nobody holds
                self._open[number] = np.load(self._files[number][1], mmap_mode="r")
            return self._open[number]

    @cached_property
    def row_squares(self) -> Float[np.ndarray, "n g"]:
        """Squared norm of every block of every row; asked for once, it reads the whole store."""
        found = np.empty((len(self), self.group.order), dtype=np.float32)
        for first in range(0, len(self), 256):
            last = min(first + 256, len(self))
            found[first:last] = self.rows(np.arange(first, last)).square().sum(-1).numpy()
        return found


def _check_marks(group: FiniteGroup, exact: np.ndarray) -> None:
    if exact.shape != (group.order,):
        raise ValueError(f"exact has shape {exact.shape}; expected ({group.order},), one mark per element of "
                         f"{group.name}")


def _config(group: FiniteGroup, exact: np.ndarray, channels: int) -> dict[str, Any]:
    return dict(format=STORE_FORMAT, group=group.name, table=group.table.tolist(), names=list(group.names),
                exact=exact.tolist(), channels=channels)


def _in_shards(batches: Iterable[Tensor], group: FiniteGroup) -> Iterator[Float[Tensor, "n g d"]]:
    """Batches of any size, put together to shards on the CPU; ValueError for one that does not fit."""
    waiting: list[Tensor] = []
    for number, batch in enumerate(batches):
        channels = waiting[0].shape[2] if waiting else batch.shape[-1]
        if batch.ndim != 3 or tuple(batch.shape[1:]) != (group.order, channels):
            raise ValueError(f"batch {number} has shape {tuple(batch.shape)}; expected (b, {group.order}, {channels}): "
                             f"one block per element of {group.name}, of the same channels in every batch")
        if not torch.isfinite(batch).all():
            raise ValueError(f"batch {number} holds NaN or infinite values; check the activations it was made from")
        waiting.append(batch.detach().float().cpu())
        if 2 * sum(part.numel() for part in waiting) >= SHARD_BYTES:
            yield torch.cat(waiting)
            waiting = [waiting[-1][:0]]  # no rows, but the channels that all batches must have
    if sum(map(len, waiting)):
        yield torch.cat(waiting)


def _data_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.npy"


def _meta_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.json"


def _claim(folder: Path, config: dict[str, Any]) -> None:
    """Write the configuration of a new store, or make sure that an existing one is the same but for NAMES."""
    path = folder / "config.json"
    if not path.is_file():
        write_json(path, config)
        return
    found = read_json(path)
    differing = sorted(key for key in (config.keys() | found.keys()).difference(NAMES)
                       if config.get(key) != found.get(key))
    if differing:
        raise ValueError(f"{folder} holds orbits made with other settings ({', '.join(differing)} differ); "
                         "choose another folder or delete this one")


def _write_shard(folder: Path, shard: int, blocks: Float[Tensor, "n g d"], image: list[int],
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


def _opened(folder: Path, shards: int, thorough: bool) -> tuple[list[tuple[int, Path]], list[ShardNotes]]:
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


def _lacking(folder: Path, shards: int) -> set[int]:
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


class _Packer:
    """Packs the shards of a folder as they are finished, as soon as they are large enough together."""

    def __init__(self, folder: Path, most: int):
        if most < 1:
            raise ValueError(f"pack_bytes is {most}; expected a positive number of bytes")
        self.folder, self.most = folder, most
        self._run: list[int] = []
        self._bytes = 0

    def add(self, shard: int) -> None:
        """A shard is finished; those that follow each other are packed together."""
        if self._run and shard != self._run[-1] + 1:
            self._run, self._bytes = [], 0
        self._run.append(shard)
        self._bytes += _data_path(self.folder, shard).stat().st_size
        if self._bytes >= self.most:
            self.flush()

    def flush(self) -> None:
        """Pack what has come together; a single shard stays as it is."""
        if len(self._run) > 1:
            notes = [_notes_of(_inspected(self.folder, shard, thorough=False)[1]) for shard in self._run]
            write_pack(self.folder, self._run[0], [_data_path(self.folder, shard) for shard in self._run], notes)
            _clear(self.folder, self._run)
        self._run, self._bytes = [], 0

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
