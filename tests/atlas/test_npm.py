"""Packages of npm: fetched once, compared with what was pinned, copied whole; and what happens without npm."""

import base64
import hashlib
import io
import logging
import shutil
import stat
import tarfile
from pathlib import Path

import pytest

from bookmaker.html_repairs import AXE, ON_PAGES
from groupcc_lite.atlas import D3
from groupcc_lite.atlas import npm as npm_client
from groupcc_lite.atlas.npm import CDN, NpmError, NpmPackage
from groupcc_lite.base import Verbs

CONTENT = {"package/dist/main.js": b"main", "package/dist/font.woff2": b"font", "package/LICENSE": b"free",
           "package/src/huge.ts": b"not needed"}


def tarball(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def package(data: bytes, name: str = "@who/tiny") -> NpmPackage:
    pinned = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    return NpmPackage(name, "1.2.3", pinned, "dist/main.js", ("LICENSE", "dist/*.woff2"), "the test")


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that hands out what the test puts into its shelf, and keeps a list of what it was asked for."""
    folder = tmp_path / "npm"
    folder.mkdir()
    program = folder / "npm"
    program.write_text('#!/bin/sh\necho "$2" >> "$(dirname "$0")/asked"\ncp "$(dirname "$0")"/shelf.tgz "$4"/any.tgz\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("GROUPCC_PACKAGES")
    return folder


@pytest.fixture
def tiny(npm) -> NpmPackage:
    data = tarball(CONTENT)
    (npm / "shelf.tgz").write_bytes(data)
    return package(data)


def asked(npm: Path) -> list[str]:
    return (npm / "asked").read_text().split() if (npm / "asked").is_file() else []


def test_a_package_is_fetched_once_and_the_needed_files_are_copied(tiny, npm, tmp_path):
    assert npm_client.script_links({"tiny": tiny}, tmp_path) == {"tiny": "_static/vendor/tiny/dist/main.js"}
    for _ in range(2):
        npm_client.copy_scripts({"tiny": tiny}, tmp_path, tmp_path / "html")
    vendor = tmp_path / "html" / "_static" / "vendor" / "tiny"
    assert {p.relative_to(vendor).as_posix(): p.read_bytes() for p in vendor.rglob("*") if p.is_file()} == {
        "dist/main.js": b"main", "dist/font.woff2": b"font", "LICENSE": b"free"}
    assert asked(npm) == ["@who/tiny@1.2.3"]
    assert [p.name for p in (tmp_path / "_build" / "packages").iterdir()] == ["who-tiny-1.2.3.tgz"]


def test_a_package_that_cannot_be_had_is_not_copied(npm, tmp_path):
    (npm / "npm").write_text("#!/bin/sh\nexit 1\n")
    npm_client.copy_scripts({"lost": package(b"lost")}, tmp_path, tmp_path / "html")
    assert not (tmp_path / "html").exists()


def test_the_folder_can_be_chosen(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("GROUPCC_PACKAGES", str(tmp_path / "elsewhere"))
    npm_client.script_links({"tiny": tiny}, tmp_path / "book")
    assert (tmp_path / "elsewhere" / "who-tiny-1.2.3.tgz").is_file() and not (tmp_path / "book").exists()


def test_a_damaged_archive_is_fetched_again(tiny, npm, tmp_path):
    path = npm_client.fetch_archive(tiny, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert npm_client.fetch_archive(tiny, tmp_path).read_bytes() == whole
    assert len(asked(npm)) == 2


def test_an_archive_with_another_hash_is_refused_and_leaves_nothing(tiny, npm, tmp_path):
    (npm / "shelf.tgz").write_bytes(tarball(CONTENT | {"package/dist/main.js": b"evil"}))
    with pytest.raises(NpmError, match=r"npm returned an archive with sha512-\S+, expected sha512-"):
        npm_client.fetch_archive(tiny, tmp_path / "packages")
    assert list((tmp_path / "packages").iterdir()) == []


def test_a_file_outside_its_package_is_refused(npm, tmp_path):
    data = tarball({"package/dist/../../../main.woff2": b"outside"})
    (npm / "shelf.tgz").write_bytes(data)
    outside = package(data)._replace(files=("*.woff2",))
    with pytest.raises(NpmError, match="has a file outside itself"):
        list(npm_client.package_files(outside, tmp_path))


@pytest.mark.parametrize("program, reason", [
    (None, "npm is not installed"),
    ("exit 1", r"npm could not fetch it \(exit status 1\)"),
    ("exit 0", r"npm could not fetch it \(exit status 0\)"),
    ("exec sleep 60", "npm did not answer within 0 s"),
])
def test_without_npm_the_network_steps_in_and_one_line_says_so(npm, tmp_path, monkeypatch, caplog, program, reason):
    if program is None:
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    else:
        (npm / "npm").write_text(f"#!/bin/sh\n{program}\n")
    monkeypatch.setattr(npm_client, "NPM_SECONDS", 0.3)
    tiny = package(b"")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # the second time is silent: one line per package
            assert npm_client.script_links({"tiny": tiny}, tmp_path) == {"tiny": f"{CDN}@who/tiny@1.2.3/dist/main.js"}
    assert len(caplog.messages) == 1 and "\n" not in caplog.messages[0]
    assert "@who/tiny 1.2.3" in caplog.messages[0] and tiny.address in caplog.messages[0]
    assert "the test will need the network" in caplog.messages[0]
    with pytest.raises(NpmError, match=reason):
        npm_client.fetch_archive(tiny, tmp_path)


def test_a_command_line_says_in_one_line_that_an_archive_cannot_be_had(npm, tmp_path, capsys):
    (npm / "npm").write_text("#!/bin/sh\nexit 1\n")
    verbs = Verbs("toolbox", "Small tools.")
    verbs.add("fetch", lambda options: npm_client.fetch_archive(package(b""), tmp_path), "fetch it")
    assert verbs.run(["fetch"]) == 2
    assert capsys.readouterr().err == "toolbox: npm could not fetch it (exit status 1)\n"


@pytest.mark.parametrize("page, expected", [
    ("index.html", "_static/vendor/d3/x.js"), ("book/atlas", "../_static/vendor/d3/x.js"),
    ("atlas/deep/index.html", "../../_static/vendor/d3/x.js")])
def test_an_address_as_a_page_writes_it(page, expected):
    assert npm_client.link_from(page, "_static/vendor/d3/x.js") == expected
    assert npm_client.link_from(page, "https://example.org/x.js") == "https://example.org/x.js"


def test_what_is_pinned_is_exact():
    for pinned in (AXE, *ON_PAGES.values()):
        assert len(base64.b64decode(pinned.integrity.removeprefix("sha512-"))) == 64
        assert all(part.isdigit() for part in pinned.version.split(".")) and pinned.version.count(".") == 2


def test_npm_still_has_what_is_pinned(tmp_path):
    """The one test that asks the registry, for the smallest package, and only where there is npm and a network."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    try:
        path = npm_client.fetch_archive(D3, tmp_path)
    except NpmError as error:
        if "could not fetch" in str(error) or "did not answer" in str(error):
            pytest.skip(f"no network: {error}")
        raise
    assert path.stat().st_size > 100_000
    found = dict(npm_client.package_files(D3, tmp_path))
    assert set(found) == {"dist/d3.min.js", "LICENSE"} and b"Mike Bostock" in found["dist/d3.min.js"]
