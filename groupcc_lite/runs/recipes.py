"""What every artefact of a run is made from: its maker's version, its own settings, and the keys of what lies upstream.

Nothing is computed here. A recipe depends on the profile, the seed, and the content addresses of model, images and
group action, so every key is known before anything is trained. Follow the calls of each method for the whole tree.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from groupcc_lite import orbits, symmetry
from groupcc_lite.answers import probe_settings
from groupcc_lite.base import Artefact, digest, package_version
from groupcc_lite.coders import EquivariantSAE, FittedCrosscoder, GroupCrosscoder, SparseAutoencoder, TransformMatrix
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.models import AUTOENCODER_FORMAT
from groupcc_lite.runs.profiles import Profile
from groupcc_lite.runs.study_profiles import SceneProfile

VERSIONS = {
    "orbits": orbits.STORE_FORMAT, "coders": 4 + GroupCrosscoder.format + SparseAutoencoder.format,
    "fitted": 1 + FittedCrosscoder.format, "ceilings": 2, "folds": 1, "measures": 1,
    "dictionaries": 1, "transforms": 2 + TransformMatrix.format, "maps": 1,
    "visualisations": symmetry.PICTURE_FORMAT, "base-models": 1 + AUTOENCODER_FORMAT, "scene-activations": 1,
    "scene-transforms": 2 + TransformMatrix.format,
    "scene-coders": 2 + SparseAutoencoder.format + EquivariantSAE.format + TransformMatrix.format, "probes": 1,
}
"""The version of every maker, and the formats of the files it writes: both only rise, so a sum never comes back. Raise
the number here when the same settings give another result, the format where files change; all that is made from it gets
other keys by itself. What earlier versions made is not found any more, and can be deleted."""

KINDS = ("crosscoder", "sae")
"""Coders that are trained."""
TURNING = ("equivariant", "shallow")
"""Coders of scenes with M: they read whole orbits."""
MAP_KINDS = (*KINDS, "fitted")
"""Coders that have family maps."""
ORBIT_SETTINGS = ("points_per_image", "mask_radius", "registration")
CODER_SETTINGS = ("latents", "activation", "k", "sparsity", "steps", "batch_size", "lr", "amp")
"""Fields of a profile that say what a coder is and how it is trained; a given one has none of them."""
FITTED_RIDGE = 1e-6
"""Of the least squares of `Run.fitted`, in units of a latent's mean variance."""
TRANSFORM_RIDGE = 1e-3
"""Of M by least squares, in units of the mean eigenvalue of the activations' second moments."""


@dataclass(frozen=True)
class LayerRecipes:
    """Recipes of `Run`: orbits, coders, and what is measured on them.

    >>> from groupcc_lite.runs import get_profile
    >>> recipes = LayerRecipes(get_profile("smoke"), 0, model="a", images={}, stored={"train": "b"}, action="c")
    >>> recipes.coder().key != recipes.coder(steps=7).key
    True
    """

    profile: Profile
    seed: int
    model: str
    """Fingerprint of the base model."""
    images: Mapping[str, str]
    """Fingerprint of the images of each part."""
    stored: Mapping[str, str]
    """The same of those whose orbits are stored."""
    action: str
    """Content address of the group and how it acts."""

    @property
    def sampling(self) -> dict[str, Any]:
        """Which points of the images are read, and what they turn about."""
        return dict(points_per_image=self.profile.points_per_image, mask_radius=self.profile.mask_radius,
                    registration=self.profile.registration, seed=self.seed)

    def orbits(self, part: str, **changes: Any) -> Artefact:
        """Stored orbits of one part of the images; ValueError for a setting that orbits do not have."""
        unknown = sorted(changes.keys() - set(ORBIT_SETTINGS))
        if unknown:
            raise ValueError(f"orbits have no setting {', '.join(unknown)}; expected {', '.join(ORBIT_SETTINGS)}")
        return self._of_images("orbits", self.stored[part], self.sampling | changes)

    def stream(self) -> Artefact:
        """Orbits that training computes as it goes; they are never kept, but what is trained on them has their key."""
        return self._of_images("streams", self.images["train"], self.sampling)

    def _of_images(self, kind: str, images: str, settings: dict[str, Any]) -> Artefact:
        made_from = dict(model=self.model, images=images, action=self.action)
        return Artefact(kind, VERSIONS["orbits"], settings, made_from)

    def coder(self, kind: str = "crosscoder", **changes: Any) -> Artefact:
        """A trained coder. From a stream all coders read the images in one order, that of the run's seed."""
        source = self.stream() if self.profile.stream else self.orbits("train")
        settings = coder_settings(self.profile, self.seed, kind, changes)
        if self.profile.stream and settings["seed"] != self.seed:
            settings["order"] = self.seed
        return Artefact("coders", VERSIONS["coders"], settings, dict(orbits=source.key), label=kind)

    def trained(self, kind: str) -> bool:
        """Whether coders of this kind are trained: all, unless one is given (`DictionaryRecipes`)."""
        return kind in KINDS

    def coders_of_chapters(self, control: bool = False) -> list[Artefact]:
        """The coders that chapters compare: of both kinds with every seed, and those of the trade-off curve; of a
        control the crosscoder with every seed."""
        seeds = range(self.seed, self.seed + self.profile.seeds)
        if control:
            return [self.coder(seed=seed) for seed in seeds]
        return [*self._coders().values(), *(self.coder(kind, seed=seed) for kind in KINDS for seed in seeds[1:])]

    def moved_coder(self, moved_by: str, **changes: Any) -> Artefact:
        """A crosscoder of images that were moved first: of stored orbits, whose blocks it reads in another order."""
        made_from = {"orbits": self.orbits("train").key, "moved by": moved_by}
        return dataclasses.replace(self.coder(**changes), made_from=made_from)

    def fitted(self, **changes: Any) -> Artefact:
        """An SAE with fitted blocks."""
        made_from = dict(coder=self.coder("sae", **changes).key, orbits=self.orbits("train").key)
        return Artefact("fitted", VERSIONS["fitted"], dict(ridge=FITTED_RIDGE), made_from)

    def ceiling(self) -> Artefact:
        """What a linear map from x[e] explains."""
        made_from = {part: self.orbits(part).key for part in ("train", "held-out")}
        return Artefact("ceilings", VERSIONS["ceilings"], {}, made_from)

    def transform_settings(self, method: str) -> dict[str, Any]:
        """Settings of M; ValueError for an unknown method."""
        if method not in ("least squares", "adam"):
            raise ValueError(f"method is {method!r}; expected 'least squares' or 'adam'")
        adam = dict(steps=self.profile.transform_steps, batch_size=512, lr=1e-3, decay=0.5, seed=self.seed)
        return adam if method == "adam" else dict(ridge=TRANSFORM_RIDGE)

    def transform(self, method: str) -> Artefact:
        """One matrix per generator, on the layer's orbits."""
        settings = dict(method=method) | self.transform_settings(method)
        return Artefact("transforms", VERSIONS["transforms"], settings, dict(orbits=self.orbits("train").key),
                        label=method.replace(" ", "-"))

    def family_map(self, kind: str, symmetric: bool, seed: int, **changes: Any) -> Artefact:
        """A map and its clusters. Held-out orbits say which latents live; UMAP and HDBSCAN are others' code."""
        if kind not in MAP_KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(MAP_KINDS)}")
        changes |= dict(seed=seed)
        coder = self.fitted(**changes) if kind == "fitted" else self.coder(kind, **changes)
        settings = dict(symmetric=symmetric, seed=seed, umap=package_version("umap-learn"),
                        hdbscan=package_version("scikit-learn"))
        if changes.get("latents", self.profile.latents) > symmetry.LARGE:  # else all pairs are held
            settings["all_pairs_up_to"] = symmetry.LARGE
        return Artefact("maps", VERSIONS["maps"], settings, dict(coder=coder.key, orbits=self.orbits("held-out").key),
                        label=kind)

    def visualisation(self, directions: Float[Tensor, "k d"], **changes: Any) -> Artefact:
        """Pictures of directions in the layer: their numbers stand for the coder they come from."""
        settings = dict(size=self.profile.vis_size, steps=self.profile.vis_steps, seed=self.seed) | changes
        settings |= dict(lucent=package_version("torch-lucent"), kornia=package_version("kornia"))
        numbers = directions.detach().cpu().double().numpy()
        address = digest([list(numbers.shape), hashlib.sha256(numbers.tobytes()).hexdigest()], length=64)
        return Artefact("visualisations", VERSIONS["visualisations"], settings,
                        dict(model=self.model, directions=address))

    def all(self) -> dict[str, Artefact]:
        """Everything a run makes by itself, by name. Pictures are left out: which there are, the coders decide."""
        found = {f"orbits, {part}": self.orbits(part) for part in self.stored} | self._coders()
        found |= {"fitted": self.fitted(), "ceiling": self.ceiling()}
        found |= {f"transform, {method}": self.transform(method) for method in ("least squares", "adam")}
        return found | {f"map of {kind}": self.family_map(kind, kind != "sae", self.seed) for kind in MAP_KINDS}

    def _coders(self) -> dict[str, Artefact]:
        return {kind: self.coder(kind) for kind in KINDS} | {
            f"curve, {name}": self.coder(steps=self.profile.curve_steps, **point)
            for name, point in curve_points(self.profile).items()}


@dataclass(frozen=True)
class DictionaryRecipes(LayerRecipes):
    """Recipes of a run with a given coder, which takes the place of the trained SAE, and with its fitted blocks that of
    the crosscoder; or, where it writes whole orbits, that of the crosscoder alone. Whatever is made from it has its
    content in the key."""

    dictionary: str
    """Fingerprint of the given coder."""
    given_as: str
    """Which of `KINDS` it is."""

    def coder(self, kind: str = "crosscoder", **changes: Any) -> Artefact:
        """The given coder, or what stands beside it. ValueError for settings of what is not trained."""
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        if self.trained(kind):
            return super().coder(kind, **changes)
        if dict(seed=self.seed) | changes != dict(seed=self.seed):
            raise ValueError(f"a coder that is given cannot be trained with {changes}; leave these settings "
                             "out, or ask the run without it")
        if kind != self.given_as:
            return self.fitted()
        return Artefact("dictionaries", VERSIONS["dictionaries"], {}, dict(dictionary=self.dictionary))

    def trained(self, kind: str) -> bool:
        """Whether coders of this kind are trained all the same: the SAE beside a given crosscoder."""
        return kind == "sae" and self.given_as == "crosscoder"

    def _coders(self) -> dict[str, Artefact]:
        return {kind: self.coder(kind) for kind in KINDS}


@dataclass(frozen=True)
class PartRecipes(LayerRecipes):
    """Recipes of a part of a run: its orbits are rows of the whole run's, all else is made from them as usual."""

    whole: LayerRecipes
    of_whole: Mapping[str, int | float | None]
    """Which images: `number` of a fold, `of` how many, and how many `images` at most; of fewer images, how many and
    which share is `held_out`."""

    def orbits(self, part: str, **changes: Any) -> Artefact:
        """Some rows of both parts of the whole run. They are never kept, but what is made from them has their key."""
        if part not in self.stored:
            raise ValueError(f"part is {part!r}; expected one of {', '.join(self.stored)}")
        made_from = {name: self.whole.orbits(name, **changes).key for name in self.whole.stored}
        return Artefact("folds", VERSIONS["folds"], dict(self.of_whole) | dict(part=part), made_from)

    def measured(self, name: str, version: int, seed: int, constants: Mapping[str, float | int], *,
                 ceiling: bool = False) -> Artefact:
        """Numbers that one function gives for one coder of this part; `constants` are the thresholds it judges by,
        `ceiling` says that it compares with the linear reference."""
        made_from = dict(coder=self.coder(seed=seed).key, orbits=self.orbits("held-out").key,
                         train=self.orbits("train").key)
        if ceiling:
            made_from["ceiling"] = self.ceiling().key
        return Artefact("measures", VERSIONS["measures"], dict(name=name, version=version, constants=dict(constants)),
                        made_from, label=name)


def coder_settings(profile: Profile, seed: int, kind: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a coder; ValueError for an unknown kind or setting."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    unknown = sorted(changes.keys() - {*CODER_SETTINGS, "seed"})
    if unknown:
        raise ValueError(f"a coder has no setting {', '.join(unknown)}; expected {', '.join(CODER_SETTINGS)}, seed")
    settings = {key: getattr(profile, key) for key in CODER_SETTINGS} | {"seed": seed} | dict(changes)
    if settings["activation"] == "relu":
        settings["k"] = None
    return settings | {"kind": kind}


def curve_points(profile: Profile) -> dict[str, dict[str, Any]]:
    """The trainings of the sparsity trade-off, by name: settings in which they differ from the profile's coder."""
    points = {f"L1 {s:g}": dict(activation="relu", k=None, sparsity=s) for s in profile.l1_sparsities}
    return points | {f"TopK {k}": dict(activation="topk", k=k, sparsity=0.0) for k in profile.topk_ks}


def action_address(group: FiniteGroup, fingerprint: Any) -> str:
    """Content address of a group and how it acts."""
    return digest([group.table.tolist(), fingerprint], length=64)


# ------------------------------------------------------------------------------------------------------- scenes

@dataclass(frozen=True)
class SceneRecipes:
    """Recipes of `SceneRun`: base models, M, coders and probe scores."""

    profile: SceneProfile
    seed: int
    """Of the split into scenes to train on and scenes held out."""
    group: FiniteGroup
    tasks: tuple[str, ...]
    """Names of the probing tasks."""

    @property
    def scenes(self) -> dict[str, Any]:
        """Which scenes are held out."""
        return dict(held_out=self.profile.held_out, split=self.seed)

    def base(self, base: str, seed: int) -> Artefact:
        """A base autoencoder; it sees quarter turns of the scenes, whatever group is studied."""
        profile = self.profile
        settings = dict(base=base, epochs=profile.base_epochs, batch_size=profile.base_batch, lr=profile.base_lr,
                        amp=profile.base_amp, seed=seed)
        return Artefact("base-models", VERSIONS["base-models"], self.scenes | settings, label=base)

    def activations(self, base: str, seed: int) -> Artefact:
        """Of all scenes under all elements; they are computed again in every process."""
        made_from = dict(base=self.base(base, seed).key, group=action_address(self.group, None))
        return Artefact("scene-activations", VERSIONS["scene-activations"], {}, made_from)

    def transform(self, base: str, seed: int, relations: float = 0.0) -> Artefact:
        """M by Adam; with `relations`, the penalty's, which goes on from it."""
        profile = self.profile
        steps = max(1, profile.transform_steps // 10) if relations else profile.transform_steps
        settings = dict(steps=steps, batch_size=profile.transform_batch, lr=profile.transform_lr, seed=seed,
                        relations=relations)
        made_from = dict(activations=self.activations(base, seed).key)
        if relations:
            made_from["start"] = self.transform(base, seed).key
        return Artefact("scene-transforms", VERSIONS["scene-transforms"], settings, made_from, label=base)

    def coder(self, base: str, name: str, k: int, seed: int, *, latents: int | None = None,
              steps: int | None = None) -> Artefact:
        """A coder, of the profile's size and training unless told otherwise; that with M is made from M too."""
        profile = self.profile
        settings = dict(name=name, k=k, steps=steps or profile.steps,
                        latents=(latents or profile.latents) * (self.group.order if name == "wide" else 1),
                        hidden=profile.hidden if name in ("deep", "equivariant") else None,
                        batch_size=profile.batch_size, lr=profile.lr, amp=profile.amp, seed=seed)
        made_from = dict(activations=self.activations(base, seed).key)
        if name in TURNING:
            made_from["transform"] = self.transform(base, seed).key
        return Artefact("scene-coders", VERSIONS["scene-coders"], settings, made_from, label=f"{base}-{name}")

    def probe(self, base: str, name: str, k: int, view: str, truncation: int, seed: int) -> Artefact:
        """Scores of all tasks; on plain activations no coder plays a part."""
        plain = view == "activations"
        settings = dict(view=view, truncation=None if plain else truncation, train=self.profile.probe_train,
                        test=self.profile.probe_test, tasks=list(self.tasks), probes=probe_settings())
        made_from = dict(activations=self.activations(base, seed).key)
        if not plain:
            made_from["coder"] = self.coder(base, name, k, seed).key
        return Artefact("probes", VERSIONS["probes"], settings, made_from, label=f"{base}-{view}")
