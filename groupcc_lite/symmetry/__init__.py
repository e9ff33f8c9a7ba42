"""What symmetry learned features have, read from their dictionary vectors.

A reader first meets `max_cosine`, the similarity of two features up to the group, and `stabilisers`, the elements that
leave a feature as it is. Around them: `act` and `self_similarity` (what these are made of), `irrep_power`, `centred`
and `equivariance_score` (how a feature's blocks hang together), `surrogate` and `supported_stabilisers` (what of it
chance would give; `testable` says where that can be known), `encoder_profile` (what the other half of the coder says),
`axes_of` and `isotropy` (which directions are preferred), `linear_ceiling` (what a linear map of its input knows),
families of features with a map, and pictures of what features look for.
"""

from groupcc_lite.symmetry.block_action import act, normalised, on_factor, paper_reflection
from groupcc_lite.symmetry.ceiling import (
    ceiling_curve,
    fitting_batches,
    interval_over_images,
    linear_ceiling,
    linear_map,
    missed_by_image,
)
from groupcc_lite.symmetry.census import (
    Census,
    ConfirmedCensus,
    Emergence,
    Excess,
    confirmed_census,
    emergence,
    excess,
    living_dictionary,
    small_census,
)
from groupcc_lite.symmetry.encoder_side import (
    MirrorAgreement,
    confirmed,
    encoder_profile,
    inside_by_chance,
    mirror_agreement,
)
from groupcc_lite.symmetry.equivariance import equivariance_score, orbit_asymmetry
from groupcc_lite.symmetry.families import (
    FEWEST,
    LARGE,
    Embedding,
    FamilyScores,
    Purity,
    ResponseLabels,
    centre_activations,
    cluster,
    dictionary_purity,
    distance,
    embed,
    embed_dictionary,
    label_by_response,
    neighbour_purity,
    score_dictionary,
    score_families,
)
from groupcc_lite.symmetry.feature_visualisation import PICTURE_FORMAT, picture_responses, render_features, render_steps
from groupcc_lite.symmetry.mirror_axes import (
    MirrorAxes,
    MovedOrbits,
    Turn,
    axes_of,
    axis_voters,
    axis_votes,
    axis_weights,
    copies,
    isotropy,
    preference_turn,
)
from groupcc_lite.symmetry.nulls import (
    FALSE_RATE,
    Supported,
    Witnessed,
    supported_stabilisers,
    surrogate,
    testable,
    witnessed,
)
from groupcc_lite.symmetry.similarity import (
    Correlations,
    MaxCosine,
    Neighbours,
    block_cosines,
    distances_to_labels,
    max_cosine,
    max_over_group,
    nearest_neighbours,
    nearest_relative,
    printed_similarity,
    self_similarity,
    unrelated,
)
from groupcc_lite.symmetry.spectra import centred, irrep_power, trivial_share
from groupcc_lite.symmetry.stabiliser import INVARIANT, TAU, Stabiliser, profile_stabilisers, stabilisers

__all__ = [
    "Census", "ConfirmedCensus", "Correlations", "Embedding", "Emergence", "Excess", "FALSE_RATE", "FEWEST",
    "FamilyScores", "INVARIANT", "LARGE", "MaxCosine", "MirrorAgreement", "MirrorAxes", "MovedOrbits", "Neighbours",
    "PICTURE_FORMAT", "Purity", "ResponseLabels", "Stabiliser", "Supported", "TAU", "Turn", "Witnessed", "act",
    "axes_of", "axis_voters", "axis_votes", "axis_weights", "block_cosines", "ceiling_curve", "centre_activations",
    "centred", "cluster", "confirmed", "confirmed_census", "copies", "dictionary_purity", "distance",
    "distances_to_labels", "embed", "embed_dictionary", "emergence", "encoder_profile", "equivariance_score",
    "excess", "fitting_batches", "inside_by_chance", "interval_over_images", "irrep_power", "isotropy",
    "label_by_response", "linear_ceiling", "linear_map", "living_dictionary", "max_cosine", "max_over_group",
    "mirror_agreement", "missed_by_image", "nearest_neighbours", "nearest_relative", "neighbour_purity",
    "normalised", "on_factor", "orbit_asymmetry", "paper_reflection", "picture_responses", "preference_turn",
    "printed_similarity", "profile_stabilisers", "render_features", "render_steps", "score_dictionary",
    "score_families", "self_similarity", "small_census", "stabilisers", "supported_stabilisers", "surrogate",
    "testable", "trivial_share", "unrelated", "witnessed",
]
