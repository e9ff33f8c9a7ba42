"""coders."""

from groupcc_lite.coders.copying import copy_fve
from groupcc_lite.coders.crosscoder import EquivariantSAE, GroupCrosscoder, SparseAutoencoder
from groupcc_lite.coders.fitted import FittedCrosscoder, fit_blocks, moments
from groupcc_lite.coders.training import Metrics, Trainable, evaluate, optimise, train
from groupcc_lite.coders.transforms import TransformMatrix, least_squares, procrustes, project, r2

__all__ = [
    "EquivariantSAE", "FittedCrosscoder", "GroupCrosscoder", "Metrics", "SparseAutoencoder", "Trainable",
    "TransformMatrix", "copy_fve", "evaluate", "fit_blocks", "least_squares", "moments", "optimise", "procrustes",
    "project", "r2", "train",
]
