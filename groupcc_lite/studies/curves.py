"""One question for the units of several layers: to which direction of a curve each is tuned, and which are missing.

Neurons, latents of sparse autoencoders and of the crosscoder, and directions that nobody trained are all shown the same
arcs, and the same photographs in all orientations. Networks with random weights get everything that trained ones get.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groupcc_lite.coders import GroupCrosscoder, Metrics
from groupcc_lite.groups import rotations_of
from groupcc_lite.models import BaseModel, load_model, read_together
from groupcc_lite.orbits import StoredOrbits, orbits_at, read_at, thinned
from groupcc_lite.responses import (
    UNTRAINED,
    CurveRule,
    Tuning,
    Turning,
    Units,
    arc_tuning,
    latent_units,
    neuron_units,
    turning_profile,
    untrained_units,
)
from groupcc_lite.runs import CurveProfile, Report, Run, extract_layers, get_curve_profile
from groupcc_lite.stimuli import Arcs, arcs, turned_noise

MOST = 20_000
"""Activations that untrained directions and their thresholds are drawn from, at most."""
SAES = ("SAE, L1", "SAE, TopK")
"""The sparse autoencoders of every layer: the paper's, and the one that is usual today."""
TRAINED_UNITS = ("neurons", *SAES, "crosscoder")
"""Sets of units that training made; the crosscoder's are those of the last layer."""
BRANCHES = ("1x1", "3x3", "5x5", "pool")
"""The parts of an Inception block, in the order of its channels."""


class Detectors(NamedTuple):
    """What was found of the units of a set; everything has an entry for each unit.

    >>> Detectors._fields
    ('units', 'tuning', 'turning', 'tuned', 'confirmed')
    """

    units: Units
    tuning: Tuning
    turning: Turning
    tuned: Bool[Tensor, " u"]
    """Curve detectors by the arcs alone."""
    confirmed: Bool[Tensor, " u"]
    """Those that photographs confirm."""

    @property
    def directions(self) -> Tensor:
        """Radians, counter-clockwise on the screen, of where the hollow side faces; NaN for all but confirmed ones.

        >>> nothing = torch.zeros(1)
        >>> tuning = Tuning(nothing, nothing.long(), nothing, nothing.long(), *[nothing] * 6)
        >>> unit = neuron_units(1)
        >>> Detectors(unit, tuning, Turning(nothing[None], nothing), nothing > 0, nothing > 0).directions
        tensor([nan])
        """
        return self.tuning.direction.where(self.confirmed, torch.nan)


class CurveStudy:
    """The layers of a curve profile, their dictionaries, and what arcs and photographs say of all units.

    `images`, `weights` and `work` as for `Run`. The crosscoder is that of `Run(profile.name)`, at the last layer.
    ValueError for an unknown profile.

    >>> study = CurveStudy("smoke")
    >>> study.layers[0], len(study.stimuli), study.stimuli.images.shape[-1]
    ('conv2d0', 864, 96)
    """

    def __init__(self, profile: str | CurveProfile = "book", seed: int = 0, *, images: Any = None, weights: Any = None,
                 work: str | Path | None = None, rule: CurveRule | None = None):
        self.profile, self.seed = get_curve_profile(profile), seed
        self.rule = CurveRule() if rule is None else rule
        self.main = Run(self.profile.name, seed, model=self.profile.network, layer=self.layers[-1], images=images,
                        weights=weights, work=work)
        self._weights = weights
        self._models: dict[str, list[BaseModel]] = {}
        self._runs: dict[tuple[str, ...], Run] = {}
        self._shown: dict[tuple[str, bool], dict[str, Tensor]] = {}
        self._orbits: dict[tuple[str, str], Tensor] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        """From the image upwards."""
        return self.profile.layers

    def check(self) -> None:
        """Everything that can be known to fail, before anything costly: one ValueError that names each layer."""
        problems = []
        turns = rotations_of(self.main.group)
        if turns is None or turns < 4 or turns % 2:
            problems.append(f"group is {self.main.group.name}; expected C_n or D_n with an even n of at least 4: "
                            "photographs are turned by the smallest step and by half a turn, which must differ")
        for name, run in [("crosscoder", self.main), *((layer, self.flat_run(layer)) for layer in self.layers)]:
            try:
                run.check()
            except ValueError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise ValueError("\n".join(problems))

    def models(self, weights: str = "trained") -> list[BaseModel]:
        """The network cut at every layer; `weights` is "trained" or "random"."""
        if weights not in self._models:
            given = dict(trained=self._weights, random="random")[weights]
            self._models[weights] = [load_model(self.profile.network, layer, weights=given, device=self.main.device)
                                     for layer in self.layers]
        return self._models[weights]

    # ------------------------------------------------------------------------------------ dictionaries

    def flat_run(self, layer: str, weights: str = "trained") -> Run:
        """The run on untransformed activations of a layer: what its sparse autoencoders are trained on."""
        p = self.profile
        return self._run(layer, weights, group="C_1", points_per_image=p.points_per_image, latents=p.latents,
                         steps=p.steps, batch_size=p.batch_size, lr=p.lr, store_images=None)

    def turned_run(self, layer: str) -> Run:
        """The run on orbits of a layer: photographs that are turned, the second witness."""
        p = self.profile
        return self._run(layer, "trained", group=self.main.group.name, points_per_image=p.turned_points,
                         store_images=p.turned_images)

    def _run(self, layer: str, weights: str, **changes: Any) -> Run:
        key = (layer, weights, changes["group"])
        if key not in self._runs:
            model = self.models(weights)[self.layers.index(layer)]
            self._runs[key] = Run(self.profile.name, self.seed, model=model, images=self.main.all_images,
                                  work=self.main.work, stream=False, device=self.main.device,
                                  mask_radius=self.main.model.geometry.max_mask_radius, **changes)
        return self._runs[key]

    def saes(self, layer: str, name: str, weights: str = "trained") -> list[tuple[GroupCrosscoder, Metrics]]:
        """The sparse autoencoders of a layer, one a seed, with what they explain of held-out images.

        `name` is one of `SAES`. Activations of all layers are read in one pass. ValueError for another name.
        """
        if name not in SAES:
            raise ValueError(f"name is {name!r}; expected one of {', '.join(SAES)}")
        run, p = self.flat_run(layer, weights), self.profile
        extract_layers([self.flat_run(other, weights) for other in self._read_with(layer, weights)])
        changes = dict(activation="relu", k=None, sparsity=p.sparsity) if name == SAES[0] else dict(
            activation="topk", k=p.k, sparsity=0.0)
        made = [run.coder("sae", seed=self.seed + number, **changes) for number in range(p.seeds)]
        return [(coder, run.evaluate(coder)) for coder in made]

    def _read_with(self, layer: str, weights: str) -> Sequence[str]:
        """Which layers are read in the same pass: all; of the random network the last one is enough."""
        return self.layers if weights == "trained" or layer != self.layers[-1] else self.layers[-1:]

    def units(self, layer: str, name: str, number: int = 0, weights: str = "trained") -> Units:
        """A set of units of a layer: one of `TRAINED_UNITS`, `BRANCHES` or `UNTRAINED`; `number` counts seeds.

        Latents are those that live on held-out images. Untrained units are as many as the living latents of the TopK
        autoencoder, and respond as often as these do in the middle. ValueError for another name.
        """
        if name == "neurons":
            return neuron_units(self.models(weights)[self.layers.index(layer)].channels)
        if name in BRANCHES:
            ends = np.cumsum([0, *self.profile.branches])
            place = BRANCHES.index(name)
            return neuron_units(range(ends[place], ends[place + 1]), name)
        if name == "crosscoder":
            coder = self.main.coder(seed=self.seed + number)
            return latent_units(coder, np.flatnonzero(self.main.evaluate(coder).frequency > 0), name)
        coder, metrics = self.saes(layer, SAES[1] if name in UNTRAINED else name, weights)[number]
        alive = np.flatnonzero(metrics.frequency > 0)
        if name not in UNTRAINED:
            return latent_units(coder, alive, name)
        rate = float(np.clip(np.median(metrics.frequency[alive]), 1e-3, 0.5))
        some = thinned(self.flat_run(layer, weights).orbits("train"), MOST)
        x = torch.cat([batch[:, 0] for batch in some.in_order()])
        return untrained_units(name, x, len(alive), rate=rate, dictionary=coder.W_e.detach()[alive],
                               seed=self.seed + number)

    # ------------------------------------------------------------------------------------ stimuli and photographs

    @functools.cached_property
    def curvatures(self) -> list[float]:
        """Of the arcs, in 1 / px: 0, then from the flattest on."""
        return [0.0, *(1 / radius for radius in sorted(self.profile.radii, reverse=True))]

    @functools.cached_property
    def middle(self) -> tuple[float, float]:
        """Where arcs run through the image: the middle of the deepest layer's cell that is nearest to the centre."""
        geometry = self.main.model.geometry
        x, y = geometry.pixels(geometry.cells(torch.zeros(2)).round()).tolist()
        return x, y

    @functools.cached_property
    def stimuli(self) -> Arcs:
        """All arcs and edges."""
        return arcs(self.main.model.input_size, curvatures=self.curvatures, directions=self.profile.directions,
                    middle=self.middle)

    def shown(self, layer: str, weights: str = "trained", *, noise: bool = False) -> Float[Tensor, "k d"]:
        """What the layer says in the middle of every stimulus; `noise`: of `turned_noise`."""
        key = weights, noise
        if key not in self._shown:
            noisy = functools.partial(turned_noise, self.stimuli, middle=self.middle, seed=self.seed)
            images = (noisy() if noise else self.stimuli).images
            models = self.models(weights)
            self._shown[key] = dict(zip(self.layers, self._read_middle(models, images), strict=True))
        return self._shown[key][layer]

    @torch.no_grad()
    def _read_middle(self, models: list[BaseModel], images: Tensor) -> list[Tensor]:
        read, at = read_together(models), torch.tensor(self.middle)
        found: list[list[Tensor]] = [[] for _ in models]
        for part in images.split(8):
            for kept, model, grid in zip(found, models, read(part.to(models[0].device)), strict=True):
                cells = model.geometry.cells(at).expand(len(part), 1, 2)
                kept.append(read_at(grid, cells)[:, 0].float().cpu())
        return [torch.cat(parts) for parts in found]

    def turned(self, layer: str, weights: str = "trained") -> Float[Tensor, "n g d"]:
        """Activations of held-out photographs in all orientations, at places that the trained layer chose.

        A network with random weights is asked about the same places: what it says can then be compared.
        """
        key = layer, weights
        if key not in self._orbits:
            extract_layers([self.turned_run(other) for other in self.layers], ["held-out"])
            run = self.turned_run(layer)
            store: StoredOrbits = run.orbits("held-out")
            if weights == "trained":
                self._orbits[key] = torch.cat(list(store.in_order()))
            else:
                images = run.stored_source("held-out")
                points = torch.as_tensor(store.points, dtype=torch.float32).view(len(images), -1, 2)
                model = self.models(weights)[self.layers.index(layer)]
                self._orbits[key] = orbits_at(model, run.action, images.load(range(len(images))), points).cpu()
        return self._orbits[key]

    def detectors(self, layer: str, units: Units, weights: str = "trained") -> Detectors:
        """Which units are curve detectors, by arcs and by photographs."""
        turning = turning_profile(units.of_orbits(self.turned(layer, weights)), self.main.group)
        return self._judged(units, self._tuning(layer, units, weights, noise=False), turning)

    def with_noise(self, layer: str, found: Detectors, weights: str = "trained") -> Detectors:
        """The same units and photographs, with `turned_noise` in place of the arcs: what the definition lets pass."""
        return self._judged(found.units, self._tuning(layer, found.units, weights, noise=True), found.turning)

    def _tuning(self, layer: str, units: Units, weights: str, *, noise: bool) -> Tuning:
        responses = units.read(self.shown(layer, weights, noise=noise)).cpu()
        return arc_tuning(self.stimuli.table(responses), self.curvatures)

    def _judged(self, units: Units, tuning: Tuning, turning: Turning) -> Detectors:
        return Detectors(units, tuning, turning, self.rule.tuned(tuning), self.rule.confirmed(tuning, turning))

    def report(self, chapter: str) -> Report:
        """An empty report for a chapter, with the study's provenance."""
        report = self.main.report(chapter)
        fingerprints = {layer: model.fingerprint for layer, model in zip(self.layers, self.models(), strict=True)}
        report.facts |= dict(settings=dataclasses.asdict(self.profile), fingerprints=fingerprints)
        return report

