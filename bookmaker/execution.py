"""Running notebooks with papermill: parameters checked first, finished ones skipped, failed ones named.

papermill only logs a parameter that a notebook does not have, and a strict build of the pages does not notice a failed
notebook. So both are checked here, and a notebook counts as done only when its record was written after the last cell.
"""

from __future__ import annotations

import ast
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from bookmaker.notebook_pairs import BookError, make_pair, tagged
from groupcc_lite.base import digest, read_json, sha256_of, work_folder, write_json
from groupcc_lite.models import weights_file
from groupcc_lite.runs import get_profile
from groupcc_lite.stimuli import IMAGE_SUFFIXES, photo_folder

log = logging.getLogger(__name__)

# What only arranges and checks pages cannot change what a notebook computes.
PAGE_ONLY = "groupcc_lite/atlas/"

# Kernels listen on this machine only; without this each one warns that its connection is not encrypted.
QUIET_KERNEL = "--IPKernelApp.log_level=40"

# What the library logs is part of a page's text, such as how many photographs could not be read. On stderr it would
# count as a warning, and fail the check of the pages; warnings of everybody else stay there.
PLAIN_LOG = ("--IPKernelApp.code_to_run=__import__('logging').getLogger('groupcc_lite').addHandler("
             "__import__('logging').StreamHandler(__import__('sys').stdout))")

# A new version of one of these may change a number or a figure.
PACKAGES = ("torch", "numpy", "umap-learn", "torch-lucent", "matplotlib")


class NotebookError(BookError):
    """A notebook stopped with an error."""


class Outcome(NamedTuple):
    """What became of one notebook."""

    name: str
    status: str
    """"made", "kept" (nothing it depends on has changed) or "failed"."""
    error: str = ""


def declared_parameters(notebook: Any, name: str) -> dict[str, Any]:
    """Names and default values of the cell tagged "parameters"; ValueError unless it only assigns literals."""
    at = tagged(notebook, "parameters")
    if at is None:
        raise ValueError(f'{name} has no cell tagged "parameters"')
    values = {}
    for statement in ast.parse(notebook.cells[at].source).body:
        try:
            target, = statement.targets
            values[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError) as error:
            raise ValueError(f"{name}: the parameters cell may only hold lines like `seed = 0`, but has "
                             f"{ast.unparse(statement)!r}") from error
    return values


def check_parameters(given: dict[str, Any], declared: dict[str, Any], name: str) -> None:
    """ValueError for a parameter the notebook does not have, or a value it cannot take."""
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(declared)}")
    for key, value in given.items():
        default = declared[key]
        if key == "profile":
            get_profile(value)
        elif key == "seed" and (type(value) is not int or value < 0):
            raise ValueError(f"seed is {value!r}; expected a non-negative integer")
        elif key in ("images", "weights") and value is not None and not Path(value).exists():
            kind = "folder of images" if key == "images" else "weights file"
            raise FileNotFoundError(f"{key} is {str(value)!r}, but there is no such {kind}")
        elif default is not None and type(value) is not type(default):
            raise ValueError(f"{key} is {value!r}; {name} expects a {type(default).__name__} such as {default!r}")


def outside_files(parameters: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Weights file and photographs that a run will read: their (path, bytes, time of change), none of them opened.

    ValueError if the profile needs one that is not there, so that nothing starts which cannot end well. InceptionV1's
    weights may still have to be downloaded, and are pinned by their sha256.
    """
    settings, weights, images = (get_profile(parameters["profile"]), parameters.get("weights"),
                                 parameters.get("images"))
    built_in, found = settings.model == "tiny-inception", []
    file = weights_file(settings.model, weights)
    if file is not None and (weights is not None or settings.model == "googlenet"):
        found.append(file)
    if images is not None or not built_in:
        found += _photographs(settings.name, images)
    return [(str(path), (facts := path.stat()).st_size, facts.st_mtime_ns) for path in found]


def _photographs(profile: str, images: str | None) -> list[Path]:
    """All image files in the folder given, or in GROUPCC_DATA's; ValueError if there is none."""
    folder = photo_folder(images, profile)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        what = "is a folder without photographs" if folder.is_dir() else "is not a folder"
        raise ValueError(f"{folder} {what}; profile {profile!r} needs images=FOLDER with files such as "
                         f"{', '.join(sorted(IMAGE_SUFFIXES))}")
    return files


def inputs_digest(root: Path, notebook_text: str, chapter: str, parameters: dict[str, Any],
                  outside: Sequence[tuple[str, int, int]] = ()) -> str:
    """Name of everything a notebook's result depends on.

    Its text, the library, the parameters, the published reference, the installed versions, and the weights and
    photographs (`outside_files`) by size and time of change.
    """
    library = [p for p in (root / "groupcc_lite").rglob("*") if p.suffix in (".py", ".safetensors", ".json")]
    files = [p for p in library if not p.relative_to(root).as_posix().startswith(PAGE_ONLY)]
    files += sorted(root.glob(f"book/reference/{chapter}*"))
    files += sorted(root.glob(f"book/reference/{chapter}/*"))
    contents = {str(p.relative_to(root)): sha256_of(p) for p in sorted(files) if p.is_file()}
    versions = {package: version(package) for package in PACKAGES}
    return digest([notebook_text, contents, parameters, versions, outside])


def executed_folder(root: Path, profile: str) -> Path:
    """Where the executed notebooks of a profile lie."""
    return root / "_build" / profile / "executed"


def report_path(profile: str, chapter: str) -> Path:
    """Where a notebook run with this profile leaves its numbers."""
    return work_folder() / "reports" / profile / f"{chapter}.json"


def run(root: Path, chapters: Sequence[Path], parameters: dict[str, Any], *, force: bool = False) -> list[Outcome]:
    """Execute notebooks in order; a failure does not stop the others.

    `parameters` must contain "profile". All are checked for all notebooks before the first one starts. A notebook is
    skipped if it succeeded before and nothing it depends on has changed, unless `force`.
    """
    import nbformat

    parameters = {k: str(Path(v).resolve()) if k in ("images", "weights") and v is not None and Path(v).exists() else v
                  for k, v in parameters.items()}
    jobs = []
    for source in chapters:
        text = make_pair(source, root)[1]
        check_parameters(parameters, declared_parameters(nbformat.reads(text, as_version=4), source.name), source.name)
        jobs.append((source.stem, text))
    outside = outside_files(parameters)
    outcomes = []
    for number, (chapter, text) in enumerate(jobs, 1):
        log.info("[%d/%d] %s, profile %s", number, len(jobs), chapter, parameters["profile"])
        outcomes.append(_run_one(root, chapter, text, parameters, outside, force))
        log.info("      %s", outcomes[-1].status)
    return outcomes


def _run_one(root: Path, chapter: str, text: str, parameters: dict[str, Any],
             outside: Sequence[tuple[str, int, int]], force: bool) -> Outcome:
    folder = executed_folder(root, parameters["profile"])
    record, output = folder / f"{chapter}.json", folder / f"{chapter}.ipynb"
    report = report_path(parameters["profile"], chapter)
    inputs = inputs_digest(root, text, chapter, parameters, outside)
    if not force and record.is_file() and output.is_file():
        done = read_json(record)
        if done["inputs"] == inputs and done["report"] == _sha_or_none(report):
            return Outcome(chapter, "kept")
    record.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    error = _execute(root, text, output, parameters)
    if error:
        return Outcome(chapter, "failed", error)
    write_json(record, dict(inputs=inputs, report=_sha_or_none(report), parameters=parameters))
    return Outcome(chapter, "made")


def _execute(root: Path, text: str, output: Path, parameters: dict[str, Any]) -> str:
    """Run one notebook with papermill; the error as one line, or "" when all went well."""
    import nbformat
    import papermill

    notebook = nbformat.reads(text, as_version=4)
    # tqdm reads TQDM_DISABLE when it is imported: the kernel's bars would fill the page, papermill's own bar stays.
    # GROUPCC_STATIC tells `widgets` that nobody will be there to answer a live widget. Figures must reach the notebook
    # even where the caller draws into files (MPLBACKEND=agg, as the tests do).
    with _environment(TQDM_DISABLE="1", GROUPCC_STATIC="1", PYDEVD_DISABLE_FILE_VALIDATION="1",
                      MPLBACKEND="module://matplotlib_inline.backend_inline"):
        try:
            papermill.execute_notebook(notebook, str(output), parameters=parameters, cwd=str(root),
                                       kernel_name="python3", extra_arguments=[QUIET_KERNEL, PLAIN_LOG])
        except papermill.PapermillExecutionError as error:
            return f"cell {error.exec_count}: {error.ename}: {error.evalue.strip()}"
    return ""


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _sha_or_none(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def require_success(outcomes: Sequence[Outcome], root: Path, profile: str) -> None:
    """NotebookError naming every notebook that failed, its cell and its error, and where to read more."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        lines = [f"  {o.name}, {o.error}" for o in failed]
        where = executed_folder(root, profile).relative_to(root)
        raise NotebookError(f"{len(failed)} of {len(outcomes)} notebooks failed (the marked copies are in {where}):\n"
                            + "\n".join(lines))
