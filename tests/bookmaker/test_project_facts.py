"""Version and address are said once, and what repeats them follows."""

import re
import shutil
from pathlib import Path

import pytest

from bookmaker.project_facts import REPEATED, Project, repeated

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fork(tmp_path) -> Path:
    """A copy of the files that say and repeat, with another address and version."""
    for name in ("pyproject.toml", *REPEATED):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    say(tmp_path, "https://github.com/some-one/my.book", "9.8.7")
    return tmp_path


def say(root: Path, address: str, version: str) -> None:
    path = root / "pyproject.toml"
    text = re.sub(r'(?m)^Repository = ".*"$', f'Repository = "{address}"', path.read_text())
    path.write_text(re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', text))


def test_what_repeats_the_address_follows_it(fork):
    before, texts = Project.read(ROOT), repeated(fork)
    assert {path.relative_to(fork).as_posix() for path in texts} == set(REPEATED)
    for path, text in texts.items():
        assert "https://github.com/some-one/my.book" in text and before.repository not in text
        assert text != path.read_text()
    assert texts[fork / "CITATION.cff"].count("9.8.7") == texts[fork / "book" / "citing.md"].count("9.8.7") == 1
    assert "git clone https://github.com/some-one/my.book\ncd my.book\n" in texts[fork / "book" / "running.md"]


def test_nothing_else_changes(fork):
    mine = Project.read(ROOT)
    say(fork, mine.repository, mine.version)
    assert repeated(fork) == {fork / name: (ROOT / name).read_text() for name in REPEATED}


@pytest.mark.parametrize("change", [lambda text: text.replace("git clone ", "clone "), lambda text: text + text])
def test_a_place_that_is_missing_or_there_twice_is_an_error(fork, change):
    page = fork / "book" / "running.md"
    page.write_text(change(page.read_text()))
    with pytest.raises(ValueError, match="book/running.md has [02] places for 'https://github.com/some-one/my.book"):
        repeated(fork)


def test_the_site_and_the_folder_come_from_the_address(fork):
    say(fork, "https://github.com/who/book.git/", "1")
    project = Project.read(fork)
    assert (project.repository, project.folder) == ("https://github.com/who/book", "book")
    assert project.site == "https://who.github.io/book/"


@pytest.mark.parametrize("address", ["https://example.org/who/book", "https://github.com/who",
                                     "https://github.com/who/book/tree"])
def test_an_address_that_is_not_a_repository_on_github_is_an_error(fork, address):
    say(fork, address, "1")
    with pytest.raises(ValueError, match="expected https://github.com/OWNER/NAME"):
        Project.read(fork)
