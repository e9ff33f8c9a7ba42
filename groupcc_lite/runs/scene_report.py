"""What the chapters on equivariant SAEs measure, and the numbers that their reports and the replication table hold.

A chapter hands over plain measurements by base model, coder and seed. What comes back are report rows: under each key a
value and a note. A profile need not have every base model or every k; a number that it does not measure is `ABSENT`,
never left out. Source of the experiments: Erdogan & Lucic 2025, sections 3 to 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.answers import ProbeScores
from groupcc_lite.coders import EquivariantSAE, SparseAutoencoder, TransformMatrix
from groupcc_lite.runs.scene_run import SceneRun, Splice
from groupcc_lite.stimuli import FAMILIES, Task

CODER_NAMES = {"activations": "activations", "sae": "SAE", "wide": "wide SAE", "deep": "two-layer SAE",
               "equivariant": "equivariant SAE", "inferred": "element inferred", "invariant": "without M"}
"""What figures and tables call the coders, and the readings of an equivariant SAE's reconstruction."""
ABSENT = "not in this profile"
"""Stands in a report for a number that belongs to another base model or k."""
COMPARED = ("sae", "wide", "deep", "equivariant")
READINGS = (("activations", "activations"), *((name, "latents") for name in COMPARED),
            *((name, "reconstructions") for name in COMPARED), ("inferred", "inferred"), ("invariant", "invariant"))
"""(reading, view) of everything that is probed: a coder, the activations, or another reading of a reconstruction."""

Rows = dict[str, tuple[Any, str]]
_BASES = ("mlp", "cnn")
_KS = (8, 16, 32)
_SHORT = {"adam": "adam", "identity": "identity", "least squares": "ls", "procrustes": "procrustes",
          "penalty": "penalty", "adam, projected": "adam_projected", "exact": "exact",
          "procrustes, projected": "procrustes_exact", "powers of M, Adam": "adam", "powers of M, least squares": "ls",
          "one map per angle": "per_angle"}


# ------------------------------------------------------------------------------------------------- measurements

class Invariance(NamedTuple):
    """How alike a coder's latents are on the images of an orbit.

    >>> Invariance(cosine=1.0, favourite=0.25).favourite  # fires for each of four turns alike
    0.25
    """

    cosine: float
    """Mean cosine between the latents of the canonical image and of its moved copies; 1 if they are the same."""
    favourite: float
    """Share of a latent's firing that falls on its favourite element, the median over living latents; 1 / |G| for a
    latent that fires for all elements alike."""


@torch.no_grad()
def invariance(coder: SparseAutoencoder | EquivariantSAE, x: Float[Tensor, "b g d"]) -> Invariance:
    """`Invariance` of the latents on orbits of activations, on the device of the coder.

    >>> coder = SparseAutoencoder(2, 8, activation="topk", k=2).eval()
    >>> alike = torch.randn(20, 1, 2).expand(-1, 4, -1)  # the turns change nothing
    >>> invariance(coder, alike).favourite
    0.25
    """
    x = x.to(coder.device)
    f = torch.stack([coder.encode(x[:, g]) for g in range(x.shape[1])], 1)
    unit = torch.nn.functional.normalize(f, dim=-1)
    fires = (f > 0).float().mean(0)
    alive = fires.sum(0) > 0
    favourite = (fires.amax(0) / fires.sum(0))[alive]
    return Invariance(float((unit[:, :1] * unit[:, 1:]).sum(-1).mean()), float(favourite.median()))


@torch.no_grad()
def canonical_fve(coder: EquivariantSAE, x: Float[Tensor, "b g d"]) -> float:
    """Share of the variance of the canonical activations x[:, 0] that the invariant SAE explains from all blocks.

    >>> from groupcc_lite.groups import cyclic
    >>> coder = EquivariantSAE(cyclic(4), 2, 8, k=2).eval()
    >>> canonical_fve(coder, torch.randn(20, 4, 2)) < 1
    True
    """
    x = x.to(coder.device)
    guess = torch.stack([coder.sae.decode(coder.encode(x[:, g]))[:, 0] for g in range(x.shape[1])], 1)
    total = x.shape[1] * (x[:, 0] - x[:, 0].mean(0)).square().sum()
    return float(1 - (guess - x[:, :1]).square().sum() / total)


@torch.no_grad()
def far_powers(M: TransformMatrix, x: Float[Tensor, "b g d"], upto: int = 12) -> list[float]:
    """R^2 about the mean of M^p x[:, 0], p = 1 .. `upto`, against x[:, p mod |G|]: what errors add up to.

    For one generator, the quarter turn of a cyclic group. ValueError for a group with more.

    >>> from groupcc_lite.groups import cyclic
    >>> alike = torch.randn(20, 1, 2).expand(-1, 4, -1)
    >>> far_powers(TransformMatrix(cyclic(4), 2), alike, upto=3)  # a new M is the identity
    [1.0, 1.0, 1.0]
    """
    if len(M.M) != 1:
        raise ValueError(f"M has {len(M.M)} generators; expected 1, whose powers are taken")
    y, total, out = x[:, 0], (x - x.mean(0)).square().sum((0, 2)), []
    for p in range(1, upto + 1):
        y = y @ M.M[0].T
        g = p % x.shape[1]
        out.append(float(1 - (y - x[:, g]).square().sum() / total[g]))
    return out


class Probed(NamedTuple):
    """What probes have read.

    >>> Probed("mlp", "sae", "latents", k=16, kept=8).view
    'latents'
    """

    base: str
    reading: str
    """A coder, "activations", or "inferred" or "invariant" for other readings of the equivariant SAE."""
    view: str
    """One of `scene_run.VIEWS`."""
    k: int
    kept: int
    """How many latents were kept for each task."""


def probe_readings(study: SceneRun) -> dict[Probed, list[ProbeScores]]:
    """Scores of all `READINGS`, for every base model, k and number of latents kept: one entry per seed.

    >>> len(READINGS), probe_readings(SceneRun("smoke", base_models=()))
    (11, {})
    """
    profile, found = study.profile, {}
    for base in profile.base_models:
        for kept in profile.truncations:
            for k in profile.ks:
                for reading, view in READINGS:
                    coder = {"activations": "sae", "inferred": "equivariant", "invariant": "equivariant"}.get(
                        reading, reading)  # for activations the coder plays no part
                    found[Probed(base, reading, view, k, kept)] = [
                        study.probe(base, coder, k, view, kept, seed) for seed in study.coder_seeds(k)]
    return found


def family_f1(scores: Sequence[ProbeScores], tasks: Sequence[Task], probe: str = "xgboost") -> dict[str, list[float]]:
    """Mean F1 by task family and over "all" tasks, one number for each seed's scores.

    `probe`: one of `answers.PROBES`, or "best" for the one with the highest mean. ValueError if the tasks do not fit.

    >>> scores = ProbeScores(np.array([[0.5], [0.7]]), probes=("knn",))
    >>> family_f1([scores], [Task("S", 0), Task("SP", 0, position=1)], "knn")["SP"]
    [0.7]
    """
    found: dict[str, list[float]] = {family: [] for family in (*FAMILIES, "all")}
    for of_seed in scores:
        f1 = of_seed.of(of_seed.best_probe() if probe == "best" else probe)
        if len(f1) != len(tasks):
            raise ValueError(f"scores are of {len(f1)} tasks, but {len(tasks)} tasks are given")
        for family, values in found.items():
            values.append(_mean(v for v, t in zip(f1, tasks, strict=True) if family in (t.family, "all")))
    return found


# -------------------------------------------------------------------------------------------------- report rows

def matrix_rows(fits: Mapping[tuple[str, str], Sequence[Mapping[str, Tensor]]],
                seconds: Mapping[tuple[str, str], float]) -> Rows:
    """Rows on one matrix M: R^2 about zero and about the mean, averaged over powers, and the seconds of a fit.

    `fits`: for (base, method) and each seed the R^2 of every power, about "zero" and about "mean".

    >>> matrix_rows({}, {})["r2_adam_mean_cnn"]
    ('not in this profile', 'R² about the mean, M by adam, CNN')
    """
    rows: Rows = {}
    for base in _BASES:
        for method in ("adam", "identity", "least squares", "procrustes"):
            for about in ("zero", "mean"):
                values = [float(of_seed[about].mean()) for of_seed in fits.get((base, method), ())]
                key = f"r2_{_SHORT[method]}_{about}_{base}"
                rows[key] = _mean(values), (f"R² about {'zero' if about == 'zero' else 'the mean'}, M by {method}, "
                                            f"{base.upper()}")
                if len(values) > 1:
                    rows[f"{key}_std"] = float(np.std(values, ddof=1)), ""
            rows[f"seconds_{_SHORT[method]}_{base}"] = seconds.get((base, method), ABSENT), ""
    return rows


def coder_rows(invariances: Mapping[str, Invariance], splices: Mapping[tuple[str, str, int], Sequence[Splice]],
               canonical: Mapping[tuple[str, str], Sequence[float]]) -> Rows:
    """Rows on the coders themselves: invariance of latents, splicing, canonical activations explained.

    `invariances` by coder; `splices` by (base, coder, k), one for each seed; `canonical`, what `canonical_fve` gives,
    by (base, coder), one for each seed.

    >>> coder_rows({"sae": Invariance(0.1, 0.9)}, {}, {})["latent_cosine_sae"]
    (0.1, 'cosine of latents under turns, SAE')
    """
    rows: Rows = {}
    for name, (cosine, favourite) in invariances.items():
        rows[f"latent_cosine_{name}"] = cosine, f"cosine of latents under turns, {CODER_NAMES[name]}"
        rows[f"favourite_{name}"] = (favourite,
                                     f"share of a latent's firing at its favourite turn, {CODER_NAMES[name]}")
    for (base, name, k), of_seeds in splices.items():
        for field in Splice._fields:
            rows[f"splice_{field}_{base}_{name}_k{k}"] = _mean(getattr(s, field) for s in of_seeds), ""
    for base in _BASES:
        for name, told in (("equivariant", CODER_NAMES["equivariant"]), ("shallow", "linear encoder")):
            rows[f"canonical_fve_{name}_{base}"] = (_mean(canonical.get((base, name), ())),
                                                    f"canonical activations explained, {told}, {base.upper()}")
    return rows | _splice_claims(splices)


def _splice_claims(splices: Mapping[tuple[str, str, int], Sequence[Splice]]) -> Rows:
    """What the paper claims about reconstruction and sparsity, counted over base models, k and seeds."""
    settings = sorted({(base, k) for base, _, k in splices})
    ks = sorted({k for _, k in settings})

    def pairs(one: str, other: str, only: Iterable[int] = ks) -> list[tuple[Splice, Splice]]:
        """The splices of two coders with the same base model, k and seed."""
        return [pair for base, k in settings if k in only
                for pair in zip(splices[base, one, k], splices[base, other, k], strict=True)]

    rows: Rows = {
        "share_loss_behind_sae": (_mean(mine.loss > sae.loss for mine, sae in pairs("equivariant", "sae")), ""),
        "loss_ratio_to_wide_small_k": (_mean(mine.loss / wide.loss
                                             for mine, wide in pairs("equivariant", "wide", ks[:1])), ""),
        "share_l1_above_sae": (_mean(mine.l1 > sae.l1 for mine, sae in pairs("equivariant", "sae")), ""),
        "share_M_helps": (_mean(mine.loss < mine.invariant_loss for mine, _ in pairs("equivariant", "sae")), "")}
    for name in ("equivariant", "deep"):
        spans = [largest.l1 / smallest.l1 for base in dict.fromkeys(base for base, _ in settings)
                 for largest, smallest in zip(splices[base, name, ks[-1]], splices[base, name, ks[0]], strict=False)]
        rows[f"l1_span_{name}"] = (_mean(spans) if len(ks) > 1 else ABSENT,
                                   f"L1 at the largest k divided by that at the smallest, {CODER_NAMES[name]}")
    return rows


def probe_rows(scores: Mapping[Probed, Sequence[ProbeScores]], tasks: Sequence[Task]) -> Rows:
    """Rows on probes: F1 of every reading by task family, and what the paper claims, counted over all setups.

    A setup is a base model, a k and a number of latents kept. F1 is XGBoost's, the paper's best probe; means over
    seeds. ValueError if a family has no task.

    >>> tasks = [Task("S", 0), Task("SO", 0, orientation=1), Task("SP", 0, position=2), Task("SPO", 0, 2, 1)]
    >>> half = ProbeScores(np.full((4, 1), 0.5), probes=("xgboost",))
    >>> scores = {Probed("mlp", *reading, k=8, kept=8): [half] for reading in READINGS}
    >>> probe_rows(scores, tasks)["share_latents_best_on_s"][0]  # nothing is better than anything else
    0.0
    """
    if missing := [family for family in FAMILIES if all(task.family != family for task in tasks)]:
        raise ValueError(f"tasks has none of {', '.join(missing)}; expected at least one of each family")
    f1 = {probed: family_f1(of_seeds, tasks) for probed, of_seeds in scores.items()}
    rows: Rows = {}
    for (base, reading, view, k, kept), found in f1.items():
        name = f"{base}_{reading}_{view}_k{k}_t{kept}"
        rows |= {f"f1_{family}_{name}": (_mean(values), "") for family, values in found.items()}
        if len(found["all"]) > 1:
            rows[f"f1_sd_{name}"] = (float(np.std(found["all"], ddof=1)),
                                     "standard deviation over seeds of the mean F1 of all tasks")
    best = [_mean(family_f1(of_seeds, tasks, "best")["all"]) for probed, of_seeds in scores.items()
            if probed.view in ("latents", "reconstructions") and probed.reading != "equivariant"]
    rows["saturated"] = (_mean(value > 0.99 for value in best),
                         "share of settings in which the best probe on a coder that is not invariant has a mean F1 "
                         "above 0.99")
    rows["share_xgboost_best"] = _mean(s.best_probe() == "xgboost" for of in scores.values() for s in of), ""
    return rows | _setup_rows({probed: {family: _mean(values) for family, values in found.items()}
                               for probed, found in f1.items()})


def _setup_rows(f1: Mapping[Probed, Mapping[str, float]]) -> Rows:
    """The paper's claims about probes, over setups (base, k, kept)."""
    setups = sorted({(p.base, p.k, p.kept) for p in f1}, key=lambda s: (_BASES.index(s[0]), *s[1:]))

    def of(setup: tuple[str, int, int], reading: str, view: str, family: str = "all") -> float:
        base, k, kept = setup
        return f1[Probed(base, reading, view, k, kept)][family]

    rows: Rows = {
        "setups": (len(setups), "setups: base model, k and truncation"),
        "share_latents_best_on_s": (_mean(
            of(s, "equivariant", "latents", "S") > max(of(s, o, "latents", "S") for o in ("sae", "wide", "deep"))
            for s in setups), ""),
        "share_latents_above_activations_on_s": (_mean(
            of(s, "equivariant", "latents", "S") >= of(s, "activations", "activations", "S") for s in setups), "")}
    for family in FAMILIES:
        for reading in ("equivariant", "deep", "sae", "wide"):
            rows[f"latents_{reading}_{family}"] = (_mean(of(s, reading, "latents", family) for s in setups),
                                                   f"F1 of probes on latents, {CODER_NAMES[reading]}, {family}")
        rows[f"activations_{family}"] = _mean(of(s, "activations", "activations", family) for s in setups), ""
        for reading, view in READINGS[5:]:
            rows[f"reconstructions_{reading}_{family}"] = (
                _mean(of(s, reading, view, family) for s in setups),
                f"F1 of probes on reconstructions, {CODER_NAMES[reading]}, {family}")
    for k in _KS:
        mine = [s for s in setups if s[1] == k]
        rows[f"deep_minus_best_one_layer_k{k}"] = (
            _mean(of(s, "deep", "latents") - max(of(s, o, "latents") for o in ("sae", "wide")) for s in mine),
            f"F1 on latents: two-layer SAE minus the better one-layer SAE, k = {k}")
        rows[f"equivariant_minus_deep_k{k}"] = (
            _mean(of(s, "equivariant", "reconstructions") - of(s, "deep", "reconstructions") for s in mine),
            f"F1 on reconstructions: equivariant SAE minus two-layer SAE, k = {k}")
    for reading, view in (("equivariant", "reconstructions"), ("inferred", "inferred"), ("invariant", "invariant")):
        rows[f"share_{reading}_beats_regular_and_wide"] = (_mean(
            of(s, reading, view, family) > max(of(s, o, "reconstructions", family) for o in ("sae", "wide"))
            for s in setups for family in FAMILIES), "")
    return rows


def relation_rows(far: Mapping[tuple[str, str], Sequence[float]], errors: Mapping[tuple[str, str], float],
                  pairs: Mapping[tuple[str, str], tuple[float, float, float]]) -> Rows:
    """Rows on relations: how far M^|G| is from I, R^2 of high powers, and two generators.

    `far`, what `far_powers` gives, and `errors` by (base, method); `pairs` by (base, method): R^2 about the mean of
    turns and of mirrors, and the largest violation of a relation.

    >>> relation_rows({}, {("mlp", "exact"): 1e-6}, {})["relation_error_exact_mlp"]
    (1e-06, 'largest entry of M⁴ - I, exact, MLP')
    """
    rows: Rows = {}
    for base in _BASES:
        for method in ("adam", "penalty", "adam, projected", "least squares", "exact", "procrustes, projected"):
            rows[f"relation_error_{_SHORT[method]}_{base}"] = (errors.get((base, method), ABSENT),
                                                               f"largest entry of M⁴ - I, {method}, {base.upper()}")
            for p in (1, 4, 12):
                found = far.get((base, method))
                rows[f"far_r2_{_SHORT[method]}_{base}_p{p}"] = (
                    ABSENT if found is None else found[p - 1],
                    f"R² about the mean of M to the power {p}, {method}, {base.upper()}")
        for method in ("least squares", "exact", "identity"):
            told = ("R² about the mean, turns", "R² about the mean, mirrors", "largest violation of a relation")
            for place, what in enumerate(("turns", "mirrors", "relation_error")):
                found = pairs.get((base, method))
                rows[f"pair_{what}_{_SHORT[method]}_{base}"] = (
                    ABSENT if found is None else found[place],
                    f"two generators, {method}, {base.upper()}: {told[place]}")
    return rows


def layer_rows(linearity: Mapping[str, Sequence[float] | Tensor], half_turn: int) -> Rows:
    """Rows on a layer's activations at single points: R^2 about the mean after one step and after `half_turn` steps.

    `linearity`: R^2 of every element, by the way of predicting.

    >>> layer_rows({"one map per angle": [1.0, 0.6, 0.5]}, half_turn=2)["layer_per_angle_half_turn"]
    (0.5, 'R² about the mean after half a turn, one map per angle')
    """
    rows: Rows = {}
    for name, values in linearity.items():
        rows[f"layer_{_SHORT[name]}_one_step"] = float(values[1]), f"R² about the mean after one step, {name}"
        rows[f"layer_{_SHORT[name]}_half_turn"] = (float(values[half_turn]),
                                                   f"R² about the mean after half a turn, {name}")
    return rows


def _mean(values: Iterable[float]) -> float | str:
    """The mean as a plain number, or `ABSENT` of nothing."""
    values = list(values)
    return float(np.mean(values)) if values else ABSENT
