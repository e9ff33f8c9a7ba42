"""Sparse dictionaries of orbit vectors: what they are, how they are trained, and how good they are.

Begin with `GroupCrosscoder` and `train`, then `evaluate` on held-out orbits. `SparseAutoencoder` is its case without a
group, `TiedCrosscoder` the one that is symmetric by construction, `EquivariantSAE` the invariant autoencoder with
matrices that turn what it writes, `fit_blocks` gives a trained autoencoder the blocks of a crosscoder, and
`untrained_features` are what all of them must beat. `TransformMatrix` and the closed forms beside it find those
matrices. Every trained thing has `save(folder)` and `load(folder)`; `optimise` trains anything that is `Trainable`, and
`train_many` several coders on batches that are made once.
"""

from groupcc_lite.coders.checkpoints import Checkpoint
from groupcc_lite.coders.crosscoder import CoderOutput, GroupCrosscoder, SparseAutoencoder
from groupcc_lite.coders.equivariant import EquivariantSAE
from groupcc_lite.coders.fitted import FittedCrosscoder, fit_blocks, moments
from groupcc_lite.coders.metrics import Metrics, copy_fve, evaluate, firing_frequency
from groupcc_lite.coders.opponents import (
    NOBODY,
    AllPoses,
    BlockSparseAutoencoder,
    UntrainedFeatures,
    WholeOrbits,
    data_dictionary,
    data_point_dictionary,
    untrained_features,
)
from groupcc_lite.coders.saved_module import SavedModule
from groupcc_lite.coders.second_moments import SecondMoments
from groupcc_lite.coders.tied import TiedCrosscoder
from groupcc_lite.coders.training_loop import Trainable, Training, optimise, train, train_many
from groupcc_lite.coders.transforms import TransformMatrix, least_squares, procrustes, project, r2

__all__ = [
    "AllPoses", "BlockSparseAutoencoder", "Checkpoint", "CoderOutput", "EquivariantSAE", "FittedCrosscoder",
    "GroupCrosscoder", "Metrics", "NOBODY", "SavedModule", "SecondMoments", "SparseAutoencoder", "TiedCrosscoder",
    "Trainable", "Training", "TransformMatrix", "UntrainedFeatures", "WholeOrbits", "copy_fve", "data_dictionary",
    "data_point_dictionary", "evaluate", "firing_frequency", "fit_blocks", "least_squares", "moments", "optimise",
    "procrustes", "project", "r2", "train", "train_many", "untrained_features",
]
