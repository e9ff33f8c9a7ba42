"""Every format against the package it comes from: files of it that lie here, and the package itself where it is."""

import json
from importlib.util import find_spec

import pytest
import torch
from foreign_dictionaries import CASES, CHANNELS, DATA, LATENTS, inputs, own_latents, own_reconstruction
from safetensors.torch import load_file

from groupcc_lite.interop import from_module, load_dictionary

INDEX = json.loads((DATA / "index.json").read_text())
KEPT = [(package, case["name"]) for package, facts in INDEX.items() for case in facts["cases"]]
AGREED = dict(atol=1e-5, rtol=1e-5)


def kept(package, name):
    """A coder read from a committed file, with inputs, latents and reconstructions of the package that wrote it."""
    (case,) = (case for case in INDEX[package]["cases"] if case["name"] == name)
    expected = load_file(DATA / package / "expected.safetensors")
    return (load_dictionary(DATA / case["path"], **case["options"]), expected["x"], expected[f"{name}.latents"],
            expected[f"{name}.reconstruction"])


@pytest.mark.parametrize("package, name", KEPT)
def test_a_kept_file_encodes_and_decodes_as_its_package_did(package, name):
    coder, x, latents, reconstruction = kept(package, name)
    torch.testing.assert_close(coder.encode(x), latents, **AGREED)
    torch.testing.assert_close(coder.decode(latents)[:, 0], reconstruction, **AGREED)
    assert (coder.channels, coder.latents, coder.training) == (CHANNELS, LATENTS, False)


def test_negative_control_the_kept_dictionaries_differ_and_do_something():
    """Latents fire and rest, biases and norms matter: what equals one dictionary equals no other."""
    for package, name in KEPT:
        coder, x, latents, _ = kept(package, name)
        assert 0.05 < (latents > 0).float().mean() < 0.95, (package, name)
        for part in ("W_e", "b_e", "b", "b_d", "threshold", "scale"):
            changed = load_dictionary(*_place(package, name)[:1], **_place(package, name)[1])
            value = getattr(changed, part)
            with torch.no_grad():
                value.mul_(1.5).add_(0.3)
            same = torch.allclose(changed.encode(x), latents, **AGREED) and torch.allclose(
                changed.decode(latents)[:, 0], coder.decode(latents)[:, 0], **AGREED)
            assert same == (part == "threshold" and coder.activation != "jumprelu"), (package, name, part)


def _place(package, name):
    (case,) = (case for case in INDEX[package]["cases"] if case["name"] == name)
    return DATA / case["path"], case["options"]


def test_the_kept_files_are_small_and_of_every_package():
    assert set(INDEX) == set(CASES)
    assert sum(path.stat().st_size for path in DATA.rglob("*.*")) < 200_000


# ------------------------------------------------------------------------------------------ the packages themselves

@pytest.fixture(scope="module", params=list(CASES))
def cases(request, tmp_path_factory):
    """The package, and dictionaries that it has just written."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed; it comes with the extra interop")
    package = request.param
    return package, list(CASES[package](tmp_path_factory.mktemp(package)))


def test_what_a_package_writes_is_read_exactly(cases):
    package, written = cases
    for case in written:
        coder, x = load_dictionary(case.path, **case.options), inputs(seed=7)
        f = own_latents(package, case.live, x)
        torch.testing.assert_close(coder.encode(x), f, **AGREED, msg=lambda said, name=case.name: f"{name}: {said}")
        torch.testing.assert_close(coder.decode(f)[:, 0], own_reconstruction(package, case.live, f), **AGREED)


def test_a_module_in_memory_is_read_exactly(cases):
    package, written = cases
    for case in written:
        coder, x = from_module(case.live), inputs(seed=8)
        f = own_latents(package, case.live, x)
        torch.testing.assert_close(coder.encode(x), f, **AGREED, msg=lambda said, name=case.name: f"{name}: {said}")
        torch.testing.assert_close(coder.decode(f)[:, 0], own_reconstruction(package, case.live, f), **AGREED)


def test_todays_packages_write_what_the_kept_files_hold(cases):
    """Or the kept files would test a format of the past."""
    package, written = cases
    assert [case.name for case in written] == [case["name"] for case in INDEX[package]["cases"]]
    for case in written:
        path, _ = _place(package, case.name)
        for mine in [path] if path.is_file() else [p for p in path.iterdir() if p.suffix != ".json"]:
            theirs = case.path if case.path.is_file() else case.path / mine.name
            read = load_file if mine.suffix == ".safetensors" else (lambda p: torch.load(p, weights_only=True))
            shapes = [{name: (t.shape, t.dtype) for name, t in read(p).items()} for p in (mine, theirs)]
            assert shapes[0] == shapes[1]
