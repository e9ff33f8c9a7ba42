"""The answer key: problems whose features, symmetries and families are known, every method on them, and probes.

A reader meets `plant` and `standard` first, which make such problems; `score` says how much of one a dictionary has
found; `study` trains every method on them, and `training_cost` says what that took. The probes are the other kind of
answer: how well a few features tell two classes apart.
"""

from groupcc_lite.answers.planted import Problem, plant, standard
from groupcc_lite.answers.planted_drawings import (
    drawing,
    drawing_responses,
    drawn_features,
    drawn_problem,
    shape_stabiliser,
)
from groupcc_lite.answers.probing import ProbeScores, chance_f1, probe_all, probe_settings, probe_task, ranked_latents
from groupcc_lite.answers.scoring import (
    RECOVERED,
    SIMILAR,
    UNCENTRED_TAU,
    Readable,
    calibrate_tau,
    disturbed,
    readable,
    score,
)
from groupcc_lite.answers.trials import (
    METHODS,
    Budget,
    ShareOfAdvantage,
    Study,
    TrainingCost,
    Trial,
    seconds_per_step,
    share_of_advantage,
    study,
    training_cost,
    trial_artefact,
)

__all__ = [
    "Budget", "METHODS", "ProbeScores", "Problem", "RECOVERED", "Readable", "SIMILAR", "ShareOfAdvantage", "Study",
    "TrainingCost", "Trial", "UNCENTRED_TAU", "calibrate_tau", "chance_f1", "disturbed", "drawing", "drawing_responses",
    "drawn_features", "drawn_problem", "plant", "probe_all", "probe_settings", "probe_task", "ranked_latents",
    "readable", "score", "seconds_per_step", "shape_stabiliser", "share_of_advantage", "standard", "study",
    "training_cost", "trial_artefact",
]
