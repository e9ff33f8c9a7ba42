"""Train the built-in networks on drawings: minutes on two cores, no data needed.

The task: at a point of a scene, name the shape that lies there. How it is turned is never asked. Scenes show every
orientation equally often, and a turned shape keeps its name, so the network sees what an augmentation by all rotations
would show it; mirror images occur as well, since every shape is one. Nothing is equivariant by construction.

A second network, the *told* control, has to report besides how the shape is turned, up to the shape's own symmetry:
(cos, sin) of fold x orientation, an equivariant target. What it shows of symmetry was asked for.

A third, a vision transformer, is asked for names only, as the first is, at every patch of 8 pixels.

`groupcc train-tiny` trains the first, `--told` the second, `--vit` the third. Each writes its weights and, next to
them, a JSON record: what was measured on drawings that training never saw.
"""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn

from groupcc_lite.base import atomic_path, progress_bar, sha256_of, write_json
from groupcc_lite.models.networks import TinyInception, TinyViT, attach_norms, fold_norms, randomise
from groupcc_lite.models.weight_files import TINY_WEIGHTS, TOLD_WEIGHTS, VIT_WEIGHTS
from groupcc_lite.models.zoo import TINY_PREPROCESS, wrap_model
from groupcc_lite.stimuli import SHAPES, Drawings, draw, sample_drawings

log = logging.getLogger(__name__)

Change = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]
"""What training may do to its images: from the loss of each drawing as a function of images, and the images."""
SIZE = 96
TINY_STEPS = 1200  # training steps of the weights in the package
VIT_STEPS = 1200  # the transformer's
HELD_OUT_SEED = 8_000_000
_TRAINING_SEED = 7_000_000  # far from the small seeds that readers choose: their drawings are new to the network
_RIM = 12  # px; shapes whose origin is nearer to the border are not asked for
_FOLDS = torch.tensor([shape.fold for shape in SHAPES])


def preprocess(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """RGB in [0, 1] -> what the network takes."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (TINY_PREPROCESS.mean, TINY_PREPROCESS.std))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


class _Recipe(NamedTuple):
    """How a network is optimised: AdamW, a warm-up and a cosine."""

    name: str
    warm_up: float
    """Share of the steps."""
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = math.inf
    """Largest norm of a gradient."""
    half: bool = True
    """Whether the forward pass is in bfloat16."""


_INCEPTION = _Recipe("tiny-inception", warm_up=0.15, weight_decay=1e-3)
_VIT = _Recipe("tiny-vit", warm_up=0.1, weight_decay=0.01, betas=(0.9, 0.98), clip=1.0, half=False)


def targets(drawings: Drawings, stride: int = 4, first: float = 0.0
            ) -> tuple[Int[Tensor, "n 3"], Int[Tensor, " n"], Float[Tensor, "n 2"]]:
    """Where the questions are, and the answers: (scene, row, column), shape, (cos, sin) of fold x orientation.

    Cells are `stride` pixels apart, the first one centred on pixel `first`; by default those of `TinyInception`.

    One question for each shape that is not faint and not at the rim; a shape that every rotation leaves alone
    has the orientation (0, 0).
    """
    asked = (drawings.shapes >= 0) & ~drawings.faint & (drawings.positions.abs().amax(-1) < SIZE / 2 - _RIM)
    scene = asked.nonzero()[:, 0]
    column, row = ((drawings.positions[asked] + (SIZE - 1) / 2 - first) / stride).round().long().unbind(1)
    kind = drawings.shapes[asked]
    angle = _FOLDS[kind] * drawings.orientations[asked]
    direction = torch.stack([angle.cos(), angle.sin()], 1) * (_FOLDS[kind] > 0)[:, None]
    return torch.stack([scene, row, column], 1), kind, direction


def answers(network: nn.Module, images: Tensor, where: Tensor, kind: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits (n, shapes) at the asked cells and, of a told network, the direction (n, 2) for the true shape."""
    logits, directions = network(preprocess(images))
    scene, row, column = where.unbind(1)
    found = None if directions is None else directions[scene, kind, :, row, column].float()
    return logits[scene, :, row, column].float(), found


def loss_of(network: nn.Module, drawings: Drawings) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy of the shape; for a told network plus twice the squared error of its direction: (total, parts)."""
    where, kind, direction = targets(drawings, network.stride, network.first)
    logits, found = answers(network, drawings.images, where, kind)
    naming = nn.functional.cross_entropy(logits, kind)
    parts = {"naming": naming.item(), "accuracy": (logits.argmax(1) == kind).float().mean().item()}
    if found is None:
        return naming, parts
    turning = 2 * (found - direction).square().sum(1).mean()
    return naming + turning, parts | {"turning": turning.item()}


@dataclass(frozen=True, eq=False)
class ShapeNaming:
    """The task that a built-in network was trained for, on some drawings: how wrong it is, for other images of them.

    Images may be changed, questions and answers stay: that is what an attack on the network raises.

    >>> from groupcc_lite.models import load_tiny
    >>> from groupcc_lite.stimuli import sample_drawings
    >>> drawings = sample_drawings(8, seed=5)
    >>> naming = ShapeNaming(load_tiny(), drawings)
    >>> naming.losses(drawings.images).shape, naming.accuracy(drawings.images) > 0.9
    (torch.Size([8]), True)
    """

    network: nn.Module
    drawings: Drawings

    def losses(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Mean cross-entropy over the shapes that are asked for in each drawing; 0 where none is."""
        where, kind, logits = self._logits(images)
        wrong = nn.functional.cross_entropy(logits, kind, reduction="none")
        asked = torch.bincount(where[:, 0], minlength=len(images)).clamp(min=1)
        return torch.zeros(len(images)).to(wrong).index_add(0, where[:, 0], wrong) / asked

    @torch.no_grad()
    def accuracy(self, images: Float[Tensor, "b 3 h w"]) -> float:
        """Share of the asked shapes that are named rightly."""
        _, kind, logits = self._logits(images)
        return float((logits.argmax(1) == kind).float().mean())

    def _logits(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        where, kind, _ = targets(self.drawings, self.network.stride, self.network.first)
        return where, kind, answers(self.network, images, where, kind)[0]


@torch.no_grad()
def evaluate_tiny(network: nn.Module, count: int = 1024, *, seed: int = HELD_OUT_SEED) -> dict[str, Any]:
    """Accuracy, and a told network's orientation error, on `count` drawings of `seed`.

    Returns the accuracy over all asked shapes and over each scene's main shape, the accuracy of each class, and, for a
    told network, the median orientation error in degrees of each class that has an orientation (chance: 90 / fold).

    >>> from groupcc_lite.models import load_tiny
    >>> found = evaluate_tiny(load_tiny(), 16)
    >>> found["drawings"], found["accuracy"] > 0.8
    (16, True)
    """
    network = network.eval()
    shapes, hits, errors, main = [], [], [], []
    for start in range(0, count, 128):
        drawings = sample_drawings(range(start, min(start + 128, count)), SIZE, seed=seed)
        where, kind, direction = targets(drawings, network.stride, network.first)
        logits, found = answers(network, drawings.images, where, kind)
        shapes.append(kind)
        hits.append((logits.argmax(1) == kind).float())
        main.append(torch.cat([torch.ones(1), (where[1:, 0] != where[:-1, 0]).float()]) > 0)
        if found is not None:
            errors.append(_degrees_off(found, direction) / _FOLDS[kind].clamp(min=1))
    kind, hit, first = (torch.cat(parts) for parts in (shapes, hits, main))
    measured: dict[str, Any] = {
        "drawings": count,
        "questions": len(kind),
        "accuracy": round(hit.mean().item(), 4),
        "accuracy_main_shape": round(hit[first].mean().item(), 4),
        "accuracy_per_class": {s.name: round(hit[kind == i].mean().item(), 4) for i, s in enumerate(SHAPES)},
    }
    if errors:
        error = torch.cat(errors)
        measured["orientation_error_degrees"] = {
            s.name: round(error[kind == i].median().item(), 2) for i, s in enumerate(SHAPES) if s.fold}
    return measured


def _degrees_off(found: Float[Tensor, "n 2"], wanted: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    turn = torch.atan2(found[:, 1], found[:, 0]) - torch.atan2(wanted[:, 1], wanted[:, 0])
    return torch.rad2deg(torch.atan2(turn.sin(), turn.cos()).abs())


@torch.no_grad()
def orientation_tuning(network: nn.Module, layer: str = "mixed3b", *, steps: int = 32,
                       shapes: Sequence[str] = ("line", "curve", "corner")) -> dict[str, dict[str, int]]:
    """How many channels of `layer` follow one shape as it turns, and how many ignore its angle.

    The shape sits on the cell nearest to the centre. A channel is active if it reaches a tenth of the
    strongest channel's response; active ones are tuned if their weakest response over the turn is under half
    of their strongest, and steady if it is over 0.8 of it.
    """
    model = wrap_model(network, layer, input_size=SIZE, mean=TINY_PREPROCESS.mean, std=TINY_PREPROCESS.std)
    cell = model.geometry.centre_cell
    offset = model.geometry.first + model.geometry.stride * cell - model.geometry.image_centre
    counts = {}
    for name in shapes:
        angles = torch.arange(steps) * (2 * math.pi / steps)
        responses = model(draw(name, angles, SIZE, position=(offset, offset)))[:, :, cell, cell]
        high, low = responses.amax(0), responses.amin(0)
        active = high > 0.1 * high.max()
        counts[name] = {"channels": model.channels, "active": int(active.sum()),
                        "tuned": int((active & (low < 0.5 * high)).sum()),
                        "steady": int((active & (low > 0.8 * high)).sum())}
    return counts


def _optimise(network: nn.Module, steps: int, batch_size: int, seed: int, learning_rate: float,
              recipe: _Recipe, change: Change | None = None) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=recipe.weight_decay,
                                  betas=recipe.betas)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps + 1,
                                                   pct_start=recipe.warm_up)
    progress = progress_bar(iterable=range(steps), desc=f"training {recipe.name}", unit="step")
    for step in progress:
        first = step * batch_size
        drawings = sample_drawings(range(first, first + batch_size), SIZE, seed=_TRAINING_SEED + seed)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.half):
            if change is not None:
                # Statistics of the batch would make one drawing's loss depend on the others.
                network.eval()
                drawings = replace(drawings, images=change(ShapeNaming(network, drawings).losses, drawings.images))
                network.train()
            total, parts = loss_of(network, drawings)
        if not math.isfinite(total.item()):
            raise ValueError(f"training diverged at step {step}; lower learning_rate (now {learning_rate})")
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        schedule.step()
        if step % 10 == 0:
            progress.set_postfix({name: f"{value:.3f}" for name, value in parts.items()})


def train_tiny(folder: str | Path, *, told: bool = False, steps: int = TINY_STEPS, batch_size: int = 64,
               seed: int = 0, learning_rate: float = 4e-3, held_out: int = 2048,
               change: Change | None = None) -> dict[str, Any]:
    """Train the built-in network, or the `told` control, and write its weights and its record into `folder`.

    Every step sees `batch_size` new drawings; `held_out` others measure the result. Batch normalisation helps
    during training and is folded into the convolutions before anything is measured or written. `change`
    makes each step's images into others, from a function that gives the loss of each drawing for any images, and the
    images: to train on attacks, for one. Returns the record.

    >>> train_tiny("folder", steps=0)
    Traceback (most recent call last):
    ValueError: steps is 0; expected at least 1
    """
    _check(steps=steps, batch_size=batch_size, held_out=held_out)
    path = Path(folder) / (TOLD_WEIGHTS if told else TINY_WEIGHTS).name
    started = time.perf_counter()
    network = attach_norms(randomise(TinyInception(len(SHAPES), told=told), seed)).to(memory_format=torch.channels_last)
    _optimise(network.train(), steps, batch_size, seed, learning_rate, _INCEPTION, change)
    minutes = (time.perf_counter() - started) / 60
    network = fold_norms(network.eval())
    what = ("tiny-inception: names shapes in drawings" if not told else
            "tiny-inception-told: names shapes in drawings and reports how they are turned")
    training = {"told": told, "seed": seed, "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate,
                "minutes": round(minutes, 1), "threads": torch.get_num_threads(),
                **({} if change is None else {"change": repr(change)})}
    return _write(network, path, what, training, held_out, tuning=("mixed3a", "mixed3b"))


def train_vit(folder: str | Path, *, steps: int = VIT_STEPS, batch_size: int = 32, seed: int = 0,
              learning_rate: float = 2e-3, held_out: int = 2048) -> dict[str, Any]:
    """Train the vision transformer and write its weights and its record into `folder`, as `train_tiny` does.

    The drawings are those of `train_tiny`, fewer at a step, and the questions are the same; each is asked at the patch
    whose middle is nearest to the shape's. Returns the record.

    >>> train_vit("folder", steps=0)
    Traceback (most recent call last):
    ValueError: steps is 0; expected at least 1
    """
    _check(steps=steps, batch_size=batch_size, held_out=held_out)
    started = time.perf_counter()
    network = TinyViT(len(SHAPES)).begin(seed)
    _optimise(network.train(), steps, batch_size, seed, learning_rate, _VIT)
    minutes = (time.perf_counter() - started) / 60
    training = {"seed": seed, "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate,
                "minutes": round(minutes, 1), "threads": torch.get_num_threads()}
    return _write(network.eval(), Path(folder) / VIT_WEIGHTS.name, "tiny-vit: names shapes in drawings", training,
                  held_out)


def _check(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")


def _write(network: nn.Module, path: Path, what: str, training: dict[str, Any], held_out: int,
           tuning: Sequence[str] = ()) -> dict[str, Any]:
    """Weights and record of a trained network; returns the record."""
    with atomic_path(path) as temporary:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
    record = {
        "what": what,
        "sha256": sha256_of(path),
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": training,
        "held_out": {"seed": HELD_OUT_SEED, **evaluate_tiny(network, held_out)},
        **({"orientation_tuning": {layer: orientation_tuning(network, layer) for layer in tuning}} if tuning else {}),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }
    write_json(path.with_suffix(".json"), record)
    log.info("held-out accuracy %.3f; weights in %s", record["held_out"]["accuracy"], path)
    return record
