"""What is read off a study of curve detectors: coverage at equal numbers, predictions of symmetry, neurons taken apart,
and response vectors beside the crosscoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder
from groupcc_lite.groups import FiniteGroup, rotations_of
from groupcc_lite.responses import (
    Contributions,
    Members,
    ResponseVectors,
    TwoDirections,
    Units,
    contributions,
    coverage_at,
    largest_parts,
    response_vectors,
    two_directions,
)
from groupcc_lite.runs import Run
from groupcc_lite.studies.curves import CurveStudy, Detectors
from groupcc_lite.symmetry import max_cosine, profile_stabilisers, self_similarity

CANDIDATES = ("neurons", "SAE, TopK", "crosscoder")
"""Sets in which predicted units are looked for."""
STRONGEST = 64
"""At most so many detectors make predictions, those that photographs excite most."""
BAR = 0.95
"""A prediction is fulfilled if a unit comes closer than this quantile of what random weights offer."""


class EqualNumbers(NamedTuple):
    """How well sets of units cover the circle if each has as many: arrays have a row for each seed, of all its draws.

    >>> EqualNumbers._fields
    ('units', 'detectors', 'gap', 'covered')
    """

    units: int
    """How many units the set has in all, the mean over seeds."""
    detectors: Float[np.ndarray, "s k"]
    gap: Float[np.ndarray, "s k"]
    """Degrees."""
    covered: Float[np.ndarray, "s k"]


def at_equal_numbers(found: Sequence[Detectors], count: int, *, draws: int = 100) -> EqualNumbers:
    """Coverage by `count` units drawn from a set, many times and for every seed of it.

    >>> import math
    >>> from groupcc_lite.responses import Tuning, Turning, neuron_units
    >>> at = torch.tensor([0.0, math.pi])
    >>> tuning, yes = Tuning(at, at.long(), at, at, at, at, at, at, at), torch.tensor([True, True])
    >>> found = Detectors(neuron_units(2), tuning, Turning(at[:, None], at), yes, yes)
    >>> at_equal_numbers([found], 2, draws=1).gap.round().tolist()
    [[180.0]]
    """
    drawn = [coverage_at(each.directions, min(count, each.units.count), draws=draws, seed=number)
             for number, each in enumerate(found)]
    detectors, gap, covered = (np.stack([np.asarray(getattr(each, name), dtype=float) for each in drawn])
                               for name in ("detectors", "gap", "covered"))
    units = round(float(np.mean([each.units.count for each in found])))
    return EqualNumbers(units, detectors, np.degrees(gap), covered)


class Predicted(NamedTuple):
    """What symmetry predicts from some detectors, and who of a set of candidates fulfils it.

    >>> Predicted._fields
    ('detectors', 'members', 'bar', 'above', 'present', 'by_chance')
    """

    detectors: Int[Tensor, " u"]
    """Numbers of the detectors that make the predictions."""
    members: Members
    bar: float
    """`BAR` of the correlations with units of random weights are below it."""
    above: float
    """Share of all predictions to which some candidate comes closer than that; a detector's own place is left out."""
    present: Bool[Tensor, "u k"]
    """By rotation, whether there is a member by both witnesses: above the bar, and itself a curve detector whose
    direction by the arcs is where symmetry puts it, to half a step of the group. Arcs took no part in the matching."""
    by_chance: float
    """Share that would be present if the members' directions were dealt out anew."""

    @property
    def share(self) -> float:
        """Share of the predictions that are fulfilled by both witnesses; a detector's own place is left out.

        >>> none = torch.zeros(1, 4)
        >>> Predicted(torch.tensor([0]), Members(none, none.long()), 0.1, 0.0, none > 0, 0.0).share
        0.0
        """
        return float(self.present[:, 1:].double().mean())


def strongest(found: Detectors, count: int = STRONGEST) -> Int[Tensor, " k"]:
    """Numbers of the confirmed detectors that photographs excite most, the strongest first.

    >>> from groupcc_lite.responses import Tuning, Turning, neuron_units
    >>> at = torch.tensor([0.0, 1.0, 2.0])
    >>> tuning, yes = Tuning(at, at.long(), at, at, at, at, at, at, at), torch.tensor([True, True, False])
    >>> strongest(Detectors(neuron_units(3), tuning, Turning(at[:, None], at), yes, yes)).tolist()
    [1, 0]
    """
    order = found.turning.strength.where(found.confirmed, -1.0).argsort(descending=True)
    return order[: min(count, int(found.confirmed.sum()))]


def predicted(study: CurveStudy, found: Detectors, name: str, candidates: Detectors, seed: int = 0) -> Predicted:
    """Whether the detectors `found` in the last layer have their other orientations among the candidates `name`.

    ValueError if there are no detectors.

    >>> import tempfile
    >>> from groupcc_lite.runs import get_curve_profile
    >>> work = tempfile.TemporaryDirectory()
    >>> small = get_curve_profile("smoke", layers=("conv2d2",), directions=8, radii=(8.0,), turned_images=3)
    >>> study = CurveStudy(small, work=work.name)
    >>> found = study.detectors("conv2d2", study.units("conv2d2", "neurons"))
    >>> every = found._replace(confirmed=found.tuning.peak > 0)  # as if all neurons were detectors
    >>> members = predicted(study, every, "neurons", every)
    >>> members.present.shape[1], bool(members.present[:, 0].all())  # by quarter turns; each finds itself
    (4, True)
    >>> work.cleanup()
    """
    layer, G = study.layers[-1], study.main.group
    chosen = strongest(found)
    if not len(chosen):
        raise ValueError("no unit is a confirmed curve detector, so symmetry predicts nothing; look at other layers")
    base = _some(found.units, chosen)
    members = study.members(layer, base, candidates.units)
    random = study.units(layer, "neurons" if name == "neurons" else "SAE, TopK", weights="random")
    null = study.members(layer, base, random, weights="random").correlation
    bar = float(torch.nanquantile(null, BAR))
    n = rotations_of(G) or 1
    wanted = found.tuning.direction[chosen][:, None] + 2 * torch.pi * torch.arange(n) / n
    there = candidates.directions[members.partner[:, :n]]  # NaN for members that are no detectors
    above = members.correlation > bar
    present = above[:, :n] & _within(there - wanted, torch.pi / n)
    order = torch.randperm(there[:, 1:].numel(), generator=torch.Generator().manual_seed(seed))
    dealt = there[:, 1:].flatten()[order].view_as(there[:, 1:])
    chance = above[:, 1:n] & _within(dealt - wanted[:, 1:], torch.pi / n)
    return Predicted(chosen, members, bar, float(above[:, 1:].double().mean()), present, float(chance.double().mean()))


def _some(units: Units, chosen: Tensor) -> Units:
    return Units(units.name, len(chosen), lambda x: units.read(x)[:, chosen.to(x.device)])


def _within(gap: Tensor, reach: float) -> Tensor:
    return ((gap + torch.pi) % (2 * torch.pi) - torch.pi).abs() <= reach


# ------------------------------------------------------------------------------------------ neurons taken apart

class TakenApart(NamedTuple):
    """A neuron with two directions, and the latents that it consists of, on the stimuli that show it best.

    >>> TakenApart._fields
    ('neuron', 'tuning', 'latents', 'parts', 'rest', 'purity', 'part_purity', 'usual_purity')
    """

    neuron: int
    tuning: Float[Tensor, " d"]
    """What it says to each direction."""
    latents: Int[Tensor, " k"]
    """Those that contribute most."""
    parts: Float[Tensor, "k d"]
    """What each of them writes into the neuron."""
    rest: Float[Tensor, " d"]
    """All other latents and the constant: with `parts` it adds up to the reconstruction."""
    purity: float
    """Vector strength of the neuron over a full turn."""
    part_purity: float
    """The same of its parts, weighted by what they contribute."""
    usual_purity: float
    """The same of all latents that write anything here, weighted by what they respond: what a part has anyway."""


def double_neurons(study: CurveStudy, found: Detectors) -> tuple[Int[Tensor, " k"], TwoDirections]:
    """Neurons of the last layer with two directions that are not opposite, the clearest first, and what was measured.

    `found`: of the layer's neurons. Only those count that arcs excite as much as a detector must be.

    >>> import tempfile
    >>> from groupcc_lite.runs import get_curve_profile
    >>> work = tempfile.TemporaryDirectory()
    >>> small = get_curve_profile("smoke", layers=("conv2d2",), directions=8, radii=(8.0,), turned_images=3)
    >>> study = CurveStudy(small, work=work.name)
    >>> found = study.detectors("conv2d2", study.units("conv2d2", "neurons"))
    >>> doubles, two = double_neurons(study, found)
    >>> bool(two.double[doubles].all())
    True
    >>> work.cleanup()
    """
    table = study.stimuli.table(found.units.read(study.shown(study.layers[-1])))
    best = _at_best(study, table, found)
    two = two_directions(best)
    driven = found.tuning.peak >= study.rule.driven * found.turning.strength
    clear = torch.where(two.double & driven & (found.tuning.curvature > 0), two.lesser * (1 - two.valley), -1.0)
    order = clear.argsort(descending=True)
    return order[:int((clear >= 0).sum())], two


@torch.no_grad()
def take_apart(study: CurveStudy, found: Detectors, neuron: int, coder: GroupCrosscoder, *,
               count: int = 4) -> TakenApart:
    """A neuron of the last layer as a sum over a dictionary's latents, on arcs of its best kind and curvature.

    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> import tempfile
    >>> from groupcc_lite.runs import get_curve_profile
    >>> work = tempfile.TemporaryDirectory()
    >>> small = get_curve_profile("smoke", layers=("conv2d2",), directions=8, radii=(8.0,), turned_images=3)
    >>> study = CurveStudy(small, work=work.name)
    >>> found = study.detectors("conv2d2", study.units("conv2d2", "neurons"))
    >>> apart = take_apart(study, found, 3, SparseAutoencoder(48, 64, activation="topk", k=4))
    >>> apart.parts.shape[1] == len(apart.rest) == 8
    True
    >>> work.cleanup()
    """
    table = study.stimuli.table(found.units.read(study.shown(study.layers[-1])))
    x = _at_best_activations(study, found, neuron)
    parts: Contributions = contributions(coder, x, neuron)
    chosen = largest_parts(parts, count)
    chosen = chosen[parts.parts.sum(0)[chosen] > 0]
    written = parts.parts.clamp(min=0)
    strength = _vector_strength(written.T)
    weight = written.sum(0)
    f = coder.encode(x.to(coder.device)).cpu()
    usual, load = _vector_strength(f.T), f.sum(0)
    return TakenApart(
        neuron, _at_best(study, table, found)[neuron], chosen, parts.parts[:, chosen].T,
        parts.parts.sum(1) - parts.parts[:, chosen].sum(1) + parts.constant, float(found.tuning.one[neuron]),
        float((strength * weight)[chosen].sum() / weight[chosen].sum()),
        float((usual.nan_to_num() * load).sum() / load.sum()))


def _at_best(study: CurveStudy, table: Float[Tensor, "u s c d"], found: Detectors) -> Float[Tensor, "u d"]:
    units = torch.arange(len(table))
    return table[units, found.tuning.style, _nearest(study, found.tuning.curvature)]


def _at_best_activations(study: CurveStudy, found: Detectors, unit: int) -> Float[Tensor, "d n"]:
    every = torch.arange(len(study.stimuli))[:, None].float()
    numbers = study.stimuli.table(every)[0, found.tuning.style[unit], _nearest(study, found.tuning.curvature)[unit]]
    return study.shown(study.layers[-1])[numbers.long()]


def _nearest(study: CurveStudy, curvature: Float[Tensor, " u"]) -> Int[Tensor, " u"]:
    return (curvature.nan_to_num()[:, None] - torch.tensor(study.curvatures)).abs().argmin(1)


def _vector_strength(r: Float[Tensor, "u d"]) -> Float[Tensor, " u"]:
    angle = 2 * torch.pi * torch.arange(r.shape[1]) / r.shape[1]
    return ((r * torch.exp(1j * angle)).sum(1) / r.sum(1)).abs()


# ------------------------------------------------------------------------------------------ response vectors

class ByResponses(NamedTuple):
    """Features compared by their responses, beside the same features compared by their dictionary vectors.

    >>> ByResponses._fields
    ('vectors', 'said', 'written', 'agreement', 'same', 'same_right', 'same_chance')
    """

    vectors: ResponseVectors
    said: Float[Tensor, "m m"]
    """Similarity by responses."""
    written: Float[Tensor, "m m"]
    """Similarity of dictionary vectors."""
    agreement: float
    """Rank correlation of the two, over pairs."""
    same: float
    """Share of features with the same stabiliser on both sides."""
    same_right: float
    """The same if responses are moved from the right, as printed in the paper."""
    same_chance: float
    """The same if labels are dealt out anew."""


def by_responses(run: Run, coder: GroupCrosscoder | FittedCrosscoder, sae: GroupCrosscoder,
                 features: Sequence[int] | Int[np.ndarray, " m"]) -> ByResponses:
    """Compare these features of `sae`, by what they say to held-out orbits, with the blocks that `coder` writes.

    `coder` has the same latents in the same order: the SAE with fitted blocks, or the crosscoder itself.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=16, points_per_image=4, latents=16, k=4, steps=3, batch_size=16,
    ...           work=work.name)
    >>> coder = run.coder()
    >>> by_responses(run, coder, coder, np.flatnonzero(run.evaluate(coder).frequency > 0)[:5]).said.shape
    torch.Size([5, 5])
    >>> work.cleanup()
    """
    from scipy.stats import spearmanr  # slow to import

    G, orbits = run.group, run.orbits("held-out")
    left, right = (response_vectors(sae, orbits, G, features, side=side) for side in ("left", "right"))
    D = coder.dictionary.detach()[torch.as_tensor(np.asarray(features))]
    said, written = left.similarity().cpu(), max_cosine(D, G).cpu()
    upper = torch.triu_indices(len(D), len(D), 1)
    labels = [_labels(c, G) for c in (self_similarity(D, G), left.self_similarity(), right.self_similarity())]
    dealt = np.random.default_rng(run.seed).permutation(labels[1])
    agree = float(spearmanr(said[tuple(upper)].numpy(), written[tuple(upper)].numpy()).statistic)
    same, same_right, chance = (float(np.mean(labels[0] == other)) for other in (labels[1], labels[2], dealt))
    return ByResponses(left, said, written, agree, same, same_right, chance)


def _labels(c: Float[Tensor, "m g"], G: FiniteGroup) -> np.ndarray:
    """Stabilisers by name; features that never respond have none, and agree with nobody."""
    heard = ~c.isnan().any(1).cpu().numpy()
    labels = np.array([f"silent {number}" for number in range(len(c))], dtype=object)
    labels[heard] = [str(found.subgroup.elements) for found in profile_stabilisers(c.cpu()[heard], G)]
    return labels
