from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groupcc_lite.coders import (
    AllPoses,
    BlockSparseAutoencoder,
    GroupCrosscoder,
    SparseAutoencoder,
    WholeOrbits,
    evaluate,
    firing_frequency,
)
from groupcc_lite.groups import cyclic
from groupcc_lite.orbits import IdentityBlocks, TensorOrbits


def test_metrics_on_paper():
    coder = GroupCrosscoder(cyclic(2), 1, 1)
    with torch.no_grad():
        coder.W_e.fill_(1)
        coder.W_d.copy_(torch.tensor([[[1.0], [0.0]]]))
    source = TensorOrbits(torch.tensor([[[0.0], [1.0]], [[2.0], [3.0]]]), cyclic(2))
    source.exact = np.array([True, False])
    metrics = evaluate(coder, source)
    # Block e is reproduced; block r is guessed as 0: residual 1 + 9 against a variance of 2 about the mean.
    assert metrics.fve_per_block.tolist() == [1.0, 1 - 10 / 2]
    assert metrics.fve == pytest.approx(1 - 10 / 4) and metrics.fve_identity == 1.0
    assert np.isnan(metrics.fve_exact) and metrics.fve_resampled == -4.0
    assert metrics.l0 == 0.5 and metrics.dead == 0 and metrics.frequency.tolist() == [0.5]


def test_orbits_that_are_all_the_same_have_no_variance_to_explain():
    coder = GroupCrosscoder(cyclic(2), 3, 4)
    with pytest.raises(ValueError, match="the 5 orbits to evaluate on are all the same"):
        evaluate(coder, TensorOrbits(torch.full((5, 2, 3), 0.7), cyclic(2)))
    one_block = torch.zeros(5, 2, 3)
    one_block[:, 0] = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with np.errstate(all="raise"):
        assert np.isfinite(evaluate(coder, TensorOrbits(one_block, cyclic(2))).fve_per_block).all()


def test_a_failing_evaluation_leaves_the_coder_in_training():
    coder = GroupCrosscoder(cyclic(2), 3, 4).train()
    with pytest.raises(ValueError, match="expected"):
        evaluate(coder, TensorOrbits(torch.ones(5, 4, 3), cyclic(4)))
    assert coder.training


@pytest.mark.parametrize("activation", ["relu", "topk", "batchtopk"])
def test_how_often_latents_fire_is_what_a_whole_evaluation_says(activation):
    """In training mode too, where BatchTopK would cut each batch on its own; two latents never fire."""
    coder = GroupCrosscoder(cyclic(2), 5, 12, activation=activation, k=None if activation == "relu" else 2, seed=0)
    with torch.no_grad():
        coder.b_e[[3, 8]] = -1e6
        coder.threshold.fill_(0.3)
    source = TensorOrbits(torch.randn(90, 2, 5, generator=torch.Generator().manual_seed(0)), cyclic(2))
    whole = evaluate(coder, source).frequency
    for batch_size in (7, 1024):
        found = firing_frequency(coder.train(), source, batch_size=batch_size)
        assert coder.training and found.tolist() == whole.tolist()
    assert found[[3, 8]].tolist() == [0, 0] and found.max() > 0
    with torch.no_grad():
        alive = (coder.eval().encode(source.blocks[:, 0]) > 0).any(0)
    assert (found > 0).tolist() == alive.tolist()


def test_how_often_latents_fire_needs_first_blocks_only():
    x = torch.randn(20, 2, 5, generator=torch.Generator().manual_seed(0))
    coder, read = GroupCrosscoder(cyclic(2), 5, 12, seed=0), []

    class Watched(TensorOrbits):
        def in_order(self, *args, **options):
            for batch in super().in_order(*args, **options):
                read.append(batch.shape[1])
                yield batch

    assert firing_frequency(coder, Watched(x, cyclic(2))).shape == (12,) and set(read) == {1}
    with pytest.raises(ValueError, match="the source is empty"):
        firing_frequency(coder, SimpleNamespace(in_order=lambda *args, **options: iter(())))


@pytest.mark.parametrize("unit, mean", [(1, 100), (1, 1000), (1, 10000), (1e-7, 0), (1e-9, 0)])
def test_the_variance_explained_is_that_of_two_passes_whatever_the_mean_and_the_units(unit, mean):
    x = unit * (torch.randn(2000, 2, 8, generator=torch.Generator().manual_seed(0)) + mean)
    coder = GroupCrosscoder(cyclic(2), 8, 4, activation="topk", k=1, scale=1 / unit)
    coder.begin(x)
    with torch.no_grad():
        residual = (x - coder(x).reconstruction).double().square().sum((0, 2))
    expected = 1 - residual / (x.double() - x.double().mean(0)).square().sum((0, 2))
    found = evaluate(coder, TensorOrbits(x, cyclic(2)), batch_size=300).fve_per_block
    assert found == pytest.approx(expected.numpy(), abs=1e-5)


def test_how_often_latents_fire_on_sources_of_one_block():
    x = torch.randn(30, 2, 5, generator=torch.Generator().manual_seed(0))
    orbits = TensorOrbits(x, cyclic(2))
    for source in (IdentityBlocks(orbits), AllPoses(orbits), WholeOrbits(orbits)):
        coder = SparseAutoencoder(source.channels, 12, activation="topk", k=3)
        assert firing_frequency(coder, source, batch_size=7).tolist() == evaluate(coder, source).frequency.tolist()
    assert next(AllPoses(orbits).in_order(7, elements=slice(1, None))).shape == (7, 0, 5)
    assert next(WholeOrbits(orbits).in_order(7, elements=slice(0, 1))).shape == (7, 1, 10)


def test_coordinates_of_either_sign_count_as_firing():
    coder = BlockSparseAutoencoder(5, blocks=6, size=2, k=2)
    source = TensorOrbits(torch.randn(30, 1, 5, generator=torch.Generator().manual_seed(0)), cyclic(1))
    frequency = firing_frequency(coder, source)
    assert frequency.tolist() == evaluate(coder, source).frequency.tolist() and frequency.sum() == pytest.approx(4)
