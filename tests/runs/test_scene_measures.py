"""What the chapters on equivariant SAEs measure, on coders and matrices whose answer is known."""

import numpy as np
import pytest
import torch
from probe_scores import TASKS, scores

from groupcc_lite.coders import EquivariantSAE, SparseAutoencoder, TransformMatrix, least_squares, r2
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import ImageAutoencoder, activations
from groupcc_lite.runs.scene_measures import (
    READINGS,
    Probed,
    additive_share,
    additivity,
    best_ridge,
    canonical_fve,
    explained_in_use,
    family_f1,
    far_powers,
    invariance,
    probe_readings,
    tokens,
)
from groupcc_lite.runs.scene_report import probe_rows
from groupcc_lite.runs.scene_run import SceneRun
from groupcc_lite.runs.study_profiles import SceneProfile
from groupcc_lite.stimuli import FAMILIES, Task, random_scenes

TINY = SceneProfile("smoke", base_models=("mlp",), base_epochs=1, base_batch=512, transform_steps=3, transform_batch=64,
                    latents=32, hidden=16, ks=(4,), steps=3, batch_size=64, truncations=(4,), tasks=1, probe_train=150,
                    probe_test=100, seeds=1, amp=False)
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


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return SceneRun(TINY, seed=0, work=tmp_path_factory.mktemp("work"))


def test_probing_a_run_gives_every_reading_a_score_for_every_seed(study):
    found = probe_readings(study)
    assert [(probed.reading, probed.view) for probed in found] == list(READINGS)
    assert all(len(of_seeds) == 1 and of_seeds[0].f1.shape == (4, 3) for of_seeds in found.values())
    inferred = study.probe("mlp", "equivariant", 4, "inferred", 4)
    assert np.array_equal(found[Probed("mlp", "inferred", "inferred", 4, 4)][0].f1, inferred.f1)
    rows = {key: row.value for key, row in probe_rows(found, study.tasks).items()}
    mean = float(np.mean(inferred.of("xgboost")))
    assert rows["f1_all_mlp_inferred_inferred_k4_t4"] == pytest.approx(mean)
    assert set(FAMILIES) <= {key.split("_")[1] for key in rows if key.startswith("f1_")}


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


def test_family_scores_are_means_over_the_tasks_of_a_family_and_over_all():
    tasks = (*TASKS, Task("S", 1))
    found = family_f1([scores(0.5, 0.6, 0.7, 0.8, 0.9), scores(0, 0, 0, 0, 0, best=0.4)], tasks)
    assert {family: np.round(values, 6).tolist() for family, values in found.items()} == {
        "S": [0.7, 0.0], "SO": [0.6, 0.0], "SP": [0.7, 0.0], "SPO": [0.8, 0.0], "all": [0.7, 0.0]}
    assert family_f1([scores(0, 0, 0, 0, 0, best=0.4)], tasks, "best")["all"] == [pytest.approx(0.4)]
    with pytest.raises(ValueError, match="scores are of 4 tasks, but 5 tasks are given"):
        family_f1([scores(0, 0, 0, 0)], tasks)
