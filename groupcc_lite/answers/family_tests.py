"""Tests of feature families: are the labels reliable, does the group's element tell the pose, do moved pictures agree.

Labels and preferred orientations come from the encoder's responses to drawings, families from the decoder. Each test
has its own null: the same numbers, handed to other members of the family.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.actions import Action
from groupcc_lite.base import percentile_interval, permutation_p
from groupcc_lite.stimuli import Stimuli, draw

BINS = (-1.0, 0.2, 0.3, 0.4, 0.5, 1.0)
"""Similarities between which `pose_errors` reports."""


def redrawn(shown: Stimuli, *, shift: tuple[int, int] = (0, 0), thickness: float = 1.0, blur: float = 0.0) -> Stimuli:
    """The same stimuli drawn otherwise: moved by pixels (right, down), with other strokes, or blurred (sigma, pixels).

    >>> from groupcc_lite.stimuli import stimuli
    >>> shown = stimuli(size=48, orientations=8)
    >>> moved = redrawn(shown, shift=(2, 0)).images
    >>> torch.equal(moved[..., 2:], shown.images[..., :-2]), torch.equal(redrawn(shown).images, shown.images)
    (True, True)
    """
    images = shown.images
    if thickness != 1.0:
        images = torch.empty_like(images)
        keys = torch.stack([shown.shape.double(), shown.scale.double(), shown.polarity.double()], dim=1)
        for key in keys.unique(dim=0):
            mine = (keys == key).all(1)
            first = int(mine.nonzero()[0])
            grey = shown.images[first, :, 0, 0].tolist()  # nothing is drawn in a corner
            scale = float(shown.scale[first])
            images[mine] = draw(int(shown.shape[first]), shown.orientation[mine], images.shape[-1], scale=scale,
                                half_width=1.4 * max(scale, 0.7) * thickness, background=grey,
                                foreground=[1 - value for value in grey])
    images = images.roll((shift[1], shift[0]), dims=(2, 3))
    return dataclasses.replace(shown, images=_blurred(images, blur) if blur else images)


def _blurred(images: Float[Tensor, "k 3 h w"], sigma: float) -> Float[Tensor, "k 3 h w"]:
    reach = int(np.ceil(3 * sigma))
    kernel = torch.exp(-torch.arange(-reach, reach + 1.0).square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    x = torch.nn.functional.pad(images.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
    x = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, kernel), kernel.mT)
    return x[:, 0].unflatten(0, images.shape[:2])


class LabelAgreement(NamedTuple):
    """How often two sets of labels (-1: none) of the same features agree.

    >>> label_agreement(np.array([0, 0, 1, 1, -1]), np.array([0, 1, 1, -1, 1]))
    LabelAgreement(same=0.5, named=4, agree=0.6666666666666666, chance=0.4444444444444444)
    """

    same: float
    """Share of the features with a first label whose second label is the same; one that lost its label does not."""
    named: int
    """How many have a first label."""
    agree: float
    """The share among those with both labels."""
    chance: float
    """The same for labels handed out at random among those."""


def label_agreement(first: Int[np.ndarray, " m"], second: Int[np.ndarray, " n"]) -> LabelAgreement:
    """Compare two labellings; ValueError for different lengths, NaN where nothing has a label.

    >>> label_agreement(np.array([0, 1, 1]), np.array([0, 1, 1])).same
    1.0
    """
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} and {len(second)} labels; expected two for each feature")
    named, both = first >= 0, (first >= 0) & (second >= 0)
    kinds = int(max(first.max(initial=0), second.max(initial=0))) + 1
    shares = [np.bincount(labels[both], minlength=kinds) / max(both.sum(), 1) for labels in (first, second)]
    agree = float((first == second)[both].mean()) if both.any() else float("nan")
    same = float((first == second)[named].mean()) if named.any() else float("nan")
    return LabelAgreement(same, int(named.sum()), agree, float(shares[0] @ shares[1]))


class PoseErrors(NamedTuple):
    """What the group's element says of preferred orientations, for pairs of one label and some range of similarity.

    >>> PoseErrors(0.5, 1.0, 10, 5.6, 60.0, (30.0, 90.0), 0.001).pairs
    10
    """

    above: float
    """Pairs at least so similar,"""
    below: float
    """and less than this (or exactly 1)."""
    pairs: int
    error: float
    """Degrees between the angle that the element predicts and the preferred one, median."""
    null: float
    """The same with preferred orientations shuffled among the features of each label, mean over the shuffles."""
    interval: tuple[float, float]
    """Where 95 % of the shuffles lie."""
    p: float
    """Share of shuffles that are as good, the real order among them."""


def predicted_angles(angles: Float[np.ndarray, " m"], action: Action) -> Float[np.ndarray, "g m"]:
    """Where each element takes these directions; degrees, counter-clockwise on the screen.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import dihedral
    >>> predicted_angles(np.array([10.0]), PlanarAction(dihedral(4))).round().flatten().astype(int).tolist()
    [10, 100, 190, 280, 170, 80, 350, 260]
    """
    radians = torch.as_tensor(np.radians(angles))
    x, y = action.points(torch.stack([radians.cos(), -radians.sin()], dim=1)).unbind(-1)
    return np.degrees(torch.atan2(-y, x).numpy()) % 360


def circular(difference: Float[np.ndarray, "*k"]) -> Float[np.ndarray, "*k"]:
    """The size of a difference of angles in degrees, 0 to 180.

    >>> circular(np.array([350.0, -190.0])).tolist()
    [10.0, 170.0]
    """
    return np.abs((difference + 180) % 360 - 180)


def pose_errors(similarity: Float[Tensor, "m m"], element: Int[Tensor, "n n"], angles: Float[np.ndarray, " k"],
                labels: Int[np.ndarray, " l"], action: Action, *, bins: Sequence[float] = BINS, shuffles: int = 1000,
                seed: int = 0) -> list[PoseErrors]:
    """Does the element that takes feature j to i (`max_cosine`) also take j's preferred angle to i's?

    For all pairs of features with one label (-1: none) and an angle (degrees, NaN: none), in bins of similarity. The
    null shuffles angles among the features of each label, so that pairs that share a feature stay dependent. ValueError
    for sizes that differ.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import act, max_cosine
    >>> G, f = dihedral(8), torch.randn(1, 16, 5, generator=torch.Generator().manual_seed(0))
    >>> S, element = max_cosine(torch.cat([act(f, G, k) for k in range(8)]), G, elements=True)
    >>> found = pose_errors(S, element, 45.0 * np.arange(8), np.zeros(8, int), PlanarAction(G), bins=(0.9, 1.0))
    >>> found[0].pairs, round(found[0].error, 3), found[0].p < 0.01
    (28, 0.0, True)
    """
    m = len(labels)
    if similarity.shape != (m, m) or element.shape != (m, m) or len(angles) != m:
        raise ValueError(f"similarities {tuple(similarity.shape)}, elements {tuple(element.shape)}, {len(angles)} "
                         f"angles and {m} labels; expected one of each per feature or pair")
    S, h = similarity.cpu().numpy(), element.cpu().numpy()
    named = (labels >= 0) & np.isfinite(angles)
    i, j = np.nonzero(np.triu(named[:, None] & named & (labels[:, None] == labels), 1))
    rng, found = np.random.default_rng(seed), []
    orders = np.tile(np.arange(m), (shuffles + 1, 1))
    for label in set(labels[named].tolist()):
        mine = np.flatnonzero(named & (labels == label))
        for order in orders[1:]:
            order[mine] = rng.permutation(mine)
    predicted = predicted_angles(np.nan_to_num(angles), action)
    for above, below in zip(bins[:-1], bins[1:], strict=True):
        inside = (S[i, j] >= above) & ((S[i, j] < below) | (below == 1))
        a, b = i[inside], j[inside]
        medians = np.array([np.median(circular(predicted[h[a, b], order[b]] - angles[order[a]]))
                            for order in orders]) if len(a) else np.full(shuffles + 1, np.nan)
        p = permutation_p(-(medians[0] + 1e-9), -medians[1:])  # small errors speak against the null
        found.append(PoseErrors(float(above), float(below), len(a), float(medians[0]), float(medians[1:].mean()),
                                percentile_interval(medians[1:]), p))
    return found


class ReposedPictures(NamedTuple):
    """How moved pictures of relatives please each feature; see `reposed_pictures`.

    >>> ReposedPictures._fields
    ('features', 'success', 'shuffled', 'unmoved')
    """

    features: Int[np.ndarray, " k"]
    """Features with enough relatives among those that were drawn."""
    success: Float[np.ndarray, " k"]
    """Share of the other elements that please the feature less than the predicted one, mean over its relatives."""
    shuffled: Float[np.ndarray, " k"]
    """The same with predictions shuffled among its relatives, mean over many shuffles."""
    unmoved: Float[np.ndarray, " k"]
    """The same if every picture stays as it is."""


def reposed_pictures(responses: Float[Tensor, "g k m"], similarity: Float[Tensor, "m m"], element: Int[Tensor, "m m"],
                     drawn: Int[np.ndarray, " n"], *, similar: float = 0.3, fewest: int = 4, shuffles: int = 200,
                     seed: int = 0) -> ReposedPictures:
    """If F_i is like h F_j, does the picture of j please feature i most when it is moved by h?

    `responses[g, a, i]`: of feature i to the picture of feature `drawn[a]`, moved by element g. A relative of i is
    another drawn feature with a similarity of at least `similar` by an element other than e; features with fewer than
    `fewest` are left out. Chance is 1/2, and what shuffling leaves, if relatives often agree by the same elements or
    moved pictures are often liked in general. ValueError for sizes that differ.

    >>> responses = torch.arange(4.0)[:, None, None].expand(4, 5, 5)  # everybody likes element 3
    >>> all_alike, by_three = torch.ones(5, 5), torch.full((5, 5), 3)
    >>> found = reposed_pictures(responses, all_alike, by_three, np.arange(5))
    >>> found.success.tolist() == found.shuffled.tolist() == [1.0] * 5  # nothing to do with who is whose relative
    True
    """
    order, count, m = responses.shape
    if similarity.shape != (m, m) or element.shape != (m, m) or len(drawn) != count:
        raise ValueError(f"responses {tuple(responses.shape)}, similarities {tuple(similarity.shape)}, elements "
                         f"{tuple(element.shape)} and {len(drawn)} drawn features do not fit each other")
    R = responses.cpu().numpy()
    S, h = (table.cpu().numpy()[:, drawn] for table in (similarity, element))
    rng, rows = np.random.default_rng(seed), []
    for i in range(m):
        near = np.flatnonzero((S[i] >= similar) & (h[i] != 0) & (drawn != i))
        if len(near) < fewest:
            continue
        heard = R[:, near, i]
        below = (heard[None] < heard[:, None]).sum(1) + 0.5 * ((heard[None] == heard[:, None]).sum(1) - 1)
        share, who = below / (order - 1), np.arange(len(near))
        mixed = [share[rng.permutation(h[i, near]), who].mean() for _ in range(shuffles)]
        rows.append((i, share[h[i, near], who].mean(), np.mean(mixed), share[0].mean()))
    columns = np.array(rows, dtype=float).reshape(-1, 4).T
    return ReposedPictures(columns[0].astype(int), *columns[1:])
