"""What the prose says about a run is listed, stands where the list says, and is true of that run."""

import re
from pathlib import Path

import pytest
from repository import ROOT
from tiny_book import make_tiny_book, write_chapter

from bookmaker import build, execution, pages, statements
from groupcc_lite.base import write_json

LISTED = statements.read_statements(ROOT / "book" / "statements.yml")
PAGES = [*(f"notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("*.py"))),
         *(f"book/{path.stem}" for path in sorted((ROOT / "book").glob("*.md")) if path.stem != "changelog")]

ABOUT = re.compile(r"[Bb]ook's run")
PUBLISHED = re.compile(r"InceptionV1|GoogLeNet|[Rr]eference run|[Pp]ublished run")
PARTS = r"(half|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|ninths?|tenths?|hundredths?|thousandths?|per cent)"
QUANTITY = re.compile(
    r"(?<![\w.])\d+\.\d+(?!°)|\d %|\b\d+ of \d+\b"
    rf"|\b(an?|two|three|four|five|six|seven|eight|nine|some|few|than|about|by|under) {PARTS}\b(?! (a )?turns?| of a turn)"
    rf"|\b[Hh]alf (of|as)\b|\b\w+ times (as|more|less|fewer|larger|smaller)\b|\b\w+fold\b")
COUNT = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|"
                   r"most|few|hardly|nearly|twice)\b", re.IGNORECASE)
SENTENCE = re.compile(r"\S.*?(?:[.:;?!]\**(?=\s+[-A-Z*$(`{])|$)")
NO_PROSE = re.compile(r"\$[^$]*\$|`[^`]*`|\{[^}]*\}")


def claimed(paragraphs: list[str]) -> list[tuple[str, int, int]]:
    """The sentences that state something measured, each as its paragraph and where it begins and ends there.

    These are the sentences that name the book's run, all of a list that it introduces, and those with a quantity; in a
    paragraph about a run a count in words is one.
    """
    found, introduced = [], False
    for text in paragraphs:
        about = introduced or ABOUT.search(text)
        for match in SENTENCE.finditer(text):
            plain = NO_PROSE.sub("~", match[0])
            if introduced or ABOUT.search(plain) or QUANTITY.search(plain) or about and COUNT.search(plain):
                found.append((text, match.start(), match.end()))
        introduced = bool(re.search(r"book's run:\W*$", text))
    return found


def unlisted(paragraphs: list[str], passages: list[str]) -> list[str]:
    """Sentences that state something measured and share no word with any of the passages."""
    return [text[start:end] for text, start, end in claimed(paragraphs)
            if not any(match.start() < end and start < match.end()
                       for passage in passages for match in re.finditer(re.escape(passage), text))]
