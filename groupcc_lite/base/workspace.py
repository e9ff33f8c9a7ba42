"""Where things lie: the checkout, and the work folder in which artefacts are kept."""

from __future__ import annotations

import os
from pathlib import Path


def repository_root(start: Path | None = None) -> Path | None:
    """The checkout that contains `start` (default: the current folder), or None outside one.

    >>> repository_root(Path("/")) is None
    True
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "_config.yml").is_file() and (folder / "groupcc_lite").is_dir():
            return folder
    return None


def work_folder(work: str | Path | None = None) -> Path:
    """Where artefacts live: the argument, else $GROUPCC_WORK, else `.groupcc` in the checkout or current folder.

    >>> work_folder("results").name
    'results'
    """
    if work is not None:
        return Path(work)
    if os.environ.get("GROUPCC_WORK"):
        return Path(os.environ["GROUPCC_WORK"])
    return (repository_root() or Path.cwd()) / ".groupcc"
