"""Results say which code, on which machine, with which versions."""

from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
import torch

from groupcc_lite.base import environment, provenance
from groupcc_lite.base.environment import PACKAGES, package_version


def test_all_that_changes_numbers_is_written_down():
    found = provenance(seed=3)
    assert set(found["versions"]) == {"python", *PACKAGES}
    assert torch.__version__.startswith(found["versions"]["torch"].split("+")[0])
    assert found["seed"] == 3 and found["commit"] and found["hardware"]
    for package in ("scipy", "scikit-learn", "umap-learn", "xgboost", "torchvision", "pillow", "kornia"):
        assert found["versions"][package] != "not installed"


def test_a_package_under_its_other_name_is_found(monkeypatch):
    def version(name):
        if name != "xgboost-cpu":
            raise PackageNotFoundError(name)
        return "9.9"

    monkeypatch.setattr("groupcc_lite.base.environment.version", version)
    package_version.cache_clear()
    assert package_version("xgboost") == "9.9" and package_version("numpy") == "not installed"
    package_version.cache_clear()


def test_the_commit_is_the_codes_wherever_one_works(tmp_path, monkeypatch, root):
    (tmp_path / "groupcc_lite").mkdir()
    (tmp_path / "_config.yml").touch()  # somebody else's checkout
    expected = environment._commit(root)
    monkeypatch.chdir(tmp_path)
    assert provenance()["commit"] == expected


def test_a_copy_installed_inside_a_checkout_has_no_commit(tmp_path, monkeypatch):
    (tmp_path / "groupcc_lite").mkdir()
    (tmp_path / "_config.yml").touch()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / ".venv/groupcc_lite/base/environment.py"))
    assert provenance()["commit"] == "unknown"


@pytest.mark.parametrize("capability, products, convolutions, expected", [
    ((9, 0), "none", "tf32", "TF32 in convolutions"), ((9, 0), "tf32", "tf32", "TF32 in products and convolutions"),
    ((8, 0), "ieee", "ieee", "no TF32"), ((7, 5), "tf32", "tf32", "no TF32")])
def test_what_a_gpu_shortens_is_said(monkeypatch, capability, products, convolutions, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    backends = SimpleNamespace(
        cuda=SimpleNamespace(matmul=SimpleNamespace(fp32_precision=products, allow_tf32=False)),
        cudnn=SimpleNamespace(conv=SimpleNamespace(fp32_precision=convolutions), allow_tf32=True))
    monkeypatch.setattr(torch, "backends", backends)
    assert environment._hardware() == f"A GPU, {expected}"


@pytest.mark.parametrize("products, convolutions, expected", [
    (False, True, "TF32 in convolutions"), (True, False, "TF32 in products"), (False, False, "no TF32")])
def test_older_versions_of_torch_say_it_with_flags(monkeypatch, products, convolutions, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    monkeypatch.setattr(torch.version, "hip", None)
    backends = SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=products)),
                               cudnn=SimpleNamespace(allow_tf32=convolutions))
    monkeypatch.setattr(torch, "backends", backends)
    assert environment._tf32() == expected
