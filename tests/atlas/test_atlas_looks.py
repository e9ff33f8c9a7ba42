"""How the atlas looks and moves: light and dark, on a phone, for other groups, and when files are missing."""

import re
import shutil

import pytest
from atlas_browsing import place, uncovered, wait_for_title

from groupcc_lite.actions import ColourAction, PlanarAction
from groupcc_lite.groups import cyclic, parse_group

pytestmark = pytest.mark.browser


# ------------------------------------------------------------------------------------------- light, dark, small, still

def luminance(page, selector):
    found = page.evaluate("(s) => getComputedStyle(document.querySelector(s)).backgroundColor", selector)
    return sum(float(x) for x in re.findall(r"[\d.]+", found)[:3])


def test_dark_mode_follows_the_system_and_the_button(visit, site):
    page = visit(site.url, color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark" and luminance(page, "#detail") < 150
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: light" and luminance(page, "#detail") > 700
    page.reload()
    page.wait_for_selector("#detail h2")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: dark" and page.evaluate("localStorage.theme") == "dark"


def test_inside_the_book_the_page_follows_the_books_theme(visit, site):
    (site.folder / "frame.html").write_text('<title>Book</title><link rel="icon" href="data:,">'
                                            '<iframe src="index.html" width="900" height="700"></iframe>')
    page = visit(site.url)
    page.goto(site.url.replace("index", "frame"))
    frame = page.frame_locator("iframe")
    frame.locator("#detail h2").wait_for()
    for name in ("dark", "light"):
        page.evaluate("(theme) => frames[0].postMessage({ theme }, '*')", name)
        frame.locator(f":root[data-theme={name}]").wait_for(state="attached")
    assert frame.locator("#theme").is_hidden()


def test_a_phone_shows_everything_without_scrolling_sideways_and_taps_choose(visit, site):
    page = visit(site.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#map-crosscoder").scroll_into_view_if_needed()
    number = uncovered(page, "crosscoder")[0]
    page.touchscreen.tap(*place(page, "crosscoder", number))
    wait_for_title(page, f"Feature {number}")
    page.wait_for_function("Math.abs(document.querySelector('#detail').getBoundingClientRect().top) < 60")
    page.wait_for_selector(".heatmap[data-ready=yes]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_motion_only_where_it_is_wanted(visit, site):
    duration = "getComputedStyle(document.querySelector('.small')).transitionDuration"
    assert visit(site.url).evaluate(duration) == "0s"
    assert visit(site.url, reduced_motion="no-preference").evaluate(duration) == "0.5s"


# --------------------------------------------------------------------------------------------- other groups, and damage

def test_a_group_without_reflections_has_one_circle(visit, site):
    page = visit(site.build(group=cyclic(6)).as_uri() + "/index.html#f/4")
    assert page.locator(".circle").count() == 1 and page.locator(".dot").count() == 6
    assert page.locator(".halves").count() == 0


def test_a_group_of_another_kind_has_bars(visit, site):
    group = parse_group("C_4 x C_2")
    action = PlanarAction(group, [PlanarAction(cyclic(4)).matrices[k // 2] for k in range(8)])
    page = visit(site.build(action=action).as_uri() + "/index.html#f/4")
    assert page.locator(".bars").count() == 1 and page.locator(".bars .dot").count() == 8
    assert page.locator(".circle").count() == 0


def test_a_group_of_colours_recolours_the_picture(visit, site):
    page = visit(site.build(action=ColourAction(cyclic(3))).as_uri() + "/index.html#f/1")
    page.focus("#element")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('.frame canvas').style.filter") == 'url("#recolour-1")'
    values = page.locator("#recolour-1 feColorMatrix").get_attribute("values").split()
    assert [float(values[k]) for k in (0, 1, 2)] == pytest.approx(ColourAction(cyclic(3)).colours[1][0])


@pytest.mark.parametrize("file, message", [("data/sae.js", "data/sae.js is missing"),
                                           ("data/atlas.js", "data/atlas.js is missing"),
                                           ("_static", "d3, the library that draws it, could not be loaded")])
def test_what_is_missing_is_named(visit, site, tmp_path, file, message):
    shutil.copytree(site.folder, tmp_path / "damaged")
    path = tmp_path / "damaged" / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = visit((tmp_path / "damaged").as_uri() + "/index.html", expected_errors=1)
    assert message in page.locator("#problem").inner_text()


def test_the_watch_over_the_visits_sees_a_request_and_an_error(site):
    for harm, message in (("fetch('http://127.0.0.1:9/x').catch(() => {})", "127.0.0.1:9"),
                          ("setTimeout(() => { throw new Error('broken'); })", "broken")):
        visits = site.visits()
        page = next(visits)(site.url)
        page.evaluate(harm)
        page.wait_for_timeout(300)
        with pytest.raises(AssertionError, match=message):
            next(visits)
