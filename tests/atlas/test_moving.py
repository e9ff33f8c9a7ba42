"""Relatives move into the feature's pose by the elements of the atlas, in the picture, on the page and on paper."""

from pathlib import Path

import numpy as np
import pytest
from browsing import chromium
from PIL import Image
from small_atlas import planted_atlas

from groupcc_lite import __main__ as cli
from groupcc_lite.actions import PlanarAction
from groupcc_lite.atlas import moving, storage, web_page
from groupcc_lite.groups import dihedral

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "book" / "reference" / "atlas"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The planted atlas; every feature has its picture, so that every feature can be shown."""
    atlas = planted_atlas(tmp_path_factory.mktemp("work"))
    table, size = atlas.tables["crosscoder"], 12
    numbers = np.arange(len(table.features))
    ramp = np.linspace(-30, 30, size)[None, None, :, None]
    images = np.broadcast_to(40 + numbers[:, None, None, None] + ramp, (len(numbers), size, size, 3)).astype(np.uint8)
    pictures = atlas.pictures | {"crosscoder": type(atlas.pictures["sae"])(numbers, np.ascontiguousarray(images))}
    return storage.write_atlas(atlas._replace(pictures=pictures), tmp_path_factory.mktemp("atlas"))


def wedge(size=64):
    """A picture without any symmetry: a smooth ramp and a spot off its axis."""
    y, x = np.mgrid[:size, :size] / size * 2 - 1
    spot = np.exp(-((x - 0.4) ** 2 + (y + 0.3) ** 2) / 0.05)
    return np.stack([128 + 90 * x, 128 + 90 * y, 255 * spot], axis=-1).clip(0, 255).astype(np.uint8)


def posed(matrices):
    """Pictures that all become `wedge` when they are moved by their matrix; these map pixels to pixels."""
    turned = {(1, 0): 0, (0, 1): 1, (-1, 0): 2, (0, -1): 3}  # first column of a rotation: quarter turns, clockwise
    images = []
    for matrix in matrices:
        image, quarter = wedge(), np.asarray(matrix).round().astype(int)
        if np.linalg.det(matrix) < 0:  # matrix = mirror @ R: the picture is R^-1 of the mirrored wedge
            image, quarter = image[:, ::-1], np.diag([-1, 1]) @ quarter
        images.append(np.rot90(image, turned[tuple(quarter[:, 0])]))
    return np.stack(images)


def test_pictures_that_were_moved_come_together():
    matrices = np.stack([np.eye(2), *PlanarAction(dihedral(4)).matrices])
    found = moving.MovingRelatives(3, posed(matrices), matrices, np.full(8, 0.5))
    tile = 64
    last = moving.frame(found, 1.0, tile=tile).astype(float)
    first = moving.frame(found, 0.0, tile=tile).astype(float)
    centre = slice(tile // 4, 3 * tile // 4)

    def tiles(canvas):
        at = [((tile + moving.GAP) * (place // 3), (tile + moving.GAP) * (place % 3)) for place in moving.PLACES]
        return [canvas[y:y + tile, x:x + tile][centre, centre] for y, x in at]

    self_last, *others = tiles(last)
    assert max(np.abs(other - self_last).mean() for other in others) < 2
    _, *before = tiles(first)
    assert sum(np.abs(other - self_last).mean() < 2 for other in before) == 1, "only the one that e carries over"


@pytest.mark.parametrize("h", range(12))
def test_the_way_leads_from_nothing_to_the_element(h):
    matrix = PlanarAction(dihedral(6)).matrices[h]
    assert np.allclose(moving.partway(matrix, 0.0), np.eye(2))
    assert np.allclose(moving.partway(matrix, 1.0), matrix)
    half = moving.partway(matrix, 0.5)
    if h < 6:
        assert np.allclose(half @ half, matrix) or h == 3, "half a turn has two halves"
    else:
        assert np.linalg.matrix_rank(half, tol=1e-9) == 1, "seen from the side"


def test_relatives_come_from_the_atlas_with_their_elements(folder):
    read = storage.read_atlas(folder)
    table = read["tables"]["crosscoder"]
    found = moving.relatives_of(folder)
    row = int(table["relative_cosine"].min(1).argmax())
    assert found.feature == table["features"][row]
    assert np.allclose(found.matrices[1:], PlanarAction(dihedral(8)).matrices[table["relative_element"][row]])
    grey = [image.mean() - 40 for image in found.images]
    assert grey == pytest.approx([row, *table["relatives"][row]], abs=3), "the pictures of these rows"
    assert moving.relatives_of(folder, int(table["features"][4])).feature == table["features"][4]


def test_what_cannot_be_shown_is_said(folder, tmp_path):
    with pytest.raises(ValueError, match="feature is 100000; expected one of the .* living features"):
        moving.relatives_of(folder, 100_000)
    with pytest.raises(ValueError, match="holds no atlas"):
        moving.relatives_of(tmp_path)
    few = storage.write_atlas(planted_atlas(tmp_path / "work"), tmp_path / "few")
    table = storage.read_atlas(few)["tables"]["crosscoder"]
    bare = int(table["features"][np.flatnonzero(table["picture"] < 0)[0]])
    with pytest.raises(ValueError, match=f"feature is {bare}; expected one of"):
        moving.relatives_of(few, bare)


def test_the_picture_moves_there_and_back_and_rests(folder, tmp_path, capsys):
    path, still = tmp_path / "moving.webp", tmp_path / "still.png"
    assert cli.main(["moving", "--atlas", str(folder), "--out", str(path), "--still", str(still)]) == 0
    assert str(path) in capsys.readouterr().out
    with Image.open(path) as picture:
        assert picture.n_frames > 4 and picture.info["loop"] == 0
        durations = []
        for number in range(picture.n_frames):  # frames that look the same have become one
            picture.seek(number)
            picture.load()
            durations.append(picture.info["duration"])
        resting = [duration for duration in durations if duration >= moving.REST_MS]
        assert len(resting) == 2 and durations[0] == resting[0]
        assert sum(durations) == 2 * moving.REST_MS + (2 * moving.STEPS - 2) * moving.STEP_MS
        side = picture.height
    with Image.open(still) as both:
        assert both.size == (2 * side + 4 * moving.GAP, side)


def test_the_readmes_picture_is_that_of_the_published_atlas():
    number = int(web_page.RELATIVES.search((ROOT / "book" / "index.md").read_text())[1])
    found = moving.relatives_of(REFERENCE, number)
    with Image.open(ROOT / "book" / "reference" / "relatives.webp") as picture:
        shown = np.asarray(picture.convert("RGB")).astype(float)
    assert np.abs(shown - moving.frame(found, 0.0)).mean() < 8
    assert "book/reference/relatives.webp" in (ROOT / "README.md").read_text()


# ------------------------------------------------------------------------------------------------------ on the page

def transforms(page, square):
    script = f"[...document.querySelectorAll('.relatives-{square} span')].map(s => getComputedStyle(s).transform)"
    found = ["matrix(1,0,0,1,0,0)" if text == "none" else text for text in page.evaluate(script)]
    return np.array([[float(x) for x in text.removeprefix("matrix(").split(",")[:4]] for text in found])


@pytest.mark.browser
def test_the_square_moves_on_the_page_by_the_elements_of_the_group(tmp_path):
    found = moving.relatives_of(REFERENCE, 391)
    (tmp_path / "page.html").write_text(f"<html lang='en'><title>x</title>{moving.moving_html(found)}</html>")
    address = (tmp_path / "page.html").as_uri()
    expected = np.stack([found.matrices[moving.PLACES.index(place)].T.flatten() for place in range(9)])
    with chromium() as browser:
        page = browser.new_page(reduced_motion="no-preference")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        assert page.evaluate("document.getAnimations().length") == 8, "once by itself"
        page.evaluate("document.getAnimations().forEach(a => a.finish())")
        assert np.allclose(transforms(page, "before"), [1, 0, 0, 1], atol=1e-5)
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.evaluate("Promise.all(document.getAnimations().map(a => a.finish()))")
        assert np.allclose(transforms(page, "before"), expected, atol=1e-4)
        assert not page.locator(".relatives-after").is_visible()
        assert [url for url in asked if not url.startswith(("data:", address))] == []
        page.emulate_media(media="print")
        assert page.locator(".relatives-after").is_visible() and not page.locator("label, input").first.is_visible()
        assert np.allclose(transforms(page, "after"), expected, atol=1e-4)
        assert np.allclose(transforms(page, "before"), [1, 0, 0, 1], atol=1e-5), "although the box is ticked"

        page = browser.new_page(reduced_motion="reduce")
        page.goto(address)
        assert page.evaluate("document.getAnimations().length") == 0
        assert page.locator(".relatives-after").is_visible() and not page.locator("label, input").first.is_visible()
        assert np.allclose(transforms(page, "before"), [1, 0, 0, 1], atol=1e-5)


@pytest.mark.browser
def test_two_squares_on_one_page_move_by_themselves(tmp_path):
    squares = [moving.moving_html(moving.relatives_of(REFERENCE, number)) for number in (391, 91)]
    (tmp_path / "page.html").write_text(f"<html lang='en'><title>x</title>{''.join(squares)}</html>")
    with chromium() as browser:
        page = browser.new_page(reduced_motion="no-preference")
        page.goto((tmp_path / "page.html").as_uri())
        page.locator("label").nth(1).click()
        assert [box.is_checked() for box in page.locator("input").all()] == [False, True]
        shown = "[...document.querySelectorAll('.relatives .self')].map(s => getComputedStyle(s).backgroundImage)"
        assert len(set(page.evaluate(shown))) == 2


def test_more_relatives_than_eight_and_atlases_that_cannot_be_shown(tmp_path, folder, monkeypatch):
    few = storage.write_atlas(planted_atlas(tmp_path / "work"), tmp_path / "few")
    monkeypatch.setattr(web_page, "book_data", lambda root, profile: (few, "This book's own run"))
    part = web_page.relatives_part(tmp_path, "smoke")
    assert "No moving picture" in part or "relatives-square" in part
    monkeypatch.setattr(moving, "AROUND", 99)
    assert "No moving picture" in web_page.relatives_part(tmp_path, "smoke")
    with pytest.raises(ValueError, match="ends in .webp"):
        moving.write_moving(moving.MovingRelatives(3, posed(np.stack([np.eye(2)] * 9)), np.stack([np.eye(2)] * 9),
                                                   np.full(8, 0.5)), tmp_path / "moving.gif")
