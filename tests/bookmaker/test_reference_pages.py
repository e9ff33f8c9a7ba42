"""The reference: every public name is in it once, as the source has it, and prose comes out of Markdown unchanged."""

import ast
import dataclasses
import functools
import importlib
import inspect
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from bookmaker import reference_pages


def public_names(module: str) -> set[str]:
    """What a module defines, found by importing it: functions, classes, and what classes hold themselves."""
    imported = importlib.import_module(f"groupcc_lite.{module}")
    own = {name: value for name, value in vars(imported).items() if not name.startswith("_")
           and (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == imported.__name__
           and value.__name__ == name}
    names = set(own)
    for name, value in own.items():
        if inspect.isclass(value):
            made = classmethod | staticmethod | property | functools.cached_property
            held = {k for k, v in vars(value).items() if callable(v) or isinstance(v, made)}
            fields = {f.name for f in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
            held |= fields & set(vars(value).get("__annotations__", {})) | set(vars(value).get("_fields", ()))
            names |= {f"{name}.{k}" for k in held if not k.startswith("_")}
    return names


def wrong_anchors(text: str) -> dict[str, int]:
    """Public names that do not stand in the reference exactly once, with how often they do."""
    found, module = Counter(), ""
    for kind, name in re.findall(r"^:{3,}\{py:(\w+)\} ([\w.]+)", text, re.MULTILINE):
        module = name.removeprefix("groupcc_lite.") if kind == "module" else module
        found[module if kind == "module" else f"{module}.{name}"] += 1
    wanted = {f"{m}.{name}" for m in reference_pages.modules() for name in public_names(m)} | set(reference_pages.modules())
    return {name: found[name] for name in wanted | set(found) if found[name] != 1}


@pytest.fixture(scope="module")
def pages(root) -> str:
    """All pages of the reference that the book has, filled."""
    sections = next(chapter["sections"] for part in yaml.safe_load((root / "_toc.yml").read_text())["parts"]
                    for chapter in part["chapters"] if chapter["file"] == "book/api")
    return "\n".join(reference_pages.fill((root / f"{page['file']}.md").read_text(), page["file"]) for page in sections)


@pytest.fixture(scope="module")
def root():
    return reference_pages.PACKAGE.parent


def test_every_public_name_is_in_the_reference_once(pages):
    assert wrong_anchors(pages) == {}
    assert len(reference_pages.places()) > 600


def test_a_lost_name_a_lost_method_and_one_said_twice_are_seen(pages):
    lost = re.sub(r":::\{py:function\} cyclic\(", ":::{py:function} other(", pages)
    assert wrong_anchors(lost) == {"groups.cyclic": 0}
    lost = pages.replace("{py:method} FiniteGroup.index", "{py:method} FiniteGroup.place")
    assert wrong_anchors(lost) == {"groups.FiniteGroup.index": 0}
    assert wrong_anchors(f"{pages}\n{reference_pages.reference('progress')}") == {"progress": 2, "progress.progress_bar": 2}


def test_every_link_leads_to_a_place(pages):
    targets = re.findall(r"\{py:obj\}`[^`<]* <([^`>]*)>`", pages)
    assert len(targets) > 80 and set(targets) <= set(reference_pages.places().values())
    types = re.findall(r"(?<![`<\w.])groupcc_lite\.\w+\.\w+", re.sub(r"\{py:\w+\}`[^`]*`", "", pages))
    assert len(types) > 100 and set(types) <= set(reference_pages.places().values())


def entry(module: str, name: str) -> reference_pages.Entry:
    return next(part for e in reference_pages.entries(module) for part in e.all if part.name == name)


def test_signatures_are_as_the_source_has_them():
    assert entry("groups", "cyclic").signature == "(n: SupportsIndex) -> groupcc_lite.groups.finite.FiniteGroup"
    assert entry("groups", "FiniteGroup.power").signature == "(g: SupportsIndex, k: SupportsIndex) -> int"
    assert entry("symmetry", "act").signature == ('(D: Float[Tensor, "*m g d"], G: groupcc_lite.groups.finite.FiniteGroup, '
                                                  'h: int) -> Float[Tensor, "*m g d"]')
    assert "buffer: int=16_384" in entry("orbits", "OrbitStream").signature
    assert 'registration: str="image-centre"' in entry("orbits", "OrbitStream").signature
    load = entry("coders", "GroupCrosscoder.load")
    assert load.options == (("classmethod", ""),) and load.signature.startswith("(folder: str | Path, *, group:")
    assert entry("groups", "FiniteGroup.inverse").options == (("type", 'Int[np.ndarray, "g"]'),)
    assert entry("profiles", "Profile.lr").options == (("type", "float"), ("value", "2e-3"))
    assert entry("profiles", "Profile.lr").kind == "attribute" and entry("scoring", "SIMILAR").kind == "data"


@pytest.mark.parametrize("module, name, note", [
    ("profiles", "Profile", "Frozen dataclass with these fields:"),
    ("geometry", "Span", "Named tuple of these fields:"),
    ("coders", "SparseAutoencoder", "Subclass of `GroupCrosscoder`."), ("groups", "FiniteGroup", ""),
    ("orbits", "OrbitStore.batches", "As `OrbitSource.batches`."), ("style", "house_style", "Context manager."),
    ("training", "Trainable.loss", ""), ("orbits", "OrbitStore.rows", "")])
def test_what_a_definition_says_about_itself(module, name, note):
    assert entry(module, name).note == note


def test_names_in_prose_lead_to_their_places():
    def shown(module, doc, name="f", **more):
        return reference_pages._Links(module).prose(reference_pages.Entry("method", name, doc=doc, **more))

    link = "{py:obj}`FiniteGroup <groupcc_lite.groups.finite.FiniteGroup>`"
    assert shown("groups", "A `FiniteGroup`.") == f"A {link}." == shown("coders", "A `FiniteGroup`.")
    assert shown("groups", "A `FiniteGroup`.", arguments=frozenset({"FiniteGroup"})) == "A `FiniteGroup`."
    assert shown("groups", "As `index`.", "FiniteGroup.power") == (
        "As {py:obj}`index <groupcc_lite.groups.finite.FiniteGroup.index>`.")
    assert shown("groups", "As `index` and `dihedral(n)`.") == "As `index` and `dihedral(n)`."
    # A module's bare name is an ordinary word, but in the docstring of a module.
    assert shown("coders", "`symmetry`") == "`symmetry`"
    assert shown("coders", "`symmetry.act()`") == "{py:obj}`symmetry.act() <groupcc_lite.symmetry.block_action.act>`"
    assert "{py:obj}`plots <groupcc_lite.plots>`" in reference_pages.reference("pictures")
    handed_on = "also found here: {py:obj}`feature_grid <groupcc_lite.figures.grids.feature_grid>`"
    assert handed_on in reference_pages.reference("plots")


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
    seen = 0
    for module in reference_pages.modules():
        links = reference_pages._Links(module)
        docs = [e.doc for top in reference_pages.entries(module) for e in top.all if e.doc]
        for doc in [*docs, ast.get_docstring(ast.parse((reference_pages.PACKAGE / f"{module}.py").read_text()))]:
            prose = links.prose(reference_pages.Entry("module", "", doc=doc))
            shown = re.sub(r"\{py:obj\}`([^`<]*) <[^`]*>`", r"`\1`", prose)
            plain = re.sub(r"(?m)^- |`|(?<!\w)\*(?=\w[^*]*\w\*(?!\w))|(?<=\w)\*(?!\w)", "", doc)
            assert re.sub("`", "", through_markdown(shown)) == " ".join(plain.split())
            seen += 1
    assert seen > 500


def test_fill_puts_modules_in_their_place_and_names_unknown_ones():
    page = "# T\n\n<!-- reference: progress words -->\n\n<!-- a note -->\n"
    filled = reference_pages.fill(page, "book/x.md")
    assert filled == (f"# T\n\n{reference_pages.reference('progress')}\n\n{reference_pages.reference('words')}\n\n"
                      "<!-- a note -->\n")
    with pytest.raises(ValueError, match="book/x.md asks for the reference of actors, which groupcc_lite does not"):
        reference_pages.fill("<!-- reference: words actors -->", "book/x.md")
    with pytest.raises(ValueError, match="no module 'actors'; there are __main__, actions"):
        reference_pages.entries("actors")


def test_the_overview_links_modules_and_their_names_and_other_tables_stay():
    table = "| Module | For |\n| --- | --- |\n| `words`, `irreps` | `find_irreps`, `other`, `cyclic` |\n"
    assert reference_pages.fill(table, "p").splitlines()[2] == (
        "| {py:obj}`words <groupcc_lite.words>`, {py:obj}`irreps <groupcc_lite.irreps>` | "
        "{py:obj}`find_irreps <groupcc_lite.groups.irreps.find_irreps>`, `other`, `cyclic` |")
    other = table.replace("Module", "Profile")
    assert reference_pages.fill(other, "p") == other


def test_values_with_quotes_survive_the_options():
    entry = reference_pages.Entry("data", "X", options=(("value", "\"it's\""),))
    made = reference_pages._directive(entry, reference_pages._Links("words"))
    assert made == ":::{py:data} X\n:value: '\"it''s\"'\n\n:::"
    assert yaml.safe_load(made.splitlines()[1].removeprefix(":value: ")) == "\"it's\""
