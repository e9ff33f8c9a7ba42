"""Geometry: the numbers of known networks, laws, a brute-force oracle, and an impulse test that can fail."""

import logging
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from groupcc_lite.models.geometry import Geometry, check_geometry, derive_geometry, measure_geometry
from groupcc_lite.models.networks import randomise
from groupcc_lite.models.zoo import load_model, wrap_model

KNOWN = {  # name: (stride, first centre, receptive field, grid, offset of the grid's middle)
    "tiny-inception": (4, 0.0, 59, 24, -1.5),
    "googlenet": (8, 6.0, 91, 28, 2.5),
    "inceptionv1": (8, 7.0, 91, 28, 3.5),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_networks(name):
    geometry = load_model(name, weights="random").geometry
    found = (geometry.stride, geometry.first, geometry.receptive_field, geometry.grid, geometry.centre_offset)
    assert found == KNOWN[name]


@given(st.sampled_from([1, 2, 4, 8]), st.floats(-4, 12), st.floats(-100, 100), st.floats(-100, 100))
def test_cells_and_pixels_are_inverse(stride, first, x, y):
    geometry = Geometry(stride, first, 9, 96, 20)
    point = torch.tensor([[x, y]], dtype=torch.float64)
    assert torch.allclose(geometry.pixels(geometry.cells(point)), point)


def test_cells_of_googlenet():
    geometry = Geometry(8, 6.0, 91, 224, 28)
    assert geometry.cells(torch.tensor([114 - 111.5, 6 - 111.5])).tolist() == [13.5, 0.0]
    assert geometry.image_centre == 111.5 and geometry.max_mask_radius == 66.5 and geometry.centre_cell == 13
    assert geometry.box(13) == (110 - 45, 110 + 45) and geometry.box(0) == (0, 51)


windows = st.lists(st.tuples(st.sampled_from(["conv", "pool", "pad"]), st.integers(1, 5), st.integers(1, 2),
                             st.integers(0, 2)), min_size=1, max_size=4)


@given(windows)
def test_against_brute_force(layers):
    """With positive weights every pixel of the box moves the cell, so the gradient's extent is the truth."""
    network = nn.Sequential()
    channels = 3
    for kind, kernel, stride, padding in layers:
        if kind == "conv":
            network.append(nn.Conv2d(channels, 2, kernel, stride=stride, padding=padding))
            channels = 2
        elif kind == "pool":
            network.append(nn.AvgPool2d(kernel, stride, padding=min(padding, kernel // 2)))
        else:
            network.append(nn.ZeroPad2d((padding, stride, padding, stride)))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1.0)
    network.append(nn.Identity())
    geometry = derive_geometry(network, 120)
    cell = geometry.centre_cell
    images = torch.zeros(1, 3, 120, 120, requires_grad=True)
    network(images)[0, 0, cell, cell].backward()
    rows = images.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert (rows.min().item(), rows.max().item()) == geometry.box(cell)
    assert geometry.first + geometry.stride * cell == (rows.min() + rows.max()).item() / 2


class Pooled(nn.Module):
    """Written with functions instead of layers, with TensorFlow's uneven padding and two branches."""

    def forward(self, x):
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, stride=2)
        return torch.cat([F.relu(x), F.max_pool2d(x, (3, 3), (1, 1), 1)], 1) * 0.5


def test_functions_and_branches():
    geometry = derive_geometry(Pooled(), 32)
    assert (geometry.stride, geometry.first, geometry.receptive_field, geometry.grid) == (2, 1.0, 7, 16)
    check_geometry(Pooled(), geometry)


def test_ceil_mode_adds_a_cell():
    floor, ceil = (derive_geometry(nn.MaxPool2d(3, 2, ceil_mode=mode), 32) for mode in (False, True))
    assert (floor.grid, ceil.grid) == (15, 16) and floor.first == ceil.first == 1.0


class PaddedConv(nn.Conv2d):
    """TensorFlow's convolution: the padding is a module of its own, inside the convolution."""

    def __init__(self, channels, out_channels, kernel, stride, pad):
        super().__init__(channels, out_channels, kernel, stride)
        self.static_padding = pad

    def forward(self, x):
        return F.conv2d(self.static_padding(x), self.weight, self.bias, self.stride, self.padding, self.dilation)


class Same(nn.Conv2d):
    """The same, with a padding that follows the size of the image."""

    def forward(self, x):
        missing = [max((-(-side // 2) - 1) * 2 + self.kernel_size[0] - side, 0) for side in x.shape[2:]]
        return super().forward(F.pad(x, (missing[1] // 2, missing[1] - missing[1] // 2,
                                         missing[0] // 2, missing[0] - missing[0] // 2)))


PADS = [nn.ZeroPad2d((0, 1, 0, 1)), nn.ConstantPad2d((1, 2, 1, 2), 0.5), nn.ReflectionPad2d((2, 1, 2, 1)),
        nn.ReplicationPad2d(1), nn.CircularPad2d((0, 1, 0, 1)), nn.ZeroPad2d(-1)]


@pytest.mark.parametrize("pad", PADS, ids=str)
def test_padding_by_a_submodule_is_seen_inside_and_outside_of_a_layer(pad):
    inside = randomise(nn.Sequential(PaddedConv(3, 4, 3, 2, pad), nn.ReLU(), PaddedConv(4, 4, 3, 1, pad)))
    outside = randomise(nn.Sequential(pad, nn.Conv2d(3, 4, 3, 2), nn.ReLU(), pad, nn.Conv2d(4, 4, 3)))
    geometry = derive_geometry(inside, 48)
    assert geometry == derive_geometry(outside, 48) == measure_geometry(outside, 48)
    check_geometry(inside, geometry)
    left = pad.padding[0]
    assert geometry.first == 3 - left - 2 * left
    with pytest.raises(ValueError, match="impulse test failed"):  # negative control: padding taken for nothing
        check_geometry(inside, replace(geometry, first=3.0 if left else 4.0))


@pytest.mark.parametrize("settings", [
    dict(padding="same"), dict(padding="same", dilation=2), dict(padding="valid", stride=2),
    dict(padding=2, padding_mode="reflect"), dict(padding=1, padding_mode="circular")], ids=str)
@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_convolutions_that_pad_in_other_ways(kernel, settings):
    network = randomise(nn.Sequential(nn.Conv2d(3, 4, kernel, **settings), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    geometry = derive_geometry(network, 40)
    check_geometry(network, geometry)
    assert geometry == measure_geometry(network, 40)


def test_a_padding_that_follows_the_image_is_measured():
    network = randomise(nn.Sequential(Same(3, 4, 5, 2), nn.ReLU(), Same(4, 4, 3, 2)))
    with pytest.raises(ValueError, match=r"cannot say which pixels .* \(Same\)"):
        derive_geometry(network, 48)
    fixed = nn.Sequential(PaddedConv(3, 4, 5, 2, nn.ZeroPad2d((1, 2, 1, 2))), nn.ReLU(),
                          PaddedConv(4, 4, 3, 2, nn.ZeroPad2d((0, 1, 0, 1))))
    assert wrap_model(network, "2", input_size=48).geometry == derive_geometry(fixed, 48)


class Shifting(nn.GELU):
    """Called pointwise by its class, but it is not."""

    def forward(self, x):
        return super().forward(x.roll((2, 2), (2, 3)))


def test_where_derived_and_measured_disagree_the_measured_one_is_taken(caplog):
    network = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), Shifting()))
    with pytest.raises(ValueError, match="impulse test failed"):
        check_geometry(network, derive_geometry(network, 32))
    with caplog.at_level(logging.WARNING):
        found = wrap_model(network, "1", input_size=32).geometry
    assert found == replace(derive_geometry(network, 32), first=-1.0)
    assert "impulse test failed" in caplog.text and "Measured, and used" in caplog.text


class Everywhere(nn.GELU):
    def forward(self, x):
        return super().forward(x) * x.mean((2, 3), keepdim=True)


def test_where_neither_holds_both_reasons_are_given():
    network = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), Everywhere()))
    with pytest.raises(ValueError, match="impulse test failed.*Measured: two neighbouring cells"):
        wrap_model(network, "1", input_size=32)


@pytest.mark.parametrize("bias", [-1e6, -math.inf])
def test_a_dead_layer_is_said_in_one_sentence(bias):
    """It was called a network that the geometry does not describe, with pixels 32..-1 that move the cell."""
    network = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()))
    wrap_model(network, "3", input_size=32)
    with torch.no_grad():
        network[2].bias.fill_(bias)
    with pytest.raises(ValueError, match="^the layer is dead: no pixel of 24 images of noise moves its central cell"):
        wrap_model(network, "3", input_size=32)


GEOMETRIES = [Geometry(4, 0.0, 59, 96, 24), Geometry(8, 6.0, 91, 224, 28), Geometry(1, 0.0, 5, 20, 20),
              Geometry(2, -0.5, 8, 33, 17), Geometry(3, 1.0, 40, 41, 13), Geometry(4, 0.0, 120, 96, 24)]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_how_far_reads_reach_beyond_the_image_against_counting(geometry):
    """Every read of a fine sweep along one axis: which cells have a weight, and how far they look."""
    radius, half = max(geometry.max_mask_radius, 0), (geometry.receptive_field - 1) / 2
    sweep = torch.linspace(-radius, radius, 20_001, dtype=torch.float64)
    cell = geometry.cells(torch.stack([sweep, sweep], -1))[:, 0]
    worst = 0.0
    for k in range(geometry.grid):
        if ((cell - k).abs() < 1 - 1e-9).any():
            centre = geometry.first + geometry.stride * k
            worst = max(worst, half - centre, centre + half - (geometry.input_size - 1))
    assert geometry.read_reach == worst < geometry.stride + 2 * max(-geometry.max_mask_radius, 0)


def test_reads_of_the_built_in_network_and_of_googlenet_reach_two_and_seven_pixels_out():
    assert [geometry.read_reach for geometry in GEOMETRIES[:3]] == [2.0, 7.0, 0.0]


@pytest.mark.parametrize("module, word", [
    (nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(4)), "AdaptiveAvgPool2d"),
    (nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()), "Flatten"),
    (nn.Sequential(nn.ConvTranspose2d(3, 2, 3)), "ConvTranspose2d"),
    (nn.Sequential(nn.Upsample(scale_factor=2)), "Upsample"),
    (nn.Sequential(nn.Conv2d(3, 2, (3, 5))), "square"),
])
def test_no_place_in_the_image(module, word):
    with pytest.raises(ValueError, match=word):
        derive_geometry(module, 32)


@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, 1), (5, 2, 0), (4, 3, 2)])
def test_measured_equals_derived(kernel, stride, padding):
    network = randomise(nn.Sequential(nn.Conv2d(3, 4, kernel, stride, padding), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1)))
    assert measure_geometry(network, 48) == derive_geometry(network, 48)


class Excited(nn.Module):
    """Every cell is scaled by something that depends on the whole image."""

    def forward(self, x):
        return x * F.adaptive_avg_pool2d(x, 1)


def test_what_sees_the_whole_image_cannot_be_measured():
    with pytest.raises(ValueError, match="no grid of receptive fields"):
        measure_geometry(Excited(), 32)
    with pytest.raises(ValueError, match="adaptive_avg_pool2d"):
        derive_geometry(Excited(), 32)


class Mismatch(nn.Module):
    def forward(self, x):
        return torch.cat([F.max_pool2d(x, 2), x], 1)


def test_branches_must_step_alike():
    with pytest.raises(ValueError, match="strides"):
        derive_geometry(Mismatch(), 32)


@pytest.mark.parametrize("change", [{"first": 2.0}, {"first": -2.0}, {"receptive_field": 57},
                                    {"receptive_field": 61}, {"stride": 3}])
def test_impulse_test_notices_wrong_geometry(change):
    model = load_model("tiny-inception", weights="random")
    check_geometry(model.network, model.geometry)
    with pytest.raises(ValueError, match="impulse test failed"):
        check_geometry(model.network, replace(model.geometry, **change))


@pytest.mark.parametrize("network, size", [
    (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 8, 2, 2)), 32),
    (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(8, 8, 2, 2)), 32),
    (nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Upsample(scale_factor=2)), 48)])
def test_a_layer_after_upsampling_is_refused(network, size):
    """Neighbouring cells share windows, so the two in the middle alone look like a coarser grid, at wrong places."""
    with pytest.raises(ValueError, match="as after upsampling; choose a layer before it|no grid of receptive fields"):
        measure_geometry(network, size)
    with pytest.raises(ValueError, match="Measured: .*upsampling|choose an input_size"):
        wrap_model(network, "1" if len(network) == 2 else "3", input_size=size)


def test_a_measured_geometry_is_said_to_be_measured(caplog):
    class Odd(nn.Module):
        def forward(self, x):
            return x.flip(-1).flip(-1)

    with caplog.at_level(logging.INFO, logger="groupcc_lite"):
        model = wrap_model(nn.Sequential(nn.Conv2d(3, 4, 3), Odd()), "1", input_size=24)
    assert model.geometry == Geometry(1, 1.0, 3, 24, 22)
    assert "Measured instead of derived" in caplog.text
