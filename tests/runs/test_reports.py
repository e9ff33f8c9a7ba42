import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from groupcc_lite.base import interval_of
from groupcc_lite.runs.reports import Report, publish, reference, table_by_column


@pytest.fixture
def saved(tmp_path):
    report = Report(tmp_path / "reports", "03_training", "inception", seed=0)
    assert report.number("fve", 0.48765, note="FVE of all blocks") == 0.48765
    report.numbers_from({"l0": 64, "per_block": np.array([0.5, 0.25])}, prefix="final_")
    figure, _ = plt.subplots(figsize=(2, 1))
    report.figure("curve", figure, caption="c", alt="a")
    plt.close(figure)
    report.save()
    return tmp_path


def test_a_report_carries_numbers_figures_and_provenance(saved):
    content = json.loads((saved / "reports" / "03_training.json").read_text())
    assert content["numbers"]["fve"] == {"value": 0.48765, "unit": "", "note": "FVE of all blocks"}
    assert content["numbers"]["final_per_block"]["value"] == [0.5, 0.25]
    assert content["figures"] == [{"file": "03_training/curve.png", "caption": "c", "alt": "a"}]
    facts = content["provenance"]
    assert facts["seed"] == 0 and facts["versions"]["torch"] and facts["hardware"] and facts["seconds"] >= 0
    assert (saved / "reports" / "03_training" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_publishing_copies_reports_and_their_figures(saved):
    (path,) = publish(saved / "reports", saved / "reference")
    assert path.is_file() and (saved / "reference" / "03_training" / "curve.png").is_file()
    assert reference("03_training", saved / "reference")["profile"] == "inception"
    assert reference("04_heatmaps", saved / "reference") is None
    with pytest.raises(ValueError, match="holds no reports"):
        publish(saved / "empty", saved / "reference")


def test_reports_of_several_commits_are_published_only_by_force(saved):
    first = saved / "reports" / "03_training.json"
    content = json.loads(first.read_text())
    for chapter, commit in (("03_training", "a" * 40), ("04_heatmaps", "b" * 40)):
        content["provenance"]["commit"] = commit
        (saved / "reports" / f"{chapter}.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="several commits .03_training aaaaaaaaaaaa, 04_heatmaps bbbbbbbbbbbb"):
        publish(saved / "reports", saved / "reference")
    assert not (saved / "reference").exists()
    assert len(publish(saved / "reports", saved / "reference", force=True)) == 2
    content["provenance"]["commit"] = "a" * 40 + " with uncommitted changes"
    (saved / "reports" / "04_heatmaps.json").write_text(json.dumps(content))
    assert len(publish(saved / "reports", saved / "reference")) == 2


def test_the_names_of_the_images_are_published_with_the_numbers(saved):
    Report(saved / "reports", "04_heatmaps", "inception", image_names=("b.jpg", "a/c.jpg")).save()
    publish(saved / "reports", saved / "reference", force=True)
    assert (saved / "reference" / "images.txt").read_text() == "b.jpg\na/c.jpg\n"


def test_a_number_keeps_n_its_interval_and_whether_it_is_internal(tmp_path):
    report = Report(tmp_path, "03_training", "book")
    report.number("fve", 0.5, note="explained", n=80, interval=(0.45, 0.55), over="5 folds")
    report.number("sum", 3.0, internal=True)
    report.number("lone", 1.0, interval=(float("nan"), float("nan")))
    kept = json.loads(report.save().read_text())["numbers"]
    assert kept["fve"] == dict(value=0.5, unit="", note="explained", n=80, interval=[0.45, 0.55], over="5 folds")
    assert "interval" not in kept["lone"]
    assert kept["sum"]["internal"] is True and "n" not in kept["sum"] and "interval" not in kept["sum"]
    assert "| 0.5 [0.45, 0.55] |" in report.compare("fve")


def test_the_comparison_shows_both_runs(saved, monkeypatch):
    publish(saved / "reports", saved / "book" / "reference")
    (saved / "groupcc_lite").mkdir()
    (saved / "_config.yml").write_text("")
    monkeypatch.chdir(saved)
    mine = Report(saved / "mine", "03_training", "book")
    mine.number("fve", 0.7, note="FVE of all blocks")
    mine.number("extra", 1)
    table = mine.compare("fve", "extra")
    assert "| FVE of all blocks | 0.7 | 0.488 |" in table and "`book`" in table
    assert "| extra | 1 | not measured |" in table


def test_the_comparison_has_what_only_the_published_run_has_and_both_notes_where_they_differ(saved, monkeypatch):
    there = Report(saved / "reports", "14_answer_key", "inception")
    there.number("longest", 0.9, note="cosine, 2400 steps")
    there.number("census_c8", 12, note="C8 features")
    there.number("census_sum", 99, internal=True)
    there.save()
    publish(saved / "reports", saved / "book" / "reference", force=True)
    (saved / "groupcc_lite").mkdir()
    (saved / "_config.yml").write_text("")
    monkeypatch.chdir(saved)
    here = Report(saved / "mine", "14_answer_key", "book")
    here.number("sum", 3, internal=True)
    here.number("longest", 0.8, note="cosine, 60 steps")
    assert here.comparable() == ["longest", "census_c8"]
    assert here.compare().splitlines()[2:] == [
        "| cosine, 60 steps; in the reference run: cosine, 2400 steps | 0.8 | 0.9 |",
        "| C8 features | not measured | 12 |"]


def test_a_table_by_column_shows_intervals_and_leaves_out_what_nobody_measured():
    report = Report("nowhere", "04_heatmaps", "book")
    report.number("share", 0.25, note="a share", n=3, interval=(0.2, 0.3))
    report.number("share_patches", math.nan, note="a share")
    report.number("patches_kept", 2, note="kept", unit="px")
    columns = ["this run", "untrained", "patches"]
    table = table_by_column(report.numbers, ["share", "never"], columns)
    assert table.splitlines() == ["|  | this run | patches |", "|---|---|---|",
                                  "| a share | 0.25 [0.2, 0.3], n = 3 | undefined |"]
    other_way = table_by_column(report.numbers, ["kept"], columns, key="{column}_{key}")
    assert other_way.splitlines()[0] == "|  | patches |" and other_way.splitlines()[-1] == "| kept | 2 px |"
    assert table_by_column({}, ["share"], columns) == "Not measured yet."


def test_a_mean_over_seeds_has_its_interval_and_leaves_nan_out(tmp_path):
    report = Report(tmp_path, "03_training", "book")
    assert report.mean("some", np.array([[0.5, 0.7], [np.nan, 0.6]]), "what", 1) == "0.6 ± 0.1"
    assert report.numbers["some"]["value"] == pytest.approx(0.6) and report.numbers["some"]["over"] == "seeds"
    assert report.numbers["some"]["interval"] == pytest.approx(interval_of([0.5, 0.7, 0.6]))
    assert report.mean("one", iter([torch.tensor(2.0)]), "what", internal=True) == "2.000"
    assert report.numbers["one"] == dict(value=2.0, unit="", note="what", internal=True)
    assert report.mean("none", [np.nan], "what") == "–" and report.numbers["none"]["value"] is None
