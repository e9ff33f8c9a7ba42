"""Orbit stores: whole, resumable, checked, of any size and any kind of data."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import digest
from groupcc_lite.groups import FiniteGroup, cyclic, dihedral
from groupcc_lite.orbits import Extraction, IdentityBlocks, OrbitStore, TensorOrbits, shards, store
from groupcc_lite.stimuli import TensorImages

SETTINGS = dict(points_per_image=3, mask_radius=7.0, images_per_shard=2, progress=False)


@pytest.fixture
def parts():
    model, action = small_model(), PlanarAction(dihedral(4))
    return model, action, TensorImages(noise_images(7, action.source_size(model.input_size)))


def test_store_holds_every_orbit_and_the_scale_makes_unit_channels(parts, tmp_path):
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    assert len(made) == 21 and made.channels == 6 and made.group == dihedral(4)
    everything = torch.cat(list(made.in_order(4)))
    assert everything.shape == (21, 8, 6)
    mean_square = (everything * made.scale).square().sum(-1).mean()
    assert float(mean_square) == pytest.approx(made.channels, rel=1e-3)
    assert made.image.tolist() == [i for i in range(7) for _ in range(3)] and made.points.shape == (21, 2)


def test_batches_are_a_permutation_that_depends_on_seed_and_epoch(parts, tmp_path):
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)

    def stacked(**kwargs):
        return torch.cat(list(made.batches(7, **kwargs)))

    def ordered(x):
        return x.flatten(1)[np.lexsort(x.flatten(1).numpy().T)]

    first = stacked(seed=1, epoch=0)
    assert torch.equal(first, stacked(seed=1, epoch=0))
    assert not torch.equal(first, stacked(seed=1, epoch=1)) and not torch.equal(first, stacked(seed=2, epoch=0))
    assert torch.equal(ordered(first), ordered(torch.cat(list(made.in_order(5)))))
    assert torch.equal(first[14:], stacked(seed=1, epoch=0, start=2))
    with pytest.raises(ValueError, match="batch_size is 22"):
        next(made.batches(22))


def test_an_autoencoders_inputs_have_unit_channels(parts, tmp_path):
    """The untransformed block has a scale of its own: interpolation makes the others smaller."""
    whole = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    plain = IdentityBlocks(whole)
    x = torch.cat(list(plain.in_order()))
    assert float((x * plain.scale).square().sum(-1).mean()) == pytest.approx(6, rel=1e-4)
    assert plain.scale != whole.scale
    blocks = torch.tensor([[[2.0], [1.0]], [[2.0], [1.0]]])
    assert IdentityBlocks(TensorOrbits(blocks, cyclic(2))).scale == 0.5


def test_rows_and_identity_blocks_agree(parts, tmp_path):
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    rows = made.rows([20, 0, 7])
    assert torch.equal(rows[1], torch.cat(list(made.in_order()))[0])
    only = IdentityBlocks(made)
    assert only.group.order == 1 and len(only) == 21
    full, plain = next(made.batches(9, seed=3)), next(only.batches(9, seed=3))
    assert torch.equal(full[:, :1], plain)
    for elements, expected in ((slice(None), plain), (slice(1, 3), plain[:, :0])):
        assert torch.equal(next(only.batches(9, seed=3, elements=elements)), expected)
        assert torch.equal(next(IdentityBlocks(only).batches(9, seed=3, elements=elements)), expected)
    for source in (made, TensorOrbits(torch.cat(list(made.in_order())), made.group), only, IdentityBlocks(only)):
        assert torch.equal(next(source.in_order(9, slice(0, 1))), torch.cat(list(made.in_order()))[:9, :1])
        assert next(source.in_order(9, slice(1, 1))).shape == (9, 0, 6)


def test_a_damaged_or_missing_shard_is_noticed_and_remade(parts, tmp_path):
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    before = torch.cat(list(made.in_order()))
    data = tmp_path / "s" / "00001.npy"
    data.write_bytes(data.read_bytes()[:-1])
    meta = tmp_path / "s" / "00002.json"
    meta.write_text(meta.read_text().replace('"rows": 6', '"rows": 5'))
    (tmp_path / "s" / "00003.npy").unlink()
    untouched = (tmp_path / "s" / "00000.npy").stat().st_mtime_ns
    with pytest.raises(ValueError, match="shard 1 is damaged; run the extraction again"):
        OrbitStore(tmp_path / "s")
    again = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    assert torch.equal(torch.cat(list(again.in_order())), before)
    assert (tmp_path / "s" / "00000.npy").stat().st_mtime_ns == untouched


def test_a_store_is_never_overwritten_by_other_settings(parts, tmp_path):
    OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    with pytest.raises(ValueError, match=r"other settings \(seed differ\)"):
        OrbitStore.make(tmp_path / "s", *parts, **SETTINGS, seed=9)
    with pytest.raises(ValueError, match="holds no orbit store"):
        OrbitStore(tmp_path / "nothing")


@pytest.mark.parametrize("end", ["npy", "json", "safetensors"])
def test_shards_of_which_nobody_knows_how_they_were_made_are_no_part_of_a_store(parts, tmp_path, end):
    """What an interrupted `from_batches` leaves, or a folder whose config.json was lost, belongs to no settings."""
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS, pack_bytes=1500 if end == "safetensors" else 10**6)
    (tmp_path / "s" / "config.json").unlink()
    for path in (tmp_path / "s").iterdir():
        if path.suffix not in (f".{end}", ".npy"[:5 * (end == "safetensors")]):
            path.unlink()
    with pytest.raises(ValueError, match="holds shards of orbits but no config.json"):
        OrbitStore.make(tmp_path / "s", *parts, **SETTINGS, seed=9)
    assert not (tmp_path / "s" / "config.json").exists()
    again = OrbitStore.from_batches(tmp_path / "s", [torch.ones(3, 2, 1)], cyclic(2))
    assert len(again) == 3 and len(made) == 21
    assert sorted(path.name for path in again.folder.iterdir()) == ["00000.json", "00000.npy", "config.json"]


@pytest.mark.parametrize("wrong", [dict(points_per_image=500), dict(registration="middle"), dict(mask_radius=0.1)])
def test_settings_that_fail_claim_no_folder(parts, tmp_path, wrong):
    with pytest.raises(ValueError, match=r"points_per_image is 500|registration is 'middle'|no point is left"):
        OrbitStore.make(tmp_path / "s", *parts, **SETTINGS | wrong)
    assert len(OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)) == 21


@pytest.mark.parametrize("images", [0, -1])
def test_a_shard_has_images(parts, tmp_path, images):
    with pytest.raises(ValueError, match=f"images_per_shard is {images}; expected at least one image a shard"):
        OrbitStore.make(tmp_path / "s", *parts, **SETTINGS | dict(images_per_shard=images))


@pytest.mark.parametrize("rows", [[-1], [0, 8], [3, -9]])
def test_rows_that_a_store_does_not_have_are_refused(tmp_path, monkeypatch, rows):
    """Whatever the sizes of its shards: counted from the end, they were another shard's."""
    monkeypatch.setattr(store, "SHARD_BYTES", 1)
    made = OrbitStore.from_batches(tmp_path, [torch.ones(2, 2, 1), torch.ones(6, 2, 1)], cyclic(2))
    with pytest.raises(ValueError, match=f"rows go from {min(rows)} to {max(rows)}; expected 0 to 7"):
        made.rows(rows)
    assert made.rows([]).shape == (0, 2, 1)


def test_of_two_that_begin_together_the_first_to_make_a_shard_has_the_folder(parts, tmp_path):
    first, second = (Extraction([tmp_path], [parts[0]], *parts[1:], points_per_image=3, mask_radius=7.0,
                                images_per_shard=2, seed=seed) for seed in (0, 9))
    first.begin()
    second.begin()
    first.extract(0, 4, progress=False)
    with pytest.raises(ValueError, match=r"other settings \(seed differ\)"):
        second.extract(progress=False)
    first.extract(progress=False)
    assert len(OrbitStore(tmp_path, check=True)) == 21


def test_other_names_are_no_other_settings(parts, tmp_path):
    """They are no part of an artefact's key either, so a renamed model comes to the folder of the first."""
    model, action, source = parts
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    model.name = "renamed"
    other = FiniteGroup(action.group.table, names=[f"g{g}" for g in range(8)], name="the square's")
    again = OrbitStore.make(tmp_path / "s", model, PlanarAction(other, action.matrices), source, **SETTINGS)
    assert again.fingerprint == made.fingerprint and torch.equal(again.rows(range(21)), made.rows(range(21)))


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests/helpers")
from small import noise_images, small_model
from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import dihedral
from groupcc_lite.stimuli import TensorImages
from groupcc_lite.orbits import OrbitStore

class Deadly(TensorImages):
    def load(self, indices):
        if 3 in indices:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(indices)

model, action = small_model(), PlanarAction(dihedral(4))
source = Deadly(noise_images(7, action.source_size(model.input_size)))
OrbitStore.make(sys.argv[1], model, action, source, points_per_image=3, mask_radius=7.0, images_per_shard=1,
                progress=False)
"""


def test_extraction_survives_kill_minus_nine(parts, tmp_path, root):
    folder = tmp_path / "s"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=root, capture_output=True, text=True,
                            env=os.environ | {"PYTHONPATH": str(root)}, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (folder / "00002.json").is_file() and not (folder / "00003.json").is_file()
    kept = (folder / "00000.npy").stat().st_mtime_ns
    settings = SETTINGS | {"images_per_shard": 1}
    resumed = OrbitStore.make(folder, *parts, **settings)
    fresh = OrbitStore.make(tmp_path / "fresh", *parts, **settings)
    assert (folder / "00000.npy").stat().st_mtime_ns == kept
    assert torch.equal(torch.cat(list(resumed.in_order())), torch.cat(list(fresh.in_order())))


def test_opening_for_more_images_does_not_read_everything_again(parts, tmp_path, monkeypatch):
    OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    hashed = []
    monkeypatch.setattr(shards, "sha256_of", lambda path: hashed.append(path.name) or "another")
    OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    OrbitStore(tmp_path / "s")
    assert hashed == []
    with pytest.raises(ValueError, match="shard 0 is damaged"):
        OrbitStore(tmp_path / "s", check=True)
    assert hashed == ["00000.npy"]


def test_a_flipped_bit_is_found_when_the_store_is_opened_thoroughly(parts, tmp_path):
    OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    data = tmp_path / "s" / "00001.npy"
    before, content = data.stat(), bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    with pytest.raises(ValueError, match="shard 1 is damaged"):  # its time of change is not the one noted
        OrbitStore(tmp_path / "s", check=False)
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))
    OrbitStore(tmp_path / "s", check=False)  # nothing tells: this is what is not promised
    with pytest.raises(ValueError, match="shard 1 is damaged"):
        OrbitStore(tmp_path / "s", check=True)


FEW_FILES = """
import resource, sys
import torch
from groupcc_lite.groups import cyclic
from groupcc_lite.orbits import OrbitStore, shards, store

store.SHARD_BYTES, store.OPEN_SHARDS = 1, 20  # a shard for every batch
shards.LOOSE_SHARDS = 10**6  # left as they are, as in stores from before there were packs
x = torch.arange(300.0).view(150, 2, 1)
OrbitStore.from_batches(sys.argv[1], x.split(1), cyclic(2))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
made = OrbitStore(sys.argv[1], check=True)
assert made.config["shards"] == len(made._files) == 150
seen = torch.cat(list(made.batches(10, seed=1)))
assert torch.equal(seen.sort(0).values, x)
"""


def test_a_store_may_have_more_shards_than_a_process_may_open_files(tmp_path, root):
    child = subprocess.run([sys.executable, "-c", FEW_FILES, str(tmp_path / "s")], cwd=root, capture_output=True,
                           text=True, env=os.environ | {"PYTHONPATH": str(root)}, check=False)
    assert child.returncode == 0, child.stderr


def test_small_activations_keep_their_digits(tmp_path):
    """float16 has no numbers below 6e-8, and few digits below 6e-5."""
    x = torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0))
    small = OrbitStore.from_batches(tmp_path / "small", (1e-6 * x).split(20), cyclic(4))
    torch.testing.assert_close(small.rows(range(50)), 1e-6 * x, rtol=1e-3, atol=1e-10)
    plain = OrbitStore.from_batches(tmp_path / "plain", x.split(20), cyclic(4))
    assert torch.equal(plain.rows(range(50)), x.half().float())  # nothing changes where it is not needed
    assert small.scale == pytest.approx(1e6 * plain.scale, rel=1e-4)
    assert float((1e-6 * x).half().float().sub(1e-6 * x).abs().max()) > 1e-8  # what is avoided
    with pytest.raises(ValueError, match=r"exceed float16's range \(65,504\)"):
        OrbitStore.from_batches(tmp_path / "large", [1e5 * x], cyclic(4))


def test_orbits_of_any_kind_can_be_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 300)
    x = torch.randn(40, 4, 3, generator=torch.Generator().manual_seed(0))
    made = OrbitStore.from_batches(tmp_path / "s", x.split(7), cyclic(4), exact=[True, False, True, False])
    assert len(made) == 40 and made.channels == 3 and made.config["shards"] > 2 and made.group == cyclic(4)
    assert made.exact.tolist() == [True, False, True, False] and made.image.tolist() == list(range(40))
    assert np.isnan(made.points).all() and made.points.shape == (40, 2)
    assert "NaN" not in (tmp_path / "s" / "00000.json").read_text()
    assert torch.equal(torch.cat(list(made.in_order(9))), x.half().float())
    memory = TensorOrbits(x.half().float(), cyclic(4))
    assert made.scale == pytest.approx(memory.scale, rel=1e-6)
    assert torch.equal(next(made.batches(10, seed=3)), next(memory.batches(10, seed=3)))
    twin = OrbitStore.from_batches(tmp_path / "t", x.split(7), cyclic(4), exact=[True, False, True, False])
    other = OrbitStore.from_batches(tmp_path / "o", (2 * x).split(7), cyclic(4), exact=[True, False, True, False])
    assert made.fingerprint == twin.fingerprint != other.fingerprint


def test_the_fingerprint_is_that_of_the_numbers_not_of_their_shifted_digits(tmp_path, monkeypatch):
    """A power of two is stored beside each shard, and rows that differ by one are the same float16."""
    monkeypatch.setattr(store, "SHARD_BYTES", 1)
    x = 0.7 * torch.ones(2, 3, 4, 3)
    factors = dict(plain=(1, 1), both=(1 / 4, 1 / 4), first=(1 / 8, 1), second=(1, 1 / 8), again=(1, 1 / 8),
                   large=(8, 8))
    made = {name: OrbitStore.from_batches(tmp_path / name, [one * x[0], two * x[1]], cyclic(4))
            for name, (one, two) in factors.items()}
    assert made["second"].fingerprint == made["again"].fingerprint == OrbitStore(tmp_path / "second").fingerprint
    assert len({one.fingerprint for one in made.values()}) == len(factors) - 1
    assert made["large"].fingerprint == digest(made["large"].config)  # as ever where nothing was shifted


def test_what_an_interruption_leaves_is_no_store(tmp_path):
    def stopping():
        yield torch.ones(3, 2, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OrbitStore.from_batches(tmp_path, stopping(), cyclic(2))
    with pytest.raises(ValueError, match="holds no orbit store"):
        OrbitStore(tmp_path)
    assert len(OrbitStore.from_batches(tmp_path, [torch.ones(3, 2, 1)], cyclic(2))) == 3
    with pytest.raises(ValueError, match="holds an orbit store already"):
        OrbitStore.from_batches(tmp_path, [torch.ones(3, 2, 1)], cyclic(2))


@pytest.mark.parametrize("batches, message", [
    ([], "batches is empty"), ([torch.ones(3, 5, 1)], r"batch 0 has shape \(3, 5, 1\); expected \(b, 2, 1\)"),
    ([torch.ones(3, 2, 1), torch.ones(3, 2, 4)], r"batch 1 has shape .*expected \(b, 2, 1\)"),
    ([torch.full((3, 2, 1), float("nan"))], "batch 0 holds NaN")])
def test_batches_that_do_not_fit_are_explained(tmp_path, unchecked, batches, message):
    with pytest.raises(ValueError, match=message):
        OrbitStore.from_batches(tmp_path, batches, cyclic(2))


def test_a_store_of_another_format_is_refused(tmp_path):
    OrbitStore.from_batches(tmp_path, [torch.ones(3, 2, 1)], cyclic(2))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"format": 1}))
    with pytest.raises(ValueError, match="of format 1, expected 2"):
        OrbitStore(tmp_path)


@pytest.mark.parametrize("exact", [[True], [True] * 5])
def test_marks_that_do_not_fit_are_refused_before_anything_is_computed(tmp_path, exact):
    def batches():
        pytest.fail("the first batch was asked for")
        yield

    with pytest.raises(ValueError, match=r"exact has shape .*; expected \(4,\), one mark per element of C_4"):
        OrbitStore.from_batches(tmp_path / "s", batches(), cyclic(4), exact=exact)
    assert not (tmp_path / "s").exists()
