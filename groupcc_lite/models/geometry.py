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


Spans = tuple[Span, Span]  # (rows, columns)

_POINTWISE_FUNCTIONS: set[Any] = {
    F.relu, F.relu6, F.gelu, F.silu, F.hardswish, F.hardsigmoid, F.leaky_relu, F.elu, F.sigmoid, F.dropout,
    F.local_response_norm, F.batch_norm, F.softplus, F.mish,
    torch.relu, torch.sigmoid, torch.tanh, torch.clamp, torch.add, torch.sub, torch.mul, torch.div, torch.abs,
    torch.sqrt, torch.exp, torch.maximum, torch.minimum, torch.pow, torch.square,
    operator.add, operator.sub, operator.mul, operator.truediv, operator.iadd, operator.imul, operator.neg,
    operator.pow,
}
_POOLS: tuple[Any, ...] = (F.max_pool2d, torch.max_pool2d, F.avg_pool2d)
_POINTWISE_METHODS = {"add", "add_", "mul", "mul_", "sub", "div", "relu", "relu_", "clamp", "sigmoid", "tanh",
                      "contiguous", "clone", "float", "to", "pow", "square", "sqrt", "abs", "detach"}
_POINTWISE_MODULES: tuple[type[nn.Module], ...] = (
    nn.BatchNorm2d, nn.LocalResponseNorm, nn.Dropout, nn.Dropout2d, nn.Identity, nn.ReLU, nn.ReLU6, nn.GELU,
    nn.SiLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Mish, nn.Softplus, nn.PReLU, nn.Threshold,
)
_WINDOWED_MODULES: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_PADS: tuple[type[nn.Module], ...] = (nn.ConstantPad2d, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d,
                                      nn.CircularPad2d)


class LeafTracer(fx.Tracer):
    """torch.fx tracer that also keeps subclasses of torch's own layers whole, wherever they are defined."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        kept = (*_POINTWISE_MODULES, *_WINDOWED_MODULES)
        return isinstance(module, kept) or super().is_leaf_module(module, qualified_name)


def derive_geometry(network: nn.Module, input_size: int) -> Geometry:
    """Geometry of the network's output grid for a square input of `input_size` pixels, from its layers.

    `network` maps (b, 3, s, s) to (b, d, h, w) and can be traced by torch.fx. Raises ValueError when an
    operation has no place in the image (flatten, adaptive pooling, resizing ...) or when the result is not
    square.

    >>> derive_geometry(nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()), 32)
    Geometry(stride=2, first=0.0, receptive_field=3, input_size=32, grid=16)
    """
    graph = network.graph if isinstance(network, fx.GraphModule) else LeafTracer().trace(network)
    result = _through_graph(graph, network, (Span(1, 0, 0), Span(1, 0, 0)))
    if result is None or result[0] != result[1]:
        raise ValueError(f"the network's output has no square geometry (rows {result and result[0]}, columns "
                         f"{result and result[1]}); choose a layer with the same windows along both axes")
    span = result[0]
    return Geometry(stride=span.stride, first=(span.low + span.high) / 2,
                    receptive_field=span.high - span.low + 1, input_size=input_size,
                    grid=_grid_of(network, input_size))


def anchor(network: nn.Module) -> Tensor:
    """A tensor on the network's device and in its precision: its first weight, or buffer, or a number on the CPU."""
    held = (*network.parameters(), *network.buffers())
    return next((tensor for tensor in held if tensor.is_floating_point()), torch.zeros(1))


def _grid_of(network: nn.Module, input_size: int) -> int:
    with torch.no_grad():
        output = network(torch.zeros(1, 3, input_size, input_size).to(anchor(network)))
    if output.ndim != 4 or output.shape[2] != output.shape[3] or not output.shape[2]:
        raise ValueError(f"the layer's output for a {input_size} px image has shape {tuple(output.shape)}; "
                         "expected a square grid (b, d, h, h)")
    return output.shape[2]


def _through_graph(graph: fx.Graph, owner: nn.Module, start: Spans) -> Spans | None:
    """Spans of a traced module's output, given those of what it is called with."""
    spans: dict[fx.Node, Spans | None] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            spans[node] = start
        elif node.op == "get_attr":
            spans[node] = None
        elif node.op == "output":
            return spans[node.args[0]] if isinstance(node.args[0], fx.Node) else None
        else:
            spans[node] = _through(node, spans, owner)
    return None


def _through(node: fx.Node, spans: dict[fx.Node, Spans | None], owner: nn.Module) -> Spans | None:
    """Spans after one node; None for what carries no image (constants)."""
    inputs = [spans[n] for n in node.all_input_nodes if spans[n] is not None]
    if not inputs:
        return None
    if node.op == "call_module":
        return _through_module(node, inputs, owner.get_submodule(str(node.target)))
    if node.op == "call_method":
        return _merge(node, inputs) if node.target in _POINTWISE_METHODS else _unclear(node)
    if node.target in (F.conv2d, torch.conv2d):
        return _through_conv(node, inputs[0], owner)
    return _through_function(node, inputs, node.target)


def _through_module(node: fx.Node, inputs: list[Spans], module: nn.Module) -> Spans:
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


def _through_own_forward(node: fx.Node, spans: Spans, module: nn.Module) -> Spans:
    """A subclass of a convolution or a pooling that does more than its parent, such as padding: look inside."""
    try:
        graph = LeafTracer().trace(module)
    except (ValueError, TypeError, RuntimeError):  # what depends on the size of the image cannot be traced
        return _unclear(node, module)
    return _through_graph(graph, module, spans) or _unclear(node, module)


def _through_conv(node: fx.Node, spans: Spans, owner: nn.Module) -> Spans:
    weight = _argument(node, 1, "weight", None)
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return _unclear(node)
    kernel = tuple(operator.attrgetter(str(weight.target))(owner).shape[2:])
    stride, padding = _argument(node, 3, "stride", 1), _argument(node, 4, "padding", 0)
    return _windowed(node, spans, kernel, stride, padding, _argument(node, 5, "dilation", 1))


def _through_function(node: fx.Node, inputs: list[Spans], function: Callable | str) -> Spans:
    if function in _POINTWISE_FUNCTIONS:
        return _merge(node, inputs)
    if function in (torch.cat, torch.concat, torch.unsqueeze):
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        return _merge(node, inputs) if dim == 1 else _unclear(node)
    if function is operator.getitem:  # x[:, 0]: channels only
        index = node.args[1]
        return _merge(node, inputs) if isinstance(index, tuple) and len(index) <= 2 else _unclear(node)
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
    windows = zip(spans, kernel, stride, padding, dilation, strict=True)
    rows, columns = (span.window(k, s, p, d) for span, k, s, p, d in windows)
    return rows, columns


def _padded(node: fx.Node, spans: Spans, padding: Any) -> Spans:
    """After padding by (left, right, top, bottom); what is padded with plays no part away from the border."""
    sides = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * 4
    if not all(isinstance(number, int) for number in sides):
        return _unclear(node)
    left, _, top, _ = (*sides, 0, 0)[:4]
    return spans[0].padded(top), spans[1].padded(left)


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
    return merged[0], merged[1]


def _unclear(node: fx.Node, module: nn.Module | None = None) -> Any:
    what = type(module).__name__ if module is not None else getattr(node.target, "__name__", str(node.target))
    raise UnclearGeometry(f"cannot say which pixels {node.name!r} ({what}) sees; choose an earlier layer, one that is "
                     "reached through convolutions, poolings, paddings, norms over channels and pointwise "
                     "functions only")


def check_geometry(network: nn.Module, geometry: Geometry, *, trials: int = 24, seed: int = 0) -> None:
    """Impulse test: the pixels that move one cell lie inside its computed box and reach all four sides of it.

    Looks at the centre cell on random inputs, a few at a time until the box is filled. Raises DisagreeingGeometry, a
    ValueError that gives both boxes, when they differ. A side that the image border clips is only checked for staying
    inside.
    """
    cell = geometry.centre_cell
    low, high = geometry.box(cell)
    last = geometry.input_size - 1
    found = ((last + 1, -1), (last + 1, -1))
    for found in _impulses(network, geometry.input_size, cell, trials, seed):
        if any(start < low or end > high for start, end in found):
            break
        if all((start == low or low == 0) and (end == high or high == last) for start, end in found):
            return
    raise DisagreeingGeometry(f"impulse test failed: cell {cell} should see pixels {low}..{high} along both axes, but "
                              f"rows {found[0][0]}..{found[0][1]} and columns {found[1][0]}..{found[1][1]} move it; "
                              f"{geometry} does not describe this network")


def measure_geometry(network: nn.Module, input_size: int, *, trials: int = 24, seed: int = 1) -> Geometry:
    """Geometry by impulses alone, for networks whose layers `derive_geometry` does not know (such as ConvNeXt).

    Compares the pixels that move two neighbouring cells in the middle. Raises ValueError if these touch the border
    of the input, as they do when a layer looks at the whole image, or if they do not describe a square grid.
    """
    grid = _grid_of(network, input_size)
    boxes = []
    for cell in (grid // 2 - 1, grid // 2):
        *_, found = _impulses(network, input_size, cell, trials, seed)
        boxes.append(found)
    (before, columns_before), (after, columns_after) = boxes
    stride = after[0] - before[0]
    square = before == columns_before and after == columns_after and after[1] - before[1] == stride > 0
    if not square or before[0] <= 0 or after[1] >= input_size - 1:
        raise ValueError(f"two neighbouring cells in the middle see rows {before} and {after}, columns "
                         f"{columns_before} and {columns_after} of {input_size} px: no grid of receptive fields "
                         "inside the image")
    return Geometry(stride=stride, first=sum(before) / 2 - stride * (grid // 2 - 1), input_size=input_size,
                    receptive_field=before[1] - before[0] + 1, grid=grid)


def _impulses(network: nn.Module, input_size: int, cell: int, trials: int,
              seed: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """After each trial: the (first, last) row and column that have moved cell (cell, cell) so far."""
    like = anchor(network)
    generator = torch.Generator().manual_seed(seed)
    seen = torch.zeros(input_size, input_size, dtype=torch.bool)
    for _ in range(trials):
        images = torch.randn(2, 3, input_size, input_size, generator=generator)
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
