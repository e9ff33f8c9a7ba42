"""Reading the built pages as a browser would, and naming what a reader would stumble over.

A strict build says that the sources are in order. It does not see a link whose target the theme never wrote, which
lychee finds, or an error that a notebook printed, an image without a description, a widget whose state was left out, or
a script that comes from far away although it lies beside the pages, which this module finds itself.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from bookmaker.html_repairs import ON_PAGES
from groupcc_lite.atlas import VENDOR_FOLDER

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
LOADED = ("stylesheet", "icon", "shortcut icon", "preload", "modulepreload")
TRACEBACK = "Traceback (most recent call last)"
# An example in the reference may show an error, and says what the library does.
EXAMPLE = re.compile(r'<div class="highlight-pycon.*?</pre>', re.DOTALL)
# The label of an equation whose line is not the one of its dollar signs.
RAW_LABEL = re.compile(r"^\s*\((eq-[a-z0-9-]+)\)\s*$", re.MULTILINE)
# A description that is only a file name or a path, such as the hashed default of an executed figure.
RAW_TABLE = re.compile(r"<p>\|[^<]*(<[^>]*>[^<]*)*?\|-{3,}\|")  # a paragraph that is still a pipe table
PATH_LIKE = re.compile(r"^\S*[/\\]\S*$|^\S+\.(png|svg|jpe?g|gif|webp)$", re.IGNORECASE)
# Addresses of features in the atlas: its script reads them, and the page has no such anchors. That the page is there is
# checked.
ROUTE = re.compile(r"/atlas/index\.html#(f|sae)/\d+$")


class Page(HTMLParser):
    """What one page loads and holds."""

    def __init__(self, text: str):
        super().__init__()
        self.files: list[str] = []
        self.sources: list[str] = []
        self.images: list[tuple[str, str | None]] = []
        self.scripts: dict[str, list[str]] = {WIDGET_VIEW: [], WIDGET_STATE: []}
        self.has_error_output = TRACEBACK in EXAMPLE.sub("", text)
        self.has_raw_table = RAW_TABLE.search(text) is not None
        self.raw_label = RAW_LABEL.search(re.sub(r"<[^>]*>", "\n", text))
        self.has_stderr = False
        self._script: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        attribute = dict(attributes)
        if tag == "img":
            self.images.append((attribute.get("src") or "", attribute.get("alt")))
        elif tag == "link" and attribute.get("rel") in LOADED:
            self.files.append(attribute.get("href") or "")
        elif tag in ("iframe", "source", "video", "audio", "embed") and attribute.get("src"):
            self.files.append(attribute["src"])
        elif tag == "script":
            if attribute.get("src"):
                self.files.append(attribute["src"])
                self.sources.append(attribute["src"])
            self._script = attribute.get("type")
        classes = (attribute.get("class") or "").split()
        self.has_stderr |= "stderr" in classes
        self.has_error_output |= "traceback" in classes

    def handle_data(self, data: str) -> None:
        if self._script in self.scripts:
            self.scripts[self._script].append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None


class Problem(NamedTuple):
    """One thing that is wrong with one page."""

    page: str
    what: str

    def __str__(self) -> str:
        return f"{self.page}: {self.what}"


def audit(folder: str | Path, expected: Iterable[str] = ()) -> list[Problem]:
    """Everything wrong with the pages under `folder`; `expected` are the pages (without .html) that must be there.

    FileNotFoundError if there is no page at all.
    """
    folder = Path(folder)
    pages = {path.relative_to(folder).as_posix(): Page(path.read_text())
             for path in sorted(folder.rglob("*.html")) if "_static" not in path.relative_to(folder).parts}
    if not pages:
        raise FileNotFoundError(f"{folder} holds no pages; build the book first (python -m bookmaker build)")
    problems = [Problem(f"{name}.html", "the page is missing") for name in expected if f"{name}.html" not in pages]
    # A package that could not be fetched when the book was built comes from the network, and the build said so.
    distant = {package.address for name, package in ON_PAGES.items()
               if not (folder / VENDOR_FOLDER / name).is_dir()}
    for name, page in pages.items():
        found = (*_content(page), *_distant(page, distant), *_images(page), *_lost_scripts(folder / name, page),
                 *_widgets(page))
        problems += [Problem(name, what) for what in found]
    return problems + broken_links(folder)


def broken_links(folder: Path) -> list[Problem]:
    """Links, images, scripts and style sheets that lead to no file, and anchors that their page does not have.

    Only addresses inside `folder` are looked at. FileNotFoundError where lychee is not installed.
    """
    lychee = shutil.which("lychee", path=str(Path(sys.executable).parent)) or shutil.which("lychee")
    if lychee is None:
        raise FileNotFoundError("lychee is not installed; call `make env`")
    folder = folder.resolve()
    done = subprocess.run(
        [lychee, "--offline", "--include-fragments=anchor-only", "--root-dir", folder, "--index-files", "index.html,.",
         "--exclude-path", f"^{re.escape(str(folder / '_static'))}", "--format", "json", "--no-progress",
         f"{folder}/**/*.html"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):  # 2: some links are broken
        raise RuntimeError(f"lychee ended with status {done.returncode}: {done.stderr.strip()}")
    return [Problem(Path(page).relative_to(folder).as_posix(),
                    f"link {unquote(broken['url']).removeprefix(f'file://{folder}/')!r}: {broken['status']['text']}")
            for page, found in sorted(json.loads(done.stdout)["error_map"].items()) for broken in found
            if not (ROUTE.search(broken["url"]) and "fragment" in broken["status"]["text"])]


def _content(page: Page) -> Iterable[str]:
    if page.has_error_output:
        yield "an output shows an error with its traceback"
    if page.has_stderr:
        yield "an output shows warnings (text on stderr); filter exactly that warning or mend its cause"
    if page.raw_label:
        yield f"the label {page.raw_label[1]} is shown as text; it belongs on the line of the closing dollar signs"
    if page.has_raw_table:
        yield "a Markdown table is shown as text; displayed Markdown must be rendered with tables"


def _distant(page: Page, allowed: set[str]) -> Iterable[str]:
    for address in [*page.files, *(source for source, _ in page.images)]:
        if urlsplit(address).netloc and address not in allowed:
            yield f"file {address!r} is loaded from the network, so the page is not whole without it"


def _images(page: Page) -> Iterable[str]:
    for source, alt in page.images:
        shown = source if len(source) < 80 else source[:60] + "..."
        if alt is None or not alt.strip():
            yield f"image {shown!r} has no alt text"
        elif PATH_LIKE.match(alt.strip()):
            yield f"image {shown!r} has a path as alt text: {alt!r}"


def _lost_scripts(path: Path, page: Page) -> Iterable[str]:
    """lychee takes a script's tag for code, and looks at no address in it."""
    for source in page.sources:
        address = urlsplit(source)
        if not address.netloc and not (path.parent / unquote(address.path)).is_file():
            yield f"script {source!r}: File not found"


def _widgets(page: Page) -> Iterable[str]:
    views = [json.loads(text)["model_id"] for text in page.scripts[WIDGET_VIEW]]
    known = {model for text in page.scripts[WIDGET_STATE] for model in json.loads(text)["state"]}
    for view in views:
        if view not in known:
            yield f"widget {view} has no state on the page, so it stays empty"
