"""The command line of the library, `groupcc`: it shows all that there is to choose, and what each part will cost."""

import dataclasses

import pytest

from groupcc_lite import __main__ as cli
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.groups import cyclic
from groupcc_lite.runs import PROFILES, Profile, Run
from groupcc_lite.studies import cost


def said(capsys, *arguments: str) -> str:
    assert cli.main([*arguments]) == 0
    return capsys.readouterr().out


def test_profiles_lists_every_setting_of_every_profile(capsys):
    lines = said(capsys, "profiles").splitlines()
    for profile in PROFILES.values():
        assert f"{profile.name:<10} {profile.summary}" in lines
    table = lines[lines.index("") + 1:]
    assert table[0].split() == ["setting", *PROFILES]
    shown = {line.split()[0]: line for line in table[1:]}
    assert list(shown) == [field.name for field in dataclasses.fields(Profile) if field.name not in ("name", "summary")]
    for name, line in shown.items():
        place = 0
        for profile in PROFILES.values():  # values stand in the order of the columns
            place = line.index(str(getattr(profile, name)), place) + 1


def test_cost_shows_every_stage_with_its_facts(capsys):
    stages = cost("smoke")
    first, *table, last = said(capsys, "cost", "--profile", "smoke").splitlines()
    assert first == "Profile smoke, estimated on this machine:"
    named = [line for line in table if not line.startswith(" ")]
    assert len(named) == len(stages) > 5
    for line, stage in zip(named, stages, strict=True):
        assert line.startswith(stage)
    assert len(table) == sum(len(facts) for facts in stages.values())
    assert last.startswith("all of these")


def test_cost_adds_up_the_stages(capsys, monkeypatch):
    monkeypatch.setattr("groupcc_lite.studies.cost", lambda *_, **__: {
        "images": {"count": 3}, "one": {"hours": 0.5}, "two": {"hours": 1.25, "steps": 7},
        "three": {"not measured": "x"}})
    assert said(capsys, "cost", "--profile", "smoke").splitlines()[-1].split() == [
        "all", "of", "these", "time", "1", "h", "45", "min"]


@pytest.mark.parametrize("options, message", [
    (["--out", "afile"], "--out is 'afile', which is a file; give a folder"),
    (["--weights", "."], "--weights is '.', which is a folder; give a weights file"),
    (["--weights", "none.pt"], "--weights is 'none.pt', which does not exist"),
    (["--images", "afile"], "--images is 'afile', which is a single file; give a folder"),
    (["--images", "x.png"], "--images is 'x.png', which does not exist; give a folder")])
def test_a_wrong_path_is_named_by_its_option(capsys, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("no image")
    assert cli.main(["analyse", "--profile", "smoke", "--dry-run", *options]) == 2
    captured = capsys.readouterr().err
    assert message in captured and captured.startswith("groupcc: ") and captured.count("\n") == 1


def refused(capsys, *arguments):
    assert cli.main(list(arguments)) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("groupcc: ") and captured.count("\n") == 1
    return captured


@pytest.mark.parametrize("arguments", [
    ["orbits", "--profile", "smoke", "--out", "afile"],
    ["train", "nowhere", "--latents", "8", "--k", "2", "--steps", "1", "--out", "afile"],
    ["atlas", "--profile", "smoke", "--out", "afile"],
    ["train-tiny", "--folder", "afile"], ["train-tiny", "--vit", "--folder", "afile"],
    ["train-robust", "--folder", "afile"]])
@pytest.mark.parametrize("below", [False, True])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(capsys, tmp_path, monkeypatch,
                                                                                 arguments, below):
    monkeypatch.chdir(tmp_path)
    for name in ("groupcc_lite.models.train_tiny", "groupcc_lite.models.train_vit", "groupcc_lite.atlas.make_page",
                 "groupcc_lite.superposition.train_references"):
        monkeypatch.setattr(name, lambda *_, name=name, **__: pytest.fail(f"{name} was asked for something"))
    (tmp_path / "afile").write_text("something")
    if below:  # as any folder that this user may not write into, but for the reason
        *arguments, last = arguments
        said_to = refused(capsys, *arguments, f"{last}/new/folder")
        assert f"{arguments[-1]} is 'afile/new/folder', which cannot be written (Not a directory); give" in said_to
    else:
        assert f"{arguments[-2]} is 'afile', which is a file; give a folder" in refused(capsys, *arguments)


@pytest.mark.parametrize("arguments, message", [
    (["--out", "."], "--out is '.', which is a folder; give a file, such as ./relatives.webp"),
    (["--out", "afile/x.webp"], "--out is 'afile/x.webp', which cannot be written (Not a directory)"),
    (["--still", "."], "--still is '.', which is a folder; give a file, such as ./relatives.png"),
    (["--still", "afile/x.png"], "--still is 'afile/x.png', which cannot be written (Not a directory)")])
def test_a_picture_that_cannot_be_written_is_refused_first(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("groupcc_lite.atlas.relatives_of", lambda *_: pytest.fail("the atlas was read"))
    (tmp_path / "afile").write_text("something")
    assert message in refused(capsys, "moving", *arguments)


def test_seeds_that_no_network_has_are_refused(capsys, tmp_path):
    said_to = refused(capsys, "train-robust", "--folder", str(tmp_path / "new"), "--seeds", "0", "7", "9")
    assert "--seeds has 7, 9, but the plan has networks with the seeds 0, 1, 2 only" in said_to
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("activation", ["topk", "batchtopk"])
def test_a_sparsity_that_an_activation_has_no_use_for_is_refused(capsys, tmp_path, activation):
    said_to = refused(capsys, "train", "nowhere", "--latents", "8", "--k", "2", "--steps", "1", "--sparsity", "30",
                      "--activation", activation, "--out", str(tmp_path / "new"))
    assert f"--sparsity is 30, which {activation} has no use for" in said_to


@pytest.mark.parametrize("settings, refused_with_sae, refused_beside_crosscoder", [
    (["latents=999"], "latents", "latents"), (["steps=77777", "lr=0.5"], "steps, lr", ""),
    (["points_per_image=4", "vis_size=32"], "", "")])
def test_settings_of_a_training_that_does_not_take_place_are_refused(capsys, tmp_path, monkeypatch, settings,
                                                                     refused_with_sae, refused_beside_crosscoder):
    monkeypatch.chdir(tmp_path)
    given = [part for setting in settings for part in ("--set", setting)]
    channels = Run("smoke").model.channels
    SparseAutoencoder(channels, 32, activation="topk", k=4).save("sae")
    GroupCrosscoder(cyclic(4), channels, 32, activation="topk", k=4).save("crosscoder")
    analyse = ("analyse", "--profile", "smoke", "--group", "C_4", "--dry-run", *given, "--dictionary")
    for wanted, arguments in ((refused_with_sae, ["sae"]), (refused_beside_crosscoder, ["crosscoder"]),
                              (refused_with_sae, ["crosscoder", "--no-atlas"])):
        if wanted:
            assert f"--set {wanted} would do nothing" in refused(capsys, *analyse, *arguments)
        else:
            assert "time" in said(capsys, *analyse, *arguments)


@pytest.mark.parametrize("device", ["foo", "cuda:99"])
def test_a_device_that_is_not_there_is_one_line(capsys, tmp_path, device):
    train = ("train", "nowhere", "--latents", "8", "--k", "2", "--steps", "1", "--out", str(tmp_path / "new"))
    for arguments in (train, ("orbits", "--profile", "smoke", "--out", str(tmp_path / "orbits"))):
        assert f"device is '{device}', which is not here; expected one of cpu" in refused(
            capsys, *arguments, "--device", device)


def test_a_training_that_diverges_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("groupcc_lite.models.tiny_training.math.isfinite", lambda value: False)
    assert cli.main(["train-tiny", "--folder", str(tmp_path), "--steps", "1"]) == 2
    *progress, last = capsys.readouterr().err.splitlines()
    assert last.startswith("groupcc: training diverged at step 0; lower learning_rate")
    assert all(line.startswith("training tiny-inception") for line in filter(None, progress))


def test_from_orbits_to_a_coder_with_the_defaults(capsys, tmp_path, monkeypatch):
    """A store smaller than the default batch; a small coder, though the profile's trade-off curve has larger k."""
    monkeypatch.chdir(tmp_path)
    small = ["--profile", "smoke", "--group", "C_4", "--set", "drawings=6", "--set", "points_per_image=4", "--set",
             "latents=16", "--set", "k=4"]
    assert "orbits of C_4 in orbits/train" in said(capsys, "orbits", *small)
    assert "did you mean orbits/train?" in refused(capsys, "train", "orbits", "--latents", "16", "--steps", "2")
    assert "topk and batchtopk need k" in refused(capsys, "train", "orbits/train", "--latents", "16", "--steps", "2")
    said(capsys, "train", "orbits/train", "--latents", "16", "--k", "4", "--steps", "2")
    assert GroupCrosscoder.load("coder").latents == 16


def test_analyse_asks_nothing_of_a_curve_that_it_does_not_train(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--profile", "smoke", "--dry-run", "--set", "latents=16", "--set", "k=4")
    assert "crosscoder" in said(capsys, "analyse", *small)
    with pytest.raises(ValueError, match="of the trade-off curve"):
        Run("smoke", latents=16, k=4, work=tmp_path).check()


def test_a_network_of_ones_own_without_images_is_told_so(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said_to = refused(capsys, "analyse", "--network", "net.py:build", "--layer", "0", "--input-size", "32")
    assert "a network of your own needs images: --images FOLDER" in said_to


@pytest.mark.parametrize("arguments, message", [
    (["cost", "--profile", "large"], "profile is 'large'; expected one of smoke"),
    (["cost", "--profile", "smoke", "--images", "nowhere"], "nowhere")])
def test_wrong_requests_are_one_line(capsys, arguments, message):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr().err
    assert message in captured and captured.startswith("groupcc: ") and captured.count("\n") == 1
