"""What the pages load besides our own files: packages of npm, fetched at build time, checked, and put beside the pages.

A page that loads its mathematics and its widgets from a server far away is blank on a train. So the build asks npm for
exactly the versions named here, compares each archive with its sha512, and copies the few files that pages need into
`_static/vendor`. Nothing third-party is in the repository. Where npm or the network is missing, the build goes on, says
so in one line per package, and the pages name the server (CDN) instead.
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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from groupcc_lite.base import atomic_path, atomic_write

log = logging.getLogger(__name__)

CDN = "https://cdn.jsdelivr.net/npm/"
FOLDER = "_static/vendor"
"""Where the files lie, from the root of the pages."""
NPM_SECONDS = 120.0


class AssetError(RuntimeError):
    """A package could not be had; the message says why."""


class Package(NamedTuple):
    """One package of npm at one version."""

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


PACKAGES = {
    "mathjax": Package(
        "mathjax", "3.2.2",
        "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        "es5/tex-chtml.js", ("LICENSE", "es5/output/chtml/fonts/woff-v2/*.woff", "es5/input/tex/extensions/*.js",
                             "es5/a11y/*.js", "es5/sre/mathmaps/base.json", "es5/sre/mathmaps/en.json",
                             "es5/sre/mathmaps/nemeth.json"), "mathematics"),
    "requirejs": Package(
        "requirejs", "2.3.8",
        "sha512-7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        "require.js", (), "widgets"),
    "html-manager": Package(
        "@jupyter-widgets/html-manager", "1.0.14",
        "sha512-wglgQQ+VMj+MBKkTttdeoMtOah/H2A1w5GU1OAVXmDQqZYTK6C+oHZjQMxcNezIpiqUjC1YHKOo5XdP3ENvBng==",
        "dist/embed-amd.js", ("LICENSE", "dist/*.woff2"), "widgets"),
    "d3": Package(
        "d3", "7.9.0",
        "sha512-e1U46jVP+w7Iut8Jt8ri1YsPOvFpg46k+K8TpCb0P+zjCkjkPnV7WzfDJzMHy1LnA+wj5pLT1wjO901gLXeEhA==",
        "dist/d3.min.js", ("LICENSE",), "the feature atlas"),
    "axe-core": Package(
        "axe-core", "4.14.1",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        "axe.min.js", ("LICENSE*",), "the check for accessibility"),
}
ON_PAGES = ("mathjax", "requirejs", "html-manager", "d3")
"""What every build puts beside the pages; the other packages serve the tests."""


def packages_folder(root: Path) -> Path:
    """Where the archives are kept: GROUPCC_PACKAGES, or `_build/packages` of the book."""
    return Path(os.environ.get("GROUPCC_PACKAGES") or root / "_build" / "packages")


def archive(package: Package, folder: Path) -> Path:
    """The package's archive in `folder`, fetched if it is not there, with the pinned sha512; AssetError otherwise."""
    path = folder / f"{package.name.removeprefix('@').replace('/', '-')}-{package.version}.tgz"
    if path.is_file() and integrity(path) == package.integrity:
        return path
    fetched = _npm_pack(package)
    with atomic_path(path) as temporary:
        temporary.write_bytes(fetched)
        if (found := integrity(temporary)) != package.integrity:
            raise AssetError(f"npm returned an archive with {found}, expected {package.integrity}")
    return path


def integrity(path: Path) -> str:
    """A file's sha512 as npm writes it."""
    with path.open("rb") as stream:
        return "sha512-" + base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()


def _npm_pack(package: Package) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        # Every retry of npm's own waits ten seconds or more; whoever has no network should not wait for minutes.
        command = [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", folder, "--silent",
                   "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=NPM_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssetError(f"npm did not answer within {NPM_SECONDS:.0f} s") from error
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            raise AssetError(f"npm could not fetch it (exit status {done.returncode})")
        return archives[0].read_bytes()


@functools.cache
def _available(package: Package, folder: Path) -> bool:
    """Whether the archive is there now. Asked once per process: without a network every question takes seconds."""
    try:
        archive(package, folder)
    except (AssetError, OSError) as error:
        log.warning("%s %s is not there, because %s: %s will need the network (%s)",
                    package.name, package.version, error, package.use, package.address)
        return False
    return True


def links(root: Path, names: Iterable[str] = ON_PAGES) -> dict[str, str]:
    """For each package the address that pages load, from the root of the pages, or in the network if npm fails.

    Packages that are missing are fetched; one line of the log tells of each that could not be. ValueError for a name
    that `PACKAGES` lacks.
    """
    found = {}
    for name in names:
        if name not in PACKAGES:
            raise ValueError(f"there is no package {name!r}; expected one of {', '.join(PACKAGES)}")
        package = PACKAGES[name]
        here = _available(package, packages_folder(root))
        found[name] = f"{FOLDER}/{name}/{package.entry}" if here else package.address
    return found


def is_local(link: str) -> bool:
    """Whether a link of `links` leads to a file beside the pages."""
    return "://" not in link


def href(link: str, page: str) -> str:
    """A link of `links` as page `page` writes it, such as "book/atlas" or "index.html"."""
    return posixpath.relpath(link, posixpath.dirname(page) or ".") if is_local(link) else link


def copy(links: Mapping[str, str], root: Path, pages: Path) -> None:
    """Put the files of all local `links` into the folder `pages`, each whole or not at all.

    AssetError for an archive that is no longer there or was damaged since `links` looked at it, and cannot be fetched.
    """
    for name in filter(lambda name: is_local(links[name]), links):
        for path, content in files(PACKAGES[name], packages_folder(root)):
            atomic_write(pages / FOLDER / name / path, content)


def files(package: Package, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of everything that pages need of a package. AssetError for an archive that cannot be had."""
    with tarfile.open(archive(package, folder)) as content:
        for member in content.getmembers():
            # Everything in an archive of npm lies in one folder, mostly called "package".
            path = member.name.partition("/")[2]
            if member.isfile() and any(fnmatch.fnmatch(path, wanted) for wanted in (package.entry, *package.files)):
                if ".." in Path(path).parts:
                    raise AssetError(f"{package.name} {package.version} has a file outside itself: {member.name}")
                yield path, content.extractfile(member).read()
