"""Probing: how well do a few features tell two classes apart? Arrays in, F1 scores out.

The experiments of Erdogan & Lucic 2025 (section 4, "Probing Tasks", and appendix C.1): latents are ranked by the
absolute difference of their class means, the best 8 or 32 are kept, and three probes are trained on them, on what is
reconstructed from them alone, or on the base activations. Thousands of fits are needed, so every probe is written for
speed, and none gives up exactness for it but XGBoost, whose histograms have `BINS` bins instead of 256.

- kNN: raw features, Euclidean distance; equal training samples share their votes.
- Logistic regression: standardised features, fitted to convergence by Newton's method. The paper takes steps of 1e-3
  and does not say how many, nor by which optimiser: `logistic_by_steps` is that, by Adam on raw features.
- XGBoost: raw features, whose scale trees do not mind; equal samples are merged.

Nothing is random. Tasks run in threads: matrix products and XGBoost leave Python's lock, and each uses one core.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from groupcc_lite.base import digest, package_version, progress_bar, read_json, require, write_json

PROBES = ("knn", "logistic", "xgboost")
"""The probes, by name."""
FORMAT = 1
"""Of the files of scores. Raise it when the same features and settings give other scores."""

NEIGHBOURS = 16
"""kNN: votes per sample; "yes" needs more than half of them, so 8 against 8 is "no"."""
RIDGE = 1e-4
"""Logistic regression: the mean log loss plus RIDGE / 2 times the squared norm of the weights, without intercept."""
STEP, STEPS = 1e-3, (100, 1000)
"""Logistic regression by steps: the paper's learning rate, and after how many steps it is scored."""
TREES, DEPTH, RATE, TREE_L2 = 100, 6, 0.3, 1.0
"""XGBoost: the paper's number of trees, depth and learning rate; its L2 strength is not printed, 1 is the default."""
BINS = 64
"""XGBoost: bins per feature. The default of 256 changed the mean F1 of 12 tasks by 0.002, the size of its standard
error, and took about twice as long."""

_STRIPS = 16  # pieces into which a row of distances is cut to find its smallest entries
_BLOCK = 128  # rows of distances at a time; they should stay in the cache
_NEGLIGIBLE = 1e-10  # share of the largest variance below which a direction is rounding noise


class ChanceF1(NamedTuple):
    """What probes score that know nothing but how frequent each class is: the negative controls."""

    guess: Float[np.ndarray, " t"]
    """Guessing "yes" as often as it is true: the share p of positives."""
    always: Float[np.ndarray, " t"]
    """Always "yes": 2p / (1 + p), the most that a probe reaches without looking."""


@dataclass(frozen=True)
class ProbeScores:
    """F1 on held-out samples, for every task and probe.

    >>> scores = ProbeScores(np.array([[0.5, 0.9, 0.7], [0.4, 0.8, 0.9]]))
    >>> scores.best_probe(), scores.of("knn").tolist()
    ('logistic', [0.5, 0.4])
    """

    f1: Float[np.ndarray, "t p"]
    """In [0, 1]; rows are tasks, columns probes."""
    probes: tuple[str, ...] = PROBES
    """Names of the columns."""

    def __post_init__(self) -> None:
        if self.f1.ndim != 2 or self.f1.shape[1] != len(self.probes):
            raise ValueError(f"f1 has shape {self.f1.shape}; expected (tasks, {len(self.probes)}), "
                             f"a column for each of {', '.join(self.probes)}")

    def of(self, probe: str) -> Float[np.ndarray, " t"]:
        """F1 of one probe on all tasks."""
        _check_probes((probe,), self.probes)
        return self.f1[:, self.probes.index(probe)]

    def best_probe(self, tasks: Sequence[int] | Shaped[np.ndarray, " s"] | None = None) -> str:
        """The probe whose F1, averaged over `tasks` (numbers or a mask; None: all), is highest; the first of equals.

        Source: Erdogan & Lucic 2025, section 4: "the best performing probe averaged across all tasks".
        """
        chosen = np.asarray(range(len(self.f1)) if tasks is None else tasks)
        if not chosen.size or chosen.dtype == bool and not chosen.any():
            raise ValueError(f"tasks selects none of the {len(self.f1)} tasks; expected at least one")
        return self.probes[int(self.f1[chosen].mean(0).argmax())]

    def save(self, path: str | Path) -> None:
        """Write the scores as JSON."""
        write_json(path, dict(format=FORMAT, probes=list(self.probes), f1=self.f1.tolist()))

    @classmethod
    def load(cls, path: str | Path) -> ProbeScores:
        """Read what `save` or `probe_all` wrote; ValueError if tasks are still missing."""
        content = _read(path)
        if missing := sum(row is None for row in content["f1"]):
            raise ValueError(f"{path} lacks {missing} of {len(content['f1'])} tasks; run the probes again, with the "
                             "same path, to finish them")
        return cls(np.array(content["f1"], dtype=np.float64), tuple(content["probes"]))


def f1(predicted: Shaped[np.ndarray, " n"], true: Shaped[np.ndarray, " _n"]) -> float:
    """2 TP / (2 TP + FP + FN) of binary labels; 0 when nothing is predicted and nothing is true."""
    predicted, true = _binary(predicted, "predicted"), _binary(true, "true")
    if predicted.shape != true.shape:
        raise ValueError(f"predicted has shape {predicted.shape}, true {true.shape}; expected one label per sample")
    positives = int(predicted.sum()) + int(true.sum())
    return 2 * int((predicted & true).sum()) / positives if positives else 0.0


def chance_f1(test_labels: Shaped[np.ndarray, "k t"]) -> ChanceF1:
    """F1 without knowledge, with TP, FP and FN replaced by their expectations; labels are bools or 0 and 1.

    >>> chance_f1(np.array([[1], [0], [0], [0]])).always.tolist()
    [0.4]
    """
    share = _binary(test_labels, "test_labels").mean(0)
    return ChanceF1(share, 2 * share / (1 + share))


def class_mean_differences(latents: Float[np.ndarray, "n m"],
                           labels: Shaped[np.ndarray, "_n t"]) -> Float[np.ndarray, "t m"]:
    """Mean of each latent over a task's positives minus its mean over the negatives, for all tasks at once.

    ValueError for labels that are not binary, do not fit, or leave a task with one class only.
    """
    labels = _check_tasks(labels, "labels")
    latents = _check_features(latents, "latents", len(labels))
    share = labels.mean(0)
    weights = np.where(labels, 1 / share, -1 / (1 - share)) / len(labels)
    return weights.T.astype(latents.dtype) @ latents


def ranked_latents(latents: Float[np.ndarray, "n m"], labels: Shaped[np.ndarray, "_n t"],
                   count: int) -> Int[np.ndarray, "t c"]:
    """For each task the `count` latents whose class means differ most, best first; of equal ones the lower index.

    To be given training samples only, so that the choice knows nothing of the test. Source: Erdogan & Lucic 2025,
    section 4, after Kantamneni et al. 2025.

    >>> latents, labels = np.array([[0.0, 5.0], [0.0, 4.0], [3.0, 4.0]]), np.array([[False], [False], [True]])
    >>> ranked_latents(latents, labels, 1).tolist()
    [[0]]
    """
    if latents.ndim == 2 and not 1 <= count <= latents.shape[1]:
        raise ValueError(f"count is {count}; expected 1 to {latents.shape[1]}, the number of latents")
    return np.argsort(-np.abs(class_mean_differences(latents, labels)), axis=1, kind="stable")[:, :count]


def probe_task(train: Float[np.ndarray, "n f"], test: Float[np.ndarray, "k _f"],
               train_labels: Shaped[np.ndarray, " _n"], test_labels: Shaped[np.ndarray, " _k"],
               probes: Sequence[str] = PROBES) -> dict[str, float]:
    """F1 on the test samples of each probe trained on the training samples.

    ValueError for features that are not finite or do not fit the labels, and for a single class in either set.

    >>> x = np.repeat(np.float32([[-1], [1]]), 20, axis=0)
    >>> probe_task(x, x, x[:, 0] > 0, x[:, 0] > 0, probes=("knn", "logistic"))
    {'knn': 1.0, 'logistic': 1.0}
    """
    _check_probes(probes)
    labels = _check_tasks(train_labels, "train_labels")
    true = _check_tasks(test_labels, "test_labels")
    train = _check_features(train, "train", len(labels))
    test = _check_features(test, "test", len(true))
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"train has {train.shape[1]} features and test {test.shape[1]}; expected the same")
    if "knn" in probes and len(train) < NEIGHBOURS:
        raise ValueError(f"train has {len(train)} samples; kNN needs at least {NEIGHBOURS}, its number of neighbours")
    return {probe: f1(_PREDICT[probe](train, labels, test), true) for probe in probes}


def probe_all(features: Callable[[int], tuple[np.ndarray, np.ndarray]], train_labels: Shaped[np.ndarray, "n t"],
              test_labels: Shaped[np.ndarray, "k _t"], *, probes: Sequence[str] = PROBES, workers: int | None = None,
              path: str | Path | None = None, key: str = "", progress: bool = True,
              description: str = "probing") -> ProbeScores:
    """`probe_task` on every task, `workers` (None: the number of cores) at a time.

    `features(task)` gives the (train, test) features of a task; it is called in the worker's thread, where numpy has
    one core. With `path`, finished tasks are kept there, and a later call computes only those that are missing. A file
    made with another `key` (which should name where the features come from), other labels or other settings is refused
    with a ValueError. Ctrl-C ends it as soon as the tasks under way are done.

    >>> x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    >>> labels = np.column_stack([x[:, 0] > 0, x[:, 0] > 0.5])
    >>> probe_all(lambda task: (x, x), labels, labels, probes=("knn",), workers=1, progress=False).f1.shape
    (2, 1)
    """
    _check_probes(probes)
    train_labels, test_labels = _check_tasks(train_labels, "train_labels"), _check_tasks(test_labels, "test_labels")
    tasks = train_labels.shape[1]
    if test_labels.shape[1] != tasks:
        raise ValueError(f"train_labels has {tasks} tasks and test_labels {test_labels.shape[1]}; expected the same")
    workers = os.cpu_count() or 1 if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1, or None for the number of cores")
    content = dict(format=FORMAT, key=key, inputs=_inputs(train_labels, test_labels, probes), probes=list(probes),
                   f1=[None] * tasks)
    if path is not None and Path(path).exists():
        content["f1"] = _resumed(path, content)
    rows = content["f1"]

    def row(task: int) -> list[float]:
        try:
            train, test = features(task)
            return list(probe_task(train, test, train_labels[:, task], test_labels[:, task], probes).values())
        except ValueError as error:
            raise ValueError(f"task {task}: {error}") from error

    missing = [task for task in range(tasks) if rows[task] is None]
    with (require("threadpoolctl", "probing").threadpool_limits(1, "blas"), _pool(workers) as pool,
          progress_bar(progress, total=tasks, initial=tasks - len(missing), desc=description, unit="task") as bar):
        running = {task: pool.submit(row, task) for task in missing}
        for task, future in running.items():  # in order, so that all before a failing task are kept
            rows[task] = future.result()
            if path is not None:
                write_json(path, content)
            bar.update()
    return ProbeScores(np.array(rows, dtype=np.float64), tuple(probes))


def logistic_by_steps(train: Float[np.ndarray, "n f"], test: Float[np.ndarray, "k _f"],
                      train_labels: Shaped[np.ndarray, " _n"], test_labels: Shaped[np.ndarray, " _k"],
                      steps: Sequence[int] = STEPS) -> list[float]:
    """F1 on the test samples after each of `steps` steps of Adam on the log loss, from zero, on raw features.

    The paper's own logistic regression (appendix C.1), as far as it is printed: learning rate `STEP`, L2 strength
    `RIDGE`. Optimiser, number of steps and batches are not; every step here sees all training samples.

    >>> x = np.repeat(np.float32([[-1], [1]]), 20, axis=0)
    >>> logistic_by_steps(x, x, x[:, 0] > 0, x[:, 0] > 0, steps=(1, 5))
    [1.0, 1.0]
    """
    labels, true = _check_tasks(train_labels, "train_labels"), _check_tasks(test_labels, "test_labels")
    inputs, asked = (np.column_stack([_check_features(x, name, len(y)), np.ones(len(y), np.float32)])
                     for x, name, y in ((train, "train", labels), (test, "test", true)))
    if not steps or min(steps) < 1:
        raise ValueError(f"steps is {list(steps)}; expected numbers of 1 or more")
    weights, first, second = (np.zeros(inputs.shape[1], np.float32) for _ in range(3))
    penalty, target, found = np.full_like(weights, RIDGE), labels.astype(np.float32), {}
    penalty[-1] = 0
    for step in range(1, max(steps) + 1):
        probability = (1 + np.tanh(inputs @ weights / 2)) / 2
        slope = (probability - target) @ inputs / len(target) + penalty * weights
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope * slope
        weights -= STEP * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        if step in steps:
            found[step] = f1(asked @ weights > 0, true)
    return [found[step] for step in steps]


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that, on an error or Ctrl-C, finish what they have begun and start nothing more."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="probe")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def probe_settings() -> dict[str, Any]:
    """What scores depend on besides features and labels: the probes' settings, and whose trees they are.

    >>> probe_settings()["neighbours"]
    16
    """
    return dict(format=FORMAT, neighbours=NEIGHBOURS, ridge=RIDGE, trees=TREES, depth=DEPTH, rate=RATE,
                tree_l2=TREE_L2, bins=BINS, xgboost=package_version("xgboost"))


def _inputs(train_labels: Bool[np.ndarray, "n t"], test_labels: Bool[np.ndarray, "k t"], probes: Sequence[str]) -> str:
    """Name of everything that scores depend on besides the features."""
    labels = [[hashlib.sha256(np.packbits(y).tobytes()).hexdigest(), y.shape] for y in (train_labels, test_labels)]
    return digest([probe_settings(), labels, list(probes)])


def _read(path: str | Path) -> dict[str, Any]:
    """The content of a file of scores; ValueError if it is something else."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not {"probes", "f1"} <= content.keys():
        raise ValueError(f"{path} does not hold probe scores of format {FORMAT}; delete it and run again")
    return content


def _resumed(path: str | Path, expected: dict[str, Any]) -> list[list[float] | None]:
    """The rows of an earlier call, None where a task is missing; ValueError if that call had other inputs."""
    found = _read(path)
    for name, what in (("key", "key"), ("inputs", "labels or settings, with the digest")):
        if found.get(name) != expected[name]:
            raise ValueError(f"{path} was made with another {what} {found.get(name)!r}, not {expected[name]!r}; "
                             "give another path, or delete the file")
    return found["f1"]


def _check_probes(probes: Sequence[str], known: Sequence[str] = PROBES) -> None:
    unknown = [probe for probe in probes if probe not in known]
    if unknown or not probes:
        raise ValueError(f"probes is {list(probes)}; expected at least one, all of {', '.join(known)}")


def _binary(labels: Shaped[np.ndarray, "*shape"], name: str) -> Bool[np.ndarray, "*shape"]:
    """Labels as bools; ValueError unless they are bools or 0 and 1."""
    if labels.dtype != bool and not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{name} holds {labels.dtype} values other than 0 and 1; expected binary labels")
    return labels.astype(bool)


def _check_tasks(labels: Shaped[np.ndarray, "*shape"], name: str) -> Bool[np.ndarray, "*shape"]:
    """Labels as bools; ValueError if they belong to no sample or a task has only one class."""
    labels = _binary(labels, name)
    if labels.ndim not in (1, 2) or not labels.size:
        raise ValueError(f"{name} has shape {labels.shape}; expected (samples, tasks), neither of them 0")
    single = np.flatnonzero(np.atleast_1d(labels.all(0) | ~labels.any(0)))
    if len(single):
        which = f" for task {single[0]}" if labels.ndim == 2 else ""
        raise ValueError(f"{name} has only one class{which}: all {len(labels)} samples are alike; leave the task out "
                         "or take more samples")
    return labels


def _check_features(values: Float[np.ndarray, "*shape"], name: str, samples: int) -> Float[np.ndarray, "*shape"]:
    """Features as a contiguous float32 matrix; ValueError if they do not fit or are not finite."""
    if values.ndim != 2 or len(values) != samples or not values.shape[1]:
        raise ValueError(f"{name} has shape {values.shape}; expected ({samples}, features): a row for each label")
    values = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values; check the coder or model that made it")
    return values


def _knn(train: Float[np.ndarray, "n f"], labels: Bool[np.ndarray, " n"],
         test: Float[np.ndarray, "k f"]) -> Bool[np.ndarray, " k"]:
    """Majority of the nearest training samples.

    Sparse latents make hundreds of equal samples. Where not all of them fit into the neighbourhood, none is preferred:
    the votes left are split among them, as if the average were taken over all choices. So the prediction does not
    depend on the samples' order.
    """
    points, of = _distinct(train)
    queries, back = _distinct(test)
    count = np.bincount(of)
    share = np.bincount(of, labels) / count
    centre = points.mean(0)
    points, queries = points - centre, queries - centre
    basis = _row_space(points)
    if basis.shape[1] < len(basis):  # what of a query lies outside the points' span is equally far from all of them
        points, queries = points @ basis, queries @ basis
    near = _nearest(points, queries, min(NEIGHBOURS, len(points)))
    room = NEIGHBOURS - np.cumsum(count[near], axis=1) + count[near]
    votes = (np.clip(room, 0, count[near]) * share[near]).sum(1)
    return (votes > NEIGHBOURS / 2 + 1e-9)[back]


def _distinct(rows: Float[np.ndarray, "n f"]) -> tuple[Float[np.ndarray, "u f"], Int[np.ndarray, " n"]]:
    """The rows without repetitions, and for each row its number among them."""
    rows = np.ascontiguousarray(rows) + np.float32(0)  # -0.0 becomes 0.0, so that equal numbers are equal bytes
    packed = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()  # far faster than unique(axis=0)
    _, first, number = np.unique(packed, return_index=True, return_inverse=True)
    return rows[first], number


def _row_space(rows: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "f r"]:
    """Orthonormal basis of what the rows span, up to rounding: what was made from r latents has r dimensions."""
    wide = rows.astype(np.float64)
    power, vectors = np.linalg.eigh(wide.T @ wide)
    return vectors[:, power > _NEGLIGIBLE * power[-1]].astype(rows.dtype)


def _nearest(points: Float[np.ndarray, "u f"], queries: Float[np.ndarray, "q f"], count: int) -> Int[np.ndarray, "q c"]:
    """Numbers of the `count` points nearest to each query, nearest first.

    A row of distances is cut into strips laid on top of each other. The `count` smallest entries lie in the `count`
    columns with the smallest minima, which leaves few candidates and is several times faster than one `argpartition`.
    """
    strips = _STRIPS if len(points) >= 4 * _STRIPS * NEIGHBOURS else 1
    width = -(-len(points) // strips)
    # |q - p|^2 / 2 without its |q|^2 / 2, as one product; what fills the last strip up is farther than everything.
    table = np.zeros((points.shape[1] + 1, strips * width), np.float32)
    table[:-1, :len(points)] = points.T
    table[-1] = np.finfo(np.float32).max
    table[-1, :len(points)] = np.einsum("uf,uf->u", points, points) / 2
    left = np.column_stack([-queries, np.ones(len(queries), np.float32)])
    nearest = np.empty((len(queries), count), np.int64)
    for start in range(0, len(queries), _BLOCK):
        gap = left[start:start + _BLOCK] @ table
        columns = gap.reshape(len(gap), strips, width).min(1).argpartition(count - 1, axis=1)[:, :count]
        places = (columns[:, :, None] + np.arange(strips) * width).reshape(len(gap), -1)
        candidates = np.take_along_axis(gap, places, 1)
        best = candidates.argpartition(count - 1, axis=1)[:, :count]
        order = np.take_along_axis(candidates, best, 1).argsort(1, kind="stable")
        nearest[start:start + _BLOCK] = np.take_along_axis(places, np.take_along_axis(best, order, 1), 1)
    return nearest


def _logistic(train: Float[np.ndarray, "n f"], labels: Bool[np.ndarray, " n"],
              test: Float[np.ndarray, "k f"]) -> Bool[np.ndarray, " k"]:
    """Logistic regression on standardised features; constant ones become 0."""
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale = np.where(deviation > 1e-6 * np.abs(train).max(0), deviation, np.inf)
    train, test = (train - mean) / scale, (test - mean) / scale
    basis = _row_space(train)  # the penalty does not change under rotations, so the best weights lie in this space
    weights = _newton(np.column_stack([train @ basis, np.ones(len(train))]), labels)
    return test @ (basis @ weights[:-1]) + weights[-1] > 0


def _newton(inputs: Float[np.ndarray, "n a"], labels: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " a"]:
    """Weights that minimise mean log loss + RIDGE/2 |w|^2; the last input is 1, its weight the free intercept."""
    penalty = np.full(inputs.shape[1], RIDGE)
    penalty[-1] = 0
    sign, share = np.where(labels, 1.0, -1.0), labels.mean()
    weights = np.zeros(inputs.shape[1])
    weights[-1] = np.log(share / (1 - share))

    def objective(w: Float[np.ndarray, " a"]) -> float:
        return np.logaddexp(0, -sign * (inputs @ w)).mean() + (penalty * w * w).sum() / 2

    value = objective(weights)
    for _ in range(100):  # about ten are needed
        probability = (1 + np.tanh(inputs @ weights / 2)) / 2
        slope = inputs.T @ (probability - labels) / len(labels) + penalty * weights
        weighted = inputs * np.sqrt(probability * (1 - probability) / len(labels))[:, None]
        step = np.linalg.solve(weighted.T @ weighted + np.diag(penalty), slope)
        gain, length = slope @ step, 1.0
        if gain < 1e-12:
            break
        while (new := objective(weights - length * step)) > value - 1e-4 * length * gain and length > 1e-9:
            length /= 2
        weights, value = weights - length * step, new
    return weights


def _xgboost(train: Float[np.ndarray, "n f"], labels: Bool[np.ndarray, " n"],
             test: Float[np.ndarray, "k f"]) -> Bool[np.ndarray, " k"]:
    """Gradient-boosted trees; equal samples of one class are one sample with a weight, which changes no sum."""
    xgboost = require("xgboost", "probing")  # slow to import, and not needed by the other probes

    rows, of = _distinct(np.column_stack([train, labels.astype(np.float32)]))
    data = xgboost.QuantileDMatrix(np.ascontiguousarray(rows[:, :-1]), rows[:, -1], weight=np.bincount(of),
                                   max_bin=BINS, nthread=1)
    settings = {"objective": "binary:logistic", "tree_method": "hist", "max_bin": BINS, "max_depth": DEPTH,
                "learning_rate": RATE, "reg_lambda": TREE_L2, "nthread": 1}
    return xgboost.train(settings, data, TREES).inplace_predict(test) > 0.5


_PREDICT = {"knn": _knn, "logistic": _logistic, "xgboost": _xgboost}
