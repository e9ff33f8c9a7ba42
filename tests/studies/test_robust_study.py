"""Robust networks measured as a whole: kept measures, differences within seeds, and controls whose answer is known."""

import dataclasses

import numpy as np
import pytest
import torch

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import dihedral
from groupcc_lite.models import load_model, load_tiny, wrap_model
from groupcc_lite.runs import ROBUST_PROFILES, get_robust_profile, profiles, recipes
from groupcc_lite.stimuli import sample_drawings
from groupcc_lite.studies import MARGIN, ROBUST_KINDS, RobustStudy, layer_symmetry, robust_study, symmetry_of, turning
from groupcc_lite.studies.robust_findings import attacks_move, between_pictures, blurred_symmetry
from groupcc_lite.superposition import STOPPED, RobustNetwork, reference_weights

QUICK = get_robust_profile("smoke", seeds=(0,), census_layers=(), turned=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return RobustStudy("smoke", work=tmp_path_factory.mktemp("work"))


def test_every_measure_has_a_row_for_each_kind_and_a_column_for_each_seed(study):
    assert {study.values(name).shape for name in study.names} == {(7, 2)}
    assert [kind for kind, _ in ROBUST_KINDS][:1] == ["plain"] and len(study.found) == 14
    assert not np.isnan(study.values("psi mixed3b")).any()
    assert np.isnan(study.values("turns")[-1]).all() and not np.isnan(study.values("turns")[:-1]).any()
    with pytest.raises(KeyError, match="measured are accuracy"):
        study.values("nothing")


def test_differences_are_within_seeds(study):
    gaps = study.differences("error mixed3b")
    assert (gaps[0] == 0).all() and not np.isclose(gaps[1, 0], gaps[1, 1])
    np.testing.assert_allclose(gaps, study.values("error mixed3b") - study.values("error mixed3b")[0])
    assert (study.differences("error mixed3b", less=6)[6] == 0).all()


def test_networks_are_what_they_are_called(study):
    """Those of other seeds have other weights, untrained ones name nothing, robust ones lose less under attack."""
    accuracy = study.values("accuracy")
    assert (accuracy[5] < 0.3).all() and (accuracy[0] > 0.8).all()
    states = [load_tiny(study.weights(RobustNetwork("untrained", 0.0, seed))).conv2d0.weight for seed in (0, 1)]
    assert not torch.equal(*states)
    assert study.weights(STOPPED[0]) == reference_weights(STOPPED[0])


def test_measures_are_kept_and_come_back(tmp_path):
    first = RobustStudy(QUICK, work=tmp_path)
    measured = first.measures(first.networks[0])
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("found.json")}
    assert RobustStudy(QUICK, work=tmp_path).measures(first.networks[0]) == measured
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("found.json")} == files and len(files) == 4


@pytest.mark.parametrize("change, made", [
    (dict(sae_steps=6), ["attacked"]), (dict(latents=65), ["attacked"]), (dict(k=9), ["attacked"]),
    (dict(points=17), ["attacked"]), (dict(train_drawings=9), ["attacked"]), (dict(attacked=3), ["attacked"]),
    (dict(named=9), ["attacked"]), (dict(eps=0.4), ["attacked"]), (dict(radii=(0.25,)), ["attacked"]),
    (dict(symmetry_drawings=17), ["blurred", "pictures", "symmetry"]), (dict(blurs=(9,)), ["blurred"]),
    (dict(symmetry_points=9), ["blurred", "pictures", "symmetry"]), (dict(seeds=(0, 1)), [])])
def test_what_changes_a_measure_changes_what_is_kept(change, made, tmp_path):
    kinds = []
    for profile in (QUICK, dataclasses.replace(QUICK, **change)):
        study = RobustStudy(profile, work=tmp_path)
        study.measures(study.networks[0])
        kinds.append({path.parent for path in tmp_path.rglob("found.json")})
    new = kinds[1] - kinds[0]
    assert sorted(path.parent.name for path in new) == [f"robust-{what}" for what in made]


@pytest.mark.parametrize("where, what, value", [
    (robust_study, "FALSE_RATE", 0.2),
    (profiles.PROFILES, "book", dataclasses.replace(profiles.PROFILES["book"], lr=1e-9)),
    (recipes.VERSIONS, "coders", 99)])
def test_a_census_depends_on_the_books_settings_and_on_what_labels_are_judged_by(where, what, value, tmp_path,
                                                                                 monkeypatch):
    study = RobustStudy(dataclasses.replace(QUICK, census_layers=("mixed3b",)), work=tmp_path)
    path = study.weights(study.networks[0])
    before = study._census_of(path)
    (monkeypatch.setitem if isinstance(where, dict) else monkeypatch.setattr)(where, what, value)
    assert study._census_of(path) != before
    assert not list(tmp_path.rglob("*.npy"))  # nothing is made to know it


def test_pictures_that_differ_as_wholes_are_told_from_points_that_do():
    generator = torch.Generator().manual_seed(0)
    points, pictures = (torch.randn(400, many, 5, generator=generator) for many in (12, 1))
    for share in (0.0, 0.3, 0.9):
        x = points * (1 - share) ** 0.5 + pictures * share**0.5
        assert between_pictures(x) == pytest.approx(share, abs=0.06)


def test_blurring_lowers_error_and_ratio_of_a_network_that_stays_as_it_is():
    """What the chapter's control rests on; the side 1 blurs nothing."""
    model = load_model("tiny-inception", "conv2d2")
    same, sharp, soft = layer_symmetry(model, drawings=16, points=8), *(
        blurred_symmetry(model, side, drawings=16, points=8) for side in (1, 17))
    assert same == sharp
    assert soft.error < 0.3 * sharp.error and soft.relative < sharp.relative and soft.copied > sharp.copied


def test_an_attack_moves_with_a_drawing_on_a_robust_network_only():
    plain, robust = (load_tiny(reference_weights(RobustNetwork(kind, eps, 0)))
                     for kind, eps in (("plain", 0.0), ("attack", 0.5)))
    assert attacks_move(plain, 0.5, 0, drawings=2) == pytest.approx(1.0, abs=1e-3)
    assert attacks_move(robust, 0.5, 1, drawings=4) > attacks_move(plain, 0.5, 1, drawings=4) + 0.1
    with pytest.raises(ValueError, match="pixels is 5; expected 0 to 4"):
        attacks_move(plain, 0.5, 5)


@pytest.mark.parametrize("profile", ROBUST_PROFILES.values(), ids=lambda profile: profile.name)
def test_profiles_name_what_exists(profile):
    assert set(profile.census_layers) <= set(profile.layers) and 0 not in profile.elements
    assert all(reference_weights(RobustNetwork(kind, eps, seed)).is_file() for seed in profile.seeds
               for kind, eps in ROBUST_KINDS if kind != "untrained")


def test_a_layer_that_turns_exactly_has_a_reference_of_one_and_no_error():
    """A blur is invariant: a copy is enough, and points that stay see all of the change."""
    blur = wrap_model(torch.nn.Sequential(torch.nn.AvgPool2d(3, stride=1)), "0", input_size=96)
    found = symmetry_of(blur, sample_drawings(16, seed=3).images, sample_drawings(4, 96 + MARGIN, seed=4).images)
    assert found.ceiling > 0.999 and found.copied > 0.999
    assert found.relative < 0.2 and 1 <= found.dimensions <= 3


def test_pixels_that_are_shuffled_by_pose_are_not_copied():
    """The negative control: a network that looks at places, and not along with the image."""
    class Uneven(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blur = torch.nn.AvgPool2d(3, stride=1)
            self.register_buffer("weight", torch.randn(1, 3, 94, 94, generator=torch.Generator().manual_seed(0)))

        def forward(self, x):
            return self.blur(x) * self.weight

    uneven = wrap_model(torch.nn.Sequential(Uneven()), "0", input_size=96, way="hook")
    found = symmetry_of(uneven, sample_drawings(16, seed=3).images, sample_drawings(4, 96 + MARGIN, seed=4).images)
    assert found.ceiling < 0.5 and found.copied < 0.5


def test_turning_tells_a_turned_change_from_one_that_stays():
    x, action = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2)), PlanarAction(dihedral(4))
    turned = turning(lambda g: action.images(x, 16, elements=[g])[0], range(8), seed=9)
    torch.testing.assert_close(turned.own, torch.ones(8))
    stays = turning(lambda g: x, range(1, 8), seed=9)
    assert stays.own.abs().max() < 0.3 and turned.random.abs().max() < 0.15 and turned.other.abs().max() < 0.15
    with pytest.raises(ValueError, match="at least two"):
        turning(lambda g: x[:1], [1])
