"""Sparse dictionaries: the group crosscoder, the sparse autoencoder as its trivial-group case, the equivariant SAE.

Conventions. `x` is an orbit vector (b, g, d) in the model's own units; a coder multiplies it by its `scale`, which is
saved with it, because the loss and therefore lambda depend on the scale. Weights carry the paper's names, and `W_d` is
stored latent first, so that `W_d[i]` is the dictionary vector of latent i with one block per group element.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from groupcc_lite.base import read_json, save_module, saved_config, with_saved_weights, write_json
from groupcc_lite.coders.reconstruction import squared_error
from groupcc_lite.coders.transforms import TransformMatrix
from groupcc_lite.groups import FiniteGroup, cyclic, saved_group

ACTIVATIONS = ("relu", "topk", "batchtopk")
"""How latents become sparse: by an L1 term of the loss, by the k largest of a sample, or of a batch."""
FORMAT = 1


class CoderOutput(NamedTuple):
    """What one pass through a coder gives."""

    latents: Float[Tensor, "b m"]
    reconstruction: Float[Tensor, "b g d"]


class GroupCrosscoder(nn.Module):
    """f = act(W_e (x[e] - b) + b_e), x^ = W_d f + b_d: reads one block, writes all of them.

    Source: Gorton 2024, section 2.1; TopK after Gao et al. 2024, BatchTopK after Bussmann et al. 2024. Both select by
    f_i ||W_d,i||, the length of a latent's contribution, so that rescaling a latent against its dictionary vector
    changes nothing. With `hidden` the encoder has two layers, W_e relu(W_h (x[e] - b) + b_h) + b_e (Erdogan & Lucic
    2025, section 3).

    `channels` of the layer, `latents` in the dictionary; `k` active latents of a sample, with batchtopk on average
    (None with relu); `scale` takes the model's units to normalised ones, see `orbits.OrbitSource`; `seed` draws the
    first dictionary. ValueError for an unknown activation, a k that does not fit, or sizes that are not positive.
    """

    def __init__(self, group: FiniteGroup, channels: int, latents: int, *, activation: str = "relu",
                 k: int | None = None, hidden: int | None = None, scale: float = 1.0, seed: int = 0):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if (k is None) != (activation == "relu"):
            raise ValueError(f"k is {k} with activation {activation!r}; topk and batchtopk need k, relu takes none")
        if k is not None and not 0 < k <= latents:
            raise ValueError(f"k is {k}; expected 1 to {latents}, the number of latents")
        if channels < 1 or latents < 1 or not scale > 0 or (hidden is not None and hidden < 1):
            raise ValueError(f"channels={channels}, latents={latents}, hidden={hidden}, scale={scale}: all must be "
                             "positive (hidden may be None)")
        self.group, self.channels, self.latents, self.activation, self.k = group, channels, latents, activation, k
        self.hidden = hidden
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(latents, group.order, channels, generator=generator)
        directions /= directions.flatten(1).norm(dim=1)[:, None, None]
        self.W_d = nn.Parameter(directions)
        # Tied start: the encoder reads what the identity block writes, normalised so that latents begin with unit gain.
        self.W_e = nn.Parameter(nn.functional.normalize(directions[:, 0], dim=-1).clone())
        if hidden is not None:  # inputs have entries of size 1 in normalised units; these keep them so
            self.W_h = nn.Parameter(torch.randn(hidden, channels, generator=generator) * (2 / channels) ** 0.5)
            self.b_h = nn.Parameter(torch.zeros(hidden))
            self.W_e = nn.Parameter(torch.randn(latents, hidden, generator=generator) / hidden ** 0.5)
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
                    activation=self.activation, k=self.k, hidden=self.hidden, scale=float(self.scale))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.W_d.device

    def preactivations(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """The encoder's output before any sparsity; x0 in the model's units."""
        if x0.ndim != 2 or x0.shape[1] != self.channels:
            raise ValueError(f"x0 has shape {tuple(x0.shape)}; expected (batch, {self.channels})")
        read = x0 * self.scale - self.b
        if self.hidden is not None:
            read = nn.functional.linear(read, self.W_h, self.b_h).relu()
        return nn.functional.linear(read, self.W_e, self.b_e)

    def encode(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """Latents of untransformed activations x0 (the model's units)."""
        return self._sparsify(self.preactivations(x0).relu())

    def decode(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b g d"]:
        """Reconstruction of the whole orbit, in the model's units."""
        return self._decode_normalised(f) / self.scale

    def forward(self, x: Float[Tensor, "b g d"]) -> CoderOutput:
        """Encode the identity block of x and reconstruct every block."""
        latents = self.encode(_check_blocks(self, x)[:, 0])
        return CoderOutput(latents, self.decode(latents))

    def loss(self, x: Float[Tensor, "b g d"], **terms: Any) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts) of reconstructing whole orbits from their identity blocks; `terms` as in `objective`."""
        return self.objective(_check_blocks(self, x)[:, 0], x, **terms)

    def objective(self, x0: Float[Tensor, "b d"], x: Float[Tensor, "b g d"], *, sparsity: float = 0.0,
                  aux: float = 1 / 32, aux_k: int = 64,
                  dead_after: int = 20_000) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts): mean over the batch of ||x - x^||^2 where x^ is made from x0, plus the activation's own
        terms, in normalised units.

        relu: lambda sum_i f_i ||W_d,i|| with lambda = `sparsity` and the norm of the whole concatenated vector
        (Gorton 2024, section 2.1). topk, batchtopk: `aux` times the error that the `aux_k` strongest dead latents leave
        of the residual (Gao et al. 2024, section 2.4), so that they come back to life.
        """
        pre = self.preactivations(x0)
        latents = self._sparsify(pre.relu())
        error, residual = squared_error(latents, self.W_d, self.b_d, x, float(self.scale))
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

    def diagnostics(self, x: Float[Tensor, "b g d"], parts: dict[str, float], dead_after: int) -> dict[str, float]:
        """FVE on a batch, from the loss's parts, and the fraction of latents idle for over `dead_after` samples."""
        return dict(fve=1 - parts["reconstruction"] / max(float(self.variance(x)), 1e-12),
                    dead=float((self.idle > dead_after).float().mean()))

    def check_source(self, source: Any) -> None:
        """ValueError unless the source's orbits are of this coder's group and channels."""
        _check_source(self, source)

    @torch.no_grad()
    def begin(self, x: Float[Tensor, "b g d"]) -> None:
        """Start b and b_d at the mean of a first batch, so that latents need not spend themselves on it."""
        mean = (_check_blocks(self, x) * self.scale).mean(0)
        self.b.copy_(mean[0])
        self.b_d.copy_(mean)

    def save(self, folder: str | Path) -> None:
        """Write `weights.safetensors`, then `config.json` with its sha256; neither file is ever half written."""
        save_module(self, self.config, folder)

    @classmethod
    def load(cls, folder: str | Path, *, group: FiniteGroup | None = None) -> GroupCrosscoder:
        """Read a saved coder; ValueError if files are missing or damaged, or if its group is not `group`."""
        config = saved_config(folder, "coder")
        return with_saved_weights(cls._from_config(config, saved_group(folder, config, "coder", group)), folder)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> GroupCrosscoder:
        return GroupCrosscoder(group, config["channels"], config["latents"], **_build_settings(config))

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
    """The crosscoder of the trivial group: one block in, the same block out. Arguments as for `GroupCrosscoder`."""

    def __init__(self, channels: int, latents: int, *, activation: str = "relu", k: int | None = None,
                 hidden: int | None = None, scale: float = 1.0, seed: int = 0):
        super().__init__(cyclic(1), channels, latents, activation=activation, k=k, hidden=hidden, scale=scale,
                         seed=seed)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> SparseAutoencoder:
        if group.order != 1:
            raise ValueError(f"this coder belongs to {group.name}; load it as GroupCrosscoder")
        return SparseAutoencoder(config["channels"], config["latents"], **_build_settings(config))


class EquivariantSAE(nn.Module):
    """An invariant SAE and one matrix per generator: D(E(psi(g x))) = psi(x), rho(g) D(E(psi(g x))) = psi(g x).

    `sae` reads the activations of any image of an orbit and writes those of its canonical image, whose block is
    x[:, 0]; `transform` turns them back. The two share no weights, so training them together or apart is the same
    (Erdogan & Lucic 2025, section 3). A `transform` that is handed over is kept as it is. As `rho(g) W_d` has one block
    per group element, the dictionary is of the crosscoder's kind, and everything in `symmetry` reads it.
    """

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
        self.transform = TransformMatrix(group, channels, scale=scale) if transform is None else transform
        self.transform.requires_grad_(self.learns_transform)

    @property
    def dictionary(self) -> Float[Tensor, "m g d"]:
        """rho(g) W_d for every g: how each dictionary vector turns with the image, in normalised units."""
        return einsum(self.transform.matrices(), self.sae.W_d[:, 0], "g c d, m d -> m g c")

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return dict(format=FORMAT, kind=type(self).__name__, learns_transform=self.learns_transform,
                    sae=self.sae.config, transform=self.transform.config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.sae.device

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
        _check_blocks(self, x)
        read = rearrange(x, "b g d -> (b g) d")
        written = repeat(x[:, 0], "b d -> (b g) 1 d", g=self.group.order)
        total, parts = self.sae.objective(read, written, **terms)
        if self.learns_transform:
            turned, turned_parts = self.transform.loss(x)
            total = total + turned
            parts |= {f"transform_{name}": part for name, part in turned_parts.items()}
        return total, parts

    def diagnostics(self, x: Float[Tensor, "b g d"], parts: dict[str, float], dead_after: int) -> dict[str, float]:
        """FVE of canonical activations on a batch, and the fraction of idle latents."""
        return self.sae.diagnostics(x[:, :1], parts, dead_after)

    def check_source(self, source: Any) -> None:
        """ValueError unless the source's orbits are of this coder's group and channels."""
        _check_source(self, source)

    def begin(self, x: Float[Tensor, "b g d"]) -> None:
        """Start the SAE's means at those of the canonical blocks of a first batch, and a learning transform with it."""
        self.sae.begin(x[:, :1])
        if self.learns_transform:
            self.transform.begin(x)

    def save(self, folder: str | Path) -> None:
        """Write both parts, then `config.json`, which vouches for them."""
        self.sae.save(Path(folder) / "sae")
        self.transform.save(Path(folder) / "transform")
        write_json(Path(folder) / "config.json", self.config)

    @classmethod
    def load(cls, folder: str | Path, *, group: FiniteGroup | None = None) -> EquivariantSAE:
        """Read a saved coder; ValueError as for a crosscoder."""
        if not (Path(folder) / "config.json").is_file():
            raise ValueError(f"{folder} holds no saved coder (config.json is missing); train one first")
        sae = SparseAutoencoder.load(Path(folder) / "sae")
        transform = TransformMatrix.load(Path(folder) / "transform", group=group)
        coder = cls(transform.group, sae.channels, sae.latents, transform=transform, **_build_settings(sae.config))
        coder.sae = sae
        coder.learns_transform = read_json(Path(folder) / "config.json")["learns_transform"]
        return coder.eval()


def _build_settings(config: dict[str, Any]) -> dict[str, Any]:
    return {key: config.get(key) for key in ("activation", "k", "hidden", "scale")}


def _check_blocks(coder: GroupCrosscoder | EquivariantSAE, x: Tensor) -> Tensor:
    expected = (coder.group.order, coder.channels)
    if x.ndim != 3 or tuple(x.shape[1:]) != expected:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, {expected[0]}, {expected[1]}): one block "
                         f"of {coder.channels} channels per element of {coder.group.name}")
    return x


def _check_source(coder: GroupCrosscoder | EquivariantSAE, source: Any) -> None:
    if (coder.group, coder.channels) != (source.group, source.channels):
        raise ValueError(f"the coder is for {coder.group.name} with {coder.channels} channels, the orbits are for "
                         f"{source.group.name} with {source.channels}; make one of them anew to match")


def _keep(f: Tensor, indices: Tensor) -> Tensor:
    return torch.zeros_like(f).scatter(1, indices, f.gather(1, indices))
