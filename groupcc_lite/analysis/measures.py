"""What is measured of a run: how well its layer turns, how well its coder explains that, and the symmetries found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from groupcc_lite.coders import GroupCrosscoder, Metrics, copy_fve, evaluate
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.orbits import OrbitRows, StoredOrbits
from groupcc_lite.runs import DictionaryRun, FeatureTable, Run
from groupcc_lite.symmetry import (
    FEWEST,
    ConfirmedCensus,
    Excess,
    Witnessed,
    confirmed_census,
    excess,
    fitting_batches,
    linear_ceiling,
    testable,
    witnessed,
)

log = logging.getLogger(__name__)


class Analysis(NamedTuple):
    """Everything the report shows, beside the atlas.

    >>> Analysis._fields[:3]
    ('coder', 'metrics', 'metrics_seen')
    """

    coder: GroupCrosscoder
    metrics: Metrics
    """On held-out images."""
    metrics_seen: Metrics
    """On as many orbits of images that the coder was trained on."""
    ceiling: Float[np.ndarray, " g"]
    """What a linear map from the untransformed activation explains of each block, on held-out images."""
    ceiling_seen: Float[np.ndarray, " g"]
    """The same map on orbits that it was fitted on: far above `ceiling` if there are too few images."""
    copied: Float[np.ndarray, " g"]
    """What a copy of the untransformed activation explains, on held-out images."""
    census: ConfirmedCensus
    tested: Bool[np.ndarray, " k"]
    """Features of the census whose symmetry can be tested against chance (`symmetry.testable`)."""
    excess: Excess
    """How many these are, and how many their spectra give by chance."""
    witness: Witnessed
    """How many of them the encoder confirms."""
    table: FeatureTable
    examples: list[int]
    """Rows of the table: for each symmetry that occurs the feature whose label is best founded."""


def measure(run: Run) -> Analysis:
    """All measurements of a run; whatever they need is made first, kept, and found again by the next call.

    ValueError as for `check_run`, before anything costly, and for a coder with too few living features, as soon as it
    is trained.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as work:
    ...     run = Run("smoke", group="C_4", drawings=12, points_per_image=4, latents=64, k=8, steps=2, batch_size=8,
    ...               work=work)
    ...     found = measure(run)
    >>> found.ceiling.shape, len(found.table.features) == len(found.census.labels)
    ((4,), True)
    """
    check_run(run, atlas=False)
    for number, (what, make) in enumerate(_stages(run), 1):
        log.info("%d of 4: %s", number, what)
        make()
    train, held_out, coder = run.orbits("train"), run.orbits("held-out"), run.coder()
    seen, metrics, table = _as_many(train, len(held_out)), run.evaluate(coder), run.feature_table()
    census = confirmed_census(coder, metrics.frequency, held_out, seed=run.seed)
    return Analysis(coder, metrics, evaluate(coder, seen), run.ceiling(),
                    linear_ceiling(fitting_batches(train), seen.in_order()).cpu().numpy(),
                    copy_fve(held_out.in_order()),
                    census, *_against_chance(census, run.group, run.seed), table, _examples(census))


def check_run(run: Run, *, atlas: bool = True) -> None:
    """What a report asks of a run, before anything costly: `Run.check` for what a report needs of it, and a group.

    A given coder is not trained, but the autoencoder that the `atlas` compares a given crosscoder with is; nor is a
    trade-off curve. ValueError for a group of one element, and as for `Run.check`.

    >>> check_run(Run("smoke", group="C_1"))
    Traceback (most recent call last):
    ValueError: the group is C_1, which moves nothing: there is no symmetry to find; give another, such as C_4 or D_8
    """
    if run.group.order == 1:
        raise ValueError(f"the group is {run.group.name}, which moves nothing: there is no symmetry to find; give "
                         "another, such as C_4 or D_8")
    trains = run.given_as == "crosscoder" and atlas if isinstance(run, DictionaryRun) else True
    run.check(coders=trains, curve=False)


def _stages(run: Run) -> Sequence[tuple[str, Callable[[], object]]]:
    """What takes long, in order, each with its own progress bar."""
    return (("orbits of the images", lambda: [_require_variance(run, part) for part in ("train", "held-out")]),
            ("the crosscoder", lambda: _require_features(run)), ("the linear reference", run.ceiling),
            ("families of features", run.family_map))


def _require_variance(run: Run, part: str) -> None:
    """Make a part's orbits; ValueError if some block is the same in all of them. Mostly the first batch can tell."""
    orbits, first, squares, spread = run.orbits(part), None, torch.zeros(1), torch.zeros(1)
    for x in orbits.in_order():
        x = x.double()
        first = x[:1] if first is None else first
        squares, spread = squares + x.square().sum((0, 2)), spread + (x - first).square().sum((0, 2))
        if (spread > 1e-9 * squares).all():  # as `evaluate` asks of them together
            return
    block = int((spread / squares.clamp(min=1e-30)).argmin())
    moved = f", moved by {run.group.names[block]}" if block else ""
    raise ValueError(f"layer {run.model.layer} of {run.model.name} is the same at all {len(orbits)} points of the "
                     f"{part} images{moved}: there is nothing to explain; look at its weights, or take another layer "
                     "or other images")


def _require_features(run: Run) -> None:
    """Train the coder; ValueError if hardly anything lives in it."""
    living = int((run.evaluate(run.coder()).frequency > 0).sum())
    if living < FEWEST:
        advice = ("take another dictionary, or more images" if isinstance(run, DictionaryRun) else
                  "take more latents, a larger k, or train longer: --set steps=2000")
        raise ValueError(f"{living} latents ever fire on held-out images, too few for families (at least {FEWEST}); "
                         f"{advice}")


def _against_chance(census: ConfirmedCensus, G: FiniteGroup,
                    seed: int) -> tuple[Bool[np.ndarray, " k"], Excess, Witnessed]:
    """Which symmetries can be tested, and of these alone: excess, and witnesses. What the surrogate leaves alone it has
    as well, so that the others would all look like chance."""
    tested = np.array([testable(found.subgroup, G) for found in census.labels], dtype=bool)
    labels = [census.labels[row] for row in np.flatnonzero(tested)]
    return (tested, excess(census.decoder, G, seed=seed, tested=True),
            witnessed(labels, census.encoder[torch.as_tensor(tested)], G, seed=seed))


def _as_many(train: StoredOrbits, count: int) -> OrbitRows:
    """Evenly spread orbits that the coder has seen."""
    return OrbitRows([train], [np.unique(np.linspace(0, len(train) - 1, min(count, len(train))).round().astype(int))])


def _examples(census: ConfirmedCensus, most: int = 6) -> list[int]:
    """One feature for each label, the frequent ones first: confirmed before others, then by margin."""
    best: dict[str, tuple[bool, float, int]] = {}
    count: dict[str, int] = {}
    for row, found in enumerate(census.labels):
        label, sure = found.subgroup.label, bool(census.confirmed[row] or census.invariant[row])
        count[label] = count.get(label, 0) + 1
        best[label] = max(best.get(label, (False, -np.inf, row)), (sure, found.margin, row))
    return [best[label][2] for label in sorted(count, key=count.__getitem__, reverse=True)[:most]]


def doubts(found: Analysis) -> list[str]:
    """What to doubt before believing the numbers, a sentence each, worst first; empty if nothing stands out.

    The rules are fixed numbers, not tests: a gap of 0.1 between seen and held-out images is called large, a linear
    reference below 0.1 small, and half of the latents dead many.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as work:
    ...     run = Run("smoke", group="C_4", drawings=12, points_per_image=4, latents=64, k=8, steps=2, batch_size=8,
    ...               work=work)
    ...     first, *_ = doubts(measure(run))
    >>> first.startswith("Too few images")
    True
    """
    held, seen = float(found.ceiling[1:].mean()), float(found.ceiling_seen[1:].mean())
    mine, of_seen = found.metrics.fve, found.metrics_seen.fve
    others = float(found.metrics.fve_per_block[1:].mean())  # the linear map has the first block already
    asked = (
        (seen - held > 0.1,
         f"Too few images for a verdict on the layer: a linear map explains {seen:.2f} of the images it was fitted on "
         f"and {held:.2f} of held-out ones. Until the two meet, a low number says nothing about equivariance."),
        (held < 0.1 and seen - held <= 0.1,
         f"The layer hardly turns with the image: a linear map explains {held:.2f} of the other blocks, on seen and "
         "held-out images alike. Are the points inside the picture, and is this the layer you mean?"),
        (of_seen - mine > 0.1,
         f"The coder has learned its images by heart: it explains {of_seen:.2f} of seen and {mine:.2f} of held-out "
         "ones. Take more images or fewer steps."),
        (others < held,
         f"The coder explains less ({others:.2f}) of the other blocks than a linear map does ({held:.2f}): train it "
         "longer, or let more latents be active."),
        (found.metrics.dead > 0.5,
         f"{100 * found.metrics.dead:.0f} % of the latents never fire on held-out images: take fewer latents."),
        (found.excess.share <= 0, _no_more_than_chance(found)))
    return [sentence for holds, sentence in asked if holds]


def _no_more_than_chance(found: Analysis) -> str:
    """What to say where nothing that can be tested exceeds chance."""
    G, others = found.coder.group, int(found.census.partly.sum()) - int(found.tested.sum())
    if not any(testable(H, G) for H in G.subgroups()):
        return (f"No symmetry can be tested against chance in {G.name}: features with the same spectrum have the same "
                "cosines here. A group such as D_4 lets mirrors be tested.")
    also = f"; {others} have one that cannot be tested" if others else ""
    return f"No more features have a symmetry that can be tested than spectra like theirs give by chance{also}."
