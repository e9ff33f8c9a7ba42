"""How a layer's output becomes a grid (b, d, h, w): tokens of transformers, and blocks with channels last.

A convolution gives a grid as it is. A transformer gives a row of tokens: perhaps some that belong to no place, such as
class and register tokens, then one for each patch, row by row. Swin and ConvNeXt keep channels last inside their
blocks. `recognised` tells them apart by what the layer gives for a test batch; where it cannot, the user says.
"""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, fx, nn

from groupcc_lite.models.geometry import NominalGeometry

MOST_PREFIX_TOKENS = 16
"""Up to so many tokens that belong to no place are taken for granted; networks have 0 to 9."""


@dataclass(frozen=True)
class TokenGrid:
    """Tokens (b, t, d) as a grid: `prefix` tokens without a place, then those of square patches of `patch` pixels.

    The prefix tokens are left out. Attention mixes all of them, so the geometry is nominal: a token sits in the middle
    of its patch.

    >>> import torch
    >>> tokens = torch.arange(5.0).view(1, 5, 1)
    >>> TokenGrid(patch=8, prefix=1).as_grid(tokens, input_size=16)[0, 0].tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    >>> TokenGrid(patch=16, prefix=5).geometry(input_size=224)
    NominalGeometry(stride=16, first=7.5, input_size=224, grid=14; a cell may see all of it)
    """

    patch: int
    """Side of a patch in pixels; where stages merge patches, side of what a token of this layer stands for."""
    prefix: int = 0
    """How many tokens come before the patches: the class token, registers."""

    def __post_init__(self) -> None:
        if self.patch < 1 or self.prefix < 0:
            raise ValueError(f"TokenGrid has patch={self.patch} and prefix={self.prefix}; expected a patch of at "
                             "least 1 pixel and 0 or more prefix tokens")

    def as_grid(self, tokens: Float[Tensor, "b t d"], input_size: int) -> Float[Tensor, "b d h w"]:
        """The tokens of the patches; ValueError if there are more or fewer of them than patches."""
        side = input_size // self.patch
        if tokens.ndim != 3 or tokens.shape[1] != self.prefix + side * side:
            raise ValueError(f"the layer gives {tuple(tokens.shape)}; {self} expects (b, {self.prefix} + {side} x "
                             f"{side}, d) for an image of {input_size} px")
        return rearrange(tokens[:, self.prefix:], "b (h w) d -> b d h w", h=side)

    def geometry(self, input_size: int) -> NominalGeometry:
        """Where the tokens sit in an image of this size."""
        return NominalGeometry(stride=self.patch, first=(self.patch - 1) / 2, receptive_field=input_size,
                               input_size=input_size, grid=input_size // self.patch)


@dataclass(frozen=True)
class ChannelsLast:
    """A grid (b, h, w, d), which becomes (b, d, h, w), as between the blocks of Swin and inside those of ConvNeXt.

    >>> import torch
    >>> ChannelsLast().as_grid(torch.zeros(2, 7, 7, 96), input_size=224).shape
    torch.Size([2, 96, 7, 7])
    """

    def as_grid(self, output: Tensor | fx.Proxy, input_size: int) -> Tensor | fx.Proxy:
        """The same with channels second; a view."""
        return output.permute(0, 3, 1, 2)


class OnGrid(nn.Module):
    """A network whose output is put on a grid; images (b, c, s, s) -> (b, d, h, w).

    >>> OnGrid(nn.Sequential(nn.Flatten(2), nn.Identity()), ChannelsLast(), input_size=4).grid
    ChannelsLast()
    """

    def __init__(self, network: nn.Module, grid: TokenGrid | ChannelsLast, input_size: int):
        super().__init__()
        self.network, self.grid, self.input_size = network, grid, input_size

    def forward(self, images: Tensor | fx.Proxy) -> Tensor | fx.Proxy:  # torch.fx traces it
        return self.grid.as_grid(self.network(images), self.input_size)

    def extra_repr(self) -> str:
        return repr(self.grid)


def recognised(network: nn.Module, output: Tensor, input_size: int) -> TokenGrid | ChannelsLast | None:
    """How this output of a layer, for a batch of two images, is a grid; None where it is one (b, d, h, w) already.

    `network` is asked for the patches that it cuts images into. ValueError for vectors, which have no places, for
    tokens whose number fits no square of patches, and for batches that do not come first.

    >>> import torch
    >>> recognised(nn.Identity(), torch.zeros(2, 197, 192), 224), recognised(nn.Identity(), torch.zeros(2, 8, 4, 4), 16)
    (TokenGrid(patch=16, prefix=1), None)
    """
    shape = tuple(output.shape)
    if len(shape) in (3, 4) and shape[0] != 2:
        raise ValueError(f"the layer gives {shape} for two images; expected the batch on the first axis")
    if len(shape) == 4 and shape[2] == shape[3] > 1:
        return None
    if len(shape) == 4 and shape[1] == shape[2] > 1:
        return ChannelsLast()
    if len(shape) == 3 and shape[1] > 1:
        return _tokens(network, shape[1], input_size)
    one = f"(b, {', '.join(map(str, shape[1:]))})"
    if len(shape) == 4 and shape[2] != shape[3]:
        raise ValueError(f"the layer's output for a {input_size} px image has shape {one}; expected a square grid "
                         "(b, d, h, h)")
    raise NoPlaces(f"gives one vector for the whole image, shape {one}, and no grid of places")


class NoPlaces(ValueError):
    """A layer behind a global pooling or a class token."""


def _tokens(network: nn.Module, count: int, input_size: int) -> TokenGrid:
    for patch in _patches(network, input_size):
        prefix = count - (input_size // patch) ** 2
        if 0 <= prefix <= MOST_PREFIX_TOKENS:
            return TokenGrid(patch, prefix)
    raise ValueError(f"the layer gives {count} tokens for an image of {input_size} px, which is no square grid of "
                     f"patches and up to {MOST_PREFIX_TOKENS} tokens before them; say how they lie, grid=TokenGrid("
                     "patch=..., prefix=...), or choose another layer")


def _patches(network: nn.Module, input_size: int) -> list[int]:
    """Sides that patches may have, the likeliest first: that of the network's own, then multiples of it, then all.

    Stages that merge patches double their side.
    """
    own = next((module.stride[0] for module in network.modules() if isinstance(module, nn.Conv2d)), 0)
    merged = [own * 2**k for k in range(6)] if own > 1 else []
    fitting = [side for side in range(2, input_size + 1) if input_size % side == 0]
    return [side for side in [*merged, *fitting] if 1 < side < input_size]
