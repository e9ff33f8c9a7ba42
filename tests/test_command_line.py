"""The command line of the library, `groupcc`: it shows all that there is to choose, and what each part will cost."""

import dataclasses

import pytest

from groupcc_lite import __main__ as cli
from groupcc_lite.coders import GroupCrosscoder
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
    ["train", "nowhere", "--latents", "8", "--k", "2", "--steps", "1", "--out", "afile"]])
def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_computed(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("something")
    assert "--out is 'afile', which is a file; give a folder" in refused(capsys, *arguments)


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
