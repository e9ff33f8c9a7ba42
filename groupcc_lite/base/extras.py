"""Packages that only a part of the library needs: imported where they are used, named clearly where they are missing.

The core installs with little; everything else is an extra of `pyproject.toml`. A module that needs such a package asks
for it inside the function that uses it, so that `import groupcc_lite` stays quick and never fails for want of it.
"""

from __future__ import annotations

import importlib
from types import ModuleType

EXTRAS = {
    "families": "families of features and their maps",
    "probing": "probes of latents",
    "pictures": "figures and drawings of features",
    "tables": "tables for other tools",
    "widgets": "sliders and tables in notebooks",
    "zoo": "networks by name from torchvision",
    "networks": "networks by name from timm and Hugging Face",
    "hub": "uploads to the Hugging Face Hub and downloads from it",
}
"""Each extra and what needs it."""


def require(module: str, extra: str) -> ModuleType:
    """The package or module called `module`, imported now; it comes with the extra called `extra`.

    Raises ModuleNotFoundError with one sentence that says what needs it and how to install it, and ValueError for an
    extra that does not exist. A package that is there but lacks one of its own requirements raises its own error.

    >>> require("json", "families").dumps([1])
    '[1]'
    >>> require("umap_of_nobody", "families")
    Traceback (most recent call last):
    ModuleNotFoundError: families of features and their maps need 'umap_of_nobody', which is not installed: \
pip install 'groupcc-lite[families]'
    """
    if extra not in EXTRAS:
        raise ValueError(f"extra is {extra!r}; known are {', '.join(EXTRAS)}")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        wanted = module.split(".")[0]
        if (error.name or "").split(".")[0] != wanted:
            raise
        raise ModuleNotFoundError(f"{EXTRAS[extra]} need {wanted!r}, which is not installed: "
                                  f"pip install 'groupcc-lite[{extra}]'", name=error.name) from None
