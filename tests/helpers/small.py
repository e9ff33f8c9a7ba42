"""Small things that several tests need: a random convolutional stem as a base model, noise images, a run on both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from groupcc_lite.models import BaseModel, wrap_model
from groupcc_lite.runs import Run

QUICK = dict(latents=64, k=8, steps=30, batch_size=32, points_per_image=8, mask_radius=7.0)


class Stem(nn.Module):
    """Two strided convolutions whose cells, like GoogLeNet's, are not centred on the image."""

    def __init__(self, channels: int = 6):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=0)
        self.features = nn.Conv2d(8, channels, 3, stride=2, padding=1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 3

    def forward(self, x):
        return self.features(self.first(x).relu()).relu()


def small_model(channels: int = 6, input_size: int = 32) -> BaseModel:
    return wrap_model(Stem(channels), "features", input_size=input_size)


def noise_images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def noise_run(work: Path, count: int = 24, **changes: Any) -> Run:
    """A run whose answer is known: a random stem is not equivariant, and one noise image says nothing of another."""
    model = small_model()
    run = Run("smoke", model=model, work=work, **(dict(group="C_4") | QUICK | changes))
    run.images = noise_images(count, run.action.source_size(model.input_size))
    return run
