"""What a trained autoencoder does with one manifold: its loss as its dictionary grows.

A ReLU autoencoder that begins with unit gain in each of many latents begins with a reconstruction many times too large,
and ends far above what it can reach. Here encoders begin with 2 n / N of it, so that the reconstruction of isotropic
data has about the right size whatever the number of latents N is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.coders import SparseAutoencoder, train
from groupcc_lite.groups import cyclic
from groupcc_lite.manifolds.capacity import MeasuredLoss
from groupcc_lite.manifolds.codes import amortisation
from groupcc_lite.manifolds.spheres import SphereToy
from groupcc_lite.orbits import TensorOrbits

TOLERANCE = 3e-5
"""Of the best codes' loss, in units of ||x||^2: with many latents little more than this lies above the limit."""


@dataclass(frozen=True)
class Learning:
    """How a ReLU autoencoder of a toy is trained; losses are ||x - x^||^2 + lambda sum_i f_i ||D_i||.

    >>> Learning(steps=10).sparsity
    0.2
    """

    steps: int = 600
    sparsity: float = 0.2
    """lambda."""
    batch_size: int = 256
    lr: float = 1e-2
    points: int = 16_384
    """Of the training set."""
    held_out: int = 500


def learn(x: Float[Tensor, "b n"], latents: int, learning: Learning | None = None, *,
          seed: int = 0) -> SparseAutoencoder:
    """A ReLU autoencoder with an L1 term, trained on these samples in their own units, with the start described above.

    >>> sae = learn(SphereToy(dim=2).sample(1000), 8, Learning(steps=50))
    >>> sae.dictionary.shape
    torch.Size([8, 1, 2])
    """
    how = learning or Learning()
    sae = SparseAutoencoder(x.shape[1], latents, seed=seed)
    with torch.no_grad():
        sae.W_e *= min(1.0, 2 * x.shape[1] / latents)
    train(sae, TensorOrbits(x[:, None], cyclic(1)), steps=how.steps, batch_size=how.batch_size, lr=how.lr,
          sparsity=how.sparsity, seed=seed, progress=False, log_every=how.steps)
    return sae


class LossCurve(NamedTuple):
    """What a toy's loss is with growing dictionaries; `loss_curve` gives it.

    >>> curve = LossCurve(np.array([4, 8, 16]), np.array([[0.39, 0.24, 0.2025]]), np.zeros((1, 3)), np.array([0.19]))
    >>> [round(float(slope), 3) for slope in curve.slopes()]
    [-2.0]
    """

    latents: Int[np.ndarray, " n"]
    encoder: Float[np.ndarray, "seeds n"]
    """Held-out loss of the trained encoder."""
    optimal: Float[np.ndarray, "seeds n"]
    """The same with the best codes on the dictionary that was learned."""
    limit: Float[np.ndarray, " seeds"]
    """Loss of the best codes if every point had a latent of its own: R lambda - lambda^2 / 4, mean over the points'
    radii R."""

    def slopes(self, which: str = "encoder", *, smallest: int = 0) -> Float[np.ndarray, " seeds"]:
        """d log(loss - limit) / d log N of each seed, a straight line through the sizes from `smallest` on.

        A tiled sphere S^(d - 1) has -2 / (d - 1) for large N. ValueError for fewer than two sizes.
        """
        used = self.latents >= smallest
        if used.sum() < 2:
            raise ValueError(f"of the sizes {self.latents.tolist()} {int(used.sum())} are at least {smallest}; "
                             "expected two or more")
        excess = np.maximum(getattr(self, which)[:, used] - self.limit[:, None], 1e-9)
        return np.polyfit(np.log(self.latents[used]), np.log(excess).T, 1)[0]

    def measured(self, start: float) -> MeasuredLoss:
        """The encoder's loss, mean over seeds, as `allocate` takes it; `start` is the loss without latents.

        The convex envelope of it: training is not so exact that every curve is convex.
        """
        return MeasuredLoss([start, *self.encoder.mean(0)], [0, *self.latents.tolist()], envelope=True)


def loss_curve(toy: SphereToy, latents: Sequence[int], seeds: Sequence[int] = (0,),
               learning: Learning | None = None) -> LossCurve:
    """Train one autoencoder for each number of latents and seed on a toy alone, and take its losses on new points.

    >>> loss_curve(SphereToy(dim=2), [4, 8], learning=Learning(steps=20)).encoder.shape
    (1, 2)
    """
    how = learning or Learning()
    found, limit = np.zeros((2, len(seeds), len(latents))), np.zeros(len(seeds))
    for row, seed in enumerate(seeds):
        x, new = toy.sample(how.points, 2 * seed), toy.sample(how.held_out, 2 * seed + 1)
        limit[row] = how.sparsity * float(new.norm(dim=1).mean()) - how.sparsity**2 / 4
        for column, count in enumerate(latents):
            lost = amortisation(learn(x, count, how, seed=seed), new[:, None], how.sparsity, tolerance=TOLERANCE)
            found[:, row, column] = float(lost.encoder.mean()), float(lost.optimal.mean())
    return LossCurve(np.asarray(latents), found[0], found[1], limit)
