"""A command line of verbs, such as `groupcc`.

Results go to standard output, what happens on the way to standard error, and so does a failure, as a message: one line,
or one for each of several things that are wrong. A traceback is a defect of the program.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from groupcc_lite.base.environment import package_version


class Verbs:
    """A command line of verbs, each a function of its options, with the options that several of them take.

    What `loggers` say from INFO upwards goes to standard error, of all others warnings and errors.

    >>> verbs = Verbs("toolbox", "Small tools.")
    >>> parser = verbs.add("double", lambda options: say(str(2 * options.number)), "print twice a number")
    >>> _ = parser.add_argument("number", type=int)
    >>> verbs.run(["double", "21"])
    42
    0
    """

    def __init__(self, program: str, description: str, *, loggers: tuple[str, ...] = ("groupcc_lite",)):
        self.program, self.loggers = program, loggers
        self.parser = argparse.ArgumentParser(prog=program, description=description)
        release = f"groupcc-lite {package_version('groupcc-lite')}"
        self.parser.add_argument("--version", action="version", version=release)
        self._verbs = self.parser.add_subparsers(title="verbs", metavar="VERB")
        self.profile = argparse.ArgumentParser(add_help=False)
        self.profile.add_argument("--profile", default="book", help="smoke, book, inception or paper (default: book)")
        self.inputs = argparse.ArgumentParser(add_help=False)
        self.inputs.add_argument("--images", metavar="FOLDER", help="photographs instead of the profile's images")
        self.inputs.add_argument("--weights", metavar="FILE", help="weights file of the profile's model")
        self.inputs.add_argument("--data", metavar="FOLDER", help="folder that GROUPCC_DATA would name")

    def add(self, name: str, function: Any, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """One more verb; returns its parser, for options of its own."""
        sub = self._verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=parents)
        sub.set_defaults(function=function)
        return sub

    def run(self, arguments: list[str] | None = None, *, failures: tuple[type[Exception], ...] = ()) -> int:
        """Run one verb; 0 when all went well, 1 for one of `failures`, 2 for a wrong request, 130 when interrupted."""
        first = (sys.argv[1:] if arguments is None else arguments)[:1]
        if first and not first[0].startswith("-") and first[0] not in self._verbs.choices:
            self.parser.error(f"unknown verb {first[0]!r}; {near_matches(first[0], self._verbs.choices)}verbs are "
                              f"{', '.join(self._verbs.choices)}")
        options = self.parser.parse_args(arguments)
        if not hasattr(options, "function"):  # no verb: whoever does not know what to ask is shown what there is
            self.parser.print_help()
            return 0
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
        for name in self.loggers:
            logging.getLogger(name).setLevel(logging.INFO)
        try:
            options.function(options)
        except failures as error:
            return self._fail(str(error), 1)
        except (ValueError, OSError) as error:
            return self._fail(str(error), 2)
        except ModuleNotFoundError as error:
            return self._fail(str(error), 2)
        except KeyboardInterrupt:
            return self._fail("interrupted; the same command goes on from here", 130)
        return 0

    def _fail(self, message: str, code: int) -> int:
        sys.stderr.write(f"{self.program}: {message}\n")
        return code


def use_data(folder: str | None) -> None:
    """Make --data the folder that GROUPCC_DATA names, for this process and those it starts.

    >>> use_data("no such folder")
    Traceback (most recent call last):
    FileNotFoundError: --data is 'no such folder', which is not a folder
    """
    if folder is not None:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"--data is {folder!r}, which is not a folder")
        os.environ["GROUPCC_DATA"] = str(Path(folder).resolve())


def near_matches(name: str, known: Iterable[str]) -> str:
    """What to say to whoever wrote `name` and meant one of the `known`; nothing if none is like it.

    >>> near_matches("mixd3b", ["mixed3a", "mixed3b", "head"])
    "did you mean 'mixed3b' or 'mixed3a'? "
    >>> near_matches("resnet", ["tiny"])
    ''
    """
    matches = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"did you mean {' or '.join(map(repr, matches))}? " if matches else ""


def say(text: str) -> None:
    """One line of the result.

    >>> say("8 features")
    8 features
    """
    sys.stdout.write(text + "\n")


def say_table(rows: list[tuple[str, ...]]) -> None:
    """Rows of the result as columns.

    >>> say_table([("profile", "group"), ("book", "D_16")])
    profile  group
    book     D_16
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
