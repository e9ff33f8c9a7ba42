"""Small changes of an input that raise a loss, within an L2 ball: many steps, one step, and noise as the control.

The libraries that are kept for this (torchattacks, foolbox, ART, adv-lib) attack classifiers of images in [0, 1] from
their labels, and none takes a loss of its own on many models at once, each with its own radius, so these are our lines.

Throughout, `loss` maps inputs to one loss for each sample: its result has the leading dimensions of x, (batch,) for
images or (models, batch) for a stack of models, and what is left of x is one sample. Its samples must not depend on
each other. `eps`, the radius in the units of x, is a number or a tensor that fits those leading dimensions.

Source of the many-step attack: Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
Radius = float | Tensor


def relative_radius(x: Tensor, share: float, *, lead: int = 1) -> Tensor:
    """eps as a share of the mean norm of samples: one number for all of x, or for each model in x.

    `lead` is how many leading dimensions are not the sample's: 1 for (batch, ...), 2 for (models, batch, ...), whose
    result is (models, 1). The mean is over the batch. ValueError for a negative share or a `lead` that does not fit.

    >>> relative_radius(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), 0.1)
    tensor(0.3000)
    >>> relative_radius(torch.ones(5, 7, 4), 0.1, lead=2).shape
    torch.Size([5, 1])
    """
    if not 0 <= share < math.inf or not 1 <= lead < x.ndim:
        raise ValueError(f"share is {share} and lead {lead} for x of {x.ndim} dimensions; expected a share from 0 and "
                         "1 or more leading dimensions, with at least one left for the sample")
    return share * x.flatten(lead).norm(dim=-1).mean(-1, keepdim=lead > 1)


def pgd(loss: Loss, x: Tensor, eps: Radius, *, steps: int = 20, restarts: int = 1, seed: int = 0,
        box: tuple[float, float] | None = None) -> Tensor:
    """Attacked inputs x + delta, ||delta||_2 <= eps: projected gradient ascent, `steps` steps from each start.

    The first start is x plus noise of norm eps / 10, since at a minimum of the loss there is no gradient to follow;
    others are uniform directions of norm eps. Steps follow the direction of the gradient, by eps at first and less and
    less towards the end; where there is no gradient they go the other way than the start. Each sample keeps the best
    point that it met, x itself among them: the loss never falls, and with more restarts it only rises. `box`: an
    interval of pixel values, in which x must lie and then stays. The same `seed` gives the same attack. ValueError for
    settings that do not fit.

    >>> x, w = torch.ones(2, 2), torch.tensor([3.0, 4.0])
    >>> attacked = pgd(lambda x: x @ w, x, eps=0.5)  # at best along w: 0.5 ||w|| = 2.5
    >>> [round(float(gain), 3) for gain in (attacked - x) @ w]
    [2.5, 2.5]
    """
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps is {steps} and restarts {restarts}; expected at least 1 of each")
    best_loss = _losses(loss, x, box)
    lead = best_loss.ndim
    eps = _radius(eps, x, lead)
    best, generator = x.detach().clone(), torch.Generator().manual_seed(seed)
    for start in range(restarts):
        away = _directions(x, lead, generator)
        point = _inside(x, away * eps * (1.0 if start else 0.1), eps, lead, box)
        for step in range(steps):
            found, slope = _slope(loss, point)
            best, best_loss = _better(best, best_loss, point, found)
            # Large steps look around, small ones settle on the boundary; half a cosine goes from one to the other.
            length = 0.5 * (1 + math.cos(math.pi * step / steps))
            # On a plateau, as behind a ReLU, go the other way than the start.
            uphill = torch.where(_norm(slope, lead) > 0, _unit(slope, lead), -away)
            point = _inside(x, point - x + length * eps * uphill, eps, lead, box)
        with torch.no_grad():
            best, best_loss = _better(best, best_loss, point, loss(point))
    return best


def gradient_step(loss: Loss, x: Tensor, eps: Radius, *, box: tuple[float, float] | None = None) -> Tensor:
    """x + eps g / ||g||, g the gradient of a sample's loss: one step, exact for a loss that is linear.

    Where there is no gradient x is left alone. Arguments as for `pgd`.

    >>> gradient_step(lambda x: x @ torch.tensor([3.0, 4.0]), torch.zeros(1, 2), eps=0.5)
    tensor([[0.3000, 0.4000]])
    """
    found, slope = _slope(loss, x.detach())
    lead = found.ndim
    _losses(lambda _: found, x, box)
    eps = _radius(eps, x, lead)
    return _inside(x, eps * _unit(slope, lead), eps, lead, box)


def random_noise(x: Tensor, eps: Radius, *, lead: int = 1, seed: int = 0,
                 box: tuple[float, float] | None = None) -> Tensor:
    """x plus noise of norm eps in a uniform direction: what an attack of that norm has to be compared with.

    For the norms that an attack really used give `eps=(attacked - x).flatten(1).norm(dim=1)`. `lead` as for
    `relative_radius`. In a `box` pixels are clipped, so that the norm may be smaller. ValueError as for `pgd`.

    >>> noisy = random_noise(torch.zeros(4, 3, 8, 8), eps=0.5)
    >>> noisy.flatten(1).norm(dim=1)
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    _check_box(x, box)
    eps = _radius(eps, x, lead)
    return _inside(x, eps * _directions(x, lead, torch.Generator().manual_seed(seed)), eps, lead, box)


def _losses(loss: Loss, x: Tensor, box: tuple[float, float] | None) -> Tensor:
    """Loss of each sample of x, checked."""
    _check_box(x, box)
    with torch.no_grad():
        found = loss(x)
    if not 0 < found.ndim < x.ndim or found.shape != x.shape[:found.ndim]:
        raise ValueError(f"the loss has shape {tuple(found.shape)} for x of shape {tuple(x.shape)}; expected one loss "
                         "for each sample: x's shape without the last dimensions")
    return found


def _check_box(x: Tensor, box: tuple[float, float] | None) -> None:
    if box is not None and not (box[0] <= x.min() and x.max() <= box[1]):
        raise ValueError(f"x goes from {x.min():.4g} to {x.max():.4g}; expected values in the box {box}")


def _radius(eps: Radius, x: Tensor, lead: int) -> Tensor:
    """eps in a shape that multiplies x."""
    eps = torch.as_tensor(eps, dtype=x.dtype, device=x.device).detach()
    if not bool(((eps >= 0) & torch.isfinite(eps)).all()):
        raise ValueError(f"eps is {eps.tolist()}; expected a radius from 0")
    return eps.expand(x.shape[:lead])[(...,) + (None,) * (x.ndim - lead)]


def _slope(loss: Loss, point: Tensor) -> tuple[Tensor, Tensor]:
    """Losses at a point, and the gradient of each with respect to its own sample."""
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        found = loss(point)
        (slope,) = torch.autograd.grad(found.sum(), point)
    return found.detach(), slope


def _norm(vectors: Tensor, lead: int) -> Tensor:
    norms = vectors.flatten(lead).norm(dim=-1)
    return norms[(...,) + (None,) * (vectors.ndim - lead)]


def _unit(vectors: Tensor, lead: int) -> Tensor:
    """Each sample at length 1; zero stays zero."""
    # Gradients of confident classifiers underflow when they are squared: scale by the largest entry first.
    largest = vectors.flatten(lead).abs().amax(-1)[(...,) + (None,) * (vectors.ndim - lead)]
    vectors = torch.where(largest > 0, vectors / largest, 0.0)
    return vectors / _norm(vectors, lead).clamp(min=1.0)


def _directions(x: Tensor, lead: int, generator: torch.Generator) -> Tensor:
    return _unit(torch.randn(x.shape, generator=generator).to(x), lead)


def _inside(x: Tensor, delta: Tensor, eps: Tensor, lead: int, box: tuple[float, float] | None) -> Tensor:
    """x + delta, with delta cut to the ball. Clipping to a box that x lies in shortens delta only."""
    norm = _norm(delta, lead)
    moved = x + delta * torch.where(norm > eps, eps / norm, 1.0)
    return (moved if box is None else moved.clamp(*box)).detach()


def _better(best: Tensor, best_loss: Tensor, point: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    higher = found > best_loss
    return torch.where(higher[(...,) + (None,) * (best.ndim - higher.ndim)], point, best), best_loss.maximum(found)
