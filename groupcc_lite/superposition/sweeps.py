"""Superposition and vulnerability of many toy models, side by side, with intervals over seeds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.base import interval_of
from groupcc_lite.superposition.measures import (
    Vulnerability,
    antipodal_share,
    effective_features,
    features_per_dimension,
    represented,
    vulnerability,
)
from groupcc_lite.superposition.toys import Toys

_TOGETHER = 2**22  # numbers of inputs that are attacked at once: 16 MiB


class OverSeeds(NamedTuple):
    """A number's mean over seeds and its 95 % interval, NaN for a single seed; `ToyMeasures.over_seeds` gives it.

    >>> OverSeeds(1.5, 1.4, 1.6)
    1.50 [1.40, 1.60]
    """

    mean: float
    low: float
    high: float

    def __repr__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, eq=False)
class ToyMeasures:
    """What `measure_toys` finds, one number for each model.

    >>> from groupcc_lite.superposition import SparseFeatures, train_toys
    >>> toys = train_toys(SparseFeatures([0.0, 0.9], features=6), dimensions=2, seeds=[0, 1], steps=200)
    >>> found = measure_toys(toys, samples=200)
    >>> found.attacked_ratio.shape, len(found.over_seeds("per_dimension"))
    (torch.Size([4]), 2)
    """

    which: Int[Tensor, " k"]
    """Entry of the data's sparsities."""
    sparsity: Float[Tensor, " k"]
    per_dimension: Float[Tensor, " k"]
    """`features_per_dimension`."""
    represented: Int[Tensor, " k"]
    """Features with a direction."""
    antipodal: Float[Tensor, " k"]
    """`antipodal_share`."""
    effective: Float[Tensor, " k"]
    """psi, `effective_features` of x_i ||w_i||^2: what each feature puts into its own output."""
    clean: Float[Tensor, " k"]
    """Mean loss of clean samples."""
    attacked_ratio: Float[Tensor, " k"]
    """Vulnerability: loss of attacked samples over that of clean ones."""
    noise_ratio: Float[Tensor, " k"]
    """The same for noise of the attack's norm."""
    excess: Float[Tensor, " k"]
    """How many times more an attack adds than noise."""
    added: Float[Tensor, " k"]
    """(attacked - clean loss) / eps^2, for which clean losses that differ do not matter: 1 for a model that passes
    whole dimensions on as they are, see `attack_gain` for features that are alone."""

    def over_seeds(self, name: str) -> list[OverSeeds]:
        """One of the measures, by name: its mean over seeds for each entry of the data's sparsities.

        ValueError for a name that is not a measure.
        """
        known = [field.name for field in fields(self) if field.name not in ("which", "sparsity")]
        if name not in known:
            raise ValueError(f"name is {name!r}; expected one of {', '.join(known)}")
        values = getattr(self, name).double()
        groups = [values[self.which == entry].tolist() for entry in self.which.unique()]
        return [OverSeeds(sum(group) / len(group), *(interval_of(group) if len(group) > 1 else (torch.nan, torch.nan)))
                for group in groups]


def measure_toys(toys: Toys, share: float = 0.1, *, samples: int = 4096, steps: int = 20, restarts: int = 1,
                 seed: int = 1_000_000) -> ToyMeasures:
    """Superposition of each model, and what attacks and noise do to it on samples that training never saw.

    eps is `share` of the mean norm of the model's own data. Models are compared on the same draws. `steps` and
    `restarts` as for `pgd`. 35 models of 100 features take 15 seconds on one core. ValueError as there.

    >>> from groupcc_lite.superposition import SparseFeatures, train_toys
    >>> toys = train_toys(SparseFeatures([0.9], features=6), dimensions=2, steps=200)
    >>> found = measure_toys(toys, samples=500)
    >>> bool(found.attacked_ratio > found.noise_ratio)
    True
    """
    few = max(1, _TOGETHER // (samples * toys.data.features))
    costs, effective = [], []
    for numbers in torch.arange(len(toys)).split(few):
        some = toys.chosen(numbers)
        x = some.samples(samples, seed)
        costs.append(vulnerability(some.loss_about(x), x, some.radius(share), steps=steps, restarts=restarts,
                                   seed=seed))
        used = x * some.W.square().sum(1)[:, None]
        effective += [effective_features(part, some.W.shape[1]) for part in used]
    clean, attacked, noisy = (torch.cat([getattr(cost, name) for cost in costs])
                              for name in ("clean", "attacked", "noisy"))
    cost = Vulnerability(clean, attacked, noisy)
    return ToyMeasures(toys.which, toys.sparsity, features_per_dimension(toys.W), represented(toys.W),
                       antipodal_share(toys.W), torch.tensor(effective), clean, cost.attacked_ratio, cost.noise_ratio,
                       cost.excess, (attacked - clean) / toys.radius(share)[:, 0].square())
