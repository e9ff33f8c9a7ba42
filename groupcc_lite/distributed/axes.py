"""The processes as a mesh, data x group, and what they tell each other along its axes.

All that is sent goes through an `Axis`, which counts it. Sums are those of `torch.distributed` on the groups of a
`DeviceMesh`; an axis of one process does nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from groupcc_lite.distributed.joining import ProcessLost, World


@dataclasses.dataclass
class Traffic:
    """Bytes that one process handed over, by (axis, operation): the size of the tensors, not what a network carries.

    Of an all-reduce among P processes a ring sends 2 (P - 1) / P of that from each, of an all-gather P - 1 times that.

    >>> traffic = Traffic()
    >>> traffic.count("group", "sum", torch.zeros(5))
    >>> traffic.bytes
    Counter({('group', 'sum'): 20})
    """

    bytes: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)

    def count(self, axis: str, operation: str, sent: Tensor) -> None:
        """Note one more tensor."""
        self.bytes[axis, operation] += sent.numel() * sent.element_size()


@dataclasses.dataclass(frozen=True)
class Axis:
    """Processes that hold different parts of one thing: `size` of them, of which this is number `index`.

    >>> axis = Axis("group", 1, 0, None, Traffic())
    >>> axis.sum_(torch.ones(2))
    tensor([1., 1.])
    """

    name: str
    size: int
    index: int
    group: dist.ProcessGroup | None
    traffic: Traffic

    def sum_(self, t: Tensor) -> Tensor:
        """Replace a tensor by its sum over the processes, in place."""
        return self._reduced(t, "sum", dist.ReduceOp.SUM)

    def any_(self, t: Tensor) -> Tensor:
        """Replace a mask by where any of the processes' masks is set, in place."""
        self._reduced(t.view(torch.uint8), "any", dist.ReduceOp.MAX)
        return t

    def gathered(self, t: Tensor) -> Tensor:
        """The processes' tensors of one shape, in order, along the first dimension."""
        if self.size == 1:
            return t
        out = t.new_empty(self.size * len(t), *t.shape[1:])
        self.traffic.count(self.name, "gather", t)
        with _named_errors():
            dist.all_gather_into_tensor(out, t.contiguous(), group=self.group)
        return out

    def _reduced(self, t: Tensor, name: str, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.size > 1:
            self.traffic.count(self.name, name, t)
            with _named_errors():
                dist.all_reduce(t, operation, group=self.group)
        return t


class Processes:
    """All processes as data x group: `group` of them share the blocks of one coder, and the rest share each batch.

    `order` is that of the coder's group. By default as many as can share its blocks evenly do, and batches are shared
    only by more processes than that. Neighbouring ranks share blocks, so that those are mostly on one machine. Each
    process has `axes`: `data`, `group`, and `whole` for all of them. ValueError if `group` divides neither.

    >>> from groupcc_lite.distributed import joined
    >>> with joined(device="cpu") as world:
    ...     Processes(world, order=8).blocks
    slice(0, 8, None)
    """

    def __init__(self, world: World, order: int, group: int | None = None):
        self.world, self.order = world, order
        sharing = math.gcd(world.size, order) if group is None else group
        if sharing < 1 or world.size % sharing or order % sharing:
            raise ValueError(f"{sharing} processes cannot share the blocks of a group of order {order} among "
                             f"{world.size}: the number must divide both; {math.gcd(world.size, order)} does")
        self.traffic = Traffic()
        sizes = dict(data=world.size // sharing, group=sharing)
        groups: dict[str, dist.ProcessGroup | None] = dict.fromkeys((*sizes, "whole"))
        if world.size > 1:
            mesh = init_device_mesh(world.device.type, tuple(sizes.values()), mesh_dim_names=tuple(sizes))
            groups = {name: mesh.get_group(name) for name in sizes} | {"whole": dist.group.WORLD}
        self.data = Axis("data", sizes["data"], world.rank // sharing, groups["data"], self.traffic)
        self.group = Axis("group", sharing, world.rank % sharing, groups["group"], self.traffic)
        self.whole = Axis("whole", world.size, world.rank, groups["whole"], self.traffic)

    @property
    def blocks(self) -> slice:
        """Which blocks of the coder and of each orbit this process holds."""
        count = self.order // self.group.size
        return slice(self.group.index * count, (self.group.index + 1) * count)

    @property
    def has_identity(self) -> bool:
        """Whether the block that the encoder reads is among them."""
        return self.group.index == 0

    def to_first(self, t: Tensor) -> Iterator[Tensor]:
        """On rank 0: the tensor of each process that shares the first one's batch, on the CPU, one after the other.

        No more than one of them is on the device at a time. All others give theirs away and get nothing.
        """
        if self.data.index:
            return
        here = t.detach().contiguous()
        if not self.world.first:
            self.traffic.count("group", "send", here)
            with _named_errors():
                dist.send(here, dst=0)
            return
        yield here.cpu()
        for rank in range(1, self.group.size):
            received = torch.empty_like(here)
            with _named_errors():
                dist.recv(received, src=rank)
            yield received.cpu()

    def copy_of_first_(self, t: Tensor) -> None:
        """Replace a tensor by that of rank 0."""
        if self.whole.size > 1:
            self.traffic.count("whole", "copy", t)
            with _named_errors():
                dist.broadcast(t, src=0)

    def wait(self) -> None:
        """Until all are here."""
        if self.whole.size > 1:
            with _named_errors():
                dist.barrier(device_ids=[self.world.device.index] if self.world.device.type == "cuda" else None)


@contextmanager
def _named_errors() -> Iterator[None]:
    """Whatever goes wrong between processes, said in our words."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # that is its own
    except RuntimeError as error:
        raise ProcessLost(f"process {dist.get_rank()} of {dist.get_world_size()} lost the others: one of them ended or "
                          f"cannot be reached ({_last_words(error)}); the same command, with any number of processes, "
                          "goes on from the last checkpoint") from error


def _last_words(error: Exception) -> str:
    """What an engine said, on one line and without the place in its source."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rpartition("] ")[2][:200]
