import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import IdentityBlocks, OrbitStore, OrbitStream, TensorOrbits
from groupcc_lite.stimuli import TensorImages

SETTINGS = dict(points_per_image=3, mask_radius=7.0, images_per_shard=2, progress=False)


@pytest.fixture
def parts():
    model, action = small_model(), PlanarAction(dihedral(4))
    return model, action, TensorImages(noise_images(7, action.source_size(model.input_size)))


def test_store_holds_every_orbit_and_the_scale_makes_unit_channels(parts, tmp_path):
    store = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    assert len(store) == 21 and store.channels == 6 and store.group == dihedral(4)
    everything = torch.cat(list(store.in_order(4)))
    assert everything.shape == (21, 8, 6)
    mean_square = (everything * store.scale).square().sum(-1).mean()
    assert float(mean_square) == pytest.approx(store.channels, rel=1e-3)
    assert store.image.tolist() == [i for i in range(7) for _ in range(3)] and store.points.shape == (21, 2)


def test_batches_are_a_permutation_that_depends_on_seed_and_epoch(parts, tmp_path):
    store = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)

    def stacked(**kwargs):
        return torch.cat(list(store.batches(7, **kwargs)))

    def ordered(x):
        return x.flatten(1)[np.lexsort(x.flatten(1).numpy().T)]

    first = stacked(seed=1, epoch=0)
    assert torch.equal(first, stacked(seed=1, epoch=0))
    assert not torch.equal(first, stacked(seed=1, epoch=1)) and not torch.equal(first, stacked(seed=2, epoch=0))
    assert torch.equal(ordered(first), ordered(torch.cat(list(store.in_order(5)))))
    assert torch.equal(first[14:], stacked(seed=1, epoch=0, start=2))
    with pytest.raises(ValueError, match="batch_size is 22"):
        next(store.batches(22))


def test_rows_and_identity_blocks_agree(parts, tmp_path):
    store = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    rows = store.rows([20, 0, 7])
    assert torch.equal(rows[1], torch.cat(list(store.in_order()))[0])
    only = IdentityBlocks(store)
    assert only.group.order == 1 and len(only) == 21
    full, plain = next(store.batches(9, seed=3)), next(only.batches(9, seed=3))
    assert torch.equal(full[:, :1], plain)


def test_a_damaged_or_missing_shard_is_noticed_and_remade(parts, tmp_path):
    store = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    before = torch.cat(list(store.in_order()))
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


def make_stream(parts, **changes):
    return OrbitStream(*parts, **(dict(points_per_image=3, mask_radius=7.0, buffer=13, images_per_step=2) | changes))


def test_the_stream_gives_the_stores_rows_in_another_order(parts, tmp_path):
    store = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    streamed = torch.cat(list(make_stream(parts).batches(7, epoch=0)))
    stored = torch.cat(list(store.in_order()))

    def ordered(x):
        return x.flatten(1)[np.lexsort(x.flatten(1).half().numpy().T)]

    assert not torch.equal(streamed, stored)
    torch.testing.assert_close(ordered(streamed), ordered(stored), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("start", [1, 2, 3])
def test_a_resumed_stream_goes_on_with_the_same_batches(parts, start):
    whole = list(make_stream(parts).batches(5, seed=4, epoch=1))
    rest = list(make_stream(parts).batches(5, seed=4, epoch=1, start=start))
    assert len(whole) == 4 and len(rest) == 4 - start
    for a, b in zip(whole[start:], rest, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=2e-3)


def test_stream_epochs_draw_new_points(parts):
    stream = make_stream(parts)
    first, second = (torch.cat(list(stream.batches(7, epoch=e))) for e in (0, 1))
    assert not torch.equal(first.sort(0).values, second.sort(0).values)


def test_stream_settings_that_cannot_work(parts):
    with pytest.raises(ValueError, match="buffer is 4"):
        make_stream(parts, buffer=4)
    with pytest.raises(ValueError, match="do not fit the shuffle buffer"):
        next(make_stream(parts).batches(13))


def test_orbits_in_memory_are_a_source_like_the_others():
    blocks = torch.randn(10, 8, 3, generator=torch.Generator().manual_seed(0))
    source = TensorOrbits(blocks, dihedral(4))
    assert abs(float((blocks * source.scale).square().sum(-1).mean()) - 3) < 1e-4
    batches = list(source.batches(3, seed=1, epoch=2))
    assert len(batches) == source.batches_per_epoch(3) == 3
    seen = torch.cat(batches)
    assert all((seen[i] == blocks).flatten(1).all(1).sum() == 1 for i in range(9))
    assert len({tuple(row.flatten().tolist()) for row in seen}) == 9
    assert torch.equal(torch.cat(list(source.batches(3, seed=1, epoch=2, start=1))), torch.cat(batches[1:]))
    assert not torch.equal(next(source.batches(3, seed=1, epoch=3)), batches[0])
    assert torch.equal(torch.cat(list(source.in_order(4))), blocks)
    assert torch.equal(next(source.batches(10, seed=1, elements=slice(0, 1))).sort(0).values,
                       blocks[:, :1].sort(0).values)


@pytest.mark.parametrize("blocks, message", [
    (torch.zeros(3, 7, 2), "expected .n, 8, channels."), (torch.zeros(0, 8, 2), "at least one row"),
    (torch.full((2, 8, 2), float("nan")), "NaN or infinite")])
def test_orbits_in_memory_must_fit(blocks, message):
    with pytest.raises(ValueError, match=message):
        TensorOrbits(blocks, dihedral(4))
