import json

import pytest
import torch

from groupcc_lite.coders import EquivariantSAE, GroupCrosscoder, SparseAutoencoder, evaluate, train
from groupcc_lite.coders.transforms import TransformMatrix, project
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import TensorOrbits


def hand_made(activation="relu", k=None, scale=1.0):
    """C_2, two channels, two latents, weights small enough to compute on paper."""
    coder = GroupCrosscoder(cyclic(2), 2, 2, activation=activation, k=k, scale=scale)
    with torch.no_grad():
        coder.W_e.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        coder.b_e.copy_(torch.tensor([0.0, -1.0]))
        coder.b.copy_(torch.tensor([1.0, 0.0]))
        coder.W_d.copy_(torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 1.0], [0.0, 0.0]]]))
        coder.b_d.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.0]]))
    return coder


X = torch.tensor([[[3.0, 2.0], [0.0, 8.0]]])


def test_encode_and_decode_on_paper():
    coder = hand_made()
    f = coder.encode(X[:, 0])
    assert f.tolist() == [[2.0, 1.0]]  # [3 - 1, 2 - 1]
    assert coder.decode(f).tolist() == [[[6.5, 1.0], [0.0, 8.0]]]


def test_the_papers_loss_on_paper():
    total, parts = hand_made().loss(X, sparsity=0.1)
    assert float(parts["reconstruction"]) == pytest.approx(3.5**2 + 1.0)
    assert float(parts["l1"]) == pytest.approx(0.1 * (2 * 5 + 1 * 1))  # the norm of the whole vector: ||(3,0,0,4)|| = 5
    assert float(total.detach()) == pytest.approx(13.25 + 1.1) and float(parts["l0"]) == 2


def test_the_scale_is_applied_inside_and_undone_outside():
    coder, scaled = hand_made(), hand_made(scale=2.0)
    assert torch.equal(scaled.encode(X[:, 0] / 2), coder.encode(X[:, 0]))
    assert torch.equal(scaled(X / 2).reconstruction * 2, coder(X).reconstruction)
    assert float(scaled.loss(X / 2)[0].detach()) == pytest.approx(float(coder.loss(X)[0].detach()))


def test_topk_keeps_the_largest_contributions_not_the_largest_latents():
    coder = hand_made("topk", 1)
    x0 = torch.tensor([[2.0, 5.0]])  # latents before selection: 1 and 4, contributions 1 * 5 and 4 * 1
    assert coder.encode(x0).tolist() == [[1.0, 0.0]]


def test_batchtopk_spends_k_per_sample_on_average_and_has_a_threshold_afterwards():
    coder = GroupCrosscoder(dihedral(3), 5, 40, activation="batchtopk", k=4, seed=1)
    x = torch.randn(64, 6, 5, generator=torch.Generator().manual_seed(0))
    coder.train()
    for _ in range(3):
        _, parts = coder.loss(x)
    assert float(parts["l0"]) == pytest.approx(4, abs=0.02)
    per_sample = (coder.encode(x[:, 0]) > 0).sum(1)
    assert per_sample.min() < 4 < per_sample.max()
    coder.eval()
    assert float((coder.encode(x[:, 0]) > 0).float().sum(1).mean()) == pytest.approx(4, abs=0.2)


def test_rescaling_a_latent_against_its_dictionary_vector_changes_nothing():
    for activation, k in (("relu", None), ("topk", 3)):
        coder = GroupCrosscoder(cyclic(3), 4, 8, activation=activation, k=k, seed=2)
        x = torch.randn(16, 3, 4, generator=torch.Generator().manual_seed(0))
        before = coder(x).reconstruction, coder.loss(x, sparsity=0.3)[0]
        with torch.no_grad():
            coder.W_e[1] *= 4
            coder.b_e[1] *= 4
            coder.W_d[1] /= 4
        torch.testing.assert_close(coder(x).reconstruction, before[0])
        torch.testing.assert_close(coder.loss(x, sparsity=0.3)[0], before[1])


def test_the_auxiliary_loss_moves_dead_latents_only():
    coder = GroupCrosscoder(cyclic(2), 3, 10, activation="topk", k=2, seed=0)
    x = torch.randn(32, 2, 3, generator=torch.Generator().manual_seed(0))
    coder.idle[7:] = 1000
    _, parts = coder.loss(x, dead_after=500, aux_k=3)
    assert float(parts["aux"]) > 0
    coder.idle[7:] = 1000  # some have just fired
    coder._auxiliary(coder.preactivations(x[:, 0]), x, 3, coder.idle > 500).backward()
    assert coder.W_d.grad[:7].abs().max() == 0 and coder.W_d.grad[7:].abs().max() > 0
    coder.idle.zero_()
    assert float(coder.loss(x, dead_after=500)[1]["aux"]) == 0


def test_an_sae_is_the_crosscoder_of_the_trivial_group():
    sae = SparseAutoencoder(4, 9, activation="topk", k=2, seed=3)
    cc = GroupCrosscoder(cyclic(1), 4, 9, activation="topk", k=2, seed=3)
    x = torch.randn(5, 1, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sae(x).reconstruction, cc(x).reconstruction)


@pytest.mark.parametrize("activation, k", [("relu", None), ("topk", 2), ("batchtopk", 2)])
def test_save_and_load_give_the_same_coder(tmp_path, activation, k):
    coder = GroupCrosscoder(dihedral(3), 4, 6, activation=activation, k=k, scale=1.7, seed=5)
    x = torch.randn(8, 6, 4, generator=torch.Generator().manual_seed(0))
    coder.loss(x)
    coder.eval().save(tmp_path / "c")
    loaded = GroupCrosscoder.load(tmp_path / "c", group=dihedral(3))
    assert loaded.config == coder.config
    assert torch.equal(loaded(x).reconstruction, coder(x).reconstruction)
    sae = SparseAutoencoder(4, 6, activation=activation, k=k)
    sae.save(tmp_path / "s")
    assert isinstance(SparseAutoencoder.load(tmp_path / "s"), SparseAutoencoder)


def test_loading_explains_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no saved coder"):
        GroupCrosscoder.load(tmp_path / "nothing")
    GroupCrosscoder(dihedral(3), 4, 6).save(tmp_path / "c")
    with pytest.raises(ValueError, match="trained for D_3, not for C_6"):
        GroupCrosscoder.load(tmp_path / "c", group=cyclic(6))
    with pytest.raises(ValueError, match="load it as GroupCrosscoder"):
        SparseAutoencoder.load(tmp_path / "c")
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    (tmp_path / "c" / "config.json").write_text(json.dumps(config | {"latents": 7}))
    with pytest.raises(ValueError, match="do not fit"):
        GroupCrosscoder.load(tmp_path / "c")
    weights = tmp_path / "c" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="checksum"):
        GroupCrosscoder.load(tmp_path / "c")


def test_bad_arguments_and_shapes():
    with pytest.raises(ValueError, match="activation is 'gelu'"):
        GroupCrosscoder(cyclic(2), 3, 4, activation="gelu")
    for activation, k in (("topk", None), ("relu", 3), ("topk", 5), ("topk", 0)):
        with pytest.raises(ValueError, match="k is"):
            GroupCrosscoder(cyclic(2), 3, 4, activation=activation, k=k)
    coder = GroupCrosscoder(cyclic(2), 3, 4)
    with pytest.raises(ValueError, match=r"x0 has shape \(5, 4\)"):
        coder.encode(torch.zeros(5, 4))
    with pytest.raises(ValueError, match="one block of 3 channels per element of C_2"):
        coder(torch.zeros(5, 3, 3))


def test_the_written_out_gradient_is_autograds():
    coder = GroupCrosscoder(cyclic(3), 4, 8, scale=1.3, seed=2)
    x = torch.randn(16, 3, 4, generator=torch.Generator().manual_seed(0))
    total, parts = coder.loss(x, sparsity=0.3)
    total.backward()
    ours = {name: p.grad.clone() for name, p in coder.named_parameters()}
    coder.zero_grad()
    target, f = x * coder.scale, coder.encode(x[:, 0])
    residual = target - (torch.einsum("bm,mgd->bgd", f, coder.W_d) + coder.b_d)
    plain = residual.square().sum((1, 2)).mean() + 0.3 * (f * coder.W_d.flatten(1).norm(dim=1)).sum(1).mean()
    plain.backward()
    torch.testing.assert_close(total, plain)
    for name, parameter in coder.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, msg=name)


def test_a_two_layer_encoder_on_paper(tmp_path):
    coder = SparseAutoencoder(2, 2, hidden=2)
    with torch.no_grad():
        coder.W_h.copy_(torch.tensor([[1.0, 0], [0, -1]]))
        coder.b_h.copy_(torch.tensor([0.0, 1]))
        coder.W_e.copy_(torch.tensor([[1.0, 1], [2, -1]]))
    # x = (3, 2): hidden relu(3, -1) = (3, 0), latents relu(3, 6)
    assert torch.allclose(coder.encode(torch.tensor([[3.0, 2]])), torch.tensor([[3.0, 6]]))
    coder.save(tmp_path)
    again = SparseAutoencoder.load(tmp_path)
    assert again.hidden == 2 and torch.equal(again.W_h, coder.W_h)
    with pytest.raises(ValueError, match="hidden=0"):
        SparseAutoencoder(2, 2, hidden=0)


def turning(channels: int = 8, seed: int = 0) -> TransformMatrix:
    """A true representation of C_4 that is not orthogonal."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.eye(channels) + 0.3 * torch.randn(channels, channels, generator=generator)
    quarter = torch.zeros(channels, channels)
    for k in range(0, channels, 2):
        quarter[k, k + 1], quarter[k + 1, k] = -1, 1
    transform = TransformMatrix(cyclic(4), channels)
    transform.M.data[0] = basis @ quarter @ torch.linalg.inv(basis)
    return transform


def turned_orbits(count: int = 600, channels: int = 8) -> torch.Tensor:
    """Orbits of sparse canonical vectors: half of the dictionary positive, so that the canonical image is known."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(12, channels, generator=generator)
    coefficients = torch.rand(count, 12, generator=generator) * (torch.rand(count, 12, generator=generator) < 0.2)
    return turning(channels)(coefficients @ directions).detach()


def test_the_equivariant_losses_are_the_papers_equations():
    coder = EquivariantSAE(cyclic(4), 8, 16, k=4, hidden=6, scale=1.5, transform=None)
    x = turned_orbits(5)
    expected = 0.0
    for p in range(4):
        guess = coder.sae.decode(coder.sae.encode(x[:, p]))[:, 0]
        expected += (1.5 * (x[:, 0] - guess)).square().sum(1).mean() / 4
    total, parts = coder.loss(x, aux=0.0)
    assert torch.allclose(parts["reconstruction"], expected, rtol=1e-5)
    assert torch.allclose(total, expected + coder.transform.loss(x)[0], rtol=1e-5)


def test_gradients_of_the_two_halves_do_not_mix():
    x = turned_orbits(6)
    together = EquivariantSAE(cyclic(4), 8, 16, k=4, hidden=6)
    together.loss(x)[0].backward()
    apart = TransformMatrix(cyclic(4), 8)
    apart.loss(x)[0].backward()
    assert torch.allclose(together.transform.M.grad, apart.M.grad)
    given = EquivariantSAE(cyclic(4), 8, 16, k=4, hidden=6, transform=turning())
    given.loss(x)[0].backward()
    assert given.transform.M.grad is None
    assert torch.allclose(given.sae.W_d.grad, together.sae.W_d.grad)


def test_an_equivariant_sae_learns_orbits_and_finds_the_element(tmp_path):
    source = TensorOrbits(turned_orbits(2000), cyclic(4))
    coder = EquivariantSAE(cyclic(4), 8, 48, k=6, hidden=128, scale=source.scale, transform=turning())
    train(coder, source, steps=400, batch_size=128, lr=3e-3, progress=False)
    assert evaluate(coder, source).fve > 0.8
    x = source.blocks[:300]
    elements = torch.arange(4).repeat(300)
    rows = x.reshape(-1, 8)
    assert (coder.nearest_element(rows) == elements).float().mean() > 0.8  # chance: 0.25
    coder.save(tmp_path)
    again = EquivariantSAE.load(tmp_path, group=cyclic(4))
    assert torch.allclose(again(x).reconstruction, coder(x).reconstruction)
    assert again.config == coder.config


def test_the_equivariant_dictionary_turns_by_the_regular_action():
    coder = EquivariantSAE(cyclic(4), 8, 5, k=2, transform=project(turning()))
    D = coder.dictionary.detach()
    assert D.shape == (5, 4, 8)
    rho = coder.transform.matrices()[1].detach()
    # turning the canonical vector by r shifts the blocks one place to the left
    assert torch.allclose(torch.einsum("cd,mgd->mgc", rho, D), D.roll(-1, dims=1), atol=1e-4)


def test_equivariant_saes_refuse_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match="transform is for C_4 with 8 channels; expected C_4 with 6"):
        EquivariantSAE(cyclic(4), 6, 5, k=2, transform=turning())
    coder = EquivariantSAE(cyclic(4), 8, 5, k=2)
    with pytest.raises(ValueError, match=r"expected \(batch, 4, 8\)"):
        coder.loss(torch.zeros(3, 5, 8))
    with pytest.raises(ValueError, match="the coder is for C_4 with 8 channels, the orbits are for trivial|for C_1"):
        coder.check_source(TensorOrbits(torch.ones(3, 1, 8), cyclic(1)))
    with pytest.raises(ValueError, match="holds no saved coder"):
        EquivariantSAE.load(tmp_path)
    coder.save(tmp_path)
    with pytest.raises(ValueError, match="C_2"):
        EquivariantSAE.load(tmp_path, group=cyclic(2))
