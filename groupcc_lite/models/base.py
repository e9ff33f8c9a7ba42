"""A base model: a network that ends at one layer, with its preprocessing and its geometry, as one type.

RGB images in [0, 1] go in (or images with other channels, where a network wants them), the layer's grid of activations
comes out, wherever the network came from and however the layer is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, fx, nn

from groupcc_lite.models.cut import FAILURES, does_not_run, noise
from groupcc_lite.models.geometry import (
    DisagreeingGeometry,
    Geometry,
    NominalGeometry,
    UnclearGeometry,
    anchor,
    check_geometry,
    check_places,
    derive_geometry,
    derive_places,
    measure_geometry,
)
from groupcc_lite.models.grids import ChannelsLast, NoPlaces, OnGrid, TokenGrid, recognised
from groupcc_lite.models.reading import StoppedNetwork, common_pass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preprocess:
    """What a network expects: (images * scale - mean) / std, with the channels in the order of `channels`.

    There are as many channels as numbers in `mean` and `std`; "RGB" is for three, and says nothing for others.

    >>> Preprocess(mean=(0.5,), std=(0.25,)).count
    1
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: str = "RGB"

    @property
    def count(self) -> int:
        """How many channels images have."""
        return len(self.mean)


GREY = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the grey that a network with one channel is shown (ITU-R BT.601)."""


class BaseModel(nn.Module):
    """A frozen network up to one layer: RGB images (b, 3, S, S) in [0, 1] -> activations (b, d, h, w).

    Attributes: `name`, `layer`, `channels` (d), `input_channels`, `input_size` (S), `geometry`, `fingerprint` (sha256
    of the weights, the layers and their settings, the preprocessing and the input size: the model's content address).
    `geometry.nominal` says whether cells see more than squares of their own: tokens of a transformer, and cells behind
    squeeze-and-excitation. A network with one channel takes grey images, and RGB images, which it sees in grey.
    Gradients with respect to the images flow; the weights are frozen. Runs under bf16 autocast. Make one with
    `load_model` or `wrap_model`; it is on the device of the network.

    >>> from groupcc_lite.models import load_model
    >>> model = load_model(weights="random")
    >>> model.layer, model.input_size, model.at_size(64)(torch.rand(2, 3, 64, 64)).shape
    ('mixed3b', 96, torch.Size([2, 120, 16, 16]))
    """

    def __init__(self, network: nn.Module, *, name: str, layer: str, input_size: int, preprocess: Preprocess,
                 grid: TokenGrid | ChannelsLast | None = None):
        super().__init__()
        self.name, self.layer, self.input_size, self.preprocess = name, layer, input_size, preprocess
        self.input_channels: int = preprocess.count
        network = network.eval().requires_grad_(False)
        if not any(tensor.ndim == 5 for tensor in (*network.parameters(), *network.buffers())):  # torch refuses these
            network = network.to(memory_format=torch.channels_last)
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (preprocess.mean, preprocess.std))
        device = anchor(network).device
        self.register_buffer("_gain", (preprocess.scale / std).to(device), persistent=False)
        self.register_buffer("_shift", (-mean / std).to(device), persistent=False)
        self.network: nn.Module = _on_grid(network, grid, f"{name}/{layer}", input_size, self.input_channels)
        self.geometry: Geometry = _geometry_of(self.network, input_size, self.input_channels)
        if isinstance(self.geometry, NominalGeometry):
            if not isinstance(grid, TokenGrid):  # whoever says how tokens lie is believed
                check_places(self.network, self.geometry, channels=self.input_channels)
            log.warning("%s/%s: cells see more than squares of their own; %s says where they sit and no more", name,
                        layer, self.geometry)
        with torch.no_grad():
            blank = torch.zeros(1, self.input_channels, input_size, input_size).to(anchor(self.network))
            self.channels: int = self.network(blank).shape[1]
        self.fingerprint: str = self._fingerprint()

    @property
    def device(self) -> torch.device:
        """Where images must be."""
        return self._gain.device

    def forward(self, images: Tensor, *, checked: bool = False) -> Float[Tensor, "b d h w"]:
        """Activations of the layer. ValueError for another shape, for NaN or infinity, and for bytes.

        `checked` says that the values were looked at before, as `check_values` does; the host then waits for nothing.
        """
        return self.network(self._prepared(images, checked))

    def _prepared(self, images: Tensor, checked: bool) -> Tensor:
        """What the network itself reads; errors as by `forward`."""
        size, count = self.input_size, self.input_channels
        fitting = images.ndim == 4 and (images.shape[1] == count or (images.shape[1], count) == (3, 1))
        if not fitting or tuple(images.shape[2:]) != (size, size) or not len(images):
            raise ValueError(f"images have shape {tuple(images.shape)}; {self.name} expects (b, {count}, {size}, "
                             f"{size}) with b > 0. For another image size use model.at_size(size)")
        if not checked:
            self.check_values(images)
        if images.shape[1] != count:
            images = sum(weight * images[:, [channel]] for channel, weight in enumerate(GREY))
        if self.preprocess.channels == "BGR":
            images = images.flip(1)
        return torch.addcmul(self._shift, images.contiguous(memory_format=torch.channels_last), self._gain)

    def check_values(self, images: Tensor) -> None:
        """ValueError for NaN, infinity, and values far from [0, 1] such as bytes; the host waits for the device once.

        Images of any size: whoever makes many views of one image need look at that image only.
        """
        if not self.values_fit(images):  # one read back to the host
            low, high = torch.aminmax(images.detach())
            raise ValueError(f"images hold values from {float(low)} to {float(high)}; expected finite RGB values in "
                             "[0, 1]")

    @staticmethod
    def values_fit(images: Tensor) -> Bool[Tensor, ""]:
        """Whether `check_values` passes, as a flag on the images' device, for which nobody waits."""
        low, high = torch.aminmax(images.detach())
        return (low > -10) & (high < 10)  # NaN fails both

    def usable_size(self, size: int) -> int:
        """`size`, or `input_size` for a network that takes no other images, as many transformers do.

        >>> from groupcc_lite.models import load_model
        >>> load_model().usable_size(48)
        48
        """
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # a traced network prints where it failed
                self.at_size(size)
        except ValueError as error:
            log.info("%s draws pictures of %d px and not of %d: %s", self.name, self.input_size, size, error)
            return self.input_size
        return size

    def at_size(self, input_size: int) -> BaseModel:
        """The same network for square images of another size; weights are shared, the geometry is new.

        ValueError for a size that the network does not take: transformers often have one only.
        """
        network, grid = self.network, None
        if isinstance(network, OnGrid):
            network, grid = network.network, network.grid
        model = BaseModel(network, grid=grid, name=self.name, layer=self.layer, input_size=input_size,
                          preprocess=self.preprocess)
        return model.to(self.device)

    def train(self, mode: bool = True) -> BaseModel:
        """A base model stays in evaluation mode, whatever module it becomes a part of."""
        return super().train(False)

    def extra_repr(self) -> str:
        return f"{self.name}, layer={self.layer}, {self.channels} channels, {self.geometry}"

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.layer, self.input_size, asdict(self.preprocess))).encode())
        for part in self.network.modules():
            if isinstance(part, fx.GraphModule):
                digest.update(str(part.graph).encode())
            elif isinstance(part, StoppedNetwork):  # no graph says what it computes
                digest.update(part.description().encode())
        # The graph only names its layers; what they are, such as the kind and size of a pooling, is in their repr.
        digest.update(f"{nn.Module.__repr__(self.network)} {self.geometry!r}".encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().double().numpy().tobytes())
        return digest.hexdigest()


def read_together(models: Sequence[BaseModel]) -> Callable[[Tensor], list[Float[Tensor, "b d h w"]]]:
    """What several base models make of the same images; layers of one network in one pass, as far as it can be had.

    The images' values are not looked at (`BaseModel.check_values`). Where there is no common pass, as for different
    networks and for a mixture of cuts and hooks, every model runs by itself.

    >>> from groupcc_lite.models import load_model
    >>> models = [load_model(layer=layer) for layer in ("conv2d2", "mixed3b")]
    >>> [tuple(grid.shape) for grid in read_together(models)(torch.rand(1, 3, 96, 96))]
    [(1, 48, 24, 24), (1, 120, 24, 24)]
    """
    first, *others = models
    alike = all(_reads_like(model) == _reads_like(first) for model in others)
    run = None
    if others and alike:
        networks = [model.network.network if isinstance(model.network, OnGrid) else model.network for model in models]
        images = noise(first.network, first.input_size, first.input_channels)
        run = common_pass(networks, first._prepared(images, checked=True))
    if run is None:
        return lambda images: [model(images, checked=True) for model in models]

    def read(images: Tensor) -> list[Tensor]:
        found = run(first._prepared(images, checked=True))
        return [model.network.grid.as_grid(output, model.input_size) if isinstance(model.network, OnGrid) else output
                for model, output in zip(models, found, strict=True)]

    return read


def _reads_like(model: BaseModel) -> tuple[Any, ...]:
    """What models must have in common to be shown the same tensor."""
    return model.preprocess, model.input_size, model.device, anchor(model.network).dtype


def _on_grid(network: nn.Module, grid: TokenGrid | ChannelsLast | None, what: str, input_size: int,
             channels: int) -> nn.Module:
    """The network with its output as a grid: as told, as recognised, or as it is. ValueError for layers without one."""
    images = noise(network, input_size, channels, count=2)
    try:
        with torch.no_grad():
            output = network(images)
    except FAILURES as error:
        raise does_not_run(network, images, error) from error
    if not isinstance(output, Tensor):
        raise ValueError(f"{what}: the layer gives a {type(output).__name__}; expected one tensor")
    try:
        grid = grid or recognised(network, output, input_size)
        if grid is not None:
            grid.as_grid(output, input_size)
    except NoPlaces as error:
        raise ValueError(f"{what} {error}; choose an earlier layer{_why(network, input_size, channels)}") from error
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    return network if grid is None else OnGrid(network, grid, input_size)


def _why(network: nn.Module, input_size: int, channels: int) -> str:
    """The operation after which there are no places, if the network's graph tells."""
    try:
        derive_geometry(network, input_size, channels=channels)
    except UnclearGeometry as unclear:
        return f" ({unclear})"
    except Exception:  # tracing fails in any way; the sentence is complete without
        return ""
    return ""


def _geometry_of(network: nn.Module, input_size: int, channels: int) -> Geometry:
    """Derived from the layers if they are known ones and the impulse test agrees, else measured and tested as well.

    Nominal for tokens, and where cells see as much as there is: by the layers that do have a place, or evenly spaced.
    """
    if isinstance(network, OnGrid) and isinstance(network.grid, TokenGrid):
        return network.grid.geometry(input_size)
    try:
        if any(isinstance(part, StoppedNetwork) for part in network.modules()):
            raise UnclearGeometry("the layer is read by a hook, which does not show what leads to it")
        geometry = derive_geometry(network, input_size, channels=channels)
        check_geometry(network, geometry, channels=channels)
    except (UnclearGeometry, DisagreeingGeometry) as unclear:
        try:
            geometry = measure_geometry(network, input_size, channels=channels)
            check_geometry(network, geometry, channels=channels)
        except ValueError as unmeasured:
            if isinstance(unclear, UnclearGeometry) and isinstance(unmeasured, UnclearGeometry | DisagreeingGeometry):
                return _nominal(network, input_size, channels)
            raise ValueError(f"{unclear}. Measured: {unmeasured}") from unclear
        if isinstance(unclear, DisagreeingGeometry):
            log.warning("%s. Measured, and used from here on: %s", unclear, geometry)
        else:
            log.info("%s. Measured instead of derived: %s", unclear, geometry)
    return geometry


def _nominal(network: nn.Module, input_size: int, channels: int) -> NominalGeometry:
    """Places by the layers that have one, else cells spread evenly; ValueError where they are no even grid."""
    if not any(isinstance(part, StoppedNetwork) for part in network.modules()):
        try:
            return derive_places(network, input_size, channels=channels)
        except UnclearGeometry as unclear:
            log.info("places are taken to be spread evenly: %s", unclear)
    with torch.no_grad():
        side = network(noise(network, input_size, channels)).shape[-1]
    if input_size % side:
        raise ValueError(f"cells see more than a square of their own, and {side} cells do not divide {input_size} px: "
                         f"where they sit cannot be told; choose an input_size that is a multiple of {side}")
    return TokenGrid(input_size // side).geometry(input_size)
