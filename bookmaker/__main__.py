"""The command line of the book: `python -m bookmaker`, from a checkout. Every verb has --help."""

from __future__ import annotations

import argparse
import ast
import sys
from typing import Any

from bookmaker.notebook_pairs import BookError
from groupcc_lite.base import Verbs, say, use_data

# The rest is imported inside the verbs, so that --help answers at once.


def _run(options: argparse.Namespace) -> None:
    from bookmaker import execution, notebook_pairs

    root = notebook_pairs.find_root()
    outcomes = execution.run(root, notebook_pairs.select(root, options.notebooks), _parameters(options),
                             force=options.force, jobs=options.jobs, threads=options.threads)
    execution.require_success(outcomes, root, options.profile)


def _build(options: argparse.Namespace) -> None:
    from bookmaker import build, notebook_pairs
    from groupcc_lite.runs import get_profile

    profile, root = get_profile(options.profile).name, notebook_pairs.find_root()
    say(f"The book lies at {build.build(root, profile) / 'index.html'}")


def _audit(options: argparse.Namespace) -> None:
    from bookmaker import build, notebook_pairs
    from groupcc_lite.runs import get_profile

    profile = get_profile(options.profile).name
    say(f"{build.check(notebook_pairs.find_root(), profile)} pages, no problems")


def _book(options: argparse.Namespace) -> None:
    from bookmaker import build, notebook_pairs

    parameters = _parameters(options)
    page = build.make(notebook_pairs.find_root(), parameters.pop("profile"), parameters, force=options.force,
                      jobs=options.jobs, threads=options.threads)
    say(f"The book lies at {page}")


def _serve(options: argparse.Namespace) -> None:
    from bookmaker import build, notebook_pairs
    from groupcc_lite.runs import get_profile

    profile = get_profile(options.profile).name
    build.serve(notebook_pairs.find_root(), profile, options.port)


def _sync(options: argparse.Namespace) -> None:
    from bookmaker import notebook_pairs

    root = notebook_pairs.find_root()
    stale = [str(path.relative_to(root)) for path in notebook_pairs.sync(root, check=options.check)]
    if stale and options.check:
        raise ValueError(f"not in step with its source: {', '.join(stale)}; call `python -m bookmaker sync`")
    say(f"brought in step: {', '.join(stale)}" if stale else "all pairs are in step")


def _pin(options: argparse.Namespace) -> None:
    from bookmaker import notebook_pairs

    root = notebook_pairs.find_root()
    for path in notebook_pairs.pin(root):
        say(f"{path.relative_to(root)} installs this commit")


def _publish(options: argparse.Namespace) -> None:
    from bookmaker import notebook_pairs
    from groupcc_lite import runs
    from groupcc_lite.base import read_json, work_folder

    profile = runs.get_profile(options.profile)
    if profile.model not in runs.REFERENCE_MODELS:
        raise ValueError(f"profile {profile.name!r} runs on {profile.model}, but the reference is a run on "
                         f"{' or '.join(runs.REFERENCE_MODELS)}; choose another profile")
    root = notebook_pairs.find_root()
    for path in runs.publish(work_folder() / "reports" / profile.name, root / "book" / "reference",
                             force=options.force):
        _, *remark = read_json(path)["provenance"]["commit"].split(" ", 1)
        say(" ".join([f"wrote {path.relative_to(root)}", *(f"(from a commit {text})" for text in remark)]))


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """What the notebooks are told, from the options that were given."""
    use_data(options.data)
    given = {"profile": options.profile, "seed": options.seed, "images": options.images, "weights": options.weights}
    given = {name: value for name, value in given.items() if value is not None}
    for pair in options.parameter:
        name, sign, text = pair.partition("=")
        if not sign:
            raise ValueError(f"-p {pair!r} is not of the form NAME=VALUE")
        try:
            given[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            given[name] = text
    return given


def verbs() -> Verbs:
    """All verbs with their options."""
    top = Verbs("bookmaker", "Run, build and check the book on group crosscoders.",
                loggers=("groupcc_lite", "bookmaker"))
    execution = argparse.ArgumentParser(add_help=False, parents=[top.inputs])
    execution.add_argument("--seed", type=int, help="a non-negative integer (default: the notebooks' own, 0)")
    execution.add_argument("-p", "--parameter", metavar="NAME=VALUE", action="append", default=[],
                           help="any other parameter of the notebooks; may be repeated")
    execution.add_argument("--force", action="store_true", help="run notebooks again that are up to date")
    execution.add_argument("--jobs", type=int, default=2, help="notebooks that run at once (default: 2)")
    execution.add_argument("--threads", type=int, default=1,
                           help="threads of each; another number may change last digits (default: 1)")
    top.add("book", _book, "run every notebook, build the pages and check them", top.profile, execution)
    sub = top.add("run", _run, "run one notebook, several or all", top.profile, execution)
    sub.add_argument("notebooks", nargs="*", default=["all"], metavar="NOTEBOOK", help="03, 03_training or all")
    top.add("build", _build, "build the pages from the notebooks that were run", top.profile)
    top.add("audit", _audit, "check the built pages as a reader would meet them", top.profile)
    top.add("serve", _serve, "show the built pages in a browser", top.profile).add_argument(
        "--port", type=int, default=8000, help="default: 8000")
    sub = top.add("publish", _publish, "copy the reports and figures of a run to book/reference")
    sub.add_argument("--profile", default="inception", help="default: inception")
    sub.add_argument("--force", action="store_true", help="publish although the reports come from several commits")
    top.add("sync", _sync, "write the .ipynb twins of notebooks/*.py, and repeat version and address").add_argument(
        "--check", action="store_true", help="only look, and fail if a pair is out of step")
    top.add("pin", _pin, "let the .ipynb twins install this commit on Colab, for the branch that the pages open")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when all went well, 1 when the book failed, 2 for a wrong request, 130 when interrupted."""
    return verbs().run(arguments, failures=(BookError,))


if __name__ == "__main__":
    sys.exit(main())
