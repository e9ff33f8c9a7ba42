"""A crosscoder whose blocks lie on several processes, and whose batches several read.

The loss is a sum over blocks, so each process holds some blocks of W_d, b_d and x, and the whole of the small encoder.
All processes that share blocks compute the same latents. What they tell each other in a step is the gradient of the
latents (b x m, or b x k where k are known to fire) and the squared norms of the dictionary vectors (m). Processes that
share batches average gradients and agree on what a batch as a whole decides: which latents fired, and where BatchTopK
cuts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from groupcc_lite.base import save_weights
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.distributed.axes import Axis, Processes

BLOCK_DIM = {"W_d": 1, "b_d": 0}
"""The parameters that lie in parts, and the dimension of their blocks. All others each process has whole."""
BLOCKWISE = ("reconstruction", "aux")
"""The parts of the loss that are sums over blocks."""
KINDS = (GroupCrosscoder, SparseAutoencoder)
PLAIN = ("group", "channels", "latents", "activation", "k", "hidden", "select", "bandwidth")


class ShardedCrosscoder(GroupCrosscoder):
    """One process's part of a `GroupCrosscoder`: the same loss, to be minimised by all `processes` together.

    It begins with the weights of `coder`, which must be the same in every process, and is on the process's device.
    Every method that the loss calls must be called by all processes at once. `W_d`, `b_d` and `dictionary` are this
    process's blocks; `whole_state` and `save` put them together. ValueError for a coder of another kind, or of a group
    other than the processes share.

    >>> from groupcc_lite.coders import GroupCrosscoder
    >>> from groupcc_lite.distributed import Processes, joined
    >>> from groupcc_lite.groups import dihedral
    >>> coder = GroupCrosscoder(dihedral(4), channels=6, latents=20)
    >>> with joined(device="cpu") as world:
    ...     ShardedCrosscoder(coder, Processes(world, order=8)).W_d.shape
    torch.Size([20, 8, 6])
    """

    _alone = False

    def __init__(self, coder: GroupCrosscoder, processes: Processes):
        if type(coder) not in KINDS:
            raise ValueError(f"coder is a {type(coder).__name__}; only a GroupCrosscoder or a SparseAutoencoder can be "
                             "trained by many processes")
        if coder.group.order != processes.order:
            raise ValueError(f"the coder is for {coder.group.name} of order {coder.group.order}, the processes share "
                             f"{processes.order} blocks")
        super(GroupCrosscoder, self).__init__()  # nothing is drawn anew
        self.kind, self.processes = type(coder).__name__, processes
        for name in PLAIN:
            setattr(self, name, getattr(coder, name))
        self._scale_read = (None, -1, 0.0)
        for name, value in coder.named_parameters():
            part = own_blocks(name, value.detach(), processes).to(processes.world.device, copy=True)
            setattr(self, name, nn.Parameter(part.contiguous()))
        for name, value in coder.named_buffers():
            self.register_buffer(name, value.detach().to(processes.world.device, copy=True))
        self.train(coder.training)
        if processes.data.size > 1:
            for parameter in self.parameters():
                parameter.register_post_accumulate_grad_hook(self._average_gradient)

    @property
    def config(self) -> dict[str, Any]:
        """That of the whole coder."""
        return super().config | dict(kind=self.kind)

    def whole_state(self) -> dict[str, Tensor]:
        """All weights of the whole coder on rank 0, on the CPU; nothing elsewhere. All processes must call it."""
        return in_one(self.state_dict(), self.processes)

    def save(self, folder: str | Path) -> None:
        """Write what the whole coder would; rank 0 does, when all have called it."""
        state = self.whole_state()
        if self.processes.world.first:
            save_weights(state, self.config, folder)
        self.processes.wait()

    def loss(self, x: Float[Tensor, "b g d"], **terms: Any) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """`GroupCrosscoder.loss` of the whole batch, from this process's part of it, as `SharedBatches` makes it."""
        return self.objective(x[:, 0], self._own(x), **terms)

    @torch.no_grad()
    def begin(self, x: Float[Tensor, "b g d"]) -> None:
        """As for the whole coder and the whole batch."""
        means = [self._mean(part.mean(0) * self.scale) for part in (x[:, 0], self._own(x))]
        self.b.copy_(means[0])
        self.b_d.copy_(means[1])

    @torch.no_grad()
    def diagnostics(self, x: Float[Tensor, "b g d"], parts: dict[str, float]) -> dict[str, float]:
        """FVE of the whole batch."""
        own = self._own(x) * self.scale
        squares = (own - self._mean(own.mean(0))).square().sum() / (len(own) * self.processes.data.size)
        return dict(fve=1 - parts["reconstruction"] / max(float(self.processes.whole.sum_(squares)), 1e-12))

    def _own(self, x: Float[Tensor, "b g d"]) -> Float[Tensor, "b g d"]:
        """This process's blocks of what it read; the first one is there for the encoder."""
        return x if self.processes.has_identity else x[:, 1:]

    def _mean(self, t: Tensor) -> Tensor:
        """Over the processes that share batches."""
        return self.processes.data.sum_(t / self.processes.data.size)

    def _average_gradient(self, parameter: Tensor) -> None:
        parameter.grad.div_(self.processes.data.size)
        self.processes.data.sum_(parameter.grad)

    def _norms(self) -> Float[Tensor, " m"]:
        squares = self.W_d.flatten(1).square().sum(1)
        return squares.sqrt() if self.processes.group.size == 1 else _Sum.apply(squares, self.processes.group).sqrt()

    def _for_decoding(self, codes: Float[Tensor, "b k"], active: int | None) -> Float[Tensor, "b k"]:
        return codes if self.processes.group.size == 1 else _SumOfGradients.apply(codes, active, self.processes.group)

    def _cut(self, compared: Float[Tensor, "b m"]) -> Tensor:
        """That of the whole batch: the k-th largest of everybody's largest."""
        data = self.processes.data
        if data.size == 1:
            return super()._cut(compared)
        kept = self.k * len(compared) * data.size
        largest = compared.flatten().topk(min(kept, compared.numel()), sorted=False).values
        return data.gathered(largest).topk(kept, sorted=False).values.min()

    def _summed(self, parts: dict[str, Tensor], active: Bool[Tensor, "b k"], fired: Bool[Tensor, " m"],
                cut: Tensor | None, dead_after: int) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """As for the whole coder and batch in value; the total's gradient is that of this process's part of it."""
        names = list(parts)
        total, logged = super()._summed(parts, active, fired, cut, dead_after)
        processes = self.processes
        if processes.whole.size == 1:
            return total, logged
        shared = [name for name in logged if name != "dead"]  # of which everybody has the whole
        amounts = torch.stack([logged[name].float() / processes.data.size / (
            1 if name in BLOCKWISE else processes.group.size) for name in shared])
        logged |= dict(zip(shared, processes.whole.sum_(amounts).unbind(), strict=True))
        whole = torch.stack([logged[name] for name in names]).sum()
        return total + (whole - total).detach(), logged

    @torch.no_grad()
    def _note(self, samples: int, fired: Bool[Tensor, " m"], cut: Tensor | None) -> None:
        data = self.processes.data
        super()._note(samples * data.size, data.any_(fired.clone()) if data.size > 1 else fired, cut)


def own_blocks(name: str, whole: Tensor, processes: Processes) -> Tensor:
    """This process's part of a parameter, or of something as large that belongs to it.

    >>> from groupcc_lite.distributed import joined
    >>> with joined(device="cpu") as world:
    ...     own_blocks("b_d", torch.zeros(8, 6), Processes(world, order=8)).shape
    torch.Size([8, 6])
    """
    if name not in BLOCK_DIM:
        return whole
    return whole.narrow(BLOCK_DIM[name], processes.blocks.start, processes.blocks.stop - processes.blocks.start)


def in_one(parts: dict[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """Tensors of all processes put together on rank 0, on the CPU; nothing elsewhere. All must call it.

    Names are those of parameters and buffers, with anything before or behind them between dots.

    >>> from groupcc_lite.distributed import joined
    >>> with joined(device="cpu") as world:
    ...     in_one({"adam.b_d.exp_avg": torch.zeros(8, 6)}, Processes(world, order=8)).keys()
    dict_keys(['adam.b_d.exp_avg'])
    """
    found = {}
    for name, part in parts.items():
        dim = block_dim(name, part.ndim)
        if dim is not None:
            pieces = list(processes.to_first(part))
            if pieces:
                found[name] = torch.cat(pieces, dim)
        elif processes.world.first:
            found[name] = part.detach().cpu()
    return found


def block_dim(name: str, ndim: int) -> int | None:
    """The dimension of blocks of a named tensor; None for what every process has whole, such as counts of steps.

    >>> block_dim("coder.W_d", ndim=3), block_dim("adam.W_d.step", ndim=0)
    (1, None)
    """
    fits = [BLOCK_DIM[part] for part in name.split(".") if part in BLOCK_DIM]
    return fits[0] if fits and ndim else None


class _Sum(torch.autograd.Function):
    """The sum over processes, each of which goes on with the gradient of its own summand."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, axis: Axis) -> Tensor:
        return axis.sum_(t.clone())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return grad, None


class _SumOfGradients(torch.autograd.Function):
    """Codes as they are, whose gradients are summed over the processes that decode other blocks of them.

    Where at most `active` of a sample are positive, only theirs are sent: the others' are lost in the encoder's ReLU.
    """

    @staticmethod
    def forward(ctx: Any, codes: Tensor, active: int | None, axis: Axis) -> Tensor:
        ctx.active, ctx.axis = active, axis
        if active is not None:
            ctx.save_for_backward(codes)
        return codes.view_as(codes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.active is None:
            return ctx.axis.sum_(grad.contiguous().clone()), None, None
        (codes,) = ctx.saved_tensors
        where = codes.topk(ctx.active, dim=1).indices
        return torch.zeros_like(grad).scatter_(1, where, ctx.axis.sum_(grad.gather(1, where))), None, None
