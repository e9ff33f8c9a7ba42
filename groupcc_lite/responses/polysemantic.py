"""Units that answer to two things, and what a dictionary makes of them.

A decoder is linear. So what it writes into one channel is a sum over latents, f_i W_d[i], and each latent's share in a
neuron is exact and not an estimate.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.coders import GroupCrosscoder


class TwoDirections(NamedTuple):
    """The two strongest directions of units, and how far they are apart; a number for each unit, NaN where there is
    one direction only.

    >>> TwoDirections._fields
    ('first', 'second', 'apart', 'lesser', 'valley')
    """

    first: Float[Tensor, " u"]
    """Radians; where the response is largest."""
    second: Float[Tensor, " u"]
    apart: Float[Tensor, " u"]
    """Angle between them, from 0 to pi."""
    lesser: Float[Tensor, " u"]
    """Response to the second, as a share of the first."""
    valley: Float[Tensor, " u"]
    """The higher of the two lows between them, as a share of the response to the second."""

    @property
    def double(self) -> Tensor:
        """Which units are double: two directions from 45 to 150 degrees apart, the lesser at least half as strong, and
        a low of at most half of that on either way from one to the other. Opposite directions do not count: units of
        straight lines have those.

        >>> two_directions(torch.tensor([[4.0, 1, 3, 1, 0, 0, 0, 0], [4.0, 1, 0, 1, 3, 1, 0, 1]])).double
        tensor([ True, False])
        """
        degrees = self.apart.rad2deg()
        return (degrees >= 45) & (degrees <= 150) & (self.lesser >= 0.5) & (self.valley <= 0.5)


def two_directions(r: Float[Tensor, "u d"]) -> TwoDirections:
    """The two strongest separate peaks of responses to d directions, evenly over a full turn.

    The second is the peak that stands out most, the local maximum with the largest drop on the way to the first.

    >>> found = two_directions(torch.tensor([[4.0, 1, 3, 1, 0, 0, 0, 0]]))
    >>> round(math.degrees(found.apart)), round(float(found.lesser), 2), round(float(found.valley), 2)
    (90, 0.75, 0.33)
    """
    u, d = r.shape
    r = r.double().clamp(min=0)
    first = r.argmax(1)
    around = torch.gather(r, 1, (first[:, None] + torch.arange(d)) % d)  # from the first peak on
    low = torch.maximum(around.cummin(1).values, around.flip(1).cummin(1).values.flip(1))
    # `low`: the higher of the lows on the two ways from the first peak to a direction.
    inner = (around >= around.roll(1, 1)) & (around >= around.roll(-1, 1))
    inner[:, 0] = False
    stands = (around - low).where(inner & (around > low), -1.0)
    drop, step = stands.max(1)
    there = torch.where(drop > 0, 1.0, torch.nan)
    turn = 2 * math.pi / d
    peak, second = around[:, 0], around[torch.arange(u), step]
    apart = torch.minimum(step, d - step) * turn
    return TwoDirections((first * turn).float(), ((first + step) % d * turn * there).float(), (apart * there).float(),
                         (second / peak * there).float(), (low[torch.arange(u), step] / second * there).float())


class Contributions(NamedTuple):
    """What each latent writes into one channel; with the `constant`, the sum over latents is the reconstruction.

    >>> Contributions._fields
    ('parts', 'constant')
    """

    parts: Float[Tensor, "n m"]
    constant: Float[Tensor, ""]


@torch.no_grad()
def contributions(coder: GroupCrosscoder, x: Float[Tensor, "n d"], channel: int) -> Contributions:
    """What every latent contributes to a channel's reconstruction, f_i(x) W_d[i, e, channel], in the model's units.

    ValueError for a channel that the layer does not have.

    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> coder, x = SparseAutoencoder(3, 8, activation="topk", k=2), torch.ones(4, 3)
    >>> found = contributions(coder, x, 1)
    >>> torch.allclose(found.parts.sum(1) + found.constant, coder.decode(coder.encode(x))[:, 0, 1])
    True
    """
    if not 0 <= channel < coder.channels:
        raise ValueError(f"channel is {channel}; expected 0 to {coder.channels - 1}")
    f = coder.encode(x.to(coder.device))
    return Contributions((f * coder.W_d[:, 0, channel] / coder.scale).cpu(),
                         (coder.b_d[0, channel] / coder.scale).cpu())


def largest_parts(found: Contributions, count: int) -> Int[Tensor, " count"]:
    """The latents that contribute most over all samples, by the sum of what they write.

    >>> largest_parts(Contributions(torch.tensor([[1.0, 3.0, 0.0], [0.0, -1.0, 0.5]]), torch.tensor(0.0)), 2).tolist()
    [1, 0]
    """
    return found.parts.sum(0).topk(min(count, found.parts.shape[1])).indices
