"""The answer key: problems whose features, symmetries and families are known, every method on them, and probes.

A reader meets `plant` and `standard` first, which make such problems; `score` says how much of one a dictionary has
found; `study` trains every method on them, and `training_cost` says what that took. The probes are the other kind of
answer: how well a few features tell two classes apart. `label_agreement`, `pose_errors` and `reposed_pictures` ask of
a network's features, whose answer nobody knows, what would be seen if their families were real.
"""

from groupcc_lite.answers.family_tests import (
    LabelAgreement,
    PoseErrors,
    ReposedPictures,
    circular,
    label_agreement,
    pose_errors,
    predicted_angles,
    redrawn,
    reposed_pictures,
)
from groupcc_lite.answers.planted import Problem, plant, standard
from groupcc_lite.answers.planted_drawings import (
    drawing,
    drawing_responses,
    drawn_features,
    drawn_problem,
    shape_stabiliser,
)
from groupcc_lite.answers.probing import ProbeScores, chance_f1, probe_all, probe_settings, probe_task, ranked_latents
from groupcc_lite.answers.scoring import RECOVERED, SIMILAR, calibrate_tau, disturbed, score
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
    "Budget", "LabelAgreement", "METHODS", "PoseErrors", "ProbeScores", "Problem", "RECOVERED", "ReposedPictures",
    "SIMILAR", "ShareOfAdvantage", "Study", "TrainingCost", "Trial", "calibrate_tau", "chance_f1", "circular",
    "disturbed", "drawing", "drawing_responses", "drawn_features", "drawn_problem", "label_agreement", "plant",
    "pose_errors", "predicted_angles", "probe_all", "probe_settings", "probe_task", "ranked_latents", "redrawn",
    "reposed_pictures", "score", "seconds_per_step", "shape_stabiliser", "share_of_advantage", "standard", "study",
    "training_cost", "trial_artefact",
]
