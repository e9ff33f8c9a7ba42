"""One training loop for everything that is trained, and the held-out metrics that judge them.

The loop draws no random numbers of its own: the order of the data depends on (seed, epoch) and the weights on the
coder's seed, so a checkpoint needs only weights, optimiser moments and the step to make "resumed" equal
"uninterrupted". What is logged is what is optimised.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from groupcc_lite.base import atomic_path, atomic_write, matrix_products, progress_bar
from groupcc_lite.coders.crosscoder import EquivariantSAE, GroupCrosscoder
from groupcc_lite.orbits import OrbitSource

log = logging.getLogger(__name__)


@runtime_checkable
class Trainable(Protocol):
    """What the loop asks of a module: a coder, a transform matrix, a base autoencoder."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and batches are put."""

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights: a checkpoint belongs to one configuration."""

    def check_source(self, source: Any) -> None:
        """ValueError when the source's batches do not fit."""

    def begin(self, x: Tensor) -> None:
        """Called once with a first batch."""

    def loss(self, x: Tensor, **terms: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar that is minimised, and the parts that are logged."""

    def diagnostics(self, x: Tensor, parts: dict[str, float], dead_after: int) -> dict[str, float]:
        """More columns for the log."""

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> Any: ...

    def train(self, mode: bool = True) -> Any: ...

    def eval(self) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Metrics:
    """How well a coder reconstructs images that it was not trained on."""

    fve: float
    """Fraction of variance explained over all blocks together; variance is about each block's mean."""
    fve_per_block: Float[np.ndarray, " g"]
    """The same for each group element."""
    fve_identity: float
    """The untransformed block alone."""
    fve_exact: float
    """Elements other than e that move pixels to pixels; NaN if there are none."""
    fve_resampled: float
    """Elements whose images had to be interpolated; NaN if there are none."""
    l0: float
    """Mean number of active latents."""
    dead: float
    """Fraction of latents that never fire on these data."""
    frequency: Float[np.ndarray, " m"]
    """Fraction of samples on which each latent fires."""

    def row(self) -> dict[str, float | int]:
        """The scalar metrics by name."""
        return {f.name: float(getattr(self, f.name)) for f in dataclasses.fields(self)
                if not isinstance(getattr(self, f.name), np.ndarray)}


@torch.no_grad()
def evaluate(coder: Any, source: Any, *, batch_size: int = 1024) -> Metrics:
    """Metrics of a coder over every row of a store (or anything with `in_order` and `exact`)."""
    was_training = coder.training
    coder.eval()
    order = coder.group.order
    residual, squares = np.zeros(order), np.zeros(order)
    total: Tensor | float = 0.0
    fired, active, count = torch.zeros(coder.latents, dtype=torch.float64), 0.0, 0
    for x in source.in_order(batch_size):
        latents, reconstruction = (t.cpu() for t in coder(x.to(coder.device)))
        residual += (x - reconstruction).square().sum((0, 2)).double().numpy()
        squares += x.square().sum((0, 2)).double().numpy()
        total = total + x.sum(0).double()
        on = (latents > 0).double()
        fired, active, count = fired + on.sum(0), active + float(on.sum()), count + len(x)
    coder.train(was_training)
    if not count:
        raise ValueError("the source to evaluate on is empty; expected at least one orbit")
    variance = squares - (total.square().sum(1) / count).numpy()

    def fve(which: np.ndarray) -> float:
        return float(1 - residual[which].sum() / variance[which].sum()) if which.any() else float("nan")

    identity, exact = np.arange(order) == 0, np.asarray(source.exact)
    return Metrics(fve=fve(np.ones(order, dtype=bool)), fve_per_block=1 - residual / variance,
                   fve_identity=fve(identity), fve_exact=fve(exact & ~identity), fve_resampled=fve(~exact),
                   l0=active / count, dead=float((fired == 0).double().mean()), frequency=(fired / count).numpy())


def train(coder: GroupCrosscoder | EquivariantSAE, source: OrbitSource, *, steps: int, batch_size: int = 1024,
          sparsity: float = 0.0, sparsity_warmup: float = 0.2, aux: float = 1 / 32, dead_after: int | None = None,
          **loop: Any) -> list[dict[str, float | int]]:
    """`optimise` a coder on orbit vectors, with the terms of its loss; returns the logged rows.

    `sparsity_warmup` is the fraction of `steps` over which lambda = `sparsity` rises. Latents count as dead after
    `dead_after` samples without firing (default: those of a twentieth of the steps, at least 20). `loop` as in
    `optimise`.
    """
    idle_limit = dead_after if dead_after is not None else batch_size * max(steps // 20, 20)

    def terms(step: int) -> dict[str, float | int]:
        ramp = min(1.0, (step + 1) / max(1, round(sparsity_warmup * steps)))
        return dict(sparsity=sparsity * ramp, aux=aux, dead_after=idle_limit)

    facts = dict(sparsity=sparsity, sparsity_warmup=sparsity_warmup, aux=aux, dead_after=idle_limit)
    return optimise(coder, source, steps=steps, batch_size=batch_size, terms=terms, facts=facts, **loop)


def optimise(model: Trainable, source: Any, *, steps: int, batch_size: int = 1024, lr: float = 1e-3,
             warmup: float = 0.05, decay: float = 0.3, seed: int = 0, amp: bool = False,
             folder: str | Path | None = None, checkpoint_every: int = 200, log_every: int = 10, progress: bool = True,
             on_log: Callable[[dict[str, float | int]], None] | None = None,
             terms: Callable[[int], dict[str, Any]] | None = None,
             facts: dict[str, Any] | None = None) -> list[dict[str, float | int]]:
    """Minimise a model's loss with Adam over `steps` batches of a source; returns the logged rows.

    `warmup` and `decay` are fractions of `steps` over which the learning rate rises, and falls to zero at the end.
    `amp` runs matrix products in bfloat16 where the processor has it. With a `folder`, rows go to `metrics.jsonl` and a
    checkpoint is written every `checkpoint_every` steps and on Ctrl-C; calling again with the same arguments goes on
    from it, to the same numbers as a run without interruption. `on_log` sees each row as it is made. `terms(step)` are
    keywords for the loss; `facts` names what they depend on, so that a checkpoint of another run is refused.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    model.check_source(source)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.999), fused=True)
    terms, facts = terms or (lambda step: {}), facts or {}
    state = _Checkpoint(folder, dict(
        steps=steps, batch_size=batch_size, lr=lr, warmup=warmup, decay=decay, seed=seed, amp=amp, coder=model.config,
        orbits=len(source), scale=source.scale) | facts)
    step, rows = state.restore(model, optimiser)
    if step == 0:
        model.begin(next(source.batches(batch_size, seed=seed)).to(model.device))
    model.train()
    began = time.perf_counter() - (rows[-1]["seconds"] if rows else 0)
    bar = progress_bar(progress, total=steps, initial=step, desc="training", unit="step")
    try:
        for x in _from_step(source, batch_size, seed, step, steps):
            x, rate = x.to(model.device), lr * _schedule(step, steps, warmup, decay)
            with _whole_steps():
                total, parts = _optimise(model, optimiser, x, rate, amp, **terms(step))
                step += 1
            bar.update()
            if step % log_every == 0 or step == steps:
                row = _row(step, total, parts, model, x, facts.get("dead_after", 0), rate, time.perf_counter() - began)
                rows.append(row)
                bar.set_postfix({k: f"{row[k]:.3g}" for k in ("loss", "fve", "r2", "l0", "dead") if k in row})
                if on_log is not None:
                    on_log(row)
            if step % checkpoint_every == 0 and step < steps:
                state.write(step, rows, model, optimiser)
    except KeyboardInterrupt:
        state.write(step, rows, model, optimiser)
        log.warning("stopped at step %d of %d; the same call goes on from here", step, steps)
        raise
    finally:
        bar.close()
    state.write(step, rows, model, optimiser)
    model.eval()
    return rows


@contextmanager
def _whole_steps() -> Iterator[None]:
    """Ctrl-C waits until the block ends: a checkpoint of half a step could not be resumed exactly."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if received:
        raise KeyboardInterrupt


@torch.enable_grad()  # artefacts are made on first use, which may be inside somebody's no_grad
def _optimise(model: Trainable, optimiser: torch.optim.Optimizer, x: Tensor, lr: float, amp: bool,
              **terms: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of the optimiser. ValueError for a loss that is not finite, before it changes a weight."""
    for parameters in optimiser.param_groups:
        parameters["lr"] = lr
    with matrix_products(x.device, amp):
        total, parts = model.loss(x, **terms)
    if not torch.isfinite(total):
        raise ValueError(f"the loss is {total.item()} with learning rate {lr:g}; lower lr or check the data for NaN")
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    optimiser.step()
    return total.detach(), parts


def _from_step(source: Any, batch_size: int, seed: int, step: int, steps: int) -> Iterator[Tensor]:
    """Batches number `step` to `steps` of the endless sequence of epochs."""
    per_epoch = source.batches_per_epoch(batch_size)
    while step < steps:
        epoch, start = divmod(step, per_epoch)
        for x in source.batches(batch_size, seed=seed, epoch=epoch, start=start):
            yield x
            step += 1
            if step == steps:
                return


def _schedule(step: int, steps: int, warmup: float, decay: float) -> float:
    """Linear rise, plateau, linear fall to zero, as a factor on the learning rate."""
    rise = min(1.0, (step + 1) / max(1.0, warmup * steps))
    fall = min(1.0, (steps - step) / max(1.0, decay * steps))
    return min(rise, fall)


def _row(step: int, total: Tensor, parts: dict[str, Tensor], model: Trainable, x: Tensor, idle_limit: int,
         lr: float, seconds: float) -> dict[str, float | int]:
    values = {name: float(value) for name, value in parts.items()}
    return dict(step=step, loss=float(total), **values, **model.diagnostics(x, values, idle_limit), lr=lr,
                seconds=round(seconds, 2))


class _Checkpoint:
    """Weights, Adam's moments and the logged rows in a folder; a no-op without one."""

    def __init__(self, folder: str | Path | None, settings: dict[str, Any]):
        self.folder = None if folder is None else Path(folder)
        self.settings = json.dumps(settings, sort_keys=True)

    @property
    def path(self) -> Path:
        assert self.folder is not None
        return self.folder / "checkpoint.safetensors"

    def write(self, step: int, rows: list[dict[str, float | int]], model: Trainable,
              optimiser: torch.optim.Optimizer) -> None:
        if self.folder is None:
            return
        tensors = {f"coder.{name}": t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
        for name, parameter in model.named_parameters():
            for key, value in optimiser.state.get(parameter, {}).items():
                tensors[f"adam.{name}.{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
        metadata = dict(step=str(step), settings=self.settings, rows=json.dumps(rows))
        with atomic_path(self.path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
        atomic_write(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def restore(self, model: Trainable,
                optimiser: torch.optim.Optimizer) -> tuple[int, list[dict[str, float | int]]]:
        if self.folder is None or not self.path.is_file():
            return 0, []
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}
        except SafetensorError as error:
            raise ValueError(f"{self.path} is damaged ({error}); delete it to train from the start") from error
        found, wanted = json.loads(metadata["settings"]), json.loads(self.settings)
        differing = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
        if differing:
            raise ValueError(f"{self.path} belongs to a run with other settings ({', '.join(differing)} differ); "
                             "use another folder or delete the checkpoint")
        model.load_state_dict({k.removeprefix("coder."): t for k, t in tensors.items() if k.startswith("coder.")})
        for name, parameter in model.named_parameters():
            prefix = f"adam.{name}."
            moments = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            if moments:
                optimiser.state[parameter] = {k: t.to(parameter.device) for k, t in moments.items()}
        return int(metadata["step"]), json.loads(metadata["rows"])
