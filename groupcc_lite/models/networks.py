"""The networks that we define ourselves: Caffe's GoogLeNet, its small sibling, and a small vision transformer.

The first two use the layer names of the Distill circuits articles (`conv2d0`, `maxpool0`, ..., `mixed3b`), so that a
layer has one name everywhere in the book. All take preprocessed images; `zoo.py` adds the preprocessing.
"""

from __future__ import annotations

import math
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ChannelNorm(nn.LocalResponseNorm):
    """Local response normalisation over neighbouring channels: x / (k + alpha/size * sum of squares)^beta.

    The same values as `nn.LocalResponseNorm` for odd sizes and beta 0.75 or 0.5. Torch's version runs a 3-D
    average pooling; the sum over neighbouring channels is a 1 x 1 convolution with a banded matrix, and
    square roots replace the general power, which together are many times faster on a CPU. Computed in float32
    even under bf16 autocast: near 1 the denominator would lose all its digits.
    """

    def __init__(self, size: int, alpha: float, beta: float, k: float):
        super().__init__(size, alpha, beta, k)
        if size % 2 == 0 or beta not in (0.5, 0.75):
            raise ValueError(f"size is {size} and beta {beta}; ChannelNorm expects an odd size and beta 0.5 or 0.75")

    def forward(self, input: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        x = input.float()
        channel = torch.arange(x.shape[1], device=x.device)
        near = (channel[:, None] - channel).abs() <= self.size // 2
        band = near.float()[:, :, None, None] * (self.alpha / self.size)
        with torch.autocast(x.device.type, enabled=False):
            denominator = nn.functional.conv2d(x * x, band, torch.full_like(band[:, 0, 0, 0], self.k))
        root = denominator.rsqrt()
        scale = root * root.sqrt() if self.beta == 0.75 else root
        return (x * scale).to(input.dtype)


@torch.no_grad()
def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """He-initialised weights and zero biases from a generator of its own; the global seed stays untouched.

    >>> first, second = (randomise(nn.Linear(3, 2), seed=1).weight for _ in range(2))
    >>> bool((first == second).all())
    True
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5, generator=generator)
        elif name.endswith("bias"):
            parameter.zero_()
    return network


class ReLUConv(nn.Conv2d):
    """A convolution followed by ReLU, as one layer: what the Distill articles mean by `conv2d0`.

    `norm` is None, or a batch normalisation between the two that exists only during training (see
    `fold_norms`).
    """

    def __init__(self, channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0):
        super().__init__(channels, out_channels, kernel_size, stride=stride, padding=padding)
        self.norm: nn.BatchNorm2d | None = None

    @no_type_check  # torch.fx traces with proxies, which no checker takes for tensors
    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        x = super().forward(x)
        if self.norm is not None:
            x = self.norm(x)
        return nn.functional.relu(x)


def attach_norms(network: nn.Module) -> nn.Module:
    """Put a batch normalisation into every `ReLUConv`: without it a deep plain network is slow to train."""
    for module in network.modules():
        if isinstance(module, ReLUConv):
            module.norm = nn.BatchNorm2d(module.out_channels)
    return network


@torch.no_grad()
def fold_norms(network: nn.Module) -> nn.Module:
    """Merge batch normalisations into weights and biases; in evaluation mode the outputs stay the same."""
    for module in network.modules():
        if isinstance(module, ReLUConv) and module.norm is not None:
            gain = module.norm.weight * (module.norm.running_var + module.norm.eps).rsqrt()
            module.weight.mul_(gain[:, None, None, None])
            module.bias.copy_((module.bias - module.norm.running_mean) * gain + module.norm.bias)
            module.norm = None
    return network


class Inception(nn.Module):
    """One inception block: 1x1 | 3x3 after a 1x1 | 5x5 after a 1x1 | 1x1 after a max-pool, ReLU each, stacked.

    `widths` are Szegedy et al. (2014), Table 1: (1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection).
    """

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]):
        super().__init__()
        one, three_reduce, three, five_reduce, five, pool = widths
        self.conv1x1 = ReLUConv(channels, one, 1)
        self.conv3x3_reduce = ReLUConv(channels, three_reduce, 1)
        self.conv3x3 = ReLUConv(three_reduce, three, 3, padding=1)
        self.conv5x5_reduce = ReLUConv(channels, five_reduce, 1)
        self.conv5x5 = ReLUConv(five_reduce, five, 5, padding=2)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pool_proj = ReLUConv(channels, pool, 1)
        self.channels = one + three + five + pool

    @no_type_check  # torch.fx traces with proxies, which no checker takes for tensors
    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        three, five = self.conv3x3(self.conv3x3_reduce(x)), self.conv5x5(self.conv5x5_reduce(x))
        return torch.cat([self.conv1x1(x), three, five, self.pool_proj(self.pool(x))], 1)


_GOOGLENET_BLOCKS = {  # Szegedy et al. (2014), Table 1
    "mixed3a": (64, 96, 128, 16, 32, 32), "mixed3b": (128, 128, 192, 32, 96, 64),
    "mixed4a": (192, 96, 208, 16, 48, 64), "mixed4b": (160, 112, 224, 24, 64, 64),
    "mixed4c": (128, 128, 256, 24, 64, 64), "mixed4d": (112, 144, 288, 32, 64, 64),
    "mixed4e": (256, 160, 320, 32, 128, 128), "mixed5a": (256, 160, 320, 32, 128, 128),
    "mixed5b": (384, 192, 384, 48, 128, 128),
}
_CAFFE_STEM = {"conv2d0": "conv1/7x7_s2", "conv2d1": "conv2/3x3_reduce", "conv2d2": "conv2/3x3",
               "classifier": "loss3/classifier"}
_CAFFE_BLOCK = {"conv1x1": "1x1", "conv3x3_reduce": "3x3_reduce", "conv3x3": "3x3",
                "conv5x5_reduce": "5x5_reduce", "conv5x5": "5x5", "pool_proj": "pool_proj"}


class GoogLeNet(nn.Module):
    """BVLC GoogLeNet as Caffe runs it: images in B, G, R, 0..255, less (104, 117, 123) -> 1000 logits.

    Caffe pools with ceil mode and without padding; that moves the centres of the cells (see `geometry.py`).
    Source: Szegedy et al. (2014), with the padding and normalisation of the Caffe model zoo.

    >>> with torch.device("meta"):  # without numbers
    ...     GoogLeNet().mixed3b.channels
    480
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv2d0 = ReLUConv(3, 64, 7, stride=2, padding=3)
        self.conv2d1 = ReLUConv(64, 64, 1)
        self.conv2d2 = ReLUConv(64, 192, 3, padding=1)
        self.localresponsenorm0 = ChannelNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.localresponsenorm1 = ChannelNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        for name in ("maxpool0", "maxpool1", "maxpool4", "maxpool10"):
            self.add_module(name, nn.MaxPool2d(3, stride=2, ceil_mode=True))
        channels = 192
        for name, widths in _GOOGLENET_BLOCKS.items():
            block = Inception(channels, widths)
            self.add_module(name, block)
            channels = block.channels
        self.classifier = nn.Linear(channels, 1000)

    @no_type_check
    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1000"]:
        x = self.localresponsenorm0(self.maxpool0(self.conv2d0(x)))
        x = self.conv2d2(self.conv2d1(x))
        x = self.maxpool1(self.localresponsenorm1(x))
        x = self.maxpool4(self.mixed3b(self.mixed3a(x)))
        x = self.mixed4e(self.mixed4d(self.mixed4c(self.mixed4b(self.mixed4a(x)))))
        x = self.mixed5b(self.mixed5a(self.maxpool10(x)))
        return self.classifier(x.mean((2, 3)))


def caffe_name(parameter: str) -> str:
    """A parameter's name in the Caffe file: `mixed3b.conv5x5.weight` -> `inception_3b/5x5.weight`."""
    *path, kind = parameter.split(".")
    if len(path) == 1:
        return f"{_CAFFE_STEM[path[0]]}.{kind}"
    return f"inception_{path[0].removeprefix('mixed')}/{_CAFFE_BLOCK[path[1]]}.{kind}"


def load_caffe(network: GoogLeNet, tensors: dict[str, Tensor], source: str) -> GoogLeNet:
    """Fill `network` with Caffe's tensors; ValueError names the first that is missing or has another shape."""
    state = network.state_dict()
    for name, target in state.items():
        key = caffe_name(name)
        if key not in tensors or tensors[key].shape != target.shape:
            found = tuple(tensors[key].shape) if key in tensors else "nothing"
            raise ValueError(f"{source} is not BVLC GoogLeNet: {key!r} should be {tuple(target.shape)}, "
                             f"found {found}")
        state[name] = tensors[key].float()
    network.load_state_dict(state)
    return network


class TinyInception(nn.Module):
    """InceptionV1 up to mixed3b at a quarter of its width, for 96 px images; strides 2, 2, 1, not 2, 2, 2.

    Trained by `tiny_training.py` to say, at a point of a drawing, which shape lies there. After `mixed3b` comes one
    more block and a readout at every cell: `shapes` logits. With `told`, a (cos, sin) pair for each shape comes on top,
    for the control that was trained to report how shapes are turned as well. Nothing in it is equivariant by
    construction. Input: RGB in [0, 1] less 0.5, divided by 0.25.
    """

    stride, first = 4, 0.0
    """Pixels between the cells of the readout, and where the first one is centred."""

    def __init__(self, shapes: int, *, told: bool = False):
        super().__init__()
        self.shapes, self.told = shapes, told
        self.conv2d0 = ReLUConv(3, 16, 7, stride=2, padding=3)
        self.maxpool0 = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2d1 = ReLUConv(16, 16, 1)
        self.conv2d2 = ReLUConv(16, 48, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=1, padding=1)
        self.mixed3a = Inception(48, (16, 24, 32, 4, 8, 8))
        self.mixed3b = Inception(64, (32, 32, 48, 8, 24, 16))
        self.head = Inception(120, (32, 32, 48, 8, 16, 16))
        self.readout = nn.Conv2d(112, (3 if told else 1) * shapes, 1)

    @no_type_check
    def forward(self, x: Float[Tensor, "b 3 s s"]
                ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k 2 h w"] | None]:
        x = self.maxpool0(self.conv2d0(x))
        x = self.maxpool1(self.conv2d2(self.conv2d1(x)))
        x = self.readout(self.head(self.mixed3b(self.mixed3a(x))))
        return x[:, :self.shapes], (x[:, self.shapes:].unflatten(1, (self.shapes, 2)) if self.told else None)


class SelfAttention(nn.Module):
    """Attention of every token to every token, in several heads: tokens (b, t, d) -> (b, t, d)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    @no_type_check  # torch.fx traces with proxies, which no checker takes for tensors
    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention, then a perceptron at every token, each added to what came in: x + f(norm(x)), norms first.

    >>> TransformerBlock(width=8, heads=2, ratio=2)(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, width: int, heads: int, ratio: int):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads)
        self.norm2, self.expand = nn.LayerNorm(width), nn.Linear(width, ratio * width)
        self.activation, self.contract = nn.GELU(), nn.Linear(ratio * width, width)

    @no_type_check
    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        x = x + self.attention(self.norm1(x))
        return x + self.contract(self.activation(self.expand(self.norm2(x))))


class TinyViT(nn.Module):
    """A vision transformer for 96 px images (Dosovitskiy et al. 2021): 144 patches of 8 px and a class token.

    Trained by `tiny_training.py` for the same task as `TinyInception`: `shapes` logits at every patch say which shape
    has its middle there. No question is asked of the class token; it only takes part in the attention. Positions are
    learned, one vector for each token, and no convolution follows the one that embeds the patches, so that nothing is
    equivariant by construction, not even to translation by whole patches. torch.fx can trace it. A block
    gives tokens (b, 1 + 144, width), the class token first, then the patches row by row. Input: RGB in [0, 1] less 0.5,
    divided by 0.25.

    >>> network = TinyViT(shapes=14)
    >>> network(torch.zeros(1, 3, 96, 96))[0].shape, len(network.blocks)
    (torch.Size([1, 14, 12, 12]), 6)
    """

    stride, first = 8, 3.5
    """Pixels between the patches, and where the first one is centred."""

    def __init__(self, shapes: int, *, width: int = 64, depth: int = 6, heads: int = 4, ratio: int = 2):
        super().__init__()
        side = 96 // self.stride
        self.side = side
        self.embedding = nn.Conv2d(3, width, self.stride, stride=self.stride)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + side * side, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, shapes)

    @torch.no_grad()
    def begin(self, seed: int = 0) -> TinyViT:
        """The weights that training begins with, from a generator of their own.

        Minutes are few for a transformer, so it is told what it would learn first: positions begin as sines and
        cosines of the place, and keys as queries, so that a token begins by looking at those near it. Neither is held
        on to.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim in (2, 4):
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        self.class_token.normal_(0, 0.02, generator=generator)
        self.positions.zero_()[0, 1:] = 0.7 * waves(self.side, self.positions.shape[2])
        for block in self.blocks:
            query, key, _ = block.attention.qkv.weight.chunk(3)
            key.copy_(query)
            block.attention.out.weight.mul_(0.4)
            block.contract.weight.mul_(0.4)
        return self

    @no_type_check
    def forward(self, x: Float[Tensor, "b 3 96 96"]) -> tuple[Float[Tensor, "b k h w"], None]:
        patches = self.embedding(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], 1) + self.positions
        logits = self.readout(self.norm(self.blocks(tokens)))[:, 1:]
        return logits.transpose(1, 2).unflatten(2, (self.side, self.side)), None


def waves(side: int, width: int) -> Float[Tensor, "n width"]:
    """Sines and cosines of the rows and columns of a square of side^2 places, from fast ones to slow ones.

    >>> waves(12, 64).shape
    torch.Size([144, 64])
    """
    frequency = 2 * torch.pi / 2 ** torch.linspace(1, math.log2(3 * side), width // 4)
    phase = torch.arange(side)[:, None] * frequency
    along = torch.cat([phase.sin(), phase.cos()], 1)
    return torch.cat([along[:, None].expand(-1, side, -1), along[None].expand(side, -1, -1)], 2).flatten(0, 1)


class PixelPatches(nn.Module):
    """No network at all: the pixels around a point, as a control for everything that is claimed of a network.

    Means of tiles of `tile` x `tile` pixels, `side` x `side` of them, in as many colours as images have, three as a
    rule: 3 side^2 channels at every tile. Symmetry that photographs have by themselves shows here; whatever a network
    has beyond it, it learned or was given by its architecture.

    >>> PixelPatches(tile=4, side=2)(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 12, 3, 3])
    """

    def __init__(self, tile: int, side: int, colours: int = 3):
        super().__init__()
        self.means = nn.AvgPool2d(tile)
        numbers = colours * side**2
        self.patches = nn.Conv2d(colours, numbers, side, bias=False)
        with torch.no_grad():
            self.patches.weight.copy_(torch.eye(numbers).view(numbers, colours, side, side))

    @no_type_check
    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        return self.patches(self.means(x))
