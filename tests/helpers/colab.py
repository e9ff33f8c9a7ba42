"""Google Colab, simulated: a fresh machine each time, with torch in place, and a Drive that outlives it.

A machine is a virtual environment whose packages are links to those of the environment that runs the tests, except this
project, and a folder that stands for `/content`. Its kernels load a stand-in for `google.colab` as they start, as those
of Colab do. What is installed on it comes from a wheel, without a network.
"""

import os
import re
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
OURS = re.compile(r"groupcc|__editable__|_virtualenv|.*\.pth$|__pycache__|google$")

DRIVE = '''\
import os
from pathlib import Path


def mount(path):
    """The folder in COLAB_DRIVE appears as MyDrive below `path`."""
    Path(path).mkdir()
    (Path(path) / "MyDrive").symlink_to(os.environ["COLAB_DRIVE"])
    print("Mounted at", path)
'''


def build_wheel(folder: Path, **requirements: str) -> Path:
    """A wheel of the project, made from a copy; `torch="<2"` puts another requirement in the place of torch's."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "groupcc_lite", source / "groupcc_lite", ignore=shutil.ignore_patterns("__pycache__"))
    text = (source / "pyproject.toml").read_text()
    for package, wanted in requirements.items():
        text, found = re.subn(rf'"{package}>=[^"]*"', f'"{package}{wanted}"', text)
        assert found == 1
    (source / "pyproject.toml").write_text(text)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation",
                    "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


class Machine:
    """One machine that Colab lends: gone when it is given back, with everything on it."""

    def __init__(self, folder: Path, wheel: Path, drive: Path):
        venv.create(folder / "python", with_pip=False, symlinks=True)
        self.python = folder / "python" / "bin" / "python"
        (self.packages,) = (folder / "python" / "lib").glob("python*/site-packages")
        for package in Path(site.getsitepackages()[0]).iterdir():
            if not OURS.match(package.name):
                (self.packages / package.name).symlink_to(package)
        colab = self.packages / "google" / "colab"
        colab.mkdir(parents=True)
        (colab / "__init__.py").touch()
        (colab / "drive.py").write_text(DRIVE)
        (self.packages / "colab.pth").write_text("import google.colab\n")
        self.content = folder / "content"
        self.content.mkdir()
        outside = {name: value for name, value in os.environ.items()
                   if not name.startswith(("GROUPCC", "PYTHON", "VIRTUAL_ENV", "MPLBACKEND", "PIP"))}
        self.environment = outside | dict(GROUPCC_SOURCE=f"{wheel}[all]", COLAB_DRIVE=str(drive), PIP_NO_INDEX="1",
                                          PIP_DISABLE_PIP_VERSION_CHECK="1")

    def run(self, chapter: str, cells: int | None = None, **settings: str) -> list[str]:
        """Run the first code cells of a chapter in a new kernel, with some settings written over by hand.

        Returns what each code cell printed. nbclient's CellExecutionError for a cell that fails.
        """
        notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"][:cells]
        for cell in code[:2]:  # the bootstrap and the parameters, which a reader may change
            cell.source = cell.source.replace("/content", str(self.content))
            for name, value in settings.items():
                cell.source = re.sub(rf"(?m)^{name} = [^#\n]*", f"{name} = {value}  ", cell.source)
        notebook.cells = code
        client = NotebookClient(notebook, kernel_manager_class=self._kernel(), timeout=300,
                                resources={"metadata": {"path": str(self.content)}})
        client.execute(env=self.environment)
        return ["".join(output.get("text", "") for output in cell.outputs) for cell in code]

    def installed(self) -> set[str]:
        """Names of the packages that were put here beside the links."""
        return {path.name for path in self.packages.iterdir() if not path.is_symlink()}

    def _kernel(self) -> type[AsyncKernelManager]:
        class Kernel(AsyncKernelManager):
            kernel_spec = KernelSpec(argv=[str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}",
                                           "--IPKernelApp.log_level=40"])

        return Kernel

