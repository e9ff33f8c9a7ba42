"""All networks of the plan, measured once and kept: what a chapter on robust networks needs.

Beside the plan's networks stand those of `STOPPED`, and "untrained" ones with random weights. `robust_findings` has the
criteria.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import Artefact, Cache, digest, progress_bar, read_json, sha256_of, write_json
from groupcc_lite.groups import FiniteGroup, dihedral, parse_group
from groupcc_lite.models import (
    TINY_WEIGHTS,
    BaseModel,
    ShapeNaming,
    load_model,
    load_tiny,
    randomise,
)
from groupcc_lite.runs import RobustProfile, Run, get_robust_profile
from groupcc_lite.stimuli import DrawingSource
from groupcc_lite.studies.robust_findings import (
    attacks_move,
    attacks_turn,
    blurred_symmetry,
    drawn,
    layer_between_pictures,
    layer_superposition,
    layer_symmetry,
    three_versions,
)
from groupcc_lite.superposition import TREATMENTS, RobustNetwork, naming_under_attack, reference_weights
from groupcc_lite.symmetry import (
    FALSE_RATE,
    INVARIANT,
    TAU,
    ConfirmedCensus,
    confirmed_census,
    equivariance_score,
    excess,
    living_dictionary,
)

VERSIONS = {"untrained": 1, "attacked": 1, "symmetry": 2, "census": 2, "turns": 1, "moved": 1, "pictures": 1,
            "blurred": 1}
"""Of what `RobustStudy` keeps. Raise one when the same settings give another result."""
ROBUST_KINDS = (*TREATMENTS, ("untrained", 0.0), ("stopped", 0.0))
"""What was done to a network, and how strongly; rows of everything that `RobustStudy` gives. The first is plain."""
_DRAWINGS = 9_100_000  # seeds from here on: of the drawings that coders are trained and read on


class RobustStudy:
    """Every measure of every network, kept in `work`. ValueError for an unknown profile.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> small = get_robust_profile("smoke", seeds=(0,), census_layers=(), turned=0)
    >>> study = RobustStudy(small, work=work.name)
    >>> study.values("fve mixed3b").shape, study.names[:2]
    ((7, 1), ('accuracy', 'accuracy attacked'))
    >>> work.cleanup()
    """

    def __init__(self, profile: str | RobustProfile = "book", seed: int = 0, *, work: str | Path):
        self.profile, self.seed = get_robust_profile(profile), seed
        self.work, self._cache = Path(work), Cache(work)

    @property
    def networks(self) -> list[RobustNetwork]:
        """Seed after seed, each in the order of ROBUST_KINDS."""
        return [RobustNetwork(kind, eps, seed) for seed in self.profile.seeds for kind, eps in ROBUST_KINDS]

    def weights(self, network: RobustNetwork) -> Path:
        """The weights file: that of the package, or of a network that is made here. ValueError if none is there."""
        if network.kind != "untrained":
            return reference_weights(network)

        def make(part: Path) -> None:
            save_file(randomise(load_tiny(), network.seed).state_dict(), part / TINY_WEIGHTS.name)

        artefact = Artefact("robust-untrained", VERSIONS["untrained"], {"seed": network.seed})
        return self._cache.get(artefact, make) / TINY_WEIGHTS.name

    @cached_property
    def found(self) -> list[dict[str, float]]:
        """For each of `networks` its measures by name, such as "fve mixed3b"; made on first use, with a bar."""
        return [self.measures(network) for network in progress_bar(iterable=self.networks, desc="networks")]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all measures."""
        return tuple(self.found[0])

    def values(self, name: str) -> Float[np.ndarray, "k s"]:
        """A measure of all networks, (kinds, seeds); NaN where it was not made. KeyError for an unknown name."""
        if name not in self.found[0]:
            raise KeyError(f"{name!r}; measured are {', '.join(self.names)}")
        return np.array([one.get(name, np.nan) for one in self.found]).reshape(len(self.profile.seeds), -1).T

    def differences(self, name: str, less: int = 0) -> Float[np.ndarray, "k s"]:
        """The same minus that of ROBUST_KINDS[less], plain by default, of the same seed."""
        values = self.values(name)
        return values - values[less]

    def measures(self, network: RobustNetwork) -> dict[str, float]:
        """All that is said of one network, by name; of a stopped one neither census nor whether its attacks turn."""
        found = self._kept("attacked", network, ("eps", "radii", "attacked", "named", "layers", "train_drawings",
                                                 "points", "latents", "k", "sae_steps"), self._attacked)
        found |= self._kept("symmetry", network, ("layers", "symmetry_drawings", "symmetry_points"), self._symmetry)
        if self.profile.census_layers and network.kind != "stopped":
            found |= self._kept("census", network, ("census_layers",), self._census, self._census_of)
        if self.profile.turned and network.kind != "stopped":
            found |= self._kept("turns", network, ("eps", "turned", "elements"), self._turns)
            found |= self._kept("moved", network, ("eps", "turned"), self._moves)
        found |= self._kept("pictures", network, ("layers", "symmetry_drawings", "symmetry_points"), self._pictures)
        if network.kind == "plain":
            found |= self._kept("blurred", network, ("layers", "symmetry_drawings", "symmetry_points", "blurs"),
                                self._blurred)
        return found

    def _kept(self, what: str, network: RobustNetwork, fields: tuple[str, ...],
              make: Callable[[Path], dict[str, float]],
              also_of: Callable[[Path], dict[str, str]] = lambda path: {}) -> dict[str, float]:
        """What `make` says of the network, which depends on these fields of the profile and on nothing else of it;
        and on what `also_of` names by keys."""
        path = self.weights(network)
        settings = {name: getattr(self.profile, name) for name in fields} | {"seed": self.seed}
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
        artefact = Artefact(f"robust-{what}", VERSIONS[what], settings, {"weights": sha256_of(path)} | also_of(path),
                            network.name)
        folder = self._cache.get(artefact, lambda part: write_json(part / "found.json", make(path)))
        return read_json(folder / "found.json")

    def _attacked(self, path: Path) -> dict[str, float]:
        """Accuracy, and superposition of every layer, for the same drawings clean, attacked and noisy."""
        network, p = load_tiny(path), self.profile
        images = three_versions(network, p.eps, drawings=p.attacked, seed=_DRAWINGS)
        naming, many = (ShapeNaming(network, drawn(count, seed=seed)) for count, seed in (
            (p.attacked, _DRAWINGS), (p.named, _DRAWINGS + 3)))
        found = {"accuracy": many.accuracy(many.drawings.images)}
        found |= {f"accuracy {name}": naming.accuracy(images[name]) for name in ("attacked", "noisy")}
        for eps in p.radii:
            under = naming_under_attack(network, eps, drawings=p.attacked)
            found |= {f"accuracy {name} {eps:g}": getattr(under, name) for name in ("attacked", "noisy")}
        images["train"] = drawn(p.train_drawings, seed=_DRAWINGS + 1).images
        for layer in p.layers:
            measured = layer_superposition(load_model("tiny-inception", layer, weights=path), images, latents=p.latents,
                                           k=p.k, steps=p.sae_steps, points=p.points, seed=self.seed)._asdict()
            for name in ("attacked", "noisy"):
                measured[f"l0_{name}"] -= measured["l0_clean"]
            found |= _at(layer, measured)
        return found

    def _symmetry(self, path: Path) -> dict[str, float]:
        found = {}
        for layer in self.profile.layers:
            measured = layer_symmetry(load_model("tiny-inception", layer, weights=path), seed=self.seed,
                                      drawings=self.profile.symmetry_drawings, points=self.profile.symmetry_points)
            found |= _at(layer, measured._asdict() | {"relative": measured.relative})
        return found

    def _pictures(self, path: Path) -> dict[str, float]:
        p = self.profile
        return {f"between {layer}": layer_between_pictures(
            load_model("tiny-inception", layer, weights=path), drawings=p.symmetry_drawings, points=p.symmetry_points,
            seed=self.seed) for layer in p.layers}

    def _blurred(self, path: Path) -> dict[str, float]:
        p, found = self.profile, {}
        for layer in p.layers:
            model = load_model("tiny-inception", layer, weights=path)
            for side in p.blurs:
                one = blurred_symmetry(model, side, drawings=p.symmetry_drawings, points=p.symmetry_points,
                                       seed=self.seed)
                found |= {f"error blurred {side} {layer}": one.error, f"relative blurred {side} {layer}": one.relative}
        return found

    def _moves(self, path: Path) -> dict[str, float]:
        return {"moves": attacks_move(load_tiny(path), self.profile.eps, 1, drawings=self.profile.turned)}

    def _census(self, path: Path) -> dict[str, float]:
        """Of a group crosscoder, with what its labels are worth: by surrogates, and by the encoder."""
        found = {}
        for layer in self.profile.census_layers:
            with tempfile.TemporaryDirectory() as work:  # orbits are large, and nobody asks for them again
                run = self._census_run(path, layer, work)
                coder = run.coder()
                frequency, held_out = run.evaluate(coder).frequency, run.orbits("held-out")
                census = confirmed_census(coder, frequency, held_out, seed=self.seed)
                found |= _at(layer, _of_census(census, living_dictionary(coder, frequency)[0], run.group, self.seed))
        return found

    def _census_run(self, path: Path, layer: str, work: str | Path) -> Run:
        p, model = self.profile, load_model("tiny-inception", layer, weights=path)
        return Run("book", self.seed, model=model, images=self._drawings(model), work=work, group=p.group,
                   points_per_image=p.census_points, latents=p.census_latents, k=p.census_k, steps=p.census_steps,
                   topk_ks=(p.census_k,))

    def _census_of(self, path: Path) -> dict[str, str]:
        """The coder that the census is of, with the book's settings but for ours, and what labels are judged by."""
        runs = {layer: self._census_run(path, layer, self.work) for layer in self.profile.census_layers}
        found = {f"{layer}, {name}": key for layer, run in runs.items()
                 for name, key in (("coder", run.recipes.coder().key), ("orbits", run.recipes.orbits("held-out").key))}
        return found | {"thresholds": digest([TAU, INVARIANT, FALSE_RATE])}

    def _drawings(self, model: BaseModel) -> DrawingSource:
        size = PlanarAction(parse_group(self.profile.group)).source_size(model.input_size)
        return DrawingSource(self.profile.census_drawings, size, seed=_DRAWINGS + 2 + self.seed)

    def _turns(self, path: Path) -> dict[str, float]:
        p = self.profile
        turns = attacks_turn(load_tiny(path), p.eps, drawings=p.turned, elements=p.elements)
        names = PlanarAction(dihedral(4)).group.names
        found = {f"turns {name}": float(value) for name, value in zip(
            (names[element] for element in p.elements), turns.own, strict=True)}
        return found | {"turns": float(turns.own.mean()), "turns other": float(turns.other.mean()),
                        "turns random": float(turns.random.mean())}


def _at(layer: str, found: Mapping[str, float]) -> dict[str, float]:
    return {f"{name} {layer}": value for name, value in found.items()}


def _of_census(census: ConfirmedCensus, D: Tensor, G: FiniteGroup, seed: int) -> dict[str, float]:
    extra = excess(census.decoder, G, seed=seed)
    return dict(living=float(len(D)), labelled=float(extra.count), by_chance=extra.surrogate, excess=extra.share,
                established=float(census.established.double().mean()),
                invariant=float(census.invariant.double().mean()),
                score=float(equivariance_score(D, G).double().mean()))
