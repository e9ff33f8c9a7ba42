"""A plain and a robust network of one's own: known answers, and what must be refused."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from groupcc_lite import __main__ as cli
from groupcc_lite.analysis import compare_robust, pair_table, robust_pair
from groupcc_lite.models import load_classifier, load_model, randomise
from groupcc_lite.stimuli import sample_drawings

QUICK = dict(layers=["layer1"], count=16, latents=48, k=8, steps=3, input_size=64, attack_steps=3, points=8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Random weights, and the same with a readout that is a hundred times weaker: attacks add less loss."""
    folder = tmp_path_factory.mktemp("weights")
    state = randomise(load_classifier("torchvision/resnet18", weights="random").module, 5).state_dict()
    save_file(state, folder / "plain.safetensors")
    weak = state | {"fc.weight": state["fc.weight"] / 100}
    save_file(weak, folder / "robust.safetensors")
    return folder / "plain.safetensors", folder / "robust.safetensors"


@pytest.fixture(scope="module")
def images():
    return sample_drawings(16, size=72, seed=11).images


@pytest.fixture(scope="module")
def compared(files, images):
    return compare_robust(*files, images, eps=0.5, progress=False, **QUICK)


def test_a_weaker_readout_changes_the_output_and_no_layer(compared):
    """Layers below the readout are the same, up to what attacks, made for the readout, do to them."""
    plain, robust = compared["found"]["plain"], compared["found"]["robust"]
    assert 0 < robust["added_attacked"] < 0.5 * plain["added_attacked"]
    for name in ("fve", "psi", "l0_clean", "ceiling", "error", "unfollowed", "copied", "dimensions"):
        assert plain["layer1"][name] == pytest.approx(robust["layer1"][name], rel=1e-4)


def test_attacks_do_more_than_noise_of_their_norm(compared):
    for network in compared["found"].values():
        assert network["added_attacked"] > 5 * abs(network["added_noisy"])
        assert network["kept_attacked"] <= network["kept_noisy"]
        assert abs(network["turns_random"]) < 0.05


@pytest.mark.parametrize("bright, share", [(lambda x: 0.25 + 0.5 * x, 1.0), (lambda x: (x > 0.5).float(), 0.5 ** 0.5)],
                         ids=["grey", "black and white"])
def test_what_is_left_of_the_noise_is_said(files, bright, share):
    """Of black and white pixels every other one cannot move, which leaves half of the square."""
    large = bright(torch.rand(16, 3, 72, 72, generator=torch.Generator().manual_seed(1)))
    network = load_classifier("torchvision/resnet18", weights=files[0], input_size=64)
    pair = robust_pair._Pair(network, large, eps=0.5, attack_steps=2, seed=0)
    assert pair.predictions(lambda: None)["noise_share"] == pytest.approx(share, abs=0.01)


def test_a_classifier_is_the_network_that_layers_are_read_from(files):
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = load_classifier("torchvision/resnet18", weights=files[0], input_size=64)
    read = load_model("torchvision/resnet18/layer4", weights=files[0], input_size=64)
    torch.testing.assert_close(whole(x), whole.module.fc(read(x).mean((2, 3))), rtol=1e-3, atol=1e-3)


def test_from_the_command_line_on_a_folder(files, images, tmp_path, capsys):
    for number, image in enumerate(images):
        pixels = (image.movedim(0, 2) * 255).byte().numpy()
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    out = tmp_path / "found.json"
    arguments = ["robust", "--plain", files[0], "--robust", files[1], "--images", tmp_path, "--layers", "layer1",
                 "--count", 16, "--latents", 48, "--k", 8, "--steps", 2, "--input-size", 64, "--attack-steps", 2,
                 "--eps", 0.5, "--out", out]
    assert cli.main([str(argument) for argument in arguments]) == 0
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    for row in pair_table(found):
        assert "  ".join(row).split() == next(line.split() for line in said.splitlines() if line.split() == " ".join(
            row).split())
    assert "no interval" in said and found["weights_sha256"]["plain"] != found["weights_sha256"]["robust"]


def test_a_folder_for_its_file_is_refused_first(files, tmp_path, capsys):
    arguments = ["robust", "--plain", files[0], "--robust", files[1], "--images", "nowhere", "--out", tmp_path]
    assert cli.main([str(argument) for argument in arguments]) == 2
    assert "which is a folder; give a file" in capsys.readouterr().err


@pytest.mark.parametrize("change, message", [
    (dict(plain="none.safetensors"), "none.safetensors does not exist"),
    (dict(robust="same"), "the same weights"),
    (dict(layers=["layer9"]), "layer9"),
    (dict(model="tiny-inception"), "no classifier"),
    (dict(model="torchvision/resnet50"), "does not fit"),
    (dict(layers=["layer3"]), "is too small to follow points that turn"),
    (dict(k=49), "k is 49; expected 1 to 48"),
    (dict(count=8), "expected at least 16")])
def test_what_cannot_be_compared_is_said(files, images, change, message):
    given = dict(plain=files[0], robust=files[1]) | QUICK | change
    if given["robust"] == "same":
        given["robust"] = files[0]
    with pytest.raises(ValueError, match=message):
        compare_robust(given.pop("plain"), given.pop("robust"), images, progress=False, **given)
