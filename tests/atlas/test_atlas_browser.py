"""The atlas in a real browser, by mouse, by keyboard and by address, compared with the data it was made from."""

import re

import numpy as np
import pytest
from atlas_browsing import live, place, title, uncovered, wait_for_title
from small_atlas import COPIES

from groupcc_lite.actions import PlanarAction
from groupcc_lite.atlas import storage
from groupcc_lite.groups import dihedral
from groupcc_lite.symmetry import INVARIANT, TAU

pytestmark = pytest.mark.browser


# ------------------------------------------------------------------------------------------------------ the first look

def test_the_page_works_from_a_folder_without_a_network(visit, site):
    page = visit(site.folder.as_uri() + "/index.html", offline=True)
    page.wait_for_function("maps.crosscoder.drawnPictures > 3 && maps.sae.drawnPictures > 3")
    assert "D_8, profile smoke" in page.locator("#origin").inner_text()
    assert title(page) == "Every feature, and how it turns"
    # A feature with close relatives, and one example of each symmetry that occurs.
    labels = {site.numbers["subgroups"][str(k)]["label"] for k in site.numbers["tables"]["crosscoder"]["subgroup"]}
    assert page.locator(".examples li").count() - 1 == len(labels) == page.locator(".chip").count()
    for link in page.locator(".examples a").all()[1:]:
        row = site.numbers["tables"]["crosscoder"]["features"].index(int(link.get_attribute("href")[3:]))
        label = site.numbers["subgroups"][str(site.numbers["tables"]["crosscoder"]["subgroup"][row])]["label"]
        assert label.replace(" x ", " × ") in link.inner_text()
    page.locator(".examples a").first.click()
    page.wait_for_selector(".heatmap[data-ready=yes]")
    assert page.locator(".alike").first.inner_text() == "1.00"


def test_the_numbers_above_the_maps_are_those_of_the_data(visit, site):
    page = visit(site.url)
    crosscoder, sae = page.locator(".stats").all_inner_texts()
    assert "8 active at a time; explains 50.0 % of the variance of all 16 blocks" in crosscoder
    assert "30 features" in sae and "its one block" in sae


# ----------------------------------------------------------------------------------------------------------- by mouse

def test_hovering_shows_the_picture_and_the_symmetry(visit, site):
    page = visit(site.url)
    table = site.numbers["tables"]["crosscoder"]
    drawn = [n for n in uncovered(page, "crosscoder") if table["picture"][table["features"].index(n)] >= 0]
    for number in (drawn[0], drawn[-1]):
        page.mouse.move(*place(page, "crosscoder", number))
        page.wait_for_selector(f"#card canvas[data-feature='#f/{number}'][data-ready=yes]")
        text, row = page.locator("#card").inner_text(), site.numbers["tables"]["crosscoder"]["features"].index(number)
        assert str(number) in text and f"fires on {number + 1}.0 %" in text
        assert site.numbers["subgroups"][str(table["subgroup"][row])]["label"].replace(" x ", " × ") in text
        # The picture is this feature's: its blue is its place among the pictures (see small_atlas.discs).
        blue = page.evaluate("() => { const c = document.querySelector('#card canvas');"
                             "return c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[2]; }")
        count = int((table["picture"] >= 0).sum())
        assert blue == pytest.approx(255 * table["picture"][row] / count, abs=14)
    page.mouse.move(5, 5)
    assert page.locator("#card").is_hidden()


def test_a_click_shows_everything_about_the_feature(visit, site):
    page = visit(site.url)
    table = site.numbers["tables"]["crosscoder"]
    number = next(n for n in uncovered(page, "crosscoder") if table["margin"][table["features"].index(n)] > 0.2)
    row = table["features"].index(number)
    page.mouse.click(*place(page, "crosscoder", number))
    page.wait_for_selector(".heatmap[data-ready=yes]")
    assert page.url.endswith(f"#f/{number}") and title(page) == f"Feature {number}"
    subgroup = site.numbers["subgroups"][str(table["subgroup"][row])]
    text = page.locator("div.kept").inner_text()
    assert subgroup["words"].replace("nothing but the identity", "No element but the identity") in text
    assert f"Margin {table['margin'][row]:.2f}" in text and "doubtful" not in text
    assert f"inside {table['inside'][row]:.2f}" in text.replace("−", "-")
    shown = page.locator("#detail dd").all_inner_texts()
    assert shown[0] == f"{number + 1}.0 %" and shown[3] == f"{table['equivariance'][row]:.2f}?"
    # The relatives, best first, with the elements that carry them over.
    names = [page.evaluate("(name) => pretty(name)", site.numbers["group"]["elements"][h])
             for h in table["relative_element"][row]]
    assert page.locator(".relatives .moves").all_inner_texts() == names
    links = [a.get_attribute("href") for a in page.locator(".relatives a").all()]
    assert links == [f"#f/{table['features'][other]}" for other in table["relatives"][row]]
    cosines = [float(text.replace("−", "-")) for text in page.locator(".alike").all_inner_texts()]
    assert cosines == pytest.approx(table["relative_cosine"][row], abs=0.0051)
    assert cosines[:COPIES - 1] == pytest.approx([1] * (COPIES - 1), abs=0.01)
    page.locator(".relatives a").nth(1).click()
    wait_for_title(page, f"Feature {links[1][3:]}")
    assert page.url.endswith(links[1])


def test_circles_heatmap_and_spectrum_are_drawn_from_the_data(visit, site):
    table, group = site.numbers["tables"]["crosscoder"], site.numbers["group"]
    number = table["features"][COPIES * 3 + 1]
    row = table["features"].index(number)
    page = visit(f"{site.url}#f/{number}")
    page.wait_for_selector(".heatmap[data-ready=yes]")
    dots = page.evaluate("""() => [...document.querySelectorAll('.dot')].map(dot => [Number(dot.dataset.element),
        ...dot.getAttribute('transform').match(/-?\\d[\\d.e-]*/g).map(Number), dot.classList.contains('kept')])""")
    assert len(dots) == 8 + 2 * 8  # every mirror's axis has two ends
    for h, x, y, kept in dots:
        angle, cosine = np.radians(group["circle"][h]), table["centred"][row][h]
        assert np.hypot(x, y) == pytest.approx(82 * (cosine + 1) / 2, abs=0.1)
        along = x * np.cos(angle) - y * np.sin(angle)
        assert (abs(along) if h >= 8 else along) == pytest.approx(np.hypot(x, y), abs=0.1)
        assert kept == (h in site.numbers["subgroups"][str(table["subgroup"][row])]["elements"])
    assert page.locator(".circle .threshold").first.get_attribute("r") == str(82 * (TAU + 1) / 2)
    assert "centred profile c′(h)" in page.inner_text("#reads") and f"threshold {TAU}" in page.inner_text("#reads")
    # Pixels of the heatmap against the colours of the numbers.
    for g, h in ((0, 0), (0, 5), (5, 0), (3, 12), (15, 14)):
        pixel, colour = page.evaluate("""([g, h, value]) => { const c = document.querySelector('.heatmap'), n = 16,
            p = c.getContext('2d').getImageData((h + 0.5) * c.width / n, (g + 0.5) * c.height / n, 1, 1).data,
            q = d3.rgb(colours.diverging(value)); return [[p[0], p[1], p[2]], [q.r, q.g, q.b]]; }""",
                                      [g, h, float(table["blocks"][row][g][h])])
        assert pixel == pytest.approx(colour, abs=4)
    shares = [int(text.split()[0]) for text in page.locator(".spectrum .value").all_text_contents()]
    assert shares == pytest.approx(100 * table["spectrum"][row], abs=0.51)


def radii(page):
    """Of each dot: its element and its distance from the centre."""
    return page.evaluate("""() => [...document.querySelectorAll('.dot')].map(dot => [Number(dot.dataset.element),
        Math.hypot(...dot.getAttribute('transform').match(/-?\\d[\\d.e-]*/g).map(Number))])""")


def test_an_invariant_feature_is_shown_as_it_is_with_its_own_threshold(visit, site):
    table = site.numbers["tables"]["crosscoder"]
    row = next(row for row, k in enumerate(table["subgroup"])
               if site.numbers["subgroups"][str(k)]["label"] == "all")
    page = visit(f"{site.url}#f/{table['features'][row]}")
    assert all(radius == pytest.approx(82 * (table["profile"][row][h] + 1) / 2, abs=0.1) for h, radius in radii(page))
    assert page.locator(".circle .threshold").first.get_attribute("r") == str(82 * (INVARIANT + 1) / 2)
    text = page.inner_text("#reads")
    assert "not centred" in text and f"threshold {INVARIANT}" in text
    assert "outside" not in page.inner_text("div.kept") and f"threshold {INVARIANT}" in page.inner_text("div.kept")
    assert page.locator(".stage output").inner_text().startswith("e   c = 1")


def test_what_a_label_is_worth_is_said_in_words(visit, site):
    """Every verdict, on every feature, from the arrays; each of them occurs."""
    table, subgroups, page = site.numbers["tables"]["crosscoder"], site.numbers["subgroups"], visit(site.url)
    seen = set()
    for row, number in enumerate(table["features"]):
        page.evaluate("(number) => { location.hash = `#f/${number}`; }", number)
        wait_for_title(page, f"Feature {number}")
        own, found = (subgroups[str(table[key][row])] for key in ("subgroup", "supported"))
        expected = ["trivial"]
        if len(own["elements"]) > 1:
            if own == found:
                expected.append("untested" if own["label"] == "all" else "supported")
            elif len(found["elements"]) > 1:
                expected.append("partly")
            else:
                expected.append("unsupported" if own["testable"] else "untested")
            expected.append({1: "confirmed", 0: "unconfirmed", -1: "silent"}[int(table["confirmed"][row])])
        lines = page.locator(".worth li")
        assert lines.evaluate_all("lines => lines.map(line => line.dataset.says)") == expected, number
        texts = lines.all_inner_texts()
        assert texts[0].startswith(f"{100 * table['trivial'][row]:.1f} %")
        if "supported" in expected:
            assert f"False discovery rate {table['rate'][row]:.2f}, allowed 0.1" in texts[1]
        if "partly" in expected:
            assert f"Supported only: {found['label']}." in texts[1] and "0.02" in texts[1]
        if {"confirmed", "unconfirmed"} & {*expected}:
            assert f"{table['encoder'][row]:.2f}." in texts[2].replace("−", "-")
        seen |= {*expected}
    assert seen == {"trivial", "supported", "partly", "unsupported", "untested", "confirmed", "unconfirmed", "silent"}


def test_old_data_are_shown_as_they_were_made(visit, site):
    folder = site.build(old=True)
    numbers = storage.read_atlas(folder / "data")
    table = numbers["tables"]["crosscoder"]
    row = COPIES * 3 + 1
    page = visit(f"{folder.as_uri()}/index.html#f/{table['features'][row]}")
    label = numbers["subgroups"][str(table["subgroup"][row])]["label"].replace(" x ", " × ")
    assert page.locator("div.kept strong").inner_text() == label
    assert all(radius == pytest.approx(82 * (table["profile"][row][h] + 1) / 2, abs=0.1) for h, radius in radii(page))
    assert page.locator(".circle .threshold").first.get_attribute("r") == str(82 * 1.7 / 2)
    assert page.locator(".worth").count() == 0 and "onfirmed" not in page.inner_text("#detail")
    text = page.inner_text("#reads")
    assert "not centred" in text and "earlier rule" in text and "threshold 0.7" in text
    assert page.locator(".stage output").inner_text().startswith("e   c = 1")
    whole = next(number for number, k in zip(table["features"], table["subgroup"], strict=True)
                 if numbers["subgroups"][str(k)]["label"] == "all")
    page.evaluate("(number) => { location.hash = `#f/${number}`; }", whole)
    wait_for_title(page, f"Feature {whole}")
    assert "threshold 0.7" in page.inner_text("div.kept") and "threshold 0.7" in page.inner_text("#reads")


def test_the_map_zooms_and_shows_more_pictures(visit, site):
    page = visit(site.url, viewport={"width": 1200, "height": 400})
    page.wait_for_function("maps.crosscoder.drawnPictures > 0")
    size = "() => maps.crosscoder.room.filter((_, row) => maps.crosscoder.hasPicture(row)).length"
    before = page.evaluate(size)
    for _ in range(4):
        page.click("#map-crosscoder [data-zoom=in]")
    assert page.evaluate("maps.crosscoder.transform.k") == pytest.approx(1.7**4)
    assert page.evaluate(size) > before and page.evaluate("maps.sae.transform.k") == 1
    page.click("#map-crosscoder [data-zoom=all]")
    assert page.evaluate("maps.crosscoder.transform.k") == 1
    page.mouse.move(*place(page, "crosscoder", 0))
    page.mouse.wheel(0, -400)
    page.wait_for_function("maps.crosscoder.transform.k > 1.2")


# -------------------------------------------------------------------------------------------------------- by keyboard

def test_arrow_keys_walk_and_enter_chooses(visit, site):
    page = visit(site.url)
    page.focus("#map-crosscoder .plot")
    page.keyboard.press("ArrowRight")
    start = page.evaluate("maps.crosscoder.cursor")
    number = site.numbers["tables"]["crosscoder"]["features"][start]
    assert live(page).startswith(f"feature {number}, symmetry: ") and page.locator("#card").is_visible()
    steps = {"ArrowRight": (0, 1), "ArrowLeft": (0, -1), "ArrowUp": (1, -1), "ArrowDown": (1, 1)}
    for key, (axis, sign) in steps.items():
        page.evaluate("(row) => { maps.crosscoder.cursor = row; }", start)
        page.keyboard.press(key)
        there = page.evaluate("maps.crosscoder.cursor")
        places = page.evaluate("(rows) => rows.map(row => maps.crosscoder.places[row])", [start, there])
        assert there == start or sign * (places[1][axis] - places[0][axis]) > 0, key
    there = page.evaluate("maps.crosscoder.cursor")
    page.keyboard.press("Enter")
    number = site.numbers["tables"]["crosscoder"]["features"][there]
    wait_for_title(page, f"Feature {number}")
    assert page.url.endswith(f"#f/{number}") and live(page).startswith(f"Chosen: feature {number}")
    assert page.evaluate("document.activeElement.className") == "plot"
    page.keyboard.press("+")
    page.wait_for_function("maps.crosscoder.transform.k > 1")
    page.keyboard.press("0")
    page.wait_for_function("maps.crosscoder.transform.k === 1")
    page.keyboard.press("Escape")
    assert "#" not in page.url and title(page) == "Every feature, and how it turns"
    assert live(page) == "No feature is chosen." and page.locator("#card").is_hidden()


def test_every_feature_can_be_reached_with_arrow_keys(visit, site):
    page = visit(site.url)
    reached, total = page.evaluate("""() => { const map = maps.crosscoder, seen = new Set([0]), waiting = [0];
        map.actions = { ...map.actions, walk() {}, hover() {} };
        for (const row of waiting) for (const way of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
            map.cursor = row; map.walk(...way);
            if (!seen.has(map.cursor)) { seen.add(map.cursor); waiting.push(map.cursor); } }
        return [seen.size, map.table.count]; }""")
    assert reached == total


def test_the_slider_moves_the_picture_by_elements(visit, site):
    page = visit(f"{site.url}#f/{site.numbers['tables']['crosscoder']['features'][1]}")
    page.focus("#element")
    for h in (1, 2):
        page.keyboard.press("ArrowRight")
        found = page.evaluate("getComputedStyle(document.querySelector('.frame canvas')).transform")
        a, b, c, d = PlanarAction(dihedral(8)).matrices[h].flatten()
        assert [float(x) for x in re.findall(r"-?[\d.e-]+", found)][:4] == pytest.approx([a, c, b, d], abs=1e-4)
    cosine = site.numbers["tables"]["crosscoder"]["centred"][1][2]
    assert page.locator(".stage output").inner_text() == f"r²   c′ = {cosine:.2f}".replace("-", "−")
    assert page.get_attribute("#element", "aria-valuetext").startswith("r^2, centred cosine ")
    assert page.locator(".dot.now").count() == 1
    page.keyboard.press("End")
    assert page.locator(".dot.now").count() == 2 and page.input_value("#element") == "15"


def test_the_relatives_are_moved_together(visit, site):
    page = visit(f"{site.url}#f/{site.numbers['tables']['crosscoder']['features'][2]}")
    transform = "() => [...document.querySelectorAll('.relatives .small')].map(c => getComputedStyle(c).transform)"
    assert set(page.evaluate(transform)) == {"none"}
    page.focus(".turn")
    page.keyboard.press("Enter")
    assert page.get_attribute(".turn", "aria-pressed") == "true"
    matrices = PlanarAction(dihedral(8)).matrices
    elements = site.numbers["tables"]["crosscoder"]["relative_element"][2]
    for h, found in zip(elements, page.evaluate(transform), strict=True):
        a, b, c, d = matrices[h].flatten()
        numbers = [1, 0, 0, 1] if found == "none" else [float(x) for x in re.findall(r"-?[\d.e-]+", found)][:4]
        assert numbers == pytest.approx([a, c, b, d], abs=1e-4)


# --------------------------------------------------------------------------------------------------------- by site.url

def test_links_back_and_forward(visit, site):
    page = visit(f"{site.url}#f/5")
    assert title(page) == "Feature 5"
    page.click("[aria-label^='Next feature']")
    wait_for_title(page, "Feature 6")
    page.evaluate("location.hash = '#sae/7'")
    wait_for_title(page, "SAE feature 7")
    for name in ("Feature 6", "Feature 5"):
        page.go_back()
        wait_for_title(page, name)
    page.go_forward()
    wait_for_title(page, "Feature 6")
    assert page.evaluate("maps.crosscoder.table.features[maps.crosscoder.chosen]") == 6


@pytest.mark.parametrize("hash, message", [("#f/3", "never fires on the held-out images"),
                                           ("#f/4444", "does not exist; numbers go from 0 to"),
                                           ("#sae/30", "does not exist; numbers go from 0 to 29")])
def test_features_that_are_not_on_the_map_are_explained(visit, site, hash, message):
    page = visit(site.url + hash)
    assert message in page.locator("#detail .notice").inner_text() and message in live(page)


def test_the_autoencoder_has_pictures_but_no_blocks(visit, site):
    page = visit(site.url)
    number = uncovered(page, "sae")[0]
    page.mouse.move(*place(page, "sae", number))
    assert f"SAE {number}" in page.locator("#card").inner_text()
    page.mouse.click(*place(page, "sae", number))
    wait_for_title(page, f"SAE feature {number}")
    assert page.url.endswith(f"#sae/{number}") and "There is no heatmap" in page.locator("#detail").inner_text()
    assert page.locator("#detail .heatmap, #detail .circle, #detail .spectrum").count() == 0
    row = site.numbers["tables"]["sae"]["features"].index(number)
    links = [a.get_attribute("href") for a in page.locator(".relatives a").all()]
    assert links == [f"#sae/{other}" for other in site.numbers["tables"]["sae"]["relatives"][row]]


# ------------------------------------------------------------------------------------------------------------ filters

def test_filters_by_symmetry_family_and_number(visit, site):
    page = visit(site.url)
    table = site.numbers["tables"]["crosscoder"]
    labels = [site.numbers["subgroups"][str(k)]["label"] for k in table["subgroup"]]
    shown = "(kind) => maps[kind].table.features.filter((_, row) => maps[kind].shown[row])"
    page.click(".chip[data-label='half turn']")
    wanted = [n for n, label in zip(table["features"], labels, strict=True) if label == "half turn"]
    assert page.evaluate(shown, "crosscoder") == wanted and len(page.evaluate(shown, "sae")) == 30
    assert page.locator("#count").inner_text() == f"{len(wanted)} of {len(labels)} · SAE 30 of 30"
    page.click(".chip[data-label='all']")
    assert len(page.evaluate(shown, "crosscoder")) == len(wanted) + labels.count("all")
    hidden = table["features"][labels.index("none")]
    page.mouse.move(*place(page, "crosscoder", hidden))
    assert page.evaluate("maps.crosscoder.hovered") != labels.index("none"), "what is filtered out cannot be hovered"
    page.click("#reset")
    page.select_option("#family", "crosscoder/1")
    family = [n for n, k in zip(table["features"], table["family"], strict=True) if k == 1]
    assert page.evaluate(shown, "crosscoder") == family and len(page.evaluate(shown, "sae")) == 30
    page.click("#reset")
    page.fill("#number", "5, 10-12")
    assert page.evaluate(shown, "crosscoder") == [5, 10, 11, 12] == page.evaluate(shown, "sae")
    page.press("#number", "Enter")
    wait_for_title(page, "Feature 5")
    page.fill("#number", "five")
    assert page.get_attribute("#number", "aria-invalid") == "true"
    assert len(page.evaluate(shown, "crosscoder")) == len(labels)


def test_a_symmetry_shows_its_features_beside_the_maps(visit, site):
    """Whatever was chosen before; and Clear filters leads back to the introduction."""
    table = site.numbers["tables"]["crosscoder"]
    labels = [site.numbers["subgroups"][str(k)]["label"] for k in table["subgroup"]]
    page = visit(f"{site.url}#f/{table['features'][0]}")
    wait_for_title(page, f"Feature {table['features'][0]}")
    page.click(".chip[data-label='one mirror']")
    rows = [row for row, label in enumerate(labels) if label == "one mirror"]
    wait_for_title(page, f"{len(rows)} features")
    listed = {int(link.get_attribute("href")[3:]): "doubtful" in link.inner_text()
              for link in page.locator(".examples a").all()}
    assert listed == {table["features"][row]: bool(table["margin"][row] < 0.05) for row in rows}
    page.locator(".examples a").first.click()
    wait_for_title(page, f"Feature {next(iter(listed))}")
    page.keyboard.press("Escape")
    wait_for_title(page, f"{len(rows)} features")
    page.locator(".examples a").first.click()
    wait_for_title(page, f"Feature {next(iter(listed))}")
    page.click("#reset")
    wait_for_title(page, "Every feature, and how it turns")


def test_every_filter_leads_to_a_list_and_an_empty_one_says_so(visit, site):
    page = visit(f"{site.url}#f/5")
    wait_for_title(page, "Feature 5")
    page.select_option("#family", "crosscoder/1")
    count = sum(int(k) == 1 for k in site.numbers["tables"]["crosscoder"]["family"])
    wait_for_title(page, f"{count} features")
    page.fill("#number", "99999")
    wait_for_title(page, "No feature is left")
    page.click("#reset")
    page.fill("#number", "0-99999")  # nothing is filtered out
    wait_for_title(page, "Every feature, and how it turns")


def test_doubtful_labels_are_hollow_and_numbers_explain_themselves(visit, site):
    page = visit(site.url)
    table = site.numbers["tables"]["crosscoder"]
    labels = [site.numbers["subgroups"][str(k)]["label"] for k in table["subgroup"]]
    plain, symmetric = labels.index("none"), labels.index("one mirror")
    page.evaluate("(rows) => { for (const row of rows) maps.crosscoder.table.margin[row] = 0.04; recolourMaps(); }",
                  [plain, symmetric])
    look = "(row) => maps.crosscoder.look(row).hollow"
    assert [row for row in range(len(labels)) if page.evaluate(look, row)] == [symmetric]
    page.click(".chip[data-label='one mirror']")
    tagged = [link.get_attribute("href") for link in page.locator(".examples a").all()
              if "doubtful" in link.inner_text()]
    assert tagged == [f"#f/{table['features'][symmetric]}"]
    page.select_option("#colour", "drawing")
    assert not page.evaluate(look, symmetric)
    page = visit(f"{site.url}#f/{table['features'][0]}")
    assert page.locator(".help").count() == 3
    for mark in page.locator(".help").all():
        assert not mark.locator("span").is_visible()
        mark.locator("summary").focus()
        page.keyboard.press("Enter")
        assert len(mark.locator("span").inner_text()) > 60


def test_colours_follow_the_menu(visit, site):
    page = visit(site.url)
    table, look = site.numbers["tables"]["crosscoder"], "(row) => JSON.stringify(maps.crosscoder.look(row))"
    for mode, key in (("family", "family"), ("drawing", "drawing")):
        page.select_option("#colour", mode)
        assert page.locator("#legend").is_visible()
        by_class = {}
        for row in range(len(table["features"])):
            by_class.setdefault(int(table[key][row]), set()).add(page.evaluate(look, row))
        assert all(len(looks) == 1 for looks in by_class.values())
        assert len(set.union(*by_class.values())) == len(by_class), "colour and sign together tell classes apart"
    page.select_option("#colour", "frequency")
    assert page.evaluate(look, 0) != page.evaluate(look, 30)


def test_a_family_is_one_click_away(visit, site):
    row = int(np.flatnonzero(site.numbers["tables"]["crosscoder"]["family"] == 2)[0])
    page = visit(f"{site.url}#f/{site.numbers['tables']['crosscoder']['features'][row]}")
    page.click("#detail .link")
    assert page.input_value("#family") == "crosscoder/2"
