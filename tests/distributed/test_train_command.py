"""`groupcc train` under torchrun: what it leaves, how it ends when a process is lost, and how it goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from many_processes import COMMAND, GROUP, environment, orbits, torchrun

from groupcc_lite import __main__ as cli
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.orbits import OrbitStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return OrbitStore.from_batches(tmp_path_factory.mktemp("store") / "orbits", [orbits().blocks], GROUP).folder


def train_alone(store, out, steps):
    assert cli.main(["train", str(store), "--out", str(out), "--steps", str(steps), *COMMAND]) == 0
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()], GroupCrosscoder.load(out)


def children_of(process):
    return [child for child in psutil.Process(process.pid).children(recursive=True)
            if "groupcc_lite" in child.cmdline()]


def started(store, out, root, processes, steps):
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m",
         "groupcc_lite", "train", str(store), "--out", str(out), "--steps", str(steps), *COMMAND],
        cwd=root, env=environment(root), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for(path, seconds=120):
    end = time.monotonic() + seconds
    while not path.is_file():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.05)


def test_a_lost_process_ends_all_and_another_number_goes_on(store, tmp_path, root):
    out, steps = tmp_path / "coder", 100_000
    running = started(store, out, root, 2, steps)
    wait_for(out / "checkpoint.safetensors")
    workers = children_of(running)
    assert len(workers) == 2
    began = time.monotonic()
    os.kill(workers[1].pid, signal.SIGKILL)
    _, stderr = running.communicate(timeout=90)
    assert time.monotonic() - began < 60 and running.returncode != 0
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    ours = [line for line in stderr.splitlines() if line.startswith("groupcc: ")]
    assert len(ours) == 1 and "goes on from the last checkpoint" in ours[0], stderr
    assert "lost the others" in ours[0] or "was told to end" in ours[0]  # whichever comes first
    assert "Signal 9 (SIGKILL)" in stderr


def test_any_number_of_processes_goes_on_from_a_checkpoint(store, tmp_path, root, capsys):
    """Two processes are killed on the way, one alone and then four go on; the coder is that of one undisturbed."""
    out, steps = tmp_path / "coder", 60
    straight, coder = train_alone(store, tmp_path / "straight", steps)
    kept: list[str] = []
    for processes, until in ((2, 25), (1, 45)):
        killed = torchrun(processes, "tests/helpers/killed_training.py", str(store), str(out), str(steps), str(until),
                          root=root)
        assert killed.returncode != 0 and (out / "checkpoint.safetensors").is_file(), killed.stderr[-2000:]
        kept.append((out / "metrics.jsonl").read_text())
    done = torchrun(4, "-m", "groupcc_lite", "train", str(store), "--out", str(out), "--steps", str(steps), *COMMAND,
                    root=root)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [f"The coder lies in {out}, trained by 1 x 4 processes (data x group)"]
    # Rows have their seconds: who begins anew writes others.
    assert kept[0] and kept[1].startswith(kept[0]) and (out / "metrics.jsonl").read_text().startswith(kept[1])
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [row["step"] for row in straight]
    for ours, theirs in zip(straight, rows, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5, abs=1e-5)
    for name, value in GroupCrosscoder.load(out).state_dict().items():
        torch.testing.assert_close(value, coder.state_dict()[name], rtol=1e-4, atol=1e-4)
    assert "trained by 1 x 1 processes" in capsys.readouterr().out


def test_what_is_wrong_is_said_once(tmp_path, root):
    done = torchrun(2, "-m", "groupcc_lite", "train", str(tmp_path / "nowhere"), "--steps", "3", *COMMAND, root=root)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("groupcc: ")]
    assert len(lines) == 1 and "holds no orbit store" in lines[0]
