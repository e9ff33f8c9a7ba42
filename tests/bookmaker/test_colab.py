"""The first cells of every chapter on a simulated Colab, and what survives its machine."""

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from colab import ROOT, Machine, build_wheel
from nbclient.exceptions import CellExecutionError

from bookmaker.project_facts import Project

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
SMOKE = dict(profile='"smoke"')
FIRST = 4
"""Bootstrap, parameters, imports, and the first one that computes."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def drive(tmp_path) -> Path:
    folder = tmp_path / "drive"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def machine(tmp_path_factory, wheel) -> Machine:
    """One machine for all chapters, as when a reader opens one after another; its Drive is not mounted."""
    folder = tmp_path_factory.mktemp("machine")
    return Machine(folder, wheel, folder / "no-drive")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_first_cells_of_a_chapter_run(machine, chapter):
    said = machine.run(chapter, FIRST, **SMOKE)
    assert f"groupcc-lite {Project.read(ROOT).version} torch=={version('torch')}" in said[0] and "GPU:" in said[0]
    assert f"Results go to {machine.content / 'groupcc' / 'work'}\n" in said[0]
    assert not (machine.content / "drive").exists()
    assert (machine.packages / "torch").is_symlink(), "torch was replaced"
    fresh = {name for name in machine.installed() if name.startswith("groupcc_lite")}
    assert fresh == {"groupcc_lite", f"groupcc_lite-{Project.read(ROOT).version}.dist-info"}


def artefacts(drive: Path) -> dict[Path, int]:
    """When each file of the artefacts on the Drive was written; reports are written anew by every run."""
    work = drive / "groupcc" / "work"
    return {path.relative_to(work): path.stat().st_mtime_ns for path in work.rglob("*")
            if path.is_file() and path.relative_to(work).parts[0] != "reports"}


def test_results_on_the_drive_outlive_the_machine(tmp_path, wheel, drive):
    chapter, keeping = "03_training", dict(keep_on_drive="True", **SMOKE)
    said = Machine(tmp_path / "first", wheel, drive).run(chapter, 4, **keeping)
    assert "Mounted at" in said[0] and "/content/drive/MyDrive/groupcc/work" in said[0]
    made = artefacts(drive)
    assert "orbits" in {path.parts[0] for path in made}
    shutil.rmtree(tmp_path / "first")
    again = Machine(tmp_path / "second", wheel, drive).run(chapter, 4, **keeping)
    assert again[1:] == said[1:] and artefacts(drive) == made


def test_weights_and_photographs_are_found_on_the_drive(tmp_path, wheel, drive):
    (drive / "groupcc" / "data").mkdir(parents=True)
    machine = Machine(tmp_path / "machine", wheel, drive)
    with pytest.raises(CellExecutionError, match="content/drive/MyDrive/groupcc/data"):  # it is empty, and is named
        machine.run("02_orbits", FIRST, keep_on_drive="True", profile='"inception"')


def test_a_library_that_wants_another_torch_is_refused_and_torch_stays(tmp_path, drive):
    machine = Machine(tmp_path / "machine", build_wheel(tmp_path / "wheel", torch="<2"), drive)
    with pytest.raises(CellExecutionError, match=rf"could not be installed beside \['torch=={version('torch')}"):
        machine.run("01_groups", 1)
    assert (machine.packages / "torch").is_symlink()
