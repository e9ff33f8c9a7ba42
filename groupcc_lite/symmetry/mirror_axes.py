"""Which way is up: the mirror axes that features prefer, whether any is preferred, and by how much a preference turned.

A mirror s r^k is a line through the centre of the image. A layer that treats all directions alike has features with all
of these lines equally often; what prefers some of them can be the images, the network, or the pixels. `axis_weights`
and `axis_votes` give each feature's share in each axis, `isotropy` asks whether the axes are preferred equally, and
`preference_turn` by what angle two roses of axes differ. `MovedOrbits` are orbits of images that have been moved first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import bootstrap, digest, percentile_interval, permutation_p
from groupcc_lite.orbits import OrbitSource, StoredOrbits, TensorOrbits
from groupcc_lite.symmetry.block_action import act
from groupcc_lite.symmetry.spectra import centred
from groupcc_lite.symmetry.stabiliser import Stabiliser

COPY = 0.7
"""Plain cosine from which on two features are taken for copies of each other."""


class MirrorAxes(NamedTuple):
    """The mirrors of a planar action, in the order of the elements.

    >>> from groupcc_lite.groups import dihedral
    >>> axes = axes_of(PlanarAction(dihedral(4)))
    >>> axes.step, axes.nearest(50), axes.exact.all()
    (45.0, 1, np.True_)
    """

    elements: tuple[int, ...]
    """Their numbers."""
    angles: Float[np.ndarray, " k"]
    """Of the lines they mirror about, in degrees from 0 to 180: 0 is level, 90 upright, 45 rises to the right."""
    exact: Bool[np.ndarray, " k"]
    """Which of them move pixels to pixels."""

    @property
    def step(self) -> float:
        """Degrees between neighbouring axes."""
        return 180 / len(self.elements)

    def nearest(self, angle: float | int) -> int:
        """The place of the axis nearest to a direction, in degrees."""
        return int(np.abs((self.angles - angle + 90) % 180 - 90).argmin())


def axes_of(action: PlanarAction) -> MirrorAxes:
    """The lines that a planar action mirrors about, as seen on the screen. ValueError if it has none.

    In D_n the axis of s r^k lies at 90 - 180 k / n degrees: s exchanges left and right, so its axis is upright.

    >>> from groupcc_lite.groups import dihedral
    >>> axes_of(PlanarAction(dihedral(4))).angles.tolist()
    [90.0, 45.0, 0.0, 135.0]
    """
    elements = tuple(g for g, matrix in enumerate(action.matrices) if np.linalg.det(matrix) < 0)
    if not elements:
        raise ValueError(f"{action.group.name} has no mirror; expected a planar action with some, such as that of D_n")
    matrices = action.matrices[list(elements)]
    # [[cos 2a, sin 2a], [sin 2a, -cos 2a]] mirrors about the line at angle a. y points down, so it is -a on the screen.
    angles = np.degrees(-np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]) / 2).round(6) % 180
    return MirrorAxes(elements, angles + 0.0, action.exact[list(elements)])


def axis_weights(c: Float[Tensor, "m g"], axes: MirrorAxes) -> Float[np.ndarray, "m k"]:
    """How much each feature leans to each axis, no threshold: its centred profile at the mirrors, less their mean.

    >>> from groupcc_lite.groups import dihedral
    >>> axes = axes_of(PlanarAction(dihedral(2)))
    >>> axis_weights(torch.tensor([[1.0, 0.2, 0.8, 0.0]]), axes).round(2).tolist()
    [[0.8, -0.8]]
    """
    weights = centred(c.detach().cpu().double())[:, list(axes.elements)].numpy()
    return weights - weights.mean(1, keepdims=True)


def axis_votes(found: Sequence[Stabiliser], axes: MirrorAxes) -> Float[np.ndarray, "v k"]:
    """One row for each feature whose stabiliser is a single mirror: 1 at its axis. The column sums are the counts.

    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import profile_stabilisers
    >>> G = dihedral(2)
    >>> c = torch.tensor([[1.0, -0.8, 0.6, -0.8], [1.0, -0.3, -0.3, -0.4]])
    >>> axis_votes(profile_stabilisers(c, G), axes_of(PlanarAction(G))).tolist()
    [[1.0, 0.0]]
    """
    place = {element: k for k, element in enumerate(axes.elements)}
    return np.eye(len(axes.elements))[[place[found[i].subgroup.elements[1]] for i in axis_voters(found, axes)]]


def axis_voters(found: Sequence[Stabiliser], axes: MirrorAxes) -> Int[np.ndarray, " v"]:
    """Which features the rows of `axis_votes` belong to.

    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import profile_stabilisers
    >>> G = dihedral(2)
    >>> c = torch.tensor([[1.0, -0.3, -0.3, -0.4], [1.0, -0.8, 0.6, -0.8]])
    >>> axis_voters(profile_stabilisers(c, G), axes_of(PlanarAction(G)))
    array([1])
    """
    return np.array([i for i, s in enumerate(found)
                     if s.subgroup.order == 2 and s.subgroup.elements[1] in axes.elements], dtype=int)


def copies(D: Float[Tensor, "m g d"], *, cosine: float = COPY) -> Int[np.ndarray, " m"]:
    """A number for each feature, the same for copies: those joined by plain cosines of at least `cosine`, in chains.

    Copies moved by an element of the group are no copies here: their axes differ.

    >>> D = torch.tensor([[[1.0], [0.0]], [[0.0], [1.0]], [[2.0], [0.1]]])
    >>> copies(D)
    array([0, 1, 0])
    """
    from scipy.sparse import csr_matrix  # slow to import
    from scipy.sparse.csgraph import connected_components

    F = torch.nn.functional.normalize(D.detach().cpu().float().flatten(1), dim=1)
    return connected_components(csr_matrix((F @ F.T >= cosine).numpy()), directed=False)[1].astype(int)


def isotropy(rows: Float[np.ndarray, "m k"], *, copies: Int[np.ndarray, " r"] | None = None, draws: int = 2000,
             seed: int = 0) -> float:
    """How often chance alone would prefer some axes as strongly: the p value of a test that all are preferred equally.

    Under the null a feature's row is as likely as the same row moved on by any number of axes, independently of the
    other features. So rows are shifted at random, each by its own number of places, and the variance of the mean row is
    compared with that of the rows as they are. Features that are copies of each other have one axis without the layer
    preferring it: rows with the same number in `copies` are shifted together; without it all count as independent.

    For votes this is a multinomial test; the chi-square approximation to it is poor where an axis expects fewer than
    five features; for weights it keeps every feature's smoothness. Left out is the part that alternates from axis to
    axis: it tells the two classes of mirrors of D_n apart, for even n, which no element exchanges, and `surrogate`
    keeps it. NaN for no rows; ValueError unless `copies` has one number for each row.

    >>> rng = np.random.default_rng(0)
    >>> votes = np.eye(8)[rng.integers(0, 8, 100)]
    >>> isotropy(votes) > 0.05, isotropy(np.concatenate([votes, np.eye(8)[[2] * 30]])) < 0.01
    (True, True)
    """
    rows = np.asarray(rows, dtype=float)
    if not len(rows):
        return float("nan")
    rng, count = np.random.default_rng(seed), rows.shape[1]
    if copies is not None:
        if np.shape(copies) != (len(rows),):
            raise ValueError(f"copies has shape {np.shape(copies)}; expected ({len(rows)},), one number for each row")
        _, group = np.unique(copies, return_inverse=True)
        total = np.zeros((group.max() + 1, count))
        np.add.at(total, group, rows)
        rows = total
    spectra = np.fft.rfft(rows, axis=1)
    frequencies = np.arange(spectra.shape[1])
    # A shift multiplies Fourier coefficients by phases; by Parseval their squares give the variance of the mean row.
    fold = np.full(len(frequencies), 2.0)
    fold[0] = 0.0
    if count % 2 == 0:
        fold[-1] = 0.0
    turns = np.exp(-2j * np.pi * np.outer(np.arange(count), frequencies) / count)

    def strength(total: np.ndarray) -> float:
        return float((fold * np.abs(total) ** 2).sum())

    real = strength(spectra.sum(0))
    chance = [strength((spectra * turns[rng.integers(0, count, len(rows))]).sum(0)) for _ in range(draws)]
    return permutation_p(real * (1 - 1e-9), chance)


class Turn(NamedTuple):
    """By how much one rose of axes is turned against another.

    >>> Turn(10.0, np.array([8.0, 12.0, -80.0, 99.0])).within(10, reach=5)
    0.5
    """

    angle: float
    """Degrees, counter-clockwise, from -90 to 90; NaN where a rose is empty or quite flat."""
    samples: Float[np.ndarray, " b"]
    """The same for features drawn anew, with replacement."""

    @property
    def interval(self) -> tuple[float, float]:
        """Where the angle lies with 95 % confidence: quantiles of the samples about it, on the circle of 180 degrees.

        Ends may lie beyond -90 or 90: an angle of 85 and one of -85 are ten degrees apart.

        >>> Turn(88.0, np.array([86.0, 88.0, -88.0])).interval
        (86.1, 91.8)
        """
        apart = (self.samples - self.angle + 90) % 180 - 90
        low, high = percentile_interval(apart)
        return round(low + self.angle, 6), round(high + self.angle, 6)

    def within(self, angle: float | int, reach: float | int) -> float:
        """Share of the samples that lie at most `reach` degrees from an angle; NaN without an angle."""
        if np.isnan(self.angle):
            return float("nan")
        return float((np.abs((self.samples - angle + 90) % 180 - 90) <= reach).mean())


def preference_turn(reference: Float[np.ndarray, "m k"], angles: Float[np.ndarray, " k"],
                    other: Float[np.ndarray, "n k"], other_angles: Float[np.ndarray, " k"], *,
                    draws: int = 500, seed: int = 0) -> Turn:
    """The angle by which the mean of `other` is turned against that of `reference`: where they correlate best.

    Rows are those of `axis_weights` or `axis_votes`, columns equally spaced axes at the given angles, which may lie
    between each other's: the roses are compared as Fourier series, to half a degree. Nearly flat roses give any angle;
    the samples show it. NaN, samples included, for no rows. Features are drawn as if they were independent.

    >>> angles, votes = np.arange(8) * 22.5, np.eye(8)[[2] * 20 + [0, 1, 3, 4, 5, 6, 7] * 2]
    >>> turn = preference_turn(votes, angles, np.roll(votes, 1, axis=1), angles)
    >>> turn.angle, turn.within(22.5, 5) > 0.9
    (22.5, True)
    """
    if not len(reference) or not len(other):
        return Turn(float("nan"), np.full(draws, np.nan))
    count = len(angles)
    frequencies = np.arange(1, (count + 1) // 2)
    trials = np.arange(-90, 90, 0.5)
    phases = np.exp(2j * np.outer(np.radians(trials), frequencies))
    first, second = (np.asarray(rows) @ np.exp(2j * np.outer(np.radians(at), frequencies))
                     for rows, at in ((reference, angles), (other, other_angles)))

    def best(a: np.ndarray, b: np.ndarray) -> float:
        alike = (phases * (a * b.conj())[None]).real.sum(1)
        return float(trials[alike.argmax()]) if np.ptp(alike) > 1e-12 else float("nan")

    samples = bootstrap(lambda i, j: best(first[i].mean(0), second[j].mean(0)), len(first), len(second), draws=draws,
                        seed=seed)
    return Turn(best(first.mean(0), second.mean(0)), samples)


class MovedOrbits(OrbitSource):
    """The orbits of images that were moved by h first: block g of the orbit of (hI, hp) is block gh of that of (I, p).

    So nothing is computed anew; the blocks get other numbers, and a crosscoder on these orbits reads what was block h.
    A source of anything that `StoredOrbits` and `TensorOrbits` offer. ValueError for a number that is no element.

    >>> from groupcc_lite.groups import cyclic
    >>> x = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> next(MovedOrbits(TensorOrbits(x, cyclic(3)), 1).in_order()).flatten().tolist()
    [1.0, 2.0, 0.0]
    """

    def __init__(self, source: StoredOrbits | TensorOrbits, h: int):
        if not 0 <= h < source.group.order:
            raise ValueError(f"h is {h}; expected an element's number, 0 to {source.group.order - 1}")
        self.source, self.h = source, h
        self.group, self.channels, self.scale = source.group, source.channels, source.scale
        self.exact = np.asarray(source.exact)[source.group.regular[h]]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def fingerprint(self) -> str | None:
        """That of the source and the element."""
        return None if self.source.fingerprint is None else digest([self.source.fingerprint, self.h])

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        for batch in self.source.batches(batch_size, seed=seed, epoch=epoch, start=start):
            yield act(batch, self.group, self.h)[:, elements]

    def in_order(self, batch_size: int = 1024, *, elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        """Every row once, in order."""
        for batch in self.source.in_order(batch_size):
            yield act(batch, self.group, self.h)[:, elements]
