"""models."""

from groupcc_lite.models.autoencoders import IMAGE_SHAPE, ImageAutoencoder, SceneImages, activations
from groupcc_lite.models.base import BaseModel
from groupcc_lite.models.cut import truncate
from groupcc_lite.models.geometry import Geometry, derive_geometry
from groupcc_lite.models.networks import GoogLeNet, randomise
from groupcc_lite.models.tiny_training import STEPS, answers, train_tiny
from groupcc_lite.models.weight_files import TINY_WEIGHTS, weights_file
from groupcc_lite.models.zoo import load_model, wrap_model

__all__ = [
    "BaseModel", "Geometry", "GoogLeNet", "IMAGE_SHAPE", "ImageAutoencoder", "STEPS", "SceneImages", "TINY_WEIGHTS",
    "activations", "answers", "derive_geometry", "load_model", "randomise", "train_tiny", "truncate",
    "weights_file", "wrap_model",
]
