"""Sparse features to learn: each is there or not, and how much of it there is has nothing to do with that.

With `tied_amplitude` it has: a replication of the paper draws one number for both, `values * (values > sparsity)`, so
that rare features are also strong and nearly binary. It is kept to be shown beside the right data, never as a default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_ENOUGH = 20_000  # samples behind a mean norm: its error is below half a percent, also for the rarest features


@dataclass(frozen=True)
class SparseFeatures:
    """Independent features, absent with probability S, else with an amplitude that is uniform on [0, 1].

    Each entry of `sparsities` is one S in [0, 1); samples for all of them are made from the same draws, so that what
    differs between two of them is due to S. `tied_amplitude` is the defect described at the head of this module:
    amplitudes uniform on [S, 1]. ValueError for no sparsity, one out of range, or no features.

    Source: Elhage et al. 2022, "Toy models of superposition".

    >>> data = SparseFeatures([0.0, 0.9], features=5)
    >>> x = data.sample(1000, torch.Generator().manual_seed(0))
    >>> x.shape, [round(float(share), 1) for share in (x == 0).float().mean((1, 2))]
    (torch.Size([2, 1000, 5]), [0.0, 0.9])
    """

    sparsities: Sequence[float]
    features: int = 100
    tied_amplitude: bool = False

    def __post_init__(self) -> None:
        if not len(self.sparsities) or not all(0 <= s < 1 for s in self.sparsities) or self.features < 1:
            raise ValueError(f"sparsities={list(self.sparsities)}, features={self.features}: expected at least one "
                             "probability from 0, below 1, and at least one feature")

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "s count n"]:
        """`count` samples for each sparsity.

        >>> SparseFeatures([0.5], features=3, tied_amplitude=True).sample(4, torch.Generator()).shape
        torch.Size([1, 4, 3])
        """
        S = torch.tensor(self.sparsities)[:, None, None]
        amplitude = torch.rand(1, count, self.features, generator=generator)
        chance = amplitude if self.tied_amplitude else torch.rand(1, count, self.features, generator=generator)
        return torch.where(chance >= S, amplitude, 0.0)

    def mean_norm(self, seed: int = 0) -> Float[Tensor, " s"]:
        """Mean length of a sample for each sparsity, from 20,000 of them: attacks are given as a share of it.

        >>> [round(float(norm), 1) for norm in SparseFeatures([0.0, 0.9]).mean_norm()]
        [5.8, 1.8]
        """
        generator, total = torch.Generator().manual_seed(seed), torch.zeros(len(self.sparsities))
        for _ in range(20):
            total += self.sample(_ENOUGH // 20, generator).norm(dim=2).mean(1)
        return total / 20
