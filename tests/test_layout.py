"""The repository's own rules: what may import what, what is declared and shipped, and how large things may grow."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import jaxtyping
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import ROOT, wheel_of_the_checkout

from bookmaker.project_facts import Project
from groupcc_lite.base import EXTRAS

PACKAGES = ("base", "groups", "actions", "stimuli", "models", "orbits", "coders", "distributed", "manifolds",
            "superposition", "interop", "symmetry", "responses", "answers", "runs", "studies", "figures",
            "atlas", "analysis")
"""The library's packages; one imports only from those before it. The front door, the command line and the book's tools
come last, in this order."""
ORDER = (*(f"groupcc_lite.{package}" for package in PACKAGES), "groupcc_lite", "groupcc_lite.__main__", "bookmaker")
ELSEWHERE = {"groupcc_lite.base.colab": {"google"}}
"""What a module imports only where it is installed without us: `google.colab` is part of that machine."""
DOZEN = 12
AT_HOME = {"figures": "pictures"}
"""Packages that need an extra as a whole; all others ask for what they need with `require`, where they use it."""
THIS = Path(__file__).name
TOOLS = ("bookmaker", "notebooks", "tests", "benchmarks")


# ------------------------------------------------------------------------------------------------ reading imports

def sources(*folders: str) -> dict[str, str]:
    """Dotted name of every module below the folders, `__init__` as its package, and its text."""
    found = {}
    for path in sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path.read_text()
    return found


def imported(source: str, modules: Iterable[str]) -> set[str]:
    """Which of `modules` a source imports anywhere, also inside functions; a relative import is "a relative import"."""
    modules, found = set(modules), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add("a relative import")
        elif isinstance(node, ast.ImportFrom):
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= below & modules
            if below - modules:
                found.add(node.module)
    return found & (modules | {"a relative import"})


def home(module: str) -> str:
    """The entry of `ORDER` that a module belongs to."""
    fits = [entry for entry in ORDER if module == entry or module.startswith(entry + ".")]
    return max(fits, key=len, default=module)


def edges(modules: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, other) for name, source in modules.items() for other in sorted(imported(source, modules))]


def rising(modules: dict[str, str]) -> list[str]:
    """Imports from a package that does not come earlier in `ORDER`."""
    def rank(name: str) -> int:
        return ORDER.index(home(name)) if home(name) in ORDER else len(ORDER)

    return [f"{name} imports {other}" for name, other in edges(modules)
            if home(name) != home(other) and rank(other) >= rank(name)]


def leaves(modules: dict[str, str]) -> list[str]:
    """Imports of a module of another package of the library, instead of from that package itself."""
    return [f"{name} imports {other}" for name, other in edges(modules)
            if home(other) != home(name) and home(other).startswith("groupcc_lite.") and other != home(other)]


def circle(modules: dict[str, str]) -> list[str]:
    """Modules that import each other in a ring, the first one again at the end; empty if there is none."""
    sorter = TopologicalSorter({name: imported(source, modules) for name, source in modules.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


MODULES = sources("groupcc_lite", "bookmaker")


def test_the_order_names_every_package():
    folders = {path.parent.name for path in (ROOT / "groupcc_lite").glob("*/__init__.py")}
    assert folders == set(PACKAGES)
    assert {home(name) for name in MODULES} == set(ORDER)


def test_packages_import_only_from_earlier_ones():
    assert rising(MODULES) == []


def test_packages_import_from_each_other_and_not_from_their_modules():
    assert leaves(MODULES) == []


FLAT = ("files", "progress", "precision", "saving", "colours", "shapes", "scenes", "images", "weightfiles", "irreps",
        "words", "subgroups", "fourier", "geometry", "networks", "tiny_training", "autoencoders", "sampling",
        "transforms", "fitted", "reconstruction", "training", "stabilisers", "families", "featurevis", "planted",
        "drawn", "scoring", "answer_key", "probing", "profiles", "pipeline", "scene_runs", "costs", "reports", "style",
        "plots", "pictures", "symmetry_plots", "scene_plots", "key_plots", "widgets", "atlas_files", "atlas_page",
        "atlas_web", "assets", "pairs", "execution", "pages", "api_pages", "audit", "finishing", "project", "book")
"""Modules of the library before it had packages."""
GONE = ("words", "weightfiles", "featurevis", "answer_key", "pipeline", "scene_runs", "symmetry_plots", "scene_plots",
        "key_plots", "atlas_page", "atlas_web", "api_pages", "finishing")
"""Those of them that nothing is called today."""


def old_names(text: str) -> list[str]:
    """Modules that a text names by where they were: as a path, with dots, or in backticks."""
    return [found.group() for found in re.finditer(
        rf"groupcc_lite[./]({'|'.join(FLAT)})\b(?!/)|`({'|'.join(GONE)})(\.py)?`", text)]


def test_nothing_is_called_by_the_name_of_a_module_that_was_moved():
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in tracked()
             if path.suffix in (".py", ".js", ".md", ".toml", ".yml") and path.name not in ("CHANGELOG.md", THIS)}
    assert {name: found for name, text in texts.items() if (found := old_names(text))} == {}


def test_old_names_are_seen_and_new_ones_are_not():
    old = ["groupcc_lite.shapes", "groupcc_lite/atlas_files", "`words`", "`atlas_page`"]
    assert old_names("see groupcc_lite.shapes, groupcc_lite/atlas_files.py, `words` and `atlas_page`") == old
    assert old_names("groupcc_lite.stimuli.shapes, groupcc_lite/atlas/web, `words_of`, words, `atlas_files`") == []


def test_readers_are_shown_packages_only():
    """Notebooks and benchmarks import as a user would."""
    outside = sources("notebooks", "benchmarks")
    assert [edge for edge in leaves(MODULES | outside) if edge.split(".")[0] in ("notebooks", "benchmarks")] == []


@pytest.mark.parametrize("package", [*(f"groupcc_lite.{p}" for p in PACKAGES), "bookmaker"])
def test_modules_of_a_package_import_in_one_direction(package):
    assert circle({name: source for name, source in MODULES.items() if home(name) == package}) == []


@pytest.mark.parametrize("name, source, finder, found", [
    ("groupcc_lite.groups.finite", "from groupcc_lite.actions import PlanarAction", rising, True),
    ("groupcc_lite.groups.finite", "def f():\n    from groupcc_lite import actions", rising, True),
    ("groupcc_lite.groups.finite", "import groupcc_lite.actions.planar", rising, True),
    ("groupcc_lite.groups.finite", "import bookmaker.pages", rising, True),
    ("groupcc_lite.groups.finite", "from groupcc_lite import Run", rising, True),
    ("groupcc_lite.groups.finite", "from groupcc_lite.base import files", rising, False),
    ("groupcc_lite.actions.planar", "from groupcc_lite.groups import cyclic", rising, False),
    ("bookmaker.pages", "from groupcc_lite.atlas import make_page", rising, False),
    ("groupcc_lite.actions.planar", "from groupcc_lite.groups.finite import cyclic", leaves, True),
    ("groupcc_lite.actions.planar", "from groupcc_lite.groups import finite", leaves, True),
    ("bookmaker.pages", "import groupcc_lite.groups.finite as f", leaves, True),
    ("groupcc_lite.actions.planar", "from groupcc_lite.groups import cyclic", leaves, False),
    ("groupcc_lite.actions.planar", "from groupcc_lite.actions.colour import x", leaves, False),
    ("groupcc_lite.groups.subgroups", "from groupcc_lite.groups.finite import cyclic", circle, True),
    ("groupcc_lite.groups.irreps", "from groupcc_lite.groups import cyclic", circle, True),
    ("groupcc_lite.groups.irreps", "from groupcc_lite.groups.subgroups import x", circle, False)])
def test_negative_control_each_forbidden_import_is_seen(name, source, finder, found):
    others = MODULES if finder is circle else dict.fromkeys(MODULES, "")
    assert bool(finder(others | {name: source})) is found


def test_a_relative_import_is_seen():
    assert imported("from .finite import cyclic", MODULES) == {"a relative import"}


def test_there_are_no_relative_imports():
    assert [edge for edge in edges(MODULES) if edge[1] == "a relative import"] == []


# ------------------------------------------------------------------------------------------------- public names

def public(package: str) -> dict[str, object]:
    """A package's public names (of the front door for "groupcc_lite") and what they are."""
    module = import_module(package)
    return {name: getattr(module, name) for name in module.__all__}


def without_example(names: dict[str, object]) -> list[str]:
    """Functions and classes whose docstring shows no use that is run; constants need none."""
    return [name for name, value in names.items()
            if (inspect.isroutine(value) or inspect.isclass(value)) and ">>>" not in (inspect.getdoc(value) or "")]


@pytest.mark.parametrize("package", ORDER[:len(PACKAGES) + 1])
def test_a_package_says_what_it_is_for_and_lists_its_names(package):
    text = MODULES[package]
    doc, module = ast.get_docstring(ast.parse(text)) or "", import_module(package)
    assert 3 <= len(doc.splitlines()) <= 20, f"{package} needs a docstring that says what it is for"
    assert module.__all__ == sorted(module.__all__) and len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    brought = {alias.asname or alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)
               and node.module.startswith("groupcc_lite.") for alias in node.names}
    assert brought - {"require"} == set(module.__all__) - {"require"}


@pytest.mark.parametrize("package", ORDER[:len(PACKAGES) + 1])
def test_every_public_name_has_an_example_that_is_run(package):
    assert without_example(public(package)) == []


def test_negative_control_a_name_without_an_example_is_seen():
    def shown():
        """
        >>> 1 + 1
        2
        """

    def silent():
        """Nothing to see."""

    class Silent:
        pass

    assert without_example({"shown": shown, "silent": silent, "Silent": Silent, "LIMIT": 3}) == ["silent", "Silent"]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_called_like_a_public_name_of_its_package(package):
    names = {path.stem for path in (ROOT / "groupcc_lite" / package).glob("*.py")}
    assert names & set(import_module(f"groupcc_lite.{package}").__all__) == set()


def test_the_page_of_the_library_names_every_package():
    page = (ROOT / "book" / "api.md").read_text()
    assert [package for package in PACKAGES if f"`{package}`" not in page] == []


def test_examples_run_under_the_same_shape_checks_as_tests():
    import numpy as np

    from groupcc_lite.groups import cyclic, fourier_power

    with pytest.raises(jaxtyping.TypeCheckError):
        fourier_power(np.zeros((3, 1)), cyclic(3))


# ------------------------------------------------------------------------------------------------------- sizes

def long_functions(source: str, limit: int) -> list[str]:
    """Functions whose bodies, without the docstring, have more than `limit` lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and node.end_lineno - body[0].lineno + 1 > limit:
                found.append(node.name)
    return found


@pytest.mark.parametrize("package", [*(f"groupcc_lite/{p}" for p in PACKAGES), "bookmaker"])
def test_no_package_has_more_than_a_dozen_modules(package):
    modules = [path.stem for path in (ROOT / package).glob("*.py") if path.stem not in ("__init__", "__main__")]
    assert len(modules) <= DOZEN, f"{package} holds {', '.join(modules)}"


def test_functions_stay_short():
    everything = sources("groupcc_lite", "bookmaker", "tests", "benchmarks")
    assert {name: found for name, source in everything.items() if (found := long_functions(source, 45))} == {}


def test_long_functions_sees_a_long_one_and_not_its_docstring():
    body = "\n".join("    x = 1" for _ in range(5))
    assert long_functions(f"def f():\n{body}", 4) == ["f"]
    assert long_functions(f'def f():\n    """a\n    b\n    c"""\n{body}', 5) == []


def test_no_tracked_file_is_larger_than_a_megabyte():
    assert [path.name for path in tracked() if path.stat().st_size > 1_000_000] == []


# ---------------------------------------------------------------------------------------------- what is declared

def outside_imports(source: str, known: tuple[str, ...] = ("groupcc_lite", "bookmaker")) -> set[str]:
    """Top-level names of everything imported from outside the standard library and `known`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return {name for name in names if name not in sys.stdlib_module_names and name not in known}


def required(source: str) -> set[tuple[str, str]]:
    """What a source asks for with `require`: pairs of a top-level module and an extra."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
            module, extra = node.args
            first = module.values[0] if isinstance(module, ast.JoinedStr) else module
            found.add((first.value.split(".")[0], extra.value))
    return found


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras: str, system: str = sys.platform) -> dict[str, Requirement]:
    """What the library needs on a system, by default this one, and what these extras and those they name add."""
    said = project()
    lines, waiting = list(said["dependencies"]), list(extras)
    for extra in waiting:  # grows while it is walked
        for line in said["optional-dependencies"][extra]:
            wanted = Requirement(line)
            if wanted.name == said["name"]:
                waiting += sorted(wanted.extras - set(waiting))
            else:
                lines.append(line)
    wanted, on = [Requirement(line) for line in lines], {"sys_platform": system}
    return {canonicalize_name(r.name): r for r in wanted if r.marker is None or r.marker.evaluate(on)}


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    assert all(len(pair) == 2 for pair in pairs), "constraints.txt holds something else than name==version"
    return {canonicalize_name(name): version for name, version in pairs}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def undeclared(name: str, source: str) -> list[str]:
    """Imports of a module that no requirement of its place covers: the core, a package's own extra, the book's."""
    providers = packages_distributions()
    own = ("book",) if name.startswith("bookmaker") else ()
    own += tuple(extra for package, extra in AT_HOME.items() if home(name) == f"groupcc_lite.{package}")
    plain = outside_imports(source) - ELSEWHERE.get(name, set())
    wanted = [(module, own) for module in plain] + [(m, (extra,)) for m, extra in required(source)]
    return [module for module, extras in wanted
            if not {canonicalize_name(d) for d in providers.get(module, [module])} & requirements(*extras).keys()]


def test_what_a_module_imports_is_declared():
    assert {name: found for name, source in MODULES.items() if (found := undeclared(name, source))} == {}


@pytest.mark.parametrize("name, source, found", [
    ("groupcc_lite.groups.finite", "import matplotlib.pyplot as plt", ["matplotlib"]),
    ("groupcc_lite.groups.finite", "def f():\n    from umap import UMAP", ["umap"]),
    ("groupcc_lite.groups.finite", "import papermill", ["papermill"]),
    ("groupcc_lite.groups.finite", "require('umap', 'probing')", ["umap"]),
    ("groupcc_lite.groups.finite", "require('umap.umap_', 'families')", []),
    ("groupcc_lite.groups.finite", "require(f'lucent.{x}', 'widgets')", ["lucent"]),
    ("groupcc_lite.figures.style", "import matplotlib", []),
    ("groupcc_lite.figures.style", "import ipywidgets", ["ipywidgets"]),
    ("bookmaker.pages", "import papermill, matplotlib", [])])
def test_negative_control_undeclared_imports_are_seen(name, source, found):
    assert undeclared(name, source) == found


@pytest.mark.parametrize("system, own", [("linux", "xgboost-cpu"), ("darwin", "xgboost")])
def test_every_requirement_is_pinned_to_a_version_it_allows(system, own):
    pinned, wanted = pins(), requirements(*project()["optional-dependencies"], system=system)
    assert own in wanted
    for name, requirement in wanted.items():
        assert name in pinned, f"{name} has no exact version in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} does not allow {pinned[name]}"


def test_the_library_requires_floors_only():
    for name, requirement in requirements(*EXTRAS).items():
        assert {spec.operator for spec in requirement.specifier} == {">="}, f"{name} is not a floor: {requirement}"


def test_the_core_is_small():
    assert requirements().keys() == {"torch", "numpy", "scipy", "einops", "safetensors", "pillow", "tqdm", "jaxtyping"}


def test_the_book_and_the_tests_bring_every_extra_of_the_library():
    everything = requirements(*EXTRAS).keys()
    for extra in ("book", "test", "bench"):
        assert everything <= requirements(extra).keys(), extra


def test_environment_yml_wraps_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *plain, through_pip = environment["dependencies"]
    # `interop` holds other packages whole, to compare with; nobody who only runs the book should install them.
    repository = [extra for extra in project()["optional-dependencies"] if extra not in (*EXTRAS, "all", "interop")]
    assert through_pip["pip"] == ["-c constraints.txt", f"-e .[{','.join(repository)}]"]
    assert plain == [f"python={project()['requires-python'].removeprefix('>=')}", "pip"]


def test_the_changelog_knows_the_version():
    assert f"## {Project.read(ROOT).version}" in (ROOT / "CHANGELOG.md").read_text()


# -------------------------------------------------------------------------------------------------- what is shipped

def stowaways(names: Iterable[str], texts: Iterable[str]) -> list[str]:
    """What a wheel holds besides the library: files of other folders, imports of what makes the book."""
    tools = {*TOOLS, "papermill", "jupytext", "nbformat", "nbclient", "sphinx", "jupyter_book"}
    outside = [name for name in names if name.split("/")[0].split("-")[0] != "groupcc_lite"]
    return outside + sorted({module for text in texts for module in outside_imports(text, known=())} & tools)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(wheel_of_the_checkout(tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


@pytest.mark.slow
def test_the_wheel_holds_the_library_whole_and_nothing_of_the_book(wheel):
    texts = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".py")]
    assert stowaways(wheel.namelist(), texts) == []
    inside = {str(path.relative_to(ROOT)) for path in tracked() if path.is_relative_to(ROOT / "groupcc_lite")}
    assert inside == {name for name in wheel.namelist() if not name.startswith("groupcc_lite-")}
    assert {"groupcc_lite/models/weights/tiny_inception.safetensors", "groupcc_lite/atlas/web/index.html"} <= inside


@pytest.mark.slow
def test_the_wheel_asks_for_the_core_and_offers_the_extras(wheel):
    (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    lines = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ") and "extra ==" not in line]
    plain = {canonicalize_name(Requirement(line.removeprefix("Requires-Dist: ")).name) for line in lines}
    assert plain == requirements().keys()
    assert all(f"Provides-Extra: {extra}" in metadata for extra in (*EXTRAS, "all"))


def test_negative_control_stowaways_are_seen():
    assert stowaways(["groupcc_lite/a.py", "groupcc_lite-1.dist-info/RECORD"], ["import torch"]) == []
    assert stowaways(["bookmaker/a.py"], ["import papermill", "from bookmaker.pages import x"]) == [
        "bookmaker/a.py", "bookmaker", "papermill"]


# -------------------------------------------------------------------------------------------------------- the tests

def test_tests_that_use_the_data_are_marked_and_others_are_not(pytestconfig):
    (conftest,) = (plugin for plugin in pytestconfig.pluginmanager.get_plugins()
                   if getattr(plugin, "__file__", None) == str(ROOT / "tests" / "conftest.py"))

    class Item:
        def __init__(self, *fixturenames):
            self.fixturenames, self.marks = fixturenames, []
            self.add_marker, self.get_closest_marker = self.marks.append, lambda name: None

    items = [Item("root"), Item("data", "tmp_path")]
    conftest.pytest_collection_modifyitems(items)
    assert [item.marks for item in items] == [[], ["data"]]
