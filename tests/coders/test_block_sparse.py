"""The block-sparse autoencoder: blocks by hand, and a plane that one block takes and single latents tile."""

import math

import pytest
import torch

from groupcc_lite.coders import BlockSparseAutoencoder, SparseAutoencoder, evaluate, train
from groupcc_lite.groups import cyclic
from groupcc_lite.orbits import TensorOrbits


def test_blocks_are_selected_by_what_they_write_by_hand():
    """Two blocks of two latents in two channels: (3, -4) writes 5, (6, 1) is written by half as long vectors."""
    coder = BlockSparseAutoencoder(4, blocks=2, size=2, k=1)
    with torch.no_grad():
        coder.W_e.copy_(torch.eye(4))
        coder.W_d.copy_(torch.eye(4)[:, None])
        coder.W_d[2:] *= 0.5
    x = torch.tensor([[3.0, -4.0, 6.0, 1.0]])
    assert coder.encode(x).tolist() == [[3.0, -4.0, 0.0, 0.0]]  # 5 against sqrt(37) / 2
    with torch.no_grad():
        coder.W_d[2:] *= 2
    assert coder.encode(x).tolist() == [[0.0, 0.0, 6.0, 1.0]]
    assert coder.decode(coder.encode(x)).tolist() == [[[0.0, 0.0, 6.0, 1.0]]]
    _, parts = coder.loss(x[:, None])
    assert float(parts["reconstruction"]) == 25 and float(parts["l0"]) == 2


def test_rescaling_latents_changes_nothing():
    coder = BlockSparseAutoencoder(6, blocks=8, size=3, k=2)
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    before = coder.decode(coder.encode(x))
    with torch.no_grad():
        factor = torch.linspace(0.5, 2.0, 24)[:, None]
        coder.W_e *= factor
        coder.b_e *= factor[:, 0]
        coder.W_d /= factor[:, None]
    torch.testing.assert_close(coder.decode(coder.encode(x)), before, atol=1e-5, rtol=1e-5)


def test_a_circle_takes_one_block_and_many_single_latents():
    angle = 2 * math.pi * torch.rand(4000, generator=torch.Generator().manual_seed(0))
    plane = torch.linalg.qr(torch.randn(8, 2, generator=torch.Generator().manual_seed(1)))[0]
    source = TensorOrbits((torch.stack([angle.cos(), angle.sin()], 1) @ plane.T)[:, None], cyclic(1))
    loop = dict(steps=300, batch_size=256, lr=1e-2, progress=False)
    block = BlockSparseAutoencoder(8, blocks=1, size=2, k=1, scale=source.scale)
    single = SparseAutoencoder(8, 2, activation="topk", k=1, scale=source.scale)
    for coder in (block, single):
        train(coder, source, **loop)
    assert evaluate(block, source).fve > 0.99 > 0.9 > evaluate(single, source).fve
    assert evaluate(block, source).l0 == pytest.approx(2, abs=0.01)  # coordinates of either sign count


def test_dead_blocks_are_revived_and_it_is_saved(tmp_path):
    x = torch.randn(500, 1, 5, generator=torch.Generator().manual_seed(0))
    source = TensorOrbits(x, cyclic(1))

    def trained(aux):
        coder = BlockSparseAutoencoder(5, blocks=6, size=2, k=1, scale=source.scale)
        with torch.no_grad():
            coder.W_d[6:] *= 1e-4  # what these write is never most
        train(coder, source, steps=100, batch_size=64, lr=1e-2, aux=aux, dead_after=300, progress=False)
        return coder

    alive, dead = (evaluate(trained(aux), source).dead for aux in (1 / 32, 0.0))
    assert alive < dead
    coder = trained(1 / 32)
    coder.save(tmp_path)
    again = BlockSparseAutoencoder.load(tmp_path)
    assert again.fingerprint == coder.fingerprint and torch.equal(again.encode(x[:, 0]), coder.encode(x[:, 0]))


@pytest.mark.parametrize("settings", [dict(blocks=0, k=1), dict(blocks=3, k=4), dict(blocks=3, k=0),
                                      dict(blocks=3, k=1, size=0)])
def test_bad_settings_are_named(settings):
    with pytest.raises(ValueError, match="expected positive numbers, and k at most the number of blocks"):
        BlockSparseAutoencoder(4, **settings)
