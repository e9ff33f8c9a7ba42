"""Folds of a run's images, and what a number measured over them is worth."""

import numpy as np
import pytest
import torch
from scipy.stats import t
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.coders import SparseAutoencoder, evaluate
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import OrbitStore, TensorOrbits
from groupcc_lite.runs import FewerImages, Run, folds, recipes
from groupcc_lite.runs.folds import fold_measures, fold_seeds, fve_over_images, over_folds, uncertain

TINY = dict(latents=24, k=4, steps=12, batch_size=32, points_per_image=8, mask_radius=7.0, folds=3, fold_seeds=2,
            fold_steps=6, fold_batch=16)


@pytest.fixture
def run(tmp_path):
    model, action = small_model(), PlanarAction(dihedral(4))
    images = noise_images(20, action.source_size(model.input_size))
    return Run("smoke", model=model, images=images, action=action, work=tmp_path, **TINY)


# ---------------------------------------------------------------------------------------------------- the split

def test_every_image_is_held_out_once_and_never_trained_on_in_the_same_fold(run):
    held = [run.fold(number).source("held-out").names for number in range(3)]
    assert sorted(sum(held, [])) == sorted(run.all_images.names)
    for number, names in enumerate(held):
        assert set(run.fold(number).source("train").names) == set(run.all_images.names) - set(names)


def test_the_orbits_are_the_images_of_the_fold(run):
    """Each row, found again by number in its source, is the row that the whole run has of the image of that name."""
    of_name = {}
    for part in ("train", "held-out"):
        store, source = run.orbits(part), run.source(part)
        for number, name in enumerate(source.names):
            of_name[name] = store.rows(np.flatnonzero(store.image == number))
    for number in range(3):
        for part in ("train", "held-out"):
            fold, source = run.fold(number).orbits(part), run.fold(number).source(part)
            assert len(fold) == 8 * len(source) and (np.diff(fold.image) >= 0).all()
            for image, name in enumerate(source.names):
                assert torch.equal(fold.rows(np.flatnonzero(fold.image == image)), of_name[name]), name


def rows_by_name(some):
    """Orbit vectors of every image, by its name."""
    return {name: store.rows(np.flatnonzero(store.image == number)) for part in ("train", "held-out")
            for store in [some.orbits(part)] for number, name in enumerate(some.source(part).names)}


def test_fewer_images_of_the_same_network_take_their_orbits_from_the_run(run, monkeypatch):
    """A control on 12 of 20 images, and its folds: split as a run on these images would be, and nothing is read."""
    whole = Run("smoke", model=run.model, images=run.images, action=run.action, work=run.work, **TINY,
                control_images=12, control_steps=5)
    of_whole = rows_by_name(whole)
    few, alone = whole.control(), Run("smoke", model=run.model, images=whole._limited(whole.all_images),
                                      action=run.action, work=run.work, **TINY)
    monkeypatch.setattr(OrbitStore, "make", None)
    assert len(few.all_images) == 12 and few.profile.steps == 5 and few.keys()["orbits, train"] != whole.keys()[
        "orbits, train"]
    assert [few.source(part).names for part in ("train", "held-out")] == [
        alone.source(part).names for part in ("train", "held-out")]
    for name, rows in rows_by_name(few).items():
        assert torch.equal(rows, of_whole[name]), name
    fold = few.fold(1, of=2)
    assert set(fold.source("train").names) | set(fold.source("held-out").names) == set(few.all_images.names)
    for name, rows in rows_by_name(fold).items():
        assert torch.equal(rows, of_whole[name]), name
    assert few.coder().dictionary.shape == few.moved_coder(2).dictionary.shape
    assert few.coder(seed=1).latents == 24 and few.evaluate(few.coder()).fve < 1
    assert "12 images" in repr(few) and repr(fold).endswith("12 images, fold 1 of 2")


def test_fewer_images_split_in_another_way_have_other_keys(run):
    """20 images, of which the run holds out four either way, and 12 of them, of which two or three are held out."""
    settings = dict(model=run.model, images=run.images, action=run.action, work=run.work, control_images=12)
    one, other = (Run("smoke", **settings, **TINY, held_out=share) for share in (0.2, 0.21))
    assert one.recipes.orbits("train").key == other.recipes.orbits("train").key
    assert len(one.control().source("held-out")) < len(other.control().source("held-out"))
    assert one.control().recipes.coder().key != other.control().recipes.coder().key
    assert one.control().control().keys() == one.control().keys()
    with pytest.raises(ValueError, match="a part of a run has no dictionary of its own"):
        one.control().with_dictionary(SparseAutoencoder(run.model.channels, 24))


def test_fewer_images_are_read_anew_where_the_run_does_not_keep_all_orbits_or_something_else_is_asked(run):
    settings = dict(model=run.model, images=run.images, action=run.action, work=run.work, control_images=12, **TINY)
    own = [Run("smoke", **settings, stream=True).control(), Run("smoke", **settings, store_images=6).control(),
           Run("smoke", **settings).control(points_per_image=4), Run("smoke", **settings).control("patches")]
    assert all(not isinstance(control, FewerImages) for control in own)
    assert isinstance(Run("smoke", **settings).control(), FewerImages)


def test_nothing_is_extracted_again_and_the_main_run_keeps_its_keys(run, tmp_path, monkeypatch):
    before = run.keys()
    run.orbits("held-out")
    run.coder()
    stored = sorted(path.name for path in (tmp_path / "orbits").iterdir())
    monkeypatch.setattr(OrbitStore, "make", None)
    run.fold(1).coder()
    run.fold(0, of=2, images=3).coder("sae")
    assert sorted(path.name for path in (tmp_path / "orbits").iterdir()) == stored
    assert run.keys() == before


def test_the_scale_of_a_folds_coder_knows_no_held_out_image(run):
    """The held-out images' activations count for nothing: only the training rows decide the scale."""
    fold = run.fold(0)
    x = fold.orbits("train").rows(range(len(fold.orbits("train"))))
    own = float((6 / x.square().sum(-1).mean()).sqrt())
    assert fold.coder().scale.item() == pytest.approx(own, rel=1e-5)
    assert fold.coder().scale.item() != pytest.approx(run.orbits("train").scale, rel=1e-7)


def test_two_folds_train_on_disjoint_images_and_fewer_images_are_a_part(run):
    first, second = (set(run.fold(number, of=2).source("train").names) for number in (0, 1))
    assert not first & second and len(first | second) == 20
    fewer = run.fold(0, of=2, images=4).source("train").names
    assert len(fewer) == 4 and set(fewer) < first
    assert run.fold(0, of=2, images=4).source("held-out").names == run.fold(0, of=2).source("held-out").names


def test_a_fold_is_a_run_with_its_own_budget(run):
    fold = run.fold(2)
    assert run.fold(2) is fold and fold.model is run.model and fold.stimuli is run.stimuli
    assert [row["step"] for row in fold.history()][-1] == 6
    assert fold.ceiling().shape == (8,) and fold.fitted().group == run.group
    assert fold.coder("sae").group.order == 1 and 0 < fold.evaluate(fold.coder()).l0 < 12
    assert "fold 2 of 3" in repr(fold) and fold.control("patches").source().names == fold.source().names


def test_a_limited_store_gives_folds_of_what_is_stored(tmp_path):
    model, action = small_model(), PlanarAction(cyclic(4))
    images = noise_images(20, action.source_size(model.input_size))
    run = Run("smoke", model=model, images=images, action=action, work=tmp_path, **TINY, store_images=5)
    fold = run.fold(0)
    assert len(fold.source("train")) + len(fold.source("held-out")) == 5 + 2
    assert len(fold.orbits("train")) == 8 * len(fold.source("train"))


@pytest.mark.parametrize("number, of", [(3, 3), (-1, 3), (0, 1), (0, 21)])
def test_a_fold_that_does_not_exist_is_refused(run, number, of):
    with pytest.raises(ValueError, match=f"fold is {number} of {of}"):
        run.fold(number, of)
    with pytest.raises(ValueError, match="images is 0"):
        run.fold(0, images=0)


# ------------------------------------------------------------------------------------------------------ the keys

def test_folds_have_keys_of_their_own(run):
    keys = [run.keys(), *(run.fold(number).keys() for number in range(3)), run.fold(0, of=2).keys(),
            run.fold(0, images=4).keys()]
    for name in keys[0]:
        assert len({found[name] for found in keys}) == len(keys), name
    assert run.fold(0).keys() == Run("smoke", model=run.model, images=run.images, action=run.action, work=run.work,
                                     **TINY).fold(0).keys()


@pytest.mark.parametrize("change, same", [
    (dict(fold_steps=9), False), (dict(fold_batch=9), False), (dict(steps=9), True), (dict(batch_size=9), True),
    (dict(folds=9), True), (dict(fold_seeds=9), True), (dict(points_per_image=4), False), (dict(held_out=0.3), False)])
def test_what_the_keys_of_a_fold_depend_on(run, change, same):
    other = Run("smoke", model=run.model, images=run.images, action=run.action, work=run.work, **TINY | change)
    assert (other.fold(0, of=3).keys()["crosscoder"] == run.fold(0, of=3).keys()["crosscoder"]) is same


def test_a_measures_version_name_and_seed_are_in_its_key(run):
    made = run.fold(0).recipes
    keys = {made.measured(*what, {}).key for what in (("a", 1, 0), ("a", 2, 0), ("b", 1, 0), ("a", 1, 1))}
    assert len(keys | {run.fold(1).recipes.measured("a", 1, 0, {}).key}) == 5


def test_what_compares_with_the_linear_reference_is_made_again_when_that_is(run, monkeypatch):
    def keys():
        made = run.fold(0).recipes
        return {name: made.measured(name, measure.version, 0, {}, ceiling=measure.ceiling).key
                for name, measure in folds.FOLD_MEASURES.items()}

    before = keys()
    monkeypatch.setitem(recipes.VERSIONS, "ceilings", 99)
    after = keys()
    assert {name for name in before if before[name] != after[name]} == {"reconstruction"}


# -------------------------------------------------------------------------------------------------- uncertainty

def simulated(folds_sd, seeds_sd, rng, shape=(5, 3)):
    return folds_sd * rng.normal(size=(shape[0], 1)) + seeds_sd * rng.normal(size=shape)


@pytest.mark.parametrize("folds_sd, seeds_sd", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.2)])
def test_the_interval_holds_the_truth_as_often_as_it_says(folds_sd, seeds_sd):
    rng = np.random.default_rng(0)
    inside = [low <= 0 <= high for low, high in (uncertain(simulated(folds_sd, seeds_sd, rng)).interval
                                                 for _ in range(2000))]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_negative_control_fifteen_independent_values_would_promise_too_much():
    rng, inside = np.random.default_rng(0), []
    for _ in range(2000):
        values = simulated(1.0, 0.2, rng)
        inside.append(abs(values.mean()) <= t.ppf(0.975, 14) * values.std(ddof=1) / 15**0.5)
    assert np.mean(inside) < 0.75


def test_the_spreads_are_those_of_the_simulation():
    found = uncertain(simulated(2.0, 0.5, np.random.default_rng(0), shape=(400, 30)))
    assert found.over_folds == pytest.approx(2.0, rel=0.1) and found.over_seeds == pytest.approx(0.5, rel=0.02)
    assert found.over == "400 folds x 30 seeds" and found.values.shape == (400, 30)


def test_what_is_undefined_is_left_out_of_its_fold():
    found = uncertain(np.array([[1.0, np.nan], [2.0, 4.0]]))
    assert found.mean == 2.0 and found.over_seeds == pytest.approx(2**0.5)
    nothing = uncertain(np.array([[1.0, 2.0], [np.nan, np.nan]]))
    assert np.isnan([nothing.mean, *nothing.interval]).all()


def test_one_seed_is_enough_and_one_fold_is_not():
    assert np.isnan(uncertain(np.array([[1.0], [2.0]])).over_seeds)
    assert uncertain(np.array([[1.0], [2.0]])).mean == 1.5
    with pytest.raises(ValueError, match="folds is 1; expected 2 or more"):
        uncertain(np.array([[1.0, 2.0]]))


# ----------------------------------------------------------------------------------------------------- measures

def test_no_seed_is_used_twice_and_every_cell_is_its_own_coder(run):
    assert [list(fold_seeds(run, number)) for number in range(3)] == [[0, 1], [2, 3], [4, 5]]
    found = over_folds(run, lambda fold, coder: dict(number=fold.number,
                                                     weight=float(coder.W_e.detach().double().sum())))
    assert found["number"].values.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert len(set(found["weight"].values.flatten().tolist())) == 6
    assert found["weight"].values[1, 0] == float(run.fold(1).coder(seed=2).W_e.detach().double().sum())


def test_measures_are_kept_and_made_again_with_another_version(run, monkeypatch):
    first = fold_measures(run, "reconstruction")
    calls = []
    monkeypatch.setitem(folds.FOLD_MEASURES, "reconstruction", folds.Measure(lambda r, c: calls.append(1) or {"x": 1},
                                                                                ceiling=True))
    assert fold_measures(run, "reconstruction")["fve"].mean == first["fve"].mean and not calls
    monkeypatch.setitem(folds.FOLD_MEASURES, "reconstruction", folds.Measure(lambda r, c: calls.append(1) or {
        "x": float("nan")}, version=2))
    assert np.isnan(fold_measures(run, "reconstruction")["x"].mean) and len(calls) == 6
    with pytest.raises(ValueError, match="no measure purity; expected some of reconstruction, symmetry"):
        fold_measures(run, "purity")


@pytest.mark.parametrize("name", ["ROWS", "VIEWS", "TAU", "INVARIANT", "FALSE_RATE", "DRAWS"])
def test_what_measures_judge_by_is_in_their_keys(run, name, monkeypatch):
    def key():
        return run.fold(0).recipes.measured("symmetry", 1, 0, folds.constants()).key

    before = key()
    assert key() == before
    monkeypatch.setattr(folds if name in ("ROWS", "VIEWS", "DRAWS") else folds.symmetry, name, 0.25)
    assert key() != before


def test_a_single_fold_is_refused_by_the_name_of_its_field(run):
    with pytest.raises(ValueError, match="folds is 1; expected 2 or more"):
        uncertain(np.array([[0.5, 0.6]]))


def test_families_of_one_label_are_not_corrected(run, monkeypatch):
    """Chance gives everything there, so a corrected purity of 0 would be a statement about nothing."""
    fold, of_one = run.fold(0), folds.symmetry.label_by_response

    def one_label(*arguments):
        found = of_one(*arguments)
        return found._replace(label=np.zeros_like(found.label))

    monkeypatch.setattr(folds.symmetry, "label_by_response", one_label)
    found = folds.families(fold, fold.coder())
    assert found["purity"] == found["purity_chance"] == 1 and np.isnan(found["purity_corrected"])


def test_reconstruction_is_what_evaluate_says(run):
    fold, found = run.fold(1), fold_measures(run, "reconstruction")
    metrics = evaluate(fold.coder(seed=3), fold.orbits("held-out"))
    assert found["fve"].values[1, 1] == pytest.approx(metrics.fve)
    assert found["over_reference"].values[1, 1] == pytest.approx(
        metrics.fve_per_block[1:].mean() - fold.ceiling()[1:].mean())
    assert (found["reference"].values[:, 0] == found["reference"].values[:, 1]).all()


def test_shares_of_symmetry_and_purity_are_shares(run, monkeypatch):
    found = folds.symmetric(run.fold(0), run.fold(0).coder())
    assert {"supported", "confirmed", "invariant", "mirror_agreement", "mirror_chance"} <= found.keys()
    assert all(np.isnan(value) or 0 <= value <= 1 for value in found.values())
    assert found["confirmed"] <= found["supported"]
    pairs = folds.families(run.fold(0), run.fold(0).coder())
    assert pairs.keys() == {"purity", "purity_chance", "purity_corrected"}
    monkeypatch.setattr(folds.symmetry, "LARGE", 1)
    monkeypatch.setattr(folds.symmetry, "max_cosine", None)  # all pairs of a large dictionary are not asked for
    assert folds.families(run.fold(0), run.fold(0).coder()) == pytest.approx(pairs, nan_ok=True)


def test_mirrors_count_where_both_halves_name_the_same_axis():
    from groupcc_lite.symmetry import mirror_agreement, profile_stabilisers, self_similarity

    G = dihedral(4)
    D = torch.randn(40, 8, 9, generator=torch.Generator().manual_seed(0))
    for axis in range(4):  # ten features for each axis
        D[10 * axis:10 * axis + 10] += D[10 * axis:10 * axis + 10, G.regular[4 + axis]]
    found = profile_stabilisers(self_similarity(D, G), G)
    c = self_similarity(D, G)
    assert folds._mirrors(found, c, G)["mirror_agreement"] == 1
    turned = c[np.roll(np.arange(40), 10)]  # each encoder has the next axis
    scores = folds._mirrors(found, turned, G)
    agreement = mirror_agreement(found, turned, G)  # one definition of agreement and chance in the whole library
    assert scores == dict(mirror_agreement=agreement.exact, mirror_chance=float(agreement.chance[0]))
    assert scores["mirror_agreement"] < 0.1 and scores["mirror_chance"] == pytest.approx(0.25, abs=0.05)
    assert np.isnan(folds._mirrors(found, c, cyclic(8))["mirror_agreement"])


# --------------------------------------------------------------------------------------------------- over images

class Guess:
    """A "coder" that gives back its input times a factor."""

    device = torch.device("cpu")

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return type("Output", (), dict(reconstruction=self.factor * x))


def test_the_interval_over_images_is_as_wide_as_images_differ(tmp_path):
    """Ten points of an image are alike here, so there are as many independent values as images, not as points."""
    noise = torch.randn(30, 1, 1, 4, generator=torch.Generator().manual_seed(0)).expand(30, 10, 1, 4)
    store = OrbitStore.from_batches(tmp_path / "s", [noise.flatten(0, 1)], cyclic(1))
    apart = fve_over_images(Guess(0.0), store)[1]  # rows count as images of their own
    store.image = np.repeat(np.arange(30), 10)
    value, together = fve_over_images(Guess(0.5), store)
    x = store.rows(range(300))
    assert value == pytest.approx(float(1 - (0.5 * x).square().sum() / (x - x.mean(0)).square().sum()), rel=1e-6)
    assert together[0] <= value <= together[1]
    wide, narrow = (np.diff(fve_over_images(Guess(0.0), store)[1])[0], np.diff(apart)[0])
    assert wide > 2 * narrow


def test_a_difference_is_that_of_both_on_the_same_images(tmp_path):
    x = torch.randn(60, 2, 4, generator=torch.Generator().manual_seed(1))
    store = OrbitStore.from_batches(tmp_path / "s", [x], cyclic(2))
    better, worse = fve_over_images(Guess(0.9), store)[0], fve_over_images(Guess(0.5), store)[0]
    value, (low, high) = fve_over_images(Guess(0.9), store, other=Guess(0.5))
    assert value == pytest.approx(better - worse, abs=1e-6) and low <= value <= high and low > 0
    assert value == pytest.approx(0.24, abs=0.03)
    with pytest.raises(ValueError, match="TensorOrbits does not know which image each row is of"):
        fve_over_images(Guess(0.9), TensorOrbits(x, cyclic(2)))  # knows no images
