"""The squared error of sparse codes is that of dense ones, and so are its gradients."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from groupcc_lite.coders import GroupCrosscoder, crosscoder, losses
from groupcc_lite.coders.losses import few_latents_error, squared_error
from groupcc_lite.groups import cyclic


def test_few_latents_have_the_error_and_the_gradients_of_dense_codes():
    generator = torch.Generator().manual_seed(0)
    indices = torch.stack([torch.randperm(9, generator=generator)[:3] for _ in range(6)])
    values, W_d, b_d, x = (torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True)
                           for shape in ((6, 3), (9, 2, 4), (2, 4), (6, 2, 4)))
    found, residual = few_latents_error(values, indices, W_d, b_d, x.detach(), 1.5)
    dense = torch.zeros(6, 9, dtype=torch.float64).scatter(1, indices, values)
    wanted, same = squared_error(dense, W_d, b_d, x.detach(), 1.5)
    torch.testing.assert_close((found, residual), (wanted, same))
    torch.testing.assert_close(torch.autograd.grad(found, (values, W_d)), torch.autograd.grad(wanted, (values, W_d)),
                               check_dtype=False)
    assert torch.autograd.gradcheck(lambda v, W, b: few_latents_error(v, indices, W, b, x.detach(), 1.5)[0],
                                    (values, W_d, b_d))


def trained_step(monkeypatch, sparse, hidden, idle):
    """Loss, parts, gradients and idle times of one step in which all but a few latents are dead."""
    monkeypatch.setattr(crosscoder, "SPARSE", sparse)
    coder = GroupCrosscoder(cyclic(2), 5, 40, activation="topk", k=3, hidden=hidden, scale=0.7)
    coder.train().idle.copy_(idle)
    x = torch.randn(16, 2, 5, generator=torch.Generator().manual_seed(1))
    total, parts = coder.loss(x, aux_k=4, dead_after=100)
    total.backward()
    return total.detach(), parts, {name: p.grad for name, p in coder.named_parameters()}, coder.idle


def test_topk_steps_on_sparse_codes_are_those_on_dense_ones(monkeypatch):
    for hidden in (None, 7):
        for dead in (0, 2, 30):  # none, fewer than are to be revived, most
            idle = torch.zeros(40)
            idle[40 - dead:] = 101
            few = trained_step(monkeypatch, 1, hidden, idle)
            many = trained_step(monkeypatch, 1000, hidden, idle)
            torch.testing.assert_close(few, many, rtol=1e-4, atol=1e-5)
            assert (few[1]["aux"] > 0) == (dead > 0)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made meanwhile."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor))])
        return out


@pytest.mark.parametrize("rows", [1, 4, 5, 99])
def test_the_gradient_is_the_same_in_pieces_and_no_tensor_is_larger_than_a_piece(monkeypatch, rows):
    """13 samples, 6 of 9 latents, orbit vectors of 50 numbers: whole, a gathered tensor has 3900."""
    generator = torch.Generator().manual_seed(0)
    indices = torch.stack([torch.randperm(9, generator=generator)[:6] for _ in range(13)])
    values, W_d, b_d = (torch.rand(shape, generator=generator, requires_grad=True)
                        for shape in ((13, 6), (9, 5, 10), (5, 10)))
    x = torch.rand(13, 5, 10, generator=generator)

    def gradients():
        error, _ = few_latents_error(values, indices, W_d, b_d, x, 1.5)
        with Largest() as largest:
            return torch.autograd.grad(error, (values, W_d, b_d)), largest

    whole, _ = gradients()
    monkeypatch.setattr(losses, "PIECE", rows * 6 * 50 + 299)
    pieces, largest = gradients()
    torch.testing.assert_close(pieces, whole, rtol=0, atol=0)
    assert largest.numbers == max(min(rows, 13) * 6 * 50, 13 * 50)  # the residual's own gradient is no smaller
