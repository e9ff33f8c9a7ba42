"""The tied crosscoder commutes with the group, is the crosscoder that its dictionary says, and counts as it says."""

import pytest
import torch
from group_samples import GROUPS
from hypothesis import given
from hypothesis import strategies as st

from groupcc_lite.coders import GroupCrosscoder, TiedCrosscoder, evaluate, train
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.symmetry import act

ANY_GROUP = GROUPS | st.just(dihedral(16))


def random_coder(G, seed=0, **settings):
    coder = TiedCrosscoder(G, 5, 4, seed=seed, **settings)
    with torch.no_grad():
        for p in coder.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed + 1)))
    return coder.eval()


@given(ANY_GROUP, st.integers(0, 2**16), st.sampled_from(["relu", "topk"]))
def test_codes_and_reconstructions_move_with_the_orbit(G, seed, activation):
    """f(h . x) = h . f(x) and decode(h . f) = h . decode(f)."""
    coder = random_coder(G, activation=activation, k=3 if activation == "topk" else None, scale=0.7)
    x = torch.randn(6, G.order, 5, generator=torch.Generator().manual_seed(seed))
    h = seed % G.order
    moved = torch.as_tensor(G.table[:, h])  # (h . x)[g] = x[gh]
    torch.testing.assert_close(coder.codes(x[:, moved]), coder.codes(x)[:, moved], atol=1e-5, rtol=0)
    f, again = coder.encode(x).unflatten(1, (4, G.order)), coder.encode(x[:, moved]).unflatten(1, (4, G.order))
    # Latent (j, i) is z_j[i^-1]; moved, it is z_j[i^-1 h] = latent (j, h^-1 i).
    torch.testing.assert_close(again, f[:, :, torch.as_tensor(G.table[G.inverse[h]])], atol=1e-5, rtol=0)
    torch.testing.assert_close(coder.decode(again.flatten(1)), coder.decode(f.flatten(1))[:, moved], atol=1e-5, rtol=0)


@given(ANY_GROUP)
def test_its_dictionary_is_that_of_an_untied_crosscoder(G):
    """The same latents, written by a crosscoder with the expanded dictionary, give the same reconstruction."""
    coder = random_coder(G, scale=2.0)
    untied = GroupCrosscoder(G, 5, coder.latents, scale=2.0)
    with torch.no_grad():
        untied.W_d.copy_(coder.dictionary)
        untied.b_d.copy_(coder.b_d.expand(G.order, 5))
    f = coder.encode(torch.randn(6, G.order, 5))
    torch.testing.assert_close(coder.decode(f), untied.decode(f), atol=1e-5, rtol=1e-5)


def test_latents_are_poses_of_bases_in_the_order_of_the_group():
    coder, G = random_coder(dihedral(3)), dihedral(3)
    for j in range(4):
        for h in range(6):
            torch.testing.assert_close(coder.dictionary[6 * j + h], act(coder.W_d[j][None], G, h)[0])


def test_encode_and_decode_on_paper():
    """C_2, one channel, one base that writes 1 at e and 3 at the other element."""
    coder = TiedCrosscoder(cyclic(2), 1, 1)
    with torch.no_grad():
        coder.W_d.copy_(torch.tensor([[[1.0], [3.0]]]))
        coder.W_e.fill_(1.0)
        coder.b_e.fill_(-1.0)
    x = torch.tensor([[[3.0], [0.5]]])
    assert coder.encode(x).tolist() == [[2.0, 0.0]]  # relu(3 - 1), relu(0.5 - 1)
    assert coder(x).reconstruction.flatten().tolist() == [2.0, 6.0]
    moved = x.flip(1)
    assert coder.encode(moved).tolist() == [[0.0, 2.0]] and coder(moved).reconstruction.flatten().tolist() == [6.0, 2.0]
    total, parts = coder.loss(x, sparsity=0.1)
    assert float(parts["reconstruction"]) == pytest.approx(1.0 + 5.5**2)
    assert float(parts["l1"]) == pytest.approx(0.1 * 2 * 10**0.5) and float(parts["l0"]) == 1
    assert float(total.detach()) == pytest.approx(31.25 + 0.2 * 10**0.5)


def test_topk_compares_what_latents_write():
    coder = random_coder(dihedral(3), activation="topk", k=2)
    with torch.no_grad():
        coder.W_d[0] *= 100.0  # whoever belongs to base 0 writes most
        coder.W_e[0] = coder.W_e[1]
        coder.b_e[:2] = 1.0
        coder.W_e[:2] *= 1e-3
    f = coder.encode(torch.randn(5, 6, 5)).unflatten(1, (4, 6))
    assert ((f > 0).sum((1, 2)) == 2).all() and ((f[:, 0] > 0).sum(1) == 2).all()


def test_copies_of_a_symmetric_feature_fire_together():
    """A base that every element leaves as it is has one value at all of them, and writes their sum."""
    G = dihedral(3)
    coder = TiedCrosscoder(G, 2, 1)
    with torch.no_grad():
        coder.W_d.copy_(torch.tensor([1.0, 0.0]).expand(1, 6, 2))
        coder.W_e.copy_(torch.tensor([[1.0, 0.0]]))
    x = torch.tensor([0.6, 0.0]).expand(1, 6, 2)
    f, reconstruction = coder(x)
    assert f.tolist() == [pytest.approx([0.6] * 6)]
    torch.testing.assert_close(reconstruction, torch.tensor([3.6, 0.0]).expand(1, 6, 2))


def test_a_crosscoder_that_is_not_tied_does_not_commute():
    """The negative control: its codes see the untransformed block alone."""
    G = dihedral(3)
    coder = GroupCrosscoder(G, 5, 24, activation="topk", k=3)
    x = torch.randn(6, 6, 5)
    moved = torch.as_tensor(G.table[:, 1])
    assert not torch.allclose(coder(x[:, moved]).reconstruction, coder(x).reconstruction[:, moved], atol=0.05)


@pytest.mark.parametrize("activation, k", [("relu", None), ("topk", 3)])
def test_it_is_trained_saved_and_judged_like_any_coder(tmp_path, activation, k):
    x = torch.randn(200, 6, 5, generator=torch.Generator().manual_seed(0)).relu()
    source = TensorOrbits(x, dihedral(3))
    coder = TiedCrosscoder(source.group, 5, 4, activation=activation, k=k, scale=source.scale)
    rows = train(coder, source, steps=60, batch_size=50, sparsity=0.01, lr=1e-2, progress=False)
    assert rows[-1]["loss"] < rows[0]["loss"] and {"fve", "l0", "dead"} <= rows[-1].keys()
    metrics = evaluate(coder, source)
    assert metrics.fve > 0.1 and metrics.frequency.shape == (24,)
    coder.save(tmp_path)
    again = TiedCrosscoder.load(tmp_path)
    assert again.fingerprint == coder.fingerprint and again.config == coder.config
    torch.testing.assert_close(again(x).reconstruction, coder(x).reconstruction, atol=0, rtol=0)


def test_dead_bases_are_revived():
    x = torch.randn(300, 3, 4, generator=torch.Generator().manual_seed(0)).relu()
    source = TensorOrbits(x, cyclic(3))

    def dead(aux):
        coder = TiedCrosscoder(source.group, 4, 6, activation="topk", k=2, scale=source.scale)
        with torch.no_grad():
            coder.W_d[3:] *= 1e-4  # what these write is never among the strongest
        train(coder, source, steps=100, batch_size=64, lr=1e-2, aux=aux, dead_after=300, progress=False)
        return int((evaluate(coder, source).frequency.reshape(6, 3).sum(1) == 0).sum())

    assert dead(1 / 32) == 0 < dead(0.0)


@pytest.mark.parametrize("settings, message", [
    (dict(activation="tanh"), "expected one of relu, topk"), (dict(activation="topk"), "topk needs k"),
    (dict(k=3), "relu takes none"), (dict(activation="topk", k=25), "expected 1 to 24"), (dict(scale=0.0), "positive")])
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TiedCrosscoder(dihedral(3), 5, 4, **settings)


def test_single_blocks_are_refused():
    with pytest.raises(ValueError, match="one block"):
        TiedCrosscoder(dihedral(3), 5, 4).encode(torch.zeros(2, 1, 5))
