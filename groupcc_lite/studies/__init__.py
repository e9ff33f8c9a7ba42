"""Studies: one question put to many runs, and what a profile's studies cost.

`LayerStudy` compares layers and networks, trained and random; `CurveStudy` asks units of several layers for the
direction of a curve, and `at_equal_numbers`, `predicted`, `take_apart` and `by_responses` say what is read off it;
`answer_studies` lists the studies of the answer key; `cost` says beforehand what all of a profile will take, and
`run_cost` what one run takes.
"""

from groupcc_lite.studies.answer_plan import answer_studies
from groupcc_lite.studies.costs import cost, run_cost
from groupcc_lite.studies.curve_findings import (
    ByResponses,
    EqualNumbers,
    Predicted,
    TakenApart,
    at_equal_numbers,
    bar_of_random_weights,
    by_responses,
    double_neurons,
    predicted,
    reads_what_it_writes,
    strongest,
    take_apart,
)
from groupcc_lite.studies.curves import BRANCHES, SAES, TRAINED_UNITS, CurveStudy, Detectors
from groupcc_lite.studies.depth import WEIGHTS, Layer, LayerMeasures, LayerStudy

__all__ = [
    "BRANCHES", "ByResponses", "CurveStudy", "Detectors", "EqualNumbers", "Layer", "LayerMeasures", "LayerStudy",
    "Predicted", "SAES", "TRAINED_UNITS", "TakenApart", "WEIGHTS", "answer_studies", "at_equal_numbers",
    "bar_of_random_weights", "by_responses", "cost", "double_neurons", "predicted", "reads_what_it_writes",
    "run_cost", "strongest", "take_apart",
]
