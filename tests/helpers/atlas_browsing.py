"""A planted atlas in a real browser: what the tests of its behaviour and of its looks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browsing import chromium, require, served
from small_atlas import make_old, planted_atlas

from groupcc_lite.atlas import D3, copy_scripts, is_local_link, script_links, storage, web_page
from groupcc_lite.base import atomic_write

ROOT = Path(__file__).resolve().parents[2]


class Site:
    """The page of a planted atlas on a server of this machine, and a browser to look at it.

    From a folder the page works as well, but a browser then hides the pixels of its pictures from scripts.
    """

    def __init__(self, browser: Any, links: dict[str, str], temporary: Callable[[str], Path]):
        self.browser, self.links, self.temporary = browser, links, temporary
        self.folder = self.build()
        self.numbers = storage.read_atlas(self.folder / "data")
        self.url = ""

    def build(self, *, old: bool = False, **action: Any) -> Path:
        """Write the page of another planted atlas, with `old` its data as format 1 had them; returns its folder."""
        folder = self.temporary("atlas")
        storage.write_atlas(planted_atlas(folder / "work", **action), folder / "data")
        if old:
            make_old(folder / "data")
        copy_scripts({"d3": D3}, ROOT, folder)
        for name, content in web_page.page_files(folder / "data", d3=self.links["d3"], origin="Planted").items():
            atomic_write(folder / name, content)
        return folder

    def visits(self) -> Iterator[Callable[..., Any]]:
        """A function that opens an address. At the end nothing may have been asked of another place, and no error
        written to the console but as many as were expected."""
        opened = []

        def visit(url: str, *, expected_errors: int = 0, **settings: Any) -> Any:
            usual = dict(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
            page = self.browser.new_context(**usual | settings).new_page()
            requests, errors = [], []
            page.on("request", lambda request: requests.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            opened.append((page, url, requests, errors, expected_errors))
            page.goto(url)
            page.wait_for_selector("#problem:not([hidden]), #detail h2")
            return page

        yield visit
        for page, url, requests, errors, expected_errors in opened:
            page.context.close()
            start = url.split("/index.html")[0]
            away = [request for request in requests if not request.startswith((start, "data:"))]
            assert not away, f"asked of other places: {away}"
            assert len(errors) == expected_errors, f"errors: {errors}"


@contextmanager
def open_site(temporary: Callable[[str], Path]) -> Iterator[Site]:
    """A `Site`; the test is skipped without a browser, or without d3."""
    links = script_links({"d3": D3}, ROOT)
    require(is_local_link(links["d3"]), "d3 could not be had from npm, so the page would need the network")
    with chromium() as browser:
        site = Site(browser, links, temporary)
        with served(site.folder) as address:
            site.url = f"{address}/index.html"
            yield site


def place(page: Any, kind: str, number: int) -> list[float]:
    """Where a feature lies in the window."""
    return page.evaluate("""([kind, number]) => {
        const map = maps[kind], box = map.box.getBoundingClientRect(), [x, y] = map.at(map.table.rows.get(number));
        return [box.left + x, box.top + y]; }""", [kind, number])


def uncovered(page: Any, kind: str) -> list[int]:
    """Numbers of features that a pointer at their place finds."""
    return page.evaluate("""(kind) => { const map = maps[kind];
        return map.table.features.filter((_, row) => map.find(...map.at(row)) === row); }""", kind)


def title(page: Any) -> str:
    """The heading of the details."""
    return page.locator("#detail h2").inner_text()


def wait_for_title(page: Any, text: str) -> None:
    """The address changes first, and the page follows when it is told of that; so its heading is what to wait for."""
    page.wait_for_function("text => document.querySelector('#detail h2').textContent === text", arg=text)


def live(page: Any) -> str:
    """What a screen reader was told last."""
    return page.locator("#live").text_content()
