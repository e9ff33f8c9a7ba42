"""Modules in memory: what their files do not say, and what ours cannot equal."""

import pytest
import torch
from foreign_dictionaries import CHANNELS, LATENTS, K, imported, inputs, own_latents, own_reconstruction, randomised

from groupcc_lite.interop import from_module

AGREED = dict(atol=1e-5, rtol=1e-5)


def agrees(package, live):
    coder, x = from_module(live), inputs(seed=5)
    f = own_latents(package, live, x)
    torch.testing.assert_close(coder.encode(x), f, **AGREED)
    torch.testing.assert_close(coder.decode(f)[:, 0], own_reconstruction(package, live, f), **AGREED)
    assert 0.02 < (f > 0).float().mean() < 0.98
    return coder


# --------------------------------------------------------------------------------------------------- overcomplete

@pytest.fixture
def overcomplete():
    pytest.importorskip("cv2")  # a package that overcomplete needs, and nothing else here does
    return imported("overcomplete").sae


def test_batchtopk_of_overcomplete_has_its_threshold_in_memory_only(overcomplete):
    live = randomised(overcomplete.BatchTopKSAE(CHANNELS, LATENTS, top_k=24 * K)).train()
    with pytest.raises(ValueError, match="BatchTopKSAE is in training mode, where its dictionary is not yet fixed"):
        from_module(live)
    with pytest.raises(ValueError, match="has no running threshold, because it was never trained"):
        from_module(live.eval())
    live.train()(inputs())
    coder = agrees("overcomplete", live.eval())
    at_the_limit = inputs()
    assert torch.equal(coder.encode(at_the_limit) > 0, own_latents("overcomplete", live, at_the_limit) > 0)
    assert float(live.running_threshold) in own_latents("overcomplete", live, at_the_limit)  # reached, and passes


@pytest.mark.parametrize("how", ["l1", "max_l2", "identity"])
def test_any_normalisation_of_overcomplete_is_read_from_memory(overcomplete, how):
    params = dict(normalization=how, use_multiplier=True)
    agrees("overcomplete", randomised(overcomplete.TopKSAE(CHANNELS, LATENTS, top_k=K, dictionary_params=params))
           .train().eval())


def test_archetypal_dictionaries_and_untied_encoders(overcomplete):
    points = torch.randn(9, CHANNELS, generator=torch.Generator().manual_seed(3))
    agrees("overcomplete", overcomplete.RATopKSAE(CHANNELS, LATENTS, points, top_k=K).train().eval())
    agrees("overcomplete", randomised(overcomplete.SAE(CHANNELS, LATENTS)).train().eval().untied(bias=True).eval())


def test_what_overcomplete_has_and_ours_has_not(overcomplete):
    with pytest.raises(ValueError, match="MpSAE of overcomplete; expected one of SAE, TopKSAE"):
        from_module(overcomplete.MpSAE(CHANNELS, LATENTS, k=2).eval())
    for encoder in ("mlp_bn_1", "mlp_ln_3", "identity"):
        with pytest.raises(ValueError, match="only linear encoders are read"):
            from_module(overcomplete.TopKSAE(CHANNELS, LATENTS, encoder_module=encoder).train().eval())


# -------------------------------------------------------------------------------------------- dictionary_learning

def test_what_dictionary_learning_does_not_save():
    dictionary = pytest.importorskip("dictionary_learning.dictionary")
    live = randomised(dictionary.JumpReluAutoEncoder(CHANNELS, LATENTS))
    plain = agrees("dictionary_learning", live)
    live.apply_b_dec_to_input = True
    assert not torch.equal(agrees("dictionary_learning", live).b, plain.b)
    nested = pytest.importorskip("dictionary_learning.trainers.matryoshka_batch_top_k")
    live = randomised(nested.MatryoshkaBatchTopKSAE(CHANNELS, LATENTS, k=2, group_sizes=[3, 4]))
    live.active_groups = 1
    coder = agrees("dictionary_learning", live)
    assert not coder.encode(inputs())[:, 3:].any() and coder.encode(inputs())[:, :3].any()
    with pytest.raises(ValueError, match="this is a IdentityDict; expected one of AutoEncoder"):
        from_module(dictionary.IdentityDict(3))


# ------------------------------------------------------------------------------------------- SAELens and sparsify

def test_saelens_in_training_is_read_where_it_does_the_same():
    saes = pytest.importorskip("sae_lens").saes
    shape = dict(d_in=CHANNELS, d_sae=LATENTS)
    agrees("sae_lens", randomised(saes.TopKTrainingSAE(saes.TopKTrainingSAEConfig(**shape, k=K))))
    agrees("sae_lens", randomised(saes.StandardTrainingSAE(saes.StandardTrainingSAEConfig(**shape))))
    with pytest.raises(ValueError, match="was saved for more training"):
        from_module(saes.BatchTopKTrainingSAE(saes.BatchTopKTrainingSAEConfig(**shape, k=K)))
    with pytest.raises(ValueError, match="architecture is 'matching_pursuit'"):
        from_module(saes.MatchingPursuitSAE(saes.MatchingPursuitSAEConfig(**shape)))


def test_a_transcoder_of_sparsify_is_refused():
    pytest.importorskip("sparsify")
    sparsify = imported("sparsify")
    coder = sparsify.SparseCoder(CHANNELS, sparsify.SparseCoderConfig(num_latents=LATENTS, k=K, transcode=True))
    with pytest.raises(ValueError, match="this SparseCoder: transcode is true, so it writes another layer"):
        from_module(coder)


def test_a_module_comes_out_where_it_was_and_apart_from_it(overcomplete):
    live = randomised(overcomplete.SAE(CHANNELS, LATENTS)).train().eval()
    coder = from_module(live)
    before = coder.encode(inputs())
    with torch.no_grad():
        for parameter in live.parameters():
            parameter.zero_()
    assert torch.equal(coder.encode(inputs()), before) and coder.W_e.requires_grad
