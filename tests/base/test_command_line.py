"""A command line of verbs: what it says on the way."""

import logging

import pytest

from groupcc_lite.base import Verbs


@pytest.fixture(autouse=True)
def levels(monkeypatch):
    """Loggers as a fresh process has them."""
    for name in ("toolbox", "groupcc_lite", "bookmaker"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)


def test_a_command_line_lets_the_loggers_speak_that_it_names_and_no_others():
    verbs = Verbs("toolbox", "Small tools.", loggers=("toolbox",))
    verbs.add("rest", lambda options: None, "do nothing")
    assert verbs.run(["rest"]) == 0
    assert [logging.getLogger(name).level for name in ("toolbox", "groupcc_lite", "bookmaker")] == [
        logging.INFO, logging.NOTSET, logging.NOTSET]


def test_the_book_lets_the_library_speak_and_itself():
    from bookmaker import __main__ as book
    from groupcc_lite import __main__ as library

    assert book.verbs().loggers == ("groupcc_lite", "bookmaker") and library.verbs().loggers == ("groupcc_lite",)
