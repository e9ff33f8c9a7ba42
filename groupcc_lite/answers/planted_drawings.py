"""Drawn shapes as features of an exactly equivariant layer: an answer key made of pictures.

The layer is one centre-surround filter, the difference of two Gaussians, at every pixel of a round picture's middle.
The filter is round, so transforming the image only moves its responses. A drawn shape's dictionary vector holds, in
block g, the responses to the shape transformed by g. Which elements leave it as it is follows from its geometry.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers.planted import Problem
from groupcc_lite.groups import Subgroup
from groupcc_lite.stimuli import SHAPES, Shape, draw

_HALF_WINDOW = 32  # px of a drawing of 96 that the filters cover to either side of the middle
_SIGMAS = (1.0, 2.0)  # px of a drawing of 96: centre and surround


def drawing(shape: Shape | str, action: PlanarAction, size: int = 96) -> Float[Tensor, "g 3 s s"]:
    """A shape as every element of the group leaves it, white on black, in the middle of `size` pixels.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> drawing("line", PlanarAction(cyclic(4)), size=32).shape
    torch.Size([4, 3, 32, 32])
    """
    unit = size / 96
    large = draw(shape, 0.0, action.source_size(size), scale=unit, half_width=1.4 * unit)
    return action.images(large, size)[:, 0]


def drawing_responses(pictures: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b d"]:
    """Centre-surround responses in the middle of square grey pictures, one for each pixel.

    >>> float(drawing_responses(torch.ones(1, 48, 48)).abs().max()) < 1e-6  # nothing stands out
    True
    """
    from scipy.ndimage import gaussian_filter  # slow to import, and only drawn problems need it

    size = pictures.shape[-1]
    unit, edge = size / 96, (size - 2 * int(_HALF_WINDOW * size / 96)) // 2
    window = pictures[..., edge:size - edge, edge:size - edge].numpy()
    flat = (0,) * (window.ndim - 2)
    centre, surround = (gaussian_filter(window, (*flat, sigma * unit, sigma * unit)) for sigma in _SIGMAS)
    return torch.as_tensor(centre - surround).flatten(-2)


def drawn_features(action: PlanarAction, size: int = 96) -> Float[Tensor, "k g d"]:
    """Dictionary vectors of all drawn shapes, in the order of `SHAPES`: responses to every transformed drawing.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> drawn_features(PlanarAction(cyclic(2)), size=48).shape[:2]
    torch.Size([14, 2])
    """
    return torch.stack([drawing_responses(drawing(shape, action, size).mean(1)) for shape in SHAPES])


def shape_stabiliser(shape: Shape, action: PlanarAction) -> Subgroup:
    """The elements that leave a shape as it is, from geometry alone.

    Every shape is its own mirror image along its axis, which is drawn to the right. So an element leaves the shape as
    it is exactly if it turns the axis by a multiple of the shape's period.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> [shape_stabiliser(shape, PlanarAction(cyclic(4))).order for shape in SHAPES if shape.name in ("line", "cross")]
    [2, 4]
    """
    x, y = action.matrices[:, :, 0].T  # where the axis goes; y points down
    period = 360 / max(shape.fold, 1)
    apart = np.abs((np.degrees(np.arctan2(-y, x)) + period / 2) % period - period / 2)
    elements = tuple(np.flatnonzero((apart < 1e-6) | (shape.fold == 0)).tolist())
    return next(H for H in action.group.subgroups() if H.elements == elements)


def drawn_problem(action: PlanarAction, *, channels: int = 64, noise: float = 0.05, active: float = 2.0,
                  size: int = 96, seed: int = 0) -> Problem:
    """All drawn shapes in all poses of the group as a problem with a known answer: one family for each shape.

    Responses are projected on the `channels` directions in which the shapes vary most. Under a group that holds other
    than quarter turns and their mirrors, pixels are interpolated, so equivariance is not exact. `noise` and `active` as
    in `plant`. ValueError if there are not so many directions.

    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.groups import cyclic
    >>> problem = drawn_problem(PlanarAction(cyclic(2)), channels=8, size=48)
    >>> problem.channels, len(set(problem.family.tolist()))
    (8, 14)
    """
    group, features = action.group, drawn_features(action, size)
    rows = rearrange(features, "k g d -> (k g) d")
    _, spread, axes = torch.linalg.svd(rows, full_matrices=False)
    rank = int((spread > 1e-5 * spread[0]).sum())
    if not 0 < channels <= rank:
        raise ValueError(f"channels is {channels}; expected 1 to {rank}, the dimension of what these drawings span")
    features = features @ axes[:channels].T
    features = features / features[:, :1].norm(dim=-1, keepdim=True)
    by_elements = {H.elements: H for H in group.subgroups()}
    vectors, family, mover, found = [], [], [], []
    for number, shape in enumerate(SHAPES):
        H = shape_stabiliser(shape, action)
        for h, *_ in group.left_cosets(H.elements):
            vectors.append(features[number, torch.tensor(group.regular[h])])
            family.append(number)
            mover.append(h)
            found.append(by_elements[tuple(sorted(group.table[group.table[h, H.elements], group.inverse[h]].tolist()))])
    return Problem(group, torch.stack(vectors), torch.tensor(family), torch.tensor(mover), tuple(found), noise=noise,
                   active=active, seed=seed)
