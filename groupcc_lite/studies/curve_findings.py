"""What is read off a study of curve detectors: coverage at equal numbers, predictions of symmetry, neurons in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import rotations_of
from groupcc_lite.responses import (
    Contributions,
    Members,
    TwoDirections,
    Units,
    contributions,
    correlations_by_element,
    coverage_at,
    largest_parts,
    orbit_members,
    two_directions,
)
from groupcc_lite.studies.curves import CurveStudy, Detectors

STRONGEST = 64
"""At most so many detectors make predictions, those that photographs excite most."""
BAR = 0.95
"""A prediction is fulfilled if a unit comes closer than this quantile of what random weights offer."""
DEALS = 100
"""Over so many deals of directions, or of decoder weights, chance is averaged."""


class EqualNumbers(NamedTuple):
    """How well sets of units cover the circle if each has as many: arrays have a row for each seed, of all its draws.

    >>> EqualNumbers._fields
    ('units', 'detectors', 'gap', 'covered', 'gap_of_kind', 'gap_of_curvature', 'by_chance')
    """

    units: int
    """How many units the set has in all, the mean over seeds."""
    detectors: Float[np.ndarray, "s k"]
    gap: Float[np.ndarray, "s k"]
    """Degrees; largest gap between directions of all detectors."""
    covered: Float[np.ndarray, "s k"]
    gap_of_kind: Float[np.ndarray, "s k"]
    """Largest gap within a kind and polarity, the mean over these."""
    gap_of_curvature: Float[np.ndarray, "s k"]
    """The same within a curvature."""
    by_chance: dict[str, Float[np.ndarray, "s k"]]
    """The three gaps by name, for as many uniformly random directions of the same kinds and curvatures."""


def at_equal_numbers(found: Sequence[Detectors], count: int, *, styles: int, curvatures: int,
                     draws: int = 100) -> EqualNumbers:
    """Coverage by `count` units drawn from a set, many times and for every seed of it.

    `styles`: how many kinds and polarities of stimuli there are; `curvatures`: how many above 0. Detectors of each are
    looked for in every set, whether it has them or not. ValueError for sets with fewer units.

    >>> import math
    >>> from groupcc_lite.responses import Tuning, Turning, neuron_units
    >>> at = torch.tensor([0.0, math.pi])
    >>> tuning = Tuning(at, at.long() * 0, at, at.long() * 0 + 1, *[at] * 6)
    >>> found = Detectors(neuron_units(2), tuning, Turning(at[:, None], at), at >= 0, at >= 0)
    >>> equal = at_equal_numbers([found], 2, styles=2, curvatures=1, draws=1)
    >>> equal.gap.round().tolist(), equal.gap_of_kind.round().tolist()  # nobody has the second style
    ([[180.0]], [[270.0]])
    """
    groups = dict(gap=(1, lambda each: None), gap_of_kind=(styles, lambda each: each.tuning.style.numpy()),
                  gap_of_curvature=(curvatures, lambda each: each.tuning.row.numpy() - 1))  # row 0 is straight
    made = {name: [coverage_at(each.directions, count, groups=group(each), kinds=kinds, draws=draws, seed=number)
                   for number, each in enumerate(found)] for name, (kinds, group) in groups.items()}
    gaps, by_chance = ({name: np.degrees(np.stack([getattr(each, field) for each in of_seeds]))
                        for name, of_seeds in made.items()} for field in ("gap", "gap_by_chance"))
    return EqualNumbers(round(float(np.mean([each.units.count for each in found]))),
                        np.stack([each.detectors.astype(float) for each in made["gap"]]),
                        covered=np.stack([each.covered for each in made["gap"]]), **gaps, by_chance=by_chance)


class Predicted(NamedTuple):
    """What symmetry predicts from some detectors, and who of a set of candidates fulfils it.

    A prediction is fulfilled, its member *present*, by two witnesses: the closest candidate comes closer than the bar,
    and is itself a curve detector whose direction by the arcs is where symmetry puts it, to half a step of the group.
    Arcs take no part in the matching.

    >>> Predicted._fields
    ('detectors', 'members', 'present', 'above', 'share', 'unturned', 'by_chance')
    """

    detectors: Int[Tensor, " u"]
    """Numbers of the detectors that make the predictions."""
    members: Members
    """Among all candidates."""
    present: Bool[Tensor, "u k"]
    """By rotation, among all candidates."""
    above: float
    """At equal numbers: share of predictions to which some candidate comes closer than the bar; rotations only, and
    without that by nothing."""
    share: Float[np.ndarray, " u"]
    """At equal numbers: of each detector's predictions, the share that is present, the mean over draws."""
    unturned: Float[np.ndarray, " u"]
    """The same for the detector as it is, a yardstick: some set may have the detector and not its turned copies."""
    by_chance: float
    """The mean share if the directions of the detectors among the candidates were dealt out anew among them."""


def strongest(found: Detectors, count: int = STRONGEST) -> Int[Tensor, " k"]:
    """Numbers of the confirmed detectors that photographs excite most, the strongest first.

    >>> from groupcc_lite.responses import Tuning, Turning, neuron_units
    >>> at = torch.tensor([0.0, 1.0, 2.0])
    >>> tuning, yes = Tuning(at, at.long(), at, at.long(), *[at] * 6), torch.tensor([True, True, False])
    >>> strongest(Detectors(neuron_units(3), tuning, Turning(at[:, None], at), yes, yes)).tolist()
    [1, 0]
    """
    order = found.turning.strength.where(found.confirmed, -1.0).argsort(descending=True)
    return order[: min(count, int(found.confirmed.sum()))]


def bar_of_random_weights(study: CurveStudy, found: Detectors) -> float:
    """How close the neurons of the network with random weights come to what these detectors of the last layer predict.

    `BAR` of all predictions together have none that is closer. They are asked about the same places of the same
    photographs. ValueError if there are no detectors.

    >>> import tempfile
    >>> from groupcc_lite.runs import get_curve_profile
    >>> work = tempfile.TemporaryDirectory()
    >>> small = get_curve_profile("smoke", layers=("conv2d2",), directions=8, radii=(8.0,), turned_images=3)
    >>> study = CurveStudy(small, work=work.name)
    >>> found = study.detectors("conv2d2", study.units("conv2d2", "neurons"))
    >>> every = found._replace(confirmed=found.tuning.peak > 0)  # as if all neurons were detectors
    >>> 0 < bar_of_random_weights(study, every) < 1
    True
    >>> work.cleanup()
    """
    layer = study.layers[-1]
    random = study.units(layer, "neurons").of_orbits(study.turned(layer, "random"))
    return float(torch.nanquantile(orbit_members(_base(study, found)[1], random, study.main.group).correlation, BAR))


def predicted(study: CurveStudy, found: Detectors, candidates: Detectors, bar: float, count: int, *,
              weights: str = "trained", draws: int = 50, seed: int = 0) -> Predicted:
    """Whether the detectors `found` in the last layer have their other orientations among candidates.

    `found` and the candidates are other units, or a detector would be its own closest match; `weights`: those of the
    network that candidates are units of. `bar` is that of `bar_of_random_weights`; `count` candidates are drawn
    `draws` times, so that sets can be compared. ValueError for fewer candidates, and if there are no detectors.

    >>> import tempfile
    >>> from groupcc_lite.runs import get_curve_profile
    >>> work = tempfile.TemporaryDirectory()
    >>> small = get_curve_profile("smoke", layers=("conv2d2",), directions=8, radii=(8.0,), turned_images=3)
    >>> study = CurveStudy(small, work=work.name)
    >>> found = study.detectors("conv2d2", study.units("conv2d2", "neurons"))
    >>> every = found._replace(confirmed=found.tuning.peak > 0)  # as if all neurons were detectors
    >>> result = predicted(study, every, every, 0.2, 20, draws=2)
    >>> result.present.shape[1], bool(result.present[:, 0].all())  # by quarter turns; here each does find itself
    (4, True)
    >>> work.cleanup()
    """
    if count > candidates.units.count:
        raise ValueError(f"count is {count}; expected at most {candidates.units.count}, the number of candidates")
    G, n = study.main.group, rotations_of(study.main.group) or 1
    chosen, base = _base(study, found)
    heard = candidates.units.of_orbits(study.turned(study.layers[-1], weights))
    table = torch.stack([part.nan_to_num(-torch.inf) for part in correlations_by_element(base, heard, G)], 1)
    wanted = found.tuning.direction[chosen][:, None] + 2 * torch.pi * torch.arange(n) / n
    generator = torch.Generator().manual_seed(seed)
    directions, counts = candidates.directions, torch.zeros(2, dtype=torch.double)
    shares, unturned, above = [], [], []
    for _ in range(draws):
        drawn = torch.randperm(candidates.units.count, generator=generator)[:count]
        closest, which = table[:, :n, drawn].max(2)
        present = (closest > bar) & _within(directions[drawn][which] - wanted, torch.pi / n)
        shares.append(present[:, 1:].double().mean(1))
        unturned.append(present[:, 0].double())
        above.append((closest > bar)[:, 1:].double().mean())
        for _ in range(max(1, DEALS // draws)):
            dealt = _dealt(directions[drawn], generator)
            hit = (closest > bar) & _within(dealt[which] - wanted, torch.pi / n)
            counts += torch.tensor([hit[:, 1:].double().mean(), 1.0], dtype=torch.double)
    value, partner = table.max(2)
    whole = (value[:, :n] > bar) & _within(directions[partner[:, :n]] - wanted, torch.pi / n)
    return Predicted(chosen, Members(value.where(value > -torch.inf, torch.nan), partner), whole,
                     float(torch.stack(above).mean()), torch.stack(shares).mean(0).numpy(),
                     torch.stack(unturned).mean(0).numpy(), float(counts[0] / counts[1]))


def _dealt(directions: Float[Tensor, " k"], generator: torch.Generator) -> Float[Tensor, " k"]:
    """Directions in another order; NaN stays where it is, since chance is not about who is a detector."""
    known = torch.nonzero(~directions.isnan()).flatten()
    dealt = directions.clone()
    dealt[known] = directions[known[torch.randperm(len(known), generator=generator)]]
    return dealt


def _base(study: CurveStudy, found: Detectors) -> tuple[Int[Tensor, " u"], Float[Tensor, "n g u"]]:
    """The detectors that make predictions, and what they say to photographs in all orientations."""
    chosen = strongest(found)
    if not len(chosen):
        raise ValueError("no unit is a confirmed curve detector, so symmetry predicts nothing; look at other layers")
    return chosen, _some(found.units, chosen).of_orbits(study.turned(study.layers[-1]))


def _some(units: Units, chosen: Tensor) -> Units:
    return Units(units.name, len(chosen), lambda x: units.read(x)[:, chosen.to(x.device)])


def _within(gap: Tensor, reach: float) -> Tensor:
    return ((gap + torch.pi) % (2 * torch.pi) - torch.pi).abs() <= reach


# ------------------------------------------------------------------------------------------ neurons taken apart

class TakenApart(NamedTuple):
    """A neuron with two directions, and the latents that it consists of, on the stimuli that show it best.

    >>> TakenApart._fields
    ('neuron', 'tuning', 'latents', 'parts', 'rest', 'explained', 'purity', 'part_purity', 'chance_purity')
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
    explained: float
    """How much of the neuron's variance over these stimuli the reconstruction explains; below 0 if none."""
    purity: float
    """Vector strength of the neuron over a full turn."""
    part_purity: float
    """The same of its parts, weighted by what they contribute."""
    chance_purity: float
    """The same of the parts that would be found if the latents' weights into this neuron were dealt out anew."""


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
    chosen, purity = _sharpness(parts, count)
    total, says = parts.parts.sum(1) + parts.constant, x[:, neuron]
    f, weights = coder.encode(x.to(coder.device)).cpu(), coder.W_d[:, 0, neuron].cpu()
    generator = torch.Generator().manual_seed(study.seed)
    dealt = [_sharpness(Contributions(f * weights[torch.randperm(len(weights), generator=generator)], parts.constant),
                        count)[1] for _ in range(DEALS)]
    return TakenApart(
        neuron, _at_best(study, table, found)[neuron], chosen, parts.parts[:, chosen].T,
        total - parts.parts[:, chosen].sum(1),
        float(1 - (says - total).square().sum() / (says - says.mean()).square().sum()),
        float(found.tuning.one[neuron]), purity, float(np.nanmean(dealt)))


def _sharpness(parts: Contributions, count: int) -> tuple[Int[Tensor, " k"], float]:
    """The latents that contribute most, and their vector strength, weighted by what they contribute."""
    chosen = largest_parts(parts, count)
    chosen = chosen[parts.parts.sum(0)[chosen] > 0]
    written = parts.parts[:, chosen].clamp(min=0)
    weight = written.sum(0)
    return chosen, float((_vector_strength(written.T) * weight).sum() / weight.sum())


def _at_best(study: CurveStudy, table: Float[Tensor, "u s c d"], found: Detectors) -> Float[Tensor, "u d"]:
    units = torch.arange(len(table))
    return table[units, found.tuning.style, found.tuning.row]


def _at_best_activations(study: CurveStudy, found: Detectors, unit: int) -> Float[Tensor, "d n"]:
    every = torch.arange(len(study.stimuli))[:, None].float()
    numbers = study.stimuli.table(every)[0, found.tuning.style[unit], found.tuning.row[unit]]
    return study.shown(study.layers[-1])[numbers.long()]


def _vector_strength(r: Float[Tensor, "u d"]) -> Float[Tensor, " u"]:
    angle = 2 * torch.pi * torch.arange(r.shape[1]) / r.shape[1]
    return ((r * torch.exp(1j * angle)).sum(1) / r.sum(1)).abs()
