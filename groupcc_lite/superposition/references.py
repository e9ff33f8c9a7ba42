"""Networks to compare: trained on drawings, on attacked ones, and on noisy ones, three seeds of each.

The plan was fixed before any of them was trained. All have the same steps, the same drawings for the same seed, and the
same start; only what is done to the drawings differs. Noise has the norm of the strongest attack: it is the control for
training on changed drawings at all.

`groupcc train-robust` trains what is missing, one after another, each written as soon as it is done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file

from groupcc_lite.base import atomic_path, read_json, sha256_of, write_json
from groupcc_lite.models import TINY_WEIGHTS, evaluate_tiny, load_tiny
from groupcc_lite.superposition.robust import naming_under_attack, train_robust, training_change

RADII = (0.25, 0.5, 1.0)
"""Of the attacks: untrained for them, the plain network misnames a third of the shapes at the middle one."""
STEPS, BATCH = 500, 32
SEEDS = (0, 1, 2)
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
_MEASURED = 512  # held-out drawings behind an accuracy in the record
_AT, _ATTACKED = 0.5, 64  # radius of the attack in the record, and on how many drawings


class RobustNetwork(NamedTuple):
    """One network of the plan: what is done to its drawings, how strongly, and its seed.

    >>> RobustNetwork("attack", 0.5, 1).name
    'attack_0.5_1'
    """

    kind: str
    """"plain", "attack", "noise", or "stopped" (plain, but early)."""
    eps: float
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.kind}_{self.eps:g}_{self.seed}"


TREATMENTS = (("plain", 0.0), *(("attack", eps) for eps in RADII), ("noise", RADII[-1]))
REFERENCES = tuple(RobustNetwork(kind, eps, seed) for seed in SEEDS for kind, eps in TREATMENTS)
"""The plan, in the order of training: whatever is there after an interruption can be compared."""
STOPPED_STEPS = 110
"""Of plain training that is stopped when it names about as badly as networks of the largest radius, 0.62."""
STOPPED = tuple(RobustNetwork("stopped", 0.0, seed) for seed in SEEDS)
"""Three more, added when accuracies were known: what a network is like that has only learned less."""


def train_references(folder: str | Path, networks: Sequence[RobustNetwork] = REFERENCES + STOPPED, *,
                     steps: int = STEPS, batch_size: int = BATCH, held_out: int = _MEASURED) -> list[dict[str, Any]]:
    """Train those networks whose files are not in `folder` yet; returns the records of all.

    Weights are kept in half precision, and the record says what these weights do: accuracy on held-out drawings, clean,
    and on some of them attacked and noisy at one radius. Where a record says that it was measured on another number of
    drawings than `held_out`, or under another attack, it is measured again. Those of STOPPED have STOPPED_STEPS at
    most. ValueError as for `train_tiny`, and for files that were trained with other settings.

    >>> train_references("folder", steps=0)
    Traceback (most recent call last):
    ValueError: steps is 0; expected at least 1
    """
    made = []
    for network in networks:
        lasts = min(steps, STOPPED_STEPS) if network.kind == "stopped" else steps
        made.append(_kept(Path(folder), network, lasts, batch_size, held_out)
                    or _made(Path(folder), network, lasts, batch_size, held_out))
    return made


def reference_weights(network: RobustNetwork, folder: str | Path | None = None) -> Path:
    """The weights file of a network of the plan; by default the one in the package.

    `load_tiny(path)` and `load_model("tiny-inception", weights=path)` read it; the record lies beside it as JSON.
    ValueError if it is not there.

    >>> reference_weights(RobustNetwork("attack", 7.0, 0))
    Traceback (most recent call last):
    ValueError: no weights of attack_7_0; `groupcc train-robust` trains the networks of the plan
    """
    path = Path(folder or WEIGHTS_FOLDER) / f"{network.name}.safetensors"
    if not path.is_file():
        raise ValueError(f"no weights of {network.name}; `groupcc train-robust` trains the networks of the plan")
    return path


def trained_networks(folder: str | Path | None = None) -> tuple[RobustNetwork, ...]:
    """The networks of the plan whose weights are there, in the plan's order.

    >>> trained_networks("no such folder")
    ()
    """
    where = Path(folder or WEIGHTS_FOLDER)
    return tuple(network for network in REFERENCES if (where / f"{network.name}.safetensors").is_file())


def _kept(folder: Path, network: RobustNetwork, steps: int, batch_size: int, held_out: int) -> dict[str, Any] | None:
    """The record of a network that is there already, measured as it is asked for now."""
    path = folder / f"{network.name}.json"
    if not path.is_file() or not path.with_suffix(".safetensors").is_file():
        return None
    record = read_json(path)
    asked = dict(seed=network.seed, steps=steps, batch_size=batch_size)
    change = training_change(network.eps, noise=network.kind == "noise")
    asked |= {} if change is None else dict(change=str(change))
    trained = {key: record["training"].get(key) for key in (*asked, "change")}
    if record["sha256"] != sha256_of(path.with_suffix(".safetensors")) or dict(change=None) | asked != trained:
        raise ValueError(f"{path} was trained with {record['training']} or its weights were changed; expected {asked}. "
                         "Choose another folder")
    under = record["under_attack"]
    if (record["held_out"]["drawings"], under["eps"], under["drawings"]) != (held_out, _AT, _ATTACKED):
        write_json(path, record | _measures(path.with_suffix(".safetensors"), held_out))
        record = read_json(path)
    return record


def _made(folder: Path, network: RobustNetwork, steps: int, batch_size: int, held_out: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as part:
        record = train_robust(part, network.eps, noise=network.kind == "noise", steps=steps, batch_size=batch_size,
                              seed=network.seed, held_out=held_out)
        return _written(folder, network, record, Path(part) / TINY_WEIGHTS.name)


def _written(folder: Path, network: RobustNetwork, record: dict[str, Any], trained: Path) -> dict[str, Any]:
    """In half precision; what is measured is measured with these weights."""
    path = folder / f"{network.name}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file({name: value.half() for name, value in load_file(trained).items()}, temporary)
    record = record | {"sha256": sha256_of(path), "what": f"tiny-inception, {network.name}, in half precision",
                       **_measures(path, record["held_out"]["drawings"])}
    del record["orientation_tuning"]
    write_json(path.with_suffix(".json"), record)
    return read_json(path.with_suffix(".json"))


def _measures(weights: Path, held_out: int) -> dict[str, Any]:
    """What a record says that these weights do."""
    found = load_tiny(weights)
    numbers = naming_under_attack(found, _AT, drawings=_ATTACKED)._asdict()
    under = {key: round(value, 4) for key, value in numbers.items()}
    return {"held_out": evaluate_tiny(found, held_out), "under_attack": {"eps": _AT, "drawings": _ATTACKED, **under}}
