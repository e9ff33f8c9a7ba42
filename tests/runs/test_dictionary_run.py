"""A run with somebody's dictionary: no training, keys of its own, and everything downstream reads it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import noise_images, noise_run, small_model

from groupcc_lite.__main__ import main
from groupcc_lite.analysis import measure
from groupcc_lite.atlas import make_page
from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder, SparseAutoencoder, fit_blocks
from groupcc_lite.groups import cyclic
from groupcc_lite.interop import load_dictionary, to_saelens
from groupcc_lite.runs import Run

CHANNELS, LATENTS = 6, 40


def dictionary(seed=0, channels=CHANNELS, scale=1.0):
    sae = SparseAutoencoder(channels, LATENTS, activation="topk", k=5, select="latent", scale=scale, seed=seed)
    with torch.no_grad():
        sae.b_e.add_(0.1)
    return sae.eval()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def plain(work):
    return noise_run(work)


@pytest.fixture(scope="module")
def given(plain):
    return plain.with_dictionary(dictionary())


def test_its_coders_are_the_dictionary_and_its_fitted_blocks(given, plain):
    mine = dictionary()
    assert given.coder("sae").fingerprint == mine.fingerprint
    fitted = given.coder()
    assert isinstance(fitted, FittedCrosscoder) and fitted.group == plain.group
    torch.testing.assert_close(fitted.dictionary, fit_blocks(mine, plain.orbits("train")).dictionary)
    assert torch.equal(given.fitted().dictionary, fitted.dictionary)
    assert not (plain.work / "coders").exists()  # nothing was trained


def test_keys_hold_the_content_of_the_dictionary_and_nothing_else_of_it(given, plain):
    same, keys = plain.with_dictionary(dictionary()).keys(), given.keys()
    assert same == keys
    of_images = {name for name in keys if name.startswith(("orbits", "transform", "ceiling"))}
    assert {name for name in keys if keys[name] == plain.keys()[name]} == of_images
    for other in (dictionary(seed=1), dictionary(scale=0.5)):
        changed = plain.with_dictionary(other).keys()
        assert {name for name in keys if changed[name] == keys[name]} == of_images
    trained = SparseAutoencoder.load(plain._coder_folder("sae", steps=1))
    assert plain.with_dictionary(trained).keys()["fitted"] not in plain.keys().values()


def test_what_is_done_to_the_original_afterwards_does_not_matter(plain):
    mine = dictionary(seed=3)
    run = plain.with_dictionary(mine)
    with torch.no_grad():
        mine.W_e.zero_()
    assert run.coder("sae").fingerprint == dictionary(seed=3).fingerprint


def test_maps_tables_and_measures_read_it(given):
    table = given.feature_table()
    assert table.latents == LATENTS and table.symmetries is not None
    assert given.feature_table("sae").latents == LATENTS
    frame = given.features()
    assert {"symmetry", "confirmed", "nearest"} <= set(frame.columns) and len(frame) == len(table.features)
    found = measure(given)
    assert isinstance(found.coder, FittedCrosscoder) and len(found.census.labels) == len(table.features)
    np.testing.assert_allclose(found.metrics.fve, given.evaluate(given.fitted()).fve)


@torch.no_grad()
def test_a_latent_that_fires_on_held_out_images_only_has_no_blocks_and_counts_as_dead(plain):
    seen, unseen = (torch.cat([x[:, 0] for x in plain.orbits(part).in_order()]) for part in ("train", "held-out"))
    directions = torch.randn(500, CHANNELS, generator=torch.Generator().manual_seed(0))
    least, most = ((directions @ x.T).max(1).values for x in (seen, unseen))
    best = int(((most - least) * (least > 0)).argmax())  # in which a held-out activation reaches furthest beyond all
    sae = SparseAutoencoder(CHANNELS, LATENTS, activation="jumprelu")
    sae.W_e[7] = directions[best]
    sae.threshold[7] = (least[best] + most[best]) / 2
    run = plain.with_dictionary(sae)
    fitted = run.coder()
    assert not fitted.dictionary[7].any() and plain.evaluate(fitted).frequency[7] > 0
    assert run.evaluate(fitted).frequency[7] == 0 and run.evaluate(fitted).dead > plain.evaluate(fitted).dead
    assert 7 not in run.feature_table().features and 7 in run.feature_table("sae").features


def test_the_atlas_reads_it(given, tmp_path):
    page = make_page(given, tmp_path, pictures=1, size=48, steps=1)
    assert page.is_file()
    assert given.report("x").facts["dictionary"] == dictionary().fingerprint


def test_what_cannot_be_asked_of_it(given, plain):
    with pytest.raises(ValueError, match="cannot be trained with {'steps': 3}"):
        given.coder(steps=3)
    with pytest.raises(ValueError, match="cannot be trained with {'seed': 1}"):
        given.coder("sae", seed=1)
    with pytest.raises(ValueError, match="kind is 'fit'; expected one of crosscoder, sae"):
        given.coder("fit")
    for ask in (given.history, given.curve, given.control, lambda: given.fold(0), lambda: given.moved_coder(1)):
        with pytest.raises(ValueError, match="given"):
            ask()
    with pytest.raises(ValueError, match="reads 5 channels, layer features of .* has 6; take the layer"):
        plain.with_dictionary(dictionary(channels=5))
    with pytest.raises(ValueError, match="is a FittedCrosscoder; expected a SparseAutoencoder or a GroupCrosscoder"):
        plain.with_dictionary(given.fitted())
    with pytest.raises(ValueError, match="a block for each element of C_8, and the run's group is C_4; give the run"):
        plain.with_dictionary(GroupCrosscoder(cyclic(8), CHANNELS, LATENTS))
    with pytest.raises(ValueError, match="reads 5 channels"):
        plain.with_dictionary(GroupCrosscoder(cyclic(4), 5, LATENTS))
    with pytest.raises(ValueError, match="a part of a run has no dictionary of its own"):
        plain.fold(0).with_dictionary(dictionary())
    given.check()


def test_a_crosscoder_that_is_given_takes_the_place_of_the_crosscoder(tmp_path):
    run = noise_run(tmp_path)
    trained = run.coder()
    given = run.with_dictionary(trained)
    assert given.coder().fingerprint == trained.fingerprint
    assert given.evaluate(given.coder()).fve == run.evaluate(trained).fve
    np.testing.assert_array_equal(given.feature_table().features, run.feature_table().features)
    ours, keys = run.keys(), given.keys()
    assert keys["map of crosscoder"] != ours["map of crosscoder"]
    assert keys["sae"] == ours["sae"] and given.coder("sae").fingerprint == run.coder("sae").fingerprint
    assert "was given" not in repr(run) and given.report("x").facts["dictionary"] == trained.fingerprint
    for ask in (given.curve, given.control, lambda: given.fold(0), lambda: given.moved_coder(1),
                lambda: given.coder(steps=3)):
        with pytest.raises(ValueError, match="given"):
            ask()
    given.check()


def test_the_command_line_reports_a_crosscoder_that_was_trained_apart(tmp_path, monkeypatch, capsys):
    """`groupcc orbits`, `groupcc train`, `groupcc analyse --dictionary`: the way of large runs, in one process."""
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    sizes = ["--profile", "smoke", "--group", "C_4",
             *(part for field in ("drawings=12", "points_per_image=4") for part in ("--set", field))]
    assert main(["orbits", *sizes, "--out", str(tmp_path / "orbits")]) == 0
    assert main(["train", str(tmp_path / "orbits" / "train"), "--latents", "64", "--k", "8", "--steps", "3",
                 "--batch-size", "8", "--out", str(tmp_path / "coder")]) == 0
    words = ["analyse", *sizes, "--dictionary", str(tmp_path / "coder"), "--out", str(tmp_path / "report"),
             "--no-atlas"]
    assert main(words) == 0
    facts = json.loads((tmp_path / "report" / "provenance.json").read_text())
    assert facts["dictionary"] == GroupCrosscoder.load(tmp_path / "coder").fingerprint
    assert "The crosscoder is given; it was not trained here" in (tmp_path / "report" / "index.html").read_text()
    assert not (tmp_path / "work" / "coders").exists()
    capsys.readouterr()
    assert main([*words, "--set", "group=C_8"]) == 2 and "twice" in capsys.readouterr().err
    words[words.index("C_4")] = "C_8"
    assert main(words) == 2
    assert "each element of C_4, and the run's group is C_8" in capsys.readouterr().err


def test_the_command_line_takes_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    sae = SparseAutoencoder(Run("smoke").model.channels, 48, activation="topk", k=6, select="latent")
    to_saelens(sae, tmp_path / "theirs")
    words = ["analyse", "--profile", "smoke", "--group", "C_4", "--dictionary", str(tmp_path / "theirs"), "--out",
             str(tmp_path / "report"), "--no-atlas", *(part for field in (
                 "drawings=12", "points_per_image=4") for part in ("--set", field))]
    assert main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "orbits" in said and "crosscoder" not in said
    assert main(words) == 0
    facts = json.loads((tmp_path / "report" / "provenance.json").read_text())
    assert facts["dictionary"] == load_dictionary(tmp_path / "theirs").fingerprint
    assert facts["settings"]["latents"] == 48
    assert "is a sparse autoencoder that was given" in (tmp_path / "report" / "index.html").read_text()
    (fitted,) = (tmp_path / "work" / "fitted").glob("*/weights.safetensors")
    assert torch.equal(load_file(fitted)["sae.W_e"], sae.W_e) and not (tmp_path / "work" / "coders").exists()
    assert main([*words[:5], "--dictionary", str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist; expected a folder with a saved dictionary" in capsys.readouterr().err


def test_the_layer_of_the_images_is_looked_at_first(tmp_path):
    """A dictionary of another layer is refused before an image is read."""
    run = Run("smoke", model=small_model(), group="C_4", work=tmp_path, images=noise_images(3, 40))
    with pytest.raises(ValueError, match="reads 9 channels"):
        run.with_dictionary(dictionary(channels=9))


def test_the_report_states_the_dictionary_and_no_training(given):
    facts = given.report("analysis").facts
    assert not {"steps", "lr", "batch_size"} & facts["settings"].keys()
    assert [facts["settings"][key] for key in ("latents", "activation", "k")] == [LATENTS, "topk", 5]
