"""From a profile to artefacts on disk, each filed under a key of everything that made it.

`Run` is what notebooks and the command line share: which model, images, group and settings, and which other runs to
compare with. What it keeps, and how one artefact asks for another, stands in `layer_artefacts`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from groupcc_lite import coders
from groupcc_lite.actions import Action, PlanarAction
from groupcc_lite.base import Artefact, Cache, default_device, work_folder
from groupcc_lite.coders import (
    FittedCrosscoder,
    GroupCrosscoder,
    SparseAutoencoder,
)
from groupcc_lite.groups import FiniteGroup, parse_group
from groupcc_lite.models import TINY_MODELS, BaseModel, load_model, patch_model, reinitialised
from groupcc_lite.orbits import (
    OrbitRows,
    OrbitSource,
    StoredOrbits,
    sample_orbits,
)
from groupcc_lite.runs.layer_artefacts import PARTS, LayerArtefacts, number_of_part
from groupcc_lite.runs.profiles import Profile, get_profile
from groupcc_lite.runs.recipes import (
    CODER_SETTINGS,
    DictionaryRecipes,
    LayerRecipes,
    PartRecipes,
    action_address,
    coder_settings,
    curve_points,
)
from groupcc_lite.runs.reports import Report
from groupcc_lite.stimuli import (
    DrawingSource,
    ImageSource,
    ImageSubset,
    PhotoFolder,
    Stimuli,
    image_source,
    photo_folder,
    second_photo_folder,
)

log = logging.getLogger(__name__)
NAMED_IMAGES = 20_000
"""Up to how many photographs a report lists the names of: of so many, content is hashed as well."""
CONTROLS = ("trained", "untrained", "patches", "told")
"""What `Run.control` knows."""


class Run(LayerArtefacts):
    """Artefacts of one profile and seed.

    `images` is a folder, a tensor or array, a list of images or an `ImageSource` (`stimuli.image_source`); without it
    the built-in model uses drawings. `weights` is a weights file for the profile's model. `model` and `action` replace
    the profile's by another name or your own `BaseModel`, and by your own group action: a `PlanarAction`, or a
    `ColourAction`, which recolours images as well. `group` is a name or one of `groups.cyclic(n)`, `groups.dihedral(n)`
    and their products. `workers` processes load images ahead, and `extraction_batch` images go through the network at a
    time (see `sample_orbits`). Where coders are trained from a stream, asking for one of those that the chapters
    compare trains all that are not there, from one extraction (`train_many`); `together=False` trains what is asked
    for. These three are in no key. Other keywords change profile fields. ValueError for anything unknown.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=8, points_per_image=4, latents=32, k=2, steps=2, batch_size=8,
    ...           work=work.name)
    >>> run.check()  # nothing is known to fail
    >>> run.coder().dictionary.shape
    torch.Size([32, 4, 120])
    >>> work.cleanup()
    """

    def __init__(self, profile: str | Profile = "book", seed: int = 0, *,
                 images: str | Path | Tensor | np.ndarray | Sequence[Any] | ImageSource | None = None,
                 weights: str | Path | None = None,
                 work: str | Path | None = None, model: BaseModel | nn.Module | str | None = None,
                 action: Action | None = None, device: str | None = None, workers: int = 0,
                 extraction_batch: int | None = None, together: bool = True, **changes: Any):
        if isinstance(model, str):
            changes, model = changes | dict(model=model), None
        _require_base_model(model)
        if changes.get("group", "") is None and action is not None:
            del changes["group"]  # the action has one
        if "group" in changes:
            changes["group"] = _group_name(changes["group"])
            if action is not None and parse_group(changes["group"]).name != action.group.name:
                raise ValueError(f"group is {changes['group']}, and action has {action.group.name}; give one of them")
        self.profile = get_profile(profile, **changes)
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed is {seed!r}; expected a non-negative integer")
        self.seed, self.images, self.weights, self._model = seed, images, weights, model
        self.workers, self.extraction_batch, self.together = workers, extraction_batch, together
        self._is_control = False
        self.work, self.device = work_folder(work), default_device(device)
        self.cache = Cache(self.work, device=self.device, seed=seed)
        self._stores: dict[str, StoredOrbits] = {}
        self._folds: dict[tuple[int, int, int | None], FoldRun] = {}
        self.action = action if action is not None else _standard_action(self.profile.group)
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
    def all_images(self) -> ImageSource:
        """The images of the run, before some are held out."""
        size = self.action.source_size(self.model.input_size)
        if self.images is not None:
            return self._opened(self.images, size)
        if self.profile.model in TINY_MODELS and self._model is None:
            return DrawingSource(self.profile.drawings, size, seed=1000 + self.seed)
        return self._opened(photo_folder(None, self.profile.name), size)

    def _opened(self, images: Any, size: int) -> ImageSource:
        """Images that somebody has; what is seen of many files is remembered in the work folder."""
        return image_source(images, size, index=self.work / "image-indexes", workers=self.workers)

    @property
    def _how(self) -> dict[str, Any]:
        """How images are read, for other runs; it decides no number but for rounding, and is in no key."""
        return dict(workers=self.workers, extraction_batch=self.extraction_batch)

    @property
    def _feeding(self) -> dict[str, Any]:
        """The same for stores and streams."""
        return dict(workers=self.workers, batch_size=self.extraction_batch)

    @cached_property
    def _split(self) -> tuple[ImageSource, ImageSource]:
        return self.all_images.split(self.profile.held_out, self.seed)

    def source(self, part: str = "train") -> ImageSource:
        """Images to train on ("train"), or those that no coder sees ("held-out")."""
        return self._split[number_of_part(part)]

    def control(self, name: str = "trained", **changes: Any) -> Run:
        """The same question put to something else, on the same images: what a finding is worth without the training.

        "trained" is this run's own network, "untrained" its architecture with random weights, "patches" no network but
        pixels (`models.patch_model`), "told" the built-in network that was trained to report orientations. All have the
        profile's `control_images` and `control_steps`, so compare them with "trained" and not with this run, unless
        these are None: then "trained" is this run. With fewer images its orbits are rows of this run's, so its points
        are others than those of a control that reads these images by itself. `changes`: profile fields, `images`,
        `action`. ValueError for an unknown name, and for "told" where the network is not the built-in one.

        >>> Run("smoke").control("patches").model.name
        'patches'
        """
        built_in = self.profile.model == "tiny-inception" and self._model is None
        if name not in CONTROLS or (name == "told" and not built_in):
            raise ValueError(f"control is {name!r}; expected one of {', '.join(CONTROLS)} (told: for tiny-inception)")
        model, weights = self._model, self.weights
        if name == "untrained":
            model = self._untrained_model()
        elif name == "patches":
            model = patch_model(self.model)
        elif name == "told":
            model = load_model("tiny-inception-told", self.model.layer, device=self.device)
        images = self._limited(self.all_images)
        steps = self.profile.control_steps or self.profile.steps
        if name == "trained" and not changes and self._stores_all() and len(images) < len(self.all_images):
            return FewerImages(self, steps=steps)
        budget = dict(steps=steps, mask_radius=self.profile.mask_radius)
        if name == "patches":
            budget["mask_radius"] = self.profile.mask_radius or self.model.geometry.max_mask_radius
        given = dict(images=images, weights=weights, model=model, action=self.action, together=not changes)
        given |= self._how | budget | changes
        run = Run(self.profile, self.seed, work=self.work, device=self.device, **given)
        run._is_control = True
        return run

    def _untrained_model(self) -> BaseModel:
        """The model's architecture with random weights, for images of the same size: a library's, or a copy of the
        model with its weights drawn anew. ValueError if neither can be had."""
        name, layer, size = self.model.name, self.model.layer, self.model.input_size
        try:
            model = load_model(name, layer, weights="random", device=self.device, input_size=size)
        except ValueError:
            return reinitialised(self.model)
        if model.preprocess != self.model.preprocess:
            raise ValueError(f"{name!r} with random weights expects images prepared in another way than this model; "
                             "make an untrained copy yourself and give it: run.control(model=wrap_model(...))")
        return model

    def fold(self, number: int, of: int | None = None, *, images: int | None = None) -> FoldRun:
        """The same run with other images held out: fold `number` of `of` disjoint ones (default: the profile's folds).

        Nothing is extracted again: orbits are rows of this run's. Coders are trained for the profile's `fold_steps` at
        `fold_batch`, on the images of all other folds, or on `images` of them. With two folds, fold 0 and fold 1 are
        trained on disjoint images. ValueError for a fold that does not exist, and for more folds than images.

        >>> import tempfile
        >>> work = tempfile.TemporaryDirectory()
        >>> run = Run("smoke", group="C_4", drawings=8, points_per_image=4, work=work.name)
        >>> first, second = (run.fold(number, of=2).source("held-out").names for number in (0, 1))
        >>> len(first), len(second), set(first) & set(second)
        (4, 4, set())
        >>> work.cleanup()
        """
        of = self.profile.folds if of is None else of
        wanted = (number, of, images)
        if wanted not in self._folds:
            self._folds[wanted] = FoldRun(self, *wanted)
        return self._folds[wanted]

    def with_dictionary(self, given: nn.Module) -> DictionaryRun:
        """The same run with a given coder of the layer, which is not trained.

        A `SparseAutoencoder`, such as one of `interop.load_dictionary`, takes the place of the one that would be
        trained, and with blocks fitted to the training orbits that of the crosscoder. A crosscoder of the run's group,
        such as `groupcc train` writes, takes the place of the crosscoder. Maps, tables, the atlas and `analysis` read
        these. ValueError for another group, and unless it is for as many channels as the layer has.

        >>> run = Run("smoke", group="C_4")
        >>> given = run.with_dictionary(SparseAutoencoder(run.model.channels, 32, activation="jumprelu"))
        >>> given.coder("sae").activation, given.keys()["orbits, train"] == run.keys()["orbits, train"]
        ('jumprelu', True)
        """
        return DictionaryRun(self, given)

    def two_image_sets(self, second: Any = None) -> tuple[Run, Run, str]:
        """Runs on two disjoint sets of images, at the cost of `control`, and what the second set is.

        `second`: as `images` of `Run`. Without it: drawings of another seed for the built-in network,
        the photographs in GROUPCC_DATA/bsds/images where there are any, else the two halves of this run's own images.

        >>> first, other, what = Run("smoke").two_image_sets()
        >>> what, set(first.all_images.names) & set(other.all_images.names)
        ('drawings of another seed', set())
        """
        given, size = second is not None, self.action.source_size(self.model.input_size)
        if second is None and isinstance(self.all_images, DrawingSource):
            drawn = DrawingSource(len(self.all_images), size, seed=self.all_images.seed + 1000)
            return self.control(), self.control(images=drawn), "drawings of another seed"
        if second is None and (second := second_photo_folder()) is None:
            halves = self.all_images.split(0.5, self.seed)
            log.warning("no second set of images: give second=FOLDER, or put photographs into bsds/images in the "
                        "folder that GROUPCC_DATA names; until then both sets are halves of this run's own images")
            first, other = (self._limited(half) for half in halves)
            return self.control(images=first), self.control(images=other), "the other half of the same images"
        other = self._limited(self._opened(second, size))
        return self.control(), self.control(images=other), "given" if given else "BSDS photographs"

    def _stores_all(self) -> bool:
        """Whether orbits of every image are kept, so that others may take theirs from them."""
        return not self.profile.stream and self.profile.store_images is None

    def _limited(self, images: ImageSource) -> ImageSource:
        """At most `control_images` of them, evenly spread."""
        limit = self.profile.control_images
        if limit is None or limit >= len(images):
            return images
        return ImageSubset(images, np.linspace(0, len(images) - 1, limit).round().astype(int).tolist())

    @cached_property
    def recipes(self) -> LayerRecipes:
        """What each artefact of this run is made from."""
        return LayerRecipes(self.profile, self.seed, model=self.model.fingerprint,
                            images={part: self.source(part).fingerprint for part in PARTS},
                            stored={part: self.stored_source(part).fingerprint for part in PARTS},
                            action=action_address(self.group, self.action.fingerprint))

    def keys(self) -> dict[str, str]:
        """Under which key each artefact is filed, by what it is; known before anything is made.

        Two runs share exactly the artefacts whose keys are the same.
        """
        return {name: artefact.key for name, artefact in self.recipes.all().items()}

    def check(self, *, coders: bool = True, curve: bool = True) -> None:
        """Everything that can be known to fail, before anything costly: one ValueError that lists it all.

        `coders` and `curve` say whether coders, and those of the trade-off curve, are to be trained.

        Looks for a work folder that can be written, a model with its weights and layer, usable images, points inside
        the mask, settings that fit each other, and enough orbits for a batch. One image goes through the network.
        """
        problems = []
        looks = (self._check_work, partial(self._check_coders, curve) if coders else None,
                 partial(self._check_orbits, coders))
        for look in filter(None, looks):
            try:
                look()
            except (ValueError, OSError) as error:
                problems.append(str(error))
        if problems:
            raise ValueError("this run would fail:" + "".join(f"\n- {problem}" for problem in problems))

    def _check_work(self) -> None:
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.work).close()
        except OSError as error:
            raise ValueError(f"work={str(self.work)!r} cannot be written ({error}); give another folder, or set "
                             "GROUPCC_WORK to one") from error

    def _check_coders(self, curve: bool) -> None:
        for name, point in ({"the coder": {}} | (curve_points(self.profile) if curve else {})).items():
            settings = coder_settings(self.profile, self.seed, "sae", point)
            try:
                SparseAutoencoder(1, settings["latents"], activation=settings["activation"], k=settings["k"])
            except ValueError as error:
                raise ValueError(f"{name if not point else f'{name} of the trade-off curve'}: {error}") from error

    def _check_orbits(self, coders: bool) -> None:
        source, profile = self.source("train"), self.profile
        sample_orbits(self.model, self.action, source.load([0]), points_per_image=profile.points_per_image,
                      mask_radius=profile.mask_radius, registration=profile.registration)
        count = len(source if profile.stream else self.stored_source("train")) * profile.points_per_image
        if coders and profile.batch_size > count:
            raise ValueError(f"batch_size is {profile.batch_size}, but {len(source)} images to train on with "
                             f"{profile.points_per_image} points each give {count} orbits; take more images or points, "
                             "or a smaller batch")

    def stored_source(self, part: str) -> ImageSource:
        """The images of a part whose orbits are stored: all of them, or `store_images`."""
        source, limit = self.source(part), self.profile.store_images
        if limit is None or len(source) <= limit:
            return source
        return ImageSubset(source, np.random.default_rng(self.seed).permutation(len(source))[:limit].tolist())

    def report(self, chapter: str) -> Report:
        """An empty report for a chapter, with this run's provenance."""
        images = self.all_images
        settings, prepared = dataclasses.asdict(self.profile), self.model.preprocess
        if self._model is not None:  # what the profile says of a network and its images does not hold here
            settings = {key: value for key, value in settings.items() if key not in ("model", "layer", "summary")}
            settings |= dict(input_size=self.model.input_size, mean=list(prepared.mean), std=list(prepared.std))
        facts = dict(seed=self.seed, group=self.group.name, model=self.model.name, layer=self.model.layer,
                     model_fingerprint=self.model.fingerprint, images=len(images),
                     images_sha256=images.fingerprint, settings=settings)
        names = images.names if isinstance(images, PhotoFolder) and len(images) <= NAMED_IMAGES else ()
        return Report(self.work / "reports" / self.profile.name, chapter, self.profile.name, image_names=names, **facts)


class PartRun(Run):
    """A run on some of another one's images, whose orbits are rows of that one's: nothing is read again.

    `part` says which images, and decides the keys of everything that is made from them. `FoldRun` and `FewerImages`
    are such runs.

    >>> isinstance(Run("smoke").fold(1), PartRun)
    True
    """

    def __init__(self, whole: Run, part: Mapping[str, int | float | None], **changes: Any):
        super().__init__(whole.profile, whole.seed, images=whole.images, weights=whole.weights, work=whole.work,
                         model=whole._model, action=whole.action, device=whole.device, together=False,
                         **whole._how, **changes)
        self.whole, self.part = whole, part

    @property
    def model(self) -> BaseModel:
        """That of the whole run."""
        return self.whole.model

    @property
    def all_images(self) -> ImageSource:
        """Those of the whole run."""
        return self.whole.all_images

    @property
    def stimuli(self) -> Stimuli:
        """Those of the whole run."""
        return self.whole.stimuli

    @property
    def stimulus_activations(self) -> Float[Tensor, "k d"]:
        """Those of the whole run."""
        return self.whole.stimulus_activations

    @cached_property
    def _stored_numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Which of its images the whole run has stored orbits of, for each of its parts, in the order of its stores."""
        train, held_out = (_numbers_in(self.whole.stored_source(part), self.whole.all_images) for part in PARTS)
        return train, held_out

    def stored_source(self, part: str) -> ImageSource:
        """All images of the part."""
        return self.source(part)

    @cached_property
    def recipes(self) -> PartRecipes:
        """What each artefact of this part is made from."""
        plain = self.whole.recipes
        sources = {part: self.source(part).fingerprint for part in PARTS}
        return PartRecipes(self.profile, self.seed, model=plain.model, images=sources, stored=sources,
                           action=plain.action, whole=plain, of_whole=self.part)

    def orbits(self, part: str = "train", **changes: Any) -> OrbitRows:
        """Rows of the whole run's orbits whose images are in this part."""
        number_of_part(part)
        key = self.recipes.orbits(part, **changes).key
        if key not in self._stores:
            wanted = _numbers_in(self.source(part), self.whole.all_images)
            stores = [self.whole.orbits(name, **changes) for name in PARTS]
            numbers = [found[store.image] for found, store in zip(self._stored_numbers, stores, strict=True)]
            rows = [np.flatnonzero(np.isin(found, wanted)) for found in numbers]
            images = [np.searchsorted(wanted, found[part]) for found, part in zip(numbers, rows, strict=True)]
            self._stores[key] = OrbitRows(stores, rows, images)
        return self._stores[key]


class FewerImages(PartRun):
    """A run on the images that controls get, evenly spread over all; `Run.control` makes one.

    >>> Run("smoke", control_images=40).control()
    Run('smoke', seed=0): D_4 on tiny-inception, 40 images
    """

    def __init__(self, whole: Run, **changes: Any):
        self._few = whole._limited(whole.all_images)
        super().__init__(whole, dict(images=len(self._few), held_out=whole.profile.held_out), **changes)

    def __repr__(self) -> str:
        return f"{self.whole!r}, {len(self._few)} images"

    @property
    def all_images(self) -> ImageSource:
        """The fewer ones."""
        return self._few

    def control(self, name: str = "trained", **changes: Any) -> Run:
        """That of the whole run, which has these images as well."""
        return self.whole.control(name, **changes)


class FoldRun(PartRun):
    """A run of which other images are held out; `Run.fold` makes one.

    >>> Run("smoke").fold(1)
    Run('smoke', seed=0): D_4 on tiny-inception, fold 1 of 2
    """

    def __init__(self, whole: Run, number: int, of: int, images: int | None = None):
        profile = whole.profile
        super().__init__(whole, dict(number=number, of=of, images=images), steps=profile.fold_steps,
                         batch_size=profile.fold_batch, stream=False)
        self.number, self.of, self.most = number, of, images
        count = sum(len(numbers) for numbers in self._stored_numbers)
        if not 2 <= of <= count or not 0 <= number < of:
            raise ValueError(f"fold is {number} of {of}; expected 0 to {of - 1} of 2 to {count}, the number of images")
        if images is not None and images < 1:
            raise ValueError(f"images is {images}; expected at least 1, or None for all other folds")

    def __repr__(self) -> str:
        return f"{self.whole!r}, fold {self.number} of {self.of}"

    def control(self, name: str = "trained", **changes: Any) -> Run:
        """The same fold of a control."""
        return self.whole.control(name, **changes).fold(self.number, self.of, images=self.most)

    @cached_property
    def _split(self) -> tuple[ImageSource, ImageSource]:
        every = np.sort(np.concatenate(self._stored_numbers))
        random = np.random.default_rng([self.seed, self.of])
        held_out = np.sort(every[random.permutation(len(every))[self.number::self.of]])
        train = np.setdiff1d(every, held_out)
        if self.most is not None:
            train = np.sort(random.permutation(train)[:self.most])
        return ImageSubset(self.all_images, train.tolist()), ImageSubset(self.all_images, held_out.tolist())


class DictionaryRun(Run):
    """A run with a given coder: a sparse autoencoder, whose crosscoder is that one with fitted blocks, or a crosscoder.

    `Run.with_dictionary` makes one. It has no folds and no controls, which are trainings. An SAE beside a given
    crosscoder, which the atlas compares it with, is trained as the profile says, with as many latents.

    >>> run = Run("smoke")
    >>> run.with_dictionary(SparseAutoencoder(run.model.channels, 32))
    Run('smoke', seed=0): D_4 on tiny-inception, with a dictionary of 32 latents
    """

    def __init__(self, plain: Run, given: nn.Module):
        if not isinstance(given, GroupCrosscoder):
            raise ValueError(f"the dictionary is a {type(given).__name__}; expected a SparseAutoencoder or a "
                             "GroupCrosscoder")
        if isinstance(plain, PartRun):
            raise ValueError("a part of a run has no dictionary of its own; give it to the whole run")
        super().__init__(dataclasses.replace(plain.profile, latents=given.latents), plain.seed, images=plain.images,
                         weights=plain.weights, work=plain.work, model=plain._model, action=plain.action,
                         device=plain.device, together=False, **plain._how)
        self.given_as = "sae" if isinstance(given, SparseAutoencoder) else "crosscoder"
        # A copy: its content is in the keys, so nobody may change it any more.
        self.dictionary = copy.deepcopy(given).to(self.device).eval()
        self._fingerprint = given.fingerprint
        self._check_given()

    def __repr__(self) -> str:
        return f"{super().__repr__()}, with a dictionary of {self.dictionary.latents} latents"

    @cached_property
    def recipes(self) -> DictionaryRecipes:
        """What each artefact of this run is made from."""
        plain = super().recipes
        given = {field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}
        return DictionaryRecipes(**given, dictionary=self._fingerprint, given_as=self.given_as)

    def _check_coders(self, curve: bool) -> None:
        self._check_given()
        if self.given_as == "crosscoder":
            super()._check_coders(curve)

    def _check_given(self) -> None:
        if self.given_as == "crosscoder" and self.dictionary.group != self.group:
            raise ValueError(f"the crosscoder has a block for each element of {self.dictionary.group.name}, and the "
                             f"run's group is {self.group.name}; give the run that group")
        if self.dictionary.channels != self.model.channels:
            raise ValueError(f"the dictionary reads {self.dictionary.channels} channels, layer {self.model.layer} of "
                             f"{self.model.name} has {self.model.channels}; take the layer that it was trained on")

    def coder(self, kind: str = "crosscoder", **changes: Any) -> GroupCrosscoder | FittedCrosscoder:
        """The given coder, or what stands beside it: with a given SAE, it with fitted blocks as "crosscoder"; with a
        given crosscoder, a trained SAE as "sae". ValueError for settings of a training that does not take place."""
        self.recipes.coder(kind, **changes)
        if self.recipes.trained(kind):
            return super().coder(kind, **changes)
        return self.dictionary if kind == self.given_as else self.fitted()

    def evaluate(self, coder: GroupCrosscoder | FittedCrosscoder) -> coders.Metrics:
        """Metrics on the held-out images. A latent that fires there, but on no orbit that blocks were fitted to, has no
        blocks to ask about, and counts as dead."""
        found = super().evaluate(coder)
        blank = coder.dictionary.detach().flatten(1).norm(dim=1).cpu().numpy() == 0
        frequency = np.where(blank, 0.0, found.frequency)
        return dataclasses.replace(found, frequency=frequency, dead=float((frequency == 0).mean()))

    def _trained(self, artefact: Artefact, kind: str, training_source: Callable[[], OrbitSource]) -> Path:
        if self.recipes.trained(kind):
            return super()._trained(artefact, kind, training_source)
        raise self._untrained("other coders")

    def _untrained(self, what: str) -> ValueError:
        return ValueError(f"a run with a given dictionary has no {what}: it is not trained here; ask the run without "
                          "the dictionary")

    def curve(self, kind: str = "crosscoder") -> list[dict[str, Any]]:
        """ValueError: every point of the trade-off is a training."""
        raise self._untrained("trade-off curve")

    def control(self, name: str = "trained", **changes: Any) -> Run:
        """ValueError: a control is a training."""
        raise self._untrained("controls")

    def fold(self, number: int, of: int | None = None, *, images: int | None = None) -> FoldRun:
        """ValueError: a fold is a training."""
        raise self._untrained("folds")

    def report(self, chapter: str) -> Report:
        """An empty report for a chapter, with this run's provenance."""
        report, mine = super().report(chapter), self.dictionary
        trained = {key: value for key, value in report.facts["settings"].items() if key not in CODER_SETTINGS}
        report.facts |= dict(settings=trained | dict(latents=mine.latents, activation=mine.activation, k=mine.k),
                             dictionary=self._fingerprint)
        return report


def _numbers_in(source: ImageSource, ancestor: ImageSource) -> np.ndarray:
    """Which images of `ancestor` those of a subset of a subset of it are."""
    numbers = np.arange(len(source))
    while source is not ancestor:
        assert isinstance(source, ImageSubset), "every part of a run is a subset of its images"
        numbers, source = np.asarray(source.indices)[numbers], source.parent
    return numbers


def _require_base_model(model: Any) -> None:
    if model is not None and not isinstance(model, BaseModel):
        raise ValueError(f"model is a bare {type(model).__name__}; say which layer is read: "
                         "model=wrap_model(network, layer, input_size=...)")


def _group_name(group: Any) -> str:
    """The usual spelling of a group's name; ValueError for a group that no name gives back."""
    if isinstance(group, str):
        return parse_group(group).name
    if not isinstance(group, FiniteGroup):
        raise ValueError(f"group is {group!r}; expected a name such as 'D_8', or dihedral(8)")
    with contextlib.suppress(ValueError):
        if parse_group(group.name) == group:
            return group.name
    raise ValueError(f"group is {group!r}, which has no standard way to move images: give "
                     "action=PlanarAction(group, matrices) with a matrix per element")


def _standard_action(name: str) -> PlanarAction:
    """How a profile's group moves images; ValueError, saying what to do, for one that could do it in many ways."""
    group = parse_group(name)
    try:
        return PlanarAction(group)
    except ValueError as error:
        raise ValueError(f"group is {name!r}, and there is more than one way in which it could move images: pass "
                         "Run(action=PlanarAction(group, matrices)) with a matrix per element, "
                         "action=ColourAction(group) where it recolours, or action=product_action(plane, colours) for "
                         "a product whose first factor moves and whose second recolours. Only C_n and D_n have "
                         "standard matrices") from error
