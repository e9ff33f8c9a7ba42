"""What people have, DINOv2, CLIP and SigLIP in their real sizes, through the whole analysis; weights are random."""

import json

import pandas
import pytest
import torch
from PIL import Image

from groupcc_lite import __main__ as cli
from groupcc_lite.analysis import write_report
from groupcc_lite.models import load_model
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
