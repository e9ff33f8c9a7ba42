"""bfloat16 products where the processor has them, and nowhere else."""

import pytest
import torch

from groupcc_lite.base.precision import default_device, has_bfloat16, matrix_products, needs_float16

CPU = torch.device("cpu")


@pytest.mark.parametrize("amp, dtype", [(True, torch.bfloat16), (False, torch.float32)])
def test_products_have_the_precision_asked_for(amp, dtype):
    a = torch.ones(2, 2)
    with matrix_products(CPU, amp):
        assert (a @ a).dtype == dtype
    assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize("capability, has", [((7, 5), False), ((8, 0), True), ((8, 9), True), ((9, 0), True)])
def test_a_gpu_without_bfloat16_computes_in_float32(monkeypatch, capability, has):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert has_bfloat16(torch.device("cuda")) is has


def test_only_cuda_is_asked_for_its_capability(monkeypatch):
    def refuse(device):
        raise AssertionError("asked")

    monkeypatch.setattr(torch.cuda, "get_device_capability", refuse)
    assert has_bfloat16(CPU)
    with pytest.raises(AssertionError, match="asked"):
        monkeypatch.setattr(torch.version, "hip", None)
        has_bfloat16(torch.device("cuda"))


@pytest.mark.parametrize("capability, needs", [((6, 1), False), ((7, 0), True), ((7, 5), True), ((8, 0), False),
                                               ((9, 0), False)])
def test_float16_is_for_gpus_that_have_it_and_no_bfloat16(monkeypatch, capability, needs):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert needs_float16(torch.device("cuda")) is needs and needs_float16(CPU) is False
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert needs_float16(torch.device("cuda")) is False


@pytest.mark.parametrize("amp, dtype", [(True, torch.float16), (False, torch.float32)])
def test_float16_for_those_who_ask(amp, dtype):
    a = torch.ones(2, 2)
    with matrix_products(CPU, amp, float16=True):
        assert (a @ a).dtype == dtype


@pytest.mark.parametrize("gpus, asked", [(0, "foo"), (0, "cuda"), (0, "cuda:0"), (1, "foo"), (1, "cuda:1"), (2, "cud")])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch, gpus, asked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    there = ", ".join(["cpu", *(["cuda"] if gpus else []), *(f"cuda:{number}" for number in range(gpus))])
    with pytest.raises(ValueError, match=f"device is '{asked}', which is not here; expected one of {there}"):
        default_device(asked)
    for good in there.split(", "):
        assert default_device(good) == default_device(torch.device(good)) == good
    assert default_device() == ("cuda" if gpus else "cpu")
