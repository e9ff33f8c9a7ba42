"""Running notebooks with papermill: parameters checked first, finished ones skipped, failed ones named.

Two run at once, each in a process of its own with one thread,
so that no result depends on how many cores a machine has.

papermill only logs a parameter that a notebook does not have, and a strict build of the pages does not notice a failed
notebook. So both are checked here, and a notebook counts as done only when its record was written after the last cell.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import IO, Any, NamedTuple

from tqdm.contrib.logging import logging_redirect_tqdm

from bookmaker import notebook_process
from bookmaker.lanes import BUILDS_ON, run_in_lanes
from bookmaker.notebook_pairs import BookError, make_pair, tagged
from groupcc_lite.base import digest, minutes, progress_bar, provenance, read_json, sha256_of, work_folder, write_json
from groupcc_lite.models import TINY_MODELS, weights_file
from groupcc_lite.runs import get_profile
from groupcc_lite.stimuli import IMAGE_SUFFIXES, photo_folder, second_photo_folder

log = logging.getLogger(__name__)

# What only arranges the atlas' page cannot change what a notebook computes.
PAGE_ONLY = ("groupcc_lite/atlas/web/", "groupcc_lite/atlas/web_page.py", "groupcc_lite/atlas/moving.py")

# Two notebooks at once with one thread each: on any machine sums are added in the same order, and a second core helps.
JOBS, THREADS = 2, 1


class NotebookError(BookError):
    """A notebook stopped with an error."""


class Outcome(NamedTuple):
    """What became of one notebook."""

    name: str
    status: str
    """"made", "kept" (nothing it depends on has changed) or "failed"."""
    error: str = ""
    seconds: float = 0.0


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
    built_in, found = settings.model in TINY_MODELS, []
    file = weights_file(settings.model, weights)
    if file is not None and (weights is not None or settings.model == "googlenet"):
        found.append(file)
    if images is not None or not built_in:
        found += _photographs(settings.name, images)
        second = second_photo_folder()  # chapter 8 compares with it
        found += [] if second is None else _files_in(second)
    return [(str(path), (facts := path.stat()).st_size, facts.st_mtime_ns) for path in found]


def _photographs(profile: str, images: str | None) -> list[Path]:
    """All image files in the folder given, or in GROUPCC_DATA's; ValueError if there is none."""
    folder = photo_folder(images, profile)
    files = _files_in(folder)
    if not files:
        what = "is a folder without photographs" if folder.is_dir() else "is not a folder"
        raise ValueError(f"{folder} {what}; profile {profile!r} needs images=FOLDER with files such as "
                         f"{', '.join(sorted(IMAGE_SUFFIXES))}")
    return files


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def inputs_digest(root: Path, notebook_text: str, chapter: str, parameters: dict[str, Any],
                  outside: Sequence[tuple[str, int, int]] = (), threads: int = THREADS) -> str:
    """Name of everything a notebook's result depends on.

    Its text, the library, the parameters, the published reference, the installed versions, the number of threads, and
    the weights and photographs (`outside_files`) by size and time of change.
    """
    library = [p for p in (root / "groupcc_lite").rglob("*") if p.suffix in (".py", ".safetensors", ".json")]
    files = [p for p in library if not p.relative_to(root).as_posix().startswith(PAGE_ONLY)]
    files += sorted(root.glob(f"book/reference/{chapter}*"))
    files += sorted(root.glob(f"book/reference/{chapter}/*"))
    contents = {str(p.relative_to(root)): sha256_of(p) for p in sorted(files) if p.is_file()}
    return digest([notebook_text, contents, parameters, versions(), threads, outside])


def versions() -> dict[str, str]:
    """The packages whose version may change a number or a figure, with their installed versions."""
    return provenance()["versions"] | {"matplotlib": version("matplotlib")}


def executed_folder(root: Path, profile: str) -> Path:
    """Where the executed notebooks of a profile lie."""
    return root / "_build" / profile / "executed"


def report_path(profile: str, chapter: str) -> Path:
    """Where a notebook run with this profile leaves its numbers."""
    return work_folder() / "reports" / profile / f"{chapter}.json"


def _seconds_before(root: Path, folder: Path, chapters: Iterable[str]) -> dict[str, float]:
    """How long chapters took the last time; before there is one, what they took in the published run, whose profile may
    be larger: what matters is which are long."""
    took = {chapter: read_json(record).get("seconds", 0.0) for chapter in chapters
            if (record := folder / f"{chapter}.json").is_file()}
    return took or {chapter: read_json(report)["provenance"].get("seconds", 0.0) for chapter in chapters
                    if (report := root / "book" / "reference" / f"{chapter}.json").is_file()}


def run(root: Path, chapters: Sequence[Path], parameters: dict[str, Any], *, force: bool = False, jobs: int = JOBS,
        threads: int = THREADS) -> list[Outcome]:
    """Execute notebooks, at most `jobs` at once with `threads` each; a failure does not stop the others.

    `parameters` must contain "profile". All are checked for all notebooks before the first one starts. A notebook is
    skipped if it succeeded before and nothing it depends on has changed, unless `force`. An interruption ends all
    kernels. Returns the outcomes in the order of `chapters`; ValueError for fewer jobs or threads than one.
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}; expected 1 or more")
    parameters = {k: str(Path(v).resolve()) if k in ("images", "weights") and v is not None and Path(v).exists() else v
                  for k, v in parameters.items()}
    texts = _checked_texts(root, chapters, parameters)
    outside = outside_files(parameters)
    processes = NotebookProcesses(threads)
    work = {chapter: partial(_run_one, root, chapter, text, parameters, outside, force, processes)
            for chapter, text in texts.items()}
    folder = executed_folder(root, parameters["profile"])
    took = _seconds_before(root, folder, texts)
    outcomes = {}
    with logging_redirect_tqdm(), progress_bar(sys.stderr.isatty(), total=len(work), unit="chapter") as bar:
        for chapter, outcome in run_in_lanes(work, took, lanes=jobs, builds_on=BUILDS_ON, stop=processes.stop):
            outcomes[chapter] = outcome
            time = f" in {minutes(outcome.seconds)}" if outcome.status != "kept" else ""
            log.info("%s: %s%s (%d of %d)", chapter, outcome.status, time, len(outcomes), len(work))
            bar.update()
    return [outcomes[chapter] for chapter in texts]


def _checked_texts(root: Path, chapters: Sequence[Path], parameters: dict[str, Any]) -> dict[str, str]:
    """The notebooks to run, each of which has all parameters."""
    import nbformat

    texts = {}
    for source in chapters:
        text = make_pair(source, root)[1]
        check_parameters(parameters, declared_parameters(nbformat.reads(text, as_version=4), source.name), source.name)
        texts[source.stem] = text
    return texts


def _run_one(root: Path, chapter: str, text: str, parameters: dict[str, Any],
             outside: Sequence[tuple[str, int, int]], force: bool, processes: NotebookProcesses) -> Outcome:
    folder = executed_folder(root, parameters["profile"])
    record, output = folder / f"{chapter}.json", folder / f"{chapter}.ipynb"
    report = report_path(parameters["profile"], chapter)
    inputs = inputs_digest(root, text, chapter, parameters, outside, processes.threads)
    if not force and record.is_file() and output.is_file():
        done = read_json(record)
        if done["inputs"] == inputs and done["report"] == _sha_or_none(report):
            return Outcome(chapter, "kept")
    record.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    log.info("%s: started with profile %s", chapter, parameters["profile"])
    began = perf_counter()
    error = processes.execute(root, text, output, parameters)
    seconds = perf_counter() - began
    if error:
        return Outcome(chapter, "failed", error, seconds)
    write_json(record, dict(inputs=inputs, report=_sha_or_none(report), parameters=parameters, seconds=seconds))
    return Outcome(chapter, "made", "", seconds)


class NotebookProcesses:
    """Notebooks, each in a process of its own with a fixed number of threads, which all end together."""

    GRACE = 20.0
    """Seconds that a notebook has to shut its kernel down."""

    def __init__(self, threads: int):
        self.threads = threads
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def execute(self, root: Path, text: str, output: Path, parameters: dict[str, Any]) -> str:
        """Run one notebook with papermill; the error as one line, or "" when all went well."""
        with tempfile.TemporaryDirectory() as folder:
            result, said = Path(folder) / "result", Path(folder) / "said"
            with said.open("wb") as stream:
                process = self._start(stream)
                job = dict(text=text, output=str(output), parameters=parameters, folder=str(root), result=str(result))
                try:
                    with suppress(BrokenPipeError):  # it died before it read this; what it said stands below
                        process.stdin.write(json.dumps(job) + "\n")
                        process.stdin.flush()
                    if self._stopped:
                        _end_input(process)
                    process.wait()
                finally:
                    self._running.discard(process)
                    _end_input(process)
            if result.is_file():
                return result.read_text()
            *_, last = ["no message", *said.read_text(errors="replace").strip().splitlines()]
            return f"its process ended with status {process.returncode}: {last}"

    def _start(self, stream: IO[bytes]) -> subprocess.Popen:
        # A session of its own: Ctrl-C must not reach it twice, from the terminal and from `stop`.
        process = subprocess.Popen([sys.executable, "-P", notebook_process.__file__], stdin=subprocess.PIPE, text=True,
                                   stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
                                   env=os.environ | kernel_environment(self.threads))
        self._running.add(process)
        return process

    def stop(self) -> None:
        """End all notebooks that run, with their kernels, and every one that might still start."""
        self._stopped = True
        running = list(self._running)
        for process in running:
            _end_input(process)
        for process in running:
            try:
                process.wait(self.GRACE)
            except subprocess.TimeoutExpired:  # its kernel notices within a second that nobody is there any more
                process.kill()


def _end_input(process: subprocess.Popen) -> None:
    with suppress(BrokenPipeError):  # closing writes what a dead process did not take
        process.stdin.close()


def kernel_environment(threads: int) -> dict[str, str]:
    """What the process of a notebook finds in its environment."""
    # tqdm reads TQDM_DISABLE when it is imported: the kernel's bars would fill the page. GROUPCC_STATIC tells widgets
    # that nobody will be there to answer a live one. Figures must reach the notebook even where the caller draws into
    # files (MPLBACKEND=agg, as the tests do). torch takes its number of threads from OMP_NUM_THREADS.
    fixed = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                             "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")}
    return fixed | dict(TQDM_DISABLE="1", GROUPCC_STATIC="1", PYDEVD_DISABLE_FILE_VALIDATION="1",
                        MPLBACKEND="module://matplotlib_inline.backend_inline")


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
