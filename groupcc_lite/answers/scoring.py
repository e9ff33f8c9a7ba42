"""How much of a planted problem a dictionary has found, and where the threshold for stabilisers belongs.

Scores compare directions only: dictionary vectors may come in any order and of any length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.answers.planted import Planted, Problem
from groupcc_lite.base import require
from groupcc_lite.groups import trivial
from groupcc_lite.responses import ResponseVectors
from groupcc_lite.symmetry import (
    TAU,
    centred,
    max_cosine,
    normalised,
    profile_stabilisers,
    self_similarity,
)

RECOVERED = 0.9
"""Cosine with the truth above which a feature counts as recovered."""
SIMILAR = 0.7
"""Mean similarity that makes clusters one family: of 1, features learnt with cosine 0.9 keep 0.9^2."""
UNCENTRED_TAU = 0.7
"""The threshold for profiles that are not centred, of the rule that `readable` compares with."""


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


def score(dictionary: Float[Tensor, "k g n"], truth: Problem, *, tau: float = TAU, recovered: float = RECOVERED,
          similar: float = SIMILAR, by_responses: ResponseVectors | None = None) -> PlantedScores:
    """Compare dictionary vectors, in any order and of any length, with the truth.

    `dictionary` (k, |G|, n), or (k, 1, n) from a coder of single blocks, such as a plain SAE: it is compared with the
    v_j alone. Partners maximise the sum of cosines (Hungarian method). Stabilisers are those of `stabilisers` at `tau`.
    Families are clusters of recovered features by `max_cosine` (plain cosine for single blocks) with average linkage,
    cut at the mean similarity `similar`. `by_responses`, of the same vectors in the same order, takes the place of the
    dictionary for stabilisers and families, also for single blocks. ValueError for a dictionary that does not fit or is
    not finite.

    >>> from groupcc_lite.answers import standard
    >>> problem = standard(group="D_2", channels=8, superposition=1.0)
    >>> found = score(3 * problem.dictionary.flip(0), problem)  # the truth, in another order and length
    >>> round(found.cosine, 3), found.stabiliser, found.ari
    (1.0, 1.0, 1.0)
    """
    found, cosines, partner = _match(dictionary, truth)
    good = cosines > recovered
    right = None
    if by_responses is not None:
        right = _right(by_responses.self_similarity().cpu(), partner, truth, tau)
    elif found.shape[1] > 1:
        right = _right(self_similarity(found, truth.group), partner, truth, tau)
    ari = math.nan
    if good.sum() > 1:
        gap = 1 - (max_cosine(found[partner[good]], truth.group if found.shape[1] > 1 else trivial())
                   if by_responses is None else by_responses.similarity().cpu()[partner[good]][:, partner[good]])
        # Average linkage, because one accidental likeness must not join two families.
        linkage = require("sklearn.cluster", "families").AgglomerativeClustering(
            n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - similar)
        clusters = linkage.fit_predict(gap.clamp(min=0).numpy())
        ari = float(require("sklearn.metrics", "families").adjusted_rand_score(truth.family[good].numpy(), clusters))
    shares = (None, None) if right is None else (float(right[good].float().mean()), float(right.float().mean()))
    return PlantedScores(float(cosines.mean()), float(good.float().mean()), *shares, ari, cosines, partner)


class SpanScores(NamedTuple):
    """How much of a planted problem blocks of directions have found, of which only the span has a meaning.

    >>> SpanScores._fields[:3]
    ('cosine', 'recovered', 'ari')
    """

    cosine: float
    """Mean over true features of the cosine with the span of their family's block, the length of the projection."""
    recovered: float
    """Share of true features whose cosine is above `recovered`."""
    ari: float
    """Adjusted Rand index of families against the blocks that are nearest to each feature, over recovered ones."""
    captured: Float[Tensor, " f"]
    """Mean squared cosine of a family's members with its block; 0 without one."""
    possible: Float[Tensor, " f"]
    """The same for the best span of so many dimensions: below 1 for families that need more."""
    chance: float
    """What a span drawn at random captures of anything: its dimension by that of the space."""
    angles: tuple[Float[Tensor, " a"], ...]
    """Principal angles between each family's span and its block's, degrees, rising; empty without a block."""
    cosines: Float[Tensor, " m"]
    """Each true feature's cosine."""
    partner: Int[Tensor, " f"]
    """Each family's block, -1 for none."""


def score_spans(blocks: Float[Tensor, "k s n"], truth: Problem, *, recovered: float = RECOVERED) -> SpanScores:
    """Compare blocks of `s` directions with planted families by their spans alone, in the untransformed block.

    A block-sparse coder may turn the directions of a block into each other without writing anything else, so cosines
    with single directions say nothing. A family's partner is a block of its own, by the Hungarian method on what the
    blocks capture. ValueError for shapes that do not fit or numbers that are not finite.

    >>> from groupcc_lite.answers import standard
    >>> problem = standard(group="D_2", channels=8, superposition=1.0)
    >>> members = problem.dictionary[problem.family == 0][:, 0]
    >>> found = score_spans(members[None], problem)  # one block, which spans the first family
    >>> round(found.captured[0].item(), 3), found.chance == len(members) / 8
    (1.0, True)
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and only scores need it

    if blocks.ndim != 3 or not blocks.numel() or blocks.shape[2] != truth.channels:
        raise ValueError(f"blocks have shape {tuple(blocks.shape)}; expected (blocks, directions, {truth.channels})")
    if not torch.isfinite(blocks).all():
        raise ValueError("blocks hold NaN or infinite values; was the coder trained to the end?")
    spans = [_span(block) for block in blocks.detach().double().cpu()]
    features = torch.nn.functional.normalize(truth.dictionary[:, 0].double(), dim=1)
    lengths = torch.stack([(features @ span.T).norm(dim=1) for span in spans], dim=1)  # m, k
    families = truth.family.unique().tolist()
    table = torch.stack([lengths[truth.family == f].square().mean(0) for f in families])
    rows, columns = map(torch.from_numpy, linear_sum_assignment(table.numpy(), maximize=True))
    captured, partner = torch.zeros(len(families)), torch.full((len(families),), -1)
    captured[rows], partner[rows] = table[rows, columns].float(), columns
    partner[captured <= 0] = -1
    cosines, angles, possible = torch.zeros(truth.features), [], []
    for number, f in enumerate(families):
        mine = features[truth.family == f]
        energy = torch.linalg.svdvals(mine).square()
        possible.append(float(energy[:blocks.shape[1]].sum() / len(mine)))
        k = int(partner[number])
        if k >= 0:
            cosines[truth.family == f] = lengths[truth.family == f, k].float()
        cosine = torch.linalg.svdvals(_span(mine) @ spans[k].T) if k >= 0 else torch.zeros(0)
        angles.append(torch.rad2deg(torch.arccos(cosine.clamp(max=1))).float())
    good = cosines > recovered
    ari = math.nan if good.sum() < 2 else float(require("sklearn.metrics", "families").adjusted_rand_score(
        truth.family[good].numpy(), lengths.argmax(1)[good].numpy()))
    return SpanScores(float(cosines.mean()), float(good.float().mean()), ari, captured, torch.tensor(possible),
                      blocks.shape[1] / truth.channels, tuple(angles), cosines, partner)


def _span(directions: Float[Tensor, "s n"]) -> Float[Tensor, "r n"]:
    """Orthonormal rows that span what these rows span; none for zeros."""
    _, size, rows = torch.linalg.svd(directions, full_matrices=False)
    return rows[size > 1e-6 * size.max().clamp(min=1e-12)]


def _match(dictionary: Tensor, truth: Problem) -> tuple[Float[Tensor, "k g n"], Tensor, Tensor]:
    """Normalised dictionary vectors, and each true feature's cosine and partner."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and only scores need it

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


def _right(c: Float[Tensor, "k g"], partner: Int[Tensor, " m"], truth: Problem, tau: float) -> Bool[Tensor, " m"]:
    """Which true features have a partner with the same stabiliser; one that never responds (NaN) has none."""
    right = torch.zeros(len(partner), dtype=torch.bool)
    known = torch.nonzero((partner >= 0) & ~c[partner].isnan().any(1)).flatten()
    labels = profile_stabilisers(c[partner[known]], truth.group, tau=tau)
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


def disturbed(truth: Planted, cosine: float, *, equivariant: bool = False, invariant: float = 0.0,
              seed: int = 0) -> Float[Tensor, "m g n"]:
    """The true dictionary with a random error, so that every vector has exactly this cosine with the truth.

    The error is independent in every block, or, if `equivariant`, one of v_j that all blocks share, as a crosscoder
    makes it that mixes features up. `invariant`: on top, a random vector that is the same in all blocks, of this share
    of the power; features of real layers have 0.2 to 0.5 of it, and it leaves their stabilisers alone.

    >>> from groupcc_lite.answers import standard
    >>> problem = standard(group="D_2", channels=8, superposition=1.0)
    >>> round(score(disturbed(problem, 0.8), problem).cosine, 1)
    0.8
    """
    if not 0 < cosine <= 1:
        raise ValueError(f"cosine is {cosine}; expected above 0 and up to 1")
    if not 0 <= invariant < 1:
        raise ValueError(f"invariant is {invariant}; expected a share from 0 to below 1")
    generator = torch.Generator().manual_seed(seed)
    true = truth.directions if equivariant else normalised(truth.dictionary).flatten(1)
    error = torch.randn(true.shape, generator=generator)
    error -= (error * true).sum(1, keepdim=True) * true
    tilted = cosine * true + (1 - cosine**2) ** 0.5 * torch.nn.functional.normalize(error, dim=1)
    blocks = (einsum(truth.maps, tilted, "g a b, m b -> m g a") if equivariant
              else tilted.unflatten(1, truth.dictionary.shape[1:]))
    if not invariant:
        return blocks
    same = normalised(torch.randn(len(blocks), 1, blocks.shape[2], generator=generator).expand_as(blocks))
    return (1 - invariant) ** 0.5 * normalised(blocks) + invariant**0.5 * same


def calibrate_tau(cases: Iterable[tuple[Float[Tensor, "k g n"], Problem]],
                  taus: Sequence[float] | Float[np.ndarray, " t"] | None = None) -> Calibration:
    """The threshold with the fewest wrong stabilisers over pairs of a dictionary, such as `disturbed` gives, and truth.

    All true features with a partner count. `taus` rises, by default from 0.1 to 0.9. ValueError for no cases, for
    dictionaries of single blocks, or where not one feature has a partner.

    >>> from groupcc_lite.answers import standard
    >>> problem = standard(group="D_4", channels=8, superposition=1.0)
    >>> low, high = calibrate_tau([(disturbed(problem, 0.95), problem)]).best
    >>> 0.1 <= low < TAU < high
    True
    """
    taus = np.linspace(0.1, 0.9, 41) if taus is None else np.asarray(taus, dtype=np.float64)
    errors = []
    for dictionary, truth in cases:
        found, _, partner = _match(dictionary, truth)
        known = partner >= 0
        if found.shape[1] != truth.group.order or not known.any():
            raise ValueError(f"dictionary has {found.shape[1]} blocks and {int(known.sum())} vectors with a partner; "
                             f"expected {truth.group.order} blocks and at least one vector that is not zero")
        c = self_similarity(found, truth.group)
        errors.append([1 - float(_right(c, partner, truth, tau)[known].float().mean()) for tau in taus.tolist()])
    if not errors or not len(taus) or (np.diff(taus) <= 0).any():
        raise ValueError(f"{len(errors)} cases, thresholds {taus}; expected at least one case and rising thresholds")
    mean = np.mean(errors, axis=0)
    few = np.flatnonzero(mean <= mean.min() + 1e-9)
    run = max(np.split(few, np.flatnonzero(np.diff(few) > 1) + 1), key=len)
    low, high = float(taus[run[0]]), float(taus[run[-1]])
    return Calibration((low + high) / 2, (low, high), taus, np.array(errors))


class Readable(NamedTuple):
    """How many stabilisers can be read from a dictionary whose truth is known: shares of features, by rule.

    >>> Readable._fields
    ('right', 'best', 'best_tau', 'uncentred', 'shares')
    """

    right: float
    """As the library reads them: centred profiles at `TAU`."""
    best: float
    """The same at whatever threshold is best for this very dictionary, which needs the truth to be known."""
    best_tau: float
    """That threshold."""
    uncentred: float
    """Profiles as they are, at `UNCENTRED_TAU`."""
    shares: tuple[float, ...]
    """As the library reads them, at each of the thresholds."""


def readable(dictionary: Float[Tensor, "m g n"], truth: Planted, *,
             taus: Sequence[float] | Float[np.ndarray, " t"] | None = None) -> Readable:
    """What rules make of dictionary vectors in the order of the truth, such as `disturbed` gives them.

    `taus`: thresholds among which the best is looked for, by default 0.1 to 0.9. ValueError for another shape than the
    truth's.

    >>> from groupcc_lite.answers import standard
    >>> problem = standard(group="D_4", channels=16)
    >>> readable(disturbed(problem, 0.95), problem).right
    1.0
    >>> [round(readable(disturbed(problem, 0.8, invariant=p), problem).uncentred, 1) for p in (0.0, 0.45)]
    [0.3, 1.0]
    """
    if dictionary.shape != truth.dictionary.shape:
        raise ValueError(f"dictionary has shape {tuple(dictionary.shape)}; expected the truth's, "
                         f"{tuple(truth.dictionary.shape)}")
    G, c = truth.group, self_similarity(dictionary, truth.group).double().clamp(-1, 1)
    taus = np.linspace(0.1, 0.9, 41) if taus is None else np.asarray(taus, dtype=np.float64)
    subgroups = G.subgroups()
    size = torch.tensor([H.order for H in subgroups], dtype=torch.double)
    true = torch.tensor([subgroups.index(H) for H in truth.stabiliser])
    invariant = torch.tensor([s.subgroup.order == G.order for s in profile_stabilisers(c, G)])

    def right(profiles: Tensor, tau: float, whole: Tensor) -> float:
        lowest = torch.stack([profiles[:, list(H.elements)].amin(1) for H in subgroups], dim=1)
        chosen = torch.where(lowest >= tau, 2 * size + lowest, 0.0).argmax(1)
        return float((torch.where(whole, int(size.argmax()), chosen) == true).double().mean())

    shares = [right(centred(c), tau, invariant) for tau in taus.tolist()]
    best = int(np.argmax(shares))
    uncentred = right(c, UNCENTRED_TAU, torch.zeros_like(invariant))
    return Readable(right(centred(c), TAU, invariant), shares[best], float(taus[best]), uncentred, tuple(shares))
