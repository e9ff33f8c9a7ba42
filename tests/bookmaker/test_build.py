"""From executed notebooks to checked pages, and the command line in front of it."""

import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from tiny_book import ROOT, git, make_tiny_book, pretend_run, write_chapter

from bookmaker import __main__ as cli
from bookmaker import build, execution, notebook_pairs, pages
from groupcc_lite.base import write_json


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    root = make_tiny_book(tmp_path / "book")
    monkeypatch.chdir(root)
    return root


def test_toc_pages(root):
    assert build.toc_pages(root) == ["book/index", "notebooks/01_one", "notebooks/02_two", "book/results"]


def test_the_page_shows_the_parameters_that_were_executed(root):
    pretend_run(root, "01_one", "02_two")
    source = build.assemble(root, "smoke")
    cells = nbformat.read(source / "notebooks" / "01_one.ipynb", as_version=4).cells
    assert not [c for c in cells if "injected-parameters" in c.metadata.get("tags", [])]
    parameters = next(c for c in cells if "parameters" in c.metadata.get("tags", []))
    assert parameters.source == 'profile = "smoke"  # which settings\nseed = 5\nimages = None\nweights = None'
    assert "profile **smoke**, seed 5. It took" in cells[1].source  # its report names no network


def test_assembling_twice_changes_nothing_and_removes_what_is_gone(root):
    pretend_run(root, "01_one", "02_two")
    source = build.assemble(root, "smoke")
    before = {p: p.stat().st_mtime_ns for p in source.rglob("*") if p.is_file()}
    (source / "book" / "old.md").write_text("gone from the sources")
    build.assemble(root, "smoke")
    assert {p: p.stat().st_mtime_ns for p in source.rglob("*") if p.is_file()} == before
    assert f"3.5{pages.UNBROKEN}s" in (source / "book" / "results.md").read_text()


def test_a_chapter_that_was_not_run_is_named(root):
    pretend_run(root, "01_one")
    with pytest.raises(FileNotFoundError, match="02_two has not been run with profile 'smoke'.*bookmaker run 02"):
        build.assemble(root, "smoke")


def test_an_announced_figure_that_was_not_shown_is_an_error(root):
    write_chapter(root, "01_one", extra='\n# %% mystnb={"figure": {"name": "fig-lost", "caption": "c"}}\n1')
    pretend_run(root, "01_one", "02_two")
    with pytest.raises(build.BuildError, match="did not show: 01_one: fig-lost"):
        build.assemble(root, "smoke")


@pytest.mark.slow
def test_the_whole_way_from_notebooks_to_checked_pages(root, capfd, caplog):
    assert cli.main(["book", "--profile", "smoke", "--seed", "3"]) == 0
    pages = build.html_folder(root, "smoke")
    chapter = (pages / "notebooks" / "01_one.html").read_text()
    assert "the seed is 3" in chapter and "What this page shows" in chapter
    assert "google.colab" not in chapter and "colab.research.google.com" not in chapter  # nobody has said an address
    assert "2. Chapter 2" in chapter  # in the sidebar: numbers go on from part to part
    assert (pages / "index.html").is_file()
    capfd.readouterr()
    before = (pages / "index.html").stat().st_mtime_ns
    assert cli.main(["build", "--profile", "smoke"]) == 0
    assert "the pages are up to date" in caplog.text and (pages / "index.html").stat().st_mtime_ns == before
    # A strict build fails on a dead reference, leaves the earlier pages alone, and fails again when repeated.
    (root / "book" / "index.md").write_text("# Start\n\n(profiles)=\n## Profiles\n\n{doc}`nowhere`\n")
    for _ in range(2):
        assert cli.main(["build", "--profile", "smoke"]) == 1
        assert "the strict build failed" in capfd.readouterr().err
    assert (pages / "notebooks" / "01_one.html").read_text() == chapter
    # And the check of the pages sees a page that was taken away.
    (pages / "notebooks" / "02_two.html").unlink()
    assert cli.main(["audit", "--profile", "smoke"]) == 1
    assert "notebooks/02_two.html: the page is missing" in capfd.readouterr().err


@pytest.mark.parametrize("arguments, message", [
    (["run", "07", "--profile", "smoke"], "there is no notebook '07'"),
    (["run", "01", "--profile", "smok"], "profile is 'smok'; expected one of"),
    (["run", "01", "--seed", "-3"], "seed is -3; expected"),
    (["run", "01", "-p", "sed=1"], "01_one.py has no parameter sed"),
    (["run", "01", "-p", "seed"], "-p 'seed' is not of the form NAME=VALUE"),
    (["run", "01", "--images", "nowhere"], "images is 'nowhere'"),
    (["run", "01", "--data", "nowhere"], "--data is 'nowhere', which is not a folder"),
    (["build", "--profile", "smoke"], "01_one has not been run"),
    (["audit", "--profile", "smoke"], "build the book first"),
    (["serve", "--profile", "smoke"], "holds no book"),
    (["sync", "--check"], "not in step with its source"),
    (["publish"], "holds no reports"),
    (["publish", "--profile", "book"], "runs on tiny-inception, but the reference is a run on googlenet or inc"),
    *(([verb, "--profile", "smok"], "profile is 'smok'; expected one of")
      for verb in ("build", "audit", "serve", "publish")),
])
def test_wrong_requests_are_one_clear_line(root, capsys, arguments, message):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr().err
    assert message in captured and captured.startswith("bookmaker: ") and captured.count("\n") == 1


@pytest.fixture
def no_kernel(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(execution.NotebookProcesses, "execute", refuse)


@pytest.mark.parametrize("verb", [["run", "01"], ["book"]])
@pytest.mark.parametrize("arguments, there, message", [
    (["--profile", "inception"], [], "no weights for googlenet: the environment variable GROUPCC_DATA is not set"),
    (["--profile", "inception", "--data", "d"], ["d/x"], "googlenet_bvlc.safetensors does not exist"),
    (["--profile", "inception", "--data", "d"], ["d/googlenet-bvlc/googlenet_bvlc.safetensors"],
     "imagenet-sample/images is not a folder"),
    (["--profile", "inception", "--weights", "w"], ["w"], "profile 'inception' needs photographs"),
    (["--profile", "inception", "--weights", "w", "--images", "i"], ["w", "i/notes.txt"],
     "i is a folder without photographs"),
    (["--profile", "inception", "--weights", "i", "--images", "i"], ["i/one.jpg"], "no such file; expected weights of"),
    (["--profile", "paper", "--weights", "w"], ["w"], "profile 'paper' needs photographs"),
    (["--profile", "smoke", "--images", "i"], ["i/notes.txt"], "i is a folder without photographs"),
    (["--profile", "smoke", "--images", "w"], ["w"], "w is not a folder"),
])
def test_missing_weights_and_photographs_are_one_line_before_anything_starts(
        root, no_kernel, capsys, monkeypatch, verb, arguments, there, message):
    monkeypatch.setenv("GROUPCC_DATA", "")
    for name in there:
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_bytes(b"")
    assert cli.main([*verb, *arguments]) == 2
    captured = capsys.readouterr().err
    assert message in captured and captured.startswith("bookmaker: ") and captured.count("\n") == 1


def test_make_wants_a_folder_of_data():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for target in ("inception", "book"):
        done = subprocess.run(["make", "-n", target, "DATA=nowhere"], cwd=ROOT, capture_output=True, text=True,
                              check=False)
        assert done.returncode and "DATA=nowhere is not a folder" in done.stderr


def test_publishing_marks_uncommitted_changes(root, capsys, tmp_path):
    folder = tmp_path / "work" / "reports" / "inception"
    for chapter, remark in (("01_one", ""), ("02_two", " with uncommitted changes")):
        write_json(folder / f"{chapter}.json", {"figures": [], "provenance": {"commit": "a" * 40 + remark}})
    assert cli.main(["publish"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote book/reference/01_one.json",
        "wrote book/reference/02_two.json (from a commit with uncommitted changes)"]
    write_json(folder / "02_two.json", {"figures": [], "provenance": {"commit": "b" * 40}})
    assert cli.main(["publish"]) == 2
    assert "several commits" in capsys.readouterr().err
    assert cli.main(["publish", "--force"]) == 0


def test_outside_the_sources_the_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "all"]) == 2
    assert "not inside the book's sources" in capsys.readouterr().err


def test_a_failed_notebook_fails_the_command(root, capsys):
    write_chapter(root, "02_two", extra="1 / 0")
    assert cli.main(["run", "02", "--profile", "smoke"]) == 1
    assert "02_two, cell 4: ZeroDivisionError: division by zero" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(root, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "run", interrupt)
    assert cli.main(["run", "all"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_every_verb_explains_itself(capsys):
    verbs = next(action for action in cli.verbs().parser._actions if action.choices).choices
    assert {"book", "run", "build", "audit", "serve", "sync", "pin", "publish"} == {*verbs}
    for verb in verbs:
        with pytest.raises(SystemExit) as stop:
            cli.main([verb, "--help"])
        assert stop.value.code == 0
        assert len(capsys.readouterr().out.splitlines()) > 4


@pytest.mark.parametrize("text, expected", [("seed=3", 3), ("images=None", None), ("name=plain text", "plain text")])
def test_other_parameters_are_read_as_literals_or_text(text, expected):
    options = cli.verbs().parser.parse_args(["run", "-p", text])
    assert cli._parameters(options)[text.split("=")[0]] == expected


@pytest.fixture
def cloned(root) -> Path:
    """The book as a clone from GitHub, with a page that repeats the address, and everything committed."""
    (root / "book" / "citing.md").write_text("# Citing\n\n```bibtex\n@software{b,\n  version = {0}\n}\n```\n")
    (root / "_toc.yml").write_text((root / "_toc.yml").read_text().replace(
        "  - file: book/results\n", "  - file: book/results\n  - file: book/citing\n"))
    notebook_pairs.sync(root)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    git(root, "remote", "add", "origin", "git@github.com:who/book.git")
    pretend_run(root, "01_one", "02_two")
    return root


def test_the_sources_of_the_pages_name_the_origin_and_the_repository_stays_as_it_is(cloned):
    pages = build.assemble(cloned, "smoke")
    assert "url     = {https://github.com/who/book}" in (pages / "book" / "citing.md").read_text()
    assert git(cloned, "status", "--porcelain", "--untracked-files=no") == ""


def test_making_the_book_writes_no_address(cloned, monkeypatch):
    monkeypatch.setattr(execution, "run", lambda *arguments, **how: [])
    monkeypatch.setattr(build, "build", build.assemble)
    monkeypatch.setattr(build, "check", lambda *arguments: 0)
    build.make(cloned, "smoke", {})
    assert git(cloned, "status", "--porcelain", "--untracked-files=no") == ""


@pytest.mark.slow
def test_with_an_address_pages_have_buttons_that_open_the_published_notebooks(cloned):
    assert cli.main(["build", "--profile", "smoke"]) == 0
    chapter = (build.html_folder(cloned, "smoke") / "notebooks" / "02_two.html").read_text()
    assert "https://colab.research.google.com/github/who/book/blob/published/notebooks/02_two.ipynb" in chapter
    assert "https://github.com/who/book/issues/new" in chapter and "https://who.github.io/book/" in chapter
