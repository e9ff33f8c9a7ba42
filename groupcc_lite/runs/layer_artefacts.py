"""What is kept of one layer: orbits, coders, measures, maps, tables and pictures, each made once and reused.

Asking for an artefact makes whatever it needs first: a family map asks for a coder, which asks for orbits. Interrupt
anything; the next call goes on. What an artefact is made from stands in `recipes`; how it is kept, in `base.artefacts`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.numpy import load_file, save_file
from torch import Tensor

from groupcc_lite import coders, symmetry
from groupcc_lite.actions import Action
from groupcc_lite.base import Artefact, Cache, read_json, write_json
from groupcc_lite.coders import (
    FittedCrosscoder,
    GroupCrosscoder,
    SparseAutoencoder,
    TransformMatrix,
    fit_blocks,
    least_squares,
)
from groupcc_lite.groups import FiniteGroup, parse_group
from groupcc_lite.models import BaseModel
from groupcc_lite.orbits import (
    IdentityBlocks,
    OrbitSource,
    OrbitStore,
    OrbitStream,
    StoredOrbits,
)
from groupcc_lite.runs.features import FamilyMap, FeatureTable, feature_frame, feature_table
from groupcc_lite.runs.profiles import Profile
from groupcc_lite.runs.recipes import (
    FITTED_RIDGE,
    LayerRecipes,
    coder_settings,
    curve_points,
)
from groupcc_lite.stimuli import (
    ImageSource,
    Stimuli,
    stimuli,
)
from groupcc_lite.symmetry import fitting_batches, linear_ceiling, max_cosine, normalised

log = logging.getLogger(__name__)
PARTS = ("train", "held-out")


def number_of_part(part: str) -> int:
    """0 for "train", 1 for "held-out"; ValueError for anything else."""
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; expected one of {', '.join(PARTS)}")
    return PARTS.index(part)


class LayerArtefacts:
    """The artefacts of a layer; `Run` and what is derived from it say of which, with which images and settings."""

    profile: Profile
    seed: int
    model: BaseModel
    action: Action
    group: FiniteGroup
    recipes: LayerRecipes
    cache: Cache
    device: str
    together: bool
    """Whether coders that are trained from a stream are trained from one extraction."""
    _stores: dict[str, StoredOrbits]
    """Those that are open."""
    _is_control: bool
    _feeding: dict[str, Any]
    """How images are read; it decides no number but for rounding, and is in no key."""

    def source(self, part: str = "train") -> ImageSource:
        """Images of a part."""
        raise NotImplementedError

    def stored_source(self, part: str) -> ImageSource:
        """Those of them whose orbits are stored."""
        raise NotImplementedError

    def orbits(self, part: str = "train", **changes: Any) -> OrbitStore:
        """Orbit activations on disk, made on first use. `changes`: points_per_image, mask_radius, registration.

        A profile with `store_images` stores the orbits of at most so many images per part: enough to measure on, while
        training streams over all of them. Shards that have been damaged since are made again.
        """
        number_of_part(part)
        artefact = self.recipes.orbits(part, **changes)
        if artefact.key not in self._stores:
            def extract(folder: Path) -> OrbitStore:
                return OrbitStore.make(folder, self.model, self.action, self.stored_source(part),
                                       **self.recipes.sampling | changes, **self._feeding)

            whole = self.cache.has(artefact)
            folder = self.cache.get(artefact, extract)
            if not whole:
                self._stores[artefact.key] = OrbitStore(folder)
                return self._stores[artefact.key]
            with self.cache.held(artefact):
                self._stores[artefact.key] = extract(folder)
        return self._stores[artefact.key]

    def stream(self) -> OrbitStream:
        """The training orbits as a stream that stores nothing."""
        return OrbitStream(self.model, self.action, self.source("train"), **self.recipes.sampling, **self._feeding)

    def training_source(self, kind: str = "crosscoder") -> OrbitSource:
        """What a coder of this kind is trained on."""
        coder_settings(self.profile, self.seed, kind, {})
        source = self.stream() if self.profile.stream else self.orbits("train")
        return IdentityBlocks(source) if kind == "sae" else source

    def coder(self, kind: str = "crosscoder", **changes: Any) -> GroupCrosscoder:
        """A trained coder ("crosscoder" or "sae"). `changes`: latents, activation, k, sparsity, steps, lr, seed ..."""
        folder = self._coder_folder(kind, **changes)
        if kind == "sae":
            return SparseAutoencoder.load(folder).to(self.device)
        return GroupCrosscoder.load(folder, group=self.group).to(self.device)

    def moved_coder(self, h: int, **changes: Any) -> GroupCrosscoder:
        """A crosscoder of the same images, all moved by the element h first. No orbit is computed anew for it.

        The orbit of hI holds the blocks of that of I in another order (`symmetry.MovedOrbits`), so what distinguishes
        this coder from `coder()` is which block it reads. It is trained from the store, in a streaming profile too.
        `changes` as for `coder`. ValueError for no element.
        """
        if h == 0:
            return self.coder(**changes)
        if not 0 < h < self.group.order:
            raise ValueError(f"h is {h}; expected 0 to {self.group.order - 1}, an element of {self.group.name}")
        folder = self._trained(self.recipes.moved_coder(self.group.names[h], **changes), "crosscoder",
                               lambda: symmetry.MovedOrbits(self.orbits("train"), h))
        return GroupCrosscoder.load(folder, group=self.group).to(self.device)

    def _coder_folder(self, kind: str, **changes: Any) -> Path:
        artefact = self.recipes.coder(kind, **changes)
        if self.together and self.profile.stream and not self.cache.has(artefact):
            planned = {one.key: one for one in self.recipes.coders_of_chapters(control=self._is_control)}
            if artefact.key in planned:
                self._train_together(list(planned.values()))
        return self._trained(artefact, kind, lambda: self.training_source(kind))

    def _train_together(self, artefacts: Sequence[Artefact]) -> None:
        """Train those of these coders that are not there from one stream, each into its own folder.

        They are asked for one inside the making of the other, in one order for everybody, or two processes would wait
        for each other. Should another process make one of them first, nothing further in is made: whoever asked for a
        coder sees to it by itself.
        """
        lacking = sorted((one for one in artefacts if not self.cache.has(one)), key=lambda one: one.key)
        if len(lacking) > 1:
            log.info("%d coders are trained together", len(lacking))
            self._fill(lacking, ())

    def _fill(self, lacking: Sequence[Artefact], folders: tuple[Path, ...]) -> None:
        if len(folders) == len(lacking):
            source = self.stream()
            trained = [self._new_coder(one, source) for one in lacking]
            each = [_loop(one) | dict(folder=folder) for one, folder in zip(lacking, folders, strict=True)]
            shared = {name: {settings.pop(name) for settings in each} for name in ("batch_size", "seed")}
            coders.train_many(trained, source, each=each, **{name: value for name, (value,) in shared.items()})
            for coder, folder in zip(trained, folders, strict=True):
                coder.save(folder)
            return
        artefact = lacking[len(folders)]

        def make(folder: Path) -> None:
            self._fill(lacking, (*folders, folder))
            if not (folder / "config.json").is_file():
                self._train_alone(artefact, folder, self.training_source(artefact.settings["kind"]))

        self.cache.get(artefact, make, scratch=("checkpoint.safetensors",))

    def _trained(self, artefact: Artefact, kind: str, training_source: Callable[[], OrbitSource]) -> Path:
        return self.cache.get(artefact, lambda folder: self._train_alone(artefact, folder, training_source()),
                              scratch=("checkpoint.safetensors",))

    def _train_alone(self, artefact: Artefact, folder: Path, source: OrbitSource) -> None:
        coder = self._new_coder(artefact, source)
        coders.train(coder, source, folder=folder, **_loop(artefact))
        coder.save(folder)

    def _new_coder(self, artefact: Artefact, source: OrbitSource) -> GroupCrosscoder:
        """The coder before its training on a source, of whole orbits or of the blocks that it reads."""
        settings, plain = artefact.settings, artefact.settings["kind"] == "sae"
        own = IdentityBlocks(source) if plain and source.group.order > 1 else source
        build = {key: settings[key] for key in ("activation", "k", "seed")} | {"scale": own.scale}
        shape = (own.channels, settings["latents"])
        return (SparseAutoencoder(*shape, **build) if plain
                else GroupCrosscoder(self.group, *shape, **build)).to(self.device)

    def fitted(self, **changes: Any) -> FittedCrosscoder:
        """The sparse autoencoder with a decoder for whole orbits, fitted to the training orbits. `changes` as above."""
        def make(folder: Path) -> None:
            fit_blocks(self.coder("sae", **changes), self.orbits("train"), ridge=FITTED_RIDGE).save(folder)

        folder = self.cache.get(self.recipes.fitted(**changes), make)
        return FittedCrosscoder.load(folder, group=self.group).to(self.device)

    def history(self, kind: str = "crosscoder", **changes: Any) -> list[dict[str, Any]]:
        """The logged rows of a coder's training."""
        return _rows(self._coder_folder(kind, **changes) / "metrics.jsonl")

    def evaluate(self, coder: GroupCrosscoder | FittedCrosscoder) -> coders.Metrics:
        """Metrics on the held-out images; a warning in the log if the coder explains nothing of them."""
        held_out = self.orbits("held-out")
        found = coders.evaluate(coder, IdentityBlocks(held_out) if coder.group.order == 1 else held_out)
        if found.fve < 0:
            log.warning("on held-out images this coder is worse than their mean (fve %.2f): nothing that is read from "
                        "it means anything. Train longer, and on more images; the linear reference says what a "
                        "linear map explains", found.fve)
        return found

    def curve(self, kind: str = "crosscoder") -> list[dict[str, Any]]:
        """The sparsity trade-off: one short training per lambda (ReLU + L1) and per k (TopK), same budget each."""
        trained = [(point, self.coder(kind, steps=self.profile.curve_steps, **point))
                   for point in curve_points(self.profile).values()]
        return [point | self.evaluate(coder).row() for point, coder in trained]

    def ceiling(self) -> Float[np.ndarray, " g"]:
        """Held-out FVE of the best linear map from x[e] to each block."""
        def make(folder: Path) -> None:
            found = linear_ceiling(fitting_batches(self.orbits("train")), self.orbits("held-out").in_order())
            write_json(folder / "fve.json", found.tolist())

        return np.array(read_json(self.cache.get(self.recipes.ceiling(), make) / "fve.json"), dtype=np.float64)

    def transform(self, method: str = "least squares") -> TransformMatrix:
        """One matrix per generator of the group that turns the layer's activations at a point, from training orbits.

        "least squares" is the best map in closed form; "adam" learns it from the identity, as Erdogan & Lucic 2025 do.
        """
        def make(folder: Path) -> None:
            source, settings = self.orbits("train"), self.recipes.transform_settings(method)
            if method == "adam":
                settings["batch_size"] = min(settings["batch_size"], len(source))
                model = TransformMatrix(self.group, source.channels, scale=source.scale).to(self.device)
                coders.optimise(model, source, folder=folder, **settings)
            else:
                model = least_squares(source.in_order(), self.group, **settings)
            model.save(folder)

        folder = self.cache.get(self.recipes.transform(method), make, scratch=("checkpoint.safetensors",))
        return TransformMatrix.load(folder, group=self.group).to(self.device)

    @cached_property
    def stimuli(self) -> Stimuli:
        """Clean drawn shapes in all orientations, to label features by their response."""
        return stimuli(self.model.input_size)

    @cached_property
    def stimulus_activations(self) -> Float[Tensor, "k d"]:
        """The layer's activations at the centre of each stimulus."""
        return symmetry.centre_activations(self.model, self.stimuli.images)

    def family_map(self, kind: str = "crosscoder", *, symmetric: bool | None = None, seed: int | None = None,
                   **changes: Any) -> FamilyMap:
        """Features of a coder ("crosscoder", "sae" or "fitted") as families (Gorton 2024, section 3.1).

        `symmetric` (default: for all but a plain SAE) measures similarity by the maximum over the group, else by the
        plain cosine of the dictionary vectors, as the paper does for the SAE. `seed` seeds the coder and UMAP. Of more
        than `symmetry.LARGE` living features not all pairs are held, and the result has no `gap`.
        """
        seed = self.seed if seed is None else seed
        symmetric = kind != "sae" if symmetric is None else symmetric
        artefact = self.recipes.family_map(kind, symmetric, seed, **changes)
        coder = self.fitted(seed=seed, **changes) if kind == "fitted" else self.coder(kind, seed=seed, **changes)

        def make(folder: Path) -> None:
            alive = np.flatnonzero(self.evaluate(coder).frequency > 0)
            D, G = _compared(coder, alive, self.group, symmetric)
            embedding = (symmetry.embed_dictionary(D, G, seed=seed, all_pairs=False) if len(D) > symmetry.LARGE
                         else symmetry.embed(_gap(D, G, symmetric), seed=seed))
            arrays = dict(features=alive, four=embedding.four, two=embedding.two,
                          clusters=symmetry.cluster(embedding.four).astype(np.int64))
            save_file(arrays, folder / "map.safetensors")

        saved = load_file(self.cache.get(artefact, make) / "map.safetensors")
        alive, clusters = saved["features"], saved["clusters"]
        embedding = symmetry.Embedding(saved["four"], saved["two"])
        D, G = _compared(coder, alive, self.group, symmetric)
        gap = None if len(D) > symmetry.LARGE else _gap(D, G, symmetric)
        labels = symmetry.label_by_response(coder, self.stimulus_activations, self.stimuli.shape)
        labels = symmetry.ResponseLabels(*(array[alive] for array in labels))
        scores = (symmetry.score_dictionary(D, G, embedding, clusters, labels.label) if gap is None
                  else symmetry.score_families(gap, embedding, clusters, labels.label))
        return FamilyMap(coder, gap, alive, embedding, clusters, labels, scores)

    def feature_table(self, kind: str = "crosscoder", *, count: int = 8) -> FeatureTable:
        """Everything that is known about each living feature, as arrays: what the atlas shows and `features` tabulates.

        `count` relatives each. ValueError for an unknown kind.
        """
        found, heard = self.family_map(kind), None
        if found.coder.group.order > 1:
            heard = symmetry.encoder_profile(found.coder, self.orbits("held-out")).cpu()[found.features]
        return feature_table(found, self.evaluate(found.coder), heard, count=count, seed=self.seed)

    def features(self, kind: str = "crosscoder") -> Any:
        """A pandas DataFrame with a row for each living feature; its columns are those of `feature_frame`."""
        table = self.feature_table(kind, count=1)
        return feature_frame(table, parse_group("trivial") if table.symmetries is None else self.group)

    def visualise(self, coder: GroupCrosscoder | FittedCrosscoder, features: list[int] | np.ndarray,
                  progress: bool = True, **changes: Any) -> Float[np.ndarray, "k s s 3"]:
        """Feature visualisations of these latents, by their encoder directions; RGB in [0, 1].

        `changes`: size (pixels), steps, seed, lr, negative, as for `render_features`. Without a size they have the
        profile's `vis_size`, or the network's own if that is the only one.
        """
        chosen = torch.as_tensor(np.asarray(features), device=coder.W_e.device)
        return self.draw(coder.W_e.detach()[chosen], progress, **changes)

    def draw(self, directions: Float[Tensor, "k d"], progress: bool = True,
             **changes: Any) -> Float[np.ndarray, "k s s 3"]:
        """Feature visualisations of any directions in the layer, such as single neurons; as `visualise`."""
        changes = dict(size=self.model.usable_size(self.profile.vis_size)) | changes
        settings = dict(size=self.profile.vis_size, steps=self.profile.vis_steps, seed=self.seed) | changes

        def make(folder: Path) -> None:
            images = symmetry.render_features(self.model, directions, folder=folder / "batches", progress=progress,
                                              **settings)
            save_file(dict(images=np.ascontiguousarray(images)), folder / "images.safetensors")
            shutil.rmtree(folder / "batches")

        folder = self.cache.get(self.recipes.visualisation(directions, **changes), make)
        return load_file(folder / "images.safetensors")["images"]


def _compared(coder: GroupCrosscoder | FittedCrosscoder, alive: Int[np.ndarray, " m"], group: FiniteGroup,
              symmetric: bool) -> tuple[Float[Tensor, "m g d"], FiniteGroup]:
    """Dictionary vectors of living features where the coder is, and the group over which they are compared; the plain
    cosine is that of one block over the trivial group."""
    D = coder.dictionary.detach()[torch.as_tensor(alive, device=coder.device)]
    return (D, group) if symmetric else (D.flatten(1)[:, None], parse_group("trivial"))


def _gap(D: Float[Tensor, "m g d"], G: FiniteGroup, symmetric: bool) -> Float[np.ndarray, "m m"]:
    """Distances of all pairs."""
    if symmetric:
        return symmetry.distance(max_cosine(D, G))
    flat = normalised(D).flatten(1)
    return symmetry.distance(flat @ flat.T)


def _loop(artefact: Artefact) -> dict[str, Any]:
    """How a coder is trained. From a stream the order of the images is the run's, for all coders."""
    settings = artefact.settings
    loop = {key: settings[key] for key in ("steps", "batch_size", "lr", "sparsity", "seed", "amp")}
    return loop | dict(seed=settings.get("order", settings["seed"]))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
