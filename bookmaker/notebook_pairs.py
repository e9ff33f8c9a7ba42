"""The two files of a notebook: the Python file that people edit, the .ipynb that Jupyter, Colab and the book read.

The Python file (percent format) is the source. Its twin is made from it and from nothing else: cell ids come from
the cells' text, so making it twice gives the same bytes, and a test can tell that the two have drifted apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from bookmaker.project_facts import Project, pinned_requirement, repeated
from groupcc_lite.base import atomic_write

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}

ESCAPED = re.compile(r"\\u([0-9a-f]{4})")

UNPINNED = 'source = ""'
BOOTSTRAP = f'''\
# On Google Colab this cell installs the library beside Colab's own torch.
# Anywhere else it does nothing.
import sys

keep_on_drive = False  # True: results stay in your Google Drive for the next session
{UNPINNED}  # what pip installs; behind the buttons of the pages: one commit

if "google.colab" in sys.modules:
    import os
    import subprocess
    from importlib.metadata import version

    source = os.environ.get("GROUPCC_SOURCE", source)
    if not source:
        raise RuntimeError("This copy of the notebook does not say what to install. "
                           "Open the chapter with the rocket button of its published "
                           "page, or write a wheel or folder of the library into `source`.")
    names = ("torch", "torchvision", "numpy", "ipython", "ipywidgets")
    keep = [f"{{name}}=={{version(name)}}" for name in names]
    pip = [sys.executable, "-m", "pip", "install", "-q", *keep, source]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{{source}} could not be installed beside {{keep}}:\\n{{done.stderr}}")
    from groupcc_lite.base import prepare_colab

    prepare_colab("/content", keep_on_drive=keep_on_drive)'''
"""The first code cell of every notebook. In the repository it names no commit: its own cannot be known before it is
made, and an earlier one would have to be written anew after every change of the library. `pin` names it in copies."""


class BookError(RuntimeError):
    """A step of making the book failed; the message says all that a reader needs."""


def find_root(start: str | Path | None = None) -> Path:
    """The folder with the book's sources that contains `start` (default: the current folder).

    FileNotFoundError outside a checkout.
    """
    from groupcc_lite.base import repository_root

    here = Path(start or Path.cwd())
    root = repository_root(here)
    if root is None:
        raise FileNotFoundError(f"{here.resolve()} is not inside the book's sources (no _config.yml beside "
                                "groupcc_lite); clone the repository and call this from there")
    return root


def sources(root: Path) -> list[Path]:
    """The notebooks' Python files in the order of the chapters."""
    return sorted((root / "notebooks").glob("[0-9][0-9]_*.py"))


def select(root: Path, names: list[str]) -> list[Path]:
    """The Python files that `names` mean: "all", a number such as "3" or "03", or a name such as "03_training".

    ValueError for a name that no notebook has, listing those there are.
    """
    available = {path.stem: path for path in sources(root)}
    if not available:
        raise FileNotFoundError(f"there is no notebook in {root / 'notebooks'}")
    if not names or "all" in names:
        return list(available.values())
    chosen = []
    for name in names:
        stem = Path(name).stem
        hits = [s for s in available if s == stem or (stem.isdigit() and int(s[:2]) == int(stem))]
        if not hits:
            raise ValueError(f"there is no notebook {name!r}; there are {', '.join(available)}, or all")
        chosen.append(available[hits[0]])
    return chosen


def tags(cell: Any) -> list[str]:
    """A cell's tags."""
    return cell.metadata.get("tags", [])


def tagged(notebook: Any, tag: str) -> int | None:
    """Position of the one cell with `tag`, None if there is none; ValueError if there are several."""
    found = [i for i, cell in enumerate(notebook.cells) if tag in tags(cell)]
    if len(found) > 1:
        raise ValueError(f"cells {found} are all tagged {tag!r}; exactly one may be")
    return found[0] if found else None


def _with_bootstrap(notebook: Any, name: str) -> None:
    from nbformat.v4 import new_code_cell

    at = tagged(notebook, "parameters")
    if at is None:
        raise ValueError(f'{name} has no cell tagged "parameters"; add one with literals only, '
                         'such as `# %% tags=["parameters"]` above `profile = "book"`')
    # remove-cell: the page leaves it out, Jupyter and Colab show it.
    cell = new_code_cell(BOOTSTRAP, metadata={"tags": ["bootstrap", "remove-cell"]})
    old = tagged(notebook, "bootstrap")
    if old is None:
        notebook.cells.insert(at, cell)
    else:
        notebook.cells[old] = cell


def _with_stable_ids(notebook: Any) -> None:
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        text = f"{cell.cell_type}\n{cell.source}"
        cell["id"] = hashlib.sha256(f"{seen[text]}\n{text}".encode()).hexdigest()[:8]
        seen[text] += 1


def _same_cells(one: Any, other: Any) -> bool:
    def content(notebook: Any) -> list[tuple[str, str, dict[str, Any]]]:
        return [(c.cell_type, c.source, {k: c.metadata.get(k) for k in ("tags", "mystnb")}) for c in notebook.cells]

    return content(one) == content(other) and one.metadata.get("kernelspec") == other.metadata.get("kernelspec")


def _python_text(notebook: Any, source: Path, root: Path) -> str:
    """The Python file for `notebook`: the file as it is if it says the same, so that its layout stays the author's."""
    import jupytext
    from jupytext.config import load_jupytext_config

    if _same_cells(jupytext.read(source, fmt="py:percent"), notebook):
        return source.read_text()
    config = load_jupytext_config(str(root / "notebooks" / source.name))
    lines = jupytext.writes(notebook, fmt="py:percent", config=config).split("\n")
    # jupytext escapes letters such as the subscript in D₁₆ in the metadata behind `# %%`; people edit that line.
    return "\n".join(ESCAPED.sub(lambda code: chr(int(code[1], 16)), line) if line.startswith("# %%") else line
                     for line in lines)


def make_pair(source: Path, root: Path) -> tuple[str, str]:
    """The texts that the Python file and its .ipynb twin should have, from the Python file as it is."""
    import jupytext
    import nbformat

    notebook = jupytext.read(source, fmt="py:percent")
    _with_bootstrap(notebook, source.name)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    text = _python_text(notebook, source, root)
    _with_stable_ids(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in ("tags", "mystnb")})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return text, nbformat.writes(notebook, indent=1).rstrip("\n") + "\n"


def sync(root: Path, *, check: bool = False) -> list[Path]:
    """Bring every pair of `notebooks/` in step, and the files that repeat version or address; `check` only looks.

    The address becomes that of the checkout's origin, if it is on github.com. `check` does not ask for it, so that a
    fork whose address is still the other one's passes. Returns the files that were not in step.
    """
    project = Project.read(root)
    stale = _written(repeated(root, project if check else project.at_origin(root)), check)
    return stale + sync_pairs(root, check=check)


def sync_pairs(root: Path, *, check: bool = False) -> list[Path]:
    """Bring every pair of `notebooks/` in step, and nothing else; `check` only looks.

    Returns the files that were not in step. ValueError for an .ipynb without a Python file.
    """
    wanted: dict[Path, str] = {}
    for source in sources(root):
        wanted |= zip((source, source.with_suffix(".ipynb")), make_pair(source, root), strict=True)
    stale = _written(wanted, check)
    orphans = {p.stem for p in (root / "notebooks").glob("*.ipynb")} - {p.stem for p in sources(root)}
    if orphans:
        raise ValueError(f"notebooks/{min(orphans)}.ipynb has no Python file beside it; the .py is the source, "
                         "so make it with `jupytext --to py:percent` or delete the .ipynb")
    return stale


def _written(wanted: dict[Path, str], check: bool) -> list[Path]:
    """Write the files whose text is another one, unless `check`; returns them."""
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    if not check:
        for path in stale:
            atomic_write(path, wanted[path])
    return stale


def pin(root: Path) -> list[Path]:
    """Write into every .ipynb that its first cell installs this commit, for the branch that Colab opens.

    The twins are made anew from the Python files, so they need not be in step before. Returns them. ValueError while
    the address is unknown, if the library differs from HEAD, and for a notebook that has the line of the first cell
    elsewhere as well.
    """
    pinned = f"source = {json.dumps(pinned_requirement(root))}"
    old, new = (json.dumps(line)[1:-1] for line in (UNPINNED, pinned))
    twins = {source.with_suffix(".ipynb"): make_pair(source, root)[1] for source in sources(root)}
    for twin, text in twins.items():
        if text.count(old) != 1:
            raise ValueError(f"{twin.name} has {text.count(old)} lines {UNPINNED!r}; expected the one of its first "
                             "cell, so write it differently elsewhere")
    for twin, text in twins.items():
        atomic_write(twin, text.replace(old, new))
    return list(twins)
