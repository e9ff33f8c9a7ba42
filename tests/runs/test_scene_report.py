"""What the chapters on equivariant SAEs report: measured on coders whose answer is known, counted by hand."""

import numpy as np
import pytest
import torch

from groupcc_lite.answers import STEPS, ProbeScores
from groupcc_lite.answers.probing import PROBES
from groupcc_lite.base import interval_of, read_json
from groupcc_lite.coders import EquivariantSAE, SparseAutoencoder, TransformMatrix, least_squares, r2
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import ImageAutoencoder, activations
from groupcc_lite.runs import scene_report
from groupcc_lite.runs.profiles import SCENE_PROFILES, SceneProfile
from groupcc_lite.runs.reports import Report
from groupcc_lite.runs.scene_report import (
    ABSENT,
    READINGS,
    Additivity,
    Invariance,
    Probed,
    additive_share,
    additivity,
    best_ridge,
    canonical_fve,
    coder_rows,
    explained_in_use,
    family_f1,
    far_powers,
    invariance,
    layer_rows,
    matrix_rows,
    paper_probe_rows,
    probe_readings,
    probe_rows,
    record,
    relation_rows,
    tokens,
    verdict,
)
from groupcc_lite.runs.scene_run import SceneRun, Splice
from groupcc_lite.stimuli import FAMILIES, Task, random_scenes

TINY = SceneProfile("smoke", base_models=("mlp",), base_epochs=1, base_batch=512, transform_steps=3, transform_batch=64,
                    latents=32, hidden=16, ks=(4,), steps=3, batch_size=64, truncations=(4,), tasks=1, probe_train=150,
                    probe_test=100, seeds=1, amp=False)
TASKS = (Task("S", 0), Task("SO", 0, None, 1), Task("SP", 0, 2), Task("SPO", 0, 2, 1))
QUARTER = torch.tensor([[0.0, -1.0], [1.0, 0.0]])


def orbits(count: int = 50) -> torch.Tensor:
    """Orbits of points of the plane under quarter turns, (b, 4, 2)."""
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    return torch.stack([x @ torch.linalg.matrix_power(QUARTER, g).T for g in range(4)], 1)


def turning(M: torch.Tensor) -> TransformMatrix:
    transform = TransformMatrix(cyclic(4), len(M))
    with torch.no_grad():
        transform.M.copy_(M)
    return transform


def sae(W_e: torch.Tensor) -> SparseAutoencoder:
    """A ReLU autoencoder with these encoder weights and no biases."""
    coder = SparseAutoencoder(W_e.shape[1], len(W_e), activation="relu")
    with torch.no_grad():
        coder.W_e.copy_(W_e)
    return coder.eval()


# ------------------------------------------------------------------------------------------------- measurements

def test_powers_of_the_true_matrix_never_fail_and_those_of_a_longer_one_do():
    x = orbits()
    assert np.allclose(far_powers(turning(QUARTER), x, upto=9), 1, atol=1e-5)
    longer = far_powers(turning(1.1 * QUARTER), x, upto=12)
    assert len(longer) == 12 and all(a > b for a, b in zip(longer, longer[1:], strict=False))
    assert longer[0] == pytest.approx(1 - 0.1**2 * float(x.square().sum() / (x - x.mean(0)).square().sum()), abs=1e-3)


def test_powers_are_those_of_one_generator():
    with pytest.raises(ValueError, match="M has 2 generators; expected 1"):
        far_powers(TransformMatrix(dihedral(4), 2), torch.zeros(3, 8, 2))


def test_invariance_of_latents_that_ignore_the_turn_and_of_latents_that_each_know_one():
    x = torch.cat([orbits(), orbits().square().sum(-1, keepdim=True)], -1)
    blind = invariance(sae(torch.tensor([[0.0, 0.0, 1.0]])), x)
    assert blind.cosine == pytest.approx(1, abs=1e-5) and blind.favourite == pytest.approx(0.25)
    first = torch.tensor([[1.0, 1.0]]).repeat(50, 1)  # one point, so that each latent fires for one orientation
    corner = torch.stack([first @ torch.linalg.matrix_power(QUARTER, g).T for g in range(4)], 1)
    seeing = invariance(sae(torch.stack([torch.linalg.matrix_power(QUARTER, g) @ torch.ones(2) for g in range(4)])),
                        corner)
    assert seeing.cosine == pytest.approx(0, abs=1e-6) and seeing.favourite == 1


def test_canonical_activations_explained_by_one_that_turns_back_and_by_one_that_does_not():
    x = orbits()
    coder = EquivariantSAE(cyclic(4), 2, 2, activation="relu", hidden=None, transform=turning(QUARTER)).eval()
    with torch.no_grad():
        coder.sae.W_d.zero_()
        coder.sae.b_d.copy_(x[:, 0].mean(0))
    assert canonical_fve(coder, x) == pytest.approx(0, abs=1e-5)  # the mean explains nothing
    same = x[:, :1].expand(-1, 4, -1).contiguous()
    coder.sae.encode = lambda y: y
    coder.sae.decode = lambda f: f[:, None]
    assert canonical_fve(coder, same) == pytest.approx(1) and canonical_fve(coder, x) < 0


def test_unrelated_images_are_alike_where_latents_are_always_on():
    x = torch.cat([orbits(), torch.ones(50, 4, 1)], -1)
    found = invariance(sae(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])), x)
    assert found.cosine == pytest.approx(1) and found.unrelated == pytest.approx(1)
    assert found.dead == 0.5 and found.favourite == 0.25


# ------------------------------------------------------------------------------- what a sum over quadrants allows

@pytest.mark.parametrize("group", [cyclic(4), dihedral(4)])
def test_one_matrix_turns_any_sum_over_quadrants_and_no_training_is_needed(group):
    """The proposition on quadrants that do not interact, for random vectors; products are the control."""
    rng = torch.Generator().manual_seed(0)
    train, held_out = (tokens(random_scenes(count, seed=count), group) for count in (900, 200))
    V = torch.randn(112, 160, generator=rng).double()
    M = least_squares([train @ V], group, ridge=1e-12)
    assert float(r2(M.double(), held_out @ V, about="mean").min()) > 1 - 1e-6
    assert M.relation_error() < 0.05  # it holds by itself, up to the rounding of M in single precision
    assert additive_share(train, train @ V, held_out, held_out @ V) == pytest.approx(1, abs=1e-9)
    mixed = [(t @ V).square() for t in (train, held_out)]
    assert float(r2(least_squares([mixed[0]], group), mixed[1], about="mean").mean()) < 0.9
    assert additive_share(train, mixed[0], held_out, mixed[1]) < 0.9


def test_a_cnn_is_a_sum_over_quadrants_whatever_its_weights_and_an_mlp_is_not():
    scenes = random_scenes(260, seed=1)
    t, share = tokens(scenes, cyclic(4)), {}
    for kind in ("mlp", "cnn"):
        x = activations(ImageAutoencoder(kind, seed=3), scenes, cyclic(4))
        share[kind] = additive_share(t[:200], x[:200], t[200:], x[200:])
    assert share["cnn"] > 1 - 1e-6 and share["mlp"] < 0.97


def test_the_null_of_one_matrix_has_random_weights(study):
    null, trained = (additivity(study, "mlp", 0, trained=trained) for trained in (False, True))
    assert len(null.powers) == 4 and null.r2 == pytest.approx(np.mean(null.powers))
    assert 0.3 < null.r2 < 0.97 and 0.5 < null.additive < 0.97 and null != trained
    assert additivity(study, "mlp", 0, trained=False) == null


# -------------------------------------------------------------------------------------------------- M in use

def noisy_coder(M: torch.Tensor, error: torch.Tensor) -> EquivariantSAE:
    """An equivariant SAE that writes the canonical activation plus an error."""
    coder = EquivariantSAE(cyclic(4), 2, 2, activation="relu", hidden=None, transform=turning(M)).eval()
    coder.sae.encode = lambda y: y
    coder.sae.decode = lambda f: (f + error[:len(f)])[:, None]
    return coder


def test_m_in_use_turns_what_was_written_with_its_errors():
    x, none = orbits(), torch.zeros(50, 2)
    assert explained_in_use(noisy_coder(QUARTER, none), turning(QUARTER), x) == pytest.approx(1)
    error = torch.full((50, 2), 0.5)
    found = explained_in_use(noisy_coder(QUARTER, error), turning(QUARTER), x)
    assert found == pytest.approx(float(1 - 4 * error.square().sum() / (x - x.mean((0, 1))).square().sum()), abs=1e-5)


def test_a_matrix_for_noisy_reconstructions_is_shrunk_and_one_for_clean_ones_is_not():
    x = orbits(400)
    faint = torch.tensor([1.0, 1e-3])  # the second direction hardly varies, and the turn needs large entries there
    x = x * faint
    error = torch.randn(400, 2, generator=torch.Generator().manual_seed(1)) * 0.1
    coders = {name: noisy_coder(QUARTER, e) for name, e in (("clean", torch.zeros(400, 2)), ("noisy", error))}
    (small, clean), (large, noisy) = (best_ridge(coders[name], x) for name in ("clean", "noisy"))
    assert small == 1e-8 and large > 1e-6
    assert explained_in_use(coders["noisy"], noisy, x) > explained_in_use(coders["noisy"], clean, x) + 0.1


def scores(*f1: float, best: float = 0.0) -> ProbeScores:
    """One F1 for each of TASKS by XGBoost, and `best` by the two others."""
    return ProbeScores(np.array([[best, best, value] for value in f1]))


def test_family_scores_are_means_over_the_tasks_of_a_family_and_over_all():
    tasks = (*TASKS, Task("S", 1))
    found = family_f1([scores(0.5, 0.6, 0.7, 0.8, 0.9), scores(0, 0, 0, 0, 0, best=0.4)], tasks)
    assert {family: np.round(values, 6).tolist() for family, values in found.items()} == {
        "S": [0.7, 0.0], "SO": [0.6, 0.0], "SP": [0.7, 0.0], "SPO": [0.8, 0.0], "all": [0.7, 0.0]}
    assert family_f1([scores(0, 0, 0, 0, 0, best=0.4)], tasks, "best")["all"] == [pytest.approx(0.4)]
    with pytest.raises(ValueError, match="scores are of 4 tasks, but 5 tasks are given"):
        family_f1([scores(0, 0, 0, 0)], tasks)


# -------------------------------------------------------------------------------------------------- report rows

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
    several = probe_rows(probed(mine, ks=(8, 16), kept=(8, 32), seeds=3), TASKS)
    assert several["latents_s_few"].n == 3 and several["latents_s_few"].over == "seeds"
    assert several["latents_s_few"].interval == pytest.approx((0.4, 0.4))
    assert several["latents_s_few_wins"].value == 2  # three seeds agree, though S has one task


def test_a_verdict_over_seeds_does_not_take_tasks_for_seeds():
    tasks = np.array([0.1, 0.11, 0.09, 0.1])
    assert verdict(tasks) == verdict(tasks[None]) == 1  # this one coder
    assert verdict(np.stack([tasks, tasks - 0.2, tasks])) == 0
    assert verdict(np.stack([-tasks, -tasks * 1.01, -tasks])) == -1


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


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return SceneRun(TINY, seed=0, work=tmp_path_factory.mktemp("work"))


def test_probing_a_run_gives_every_reading_a_score_for_every_seed(study):
    found = probe_readings(study)
    assert [(probed.reading, probed.view) for probed in found] == list(READINGS)
    assert all(len(of_seeds) == 1 and of_seeds[0].f1.shape == (4, 3) for of_seeds in found.values())
    inferred = study.probe("mlp", "equivariant", 4, "inferred", 4)
    assert np.array_equal(found[Probed("mlp", "inferred", "inferred", 4, 4)][0].f1, inferred.f1)
    rows = values(probe_rows(found, study.tasks))
    mean = float(np.mean(inferred.of("xgboost")))
    assert rows["f1_all_mlp_inferred_inferred_k4_t4"] == pytest.approx(mean)
    assert set(FAMILIES) <= {key.split("_")[1] for key in rows if key.startswith("f1_")}
