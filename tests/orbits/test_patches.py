"""Patch-centred orbits: one receptive field, turned about its own middle, with nothing read between cells."""

import numpy as np
import pytest
import torch
from small import noise_images, small_model
from torch import nn

from groupcc_lite.actions import ColourAction, PlanarAction, product_action
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import load_model, patch_model, wrap_model
from groupcc_lite.orbits import IdentityBlocks, OrbitStore, OrbitStream, mask_points, sample_orbits
from groupcc_lite.orbits.patches import crop_for, patch_blocks
from groupcc_lite.stimuli import TensorImages

SETTINGS = dict(points_per_image=3, mask_radius=7.0, registration="patch-centred")


def both(model, action, images, **changes):
    settings = dict(points_per_image=4, seed=1) | changes
    return (sample_orbits(model, action, images, registration=name, **settings)
            for name in ("image-centre", "patch-centred"))


@pytest.mark.parametrize("more", [(0, 9), (10, 0), (7, 4)])
def test_of_images_that_are_not_square_the_middle_is_taken(more):
    """As for views of whole images, and to the last bit what the square in the middle alone gives."""
    model, action = small_model(), PlanarAction(dihedral(4))
    side = action.source_size(model.input_size)
    high, wide = (side + some for some in more)
    images = noise_images(2, max(high, wide))[..., :high, :wide]
    whole, patch = both(model, action, images)
    torch.testing.assert_close(patch.blocks[:, 0], whole.blocks[:, 0], atol=1e-4, rtol=1e-4)
    square = side + (min(more) // 2) * 2
    top, left = (high - square) // 2, (wide - square) // 2
    alone = list(both(model, action, images[..., top:top + square, left:left + square]))[1]
    assert torch.equal(patch.blocks, alone.blocks) and torch.equal(patch.points, alone.points)


class Dense(nn.Module):
    """Stride 1, so that quarter turns take cells to cells and both ways must agree without interpolation."""

    def __init__(self):
        super().__init__()
        self.first, self.features = nn.Conv2d(3, 5, 5, padding=2), nn.Conv2d(5, 4, 3, padding=1)

    def forward(self, x):
        return self.features(self.first(x).relu()).relu()


@pytest.mark.parametrize("name", ["tiny-inception", "small", "patches", "small, even"])
def test_a_cell_of_the_crop_answers_as_a_cell_of_the_image(name):
    """The identity's block is what the whole image gives there, whatever parity sizes and fields have."""
    models = {"small": small_model, "small, even": lambda: small_model(input_size=33),
              "tiny-inception": lambda: load_model("tiny-inception"),
              "patches": lambda: patch_model(load_model("tiny-inception"))}
    model, action = models[name](), PlanarAction(dihedral(8))
    side = action.source_size(model.input_size)
    for size in (side, side + 1):
        images = noise_images(2, size)
        whole, patch = both(model, action, images)
        assert torch.equal(whole.points, patch.points) and torch.equal(whole.image, patch.image)
        torch.testing.assert_close(patch.blocks[:, 0], whole.blocks[:, 0], atol=1e-4, rtol=1e-4)
        assert (patch.blocks[:, 1] - whole.blocks[:, 1]).abs().max() > 1e-2


def test_the_crop_is_the_smallest_that_holds_a_receptive_field():
    model = load_model("tiny-inception", weights="random")
    crop, geometry = crop_for(model), model.geometry
    assert (crop.cell, crop.low, crop.field) == (8, 3, geometry.receptive_field)
    assert geometry.first + geometry.stride * crop.cell == crop.low + (crop.field - 1) / 2
    assert crop.size == crop.low + crop.field
    assert crop_for(model).model is crop.model  # derived once


def test_what_the_cell_does_not_see_plays_no_part():
    model = load_model("tiny-inception", weights="random")
    crop = crop_for(model)
    windows = torch.rand(2, 3, crop.field, crop.field)
    images = torch.rand(2, 3, crop.size, crop.size)
    images[..., crop.low:crop.low + crop.field, crop.low:crop.low + crop.field] = windows
    with torch.no_grad():
        around = crop.model(images)[:, :, crop.cell, crop.cell]
        moved = crop.model(images.roll(1, 3))[:, :, crop.cell, crop.cell]
    torch.testing.assert_close(crop.read(windows), around)
    assert (moved - around).abs().max() > 1e-3


def test_without_interpolation_both_ways_agree():
    torch.manual_seed(0)
    model, action = wrap_model(Dense(), "features", input_size=21), PlanarAction(dihedral(4))
    assert model.geometry.centre_offset == 0
    whole, patch = both(model, action, noise_images(3, 21), points_per_image=6)
    torch.testing.assert_close(patch.blocks, whole.blocks, atol=1e-5, rtol=1e-4)


def test_resampled_elements_agree_where_the_point_is_the_middle():
    """Turned about the image's middle or about the point is then the same thing."""
    torch.manual_seed(0)
    model, action = wrap_model(Dense(), "features", input_size=21), PlanarAction(dihedral(6))
    images = noise_images(2, action.source_size(21) + 1)
    whole, patch = both(model, action, images, points_per_image=1, mask_radius=0.5)
    assert (whole.points == 0).all()
    torch.testing.assert_close(patch.blocks, whole.blocks, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("group", [dihedral(4), dihedral(16), cyclic(12)], ids=str)
def test_orbit_vectors_of_a_transformed_image_are_the_transformed_orbit_vectors(group):
    """x of (h I, h p) is h . x for the elements h that move pixels to pixels, though the grid lies off the centre."""
    model, action = small_model(), PlanarAction(group)
    assert model.geometry.centre_offset != 0
    side = action.source_size(model.input_size)
    images, points = noise_images(2, side), mask_points(model.geometry, 8.0)[2:5].expand(2, -1, -1)
    everything = range(group.order)
    x = patch_blocks(model, action, images, points, everything)
    for h in np.flatnonzero(action.exact):
        (turned,) = PlanarAction(group).images(images, size=side, elements=[h]) if action.exact.all() else [
            exactly(images, action.matrices[h])]
        moved = patch_blocks(model, action, turned, action.points(points, elements=[h])[0], everything)
        torch.testing.assert_close(moved, x[:, torch.tensor(group.regular[h])], atol=1e-5, rtol=1e-4)
        if h:
            assert (moved - x).abs().max() > 0.05


def exactly(images, matrix):
    """A whole square image, corners and all, under a signed permutation matrix."""
    size = images.shape[-1]
    axis = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    read = torch.stack([x, y], -1).double() @ torch.tensor(matrix)
    column, row = (read + (size - 1) / 2).round().long().unbind(-1)
    return images[..., row, column]


def test_every_element_interpolates_once_and_exact_ones_never(monkeypatch):
    from groupcc_lite.actions import planar

    calls, resample = [], planar._resample
    monkeypatch.setattr(planar, "_resample", lambda *a: calls.append(len(a[1])) or resample(*a))
    model, action = small_model(), PlanarAction(dihedral(16))
    images = noise_images(1, action.source_size(model.input_size))
    sample_orbits(model, action, images, points_per_image=2, registration="patch-centred")
    assert calls == [3]  # two points go together; 4 cosets, one of which is the exact elements' own
    calls.clear()
    sample_orbits(model, PlanarAction(dihedral(4)), images, points_per_image=2, registration="patch-centred")
    assert not calls


def test_colours_move_no_point_and_products_move_the_plane():
    model, hue = small_model(), ColourAction(cyclic(3))
    images = noise_images(2, model.input_size)
    whole, patch = both(model, hue, images)
    torch.testing.assert_close(patch.blocks, whole.blocks, atol=1e-5, rtol=1e-4)
    turns = PlanarAction(cyclic(4))
    mixed = sample_orbits(model, product_action(turns, hue), images, points_per_image=4, seed=1,
                          registration="patch-centred").blocks.unflatten(1, (4, 3))
    torch.testing.assert_close(mixed[:, 0], patch.blocks)
    plain = sample_orbits(model, turns, images, points_per_image=4, seed=1, registration="patch-centred")
    torch.testing.assert_close(mixed[:, :, 0], plain.blocks)


def test_some_elements_alone_and_points_of_a_batch_give_the_same_blocks():
    model, action = small_model(), PlanarAction(dihedral(6))
    images = noise_images(4, action.source_size(model.input_size))
    _, whole = both(model, action, images)
    some = sample_orbits(model, action, images, points_per_image=4, seed=1, registration="patch-centred",
                         elements=slice(3, 9, 2))
    torch.testing.assert_close(some.blocks, whole.blocks[:, 3:9:2])
    alone = sample_orbits(model, action, images[2:3], points_per_image=4, seed=1, registration="patch-centred",
                          indices=[2])
    torch.testing.assert_close(alone.blocks, whole.blocks[8:12])


def test_stores_and_streams_are_patch_centred_too(tmp_path):
    model, action = small_model(), PlanarAction(dihedral(4))
    images = TensorImages(noise_images(5, action.source_size(model.input_size)))
    store = OrbitStore.make(tmp_path / "s", model, action, images, images_per_shard=2, progress=False, **SETTINGS)
    rows = torch.cat(list(store.in_order()))
    expected = sample_orbits(model, action, images.load(range(5)), **SETTINGS)
    torch.testing.assert_close(rows, expected.blocks, atol=2e-3, rtol=2e-3)
    (tmp_path / "s" / "00001.npy").unlink()
    again = OrbitStore.make(tmp_path / "s", model, action, images, images_per_shard=2, progress=False, **SETTINGS)
    assert torch.equal(torch.cat(list(again.in_order())), rows)
    with pytest.raises(ValueError, match="registration"):
        OrbitStore.make(tmp_path / "s", model, action, images, images_per_shard=2, progress=False,
                        **SETTINGS | dict(registration="image-centre"))
    stream = OrbitStream(model, action, images, buffer=15, images_per_step=2, **SETTINGS)
    nearest = torch.cdist(torch.cat(list(stream.batches(5))).flatten(1), rows.flatten(1)).min(1)
    assert sorted(nearest.indices.tolist()) == list(range(15)) and nearest.values.max() < 0.01
    whole, rest = (list(stream.batches(5, seed=4, start=start)) for start in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(whole[1:], rest, strict=True))
    plain = next(IdentityBlocks(stream).batches(5, seed=4))
    torch.testing.assert_close(plain, whole[0][:, :1])
    other = OrbitStream(model, action, images, buffer=15, images_per_step=2,
                        **SETTINGS | dict(registration="image-centre"))
    assert stream.fingerprint != other.fingerprint


def test_a_layer_without_a_local_receptive_field_is_refused():
    wide = wrap_model(nn.Sequential(nn.Conv2d(3, 4, 31, padding=15), nn.Conv2d(4, 4, 3, padding=1)), "1",
                      input_size=32)
    images = noise_images(1, 48)
    with pytest.raises(ValueError, match="a cell sees 33 px of 32.*earlier layer.*image-centre"):
        sample_orbits(wide, PlanarAction(cyclic(8)), images, registration="patch-centred", mask_radius=2.0)


def test_a_layer_that_sees_more_than_it_says_is_refused(monkeypatch):
    """Here every cell is changed by the mean of the whole image."""
    model = small_model()
    monkeypatch.setattr(type(model), "forward", lambda self, x, **_: self.network(x) + x.mean())
    with pytest.raises(ValueError, match="answers otherwise when it is shown the 7 px"):
        crop_for(model)


def test_bad_points_and_masks_are_explained():
    model, action = small_model(), PlanarAction(dihedral(16))
    images = noise_images(1, action.source_size(model.input_size))
    on_a_cell = mask_points(model.geometry, 8.0)[:1].view(1, 1, 2)
    with pytest.raises(ValueError, match="expected centres of cells"):
        patch_blocks(model, action, images, on_a_cell + 0.3, [0])
    with pytest.raises(ValueError, match="windows of 11 px around the points reach out of source images of 48 px"):
        patch_blocks(model, action, images, on_a_cell + 24, [0])
    with pytest.raises(ValueError, match="registration is 'patch'; expected one of image-centre, grid-centre, patch"):
        sample_orbits(model, action, images, registration="patch")
    with pytest.raises(ValueError, match="values"):
        sample_orbits(model, action, images * torch.nan, registration="patch-centred")
