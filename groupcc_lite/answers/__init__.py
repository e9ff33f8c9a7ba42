"""The answer key: problems whose features, symmetries and families are known, every method on them, and probes.

A reader meets `plant` and `standard` first, which make such problems; `score` says how much of one a dictionary has
found; `study` trains every method on them, and `training_cost` says what that took. The probes are the other kind of
answer: how well a few features tell two classes apart. The rest asks of a network's features, whose answer nobody
knows, what would be seen if they were real: `best_matches` whether they come back in another training, beside nulls,
`label_agreement`, `pose_errors` and `reposed_pictures` whether their families do what families should, `shared` whether
another network has them too.
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
from groupcc_lite.answers.planted import Problem, plant, standard, unequal_poses, unequal_views
from groupcc_lite.answers.planted_drawings import (
    drawing,
    drawing_responses,
    drawn_features,
    drawn_problem,
    shape_stabiliser,
)
from groupcc_lite.answers.probing import (
    STEPS,
    ProbeScores,
    chance_f1,
    logistic_by_steps,
    probe_all,
    probe_settings,
    probe_task,
    ranked_latents,
)
from groupcc_lite.answers.replication import (
    AboveNull,
    Matches,
    above_null,
    best_matches,
    median_interval,
)
from groupcc_lite.answers.scoring import (
    RECOVERED,
    SIMILAR,
    UNCENTRED_TAU,
    Readable,
    SpanScores,
    calibrate_tau,
    disturbed,
    readable,
    score,
    score_spans,
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
from groupcc_lite.answers.two_halves import Separation, interval_over_features, separation
from groupcc_lite.answers.universality import (
    Counterparts,
    FeatureResponses,
    Shared,
    agreement,
    counterparts,
    responses,
    shared,
    unrelated_counterparts,
)

__all__ = [
    "AboveNull", "Budget", "Counterparts", "FeatureResponses", "LabelAgreement", "METHODS", "Matches", "PoseErrors",
    "ProbeScores", "Problem", "RECOVERED", "Readable", "ReposedPictures", "SIMILAR", "STEPS", "Separation",
    "ShareOfAdvantage", "Shared", "SpanScores", "Study", "TrainingCost", "Trial", "UNCENTRED_TAU", "above_null",
    "agreement", "best_matches", "calibrate_tau", "chance_f1", "circular", "counterparts", "disturbed", "drawing",
    "drawing_responses", "drawn_features", "drawn_problem", "interval_over_features", "label_agreement",
    "logistic_by_steps", "median_interval", "plant", "pose_errors", "predicted_angles", "probe_all", "probe_settings",
    "probe_task", "ranked_latents", "readable", "redrawn", "reposed_pictures", "responses", "score", "score_spans",
    "seconds_per_step", "separation", "shape_stabiliser", "share_of_advantage", "shared", "standard", "study",
    "training_cost", "trial_artefact", "unequal_poses", "unequal_views", "unrelated_counterparts",
]
