"""What is computed and kept: each artefact under a key that stands for everything it was made from, and made once.

    key = digest(kind, version of its maker, its own settings, keys of everything it was made from)

A key contains the keys of what lies upstream, so a change anywhere gives everything downstream another name. Nothing is
ever compared with what lies on disk, and nothing can be out of date: what was made otherwise is filed elsewhere.

An artefact is a folder. While it is made it is called `NAME.part`, in which a maker may keep checkpoints; when it is
whole it gets its name in one step, with `artefact.json` inside, which says what it is, what it was made from, by which
code, where, and how long it took by itself, without what its maker asked the cache for. Keys hold what decides the
result. Commit, machine, device, threads and the versions of torch and numpy change it by rounding only; they are
written down there and are no part of the key.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from groupcc_lite.base.environment import provenance
from groupcc_lite.base.files import digest, read_json, write_json
from groupcc_lite.base.locks import locked

RECORD = "artefact.json"
"""The file that makes a folder a whole artefact."""
_asked = threading.local()
"""`seconds`: for each maker at work in this thread, the outermost first, how long it has spent asking for artefacts."""


@dataclass(frozen=True)
class Artefact:
    """What something kept is, and what it was made from: enough to name it without making it.

    ValueError for settings that are not plain JSON, because two different ones might then get the same key.

    >>> orbits = Artefact("orbits", version=1, settings={"points": 16}, made_from={"model": "0f3a"})
    >>> coder = Artefact("coders", version=1, settings={"latents": 8}, made_from={"orbits": orbits.key})
    >>> others = Artefact("orbits", version=1, settings={"points": 8}, made_from={"model": "0f3a"})
    >>> coder.key == Artefact("coders", version=1, settings={"latents": 8}, made_from={"orbits": others.key}).key
    False
    """

    kind: str
    """What it is; the folder in which all of its kind lie."""
    version: int
    """Of the maker. Raise it when the same settings give another result: then no old artefact is taken for a new one,
    nor anything that was made from it."""
    settings: Mapping[str, Any]
    """The maker's own settings."""
    made_from: Mapping[str, str] = field(default_factory=dict)
    """Keys of everything upstream, by name. A content address, such as a sha256 of weights, is a key too."""
    label: str = ""
    """For people: the beginning of the folder's name. It is no part of the key."""

    def __post_init__(self) -> None:
        try:
            json.dumps([dict(self.settings), dict(self.made_from)], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"settings of {self.kind} are {dict(self.settings)}, made from {dict(self.made_from)}: "
                             f"{error}; expected plain numbers, words, lists and dictionaries") from error

    @cached_property
    def key(self) -> str:
        """The name of this artefact among all others, 24 hex digits."""
        return digest([self.kind, self.version, dict(self.settings), dict(self.made_from)], length=24)

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.label}-{self.key}" if self.label else self.key

    @property
    def recipe(self) -> dict[str, Any]:
        """All that the key stands for."""
        return dict(key=self.key, kind=self.kind, version=self.version, settings=dict(self.settings),
                    made_from=dict(self.made_from))


class Cache:
    """Artefacts in a work folder, each made by whoever wants it first.

    `facts` are written into every artefact's provenance, such as the device and the seed of a run.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> cache, squares = Cache(work.name), Artefact("tables", version=1, settings={"largest": 3})
    >>> folder = cache.get(squares, lambda part: write_json(part / "table.json", [1, 4, 9]))
    >>> read_json(folder / "table.json"), cache.has(squares)
    ([1, 4, 9], True)
    >>> work.cleanup()
    """

    def __init__(self, work: str | Path, **facts: Any):
        self.work, self.facts = Path(work), facts

    def folder(self, artefact: Artefact) -> Path:
        """Where an artefact lies, or will lie."""
        return self.work / artefact.kind / artefact.name

    def has(self, artefact: Artefact) -> bool:
        """Whether it is there, whole."""
        return (self.folder(artefact) / RECORD).is_file()

    def get(self, artefact: Artefact, make: Callable[[Path], object], *, scratch: tuple[str, ...] = ()) -> Path:
        """The artefact's folder; if it is not whole yet, `make(folder)` fills it first.

        `make` gets a folder that holds what an earlier call left when it was interrupted, or nothing. It may go on from
        that. `scratch` names files in it, such as checkpoints, that are of no use once all is done. Whoever wants an
        artefact that another process or thread is making waits for it; the log says so. If `make` fails, or is
        interrupted, what it has written stays for the next call. The seconds that are noted leave out what `make` asks
        for in turn, in its own thread, and waiting.
        """
        folder = self.folder(artefact)
        if self.has(artefact):
            return folder
        began = time.perf_counter()
        try:
            return self._made(artefact, folder, make, scratch)
        finally:
            if makers := _makers():
                makers[-1] += time.perf_counter() - began

    @contextmanager
    def held(self, artefact: Artefact) -> Iterator[None]:
        """Hold an artefact's lock while it is made, or while what is there already is mended: others wait."""
        folder = self.folder(artefact)
        lock = folder.with_name(f"{folder.name}.lock")
        with locked(lock, f"{artefact.kind} {artefact.name}"):
            yield
            with suppress(OSError):  # nobody needs it any more; Windows deletes no open file
                lock.unlink()

    def _made(self, artefact: Artefact, folder: Path, make: Callable[[Path], object], scratch: tuple[str, ...]) -> Path:
        with self.held(artefact):
            if not self.has(artefact):
                self._make(artefact, folder, make, scratch)
        return folder

    def _make(self, artefact: Artefact, folder: Path, make: Callable[[Path], object], scratch: tuple[str, ...]) -> None:
        if folder.exists():
            raise ValueError(f"{folder} is in the way: it has no {RECORD}, so it is no whole artefact; move it away or "
                             "delete it, and run again")
        part = folder.with_name(f"{folder.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        _remove_half_written(part)
        facts = dict(threads=torch.get_num_threads(), seconds=round(_own_seconds(make, part), 2)) | self.facts
        write_json(part / RECORD, artefact.recipe | dict(provenance=provenance(**facts)))
        os.replace(part, folder)
        for name in scratch:
            (folder / name).unlink(missing_ok=True)


def _makers() -> list[float]:
    """`_asked.seconds` of this thread, which begins with none."""
    return _asked.__dict__.setdefault("seconds", [])


def _own_seconds(make: Callable[[Path], object], part: Path) -> float:
    """Call the maker; how long it took, without what it asked the cache for."""
    makers, began = _makers(), time.perf_counter()
    makers.append(0.0)
    try:
        make(part)
    finally:
        asked = makers.pop()
    return time.perf_counter() - began - asked


def described(folder: str | Path) -> dict[str, Any]:
    """What an artefact's folder says about itself: key, kind, version, settings, made_from and provenance.

    ValueError if it holds no whole artefact.

    >>> described(".")
    Traceback (most recent call last):
    ValueError: . holds no whole artefact: there is no artefact.json
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise ValueError(f"{folder} holds no whole artefact: there is no {RECORD}")
    return read_json(path)


def _remove_half_written(part: Path) -> None:
    """What a killed process was just writing: `atomic_path` begins such names with a dot."""
    for path in part.rglob(".*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
