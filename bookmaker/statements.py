"""What the prose says in words about a run, held against the numbers of that run's reports.

`book/statements.yml` lists passages of the prose. Each is either a *statement*, with the comparisons that make it true,
or a *setting*: a number that nobody measured, with what it is. A side of a comparison is a number, a key of the
chapter's report, or arithmetic with them such as "100 * tau_errors" or "max(fve_trained, high(fve_told))"; it is read
as a syntax tree, and never executed.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bookmaker.auditing import Problem
from bookmaker.replication import COMPARE

PROFILE = "book"
"""The profile whose run the chapters talk about; other profiles have other numbers."""
RUNS = (PROFILE, "inception")
STATEMENT, SETTING = {"chapter", "run", "says", "tests"}, {"chapter", "says", "setting"}
ROUNDS = "rounds to"
_SIGN = re.compile(rf" ({'|'.join((*COMPARE, ROUNDS))}) ")
_NAME = re.compile(r"(?<![\w.])[A-Za-z_][\w.]*")  # keys may hold dots: right_at_0.7
_ENDS = {"low": 0, "high": -1}
_CALLS: dict[str, Callable[..., float]] = {"min": min, "max": max, "abs": abs}
_SIGNS: dict[type, Callable[..., float]] = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
                                            ast.Div: operator.truediv, ast.USub: operator.neg}

Statement = Mapping[str, Any]
Numbers = Mapping[str, Mapping[str, Any]]


def read_statements(path: Path) -> list[dict[str, Any]]:
    """The passages that a file lists, each in one line; ValueError for a missing, unknown or unusable field."""
    import yaml

    found = yaml.safe_load(path.read_text())
    for entry in found:
        problem = _problem(entry)
        if problem:
            raise ValueError(f"{path.name}: {str(entry.get('says', entry))!r} {problem}")
    return [entry | {"says": " ".join(entry["says"].split())} for entry in found]


def _problem(entry: Statement) -> str | None:
    wanted = SETTING if "setting" in entry else STATEMENT
    odd = sorted((entry.keys() ^ wanted) - {"page"})
    if odd:
        return f"has missing or unknown fields: {', '.join(odd)}"
    if wanted is SETTING:
        return None
    if entry["run"] not in RUNS:
        return f"is about the run {entry['run']!r}; expected one of {', '.join(RUNS)}"
    if not entry["tests"]:
        return "has no test"
    return next(filter(None, (_unusable(test, entry["says"]) for test in entry["tests"])), None)


def _unusable(test: str, says: str) -> str | None:
    try:
        left, sign, right = _sides(test)
        for side in (left, right):
            _parsed(side)
    except ValueError as error:
        return str(error)
    if sign == ROUNDS and not re.search(rf"(?<![\w.]){re.escape(right)}(?!\w|\.\d)", says):
        return f"does not say {right}, to which {left} should round"
    return None


def _sides(test: str) -> tuple[str, str, str]:
    parts = _SIGN.split(str(test))
    if len(parts) != 3:
        raise ValueError(f"has the test {test!r}; expected two sides and one of {', '.join((*COMPARE, ROUNDS))}")
    return parts[0], parts[1], parts[2]


def _parsed(side: str) -> tuple[ast.expr, list[str]]:
    """The syntax tree of a side, in which `_0`, `_1`, ... stand for keys, and these keys; ValueError if it has more."""
    keys: list[str] = []

    def placeholder(found: re.Match[str]) -> str:
        if found[0] in _CALLS or found[0] in _ENDS:
            return found[0]
        keys.append(found[0])
        return f"_{len(keys) - 1}"

    try:
        tree = ast.parse(_NAME.sub(placeholder, side), mode="eval").body
    except SyntaxError:
        tree = None
    if tree is None or not _arithmetic(tree):
        raise ValueError(f"has the side {side!r}; expected keys of a report, numbers, + - * / and "
                         f"{', '.join((*_CALLS, *_ENDS))}")
    return tree, keys


def _arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return type(node.op) in _SIGNS and _arithmetic(node.left) and _arithmetic(node.right)
    if isinstance(node, ast.UnaryOp):
        return type(node.op) in _SIGNS and _arithmetic(node.operand)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args and not node.keywords:
        if node.func.id in _ENDS:
            return len(node.args) == 1 and _is_key(node.args[0])
        return node.func.id in _CALLS and all(map(_arithmetic, node.args))
    return _is_key(node) or isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_key(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id.startswith("_")


def value(side: str, numbers: Numbers) -> float:
    """The number that a side of a comparison means.

    LookupError if the report lacks a key or its interval, or has words there; ValueError for what is not arithmetic.

    >>> value("100 * (a_0.5 - low(b))", {"a_0.5": {"value": 0.5}, "b": {"value": 0.3, "interval": [0.25, 0.4]}})
    25.0
    """
    tree, keys = _parsed(side)
    return _evaluated(tree, keys, numbers)


def _evaluated(node: Any, keys: Sequence[str], numbers: Numbers) -> float:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _number(keys[int(node.id[1:])], numbers)
    if isinstance(node, ast.UnaryOp):
        return _SIGNS[type(node.op)](_evaluated(node.operand, keys, numbers))
    if isinstance(node, ast.BinOp):
        return _SIGNS[type(node.op)](*(_evaluated(side, keys, numbers) for side in (node.left, node.right)))
    if node.func.id in _ENDS:
        key = keys[int(node.args[0].id[1:])]
        _number(key, numbers)
        if "interval" not in numbers[key]:
            raise LookupError(f"{key} has no interval")
        return numbers[key]["interval"][_ENDS[node.func.id]]
    return _CALLS[node.func.id](*(_evaluated(side, keys, numbers) for side in node.args))


def _number(key: str, numbers: Numbers) -> float:
    if key not in numbers:
        raise LookupError(f"the report has no number {key}")
    found = numbers[key]["value"]
    if type(found) not in (int, float):
        raise LookupError(f"{key} is {found!r}, which is no number")
    return found


def failure(test: str, numbers: Numbers) -> str:
    """What is wrong with one comparison: "score is 0.21, expected > 0.333", or the number that lacks; "" if it holds.

    >>> failure("a rounds to 0.40", {"a": {"value": 0.404}})
    ''
    >>> failure("a > 1 / 3", {"a": {"value": 0.21}})
    'a is 0.21, expected > 1 / 3 (0.3333)'
    """
    left, sign, right = _sides(test)
    try:
        a, b = value(left, numbers), value(right, numbers)
    except LookupError as error:
        return str(error.args[0])
    if sign == ROUNDS:
        holds = f"{a:.{len(right.partition('.')[2])}f}" == right
    else:
        holds = COMPARE[sign](a, b)
    worth = "" if re.fullmatch(r"-?[\d.]+", right) else f" ({b:.4g})"
    return "" if holds else f"{left} is {a:.4g}, expected {sign} {right}{worth}"


def page_of(entry: Statement) -> str:
    """The page that a passage stands on, without ending: that of its chapter, or another one that is named."""
    return entry.get("page", f"notebooks/{entry['chapter']}")


def untrue(statements: Sequence[Statement], run: str, reports: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """The statements about a run that its reports, by chapter, do not bear out, each with what is wrong."""
    found = []
    for entry in statements:
        if entry.get("run") == run:
            numbers = reports.get(entry["chapter"], {}).get("numbers", {})
            wrong = "; ".join(filter(None, (failure(test, numbers) for test in entry["tests"])))
            found += [Problem(page_of(entry), f"the page says {entry['says']!r}, but {wrong}")] if wrong else []
    return found


def paragraphs(root: Path, page: str) -> list[str]:
    """The paragraphs of a page's prose, each in one line: the Markdown cells of a notebook, or a page in Markdown."""
    if not (root / f"{page}.py").is_file():
        texts = re.split(r"\n\s*\n", (root / f"{page}.md").read_text())
    else:
        cells = re.split(r"^# %%", (root / f"{page}.py").read_text(), flags=re.MULTILINE)
        prose = [cell.partition("\n")[2] for cell in cells if cell.partition("\n")[0].startswith(" [markdown]")]
        texts = [text for cell in prose for text in re.split(r"\n\s*\n", re.sub(r"^# ?", "", cell, flags=re.MULTILINE))]
    return [line for text in texts if (line := " ".join(text.split()))]


def misplaced(statements: Sequence[Statement], root: Path) -> list[Problem]:
    """Passages that their page does not say exactly once, within one paragraph."""
    found = []
    for entry in statements:
        times = sum(text.count(entry["says"]) for text in paragraphs(root, page_of(entry)))
        if times != 1:
            found.append(Problem(page_of(entry), f"says {entry['says']!r} {times} times; expected once"))
    return found
