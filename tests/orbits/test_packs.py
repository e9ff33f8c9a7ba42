"""Stores of many shards lie in few files: the same numbers, found damaged, mended, resumed, opened without hashing."""

import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from image_files import write_photos, write_shards
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import OrbitStore, OrbitStream, packs, shards, store
from groupcc_lite.stimuli import TensorImages

SETTINGS = dict(points_per_image=3, mask_radius=7.0, images_per_shard=2, progress=False)
SHARD = 6 * 8 * 6 * 2 + 128  # bytes of 6 rows, 8 elements, 6 channels, and of numpy's header


@pytest.fixture
def parts():
    model, action = small_model(), PlanarAction(dihedral(4))
    return model, action, TensorImages(noise_images(13, action.source_size(model.input_size)))


def everything(made):
    return torch.cat(list(made.in_order()))


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "config.json")


@pytest.fixture
def loose(parts, tmp_path):
    """The store as it was before there were packs: 7 shards, each a file."""
    made = OrbitStore.make(tmp_path / "loose", *parts, **SETTINGS)
    assert len(files(made.folder)) == 14
    return made


@pytest.mark.parametrize("size, names", [
    (3 * SHARD, ["pack-00000-00002", "pack-00003-00005"]), (7 * SHARD, []), (6 * SHARD + 1, ["pack-00000-00006"])])
def test_packed_shards_hold_the_same_numbers(parts, tmp_path, loose, size, names):
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS, pack_bytes=size)
    left = 7 - sum(int(name[-5:]) - int(name[5:10]) + 1 for name in names)
    expected = [f"{name}.{end}" for name in names for end in ("npy", "safetensors")]
    assert files(made.folder) == sorted(expected + [f"{k:05d}.{end}" for k in range(7 - left, 7)
                                                    for end in ("json", "npy")])
    assert torch.equal(everything(made), everything(loose))
    assert (made.scale, made.fingerprint) == (loose.scale, loose.fingerprint)
    assert np.array_equal(made.points, loose.points) and made.image.tolist() == loose.image.tolist()
    for a, b in zip(made.batches(7, seed=3, epoch=1), loose.batches(7, seed=3, epoch=1), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(made.rows([38, 0, 7], slice(1, 3)), loose.rows([38, 0, 7], slice(1, 3)))


def test_many_shards_that_are_left_are_packed_at_the_end(parts, tmp_path, loose, monkeypatch):
    monkeypatch.setattr(shards, "LOOSE_SHARDS", 6)
    before = everything(loose)
    made = OrbitStore.make(loose.folder, *parts, **SETTINGS)  # a store from before is packed where it lies
    assert files(made.folder) == ["pack-00000-00006.npy", "pack-00000-00006.safetensors"]
    assert torch.equal(everything(made), before)


def test_each_shard_keeps_its_power_of_two(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 1)
    x = torch.randn(4, 5, 4, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-6, 1, 1e-3, 0]).view(
        4, 1, 1, 1)
    made = OrbitStore.from_batches(tmp_path / "s", x, cyclic(4), pack_bytes=400)
    other = OrbitStore.from_batches(tmp_path / "t", x, cyclic(4))
    assert len(made._files) < len(other._files) == 4 and len(set(made._exponents)) == 3
    assert torch.equal(everything(made), everything(other)) and made.fingerprint == other.fingerprint
    torch.testing.assert_close(made.rows(range(20)), x.flatten(0, 1), rtol=1e-3, atol=1e-10)
    assert np.isnan(made.points).all()


@pytest.fixture
def packed(parts, tmp_path):
    return OrbitStore.make(tmp_path / "s", *parts, **SETTINGS, pack_bytes=3 * SHARD)


def flip(path, at=-1, keep_time=False):
    before, content = path.stat(), bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def count_extractions(monkeypatch):
    seen, sample = [], store.sample_layers
    monkeypatch.setattr(store, "sample_layers", lambda *a, **k: seen.append(list(k["indices"])) or sample(*a, **k))
    return seen


def test_only_the_damaged_shard_of_a_pack_is_made_again(parts, packed, monkeypatch):
    before = everything(packed)
    flip(packed.folder / "pack-00003-00005.npy", at=128 + SHARD)  # in its second shard
    with pytest.raises(ValueError, match="shard 4 is damaged; run the extraction again"):
        OrbitStore(packed.folder)
    seen = count_extractions(monkeypatch)
    again = OrbitStore.make(packed.folder, *parts, **SETTINGS, pack_bytes=3 * SHARD)
    assert seen == [[8, 9]] and torch.equal(everything(again), before)


@pytest.mark.parametrize("how", ["truncated", "gone", "index damaged", "index gone", "no array"])
def test_other_damage_to_a_pack_is_mended(parts, packed, how):
    before, data = everything(packed), packed.folder / "pack-00000-00002.npy"
    if how == "truncated":
        data.write_bytes(data.read_bytes()[:-700])
    elif how == "no array":
        data.write_bytes(b"x" * data.stat().st_size)
    elif how == "index damaged":
        flip(data.with_suffix(".safetensors"))
    else:
        (data if how == "gone" else data.with_suffix(".safetensors")).unlink()
    with pytest.raises(ValueError, match="shard 0 is (damaged|missing); run the extraction again"):
        OrbitStore(packed.folder)
    again = OrbitStore.make(packed.folder, *parts, **SETTINGS, pack_bytes=3 * SHARD)
    assert torch.equal(everything(again), before)
    assert torch.equal(everything(OrbitStore(packed.folder, check=True)), before)


def test_opening_reads_no_rows(packed, monkeypatch):
    """But for a thorough look, which finds what no time of change tells."""
    flip(packed.folder / "pack-00000-00002.npy", keep_time=True)
    with pytest.raises(ValueError, match="shard 2 is damaged"):
        OrbitStore(packed.folder, check=True)
    for module, name in ((packs, "sum_of"), (shards, "sha256_of")):
        monkeypatch.setattr(module, name, lambda *a: pytest.fail("hashed"))
    assert len(OrbitStore(packed.folder)) == 39


@pytest.mark.parametrize("fewest", [0, 6])
def test_damage_is_found_before_it_is_packed(parts, loose, monkeypatch, fewest):
    """A pack has checksums of its own: what a loose shard's would have told was lost."""
    before = everything(loose)
    flip(loose.folder / "00001.npy", keep_time=True)
    monkeypatch.setattr(shards, "LOOSE_SHARDS", fewest)
    with pytest.raises(ValueError, match="shard 1 is damaged; run the extraction again to remake it"):
        OrbitStore.make(loose.folder, *parts, **SETTINGS)
    seen = count_extractions(monkeypatch)
    again = OrbitStore.make(loose.folder, *parts, **SETTINGS)
    assert seen == [[2, 3]] and torch.equal(everything(again), before)
    assert files(loose.folder) == ["pack-00000-00006.npy", "pack-00000-00006.safetensors"]


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests/helpers")
from small import noise_images, small_model
from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import dihedral
from groupcc_lite.stimuli import TensorImages
from groupcc_lite.orbits import OrbitStore, packs, shards

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

place, name = sys.argv[2].split(".")
setattr(dict(packs=packs, shards=shards)[place], name, die)
model, action = small_model(), PlanarAction(dihedral(4))
source = TensorImages(noise_images(13, action.source_size(model.input_size)))
OrbitStore.make(sys.argv[1], model, action, source, points_per_image=3, mask_radius=7.0, images_per_shard=2,
                progress=False, pack_bytes=int(sys.argv[3]))
"""


@pytest.mark.parametrize("where", ["packs._write_index", "shards._clear", "packs.sum_of"])
def test_packing_survives_kill_minus_nine(parts, loose, tmp_path, root, monkeypatch, where):
    folder = tmp_path / "s"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), where, str(3 * SHARD)], cwd=root,
                            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)}, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    seen = count_extractions(monkeypatch)
    made = OrbitStore.make(folder, *parts, **SETTINGS, pack_bytes=3 * SHARD)
    assert seen == [[6, 7], [8, 9], [10, 11], [12]]  # the three that were finished are not made again
    assert torch.equal(everything(made), everything(loose))
    assert [name for name in files(folder) if name.startswith("pack-")] and not list(folder.glob(".*"))


def test_an_index_of_another_format_is_no_index(packed, monkeypatch):
    monkeypatch.setattr(packs, "PACK_FORMAT", 2)
    with pytest.raises(ValueError, match="shard 0 is missing; run the extraction again"):
        OrbitStore(packed.folder)


def test_what_from_batches_left_packed_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 1)

    def stopping():
        yield from torch.ones(4, 3, 2, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OrbitStore.from_batches(tmp_path, stopping(), cyclic(2), pack_bytes=200)
    assert list(tmp_path.glob("pack-*"))
    made = OrbitStore.from_batches(tmp_path, 2 * torch.ones(5, 3, 2, 1), cyclic(2), pack_bytes=200)
    assert (everything(made) == 2).all() and len(made) == 15
    assert not set(json.loads((tmp_path / "config.json").read_text())) & {"pack_bytes"}


def test_pack_bytes_must_be_something(parts, tmp_path):
    with pytest.raises(ValueError, match="pack_bytes is 0; expected a positive number"):
        OrbitStore.make(tmp_path, *parts, **SETTINGS, pack_bytes=0)


def test_processes_that_load_images_change_nothing(parts, loose, tmp_path):
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS, workers=2)
    assert torch.equal(everything(made), everything(loose)) and made.fingerprint == loose.fingerprint
    settings = dict(points_per_image=3, mask_radius=7.0, buffer=13, images_per_step=2)
    alone, helped = (OrbitStream(*parts, **settings, workers=workers) for workers in (0, 2))
    assert alone.scale == helped.scale and alone.fingerprint == helped.fingerprint
    for start in (0, 3):
        for a, b in zip(*(stream.batches(5, seed=4, epoch=1, start=start) for stream in (alone, helped)), strict=True):
            assert torch.equal(a, b)


FEW_FILES = """
import resource, sys
sys.path.insert(0, "tests/helpers")
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), int(sys.argv[3])))
import torch
from small import small_model
from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic
from groupcc_lite.orbits import OrbitStore, OrbitStream
from groupcc_lite.stimuli import image_source

model, action = small_model(), PlanarAction(cyclic(2))
source = image_source(sys.argv[1], 32, index=sys.argv[2] + "-index", workers=2)
settings = dict(points_per_image=2, mask_radius=7.0, workers=2)
made = OrbitStore.make(sys.argv[2], model, action, source, images_per_shard=2, progress=False, **settings)
print(len(source), len(made), len(made._files), sum(len(x) for x in made.batches(100)))
stream = OrbitStream(model, action, source, buffer=256, images_per_step=64, **settings)
print(sum(len(x) for x in stream.batches(100, start=2)))
"""


@pytest.mark.parametrize("where", ["photos", "shards"])
def test_a_store_and_a_stream_of_many_images_need_few_files(tmp_path, root, where):
    """1,000 images in 500 shards of orbits and 200 tar files, where a process may open 64. `benchmarks.many_images`
    does the same with 50,000 images and 256 files."""
    folder = write_photos(tmp_path / "photos", 1000, side=32)
    write_shards(tmp_path / "shards", sorted(folder.iterdir()), per_shard=5)
    child = subprocess.run([sys.executable, "-c", FEW_FILES, tmp_path / where, tmp_path / "s", "64"], cwd=root,
                           capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)}, check=False)
    assert child.returncode == 0, child.stderr
    assert child.stdout.split("\n")[:2] == ["1000 2000 1 2000", "1800"]


def test_negative_control_so_few_files_are_too_few_for_one_a_shard(tmp_path):
    """What the test above would meet if every shard were open, as they once were."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    paths = [tmp_path / f"{number}.npy" for number in range(100)]
    for path in paths:
        np.save(path, np.zeros(1))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        with pytest.raises(OSError, match="Too many open files"):
            [np.load(path, mmap_mode="r") for path in paths]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
