"""Images loaded ahead of their use by processes of their own, in an order that nothing but the caller decides.

The processes are those of torch's `DataLoader`, which hands out batches in the order they were asked for, however many
processes make them. On a machine with CUDA they arrive in pinned memory, from which a copy to the GPU does not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from groupcc_lite.stimuli.image_sets import ImageSource, ImageSubset, as_floats


class _Failure(NamedTuple):
    """What a process could not do, as its message: the caller gets it without the trace of another process."""

    message: str


class _Results(Dataset):
    """A function's results as a data set whose items are its arguments."""

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.function(item)
        except ValueError as error:
            return _Failure(str(error))


def load_ahead(source: ImageSource, batches: Sequence[Sequence[int]],
               workers: int = 0) -> Iterator[Float[Tensor, "b 3 h w"]]:
    """`source.load` of each list of indices, in this order; `workers` processes are up to two batches each ahead.

    With 0 workers every batch is loaded when it is asked for. The images are the same for any number. Sources of your
    own must be picklable where processes are not forked (macOS, Windows). ValueError as by the source, which names what
    cannot be read, and for a negative number of workers.

    >>> from groupcc_lite.stimuli import DrawingSource
    >>> [tuple(images.shape) for images in load_ahead(DrawingSource(5, 48), [[4, 0], [2]])]
    [(2, 3, 48, 48), (1, 3, 48, 48)]
    """
    groups = [list(indices) for indices in batches]
    if workers == 0:
        return in_order(source.load, groups, workers)
    return map(as_floats, in_order(partial(_load, source), groups, workers))


def _load(source: ImageSource, indices: Sequence[int]) -> Tensor:
    """As bytes if they can be had: that much less goes from process to process."""
    images = source.load_bytes(indices) if _gives_the_same_bytes(source) else None
    return source.load(indices) if images is None else images


def _gives_the_same_bytes(source: ImageSource) -> bool:
    """Whether its bytes are what it loads: not where somebody's class has another `load` than the one it inherits."""
    owners = {name: next(kind for kind in type(source).__mro__ if name in vars(kind))
              for name in ("load", "load_bytes")}
    return owners["load"] is owners["load_bytes"] and (
        not isinstance(source, ImageSubset) or _gives_the_same_bytes(source.parent))


def in_order(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[Any]:
    """`function` of every item, in the order of the items, by so many processes (0: by this one)."""
    if workers < 0:
        raise ValueError(f"workers is {workers}; expected the number of processes that load images, 0 for none")
    return map(function, items) if workers == 0 or len(items) < 2 else _in_processes(function, items, workers)


def _in_processes(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[Any]:
    # A generator of its own: the loader would otherwise draw its seed from torch's global one, and move it on.
    loader = DataLoader(_Results(function), batch_size=None, sampler=items, collate_fn=_as_it_is,
                        num_workers=min(workers, max(1, len(items))), pin_memory=torch.cuda.is_available(),
                        generator=torch.Generator())
    for result in loader:
        if isinstance(result, _Failure):
            raise ValueError(result.message)
        yield result


def _as_it_is(item: Any) -> Any:
    return item
