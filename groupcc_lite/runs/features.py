"""What is known about each feature of a coder, a row a feature: as arrays, and as a table for other tools."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite import symmetry
from groupcc_lite.base import require
from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder, Metrics
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.stimuli import SHAPE_NAMES
from groupcc_lite.symmetry import (
    Stabiliser,
    block_cosines,
    centred,
    confirmed,
    equivariance_score,
    irrep_power,
    max_cosine,
    nearest_neighbours,
    self_similarity,
    stabilisers,
    supported_stabilisers,
)


class FamilyMap(NamedTuple):
    """A coder's features as a map with clusters, labels and scores.

    >>> FamilyMap._fields[:4]
    ('coder', 'gap', 'features', 'embedding')
    """

    coder: GroupCrosscoder | FittedCrosscoder
    gap: Float[np.ndarray, "m m"] | None
    """1 - similarity of all living features; None for more than `symmetry.LARGE`, of which not all pairs are held."""
    features: np.ndarray
    """Latent numbers of the rows: latents that never fire on held-out images are left out."""
    embedding: symmetry.Embedding
    clusters: np.ndarray
    labels: symmetry.ResponseLabels
    scores: symmetry.FamilyScores


class Relatives(NamedTuple):
    """For each feature the features most similar to it when the group may move them, best first.

    >>> Relatives._fields
    ('row', 'cosine', 'element')
    """

    row: Int[np.ndarray, "m r"]
    """Their rows, not their numbers."""
    cosine: Float[np.ndarray, "m r"]
    element: Int[np.ndarray, "m r"]
    """The h with which F_i and h . F_row agree best: moved by h, the relative's picture should look like i's."""


class Symmetries(NamedTuple):
    """What the blocks of dictionary vectors say, a row for each feature, and what the encoder says of it.

    >>> Symmetries._fields[:4]
    ('blocks', 'profile', 'centred', 'trivial')
    """

    blocks: Float[np.ndarray, "m g g"]
    profile: Float[np.ndarray, "m g"]
    """c(h), from which invariance is read."""
    centred: Float[np.ndarray, "m g"]
    """c'(h), from which all other stabilisers are read."""
    trivial: Float[np.ndarray, " m"]
    """Share of the power that no element changes."""
    spectrum: Float[np.ndarray, "m k"]
    """Power in each irrep of `G.irreps()`."""
    subgroup: Int[np.ndarray, " m"]
    """Which of `G.subgroups()` is the stabiliser."""
    inside: Float[np.ndarray, " m"]
    outside: Float[np.ndarray, " m"]
    margin: Float[np.ndarray, " m"]
    equivariance: Float[np.ndarray, " m"]
    supported: Int[np.ndarray, " m"]
    """Which subgroup is supported, as `subgroup`; for an invariant feature the whole group, which nothing tests."""
    rate: Float[np.ndarray, " m"]
    """False discovery rate of that, or the lowest of what is not supported; -1 where nothing was tested."""
    confirmed: Int[np.ndarray, " m"]
    """1: the encoder has the stabiliser too, 0: it has not, -1: there is nothing to ask, or the encoder is silent."""
    encoder: Float[np.ndarray, " m"]
    """The encoder's smallest cosine on the stabiliser, centred as `inside`; -1 where `confirmed` is."""


@dataclasses.dataclass(frozen=True)
class FeatureTable:
    """All living features of one coder, a row each. ValueError if their numbers do not increase.

    >>> [field.name for field in dataclasses.fields(FeatureTable)][:4]
    ['kind', 'latents', 'features', 'xy']
    """

    kind: str
    """"crosscoder" or "sae"."""
    latents: int
    """How many the coder has, dead ones included."""
    features: Int[np.ndarray, " m"]
    """Latent numbers of the rows, increasing."""
    xy: Float[np.ndarray, "m 2"]
    """Places on the map, as UMAP gives them."""
    frequency: Float[np.ndarray, " m"]
    """Share of held-out samples on which the feature fires."""
    family: Int[np.ndarray, " m"]
    """Cluster number, -1: none."""
    drawing: Int[np.ndarray, " m"]
    """Number of the drawn shape that excites the feature most, -1: not clear."""
    metrics: dict[str, float]
    """The coder's on held-out images."""
    relatives: Relatives
    symmetries: Symmetries | None
    """None for an SAE: without blocks there is nothing to compare."""

    def __post_init__(self) -> None:
        if (np.diff(self.features) <= 0).any() or not 0 <= self.features.min() <= self.features.max() < self.latents:
            raise ValueError(f"features of the {self.kind} are not increasing numbers from 0 to {self.latents - 1}")


def relatives(D: Float[Tensor, "m g d"], G: FiniteGroup, count: int = 8) -> Relatives:
    """The `count` most similar other features of each, by `max_cosine`, with the element that carries them over.

    ValueError for a count that is not between 1 and the number of other features.

    >>> from groupcc_lite.groups import cyclic
    >>> F = torch.randn(1, 4, 3)
    >>> found = relatives(torch.cat([F, F.roll(1, 1), torch.randn(1, 4, 3)]), cyclic(4), count=1)
    >>> found.row[:2, 0].tolist(), found.element[0].tolist() in ([1], [3])
    ([1, 0], True)
    """
    if not 1 <= count < len(D):
        raise ValueError(f"count is {count}; expected 1 to {len(D) - 1}, the number of other features")
    if len(D) > symmetry.LARGE:
        near = nearest_neighbours(D, G, count)
        return Relatives(near.row.cpu().numpy(), near.similarity.cpu().numpy(), near.element.long().cpu().numpy())
    similarity, element = max_cosine(D, G, elements=True)
    similarity.fill_diagonal_(-torch.inf)
    cosine, row = similarity.topk(count, dim=1)
    return Relatives(row.cpu().numpy(), cosine.cpu().numpy(), element.gather(1, row).cpu().numpy())


def symmetries(D: Float[Tensor, "m g d"], G: FiniteGroup, encoder: Float[Tensor, "m g"], *,
               seed: int = 0) -> Symmetries:
    """Heatmap, profiles, spectrum and stabiliser of every dictionary vector, and what the label is worth.

    `encoder`: profiles of the same features' encoders, not centred, on images that the coder was not trained on. `seed`
    is that of the surrogates.

    >>> from groupcc_lite.groups import cyclic
    >>> G = cyclic(4)
    >>> found = symmetries(torch.ones(2, 4, 3), G, torch.ones(2, 4))
    >>> [G.subgroups()[k].label for k in found.subgroup], found.confirmed.tolist()
    (['all', 'all'], [1, 1])
    """
    c, found = self_similarity(D, G).cpu(), stabilisers(D, G)
    order = {H.elements: k for k, H in enumerate(G.subgroups())}
    inside, outside, margin, trivial = (np.array([getattr(s, name) for s in found])
                                        for name in ("inside", "outside", "margin", "trivial"))
    supported, heard = supported_stabilisers(c, G, seed=seed), _encoder_inside(found, encoder.cpu())
    agree = np.where(np.isnan(heard), -1, confirmed(found, encoder).numpy())
    return Symmetries(block_cosines(D).cpu().numpy(), c.numpy(), centred(c).numpy(), trivial,
                      irrep_power(D, G).cpu().numpy(), np.array([order[s.subgroup.elements] for s in found]),
                      inside, outside, margin, equivariance_score(D, G).cpu().numpy(),
                      np.array([order[s.subgroup.elements] for s in supported.stabilisers]),
                      supported.rate.nan_to_num(-1).numpy(), agree, np.nan_to_num(heard, nan=-1))


def _encoder_inside(found: list[Stabiliser], c: Float[Tensor, "m g"]) -> Float[np.ndarray, " m"]:
    """Smallest cosine of each encoder on the stabiliser, read like that one; NaN without symmetry or response."""
    whole, rows = c.shape[1], centred(c)
    values = [(c if s.subgroup.order == whole else rows)[i, list(s.subgroup.elements[1:])].min().item()
              if s.subgroup.order > 1 and not c[i].isnan().any() else np.nan for i, s in enumerate(found)]
    return np.array(values, dtype=np.float64)


def feature_table(found: FamilyMap, metrics: Metrics, encoder: Float[Tensor, "m g"] | None = None, *, count: int = 8,
                  seed: int = 0) -> FeatureTable:
    """A family map with what is known about each of its features; `count` relatives each, or all if there are fewer.

    `encoder` and `seed` as for `symmetries`; an SAE needs neither. ValueError for a crosscoder without `encoder`.

    >>> import tempfile
    >>> from groupcc_lite.runs import Run
    >>> with tempfile.TemporaryDirectory() as work:
    ...     run = Run("smoke", group="C_4", drawings=12, points_per_image=4, latents=64, k=8, steps=2, batch_size=8,
    ...               work=work)
    ...     table = run.feature_table("sae")
    >>> table.kind, table.symmetries
    ('sae', None)
    """
    coder, alive = found.coder, found.features
    D, G = coder.dictionary.detach().cpu()[torch.as_tensor(alive)], coder.group
    if G.order > 1 and encoder is None:
        raise ValueError("encoder is missing; expected the encoder's profiles, `encoder_profile(coder, orbits)`")
    return FeatureTable(
        kind="sae" if G.order == 1 else "crosscoder", latents=coder.latents, features=alive,
        xy=found.embedding.two, frequency=metrics.frequency[alive], family=found.clusters,
        drawing=found.labels.label, metrics=metrics.row(), relatives=relatives(D, G, min(count, len(D) - 1)),
        symmetries=None if encoder is None or G.order == 1 else symmetries(D, G, encoder, seed=seed))


def feature_frame(table: FeatureTable, G: FiniteGroup) -> Any:
    """The table as a pandas DataFrame, indexed by latent number, for a spreadsheet or further statistics.

    Columns for every coder: `frequency`, `family` (-1: none), `drawing` (the drawn shape that excites it most),
    `nearest` (latent number of the most similar other feature when the group may move it), `cosine` to it, and `mover`,
    the element that carries it over. For a crosscoder also `symmetry` and `stabiliser` (its label and its elements),
    `margin`, `equivariance`, `trivial` (share of power that no element changes), `supported` and `rate` (the label that
    surrogates do not have as often, and its false discovery rate), `confirmed` (whether the encoder has it too; missing
    where there is nothing to ask), `encoder`, and `power <irrep>` for each irrep.

    >>> from groupcc_lite.groups import cyclic
    >>> none = np.zeros(2, dtype=int)
    >>> pair = Relatives(np.array([[1], [0]]), np.ones((2, 1)), np.zeros((2, 1), dtype=int))
    >>> frame = feature_frame(FeatureTable("sae", 9, np.array([3, 8]), np.zeros((2, 2)), np.array([0.1, 0.2]), none,
    ...                                    none, {}, pair, None), cyclic(1))
    >>> frame.nearest.tolist(), frame.index.name
    ([8, 3], 'latent')
    """
    pandas = require("pandas", "tables")
    near = table.relatives
    columns: dict[str, Any] = dict(
        frequency=table.frequency, family=table.family,
        drawing=[SHAPE_NAMES[k] if k >= 0 else "" for k in table.drawing],
        nearest=table.features[near.row[:, 0]], cosine=near.cosine[:, 0],
        mover=[G.names[h] for h in near.element[:, 0]])
    if (found := table.symmetries) is not None:
        subgroups = G.subgroups()
        columns |= dict(
            symmetry=[subgroups[k].label for k in found.subgroup],
            stabiliser=[" ".join(G.names[h] for h in subgroups[k].elements) for k in found.subgroup],
            margin=found.margin, equivariance=found.equivariance, trivial=found.trivial,
            supported=[subgroups[k].label for k in found.supported], rate=_known(found.rate, found.rate >= 0),
            confirmed=pandas.array([bool(k) if k >= 0 else None for k in found.confirmed], dtype="boolean"),
            encoder=_known(found.encoder, found.confirmed >= 0))
        columns |= {f"power {irrep.name}": found.spectrum[:, k] for k, irrep in enumerate(G.irreps())}
    return pandas.DataFrame(columns, index=pandas.Index(table.features, name="latent"))


def _known(values: Float[np.ndarray, " m"], where: np.ndarray) -> Float[np.ndarray, " m"]:
    return np.where(where, values, np.nan)
