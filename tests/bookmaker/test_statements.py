"""What the prose says about a run is listed, stands where the list says, and is true of that run."""

import re
from pathlib import Path

import pytest
import yaml
from repository import ROOT
from tiny_book import make_tiny_book, pretend_run

from bookmaker import build, execution, pages, statements
from groupcc_lite.base import write_json

LISTED = ROOT / "book" / "statements.yml"
CHAPTERS = [f"notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("*.py"))]
OTHERS = [f"book/{path.stem}" for path in sorted((ROOT / "book").glob("*.md")) if path.stem != "changelog"]

ABOUT = re.compile(r"[Bb]ook's run(?!:$)")
INTRODUCES = re.compile(r"[Bb]ook's run:$")
PUBLISHED = re.compile(r"InceptionV1|GoogLeNet|[Rr]eference run|[Pp]ublished run")
PART = r"(half|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|ninths?|tenths?|hundredths?|thousandths?|per ?cent)"
AMOUNT = r"(an?|two|three|four|five|six|seven|eight|nine|some|few|than|about|under|by)"
QUANTITY = re.compile(
    r"(?<![\w.])\d+\.\d+(?![.\d]*[°\d])|\d ?%|\b\d+ of (the )?\d+\b|\bhalf (of|as)\b|\b\w+ times (as|more|less)\b"
    rf"|\w+fold\b|\b{AMOUNT} {PART}(?= of | in | at | as | or |[,.:;)]|$)", re.IGNORECASE)
COUNT = re.compile(r"\b(three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|most|(?<!a )few|"
                   r"hardly|nearly|twice|as many)\b", re.IGNORECASE)
NO_QUANTITY = re.compile(r"\b(one|other) half of|four quarters|by a (quarter|third)\b|(third|quarter|half) of a turn|"
                         r"95 % (interval|over)|([Ss]ections?|Definition) [\d.]+|\*\*Run time\*\*.*|[Mm]anifold\b")
NO_PROSE = re.compile(r"\$[^$]*\$|`[^`]*`|\{[^}]*\}")
SENTENCE = re.compile(r"\S.*?(?:[.:;?!][*)]*(?=\s+[-A-Z*$(`{])|$)")


def claims(paragraphs: list[str]) -> list[tuple[str, int, int]]:
    """The sentences of a chapter that state something measured, each as its paragraph, beginning and end.

    These are the sentences that name the book's run, all of a list that it introduces, and those with a quantity; after
    the run has been named, a paragraph's counts in words are quantities too.
    """
    found, introduced = [], False
    for text in paragraphs:
        about = introduced
        for match in SENTENCE.finditer(text):
            plain = NO_QUANTITY.sub("~", NO_PROSE.sub("~", match[0]))
            about = about or bool(ABOUT.search(plain))
            if introduced or ABOUT.search(plain) or QUANTITY.search(plain) or about and COUNT.search(plain):
                found.append((text, match.start(), match.end()))
        introduced = bool(INTRODUCES.search(text))
    return found


def unlisted(paragraphs: list[str], passages: list[str]) -> list[str]:
    """Sentences of a chapter that state something measured and share no word with any of the passages."""
    return [text[start:end] for text, start, end in claims(paragraphs)
            if not any(match.start() < end and start < match.end()
                       for passage in passages for match in re.finditer(re.escape(passage), text))]


def passages_on(page: str) -> list[str]:
    return [entry["says"] for entry in statements.read_statements(LISTED) if statements.page_of(entry) == page]


# ---------------------------------------------------------------------------------------------- the book's own list

def test_every_passage_stands_on_its_page_once():
    assert statements.misplaced(statements.read_statements(LISTED), ROOT) == []


def test_what_is_said_of_the_published_run_is_true_of_its_reports():
    published = pages.read_reports(ROOT / "book" / "reference")
    assert statements.untrue(statements.read_statements(LISTED), "inception", published) == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_sentence_that_states_something_measured_is_listed(page):
    assert unlisted(statements.paragraphs(ROOT, page), passages_on(page)) == []


@pytest.mark.parametrize("page", OTHERS)
def test_other_pages_state_no_number_of_a_run_that_is_not_listed(page):
    told = unlisted(statements.paragraphs(ROOT, page), passages_on(page))
    assert [sentence for sentence in told if ABOUT.search(sentence) or PUBLISHED.search(sentence)] == []


@pytest.mark.parametrize("text, found", [
    ("Here it is so. In the book's run most are right.", ["In the book's run most are right."]),
    ("In the book's run most are right. The other four are not. Nobody knows why.",
     ["In the book's run most are right.", "The other four are not."]),
    ("The other four are not. Nobody knows why.", []),
    ("The share is 0.35. Hardly more.", ["The share is 0.35."]),
    ("Turn by 22.5° or $0.5$, says `tau=0.5` of section 2.3.", []),
    ("About a third of them pass, **35 %.** Why?", ["About a third of them pass, **35 %.**"]),
    ("Turn it by a quarter. A third question remains.", []),
    ("It has several times as many, or varies threefold.", ["It has several times as many, or varies threefold."])])
def test_sentences_that_state_something_measured_are_told_from_others(text, found):
    assert unlisted([text], []) == found
    assert unlisted([text], [sentence[-9:] for sentence in found]) == []


def test_a_list_that_the_run_introduces_is_about_it():
    assert unlisted(["See. In the book's run:", "- It works. - They do.", "It does."], ["They"]) == ["- It works."]


# --------------------------------------------------------------------------------------------------- true or untrue

NUMBERS = {"a": {"value": 0.5, "interval": [0.4, 0.7]}, "b_0.7": {"value": 3}, "word": {"value": "no"},
           "none": {"value": None}}


@pytest.mark.parametrize("side, expected", [
    ("a", 0.5), ("b_0.7", 3), ("0.25", 0.25), ("100 * a", 50), ("a - b_0.7 / 2", -1), ("-(a + 1)", -1.5),
    ("low(a)", 0.4), ("high(a) - low(a)", pytest.approx(0.3)), ("max(a, b_0.7, -1)", 3), ("abs(0 - b_0.7)", 3),
    ("min(low(a), 1 / 3)", pytest.approx(1 / 3)), ("1e-3", 0.001)])
def test_a_side_is_arithmetic_with_the_numbers_of_a_report(side, expected):
    assert statements.value(side, NUMBERS) == expected


@pytest.mark.parametrize("side", ["a().real", "__import__('os')", "a ** 9", "[a]", "'a'", "a if a else 1", "a <",
                                  "low(a + 1)", "low(0.5)", "max()", "max(a, key=a)", "round(a)", "a = 1",
                                  "a if True", ""])
def test_nothing_but_arithmetic_is_evaluated(side):
    with pytest.raises(ValueError, match="expected keys of a report"):
        statements.value(side, NUMBERS)


@pytest.mark.parametrize("side, message", [
    ("missing", "the report has no number missing"), ("word", "word is 'no', which is no number"),
    ("1 + none", "none is None"),
    ("a.__class__", "no number a.__class__"), ("high(b_0.7)", "b_0.7 has no interval"),
    ("low(gone)", "no number gone")])
def test_a_number_that_lacks_is_named(side, message):
    with pytest.raises(LookupError, match=message):
        statements.value(side, NUMBERS)
    assert message in statements.failure(f"{side} > 0", NUMBERS)


@pytest.mark.parametrize("test, wrong", [
    ("a > 1 / 3", ""), ("a >= 0.5", ""), ("a == 0.5", ""), ("b_0.7 rounds to 3", ""), ("a rounds to 0.50", ""),
    ("a < 0.5", "a is 0.5, expected < 0.5"), ("a > high(a)", "a is 0.5, expected > high(a) (0.7)"),
    ("100 * a rounds to 51", "100 * a is 50, expected rounds to 51"), ("a rounds to 0.51", "a is 0.5, expected rou")])
def test_a_comparison_that_fails_says_what_is_and_what_was_expected(test, wrong):
    found = statements.failure(test, NUMBERS)
    assert found.startswith(wrong) and bool(found) == bool(wrong)


STATEMENT = {"chapter": "05_x", "run": "book", "says": "It is about\n a half, 0.5.", "tests": ["a rounds to 0.5"]}


def test_only_statements_of_the_run_are_held_against_its_reports():
    listed = [STATEMENT | {"tests": ["a > 0.6", "b_0.7 > 1", "gone > 0"]}, STATEMENT, STATEMENT | {"run": "inception"},
              {"chapter": "05_x", "says": "0.7", "setting": "a definition"}]
    (problem,) = statements.untrue(listed, "book", {"05_x": {"numbers": NUMBERS}})
    assert problem.page == "notebooks/05_x"
    assert problem.what.endswith("but a is 0.5, expected > 0.6; the report has no number gone")
    assert len(statements.untrue(listed, "book", {})) == 2
    assert statements.untrue(listed[2:3], "inception", {"05_x": {"numbers": NUMBERS}}) == []


# --------------------------------------------------------------------------------------------------------- the file

def test_a_sound_file_is_read_and_passages_become_one_line(tmp_path):
    path = tmp_path / "statements.yml"
    path.write_text(yaml.safe_dump([STATEMENT, {"chapter": "05_x", "says": "0.7", "setting": "a definition"}]))
    assert [entry["says"] for entry in statements.read_statements(path)] == ["It is about a half, 0.5.", "0.7"]


@pytest.mark.parametrize("change, message", [
    ({"run": "smoke"}, "is about the run 'smoke'; expected one of book, inception"),
    ({"tests": []}, "has no test"), ({"test": []}, "has missing or unknown fields: test"),
    ({"setting": "a definition"}, "unknown fields: run, tests"),
    ({"tests": ["a"]}, "has the test 'a'; expected two sides and one of <, <=, >, >=, ==, rounds to"),
    ({"tests": ["a => 1"]}, "has the test"), ({"tests": ["1 < a < 2"]}, "has the test"),
    ({"tests": ["a ** 2 > 1"]}, "has the side 'a [*][*] 2'; expected keys of a report"),
    ({"tests": ["a rounds to 0.51"]}, "does not say 0.51, to which a should round"),
    ({"tests": ["a rounds to 5"]}, "does not say 5,")])
def test_an_unusable_entry_is_named(tmp_path, change, message):
    path = tmp_path / "statements.yml"
    path.write_text(yaml.safe_dump([STATEMENT | change]))
    with pytest.raises(ValueError, match=f"statements.yml: .*{message}"):
        statements.read_statements(path)


def test_passages_that_are_lost_or_repeated_are_found(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "05_x.py").write_text(
        "# %% [markdown]\n# It is\n# here. It is twice,\n#\n# twice.\n\n# %%\n# It is code.\n"
        "# %% [markdown]\n# Last.\n")
    (tmp_path / "book.md").write_text("# Title\n\nOn a\npage.\n")
    assert statements.paragraphs(tmp_path, "notebooks/05_x") == ["It is here. It is twice,", "twice.", "Last."]
    listed = [STATEMENT | {"says": says} for says in ("It is here.", "twice", "It is code.", "twice, twice.")]
    listed.append(STATEMENT | {"says": "On a page.", "page": "book"})
    assert [problem.what for problem in statements.misplaced(listed, tmp_path)] == [
        "says 'twice' 2 times; expected once", "says 'It is code.' 0 times; expected once",
        "says 'twice, twice.' 0 times; expected once"]


# ------------------------------------------------------------------------------------------------ in the built book

@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A tiny book that was run with the profile `book`, whose only number is 0.5 and whose page says 0.5."""
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    root = make_tiny_book(tmp_path / "book")
    pretend_run(root, "01_one")
    write_json(execution.executed_folder(root, "book") / "01_one.json", {"parameters": {"profile": "book", "seed": 0}})
    write_json(execution.report_path("book", "01_one"), {"numbers": NUMBERS})
    (root / "book" / "statements.yml").write_text(yaml.safe_dump([STATEMENT | {"chapter": "01_one"}]))
    return root


def measure(root: Path, value: float) -> None:
    write_json(execution.report_path("book", "01_one"), {"numbers": {"a": {"value": value}}})


def test_the_check_of_a_built_book_fails_for_an_untrue_sentence(root, monkeypatch):
    monkeypatch.setattr(build, "audit", lambda folder, expected: [])
    assert build.check(root, "book") == 0
    measure(root, 0.6)
    with pytest.raises(build.BuildError, match=r"1 problems.*\n  notebooks/01_one: the page says 'It is about a half, "
                                               r"0.5.', but a is 0.6, expected rounds to 0.5"):
        build.check(root, "book")


@pytest.mark.parametrize("chosen, found", [({"seed": 0}, 1), ({"images": None}, 1), ({"seed": 1}, 0),
                                           ({"images": "/photographs"}, 0)])
def test_a_run_with_other_parameters_is_not_the_one_that_the_prose_is_about(root, chosen, found):
    measure(root, 0.6)
    write_json(execution.executed_folder(root, "book") / "01_one.json", {"parameters": {"profile": "book"} | chosen})
    assert len(build.untrue_statements(root, "book")) == found


def test_other_profiles_are_not_held_to_the_prose(root):
    measure(root, 0.6)
    assert build.untrue_statements(root, "smoke") == []
