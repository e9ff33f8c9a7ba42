"""The page on dictionaries of others: its code runs as printed, and what it states is true."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
import torch
from foreign_dictionaries import CHANNELS, DATA, DISTRIBUTIONS, LATENTS, imported, randomised
from PIL import Image
from safetensors.torch import save_file

import groupcc_lite
from groupcc_lite.coders import SparseAutoencoder
from groupcc_lite.interop import load_dictionary, to_saelens
from groupcc_lite.models import load_model
from groupcc_lite.runs import profiles
from groupcc_lite.stimuli import sample_drawings

PAGE = (Path(__file__).resolve().parents[2] / "book" / "other_dictionaries.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SIDE = 96


def rows(heading):
    (table,) = re.findall(rf"^\| {heading} .*\n\|[- |]*\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in line.strip().strip("|").split(" | ")] for line in table.splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with what the page asks for: pictures, a dictionary of the layer, and little work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    (tmp_path / "photographs").mkdir()
    for i, image in enumerate(sample_drawings(range(12), 140, seed=3).images):
        Image.fromarray((255 * image.permute(1, 2, 0)).byte().numpy()).save(tmp_path / "photographs" / f"{i}.png")
    few = dict(batch_size=32, points_per_image=6, held_out=0.25, mask_radius=20.0)
    monkeypatch.setitem(profiles.PROFILES, "book", replace(profiles.PROFILES["book"], **few))
    monkeypatch.setattr(groupcc_lite, "load_model", partial(load_model, weights="random", input_size=SIDE))
    to_saelens(SparseAutoencoder(128, 30, activation="topk", k=8, select="latent"), tmp_path / "their_dictionary")
    return tmp_path


class Api:
    """Uploads nothing."""

    def __init__(self, token=None):
        self.asked = token

    def create_repo(self, repository, **_):
        assert repository == "owner/name"

    def upload_folder(self, **given):
        return str(sorted(path.name for path in Path(given["folder_path"]).iterdir()))


@pytest.mark.slow
def test_every_block_runs_as_printed(folder, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    names = {}
    for number in (0, 1, 3):
        exec(compile(BLOCKS[number], "other_dictionaries.md", "exec"), names)
        said = capsys.readouterr().out
        if number == 0:
            assert re.match(r"30 latents, explained -?\d\.\d\d\n", said) and "symmetry" in said
            assert names["coder"].dictionary.shape == (30, 16, 128)
            torch.testing.assert_close(names["coder"].sae.W_e, names["sae"].W_e)
    assert sorted(p.name for p in (folder / "for_saelens").iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    assert names["sae"].fingerprint == load_dictionary("my_sae").fingerprint


def test_a_module_in_memory_as_printed(folder):
    pytest.importorskip("cv2")  # what only overcomplete needs
    live = randomised(imported("overcomplete").sae.TopKSAE(CHANNELS, LATENTS, top_k=2)).train()
    exec(compile(BLOCKS[2], "other_dictionaries.md", "exec"), {"their_sae": live})
    assert load_dictionary("dictionary").k == 2


def test_every_block_is_run_by_one_of_these_tests():
    assert len(BLOCKS) == 4


def test_the_versions_on_the_page_are_those_that_the_kept_files_are_of():
    stated = {row[0].rsplit("`")[-1].strip(", "): row[1] for row in rows("Package")}
    versions = {DISTRIBUTIONS[package]: facts["version"] for package, facts in
                json.loads((DATA / "index.json").read_text()).items()}
    assert {name: stated[name] for name in versions} == versions
    pins = (DATA.parents[2] / "constraints.txt").read_text().lower()
    assert all(f"{name.replace('_', '-')}=={version}\n" in pins for name, version in versions.items())


def test_every_refusal_on_the_page_is_one_of_the_library(tmp_path):
    """Each is raised by a file that is spoilt in this way."""
    said = []

    def refused(path, **options):
        with pytest.raises(ValueError) as caught:
            load_dictionary(path, **options)
        said.append(str(caught.value))

    def sae_lens(**settings):
        place = tmp_path / f"{len(said)}"
        to_saelens(SparseAutoencoder(4, 7), place)
        config = json.loads((place / "cfg.json").read_text())
        (place / "cfg.json").write_text(json.dumps(config | settings))
        return place

    refused(sae_lens(normalize_activations="layer_norm"))
    refused(sae_lens(normalize_activations="expected_average_only_in"))
    (tmp_path / "coder").mkdir()
    (tmp_path / "coder" / "cfg.json").write_text(json.dumps(dict(transcode=True)))
    save_file({"W_dec": torch.ones(7, 4)}, tmp_path / "coder" / "sae.safetensors")
    refused(tmp_path / "coder")
    refused(sae_lens(architecture="matching_pursuit"))
    refused(sae_lens(architecture="batchtopk"))
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "ae.pt").write_bytes((DATA / "dictionary_learning" / "topk" / "ae.pt").read_bytes())
    refused(tmp_path / "alone")
    refused(DATA / "overcomplete" / "topk.pt")
    deep = {"dictionary._weights": torch.eye(4), "encoder.blocks.weight": torch.eye(4)}
    torch.save(deep, tmp_path / "deep.pt")
    refused(tmp_path / "deep.pt", activation="relu")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")
    refused(tmp_path / "whole.pt")
    cut = sae_lens() / "sae_weights.safetensors"
    cut.write_bytes(cut.read_bytes()[:-9])
    refused(cut)
    refused(tmp_path)
    stated = [row[0] for row in rows("It says")]
    assert len(stated) == len(said)
    for words, message in zip(stated, said, strict=True):
        assert words in message
