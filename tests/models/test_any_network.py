"""Networks of other libraries: accepted, or refused for a reason that a user would accept; each cut is the hook."""

import pytest
import torch
from torch import nn

from groupcc_lite.models import libraries, load_model, wrap_model
from groupcc_lite.models.cut import Uncuttable
from groupcc_lite.models.efficientnet_lite import lite0_network
from groupcc_lite.models.grids import ChannelsLast, OnGrid, TokenGrid, recognised
from groupcc_lite.models.reading import StoppedNetwork, read_layer

TORCHVISION = {
    "alexnet": "features.5", "vgg11": "features.8", "resnet18": "layer2", "resnet50": "layer2",
    "resnext50_32x4d": "layer2", "wide_resnet50_2": "layer2", "squeezenet1_1": "features.6",
    "densenet121": "features.denseblock2", "googlenet": "inception3b", "inception_v3": "Mixed_5d",
    "mobilenet_v2": "features.8", "mnasnet1_0": "layers.9", "shufflenet_v2_x1_0": "stage2",
    "efficientnet_v2_s": "features.2", "regnet_x_400mf": "trunk_output.block2", "mobilenet_v3_small": "features.4",
    "mobilenet_v3_large": "features.6", "efficientnet_b0": "features.3", "regnet_y_400mf": "trunk_output.block2",
    "convnext_tiny": "features.3", "swin_t": "features.3", "swin_v2_t": "features.3",
    "vit_b_16": "encoder.layers.encoder_layer_5", "maxvit_t": "blocks.1"}
TIMM = {
    "vit_tiny_patch16_224": "blocks.5", "deit3_small_patch16_224": "blocks.5",
    "vit_small_patch14_reg4_dinov2": "blocks.5", "beit_base_patch16_224": "blocks.5",
    "eva02_tiny_patch14_224": "blocks.5", "swin_tiny_patch4_window7_224": "layers.1", "convnextv2_atto": "stages.1",
    "maxvit_rmlp_pico_rw_256": "stages.1", "coatnet_nano_rw_224": "stages.1", "mobilenetv4_conv_small": "blocks.2",
    "efficientnet_lite0": "blocks.3", "regnety_002": "s2", "resnetv2_50x1_bit": "stages.1",
    "poolformer_s12": "stages.1", "mixer_s32_224": "blocks.3", "fastvit_t8": "stages.1",
    "xcit_nano_12_p16_224": "blocks.5", "pvt_v2_b0": "stages.1", "nf_resnet50": "stages.1"}
NOMINAL = {
    "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "regnet_y_400mf", "swin_t", "swin_v2_t", "vit_b_16",
    "maxvit_t", "vit_tiny_patch16_224", "deit3_small_patch16_224", "vit_small_patch14_reg4_dinov2",
    "beit_base_patch16_224", "eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224", "convnextv2_atto",
    "maxvit_rmlp_pico_rw_256", "coatnet_nano_rw_224", "regnety_002", "poolformer_s12", "mixer_s32_224",
    "xcit_nano_12_p16_224", "pvt_v2_b0"}
"""Those whose cells see more than a square of their own, by attention, gates, or norms over the whole grid."""
NETWORKS = [(library, name, layer) for library, known in (("torchvision", TORCHVISION), ("timm", TIMM))
            for name, layer in known.items()]


def inside(model):
    """The network that gives the layer's own output, and the grid it is put on, if it is."""
    network = model.network
    return (network.network, network.grid) if isinstance(network, OnGrid) else (network, None)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("library", "name", "layer"), NETWORKS, ids=[f"{row[0]}-{row[1]}" for row in NETWORKS])
def test_a_middle_layer_is_read_and_the_cut_is_the_hook(library, name, layer):
    pytest.importorskip(library)
    model = load_model(f"{library}/{name}/{layer}", weights="random")
    geometry = model.geometry
    assert geometry.nominal == (name in NOMINAL) and geometry.grid >= 7
    assert geometry.pixels(torch.tensor([[0.0, 0.0], [geometry.grid - 1.0] * 2])).abs().max() < geometry.input_size / 2
    network, grid = inside(model)
    if isinstance(network, StoppedNetwork):
        return
    found = libraries.from_library(library, name, layer, None, published=False, input_size=None)
    hook = StoppedNetwork(found.module.eval(), layer, input_size=model.input_size)
    images = torch.rand(1, 3, model.input_size, model.input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cut, stopped = network(images), hook(images)
    assert torch.allclose(cut, stopped, atol=1e-5 * float(stopped.abs().max()))
    if grid is not None:
        assert grid.as_grid(cut, model.input_size).shape[1] == model.channels


@pytest.mark.slow
def test_tokens_that_lie_in_another_order_are_refused():
    """Hiera keeps its tokens in units, so that they do not lie row by row."""
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match="cells do not sit row by row where they should"):
        load_model("timm/hiera_tiny_224/blocks.2", weights="random")


class Patches(nn.Module):
    """Patches of 4 px as tokens, with a class token and two registers before them, and attention between all."""

    def __init__(self, width=8, prefix=3):
        super().__init__()
        self.embedding = nn.Conv2d(3, width, 4, stride=4)
        self.prefix = nn.Parameter(torch.randn(1, prefix, width, generator=torch.Generator().manual_seed(1)))
        self.block = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True, dropout=0.0)
        self.readout = nn.Linear(width, 3)

    def forward(self, images):
        tokens = self.embedding(images).flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat([self.prefix.expand(len(images), -1, -1), tokens], 1))
        return self.readout(tokens[:, 0])


def test_prefix_tokens_are_left_out_and_patches_lie_row_by_row():
    network = Patches().eval()
    model = wrap_model(network, "block", input_size=16)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = {}
    network.block.register_forward_hook(lambda module, inputs, output: seen.update(tokens=output))
    with torch.no_grad():
        network(images)
        found = model(images)
    assert (model.geometry.nominal, model.geometry.stride, model.geometry.first) == (True, 4, 1.5)
    assert torch.allclose(found[:, :, 2, 1], seen["tokens"][:, 3 + 2 * 4 + 1], atol=1e-6)


def test_a_wrong_number_of_tokens_is_one_clear_error():
    with pytest.raises(ValueError, match=r"expects \(b, 1 \+ 4 x 4, d\) for an image of 16 px"):
        wrap_model(Patches(), "block", input_size=16, grid=TokenGrid(patch=4, prefix=1))
    with pytest.raises(ValueError, match="no square grid of patches"):
        recognised(nn.Identity(), torch.zeros(2, 60, 8), 18)


def test_a_class_token_has_no_places():
    with pytest.raises(ValueError, match="gives one vector for the whole image.*choose an earlier layer"):
        wrap_model(Patches(), "readout", input_size=16)


def test_channels_last_is_a_view_of_the_same_numbers():
    x = torch.rand(2, 5, 5, 7)
    assert recognised(nn.Identity(), x, 20) == ChannelsLast()
    assert torch.equal(ChannelsLast().as_grid(x, 20)[1, :, 2, 3], x[1, 2, 3])


class Branching(nn.Module):
    """Looks at its data, so that torch.fx cannot trace it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, images):
        return self.conv(images) if images.mean() > 0 else 1.0 * self.conv(images)


def test_a_network_that_cannot_be_traced_is_read_by_a_hook():
    network = Branching().eval()
    with pytest.raises(Uncuttable):
        read_layer(network, "conv", input_size=16, way="cut")
    model = wrap_model(network, "conv", input_size=16)
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(images), network.conv(images))
    assert (model.geometry.stride, model.geometry.nominal) == (2, False)  # measured, and tested by impulses


def test_several_layers_in_one_pass_are_those_of_single_passes():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()
    images = torch.rand(2, 3, 12, 12)
    together = StoppedNetwork(network, ["1", "2"], input_size=12)(images)
    with torch.no_grad():
        assert torch.equal(together["1"], network[:2](images)) and torch.equal(together["2"], network(images))


def test_grey_networks_see_rgb_in_grey():
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
    model = wrap_model(network, "1", input_size=16, channels=1)
    rgb = torch.rand(2, 3, 16, 16)
    grey = 0.299 * rgb[:, :1] + 0.587 * rgb[:, 1:2] + 0.114 * rgb[:, 2:]
    with torch.no_grad():
        assert torch.allclose(model(rgb), model(grey), atol=1e-6)
    with pytest.raises(ValueError, match=r"expects \(b, 1, 16, 16\)"):
        model(torch.rand(2, 2, 16, 16))


def test_a_layer_given_by_itself_is_found_by_its_name():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert wrap_model(network, network[1], input_size=12).layer == "1"
    with pytest.raises(ValueError, match="is not part of this Sequential"):
        wrap_model(network, nn.ReLU(), input_size=12)


def test_efficientnet_lite0_sees_photographs_as_it_was_trained_to(data):
    """The check of preprocessing: at least half of a hundred photographs are named right."""
    import numpy as np
    from PIL import Image

    from groupcc_lite.models.efficientnet_lite import lite0_weights
    from groupcc_lite.models.zoo import _LITE_PREPROCESS

    try:
        network = lite0_network(lite0_weights())
    except ConnectionError as error:
        pytest.skip(str(error))
    folder = data / "imagenet-sample"
    classes = [line.split()[0] for line in (folder / "classes.txt").read_text().splitlines()]
    files = sorted((folder / "images").glob("*.jpg"))[::8]
    assert len(files) == 100

    def square(path):
        image = Image.open(path).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        return torch.from_numpy(np.asarray(image.crop((left, top, left + 224, top + 224))).copy()).permute(2, 0, 1)

    images = torch.stack([square(path) for path in files]).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_LITE_PREPROCESS.mean, _LITE_PREPROCESS.std))
    truth = torch.tensor([classes.index(path.name.split("_")[0]) for path in files])
    with torch.no_grad():
        ready = (images * _LITE_PREPROCESS.scale - mean) / std
        found = torch.cat([network(part).argmax(1) for part in ready.split(10)])
    assert (found == truth).float().mean() >= 0.5
