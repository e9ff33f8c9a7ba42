import numpy as np
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic
from groupcc_lite.runs.layer_run import Run

TINY = dict(latents=24, k=4, steps=12, curve_steps=6, batch_size=32, points_per_image=8, mask_radius=7.0,
            drawings=24, topk_ks=(4,), l1_sparsities=(1.0,))


@pytest.fixture
def run(tmp_path):
    model = small_model()
    images = noise_images(20, PlanarAction(cyclic(4)).source_size(model.input_size))
    return Run("smoke", model=model, images=images, action=PlanarAction(cyclic(4)), work=tmp_path, **TINY)


def test_artefacts_are_made_once_and_found_again(run, tmp_path):
    coder = run.coder()
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    again = Run("smoke", model=run.model, images=run.images, action=run.action, work=tmp_path, **TINY)
    assert torch.equal(again.coder().W_d, coder.W_d)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == files
    other = again.coder(seed=1)
    assert not torch.equal(other.W_d, coder.W_d)
    assert [row["step"] for row in run.history()][-1] == 12


def test_same_seed_same_numbers_in_a_fresh_folder(run, tmp_path_factory):
    elsewhere = Run("smoke", model=run.model, images=run.images, action=run.action,
                    work=tmp_path_factory.mktemp("fresh"), **TINY)
    assert torch.equal(run.coder().W_d, elsewhere.coder().W_d)


def test_held_out_images_are_not_trained_on(run):
    train, held_out = run.source("train"), run.source("held-out")
    assert not set(train.names) & set(held_out.names) and len(train) + len(held_out) == 20
    with pytest.raises(ValueError, match="part is 'test'"):
        run.source("test")


def test_the_sae_sees_only_the_identity_block(run):
    sae = run.coder("sae")
    assert sae.group.order == 1 and run.training_source("sae").group.order == 1
    assert 0 < run.evaluate(sae).l0 < 12
    with pytest.raises(ValueError, match="kind is 'esae'"):
        run.coder("esae")


def test_curve_ceiling_and_report(run):
    rows = run.curve()
    assert [row["activation"] for row in rows] == ["relu", "topk"] and all(np.isfinite(row["fve"]) for row in rows)
    ceiling = run.ceiling()
    assert ceiling.shape == (4,) and ceiling.argmax() == 0 and ceiling[0] > 0.9
    assert np.array_equal(ceiling, run.ceiling())
    report = run.report("03_training")
    report.number("fve", rows[0]["fve"])
    assert report.save().is_file()


def test_a_family_map_has_one_row_per_living_feature(run):
    result = run.family_map(steps=40)
    m = len(result.features)
    assert result.gap.shape == (m, m) and result.embedding.two.shape == (m, 2)
    assert len(result.labels.label) == len(result.clusters) == m <= 24
    again = run.family_map(steps=40)
    assert np.array_equal(again.embedding.two, result.embedding.two)


def test_streamed_training_runs_from_the_same_call(run, tmp_path):
    streamed = Run("smoke", model=run.model, images=run.images, action=run.action, work=tmp_path / "s",
                   stream=True, **TINY)
    assert streamed.coder().group == run.group
    assert not list((tmp_path / "s").glob("orbits/*/00000.npy"))
    assert streamed.coder("sae").group.order == 1
    assert not list((tmp_path / "s").glob("orbits/*/00000.npy"))


def test_a_capped_store_holds_a_sample_of_the_images(run, tmp_path):
    capped = Run("smoke", model=run.model, images=run.images, action=run.action, work=tmp_path / "c",
                 store_images=3, **TINY)
    assert len(capped.orbits("train")) == 3 * 8 and len(run.orbits("train")) == 18 * 8
    assert len(set(capped._stored_source("train").names) - set(run.source("train").names)) == 0


@pytest.mark.parametrize("changes", [dict(points_per_image=4), dict(mask_radius=5.0), dict(held_out=0.2),
                                     dict(lr=1e-4), dict(k=2), dict(activation="relu", sparsity=1.0)])
def test_other_settings_never_share_a_coder(run, changes):
    def folder(run):
        return run._coder_folder(run._coder_settings("crosscoder", {}))

    other = Run("smoke", model=run.model, images=run.images, action=run.action, work=run.work, **(TINY | changes))
    images = Run("smoke", model=run.model, images=run.images.flip(0), action=run.action, work=run.work, **TINY)
    same = Run("smoke", model=run.model, images=run.images, action=run.action, work=run.work, **TINY)
    assert folder(same) == folder(run) and len({folder(run), folder(other), folder(images)}) == 3


def test_photographs_are_needed_where_there_are_no_drawings(tmp_path, monkeypatch):
    monkeypatch.delenv("GROUPCC_DATA", raising=False)
    with pytest.raises(ValueError, match="needs photographs"):
        Run("smoke", model=small_model(), work=tmp_path).source()
    with pytest.raises(ValueError, match="no weights for googlenet"):
        Run("inception", work=tmp_path).model  # noqa: B018


@pytest.mark.parametrize("arguments, message", [
    (dict(profile="boook"), "profile is 'boook'"),
    (dict(seed=-1), "seed is -1"),
    (dict(layer="mixed9z"), "mixed9z"),
    (dict(colour="red"), "no field colour"),
])
def test_bad_settings_are_one_clear_error(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        Run(**({"profile": "smoke", "work": tmp_path} | arguments)).model  # noqa: B018


def test_unknown_coder_settings_are_refused(run):
    with pytest.raises(ValueError, match="no setting depth"):
        run.coder(depth=2)


def test_a_model_by_name_replaces_the_profiles(tmp_path):
    run = Run("smoke", model="torchvision/resnet18/layer1", weights="random", work=tmp_path)
    assert run.profile.model == "torchvision/resnet18/layer1" and "resnet18" in run.model.name


def test_cost_is_measured_without_weights_or_images():
    from groupcc_lite.runs.costs import cost

    assert cost("paper", images=None)["orbits"]["disk GB"] < 20
    stages = cost("smoke")
    assert stages["images"]["count"] == 160 and stages["orbits"]["disk GB"] > 0
    assert all(stage["hours"] > 0 for name, stage in stages.items() if name != "images")
    with pytest.raises(ValueError, match="no image in"):
        cost("smoke", images="tests")
