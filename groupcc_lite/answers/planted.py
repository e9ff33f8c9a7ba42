"""The answer key: orbit data planted with features whose directions, symmetries and families are known.

A group G acts on R^n by an orthogonal representation rho. A family is a unit vector v that exactly the elements of a
subgroup H leave as it is, with its orbit rho(g) v, one feature for each coset gH, whose stabiliser is g H g^-1. Data
are sparse positive combinations, x[e] = s + noise and x[g] = rho(g) s + noise with s = sum_j c_j v_j, so that the true
dictionary vector of feature j is f_j[g] = rho(g) v_j, and f_j = h . f_base where v_j = rho(h) v_base.

Each coefficient is, independently, active with probability `active` / features, and then uniform between 0.5 and 1.5;
with `zipf` some families are active more often than others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, Subgroup, parse_group, representatives
from groupcc_lite.orbits import TensorOrbits

STANDARD: dict[str, Any] = dict(group="D_16", channels=64, superposition=2.0, noise=0.05, broken=0.0, active=4.0)
"""The benchmark's standard difficulty: D_16 has 16 rotations and 16 mirrors."""

_LOWEST, _HIGHEST = 0.5, 1.5  # of an active coefficient
_CLEAR = 0.25  # centred cosine below which an element clearly does not leave a feature as it is; stabilisers have TAU


class PlantedSample(NamedTuple):
    """Data, and the coefficients they were made with."""

    blocks: Float[Tensor, "b g n"]
    coefficients: Float[Tensor, "b m"]


@dataclass(frozen=True, eq=False)
class Problem:
    """m features in n channels, and everything there is to know about them.

    Data are x = sum_j c_j f_j + noise, block by block.

    >>> problem = standard(group="C_4", channels=8)
    >>> problem.sample(3).blocks.shape == (3, 4, 8) and problem.dictionary.shape == (problem.features, 4, 8)
    True
    """

    group: FiniteGroup
    dictionary: Float[Tensor, "m g n"]
    """The true dictionary vectors f_j."""
    family: Int[Tensor, " m"]
    mover: Int[Tensor, " m"]
    """An element h with f_j = h . f_base, where f_base is the first feature of the family."""
    stabiliser: tuple[Subgroup, ...]
    """The elements that leave f_j as it is."""
    noise: float
    """Norm of a block's noise, relative to the signal's."""
    active: float
    """Mean number of active features."""
    seed: int
    weights: Float[Tensor, " m"] | None = field(default=None, kw_only=True)
    """How often each feature is active, relative to the others; None: all alike."""

    @property
    def channels(self) -> int:
        """n."""
        return self.dictionary.shape[2]

    @property
    def features(self) -> int:
        """m."""
        return len(self.dictionary)

    @property
    def superposition(self) -> float:
        """Features per channel."""
        return self.features / self.channels

    @property
    def coherence(self) -> float:
        """Largest |cosine| between first blocks of different families; 0 if there is one family only."""
        apart = self.family[:, None] != self.family
        unit = torch.nn.functional.normalize(self.dictionary[:, 0], dim=1)
        return float((unit @ unit.T).abs()[apart].max()) if apart.any() else 0.0

    @property
    def rates(self) -> Float[Tensor, " m"]:
        """Probability of each feature to be active; they add up to `active`."""
        weights = torch.ones(self.features) if self.weights is None else self.weights
        return weights * (self.active / weights.sum())

    @property
    def signal(self) -> float:
        """Root mean square norm of the first block's signal, from the coefficients' distribution."""
        first, p = self.dictionary[:, 0], self.rates
        square = (_LOWEST**2 + _LOWEST * _HIGHEST + _HIGHEST**2) / 3
        mean = p * (_LOWEST + _HIGHEST) / 2
        spread = float((first.square().sum(1) * (p * square - mean**2)).sum())
        return math.sqrt(spread + float((mean @ first).square().sum()))

    def sample(self, count: int, seed: int = 0) -> PlantedSample:
        """`count` orbit vectors; the noise of each block is Gaussian with rms norm `noise` x `signal`.

        Memory: 4 |G| n bytes for each. Another `seed` gives independent data from the same features.
        """
        if count < 1:
            raise ValueError(f"count is {count}; expected at least 1 orbit")
        rng = np.random.default_rng([self.seed, 2, seed])
        alike = self.weights is None
        on = rng.random((count, self.features)) < (self.active / self.features if alike else self.rates.numpy())
        coefficients = torch.from_numpy((on * rng.uniform(_LOWEST, _HIGHEST, on.shape)).astype(np.float32))
        blocks = einsum(coefficients, self.dictionary, "b m, m g a -> b g a")
        noise = torch.from_numpy(rng.standard_normal(blocks.shape, dtype=np.float32))
        return PlantedSample(blocks.add_(noise, alpha=self.noise * self.signal / self.channels**0.5), coefficients)

    def source(self, count: int, seed: int = 0) -> TensorOrbits:
        """The orbits of `sample` as training reads them."""
        return TensorOrbits(self.sample(count, seed).blocks, self.group)

    def upright(self, active: float | None = None) -> Problem:
        """The same with one pose for each family: only its first feature occurs in the untransformed block.

        What a transformed block holds still says which element made it. An equivariant SAE needs such data, because
        it reconstructs the untransformed block from any other. `active` is unchanged unless given; ValueError if it is
        not above 0 and up to the number of families.
        """
        base = self.mover == 0
        kept = base.nonzero().flatten().tolist()
        active = _checked_active(self.active if active is None else active, len(kept))
        return Problem(self.group, self.dictionary[base], self.family[base], self.mover[base],
                       tuple(self.stabiliser[j] for j in kept), noise=self.noise, active=active, seed=self.seed,
                       weights=None if self.weights is None else self.weights[base])


@dataclass(frozen=True, eq=False)
class Planted(Problem):
    """A problem with features in random directions of a representation, as `plant` makes it."""

    representation: Float[Tensor, "g n n"]
    """rho(g), orthogonal."""
    maps: Float[Tensor, "g n n"]
    """What turns x[e] into x[g]: rho(g), followed by a rotation of g's own where equivariance is broken. The
    dictionary vectors are f_j[g] = maps[g] v_j; every block has norm 1."""
    multiplicities: tuple[int, ...]
    """How many copies of each irrep rho has, in the order of `group.irreps()`."""
    broken: float

    @property
    def directions(self) -> Float[Tensor, "m n"]:
        """v_j, of norm 1; their stabilisers and movers are those under rho."""
        return self.dictionary[:, 0]


def standard(seed: int = 0, **changes: Any) -> Planted:
    """The problem of standard difficulty, or one that differs in a few settings: `standard(noise=0.2)`.

    >>> standard(group="C_4", channels=8, noise=0.2).noise
    0.2
    """
    settings = STANDARD | changes
    group = settings.pop("group")
    return plant(parse_group(group) if isinstance(group, str) else group, seed=seed, **settings)


def plant(group: FiniteGroup, *, channels: int,
          families: Sequence[tuple[str | Subgroup | Iterable[int], int]] | None = None, superposition: float = 2.0,
          noise: float = 0.05, broken: float = 0.0, active: float = 4.0, separation: float = 0.5, zipf: float = 0.0,
          seed: int = 0) -> Planted:
    """Choose a representation on R^channels and families of features in it, at random but for what is asked.

    `families`: pairs of a stabiliser and how many families have it. A stabiliser is a subgroup, its elements, or a name
    or label of `group.subgroups()`; conjugacy classes that share a name take turns. None: one family of every class
    that the representation allows, again and again, up to superposition x channels features; in the last round classes
    with large orbits come first and those that no longer fit are left out.

    rho has every irrep in proportion to the regular representation, as nearly as `channels` allows, in a random
    orthogonal basis. `noise`: norm of a block's noise relative to the signal's. `active`: mean number of active
    features. `broken` from 0 to 1: every g but the identity turns what rho(g) gives by broken x 90 degrees in random
    planes of its own (with odd `channels` one direction stays), so that x[g] has the cosine cos(broken x 90 degrees)
    with what equivariance asks for; stabilisers and families keep the labels that they have under rho. `separation`:
    largest cosine between two features of one family; at 1 a feature can come arbitrarily close to a larger symmetry.
    Where it can be had, centred cosines are below 0.25 too, so that stabilisers are right about the truth.
    `zipf`: in a random order of families, the members of family r = 1, 2, ... are each active in proportion to
    r^-zipf; at 0 all features are alike. Problems that differ only in noise, broken, active or zipf have the same
    features.

    ValueError for settings out of range, and for stabilisers that no vector of the representation has.

    >>> from groupcc_lite.groups import dihedral
    >>> problem = plant(dihedral(2), channels=8, families=[("C1", 2)], active=1.0)
    >>> problem.features, [H.order for H in problem.stabiliser[:2]]
    (8, [1, 1])
    """
    _check_settings(channels, superposition, noise, broken, separation)
    rng = np.random.default_rng([seed, 0])
    rho, multiplicities = _representation(group, channels, rng)
    possible = _possible_stabilisers(group, rho)
    wanted = (_default_families(group, possible, superposition * channels) if families is None
              else [H for which, count in families for H in _resolve(group, which, count)])
    subgroups = {H.elements: H for H in group.subgroups()}
    directions, family, mover, found = [], [], [], []
    for number, H in enumerate(wanted):
        if H not in possible:
            raise ValueError(f"no vector of this representation of {group.name} on {channels} channels has the "
                             f"stabiliser {H.name} {H.elements}: take another, or at least {group.order} channels")
        base = _base(group, rho, H, separation, rng)
        for g, *_ in group.left_cosets(H.elements):
            directions.append(rho[g] @ base)
            family.append(number)
            mover.append(g)
            found.append(subgroups[tuple(sorted(group.table[group.table[g, H.elements], group.inverse[g]].tolist()))])
    active = _checked_active(active, len(family))
    weights = _weights(torch.tensor(family), zipf, active, np.random.default_rng([seed, 3])) if zipf else None
    maps = _broken(rho, broken, np.random.default_rng([seed, 1]))
    rho, maps, directions = (torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (rho, maps, directions))
    return Planted(group, einsum(maps, directions, "g a b, m b -> m g a"), torch.tensor(family), torch.tensor(mover),
                   tuple(found), noise=noise, active=active, seed=seed, weights=weights, representation=rho, maps=maps,
                   multiplicities=multiplicities, broken=broken)


def unequal_views(truth: Planted, amount: float, seed: int = 0) -> Problem:
    """The same features in a network that is not equivariant, seen on images that come in all poses alike.

    Views of a feature are turned by `amount` x 90 degrees, in a direction that belongs to the pose in which the picture
    arrives, and not to g as in `plant(broken=...)`: f_j[g] = u(gh) if f_j = h . f_base, for one function u on the
    stabiliser's cosets. The view of a family's first pose stays. So x[g] is no rho(g) x[e], but moving the picture
    still moves the blocks, f_j = h . f_base, and stabilisers and families are what they were. ValueError for an amount
    beyond 0 to 1.

    >>> truth = standard(group="D_4", channels=16)
    >>> moved = unequal_views(truth, 0.5)
    >>> cosine = torch.nn.functional.cosine_similarity(moved.dictionary, truth.dictionary, dim=2)
    >>> sorted({round(value, 2) for value in cosine.flatten().tolist()})
    [0.71, 1.0]
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount is {amount}; expected a share of 90 degrees from 0 (equivariant) to 1")
    G, rng = truth.group, np.random.default_rng([truth.seed, 4, seed])
    dictionary = truth.dictionary.clone()
    for base in (truth.mover == 0).nonzero().flatten().tolist():
        views = truth.dictionary[base].clone()
        for g, *rest in G.left_cosets(truth.stabiliser[base].elements):
            if 0 in (g, *rest):
                continue
            error = torch.from_numpy(rng.standard_normal(truth.channels).astype(np.float32))
            error -= (error @ views[g]) * views[g]
            turned = math.cos(amount * math.pi / 2) * views[g] + math.sin(amount * math.pi / 2) * error / error.norm()
            views[[g, *rest]] = turned
        for j in (truth.family == truth.family[base]).nonzero().flatten().tolist():
            dictionary[j] = views[G.regular[int(truth.mover[j])]]
    return Problem(G, dictionary, truth.family, truth.mover, truth.stabiliser, noise=truth.noise, active=truth.active,
                   seed=truth.seed, weights=truth.weights)


def unequal_poses(truth: Planted, amount: float) -> Problem:
    """The same features on images that are not turned alike: all but a family's first pose are rarer by `amount`.

    At 1 no other pose occurs in the untransformed block. The mean number of active features stays. ValueError for an
    amount beyond 0 to 1, and where the features that are left would have to be active all the time.

    >>> moved = unequal_poses(standard(group="D_4", channels=16), 0.5)
    >>> moved.rates.min() / moved.rates.max()
    tensor(0.5000)
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount is {amount}; expected a share from 0 (all poses alike) to 1")
    weights = torch.ones(truth.features) if truth.weights is None else truth.weights
    weights = weights * torch.where(truth.mover == 0, 1.0, 1.0 - amount)
    most = float(truth.active * weights.max() / weights.sum())
    if most > 1:
        raise ValueError(f"the most frequent feature would be active with probability {most:.2f}; plant with fewer "
                         "active ones, or take a smaller amount")
    return Problem(truth.group, truth.dictionary, truth.family, truth.mover, truth.stabiliser, noise=truth.noise,
                   active=truth.active, seed=truth.seed, weights=weights)


def _weights(family: Int[Tensor, " m"], zipf: float, active: float, rng: np.random.Generator) -> Float[Tensor, " m"]:
    rank = 1 + torch.from_numpy(rng.permutation(int(family.max()) + 1))
    weights = (rank.float() ** -zipf)[family] if 0 <= zipf < math.inf else torch.full(family.shape, math.nan)
    most = float(active * weights.max() / weights.sum())
    if not most <= 1:
        raise ValueError(f"zipf is {zipf} and active {active}: the most frequent features would be active with "
                         f"probability {most:.2f}; expected numbers from 0 with which that is at most 1")
    return weights


def _checked_active(active: float, features: int) -> float:
    if not 0 < active <= features:
        raise ValueError(f"active is {active}; expected a number of features above 0 and up to {features}, all")
    return active


def _check_settings(channels: int, superposition: float, noise: float, broken: float, separation: float) -> None:
    if channels < 1 or not superposition > 0 or not 0 <= noise < math.inf:
        raise ValueError(f"channels={channels}, superposition={superposition}, noise={noise}: expected positive "
                         "numbers; noise, a share of the signal's norm, may be 0")
    if not 0 <= broken <= 1 or not 0 < separation <= 1:
        raise ValueError(f"broken={broken}, separation={separation}: expected broken from 0 (equivariant) to 1 (every "
                         "block turned by 90 degrees) and for separation a cosine above 0 and up to 1")


def _representation(group: FiniteGroup, channels: int,
                    rng: np.random.Generator) -> tuple[Float[np.ndarray, "g n n"], tuple[int, ...]]:
    """An orthogonal representation in a random basis: the irrep that lacks most of its share comes next, if it fits."""
    irreps = group.irreps()
    dims = np.array([irrep.dim for irrep in irreps])
    share = channels / group.order * dims / np.array([irrep.kind for irrep in irreps])  # the regular one has d / e
    taken, rho, filled = np.zeros(len(irreps), dtype=np.int64), np.zeros((group.order, channels, channels)), 0
    while filled < channels:
        k = int(np.where(dims <= channels - filled, share - taken, -np.inf).argmax())
        block = slice(filled, filled + int(dims[k]))
        rho[:, block, block] = irreps[k].matrices
        taken[k], filled = taken[k] + 1, block.stop
    basis = _orthogonal(channels, rng)
    return basis @ rho @ basis.T, tuple(taken.tolist())


def _orthogonal(n: int, rng: np.random.Generator) -> Float[np.ndarray, "n n"]:
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))  # without the signs the distribution would not be uniform


def _possible_stabilisers(group: FiniteGroup, rho: Float[np.ndarray, "g n n"]) -> set[Subgroup]:
    """Subgroups that are the whole stabiliser of some vector: those all of whose supergroups fix fewer dimensions."""
    character = np.trace(rho, axis1=1, axis2=2)
    fixed = {H: round(character[list(H.elements)].mean()) for H in group.subgroups()}
    return {H for H in fixed if fixed[H] and not any(
        fixed[K] == fixed[H] and K.order > H.order and set(H.elements) <= set(K.elements) for K in fixed)}


def _default_families(group: FiniteGroup, possible: set[Subgroup], features: float) -> list[Subgroup]:
    classes = [H for H in representatives(group.subgroups()) if H in possible]
    counts, left, whole = [0] * len(classes), features, True
    while whole:
        for k, H in enumerate(classes):  # from small stabilisers, that is large orbits, to large ones
            if group.order // H.order <= left:
                counts[k], left = counts[k] + 1, left - group.order // H.order
            else:
                whole = False
    if not any(counts):
        raise ValueError(f"superposition x channels is {features:g}, less than the smallest orbit; raise one of them")
    return [H for H, count in zip(classes, counts, strict=True) for _ in range(count)]


def _resolve(group: FiniteGroup, which: str | Subgroup | Iterable[int], count: int) -> list[Subgroup]:
    """`count` subgroups that answer to a name, a label, or a set of elements."""
    if count < 1:
        raise ValueError(f"families has {which!r} {count} times; expected at least once")
    if isinstance(which, str):
        found = [H for H in representatives(group.subgroups()) if which in (H.name, H.label)]
        known = sorted({name for H in group.subgroups() for name in (H.name, H.label)})
        problem = f"{group.name} has no subgroup called {which!r}; its names and labels are {', '.join(known)}"
    else:
        elements = tuple(sorted(set(which.elements if isinstance(which, Subgroup) else which)))
        found = [H for H in group.subgroups() if H.elements == elements]
        problem = f"{elements} is not a subgroup of {group.name}; its `generated` completes a set of elements"
    if not found:
        raise ValueError(problem)
    return [found[k % len(found)] for k in range(count)]


def _base(group: FiniteGroup, rho: Float[np.ndarray, "g n n"], H: Subgroup, separation: float,
          rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """A random unit vector that exactly H leaves as it is, drawn again while another element nearly does."""
    n, elements = rho.shape[1], list(H.elements)
    others = np.setdiff1d(np.arange(group.order), elements)
    for _ in range(20):
        candidates = rng.standard_normal((100, n)) @ rho[elements].mean(0)  # the projection on what H fixes
        candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
        cosines = np.einsum("kb,gkb->gk", candidates, candidates @ rho[others].transpose(0, 2, 1))
        good = np.flatnonzero((cosines < min(separation, 1 - 1e-6)).all(axis=0))
        if len(good):
            trivial = (len(elements) + cosines[:, good].sum(axis=0)) / len(rho)
            near = ((cosines[:, good] - trivial) / (1 - trivial)).max(axis=0, initial=-1.0)
            clear = np.flatnonzero(near < _CLEAR)  # without one, whatever is farthest from a larger symmetry
            return candidates[good[clear[0] if len(clear) else near.argmin()]]
    raise ValueError(f"in 2000 attempts no vector with stabiliser {H.name} had an orbit with cosines below separation "
                     f"= {separation}; raise separation or channels (here {n} for {group.name})")


def _broken(rho: Float[np.ndarray, "g n n"], broken: float, rng: np.random.Generator) -> Float[np.ndarray, "g n n"]:
    """Q_g rho(g), where Q_g turns n // 2 random planes by broken x 90 degrees and Q_e = 1."""
    maps, half = rho.copy(), rho.shape[1] // 2
    for g in range(1, len(rho) if broken else 0):
        a, b = np.split(_orthogonal(rho.shape[1], rng)[:, :2 * half], 2, axis=1)
        bend = (math.cos(broken * math.pi / 2) - 1) * (a @ a.T + b @ b.T)
        maps[g] += (bend + math.sin(broken * math.pi / 2) * (b @ a.T - a @ b.T)) @ rho[g]
    return maps
