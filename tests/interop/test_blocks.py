"""A dictionary of others goes all the way: blocks of a group, and everything that reads their symmetry."""

import json

import pytest
import torch
from foreign_dictionaries import DATA
from safetensors.torch import save_file

from groupcc_lite.coders import FittedCrosscoder, SparseAutoencoder, evaluate, fit_blocks
from groupcc_lite.groups import dihedral
from groupcc_lite.interop import load_dictionary
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.symmetry import confirmed_census, encoder_profile, irrep_power, max_cosine, stabilisers

GROUP, CHANNELS, LATENTS = dihedral(4), 8, 20


@pytest.fixture(scope="module")
def planted():
    """Orbits of sparse sums of vectors with known blocks: latent 0 is invariant, latent 1 has a mirror."""
    random = torch.Generator().manual_seed(0)
    blocks = torch.randn(LATENTS, GROUP.order, CHANNELS, generator=random)
    blocks[0] = blocks[0, :1]
    blocks[1] = (blocks[1] + blocks[1][GROUP.regular[4]]) / 2
    f = torch.rand(4000, LATENTS, generator=random) * (torch.rand(4000, LATENTS, generator=random) < 0.15)
    return blocks, TensorOrbits(torch.einsum("bm,mgd->bgd", f, blocks), GROUP)


@pytest.fixture(scope="module")
def weights(planted):
    """Encoder and decoder that a TopK autoencoder of the first blocks could have."""
    blocks, _ = planted
    first = blocks[:, 0]
    return dict(W=first / first.norm(dim=1, keepdim=True), b=0.1 * torch.ones(CHANNELS))


@pytest.fixture(scope="module")
def foreign(weights, tmp_path_factory):
    """These weights as sparsify saves them."""
    folder = tmp_path_factory.mktemp("foreign")
    save_file({"encoder.weight": weights["W"].clone(), "encoder.bias": torch.zeros(LATENTS), "b_dec": weights["b"],
               "W_dec": weights["W"].clone()}, folder / "sae.safetensors")
    kept = json.loads((DATA / "sparsify" / "topk" / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(kept | dict(k=6, d_in=CHANNELS, num_latents=LATENTS)))
    return load_dictionary(folder)


@torch.no_grad()
def ours(weights, **changes):
    sae = SparseAutoencoder(CHANNELS, LATENTS, **(dict(activation="topk", k=6) | changes))
    sae.W_e.copy_(weights["W"])
    sae.W_d[:, 0] = weights["W"]
    sae.b.copy_(weights["b"])
    sae.b_d[0] = weights["b"]
    return sae.eval()


def test_fitted_blocks_equal_those_of_the_same_weights_in_our_own_class(foreign, weights, planted):
    _, orbits = planted
    theirs, own = fit_blocks(foreign, orbits), fit_blocks(ours(weights), orbits)
    torch.testing.assert_close(theirs.dictionary, own.dictionary, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(theirs.b_d, own.b_d, atol=1e-5, rtol=1e-4)
    other = fit_blocks(ours(weights, k=3), orbits)  # negative control: fewer latents, other blocks
    assert (theirs.dictionary - other.dictionary).abs().max() > 0.1


def test_everything_in_symmetry_reads_it(foreign, planted):
    _, orbits = planted
    fitted = fit_blocks(foreign, orbits)
    D = fitted.dictionary
    assert isinstance(fitted, FittedCrosscoder) and D.shape == (LATENTS, GROUP.order, CHANNELS)
    assert max_cosine(D, GROUP).shape == (LATENTS, LATENTS)
    torch.testing.assert_close(irrep_power(D, GROUP).sum(1), torch.ones(LATENTS))
    found = stabilisers(D, GROUP)
    assert len(found) == LATENTS and len(found[0].subgroup.elements) == GROUP.order
    assert len(found[2].subgroup.elements) == 1
    assert encoder_profile(fitted, orbits).shape == (LATENTS, GROUP.order)
    metrics = evaluate(fitted, orbits)
    assert metrics.fve > 0.3
    assert len(confirmed_census(fitted, metrics.frequency, orbits, seed=0).labels) == (metrics.frequency > 0).sum()


@pytest.mark.parametrize("name, options", [("sae_lens/gated", {}), ("overcomplete/jumprelu.pt", {}),
                                           ("dictionary_learning/batchtopk", {}), ("sparsify/topk", {})])
def test_fitted_dictionaries_of_every_package_are_saved_and_loaded(name, options, tmp_path):
    sae = load_dictionary(DATA / name, **options)
    x = torch.randn(60, 8, sae.channels, generator=torch.Generator().manual_seed(2))
    fitted = fit_blocks(sae, TensorOrbits(x, GROUP))
    fitted.save(tmp_path)
    again = FittedCrosscoder.load(tmp_path, group=GROUP)
    assert torch.equal(again(x).reconstruction, fitted(x).reconstruction) and again.sae.config == sae.config
