"""The generated parts of the pages: nothing is invented where a number is missing."""

import ast
import importlib
import re

import nbformat
import pytest

from bookmaker import pages

CLAIM = dict(id="x", paper="group crosscoders", title="A title", section="section 1", claim="It is so.",
             chapter="03_training", numbers={"a": "the first", "b": "the second"},
             tests=[{"that": ["a", ">", "b"], "since": "2026-11-20", "known": "before"}], deviation="None.")


def report(**values) -> dict:
    return {"provenance": {"commit": "0123456789abcdef", "date": "2026-01-02T03:04:05+00:00", "hardware": "a machine",
                           "seed": 4, "versions": {"torch": "2.0"}, "model_fingerprint": "f" * 64,
                           "images_sha256": "e" * 64},
            "numbers": {key: {"value": value, "unit": "", "note": ""} for key, value in values.items()}}


def results(here=None, reference=None, claims=(CLAIM,)) -> pages.Results:
    return pages.Results("book", here or {}, reference or {}, {}, list(claims))


def test_the_table_says_which_runs_it_shows():
    text = pages.replication(results({"03_training": report(a=0.912345, b=0.1)}, {"03_training": report(a=0.25)}))
    assert text.startswith("*This run*: profile `book` on the model `tiny-inception`") and "BVLC" in text
    assert "| the first | 0.912 | 0.25 |" in text


@pytest.mark.parametrize("facts, said", [
    (dict(model="a-net", group="D_8"), "seed 4, on the base model **a-net** with the group D_8. It took"),
    (dict(group="C_4"), "seed 4, with the group C_4. It took"), ({}, "seed 4. It took")])
def test_the_box_of_a_chapter_names_the_network_and_group_of_its_report_and_no_others(facts, said):
    notebook = nbformat.v4.new_notebook(metadata={"papermill": {"duration": 3.0}})
    assert said in pages.badge(notebook, "book", 4, facts)


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


@pytest.mark.parametrize("seconds, text", [
    (2.34, "2.3 s"), (48.4, "48 s"), (59.7, "1 min 0 s"), (200.0, "3 min 20 s"), (7300.0, "2 h 1 min")])
def test_minutes(seconds, text):
    assert pages.minutes(seconds) == text


def misnumbered(text: str) -> list[str]:
    """Links to a chapter whose words give it another number than its file's."""
    links = re.findall(r"\{doc\}`([^`<]*)<(?:\.\./notebooks/)?(\d\d)_\w+>`", text)
    links += re.findall(r"\[([^\]]*)\]\((?:\.\./)?notebooks/(\d\d)_", text)
    return [words for words, number in links
            if (said := re.findall(r"\b\d{1,2}\b", words)) and [int(n) for n in said] != [int(number)]]


def test_a_link_says_the_number_of_its_chapter(root):
    assert misnumbered("{doc}`chapter 8 <../notebooks/09_spectra>`, {doc}`9 <09_spectra>`") == ["chapter 8 "]
    assert misnumbered("[8. Spectra](notebooks/09_spectra.ipynb) [9. Spectra](notebooks/09_spectra.ipynb)") == [
        "8. Spectra"]
    pages = [root / "README.md", *(root / "book").glob("*.md"), *(root / "notebooks").glob("*.py")]
    found = {path.name: wrong for path in pages if (wrong := misnumbered(path.read_text()))}
    assert found == {}


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
