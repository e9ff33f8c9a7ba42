"""The whole book made from nothing with the smallest settings, once for all tests that look at it."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from bookmaker import build
from groupcc_lite.base import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]


class SmokeBook(NamedTuple):
    root: Path
    work: Path
    page: Path


def make_smoke_book(factory: pytest.TempPathFactory) -> SmokeBook:
    """Every chapter run, built strictly, and checked. Other workers of this test run wait, and take the same book."""
    shared = factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    root, work, record = shared / "smoke-book", shared / "smoke-work", shared / "smoke-book.json"
    with (shared / "smoke-book.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.is_file():
            write_json(record, {"error": "another worker could not make it"})
            write_json(record, {"page": str(_make(root, work))})
    done = read_json(record)
    if "error" in done:
        pytest.fail(f"there is no book to look at: {done['error']}")
    return SmokeBook(root, work, Path(done["page"]))


def _make(root: Path, work: Path) -> Path:
    root.mkdir()
    for name in ("_config.yml", "_toc.yml", "pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, root)
    for name in ("book", "notebooks", "groupcc_lite"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROUPCC_WORK", str(work))
        return build.make(root, "smoke", {"seed": 1})
