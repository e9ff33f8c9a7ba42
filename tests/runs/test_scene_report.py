"""What the chapters on equivariant SAEs report, counted by hand."""

import numpy as np
import pytest
import torch
from probe_scores import TASKS, scores

from groupcc_lite.answers import STEPS
from groupcc_lite.answers.probing import PROBES
from groupcc_lite.base import interval_of, read_json
from groupcc_lite.runs import scene_report
from groupcc_lite.runs.reports import Report
from groupcc_lite.runs.scene_measures import ABSENT, READINGS, Additivity, Invariance, Probed
from groupcc_lite.runs.scene_report import (
    coder_rows,
    layer_rows,
    matrix_rows,
    paper_probe_rows,
    probe_rows,
    record,
    relation_rows,
    verdict,
)
from groupcc_lite.runs.scene_run import Splice
from groupcc_lite.runs.study_profiles import SCENE_PROFILES
from groupcc_lite.stimuli import Task


def values(rows: dict) -> dict:
    return {key: row.value for key, row in rows.items()}


def test_rows_of_one_matrix_average_powers_then_seeds_and_say_what_is_absent():
    powers = torch.tensor([0.9, 0.7, 0.8, 0.8])
    fits = {("mlp", "adam"): [dict(zero=powers, mean=powers - 0.2), dict(zero=powers, mean=powers)]}
    nulls = {("mlp", "untrained"): [Additivity((0.8, 0.9), 0.9), Additivity((0.7, 0.8), 0.8)]}
    rows = matrix_rows(fits, {("mlp", "adam"): 3.0}, nulls)
    found = values(rows)
    assert found["r2_untrained_mlp"] == pytest.approx(0.8) and found["additive_untrained_mlp"] == pytest.approx(0.85)
    assert found["r2_untrained_cnn"] == ABSENT == found["additive_trained_mlp"]
    assert rows["r2_untrained_mlp"].n == 2 and rows["r2_untrained_mlp"].interval[0] < 0.8
    assert found["r2_adam_zero_mlp"] == pytest.approx(0.8) and found["r2_adam_mean_mlp"] == pytest.approx(0.7)
    low, high = rows["r2_adam_mean_mlp"].interval
    assert low + high == pytest.approx(2 * 0.7) and found["seconds_adam_mlp"] == 3.0
    assert found["r2_ls_mean_cnn"] == ABSENT == found["seconds_ls_mlp"] and rows["r2_ls_mean_mlp"].interval is None
    assert rows["r2_procrustes_mean_mlp"].internal and not rows["r2_adam_mean_mlp"].internal


def splice(loss: float, *, plain: float = 1.0, l1: float = 1.0) -> Splice:
    return Splice(loss=loss, base_loss=0.5, invariant_loss=plain, fve=0.9, l1=l1, l0=8.0, dead=0.0)


def test_claims_about_splicing_are_counted_over_base_models_k_and_seeds():
    table = {(base, name, k): [splice(1.0, l1=k)] for base in ("mlp", "cnn") for k in (8, 16)
             for name in ("sae", "wide", "deep")}
    table |= {("mlp", "equivariant", 8): [splice(3.0, plain=4.0, l1=5)],
              ("mlp", "equivariant", 16): [splice(0.5, l1=20)],
              ("cnn", "equivariant", 8): [splice(1.0, plain=0.5, l1=5)],
              ("cnn", "equivariant", 16): [splice(2.0, plain=3.0, l1=10)]}
    found = values(coder_rows({"sae": Invariance(0.1, 0.9, 0.05, 0.5)}, table,
                              {("mlp", "shallow"): [0.4, 0.6], ("mlp", "equivariant"): [0.5, 0.8]}))
    assert found["linear_encoder_loses_mlp"] == pytest.approx(0.15) and found["linear_encoder_loses_cnn"] == ABSENT
    assert found["unrelated_cosine_sae"] == 0.05 and found["dead_sae"] == 0.5 and found["sae_fve"] == 0.9
    assert found["share_loss_behind_sae"] == 0.5 and found["share_M_helps"] == 0.75
    assert found["share_l1_above_sae"] == 0.25 and found["loss_ratio_to_wide_small_k"] == 2
    assert found["l1_span_deep"] == 2 and found["l1_span_equivariant"] == 3  # the means of 2, 2 and of 4, 2
    assert found["splice_loss_mlp_equivariant_k8"] == 3 and found["latent_cosine_sae"] == 0.1
    assert found["canonical_fve_shallow_mlp"] == 0.5 and found["canonical_fve_shallow_cnn"] == ABSENT


def test_a_single_k_has_no_span():
    table = {("mlp", name, 8): [splice(1.0)] for name in ("sae", "wide", "deep", "equivariant")}
    assert values(coder_rows({}, table, {}))["l1_span_deep"] == ABSENT


def test_the_sweep_reports_its_ends_after_the_longest_training():
    sweep = {(m, steps): (m / 100 + steps / 1e4, Invariance(1 / m, 0.25, 0.1, 0.0)) for steps in (10, 20)
             for m in (32, 8)}
    rows = coder_rows({}, {}, {}, sweep)
    assert rows["fewest_latents_cosine"].value == 1 / 8 and rows["most_latents_fve"].value == pytest.approx(0.322)
    assert rows["sweep_favourite_m8_s10"].internal and "8 latents, 20 batches" in rows["fewest_latents_fve"].note
    assert coder_rows({}, {}, {})["fewest_latents_fve"].value == ABSENT


def probed(special: dict, *, bases=("mlp",), ks=(8,), kept=(8,), other=(0.5, 0.5, 0.5, 0.5), seeds=1) -> dict:
    """Scores of every reading, those in `special`, by (reading, view), instead of the others."""
    return {Probed(base, reading, view, k, t): [scores(*special.get((reading, view), other)) for _ in range(seeds)]
            for base in bases for t in kept for k in ks for reading, view in READINGS}


def test_claims_about_probes_are_counted_over_setups_and_families():
    mine = {("equivariant", "latents"): (0.9, 0.1, 0.1, 0.1), ("activations", "activations"): (0.9, 0.9, 0.9, 0.9),
            ("deep", "latents"): (0.6, 0.6, 0.6, 0.6), ("inferred", "inferred"): (0.6, 0.4, 0.5, 0.7),
            ("equivariant", "reconstructions"): (0.6, 0.7, 0.8, 0.9)}
    rows = probe_rows(probed(mine, kept=(8, 32)), TASKS)
    found = values(rows)
    assert found["setups"] == 2 and found["latents_s_few"] == pytest.approx(0.3) == found["latents_s_many"]
    assert found["latents_s_few_ties"] == 1 and found["latents_s_few_wins"] == 0  # one task has no interval
    assert found["share_latents_above_activations_on_s"] == 1  # as good is enough
    assert found["reconstructions_s_few"] == pytest.approx(0.1) and found["share_xgboost_best"] == 1
    assert found["equivariant_against_regular_and_wide"] == pytest.approx(0.25)
    assert found["inferred_against_regular_and_wide"] == pytest.approx(0.05)
    assert found["deep_minus_best_one_layer_k8"] == pytest.approx(0.1)
    assert found["equivariant_minus_deep_k8"] == pytest.approx(0.25)
    assert found["equivariant_minus_deep_k16"] == ABSENT and found["saturated"] == 0
    assert found["latents_equivariant_S"] == 0.9 and found["reconstructions_inferred_SPO"] == 0.7
    assert found["latents_drop_SO"] == pytest.approx(-0.8)
    assert all(row.internal for key, row in rows.items() if key.startswith("f1_"))


def test_a_difference_below_its_interval_is_a_tie():
    """Three tasks S; the equivariant SAE is better by the same in all, then in one only, then nowhere."""
    tasks, table = (*TASKS, Task("S", 1), Task("S", 2)), probed({}, bases=("mlp",), ks=(8, 16, 32))
    rest = (0.5, 0.5, 0.5)
    for probe in table:
        table[probe] = [scores(0.5, *rest, 0.5, 0.5)]
    for k, mine in ((8, (0.9, 0.89, 0.91)), (16, (0.9, 0.5, 0.5)), (32, (0.4, 0.41, 0.39))):
        table[Probed("mlp", "equivariant", "latents", k, 8)] = [scores(mine[0], *rest, *mine[1:])]
    found = values(probe_rows(table, tasks))
    assert [found[f"latents_s_few_{of}"] for of in ("wins", "ties", "losses")] == [1, 1, 1]
    assert verdict(np.zeros(5)) == 0 and verdict(np.array([1.0, 1.1, 0.9])) == 1


def simulated(rng, *, base=0.0, seed=0.0, coder=0.0, read=0.0, repeated=(8, 16, 32)) -> list[np.ndarray]:
    """Differences around 0 as they come about: of 2 base models, 3 k and 2 numbers of latents kept, by seed."""
    of_base, of_seed = rng.normal(size=2) * base, rng.normal(size=(2, 3)) * seed
    cells = []
    for b in range(2):
        for k in (8, 16, 32):
            of_coder = rng.normal(size=3) * coder
            cells += [(of_base[b] + of_seed[b] + of_coder + rng.normal(size=3) * read)[:3 if k in repeated else 1]
                      for _ in range(2)]
    return cells


@pytest.mark.parametrize("spread", [dict(seed=1.0, coder=0.1, read=0.1), dict(coder=1.0, read=0.1), dict(read=1.0)])
@pytest.mark.parametrize("repeated", [(8, 16, 32), (16,)])
def test_the_interval_over_seeds_covers_as_often_as_it_says(spread, repeated):
    """Whatever varies. All numbers taken as independent, as earlier, cover far less where coders are shared."""
    rng, draws, inside, naive = np.random.default_rng(0), 1500, 0, 0
    for _ in range(draws):
        cells = simulated(rng, **spread, repeated=repeated)
        low, high = scene_report._over_cells(cells, "").interval
        inside += low <= 0 <= high
        low, high = interval_of([cell.mean() for cell in cells])
        naive += low <= 0 <= high
    assert inside / draws > 0.935 and (len(repeated) < 3 or inside / draws < 0.965)
    if spread.get("seed"):
        assert naive / draws < 0.8


def test_one_seed_gives_no_interval_and_setups_are_not_taken_for_seeds():
    mine = {("equivariant", "latents"): (0.9, 0.1, 0.1, 0.1)}
    one = probe_rows(probed(mine, bases=("mlp", "cnn"), ks=(8, 16, 32), kept=(8, 32)), TASKS)
    assert not [key for key, row in one.items() if row.interval is not None]
    assert one["latents_s_few"].n == 6 and one["latents_s_few"].over == "setups, one seed"
    of_seeds = probed(mine, ks=(8, 16), kept=(8, 32), seeds=3)
    assert probe_rows(of_seeds, TASKS)["latents_s_few_wins"].value == 0  # equal seeds have measured no spread
    for probe, found in of_seeds.items():
        if probe.reading == "equivariant":
            found[1:] = scores(0.91, 0.1, 0.1, 0.1), scores(0.89, 0.1, 0.1, 0.1)
    several = probe_rows(of_seeds, TASKS)
    assert several["latents_s_few"].n == 3 and several["latents_s_few"].over == "seeds"
    assert several["latents_s_few"].interval == pytest.approx((0.375, 0.425), abs=5e-4)
    assert several["latents_s_few_wins"].value == 2  # three seeds agree, though S has one task


def test_a_verdict_over_seeds_does_not_take_tasks_for_seeds():
    tasks = np.array([0.1, 0.11, 0.09, 0.1])
    assert verdict(tasks) == verdict(tasks[None]) == 1  # this one coder
    assert verdict(np.stack([tasks, tasks - 0.2, tasks])) == 0
    assert verdict(np.stack([-tasks, -tasks * 1.01, -tasks])) == -1


@pytest.mark.parametrize("differences", [np.full((2, 4), 0.25), np.full((2, 4), -0.25), np.full(3, 0.25)])
def test_equal_differences_have_measured_no_spread_and_are_a_tie(differences):
    assert verdict(differences) == 0


def test_rows_of_the_papers_probe_and_their_record(tmp_path):
    rows = paper_probe_rows({"xgboost": np.array([0.9, 0.8]), "1,000 steps": np.array([0.5, 0.85])})
    assert rows["xgboost_beats_1000_steps"].value == 0.5 and "xgboost_beats_xgboost" not in rows
    report = Report(tmp_path, "12_probes", "book")
    record(report, rows)
    entry = report.numbers["probe_f1_xgboost"]
    assert entry["n"] == 2 and entry["value"] == pytest.approx(0.85) and "internal" not in entry
    assert "interval" not in entry  # settings share a base model


def test_a_family_without_tasks_is_refused():
    with pytest.raises(ValueError, match="tasks has none of SP, SPO; expected at least one of each family"):
        probe_rows({}, TASKS[:2])


def test_saturation_counts_the_best_probe_of_coders_that_are_not_invariant():
    table = probed({})
    for (base, reading, view, k, kept) in table:
        if reading in ("sae", "equivariant"):
            table[Probed(base, reading, view, k, kept)] = [scores(0, 0, 0, 0, best=1.0)]
    found = values(probe_rows(table, TASKS))
    assert found["saturated"] == pytest.approx(2 / 6) and found["share_xgboost_best"] == pytest.approx(1 - 4 / 11)


def test_rows_of_relations_and_of_a_layer():
    far = {("mlp", "exact"): [0.9, 0.8, 0.7, *[0.6] * 7, 0.5, 0.4]}
    found = values(relation_rows(far, {("mlp", "exact"): 1e-6}, {("cnn", "exact"): (0.9, 0.8, 1e-5)}))
    assert [found[f"far_r2_exact_mlp_p{p}"] for p in (1, 4, 12)] == [0.9, 0.6, 0.4]
    assert found["relation_error_exact_mlp"] == 1e-6 and found["relation_error_exact_cnn"] == ABSENT
    assert found["pair_mirrors_exact_cnn"] == 0.8 and found["pair_relation_error_exact_cnn"] == 1e-5
    layer = values(layer_rows({"one map per angle": [1.0, 0.6, 0.5]}, half_turn=2))
    assert layer == {"layer_per_angle_one_step": 0.6, "layer_per_angle_half_turn": 0.5}


def test_the_published_reports_have_the_rows_of_their_profile_and_no_others(root):
    bases, ks, seeds = ("mlp", "cnn"), (8, 16, 32), 3
    pair, method = (0.9, 0.8, 1e-5), ("identity", "adam", "least squares", "procrustes")
    profile = SCENE_PROFILES["inception"]
    blind = Invariance(0.1, 0.9, 0.1, 0.0)
    made = {
        "11_one_matrix": matrix_rows({(b, m): [dict(zero=torch.ones(4), mean=torch.ones(4))] * seeds
                                      for b in bases for m in method}, {}, {}),
        "12_probes": coder_rows(
            {name: blind for name in ("sae", "wide", "deep", "equivariant")},
            {(b, name, k): [splice(1.0)] for b in bases for k in ks
             for name in ("sae", "wide", "deep", "equivariant")}, {},
            {(m, steps): (0.9, blind) for m in profile.sweep_latents for steps in profile.sweep_steps})
        | probe_rows(probed({}, bases=bases, ks=ks, kept=(8, 32)), TASKS)
        | paper_probe_rows({name: np.ones(2) for name in (*PROBES, *(f"{steps:,} steps" for steps in STEPS))}),
        "13_relations": relation_rows({}, {}, {("mlp", "exact"): pair}) | layer_rows(
            {name: [1.0, 1.0] for name in ("identity", "powers of M, Adam", "powers of M, least squares",
                                       "one map per angle")}, 1)}
    published = {chapter: read_json(root / "book" / "reference" / f"{chapter}.json") for chapter in made}
    if "r2_untrained_mlp" not in published["11_one_matrix"]["numbers"]:
        pytest.skip("the published run is older than these rows")
    for chapter, rows in made.items():
        assert published[chapter]["numbers"].keys() == rows.keys()
        assert all((root / "book" / "reference" / figure["file"]).is_file() for figure in published[chapter]["figures"])
