"""The answer key: orbit data planted with features whose directions, symmetries and families are known, and scores.

A group G acts on R^n by an orthogonal representation rho. A family is a unit vector v that exactly the elements of a
subgroup H leave as it is, with its orbit rho(g) v, one feature for each coset gH, whose stabiliser is g H g^-1. Data
are sparse positive combinations, x[e] = s + noise and x[g] = rho(g) s + noise with s = sum_j c_j v_j, so that the true
dictionary vector of feature j is f_j[g] = rho(g) v_j, and f_j = h . f_base where v_j = rho(h) v_base.

Each coefficient is, independently, active with probability `active` / features, and then uniform between 0.5 and 1.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, parse_group, trivial
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.stabilisers import TAU, stabilisers
from groupcc_lite.subgroups import Subgroup, representatives
from groupcc_lite.symmetry import max_cosine, normalised

# The benchmark's standard difficulty: D_16 has 16 rotations and 16 mirrors.
STANDARD: dict[str, Any] = dict(group="D_16", channels=64, superposition=2.0, noise=0.05, broken=0.0, active=4.0)

RECOVERED = 0.9  # cosine with the truth above which a feature counts as recovered
SIMILAR = 0.7  # mean similarity that makes clusters one family: of 1, features learnt with cosine 0.9 keep 0.9^2
_LOWEST, _HIGHEST = 0.5, 1.5  # of an active coefficient


class PlantedSample(NamedTuple):
    """Data, and the coefficients they were made with."""

    blocks: Float[Tensor, "b g n"]
    coefficients: Float[Tensor, "b m"]


@dataclass(frozen=True, eq=False)
class Planted:
    """A planted problem, as `plant` makes it: m features in n channels, and everything there is to know about them."""

    group: FiniteGroup
    representation: Float[Tensor, "g n n"]
    """rho(g), orthogonal."""
    maps: Float[Tensor, "g n n"]
    """What turns x[e] into x[g]: rho(g), followed by a rotation of g's own where equivariance is broken."""
    multiplicities: tuple[int, ...]
    """How many copies of each irrep rho has, in the order of `group.irreps()`."""
    directions: Float[Tensor, "m n"]
    """v_j, of norm 1."""
    family: Int[Tensor, " m"]
    mover: Int[Tensor, " m"]
    """An element h with v_j = rho(h) v_base, where v_base is the first feature of the family."""
    stabiliser: tuple[Subgroup, ...]
    """The elements that leave v_j as it is under rho."""
    noise: float
    broken: float
    active: float
    seed: int

    @property
    def channels(self) -> int:
        """n."""
        return self.directions.shape[1]

    @property
    def features(self) -> int:
        """m."""
        return len(self.directions)

    @property
    def superposition(self) -> float:
        """Features per channel."""
        return self.features / self.channels

    @property
    def dictionary(self) -> Float[Tensor, "m g n"]:
        """The true dictionary vectors, f_j[g] = T(g) v_j with T the `maps`; every block has norm 1."""
        return einsum(self.maps, self.directions, "g a b, m b -> m g a")

    @property
    def coherence(self) -> float:
        """Largest |cosine| between features of different families; 0 if there is one family only."""
        apart = self.family[:, None] != self.family
        return float((self.directions @ self.directions.T).abs()[apart].max()) if apart.any() else 0.0

    @property
    def signal(self) -> float:
        """Root mean square norm of s = sum_j c_j v_j, from the coefficients' distribution."""
        p, square = self.active / self.features, (_LOWEST**2 + _LOWEST * _HIGHEST + _HIGHEST**2) / 3
        mean = p * (_LOWEST + _HIGHEST) / 2
        spread = self.features * (p * square - mean**2)
        return math.sqrt(spread + mean**2 * float(self.directions.sum(0).square().sum()))

    def sample(self, count: int, seed: int = 0) -> PlantedSample:
        """`count` orbit vectors; the noise of each block is Gaussian with rms norm `noise` x `signal`.

        Memory: 4 |G| n bytes for each. Another `seed` gives independent data from the same features.
        """
        if count < 1:
            raise ValueError(f"count is {count}; expected at least 1 orbit")
        rng = np.random.default_rng([self.seed, 2, seed])
        on = rng.random((count, self.features)) < self.active / self.features
        coefficients = torch.from_numpy((on * rng.uniform(_LOWEST, _HIGHEST, on.shape)).astype(np.float32))
        blocks = einsum(self.maps, coefficients @ self.directions, "g a c, b c -> b g a")
        noise = torch.from_numpy(rng.standard_normal(blocks.shape, dtype=np.float32))
        return PlantedSample(blocks.add_(noise, alpha=self.noise * self.signal / self.channels**0.5), coefficients)

    def source(self, count: int, seed: int = 0) -> TensorOrbits:
        """The orbits of `sample` as training reads them."""
        return TensorOrbits(self.sample(count, seed).blocks, self.group)


def standard(seed: int = 0, **changes: Any) -> Planted:
    """The problem of standard difficulty, or one that differs in a few settings: `standard(noise=0.2)`."""
    settings = STANDARD | changes
    group = settings.pop("group")
    return plant(parse_group(group) if isinstance(group, str) else group, seed=seed, **settings)


def plant(group: FiniteGroup, *, channels: int,
          families: Sequence[tuple[str | Subgroup | Iterable[int], int]] | None = None, superposition: float = 2.0,
          noise: float = 0.05, broken: float = 0.0, active: float = 4.0, separation: float = 0.5,
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
    Problems that differ only in noise, broken or active have the same features.

    ValueError for settings out of range, and for stabilisers that no vector of the representation has.
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
    if not 0 < active <= len(family):
        raise ValueError(f"active is {active}; expected a number of features above 0 and up to {len(family)}, all")
    maps = _broken(rho, broken, np.random.default_rng([seed, 1]))
    rho, maps, directions = (torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (rho, maps, directions))
    return Planted(group, rho, maps, multiplicities, directions, torch.tensor(family), torch.tensor(mover),
                   tuple(found), noise=noise, broken=broken, active=active, seed=seed)


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
            return candidates[good[0]]
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


# -------------------------------------------------------------------------------------------------------- scores

class PlantedScores(NamedTuple):
    """How much of a planted problem a dictionary has found; shares and means are over all true features."""

    cosine: float
    """Mean cosine of true features with their partners; 0 for those without one."""
    recovered: float
    """Share of true features whose cosine is above `recovered`."""
    stabiliser: float | None
    """Share of recovered features whose stabiliser is exactly the true one; NaN for none, None for single blocks."""
    stabiliser_of_all: float | None
    """The same over all true features, however bad their partners are; those without one count as wrong."""
    ari: float
    """Adjusted Rand index of similarity clusters against families, over recovered features; NaN for fewer than two."""
    cosines: Float[Tensor, " m"]
    """Each true feature's cosine with its partner."""
    partner: Int[Tensor, " m"]
    """Each true feature's dictionary vector, -1 for none."""


def score(dictionary: Float[Tensor, "k g n"], truth: Planted, *, tau: float = TAU, recovered: float = RECOVERED,
          similar: float = SIMILAR) -> PlantedScores:
    """Compare dictionary vectors, in any order and of any length, with the truth.

    `dictionary` (k, |G|, n), or (k, 1, n) from a coder of single blocks, such as a plain SAE: it is compared with the
    v_j alone. Partners maximise the sum of cosines (Hungarian method). Stabilisers are those of `stabilisers` at `tau`.
    Families are clusters of recovered features by `max_cosine` (plain cosine for single blocks) with average linkage,
    cut at the mean similarity `similar`. ValueError for a dictionary that does not fit or is not finite.
    """
    found, cosines, partner = _match(dictionary, truth)
    good = cosines > recovered
    right = None if found.shape[1] == 1 else _right(found, partner, truth, tau)
    ari = math.nan
    if good.sum() > 1:
        gap = 1 - max_cosine(found[partner[good]], truth.group if found.shape[1] > 1 else trivial())
        # Average linkage, because one accidental likeness must not join two families.
        clusters = AgglomerativeClustering(n_clusters=None, metric="precomputed", linkage="average",
                                           distance_threshold=1 - similar).fit_predict(gap.clamp(min=0).numpy())
        ari = float(adjusted_rand_score(truth.family[good].numpy(), clusters))
    shares = (None, None) if right is None else (float(right[good].float().mean()), float(right.float().mean()))
    return PlantedScores(float(cosines.mean()), float(good.float().mean()), *shares, ari, cosines, partner)


def _match(dictionary: Tensor, truth: Planted) -> tuple[Float[Tensor, "k g n"], Tensor, Tensor]:
    """Normalised dictionary vectors, and each true feature's cosine and partner."""
    if (dictionary.ndim != 3 or not len(dictionary) or dictionary.shape[1] not in (1, truth.group.order)
            or dictionary.shape[2] != truth.channels):
        raise ValueError(f"dictionary has shape {tuple(dictionary.shape)}; expected (latents, {truth.group.order} or "
                         f"1, {truth.channels}) for {truth.group.name} with {truth.channels} channels")
    if not torch.isfinite(dictionary).all():
        raise ValueError("dictionary holds NaN or infinite values; was it trained to the end?")
    found = normalised(dictionary.detach().float().cpu())
    table = normalised(truth.dictionary[:, :found.shape[1]]).flatten(1) @ found.flatten(1).T
    rows, columns = map(torch.from_numpy, linear_sum_assignment(table.numpy(), maximize=True))
    cosines, partner = torch.zeros(truth.features), torch.full((truth.features,), -1)
    cosines[rows], partner[rows] = table[rows, columns], columns
    partner[rows[found[columns].flatten(1).norm(dim=1) < 0.5]] = -1  # a zero vector is nobody's partner
    return found, cosines, partner


def _right(found: Float[Tensor, "k g n"], partner: Int[Tensor, " m"], truth: Planted, tau: float) -> Bool[Tensor, " m"]:
    """Which true features have a partner with the same stabiliser."""
    right, known = torch.zeros(len(partner), dtype=torch.bool), torch.nonzero(partner >= 0).flatten()
    labels = stabilisers(found[partner[known]], truth.group, tau=tau)
    for s, j in zip(labels, known.tolist(), strict=True):
        right[j] = s.subgroup.elements == truth.stabiliser[j].elements
    return right


# -------------------------------------------------------------------------------------------------- calibration

class Calibration(NamedTuple):
    """Where to put the threshold of `stabilisers`."""

    tau: float
    """The middle of `best`."""
    best: tuple[float, float]
    """Both ends of the longest run of thresholds with the fewest errors."""
    taus: Float[np.ndarray, " t"]
    errors: Float[np.ndarray, "c t"]
    """Share of wrong stabilisers for each case at each threshold; "fewest" refers to the mean over cases."""


def disturbed(truth: Planted, cosine: float, *, equivariant: bool = False, seed: int = 0) -> Float[Tensor, "m g n"]:
    """The true dictionary with a random error, so that every vector has exactly this cosine with the truth.

    The error is independent in every block, or, if `equivariant`, one of v_j that all blocks share, as a crosscoder
    makes it that mixes features up.
    """
    if not 0 < cosine <= 1:
        raise ValueError(f"cosine is {cosine}; expected above 0 and up to 1")
    generator = torch.Generator().manual_seed(seed)
    true = truth.directions if equivariant else normalised(truth.dictionary).flatten(1)
    error = torch.randn(true.shape, generator=generator)
    error -= (error * true).sum(1, keepdim=True) * true
    tilted = cosine * true + (1 - cosine**2) ** 0.5 * torch.nn.functional.normalize(error, dim=1)
    if equivariant:
        return einsum(truth.maps, tilted, "g a b, m b -> m g a")
    return tilted.unflatten(1, truth.dictionary.shape[1:])


def calibrate_tau(cases: Iterable[tuple[Float[Tensor, "k g n"], Planted]],
                  taus: Sequence[float] | Float[np.ndarray, " t"] | None = None) -> Calibration:
    """The threshold with the fewest wrong stabilisers over pairs of a dictionary, such as `disturbed` gives, and truth.

    All true features with a partner count. `taus` rises, by default from 0.3 to 0.98. ValueError for no cases, for
    dictionaries of single blocks, or where not one feature has a partner.
    """
    taus = np.linspace(0.3, 0.98, 35) if taus is None else np.asarray(taus, dtype=np.float64)
    errors = []
    for dictionary, truth in cases:
        found, _, partner = _match(dictionary, truth)
        known = partner >= 0
        if found.shape[1] != truth.group.order or not known.any():
            raise ValueError(f"dictionary has {found.shape[1]} blocks and {int(known.sum())} vectors with a partner; "
                             f"expected {truth.group.order} blocks and at least one vector that is not zero")
        errors.append([1 - float(_right(found, partner, truth, tau)[known].float().mean()) for tau in taus.tolist()])
    if not errors or not len(taus) or (np.diff(taus) <= 0).any():
        raise ValueError(f"{len(errors)} cases, thresholds {taus}; expected at least one case and rising thresholds")
    mean = np.mean(errors, axis=0)
    few = np.flatnonzero(mean <= mean.min() + 1e-9)
    run = max(np.split(few, np.flatnonzero(np.diff(few) > 1) + 1), key=len)
    low, high = float(taus[run[0]]), float(taus[run[-1]])
    return Calibration((low + high) / 2, (low, high), taus, np.array(errors))
