"""What a user runs, on another device than the CPU: no devices mixed, the same numbers, nothing read back in a step.

Every test does the same work twice, on the CPU and on the fake device, and compares.
"""

import copy

import numpy as np
import pytest
import torch
from fake_device import DEVICE, HOST, DeviceTensor, FakeDevice
from small import Stem, noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.coders import (
    NOBODY,
    EquivariantSAE,
    GroupCrosscoder,
    SparseAutoencoder,
    TransformMatrix,
    evaluate,
    fit_blocks,
    least_squares,
    moments,
    optimise,
    procrustes,
    project,
    r2,
    train,
    untrained_features,
)
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.manifolds import FeatureMixture, spending
from groupcc_lite.models import wrap_model
from groupcc_lite.orbits import IdentityBlocks, OrbitStore, OrbitStream, TensorOrbits, sample_layers, sample_orbits
from groupcc_lite.runs import Run, SceneRun
from groupcc_lite.stimuli import TensorImages
from groupcc_lite.symmetry import (
    block_cosines,
    equivariance_score,
    irrep_power,
    linear_ceiling,
    max_cosine,
    nearest_neighbours,
    self_similarity,
    stabilisers,
)

G, CHANNELS = dihedral(2), 6
CODERS = {
    "relu": lambda: GroupCrosscoder(G, CHANNELS, 12),
    "topk": lambda: GroupCrosscoder(G, CHANNELS, 12, activation="topk", k=3),
    "batchtopk": lambda: GroupCrosscoder(G, CHANNELS, 12, activation="batchtopk", k=3),
    "sae": lambda: SparseAutoencoder(CHANNELS, 12, activation="topk", k=3),
    "equivariant": lambda: EquivariantSAE(G, CHANNELS, 12, k=3, hidden=8),
    "transform": lambda: TransformMatrix(G, CHANNELS),
}


@pytest.fixture
def device():
    with FakeDevice() as device:
        yield device


def blocks(count=96, seed=0):
    return torch.randn(count, G.order, CHANNELS, generator=torch.Generator().manual_seed(seed)).relu()


def source(name, where=HOST):
    """Orbits that lie on a device, and those a plain SAE reads."""
    orbits = TensorOrbits(blocks().to(where), G)
    return IdentityBlocks(orbits) if name == "sae" else orbits


def same(ours, theirs, *, where=DEVICE, **tolerance):
    """One tensor, with the numbers of the CPU, on the device (or, with `where`, back from it)."""
    assert ours.device == where, f"on {ours.device}"
    torch.testing.assert_close(ours.cpu() if where == DEVICE else ours, theirs, **tolerance)


# -------------------------------------------------------------------------------------------- models and extraction

def test_a_network_that_lies_on_the_device_is_wrapped_there(device):
    images = noise_images(2, 32)
    model = wrap_model(Stem(CHANNELS).to(DEVICE), "features", input_size=32)
    assert {p.device for p in [*model.parameters(), *model.buffers()]} == {DEVICE}
    same(model(images.to(DEVICE)), small_model()(images))


def test_orbits_are_sampled_on_the_device_with_everything_that_belongs_to_them(device):
    model, action = small_model(), PlanarAction(dihedral(4))
    images = noise_images(3, action.source_size(model.input_size))
    options = dict(points_per_image=4, mask_radius=6.0)
    here = sample_orbits(model, action, images, **options)
    for pictures in (images, images.to(DEVICE)):
        there = sample_orbits(model.to(DEVICE), action, pictures, **options)
        for name in here._fields:
            same(getattr(there, name), getattr(here, name))


def test_a_store_is_filled_from_the_device(device, tmp_path):
    model, action = small_model(), PlanarAction(cyclic(4))
    images = TensorImages(noise_images(5, action.source_size(model.input_size)))
    here, there = (OrbitStore.make(tmp_path / name, model.to(where), action, images, points_per_image=4,
                                   mask_radius=6.0, progress=False)
                   for name, where in (("here", HOST), ("there", DEVICE)))
    assert torch.equal(here.rows(range(len(here))), there.rows(range(len(there))))


@pytest.mark.parametrize("order, images", [(1, 8), (8, 8), (8, 40)])
def test_extraction_waits_for_one_flag_however_many_views_and_batches_it_makes(device, order, images):
    model, action = small_model().to(DEVICE), PlanarAction(dihedral(order))
    pictures = noise_images(images, action.source_size(model.input_size)).to(DEVICE)
    device.reads.clear()
    sample_orbits(model, action, pictures, points_per_image=4, mask_radius=6.0, batch_size=4)
    assert device.reads == {"_local_scalar_dense": 1}


def test_layers_share_the_flag(device):
    models, action = [small_model(channels).to(DEVICE) for channels in (4, 6)], PlanarAction(dihedral(4))
    images = noise_images(4, action.source_size(models[0].input_size)).to(DEVICE)
    device.reads.clear()
    sample_layers(models, action, images, points_per_image=4, mask_radius=6.0, batch_size=2)
    del device.reads["equal"]  # once a call: whether the networks are one and the same
    assert device.reads == {"_local_scalar_dense": 1}


@pytest.mark.parametrize("spoilt, message", [
    (lambda images: images * 255, "images hold values from"), (lambda images: images / 0, "images hold values from"),
    (None, "gave NaN or infinite activations")])
def test_what_the_flag_says_is_explained(device, spoilt, message):
    model, action = small_model().to(DEVICE), PlanarAction(dihedral(4))
    images = noise_images(9, action.source_size(model.input_size))
    if spoilt is None:
        model.network.get_parameter(next(iter(dict(model.network.named_parameters())))).data.fill_(torch.nan)
    else:
        images[6:] = spoilt(images[6:])
    with pytest.raises(ValueError, match=message):
        sample_orbits(model, action, images.to(DEVICE), points_per_image=4, mask_radius=6.0, batch_size=4)


def test_points_that_leave_the_grid_are_found_by_the_flag(device):
    model, action = small_model().to(DEVICE), PlanarAction(dihedral(16))
    images = noise_images(2, action.source_size(model.input_size)).to(DEVICE)
    with pytest.raises(ValueError, match="points reach outside the 8 x 8 activation grid"):
        sample_orbits(model, action, images, points_per_image=60, mask_radius=30.0)


def stream_of(model, action, count, **changes):
    images = TensorImages(noise_images(count, action.source_size(model.input_size)))
    return OrbitStream(model, action, images, **(dict(points_per_image=4, mask_radius=6.0, buffer=64,
                                                      images_per_step=8) | changes))


def test_a_stream_waits_for_its_numbers_and_one_flag_a_step(device):
    stream = stream_of(small_model().to(DEVICE), PlanarAction(dihedral(4)), 40)
    assert stream.scale > 0  # measured once
    device.reads.clear()
    assert len(list(stream.batches(16))) == 10
    assert device.reads == {"_local_scalar_dense": 5, "_to_copy to the host": 5}  # 5 steps of 8 images


def test_a_stream_gives_the_numbers_of_the_cpu(device):
    here, there = (stream_of(small_model().to(where), PlanarAction(dihedral(4)), 24) for where in (HOST, DEVICE))
    for ours, theirs in zip(there.batches(16, epoch=1), here.batches(16, epoch=1), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-3)


# ---------------------------------------------------------------------------------------------------------- training

@pytest.mark.parametrize("where", [HOST, DEVICE], ids=["orbits of the CPU", "orbits of the device"])
@pytest.mark.parametrize("name", CODERS)
def test_what_is_trained_on_the_device_is_what_the_cpu_trains(device, tmp_path, name, where):
    here, there = CODERS[name](), CODERS[name]().to(DEVICE)
    options = dict(steps=6, batch_size=32, progress=False, log_every=2)
    run = optimise if name == "transform" else train
    rows = run(here, source(name), **options)
    found = run(there, source(name, where), **options)
    assert [row["step"] for row in found] == [row["step"] for row in rows]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in rows], rel=1e-4)
    for ours, theirs in zip(there.parameters(), here.parameters(), strict=True):
        same(ours.data, theirs.data, atol=1e-5, rtol=1e-4)
    there.save(tmp_path / name)
    loaded = type(there).load(tmp_path / name)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(there.parameters(), loaded.parameters(), strict=True))


def reads_per_step(device, name):
    """The slope between a short and a long training: what is read once, or for a log, drops out."""
    def reads(steps):
        coder, orbits = CODERS[name]().to(DEVICE), source(name, DEVICE)
        device.reads.clear()
        run = optimise if name == "transform" else train
        run(coder, orbits, steps=steps, batch_size=32, log_every=1000, progress=False)
        return device.reads.total()

    return (reads(60) - reads(10)) / 50


@pytest.mark.parametrize("name", CODERS)
def test_a_training_step_reads_nothing_back(device, name):
    """The flag for numbers that are not finite is read with a row of the log."""
    assert reads_per_step(device, name) == 0, device.reads


def test_negative_control_a_read_in_every_step_is_seen(device, monkeypatch):
    original = GroupCrosscoder.objective

    def nosy(self, *arguments, **terms):
        total, parts = original(self, *arguments, **terms)
        float(total)
        return total, parts

    monkeypatch.setattr(GroupCrosscoder, "objective", nosy)
    assert reads_per_step(device, "topk") >= 1


def trained(name="topk"):
    coder = CODERS[name]()
    run = optimise if name == "transform" else train
    run(coder, source(name), steps=10, batch_size=32, progress=False)
    return coder.eval()


@pytest.mark.parametrize("where", [HOST, DEVICE], ids=["orbits of the CPU", "orbits of the device"])
@pytest.mark.parametrize("name", ["relu", "batchtopk", "sae", "equivariant"])
def test_evaluation(device, name, where):
    coder = trained(name)
    here, there = evaluate(coder, source(name)), evaluate(copy.deepcopy(coder).to(DEVICE), source(name, where))
    assert there.fve == pytest.approx(here.fve, abs=1e-4) and there.l0 == pytest.approx(here.l0, abs=1e-3)
    np.testing.assert_allclose(there.fve_per_block, here.fve_per_block, atol=1e-4)


@pytest.mark.parametrize("where", [HOST, DEVICE], ids=["orbits of the CPU", "orbits of the device"])
def test_moments_and_fitted_blocks(device, where):
    sae = trained("sae")
    here, there = fit_blocks(sae, source("topk")), fit_blocks(copy.deepcopy(sae).to(DEVICE), source("topk", where))
    assert there.dictionary.device == there.device
    torch.testing.assert_close(there.dictionary.cpu(), here.dictionary, atol=1e-3, rtol=1e-3)
    theirs, ours = moments(sae, source("topk")), moments(copy.deepcopy(sae).to(DEVICE), source("topk", where))
    for name in ("mean_x", "mean_y", "squares", "products"):
        same(getattr(ours, name), getattr(theirs, name), atol=1e-3, rtol=1e-4)
    found = evaluate(there, source("topk", where))
    assert found.fve == pytest.approx(evaluate(here, source("topk")).fve, abs=1e-3)


@pytest.mark.parametrize("kind", NOBODY)
def test_features_that_nobody_trained(device, kind):
    here, there = (untrained_features(kind, TensorOrbits(x, G), 8, k=3) for x in (blocks(), blocks().to(DEVICE)))
    assert there.encoder.device.type == "cpu"
    torch.testing.assert_close(there.encoder.W_e, here.encoder.W_e, atol=1e-4, rtol=1e-4)
    if here.dictionary is not None:
        torch.testing.assert_close(there.dictionary.cpu(), here.dictionary, atol=1e-4, rtol=1e-4)


def test_where_latents_went(device):
    mixture = FeatureMixture(features=4, alpha=0.5, dim=2)
    sae, x = SparseAutoencoder(mixture.channels, 12), mixture.sample(100)
    with torch.no_grad():  # some latents are features
        sae.W_d[:mixture.channels, 0] = torch.cat(mixture.planes)
    here, there = spending(mixture, sae, x, 0.2), spending(mixture, copy.deepcopy(sae).to(DEVICE), x.to(DEVICE), 0.2)
    assert there.spent.tolist() == here.spent.tolist() and here.spent.sum() >= mixture.channels - 1
    assert there.living == here.living and there.loss == pytest.approx(here.loss, rel=1e-5)


# ------------------------------------------------------------------------------------------------------ M, symmetry

@pytest.mark.parametrize("method", [least_squares, procrustes])
def test_transforms_in_closed_form(device, method):
    x = blocks(seed=1)
    here, there = method([x], G), method([x.to(DEVICE)], G)
    torch.testing.assert_close(there.matrices().detach().cpu(), here.matrices().detach(), atol=1e-4, rtol=1e-4)
    moved = copy.deepcopy(here).to(DEVICE)
    for batch in (x, x.to(DEVICE)):
        np.testing.assert_allclose(torch.as_tensor(r2(moved, batch)).cpu(), torch.as_tensor(r2(here, x)), atol=1e-4)
    assert project(moved).relation_error() == pytest.approx(project(here).relation_error(), abs=1e-4)


SYMMETRY = {
    "max_cosine": max_cosine, "self_similarity": self_similarity, "block_cosines": lambda D, G: block_cosines(D),
    "irrep_power": irrep_power, "equivariance_score": equivariance_score,
}


@pytest.mark.parametrize("name", SYMMETRY)
def test_symmetry_of_a_dictionary_stays_on_its_device(device, name):
    D = trained("topk").dictionary.detach()
    same(SYMMETRY[name](D.to(DEVICE), G), SYMMETRY[name](D, G), atol=1e-5, rtol=1e-4)


def test_stabilisers_of_a_dictionary_on_the_device(device):
    D = trained("topk").dictionary.detach()
    here, there = stabilisers(D, G), stabilisers(D.to(DEVICE), G)
    assert [s.subgroup for s in there] == [s.subgroup for s in here]
    assert [float(s.margin) for s in there] == pytest.approx([float(s.margin) for s in here], abs=1e-5)


def test_similarity_reads_nothing_back(device):
    D = trained("topk").dictionary.detach().to(DEVICE)
    device.reads.clear()
    max_cosine(D, G), nearest_neighbours(D, G, 3), self_similarity(D, G), block_cosines(D)
    assert device.reads == {}


@pytest.mark.parametrize("name, most", [("irrep_power", 2), ("equivariance_score", 4)])
def test_spectra_read_back_once_which_features_are_zero(device, name, most):
    D = trained("topk").dictionary.detach().to(DEVICE)
    device.reads.clear()
    SYMMETRY[name](D, G)
    assert device.reads.total() <= most, device.reads


def test_the_ceiling_of_batches_on_the_device(device):
    batches = list(blocks(200, seed=2).split(40))
    here = linear_ceiling(batches, batches)
    there = linear_ceiling([b.to(DEVICE) for b in batches], [b.to(DEVICE) for b in batches])
    torch.testing.assert_close(torch.as_tensor(there).cpu(), torch.as_tensor(here), atol=1e-4, rtol=1e-4)


# ------------------------------------------------------------------------------------------------------------- runs

TINY_RUN = dict(latents=12, k=4, steps=6, curve_steps=3, batch_size=32, points_per_image=8, mask_radius=7.0,
                drawings=24, topk_ks=(4,), l1_sparsities=(1.0,))
TINY_SCENES = dict(base_models=("mlp",), base_epochs=1, base_batch=512, transform_steps=3, transform_batch=64,
                   latents=32, hidden=16, ks=(4,), steps=3, batch_size=64, truncations=(4,), tasks=1, probe_train=150,
                   probe_test=100, seeds=1, amp=False)


def test_a_run_on_the_device(device, tmp_path):
    model, action = small_model(), PlanarAction(cyclic(4))
    images = noise_images(20, action.source_size(model.input_size))
    here, there = (Run("smoke", model=copy.deepcopy(model), images=images, action=action, work=tmp_path / str(where),
                       device=str(where), **TINY_RUN) for where in (HOST, DEVICE))
    for kind in ("crosscoder", "sae"):
        ours, theirs = there.coder(kind), here.coder(kind)
        assert ours.device == DEVICE
        same(ours.W_d.data, theirs.W_d.data, atol=1e-4, rtol=1e-3)
        assert there.evaluate(ours).fve == pytest.approx(here.evaluate(theirs).fve, abs=1e-3)
    np.testing.assert_allclose(there.ceiling(), here.ceiling(), atol=1e-3)
    assert there.fitted().device == DEVICE
    torch.testing.assert_close(there.fitted().dictionary.cpu(), here.fitted().dictionary, atol=1e-3, rtol=1e-2)
    assert there.transform().device == DEVICE
    assert np.isfinite(there.family_map().gap).all()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    with FakeDevice():
        yield SceneRun("smoke", seed=0, work=tmp_path_factory.mktemp("scenes"), device=str(DEVICE), **TINY_SCENES)


@pytest.mark.parametrize("method", ["identity", "adam", "penalty", "least squares", "procrustes", "exact",
                                    "adam, projected", "procrustes, projected"])
def test_every_transform_of_a_scene_run_lies_where_the_run_does(scenes, method):
    transform = scenes.transform("mlp", method)
    assert transform.device == DEVICE
    x0 = scenes.activations("mlp", "held-out")[:3, 0].to(DEVICE)
    assert isinstance(transform(x0), DeviceTensor)


def test_coders_splices_and_probes_of_a_scene_run(scenes):
    for name in ("sae", "equivariant"):
        coder = scenes.coder("mlp", name, 4)
        assert coder.device == DEVICE
        assert np.isfinite(scenes.splice("mlp", name, 4).loss)
    scores = scenes.probe("mlp", "equivariant", 4, "inferred", 4)
    assert np.isfinite(scores.f1).all()
