"""Version and address of the project. pyproject.toml says them, `sync` repeats them where others look.

GitHub reads the citation file, Sphinx its configuration, people the pages, and Colab a notebook's first cell. Whoever
forks the book changes the address in one place.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

REPEATED: dict[str, tuple[tuple[str, str], ...]] = {
    "_config.yml": ((r"(?<=^  url: )\S+$", "{0.repository}"),),
    "CITATION.cff": ((r'(?<=^repository-code: ")[^"]*', "{0.repository}"), (r"(?<=^version: )\S+$", "{0.version}")),
    "book/citing.md": ((r"(?<=^  url     = \{)[^}]*", "{0.repository}"),
                       (r"(?<=^  version = \{)[^}]*", "{0.version}")),
    "book/running.md": ((r"(?<=^git clone )\S+\ncd \S+$", "{0.repository}\ncd {0.folder}"),),
}
"""What stands where, and what it should be: a pattern that occurs once in the file, and its text."""


@dataclass(frozen=True)
class Project:
    """What pyproject.toml says about the project."""

    version: str
    description: str
    repository: str
    """Its address, such as https://github.com/OWNER/NAME."""

    @classmethod
    def read(cls, root: Path) -> Project:
        """From `root`/pyproject.toml. ValueError for an address that is not a repository on GitHub."""
        said = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        repository = said["urls"]["Repository"].rstrip("/").removesuffix(".git")
        if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", repository):
            raise ValueError(f"the repository in pyproject.toml is {repository!r}; expected "
                             "https://github.com/OWNER/NAME")
        return cls(said["version"], said["description"], repository)

    @property
    def folder(self) -> str:
        """The folder that cloning the repository makes."""
        return self.repository.rpartition("/")[2]

    @property
    def site(self) -> str:
        """Where the pages stand in the network, ending in a slash: the GitHub pages of the repository."""
        owner, name = urlsplit(self.repository).path.strip("/").split("/")
        return f"https://{owner}.github.io/{name}/"


def repeated(root: Path) -> dict[Path, str]:
    """The text that each file should have which repeats version or address, as far as these files exist.

    ValueError if the place in a file is not found, or found twice.
    """
    project, texts = Project.read(root), {}
    for name, places in REPEATED.items():
        path = root / name
        if not path.is_file():
            continue
        texts[path] = path.read_text()
        for pattern, text in places:
            texts[path], found = re.subn(pattern, text.format(project), texts[path], flags=re.MULTILINE)
            if found != 1:
                raise ValueError(f"{name} has {found} places for {text.format(project)!r}, expected one (pattern "
                                 f"{pattern}); restore it, or change groupcc_lite/project.py")
    return texts
