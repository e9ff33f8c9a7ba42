"""One training loop for everything that is trained.

The loop draws no random numbers of its own: the order of the data depends on (seed, epoch) and the weights on the
coder's seed, so a checkpoint needs only weights, optimiser moments and the step. On one CPU, with the same number of
threads, "resumed" is then "uninterrupted" bit for bit. On a GPU it is the same computation, but not the same bits:
sums are added in an order that changes from run to run, and a tie in TopK may fall either way. What is logged is what
is optimised.

No step reads a number back from the device. Whether every loss was finite is a flag there, read when a row is logged
or a checkpoint written.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from groupcc_lite.base import matrix_products, needs_float16, progress_bar
from groupcc_lite.coders.checkpoints import Checkpoint, Row, outlines
from groupcc_lite.coders.crosscoder import GroupCrosscoder
from groupcc_lite.coders.equivariant import EquivariantSAE
from groupcc_lite.coders.tied import TiedCrosscoder
from groupcc_lite.orbits import IdentityBlocks, OrbitSource

log = logging.getLogger(__name__)


@runtime_checkable
class Trainable(Protocol):
    """What the loop asks of a module: a coder, a transform matrix, a base autoencoder.

    >>> from groupcc_lite.coders import SparseAutoencoder, Trainable
    >>> isinstance(SparseAutoencoder(channels=6, latents=20), Trainable)
    True
    """

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and batches are put."""

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights: a checkpoint belongs to one configuration."""

    def check_source(self, source: Any) -> None:
        """ValueError when the source's batches do not fit."""

    def begin(self, x: Tensor) -> None:
        """Called once with the first batch, before it is trained on."""

    def loss(self, x: Tensor, **terms: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar that is minimised, and the parts that are logged."""

    def diagnostics(self, x: Tensor, parts: dict[str, float]) -> dict[str, float]:
        """More columns for the log, which would cost too much in every step."""

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> Any: ...

    def train(self, mode: bool = True) -> Any: ...

    def eval(self) -> Any: ...


@dataclasses.dataclass(frozen=True)
class CoderTerms:
    """Keywords of a coder's loss: lambda rises to `sparsity` over the first `ramp` steps, all else stays."""

    sparsity: float
    ramp: int
    aux: float
    dead_after: int

    def at(self, step: int) -> dict[str, float | int]:
        """The keywords for step number `step`, counted from 0."""
        rise = min(1.0, (step + 1) / max(1, self.ramp))
        return dict(sparsity=self.sparsity * rise, aux=self.aux, dead_after=self.dead_after)


class Training:
    """One optimisation with Adam: `step(x)` for each batch, `row()` for the log, tensors for a checkpoint.

    `warmup` and `decay` are fractions of `steps` over which the learning rate rises, and falls to zero at the end;
    `amp` runs matrix products in bfloat16 where the processor has it. A GPU with fast products in float16 only, such as
    a T4, uses that: the loss is scaled so that small gradients do not vanish, and a step whose gradients overflow is
    left out, with a smaller scale from then on. Many processes use float32 there, since none knows of an overflow in
    another. `terms` are keywords for the loss, or give them for each step. `count` is the number of steps taken.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder, Training
    >>> training = Training(SparseAutoencoder(channels=6, latents=20), steps=3)
    >>> for _ in range(3):
    ...     training.step(torch.ones(10, 1, 6))
    >>> training.count, sorted(training.row())[:3]
    (3, ['dead', 'fve', 'l0'])
    """

    def __init__(self, model: Trainable, *, steps: int, lr: float = 1e-3, warmup: float = 0.05, decay: float = 0.3,
                 amp: bool = False, terms: Mapping[str, Any] | CoderTerms | None = None):
        if steps < 1:
            raise ValueError(f"steps is {steps}; expected at least 1")
        self.model, self.steps, self.lr, self.warmup, self.decay, self.amp = model, steps, lr, warmup, decay, amp
        self.terms = {} if terms is None else terms
        self.optimiser = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.999), fused=True)
        half = amp and getattr(model, "_alone", True) and needs_float16(model.device)
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=half)
        self.count, self._checked = 0, 0
        self._finite: Tensor | None = None
        self._last: tuple[Tensor, Tensor, dict[str, Tensor]] | None = None

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.lr * _schedule(self.count, self.steps, self.warmup, self.decay)

    @torch.enable_grad()  # artefacts are made on first use, which may be inside somebody's no_grad
    def step(self, x: Tensor) -> None:
        """Take one step down the loss of a batch."""
        x = x.to(self.model.device, non_blocking=True)  # pinned memory is not waited for
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = self.rate
        terms = self.terms.at(self.count) if isinstance(self.terms, CoderTerms) else self.terms
        with matrix_products(x.device, self.amp, float16=self.scaler.is_enabled()):
            total, parts = self.model.loss(x, **terms)
        finite = torch.isfinite(total.detach())
        self._finite = finite if self._finite is None else self._finite & finite
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._last = x, total.detach(), parts
        self.count += 1

    def check(self) -> None:
        """ValueError if a loss was not finite since this was last called; the weights are then worth nothing."""
        if self._finite is not None and not self._finite:
            raise ValueError(f"the loss was NaN or infinite in one of the steps {self._checked + 1} to {self.count}, "
                             f"with learning rates up to {self.lr:g}; lower lr or check the data for NaN")
        self._finite, self._checked = None, self.count

    def row(self) -> Row:
        """The last step for the log: its number, the loss and its parts, diagnostics; ValueError as for `check`."""
        self.check()
        assert self._last is not None, "no step was taken"
        x, total, parts = self._last
        values = {name: float(value) for name, value in parts.items()}
        rate = self.lr * _schedule(self.count - 1, self.steps, self.warmup, self.decay)
        return dict(step=self.count, loss=float(total), **values, **self.model.diagnostics(x, values), lr=rate)

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and Adam's moments by name; ValueError as for `check`."""
        self.check()
        tensors = {f"coder.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"adam.{name}.{key}"] = torch.as_tensor(value)
        if self.scaler.is_enabled():
            tensors |= {f"scaler.{key}": torch.tensor(float(value)) for key, value in self.scaler.state_dict().items()}
        return tensors

    def load_state_dict(self, count: int, tensors: dict[str, Tensor]) -> None:
        """Go on after `count` steps from what `state_dict` gave."""
        self.count = self._checked = count
        self.model.load_state_dict({k.removeprefix("coder."): t for k, t in tensors.items() if k.startswith("coder.")})
        for name, parameter in self.model.named_parameters():
            prefix = f"adam.{name}."
            moments = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            if moments:
                self.optimiser.state[parameter] = {k: t.to(parameter.device) for k, t in moments.items()}
        scaler = {k.removeprefix("scaler."): float(t) for k, t in tensors.items() if k.startswith("scaler.")}
        if self.scaler.is_enabled() and scaler:
            whole = {key: int(scaler[key]) for key in ("growth_interval", "_growth_tracker")}
            self.scaler.load_state_dict(scaler | whole)


def train(coder: GroupCrosscoder | EquivariantSAE | TiedCrosscoder, source: OrbitSource, *, steps: int,
          batch_size: int = 1024, sparsity: float = 0.0, sparsity_warmup: float = 0.2, aux: float = 1 / 32,
          dead_after: int | None = None, **loop: Any) -> list[Row]:
    """`optimise` a coder on orbit vectors, with the terms of its loss; returns the logged rows.

    `sparsity_warmup` is the fraction of `steps` over which lambda = `sparsity` rises. Latents count as dead after
    `dead_after` samples without firing (default: the orbits of a twentieth of the steps, at least 20). Samples are
    blocks that are encoded (for a `TiedCrosscoder` orbits): of each orbit a crosscoder reads one, and an
    `EquivariantSAE` all |G|, so that it reaches the default in |G| times fewer steps. `loop` as in `optimise`.

    >>> import torch
    >>> from groupcc_lite.coders import SparseAutoencoder, train
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> source = TensorOrbits(torch.rand(64, 1, 6, generator=torch.Generator().manual_seed(0)), cyclic(1))
    >>> rows = train(SparseAutoencoder(channels=6, latents=20), source, steps=30, batch_size=32, progress=False)
    >>> [row["step"] for row in rows], rows[-1]["loss"] < rows[0]["loss"]
    ([10, 20, 30], True)
    """
    terms = _coder_terms(steps, batch_size, sparsity, sparsity_warmup, aux, dead_after)
    return optimise(coder, source, steps=steps, batch_size=batch_size, terms=terms, **loop)


def _coder_terms(steps: int, batch_size: int, sparsity: float = 0.0, sparsity_warmup: float = 0.2, aux: float = 1 / 32,
                 dead_after: int | None = None) -> CoderTerms:
    idle_limit = dead_after if dead_after is not None else batch_size * max(steps // 20, 20)
    return CoderTerms(sparsity, round(sparsity_warmup * steps), aux, idle_limit)


def optimise(model: Trainable, source: Any, *, steps: int, batch_size: int = 1024, seed: int = 0,
             folder: str | Path | None = None, checkpoint_every: int = 200, log_every: int = 10, progress: bool = True,
             on_log: Callable[[Row], None] | None = None, checkpoints: Callable[..., Checkpoint] = Checkpoint,
             **settings: Any) -> list[Row]:
    """Minimise a model's loss with Adam over `steps` batches of a source; returns the logged rows.

    `settings` are those of `Training`: `lr`, `warmup`, `decay`, `amp`, `terms`. With a `folder`, rows go to
    `metrics.jsonl` and a checkpoint is written every `checkpoint_every` steps and on Ctrl-C; calling again with the
    same arguments goes on from it, on one CPU to the same numbers as a run without interruption. A checkpoint of other
    settings, other initial weights or another source is refused. `on_log` sees each row as it is made. `checkpoints`
    makes the checkpoint of a folder and settings: of many processes one writes for all. ValueError for a loss that is
    not finite, when the next row or checkpoint is due, and for `checkpoint_every` or `log_every` below 1.

    >>> import torch
    >>> from groupcc_lite.coders import TransformMatrix, optimise
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> x = torch.randn(100, 1, 3, generator=torch.Generator().manual_seed(0))
    >>> turned, source = TransformMatrix(cyclic(2), channels=3), TensorOrbits(torch.cat([x, -x], 1), cyclic(2))
    >>> rows = optimise(turned, source, steps=200, batch_size=50, lr=0.05, progress=False)
    >>> round(rows[-1]["r2"], 2)
    1.0
    """
    _check_often(checkpoint_every, log_every)
    model.check_source(source)
    training = Training(model, steps=steps, **settings)
    checkpoint = checkpoints(folder, _settings(training, source, batch_size, seed) if folder is not None else {})
    step, rows, tensors = checkpoint.read()
    if step:
        training.load_state_dict(step, tensors)
    model.train()
    began = time.perf_counter() - (rows[-1]["seconds"] if rows else 0)
    bar = progress_bar(progress, total=steps, initial=step, desc="training", unit="step")
    try:
        for x in _from_step(source, batch_size, seed, step, steps):
            with _whole_steps():
                if training.count == 0:
                    model.begin(x.to(model.device))
                training.step(x)
                logged = training.count % log_every == 0 or training.count == steps
                if logged:
                    rows.append(training.row() | dict(seconds=round(time.perf_counter() - began, 2)))
            bar.update()
            if logged:
                row = rows[-1]
                bar.set_postfix({k: f"{row[k]:.3g}" for k in ("loss", "fve", "r2", "l0", "dead") if k in row})
                if on_log is not None:
                    on_log(row)
            if training.count % checkpoint_every == 0 and training.count < steps:
                checkpoint.write(training.count, rows, training.state_dict())
    except KeyboardInterrupt:
        kept = checkpoint.interrupted(training.count, rows, training.state_dict)
        _warn_stopped(training.count, steps, [kept])
        raise
    finally:
        bar.close()
    checkpoint.write(training.count, rows, training.state_dict())
    model.eval()
    return rows


def _check_often(checkpoint_every: int, log_every: int) -> None:
    if checkpoint_every < 1 or log_every < 1:
        raise ValueError(f"checkpoint_every={checkpoint_every}, log_every={log_every}; expected numbers of steps, at "
                         "least 1 (more than there are steps for the last one only)")


def _settings(training: Training, source: Any, batch_size: int, seed: int) -> dict[str, Any]:
    """What a checkpoint belongs to."""
    terms = training.terms
    return dict(steps=training.steps, batch_size=batch_size, lr=training.lr, warmup=training.warmup,
                decay=training.decay, seed=seed, amp=training.amp, coder=training.model.config, orbits=len(source),
                scale=source.scale, source=getattr(source, "fingerprint", None),
                initial_weights=outlines(dict(training.model.named_parameters())),
                **(dataclasses.asdict(terms) if isinstance(terms, CoderTerms) else terms))


@contextmanager
def _whole_steps() -> Iterator[None]:
    """Ctrl-C waits until the block ends: of half a step, or of one without its row, no training could go on exactly."""
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


def _warn_stopped(step: int, steps: int, kept: Sequence[int]) -> None:
    """Say where a training was stopped, and from where the same call goes on, coder by coder."""
    outlook = (f"the same call goes on from step {' and '.join(map(str, sorted(set(kept))))}" if any(kept) else
               "nothing was kept, so the same call begins anew")
    log.warning("stopped at step %d of %d; %s", step, steps, outlook)


def _from_step(source: Any, batch_size: int, seed: int, step: int, steps: int, **blocks: slice) -> Iterator[Tensor]:
    """Batches number `step` to `steps` of the endless sequence of epochs; `blocks` may name some of their elements."""
    per_epoch = source.batches_per_epoch(batch_size)
    while step < steps:
        epoch, start = divmod(step, per_epoch)
        for x in source.batches(batch_size, seed=seed, epoch=epoch, start=start, **blocks):
            yield x
            step += 1
            if step == steps:
                return


def _schedule(step: int, steps: int, warmup: float, decay: float) -> float:
    """Linear rise, plateau, linear fall to zero, as a factor on the learning rate."""
    rise = min(1.0, (step + 1) / max(1.0, warmup * steps))
    fall = min(1.0, (steps - step) / max(1.0, decay * steps))
    return min(rise, fall)


def train_many(coders: Sequence[GroupCrosscoder | EquivariantSAE | TiedCrosscoder], source: OrbitSource, *,
               each: Sequence[Mapping[str, Any]] | None = None, batch_size: int = 1024, seed: int = 0,
               checkpoint_every: int = 200, log_every: int = 10, progress: bool = True,
               **shared: Any) -> list[list[Row]]:
    """Train several coders on the same batches, which are made once for all of them; the logged rows of each.

    Each ends up with what `train` gives it alone with the same settings: those of `train`, in `shared` for all coders
    and in `each` for every coder what is its own, such as its `steps`, `lr`, `sparsity` and `folder`. Autoencoders of
    one block (a group of one element) read that of e. All coders lie on one device and are in its memory together.
    Batch size and `seed`, which decides the order of the data, are common. Checkpoints are those of `train`, so either
    can go on with the other's; coders whose checkpoints are of different steps wait for each other. ValueError as by
    `train`, for no coders, for two with one folder, and for coders on different devices.

    >>> import torch
    >>> from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder, train_many
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> source = TensorOrbits(torch.rand(64, 2, 6, generator=torch.Generator().manual_seed(0)), cyclic(2))
    >>> both = [GroupCrosscoder(cyclic(2), channels=6, latents=20), SparseAutoencoder(channels=6, latents=20)]
    >>> rows = train_many(both, source, each=[dict(steps=20), dict(steps=10)], batch_size=32, progress=False)
    >>> [row[-1]["step"] for row in rows]
    [20, 10]
    """
    _check_often(checkpoint_every, log_every)
    own = [{}] * len(coders) if each is None else list(each)
    if not coders or len(own) != len(coders):
        raise ValueError(f"{len(coders)} coders and settings for {len(own)}; expected some coders, and for each of "
                         "them a dictionary of what is its own")
    folders = [Path(given) for settings in own if (given := (shared | dict(settings)).get("folder"))]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError("two coders have one folder, where one's checkpoint would replace the other's; give each its "
                         "own in `each`")
    if len({coder.device for coder in coders}) > 1:
        raise ValueError(f"the coders lie on {sorted({str(coder.device) for coder in coders})}; expected one device")
    learners = [_Learner(coder, source, batch_size, seed, **(shared | dict(settings)))
                for coder, settings in zip(coders, own, strict=True)]
    going = [learner for learner in learners if learner.training.count < learner.training.steps]
    if going:
        _feed(going, source, batch_size, seed, checkpoint_every, log_every, progress)
    for coder in coders:
        coder.eval()
    return [learner.rows for learner in learners]


class _Learner:
    """One of several coders that read the same batches, with its own steps, log and checkpoint."""

    def __init__(self, coder: GroupCrosscoder | EquivariantSAE | TiedCrosscoder, source: OrbitSource, batch_size: int,
                 seed: int, *, steps: int, folder: str | Path | None = None, **settings: Any):
        self.alone = coder.group.order == 1 < source.group.order
        own = IdentityBlocks(source) if self.alone else source
        coder.check_source(own)
        loss = {key: settings.pop(key) for key in ("sparsity", "sparsity_warmup", "aux", "dead_after")
                if key in settings}
        self.training = Training(coder, steps=steps, terms=_coder_terms(steps, batch_size, **loss), **settings)
        self.checkpoint = Checkpoint(folder, _settings(self.training, own, batch_size, seed) if folder else {})
        step, self.rows, tensors = self.checkpoint.read()
        if step:
            self.training.load_state_dict(step, tensors)
        coder.train()
        self._began = time.perf_counter() - (self.rows[-1]["seconds"] if self.rows else 0)

    def take(self, x: Tensor) -> None:
        """One step."""
        x = x[:, :1].contiguous() if self.alone else x
        if self.training.count == 0:
            self.training.model.begin(x)
        self.training.step(x)

    def note(self, checkpoint_every: int, log_every: int) -> None:
        """A row, and a checkpoint, when they are due."""
        count, steps = self.training.count, self.training.steps
        if count % log_every == 0 or count == steps:
            self.rows.append(self.training.row() | dict(seconds=round(time.perf_counter() - self._began, 2)))
        if count % checkpoint_every == 0 or count == steps:
            self.write()

    def write(self) -> None:
        """The checkpoint."""
        self.checkpoint.write(self.training.count, self.rows, self.training.state_dict())

    def interrupted(self) -> int:
        """The step that the next call goes on from."""
        return self.checkpoint.interrupted(self.training.count, self.rows, self.training.state_dict)


def _feed(learners: Sequence[_Learner], source: OrbitSource, batch_size: int, seed: int, checkpoint_every: int,
          log_every: int, progress: bool) -> None:
    """Batches for all learners, from where the first of them is; each takes part from its own step on, until its last.

    No more blocks are asked for than some learner reads.
    """
    first = min(learner.training.count for learner in learners)
    last = max(learner.training.steps for learner in learners)
    elements = slice(0, 1) if all(learner.alone for learner in learners) else slice(None)
    device = learners[0].training.model.device
    bar = progress_bar(progress, total=last, initial=first, desc=f"training {len(learners)} coders", unit="step")
    try:
        for step, x in enumerate(_from_step(source, batch_size, seed, first, last, elements=elements), start=first):
            taking = [one for one in learners if one.training.count == step < one.training.steps]
            with _whole_steps():
                x = x.to(device, non_blocking=True)
                for learner in taking:
                    learner.take(x)
                for learner in taking:
                    learner.note(checkpoint_every, log_every)
            bar.update()
    except KeyboardInterrupt:
        kept = [learner.interrupted() for learner in learners]
        _warn_stopped(max(learner.training.count for learner in learners), last, kept)
        raise
    finally:
        bar.close()
