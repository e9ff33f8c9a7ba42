"""What units say to images: responses to orbits, and to arcs of known direction.

`response_vectors` compares the latents of any coder of single blocks by their responses to orbits, up to the group, and
never holds those vectors; `arc_tuning` says to which direction and curvature a unit is tuned, `turning_profile` asks
photographs the same, and `largest_gap` and its kin say how evenly directions cover the circle.
"""

from groupcc_lite.responses.curve_tuning import (
    CurveRule,
    Tuning,
    arc_tuning,
    covered,
    gap_at_equal_numbers,
    gap_by_chance,
    largest_gap,
    turning_profile,
)
from groupcc_lite.responses.long_vectors import SIDES, ResponseVectors, response_vectors

__all__ = [
    "CurveRule", "ResponseVectors", "SIDES", "Tuning", "arc_tuning", "covered", "gap_at_equal_numbers",
    "gap_by_chance", "largest_gap", "response_vectors", "turning_profile",
]
