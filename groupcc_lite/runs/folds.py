"""What a number is worth: measured for coders of several seeds in several folds of the images.

Coders that differ in their seed only have seen the same images and are judged on the same ones, so their spread says
nothing about images. Here every fold of the images has coders of its own seeds, and folds are what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from groupcc_lite import coders, symmetry
from groupcc_lite.base import interval_of, percentile_interval, read_json, write_json
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import FiniteGroup, rotations_of
from groupcc_lite.orbits import thinned
from groupcc_lite.runs.layer_run import FoldRun, Run

ROWS = 4096
"""Held-out orbits on which a fold's coder is measured at most, spread evenly over its images."""
VIEWS = 1024
"""The same for the encoder's profiles, which look at every orbit from all sides."""
DRAWS = 20
"""Surrogates of each feature."""


def constants() -> dict[str, float | int]:
    """What measures judge by beside the coder. With other values what was measured before is not found again.

    >>> constants()["ROWS"]
    4096
    """
    return dict(ROWS=ROWS, VIEWS=VIEWS, TAU=symmetry.TAU, INVARIANT=symmetry.INVARIANT,
                FALSE_RATE=symmetry.FALSE_RATE, DRAWS=DRAWS)


class Uncertain(NamedTuple):
    """A number measured over folds x seeds.

    >>> uncertain(np.array([[0.50, 0.52], [0.44, 0.46]])).over
    '2 folds x 2 seeds'
    """

    mean: float
    interval: tuple[float, float]
    """Where the mean lies with 95 % confidence."""
    over_folds: float
    """Standard deviation of the folds' means."""
    over_seeds: float
    """Standard deviation of seeds within a fold."""
    values: Float[np.ndarray, "f s"]

    @property
    def over(self) -> str:
        """What it was taken over, for `Report.number`."""
        return f"{self.values.shape[0]} folds x {self.values.shape[1]} seeds"


def uncertain(values: Float[np.ndarray, "f s"]) -> Uncertain:
    """Mean of a table of folds x seeds, no seed used twice, and how far it can be trusted.

    value = mean + a(fold) + b(seed in fold), so a fold's mean varies by Var(a) + Var(b) / seeds, and the folds' means
    are what is independent: Student's t over them, with folds - 1 degrees of freedom. Folds x seeds taken as
    independent values would give a shorter interval, which is wrong wherever folds matter. What this cannot see: folds
    share most of their training images, and no unbiased estimate of what that does exists (Bengio & Grandvalet 2004).
    NaN among the values are left out; the mean is NaN where a fold has nothing else. ValueError for a single fold: it
    has no spread, so the profile's `folds` must be 2 or more.

    >>> table = np.array([[0.50, 0.52], [0.44, 0.46], [0.47, 0.49]])  # folds differ more than seeds
    >>> found = uncertain(table)
    >>> [round(end, 3) for end in found.interval], round(found.over_folds, 3), round(found.over_seeds, 3)
    ([0.405, 0.555], 0.03, 0.014)
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"folds is {len(values)}; expected 2 or more: one has no spread")
    known = [row[np.isfinite(row)] for row in values]
    spreads = [row.var(ddof=1) for row in known if len(row) > 1]
    within = float(np.sqrt(np.mean(spreads))) if spreads else float("nan")
    if not all(map(len, known)):
        return Uncertain(float("nan"), (float("nan"), float("nan")), float("nan"), within, values)
    means = np.array([row.mean() for row in known])
    return Uncertain(float(means.mean()), interval_of(means), float(means.std(ddof=1)), within, values)


# ------------------------------------------------------------------------------------------------------- measures

@dataclass(frozen=True)
class Measure:
    """A function (run, coder) -> numbers by name, and its version: raise it when the same coder gets other numbers.

    >>> Measure(lambda run, coder: {"latents": coder.latents}).version
    1
    """

    measure: Callable[[Run, GroupCrosscoder], Mapping[str, float]]
    version: int = 1
    ceiling: bool = False
    """Whether it reads the run's linear reference."""


def fold_seeds(run: Run, number: int) -> range:
    """The seeds of the coders of one fold: as many as the profile's `fold_seeds`, and no other fold has them.

    >>> [list(fold_seeds(Run("inception"), number)) for number in (0, 1)]
    [[0, 1, 2], [3, 4, 5]]
    """
    count = run.profile.fold_seeds
    return range(run.seed + number * count, run.seed + (number + 1) * count)


def over_folds(run: Run, measure: Callable[[FoldRun, GroupCrosscoder], Mapping[str, float]]) -> dict[str, Uncertain]:
    """`measure(fold, coder)` for crosscoders of `fold_seeds` in every fold of a run: each of its numbers, `uncertain`.

    Coders are artefacts of `run.fold(number)`; what is measured is not kept, but see `fold_measures`.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=8, points_per_image=4, latents=32, k=2, fold_steps=2, fold_batch=8,
    ...           work=work.name)
    >>> over_folds(run, lambda fold, coder: {"orbits": len(fold.orbits("held-out"))})["orbits"].mean
    16.0
    >>> work.cleanup()
    """
    return _table(run, lambda fold, seed: measure(fold, fold.coder(seed=seed)))


def fold_measures(run: Run, *names: str) -> dict[str, Uncertain]:
    """The measures of `FOLD_MEASURES` with these names (default: all) over folds x seeds, kept as artefacts.

    All numbers are about held-out images of each fold. A chapter asks for what it needs; what another one has measured
    is found. ValueError for a name that does not exist.

    >>> sorted(FOLD_MEASURES)
    ['families', 'reconstruction', 'symmetry']
    """
    unknown = sorted(set(names) - FOLD_MEASURES.keys())
    if unknown:
        raise ValueError(f"no measure {', '.join(unknown)}; expected some of {', '.join(FOLD_MEASURES)}")
    found: dict[str, Uncertain] = {}
    for name in names or FOLD_MEASURES:
        found |= _table(run, lambda fold, seed, name=name: _kept(fold, seed, name))
    return found


def _kept(fold: FoldRun, seed: int, name: str) -> dict[str, float]:
    measure = FOLD_MEASURES[name]

    def make(folder: Path) -> None:
        values = {key: float(value) for key, value in measure.measure(fold, fold.coder(seed=seed)).items()}
        write_json(folder / "numbers.json", {key: None if np.isnan(value) else value for key, value in values.items()})

    artefact = fold.recipes.measured(name, measure.version, seed, constants(), ceiling=measure.ceiling)
    numbers = read_json(fold.cache.get(artefact, make) / "numbers.json")
    return {key: float("nan") if value is None else value for key, value in numbers.items()}


def _table(run: Run, measured: Callable[[FoldRun, int], Mapping[str, float]]) -> dict[str, Uncertain]:
    rows = [[measured(run.fold(number), seed) for seed in fold_seeds(run, number)]
            for number in range(run.profile.folds)]
    return {key: uncertain(np.array([[cell[key] for cell in row] for row in rows], dtype=np.float64))
            for key in rows[0][0]}


def reconstruction(run: Run, coder: GroupCrosscoder) -> dict[str, float]:
    """Variance explained, L0 and dead latents, beside the linear reference of the same fold.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=8, points_per_image=4, latents=32, k=8, steps=2, batch_size=8,
    ...           work=work.name)
    >>> found = reconstruction(run, run.coder())
    >>> found["fve"] < 0 < found["l0"], found["over_reference"] == found["fve_transformed"] - found["reference"]
    (True, True)
    >>> work.cleanup()
    """
    metrics = coders.evaluate(coder, thinned(run.orbits("held-out"), ROWS))
    moved, reference = float(metrics.fve_per_block[1:].mean()), float(run.ceiling()[1:].mean())
    return dict(fve=metrics.fve, fve_identity=metrics.fve_identity, fve_transformed=moved, reference=reference,
                over_reference=moved - reference, l0=metrics.l0, dead=metrics.dead)


def symmetric(run: Run, coder: GroupCrosscoder) -> dict[str, float]:
    """Shares of living features with a supported, a confirmed and full symmetry; whose halves name the same mirror.

    `mirror_agreement` is the share of features with one supported mirror whose encoder, on held-out orbits, has the
    same as its best; `mirror_chance` what `symmetry.mirror_agreement` says that chance gives.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=8, points_per_image=4, latents=32, k=8, steps=2, batch_size=8,
    ...           work=work.name)
    >>> coder = run.coder()
    >>> coder.W_d.data[:] = coder.W_d.data[:, :1]  # one vector in all blocks of a feature
    >>> float(symmetric(run, coder)["invariant"])
    1.0
    >>> work.cleanup()
    """
    held_out, G = thinned(run.orbits("held-out"), ROWS), run.group
    D, alive = symmetry.living_dictionary(coder, coders.evaluate(coder, held_out).frequency)
    found = symmetry.supported_stabilisers(symmetry.self_similarity(D, G), G, draws=DRAWS).stabilisers
    c = symmetry.encoder_profile(coder, thinned(held_out, VIEWS)).cpu()[torch.from_numpy(alive)]
    some = np.array([1 < s.subgroup.order < G.order for s in found])
    agreed = symmetry.confirmed(found, c).numpy() & some
    return dict(supported=some.mean(), confirmed=agreed.mean(),
                confirmed_of_supported=agreed.sum() / some.sum() if some.any() else np.nan,
                invariant=np.mean([s.subgroup.order == G.order for s in found])) | _mirrors(found, c, G)


def _mirrors(found: list[symmetry.Stabiliser], c: Float[torch.Tensor, "m g"], G: FiniteGroup) -> dict[str, float]:
    """Agreement of decoder and encoder about the axis of features with one mirror; NaN where there are none."""
    n = rotations_of(G)
    if n is not None and G.order == 2 * n:
        agreement = symmetry.mirror_agreement(found, c, G)
        if len(agreement.features):
            return dict(mirror_agreement=agreement.exact, mirror_chance=float(agreement.chance[0]))
    return dict(mirror_agreement=np.nan, mirror_chance=np.nan)


def families(run: Run, coder: GroupCrosscoder) -> dict[str, float]:
    """Purity of features' nearest neighbours over the group, by drawn shapes: as it is, by chance, and corrected.

    Corrected is NaN where all features have one label: then chance is 1, and nothing could be better.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=8, points_per_image=4, latents=32, k=8, steps=2, batch_size=8,
    ...           work=work.name)
    >>> found = families(run, run.coder())
    >>> 0 < found["purity_chance"] < 1, found["purity"] < 0.5  # two steps of training make no families
    (True, True)
    >>> work.cleanup()
    """
    frequency = coders.evaluate(coder, thinned(run.orbits("held-out"), ROWS)).frequency
    D, alive = symmetry.living_dictionary(coder, frequency)
    labels = symmetry.label_by_response(coder, run.stimulus_activations, run.stimuli.shape).label[alive]
    found = (symmetry.dictionary_purity(D, run.group, labels) if len(D) > symmetry.LARGE
             else symmetry.neighbour_purity(symmetry.distance(symmetry.max_cosine(D, run.group)), labels))
    return dict(purity=found.purity, purity_chance=found.chance,
                purity_corrected=found.corrected if found.chance < 1 else np.nan)


FOLD_MEASURES = {"reconstruction": Measure(reconstruction, ceiling=True), "symmetry": Measure(symmetric, version=4),
                 "families": Measure(families, version=2)}
"""What can be had over folds x seeds, by name. A new one is one line here."""


# --------------------------------------------------------------------------------------------------- over images

def fve_over_images(coder: Any, source: Any, *, other: Any = None, draws: int = 1000,
                    seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Variance explained on held-out orbits, or by how much more than `other` explains, with an interval over images.

    Images are drawn with replacement, all points of an image together, because points of one image are not independent
    of each other: the 2.5 % and 97.5 % quantiles of `draws` such samples. What other training images would change is
    not in it; folds show that. ValueError for a source that does not know its rows' images, such as `TensorOrbits`.

    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import OrbitStore
    >>> import tempfile
    >>> store = OrbitStore.from_batches(tempfile.mkdtemp(), [torch.randn(50, 1, 6)], cyclic(1))
    >>> coder = SparseAutoencoder(channels=6, latents=20, activation="topk", k=3)
    >>> fve_over_images(coder, store, other=coder)
    (0.0, (0.0, 0.0))
    """
    if not hasattr(source, "image"):
        raise ValueError(f"{type(source).__name__} does not know which image each row is of, and images are what is "
                         "drawn; expected a source with `image`, such as OrbitStore")
    image = np.unique(source.image, return_inverse=True)[1]
    mean = sum(x.sum(0).double() for x in source.in_order()) / len(source)
    variance = _by_image((x - mean for x in source.in_order()), image)
    left = _by_image((x - _decoded(coder, x) for x in source.in_order()), image)
    if other is not None:
        left = left - _by_image((x - _decoded(other, x) for x in source.in_order()), image)
    weights = np.random.default_rng(seed).multinomial(len(variance), np.full(len(variance), 1 / len(variance)), draws)
    drawn, whole = (weights @ left) / (weights @ variance), left.sum() / variance.sum()
    explained = (lambda part: 1 - part) if other is None else (lambda part: 0.0 - part)
    return float(explained(whole)), percentile_interval(explained(drawn))


@torch.no_grad()
def _decoded(coder: Any, x: torch.Tensor) -> torch.Tensor:
    return coder(x.to(coder.device)).reconstruction.cpu()


def _by_image(differences: Iterable[torch.Tensor], image: np.ndarray) -> Float[np.ndarray, " i"]:
    """Squared norms summed over all rows of each image."""
    rows = np.concatenate([x.square().sum((1, 2)).double().numpy() for x in differences])
    return np.bincount(image, weights=rows)
