"""The repository's own rules: which module may import which, what is declared, and how large things may grow."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bookmaker.project_facts import Project

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "groupcc_lite"

# A module may import only from modules before it.
ORDER = """files progress precision subgroups irreps groups actions colours shapes scenes geometry networks
    weightfiles models tiny_training images sampling orbits words saving transforms reconstruction coders autoencoders
    training fourier symmetry stabilisers planted scoring drawn fitted answer_key families probing featurevis
    style pictures plots scene_plots symmetry_plots key_plots widgets profiles reports pipeline assets atlas
    atlas_files scene_runs costs project pairs execution pages api_pages audit atlas_page finishing book
    __main__""".split()

# These run only where the extra `book` is installed.
PAGE_MODULES = {"pairs", "execution", "pages", "audit", "finishing", "book", "__main__"}


def imported_modules(source: str) -> set[str]:
    """Modules of the package that a source imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("groupcc_lite.")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "groupcc_lite":
            inner = node.module.split(".")[1:]
            found |= {inner[0]} if inner else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add("a relative import")
    return found


def forbidden_edges(sources: dict[str, str], order: list[str]) -> list[str]:
    """Imports of a module that does not come earlier in `order`."""
    return [f"{name} imports {other}" for name, source in sources.items() for other in imported_modules(source)
            if name in order and other not in order[:order.index(name)]]


def outside_imports(source: str) -> set[str]:
    """Top-level names of everything imported from outside the package and the standard library."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return {name for name in names if name not in sys.stdlib_module_names and name != "groupcc_lite"}


def long_functions(source: str, limit: int) -> list[str]:
    """Functions whose bodies, without the docstring, have more than `limit` lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and node.end_lineno - body[0].lineno + 1 > limit:
                found.append(node.name)
    return found


def modules() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(PACKAGE.glob("*.py")) if path.stem != "__init__"}


def requirements(*extras: str) -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    wanted = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in wanted if r.marker is None or r.marker.evaluate()}


def extras() -> list[str]:
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


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


def test_every_module_has_its_place_in_the_order():
    assert sorted(modules().keys() - set(ORDER)) == []


def test_the_page_of_the_library_lists_every_module():
    page = (ROOT / "book" / "api.md").read_text()
    assert [name for name in modules() if f"`{name}`" not in page and name != "__main__"] == []


def test_modules_import_only_from_earlier_ones():
    assert forbidden_edges(modules(), ORDER) == []


def test_the_package_itself_imports_nothing():
    assert imported_modules((PACKAGE / "__init__.py").read_text()) == set()


def test_forbidden_edges_sees_a_backward_import_a_nested_one_and_a_relative_one():
    order = ["a", "b"]
    assert forbidden_edges({"a": "from groupcc_lite.b import x"}, order) == ["a imports b"]
    assert forbidden_edges({"a": "def f():\n    from groupcc_lite import b"}, order) == ["a imports b"]
    assert forbidden_edges({"a": "import groupcc_lite.b"}, order) == ["a imports b"]
    assert forbidden_edges({"a": "from .b import x"}, order) == ["a imports a relative import"]
    assert forbidden_edges({"b": "from groupcc_lite.a import x"}, order) == []


@pytest.mark.parametrize("name", sorted(modules()))
def test_what_a_module_imports_is_declared(name):
    declared = requirements("book") if name in PAGE_MODULES else requirements()
    providers = packages_distributions()
    for imported in outside_imports(modules()[name]):
        candidates = {canonicalize_name(d) for d in providers.get(imported, [imported])}
        assert candidates & declared.keys(), f"{name} imports {imported}, which pyproject.toml does not list"


def test_every_requirement_is_pinned_to_a_version_it_allows():
    pinned = pins()
    for name, requirement in requirements(*extras()).items():
        assert name in pinned, f"{name} has no exact version in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} does not allow {pinned[name]}"


def test_the_library_requires_floors_only():
    for name, requirement in requirements().items():
        assert {spec.operator for spec in requirement.specifier} == {">="}, f"{name} is not a floor: {requirement}"


def test_environment_yml_wraps_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *plain, through_pip = environment["dependencies"]
    assert through_pip["pip"] == ["-c constraints.txt", f"-e .[{','.join(extras())}]"]
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert plain == [f"python={floor}", "pip"]


def test_the_changelog_knows_the_version():
    assert f"## {Project.read(ROOT).version}" in (ROOT / "CHANGELOG.md").read_text()


def test_no_tracked_file_is_larger_than_a_megabyte():
    assert [path.name for path in tracked() if path.stat().st_size > 1_000_000] == []


def test_modules_and_functions_stay_short():
    sources = {p: p.read_text() for folder in ("groupcc_lite", "tests", "benchmarks")
               for p in sorted((ROOT / folder).glob("*.py"))}
    assert [p.name for p, text in sources.items() if text.count("\n") > 400] == []
    assert {p.name: found for p, text in sources.items() if (found := long_functions(text, 45))} == {}


def test_long_functions_sees_a_long_one_and_not_its_docstring():
    body = "\n".join("    x = 1" for _ in range(5))
    assert long_functions(f"def f():\n{body}", 4) == ["f"]
    assert long_functions(f'def f():\n    """a\n    b\n    c"""\n{body}', 5) == []


def test_tests_that_use_the_data_are_marked_and_others_are_not():
    from conftest import pytest_collection_modifyitems

    class Item:
        def __init__(self, *fixturenames):
            self.fixturenames, self.marks = fixturenames, []
            self.add_marker, self.get_closest_marker = self.marks.append, lambda name: None

    items = [Item("root"), Item("data", "tmp_path")]
    pytest_collection_modifyitems(items)
    assert [item.marks for item in items] == [[], ["data"]]
