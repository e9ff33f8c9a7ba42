"""The page of the atlas: our own few files, d3 from npm, and the data, in one folder that needs no server.

The page's files come with the package (`web/`), so that a run anywhere can have its page. Inside the book the
page stands at `atlas/index.html`, and the chapter page `book/atlas.md` introduces it.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from groupcc_lite.atlas.contents import atlas_settings, fingerprint, make_atlas
from groupcc_lite.atlas.moving import moving_html, relatives_of
from groupcc_lite.atlas.npm import NpmPackage, copy_scripts, link_from, script_links
from groupcc_lite.atlas.storage import FORMAT, atlas_files, check_atlas, write_atlas
from groupcc_lite.base import atomic_write, repository_root, work_folder
from groupcc_lite.runs import Run

WEB = Path(__file__).parent / "web"
PAGE = "atlas/index.html"
"""Where the page stands in the book, from the root of the pages."""
MARKER = "<!-- atlas -->"
"""What `book/atlas.md` has in the place of the embedded page."""
RELATIVES = re.compile(r"<!-- relatives(?: of (\d+))? -->")
"""What a page of the book has in the place of a feature's moving relatives, with the feature's number or without."""
D3 = NpmPackage(
    "d3", "7.9.0", "sha512-e1U46jVP+w7Iut8Jt8ri1YsPOvFpg46k+K8TpCb0P+zjCkjkPnV7WzfDJzMHy1LnA+wj5pLT1wjO901gLXeEhA==",
    "dist/d3.min.js", ("LICENSE",), "the feature atlas")
"""What draws the map."""
NETWORKS = {"googlenet": "InceptionV1 (BVLC GoogLeNet)", "inceptionv1": "InceptionV1"}


def atlas_folder(profile: str, work: str | Path | None = None) -> Path:
    """Where the atlas of a profile lies in the work folder: its page, and the data below it.

    >>> atlas_folder("book", "work").as_posix()
    'work/atlas/book'
    """
    return work_folder(work) / "atlas" / profile


def describe(facts: dict[str, Any]) -> str:
    """Whose features an atlas shows: "InceptionV1 (BVLC GoogLeNet), layer mixed3b, group D_16"."""
    return f"{NETWORKS.get(facts['model'], facts['model'])}, layer {facts['layer']}, group {facts['group']['name']}"


def page_files(data: str | Path, *, d3: str, origin: str = "", home: str | None = None) -> dict[str, bytes]:
    """Every file of a page around the atlas in `data`, by its path; ValueError if the atlas is not whole.

    `d3`: address of d3 as the page writes it. `origin`: what the page says before the facts that it finds in the data,
    such as "Reference run". `home`: address of a page that explains this one.

    >>> page_files("nowhere", d3="d3.min.js")
    Traceback (most recent call last):
    ValueError: nowhere holds no atlas (atlas.js is missing); make one with `groupcc atlas`
    """
    data = Path(data)
    facts = check_atlas(data)
    run = f"profile {facts['profile']}, seed {facts['seed']}"
    back = f'<a href="{html.escape(home)}" target="_top">About this page</a>' if home is not None else ""
    filled = {"title": html.escape(f"Feature atlas: {describe(facts)}"), "d3": html.escape(d3), "home": back,
              "origin": html.escape(". ".join(filter(None, (origin, f"{describe(facts)}, {run}"))))}
    index = (WEB / "index.html").read_text()
    for key, value in filled.items():
        index = index.replace("{{" + key + "}}", value)
    own = {path.name: path.read_bytes() for path in sorted(WEB.iterdir()) if path.is_file()}
    return own | {"index.html": index.encode()} | {f"data/{name}": (data / name).read_bytes()
                                                   for name in atlas_files(facts)}


def make_page(run: Run, folder: str | Path, *, data_only: bool = False, **settings: int | None) -> Path:
    """The atlas of a run with its page in `folder`; returns the page to open.

    With `data_only` just the data, straight in `folder`, for a page that is made later; returns the folder. Other
    settings as for `atlas.atlas_settings`. Nothing is measured again if the folder holds the atlas of the same coders
    with the same settings. Where npm cannot be reached the page loads d3 from the network, and the log says so.

    >>> make_page(Run("smoke"), "atlas", size=0)  # a request is checked first; a good one takes minutes
    Traceback (most recent call last):
    ValueError: size is 0; expected at least 1
    """
    folder = Path(folder)
    data = folder if data_only else folder / "data"
    complete = atlas_settings(run, **settings)
    if not _holds(data, fingerprint(run, complete)):
        write_atlas(make_atlas(run, **complete), data)
    if data_only:
        return data
    cache = repository_root() or run.work
    d3 = script_links({"d3": D3}, cache)["d3"]
    copy_scripts({"d3": D3}, cache, folder)
    for name, content in page_files(data, d3=link_from("index.html", d3)).items():
        if not name.startswith("data/"):
            atomic_write(folder / name, content)
    return folder / "index.html"


def _holds(data: Path, wanted: str) -> bool:
    """Whether this atlas is already there; a damaged one is made anew."""
    try:
        return check_atlas(data)["fingerprint"] == wanted
    except ValueError:
        return False


# -------------------------------------------------------------------------------------------------- in the book

def book_data(root: Path, profile: str) -> tuple[Path, str] | None:
    """The atlas that the book shows, and what to call it: the published reference run's, else this profile's.

    None if neither has been made.
    """
    for folder, name in ((root / "book" / "reference" / "atlas", "Reference run"),
                         (atlas_folder(profile) / "data", "This book's own run")):
        if (folder / "atlas.js").is_file():
            return folder, name
    return None


def book_files(root: Path, profile: str, d3: str) -> dict[str, bytes]:
    """All files of the atlas as the book has it, by their paths from the root of the pages; none before it was made.

    >>> book_files(Path("nowhere"), "no such profile", "d3.js")
    {}
    """
    found = book_data(root, profile)
    if found is None:
        return {}
    folder, origin = found
    files = page_files(folder, d3=d3, origin=origin, home="../book/atlas.html")
    return {f"{Path(PAGE).parent}/{name}": content for name, content in files.items()}


def book_part(root: Path, profile: str) -> str:
    """What stands in the place of `MARKER`: a box that says whose features these are, and the page itself.

    >>> "`groupcc atlas --profile none`" in book_part(Path("nowhere"), "none")  # not made yet: how to make it
    True
    """
    found = book_data(root, profile)
    command = f"`groupcc atlas --profile {profile}`"
    if found is None:
        return (":::{admonition} No atlas yet\n:class: warning\n"
                f"This book was built without one. {command} makes it, and the next build shows it.\n:::")
    facts = check_atlas(found[0])
    counts = {kind: f"{table['count']:,}" for kind, table in facts["maps"].items()}
    text = (f"{found[1]}: {describe(facts)}, profile **{facts['profile']}**, seed {facts['seed']}. "
            f"{counts['crosscoder']} features of the crosscoder, {counts['sae']} of the autoencoder.")
    if found[1] != "Reference run":
        text += " These are not results on InceptionV1." * (facts["model"] not in NETWORKS)
    elif profile != facts["profile"]:
        text += f" The atlas of the run that the other pages show comes from {command}."
    if facts["format"] != FORMAT:
        text += (f" It was made with an earlier rule for symmetries: profiles that are not centred, threshold "
                 f"{facts['tau']}, and no word on whether labels are supported or confirmed.")
    return f":::{{admonition}} What this page shows\n:class: note run-badge\n{text}\n:::\n\n{EMBEDDED}"


def relatives_part(root: Path, profile: str, feature: int | None = None) -> str:
    """What stands in the place of `RELATIVES`: a feature's relatives, moving into its pose (`moving`).

    `feature` is one of the reference run. A book that shows another atlas takes the one with the closest relatives.

    >>> "`groupcc atlas --profile none`" in relatives_part(Path("nowhere"), "none")
    True
    """
    found = book_data(root, profile)
    if found is None:
        return book_part(root, profile)
    try:
        square = moving_html(relatives_of(found[0], feature if found[1] == "Reference run" else None))
    except ValueError as why:  # few were drawn, or the group changes colours: a page without the square is a page
        return f":::{{admonition}} No moving picture\n:class: note\n{html.escape(str(why))}.\n:::"
    return f"```{{raw}} html\n{square}\n```"


EMBEDDED = """```{raw} html
<style>
  /* The atlas takes all the width there is; text keeps its measure. */
  .bd-main .bd-content .bd-article-container { max-width: 100%; }
  .bd-article section > :not(iframe, section) { max-width: 46rem; }
  .atlas-frame { width: 100%; height: 54rem; max-height: 92vh; border: 0; border-radius: 12px; margin-bottom: 1rem; }
  .atlas-open { display: inline-block; padding: 0.5rem 1.1rem; border-radius: 8px; background: #0a5c98;
    color: #fff !important; text-decoration: none !important; font-weight: 600; }
  @media (max-width: 700px) { .atlas-frame { display: none; } }
</style>
<p><a class="atlas-open" href="../atlas/index.html">Open the atlas on a page of its own</a></p>
<iframe class="atlas-frame" src="../atlas/index.html" title="The feature atlas" loading="lazy"></iframe>
<script>
  // The atlas follows the book's light or dark theme, also where pages opened from a folder share no storage.
  (() => {
    const frame = document.querySelector(".atlas-frame"), page = document.documentElement;
    const tell = () => frame.contentWindow.postMessage({ theme: page.dataset.theme }, "*");
    frame.addEventListener("load", tell);
    new MutationObserver(tell).observe(page, { attributeFilter: ["data-theme"] });
  })();
</script>
```"""
