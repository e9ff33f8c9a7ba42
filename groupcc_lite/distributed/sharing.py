"""Each process's part of every batch, read from the same source in the same order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.distributed.axes import Processes
from groupcc_lite.orbits import OrbitSource, StoredOrbits


class SharedBatches(OrbitSource):
    """A source of which each process reads its rows of a batch, and of those its blocks and the one that is encoded.

    To a checkpoint it is the source itself. From stores (`StoredOrbits`) nothing else is read. Other sources make the
    rows of all processes in each, so those are better shared by blocks.

    >>> import torch
    >>> from groupcc_lite.distributed import Processes, joined
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> source = TensorOrbits(torch.ones(10, 4, 3), cyclic(4))
    >>> with joined(device="cpu") as world:
    ...     next(SharedBatches(source, Processes(world, order=4)).batches(5)).shape
    torch.Size([5, 4, 3])
    """

    def __init__(self, source: OrbitSource, processes: Processes):
        self.source, self.processes = source, processes
        self.group, self.channels, self.exact = source.group, source.channels, source.exact
        self.scale, self.fingerprint = source.scale, source.fingerprint

    def __len__(self) -> int:
        return len(self.source)

    def scale_of(self, elements: slice) -> float:
        return self.source.scale_of(elements)

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Parts of one epoch's batches of `batch_size` rows; ValueError unless the processes can share that evenly."""
        sharing = self.processes.data.size
        if batch_size % sharing:
            raise ValueError(f"batch_size is {batch_size}, shared by {sharing} processes; expected a multiple")
        if elements != slice(None):
            raise ValueError(f"elements is {elements}; processes that share blocks read those that they hold")
        rows = slice(self.processes.data.index * batch_size // sharing,
                     (self.processes.data.index + 1) * batch_size // sharing)
        if isinstance(self.source, StoredOrbits):
            order = self.source.order(seed, epoch)
            for number in range(start, self.batches_per_epoch(batch_size)):
                mine = order[number * batch_size:][rows]
                yield torch.cat([self.source.rows(mine, blocks) for blocks in self._blocks()], dim=1)
            return
        whole = [self.source.batches(batch_size, seed=seed, epoch=epoch, start=start, elements=blocks)
                 for blocks in self._blocks()]
        for parts in zip(*whole, strict=True):
            yield torch.cat([part[rows] for part in parts], dim=1)

    def _blocks(self) -> list[slice]:
        """What is read of each row: the block that the encoder reads comes first."""
        own = self.processes.blocks
        return [own] if self.processes.has_identity else [slice(0, 1), own]
