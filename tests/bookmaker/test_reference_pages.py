"""The reference: every public name is in it once, as the source has it, and prose comes out of Markdown unchanged."""

import dataclasses
import functools
import importlib
import inspect
import re
from collections import Counter
from html.parser import HTMLParser

import griffe
import pytest
import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from tiny_book import ROOT

from bookmaker import reference_pages
from bookmaker.reference_pages import all_definitions, packages, places, reference


def held_by(value: type) -> set[str]:
    """Names of what a class writes down itself: methods, properties, fields."""
    made = classmethod | staticmethod | property | functools.cached_property
    held = {name for name, part in vars(value).items() if callable(part) or isinstance(part, made)}
    fields = {f.name for f in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
    held |= fields & set(vars(value).get("__annotations__", {})) | set(vars(value).get("_fields", ()))
    return {name for name in held if not name.startswith("_")}


def public_places(package: str) -> set[str]:
    """What the reference must have of a package, found by importing it: functions, classes, and what classes hold."""
    imported = importlib.import_module(f"groupcc_lite.{package}")
    found = {f"groupcc_lite.{package}"}
    for name in imported.__all__:
        value = getattr(imported, name)
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith(imported.__name__):
            parts = held_by(value) if inspect.isclass(value) else set()
            found |= {f"{imported.__name__}.{name}", *(f"{imported.__name__}.{name}.{part}" for part in parts)}
    return found


def wrong_anchors(text: str) -> dict[str, int]:
    """How often each public name stands in the reference that is not there exactly once, and each that is not ours."""
    found, module = Counter(), ""
    for kind, name in re.findall(r"^:{3,}\{py:(\w+)\} ([\w.]+)", text, re.MULTILINE):
        module = name if kind == "module" else module
        found[name if kind == "module" else f"{module}.{name}"] += 1
    wanted = {place for package in packages() for place in public_places(package)}
    return {name: found[name] for name in wanted | set(found)
            if found[name] != 1 or name not in places().values()}


@pytest.fixture(scope="module")
def pages() -> str:
    """All pages of the reference that the book has, filled."""
    sections = next(chapter["sections"] for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
                    for chapter in part["chapters"] if chapter["file"] == "book/api")
    return "\n".join(reference_pages.fill((ROOT / f"{page['file']}.md").read_text(), page["file"]) for page in sections)


def test_every_public_name_is_in_the_reference_once(pages):
    assert wrong_anchors(pages) == {}
    assert len(set(places().values())) > 300


def test_a_lost_name_a_lost_method_and_one_said_twice_are_seen(pages):
    lost = re.sub(r":::\{py:function\} cyclic\(", ":::{py:data} cyclically(", pages)
    assert wrong_anchors(lost) == {"groupcc_lite.groups.cyclic": 0, "groupcc_lite.groups.cyclically": 1}
    lost = pages.replace(":::{py:method} FiniteGroup.index(", ":::{py:method} (")
    assert wrong_anchors(lost) == {"groupcc_lite.groups.FiniteGroup.index": 0}
    twice = wrong_anchors(f"{pages}\n{reference('actions')}")
    assert twice["groupcc_lite.actions"] == twice["groupcc_lite.actions.PlanarAction"] == 2


def test_the_page_of_the_library_lists_every_package_and_every_package_has_a_page(pages):
    overview = (ROOT / "book" / "api.md").read_text()
    assert [name for name in packages() if f"| `{name}` |" not in overview] == []
    assert re.findall(r"\{py:module\} groupcc_lite\.(\w+)", pages) != [] and {*packages()} == set(
        re.findall(r"\{py:module\} groupcc_lite\.(\w+)", pages))


def test_every_link_leads_to_a_place(pages):
    targets = re.findall(r"\{py:obj\}`[^`<]* <([^`>]*)>`", pages)
    assert len(targets) > 60 and set(targets) <= set(places().values())
    signatures = re.sub(r"\{py:\w+\}`[^`]*`|```.*?```", "", pages, flags=re.DOTALL)
    types = re.findall(r"(?<![`<\w.])groupcc_lite\.\w+\.\w+", signatures)
    assert len(types) > 60 and set(types) <= set(places().values())


@pytest.mark.parametrize("package, line", [
    ("groups", ":::{py:function} cyclic(n: SupportsIndex) -> groupcc_lite.groups.FiniteGroup"),
    ("groups", ":::{py:method} FiniteGroup.power(g: SupportsIndex, k: SupportsIndex) -> int"),
    ("symmetry", ':::{py:function} act(D: Float[Tensor, "*m g d"], G: groupcc_lite.groups.FiniteGroup, h: int) '
                 '-> Float[Tensor, "*m g d"]'),
    ("groups", ":::{py:property} FiniteGroup.inverse\n:type: 'Int[np.ndarray, \"g\"]'"),
    ("coders", ":::{py:method} SavedModule.load(folder: str | Path, *, group:"),
    ("runs", ":::{py:attribute} Profile.lr\n:type: 'float'\n:value: '0.002'"),
    ("symmetry", ":::{py:data} TAU\n"),
    ("runs", "Frozen dataclass with these fields:"),
    ("coders", "Subclass of {py:obj}`GroupCrosscoder <groupcc_lite.coders.GroupCrosscoder>`."),
    ("figures", "Context manager.")])
def test_definitions_are_as_the_source_has_them(package, line):
    assert line in reference(package)


SOURCE = '''"""A library."""

from groupcc_lite.pack.leaf import CONSTANT, Leaf, Point, both, tree

__all__ = ["CONSTANT", "Leaf", "Point", "both", "tree"]
'''
LEAF = '''"""Leaves."""
from contextlib import contextmanager
from typing import NamedTuple

CONSTANT = "it's"
"""A word."""


class Point(NamedTuple):
    """Where `x` is; see `tree` and `Leaf.turned()`."""

    x: int
    """Across; not `x`."""


class Base:
    """Private in spirit."""


class Leaf(Base):
    """A leaf."""

    def __init__(self, size: Float[Tensor, "b d"], /, *more: int, name: str = "n"):
        self.size = size

    def turned(self):
        """As `tree`, of a `Point`. Costs $5.

        >>> Leaf(3).turned()
        4

        Then __more__.
        """

    def bare(self):
        pass

    @classmethod
    def made(cls, *, big: bool = False) -> Leaf:
        """One."""


def tree(x, y=16_384, **rest) -> tuple[Leaf, Int[np.ndarray, " g"]]:
    """Grows `x`.
    >>> tree(1)
    """


@contextmanager
def both():
    """Two."""
'''


@pytest.fixture
def small_library(monkeypatch, tmp_path):
    """The reference of a library of one package in the place of ours."""
    (tmp_path / "groupcc_lite" / "pack").mkdir(parents=True)
    for name, text in {"__init__.py": "", "pack/__init__.py": SOURCE, "pack/leaf.py": LEAF}.items():
        (tmp_path / "groupcc_lite" / name).write_text(text)
    module = griffe.load("groupcc_lite", search_paths=[tmp_path], try_relative_path=False, resolve_aliases=True)
    with monkeypatch.context() as patch:
        patch.setattr(reference_pages, "library", lambda: module)
        places.cache_clear()
        yield reference("pack")
    places.cache_clear()


@pytest.mark.parametrize("shown", [
    ':::{py:class} Leaf(size: Float[Tensor, "b d"], /, *more: int, name: str=\'n\')',
    "Subclass of `Base`.",
    "As {py:obj}`tree <groupcc_lite.pack.tree>`, of a {py:obj}`Point <groupcc_lite.pack.Point>`. Costs \\$5.",
    "```pycon\n>>> Leaf(3).turned()\n4\n```\n\nThen \\_\\_more\\_\\_.",
    "As `Base.bare`.",
    ":::{py:method} Leaf.made(*, big: bool=False) -> groupcc_lite.pack.Leaf\n:classmethod:",
    ':::{py:function} tree(x, y=16384, **rest) -> tuple[groupcc_lite.pack.Leaf, Int[np.ndarray, "g"]]',
    "Grows `x`.\n\n```pycon\n>>> tree(1)\n```",
    "Where `x` is; see {py:obj}`tree <groupcc_lite.pack.tree>` and "
    "{py:obj}`Leaf.turned() <groupcc_lite.pack.Leaf.turned>`.",
    "Named tuple of these fields:",
    ":::{py:attribute} Point.x\n:type: 'int'",
    ":::{py:data} CONSTANT\n:value: '\"it''s\"'",
    "Two.\n\nContext manager."])
def test_each_kind_of_definition_and_example_is_shown(small_library, shown):
    assert shown in small_library


def test_what_init_assigns_is_no_field_of_the_reference(small_library):
    assert "Leaf.size" not in small_library and "__init__" not in small_library


def test_values_with_quotes_survive_the_options(small_library):
    (line,) = [line for line in small_library.splitlines() if line.startswith(":value: ")]
    assert yaml.safe_load(line.removeprefix(":value: ")) == "\"it's\""


class Text(HTMLParser):
    """The text of a page, without markup."""

    def __init__(self, html: str):
        super().__init__()
        self.text = ""
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.text += data


def through_markdown(text: str) -> str:
    """What a reader sees of Markdown, in single blanks."""
    html = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin).render(text)
    return " ".join(Text(html).text.split())


@pytest.mark.parametrize("text", [
    "x^ = W_d f + b_d, _so_ *args and **terms", "costs $5 and $6", "S_ij = max_h <F_i, h . F_j>",
    "a [b](c) [d]: e {f}`", "sum\n+ b\n= c\n# d\n> e", "there\n1. is none\n2) either",
    "a~~b~~ ||x - x^||^2 \\alpha", "| a |\n| --- |\n| b |"])
def test_prose_comes_out_of_markdown_unchanged(text):
    assert through_markdown(reference_pages.markdown(text).replace("`", "\\`")) == " ".join(text.split())


def test_lists_and_emphasis_stay_what_they_are():
    assert reference_pages.markdown("It is *not* so:\n\n- one\n- two") == "It is *not* so:\n\n- one\n- two"


def test_without_escapes_markdown_would_change_the_prose():
    assert through_markdown("**terms** and <b>") != "**terms** and <b>"


def test_all_docstrings_come_out_unchanged():
    documented = [(place, found) for place, found in all_definitions() if found.docstring]
    for place, definition in documented:
        shown = re.sub(r"\{py:obj\}`([^`<]*) <[^`]*>`", r"`\1`", reference_pages.prose(definition))
        plain = re.sub(r"(?m)^- |`|(?<!\w)\*(?=\w[^*]*\w\*(?!\w))|(?<=\w)\*(?!\w)", "", definition.docstring.value)
        assert re.sub("`", "", through_markdown(shown)) == " ".join(plain.split()), place
    assert len(documented) > 300


def test_fill_puts_packages_in_their_place_and_names_unknown_ones():
    page = "# T\n\n<!-- reference: actions orbits -->\n\n<!-- a note -->\n"
    assert reference_pages.fill(page, "book/x.md") == (
        f"# T\n\n{reference('actions')}\n\n{reference('orbits')}\n\n<!-- a note -->\n")
    with pytest.raises(ValueError, match="book/x.md asks for the reference of actors, which groupcc_lite does not"):
        reference_pages.fill("<!-- reference: orbits actors -->", "book/x.md")
    with pytest.raises(ValueError, match="no package 'actors'; there are actions, analysis, answers"):
        reference("actors")


def test_the_overview_links_packages_and_their_names_and_other_tables_stay():
    table = "| Package | For |\n| --- | --- |\n| `groups` | `cyclic`, `other`, `PlanarAction` |\n"
    assert reference_pages.fill(table, "p").splitlines()[2] == (
        "| {py:obj}`groups <groupcc_lite.groups>` | {py:obj}`cyclic <groupcc_lite.groups.cyclic>`, `other`, "
        "`PlanarAction` |")
    other = table.replace("Package", "Profile")
    assert reference_pages.fill(other, "p") == other
