"""The command line: `groupcc` or `python -m groupcc_lite`. Every verb has --help."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import logging
import os
import sys
from pathlib import Path
from typing import Any

from groupcc_lite.pairs import BookError

# The rest of the library is imported inside the verbs, so that --help answers at once.


def _run(options: argparse.Namespace) -> None:
    from groupcc_lite import execution, pairs

    root = pairs.find_root()
    outcomes = execution.run(root, pairs.select(root, options.notebooks), _parameters(options), force=options.force)
    execution.require_success(outcomes, root, options.profile)


def _build(options: argparse.Namespace) -> None:
    from groupcc_lite import book, pairs
    from groupcc_lite.profiles import get_profile

    profile, root = get_profile(options.profile).name, pairs.find_root()
    _say(f"The book lies at {book.build(root, profile) / 'index.html'}")


def _audit(options: argparse.Namespace) -> None:
    from groupcc_lite import book, pairs
    from groupcc_lite.profiles import get_profile

    profile = get_profile(options.profile).name
    _say(f"{book.check(pairs.find_root(), profile)} pages, no problems")


def _book(options: argparse.Namespace) -> None:
    from groupcc_lite import book, pairs

    parameters = _parameters(options)
    page = book.make(pairs.find_root(), parameters.pop("profile"), parameters, force=options.force)
    _say(f"The book lies at {page}")


def _serve(options: argparse.Namespace) -> None:
    from groupcc_lite import book, pairs
    from groupcc_lite.profiles import get_profile

    profile = get_profile(options.profile).name
    book.serve(pairs.find_root(), profile, options.port)


def _sync(options: argparse.Namespace) -> None:
    from groupcc_lite import pairs

    root = pairs.find_root()
    stale = [str(path.relative_to(root)) for path in pairs.sync(root, check=options.check)]
    if stale and options.check:
        raise ValueError(f"not in step with its source: {', '.join(stale)}; call `groupcc sync`")
    _say(f"brought in step: {', '.join(stale)}" if stale else "all pairs are in step")


def _profiles(options: argparse.Namespace) -> None:
    from groupcc_lite.profiles import PROFILES

    chosen = list(PROFILES.values())
    for profile in chosen:
        _say(f"{profile.name:<10} {profile.summary}")
    _say("")
    rows = [(f.name, *(str(getattr(profile, f.name)) for profile in chosen))
            for f in dataclasses.fields(chosen[0]) if f.name not in ("name", "summary")]
    _say_table([("setting", *(profile.name for profile in chosen)), *rows])


def _cost(options: argparse.Namespace) -> None:
    from groupcc_lite.costs import cost
    from groupcc_lite.pages import minutes

    stages = cost(options.profile, images=options.images)
    _say(f"Profile {options.profile}, estimated on this machine:")
    rows = []
    for stage, facts in stages.items():
        shown = [("time", minutes(3600.0 * value)) if key == "hours" else (key, _number(value))
                 for key, value in facts.items()]
        rows += [(stage if i == 0 else "", key, value) for i, (key, value) in enumerate(shown)]
    _say_table(rows)


def _train_tiny(options: argparse.Namespace) -> None:
    from groupcc_lite.reports import work_folder
    from groupcc_lite.tiny_training import STEPS, TINY_WEIGHTS, train_tiny

    folder = Path(options.folder) if options.folder is not None else work_folder() / "tiny-inception"
    train_tiny(folder, steps=STEPS if options.steps is None else options.steps, seed=options.seed)
    path = folder / TINY_WEIGHTS.name
    _say(f"The weights lie at {path}; --weights {path} uses them, and the package's own are as they were"
         if path.resolve() != TINY_WEIGHTS else f"The package's own weights were replaced: {path}")


def _atlas(options: argparse.Namespace) -> None:
    from groupcc_lite.atlas_page import atlas_folder, make_page
    from groupcc_lite.pipeline import Run

    _use_data(options.data)
    run = Run(options.profile, options.seed, images=options.images, weights=options.weights)
    folder = Path(options.out) if options.out is not None else atlas_folder(run.profile.name)
    page = make_page(run, folder, pictures=options.features, size=options.size, steps=options.steps,
                     data_only=options.data_only)
    _say(f"The data of the atlas lie in {page}" if options.data_only else f"The atlas lies at {page}")


def _publish(options: argparse.Namespace) -> None:
    from groupcc_lite import pairs, reports
    from groupcc_lite.files import read_json
    from groupcc_lite.profiles import get_profile

    profile = get_profile(options.profile)
    if profile.model not in reports.REFERENCE_MODELS:
        raise ValueError(f"profile {profile.name!r} runs on {profile.model}, but the reference is a run on "
                         f"{' or '.join(reports.REFERENCE_MODELS)}; choose another profile")
    root = pairs.find_root()
    for path in reports.publish(reports.work_folder() / "reports" / profile.name, root / "book" / "reference",
                                force=options.force):
        _, *remark = read_json(path)["provenance"]["commit"].split(" ", 1)
        _say(" ".join([f"wrote {path.relative_to(root)}", *(f"(from a commit {text})" for text in remark)]))


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """What the notebooks are told, from the options that were given."""
    _use_data(options.data)
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


def _use_data(folder: str | None) -> None:
    if folder is not None:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"--data is {folder!r}, which is not a folder")
        os.environ["GROUPCC_DATA"] = str(Path(folder).resolve())


def _number(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else (
        f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def parser() -> argparse.ArgumentParser:
    """All verbs with their options."""
    top = argparse.ArgumentParser(prog="groupcc", description="Run, build and check the book on group crosscoders.")
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    profile = argparse.ArgumentParser(add_help=False)
    profile.add_argument("--profile", default="book", help="smoke, book, inception or paper (default: book)")
    inputs = argparse.ArgumentParser(add_help=False)
    inputs.add_argument("--images", metavar="FOLDER", help="photographs to use instead of the profile's images")
    inputs.add_argument("--weights", metavar="FILE", help="weights file of the profile's model")
    inputs.add_argument("--data", metavar="FOLDER", help="folder that GROUPCC_DATA would name")
    execution = argparse.ArgumentParser(add_help=False, parents=[inputs])
    execution.add_argument("--seed", type=int, help="a non-negative integer (default: the notebooks' own, 0)")
    execution.add_argument("-p", "--parameter", metavar="NAME=VALUE", action="append", default=[],
                           help="any other parameter of the notebooks; may be repeated")
    execution.add_argument("--force", action="store_true", help="run notebooks again that are up to date")

    def verb(name: str, function: Any, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=parents)
        sub.set_defaults(function=function)
        return sub

    verb("book", _book, "run every notebook, build the pages and check them", profile, execution)
    sub = verb("run", _run, "run one notebook, several or all", profile, execution)
    sub.add_argument("notebooks", nargs="*", default=["all"], metavar="NOTEBOOK", help="03, 03_training or all")
    verb("build", _build, "build the pages from the notebooks that were run", profile)
    verb("audit", _audit, "check the built pages as a reader would meet them", profile)
    verb("serve", _serve, "show the built pages in a browser", profile).add_argument(
        "--port", type=int, default=8000, help="default: 8000")
    verb("profiles", _profiles, "list the profiles and every setting of each")
    verb("cost", _cost, "estimate time and disk of a profile before it starts", profile).add_argument(
        "--images", metavar="FOLDER", help="photographs that the run would use")
    _atlas_options(verb("atlas", _atlas, "make the feature atlas of a run, a page without a server", profile, inputs))
    sub = verb("train-tiny", _train_tiny, "train the built-in model on procedurally drawn shapes")
    sub.add_argument("--folder", help="where the weights go (default: tiny-inception in the work folder, "
                     "never into the package)")
    sub.add_argument("--steps", type=int, help="training steps (default: as many as the package's weights had)")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub = verb("publish", _publish, "copy the reports and figures of a run to book/reference")
    sub.add_argument("--profile", default="inception", help="default: inception")
    sub.add_argument("--force", action="store_true", help="publish although the reports come from several commits")
    verb("sync", _sync, "write the .ipynb twins of notebooks/*.py, and repeat version and address").add_argument(
        "--check", action="store_true", help="only look, and fail if a pair is out of step")
    return top


def _atlas_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--out", metavar="FOLDER", help="where it goes (default: atlas/PROFILE in the work folder)")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub.add_argument("--features", type=int, metavar="N",
                     help="draw N features of each map, evenly spread (default: all; finished ones are kept)")
    sub.add_argument("--size", type=int, help="side of a drawing in pixels (default: the profile's atlas_size)")
    sub.add_argument("--steps", type=int, help="steps per drawing (default: the profile's atlas_steps)")
    sub.add_argument("--data-only", action="store_true", help="write only the data, straight into the folder")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when all went well, 1 when something failed, 2 for a wrong request, 130 when interrupted."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("groupcc_lite").setLevel(logging.INFO)
    try:
        options.function(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"groupcc: {error}\n")
        return 2
    except ModuleNotFoundError as error:
        sys.stderr.write(f"groupcc: {error.name} is not installed; pip install 'groupcc-lite[book]'\n")
        return 2
    except BookError as error:
        sys.stderr.write(f"groupcc: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("groupcc: interrupted; the same command goes on from here\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
