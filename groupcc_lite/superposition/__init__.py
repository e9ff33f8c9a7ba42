"""More features than dimensions, and what that has to do with adversarial examples.

Begin with `train_toys`, many toy models at once on `SparseFeatures`, and `measure_toys`. How many features share a
dimension is `features_per_dimension`, for networks `effective_features`; what an attack costs is `vulnerability`, which
keeps noise of the same norm beside it. In two dimensions `planar_attack` is the strongest attack, exactly.
`train_robust` trains the built-in network on attacked drawings; `REFERENCES` lists the networks that ship.
"""

from groupcc_lite.superposition.attacks import gradient_step, pgd, random_noise, relative_radius
from groupcc_lite.superposition.features import SparseFeatures
from groupcc_lite.superposition.measures import (
    Vulnerability,
    antipodal_share,
    attack_gain,
    effective_features,
    feature_dimensions,
    features_per_dimension,
    interference,
    represented,
    vulnerability,
)
from groupcc_lite.superposition.planar import Landscape, PlanarAttack, loss_landscape, planar_attack
from groupcc_lite.superposition.references import (
    RADII,
    REFERENCES,
    STOPPED,
    TREATMENTS,
    RobustNetwork,
    reference_weights,
    train_references,
    trained_networks,
)
from groupcc_lite.superposition.robust import L2Attack, L2Noise, NamingUnderAttack, naming_under_attack, train_robust
from groupcc_lite.superposition.sweeps import OverSeeds, ToyMeasures, measure_toys
from groupcc_lite.superposition.toys import TRAINED_ON, Toys, train_toys

__all__ = [
    "L2Attack", "L2Noise", "Landscape", "NamingUnderAttack", "OverSeeds", "PlanarAttack", "RADII", "REFERENCES",
    "RobustNetwork", "STOPPED", "SparseFeatures", "TRAINED_ON", "TREATMENTS", "ToyMeasures", "Toys", "Vulnerability",
    "antipodal_share", "attack_gain", "effective_features", "feature_dimensions", "features_per_dimension",
    "gradient_step", "interference", "loss_landscape", "measure_toys", "naming_under_attack", "pgd", "planar_attack",
    "random_noise", "reference_weights", "relative_radius", "represented", "train_references", "train_robust",
    "train_toys", "trained_networks", "vulnerability",
]
