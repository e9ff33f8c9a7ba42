"""Parts of `cost`: `seconds_of` and `step_seconds` time work and steps, `training_step` makes a step to be timed.

`manifold_cost`, `savings_cost`, `superposition_cost` and `robust_cost` estimate what the chapters on toys, planted
features and robust networks take.
"""

from groupcc_lite.studies.costing.timing import seconds_of, step_seconds, training_step
from groupcc_lite.studies.costing.toy_costs import manifold_cost, robust_cost, savings_cost, superposition_cost

__all__ = ["manifold_cost", "robust_cost", "savings_cost", "seconds_of", "step_seconds", "superposition_cost",
           "training_step"]
