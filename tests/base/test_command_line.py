"""A command line of verbs: what it says on the way."""

import logging
from importlib.metadata import version

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


def test_without_a_verb_it_says_what_there_is(capsys):
    verbs = Verbs("toolbox", "Small tools.")
    verbs.add("rest", lambda options: None, "do nothing")
    assert verbs.run([]) == 0
    said = capsys.readouterr().out
    assert "usage: toolbox" in said and "do nothing" in said


def test_version_is_the_installed_one(capsys):
    with pytest.raises(SystemExit) as stop:
        Verbs("toolbox", "Small tools.").run(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"groupcc-lite {version('groupcc-lite')}\n"


def test_the_book_lets_the_library_speak_and_itself():
    from bookmaker import __main__ as book
    from groupcc_lite import __main__ as library

    assert book.verbs().loggers == ("groupcc_lite", "bookmaker") and library.verbs().loggers == ("groupcc_lite",)


def test_a_misspelt_verb_is_told_from_those_there_are(capsys):
    verbs = Verbs("tool", "Tools.")
    verbs.add("cost", lambda options: None, "estimate")
    verbs.add("atlas", lambda options: None, "draw")
    with pytest.raises(SystemExit) as stopped:
        verbs.run(["cots"])
    assert stopped.value.code == 2
    assert "unknown verb 'cots'; did you mean 'cost' or 'atlas'? verbs are cost, atlas" in capsys.readouterr().err
