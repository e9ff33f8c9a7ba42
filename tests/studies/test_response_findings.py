"""Features compared by what they say and by what they write: planted ones, where both sides are known."""

import numpy as np
import pytest
import torch

from groupcc_lite.answers import standard
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.responses import response_vectors
from groupcc_lite.studies import compare_responses, reads_what_it_writes, response_findings
from groupcc_lite.symmetry import max_cosine


@pytest.fixture(scope="module")
def planted():
    """A coder that reads and writes the features of a planted problem of D_4, and orbits of that problem."""
    problem = standard(group="D_4", channels=32, superposition=1.0, active=2.0)
    coder = GroupCrosscoder(problem.group, problem.channels, problem.features)
    with torch.no_grad():
        coder.W_d.copy_(problem.dictionary)
        coder.W_e.copy_(torch.linalg.pinv(problem.dictionary[:, 0]).T)  # undoes what features overlap
        coder.b_e.fill_(-0.1)
    return problem, coder.eval(), problem.source(600, seed=1)


def test_features_are_compared_by_both_sides(planted):
    problem, coder, orbits = planted
    found = compare_responses(coder, coder, orbits, range(problem.features))
    said = response_vectors(coder, orbits, problem.group)
    torch.testing.assert_close(found.said, said.similarity(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.written, max_cosine(problem.dictionary, problem.group), atol=1e-5, rtol=0)


def test_responses_find_stabilisers_from_the_left_and_fewer_from_the_right(planted):
    """D_4 does not commute: a mirror of a pattern, seen in a turned image, is another mirror from the right."""
    problem, coder, orbits = planted
    found = compare_responses(coder, coder, orbits, range(problem.features))
    assert found.same > 0.95 and found.same_right < found.same - 0.1
    assert 0 < found.same_chance < found.same_right


def test_chance_of_agreement_exchanges_features(planted):
    """Similarities of planted features agree; those of others in their place do not."""
    problem, coder, orbits = planted
    found = compare_responses(coder, coder, orbits, range(problem.features))
    assert found.agreement > 0.5 and abs(found.agreement_chance) < 0.3
    assert found.agreement_right < found.agreement  # relatives by a mirror are not found
    again = compare_responses(coder, coder, orbits, range(problem.features))
    other = compare_responses(coder, coder, orbits, range(problem.features), seed=1)
    assert again.agreement_chance == found.agreement_chance != other.agreement_chance
    assert other.agreement == found.agreement


def test_chance_keeps_who_responds_strongly():
    """Features change places within tenths by strength, and nowhere else."""
    strength = np.random.default_rng(0).random(100)
    order = response_findings._among_alike(strength, 0)
    rank = strength.argsort().argsort() // 10
    assert sorted(order) == list(range(100)) and (rank[order] == rank).all() and (order != np.arange(100)).any()
    a = torch.rand(100, 100, generator=torch.Generator().manual_seed(0))
    assert response_findings._rank_correlation(a, a) == pytest.approx(1)
    assert abs(response_findings._rank_correlation(a[order][:, order], a)) < 0.1


def test_features_that_never_respond_agree_with_nobody(planted):
    problem, coder, _ = planted
    silent = TensorOrbits(torch.zeros(20, problem.group.order, problem.channels), problem.group)
    found = compare_responses(coder, coder, silent, range(4))
    assert found.same == found.same_right == 0


def test_a_latent_is_read_by_what_it_writes(planted):
    _, coder, _ = planted
    other = reads_what_it_writes(coder)
    x = torch.randn(5, coder.channels)
    wanted = (x * coder.scale - coder.b) @ torch.nn.functional.normalize(coder.W_d[:, 0], dim=1).T
    torch.testing.assert_close(other.preactivations(x), wanted, atol=1e-5, rtol=1e-4)
    assert not torch.equal(other.W_e, coder.W_e)  # the coder itself is as it was
