"""What symmetry learned features have, read from their dictionary vectors.

A reader first meets `max_cosine`, the similarity of two features up to the group, and `stabilisers`, the elements that
leave a feature as it is. Around them: `act` and `self_similarity` (what these are made of), `irrep_power` and
`equivariance_score` (how a feature's blocks hang together), `linear_ceiling` (what the coder could know at all),
families of features with a map, and pictures of what features look for.
"""

from groupcc_lite.symmetry.block_action import act, normalised, on_factor, paper_reflection
from groupcc_lite.symmetry.ceiling import linear_ceiling
from groupcc_lite.symmetry.census import Census, living_dictionary, small_census
from groupcc_lite.symmetry.equivariance import equivariance_score
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
from groupcc_lite.symmetry.feature_visualisation import PICTURE_FORMAT, picture_responses, render_features, render_steps
from groupcc_lite.symmetry.similarity import block_cosines, max_cosine, printed_similarity, self_similarity
from groupcc_lite.symmetry.spectra import irrep_power
from groupcc_lite.symmetry.stabiliser import TAU, Stabiliser, stabilisers

__all__ = [
    "Census", "Embedding", "FamilyScores", "PICTURE_FORMAT", "ResponseLabels", "Stabiliser", "TAU", "act",
    "block_cosines", "centre_activations", "cluster", "distance", "embed", "equivariance_score", "irrep_power",
    "label_by_response", "linear_ceiling", "living_dictionary", "max_cosine", "normalised", "on_factor",
    "paper_reflection", "picture_responses", "printed_similarity", "render_features", "render_steps",
    "score_families", "self_similarity", "small_census", "stabilisers",
]
