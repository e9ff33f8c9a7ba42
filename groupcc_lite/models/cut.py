"""Cutting a network off after one of its layers, so that nothing beyond the layer is ever computed.

The cut is made in the torch.fx graph. A graph can be misread, so the result is compared with what the layer of the
uncut network gives out.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from groupcc_lite.base import near_matches
from groupcc_lite.models.geometry import LeafTracer, anchor


class _OutputTracer(LeafTracer):
    """Also keeps what every submodule gives out, whatever it computes besides, and how often it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, Any] = {}  # of the last call, in order of the first
        self.calls: Counter[str] = Counter()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...],
                    kwargs: dict[str, Any]) -> Any:
        path = self.path_of_module(m)
        self.outputs.setdefault(path, None)
        self.calls[path] += 1
        self.outputs[path] = super().call_module(m, forward, args, kwargs)
        return self.outputs[path]


class Uncuttable(ValueError):
    """A module whose graph cannot be had or does not run; a hook can still read its layers."""


def truncate(module: nn.Module, layer: str, *, input_size: int, channels: int = 3) -> fx.GraphModule:
    """The part of `module` that `layer` depends on, as a graph that returns the layer's output.

    `layer` is a submodule's name, also of one that torch.fx traces into; if it is called several times, its last
    output is meant. The name of a single operation in the graph will do as well. Inception blocks answer to both
    naming styles: mixed3b, inception_3b, inception_3b/output. For a submodule, the graph is compared with what a
    forward hook sees in `module` itself, on a random image of `input_size` pixels with `channels` channels.

    ValueError for an unknown layer, one that gives no single tensor, a module that torch.fx cannot trace or that does
    not run, and a graph that differs from the module.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    >>> truncate(network, "1", input_size=16)(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 4, 14, 14])
    """
    module = copy.deepcopy(module).eval()
    tracer = _OutputTracer()
    try:
        graph = tracer.trace(module)
    except Exception as error:  # a tracer runs the module's own code on stand-ins, which may fail in any way
        raise Uncuttable(f"torch.fx cannot trace {type(module).__name__} ({error}); read the layer with way='hook', or "
                         "wrap the part of the network that leads to it, without branches or loops that depend on the "
                         "images") from error
    path, end = _end(layer, module, graph, tracer.outputs)
    images = noise(module, input_size, channels)
    expected = None if path is None else _by_hook(module, path, tracer.calls[path], images)
    network = _up_to(end, module, graph)
    if expected is not None:
        _compare(network, images, expected, layer)
    return network


def _end(layer: str, module: nn.Module, graph: fx.Graph, outputs: dict[str, Any]) -> tuple[str | None, fx.Node]:
    """The submodule that `layer` names (None for a mere operation), and the node that is its output."""
    operations = {node.name: node for node in graph.nodes if node.op not in ("placeholder", "output", "get_attr")}
    known = [*outputs, *operations]
    name = layer if layer in known else {canonical(one): one for one in reversed(known)}.get(canonical(layer))
    if name is None:
        raise unknown_layer(module, layer, list(outputs))
    if name not in outputs:
        return None, operations[name]
    if not isinstance(outputs[name], fx.Proxy):
        raise ValueError(f"layer {layer!r} gives a {type(outputs[name]).__name__}; expected one tensor: choose a layer "
                         "inside it")
    return name, outputs[name].node


def _up_to(end: fx.Node, module: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """The part of the graph that `end` depends on, with the submodules it needs."""
    for node in reversed(graph.nodes):
        if node.op == "output":
            graph.erase_node(node)
            break
    with graph.inserting_after(end):
        graph.output(end)
    network = fx.GraphModule(module, graph)
    # Not eliminate_dead_code: that keeps operations which might have side effects, such as batch normalisation.
    for node in reversed(list(network.graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
    return network


def joined(cuts: Sequence[nn.Module], images: Tensor) -> fx.GraphModule | None:
    """One graph that gives in one pass, as a tuple, what several cuts of one network give; None where there is none.

    There is one if the longest cut leads through all others: the same operations on the same weights. What each gives
    is copied at once, because an operation beyond it may change it in place. `images` are as the network itself reads
    them, and the graph's outputs for them are compared with the cuts'.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    >>> both, noise = [truncate(network, layer, input_size=16) for layer in "01"], torch.randn(1, 3, 16, 16)
    >>> [torch.equal(one, cut(noise)) for one, cut in zip(joined(both, noise)(noise), both, strict=True)]
    [True, True]
    >>> joined([both[0], truncate(nn.Conv2d(3, 4, 3), "conv2d", input_size=16)], noise) is None
    True
    """
    graphs = [cut for cut in cuts if isinstance(cut, fx.GraphModule)]
    longest = max(graphs, key=lambda cut: len(cut.graph.nodes), default=None)
    if longest is None or len(graphs) < len(cuts) or not all(_leads_through(longest, cut) for cut in graphs):
        return None
    graph, copies = fx.Graph(), {}
    graph.graph_copy(longest.graph, copies)
    named = {node.name: copy for node, copy in copies.items()}
    given = []
    for cut in graphs:
        end = named[_last(cut).name]
        with graph.inserting_after(end):
            given.append(graph.call_method("clone", (end,)))
    graph.output(tuple(given))
    network = fx.GraphModule(longest, graph)
    with torch.no_grad():
        pairs = [(one, cut(images)) for one, cut in zip(network(images), graphs, strict=True)]
    return network if all((one - alone).abs().max() <= 1e-5 * alone.abs().max() for one, alone in pairs) else None


def _last(cut: fx.GraphModule) -> fx.Node:
    """The node whose value the cut returns."""
    (output,) = (node for node in cut.graph.nodes if node.op == "output")
    return output.args[0]


def _leads_through(longest: fx.GraphModule, cut: fx.GraphModule) -> bool:
    """Whether all that `cut` computes is computed in `longest` too, by the same modules with the same weights."""
    steps = {node.name: node for node in longest.graph.nodes if node.op != "output"}
    for node in cut.graph.nodes:
        if node.op != "output" and (node.name not in steps or _said(node, cut) != _said(steps[node.name], longest)):
            return False
    ours = longest.state_dict()
    return all(name in ours and torch.equal(tensor, ours[name]) for name, tensor in cut.state_dict().items())


def _said(node: fx.Node, cut: fx.GraphModule) -> tuple[str, ...]:
    """All that a node does: its operation on which others, and the settings of its module."""
    module = repr(cut.get_submodule(str(node.target))) if node.op == "call_module" else ""
    return node.op, str(node.target), str(node.args), str(node.kwargs), module


def unknown_layer(module: nn.Module, layer: str, layers: list[str]) -> ValueError:
    """The error for a name that is none of the `layers`, with those that are like it."""
    return ValueError(f"unknown layer {layer!r} of {type(module).__name__}; {near_matches(layer, layers)}"
                      f"layers are: {', '.join(layers[:40])}{' ...' if len(layers) > 40 else ''}")


class _Reached(BaseException):
    """The layers have given their outputs; the rest of the network need not run.

    Not an Exception, so that no network takes it for an error of its own and goes on.
    """


def hooked(module: nn.Module, calls: dict[str, int], images: Tensor) -> dict[str, Any]:
    """What submodules give out in the given call of each, by forward hooks that stop the uncut network at the last one.

    Errors are the module's own. ValueError for a submodule that is called less often.
    """
    made, seen = dict.fromkeys(calls, 0), {}

    def keeper(path: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            made[path] += 1
            if made[path] == calls[path]:
                last = len(seen) + 1 == len(calls)
                # What follows may change it in place; nothing follows the last one.
                seen[path] = output if last else _cloned(output)
                if last:
                    raise _Reached

        return keep

    handles = [module.get_submodule(path).register_forward_hook(keeper(path)) for path in calls]
    try:
        module(images)
    except _Reached:
        return seen
    finally:
        for handle in handles:
            handle.remove()
    path = next(path for path in calls if path not in seen)
    raise ValueError(f"layer {path!r} was called {made[path]} times for an image, {calls[path]} times when the network "
                     "was looked at first; what it gives out depends on more than the image")


def _by_hook(module: nn.Module, path: str, calls: int, images: Tensor) -> Any:
    try:
        with torch.no_grad():
            return hooked(module, {path: calls}, images)[path]
    except (RuntimeError, AssertionError, TypeError, IndexError) as error:
        raise does_not_run(module, images, error) from error


def _cloned(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    return type(output)(map(_cloned, output)) if type(output) in (tuple, list) else output


FAILURES = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)
"""What a network raises for images that it does not take."""


def does_not_run(module: nn.Module, images: Tensor, error: Exception) -> ValueError:
    """The error for a module that fails on a test image; says so if that has the wrong number of channels."""
    shape, first = tuple(images.shape), next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    why = str(error)
    if first is not None and first.in_channels != shape[1]:
        why = (f"its first convolution takes {first.in_channels} channels, not {shape[1]}; say channels="
               f"{first.in_channels} (--channels {first.in_channels} on the command line), or give a mean and std for "
               "each channel")
    return ValueError(f"{type(module).__name__} does not run on images of shape {shape}: {why}")


def _compare(network: fx.GraphModule, images: Tensor, expected: Any, layer: str) -> None:
    try:
        with torch.no_grad():
            found = network(images)
    except FAILURES as error:
        raise Uncuttable(f"the network cut after {layer!r} does not run ({error}); read the layer with way='hook'"
                         ) from error
    if not isinstance(expected, Tensor) or found.shape != expected.shape:
        shape = tuple(expected.shape) if isinstance(expected, Tensor) else type(expected).__name__
        raise ValueError(f"the network cut after {layer!r} gives {tuple(found.shape)}, the layer itself gives {shape}; "
                         "torch.fx misread it: choose a layer nearby, or read it with way='hook'")
    if not expected.isfinite().all():
        raise ValueError(f"layer {layer!r} gives NaN or infinity for random images; look at the network's weights")
    gap, size = (found - expected).abs().max(), expected.abs().max()
    if not gap <= 1e-4 * size:  # NaN fails too
        raise ValueError(f"the network cut after {layer!r} differs from the layer itself by up to {float(gap):.3g}, "
                         f"with values up to {float(size):.3g}; something changes the layer's output outside the "
                         "graph, such as an operation in place: choose a layer nearby, or read it with way='hook'")


def noise(module: nn.Module, input_size: int, channels: int, count: int = 1) -> Tensor:
    """Random images, on the module's device and in its precision."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, input_size, input_size, generator=generator).to(anchor(module))


def canonical(layer: str) -> str:
    """Distill's and Caffe's names of an Inception block, made equal."""
    name = layer.lower().removesuffix("/output")
    return "mixed" + name.removeprefix("inception_") if name.startswith("inception_") else name
