"""The same feature in another network? Responses to the same images at the same points, in all orientations.

Features of two networks have no coordinates in common, but both answer to the same pictures. r[n, g, i] is how feature
i responds at point n of the picture moved by g. A network that has learned the feature in another orientation responds
with r[n, hg], so two features are matched up to the group: the largest correlation over all h. What such a match is
worth is said by the same with pictures that do not belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.answers.replication import AboveNull, above_null
from groupcc_lite.base import bootstrap, percentile_interval
from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.responses import orbit_members


class Counterparts(NamedTuple):
    """For each feature of one network the feature of another one whose responses are most like its own.

    >>> Counterparts._fields
    ('correlation', 'partner', 'element')
    """

    correlation: Float[Tensor, " m"]
    """Of the best pair, over points and elements; NaN for a feature that responds alike to everything."""
    partner: Int[Tensor, " m"]
    """Row of the other network's feature."""
    element: Int[Tensor, " m"]
    """h: the partner responds to hJ as the feature does to J."""


@torch.no_grad()
def responses(coder: GroupCrosscoder | FittedCrosscoder, orbits: Float[Tensor, "n g d"],
              features: Sequence[int] | Int[np.ndarray, " m"] | Int[Tensor, " m"]) -> Float[Tensor, "n g m"]:
    """What these latents' encoders say to every block, after ReLU and before any selection; on the coder's device.

    >>> from groupcc_lite.groups import cyclic
    >>> responses(GroupCrosscoder(cyclic(2), 3, 5), torch.randn(4, 2, 3), [0, 4]).shape
    torch.Size([4, 2, 2])
    """
    chosen = torch.as_tensor(features, device=coder.device)
    parts = [coder.preactivations(part.flatten(0, 1).to(coder.device)).relu()[:, chosen].unflatten(0, part.shape[:2])
             for part in orbits.float().split(1024)]
    return torch.cat(parts)


def counterparts(a: Float[Tensor, "n g m"], b: Float[Tensor, "n g k"], G: FiniteGroup) -> Counterparts:
    """Best partner among the features behind `b` for each behind `a`: max over h of corr(a[n, g, i], b[n, hg, j]).

    Both are responses to the same pictures at the same points. Correlations are over all points and elements. A feature
    without variance is no partner and has none. ValueError for responses that do not belong together.

    >>> from groupcc_lite.groups import cyclic
    >>> a = torch.rand(50, 4, 3, generator=torch.Generator().manual_seed(0))
    >>> found = counterparts(a, a.roll(-1, 1).flip(2), cyclic(4))  # the same features, moved, in another order
    >>> found.partner.tolist(), found.element.tolist(), round(found.correlation.min().item(), 3)
    ([2, 1, 0], [3, 3, 3], 1.0)
    """
    members = orbit_members(a, b, G)
    best, element = members.correlation.nan_to_num(-torch.inf).max(1)
    partner = members.partner.gather(1, element[:, None])[:, 0]
    return Counterparts(*(part.cpu() for part in (best.where(best > -torch.inf, torch.nan), partner, element)))


def unrelated_counterparts(a: Float[Tensor, "n g m"], b: Float[Tensor, "n g k"], G: FiniteGroup,
                           image: Int[Tensor, " n"], *, draws: int = 5, seed: int = 0) -> Float[Tensor, " k_all"]:
    """The null of `counterparts`: correlations of best partners when `b` saw other pictures than `a`, for `above_null`.

    `image` says which picture each point is of. Points of one picture stay together and keep their order; a picture is
    given the responses to another one. ValueError for a single picture, and for pictures with differing numbers of
    points.

    >>> from groupcc_lite.groups import cyclic
    >>> a = torch.rand(50, 4, 3, generator=torch.Generator().manual_seed(0))
    >>> unrelated_counterparts(a, a, cyclic(4), torch.arange(25).repeat_interleave(2)).max() < 0.5
    tensor(True)
    """
    numbers, count = torch.unique_consecutive(image, return_counts=True)
    if len(numbers) < 2 or len(numbers.unique()) != len(numbers) or len(count.unique()) > 1:
        raise ValueError(f"image names {len(numbers)} pictures with {sorted(set(count.tolist()))} points; expected two "
                         "pictures or more, each with as many points, one after the other")
    generator = torch.Generator().manual_seed(seed)
    pictures = b.unflatten(0, (len(numbers), -1))
    found = []
    for _ in range(draws):
        found.append(counterparts(a, pictures[_derangement(len(numbers), generator)].flatten(0, 1), G).correlation)
    return torch.cat(found)


def _derangement(count: int, generator: torch.Generator) -> Int[Tensor, " count"]:
    """A permutation that leaves nothing in its place: a random order, in which each is followed by the next."""
    order = torch.randperm(count, generator=generator)
    following = torch.empty_like(order)
    following[order] = order.roll(-1)
    return following


def agreement(a: Sequence[str], b: Sequence[str]) -> tuple[float, float]:
    """Share of pairs with the same label, and what it would be if labels were paired at random.

    >>> agreement(["mirror", "none", "none", "mirror"], ["mirror", "none", "none", "none"])
    (0.75, 0.5)
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"{len(a)} and {len(b)} labels; expected some, and as many")
    same = sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
    chance = sum((list(a).count(label) / len(a)) * (list(b).count(label) / len(b)) for label in set(a))
    return same, chance


class FeatureResponses(NamedTuple):
    """Living features and their responses, to compare them across networks.

    >>> FeatureResponses._fields
    ('photographs', 'drawings', 'label', 'image')
    """

    photographs: Float[Tensor, "n g m"]
    """Responses to points of held-out images (which need not be photographs)."""
    drawings: Float[Tensor, "c g m"]
    """The same for the middle of drawn shapes."""
    label: list[str]
    """Stabiliser of each dictionary vector."""
    image: Int[Tensor, " n"]
    """Which image each point is of."""


class Shared(NamedTuple):
    """How much of one network's features another network has too.

    >>> Shared._fields[:3]
    ('found', 'above', 'gain')
    """

    found: Counterparts
    above: AboveNull
    """Features whose best partner is above the 99 % quantile of best partners in the null's network."""
    gain: float
    """Mean correlation with the best partner, minus that with the best one in the null's network."""
    gain_interval: tuple[float, float]
    """Where it lies with 95 % confidence, features drawn anew."""
    unrelated: float
    """99 % quantile of partners on images that do not belong together: a bar that is easily passed."""
    drawn: float
    """Median correlation of the pairs that are above the null on drawn shapes, which took no part in the matching."""
    drawn_chance: float
    """The same with the partners of other pairs."""
    same: float
    """Share of these pairs with the same stabiliser."""
    same_chance: float
    """What it would be if labels were paired at random."""
    pairs: int
    """How many pairs these are."""


def shared(a: FeatureResponses, b: FeatureResponses, null: FeatureResponses, G: FiniteGroup, *,
           seed: int = 0) -> Shared:
    """Partners of a's features among b's, judged by those in a null, and whether pairs agree where nobody matched them.

    `null` should be b's architecture with random weights: features that answer to much the same pixels and that nobody
    learned. Any two features correlate if both like brightness, so unrelated images alone are no null. The larger of
    both dictionaries is thinned to the size of the smaller one, evenly, or the best of more would be better. What is
    said of pairs is NaN where fewer than two are above the null. ValueError as for `counterparts`.

    >>> from groupcc_lite.groups import cyclic
    >>> r = torch.rand(60, 4, 9, generator=torch.Generator().manual_seed(0))
    >>> labels, image = ["none"] * 5, torch.arange(20).repeat_interleave(2)
    >>> one, other = (FeatureResponses(r[:40, :, k], r[40:, :, k], labels, image) for k in (slice(5), slice(4, 9)))
    >>> found = shared(one, one, other, cyclic(4))
    >>> found.above.share >= 0.8, round(found.drawn, 3), found.same
    (True, 1.0, 1.0)
    """
    count = min(len(b.label), len(null.label))
    if not count or not a.label:
        raise ValueError(f"{len(a.label)}, {len(b.label)} and {len(null.label)} living features; expected some of "
                         "each: train longer, or look at an earlier layer")
    b, null = _thinned(b, count), _thinned(null, count)
    found, other = (counterparts(a.photographs, each.photographs, G) for each in (b, null))
    known = ~(found.correlation.isnan() | other.correlation.isnan())
    if not known.any():
        raise ValueError("no feature responds to these images differently from point to point; expected some that do")
    mine, theirs = found.correlation[known], other.correlation[known]
    above = above_null(mine, theirs, seed=seed)
    gains = (mine - theirs).double().numpy()
    interval = percentile_interval(bootstrap(lambda drawn: gains[drawn].mean(), len(gains), seed=seed))
    chance = unrelated_counterparts(a.photographs, b.photographs, G, a.image, draws=1, seed=seed)
    easy = float(chance[~chance.isnan()].quantile(0.99))
    rows = torch.nonzero(found.correlation > above.bar).flatten()
    if len(rows) < 2:
        return Shared(found, above, float(gains.mean()), interval, easy, *[float("nan")] * 4, len(rows))
    partner, element = found.partner[rows], found.element[rows]
    drawn = _agree(a.drawings, b.drawings, G, rows, partner, element)
    swapped = [_agree(a.drawings, b.drawings, G, rows[other], partner.roll(k)[other], element.roll(k)[other])
               for k in range(1, min(len(rows), 20)) if (other := partner.roll(k) != partner).any()]
    others = float(np.mean(swapped)) if swapped else float("nan")
    same, by_chance = agreement([a.label[i] for i in rows.tolist()], [b.label[j] for j in partner.tolist()])
    return Shared(found, above, float(gains.mean()), interval, easy, drawn, others, same, by_chance, len(rows))


def _thinned(x: FeatureResponses, count: int) -> FeatureResponses:
    """Evenly spread features."""
    kept = torch.linspace(0, len(x.label) - 1, count).round().long()
    return FeatureResponses(x.photographs[..., kept], x.drawings[..., kept], [x.label[i] for i in kept.tolist()],
                            x.image)


def _agree(a: Float[Tensor, "c g m"], b: Float[Tensor, "c g k"], G: FiniteGroup, rows: Int[Tensor, " p"],
           partner: Int[Tensor, " p"], element: Int[Tensor, " p"]) -> float:
    """Median over pairs of the correlation between a's responses and those of the moved partner."""
    table = torch.as_tensor(G.table)
    moved = torch.stack([b[:, table[h], j].flatten() for j, h in zip(partner.tolist(), element, strict=True)])
    both = torch.stack([a[:, :, rows].flatten(0, 1).T, moved])
    both = both - both.mean(-1, keepdim=True)
    product = (both[0] * both[1]).sum(-1) / (both[0].norm(dim=-1) * both[1].norm(dim=-1))
    return float(product.nanmedian())
