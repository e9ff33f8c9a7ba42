"""What comes next is made while what is here is used."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
_END = object()


class _Failure:
    """An exception on its way to the thread that can do something about it."""

    def __init__(self, error: BaseException):
        self.error = error


def made_ahead(items: Iterator[Item], count: int = 1) -> Iterator[Item]:
    """The same items in the same order, made by a thread before they are asked for; `count` of them wait.

    Errors are raised where the item would have come. Leaving the loop ends the thread, after the item it is making.
    Threads pay where the work releases Python's lock, as reading memory-mapped arrays and converting tensors does.
    """
    waiting: queue.Queue[Any] = queue.Queue(count)
    stopped = threading.Event()

    def put(item: Any) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(_Failure(error))

    thread = threading.Thread(target=work, name="made ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        stopped.set()
        if not sys.is_finalizing():  # then threads stand still, and would be waited for without end
            while not waiting.empty():
                waiting.get_nowait()
            thread.join()


def pinned(x: Tensor) -> Tensor:
    """In memory from which a copy to a GPU does not wait, where there is a GPU; else as it is."""
    return x.pin_memory() if torch.cuda.is_available() and x.device.type == "cpu" else x
