"""Many features at once of which some are spheres: where a trained autoencoder's latents go, and where they should.

Subspaces are orthogonal, so what is found wanting is due to frequencies and tiling, and not to superposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.coders import SparseAutoencoder
from groupcc_lite.manifolds.capacity import Allocation, ListedFeatures, MeasuredLoss, allocate
from groupcc_lite.manifolds.learning import LossCurve
from groupcc_lite.manifolds.spheres import SphereToy

DISCOVERED = 0.9
"""Share of a dictionary vector's length that lies within a feature's subspace, from which it counts as found."""


@dataclass(frozen=True, eq=False)
class FeatureMixture:
    """Independent features of which some are spheres, in subspaces orthogonal to each other: every answer is known.

    Feature i = 1, 2, ..., `features` is active with probability `most` i^-(1 + alpha). Odd ones are spheres
    S^(dim - 1) with radii as in `SphereToy`; even ones are one direction with coefficients spread evenly over (0.5,
    1.5). ValueError for settings that do not fit.

    >>> mixture = FeatureMixture(features=6, alpha=1.0, dim=3)
    >>> mixture.channels, mixture.sample(100).shape, [len(plane) for plane in mixture.planes]
    (12, torch.Size([100, 12]), [3, 1, 3, 1, 3, 1])
    """

    features: int
    alpha: float
    dim: int
    radius: tuple[float, float] = (1.0, 1.0)
    most: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        SphereToy(self.dim, self.radius)
        if self.features < 1 or not self.alpha > -1 or not 0 < self.most <= 1:
            raise ValueError(f"features={self.features}, alpha={self.alpha}, most={self.most}: expected at least one "
                             "feature, an alpha above -1, and a probability above 0")

    @property
    def dims(self) -> list[int]:
        """Dimension of each feature's subspace."""
        return [self.dim if number % 2 == 0 else 1 for number in range(self.features)]

    @property
    def channels(self) -> int:
        """Just as many as the subspaces need."""
        return sum(self.dims)

    @property
    def rates(self) -> Float[np.ndarray, " f"]:
        """How often each feature is active."""
        return self.most * np.arange(1, self.features + 1) ** -(1.0 + self.alpha)

    @cached_property
    def planes(self) -> tuple[Float[Tensor, "k c"], ...]:
        """Orthonormal rows that span each feature's subspace."""
        rng = np.random.default_rng([self.seed, 0])
        q, r = np.linalg.qr(rng.standard_normal((self.channels, self.channels)))
        return torch.from_numpy((q * np.sign(np.diag(r))).T).float().split(self.dims)

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "b c"]:
        """`count` independent samples; another `seed` gives others of the same features."""
        rng = np.random.default_rng([self.seed, 1, seed])
        x = torch.zeros(count, self.channels)
        for number, (rate, plane) in enumerate(zip(self.rates, self.planes, strict=True)):
            on = torch.from_numpy(np.flatnonzero(rng.random(count) < rate))
            if not len(on):
                continue
            if number % 2 == 0:
                toy = SphereToy(self.dim, self.radius, seed=1000 * self.seed + number)
                part = toy.sample(len(on), seed)
            else:
                part = torch.from_numpy(rng.uniform(0.5, 1.5, (len(on), 1)).astype(np.float32))
            x[on] += part @ plane
        return x

    def shares(self, dictionary: Float[Tensor, "m c"]) -> Float[Tensor, "m f"]:
        """How much of each dictionary vector's length lies within each feature's subspace; with a sign on a line."""
        unit = torch.nn.functional.normalize(dictionary, dim=1)
        within = [unit @ plane.T.to(unit) for plane in self.planes]
        return torch.stack([part.norm(dim=1) if number % 2 == 0 else part[:, 0] for number, part in enumerate(within)],
                           dim=1)

    def spent(self, dictionary: Float[Tensor, "m c"], *, share: float = DISCOVERED) -> Int[np.ndarray, " f"]:
        """Dictionary vectors that lie within each feature's subspace by this share, or have this cosine with its line.

        >>> mixture = FeatureMixture(features=2, alpha=1.0, dim=2)
        >>> mixture.spent(torch.cat(mixture.planes)).tolist()
        [2, 1]
        """
        return (self.shares(dictionary) >= share).sum(0).cpu().numpy()

    def spanning(self) -> Int[np.ndarray, " f"]:
        """How many latents reach all of each feature without tiling it: 2 dim of a sphere (plus and minus each axis).

        What a feature has beyond that are tiles, or copies.

        >>> FeatureMixture(features=3, alpha=1.0, dim=5).spanning().tolist()
        [10, 1, 10]
        """
        return np.where(np.arange(self.features) % 2 == 0, 2 * self.dim, 1)

    def predicted(self, sphere: LossCurve, latents: int, sparsity: float) -> Allocation:
        """The best split of so many latents if a sphere's loss is that of `sphere`, learned alone.

        One latent leaves lambda E[c] - lambda^2 / 4 of a direction, the best that a coefficient c allows. The
        allocation's loss is the whole loss, in the units of training.
        """
        square, of_sphere = (3 * 1.0**2 + 0.25) / 3, (self.radius[0]**2 + sum(self.radius)**2 + self.radius[1]**2) / 6
        losses = [sphere.measured(of_sphere), MeasuredLoss([square, sparsity - sparsity**2 / 4])]
        kinds = np.arange(self.features) % 2
        return allocate(ListedFeatures(self.rates * np.where(kinds == 0, of_sphere, square), losses, kinds), latents)


class Spending(NamedTuple):
    """Where an autoencoder's latents went; `spending` gives it.

    >>> Spending(np.array([5, 1, 0]), 8, 0.3).discovered
    2
    """

    spent: Int[np.ndarray, " f"]
    """Living latents within each feature's subspace."""
    living: int
    """Latents that fire at all."""
    loss: float
    """Held-out, with the L1 term."""

    @property
    def discovered(self) -> int:
        """Features with a latent."""
        return int((self.spent > 0).sum())


@torch.no_grad()
def spending(mixture: FeatureMixture, sae: SparseAutoencoder, x: Float[Tensor, "b c"], sparsity: float) -> Spending:
    """Where the latents of an autoencoder went, on samples that it was not trained on.

    >>> from groupcc_lite.manifolds import Learning, learn
    >>> mixture = FeatureMixture(features=4, alpha=0.5, dim=2)
    >>> sae = learn(mixture.sample(1000), 16, Learning(steps=50))
    >>> int(spending(mixture, sae, mixture.sample(1000, seed=1), 0.2).spent.sum()) <= 16
    True
    """
    latents = sae.encode(x)
    W_d = sae.dictionary[:, 0]
    loss = (x - sae.decode(latents)[:, 0]).square().sum(1) + sparsity * latents @ W_d.norm(dim=1)
    living = (latents > 0).any(0)
    return Spending(mixture.spent(W_d[living]), int(living.sum()), float(loss.mean()))
