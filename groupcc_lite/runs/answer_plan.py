"""The studies of the answer key, from a profile: which methods, on which problems, with which seeds and budgets.

Each problem is made for each seed, so a spread over seeds is a spread over problems as well as over trainings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers import METHODS, Budget, Problem, Study, drawn_problem, standard
from groupcc_lite.groups import parse_group
from groupcc_lite.runs.profiles import KeyProfile, get_key_profile

POSED = ("SAE, all poses", "SAE, blocks fitted", "crosscoder, TopK", "equivariant SAE",
         "equivariant SAE, linear encoder")
"""Methods compared with images in any pose and upright."""
RIVALS = ("SAE, blocks fitted", "crosscoder, TopK", "crosscoder, L1", "crosscoder, BatchTopK")
"""Methods compared where difficulty rises."""
DRAWN = ("SAE", "SAE, all poses", "SAE, blocks fitted", "crosscoder, L1", "crosscoder, TopK", "crosscoder, BatchTopK")
"""Methods compared on drawings."""
DIFFICULTIES = dict(noise="noises", superposition="superpositions", broken="brokens")
"""What is made harder, and the profile's field with its levels."""


def answer_studies(profile: str | KeyProfile = "book", seed: int = 0, **changes: Any) -> dict[str, Study]:
    """The chapter's studies by name: "standard", "poses", "noise", "superposition", "broken" and "drawings".

    Seeds count up from `seed`; keywords change profile fields. Problems of a difficulty are named by its level.
    Hand one to `answers.study` unpacked: `study(*studies["standard"], folder=folder)`. Its
    `keys()` say where each result is filed.

    >>> studies = answer_studies("smoke")
    >>> list(studies["noise"].problems), list(studies["noise"].seeds)
    (['0.05', '1.0'], [0])
    """
    profile = get_key_profile(profile, **changes)
    whole = Budget(orbits=profile.orbits, steps=profile.steps)
    small = dataclasses.replace(whole, steps=profile.sweep_steps)
    seeds, few = range(seed, seed + profile.seeds), range(seed, seed + profile.sweep_seeds)
    easy = dict(group=profile.sweep_group, channels=profile.sweep_channels)
    poses = {"any pose": _planted(**easy, superposition=3.0), "upright": _upright(**easy, superposition=3.0)}
    found = {"standard": Study(dict(standard=_planted(group=profile.group, channels=profile.channels)),
                               [m for m in METHODS if not m.endswith("linear encoder")], seeds, whole),
             "poses": Study(poses, POSED, few, small)}
    for name, field in DIFFICULTIES.items():
        problems = {str(level): _planted(**easy, **{name: level}) for level in getattr(profile, field)}
        found[name] = Study(problems, RIVALS, few, small)
    of_drawings = dataclasses.replace(whole, steps=profile.drawing_steps)
    return found | {"drawings": Study(dict(drawings=_drawn(profile)), DRAWN, seeds, of_drawings)}


def _planted(**settings: Any) -> Callable[[int], Problem]:
    return lambda seed: standard(seed, **settings)


def _upright(**settings: Any) -> Callable[[int], Problem]:
    return lambda seed: standard(seed, **settings).upright(active=2.0)


def _drawn(profile: KeyProfile) -> Callable[[int], Problem]:
    group = parse_group(profile.group)
    channels = min(profile.channels, 32 if group.order < 32 else 64)
    return lambda seed: drawn_problem(PlanarAction(group), channels=channels, seed=seed)
