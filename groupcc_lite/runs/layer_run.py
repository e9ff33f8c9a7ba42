"""From a profile to artefacts on disk, each made once, reused, and named by the settings that made it.

`Run` is what notebooks and the command line share. Asking for an artefact makes whatever it needs first: a family map
asks for a coder, which asks for orbits, which ask for a model and images. Interrupt anything; the next call goes on.
"""

from __future__ import annotations

import dataclasses
import json
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from safetensors.numpy import load_file, save_file
from torch import Tensor

from groupcc_lite import coders, orbits, symmetry
from groupcc_lite.actions import Action, PlanarAction
from groupcc_lite.base import atomic_path, digest, read_json, work_folder, write_json
from groupcc_lite.coders import (
    FittedCrosscoder,
    GroupCrosscoder,
    SparseAutoencoder,
    TransformMatrix,
    fit_blocks,
    least_squares,
)
from groupcc_lite.groups import FiniteGroup, parse_group
from groupcc_lite.models import BaseModel, load_model
from groupcc_lite.orbits import IdentityBlocks, OrbitSource, OrbitStore, OrbitStream
from groupcc_lite.runs.profiles import Profile, get_profile
from groupcc_lite.runs.reports import Report
from groupcc_lite.stimuli import (
    DrawingSource,
    ImageSource,
    ImageSubset,
    PhotoFolder,
    Stimuli,
    TensorImages,
    photo_folder,
    stimuli,
)
from groupcc_lite.symmetry import linear_ceiling, max_cosine, normalised

KINDS = ("crosscoder", "sae")
CODER_FORMAT = 2  # raise it when the same settings train to other weights, so that no old coder is taken for a new one


class FamilyMap(NamedTuple):
    """A coder's features as a map with clusters, labels and scores."""

    coder: GroupCrosscoder
    gap: Float[np.ndarray, "m m"]
    """1 - similarity of all living features."""
    features: np.ndarray
    """Latent numbers of the rows: latents that never fire on held-out images are left out."""
    embedding: symmetry.Embedding
    clusters: np.ndarray
    labels: symmetry.ResponseLabels
    scores: symmetry.FamilyScores


class Run:
    """Artefacts of one profile and seed.

    `images` is a folder, a tensor (b, 3, size, size) or an `ImageSource`; without it the built-in model uses drawings.
    `weights` is a weights file for the profile's model. `model` and `action` replace the profile's by another name or
    your own `BaseModel`, and by your own group action: a `PlanarAction`, or a `ColourAction`, which recolours images as
    well. Other keywords change profile fields. ValueError for anything unknown.
    """

    def __init__(self, profile: str | Profile = "book", seed: int = 0, *,
                 images: str | Path | Tensor | ImageSource | None = None, weights: str | Path | None = None,
                 work: str | Path | None = None, model: BaseModel | str | None = None,
                 action: Action | None = None, device: str | None = None, **changes: Any):
        if isinstance(model, str):
            changes, model = changes | dict(model=model), None
        self.profile = get_profile(profile, **changes)
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed is {seed!r}; expected a non-negative integer")
        self.seed, self.images, self.weights, self._model = seed, images, weights, model
        self.work = work_folder(work)
        self._stores: dict[str, OrbitStore] = {}
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.action = action if action is not None else PlanarAction(parse_group(self.profile.group))
        self.group: FiniteGroup = self.action.group

    def __repr__(self) -> str:
        model = self.profile.model if self._model is None else self._model.name
        return f"Run({self.profile.name!r}, seed={self.seed}): {self.group.name} on {model}"

    @cached_property
    def model(self) -> BaseModel:
        """The base model, cut after the profile's layer."""
        if self._model is not None:
            return self._model.to(self.device)
        return load_model(self.profile.model, self.profile.layer, weights=self.weights, device=self.device)

    @cached_property
    def _all_images(self) -> ImageSource:
        size = self.action.source_size(self.model.input_size)
        if isinstance(self.images, ImageSource):
            return self.images
        if isinstance(self.images, Tensor):
            return TensorImages(self.images)
        if self.images is not None:
            return PhotoFolder(self.images, size)
        if self.profile.model == "tiny-inception" and self._model is None:
            return DrawingSource(self.profile.drawings, size, seed=1000 + self.seed)
        return PhotoFolder(photo_folder(None, self.profile.name), size)

    @cached_property
    def _split(self) -> tuple[ImageSource, ImageSource]:
        return self._all_images.split(self.profile.held_out, self.seed)

    def source(self, part: str = "train") -> ImageSource:
        """Images to train on ("train"), or those that no coder sees ("held-out")."""
        return self._split[_part(part)]

    def orbits(self, part: str = "train", **changes: Any) -> OrbitStore:
        """Orbit activations on disk, made on first use. `changes`: points_per_image, mask_radius, registration.

        A profile with `store_images` stores the orbits of at most so many images per part: enough to measure on, while
        training streams over all of them.
        """
        source = self._stored_source(part)
        settings = self._sampling | changes
        name = self._data_name(source, settings)
        if name not in self._stores:
            folder = self.work / "orbits" / name
            self._stores[name] = OrbitStore.make(folder, self.model, self.action, source, **settings)
        return self._stores[name]

    @property
    def _sampling(self) -> dict[str, Any]:
        profile = self.profile
        return dict(points_per_image=profile.points_per_image, mask_radius=profile.mask_radius, seed=self.seed)

    def _stored_source(self, part: str) -> ImageSource:
        source, limit = self.source(part), self.profile.store_images
        if limit is None or len(source) <= limit:
            return source
        return ImageSubset(source, np.random.default_rng(self.seed).permutation(len(source))[:limit].tolist())

    def _data_name(self, source: ImageSource, settings: dict[str, Any]) -> str:
        """Content address of the orbits of these images."""
        return digest([orbits.FORMAT, self.model.fingerprint, source.fingerprint, self.group.table.tolist(),
                       self.action.fingerprint, settings])

    def stream(self) -> OrbitStream:
        """The training orbits as a stream that stores nothing."""
        return OrbitStream(self.model, self.action, self.source("train"), **self._sampling)

    def training_source(self, kind: str = "crosscoder") -> OrbitSource:
        """What a coder of this kind is trained on."""
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        source = self.stream() if self.profile.stream else self.orbits("train")
        return IdentityBlocks(source) if kind == "sae" else source

    def coder(self, kind: str = "crosscoder", **changes: Any) -> GroupCrosscoder:
        """A trained coder ("crosscoder" or "sae"). `changes`: latents, activation, k, sparsity, steps, lr, seed ..."""
        settings = self._coder_settings(kind, changes)
        folder = self._coder_folder(settings)
        coder_class = SparseAutoencoder if kind == "sae" else GroupCrosscoder
        if (folder / "config.json").is_file():
            group = None if kind == "sae" else self.group
            return coder_class.load(folder, group=group).to(self.device)
        source = self.training_source(kind)
        build = {key: settings[key] for key in ("activation", "k", "seed")} | {"scale": source.scale}
        shape = (source.channels, settings["latents"])
        coder = (SparseAutoencoder(*shape, **build) if kind == "sae"
                 else GroupCrosscoder(self.group, *shape, **build)).to(self.device)
        loop = {key: settings[key] for key in ("steps", "batch_size", "lr", "sparsity", "seed", "amp")}
        coders.train(coder, source, folder=folder, **loop)
        coder.save(folder)
        (folder / "checkpoint.safetensors").unlink()  # finished: the saved coder is all that is needed
        return coder

    def fitted(self, **changes: Any) -> FittedCrosscoder:
        """The sparse autoencoder with a decoder for whole orbits, fitted to the training orbits. `changes` as above."""
        sae, source = self.coder("sae", **changes), self.orbits("train")
        settings = self._coder_settings("sae", changes)
        folder = self.work / "coders" / f"fitted-{digest([self._coder_folder(settings).name, source.folder.name])}"
        if not (folder / "config.json").is_file():
            fit_blocks(sae, source).save(folder)
        return FittedCrosscoder.load(folder, group=self.group).to(self.device)

    def history(self, kind: str = "crosscoder", **changes: Any) -> list[dict[str, Any]]:
        """The logged rows of a coder's training."""
        self.coder(kind, **changes)
        path = self._coder_folder(self._coder_settings(kind, changes)) / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def evaluate(self, coder: GroupCrosscoder) -> coders.Metrics:
        """Metrics on the held-out images."""
        held_out = self.orbits("held-out")
        return coders.evaluate(coder, IdentityBlocks(held_out) if coder.group.order == 1 else held_out)

    def curve(self, kind: str = "crosscoder") -> list[dict[str, Any]]:
        """The sparsity trade-off: one short training per lambda (ReLU + L1) and per k (TopK), same budget each."""
        profile = self.profile
        points = [dict(activation="relu", k=None, sparsity=s) for s in profile.l1_sparsities]
        points += [dict(activation="topk", k=k, sparsity=0.0) for k in profile.topk_ks]
        return [point | self.evaluate(self.coder(kind, steps=profile.curve_steps, **point)).row() for point in points]

    def ceiling(self) -> Float[np.ndarray, " g"]:
        """Held-out FVE of the best linear map from x[e] to each block."""
        train, held_out = self.orbits("train"), self.orbits("held-out")
        path = self.work / "ceilings" / f"{digest([train.folder.name, held_out.folder.name])}.json"
        if not path.is_file():
            batches = (batch for batch in train.batches(min(1024, len(train) // 2)))
            write_json(path, linear_ceiling(batches, held_out.in_order()).tolist())
        return np.array(read_json(path))

    def transform(self, method: str = "least squares") -> TransformMatrix:
        """One matrix per generator of the group that turns the layer's activations at a point, from training orbits.

        "least squares" is the best map in closed form; "adam" learns it from the identity, as Erdogan & Lucic 2025 do.
        """
        if method not in ("least squares", "adam"):
            raise ValueError(f"method is {method!r}; expected 'least squares' or 'adam'")
        source, steps = self.orbits("train"), self.profile.transform_steps
        loop = dict(steps=steps, batch_size=min(512, len(source)), lr=1e-3, decay=0.5, seed=self.seed)
        folder = self.work / "transforms" / digest([CODER_FORMAT, method, source.folder.name, loop])
        if not (folder / "config.json").is_file():
            if method == "adam":
                model = TransformMatrix(self.group, source.channels, scale=source.scale).to(self.device)
                coders.optimise(model, source, folder=folder, **loop)
                (folder / "checkpoint.safetensors").unlink()
            else:
                model = least_squares(source.in_order(), self.group, ridge=1e-3)
            model.save(folder)
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
        plain cosine of the dictionary vectors, as the paper does for the SAE. `seed` seeds the coder and UMAP.
        """
        seed = self.seed if seed is None else seed
        symmetric = kind != "sae" if symmetric is None else symmetric
        coder = self.fitted(seed=seed, **changes) if kind == "fitted" else self.coder(kind, seed=seed, **changes)
        alive = np.flatnonzero(self.evaluate(coder).frequency > 0)
        D = coder.dictionary.detach().cpu()[alive]
        flat = normalised(D).flatten(1)
        gap = symmetry.distance(max_cosine(D, self.group) if symmetric else flat @ flat.T)
        trained = "sae" if kind == "fitted" else kind
        folder = self._coder_folder(self._coder_settings(trained, changes | {"seed": seed}))
        path = folder / f"map-{digest([symmetric, seed, alive.tolist()])}.safetensors"
        embedding, clusters = self._embedding(gap, seed, path)
        labels = symmetry.label_by_response(coder, self.stimulus_activations, self.stimuli.shape)
        labels = symmetry.ResponseLabels(*(array[alive] for array in labels))
        scores = symmetry.score_families(gap, embedding, clusters, labels.label)
        return FamilyMap(coder, gap, alive, embedding, clusters, labels, scores)

    def _embedding(self, gap: np.ndarray, seed: int, path: Path) -> tuple[symmetry.Embedding, np.ndarray]:
        if not path.is_file():
            embedding = symmetry.embed(gap, seed=seed)
            clusters = symmetry.cluster(embedding.four)
            with atomic_path(path) as temporary:
                save_file(dict(four=embedding.four, two=embedding.two, clusters=clusters.astype(np.int64)), temporary)
        saved = load_file(path)
        return symmetry.Embedding(saved["four"], saved["two"]), saved["clusters"]

    def visualise(self, coder: GroupCrosscoder, features: list[int] | np.ndarray,
                  **changes: Any) -> Float[np.ndarray, "k s s 3"]:
        """Feature visualisations of these latents, by their encoder directions; RGB in [0, 1]."""
        from groupcc_lite import symmetry  # Lucent takes seconds to import, and only this needs it

        settings = dict(size=self.profile.vis_size, steps=self.profile.vis_steps, seed=self.seed) | changes
        directions = coder.W_e.detach()[torch.as_tensor(np.asarray(features))]
        name = digest([self.model.fingerprint, settings, directions.double().cpu().numpy().tobytes().hex()])
        images = symmetry.render_features(self.model, directions, folder=self.work / "visualisations" / name,
                                            **settings)
        return np.asarray(images)

    def report(self, chapter: str) -> Report:
        """An empty report for a chapter, with this run's provenance."""
        facts = dict(seed=self.seed, group=self.group.name, model=self.model.name, layer=self.model.layer,
                     model_fingerprint=self.model.fingerprint, images=len(self._all_images),
                     images_sha256=self._all_images.fingerprint, settings=dataclasses.asdict(self.profile))
        return Report(self.work / "reports" / self.profile.name, chapter, self.profile.name, **facts)

    def _coder_settings(self, kind: str, changes: dict[str, Any]) -> dict[str, Any]:
        known = ("latents", "activation", "k", "sparsity", "steps", "batch_size", "lr", "amp")
        unknown = sorted(changes.keys() - {*known, "seed"})
        if unknown:
            raise ValueError(f"a coder has no setting {', '.join(unknown)}; expected {', '.join(known)}, seed")
        settings = {key: getattr(self.profile, key) for key in known} | {"seed": self.seed} | changes
        if settings["activation"] == "relu":
            settings["k"] = None
        return settings | {"kind": kind}

    def _coder_folder(self, settings: dict[str, Any]) -> Path:
        source = self.source("train") if self.profile.stream else self._stored_source("train")
        name = digest([CODER_FORMAT, settings, self._data_name(source, self._sampling), self.profile.stream])
        return self.work / "coders" / f"{settings['kind']}-{name}"


def _part(part: str) -> int:
    parts = ("train", "held-out")
    if part not in parts:
        raise ValueError(f"part is {part!r}; expected one of {', '.join(parts)}")
    return parts.index(part)
