import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite import symmetry
from groupcc_lite.actions import ColourAction, PlanarAction, product_action
from groupcc_lite.base import described
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder, Training, train
from groupcc_lite.groups import FiniteGroup, cyclic, dihedral
from groupcc_lite.models import wrap_model
from groupcc_lite.orbits import IdentityBlocks, OrbitStream
from groupcc_lite.runs.layer_run import Run
from groupcc_lite.symmetry import max_cosine, stabilisers

TINY = dict(latents=24, k=4, steps=12, curve_steps=6, batch_size=32, points_per_image=8, mask_radius=7.0,
            drawings=24, topk_ks=(4,), l1_sparsities=(1.0,))


def small_run(work):
    """The same run in any process."""
    model = small_model()
    images = noise_images(20, PlanarAction(cyclic(4)).source_size(model.input_size))
    return Run("smoke", model=model, images=images, action=PlanarAction(cyclic(4)), work=work, **TINY)


@pytest.fixture
def run(tmp_path):
    return small_run(tmp_path)


def test_artefacts_are_made_once_and_found_again(run, tmp_path):
    coder = run.coder()
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    again = Run("smoke", model=run.model, images=run.images, action=run.action, work=tmp_path, **TINY)
    assert torch.equal(again.coder().W_d, coder.W_d)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == files
    other = again.coder(seed=1)
    assert not torch.equal(other.W_d, coder.W_d)
    assert [row["step"] for row in run.history()][-1] == 12


def test_same_seed_same_numbers_in_a_fresh_folder(run, tmp_path_factory):
    elsewhere = Run("smoke", model=run.model, images=run.images, action=run.action,
                    work=tmp_path_factory.mktemp("fresh"), **TINY)
    assert torch.equal(run.coder().W_d, elsewhere.coder().W_d)


def test_held_out_images_are_not_trained_on(run):
    train, held_out = run.source("train"), run.source("held-out")
    assert not set(train.names) & set(held_out.names) and len(train) + len(held_out) == 20
    with pytest.raises(ValueError, match="part is 'test'"):
        run.source("test")


def test_the_sae_sees_only_the_identity_block(run):
    sae = run.coder("sae")
    assert sae.group.order == 1 and run.training_source("sae").group.order == 1
    assert 0 < run.evaluate(sae).l0 < 12
    with pytest.raises(ValueError, match="kind is 'esae'"):
        run.coder("esae")


def test_curve_ceiling_and_report(run):
    rows = run.curve()
    assert [row["activation"] for row in rows] == ["relu", "topk"] and all(np.isfinite(row["fve"]) for row in rows)
    ceiling = run.ceiling()
    assert ceiling.shape == (4,) and ceiling.argmax() == 0 and ceiling[0] > 0.9
    assert np.array_equal(ceiling, run.ceiling())
    report = run.report("03_training")
    report.number("fve", rows[0]["fve"])
    assert report.save().is_file()


def test_a_family_map_has_one_row_per_living_feature(run):
    result = run.family_map(steps=40)
    m = len(result.features)
    assert result.gap.shape == (m, m) and result.embedding.two.shape == (m, 2)
    assert len(result.labels.label) == len(result.clusters) == m <= 24
    again = run.family_map(steps=40)
    assert np.array_equal(again.embedding.two, result.embedding.two)


def test_a_large_dictionary_is_mapped_and_listed_without_all_pairs(run, tmp_path, monkeypatch):
    """The limit is moved below this dictionary's size; the numbers are those of the whole matrix."""
    kinds = ("crosscoder", "sae")
    small = {kind: (run.family_map(kind), run.feature_table(kind)) for kind in kinds}
    monkeypatch.setattr(symmetry, "LARGE", 9)

    def refused(*given, **more):
        raise AssertionError("all pairs were asked for")

    monkeypatch.setattr("groupcc_lite.runs.layer_artefacts.max_cosine", refused)
    monkeypatch.setattr("groupcc_lite.runs.features.max_cosine", refused)
    monkeypatch.setattr("groupcc_lite.symmetry.families.max_cosine", refused)
    large = small_run(tmp_path / "other")
    for kind in kinds:
        (before, listed), found, table = small[kind], large.family_map(kind), large.feature_table(kind)
        assert found.gap is None and len(found.features) > symmetry.LARGE
        assert np.array_equal(found.features, before.features)
        assert found.scores.neighbour_purity == pytest.approx(before.scores.neighbour_purity, nan_ok=True)
        assert found.scores.label_silhouette == pytest.approx(before.scores.label_silhouette, abs=1e-4, nan_ok=True)
        assert np.array_equal(table.relatives.row, listed.relatives.row)
        assert np.array_equal(table.relatives.element, listed.relatives.element)
        np.testing.assert_allclose(table.relatives.cosine, listed.relatives.cosine, atol=1e-6)


def test_maps_of_an_sae_and_of_its_fitted_blocks_are_two(run):
    """By the plain cosine of unequal dictionaries; the second was once read from the file of the first."""
    plain, fitted = (run.family_map(kind, symmetric=False, steps=40) for kind in ("sae", "fitted"))
    assert not np.allclose(plain.gap, fitted.gap, atol=0.1)
    assert not np.allclose(plain.embedding.four, fitted.embedding.four, atol=1e-3)


def test_what_is_kept_says_where_it_comes_from(run, tmp_path):
    run.family_map("fitted", steps=40)
    run.ceiling()
    run.transform("adam")
    run.visualise(run.coder(steps=40), [0, 1], steps=2, size=32)
    folders = [path.parent for path in tmp_path.rglob("artefact.json")]
    assert {folder.parent.name for folder in folders} == {
        "orbits", "coders", "fitted", "maps", "ceilings", "transforms", "visualisations"}
    for found in map(described, folders):
        assert found["provenance"]["seed"] == 0 and found["provenance"]["device"] == run.device
        assert found["provenance"]["commit"] and found["provenance"]["seconds"] >= 0
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".part", ".lock"))
                or path.name == "checkpoint.safetensors"]


def test_pictures_are_drawn_once_for_the_same_directions(run, monkeypatch):
    coder = run.coder()
    drawn = run.visualise(coder, [0, 3], steps=2, size=32)
    monkeypatch.setattr("groupcc_lite.symmetry.render_features", lambda *a, **k: pytest.fail("drawn again"))
    assert np.array_equal(run.visualise(coder, np.array([0, 3]), steps=2, size=32), drawn)
    with torch.no_grad():
        coder.W_e[3] += 1  # a coder that was trained on, say
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        run.visualise(coder, [0, 3], steps=2, size=32)


def test_a_damaged_shard_is_made_again(run, tmp_path):
    store = run.orbits("held-out")
    path = store.folder / "00000.npy"
    good = path.read_bytes()
    path.write_bytes(good[:-8] + bytes(8))
    again = Run("smoke", model=run.model, images=run.images, action=run.action, work=tmp_path, **TINY)
    assert len(again.orbits("held-out")) == len(store) and path.read_bytes() == good


def test_training_goes_on_from_what_a_killed_process_left(run, monkeypatch, tmp_path_factory):
    whole = Run("smoke", model=run.model, images=run.images, action=run.action,
                work=tmp_path_factory.mktemp("whole"), **TINY).coder()
    steps = []
    monkeypatch.setattr(Training, "step", interrupted(after=7, seen=steps))
    with pytest.raises(KeyboardInterrupt):
        run.coder()
    assert not run.cache.has(run.recipes.coder()) and len(steps) == 7
    monkeypatch.setattr(Training, "step", interrupted(after=99, seen=steps))
    assert torch.equal(run.coder().W_d, whole.W_d) and len(steps) == 12


def interrupted(after, seen, step=Training.step):
    """A step of the optimiser at which somebody presses Ctrl-C."""
    def counted(*arguments):
        if len(seen) == after:
            raise KeyboardInterrupt
        seen.append(1)
        step(*arguments)

    return counted


def test_streamed_training_runs_from_the_same_call(run, tmp_path):
    streamed = Run("smoke", model=run.model, images=run.images, action=run.action, work=tmp_path / "s",
                   stream=True, **TINY)
    source = OrbitStream(run.model, run.action, run.source("train"), points_per_image=8, mask_radius=7.0, seed=0)
    profile = run.profile
    build, single = dict(activation=profile.activation, k=4, seed=0), IdentityBlocks(source)
    for kind, coder, read in (
            ("crosscoder", GroupCrosscoder(run.group, 6, 24, **build, scale=source.scale), source),
            ("sae", SparseAutoencoder(6, 24, **build, scale=single.scale), single)):
        train(coder, read, steps=12, batch_size=32, lr=profile.lr, sparsity=profile.sparsity, seed=0, amp=profile.amp,
              progress=False)
        found, stored = streamed.coder(kind), run.coder(kind)
        assert torch.equal(found.W_d, coder.W_d) and not torch.equal(found.W_d, stored.W_d)
    assert not list((tmp_path / "s").glob("orbits/*"))


def test_a_capped_store_holds_a_sample_of_the_images(run, tmp_path):
    capped = Run("smoke", model=run.model, images=run.images, action=run.action, work=tmp_path / "c",
                 store_images=3, **TINY)
    assert len(capped.orbits("train")) == 3 * 8 and len(run.orbits("train")) == 18 * 8
    assert len(set(capped.stored_source("train").names) - set(run.source("train").names)) == 0


def test_photographs_are_needed_where_there_are_no_drawings(tmp_path, monkeypatch):
    monkeypatch.delenv("GROUPCC_DATA", raising=False)
    with pytest.raises(ValueError, match="needs photographs"):
        Run("smoke", model=small_model(), work=tmp_path).source()
    with pytest.raises(ValueError, match="no weights for googlenet"):
        Run("inception", work=tmp_path).model  # noqa: B018


@pytest.mark.parametrize("arguments, message", [
    (dict(profile="boook"), "profile is 'boook'"),
    (dict(seed=-1), "seed is -1"),
    (dict(layer="mixed9z"), "mixed9z"),
    (dict(colour="red"), "no field colour"),
    (dict(model=torch.nn.ReLU()), "a bare ReLU.*wrap_model"),
    (dict(group=4), "group is 4; expected a name"),
    (dict(group=FiniteGroup(cyclic(3).table, names=("e", "a", "b"), name="D_3")),
     "no standard way to move images"),
])
def test_bad_settings_are_one_clear_error(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        Run(**({"profile": "smoke", "work": tmp_path} | arguments)).model  # noqa: B018


def test_unknown_coder_settings_are_refused(run):
    with pytest.raises(ValueError, match="no setting depth"):
        run.coder(depth=2)


def test_a_group_may_be_given_as_one(tmp_path):
    runs = [Run("smoke", group=group, work=tmp_path) for group in (dihedral(4), "D_4", "d4")]
    assert {run.profile.group for run in runs} == {"D_4"} and all(run.group == dihedral(4) for run in runs)


def test_a_model_by_name_replaces_the_profiles(tmp_path):
    run = Run("smoke", model="torchvision/resnet18/layer1", weights="random", work=tmp_path)
    assert run.profile.model == "torchvision/resnet18/layer1" and "resnet18" in run.model.name


def test_a_product_needs_to_be_told_how_it_acts():
    with pytest.raises(ValueError, match="group is 'C_4 x C_2'.*action=product_action"):
        Run("smoke", group="C_4 x C_2")
    both = product_action(PlanarAction(cyclic(4)), ColourAction(cyclic(3)))
    assert Run("smoke", action=both).group.order == 12


# ------------------------------------------------------------------------------- what is known to fail beforehand

def test_a_run_that_can_work_passes_its_check(run, tmp_path):
    assert run.check() is None
    assert list(tmp_path.iterdir()) == []  # and nothing was made


@pytest.mark.parametrize("changes, message", [
    (dict(mask_radius=0.1), "no point is left inside a mask"),
    (dict(points_per_image=500), "points_per_image is 500"),
    (dict(batch_size=1000), "batch_size is 1000, but 18 images .* give 144 orbits"),
    (dict(k=99), "k is 99; expected 1 to 24"),
    (dict(activation="gelu"), "activation is 'gelu'"),
    (dict(topk_ks=(4, 25)), "TopK 25 of the trade-off curve: k is 25"),
])
def test_settings_that_cannot_work_are_known_at_once(run, changes, message):
    other = Run("smoke", model=run.model, images=run.images, action=run.action, work=run.work, **(TINY | changes))
    with pytest.raises(ValueError, match=message):
        other.check()


def test_images_and_weights_that_cannot_be_used_are_known_at_once(run, tmp_path, monkeypatch):
    monkeypatch.delenv("GROUPCC_DATA", raising=False)
    small = Run("smoke", model=run.model, images=noise_images(4, 6), action=run.action, work=tmp_path, **TINY)
    with pytest.raises(ValueError, match="image 0 has a short side of 6 px"):
        small.check()
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match="no usable image"):
        Run("smoke", model=run.model, images=tmp_path / "photos", work=tmp_path).check()
    with pytest.raises(ValueError, match="unknown layer 'mixed9z'"):
        Run("smoke", layer="mixed9z", work=tmp_path).check()
    with pytest.raises(ValueError, match="no weights for googlenet"):
        Run("inception", work=tmp_path).check()


def test_everything_wrong_is_said_together(run, tmp_path):
    (tmp_path / "file").touch()
    wrong = Run("smoke", model=run.model, images=run.images, action=run.action, work=tmp_path / "file" / "work",
                **(TINY | dict(k=99, mask_radius=0.1)))
    with pytest.raises(ValueError, match="(?s)cannot be written.*\n- the coder: k is 99.*\n- no point is left"):
        wrong.check()


# ------------------------------------------------------------------------------------------- two processes, one folder

MAKER = """
import sys
import time
from pathlib import Path
from test_layer_run import small_run
from groupcc_lite.coders import Training

step, (work, place) = Training.step, sys.argv[1:]
def slow(*arguments):
    Path(f"{place}.began").touch()
    while not Path(f"{place}.go").exists():
        time.sleep(0.01)
    step(*arguments)
Training.step = slow
print(float(small_run(work).coder().W_d.double().sum()))
"""


def until(condition):
    """Wait for something that another process does."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


@pytest.fixture
def maker(tmp_path, root):
    """A function that starts another process on the work folder, which stops before its first step until told to go."""
    processes = []

    def start(name):
        place = tmp_path / name
        paths = os.pathsep.join(map(str, (root, root / "tests" / "runs", root / "tests" / "helpers")))
        with (tmp_path / f"{name}.log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-c", MAKER, tmp_path / "work", place], text=True, stderr=log,
                                       env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE)
        processes.append(process)
        process.place, process.said = place, tmp_path / f"{name}.log"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait(60)


def test_two_processes_that_want_the_same_coder_make_it_once(maker):
    first = maker("first")
    until(Path(f"{first.place}.began").exists)
    second = maker("second")
    until(lambda: "waiting for it" in second.said.read_text())
    assert f"process {first.pid} on" in second.said.read_text()
    Path(f"{first.place}.go").touch()
    sums = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert sums[0] == sums[1] != "" and [p.returncode for p in (first, second)] == [0, 0]
    assert not Path(f"{second.place}.began").exists()  # it trained nothing


def test_a_killed_maker_is_taken_over_from(maker, tmp_path, caplog):
    first = maker("first")
    until(Path(f"{first.place}.began").exists)
    first.send_signal(signal.SIGKILL)
    first.wait(60)
    coder = small_run(tmp_path / "work").coder()
    assert f"begun by process {first.pid} on" in caplog.text
    assert torch.equal(coder.W_d, small_run(tmp_path / "elsewhere").coder().W_d)


def test_a_coder_of_moved_images_reads_another_block_and_is_kept_under_another_key(tmp_path):
    small = dict(group="C_4", drawings=16, points_per_image=8, latents=32, k=4, steps=3, batch_size=16, work=tmp_path)
    run = Run("smoke", **small)
    plain, moved = run.coder(), run.moved_coder(1)
    assert torch.equal(run.moved_coder(0).W_d, plain.W_d)
    assert not torch.equal(moved.W_e, plain.W_e)
    assert torch.equal(run.moved_coder(1).W_e, moved.W_e) and len(list((tmp_path / "coders").glob("cross*-*"))) == 2


def moved_key(h, **changes):
    run = Run("smoke", group="C_4", drawings=20, work="nowhere", **changes)
    return run.recipes.moved_coder(run.group.names[h]).key


def test_the_key_of_a_moved_coder_names_the_store_that_it_is_trained_on():
    """In a streaming profile too: it reads the store, of as many images as `store_images` says."""
    for stream in (False, True):
        keys = {moved_key(h, stream=stream, store_images=limit) for h in (1, 2) for limit in (6, 9)}
        assert len(keys) == 4
        assert moved_key(1, stream=stream, store_images=6) in keys
    run = Run("smoke", group="C_4", drawings=20, work="nowhere")
    assert run.recipes.moved_coder("r").made_from["orbits"] == run.recipes.orbits("train").key
    assert run.recipes.moved_coder("r").key != run.recipes.coder().key
    for h in (4, -1):
        with pytest.raises(ValueError, match=f"h is {h}; expected 0 to 3, an element of C_4"):
            run.moved_coder(h)


def test_the_control_of_the_built_in_network_is_for_that_network_only(tmp_path):
    """A model of one's own has the profile's model name beside it, and is another network."""
    own = Run("smoke", model=small_model(), images=noise_images(8, 40), work=tmp_path)
    with pytest.raises(ValueError, match="control is 'told'; expected one of .* for tiny-inception"):
        own.control("told")
    assert Run("smoke", drawings=8, work=tmp_path).control("told").model.name == "tiny-inception-told"


def test_two_sets_of_images_share_none(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("GROUPCC_DATA", raising=False)
    run = Run("smoke", work=tmp_path, drawings=20, control_images=8)
    first, second, what = run.two_image_sets()
    assert what == "drawings of another seed" and len(first.all_images) == 8
    assert not set(first.all_images.names) & set(second.all_images.names)
    pictures = torch.rand(12, 3, run.all_images.size, run.all_images.size)
    own = Run("smoke", work=tmp_path, images=pictures)
    first, second, what = own.two_image_sets()
    assert "half" in what and "second=FOLDER" in caplog.text
    assert not set(first.all_images.names) & set(second.all_images.names)
    assert len(first.all_images) + len(second.all_images) == 12
    assert own.two_image_sets(pictures.flip(0))[2] == "given"


def test_features_are_a_row_each_and_say_what_the_library_says(run):
    frame, coder, G = run.features(), run.coder(), run.group
    alive = np.flatnonzero(run.evaluate(coder).frequency > 0)
    assert frame.index.tolist() == alive.tolist() and frame.index.name == "latent"
    D = coder.dictionary.detach()[alive]
    assert frame.symmetry.tolist() == [s.subgroup.label for s in stabilisers(D, G)]
    assert frame.frequency.tolist() == pytest.approx(run.evaluate(coder).frequency[alive])
    similarity, mover = max_cosine(D, G, elements=True)
    similarity.fill_diagonal_(-2)
    nearest = similarity.argmax(1)
    assert frame.nearest.tolist() == alive[nearest].tolist()
    assert frame.cosine.to_numpy() == pytest.approx(similarity.amax(1).numpy(), abs=1e-5)
    assert frame.mover.tolist() == [G.names[mover[i, j]] for i, j in enumerate(nearest)]
    power = frame[[name for name in frame if name.startswith("power ")]]
    assert power.shape[1] == len(G.irreps()) and power.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)
    asked = frame.symmetry != "none"
    assert frame.encoder.notna().equals(frame.confirmed.notna()) and not frame.confirmed[~asked].notna().any()


def test_features_of_the_sae_have_no_symmetry(run):
    frame = run.features("sae")
    assert "symmetry" not in frame and set(frame.mover) == {"e"} and len(frame) > 1


def test_a_table_survives_the_way_through_a_file(run, tmp_path):
    frame = run.features()
    frame.to_csv(tmp_path / "features.csv")
    back = pandas.read_csv(tmp_path / "features.csv", index_col="latent", dtype={"confirmed": "boolean"},
                           keep_default_na=False, na_values=[""])
    assert back.symmetry.tolist() == frame.symmetry.tolist() and back.confirmed.equals(frame.confirmed)


def test_a_group_and_another_groups_action_are_refused(tmp_path):
    action = PlanarAction(cyclic(8))
    with pytest.raises(ValueError, match="group is C_4, and action has C_8; give one of them"):
        Run("smoke", group="C_4", action=action, work=tmp_path)
    assert Run("smoke", group=None, action=action, work=tmp_path).group == cyclic(8)
    assert Run("smoke", group=cyclic(8), action=action, work=tmp_path).group == cyclic(8)


def test_a_network_that_no_library_knows_has_an_untrained_control(tmp_path):
    """A copy with new weights, on the same images."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 2), torch.nn.ReLU())
    model = wrap_model(network, "1", input_size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    run = Run("smoke", group="C_4", model=model, images=torch.rand(8, 3, 32, 32), work=tmp_path)
    untrained = run.control("untrained")
    assert untrained.model.fingerprint != model.fingerprint and untrained.model.geometry == model.geometry
    assert untrained.all_images.fingerprint == run.all_images.fingerprint


def test_a_coder_that_explains_nothing_is_said_to(tmp_path, caplog):
    run = Run("smoke", group="C_4", drawings=8, points_per_image=4, latents=32, k=2, steps=2, batch_size=8,
              work=tmp_path)
    coder = run.coder()
    with torch.no_grad():
        coder.W_d.mul_(50)
    assert run.evaluate(coder).fve < 0
    assert "on held-out images this coder is worse than their mean (fve -" in caplog.text
