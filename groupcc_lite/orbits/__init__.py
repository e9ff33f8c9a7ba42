"""orbits."""

from groupcc_lite.orbits.sampling import mask_points, read_at, sample_orbits, transformed_cells
from groupcc_lite.orbits.store import FORMAT, IdentityBlocks, OrbitSource, OrbitStore, OrbitStream, TensorOrbits

__all__ = [
    "FORMAT", "IdentityBlocks", "OrbitSource", "OrbitStore", "OrbitStream", "TensorOrbits", "mask_points",
    "read_at", "sample_orbits", "transformed_cells",
]
