"""Opening a page in a browser that reaches nothing else, and noting all that a reader would miss."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

DARKEST_PAPER, LIGHTEST_NIGHT = 200, 60  # brightness of a page's background, of 255


class View(NamedTuple):
    """A way to look at the book."""

    name: str
    width: int
    scheme: str
    served: bool
    """Over HTTP, or opened from the folder."""


class Visit(NamedTuple):
    """What happened when a page was opened in one view."""

    requests: list[str]
    """Everything that it asked of other machines."""
    errors: list[str]
    """Errors in the console, exceptions of scripts, files that did not come."""
    facts: dict[str, Any]
    """What `FACTS` found in the page."""
    violations: list[str]
    """Serious and critical violations of the rules of accessibility."""


# Resolves when the page stands still: mathematics typeset, fonts there, every widget drawn.
READY = """async () => {
  if (window.MathJax && MathJax.startup) { await MathJax.startup.promise; }
  await document.fonts.ready;
  const views = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]').length;
  const end = Date.now() + 15000;
  while (document.querySelectorAll(".widget-subarea > .jupyter-widgets, .cell_output > .jupyter-widgets").length < views
         && Date.now() < end) {
    await new Promise(requestAnimationFrame);
  }
  await new Promise(resolve => setTimeout(resolve, 0));
}"""

FACTS = r"""() => {
  const width = document.documentElement.clientWidth;
  const hidden = "mjx-assistive-mml, mjx-assistive-mml *, .visually-hidden, .sr-only, .bd-sidebar-secondary, "
    + ".bd-sidebar-secondary *";  // meant for screen readers, or pushed out of sight until it is called
  const scrolls = element => {
    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement) {
      const way = getComputedStyle(box).overflowX;
      if ((way === "auto" || way === "scroll") && box.scrollWidth > box.clientWidth) { return true; }
    }
    return false;
  };
  const cut = [...document.querySelectorAll("main *")].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && box.height && box.right > width + 1 && !element.matches(hidden) && !scrolls(element);
  });
  const prose = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, node =>
    node.parentElement.closest("pre, code, script, style, textarea, mjx-container")
      ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  const raw = [];
  while (prose.nextNode()) {
    if (/\\[(\[]|\\[)\]]|\$\$/.test(prose.currentNode.data)) { raw.push(prose.currentNode.data.trim().slice(0, 60)); }
  }
  const shown = [...document.images].filter(image => image.loading !== "lazy");
  const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
  return {
    width: document.documentElement.scrollWidth,
    cut: cut.slice(0, 5).map(element => element.outerHTML.slice(0, 80)),
    formulas: document.querySelectorAll(".math").length,
    typeset: document.querySelectorAll(".math mjx-container").length,
    mistaken: document.querySelectorAll("mjx-merror").length,
    raw,
    images: shown.length,
    broken: shown.filter(image => !image.complete || !image.naturalWidth).map(image => image.src.slice(0, 80)),
    views: document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]').length,
    widgets: document.querySelectorAll(".widget-subarea > .jupyter-widgets, .cell_output > .jupyter-widgets").length,
    background: (red + green + blue) / 3,
  };
}"""

# A page has thousands of glyphs in formulas, which screen readers pass over, and of coloured words in listings. The
# first of each colour in each listing stays; without the others the rules need a third of the time.
THIN = """() => {
  document.querySelectorAll("mjx-math").forEach(formula => formula.remove());
  for (const listing of document.querySelectorAll(".highlight pre")) {
    const seen = new Set();
    for (const word of listing.querySelectorAll("span")) {
      if (seen.has(word.className)) { word.replaceWith(word.textContent); }
      seen.add(word.className);
    }
  }
}"""

AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
  .filter(found => ["serious", "critical"].includes(found.impact))
  .flatMap(found => found.nodes.map(node => `${found.id}: ${node.html.slice(0, 120)}`))"""


def require(condition: object, reason: str) -> None:
    """Skip the test for `reason`; fail instead where GROUPCC_BROWSER=required promises that nothing is missing."""
    if not condition:
        (pytest.fail if os.environ.get("GROUPCC_BROWSER") == "required" else pytest.skip)(reason)


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser of this machine; the test is skipped where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    require(sync_playwright, "the extra `browser` is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    require(path, f"there is no browser on this machine: none of {', '.join(names)}")
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def axe_rules(folder: Path) -> str:
    """The text of the script that knows the rules of accessibility; the test is skipped where npm cannot fetch it."""
    from bookmaker import html_repairs
    from groupcc_lite import atlas

    root = Path(__file__).resolve().parents[2]
    package = {"axe-core": html_repairs.AXE}
    link = atlas.script_links(package, root)["axe-core"]
    require(atlas.is_local_link(link), f"npm cannot fetch {html_repairs.AXE.name}")
    atlas.copy_scripts(package, root, folder)
    return (folder / link).read_text()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of `folder` on this machine."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Reader:
    """A page of the browser that is cut off from all machines but this one, and its notes."""

    def __init__(self, browser: Any, view: View, folder: Path, address: str, axe: str):
        self.view, self.axe = view, axe
        self.base = address if view.served else folder.as_uri()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.context = browser.new_context(viewport={"width": view.width, "height": 900}, color_scheme=view.scheme,
                                           reduced_motion="reduce")
        self.context.set_default_timeout(120_000)  # milliseconds; a busy machine is no defect of a page
        self.context.route("**/*", self._only_here)
        self.page = self.context.new_page()
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"no answer: {request.url}"))

    def _only_here(self, route: Any) -> None:
        if route.request.url.startswith((self.base, "data:", "blob:")):
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def open(self, name: str) -> Any:
        """The page `name`, standing still; the notes begin anew."""
        self.page.goto("about:blank")
        self.requests.clear()
        self.errors.clear()
        self.page.goto(f"{self.base}/{name}", wait_until="load")
        self.page.evaluate(READY)
        return self.page

    def visit(self, name: str) -> Visit:
        """Open a page and note everything."""
        page = self.open(name)
        facts = page.evaluate(FACTS)
        page.evaluate(THIN)
        page.evaluate(self.axe)
        return Visit([*self.requests], [*self.errors], facts, page.evaluate(AXE))
