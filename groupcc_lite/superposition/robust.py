"""A robust network for pictures: `tiny-inception` trained on attacked drawings, and what attacks do to its kind."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from groupcc_lite.models import ShapeNaming, train_tiny
from groupcc_lite.stimuli import sample_drawings
from groupcc_lite.superposition.attacks import pgd, random_noise

_PIXELS = (0.0, 1.0)


@dataclass(frozen=True)
class L2Attack:
    """`pgd` on images in [0, 1], with its settings: what training does to its images, as the weights' record names it.

    >>> import torch
    >>> attack = L2Attack(eps=0.5, steps=3)
    >>> attacked = attack(lambda images: images.mean((1, 2, 3)), torch.full((2, 3, 8, 8), 0.5))
    >>> [round(float(norm), 3) for norm in (attacked - 0.5).flatten(1).norm(dim=1)], attack
    ([0.5, 0.5], L2Attack(eps=0.5, steps=3))
    """

    eps: float
    """L2 norm, in units of a pixel's value."""
    steps: int = 3

    def __call__(self, loss: Callable[[Tensor], Tensor], images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Attacked images."""
        return pgd(loss, images, self.eps, steps=self.steps, box=_PIXELS)


@dataclass(frozen=True)
class L2Noise:
    """Noise of an attack's norm in its place, the control: other noise for other images, the same for the same ones.

    >>> import torch
    >>> noisy = L2Noise(eps=0.5)(lambda images: images.mean((1, 2, 3)), torch.full((2, 3, 8, 8), 0.5))
    >>> [round(float(norm), 3) for norm in (noisy - 0.5).flatten(1).norm(dim=1)]
    [0.5, 0.5]
    """

    eps: float
    """L2 norm, in units of a pixel's value."""

    def __call__(self, loss: Callable[[Tensor], Tensor], images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Noisy images; the loss is not asked."""
        return random_noise(images, self.eps, seed=zlib.crc32(images.numpy().tobytes()), box=_PIXELS)


def train_robust(folder: str | Path, eps: float, *, attack_steps: int = 3, noise: bool = False,
                 **settings: Any) -> dict[str, Any]:
    """Train `tiny-inception` on attacked drawings only, as `train_tiny` does on clean ones; returns the record.

    eps: radius of the attack at every step, L2, for pixels in [0, 1]; 0 trains on clean drawings. With `noise` every
    drawing gets noise of that norm instead, the control. `settings` are those of `train_tiny`: for two networks that
    are compared, everything but eps must be the same, and minutes are not: an attack of 3 steps costs about four times
    as much again as training. Weights and record lie in `folder`, and `load_tiny`, or
    `load_model("tiny-inception", weights=...)`, reads them. ValueError as for `train_tiny` and `pgd`.

    Source: Madry et al. 2018.

    >>> train_robust("folder", eps=1.0, steps=0)
    Traceback (most recent call last):
    ValueError: steps is 0; expected at least 1
    """
    return train_tiny(folder, change=training_change(eps, attack_steps, noise=noise), **settings)


def training_change(eps: float, attack_steps: int = 3, *, noise: bool = False) -> L2Attack | L2Noise | None:
    """What `train_robust` does to every drawing, as its record names it; None for clean ones."""
    if not eps:
        return None
    return L2Noise(eps) if noise else L2Attack(eps, attack_steps)


class NamingUnderAttack(NamedTuple):
    """How well a network names shapes: `naming_under_attack` measures it.

    >>> NamingUnderAttack(clean=0.99, attacked=0.5, noisy=0.98, clean_loss=0.1, attacked_loss=2.0, noisy_loss=0.1)[1]
    0.5
    """

    clean: float
    """Accuracy on drawings as they are."""
    attacked: float
    noisy: float
    """With random noise of the attack's own norm."""
    clean_loss: float
    """Mean cross-entropy."""
    attacked_loss: float
    noisy_loss: float


def naming_under_attack(network: nn.Module, eps: float, *, drawings: int = 128, steps: int = 10,
                        seed: int = 8_000_000) -> NamingUnderAttack:
    """Accuracy and loss of a built-in network on clean, attacked and noisy drawings that its training never saw.

    The attack is `pgd` with `steps` steps of radius eps on the cross-entropy of each drawing, in [0, 1]; noise has the
    norm that it used on each drawing. Losses rise without bound while accuracy does not fall to 0: an attack spends its
    radius where a drawing's mean loss rises most, which is often on one of its shapes. ValueError as for `pgd`.

    >>> from groupcc_lite.models import load_tiny
    >>> found = naming_under_attack(load_tiny(), eps=1.0, drawings=8, steps=3)
    >>> found.clean > found.attacked, found.noisy > found.attacked
    (True, True)
    """
    scenes = sample_drawings(drawings, seed=seed)
    naming, x = ShapeNaming(network.eval(), scenes), scenes.images
    attacked = L2Attack(eps, steps)(naming.losses, x)
    noisy = random_noise(x, (attacked - x).flatten(1).norm(dim=1), seed=1, box=_PIXELS)
    images = (x, attacked, noisy)
    return NamingUnderAttack(*(naming.accuracy(some) for some in images),
                             *(float(naming.losses(some).mean().detach()) for some in images))
