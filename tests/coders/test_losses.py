"""The squared error of sparse codes is that of dense ones, and so are its gradients."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import steps as measured
from groupcc_lite.base import matrix_products
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder, crosscoder, losses
from groupcc_lite.coders.losses import few_latents_error, scattered_error, sparse_product, squared_error
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
            many = trained_step(monkeypatch, 1000, hidden, idle)
            for sparse in (1, 12):  # both sums on sparse codes, and only that of the latents that fire
                few = trained_step(monkeypatch, sparse, hidden, idle)
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


SAMPLES, LATENTS = torch.tensor([0, 0, 0, 2, 2, 3, 5]), torch.tensor([8, 1, 4, 4, 0, 3, 8])
"""Codes of six samples, of which two have none."""


@pytest.mark.parametrize("piece", [1, 16, 2**22])
def test_scattered_codes_have_the_error_and_the_gradients_of_dense_ones(monkeypatch, piece):
    monkeypatch.setattr(losses, "PIECE", piece)
    generator = torch.Generator().manual_seed(0)
    values, W_d, b_d, x = (torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True)
                           for shape in ((7,), (9, 2, 4), (2, 4), (6, 2, 4)))
    found, residual = scattered_error(values, LATENTS, SAMPLES, W_d, b_d, x.detach(), 1.5)
    dense = torch.zeros(6, 9, dtype=torch.float64).index_put((SAMPLES, LATENTS), values)
    wanted, same = squared_error(dense, W_d, b_d, x.detach(), 1.5)
    torch.testing.assert_close((found, residual), (wanted, same))
    for ours, theirs in zip(torch.autograd.grad(found, (values, W_d, b_d)),
                            torch.autograd.grad(wanted, (values, W_d, b_d)), strict=True):
        torch.testing.assert_close(ours, theirs, check_dtype=False)
    assert torch.autograd.gradcheck(
        lambda v, W, b: scattered_error(v, LATENTS, SAMPLES, W, b, x.detach(), 1.5)[0], (values, W_d, b_d))


def test_a_product_with_few_codes_is_that_of_the_whole_matrices():
    f = torch.zeros(6, 9).index_put((SAMPLES, LATENTS), torch.tensor([1.0, -2, 3, 4, 5, -6, 7]))
    W = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sparse_product(f, W), f @ W)
    assert torch.equal(sparse_product(0 * f, W), torch.zeros(6, 5))
    torch.testing.assert_close(sparse_product(f.bfloat16(), W), f @ W)  # codes made under autocast


def batchtopk_step(monkeypatch, many, hidden, idle, amp=False):
    """Loss, parts, gradients, idle times and threshold of a step of BatchTopK."""
    monkeypatch.setattr(crosscoder, "MANY", many)
    monkeypatch.setattr(crosscoder, "SPARSE", 1)
    coder = GroupCrosscoder(cyclic(2), 5, 40, activation="batchtopk", k=3, hidden=hidden, scale=0.7)
    coder.train().idle.copy_(idle)
    x = torch.randn(16, 2, 5, generator=torch.Generator().manual_seed(1))
    with matrix_products(x.device, amp):
        total, parts = coder.loss(x, aux_k=4, dead_after=100)
    total.backward()
    return total.detach(), parts, {name: p.grad for name, p in coder.named_parameters()}, coder.idle, coder.threshold


def test_batchtopk_steps_on_sparse_codes_are_those_on_dense_ones(monkeypatch):
    for hidden in (None, 7):
        for dead in (0, 2, 30):
            idle = torch.zeros(40)
            idle[40 - dead:] = 101
            few, whole = (batchtopk_step(monkeypatch, many, hidden, idle) for many in (40, 41))
            torch.testing.assert_close(few, whole, rtol=1e-4, atol=1e-5)
            assert (few[1]["aux"] > 0) == (dead > 0) and float(few[1]["l0"]) == 3
            low = batchtopk_step(monkeypatch, 40, hidden, idle, amp=True)
            torch.testing.assert_close(low[0], whole[0], rtol=0.1, atol=0)


def test_batchtopk_takes_sparse_codes_where_they_are_faster(monkeypatch):
    taken = []
    monkeypatch.setattr(crosscoder, "scattered_error", lambda *given: taken.append(1) or scattered_error(*given))
    x = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0))
    for latents, k, amp, sparse in ((4096, 64, False, 1), (4096, 65, False, 0), (4095, 4, False, 0),
                                    (4096, 16, True, 1), (4096, 17, True, 0)):
        taken.clear()
        coder = SparseAutoencoder(3, latents, activation="batchtopk", k=k)
        with matrix_products(x.device, amp):
            coder.loss(x)
        assert len(taken) == sparse, (latents, k, amp)


def test_batchtopk_with_fewer_positive_latents_than_it_may_keep(monkeypatch):
    """The cut is then 0, and who is kept with a code of 0 does not fire."""
    found = []
    for many in (40, 41):
        monkeypatch.setattr(crosscoder, "MANY", many)
        monkeypatch.setattr(crosscoder, "SPARSE", 1)
        coder = GroupCrosscoder(cyclic(2), 5, 40, activation="batchtopk", k=30).train()
        with torch.no_grad():
            coder.b_e.fill_(-0.5)
        total, parts = coder.loss(torch.randn(8, 2, 5, generator=torch.Generator().manual_seed(2)))
        found.append((total.detach(), parts, coder.idle, coder.threshold))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    assert 0 < float(found[0][1]["l0"]) < 30 and float(found[0][3]) == 0


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "relu"])
def test_many_latents_are_decoded_from_few_codes(monkeypatch, activation):
    """From 4096 latents on, where few fire; the same but for rounding."""
    calls = []
    monkeypatch.setattr(crosscoder, "sparse_product", lambda *given: calls.append(1) or sparse_product(*given))
    settings = dict(activation=activation, k=None if activation == "relu" else 8)
    x = torch.randn(20, 3, 6, generator=torch.Generator().manual_seed(0))
    for latents, asked in ((4096, 1), (4095, 0)):
        calls.clear()
        coder = GroupCrosscoder(cyclic(3), 6, latents, **settings).eval()
        with torch.no_grad():
            coder.b_e -= 3.5 if activation == "relu" else 0
            coder.threshold.fill_(2.5) if activation == "batchtopk" else None
            codes = coder.encode(x[:, 0])
            found = coder.decode(codes)
        assert len(calls) == asked and codes.any()
        torch.testing.assert_close(found, (codes @ coder.W_d.flatten(1)).unflatten(1, (3, 6)) + coder.b_d)
    assert torch.equal(found, (codes @ coder.W_d.flatten(1)).unflatten(1, (3, 6)) + coder.b_d), "to the last bit"


def test_codes_that_want_gradients_and_full_ones_are_decoded_whole(monkeypatch):
    calls = []
    monkeypatch.setattr(crosscoder, "sparse_product", lambda *given: calls.append(1) or sparse_product(*given))
    coder = SparseAutoencoder(6, 4096, activation="topk", k=8)
    codes = coder.encode(torch.randn(4, 6)).detach().requires_grad_()
    coder.decode(codes).sum().backward()
    torch.testing.assert_close(codes.grad, coder.W_d.detach().sum((1, 2)).expand(4, -1))
    coder.decode(torch.ones(4, 4096))
    assert not calls
    coder.decode(codes.detach()).sum().backward()  # weights get theirs either way
    assert calls == [1] and coder.W_d.grad.count_nonzero() > 0


def test_the_benchmark_compares_steps_that_are_the_same():
    coder, x = GroupCrosscoder(cyclic(2), 3, 200, activation="topk", k=2), torch.randn(8, 2, 3)
    gradients = []
    for whole in (False, True):
        measured.step(coder, x, whole=whole)
        gradients.append({name: p.grad.clone() for name, p in coder.named_parameters()})
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
    found = measured.few_of_many(k=2, batch=8, channels=3, sizes={128: 1}, rounds=1)
    assert len(found) == 5 and all(ratio > 0 for ratio in found.values())
