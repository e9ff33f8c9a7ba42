"""Images to look at: photographs from a folder, drawings whose symmetry is known, and scenes of four shapes.

A reader first meets `PhotoFolder` and `DrawingSource`, which hand out the images that orbits are made of
(`TarImages` has them in tar files, and `load_ahead` loads any of them in processes of their own), and
`stimuli`, the clean drawings that tell what a feature answers to; `arcs` are those for its tuning to direction and
curvature. `Scenes` describe small images of four quadrants, so that what is in them is known without looking.
"""

from groupcc_lite.stimuli.curve_stimuli import KINDS, Arcs, arcs, turned_noise
from groupcc_lite.stimuli.image_sets import ImageSource, ImageSubset
from groupcc_lite.stimuli.images import DrawingSource, TensorImages, image_source, photo_folder, second_photo_folder
from groupcc_lite.stimuli.loading import load_ahead
from groupcc_lite.stimuli.looks import IMAGE_SUFFIXES
from groupcc_lite.stimuli.photographs import PhotoFolder
from groupcc_lite.stimuli.scenes import (
    FAMILIES,
    SCENE_SHAPES,
    TILE,
    Scenes,
    Task,
    canonical_scenes,
    probing_tasks,
    random_scenes,
    scene_orbits,
    split_scenes,
    task_labels,
    tile,
)
from groupcc_lite.stimuli.shapes import SHAPE_NAMES, SHAPES, Drawings, Shape, Stimuli, draw, sample_drawings, stimuli
from groupcc_lite.stimuli.tar_shards import TarImages, tar_stream

__all__ = [
    "Arcs", "DrawingSource", "Drawings", "FAMILIES", "IMAGE_SUFFIXES", "ImageSource", "ImageSubset", "KINDS",
    "PhotoFolder", "SCENE_SHAPES", "SHAPES", "SHAPE_NAMES", "Scenes", "Shape", "Stimuli", "TILE", "TarImages",
    "Task", "TensorImages", "arcs", "canonical_scenes", "draw", "image_source", "load_ahead", "photo_folder",
    "probing_tasks", "random_scenes", "sample_drawings", "scene_orbits", "second_photo_folder", "split_scenes",
    "stimuli", "tar_stream", "task_labels", "tile", "turned_noise",
]
