"""The workflows: they can be read, ask for no more rights than they need, and call what there is."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
RIGHTS = {("publish", "deploy"): {"pages": "write", "id-token": "write"},
          ("publish", "notebooks"): {"contents": "write"}, ("publish", "attach"): {"contents": "write"},
          ("publish", "pypi"): {"id-token": "write"}}
"""Jobs that may do more than read, and what."""

jobs = [pytest.param(name, job, WORKFLOWS[name]["jobs"][job], id=f"{name}-{job}")
        for name in WORKFLOWS for job in WORKFLOWS[name]["jobs"]]


def steps(name: str, job: str) -> list[dict]:
    return WORKFLOWS[name]["jobs"][job]["steps"]


def needed(name: str, job: str) -> set[str]:
    """The jobs that a job waits for: `needs` may be one name or a list."""
    needs = WORKFLOWS[name]["jobs"][job].get("needs", [])
    return {needs} if isinstance(needs, str) else set(needs)


def commands(name: str, job: str) -> str:
    return "\n".join(step.get("run", "") for step in steps(name, job))


def test_there_is_a_workflow_for_every_push_every_week_and_every_release():
    assert set(WORKFLOWS) == {"tests", "weekly", "publish"}
    when = {name: workflow[True] for name, workflow in WORKFLOWS.items()}  # YAML reads `on` as true
    assert {"push", "pull_request"} <= when["tests"].keys() and "schedule" in when["weekly"]
    assert when["publish"].keys() == {"release", "workflow_dispatch"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_only_reads_unless_a_job_says_otherwise(name):
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("name, job, facts", jobs)
def test_a_job_has_no_more_rights_than_it_needs_and_a_limit_of_time(name, job, facts):
    assert facts.get("permissions", {}) == RIGHTS.get((name, job), {})
    assert facts["timeout-minutes"] <= 90
    assert needed(name, job) <= WORKFLOWS[name]["jobs"].keys()


@pytest.mark.parametrize("name, job, facts", jobs)
def test_actions_are_pinned_to_a_version(name, job, facts):
    pinned = re.compile(r"actions/[\w-]+@v\d+|pypa/[\w-]+@release/v1")
    used = [step["uses"] for step in facts["steps"] if "uses" in step]
    assert [action for action in used if not pinned.fullmatch(action)] == []


@pytest.mark.parametrize("name, job, facts", jobs)
def test_what_a_job_makes_is_a_target_of_make(name, job, facts):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", commands(name, job))) <= targets


def test_the_book_is_run_every_week_and_every_notebook_on_the_fake_device():
    assert "make book PROFILE=book" in commands("weekly", "book")
    assert "-m fake_device_notebooks" in commands("weekly", "fake-device")


def test_a_release_goes_to_pages_to_itself_and_to_pypi():
    assert "actions/deploy-pages@v4" in [step.get("uses") for step in steps("publish", "deploy")]
    assert "gh release upload" in commands("publish", "attach")
    assert "pypa/gh-action-pypi-publish@release/v1" in [step.get("uses") for step in steps("publish", "pypi")]
    for job in ("attach", "wheel"):
        assert WORKFLOWS["publish"]["jobs"][job]["if"] == "github.event_name == 'release'"


def test_nothing_is_published_before_the_pages_were_built_and_checked():
    for job in ("deploy", "notebooks", "attach", "pypi"):
        assert "pages" in needed("publish", job)
    assert "wheel" in needed("publish", "pypi")


@pytest.mark.parametrize("tag, fits", [("v{}", True), ("{}", False), ("v{}1", False), ("v0.0.0", False), ("", False)])
def test_a_release_whose_tag_is_not_the_version_stops(tag, fits):
    (step,) = [step for step in steps("publish", "pages") if step.get("name") == "the tag is the version"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=ROOT, check=False,
                          env=os.environ | {"TAG": tag.format(version)})
    assert (done.returncode == 0) == fits and step["if"] == "github.event_name == 'release'"


def test_the_branch_of_the_notebooks_is_the_one_that_the_pages_open():
    from bookmaker.project_facts import BRANCH

    assert f"HEAD:refs/heads/{BRANCH}" in commands("publish", "notebooks")
    assert "make pin" in commands("publish", "notebooks")


def test_no_untrusted_text_is_pasted_into_a_command():
    for name, job, _ in (param.values for param in jobs):
        assert "${{" not in commands(name, job), f"{name}/{job}: hand values over in `env`"
