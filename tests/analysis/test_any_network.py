"""What people have, DINOv2, CLIP and SigLIP in their real sizes, through the whole analysis; weights are random."""

import json
import re

import pandas
import pytest
import torch
from PIL import Image

from groupcc_lite import __main__ as cli
from groupcc_lite.analysis import write_report
from groupcc_lite.models import load_model, model_from_file
from groupcc_lite.runs import Run
from groupcc_lite.stimuli import sample_drawings

TOWERS = {"hf/facebook/dinov2-small/encoder.layer.5": (98, 7, 384),
          "hf/openai/clip-vit-base-patch32/encoder.layers.5": (224, 7, 768),
          "hf/google/siglip-base-patch16-224/encoder.layers.5": (112, 7, 768)}
"""Layer by name: side of the images, cells along it, channels."""
SETTINGS = dict(points_per_image=3, latents=32, k=4, steps=2, batch_size=8)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> str:
    """A folder of 20 drawings."""
    folder = tmp_path_factory.mktemp("drawn")
    for i, image in enumerate(sample_drawings(range(20), 340, seed=3).images):
        Image.fromarray((255 * image.permute(1, 2, 0)).byte().numpy()).save(folder / f"{i:02}.png")
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOWERS)
def test_a_transformer_is_analysed(name, drawn, tmp_path, caplog):
    size, grid, channels = TOWERS[name]
    model = load_model(name, weights="random", input_size=size)
    assert (model.geometry.grid, model.channels, model.geometry.nominal) == (grid, channels, True)
    assert f"{name}: cells see more than squares of their own" in caplog.text
    run = Run("smoke", model=model, group="D_4", images=drawn, work=tmp_path / "work", mask_radius=0.35 * size,
              held_out=0.3, **SETTINGS)
    assert run.coder().dictionary.shape == (32, 8, channels)
    with torch.no_grad():
        assert torch.isfinite(torch.as_tensor(run.ceiling())).all()
    page = write_report(run, tmp_path / "out", atlas=False)
    assert len(pandas.read_csv(page.parent / "features.csv")) > 0
    assert name.split("/")[2] in page.read_text() and "Its geometry is nominal" in page.read_text()
    assert json.loads((page.parent / "provenance.json").read_text())["group"] == "D_4"


def test_without_a_mask_one_sentence_says_how_large_it_may_be(drawn, tmp_path):
    model = load_model("timm/vit_tiny_patch16_224/blocks.1", weights="random", input_size=96)
    run = Run("smoke", model=model, group="D_4", images=drawn, work=tmp_path / "work", **SETTINGS)
    with pytest.raises(ValueError, match="nominal.*give mask_radius in pixels, at most 40 for turned points"):
        run.orbits()


@pytest.mark.slow
def test_from_the_command_line_with_random_weights(drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    given = SETTINGS | dict(mask_radius=80.0, held_out=0.3)
    settings = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    out = tmp_path / "report"
    assert cli.main(["analyse", "--profile", "smoke", "--group", "D_4", "--model",
                     "timm/vit_tiny_patch16_224/blocks.3", "--weights", "random", "--images", drawn,
                     *settings, "--out", str(out), "--no-atlas"]) == 0
    assert (out / "index.html").is_file()


NETWORK = """
from torch import nn
from widths import WIDTH


def build():
    return nn.Sequential(nn.Conv2d(3, WIDTH, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(WIDTH, 24, 3), nn.ReLU())


def checked():
    from groupcc_lite import wrap_model
    return wrap_model(build(), "1", input_size=40, mean=(0.5,) * 3, std=(0.25,) * 3)


def grey():
    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU())


class Sized(nn.Module):
    def __init__(self, width):
        super().__init__()


number = 3
"""


@pytest.fixture
def own_network(tmp_path) -> str:
    """A Python file that makes a network with the help of another one beside it."""
    (tmp_path / "widths.py").write_text("WIDTH = 8\n")
    (tmp_path / "mine.py").write_text(NETWORK)
    return str(tmp_path / "mine.py")


@pytest.mark.slow
def test_a_network_in_a_file_is_analysed_from_the_command_line(own_network, drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    weights = tmp_path / "state.pth"
    torch.save(model_from_file(f"{own_network}:build", "4", input_size=64).network.state_dict(), weights)
    command = ["analyse", "--profile", "smoke", "--group", "D_4", "--network", f"{own_network}:build", "--layer", "4",
               "--input-size", "64", "--mean", ".5,.5,.5", "--std", ".25,.25,.25", "--images", drawn, *settings,
               "--weights", str(weights), "--no-atlas", "--out", str(tmp_path / "report")]
    assert cli.main(command) == 0
    facts = json.loads((tmp_path / "report" / "provenance.json").read_text())
    assert facts["group"] == "D_4" and "Sequential" in (tmp_path / "report" / "index.html").read_text()


def test_a_file_makes_the_same_network_each_time_and_takes_its_weights(own_network, tmp_path):
    first, again = (model_from_file(f"{own_network}:build", "4", input_size=64) for _ in range(2))
    assert first.fingerprint == again.fingerprint and first.channels == 24
    assert model_from_file(f"{own_network}:checked").geometry.input_size == 40
    torch.save({name: 2 * value for name, value in first.network.state_dict().items()}, tmp_path / "doubled.pth")
    doubled = model_from_file(f"{own_network}:build", "4", input_size=64, weights=tmp_path / "doubled.pth")
    for ours, theirs in zip(doubled.network.parameters(), first.network.parameters(), strict=True):
        assert torch.equal(ours, 2 * theirs)
    anew = model_from_file(f"{own_network}:build", "4", input_size=64, weights="random")
    assert anew.fingerprint not in (doubled.fingerprint, "")  # drawn, not read


@pytest.mark.parametrize("name, given, message", [
    ("build", dict(layer="4"), "its layer and input_size have to be said. Its layers: 0, 1, 2"),
    ("bild", {}, "has no bild; did you mean 'build'"),
    ("number", {}, "makes a int; expected a torch.nn.Module"),
    ("Sized", {}, "It is called without arguments; if Sized needs some, write a function that gives them"),
    ("checked", dict(layer="1", mean=(0.0,) * 3), "makes a BaseModel, which has its layer, mean already"),
    ("build", dict(layer="4", input_size=64, weights="nowhere.pth"), "no such file; expected a file with the state")])
def test_a_file_without_a_network_is_said(own_network, name, given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model_from_file(f"{own_network}:{name}", **given)


def test_a_grey_network_takes_one_channel(own_network):
    model = model_from_file(f"{own_network}:grey", "1", input_size=33, channels=1)
    assert model.input_channels == 1


@pytest.mark.parametrize("text, message", [
    ("def build(:\n    pass\n", "does not run: SyntaxError in line 1"),
    ("x = 1\nraise RuntimeError('no GPU')\n", "does not run: RuntimeError in line 2: no GPU"),
    ("import nowhere_to_be_found\n", "does not run: ModuleNotFoundError in line 1")])
def test_a_file_that_does_not_run_is_said_in_one_line(text, message, tmp_path):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        model_from_file(f"{tmp_path / 'broken.py'}:build", "1", input_size=33)


def test_checkpoints_of_the_usual_kinds_are_read_and_others_named(own_network, tmp_path):
    def read(saved):
        torch.save(saved, tmp_path / "saved.pth")
        return model_from_file(f"{own_network}:build", "4", input_size=64, weights=tmp_path / "saved.pth").fingerprint

    network = model_from_file(f"{own_network}:build", "4", input_size=64).network
    state = {name: 2 * value for name, value in network.state_dict().items()}
    plain = read(state)
    assert read({"state_dict": state, "epoch": 3}) == read({"model": state}) == plain
    assert read({f"module.{name}": value for name, value in state.items()}) == plain
    with pytest.raises(ValueError, match="holds no state dict but a list"):
        read([1, 2])
    with pytest.raises(ValueError, match="holds a whole module.*save only its weights"):
        read(torch.nn.Linear(2, 2))
    (tmp_path / "saved.pth").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        model_from_file(f"{own_network}:build", "4", input_size=64, weights=tmp_path / "saved.pth")


@pytest.mark.parametrize("arguments, message", [
    (["--set", "latents=abc"], "latents is 'abc'; expected a whole number"),
    (["--network", "mine.pth"], "expected FILE.py:NAME"),
    (["--network", "nowhere.py:build"], "there is no file nowhere.py"),
    (["--network", "nowhere.py:build", "--model", "googlenet"], "give one of them"),
    (["--mean", "0,0,0"], "are for --network")])
def test_wrong_requests_for_a_network_in_a_file(arguments, message, drawn, tmp_path, capsys):
    assert cli.main(["analyse", *arguments, "--images", drawn, "--out", str(tmp_path / "report")]) == 2
    assert message in capsys.readouterr().err
