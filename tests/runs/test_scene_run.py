"""The experiments on equivariant SAEs as artefacts: made once, named by their settings, and saying what they are."""

import numpy as np
import pytest
import torch
from small_scenes import TINY_SCENES

from groupcc_lite.answers import logistic_by_steps
from groupcc_lite.coders import EquivariantSAE, SparseAutoencoder, r2
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import ImageAutoencoder
from groupcc_lite.runs.scene_run import CODERS, METHODS, SceneRun


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return SceneRun(TINY_SCENES, seed=0, work=tmp_path_factory.mktemp("work"))


def test_every_coder_is_trained_once_and_loaded_afterwards(study, monkeypatch):
    first = {name: study.coder("mlp", name, 4) for name in CODERS}
    assert [first[name].latents for name in CODERS] == [32, 128, 32, 32, 32]
    assert isinstance(first["equivariant"], EquivariantSAE) and first["deep"].hidden == 16
    for loop in ("optimise", "train"):
        monkeypatch.setattr(f"groupcc_lite.coders.{loop}", lambda *a, **k: pytest.fail("trained again"))
    again = SceneRun(TINY_SCENES, seed=0, work=study.work.parent)
    x = study.activations("mlp", "held-out")[:5, 0]
    for name, coder in first.items():
        assert torch.equal(again.coder("mlp", name, 4).encode(x), coder.encode(x))


def test_coders_of_other_sizes_and_trainings_are_other_artefacts(study):
    small = study.coder("mlp", "equivariant", 4, latents=16, steps=2)
    assert small.latents == 16 and study.coder("mlp", "equivariant", 4).latents == 32
    same = study.recipes.coder("mlp", "equivariant", 4, 0, latents=32, steps=3)
    assert same.key == study.recipes.coder("mlp", "equivariant", 4, 0).key
    swept = SceneRun(TINY_SCENES, work="nowhere", sweep_latents=(8, 16), sweep_steps=(2, 3), ks=(2, 4, 8))
    assert swept.sweep == [(8, 2), (16, 2), (8, 3), (16, 3)] and swept.middle_k == 4
    assert sum("sweep" in name for name in swept.keys()) == 4


def test_an_untrained_base_model_is_where_training_begins(study):
    first = study.autoencoder("mlp", trained=False)
    assert first.fingerprint == ImageAutoencoder("mlp", seed=0).fingerprint != study.autoencoder("mlp").fingerprint


def test_the_papers_logistic_regression_reads_what_probes_read(study):
    found = study.paper_logistic("mlp", "sae", 4, "latents", 4)
    assert list(found) == ["100 steps", "1,000 steps"] and all(f1.shape == (4,) for f1 in found.values())
    train, test = study._features("mlp", "sae", 4, "latents", 4, 0)(2)
    labels = [study.labels(part)[:, 2] for part in ("train", "held-out")]
    assert found["100 steps"][2] == logistic_by_steps(train, test, *labels)[0]


def test_scenes_are_held_out_by_orbit(study):
    train, held_out = (set(study.scenes(part).orbit_codes(dihedral(4)).tolist()) for part in ("train", "held-out"))
    assert not train & held_out


def test_block_p_is_the_activation_of_the_image_turned_p_times(study):
    images = study.scenes("held-out").images()[:4]
    x = study.activations("mlp", "held-out")[:4]
    with torch.no_grad():
        found = study.autoencoder("mlp").encode(torch.rot90(images, 3, (-2, -1)))
    assert torch.allclose(x[:, 3], found, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_transforms_by_every_method(study, method):
    """None fits the training scenes better than least squares, and those that promise the relations keep them."""
    x, M = study.activations("mlp", "train"), study.transform("mlp", method)
    best = r2(study.transform("mlp", "least squares"), x)[1:].mean()
    assert float(r2(M, x)[1:].mean()) <= float(best) + 1e-4
    keeps = method in ("identity", "exact") or method.endswith(", projected")
    error = M.double().relation_error()  # in single precision M^4 alone rounds by more than 1e-5
    assert error < 1e-5 if keeps else error > 1e-4
    if method == "procrustes":
        assert torch.allclose(M.M[0] @ M.M[0].T, torch.eye(M.channels).double(), atol=1e-4)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_penalty_without_weight_is_no_penalty(study, weight):
    with pytest.raises(ValueError, match="relations is .*; expected a weight above 0"):
        study.transform("mlp", "penalty", relations=weight)


def test_labels_and_rows_belong_together(study):
    rows, elements = study._rows("mlp", "held-out", 0, sampled=True)
    labels, chosen = study.labels("held-out"), study._sample("held-out")
    assert rows.shape == (100, 256) and labels.shape == (100, len(study.tasks))
    for row in (0, 17, 99):
        scene, g = divmod(int(chosen[row]), 4)
        assert int(elements[row]) == g
        described = study.scenes("held-out")[[scene]].act(cyclic(4), g)
        for column, task in enumerate(study.tasks):
            places = range(4) if task.position is None else [task.position]
            wanted = any(int(described.shape[0, q]) == task.shape
                         and task.orientation in (None, int(described.orientation[0, q])) for q in places)
            assert labels[row, column] == wanted


def test_reconstructions_come_from_the_kept_latents_only(study):
    from groupcc_lite.answers import ranked_latents

    coder = study.coder("mlp", "sae", 4)
    rows = [study._rows("mlp", part, 0, sampled=True)[0] for part in ("train", "held-out")]
    kept = ranked_latents(coder.encode(rows[0]).detach().numpy(), study.labels("train"), 4)[0]
    assert len(kept) == 4
    f = torch.zeros(100, 32)
    f[:, kept] = coder.encode(rows[1]).detach()[:, kept]
    expected = (f @ coder.W_d[:, 0] + coder.b_d) / coder.scale
    found = study._features("mlp", "sae", 4, "reconstructions", 4, 0)(0)[1]
    assert np.allclose(found, expected.detach().numpy(), atol=1e-4)


def test_the_three_readings_of_an_equivariant_reconstruction(study):
    coder = study.coder("mlp", "equivariant", 4)
    x, elements = study._rows("mlp", "held-out", 0, sampled=True)
    views = {view: study._features("mlp", "equivariant", 4, view, 32, 0)(0)[1]
             for view in ("reconstructions", "inferred", "invariant")}
    with torch.no_grad():
        orbit = coder.decode(coder.encode(x))
    assert np.allclose(views["invariant"], orbit[:, 0], atol=1e-4)
    assert np.allclose(views["reconstructions"], orbit[torch.arange(100), elements], atol=1e-4)
    assert np.allclose(views["inferred"], orbit[torch.arange(100), coder.nearest_element(x)], atol=1e-4)
    assert not np.allclose(views["invariant"], views["reconstructions"], atol=1e-3)


def test_probes_are_scored_once(study, monkeypatch):
    scores = study.probe("mlp", "sae", 4, "latents", 4)
    assert scores.f1.shape == (4, 3) and ((0 <= scores.f1) & (scores.f1 <= 1)).all()
    monkeypatch.setattr("groupcc_lite.answers.probing.probe_task", None)
    monkeypatch.setattr(study, "_features", None)
    assert np.array_equal(study.probe("mlp", "sae", 4, "latents", 4).f1, scores.f1)


def perfect_coder(channels):
    """Two latents for each channel, one for each sign: what comes in comes out."""
    coder = SparseAutoencoder(channels, 2 * channels, activation="topk", k=channels, scale=0.5)
    eye = torch.eye(channels)
    with torch.no_grad():
        for parameter in coder.parameters():
            parameter.zero_()
        coder.W_e.copy_(torch.cat([eye, -eye]))
        coder.W_d[:, 0] = torch.cat([eye, -eye])
    return coder.eval()


def test_splicing_a_perfect_coder_changes_nothing(study, monkeypatch):
    coder = perfect_coder(256)
    monkeypatch.setattr(study, "coder", lambda *_: coder)
    spliced = study.splice("mlp", "sae", 4)
    x = study.activations("mlp", "held-out").flatten(0, 1)
    assert spliced.loss == spliced.invariant_loss == pytest.approx(spliced.base_loss, rel=1e-5)
    assert spliced.fve == pytest.approx(1, abs=1e-6) and spliced.dead < 1
    assert spliced.l1 == pytest.approx(float(x.abs().sum(1).mean()), rel=1e-4)


@pytest.mark.parametrize("name", ["wide", "equivariant"])
def test_a_splice_by_hand(study, name):
    """Every image of every orbit, encoded from the activation of the turned image, and turned back by its element."""
    found, coder = study.splice("mlp", name, 4), study.coder("mlp", name, 4)
    blocks, autoencoder = study.activations("mlp", "held-out"), study.autoencoder("mlp")
    images = study.scenes("held-out").images()
    losses, invariant, base, errors, l1 = [], [], [], [], []
    with torch.no_grad():
        for g in range(4):
            turned, x = torch.rot90(images, g, (-2, -1)), blocks[:, g]
            f = coder.encode(x)
            orbit = coder.decode(f)
            y, plain = orbit[:, g if name == "equivariant" else 0], orbit[:, 0]
            for kept, z in ((losses, y), (invariant, plain), (base, x)):
                kept.append((autoencoder.decode(z) - turned).square().mean())
            errors.append((y - x).square().sum())
            sae = coder.sae if name == "equivariant" else coder
            l1.append((f * sae.W_d[:, 0].norm(dim=1)).sum(1).mean() / sae.scale)
    mean = {key: float(sum(values) / 4) for key, values in
            dict(loss=losses, invariant_loss=invariant, base_loss=base, l1=l1).items()}
    assert mean == pytest.approx({key: getattr(found, key) for key in mean}, rel=1e-4)
    spread = blocks.flatten(0, 1)
    assert found.fve == pytest.approx(float(1 - sum(errors) / (spread - spread.mean(0)).square().sum()), abs=1e-4)
    assert found.base_loss > 0 and found.l0 <= 4 and 0 <= found.dead <= 1
    assert (found.invariant_loss == found.loss) == (name == "wide")  # where there is no M to leave out


@pytest.mark.parametrize("call, message", [
    (lambda s: s.scenes("test"), "part is 'test'; expected one of train, held-out"),
    (lambda s: s.coder("mlp", "deeper", 4), "name is 'deeper'; expected one of sae"),
    (lambda s: s.transform("mlp", "magic"), "method is 'magic'; expected one of identity"),
    (lambda s: s.probe("mlp", "sae", 4, "pixels", 4), "view is 'pixels'; expected one of activations"),
    (lambda s: SceneRun("large"), "profile is 'large'; expected one of smoke"),
    (lambda s: SceneRun("smoke", epochs=3), "a profile has no field epochs")])
def test_nonsense_is_one_clear_error(study, call, message):
    with pytest.raises(ValueError, match=message):
        call(study)
