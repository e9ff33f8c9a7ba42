"""The training loop in many processes, and its checkpoints, which are those of one process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groupcc_lite.base import digest
from groupcc_lite.coders import Checkpoint, train
from groupcc_lite.distributed.axes import Processes
from groupcc_lite.distributed.sharded_coder import ShardedCrosscoder, block_dim, in_one
from groupcc_lite.distributed.sharing import SharedBatches
from groupcc_lite.orbits import OrbitSource

Row = dict[str, float | int]


class GatheredCheckpoint(Checkpoint):
    """The checkpoint of many processes: rank 0 writes it whole, and each reads its own blocks of it.

    It is the file that one process writes, so any number of processes can go on from it, and `train` too. While it is
    written, rank 0 holds the whole of W_d and of Adam's two moments in the memory of its machine, 12 m |G| d bytes; its
    device holds no more than one process's part. With it every process takes over the encoder of rank 0: on GPUs
    rounding may differ in what all of them compute. Ctrl-C writes nothing, because processes stop at different steps.

    >>> from groupcc_lite.distributed import Processes, joined
    >>> with joined(device="cpu") as world:
    ...     GatheredCheckpoint(None, {}, processes=Processes(world, order=8)).read()
    (0, [], {})
    """

    def __init__(self, folder: str | Path | None, settings: dict[str, Any], *, processes: Processes):
        super().__init__(folder, settings)
        self.processes, self._kept = processes, 0

    @torch.no_grad()
    def write(self, step: int, rows: list[Row], tensors: dict[str, Tensor]) -> None:
        """Replace the checkpoint; all processes must call it."""
        if self.folder is None:
            return
        for name in sorted(tensors):
            if tensors[name].ndim and block_dim(name, tensors[name].ndim) is None:
                self.processes.copy_of_first_(tensors[name])
        whole = in_one(tensors, self.processes)
        if self.processes.world.first:
            super().write(step, rows, whole)
        self.processes.wait()
        self._kept = step

    def interrupted(self, step: int, rows: list[Row], state: Callable[[], dict[str, Tensor]]) -> int:
        """The step of the last checkpoint, 0 if there is none."""
        return self._kept

    def read(self) -> tuple[int, list[Row], dict[str, Tensor]]:
        """As `Checkpoint.read`, with this process's blocks."""
        self._kept, rows, tensors = super().read()
        if self.folder is not None:
            self._check_alike()
        return self._kept, rows, tensors

    def _check_alike(self) -> None:
        """ValueError where a process read another checkpoint, or another store, than rank 0: shapes would still fit."""
        exact = {name: value for name, value in self.settings.items() if name != "initial_weights"}  # those are rounded
        facts = torch.tensor([[self._kept, int(digest(exact)[:12], 16)]], device=self.processes.world.device)
        if (self.processes.whole.gathered(facts) != facts).any():
            raise ValueError(f"process {self.processes.world.rank} does not see the checkpoint, settings and store of "
                             f"the others; every machine must see the same store and {self.folder}")

    def _part(self, file: Any, key: str) -> Tensor:
        part = file.get_slice(key)
        dim = block_dim(key, len(part.get_shape()))
        if dim is None:
            return file.get_tensor(key)
        own = part[self.processes.blocks] if dim == 0 else part[:, self.processes.blocks]
        return own.contiguous()  # a slice of the whole is not, and fused Adam would take its moments in a wrong order


def train_sharded(coder: ShardedCrosscoder, source: OrbitSource, *, progress: bool = True,
                  on_log: Callable[[Row], None] | None = None, **settings: Any) -> list[Row]:
    """`train` by all processes of a coder together, with the same arguments; returns the logged rows in each.

    `source` is the whole source in every process. Losses, rows, checkpoints and the trained coder are those of one
    process but for rounding, whatever the number of processes. Rank 0 shows progress, calls `on_log` and writes. A
    process that is lost ends all (`ProcessLost`). ValueError as for `train`, and for a batch that the processes cannot
    share evenly.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> from groupcc_lite.distributed import Processes, ShardedCrosscoder, joined, train_sharded
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> source = TensorOrbits(torch.rand(64, 1, 6, generator=torch.Generator().manual_seed(0)), cyclic(1))
    >>> with joined(device="cpu") as world:
    ...     sae = ShardedCrosscoder(SparseAutoencoder(channels=6, latents=20), Processes(world, order=1))
    ...     [row["step"] for row in train_sharded(sae, source, steps=20, batch_size=32, progress=False)]
    [10, 20]
    """
    first = coder.processes.world.first
    return train(coder, SharedBatches(source, coder.processes), progress=progress and first,
                 on_log=on_log if first else None,
                 checkpoints=functools.partial(GatheredCheckpoint, processes=coder.processes), **settings)
