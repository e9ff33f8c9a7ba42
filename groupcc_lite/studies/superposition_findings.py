"""Toys with more features than dimensions, attacked: over sparsities, other interventions, and training on attacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.base import Artefact, Cache, read_json, write_json
from groupcc_lite.runs import SuperpositionProfile, get_superposition_profile
from groupcc_lite.superposition import (
    SparseFeatures,
    Toys,
    antipodal_share,
    attack_gain,
    effective_features,
    features_per_dimension,
    gradient_step,
    interference,
    pgd,
    planar_attack,
    random_noise,
    represented,
    train_toys,
)

VERSION = 1
"""Of what `SuperpositionStudy` keeps. Raise it when the same settings give another result."""
SHARE = 0.1
"""eps as a share of the mean norm, where only one is used."""
HELD_OUT = 1_000_000
"""Seed of the samples that are attacked; training draws from others."""
NOISES = 4
"""Directions of noise for each sample."""
AMPLITUDE = 0.5
"""Of features that are attacked one at a time: their mean."""


class ToyTable(NamedTuple):
    """Measures of toys, (entries, seeds), an entry being a sparsity or a strength; `SuperpositionStudy` gives it.

    What depends on eps, a loss or `radius`, is (shares, entries, seeds). Losses are means over held-out samples.

    >>> one = np.ones((1, 1, 2))
    >>> table = ToyTable(*[one[0]] * 12, one, 2 * one, 1.5 * one, 1.1 * one)
    >>> table.ratio(0).tolist(), table.added(0).tolist()
    ([[2.0, 2.0]], [[1.0, 1.0]])
    """

    per_dimension: Float[np.ndarray, "e s"]
    """`features_per_dimension`."""
    represented: Float[np.ndarray, "e s"]
    """Features with a direction, longer than 1/2."""
    length: Float[np.ndarray, "e s"]
    """Mean squared length of their directions."""
    effective: Float[np.ndarray, "e s"]
    """psi, `effective_features` of x_i ||w_i||^2: features per dimension, each counting as it is used."""
    antipodal: Float[np.ndarray, "e s"]
    """`antipodal_share`."""
    overlap: Float[np.ndarray, "e s"]
    """Mean `interference` of a feature, over all."""
    gain: Float[np.ndarray, "e s"]
    """Mean `attack_gain` of a represented feature."""
    spread: Float[np.ndarray, "e s"]
    """Sum of all features' gains, over the least that this many features per dimension allow: 1 if every dimension is
    used alike."""
    clean: Float[np.ndarray, "e s"]
    """Loss of clean samples."""
    others: Float[np.ndarray, "e s"]
    """Features alone: share of an attack's squared length that is on inputs of other features."""
    own: Float[np.ndarray, "e s"]
    """Features alone: |cosine| of the attack and the overlaps W^T w_i of this feature."""
    strange: Float[np.ndarray, "e s"]
    """The same with another feature's overlaps."""
    radius: Float[np.ndarray, "r e s"]
    """eps."""
    attacked: Float[np.ndarray, "r e s"]
    """Loss under an attack of many steps."""
    one_step: Float[np.ndarray, "r e s"]
    """Loss after one step along the gradient."""
    noisy: Float[np.ndarray, "r e s"]
    """Loss under noise of norm eps."""

    def ratio(self, share: int, loss: str = "attacked") -> Float[np.ndarray, "e s"]:
        """Loss over clean loss, for the share of this number."""
        return getattr(self, loss)[share] / self.clean

    def added(self, share: int, loss: str = "attacked") -> Float[np.ndarray, "e s"]:
        """(Loss - clean loss) / eps^2: 1 for a model that passes whole dimensions on as they are."""
        return (getattr(self, loss)[share] - self.clean) / self.radius[share] ** 2


class SuperpositionStudy:
    """Toys of a superposition profile, trained and attacked once, their measures kept in `work`.

    ValueError for an unknown profile.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> study = SuperpositionStudy("smoke", work=work.name)
    >>> study.penalised().per_dimension.shape, study.sparse().attacked.shape
    ((2, 2), (3, 4, 2))
    >>> work.cleanup()
    """

    def __init__(self, profile: str | SuperpositionProfile = "book", seed: int = 0, *, work: str | Path):
        self.profile, self.seed = get_superposition_profile(profile), seed
        self._cache = Cache(work)

    @property
    def seeds(self) -> list[int]:
        """Of the toys: each begins with a W of its own and sees samples of its own."""
        return [self.seed + number for number in range(self.profile.seeds)]

    def sparse(self) -> ToyTable:
        """Toys of all sparsities of the profile, attacked with all its shares."""
        return self._table(self.profile.sparsities, self.profile.shares)

    def tied(self) -> ToyTable:
        """Toys whose data have the defect that rare features are strong: `tied_amplitude`."""
        return self._table(self.profile.tied, [SHARE], tied_amplitude=True)

    def penalised(self) -> ToyTable:
        """Toys of the fixed sparsity, with a penalty on overlaps, for each of its weights."""
        return self._table([self.profile.fixed] * len(self.profile.overlaps), [SHARE],
                           overlap=list(self.profile.overlaps))

    def decayed(self, sparsity: float) -> ToyTable:
        """Toys of one sparsity with weight decay, for each of its strengths."""
        return self._table([sparsity] * len(self.profile.decays), [SHARE], weight_decay=list(self.profile.decays))

    def roomy(self) -> ToyTable:
        """Toys of the fixed sparsity with more dimensions, for each number of the profile."""
        each = [self._table([self.profile.fixed], [SHARE], dimensions=m) for m in self.profile.rooms]
        return ToyTable(*(np.concatenate(parts, axis=-2) for parts in zip(*each, strict=True)))

    @property
    def trainings(self) -> list[tuple[float, float]]:
        """(sparsity, share) of the toys that are trained on changed inputs, in the order of `trained_on`."""
        return [(sparsity, share) for sparsity in self.profile.trained
                for share in (self.profile.shares if sparsity == self.profile.fixed else [SHARE])]

    def trained_on(self, kind: str) -> ToyTable:
        """Toys trained on "attacked" or "noisy" inputs, an entry for each of `trainings`, attacked with the share 0.1.

        ValueError for another kind.
        """
        sparsities, shares = zip(*self.trainings, strict=True)
        return self._table(sparsities, [SHARE], train_on=kind, share=list(shares))

    def _table(self, sparsities: Sequence[float], attacks: Sequence[float], *, tied_amplitude: bool = False,
               dimensions: int | None = None, **training: Any) -> ToyTable:
        profile = self.profile
        m = profile.dimensions if dimensions is None else dimensions
        settings = dict(sparsities=list(sparsities), attacks=list(attacks), tied=tied_amplitude, training=training,
                        seeds=self.seeds, dimensions=m) | {name: getattr(profile, name) for name in (
                            "features", "steps", "batch_size", "attack_steps", "samples")}

        def made() -> dict[str, Any]:
            data = SparseFeatures(list(sparsities), profile.features, tied_amplitude)
            each = []
            for seed in self.seeds:  # one seed at a time stays in a processor's cache, all at once do not
                toys = train_toys(data, m, seeds=[seed], steps=profile.steps,
                                  batch_size=profile.batch_size, learning_rate=0.02, **training)
                each.append(_measured(toys, attacks, profile))
            return {name: np.stack([one[name] for one in each], -1).tolist() for name in ToyTable._fields}

        artefact = Artefact("superposition-toys", VERSION, settings)
        folder = self._cache.get(artefact, lambda part: write_json(part / "found.json", made()))
        kept = read_json(folder / "found.json")
        return ToyTable(*(np.asarray(kept[name]) for name in ToyTable._fields))


def _measured(toys: Toys, shares: Sequence[float], profile: SuperpositionProfile) -> dict[str, np.ndarray]:
    """All measures of a stack, by name: one number a model, or (shares, models)."""
    there = (toys.W.norm(dim=1) > 0.5).float()
    per_dimension, gain, m = features_per_dimension(toys.W), attack_gain(toys.W), toys.W.shape[1]
    found = dict(per_dimension=per_dimension, represented=represented(toys.W), antipodal=antipodal_share(toys.W),
                 overlap=interference(toys.W).mean(1), gain=(gain * there).sum(1) / there.sum(1),
                 length=(toys.W.square().sum(1) * there).sum(1) / there.sum(1),
                 spread=gain.sum(1) / (m * per_dimension ** 2))
    x = toys.samples(profile.samples, HELD_OUT)
    used = x * toys.W.square().sum(1)[:, None]
    found["effective"] = torch.tensor([effective_features(part, m) for part in used])
    found |= dict(clean=toys.errors(x, x).mean(1)) | _alone(toys, there, profile.attack_steps)
    losses = [_under(toys, x, share, profile.attack_steps) for share in shares]
    found |= {name: torch.stack([loss[name] for loss in losses]) for name in losses[0]}
    return {name: value.double().numpy() for name, value in found.items()}


def _under(toys: Toys, x: Float[Tensor, "k b n"], share: float, steps: int) -> dict[str, Float[Tensor, " k"]]:
    """Mean losses of samples that are changed in three ways, by the same radius."""
    loss, eps = toys.loss_about(x), toys.radius(share)
    noises = [loss(random_noise(x, eps, lead=2, seed=HELD_OUT + draw)).mean(1) for draw in range(NOISES)]
    return dict(radius=eps[:, 0], attacked=loss(pgd(loss, x, eps, steps=steps, seed=HELD_OUT)).mean(1),
                one_step=loss(gradient_step(loss, x, eps)).mean(1), noisy=torch.stack(noises).mean(0))


def _alone(toys: Toys, there: Float[Tensor, "k n"], steps: int) -> dict[str, Float[Tensor, " k"]]:
    """Attacks on one feature at a time, held against what overlaps with it; means over represented features."""
    x = AMPLITUDE * torch.eye(toys.data.features).expand(len(toys), -1, -1)
    attack = pgd(toys.loss_about(x), x, SHARE * AMPLITUDE, steps=steps, seed=HELD_OUT) - x
    attack = torch.nn.functional.normalize(attack, dim=2)
    overlaps = torch.nn.functional.normalize(toys.W.transpose(1, 2) @ toys.W, dim=2)
    own = (attack * overlaps).sum(2).abs()
    strange = (attack * overlaps.roll(1, 1)).sum(2).abs()
    others = 1 - attack.diagonal(dim1=1, dim2=2).square()
    return {name: (value * there).sum(1) / there.sum(1)
            for name, value in dict(others=others, own=own, strange=strange).items()}


def matched(per_dimension: Float[np.ndarray, "e s"], values: Float[np.ndarray, "_ _"],
            at: Float[np.ndarray, " _"]) -> Float[np.ndarray, " s"]:
    """A measure where an intervention has brought features per dimension to `at`, each seed for itself.

    Between strengths it is taken from a straight line; NaN beyond the weakest and the strongest. ValueError for shapes
    that do not fit.

    >>> per_dimension, values = np.array([[4.0, 4.0], [2.0, 2.0]]), np.array([[8.0, 9.0], [2.0, 3.0]])
    >>> matched(per_dimension, values, np.array([3.0, 5.0]))
    array([ 5., nan])
    """
    if per_dimension.shape != values.shape or at.shape != values.shape[1:]:
        raise ValueError(f"per_dimension has shape {per_dimension.shape}, values {values.shape} and at {at.shape}; "
                         "expected twice (entries, seeds), and (seeds,)")
    order = per_dimension.argsort(0)
    x, y = (np.take_along_axis(part, order, 0) for part in (per_dimension, values))
    return np.array([np.interp(at[s], x[:, s], y[:, s], left=np.nan, right=np.nan) for s in range(len(at))])


@dataclasses.dataclass(frozen=True)
class AgainstExact:
    """How close attacks come to the strongest one in the plane, each as the loss it adds over what that adds.

    >>> AgainstExact(many_steps=0.99, one_step=0.5, noise=0.1).many_steps
    0.99
    """

    many_steps: float
    one_step: float
    noise: float


def against_exact(toys: Toys, share: float = SHARE, *, samples: int = 50, steps: int = 20) -> AgainstExact:
    """Attack toys with two dimensions by `pgd` and by one step, beside `planar_attack`, which is exact.

    Means over held-out samples of every toy. ValueError for toys of other dimensions, or settings that do not fit.

    >>> toys = train_toys(SparseFeatures([0.9], features=5), dimensions=2, steps=300)
    >>> found = against_exact(toys, samples=20)
    >>> found.noise < found.one_step < found.many_steps < 1.0001
    True
    """
    if toys.W.shape[1] != 2:
        raise ValueError(f"the toys have {toys.W.shape[1]} dimensions; expected 2, where the strongest attack is known")
    x = toys.samples(samples, HELD_OUT)
    W, b, inputs = (part.double().numpy() for part in (toys.W, toys.b, x))
    eps, clean = toys.radius(share), float(toys.errors(x, x).mean())
    exact = np.mean([planar_attack(W[k], b[k], inputs[k, i], float(eps[k])).loss
                     for k in range(len(toys)) for i in range(samples)])
    found = _under(toys, x, share, steps)
    most = float(exact) - clean
    return AgainstExact(*((float(found[name].mean()) - clean) / most for name in ("attacked", "one_step", "noisy")))
