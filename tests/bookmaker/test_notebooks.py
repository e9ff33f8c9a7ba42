"""The chapters: pairs in step, sound skeletons, and all of them run, built and checked with the smallest settings."""

import re
from pathlib import Path

import nbformat
import pytest
from built_book import SmokeBook, make_smoke_book

from bookmaker import build, execution, notebook_pairs, pages, replication

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = notebook_pairs.sources(ROOT)
PARAMETERS = {"profile": "book", "seed": 0, "images": None, "weights": None}
LONGEST_CELL = 20
WIDEST_CELL = 88  # columns; wider ones scroll on the page

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def twin(chapter: Path):
    return nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)


def undescribed_images(notebook) -> list[str]:
    """First lines of cells that show an image without caption or without alt text."""
    found = []
    for cell in notebook.cells:
        shows = any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {}))
        settings = cell.metadata.get("mystnb", {})
        described = settings.get("figure", {}).get("caption") and settings.get("image", {}).get("alt")
        if shows and not described:
            found.append(cell.source.splitlines()[0])
    return found


def test_the_toc_lists_every_chapter():
    listed = [page.removeprefix("notebooks/") for page in build.toc_pages(ROOT) if page.startswith("notebooks/")]
    assert listed == [path.stem for path in CHAPTERS]


def test_pairs_are_in_step():
    assert [str(path.relative_to(ROOT)) for path in notebook_pairs.sync(ROOT, check=True)] == [], "call `make sync`"


@each_chapter
def test_no_outputs_are_committed(chapter):
    assert [c for c in twin(chapter).cells if c.get("outputs") or c.get("execution_count")] == []


@each_chapter
def test_parameters_are_the_same_literals_everywhere(chapter):
    assert execution.declared_parameters(twin(chapter), chapter.name) == PARAMETERS


@each_chapter
def test_the_bootstrap_cell_is_the_generated_one(chapter):
    notebook = twin(chapter)
    assert notebook.cells[notebook_pairs.tagged(notebook, "bootstrap")].source == notebook_pairs.BOOTSTRAP


@each_chapter
def test_cells_are_short(chapter):
    hidden = {"hide-input", "bootstrap", "remove-input"}
    long = [cell.source.splitlines()[0] for cell in twin(chapter).cells
            if cell.cell_type == "code" and not hidden & set(notebook_pairs.tags(cell))
            and sum(bool(line.strip()) and not line.startswith(("import ", "from "))
                    for line in cell.source.splitlines()) > LONGEST_CELL]
    assert long == []


@each_chapter
def test_cells_are_narrow(chapter):
    wide = [line for cell in twin(chapter).cells
            if cell.cell_type == "code" and "bootstrap" not in notebook_pairs.tags(cell)
            for line in cell.source.splitlines() if len(line) > WIDEST_CELL]
    assert wide == []


@each_chapter
def test_no_figure_that_shows_the_images_of_a_run_is_recorded(chapter):
    """What a report records is published with the reference run, whose images are photographs of others."""
    recorded = [cell.source for cell in twin(chapter).cells if cell.cell_type == "code"
                and "report.figure(" in cell.source]
    assert [source for source in recorded if "points_on_image(" in source] == []


def test_no_photograph_is_published():
    """Chapter 0 shows cut-outs of its images: nothing of it may lie among the published figures."""
    figures = {path.name for path in (ROOT / "book" / "reference" / "00_idea").glob("*")}
    assert figures <= {"many.png"}


@each_chapter
def test_a_chapter_has_one_title_and_exercises_with_solutions(chapter):
    text = "\n".join(cell.source for cell in twin(chapter).cells if cell.cell_type == "markdown")
    assert sum(line.startswith("# ") for line in text.splitlines()) == 1
    exercises = re.findall(r"\{exercise\}[^\n]*\n:label: (\S+)", text)
    assert len(exercises) >= 2
    assert exercises == re.findall(r"\{solution(?:-start)?\} (\S+)", text)


@each_chapter
def test_figures_announced_by_their_metadata_are_complete(chapter):
    for cell in twin(chapter).cells:
        settings = cell.metadata.get("mystnb", {})
        if "figure" in settings or "image" in settings:
            assert settings.get("figure", {}).get("caption"), f"no caption: {cell.source[:60]!r}"
            assert settings.get("image", {}).get("alt"), f"no alt text: {cell.source[:60]!r}"


def test_undescribed_images_sees_a_bare_figure_and_a_half_described_one():
    output = nbformat.v4.new_output("display_data", data={"image/png": "AAAA"})
    bare = nbformat.v4.new_code_cell("bare", outputs=[output])
    half = nbformat.v4.new_code_cell("half", outputs=[output], metadata={"mystnb": {"figure": {"caption": "c"}}})
    good = nbformat.v4.new_code_cell("good", outputs=[output], metadata={
        "mystnb": {"figure": {"caption": "c"}, "image": {"alt": "a"}}})
    assert undescribed_images(nbformat.v4.new_notebook(cells=[bare, half, good])) == ["bare", "half"]


def unshown(numbers: dict, notebook, claimed: set[str]) -> list[str]:
    """Keys of a report's numbers that neither the chapter's page nor the replication table shows.

    A number is shown by its note: every table of a report has it. Ingredients of other numbers are marked internal.
    """
    text = "\n".join(part if isinstance(part, str) else "".join(part)
                     for cell in notebook.cells for output in cell.get("outputs", [])
                     for part in [output.get("text", ""), *(content for kind, content in output.get("data", {}).items()
                                                            if kind.startswith("text/"))])
    return [key for key, entry in numbers.items() if not entry.get("internal") and key not in claimed
            and (entry["note"] or key.replace("_", " ")) not in text]


def test_a_number_that_no_page_shows_is_found():
    table = nbformat.v4.new_output("display_data", data={"text/markdown": "| good news | 1 |\n| a b | 2 |"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[table])])
    numbers = {"good": dict(note="good news"), "bad": dict(note="bad news"), "a_b": dict(note=""),
               "claimed": dict(note="elsewhere"), "inner": dict(note="an ingredient", internal=True)}
    assert unshown(numbers, notebook, {"claimed"}) == ["bad"]


@pytest.fixture(scope="module")
def smoke_book(tmp_path_factory) -> SmokeBook:
    """The whole book made from nothing with the smallest settings: every chapter run, built strictly, and checked."""
    return make_smoke_book(tmp_path_factory)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestSmokeBook:
    def test_every_chapter_runs_and_every_page_is_sound(self, smoke_book):
        assert smoke_book.page.is_file()

    def test_every_figure_has_a_caption_and_a_description(self, smoke_book):
        folder = execution.executed_folder(smoke_book.root, "smoke")
        found = {path.stem: undescribed_images(nbformat.read(path, as_version=4)) for path in folder.glob("*.ipynb")}
        assert len(found) == len(CHAPTERS)
        assert {name: images for name, images in found.items() if images} == {}

    def test_every_chapter_leaves_a_report(self, smoke_book):
        reports = pages.read_reports(smoke_book.work / "reports" / "smoke")
        assert sorted(reports) == [path.stem for path in CHAPTERS]
        assert {report["profile"] for report in reports.values()} == {"smoke"}
        assert {report["provenance"]["seed"] for report in reports.values()} == {1}

    def test_every_number_of_the_replication_table_is_measured(self, smoke_book):
        reports = pages.read_reports(smoke_book.work / "reports" / "smoke")
        missing = [f"{claim['chapter']}: {key}" for claim in replication.read_claims(ROOT / "book" / "claims.yml")
                   for key in claim["numbers"] if key not in reports[claim["chapter"]]["numbers"]]
        assert missing == []

    def test_every_number_stands_on_a_page_or_is_internal(self, smoke_book):
        """Of this run's reports, and of the published ones that stand beside them."""
        claimed = {path.stem: {key for claim in replication.read_claims(ROOT / "book" / "claims.yml")
                          if claim["chapter"] == path.stem for key in claim["numbers"]} for path in CHAPTERS}
        folder, missing = execution.executed_folder(smoke_book.root, "smoke"), {}
        for where in (smoke_book.work / "reports" / "smoke", ROOT / "book" / "reference"):
            for name, report in pages.read_reports(where).items():
                page = nbformat.read(folder / f"{name}.ipynb", as_version=4)
                missing[f"{where.name}/{name}"] = unshown(report["numbers"], page, claimed[name])
        assert {name: keys for name, keys in missing.items() if keys} == {}


def uncovered(claims: list[dict], reports: dict[str, dict]) -> list[str]:
    """Numbers of the table that a reference run lacks. One of several commits is older than the table, and may."""
    commits = {report["provenance"]["commit"].split(" ", 1)[0] for report in reports.values()}
    if len(commits) != 1:
        return []
    return [f"{claim['chapter']}: {key}" for claim in claims for key in claim["numbers"]
            if key not in reports.get(claim["chapter"], {"numbers": {}})["numbers"]]


def test_a_whole_reference_run_must_cover_the_table():
    def report(commit, *keys):
        return {"provenance": {"commit": commit}, "numbers": dict.fromkeys(keys)}

    claims = [{"chapter": "03_training", "numbers": {"fve": "", "l0": ""}}]
    assert uncovered(claims, {"03_training": report("a", "fve", "l0")}) == []
    assert uncovered(claims, {"03_training": report("a", "fve")}) == ["03_training: l0"]
    assert uncovered(claims, {"02_orbits": report("a")}) == ["03_training: fve", "03_training: l0"]
    assert uncovered(claims, {"03_training": report("a", "fve"), "02_orbits": report("b")}) == []


def test_the_reference_reports_match_the_claims():
    claims = replication.read_claims(ROOT / "book" / "claims.yml")
    assert uncovered(claims, pages.read_reports(ROOT / "book" / "reference")) == []
