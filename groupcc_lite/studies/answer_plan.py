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
from groupcc_lite.runs import KeyProfile, get_key_profile

STANDARD = tuple(m for m in METHODS
                 if not m.endswith(("linear encoder", "response vectors")) and not m.startswith(("tied", "block-")))
"""Methods compared at standard difficulty; response vectors, symmetric and block-sparse ones are studied elsewhere."""
COMPARED = tuple(m for m in STANDARD if m != "wide SAE")
"""Methods of which `DRAWN` are compared on drawings: all but the largest."""
POSED = ("SAE, blocks fitted", "crosscoder, TopK", "equivariant SAE", "equivariant SAE, linear encoder")
"""Methods compared with images in any pose and upright."""
RIVALS = ("SAE, blocks fitted", "SAE, all poses, blocks fitted", "crosscoder, TopK", "crosscoder, L1")
"""Methods compared where difficulty rises."""
TRAINED = RIVALS[:3]
"""Methods compared after longer and longer training."""
TOLD = {"as above": {}, "k halved": dict(k_per_active=0.5), "k doubled": dict(k_per_active=2.0),
        "a quarter of spare latents": dict(latents_per_feature=1.25),
        "no spare latents": dict(latents_per_feature=1.0), "families of unequal frequency": dict(zipf=1.0)}
"""What the methods are told, or may take for granted, and what is changed about it: fields of the budget, and zipf."""
TELLING = RIVALS[1:3]
"""Methods that are told something else."""
DRAWN = tuple(m for m in COMPARED if not m.startswith("equivariant"))
"""Methods compared on drawings."""
DIFFICULTIES = dict(noise="noises", superposition="superpositions", broken="brokens")
"""What is made harder, and the profile's field with its levels."""


def answer_studies(profile: str | KeyProfile = "book", seed: int = 0, **changes: Any) -> dict[str, Study]:
    """The chapter's studies by name: "standard", "poses", "noise", "superposition", "broken", "drawings" and more.

    "steps N" for each training length, at the loudest noise, and "told NAME" for each of `TOLD`, at standard noise.
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
                               STANDARD, seeds, whole),
             "poses": Study(poses, POSED, few, small)}
    for name, field in DIFFICULTIES.items():
        problems = {str(level): _planted(**easy, **{name: level}) for level in getattr(profile, field)}
        found[name] = Study(problems, RIVALS, few, small)
    loud = {"loud": _planted(**easy, noise=max(profile.noises))}
    for steps in profile.lengths:
        found[f"steps {steps}"] = Study(loud, TRAINED, few, dataclasses.replace(small, steps=steps))
    for name, changed in TOLD.items():
        zipf = {key: value for key, value in changed.items() if key == "zipf"}
        budget = dataclasses.replace(small, **{key: value for key, value in changed.items() if key != "zipf"})
        found[f"told {name}"] = Study(dict(planted=_planted(**easy, **zipf)), TELLING, few, budget)
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
