"""Group crosscoders: find features of a neural network together with the symmetry that each of them has.

The flow is inputs -> orbits -> coder -> symmetry, one package for each arrow. `Run` does all of it from a profile, or
for your own network and images. The names here are what a user of their own network needs; each package offers more,
such as `groupcc_lite.figures`, `groupcc_lite.atlas` and `groupcc_lite.stimuli`.

>>> from groupcc_lite import GroupCrosscoder, dihedral, self_similarity, stabilisers
>>> G = dihedral(4)
>>> coder = GroupCrosscoder(G, channels=16, latents=3)  # one block for each of the 8 transformations
>>> self_similarity(coder.dictionary, G).shape, len(stabilisers(coder.dictionary, G))
(torch.Size([3, 8]), 3)

Importing this loads nothing else: a name brings its package when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groupcc_lite.actions import PlanarAction
    from groupcc_lite.coders import EquivariantSAE, GroupCrosscoder, SparseAutoencoder, evaluate, fit_blocks, train
    from groupcc_lite.groups import FiniteGroup, cyclic, dihedral, product
    from groupcc_lite.models import load_model, wrap_model
    from groupcc_lite.orbits import OrbitStore, TensorOrbits, sample_orbits
    from groupcc_lite.runs import Run
    from groupcc_lite.symmetry import (
        act,
        equivariance_score,
        irrep_power,
        max_cosine,
        self_similarity,
        stabilisers,
    )

_PACKAGES = {
    "actions": ("PlanarAction",),
    "coders": ("EquivariantSAE", "GroupCrosscoder", "SparseAutoencoder", "evaluate", "fit_blocks", "train"),
    "groups": ("FiniteGroup", "cyclic", "dihedral", "product"),
    "models": ("load_model", "wrap_model"),
    "orbits": ("OrbitStore", "TensorOrbits", "sample_orbits"),
    "runs": ("Run",),
    "symmetry": ("act", "equivariance_score", "irrep_power", "max_cosine", "self_similarity", "stabilisers"),
}
"""Where each public name lives, for those who import it; editors read the imports above."""

__all__ = [
    "EquivariantSAE", "FiniteGroup", "GroupCrosscoder", "OrbitStore", "PlanarAction", "Run", "SparseAutoencoder",
    "TensorOrbits", "act", "cyclic", "dihedral", "equivariance_score", "evaluate", "fit_blocks", "irrep_power",
    "load_model", "max_cosine", "product", "sample_orbits", "self_similarity", "stabilisers", "train", "wrap_model",
]

try:
    __version__ = version("groupcc-lite")
except PackageNotFoundError:  # a checkout that was put on the path without being installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    for package, names in _PACKAGES.items():
        if name in names:
            value = getattr(import_module(f"groupcc_lite.{package}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'groupcc_lite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
