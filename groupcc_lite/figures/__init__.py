"""Figures of groups, coders and symmetry on matplotlib axes, and widgets that also work on a page without a kernel.

Make a figure inside `house_style()`, hand its axes to a function, and get them back: nothing is shown, no setting
outlives the block. Blocks of a group are drawn in the order of its elements, angles in a cyclic map, signed values in a
diverging one about zero. `block_heatmap` and `self_similarity_profile` show one feature, `umap_scatter` all of them,
`label_facets` one label at a time; `explorer` walks through many pictures.
"""

from groupcc_lite.base import require

# Before anything that draws: one clear sentence where the extra is missing.
require("matplotlib", "pictures")

from groupcc_lite.figures.answers import difficulty_lines, method_dots
from groupcc_lite.figures.census import census_bars, irrep_bars, stabiliser_profile, subgroup_lattice, threshold_curves
from groupcc_lite.figures.circles import axis_rose, covered_circle, curvature_map, family_circle, tuning_rose
from groupcc_lite.figures.features import (
    arrangements,
    block_heatmap,
    block_table,
    cayley_table,
    colour_bar,
    heatmap_row,
    heatmap_up_to,
    self_similarity_profile,
)
from groupcc_lite.figures.grids import feature_grid, orbit_grid, points_on_image
from groupcc_lite.figures.layers import depth_lines
from groupcc_lite.figures.maps import label_facets, umap_scatter
from groupcc_lite.figures.probes import CODER_NAMES, error_lines, power_curves, splice_curves, task_errors
from groupcc_lite.figures.reference_run import published, published_numbers
from groupcc_lite.figures.style import (
    BLUE,
    DIVERGING,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PALETTE,
    PAPER,
    PINK,
    element_colours,
    house_style,
)
from groupcc_lite.figures.training import (
    element_lines,
    fve_per_block,
    registration_error,
    tradeoff,
    training_curves,
)
from groupcc_lite.figures.widgets import explorer, feature_stack, png

__all__ = [
    "BLUE", "CODER_NAMES", "DIVERGING", "GREEN", "INK", "MUTED", "ORANGE", "PALETTE", "PAPER", "PINK", "arrangements",
    "axis_rose", "block_heatmap", "block_table", "cayley_table", "census_bars", "colour_bar", "covered_circle",
    "curvature_map", "depth_lines", "difficulty_lines", "element_colours", "element_lines", "error_lines", "explorer",
    "family_circle", "feature_grid", "feature_stack", "fve_per_block", "heatmap_row", "heatmap_up_to", "house_style",
    "irrep_bars", "label_facets", "method_dots", "orbit_grid", "png", "points_on_image", "power_curves", "published",
    "published_numbers", "registration_error", "self_similarity_profile", "splice_curves", "stabiliser_profile",
    "subgroup_lattice", "task_errors", "threshold_curves", "tradeoff", "training_curves", "tuning_rose", "umap_scatter",
]
