"""Every chapter with the smallest settings on the fake device: no page that a GPU would stop.

Chapters share a work folder, as they do for a reader, and run in their order. A negative control makes sure that the
device is there at all: a cell that mixes devices stops its notebook.
"""

import json
import os

import nbformat
import papermill
import pytest
from repository import ROOT

from bookmaker.execution import kernel_environment

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))

pytestmark = [pytest.mark.slow, pytest.mark.fake_device_notebooks]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A work folder, and an environment in which kernels find the library, the fake device and nothing finished."""
    folder = tmp_path_factory.mktemp("on-the-fake-device")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (kernel_environment(1) | dict(PYTHONPATH=paths, GROUPCC_WORK=str(folder / "work"))).items():
            patch.setenv(name, value)
        yield folder


def execute(notebook, folder, name, **parameters):
    """Run a notebook in a kernel that has entered the fake device; what happened on it."""
    counts = folder / f"{name}.json"
    os.environ["FAKE_DEVICE_COUNTS"] = str(counts)
    papermill.execute_notebook(
        notebook, folder / f"{name}.ipynb", parameters=parameters, cwd=str(ROOT), kernel_name="python3",
        progress_bar=False, extra_arguments=["--IPKernelApp.log_level=40",
                                             "--IPKernelApp.exec_lines=import fake_device_kernel"])
    return json.loads(counts.read_text())


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_on_the_device(chapter, folder):
    found = execute(nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4), folder, chapter,
                    profile="smoke")
    print(chapter, found)


def test_most_chapters_compute_on_the_device(folder):
    counts = {chapter: json.loads((folder / f"{chapter}.json").read_text()) for chapter in CHAPTERS
              if (folder / f"{chapter}.json").is_file()}
    assert sum(found["operations"] > 1000 for found in counts.values()) > len(CHAPTERS) // 2, counts


def test_negative_control_a_cell_that_mixes_devices_stops_its_notebook(folder):
    cells = ["from groupcc_lite.base import default_device\nimport torch\nhere, there = torch.ones(2), "
             "torch.ones(2, device=default_device())", "here + there"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
                                        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    with pytest.raises(papermill.PapermillExecutionError, match="same device"):
        execute(notebook, folder, "mixed")
