"""Where a cell of an activation grid looks: stride, first centre and receptive field of a network's layer.

A grid of activations is *not* centred on the image. Strides and paddings push it a few pixels to one side,
and a rotation about the wrong centre misplaces every point. So points live in pixels from the image centre (x
right, y down) and become cell coordinates only when an activation is read. `derive_geometry` computes the
numbers from the network's layers with `torch.fx`; `check_geometry` then tests them on the running network,
because a derivation can be wrong.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn


@dataclass(frozen=True)
class Geometry:
    """Cell k of a square grid is centred on pixel `first + stride * k` and sees `receptive_field` pixels there.

    All lengths are in input pixels; pixel i has its centre at coordinate i. The image centre is (input_size -
    1) / 2.

    >>> geometry = Geometry(stride=8, first=6.0, receptive_field=91, input_size=224, grid=28)  # GoogLeNet, mixed3b
    >>> geometry.image_centre, geometry.max_mask_radius, geometry.read_reach
    (111.5, 66.5, 7.0)
    >>> geometry.cells(torch.tensor([0.0, 0.0])).tolist()  # the image centre is no cell's centre
    [13.1875, 13.1875]
    """

    stride: int
    first: float
    receptive_field: int
    input_size: int
    grid: int

    @property
    def nominal(self) -> bool:
        """Whether cells see more than a square of their own, so that only their places are known."""
        return False

    @property
    def image_centre(self) -> float:
        """Coordinate of the image centre: 111.5 for 224 pixels."""
        return (self.input_size - 1) / 2

    @property
    def centre_offset(self) -> float:
        """How far the middle of the grid lies from the middle of the image, in pixels (along x and y)."""
        return self.first + self.stride * (self.grid - 1) / 2 - self.image_centre

    @property
    def max_mask_radius(self) -> float:
        """Largest distance from the image centre at which a receptive field centred on the point lies in the input.

        A *cell* within this radius sees no padding. A *read* at a point between cells takes up to four cells, of which
        the outer ones may be centred nearly one stride further out: by `read_reach` pixels they do see padding.
        Negative when the receptive field is larger than the input: then every cell sees some.
        """
        return (self.input_size - self.receptive_field) / 2

    @property
    def read_reach(self) -> float:
        """By how many pixels, at most, bilinear reads at points within `max_mask_radius` reach beyond the input.

        Of the cells that such a read takes with a weight above 0, the outermost one decides: its receptive field sticks
        out of the input by 0 to just under `stride` pixels on one side. With a negative radius this is for the read at
        the image centre alone.
        """
        half, radius = (self.receptive_field - 1) / 2, max(self.max_mask_radius, 0)
        low = math.floor((self.image_centre - radius - self.first) / self.stride)
        high = math.ceil((self.image_centre + radius - self.first) / self.stride)
        low, high = max(low, 0), min(high, self.grid - 1)
        first, last = self.first + self.stride * low - half, self.first + self.stride * high + half
        return max(0.0, -first, last - (self.input_size - 1))

    @property
    def centre_cell(self) -> int:
        """Index (along each axis) of the cell nearest to the image centre."""
        return min(max(round((self.image_centre - self.first) / self.stride), 0), self.grid - 1)

    def cells(self, points: Float[Tensor, "... 2"]) -> Float[Tensor, "... 2"]:
        """Points in pixels from the image centre (x, y) -> cell coordinates (column, row), not rounded."""
        return (points + (self.image_centre - self.first)) / self.stride

    def pixels(self, cells: Float[Tensor, "... 2"]) -> Float[Tensor, "... 2"]:
        """Cell coordinates (column, row) -> pixels from the image centre (x, y); the inverse of `cells`."""
        return cells * self.stride + (self.first - self.image_centre)

    def box(self, cell: int) -> tuple[int, int]:
        """First and last input pixel (along one axis) that a cell can see, clipped to the input."""
        centre, half = self.first + self.stride * cell, (self.receptive_field - 1) / 2
        return max(0, math.floor(centre - half)), min(self.input_size - 1, math.ceil(centre + half))


@dataclass(frozen=True, repr=False)
class NominalGeometry(Geometry):
    """Places of cells that see the whole image, or an unknown part of it: tokens, and cells behind gates or attention.

    Cell k sits at pixel `first + stride * k`, where its patch or its convolutions put it. What it sees is not a square
    there: `receptive_field` is the image, so no mask can keep it inside, and `max_mask_radius` and `read_reach` are
    ValueErrors. How far from the centre points may lie is for the user to say; turned points stay on the grid within
    `grid_radius`.

    >>> places = NominalGeometry(stride=16, first=7.5, receptive_field=224, input_size=224, grid=14)
    >>> places, places.nominal, places.grid_radius, places.box(0)
    (NominalGeometry(stride=16, first=7.5, input_size=224, grid=14; a cell may see all of it), True, 104.0, (0, 223))
    """

    def __repr__(self) -> str:
        return (f"NominalGeometry(stride={self.stride}, first={self.first}, input_size={self.input_size}, "
                f"grid={self.grid}; a cell may see all of it)")

    @property
    def nominal(self) -> bool:
        return True

    @property
    def grid_radius(self) -> float:
        """Largest distance from the image centre at which every point lies between centres of cells."""
        ends = (self.first, self.first + self.stride * (self.grid - 1))
        return max(0.0, min(self.image_centre - ends[0], ends[1] - self.image_centre))

    @property
    def max_mask_radius(self) -> float:
        raise ValueError(f"the geometry is nominal: a cell sees the whole image of {self.input_size} px, so no mask "
                         "keeps what it sees inside; give mask_radius in pixels, at most "
                         f"{self.grid_radius:g} for turned points to stay on the grid")

    @property
    def read_reach(self) -> float:
        raise ValueError("the geometry is nominal: a cell sees the whole image, so reads have no reach beyond it")

    def box(self, cell: int) -> tuple[int, int]:
        return 0, self.input_size - 1


class UnclearGeometry(ValueError):
    """An operation whose place in the image cannot be told from its definition."""


class DisagreeingGeometry(ValueError):
    """The running network looks at other pixels than its geometry says."""


class Span(NamedTuple):
    """Along one axis, cell k of a tensor sees the input pixels stride*k + low ... stride*k + high."""

    stride: int
    low: int
    high: int

    def window(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> Span:
        """After a convolution or pooling window."""
        low = self.low - padding * self.stride
        return Span(self.stride * stride, low, self.high + (dilation * (kernel - 1) - padding) * self.stride)

    def padded(self, before: int) -> Span:
        """After `before` extra cells at the start of the axis (cells shift, nothing new is seen)."""
        return Span(self.stride, self.low - before * self.stride, self.high - before * self.stride)


class Spans(NamedTuple):
    """What a tensor's cells see along both axes, and which of its axes holds the channels: 1, or 3 if they are last."""

    rows: Span
    columns: Span
    channels: int = 1


WHOLE = Spans(Span(1, 0, 0), Span(1, 0, 0))
"""The image itself."""

_POINTWISE_FUNCTIONS: set[Any] = {
    F.relu, F.relu6, F.gelu, F.silu, F.hardswish, F.hardsigmoid, F.leaky_relu, F.elu, F.sigmoid, F.dropout,
    F.local_response_norm, F.batch_norm, F.softplus, F.mish,
    torch.relu, torch.sigmoid, torch.tanh, torch.clamp, torch.add, torch.sub, torch.mul, torch.div, torch.abs,
    torch.sqrt, torch.exp, torch.maximum, torch.minimum, torch.pow, torch.square,
    operator.add, operator.sub, operator.mul, operator.truediv, operator.iadd, operator.imul, operator.neg,
    operator.pow,
}
_POOLS: tuple[Any, ...] = (F.max_pool2d, torch.max_pool2d, F.avg_pool2d)
_SPLITS: tuple[Any, ...] = ("split", "chunk", torch.split, torch.chunk)
_POINTWISE_METHODS = {"add", "add_", "mul", "mul_", "sub", "div", "relu", "relu_", "clamp", "sigmoid", "tanh",
                      "contiguous", "clone", "float", "to", "pow", "square", "sqrt", "abs", "detach"}
_POINTWISE_MODULES: tuple[type[nn.Module], ...] = (
    nn.BatchNorm2d, nn.LocalResponseNorm, nn.Dropout, nn.Dropout2d, nn.Identity, nn.ReLU, nn.ReLU6, nn.GELU,
    nn.SiLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Mish, nn.Softplus, nn.PReLU, nn.Threshold,
)
_WINDOWED_MODULES: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_POOLS_OF_ALL = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_IMAGE_NORMS = (nn.GroupNorm, nn.InstanceNorm2d)
_PADS: tuple[type[nn.Module], ...] = (nn.ConstantPad2d, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d,
                                      nn.CircularPad2d)


class LeafTracer(fx.Tracer):
    """torch.fx tracer that also keeps subclasses of torch's own layers whole, wherever they are defined."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        kept = (*_POINTWISE_MODULES, *_WINDOWED_MODULES)
        return isinstance(module, kept) or super().is_leaf_module(module, qualified_name)


def derive_geometry(network: nn.Module, input_size: int, *, channels: int = 3) -> Geometry:
    """Geometry of the network's output grid for a square input of `input_size` pixels, from its layers.

    `network` maps (b, channels, s, s) to (b, d, h, w) and can be traced by torch.fx. Raises ValueError when an
    operation has no place in the image (flatten, adaptive pooling, resizing ...) or when the result is not
    square.

    >>> derive_geometry(nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()), 32)
    Geometry(stride=2, first=0.0, receptive_field=3, input_size=32, grid=16)
    """
    spans = _square(_through_graph(_graph_of(network), network, WHOLE))
    return Geometry(stride=spans.stride, first=(spans.low + spans.high) / 2,
                    receptive_field=spans.high - spans.low + 1, input_size=input_size,
                    grid=_grid_of(network, input_size, channels))


def derive_places(network: nn.Module, input_size: int, *, channels: int = 3) -> NominalGeometry:
    """Where cells sit when everything that looks at the whole image at once is left out, as `derive_geometry`.

    Such are squeeze-and-excitation and its relatives, which scale channels by a mean over the image, and norms over
    the image. What is left decides the places; what a cell sees is the image.

    >>> class Gated(nn.Module):
    ...     def forward(self, x):
    ...         x = nn.functional.max_pool2d(x, 2)
    ...         return x * x.mean((2, 3), keepdim=True).sigmoid()
    >>> derive_places(Gated(), 32)
    NominalGeometry(stride=2, first=0.5, input_size=32, grid=16; a cell may see all of it)
    """
    span = _square(_through_graph(_graph_of(network), network, WHOLE, context=True))
    return NominalGeometry(stride=span.stride, first=(span.low + span.high) / 2, receptive_field=input_size,
                           input_size=input_size, grid=_grid_of(network, input_size, channels))


def _graph_of(network: nn.Module) -> fx.Graph:
    return network.graph if isinstance(network, fx.GraphModule) else LeafTracer().trace(network)


def _square(spans: Spans | None) -> Span:
    """What is the same along both axes."""
    if spans is None or spans.rows != spans.columns:
        raise ValueError(f"the network's output has no square geometry (rows {spans and spans.rows}, columns "
                         f"{spans and spans.columns}); choose a layer with the same windows along both axes")
    return spans.rows


def anchor(network: nn.Module) -> Tensor:
    """A tensor on the network's device and in its precision: its first weight, or buffer, or a number on the CPU."""
    held = (*network.parameters(), *network.buffers())
    return next((tensor for tensor in held if tensor.is_floating_point()), torch.zeros(1))


def _grid_of(network: nn.Module, input_size: int, channels: int) -> int:
    with torch.no_grad():
        output = network(torch.zeros(1, channels, input_size, input_size).to(anchor(network)))
    if output.ndim != 4 or output.shape[2] != output.shape[3] or not output.shape[2]:
        raise ValueError(f"the layer's output for a {input_size} px image has shape {tuple(output.shape)}; "
                         "expected a square grid (b, d, h, h)")
    return output.shape[2]


def _through_graph(graph: fx.Graph, owner: nn.Module, start: Spans, *, context: bool = False) -> Spans | None:
    """Spans of a traced module's output, given those of what it is called with; `context` as in `derive_places`."""
    spans: dict[fx.Node, Spans | None] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            spans[node] = start
        elif node.op == "get_attr":
            spans[node] = None
        elif node.op == "output":
            return spans[node.args[0]] if isinstance(node.args[0], fx.Node) else None
        elif context and _without_place(node, spans, owner):
            spans[node] = None
        elif context and (known := _in_place(node, spans, owner)):
            spans[node] = known
        else:
            spans[node] = _through(node, spans, owner)
    return None


def _in_place(node: fx.Node, spans: dict[fx.Node, Spans | None], owner: nn.Module) -> Spans | None:
    """What looks beyond its window, or at a window that follows the size of the image, but leaves cells where they are.

    A convolution that pads as TensorFlow's "same" does: for a size that its stride divides.
    """
    inputs = spans[node.all_input_nodes[0]] if node.all_input_nodes else None
    if inputs is None or node.op != "call_module":
        return inputs if node.target is F.group_norm else None
    module = owner.get_submodule(str(node.target))
    if isinstance(module, _IMAGE_NORMS):
        return inputs
    if isinstance(module, nn.Conv2d) and "Same" in type(module).__name__:
        sides = zip(module.kernel_size, module.stride, module.dilation, strict=True)
        padding = tuple(max(d * (k - 1) + 1 - s, 0) // 2 for k, s, d in sides)
        return _windowed(node, inputs, module.kernel_size, module.stride, padding, module.dilation)
    return None


def _without_place(node: fx.Node, spans: dict[fx.Node, Spans | None], owner: nn.Module) -> bool:
    """Whether a node gives one number a channel for the whole image, a size, or another shape of such numbers."""
    if node.op == "call_module":
        module = owner.get_submodule(str(node.target))
        return isinstance(module, _POOLS_OF_ALL) and module.output_size in (1, (1, 1))
    if node.op == "call_method" and spans.get(node.args[0]) is None:  # such as gate.expand_as(x)
        return True
    if node.target in (getattr, "size"):
        return True
    if node.target in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        return _argument(node, 1, "output_size", None) in (1, (1, 1), [1, 1])
    if node.target in ("mean", "amax", torch.mean, torch.amax):
        dims = _argument(node, 1, "dim", ())
        axes = {(2, 3), (-2, -1), (-1, -2)} if spans[node.all_input_nodes[0]].channels == 1 else {(1, 2)}
        return isinstance(dims, tuple | list) and tuple(dims) in axes
    return False


def _through(node: fx.Node, spans: dict[fx.Node, Spans | None], owner: nn.Module) -> Spans | None:
    """Spans after one node; None for what carries no image (constants)."""
    inputs = [spans[n] for n in node.all_input_nodes if spans[n] is not None]
    if not inputs:
        return None
    if node.target in ("permute", torch.permute):
        return _permuted(node, inputs[0])
    if node.target in _SPLITS:  # over channels; what is taken out of them comes next
        return inputs[0] if _argument(node, 2, "dim", 0) == 1 == inputs[0].channels else _unclear(node)
    if node.op == "call_module":
        return _through_module(node, inputs, owner.get_submodule(str(node.target)))
    if node.op == "call_method":
        return _merge(node, inputs) if node.target in _POINTWISE_METHODS else _unclear(node)
    if node.target in (F.conv2d, torch.conv2d):
        return _through_conv(node, inputs[0], owner)
    return _through_function(node, inputs, node.target)


def _permuted(node: fx.Node, spans: Spans) -> Spans:
    """Channels to the end, or back; any other order loses rows and columns."""
    given = node.args[1:] if len(node.args) > 2 else _argument(node, 1, "dims", ())
    order = tuple(given) if isinstance(given, tuple | list) else ()
    moved = {(1, (0, 2, 3, 1)): 3, (3, (0, 3, 1, 2)): 1}.get((spans.channels, order))
    return _unclear(node) if moved is None else spans._replace(channels=moved)


def _through_module(node: fx.Node, inputs: list[Spans], module: nn.Module) -> Spans:
    if isinstance(module, (nn.Linear, nn.LayerNorm)):  # over the last axis
        return inputs[0] if inputs[0].channels == 3 and _over_channels(module) else _unclear(node, module)
    kind = next((kind for kind in _WINDOWED_MODULES if isinstance(module, kind)), None)
    if kind is not None and type(module).forward is not kind.forward:
        return _through_own_forward(node, inputs[0], module)
    if isinstance(module, nn.Conv2d):
        return _windowed(node, inputs[0], module.kernel_size, module.stride, module.padding, module.dilation)
    if isinstance(module, nn.MaxPool2d):
        return _windowed(node, inputs[0], module.kernel_size, module.stride, module.padding, module.dilation)
    if isinstance(module, nn.AvgPool2d):
        return _windowed(node, inputs[0], module.kernel_size, module.stride, module.padding)
    if isinstance(module, _PADS):
        return _padded(node, inputs[0], module.padding)
    return _merge(node, inputs) if isinstance(module, _POINTWISE_MODULES) else _unclear(node, module)


def _over_channels(module: nn.Linear | nn.LayerNorm) -> bool:
    return isinstance(module, nn.Linear) or len(module.normalized_shape) == 1


def _through_own_forward(node: fx.Node, spans: Spans, module: nn.Module) -> Spans:
    """A subclass of a convolution or a pooling that does more than its parent, such as padding: look inside."""
    try:
        graph = LeafTracer().trace(module)
    except (ValueError, TypeError, RuntimeError):  # what depends on the size of the image cannot be traced
        return _unclear(node, module)
    return _through_graph(graph, module, spans) or _unclear(node, module)


def _through_conv(node: fx.Node, spans: Spans, owner: nn.Module) -> Spans:
    weight = _argument(node, 1, "weight", None)
    if isinstance(weight, fx.Node) and weight.op == "get_attr":
        kernel = tuple(operator.attrgetter(str(weight.target))(owner).shape[2:])
    elif isinstance(owner, nn.Conv2d):  # a convolution that standardises its weights first
        kernel = owner.kernel_size
    else:
        return _unclear(node)
    stride, padding = _argument(node, 3, "stride", 1), _argument(node, 4, "padding", 0)
    return _windowed(node, spans, kernel, stride, padding, _argument(node, 5, "dilation", 1))


def _through_function(node: fx.Node, inputs: list[Spans], function: Callable | str) -> Spans:
    if function in _POINTWISE_FUNCTIONS or getattr(function, "__name__", "") == "stochastic_depth":
        return _merge(node, inputs)
    if function in (F.layer_norm, F.linear):
        over = function is F.linear or len(_argument(node, 1, "normalized_shape", ())) == 1
        return inputs[0] if inputs[0].channels == 3 and over else _unclear(node)
    if function in (torch.cat, torch.concat, torch.unsqueeze):
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        return _merge(node, inputs) if dim == 1 == inputs[0].channels else _unclear(node)
    if function is operator.getitem:  # x[:, 0]: channels only
        index, first = node.args[1], inputs[0].channels == 1
        if isinstance(index, int) and getattr(node.args[0], "target", None) in _SPLITS:
            return inputs[0]
        whole = isinstance(index, tuple) and all(one in (slice(None), ...) for one in index[2:])
        return _merge(node, inputs) if first and whole else _unclear(node)
    if function is F.pad:
        return _padded(node, inputs[0], _argument(node, 1, "pad", ()))
    if function in _POOLS:
        kernel = _argument(node, 1, "kernel_size", None)
        stride, padding = _argument(node, 2, "stride", None) or kernel, _argument(node, 3, "padding", 0)
        dilation = 1 if function is F.avg_pool2d else _argument(node, 4, "dilation", 1)
        return _windowed(node, inputs[0], kernel, stride, padding, dilation)
    return _unclear(node)


def _argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _pair(node: fx.Node, value: Any) -> tuple[int, int]:
    """A setting for (rows, columns); unclear if it is computed from the image."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if not all(isinstance(number, int) for number in pair):
        return _unclear(node)
    return pair[0], pair[-1]


def _windowed(node: fx.Node, spans: Spans, kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> Spans:
    kernel, stride, dilation = (_pair(node, setting) for setting in (kernel, stride, dilation))
    if padding == "same":  # the odd pixel of an even window goes to the end
        padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    padding = _pair(node, 0 if padding == "valid" else padding)
    if spans.channels != 1:
        return _unclear(node)
    windows = zip(spans[:2], kernel, stride, padding, dilation, strict=True)
    return Spans(*(span.window(k, s, p, d) for span, k, s, p, d in windows))


def _padded(node: fx.Node, spans: Spans, padding: Any) -> Spans:
    """After padding by (left, right, top, bottom); what is padded with plays no part away from the border."""
    sides = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * 4
    if spans.channels != 1 or not all(isinstance(number, int) for number in sides):
        return _unclear(node)
    left, _, top, _ = (*sides, 0, 0)[:4]
    return Spans(spans.rows.padded(top), spans.columns.padded(left))


def _merge(node: fx.Node, inputs: list[Spans]) -> Spans:
    """Branches that meet must step alike; together they see the union of what each sees."""
    merged = []
    for axis in range(2):
        strides = {spans[axis].stride for spans in inputs}
        if len(strides) > 1:
            raise ValueError(f"branches with strides {sorted(strides)} meet at {node.name!r}; "
                             "they do not form one grid")
        low, high = min(spans[axis].low for spans in inputs), max(spans[axis].high for spans in inputs)
        merged.append(Span(strides.pop(), low, high))
    if len({spans.channels for spans in inputs}) > 1:
        return _unclear(node)
    return Spans(merged[0], merged[1], inputs[0].channels)


def _unclear(node: fx.Node, module: nn.Module | None = None) -> Any:
    what = type(module).__name__ if module is not None else getattr(node.target, "__name__", str(node.target))
    raise UnclearGeometry(f"cannot say which pixels {node.name!r} ({what}) sees; choose an earlier layer, one that is "
                     "reached through convolutions, poolings, paddings, norms over channels and pointwise "
                     "functions only")


def check_geometry(network: nn.Module, geometry: Geometry, *, trials: int = 24, seed: int = 0,
                   channels: int = 3) -> None:
    """Impulse test: the pixels that move one cell lie inside its computed box and reach all four sides of it.

    Looks at the centre cell on random inputs, a few at a time until the box is filled. Raises DisagreeingGeometry, a
    ValueError that gives both boxes, when they differ; another ValueError if nothing moves the cell, since then the
    geometry is not what is wrong. A side that the image border clips is only checked for staying inside.
    """
    cell = geometry.centre_cell
    low, high = geometry.box(cell)
    last = geometry.input_size - 1
    found = ((last + 1, -1), (last + 1, -1))
    for found in _impulses(network, geometry.input_size, cell, trials, seed, channels):
        if any(start < low or end > high for start, end in found):
            break
        if all((start == low or low == 0) and (end == high or high == last) for start, end in found):
            return
    if found[0][1] < 0:
        raise ValueError(f"the layer is dead: no pixel of {trials} images of noise moves its central cell; look at its "
                         "weights, biases and the nonlinearity before it, or choose another layer")
    raise DisagreeingGeometry(f"impulse test failed: cell {cell} should see pixels {low}..{high} along both axes, but "
                              f"rows {found[0][0]}..{found[0][1]} and columns {found[1][0]}..{found[1][1]} move it; "
                              f"{geometry} does not describe this network")


@torch.no_grad()
def check_places(network: nn.Module, geometry: NominalGeometry, *, trials: int = 8, seed: int = 0,
                 channels: int = 3) -> None:
    """Patch test for nominal places: where a patch of noise is redrawn, the cell that sits there changes more.

    Cells away from the diagonal, so that rows taken for columns are noticed. Raises DisagreeingGeometry unless their
    mean change is half as large again as that of the other cells.
    """
    size, stride, generator = geometry.input_size, geometry.stride, torch.Generator().manual_seed(seed)
    images = torch.rand(1, channels, size, size, generator=generator).repeat(trials + 1, 1, 1, 1)
    cells = []
    while len(cells) < trials:
        row, column = torch.randint(geometry.grid, (2,), generator=generator).tolist()
        if row != column:
            cells.append((row, column))
    for image, cell in zip(images[1:], cells, strict=True):
        y, x = (min(max(round(geometry.first + stride * k - (stride - 1) / 2), 0), size - stride) for k in cell)
        image[:, y:y + stride, x:x + stride] = torch.rand(channels, stride, stride, generator=generator)
    grids = network(images.to(anchor(network)))
    change = (grids[1:] - grids[:1]).norm(dim=1).cpu()
    own = torch.stack([one[cell] for one, cell in zip(change, cells, strict=True)]).sum()
    others = (change.sum() - own) / (geometry.grid**2 - 1)
    if not own > 1.5 * others:
        raise DisagreeingGeometry("cells do not sit row by row where they should: redrawing the patch of a cell "
                                  f"changes it by {float(own / trials):.3g}, other cells by "
                                  f"{float(others / trials):.3g}; {geometry} does not describe this layer, choose "
                                  "another one")


def measure_geometry(network: nn.Module, input_size: int, *, trials: int = 24, seed: int = 1,
                     channels: int = 3) -> Geometry:
    """Geometry by impulses alone, for networks whose layers `derive_geometry` does not know.

    Compares the pixels that move two neighbouring cells in the middle. Raises ValueError if these touch the border
    of the input, as they do when a layer looks at the whole image, or if they do not describe a square grid; and if
    cells away from the middle sit elsewhere than the grid says, as they do after upsampling.
    """
    grid = _grid_of(network, input_size, channels)
    (before, columns_before), (after, columns_after) = (
        _seen_by(network, input_size, cell, trials, seed, channels) for cell in (grid // 2 - 1, grid // 2))
    stride = after[0] - before[0]
    inside = before[0] > 0 and after[1] < input_size - 1
    if inside and (before != columns_before or after != columns_after):
        raise ValueError(f"a cell sees rows {before} and columns {columns_before}: no square; choose a layer with the "
                         "same windows along both axes")
    even = after[1] - before[1] == stride > 0
    # Cells that share windows, as in Swin, may look like a grid where two windows meet: one too wide for the image.
    first = sum(before) / 2 - stride * (grid // 2 - 1)
    if not inside or not even or not -input_size < first <= first + stride * (grid - 1) < 2 * input_size:
        raise UnclearGeometry(f"two neighbouring cells in the middle see rows {before} and {after}, columns "
                              f"{columns_before} and {columns_after} of {input_size} px: no grid of receptive fields "
                              "inside the image")
    geometry = Geometry(stride=stride, first=first, input_size=input_size,
                        receptive_field=before[1] - before[0] + 1, grid=grid)
    _check_spread(network, geometry, trials, seed, channels)
    return geometry


def _check_spread(network: nn.Module, geometry: Geometry, trials: int, seed: int, channels: int) -> None:
    """Two neighbours cannot tell half a pixel a cell from one. ValueError unless cells a quarter from each end agree,
    to half a stride: by then an error in the stride has added up to more."""
    for cell in sorted({geometry.grid // 4, geometry.grid - 1 - geometry.grid // 4}):
        low, high = geometry.box(cell)
        rows, _ = _seen_by(network, geometry.input_size, cell, trials, seed, channels)
        clipped = low <= 0 or high >= geometry.input_size - 1  # the image cuts off a side, so its middle says nothing
        beside = max(low - rows[0], rows[1] - high) if clipped else abs(low + high - rows[0] - rows[1]) / 2
        if beside > geometry.stride / 2:
            raise ValueError(f"by the two middle cells, cell {cell} of {geometry.grid} would see pixels {low} to "
                             f"{high}, but it sees {rows[0]} to {rows[1]}: the cells are no even grid of whole pixels, "
                             "as after upsampling; choose a layer before it")


def _seen_by(network: nn.Module, input_size: int, cell: int, trials: int, seed: int,
             channels: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rows and columns that move a cell on the diagonal."""
    for found in _impulses(network, input_size, cell, trials, seed, channels):
        if found[0][0] <= 0 and found[0][1] >= input_size - 1:  # it sees all rows: more trials would say the same
            break
    return found


def _impulses(network: nn.Module, input_size: int, cell: int, trials: int, seed: int,
              channels: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """After each trial: the (first, last) row and column that have moved cell (cell, cell) so far."""
    like = anchor(network)
    generator = torch.Generator().manual_seed(seed)
    seen = torch.zeros(input_size, input_size, dtype=torch.bool)
    for _ in range(trials):
        images = torch.randn(2, channels, input_size, input_size, generator=generator)
        images = images.mul(60 * torch.rand((), generator=generator)).to(like).requires_grad_()
        with torch.enable_grad():
            response = network(images)[:, :, cell, cell]
            weights = torch.randn(response.shape, generator=generator).to(response)
            (gradient,) = torch.autograd.grad((response * weights).sum(), images)
        seen |= (gradient != 0).any(0).any(0).cpu()
        yield _extent(seen, 0), _extent(seen, 1)


def _extent(seen: Tensor, axis: int) -> tuple[int, int]:
    """First and last marked index along an axis; (size, -1), an empty interval, when nothing is marked."""
    marked = seen.any(1 - axis).nonzero().flatten().tolist()
    return (marked[0], marked[-1]) if marked else (seen.shape[axis], -1)
