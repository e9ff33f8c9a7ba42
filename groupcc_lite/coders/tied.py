"""A crosscoder that is symmetric by construction: one vector for each family, and every pose of it for free."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from groupcc_lite.coders.crosscoder import CoderOutput
from groupcc_lite.coders.losses import batch_variance
from groupcc_lite.coders.saved_module import SavedModule, check_blocks, check_source
from groupcc_lite.groups import FiniteGroup, convolve

ACTIVATIONS = ("relu", "topk")


class TiedCrosscoder(SavedModule):
    """z_j[k] = act(w_j (x[k] - b) + b_j), x^[g] = sum_jk z_j[k] F_j[g k^-1] + b_d: finds and writes all poses alike.

    Each of the `bases` F_j stands for its whole orbit. Latent (j, h), number j |G| + h, is z_j[h^-1], and has the
    dictionary vector h . F_j, so that there are bases x |G| latents with 1/|G| of a crosscoder's parameters. The coder
    commutes with the group exactly: for (h . x)[g] = x[gh] codes and reconstruction move in the same way. It reads all
    blocks, so compare it with coders that do.

    A base with the stabiliser H fires at |H| elements at once, with equal vectors. These copies count separately for
    TopK's `k` and for L0; the L1 term, which adds up what is written, counts them once.

    `activation`: "relu" with an L1 term, or "topk" with the `k` strongest latents of each orbit by the length of what
    they write. Other arguments as for `GroupCrosscoder`. ValueError for an unknown activation, a k that does not fit,
    or sizes that are not positive.

    Source: the exact symmetry that Erdogan & Lucic 2025 say cannot be enforced on activations (section 2); a
    convolution over the group as in Cohen & Welling 2016, on codes in place of images.

    >>> import torch
    >>> from groupcc_lite.coders import TiedCrosscoder
    >>> from groupcc_lite.groups import dihedral
    >>> coder = TiedCrosscoder(dihedral(4), channels=6, bases=5, activation="topk", k=3)
    >>> latents, reconstruction = coder(torch.randn(7, 8, 6))
    >>> latents.shape, reconstruction.shape, coder.dictionary.shape
    (torch.Size([7, 40]), torch.Size([7, 8, 6]), torch.Size([40, 8, 6]))
    >>> sum(p.numel() for p in coder.parameters())
    287
    """

    def __init__(self, group: FiniteGroup, channels: int, bases: int, *, activation: str = "relu", k: int | None = None,
                 scale: float = 1.0, seed: int = 0):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if (k is None) != (activation == "relu"):
            raise ValueError(f"k is {k} with activation {activation!r}; topk needs k, relu takes none")
        if k is not None and not 0 < k <= bases * group.order:
            raise ValueError(f"k is {k}; expected 1 to {bases * group.order}, the number of latents")
        if channels < 1 or bases < 1 or not scale > 0:
            raise ValueError(f"channels={channels}, bases={bases}, scale={scale}: all must be positive")
        self.group, self.channels, self.bases, self.activation, self.k = group, channels, bases, activation, k
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(bases, group.order, channels, generator=generator)
        self.W_d = nn.Parameter(directions / directions.flatten(1).norm(dim=1)[:, None, None])
        self.W_e = nn.Parameter(nn.functional.normalize(directions[:, 0], dim=-1).clone())
        self.b_e = nn.Parameter(torch.zeros(bases))
        self.b, self.b_d = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("idle", torch.zeros(bases))  # samples since any latent of a base last fired

    @property
    def latents(self) -> int:
        """Bases times elements."""
        return self.bases * self.group.order

    @property
    def dictionary(self) -> Float[Tensor, "m g d"]:
        """h . F_j of every latent, in normalised units: |G| times as large as the parameters."""
        return self.W_d[:, torch.as_tensor(self.group.table, device=self.device)].transpose(1, 2).flatten(0, 1)

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return super().config | dict(channels=self.channels, bases=self.bases, activation=self.activation, k=self.k,
                                     scale=float(self.scale))

    def extra_repr(self) -> str:
        sparsity = f"{self.activation}, k={self.k}" if self.k is not None else self.activation
        return f"{self.group.name}, channels={self.channels}, bases={self.bases}, {sparsity}"

    def preactivations(self, x: Float[Tensor, "b g d"]) -> Float[Tensor, "b g j"]:
        """What each base finds in each block, before any sparsity; x in the model's units."""
        return nn.functional.linear(check_blocks(self, x) * self.scale - self.b, self.W_e, self.b_e)

    def codes(self, x: Float[Tensor, "b g d"]) -> Float[Tensor, "b g j"]:
        """z_j[k], sparse."""
        return self._sparsify(self.preactivations(x).relu())

    def encode(self, x: Float[Tensor, "b g d"]) -> Float[Tensor, "b m"]:
        """Latents of whole orbits in the model's units: (j, h) is z_j[h^-1]."""
        return rearrange(self.codes(x)[:, self.group.inverse.tolist()], "b h j -> b (j h)")

    def decode(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b g d"]:
        """Reconstruction of whole orbits, in the model's units."""
        z = rearrange(f, "b (j h) -> b h j", h=self.group.order)[:, self.group.inverse.tolist()]
        return self._write(z) / self.scale

    def forward(self, x: Float[Tensor, "b g d"]) -> CoderOutput:
        """Encode whole orbits, and reconstruct them."""
        latents = self.encode(x)
        return CoderOutput(latents, self.decode(latents))

    def loss(self, x: Float[Tensor, "b g d"], *, sparsity: float = 0.0, aux: float = 1 / 32, aux_k: int = 64,
             dead_after: int = 20_000) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts): mean over orbits of ||x - x^||^2, and the activation's own term, in normalised units.

        relu: lambda sum_jk z_j[k] ||F_j||. topk: `aux` times the error that the `aux_k` strongest latents of dead bases
        leave of the residual.
        """
        pre = self.preactivations(x)
        z = self._sparsify(pre.relu())
        residual = x * self.scale - self._write(z)
        parts = {"reconstruction": residual.square().sum((1, 2)).mean()}
        dead = self.idle > dead_after
        if self.k is None:
            parts["l1"] = sparsity * (z * self.W_d.flatten(1).norm(dim=1)).sum((1, 2)).mean()
        elif aux:
            parts["aux"] = aux * self._auxiliary(pre, residual.detach(), aux_k, dead)
        total = torch.stack(list(parts.values())).sum()
        active = z.detach() > 0
        if self.training:
            self.idle.add_(len(x)).masked_fill_(active.any(1).any(0), 0)
        parts |= dict(l0=active.float().sum((1, 2)).mean(), dead=(self.idle > dead_after).float().mean())
        return total, {name: part.detach() for name, part in parts.items()}

    @torch.no_grad()
    def diagnostics(self, x: Float[Tensor, "b g d"], parts: dict[str, float]) -> dict[str, float]:
        """FVE on a batch, about the batch's mean as in `evaluate`, from the loss's parts."""
        return dict(fve=1 - parts["reconstruction"] / max(float(batch_variance(x * self.scale)), 1e-12))

    def check_source(self, source: Any) -> None:
        """ValueError unless the source's orbits are of this coder's group and channels."""
        check_source(self, source)

    @torch.no_grad()
    def begin(self, x: Float[Tensor, "b g d"]) -> None:
        """Start b and b_d at the mean of a first batch over all elements: they are the same for each."""
        mean = (check_blocks(self, x) * self.scale).mean((0, 1))
        self.b.copy_(mean)
        self.b_d.copy_(mean)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> TiedCrosscoder:
        return cls(group, config["channels"], config["bases"], activation=config["activation"], k=config["k"],
                   scale=config["scale"])

    def _sparsify(self, z: Float[Tensor, "b g j"]) -> Float[Tensor, "b g j"]:
        if self.k is None:
            return z
        written = (z * self.W_d.flatten(1).norm(dim=1)).detach().flatten(1)
        chosen = written.topk(self.k, dim=1).indices
        return z * torch.zeros_like(written).scatter(1, chosen, 1.0).view_as(z)

    def _write(self, z: Float[Tensor, "b g j"]) -> Float[Tensor, "b g d"]:
        return convolve(self.W_d, z, self.group) + self.b_d

    def _auxiliary(self, pre: Float[Tensor, "b g j"], residual: Float[Tensor, "b g d"], aux_k: int,
                   dead: Bool[Tensor, " j"]) -> Float[Tensor, ""]:
        """Mean squared error that the strongest latents of dead bases leave of the residual; 0 if none is dead."""
        if pre.device.type == "cpu" and not dead.any():
            return residual.new_zeros(())
        candidates = pre.masked_fill(~dead, -torch.inf).flatten(1)
        chosen = candidates.topk(min(aux_k, candidates.shape[1]), dim=1)
        revived = torch.zeros_like(candidates).scatter(1, chosen.indices, chosen.values.relu()).view_as(pre)
        error = (residual - convolve(self.W_d, revived, self.group)).square().sum((1, 2)).mean()
        return torch.where(dead.any(), error, 0.0)
