"""The replication table: each claim of the papers, the tests written down for it, and what the numbers say of them.

Verdicts are computed. A test compares two numbers of a chapter's report, or one with a bar. Where they have intervals,
a test whose intervals overlap is *undecided*: neither won nor lost. A claim can have conditions without which it cannot
be tested, such as room for an improvement; where they fail, the verdict says so instead of counting ties.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
PAPERS = {"group crosscoders": "InceptionV1", "equivariant SAEs": "Reference run",
          "missing curve detectors": "InceptionV1", "SAE scaling on manifolds": "Reference run",
          "adversarial superposition": "Reference run"}
"""The papers that claims come from, and what the published run beside the reader's is called."""
FIELDS = {"id", "paper", "title", "section", "claim", "chapter", "numbers", "tests", "deviation"}
OPTIONAL = {"testable", "why", "failing"}
HOLDS, PARTLY, FAILS = "holds", "holds partly", "does not hold"
UNTESTABLE, ERRATUM, MISSING = "cannot be tested here", "erratum", "not measured"
PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
_SINCE = re.compile(r"([0-9a-f]{7} )?\d{4}-\d\d-\d\d")

Claim = Mapping[str, Any]


def read_claims(path: Path) -> list[dict[str, Any]]:
    """The papers' claims; ValueError for a claim with a missing, unknown or unusable field."""
    import yaml

    claims = yaml.safe_load(path.read_text())
    for claim in claims:
        problem = _problem(claim)
        if problem:
            raise ValueError(f"{path.name}: claim {claim.get('id')!r} {problem}")
    return claims


def _problem(claim: Claim) -> str | None:
    odd = sorted((claim.keys() ^ FIELDS) - OPTIONAL)
    if odd:
        return f"has missing or unknown fields: {', '.join(odd)}"
    if claim["paper"] not in PAPERS:
        return f"is of the paper {claim['paper']!r}; expected one of {', '.join(PAPERS)}"
    if ("testable" in claim) != ("why" in claim):
        return "has one of testable and why; expected both or neither"
    if claim.get("failing", ERRATUM) != ERRATUM:
        return f"has failing: {claim['failing']!r}; expected {ERRATUM!r} or nothing"
    for test in claim["tests"]:
        if (test.keys() != {"that", "since", "known"} or not _SINCE.fullmatch(str(test["since"]))
                or test["known"] not in ("before", "after")):
            return (f"has the test {dict(test)}; expected that, since (a date, with the commit before it if there is "
                    "one) and known (before or after: when the test was written, seen from the number)")
    for left, sign, right in [test["that"] for test in claim["tests"]] + claim.get("testable", []):
        if sign not in COMPARE or not {k for k in (left, right) if isinstance(k, str)} <= claim["numbers"].keys():
            return (f"cannot test {left} {sign} {right}; use one of {', '.join(COMPARE)} between numbers of the claim")
    return None


def outcome(test: Sequence[Any], numbers: Mapping[str, Any]) -> str:
    """What the numbers say of one comparison: passed, failed, undecided, or not measured.

    It is undecided if an interval around either side reaches the other, or has no width: one of a few equal values has
    not measured any spread. Words stand for missing numbers.
    """
    left, sign, right = test
    needed = [key for key in (left, right) if isinstance(key, str)]
    if any(key not in numbers or isinstance(numbers[key]["value"], str) or numbers[key]["value"] is None
           for key in needed):
        return MISSING
    (low, a, high), (below, b, above) = (_ends(side, numbers) for side in (left, right))
    if sign != "==" and (any(_without_width(numbers[key]) for key in needed) or (
            (low, high, below, above) != (a, a, b, b) and low <= above and below <= high)):
        return UNDECIDED
    return PASSED if COMPARE[sign](a, b) else FAILED


def _without_width(entry: Mapping[str, Any]) -> bool:
    """Whether a number has an interval that is a point."""
    return "interval" in entry and entry["interval"][0] == entry["interval"][1]


def _ends(side: Any, numbers: Mapping[str, Any]) -> tuple[float, float, float]:
    """Lower end, value and upper end of a number; without an interval they are one."""
    if not isinstance(side, str):
        return side, side, side
    entry = numbers[side]
    low, high = entry.get("interval", (entry["value"], entry["value"]))
    return low, entry["value"], high


def status(claim: Claim, report: Mapping[str, Any] | None) -> str:
    """The verdict on a claim.

    "holds" if all its tests pass; "holds partly" if some do, whatever becomes of the others; "does not hold" if none
    passes and one fails ("erratum" for a slip of the paper); "cannot be tested here" if no test is decided, or if a
    condition does not clearly hold; "not measured" if a number lacks.
    """
    numbers = (report or {}).get("numbers", {})
    tests = [outcome(test["that"], numbers) for test in claim["tests"]]
    conditions = [outcome(test, numbers) for test in claim.get("testable", [])]
    if not tests or MISSING in tests + conditions:
        return MISSING
    if set(conditions) - {PASSED} or set(tests) == {UNDECIDED}:
        return UNTESTABLE
    if PASSED in tests:
        return HOLDS if set(tests) == {PASSED} else PARTLY
    return claim.get("failing", FAILS)


def show(entry: Mapping[str, Any] | None) -> str:
    """A report's number as text: three significant digits, its interval, n and unit, or "not measured"."""
    if entry is None:
        return MISSING
    value = entry["value"]
    text = ", ".join(map(_digits, value)) if isinstance(value, list) else _digits(value)
    if "interval" in entry:
        text += " [" + ", ".join(map(_digits, entry["interval"])) + "]"
    text = f"{text} {entry.get('unit', '')}".strip()
    return f"{text} (n = {entry['n']:,})" if "n" in entry else text


def _digits(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if type(value) is int else str(value)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; bars and line breaks inside cells are made harmless."""
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ").strip() for c in cells) + " |"

    return "\n".join([line(header), "|" + " --- |" * len(header), *(line(row) for row in rows)])


def overview(claims: Sequence[Claim], here: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """Every claim of the papers: an overview each, then a section for each claim with its tests and numbers."""
    parts = []
    for paper, there in PAPERS.items():
        mine = [claim for claim in claims if claim["paper"] == paper]
        if mine:
            rows = [[f"[{claim['title']}](claim-{claim['id']})", *_verdicts(claim, here, reference)] for claim in mine]
            parts += [f"## {paper[0].upper() + paper[1:]}", table(["Claim", "This run", there], rows)]
            parts += [_section(claim, here, reference, there) for claim in mine]
    return "\n\n".join(parts)


def _verdicts(claim: Claim, *runs: Mapping[str, Any]) -> list[str]:
    return [status(claim, reports.get(claim["chapter"])) for reports in runs]


def _section(claim: Claim, here: Mapping[str, Any], reference: Mapping[str, Any], there: str) -> str:
    found = [(run.get(claim["chapter"]) or {}).get("numbers", {}) for run in (here, reference)]
    numbers = [[label, *(show(values.get(key)) for values in found)] for key, label in claim["numbers"].items()]
    tests = [[_in_words(test["that"], claim), f"{test['since']}, {test['known']}",
              *(outcome(test["that"], values) for values in found)] for test in claim["tests"]]
    tests += [["*testable only if* " + _in_words(test, claim), "", *(outcome(test, values) for values in found)]
              for test in claim.get("testable", [])]
    verdicts = [f"**{verdict}**" for verdict in _verdicts(claim, here, reference)]
    parts = [f"(claim-{claim['id']})=\n### {claim['title']}",
             f"**The paper ({claim['section']}).** {claim['claim'].strip()}",
             table(["", "This run", there], numbers),
             table(["Test", "Written", "This run", there], [*tests, ["**verdict**", "", *verdicts]])]
    if "why" in claim:
        parts.append(f"**Why it may be untestable.** {claim['why'].strip()}")
    return "\n\n".join([*parts, f"**How we differ.** {claim['deviation'].strip()} Measured in {{doc}}`chapter "
                                f"{int(claim['chapter'][:2])} <../notebooks/{claim['chapter']}>`."])


def _in_words(test: Sequence[Any], claim: Claim) -> str:
    """A comparison with the labels of its numbers."""
    signs = {"<=": "≤", ">=": "≥", "==": "=", "<": "<", ">": ">"}
    left, right = (claim["numbers"][side] if isinstance(side, str) else _digits(side) for side in (test[0], test[2]))
    return f"{left} {signs[test[1]]} {right}"
