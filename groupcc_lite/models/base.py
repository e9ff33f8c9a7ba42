"""A base model: a network that ends at one layer, with its preprocessing and its geometry, as one type.

RGB images in [0, 1] go in, the layer's grid of activations comes out, wherever the network came from.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from groupcc_lite.models.geometry import (
    DisagreeingGeometry,
    Geometry,
    UnclearGeometry,
    anchor,
    check_geometry,
    derive_geometry,
    measure_geometry,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preprocess:
    """What a network expects: (images * scale - mean) / std, with the channels in the order of `channels`."""

    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: str = "RGB"


class BaseModel(nn.Module):
    """A frozen network up to one layer: RGB images (b, 3, S, S) in [0, 1] -> activations (b, d, h, w).

    Attributes: `name`, `layer`, `channels` (d), `input_size` (S), `geometry`, `fingerprint` (sha256 of the
    weights, the layers and their settings, the preprocessing and the input size: the model's content address).
    Gradients with respect to the images flow; the weights are frozen. Runs under bf16 autocast. Make one with
    `load_model` or `wrap_model`; it is on the device of the network.

    >>> from groupcc_lite.models import load_model
    >>> model = load_model(weights="random")
    >>> model.layer, model.input_size, model.at_size(64)(torch.rand(2, 3, 64, 64)).shape
    ('mixed3b', 96, torch.Size([2, 120, 16, 16]))
    """

    def __init__(self, network: fx.GraphModule, *, name: str, layer: str, input_size: int,
                 preprocess: Preprocess):
        super().__init__()
        self.name, self.layer, self.input_size, self.preprocess = name, layer, input_size, preprocess
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        mean, std = torch.tensor(preprocess.mean).view(1, 3, 1, 1), torch.tensor(preprocess.std).view(1, 3, 1, 1)
        device = anchor(self.network).device
        self.register_buffer("_gain", (preprocess.scale / std).to(device), persistent=False)
        self.register_buffer("_shift", (-mean / std).to(device), persistent=False)
        self.geometry: Geometry = _geometry_of(self.network, input_size)
        with torch.no_grad():
            blank = torch.zeros(1, 3, input_size, input_size).to(anchor(self.network))
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
        size = self.input_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size) or not len(images):
            raise ValueError(f"images have shape {tuple(images.shape)}; {self.name} expects (b, 3, {size}, {size}) "
                             "with b > 0. For another image size use model.at_size(size)")
        if not checked:
            self.check_values(images)
        if self.preprocess.channels == "BGR":
            images = images.flip(1)
        ready = torch.addcmul(self._shift, images.contiguous(memory_format=torch.channels_last), self._gain)
        return self.network(ready)

    def check_values(self, images: Tensor) -> None:
        """ValueError for NaN, infinity, and values far from [0, 1] such as bytes; the host waits for the device once.

        Images of any size: whoever makes many views of one image need look at that image only.
        """
        low, high = torch.aminmax(images.detach())
        if not ((low > -10) & (high < 10)):  # one read back to the host; NaN fails both
            raise ValueError(f"images hold values from {float(low)} to {float(high)}; expected finite RGB values in "
                             "[0, 1]")

    def at_size(self, input_size: int) -> BaseModel:
        """The same network for square images of another size; weights are shared, the geometry is new."""
        model = BaseModel(self.network, name=self.name, layer=self.layer, input_size=input_size,
                          preprocess=self.preprocess)
        return model.to(self.device)

    def train(self, mode: bool = True) -> BaseModel:
        """A base model stays in evaluation mode, whatever module it becomes a part of."""
        return super().train(False)

    def extra_repr(self) -> str:
        return f"{self.name}, layer={self.layer}, {self.channels} channels, {self.geometry}"

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.layer, self.input_size, asdict(self.preprocess))).encode())
        digest.update(str(self.network.graph).encode())
        # The graph only names its layers; what they are, such as the kind and size of a pooling, is in their repr.
        digest.update(f"{nn.Module.__repr__(self.network)} {self.geometry!r}".encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().double().numpy().tobytes())
        return digest.hexdigest()


def _geometry_of(network: nn.Module, input_size: int) -> Geometry:
    """Derived from the layers if they are known ones and the impulse test agrees, else measured and tested as well."""
    try:
        geometry = derive_geometry(network, input_size)
        check_geometry(network, geometry)
    except (UnclearGeometry, DisagreeingGeometry) as unclear:
        try:
            geometry = measure_geometry(network, input_size)
            check_geometry(network, geometry)
        except ValueError as unmeasured:
            raise ValueError(f"{unclear}. Measured: {unmeasured}") from unclear
        if isinstance(unclear, DisagreeingGeometry):
            log.warning("%s. Measured, and used from here on: %s", unclear, geometry)
    return geometry
