"""Sparse dictionaries: the group crosscoder, and the sparse autoencoder as its trivial-group case.

Conventions. `x` is an orbit vector (b, g, d) in the model's own units; a coder multiplies it by its `scale`, which is
saved with it, because the loss and therefore lambda depend on the scale. Weights carry the paper's names, and `W_d` is
stored latent first, so that `W_d[i]` is the dictionary vector of latent i with one block per group element.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import einsum
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from groupcc_lite.files import atomic_path, read_json, sha256_of, write_json
from groupcc_lite.groups import FiniteGroup, cyclic

ACTIVATIONS = ("relu", "topk", "batchtopk")
FORMAT = 1


class CoderOutput(NamedTuple):
    """What one pass through a coder gives."""

    latents: Float[Tensor, "b m"]
    reconstruction: Float[Tensor, "b g d"]


class GroupCrosscoder(nn.Module):
    """f = act(W_e (x[e] - b) + b_e), x^ = W_d f + b_d: reads one block, writes all of them.

    Source: Gorton 2024, section 2.1; TopK after Gao et al. 2024, BatchTopK after Bussmann et al. 2024. Both select by
    f_i ||W_d,i||, the length of a latent's contribution, so that rescaling a latent against its dictionary vector
    changes nothing. ValueError for an unknown activation or a k that does not fit.
    """

    def __init__(self, group: FiniteGroup, channels: int, latents: int, *, activation: str = "relu",
                 k: int | None = None, scale: float = 1.0, seed: int = 0):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if (k is None) != (activation == "relu"):
            raise ValueError(f"k is {k} with activation {activation!r}; topk and batchtopk need k, relu takes none")
        if k is not None and not 0 < k <= latents:
            raise ValueError(f"k is {k}; expected 1 to {latents}, the number of latents")
        if channels < 1 or latents < 1 or not scale > 0:
            raise ValueError(f"channels={channels}, latents={latents}, scale={scale}: all must be positive")
        self.group, self.channels, self.latents, self.activation, self.k = group, channels, latents, activation, k
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(latents, group.order, channels, generator=generator)
        directions /= directions.flatten(1).norm(dim=1)[:, None, None]
        self.W_d = nn.Parameter(directions)
        # Tied start: the encoder reads what the identity block writes, normalised so that latents begin with unit gain.
        self.W_e = nn.Parameter(nn.functional.normalize(directions[:, 0], dim=-1).clone())
        self.b_e = nn.Parameter(torch.zeros(latents))
        self.b = nn.Parameter(torch.zeros(channels))
        self.b_d = nn.Parameter(torch.zeros(group.order, channels))
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("threshold", torch.tensor(0.0))  # BatchTopK's cut-off outside training
        self.register_buffer("idle", torch.zeros(latents))  # samples since a latent last fired

    @property
    def dictionary(self) -> Float[Tensor, "m g d"]:
        """Dictionary vectors, one block per group element, in normalised units."""
        return self.W_d

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return dict(format=FORMAT, kind=type(self).__name__, group=self.group.name, names=list(self.group.names),
                    table=self.group.table.tolist(), channels=self.channels, latents=self.latents,
                    activation=self.activation, k=self.k, scale=float(self.scale))

    def preactivations(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """W_e (x[e] - b) + b_e, before any sparsity; x0 in the model's units."""
        if x0.ndim != 2 or x0.shape[1] != self.channels:
            raise ValueError(f"x0 has shape {tuple(x0.shape)}; expected (batch, {self.channels})")
        return nn.functional.linear(x0 * self.scale - self.b, self.W_e, self.b_e)

    def encode(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """Latents of untransformed activations x0 (the model's units)."""
        return self._sparsify(self.preactivations(x0).relu())

    def decode(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b g d"]:
        """Reconstruction of the whole orbit, in the model's units."""
        return self._decode_normalised(f) / self.scale

    def forward(self, x: Float[Tensor, "b g d"]) -> CoderOutput:
        """Encode the identity block of x and reconstruct every block."""
        latents = self.encode(self._checked(x)[:, 0])
        return CoderOutput(latents, self.decode(latents))

    def loss(self, x: Float[Tensor, "b g d"], *, sparsity: float = 0.0, aux: float = 1 / 32, aux_k: int = 64,
             dead_after: int = 20_000) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts): mean over the batch of ||x - x^||^2, plus the activation's own terms, in normalised units.

        relu: lambda sum_i f_i ||W_d,i|| with lambda = `sparsity` and the norm of the whole concatenated vector
        (Gorton 2024, section 2.1). topk, batchtopk: `aux` times the error that the `aux_k` strongest dead latents leave
        of the residual (Gao et al. 2024, section 2.4), so that they come back to life.
        """
        pre = self.preactivations(self._checked(x)[:, 0])
        latents = self._sparsify(pre.relu())
        error, residual = _SquaredError.apply(latents, self.W_d, self.b_d, x, float(self.scale))
        parts = {"reconstruction": error}
        if self.activation == "relu":
            parts["l1"] = sparsity * (latents.float() * self._norms()).sum(1).mean()
        elif aux:
            parts["aux"] = aux * self._auxiliary(pre, residual, aux_k, dead_after)
        total = torch.stack([part.float() for part in parts.values()]).sum()
        parts["l0"] = (latents > 0).float().sum(1).mean()
        if self.training:
            self._count_idle(latents.detach())
        return total, {name: part.detach() for name, part in parts.items()}

    @torch.no_grad()
    def variance(self, x: Float[Tensor, "b g d"]) -> Float[Tensor, ""]:
        """Mean squared distance of x from b_d in normalised units: what a coder without latents would leave."""
        return (x * self.scale - self.b_d).square().sum((1, 2)).mean()

    @torch.no_grad()
    def initialise_means(self, x: Float[Tensor, "b g d"]) -> None:
        """Start b and b_d at the mean of a first batch, so that latents need not spend themselves on it."""
        mean = (self._checked(x) * self.scale).mean(0)
        self.b.copy_(mean[0])
        self.b_d.copy_(mean)

    def save(self, folder: str | Path) -> None:
        """Write `weights.safetensors`, then `config.json` with its sha256; neither file is ever half written."""
        folder = Path(folder)
        with atomic_path(folder / "weights.safetensors") as temporary:
            save_file({name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}, temporary)
        write_json(folder / "config.json", self.config | {"sha256": sha256_of(folder / "weights.safetensors")})

    @classmethod
    def load(cls, folder: str | Path, *, group: FiniteGroup | None = None) -> GroupCrosscoder:
        """Read a saved coder; ValueError if files are missing or damaged, or if its group is not `group`."""
        folder = Path(folder)
        for name in ("config.json", "weights.safetensors"):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} holds no saved coder ({name} is missing); train one first")
        config = read_json(folder / "config.json")
        found = FiniteGroup(config["table"], names=config["names"], name=config["group"])
        if group is not None and found != group:
            raise ValueError(f"the coder in {folder} was trained for {found.name}, not for {group.name}; "
                             "load it with its own group or train a new one")
        if sha256_of(folder / "weights.safetensors") != config["sha256"]:
            raise ValueError(f"{folder}/weights.safetensors does not match its checksum in config.json: damaged or "
                             "truncated; delete the folder and train again")
        coder = cls._from_config(config, found)
        try:
            coder.load_state_dict(load_file(folder / "weights.safetensors"))
        except (RuntimeError, SafetensorError) as error:
            raise ValueError(f"{folder}: weights do not fit config.json ({error})") from error
        return coder.eval()

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> GroupCrosscoder:
        return GroupCrosscoder(group, config["channels"], config["latents"], activation=config["activation"],
                               k=config["k"], scale=config["scale"])

    def _checked(self, x: Tensor) -> Tensor:
        expected = (self.group.order, self.channels)
        if x.ndim != 3 or tuple(x.shape[1:]) != expected:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, {expected[0]}, {expected[1]}): one block "
                             f"of {self.channels} channels per element of {self.group.name}")
        return x

    def _decode_normalised(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b g d"]:
        return (f @ self.W_d.flatten(1)).unflatten(1, self.W_d.shape[1:]) + self.b_d

    def _norms(self) -> Float[Tensor, " m"]:
        return self.W_d.flatten(1).norm(dim=1)

    def _sparsify(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        if self.activation == "relu":
            return f
        assert self.k is not None
        contribution = f.detach() * self._norms().detach()
        if self.activation == "topk":
            return _keep(f, contribution.topk(self.k, dim=1).indices)
        if not self.training:
            return f * (contribution > self.threshold)
        cut = contribution.flatten().topk(self.k * len(f)).values[-1]
        with torch.no_grad():  # a running mean, since a single batch's cut is noisy
            self.threshold.lerp_(cut.float(), 1.0 if self.threshold == 0 else 0.1)
        return f * (contribution >= cut)

    def _auxiliary(self, pre: Tensor, residual: Tensor, aux_k: int, dead_after: int) -> Tensor:
        dead: Bool[Tensor, " m"] = self.idle > dead_after
        count = min(aux_k, int(dead.sum()))
        if not count:
            return residual.new_zeros(())
        chosen = dead.nonzero()[:, 0]
        revived = _keep(pre[:, chosen].relu(), (pre.detach()[:, chosen]).topk(count, dim=1).indices)
        guess = einsum(revived, self.W_d[chosen].to(revived.dtype), "b m, m g d -> b g d")
        return (residual - guess).square().sum((1, 2)).mean()

    @torch.no_grad()
    def _count_idle(self, latents: Tensor) -> None:
        self.idle.add_(len(latents)).masked_fill_((latents > 0).any(0), 0)


class SparseAutoencoder(GroupCrosscoder):
    """The crosscoder of the trivial group: one block in, the same block out."""

    def __init__(self, channels: int, latents: int, *, activation: str = "relu", k: int | None = None,
                 scale: float = 1.0, seed: int = 0):
        super().__init__(cyclic(1), channels, latents, activation=activation, k=k, scale=scale, seed=seed)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> SparseAutoencoder:
        if group.order != 1:
            raise ValueError(f"this coder belongs to {group.name}; load it as GroupCrosscoder")
        return SparseAutoencoder(config["channels"], config["latents"], activation=config["activation"],
                                 k=config["k"], scale=config["scale"])


class _SquaredError(torch.autograd.Function):
    """(mean over b of ||scale x - b_d - f W_d||^2, the residual), with its gradient written out.

    Autograd would keep and revisit several tensors of the batch's full size (b, |G| d); this makes one pass over each
    and keeps the residual only, in the precision of the matrix products. The residual itself carries no gradient.
    """

    @staticmethod
    def forward(ctx: Any, f: Tensor, W_d: Tensor, b_d: Tensor, x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        device = x.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        f_low, W_low = f.to(low), W_d.flatten(1).to(low)
        residual = torch.add(-b_d, x, alpha=scale).flatten(1)
        residual -= f_low @ W_low
        error = torch.linalg.vector_norm(residual).square() / len(x)
        ctx.block_shape = x.shape[1:]
        ctx.save_for_backward(f_low, W_low, residual.to(low))
        residual = residual.view_as(x)
        ctx.mark_non_differentiable(residual)
        return error, residual

    @staticmethod
    def backward(ctx: Any, grad_error: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        f, W_d, residual = ctx.saved_tensors
        factor = -2 / len(f) * grad_error
        grad_f = (residual @ W_d.T).float() * factor
        grad_W = ((f * factor).to(f.dtype).T @ residual).float()
        grad_b = residual.sum(0, dtype=torch.float32) * factor
        shape = (-1, *ctx.block_shape)
        return grad_f, grad_W.view(shape), grad_b.view(ctx.block_shape), None, None


def _keep(f: Tensor, indices: Tensor) -> Tensor:
    return torch.zeros_like(f).scatter(1, indices, f.gather(1, indices))
