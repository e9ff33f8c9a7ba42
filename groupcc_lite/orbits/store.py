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
from groupcc_lite.base import digest, progress_bar, read_json, write_json
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.models import BaseModel
from groupcc_lite.orbits.sampling import sample_layers
from groupcc_lite.orbits.shards import Packer, clear_all, holds_shards, lacking_shards, opened, write_shard
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
            inside = self.folder / "train"
            instead = (f"did you mean {inside}?" if (inside / "config.json").is_file() else
                       "make one with `groupcc orbits`, OrbitStore.make or OrbitStore.from_batches")
            raise ValueError(f"{self.folder} holds no orbit store (no config.json); {instead}")
        self.config: dict[str, Any] = read_json(self.folder / "config.json")
        if self.config.get("format") != STORE_FORMAT:
            raise ValueError(f"{self.folder} holds an orbit store of format {self.config.get('format')}, expected "
                             f"{STORE_FORMAT}; make it anew in another folder")
        self.group = FiniteGroup(self.config["table"], names=self.config["names"], name=self.config["group"])
        self.channels = self.config["channels"]
        self.exact = np.array(self.config["exact"])
        self._files, notes = opened(self.folder, self.config["shards"], thorough=check)
        self._exponents = np.array([note.exponent for note in notes])
        self.fingerprint = digest(self._named_by())
        self._first_row = np.cumsum([0, *(note.rows for note in notes)])
        self._file_rows = np.array([self._first_row[shard] for shard, _ in self._files])
        self._squares = np.sum([note.squares for note in notes], axis=0)
        if self._squares.sum() <= 0:
            raise ValueError("all activations are zero: the layer is dead, or its images are empty; check the images, "
                             f"the layer and the weights (orbit store {self.folder})")
        self.scale = self.scale_of(slice(None))
        self._open: OrderedDict[int, np.ndarray] = OrderedDict()
        self.points = np.concatenate([note.points for note in notes])
        self.image = np.concatenate([note.image for note in notes])

    def __len__(self) -> int:
        return int(self._first_row[-1])

    def _named_by(self) -> dict[str, Any]:
        """What the fingerprint stands for. `content` names the shifted numbers only, so their powers of two belong to
        it; where they are all 0 the fingerprint stays what it was before they did."""
        if "content" in self.config and self._exponents.any():
            return self.config | dict(exponents=self._exponents.tolist())
        return self.config

    def scale_of(self, elements: slice) -> float:
        squares = self._squares[elements]
        return float(np.sqrt(self.channels * len(self) * len(squares) / squares.sum()))

    @classmethod
    def make(cls, folder: str | Path, model: BaseModel, action: Action, source: ImageSource, *, progress: bool = True,
             **settings: Any) -> OrbitStore:
        """Extract what is missing, then open. Interrupt it at any time and call it again.

        `settings` as for `Extraction`, which also lets many processes share the work. Finished shards are trusted as
        when a store is opened. ValueError if the folder holds a store made with other settings (it is never
        overwritten); names of the model, the group and its elements are no settings, and stay those of the first call.
        """
        (store,) = cls.make_layers([folder], [model], action, source, progress=progress, **settings)
        return store

    @classmethod
    def make_layers(cls, folders: Sequence[str | Path], models: Sequence[BaseModel], action: Action,
                    source: ImageSource, *, progress: bool = True, **settings: Any) -> list[OrbitStore]:
        """`make` for several models, each with a folder of its own, from one pass of every view (`sample_layers`).

        The stores are those that `make` makes one by one. ValueError as there.
        """
        extraction = Extraction(folders, models, action, source, **settings)
        extraction.begin()
        extraction.extract(progress=progress)
        extraction.finish()
        return [cls(folder) for folder in extraction.folders]

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
        clear_all(folder)  # of a call that was interrupted
        channels, rows, sums, packer = None, 0, [], Packer(folder, pack_bytes)
        for shard, blocks in enumerate(_in_shards(batches, group)):
            channels = blocks.shape[2]
            image = range(rows, rows + len(blocks))
            rows += len(blocks)
            sums.append(write_shard(folder, shard, blocks, list(image), points=None))
            packer.add(shard)
        if channels is None:
            raise ValueError("batches is empty; expected at least one batch of orbit vectors (b, |G|, channels)")
        packer.finish(len(sums))
        # Checksums and powers of two stand for the rows: two stores of the same numbers have one fingerprint.
        write_json(folder / "config.json",
                   _config(group, marks, channels) | dict(shards=len(sums), content=digest(sums)))
        return cls(folder)

    def rows(self, indices: Sequence[int] | np.ndarray, elements: slice = slice(None)) -> Float[Tensor, "b g d"]:
        """Orbit vectors of these rows, in this order, float32, in the model's own units; ValueError for others."""
        indices = np.asarray(indices)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise ValueError(f"rows go from {indices.min()} to {indices.max()}; expected 0 to {len(self) - 1}")
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


class Extraction:
    """What `OrbitStore.make` and `make_layers` do, in steps that many processes can share.

    One process calls `begin`, then each calls `extract` with its number, and when all have done so one calls `finish`.
    An interrupted extraction begins anew with any number of processes, and makes what is missing.

    `folders` and `models`: a store for each model, from one pass of every view. `points_per_image`, `mask_radius`
    (pixels), `registration`, `seed`, `amp` and `batch_size` as in `sample_orbits`; `workers` processes load images
    ahead. `images_per_shard` is how much an interruption loses at most; shards of `pack_bytes` together become one
    file, and at the end those that are left, if they are many. `batch_size`, `workers` and `pack_bytes` are no settings
    of a store.

    >>> import tempfile, torch
    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.models import load_model
    >>> from groupcc_lite.orbits import Extraction, OrbitStore
    >>> from groupcc_lite.stimuli import DrawingSource
    >>> folder, model, drawings = tempfile.mkdtemp(), load_model(), DrawingSource(4, 96)
    >>> extraction = Extraction([folder], [model], PlanarAction(cyclic(4)), drawings, images_per_shard=1)
    >>> extraction.begin()
    >>> [extraction.extract(rank, 2, progress=False) for rank in range(2)]
    [2, 2]
    >>> extraction.finish()
    >>> len(OrbitStore(folder))
    64
    """

    def __init__(self, folders: Sequence[str | Path], models: Sequence[BaseModel], action: Action,
                 source: ImageSource, *, points_per_image: int = 16, mask_radius: float | None = None,
                 registration: str = "image-centre", seed: int = 0, images_per_shard: int = 32, amp: bool = False,
                 batch_size: int | None = None, workers: int = 0, pack_bytes: int = PACK_BYTES):
        if images_per_shard < 1:
            raise ValueError(f"images_per_shard is {images_per_shard}; expected at least one image a shard")
        self.folders, self.models, self.action, self.source = [Path(one) for one in folders], models, action, source
        self.images_per_shard, self.workers = images_per_shard, workers
        self.shards = -(-len(source) // images_per_shard)
        self._settings = dict(points_per_image=points_per_image, registration=registration, seed=seed, amp=amp)
        self._sampling = self._settings | dict(mask_radius=mask_radius, batch_size=batch_size)
        self._packers = [Packer(folder, pack_bytes) for folder in self.folders]
        self._missing: list[set[int]] | None = None
        self._claimed: set[int] = set()

    def begin(self) -> None:
        """Put in order what an interruption or damage has left.

        A folder is claimed with the first shard that is made for it, so settings that fail claim none. ValueError for a
        folder that holds a store made with other settings, and for one with shards of which nothing says how they were
        made.
        """
        for folder, config in zip(self.folders, self._configs, strict=True):
            _is_claimed(folder, config)
        self._missing = self._look()

    @cached_property
    def _configs(self) -> list[dict[str, Any]]:
        radius = self._sampling["mask_radius"]
        images = dict(images_fingerprint=self.source.fingerprint, images=len(self.source),
                      images_per_shard=self.images_per_shard, shards=self.shards)
        return [_config(self.action.group, self.action.exact, model.channels) | self._settings | dict(
            action=digest(self.action.fingerprint), model=f"{model.name}/{model.layer}",
            mask_radius=model.geometry.max_mask_radius if radius is None else radius,
            model_fingerprint=model.fingerprint) | images for model in self.models]

    def _claim(self, number: int) -> None:
        """Write the configuration of a new store before its first shard, unless another process has."""
        if number not in self._claimed:
            folder, config = self.folders[number], self._configs[number]
            if not _is_claimed(folder, config):
                write_json(folder / "config.json", config)
            self._claimed.add(number)

    def extract(self, rank: int = 0, of: int = 1, *, progress: bool = True) -> int:
        """Make the missing ones of this process's shards; returns how many those were.

        They are every `of`-th from number `rank` on, or every `of`-th run of shards, as many as fill a pack: where
        there is a pack for each process, each packs what it makes.
        """
        own = set(self._share(rank, of))
        lacking = {shard: which for shard, which in self._lacking().items() if shard in own}
        groups = [self._images_of(shard) for shard in lacking]
        bar = progress_bar(progress and bool(lacking), total=len(own), initial=len(own) - len(lacking), desc="orbits",
                           unit="shard")
        with bar:
            for (shard, which), numbers, images in zip(
                    lacking.items(), groups, load_ahead(self.source, groups, self.workers), strict=True):
                samples = sample_layers([self.models[number] for number in which], self.action, images,
                                        indices=numbers, **self._sampling)
                for number, sample in zip(which, samples, strict=True):
                    self._claim(number)
                    write_shard(self.folders[number], shard, sample.blocks, (sample.image.cpu() + numbers[0]).tolist(),
                                sample.points.tolist())
                    self._packers[number].add(shard)
                bar.update()
        return len(lacking)

    def finish(self) -> None:
        """Pack what is left, if it is much. The stores can be opened when all shards are there."""
        for packer in self._packers:
            packer.finish(self.shards)

    def _share(self, rank: int, of: int) -> list[int]:
        """Shards of one process, as many as of any other but for a few."""
        shard = self.images_per_shard * self._settings["points_per_image"] * self.action.group.order * 2
        pack = max(packer.shards_of(shard * model.channels)
                   for packer, model in zip(self._packers, self.models, strict=True))
        runs = self.shards // (pack * of) * of or self.shards
        return [shard for shard in range(self.shards) if shard * runs // self.shards % of == rank]

    def _images_of(self, shard: int) -> range:
        return range(shard * self.images_per_shard, min((shard + 1) * self.images_per_shard, len(self.source)))

    def _look(self) -> list[set[int]]:
        return [lacking_shards(folder, self.shards) for folder in self.folders]

    def _lacking(self) -> dict[int, list[int]]:
        """Shards that are missing, each with the models of which it is."""
        missing = self._look() if self._missing is None else self._missing
        return {shard: which for shard in range(self.shards)
                if (which := [number for number, some in enumerate(missing) if shard in some])}


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


def _is_claimed(folder: Path, config: dict[str, Any]) -> bool:
    """Whether a folder has a store's configuration; ValueError unless that is the same but for NAMES."""
    path = folder / "config.json"
    if not path.is_file():
        if holds_shards(folder):
            raise ValueError(f"{folder} holds shards of orbits but no config.json that says how they were made; choose "
                             "another folder or delete this one")
        return False
    found = read_json(path)
    differing = sorted(key for key in (config.keys() | found.keys()).difference(NAMES)
                       if config.get(key) != found.get(key))
    if differing:
        raise ValueError(f"{folder} holds orbits made with other settings ({', '.join(differing)} differ); "
                         "choose another folder or delete this one")
    return True
