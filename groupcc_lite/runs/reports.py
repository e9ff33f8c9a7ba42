"""What a chapter measured: numbers with provenance, and figures, as one JSON per chapter.

A notebook opens a report, hands it every number it states and every figure that may be shown again, and saves it. The
reports of the reference run on InceptionV1 are published to `book/reference/` and shown beside the reader's own run;
nothing in there is written by hand.
"""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groupcc_lite.base import (
    atomic_path,
    atomic_write,
    interval_of,
    provenance,
    read_json,
    repository_root,
    write_json,
)

# The reference run stands for the paper's network; both are trainings of its architecture.
REFERENCE_MODELS = ("googlenet", "inceptionv1")


IMAGE_NAMES = "images.txt"
"""Names of the photographs of a run, one a line, beside its reports: with them others can bring the same together."""


class Report:
    """Collects one chapter's numbers and figures; `save` writes them whole or not at all.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> report = Report(folder.name, "03_training", "book", seed=0)
    >>> report.number("fve", 0.8125, note="variance explained, held out")
    0.8125
    >>> read_json(report.save())["numbers"]["fve"]["value"]
    0.8125
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | Path, chapter: str, profile: str, *, image_names: Sequence[str] = (),
                 **facts: Any):
        self.folder, self.chapter, self.profile, self.facts = Path(folder), chapter, profile, facts
        self.image_names = tuple(image_names)
        self.numbers: dict[str, dict[str, Any]] = {}
        self.figures: list[dict[str, str]] = []
        self._began = time.perf_counter()

    def number(self, key: str, value: Any, unit: str = "", note: str = "", *, n: int | None = None,
               interval: tuple[float, float] | None = None, over: str = "", internal: bool = False) -> Any:
        """Record one number (or list, or word) under `key` and hand it back.

        `n` is how many features, pairs or images it is about, `interval` where it lies with 95 % confidence, `over`
        what that is taken over, such as "5 folds x 3 seeds". `internal` marks a number that no page shows, such as an
        ingredient of another; every other one must be shown somewhere.
        """
        if hasattr(value, "tolist"):
            value = value.tolist()
        entry = dict(value=value, unit="" if isinstance(value, str) else unit, note=note)
        entry |= {} if n is None else dict(n=int(n))
        if interval is not None and all(math.isfinite(end) for end in interval):  # too few values have none
            entry |= dict(interval=[float(end) for end in interval], over=over)
        self.numbers[key] = entry | (dict(internal=True) if internal else {})
        return value

    def mean(self, key: str, values: Iterable[Any], note: str, digits: int = 3, *, over: str = "seeds",
             internal: bool = False) -> str:
        """Record the mean of numbers, one for each seed, with its 95 % interval; returns a table's cell.

        NaN is left out. A single number has no interval, and of none the mean is None.

        >>> report = Report("somewhere", "03_training", "book")
        >>> report.mean("fve", [0.5, 0.7, float("nan")], "variance explained", digits=2)
        '0.60 ± 0.14'
        """
        flat = np.ravel([np.asarray(value, dtype=float) for value in values])
        numbers = flat[~np.isnan(flat)].tolist()
        self.number(key, statistics.fmean(numbers) if numbers else None, note=note, over=over, internal=internal,
                    interval=interval_of(numbers) if len(numbers) > 1 else None)
        return mean_spread(numbers, digits)

    def numbers_from(self, row: dict[str, Any], prefix: str = "", note: str = "") -> None:
        """Record several numbers at once, their keys prefixed."""
        for key, value in row.items():
            self.number(f"{prefix}{key}", value, note=note)

    def figure(self, key: str, figure: Any, *, caption: str = "", alt: str = "", dpi: int = 110) -> Any:
        """Keep a matplotlib figure that may be published, and hand it back; never one that shows a photograph."""
        name = f"{self.chapter}/{key}.png"
        with atomic_path(self.folder / name) as temporary:
            figure.savefig(temporary, dpi=dpi, bbox_inches="tight", format="png")
        self.figures.append(dict(file=name, caption=caption, alt=alt))
        return figure

    def save(self) -> Path:
        """Write `<chapter>.json` beside the figures' folder."""
        path = self.folder / f"{self.chapter}.json"
        facts = provenance(**self.facts, seconds=round(time.perf_counter() - self._began, 1))
        write_json(path, dict(chapter=self.chapter, profile=self.profile, provenance=facts, numbers=self.numbers,
                              figures=self.figures))
        if self.image_names:
            atomic_write(self.folder / IMAGE_NAMES, "".join(f"{name}\n" for name in self.image_names))
        return path

    def comparable(self) -> list[str]:
        """Keys of this run's numbers, then of those that only the published run has; internal ones are left out.

        Another group has other subgroups and other kinds of elements, so a run on it measures things of its own.
        """
        entries = dict(self.numbers)
        for key, entry in (reference(self.chapter) or {"numbers": {}})["numbers"].items():
            entries.setdefault(key, entry)
        return [key for key, entry in entries.items() if not entry.get("internal")]

    def compare(self, *keys: str, digits: int = 3) -> str:
        """Markdown table: this run beside the published run on InceptionV1; without keys, of all that is `comparable`.

        A row has both notes where these differ: "32 latents" here can be 2,048 there.
        """
        other = reference(self.chapter)
        published = other["numbers"] if other else {}
        model = (other or {}).get("provenance", {}).get("model")
        there = "InceptionV1 (reference run)" if model in REFERENCE_MODELS else "reference run"
        rows = [f"| quantity | this run (`{self.profile}`) | {there} |", "|---|---|---|"]
        for key in keys or self.comparable():
            here, there = self.numbers.get(key), published.get(key)
            labels = dict.fromkeys(entry["note"] for entry in (here, there) if entry and entry.get("note"))
            label = "; in the reference run: ".join(labels) or key.replace("_", " ")
            rows.append(f"| {label} | {_cell(here, digits)} | {_cell(there, digits)} |")
        return "\n".join(rows)


def reference(chapter: str, folder: str | Path | None = None) -> dict[str, Any] | None:
    """The published report of a chapter (book/reference), or None outside a checkout or before it was published."""
    root = Path(folder) if folder is not None else (repository_root() or Path()) / "book" / "reference"
    path = root / f"{chapter}.json"
    return read_json(path) if path.is_file() else None


def publish(source: str | Path, target: str | Path, *, force: bool = False) -> list[Path]:
    """Copy saved reports, the figures they list and the names of the images; returns the JSON files written.

    ValueError if there are none, or if they come from more than one commit, unless `force`: then no single state of the
    code stands for them.

    >>> publish("no such folder", "reference")
    Traceback (most recent call last):
    ValueError: no such folder holds no reports; run the chapters with this profile first
    """
    source, target = Path(source), Path(target)
    reports = sorted(source.glob("*.json"))
    if not reports:
        raise ValueError(f"{source} holds no reports; run the chapters with this profile first")
    contents = {path: read_json(path) for path in reports}
    commits = {path.stem: report["provenance"]["commit"].split(" ", 1)[0] for path, report in contents.items()}
    if len(set(commits.values())) > 1 and not force:
        listed = ", ".join(f"{chapter} {commit[:12]}" for chapter, commit in commits.items())
        raise ValueError(f"the reports in {source} come from several commits ({listed}); run the chapters again from "
                         "one commit, or publish them with --force")
    written = []
    for path, report in contents.items():
        for figure in report["figures"]:
            with atomic_path(target / figure["file"]) as temporary:
                shutil.copyfile(source / figure["file"], temporary)
        write_json(target / path.name, report)
        written.append(target / path.name)
    if (source / IMAGE_NAMES).is_file():
        with atomic_path(target / IMAGE_NAMES) as temporary:
            shutil.copyfile(source / IMAGE_NAMES, temporary)
    return written


def mean_spread(values: Iterable[float | None], digits: int = 2) -> str:
    """A table's cell: mean and standard deviation (n - 1) of the numbers among `values`; None and NaN are left out.

    A single number has no spread, and no number is a dash.

    >>> mean_spread([0.5, 0.7]), mean_spread([0.5, None]), mean_spread([float("nan")])
    ('0.60 ± 0.14', '0.50', '–')
    """
    numbers = [float(value) for value in values if value is not None and not math.isnan(value)]
    if not numbers:
        return "–"
    spread = f" ± {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
    return f"{statistics.fmean(numbers):.{digits}f}{spread}"


def table_by_column(numbers: Mapping[str, Mapping[str, Any]], keys: Iterable[str], columns: Sequence[str], *,
                    key: str = "{key}_{column}", first: str = "this run", digits: int = 3) -> str:
    """Markdown: a report's numbers with a row for each quantity and a column for each network, or other thing compared.

    The number of a row and a column is the one under `key`, that of the column `first` the one under the row's key
    alone. Rows are named by their notes; cells have interval and n where the numbers have them. Columns in which
    nothing was measured are left out, and so are rows; if none is left, one sentence says so.

    >>> numbers = {"auc": dict(value=0.71, unit="", note="area", n=9)}
    >>> numbers["auc_patches"] = dict(value=0.5, unit="", note="area")
    >>> print(table_by_column(numbers, ["auc", "other"], ["this run", "untrained", "patches"]))
    |  | this run | patches |
    |---|---|---|
    | area | 0.71, n = 9 | 0.5 |
    """
    def entry(row: str, column: str) -> Mapping[str, Any] | None:
        return numbers.get(row if column == first else key.format(key=row, column=column))

    rows = [row for row in keys if any(entry(row, column) for column in columns)]
    there = [column for column in columns if any(entry(row, column) for row in rows)]
    if not rows:
        return "Not measured yet."
    lines = [f"|  | {' | '.join(there)} |", "|---" * (1 + len(there)) + "|"]
    for row in rows:
        entries = [entry(row, column) for column in there]
        note = next(each["note"] for each in entries if each)
        cells = [_cell(each, digits) + (f", n = {each['n']}" if "n" in each else "") if each else "–"
                 for each in entries]
        lines.append(f"| {note} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(entry: Mapping[str, Any] | None, digits: int) -> str:
    if entry is None:
        return "not measured"
    value = entry["value"]
    if value is None or value != value:
        return "undefined"
    text = f"{value:.{digits}g}" if isinstance(value, float) else str(value)
    if "interval" in entry:
        low, high = entry["interval"]
        text += f" [{low:.{digits}g}, {high:.{digits}g}]"
    return f"{text} {entry['unit']}".strip()
