"""symmetry."""

from groupcc_lite.symmetry.families import (
    Embedding,
    FamilyScores,
    ResponseLabels,
    centre_activations,
    cluster,
    distance,
    embed,
    label_by_response,
    score_families,
)
from groupcc_lite.symmetry.feature_visualisation import render_features, render_steps, responses
from groupcc_lite.symmetry.similarity import (
    act,
    block_cosines,
    linear_ceiling,
    max_cosine,
    normalised,
    paper_reflection,
    self_similarity,
)
from groupcc_lite.symmetry.stabiliser import TAU, Stabiliser, equivariance_score, irrep_power, stabilisers

__all__ = [
    "Embedding", "FamilyScores", "ResponseLabels", "Stabiliser", "TAU", "act", "block_cosines",
    "centre_activations", "cluster", "distance", "embed", "equivariance_score", "irrep_power", "label_by_response",
    "linear_ceiling", "max_cosine", "normalised", "paper_reflection", "render_features", "render_steps",
    "responses", "score_families", "self_similarity", "stabilisers",
]
