"""The linear reference: how much of the other blocks of an orbit a linear reader of its first block can know.

The function is called `linear_ceiling` for what the number is to linear maps: of those fitted on the same images, none
is expected to do better. For a coder it is a reference and no upper bound. A nonlinear reader may know more, and so may
a linear one that is fitted on more images: `ceiling_curve` shows how far the fit has come. Nor does it measure what a
network has learned. Random weights are easier to predict than trained ones, and pixels easier still where the group
turns them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.base import bootstrap, percentile_interval
from groupcc_lite.coders import SecondMoments
from groupcc_lite.orbits import StoredOrbits

Map = tuple[Float[Tensor, "d g d"], Float[Tensor, "g d"]]
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0)
"""Strengths of the penalty that are tried, in units of the mean eigenvalue of x[e]'s covariance."""
BATCH = 1024


def linear_ceiling(train: Iterable[Tensor], held_out: Iterable[Tensor],
                   ridges: tuple[float, ...] = RIDGES) -> Float[Tensor, " g"]:
    """Held-out FVE of the best ridge map from x[e] to x[g], per element: what a linear reader of x[e] could know.

    `train` and `held_out` give batches (b, g, d). The ridge strength, in units of the mean eigenvalue of x[e]'s
    covariance, is chosen on every fifth training batch, never on the held-out ones; with it the map is fitted to all
    training batches. These should be of different images, see `fitting_batches`. Moments are summed in double
    precision where the training batches lie, and so is the result. ValueError for fewer than two training batches and
    for no held-out one.

    >>> import torch
    >>> x = torch.randn(400, 1, 5, generator=torch.Generator().manual_seed(0))
    >>> orbits = torch.cat([x, x.flip(2)], dim=1)  # block 1 is a linear function of block 0
    >>> linear_ceiling(orbits[:300].split(100), orbits[300:].split(100)).round(decimals=2)
    tensor([1., 1.])
    """
    return ceiling_curve([train], held_out, ridges)[0]


def fitting_batches(orbits: StoredOrbits) -> Iterator[Float[Tensor, "b g d"]]:
    """Every row once, in the order of the images, in about ten batches or more: what `linear_map` is best fitted to.

    Two batches then share the points of one image at most, so the ridge strength is chosen on other images.

    >>> import tempfile
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import OrbitStore
    >>> store = OrbitStore.from_batches(tempfile.mkdtemp(), [torch.ones(25, 2, 3)], cyclic(2))
    >>> [len(batch) for batch in fitting_batches(store)]
    [3, 3, 3, 3, 3, 3, 3, 3, 1]
    """
    return orbits.in_order(max(1, min(BATCH, math.ceil(len(orbits) / 10))))


def linear_map(train: Iterable[Tensor], ridges: tuple[float, ...] = RIDGES) -> Map:
    """Weights (d, g, d) and intercepts (g, d) of that map, x[g] ~ x[e] W[:, g] + b[g], to see what it misses where.

    >>> x = torch.randn(400, 1, 5, generator=torch.Generator().manual_seed(0))
    >>> orbits = torch.cat([x, x.flip(2) + 1], dim=1)
    >>> W, b = linear_map(orbits.split(100))
    >>> W.shape, round(float(W[0, 1, 4]), 2), round(float(b[1, 0]), 2)
    (torch.Size([5, 2, 5]), 1.0, 1.0)
    """
    (found,) = _growing([train], ridges)
    return found


def ceiling_curve(portions: Sequence[Iterable[Tensor]], held_out: Iterable[Tensor],
                  ridges: tuple[float, ...] = RIDGES) -> Float[Tensor, "k g"]:
    """The linear reference as the data grow: row k is fitted on the first k + 1 portions, in one pass over all.

    Each portion gives batches (b, g, d), the first at least two; of every portion each fifth batch, from its second on,
    chooses the ridge strength of a map that is fitted to the others; then the map is fitted to all. Portions should be
    of different images: points of one image resemble each other. ValueError as for `linear_ceiling`, and for no
    portion.

    >>> x = torch.randn(600, 1, 20, generator=torch.Generator().manual_seed(0))
    >>> noise = torch.randn(600, 1, 20, generator=torch.Generator().manual_seed(1))
    >>> orbits = torch.cat([x, x.flip(2) + noise], dim=1)
    >>> curve = ceiling_curve([orbits[:60].split(20), orbits[60:400].split(20)], orbits[400:].split(100))
    >>> curve.shape, bool(curve[0, 1] < curve[1, 1] < 0.5)  # half of block 1 is noise
    (torch.Size([2, 2]), True)
    """
    maps = list(_growing(portions, ridges))
    if not maps:
        raise ValueError("portions is empty; expected at least one, of batches of orbit vectors (b, g, d)")
    test = SecondMoments()
    for batch in held_out:
        blocks = batch.to(maps[0][0].device).float()
        test.add(blocks[:, 0], blocks)
    if not test.count:
        raise ValueError("held_out is empty; expected batches of orbit vectors (b, g, d)")
    return torch.stack([test.fve(*each).float() for each in maps])


def missed_by_image(fitted: Map, held_out: StoredOrbits) -> tuple[Float[np.ndarray, "i g"], Float[np.ndarray, "i g"]]:
    """Of each held-out image and element: squares that the map of `linear_map` misses, and squares about the mean.

    1 - missed / about, both summed over images, is the linear reference; an interval must be taken over images.

    >>> import tempfile
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import OrbitStore
    >>> x = torch.randn(100, 1, 5, generator=torch.Generator().manual_seed(0)).expand(-1, 2, -1)
    >>> store = OrbitStore.from_batches(tempfile.mkdtemp(), [x], cyclic(2))
    >>> missed, about = missed_by_image(linear_map(x.split(20)), store)
    >>> missed.shape, bool(missed.sum() < 1e-3 * about.sum())
    ((100, 2), True)
    """
    W, b = (part.float() for part in fitted)
    images, where = np.unique(held_out.image, return_inverse=True)
    mean = sum(x.sum(0, dtype=torch.float64) for x in held_out.in_order()) / len(held_out)
    sums, first = torch.zeros(2, len(images), held_out.group.order, dtype=torch.float64), 0
    for batch in held_out.in_order():
        x = batch.to(W.device)
        own = torch.as_tensor(where[first:first + len(x)])
        for total, error in zip(sums, (x - einsum(x[:, 0], W, "b c, c g d -> b g d") - b, x - mean.to(x)), strict=True):
            total.index_add_(0, own, error.square().sum(-1).double().cpu())
        first += len(x)
    return sums[0].numpy(), sums[1].numpy()


def interval_over_images(quantity: Callable[..., float], *sums: Float[np.ndarray, "_ g"], draws: int = 400,
                         seed: int = 0) -> tuple[float, float]:
    """Where a quantity of such sums lies with 95 % confidence, were other images held out: a bootstrap over their rows.

    `quantity` is called with all `sums` of the same drawn images, so differences of two ways are paired. ValueError for
    sums of different images, or of fewer than two.

    >>> missed = np.array([[0.4], [0.5], [0.6], [0.5]])
    >>> low, high = interval_over_images(lambda missed: float(missed.mean()), missed)
    >>> 0.4 <= low < 0.5 < high <= 0.6
    True
    """
    counts = {len(part) for part in sums}
    if len(counts) != 1 or min(counts) < 2:
        raise ValueError(f"sums are of {sorted(counts)} images; expected the same number for all, and two or more")
    return percentile_interval(bootstrap(lambda drawn: quantity(*(part[drawn] for part in sums)), len(sums[0]),
                                         draws=draws, seed=seed))


def _growing(portions: Iterable[Iterable[Tensor]], ridges: tuple[float, ...]) -> Iterator[Map]:
    """The best map after each portion."""
    fit, choose = SecondMoments(), SecondMoments()
    for portion in portions:
        for number, batch in enumerate(portion):
            blocks = batch.float()
            (choose if number % 5 == 1 else fit).add(blocks[:, 0], blocks)
        if not choose.count:
            raise ValueError("linear_ceiling needs at least 2 training batches, to choose the ridge strength on one")
        best = max(ridges, key=lambda ridge: float(choose.fve(*fit.fit(ridge)).mean()))
        yield (fit + choose).fit(best)
