import logging

import numpy as np
import pytest
import torch
from image_files import write_photo
from PIL import Image

from groupcc_lite.stimuli.images import DrawingSource, PhotoFolder, TensorImages, image_source


def test_a_photo_of_the_right_size_is_cropped_and_not_resampled(tmp_path):
    pixels = write_photo(tmp_path / "a.png", width=60, height=48)
    (image,) = PhotoFolder(tmp_path, 48).load([0])
    assert torch.equal((image * 255).round().byte(), torch.from_numpy(pixels[:, 6:54]).permute(2, 0, 1))


def test_other_sizes_are_scaled_to_the_short_side(tmp_path):
    write_photo(tmp_path / "a.jpg", width=90, height=64)
    images = PhotoFolder(tmp_path, 48).load([0])
    assert images.shape == (1, 3, 48, 48) and 0 <= images.min() and images.max() <= 1


def test_unusable_files_are_skipped_with_one_line(tmp_path, caplog):
    write_photo(tmp_path / "good.png")
    write_photo(tmp_path / "tiny.png", width=10, height=10)
    (tmp_path / "text.jpg").write_text("not an image")
    whole = tmp_path / "whole.png"
    write_photo(whole)
    (tmp_path / "truncated.png").write_bytes(whole.read_bytes()[:2000])
    with caplog.at_level(logging.WARNING):
        source = PhotoFolder(tmp_path, 48)
    assert source.names == ["good.png", "whole.png"]
    assert len(caplog.records) == 1 and "skipped 3 of 5" in caplog.text and "text.jpg" in caplog.text


@pytest.mark.parametrize("fill", ["nothing", "text"])
def test_a_folder_without_images_is_one_clear_error(tmp_path, fill):
    if fill == "text":
        (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(ValueError, match="no usable image"):
        PhotoFolder(tmp_path, 48)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere.*is not a folder"):
        PhotoFolder(tmp_path / "nowhere", 48)


def test_split_is_disjoint_complete_and_repeatable():
    source = DrawingSource(20, 48, seed=1)
    train, held_out = source.split(0.25, seed=3)
    assert len(held_out) == 5 and sorted(train.names + held_out.names) == sorted(source.names)
    assert source.split(0.25, seed=3)[1].names == held_out.names != source.split(0.25, seed=4)[1].names
    assert torch.equal(held_out.load([2]), source.load([held_out.indices[2]]))
    assert len({source.fingerprint, train.fingerprint, held_out.fingerprint}) == 3


@pytest.mark.parametrize("fraction", [0, 1, -0.5])
def test_split_needs_a_proper_fraction(fraction):
    with pytest.raises(ValueError, match="held_out"):
        DrawingSource(4, 48).split(fraction)


def test_fingerprints_follow_the_content(tmp_path):
    write_photo(tmp_path / "a.png", seed=0)
    before = PhotoFolder(tmp_path, 48).fingerprint
    assert PhotoFolder(tmp_path, 48).fingerprint == before
    write_photo(tmp_path / "a.png", seed=1)
    assert PhotoFolder(tmp_path, 48).fingerprint != before


def test_tensor_images_reject_bytes_wrong_shapes_and_nan():
    good = torch.rand(2, 3, 8, 8)
    assert torch.equal(TensorImages(good).load([1]), good[1:])
    for bad in (good * 255, good[:, :1], good[:0], torch.full_like(good, float("nan"))):
        with pytest.raises(ValueError, match="images"):
            TensorImages(bad)


def test_whatever_somebody_has_becomes_a_source(tmp_path):
    """The same picture in every form that is understood, and the pixels of each."""
    write_photo(tmp_path / "a.png", width=48, height=48)
    folder = image_source(tmp_path, 48)
    pixels = (folder.load([0]) * 255).round().to(torch.uint8)
    last = pixels.permute(0, 2, 3, 1).numpy()
    tensors, lists = (pixels, last, pixels.numpy(), last / 255), ([Image.fromarray(last[0])], [last[0]], [pixels[0]])
    for form in (*tensors, *lists, str(tmp_path)):
        assert torch.allclose(image_source(form, 48).load([0]), folder.load([0]), atol=1e-6)
    assert image_source(folder, 48) is folder
    wide = Image.new("RGB", (90, 60))
    assert image_source([wide, wide], 24).load([0, 1]).shape == (2, 3, 24, 24)


@pytest.mark.parametrize("images, message", [
    (7, "images is int; expected a folder"), ([], "images is an empty list"), (["a.png"], "give the folder itself"),
    ([np.zeros(4)], "one of shape"), (np.zeros((2, 5, 8, 8)), r"expected \(b, 3, h, w\)"),
    (np.full((1, 8, 8, 3), 2.0), "divide bytes by 255")])
def test_what_is_no_image_is_named(images, message):
    with pytest.raises(ValueError, match=message):
        image_source(images, 8)


def test_arrays_are_scaled_as_pictures_are_unless_they_are_hardly_larger(caplog):
    """Not cut to their middle, of which most users would never hear."""
    large = np.random.default_rng(0).integers(0, 256, (1, 6, 12, 3)).repeat(20, 1).repeat(20, 2).astype(np.uint8)
    picture = image_source([Image.fromarray(large[0])], 48).load([0])
    for form in (large, torch.from_numpy(large), [large[0]], large.transpose(0, 3, 1, 2) / 255):
        found = image_source(form, 48).load([0])
        assert found.shape == (1, 3, 48, 48) and (found - picture).abs().mean() < 0.02  # bilinear against bicubic
    almost = torch.rand(2, 3, 54, 54)
    assert torch.equal(image_source(almost, 48).load([0, 1]), almost)
    assert not caplog.text
    assert image_source(torch.rand(2, 3, 30, 40), 48).load([0]).shape == (1, 3, 48, 48)
    assert "enlarged 2 of 2 images: image 0 (short side 30 px, 48 wanted)" in caplog.text


@pytest.mark.parametrize("form", [torch.rand(4, 3, 20, 20), [Image.new("RGB", (60, 20))] * 2])
def test_images_under_half_the_size_are_refused_in_lists_too(form):
    with pytest.raises(ValueError, match="image 0 has a short side of 20 px, and 48 px are wanted"):
        image_source(form, 48)


def test_grey_arrays_become_three_equal_channels():
    grey = torch.rand(3, 24, 24)
    for form in (grey, grey[:, None], grey[..., None].numpy(), [one.numpy() for one in grey]):
        assert torch.equal(image_source(form, 24).load(range(3)), grey[:, None].expand(-1, 3, -1, -1))


def test_small_photographs_are_enlarged_and_the_log_says_how_many(tmp_path, caplog):
    write_photo(tmp_path / "large.png")
    write_photo(tmp_path / "small.png", width=30, height=25)
    with caplog.at_level(logging.WARNING):
        images = PhotoFolder(tmp_path, 48).load([0, 1])
    assert images.shape == (2, 3, 48, 48)
    assert [record.getMessage() for record in caplog.records] == [
        "enlarged 1 of 2 images: small.png (short side 25 px, 48 wanted)"]
    caplog.clear()
    PhotoFolder(tmp_path, 25)
    assert not caplog.records


def as_stored(upright, orientation):
    """What a camera writes for an upright picture and this EXIF orientation."""
    turned = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
              6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1)}[orientation]
    image = Image.fromarray(np.ascontiguousarray(turned))
    image.getexif()[0x0112] = orientation
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
def test_phone_photographs_come_in_upright(tmp_path, orientation):
    upright = np.zeros((48, 60, 3), dtype=np.uint8)
    upright[:16], upright[32:, :30] = (255, 0, 0), (0, 255, 0)  # red on top, green at the lower left
    image = as_stored(upright, orientation)
    image.save(tmp_path / "phone.jpg", exif=image.getexif(), quality=95, subsampling=0)
    (found,) = PhotoFolder(tmp_path, 48).load([0])
    expected = torch.from_numpy(upright[:, 6:54]).permute(2, 0, 1) / 255
    assert (found - expected).abs().mean() < 0.02
    stored = torch.from_numpy(np.asarray(Image.open(tmp_path / "phone.jpg"))[:48, :48].copy()).permute(2, 0, 1) / 255
    assert orientation == 1 or (stored - expected).abs().mean() > 0.09  # negative control: as the file stores them


def test_the_fingerprint_knows_which_photographs_are_turned(tmp_path):
    for orientation, name in ((1, "a"), (6, "b")):
        (tmp_path / name).mkdir()
        image = as_stored(write_photo(tmp_path / name / "x.png"), 1)
        image.getexif()[0x0112] = orientation
        image.save(tmp_path / name / "x.png", exif=image.getexif())
    assert PhotoFolder(tmp_path / "a", 48).fingerprint != PhotoFolder(tmp_path / "b", 48).fingerprint
