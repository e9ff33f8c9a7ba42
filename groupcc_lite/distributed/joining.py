"""Processes that found each other: started by `torchrun`, or one alone. Nothing here but `torch.distributed`.

Whoever waits for a process that has ended gets an error at once where its connection closes, and after `timeout`
seconds where it does not. Of several processes that fail because one did, only the first says so.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from groupcc_lite.base import default_device

TIMEOUT = 600.0
"""Seconds that a process waits for the others in one step before it gives up."""
REPORTED = "groupcc/reported"


class ProcessLost(ConnectionError):
    """Another process ended, or cannot be reached, in the middle of a common step.

    >>> issubclass(ProcessLost, OSError)
    True
    """


@dataclasses.dataclass(frozen=True)
class World:
    """This process among all: its number `rank` of `size`, and the `device` that its part of the work lies on.

    >>> World(rank=0, size=1, device=torch.device("cpu")).first
    True
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0


@contextmanager
def joined(*, device: str | None = None, timeout: float = TIMEOUT) -> Iterator[World]:
    """Join the other processes that `torchrun` started; without it, this process is alone.

    `device` as for `default_device`; "cuda" is the GPU of the process's number on its machine, and speaks NCCL, a CPU
    speaks gloo. `timeout` in seconds is how long a process waits for the others. An error ends all processes: the
    first to fail raises it, those that fail because of it leave with exit status 1 and say nothing. ValueError for
    more processes on a machine than it has GPUs.

    >>> with joined(device="cpu") as world:
    ...     world.rank, world.size
    (0, 1)
    """
    if "WORLD_SIZE" not in os.environ:
        yield World(0, 1, torch.device(default_device(device)))
        return
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout}; expected a positive number of seconds")
    store, rank, size = next(dist.rendezvous("env://", timeout=datetime.timedelta(seconds=timeout)))
    before = _on_termination(_end_with_words)
    try:
        place = _device_of(default_device(device))
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo", rank=rank, world_size=size,
                                store=dist.PrefixStore("groupcc/groups", store),
                                timeout=datetime.timedelta(seconds=timeout))
        yield World(rank, size, place)
        dist.destroy_process_group()
    except BaseException:
        _on_termination(signal.SIG_IGN)  # this process is ending already, and may have to say why
        if not _first_to_fail(store):
            raise SystemExit(1) from None
        raise
    _on_termination(before)


def _on_termination(handler: Any) -> Any:
    """Handle SIGTERM so; what was done before. `torchrun` sends it to all others when a process has failed."""
    if threading.current_thread() is not threading.main_thread():
        return None  # only the main thread receives signals
    return signal.signal(signal.SIGTERM, signal.SIG_DFL if handler is None else handler)


def _end_with_words(number: int, frame: Any) -> None:
    raise ProcessLost(f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} was told to end: another one "
                      "failed, or the machine is wanted for something else; the same command, with any number of "
                      "processes, goes on from the last checkpoint")


def _device_of(name: str) -> torch.device:
    """The device of this process: of several on a machine, each takes the GPU of its number."""
    device = torch.device(name)
    if device.type != "cuda" or device.index is not None:
        return device
    number, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= there:
        raise ValueError(f"this is process {number} of its machine, which has {there} GPUs; start at most one process "
                         "a GPU (torchrun --nproc-per-node), or choose --device cpu")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def _first_to_fail(store: dist.Store) -> bool:
    """Whether no other process has reported an error; True too if the store went with the process that held it."""
    try:
        return store.add(REPORTED, 1) == 1
    except RuntimeError:
        return True
