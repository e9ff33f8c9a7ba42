"""The features of a coder that are alive, and how many of them have which symmetry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.base import interval_of
from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.orbits import StoredOrbits, TensorOrbits
from groupcc_lite.symmetry.encoder_side import confirmed, encoder_profile
from groupcc_lite.symmetry.nulls import (
    DRAWS,
    FALSE_RATE,
    Supported,
    Witnessed,
    supported_stabilisers,
    surrogate,
    testable,
    witnessed,
)
from groupcc_lite.symmetry.similarity import self_similarity
from groupcc_lite.symmetry.spectra import irrep_power, trivial_share
from groupcc_lite.symmetry.stabiliser import TAU, Stabiliser, profile_stabilisers, stabilisers


class Census(NamedTuple):
    """What a set of features is made of.

    >>> import torch
    >>> from groupcc_lite.groups import cyclic
    >>> census = small_census(torch.ones(2, 4, 3), cyclic(4))
    >>> dict(census.counts), census.power.shape
    ({'all': 2}, torch.Size([2, 3]))
    """

    stabilisers: list[Stabiliser]
    """One for each feature."""
    counts: Counter[str]
    """How many features have which stabiliser, by the label of the subgroup."""
    power: Float[Tensor, "m k"]
    """Shares of each feature over the irreps."""


def living_dictionary(coder: GroupCrosscoder | FittedCrosscoder,
                      frequency: Float[np.ndarray, " m"]) -> tuple[Float[Tensor, "k g d"], Int[np.ndarray, " k"]]:
    """Dictionary vectors of the latents that ever fire, detached and on the CPU, and the numbers of these latents.

    `frequency`: how often each latent fires on held-out images, from `coders.evaluate` or, if nothing else is wanted
    of it, `coders.firing_frequency`. ValueError if it is not one number for each latent.

    >>> from groupcc_lite.groups import cyclic
    >>> D, features = living_dictionary(GroupCrosscoder(cyclic(4), 3, 5), np.array([0.1, 0.0, 0.0, 0.3, 0.0]))
    >>> tuple(D.shape), features.tolist()
    ((2, 4, 3), [0, 3])
    """
    D = coder.dictionary.detach().cpu()
    if np.shape(frequency) != (len(D),):
        raise ValueError(f"frequency has shape {np.shape(frequency)}; expected ({len(D)},), one for each latent")
    alive = np.asarray(frequency) > 0
    return D[alive], alive.nonzero()[0]


def small_census(D: Float[Tensor, "m g d"], G: FiniteGroup, *, tau: float = TAU) -> Census:
    """Stabilisers of dictionary vectors, their counts by label, and the power over irreps, in one go.

    ValueError as for `stabilisers`.

    >>> import torch
    >>> from groupcc_lite.groups import cyclic
    >>> D = torch.tensor([[[1.0], [0.0], [1.0], [0.0]], [[1.0], [1.0], [1.0], [1.0]], [[1.0], [0.0], [0.0], [0.0]]])
    >>> sorted(small_census(D, cyclic(4)).counts.items())
    [('all', 1), ('half turn', 1), ('none', 1)]
    """
    found = stabilisers(D, G, tau=tau)
    return Census(found, Counter(s.subgroup.label for s in found), irrep_power(D, G))


class ConfirmedCensus(NamedTuple):
    """The census of a coder with what each count is worth: by surrogates, and by the coder's other half.

    >>> ConfirmedCensus._fields[:4]
    ('features', 'decoder', 'encoder', 'labels')
    """

    features: Int[np.ndarray, " k"]
    """Numbers of the living latents, to which all that follows refers."""
    decoder: Float[Tensor, "k g"]
    """Profiles of the dictionary vectors, not centred."""
    encoder: Float[Tensor, "k g"]
    """Profiles of the encoder on the orbits, not centred."""
    labels: list[Stabiliser]
    """Read from the decoder, whatever they are worth."""
    supported: Supported
    """Those that features with such spectra do not have as often by chance."""
    confirmed: Bool[Tensor, " k"]
    """Features with a symmetry, but not all, that the encoder has too: their label is no error of one half."""
    invariant: Bool[Tensor, " k"]
    """Features that no element changes, on both sides."""
    witness: Witnessed
    """How many labels are confirmed, and how many if encoders knew nothing of their own decoder's axis."""

    @property
    def partly(self) -> Bool[Tensor, " k"]:
        """Features with a label between none and all."""
        return _partly(self.labels, self.decoder.shape[1])

    @property
    def supported_partly(self) -> Bool[Tensor, " k"]:
        """The same with a supported label."""
        return _partly(self.supported.stabilisers, self.decoder.shape[1])

    @property
    def established(self) -> Bool[Tensor, " k"]:
        """Features with a supported symmetry, but not all, that the encoder has too."""
        return self.supported_partly & confirmed(self.supported.stabilisers, self.encoder)

    @property
    def trivial(self) -> Float[Tensor, " k"]:
        """Share of each feature's power that no element changes."""
        return trivial_share(self.decoder)


def confirmed_census(coder: GroupCrosscoder | FittedCrosscoder, frequency: Float[np.ndarray, " m"],
                     orbits: StoredOrbits | TensorOrbits, *, tau: float = TAU, rate: float = FALSE_RATE,
                     draws: int = DRAWS, seed: int = 0) -> ConfirmedCensus:
    """Symmetries of a coder's living features, each with its false discovery rate and the encoder's word on it.

    `orbits` must not be those that the coder was trained on. `frequency` as for `living_dictionary`; ValueError as
    there, and for a coder in which nothing lives.

    >>> from groupcc_lite.groups import dihedral
    >>> G = dihedral(4)
    >>> x = TensorOrbits(torch.randn(40, 8, 6, generator=torch.Generator().manual_seed(0)), G)
    >>> census = confirmed_census(GroupCrosscoder(G, 6, 12, seed=0), np.ones(12), x)
    >>> len(census.labels), int(census.confirmed.sum())
    (12, 0)
    """
    G = orbits.group
    D, features = living_dictionary(coder, frequency)
    if not len(D):
        raise ValueError("no latent ever fires; expected at least one living feature")
    c, read = self_similarity(D, G).cpu(), encoder_profile(coder, orbits).cpu()[features]
    labels = profile_stabilisers(c, G, tau=tau)
    supported = supported_stabilisers(c, G, tau=tau, rate=rate, draws=draws, seed=seed)
    agree = confirmed(labels, read, tau=tau)
    whole = torch.tensor([s.subgroup.order == G.order for s in labels], dtype=torch.bool)
    return ConfirmedCensus(features, c, read, labels, supported, agree & ~whole, agree & whole,
                           witnessed(labels, read, G, tau=tau, draws=draws, seed=seed))


def _partly(found: list[Stabiliser], order: int) -> Bool[Tensor, " k"]:
    return torch.tensor([1 < s.subgroup.order < order for s in found], dtype=torch.bool)


class Excess(NamedTuple):
    """How many features have some symmetry, but not all, beyond what their spectra give.

    >>> Excess(30, 20.0, 100).share
    0.1
    """

    count: int
    """Features with such a label."""
    surrogate: float
    """Mean number of them in surrogates."""
    features: int

    @property
    def share(self) -> float:
        """(count - surrogate) / features: 0 on average for features without a common axis; NaN for none."""
        return (self.count - self.surrogate) / self.features if self.features else float("nan")


def excess(c: Float[Tensor, "m g"], G: FiniteGroup, *, tau: float = TAU, draws: int = DRAWS, seed: int = 0,
           tested: bool = False) -> Excess:
    """Labels between none and all, read from profiles (not centred), against the mean over surrogates of these.

    A statement about the features together: no single one has to be told from its surrogate. With `tested` only labels
    that can be tested count (`testable`); others are in both counts alike, and say nothing of chance. ValueError as for
    `profile_stabilisers`, and for no draws.

    >>> from groupcc_lite.groups import dihedral
    >>> G = dihedral(16)
    >>> f = torch.randn(50, 32, 20, generator=torch.Generator().manual_seed(0))
    >>> f[:20] += 0.4 * f[:20, G.regular[17]]  # twenty features that lean to the mirror s r
    >>> found = excess(self_similarity(f, G), G)
    >>> found.count, round(found.share, 1)
    (20, 0.3)
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; expected at least one surrogate")
    counted = {H.elements for H in G.subgroups() if (testable(H, G) if tested else 1 < H.order < G.order)}

    def count(profiles: Float[Tensor, "m g"]) -> int:
        return sum(s.subgroup.elements in counted for s in profile_stabilisers(profiles, G, tau=tau))

    return Excess(count(c), sum(count(surrogate(c, G, seed=seed + k)) for k in range(draws)) / draws, len(c))


class Emergence(NamedTuple):
    """Whether something is more frequent after training than in controls, as far as coders of several seeds can tell.

    A seed stands for a coder. The network, its controls and the images are the same for all of them: one trained
    network, one draw of random weights, one set of patches. So an interval says what coders of other seeds on these
    very networks would give, and nothing about other networks; two draws of random weights can differ by more.

    >>> Emergence({"untrained": 0.1}, {"untrained": (-0.1, 0.3)}).holds
    False
    """

    difference: dict[str, float]
    """Mean over seeds of trained minus control, for each control."""
    interval: dict[str, tuple[float, float]]
    """Where it lies with 95 % confidence, by Student's t over the seeds of coders."""

    @property
    def holds(self) -> bool:
        """All intervals lie above 0. One without width, from a few equal counts, has not measured any spread."""
        return bool(self.interval) and all(0 < low < high for low, high in self.interval.values())


def emergence(trained: Sequence[float], controls: Mapping[str, Sequence[float]]) -> Emergence:
    """Shares of the trained network, one for each seed of coders, against those of controls, for the same seeds.

    The shares may be of supported and confirmed symmetries (`ConfirmedCensus.established`) or of `excess`. The verdict
    is wrong about one time in forty for shares of equal populations, coders being independent draws of them.

    ValueError for fewer than two seeds, which have no spread, and for controls of other lengths.

    >>> emergence([0.30, 0.31, 0.29], {"untrained": [0.10, 0.11, 0.12]}).holds
    True
    >>> emergence([0.30, 0.05, 0.10], {"untrained": [0.10, 0.11, 0.12]}).holds
    False
    """
    if len(trained) < 2 or any(len(values) != len(trained) for values in controls.values()):
        raise ValueError(f"{len(trained)} seeds against {[len(values) for values in controls.values()]}; expected two "
                         "or more, and as many of each control")
    difference, interval = {}, {}
    for name, values in controls.items():
        gap = np.subtract(trained, values)
        difference[name], interval[name] = float(gap.mean()), interval_of(gap.tolist())
    return Emergence(difference, interval)
