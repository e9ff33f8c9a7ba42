"""Networks that are cut off after one layer, and where the cells of that layer look.

A reader first meets `load_model` (a network by name) and `wrap_model` (your own; `model_from_file` for the command
line): all give a `BaseModel`, which takes RGB images in [0, 1] and returns a layer's grid of activations. Its
`geometry` says which pixels a cell sees; points are read by it. The package also holds the built-in network with its
training, and small autoencoders of images.
"""

from groupcc_lite.models.autoencoders import AUTOENCODER_FORMAT, IMAGE_SHAPE, ImageAutoencoder, SceneImages, activations
from groupcc_lite.models.base import BaseModel, read_together
from groupcc_lite.models.cut import truncate
from groupcc_lite.models.geometry import Geometry, derive_geometry
from groupcc_lite.models.networks import GoogLeNet, randomise
from groupcc_lite.models.tiny_training import TINY_STEPS, VIT_STEPS, ShapeNaming, evaluate_tiny, train_tiny, train_vit
from groupcc_lite.models.weight_files import TINY_MODELS, TINY_WEIGHTS, TOLD_WEIGHTS, VIT_WEIGHTS, weights_file
from groupcc_lite.models.zoo import (
    Classifier,
    load_classifier,
    load_model,
    load_tiny,
    model_from_file,
    patch_model,
    reinitialised,
    wrap_model,
)

__all__ = [
    "AUTOENCODER_FORMAT", "BaseModel", "Classifier", "Geometry", "GoogLeNet", "IMAGE_SHAPE", "ImageAutoencoder",
    "SceneImages", "ShapeNaming", "TINY_MODELS", "TINY_STEPS", "TINY_WEIGHTS", "TOLD_WEIGHTS", "VIT_STEPS",
    "VIT_WEIGHTS", "activations", "derive_geometry", "evaluate_tiny", "load_classifier", "load_model", "load_tiny",
    "model_from_file", "patch_model", "randomise", "read_together", "reinitialised", "train_tiny", "train_vit",
    "truncate", "weights_file", "wrap_model",
]
