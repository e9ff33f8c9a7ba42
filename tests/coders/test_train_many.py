"""Several coders on one stream: each is what training it alone gives, and the batches are made once."""

import copy
import json

import numpy as np
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.coders import EquivariantSAE, GroupCrosscoder, SparseAutoencoder, TiedCrosscoder, train, train_many
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import IdentityBlocks, OrbitStore, OrbitStream, TensorOrbits
from groupcc_lite.stimuli import TensorImages

G, CHANNELS = dihedral(4), 6
SHARED = dict(batch_size=8, seed=4, progress=False, log_every=3, checkpoint_every=4)
OWN = [dict(steps=12, sparsity=0.0), dict(steps=12, sparsity=0.3, lr=3e-3), dict(steps=7, sparsity=0.1),
       dict(steps=12, amp=True), dict(steps=5, dead_after=16, aux=0.1), dict(steps=12, warmup=0.3, decay=0.0)]


def new_coders(scale):
    """Seeds, activations and sparsities of crosscoders, plain autoencoders, and one that is invariant."""
    return [GroupCrosscoder(G, CHANNELS, 20, activation="topk", k=4, scale=scale, seed=0),
            GroupCrosscoder(G, CHANNELS, 20, scale=scale, seed=1),
            SparseAutoencoder(CHANNELS, 24, scale=scale, seed=2),
            SparseAutoencoder(CHANNELS, 24, activation="batchtopk", k=4, scale=scale, seed=3),
            GroupCrosscoder(G, CHANNELS, 16, activation="batchtopk", k=3, scale=scale, seed=0),
            EquivariantSAE(G, CHANNELS, 12, k=3, hidden=8)]


@pytest.fixture
def images():
    model, action = small_model(CHANNELS), PlanarAction(G)
    return model, action, TensorImages(noise_images(9, action.source_size(model.input_size)))


@pytest.fixture(params=["stream", "store", "memory"])
def source(request, images, tmp_path):
    sampling = dict(points_per_image=4, mask_radius=7.0)
    if request.param == "stream":
        return OrbitStream(*images, **sampling, buffer=24, images_per_step=2)
    made = OrbitStore.make(tmp_path / "store", *images, **sampling, progress=False)
    return made if request.param == "store" else TensorOrbits(made.rows(range(len(made))), G)


def alone(coder, source, settings):
    own = IdentityBlocks(source) if coder.group.order == 1 else source
    return train(coder, own, **(SHARED | settings))


def same(ours, theirs, tolerance=1e-6):
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_each_coder_is_what_training_it_alone_gives(source):
    together, apart = new_coders(source.scale), new_coders(source.scale)
    rows = train_many(together, source, each=OWN, **SHARED)
    for ours, theirs, own, settings in zip(together, apart, rows, OWN, strict=True):
        expected = alone(theirs, source, settings)
        same(ours, theirs)
        assert not ours.training and [row["step"] for row in own] == [row["step"] for row in expected]
        for a, b in zip(without_seconds(own), without_seconds(expected), strict=True):
            assert a == pytest.approx(b, rel=1e-5, abs=1e-6)
    with pytest.raises(AssertionError):  # negative control: another order of the data is seen
        other = new_coders(source.scale)[0]
        alone(other, source, OWN[0] | dict(seed=5))
        same(together[0], other)


def test_images_go_through_the_network_once_for_all(images):
    seen = []
    images[0].register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    sampling = dict(points_per_image=4, mask_radius=7.0, buffer=24, images_per_step=3)

    def passes(coders, **settings):
        stream = OrbitStream(*images, **sampling)
        assert stream.scale > 0
        seen.clear()
        train_many(coders, stream, steps=4, **SHARED, **settings)
        return sum(seen)

    one = passes(new_coders(1.0)[:1])
    assert passes(new_coders(1.0)) == one == 9 * 8
    plain = [SparseAutoencoder(CHANNELS, 24, seed=seed) for seed in range(3)]
    assert passes(plain) == 2 * 9  # the untransformed view only, which is measured first


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", [3, 6, 9])
def test_an_interrupted_training_goes_on_to_the_same_coders(source, tmp_path, at, monkeypatch):
    apart = new_coders(source.scale)
    train_many(apart, source, each=OWN, **SHARED)
    folders = [dict(folder=tmp_path / str(number)) | own for number, own in enumerate(OWN)]

    batches, given = type(source).batches, []

    def stopping(self, *arguments, **keywords):
        for x in batches(self, *arguments, **keywords):
            given.append(x)
            if len(given) > at:
                raise Stop
            yield x

    with monkeypatch.context() as patch:
        patch.setattr(type(source), "batches", stopping)
        with pytest.raises(Stop):
            train_many(new_coders(source.scale), source, each=folders, **SHARED)
    again = new_coders(source.scale)
    rows = train_many(again, source, each=folders, **SHARED)
    for ours, theirs in zip(again, apart, strict=True):
        same(ours, theirs, tolerance=0)
    assert [own[-1]["step"] for own in rows] == [own["steps"] for own in OWN]
    kept = [json.loads(line) for line in (tmp_path / "2" / "metrics.jsonl").read_text().splitlines()]
    assert without_seconds(kept) == without_seconds(rows[2])


def test_coders_at_different_steps_wait_for_each_other_and_go_on_with_each_others_checkpoints(source, tmp_path):
    """One was trained alone for a while, one is new, one is finished."""
    apart = new_coders(source.scale)[:3]
    train_many(apart, source, each=OWN[:3], **SHARED)
    folders = [dict(folder=tmp_path / str(number)) | own for number, own in enumerate(OWN[:3])]
    first, _, last = new_coders(source.scale)[:3]

    def stop(row):
        raise Stop

    with pytest.raises(Stop):
        alone(first, source, folders[0] | dict(on_log=stop, log_every=6))  # after the checkpoint of step 4
    alone(last, source, folders[2])
    again = new_coders(source.scale)[:3]
    rows = train_many(again, source, each=folders, **SHARED)
    for ours, theirs in zip(again, apart, strict=True):
        same(ours, theirs)
    assert [own[-1]["step"] for own in rows] == [12, 12, 7]
    finished = new_coders(source.scale)[:3]
    train_many(finished, source, each=folders, **SHARED)  # nothing is left to do
    for ours, theirs in zip(finished, again, strict=True):
        same(ours, theirs, tolerance=0)


def test_control_c_keeps_what_was_learned(source, tmp_path, monkeypatch):
    folders = [dict(folder=tmp_path / str(number)) | own for number, own in enumerate(OWN)]
    step, taken = SparseAutoencoder.loss, []

    def interrupted(self, *arguments, **terms):
        taken.append(self)
        if len(taken) == 5:
            raise KeyboardInterrupt
        return step(self, *arguments, **terms)

    with monkeypatch.context() as patch:
        patch.setattr(SparseAutoencoder, "loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_many(new_coders(source.scale), source, each=folders, **SHARED)
    apart, again = new_coders(source.scale), new_coders(source.scale)
    train_many(again, source, each=folders, **SHARED)
    train_many(apart, source, each=OWN, **SHARED)
    for ours, theirs in zip(again, apart, strict=True):
        same(ours, theirs, tolerance=0)


def test_tied_crosscoders_take_part(source):
    def coders():
        return [TiedCrosscoder(G, CHANNELS, 3, scale=source.scale),
                GroupCrosscoder(G, CHANNELS, 20, scale=source.scale)]

    together, apart = coders(), coders()
    train_many(together, source, steps=5, **SHARED)
    for ours, theirs in zip(together, apart, strict=True):
        alone(theirs, source, dict(steps=5))
        same(ours, theirs)


@pytest.mark.parametrize("coders, each, message", [
    ([], None, "0 coders and settings for 0"), ([GroupCrosscoder(G, CHANNELS, 8)], [{}, {}], "1 coders and settings"),
    ([GroupCrosscoder(cyclic(4), CHANNELS, 8)], None, "C_4"), ([SparseAutoencoder(5, 8)], None, "5")])
def test_what_does_not_fit_is_refused(coders, each, message):
    with pytest.raises(ValueError, match=message):
        train_many(coders, TensorOrbits(torch.rand(40, 8, CHANNELS), G), each=each, steps=3, **SHARED)


def test_coders_on_different_devices_are_refused():
    coders = [GroupCrosscoder(G, CHANNELS, 8), GroupCrosscoder(G, CHANNELS, 8).to("meta")]
    with pytest.raises(ValueError, match=r"lie on \['cpu', 'meta'\]; expected one device"):
        train_many(coders, TensorOrbits(torch.rand(40, 8, CHANNELS), G), steps=3, **SHARED)


def test_coders_that_are_not_trained_further_stay_as_they_are():
    """Those with fewer steps leave the others to themselves."""
    source = TensorOrbits(torch.rand(40, 8, CHANNELS, generator=torch.Generator().manual_seed(0)), G)
    short, long = GroupCrosscoder(G, CHANNELS, 8), GroupCrosscoder(G, CHANNELS, 8)
    before = copy.deepcopy(short)
    train(before, source, steps=3, **SHARED)
    train_many([short, long], source, each=[dict(steps=3), dict(steps=9)], **SHARED)
    same(short, before, tolerance=0)
    assert not np.allclose(short.W_d.detach(), long.W_d.detach())


def test_two_coders_of_one_folder_are_refused(tmp_path):
    source = TensorOrbits(torch.rand(40, 8, CHANNELS), G)
    coders = [GroupCrosscoder(G, CHANNELS, 8, seed=seed) for seed in range(2)]
    (tmp_path / "a").mkdir()
    each = [dict(folder=tmp_path / "a"), dict(folder=str(tmp_path / "b" / ".." / "a"))]
    for settings in (dict(folder=tmp_path), dict(each=each)):
        with pytest.raises(ValueError, match="two coders have one folder"):
            train_many(coders, source, steps=3, **SHARED, **settings)
    assert not list(tmp_path.rglob("*.safetensors"))
    train_many(coders[:1], source, steps=3, folder=tmp_path, **SHARED)
