"""Local equivariance error: zero for networks that are equivariant by construction, known numbers for toys, and not
zero for random ones."""

import numpy as np
import pytest
import torch
from small import noise_images, small_model
from torch import nn

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import Geometry, wrap_model
from groupcc_lite.orbits import (
    GENERATORS,
    EquivarianceError,
    equivariance_error,
    local_equivariance_error,
    mask_points,
)

SIZE = 33  # odd, so that after stride 2 cells still sit on pixels


def network(*, symmetric: bool, stride: int = 1, scale: float = 1.0) -> nn.Sequential:
    """Two convolutions; if `symmetric`, of filters that D_4 leaves alone, so that channels are maps that turn along."""
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 6, 3, stride=stride), nn.ReLU(), nn.Conv2d(6, 5, 3))
    with torch.no_grad():
        for layer in (layers[0], layers[2]):
            filters = torch.randn(layer.weight.shape, generator=generator)
            if symmetric:
                filters = PlanarAction(dihedral(4)).images(filters.double()).mean(0).float()
            layer.weight.copy_(filters)
            layer.bias.zero_()
        layers[2].weight.mul_(scale)
    return layers


def model(layers: nn.Module, size: int = SIZE, layer: str = "2"):
    return wrap_model(layers, layer, input_size=size)


def blobs(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Smooth images: noise, blurred."""
    noise = noise_images(count, size + 12, seed=seed)
    return torch.nn.functional.avg_pool2d(torch.nn.functional.avg_pool2d(noise, 7, 1), 7, 1) * 4 - 1.5


class Places(nn.Module):
    """The image, and to it times `gain` the place (x, y) itself: what a network that knows positions does."""

    def __init__(self, gain: float = 1.0):
        super().__init__()
        axis = torch.arange(SIZE, dtype=torch.float32) - (SIZE - 1) / 2
        self.register_buffer("where", gain * torch.stack(torch.meshgrid(axis, axis, indexing="xy"))[None])
        self.channels = nn.Conv2d(3, 2, 1, bias=False)
        nn.init.ones_(self.channels.weight)

    def forward(self, x):
        return self.channels(x) + self.where


class Whole(nn.Module):
    """Gives a module of one's own a name for the layer that is read."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


# ------------------------------------------------------------------------------------------------ finite groups

@pytest.mark.parametrize("group", [cyclic(4), dihedral(4)], ids=str)
def test_symmetric_filters_have_no_error_at_exact_elements(group):
    found = equivariance_error(model(network(symmetric=True)), PlanarAction(group), noise_images(4, SIZE))
    assert found.names == group.names and found.errors.shape == (group.order,)
    assert found.errors.max() < 1e-9 and found.interval[1] < 1e-9
    assert found.unfollowed[1:].min() > 0.5  # the images do change, and so do the activations where nothing follows


def test_random_filters_have_an_error():
    found = equivariance_error(model(network(symmetric=False)), PlanarAction(dihedral(4)), noise_images(4, SIZE))
    assert found.errors[0] == 0 and found.errors[1:].min() > 0.3
    assert found.intervals[1:, 0].min() > 0.2 and found.interval[0] < found.mean < found.interval[1]
    assert found.mean == pytest.approx(found.errors[1:].mean())
    assert found.pixels.max() < 1e-9  # pixels themselves go along with exact elements


def test_elements_between_pixels_have_the_error_of_interpolation():
    """Symmetric filters commute with D_4, not with eighths of a turn, and neither does interpolation."""
    action = PlanarAction(dihedral(8))
    images = blobs(4, action.source_size(SIZE))
    found = equivariance_error(model(network(symmetric=True)), action, images)
    random = equivariance_error(model(network(symmetric=False)), action, images)
    exact = np.asarray(action.exact)
    assert found.errors[exact].max() < 1e-9 < 1e-5 < found.errors[~exact].min()
    assert found.pixels[~exact].min() > 1e-5
    assert found.errors[~exact].max() < 0.1 * random.errors[~exact].min()


def test_by_hand():
    """Without an image, the place (x, y) turned by 180 degrees is (-x, -y): the error is 4 times the variance."""
    found = equivariance_error(model(Whole(Places()), layer="inner"), PlanarAction(cyclic(2)),
                               torch.full((2, 3, SIZE, SIZE), 0.5), mask_radius=12.0, points=1000)
    np.testing.assert_allclose(found.errors, [0, 4], atol=1e-6)
    assert found.unfollowed.max() == 0
    quarter = equivariance_error(model(Whole(Places()), layer="inner"), PlanarAction(cyclic(4)),
                                 torch.full((2, 3, SIZE, SIZE), 0.5), mask_radius=12.0, points=1000)
    np.testing.assert_allclose(quarter.errors, [0, 2, 4, 2], atol=1e-6)


@pytest.mark.parametrize("measure", ["finite", "small"])
def test_neither_scale_nor_shift_of_the_representation_matters(measure):
    def measured(layers):
        if measure == "finite":
            return equivariance_error(model(layers), PlanarAction(cyclic(4)), blobs(3, 41))
        return local_equivariance_error(model(layers), blobs(3, 41))

    plain, threefold = measured(network(symmetric=False)), network(symmetric=False, scale=3.0)
    nn.init.constant_(threefold[2].bias, 7.0)
    np.testing.assert_allclose(measured(threefold).errors, plain.errors, rtol=1e-4, atol=1e-9)
    assert plain.mean > 1e-4


# ------------------------------------------------------------------------------------------------- small motions

def test_the_derivative_of_places_is_known():
    """f(T_t I)(T_t p) = T_t p on a blank image: a shift has the derivative (1, 0), scale p, rotation p turned."""
    reader = model(Whole(Places()), layer="inner")
    found = local_equivariance_error(reader, torch.full((2, 3, SIZE + 6, SIZE + 6), 0.5), mask_radius=12.0, points=1000)
    p = mask_points(reader.geometry, 12.0)
    variance = p.square().sum(1).mean().item()  # about their mean, which is 0
    assert found.names == tuple(GENERATORS)
    # In units of pixels moved every one of them moves (x, y) by one pixel.
    np.testing.assert_allclose(found.errors, 1 / variance, rtol=1e-3)
    assert found.unfollowed.max() < 1e-9 and found.mean == pytest.approx(1 / variance, rel=1e-3)


def test_the_sign_and_the_unit_of_each_motion():
    """One step of each motion moves images and points alike: on a ramp the moved image, read at the moved point, is the
    image at the point."""
    axis = torch.arange(SIZE + 8, dtype=torch.float32) / (SIZE + 8)
    ramp = torch.stack([axis.expand(SIZE + 8, -1), axis[:, None].expand(-1, SIZE + 8), axis.expand(SIZE + 8, -1)])
    pixels = model(Whole(nn.Conv2d(3, 2, 1)), layer="inner")
    found = local_equivariance_error(pixels, torch.stack([ramp, ramp.flip(0)]))
    assert found.errors.max() < 1e-7 and found.unfollowed.min() > 1e-4


@pytest.mark.parametrize("relu", [False, True], ids=["linear", "ReLU"])
def test_shifts_are_followed_without_stride_and_are_not_with_it(relu):
    """A linear network without stride commutes with shifts, whatever its filters; one with a stride undersamples. With
    ReLU the interpolated image has an error of its own, which is smaller."""
    images, shifts = noise_images(6, 45), ["shift x", "shift y"]
    networks = [network(symmetric=False, stride=stride) for stride in (1, 2)]
    for each in [] if relu else networks:
        each[1] = nn.Identity()
    dense, strided = (local_equivariance_error(model(each), images, generators=shifts, mask_radius=8.0)
                      for each in networks)
    assert dense.errors.max() < (0.5 * strided.errors.min() if relu else 1e-9)
    assert strided.errors.min() > 0.05 and strided.intervals[:, 0].min() > 0.02
    assert dense.pixels.max() < 1e-9 and strided.pixels.min() > 0.01  # pixels at that stride are undersampled as well


def test_symmetric_filters_do_better_than_random_ones_under_small_rotations():
    images = blobs(6, 45)
    symmetric, random = (local_equivariance_error(model(network(symmetric=kind)), images, generators=["rotation"])
                         for kind in (True, False))
    assert symmetric.errors[0] < 0.5 * random.errors[0]
    assert symmetric.interval[1] < random.interval[0]


def test_half_the_step_gives_the_same_derivative():
    images = blobs(4, 45)
    whole, half = (local_equivariance_error(model(network(symmetric=False)), images, generators=["rotation", "scale"],
                                            step=step) for step in (1.0, 0.5))
    np.testing.assert_allclose(half.errors, whole.errors, rtol=0.1)


# ------------------------------------------------------------------------------------------------------ bad input

@pytest.mark.parametrize("change, message", [
    ({"points": 0}, "points is 0"), ({"batch_size": 0}, "batch_size is 0"),
    ({"mask_radius": -1.0}, "no cell within"), ({"generators": ["shear"]}, "shear"),
    ({"generators": []}, "generators"), ({"step": 0.0}, "step is 0"),
    ({"mask_radius": 0.5, "generators": ["rotation"]}, "does not move")])
def test_bad_settings(change, message):
    reader = model(network(symmetric=False))
    assert isinstance(reader.geometry, Geometry)
    with pytest.raises(ValueError, match=message):
        local_equivariance_error(reader, noise_images(2, 45), **change)


def test_bad_images():
    reader, action = model(network(symmetric=False)), PlanarAction(cyclic(4))
    with pytest.raises(ValueError, match="2 or more"):
        equivariance_error(reader, action, noise_images(1, SIZE))
    with pytest.raises(ValueError, match=f"sources of at least {SIZE + 2} px"):
        local_equivariance_error(reader, noise_images(2, SIZE), generators=["shift x"])
    with pytest.raises(ValueError, match="corners"):
        equivariance_error(reader, PlanarAction(cyclic(8)), noise_images(2, SIZE))
    with pytest.raises(ValueError, match="answers the same"):
        equivariance_error(reader, action, torch.full((2, 3, SIZE, SIZE), 0.5))
    with pytest.raises(ValueError, match="finite RGB"):
        equivariance_error(reader, action, 255 * noise_images(2, SIZE))


def test_results_do_not_depend_on_the_batch():
    reader, images = small_model(), noise_images(5, 64)
    one, other = (equivariance_error(reader, PlanarAction(cyclic(4)), images, mask_radius=6.0, batch_size=size)
                  for size in (1, 5))
    assert isinstance(one, EquivarianceError)
    np.testing.assert_allclose(one.errors, other.errors, rtol=1e-5)
