"""Version and address of the project: said once in pyproject.toml, repeated by `sync` where others look for them.

Whoever owns an address decides what runs on the machines of those who install from it. So nobody guesses it: it is
that of the checkout's `origin`, if that is a repository on github.com, or else what the setting
`[tool.bookmaker] repository` says. Building pages and pinning notebooks ask for it and write it into no source; only
`sync` does. Where neither says one, no page has a button that would need one.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

GITHUB = re.compile(r"(?:https://(?:[^@/]*@)?github\.com/|ssh://git@github\.com/|git@github\.com:)"
                    r"([\w.-]+)/([\w.-]+?)(?:\.git)?/?", re.ASCII)
"""How git writes a repository on github.com; a password or token in front of it is left out."""

HOW_TO_SET = ("clone the book from its repository on GitHub, or write https://github.com/OWNER/NAME behind "
              "`repository` in the section [tool.bookmaker] of pyproject.toml")

BRANCH = "published"
"""The branch whose notebooks name the commit to install; the pages' buttons open those."""


@dataclass(frozen=True)
class Project:
    """What pyproject.toml says about the project."""

    version: str
    description: str
    repository: str
    """Its address, such as https://github.com/OWNER/NAME; empty while nobody has said it."""

    @classmethod
    def read(cls, root: Path) -> Project:
        """From `root`/pyproject.toml. ValueError for an address that is not a repository on GitHub."""
        said = tomllib.loads((root / "pyproject.toml").read_text())
        written = said.get("tool", {}).get("bookmaker", {}).get("repository", "")
        repository = github_address(written)
        if written and not repository:
            raise ValueError(f"the repository in pyproject.toml is {written!r}; expected "
                             "https://github.com/OWNER/NAME, or nothing")
        return cls(said["project"]["version"], said["project"]["description"], repository)

    def at_origin(self, root: Path) -> Project:
        """The same with the address of the checkout's origin, where that is on github.com."""
        return replace(self, repository=origin_address(root) or self.repository)

    @property
    def folder(self) -> str:
        """The folder that cloning the repository makes."""
        return self.repository.rpartition("/")[2]

    @property
    def site(self) -> str:
        """Where the pages stand in the network, ending in a slash: the GitHub pages of the repository. Or nothing."""
        if not self.repository:
            return ""
        owner, name = urlsplit(self.repository).path.strip("/").split("/")
        return f"https://{owner}.github.io/{name}/"


def github_address(url: str) -> str:
    """https://github.com/OWNER/NAME for any way of writing a repository on github.com; "" for everything else."""
    found = GITHUB.fullmatch(url)
    return f"https://github.com/{found[1]}/{found[2]}" if found else ""


def origin_address(root: Path) -> str:
    """The address on github.com that the checkout `root` was cloned from; "" if there is none."""
    if Path(_git(root, "rev-parse", "--show-toplevel")) != root.resolve():  # none, or a folder of another one
        return ""
    return github_address(_git(root, "config", "--get", "remote.origin.url"))


def pinned_requirement(root: Path) -> str:
    """What pip installs for a notebook of this very commit: the address, and HEAD's hash.

    A tag can be moved to other code, a hash cannot. ValueError while the address is unknown, outside a repository, and
    if the library or what it requires differs from HEAD.
    """
    project = Project.read(root).at_origin(root)
    if not project.repository:
        raise ValueError(f"nobody has said which repository the notebooks install from: {HOW_TO_SET}")
    commit = _git(root, "rev-parse", "HEAD")
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise ValueError(f"{root} has no commit that could be installed")
    if changed := _git(root, "status", "--porcelain", "--", "groupcc_lite", "pyproject.toml"):
        raise ValueError(f"HEAD is not the library that lies here, commit these first: {changed}")
    return f"groupcc-lite[all] @ git+{project.repository}@{commit}"


def _git(root: Path, *arguments: str) -> str:
    """What git says, "" if it fails or is not there."""
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False,
                              timeout=60).stdout.strip()
    except FileNotFoundError:
        return ""


def _setting(project: Project) -> str:
    urls = f'[project.urls]\nRepository = "{project.repository}"\n\n' if project.repository else ""
    return f'{urls}[tool.bookmaker]\nrepository = "{project.repository}"'


def _clone(project: Project) -> str:
    clone = f"git clone {project.repository}\ncd {project.folder}\n" if project.repository else ""
    return f"{clone}make book      # installs"


def _bibtex(project: Project) -> str:
    address = f",\n  url     = {{{project.repository}}}" if project.repository else ""
    return f"  version = {{{project.version}}}{address}\n"


def _citation(project: Project) -> str:
    return f'repository-code: "{project.repository}"\nreferences:' if project.repository else "references:"


REPEATED: dict[str, tuple[tuple[str, Callable[[Project], str]], ...]] = {
    "pyproject.toml": ((r'^(?:\[project\.urls\]\nRepository = ".*"\n\n)?\[tool\.bookmaker\]\nrepository = ".*"$',
                        _setting),),
    "CITATION.cff": ((r'^(?:repository-code: ".*"\n)?references:$', _citation),
                     (r"^version: \S+$", lambda project: f"version: {project.version}")),
    "book/citing.md": ((r"^  version = \{[^}]*\}(?:,\n  url     = \{[^}]*\})?\n", _bibtex),),
    "book/running.md": ((r"^(?:git clone .*\ncd .*\n)?make book      # installs", _clone),),
}
"""What stands where, and what it should be: a pattern that occurs once in the file, and its text."""


def repeated(root: Path, project: Project) -> dict[Path, str]:
    """The text that each file should have which repeats version or address, as far as these files exist. Writes none.

    ValueError if the place in a file is not found, or found twice.
    """
    texts = {}
    for name, places in REPEATED.items():
        path = root / name
        if not path.is_file():
            continue
        texts[path] = path.read_text()
        for pattern, written in places:
            text = written(project)
            texts[path], found = re.subn(pattern, text, texts[path], flags=re.MULTILINE)
            if found != 1:
                raise ValueError(f"{name} has {found} places for {text!r}, expected one (pattern {pattern}); restore "
                                 "it, or change bookmaker/project_facts.py")
    return texts
