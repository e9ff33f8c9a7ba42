"""The equivariant-SAE experiments, from a profile to artefacts on disk: base autoencoders, M, coders, probes.

`SceneRun` is to the chapters on equivariant SAEs what `Run` is to the others: each artefact is made once, filed under
a key of everything that made it (`recipes`), and resumed after an interruption. Source of the experiments: Erdogan &
Lucic 2025, sections 3 and 4.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite import answers, coders
from groupcc_lite.base import Artefact, Cache, default_device, work_folder
from groupcc_lite.coders import EquivariantSAE, SparseAutoencoder, TransformMatrix
from groupcc_lite.groups import FiniteGroup, cyclic
from groupcc_lite.models import ImageAutoencoder, SceneImages, activations
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.runs.recipes import TURNING, SceneRecipes
from groupcc_lite.runs.reports import Report
from groupcc_lite.runs.study_profiles import SceneProfile, get_scene_profile
from groupcc_lite.stimuli import Scenes, Task, probing_tasks, scene_orbits, split_scenes, task_labels

PARTS = ("train", "held-out")
CODERS = ("sae", "wide", "deep", "equivariant", "shallow")
"""Regular SAE; one with |G| times the latents; one with a two-layer encoder; the equivariant SAE; the equivariant SAE
with a linear encoder."""
METHODS = ("identity", "adam", "penalty", "least squares", "procrustes", "exact", "adam, projected",
           "procrustes, projected")
"""Ways to M. "penalty" goes on from Adam's result for a tenth of the steps, with the relations added to the loss;
"exact" and "projected" make them hold afterwards, for least squares and for the others."""
VIEWS = ("activations", "latents", "reconstructions", "inferred", "invariant")
"""What a probe sees. "inferred" and "invariant" are other readings of an equivariant SAE's reconstruction: with the
element that fits best instead of the true one, and without M."""
SCORES = "scores.json"
"""The file of probe scores in its folder."""


class Splice(NamedTuple):
    """A base model with a coder in its middle, on held-out images (Erdogan & Lucic 2025, Figure 4)."""

    loss: float
    """Mean squared error per pixel of the decoded reconstruction."""
    base_loss: float
    """The same without a coder."""
    invariant_loss: float
    """The same without M; for a coder without M, the same again."""
    fve: float
    """Fraction of variance explained of the activations themselves."""
    l1: float
    """Mean L1 norm of the latents, in units in which dictionary vectors have length one."""
    l0: float
    dead: float


class SceneRun:
    """Artefacts of one scene profile. Keywords change profile fields; ValueError for anything unknown.

    Methods take a `base` ("mlp", "cnn") and a `seed` for everything trained: base model, M and coder alike. Which
    scenes are held out depends on the run's own seed only.

    >>> study = SceneRun("smoke")
    >>> study
    SceneRun('smoke', seed=0): C_4 on scenes (3068 train, 1022 held-out)
    >>> len(study.keys())
    20
    """

    def __init__(self, profile: str | SceneProfile = "book", seed: int = 0, *, group: FiniteGroup | None = None,
                 work: str | Path | None = None, device: str | None = None, **changes: Any):
        self.profile = get_scene_profile(profile, **changes)
        self.seed, self.group = seed, group or cyclic(4)
        self.work, self.device = work_folder(work) / "scenes", default_device(device)
        self.cache = Cache(self.work, device=self.device)
        self.recipes = SceneRecipes(self.profile, seed, self.group, tuple(task.name for task in self.tasks))
        self._split = dict(zip(PARTS, split_scenes(self.profile.held_out, seed), strict=True))
        self._orbits: dict[tuple[str, str, int], Tensor] = {}
        self._base_losses: dict[tuple[str, int], float] = {}

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(scenes)} {part}" for part, scenes in self._split.items())
        return f"SceneRun({self.profile.name!r}, seed={self.seed}): {self.group.name} on scenes ({counts})"

    @property
    def seeds(self) -> range:
        """Seeds of base models and M."""
        return range(self.seed, self.seed + self.profile.seeds)

    def coder_seeds(self, k: int) -> range:
        """Those of them that coders with this k, and their probes, are repeated with."""
        return self.seeds[:self.profile.coder_seeds if k in self.profile.repeated_ks else 1]

    def scenes(self, part: str = "train") -> Scenes:
        """Canonical scenes to train on, or those that nothing is trained on ("held-out")."""
        if part not in PARTS:
            raise ValueError(f"part is {part!r}; expected one of {', '.join(PARTS)}")
        return self._split[part]

    # ----------------------------------------------------------------------------------------- base models

    def autoencoder(self, base: str, seed: int | None = None, *, trained: bool = True) -> ImageAutoencoder:
        """The base model; with `trained=False` as its training begins, with random weights."""
        profile, seed = self.profile, self._seed(seed)
        if not trained:
            return ImageAutoencoder(base, seed=seed).to(self.device)

        def make(folder: Path) -> None:
            source = SceneImages(self.scenes("train"), cyclic(4))
            steps = profile.base_epochs * source.batches_per_epoch(profile.base_batch)
            model = ImageAutoencoder(base, seed=seed).to(self.device)
            coders.optimise(model, source, folder=folder, steps=steps, batch_size=profile.base_batch,
                            lr=profile.base_lr, amp=profile.base_amp, seed=seed)
            model.save(folder)

        return ImageAutoencoder.load(self._trained(self.recipes.base(base, seed), make)).to(self.device)

    def activations(self, base: str, part: str = "train", seed: int | None = None) -> Float[Tensor, "b g d"]:
        """psi(g x) of every scene x: the pre-activation encoder output, block 0 canonical."""
        key = (base, part, self._seed(seed))
        if key not in self._orbits:
            self._orbits[key] = activations(self.autoencoder(base, key[2]), self.scenes(part), self.group)
        return self._orbits[key]

    # ---------------------------------------------------------------------------------------------------- M

    def transform(self, base: str, method: str = "adam", seed: int | None = None, *,
                  relations: float = 1.0) -> TransformMatrix:
        """M by one of METHODS, from the training scenes, on the run's device. `relations`: weight of the penalty.

        Adam's are kept on disk. The others have closed forms, which are computed anew each time. ValueError for another
        method, and for a penalty without weight.
        """
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
        if method == "penalty" and not relations > 0:
            raise ValueError(f"relations is {relations}; expected a weight above 0: without one, the method is 'adam'")
        if method in ("adam", "penalty"):
            folder = self._adam_folder(base, self._seed(seed), relations if method == "penalty" else 0.0)
            return TransformMatrix.load(folder, group=self.group).to(self.device)
        return self._closed_form(base, method, seed).to(self.device)

    def _closed_form(self, base: str, method: str, seed: int | None) -> TransformMatrix:
        blocks = self.activations(base, "train", seed)
        first, _, projected = method.partition(", ")
        if projected:
            return coders.project(self.transform(base, first, seed).cpu(), orthogonal=first == "procrustes")
        if method == "identity":
            return TransformMatrix(self.group, blocks.shape[-1])
        if method == "procrustes":
            return coders.procrustes([blocks], self.group)
        found = coders.least_squares([blocks], self.group)
        return coders.project(found) if method == "exact" else found

    def transform_history(self, base: str, seed: int | None = None) -> list[dict[str, Any]]:
        """The logged rows of Adam's training of M."""
        path = self._adam_folder(base, self._seed(seed), 0.0) / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def _adam_folder(self, base: str, seed: int, relations: float) -> Path:
        artefact = self.recipes.transform(base, seed, relations)
        settings = {key: artefact.settings[key] for key in ("steps", "batch_size", "lr", "seed")}

        def make(folder: Path) -> None:
            source = TensorOrbits(self.activations(base, "train", seed), self.group)
            settings["batch_size"] = min(settings["batch_size"], len(source))
            model = TransformMatrix(self.group, source.channels, scale=source.scale)
            if relations:
                model.load_state_dict(self.transform(base, "adam", seed).state_dict())
            model = model.to(self.device)
            coders.optimise(model, source, folder=folder, **settings, terms=dict(relations=relations))
            model.save(folder)

        return self._trained(artefact, make)

    # ----------------------------------------------------------------------------------------------- coders

    def coder(self, base: str, name: str, k: int, seed: int | None = None, *, latents: int | None = None,
              steps: int | None = None) -> SparseAutoencoder | EquivariantSAE:
        """A trained coder, one of CODERS, with TopK; the equivariant one with M by Adam, as in the paper.

        `latents` and `steps` (None: the profile's) for coders of other sizes and longer trainings.
        """
        if name not in CODERS:
            raise ValueError(f"name is {name!r}; expected one of {', '.join(CODERS)}")
        seed = self._seed(seed)
        artefact, turns = self.recipes.coder(base, name, k, seed, latents=latents, steps=steps), name in TURNING

        def make(folder: Path) -> None:
            coder, source = (self._equivariant if turns else self._regular)(base, seed, artefact.settings)
            loop = {key: artefact.settings[key] for key in ("steps", "lr", "amp", "seed")}
            blocks = artefact.settings["batch_size"]
            coders.train(coder, source, folder=folder, batch_size=max(1, blocks // source.group.order), **loop)
            coder.save(folder)

        folder = self._trained(artefact, make)
        found = EquivariantSAE.load(folder, group=self.group) if turns else SparseAutoencoder.load(folder)
        return found.to(self.device)

    def _regular(self, base: str, seed: int, settings: Mapping[str, Any]) -> tuple[SparseAutoencoder, TensorOrbits]:
        """A new autoencoder of single activations, and what it is trained on."""
        source = TensorOrbits(rearrange(self.activations(base, "train", seed), "b g d -> (b g) 1 d"), cyclic(1))
        coder = SparseAutoencoder(source.channels, settings["latents"], scale=source.scale, **_build(settings))
        return coder.to(self.device), source

    def _equivariant(self, base: str, seed: int, settings: Mapping[str, Any]) -> tuple[EquivariantSAE, TensorOrbits]:
        """A new equivariant one, with M by Adam, and the orbits it is trained on."""
        source = TensorOrbits(self.activations(base, "train", seed), self.group)
        coder = EquivariantSAE(self.group, source.channels, settings["latents"], scale=source.scale,
                               transform=self.transform(base, "adam", seed), **_build(settings))
        return coder.to(self.device), source

    @torch.no_grad()
    def splice(self, base: str, name: str, k: int, seed: int | None = None) -> Splice:
        """What is left of the base model's reconstruction when its activations pass through a coder."""
        coder = self.coder(base, name, k, seed)
        rows, elements = self._rows(base, "held-out", seed)
        latents = coder.encode(rows)
        sae, rho = _parts(coder)
        without_M = sae.decode(latents)[:, 0]
        turns = _turns(coder, rows, elements, "reconstructions").cpu().numpy()
        found = torch.from_numpy(_turned(without_M.cpu().numpy(), rho, turns)).to(rows.device)
        lengths = sae.W_d[:, 0].norm(dim=1)
        loss = self._pixel_loss(base, found, seed)
        return Splice(
            loss=loss, base_loss=self._base_loss(base, seed),
            invariant_loss=self._pixel_loss(base, without_M, seed) if len(rho) > 1 else loss,
            fve=float(1 - (rows - found).square().sum() / (rows - rows.mean(0)).square().sum()),
            l1=float((latents * lengths).sum(1).mean() / sae.scale), l0=float((latents > 0).float().sum(1).mean()),
            dead=float((latents == 0).all(0).float().mean()))

    def _pixel_loss(self, base: str, z: Float[Tensor, "b d"], seed: int | None) -> float:
        """Mean squared error per pixel when `z` stand for the activations of the held-out images and are decoded."""
        model = self.autoencoder(base, seed)
        images = rearrange(scene_orbits(self.scenes("held-out").images(), self.group), "b g c h w -> (b g) c h w")
        decoded = torch.cat([model.decode(part) for part in z.split(512)])  # all at once needs a gigabyte
        return float((decoded - images.to(z.device)).square().mean())

    def _base_loss(self, base: str, seed: int | None) -> float:
        """`_pixel_loss` of the activations themselves, the same for every coder."""
        key = base, self.seed if seed is None else seed
        if key not in self._base_losses:
            self._base_losses[key] = self._pixel_loss(base, self._rows(base, "held-out", seed)[0], seed)
        return self._base_losses[key]

    # ---------------------------------------------------------------------------------------------- probing

    @property
    def tasks(self) -> list[Task]:
        """The probing tasks of this profile: all 180, or a few of each family, evenly spread."""
        tasks = list(probing_tasks())
        if self.profile.tasks is None:
            return tasks
        chosen = []
        for family in dict.fromkeys(task.family for task in tasks):
            of_family = [task for task in tasks if task.family == family]
            places = np.linspace(0, len(of_family) - 1, min(self.profile.tasks, len(of_family))).round().astype(int)
            chosen += [of_family[place] for place in places]
        return chosen

    def probe(self, base: str, name: str, k: int, view: str, truncation: int,
              seed: int | None = None) -> answers.ProbeScores:
        """F1 of every task and probe, from one of VIEWS of a coder cut to its `truncation` best latents per task.

        For the view "activations" the coder plays no part: pass any. Latents are ranked on the probes' training images.
        """
        if view not in VIEWS:
            raise ValueError(f"view is {view!r}; expected one of {', '.join(VIEWS)}")
        seed = self._seed(seed)
        artefact = self.recipes.probe(base, name, k, view, truncation, seed)
        what = [base, view] if view == "activations" else [base, name, k, view, truncation]

        def make(folder: Path) -> None:
            self.autoencoder(base, seed)  # probes ask for both in threads of their own, whose seconds the cache would
            if view != "activations":  # count as theirs
                self.coder(base, name, k, seed)
            answers.probe_all(_on_first_use(lambda: self._features(base, name, k, view, truncation, seed)),
                              *(self.labels(part) for part in PARTS), path=folder / SCORES, key=artefact.key,
                              description=" ".join(map(str, what)))

        return answers.ProbeScores.load(self.cache.get(artefact, make) / SCORES)

    def _features(self, base: str, name: str, k: int, view: str, truncation: int,
                  seed: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        """Per task: what its probes see of the training and of the held-out images."""
        rows, elements = zip(*(self._rows(base, part, seed, sampled=True) for part in PARTS), strict=True)
        if view == "activations":
            both = tuple(part.cpu().numpy() for part in rows)
            return lambda task: both
        coder = self.coder(base, name, k, seed)
        with torch.no_grad():
            latents = [coder.encode(part).cpu().numpy() for part in rows]
            turns = [_turns(coder, x, g, view).cpu().numpy() for x, g in zip(rows, elements, strict=True)]
        ranked = answers.ranked_latents(latents[0], self.labels("train"), truncation)
        if view == "latents":
            return lambda task: tuple(f[:, ranked[task]] for f in latents)
        sae, rho = _parts(coder)
        D, b_d, scale = (t.detach().cpu().numpy() for t in (sae.W_d[:, 0], sae.b_d[0], sae.scale))

        def reconstructed(task: int) -> tuple[np.ndarray, np.ndarray]:  # in numpy: it runs in the probes' threads
            kept = ranked[task]
            plain = [(f[:, kept] @ D[kept] + b_d) / scale for f in latents]
            return tuple(_turned(x, rho, g) for x, g in zip(plain, turns, strict=True))

        return reconstructed

    def paper_logistic(self, base: str, name: str, k: int, view: str, truncation: int,
                       seed: int | None = None) -> dict[str, Float[np.ndarray, " t"]]:
        """F1 of every task by the paper's own logistic regression, by its number of steps ("100 steps").

        Computed anew at each call: for a few readings, beside `probe`, whose logistic regression has converged.
        """
        features = self._features(base, name, k, view, truncation, self._seed(seed))
        train, test = (self.labels(part) for part in PARTS)
        scores = np.array([answers.logistic_by_steps(*features(task), train[:, task], test[:, task])
                           for task in range(len(self.tasks))])
        return {f"{steps:,} steps": of_steps for steps, of_steps in zip(answers.STEPS, scores.T, strict=True)}

    def report(self, chapter: str) -> Report:
        """An empty report for a chapter, with this run's provenance."""
        facts = dict(seed=self.seed, group=self.group.name, scenes={p: len(s) for p, s in self._split.items()},
                     settings=dataclasses.asdict(self.profile))
        return Report(self.work.parent / "reports" / self.profile.name, chapter, self.profile.name, **facts)

    # ---------------------------------------------------------------------------------------------- helpers

    def _rows(self, base: str, part: str, seed: int | None, *, sampled: bool = False) -> tuple[Tensor, Tensor]:
        """Activations of every turned image one below the other, and the element that turned it."""
        blocks = self.activations(base, part, seed).to(self.device)
        elements = torch.arange(self.group.order, device=blocks.device).repeat(len(blocks))
        rows = rearrange(blocks, "b g d -> (b g) d")
        chosen = self._sample(part) if sampled else slice(None)
        return rows[chosen], elements[chosen]

    def _sample(self, part: str) -> Tensor:
        """Rows that probes use; the same for every coder."""
        total = len(self.scenes(part)) * self.group.order
        wanted = self.profile.probe_train if part == "train" else self.profile.probe_test
        return torch.from_numpy(np.random.default_rng([self.seed, PARTS.index(part)]).permutation(total)[:wanted])

    def labels(self, part: str) -> Bool[np.ndarray, "n t"]:
        """Answers to `tasks` for the images that probes use."""
        scenes = self.scenes(part)
        turned = [task_labels(scenes.act(self.group, g), self.tasks) for g in range(self.group.order)]
        labels = rearrange(np.stack([np.asarray(t) for t in turned], 1), "b g t -> (b g) t")
        return labels[self._sample(part).numpy()]

    def keys(self) -> dict[str, str]:
        """Under which key each artefact of the chapters is filed, by what it is; known before anything is made."""
        return {name: artefact.key for name, artefact in self.artefacts().items()}

    def artefacts(self) -> dict[str, Artefact]:
        """All that the chapters keep, by what it is."""
        found: dict[str, Artefact] = {}
        for base in self.profile.base_models:
            for seed in self.seeds:
                found[f"{base}, seed {seed}: base model"] = self.recipes.base(base, seed)
                found[f"{base}, seed {seed}: M by adam"] = self.recipes.transform(base, seed)
                found[f"{base}, seed {seed}: M by penalty"] = self.recipes.transform(base, seed, 1.0)
            for k in self.profile.ks:
                for seed in self.coder_seeds(k):
                    found |= self._coder_artefacts(base, k, seed)
            for latents, steps in self.sweep if base == self.profile.base_models[-1] else ():
                found[f"{base}, seed {self.seed}: sweep, {latents} latents, {steps} steps"] = self.recipes.coder(
                    base, "equivariant", self.middle_k, self.seed, latents=latents, steps=steps)
        return found

    @property
    def middle_k(self) -> int:
        """The k that single coders are shown for."""
        return self.profile.ks[len(self.profile.ks) // 2]

    @property
    def sweep(self) -> list[tuple[int, int]]:
        """(latents, steps) of the equivariant SAEs, of the last base model, that ask whether latents are shared within
        an orbit."""
        return [(m, steps) for steps in self.profile.sweep_steps for m in self.profile.sweep_latents]

    def _coder_artefacts(self, base: str, k: int, seed: int) -> dict[str, Artefact]:
        start = f"{base}, seed {seed}, k = {k}: "
        found = {f"{start}{name}": self.recipes.coder(base, name, k, seed) for name in CODERS}
        found[f"{base}, seed {seed}: probes of activations"] = self.recipes.probe(base, "", k, "activations", 0, seed)
        for name in CODERS[:-1]:  # nothing is probed of the linear encoder
            for view in VIEWS[1:] if name in TURNING else VIEWS[1:3]:
                for kept in self.profile.truncations:
                    artefact = self.recipes.probe(base, name, k, view, kept, seed)
                    found[f"{start}probes of {name}, {view} from {kept}"] = artefact
        return found

    def _seed(self, seed: int | None) -> int:
        return self.seed if seed is None else seed

    def _trained(self, artefact: Artefact, make: Callable[[Path], None]) -> Path:
        return self.cache.get(artefact, make, scratch=("checkpoint.safetensors",))


def _build(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a new coder is built with."""
    return dict(activation="topk") | {key: settings[key] for key in ("k", "hidden", "seed")}


def _on_first_use(make: Callable[[], Callable[[int], Any]]) -> Callable[[int], Any]:
    """What `make` returns, made by one thread at the first call: finished scores are read without any features."""
    lock, made = threading.Lock(), []

    def call(task: int) -> Any:
        with lock:
            if not made:
                made.append(make())
        return made[0](task)

    return call


def _parts(coder: SparseAutoencoder | EquivariantSAE) -> tuple[SparseAutoencoder, Float[np.ndarray, "g d d"]]:
    """The autoencoder inside a coder, and the matrices that turn what it writes: the identity alone if it has none."""
    if isinstance(coder, EquivariantSAE):
        return coder.sae, coder.transform.matrices().detach().cpu().numpy()
    return coder, np.eye(coder.channels, dtype=np.float32)[None]


def _turns(coder: SparseAutoencoder | EquivariantSAE, x: Float[Tensor, "n d"], elements: Int[Tensor, " n"],
           view: str) -> Int[Tensor, " n"]:
    """By which element each reconstruction is turned, as one of VIEWS has it."""
    if not isinstance(coder, EquivariantSAE) or view == "invariant":
        return torch.zeros_like(elements)
    return coder.nearest_element(x) if view == "inferred" else elements


def _turned(x: Float[np.ndarray, "n d"], rho: Float[np.ndarray, "g d d"],
            elements: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
    out = np.empty_like(x)
    for g in range(len(rho)):
        out[elements == g] = x[elements == g] @ rho[g].T
    return out
