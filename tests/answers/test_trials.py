"""A study of all methods on a small problem: what it finds is real, kept, and comparable."""

import dataclasses
import json
import math

import pytest
import torch

from groupcc_lite.answers import trials
from groupcc_lite.answers.planted import plant
from groupcc_lite.answers.trials import METHODS, Budget, Trial, run_trial, study, train_method, truncated_fve
from groupcc_lite.groups import dihedral

SMALL = Budget(orbits=2000, held_out=400, steps=300, batch_size=128, lr=5e-3)


@pytest.fixture(scope="module")
def problem():
    return plant(dihedral(2), channels=12, superposition=1.0, active=2.0, seed=3)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_is_scored(method, problem):
    result = run_trial(method, problem, dataclasses.replace(SMALL, steps=60), 0)
    assert json.loads(json.dumps(result)) == result or any(v != v for v in result.values())  # plain numbers
    assert 0 <= result["cosine"] <= 1 and result["parameters"] > 0 and result["l0"] > 0
    single = method in ("SAE", "SAE, all poses", "wide SAE")
    assert (result["fve"] is None) == (result["stabiliser_of_all"] is None) == single


def test_the_crosscoder_finds_what_is_planted_and_random_weights_do_not(problem):
    trained = run_trial("crosscoder, TopK", problem, SMALL, 0)
    untrained = run_trial("crosscoder, TopK", problem, dataclasses.replace(SMALL, steps=1), 0)
    assert trained["cosine"] > 0.9 > 0.7 > untrained["cosine"]
    assert trained["stabiliser_of_all"] > 0.9 > untrained["stabiliser_of_all"]


def test_blocks_fitted_keep_the_autoencoder(problem):
    budget = dataclasses.replace(SMALL, steps=60)
    plain, fitted = (train_method(m, problem, budget, 0) for m in ("SAE", "SAE, blocks fitted"))
    assert torch.equal(plain.W_e, fitted.W_e) and fitted.dictionary.shape == (plain.latents, 4, 12)


def test_the_wide_one_has_as_many_decoder_weights_as_a_crosscoder(problem):
    budget = dataclasses.replace(SMALL, steps=1)
    wide, crosscoder = (train_method(m, problem, budget, 0) for m in ("wide SAE", "crosscoder, TopK"))
    assert wide.W_d.numel() == crosscoder.W_d.numel()


def test_truncated_fve_by_hand(problem):
    """With the truth as decoder and the true coefficients as latents, k strongest of one active feature explain all."""
    class Truth:
        dictionary = problem.dictionary

        def encode(self, x):
            return torch.eye(problem.features)

        def decode(self, f):
            return torch.einsum("bm,mgd->bgd", f, problem.dictionary)

    blocks = problem.dictionary.clone()
    assert truncated_fve(Truth(), blocks, 1) == pytest.approx(1, abs=1e-5)
    assert truncated_fve(Truth(), blocks + problem.dictionary.roll(1, 0), 1) < 0.9


def test_results_are_kept(problem, tmp_path, monkeypatch):
    budget = dataclasses.replace(SMALL, steps=5)
    first = study({"a": problem}, ["crosscoder, TopK"], [0, 1], budget, folder=tmp_path, progress=False)
    assert set(first) == {Trial("a", "crosscoder, TopK", 0), Trial("a", "crosscoder, TopK", 1)}
    monkeypatch.setattr(trials, "run_trial", lambda *a, **k: pytest.fail("computed again"))
    again = study({"another name": problem}, ["crosscoder, TopK"], [0, 1], budget, folder=tmp_path, progress=False)
    assert list(again.values()) == list(first.values())
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        study({"a": dataclasses.replace(problem, noise=0.3)}, ["crosscoder, TopK"], [0], budget, folder=tmp_path,
              progress=False)


def test_seeds_differ_and_repeat(problem):
    budget = dataclasses.replace(SMALL, steps=20)
    one, same, other = (run_trial("crosscoder, TopK", problem, budget, seed) for seed in (0, 0, 1))
    assert one["cosine"] == same["cosine"] != other["cosine"] and not math.isnan(one["cosine"])


def test_seconds_per_step_is_a_difference(problem, monkeypatch):
    """On a clock by which a training takes 3 s and 0.5 s for every step."""
    now = [0.0]
    monkeypatch.setattr(trials.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(trials, "train_method", lambda m, p, b, s: now.append(now.pop() + 3 + b.steps / 2))
    assert trials.seconds_per_step("SAE", problem, SMALL, repeats=2) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="two rising numbers"):
        trials.seconds_per_step("SAE", problem, SMALL, steps=(5, 5))


def test_unknown_method(problem):
    with pytest.raises(ValueError, match="method is 'PCA'; expected one of SAE"):
        train_method("PCA", problem, SMALL, 0)
