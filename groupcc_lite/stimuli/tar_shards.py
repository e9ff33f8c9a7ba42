"""Images in tar files, as WebDataset lays them out: `KEY.jpg` beside whatever else belongs to KEY, in files of some GB.

A tar file holds its members whole and uncompressed, one after the other, so a member is read without the others once
its offset is known. The offsets are read from the headers once, and kept in the same index as what was seen of the
images. Python's `tarfile` does all that is needed; the package `webdataset` reads tar files from front to back and
shuffles on the way, and an order that depends on (seed, epoch) alone needs any image at any time.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from PIL.ContainerIO import ContainerIO
from torch import Tensor

from groupcc_lite.base import digest
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

OPEN_TARS = 32
"""How many tar files a process keeps open: systems allow it 256 to 1,024 files."""


class _Member(NamedTuple):
    """Where an image lies."""

    shard: str
    """The tar file, relative to the folder."""
    name: str
    offset: int
    length: int


class _Header(tarfile.TarInfo):
    """A member's header; a tar file whose last one has been read knows whether it was the mark of its end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> tarfile.TarInfo:
        tar.is_whole = False
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:
            tar.is_whole = True
            raise


def _images_of(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Its members that are images. TarError if it ends without the mark of its end, which `tarfile` would not tell."""
    for member in tar:
        if member.isfile() and Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
            yield member
    if not tar.is_whole:
        raise tarfile.ReadError("it is truncated")


class TarImages(ImageSource):
    """All readable images in the tar files below a folder (or in one tar file), squares of `size` pixels.

    Cut, scaled and turned as by `PhotoFolder`, in the order of the tar files' names and of their members; members that
    are no images, such as labels, are passed over. An image is called `SHARD.tar/MEMBER`. `index` and `workers` as
    there, also that up to 20,000 images are decoded and hashed at first. Any number of tar files may be read: at most
    32 are open at a time. ValueError for damaged and for compressed tar files, for a folder without any or without
    usable images, and for an image that turns out to be damaged when it is loaded.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> Image.new("RGB", (60, 50), "red").save(f"{folder.name}/red.png")
    >>> with tarfile.open(f"{folder.name}/0000.tar", "w") as shard:
    ...     shard.add(f"{folder.name}/red.png", "red.png")
    >>> images = TarImages(folder.name, size=48)
    >>> images.names, images.load([0]).shape
    (['0000.tar/red.png'], torch.Size([1, 3, 48, 48]))
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | Path, size: int, *, index: str | Path | None = None, workers: int = 0):
        folder = Path(folder)
        self.folder, self.size = (folder.parent, size) if folder.is_file() else (folder, size)
        shards = [folder.name] if folder.is_file() else _shards(folder)
        path = None if index is None else Path(index) / f"tars-{digest(str(folder.resolve()))}.json"
        members, looks = _members(self.folder, shards, Remembered(path), workers)
        names = [f"{member.shard}/{member.name}" for member in members]
        usable = usable_among(names, looks, size, folder)
        self.names, self._members = [names[number] for number in usable], [members[number] for number in usable]
        contents = [(looks[k].content if len(members) <= THOROUGH else str(members[k].length)) + looks[k].turned
                    for k in usable]
        self.fingerprint = fingerprint_of("tars", size, *self.names, *contents)
        self._open: OrderedDict[str, BinaryIO] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens its own files."""
        return self.__dict__ | {"_open": OrderedDict()}

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
        return as_floats(self.load_bytes(indices))

    def load_bytes(self, indices: Sequence[int]) -> UInt8[Tensor, "b 3 h w"]:
        return torch.stack([self._load_one(self._members[i]) for i in indices])

    def _load_one(self, member: _Member) -> UInt8[Tensor, "3 h w"]:
        # At a given place, wherever other processes that share the file have read last.
        content = os.pread(self._file(member.shard).fileno(), member.length, member.offset)
        try:
            with Image.open(io.BytesIO(content)) as image:
                return square_of(image, self.size)
        except UNREADABLE as error:
            raise ValueError(f"{self.folder / member.shard}: {member.name} cannot be decoded ({error}); write the tar "
                             "file again without it, or copy it again if the copy is damaged") from error

    def _file(self, shard: str) -> BinaryIO:
        """The tar file, opened if it is not; those that were used last stay open."""
        if shard not in self._open:
            while len(self._open) >= OPEN_TARS:
                self._open.popitem(last=False)[1].close()
            try:
                self._open[shard] = (self.folder / shard).open("rb")
            except OSError as error:
                raise ValueError(f"{self.folder / shard} cannot be opened ({error}); put it back, or open the images "
                                 "anew") from error
        self._open.move_to_end(shard)
        return self._open[shard]


def tar_stream(stream: Any, size: int, *,
               batch_size: int = 32) -> Iterator[tuple[list[str], Float[Tensor, "b 3 h w"]]]:
    """Names and images of a tar file that is read once from front to back, from a pipe or anything with `read`.

    It may be compressed. For data that nobody keeps: `OrbitStore.from_batches` stores the orbits of what goes by. Cut
    and scaled as by `PhotoFolder`. ValueError for a damaged stream, and for an image that cannot be decoded, by its
    name.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> Image.new("RGB", (60, 50), "red").save(f"{folder.name}/red.png")
    >>> with tarfile.open(f"{folder.name}/0000.tar.gz", "w:gz") as shard:
    ...     shard.add(f"{folder.name}/red.png", "red.png")
    >>> with open(f"{folder.name}/0000.tar.gz", "rb") as stream:
    ...     [(names, tuple(images.shape)) for names, images in tar_stream(stream, size=48)]
    [(['red.png'], (1, 3, 48, 48))]
    >>> folder.cleanup()
    """
    names, images = [], []
    for name, content in _members_of_stream(stream):
        try:
            with Image.open(io.BytesIO(content)) as image:
                images.append(square_of(image, size))
        except UNREADABLE as error:
            raise ValueError(f"{name} cannot be decoded ({error}); write the tar file again without it") from error
        names.append(name)
        if len(names) == batch_size:
            yield names, as_floats(torch.stack(images))
            names, images = [], []
    if names:
        yield names, as_floats(torch.stack(images))


def _members_of_stream(stream: Any) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Header) as tar:
            for member in _images_of(tar):
                yield member.name, tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"the stream is no whole tar file ({error}); fetch it again") from error


def has_tars(folder: Path) -> bool:
    """Whether there is a tar file at the top of a folder."""
    return any(path.suffix == ".tar" for path in folder.iterdir())


def _shards(folder: Path) -> list[str]:
    """Names of the tar files of a folder; ValueError if there are none."""
    found = sorted(path.name for path in folder.iterdir() if path.suffix == ".tar") if folder.is_dir() else []
    if not found:
        raise ValueError(f"no tar file in {folder}; give the folder that holds the shards, which end in .tar "
                         "(compressed ones must be unpacked: a member cannot be read from the middle)")
    return found


def _members(folder: Path, shards: list[str], remembered: Remembered, workers: int) -> tuple[list[_Member], list[Look]]:
    """All images of all shards and what is known of them, from the index or by looking."""
    stamps = {shard: (status.st_size, status.st_mtime_ns) for shard in shards
              for status in [os.stat(folder / shard)]}
    known: dict[str, list[_Member]] = {}
    for name, (stamp, _) in remembered.entries.items():
        shard = name.split(".tar/")[0] + ".tar"
        if tuple(stamp[:2]) == stamps.get(shard):
            known.setdefault(shard, []).append(_Member(shard, name.removeprefix(f"{shard}/"), *stamp[2:]))
    members = [member for shard in shards for member in known.get(shard) or _scanned(folder, shard)]
    names = [f"{member.shard}/{member.name}" for member in members]
    marks = [(*stamps[member.shard], member.offset, member.length) for member in members]
    thorough = len(members) <= THOROUGH
    found = [remembered.of(name, mark, thorough) for name, mark in zip(names, marks, strict=True)]
    new = [member for member, look in zip(members, found, strict=True) if look is None]
    fresh = iter(look_at_all(partial(_look_at_members, folder, thorough), new, workers))
    looks = [next(fresh) if look is None else look for look in found]
    remembered.keep(names, marks, looks)
    return members, looks


def _scanned(folder: Path, shard: str) -> list[_Member]:
    """Images of a tar file by its headers. ValueError if it is damaged, truncated or compressed."""
    path = folder / shard
    try:
        with tarfile.open(path, "r:", tarinfo=_Header) as tar:
            # A name that comes twice is the last of them, as it is where the file is unpacked.
            return list({member.name: _Member(shard, member.name, member.offset_data, member.size)
                         for member in _images_of(tar)}.values())
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"{path} is damaged, or no plain tar file ({error}); copy it again, unpack it if it is "
                         "compressed, or remove it") from error


def _look_at_members(folder: Path, thorough: bool, members: Sequence[_Member]) -> list[Look]:
    looks = []
    for member in members:
        with (folder / member.shard).open("rb") as tar:
            part = ContainerIO(tar, member.offset, member.length)
            content = part.read() if thorough else None  # a header is read without the rest
            looks.append(look_at(part if content is None else content,
                                 None if content is None else hashlib.sha256(content).hexdigest()))
    return looks
