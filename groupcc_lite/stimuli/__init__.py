"""Images to look at: photographs from a folder, drawings whose symmetry is known, and scenes of four shapes.

A reader first meets `PhotoFolder` and `DrawingSource`, which hand out the images that orbits are made of, and
`stimuli`, the clean drawings that tell what a feature answers to; `arcs` are those for its tuning to direction and
curvature. `Scenes` describe small images of four quadrants, so that what is in them is known without looking.
"""

from groupcc_lite.stimuli.curve_stimuli import KINDS, Arcs, arcs, turned_noise
from groupcc_lite.stimuli.images import (
    IMAGE_SUFFIXES,
    DrawingSource,
    ImageSource,
    ImageSubset,
    PhotoFolder,
    TensorImages,
    image_source,
    photo_folder,
    second_photo_folder,
)
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

__all__ = [
    "Arcs", "DrawingSource", "Drawings", "FAMILIES", "IMAGE_SUFFIXES", "ImageSource", "ImageSubset", "KINDS",
    "PhotoFolder", "SCENE_SHAPES", "SHAPES", "SHAPE_NAMES", "Scenes", "Shape", "Stimuli", "TILE", "Task",
    "TensorImages", "arcs", "canonical_scenes", "draw", "image_source", "photo_folder", "probing_tasks",
    "random_scenes", "sample_drawings", "scene_orbits", "second_photo_folder", "split_scenes", "stimuli",
    "task_labels", "tile", "turned_noise",
]
