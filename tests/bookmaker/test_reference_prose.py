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
SAID = [
    ("13_relations", f"least squares without the relation \\({NUMBER} against {NUMBER} on the MLP\\)",
     ["far_r2_exact_mlp_p1", "far_r2_ls_mlp_p1"]),
    ("13_relations", rf"loses a little with every round \({NUMBER} at \$p = 12\$\)", ["far_r2_adam_mlp_p12"]),
    ("13_relations", f"least squares explains {NUMBER} of the mirrored activations", ["pair_mirrors_ls_mlp"]),
    ("13_relations", f"by a map of its own, {NUMBER} against {NUMBER}",
     ["layer_ls_one_step", "layer_per_angle_one_step"]),
    ("13_relations", f"eight such steps explain {NUMBER}, where a direct map explains {NUMBER}",
     ["layer_ls_half_turn", "layer_per_angle_half_turn"]),
    ("12_probes", f"reference run \\({NUMBER} with either on the MLP", ["canonical_fve_equivariant_mlp"]),
    ("12_probes", f"reference run \\({NUMBER} with either on the MLP", ["canonical_fve_shallow_mlp"]),
    ("12_probes", f"On the CNN their cosine is {NUMBER},", ["latent_cosine_equivariant"]),
]


def prose(chapter: str) -> str:
    """The text of a chapter in one line."""
    lines = (ROOT / "notebooks" / f"{chapter}.py").read_text().splitlines()
    return " ".join(" ".join(line.removeprefix("#") for line in lines if line.startswith("#")).split())


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


@pytest.mark.parametrize("chapter, passage, names", SAID, ids=lambda v: v if isinstance(v, str) and len(v) < 20 else "")
def test_the_prose_says_what_was_measured(chapter, passage, names):
    numbers = read_json(ROOT / "book" / "reference" / f"{chapter}.json")["numbers"]
    (found,) = re.findall(passage, prose(chapter))
    said = [found] if isinstance(found, str) else list(found)
    measured = {name: value_of(name, numbers) for name in names}
    assert len(said) == len(names) and all(map(agrees, said, measured.values())), (said, measured)


@pytest.mark.parametrize("said, value, holds", [("Eleven", 11, True), ("Eleven", 10, False), ("0.58", 0.5776, True),
                                                ("0.57", 0.5776, False), ("8", 8, True), ("most", 8, False)])
def test_agreement_is_told_from_disagreement(said, value, holds):
    assert agrees(said, value) is holds
