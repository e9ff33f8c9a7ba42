"""Features that are manifolds: how many latents they take, and what a dictionary that tiles one looks like.

Begin with `allocate`, the best split of latents over features of which some take many, on `ZipfFeatures` or
`ListedFeatures` with a `PowerLoss`, `DiscreteLoss` or `MeasuredLoss`; `capacity_curve` has splits of many sizes, and
`asymptotic_scaling` and `measured_scaling` say how features found and loss grow with the dictionary.
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
from groupcc_lite.manifolds.exponents import (
    MeasuredScaling,
    Scaling,
    asymptotic_scaling,
    continuous_limit,
    measured_scaling,
)

__all__ = [
    "Allocation", "CapacityCurve", "DiscreteLoss", "FeatureLoss", "Features", "ListedFeatures", "MeasuredLoss",
    "MeasuredScaling", "PowerLoss", "Scaling", "ZipfFeatures", "allocate", "asymptotic_scaling", "capacity_curve",
    "continuous_limit", "measured_scaling",
]
