"""The two files of a notebook: made twice they are the same bytes, and drifting apart is noticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_book import git, make_tiny_book, write_chapter

from bookmaker import notebook_pairs
from bookmaker.project_facts import Project, repeated

SET = "https://github.com/set/before"


@pytest.fixture(params=["", SET], ids=["no address", "an address set"])
def book(tmp_path, request) -> Path:
    """In step already but for the notebooks: nothing depends on whether the checkout under test has an address."""
    root = make_tiny_book(tmp_path / "book", request.param)
    for path, text in repeated(root, Project.read(root)).items():
        path.write_text(text)
    return root


def cells(root: Path, name: str) -> list[dict]:
    return json.loads((root / "notebooks" / f"{name}.ipynb").read_text())["cells"]


def test_sync_makes_twins_and_then_has_nothing_to_do(book):
    made = notebook_pairs.sync(book)
    assert {path.name for path in made} == {"01_one.py", "01_one.ipynb", "02_two.py", "02_two.ipynb"}
    assert notebook_pairs.sync(book) == []
    assert notebook_pairs.sync(book, check=True) == []


def test_check_sees_a_changed_twin_and_leaves_it_alone(book):
    notebook_pairs.sync(book)
    twin = book / "notebooks" / "01_one.ipynb"
    changed = twin.read_text().replace("the seed is", "the seed was")
    twin.write_text(changed)
    assert notebook_pairs.sync(book, check=True) == [twin]
    assert twin.read_text() == changed


def test_ids_are_distinct_and_follow_the_text_not_the_place(book):
    write_chapter(book, "01_one", extra="\n# %%\n1 + 1\n\n# %%\n1 + 1")
    notebook_pairs.sync(book)
    before = cells(book, "01_one")
    assert len({cell["id"] for cell in before}) == len(before)
    source = book / "notebooks" / "01_one.py"
    source.write_text(source.read_text().replace("# # Chapter 1", "# # Another title"))
    notebook_pairs.sync(book)
    after = cells(book, "01_one")
    assert [c["id"] for c in before[1:]] == [c["id"] for c in after[1:]]
    assert before[0]["id"] != after[0]["id"]


def test_twins_have_no_outputs_and_a_plain_kernel(book):
    notebook_pairs.sync(book)
    notebook = json.loads((book / "notebooks" / "01_one.ipynb").read_text())
    assert notebook["metadata"] == {"kernelspec": notebook_pairs.KERNEL}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * 3


def test_the_authors_layout_and_letters_stay(book):
    notebook_pairs.sync(book)
    source = book / "notebooks" / "01_one.py"
    figure = """

# %% mystnb={"image": {"alt": "D₁₆"}}   tags=["hide-input"]
3
"""
    written = source.read_text() + figure
    source.write_text(written)
    notebook_pairs.sync(book)
    assert source.read_text() == written
    source.write_text(written.replace("pip", "pipp"))  # now the Python file has to be written anew
    notebook_pairs.sync(book)
    assert "D₁₆" in source.read_text() and "pipp" not in source.read_text()
    assert notebook_pairs.sync(book) == []


def test_the_bootstrap_cell_is_generated_before_the_parameters_and_repaired(book):
    notebook_pairs.sync(book)
    tags = [cell["metadata"].get("tags", []) for cell in cells(book, "01_one")]
    assert tags.index(["bootstrap", "remove-cell"]) == tags.index(["parameters"]) - 1
    source = book / "notebooks" / "01_one.py"
    good = source.read_text()
    source.write_text(good.replace("pip", "pipp"))
    notebook_pairs.sync(book)
    assert source.read_text() == good


def test_the_bootstrap_cell_does_nothing_outside_colab(book, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("the cell tried to install something"))
    before, scope = dict(os.environ), {}
    exec(notebook_pairs.BOOTSTRAP, scope)
    assert scope.keys() == {"__builtins__", "sys", "keep_on_drive", "source"} and dict(os.environ) == before


def test_a_copy_that_names_no_commit_stops_on_colab_and_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    monkeypatch.delenv("GROUPCC_SOURCE", raising=False)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("the cell tried to install something"))
    with pytest.raises(RuntimeError, match="does not say what to install. Open the chapter with the rocket button"):
        exec(notebook_pairs.BOOTSTRAP, {})


@pytest.mark.parametrize("origin, address", [
    ("git@github.com:who/book.git", "https://github.com/who/book"), ("/srv/git/book", ""), (None, "")])
def test_sync_takes_the_address_from_the_origin_if_it_is_on_github(book, origin, address):
    git(book, "init", "-q")
    if origin:
        git(book, "remote", "add", "origin", origin)
    before = Project.read(book).repository
    stale = notebook_pairs.sync(book)
    assert Project.read(book).repository == (address or before)
    assert (book / "pyproject.toml" in stale) == bool(address)
    assert notebook_pairs.sync(book) == []


def test_syncing_the_pairs_writes_nothing_else(book):
    git(book, "init", "-q")
    git(book, "remote", "add", "origin", "git@github.com:who/book.git")
    before = (book / "pyproject.toml").read_bytes()
    assert {path.parent.name for path in notebook_pairs.sync_pairs(book)} == {"notebooks"}
    assert notebook_pairs.sync_pairs(book, check=True) == []
    assert (book / "pyproject.toml").read_bytes() == before


def test_check_does_not_ask_for_the_origin_so_that_forks_pass(book):
    notebook_pairs.sync(book)
    git(book, "init", "-q")
    git(book, "remote", "add", "origin", "git@github.com:fork/book.git")
    assert notebook_pairs.sync(book, check=True) == []


def commit_all(book: Path) -> str:
    git(book, "init", "-q")
    git(book, "add", "-A")
    git(book, "commit", "-qm", "first")
    return git(book, "rev-parse", "HEAD")


@pytest.mark.parametrize("origin", ["https://github.com/who/book", None])
def test_pinned_notebooks_install_the_commit_that_they_come_from(book, origin):
    address = origin or Project.read(book).repository
    commit = commit_all(book)
    if origin:
        git(book, "remote", "add", "origin", origin)
    if not address:
        with pytest.raises(ValueError, match="nobody has said which repository"):
            notebook_pairs.pin(book)
        return
    for _ in range(2):
        assert [path.name for path in notebook_pairs.pin(book)] == ["01_one.ipynb", "02_two.ipynb"]
        for name in ("01_one", "02_two"):
            (cell,) = [c for c in cells(book, name) if "bootstrap" in c["metadata"].get("tags", [])]
            line = f'source = "groupcc-lite[all] @ git+{address}@{commit}"  # what pip installs'
            assert line in "".join(cell["source"])
    assert git(book, "status", "--porcelain", "--", "pyproject.toml") == ""


def test_a_line_like_that_of_the_first_cell_cannot_be_pinned(book):
    write_chapter(book, "02_two", extra='\n# %%\nsource = ""')
    commit_all(book)
    git(book, "remote", "add", "origin", "https://github.com/who/book")
    with pytest.raises(ValueError, match="02_two.ipynb has 2 lines 'source = \"\"'; expected the one"):
        notebook_pairs.pin(book)


def test_a_notebook_without_parameters_cell_is_an_error(book):
    source = book / "notebooks" / "01_one.py"
    source.write_text(source.read_text().replace(' tags=["parameters"]', ""))
    with pytest.raises(ValueError, match='01_one.py has no cell tagged "parameters"'):
        notebook_pairs.sync(book)


def test_two_parameters_cells_are_an_error(book):
    write_chapter(book, "01_one", extra='\n# %% tags=["parameters"]\nseed = 1')
    with pytest.raises(ValueError, match="all tagged 'parameters'"):
        notebook_pairs.sync(book)


def test_an_ipynb_without_source_is_an_error(book):
    notebook_pairs.sync(book)
    (book / "notebooks" / "02_two.py").unlink()
    with pytest.raises(ValueError, match="02_two.ipynb has no Python file"):
        notebook_pairs.sync(book)


@pytest.mark.parametrize("names, expected", [
    (["all"], ["01_one", "02_two"]), ([], ["01_one", "02_two"]), (["2"], ["02_two"]), (["02"], ["02_two"]),
    (["02_two", "01"], ["02_two", "01_one"]), (["notebooks/01_one.py"], ["01_one"])])
def test_select(book, names, expected):
    assert [path.stem for path in notebook_pairs.select(book, names)] == expected


def test_select_names_what_there_is(book):
    with pytest.raises(ValueError, match="no notebook '07'; there are 01_one, 02_two"):
        notebook_pairs.select(book, ["07"])


def test_find_root(book, tmp_path):
    assert notebook_pairs.find_root(book / "notebooks") == book
    with pytest.raises(FileNotFoundError, match="not inside the book's sources"):
        notebook_pairs.find_root(tmp_path)
