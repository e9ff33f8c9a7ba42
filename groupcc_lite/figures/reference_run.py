"""What the published reference run has, inside a page: its figures and numbers, where there are any."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

from groupcc_lite.base import read_json, repository_root


def published(chapter: str, key: str, *, caption: str, alt: str, width: str = "600px") -> str:
    """HTML of the figure that a chapter's published report lists under `key`, the picture within; else one sentence.

    A page that refers to a file cannot be built before the file is there. This one says that the figure comes with the
    next reference run. Neither is a figure shown that lies there and belongs to an older report.

    >>> "has no such figure" in published("04_heatmaps", "no such figure", caption="", alt="nothing")
    True
    """
    folder, file = _folder(), f"{chapter}/{key}.png"
    path = folder / file
    if file not in [figure["file"] for figure in _report(chapter).get("figures", [])] or not path.is_file():
        return f"<p><em>The published reference run has no such figure yet: {html.escape(caption)}</em></p>"
    picture = base64.b64encode(path.read_bytes()).decode()
    return (f'<figure><img src="data:image/png;base64,{picture}" alt="{html.escape(alt, quote=True)}" '
            f'style="width: 100%; max-width: {html.escape(width, quote=True)}; height: auto; background: white">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>")


def published_numbers(chapter: str) -> dict[str, dict[str, Any]]:
    """The numbers of a chapter's published report by their keys, each with value, note, n and interval; or none.

    >>> published_numbers("no such chapter")
    {}
    """
    return _report(chapter).get("numbers", {})


def _folder() -> Path:
    return (repository_root() or Path()) / "book" / "reference"


def _report(chapter: str) -> dict[str, Any]:
    path = _folder() / f"{chapter}.json"
    return read_json(path) if path.is_file() else {}
