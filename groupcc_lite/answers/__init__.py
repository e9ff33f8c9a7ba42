"""answers."""

from groupcc_lite.answers.planted import plant, standard
from groupcc_lite.answers.planted_drawings import drawing, drawn_features, drawn_problem, responses, shape_stabiliser
from groupcc_lite.answers.probing import ProbeScores, chance_f1, probe_all, probe_task, ranked_latents
from groupcc_lite.answers.scoring import RECOVERED, SIMILAR, calibrate_tau, disturbed, score
from groupcc_lite.answers.trials import METHODS, Budget, seconds_per_step, study

__all__ = [
    "Budget", "METHODS", "ProbeScores", "RECOVERED", "SIMILAR", "calibrate_tau", "chance_f1", "disturbed",
    "drawing", "drawn_features", "drawn_problem", "plant", "probe_all", "probe_task", "ranked_latents", "responses",
    "score", "seconds_per_step", "shape_stabiliser", "standard", "study",
]
