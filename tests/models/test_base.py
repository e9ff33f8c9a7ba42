"""A base model lives where its network lives, and waits for the device once a call."""

import dataclasses

import pytest
import torch
from fake_device import DEVICE, DeviceTensor, FakeDevice
from small import Stem
from torch import nn

from groupcc_lite.base import matrix_products
from groupcc_lite.models.base import BaseModel, read_together
from groupcc_lite.models.zoo import load_model, wrap_model

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network, layer", [(Stem, "features"), (lambda: nn.MaxPool2d(2), "max_pool2d")])
def test_a_wrapped_network_stays_on_its_device(network, layer):
    here = wrap_model(nn.Sequential(network()), "0", input_size=32, mean=(0.5,) * 3)
    with FakeDevice():
        there = wrap_model(nn.Sequential(network()).to(DEVICE), "0", input_size=32, mean=(0.5,) * 3).to(DEVICE)
        assert there.device == DEVICE and there.geometry == here.geometry and there.fingerprint == here.fingerprint
        assert all(isinstance(tensor, DeviceTensor) for tensor in (*there.parameters(), *there.buffers()))
        for found in (there(IMAGES.to(DEVICE)), there.at_size(16)(IMAGES[..., :16, :16].to(DEVICE))):
            assert found.device == DEVICE
        torch.testing.assert_close(there(IMAGES.to(DEVICE)).cpu(), here(IMAGES))
        with pytest.raises(RuntimeError, match="same device"):  # negative control: images that were not moved
            there(IMAGES)


def test_buffers_follow_the_network_and_not_the_cpu():
    with FakeDevice():
        assert wrap_model(Stem().to(DEVICE), "features", input_size=32).device == DEVICE
        assert wrap_model(Stem(), "features", input_size=32).device == torch.device("cpu")
        assert load_model(weights="random", device=DEVICE).device == DEVICE


def test_a_call_waits_for_the_device_once():
    with FakeDevice() as device:
        model, images = wrap_model(Stem().to(DEVICE), "features", input_size=32), IMAGES.to(DEVICE)
        device.reads.clear()
        model(images)
        assert sum(device.reads.values()) == 1
        with pytest.raises(ValueError, match="from 0.* to nan|from nan to nan|expected finite RGB"):
            model(images * float("nan"))


def test_pictures_have_the_networks_own_size_where_it_takes_no_other():
    from torch import nn

    from groupcc_lite.models import load_model, wrap_model

    assert load_model().usable_size(48) == 48

    class Fixed(nn.Module):
        """Adds a learned position to every cell, so that it takes images of one size only."""

        def __init__(self):
            super().__init__()
            self.conv, self.position = nn.Conv2d(3, 4, 4, stride=4), nn.Parameter(torch.zeros(1, 4, 8, 8))
            self.out = nn.ReLU()

        def forward(self, x):
            return self.out(self.conv(x) + self.position)

    assert wrap_model(Fixed(), "out", input_size=32).usable_size(48) == 32


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["grey", "BGR", "in place", "hook"])
def test_layers_read_together_are_those_read_alone(kind, amp, monkeypatch):
    channels = 1 if kind == "grey" else 3
    network = torch.nn.Sequential(torch.nn.Conv2d(channels, 6, 5, padding=2), torch.nn.ReLU(inplace=kind == "in place"),
                                  torch.nn.Conv2d(6, 4, 3, stride=2, padding=1))
    way = "hook" if kind == "hook" else "auto"
    models = [wrap_model(network, layer, input_size=32, channels=channels, way=way) for layer in ("0", "1", "2")]
    if kind == "BGR":
        for model in models:
            model.preprocess = dataclasses.replace(model.preprocess, channels="BGR")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    read = read_together(models)
    with matrix_products(torch.device("cpu"), amp):
        alone = [model(images) for model in models]
        with monkeypatch.context() as patch:
            patch.setattr(BaseModel, "forward", None)  # nobody runs a model by itself
            together = read(images)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_models_of_another_precision_run_by_themselves():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 5, padding=2), torch.nn.ReLU())
    models = [wrap_model(network, "0", input_size=32), wrap_model(network, "1", input_size=32)]
    models[1].double()
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for one, other in zip(read_together(models)(images), [model(images) for model in models], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_cut_and_a_hook_and_hooks_of_other_weights_run_by_themselves():
    network, images = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()), torch.rand(1, 3, 16, 16)
    first = wrap_model(network, "0", input_size=16, way="hook")
    with torch.no_grad():
        network[0].weight += 1
    for way in ("cut", "hook"):
        second = wrap_model(network, "1", input_size=16, way=way)
        for one, model in zip(read_together([first, second])(images), (first, second), strict=True):
            torch.testing.assert_close(one, model(images), rtol=0, atol=0)
