"""Feature visualisation: images that excite a feature as much as possible (Olah et al. 2017), with Lucent.

The parts are Lucent's: an image is made from Fourier coefficients in decorrelated colours, pushed through small random
shifts, scalings and rotations, and improved by gradient ascent on an objective. The loop around them is ours. Lucent's
own `render_vis` draws one objective at a time, leaves its hooks on the model and hides errors of the forward pass; here
many features are drawn in one batch, nothing is hooked, and an error is an error.

A group crosscoder reads only the untransformed activation, so a feature is drawn from its encoder direction alone
(Gorton 2024, section 2.3.3): the objective is its dot product with the activation of the grid's central cell.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Float
from safetensors.numpy import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from groupcc_lite.base import atomic_path, digest, progress_bar, require
from groupcc_lite.models import BaseModel

PICTURE_FORMAT = 2
"""Of drawn features. Raise it when the same settings give other images; kept ones are then drawn again."""
_JITTER = (8, 4)  # largest shifts in pixels, before and after scaling and rotating
_SCALES = tuple(1 + (i - 5) / 50 for i in range(11))
_ANGLES = (*range(-5, 6), 0, 0, 0, 0, 0)  # degrees; small, since orientation is what we look at


def render_features(model: BaseModel, directions: Float[Tensor, "k d"], *, size: int = 96, steps: int = 128,
                    batch: int = 16, seed: int = 0, lr: float = 0.05, negative: bool = False,
                    folder: str | Path | None = None, progress: bool = True) -> Float[np.ndarray, "k s s 3"]:
    """One image per direction in the layer's activations, RGB in [0, 1] in steps of 1/255.

    `size` in pixels, `steps` of Adam with rate `lr` on the direction's dot product with the central activation.
    `negative` draws what a direction responds to least. Images do not depend on the batch they are drawn in, and
    global random states are left as they were. With a `folder`, finished batches are kept there and not drawn again.
    ValueError for directions that do not fit the model, and for sizes and counts below 1.

    >>> from groupcc_lite.models import load_model
    >>> model = load_model(layer="conv2d0")
    >>> render_features(model, torch.eye(model.channels)[:2], size=24, steps=1, progress=False).shape
    (2, 24, 24, 3)
    """
    settings = dict(size=size, steps=steps, seed=seed, lr=lr, negative=negative)
    directions = _checked(model, directions, size=size, steps=steps, batch=batch)
    model = model if size == model.input_size else model.at_size(size)
    images = []
    total = len(directions) * (steps + 1)
    with progress_bar(progress, total=total, unit="step", desc="feature visualisation") as bar:
        for part in directions.split(batch):
            path = None if folder is None else Path(folder) / f"{_name(model, part, settings)}.safetensors"
            if path is not None and path.is_file():
                images.append(load_file(path)["images"])
                bar.update(len(part) * (steps + 1))
                continue
            signed = -part if negative else part
            for frame in _ascend(model, signed, size, steps, seed, lr):
                last = frame
                bar.update(len(part))
            images.append(_as_bytes(last))
            if path is not None:
                with atomic_path(path) as temporary:
                    save_file({"images": images[-1]}, temporary)
    return np.concatenate(images).astype(np.float32) / 255


def render_steps(model: BaseModel, direction: Float[Tensor, " d"], at: Sequence[int], *, size: int = 96, seed: int = 0,
                 lr: float = 0.05, robust: bool = True, fourier: bool = True,
                 decorrelate: bool = True) -> Float[np.ndarray, "k s s 3"]:
    """One feature on its way from noise: the images after the steps `at` (increasing; 0 is the noise itself).

    `robust`, `fourier` and `decorrelate` switch off the random transformations, the Fourier parameterisation and the
    decorrelated colours, to see what each of them is good for.

    >>> from groupcc_lite.models import load_model
    >>> model = load_model(layer="conv2d0")
    >>> render_steps(model, torch.eye(model.channels)[0], at=[0, 2], size=24).shape
    (2, 24, 24, 3)
    """
    if not at or list(at) != sorted(set(at)) or at[0] < 0:
        raise ValueError(f"at is {list(at)}; expected increasing numbers of steps, from 0 on")
    part = _checked(model, direction[None], size=size, steps=max(at[-1], 1), batch=1)
    model = model if size == model.input_size else model.at_size(size)
    frames = _ascend(model, part, size, at[-1], seed, lr, robust=robust, fourier=fourier, decorrelate=decorrelate)
    kept = [_as_bytes(frame) for step, frame in enumerate(frames) if step in at]
    return np.concatenate(kept).astype(np.float32) / 255


@torch.no_grad()
def picture_responses(model: BaseModel, images: Float[np.ndarray, "b s s 3"],
              directions: Float[Tensor, "k d"]) -> Float[Tensor, "b k"]:
    """What the objective says about finished images: each direction's dot product at the central cell.

    >>> from groupcc_lite.models import load_model
    >>> model = load_model(layer="conv2d0")
    >>> picture_responses(model, np.full((1, 24, 24, 3), 0.5, dtype=np.float32), torch.eye(model.channels)[:5]).shape
    torch.Size([1, 5])
    """
    size = images.shape[1]
    directions = _checked(model, directions, size=size, steps=1, batch=1)
    model = model if size == model.input_size else model.at_size(size)
    pixels = torch.as_tensor(rearrange(images, "b h w c -> b c h w").copy()).to(directions)
    return torch.cat([central_activation(model, part) @ directions.T for part in pixels.split(16)]).cpu()


def central_activation(model: BaseModel, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
    """The activation of the cell whose centre is nearest to the image centre."""
    cell = model.geometry.centre_cell
    return model(images)[:, :, cell, cell]


def _ascend(model: BaseModel, directions: Float[Tensor, "k d"], size: int, steps: int, seed: int, lr: float,
            robust: bool = True, fourier: bool = True, decorrelate: bool = True) -> Iterator[Tensor]:
    """Gradient ascent; yields the image before the first step and after every step."""
    with _own_randomness(seed):
        # All features start from the same noise and meet the same shifts, so that a feature's image is its own.
        parameters, image = _parameterisation(len(directions), size, seed, fourier, decorrelate)
    transform = _transform(size) if robust else (lambda images: images)
    optimiser = torch.optim.Adam(parameters, lr=lr)
    yield image().detach()
    for step in range(steps):
        # Seeded for each step, not once: the caller's code runs between the steps and may draw numbers too.
        with _own_randomness(seed + 1_000_003 * (step + 1)):
            seen = transform(image()).to(directions.device)
        with _GradientsThroughDeadUnits():
            activation = central_activation(model, seen)
        objective = einsum(activation, directions, "k d, k d -> ")
        optimiser.zero_grad()
        (-objective).backward()
        optimiser.step()
        yield image().detach()


def _parameterisation(count: int, size: int, seed: int, fourier: bool,
                      decorrelate: bool) -> tuple[list[Tensor], Callable[[], Tensor]]:
    param = _lucent("param")
    parameters, image = param.image(size, batch=count, fft=fourier, decorrelate=decorrelate)
    with torch.no_grad():
        parameters[0].copy_(parameters[0][:1].clone().expand_as(parameters[0]))
    return parameters, image


def _transform(size: int) -> Callable[[Tensor], Tensor]:
    """Lucent's transformations, then the window that sees the image in its middle on average.

    Lucent's jitter shifts by 0 to d - 1 pixels, always right and down; without a correction every feature would be
    drawn off the centre by the mean shift.
    """
    transform = _lucent("transform")
    first, second = _JITTER
    shift = (first - 1 + second - 1) // 2
    steps = [transform.pad(_padding(size), mode="constant", constant_value=0.5), transform.jitter(first),
             transform.random_scale(list(_SCALES)), transform.random_rotate(list(_ANGLES)), transform.jitter(second)]

    def window(images: Tensor) -> Tensor:
        top = (images.shape[-1] - size) // 2 + shift
        return images[..., top:top + size, top:top + size]

    return transform.compose([*steps, window])


def _padding(size: int) -> int:
    """Pixels of grey around an image of `size` pixels, so that nothing black comes into the window.

    Lucent fills with black what its shifts, rotations and scalings down leave empty. The window's corner, turned by 5
    degrees and scaled down by 0.9, is read at (cos 5 + sin 5) / 0.9 = 1.204 times its distance from the centre, which
    takes 0.102 pixels of padding for each pixel of `size`; the shifts and the interpolation take 9 more. At 48 px and
    below the 12 px of Lucent's own default do: the worst corner is then off by less than 1 % of a grey level's range.
    """
    return 12 if size <= 48 else math.ceil(0.102 * size + 9)


def _lucent(module: str) -> Any:
    """A module of lucent.optvis; imported late, because it imports kornia, which takes seconds and warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated")
        return require(f"lucent.optvis.{module}", "pictures")


class _RedirectedReLU(torch.autograd.Function):
    """A ReLU whose gradient also reaches units that are off, for those images to which it would give none at all.

    Noise often leaves the units of a direction off; their gradient is zero, and the image would stay noise. As in
    Lucid, a gradient that pushes such units up is let through; Lucid and Lucent decide for a whole batch, here each
    image decides for itself.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        passed = gradient * (x > 0)
        stuck = (passed.flatten(1) == 0).all(1)
        if stuck.any():  # the loss is minimised, so a negative gradient pushes up
            upward = torch.where((x > 0) | (gradient < 0), gradient, 0.0)
            passed = torch.where(stuck.view(-1, *[1] * (x.ndim - 1)), upward, passed)
        return passed


class _GradientsThroughDeadUnits(TorchFunctionMode):
    """Inside this context every ReLU is a `_RedirectedReLU`; the model itself is not touched."""

    def __torch_function__(self, function: Any, types: Any, arguments: tuple = (), keywords: dict | None = None) -> Any:
        if function in (torch.nn.functional.relu, torch.relu, Tensor.relu):
            return _RedirectedReLU.apply(arguments[0] if arguments else keywords["input"])
        return function(*arguments, **(keywords or {}))


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators that Lucent draws from (torch's on the CPU and NumPy's), and put them back."""
    states = torch.get_rng_state(), np.random.get_state()
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])


def _as_bytes(images: Float[Tensor, "k 3 s s"]) -> np.ndarray:
    return (rearrange(images, "k c h w -> k h w c") * 255).round().to(torch.uint8).cpu().numpy()


def _name(model: BaseModel, directions: Tensor, settings: dict[str, Any]) -> str:
    return digest([PICTURE_FORMAT, model.fingerprint, settings, directions.double().cpu().numpy().tobytes().hex()])


def _checked(model: BaseModel, directions: Tensor, **counts: int) -> Tensor:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    if directions.ndim != 2 or directions.shape[1] != model.channels or not len(directions):
        raise ValueError(f"directions have shape {tuple(directions.shape)}; expected (k, {model.channels}), one vector "
                         f"in the activations of {model.name}'s {model.layer} per feature, k > 0")
    if not directions.isfinite().all() or (directions == 0).all(1).any():
        raise ValueError("a direction is zero, NaN or infinite; nothing can be drawn for it")
    return directions.detach().to(device=model.device, dtype=torch.float32)
