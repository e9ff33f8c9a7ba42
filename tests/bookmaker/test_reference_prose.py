"""What the chapters say in words about the published run agrees with its published numbers."""

import re
from pathlib import Path

import pytest

from groupcc_lite.base import read_json

ROOT = Path(__file__).resolve().parents[2]
WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
NUMBER = r"(\d+(?:\.\d+)?|\w+)"

# A passage of a chapter, its numbers left out, and the names under which the chapter's report has them: "name", "100
# name" for a percentage, or "name - other" for a difference.
SAID: list[tuple[str, str, list[str]]] = []


OF_THE_PUBLISHED_RUN = re.compile(r"InceptionV1|GoogLeNet|photographs|[Rr]eference run|[Pp]ublished run")
MEASURED = re.compile(r"\d\.\d|\d ?%|\b\d+ of \d+")


def prose(chapter: str) -> list[str]:
    """The paragraphs of a chapter's text, each in one line."""
    paragraphs, text, inside = [], "", False
    for line in [*(ROOT / "notebooks" / f"{chapter}.py").read_text().splitlines(), "# %%"]:
        if line.startswith("# %%") or not line.removeprefix("#").strip():
            paragraphs, text = [*paragraphs, " ".join(text.split())], ""
        inside = "[markdown]" in line if line.startswith("# %%") else inside
        text += " " + line.removeprefix("#") if inside and not line.startswith("# %%") else ""
    return [paragraph for paragraph in paragraphs if paragraph]


def untested(paragraphs: list[str], passages: list[str]) -> list[str]:
    """Sentences that state a number of the published run and of which no passage is compared with its report."""
    sentences = [sentence for text in paragraphs for sentence in re.split(r"(?<=[.:;?!])\s+(?=[A-Z*$])", text)]
    return [sentence for sentence in sentences if OF_THE_PUBLISHED_RUN.search(sentence) and MEASURED.search(sentence)
            and not any(re.search(passage, sentence) for passage in passages)]


def test_a_sentence_with_a_number_of_the_published_run_is_found():
    text = ["On InceptionV1 the share is 0.35. Here it is 0.5. The reference run has more images."]
    assert untested(text, []) == ["On InceptionV1 the share is 0.35."]
    assert untested(text, [f"share is {NUMBER}"]) == []


@pytest.mark.parametrize("chapter", sorted(path.stem for path in (ROOT / "notebooks").glob("*.py")))
def test_every_sentence_about_the_published_run_is_compared_with_it(chapter):
    assert untested(prose(chapter), [passage for name, passage, _ in SAID if name == chapter]) == []


def value_of(name: str, numbers: dict) -> float:
    """The number of a report that a name in SAID means."""
    if name.startswith("100 "):
        return 100 * numbers[name.removeprefix("100 ")]["value"]
    first, *rest = (numbers[part]["value"] for part in name.split(" - "))
    return first - sum(rest)


def agrees(said: str, value: float) -> bool:
    """Whether a number in words or digits is `value`, to the digits that are given."""
    if said.lower() in WORDS:
        return WORDS.index(said.lower()) == value
    return f"{value:.{len(said.partition('.')[2])}f}" == said


def test_the_prose_says_what_was_measured():
    for chapter, passage, names in SAID:
        numbers = read_json(ROOT / "book" / "reference" / f"{chapter}.json")["numbers"]
        (found,) = re.findall(passage, " ".join(prose(chapter)))
        said = [found] if isinstance(found, str) else list(found)
        measured = {name: value_of(name, numbers) for name in names}
        assert len(said) == len(names) and all(map(agrees, said, measured.values())), (said, measured)


@pytest.mark.parametrize("said, value, holds", [("Eleven", 11, True), ("Eleven", 10, False), ("0.58", 0.5776, True),
                                                ("0.57", 0.5776, False), ("8", 8, True), ("most", 8, False)])
def test_agreement_is_told_from_disagreement(said, value, holds):
    assert agrees(said, value) is holds
