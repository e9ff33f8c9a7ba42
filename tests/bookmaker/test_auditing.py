"""The check of the built pages: silent on a sound page, and one finding for each way to break it."""

import pytest

from bookmaker.auditing import audit
from bookmaker.html_repairs import ON_PAGES
from groupcc_lite.atlas import VENDOR_FOLDER

SOUND = """<html><head><link rel="stylesheet" href="style/book.css"><script src="style/page.js"></script></head><body>
<h1 id="top">Title</h1><a href="#top">up</a> <a href="sub/other.html#there">there</a> <a href="https://example.org/x">out</a>
<img src="picture.png" alt="A curve and its mirror image.">
<script type="application/vnd.jupyter.widget-state+json">{"state": {"abc": {}}}</script>
<script type="application/vnd.jupyter.widget-view+json">{"model_id": "abc"}</script>
</body></html>"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "style").mkdir()
    for name in ("style/book.css", "style/page.js", "picture.png"):
        (tmp_path / name).write_text("x")
    (tmp_path / "index.html").write_text(SOUND)
    (tmp_path / "sub" / "other.html").write_text('<h1 id="there">Other</h1><a href="../index.html">back</a>')
    return tmp_path


def test_a_sound_site_has_no_problems(site):
    assert audit(site, expected=["index", "sub/other"]) == []


@pytest.mark.parametrize("before, after, finding", [
    ('href="#top"', 'href="#bottom"', "Cannot find fragment"),
    ("other.html#there", "other.html#elsewhere", "Cannot find fragment"),
    ("sub/other.html#there", "sub/gone.html", "File not found"),
    ('alt="A curve and its mirror image."', "", "has no alt text"),
    ('alt="A curve and its mirror image."', 'alt=" "', "has no alt text"),
    ('alt="A curve and its mirror image."', 'alt="../_images/2f9c51.png"', "has a path as alt text"),
    ('alt="A curve and its mirror image."', 'alt="figure.png"', "has a path as alt text"),
    ('src="picture.png"', 'src="lost.png"', "File not found"),
    ("style/book.css", "style/lost.css", "File not found"),
    ("style/page.js", "style/lost.js", "File not found"),
    ('{"state": {"abc": {}}}', '{"state": {"other": {}}}', "has no state on the page"),
    ("picture.png", "https://example.org/picture.png", "is loaded from the network"),
    ("style/book.css", "https://example.org/book.css", "is loaded from the network"),
    ("style/page.js", "//example.org/page.js", "is loaded from the network"),
    ("<h1", '<iframe src="lost.html" title="x"></iframe><h1', "File not found"),
    ("<h1", '<link rel="preload" href="lost.js"><h1', "File not found"),
    ("<h1", "<pre>Traceback (most recent call last)</pre><h1", "shows an error"),
    ("<h1", '<div class="output traceback">x</div><h1', "shows an error"),
    ("<h1", "<p>| a | <code>b</code> |\n|---|---|\n| 1 | 2 |</p><h1", "shown as text"),
    ("<h1", "<p>so that\n(eq-of-motion)</p><h1", "the label eq-of-motion is shown as text"),
    ("<h1", '<div class="output stderr">UserWarning</div><h1', "shows warnings"),
])
def test_each_defect_is_found_once(site, before, after, finding):
    assert before in SOUND
    (site / "index.html").write_text(SOUND.replace(before, after))
    problems = [str(problem) for problem in audit(site)]
    assert len(problems) == 1
    assert problems[0].startswith("index.html: ") and finding in problems[0]


def test_an_error_in_an_example_of_the_reference_is_none(site):
    example = '<div class="highlight-pycon notranslate"><pre>Traceback (most recent call last):</pre></div>'
    (site / "index.html").write_text(SOUND.replace("<h1", f"{example}<h1"))
    assert audit(site) == []


def test_what_npm_did_not_deliver_may_come_from_the_network_and_nothing_else(site):
    address = ON_PAGES["mathjax"].address
    (site / "index.html").write_text(SOUND.replace("style/page.js", address))
    assert audit(site) == []
    (site / VENDOR_FOLDER / "mathjax").mkdir(parents=True)
    assert ["is loaded from the network" in str(problem) for problem in audit(site)] == [True]


def test_a_missing_page_is_found(site):
    assert [str(p) for p in audit(site, expected=["index", "chapter"])] == ["chapter.html: the page is missing"]


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="build the book first"):
        audit(tmp_path)


def test_addresses_of_features_in_the_atlas_are_no_anchors_but_its_page_must_be_there(site):
    (site / "index.html").write_text(SOUND.replace("<h1", '<a href="atlas/index.html#f/697">697</a><h1'))
    assert ["File not found" in str(problem) or "atlas" in str(problem) for problem in audit(site)] == [True]
    (site / "atlas").mkdir()
    (site / "atlas" / "index.html").write_text("<h1>Atlas</h1>")
    assert audit(site) == []
    (site / "index.html").write_text(SOUND.replace("<h1", '<a href="atlas/index.html#elsewhere">697</a><h1'))
    assert ["Cannot find fragment" in str(problem) for problem in audit(site)] == [True]
