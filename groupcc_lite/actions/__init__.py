"""actions."""

from groupcc_lite.actions.colour import ColourAction, product_action
from groupcc_lite.actions.planar import PlanarAction, standard_matrices

__all__ = [
    "ColourAction", "PlanarAction", "product_action", "standard_matrices",
]
