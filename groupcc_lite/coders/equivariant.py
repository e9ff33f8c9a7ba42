"""The equivariant sparse autoencoder: invariant latents, and one matrix per generator that turns what they write."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.coders.crosscoder import CoderOutput, SparseAutoencoder, build_settings
from groupcc_lite.coders.losses import batch_variance
from groupcc_lite.coders.saved_module import SavedModule, check_blocks, check_source
from groupcc_lite.coders.transforms import TransformMatrix
from groupcc_lite.groups import FiniteGroup


class EquivariantSAE(SavedModule):
    """An invariant SAE and one matrix per generator: D(E(psi(g x))) = psi(x), rho(g) D(E(psi(g x))) = psi(g x).

    `sae` reads the activations of any image of an orbit and writes those of its canonical image, whose block is
    x[:, 0]; `transform` turns them back. The two share no weights, so training them together or apart is the same
    (Erdogan & Lucic 2025, section 3). A `transform` that is handed over is copied and never trained. As `rho(g) W_d`
    has one block per group element, the dictionary is of the crosscoder's kind, and everything in `symmetry` reads it.
    ValueError for a `transform` of another group or other channels.

    >>> import torch
    >>> from groupcc_lite.coders import EquivariantSAE
    >>> from groupcc_lite.groups import cyclic
    >>> coder = EquivariantSAE(cyclic(4), channels=6, latents=20, k=3, hidden=8)
    >>> coder.encode(torch.randn(5, 6)).shape, coder.dictionary.shape
    (torch.Size([5, 20]), torch.Size([20, 4, 6]))
    """

    format = 2

    def __init__(self, group: FiniteGroup, channels: int, latents: int, *, activation: str = "topk",
                 k: int | None = None, hidden: int | None = 512, scale: float = 1.0, seed: int = 0,
                 transform: TransformMatrix | None = None):
        super().__init__()
        if transform is not None and (transform.group, transform.channels) != (group, channels):
            raise ValueError(f"transform is for {transform.group.name} with {transform.channels} channels; expected "
                             f"{group.name} with {channels}")
        self.group, self.channels, self.latents = group, channels, latents
        self.sae = SparseAutoencoder(channels, latents, activation=activation, k=k, hidden=hidden, scale=scale,
                                     seed=seed)
        self.learns_transform = transform is None
        self.transform = TransformMatrix(group, channels, scale=scale) if transform is None else deepcopy(transform)
        self.transform.requires_grad_(self.learns_transform)

    @property
    def dictionary(self) -> Float[Tensor, "m g d"]:
        """rho(g) W_d for every g: how each dictionary vector turns with the image, in normalised units."""
        return einsum(self.transform.matrices(), self.sae.W_d[:, 0], "g c d, m d -> m g c")

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return super().config | dict(learns_transform=self.learns_transform, sae=self.sae.config,
                                     transform=self.transform.config)

    def encode(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """Invariant latents of activations of any image of an orbit (the model's units)."""
        return self.sae.encode(x0)

    def decode(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b g d"]:
        """The whole orbit from invariant latents, in the model's units."""
        return self.transform(self.sae.decode(f)[:, 0])

    def forward(self, x: Float[Tensor, "b g d"]) -> CoderOutput:
        """Encode the canonical block of x and reconstruct every block, as a crosscoder does."""
        latents = self.encode(x[:, 0])
        return CoderOutput(latents, self.decode(latents))

    def nearest_element(self, x0: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """The g whose rho(g) D(E(x0)) is nearest to x0: which transformation made the image, as far as x0 tells.

        The paper hands this element over instead. Its reconstructions then hold an answer that is not in x0, and a
        probe can read it off.
        """
        orbit = self.decode(self.encode(x0))
        return (orbit - x0[:, None]).square().sum(-1).argmin(1)

    def loss(self, x: Float[Tensor, "b g d"], **terms: Any) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts): the invariance loss, mean over images and elements of ||psi(x) - D(E(psi(g x)))||^2, plus the
        transform's own loss (Erdogan & Lucic 2025, equations 2 and 3); `terms` as in `GroupCrosscoder.objective`.
        """
        check_blocks(self, x)
        read = rearrange(x, "b g d -> (b g) d")
        written = repeat(x[:, 0], "b d -> (b g) 1 d", g=self.group.order)
        total, parts = self.sae.objective(read, written, **terms)
        if self.learns_transform:
            turned, turned_parts = self.transform.loss(x)
            total = total + turned
            parts |= {f"transform_{name}": part for name, part in turned_parts.items()}
        return total, parts

    @torch.no_grad()
    def diagnostics(self, x: Float[Tensor, "b g d"], parts: dict[str, float]) -> dict[str, float]:
        """FVE of whole orbits on a batch, as in `evaluate`; `parts` tell how well canonical activations are found."""
        error = (x - self.decode(self.encode(x[:, 0]))).square().sum((1, 2)).mean()
        least = 1e-12 / self.sae._scale ** 2  # the same as for a crosscoder, which judges in normalised units
        return dict(fve=float(1 - error / batch_variance(x).clamp(min=least)))

    def check_source(self, source: Any) -> None:
        """ValueError unless the source's orbits are of this coder's group and channels."""
        check_source(self, source)

    def begin(self, x: Float[Tensor, "b g d"]) -> None:
        """Start the SAE's means at those of the canonical blocks of a first batch, and a learning transform with it."""
        self.sae.begin(x[:, :1])
        if self.learns_transform:
            self.transform.begin(x)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> EquivariantSAE:
        inner = config["sae"]
        coder = cls(group, inner["channels"], inner["latents"], **build_settings(inner),
                    transform=TransformMatrix._from_config(config["transform"], group))
        coder.learns_transform = config["learns_transform"]
        coder.transform.requires_grad_(coder.learns_transform)
        return coder
