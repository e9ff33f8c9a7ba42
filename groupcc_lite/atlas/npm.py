"""Scripts that a page loads besides our own files: packages of npm, fetched once, checked, and put beside the page.

A page that loads its scripts from a server far away is blank on a train. So npm is asked for exactly the versions that
somebody pinned, each archive is compared with its sha512, and the few files that pages need are copied into
`_static/vendor`. Nothing third-party is in the repository. Where npm or the network is missing, one line per package
says so, and the pages name the server (CDN) instead.
"""

from __future__ import annotations

import base64
import fnmatch
import functools
import hashlib
import logging
import os
import posixpath
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from groupcc_lite.base import atomic_path, atomic_write

log = logging.getLogger(__name__)

CDN = "https://cdn.jsdelivr.net/npm/"
"""Where pages find packages that are not beside them."""
VENDOR_FOLDER = "_static/vendor"
"""Where the files lie, from the root of the pages."""
NPM_SECONDS = 120.0


class NpmError(OSError):
    """A package could not be had; the message says why, and a command line shows it in one line."""


class NpmPackage(NamedTuple):
    """One package of npm at one version.

    >>> NpmPackage("d3", "7.9.0", "sha512-...", "dist/d3.min.js", ("LICENSE",), "the feature atlas").address
    'https://cdn.jsdelivr.net/npm/d3@7.9.0/dist/d3.min.js'
    """

    name: str
    version: str
    integrity: str
    """As the registry states it: "sha512-" and the base64 of the hash of the archive."""
    entry: str
    """The script that a page loads."""
    files: tuple[str, ...]
    """Patterns of everything that this script may load in turn, and the licence."""
    use: str
    """What readers miss without it."""

    @property
    def address(self) -> str:
        """Where the entry lies in the network."""
        return f"{CDN}{self.name}@{self.version}/{self.entry}"


def npm_folder(root: Path) -> Path:
    """Where the archives are kept: GROUPCC_PACKAGES, or `_build/packages` below `root`."""
    return Path(os.environ.get("GROUPCC_PACKAGES") or root / "_build" / "packages")


def fetch_archive(package: NpmPackage, folder: Path) -> Path:
    """The package's archive in `folder`, fetched if it is not there, with the pinned sha512; NpmError otherwise."""
    path = folder / f"{package.name.removeprefix('@').replace('/', '-')}-{package.version}.tgz"
    if path.is_file() and integrity(path) == package.integrity:
        return path
    fetched = _npm_pack(package)
    with atomic_path(path) as temporary:
        temporary.write_bytes(fetched)
        if (found := integrity(temporary)) != package.integrity:
            raise NpmError(f"npm returned an archive with {found}, expected {package.integrity}")
    return path


def integrity(path: Path) -> str:
    """A file's sha512 as npm writes it."""
    with path.open("rb") as stream:
        return "sha512-" + base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()


def _npm_pack(package: NpmPackage) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise NpmError("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        # Every retry of npm's own waits ten seconds or more; whoever has no network should not wait for minutes.
        command = [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", folder, "--silent",
                   "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=NPM_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise NpmError(f"npm did not answer within {NPM_SECONDS:.0f} s") from error
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            raise NpmError(f"npm could not fetch it (exit status {done.returncode})")
        return archives[0].read_bytes()


@functools.cache
def _available(package: NpmPackage, folder: Path) -> bool:
    """Whether the archive is there now. Asked once per process: without a network every question takes seconds."""
    try:
        fetch_archive(package, folder)
    except OSError as error:
        log.warning("%s %s is not there, because %s: %s will need the network (%s)",
                    package.name, package.version, error, package.use, package.address)
        return False
    return True


def script_links(packages: Mapping[str, NpmPackage], root: Path) -> dict[str, str]:
    """For each package the address that pages load: from the root of the pages, or in the network if npm fails.

    Packages that `npm_folder(root)` lacks are fetched; one line of the log tells of each that could not be.

    >>> script_links({}, Path())
    {}
    """
    folder = npm_folder(root)
    return {name: f"{VENDOR_FOLDER}/{name}/{package.entry}" if _available(package, folder) else package.address
            for name, package in packages.items()}


def is_local_link(link: str) -> bool:
    """Whether a link of `script_links` leads to a file beside the pages.

    >>> is_local_link("_static/vendor/d3/dist/d3.min.js"), is_local_link("https://example.org/d3.min.js")
    (True, False)
    """
    return "://" not in link


def link_from(page: str, link: str) -> str:
    """A link of `script_links` as page `page` writes it, such as "book/atlas" or "index.html".

    >>> link_from("book/atlas", "_static/vendor/d3/dist/d3.min.js")
    '../_static/vendor/d3/dist/d3.min.js'
    """
    return posixpath.relpath(link, posixpath.dirname(page) or ".") if is_local_link(link) else link


def copy_scripts(packages: Mapping[str, NpmPackage], root: Path, pages: Path) -> None:
    """Put the files of all packages that can be had into the folder `pages`, each whole or not at all.

    NpmError for an archive that was damaged since `script_links` looked at it, and cannot be fetched again.

    >>> copy_scripts({}, Path(), Path("pages"))
    """
    for name, package in packages.items():
        if _available(package, npm_folder(root)):
            for path, content in package_files(package, npm_folder(root)):
                atomic_write(pages / VENDOR_FOLDER / name / path, content)


def package_files(package: NpmPackage, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of everything that pages need of a package. NpmError for an archive that cannot be had."""
    with tarfile.open(fetch_archive(package, folder)) as content:
        for member in content.getmembers():
            # Everything in an archive of npm lies in one folder, mostly called "package".
            path = member.name.partition("/")[2]
            if member.isfile() and any(fnmatch.fnmatch(path, wanted) for wanted in (package.entry, *package.files)):
                if ".." in Path(path).parts:
                    raise NpmError(f"{package.name} {package.version} has a file outside itself: {member.name}")
                yield path, content.extractfile(member).read()
