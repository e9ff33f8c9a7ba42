"""Locks between threads and real processes: one makes it, the others wait, and a dead owner keeps nobody waiting."""

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from groupcc_lite.base.locks import locked, owner

LIMIT = 60  # seconds; nothing here takes long, but no test may wait for ever
HOLD = """
import sys, time
from pathlib import Path
from groupcc_lite.base.locks import locked
with locked(sys.argv[1], "a thing"):
    Path(sys.argv[2]).touch()
    while not Path(sys.argv[3]).exists():
        time.sleep(0.01)
"""


def until(condition):
    """Wait for something that another process does."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until `free` is called."""
    lock, began, end = (tmp_path / name for name in ("a.lock", "began", "end"))
    process = subprocess.Popen([sys.executable, "-c", HOLD, lock, began, end])
    until(began.exists)
    process.lock, process.free = lock, end.touch
    yield process
    process.kill()
    process.wait(LIMIT)


def test_another_process_is_waited_for_and_named(holder, caplog):
    assert owner(holder.lock) == f"process {holder.pid} on {platform.node()}"
    got = threading.Event()

    def wait():
        with locked(holder.lock, "a thing"):
            got.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    until(lambda: "waiting for it" in caplog.text)
    assert not got.is_set() and f"a thing is being made by process {holder.pid}" in caplog.text
    holder.free()
    assert got.wait(LIMIT)
    thread.join(LIMIT)
    assert owner(holder.lock) == ""


def test_a_killed_owner_is_taken_over_from(holder, caplog):
    holder.send_signal(signal.SIGKILL)
    holder.wait(LIMIT)
    assert owner(holder.lock) == f"process {holder.pid} on {platform.node()}"  # it could not clean up
    with locked(holder.lock, "a thing"):
        assert json.loads(holder.lock.read_text())["pid"] == os.getpid()
    assert f"a thing was begun by process {holder.pid}" in caplog.text


def met(lock, patience):
    """How many of two threads met the other inside the lock, and how many came through it at all."""
    both, together, done = threading.Barrier(2), [], []

    def work():
        with lock():
            with suppress(threading.BrokenBarrierError):  # nobody came while this thread was inside
                both.wait(patience)
                together.append(1)
        done.append(1)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    return len(together), len(done)


def test_threads_take_turns(tmp_path):
    assert met(lambda: locked(tmp_path / "a.lock", "a thing"), patience=0.5) == (0, 2)


def test_threads_would_meet_without_a_lock():
    assert met(nullcontext, patience=LIMIT / 2) == (2, 2)


def test_the_same_thread_cannot_wait_for_itself(tmp_path):
    with (locked(tmp_path / "a.lock", "a thing"), pytest.raises(RuntimeError, match="wait for ever"),
          locked(tmp_path / "a.lock", "a thing")):
        pytest.fail("entered twice")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_released_whatever_happens_inside(tmp_path, error):
    for _ in range(2):
        with pytest.raises(error), locked(tmp_path / "a.lock", "a thing"):
            raise error
    assert owner(tmp_path / "a.lock") == ""


def test_a_deleted_lock_file_is_not_taken_for_the_lock(tmp_path):
    """Somebody may open the file just before its owner deletes it; both must not think that they hold the lock."""
    from groupcc_lite.base.locks import _is_at

    path = tmp_path / "a.lock"
    with path.open("a+") as file:
        assert _is_at(file, path)
        path.unlink()
        assert not _is_at(file, path)
        Path(path).touch()
        assert not _is_at(file, path)
