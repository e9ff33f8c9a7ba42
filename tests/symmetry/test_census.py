"""Living features of a coder, and the census of planted ones."""

import numpy as np
import pytest
import torch

from groupcc_lite.answers import plant
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import dihedral
from groupcc_lite.models import load_model
from groupcc_lite.models.networks import randomise
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.runs import Run
from groupcc_lite.symmetry.block_action import act
from groupcc_lite.symmetry.census import confirmed_census, emergence, living_dictionary, small_census
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


def test_random_weights_against_random_weights_show_no_emergence(tmp_path):
    """The verdict's own null: two networks that nobody trained, by the same census, three seeds of coders each."""
    shares = []
    for number in (0, 1):
        model = load_model("tiny-inception", weights="random")
        randomise(model.network, seed=number)
        # another folder for each: what is cached is filed by the model as it was loaded
        run = Run("smoke", model=model, images=Run("smoke", drawings=60).all_images, work=tmp_path / str(number),
                  steps=20)
        found = []
        for seed in range(3):
            coder = run.coder(seed=seed)
            z = confirmed_census(coder, run.evaluate(coder).frequency, run.orbits("held-out"), draws=5)
            found.append([float(z.established.double().mean()), float(z.confirmed.double().mean())])
        shares.append(np.array(found).T)
    assert not emergence(shares[0][0].tolist(), {"untrained": shares[1][0].tolist()}).holds


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
