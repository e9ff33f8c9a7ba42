"""A published figure is shown with its text, and only the figure that the published report lists."""

import base64
import json

import pytest

from groupcc_lite.figures.reference_run import published, published_numbers


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose published report lists one figure, while two files lie there."""
    (tmp_path / "groupcc_lite").mkdir()
    (tmp_path / "_config.yml").touch()
    folder = tmp_path / "book" / "reference" / "04_heatmaps"
    folder.mkdir(parents=True)
    for name in ("listed", "old"):
        (folder / f"{name}.png").write_bytes(name.encode())
    report = dict(figures=[dict(file="04_heatmaps/listed.png")], numbers=dict(auc=dict(value=0.7)))
    (folder.parent / "04_heatmaps.json").write_text(json.dumps(report))
    monkeypatch.chdir(tmp_path)


def test_a_listed_figure_travels_inside_the_page(checkout):
    shown = published("04_heatmaps", "listed", caption="a < b", alt='a "line"')
    assert base64.b64encode(b"listed").decode() in shown
    assert "<figcaption>a &lt; b</figcaption>" in shown and 'alt="a &quot;line&quot;"' in shown


@pytest.mark.parametrize("chapter, key", [("04_heatmaps", "old"), ("04_heatmaps", "none"), ("05_families", "listed")])
def test_a_figure_of_no_report_is_said_to_be_missing(checkout, chapter, key):
    shown = published(chapter, key, caption="Lines.", alt="lines")
    assert "<img" not in shown and "no such figure yet: Lines." in shown


def test_published_numbers_are_those_of_the_report(checkout):
    assert published_numbers("04_heatmaps") == {"auc": {"value": 0.7}} and published_numbers("05_families") == {}
