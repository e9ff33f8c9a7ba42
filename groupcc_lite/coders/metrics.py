"""Held-out metrics that judge a coder, and what copying a block would get."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Metrics:
    """How well a coder reconstructs images that it was not trained on; `evaluate` makes one.

    >>> import numpy as np
    >>> from groupcc_lite.coders import Metrics
    >>> made = Metrics(fve=0.5, fve_per_block=np.array([0.5]), fve_identity=0.5, fve_exact=0.5, fve_resampled=0.5,
    ...                l0=3.0, dead=0.0, frequency=np.array([0.1]))
    >>> sorted(made.row())
    ['dead', 'fve', 'fve_exact', 'fve_identity', 'fve_resampled', 'l0']
    """

    fve: float
    """Fraction of variance explained over all blocks together; variance is about each block's mean."""
    fve_per_block: Float[np.ndarray, " g"]
    """The same for each group element."""
    fve_identity: float
    """The untransformed block alone."""
    fve_exact: float
    """Elements other than e that move pixels to pixels; NaN if there are none."""
    fve_resampled: float
    """Elements whose images had to be interpolated; NaN if there are none."""
    l0: float
    """Mean number of active latents."""
    dead: float
    """Fraction of latents that never fire on these data."""
    frequency: Float[np.ndarray, " m"] = dataclasses.field(repr=False)
    """Fraction of samples on which each latent fires."""

    def row(self) -> dict[str, float | int]:
        """The scalar metrics by name."""
        return {f.name: float(getattr(self, f.name)) for f in dataclasses.fields(self)
                if not isinstance(getattr(self, f.name), np.ndarray)}


@torch.no_grad()
def evaluate(coder: Any, source: Any, *, batch_size: int = 1024) -> Metrics:
    """Metrics of a coder over every row of a store (or anything with `in_order` and `exact`).

    Batches may lie on any device; sums are kept on the coder's. ValueError for a source without orbits, or one whose
    orbits are all the same: then there is no variance to explain.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder, evaluate
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> x = torch.randn(50, 1, 6, generator=torch.Generator().manual_seed(0))
    >>> evaluate(SparseAutoencoder(channels=6, latents=20, activation="topk", k=3), TensorOrbits(x, cyclic(1))).l0
    3.0
    """
    with evaluating(coder):
        sums, count = _summed(coder, source.in_order(batch_size))
    if not count:
        raise ValueError("the source to evaluate on is empty; expected at least one orbit")
    residual, squares, total, fired, active = (term.cpu() for term in sums)
    variance = (squares - total.square().sum(1) / count).numpy()
    least = 1e-12 * float(squares.sum())  # what rounding may leave of a constant, whatever the units
    if not variance.sum() > least:
        raise ValueError(f"the {count} orbits to evaluate on are all the same: there is no variance to explain; "
                         "expected orbits of several points")
    return _metrics(residual.numpy(), np.maximum(variance, least), np.asarray(source.exact), (fired / count).numpy(),
                    float(active) / count)


@torch.no_grad()
def firing_frequency(coder: Any, source: Any, *, batch_size: int = 1024) -> Float[np.ndarray, " m"]:
    """Share of the orbits on which each latent fires, as in `evaluate`; only the encoder and first blocks are needed.

    ValueError for a source without orbits.

    >>> import torch
    >>> from groupcc_lite.coders import GroupCrosscoder, firing_frequency
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> coder = GroupCrosscoder(cyclic(2), 3, 8, activation="topk", k=1, seed=0)
    >>> frequency = firing_frequency(coder, TensorOrbits(torch.ones(5, 2, 3), cyclic(2)))
    >>> sorted(frequency.tolist())[-2:]  # one latent for all five
    [0.0, 1.0]
    """
    fired, count = torch.zeros(coder.latents, dtype=torch.double, device=coder.device), 0
    alone = getattr(source, "group", coder.group).order == 1  # then there are no blocks to leave out
    with evaluating(coder):
        for x in source.in_order(batch_size, **({} if alone else dict(elements=slice(0, 1)))):
            fired += (coder.encode(x[:, 0].to(coder.device)) != 0).double().sum(0)
            count += len(x)
    if not count:
        raise ValueError("the source is empty; expected at least one orbit")
    return (fired / count).cpu().numpy()


@torch.no_grad()
def copy_fve(orbits: Iterable[Tensor]) -> Float[np.ndarray, " g"]:
    """Fraction of variance explained when x[e] is copied into every block, by block, over batches (b, |G|, d).

    What a coder has to beat; what to compare it with is the linear reference (`symmetry.linear_ceiling`). As there,
    variance is about each block's mean. 1 for e, below 0 where a copy is worse than the mean. ValueError if there are
    no orbits or a block is constant.

    >>> copy_fve([torch.tensor([[[1.0], [1.0]], [[3.0], [2.0]]])]).tolist()
    [1.0, -1.0]
    """
    residual, squares, total, count = 0.0, 0.0, 0.0, 0
    for x in orbits:
        x = x.double()
        residual = residual + (x - x[:, :1]).square().sum((0, 2))
        squares = squares + x.square().sum((0, 2))
        total, count = total + x.sum(0), count + len(x)
    if not count:
        raise ValueError("there are no orbits to copy in; expected at least one")
    variance = squares - total.square().sum(1) / count
    if not (variance > 1e-12 * squares).all():
        raise ValueError(f"block {int(variance.argmin())} is the same in all {count} orbits; expected blocks that vary")
    return (1 - residual / variance).cpu().numpy()


@contextmanager
def evaluating(coder: Any) -> Iterator[None]:
    """The coder in evaluation mode inside this block, then as it was."""
    was_training = coder.training
    coder.eval()
    try:
        yield
    finally:
        coder.train(was_training)


def _summed(coder: Any, batches: Iterable[Tensor]) -> tuple[list[Tensor], int]:
    """Sums over all orbits, and how many there were: squared residuals, squares and entries by block, firings."""
    sums, count = [], 0
    for x in batches:
        x = x.to(coder.device)
        latents, reconstruction = coder(x)
        on = (latents != 0).double()  # blocks have coordinates of either sign
        residual, x = (x - reconstruction).square().sum((0, 2)).double(), x.double()  # variances are differences
        new = (residual, x.square().sum((0, 2)), x.sum(0), on.sum(0), on.sum())
        sums, count = [a + b for a, b in zip(sums, new, strict=True)] if sums else list(new), count + len(x)
    return sums, count


def _metrics(residual: Float[np.ndarray, " g"], variance: Float[np.ndarray, " g"], exact: np.ndarray,
             frequency: Float[np.ndarray, " m"], l0: float) -> Metrics:
    def fve(which: np.ndarray) -> float:
        return float(1 - residual[which].sum() / variance[which].sum()) if which.any() else float("nan")

    identity = np.arange(len(residual)) == 0
    return Metrics(fve=fve(np.ones(len(residual), dtype=bool)), fve_per_block=1 - residual / variance,
                   fve_identity=fve(identity), fve_exact=fve(exact & ~identity), fve_resampled=fve(~exact),
                   l0=l0, dead=float((frequency == 0).mean()), frequency=frequency)
