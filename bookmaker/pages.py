"""The parts of the book's pages that are made from results: replication table, reproducibility, run times, badges.

A prose page holds a line such as `<!-- generated: replication -->`; assembling the book puts a table in its place.
Every number comes from a chapter's report, and a number that no report holds is shown as "not measured".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookmaker.replication import MISSING, overview, show, table
from groupcc_lite.base import minutes, read_json
from groupcc_lite.runs import get_profile

MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
UNBROKEN = "\u00a0"
"""A space at which no line ends."""


@dataclass(frozen=True)
class Results:
    """Reports and executed notebooks that the generated parts are made from."""

    profile: str
    """The profile that the book is built with."""
    here: dict[str, dict[str, Any]]
    """Reports of this run, by chapter."""
    reference: dict[str, dict[str, Any]]
    """Published reports of the run on InceptionV1, by chapter."""
    notebooks: dict[str, Any]
    """Executed notebooks, by chapter."""
    claims: list[dict[str, Any]]
    benchmarks: dict[str, Any] | None = None
    """What `make bench` measured, by subject, each with its provenance; or None."""

    @property
    def model(self) -> str:
        """Name of the base model of this run."""
        return get_profile(self.profile).model


def read_reports(folder: Path) -> dict[str, dict[str, Any]]:
    """All chapter reports in a folder, by chapter."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("[0-9][0-9]_*.json"))}


def replication(results: Results) -> str:
    """Every claim of both papers, with verdicts, tests and numbers of both runs."""
    runs = (f"*This run*: profile `{results.profile}` on the model `{results.model}`, and chapters 11 to 13 on their "
            "own small networks. *InceptionV1* and *Reference run*: the published run. Its InceptionV1 is the BVLC "
            "training of that architecture; the paper's is another one, whose weights Lucent downloads.")
    return f"{runs}\n\n{overview(results.claims, results.here, results.reference)}"


def reproducibility(results: Results) -> str:
    """For both runs: commit, date, seed, data and weights by chapter, then versions and hardware."""
    parts = []
    for title, reports in ((f"This run: profile `{results.profile}`, model `{results.model}`", results.here),
                           ("Reference run on InceptionV1", results.reference)):
        parts.append(f"## {title}")
        if not reports:
            parts.append("No chapter has left a report yet.")
            continue
        facts = {chapter: report["provenance"] for chapter, report in reports.items()}
        parts += _common_and_table({chapter: _origin(f) for chapter, f in facts.items()})
        parts += _by_chapter("Hardware", {chapter: str(f["hardware"]) for chapter, f in facts.items()})
        parts += _by_chapter("Versions", {chapter: _versions(f) for chapter, f in facts.items()})
    return "\n\n".join(parts)


def run_times(results: Results) -> str:
    """How long every chapter took, from papermill's record in the executed notebooks."""
    rows, total = [], 0.0
    for chapter, notebook in results.notebooks.items():
        seconds = duration(notebook)
        total += seconds
        cells = [cell.metadata.get("papermill", {}).get("duration") or 0.0 for cell in notebook.cells]
        began = notebook.metadata["papermill"]["start_time"][:10]
        told = [text.replace(" ", UNBROKEN) for text in (minutes(seconds), minutes(max(cells, default=0.0)))]
        rows.append([f"{{doc}}`../notebooks/{chapter}`", *told, began])
    if not rows:
        return "No chapter has been run yet."
    return "\n\n".join([f"Profile `{results.profile}`, {minutes(total)} in all.",
                        table(["Chapter", "Time", "Its longest cell", "Run on"], rows)])


def benchmarks(results: Results) -> str:
    """What `make bench` measured: speeds and memory, each beside what it is compared with."""
    if results.benchmarks is None:
        return "Not measured yet: `make bench` does it."
    parts = []
    for subject, measured in results.benchmarks.items():
        facts = measured["provenance"]
        rows = [[name, show({"value": value})] for name, value in measured["results"].items()]
        parts += [f"## {subject.capitalize()}", table(["Quantity", "Measured"], rows),
                  f"Measured on {facts['hardware']}, commit {_short(facts['commit'])}, {facts['date'][:10]}."]
    return "\n\n".join(parts)


def badge(notebook: Any, profile: str, seed: int, facts: Mapping[str, Any]) -> str:
    """The box under a chapter's title that says what the reader is looking at; `facts` are its report's provenance."""
    model, group = facts.get("model"), facts.get("group")
    said = [f" on the base model **{model}**" if model else "", f" with the group {group}" if group else ""]
    what = "".join(said)
    return (f":::{{admonition}} What this page shows\n:class: note run-badge\n"
            f"A run with profile **{profile}**, seed {seed}{',' if what else ''}{what}. "
            f"It took {minutes(duration(notebook))}. {{ref}}`What a profile is <profiles>`.\n:::")


def duration(notebook: Any) -> float:
    """Seconds that papermill measured for a notebook."""
    return float(notebook.metadata["papermill"]["duration"])


GENERATED: dict[str, Callable[[Results], str]] = {
    "replication": replication, "reproducibility": reproducibility, "run-times": run_times,
    "benchmarks": benchmarks}


def fill(text: str, results: Results, page: str) -> str:
    """A page with its generated parts in place; ValueError for a part that nobody makes."""
    def part(match: re.Match[str]) -> str:
        if match[1] not in GENERATED:
            raise ValueError(f"{page} asks for the generated part {match[1]!r}; there are {', '.join(GENERATED)}")
        return GENERATED[match[1]](results)

    return MARKER.sub(part, text)


def _origin(facts: dict[str, Any]) -> dict[str, str]:
    """What a report says of where its numbers come from, for people."""
    return {"Commit": _short(facts["commit"]), "Seed": str(facts.get("seed", "none")),
            "Model": _short(facts.get("model_fingerprint")), "Images": _short(facts.get("images_sha256")),
            "Date": facts["date"][:10],
            "Peak memory": f"{facts['peak_memory_gib']} GiB" if facts.get("peak_memory_gib") else MISSING}


def _common_and_table(rows: dict[str, dict[str, str]]) -> list[str]:
    """A sentence for the columns in which all rows agree, and a table of the others: narrow enough for a page."""
    first = next(iter(rows.values()))
    common = [c for c in first if len(rows) > 1 and len({row[c] for row in rows.values()}) == 1]
    varied = [c for c in first if c not in common]
    sentence = "All chapters: " + ", ".join(f"{c.lower()} {first[c]}" for c in common) + "."
    body = table(["Chapter", *varied], [[chapter, *(row[c] for c in varied)] for chapter, row in rows.items()])
    return [sentence, body] if common else [body]


def _by_chapter(what: str, said: dict[str, str]) -> list[str]:
    """A line for each thing said, with the numbers of the chapters that say it unless all do."""
    lines = []
    for text in dict.fromkeys(said.values()):
        numbers = [str(int(chapter[:2])) for chapter in said if said[chapter] == text]
        where = "" if len(numbers) == len(said) else f" (chapter{'s'[:len(numbers) > 1]} {', '.join(numbers)})"
        lines.append(f"{what}{where}: {text}.")
    return lines


def _short(value: str | None) -> str:
    """The start of a fingerprint, with whatever remark follows it; chapters that use no weights have none."""
    if not value:
        return "none"
    head, *rest = value.split(" ", 1)
    return " ".join([f"`{head[:8]}`", *rest])


def _versions(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
