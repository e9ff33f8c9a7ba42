"""Packages of the extras: what a missing one says, and that each is known."""

import sys
import tomllib

import pytest

from groupcc_lite.base import EXTRAS, require


def test_a_module_that_is_there_is_handed_back():
    import json.decoder

    assert require("json.decoder", "probing") is json.decoder


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_one_is_named_with_what_needs_it_and_how_to_install_it(extra, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    for module in ("yaml", "yaml.nodes.deep"):
        with pytest.raises(ModuleNotFoundError) as caught:
            require(module, extra)
        assert str(caught.value) == (f"{EXTRAS[extra]} need 'yaml', which is not installed: "
                                     f"pip install 'groupcc-lite[{extra}]'")
        assert caught.value.__suppress_context__, "one message, not two"


def test_what_an_installed_package_lacks_is_not_blamed_on_the_package(tmp_path, monkeypatch):
    (tmp_path / "halfway_there.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere_to_be_found'"):
        require("halfway_there", "families")


def test_an_unknown_extra_is_refused():
    with pytest.raises(ValueError, match="'familes'.*families"):
        require("json", "familes")


def test_every_extra_of_the_library_is_declared_and_part_of_all(root):
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert EXTRAS.keys() <= declared.keys()
    assert declared["all"] == [f"groupcc-lite[{','.join(EXTRAS)}]"]
