"""A decoder for whole orbits, fitted to a sparse autoencoder after its training: the fair opponent of a crosscoder.

A sparse autoencoder has seen single activations only, so its dictionary vectors say nothing about transformed images.
But its latents can be read next to the orbit they came from, and the best linear map from latents to orbits has a
block for every group element, as a crosscoder's decoder has. What the crosscoder learns jointly, this fits afterwards.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.coders.crosscoder import CoderOutput, GroupCrosscoder, SparseAutoencoder, build_settings
from groupcc_lite.coders.metrics import evaluating
from groupcc_lite.coders.saved_module import SavedModule
from groupcc_lite.coders.second_moments import SecondMoments
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.orbits import OrbitSource


class FittedCrosscoder(SavedModule):
    """The encoder of a sparse autoencoder, x^ = W_d f + b_d with one block per group element; not trained further.

    Its latents are exactly those of the autoencoder, of which it keeps a copy. Everything that reads a crosscoder's
    dictionary reads this one. ValueError for an autoencoder of another kind, such as one whose latents come in blocks.

    >>> from groupcc_lite.coders import FittedCrosscoder, SparseAutoencoder
    >>> from groupcc_lite.groups import cyclic
    >>> FittedCrosscoder(SparseAutoencoder(channels=6, latents=20), cyclic(4)).dictionary.shape
    torch.Size([20, 4, 6])
    """

    what = "fitted crosscoder"

    def __init__(self, sae: SparseAutoencoder, group: FiniteGroup):
        super().__init__()
        if type(sae) is not SparseAutoencoder:
            raise ValueError(f"the autoencoder is a {type(sae).__name__}, which would be loaded as another coder than "
                             "was saved; fit blocks to a SparseAutoencoder")
        sae = deepcopy(sae)
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
        return super().config | dict(sae=self.sae.config)

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

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> FittedCrosscoder:
        inner = config["sae"]
        return cls(SparseAutoencoder(inner["channels"], inner["latents"], **build_settings(inner)), group)


@torch.no_grad()
def moments(coder: GroupCrosscoder | FittedCrosscoder, source: OrbitSource, *,
            batch_size: int = 1024) -> SecondMoments:
    """Of a coder's latents outside training and a source's orbits, in the model's units, on the coder's device.

    Memory: 8 m (m + |G| d) bytes. ValueError if the coder reads another number of channels, or if the source is empty.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder, moments
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> found = moments(SparseAutoencoder(channels=6, latents=20), TensorOrbits(torch.ones(30, 4, 6), cyclic(4)))
    >>> found.count, found.squares.shape, found.products.shape
    (30, torch.Size([20, 20]), torch.Size([20, 24]))
    """
    if coder.channels != source.channels:
        raise ValueError(f"the autoencoder reads {coder.channels} channels, the orbits have {source.channels}; take "
                         "orbits of the layer that it was trained on")
    found = SecondMoments()
    with evaluating(coder):
        for x in source.in_order(batch_size):
            x = x.to(coder.device)
            found.add(coder.encode(x[:, 0]), x)
    if not found.count:
        raise ValueError("the source has no orbits; expected at least one")
    return found


@torch.no_grad()
def fit_blocks(sae: GroupCrosscoder, source: OrbitSource, *, ridge: float = 1e-6,
               batch_size: int = 1024) -> FittedCrosscoder:
    """Least squares from an autoencoder's latents of x[e] to all blocks of x, over a source of orbits.

    `ridge` is in units of the mean variance of a latent. Memory and errors as for `moments`; ValueError also for a
    coder that has blocks already.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder, fit_blocks
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> x0 = torch.randn(500, 1, 6, generator=torch.Generator().manual_seed(0))
    >>> sae = SparseAutoencoder(channels=6, latents=40)
    >>> fitted = fit_blocks(sae, TensorOrbits(torch.cat([x0, -x0], dim=1), cyclic(2)))
    >>> torch.allclose(fitted.dictionary[:, 1], -fitted.dictionary[:, 0], atol=1e-3)
    True
    """
    if not isinstance(sae, SparseAutoencoder):
        raise ValueError(f"the coder belongs to {sae.group.name} and has its blocks already; expected a sparse "
                         "autoencoder, which reads and writes one block")
    if not hasattr(source, "group"):
        raise ValueError(f"source is {type(source).__name__}, which does not say its group; give TensorOrbits(x, "
                         "group) with x of shape (samples, group elements, channels)")
    found, summed = FittedCrosscoder(sae, source.group).to(sae.device), moments(sae, source, batch_size=batch_size)
    weights, scale = summed.blocks(ridge), float(sae.scale)
    found.W_d.copy_((weights * scale).view_as(found.W_d))
    found.b_d.copy_(((summed.mean_y - summed.mean_x @ weights) * scale).view_as(found.b_d))
    return found.eval()
