"""The API reference: signatures and docstrings of this package, read from its sources without importing them.

A page holds a line such as `<!-- reference: groups actions -->`. Assembling the book puts these modules in its place,
as directives of Sphinx's Python domain, which gives each name an anchor and links types to their definitions. A
docstring is prose with code between backticks: a name there becomes a link, and whatever else Markdown would take for
markup is escaped. sphinx-autodoc2 and autodoc take these docstrings for something else, and the former loses the quotes
of shapes such as `Float[Tensor, "b d"]`.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "groupcc_lite"
MARKER = re.compile(r"^<!-- reference: ([a-z_ ]+) -->$", re.MULTILINE)
OVERVIEW = re.compile(r"^\| Module \|.*\n(?:\|.*\n)+", re.MULTILINE)
OPERATORS = re.compile(r"(?<!\w)(\*\w[^*]*\w\*)(?!\w)|([\\*_<>\[\]{}$#~|])|^( *)([-+=](?= )|\d+(?=[.)] ))",
                       re.MULTILINE)
"""What Markdown reads as markup: *emphasis*, which is meant, and what is not, also at the start of a line."""


@dataclass(frozen=True)
class Entry:
    """One name of the reference."""

    kind: str
    """Directive of Sphinx's Python domain: function, class, data, method, property or attribute."""
    name: str
    """As seen from the module, such as "FiniteGroup.index"."""
    signature: str = ""
    """What follows the name: arguments, and what is returned."""
    options: tuple[tuple[str, str], ...] = ()
    """Options of the directive."""
    doc: str = ""
    note: str = ""
    """What a definition says about itself beside its docstring, such as "Named tuple."."""
    arguments: frozenset[str] = frozenset()
    """Names that mean an argument or a field inside the docstring, not something to link to."""
    members: tuple[Entry, ...] = ()

    @property
    def all(self) -> Iterator[Entry]:
        """This entry and its members."""
        yield self
        for member in self.members:
            yield from member.all


def modules() -> list[str]:
    """All modules of the package, by name."""
    return sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


@functools.cache
def entries(module: str) -> tuple[Entry, ...]:
    """Everything public that a module defines, in its order. ValueError for a module that does not exist.

    Public are functions and classes without an underscore in front, their methods and fields alike, and constants
    with a docstring below them.
    """
    return tuple(_entries(_tree(module).body, _Written(module), owner=""))


@functools.cache
def places() -> Mapping[str, str]:
    """The full name of everything in the reference, by module and name, such as "groups.cyclic"."""
    found = {module: f"groupcc_lite.{module}" for module in modules()}
    for module in modules():
        for entry in entries(module):
            found |= {f"{module}.{part.name}": f"groupcc_lite.{module}.{part.name}" for part in entry.all}
    return found


def fill(text: str, page: str) -> str:
    """A page with its parts of the reference in place; ValueError for a module that does not exist."""
    def part(match: re.Match[str]) -> str:
        unknown = sorted(set(match[1].split()) - set(modules()))
        if unknown:
            raise ValueError(f"{page} asks for the reference of {', '.join(unknown)}, which groupcc_lite does not "
                             f"have; its modules are {', '.join(modules())}")
        return "\n\n".join(reference(module) for module in match[1].split())

    return OVERVIEW.sub(lambda table: "".join(map(_linked_row, table[0].splitlines(keepends=True))),
                        MARKER.sub(part, text))


def _linked_row(row: str) -> str:
    """A row of the table of modules: code in it is a module, or a name in one of the modules of its first cell."""
    named = re.findall(r"`(\w+)`", row.split("|")[1])

    def link(code: re.Match[str]) -> str:
        found = [places()[c] for c in (code[1], *(f"{module}.{code[1]}" for module in named)) if c in places()]
        return f"{{py:obj}}`{code[1]} <{found[0]}>`" if found else code[0]

    return re.sub(r"`([^`]+)`", link, row)


def reference(module: str) -> str:
    """The section of one module, in MyST Markdown."""
    links = _Links(module)
    parts = [f"## {markdown(module)}", f":::{{py:module}} groupcc_lite.{module}\n:::",
             links.prose(Entry("module", "", doc=ast.get_docstring(_tree(module)) or ""))]
    handed_on = [name for name in _exported(module) if f"{module}.{name}" not in places()]
    if handed_on:
        parts.append("From other modules, and also found here: " + ", ".join(links.code(n) for n in handed_on) + ".")
    return "\n\n".join([*parts, *(_directive(entry, links) for entry in entries(module))])


def markdown(text: str) -> str:
    """Plain text as Markdown that shows it unchanged; list items after "- " and *emphasis* stay what they are."""
    def escaped(match: re.Match[str]) -> str:
        emphasis, sign, indent, start = match.groups()
        if emphasis or start == "-":
            return match[0]
        return f"\\{sign}" if sign else f"{indent}\\{start}" if not start.isdigit() else f"{indent}{start}\\"

    return OPERATORS.sub(escaped, text)


def _directive(entry: Entry, links: _Links) -> str:
    fence = ":" * (4 if entry.members else 3)
    options = [f":{key}: " + "'" + value.replace("'", "''") + "'" if value else f":{key}:"
               for key, value in entry.options]
    # Without the module: its directive has said it once for all.
    head = "\n".join([f"{fence}{{py:{entry.kind}}} {entry.name}{entry.signature}", *options])
    body = [links.prose(entry), *(_directive(member, links) for member in entry.members)]
    return "\n\n".join([head, *(part for part in body if part), fence])


# -------------------------------------------------------------------------------------- from source to entries

@functools.cache
def _tree(module: str) -> ast.Module:
    if not (PACKAGE / f"{module}.py").is_file():
        raise ValueError(f"groupcc_lite has no module {module!r}; there are {', '.join(modules())}")
    return ast.parse((PACKAGE / f"{module}.py").read_text())


def _entries(body: list[ast.stmt], written: _Written, owner: str) -> Iterator[Entry]:
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield _function(node, written, owner)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield _class(node, written, owner)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            doc = _string(following)
            if isinstance(target, ast.Name) and target.id[0] != "_" and (doc or owner):
                yield _variable(node, target.id, doc, written, owner)


def _function(node: ast.FunctionDef, written: _Written, owner: str) -> Entry:
    marks = {ast.unparse(mark).split(".")[-1] for mark in node.decorator_list}
    returns = written.annotation(node.returns)
    doc = ast.get_docstring(node) or ""
    if marks & {"property", "cached_property"}:
        return Entry("property", owner + node.name, options=(("type", returns),) if returns else (), doc=doc)
    known = tuple((mark, "") for mark in ("classmethod", "staticmethod") if mark in marks)
    signature = written.arguments(node.args, bound=bool(owner) and "staticmethod" not in marks)
    signature += f" -> {returns}" if returns else ""
    note = "Context manager." if "contextmanager" in marks else ""
    return Entry("method" if owner else "function", owner + node.name, signature, known, doc, note, _names(node.args))


def _class(node: ast.ClassDef, written: _Written, owner: str) -> Entry:
    marks = [ast.unparse(mark).split(".")[-1] for mark in node.decorator_list]
    bases = [ast.unparse(base) for base in node.bases]
    data = next((mark for mark in marks if mark.startswith("dataclass")), None)
    if data is not None:
        note = "Frozen dataclass with these fields:" if "frozen=True" in data else "Dataclass with these fields:"
    elif "NamedTuple" in bases:
        note = "Named tuple of these fields:"
    else:
        note = f"Subclass of {', '.join(f'`{base}`' for base in bases)}." if bases else ""
    members = tuple(_entries(node.body, written, f"{owner}{node.name}."))
    start = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    signature, arguments = (written.arguments(start.args, bound=True), _names(start.args)) if start else ("", set())
    members = tuple(_with_inherited(member, bases[0]) if bases and bases[0] in written.scope else member
                    for member in members)
    fields = {member.name.split(".")[-1] for member in members if member.kind == "attribute"}
    return Entry("class", owner + node.name, signature, (), ast.get_docstring(node) or "", note,
                 frozenset(arguments | fields), members)


def _with_inherited(member: Entry, base: str) -> Entry:
    """A method without a docstring does what the method of the same name does in the class above."""
    if member.doc or member.kind != "method":
        return member
    return replace(member, note=f"As `{base}.{member.name.split('.')[-1]}`.")


def _variable(node: ast.Assign | ast.AnnAssign, name: str, doc: str, written: _Written, owner: str) -> Entry:
    kind = written.annotation(node.annotation) if isinstance(node, ast.AnnAssign) else ""
    value = written.value(node.value) if node.value else ""
    short = value if len(value) <= 60 and "\n" not in value else ""
    options = tuple((key, text) for key, text in (("type", kind), ("value", short)) if text)
    return Entry("attribute" if owner else "data", owner + name, options=options, doc=doc)


def _string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return inspect.cleandoc(node.value.value)
    return ""


def _names(arguments: ast.arguments) -> frozenset[str]:
    return frozenset(node.arg for node in ast.walk(arguments) if isinstance(node, ast.arg))


def _exported(module: str) -> list[str]:
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def _classes(module: str) -> set[str]:
    return {node.name for node in _tree(module).body if isinstance(node, ast.ClassDef) and node.name[0] != "_"}


@functools.cache
def _scope(module: str) -> dict[str, str]:
    """What a name means inside a module, as far as it is the package's own: "groups.FiniteGroup" for FiniteGroup."""
    tree = _tree(module)
    scope = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("groupcc_lite"):
            inner = (node.module or "").removeprefix("groupcc_lite").removeprefix(".")
            scope |= {a.asname or a.name: f"{inner}.{a.name}".removeprefix(".") for a in node.names}
    own = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    own += [name.id for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)
            for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)]
    return scope | {name: f"{module}.{name}" for name in own}


class _Written(ast.NodeTransformer):
    """Expressions as the source has them: `ast.unparse` alone would write 16_384 as 16384."""

    def __init__(self, module: str):
        self.lines = (PACKAGE / f"{module}.py").read_bytes().splitlines()
        self.scope, self.types = _scope(module), False

    def annotation(self, node: ast.expr | None) -> str:
        """With the full names of the package's own types, which the domain shortens where it has linked them."""
        self.types = True
        text = self.value(node) if node else ""
        self.types = False
        return text

    def value(self, node: ast.expr) -> str:
        return ast.unparse(self.visit(copy.deepcopy(node)))

    def arguments(self, arguments: ast.arguments, *, bound: bool) -> str:
        """In brackets; `bound`: without the first one, which Python fills in."""
        arguments = copy.deepcopy(arguments)
        for argument in (node for node in ast.walk(arguments) if isinstance(node, ast.arg)):
            if argument.annotation:
                argument.annotation = ast.Name(self.annotation(argument.annotation))
        arguments.defaults = [ast.Name(self.value(node)) for node in arguments.defaults]
        arguments.kw_defaults = [node and ast.Name(self.value(node)) for node in arguments.kw_defaults]
        text = ast.unparse(arguments)
        return f"({re.sub(r'^(self|cls)(, )?', '', text) if bound else text})"

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if self.types and isinstance(node.value, str):  # jaxtyping's " g" has its blank for linters
            return ast.Name(f'"{node.value.strip()}"')
        if node.lineno != node.end_lineno:
            return node
        return ast.Name(self.lines[node.lineno - 1][node.col_offset:node.end_col_offset].decode())

    def visit_Name(self, node: ast.Name) -> ast.expr:
        module, _, name = self.scope.get(node.id, "").rpartition(".")
        return ast.Name(f"groupcc_lite.{module}.{name}") if self.types and module and name in _classes(module) else node


class _Links:
    """Docstrings of one module as MyST Markdown, where names of the package lead to their places."""

    def __init__(self, module: str):
        self.module, self.scope = module, _scope(module)

    def prose(self, entry: Entry) -> str:
        """The docstring and the note of an entry. Indented blocks are code and stay as they are."""
        blocks = entry.doc.split("\n\n") if entry.doc else []
        shown = [block if block.startswith("    ") else self._text(block, entry) for block in blocks]
        return "\n\n".join(shown + ([self._text(entry.note, entry)] if entry.note else []))

    def _text(self, text: str, entry: Entry) -> str:
        pieces = text.split("`")
        return "".join(self.code(piece, entry) if k % 2 else markdown(piece) for k, piece in enumerate(pieces))

    def code(self, text: str, entry: Entry | None = None) -> str:
        """A piece of code, linked if it is a name of the package and no argument of the entry that speaks of it."""
        place = None if entry and text in entry.arguments else self._place(text.removesuffix("()"), entry)
        return f"{{py:obj}}`{text} <{place}>`" if place else f"`{text}`"

    def _place(self, name: str, entry: Entry | None) -> str | None:
        first, *rest = name.split(".")
        owner = entry.name.rpartition(".")[0] if entry and "." in entry.name else entry.name if entry else ""
        candidates = [f"{self.module}.{owner}.{name}", ".".join([self.scope.get(first, "?"), *rest])]
        # Alone, the name of a module is mostly an ordinary word, such as images.
        if rest or (entry and entry.kind == "module"):
            candidates.append(name)
        return next((places()[c] for c in candidates if c in places()), None)
