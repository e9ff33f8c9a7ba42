"""Every field of every profile, changed alone, changes the key of everything that depends on it, and of nothing else.

The tables say what depends on what. A field that is missing from its table is a failing test.
"""

import dataclasses
import runpy

import numpy as np
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite import symmetry
from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers import probing, trials
from groupcc_lite.groups import cyclic, dihedral, parse_group
from groupcc_lite.runs import recipes
from groupcc_lite.runs.layer_run import Run
from groupcc_lite.runs.profiles import Profile
from groupcc_lite.runs.recipes import LayerRecipes, SceneRecipes
from groupcc_lite.runs.scene_run import SceneRun
from groupcc_lite.runs.study_profiles import KeyProfile, SceneProfile
from groupcc_lite.stimuli import TensorImages
from groupcc_lite.studies import answer_plan
from groupcc_lite.studies.answer_plan import answer_studies


def changed(before, after):
    """Names whose key is another, or that only one of both has."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_changed_sees_new_keys_new_names_and_lost_ones():
    assert changed({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 4, "d": 5}) == {"b", "c", "d"}


# --------------------------------------------------------------------------------------------------- one layer

PROFILE = Profile("a", "b", group="C_4", drawings=24, store_images=20, l1_sparsities=(1.0,), topk_ks=(4,), latents=32,
                  k=8, sparsity=0.5)
DOWNSTREAM_OF_SAE = {"fitted", "map of fitted", "map of sae"}
CODERS = {"crosscoder", "sae", "map of crosscoder"} | DOWNSTREAM_OF_SAE
CURVE = {"curve, L1 1", "curve, TopK 4"}
MEASURED = {"ceiling", "transform, adam", "transform, least squares"}
ALL = CODERS | CURVE | MEASURED | {"orbits, train", "orbits, held-out"}
NOTHING: set[str] = set()
PICTURES = "visualisation"

LAYER = {  # field: another value, and what that changes; pictures are made from directions that are given
    "name": ("other", NOTHING), "summary": ("other", NOTHING), "group": ("D_4", ALL),
    "model": ("googlenet", ALL | {PICTURES}), "layer": ("mixed3a", ALL | {PICTURES}),
    "drawings": (30, ALL), "held_out": (0.2, ALL), "points_per_image": (4, ALL), "mask_radius": (9.0, ALL),
    "registration": ("patch-centred", ALL),
    "stream": (True, CODERS | CURVE), "store_images": (1, ALL),
    "latents": (48, CODERS | CURVE), "activation": ("topk", CODERS), "k": (4, CODERS), "sparsity": (1.0, CODERS),
    "l1_sparsities": ((2.0,), {"curve, L1 1", "curve, L1 2"}), "topk_ks": ((8,), {"curve, TopK 4", "curve, TopK 8"}),
    "curve_steps": (9, CURVE), "steps": (9, CODERS), "batch_size": (9, CODERS | CURVE), "lr": (1e-5, CODERS | CURVE),
    "seeds": (9, NOTHING), "control_images": (9, NOTHING), "control_steps": (9, NOTHING),
    "folds": (9, NOTHING), "fold_seeds": (9, NOTHING), "fold_steps": (9, NOTHING), "fold_batch": (9, NOTHING),
    "transform_steps": (9, {"transform, adam"}), "vis_size": (48, {PICTURES}),
    "vis_steps": (9, {PICTURES}), "vis_count": (9, NOTHING), "atlas_size": (9, NOTHING), "atlas_steps": (9, NOTHING),
    "amp": (False, CODERS | CURVE),
}
"""Nothing kept depends on names, and on how many seeds, folds or pictures a chapter asks for: each has its own key.
What the keys of folds depend on stands in test_folds. The atlas keeps its pictures itself."""


def run_keys(profile, **facts):
    """Of a run whose model has random weights, and of pictures of some directions."""
    run = Run(profile, weights="random", work="nowhere", **facts)
    return run.keys() | {PICTURES: run.recipes.visualisation(torch.eye(3)).key}


def layer_keys(profile, seed=0, **facts):
    """Without a model: what stands for it, and for images, is as it would be."""
    parts = ("train", "held-out")
    images = {part: f"{profile.drawings} {profile.held_out} {part}" for part in parts}
    facts = dict(model=f"{profile.model} {profile.layer}", images=images,
                 stored={part: f"{images[part]} {profile.store_images}" for part in parts},
                 action=recipes.action_address(parse_group(profile.group), profile.group)) | facts
    made = LayerRecipes(profile, seed, **facts)
    return {name: artefact.key for name, artefact in made.all().items()} | {
        PICTURES: made.visualisation(torch.eye(3)).key}


def test_every_field_of_the_profile_is_in_the_table():
    assert [field.name for field in dataclasses.fields(Profile)] == list(LAYER)
    assert set(run_keys(PROFILE)) == set(layer_keys(PROFILE)) == ALL | {PICTURES}


@pytest.mark.parametrize("field", LAYER)
def test_a_field_of_a_profile_changes_what_depends_on_it_and_nothing_else(field):
    value, expected = LAYER[field]
    other = dataclasses.replace(PROFILE, **{field: value})
    # Only the built-in model has drawings.
    facts = dict(images=TensorImages(torch.zeros(24, 3, 8, 8))) if field == "model" else {}
    assert changed(run_keys(PROFILE, **facts), run_keys(other, **facts)) == expected


STREAMED = {"points_per_image": ALL, "store_images": MEASURED | {
    "orbits, train", "orbits, held-out", "fitted", "map of crosscoder", "map of sae", "map of fitted"}}


@pytest.mark.parametrize("field", STREAMED)
def test_with_a_stream_the_store_matters_only_to_what_reads_it(field):
    streamed = dataclasses.replace(PROFILE, stream=True)
    other = dataclasses.replace(streamed, **{field: LAYER[field][0]})
    assert changed(layer_keys(streamed), layer_keys(other)) == STREAMED[field]


@pytest.mark.parametrize("fact, value, expected", [
    ("model", "another", ALL | {PICTURES}), ("action", "another", ALL),
    ("images", {"train": "x", "held-out": "24 0.1 held-out"}, NOTHING),  # of a stream, which this profile has not
    ("stored", {"train": "x", "held-out": "24 0.1 held-out 20"}, ALL - {"orbits, held-out"}),
    ("stored", {"train": "24 0.1 train 20", "held-out": "x"}, {name for name in ALL if name.startswith("map")}
     | {"orbits, held-out", "ceiling"})])
def test_model_action_and_images(fact, value, expected):
    assert changed(layer_keys(PROFILE), layer_keys(PROFILE, **{fact: value})) == expected


def test_the_seed_is_in_every_key_and_keys_are_stable():
    assert changed(layer_keys(PROFILE), layer_keys(PROFILE, seed=1)) == ALL | {PICTURES}
    assert layer_keys(PROFILE) == layer_keys(PROFILE)
    assert len(set(layer_keys(PROFILE).values())) == len(ALL) + 1


def test_pictures_depend_on_what_is_drawn():
    made = LayerRecipes(PROFILE, 0, model="m", images={}, stored={}, action="a")
    D = torch.eye(3)
    keys = {made.visualisation(d).key for d in (D, D * 2, D[:2], D[[1, 0, 2]], D.flatten()[None])}
    assert len(keys) == 5 and made.visualisation(D, size=50).key not in keys
    assert made.visualisation(D.to(torch.bfloat16)).key in keys


def test_maps_differ_by_similarity_seed_and_kind():
    made = LayerRecipes(PROFILE, 0, model="m", images={}, stored={"train": "a", "held-out": "b"}, action="a")
    maps = [made.family_map(kind, symmetric, seed) for kind in recipes.MAP_KINDS for symmetric in (True, False)
            for seed in (0, 1)]
    assert len({artefact.key for artefact in maps}) == 12
    assert made.family_map("sae", True, 0, latents=9).key not in {artefact.key for artefact in maps}


def test_only_large_dictionaries_depend_on_how_many_pairs_are_held(monkeypatch):
    made = LayerRecipes(PROFILE, 0, model="m", images={}, stored={"train": "a", "held-out": "b"}, action="a")
    few, many = (made.family_map("sae", True, 0, latents=latents).key for latents in (8192, 8193))
    monkeypatch.setattr(symmetry, "LARGE", 8000)
    assert few != made.family_map("sae", True, 0, latents=8192).key
    assert many != made.family_map("sae", True, 0, latents=8193).key
    monkeypatch.setattr(symmetry, "LARGE", 9000)
    assert few == made.family_map("sae", True, 0, latents=8192).key


@pytest.mark.parametrize("kind, expected", [
    ("orbits", ALL), ("coders", CODERS | CURVE), ("fitted", {"fitted", "map of fitted"}), ("ceilings", {"ceiling"}),
    ("transforms", MEASURED - {"ceiling"}), ("maps", {name for name in ALL if name.startswith("map")}),
    ("visualisations", {PICTURES})])
def test_a_makers_version_changes_what_it_makes_and_what_is_made_from_it(kind, expected, monkeypatch):
    before = layer_keys(PROFILE)
    monkeypatch.setitem(recipes.VERSIONS, kind, recipes.VERSIONS[kind] + 1)
    assert changed(before, layer_keys(PROFILE)) == expected


@pytest.mark.parametrize("constant, expected", [
    ("orbits.STORE_FORMAT", {"orbits"}), ("symmetry.PICTURE_FORMAT", {"visualisations"}),
    ("coders.GroupCrosscoder.format", {"coders", "scene-coders"}),
    ("coders.SparseAutoencoder.format", {"coders", "scene-coders"}), ("coders.FittedCrosscoder.format", {"fitted"}),
    ("coders.TransformMatrix.format", {"transforms", "scene-transforms", "scene-coders"}),
    ("coders.EquivariantSAE.format", {"scene-coders"}), ("models.AUTOENCODER_FORMAT", {"base-models"})])
def test_another_format_of_files_is_another_version_of_their_maker(constant, expected, monkeypatch):
    """Or what was kept would be found and refused, instead of made again."""
    monkeypatch.setattr(f"groupcc_lite.{constant}", 99)
    assert changed(recipes.VERSIONS, runpy.run_path(recipes.__file__, run_name="recipes_anew")["VERSIONS"]) == expected


@pytest.mark.parametrize("constant, expected", [("FITTED_RIDGE", {"fitted", "map of fitted"}),
                                                ("TRANSFORM_RIDGE", {"transform, least squares"})])
def test_strengths_of_ridges_are_in_the_keys(constant, expected, monkeypatch):
    before = layer_keys(PROFILE)
    monkeypatch.setattr(recipes, constant, 0.5)
    assert changed(before, layer_keys(PROFILE)) == expected


@pytest.mark.parametrize("package, expected", [
    ("umap-learn", {name for name in ALL if name.startswith("map")}),
    ("scikit-learn", {name for name in ALL if name.startswith("map")}),
    ("torch-lucent", {PICTURES}), ("kornia", {PICTURES}), ("torch", NOTHING)])
def test_whose_algorithm_made_it_is_in_the_key(package, expected, monkeypatch):
    before, of = layer_keys(PROFILE), recipes.package_version
    monkeypatch.setattr(recipes, "package_version", lambda name: "9.9" if name == package else of(name))
    assert changed(before, layer_keys(PROFILE)) == expected


@pytest.mark.parametrize("change", [dict(points_per_image=4), dict(mask_radius=9.0),
                                    dict(registration="grid-centre")])
def test_settings_of_orbits_are_in_their_key_once(change):
    made = LayerRecipes(PROFILE, 0, model="m", images={}, stored={"train": "a"}, action="a")
    assert made.orbits("train", **change).key != made.orbits("train").key
    same = {name: made.sampling[name] for name in change}
    assert made.orbits("train", **same).key == made.orbits("train").key


@pytest.mark.parametrize("setting", ["progress", "seed", "images_per_shard", "amp"])
def test_what_is_no_setting_of_orbits_gets_no_key(setting):
    made = LayerRecipes(PROFILE, 0, model="m", images={}, stored={"train": "a"}, action="a")
    with pytest.raises(ValueError, match=f"orbits have no setting {setting}; expected points_per_image, mask_radius"):
        made.orbits("train", **{setting: 1})


def test_a_runs_own_facts_reach_its_keys(tmp_path):
    """What `layer_keys` makes up, `Run` takes from model, images, group and action."""
    model, images = small_model(), noise_images(20, 40)
    settings = dict(model=model, images=images, action=PlanarAction(cyclic(4)), work=tmp_path, points_per_image=4,
                    mask_radius=7.0)
    run = Run("smoke", **settings)
    everything = set(run.keys())
    assert run.keys() == Run("smoke", **settings).keys() and list(tmp_path.iterdir()) == []
    turned = PlanarAction(cyclic(4), np.linalg.matrix_power(PlanarAction(cyclic(4)).matrices, 3))
    for change in (dict(model=small_model(channels=7)), dict(images=images.flip(0)), dict(action=turned),
                   dict(action=PlanarAction(dihedral(4))), dict(held_out=0.3), dict(seed=1)):
        assert changed(run.keys(), Run("smoke", **(settings | change)).keys()) == everything, change
    limited = Run("smoke", **settings, store_images=5)
    assert changed(run.keys(), limited.keys()) == everything - {"orbits, held-out"}  # of which there are only 2
    assert changed(run.keys(), Run("smoke", **settings, store_images=100).keys()) == NOTHING  # there are only 20
    assert changed(run.keys(), Run("smoke", **settings, device="cpu").keys()) == NOTHING


def test_keys_name_where_artefacts_really_lie(tmp_path):
    run = Run("smoke", model=small_model(), images=noise_images(20, 40), action=PlanarAction(cyclic(4)), work=tmp_path,
              points_per_image=8, mask_radius=7.0, latents=24, k=4, steps=2, batch_size=32)
    run.coder()
    assert (tmp_path / "coders" / f"crosscoder-{run.keys()['crosscoder']}" / "weights.safetensors").is_file()
    assert run.orbits().folder == tmp_path / "orbits" / run.keys()["orbits, train"]


# ------------------------------------------------------------------------------------------------------ scenes

SCENES = SceneProfile("a", base_models=("mlp",), ks=(4,), truncations=(8,), tasks=1, seeds=1, repeated_ks=(4,),
                      sweep_latents=(8, 16), sweep_steps=(5,))
BASES, ADAM, PENALTY = {"base"}, {"M by adam"}, {"M by penalty"}
WITH_M = {"equivariant", "shallow"}
TRAINED, SWEEP = {"sae", "wide", "deep"} | WITH_M, {"sweep"}
PROBES = {f"probes of {name}" for name in (*(TRAINED - {"shallow"}), "activations")}
TURNING_PROBES = {"probes of equivariant"}
CODER_PROBES = PROBES - {"probes of activations"}
EVERYTHING = BASES | ADAM | PENALTY | TRAINED | PROBES | SWEEP

SCENE = {
    "name": ("other", NOTHING), "held_out": (0.3, EVERYTHING), "base_models": (("cnn", "mlp"), EVERYTHING - SWEEP),
    "base_epochs": (9, EVERYTHING), "base_batch": (9, EVERYTHING), "base_lr": (1e-5, EVERYTHING),
    "base_amp": (True, EVERYTHING),
    "transform_steps": (90, ADAM | PENALTY | WITH_M | TURNING_PROBES | SWEEP),
    "transform_batch": (9, ADAM | PENALTY | WITH_M | TURNING_PROBES | SWEEP),
    "transform_lr": (1e-5, ADAM | PENALTY | WITH_M | TURNING_PROBES | SWEEP),
    "latents": (9, TRAINED | CODER_PROBES),
    "hidden": (9, {"deep", "equivariant", "probes of deep", "probes of equivariant"} | SWEEP),
    "ks": ((8,), TRAINED | CODER_PROBES | SWEEP), "steps": (9, TRAINED | CODER_PROBES),
    "batch_size": (9, TRAINED | CODER_PROBES | SWEEP), "lr": (1e-5, TRAINED | CODER_PROBES | SWEEP),
    "amp": (False, TRAINED | CODER_PROBES | SWEEP), "truncations": ((9,), CODER_PROBES), "tasks": (2, PROBES),
    "probe_train": (99, PROBES), "probe_test": (99, PROBES), "seeds": (2, BASES | ADAM | PENALTY),
    "coder_seeds": (2, NOTHING), "repeated_ks": ((), NOTHING), "sweep_latents": ((9,), SWEEP),
    "sweep_steps": ((7,), SWEEP),
}
"""More base models or seeds are more artefacts; those that there were keep their keys. `coder_seeds` and `repeated_ks`
choose among several seeds, and this profile has one."""


@pytest.mark.parametrize("fewer", [dict(coder_seeds=1), dict(repeated_ks=())])
def test_where_there_are_two_seeds_these_fields_say_which_coders_have_them(fewer):
    both = dataclasses.replace(SCENES, seeds=2, coder_seeds=2)
    more, less = scene_keys(both), scene_keys(dataclasses.replace(both, **fewer))
    assert less.items() < more.items() and {part_of(name) for name in changed(less, more)} == TRAINED | PROBES


def part_of(name):
    """What a name of `SceneRun.keys` is about: "mlp, seed 0, k = 4: probes of sae, latents from 8" -> probes of sae."""
    what = name.split(": ")[1]
    return "base" if what == "base model" else what.split(",")[0]


def scene_keys(profile=SCENES, seed=0, **facts):
    return SceneRun(profile, seed, work="nowhere", **facts).keys()


def test_every_field_of_the_scene_profile_is_in_the_table():
    assert [field.name for field in dataclasses.fields(SceneProfile)] == list(SCENE)
    assert {part_of(name) for name in scene_keys()} == EVERYTHING


@pytest.mark.parametrize("field", SCENE)
def test_a_field_of_a_scene_profile_changes_what_depends_on_it_and_nothing_else(field):
    value, expected = SCENE[field]
    before, after = scene_keys(), scene_keys(dataclasses.replace(SCENES, **{field: value}))
    names = changed(before, after)
    assert {part_of(name) for name in names} == expected
    if field in ("base_models", "seeds"):
        assert before.items() <= after.items()
    else:  # not only some of each kind
        assert {name for name in before if part_of(name) in expected} <= names


def test_seed_group_and_tasks_of_scenes():
    assert {part_of(name) for name in changed(scene_keys(), scene_keys(seed=1))} == EVERYTHING
    assert not set(scene_keys().values()) & set(scene_keys(seed=1).values())
    mirrored = scene_keys(group=dihedral(4))
    assert {part_of(name) for name in changed(scene_keys(), mirrored)} == EVERYTHING - BASES  # they see quarter turns


@pytest.mark.parametrize("setting", ["NEIGHBOURS", "RIDGE", "TREES", "DEPTH", "RATE", "TREE_L2", "BINS", "FORMAT"])
def test_settings_of_probes_are_in_their_keys(setting, monkeypatch):
    before = scene_keys()
    monkeypatch.setattr(probing, setting, getattr(probing, setting) * 2)
    assert {part_of(name) for name in changed(before, scene_keys())} == PROBES


def test_whose_trees_scored_is_in_the_key(monkeypatch):
    before = scene_keys()
    monkeypatch.setattr(probing, "package_version", lambda name: "9.9")
    assert {part_of(name) for name in changed(before, scene_keys())} == PROBES


def test_relations_and_task_names_are_in_the_keys():
    made = SceneRecipes(SCENES, 0, cyclic(4), ("S 1",))
    other = SceneRecipes(SCENES, 0, cyclic(4), ("S 2",))
    assert len({made.transform("mlp", 0, weight).key for weight in (0.0, 1.0, 2.0)}) == 3
    assert made.probe("mlp", "sae", 4, "latents", 8, 0).key != other.probe("mlp", "sae", 4, "latents", 8, 0).key
    plain = [made.probe("mlp", name, k, "activations", 8, 0).key for name in ("sae", "wide") for k in (4, 8)]
    assert len(set(plain)) == 1  # no coder plays a part


# -------------------------------------------------------------------------------------------------- answer key

KEY = KeyProfile("a", group="C_4", channels=12, orbits=100, sweep_group="C_3", sweep_channels=10, noises=(0.1,),
                 superpositions=(1.0,), brokens=(0.2,), lengths=(7,))
LENGTHS, TOLD = {"steps 7"}, {f"told {name}" for name in answer_plan.TOLD}
SWEEPS = {"poses", "noise", "superposition", "broken"} | LENGTHS | TOLD
STUDIES = {"standard", "drawings"} | SWEEPS

STUDIED = {
    "name": ("other", NOTHING), "group": ("D_2", {"standard", "drawings"}), "channels": (16, {"standard", "drawings"}),
    "steps": (9, {"standard"}), "drawing_steps": (9, {"drawings"}), "orbits": (90, STUDIES),
    "seeds": (2, {"standard", "drawings"}), "sweep_group": ("C_4", SWEEPS), "sweep_channels": (12, SWEEPS),
    "sweep_steps": (9, SWEEPS - LENGTHS), "sweep_seeds": (2, SWEEPS), "noises": ((0.2,), {"noise"} | LENGTHS),
    "superpositions": ((2.0,), {"superposition"}), "brokens": ((0.3,), {"broken"}),
    "lengths": ((8,), {"steps 7", "steps 8"}),
}


def study_keys(profile=KEY, seed=0):
    return {name: study.keys() for name, study in answer_studies(profile, seed).items()}


def test_every_field_of_the_key_profile_is_in_the_table():
    assert [field.name for field in dataclasses.fields(KeyProfile)] == list(STUDIED)
    assert set(study_keys()) == STUDIES


@pytest.mark.parametrize("field", STUDIED)
def test_a_field_of_a_key_profile_changes_the_studies_that_depend_on_it_and_no_others(field):
    value, expected = STUDIED[field]
    before, after = study_keys(), study_keys(dataclasses.replace(KEY, **{field: value}))
    assert changed(before, after) == expected
    for name in expected:
        if field in ("seeds", "sweep_seeds"):
            assert before[name].items() <= after[name].items() and len(after[name]) == 2 * len(before[name])
        else:
            assert not set(before.get(name, {}).values()) & set(after.get(name, {}).values())


def test_the_seed_of_a_study_seeds_its_problems_too():
    before, after = study_keys(), study_keys(seed=1)
    assert changed(before, after) == STUDIES
    two = answer_studies(dataclasses.replace(KEY, seeds=2))["standard"]
    first, second = dict((trial.seed, problem) for trial, problem in two.made()).values()
    assert not torch.equal(first.dictionary, second.dictionary)


@pytest.mark.parametrize("constant", ["TAU", "RECOVERED", "VERSION"])
def test_thresholds_and_version_are_in_the_keys_of_trials(constant, monkeypatch):
    before = study_keys()
    monkeypatch.setattr(trials, constant, 1)
    assert changed(before, study_keys()) == STUDIES
