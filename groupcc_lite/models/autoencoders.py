"""The base models of Erdogan & Lucic 2025: an MLP and a CNN that squeeze a 64 x 64 image into 256 numbers and back.

Layers are exactly those of the paper's Table 1 (appendix C.2). What the sparse autoencoders later read is the encoder's
output before its last ReLU, so `encode` returns that, and `decode` begins with the ReLU.

The CNN's 16 x 16 kernels meet grids of 16 x 16 cells: one position, so such a layer is one matrix product and is
computed as one. Its parameters keep a convolution's shapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from groupcc_lite.base import digest, save_module, saved_config, with_saved_weights
from groupcc_lite.groups import FiniteGroup, cyclic
from groupcc_lite.stimuli import TILE, Scenes

KINDS = ("mlp", "cnn")
IMAGE_SHAPE = (1, 2 * TILE, 2 * TILE)
AUTOENCODER_FORMAT = 1


class _ToOneCell(nn.Conv2d):
    """A convolution whose kernel covers its whole input."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 1 1"]:
        return nn.functional.linear(x.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]


class _FromOneCell(nn.ConvTranspose2d):
    """A transposed convolution of a single cell."""

    def forward(self, x: Float[Tensor, "b d 1 1"]) -> Float[Tensor, "b c h w"]:
        assert self.bias is not None
        grid = (x.flatten(1) @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])
        return grid + self.bias[:, None, None]


def _mlp(width: int) -> tuple[nn.Sequential, nn.Sequential]:
    pixels = IMAGE_SHAPE[1] * IMAGE_SHAPE[2]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, width))
    decoder = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, pixels),
                            nn.Unflatten(1, IMAGE_SHAPE))
    return encoder, decoder


def _cnn(width: int) -> tuple[nn.Sequential, nn.Sequential]:
    halve, double = dict(stride=2, padding=1), dict(stride=2, padding=1, output_padding=1)
    encoder = nn.Sequential(nn.Conv2d(1, 16, 3, **halve), nn.ReLU(), nn.Conv2d(16, 32, 3, **halve), nn.ReLU(),
                            _ToOneCell(32, width, 16), nn.Flatten())
    decoder = nn.Sequential(nn.Unflatten(1, (width, 1, 1)), nn.ReLU(), _FromOneCell(width, 32, 16), nn.ReLU(),
                            nn.ConvTranspose2d(32, 16, 3, **double), nn.ReLU(),
                            nn.ConvTranspose2d(16, 1, 3, **double))
    return encoder, decoder


class ImageAutoencoder(nn.Module):
    """The base model "mlp" or "cnn" of Table 1: images (b, 1, 64, 64) -> `width` numbers -> images.

    Weights begin as torch's layers begin them, from `seed` alone; torch's global random state is left as it was.
    ValueError for another kind or a width below 1.

    >>> autoencoder = ImageAutoencoder("cnn", width=32)
    >>> autoencoder.encode(torch.rand(2, 1, 64, 64)).shape
    torch.Size([2, 32])
    """

    def __init__(self, kind: str, *, width: int = 256, seed: int = 0):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        if width < 1:
            raise ValueError(f"width is {width}; expected at least 1, the paper has 256")
        self.kind, self.width = kind, width
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from the global generator
            torch.default_generator.manual_seed(seed)
            self.encoder, self.decoder = (_mlp if kind == "mlp" else _cnn)(width)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return dict(format=AUTOENCODER_FORMAT, kind=type(self).__name__, architecture=self.kind, width=self.width)

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of the configuration and the weights: the model's content address."""
        found = hashlib.sha256(digest(self.config, 64).encode())
        for name, tensor in sorted(self.state_dict().items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().double().numpy().tobytes())
        return found.hexdigest()

    def encode(self, images: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b d"]:
        """The encoder's output before its last ReLU: the activations that a sparse autoencoder reads."""
        if images.ndim != 4 or tuple(images.shape[1:]) != IMAGE_SHAPE:
            raise ValueError(f"images have shape {tuple(images.shape)}; expected (b, 1, 64, 64), one channel")
        return self.encoder(images)

    def decode(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b 1 64 64"]:
        """Images from pre-activation encoder outputs; the ReLU between the two halves is applied here."""
        if z.ndim != 2 or z.shape[1] != self.width:
            raise ValueError(f"z has shape {tuple(z.shape)}; expected (b, {self.width}), what `encode` returns")
        return self.decoder(z)

    def forward(self, images: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 64 64"]:
        """The reconstruction of images; nothing confines its values to [0, 1]."""
        return self.decode(self.encode(images))

    # ------------------------------------------------------------------------------------ what training asks for

    def check_source(self, source: Any) -> None:
        """ValueError unless `source` yields images of this model's size, as `SceneImages` does."""
        found = getattr(source, "image_shape", None)
        if found != IMAGE_SHAPE:
            raise ValueError(f"the source yields {'no images' if found is None else f'images of shape {found}'}; an "
                             f"autoencoder of images is trained on {IMAGE_SHAPE}: use SceneImages")

    def begin(self, x: Float[Tensor, "b 1 h w"]) -> None:
        """Nothing depends on the first batch."""

    def loss(self, x: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts): squared error, the mean over images and pixels, in squared units of intensity."""
        total = (self(x) - x).square().mean()
        return total, {"mse": total.detach()}

    def diagnostics(self, x: Float[Tensor, "b 1 h w"], parts: dict[str, float]) -> dict[str, float]:
        """"fve": 1 - mse / variance, where the variance is that of the batch's pixels about the batch's mean image.

        `parts` are the loss's, as numbers.
        """
        variance = float((x - x.mean(0)).square().mean())
        return {"fve": 1 - parts["mse"] / max(variance, 1e-12)}

    # ----------------------------------------------------------------------------------------------------- files

    def save(self, folder: str | Path) -> None:
        """Write `weights.safetensors`, then `config.json` with its sha256; neither file is ever half written."""
        save_module(self, self.config, folder)

    @classmethod
    def load(cls, folder: str | Path) -> ImageAutoencoder:
        """Read a saved autoencoder; ValueError if files are missing, damaged or another kind of model's."""
        config = saved_config(folder, "autoencoder")
        if config.get("kind") != cls.__name__ or config.get("format") != AUTOENCODER_FORMAT:
            raise ValueError(f"{folder} holds a {config.get('kind')} of format {config.get('format')}, not an "
                             f"{cls.__name__} of format {AUTOENCODER_FORMAT}; load it with its own class or train anew")
        return with_saved_weights(cls(config["architecture"], width=config["width"]), folder)


# ----------------------------------------------------------------------------------------------- data for training

class SceneImages:
    """Scenes as a source of training batches: in every epoch each scene once, moved by a random element of `group`.

    `group`: cyclic(4) for the paper's "random 90 degree rotations" (default), dihedral(4) for mirrors too, trivial()
    for none. Order and elements depend on (seed, epoch) only. Images are drawn when they are asked for, which costs
    less than a tenth of a training step. ValueError for no scenes or another group.

    >>> from groupcc_lite.stimuli import random_scenes
    >>> next(SceneImages(random_scenes(10)).batches(4)).shape
    torch.Size([4, 1, 64, 64])
    """

    scale = 1.0
    image_shape = IMAGE_SHAPE

    def __init__(self, scenes: Scenes, group: FiniteGroup | None = None):
        if not len(scenes):
            raise ValueError("there are no scenes to train on; expected at least one")
        self.scenes, self.group = scenes, cyclic(4) if group is None else group
        self._moved = scenes.orbit(self.group)

    def __len__(self) -> int:
        return len(self.scenes)

    def batches_per_epoch(self, batch_size: int) -> int:
        """Number of full batches; ValueError when there is not even one."""
        if not 1 <= batch_size <= len(self):
            raise ValueError(f"batch_size is {batch_size}; expected 1 to {len(self)}, the number of scenes")
        return len(self) // batch_size

    def choices(self, *, seed: int = 0, epoch: int = 0) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
        """(scenes, elements) of one epoch in the order of its batches."""
        rng = np.random.default_rng([seed, epoch])
        return torch.from_numpy(rng.permutation(len(self))), torch.from_numpy(rng.integers(self.group.order,
                                                                                            size=len(self)))

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0,
                start: int = 0) -> Iterator[Float[Tensor, "b 1 64 64"]]:
        """Shuffled batches of one epoch, from batch number `start` on; the last incomplete batch is dropped."""
        scenes, elements = self.choices(seed=seed, epoch=epoch)
        rows = scenes * self.group.order + elements
        for number in range(start, self.batches_per_epoch(batch_size)):
            yield self._moved[rows[number * batch_size:(number + 1) * batch_size]].images()


@torch.no_grad()
def activations(autoencoder: ImageAutoencoder, scenes: Scenes, G: FiniteGroup,
                batch_size: int = 512) -> Float[Tensor, "b g d"]:
    """Orbits of activations: [:, g] = encode(g image), [:, 0] that of the scene itself; on the CPU.

    `batch_size` counts images. ValueError for no scenes, or a group that does not move scenes.

    >>> from groupcc_lite.stimuli import random_scenes
    >>> activations(ImageAutoencoder("mlp", width=16), random_scenes(3), cyclic(4)).shape
    torch.Size([3, 4, 16])
    """
    if not len(scenes) or batch_size < 1:
        raise ValueError(f"{len(scenes)} scenes with batch_size {batch_size}; expected at least one of each")
    moved = scenes.orbit(G)
    parts = [autoencoder.encode(moved[first:first + batch_size].images().to(autoencoder.device)).cpu()
             for first in range(0, len(moved), batch_size)]
    return rearrange(torch.cat(parts), "(b g) d -> b g d", g=G.order)
