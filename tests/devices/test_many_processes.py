"""A part of a coder on a second device: what it computes, and that a step waits for nothing."""

import pytest
import torch
from fake_device import DEVICE, FakeDevice

from groupcc_lite.coders import GroupCrosscoder, train
from groupcc_lite.distributed import Processes, ShardedCrosscoder, World, train_sharded
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import TensorOrbits

GROUP = dihedral(2)


@pytest.fixture
def device():
    with FakeDevice() as device:
        yield device


def coder(activation):
    return GroupCrosscoder(GROUP, 6, 24, activation=activation, k=None if activation == "relu" else 3, seed=1)


def orbits():
    return TensorOrbits(torch.randn(128, GROUP.order, 6, generator=torch.Generator().manual_seed(0)), GROUP)


@pytest.mark.parametrize("activation", ["relu", "topk", "batchtopk"])
def test_a_step_reads_nothing_back_and_gives_the_numbers_of_the_cpu(device, activation):
    def run(steps):
        there = ShardedCrosscoder(coder(activation), Processes(World(0, 1, torch.device(DEVICE)), GROUP.order))
        device.reads.clear()
        rows = train_sharded(there, orbits(), steps=steps, batch_size=32, log_every=1000, progress=False)
        return rows, device.reads.total()

    (_, few), (rows, many) = run(10), run(60)
    assert (many - few) / 50 <= 0.1, device.reads
    alone = train(coder(activation), orbits(), steps=60, batch_size=32, log_every=1000, progress=False)
    assert rows[-1]["loss"] == pytest.approx(alone[-1]["loss"], rel=1e-4)
