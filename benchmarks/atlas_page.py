"""The atlas' page with 16,000 features in a headless browser: milliseconds of a frame while the map moves.

The features are made up: places in a few hundred heaps, one of the group's subgroups each, and a picture for all. In
every frame the map is moved, zoomed, or pointed at, and the time from frame to frame is taken, drawing by the browser
with it; the processor draws, as in any browser without a GPU. Needs Chromium, Playwright and npm's d3.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from groupcc_lite.actions import PlanarAction
from groupcc_lite.atlas import (
    D3,
    Atlas,
    Pictures,
    copy_scripts,
    is_local_link,
    page_files,
    placed,
    run_facts,
    script_links,
    write_atlas,
)
from groupcc_lite.base import atomic_write
from groupcc_lite.groups import dihedral
from groupcc_lite.runs import FeatureTable, Relatives, Run, Symmetries

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 40

# Frames come when the browser is ready for the next one, so what it draws after our own script counts as well. A move
# of the map is handed to the page as d3 would hand it, a pointer as the browser would.
MEASURE = """async ([way, frames]) => {
  const map = maps.crosscoder, next = () => new Promise(requestAnimationFrame), times = [], own = [];
  const middle = d3.range(frames).map(k => [map.width * (0.2 + 0.6 * ((k * 0.37) % 1)),
                                            map.height * (0.2 + 0.6 * ((k * 0.61) % 1))]);
  const draw = map.draw.bind(map);
  map.draw = () => { const start = performance.now(); draw(); own.push(performance.now() - start); };
  const far = 8, still = d3.zoomIdentity.translate(map.width / 2 * (1 - far), map.height / 2 * (1 - far)).scale(far);
  map.zoom.transform(d3.select(map.canvas), way === "move, zoomed in" ? still : d3.zoomIdentity);
  for (let k = 0; k < 5; k++) await next();
  own.length = 0;
  const box = map.canvas.getBoundingClientRect();
  for (let k = 0; k < frames; k++) {
    const start = performance.now(), [x, y] = middle[k], selection = d3.select(map.canvas);
    if (way === "point") map.canvas.dispatchEvent(new PointerEvent("pointermove",
      { clientX: box.left + x, clientY: box.top + y, bubbles: true, pointerType: "mouse" }));
    else if (way === "zoom") map.zoom.scaleTo(selection, 1 + 10 * k / frames);
    else map.zoom.translateBy(selection, k % 8 < 4 ? 3 : -3, k % 8 < 4 ? 2 : -2);
    await next();  // after the page has drawn in it
    times.push(performance.now() - start);
  }
  delete map.draw;
  own.sort((a, b) => a - b);
  times.sort((a, b) => a - b);
  return [times[frames >> 1], times[Math.floor(0.95 * frames)], own[own.length >> 1]];
}"""
ARRANGE = """() => { const start = performance.now(); maps.crosscoder.arrange(); return performance.now() - start; }"""
WAYS = ("move", "move, zoomed in", "zoom", "point")


def table(kind: str, m: int, seed: int = 0) -> FeatureTable:
    """Features of a coder that nobody trained."""
    G, generator = dihedral(4), np.random.default_rng(seed)
    heaps = generator.normal(size=(300, 2))
    xy = (heaps[generator.integers(len(heaps), size=m)] + 0.05 * generator.normal(size=(m, 2))).astype(np.float32)
    found, other = generator.integers(len(G.subgroups()), size=m), generator.integers(m, size=(m, 8))
    one, square = generator.random(m), generator.uniform(-1, 1, size=(m, G.order)).astype(np.float32)
    symmetries = Symmetries(np.broadcast_to(square[:, :, None], (m, G.order, G.order)), square, square, one,
                            np.full((m, len(G.irreps())), 1 / len(G.irreps())), found, one, one, one, one, found, one,
                            found % 2, one)
    return placed(FeatureTable(
        kind=kind, latents=m, features=np.arange(m), xy=xy, frequency=one, family=generator.integers(-1, 300, size=m),
        drawing=generator.integers(-1, 14, size=m), metrics=dict(fve=0.5, l0=32.0),
        relatives=Relatives(other, np.full((m, 8), 0.5), np.zeros((m, 8), dtype=int)),
        symmetries=symmetries if kind == "crosscoder" else None))


def write_page(folder: Path, m: int) -> Path:
    """The page of an atlas with m features in the crosscoder's map, and a few in the other."""
    action = PlanarAction(dihedral(4))
    run = Run("smoke", action=action, work=folder / "work")
    tables = {"crosscoder": table("crosscoder", m), "sae": table("sae", 64)}
    shades = {kind: np.arange(len(one.features)) % 256 for kind, one in tables.items()}
    pictures = {kind: Pictures(np.arange(len(shade)), np.broadcast_to(
        shade[:, None, None, None], (len(shade), 32, 32, 3)).astype(np.uint8)) for kind, shade in shades.items()}
    atlas = Atlas(dict(fingerprint="made up", **run_facts(run, tables, size=32, steps=1)), tables, pictures)
    write_atlas(atlas, folder / "data")
    link = script_links({"d3": D3}, ROOT)["d3"]
    if not is_local_link(link):
        raise RuntimeError("npm cannot fetch d3; GROUPCC_PACKAGES may name a folder that holds its archive")
    copy_scripts({"d3": D3}, ROOT, folder)
    for name, content in page_files(folder / "data", d3=link, origin="Made up").items():
        atomic_write(folder / name, content)
    return folder / "index.html"


def measure(features: int = 16_000) -> dict[str, float]:
    """Milliseconds from frame to frame, median and 95th percentile, and of the page's script in it."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise RuntimeError("there is no Chromium on this machine")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as browsers:
        address = write_page(Path(folder), features).as_uri()
        browser = browsers.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        page.set_default_timeout(600_000)
        page.goto(address)
        page.wait_for_selector("#problem:not([hidden]), #detail h2")
        page.wait_for_function("maps.crosscoder.drawnPictures > 0 && maps.sae.drawnPictures > 0")
        results = frames_of(page, features)
        browser.close()
    return results


def frames_of(page: Any, features: int, frames: int = FRAMES) -> dict[str, float]:
    """`measure` on an open page."""
    results = {}
    for way in WAYS:
        median, late, own = page.evaluate(MEASURE, [way, frames])
        results |= {f"{features} features, {way}: a frame, ms (target: under 33)": median,
                    f"{features} features, {way}: 95 of 100 frames take less than, ms": late,
                    f"{features} features, {way}: the script's part, ms": own}
    return results | {f"{features} features: a filter, ms": page.evaluate(ARRANGE)}
