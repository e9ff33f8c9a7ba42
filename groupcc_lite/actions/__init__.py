"""Groups that act on images: turning and mirroring them, and changing their colours.

`PlanarAction` is where a reader starts: it moves images, and the points in them, by the rotations and mirrors of a
cyclic or dihedral group. `ColourAction` changes colours, `product_action` does both. `Action` says what the rest of the
library asks of an action, for those who bring their own.
"""

from groupcc_lite.actions.action import Action
from groupcc_lite.actions.colour import ColourAction, product_action
from groupcc_lite.actions.planar import PlanarAction, standard_matrices

__all__ = ["Action", "ColourAction", "PlanarAction", "product_action", "standard_matrices"]
