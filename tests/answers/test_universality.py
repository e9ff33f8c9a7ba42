"""Counterparts in another network: found where they are planted, up to the group, and not where there are none."""

import pytest
import torch

from groupcc_lite.answers import FeatureResponses, agreement, counterparts, responses, shared, unrelated_counterparts
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import cyclic, dihedral

G = dihedral(4)  # not commutative, so that the side on which elements act matters
IMAGES, POINTS = 40, 3


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def asked(r, labels=None):
    """Responses (images * points + drawings, g, m) as features."""
    count = IMAGES * POINTS
    image = torch.arange(IMAGES).repeat_interleave(POINTS)
    return FeatureResponses(r[:count], r[count:], labels or ["none"] * r.shape[2], image)


@pytest.mark.parametrize("h", range(G.order))
def test_a_moved_feature_is_found_with_the_element_that_moved_it(h):
    a = random(50, G.order, 6)
    b = torch.empty_like(a)
    b[:, torch.as_tensor(G.table[h])] = a  # b[n, hg] = a[n, g]
    found = counterparts(a, b[..., [2, 0, 1, 5, 4, 3]], G)
    assert found.partner.tolist() == [1, 2, 0, 5, 4, 3]
    assert found.element.tolist() == [h] * 6 and torch.allclose(found.correlation, torch.ones(6), atol=1e-5)


def test_acting_from_the_other_side_is_something_else():
    a = random(50, G.order, 6)
    wrong = a[:, torch.as_tensor(G.table[:, 1])]  # a[n, g r]
    assert counterparts(a, wrong, G).correlation.max() < 0.9


def test_correlations_do_not_depend_on_units_and_skip_silent_features():
    a = random(30, 4, 3)
    b = torch.cat([5 * a + 2, torch.zeros(30, 4, 1)], 2)
    found = counterparts(a, b, cyclic(4))
    assert found.partner.tolist() == [0, 1, 2] and torch.allclose(found.correlation, torch.ones(3), atol=1e-5)
    assert counterparts(torch.ones(30, 4, 1), a, cyclic(4)).correlation.isnan().all()


def test_responses_are_the_encoders_own():
    coder = GroupCrosscoder(cyclic(2), 3, 5, seed=1)
    x = random(4, 2, 3) - 0.5
    assert torch.allclose(responses(coder, x, [4, 1])[2, 1], coder.preactivations(x[2, 1][None]).relu()[0, [4, 1]])


def test_no_image_keeps_its_own_responses_in_the_null():
    """Responses that are constant within an image would match perfectly if one image kept its place."""
    r = torch.arange(8.0).repeat_interleave(2)[:, None, None].expand(-1, 4, 1)
    image = torch.arange(8).repeat_interleave(2)
    assert unrelated_counterparts(r, r, cyclic(4), image, draws=20).max() < 0.99
    with pytest.raises(ValueError, match="two pictures or more"):
        unrelated_counterparts(r[:2], r[:2], cyclic(4), image[:2])


def test_planted_features_are_shared_and_others_are_not():
    total = IMAGES * POINTS + 14
    common = random(total, G.order, 20, seed=1)
    ours = torch.cat([common, random(total, G.order, 20, seed=2)], 2)
    moved = torch.empty_like(common)
    moved[:, torch.as_tensor(G.table[3])] = common
    theirs = torch.cat([moved + 0.3 * random(total, G.order, 20, seed=3), random(total, G.order, 30, seed=4)], 2)
    labels = ["mirror"] * 10 + ["none"] * 10
    found = shared(asked(ours, labels + ["none"] * 20), asked(theirs, labels + ["none"] * 30),
                   asked(random(total, G.order, 50, seed=5)), G)
    high = found.found.correlation > found.above.bar
    assert high[:20].all() and high[20:].sum() <= 2
    assert found.drawn > 0.9 > 0.3 > abs(found.drawn_chance) and found.same > 0.9 and found.same_chance < 0.7
    assert found.gain_interval[0] > 0 and found.unrelated < found.found.correlation[:20].min()


def test_a_null_against_itself_gains_nothing():
    total = IMAGES * POINTS + 14
    found = shared(asked(random(total, 4, 30)), asked(random(total, 4, 50, seed=1)),
                   asked(random(total, 4, 50, seed=2)), cyclic(4))
    assert found.above.share < 0.2 and found.gain_interval[0] < 0.02


def test_more_candidates_are_no_advantage():
    total = IMAGES * POINTS + 14
    few, many = random(total, 4, 10, seed=1), random(total, 4, 400, seed=2)
    found = shared(asked(random(total, 4, 30)), asked(many), asked(few), cyclic(4))
    assert int(found.found.partner.max()) < 10  # as many candidates as the null has


def test_errors_say_what_is_wrong(unchecked):
    with pytest.raises(ValueError, match="expected the same points, and 4 elements"):
        counterparts(random(5, 4, 2), random(6, 4, 2), cyclic(4))
    with pytest.raises(ValueError, match="3 and 2 labels"):
        agreement(["a"] * 3, ["b"] * 2)


def test_without_living_features_there_is_one_clear_error():
    some, none = asked(random(IMAGES * POINTS + 14, 4, 3)), asked(random(IMAGES * POINTS + 14, 4, 3)[..., :0], [])
    none = none._replace(label=[])
    with pytest.raises(ValueError, match="3, 3 and 0 living features"):
        shared(some, some, none, cyclic(4))
