"""What the finished pages gain: the addresses of their packages, repairs for screen readers, and a social card."""

import re

import pytest
import yaml
from PIL import Image

from bookmaker.html_repairs import CARD, CARD_SIZE, ON_PAGES, Site, configured, draw_card, finish, finished
from bookmaker.project_facts import Project

NOWHERE = Project("1", "D", "")
SOMEWHERE = Project("1", "D", "https://github.com/who/book")
SITE = Site("https://who.github.io/book/", "A book", "About <things>")
LOCAL = {name: f"_static/vendor/{name}/{package.entry}" for name, package in ON_PAGES.items()}
DISTANT = {name: package.address for name, package in ON_PAGES.items()}


@pytest.mark.parametrize("text", ["title: T\n", "title: T\nsphinx: {config: {numfig: true, mathjax_path: old}}\n"])
def test_the_configuration_learns_where_the_packages_are(text):
    near, far = (yaml.safe_load(configured(text, links, NOWHERE))["sphinx"]["config"] for links in (LOCAL, DISTANT))
    assert near["mathjax_path"] == "vendor/mathjax/es5/tex-chtml.js"  # counted from _static, as Sphinx does
    assert list(near["nb_ipywidgets_js"]) == ["vendor/requirejs/require.js", "vendor/html-manager/dist/embed-amd.js"]
    assert far["mathjax_path"].startswith("https://") and all(p.startswith("https://") for p in far["nb_ipywidgets_js"])
    assert [list(options) for options in near["nb_ipywidgets_js"].values()] == [[], ["data-jupyter-widgets-cdn"]]
    assert ("numfig" in near) == ("numfig" in text) and yaml.safe_load(configured(text, LOCAL, NOWHERE))["title"] == "T"


@pytest.mark.parametrize("before, after", [
    ('<script>const THEBE_JS_URL = "https://unpkg.com/x"; const b = 1</script>', ""),
    ('<script async="async" src="../_static/sphinx-thebe.js?v=1"></script>', ""),
    ('<link rel="stylesheet" href="../_static/sphinx-thebe.css?v=1" />', ""),
    ('<script type="text/x-thebe-config">\n{"a": 1}\n</script>', ""),
    ("<script>kernelName = 'python3'</script>", ""),
    ('<button class="btn search-button-field x" title="S" aria-label="Search" data-a="b">',
     '<button class="btn search-button-field x" title="S" data-a="b">'),
    ('<summary aria-label="Toggle hidden content">', "<summary>"),
    ('<i class="theme-switch fa-sun" data-mode="light" title="Light"></i>',
     '<i class="theme-switch fa-sun" data-mode="light"></i>'),
    ('<div role="list" class="citation-list">', '<div class="citation-list">'),
    ('<div class="citation" id="id2" role="doc-biblioentry">', '<div class="citation" id="id2">'),
    ('<div id="pst-primary-sidebar" class="a">',
     '<div id="pst-primary-sidebar" role="complementary" aria-label="Book" class="a">'),
    ('<a class="reference internal" href="api.html">The library</a><details><summary><span></span></summary>',
     '<a class="reference internal" href="api.html">The library</a><details>'
     '<summary aria-label="Pages below: The library"><span></span></summary>'),
    ('<th class="head"><p></p></th>', '<td class="head"></td>'),
    ("<th></th>", "<td></td>"),
])
def test_each_repair_does_what_it_says_and_nothing_twice(before, after):
    page = f"<head></head><p>{before}</p>"
    once = finished(page, "p.html", SITE)
    assert f"<p>{after}</p>" in once
    assert f"<p>{after}</p>" in finished(once, "p.html", SITE)


@pytest.mark.parametrize("sound", [
    '<script src="_static/book.js"></script>', "<th>name</th>", "<th><p>name</p></th>", "<script>kernels = 1</script>",
    '<button class="btn" aria-label="Search"></button>', '<i class="fa-sun" title="Light"></i>',
    "<summary>open</summary>"])
def test_what_is_sound_stays_as_it_is(sound):
    assert f"<p>{sound}</p>" in finished(f"<head></head><p>{sound}</p>", "p.html", SITE)


def tags(page: str) -> dict[str, str]:
    return dict(re.findall(r'<meta (?:property|name)="([^"]*)" content="([^"]*)" />', page))


def test_a_page_says_what_its_card_shows():
    found = tags(finished("<head><title>One &amp; two</title></head>", "book/one.html", SITE))
    assert found["og:title"] == "One &amp; two" and found["og:site_name"] == "A book"
    assert found["og:url"] == "https://who.github.io/book/book/one.html"
    assert found["og:image"] == "https://who.github.io/book/_static/social-card.png"
    assert found["description"] == "About &lt;things&gt;" and found["twitter:card"] == "summary_large_image"
    assert (found["og:image:width"], found["og:image:height"]) == ("1200", "630")


def test_a_card_without_an_address_has_no_picture_and_no_address():
    found = tags(finished("<head><title>One</title></head>", "book/one.html", SITE._replace(address="")))
    assert found["og:title"] == "One" and found["twitter:card"] == "summary"
    assert not {"og:url", "og:image"} & found.keys()


def test_buttons_come_with_the_address_and_open_the_published_notebooks():
    without, known = (yaml.safe_load(configured("title: T\n", LOCAL, project)) for project in (NOWHERE, SOMEWHERE))
    assert not {"repository", "launch_buttons", "html"} & without.keys()
    assert known["repository"] == {"url": "https://github.com/who/book", "branch": "published"}
    assert known["html"] == {"use_repository_button": True, "use_issues_button": True}
    assert known["launch_buttons"]["colab_url"].startswith("https://colab.research.google.com")


def test_the_page_at_the_root_becomes_a_whole_one_and_still_leads_on():
    line = '<meta http-equiv="Refresh" content="0; url=book/index.html" />'
    page = finished(line, "index.html", SITE)
    assert line in page and page.startswith("<!DOCTYPE html>\n<html lang") and tags(page)["og:title"] == "A book"
    assert "<title>A book</title>" in page


def test_only_pages_of_the_book_are_touched(tmp_path, root):
    theirs, bare = '<html data-content_root="./"><head></head></html>', "<html><head></head></html>"
    texts = {"one.html": theirs, "_static/two.html": theirs, "atlas/index.html": bare}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    finish(root, tmp_path, NOWHERE)
    assert [(tmp_path / name).read_text() == text for name, text in texts.items()] == [False, True, True]
    assert "og:title" in (tmp_path / "one.html").read_text()
    assert Image.open(tmp_path / CARD).size == CARD_SIZE


@pytest.mark.parametrize("figure", [True, False])
def test_the_card_is_the_same_every_time(tmp_path, figure):
    picture = tmp_path / "figure.png"
    if figure:
        Image.new("RGB", (60, 70), "red").save(picture)
    for name in ("a.png", "b.png"):
        draw_card("A book on things", picture, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    card = Image.open(tmp_path / "a.png").convert("RGB")
    assert card.size == CARD_SIZE
    right = card.crop((700, 40, 1180, 590)).getcolors(maxcolors=10**6)
    assert any(colour == (255, 0, 0) for _, colour in right) == figure
    assert len(card.crop((0, 0, 600, 630)).getcolors(maxcolors=10**6)) > 2  # the title


def test_the_card_says_what_the_sources_say(tmp_path):
    (tmp_path / "_config.yml").write_text("title: T\n")
    assert Site.of(tmp_path, SOMEWHERE) == ("https://who.github.io/book/", "T", "D")
