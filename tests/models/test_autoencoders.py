"""Autoencoders: Table 1 by hand, pre-activations, files; scenes as a source that resumes; orbits of activations."""

import json

import pytest
import torch
from torch import nn

from groupcc_lite.groups import cyclic, dihedral, trivial
from groupcc_lite.models.autoencoders import IMAGE_SHAPE, ImageAutoencoder, SceneImages, activations
from groupcc_lite.stimuli import random_scenes, scene_orbits
from groupcc_lite.stimuli.scenes import act_on_images

KINDS = pytest.mark.parametrize("kind", ["mlp", "cnn"])
SCENES = random_scenes(40, seed=0)


def table_1(kind):
    """The layers as the paper lists them, straight from torch: (encoder up to its last ReLU, what follows)."""
    if kind == "mlp":
        return (nn.Sequential(nn.Linear(4096, 256), nn.ReLU(), nn.Linear(256, 256)),
                nn.Sequential(nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4096)))
    return (nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
                          nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 256, 16)),
            nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(256, 32, 16), nn.ReLU(),
                          nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
                          nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1)))


# ----------------------------------------------------------------------------------------------- the two models

@pytest.mark.parametrize("kind, count", [
    ("mlp", (4096 * 256 + 256) + 2 * (256 * 256 + 256) + (256 * 4096 + 4096)),
    ("cnn", (9 * 16 + 16) + (9 * 16 * 32 + 32) + (16 * 16 * 32 * 256 + 256)
     + (16 * 16 * 256 * 32 + 32) + (9 * 32 * 16 + 16) + (9 * 16 * 1 + 1)),
])
def test_parameters_are_those_of_table_1(kind, count):
    model = ImageAutoencoder(kind)
    assert sum(p.numel() for p in model.parameters()) == count == {"mlp": 2_233_088, "cnn": 4_204_161}[kind]
    expected = [tuple(p.shape) for half in table_1(kind) for p in half.parameters()]
    assert [tuple(p.shape) for p in model.parameters()] == expected


@KINDS
def test_it_computes_what_table_1_says(kind):
    """Against torch's own layers with the same weights: the matrix products replace nothing but the computation."""
    model, halves, images = ImageAutoencoder(kind, seed=3), table_1(kind), SCENES.images()[:6]
    for half, reference in zip((model.encoder, model.decoder), halves, strict=True):
        reference.load_state_dict(dict(zip(reference.state_dict(), half.state_dict().values(), strict=True)))
    z = halves[0](images.flatten(1) if kind == "mlp" else images)
    torch.testing.assert_close(model.encode(images), z.flatten(1))
    torch.testing.assert_close(model(images), halves[1](z).view(-1, *IMAGE_SHAPE))
    assert model.encode(images).shape == (6, 256) and model(images).shape == (6, 1, 64, 64)


@KINDS
def test_activations_are_taken_before_the_relu_and_decoding_applies_it(kind):
    model = ImageAutoencoder(kind, seed=1)
    z = model.encode(SCENES.images())
    assert 0.2 < float((z < 0).float().mean()) < 0.8
    assert torch.equal(model.decode(z), model.decode(z.relu()))
    assert not torch.equal(model.decode(z), model.decode(z + 1))


@KINDS
def test_weights_come_from_the_seed_alone_and_in_torchs_usual_way(kind):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    model = ImageAutoencoder(kind, width=16, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = ImageAutoencoder(kind, width=16, seed=2), ImageAutoencoder(kind, width=16, seed=3)
    assert again.fingerprint == model.fingerprint != other.fingerprint
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):  # uniform within 1 / sqrt(fan in); torch counts the fan in along axis 1
            bound = parameter[0].numel() ** -0.5
            assert 0.9 * bound < float(parameter.detach().abs().max()) <= bound


def test_a_fingerprint_sees_configuration_and_weights():
    model = ImageAutoencoder("mlp", width=8)
    before = model.fingerprint
    with torch.no_grad():
        model.encoder[1].bias[3] += 1e-6
    assert model.fingerprint != before and len(before) == 64
    assert ImageAutoencoder("cnn", width=8).fingerprint != before


@KINDS
def test_a_few_steps_of_adam_lower_the_loss(kind):
    model, source = ImageAutoencoder(kind, width=32), SceneImages(random_scenes(256, seed=1))
    model.check_source(source)
    images = SCENES.images()
    model.begin(images)
    before = float(model.loss(images)[0].detach())
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(3):
        for x in source.batches(32, seed=1, epoch=epoch):
            total, _ = model.loss(x)
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
    assert float(model.loss(images)[0].detach()) < 0.75 * before


def test_the_loss_and_its_share_on_paper():
    """Half the batch's pixels are 0 and half 1, and the model answers 0.25 everywhere."""
    model = ImageAutoencoder("mlp", width=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.decoder[3].bias.fill_(0.25)
    x = torch.stack([torch.zeros(IMAGE_SHAPE), torch.ones(IMAGE_SHAPE)])
    total, parts = model.loss(x)
    assert float(total.detach()) == float(parts["mse"]) == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert not parts["mse"].requires_grad
    assert model.diagnostics(x, {"mse": float(parts["mse"])}) == {"fve": pytest.approx(1 - 0.3125 / 0.25)}
    assert model.diagnostics(x, {"mse": 0.0})["fve"] == 1


# -------------------------------------------------------------------------------------------------------- files

@KINDS
def test_save_and_load_give_the_same_model(tmp_path, kind):
    model = ImageAutoencoder(kind, width=12, seed=4)
    model.save(tmp_path)
    loaded = ImageAutoencoder.load(tmp_path)
    assert loaded.config == model.config == dict(format=1, kind="ImageAutoencoder", architecture=kind, width=12)
    assert loaded.fingerprint == model.fingerprint and loaded.device == torch.device("cpu") and not loaded.training
    assert torch.equal(loaded(SCENES.images()), model(SCENES.images()))


def test_loading_explains_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no saved autoencoder .config.json is missing"):
        ImageAutoencoder.load(tmp_path)
    ImageAutoencoder("mlp", width=3).save(tmp_path)
    path, weights = tmp_path / "config.json", tmp_path / "weights.safetensors"
    config = json.loads(path.read_text())
    for changes, words in (({"width": 4}, "do not fit config.json"), ({"architecture": "cnn"}, "do not fit"),
                           ({"kind": "GroupCrosscoder"}, "holds a GroupCrosscoder of format 1"),
                           ({"format": 2}, "of format 2, not an ImageAutoencoder of format 1")):
        path.write_text(json.dumps(config | changes))
        with pytest.raises(ValueError, match=words):
            ImageAutoencoder.load(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        ImageAutoencoder.load(tmp_path)
    path.write_text(json.dumps(config))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="checksum"):
        ImageAutoencoder.load(tmp_path)
    weights.unlink()
    with pytest.raises(ValueError, match="weights.safetensors is missing"):
        ImageAutoencoder.load(tmp_path)


# -------------------------------------------------------------------------------------------------- the source

@pytest.mark.parametrize("G", [None, trivial(), dihedral(4)], ids=str)
def test_every_scene_once_an_epoch_moved_by_its_element(G):
    source, group = SceneImages(SCENES, G), G or cyclic(4)
    scenes, elements = source.choices(seed=7, epoch=2)
    assert sorted(scenes.tolist()) == list(range(40)) and set(elements.tolist()) == set(range(group.order))
    found = torch.cat(list(source.batches(8, seed=7, epoch=2)))
    expected = [act_on_images(SCENES[[n]].images(), group, g)[0] for n, g in
                zip(scenes.tolist(), elements.tolist(), strict=True)]
    assert torch.equal(found, torch.stack(expected))
    assert len(source) == 40 and source.scale == 1.0 and source.image_shape == (1, 64, 64)


def test_batches_depend_on_seed_and_epoch_and_resume_anywhere():
    source = SceneImages(SCENES)
    whole = list(source.batches(12, seed=1, epoch=3))
    assert len(whole) == source.batches_per_epoch(12) == 3  # four scenes are left over
    for start in range(4):
        rest = list(source.batches(12, seed=1, epoch=3, start=start))
        assert len(rest) == 3 - start
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[start:], strict=True))
    for seed, epoch in ((2, 3), (1, 4)):
        assert not torch.equal(next(source.batches(12, seed=seed, epoch=epoch)), whole[0])


# ------------------------------------------------------------------------------------------------- activations

@KINDS
@pytest.mark.parametrize("G", [cyclic(4), dihedral(4)], ids=str)
def test_blocks_stand_in_the_groups_order(kind, G):
    model, images = ImageAutoencoder(kind, width=16, seed=1), SCENES.images()
    x = activations(model, SCENES, G, batch_size=7)
    assert x.shape == (40, G.order, 16) and not x.requires_grad
    for p in range(4):
        torch.testing.assert_close(x[:, p], model.encode(torch.rot90(images, p, (-2, -1))).detach())
    torch.testing.assert_close(x.flatten(0, 1), model.encode(scene_orbits(images, G).flatten(0, 1)).detach())
    assert not torch.allclose(x[:, 1], x[:, 3], atol=1e-3)  # negative control


# --------------------------------------------------------------------------------------------------- bad input

@pytest.mark.parametrize("call, words", [
    (lambda: ImageAutoencoder("vit"), "kind is 'vit'; expected one of mlp, cnn"),
    (lambda: ImageAutoencoder("mlp", width=0), "width is 0"),
    (lambda: ImageAutoencoder("mlp", width=2).encode(torch.zeros(1, 1, 32, 32)), r"shape \(1, 1, 32, 32\)"),
    (lambda: ImageAutoencoder("cnn", width=2).decode(torch.zeros(3, 5)), r"z has shape \(3, 5\); expected \(b, 2\)"),
    (lambda: ImageAutoencoder("mlp", width=2).check_source(object()), "yields no images; .* use SceneImages"),
    (lambda: SceneImages(SCENES[:0]), "no scenes"),
    (lambda: SceneImages(SCENES, cyclic(8)), "group is C_8"),
    (lambda: SceneImages(SCENES).batches_per_epoch(41), "batch_size is 41; expected 1 to 40"),
    (lambda: next(SceneImages(SCENES).batches(0)), "batch_size is 0"),
    (lambda: activations(ImageAutoencoder("mlp", width=2), SCENES[:0], cyclic(4)), "0 scenes"),
    (lambda: activations(ImageAutoencoder("mlp", width=2), SCENES, cyclic(4), 0), "batch_size 0"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
