"""Scores mean what they say, and the threshold is where the errors are fewest."""

import math

import numpy as np
import pytest
import torch

from groupcc_lite.answers.planted import Planted, Problem, plant, standard
from groupcc_lite.answers.scoring import Readable, calibrate_tau, disturbed, readable, score, score_spans
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.responses import ResponseVectors
from groupcc_lite.symmetry import TAU


@pytest.fixture(scope="module")
def benchmark() -> Planted:
    return standard()


@pytest.fixture(scope="module")
def small() -> Planted:
    return plant(dihedral(4), channels=24, active=3.0, seed=5)


def test_the_truth_scores_perfectly_in_any_order_and_size(small):
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(small.features, generator=generator)
    sizes = 0.1 + torch.rand(small.features, generator=generator) * 5
    spare = torch.randn(7, 8, 24, generator=generator)
    D = torch.cat([spare, (small.dictionary * sizes[:, None, None])[order]])
    s = score(D, small)
    assert s[:5] == pytest.approx((1, 1, 1, 1, 1))
    assert torch.equal(s.partner[order], 7 + torch.arange(small.features))
    assert s.cosines.tolist() == pytest.approx([1] * small.features, abs=1e-5)


def test_negative_control_random_vectors_score_next_to_nothing(benchmark):
    D = torch.randn(256, 32, 64, generator=torch.Generator().manual_seed(1))
    s = score(D, benchmark)
    assert s.cosine < 0.1 and s.recovered == 0 and math.isnan(s.stabiliser) and math.isnan(s.ari)
    free = np.mean([H.order == 1 for H in benchmark.stabiliser])
    assert s.stabiliser_of_all == pytest.approx(free)  # only those without symmetry, and by chance
    assert score(-benchmark.dictionary, benchmark).cosine < 0.7  # a negative feature is another feature


def test_a_missing_family_is_missed(small):
    largest = int(torch.bincount(small.family).argmax())
    kept = small.family != largest
    s = score(small.dictionary[kept], small)
    assert (s.recovered, s.cosine, s.stabiliser_of_all) == pytest.approx([float(kept.float().mean())] * 3)
    assert s.stabiliser == 1 and s.ari == pytest.approx(1)
    assert torch.equal(s.partner >= 0, kept) and (s.cosines[~kept] == 0).all()
    zeros = torch.where(kept[:, None, None], small.dictionary, 0.0)  # dead latents are nobody's partners
    again = score(zeros, small)
    assert again[:5] == pytest.approx(s[:5]) and torch.equal(again.partner >= 0, kept)
    assert score(torch.zeros(3, 8, 24), small)[:2] == (0, 0)


def test_wrong_stabilisers_are_counted(small):
    """Blocks of some features are shuffled slightly: cosine stays above 0.9, the symmetry goes."""
    j = next(j for j, H in enumerate(small.stabiliser) if H.order == 8)
    D = small.dictionary.clone()
    D[j, 1:] = D[j, 1:] * torch.linspace(1, -0.2, 7)[:, None]
    s = score(D, small, recovered=0.3, tau=0.9)
    assert s.stabiliser == s.stabiliser_of_all == pytest.approx(1 - 1 / small.features)


def test_families_by_hand():
    """Three families of C_2 with two members each, seen as {1, 1, 2, 2, 3, 3} against {1, 1, 2, 2, 2, 2}.

    Of 15 pairs 3 are together in the truth, 1 + 6 = 7 in the clusters, 3 in both; by chance 3 x 7 / 15 = 1.4 would be,
    at best (3 + 7) / 2 = 5. So the adjusted Rand index is (3 - 1.4) / (5 - 1.4) = 4 / 9.
    """
    G = cyclic(2)
    p = plant(G, channels=40, families=[("none", 3)], active=1.0)
    assert p.family.tolist() == [0, 0, 1, 1, 2, 2] and score(p.dictionary, p).ari == pytest.approx(1)
    D = p.dictionary.clone()
    D[4:] = 0.45 * D[4:] + 0.55 * D[2:4]  # the third family leans towards the second
    assert score(D, p, recovered=0.3).ari == pytest.approx(4 / 9)
    assert score(D, p, recovered=0.3, similar=0.999).ari == pytest.approx(1)


def test_single_blocks_have_no_symmetry_and_no_families(benchmark):
    s = score(benchmark.dictionary[:, :1], benchmark)
    assert s.cosine == pytest.approx(1) and s.recovered == 1 and s.stabiliser is s.stabiliser_of_all is None
    assert s.ari < 0.05  # an SAE's cosine does not know which features are the same, turned
    assert score(disturbed(benchmark, 0.92), benchmark).ari > 0.99


# ------------------------------------------------------------------------------------------------ calibration

@pytest.mark.parametrize("equivariant", [False, True])
@pytest.mark.parametrize("cosine", [0.5, 0.95, 1.0])
def test_disturbed_has_the_stated_cosine(small, cosine, equivariant):
    D = disturbed(small, cosine, equivariant=equivariant, seed=1)
    found = torch.cosine_similarity(D.flatten(1), small.dictionary.flatten(1))
    assert found.tolist() == pytest.approx([cosine] * small.features, abs=1e-5)
    carried = torch.einsum("gab,mb->mga", small.maps, D[:, 0])
    assert torch.allclose(carried, D, atol=1e-5) == (equivariant or cosine == 1)


def test_calibration_finds_the_gap_between_both_kinds_of_error(small):
    """Inside a stabiliser centred cosines are about 0.95^2 less a little, outside far below."""
    taus = np.linspace(0.1, 0.98, 23)
    result = calibrate_tau([(disturbed(small, 0.95, equivariant=e), small) for e in (False, True)], taus)
    assert 0.4 < result.tau < 0.9 and result.best[0] <= result.tau <= result.best[1]
    assert result.errors.shape == (2, 23) and np.array_equal(result.taus, taus)
    mean = result.errors.mean(0)
    assert mean[(taus >= result.best[0]) & (taus <= result.best[1])].max() < 0.02
    assert mean[0] > mean.min() and mean[-1] > 0.3  # too low: accidents are symmetric; too high: nothing is
    at_tau = 1 - score(disturbed(small, 0.95), small, tau=result.tau).stabiliser
    assert at_tau == pytest.approx(result.errors[0, np.abs(taus - result.tau).argmin()], abs=0.02)


def test_what_can_be_read_from_badly_learnt_features():
    """The curve that shows what is possible, at its ends. Errors in single blocks average out over a large group, an
    error that all blocks share does not: at cosine 0.7 no threshold reads 95 % of such stabilisers."""
    p = standard(0, group="D_16")
    blocks, shared = (readable(disturbed(p, 0.7, equivariant=e, seed=3), p) for e in (False, True))
    assert blocks.best > 0.95 and 0.6 < shared.best < 0.9
    assert shared.right < 0.75 and blocks.right > 0.75
    for e in (False, True):
        well = readable(disturbed(p, 0.9, equivariant=e, seed=3), p)
        assert well.right > 0.95 and well.best >= well.right and 0.1 <= well.best_tau <= 0.9


@pytest.mark.parametrize("group", ["D_4", "D_8", "D_16", "C_6"])
def test_centring_makes_one_threshold_do_whatever_the_invariant_part(group):
    """Without centring the right threshold depends on it: at cosine 0.8 0.7 is far too high without such a part."""
    p = standard(1, group=group)
    without, with_it = (readable(disturbed(p, 0.8, invariant=share), p) for share in (0.0, 0.45))
    assert abs(without.right - with_it.right) < 0.12 and without.right > 0.8
    assert with_it.uncentred - without.uncentred > 0.3


def test_readable_agrees_with_score_and_knows_its_input(small):
    for cosine in (0.7, 0.95):
        D = disturbed(small, cosine, seed=2)
        assert readable(D, small).right == pytest.approx(1 - np.mean(
            calibrate_tau([(D, small)], [TAU]).errors)), cosine
    one = readable(small.dictionary, small, taus=[0.5])
    assert one == Readable(1.0, 1.0, 0.5, 1.0, (1.0,))
    with pytest.raises(ValueError, match="expected the truth's"):
        readable(small.dictionary[:3], small)


def test_the_invariant_part_has_the_stated_share(small):
    D = disturbed(small, 0.9, invariant=0.3, seed=1)
    same = D.mean(1, keepdim=True).expand_as(D).flatten(1).norm(dim=1)**2
    free = torch.tensor([H.order == 1 for H in small.stabiliser])
    assert float(same[free].mean()) == pytest.approx(0.3 + 0.7 / 8, abs=0.12)
    assert torch.equal(disturbed(small, 0.9, invariant=0.0, seed=1), disturbed(small, 0.9, seed=1))
    with pytest.raises(ValueError, match="invariant is 1.0"):
        disturbed(small, 0.9, invariant=1.0)


def test_the_librarys_threshold_is_right_for_features_that_are_learnt_well():
    for group in ("C_6", "D_8"):
        p = standard(group=group, seed=1)
        for cosine in (0.95, 0.99):
            assert score(disturbed(p, cosine, equivariant=True), p, tau=TAU).stabiliser_of_all >= 0.98


# --------------------------------------------------------------------------------------------------- bad input

def test_bad_dictionaries(small, unchecked):
    for shape in ((4, 8, 23), (4, 2, 24), (0, 8, 24), (4, 192)):
        with pytest.raises(ValueError, match=r"expected \(latents, 8 or 1, 24\) for D_4"):
            score(torch.ones(shape), small)
    with pytest.raises(ValueError, match="NaN or infinite"):
        score(small.dictionary * float("nan"), small)
    with pytest.raises(ValueError, match="tau is 1"):
        score(small.dictionary, small, tau=1)


def test_bad_calls(small):
    with pytest.raises(ValueError, match="cosine is 1.2"):
        disturbed(small, 1.2)
    with pytest.raises(ValueError, match="0 cases"):
        calibrate_tau([])
    with pytest.raises(ValueError, match="rising"):
        calibrate_tau([(small.dictionary, small)], [0.9, 0.5])
    with pytest.raises(ValueError, match="1 blocks"):
        calibrate_tau([(small.dictionary[:, :1], small)])
    with pytest.raises(ValueError, match="0 vectors with a partner"):
        calibrate_tau([(torch.zeros(3, 8, 24), small)])


# ------------------------------------------------------------------------------------------- by responses

def heard(truth, features, n=600, seed=0):
    """Responses of features that look for the directions of the truth in random activations, moved by rho."""
    x = torch.randn(n, truth.channels, generator=torch.Generator().manual_seed(seed))
    views = torch.einsum("gab,nb->nga", truth.maps, x)
    vectors = ResponseVectors(truth.group, len(features))
    vectors.add((views @ truth.directions[features].T).relu())
    return vectors


def test_single_blocks_have_symmetry_and_families_by_their_responses(small):
    """Those of the truth, in any order; without the responses there are none."""
    order = torch.randperm(small.features, generator=torch.Generator().manual_seed(0))
    single = 2 * small.dictionary[order, :1]
    found, plain = (score(single, small, by_responses=said) for said in (heard(small, order), None))
    assert found[:2] == plain[:2] == pytest.approx((1, 1)) and torch.equal(found.partner, plain.partner)
    assert found.stabiliser == found.stabiliser_of_all > 0.9 and found.ari > 0.9  # responses have no sign
    assert plain.stabiliser is None is plain.stabiliser_of_all and plain.ari < found.ari


def test_responses_of_other_features_tell_another_symmetry(small):
    """They take the dictionary's place: with those of a shuffled order nearly nothing is right, though every vector
    is. The same for whole blocks, whose own symmetry is perfect."""
    features = torch.arange(small.features)
    wrong = heard(small, features[torch.randperm(small.features, generator=torch.Generator().manual_seed(1))])
    for dictionary in (small.dictionary, small.dictionary[:, :1]):
        found = score(dictionary, small, by_responses=wrong)
        assert found.cosine == pytest.approx(1) and found.recovered == 1
        assert found.stabiliser < 0.7 and found.ari < 0.3
    assert score(small.dictionary, small).stabiliser == 1


def test_a_latent_that_never_responds_is_a_wrong_partner_and_no_failure(small):
    """Dead latents have decoder vectors, too, and may be closest to a true feature."""
    features = torch.arange(small.features)
    x = torch.rand(50, small.group.order, small.features)
    x[..., 3] = 0
    said = ResponseVectors(small.group, small.features)
    said.add(x)
    found = score(small.dictionary[features, :1], small, by_responses=said)
    assert found.cosine == pytest.approx(1) and 0 <= found.stabiliser_of_all < 1


def squares() -> Problem:
    """Two families of quarter turns in four channels: one in the first plane, one lopsided in the second."""
    x = torch.eye(4)
    first = torch.stack([x[0], x[1], -x[0], -x[1]])
    tilted = torch.nn.functional.normalize(torch.tensor([[0, 0, 3.0, 0], [0, 0, 0.6 * 3, 0.8 * 3]]), dim=1)
    directions = torch.cat([first, tilted, -tilted])
    family, mover = torch.tensor([0] * 4 + [1] * 4), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    G = cyclic(4)
    return Problem(G, directions[:, None].expand(-1, 4, -1).contiguous(), family, mover, (G.subgroups()[0],) * 8,
                   noise=0.0, active=1.0, seed=0)


def test_spans_by_hand():
    """A block of e_1 + e_2 and e_1 - e_2 is the first plane; one of e_1 and e_3 is half of either."""
    a, b, c, d = torch.eye(4)
    found = score_spans(torch.stack([torch.stack([a, c]), torch.stack([a + b, 7 * (a - b)])]), squares())
    assert found.partner.tolist() == [1, 0] and found.chance == 0.5
    assert found.captured.tolist() == pytest.approx([1, (2 + 2 * 0.36) / 4])  # cosines 1 and 0.6 with e_3
    assert found.possible.tolist() == pytest.approx([1, 1])
    assert found.cosines.tolist() == pytest.approx([1, 1, 1, 1, 1, 0.6, 1, 0.6])
    assert found.cosine == pytest.approx(0.9) and found.recovered == 0.75
    assert found.angles[0].tolist() == pytest.approx([0, 0], abs=0.05)
    assert found.angles[1].tolist() == pytest.approx([0, 90], abs=0.05)  # e_3 lies in both, e_4 in neither


def test_one_direction_holds_what_one_can():
    """Half of the round family; of the lopsided one, with the cosine 0.6, (1 + 0.6) / 2."""
    found = score_spans(torch.eye(4)[:, None], squares())
    assert found.possible.tolist() == pytest.approx([0.5, 0.8], abs=1e-5) and found.chance == 0.25
    assert found.captured.tolist() == pytest.approx([0.5, (2 + 2 * 0.36) / 4]) and len(found.angles[0]) == 1


def test_only_the_span_of_a_block_counts(small):
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randn(9, 4, 24, generator=generator)
    turned = torch.linalg.qr(torch.randn(4, 4, generator=generator))[0] @ blocks * 3
    one, other = score_spans(blocks, small), score_spans(turned, small)
    assert torch.allclose(one.captured, other.captured, atol=1e-4) and torch.equal(one.partner, other.partner)
    assert one.recovered == 0 and one.captured.mean() < one.possible.mean()


def test_blocks_of_zeros_are_nobodys_partner_and_bad_ones_are_refused(small):
    found = score_spans(torch.zeros(3, 2, 24), small)
    assert found.cosine == 0 and set(found.partner.tolist()) == {-1} and math.isnan(found.ari)
    assert all(not len(angles) for angles in found.angles)
    for blocks, message in ((torch.zeros(3, 2, 23), "blocks, directions"), (torch.full((1, 2, 24), math.nan), "NaN")):
        with pytest.raises(ValueError, match=message):
            score_spans(blocks, small)
