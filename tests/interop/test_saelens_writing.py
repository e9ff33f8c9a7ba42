"""Ours written for SAELens: read back by us, and by SAELens where it is installed."""

import json
from importlib.util import find_spec

import pytest
import torch

from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.groups import cyclic
from groupcc_lite.interop import load_dictionary, to_saelens

KINDS = {"relu": {}, "jumprelu": {}, "topk": dict(k=3), "batchtopk": dict(k=3)}
AGREED = dict(atol=1e-5, rtol=1e-5)


def trained_like(activation, select="contribution", shifted=False):
    """A coder none of whose weights is special: no norm is 1, no bias 0, and a scale."""
    coder = SparseAutoencoder(5, 9, activation=activation, select=select, scale=0.7, **KINDS[activation])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in (coder.W_e, coder.b_e, coder.W_d, coder.b, coder.b_d):
            part.copy_(torch.randn(part.shape, generator=generator))
        coder.threshold.add_(torch.rand(coder.threshold.shape, generator=generator))
        if shifted:
            coder.b_d[0] = coder.b
    return coder.eval()


def x():
    return torch.randn(40, 5, generator=torch.Generator().manual_seed(1))


CASES = [("relu", "contribution"), ("jumprelu", "contribution"), ("topk", "contribution"), ("topk", "latent"),
         ("batchtopk", "contribution"), ("batchtopk", "latent")]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("activation, select", CASES)
def test_ours_comes_back(activation, select, shifted, tmp_path):
    coder = trained_like(activation, select, shifted)
    to_saelens(coder, tmp_path)
    again = load_dictionary(tmp_path)
    latents = coder.encode(x())
    torch.testing.assert_close(again.decode(again.encode(x())), coder.decode(latents), **AGREED)
    units = coder.W_d[:, 0].norm(dim=1) if (activation, select) == ("topk", "contribution") else torch.ones(9)
    torch.testing.assert_close(again.encode(x()), latents * units, **AGREED)
    assert json.loads((tmp_path / "cfg.json").read_text())["apply_b_dec_to_input"] is shifted
    assert 0.05 < (latents > 0).float().mean() < 0.95


def test_trained_thresholds_are_written_as_what_they_are(tmp_path):
    coder = SparseAutoencoder(5, 9, activation="jumprelu", bandwidth=0.3, scale=0.7)
    to_saelens(coder, tmp_path)
    again = load_dictionary(tmp_path)
    assert again.bandwidth is None and torch.equal(again.threshold, coder.thresholds)
    torch.testing.assert_close(again.encode(x()), coder.encode(x()), **AGREED)


@pytest.mark.skipif(find_spec("sae_lens") is None, reason="SAELens is not installed; it comes with the extra interop")
@pytest.mark.parametrize("activation, select", CASES)
def test_saelens_reads_it(activation, select, tmp_path):
    from sae_lens import SAE

    coder = trained_like(activation, select)
    to_saelens(coder, tmp_path)
    theirs = SAE.load_from_disk(tmp_path)
    latents = coder.encode(x())
    with torch.no_grad():
        torch.testing.assert_close(theirs(x()), coder.decode(latents)[:, 0], **AGREED)
        torch.testing.assert_close(theirs.encode(x()), load_dictionary(tmp_path).encode(x()), **AGREED)


def test_what_saelens_has_no_form_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no blocks of a group; expected a SparseAutoencoder, not a GroupCrosscoder"):
        to_saelens(GroupCrosscoder(cyclic(2), 5, 9), tmp_path)
    with pytest.raises(ValueError, match="two-layer encoder; expected one with hidden=None"):
        to_saelens(SparseAutoencoder(5, 9, hidden=4), tmp_path)
    assert list(tmp_path.iterdir()) == []
