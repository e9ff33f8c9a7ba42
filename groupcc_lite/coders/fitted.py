"""A decoder for whole orbits, fitted to a sparse autoencoder after its training: the fair opponent of a crosscoder.

A sparse autoencoder has seen single activations only, so its dictionary vectors say nothing about transformed images.
But its latents can be read next to the orbit they came from, and the best linear map from latents to orbits has a
block for every group element, as a crosscoder's decoder has. What the crosscoder learns jointly, this fits afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from groupcc_lite.base import save_module, saved_config, with_saved_weights
from groupcc_lite.coders.crosscoder import CoderOutput, GroupCrosscoder, SparseAutoencoder
from groupcc_lite.groups import FiniteGroup, saved_group
from groupcc_lite.orbits import OrbitSource

FORMAT = 1


class FittedCrosscoder(nn.Module):
    """The encoder of a sparse autoencoder, x^ = W_d f + b_d with one block per group element; not trained further.

    Its latents are exactly those of the autoencoder. Everything that reads a crosscoder's dictionary reads this one.
    """

    def __init__(self, sae: SparseAutoencoder, group: FiniteGroup):
        super().__init__()
        self.sae, self.group, self.channels, self.latents = sae, group, sae.channels, sae.latents
        self.register_buffer("W_d", torch.zeros(sae.latents, group.order, sae.channels))
        self.register_buffer("b_d", torch.zeros(group.order, sae.channels))

    @property
    def dictionary(self) -> Float[Tensor, "m g d"]:
        """The fitted blocks of every latent, in normalised units; zero for a latent that never fired."""
        return self.W_d

    @property
    def W_e(self) -> Float[Tensor, "m d"]:
        """The autoencoder's encoder directions."""
        return self.sae.W_e

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return dict(format=FORMAT, kind=type(self).__name__, group=self.group.name, names=list(self.group.names),
                    table=self.group.table.tolist(), sae=self.sae.config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.sae.device

    def preactivations(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """The autoencoder's, before any sparsity (the model's units)."""
        return self.sae.preactivations(x0)

    def encode(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """The autoencoder's latents (the model's units)."""
        return self.sae.encode(x0)

    def decode(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b g d"]:
        """The whole orbit, in the model's units."""
        return (einsum(f, self.W_d, "b m, m g d -> b g d") + self.b_d) / self.sae.scale

    def forward(self, x: Float[Tensor, "b g d"]) -> CoderOutput:
        """Encode the identity block of x and reconstruct every block."""
        latents = self.encode(x[:, 0])
        return CoderOutput(latents, self.decode(latents))

    def save(self, folder: str | Path) -> None:
        """Write `weights.safetensors`, then `config.json` with its sha256; neither file is ever half written."""
        save_module(self, self.config, folder)

    @classmethod
    def load(cls, folder: str | Path, *, group: FiniteGroup | None = None) -> FittedCrosscoder:
        """Read a saved one; ValueError if files are missing or damaged, or if its group is not `group`."""
        config = saved_config(folder, "fitted crosscoder")
        inner = config["sae"]
        sae = SparseAutoencoder(inner["channels"], inner["latents"],
                                **{key: inner[key] for key in ("activation", "k", "hidden", "scale")})
        found = cls(sae, saved_group(folder, config, "fitted crosscoder", group))
        return with_saved_weights(found, folder)


class Moments(NamedTuple):
    """How latents of x[e] vary together, and with the blocks of x: sums over a source, float64, the model's units.

    Orbit vectors are flat here, n = |G| d numbers each.
    """

    squares: Float[Tensor, "m m"]
    """Products of the latents' deviations from their means; divided by `count`, their covariances."""
    products: Float[Tensor, "m n"]
    """The same of latents and orbit vectors: the averaged orbits of chapter 5."""
    latents: Float[Tensor, " m"]
    """Means."""
    orbits: Float[Tensor, " n"]
    """Means."""
    count: int
    """Orbits that were summed over."""

    def blocks(self, ridge: float) -> Float[Tensor, "m n"]:
        """What each latent adds to an orbit, by ridge regression; `ridge` is in units of a latent's mean variance.

        A ridge of 0 gives least squares, a large one averaged orbits, shortened.
        """
        damping = (ridge * self.squares.diagonal().mean()).clamp(min=1e-12)
        return torch.linalg.solve(self.squares + damping * torch.eye(len(self.squares)).double(), self.products)


@torch.no_grad()
def moments(coder: GroupCrosscoder | FittedCrosscoder, source: OrbitSource, *, batch_size: int = 1024) -> Moments:
    """Of a coder's latents and a source's orbits. Memory: 8 m (m + |G| d) bytes.

    ValueError if the coder reads another number of channels, or if the source is empty.
    """
    if coder.channels != source.channels:
        raise ValueError(f"the autoencoder reads {coder.channels} channels, the orbits have {source.channels}; take "
                         "orbits of the layer that it was trained on")
    m = coder.latents
    latents, orbits = torch.zeros(m).double(), torch.zeros(source.group.order * source.channels).double()
    squares, products, count = torch.zeros(m, m).double(), torch.zeros(m, len(orbits)).double(), 0
    for x in source.in_order(batch_size):
        f, flat = coder.encode(x[:, 0].to(coder.device)).cpu(), x.flatten(1)
        latents += f.sum(0)
        orbits += flat.sum(0)
        squares += f.T @ f
        products += f.T @ flat
        count += len(x)
    if not count:
        raise ValueError("the source has no orbits; expected at least one")
    squares -= torch.outer(latents, latents) / count
    products -= torch.outer(latents, orbits) / count
    return Moments(squares, products, latents / count, orbits / count, count)


@torch.no_grad()
def fit_blocks(sae: GroupCrosscoder, source: OrbitSource, *, ridge: float = 1e-6,
               batch_size: int = 1024) -> FittedCrosscoder:
    """Least squares from an autoencoder's latents of x[e] to all blocks of x, over a source of orbits.

    `ridge` is in units of the mean variance of a latent. Memory and errors as for `moments`; ValueError also for a
    coder that has blocks already.
    """
    if not isinstance(sae, SparseAutoencoder):
        raise ValueError(f"the coder belongs to {sae.group.name} and has its blocks already; expected a sparse "
                         "autoencoder, which reads and writes one block")
    found, summed = FittedCrosscoder(sae, source.group).to(sae.device), moments(sae, source, batch_size=batch_size)
    weights, scale = summed.blocks(ridge), float(sae.scale)
    found.W_d.copy_((weights * scale).view_as(found.W_d))
    found.b_d.copy_(((summed.orbits - summed.latents @ weights) * scale).view_as(found.b_d))
    return found.eval()
