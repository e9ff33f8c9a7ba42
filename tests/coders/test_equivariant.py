import pytest
import torch

from groupcc_lite.coders import EquivariantSAE, TransformMatrix, evaluate, project, train
from groupcc_lite.groups import cyclic
from groupcc_lite.orbits import TensorOrbits


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


@pytest.mark.parametrize("learns", [True, False])
def test_a_loaded_coder_trains_on_as_it_did(tmp_path, learns):
    source = TensorOrbits(turned_orbits(100), cyclic(4))
    coder = EquivariantSAE(cyclic(4), 8, 16, k=4, hidden=6, transform=None if learns else turning())
    coder.save(tmp_path)
    loaded = EquivariantSAE.load(tmp_path)
    before = loaded.transform.M.detach().clone()
    settings = dict(steps=20, batch_size=25, progress=False)
    train(coder, source, **settings)
    train(loaded, source, **settings)
    assert loaded.learns_transform == learns and torch.equal(loaded.transform.M, before) != learns
    for name, value in coder.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_the_logged_fve_is_that_of_the_evaluation():
    source = TensorOrbits(turned_orbits(60), cyclic(4))
    coder = EquivariantSAE(cyclic(4), 8, 16, k=4, hidden=6, transform=turning())
    assert coder.diagnostics(source.blocks, {})["fve"] == pytest.approx(evaluate(coder, source).fve, rel=1e-4)


def test_a_transform_that_is_handed_over_stays_trainable():
    given = turning()
    coder = EquivariantSAE(cyclic(4), 8, 16, k=4, hidden=6, transform=given)
    assert given.M.requires_grad and not coder.transform.M.requires_grad
    given.M.data.zero_()
    assert torch.equal(coder.transform.M, turning().M)


def test_the_logged_fve_does_not_depend_on_the_units():
    x = torch.randn(50, 2, 8, generator=torch.Generator().manual_seed(0))
    found = [EquivariantSAE(cyclic(2), 8, 4, k=1, hidden=4, scale=1 / unit).diagnostics(unit * x, {})["fve"]
             for unit in (1, 1e-9)]
    assert found[1] == pytest.approx(found[0], abs=1e-5)
