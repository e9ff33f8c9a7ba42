import copy
import json

import pytest
import torch

from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder, evaluate
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


def test_reading_latents_writes_nothing():
    """A fresh module is in training mode: there too only the training step may move BatchTopK's threshold."""
    coder = GroupCrosscoder(cyclic(2), 3, 10, activation="batchtopk", k=2, seed=0)
    x = torch.randn(32, 2, 3, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in coder.state_dict().items()}
    assert coder.training
    coder.encode(x[:, 0])
    coder(x)
    assert all(torch.equal(value, before[name]) for name, value in coder.state_dict().items())
    coder.loss(x)
    assert float(coder.threshold) > 0
    first = float(coder.threshold)
    coder.loss(3 * x)
    assert first < float(coder.threshold) < 3 * first


def test_the_logged_fve_is_that_of_the_evaluation():
    """About the mean of the data, wherever b_d has drifted to."""
    coder = GroupCrosscoder(cyclic(2), 3, 10, activation="topk", k=2, seed=0)
    source = TensorOrbits(torch.randn(40, 2, 3, generator=torch.Generator().manual_seed(0)) + 5, cyclic(2))
    with torch.no_grad():
        coder.b_d.fill_(9.0)
    parts = {name: float(value) for name, value in coder.loss(source.blocks)[1].items()}
    assert coder.diagnostics(source.blocks, parts)["fve"] == pytest.approx(evaluate(coder, source).fve, rel=1e-4)


def test_the_scale_as_a_number_follows_the_buffer():
    coder = GroupCrosscoder(cyclic(2), 3, 10, scale=2.0)
    assert coder.config["scale"] == 2.0
    coder.scale.fill_(3.0)
    assert coder.config["scale"] == 3.0
    coder.load_state_dict(coder.state_dict() | {"scale": torch.tensor(4.0)})
    assert coder.config["scale"] == 4.0 and copy.deepcopy(coder).config["scale"] == 4.0


def test_dead_latents_without_looking_at_them():
    """What a GPU computes, all latents with the living left out by weight, is what the CPU computes of the dead."""
    coder = GroupCrosscoder(cyclic(2), 3, 10, activation="topk", k=2, seed=0)
    generator = torch.Generator().manual_seed(0)
    pre, residual = torch.randn(32, 10, generator=generator), torch.randn(32, 2, 3, generator=generator)

    class Elsewhere:
        """Says that it is on a GPU, and is not."""

        device = torch.device("cuda")

        def __init__(self, tensor):
            self.tensor = tensor

        def masked_fill(self, *args):
            return self.tensor.masked_fill(*args)

    for dead in (torch.zeros(10).bool(), torch.arange(10) > 7, torch.ones(10).bool()):
        here, unchecked = coder._auxiliary(pre, residual, 3, dead), GroupCrosscoder._auxiliary.__wrapped__
        torch.testing.assert_close(unchecked(coder, Elsewhere(pre), residual, 3, dead), here)


def test_jumprelu_on_paper(tmp_path):
    coder = hand_made("jumprelu")
    with torch.no_grad():
        coder.threshold.copy_(torch.tensor([1.0, -3.0]))
    # Preactivations are [x - 1, y - 1]: the first passes above 1, the second wherever it is positive.
    x0 = torch.tensor([[2.0, 5.0], [2.5, 0.5], [0.0, 1.5]])
    assert coder.encode(x0).tolist() == [[0.0, 4.0], [1.5, 0.0], [0.0, 0.5]]
    coder.save(tmp_path)
    assert torch.equal(GroupCrosscoder.load(tmp_path).encode(x0), coder.encode(x0))
    with pytest.raises(ValueError, match="no bandwidth is read and not trained.*one with relu, topk or batchtopk"):
        coder.loss(X)
    with pytest.raises(ValueError, match="relu and jumprelu take none"):
        SparseAutoencoder(2, 3, activation="jumprelu", k=1)


def test_topk_and_batchtopk_may_compare_latents_as_they_are(tmp_path):
    x0 = torch.tensor([[2.0, 5.0]])  # latents before selection: 1 and 4, contributions 1 * 5 and 4 * 1
    for activation in ("topk", "batchtopk"):
        for select, expected in (("contribution", [[1.0, 0.0]]), ("latent", [[0.0, 4.0]])):
            coder = GroupCrosscoder(cyclic(2), 2, 2, activation=activation, k=1, select=select)
            coder.load_state_dict(hand_made(activation, 1).state_dict())
            assert coder.train().encode(x0).tolist() == expected
            coder.save(tmp_path / select)
            assert GroupCrosscoder.load(tmp_path / select).select == select
    with pytest.raises(ValueError, match="select is 'norm'; expected one of contribution, latent"):
        SparseAutoencoder(2, 3, select="norm")


def test_few_of_many_latents_are_selected_in_the_same_way():
    """TopK trains on sparse codes there: both ways must choose the same latents."""
    x = torch.randn(16, 1, 5, generator=torch.Generator().manual_seed(0))
    coder = SparseAutoencoder(5, 200, activation="topk", k=2, select="latent")
    with torch.no_grad():
        coder.W_d *= torch.rand(200, 1, 1, generator=torch.Generator().manual_seed(1)) * 5
    error = (coder(x).reconstruction - x).square().sum((1, 2)).mean()
    assert float(coder.loss(x)[1]["reconstruction"]) == pytest.approx(float(error), rel=1e-5)
    coder.select = "contribution"
    assert float(coder.loss(x)[1]["reconstruction"]) != pytest.approx(float(error), rel=1e-2)


def test_a_coder_and_its_metrics_are_printed_in_a_line():
    coder = GroupCrosscoder(dihedral(3), 4, 9, activation="batchtopk", k=2)
    assert "D_3, channels=4, latents=9, batchtopk, k=2" in repr(coder)
    assert "relu" in repr(hand_made()) and "k=" not in repr(hand_made())
    metrics = evaluate(coder, TensorOrbits(torch.randn(20, 6, 4), dihedral(3)))
    assert "fve=" in repr(metrics) and "frequency" not in repr(metrics)


def test_the_scale_is_that_of_the_tensor_that_is_there():
    """A tensor that is let go may leave its place in memory to the next one: an address names neither."""
    for number in range(1, 200):
        coder = GroupCrosscoder(cyclic(2), 3, 4)
        assert coder.config["scale"] == 1
        between = torch.tensor(0.5)
        coder.scale = between
        del between
        last = torch.tensor(float(number))
        coder.scale = last
        assert coder.config["scale"] == number
    coder.scale.fill_(0.5)
    assert coder.config["scale"] == 0.5
    coder.load_state_dict(GroupCrosscoder(cyclic(2), 3, 4, scale=3.0).state_dict())
    assert coder.config["scale"] == copy.deepcopy(coder).double().config["scale"] == 3


def test_a_coder_that_was_built_for_inference_says_its_configuration(tmp_path):
    with torch.inference_mode():
        coder = GroupCrosscoder(cyclic(2), 3, 4, scale=2.0)
        coder.save(tmp_path)
    assert coder.config["scale"] == 2
    assert GroupCrosscoder.load(tmp_path).fingerprint == coder.fingerprint
