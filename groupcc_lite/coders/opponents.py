"""What a crosscoder must beat: directions that nobody trained, an autoencoder that sees every pose by itself, one that
sees all of them at once, and one whose latents come in blocks but know no group.

A sample of activations, read as a dictionary, has families too: images repeat themselves. Whatever a score says of a
trained dictionary counts as far as it says more of it than of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.coders.crosscoder import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.coders.losses import squared_error
from groupcc_lite.groups import FiniteGroup, cyclic
from groupcc_lite.orbits import IdentityBlocks, OrbitSource, StoredOrbits, TensorOrbits

NOBODY = ("data points", "k-means", "channels", "random")
"""Directions that nobody trained, see `untrained_features`."""
Ordered = StoredOrbits | TensorOrbits | IdentityBlocks
"""Orbits that can be gone through in order."""
_ROUNDS = 20  # of k-means; centres hardly move any more


class AllPoses(OrbitSource):
    """Every block of another source's orbits as an activation by itself: an autoencoder that sees all poses.

    Each batch takes one block of each of so many orbits, drawn at random, so a step sees as many orbits as a
    crosscoder's. `scale` is that of all blocks.

    >>> from groupcc_lite.groups import cyclic
    >>> source = AllPoses(TensorOrbits(torch.arange(40.0).view(10, 4, 1), cyclic(4)))
    >>> next(source.batches(5)).shape, source.group.order
    (torch.Size([5, 1, 1]), 1)
    """

    def __init__(self, source: OrbitSource):
        self.source, self.group, self.channels, self.scale = source, cyclic(1), source.channels, source.scale
        self.exact = np.array([True])

    def __len__(self) -> int:
        return len(self.source)

    @property
    def fingerprint(self) -> str | None:
        """That of the orbits, marked: other batches come out of them here."""
        return None if self.source.fingerprint is None else f"all poses of {self.source.fingerprint}"

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b 1 d"]]:
        """Shuffled batches, one pose of each orbit."""
        order = self.source.group.order
        for number, x in enumerate(self.source.batches(batch_size, seed=seed, epoch=epoch, start=start), start):
            pose = torch.from_numpy(np.random.default_rng([seed, epoch, number]).integers(order, size=len(x)))
            yield x[torch.arange(len(x)), pose.to(x.device)][:, None][:, elements]

    def in_order(self, batch_size: int = 1024, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b 1 d"]]:
        """Every pose of every orbit once; `elements` counts this source's blocks, of which there is one."""
        for x in self.source.in_order(batch_size):
            yield from x.flatten(0, 1)[:, None][:, elements].split(batch_size)


class WholeOrbits(OrbitSource):
    """Each orbit of another source as one long block: an autoencoder of these is a crosscoder that reads all blocks.

    Its latents have an encoder vector for whole orbits, so it sees what `TiedCrosscoder` sees and is free of any
    symmetry. A dictionary vector (1, |G| n) is one of `GroupCrosscoder`, flattened.

    >>> from groupcc_lite.groups import cyclic
    >>> source = WholeOrbits(TensorOrbits(torch.arange(40.0).view(10, 4, 1), cyclic(4)))
    >>> next(source.batches(5)).shape, source.channels, next(source.in_order())[0].flatten().tolist()
    (torch.Size([5, 1, 4]), 4, [0.0, 1.0, 2.0, 3.0])
    """

    def __init__(self, source: OrbitSource):
        self.source, self.group, self.scale = source, cyclic(1), source.scale
        self.channels = source.group.order * source.channels
        self.exact = np.array([True])

    def __len__(self) -> int:
        return len(self.source)

    @property
    def fingerprint(self) -> str | None:
        """That of the orbits, marked: other batches come out of them here."""
        return None if self.source.fingerprint is None else f"whole orbits of {self.source.fingerprint}"

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b 1 d"]]:
        """Shuffled batches of long blocks."""
        for x in self.source.batches(batch_size, seed=seed, epoch=epoch, start=start):
            yield x.flatten(1)[:, None][:, elements]

    def in_order(self, batch_size: int = 1024, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b 1 d"]]:
        """Every orbit once; `elements` counts this source's blocks, of which there is one."""
        for x in self.source.in_order(batch_size):
            yield x.flatten(1)[:, None][:, elements]


class BlockSparseAutoencoder(SparseAutoencoder):
    """z = W_e (x - b) + b_e in blocks of `size` latents, of which the `k` that write most are kept; x^ = W_d z + b_d.

    Latents of a block are coordinates of a subspace, of either sign, and on or off together: a manifold of a few
    dimensions takes one block and no tiling. It is told neither which manifolds there are nor of any group. What a
    block writes is measured by sqrt(sum_i z_i^2 ||W_d,i||^2), so rescaling latents changes nothing.

    Source: Fel et al. 2026, block-sparse featurisers, of which we know the abstract: norm-selected blocks of two to
    four dimensions. `channels`, `scale` and `seed` as for `GroupCrosscoder`; `latents` are blocks x size. ValueError
    for a k that does not fit, or sizes that are not positive.

    >>> coder = BlockSparseAutoencoder(channels=6, blocks=5, size=2, k=1)
    >>> f = coder.encode(torch.randn(7, 6, generator=torch.Generator().manual_seed(0)))
    >>> f.shape, int((f != 0).sum(1).max()), coder.decode(f).shape
    (torch.Size([7, 10]), 2, torch.Size([7, 1, 6]))
    """

    def __init__(self, channels: int, blocks: int, *, size: int = 2, k: int, scale: float = 1.0, seed: int = 0):
        if blocks < 1 or size < 1 or not 0 < k <= blocks:
            raise ValueError(f"blocks={blocks}, size={size}, k={k}; expected positive numbers, and k at most the "
                             "number of blocks")
        super().__init__(channels, blocks * size, activation="topk", k=k, scale=scale, seed=seed)
        self.blocks, self.size = blocks, size

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return super().config | dict(blocks=self.blocks, size=self.size)

    def encode(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """Coordinates in the kept blocks, of either sign, and zeros elsewhere; x0 in the model's units."""
        return self._kept(self.preactivations(x0))

    def objective(self, x0: Float[Tensor, "b d"], x: Float[Tensor, "b g d"], *, sparsity: float = 0.0,
                  aux: float = 1 / 32, aux_k: int = 16,
                  dead_after: int = 20_000) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts) as for TopK: squared error, and `aux` times what the `aux_k` strongest dead blocks leave of
        the residual. `sparsity` is not used."""
        z = self.preactivations(x0)
        f = self._kept(z)
        error, residual = squared_error(f, self.W_d, self.b_d, x, self._scale)
        parts, dead = {"reconstruction": error}, self.idle > dead_after
        if aux and (dead.device.type != "cpu" or dead.any()):
            revived = self._kept(z * dead, min(aux_k, self.blocks))
            left = (residual - (revived @ self.W_d.flatten(1)).view_as(residual)).square().sum((1, 2)).mean()
            parts["aux"] = aux * torch.where(dead.any(), left, 0.0)
        active = f.detach() != 0
        return self._summed(parts, active, active.any(0), None, dead_after)

    def _kept(self, z: Float[Tensor, "b m"], k: int | None = None) -> Float[Tensor, "b m"]:
        """Only the k blocks that write most."""
        written = (z * self._norms()).detach().unflatten(1, (self.blocks, self.size)).square().sum(2)
        chosen = written.topk(k or self.k, dim=1).indices
        mask = torch.zeros_like(written).scatter(1, chosen, 1.0)
        return z * mask.repeat_interleave(self.size, dim=1)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> BlockSparseAutoencoder:
        return cls(config["channels"], config["blocks"], size=config["size"], k=config["k"], scale=config["scale"])


class UntrainedFeatures(NamedTuple):
    """An encoder whose directions nobody trained, and dictionary vectors where there are any.

    >>> UntrainedFeatures._fields
    ('encoder', 'dictionary')
    """

    encoder: SparseAutoencoder
    """Reads the directions; its k strongest of a sample fire. It has learned nothing, its decoder least of all."""
    dictionary: Float[Tensor, "m g d"] | None
    """What the directions come with: a data point's own orbit, the mean orbit of a cluster, both about the mean."""


def data_dictionary(source: Ordered, count: int, *, seed: int = 0) -> Float[Tensor, "m g d"]:
    """`count` orbit vectors, drawn at random, about the mean of all: a dictionary that nobody trained.

    ValueError if there are fewer orbits.

    >>> from groupcc_lite.groups import cyclic
    >>> source = TensorOrbits(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), cyclic(2))
    >>> data_dictionary(source, 2).flatten(1).sum(0)
    tensor([0., 0.])
    """
    return _drawn_about_the_mean(source, count, seed)[0]


def _drawn_about_the_mean(source: Ordered, count: int,
                          seed: int) -> tuple[Float[Tensor, "m g d"], Float[Tensor, "g d"]]:
    """Some orbits about the mean of all, in the source's order, and that mean; on the CPU."""
    if not 1 <= count <= len(source):
        raise ValueError(f"count is {count}; expected 1 to {len(source)}, the number of orbits")
    chosen = torch.zeros(len(source), dtype=torch.bool)
    chosen[torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))[:count]] = True
    total, kept, first = torch.zeros(source.group.order, source.channels, dtype=torch.float64), [], 0
    for batch in source.in_order():
        x = batch.float().cpu()
        total += x.double().sum(0)
        kept.append(x[chosen[first:first + len(x)]])
        first += len(x)
    mean = (total / len(source)).float()
    return torch.cat(kept) - mean, mean


@torch.no_grad()
def data_point_dictionary(source: StoredOrbits | TensorOrbits, latents: int, *, k: int,
                          seed: int = 0) -> GroupCrosscoder:
    """A TopK crosscoder that has learnt nothing: its dictionary vectors are orbits drawn at random from a source.

    They are centred and of norm 1, and the encoder reads their first block, scaled to norm 1. What a trained coder has
    in common with this one is due to the data and not to learning. On the CPU. ValueError if the source has fewer
    orbits than `latents`.

    >>> import torch
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> x = torch.randn(50, 4, 6, generator=torch.Generator().manual_seed(0))
    >>> coder = data_point_dictionary(TensorOrbits(x, cyclic(4)), latents=20, k=3)
    >>> coder.dictionary.shape, int((coder.encode(x[:, 0]) > 0).sum(1).max())
    (torch.Size([20, 4, 6]), 3)
    """
    D, mean = _drawn_about_the_mean(source, latents, seed)
    found = GroupCrosscoder(source.group, source.channels, latents, activation="topk", k=k, scale=source.scale)
    found.W_d.copy_(torch.nn.functional.normalize(D.flatten(1), dim=1).view_as(D))
    found.W_e.copy_(torch.nn.functional.normalize(D[:, 0], dim=1))
    found.b.copy_(mean[0] * source.scale)
    found.b_d.copy_(mean * source.scale)
    return found.eval()


@torch.no_grad()
def untrained_features(kind: str, orbits: TensorOrbits, count: int, *, k: int, seed: int = 0) -> UntrainedFeatures:
    """Features of a layer that need no training, as an opponent for those that do.

    "data points" are untransformed activations of some orbits about the mean, "k-means" centres of such, "channels" the
    layer's own units (as many as there are, whatever `count`), "random" directions of a Gaussian in which the
    activations, whitened, have variance 1. The encoder is on the CPU, wherever the orbits are. ValueError for another
    kind, and for more features than orbits.

    >>> from groupcc_lite.groups import cyclic
    >>> x = torch.randn(100, 4, 6, generator=torch.Generator().manual_seed(0)).relu()
    >>> found = untrained_features("data points", TensorOrbits(x, cyclic(4)), 20, k=3)
    >>> found.encoder.W_e.shape, found.dictionary.shape
    (torch.Size([20, 6]), torch.Size([20, 4, 6]))
    """
    if kind not in NOBODY:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(NOBODY)}")
    if not 0 < count <= len(orbits) and kind != "channels":
        raise ValueError(f"count is {count}; expected 1 to {len(orbits)}, the number of orbits")
    x, mean = orbits.blocks, orbits.blocks.mean(0)
    x0, dictionary = x[:, 0] - mean[0], None
    generator = torch.Generator().manual_seed(seed)
    if kind == "data points":
        dictionary = data_dictionary(orbits, count, seed=seed)
        directions = dictionary[:, 0]
    elif kind == "k-means":
        member = _clusters(x0, count, generator)
        sums = x.new_zeros(count, *x.shape[1:]).index_add_(0, member, x - mean)
        dictionary = sums / torch.bincount(member, minlength=count).clamp(min=1)[:, None, None]
        directions = dictionary[:, 0]
    elif kind == "channels":
        directions = torch.eye(x0.shape[1])
    else:
        directions = torch.randn(count, x0.shape[1], generator=generator).to(x0) @ _whitening(x0)
    if kind != "random":
        directions = torch.nn.functional.normalize(directions, dim=1)
    encoder = SparseAutoencoder(orbits.channels, len(directions), activation="topk", k=min(k, len(directions)),
                                scale=orbits.scale)
    encoder.W_e.copy_(directions)
    encoder.b.copy_(mean[0] * orbits.scale)
    return UntrainedFeatures(encoder.eval(), dictionary)


def _clusters(x: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Tensor:
    """Lloyd's algorithm from random points; an empty cluster takes over the point that lies worst."""
    centres = x[torch.randperm(len(x), generator=generator)[:count]].clone()
    for _ in range(_ROUNDS):
        gap = centres.square().sum(1) - 2 * x @ centres.T
        distance, member = gap.min(1)
        size = torch.bincount(member, minlength=count)
        centres = torch.zeros_like(centres).index_add_(0, member, x) / size.clamp(min=1)[:, None]
        empty = (size == 0).nonzero()[:, 0]
        centres[empty] = x[(distance + x.square().sum(1)).topk(len(empty)).indices]
    return (centres.square().sum(1) - 2 * x @ centres.T).argmin(1)


def _whitening(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """The inverse square root of the covariance, without directions in which nothing varies, divided by root d."""
    values, vectors = torch.linalg.eigh(torch.cov(x.double().T))
    inverse = torch.where(values > 1e-8 * values.max(), values.clamp(min=1e-30) ** -0.5, 0.0)
    return ((vectors * inverse) @ vectors.T / len(values) ** 0.5).float()
