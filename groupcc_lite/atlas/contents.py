"""The feature atlas: everything its page shows about every feature of a crosscoder and of an SAE, as plain arrays.

`make_atlas` asks a `Run` for both maps, measures the features and draws their pictures. `storage` knows how this lies
on disk, and `web_page` puts a page around it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree

from groupcc_lite.actions import ColourAction, PlanarAction, standard_matrices
from groupcc_lite.base import digest, package_version, progress_bar, provenance
from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder
from groupcc_lite.groups import Subgroup, rotations_of
from groupcc_lite.models import BaseModel
from groupcc_lite.runs import KINDS, FeatureTable, Run
from groupcc_lite.stimuli import SHAPE_NAMES
from groupcc_lite.symmetry import FALSE_RATE, INVARIANT, TAU, testable

VERSION = 2
"""Raise it when the same maps and pictures give another atlas; one made before is then made anew."""

BATCH = 16
"""Pictures that are drawn at once and kept together."""


class Pictures(NamedTuple):
    """Feature visualisations of some rows of a table.

    >>> Pictures(np.array([2, 5]), np.zeros((2, 24, 24, 3), np.uint8)).row.tolist()
    [2, 5]
    """

    row: Int[np.ndarray, " k"]
    """Which rows, increasing."""
    image: UInt8[np.ndarray, "k s s 3"]


class Atlas(NamedTuple):
    """Everything the page shows; tables and pictures by kind of coder.

    >>> Atlas._fields
    ('facts', 'tables', 'pictures')
    """

    facts: dict[str, Any]
    tables: dict[str, FeatureTable]
    pictures: dict[str, Pictures]


def placed(table: FeatureTable) -> FeatureTable:
    """The table with the places that its features have on the page: in [0, 1], and pushed apart where they overlap.

    >>> from groupcc_lite.runs import Relatives
    >>> none, two = np.zeros(2, dtype=int), np.array([[5.0, 5.0], [5.0, 5.0]])
    >>> table = FeatureTable("sae", 9, np.array([3, 8]), two, none / 1, none, none, {},
    ...                      Relatives(none[:, None], none[:, None] / 1, none[:, None]), None)
    >>> bool(np.linalg.norm(np.diff(placed(table).xy, axis=0)) > 0.5)
    True
    """
    return dataclasses.replace(table, xy=spread(table.xy))


def spread(points: Float[np.ndarray, "m 2"], *, rounds: int = 400) -> Float[np.ndarray, "m 2"]:
    """Points of a map in [0, 1], pushed apart where one would hide another; islands grow, their order stays.

    Circles around the points, so large that all of them together would cover a quarter of the square, no longer
    overlap much: every feature can be pointed at. Points in the same place leave it in different directions.
    """
    def fitted(p: np.ndarray) -> np.ndarray:
        return (p - p.min(0)) / max(float(np.ptp(p, axis=0).max()), 1e-9)

    p, apart = fitted(points.astype(np.float64)), (1 / (np.pi * len(points))) ** 0.5
    turns = 2.4 * np.arange(len(p))  # the golden angle: neighbours in number point in different directions
    p += 1e-6 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    for _ in range(rounds):
        i, j = cKDTree(p).query_pairs(apart, output_type="ndarray").T
        if not len(i):
            break
        gap = p[i] - p[j]
        distance = np.linalg.norm(gap, axis=1, keepdims=True)
        push = 0.3 * (apart - distance) * gap / np.maximum(distance, 1e-12)
        np.add.at(p, i, push)
        np.add.at(p, j, -push)
    return fitted(p)


# ---------------------------------------------------------------------------------------------------- the group

def group_facts(action: PlanarAction | ColourAction) -> dict[str, Any]:
    """The group for the page: names, angles, irreps, and how each element moves a picture.

    `circle` holds the angle in degrees, counter-clockwise from the right, at which an element stands on its circle:
    rotations by their angle and, where the group acts on the plane in the usual way, mirrors by their axis, which has
    two ends 180 degrees apart. It is None for groups that are neither cyclic nor dihedral.
    """
    G, n = action.group, rotations_of(action.group)
    usual = standard_matrices(G)
    planar = n is not None and usual is not None and np.allclose(action.matrices, usual)
    circle = None
    if n is not None:
        turns = 360 * np.arange(n) / n
        circle = np.concatenate([turns, (90 - turns / 2) % 180 if planar else turns])[:G.order].tolist()
    return dict(name=G.name, order=G.order, elements=list(G.names), rotations=n, planar=planar, circle=circle,
                matrices=action.matrices.reshape(G.order, 4).tolist(),
                colours=action.colours.reshape(G.order, 9).tolist() if isinstance(action, ColourAction) else None,
                irreps=[dict(name=irrep.name, dim=irrep.dim, meaning=irrep.meaning) for irrep in G.irreps()])


def symmetry_words(H: Subgroup, action: PlanarAction | ColourAction) -> str:
    """Which elements a subgroup holds, for people: "half turn and 2 mirrors", "all 32 elements"."""
    G, n = action.group, rotations_of(action.group)
    if H.order == 1:
        return "nothing but the identity"
    if H.order == G.order:
        return f"all {G.order} elements"
    if n is None or not group_facts(action)["planar"]:
        names = [G.names[h] for h in H.elements[1:]]
        return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    turns = sum(h < n for h in H.elements)
    mirrors = H.order - turns
    rotations = {1: "", 2: "the half turn"}.get(turns, f"turns by multiples of {360 / turns:g}°")
    reflections = {0: "", 1: "one mirror"}.get(mirrors, f"{mirrors} mirrors")
    return " and ".join(filter(None, (rotations, reflections)))


# ------------------------------------------------------------------------------------------------- the pictures

def drawing_order(count: int) -> Int[np.ndarray, " count"]:
    """0 .. count - 1 such that every beginning is spread evenly: the numbers by their reversed bits.

    A rendering that stops early then leaves a sample of all features, and one that goes on repeats nothing.
    """
    bits = max(1, (count - 1).bit_length())
    reversed_bits = [int(f"{k:0{bits}b}"[::-1], 2) for k in range(2**bits)]
    return np.array([k for k in reversed_bits if k < count], dtype=np.int64)


def central_window(model: BaseModel, size: int) -> slice:
    """Rows, and columns, of a picture of this size that lie in its central cell's receptive field, evenly around it.

    The pattern's centre becomes the centre of what is cut out, so that turning the cut turns the pattern on the spot.
    """
    geometry = (model if size == model.input_size else model.at_size(size)).geometry
    centre = round(geometry.first + geometry.stride * geometry.centre_cell)
    reach = min(geometry.receptive_field // 2, centre, size - 1 - centre)
    return slice(centre - reach, centre + reach + 1)


def feature_pictures(run: Run, coder: GroupCrosscoder | FittedCrosscoder, features: Int[np.ndarray, " m"], *,
                     size: int, steps: int,
                     limit: int | None = None) -> Pictures:
    """Feature visualisations by encoder direction, of all features or of `limit` of them, evenly spread.

    Every BATCH of them is an artefact, so that an interrupted call goes on, and a larger limit adds to a smaller one.
    """
    rows = drawing_order(len(features))[:limit]
    if not len(rows):
        return Pictures(np.zeros(0, dtype=np.int64), np.zeros((0, 1, 1, 3), dtype=np.uint8))
    parts = []
    with progress_bar(total=len(rows), desc="atlas pictures", unit="picture") as bar:
        for first in range(0, len(rows), BATCH):
            parts.append(run.visualise(coder, features[rows[first:first + BATCH]], size=size, steps=steps,
                                       progress=False))
            bar.update(len(parts[-1]))
    images, window, ordered = np.concatenate(parts), central_window(run.model, size), np.argsort(rows)
    cut: UInt8[np.ndarray, "k s s 3"] = (images[ordered][:, window, window] * 255).round().astype(np.uint8)
    return Pictures(rows[ordered], cut)


# ---------------------------------------------------------------------------------------------------- the atlas

def make_atlas(run: Run, *, pictures: int | None = None, size: int | None = None, steps: int | None = None,
               count: int = 8) -> Atlas:
    """The atlas of a run's crosscoder and SAE; whatever they need is made first. Interrupted, the next call goes on.

    Settings as for `atlas_settings`.
    """
    settings = atlas_settings(run, pictures=pictures, size=size, steps=steps, count=count)
    drawing = {key: settings[key] for key in ("size", "steps")}
    tables, drawn = {}, {}
    for kind in KINDS:
        tables[kind] = placed(run.feature_table(kind, count=count))
        drawn[kind] = feature_pictures(run, run.coder(kind), tables[kind].features, limit=pictures, **drawing)
    return Atlas(dict(fingerprint=fingerprint(run, settings), **run_facts(run, tables, **drawing)), tables, drawn)


def atlas_settings(run: Run, *, pictures: int | None = None, size: int | None = None, steps: int | None = None,
                   count: int = 8) -> dict[str, int | None]:
    """The settings of an atlas, complete and possible, before anything long starts.

    `pictures`: draw so many features of each map, evenly spread, instead of all. `size` and `steps` of a picture
    default to the profile's `atlas_size` and `atlas_steps`. `count`: relatives per feature. ValueError for numbers
    that are too small, and for pictures smaller than the network takes.
    """
    size = run.model.usable_size(run.profile.atlas_size) if size is None else size
    steps = run.profile.atlas_steps if steps is None else steps
    for name, value, least in (("size", size, 1), ("steps", steps, 1), ("count", count, 1), ("pictures", pictures, 0)):
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}; expected at least {least}")
    central_window(run.model, size)
    return dict(pictures=pictures, size=size, steps=steps, count=count)


def fingerprint(run: Run, settings: dict[str, int | None]) -> str:
    """Name of everything an atlas depends on; known before anything is made.

    The keys of both maps hold the coders, the images that judge them and whose code made them; the rest is what the
    atlas adds: the thresholds of stabilisers, pictures, and the version of this module.
    """
    maps = [run.recipes.family_map(kind, kind != "sae", run.seed).key for kind in KINDS]
    return digest([VERSION, maps, TAU, INVARIANT, FALSE_RATE, _drawn_by(), settings])


def _drawn_by() -> list[str]:
    """Whose code draws the pictures."""
    return [package_version(package) for package in ("torch-lucent", "kornia")]


def run_facts(run: Run, tables: dict[str, FeatureTable], **drawing: int) -> dict[str, Any]:
    """Where an atlas comes from, its group, the stabilisers that occur in it, and the names of the drawn shapes.

    `drawing`: the `size` and `steps` of its pictures.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as work:
    ...     run_facts(Run("smoke", group="C_4", work=work), {}, size=12, steps=1)["group"]["elements"]
    ['e', 'r', 'r^2', 'r^3']
    """
    origin = provenance(**run.report("atlas").facts)
    keys = ("commit", "date", "seed", "model", "layer", "model_fingerprint", "images", "images_sha256")
    used = sorted({k for table in tables.values() if (found := table.symmetries) is not None
                   for k in (*found.subgroup.tolist(), *found.supported.tolist())})
    subgroups = [(k, run.group.subgroups()[k]) for k in used]
    return dict(profile=run.profile.name, **{key: origin[key] for key in keys}, drawing=drawing, tau=TAU,
                invariant=INVARIANT, false_rate=FALSE_RATE, group=group_facts(run.action), shapes=list(SHAPE_NAMES),
                subgroups={str(k): dict(label=H.label, elements=list(H.elements), words=symmetry_words(H, run.action),
                                        testable=testable(H, run.group))
                           for k, H in subgroups})
