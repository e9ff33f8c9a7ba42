"""A study of all methods on a small problem: what it finds is real, kept, and comparable."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from groupcc_lite.answers import trials
from groupcc_lite.answers.planted import plant
from groupcc_lite.answers.scoring import score, score_spans
from groupcc_lite.answers.trials import (
    METHODS,
    SINGLE,
    Budget,
    Study,
    Trial,
    run_trial,
    share_of_advantage,
    study,
    train_method,
    training_cost,
    truncated_fve,
)
from groupcc_lite.coders.crosscoder import SPARSE
from groupcc_lite.groups import dihedral
from groupcc_lite.studies import answer_studies

SMALL = Budget(orbits=2000, held_out=400, steps=300, batch_size=128, lr=5e-3)


@pytest.fixture(scope="module")
def problem():
    return plant(dihedral(2), channels=12, superposition=1.0, active=2.0, seed=3)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_is_scored(method, problem):
    result = run_trial(method, problem, dataclasses.replace(SMALL, steps=60), 0)
    undefined = {name for name, value in result.items() if isinstance(value, float) and math.isnan(value)}
    assert undefined <= {"ari", "stabiliser"}  # of nothing, if nothing was recovered
    assert all(value is None or type(value) in (int, float) for value in result.values())
    assert 0 <= result["cosine"] <= 1 and result["parameters"] > 0 and result["l0"] > 0
    single = method in SINGLE
    assert (result["fve"] is None) == single
    assert (result["stabiliser_of_all"] is None) == (single and method != "SAE, response vectors")


def test_responses_judge_the_same_dictionary_by_other_means(problem):
    """The SAE itself is the same, so is what it has found; symmetry comes from responses. It is no part of the answer
    key's own studies, whose results are older than it."""
    plain, heard = (run_trial(method, problem, dataclasses.replace(SMALL, steps=200), 0)
                    for method in ("SAE", "SAE, response vectors"))
    same = ("cosine", "recovered", "fve_first", "l0", "dead", "parameters")
    assert [plain[key] for key in same] == [heard[key] for key in same]
    assert plain["stabiliser_of_all"] is None and heard["stabiliser_of_all"] > 0
    assert not any("response" in method for plan in answer_studies("smoke").values() for method in plan.methods)


def test_only_the_method_of_responses_reads_responses(problem, monkeypatch):
    """All others give what they gave before it was there: scores of their dictionaries, and of nothing else."""
    budget = dataclasses.replace(SMALL, steps=5)
    with monkeypatch.context() as patch:
        patch.setattr(trials, "response_vectors", lambda *a, **k: pytest.fail("responses were read"))
        for method in METHODS:
            if method == "block-sparse SAE":
                continue  # it is scored by spans, see below
            if method == "SAE, response vectors":
                with pytest.raises(pytest.fail.Exception, match="responses were read"):
                    run_trial(method, problem, budget, 0)
                continue
            result = run_trial(method, problem, budget, 0)
            dictionary = train_method(method, problem, budget, 0).dictionary.detach()
            plain = score(dictionary[dictionary.flatten(1).norm(dim=1) > 1e-6], problem)
            for name in ("cosine", "recovered", "stabiliser", "stabiliser_of_all", "ari"):
                assert result[name] == pytest.approx(getattr(plain, name), nan_ok=True), (method, name)


def test_block_sparse_coders_are_scored_by_the_spans_of_their_blocks(problem):
    """And are no part of the answer key's own studies, whose results are older."""
    budget = dataclasses.replace(SMALL, steps=200)
    result, coder = (make("block-sparse SAE", problem, budget, 0) for make in (run_trial, train_method))
    spans = score_spans(coder.dictionary[:, 0].unflatten(0, (coder.blocks, coder.size)), problem)
    assert (result["cosine"], result["recovered"]) == pytest.approx((spans.cosine, spans.recovered))
    assert result["stabiliser"] is None is result["fve"] and 0 < result["fve_equal"] <= result["fve_first"] + 1e-6
    assert result["l0"] == coder.k * coder.size == 8  # two blocks of four
    drawn = torch.randn(coder.blocks, coder.size, 12, generator=torch.Generator().manual_seed(0))
    assert spans.recovered > score_spans(drawn, problem).recovered + 0.2  # a third of the space holds much by chance
    assert not any("block" in method for plan in answer_studies("smoke").values() for method in plan.methods
                   if not method.endswith("blocks fitted"))


def test_response_vectors_of_a_trained_autoencoder_find_families(problem):
    """After training most stabilisers and families are read from them; before it, hardly any."""
    heard, before = (run_trial("SAE, response vectors", problem, dataclasses.replace(SMALL, steps=steps), 0)
                     for steps in (500, 1))
    assert heard["recovered"] > 0.5 and heard["stabiliser"] > 0.5 and heard["ari"] > 0.5
    assert before["stabiliser_of_all"] < heard["stabiliser_of_all"]
    assert (heard["fve"], training_cost("SAE", problem, SMALL)) == (
        None, training_cost("SAE, response vectors", problem, SMALL))


def test_keys_of_the_answer_keys_studies_hold_no_response_vectors():
    """In any profile: neither in their methods nor in the trials that are filed."""
    for profile in ("smoke", "book"):
        for plan in answer_studies(profile).values():
            assert not any("response" in trial.method for trial in plan.trials)
    assert "SAE, response vectors" in METHODS and set(SINGLE) < set(METHODS)


def test_scores_of_nothing_are_nan_and_kept_in_valid_json(problem, tmp_path):
    """After one step nothing is recovered, so there are no families to compare."""
    methods = ("SAE", "crosscoder, TopK")
    for _ in ("made", "read"):
        single, whole = study({"a": problem}, methods, [0], dataclasses.replace(SMALL, steps=1), folder=tmp_path,
                              progress=False).values()
        assert whole["recovered"] == single["recovered"] == 0 and whole["stabiliser_of_all"] is not None
        assert math.isnan(whole["ari"]) and math.isnan(whole["stabiliser"]) and math.isnan(single["ari"])
        assert single["stabiliser"] is None is single["stabiliser_of_all"]  # single blocks have none
    files = list(tmp_path.rglob("scores.json"))
    assert len(files) == 2 and all(json.loads(path.read_text(), parse_constant=pytest.fail) for path in files)


def test_the_crosscoder_finds_what_is_planted_and_random_weights_do_not(problem):
    trained = run_trial("crosscoder, TopK", problem, SMALL, 0)
    untrained = run_trial("crosscoder, TopK", problem, dataclasses.replace(SMALL, steps=1), 0)
    assert trained["cosine"] > 0.9 > 0.7 > untrained["cosine"]
    assert trained["stabiliser_of_all"] > 0.9 > untrained["stabiliser_of_all"]


def test_blocks_fitted_keep_the_autoencoder(problem):
    budget = dataclasses.replace(SMALL, steps=60)
    plain, fitted = (train_method(m, problem, budget, 0) for m in ("SAE", "SAE, blocks fitted"))
    assert torch.equal(plain.W_e, fitted.W_e) and fitted.dictionary.shape == (plain.latents, 4, 12)


def test_blocks_are_fitted_to_an_autoencoder_of_all_poses(problem):
    """Its encoder is that of "SAE, all poses", which has seen transformed blocks: another one than the plain SAE's."""
    budget = dataclasses.replace(SMALL, steps=60)
    poses, fitted, plain = (train_method(m, problem, budget, 0) for m in (
        "SAE, all poses", "SAE, all poses, blocks fitted", "SAE, blocks fitted"))
    assert torch.equal(poses.W_e, fitted.W_e) and not torch.equal(fitted.W_e, plain.W_e)
    assert fitted.dictionary.shape == (poses.latents, 4, 12)
    cost = {m: training_cost(m, problem, SMALL) for m in ("SAE, all poses", "SAE, all poses, blocks fitted")}
    assert [c.orbits for c in cost.values()] == [SMALL.steps * 32] * 2


def test_unequal_frequencies_are_in_the_key_of_a_trial():
    alike, unequal = (plant(dihedral(2), channels=12, superposition=1.0, active=1.0, zipf=z) for z in (0.0, 1.0))
    assert torch.equal(alike.dictionary, unequal.dictionary)
    assert trials.trial_artefact("SAE", alike, SMALL, 0).key != trials.trial_artefact("SAE", unequal, SMALL, 0).key


def test_the_wide_one_has_as_many_decoder_weights_as_a_crosscoder(problem):
    budget = dataclasses.replace(SMALL, steps=1)
    wide, crosscoder = (train_method(m, problem, budget, 0) for m in ("wide SAE", "crosscoder, TopK"))
    assert wide.W_d.numel() == crosscoder.W_d.numel()


def test_truncated_fve_by_hand(problem):
    """With the truth as decoder and the true coefficients as latents, k strongest of one active feature explain all."""
    class Truth:
        dictionary, device = problem.dictionary, torch.device("cpu")

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


def test_a_problem_can_be_made_for_each_seed(problem, tmp_path):
    """Then the spread over seeds is one over problems as well."""
    made = []

    def make(seed):
        made.append(plant(dihedral(2), channels=12, superposition=1.0, active=2.0, seed=seed))
        return made[-1]

    budget, methods = dataclasses.replace(SMALL, steps=5), ["SAE", "crosscoder, TopK"]
    found = study({"own": make}, methods, [3, 4], budget, folder=tmp_path, progress=False)
    assert [p.seed for p in made] == [3, 4] and len(found) == 4  # one problem for both methods
    assert not torch.equal(made[0].dictionary, made[1].dictionary)
    fixed = study({"fixed": problem}, methods, [3, 4], budget, folder=tmp_path, progress=False)
    for method in methods:  # `problem` is the one of seed 3
        assert found[Trial("own", method, 3)] == fixed[Trial("fixed", method, 3)]
        assert found[Trial("own", method, 4)] != fixed[Trial("fixed", method, 4)]
    assert set(Study({"own": make}, methods, [3, 4], budget).keys()) == set(found)


def test_seeds_differ_and_repeat(problem):
    budget = dataclasses.replace(SMALL, steps=20)
    one, same, other = (run_trial("crosscoder, TopK", problem, budget, seed) for seed in (0, 0, 1))
    assert one["cosine"] == same["cosine"] != other["cosine"] and not math.isnan(one["cosine"])


def test_seconds_per_step_is_a_difference(problem, monkeypatch):
    """On a clock by which a training takes 3 s and 0.5 s for every step."""
    now = [0.0]
    monkeypatch.setattr(trials.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(trials, "train_method", lambda m, p, b, s, device: now.append(now.pop() + 3 + b.steps / 2))
    assert trials.seconds_per_step("SAE", problem, SMALL, repeats=2) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="two rising numbers"):
        trials.seconds_per_step("SAE", problem, SMALL, steps=(5, 5))


@pytest.mark.parametrize("method, orbits, blocks, weights", [
    ("SAE", 128, 128, 2), ("SAE, all poses", 32, 128, 2), ("wide SAE", 32, 128, 2 * 4),
    ("crosscoder, TopK", 128, 512, 5)])
def test_the_cost_of_a_training_by_hand(problem, method, orbits, blocks, weights):
    """Every weight takes part in one multiplication and one addition forwards, for every sample, and in two of each
    backwards. Weights are counted in latents x channels: one block read, one block or four written."""
    found = training_cost(method, problem, dataclasses.replace(SMALL, steps=10))
    assert (found.steps, found.orbits, found.blocks) == (10, 10 * orbits, 10 * blocks)
    latents, samples = 2 * problem.features, 10 * 128
    assert found.flops == 6 * weights * latents * 12 * samples


def test_fits_of_blocks_read_all_orbits_once_more(problem):
    plain, fitted = (training_cost(m, problem, SMALL) for m in ("SAE", "SAE, blocks fitted"))
    assert fitted.blocks == plain.blocks + SMALL.orbits * 4 and fitted.flops == plain.flops


@pytest.mark.parametrize("method, written, wider", [("SAE", 1, 1), ("wide SAE", 1, 4), ("crosscoder, TopK", 4, 1)])
def test_the_cost_of_few_of_many_latents_by_hand(problem, method, written, wider):
    """All latents are read, forwards only; the one that fires is read and written as in the test above."""
    budget = dataclasses.replace(SMALL, steps=10, k_per_active=0.5, latents_per_feature=16.0)
    latents = round(16 * problem.features) * wider
    assert latents >= SPARSE  # with k = 1
    found = training_cost(method, problem, budget)
    assert found.flops == 10 * 128 * 12 * (2 * latents + 6 * (1 + written))


def test_equal_steps_are_no_equal_cost(problem):
    cost = {method: training_cost(method, problem, SMALL) for method in METHODS}
    assert len({c.steps for c in cost.values()}) == 1
    assert cost["wide SAE"].flops == 4 * cost["SAE"].flops > cost["crosscoder, TopK"].flops > 2 * cost["SAE"].flops


def test_a_share_of_an_advantage_by_hand():
    found = share_of_advantage([3.0, 5.0], below=[0.0, 2.0], above=[5.0, 7.0])
    assert found.share == pytest.approx(3 / 5) and found.spread == pytest.approx(0, abs=1e-12)  # both seeds say so
    found = share_of_advantage([1.0, 3.0], below=[0.0, 0.0], above=[4.0, 4.0])
    assert found.share == 0.5  # without one seed: 3/4, 1/4, whose standard error is half their distance
    assert found.spread == pytest.approx(0.25) and str(found) == "50% ± 25%"


def test_a_share_is_known_badly_where_the_lead_is_small():
    between, below = np.array([0.52, 0.58, 0.55, 0.61]), np.array([0.5, 0.51, 0.49, 0.5])
    near, far = (share_of_advantage(between, below, below + lead) for lead in (0.1, 1.0))
    assert near.spread > 5 * far.spread > 0


def test_shares_of_nothing_and_of_one_seed():
    single = share_of_advantage([0.75], below=[0.5], above=[1.0])
    assert single.share == 0.5 and math.isnan(single.spread) and str(single) == "50%"
    assert math.isnan(share_of_advantage([1.0, 1.0], below=[2.0, 2.0], above=[2.0, 2.0]).share)
    with pytest.raises(ValueError, match="one number for each seed"):
        share_of_advantage([1.0], below=[0.5, 0.5], above=[1.0, 1.0])


def test_unknown_method(problem):
    with pytest.raises(ValueError, match="method is 'PCA'; expected one of SAE"):
        train_method("PCA", problem, SMALL, 0)
