"""Living features of a coder, and the census of planted ones."""

import numpy as np
import pytest
import torch

from groupcc_lite.answers import plant
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import load_model
from groupcc_lite.models.networks import randomise
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.runs import Run
from groupcc_lite.symmetry.block_action import act
from groupcc_lite.symmetry.census import confirmed_census, emergence, excess, living_dictionary, small_census
from groupcc_lite.symmetry.nulls import surrogate
from groupcc_lite.symmetry.similarity import self_similarity
from groupcc_lite.symmetry.spectra import irrep_power
from groupcc_lite.symmetry.stabiliser import stabilisers

G = dihedral(4)


def test_latents_that_never_fire_are_left_out():
    coder = GroupCrosscoder(G, 3, 5)
    D, features = living_dictionary(coder, np.array([0.0, 0.5, 0.0, 1e-9, 1.0]))
    assert features.tolist() == [1, 3, 4] and D.shape == (3, 8, 3) and not D.requires_grad
    assert torch.equal(D, coder.dictionary[[1, 3, 4]])


def test_frequencies_of_another_coder_are_refused():
    with pytest.raises(ValueError, match=r"frequency has shape \(4,\); expected \(5,\)"):
        living_dictionary(GroupCrosscoder(G, 3, 5), np.ones(4))


def test_a_census_counts_planted_symmetries():
    base = torch.randn(4, 8, 20, generator=torch.Generator().manual_seed(0))
    invariant = torch.stack([act(base[:2], G, h) for h in range(8)]).mean(0)
    halfturn = (base[2:3] + act(base[2:3], G, 2)) / 2
    D = torch.cat([invariant, halfturn, base[3:]])
    census = small_census(D, G)
    assert census.counts == {"all": 2, "half turn": 1, "none": 1}
    assert census.stabilisers == stabilisers(D, G)
    assert torch.equal(census.power, irrep_power(D, G))
    assert small_census(D[2:3], G, tau=0.7).counts != small_census(base[2:3], G, tau=0.7).counts


# ------------------------------------------------------------------------------------- what a count is worth

def coder_of(directions: torch.Tensor, dictionary: torch.Tensor) -> GroupCrosscoder:
    coder = GroupCrosscoder(dihedral(8), dictionary.shape[2], len(dictionary), seed=0)
    with torch.no_grad():
        coder.W_e.copy_(directions)
        coder.b_e.zero_()
        coder.b.zero_()
        coder.dictionary.copy_(dictionary)
    return coder


@pytest.fixture(scope="module")
def planted():
    """Features of D_8 whose encoder and decoder have the same symmetry, and orbits on which they are seen."""
    problem = plant(dihedral(8), channels=32, superposition=2.0, seed=1)
    z = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
    return problem, TensorOrbits(torch.einsum("gab,zb->zga", problem.maps, z), problem.group)


def test_planted_features_are_labelled_supported_and_confirmed(planted):
    problem, orbits = planted
    census = confirmed_census(coder_of(problem.directions, problem.dictionary), np.ones(problem.features), orbits)
    true = torch.tensor([1 < H.order < 16 for H in problem.stabiliser])
    whole = torch.tensor([H.order == 16 for H in problem.stabiliser])
    mirrors = torch.tensor([any(h >= 8 for h in H.elements) and H.order < 16 for H in problem.stabiliser])
    assert torch.equal(census.partly, true) and torch.equal(census.invariant, whole)
    assert (census.confirmed & true).sum() > 0.9 * true.sum() and not (census.confirmed & ~true).any()
    assert not census.established[~mirrors].any()  # rotations alone cannot be supported
    assert not (census.established & ~census.supported_partly).any()
    assert census.witness.count == int(census.confirmed.sum()) and census.witness.rate < 0.7
    assert torch.allclose(census.trivial, torch.tensor([s.trivial for s in census.labels]), atol=1e-4)


def test_encoders_of_other_features_confirm_little(planted):
    """The same decoder with the encoders of other features: labels and support stay, confirmation goes."""
    problem, orbits = planted
    ones = np.ones(problem.features)
    right = confirmed_census(coder_of(problem.directions, problem.dictionary), ones, orbits)
    wrong = confirmed_census(coder_of(problem.directions.roll(11, 0), problem.dictionary), ones, orbits)
    assert [s.subgroup for s in wrong.labels] == [s.subgroup for s in right.labels]
    assert torch.equal(wrong.supported_partly, right.supported_partly)
    assert wrong.confirmed.sum() < 0.5 * right.confirmed.sum()


def test_only_living_features_count(planted):
    problem, orbits = planted
    frequency = (np.arange(problem.features) % 3 == 0).astype(float)
    census = confirmed_census(coder_of(problem.directions, problem.dictionary), frequency, orbits, draws=2)
    assert census.features.tolist() == list(range(0, problem.features, 3))
    assert len(census.labels) == len(census.encoder) == len(census.features)
    with pytest.raises(ValueError, match="no latent ever fires"):
        confirmed_census(coder_of(problem.directions, problem.dictionary), 0 * frequency, orbits)


def test_what_cannot_be_tested_is_left_out_of_the_excess_on_request():
    """Exact half turns are in every surrogate of D_8, and everything is in those of C_8."""
    D8, C8, generator = dihedral(8), cyclic(8), torch.Generator().manual_seed(0)
    f, g = torch.randn(60, 16, 30, generator=generator), torch.randn(20, 8, 30, generator=generator)
    turns, mirrors = (self_similarity(f + act(f, D8, h), D8) for h in (4, 9))
    assert excess(turns, D8) == (60, 60.0, 60) and excess(turns, D8, tested=True) == (0, 0.0, 60)
    every, some = (excess(torch.cat([turns, mirrors]), D8, tested=tested) for tested in (False, True))
    assert every.count == 120 and some.count == 60 and 0 < some.surrogate <= every.surrogate - 60
    cyclic_turns = self_similarity(g + act(g, C8, 4), C8)
    assert excess(cyclic_turns, C8).count == 20 and excess(cyclic_turns, C8, tested=True) == (0, 0.0, 20)


D16 = dihedral(16)


def leaning(m, seed):
    """Profiles of features that lean to the mirror s r: every sixth surrogate has a label as well."""
    f = torch.randn(m, 32, 20, generator=torch.Generator().manual_seed(seed))
    return self_similarity(f + 0.4 * act(f, D16, 17), D16)


def population(seed, symmetric, m=60):
    """Profiles of one simulated coder: so many features with that mirror, the others with axes that do not agree."""
    c = leaning(m, seed)
    return torch.cat([c[:symmetric], surrogate(c[symmetric:], D16, seed=seed)])


@pytest.fixture(scope="module")
def simulated():
    """Excess in coders of three kinds, 60 of each."""
    return {symmetric: [excess(population(1000 * symmetric + k, symmetric), D16, draws=3, seed=1000 * k)
                        for k in range(60)] for symmetric in (0, 6, 24)}


def verdicts(first, second, controls=1, repeats=2000):
    """How often three coders of the first kind are said to have more than three of each control."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(repeats):
        drawn = rng.permutation(len(first))[:3 * (1 + controls)].reshape(-1, 3)
        held += emergence([first[k].share for k in drawn[0]],
                          {str(c): [second[k].share for k in row] for c, row in enumerate(drawn[1:])}).holds
    return held / repeats


def test_excess_is_what_is_planted(simulated):
    """All features that lean have a label, and of their surrogates a sixth; the others as many as their surrogates."""
    for symmetric, found in simulated.items():
        assert all(x.count > 0 and x.surrogate > 0 and x.features == 60 for x in found)  # no constant zero
        shares = np.array([x.share for x in found])
        assert shares.std() > 0.02 and shares.mean() == pytest.approx(symmetric / 60 * 5 / 6, abs=0.03)
    with pytest.raises(ValueError, match="draws is 0"):
        excess(torch.eye(32)[:1], D16, draws=0)
    assert np.isnan(excess(torch.ones(0, 32), D16, draws=1).share)


@pytest.mark.parametrize("symmetric", [0, 6, 24])
def test_equal_populations_show_emergence_one_time_in_twenty_at_most(simulated, symmetric):
    found = simulated[symmetric]
    assert 0.005 < verdicts(found, found) < 0.05  # 0.025 for normal shares
    assert verdicts(found, found, controls=2) < 0.03


def test_more_symmetry_is_mostly_seen_and_less_never(simulated):
    assert verdicts(simulated[24], simulated[6]) > 0.6  # three coders are few
    assert verdicts(simulated[6], simulated[24]) == 0


def test_random_weights_against_random_weights_show_no_emergence(tmp_path):
    """Two real networks that nobody trained, by the same census, three seeds of coders each."""
    shares, excesses = [], []
    for number in (0, 1):
        model = load_model("tiny-inception", weights="random")
        randomise(model.network, seed=number)
        # another folder for each: what is cached is filed by the model as it was loaded
        run = Run("smoke", model=model, images=Run("smoke", drawings=60).all_images, work=tmp_path / str(number),
                  steps=120)
        found = []
        for seed in range(3):
            coder = run.coder(seed=seed)
            D, _ = living_dictionary(coder, run.evaluate(coder).frequency)
            found.append(excess(self_similarity(D, run.group), run.group, draws=5, seed=seed))
        excesses.append(found)
        shares.append([x.share for x in found])
    assert all(x.count > 0 and x.surrogate > 0 for found in excesses for x in found)
    assert len({share for found in shares for share in found}) > 3
    assert not emergence(shares[0], {"untrained": shares[1]}).holds
    assert not emergence(shares[1], {"untrained": shares[0]}).holds


def test_emergence_asks_for_more_than_every_control():
    trained, low, same = [0.30, 0.33, 0.31], [0.1, 0.12, 0.1], [0.31, 0.30, 0.33]
    assert emergence(trained, {"untrained": low, "patches": low}).holds
    assert not emergence(trained, {"untrained": low, "patches": same}).holds
    assert not emergence(low, {"untrained": trained}).holds
    assert not emergence([0.2, 0.2], {"untrained": [0.1, 0.1]}).holds  # no spread measured
    found = emergence([0.2, 0.4], {"untrained": [0.1, 0.1]})
    assert found.difference["untrained"] == pytest.approx(0.2)
    assert found.interval["untrained"] == pytest.approx((0.2 - 12.706 * 0.1, 0.2 + 12.706 * 0.1), abs=1e-3)
    with pytest.raises(ValueError, match="1 seeds against"):
        emergence([0.1], {"untrained": [0.1]})
    with pytest.raises(ValueError, match=r"3 seeds against \[2\]"):
        emergence(trained, {"untrained": low[:2]})
