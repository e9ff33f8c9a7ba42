"""Orbit activations on disk: float16 shards, each written whole with its checksum.

A killed extraction goes on where it was, and a damaged shard is noticed and remade. Batches depend only on (seed,
epoch, position), which is what makes an interrupted training resume exactly.
"""

from __future__ import annotations

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
from groupcc_lite.orbits.sampling import sample_layers
from groupcc_lite.orbits.source import StoredOrbits
from groupcc_lite.stimuli import ImageSource

STORE_FORMAT = 2
NAMES = ("model", "group", "names")
"""What a store notes for people. It decides no number, so orbits under another name are the same orbits."""
OPEN_SHARDS = 128
"""How many shards are kept open: systems allow a process 256 to 1,024 files, and others want some of them."""
SHARD_BYTES = 2**26
"""Size of the shards that `from_batches` writes; those of `make` have a given number of images."""


class OrbitStore(StoredOrbits):
    """Orbit vectors in a folder: `config.json` and, per shard, `NNNNN.npy` (rows, |G|, d) float16 with `NNNNN.json`.

    Opening checks every shard against its sha256 and raises ValueError that names the first damaged or missing one;
    `OrbitStore.make` with the same arguments remakes just those. With `check=False` a shard whose size and time of
    change are those that were noted when it was written is not read again. Activations under 1 are stored times a power
    of two, see `half_precision`. Any number of shards may be stored: no more than `OPEN_SHARDS` are open at a time.

    >>> import tempfile, torch
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import OrbitStore
    >>> made = OrbitStore.from_batches(tempfile.mkdtemp(), [torch.ones(10, 4, 3)], cyclic(4))
    >>> store = OrbitStore(made.folder)
    >>> len(store), store.rows([0, 7]).shape, store.scale
    (10, torch.Size([2, 4, 3]), 1.0)
    """

    def __init__(self, folder: str | Path, *, check: bool = True):
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
        metas = []
        for shard in range(self.config["shards"]):
            problem, meta = _inspected(self.folder, shard, thorough=check)
            if problem:
                raise ValueError(f"{self.folder}: shard {shard} is {problem}; run the extraction again to remake it")
            metas.append(meta)
        self.rows_per_shard = [meta["rows"] for meta in metas]
        self._exponents = [meta["exponent"] for meta in metas]
        self._first_row = np.cumsum([0, *self.rows_per_shard])
        self._squares = np.sum([meta["squares"] for meta in metas], axis=0)
        if self._squares.sum() <= 0:
            raise ValueError(f"{self.folder}: all activations are zero; check the images, the layer and the weights")
        self.scale = self.scale_of(slice(None))
        self._open: OrderedDict[int, np.ndarray] = OrderedDict()
        self.points = np.concatenate([_points_of(meta) for meta in metas])
        self.image = np.concatenate([np.array(meta["image"]) for meta in metas])

    def __len__(self) -> int:
        return int(self._first_row[-1])

    def scale_of(self, elements: slice) -> float:
        squares = self._squares[elements]
        return float(np.sqrt(self.channels * len(self) * len(squares) / squares.sum()))

    @classmethod
    def make(cls, folder: str | Path, model: BaseModel, action: Action, source: ImageSource, *,
             points_per_image: int = 16, mask_radius: float | None = None, registration: str = "image-centre",
             seed: int = 0, images_per_shard: int = 32, amp: bool = False, progress: bool = True) -> OrbitStore:
        """Extract what is missing, then open. Interrupt it at any time and call it again.

        Sampling as by `sample_orbits`, whose arguments `points_per_image`, `mask_radius` (pixels), `registration`,
        `seed` and `amp` are. `images_per_shard` is how much an interruption loses at most. Finished shards are trusted
        as by `check=False`. ValueError if the folder holds a store made with other settings (it is never overwritten);
        names of the model, the group and its elements are no settings, and stay those of the first call.
        """
        (store,) = cls.make_layers([folder], [model], action, source, points_per_image=points_per_image,
                                   mask_radius=mask_radius, registration=registration, seed=seed,
                                   images_per_shard=images_per_shard, amp=amp, progress=progress)
        return store

    @classmethod
    def make_layers(cls, folders: Sequence[str | Path], models: Sequence[BaseModel], action: Action,
                    source: ImageSource, *, points_per_image: int = 16, mask_radius: float | None = None,
                    registration: str = "image-centre", seed: int = 0, images_per_shard: int = 32, amp: bool = False,
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
        lacking = {shard: which for shard in range(shards) if (which := [
            number for number, folder in enumerate(paths) if _inspected(folder, shard, thorough=False)[0]])}
        with progress_bar(progress and bool(lacking), total=shards, initial=shards - len(lacking), desc="orbits",
                          unit="shard") as bar:
            for shard, which in lacking.items():
                numbers = range(shard * images_per_shard, min((shard + 1) * images_per_shard, len(source)))
                samples = sample_layers([models[number] for number in which], action, source.load(numbers),
                                        indices=numbers, mask_radius=mask_radius, **sampling)
                for number, sample in zip(which, samples, strict=True):
                    _write_shard(paths[number], shard, sample.blocks, (sample.image.cpu() + numbers[0]).tolist(),
                                 sample.points.tolist())
                bar.update()
        return [cls(folder, check=False) for folder in paths]

    @classmethod
    def from_batches(cls, folder: str | Path, batches: Iterable[Tensor], group: FiniteGroup, *,
                     exact: Sequence[bool] | None = None) -> OrbitStore:
        """Store orbit vectors that were made elsewhere, by any model from any kind of data, and open the store.

        Each of `batches` is (b, |G|, channels), with x[:, g] the response to the input that g has moved; they may lie
        on any device and differ in b. `exact` marks elements that move inputs without resampling (default: all). Row
        numbers stand for images, and `points` are NaN. What an interruption leaves is overwritten by the next call;
        a finished store never is. ValueError for it, for batches that do not fit, and for no rows at all.

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
        channels, rows, shard = None, 0, 0
        for shard, blocks in enumerate(_in_shards(batches, group)):
            channels = blocks.shape[2]
            image = range(rows, rows + len(blocks))
            rows += len(blocks)
            _write_shard(folder, shard, blocks, list(image), points=None)
        if channels is None:
            raise ValueError("batches is empty; expected at least one batch of orbit vectors (b, |G|, channels)")
        # The checksums stand for the rows: two stores of the same numbers have one fingerprint.
        sums = digest([_inspected(folder, number, thorough=False)[1]["sha256"] for number in range(shard + 1)])
        write_json(folder / "config.json", _config(group, marks, channels) | dict(shards=shard + 1, content=sums))
        return cls(folder, check=False)

    def rows(self, indices: Sequence[int] | np.ndarray, elements: slice = slice(None)) -> Float[Tensor, "b g d"]:
        """Orbit vectors of these rows, in this order, float32, in the model's own units."""
        indices = np.asarray(indices)
        count = len(range(self.group.order)[elements])
        out = np.empty((len(indices), count, self.channels), dtype=np.float16)
        factor = np.ones(len(indices), dtype=np.float32)
        shard_of = np.searchsorted(self._first_row, indices, side="right") - 1
        for shard in np.unique(shard_of).tolist():
            here = np.flatnonzero(shard_of == shard)
            out[here] = self._shard(shard)[indices[here] - self._first_row[shard], elements]
            factor[here] = 2.0 ** -self._exponents[shard]
        found = torch.from_numpy(out).float()
        return found if (factor == 1).all() else found * torch.from_numpy(factor)[:, None, None]

    def _shard(self, shard: int) -> np.ndarray:
        """The shard's file, opened if it is not; those that were used last stay open."""
        if shard in self._open:
            self._open.move_to_end(shard)
        else:
            while len(self._open) >= OPEN_SHARDS:
                self._open.popitem(last=False)  # NumPy closes a map that nobody holds
            self._open[shard] = np.load(_data_path(self.folder, shard), mmap_mode="r")
        return self._open[shard]

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
                 points: list[list[float]] | None) -> None:
    """One shard and its meta file, which is written last and so vouches for a whole shard."""
    exponent = exponent_for(blocks)
    stored = to_half(blocks, exponent).cpu().numpy()
    path = _data_path(folder, shard)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, stored)
    squares = np.square(stored, dtype=np.float32).sum((0, 2), dtype=np.float64) * 4.0 ** -exponent
    meta = dict(rows=len(stored), sha256=sha256_of(path), **_stamp(path), exponent=exponent, squares=squares.tolist(),
                image=image, points=points)
    write_json(_meta_path(folder, shard), meta | {"digest": digest(meta)})


def _stamp(path: Path) -> dict[str, int]:
    """What tells cheaply that a file is still the one that was hashed."""
    status = path.stat()
    return dict(size=status.st_size, changed=status.st_mtime_ns)


def _points_of(meta: dict[str, Any]) -> Float[np.ndarray, "n 2"]:
    if meta["points"] is None:
        return np.full((meta["rows"], 2), np.nan, dtype=np.float32)
    return np.array(meta["points"], dtype=np.float32)


def _read_meta(folder: Path, shard: int) -> dict[str, Any] | None:
    """What was noted about a shard; None if it is damaged."""
    try:
        meta = read_json(_meta_path(folder, shard))
    except ValueError:
        return None
    return meta if isinstance(meta, dict) and meta.pop("digest", None) == digest(meta) else None


def _inspected(folder: Path, shard: int, thorough: bool) -> tuple[str | None, dict[str, Any]]:
    """(problem, what was noted): "missing", "damaged" or None; unless `thorough`, a file with the noted size and time
    of change is not read."""
    path = _data_path(folder, shard)
    if not (path.is_file() and _meta_path(folder, shard).is_file()):
        return "missing", {}
    meta = _read_meta(folder, shard)
    if meta is None:
        return "damaged", {}
    trusted = not thorough and _stamp(path) == {key: meta.get(key) for key in ("size", "changed")}
    return None if trusted or sha256_of(path) == meta["sha256"] else "damaged", meta
