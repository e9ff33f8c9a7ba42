"""Many image files: in tar shards as in a folder, looked at once, loaded by processes in an order of the caller's."""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile

import pytest
import torch
from image_files import add_bytes, write_photo, write_photos, write_shards

from groupcc_lite.stimuli import (
    DrawingSource,
    ImageSource,
    ImageSubset,
    PhotoFolder,
    TarImages,
    image_source,
    load_ahead,
    looks,
    photographs,
    tar_shards,
    tar_stream,
)

COUNT, SIZE = 11, 32


@pytest.fixture
def folder(tmp_path):
    return write_photos(tmp_path / "photos", COUNT)


@pytest.fixture
def shards(folder):
    return write_shards(folder.parent / "shards", sorted(folder.iterdir()), per_shard=4)


def test_tar_shards_hold_the_images_of_the_folder(folder, shards):
    plain, tars = PhotoFolder(folder, SIZE), TarImages(shards, SIZE)
    assert tars.names == [f"shard-{number // 4:04d}.tar/{name}" for number, name in enumerate(plain.names)]
    order = [10, 0, 4, 4, 7]
    assert torch.equal(tars.load(order), plain.load(order))
    train, held_out = tars.split(0.3, seed=1)
    assert len(held_out) == 3 and torch.equal(held_out.load([1]), tars.load([held_out.indices[1]]))
    one = TarImages(shards / "shard-0001.tar", SIZE)
    assert one.names == tars.names[4:8] and torch.equal(one.load([1]), tars.load([5]))


def test_a_path_is_taken_for_what_lies_there(folder, shards):
    assert isinstance(image_source(folder, SIZE), PhotoFolder)
    assert isinstance(image_source(shards, SIZE), TarImages)
    assert len(image_source(shards / "shard-0002.tar", SIZE)) == 3


@pytest.mark.parametrize("kind", [PhotoFolder, TarImages])
def test_what_was_seen_is_remembered_until_a_file_changes(folder, shards, tmp_path, monkeypatch, kind):
    place, index = (folder if kind is PhotoFolder else shards), tmp_path / "index"
    first, bare = kind(place, SIZE, index=index), kind(place, SIZE)
    assert first.fingerprint == bare.fingerprint and first.names == bare.names
    seen = []
    for module in (photographs, tar_shards):
        monkeypatch.setattr(module, "look_at", lambda file, content: seen.append(file) or looks.look_at(file, content))
    monkeypatch.setattr(tar_shards, "_scanned", lambda *a: pytest.fail("read the headers of a tar file again"))
    again = kind(place, SIZE, index=index)
    assert seen == [] and again.fingerprint == first.fingerprint and torch.equal(again.load([3]), first.load([3]))
    smaller = kind(place, 24, index=index)  # what was seen holds for every size
    assert seen == [] and smaller.load([0]).shape == (1, 3, 24, 24)
    monkeypatch.undo()
    if kind is PhotoFolder:
        write_photo(folder / "00003.png", seed=99)
    else:
        with tarfile.open(shards / "shard-0000.tar", "a") as tar:
            tar.add(folder / "00009.png", "more.png")
    changed = kind(place, SIZE, index=index)
    assert changed.fingerprint == kind(place, SIZE).fingerprint != first.fingerprint
    assert len(changed) == COUNT + (kind is TarImages)


def test_a_damaged_index_is_made_anew(folder, tmp_path, caplog):
    index = tmp_path / "index"
    first = PhotoFolder(folder, SIZE, index=index)
    (path,) = index.iterdir()
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert PhotoFolder(folder, SIZE, index=index).fingerprint == first.fingerprint
    assert "is damaged; all images are looked at again" in caplog.text and path.read_text() == whole
    path.write_text(json.dumps(json.loads(whole) | {"format": 0}))
    assert PhotoFolder(folder, SIZE, index=index).fingerprint == first.fingerprint


def test_an_index_that_cannot_be_written_is_no_error(folder, tmp_path, caplog):
    (tmp_path / "index").write_text("a file where the folder should be")
    assert len(PhotoFolder(folder, SIZE, index=tmp_path / "index")) == COUNT
    assert "the index of the images cannot be written" in caplog.text


def test_large_folders_are_looked_at_by_their_headers(tmp_path, monkeypatch):
    """A truncated file is then found when it is loaded, and named."""
    folder = write_photos(tmp_path / "photos", COUNT, suffix=".jpg")
    path = folder / "00002.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    cut = write_shards(tmp_path / "cut", sorted(folder.iterdir()), per_shard=4)
    index = tmp_path / "index"
    for kind, place, named in ((PhotoFolder, folder, r"00002\.jpg cannot be decoded .*remove it and run again"),
                               (TarImages, cut, r"cut/shard-0000\.tar: 00002\.jpg cannot be decoded .*write the tar "
                                                "file again without it")):
        assert len(kind(place, SIZE)) == COUNT - 1  # decoded, and left out
        with monkeypatch.context() as patch:
            for module in (photographs, tar_shards):
                patch.setattr(module, "THOROUGH", 5)
            source = kind(place, SIZE, index=index)
            assert len(source) == COUNT
            with pytest.raises(ValueError, match=named):
                source.load([0, 2])
            with pytest.raises(ValueError, match=named):
                list(load_ahead(source, [[0], [2], [4]], workers=2))
        assert len(kind(place, SIZE, index=index)) == COUNT - 1  # a look at headers does not stand for more


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_load_the_same_images_in_the_same_order(folder, shards, workers):
    batches = [[4, 0], [10], [3, 3, 1], [7], [9, 2], [8], [0]]
    state = torch.get_rng_state()
    for source in (PhotoFolder(folder, SIZE, workers=workers), TarImages(shards, SIZE), DrawingSource(COUNT, SIZE)):
        found = list(load_ahead(source, batches, workers))
        assert [len(images) for images in found] == [2, 1, 3, 1, 2, 1, 1]
        assert all(torch.equal(images, source.load(batch)) for images, batch in zip(found, batches, strict=True))
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers are used up


class Darker(PhotoFolder):
    def load(self, indices):
        return super().load(indices) / 2


def test_somebodys_own_way_to_load_is_taken_in_other_processes_too(folder):
    """Though photographs travel as bytes."""
    for source in (Darker(folder, SIZE), ImageSubset(Darker(folder, SIZE), [3, 1, 5])):
        found = torch.cat(list(load_ahead(source, [[2, 0], [1]], workers=2)))
        assert torch.equal(found, source.load([2, 0, 1])) and found.max() <= 0.5
    assert ImageSubset(PhotoFolder(folder, SIZE), [3]).load_bytes([0]).dtype == torch.uint8
    assert DrawingSource(2, SIZE).load_bytes([0]) is None


def test_many_files_are_looked_at_by_processes_too(tmp_path, monkeypatch):
    monkeypatch.setattr(looks, "_A_TASK", 2)
    folder = write_photos(tmp_path / "photos", 30, side=16)
    (folder / "00007.png").write_text("not an image")
    alone, shared = PhotoFolder(folder, 16), PhotoFolder(folder, 16, workers=2)
    assert len(alone) == 29 and shared.names == alone.names and shared.fingerprint == alone.fingerprint


def test_numbers_of_workers_that_are_none():
    with pytest.raises(ValueError, match="workers is -1; expected the number of processes"):
        load_ahead(DrawingSource(2, 16), [[0]], workers=-1)


def test_a_source_that_is_sent_to_another_process_opens_its_own_files(shards):
    source = TarImages(shards, SIZE)
    before = source.load([0])
    assert source._open and not pickle.loads(pickle.dumps(source))._open
    assert torch.equal(pickle.loads(pickle.dumps(source)).load([0]), before)


def test_few_tar_files_are_open_at_a_time(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tar_shards, "OPEN_TARS", 2)
    source = TarImages(write_shards(tmp_path / "single", sorted(folder.iterdir()), per_shard=1), SIZE)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    source.load(range(COUNT))
    assert len(source._open) == 2
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def damaged(shards, how):
    path = shards / "shard-0001.tar"
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[:len(content) // 2])
    elif how == "truncated between members":
        with tarfile.open(path) as tar:
            path.write_bytes(content[:tar.getmembers()[4].offset])
    elif how == "no tar":
        path.write_bytes(b"neither a tar file nor an image" * 100)
    elif how == "compressed":
        subprocess.run(["gzip", "-c", path.name], cwd=shards, stdout=(shards / "x").open("wb"), check=True)
        (shards / "x").rename(path)
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["truncated", "truncated between members", "no tar", "compressed", "empty"])
def test_a_broken_tar_file_is_named_with_what_to_do(shards, how):
    damaged(shards, how)
    with pytest.raises(ValueError, match=r"/shard-0001\.tar is damaged, or no plain tar file .*copy it again.*remove"):
        TarImages(shards, SIZE)


def test_a_tar_file_that_is_gone_later_is_named(shards, tmp_path):
    source = TarImages(shards, SIZE)
    (shards / "shard-0002.tar").rename(tmp_path / "elsewhere.tar")
    with pytest.raises(ValueError, match=r"shard-0002\.tar cannot be opened .*put it back"):
        source.load([0, 9])


def test_folders_without_tar_files_or_images(tmp_path):
    with pytest.raises(ValueError, match="no tar file in .*unpacked"):
        TarImages(tmp_path, SIZE)
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        add_bytes(tar, "a.cls", b"1")
    with pytest.raises(ValueError, match="no usable image in"):
        TarImages(tmp_path, SIZE)


def test_a_stream_is_read_once_from_front_to_back(folder, shards):
    whole = TarImages(shards / "shard-0000.tar", SIZE)
    with subprocess.Popen(["cat", "shard-0000.tar"], cwd=shards, stdout=subprocess.PIPE) as pipe:
        parts = list(tar_stream(pipe.stdout, SIZE, batch_size=3))
    assert [names for names, _ in parts] == [["00000.png", "00001.png", "00002.png"], ["00003.png"]]
    assert torch.equal(torch.cat([images for _, images in parts]), whole.load(range(4)))
    content = (shards / "shard-0000.tar").read_bytes()
    with tarfile.open(shards / "shard-0000.tar") as tar:
        last = tar.getmembers()[-1].offset
    for length in (5000, last + 100, last):  # in a member, in a header, between two members
        stream = io.BytesIO(content[:length])
        with pytest.raises(ValueError, match="no whole tar file .*fetch it again"):
            list(tar_stream(stream, SIZE))


def test_what_another_exception_says_is_not_lost():
    """Only what the library explains is one sentence; a mistake in somebody's own source keeps its trace."""
    with pytest.raises(KeyError, match="no such image"):
        list(load_ahead(Broken(), [[0]], workers=1))


class Broken(ImageSource):
    size, names, fingerprint = 8, ["a"], "x"

    def load(self, indices):
        raise KeyError("no such image")


def test_processes_end_with_the_loop_that_asked_for_them(shards):
    """Also where it is left early, as training is when a step fails."""
    code = f"""
import sys
from groupcc_lite.stimuli import TarImages, load_ahead
source = TarImages({str(shards)!r}, {SIZE})
for images in load_ahead(source, [[0]] * 50, workers=2):
    break
print(len(images))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (child.returncode, child.stdout, child.stderr) == (0, "1\n", "")
