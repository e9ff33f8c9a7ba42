"""From executed notebooks and prose to the built book: assemble the sources, build them strictly, check the pages.

The pages are built from a copy under `_build/<profile>/src`, where executed notebooks stand at the paths of the bare
ones, so that the buttons of a page lead to the notebook in the repository. Nothing is executed during the build.
"""

from __future__ import annotations

import ast
import functools
import http.server
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bookmaker import execution, html_repairs, notebook_pairs, pages, reference_pages, statements
from bookmaker.auditing import Problem, audit
from bookmaker.project_facts import HOW_TO_SET, Project, repeated
from bookmaker.replication import read_claims
from groupcc_lite import atlas
from groupcc_lite.atlas import copy_scripts, link_from, script_links
from groupcc_lite.base import atomic_write, digest, read_json, sha256_of, write_json

log = logging.getLogger(__name__)

# Copied as they are, when they exist. Prose pages include the changelog.
COPIED = ("_config.yml", "CHANGELOG.md")
# The page that introduces the feature atlas; a book without it has no atlas.
ATLAS = "book/atlas"


class BuildError(notebook_pairs.BookError):
    """The pages could not be built, or are not fit to be read."""


def source_folder(root: Path, profile: str) -> Path:
    """Where the sources that Sphinx reads are assembled."""
    return root / "_build" / profile / "src"


def html_folder(root: Path, profile: str) -> Path:
    """Where the built pages lie."""
    return root / "_build" / profile / "html"


def toc_pages(root: Path) -> list[str]:
    """All pages of `_toc.yml`, without endings, in reading order."""
    import yaml

    def walk(entry: Any) -> list[str]:
        if isinstance(entry, list):
            return [page for part in entry for page in walk(part)]
        if not isinstance(entry, dict):
            return []
        own = [entry[key] for key in ("root", "file") if key in entry]
        return own + [page for key in ("parts", "chapters", "sections") for page in walk(entry.get(key))]

    return walk(yaml.safe_load((root / "_toc.yml").read_text()))


def results(root: Path, profile: str) -> pages.Results:
    """Everything that the generated parts of the pages are made from. FileNotFoundError for a chapter not yet run."""
    import nbformat

    notebooks = {}
    for page in toc_pages(root):
        if page.startswith("notebooks/"):
            chapter = page.removeprefix("notebooks/")
            executed = execution.executed_folder(root, profile) / f"{chapter}.ipynb"
            if not executed.with_suffix(".json").is_file():
                raise FileNotFoundError(f"{chapter} has not been run with profile {profile!r} to its end; "
                                        f"call `python -m bookmaker run {chapter[:2]} --profile {profile}` first")
            notebooks[chapter] = nbformat.read(executed, as_version=4)
    measured = root / "book" / "reference" / "benchmarks.json"
    return pages.Results(
        profile=profile, here=pages.read_reports(execution.report_path(profile, "").parent),
        reference=pages.read_reports(root / "book" / "reference"), notebooks=notebooks,
        claims=read_claims(root / "book" / "claims.yml"),
        benchmarks=read_json(measured) if measured.is_file() else None)


def page_notebook(notebook: Any, profile: str, facts: Mapping[str, Any]) -> Any:
    """An executed notebook as its page shows it.

    papermill's injected cell goes; its values stand in the parameters cell, so that the page shows what was executed.
    A box below the title names the profile, and from the `facts` of the chapter's report its network and group.
    """
    from nbformat.v4 import new_markdown_cell

    parameters = notebook.cells[notebook_pairs.tagged(notebook, "parameters")]
    injected = notebook_pairs.tagged(notebook, "injected-parameters")
    if injected is not None:
        parameters.source = _with_values(parameters.source, _assignments(notebook.cells[injected].source))
        del notebook.cells[injected]
    box = new_markdown_cell(pages.badge(notebook, profile, _assignments(parameters.source)["seed"], facts))
    box["id"] = "run-badge"
    notebook.cells.insert(1, box)
    return notebook


def _assignments(source: str) -> dict[str, Any]:
    return {statement.targets[0].id: ast.literal_eval(statement.value)
            for statement in ast.parse(source).body if isinstance(statement, ast.Assign)}


def _with_values(source: str, values: dict[str, Any]) -> str:
    """`source` with the literals of its assignments replaced; comments and layout stay."""
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        name, value = statement.targets[0].id, statement.value
        if name in values and ast.literal_eval(value) != values[name]:
            line, new = lines[value.lineno - 1], values[name]
            text = json.dumps(new) if isinstance(new, str) else repr(new)
            lines[value.lineno - 1] = line[:value.col_offset] + text + line[value.end_col_offset:]
    return "\n".join(lines)


def lost_figures(notebook: Any) -> list[str]:
    """Names of the figures that cells announce but did not show."""
    announced = [cell for cell in notebook.cells if cell.metadata.get("mystnb", {}).get("figure")]
    return [cell.metadata["mystnb"]["figure"].get("name", cell.source[:40]) for cell in announced
            if not any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {}))]


def project(root: Path) -> Project:
    """The project with the address that the pages name: that of the checkout's origin, or else the written one."""
    return Project.read(root).at_origin(root)


def assemble(root: Path, profile: str) -> Path:
    """Put together the folder that Sphinx reads; files that have not changed are left alone. Returns the folder.

    BuildError if a chapter announces a figure that it did not show: its page would just lack it.
    """
    import nbformat

    found, folder = results(root, profile), source_folder(root, profile)
    with_facts = repeated(root, project(root))
    lost = [f"{chapter}: {name}" for chapter, notebook in found.notebooks.items() for name in lost_figures(notebook)]
    if lost:
        raise BuildError(f"cells announce figures that they did not show: {', '.join(lost)}")
    wanted: dict[str, bytes] = {"_toc.yml": (root / "_toc.yml").read_bytes()}
    for name in COPIED:
        if (root / name).is_file():
            wanted[name] = (root / name).read_bytes()
    for path in sorted((root / "book").rglob("*")):
        if path.is_file() and root / "book" / "reference" / "atlas" not in path.parents:
            name = path.relative_to(root).as_posix()
            wanted[name] = (_filled(with_facts.get(path, path.read_text()), found, name) if path.suffix == ".md"
                            else path.read_bytes())
    for name in [name for name in wanted if name.endswith(".md")]:
        wanted[name] = atlas.RELATIVES.sub(
            lambda m: atlas.relatives_part(root, profile, int(m[1]) if m[1] else None), wanted[name].decode()).encode()
    if ATLAS in toc_pages(root):
        wanted |= _atlas_files(root, profile, wanted[f"{ATLAS}.md"].decode())
    for chapter, notebook in found.notebooks.items():
        wanted[f"notebooks/{chapter}.ipynb"] = nbformat.writes(
            page_notebook(notebook, profile, found.here.get(chapter, {}).get("provenance", {}))).encode()
    for old in [p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).as_posix() not in wanted]:
        old.unlink()
    for name, content in wanted.items():
        if not (folder / name).is_file() or (folder / name).read_bytes() != content:
            atomic_write(folder / name, content)
    return folder


def _filled(text: str, found: pages.Results, name: str) -> bytes:
    return reference_pages.fill(pages.fill(text, found, name), name).encode()


def _atlas_files(root: Path, profile: str, text: str) -> dict[str, bytes]:
    """The feature atlas, which the configuration puts beside the pages, and `text`, its introduction, completed."""
    d3 = link_from(atlas.PAGE, script_links({"d3": atlas.D3}, root)["d3"])
    page = text.replace(atlas.MARKER, atlas.book_part(root, profile)).encode()
    files = atlas.book_files(root, profile, d3)
    return {f"{ATLAS}.md": page} | {f"extra/{name}": content for name, content in files.items()}


def build(root: Path, profile: str) -> Path:
    """Assemble and build the pages with warnings as errors; returns the folder with index.html. BuildError if it fails.

    Nothing is built when no source has changed since the last success. Otherwise everything is, because Sphinx would
    neither warn again about an unchanged page nor notice a changed style sheet. The finished pages replace the earlier
    ones only when the build succeeded.
    """
    source, output, target = assemble(root, profile), root / "_build" / profile, html_folder(root, profile)
    (source / "extra").mkdir(exist_ok=True)  # named in the configuration; Sphinx warns about folders that are not there
    links, facts = script_links(html_repairs.ON_PAGES, root), project(root)
    if not facts.repository:
        log.info("no page has a button for Colab, the repository or issues, because the address is unknown: %s",
                 HOW_TO_SET)
    atomic_write(source / "_config.yml", html_repairs.configured(
        (root / "_config.yml").read_text(), links, facts))
    made_from = {str(p.relative_to(source)): p for p in sorted(source.rglob("*")) if p.is_file()}
    made_from[html_repairs.__name__] = Path(html_repairs.__file__)
    sources = digest({name: sha256_of(path) for name, path in made_from.items()})
    record = output / "built.json"
    if record.is_file() and read_json(record) == sources and (target / "index.html").is_file():
        log.info("the pages are up to date")
        return target
    record.unlink(missing_ok=True)
    command = shutil.which("jupyter-book", path=str(Path(sys.executable).parent)) or shutil.which("jupyter-book")
    if command is None:
        raise FileNotFoundError("jupyter-book is not installed; call `make env`")
    shutil.rmtree(output / "_build", ignore_errors=True)
    log.info("building %d pages", len(toc_pages(root)))
    arguments = ["build", str(source), "--path-output", str(output), "-W", "-n", "--keep-going", "-q"]
    if subprocess.run([command, *arguments], stdout=subprocess.DEVNULL, check=False).returncode:
        raise BuildError("the strict build failed; every warning above counts as an error")
    copy_scripts(html_repairs.ON_PAGES, root, output / "_build" / "html")
    html_repairs.finish(root, output / "_build" / "html", facts)
    shutil.rmtree(target, ignore_errors=True)
    (output / "_build" / "html").rename(target)
    write_json(record, sources)
    return target


def check(root: Path, profile: str) -> int:
    """Audit the built pages, and what they say of the book's run; returns how many pages there are.

    BuildError listing every problem.
    """
    folder = html_folder(root, profile)
    problems: list[Problem] = [*audit(folder, expected=toc_pages(root)), *untrue_statements(root, profile)]
    if problems:
        raise BuildError(f"{len(problems)} problems in {folder}:\n" + "\n".join(f"  {problem}" for problem in problems))
    return len(list(folder.rglob("*.html")))


def untrue_statements(root: Path, profile: str) -> list[Problem]:
    """What the prose says of the book's run and the reports do not bear out.

    Nothing for a run with another profile, seed or images, whose numbers differ: the prose is not about it.
    """
    if profile != statements.PROFILE:
        return []
    records = [read_json(path) for path in sorted(execution.executed_folder(root, profile).glob("*.json"))]
    chosen = [{key: value for key, value in record["parameters"].items() if value} for record in records]
    if any(parameters != {"profile": profile} for parameters in chosen):
        return []
    said = statements.read_statements(root / "book" / "statements.yml")
    return statements.untrue(said, profile, pages.read_reports(execution.report_path(profile, "").parent))


def make(root: Path, profile: str, parameters: dict[str, Any], **how: Any) -> Path:
    """Run every notebook of the book, build the pages and check them; returns the page to open.

    `how` as for `execution.run`. NotebookError or BuildError if any step fails; the steps after it are not taken.
    """
    stale = notebook_pairs.sync_pairs(root)
    for path in stale:
        log.info("brought %s in step", path.relative_to(root))
    chapters = [root / f"{page}.py" for page in toc_pages(root) if page.startswith("notebooks/")]
    outcomes = execution.run(root, chapters, {"profile": profile, **parameters}, **how)
    execution.require_success(outcomes, root, profile)
    if ATLAS in toc_pages(root) and not (root / "book" / "reference" / "atlas" / "atlas.js").is_file():
        _own_atlas(profile, **parameters)
    folder = build(root, profile)
    log.info("%d pages, no problems", check(root, profile))
    return folder / "index.html"


def _own_atlas(profile: str, *, seed: int = 0, images: str | None = None, weights: str | None = None,
               **_: Any) -> None:
    """The atlas of the run that the notebooks have just made, for a book that has no reference run to show."""
    from groupcc_lite.runs import Run

    log.info("making the feature atlas")
    run = Run(profile, seed, images=images, weights=weights)
    # A sample of pictures: all of them would take longer than a chapter.
    atlas.make_page(run, atlas.atlas_folder(profile) / "data", data_only=True, pictures=256)


def serve(root: Path, profile: str, port: int) -> None:
    """Serve the built pages on this machine until interrupted."""
    folder = html_folder(root, profile)
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(f"{folder} holds no book; call `python -m bookmaker book --profile {profile}` first")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        log.info("http://localhost:%d shows %s (Ctrl-C ends)", port, folder)
        server.serve_forever()
