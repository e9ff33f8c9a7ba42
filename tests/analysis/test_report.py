"""The report as a folder, from the command line, and in a browser without a network."""

import json
import re

import pandas
import pytest
from browsing import DARKEST_PAPER, LIGHTEST_NIGHT, Reader, View, axe_rules, chromium
from PIL import Image
from small import noise_run

from groupcc_lite import __main__ as cli
from groupcc_lite.analysis import check_report, measure, write_report
from groupcc_lite.runs import Run

SMALL = ["--profile", "smoke", "--group", "C_4", "--set", "drawings=12", "--set", "points_per_image=4", "--set",
         "latents=64", "--set", "k=8", "--set", "steps=2", "--set", "batch_size=8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return noise_run(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return write_report(run, tmp_path_factory.mktemp("report") / "out", atlas=False).parent


def test_the_tables_hold_what_the_run_says(run, folder):
    frame = run.features()
    back = pandas.read_parquet(folder / "features.parquet")
    pandas.testing.assert_frame_equal(back, frame)
    assert pandas.read_csv(folder / "features.csv", index_col="latent").index.tolist() == frame.index.tolist()


def test_the_page_states_the_numbers_and_shows_every_figure(run, folder):
    page, found = (folder / "index.html").read_text(), measure(run)
    assert f"{found.metrics.fve:.3f}" in page and f"{found.ceiling[1:].mean():.3f}" in page
    shown = re.findall(r"src='(figures/[^']+)'", page)
    assert len(shown) == 4 and {*shown} == {f"figures/{path.name}" for path in (folder / "figures").iterdir()}
    for name in shown:
        with Image.open(folder / name) as picture:
            assert len(set(picture.convert("L").getdata())) > 20, f"{name} is empty"
    assert json.loads((folder / "provenance.json").read_text())["group"] == "C_4"


def test_names_are_harmless_on_the_page(run, tmp_path):
    run.model.name, before = "<script>alert(1)</script>", run.model.name
    try:
        page = write_report(run, tmp_path / "out", atlas=False).read_text()
    finally:
        run.model.name = before
    assert "<script>alert" not in page and "&lt;script&gt;" in page


def test_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    out = tmp_path / "report"
    assert cli.main(["analyse", *SMALL, "--out", str(out), "--dry-run"]) == 0
    assert {"orbits", "crosscoder", "autoencoder", "atlas"} < set(capsys.readouterr().out.split()) and not out.exists()
    monkeypatch.setattr("groupcc_lite.symmetry.render_features", lambda *a, **k: pytest.fail("drew pictures"))
    assert cli.main(["analyse", *SMALL, "--out", str(out), "--no-atlas"]) == 0
    assert f"{out}/index.html" in capsys.readouterr().out and (out / "features.csv").is_file()


@pytest.mark.parametrize("arguments, message", [
    (["--layer", "mixed3a", "--set", "layer=mixed3b"], "layer is given twice"),
    (["--set", "latents"], "expected FIELD=VALUE"), (["--set", "latent=3"], "no field latent"),
    (["--group", "Q_8"], "group is"), (["--model", "torchvision/resnet18"], "names no layer"),
    (["--group", "C_1"], "the group is C_1, which moves nothing"),
    (["--group", "C_1", "--dry-run"], "the group is C_1, which moves nothing"),
    (["--set", "batch_size=4000"], "this run would fail")])
def test_wrong_requests_are_said_at_once(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    assert cli.main(["analyse", *SMALL, *arguments, "--out", str(tmp_path / "report")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="the report cannot be written to .*file/report"):
        check_report(tmp_path / "file" / "report")


@pytest.mark.browser
@pytest.mark.parametrize("view", [View("desk", 1280, "light", False), View("phone", 390, "dark", False)],
                         ids=lambda view: view.name)
def test_it_opens_from_disk_without_a_network(folder, tmp_path, view):
    rules = axe_rules(tmp_path)
    with chromium() as browser:
        visit = Reader(browser, view, folder, "", rules).visit("index.html")
    assert (visit.requests, visit.errors, visit.violations) == ([], [], [])
    assert visit.facts["width"] <= view.width and visit.facts["cut"] == [] and visit.facts["broken"] == []
    assert visit.facts["images"] == 4
    assert (visit.facts["background"] > DARKEST_PAPER) == (view.scheme == "light")
    assert (visit.facts["background"] < LIGHTEST_NIGHT) == (view.scheme == "dark")


def test_a_run_of_the_built_in_model_has_an_atlas_beside_it(tmp_path):
    run = Run("smoke", group="C_4", drawings=12, points_per_image=4, latents=64, k=8, steps=2, batch_size=8,
              vis_steps=1, atlas_steps=1, atlas_size=32, work=tmp_path / "work")
    page = write_report(run, tmp_path / "out")
    assert (page.parent / "atlas" / "index.html").is_file() and "href='atlas/index.html'" in page.read_text()
