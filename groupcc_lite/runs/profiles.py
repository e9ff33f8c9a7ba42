"""Every number of a run, by profile. Notebooks, tests, the command line and the runs read them from here."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from groupcc_lite.base import near_matches
from groupcc_lite.groups import parse_group


class Range(NamedTuple):
    """Which numbers a field of a profile may have.

    >>> Range("at least 1", lambda value: value >= 1).holds(0)
    False
    """

    words: str
    holds: Callable[[Any], bool]


_COUNT = Range("at least 1", lambda value: value >= 1)
_ANY = Range("a number", lambda value: True)
_POSITIVE = Range("a number above 0", lambda value: value > 0)
_FROM_0 = Range("a number of at least 0", lambda value: value >= 0)
_SHARE = Range("a number from 0 to 1", lambda value: 0 <= value <= 1)
_PART = Range("a number between 0 and 1, and neither", lambda value: 0 < value < 1)
RANGES = {
    "held_out": _PART, "alpha": _ANY,
    **dict.fromkeys(("lr", "base_lr", "transform_lr", "layer_lr", "mask_radius", "radii", "eps", "shares", "active",
                     "superpositions"), _POSITIVE),
    **dict.fromkeys(("sparsity", "l1_sparsities", "noises", "overlaps", "decays", "turned", "elements",
                     "RobustProfile.seeds"), _FROM_0),
    **dict.fromkeys(("sparsities", "fixed", "trained", "tied", "brokens", "amounts", "few_amounts"), _SHARE),
}
"""The range of each number of a profile, and of those of a tuple, by its name, or by that of the profile and its own.
Whole numbers that are not here are counts of at least 1."""


@dataclass(frozen=True)
class Profile:
    """One complete set of settings; make a variant with `dataclasses.replace` or `Run(profile, field=value)`.

    >>> PROFILES["book"].group, PROFILES["smoke"].group
    ('D_16', 'D_4')
    """

    name: str
    summary: str
    """One line for `groupcc profiles` and the page header."""
    group: str = "D_16"
    """Name understood by `groups.parse_group`; D_16 has order 32 (the paper calls it D_32)."""
    model: str = "tiny-inception"
    """Name understood by `models.load_model`."""
    layer: str | None = None
    """Name of the layer that is read; None: the one in the model's name, else mixed3b."""
    drawings: int = 1600
    """Number of procedural drawings, used when no folder of images is given."""
    held_out: float = 0.1
    """Fraction of the images that no coder is trained on."""
    points_per_image: int = 16
    mask_radius: float | None = None
    """Pixels from the centre; None: the largest that keeps receptive fields inside the input."""
    registration: str = "image-centre"
    """What turns about what, see `orbits.sample_orbits`. "patch-centred" reads nothing between cells, and costs |G|
    passes of a small crop a point."""
    stream: bool = False
    """Train from a stream instead of a store on disk."""
    store_images: int | None = None
    """Store the orbits of at most so many images of each part; None: of all."""
    latents: int = 512
    activation: str = "batchtopk"
    k: int | None = 32
    sparsity: float = 0.0
    """lambda of the paper's L1 term, for activation relu."""
    l1_sparsities: tuple[float, ...] = (3.0, 6.0, 12.0)
    """The lambdas of the L1 trade-off curve."""
    topk_ks: tuple[int, ...] = (8, 16, 32, 64)
    """The k of the TopK trade-off curve."""
    curve_steps: int = 150
    """Training steps per point of the trade-off curves."""
    steps: int = 600
    batch_size: int = 1024
    lr: float = 2e-3
    seeds: int = 3
    """Number of seeds where a chapter compares methods."""
    control_images: int | None = None
    """Images for `Run.control`, evenly spread over all of them; None: all."""
    control_steps: int | None = None
    """Training steps of coders of `Run.control`; None: as many as of the others."""
    folds: int = 5
    """Disjoint parts of the images, each held out once: what a number is worth is taken over them."""
    fold_seeds: int = 3
    """Coders with other seeds in each fold."""
    fold_steps: int = 320
    """Training steps of a fold's coders, which are shorter because there are many."""
    fold_batch: int = 256
    transform_steps: int = 300
    """Training steps of one matrix per generator, on the layer's orbits (chapter 13)."""
    vis_size: int = 96
    """Side of a feature visualisation, in pixels."""
    vis_steps: int = 128
    vis_count: int = 48
    """How many features chapter 6 visualises."""
    atlas_size: int = 64
    """The same as `vis_size` for the feature atlas, which draws every feature of two coders."""
    atlas_steps: int = 64
    amp: bool = True
    """bfloat16 matrix products where the processor has them, see `precision`."""


PROFILES = {profile.name: profile for profile in (
    Profile("smoke", "D_4 on a few drawings: everything runs, nothing is measured well", group="D_4",
            drawings=160, points_per_image=16, latents=128, k=16, curve_steps=20, steps=80, batch_size=256,
            l1_sparsities=(3.0, 30.0), topk_ks=(8, 32), seeds=2,
            folds=2, fold_seeds=2, fold_steps=20, fold_batch=128, transform_steps=20,
            vis_size=48, vis_steps=32,
            vis_count=8, atlas_size=48, atlas_steps=16),
    Profile("book", "D_16 on the built-in model and drawings: the default", drawings=1200, points_per_image=20,
            batch_size=256, curve_steps=100, folds=3, fold_seeds=2, fold_steps=80),
    Profile("inception", "D_16 on BVLC GoogLeNet's mixed3b and a folder of photographs", model="googlenet",
            points_per_image=75, latents=1024, k=60, steps=600, batch_size=512, curve_steps=100,
            l1_sparsities=(6.0, 12.0, 24.0), topk_ks=(16, 32, 64, 128), control_images=320, control_steps=120,
            fold_steps=160, vis_count=32),
    Profile("paper", "D_16 on Lucent's InceptionV1 and an ImageNet folder, streamed: the paper's scale",
            model="inceptionv1", points_per_image=10, held_out=0.01, stream=True, store_images=4000,
            latents=4096, activation="relu", k=None, sparsity=12.0, steps=12_000, curve_steps=2000, lr=5e-4,
            control_steps=2000,
            l1_sparsities=(6.0, 12.0, 24.0), topk_ks=(16, 32, 64, 128), vis_count=1024, vis_steps=512,
            atlas_size=80, atlas_steps=256),
)}
"""All profiles of the chapters on one layer, by name."""


def get_profile(profile: str | Profile, /, **changes: Any) -> Profile:
    """The profile of this name, or the given one, with some fields changed; ValueError for what does not exist.

    >>> get_profile("smoke", latents=64).latents
    64
    >>> get_profile("smoke", steps=0)
    Traceback (most recent call last):
    ValueError: steps is 0; expected at least 1, such as 80
    >>> get_profile("smoke", latent=64)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: a profile has no field latent; did you mean 'latents' or ...
    """
    profile = changed_profile(profile, PROFILES, Profile, changes)
    parse_group(profile.group)
    return profile


def changed_profile(profile: Any, known: dict[str, Any], kind: type, changes: dict[str, Any]) -> Any:
    """A profile of `known`, or a given one, with some fields changed; ValueError for what is no profile, no field, or
    no value of a field: of another type than its annotation says, or out of its range."""
    if not isinstance(profile, kind):
        if profile not in known:
            raise ValueError(f"profile is {profile!r}; expected one of {', '.join(known)}")
        profile = known[profile]
    fields = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(changes.keys() - set(fields))
    if unknown:
        raise ValueError(f"a profile has no field {', '.join(unknown)}; {near_matches(unknown[0], sorted(fields))}"
                         f"fields are {', '.join(sorted(fields))}")
    for name in fields:
        _check_value(name, changes.get(name, getattr(profile, name)), kind, (profile, *known.values()))
    return dataclasses.replace(profile, **changes)


def _check_value(name: str, value: Any, kind: type, others: tuple[Any, ...]) -> None:
    """ValueError for what a field of this kind of profile cannot be, with what it can be in one of `others`."""
    type_, allowed = _types(kind)[name], RANGES.get(f"{kind.__name__}.{name}", RANGES.get(name, _COUNT))
    if wanted := _wanted(value, type_, allowed):
        good = next((was for other in others if (was := getattr(other, name)) is not None
                     and not _wanted(was, type_, allowed)), None)
        raise ValueError(f"{name} is {value!r}; expected {wanted}" + ("" if good is None else f", such as {good}"))


@cache
def _types(kind: type) -> dict[str, Any]:
    """What the fields of a kind of profile may be, by name."""
    return get_type_hints(kind)


def _wanted(value: Any, type_: Any, allowed: Range) -> str:
    """What a field of this type and range wants instead of a value, in words; nothing if the value is good."""
    parts = get_args(type_)
    if get_origin(type_) is tuple:
        return _wanted_each(value, parts, allowed)
    if get_origin(type_) is UnionType:  # all are X | None
        wanted = _wanted(value, parts[0], allowed)
        return f"{wanted}, or None" if wanted and value is not None else ""
    words, types = {int: ("a whole number", numbers.Integral), float: (allowed.words, numbers.Real),
                    bool: ("True or False", bool), str: ("text", str)}[type_]
    if not isinstance(value, types) or isinstance(value, bool) != (type_ is bool):
        return words
    return allowed.words if type_ in (int, float) and not (math.isfinite(value) and allowed.holds(value)) else ""


def _wanted_each(values: Any, parts: tuple[Any, ...], allowed: Range) -> str:
    """The same for tuples, of values of one type or one of each."""
    if not isinstance(values, tuple | list):
        return "a tuple"
    types = parts[:1] * len(values) if parts[-1] is Ellipsis else parts
    if len(types) != len(values):
        return f"{len(types)} values"
    wanted = next((found for value, type_ in zip(values, types, strict=True)
                   if (found := _wanted(value, type_, allowed))), "")
    return f"a tuple with each value {wanted}" if wanted else ""
