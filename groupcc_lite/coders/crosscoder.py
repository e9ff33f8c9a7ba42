"""Sparse dictionaries: the group crosscoder, and the sparse autoencoder as its trivial-group case.

Conventions. `x` is an orbit vector (b, g, d) in the model's own units; a coder multiplies it by its `scale`, which is
saved with it, because the loss and therefore lambda depend on the scale. Weights carry the paper's names, and `W_d` is
stored latent first, so that `W_d[i]` is the dictionary vector of latent i with one block per group element.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from groupcc_lite.coders.losses import (
    batch_variance,
    few_latents_error,
    jump_relu,
    scattered_error,
    sparse_product,
    squared_error,
)
from groupcc_lite.coders.saved_module import SavedModule, check_blocks, check_source
from groupcc_lite.groups import FiniteGroup, cyclic

ACTIVATIONS = ("relu", "topk", "batchtopk", "jumprelu")
"""How latents become sparse: by an L1 term of the loss, by the k largest of a sample, or of a batch, or by a threshold
for each latent, which is fixed in coders read from elsewhere, and trained where there is a bandwidth."""
SELECTS = ("contribution", "latent")
"""What TopK and BatchTopK compare: f_i ||W_d,i||, or f_i alone, as most other packages do."""

SPARSE = 64
"""TopK trains on sparse codes where at most one latent in so many fires. With more, products of whole matrices win."""
MANY = 4096
"""With so many latents the CPU trains BatchTopK on sparse codes too, and decodes sparse codes as such, whatever made
them sparse. With fewer of them there is less to win; and what was computed with fewer stays as it was, to the last bit.
On a GPU neither was measured, and the numbers of codes would have to be waited for."""
LOW = 4
"""Products of whole matrices in bfloat16 are so much faster: fewer latents must fire for sparse codes to win."""


class CoderOutput(NamedTuple):
    """What one pass through a coder gives.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> out = SparseAutoencoder(channels=6, latents=20)(torch.ones(5, 1, 6))
    >>> out.latents.shape, out.reconstruction.shape
    (torch.Size([5, 20]), torch.Size([5, 1, 6]))
    """

    latents: Float[Tensor, "b m"]
    reconstruction: Float[Tensor, "b g d"]


class GroupCrosscoder(SavedModule):
    """f = act(W_e (x[e] - b) + b_e), x^ = W_d f + b_d: reads one block, writes all of them.

    Source: Gorton 2024, section 2.1; TopK after Gao et al. 2024, BatchTopK after Bussmann et al. 2024. Both select by
    f_i ||W_d,i||, the length of a latent's contribution, so that rescaling a latent against its dictionary vector
    changes nothing. With `hidden` the encoder has two layers, W_e relu(W_h (x[e] - b) + b_h) + b_e (Erdogan & Lucic
    2025, section 3). JumpReLU, f_i = relu(p_i) where p_i > `thresholds`[i] and else 0, is that of Rajamanoharan et al.
    2024: with a `bandwidth` the thresholds are exp(`log_threshold`) and trained; without one they are the buffer
    `threshold`, of any sign, as coders from elsewhere bring them, and stay.

    `channels` of the layer, `latents` in the dictionary; `k` active latents of a sample, with batchtopk on average
    (None with relu and jumprelu); `select="latent"` lets TopK and BatchTopK compare latents as they are; `bandwidth` of
    JumpReLU's pseudo-gradients, in units of f_i ||W_d,i||, at which thresholds begin too; `scale` takes the model's
    units to normalised ones, see `orbits.OrbitSource`; `seed` draws the first dictionary. ValueError for an unknown
    activation or selection, a k or bandwidth that does not fit, or sizes that are not positive.

    >>> import torch
    >>> from groupcc_lite.coders import GroupCrosscoder
    >>> from groupcc_lite.groups import dihedral
    >>> coder = GroupCrosscoder(dihedral(4), channels=6, latents=20, activation="topk", k=3)
    >>> latents, reconstruction = coder(torch.randn(5, 8, 6))
    >>> latents.shape, reconstruction.shape, coder.dictionary.shape
    (torch.Size([5, 20]), torch.Size([5, 8, 6]), torch.Size([20, 8, 6]))
    """

    _alone = True
    """Whether this process sees all of a batch, and decodes all of it."""

    def __init__(self, group: FiniteGroup, channels: int, latents: int, *, activation: str = "relu",
                 k: int | None = None, hidden: int | None = None, select: str = "contribution",
                 bandwidth: float | None = None, scale: float = 1.0, seed: int = 0):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if (k is None) != (activation in ("relu", "jumprelu")):
            raise ValueError(f"k is {k} with activation {activation!r}; topk and batchtopk need k, relu and jumprelu "
                             "take none")
        if select not in SELECTS:
            raise ValueError(f"select is {select!r}; expected one of {', '.join(SELECTS)}")
        if bandwidth is not None and not (activation == "jumprelu" and 0 < bandwidth < float("inf")):
            raise ValueError(f"bandwidth is {bandwidth} with activation {activation!r}; expected a positive number "
                             "with jumprelu, and None with any other")
        if k is not None and not 0 < k <= latents:
            raise ValueError(f"k is {k}; expected 1 to {latents}, the number of latents")
        if channels < 1 or latents < 1 or not scale > 0 or (hidden is not None and hidden < 1):
            raise ValueError(f"channels={channels}, latents={latents}, hidden={hidden}, scale={scale}: all must be "
                             "positive (hidden may be None)")
        self.group, self.channels, self.latents, self.activation, self.k = group, channels, latents, activation, k
        self.hidden, self.select, self.bandwidth = hidden, select, bandwidth
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
        self._scale_read: tuple[Tensor | None, int, float] = (None, -1, 0.0)
        if bandwidth is not None:
            self.log_threshold = nn.Parameter(torch.full((latents,), bandwidth).log())
        else:  # BatchTopK's cut-off outside training; JumpReLU's fixed ones, one for each latent
            self.register_buffer("threshold", torch.zeros(latents) if activation == "jumprelu" else torch.tensor(0.0))
        self.register_buffer("idle", torch.zeros(latents))  # samples since a latent last fired

    @property
    def dictionary(self) -> Float[Tensor, "m g d"]:
        """Dictionary vectors, one block per group element, in normalised units."""
        return self.W_d

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        unusual = {} if self.select == SELECTS[0] else dict(select=self.select)
        unusual |= {} if self.bandwidth is None else dict(bandwidth=self.bandwidth)
        return super().config | dict(channels=self.channels, latents=self.latents, activation=self.activation,
                                     k=self.k, hidden=self.hidden, scale=self._scale) | unusual

    @property
    def _scale(self) -> float:
        """`scale` as a number, read from the device only after somebody has set it."""
        if self.scale.is_inference():  # such a tensor does not count its versions
            return float(self.scale)
        tensor, version, _ = self._scale_read
        if tensor is not self.scale or version != self.scale._version:
            self._scale_read = self.scale, self.scale._version, float(self.scale)
        return self._scale_read[2]

    @property
    def thresholds(self) -> Float[Tensor, " m"]:
        """What JumpReLU's latents must exceed, fixed or trained; ValueError for another activation."""
        if self.activation != "jumprelu":
            raise ValueError(f"only jumprelu has a threshold for each latent, this coder has {self.activation}")
        return self.threshold if self.bandwidth is None else self.log_threshold.exp()

    def preactivations(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """The encoder's output before any sparsity; x0 in the model's units."""
        if x0.ndim != 2 or x0.shape[1] != self.channels:
            raise ValueError(f"x0 has shape {tuple(x0.shape)}; expected (batch, {self.channels})")
        return nn.functional.linear(self._read(x0), self.W_e, self.b_e)

    def _read(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b h"]:
        """What the encoder's last layer reads: the normalised input, or the hidden layer's output."""
        read = x0 * self.scale - self.b
        return read if self.hidden is None else nn.functional.linear(read, self.W_h, self.b_h).relu()

    def extra_repr(self) -> str:
        sparsity = f"{self.activation}, k={self.k}" if self.k is not None else self.activation
        return f"{self.group.name}, channels={self.channels}, latents={self.latents}, {sparsity}"

    def encode(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """Latents of untransformed activations x0 (the model's units); in training mode BatchTopK's of this batch."""
        pre = self.preactivations(x0)
        if self.activation == "jumprelu":
            return pre.relu() * (pre > self.thresholds)
        return self._sparsify(pre.relu())[0]

    def decode(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b g d"]:
        """Reconstruction of the whole orbit, in the model's units."""
        return self._decode_normalised(f) / self.scale

    def forward(self, x: Float[Tensor, "b g d"]) -> CoderOutput:
        """Encode the identity block of x and reconstruct every block."""
        latents = self.encode(check_blocks(self, x)[:, 0])
        return CoderOutput(latents, self.decode(latents))

    def loss(self, x: Float[Tensor, "b g d"], **terms: Any) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts) of reconstructing whole orbits from their identity blocks; `terms` as in `objective`."""
        return self.objective(check_blocks(self, x)[:, 0], x, **terms)

    def objective(self, x0: Float[Tensor, "b d"], x: Float[Tensor, "b g d"], *, sparsity: float = 0.0,
                  aux: float = 1 / 32, aux_k: int = 64,
                  dead_after: int = 20_000) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts): mean over the batch of ||x - x^||^2 where x^ is made from x0, plus the activation's own
        terms, in normalised units.

        relu: lambda sum_i f_i ||W_d,i|| with lambda = `sparsity` and the norm of the whole concatenated vector
        (Gorton 2024, section 2.1). topk, batchtopk: `aux` times the error that the `aux_k` strongest dead latents leave
        of the residual (Gao et al. 2024, section 2.4), so that they come back to life. jumprelu: lambda times the
        number of latents that fire, L0, whose value like that of f depends on thresholds through jumps only: they get
        pseudo-gradients (`losses.jump_relu`) from samples where f_i ||W_d,i|| would be within bandwidth / 2 of its
        threshold. A latent's length counts there, so that rescaling it against its dictionary vector changes nothing,
        and not in L0, which has no units. ValueError for jumprelu without a bandwidth.
        """
        if self.activation == "jumprelu" and self.bandwidth is None:
            raise ValueError("a coder with jumprelu and no bandwidth is read and not trained: its thresholds are fixed "
                             "here; build one with a bandwidth, or train one with relu, topk or batchtopk")
        if self.activation == "topk" and SPARSE * self.k <= self.latents:
            return self._few_of_many(x0, x, aux, aux_k, dead_after)
        if self.activation == "batchtopk" and self._alone and self._few_win(x0.device.type):
            return self._few_of_batch(x0, x, aux, aux_k, dead_after)
        pre, cut = self.preactivations(x0), None
        if self.activation == "jumprelu":
            latents, count = jump_relu(pre.float(), self.thresholds, self.bandwidth / self._norms().detach())
        else:
            latents, cut = self._sparsify(pre.relu())
        codes = self._for_decoding(latents, self.k if self.activation == "topk" else None)
        error, residual = squared_error(codes, self.W_d, self.b_d, x, self._scale)
        parts = {"reconstruction": error}
        if self.activation == "relu":
            parts["l1"] = sparsity * (latents.float() * self._norms()).sum(1).mean()
        elif self.activation == "jumprelu":
            parts["penalty"] = sparsity * count
        elif aux:
            parts["aux"] = aux * self._auxiliary(pre, residual, aux_k, self.idle > dead_after)
        active = latents.detach() > 0
        return self._summed(parts, active, active.any(0), cut, dead_after)

    def _few_of_many(self, x0: Float[Tensor, "b d"], x: Float[Tensor, "b g d"], aux: float, aux_k: int,
                     dead_after: int) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """`objective` for TopK where few of many latents fire: only those are decoded, and only they get gradients.

        The same sum in another order. All latents are looked at once, without gradients, to find the k that fire.
        """
        read = self._read(x0)
        with torch.no_grad():
            pre = nn.functional.linear(read, self.W_e, self.b_e)
            indices = self._compared(pre.relu()).topk(self.k, dim=1).indices
        values = self._preactivations_at(read, indices).relu()
        codes = self._for_decoding(values, None)
        error, residual = few_latents_error(codes, indices, self.W_d, self.b_d, x, self._scale)
        parts = {"reconstruction": error}
        if aux:
            parts["aux"] = aux * self._few_dead(read, pre, residual, aux_k, self.idle > dead_after)
        active = values.detach() > 0
        times = torch.zeros_like(self.idle).index_add_(0, indices.flatten(), active.float().flatten())
        return self._summed(parts, active, times > 0, None, dead_after)

    def _few_win(self, device: str) -> bool:
        """Whether sparse codes of BatchTopK are faster than products of whole matrices, as the benchmark measures."""
        rare = SPARSE * (LOW if torch.is_autocast_enabled(device) else 1) * self.k <= self.latents
        return device == "cpu" and MANY <= self.latents and rare

    def _few_of_batch(self, x0: Float[Tensor, "b d"], x: Float[Tensor, "b g d"], aux: float, aux_k: int,
                      dead_after: int) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """`_few_of_many` for BatchTopK: k latents of a sample on average are b k of the batch, whatever their samples.

        Where equal ones stand at the cut, it takes some.
        """
        read = self._read(x0)
        with torch.no_grad():
            pre = nn.functional.linear(read, self.W_e, self.b_e)
            largest = self._compared(pre.relu()).flatten().topk(self.k * len(x0))
            place = largest.indices.sort().values
            samples, latents = place.div(self.latents, rounding_mode="floor"), place % self.latents
        rows = nn.functional.embedding(latents, self.W_e)
        values = ((rows * read[samples].float()).sum(1) + self.b_e[latents]).relu()
        error, residual = scattered_error(values, latents, samples, self.W_d, self.b_d, x, self._scale)
        parts = {"reconstruction": error}
        if aux:
            parts["aux"] = aux * self._few_dead(read, pre, residual, aux_k, self.idle > dead_after)
        active = values.detach() > 0
        times = torch.zeros_like(self.idle).index_add_(0, latents, active.float())
        # Rows of k codes are no samples here, but as many, and only their mean is asked for.
        return self._summed(parts, active.view(len(x0), self.k), times > 0, largest.values[-1], dead_after)

    def _summed(self, parts: dict[str, Tensor], active: Bool[Tensor, "b k"], fired: Bool[Tensor, " m"],
                cut: Tensor | None, dead_after: int) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The total of the loss's parts, and the parts with L0 and the share of dead latents beside them.

        `active` says which codes of each sample are positive, `fired` which latents that makes.
        """
        total = torch.stack([part.float() for part in parts.values()]).sum()
        parts["l0"] = active.float().sum(1).mean()
        if self.training:
            self._note(len(active), fired, cut)
        parts["dead"] = (self.idle > dead_after).float().mean()
        return total, {name: part.detach() for name, part in parts.items()}

    def _few_dead(self, read: Tensor, pre: Float[Tensor, "b m"], residual: Float[Tensor, "b g d"], aux_k: int,
                  dead: Bool[Tensor, " m"]) -> Float[Tensor, ""]:
        """`_auxiliary` on sparse codes too, unless so many may be revived that products of whole matrices win."""
        if dead.device.type == "cpu" and not dead.any():
            return residual.new_zeros(())
        if SPARSE * aux_k > self.latents:
            return self._auxiliary(nn.functional.linear(read, self.W_e, self.b_e), residual, aux_k, dead)
        strongest = pre.masked_fill(~dead, -torch.inf).topk(min(aux_k, self.latents), dim=1)
        # Where fewer are dead than wanted, living ones fill the list; they take part with weight 0.
        values = self._preactivations_at(read, strongest.indices).relu() * torch.isfinite(strongest.values)
        error, _ = few_latents_error(self._for_decoding(values, None), strongest.indices, self.W_d,
                                     torch.zeros_like(self.b_d), residual, 1.0)
        return torch.where(dead.any(), error, 0.0)

    def _preactivations_at(self, read: Tensor, indices: Int[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The encoder's output at some latents of each sample, before any sparsity."""
        rows = nn.functional.embedding(indices, self.W_e)
        return (rows * read[:, None].float()).sum(2) + self.b_e[indices]

    @torch.no_grad()
    def diagnostics(self, x: Float[Tensor, "b g d"], parts: dict[str, float]) -> dict[str, float]:
        """FVE on a batch, about the batch's mean as in `evaluate`, from the loss's parts."""
        variance = float(batch_variance(x * self.scale))
        return dict(fve=1 - parts["reconstruction"] / max(variance, 1e-12))

    def check_source(self, source: Any) -> None:
        """ValueError unless the source's orbits are of this coder's group and channels."""
        check_source(self, source)

    @torch.no_grad()
    def begin(self, x: Float[Tensor, "b g d"]) -> None:
        """Start b and b_d at the mean of a first batch, so that latents need not spend themselves on it."""
        mean = (check_blocks(self, x) * self.scale).mean(0)
        self.b.copy_(mean[0])
        self.b_d.copy_(mean)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> GroupCrosscoder:
        return cls(group, config["channels"], config["latents"], **build_settings(config))

    def _decode_normalised(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b g d"]:
        # Latents that are 0 have gradients too, which only the whole product gives.
        if self.latents >= MANY and f.device.type == "cpu" and not (torch.is_grad_enabled() and f.requires_grad):
            if SPARSE * int(f.count_nonzero()) <= f.numel():
                return sparse_product(f, self.W_d.flatten(1)).unflatten(1, self.W_d.shape[1:]) + self.b_d
        return (f @ self.W_d.flatten(1)).unflatten(1, self.W_d.shape[1:]) + self.b_d

    def _norms(self) -> Float[Tensor, " m"]:
        return self.W_d.flatten(1).norm(dim=1)

    def _sparsify(self, f: Float[Tensor, "b m"]) -> tuple[Float[Tensor, "b m"], Tensor | None]:
        """What the activation leaves of f, and the value at which BatchTopK cut this batch."""
        if self.activation == "relu":
            return f, None
        assert self.k is not None
        compared = self._compared(f).detach()
        if self.activation == "topk":
            return _keep(f, compared.topk(self.k, dim=1).indices), None
        if not self.training:
            return f * (compared > self.threshold), None
        cut = self._cut(compared)
        return f * (compared >= cut), cut

    def _cut(self, compared: Float[Tensor, "b m"]) -> Tensor:
        """The smallest value that BatchTopK keeps of this batch."""
        return compared.flatten().kthvalue(compared.numel() - self.k * len(compared) + 1).values

    def _for_decoding(self, codes: Float[Tensor, "b k"], active: int | None) -> Float[Tensor, "b k"]:
        """Codes on their way to the decoder, of which at most `active` of a sample are not 0 (None: any number).

        Where other processes decode other blocks, this is where their gradients come in.
        """
        return codes

    def _compared(self, f: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """What the selection of latents compares."""
        return f * self._norms() if self.select == "contribution" else f

    def _auxiliary(self, pre: Float[Tensor, "b m"], residual: Float[Tensor, "b g d"], aux_k: int,
                   dead: Bool[Tensor, " m"]) -> Float[Tensor, ""]:
        """Mean squared error that the `aux_k` strongest of the dead latents leave of the residual; 0 if none is dead.

        On the CPU, where it costs nothing to look, the others are left out. Elsewhere looking would make the host wait
        for the device, so all take part, the living with weight 0.
        """
        if pre.device.type != "cpu":
            candidates, W_d, count = pre.masked_fill(~dead, -torch.inf), self.W_d, min(aux_k, self.latents)
        else:
            chosen = dead.nonzero()[:, 0]
            if not len(chosen):
                return residual.new_zeros(())
            candidates, W_d, count = pre[:, chosen], self.W_d[chosen], min(aux_k, len(chosen))
        revived = _keep(candidates.relu(), candidates.detach().topk(count, dim=1).indices)
        guess = einsum(self._for_decoding(revived, count), W_d.to(revived.dtype), "b m, m g d -> b g d")
        return torch.where(dead.any(), (residual - guess).square().sum((1, 2)).mean(), 0.0)

    @torch.no_grad()
    def _note(self, samples: int, fired: Bool[Tensor, " m"], cut: Tensor | None) -> None:
        """After a training step: who fired, and a running mean of BatchTopK's cut, since a single batch's is noisy."""
        self.idle.add_(samples).masked_fill_(fired, 0)
        if cut is not None:
            cut = cut.float()
            self.threshold.copy_(torch.where(self.threshold == 0, cut, self.threshold.lerp(cut, 0.1)))


class SparseAutoencoder(GroupCrosscoder):
    """The crosscoder of the trivial group: one block in, the same block out. Arguments as for `GroupCrosscoder`.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> sae = SparseAutoencoder(channels=6, latents=20, activation="topk", k=3)
    >>> sae.decode(sae.encode(torch.randn(5, 6))).shape
    torch.Size([5, 1, 6])
    """

    def __init__(self, channels: int, latents: int, *, activation: str = "relu", k: int | None = None,
                 hidden: int | None = None, select: str = "contribution", bandwidth: float | None = None,
                 scale: float = 1.0, seed: int = 0):
        super().__init__(cyclic(1), channels, latents, activation=activation, k=k, hidden=hidden, select=select,
                         bandwidth=bandwidth, scale=scale, seed=seed)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> SparseAutoencoder:
        return cls(config["channels"], config["latents"], **build_settings(config))


def build_settings(config: dict[str, Any]) -> dict[str, Any]:
    """What a coder is built with besides its sizes."""
    return {key: config[key] for key in ("activation", "k", "hidden", "select", "bandwidth", "scale") if key in config}


def _keep(f: Tensor, indices: Tensor) -> Tensor:
    return torch.zeros_like(f).scatter(1, indices, f.gather(1, indices))
