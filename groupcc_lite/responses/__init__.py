"""What units say to images: responses to orbits, and to arcs of known direction.

`response_vectors` compares the latents of any coder of single blocks by their responses to orbits, up to the group, and
never holds those vectors; `orbit_members` says which unit is another one, moved. `arc_tuning` says to which direction
and curvature a unit is tuned, `turning_profile` asks photographs the same, and `coverage_at` and its kin say how evenly
directions cover the circle. `contributions` takes a neuron apart. Units are neurons, latents, or `untrained_units`.
"""

from groupcc_lite.responses.curve_tuning import (
    Coverage,
    CurveRule,
    Ring,
    Tuning,
    Turning,
    arc_tuning,
    coverage_at,
    covered,
    gap_by_chance,
    largest_gap,
    ring,
    turning_profile,
)
from groupcc_lite.responses.long_vectors import SIDES, ResponseVectors, response_vectors
from groupcc_lite.responses.polysemantic import (
    Contributions,
    TwoDirections,
    contributions,
    largest_parts,
    two_directions,
)
from groupcc_lite.responses.predictions import Members, correlations_by_element, orbit_members
from groupcc_lite.responses.units import UNTRAINED, Units, latent_units, neuron_units, untrained_units

__all__ = [
    "Contributions", "Coverage", "CurveRule", "Members", "ResponseVectors", "Ring", "SIDES", "Tuning", "Turning",
    "TwoDirections", "UNTRAINED", "Units", "arc_tuning", "contributions", "correlations_by_element", "coverage_at",
    "covered", "gap_by_chance", "largest_gap", "largest_parts", "latent_units", "neuron_units", "orbit_members",
    "response_vectors", "ring", "turning_profile", "two_directions", "untrained_units",
]
