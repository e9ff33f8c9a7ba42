"""The fake device itself: it computes as the CPU does, refuses what a GPU refuses, and counts what a GPU waits for."""

import copy

import numpy as np
import pytest
import torch
from fake_device import DEVICE, DeviceTensor, FakeDevice
from torch import nn


@pytest.fixture
def device():
    with FakeDevice() as device:
        yield device


@pytest.fixture
def x(device):
    return torch.arange(6.0).reshape(2, 3).to(DEVICE)


def same(ours, theirs):
    assert isinstance(ours, DeviceTensor) and ours.device == DEVICE
    torch.testing.assert_close(ours.cpu(), theirs)


def test_operations_give_the_numbers_of_the_cpu_and_stay_on_the_device(x):
    y = torch.arange(6.0).reshape(2, 3)
    same(x @ x.T + 1, y @ y.T + 1)
    same(torch.cat([x, x[:, :1]], dim=1).softmax(1), torch.cat([y, y[:, :1]], dim=1).softmax(1))
    same(torch.full((2,), 3.0, device=DEVICE), torch.full((2,), 3.0))
    same(torch.tensor([1, 2], device=DEVICE), torch.tensor([1, 2]))
    same(torch.as_tensor(np.ones(3), device=DEVICE), torch.ones(3, dtype=torch.float64))
    same(x * torch.tensor(2.0), 2 * y)


def test_writing_into_a_part_changes_the_whole(x):
    x[0] = 5.0
    x[:, 1].mul_(2)
    same(x, torch.tensor([[5.0, 10.0, 5.0], [3.0, 8.0, 5.0]]))


@pytest.mark.parametrize("mixed", [
    lambda x: x + torch.ones(3), lambda x: torch.ones(3) * x, lambda x: torch.cat([x, torch.ones(1, 3)]),
    lambda x: torch.where(torch.ones(2, 3, dtype=torch.bool), x, x), lambda x: torch.ones(4)[x.long()],
    lambda x: x.index_put_((torch.tensor([0]),), torch.ones(1, 3)), lambda x: nn.Linear(3, 1)(x),
    lambda x: torch.addmm(torch.ones(2), x, x.T)])
def test_mixing_devices_is_refused(x, mixed):
    with pytest.raises(RuntimeError, match="same device"):
        mixed(x)


def test_the_generator_of_the_cpu_and_numpy_are_refused(x):
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(3, device=DEVICE, generator=torch.Generator())
    for convert in (lambda t: t.numpy(), np.asarray):
        with pytest.raises(TypeError, match="numpy"):
            convert(x)


def test_negative_control_what_a_gpu_allows_is_allowed(x):
    assert isinstance(x[torch.tensor([1, 0])], DeviceTensor) and isinstance(x[[1]], DeviceTensor)
    assert isinstance(x[np.array([0])], DeviceTensor)
    x[torch.tensor([0])] = 3.0
    assert isinstance(x * 2 + torch.tensor(1.0), DeviceTensor)
    assert isinstance(torch.ones(2, 3).copy_(x), torch.Tensor)


@pytest.mark.parametrize("read", [
    lambda x: x.sum().item(), lambda x: float(x[0, 0]), lambda x: bool(x.sum() > 0), lambda x: int(x.max()),
    lambda x: (x > 1).nonzero(), lambda x: x[x > 1], lambda x: x.masked_select(x > 1), lambda x: torch.equal(x, x),
    lambda x: x.cpu(), lambda x: x.tolist(), lambda x: f"{x.sum():.2f}", lambda x: x.unique(),
    lambda x: torch.ones(2, 3).copy_(x), lambda x: torch.bincount(x.long().flatten())])
def test_a_read_back_to_the_host_is_counted(device, x, read):
    read(x)
    assert device.reads.total() == 1, device.reads


def test_negative_control_what_does_not_wait_is_not_counted(device, x):
    y = torch.where(x > 1, x, 0.0).sum(1)
    y[y > 2] = 1.0
    x.masked_fill_(x > 3, 0.0)
    y.add_(x.amax()).isfinite().all()
    assert device.reads == {} and device.uploads == 1 and device.operations > 5


def test_a_module_moves_learns_and_comes_back(device):
    torch.manual_seed(0)
    here = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    there = copy.deepcopy(here).to(DEVICE)
    inputs = torch.randn(5, 3)
    for module, x in ((here, inputs), (there, inputs.to(DEVICE))):
        optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            module(x).square().sum().backward()
            optimiser.step()
    assert all(isinstance(p.data, DeviceTensor) and p.device == DEVICE for p in there.parameters())
    assert device.reads == {}
    for ours, theirs in zip(there.cpu().parameters(), here.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_outside_its_context_nothing_is_special_and_its_tensors_are_refused():
    with FakeDevice():
        x = torch.ones(2, device=DEVICE)
    assert not isinstance(torch.ones(2, device=DEVICE), DeviceTensor)
    with pytest.raises(RuntimeError, match="outside its context"):
        x + 1


def test_numbers_that_a_thread_lost_are_not_taken_for_numbers(device, x):
    lost = torch.utils._python_dispatch._disable_current_modes
    with lost():
        moved = torch.ones(3).to(DEVICE)
    with pytest.raises(RuntimeError, match="no numbers"):
        x + moved
