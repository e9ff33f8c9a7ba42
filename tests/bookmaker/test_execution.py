"""Running notebooks: parameters checked before anything starts, finished ones kept, failed ones named."""

import os
import time
from functools import partial
from pathlib import Path

import nbformat
import psutil
import pytest
from tiny_book import make_tiny_book, write_chapter

from bookmaker import execution, lanes
from bookmaker.notebook_pairs import make_pair, sources
from groupcc_lite.base import write_json


@pytest.fixture
def book(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    return make_tiny_book(tmp_path / "book")


@pytest.fixture
def executed(monkeypatch) -> list[str]:
    """Names of the notebooks that were run, in place of running them."""
    names = []

    def pretend(self, root, text, output, parameters):
        names.append(output.stem)
        nbformat.write(nbformat.reads(text, as_version=4), output)
        return ""

    monkeypatch.setattr(execution.NotebookProcesses, "execute", pretend)
    return names


def run(book: Path, **parameters) -> list[str]:
    return [o.status for o in execution.run(book, sources(book), {"profile": "smoke", **parameters})]


def test_a_notebook_is_executed_with_its_parameters_and_a_failure_stops_no_other(book):
    write_chapter(book, "01_one", extra='raise RuntimeError("no luck")')
    outcomes = execution.run(book, sources(book), {"profile": "smoke", "seed": 7})
    assert [(o.name, o.status) for o in outcomes] == [("01_one", "failed"), ("02_two", "made")]
    second = nbformat.read(execution.executed_folder(book, "smoke") / "02_two.ipynb", as_version=4)
    assert "the seed is 7" in second.cells[-1].outputs[0].text
    with pytest.raises(execution.NotebookError, match=r"1 of 2 notebooks failed.*\n.*01_one, cell 4: RuntimeError: no"):
        execution.require_success(outcomes, book, "smoke")
    first = execution.executed_folder(book, "smoke") / "01_one.ipynb"
    assert "An Exception was encountered" in first.read_text()
    assert not first.with_suffix(".json").exists()
    write_chapter(book, "01_one")
    outcomes = execution.run(book, sources(book), {"profile": "smoke", "seed": 7})
    assert [o.status for o in outcomes] == ["made", "kept"]
    execution.require_success(outcomes, book, "smoke")


def test_unchanged_notebooks_are_kept(book, executed):
    assert run(book) == ["made", "made"]
    assert run(book) == ["kept", "kept"]
    assert sorted(executed) == ["01_one", "02_two"]


def touch_notebook(book: Path) -> None:
    write_chapter(book, "01_one", extra="2 + 2")


def touch_library(book: Path) -> None:
    (book / "groupcc_lite" / "groups.py").write_text("x = 1\n")


def touch_atlas(book: Path) -> None:
    (book / "groupcc_lite" / "atlas").mkdir()
    (book / "groupcc_lite" / "atlas" / "contents.py").write_text("x = 1\n")


def touch_page_of_the_atlas(book: Path) -> None:
    (book / "groupcc_lite" / "atlas" / "web").mkdir(parents=True)
    for name in ("web_page.py", "web/map.js"):
        (book / "groupcc_lite" / "atlas" / name).write_text("x = 1\n")


def touch_bookmaker(book: Path) -> None:
    (book / "bookmaker").mkdir()
    (book / "bookmaker" / "pages.py").write_text("x = 1\n")


def touch_reference(book: Path) -> None:
    (book / "book" / "reference").mkdir()
    (book / "book" / "reference" / "01_one.json").write_text("{}")


def touch_report(book: Path) -> None:
    path = execution.report_path("smoke", "01_one")
    path.parent.mkdir(parents=True)
    path.write_text("{}")


def touch_record(book: Path) -> None:
    (execution.executed_folder(book, "smoke") / "01_one.json").unlink()


def touch_nothing(book: Path) -> None:
    pass


@pytest.mark.parametrize("touch, expected", [
    (touch_notebook, ["made", "kept"]), (touch_library, ["made", "made"]), (touch_atlas, ["made", "made"]),
    (touch_page_of_the_atlas, ["kept", "kept"]), (touch_bookmaker, ["kept", "kept"]),
    (touch_reference, ["made", "kept"]), (touch_report, ["made", "kept"]), (touch_record, ["made", "kept"]),
    (touch_nothing, ["kept", "kept"])])
def test_what_a_notebook_depends_on_runs_it_again(book, executed, touch, expected):
    run(book)
    touch(book)
    assert run(book) == expected


def test_other_parameters_run_it_again_and_other_profiles_keep_their_own(book, executed):
    assert run(book, seed=1) == ["made", "made"]
    assert run(book, seed=2) == ["made", "made"]
    assert run(book, profile="book") == ["made", "made"]
    assert run(book, seed=2) == ["kept", "kept"]


@pytest.fixture
def outside(tmp_path, monkeypatch) -> Path:
    """A folder such as GROUPCC_DATA names, with what looks like weights and a photograph."""
    folder = tmp_path / "outside"
    for name in ("googlenet-bvlc/googlenet_bvlc.safetensors", "imagenet-sample/images/dog/one.JPEG"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"x")
    monkeypatch.setenv("GROUPCC_DATA", str(folder))
    return folder


@pytest.mark.parametrize("change", [
    lambda folder: (folder / "googlenet-bvlc" / "googlenet_bvlc.safetensors").write_bytes(b"yy"),
    lambda folder: os.utime(folder / "googlenet-bvlc" / "googlenet_bvlc.safetensors", (1, 1)),
    lambda folder: (folder / "imagenet-sample" / "images" / "dog" / "one.JPEG").write_bytes(b"yy"),
    lambda folder: (folder / "imagenet-sample" / "images" / "two.png").write_bytes(b"x"),
    lambda folder: ((folder / "bsds" / "images").mkdir(parents=True),
                    (folder / "bsds" / "images" / "a.jpg").write_bytes(b"x")),
], ids=["other weights", "touched weights", "another photograph", "one photograph more", "a second set"])
def test_weights_and_photographs_matter_only_to_profiles_that_use_them(book, executed, outside, change):
    run(book), run(book, profile="inception")
    assert run(book, profile="inception") == ["kept", "kept"]
    change(outside)
    assert run(book) == ["kept", "kept"]
    assert run(book, profile="inception") == ["made", "made"]


def test_a_folder_of_photographs_of_ones_own_matters_to_every_profile(book, executed, outside):
    photographs = outside / "imagenet-sample"
    run(book, images=str(photographs))
    assert run(book, images=str(photographs)) == ["kept", "kept"]
    (photographs / "more.webp").write_bytes(b"x")
    assert run(book, images=str(photographs)) == ["made", "made"]


def test_a_download_of_weights_does_not_run_a_chapter_again(book, executed, outside, monkeypatch, tmp_path):
    """The first chapter that needs InceptionV1 downloads it: its record must hold afterwards."""
    file = tmp_path / "inception5h.pth"
    monkeypatch.setattr(execution, "weights_file", lambda name, weights=None: file if file.is_file() else None)
    run(book, profile="paper")
    file.write_bytes(b"x")
    assert run(book, profile="paper") == ["kept", "kept"]


@pytest.mark.parametrize("package", ["torch", "scikit-learn", "umap-learn", "matplotlib"])
def test_another_version_of_a_package_runs_everything_again(book, executed, monkeypatch, package):
    run(book)
    installed = execution.versions()
    assert package in installed
    monkeypatch.setattr(execution, "versions", lambda: installed | {package: "99"})
    assert run(book) == ["made", "made"]


def test_another_number_of_threads_runs_everything_again_and_more_jobs_do_not(book, executed):
    def statuses(**how):
        return [o.status for o in execution.run(book, sources(book), {"profile": "smoke"}, **how)]

    assert statuses() == ["made", "made"]
    assert statuses(jobs=1) == ["kept", "kept"]
    assert statuses(threads=2) == ["made", "made"]


@pytest.mark.parametrize("how", [{"jobs": 0}, {"threads": 0}, {"jobs": True}, {"threads": 1.5}])
def test_jobs_and_threads_are_numbers(book, executed, how):
    with pytest.raises(ValueError, match=f"{next(iter(how))} is .*; expected 1 or more"):
        execution.run(book, sources(book), {"profile": "smoke"}, **how)
    assert executed == []


COUNTED = """import os, torch
names = [f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")]
print("threads", torch.get_num_threads(), *map(os.environ.get, names))"""


@pytest.mark.parametrize("threads", [1, 2])
def test_every_kernel_has_the_same_number_of_threads(book, threads):
    write_chapter(book, "01_one", extra=COUNTED)
    execution.run(book, sources(book)[:1], {"profile": "smoke"}, threads=threads)
    notebook = nbformat.read(execution.executed_folder(book, "smoke") / "01_one.ipynb", as_version=4)
    assert " ".join(["threads", *[str(threads)] * 5]) in "".join(o.text for o in notebook.cells[-1].outputs)


MEET = """import pathlib, time
here, there = (pathlib.Path({folder!r}) / name for name in {names})
here.touch()
began = time.monotonic()
while not there.exists():
    if time.monotonic() - began > 60:
        raise TimeoutError("nobody came")
    time.sleep(0.05)"""


def test_two_notebooks_run_at_once_and_each_tells_when_it_starts_and_ends(book, tmp_path, caplog):
    for chapter, names in (("01_one", ("a", "b")), ("02_two", ("b", "a"))):
        write_chapter(book, chapter, extra=MEET.format(folder=str(tmp_path), names=names))
    with caplog.at_level("INFO"):
        outcomes = execution.run(book, sources(book), {"profile": "smoke"})
    assert [(o.name, o.status) for o in outcomes] == [("01_one", "made"), ("02_two", "made")]
    said = [message for message in caplog.messages if message.startswith("0")]
    assert [line.split(": ")[1].split(" ")[0] for line in said] == ["started", "started", "made", "made"]
    assert said[-1].endswith("(2 of 2)")


def _ends(pid, within):
    """Whether a process is gone, or gone but for its name in the system's table, before the time is over."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_an_interruption_ends_all_kernels(book, tmp_path):
    for chapter in ("01_one", "02_two"):
        write_chapter(book, chapter, extra=f"import os, pathlib, time\n"
                      f"pathlib.Path({str(tmp_path)!r}, '{chapter}.pid').write_text(str(os.getpid()))\ntime.sleep(600)")
    pids = [tmp_path / f"{chapter}.pid" for chapter in ("01_one", "02_two")]
    processes = execution.NotebookProcesses(1)
    work = {path.stem: partial(processes.execute, book, make_pair(path, book)[1], tmp_path / f"{path.stem}.ipynb", {})
            for path in sources(book)}

    def interrupted():
        while not all(path.is_file() and path.read_text() for path in pids):
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(lanes.run_in_lanes(work | {"99": interrupted}, {}, lanes=3, builds_on={}, stop=processes.stop))
    for path in pids:
        assert _ends(int(path.read_text()), within=30.0), "a kernel is still there"
    assert processes.execute(book, "", tmp_path / "x.ipynb", {}).startswith("its process ended")  # none starts any more


def test_a_kernel_that_dies_is_a_failure_of_its_notebook(book):
    write_chapter(book, "01_one", extra="import os\nos._exit(3)")
    outcomes = execution.run(book, sources(book), {"profile": "smoke"})
    assert [o.status for o in outcomes] == ["failed", "made"]
    assert "its process ended with status" in outcomes[0].error and "DeadKernelError" in outcomes[0].error


def test_a_process_that_dies_before_it_reads_its_notebook_is_a_failure_too(book, tmp_path, monkeypatch):
    script = tmp_path / "broken.py"
    script.write_text("import sys\nsys.exit('it cannot even start')\n")
    monkeypatch.setattr(execution.notebook_process, "__file__", str(script))
    much = "x" * 2**20  # more than a pipe holds, so that writing waits until the process is gone
    for _ in range(2):
        error = execution.NotebookProcesses(1).execute(book, much, tmp_path / "x.ipynb", {})
        assert error == "its process ended with status 1: it cannot even start"


def test_what_the_library_logs_is_plain_output_and_other_warnings_are_not(book):
    lines = ("import logging, warnings\nwarnings.warn('a real one')\n"
             "logging.getLogger('groupcc_lite.stimuli.images').warning('skipped 1 of 2 images')")
    write_chapter(book, "01_one", extra=lines)
    execution.run(book, sources(book)[:1], {"profile": "smoke"})
    outputs = nbformat.read(execution.executed_folder(book, "smoke") / "01_one.ipynb", as_version=4).cells[-1].outputs
    text = {name: "".join(o.text for o in outputs if o.name == name) for name in ("stdout", "stderr")}
    assert "skipped 1 of 2 images" in text["stdout"] and "skipped" not in text["stderr"]
    assert "a real one" in text["stderr"]


def test_force_runs_everything(book, executed):
    run(book)
    outcomes = execution.run(book, sources(book), {"profile": "smoke"}, force=True)
    assert [o.status for o in outcomes] == ["made", "made"]


@pytest.mark.parametrize("parameters, error, message", [
    ({"profil": "smoke"}, ValueError, "01_one.py has no parameter profil; it has profile, seed, images, weights"),
    ({"profile": "smok"}, ValueError, "profile is 'smok'; expected one of smoke, book, inception, paper"),
    ({"seed": -1}, ValueError, "seed is -1; expected a non-negative integer"),
    ({"seed": "1"}, ValueError, "seed is '1'; expected a non-negative integer"),
    ({"seed": True}, ValueError, "seed is True; expected a non-negative integer"),
    ({"images": "nowhere"}, FileNotFoundError, "images is 'nowhere', but there is no such folder of images"),
])
def test_wrong_parameters_are_errors_before_anything_runs(book, executed, parameters, error, message):
    with pytest.raises(error, match=message):
        run(book, **parameters)
    assert executed == []


def test_a_value_of_another_type_is_an_error():
    with pytest.raises(ValueError, match="steps is 'many'; x.py expects a int such as 3"):
        execution.check_parameters({"steps": "many"}, {"steps": 3}, "x.py")


def test_paths_reach_the_kernel_absolute(book, executed, monkeypatch):
    seen = []
    monkeypatch.setattr(execution, "_run_one", lambda root, chapter, text, parameters, *_: (
        seen.append(parameters["images"]) or execution.Outcome(chapter, "made")))
    monkeypatch.chdir(book)
    (book / "notebooks" / "photo.PNG").write_bytes(b"")
    run(book, images="notebooks")
    assert seen == [str(book / "notebooks")] * 2


@pytest.mark.parametrize("line", ["seed = 1 + 1", "seed = len('x')", "import os", "a = b = 1", "x[0] = 1"])
def test_a_parameters_cell_holds_literals_only(line):
    cell = nbformat.v4.new_code_cell(f'profile = "book"\n{line}', metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell])
    with pytest.raises(ValueError, match="may only hold lines like"):
        execution.declared_parameters(notebook, "x.py")


def test_the_environment_of_the_kernel_does_not_leak(book, executed):
    before = dict(os.environ)
    execution.run(book, sources(book), {"profile": "smoke"}, threads=3)
    assert dict(os.environ) == before


def test_before_the_first_run_the_published_one_says_which_chapters_are_long(tmp_path):
    folder, reference = tmp_path / "executed", tmp_path / "book" / "reference"
    write_json(reference / "a.json", dict(provenance=dict(seconds=7.5)))
    write_json(reference / "b.json", dict(provenance={}))
    assert execution._seconds_before(tmp_path, folder, ["a", "b", "c"]) == {"a": 7.5, "b": 0.0}
    write_json(folder / "c.json", dict(seconds=3.0))
    assert execution._seconds_before(tmp_path, folder, ["a", "b", "c"]) == {"c": 3.0}
