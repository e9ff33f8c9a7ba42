"""Tests of families that would notice if there were none, and that do not if there are."""

import numpy as np
import pytest
import torch

from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers.family_tests import (
    circular,
    label_agreement,
    pose_errors,
    predicted_angles,
    redrawn,
    reposed_pictures,
)
from groupcc_lite.groups import dihedral
from groupcc_lite.stimuli import SHAPES, stimuli
from groupcc_lite.symmetry import act, max_cosine

G = dihedral(8)
ACTION = PlanarAction(G)
SHOWN = stimuli(48, orientations=8)


def planted(noise=0.1, families=4, seed=0, mirror=True):
    """Families of mirror symmetric features: one for each of 8 directions, which the element should tell."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(families, 16, 6, generator=generator)
    base = base + act(base, G, 12) if mirror else base  # leaves direction 0 alone: the mirror at the horizontal axis
    D = torch.cat([act(base, G, h) for h in range(8)])
    angles = np.repeat(predicted_angles(np.array([0.0]), ACTION)[:8, 0], families)
    D = D + noise * torch.randn(D.shape, generator=generator)
    return D, angles, np.tile(np.arange(families), 8)


def test_the_mirror_of_the_planted_families_leaves_their_direction_alone():
    assert circular(predicted_angles(np.array([0.0]), ACTION)[12])[0] < 1e-4


def test_the_element_tells_planted_directions_and_the_null_does_not():
    D, angles, labels = planted()
    S, element = max_cosine(D, G, elements=True)
    (found,) = pose_errors(S, element, angles, labels, ACTION, bins=(0.5, 1.0), shuffles=200)
    assert found.pairs == 4 * 28 and found.error < 1e-3 and found.p == pytest.approx(1 / 201)
    assert found.null > 60 and found.interval[0] > 40


def test_negative_control_unrelated_directions_are_not_told():
    D, angles, labels = planted()
    S, element = max_cosine(D, G, elements=True)
    wrong = np.random.default_rng(1).permutation(len(labels))
    (found,) = pose_errors(S, element, angles[wrong], labels, ACTION, bins=(0.5, 1.0), shuffles=200)
    assert found.p > 0.05 and found.interval[0] <= found.error <= found.interval[1] + 1e-6


def test_acting_from_the_wrong_side_is_seen():
    D, angles, labels = planted(mirror=False)
    S, element = max_cosine(D, G, elements=True)
    inverse = torch.as_tensor(np.array(G.inverse))[element]
    (found,) = pose_errors(S, inverse, angles, labels, ACTION, bins=(0.5, 1.0), shuffles=50)
    assert found.error > 40


def test_pairs_fall_into_bins_and_features_without_a_label_or_an_angle_into_none():
    D, angles, labels = planted(noise=1.0)
    S, element = max_cosine(D, G, elements=True)
    labels[0], angles[1] = -1, np.nan
    rows = pose_errors(S, element, angles, labels, ACTION, bins=(-1.0, 0.3, 0.6, 1.0), shuffles=10)
    every = sum(k * (k - 1) // 2 for k in (7, 7, 8, 8))
    assert sum(row.pairs for row in rows) == every
    assert np.isnan(pose_errors(S, element, angles, labels, ACTION, bins=(0.999, 1.0), shuffles=5)[0].error)
    with pytest.raises(ValueError, match="one of each per feature"):
        pose_errors(S[:3, :3], element, angles, labels, ACTION)


def test_redrawn_stimuli_are_the_same_drawings():
    again = redrawn(SHOWN, thickness=1.0000001).images  # drawn anew, not copied
    assert (again - SHOWN.images).abs().max() < 1e-3
    strokes = SHOWN.shape == [shape.name for shape in SHAPES].index("line")
    thin = redrawn(SHOWN, thickness=0.5).images
    assert ((thin - thin[:, :, :1, :1]).abs().sum((1, 2, 3))[strokes]
            < 0.8 * (SHOWN.images - SHOWN.images[:, :, :1, :1]).abs().sum((1, 2, 3))[strokes]).all()
    blurred = redrawn(SHOWN, blur=1.0).images
    assert torch.allclose(blurred.mean((1, 2, 3)), SHOWN.images.mean((1, 2, 3)), atol=1e-3)
    assert blurred.diff(dim=3).abs().max() < SHOWN.images.diff(dim=3).abs().max()
    down = redrawn(SHOWN, shift=(0, 2)).images
    assert torch.equal(down[..., 2:, :], SHOWN.images[..., :-2, :])


def test_agreement_counts_lost_labels_as_changed_and_knows_its_chance():
    first, second = np.array([0, 0, 1, 1, 2, -1]), np.array([0, 1, 1, 1, -1, 0])
    found = label_agreement(first, second)
    assert found.named == 5 and found.same == pytest.approx(3 / 5) and found.agree == pytest.approx(3 / 4)
    assert found.chance == pytest.approx(0.5 * 0.25 + 0.5 * 0.75)
    assert np.isnan(label_agreement(np.array([-1]), np.array([0])).same)
    rng = np.random.default_rng(0)
    random = label_agreement(rng.integers(4, size=4000), rng.integers(4, size=4000))
    assert abs(random.agree - random.chance) < 0.05
    with pytest.raises(ValueError, match="two for each feature"):
        label_agreement(first, second[:2])


@pytest.fixture(scope="module")
def pictures():
    """Responses of planted features to moved pictures of each other: what the dictionary says, and some noise."""
    D, *_ = planted(noise=0.3, families=2)
    S, element = max_cosine(D, G, elements=True)
    F = torch.nn.functional.normalize(D.flatten(1), dim=1)
    moved = torch.stack([act(D, G, g).flatten(1) for g in range(G.order)])
    responses = moved @ F.T  # (element, picture, feature)
    return responses, S, element


def test_moved_pictures_of_relatives_are_liked_best(pictures):
    found = reposed_pictures(*pictures, np.arange(16), similar=0.5)
    assert len(found.features) == 16
    assert found.success.mean() > 0.9 and found.shuffled.mean() < 0.7 and found.unmoved.mean() < 0.7


def test_negative_control_pictures_of_others_are_not(pictures):
    responses, S, element = pictures
    wrong = torch.randperm(16, generator=torch.Generator().manual_seed(3))
    found = reposed_pictures(responses[:, wrong], S, element, np.arange(16), similar=0.5)
    assert found.success.mean() < 0.7 and abs(found.success - found.shuffled).mean() < 0.25


def test_features_with_few_relatives_are_left_out_and_sizes_are_checked(pictures):
    responses, S, element = pictures
    assert len(reposed_pictures(*pictures, np.arange(16), similar=0.999).features) == 0
    few = reposed_pictures(responses[:, :5], S, element, np.arange(5), similar=0.5, fewest=2)
    assert 0 < len(few.features) < 16
    with pytest.raises(ValueError, match="do not fit"):
        reposed_pictures(responses, S, element, np.arange(5))


def test_ties_count_half(pictures):
    _, S, element = pictures
    flat = reposed_pictures(torch.zeros(16, 16, 16), S, element, np.arange(16), similar=0.5)
    assert flat.success == pytest.approx(0.5)
