"""Features that are manifolds: how many latents they take, and what a dictionary that tiles one looks like.

Begin with `allocate`, the best split of latents over features of which some take many, on `ZipfFeatures` or
`ListedFeatures` with a `PowerLoss`, `DiscreteLoss` or `MeasuredLoss`; `capacity_curve` has splits of many sizes, and
`asymptotic_scaling` and `measured_scaling` say how features found and loss grow with the dictionary.

Toys are one manifold, `SphereToy`, for the coders of `groupcc_lite.coders` to learn. What they could reach is known: on
a circle in closed form (`circle_l1`, `circle_optimum`; one layer: `circle_one_layer`), else from `optimal_codes`;
`amortisation` says what an encoder loses against them, and `loss_curve` what training reaches. `FeatureMixture` has
many features of which some are spheres; `spending` counts which of them a dictionary found, and how many latents each
got.
"""

from groupcc_lite.manifolds.capacity import (
    Allocation,
    CapacityCurve,
    DiscreteLoss,
    FeatureLoss,
    Features,
    ListedFeatures,
    MeasuredLoss,
    PowerLoss,
    ZipfFeatures,
    allocate,
    capacity_curve,
)
from groupcc_lite.manifolds.circle import (
    CircleOptimum,
    OneLayer,
    circle_directions,
    circle_l1,
    circle_one_layer,
    circle_optimum,
)
from groupcc_lite.manifolds.codes import Amortisation, OptimalCodes, amortisation, optimal_codes
from groupcc_lite.manifolds.exponents import (
    MeasuredScaling,
    Scaling,
    asymptotic_scaling,
    continuous_limit,
    measured_scaling,
)
from groupcc_lite.manifolds.learning import Learning, LossCurve, learn, loss_curve
from groupcc_lite.manifolds.mixtures import DISCOVERED, FeatureMixture, Spending, spending
from groupcc_lite.manifolds.spheres import SphereToy, spread_directions

__all__ = [
    "Allocation", "Amortisation", "CapacityCurve", "CircleOptimum", "DISCOVERED", "DiscreteLoss", "FeatureLoss",
    "FeatureMixture", "Features", "Learning", "ListedFeatures", "LossCurve", "MeasuredLoss", "MeasuredScaling",
    "OneLayer", "OptimalCodes", "PowerLoss", "Scaling", "Spending", "SphereToy", "ZipfFeatures", "allocate",
    "amortisation", "asymptotic_scaling", "capacity_curve", "circle_directions", "circle_l1", "circle_one_layer",
    "circle_optimum", "continuous_limit", "learn", "loss_curve", "measured_scaling", "optimal_codes", "spending",
    "spread_directions",
]
