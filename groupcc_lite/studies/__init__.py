"""Studies: one question put to many runs, and what a profile's studies cost.

`LayerStudy` compares layers and networks, trained and random; `CurveStudy` asks units of several layers for the
direction of a curve, and `at_equal_numbers`, `predicted` and `take_apart` say what is read off it; `compare_responses`
compares features by what they say and by what they write; `ManifoldStudy` trains toys and planted features whose
latents are counted, `layer_spending` the layer's; `SavingsStudy` plants orbits for dictionaries that know a group, and
`layer_coder` has them of a layer; `SuperpositionStudy` trains toys with more features than dimensions and attacks them,
`RobustStudy` asks networks that were trained on attacks (`layer_superposition`, `layer_symmetry`, `attacks_turn`);
`answer_studies` lists the studies of the answer key; `cost` says beforehand what all of a profile will take, `run_cost`
what one run takes, and `cluster_cost` computes on paper what a large crosscoder would take on many GPUs.
"""

from groupcc_lite.studies.answer_plan import answer_studies
from groupcc_lite.studies.costing import cluster_cost, cluster_table, cost, run_cost
from groupcc_lite.studies.curve_findings import (
    EqualNumbers,
    Predicted,
    TakenApart,
    at_equal_numbers,
    bar_of_random_weights,
    double_neurons,
    predicted,
    strongest,
    take_apart,
)
from groupcc_lite.studies.curves import BRANCHES, SAES, TRAINED_UNITS, CurveStudy, Detectors
from groupcc_lite.studies.depth import WEIGHTS, Layer, LayerMeasures, LayerStudy
from groupcc_lite.studies.manifold_findings import (
    LayerSpending,
    ManifoldStudy,
    count_families,
    frequency_alpha,
    layer_spending,
    nearest_cosine,
)
from groupcc_lite.studies.response_findings import ByResponses, compare_responses, reads_what_it_writes
from groupcc_lite.studies.robust_findings import (
    HELD_OUT,
    MARGIN,
    AttackTurns,
    LayerSuperposition,
    LayerSymmetry,
    attacks_turn,
    drawn,
    layer_superposition,
    layer_symmetry,
    symmetry_of,
    three_versions,
    turned_drawings,
    turning,
)
from groupcc_lite.studies.robust_study import ROBUST_KINDS, RobustStudy
from groupcc_lite.studies.superposition_findings import (
    AgainstExact,
    SuperpositionStudy,
    ToyTable,
    against_exact,
    matched,
)
from groupcc_lite.studies.symmetry_savings import (
    BROKEN,
    COMPARED,
    LAYER_CODERS,
    RIVALS,
    Found,
    LayerAsymmetry,
    LayerCoder,
    SavingsStudy,
    Unevenness,
    crossing,
    layer_asymmetry,
    layer_coder,
    predicted_by_allocation,
)

__all__ = [
    "AgainstExact", "AttackTurns", "BRANCHES", "BROKEN", "ByResponses", "COMPARED", "CurveStudy", "Detectors",
    "EqualNumbers", "Found", "HELD_OUT", "LAYER_CODERS", "Layer", "LayerAsymmetry", "LayerCoder", "LayerMeasures",
    "LayerSpending", "LayerStudy", "LayerSuperposition", "LayerSymmetry", "MARGIN", "ManifoldStudy", "Predicted",
    "RIVALS", "ROBUST_KINDS", "RobustStudy", "SAES", "SavingsStudy", "SuperpositionStudy", "TRAINED_UNITS",
    "TakenApart", "ToyTable", "Unevenness", "WEIGHTS", "against_exact", "answer_studies", "at_equal_numbers",
    "attacks_turn", "bar_of_random_weights", "cluster_cost", "cluster_table", "compare_responses", "cost",
    "count_families", "crossing", "double_neurons", "drawn", "frequency_alpha", "layer_asymmetry", "layer_coder",
    "layer_spending", "layer_superposition", "layer_symmetry", "matched", "nearest_cosine", "predicted",
    "predicted_by_allocation", "reads_what_it_writes", "run_cost", "strongest", "symmetry_of", "take_apart",
    "three_versions", "turned_drawings", "turning",
]
