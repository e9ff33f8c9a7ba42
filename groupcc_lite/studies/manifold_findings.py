"""How latents are spent: toys and planted features, kept once trained, and growing dictionaries of a layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.answers import SIMILAR
from groupcc_lite.base import Artefact, Cache, read_json, require, write_json
from groupcc_lite.coders import SparseAutoencoder, data_dictionary, firing_frequency, fit_blocks
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.manifolds import (
    Allocation,
    FeatureMixture,
    Learning,
    LossCurve,
    Spending,
    SphereToy,
    learn,
    loss_curve,
    spending,
)
from groupcc_lite.orbits import IdentityBlocks
from groupcc_lite.runs import FITTED_RIDGE, ManifoldProfile, Run, get_manifold_profile
from groupcc_lite.symmetry import distance, max_cosine, nearest_relative

VERSION = 2
"""Of what `ManifoldStudy` keeps. Raise it when the same settings give another result."""
HOLLOW, VARIED = (1.0, 1.0), (0.5, 1.5)
"""Radii of spheres."""
ENDS = (0.01, 0.5)
"""Between which ranks, as shares of the living latents, frequencies are fitted by a power law."""
MIDDLE = 0.1
"""Where this stretch is cut in two."""


class ManifoldStudy:
    """Toys and planted features of a manifold profile, trained once and kept in `work`.

    ValueError for an unknown profile.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> study = ManifoldStudy("smoke", work=work.name)
    >>> study.toy(2).encoder.shape, study.spent(2, 16, 0).spent.shape
    ((2, 3), (8,))
    >>> work.cleanup()
    """

    def __init__(self, profile: str | ManifoldProfile = "book", seed: int = 0, *, work: str | Path):
        self.profile, self.seed = get_manifold_profile(profile), seed
        self._cache = Cache(work)

    def toy(self, dim: int, radius: tuple[float, float] = HOLLOW) -> LossCurve:
        """The losses of a sphere S^(dim - 1) that is learned alone, for all sizes and seeds of the profile."""
        how, toy = Learning(steps=self.profile.toy_steps), SphereToy(dim, radius)
        seeds = [self.seed + number for number in range(self.profile.toy_seeds)]
        settings = dict(dim=dim, radius=list(radius), sizes=list(self.profile.sizes), seeds=seeds)

        def made() -> dict[str, Any]:
            curve = loss_curve(toy, self.profile.sizes, seeds, how)
            return {name: value.tolist() for name, value in curve._asdict().items()}

        kept = self._kept("manifold-toys", settings | dataclasses.asdict(how), made)
        return LossCurve(*(np.asarray(kept[name]) for name in LossCurve._fields))

    def mixture(self, dim: int, seed: int = 0, radius: tuple[float, float] = HOLLOW) -> FeatureMixture:
        """The planted features, every other one a sphere S^(dim - 1); each seed has subspaces of its own."""
        return FeatureMixture(self.profile.features, self.profile.alpha, dim, radius, seed=seed)

    def spent(self, dim: int, latents: int, seed: int, radius: tuple[float, float] = HOLLOW) -> Spending:
        """Where the latents of an autoencoder of such features went."""
        profile, mixture = self.profile, self.mixture(dim, seed, radius)
        how = Learning(steps=profile.mixed_steps, batch_size=512, points=profile.mixed_points, held_out=16_384)
        settings = dict(dim=dim, latents=latents, seed=seed, features=profile.features, alpha=profile.alpha,
                        radius=list(radius))

        def made() -> dict[str, Any]:
            sae = learn(mixture.sample(how.points), latents, how, seed=seed)
            found = spending(mixture, sae, mixture.sample(how.held_out, seed=1), how.sparsity)
            return dict(spent=found.spent.tolist(), living=found.living, loss=found.loss)

        kept = self._kept("manifold-mixtures", settings | dataclasses.asdict(how), made)
        return Spending(np.asarray(kept["spent"]), kept["living"], kept["loss"])

    def predicted(self, dim: int, latents: int, radius: tuple[float, float] = HOLLOW) -> Allocation:
        """The best split of so many latents over these features, from what training reached on one sphere."""
        return self.mixture(dim, radius=radius).predicted(self.toy(dim, radius), latents, Learning().sparsity)

    def drawn(self, dim: int, latents: int, seed: int, *, from_data: bool,
              radius: tuple[float, float] = HOLLOW) -> int:
        """Features found without training: by random directions, or by as many samples that are not 0."""
        mixture = self.mixture(dim, seed, radius)
        if from_data:
            x = mixture.sample(100 + 10 * latents, seed=2)
            return int((mixture.spent(x[x.norm(dim=1) > 0][:latents]) > 0).sum())
        random = torch.randn(latents, mixture.channels, generator=torch.Generator().manual_seed(seed))
        return int((mixture.spent(random) > 0).sum())

    def _kept(self, kind: str, settings: dict[str, Any], make: Any) -> dict[str, Any]:
        artefact = Artefact(kind, VERSION, settings)
        folder = self._cache.get(artefact, lambda part: write_json(part / "found.json", make()))
        return read_json(folder / "found.json")


class LayerSpending(NamedTuple):
    """What a sparse autoencoder of a layer did with its latents; `layer_spending` gives it.

    >>> LayerSpending._fields[:3]
    ('living', 'loss', 'alpha')
    """

    living: int
    """Latents that fire on held-out images."""
    loss: float
    """Share of the variance of held-out activations that is not explained."""
    alpha: float
    """From the firing frequencies, see `frequency_alpha`."""
    alpha_ends: tuple[float, float]
    """The same from the ranks up to `MIDDLE` alone, and from those beyond; equal if it is a power law."""
    nearest: float
    """Mean cosine of a living latent's decoder vector with the nearest other one."""
    nearest_data: float
    """The same of as many data points about their mean."""
    nearest_start: float
    """The same of these latents before training."""
    moved: float
    """Mean cosine of a living latent's decoder vector with what it was before training; 1 if it has learned nothing."""
    families: int | None
    """Clusters of fitted blocks up to the group; None for too many latents."""
    families_data: int | None
    """The same of as many data points."""
    families_start: int | None
    """The same of these latents before training, with blocks fitted to them."""


def layer_spending(run: Run, latents: int, *, seed: int = 0, steps: int | None = None,
                   most_compared: int = 2048) -> LayerSpending:
    """Train the run's sparse autoencoder with so many latents, for its profile's steps or `steps`; see where they went.

    Families, by average linkage of the similarity up to the group at 0.7 (as in the answer key), are counted for at
    most `most_compared` latents. ValueError as for `Run.coder`.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=8, points_per_image=16, k=4, steps=5, batch_size=32, work=work.name)
    >>> found = layer_spending(run, 32)
    >>> 0 < found.families <= found.living <= 32
    True
    >>> work.cleanup()
    """
    changes = dict(latents=latents, seed=seed) | ({} if steps is None else dict(steps=steps))
    sae, start = run.coder("sae", **changes), _untrained(run, latents, seed)
    met, plain = run.evaluate(sae), IdentityBlocks(run.orbits("train"))
    alive = torch.from_numpy(np.flatnonzero(met.frequency > 0)).to(sae.device)
    frequency = firing_frequency(sae, run.orbits("train"))
    points = data_dictionary(plain, len(alive), seed=seed)[:, 0]
    learned, before = (coder.dictionary.detach()[alive, 0] for coder in (sae, start))
    families: list[int | None] = [None, None, None]
    if latents <= most_compared:
        fitted = run.fitted(**changes).dictionary.detach()[alive]
        drawn = data_dictionary(run.orbits("train"), len(alive), seed=seed)
        unlearned = fit_blocks(start, run.orbits("train"), ridge=FITTED_RIDGE).dictionary.detach()[alive]
        families = [count_families(D, run.group) for D in (fitted, drawn, unlearned)]
    return LayerSpending(len(alive), 1 - met.fve_identity, frequency_alpha(frequency),
                         (frequency_alpha(frequency, (ENDS[0], MIDDLE)), frequency_alpha(frequency, (MIDDLE, ENDS[1]))),
                         nearest_cosine(learned), nearest_cosine(points), nearest_cosine(before),
                         float(torch.nn.functional.cosine_similarity(learned, before).mean()), *families)


def _untrained(run: Run, latents: int, seed: int) -> SparseAutoencoder:
    """The run's sparse autoencoder of this seed at the start of its training."""
    settings, source = run.profile, run.training_source("sae")
    coder = SparseAutoencoder(run.model.channels, latents, activation=settings.activation, k=settings.k, seed=seed,
                              scale=source.scale).to(run.device)
    coder.begin(next(source.batches(settings.batch_size, seed=seed)).to(run.device))
    return coder


def frequency_alpha(frequency: Float[np.ndarray, " m"], ends: tuple[float, float] = ENDS) -> float:
    """alpha of a power law p_i ~ i^-(1 + alpha), a straight line through log frequency against log rank.

    Only ranks between these shares of the living latents count: the first few are too few, the last too rare to know.
    ValueError for fewer than three of them.

    >>> round(frequency_alpha(np.arange(1, 201) ** -1.5), 3)
    0.5
    """
    ordered = np.sort(frequency[frequency > 0])[::-1]
    rank = np.arange(1, len(ordered) + 1)
    used = (rank >= ends[0] * len(ordered)) & (rank <= ends[1] * len(ordered))
    if used.sum() < 3:
        raise ValueError(f"{int(used.sum())} of {len(ordered)} living latents lie between the shares {ends}; expected "
                         "three or more")
    return float(-np.polyfit(np.log(rank[used]), np.log(ordered[used]), 1)[0] - 1)


def count_families(D: Float[Tensor, "m g d"], G: FiniteGroup, *, similar: float = SIMILAR) -> int:
    """How many families dictionary vectors form, single ones counted: average linkage of S, cut at `similar`.

    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.symmetry import act
    >>> f = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0))
    >>> count_families(torch.cat([f, act(f, cyclic(4), 1)]), cyclic(4))
    2
    """
    if len(D) < 2:
        return len(D)
    gap = distance(max_cosine(D, G).cpu())
    linkage = require("sklearn.cluster", "families").AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - similar)
    return len(set(linkage.fit_predict(gap).tolist()))


def nearest_cosine(D: Float[Tensor, "m d"]) -> float:
    """Mean over dictionary vectors of the cosine with the nearest other one: near 1 for tiles of a manifold.

    >>> angles = torch.arange(12) * (2 * torch.pi / 12)
    >>> round(nearest_cosine(torch.stack([angles.cos(), angles.sin()], dim=1)), 3)  # that of 30 degrees
    0.866
    """
    unit = torch.nn.functional.normalize(D, dim=1)
    return float(nearest_relative(unit @ unit.T).mean())
