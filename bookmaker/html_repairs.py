"""Between Sphinx and the reader: packages that pages load, settings that depend on them, what the pages still lack.

The theme writes some things that a screen reader stumbles over, and scripts that nobody uses. Every repair is one entry
of `REPAIRS` with its reason, and touches nothing where the theme no longer writes what it looks for. The social card is
the picture that a link to the book shows elsewhere. Packages come from npm, each at exactly one version.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.image import imread

from bookmaker.project_facts import BRANCH, Project
from groupcc_lite import atlas, figures
from groupcc_lite.atlas import CDN, NpmPackage
from groupcc_lite.base import atomic_path, atomic_write

ON_PAGES = {
    "mathjax": NpmPackage(
        "mathjax", "3.2.2",
        "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        "es5/tex-chtml.js", ("LICENSE", "es5/output/chtml/fonts/woff-v2/*.woff", "es5/input/tex/extensions/*.js",
                             "es5/a11y/*.js", "es5/sre/mathmaps/base.json", "es5/sre/mathmaps/en.json",
                             "es5/sre/mathmaps/nemeth.json"), "mathematics"),
    "requirejs": NpmPackage(
        "requirejs", "2.3.8",
        "sha512-7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        "require.js", (), "widgets"),
    "html-manager": NpmPackage(
        "@jupyter-widgets/html-manager", "1.0.14",
        "sha512-wglgQQ+VMj+MBKkTttdeoMtOah/H2A1w5GU1OAVXmDQqZYTK6C+oHZjQMxcNezIpiqUjC1YHKOo5XdP3ENvBng==",
        "dist/embed-amd.js", ("LICENSE", "dist/*.woff2"), "widgets"),
    "d3": atlas.D3,
}
"""What every build puts beside the pages, by the name of its folder there."""

AXE = NpmPackage(
    "axe-core", "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    "axe.min.js", ("LICENSE*",), "the check for accessibility")
"""Knows the rules of accessible pages; only tests load it."""

REDIRECT = '<meta http-equiv="Refresh"'
CARD = "_static/social-card.png"
CARD_SIZE = (1200, 630)
"""Pixels, as the sites that show cards want them."""
CARD_FIGURE = "book/reference/04_heatmaps/network.png"
CARD_QUESTION = "Which features of a vision network\nturn when the image turns, and how?"
CARD_ALT = "The book's title beside three square heatmaps, of a blob, a line and a curve."

REPAIRS: tuple[tuple[re.Pattern[str], str], ...] = tuple((re.compile(pattern, re.DOTALL), new) for pattern, new in (
    # Code that runs on a server far away: the book does not offer it, and its script is declared twice, an error.
    (r"<script[^>]*>const THEBE_JS_URL = [^<]*</script>", ""),
    (r'<script[^>]* src="[^"]*sphinx-thebe\.js[^"]*"[^>]*></script>', ""),
    (r'<link[^>]* href="[^"]*sphinx-thebe\.css[^"]*"[^>]*/?>', ""),
    (r'<script type="text/x-thebe-config">.*?</script>', ""),
    (r"<script>kernelName = [^<]*</script>", ""),
    # A label that contradicts the visible text hides it from those who speak to their computer.
    (r'(<button class="btn search-button-field[^>]*?) aria-label="[^"]*"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    (r'(<i class="theme-switch [^>]*?) title="[^"]*"', r"\1"),
    # A list must hold items, and this role for them is out of use.
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    (r' role="doc-biblioentry"', ""),
    # What stands outside every landmark is easily missed.
    (r'(<div id="pst-primary-sidebar") class', r'\1 role="complementary" aria-label="Book" class'),
    # The arrow that unfolds the pages below another one has no text.
    (r'(<a class="[^"]*reference internal" href="[^"]*">([^<]*)</a><details[^>]*><summary)>',
     r'\1 aria-label="Pages below: \2">'),
    # A heading cell without a heading is an ordinary cell.
    (r"<th((?: [^>]*)?)>\s*(?:<p>\s*</p>)?\s*</th>", r"<td\1></td>"),
))


def configured(text: str, links: Mapping[str, str], project: Project) -> str:
    """The text of `_config.yml` with the addresses of the mathematics, of the widgets, and of the repository put in.

    While the repository's address is unknown, pages have no button for Colab, for the repository and for issues.
    """
    import yaml

    content: dict[str, Any] = yaml.safe_load(text) or {}
    settings = content.setdefault("sphinx", {}).setdefault("config", {})
    address = {name: link.removeprefix("_static/") for name, link in links.items()}  # Sphinx counts from there
    settings["mathjax_path"] = address["mathjax"]
    # Under this address the manager looks for widgets that it does not know; the book has none.
    manager = {"data-jupyter-widgets-cdn": CDN}
    settings["nb_ipywidgets_js"] = {address["requirejs"]: {}, address["html-manager"]: manager}
    if project.repository:
        content["repository"] = {"url": project.repository, "branch": BRANCH}
        content["launch_buttons"] = {"notebook_interface": "classic", "colab_url": "https://colab.research.google.com"}
        content.setdefault("html", {}).update(use_repository_button=True, use_issues_button=True)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


class Site(NamedTuple):
    """What every page's card says about the book."""

    address: str
    """Where the pages stand, ending in a slash; "" while that is unknown."""
    title: str
    description: str

    @classmethod
    def of(cls, root: Path, project: Project) -> Site:
        """Title from `_config.yml`, the rest from what is known of the project."""
        import yaml

        title = yaml.safe_load((root / "_config.yml").read_text())["title"]
        return cls(project.site, title, project.description)


def finished(text: str, page: str, site: Site) -> str:
    """One built page as readers get it; `page` is its path, such as "book/index.html"."""
    for pattern, new in REPAIRS:
        text = pattern.sub(new, text)
    if text.startswith(REDIRECT):  # the bare line that leads from the root to the first page
        title = f"<title>{html.escape(site.title)}</title>"
        text = f'<!DOCTYPE html>\n<html lang="en"><head>{title}\n{text}\n</head></html>\n'
    found = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
    own = html.unescape(found[1]).strip() if found else site.title
    properties = {"og:type": "website", "og:site_name": site.title, "og:title": own,
                  "og:description": site.description}
    if site.address:  # a card's picture needs its whole address
        properties |= {"og:url": site.address + page, "og:image": site.address + CARD, "og:image:alt": CARD_ALT,
                       "og:image:width": str(CARD_SIZE[0]), "og:image:height": str(CARD_SIZE[1])}
    names = {"description": site.description, "twitter:card": "summary_large_image" if site.address else "summary"}
    tags = [f'<meta {kind}="{key}" content="{html.escape(value)}" />'
            for kind, entries in (("property", properties), ("name", names)) for key, value in entries.items()]
    return text.replace("</head>", "\n".join([*tags, "</head>"]), 1)


def finish(root: Path, pages: Path, project: Project) -> None:
    """Repair every page that Sphinx wrote into `pages`, and add the card. Call it once for each build."""
    site = Site.of(root, project)
    draw_card(site.title, root / CARD_FIGURE, pages / CARD)
    for path in sorted(pages.rglob("*.html")):
        text, name = path.read_text(), path.relative_to(pages)
        # A page that neither Sphinx nor Jupyter Book made, such as the atlas, says itself all it has to say.
        if "_static" not in name.parts and ("data-content_root" in text or text.startswith(REDIRECT)):
            atomic_write(path, finished(text, name.as_posix(), site))


def draw_card(title: str, figure: Path, path: Path) -> None:
    """The picture that stands for a link to the book: the title, and beside it `figure` where that file exists."""
    width, height = CARD_SIZE
    card = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=figures.PAPER)
    card.text(0.06, 0.76, fill(title, 18), fontsize=37, weight="bold", color=figures.INK, va="top", linespacing=1.25)
    card.text(0.06, 0.44, CARD_QUESTION, fontsize=21, color=figures.MUTED, va="top", linespacing=1.4)
    if figure.is_file():
        ax = card.add_axes((0.57, 0.03, 0.42, 0.94))
        ax.imshow(imread(figure), interpolation="lanczos")
        ax.axis("off")
    with atomic_path(path) as temporary:
        # No software name or date in the file: equal cards make equal pages.
        card.savefig(temporary, metadata={"Software": None})
