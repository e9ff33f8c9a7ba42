"""Every page of the book in a real browser without a network: on a desk in the light, on a phone in the dark.

GROUPCC_PAGES names a folder of built pages to look at; otherwise the book is made with the smallest settings.
GROUPCC_BROWSER=required makes everything that is missing an error instead of a reason to skip.
"""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from browsing import DARKEST_PAPER, LIGHTEST_NIGHT, Reader, View, axe_rules, chromium, require, served
from built_book import ROOT, make_smoke_book

from bookmaker import html_repairs
from groupcc_lite import atlas

DESK = View("desk", 1280, "light", True)
PHONE = View("phone", 390, "dark", False)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def axe(tmp_path_factory) -> str:
    """The text of the script that knows the rules."""
    return axe_rules(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module")
def pages(browser, axe, tmp_path_factory) -> Path:
    """The folder of the built pages. The browser is asked for first: without it nothing needs to be built."""
    links = atlas.script_links(html_repairs.ON_PAGES, ROOT)
    require(all(map(atlas.is_local_link, links.values())), "npm cannot fetch what the pages load")
    if "GROUPCC_PAGES" in os.environ:
        return Path(os.environ["GROUPCC_PAGES"]).resolve()
    return make_smoke_book(tmp_path_factory).page.parent


@pytest.fixture(scope="module")
def readers(browser, axe, pages):
    with served(pages) as address:
        yield {view.name: Reader(browser, view, pages, address, axe) for view in (DESK, PHONE)}


@pytest.fixture(scope="module")
def names(pages) -> list[str]:
    """Every page but the one at the root, which leads on to the first."""
    found = {path.relative_to(pages).as_posix() for path in pages.rglob("*.html")} - {"index.html"}
    return sorted(name for name in found if not name.startswith("_static/"))


@pytest.fixture(scope="module")
def visits(readers, names):
    """Every page in both views."""
    return {(name, view): reader.visit(name) for view, reader in readers.items() for name in names}


def wrong(visits, look) -> dict[str, object]:
    """By page and view what `look` finds, where it finds anything."""
    return {f"{name} ({view})": found for (name, view), visit in visits.items() if (found := look(visit))}


def test_every_page_was_opened(visits, names):
    assert {"book/index.html", "search.html"} <= set(names)
    assert sum(name.startswith("notebooks/") for name in names) >= 13
    assert len(visits) == 2 * len(names)


def test_nothing_comes_from_elsewhere(visits):
    assert wrong(visits, lambda visit: visit.requests) == {}


def test_the_console_stays_empty(visits):
    assert wrong(visits, lambda visit: visit.errors) == {}


def test_mathematics_is_typeset(visits):
    def look(visit):
        facts = visit.facts
        return facts["raw"] or facts["mistaken"] or facts["formulas"] - facts["typeset"]

    assert wrong(visits, look) == {}
    assert sum(visit.facts["typeset"] for visit in visits.values()) > 100


def test_every_image_is_shown(visits):
    assert wrong(visits, lambda visit: visit.facts["broken"]) == {}
    assert sum(visit.facts["images"] for visit in visits.values()) > 20


def test_every_widget_is_drawn(visits):
    assert wrong(visits, lambda visit: visit.facts["views"] - visit.facts["widgets"]) == {}
    assert sum(visit.facts["widgets"] for visit in visits.values()) > 2


def test_no_page_is_wider_than_the_screen_and_nothing_is_cut_off(visits):
    width = {view.name: view.width for view in (DESK, PHONE)}
    assert {key: visit.facts["width"] for key, visit in visits.items() if visit.facts["width"] > width[key[1]]} == {}
    assert wrong(visits, lambda visit: visit.facts["cut"]) == {}


def test_light_is_light_and_dark_is_dark(visits):
    background = {key: visit.facts["background"] for key, visit in visits.items()}
    assert [key for key, value in background.items() if key[1] == "desk" and value < DARKEST_PAPER] == []
    assert [key for key, value in background.items() if key[1] == "phone" and value > LIGHTEST_NIGHT] == []


def test_no_serious_violation_of_accessibility(visits):
    assert wrong(visits, lambda visit: visit.violations) == {}


# What stands beside the slider, what its handle tells a screen reader, and the picture with its description.
STATE = """widget => {
  const image = [...widget.querySelectorAll("img")].find(candidate => candidate.offsetParent !== null);
  return [widget.querySelector(".widget-readout").innerText.trim(),
          widget.querySelector("[role=slider]").getAttribute("aria-valuetext"), image?.alt, image?.src];
}"""


def changed(page, widget, before: list[str]) -> list[str]:
    """The state of a widget as soon as every part of it differs from `before`."""
    page.wait_for_function(f"([widget, before]) => ({STATE})(widget).every((part, k) => part && part !== before[k])",
                           arg=[widget, before])
    return widget.evaluate(STATE)


def at_home(page, widget, handle) -> list[str]:
    """The state of a widget with its slider, which has the focus, on the left."""
    before = widget.evaluate(STATE)
    if float(handle.get_attribute("aria-valuenow")) == 0:
        return before
    page.keyboard.press("Home")
    return changed(page, widget, before)


def sliders(page) -> list:
    """The widgets of a page, each of which must hold one slider; no other kind is known here."""
    widgets = page.query_selector_all(".widget-subarea > .jupyter-widgets, .cell_output > .jupyter-widgets")
    for widget in widgets:
        assert len(widget.query_selector_all("[role=slider]")) == 1, "no test knows how to drive this widget"
        assert not widget.query_selector_all("button, select, input"), "no test knows how to drive this widget"
    return widgets


@pytest.fixture(scope="module")
def with_widgets(pages, names) -> list[str]:
    return [name for name in names if "jupyter.widget-view+json" in (pages / name).read_text()]


@pytest.mark.parametrize("view", ["desk", "phone"])
def test_every_widget_follows_the_keyboard(readers, with_widgets, view):
    for name in with_widgets:
        page = readers[view].open(name)
        for widget in sliders(page):
            handle = widget.query_selector("[role=slider]")
            last = round(float(handle.get_attribute("aria-valuemax")))
            assert handle.get_attribute("aria-label").strip() and last > 0
            handle.focus()
            first = at_home(page, widget, handle)
            page.keyboard.press("End")
            seen = [changed(page, widget, first)]
            for key in ["Home"] + ["ArrowRight"] * last:
                page.keyboard.press(key)
                seen.append(changed(page, widget, seen[-1]))
            # The last step arrives where End did, every other one says and shows something new.
            assert seen.pop() == seen[0]
            assert [len(set(column)) for column in zip(*seen, strict=True)] == [last + 1] * 4, name
            assert all(readout == spoken for readout, spoken, *_ in seen)
        assert readers[view].errors == [] and readers[view].requests == []


@pytest.mark.parametrize("view", ["desk", "phone"])
def test_every_widget_follows_the_mouse(readers, with_widgets, view):
    for name in with_widgets:
        page = readers[view].open(name)
        for widget in sliders(page):
            track, handle = (widget.query_selector(part) for part in (".noUi-base", ".noUi-handle"))
            track.hover()  # in sight, and standing still
            box = track.bounding_box()
            handle.focus()
            first = at_home(page, widget, handle)
            left, right = {"x": 2, "y": box["height"] / 2}, {"x": box["width"] - 2, "y": box["height"] / 2}
            track.click(position=right, force=True)
            last = changed(page, widget, first)
            page.wait_for_selector(".noUi-state-tap", state="detached")  # the handle glides there
            handle.hover()
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"], steps=4)
            page.mouse.up()
            middle = changed(page, widget, last)
            assert middle != first, name
            track.click(position=left, force=True)
            assert changed(page, widget, middle) == first, name


# Everything that a slider says from now on, in order, each once.
LISTEN = """widget => {
  const readout = widget.querySelector(".widget-readout");
  widget.said = [readout.innerText.trim()];
  new MutationObserver(() => {
    const text = readout.innerText.trim();
    if (widget.said.at(-1) !== text) widget.said.push(text);
  }).observe(readout, { childList: true, characterData: true, subtree: true });
}"""


def test_steps_of_a_process_are_shown_once_unless_motion_is_unwanted(readers, with_widgets):
    """In sight, the slider goes from its first step to its last, which is where it was."""
    reader, played = readers["desk"], 0
    for name in with_widgets:
        for motion in ("reduce", "no-preference"):
            reader.page.emulate_media(reduced_motion=motion)
            page = reader.open(name)
            for widget in page.query_selector_all(".jupyter-widgets.plays"):
                widget.evaluate(LISTEN)
                last = round(float(widget.query_selector("[role=slider]").get_attribute("aria-valuemax")))
                widget.scroll_into_view_if_needed()
                page.wait_for_timeout(1500)
                if motion == "reduce":
                    assert len(widget.evaluate("widget => widget.said")) == 1
                    continue
                page.wait_for_function("([widget, count]) => widget.said.length >= count", arg=[widget, last + 2])
                page.wait_for_timeout(1500)
                said = widget.evaluate("widget => widget.said")
                assert len(said) == last + 2 and len(set(said)) == last + 1
                assert said[0] == said[-1] == said[last + 1], "it starts full, with the last step"
                played += 1
        reader.page.emulate_media(reduced_motion="reduce")
    assert played == 4  # chapters 4, 11, 18 and 20


def test_a_slider_that_was_touched_does_not_play(readers, with_widgets):
    reader = readers["desk"]
    reader.page.emulate_media(reduced_motion="no-preference")
    page = reader.open(next(name for name in with_widgets if "04_heatmaps" in name))
    widget = page.query_selector(".jupyter-widgets.plays")
    widget.evaluate(LISTEN)
    widget.query_selector("[role=slider]").focus()  # which brings it into sight
    page.keyboard.press("Home")
    page.wait_for_timeout(2500)
    said = widget.evaluate("widget => widget.said")
    reader.page.emulate_media(reduced_motion="reduce")
    last = round(float(widget.query_selector("[role=slider]").get_attribute("aria-valuemax")))
    assert len(said) < last, "at most the steps before the key"
    assert widget.evaluate(STATE)[0] == said[-1]


@pytest.mark.parametrize("view", ["desk", "phone"])
def test_the_root_leads_to_the_first_page(readers, view):
    page = readers[view].page
    page.goto(f"{readers[view].base}/index.html")
    page.wait_for_url("**/book/index.html")


def test_the_search_finds_things_without_a_network(readers):
    page = readers["desk"].open("search.html?q=stabiliser")
    page.wait_for_selector("#search-results li a")
    assert "stabiliser" in page.inner_text("#search-results").lower()
    assert readers["desk"].requests == []


def test_the_switch_of_the_theme_goes_round(readers):
    page = readers["desk"].open("book/index.html")
    themes = []
    for _ in range(3):
        page.click(".theme-switch-button:visible")
        themes.append(page.evaluate("document.documentElement.dataset.theme"))
    assert {"light", "dark"} == set(themes)


def test_paper_is_white_in_the_dark_too(readers):
    page = readers["phone"].open("book/index.html")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


BAD = """<!DOCTYPE html><html><head><script src="https://example.org/far.js"></script></head>
<body style="background: white"><main><img src="lost.png"><p>\\(x^2\\)</p><span class="math">y</span>
<div style="width: 3000px; height: 9px"></div><button></button><p style="color: #eee">faint</p>
<script type="application/vnd.jupyter.widget-view+json">{}</script><script>nowhere()</script></main></body></html>"""


def test_every_defect_of_a_bad_page_is_noted(browser, axe, tmp_path, monkeypatch):
    """The negative control of all tests above."""
    (tmp_path / "bad.html").write_text(BAD)
    monkeypatch.setattr("browsing.READY", "async () => {}")  # its widget never comes
    with served(tmp_path) as address:
        visit = Reader(browser, PHONE._replace(served=True), tmp_path, address, axe).visit("bad.html")
    facts = visit.facts
    assert visit.requests == ["https://example.org/far.js"]
    assert [error for error in visit.errors if "nowhere is not defined" in error]
    assert [error for error in visit.errors if "404" in error]
    assert len(facts["raw"]) == 1 and facts["formulas"] - facts["typeset"] == 1
    assert facts["broken"] and facts["cut"] and facts["width"] > PHONE.width and facts["background"] > LIGHTEST_NIGHT
    assert facts["views"] - facts["widgets"] == 1
    found = {violation.split(":")[0] for violation in visit.violations}
    assert {"button-name", "color-contrast", "image-alt", "html-has-lang"} <= found


def test_what_is_missing_skips_unless_it_was_promised(monkeypatch):
    monkeypatch.delenv("GROUPCC_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no browser"):
        require(None, "no browser")
    monkeypatch.setenv("GROUPCC_BROWSER", "required")
    with pytest.raises(pytest.fail.Exception, match="no browser"):
        require(None, "no browser")
    require(True, "nothing is missing")


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """What tells `make_smoke_book` where to work: a folder of one worker among several."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    (tmp_path / "gw0").mkdir()
    return SimpleNamespace(getbasetemp=lambda: tmp_path / "gw0")


def test_the_book_is_made_once_for_all_workers(factory, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("built_book._make", lambda root, work: made.append(root) or root / "index.html")
    first, second = make_smoke_book(factory), make_smoke_book(factory)
    assert first == second == (tmp_path / "smoke-book", tmp_path / "smoke-work", tmp_path / "smoke-book" / "index.html")
    assert made == [tmp_path / "smoke-book"]


def test_a_book_that_could_not_be_made_is_not_tried_again(factory, monkeypatch):
    def fail(root, work):
        raise RuntimeError("no paper")

    monkeypatch.setattr("built_book._make", fail)
    with pytest.raises(RuntimeError, match="no paper"):
        make_smoke_book(factory)
    with pytest.raises(pytest.fail.Exception, match="no book to look at"):
        make_smoke_book(factory)
