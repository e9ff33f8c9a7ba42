"""Studies: one question put to many runs, and what a profile's studies cost.

`LayerStudy` compares layers and networks, trained and random; `answer_studies` lists the studies of the answer key;
`cost` says beforehand what all of a profile will take, and `run_cost` what one run takes.
"""

from groupcc_lite.studies.answer_plan import answer_studies
from groupcc_lite.studies.costs import cost, run_cost
from groupcc_lite.studies.depth import WEIGHTS, Layer, LayerMeasures, LayerStudy

__all__ = ["Layer", "LayerMeasures", "LayerStudy", "WEIGHTS", "answer_studies", "cost", "run_cost"]
