"""The generated parts of the pages: verdicts from numbers, and nothing invented where a number is missing."""

import ast
import importlib
import re

import pytest
import yaml

from bookmaker import pages

CLAIM = dict(id="x", paper="group crosscoders", title="A title", section="section 1", claim="It is so.",
             chapter="03_training", numbers={"a": "the first", "b": "the second"},
             holds=[["a", ">", "b"], ["a", "<=", 1]], deviation="None.")


def report(**values) -> dict:
    return {"provenance": {"commit": "0123456789abcdef", "date": "2026-01-02T03:04:05+00:00", "hardware": "a machine",
                           "seed": 4, "versions": {"torch": "2.0"}, "model_fingerprint": "f" * 64,
                           "images_sha256": "e" * 64},
            "numbers": {key: {"value": value, "unit": "", "note": ""} for key, value in values.items()}}


def results(here=None, reference=None, claims=(CLAIM,)) -> pages.Results:
    return pages.Results("book", here or {}, reference or {}, {}, list(claims))


@pytest.mark.parametrize("values, expected", [
    (dict(a=0.9, b=0.1), "holds"), (dict(a=0.1, b=0.9), "holds partly"), (dict(a=2.0, b=0.1), "holds partly"),
    (dict(a=2.0, b=3.0), "does not hold"),
    (dict(a=0.9), "not measured"), (dict(a=0.9, b="no such pair"), "not measured"), ({}, "not measured")])
def test_status_follows_the_numbers(values, expected):
    assert pages.status(CLAIM, report(**values)) == expected


def test_status_without_a_report_or_a_test_is_not_measured():
    assert pages.status(CLAIM, None) == "not measured"
    assert pages.status(CLAIM | {"holds": []}, report(a=1, b=1)) == "not measured"


def test_replication_shows_both_runs_and_what_is_missing():
    text = pages.replication(results({"03_training": report(a=0.912345, b=0.1)}, {"03_training": report(a=0.25)}))
    assert "| the first | 0.912 | 0.25 |" in text
    assert "| the second | 0.1 | not measured |" in text
    assert "| **status** | **holds** | **not measured** |" in text
    assert "[A title](claim-x)" in text and "(claim-x)=" in text
    assert "## Group crosscoders" in text and "Equivariant" not in text


def test_each_paper_has_its_own_claims():
    other = CLAIM | {"id": "y", "title": "Another", "paper": "equivariant SAEs", "chapter": "11_one_matrix"}
    text = pages.replication(results(claims=(CLAIM, other)))
    first, second = text.split("## Equivariant SAEs")
    assert "claim-x" in first and "claim-y" not in first and "| Claim | This run | InceptionV1 |" in first
    assert "claim-y" in second and "claim-x" not in second and "| Claim | This run | Reference run |" in second


@pytest.mark.parametrize("value, unit, expected", [
    (0.123456, "", "0.123"), (1234.5, "s", "1,234 s"), (25000, "", "25,000"), ("yes", "", "yes"),
    ([0.5, 0.25], "", "0.5, 0.25"), (3, "px", "3 px"), (True, "", "True")])
def test_show(value, unit, expected):
    assert pages.show({"value": value, "unit": unit}) == expected


def test_reproducibility_lists_commit_seed_and_fingerprints():
    text = pages.reproducibility(results({"03_training": report()}))
    assert "| `01234567` | 4 | `ffffffff` | `eeeeeeee` | 2026-01-02 | not measured |" in text
    assert "Hardware: a machine." in text and "Versions: torch 2.0." in text
    assert text.count("No chapter has left a report yet.") == 1


def test_reproducibility_says_once_what_all_chapters_share():
    other = report()
    other["provenance"] |= {"commit": "fedcba9876543210", "peak_memory_gib": 2.5}
    text = pages.reproducibility(results({"03_training": report(), "04_heatmaps": other}))
    assert "All chapters: seed 4, model `ffffffff`, images `eeeeeeee`, date 2026-01-02." in text
    assert "| Chapter | Commit | Peak memory |" in text and "| 04_heatmaps | `fedcba98` | 2.5 GiB |" in text


def test_machines_are_told_apart_by_chapter():
    said = {"01_one": "a machine", "02_two": "another", "03_three": "a machine"}
    assert pages._by_chapter("Hardware", said) == ["Hardware (chapters 1, 3): a machine.",
                                                   "Hardware (chapter 2): another."]
    assert pages._by_chapter("Hardware", {"01_one": "a machine", "02_two": "a machine"}) == ["Hardware: a machine."]


def test_a_dirty_commit_stays_marked():
    assert pages._short("0123456789abcdef with uncommitted changes") == "`01234567` with uncommitted changes"
    assert pages._short(None) == "none"


def test_table_cells_cannot_break_the_table():
    assert pages.table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"


def test_fill_replaces_markers_and_names_unknown_ones():
    filled = pages.fill("# T\n\n<!-- generated: run-times -->\n\n<!-- a note -->\n", results(), "book/x.md")
    assert filled == "# T\n\nNo chapter has been run yet.\n\n<!-- a note -->\n"
    with pytest.raises(ValueError, match="book/x.md asks for the generated part 'tables'; there are replication"):
        pages.fill("<!-- generated: tables -->", results(), "book/x.md")


@pytest.mark.parametrize("change", [{"holds": [["a", "~", "b"]]}, {"holds": [["a", ">", "c"]]}, {"extra": 1},
                                    {"paper": "another"}])
def test_unusable_claims_are_errors(tmp_path, change):
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump([CLAIM | change]))
    with pytest.raises(ValueError, match="claims.yml: claim 'x'"):
        pages.read_claims(path)


def test_the_books_own_claims_can_be_read(root):
    claims = pages.read_claims(root / "book" / "claims.yml")
    assert len({claim["id"] for claim in claims}) == len(claims) >= 5
    for claim in claims:
        assert claim["holds"], f"claim {claim['id']} has no test"


@pytest.mark.parametrize("seconds, text", [
    (2.34, "2.3 s"), (48.4, "48 s"), (59.7, "1 min 0 s"), (200.0, "3 min 20 s"), (7300.0, "2 h 1 min")])
def test_minutes(seconds, text):
    assert pages.minutes(seconds) == text


def test_code_on_prose_pages_parses_and_imports_what_there_is(root):
    seen = 0
    for path in (root / "README.md", *sorted((root / "book").glob("*.md"))):
        for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom):
                    module = importlib.import_module(node.module)
                    assert [a.name for a in node.names if not hasattr(module, a.name)] == [], path.name
                    seen += 1
    assert seen > 10


def test_benchmarks_are_shown_by_subject_with_their_machine():
    measured = {subject: {"results": {f"{subject} / ours": value},
                          "provenance": {"hardware": machine, "commit": "abc", "date": "2026-01-02T03:04:05+00:00"}}
                for subject, value, machine in (("extraction", 3.14159, "a machine"), ("memory", 2.0, "another one"))}
    page = pages.benchmarks(pages.Results("book", {}, {}, {}, [], measured))
    first, second = page.split("## Memory")
    assert "## Extraction" in first and "| extraction / ours | 3.14 |" in first
    assert "Measured on a machine, commit `abc`, 2026-01-02." in first and "another" not in first
    assert "| memory / ours | 2 |" in second and "Measured on another one" in second
    assert "make bench" in pages.benchmarks(pages.Results("book", {}, {}, {}, []))
