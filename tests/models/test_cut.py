"""The cut against a forward hook: layers that compute more than they give out, and graphs that are misread."""

import pytest
import torch
from torch import nn

from groupcc_lite.models.base import BaseModel
from groupcc_lite.models.cut import joined, truncate
from groupcc_lite.models.zoo import wrap_model

IMAGES = torch.rand(2, 3, 14, 14, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A convolution and a ReLU; subclasses compute something after that."""

    def __init__(self, channels: int = 4):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.side = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 2, 1)

    def forward(self, x):
        return self.after(self.conv(x).relu())

    def after(self, y):
        return y


class Auxiliary(Block):
    """A branch that only training needs, and that nobody reads here."""

    def after(self, y):
        self.side(y)
        return y


class Statistic(Block):
    """A cached mean of its output."""

    def after(self, y):
        self.mean = y.mean((0, 2, 3))
        return y


class DeadCode(Block):
    """A leftover."""

    def after(self, y):
        y * 2 + 1
        return y


def network(block: type[Block]) -> nn.Sequential:
    return nn.Sequential(block(), nn.Conv2d(4, 5, 3), nn.Flatten())


@pytest.mark.parametrize("block", [Block, Auxiliary, Statistic, DeadCode])
def test_the_cut_is_where_the_layer_ends_and_not_where_it_stops_computing(block):
    module, seen = network(block).eval(), []
    module[0].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        module(IMAGES)
        assert torch.equal(truncate(module, "0", input_size=14)(IMAGES), seen[0])
        assert torch.allclose(wrap_model(module, "0", input_size=14)(IMAGES), seen[0], atol=1e-6)
    names = {name for name, _ in truncate(module, "0", input_size=14).named_modules()}
    assert "0.conv" in names and not names & {"0.side", "1"}


class Raised(Block):
    """Changes its output in place, by an operation whose result nobody reads."""

    def after(self, y):
        y.add_(1)
        return y


class Second(Block):
    """A graph cannot hold which call this is."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def after(self, y):
        self.calls += 1
        return y * self.calls


@pytest.mark.parametrize("block, message", [
    (Raised, "cut after '0' differs from the layer itself by up to 1"), (Second, "cut after '0' differs")])
def test_a_graph_that_was_misread_is_an_error(block, message):
    with pytest.raises(ValueError, match=message):
        wrap_model(network(block), "0", input_size=14)


class Both(Block):
    def after(self, y):
        return y, self.side(y)


class First(nn.Module):
    def forward(self, x):
        return x[0]


def test_a_layer_that_gives_several_tensors_is_named():
    module = nn.Sequential(Both(), First(), nn.ReLU())
    with pytest.raises(ValueError, match="layer '0' gives a tuple; expected one tensor"):
        truncate(module, "0", input_size=14)
    assert truncate(module, "0.side", input_size=14)(IMAGES).shape == (2, 2, 14, 14)


class Twice(nn.Module):
    """One layer at two places; the ReLU after it changes what it gave out in place."""

    def __init__(self):
        super().__init__()
        self.block, self.relu = Block(3), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.block(self.relu(self.block(x) - 0.1)) - 0.1)


def test_of_a_layer_that_is_called_twice_the_last_output_counts():
    module, seen = Twice().eval(), []
    module.block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        module(IMAGES)
        found = truncate(module, "block", input_size=14)(IMAGES)
    assert torch.equal(found, seen[1]) and not torch.equal(found, seen[0])


def test_only_what_leads_to_the_layer_has_to_run():
    """A classifier for another image size, and one without weights yet, lie beyond the cut."""
    module = nn.Sequential(Block(), nn.Flatten(), nn.Linear(7, 2))
    assert isinstance(wrap_model(module, "0", input_size=14), BaseModel)
    with pytest.raises(ValueError, match=r"Sequential does not run on images of shape \(1, 3, 14, 14\)"):
        truncate(module, "2", input_size=14)
    with pytest.raises(ValueError, match=r"does not run on images of shape \(1, 3, 14, 14\).*1 channels|does not run"):
        truncate(nn.Sequential(nn.Conv2d(1, 4, 3)), "0", input_size=14)


def test_operations_have_names_too_and_layers_come_first():
    module = network(Block)
    assert torch.equal(truncate(module, "relu", input_size=14)(IMAGES), truncate(module, "0", input_size=14)(IMAGES))


class _InPlace(nn.Module):
    """Its second layer changes what the first has given."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.second(self.first(x))


@pytest.mark.parametrize("second", [nn.ReLU(inplace=True), nn.Hardtanh(-0.1, 0.1, inplace=True), nn.ReLU()], ids=str)
@pytest.mark.parametrize("scale", [1e-7, 1.0, 255.0])
def test_joined_cuts_give_what_each_gives_alone_whatever_comes_after(second, scale):
    """Also where an operation in place changes nothing for the images that they were compared on."""
    module = _InPlace()
    module.second = second
    with torch.no_grad():
        module.first.bias += 10.0  # so that the comparison's outputs are positive, and not clipped
    cuts = [truncate(module, layer, input_size=16) for layer in ("first", "second")]
    both = joined(cuts, torch.zeros(1, 3, 16, 16))
    images = scale * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 20 * scale
    assert all(torch.equal(one, cut(images)) for one, cut in zip(both(images), cuts, strict=True))


def test_cuts_of_different_networks_are_not_joined():
    images, module = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), _InPlace()
    cuts = [truncate(module, layer, input_size=16) for layer in ("first", "second")]
    assert joined(cuts, images) is not None
    module.second = nn.ReLU()
    other = truncate(module, "second", input_size=16)
    with torch.no_grad():
        cuts[0].first.weight += 1
    assert joined(cuts, images) is None, "other weights"
    assert joined([other, truncate(_InPlace(), "second", input_size=16)], images) is None, "other weights and settings"
    assert joined([nn.Identity()], images) is None
