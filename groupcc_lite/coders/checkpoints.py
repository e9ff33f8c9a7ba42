"""Checkpoints of a training: everything that it needs to go on, in one file that belongs to one set of settings."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from groupcc_lite.base import atomic_path, atomic_write

Row = dict[str, float | int]


class Checkpoint:
    """Tensors and logged rows in a folder, under the settings of the run; a no-op without a folder.

    `settings` are compared exactly when a run goes on, but for scales and initial weights. A stream measures its scale
    on the device at hand, so there two runs agree if the scale is the same number, or the same multiple of what was
    measured (`settings["scale"]`). The saved one is then taken. `settings["initial_weights"]`, outlines of weights
    (`outlines`), agree up to rounding, with those that the run began with or with those of the checkpoint: a coder that
    was interrupted may go on itself.

    >>> import tempfile, torch
    >>> from groupcc_lite.coders import Checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Checkpoint(folder, {"lr": 0.01}).write(7, [], {"w": torch.zeros(2)})
    ...     Checkpoint(folder, {"lr": 0.01}).read()
    (7, [], {'w': tensor([0., 0.])})
    """

    def __init__(self, folder: str | Path | None, settings: dict[str, Any]):
        self.folder = None if folder is None else Path(folder)
        self.settings = json.loads(json.dumps(settings))

    @property
    def path(self) -> Path:
        """The file with the tensors."""
        assert self.folder is not None
        return self.folder / "checkpoint.safetensors"

    def write(self, step: int, rows: list[Row], tensors: dict[str, Tensor]) -> None:
        """Replace the checkpoint and `metrics.jsonl`."""
        if self.folder is None:
            return
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        metadata = dict(step=str(step), settings=json.dumps(self.settings, sort_keys=True), rows=json.dumps(rows))
        metadata["sha256"] = _sha256(metadata, tensors.__getitem__, tensors)
        with atomic_path(self.path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
        atomic_write(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def interrupted(self, step: int, rows: list[Row], state: Callable[[], dict[str, Tensor]]) -> int:
        """Write a checkpoint on Ctrl-C; the step that the next call goes on from; 0 without a folder."""
        if self.folder is None:
            return 0
        self.write(step, rows, state())
        return step

    def read(self) -> tuple[int, list[Row], dict[str, Tensor]]:
        """(step, rows, tensors), or step 0 where nothing was written; ValueError if damaged or of another run."""
        if self.folder is None or not self.path.is_file():
            return 0, [], {}
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("sha256") != _sha256(metadata, file.get_tensor, file.keys()):
                    raise SafetensorError("what it holds is not what was written, or an earlier version wrote it")
                tensors = {key: self._part(file, key) for key in file.keys()}
        except SafetensorError as error:
            raise ValueError(f"{self.path} is damaged ({error}); delete it to train from the start") from error
        differing = set(_differing(json.loads(metadata["settings"]), self.settings))
        if "initial_weights" in differing and self._goes_on(tensors):
            differing.remove("initial_weights")
        if differing:
            names = ", ".join(sorted(differing))
            raise ValueError(f"{self.path} belongs to a run with other settings ({names} differ); use another folder "
                             "or delete the checkpoint")
        return int(metadata["step"]), json.loads(metadata["rows"]), tensors

    def _goes_on(self, tensors: dict[str, Tensor]) -> bool:
        """Whether the weights at hand are those of the checkpoint."""
        kept = {key.removeprefix("coder."): value for key, value in tensors.items() if key.startswith("coder.")}
        wanted = self.settings.get("initial_weights") or {}
        return all(name in kept and _alike(outlines({name: kept[name]})[name], wanted[name]) for name in wanted)

    def _part(self, file: Any, key: str) -> Tensor:
        """What this process needs of a tensor in an open file."""
        return file.get_tensor(key)


def _sha256(metadata: dict[str, str], tensor: Callable[[str], Tensor], names: Iterable[str]) -> str:
    """Of what a checkpoint holds: of everything but this, one tensor at a time."""
    found = hashlib.sha256(json.dumps([metadata.get(key) for key in ("step", "settings", "rows")]).encode())
    for name in sorted(names):
        value = tensor(name)
        found.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def outlines(weights: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
    """Two numbers for each tensor that tell weights apart: its norm, and its cosine with a wave of as many numbers.

    What is drawn from one seed differs in the last bits between processors, so a hash would not do. `W_d` and `b_d` are
    left out, which many processes have in parts: no encoder is the same where they differ.
    """
    found = {}
    for name, tensor in weights.items():
        if name.rpartition(".")[2] not in ("W_d", "b_d"):
            flat = tensor.detach().cpu().double().flatten()
            norm = float(flat.norm())
            wave = torch.arange(len(flat), dtype=torch.float64).cos()
            found[name] = norm, float(flat @ wave) / norm if norm else 0.0
    return found


def _alike(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two outlines are of the same weights, up to rounding."""
    return all(math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-6) for x, y in zip(a, b, strict=True))


def _differing(found: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """Names of the settings that are not the same."""
    units = found.get("scale", 1.0), wanted.get("scale", 1.0)
    measured = found.get("source") == wanted.get("source") is not None
    for key in found.keys() | wanted.keys():
        if key == "scale" and measured:
            continue  # what it is made from is the same
        if not _same(key, found.get(key), wanted.get(key), units if measured else (1.0, 1.0)):
            yield key


def _same(key: str, a: Any, b: Any, units: tuple[float, float]) -> bool:
    if key == "initial_weights" and a and b:
        return a.keys() == b.keys() and all(_alike(a[name], b[name]) for name in a)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(name, a[name], b[name], units) for name in a)
    if key == "scale" and a is not None and b is not None:
        return a == b or math.isclose(a / units[0], b / units[1], rel_tol=1e-6)
    return a == b
