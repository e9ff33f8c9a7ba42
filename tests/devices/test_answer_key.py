"""The answer key on a second device: nothing is mixed with tensors of the CPU, and results are those of the CPU."""

import pytest
import torch
from fake_device import DEVICE, FakeDevice

from groupcc_lite.answers import METHODS, Budget, plant
from groupcc_lite.answers.trials import train_method
from groupcc_lite.groups import dihedral

SMALL = Budget(orbits=400, held_out=100, steps=4, batch_size=64)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_answer_key_trains_there(method):
    problem = plant(dihedral(2), channels=12, superposition=1.0, active=2.0)
    expected = train_method(method, problem, SMALL, 0, device="cpu").dictionary
    with FakeDevice():
        coder = train_method(method, problem, SMALL, 0, device=str(DEVICE))
        assert coder.device.type == DEVICE.type
        found = coder.dictionary.detach().cpu()
    assert torch.allclose(found, expected, atol=1e-5)
