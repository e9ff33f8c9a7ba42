"""Units of a layer: neurons, latents of coders, and directions that nobody trained.

All of them read an activation and give a number that is not negative, so the same questions can be put to all. Those
that nobody trained are the null of whatever a dictionary seems to show: a direction with a threshold is selective by
itself. So each has the threshold at which it responds as often as the latents that it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.coders import GroupCrosscoder

UNTRAINED = ("random directions", "data points", "principal components", "shuffled dictionary")
"""What `untrained_units` makes."""


class Units(NamedTuple):
    """Some units of a layer.

    >>> neuron_units(3).read(torch.tensor([[1.0, -2.0, 3.0]]))
    tensor([[1., 0., 3.]])
    """

    name: str
    count: int
    read: Callable[[Float[Tensor, "n d"]], Float[Tensor, "n u"]]
    """From activations of the layer, in the model's units, to what each unit says."""

    def of_orbits(self, x: Float[Tensor, "n g d"], at_once: int = 8192) -> Float[Tensor, "n g u"]:
        """What each unit says to every block, in parts, on the CPU.

        >>> neuron_units(3).of_orbits(torch.ones(5, 4, 3)).shape
        torch.Size([5, 4, 3])
        """
        parts = [self.read(part).cpu() for part in x.flatten(0, 1).float().split(at_once)]
        return torch.cat(parts).unflatten(0, x.shape[:2])


def neuron_units(channels: int | Sequence[int], name: str = "neurons") -> Units:
    """The layer's own units: all of its `channels`, or those with the given numbers.

    >>> neuron_units([0, 2]).read(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[1., 3.]])
    """
    chosen = list(range(channels)) if isinstance(channels, int) else list(channels)
    return Units(name, len(chosen), lambda x: x[:, chosen].clamp(min=0))


def latent_units(coder: GroupCrosscoder, latents: Sequence[int] | Int[np.ndarray, " u"] | Int[Tensor, " u"],
                 name: str) -> Units:
    """Latents of a coder with these numbers, as it encodes an activation, with the selection that its sparsity makes.

    ValueError for a mask.

    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> units = latent_units(SparseAutoencoder(3, 8, activation="topk", k=2), [1, 5], "some latents")
    >>> units.count, units.read(torch.ones(4, 3)).shape
    (2, torch.Size([4, 2]))
    """
    chosen = torch.as_tensor(np.asarray(latents), device=coder.device)
    if chosen.dtype == torch.bool:
        raise ValueError("latents is a mask; expected numbers of latents, such as np.flatnonzero(mask)")

    @torch.no_grad()
    def read(x: Tensor) -> Tensor:
        return coder.encode(x.to(coder.device))[:, chosen]

    return Units(name, len(chosen), read)


def untrained_units(kind: str, x: Float[Tensor, "n d"], count: int, *, rate: float,
                    dictionary: Float[Tensor, "m d"] | None = None, seed: int = 0) -> Units:
    """Directions that nobody trained, each with the threshold at which it responds to a share `rate` of the data `x`.

    "random directions" are Gaussian with the covariance of the data; "data points" are drawn from them, about their
    mean; "principal components" are the first of the data, each in both senses, so at most 2 d of them; a "shuffled
    dictionary" has rows of `dictionary`, each with its channels in an order of its own. ValueError for another kind, a
    rate outside (0, 1), and a shuffled dictionary without one to shuffle.

    >>> x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    >>> units = untrained_units("random directions", x, 10, rate=0.1)
    >>> round(float((units.read(x) > 0).float().mean()), 2)
    0.1
    """
    if kind not in UNTRAINED or not 0 < rate < 1 or (kind == "shuffled dictionary" and dictionary is None):
        raise ValueError(f"kind is {kind!r} and rate {rate}; expected one of {', '.join(UNTRAINED)}, a rate between 0 "
                         "and 1, and for a shuffled dictionary the dictionary")
    generator = torch.Generator().manual_seed(seed)
    x = x.float().cpu()
    rest = x - x.mean(0)
    directions = torch.nn.functional.normalize(_directions(kind, rest, count, dictionary, generator), dim=1)
    threshold = torch.quantile(_some(rest, 4096, generator) @ directions.T, 1 - rate, dim=0)
    mean = x.mean(0)
    return Units(kind, len(directions), lambda given: ((given.float().cpu() - mean) @ directions.T - threshold).relu())


def _directions(kind: str, rest: Tensor, count: int, dictionary: Tensor | None, generator: torch.Generator) -> Tensor:
    if kind == "data points":
        return _some(rest, count, generator)
    if kind == "shuffled dictionary":
        assert dictionary is not None, "checked by the caller"
        order = torch.rand(len(dictionary), dictionary.shape[1], generator=generator).argsort(1)
        return torch.gather(dictionary.float().cpu(), 1, order)[:count]
    values, vectors = torch.linalg.eigh(rest.T.double() @ rest.double() / len(rest))
    if kind == "principal components":
        first = vectors.flip(1).T.float()
        return torch.stack([first, -first], 1).flatten(0, 1)[:count]
    drawn = torch.randn(count, rest.shape[1], generator=generator, dtype=torch.double)
    return (drawn * values.clamp(min=0).sqrt() @ vectors.T).float()


def _some(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:count]]
