"""One question for many layers: how each turns, and which symmetries its features have, trained and random.

Every layer is a `Run` of its own on the same images, with the same mask and the same coder. What differs between two of
them is then the layer.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers import FeatureResponses, drawing, responses
from groupcc_lite.coders import GroupCrosscoder, copy_fve
from groupcc_lite.groups import parse_group
from groupcc_lite.models import BaseModel, load_model
from groupcc_lite.orbits import (
    EquivarianceError,
    StoredOrbits,
    equivariance_error,
    local_equivariance_error,
    orbits_at,
)
from groupcc_lite.runs import DepthProfile, Report, Run, extract_layers, get_depth_profile
from groupcc_lite.stimuli import SHAPES, DrawingSource, ImageSource, ImageSubset, image_source, photo_folder
from groupcc_lite.symmetry import (
    centre_activations,
    confirmed_census,
    excess,
    irrep_power,
    living_dictionary,
    stabilisers,
)

WEIGHTS = ("trained", "random")
"""Both kinds of every network; random weights are the null of all that training may have done."""
MARGIN = 8
"""Pixels of an image beyond the input on each side, at least: small motions reach into them."""


class Layer(NamedTuple):
    """One layer of a network.

    >>> Layer("tiny-inception", "mixed3b", "trained").weights
    'trained'
    """

    network: str
    layer: str
    weights: str
    """One of WEIGHTS."""


class LayerMeasures(NamedTuple):
    """What is said of a layer; arrays have a value for each coder.

    >>> LayerMeasures._fields[:3]
    ('ceiling', 'copied', 'turning')
    """

    ceiling: float
    """What a linear map from the untransformed activation explains of the others, on held-out images."""
    copied: float
    """The same for a copy of it."""
    turning: EquivarianceError
    """By element, without any coder, on held-out images."""
    local: EquivarianceError
    """By small motions."""
    fve: Float[np.ndarray, " s"]
    living: Float[np.ndarray, " s"]
    """Number of living features."""
    excess: Float[np.ndarray, " s"]
    """Share of features with a symmetry, but not all, beyond what spectra like theirs give by chance."""
    established: Float[np.ndarray, " s"]
    """Share with a supported symmetry, but not all, that the encoder has too."""
    invariant: Float[np.ndarray, " s"]
    """Share that no element changes, on both sides."""
    power: Float[np.ndarray, "s k"]
    """Mean power of features in each irrep."""


class LayerStudy:
    """The layers of a depth profile as runs, made once and kept.

    `images`: as for `Run`; without them the built-in networks use drawings and others the photographs of GROUPCC_DATA.
    ValueError for an unknown profile.

    >>> study = LayerStudy("smoke")
    >>> len(study.layers), study.run(study.layers[0]).model.layer
    (16, 'conv2d0')
    """

    def __init__(self, profile: str | DepthProfile = "book", seed: int = 0, *, images: Any = None,
                 work: str | Path | None = None):
        self.profile, self.seed, self.work = get_depth_profile(profile), seed, work
        self._given = images
        self._runs: dict[Layer, Run] = {}
        self._sources: dict[int, ImageSource] = {}

    @property
    def layers(self) -> list[Layer]:
        """All layers by network, then weights, then depth."""
        return [Layer(network, layer, weights) for network, layers in self.profile.networks for weights in WEIGHTS
                for layer in layers]

    def stack(self, network: str, weights: str = "trained") -> list[Layer]:
        """The layers of one network, from the image upwards."""
        return [layer for layer in self.layers if (layer.network, layer.weights) == (network, weights)]

    def run(self, which: Layer) -> Run:
        """The run on this layer."""
        if which not in self._runs:
            p, weights = self.profile, "random" if which.weights == "random" else None
            model = load_model(which.network, which.layer, weights=weights)
            self._runs[which] = Run("book", self.seed, model=model, images=self._images(model), work=self.work,
                                    group=p.group, held_out=p.held_out, points_per_image=p.points_per_image,
                                    mask_radius=p.mask_radius, latents=p.latents, k=p.k, steps=p.steps,
                                    batch_size=p.batch_size, topk_ks=(p.k,))
        return self._runs[which]

    def _images(self, model: BaseModel) -> ImageSource:
        """The same images for all layers: drawings for the built-in networks, else photographs, evenly spread."""
        count, action = self.profile.images, PlanarAction(parse_group(self.profile.group))
        size = max(action.source_size(model.input_size), model.input_size + 2 * MARGIN)
        if size not in self._sources:  # a folder of photographs is looked through once, not for every layer
            self._sources[size] = self._opened(count, size)
        return self._sources[size]

    def _opened(self, count: int, size: int) -> ImageSource:
        if self._given is None and all(network.startswith("tiny-") for network, _ in self.profile.networks):
            return DrawingSource(count, size, seed=1000 + self.seed)
        given = photo_folder(None, self.profile.name) if self._given is None else self._given
        source = image_source(given, size)
        numbers = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int)
        return ImageSubset(source, numbers.tolist())

    def check(self) -> None:
        """Everything that can be known to fail, for all layers at once: one ValueError that names each layer."""
        problems = []
        for which in self.layers:
            try:
                self.run(which).check()
            except ValueError as error:
                problems.append(f"{'/'.join(which)}: {error}")
        sizes = {which.network: self.run(which).model.input_size for which in self.layers} if not problems else {}
        if len(set(sizes.values())) > 1:
            problems.append(f"networks take images of different sizes, {sizes}, so that a point is not the same place "
                            "in all of them; compare networks of one size")
        if problems:
            raise ValueError("\n".join(problems))

    def measure(self, which: Layer) -> LayerMeasures:
        """Everything that is said of one layer; its coders and the orbits of its stack are made on first use."""
        self._extract(which)
        run, held_out = self.run(which), self.run(which).orbits("held-out")
        coders = [run.coder(seed=self.seed + number) for number in range(self.profile.seeds)]
        metrics = [run.evaluate(coder) for coder in coders]
        found = [_of_coder(coder, m.frequency, held_out, self.seed) for coder, m in zip(coders, metrics, strict=True)]
        rows = {name: np.stack([row[name] for row in found]) for name in found[0]}
        return LayerMeasures(float(run.ceiling()[1:].mean()), float(copy_fve(held_out.in_order())[1:].mean()),
                             *self._without_coder(run), fve=np.array([m.fve for m in metrics]), **rows)

    def _extract(self, which: Layer) -> None:
        """Make the orbits of this layer and of all others of its stack, unless they are there, in one pass for all."""
        extract_layers([self.run(layer) for layer in self.stack(which.network, which.weights)])

    def _without_coder(self, run: Run) -> tuple[EquivarianceError, EquivarianceError]:
        p, source = self.profile, run.source("held-out")
        images = source.load(range(min(p.turned_images, len(source))))
        settings: dict[str, Any] = dict(points=p.points_per_image, mask_radius=p.mask_radius, seed=self.seed)
        return (equivariance_error(run.model, run.action, images, **settings),
                local_equivariance_error(run.model, images, **settings))

    def report(self, chapter: str) -> Report:
        """An empty report for a chapter, with the study's provenance."""
        runs = [self.run(which) for which in self.layers]
        images = runs[0].all_images
        facts = dict(seed=self.seed, group=self.profile.group,
                     model=" and ".join(network for network, _ in self.profile.networks), images=len(images),
                     images_sha256=images.fingerprint, settings=dataclasses.asdict(self.profile),
                     fingerprints={"/".join(which): run.model.fingerprint
                                   for which, run in zip(self.layers, runs, strict=True)})
        return Report(runs[0].work / "reports" / self.profile.name, chapter, self.profile.name, **facts)

    # ------------------------------------------------------------------------------------ other networks

    def features(self, which: Layer, seed: int = 0) -> FeatureResponses:
        """The living features of a coder of this layer, with what they say to pictures that all layers are shown.

        `seed` counts the coders. The pictures are the held-out images and the drawn shapes, at the same points for all
        layers: random ones inside the mask in the images, the middle of the drawings.
        """
        self._extract(which)
        run = self.run(which)
        coder = run.coder(seed=self.seed + seed)
        frequency = run.evaluate(coder).frequency
        D, alive = living_dictionary(coder, frequency)
        label = [s.subgroup.label for s in stabilisers(D, run.group)]
        images, points, image = self._places(run)
        drawn = torch.stack([centre_activations(run.model, drawing(shape, run.action, run.model.input_size))
                             for shape in SHAPES])
        return FeatureResponses(responses(coder, orbits_at(run.model, run.action, images, points), alive).cpu(),
                        responses(coder, drawn, alive).cpu(), label, image)

    def _places(self, run: Run) -> tuple[Tensor, Float[Tensor, "b p 2"], Int[Tensor, " n"]]:
        """Held-out images, uniformly random points of the mask in each, and the image of each point."""
        source, p = run.source("held-out"), self.profile
        generator = torch.Generator().manual_seed(self.seed)
        shape = len(source), p.points_per_image
        radius = p.mask_radius * torch.rand(shape, generator=generator).sqrt()
        angle = 2 * torch.pi * torch.rand(shape, generator=generator)
        points = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        return source.load(range(len(source))), points, torch.arange(shape[0]).repeat_interleave(shape[1])


def _of_coder(coder: GroupCrosscoder, frequency: Float[np.ndarray, " m"], held_out: StoredOrbits,
              seed: int) -> dict[str, Any]:
    """What one coder says of its layer, by the fields of `LayerMeasures`."""
    G, census = coder.group, confirmed_census(coder, frequency, held_out, seed=seed)
    D, _ = living_dictionary(coder, frequency)
    return dict(living=len(D), excess=excess(census.decoder, G, seed=seed).share,
                established=float(census.established.double().mean()),
                invariant=float(census.invariant.double().mean()), power=irrep_power(D, G).mean(0).numpy())
