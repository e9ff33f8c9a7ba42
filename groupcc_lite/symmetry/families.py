"""Feature families: a map of all features by their symmetric similarity, clusters, and numbers that judge them.

The paper's recipe (Gorton 2024, section 3.1): distance 1 - S, UMAP to four dimensions with that precomputed distance,
then UMAP to two with the cosine metric. For a sparse autoencoder the first step uses the plain cosine instead
(its Figure 4). The paper judges the result by eye; the functions here also put numbers on it.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.base import bootstrap, percentile_interval, require
from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.models import BaseModel
from groupcc_lite.orbits import read_at
from groupcc_lite.symmetry.block_action import normalised
from groupcc_lite.symmetry.similarity import Neighbours, distances_to_labels, max_cosine, nearest_neighbours

FEWEST = 8
"""Features of a map, at least: fewer have no neighbourhoods."""
LARGE = 8192
"""Features of a map up to which distances of all pairs are held; with more, the nearest neighbours of each."""


class Embedding(NamedTuple):
    """A feature map in two steps.

    >>> Embedding(four=np.zeros((9, 4)), two=np.zeros((9, 2))).two.shape
    (9, 2)
    """

    four: Float[np.ndarray, "m 4"]
    """UMAP of the distances; clusters are found here."""
    two: Float[np.ndarray, "m 2"]
    """UMAP of `four` with the cosine metric; this is what is drawn."""


class FamilyScores(NamedTuple):
    """How well a map and its clusters agree with labels they never saw; all but the counts in [-1, 1].

    >>> scores = FamilyScores(2, 1.0, 0.8, 0.7, 1.0, 1.0, 0.9, 0.5)
    >>> scores.neighbour_purity > scores.chance_purity
    True
    """

    clusters: int
    clustered: float
    """Fraction of features that HDBSCAN puts into any cluster."""
    cluster_silhouette: float
    """Silhouette of the clusters in the four-dimensional map."""
    label_silhouette: float
    """Silhouette of the labels in the original distance."""
    ari: float
    """Adjusted Rand index of clusters against labels, over the features that have both."""
    ami: float
    """Adjusted mutual information of the same."""
    neighbour_purity: float
    """Mean fraction of a labelled feature's nearest labelled neighbours (by distance) with its label."""
    chance_purity: float
    """What `neighbour_purity` would be if neighbours were drawn at random."""

    @property
    def corrected_purity(self) -> float:
        """(purity - chance) / (1 - chance), the one that may be compared between coders; NaN for a single label."""
        return float(_beyond_chance(self.neighbour_purity, self.chance_purity))


class Purity(NamedTuple):
    """How often a feature's nearest neighbours have its label; see `neighbour_purity`.

    >>> Purity(0.4, 0.2, 0.25, (0.2, 0.3), np.array([1, 0]), np.array([0.5, 0.3])).corrected
    0.25
    """

    purity: float
    """Mean share of a labelled feature's nearest labelled neighbours with its label; NaN for fewer than two of them."""
    chance: float
    """The same for neighbours drawn at random."""
    corrected: float
    """(purity - chance) / (1 - chance): 0 for random neighbours, 1 if all have the label; NaN for a single label."""
    interval: tuple[float, float]
    """Of `corrected` with 95 % confidence, by drawing features anew, not coders. Each keeps its neighbours and its
    share: that other features would also have been other neighbours is left out, and so is it for `chance`."""
    labels: Int[np.ndarray, " k"]
    """Labels of the labelled features."""
    each: Float[np.ndarray, " k"]
    """Their shares, one by one."""

    def of_label(self, label: int) -> float:
        """Corrected purity of the features with one label; NaN if there are none, or no others."""
        mine = self.labels == label
        chance = (mine.sum() - 1) / max(len(mine) - 1, 1)
        return float(_beyond_chance(self.each[mine].mean(), chance)) if mine.any() else float("nan")


def _beyond_chance(purity: float | np.ndarray, chance: float) -> float | np.ndarray:
    """(purity - chance) / (1 - chance); NaN where there is one label only, and chance gives everything."""
    return (purity - chance) / (1 - chance) if chance < 1 else np.full_like(purity, np.nan, dtype=float)


def neighbour_purity(gap: Float[np.ndarray, "m n"], labels: Int[np.ndarray, " k"], *, neighbours: int = 10,
                     draws: int = 500, seed: int = 0) -> Purity:
    """How well a distance agrees with labels (-1: none) that it has not seen, with and without what chance gives.

    Chance depends on how evenly features are spread over the labels, so coders are compared by `corrected` only.
    `draws` are those of the interval. ValueError unless there is one label for each row of a square matrix.

    >>> points = np.array([0.0, 1, 2, 50, 51, 52])
    >>> found = neighbour_purity(abs(points[:, None] - points), np.array([0, 0, 0, 1, 1, 1]), neighbours=2)
    >>> found.purity, found.chance, found.corrected
    (1.0, 0.4, 1.0)
    """
    if gap.shape != (len(labels), len(labels)):
        raise ValueError(f"gap has shape {gap.shape} for {len(labels)} labels; expected a square matrix of all pairs")
    labelled = labels >= 0
    kinds, near = labels[labelled], gap[np.ix_(labelled, labelled)].copy()
    np.fill_diagonal(near, np.inf)
    count = min(neighbours, max(len(kinds) - 1, 0))
    return _purity(kinds, np.argsort(near, axis=1, kind="stable")[:, :count], draws, seed)


def dictionary_purity(D: Float[Tensor, "m g d"], G: FiniteGroup, labels: Int[np.ndarray, " k"], *,
                      neighbours: int = 10, draws: int = 500, seed: int = 0) -> Purity:
    """`neighbour_purity` in the distance 1 - `max_cosine`: the same numbers, without the distances of all pairs.

    ValueError for other than one label a feature.

    >>> from groupcc_lite.groups import cyclic
    >>> D = torch.tensor([[[1.0, 0.0]], [[1.0, 0.1]], [[0.0, 1.0]], [[0.1, 1.0]]])
    >>> dictionary_purity(D, cyclic(1), np.array([0, 0, 1, 1]), neighbours=1).corrected
    1.0
    """
    if len(D) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(D)} features; expected one for each")
    kinds = labels[labels >= 0]
    count = min(neighbours, max(len(kinds) - 1, 0))
    living = D[torch.as_tensor(np.flatnonzero(labels >= 0), device=D.device)]
    nearest = nearest_neighbours(living, G, count).row.cpu().numpy() if count else np.zeros((len(kinds), 0), dtype=int)
    return _purity(kinds, nearest, draws, seed)


def _purity(kinds: Int[np.ndarray, " k"], nearest: Int[np.ndarray, "k n"], draws: int, seed: int) -> Purity:
    """Of labelled features, from the labelled ones that are nearest to each."""
    if not nearest.shape[1]:
        nothing = float("nan")
        return Purity(nothing, nothing, nothing, (nothing, nothing), kinds, np.full(len(kinds), np.nan))
    each = (kinds[nearest] == kinds[:, None]).mean(1)
    share = np.bincount(kinds)
    chance = float((share * (share - 1)).sum() / (len(kinds) * (len(kinds) - 1)))
    drawn = bootstrap(lambda features: each[features].mean(), len(each), draws=max(draws, 1), seed=seed)
    purity, interval = float(each.mean()), percentile_interval(_beyond_chance(drawn, chance))
    return Purity(purity, chance, float(_beyond_chance(purity, chance)), interval, kinds, each)


def distance(similarity: Float[Tensor, "m n"]) -> Float[np.ndarray, "m m"]:
    """1 - S, made exactly symmetric with a zero diagonal, as precomputed metrics require.

    >>> distance(torch.tensor([[1.0, 0.25], [0.25, 1.0]]))
    array([[0.  , 0.75],
           [0.75, 0.  ]])
    """
    gap = (1 - similarity.double().cpu().numpy()).clip(min=0)
    if gap.ndim != 2 or gap.shape[0] != gap.shape[1]:
        raise ValueError(f"similarity has shape {gap.shape}; expected a square matrix of all pairs")
    if not np.isfinite(gap).all():
        raise ValueError("similarity holds NaN or infinite values; check the dictionary it was computed from")
    if np.abs(gap - gap.T).max() > 1e-3:
        raise ValueError("similarity is not symmetric, so 1 - S is no distance; was the group action a real one?")
    gap = (gap + gap.T) / 2
    np.fill_diagonal(gap, 0)
    return gap


def embed(gap: Float[np.ndarray, "m m"], *, neighbours: int = 15, seed: int = 0) -> Embedding:
    """UMAP to four dimensions from a distance matrix, then to two by cosine; deterministic for a seed.

    Source: Gorton 2024, section 3.1. ValueError for fewer features than a neighbourhood needs.

    >>> embed(np.zeros((3, 3)))
    Traceback (most recent call last):
    ValueError: a map of 3 features makes no sense; expected at least 8
    """
    return _embedded(gap, _neighbourhood(len(gap), neighbours), seed, metric="precomputed")


def embed_dictionary(D: Float[Tensor, "m g d"], G: FiniteGroup, *, neighbours: int = 15, seed: int = 0,
                     all_pairs: bool | None = None) -> Embedding:
    """`embed` of the distance 1 - `max_cosine`; of a large dictionary by each feature's nearest neighbours alone.

    `all_pairs` says whether distances of all pairs are held (default: up to `LARGE` features). UMAP reads no more of
    them than the neighbours, so both ways give it the same graph, and the same map where that hangs together. Parts
    that do not are laid out by their mean distance if all pairs are held, else by the lengths that their features have
    in each channel: no element of the group changes these, and they differ by no more than the features do. ValueError
    as for `embed`.

    >>> from groupcc_lite.groups import cyclic
    >>> D = torch.randn(20, 4, 3, generator=torch.Generator().manual_seed(0))
    >>> embed_dictionary(D, cyclic(4), neighbours=5, all_pairs=False).two.shape
    (20, 2)
    """
    if len(D) <= LARGE if all_pairs is None else all_pairs:
        return embed(distance(max_cosine(D, G)), neighbours=neighbours, seed=seed)
    count = _neighbourhood(len(D), neighbours)
    knn = _graph(nearest_neighbours(D, G, count - 1))
    return _embedded(normalised(D.detach().float()).norm(dim=1).cpu().numpy(), count, seed, precomputed_knn=knn)


def _neighbourhood(features: int, neighbours: int) -> int:
    """Size of UMAP's neighbourhoods, with a feature itself; ValueError for fewer features than they need."""
    if features < FEWEST:
        raise ValueError(f"a map of {features} features makes no sense; expected at least {FEWEST}")
    return min(neighbours, features - 1)


def _graph(near: Neighbours) -> tuple[Int[np.ndarray, "m k"], Float[np.ndarray, "m k"]]:
    """Neighbours as UMAP wants them: every feature is its own first."""
    if not torch.isfinite(near.similarity).all():
        raise ValueError("similarity holds NaN or infinite values; check the dictionary it was computed from")
    rows, gap = near.row.cpu().numpy(), 1 - near.similarity.double().cpu().numpy()
    own = np.arange(len(rows))[:, None]
    return np.concatenate([own, rows], 1), np.concatenate([np.zeros_like(gap[:, :1]), gap], 1).astype(np.float32)


def _embedded(data: Float[np.ndarray, "m k"], neighbours: int, seed: int, **four_settings: Any) -> Embedding:
    """UMAP to four dimensions with these settings, then to two."""
    UMAP = require("umap", "families").UMAP  # compiles for several seconds on its first import, so only when it is used

    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="using precomputed metric")
        warnings.filterwarnings("ignore", message="precomputed_knn")  # nothing is put on the map later
        # Four spectral dimensions need more than five features per component; small maps start at random.
        start = "spectral" if len(data) > 32 else "random"
        four = UMAP(n_components=4, n_neighbors=neighbours, min_dist=0.0, init=start, random_state=seed, n_jobs=1,
                    **four_settings).fit_transform(data)
        two = UMAP(n_components=2, metric="cosine", n_neighbors=neighbours, min_dist=0.1, init=start,
                   random_state=seed, n_jobs=1).fit_transform(four)
    torch.set_num_threads(threads)  # numba shares OpenMP with torch and sets its own number of threads for both
    return Embedding(np.asarray(four, dtype=np.float32), np.asarray(two, dtype=np.float32))


def cluster(points: Float[np.ndarray, "m k"], *, smallest: int | None = None) -> Int[np.ndarray, " m"]:
    """HDBSCAN clusters, -1 for features in none; `smallest` defaults to 1 % of the features, at least 5.

    >>> points = np.random.default_rng(0).normal(size=(20, 2)) + np.repeat([[0, 0], [50, 50]], 10, axis=0)
    >>> [len(set(cluster(points)[half].tolist())) for half in (slice(10), slice(10, 20))]
    [1, 1]
    """
    smallest = max(5, len(points) // 100) if smallest is None else smallest
    if not 2 <= smallest <= len(points):
        raise ValueError(f"smallest is {smallest}; expected 2 to {len(points)}, the number of features")
    return require("sklearn.cluster", "families").HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(points)


class ResponseLabels(NamedTuple):
    """What drawn stimuli say about each feature, independently of its dictionary vector's symmetry.

    >>> labels = ResponseLabels(np.array([3, -1]), np.array([0.5, 0.02]), np.zeros((2, 14)))
    >>> (labels.label >= 0).tolist()  # the second feature answers to several shapes alike
    [True, False]
    """

    label: Int[np.ndarray, " m"]
    """Number of the shape class that excites the feature most; -1 where the choice is not clear."""
    selectivity: Float[np.ndarray, " m"]
    """(best - second) / best class response, in [0, 1]."""
    response: Float[np.ndarray, "m c"]
    """Largest response to any drawing of a class, whatever its orientation."""


@torch.no_grad()
def centre_activations(model: BaseModel, images: Float[Tensor, "k 3 s s"], *,
                       batch_size: int = 8) -> Float[Tensor, "k d"]:
    """The layer's activations at the image centre, read bilinearly, on the CPU; small batches stay in its cache.

    >>> from groupcc_lite.models import load_model
    >>> centre_activations(load_model(), torch.rand(3, 3, 96, 96)).shape
    torch.Size([3, 120])
    """
    centre = model.geometry.cells(torch.zeros(1, 1, 2, device=model.device))
    return torch.cat([read_at(model(part.to(model.device)), centre.expand(len(part), -1, -1))[:, 0].float().cpu()
                      for part in images.split(batch_size)])


@torch.no_grad()
def label_by_response(coder: GroupCrosscoder | FittedCrosscoder, activations: Float[Tensor, "k d"],
                      shape: Int[Tensor, " k"], *, margin: float = 0.1) -> ResponseLabels:
    """Name every feature after the class of drawn shapes that excites it most.

    `activations` are the layer's responses to the shapes (`centre_activations`), `shape` their classes. A feature's
    response is the encoder's rectified pre-activation, so that the top-k of a few strong features does not hide the
    others. Taking the maximum over orientations makes the label blind to orientation. Features whose best class leads
    by less than `margin` (relative) get no label.

    >>> from groupcc_lite.groups import trivial
    >>> coder = GroupCrosscoder(trivial(), 4, 4)
    >>> labels = label_by_response(coder, torch.rand(10, 4), torch.arange(10) % 2)
    >>> labels.response.shape
    (4, 2)
    """
    by_image = coder.preactivations(activations.to(coder.W_e.device)).relu().cpu().numpy()
    shape = shape.cpu().numpy()
    table = np.stack([by_image[shape == c].max(0) for c in range(shape.max() + 1)], axis=1)
    second, best = np.sort(table, axis=1)[:, -2:].T
    selectivity = np.where(best > 0, (best - second) / np.maximum(best, 1e-12), 0.0)
    return ResponseLabels(np.where(selectivity >= margin, table.argmax(1), -1), selectivity, table)


def score_families(gap: Float[np.ndarray, "m m"], embedding: Embedding, clusters: Int[np.ndarray, " m"],
          labels: Int[np.ndarray, " m"], *, neighbours: int = 10) -> FamilyScores:
    """Numbers for a map: validity of its clusters, and their agreement with independent labels (-1: no label).

    >>> points = np.repeat([[0.0, 0, 0, 0], [9, 9, 9, 9]], 3, axis=0) + np.eye(6, 4)
    >>> gap = np.linalg.norm(points[:, None] - points, axis=-1)
    >>> kinds = np.array([0, 0, 0, 1, 1, 1])
    >>> scores = score_families(gap, Embedding(points, points[:, :2]), kinds, kinds, neighbours=2)
    >>> scores.clusters, scores.ari, scores.neighbour_purity, scores.chance_purity
    (2, 1.0, 1.0, 0.4)
    """
    if not len(gap) == len(clusters) == len(labels) == len(embedding.four):
        raise ValueError(f"{len(gap)} distances, {len(embedding.four)} points, {len(clusters)} clusters and "
                         f"{len(labels)} labels; expected one of each per feature")
    labelled = labels >= 0
    near, named = neighbour_purity(gap, labels, neighbours=neighbours, draws=1), len(set(labels[labelled]))
    silhouette = _silhouette(gap[np.ix_(labelled, labelled)], labels[labelled], named, "precomputed")
    return _scores(embedding, clusters, labels, near, silhouette)


def score_dictionary(D: Float[Tensor, "n g d"], G: FiniteGroup, embedding: Embedding, clusters: Int[np.ndarray, " m"],
                     labels: Int[np.ndarray, " m"], *, neighbours: int = 10) -> FamilyScores:
    """`score_families` in the distance 1 - `max_cosine`, without holding the distances of all pairs.

    >>> from groupcc_lite.groups import cyclic
    >>> D = torch.cat([torch.eye(2).repeat_interleave(3, 0), torch.arange(6.0)[:, None] / 50], 1)[:, None]
    >>> points = np.repeat([[0.0, 0, 0, 0], [9, 9, 9, 9]], 3, axis=0) + np.eye(6, 4)
    >>> kinds = np.array([0, 0, 0, 1, 1, 1])
    >>> scores = score_dictionary(D, cyclic(1), Embedding(points, points[:, :2]), kinds, kinds, neighbours=2)
    >>> scores.neighbour_purity, round(scores.label_silhouette, 1)
    (1.0, 1.0)
    """
    if not len(D) == len(clusters) == len(labels) == len(embedding.four):
        raise ValueError(f"{len(D)} features, {len(embedding.four)} points, {len(clusters)} clusters and "
                         f"{len(labels)} labels; expected one of each per feature")
    near = dictionary_purity(D, G, labels, neighbours=neighbours, draws=1)
    rows = np.flatnonzero(labels >= 0)
    silhouette = _label_silhouette(D[torch.as_tensor(rows, device=D.device)], G, labels[rows])
    return _scores(embedding, clusters, labels, near, silhouette)


def _scores(embedding: Embedding, clusters: Int[np.ndarray, " m"], labels: Int[np.ndarray, " m"], near: Purity,
            label_silhouette: float) -> FamilyScores:
    inside = clusters >= 0
    both, found = inside & (labels >= 0), len(set(clusters[inside]))
    metrics = require("sklearn.metrics", "families")
    return FamilyScores(
        clusters=found, clustered=float(inside.mean()),
        cluster_silhouette=_silhouette(embedding.four[inside], clusters[inside], found),
        label_silhouette=label_silhouette,
        ari=float(metrics.adjusted_rand_score(labels[both], clusters[both])) if both.any() else float("nan"),
        ami=float(metrics.adjusted_mutual_info_score(labels[both], clusters[both])) if both.any() else float("nan"),
        neighbour_purity=near.purity, chance_purity=near.chance)


def _label_silhouette(D: Float[Tensor, "k g d"], G: FiniteGroup, labels: Int[np.ndarray, " k"]) -> float:
    """Mean of (b - a) / max(a, b): a is a feature's mean distance to others of its label, b to the nearest other one.

    Source: Rousseeuw 1987, with 0 for the only feature of a label; as scikit-learn's, from sums over labels.
    """
    names, kinds, share = np.unique(labels, return_inverse=True, return_counts=True)
    if not 2 <= len(names) < len(labels):
        return float("nan")
    sums = distances_to_labels(D, G, torch.as_tensor(kinds)).double().cpu().numpy()
    every = np.arange(len(kinds))
    own = sums[every, kinds] / np.maximum(share[kinds] - 1, 1)
    means = sums / share
    means[every, kinds] = np.inf
    other = means.min(1)
    larger = np.maximum(own, other)
    alone = (share[kinds] == 1) | (larger == 0)
    return float(np.where(alone, 0, (other - own) / np.where(alone, 1, larger)).mean())


def _silhouette(points: np.ndarray, labels: np.ndarray, groups: int, metric: str = "euclidean") -> float:
    """NaN where a silhouette is not defined: fewer than two groups, or every point its own."""
    if not 2 <= groups < len(points):
        return float("nan")
    return float(require("sklearn.metrics", "families").silhouette_score(points, labels, metric=metric))
