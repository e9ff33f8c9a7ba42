"""What importing the library loads, what a missing extra says, and the front door."""

import os
import subprocess
import sys
from importlib import import_module

import pytest

import groupcc_lite
from bookmaker.project_facts import Project

HEAVY = ("matplotlib", "umap", "sklearn", "xgboost", "lucent", "torchvision", "ipywidgets", "IPython", "pandas",
         "kornia", "threadpoolctl", "timm")
LIGHT = ("base", "groups", "actions", "stimuli", "models", "orbits", "coders", "manifolds", "superposition", "interop",
         "symmetry", "answers", "runs", "atlas", "analysis", "__main__")


def fresh(code: str, root) -> str:
    """What a new process prints that finds the checkout first."""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                           env=os.environ | {"PYTHONPATH": str(root)})
    assert not child.returncode, child.stderr
    return child.stdout.strip()


def loaded(statement: str, root) -> set[str]:
    """The heavy packages that a statement loads."""
    return set(fresh(f"import sys; {statement}; print(*(n for n in {HEAVY!r} if n in sys.modules))", root).split())


def test_the_front_door_loads_nothing_until_a_name_is_used(root):
    code = ("import sys, groupcc_lite; print([n for n in ('torch', 'numpy') if n in sys.modules]); "
            "groupcc_lite.cyclic; print('groupcc_lite.groups' in sys.modules, 'groupcc_lite.runs' in sys.modules)")
    assert fresh(code, root) == "[]\nTrue False"


def test_every_name_together_loads_no_extra(root):
    assert loaded("from groupcc_lite import *", root) == set()


def test_no_package_but_figures_loads_an_extra(root):
    assert loaded("import " + ", ".join(f"groupcc_lite.{name}" for name in LIGHT), root) == set()


def test_negative_control_figures_do_load_matplotlib(root):
    assert loaded("import groupcc_lite.figures", root) == {"matplotlib"}


USES = {
    "matplotlib": ("pictures", "import groupcc_lite.figures"),
    "ipywidgets": ("widgets", "sys.modules.pop('matplotlib'); from groupcc_lite.figures import feature_stack; "
                   "feature_stack([b'\\x89PNG\\r\\n\\x1a\\n'], ['a'], ['b'])"),
    "umap": ("families", "from groupcc_lite.symmetry import embed; embed(np.zeros((9, 9)))"),
    "sklearn": ("families", "from groupcc_lite.symmetry import cluster; cluster(np.zeros((9, 2)))"),
    "xgboost": ("probing", "from groupcc_lite.answers import probing; "
                "probing._xgboost(np.eye(2), np.array([True, False]), np.eye(2))"),
    "lucent": ("pictures", "groupcc_lite.load_model('inceptionv1', weights='random')"),
    "huggingface_hub": ("hub", "groupcc_lite.SparseAutoencoder.from_pretrained('nobody/nothing')"),
    "torchvision": ("zoo", "groupcc_lite.load_model('torchvision/resnet18/layer1', weights='random')"),
}
"""For each package of an extra a statement that needs it, run in this order in one process without any of them."""


def test_a_missing_extra_is_one_clear_sentence(root):
    said = fresh(f"""
import sys
import numpy as np, groupcc_lite
sys.modules.update(dict.fromkeys({list(USES)!r}))
for statement in {[statement for _, statement in USES.values()]!r}:
    try:
        exec(statement)
    except ModuleNotFoundError as error:
        print(error)
    else:
        print("no error")""", root).splitlines()
    endings = [f"need '{name}', which is not installed: pip install 'groupcc-lite[{extra}]'"
               for name, (extra, _) in USES.items()]
    assert [line.endswith(ending) for line, ending in zip(said, endings, strict=True)] == [True] * len(USES), said


def test_every_name_of_the_front_door_is_what_its_package_offers():
    listed = {name: package for package, names in groupcc_lite._PACKAGES.items() for name in names}
    assert sorted(listed) == groupcc_lite.__all__
    for name, package in listed.items():
        home = import_module(f"groupcc_lite.{package}")
        assert name in home.__all__ and getattr(groupcc_lite, name) is getattr(home, name)
    assert set(groupcc_lite.__all__) <= set(dir(groupcc_lite))


def test_a_name_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(AttributeError, match="'groupcc_lite' has no attribute 'Runn'"):
        groupcc_lite.Runn  # noqa: B018


def test_the_version_is_the_project_s(root):
    assert groupcc_lite.__version__ == Project.read(root).version
