"""Orbit extraction against the plain way, against what it was before, and against the network's bare forward time.

The plain way is the paper's description taken literally: the whole classifier runs, every element is one torchvision
rotation of the source image, and whole activation grids are warped back before the points are read. The network and its
cost are GoogLeNet's; untrained weights serve, since only shapes matter. Before, every coset had a resampling of its
own, the host drew the points of each image, and it looked at every batch's numbers three times.
"""

from __future__ import annotations

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, hflip, rotate

from benchmarks.timing import interleaved
from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import dihedral
from groupcc_lite.models import BaseModel, GoogLeNet, load_model, randomise
from groupcc_lite.orbits import mask_points, read_at, sample_orbits, transformed_cells

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


class EarlierExtraction:
    """The same orbits, with every wait for the device where it was."""

    def __init__(self, model: BaseModel, action: PlanarAction):
        self.model, self.action, self.points = model, action, mask_points(model.geometry,
                                                                           model.geometry.max_mask_radius)
        exact = [g for g in range(action.group.order) if action.exact[g]]
        self.cosets = sorted({tuple(sorted(action.group.table[exact, k].tolist())) for k in range(action.group.order)})

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        model, geometry = self.model, self.model.geometry
        model.check_values(images)
        views = {}
        for coset in self.cosets:
            views |= zip(coset, self.action.images(images, size=model.input_size, elements=coset), strict=True)
        grid, at = model(views[0], checked=True), geometry.cells(self.points).expand(len(images), -1, -1)
        weights = (read_at(grid, at).norm(dim=-1) + 1e-6).cpu()
        chosen = torch.stack([torch.multinomial(w, POINTS, generator=torch.Generator().manual_seed(number))
                              for number, w in enumerate(weights)])
        cells = transformed_cells(self.points[chosen], self.action, geometry)
        blocks = torch.stack([read_at(model(views[g], checked=True) if g else grid, cells[g]) for g in sorted(views)])
        if not torch.isfinite(blocks).all():
            raise ValueError("activations are not finite")
        return blocks


def measure() -> dict[str, float]:
    """Seconds of each way for the same images, and the two ratios of the project's targets."""
    group = dihedral(16)
    model, action = load_model("googlenet", weights="random"), PlanarAction(group)
    images = torch.rand(IMAGES, 3, *[action.source_size(224)] * 2, generator=torch.Generator().manual_seed(0))
    cells = model.geometry.cells(mask_points(model.geometry, model.geometry.max_mask_radius)).round().long()[:POINTS]
    earlier = EarlierExtraction(model, action)
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
        "earlier": lambda: earlier(images),
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
        "as it was / ours (target: at least 1)": seconds["earlier"] / seconds["ours"],
        "ours / bare forward (target: at most 1.25)": seconds["ours"] / seconds["bare forward"],
        "views made one by one / all at once": seconds["views, one by one"] / seconds["views"],
    }
