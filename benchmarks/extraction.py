"""Orbit extraction against the plain way, and against the network's bare forward time.

The plain way is the paper's description taken literally: the whole classifier runs, every element is one torchvision
rotation of the source image, and whole activation grids are warped back before the points are read. The network and its
cost are GoogLeNet's; untrained weights serve, since only shapes matter.
"""

from __future__ import annotations

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, hflip, rotate

from benchmarks.timing import interleaved
from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import dihedral
from groupcc_lite.models import GoogLeNet, load_model, randomise
from groupcc_lite.orbits import mask_points, sample_orbits

IMAGES, POINTS = 8, 75


class PlainExtraction:
    """Full network, one torchvision rotation per element, whole grids warped back."""

    def __init__(self, rotations: int):
        self.rotations = rotations
        self.network = randomise(GoogLeNet()).eval()
        self.network.mixed3b.register_forward_hook(lambda module, args, output: setattr(self, "grid", output))

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        blocks = []
        for mirrored in (False, True):
            for k in range(self.rotations):
                angle = 360 * k / self.rotations
                view = rotate(images, angle, InterpolationMode.BILINEAR)
                view = center_crop(hflip(view) if mirrored else view, 224)
                self.network(view * 255 - 117)
                grid = hflip(self.grid) if mirrored else self.grid
                back = rotate(grid, -angle, InterpolationMode.BILINEAR)
                blocks.append(back[:, :, cells[:, 1], cells[:, 0]])
        return torch.stack(blocks)


def measure() -> dict[str, float]:
    """Seconds of each way for the same images, and the two ratios of the project's targets."""
    group = dihedral(16)
    model, action = load_model("googlenet", weights="random"), PlanarAction(group)
    images = torch.rand(IMAGES, 3, *[action.source_size(224)] * 2, generator=torch.Generator().manual_seed(0))
    cells = model.geometry.cells(mask_points(model.geometry, model.geometry.max_mask_radius)).round().long()[:POINTS]
    plain, view = PlainExtraction(group.order // 2), images[:, :, 48:272, 48:272].contiguous()

    @torch.no_grad()
    def bare() -> None:
        for _ in range(group.order):
            model(view)

    def views(*parts: list[int]) -> None:
        for elements in parts:
            action.images(images, size=224, elements=elements)

    seconds = interleaved({
        "ours": lambda: sample_orbits(model, action, images, points_per_image=POINTS),
        "plain": lambda: plain(images, cells),
        "bare forward": bare,
        "views": lambda: views(list(range(group.order))),
        "views, one by one": lambda: views(*([g] for g in range(group.order))),
    }, rounds=3)
    forwards = IMAGES * group.order
    return {
        "ours, ms per transformed image": 1e3 * seconds["ours"] / forwards,
        "plain way, ms per transformed image": 1e3 * seconds["plain"] / forwards,
        "bare forward of the truncated network, ms per image": 1e3 * seconds["bare forward"] / forwards,
        "plain way / ours (target: at least 2)": seconds["plain"] / seconds["ours"],
        "ours / bare forward (target: at most 1.25)": seconds["ours"] / seconds["bare forward"],
        "views made one by one / all at once": seconds["views, one by one"] / seconds["views"],
    }
