"""The numbers that reports of the chapters on equivariant SAEs, and the replication table, hold.

A chapter hands over plain measurements by base model, coder and seed. What comes back are report rows: under each key a
`Row`. A profile need not have every base model or every k; a number that it does not measure is `ABSENT`, never left
out. A difference below its own interval is a tie: neither a win nor a loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.answers import ProbeScores
from groupcc_lite.base import interval_of
from groupcc_lite.runs.reports import Report
from groupcc_lite.runs.scene_measures import (
    ABSENT,
    CODER_NAMES,
    READINGS,
    Additivity,
    Invariance,
    Probed,
    family_f1,
    mean_of,
)
from groupcc_lite.runs.scene_run import Splice
from groupcc_lite.stimuli import FAMILIES, Task


class Row(NamedTuple):
    """A number of a report, as `Report.number` takes it."""

    value: Any
    note: str = ""
    n: int | None = None
    interval: tuple[float, float] | None = None
    over: str = ""
    internal: bool = False
    """True for what tables and figures show in another form, or what only feeds others."""


Rows = dict[str, Row]
_BASES = ("mlp", "cnn")
_KS = (8, 16, 32)
_SHORT = {"adam": "adam", "identity": "identity", "least squares": "ls", "procrustes": "procrustes",
          "penalty": "penalty", "adam, projected": "adam_projected", "exact": "exact",
          "procrustes, projected": "procrustes_exact", "ridge": "ridge", "ridge, exact": "ridge_exact",
          "powers of M, Adam": "adam", "powers of M, least squares": "ls",
          "one map per angle": "per_angle"}


def record(report: Report, rows: Rows) -> None:
    """Hand every row to a report.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = Report(folder, "11_one_matrix", "smoke")
    ...     record(report, {"setups": Row(2, "setups", n=2)})
    >>> report.numbers["setups"]["value"]
    2
    """
    for key, row in rows.items():
        report.number(key, row.value, note=row.note, n=row.n, interval=row.interval, over=row.over,
                      internal=row.internal)


def matrix_rows(fits: Mapping[tuple[str, str], Sequence[Mapping[str, Tensor]]],
                seconds: Mapping[tuple[str, str], float],
                nulls: Mapping[tuple[str, str], Sequence[Additivity]]) -> Rows:
    """Rows on one matrix M: R^2 about zero and about the mean, averaged over powers, and the seconds of a fit.

    `fits`: for (base, method) and each seed the R^2 of every power, about "zero" and about "mean". `nulls`: for (base,
    "trained" or "untrained") and each seed what `additivity` measures. What only the chapter's own table shows is
    internal.

    >>> matrix_rows({}, {}, {})["r2_adam_mean_cnn"].value
    'not in this profile'
    """
    rows: Rows = {}
    for base in _BASES:
        for method in ("adam", "identity", "least squares", "procrustes"):
            for about in ("zero", "mean"):
                values = [float(of_seed[about].mean()) for of_seed in fits.get((base, method), ())]
                found = _over_seeds(values, f"R² about {'zero' if about == 'zero' else 'the mean'}, M by {method}, "
                                            f"{base.upper()}")
                rows[f"r2_{_SHORT[method]}_{about}_{base}"] = found._replace(
                    internal=method == "procrustes" or (method, about) == ("least squares", "zero"))
            rows[f"seconds_{_SHORT[method]}_{base}"] = Row(
                seconds.get((base, method), ABSENT), f"seconds for M by {method}, {base.upper()}",
                internal=method in ("identity", "procrustes"))
        of = nulls.get((base, "untrained"), ())
        rows[f"r2_untrained_{base}"] = _over_seeds(
            [null.r2 for null in of], f"R² about the mean, M by least squares, untrained {base.upper()}")
        for kind in ("untrained", "trained"):
            rows[f"additive_{kind}_{base}"] = _over_seeds(
                [null.additive for null in nulls.get((base, kind), ())],
                f"variance that a sum over quadrants explains, {kind} {base.upper()}")
    return rows


def coder_rows(invariances: Mapping[str, Invariance], splices: Mapping[tuple[str, str, int], Sequence[Splice]],
               canonical: Mapping[tuple[str, str], Sequence[float]],
               sweep: Mapping[tuple[int, int], tuple[float, Invariance]] = MappingProxyType({})) -> Rows:
    """Rows on the coders themselves: invariance of latents, splicing, canonical activations explained.

    `invariances` by coder; `splices` by (base, coder, k), one for each seed; `canonical`, what `canonical_fve` gives,
    by (base, coder), one for each seed; `sweep` by (latents, steps): `canonical_fve` and `Invariance`.

    >>> coder_rows({"sae": Invariance(0.1, 0.9, 0.1, 0.0)}, {}, {})["latent_cosine_sae"].value
    0.1
    """
    rows: Rows = {}
    for name, (cosine, favourite, unrelated, dead) in invariances.items():
        told = CODER_NAMES[name]
        rows[f"latent_cosine_{name}"] = Row(cosine, f"cosine of latents under turns, {told}")
        rows[f"unrelated_cosine_{name}"] = Row(unrelated, f"cosine of latents of different scenes, {told}")
        rows[f"favourite_{name}"] = Row(favourite, f"share of a latent's firing at its favourite turn, {told}")
        rows[f"dead_{name}"] = Row(dead, f"share of latents that never fire, {told}")
    for (base, name, k), of_seeds in splices.items():
        for field in Splice._fields:
            value = mean_of(getattr(s, field) for s in of_seeds)
            rows[f"splice_{field}_{base}_{name}_k{k}"] = Row(value, internal=True)
    for base in _BASES:
        for name, told in (("equivariant", CODER_NAMES["equivariant"]), ("shallow", "linear encoder")):
            rows[f"canonical_fve_{name}_{base}"] = _over_seeds(
                canonical.get((base, name), ()), f"canonical activations explained, {told}, {base.upper()}")
        pairs = zip(canonical.get((base, "equivariant"), ()), canonical.get((base, "shallow"), ()), strict=False)
        rows[f"linear_encoder_loses_{base}"] = _over_seeds(
            [two - one for two, one in pairs], f"canonical activations explained, two layers minus one, {base.upper()}")
    return rows | _sweep_rows(sweep) | _splice_claims(splices)


def _sweep_rows(sweep: Mapping[tuple[int, int], tuple[float, Invariance]]) -> Rows:
    """What happens to the sharing of latents when there are few of them, or training is long."""
    rows: Rows = {}
    for (latents, steps), (fve, found) in sweep.items():
        name = f"m{latents}_s{steps}"
        rows |= {f"sweep_fve_{name}": Row(fve, internal=True), f"sweep_cosine_{name}": Row(found.cosine, internal=True),
                 f"sweep_unrelated_{name}": Row(found.unrelated, internal=True),
                 f"sweep_favourite_{name}": Row(found.favourite, internal=True),
                 f"sweep_dead_{name}": Row(found.dead, internal=True)}
    longest = max((steps for _, steps in sweep), default=0)
    sizes = sorted({latents for latents, steps in sweep if steps == longest})
    for place, told in ((0, "fewest"), (-1, "most")):
        key = (sizes[place], longest) if sizes else None
        fve, found = sweep[key] if key else (ABSENT, None)
        note = f"{key[0]} latents, {longest} batches" if key else ""
        rows |= {f"{told}_latents_fve": Row(fve, f"canonical activations explained, {note}"),
                 f"{told}_latents_cosine": Row(found.cosine if found else ABSENT,
                                               f"cosine of latents under turns, {note}"),
                 f"{told}_latents_favourite": Row(found.favourite if found else ABSENT,
                                                  f"share of a latent's firing at its favourite turn, {note}")}
    return rows


def _splice_claims(splices: Mapping[tuple[str, str, int], Sequence[Splice]]) -> Rows:
    """What the paper claims about reconstruction and sparsity, counted over base models, k and seeds."""
    settings = sorted({(base, k) for base, _, k in splices})
    ks = sorted({k for _, k in settings})

    def pairs(one: str, other: str, only: Iterable[int] = ks) -> list[tuple[Splice, Splice]]:
        """The splices of two coders with the same base model, k and seed."""
        return [pair for base, k in settings if k in only
                for pair in zip(splices[base, one, k], splices[base, other, k], strict=True)]

    def share(wins: Iterable[bool], note: str) -> Row:
        wins = [float(win) for win in wins]
        return Row(mean_of(wins), note, n=len(wins), over="base models, k and seeds")

    ratios = [[mine.loss / wide.loss for mine, wide in zip(
        splices[base, "equivariant", k], splices[base, "wide", k], strict=True)] for base, k in settings if k in ks[:1]]
    rows: Rows = {
        "share_loss_behind_sae": share((mine.loss > sae.loss for mine, sae in pairs("equivariant", "sae")),
                                       "share of settings with a larger spliced loss than the SAE's"),
        "loss_ratio_to_wide_small_k": _over_cells(ratios, "spliced loss divided by the wide SAE's, smallest k",
                                                  "base models"),
        "share_l1_above_sae": share((mine.l1 > sae.l1 for mine, sae in pairs("equivariant", "sae")),
                                    "share of settings with a larger L1 norm than the SAE's"),
        "share_M_helps": share((mine.loss < mine.invariant_loss for mine, _ in pairs("equivariant", "sae")),
                               "share of settings with a smaller spliced loss with M than without"),
        "sae_fve": Row(mean_of(s.fve for (_, name, _), of in splices.items() if name == "sae" for s in of),
                       "variance of the activations that the SAE explains, all k")}
    rows |= {f"loss_ratio_spread_{base}": Row(
        float(np.std([m.loss / w.loss for m, w in pairs_of], ddof=1)) if len(pairs_of) > 1 else ABSENT,
        f"the same ratio's standard deviation over seeds, {base.upper()}, at the k that has several")
        for base in _BASES for pairs_of in [max(
            (list(zip(splices[base, "equivariant", k], splices[base, "wide", k], strict=True))
             for b, k in settings if b == base), key=len, default=[])]}
    for name in ("equivariant", "deep"):
        spans = [[largest.l1 / smallest.l1 for largest, smallest in zip(
            splices[base, name, ks[-1]], splices[base, name, ks[0]], strict=False)]
            for base in dict.fromkeys(base for base, _ in settings)]
        rows[f"l1_span_{name}"] = _over_cells(
            spans if len(ks) > 1 else (), f"L1 at the largest k divided by that at the smallest, {CODER_NAMES[name]}",
            "base models")
    return rows


def probe_rows(scores: Mapping[Probed, Sequence[ProbeScores]], tasks: Sequence[Task]) -> Rows:
    """Rows on probes: F1 of every reading by task family, and what the paper claims, counted over all setups.

    A setup is a base model, a k and a number of latents kept. F1 is XGBoost's, the paper's best probe; means over
    seeds. In a setup and a family one coder beats another as `verdict` says; else they tie. Setups share coders and
    base models, so intervals are over seeds, and where there is one seed there are none. ValueError if a family has no
    task.

    >>> tasks = [Task("S", 0), Task("SO", 0, orientation=1), Task("SP", 0, position=2), Task("SPO", 0, 2, 1)]
    >>> half = ProbeScores(np.full((4, 1), 0.5), probes=("xgboost",))
    >>> scores = {Probed("mlp", *reading, k=8, kept=8): [half] for reading in READINGS}
    >>> probe_rows(scores, tasks)["latents_s_few_wins"].value  # nothing is better than anything else
    0
    """
    if missing := [family for family in FAMILIES if all(task.family != family for task in tasks)]:
        raise ValueError(f"tasks has none of {', '.join(missing)}; expected at least one of each family")
    f1 = {probed: family_f1(of_seeds, tasks) for probed, of_seeds in scores.items()}
    rows: Rows = {}
    for (base, reading, view, k, kept), found in f1.items():
        name = f"{base}_{reading}_{view}_k{k}_t{kept}"
        rows |= {f"f1_{family}_{name}": Row(mean_of(values), internal=True) for family, values in found.items()}
    best = [mean_of(family_f1(of_seeds, tasks, "best")["all"]) for probed, of_seeds in scores.items()
            if probed.view in ("latents", "reconstructions") and probed.reading != "equivariant"]
    rows["saturated"] = Row(mean_of(value > 0.99 for value in best),
                            "share of settings in which the best probe on a coder that is not invariant has a mean F1 "
                            "above 0.99", n=len(best), over="settings")
    winners = [s.best_probe() == "xgboost" for of in scores.values() for s in of]
    rows["share_xgboost_best"] = Row(mean_of(winners), "share of sets of scores in which XGBoost has the best mean F1",
                                     n=len(winners), over="sets of scores")
    return rows | _setup_rows(scores, tasks)


def paper_probe_rows(scores: Mapping[str, Float[np.ndarray, " p"]]) -> Rows:
    """Rows on the paper's own logistic regression: mean F1 over settings, and how often XGBoost is above it.

    `scores`: by probe ("knn", "logistic", "xgboost", and "100 steps" and the like) the mean F1 in every setting, of one
    seed. Settings share base models, so there is no interval.

    >>> paper_probe_rows({"xgboost": np.array([0.9]), "100 steps": np.array([0.5])})["xgboost_beats_100_steps"].value
    1.0
    """
    rows: Rows = {}
    for name, values in scores.items():
        short = name.replace(" ", "_").replace(",", "")
        rows[f"probe_f1_{short}"] = Row(mean_of(values), f"mean F1 of all tasks, {name}", n=len(values),
                                        over="settings")
        if name != "xgboost":
            rows[f"xgboost_beats_{short}"] = Row(mean_of(scores["xgboost"] > values),
                                                 f"share of settings in which XGBoost scores above {name}",
                                                 n=len(values), over="settings")
    return rows


def verdict(differences: Float[np.ndarray, "s t"] | Float[np.ndarray, " t"]) -> int:
    """1 if the mean difference is above 0 by more than its 95 % interval, -1 if it is as far below, 0 for a tie.

    `differences` by seed and task. With two seeds or more the interval is over seeds, of the means over tasks. With one
    it is over tasks, for that one coder: it says nothing about another training. An interval without width, from
    differences that are all equal, has not measured any spread: a tie, as `Emergence.holds` takes it.

    >>> verdict(np.array([0.1, 0.12, 0.09])), verdict(np.array([0.1, -0.1, 0.0])), verdict(np.array([0.1]))
    (1, 0, 0)
    >>> verdict(np.array([[0.1, 0.1, 0.1], [-0.1, -0.1, -0.1]]))  # two seeds that disagree
    0
    """
    table = np.atleast_2d(differences)
    independent = table.mean(1) if len(table) > 1 else table[0]
    if len(independent) < 2:
        return 0
    low, high = interval_of(independent)
    return int(0 < low < high) - int(low < high < 0)


Setup = tuple[str, int, int]
"""Base model, k, and how many latents are kept."""


class _Setups:
    """F1 of XGBoost by seed and task in every setup (base, k, latents kept)."""

    def __init__(self, scores: Mapping[Probed, Sequence[ProbeScores]], tasks: Sequence[Task]):
        self.scores = scores
        self.setups = sorted({(p.base, p.k, p.kept) for p in scores}, key=lambda s: (_BASES.index(s[0]), *s[1:]))
        kept = [setup[2] for setup in self.setups]
        self.kept = {"few": min(kept, default=0), "many": max(kept, default=0)}
        self.tasks = {family: np.array([family in (task.family, "all") for task in tasks])
                      for family in (*FAMILIES, "all")}

    def of(self, setup: Setup, reading: str, view: str, family: str = "all") -> Float[np.ndarray, "s t"]:
        """F1 of every task of a family, for every seed."""
        base, k, t = setup
        seeds = [s.of("xgboost") for s in self.scores[Probed(base, reading, view, k, t)]]
        return np.array(seeds)[:, self.tasks[family]]

    def against(self, setup: Setup, mine: tuple[str, str], others: Sequence[str],
                family: str = "all") -> Float[np.ndarray, "s t"]:
        """F1 of one reading minus that of the best other coder in the coders' own view, the one with the best mean."""
        view = "latents" if mine[1] == "latents" else "reconstructions"
        best = max((self.of(setup, other, view, family) for other in others), key=np.mean)
        return self.of(setup, *mine, family) - best


def _setup_rows(scores: Mapping[Probed, Sequence[ProbeScores]], tasks: Sequence[Task]) -> Rows:
    """The paper's claims about probes, over setups (base, k, kept)."""
    table = _Setups(scores, tasks)
    rows: Rows = {"setups": Row(len(table.setups), "setups: base model, k and truncation")}
    rows |= _scarce_rows(table)
    for family in FAMILIES:
        rows |= _family_rows(table, family)
    for k in _KS:
        rows |= _rows_at_k(table, k)
    for reading, view in (("equivariant", "reconstructions"), ("inferred", "inferred"), ("invariant", "invariant")):
        mine = [table.against(s, (reading, view), ("sae", "wide"), family)
                for s in table.setups for family in FAMILIES]
        rows |= _contest(f"{reading}_against_regular_and_wide", mine,
                         f"F1 on reconstructions minus the better of SAE and wide SAE, {CODER_NAMES[reading]}")
    return rows


def _scarce_rows(table: _Setups) -> Rows:
    """On the tasks S, from the fewest and the most latents."""
    rows: Rows = {}
    for size, count in table.kept.items():
        setups = [s for s in table.setups if s[2] == count]
        mine = [table.against(s, ("equivariant", "latents"), ("sae", "wide", "deep"), "S") for s in setups]
        rows |= _contest(f"latents_s_{size}", mine, f"F1 on S from {count} latents, equivariant SAE minus best other")
        mine = [table.against(s, ("equivariant", "reconstructions"), ("sae", "wide"), "S") for s in setups]
        rows |= _contest(f"reconstructions_s_{size}", mine,
                         f"F1 on S from reconstructions of {count} latents, equivariant SAE minus SAE or wide")
    mine = [table.of(s, "equivariant", "latents", "S") - table.of(s, "activations", "activations", "S")
            for s in table.setups]
    rows["share_latents_above_activations_on_s"] = Row(
        mean_of(v.mean() >= 0 for v in mine), "share of setups in which latents reach the base activations on S",
        n=len(mine), over="setups")
    return rows


def _family_rows(table: _Setups, family: str) -> Rows:
    """F1 on one family of tasks, by coder and view, and how far latents drop from the tasks S."""
    rows: Rows = {}
    few = table.kept["few"]
    drop = [table.of(s, "equivariant", "latents", family).mean(1) - table.of(s, "equivariant", "latents", "S").mean(1)
            for s in table.setups if s[2] == few]
    if family != "S":
        rows[f"latents_drop_{family}"] = _over_cells(
            drop, f"F1 from {few} latents of the equivariant SAE on {family} minus that on S")

    def add(key: str, reading: str, view: str, note: str) -> None:
        values = (table.of(s, reading, view, family).mean() for s in table.setups)
        rows[f"{key}_{family}"] = Row(mean_of(values), f"F1 of probes on {note}, {family}", internal=True)

    for reading in ("equivariant", "deep", "sae", "wide"):
        add(f"latents_{reading}", reading, "latents", f"latents, {CODER_NAMES[reading]}")
    add("activations", "activations", "activations", "the activations")
    for reading, view in READINGS[5:]:
        add(f"reconstructions_{reading}", reading, view, f"reconstructions, {CODER_NAMES[reading]}")
    return rows


def _rows_at_k(table: _Setups, k: int) -> Rows:
    """What a second layer of the encoder does on latents, and the equivariant SAE against it on reconstructions."""
    setups = [s for s in table.setups if s[1] == k]
    deep = [table.against(s, ("deep", "latents"), ("sae", "wide")).mean(1) for s in setups]
    ours = [table.against(s, ("equivariant", "reconstructions"), ("deep",)).mean(1) for s in setups]
    return {f"deep_minus_best_one_layer_k{k}": _over_cells(
                deep, f"F1 on latents: two-layer SAE minus the better one-layer SAE, k = {k}"),
            f"equivariant_minus_deep_k{k}": _over_cells(
                ours, f"F1 on reconstructions: equivariant SAE minus two-layer SAE, k = {k}")}


def _contest(name: str, differences: Sequence[np.ndarray], note: str) -> Rows:
    """The mean of some differences, each by seed and task, and how many of them are a win, a tie or a loss."""
    found = [verdict(by_seed) for by_seed in differences]
    rows = {name: _over_cells([by_seed.mean(1) for by_seed in differences], note)}
    for told, sign in (("wins", 1), ("ties", 0), ("losses", -1)):
        rows[f"{name}_{told}"] = Row(found.count(sign), f"{note}: {told}", n=len(found), over="setups")
    return rows


def relation_rows(far: Mapping[tuple[str, str], Sequence[float]], errors: Mapping[tuple[str, str], float],
                  pairs: Mapping[tuple[str, str], tuple[float, float, float]],
                  in_use: Mapping[tuple[str, str], Sequence[float]] = MappingProxyType({})) -> Rows:
    """Rows on relations: how far M^|G| is from I, R^2 of high powers, M in use, and two generators.

    `far`, what `far_powers` gives, and `errors` by (base, method); `pairs` by (base, method): R^2 about the mean of
    turns and of mirrors, and the largest violation of a relation; `in_use` by (base, method), what `explained_in_use`
    gives for each seed.

    >>> relation_rows({}, {("mlp", "exact"): 1e-6}, {})["relation_error_exact_mlp"].value
    1e-06
    """
    rows: Rows = {}
    for base in _BASES:
        for method in ("adam", "penalty", "adam, projected", "least squares", "exact", "procrustes, projected"):
            rows[f"relation_error_{_SHORT[method]}_{base}"] = Row(
                errors.get((base, method), ABSENT), f"largest entry of M⁴ - I, {method}, {base.upper()}", internal=True)
            for p in (1, 4, 12):
                found = far.get((base, method))
                rows[f"far_r2_{_SHORT[method]}_{base}_p{p}"] = Row(
                    ABSENT if found is None else found[p - 1],
                    f"R² about the mean of M to the power {p}, {method}, {base.upper()}", internal=True)
        for method in ("adam", "adam, projected", "least squares", "exact", "ridge", "ridge, exact"):
            rows[f"use_fve_{_SHORT[method]}_{base}"] = _over_seeds(
                in_use.get((base, method), ()),
                f"variance that the equivariant SAE explains with M by {method}, {base.upper()}")
        for method in ("least squares", "exact", "identity"):
            told = ("R² about the mean, turns", "R² about the mean, mirrors", "largest violation of a relation")
            for place, what in enumerate(("turns", "mirrors", "relation_error")):
                found = pairs.get((base, method))
                rows[f"pair_{what}_{_SHORT[method]}_{base}"] = Row(
                    ABSENT if found is None else found[place],
                    f"two generators, {method}, {base.upper()}: {told[place]}", internal=method == "identity")
    return rows


def layer_rows(linearity: Mapping[str, Sequence[float] | Tensor], half_turn: int) -> Rows:
    """Rows on a layer's activations at single points: R^2 about the mean after one step and after `half_turn` steps.

    `linearity`: R^2 of every element, by the way of predicting.

    >>> layer_rows({"one map per angle": [1.0, 0.6, 0.5]}, half_turn=2)["layer_per_angle_half_turn"].value
    0.5
    """
    rows: Rows = {}
    for name, values in linearity.items():
        rows[f"layer_{_SHORT[name]}_one_step"] = Row(float(values[1]), f"R² about the mean after one step, {name}")
        rows[f"layer_{_SHORT[name]}_half_turn"] = Row(float(values[half_turn]),
                                                      f"R² about the mean after half a turn, {name}")
    return rows


def _over_seeds(values: Sequence[float], note: str) -> Row:
    """The mean of one number for each seed with its interval, or `ABSENT` of nothing."""
    numbers = [float(v) for v in values]
    return Row(mean_of(numbers), note, n=len(numbers) or None, over="seeds",
               interval=interval_of(numbers) if len(numbers) > 1 else None)


def _over_cells(cells: Sequence[Iterable[float]], note: str, what: str = "setups") -> Row:
    """The mean over cells of the mean over seeds, with an interval over seeds where some cells have several.

    Cells share what was trained: two numbers of latents kept are read from one coder, all k from one base model. Only
    seeds are independent, so Student's t is taken over them: over each seed's mean in the cells that have all seeds. A
    cell with fewer seeds leans on its own, which widens the interval: the mean is a sum over seeds with weights w, and
    its standard error s sqrt(sum w^2), as if a seed did the same to all cells. With equal weights that is s / sqrt(S).
    With one seed there is no interval. Base models are fixed: an interval says nothing about a third one.
    """
    cells = [np.asarray(cell, dtype=np.float64) for cell in cells]
    count = max(map(len, cells), default=0)
    if count < 2:
        return Row(mean_of(cell.mean() for cell in cells), note, n=len(cells) or None, over=f"{what}, one seed")
    value = float(np.mean([cell.mean() for cell in cells]))
    of_seed = np.mean([cell for cell in cells if len(cell) == count], axis=0)
    weights = np.mean([np.where(np.arange(count) < len(cell), 1 / len(cell), 0) for cell in cells], axis=0)
    low, high = interval_of(of_seed)
    reach = (high - low) / 2 * float(np.sqrt(count * np.square(weights).sum()))
    return Row(value, note, n=count, over="seeds", interval=(value - reach, value + reach))
