"""A book of two small chapters, for tests of the machinery that runs and builds the real one."""

import re
import subprocess
from pathlib import Path

import nbformat

from bookmaker import execution
from bookmaker.notebook_pairs import make_pair
from groupcc_lite.base import write_json

ROOT = Path(__file__).resolve().parents[2]

CHAPTER = '''# %% [markdown]
# # Chapter {number}
#
# Text.

# %% tags=["parameters"]
profile = "book"  # which settings
seed = 0
images = None
weights = None

# %%
print("the seed is", seed)
{extra}
'''

CLAIMS = '''
- id: first
  paper: group crosscoders
  title: A first claim
  section: section 1
  claim: The value is large.
  chapter: 01_one
  numbers: {value: the value, other: another one}
  tests: [{that: [value, ">", 3], since: 2026-11-20, known: before}]
  deviation: None.
'''


def write_chapter(root: Path, name: str, extra: str = "") -> Path:
    """One notebook of the book."""
    path = root / "notebooks" / f"{name}.py"
    path.write_text(CHAPTER.format(number=int(name[:2]), extra=extra))
    return path


def make_tiny_book(root: Path, address: str = "") -> Path:
    """Write the book into an empty folder, with this address as the setting, whatever the checkout's own is."""
    for folder in ("notebooks", "book", "groupcc_lite"):
        (root / folder).mkdir(parents=True)
    setting = re.compile(r"^repository = .*$", re.MULTILINE)
    text, found = setting.subn(f'repository = "{address}"', (ROOT / "pyproject.toml").read_text())
    assert found == 1, "pyproject.toml says the address once"
    (root / "pyproject.toml").write_text(text)
    (root / "_config.yml").write_text('title: T\nauthor: A\nexecute: {execute_notebooks: "off"}\n'
                                      "only_build_toc_files: true\n")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\nparts:\n"
                                   "- caption: I\n  numbered: true\n  chapters:\n  - file: notebooks/01_one\n"
                                   "- caption: II\n  numbered: true\n  chapters:\n  - file: notebooks/02_two\n"
                                   "- caption: III\n  chapters:\n  - file: book/results\n")
    (root / "book" / "index.md").write_text("# Start\n\n(profiles)=\n## Profiles\n\nText.\n")
    (root / "book" / "results.md").write_text("# Results\n\n<!-- generated: replication -->\n\n"
                                              "<!-- generated: reproducibility -->\n\n<!-- generated: run-times -->\n")
    (root / "book" / "claims.yml").write_text(CLAIMS)
    write_chapter(root, "01_one")
    write_chapter(root, "02_two")
    return root


def pretend_run(root: Path, *chapters: str) -> None:
    """Executed notebooks as papermill would leave them, without starting a kernel."""
    for chapter in chapters:
        notebook = nbformat.reads(make_pair(root / "notebooks" / f"{chapter}.py", root)[1], as_version=4)
        injected = nbformat.v4.new_code_cell('# Parameters\nprofile = "smoke"\nseed = 5\n',
                                             metadata={"tags": ["injected-parameters"]})
        notebook.cells.insert(3, injected)
        notebook.metadata["papermill"] = {"duration": 3.5, "start_time": "2026-01-02T03:04:05.678"}
        folder = execution.executed_folder(root, "smoke")
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / f"{chapter}.ipynb")
        write_json(folder / f"{chapter}.json", {})


def git(folder: Path, *arguments: str) -> str:
    """What git says in a folder, where somebody commits."""
    return subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder), *arguments],
                          capture_output=True, text=True, check=True).stdout.strip()
