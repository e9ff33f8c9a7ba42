"""What symmetry saves: planted orbits of unequal frequency, what is counted as found, crossings, and the layer."""

import numpy as np
import pytest
import torch

from groupcc_lite.coders import BlockSparseAutoencoder, GroupCrosscoder
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.runs import SAVINGS_PROFILES, Run
from groupcc_lite.studies import (
    BROKEN,
    COMPARED,
    LAYER_CODERS,
    SavingsStudy,
    crossing,
    layer_coder,
    predicted_by_allocation,
)
from groupcc_lite.studies.symmetry_savings import (
    PermutedBlocks,
    counted,
    discovered,
    train_coder,
    unevenness,
)
from groupcc_lite.symmetry import act


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return SavingsStudy("smoke", work=tmp_path_factory.mktemp("savings"))


@pytest.mark.parametrize("group", ["D_4", "D_16"])
def test_planted_families_have_all_kinds_of_stabilisers_and_zipf_frequencies(group, tmp_path):
    profile = SAVINGS_PROFILES["book"]
    problem = SavingsStudy(profile, work=tmp_path).problem(group, 0)
    rates = [problem.rates[problem.family == f] for f in problem.family.unique()]
    assert all(bool((rate == rate[0]).all()) for rate in rates)  # within a family no pose is preferred
    first = torch.tensor([rate[0] for rate in rates]).sort(descending=True).values
    ranks = torch.arange(1, len(rates) + 1)
    assert torch.allclose(first / first[0], ranks.float() ** -(1 + profile.alpha))
    orders = {H.order for H in problem.stabiliser}
    assert 1 in orders and problem.group.order in orders  # a whole orbit, and a feature without poses
    for j, H in enumerate(problem.stabiliser):
        moved = torch.stack([act(problem.dictionary[j:j + 1], problem.group, h)[0] for h in range(problem.group.order)])
        same = (moved - problem.dictionary[j]).flatten(1).norm(dim=1) < 1e-3
        assert tuple(same.nonzero().flatten().tolist()) == H.elements
    drawn = (problem.sample(20_000).coefficients > 0).double().mean(0)
    assert torch.allclose(drawn, problem.rates.double(), atol=0.02)


@pytest.mark.parametrize("name", COMPARED)
def test_every_coder_trains_and_is_kept(name, study):
    found = study.found("D_4", name, 8, 0)
    assert 0 <= found.families <= found.features or found.features == 0
    assert found.l0 > 0 and (found.fve is None) == (name in ("SAE", "wide SAE", "block-sparse"))
    again = SavingsStudy("smoke", work=study._cache.work)
    assert again.found("D_4", name, 8, 0) == found


def test_equal_parameters_are_nearly_equal(study):
    size = {name: study.found("D_4", name, 16, 0).parameters for name in COMPARED}
    assert size["tied crosscoder"] == size["tied crosscoder, L1"]
    for name in ("wide SAE", "block-sparse", "crosscoder"):
        assert abs(size[name] / size["tied crosscoder"] - 1) < 0.1
    assert size["orbit SAE"] > 1.6 * size["tied crosscoder"] > 3 * size["SAE"]


def test_the_truth_is_found_and_random_weights_are_not(study):
    problem = study.problem("D_4", 0)
    held_out = problem.source(500, seed=1)
    coder = GroupCrosscoder(problem.group, problem.channels, problem.features, activation="topk", k=4)
    coder.eval()
    assert discovered(coder, problem, held_out).features == 0
    with torch.no_grad():
        coder.W_d.copy_(problem.dictionary)
        coder.W_e.copy_(problem.dictionary[:, 0])
    found = discovered(coder, problem, held_out)
    living = int((coder.encode(held_out.blocks[:, 0]) > 0).any(0).sum())
    assert living <= found.features <= problem.features  # a dead latent finds nothing, but a near one may
    assert found.features > 0.9 * problem.features


def test_blocks_find_features_by_their_span(study):
    problem = study.problem("D_4", 0)
    coder = BlockSparseAutoencoder(problem.channels, 2, size=4, k=2)
    spread = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    large = int((torch.bincount(problem.family) >= 4).nonzero()[0])
    directions = problem.dictionary[problem.family == large][:4, 0]
    with torch.no_grad():
        coder.W_d[:4, 0], coder.W_e[:4] = spread @ directions, directions
    coder.eval()
    assert discovered(coder, problem, problem.source(500, seed=1)).features >= 4


def test_half_of_a_family_counts(study):
    problem = study.problem("D_4", 0)
    members = (problem.family == 0).nonzero().flatten()
    some = torch.zeros(problem.features, dtype=torch.bool)
    some[members[:len(members) // 2]] = True
    assert counted(some, problem) == (len(members) // 2, 1)
    some[members[0]] = False
    assert counted(some, problem)[1] == 0


def test_who_knows_the_group_pays_once(study):
    problem = study.problem("D_4", 0)
    families = int(problem.family.max()) + 1
    assert predicted_by_allocation(problem, families, knows=True) == (problem.features, families)
    assert predicted_by_allocation(problem, families, knows=False)[0] == families < problem.features


def test_three_ways_to_break_symmetry_are_told_apart_by_two_measures(tmp_path):
    whole = SavingsStudy("book", work=tmp_path)
    even = whole.uneven("views", 0.0, 0)
    assert even.linear < 0.05 and abs(even.asymmetry) < 0.05
    views, elements, poses = (whole.uneven(kind, 1.0, 0) for kind in BROKEN)
    assert views.linear > 0.2 and abs(views.asymmetry) < 0.05  # no equivariant network, and symmetric orbits
    assert elements.linear < 0.05 and elements.asymmetry > 0.5  # and the other way round
    assert poses.linear < 0.05 and poses.asymmetry > 0.1


def test_unbroken_is_the_same_for_all_kinds(study):
    assert len({study.broken(kind, 0.0, "crosscoder", 0) for kind in BROKEN}) == 1
    with pytest.raises(ValueError, match="expected one of views, elements, poses"):
        study.broken_problem("colours", 0.5, 0)


def test_a_crossing_by_hand():
    assert crossing([0.0, 1.0, 2.0], np.array([1.0, 0.5, -0.5])) == 1.5
    assert crossing([0.0, 1.0], np.array([1.0, 0.1])) == float("inf")
    assert crossing([0.2, 1.0], np.array([-1.0, 1.0])) == 0.2
    assert crossing([0.0, 1.0, 2.0], np.array([1.0, 0.0, 1.0])) == 1.0


def test_permuted_blocks_keep_every_number_and_no_symmetry(study):
    problem = study.problem("D_4", 0)
    source = problem.source(800)
    permuted = PermutedBlocks(source, 3)
    x, y = source.blocks, torch.cat(list(permuted.in_order()))
    assert torch.equal(x.sort(1).values, y.sort(1).values) and torch.equal(x[:, 0], y[:, 0])
    assert torch.equal(torch.cat(list(permuted.batches(100))).sort(1).values,
                       torch.cat(list(source.batches(100))).sort(1).values)
    before, after = (unevenness(blocks[:400], blocks[400:], problem.group).asymmetry for blocks in (x, y))
    assert after > before + 0.2


def test_unknown_coders_are_refused(study):
    source = TensorOrbits(torch.randn(10, 8, 3), study.problem("D_4", 0).group)
    with pytest.raises(ValueError, match="expected one of SAE"):
        train_coder("transformer", source, 4, 2, steps=1, batch_size=5)


def test_profiles_say_as_much_for_each_group():
    for profile in SAVINGS_PROFILES.values():
        lists = (profile.channels, profile.superpositions, profile.sizes, profile.steps)
        assert {len(one) for one in lists} == {len(profile.groups)}
        assert profile.amounts[0] == profile.few_amounts[0] == 0 and max(profile.amounts) <= 1
        assert min(profile.seeds, profile.broken_seeds, profile.layer_seeds) >= 2  # for intervals


def test_coders_of_a_layer_are_as_large_as_is_said(tmp_path):
    """As many parameters, or as many latents; an untrained network is another network."""
    run = Run("smoke", group="C_4", drawings=12, points_per_image=16, work=tmp_path)
    small = SAVINGS_PROFILES["smoke"]
    found = {name: layer_coder(run, name, small, 0) for name in LAYER_CODERS}
    order, latents = run.group.order, {name: one.latents for name, one in found.items()}
    assert latents["tied crosscoder, few bases"] == latents["crosscoder"] == small.layer_latents
    assert latents["tied crosscoder, an eighth"] == latents["orbit SAE, all poses"] == small.layer_latents // 8 * order
    assert latents["tied crosscoder"] == small.layer_latents * order
    for name in ("orbit SAE", "tied crosscoder"):
        assert found[name].parameters == pytest.approx(found["crosscoder"].parameters, rel=0.35)
    untrained = layer_coder(run.control("untrained"), "orbit SAE", small, 0)
    assert untrained.parameters == found["orbit SAE"].parameters and untrained.fve != found["orbit SAE"].fve
    assert layer_coder(run.control(), "orbit SAE", small, 0) == found["orbit SAE"]
