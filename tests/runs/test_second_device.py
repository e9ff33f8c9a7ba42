"""Runs and studies on a second device: nothing is mixed with tensors of the CPU, and results are those of the CPU."""

import pytest
import torch
from fake_device import DEVICE, FakeDevice
from small_scenes import TINY_SCENES

from groupcc_lite.answers import METHODS, Budget, plant
from groupcc_lite.answers.trials import train_method
from groupcc_lite.groups import dihedral
from groupcc_lite.runs.scene_run import METHODS as WAYS_TO_M
from groupcc_lite.runs.scene_run import SceneRun

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


def test_m_by_every_method_turns_activations_there(tmp_path):
    """Once the exercise of chapter 7 stopped on every GPU: M by least squares lay on the CPU."""
    expected = SceneRun(TINY_SCENES, work=tmp_path).transform("mlp", "least squares")
    with FakeDevice():
        study = SceneRun(TINY_SCENES, work=tmp_path, device=str(DEVICE))
        x = study.activations("mlp", "held-out").to(DEVICE)[:8, 0]
        for method in WAYS_TO_M:
            if method not in ("adam, projected", "procrustes, projected"):  # after 3 steps there is no representation
                turned = study.transform("mlp", method)(x)
                assert turned.device.type == DEVICE.type and turned.shape == (8, 4, 256), method
        found = study.transform("mlp", "least squares").M.detach().cpu()
    assert torch.allclose(found, expected.M, atol=1e-4)
