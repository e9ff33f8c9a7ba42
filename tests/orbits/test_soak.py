"""The soak of `benchmarks`, short: a training from a stream is killed and goes on, and what is said of it is right."""

import os
import subprocess
import sys

import pytest

from benchmarks.soak import fatal_step, left_behind, moved, repeated, soak


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_training_that_was_killed_ends_where_another_does(tmp_path):
    """4,000 drawings, killed half way; `python -m benchmarks.soak` takes 200,000 and kills three times."""
    for name, kills in (("killed", 1), ("whole", 0)):
        (tmp_path / name).mkdir()
        rows = soak(tmp_path / name, 4000, kills, every=2)
        assert rows[-1]["step"] == 31
        assert len({row["pid"] for row in rows}) == kills + 1
        assert repeated(rows) == (3 * kills, True)  # 12, 14 and 16: the last checkpoint was written at 10
        assert left_behind(rows) == []
    files = [sorted(path.name for path in (tmp_path / name / "saved").iterdir()) for name in ("killed", "whole")]
    assert files[0] == files[1]
    for file in (name for name in files[0] if name.endswith(".safetensors")):
        assert (tmp_path / "killed" / "saved" / file).read_bytes() == (tmp_path / "whole" / "saved" / file).read_bytes()


def test_a_life_ends_at_a_noted_step_without_a_checkpoint():
    assert [fatal_step(step, 2) for step in (15, 16, 17, 20)] == [16, 16, 18, 22]  # checkpoints at 10, 20
    assert [fatal_step(1562 * life // 4, 10) for life in (1, 2, 3)] == [390, 790, 1180]


def row(pid, step, loss=1.0, mib=100.0):
    return dict(pid=pid, helpers=[], step=step, loss=loss, mib=mib)


def test_steps_taken_again_are_counted_and_compared():
    rows = [row(1, 10, 3.0), row(1, 20, 2.0), row(2, 20, 2.0), row(2, 30, 1.0)]
    assert repeated(rows) == (1, True)
    assert repeated([*rows, row(3, 30, 1.5)]) == (2, False)


def test_memory_that_grows_is_seen_and_warming_up_is_not():
    warm = [row(1, step, mib=50.0 if step == 0 else 100.0) for step in range(20)]
    growing = [row(2, step, mib=100.0 + step) for step in range(20)]
    found = moved(warm + growing)
    assert found[1] == 0.0
    assert found[2] == pytest.approx(17 / 110.5)


def test_a_process_that_is_left_is_found():
    code = "import time; OrbitStream = 0; print('up', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ) as process:
        process.stdout.readline()  # a process that has only just been made has no command line yet
        assert left_behind([row(process.pid, 1)], seconds=0.5) == [process.pid]
        process.kill()
    assert left_behind([row(process.pid, 1)], seconds=0.5) == []
