"""Base models: the cut, the preprocessing, every loader, and one clear error for each mistake."""

import urllib.error

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from groupcc_lite.base import sha256_of
from groupcc_lite.models import weight_files, zoo
from groupcc_lite.models.base import BaseModel
from groupcc_lite.models.cut import truncate
from groupcc_lite.models.weight_files import TINY_WEIGHTS, weights_file
from groupcc_lite.models.zoo import load_model, load_tiny, patch_model, reinitialised, wrap_model


@pytest.fixture(scope="module")
def tiny() -> BaseModel:
    return load_model()


def _images(count=2, size=96, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_tiny_is_the_network_up_to_the_layer(tiny):
    network, images = load_tiny(), _images()
    seen = {}
    network.mixed3b.register_forward_hook(lambda module, inputs, output: seen.update(whole=output))
    with torch.no_grad():
        network((images - 0.5) / 0.25)
        found = tiny(images)
    assert found.shape == (2, tiny.channels, tiny.geometry.grid, tiny.geometry.grid) == (2, 120, 24, 24)
    assert torch.allclose(found, seen["whole"], atol=1e-4)


def test_nothing_beyond_the_layer_is_left(tiny):
    names = {name.split(".")[0] for name, _ in tiny.network.named_modules()}
    assert "mixed3b" in names and not names & {"head", "readout"}
    assert not any(p.requires_grad for p in tiny.parameters())
    shallow = load_model("tiny-inception", "mixed3a")
    assert "mixed3b" not in dict(shallow.network.named_modules()) and shallow.channels == 64


def test_stays_in_evaluation_mode(tiny):
    outer = nn.Sequential(tiny).train()
    assert outer.training and not any(module.training for module in tiny.modules())


def test_gradients_reach_the_images(tiny):
    images = _images(1).requires_grad_()
    tiny(images).sum().backward()
    assert images.grad.abs().sum() > 0


def test_bf16_autocast_is_close(tiny):
    images = _images()
    with torch.no_grad():
        exact = tiny(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = tiny(images).float()
    assert (rough - exact).norm() < 0.03 * exact.norm()


def test_fingerprint_is_a_content_address(tiny, tmp_path):
    assert load_model().fingerprint == tiny.fingerprint
    state = load_tiny().state_dict()
    state["mixed3a.conv3x3.bias"][0] += 1e-3
    save_file(state, tmp_path / "changed.safetensors")
    others = [load_model(layer="mixed3a"), tiny.at_size(64), load_model(weights="random"),
              load_model(weights=tmp_path / "changed.safetensors")]
    assert len({tiny.fingerprint, *(model.fingerprint for model in others)}) == 5


@pytest.mark.parametrize("one, other", [
    (nn.MaxPool2d(2), nn.AvgPool2d(2)), (nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 2)), (nn.ReLU(), nn.LeakyReLU(0.3)),
    (nn.LeakyReLU(0.1), nn.LeakyReLU(0.3)), (nn.ReLU(), nn.Sigmoid())], ids=str)
def test_fingerprint_sees_layers_that_have_no_weights(one, other):
    """Two networks with the same weights and names that compute different things have different addresses."""
    def network(layer):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), layer)

    first, again, second = (wrap_model(network(layer), "1", input_size=32) for layer in (one, one, other))
    assert torch.equal(first.network.get_submodule("0").weight, second.network.get_submodule("0").weight)
    assert first.fingerprint == again.fingerprint != second.fingerprint


def test_another_image_size(tiny):
    small = tiny.at_size(64)
    assert small(_images(1, 64)).shape[-1] == small.geometry.grid == 16
    assert small.geometry.first == tiny.geometry.first and small.geometry.input_size == 64
    assert load_model(input_size=64).fingerprint == small.fingerprint


@pytest.mark.parametrize("images, words", [
    (torch.zeros(1, 3, 95, 96), r"\(1, 3, 95, 96\).*\(b, 3, 96, 96\).*at_size"),
    (torch.zeros(3, 96, 96), r"\(3, 96, 96\)"),
    (torch.zeros(0, 3, 96, 96), "b > 0"),
    (torch.full((1, 3, 96, 96), 255.0), "255"),
    (torch.full((1, 3, 96, 96), float("nan")), "nan"),
    (torch.full((1, 3, 96, 96), float("inf")), "inf"),
])
def test_bad_images(tiny, images, words):
    with pytest.raises(ValueError, match=words):
        tiny(images)


@pytest.mark.parametrize("name, layer, words", [
    ("tiny", None, "unknown model 'tiny'; did you mean 'tiny-vit' or 'tiny-inception'"),
    ("resnet18", None, "torchvision's is called 'torchvision/resnet18/<layer>'; choose"),
    ("tiny-inception", "mixed3c", "unknown layer 'mixed3c'.*did you mean.*mixed3b"),
    ("googlenet", "inception_9z", "layers are: conv2d0, maxpool0"),
    ("googlenet", "classifier", "cannot say which pixels 'mean'"),
    ("torchvision/resnet8/layer2", None, "unknown torchvision model 'resnet8'; did you mean 'resnet18'"),
    ("torchvision/resnet18", None, "names no layer"),
    ("torchvision/resnet18/layer9", None, "unknown layer 'layer9'.*did you mean.*layer"),
])
def test_unknown_names(name, layer, words):
    with pytest.raises(ValueError, match=words):
        load_model(name, layer, weights="random")


# -------------------------------------------------------------------------------------------------- GoogLeNet

def test_googlenet_answers_to_both_naming_styles():
    ours, caffes = (load_model("googlenet", layer, weights="random") for layer in ("mixed3b", "inception_3b/output"))
    assert ours.channels == caffes.channels == 480 and ours.geometry == caffes.geometry
    images = _images(1, 224)
    assert torch.equal(ours(images), caffes(images))


def test_googlenet_takes_blue_green_red():
    model, images = load_model("googlenet", "conv2d0", weights="random"), _images(1, 224)
    network = model.network
    ready = images.flip(1) * 255 - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    assert torch.allclose(model(images), network(ready), rtol=1e-4, atol=1e-2)
    assert not torch.allclose(model(images), network(ready.flip(1)), rtol=1e-4, atol=1e-2)


def test_googlenet_without_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("GROUPCC_DATA", raising=False)
    with pytest.raises(ValueError, match="GROUPCC_DATA is not set.*Give weights="):
        load_model("googlenet")
    monkeypatch.setenv("GROUPCC_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="does not exist.*Give weights="):
        load_model("googlenet")
    with pytest.raises(ValueError, match="nowhere.safetensors.*no such file"):
        load_model("googlenet", weights=tmp_path / "nowhere.safetensors")


def test_weights_of_another_network(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="is not BVLC GoogLeNet"):
        load_model("googlenet", weights=tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="does not fit TinyInception"):
        load_model(weights=tmp_path / "other.safetensors")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth"])
def test_weights_cut_short(tmp_path, name):
    (tmp_path / name).write_bytes(TINY_WEIGHTS.read_bytes()[:1000])
    for model in ("tiny-inception", "googlenet"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as weights"):
            load_model(model, weights=tmp_path / name)


def test_real_googlenet(data):
    model = load_model("googlenet", weights=data / "googlenet-bvlc" / "googlenet_bvlc.safetensors")
    geometry = model.geometry
    assert (geometry.stride, geometry.first, geometry.receptive_field, geometry.grid) == (8, 6.0, 91, 28)
    images = _images(2, 224)
    with torch.no_grad():
        exact = model(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(images).float()
    assert (rough - exact).norm() < 0.03 * exact.norm()


# --------------------------------------------------------------------------------------- Lucent's InceptionV1

def test_inceptionv1_is_lucents_with_the_papers_normalisation(monkeypatch):
    """The same weights in Lucent's own forward pass, its normalisation replaced by the paper's, as the oracle."""
    from lucent.modelzoo.inceptionv1.InceptionV1 import InceptionV1

    model, images = load_model("inceptionv1", weights="random"), _images(1, 224)
    lucent = zoo.randomise(InceptionV1(pretrained=False, redirected_ReLU=False)).eval()
    seen = {}
    lucent.mixed3b.register_forward_hook(lambda module, inputs, output: seen.update(output=output))
    with torch.no_grad():
        lucent(images * 255 - 117)
        unpatched = seen["output"]
        original = F.local_response_norm
        monkeypatch.setattr(F, "local_response_norm",
                            lambda x, **_: original(x, size=10, alpha=1e-3, beta=0.5, k=2.0))
        lucent(images * 255 - 117)
        monkeypatch.undo()
        found = model(images)
    assert torch.allclose(found, seen["output"], rtol=1e-3, atol=1e-3 * found.abs().max().item())
    assert (found - unpatched).norm() > 0.05 * found.norm()


def test_inceptionv1_without_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(ConnectionError, match="cannot download InceptionV1.*no route.*googlenet"):
        load_model("inceptionv1")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_inceptionv1_from_lucents_cache(monkeypatch, tmp_path):
    """A file where Lucent would have put it is used, and its sha256 recorded; a file of something else is refused."""
    from lucent.modelzoo.inceptionv1.InceptionV1 import InceptionV1, model_urls

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = tmp_path / "checkpoints" / model_urls["inceptionv1"].rsplit("/", 1)[-1]
    path.parent.mkdir()
    torch.save(zoo.randomise(InceptionV1(pretrained=False)).state_dict(), path)
    cached = load_model("inceptionv1", "maxpool0")
    assert cached.fingerprint == load_model("inceptionv1", "maxpool0", weights="random").fingerprint
    assert path.with_name(path.name + ".sha256").is_file()
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not fit InceptionV1"):
        load_model("inceptionv1", weights=tmp_path / "other.pth")


def test_your_own_file_is_compared_and_gets_no_company(tmp_path):
    """`sha256` is never ignored; a record is written beside downloads only."""
    from lucent.modelzoo.inceptionv1.InceptionV1 import InceptionV1

    path = tmp_path / "mine.safetensors"
    save_file(zoo.randomise(InceptionV1(pretrained=False)).state_dict(), path)
    load_model("inceptionv1", "maxpool0", weights=path)
    load_model("inceptionv1", "maxpool0", weights=path, sha256=sha256_of(path).upper())
    for name in ("inceptionv1", "googlenet", "torchvision/resnet18/layer1", "tiny-inception"):
        with pytest.raises(ValueError, match="mine.safetensors has sha256.*expected 00"):
            load_model(name, weights=path, sha256="00" * 32)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]
    load_model(sha256=sha256_of(TINY_WEIGHTS))
    with pytest.raises(ValueError, match="tiny_inception.safetensors has sha256"):
        load_model(sha256="00" * 32)


@pytest.mark.parametrize("name, weights", [
    ("tiny-inception", "random"), ("inceptionv1", "random"), ("torchvision/resnet18/layer1", None)])
def test_sha256_without_a_file_to_compare_is_an_error(name, weights):
    with pytest.raises(ValueError, match="sha256 is given, but.*reads no file"):
        load_model(name, weights=weights, sha256="00" * 32)


def test_only_lucents_network_gets_the_papers_normalisation():
    """Whatever a user calls a network, it is not changed."""
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return F.local_response_norm(self.conv(x), size=5, alpha=1.0)

    module, images = Normalised().eval(), _images(1, 32)
    model = wrap_model(module, "local_response_norm", input_size=32, name="inceptionv1")
    with torch.no_grad():
        assert torch.allclose(model(images), module(images), atol=1e-5)


def test_weights_file_finds_without_reading(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("GROUPCC_DATA", str(tmp_path))
    (tmp_path / "googlenet-bvlc").mkdir()
    (tmp_path / "googlenet-bvlc" / "googlenet_bvlc.safetensors").write_bytes(b"not weights")
    assert weights_file("googlenet") == tmp_path / "googlenet-bvlc" / "googlenet_bvlc.safetensors"
    assert weights_file("tiny-inception") == TINY_WEIGHTS
    assert weights_file("googlenet", "random") is weights_file("inceptionv1") is None
    with pytest.raises(ValueError, match="nowhere.*no such file; expected weights of googlenet"):
        weights_file("googlenet", tmp_path / "nowhere")


def test_download_is_pinned_on_first_use(tmp_path):
    path = tmp_path / "inception5h.pth"
    path.write_bytes(b"first")
    weight_files._check_pinned(path, None)
    weight_files._check_pinned(path, None)
    recorded = (tmp_path / "inception5h.pth.sha256").read_text().strip()
    weight_files._check_pinned(path, recorded.upper())
    with pytest.raises(ValueError, match="sha256.*expected 00"):
        weight_files._check_pinned(path, "00" * 32)
    path.write_bytes(b"second")
    with pytest.raises(ValueError, match="damaged or was replaced"):
        weight_files._check_pinned(path, None)


# ------------------------------------------------------------------------------------------------ torchvision

def test_torchvision_layer():
    import torchvision

    model, images = load_model("torchvision/resnet18/layer2", weights="random"), _images(1, 224)
    network = zoo.randomise(torchvision.models.resnet18(weights=None)).eval()
    seen = {}
    network.layer2.register_forward_hook(lambda module, inputs, output: seen.update(output=output))
    network((images - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
            / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
    assert torch.allclose(model(images), seen["output"], rtol=1e-3, atol=1e-3)
    assert (model.channels, model.geometry.stride, model.geometry.grid) == (128, 8, 28)
    assert "layer3" not in dict(model.network.named_modules())


def test_the_layer_in_the_name_wins_and_two_layers_are_an_error():
    from groupcc_lite.runs import get_profile

    profile = get_profile("smoke", model="torchvision/resnet18/layer1")
    assert load_model(profile.model, profile.layer, weights="random").layer == "layer1"
    assert load_model("torchvision/resnet18", "layer1", weights="random").layer == "layer1"
    assert load_model("torchvision/resnet18/layer1", "layer1", weights="random").layer == "layer1"
    with pytest.raises(ValueError, match="layer is 'mixed3b', but 'torchvision/resnet18/layer1' already names"):
        load_model("torchvision/resnet18/layer1", "mixed3b", weights="random")


def test_torchvision_without_network(monkeypatch):
    import torchvision

    def refuse(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torchvision.models, "get_model", refuse)
    with pytest.raises(ConnectionError, match="torchvision's weights for 'resnet18'.*no route"):
        load_model("torchvision/resnet18/layer2")


# ---------------------------------------------------------------------------------------- a user's own module

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.BatchNorm2d(4), nn.ReLU())
        self.top = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

    def forward(self, x):
        return self.top(self.stem(x))


def test_own_module():
    module, images = Own().train(), _images(3, 32)
    model = wrap_model(module, "stem", input_size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    assert (model.name, model.layer, model.channels, model.geometry.grid) == ("Own", "stem", 4, 16)
    assert module.training and all(p.requires_grad for p in module.stem.parameters())
    ready = (images - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(model(images), module.eval().stem(ready), atol=1e-5)
    assert "stem.0" in repr(wrap_model(module, "stem.0", input_size=32))


@pytest.mark.parametrize("change, words", [({"mean": (0.5,)}, "mean"), ({"std": (1.0, 0.0, 1.0)}, "std.*positive")])
def test_own_module_bad_preprocessing(change, words):
    with pytest.raises(ValueError, match=words):
        wrap_model(Own(), "stem", input_size=32, **change)


def test_truncate_leaves_the_module_alone():
    module = Own().train()
    before = {name: id(child) for name, child in module.named_modules()}
    truncate(module, "stem.0", input_size=32)
    assert module.training and before == {name: id(child) for name, child in module.named_modules()}


@pytest.mark.parametrize("count", [1, 4])
def test_patches_have_the_colours_that_the_network_sees(count):
    network = wrap_model(torch.nn.Sequential(torch.nn.Conv2d(count, 5, 9, stride=4)), "0", input_size=32,
                         channels=count)
    pixels = patch_model(network, side=2)
    images = torch.rand(1, count, 32, 32)
    assert pixels.input_channels == count and pixels.channels == 4 * count
    expected = (images[..., :4, :4].mean((2, 3)) - 0.5) / 0.25
    torch.testing.assert_close(pixels(images)[0, ::4, 0, 0], expected[0])


class Branch(nn.Module):
    """A layer that the graph cannot show, so that it is read by a hook."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)

    def forward(self, x):
        return self.norm(self.conv(x)).relu() if x.sum() > -1e9 else x


@pytest.mark.parametrize("network, layer", [
    (nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3)), "3"), (Branch(), "norm")])
def test_a_copy_with_new_weights(network, layer):
    """Every weight is drawn anew, the running means are forgotten, the network that was given stays as it is."""
    norm = next(part for part in network.modules() if isinstance(part, nn.BatchNorm2d))
    norm.running_mean += 7
    model = wrap_model(network, layer, input_size=24, mean=(0.5,) * 3, std=(0.2,) * 3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    twin, again, other = (reinitialised(model, seed=seed) for seed in (0, 0, 1))
    images = torch.rand(2, 3, 24, 24)
    assert twin.fingerprint == again.fingerprint != other.fingerprint and twin.fingerprint != model.fingerprint
    assert torch.equal(twin(images), again(images)) and not torch.equal(twin(images), model(images))
    assert twin.geometry == model.geometry and twin.preprocess == model.preprocess
    drawn = twin.network.state_dict()
    assert all(value.abs().max() == 0 for name, value in drawn.items() if name.endswith("running_mean"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_weights_that_nobody_can_draw_are_named():
    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.gain

    model = wrap_model(nn.Sequential(nn.Conv2d(3, 4, 3), Gain()), "1", input_size=16, mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(ValueError, match=r"weights of 1 .* cannot be drawn anew: .*wrap_model\(new_network"):
        reinitialised(model)


@pytest.mark.parametrize("mean, message", [
    ((123.7, 116.8, 103.9), "for bytes; images go in as 0 to 1, so divide by 255"),
    ((0.5, 0.5), r"std is \(0.2, 0.2, 0.2\); expected 2 numbers")])
def test_means_that_do_not_fit_are_refused(mean, message):
    with pytest.raises(ValueError, match=message):
        wrap_model(nn.Conv2d(3, 4, 3), "", input_size=16, mean=mean, std=(0.2,) * 3)


def test_mean_and_std_may_be_arrays_and_their_absence_is_said(caplog):
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    given = wrap_model(network, "0", input_size=16, mean=np.full(3, 0.5), std=torch.full((3,), 0.25))
    assert given.preprocess == wrap_model(network, "0", input_size=16, mean=(0.5,) * 3, std=(0.25,) * 3).preprocess
    assert "mean" not in caplog.text
    wrap_model(network, "0", input_size=16)
    assert "no mean and std are given for Sequential: its images go in as they are" in caplog.text


def test_weights_that_are_not_finite_are_named(tmp_path):
    state = load_tiny().state_dict()
    state["conv2d1.bias"][3] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match=r"nan.pth: conv2d1.bias holds values that are not finite \(1 of 16\)"):
        load_model("tiny-inception", weights=tmp_path / "nan.pth")


def test_weights_of_another_network_are_told_in_a_few_names(tmp_path):
    state = load_tiny().state_dict() | {"other": torch.zeros(1), "conv2d1.bias": torch.zeros(3)}
    del state["conv2d0.weight"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"1 missing \(conv2d0.weight\); 1 not the network's \(other\); 1 of another "
                                         r"shape \(conv2d1.bias\)"):
        load_model("tiny-inception", weights=tmp_path / "other.pth")


def test_a_picture_is_no_file_of_weights(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match="x.pth cannot be read as weights: it was cut short, or is another kind"):
        load_model("tiny-inception", weights=tmp_path / "x.pth")


def test_a_layer_that_gives_nan_is_called_that():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network[0].weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="layer '1' gives NaN or infinity for random images"):
        wrap_model(network, "1", input_size=32)
