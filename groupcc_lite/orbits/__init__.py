"""From images to orbit vectors, and to the batches that training reads.

An orbit vector holds the activations of one point of an image under every transformation of a group: blocks
(n, |G|, channels). `sample_orbits` computes some; `OrbitStore` keeps them on disk, also those of other kinds of data
(`OrbitStore.from_batches`), and `Extraction` lets many processes share the work; `OrbitStream` computes them on the
fly; `TensorOrbits` has them in memory; `OrbitRows` are some rows of stores, such as a fold of the images. All are an
`OrbitSource`, which hands out shuffled batches that depend on (seed, epoch, position) only. `IdentityBlocks` of a
source is what a plain sparse autoencoder reads. `equivariance_error` and `local_equivariance_error` say without any
coder how far a layer is from equivariance.
"""

from groupcc_lite.orbits.local_equivariance import (
    GENERATORS,
    EquivarianceError,
    equivariance_error,
    local_equivariance_error,
)
from groupcc_lite.orbits.memory import TensorOrbits
from groupcc_lite.orbits.sampling import (
    OrbitSample,
    mask_points,
    orbits_at,
    read_at,
    sample_layers,
    sample_orbits,
    transformed_cells,
)
from groupcc_lite.orbits.source import IdentityBlocks, OrbitSource, StoredOrbits
from groupcc_lite.orbits.store import STORE_FORMAT, Extraction, OrbitStore
from groupcc_lite.orbits.stream import OrbitStream
from groupcc_lite.orbits.views import OrbitRows, thinned

__all__ = [
    "EquivarianceError", "Extraction", "GENERATORS", "IdentityBlocks", "OrbitRows", "OrbitSample", "OrbitSource",
    "OrbitStore", "OrbitStream", "STORE_FORMAT", "StoredOrbits", "TensorOrbits", "equivariance_error",
    "local_equivariance_error", "mask_points", "orbits_at", "read_at", "sample_layers", "sample_orbits", "thinned",
    "transformed_cells",
]
