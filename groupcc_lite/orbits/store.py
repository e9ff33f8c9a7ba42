"""Orbit activations for training: a store on disk or a stream, behind one interface.

`OrbitStore` keeps float16 shards, each written whole with its checksum, so that a killed extraction goes on where it
was and a damaged shard is noticed and remade. `OrbitStream` computes the same rows on the fly and never holds more
than a shuffle buffer. Both hand out shuffled batches that depend only on (seed, epoch, position), which is what makes
an interrupted training resume exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.actions import Action
from groupcc_lite.base import atomic_path, digest, progress_bar, read_json, sha256_of, write_json
from groupcc_lite.groups import FiniteGroup, cyclic
from groupcc_lite.models import BaseModel
from groupcc_lite.orbits.sampling import OrbitSample, sample_orbits
from groupcc_lite.stimuli import ImageSource

__all__ = ["IdentityBlocks", "OrbitSample", "OrbitSource", "OrbitStore", "OrbitStream", "sample_orbits"]
log = logging.getLogger(__name__)
FORMAT = 1


class OrbitSource:
    """What training needs: `len`, `group`, `channels`, `scale`, `exact` and `batches`.

    `scale` is the factor that brings the mean squared norm of a block to `channels` (over all rows of a store, over the
    first images of a stream); `exact` marks the elements that move pixels to pixels.
    """

    group: FiniteGroup
    channels: int
    scale: float
    exact: np.ndarray

    def __len__(self) -> int:
        raise NotImplementedError

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Shuffled batches of one epoch, from batch number `start` on; the last incomplete batch is dropped.

        `elements` picks blocks; a store then reads no others.
        """
        raise NotImplementedError

    def batches_per_epoch(self, batch_size: int) -> int:
        """Number of full batches; ValueError when there is not even one."""
        if not 1 <= batch_size <= len(self):
            raise ValueError(f"batch_size is {batch_size}; expected 1 to {len(self)}, the number of orbits")
        return len(self) // batch_size


class OrbitStore(OrbitSource):
    """Orbit vectors in a folder: `config.json` and, per shard, `NNNNN.npy` (rows, |G|, d) float16 with `NNNNN.json`.

    Opening checks every shard against its sha256 and raises ValueError that names the first damaged or missing one;
    `OrbitStore.make` with the same arguments remakes just those.
    """

    def __init__(self, folder: str | Path, *, check: bool = True):
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            raise ValueError(f"{self.folder} holds no orbit store (no config.json); make one with OrbitStore.make")
        self.config: dict[str, Any] = read_json(self.folder / "config.json")
        self.group = FiniteGroup(self.config["table"], names=self.config["names"], name=self.config["group"])
        self.channels = self.config["channels"]
        self.exact = np.array(self.config["exact"])
        metas = []
        for shard in range(self.config["shards"]):
            problem = _shard_problem(self.folder, shard, thorough=check)
            if problem:
                raise ValueError(f"{self.folder}: shard {shard} is {problem}; run the extraction again to remake it")
            metas.append(read_json(_meta_path(self.folder, shard)))
        self.rows_per_shard = [meta["rows"] for meta in metas]
        self._first_row = np.cumsum([0, *self.rows_per_shard])
        squares = sum(meta["sum_of_squares"] for meta in metas)
        if squares <= 0:
            raise ValueError(f"{self.folder}: all activations are zero; check the images, the layer and the weights")
        self.scale = float(np.sqrt(self.channels * len(self) * self.group.order / squares))
        self._maps = [np.load(_data_path(self.folder, s), mmap_mode="r") for s in range(len(metas))]
        self.points = np.concatenate([np.array(meta["points"], dtype=np.float32) for meta in metas])
        self.image = np.concatenate([np.array(meta["image"]) for meta in metas])

    def __len__(self) -> int:
        return int(self._first_row[-1])

    @classmethod
    def make(cls, folder: str | Path, model: BaseModel, action: Action, source: ImageSource, *,
             points_per_image: int = 16, mask_radius: float | None = None, registration: str = "image-centre",
             seed: int = 0, images_per_shard: int = 32, amp: bool = False, progress: bool = True) -> OrbitStore:
        """Extract what is missing, then open. Interrupt it at any time and call it again.

        Sampling as by `sample_orbits`, whose arguments `points_per_image`, `mask_radius` (pixels), `registration`,
        `seed` and `amp` are. `images_per_shard` is how much an interruption loses at most. ValueError if the folder
        holds a store made with other settings (it is never overwritten).
        """
        folder = Path(folder)
        sampling = dict(points_per_image=points_per_image, registration=registration, seed=seed, amp=amp,
                        mask_radius=model.geometry.max_mask_radius if mask_radius is None else mask_radius)
        config = dict(format=FORMAT, group=action.group.name, table=action.group.table.tolist(),
                      names=list(action.group.names), exact=action.exact.tolist(), channels=model.channels,
                      action=digest(action.fingerprint),
                      model=f"{model.name}/{model.layer}", model_fingerprint=model.fingerprint,
                      images_fingerprint=source.fingerprint, images=len(source), images_per_shard=images_per_shard,
                      shards=-(-len(source) // images_per_shard), **sampling)
        _claim(folder, config)
        todo = [s for s in range(config["shards"]) if _shard_problem(folder, s)]
        with progress_bar(progress and bool(todo), total=config["shards"], initial=config["shards"] - len(todo),
                          desc="orbits", unit="shard") as bar:
            for shard in todo:
                numbers = range(shard * images_per_shard, min((shard + 1) * images_per_shard, len(source)))
                sample = sample_orbits(model, action, source.load(numbers), indices=numbers, **sampling)
                _write_shard(folder, shard, sample, first_image=numbers[0])
                bar.update()
        return cls(folder, check=False)

    def rows(self, indices: Sequence[int] | np.ndarray, elements: slice = slice(None)) -> Float[Tensor, "b g d"]:
        """Orbit vectors of these rows, in this order, float32, in the model's own units."""
        indices = np.asarray(indices)
        count = len(range(self.group.order)[elements])
        out = np.empty((len(indices), count, self.channels), dtype=np.float16)
        shard_of = np.searchsorted(self._first_row, indices, side="right") - 1
        for shard in np.unique(shard_of):
            here = np.flatnonzero(shard_of == shard)
            out[here] = self._maps[shard][indices[here] - self._first_row[shard], elements]
        return torch.from_numpy(out).float()

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The shuffled row numbers of one epoch."""
        return np.random.default_rng([seed, epoch]).permutation(len(self))

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        order = self.order(seed, epoch)
        for number in range(start, self.batches_per_epoch(batch_size)):
            yield self.rows(order[number * batch_size:(number + 1) * batch_size], elements)

    def in_order(self, batch_size: int = 1024, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Every row once, in the order of the images; the last batch may be smaller."""
        for first in range(0, len(self), batch_size):
            yield self.rows(np.arange(first, min(first + batch_size, len(self))), elements)


class OrbitStream(OrbitSource):
    """Orbit vectors computed when they are needed; at most `buffer` rows are held, and nothing is written.

    Each epoch draws new points. Shuffling mixes the rows in the buffer: the larger it is, the nearer to a full shuffle.
    Resuming at batch `start` replays the shuffle on row names alone and recomputes only the images still buffered.
    Sampling as by `sample_orbits`, `images_per_step` images at a time. ValueError for a buffer smaller than one step.
    """

    def __init__(self, model: BaseModel, action: Action, source: ImageSource, *, points_per_image: int = 16,
                 mask_radius: float | None = None, registration: str = "image-centre", seed: int = 0,
                 buffer: int = 16_384, images_per_step: int = 16, amp: bool = False):
        if buffer < points_per_image * images_per_step:
            raise ValueError(f"buffer is {buffer} rows; expected at least points_per_image x images_per_step "
                             f"= {points_per_image * images_per_step}")
        self.model, self.action, self.source = model, action, source
        self.group, self.channels, self.exact = action.group, model.channels, action.exact
        self.buffer, self.images_per_step, self.points_per_image, self.seed = (
            buffer, images_per_step, points_per_image, seed)
        self._sampling = dict(points_per_image=points_per_image, mask_radius=mask_radius, registration=registration,
                              amp=amp)
        sample = self._extract(range(min(images_per_step, len(source))), epoch=0).float()
        self.scale = float((self.channels / sample.square().sum(-1).mean()).sqrt())

    def __len__(self) -> int:
        return len(self.source) * self.points_per_image

    def _extract(self, numbers: Sequence[int], epoch: int) -> Float[Tensor, "n g d"]:
        sample = sample_orbits(self.model, self.action, self.source.load(numbers), indices=numbers,
                               seed=self.seed + 7919 * epoch, **self._sampling)
        return sample.blocks.half().cpu()

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        step = self.images_per_step * self.points_per_image
        if batch_size + step > self.buffer:
            raise ValueError(f"a batch of {batch_size} rows and {step} fresh ones do not fit the shuffle buffer of "
                             f"{self.buffer} rows; give the stream a larger buffer")
        rng = np.random.default_rng([seed, epoch])
        waiting = rng.permutation(len(self.source))
        names = np.empty((0, 2), dtype=np.int64)  # (image, slot) of each buffered row
        pool = torch.empty((self.buffer, self.group.order, self.channels), dtype=torch.float16)
        for number in range(self.batches_per_epoch(batch_size)):
            live = number >= start
            if number == start:  # everything before was replayed by name; now fill in the activations
                self._materialise(pool, names, epoch)
            while len(waiting) and len(names) + self.images_per_step * self.points_per_image <= self.buffer:
                images, waiting = waiting[:self.images_per_step], waiting[self.images_per_step:]
                fresh = np.stack([images.repeat(self.points_per_image),
                                  np.tile(np.arange(self.points_per_image), len(images))], axis=1)
                if live:
                    pool[len(names):len(names) + len(fresh)] = self._extract(images.tolist(), epoch)
                names = np.concatenate([names, fresh])
            taken = rng.choice(len(names), size=batch_size, replace=False)
            if live:
                yield pool[taken][:, elements].float()
            names = self._drop(pool, names, taken, live)

    def _materialise(self, pool: Tensor, names: np.ndarray, epoch: int) -> None:
        wanted = np.unique(names[:, 0])
        for first in range(0, len(wanted), self.images_per_step):
            images = wanted[first:first + self.images_per_step]
            blocks = self._extract(images.tolist(), epoch)
            for position, image in enumerate(images):
                rows = np.flatnonzero(names[:, 0] == image)
                pool[rows] = blocks[position * self.points_per_image + names[rows, 1]]

    @staticmethod
    def _drop(pool: Tensor, names: np.ndarray, taken: np.ndarray, live: bool) -> np.ndarray:
        """Fill the holes that a batch leaves with the buffer's last rows, and shorten it."""
        left = len(names) - len(taken)
        holes = np.sort(taken[taken < left])
        movers = np.setdiff1d(np.arange(left, len(names)), taken)
        names = names.copy()
        names[holes] = names[movers]
        if live:
            pool[holes] = pool[movers]
        return names[:left]


class IdentityBlocks(OrbitSource):
    """The untransformed block of another source's orbits: what a plain sparse autoencoder is trained on."""

    def __init__(self, source: OrbitStore | OrbitStream | TensorOrbits):
        self.source, self.group, self.channels, self.scale = source, cyclic(1), source.channels, source.scale
        self.exact = np.array([True])

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(0, 1)) -> Iterator[Float[Tensor, "b 1 d"]]:
        return self.source.batches(batch_size, seed=seed, epoch=epoch, start=start, elements=elements)

    def in_order(self, batch_size: int = 1024) -> Iterator[Float[Tensor, "b 1 d"]]:
        """Every row of a store once, in order."""
        return self.source.in_order(batch_size, elements=slice(0, 1))


class TensorOrbits(OrbitSource):
    """Orbit vectors that lie in memory, such as the whole-image activations of a small network.

    `blocks` (n, |G|, d) in the model's units; ValueError if they do not fit the group or are not finite.
    """

    def __init__(self, blocks: Float[Tensor, "n g d"], group: FiniteGroup):
        if blocks.ndim != 3 or blocks.shape[1] != group.order or not len(blocks):
            raise ValueError(f"blocks have shape {tuple(blocks.shape)}; expected (n, {group.order}, channels), one "
                             f"block per element of {group.name}, and at least one row")
        if not torch.isfinite(blocks).all():
            raise ValueError("blocks hold NaN or infinite values; check the activations they were made from")
        self.blocks, self.group, self.channels = blocks, group, blocks.shape[2]
        self.exact = np.ones(group.order, dtype=bool)
        self.scale = float((self.channels / blocks.square().sum(-1).mean().clamp(min=1e-12)).sqrt())

    def __len__(self) -> int:
        return len(self.blocks)

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(self)))
        for number in range(start, self.batches_per_epoch(batch_size)):
            yield self.blocks[order[number * batch_size:(number + 1) * batch_size]][:, elements]

    def in_order(self, batch_size: int = 1024, *, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Every row once, in order."""
        for first in range(0, len(self), batch_size):
            yield self.blocks[first:first + batch_size, elements]


def _data_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.npy"


def _meta_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.json"


def _claim(folder: Path, config: dict[str, Any]) -> None:
    """Write the configuration of a new store, or make sure that an existing one is the same."""
    path = folder / "config.json"
    if not path.is_file():
        write_json(path, config)
        return
    found = {"action": config["action"]} | read_json(path)  # stores from before actions were recorded lack the entry
    differing = sorted(key for key in config.keys() | found.keys() if config.get(key) != found.get(key))
    if differing:
        raise ValueError(f"{folder} holds orbits made with other settings ({', '.join(differing)} differ); "
                         "choose another folder or delete this one")


def _write_shard(folder: Path, shard: int, sample: OrbitSample, first_image: int) -> None:
    blocks = sample.blocks.cpu().numpy().astype(np.float16)
    if not np.isfinite(blocks).all():
        raise ValueError("activations exceed float16's range (65,504); choose a layer with smaller activations")
    with atomic_path(_data_path(folder, shard)) as temporary, temporary.open("wb") as stream:
        np.save(stream, blocks)
    meta = dict(rows=len(blocks), sha256=sha256_of(_data_path(folder, shard)),
                sum_of_squares=float(np.square(blocks, dtype=np.float32).sum(dtype=np.float64)),
                image=(sample.image + first_image).tolist(), points=sample.points.tolist())
    write_json(_meta_path(folder, shard), meta | {"digest": digest(meta)})


def _shard_problem(folder: Path, shard: int, thorough: bool = True) -> str | None:
    """"missing", "damaged" or None; the meta file is written last, so it vouches for a whole shard."""
    data, meta = _data_path(folder, shard), _meta_path(folder, shard)
    if not (data.is_file() and meta.is_file()):
        return "missing"
    try:
        facts = read_json(meta)
    except ValueError:
        return "damaged"
    if not isinstance(facts, dict) or facts.pop("digest", None) != digest(facts):
        return "damaged"
    return "damaged" if thorough and sha256_of(data) != facts["sha256"] else None
