"""A map of many features: what is looked up and set down by fast ways is what plain ways give."""

import pytest
from browsing import served

from benchmarks import atlas_page

pytestmark = pytest.mark.browser

FOUND = """() => {
  const map = maps.crosscoder, wrong = [];
  const plain = (x, y, reach) => {  // every shown feature in turn
    let best = -1, closest = Infinity;
    for (let row = 0; row < map.table.count; row++) {
      if (!map.shown[row]) continue;
      const [px, py] = map.at(row), distance = Math.hypot(px - x, py - y);
      const limit = map.hasPicture(row) ? Math.max(reach, map.pictureSize / 2) : reach;
      if (distance < limit && distance < closest) [best, closest] = [row, distance];
    }
    return best;
  };
  let hits = 0, misses = 0;
  for (const scale of [1, 3.7, 25]) {
    map.zoom.scaleTo(d3.select(map.canvas), scale);
    for (let k = 0; k < 400; k++) {
      const x = map.width * ((k * 0.618) % 1), y = map.height * ((k * 0.414) % 1), reach = [16, 26, 3, Infinity][k % 4];
      const expected = plain(x, y, reach), found = map.find(x, y, reach);
      if (found !== expected) wrong.push([scale, x, y, reach, expected, found]);
      if (expected < 0) misses++; else hits++;
    }
  }
  map.zoom.scaleTo(d3.select(map.canvas), 1);
  return [wrong, hits, misses];
}"""

ROOM = """() => {
  const map = maps.crosscoder, { places, table } = map;
  const rows = d3.range(table.count).filter(row => map.shown[row] && table.picture[row] >= 0)
    .sort((a, b) => table.frequency[b] - table.frequency[a]);
  let worst = 0;
  rows.forEach((row, k) => {
    const [x, y] = places[row];
    const nearest = d3.min(rows.slice(0, k), other => Math.hypot(x - places[other][0], y - places[other][1]));
    if (k) worst = Math.max(worst, Math.abs(map.room[row] - nearest));
    else worst = map.room[row] === Infinity ? worst : Infinity;
  });
  return [worst, rows.length, d3.sum(map.room, room => room >= 0)];
}"""

# The largest difference of any channel, and how many pixels are not empty.
DOTS = """() => {
  const map = maps.crosscoder, density = window.devicePixelRatio, plain = document.createElement("canvas");
  [plain.width, plain.height] = [map.still.width, map.still.height];
  const context = plain.getContext("2d"), size = Math.ceil(16 * map.dotSize) / 16;
  context.scale(density, density);
  map.room.fill(-1);  // no pictures
  map.stale = true;
  map.draw();
  for (let row = 0; row < map.table.count; row++) {
    const [x, y] = map.at(row).map(one => Math.round(one * density) / density), shown = map.shown[row] === 1;
    map.dot(context, x, y, map.looks[map.wears[row]], shown ? size : 0.55 * size, shown);
  }
  const pixels = canvas => canvas.getContext("2d").getImageData(0, 0, plain.width, plain.height).data;
  const [ours, theirs] = [pixels(map.still), pixels(plain)];
  let worst = 0, filled = 0;
  for (let at = 0; at < ours.length; at += 4) {
    filled += theirs[at + 3] > 0;
    for (let k = 0; k < 4; k++) {  // colours of what can hardly be seen are rounded roughly
      const weight = k === 3 ? 1 : Math.min(ours[at + 3], theirs[at + 3]) / 255;
      worst = Math.max(worst, weight * Math.abs(ours[at + k] - theirs[at + k]));
    }
  }
  return [worst, filled];
}"""


@pytest.fixture(scope="module")
def address(site, tmp_path_factory):
    """A page with 700 made-up features on a server; `site` knows that there are a browser and d3."""
    page = atlas_page.write_page(tmp_path_factory.mktemp("many"), 700)
    with served(page.parent) as found:
        yield f"{found}/{page.name}"


@pytest.fixture
def page(visit, address):
    found = visit(address)
    found.wait_for_function("maps.crosscoder.drawnPictures > 0")
    return found


@pytest.mark.parametrize("filtered", [False, True])
def test_the_quadtree_finds_what_looking_at_every_feature_finds(page, filtered):
    if filtered:
        page.click(".chip[data-label='one mirror']")
    wrong, hits, misses = page.evaluate(FOUND)
    assert wrong == [] and hits > 300 and misses > 30
    page.fill("#number", "999999")
    assert page.evaluate("maps.crosscoder.find(100, 100, Infinity)") == -1, "nothing is left to be found"


def test_pictures_have_the_room_that_comparing_all_pairs_gives(page):
    worst, pictures, with_room = page.evaluate(ROOM)
    assert worst < 1e-4 and pictures == with_room == 700
    page.click(".chip[data-label='one mirror']")
    worst, pictures, with_room = page.evaluate(ROOM)
    assert worst < 1e-4 and pictures == with_room < 700


@pytest.mark.parametrize("density", [1, 2, 1.5])
@pytest.mark.parametrize("colour", ["symmetry", "family", "frequency"])
def test_stamps_leave_the_pixels_that_drawn_dots_leave(visit, address, colour, density):
    page = visit(address, device_scale_factor=density)
    page.select_option("#colour", colour)
    page.click(".chip[data-label='one mirror']")
    page.wait_for_function("!maps.crosscoder.frame")
    worst, filled = page.evaluate(DOTS)
    assert filled > 5000 and worst < 12
    page.evaluate("() => { const set = Ground.prototype.set; "
                  "Ground.prototype.set = function (stamp, x, y) { set.call(this, stamp, x + 1, y); }; }")
    assert page.evaluate(DOTS)[0] > 50, "a pixel further is seen"


def test_a_passing_pointer_leaves_what_lies_still_as_it_is(page):
    page.evaluate("() => { const map = maps.crosscoder, draw = map.drawStill.bind(map); map.drawn = 0;"
                  "map.drawStill = (density) => { map.drawn++; draw(density); }; }")
    box = page.locator("#map-crosscoder canvas").bounding_box()
    seen = set()
    for k in range(12):
        page.mouse.move(box["x"] + box["width"] * (0.3 + 0.03 * k), box["y"] + box["height"] * 0.5)
        page.wait_for_function("!maps.crosscoder.frame")
        seen.add(page.evaluate("maps.crosscoder.hovered"))
    assert len(seen) > 4 and page.evaluate("maps.crosscoder.drawn") == 0
    page.click("#map-crosscoder [data-zoom=in]")
    page.wait_for_function("maps.crosscoder.drawn === 1")


def test_the_measurement_runs(page):
    found = atlas_page.frames_of(page, 700, frames=5)
    assert len(found) == 3 * len(atlas_page.WAYS) + 1 and all(value >= 0 for value in found.values())
    assert min(value for name, value in found.items() if "a frame" in name) > 1
