"""Streams give a store's rows, compute no more than is asked for, and resume bit for bit."""

import numpy as np
import pytest
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder, evaluate, train
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import IdentityBlocks, OrbitStore, OrbitStream
from groupcc_lite.stimuli import TensorImages

SETTINGS = dict(points_per_image=3, mask_radius=7.0, images_per_shard=2, progress=False)


@pytest.fixture
def parts():
    model, action = small_model(), PlanarAction(dihedral(4))
    return model, action, TensorImages(noise_images(7, action.source_size(model.input_size)))


@pytest.fixture
def passed(parts):
    """How many images the network has seen."""
    seen = []
    parts[0].register_forward_hook(lambda module, images, output: seen.append(len(images[0])))
    return seen


def make_stream(parts, **changes):
    return OrbitStream(*parts, **(dict(points_per_image=3, mask_radius=7.0, buffer=13, images_per_step=2) | changes))


def test_the_stream_gives_the_stores_rows_in_another_order(parts, tmp_path):
    made = OrbitStore.make(tmp_path / "s", *parts, **SETTINGS)
    streamed = torch.cat(list(make_stream(parts).batches(7, epoch=0)))
    stored = torch.cat(list(made.in_order()))

    def ordered(x):
        return x.flatten(1)[np.lexsort(x.flatten(1).half().numpy().T)]

    assert not torch.equal(streamed, stored)
    torch.testing.assert_close(ordered(streamed), ordered(stored), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("start", [1, 2, 3])
def test_a_resumed_stream_goes_on_with_the_same_batches(parts, start):
    whole = list(make_stream(parts).batches(5, seed=4, epoch=1))
    rest = list(make_stream(parts).batches(5, seed=4, epoch=1, start=start))
    assert len(whole) == 4 and len(rest) == 4 - start
    for a, b in zip(whole[start:], rest, strict=True):
        assert torch.equal(a, b)


def test_stream_epochs_draw_new_points(parts):
    stream = make_stream(parts)
    first, second = (torch.cat(list(stream.batches(7, epoch=e))) for e in (0, 1))
    assert not torch.equal(first.sort(0).values, second.sort(0).values)


def test_stream_settings_that_cannot_work(parts):
    with pytest.raises(ValueError, match="buffer is 4"):
        make_stream(parts, buffer=4)
    for wrong in (dict(images_per_step=0), dict(images_per_step=-2), dict(points_per_image=0)):
        (name, value), = wrong.items()
        with pytest.raises(ValueError, match=f"{name} is {value}; expected at least 1"):
            make_stream(parts, **wrong)
    with pytest.raises(ValueError, match="do not fit the shuffle buffer"):
        next(make_stream(parts).batches(13))


def test_what_keeps_no_rows_says_so_where_every_row_is_wanted(parts):
    stream = make_stream(parts)
    for source in (stream, IdentityBlocks(stream)):
        with pytest.raises(ValueError, match="OrbitStream hands out shuffled batches only; store its orbits"):
            source.in_order(5)
    coder = GroupCrosscoder(stream.group, stream.channels, 20, activation="topk", k=2)
    with pytest.raises(ValueError, match="OrbitStream hands out shuffled batches only"):
        evaluate(coder, stream)


def test_a_resumed_stream_recomputes_what_is_buffered_in_its_old_company(parts, monkeypatch):
    """Whatever the network makes of a batch together: here every image is changed by the others beside it."""
    model = parts[0]
    monkeypatch.setattr(type(model), "forward", lambda self, x, **_: self.network(x) + self.network(x).mean())
    whole = list(make_stream(parts).batches(5, seed=4, epoch=1))
    rest = list(make_stream(parts).batches(5, seed=4, epoch=1, start=2))
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_only_the_blocks_that_are_asked_for_are_computed(parts, passed):
    stream = make_stream(parts)
    whole = torch.cat(list(stream.batches(7)))
    for_all = sum(passed)
    passed.clear()
    fresh = make_stream(parts)
    plain = torch.cat(list(IdentityBlocks(fresh).batches(7)))
    assert sum(passed) * 8 == for_all == 2 * 7 * 8  # once to measure the scale, once to give
    assert torch.equal(plain, whole[:, :1])
    passed.clear()
    some = torch.cat(list(fresh.batches(7, elements=slice(2, 4))))
    assert sum(passed) == 2 * 7 * 3  # and the untransformed view, on which points are chosen
    assert torch.equal(some, whole[:, 2:4])


def test_training_computes_no_image_twice(parts, passed):
    stream = make_stream(parts)
    coder = GroupCrosscoder(stream.group, stream.channels, 5, scale=stream.scale)
    passed.clear()
    train(coder, stream, steps=stream.batches_per_epoch(5), batch_size=5, progress=False)
    assert sum(passed) == 7 * 8  # one epoch


def test_the_scale_is_of_images_from_everywhere(parts):
    """The first images may all be of one kind, such as one class of photographs."""
    model, action, images = parts
    bright = torch.cat([images.load([0]) * 0, images.load(range(1, 7))])
    source, blank = TensorImages(bright.repeat(8, 1, 1, 1)), TensorImages(bright[:1].repeat(8, 1, 1, 1))
    ordered = make_stream((model, action, TensorImages(torch.cat([blank.load(range(8)), source.load(range(56))]))))
    rows = torch.cat([b for e in range(3) for b in ordered.batches(7, epoch=e)])
    assert float((rows * ordered.scale).square().sum(-1).mean()) == pytest.approx(6, rel=0.1)
    assert ordered.scale == make_stream((model, action, ordered.source)).scale
    assert IdentityBlocks(ordered).scale != ordered.scale


def test_activations_beyond_float16_are_refused_and_small_ones_kept(parts):
    model = parts[0]
    before = list(make_stream(parts).batches(7))
    for factor, message in ((1e7, "65,504"), (1e-7, None)):
        stream = make_stream(parts)
        hook = model.register_forward_hook(lambda module, images, output, factor=factor: output * factor)
        if message:
            with pytest.raises(ValueError, match=message):
                next(stream.batches(7))
        else:
            for a, b in zip(before, stream.batches(7), strict=True):
                torch.testing.assert_close(b * 1e7, a, rtol=2e-3, atol=1e-3)
        hook.remove()


def test_a_training_goes_on_with_a_stream_that_measures_another_scale(parts, tmp_path, monkeypatch):
    """As on another device; a scale that somebody has chosen otherwise is another run."""
    def start(stream, factor=1.0, on_log=None):
        coder = SparseAutoencoder(stream.channels, 5, scale=factor * stream.scale)
        rows = train(coder, IdentityBlocks(stream), steps=8, batch_size=5, folder=tmp_path, checkpoint_every=2,
                     log_every=4, on_log=on_log, progress=False)
        return coder, rows

    def stop(row):
        raise RuntimeError("stopped")

    first = make_stream(parts)
    measured = first.scale
    with pytest.raises(RuntimeError, match="stopped"):
        start(first, on_log=stop)
    measure = OrbitStream._measure
    monkeypatch.setattr(OrbitStream, "_measure", lambda *a: (measure(*a)[0] * 1.001, measure(*a)[1]))
    for factor in (2.0, 1.01):
        with pytest.raises(ValueError, match=r"other settings \(coder differ\)"):
            start(make_stream(parts), factor)
    coder, rows = start(make_stream(parts))
    assert [row["step"] for row in rows] == [4, 8]
    assert float(coder.scale) == pytest.approx(measured, rel=1e-6)
    with pytest.raises(ValueError, match="source differ"):
        start(make_stream(parts, seed=3))
