"""`groupcc orbits` by many processes: the store is that of one, whoever was stopped on the way."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from many_processes import environment, torchrun
from small import small_model

from groupcc_lite import __main__ as cli
from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic
from groupcc_lite.orbits import Extraction, OrbitStore
from groupcc_lite.stimuli import DrawingSource

COMMAND = ("orbits", "--profile", "smoke", "--group", "C_4", "--device", "cpu", "--timeout", "60", "--set",
           "drawings=400", "--set", "points_per_image=2")


def alone(folder):
    assert cli.main([*COMMAND, "--out", str(folder)]) == 0
    return folder


def assert_same(folder, other):
    for part in ("train", "held-out"):
        one, two = OrbitStore(folder / part, check=True), OrbitStore(other / part, check=True)
        assert (one.fingerprint, one.scale, len(one)) == (two.fingerprint, two.scale, len(two))
        assert np.array_equal(one.rows(np.arange(len(one))), two.rows(np.arange(len(two))))
        assert np.array_equal(one.points, two.points) and np.array_equal(one.image, two.image)


@pytest.mark.slow
def test_two_processes_make_the_store_of_one(tmp_path, root, capsys):
    done = torchrun(2, "-m", "groupcc_lite", *COMMAND, "--out", str(tmp_path / "two"), root=root)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same(tmp_path / "two", alone(tmp_path / "one"))
    assert done.stdout == capsys.readouterr().out.replace(str(tmp_path / "one"), str(tmp_path / "two"))
    assert "orbits of C_4" in done.stdout


@pytest.mark.slow
def test_a_lost_process_ends_all_and_another_number_goes_on(tmp_path, root):
    out = tmp_path / "orbits"
    running = subprocess.Popen([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                                "-m", "groupcc_lite", *COMMAND, "--out", str(out)], cwd=root, env=environment(root),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while len(list((out / "train").glob("0*.json"))) < 2:
        assert time.monotonic() < end and running.poll() is None
        time.sleep(0.01)
    running.terminate()
    running.communicate(timeout=60)
    made = {path.name: path.stat().st_mtime_ns for path in (out / "train").glob("0*.json")}
    done = torchrun(3, "-m", "groupcc_lite", *COMMAND, "--out", str(out), root=root)
    assert done.returncode == 0, done.stderr[-2000:]
    now = {path.name: path.stat().st_mtime_ns for path in (out / "train").glob("0*.json")}
    assert made.items() <= now.items() and len(made) < len(now)  # what was there was not made again
    assert_same(out, alone(tmp_path / "one"))


@pytest.mark.slow
def test_what_is_wrong_is_said_once(tmp_path, root):
    done = torchrun(2, "-m", "groupcc_lite", *COMMAND, "--out", str(tmp_path / "o"), "--set", "mask_radius=0.1",
                    root=root)
    said = done.stderr.split("groupcc: ")
    assert done.returncode != 0 and len(said) == 2, done.stderr[-2000:]
    assert said[1].startswith("this run would fail:\n- ") and "no point is left inside a mask" in said[1]


def extraction_of(folder, images):
    model = small_model()
    return Extraction([folder], [model], PlanarAction(cyclic(2)), DrawingSource(images, model.input_size),
                      points_per_image=2, mask_radius=7.0, images_per_shard=1)


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_shares_are_all_and_do_not_meet(tmp_path, of):
    extraction = extraction_of(tmp_path, 5)
    extraction.begin()
    counts = [extraction.extract(rank, of, progress=False) for rank in range(of)]
    assert sum(counts) == 5 and max(counts) - min(counts) <= 1
    extraction.finish()
    assert len(OrbitStore(tmp_path)) == 10
    again = extraction_of(tmp_path, 5)
    again.begin()
    assert again.extract(progress=False) == 0


@pytest.mark.parametrize("of, packs", [(1, 4), (2, 4), (3, 3), (4, 4), (5, 0)])
def test_each_process_packs_what_it_makes(tmp_path, of, packs):
    """Else one had to write the whole store anew while the others wait for it."""
    model = small_model()
    size = 2 * 2 * model.channels * 2 + 128  # 2 points, C_2, float16, and the header of a file
    each = [Extraction([tmp_path], [model], PlanarAction(cyclic(2)), DrawingSource(12, model.input_size),
                       points_per_image=2, mask_radius=7.0, images_per_shard=1, pack_bytes=3 * size)
            for _ in range(of)]
    each[0].begin()
    counts = [extraction.extract(rank, of, progress=False) for rank, extraction in enumerate(each)]
    assert sum(counts) == 12 and max(counts) - min(counts) <= 1
    assert len(list(tmp_path.glob("pack-*.npy"))) == packs
    assert len(list(tmp_path.glob("0*.npy"))) == 12 - 3 * packs
    each[0].finish()
    assert len(OrbitStore(tmp_path, check=True)) == 24


def test_a_share_that_nobody_made_is_named(tmp_path):
    extraction = extraction_of(tmp_path, 4)
    extraction.begin()
    extraction.extract(0, 2, progress=False)
    extraction.finish()
    with pytest.raises(ValueError, match="shard 1 is missing; run the extraction again"):
        OrbitStore(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["shards"] == 4
