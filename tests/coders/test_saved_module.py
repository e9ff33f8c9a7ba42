"""Folders and repositories of coders; nothing here touches a network."""

import json

import huggingface_hub
import pytest
import torch

from groupcc_lite.coders import EquivariantSAE, FittedCrosscoder, GroupCrosscoder, SparseAutoencoder
from groupcc_lite.groups import cyclic, dihedral

CODERS = {
    "crosscoder": lambda: GroupCrosscoder(dihedral(3), 4, 6, activation="batchtopk", k=2, seed=3),
    "sae": lambda: SparseAutoencoder(4, 6, activation="topk", k=2, select="latent", scale=0.5),
    "jumprelu": lambda: SparseAutoencoder(4, 6, activation="jumprelu"),
    "trained jumprelu": lambda: SparseAutoencoder(4, 6, activation="jumprelu", bandwidth=0.1),
    "fitted": lambda: FittedCrosscoder(SparseAutoencoder(4, 6, activation="jumprelu"), cyclic(4)),
    "equivariant": lambda: EquivariantSAE(cyclic(4), 4, 6, k=2),
}


@pytest.fixture(params=list(CODERS))
def coder(request):
    return CODERS[request.param]()


def test_a_folder_is_read_back(coder, tmp_path):
    coder.save_pretrained(tmp_path)
    again = type(coder).from_pretrained(tmp_path)
    assert again.fingerprint == coder.fingerprint and not again.training
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: groupcc-lite\n") and type(coder).__name__ in card
    assert f"of {coder.group.name}" in card


def test_what_would_be_uploaded(coder, tmp_path, monkeypatch):
    calls = []

    class Recorder:
        def __init__(self, token=None):
            calls.append(("api", token))

        def create_repo(self, repo_id, *, private, exist_ok):
            calls.append(("create", repo_id, private, exist_ok))

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            for name in ("config.json", "weights.safetensors", "README.md"):
                (tmp_path / name).write_bytes(open(f"{folder_path}/{name}", "rb").read())
            calls.append(("upload", repo_id, commit_message))
            return "https://example.org/commit"

    monkeypatch.setattr(huggingface_hub, "HfApi", Recorder)
    said = coder.push_to_hub("someone/coder", private=True, token="t", message="first")
    assert said == "https://example.org/commit"
    assert calls == [("api", "t"), ("create", "someone/coder", True, True), ("upload", "someone/coder", "first")]
    assert type(coder).load(tmp_path).fingerprint == coder.fingerprint


def test_a_repository_is_fetched_once_it_is_no_folder(tmp_path, monkeypatch):
    coder, asked = CODERS["sae"](), []
    coder.save(tmp_path / "cached")

    def fetch(repository, *, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        return str(tmp_path / "cached")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.chdir(tmp_path)
    found = SparseAutoencoder.from_pretrained("someone/coder", revision="v1")
    assert found.fingerprint == coder.fingerprint
    assert asked == [("someone/coder", "v1", ["*.json", "*.safetensors"])]
    CODERS["jumprelu"]().save(tmp_path / "someone" / "coder")  # a folder of that name comes first
    assert SparseAutoencoder.from_pretrained("someone/coder").activation == "jumprelu" and len(asked) == 1


def test_names_that_are_nothing(tmp_path):
    for name in ("nowhere", "a/b/c", str(tmp_path / "nowhere")):
        with pytest.raises(ValueError, match="is neither a folder nor the name of a repository"):
            SparseAutoencoder.from_pretrained(name)
    with pytest.raises(ValueError, match="repository is 'mine'; expected 'owner/name'"):
        CODERS["sae"]().push_to_hub("mine")
    with pytest.raises(ValueError, match="holds no saved coder"):
        SparseAutoencoder.from_pretrained(tmp_path)


def test_a_fingerprint_is_that_of_weights_and_configuration():
    coder, same = CODERS["sae"](), CODERS["sae"]()
    assert coder.fingerprint == same.fingerprint
    for change in (dict(k=3), dict(scale=0.6), dict(select="contribution"), dict(seed=1)):
        settings = dict(activation="topk", k=2, select="latent", scale=0.5) | change
        assert SparseAutoencoder(4, 6, **settings).fingerprint != coder.fingerprint, change
    with torch.no_grad():
        same.b_d[0, 1] += 1e-7
    assert same.fingerprint != coder.fingerprint
    assert json.loads(json.dumps(coder.config)) == coder.config
