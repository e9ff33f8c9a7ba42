"""The reference of the library: signatures and docstrings, read from the sources by griffe, which imports nothing.

A page holds a line such as `<!-- reference: groups actions -->`. Assembling the book puts these packages in its place:
each name of their `__all__` once, under the package's name, as directives of Sphinx's Python domain, which gives it an
anchor and links types to their definitions. A docstring is prose with code between backticks: a name there becomes a
link, whatever else Markdown would take for markup is escaped, and an example after `>>>` is shown as code.

griffe keeps the quoted shapes of jaxtyping, `Float[Tensor, "b d"]`, which autodoc and sphinx-autodoc2 lose. It writes
numbers as Python does, 16384 for 16_384; that is all that is lost.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import griffe

LIBRARY = "groupcc_lite"
ROOT = Path(__file__).parents[1]
MARKER = re.compile(r"^<!-- reference: ([a-z_ ]+) -->$", re.MULTILINE)
OVERVIEW = re.compile(r"^\| Package \|.*\n(?:\|.*\n)+", re.MULTILINE)
OPERATORS = re.compile(r"(?<!\w)(\*\w[^*]*\w\*)(?!\w)|([\\*_<>\[\]{}$#~|])|^( *)([-+=](?= )|\d+(?=[.)] ))",
                       re.MULTILINE)
"""What Markdown reads as markup: *emphasis*, which is meant, and what is not, also at the start of a line."""
SILENT_BASES = {"NamedTuple", "Protocol", "ABC"}
"""Base classes that say how a class is made and not what it is."""


@functools.cache
def library() -> griffe.Module:
    """The library as griffe reads it."""
    return griffe.load(LIBRARY, search_paths=[ROOT], try_relative_path=False, allow_inspection=False,
                       resolve_aliases=True)


def packages() -> list[str]:
    """Names of the library's packages."""
    return sorted(name for name, part in library().modules.items() if part.is_init_module)


def package(name: str) -> griffe.Module:
    """One package, or the library itself by its name. ValueError for one that does not exist."""
    if name == LIBRARY:
        return library()
    if name not in packages():
        raise ValueError(f"{LIBRARY} has no package {name!r}; there are {', '.join(packages())}")
    return library()[name]


def public_names(name: str) -> list[str]:
    """The names in a package's `__all__`."""
    return [str(exported) for exported in package(name).exports or ()]


def own_names(name: str) -> list[str]:
    """Those of a package's public names that it defines and says something about; none of the library itself."""
    if name == LIBRARY:
        return []
    found = {public: defined(name, public) for public in public_names(name)}
    return [public for public, definition in found.items()
            if definition is not None and definition.path.startswith(f"{LIBRARY}.{name}.")
            and (definition.docstring or not definition.is_attribute)]


def defined(name: str, public: str) -> griffe.Object | None:
    """The definition behind a public name of a package; None for one of several constants in one assignment."""
    found = package(name)[public]
    try:
        found = found.final_target if found.is_alias else found
    except griffe.AliasResolutionError:
        return None
    return found[public] if found.is_module else found  # a function in a module of the same name


def all_definitions() -> Iterator[tuple[str, griffe.Object]]:
    """Everything in the reference, with the place where it stands: packages, their names, and the members of these."""
    for name in packages():
        yield f"{LIBRARY}.{name}", package(name)
        for public in own_names(name):
            definition = defined(name, public)
            yield f"{LIBRARY}.{name}.{public}", definition
            for member in _members(definition):
                yield f"{LIBRARY}.{name}.{public}.{member.name}", member


@functools.cache
def places() -> Mapping[str, str]:
    """Where everything in the reference stands, by each path under which Python knows it."""
    return {path: place for place, definition in all_definitions() for path in (place, definition.path)}


def fill(text: str, page: str) -> str:
    """A page with its parts of the reference in place; ValueError for a package that does not exist."""
    def part(match: re.Match[str]) -> str:
        unknown = sorted(set(match[1].split()) - {LIBRARY, *packages()})
        if unknown:
            raise ValueError(f"{page} asks for the reference of {', '.join(unknown)}, which {LIBRARY} does not have; "
                             f"its packages are {', '.join(packages())}")
        return "\n\n".join(reference(name) for name in match[1].split())

    return OVERVIEW.sub(lambda table: "".join(map(_linked_row, table[0].splitlines(keepends=True))),
                        MARKER.sub(part, text))


def _linked_row(row: str) -> str:
    """A row of the table of packages: code in it is a package, or a name in one of the packages of its first cell."""
    named = re.findall(r"`(\w+)`", row.split("|")[1])

    def link(code: re.Match[str]) -> str:
        candidates = [f"{LIBRARY}.{code[1]}", *(f"{LIBRARY}.{name}.{code[1]}" for name in named)]
        found = [places()[path] for path in candidates if path in places()]
        return f"{{py:obj}}`{code[1]} <{found[0]}>`" if found else code[0]

    return re.sub(r"`([^`]+)`", link, row)


def reference(name: str) -> str:
    """The section of one package, in MyST Markdown."""
    inside = package(name)
    parts = [f"## {markdown(name)}", f":::{{py:module}} {inside.path}\n:::", prose(inside)]
    handed_on = [public for public in public_names(name) if (found := defined(name, public)) is not None
                 and found.path in places() and public not in own_names(name)]
    if handed_on:
        links = ", ".join(_code(public, inside) for public in handed_on)
        parts.append(f"{'From' if name == LIBRARY else 'From other'} packages, and also found here: {links}.")
    return "\n\n".join([*parts, *(_directive(defined(name, public), public) for public in own_names(name))])


# ------------------------------------------------------------------------------------------------ one definition

def _directive(definition: griffe.Object, name: str) -> str:
    """A definition as `name`, with its members."""
    entry = _entry(definition)
    members = [_directive(member, f"{name}.{member.name}") for member in _members(definition)]
    fence = ":" * (4 if members else 3)
    options = [f":{key}: " + "'" + value.replace("'", "''") + "'" if value else f":{key}:"
               for key, value in entry.options.items()]
    # Without the module: its directive has said it once for all.
    head = "\n".join([f"{fence}{{py:{entry.kind}}} {name}{entry.signature}", *options])
    return "\n\n".join([head, *filter(None, [prose(definition, entry.note), *members]), fence])


@dataclass(frozen=True)
class Entry:
    """What a directive says besides the docstring."""

    kind: str
    """Directive of Sphinx's Python domain: function, class, data, method, property or attribute."""
    signature: str
    """What follows the name: arguments, and what is returned."""
    options: Mapping[str, str]
    """Options of the directive."""
    note: str = ""
    """What a definition says about itself beside its docstring, such as "Named tuple of these fields:"."""


def _entry(definition: griffe.Object) -> Entry:
    inside_class = definition.parent is not None and definition.parent.is_class
    if definition.is_class:
        start = definition.members.get("__init__") if not _is_record(definition) else None
        return Entry("class", f"({_arguments(start)})" if start else "", {}, _class_note(definition))
    if definition.is_function:
        options = {mark: "" for mark in ("classmethod", "staticmethod") if mark in definition.labels}
        returns = f" -> {_annotation(definition.returns)}" if definition.returns else ""
        return Entry("method" if inside_class else "function", f"({_arguments(definition)}){returns}", options,
                     _function_note(definition))
    kind = "property" if "property" in definition.labels else "attribute" if inside_class else "data"
    value = str(definition.value) if definition.value is not None and kind != "property" else ""
    short = value if len(value) <= 60 and "\n" not in value else ""
    options = {"type": _annotation(definition.annotation) if definition.annotation else "", "value": short}
    return Entry(kind, "", {key: text for key, text in options.items() if text})


def _is_record(definition: griffe.Class) -> bool:
    return "dataclass" in definition.labels or "NamedTuple" in map(str, definition.bases)


def _class_note(definition: griffe.Class) -> str:
    bases = [str(base) for base in definition.bases if str(base) not in SILENT_BASES]
    if "dataclass" in definition.labels:
        frozen = any("frozen=True" in str(mark.value) for mark in definition.decorators)
        return f"{'Frozen dataclass' if frozen else 'Dataclass'} with these fields:"
    if _is_record(definition):
        return "Named tuple of these fields:"
    return f"Subclass of {', '.join(f'`{base}`' for base in bases)}." if bases else ""


def _function_note(definition: griffe.Function) -> str:
    if any(str(mark.value).endswith("contextmanager") for mark in definition.decorators):
        return "Context manager."
    if not definition.docstring and definition.parent.is_class and definition.parent.bases:
        return f"As `{definition.parent.bases[0]}.{definition.name}`."
    return ""


def _members(definition: griffe.Object) -> list[griffe.Object]:
    """The public methods, properties and fields that a class writes down itself; none for anything else.

    griffe also lists what `__init__` assigns to `self`; the reference has only what stands in the class.
    """
    if not definition.is_class:
        return []
    inside = [range(m.lineno, m.endlineno + 1) for m in definition.functions.values() if m.lineno and m.endlineno]
    return [member for name, member in definition.members.items()
            if not name.startswith("_") and (member.is_function or "property" in member.labels
                                             or not any(member.lineno in lines for lines in inside))]


def _arguments(function: griffe.Function) -> str:
    """What stands between the brackets, without the first argument where Python fills it in."""
    bound = function.parent.is_class and "staticmethod" not in function.labels
    listed = list(function.parameters)[1 if bound else 0:]
    shown, starred = [], False
    for position, parameter in enumerate(listed):
        kind = parameter.kind
        if kind is griffe.ParameterKind.keyword_only and not starred:
            shown.append("*")
        starred |= kind in (griffe.ParameterKind.keyword_only, griffe.ParameterKind.var_positional)
        shown.append(_argument(parameter))
        following = listed[position + 1].kind if position + 1 < len(listed) else None
        if kind is griffe.ParameterKind.positional_only and following is not kind:
            shown.append("/")
    return ", ".join(shown)


def _argument(parameter: griffe.Parameter) -> str:
    stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(parameter.kind, "")
    kind = f": {_annotation(parameter.annotation)}" if parameter.annotation else ""
    # griffe gives *args and **kwargs the empty tuple and dictionary that they stand for.
    default = f"={parameter.default}" if parameter.default is not None and not stars else ""
    return f"{stars}{parameter.name}{kind}{default}"


def _annotation(expression: Any) -> str:
    """As the source has it, but with the full names of the library's own types, which the domain shortens again."""
    if isinstance(expression, str):
        return expression
    pieces = []
    for piece in expression.iterate(flat=True):
        place = places().get(piece.canonical_path) if isinstance(piece, griffe.ExprName) else None
        while place and pieces[-1:] == ["."]:  # after the name of its module
            del pieces[-2:]
        text = piece.name if isinstance(piece, griffe.ExprName) else str(piece)
        shape = re.fullmatch(r"'(.*)'", text)  # jaxtyping's ' g' has its blank for linters
        pieces.append(place or (f'"{shape[1].strip()}"' if shape else text))
    return "".join(pieces)


# ------------------------------------------------------------------------------------------------------- prose

def prose(definition: griffe.Object, note: str = "") -> str:
    """The docstring and the note of a definition as MyST Markdown. Indented blocks are code and stay as they are."""
    doc = definition.docstring.value if definition.docstring else ""
    blocks = [_block(block, definition) for block in doc.split("\n\n") if block.strip()]
    return "\n\n".join(blocks + ([_text(note, definition)] if note else []))


def _block(block: str, definition: griffe.Object) -> str:
    if block.startswith("    "):
        return block
    text, sign, example = f"\n{block}".partition("\n>>> ")
    shown = _text(text.strip("\n"), definition)
    return "\n\n".join(filter(None, [shown, f"```pycon\n>>> {example}\n```" if sign else ""]))


def _text(text: str, definition: griffe.Object) -> str:
    pieces = text.split("`")
    return "".join(_code(piece, definition) if k % 2 else markdown(piece) for k, piece in enumerate(pieces))


def _code(text: str, definition: griffe.Object) -> str:
    """A piece of code, linked if it is a name of the library and no argument of the definition that speaks of it."""
    place = None if text in _argument_names(definition) else _place(text.removesuffix("()"), definition)
    return f"{{py:obj}}`{text} <{place}>`" if place else f"`{text}`"


def _argument_names(definition: griffe.Object) -> set[str]:
    if definition.is_function:
        return {parameter.name for parameter in definition.parameters}
    if definition.is_class:
        return {parameter.name for parameter in definition.parameters} | {
            member.name for member in _members(definition) if member.is_attribute}
    return set()


def _place(name: str, definition: griffe.Object) -> str | None:
    """Where the reference has what `name` means inside a definition; None for anything else."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
        return None
    first, *rest = name.split(".")
    owner = definition if definition.is_class else definition.parent
    candidates = [f"{owner.path}.{name}"] if owner is not None else []
    try:
        candidates.append(".".join([definition.resolve(first), *rest]))
    except griffe.NameResolutionError:
        candidates.append("")
    # Alone, the name of a package is mostly an ordinary word, such as models.
    if rest or definition.is_module:
        candidates.append(f"{LIBRARY}.{name}")
    found = (places().get(path) for path in candidates)
    return next((place for place in found if place and (rest or definition.is_module or place.count(".") > 1)), None)


def markdown(text: str) -> str:
    """Plain text as Markdown that shows it unchanged; list items after "- " and *emphasis* stay what they are."""
    def escaped(match: re.Match[str]) -> str:
        emphasis, sign, indent, start = match.groups()
        if emphasis or start == "-":
            return match[0]
        return f"\\{sign}" if sign else f"{indent}\\{start}" if not start.isdigit() else f"{indent}{start}\\"

    return OPERATORS.sub(escaped, text)
