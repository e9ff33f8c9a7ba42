import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from groupcc_lite.answers import probing
from groupcc_lite.answers.probing import (
    BINS,
    NEIGHBOURS,
    PROBES,
    RIDGE,
    ProbeScores,
    chance_f1,
    class_mean_differences,
    f1,
    probe_all,
    probe_task,
    ranked_latents,
)
from groupcc_lite.base import read_json, write_json

TASKS = 4


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def coins(*shape: int, seed: int = 0, share: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


def few(samples: int, seed: int = 0) -> np.ndarray:
    """Sparse features with few values, so that most samples occur many times."""
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 4, (samples, 3)) * (rng.random((samples, 3)) < 0.3)).astype(np.float32)


@pytest.fixture(scope="module")
def problem():
    """Features per task, training labels, test labels, calls made."""
    train, test = noise(200, 5, seed=1), noise(100, 5, seed=2)
    mixing = noise(5, TASKS, seed=3)
    calls = []

    def features(task: int) -> tuple[np.ndarray, np.ndarray]:
        calls.append(task)
        return train * (task + 1), test * (task + 1)

    return features, train @ mixing > 0.3, test @ mixing > 0.3, calls


@pytest.fixture(scope="module")
def scores(problem):
    features, train_labels, test_labels, _ = problem
    return probe_all(features, train_labels, test_labels, workers=1, progress=False)


def test_every_probe_solves_a_solvable_task():
    X = np.vstack([noise(900, 4) - 2, noise(300, 4, seed=1) + 2])
    y = np.arange(1200) >= 900
    result = probe_task(X[::2], X[1::2], y[::2], y[1::2])
    assert tuple(result) == PROBES and min(result.values()) > 0.95


def test_negative_control_no_probe_beats_chance_on_a_random_task():
    X, Q = noise(1000, 6), noise(2000, 6, seed=1)
    for share in (0.5, 0.1):
        y = np.random.default_rng(2).permutation(1000) < 1000 * share
        y_test = coins(2000, seed=3, share=share)
        chance = chance_f1(y_test[:, None])
        for result in probe_task(X, Q, y, y_test).values():
            assert result < chance.always[0] + 0.02
            # Rare classes are never predicted; frequent ones less often by kNN, which needs nine votes of sixteen.
            assert share < 0.5 or result > chance.guess[0] - 0.12


def test_chance_is_what_blind_probes_score():
    y = coins(100_000, 2, share=0.2)
    chance = chance_f1(y)
    assert chance.guess == pytest.approx(y.mean(0))
    assert [f1(np.ones(len(y), bool), y[:, t]) for t in (0, 1)] == pytest.approx(chance.always)
    assert f1(coins(len(y), seed=5, share=0.2), y[:, 0]) == pytest.approx(chance.guess[0], abs=0.02)


def test_f1_by_hand_and_against_sklearn():
    assert f1(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])) == 0.5
    assert f1(np.zeros(3, bool), np.zeros(3, bool)) == 0.0 and f1(np.ones(3, bool), np.ones(3, bool)) == 1.0
    assert f1(np.zeros(3, bool), np.ones(3, bool)) == 0.0
    for seed in range(20):
        predicted, true = coins(50, seed=seed, share=0.3), coins(50, seed=100 + seed, share=0.2)
        assert f1(predicted, true) == pytest.approx(f1_score(true, predicted, zero_division=0), abs=1e-12)


def test_class_means_and_ranking_by_hand():
    latents = np.array([[1, 0, 5, 2], [3, 0, 5, 0], [0, 4, 5, 0], [0, 0, 5, 0]], np.float32)
    labels = np.array([[1, 0], [1, 0], [0, 0], [0, 1]], bool)
    expected = [[2, -2, 0, 1], [-4 / 3, -4 / 3, 0, -2 / 3]]
    assert class_mean_differences(latents, labels) == pytest.approx(np.array(expected), abs=1e-6)
    assert ranked_latents(latents[:, :3], labels[:, :1], 3).tolist() == [[0, 1, 2]]
    assert ranked_latents(latents[:, [2, 1, 0]], labels[:, :1], 2).tolist() == [[1, 2]]
    assert ranked_latents(latents, labels, 4)[0].tolist() == [0, 1, 3, 2]
    assert ranked_latents(np.tile(latents[:, 3:], 40), labels[:, :1], 40).tolist() == [list(range(40))]


def test_class_means_against_a_loop():
    latents, labels = noise(300, 20) + 3, coins(300, 7, share=0.1)
    expected = [latents[y].mean(0) - latents[~y].mean(0) for y in labels.T]
    assert class_mean_differences(latents, labels) == pytest.approx(np.array(expected), abs=1e-4)
    assert class_mean_differences(latents, labels.astype(int)).tolist() == class_mean_differences(
        latents, labels).tolist()


@pytest.mark.parametrize(("samples", "features", "rank"), [(100, 3, 3), (1500, 8, 8), (1500, 40, 5), (2000, 1, 1)])
def test_knn_agrees_with_sklearn_also_at_eight_against_eight(samples, features, rank):
    mixing = noise(rank, features, seed=9)
    X, Q = noise(samples, rank) @ mixing + 5, noise(300, rank, seed=1) @ mixing + 5
    y = coins(samples)
    oracle = KNeighborsClassifier(NEIGHBOURS, algorithm="brute").fit(X.astype(np.float64), y)
    votes = oracle.predict_proba(Q.astype(np.float64))[:, 1] * NEIGHBOURS
    assert (votes == NEIGHBOURS / 2).sum() > 20
    assert np.array_equal(probing._knn(X, y, Q), oracle.predict(Q.astype(np.float64)))


def test_equal_samples_share_their_votes():
    X = np.repeat(np.array([[0], [1], [-9]], np.float32), (10, 30, 40), axis=0)
    Q = np.array([[-0.0], [1]], np.float32)
    y = np.concatenate([np.zeros(10), np.arange(30) < 10, np.ones(40)]).astype(bool)
    assert not probing._knn(X, y, Q).any()  # 0 of 10 + 6/3 votes; 16/3 votes
    y[:10] = np.arange(10) < 7
    assert probing._knn(X, y, Q).tolist() == [True, False]  # 7 + 2 votes
    y[:10] = np.arange(10) < 6
    assert not probing._knn(X, y, Q).any()  # 6 + 2 votes: eight against eight
    assert np.array_equal(probing._knn(X[::-1], y[::-1], Q), probing._knn(X, y, Q))


def test_knn_does_not_depend_on_the_order_of_samples():
    X, y, Q, order = few(2000), coins(2000), few(200, seed=1), np.random.default_rng(3).permutation(2000)
    predicted = probing._knn(X, y, Q)
    assert np.array_equal(probing._knn(X[order], y[order], Q), predicted) and 0 < predicted.mean() < 1


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("rank", [12, 3])
def test_logistic_regression_agrees_with_sklearn(rank, separable):
    mixing = noise(rank, 12, seed=9)
    X, Q = noise(400, rank) @ mixing * 7 + 2, noise(300, rank, seed=1) @ mixing * 7 + 2
    y = X[:, 0] + (0 if separable else 15) * noise(400, seed=5) > 6
    X[:, 4] = Q[:, 4] = 0.1  # a latent that never changes
    scaler = StandardScaler().fit(X.astype(np.float64))
    oracle = LogisticRegression(C=1 / (len(X) * RIDGE), tol=1e-12, max_iter=20_000)
    Z = np.where(np.arange(12) == 4, 0, scaler.transform(X.astype(np.float64)))
    oracle.fit(Z, y)
    weights = probing._newton(np.column_stack([Z, np.ones(len(Z))]), y)
    assert weights[:-1] == pytest.approx(oracle.coef_[0], rel=1e-3, abs=1e-3)
    assert weights[-1] == pytest.approx(oracle.intercept_[0], rel=1e-3, abs=1e-3)
    # The probe itself works in the space the samples span, and must come to the same predictions.
    expected = np.where(np.arange(12) == 4, 0, scaler.transform(Q.astype(np.float64))) @ weights[:-1] + weights[-1]
    clear = np.abs(expected) > 1e-3
    assert clear.mean() > 0.95
    assert np.array_equal(probing._logistic(X, y, Q)[clear], expected[clear] > 0)


def test_merging_equal_samples_does_not_change_the_trees():
    X, Q = few(1500), few(300, seed=1)
    y = (X.sum(1) + noise(1500, seed=4) > 1) ^ coins(1500, share=0.1)
    oracle = XGBClassifier(n_estimators=100, max_depth=6, learning_rate=0.3, reg_lambda=1.0, tree_method="hist",
                           max_bin=BINS, n_jobs=1).fit(X, y)
    assert len(np.unique(X, axis=0)) < 70
    assert (probing._xgboost(X, y, Q) == oracle.predict(Q).astype(bool)).mean() > 0.99


def test_dead_latents_give_the_majority():
    X, y = np.zeros((60, 4), np.float32), np.arange(60) < 40
    assert set(probe_task(X, X, y, y).values()) == {0.8}
    assert set(probe_task(X, X, ~y, ~y).values()) == {0.0}


def test_scores_are_deterministic_and_do_not_depend_on_the_number_of_workers(problem, scores):
    features, train_labels, test_labels, _ = problem
    two = probe_all(features, train_labels, test_labels, workers=2, progress=False)
    assert np.array_equal(two.f1, scores.f1) and two.probes == PROBES and scores.f1.shape == (TASKS, 3)
    single = probe_task(*features(2), train_labels[:, 2], test_labels[:, 2])
    assert list(single.values()) == pytest.approx(scores.f1[2], abs=1e-12)
    some = probe_all(features, train_labels, test_labels, probes=("xgboost", "knn"), progress=False)
    assert np.array_equal(some.of("knn"), scores.of("knn")) and some.probes == ("xgboost", "knn")


def test_a_killed_run_goes_on_where_it_stopped(problem, scores, tmp_path):
    features, train_labels, test_labels, calls = problem
    path = tmp_path / "scores.json"

    def killed(task: int) -> tuple[np.ndarray, np.ndarray]:
        if task == 2:
            raise RuntimeError("killed")
        return features(task)

    with pytest.raises(RuntimeError, match="killed"):
        probe_all(killed, train_labels, test_labels, workers=1, path=path, key="a", progress=False)
    with pytest.raises(ValueError, match="lacks 2 of 4 tasks"):
        ProbeScores.load(path)
    calls.clear()
    resumed = probe_all(features, train_labels, test_labels, workers=1, path=path, key="a", progress=False)
    assert calls == [2, 3] and np.array_equal(resumed.f1, scores.f1)
    again = probe_all(features, train_labels, test_labels, workers=2, path=path, key="a", progress=False)
    assert calls == [2, 3] and np.array_equal(again.f1, scores.f1)
    assert np.array_equal(ProbeScores.load(path).f1, scores.f1) and ProbeScores.load(path).probes == PROBES
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_scores_of_other_data_are_refused(problem, tmp_path):
    features, train_labels, test_labels, _ = problem
    path = tmp_path / "scores.json"
    settings = dict(workers=1, path=path, key="a", probes=("knn",), progress=False)
    probe_all(features, train_labels, test_labels, **settings)
    with pytest.raises(ValueError, match="another key 'a', not 'b'"):
        probe_all(features, train_labels, test_labels, **{**settings, "key": "b"})
    with pytest.raises(ValueError, match="labels or settings"):
        probe_all(features, ~train_labels, test_labels, **settings)
    with pytest.raises(ValueError, match="labels or settings"):
        probe_all(features, train_labels, test_labels, **{**settings, "probes": ("logistic",)})
    write_json(path, {"something": "else"})
    with pytest.raises(ValueError, match="does not hold probe scores"):
        probe_all(features, train_labels, test_labels, **settings)


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also where the tests were started in the background and inherited that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_starts_nothing_more(problem, tmp_path):
    features, train_labels, test_labels, calls = problem
    calls.clear()
    path, heard = tmp_path / "scores.json", threading.Event()

    def interrupted(task: int) -> tuple[np.ndarray, np.ndarray]:
        if task == 1:
            while not path.exists():  # task 0 is kept
                heard.wait(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            heard.wait(0.5)  # nobody sets it: time for the main thread to stop
        return features(task)

    with pytest.raises(KeyboardInterrupt):
        probe_all(interrupted, train_labels, test_labels, workers=1, path=path, progress=False, probes=("knn",))
    assert calls == [0, 1]
    assert [row is None for row in read_json(path)["f1"]] == [False, True, True, True]


def test_the_best_probe_is_best_on_average(tmp_path: Path):
    scores = ProbeScores(np.array([[0.9, 0.8, 0.1], [0.1, 0.3, 0.9]]), PROBES)
    assert scores.best_probe() == "logistic" and scores.best_probe([0]) == "knn"
    assert scores.best_probe(np.array([False, True])) == "xgboost" and scores.of("knn").tolist() == [0.9, 0.1]
    scores.save(tmp_path / "scores.json")
    assert np.array_equal(ProbeScores.load(tmp_path / "scores.json").f1, scores.f1)
    for act, message in ((lambda: scores.of("svm"), "svm.*knn, logistic, xgboost"),
                         (lambda: scores.best_probe([]), "none of the 2 tasks"),
                         (lambda: ProbeScores(np.zeros((2, 2)), PROBES), "a column for each of knn")):
        with pytest.raises(ValueError, match=message):
            act()


def test_bad_input_is_named():
    X, y = noise(40, 3), np.arange(40) % 2 == 0
    holed = np.where(X > 1, np.nan, X)
    two = np.column_stack([y, np.ones(40, bool)])
    for act, message in (
            (lambda: probe_task(holed, X, y, y), "train holds NaN"),
            (lambda: probe_task(X, holed, y, y), "test holds NaN"),
            (lambda: probe_task(X[:30], X, y, y), r"train has shape \(30, 3\); expected \(40, features\)"),
            (lambda: probe_task(X, X[:, :2], y, y), "3 features and test 2"),
            (lambda: probe_task(X, X, y | True, y), "train_labels has only one class: all 40"),
            (lambda: probe_task(X, X, y, y & False), "test_labels has only one class"),
            (lambda: probe_task(X, X, y * 3, y), "train_labels holds int64 values other than 0 and 1"),
            (lambda: probe_task(X, X, y, y, ("svm",)), "probes is .*svm.*expected"),
            (lambda: probe_task(X, X, y, y, ()), "at least one"),
            (lambda: probe_task(X[:9], X, y[:9], y), "9 samples; kNN needs at least 16"),
            (lambda: class_mean_differences(X, two), "only one class for task 1"),
            (lambda: class_mean_differences(X[:7], two[:, :1]), "latents has shape"),
            (lambda: ranked_latents(X, two[:, :1], 4), "count is 4; expected 1 to 3"),
            (lambda: f1(y, y[:9]), "one label per sample"),
            (lambda: probe_all(lambda task: (X, X), two, two), "train_labels has only one class for task 1"),
            (lambda: probe_all(lambda task: (X, X), two[:, :1], two[:, [0, 0]]), "1 tasks and test_labels 2"),
            (lambda: probe_all(lambda task: (X, X), two[:, :1], two[:, :1], workers=0), "workers is 0"),
            (lambda: probe_all(lambda task: (X, holed), two[:, [0, 0]], two[:, [0, 0]], progress=False),
             "task 0: test holds NaN")):
        with pytest.raises(ValueError, match=message):
            act()


def test_the_papers_logistic_regression_takes_small_steps():
    """One step of Adam moves every weight by the rate, towards the slope; many come to where Newton's method is."""
    X = np.float32([[1, 0], [-1, 0], [2, 0], [-2, 0]] * 10)
    y = X[:, 0] > 0
    assert probing.logistic_by_steps(X, X, y, y, steps=(1,)) == [1.0]
    X, Q = noise(300, 3), noise(200, 3, seed=1)
    labels, true = X[:, 0] + X[:, 1] > 0.5, Q[:, 0] + Q[:, 1] > 0.5
    few, many = probing.logistic_by_steps(X, Q, labels, true, steps=(10, 6000))
    assert many > few and many == pytest.approx(probe_task(X, Q, labels, true, ("logistic",))["logistic"], abs=0.05)
    with pytest.raises(ValueError, match="steps is .*expected numbers of 1 or more"):
        probing.logistic_by_steps(X, Q, labels, true, steps=(0,))
    with pytest.raises(ValueError, match="train holds NaN"):
        probing.logistic_by_steps(np.where(X > 1, np.nan, X), Q, labels, true)
