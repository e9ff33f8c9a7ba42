"""Version and address are said once, what repeats them follows, and no address comes from anywhere but GitHub."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_book import ROOT, git

from bookmaker.project_facts import (
    GITHUB,
    REPEATED,
    Project,
    github_address,
    origin_address,
    pinned_requirement,
    repeated,
)

ADDRESS = "https://github.com/some-one/my.book"
NAMED = re.compile(r"(?:github\.com[/:]|githubusercontent\.com/|google\.com/github/|//(?=[\w-]+\.github\.io/))"
                   r"([\w-]+)(?:\.github\.io)?/([\w.-]+)", re.ASCII)
ELSEWHERE = {"OWNER/NAME", "greentfrapp/lucent", "EliSchwartz/imagenet-sample-images"}
"""Repositories that a file may name although nothing of ours comes from there: the placeholder, what we cite."""


@pytest.fixture
def fork(tmp_path) -> Path:
    """A copy of the files that say and repeat, with another version."""
    for name in REPEATED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    say(tmp_path, "", "9.8.7")
    return tmp_path


def say(root: Path, address: str, version: str) -> None:
    path = root / "pyproject.toml"
    text = re.sub(r'(?m)^repository = ".*"$', f'repository = "{address}"', path.read_text())
    path.write_text(re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', text))


def write(texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        path.write_text(text)


def test_what_repeats_the_address_follows_it(fork):
    texts = repeated(fork, replace(Project.read(fork), repository=ADDRESS))
    assert {path.relative_to(fork).as_posix() for path in texts} == set(REPEATED)
    assert all(ADDRESS in text for text in texts.values())
    assert texts[fork / "CITATION.cff"].count("9.8.7") == texts[fork / "book" / "citing.md"].count("9.8.7") == 1
    assert f"git clone {ADDRESS}\ncd my.book\nmake book" in texts[fork / "book" / "running.md"]
    write(texts)
    assert Project.read(fork).repository == ADDRESS and repeated(fork, Project.read(fork)) == texts


def test_without_an_address_no_file_says_one(fork):
    before = repeated(fork, Project.read(fork))
    assert not any(addresses(text) for text in before.values())
    write(repeated(fork, replace(Project.read(fork), repository=ADDRESS)))
    assert repeated(fork, replace(Project.read(fork), repository="")) == before


def test_nothing_else_changes(fork):
    say(fork, Project.read(ROOT).repository, Project.read(ROOT).version)
    assert repeated(fork, Project.read(fork)) == {fork / name: (ROOT / name).read_text() for name in REPEATED}


def addresses(text: str) -> set[str]:
    """Every repository on github.com that a text names, in whatever way, as OWNER/NAME."""
    return {f"{owner}/{name.removesuffix('.git').rstrip('.')}" for owner, name in NAMED.findall(text)}


def test_every_address_in_the_repository_is_the_one_that_pyproject_says():
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if files.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in files.stdout.split("\0") if name and not name.startswith("tests/")]
    said = {name: addresses((ROOT / name).read_bytes().decode(errors="replace"))
            for name in names if (ROOT / name).is_file()}
    allowed = ELSEWHERE | addresses(Project.read(ROOT).repository)
    assert len(said) > 100 and {name: found - allowed for name, found in said.items() if found - allowed} == {}
    assert ELSEWHERE <= set().union(*said.values()), "the allow-list names more than there is"


@pytest.mark.parametrize("text, found", [
    (f"pip install git+{ADDRESS}@v1", {"some-one/my.book"}), (f"see {ADDRESS}.git, or", {"some-one/my.book"}),
    (f"Read {ADDRESS}.", {"some-one/my.book"}), ("git@github.com:who/book.git", {"who/book"}),
    ("https://colab.research.google.com/github/who/book/blob/main", {"who/book"}),
    ("https://raw.githubusercontent.com/who/book/main/x.py", {"who/book"}),
    ("https://who.github.io/book/", {"who/book"}), ("on GitHub", set()), ("a github.com account", set())])
def test_an_address_is_seen_however_it_is_written(text, found):
    assert addresses(text) == found


@pytest.mark.parametrize("change", [lambda text: text.replace("make book  ", "make  "), lambda text: text + text])
def test_a_place_that_is_missing_or_there_twice_is_an_error(fork, change):
    page = fork / "book" / "running.md"
    page.write_text(change(page.read_text()))
    with pytest.raises(ValueError, match="book/running.md has [02] places for 'make book"):
        repeated(fork, Project.read(fork))


def test_the_site_and_the_folder_come_from_the_address(fork):
    say(fork, "https://github.com/who/book.git/", "1")
    project = Project.read(fork)
    assert (project.repository, project.folder) == ("https://github.com/who/book", "book")
    assert project.site == "https://who.github.io/book/"
    assert replace(project, repository="").site == ""


@pytest.mark.parametrize("address", ["https://example.org/who/book", "https://github.com/who",
                                     "https://github.com/who/book/tree", "http://github.com/who/book"])
def test_an_address_that_is_not_a_repository_on_github_is_an_error(fork, address):
    say(fork, address, "1")
    with pytest.raises(ValueError, match="expected https://github.com/OWNER/NAME, or nothing"):
        Project.read(fork)


ORIGINS = {"https://github.com/who/book": "https://github.com/who/book",
           "https://github.com/who/book.git": "https://github.com/who/book",
           "https://x-access-token:secret@github.com/who/book.git": "https://github.com/who/book",
           "git@github.com:who/my.book.git": "https://github.com/who/my.book",
           "ssh://git@github.com/who/book.git": "https://github.com/who/book",
           "/srv/git/book": "", "file:///srv/book": "", "https://gitlab.com/who/book.git": "",
           "https://github.com.example.org/who/book": "", "https://example.org/github.com/who/book": "",
           "https://example.org@github.com.evil.org/who/book": "", "git@example.org:who/book.git": "",
           "https://github.com/who/book/../../evil": "", "https://github.com/who/bo ok": "",
           'https://github.com/who/book"\nx = "': "", "": ""}


@pytest.mark.parametrize("origin, address", ORIGINS.items())
def test_only_github_counts_as_an_address(origin, address):
    assert github_address(origin) == address
    assert "secret" not in github_address(origin)


@pytest.mark.parametrize("origin", [None, "/srv/git/book", "git@github.com:who/book.git"])
def test_the_address_of_a_checkout_is_that_of_its_origin(tmp_path, origin):
    git(tmp_path, "init", "-q")
    if origin:
        git(tmp_path, "remote", "add", "origin", origin)
    assert origin_address(tmp_path) == github_address(origin or "")
    (tmp_path / "inner").mkdir()
    assert origin_address(tmp_path / "inner") == ""  # another project's repository is not ours


def test_outside_a_repository_there_is_no_address(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert origin_address(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert origin_address(tmp_path) == ""


def test_what_is_installed_is_a_commit_and_the_library_of_that_commit(fork):
    with pytest.raises(ValueError, match=r"nobody has said which repository.*\[tool.bookmaker\]"):
        pinned_requirement(fork)
    say(fork, ADDRESS, "1")
    git(fork, "init", "-q")
    with pytest.raises(ValueError, match="has no commit"):
        pinned_requirement(fork)
    git(fork, "add", "-A")
    git(fork, "commit", "-qm", "first")
    assert pinned_requirement(fork) == f"groupcc-lite[all] @ git+{ADDRESS}@{git(fork, 'rev-parse', 'HEAD')}"
    git(fork, "remote", "add", "origin", "git@github.com:who/book.git")
    assert "git+https://github.com/who/book@" in pinned_requirement(fork)


@pytest.mark.parametrize("name", ["groupcc_lite/new.py", "pyproject.toml"])
def test_what_differs_from_the_commit_cannot_be_pinned(fork, name):
    say(fork, ADDRESS, "1")
    git(fork, "init", "-q")
    git(fork, "add", "-A")
    git(fork, "commit", "-qm", "first")
    (fork / "groupcc_lite").mkdir()
    with (fork / name).open("a") as file:
        file.write("# changed\n")
    with pytest.raises(ValueError, match="HEAD is not the library that lies here, commit these first"):
        pinned_requirement(fork)


def test_the_pattern_takes_nothing_that_would_end_a_string():
    assert not re.search(r"[\"'{}\\\s]", "".join(filter(GITHUB.fullmatch, ORIGINS)))
