"""44 networks of other people at a middle layer: on a grid, the cut equal to the hook; and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from groupcc_lite.models import load_model, wrap_model
from groupcc_lite.models.cut import Uncuttable
from groupcc_lite.models.geometry import NominalGeometry
from groupcc_lite.models.grids import ChannelsLast, OnGrid, TokenGrid
from groupcc_lite.models.libraries import from_library, split_name
from groupcc_lite.models.reading import StoppedNetwork, read_layer

EXACT, NOMINAL = "exact", "nominal"
NETWORKS = {
    # Of torchvision: those that convolutions alone make, then those with context of the whole image.
    "torchvision/alexnet/features.5": (127, EXACT), "torchvision/vgg11/features.10": (96, EXACT),
    "torchvision/resnet18/layer2": (128, EXACT), "torchvision/resnet50/layer2": (128, EXACT),
    "torchvision/resnext50_32x4d/layer2": (128, EXACT), "torchvision/wide_resnet50_2/layer2": (128, EXACT),
    "torchvision/squeezenet1_1/features.7": (127, EXACT),
    "torchvision/densenet121/features.denseblock2": (128, EXACT),
    "torchvision/googlenet/inception3b": (128, EXACT), "torchvision/inception_v3/Mixed_5c": (139, EXACT),
    "torchvision/mobilenet_v2/features.7": (128, EXACT), "torchvision/mnasnet1_0/layers.9": (128, EXACT),
    "torchvision/shufflenet_v2_x1_0/stage2": (128, EXACT), "torchvision/efficientnet_v2_s/features.3": (128, EXACT),
    "torchvision/regnet_x_400mf/trunk_output.block2": (128, EXACT),
    "torchvision/mobilenet_v3_small/features.4": (128, NOMINAL),
    "torchvision/mobilenet_v3_large/features.6": (128, NOMINAL),
    "torchvision/efficientnet_b0/features.4": (128, NOMINAL),
    "torchvision/regnet_y_400mf/trunk_output.block2": (128, NOMINAL),
    "torchvision/convnext_tiny/features.3": (128, EXACT), "torchvision/swin_t/features.3": (128, NOMINAL),
    "torchvision/swin_v2_t/features.3": (128, NOMINAL),
    "torchvision/vit_b_16/encoder.layers.encoder_layer_5": (96, NOMINAL),
    "torchvision/maxvit_t/blocks.1": (224, NOMINAL),
    # Of timm: the smallest of twenty families.
    "timm/vit_tiny_patch16_224/blocks.5": (96, NOMINAL),
    "timm/deit_tiny_distilled_patch16_224/blocks.5": (96, NOMINAL),
    "timm/vit_small_patch14_reg4_dinov2/blocks.5": (98, NOMINAL),
    "timm/beit_base_patch16_224/blocks.5": (96, NOMINAL),
    "timm/eva02_tiny_patch14_224/blocks.5": (98, NOMINAL), "timm/xcit_nano_12_p16_224/blocks.5": (128, NOMINAL),
    "timm/mixer_s16_224/blocks.3": (224, NOMINAL), "timm/swin_tiny_patch4_window7_224/layers.1": (112, NOMINAL),
    "timm/hiera_tiny_224/blocks.2": (224, "do not sit row by row"), "timm/pvt_v2_b0/stages.1": (128, NOMINAL),
    "timm/maxvit_pico_rw_256/stages.1": (256, NOMINAL), "timm/convnext_atto/stages.1": (128, EXACT),
    "timm/convnextv2_atto/stages.1": (128, NOMINAL), "timm/poolformer_s12/stages.1": (128, NOMINAL),
    "timm/fastvit_t8/stages.1": (128, EXACT), "timm/mobilenetv3_small_050/blocks.2": (128, NOMINAL),
    "timm/mobilenetv4_conv_small/blocks.1": (128, EXACT), "timm/regnety_002/s2": (128, NOMINAL),
    "timm/resnest14d/layer2": (128, NOMINAL), "timm/nfnet_l0/stages.1": (128, NOMINAL),
}
"""Name with its layer: side of the images, and whether the geometry is exact, nominal, or why the layer is refused."""
ONLY_HOOKED = {"timm/hiera_tiny_224/blocks.2"}
"""Those that torch.fx cannot trace."""


def noise(count: int, size: int, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def test_44_networks_are_tried_and_42_or_more_accepted():
    accepted = [name for name, (_, kind) in NETWORKS.items() if kind in (EXACT, NOMINAL)]
    assert sum(name.startswith("torchvision/") for name in NETWORKS) == 24 and len(NETWORKS) == 44
    assert len(accepted) >= 42


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_middle_layer(name):
    size, kind = NETWORKS[name]
    if kind not in (EXACT, NOMINAL):
        with pytest.raises(ValueError, match=kind):
            load_model(name, weights="random", input_size=size)
        return
    model = load_model(name, weights="random", input_size=size)
    grid = model(noise(2, size))
    assert grid.shape == (2, model.channels, model.geometry.grid, model.geometry.grid) and grid.std() > 0
    assert model.geometry.grid > 3 and not torch.allclose(grid[0], grid[1])
    assert model.geometry.nominal == (kind == NOMINAL)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_the_cut_is_the_hook(name):
    """Bit for bit; a network that torch.fx cannot trace is named above."""
    size, (library, network, layer) = NETWORKS[name][0], split_name(name, None)
    module = from_library(library, network, layer, None, published=False, input_size=size).module
    hook = read_layer(module, layer, input_size=size, way="hook")
    assert isinstance(hook, StoppedNetwork)
    images = noise(1, size)
    try:
        cut = read_layer(module, layer, input_size=size, way="cut")
    except Uncuttable:
        assert name in ONLY_HOOKED and hook(images).std() > 0
        return
    assert name not in ONLY_HOOKED and torch.equal(cut(images), hook(images))


# --------------------------------------------------------------------------------------------- small networks

def patches(channels: int = 3, prefix: int = 2) -> nn.Sequential:
    """Tokens of 4 x 4 patches behind some without a place."""
    return nn.Sequential(nn.Conv2d(channels, 8, 4, stride=4), nn.Flatten(2), Turned(), Prefixed(prefix), nn.Softmax(1))


class Turned(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class Prefixed(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, x):
        return torch.cat([torch.full_like(x[:, :1], 7.0).expand(-1, self.count, -1), x], 1)


def test_prefix_tokens_are_left_out_and_the_geometry_says_that_it_is_nominal(caplog):
    model = wrap_model(patches(), "3", input_size=24)
    assert isinstance(model.network, OnGrid) and model.network.grid == TokenGrid(4, prefix=2)
    assert model(noise(2, 24)).shape == (2, 8, 6, 6) and not (model(noise(2, 24)) == 7).any()
    assert isinstance(model.geometry, NominalGeometry) and "a cell may see all of it" in caplog.text
    assert "nominal" in repr(model.geometry).lower() and model.geometry.box(0) == (0, 23)


def test_a_wrong_number_of_tokens_is_one_sentence():
    with pytest.raises(ValueError, match=r"gives \(2, 38, 8\).*expects \(b, 1 \+ 6 x 6, d\)"):
        wrap_model(patches(), "3", input_size=24, grid=TokenGrid(4, prefix=1))


def test_networks_with_one_channel_take_grey_images_and_rgb():
    model = wrap_model(nn.Sequential(nn.Conv2d(1, 4, 3)), "0", input_size=12, mean=(0.5,), std=(0.5,))
    grey = noise(2, 12, channels=1)
    assert torch.allclose(model(grey), model(grey.expand(-1, 3, -1, -1)), atol=1e-5)
    with pytest.raises(ValueError, match=r"expects \(b, 1, 12, 12\)"):
        model(noise(2, 12, channels=2))
    with pytest.raises(ValueError, match=r"takes 1 channels, not 3; say channels=1 \(--channels 1 on the"):
        wrap_model(nn.Sequential(nn.Conv2d(1, 4, 3)), "0", input_size=12, way="hook")


def test_what_is_said_of_a_missing_mean_is_right_in_python_and_on_the_command_line(caplog):
    wrap_model(nn.Sequential(nn.Conv2d(3, 4, 3)), "0", input_size=12)
    assert "mean=(...), std=(...) in Python, --mean R,G,B and --std R,G,B on the command line" in caplog.text


class Two(nn.Module):
    def forward(self, x):
        return x, x + 1


@pytest.mark.parametrize("way", ["cut", "hook"])
def test_errors_are_the_same_for_both_ways(way):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), Two())
    with pytest.raises(ValueError, match="layer '1' gives a tuple; expected one tensor"):
        wrap_model(module, "1", input_size=12, way=way)
    named = nn.Sequential()
    named.add_module("features", nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match="unknown layer 'feature'.*did you mean 'features'"):
        wrap_model(named, "feature", input_size=12, way=way)


def test_several_layers_come_from_one_pass():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)).eval()
    found = StoppedNetwork(module, ["0", "1", "2"], input_size=12)(noise(1, 12))
    assert torch.equal(found["0"], module[0](noise(1, 12))) and torch.equal(found["1"], found["0"].relu())


def test_channels_last_is_turned():
    assert ChannelsLast().as_grid(torch.zeros(2, 7, 7, 3), 14).shape == (2, 3, 7, 7)


class Heads(nn.Module):
    """Tokens of patches through attention of some heads, with a branch on the data, so that only a hook reads it."""

    def __init__(self, heads):
        super().__init__()
        self.heads = heads
        self.embedding = nn.Conv2d(3, 8, 4, stride=4)
        self.out = nn.Identity()

    def forward(self, images):
        tokens = self.embedding(images).flatten(2).transpose(1, 2)
        q = tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2)
        return self.out(mixed if images.mean() > 0 else 1.0 * mixed)


def test_what_only_a_hook_reads_is_told_apart_by_its_settings():
    """Weights of the same shapes and values, another number of heads: other activations, so another fingerprint."""
    one, other = Heads(2), Heads(4)
    other.load_state_dict(one.state_dict())
    prints = {heads: wrap_model(network, "out", input_size=16, grid=TokenGrid(4)).fingerprint
              for heads, network in (("2", one), ("4", other), ("again", one))}
    assert prints["2"] == prints["again"] != prints["4"]
