"""The page for readers with their own network and images: its code runs as printed, and what it states is true."""

import ast
import dataclasses
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from small import Stem

import groupcc_lite
from groupcc_lite.models import derive_geometry, load_model, truncate, zoo
from groupcc_lite.runs import Run, profiles, study_profiles
from groupcc_lite.stimuli import sample_drawings
from groupcc_lite.studies import depth

PAGE = Path(__file__).resolve().parents[2] / "book" / "your_own.md"
IMAGES, SIDE = 12, 96
BOOK = dataclasses.asdict(profiles.PROFILES["book"])
"""As readers have it: tests make it smaller."""


def code_blocks(page: str) -> list[str]:
    """The Python code of a page, block by block."""
    return re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def table_rows(page: str, first_heading: str) -> list[list[str]]:
    """Cells of the table whose header begins with `first_heading`, without the header."""
    (table,) = re.findall(rf"^\| {first_heading} .*\n\|[- |]*\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in line.strip().strip("|").split("|")] for line in table.splitlines()]


@pytest.fixture
def photographs(tmp_path, monkeypatch) -> Path:
    """A working folder that holds what the page asks for, with generated pictures for photographs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i, image in enumerate(sample_drawings(range(IMAGES), 140, seed=3).images):
        Image.fromarray((255 * image.permute(1, 2, 0)).byte().numpy()).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def affordable(monkeypatch):
    """Untrained weights, because there is no network in the tests; small images; and few steps of little work."""
    few = dict(steps=6, batch_size=32, latents=24, k=8, points_per_image=6, held_out=0.25, mask_radius=20.0,
               atlas_size=SIDE, atlas_steps=1)
    monkeypatch.setitem(profiles.PROFILES, "book", dataclasses.replace(profiles.PROFILES["book"], **few))
    for place in (zoo, groupcc_lite):
        monkeypatch.setattr(place, "load_model", partial(load_model, weights="random", input_size=SIDE))


class Gain(torch.nn.Module):
    """A network with a weight of its own that nothing can draw anew."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), Scale())

    def forward(self, x):
        return self.gain(x)


class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


@pytest.mark.slow
def test_the_recipe_runs_as_printed(photographs, affordable, capsys):
    recipe, names = code_blocks(PAGE.read_text())[0], {}
    statements = [node for node in ast.walk(ast.parse(recipe)) if isinstance(node, ast.stmt)]
    assert len([node for node in statements if not isinstance(node, ast.Import | ast.ImportFrom)]) == 10
    exec(compile(recipe, str(PAGE), "exec"), names)
    run, coder = names["run"], names["coder"]
    assert run.group.name == "D_8" and run.model.layer == "layer2" and len(run.source("train")) == 9
    assert coder.dictionary.shape == (24, 16, 128)
    assert re.fullmatch(r"explained -?\d\.\d\d, by a linear map -?\d\.\d\d\n", capsys.readouterr().out)
    frequency = names["metrics"].frequency
    assert len(names["often"]) == 12 and frequency[names["often"]].min() >= np.median(frequency)
    picture = np.asarray(Image.open("heatmaps.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
    assert (photographs.parent / "atlas" / "index.html").is_file()
    exec(compile(code_blocks(PAGE.read_text())[1], str(PAGE), "exec"), names)
    said = re.fullmatch(r"(\d+) features, (\d+) with a symmetry, (\d+) of them confirmed by the encoder\n",
                        capsys.readouterr().out)
    living, symmetric, agreed = map(int, said.groups())
    assert 24 >= living >= symmetric >= agreed >= 0 and living > 0


def test_the_settings_named_on_the_page_exist_with_these_defaults(affordable, photographs):
    rows = table_rows(PAGE.read_text(), "Field")
    defaults = BOOK
    for name, stated, _ in rows:
        assert stated == str(defaults[name]) or (name, defaults[name]) == ("mask_radius", None)
    names = {"model": zoo.load_model("torchvision/resnet18/layer1"), "Run": Run}
    exec(compile(code_blocks(PAGE.read_text())[2], str(PAGE), "exec"), names)
    assert (names["run"].profile.latents, names["run"].profile.steps) == (1024, 2000)


def test_the_table_of_layers_is_right():
    network = torchvision.models.resnet18(weights=None)
    for layer, channels, field, radius in table_rows(PAGE.read_text(), "Layer"):
        cut = truncate(network, layer, input_size=224)
        geometry = derive_geometry(cut, 224)
        with torch.no_grad():
            assert cut(torch.zeros(1, 3, 64, 64)).shape[1] == int(channels)
        assert geometry.receptive_field == int(field)
        assert geometry.max_mask_radius == float(radius) if radius != "none" else geometry.max_mask_radius < 0


def test_a_network_of_the_readers_own_is_wrapped_as_printed(capsys):
    exec(compile(code_blocks(PAGE.read_text())[3], str(PAGE), "exec"), {"my_network": Stem()})
    assert re.match(r"6 Geometry\(stride=4, ", capsys.readouterr().out)


@pytest.mark.slow
def test_a_network_of_the_readers_own_gets_its_report_as_printed(photographs, monkeypatch):
    few = dict(steps=6, batch_size=32, latents=64, k=8, points_per_image=6, held_out=0.25, mask_radius=20.0,
               atlas_size=32, atlas_steps=1)
    monkeypatch.setitem(profiles.PROFILES, "book", dataclasses.replace(profiles.PROFILES["book"], **few))
    names = {"my_network": Stem(), "Run": Run}
    for block in code_blocks(PAGE.read_text())[3:5]:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["run"].group.name == "C_4" and Path("report/index.html").is_file()


def test_the_transformer_on_the_page_runs_as_printed(affordable, photographs, capsys):
    names = {"load_model": zoo.load_model, "Run": Run}
    exec(compile(code_blocks(PAGE.read_text())[5], str(PAGE), "exec"), names)
    assert capsys.readouterr().out == "True 40.0\n"
    assert names["run"].coder().dictionary.shape == (1024, 8, 192)


@pytest.mark.slow
def test_layers_are_compared_as_printed(affordable, photographs, monkeypatch, capsys):
    small = dict(images=12, held_out=0.25, points_per_image=6, latents=16, k=4, steps=2, batch_size=32, turned_images=2,
                 group="D_4")
    monkeypatch.setitem(study_profiles.DEPTH_PROFILES, "book",
                        dataclasses.replace(study_profiles.DEPTH_PROFILES["book"], **small))
    monkeypatch.setattr(depth, "load_model", lambda name, layer, weights=None: load_model(
        f"{name}/{layer}", weights="random", input_size=SIDE))
    exec(compile(code_blocks(PAGE.read_text())[6], str(PAGE), "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 8 and said[0].startswith("torchvision/resnet18/layer1/trained: linear reference ")


def test_every_refusal_on_the_page_is_one_of_the_library(photographs, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models, "get_model", refuse)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.py").write_text("nothing that runs")
    deep = zoo.wrap_model(torchvision.models.resnet18(weights=None), "layer3", input_size=128)
    pooled = torchvision.models.resnet18(weights=None)
    refusals = {
        "is not a folder": lambda: Run("book", images="nowhere").source(),
        "no usable image": lambda: Run("book", images="empty").source(),
        "unknown layer": lambda: truncate(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), "layer2", input_size=8),
        "does not run`, `It is called without arguments": lambda: zoo.model_from_file("broken.py:build"),
        "does not fit`, `cannot be read as weights": lambda: load_model("tiny-inception", weights="broken.py"),
        "gives one vector for the whole image": lambda: zoo.wrap_model(pooled.eval(), "fc", input_size=64),
        "the geometry is nominal": lambda: Run("book", model=zoo.load_model(
            "timm/vit_tiny_patch16_224/blocks.1", weights="random", input_size=96), images="photographs").orbits(),
        "no point is left inside a mask of": lambda: Run("book", model=deep, images="photographs").orbits(),
        "group is": lambda: Run("book", group="dihedral(8)"),
        "model is a bare": lambda: Run("book", model=pooled),
        "images is`, `images have shape": lambda: Run("book", images=torch.zeros(2, 5, 8, 8)).source(),
        "has a short side of": lambda: Run("book", images=torch.zeros(2, 3, 8, 8)).source(),
        "a split needs at least 2 images": lambda: Run("book", images=torch.zeros(1, 3, 160, 160)).source(),
        "as after upsampling": lambda: zoo.wrap_model(torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ConvTranspose2d(8, 8, 2, 2)), "1", input_size=32),
        "cannot say which pixels": lambda: zoo.wrap_model(torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.AdaptiveAvgPool2d(1)), "1", input_size=32),
        "cannot be drawn anew": lambda: Run("book", images="photographs", model=zoo.wrap_model(
            Gain(), "gain", input_size=32)).control("untrained"),
        "batch_size is": lambda: Run("book", model=zoo.wrap_model(pooled, "layer1", input_size=96),
                                     images="photographs", batch_size=4000).coder(),
        "cannot download torchvision's weights": lambda: load_model("torchvision/resnet18/layer2")}
    stated = [row[0] for row in table_rows(PAGE.read_text(), "It says")]
    assert stated == list(refusals)
    for words, call in refusals.items():
        with pytest.raises((ValueError, ConnectionError), match="|".join(map(re.escape, words.split("`, `")))):
            call()


def test_code_blocks_and_tables_see_what_is_there_and_nothing_else():
    page = "text\n```python\na = 1\n```\n\n```bash\nls\n```\n\n| A | B |\n| --- | --- |\n| `x` | 1 |\n"
    assert code_blocks(page) == ["a = 1\n"]
    assert table_rows(page, "A") == [["x", "1"]]
    with pytest.raises(ValueError):
        table_rows(page, "B")
