"""Two ways to read a layer: the cut graph, and a forward hook that stops the network there.

The cut holds nothing beyond the layer and says which operations lead to it, so geometry can be derived from it; but
torch.fx must be able to trace the network. The hook works for every module. Where both are possible the cut is taken,
after a comparison with the hook on a random image (`cut.truncate`).
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from groupcc_lite.models.cut import Uncuttable, canonical, does_not_run, hooked, joined, noise, truncate, unknown_layer

log = logging.getLogger(__name__)
WAYS = ("auto", "cut", "hook")
"""How a layer may be read: the cut if it can be had, or one of the two."""


class StoppedNetwork(nn.Module):
    """A network that runs until its layers have given their outputs: images -> that of the layer, or a dict of them.

    Every layer's last output counts, should it be called several times for an image. Layers of another module are
    ValueErrors, and so are those that give several tensors and a module that does not run on the images.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1, 1))  # the last would fail
    >>> StoppedNetwork(network, "1", input_size=16)(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 4, 14, 14])
    >>> sorted(StoppedNetwork(network, ["0", "1"], input_size=16)(torch.zeros(1, 3, 16, 16)))
    ['0', '1']
    """

    def __init__(self, module: nn.Module, layers: str | Sequence[str], *, input_size: int, channels: int = 3):
        super().__init__()
        self.module, self.layers = module, layers
        self._paths = {layer: _path(module, layer) for layer in ([layers] if isinstance(layers, str) else layers)}
        self._calls = _counted(module, list(self._paths.values()), noise(module, input_size, channels))

    def forward(self, images: Tensor) -> Any:
        outputs = hooked(self.module, self._calls, images)
        found = {layer: _one_tensor(outputs[path], layer) for layer, path in self._paths.items()}
        return found[self.layers] if isinstance(self.layers, str) else found

    def description(self) -> str:
        """All that decides what the module computes beside its weights: classes, settings, code and other buffers."""
        return "\n".join(_described(name, part) for name, part in self.module.named_modules())

    def extra_repr(self) -> str:
        return f"stopped at {self.layers}, calls {list(self._calls.values())}"


def _described(name: str, part: nn.Module) -> str:
    """One submodule: its class and code, its plain attributes, its configuration, buffers that no state dict holds."""
    plain = {key: value for key, value in sorted(vars(part).items())
             if isinstance(value, int | float | str | tuple | list) and not key.startswith("_")}
    config = getattr(part, "config", None)
    settings = config.to_json_string(use_diff=False) if hasattr(config, "to_json_string") else ""
    kept = part._non_persistent_buffers_set
    buffers = [(key, hashlib.sha256(value.detach().cpu().float().numpy().tobytes()).hexdigest())
               for key, value in part.named_buffers(recurse=False) if key in kept]
    try:
        code = inspect.getsource(type(part).forward)
    except (OSError, TypeError):  # made by a program, so there is no file with it
        code = ""
    return f"{name} {type(part).__module__}.{type(part).__qualname__} {plain} {settings} {buffers} {code}"


def read_layer(module: nn.Module, layer: str, *, input_size: int, channels: int = 3, way: str = "auto") -> nn.Module:
    """A network that returns what `layer` of `module` gives out; the module is copied, not changed.

    The cut of `truncate` or, if torch.fx cannot make one, a `StoppedNetwork`; `way` asks for one of them. ValueError
    as by these, for a cut that differs from the hook, and for an unknown way.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    >>> type(read_layer(network, "1", input_size=16, way="hook")).__name__
    'StoppedNetwork'
    """
    if way not in WAYS:
        raise ValueError(f"way is {way!r}; expected one of {', '.join(WAYS)}")
    if way != "hook":
        try:
            return truncate(module, layer, input_size=input_size, channels=channels)
        except Uncuttable as error:
            if way == "cut":
                raise
            log.info("%s is read by a hook: %s", layer, error)
    return StoppedNetwork(copy.deepcopy(module).eval(), layer, input_size=input_size, channels=channels)


def common_pass(networks: Sequence[nn.Module], images: Tensor) -> Callable[[Tensor], Sequence[Tensor]] | None:
    """One pass over the images that gives what each of several networks gives; None if they have none in common.

    They are cuts of one network (`cut.joined`), or are all read by hooks from copies of one. `images`: a test batch.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    >>> stopped = [read_layer(network, layer, input_size=16, way="hook") for layer in "01"]
    >>> [tuple(one.shape) for one in common_pass(stopped, torch.rand(1, 3, 16, 16))(torch.rand(2, 3, 16, 16))]
    [(2, 4, 14, 14), (2, 4, 14, 14)]
    """
    if not all(isinstance(network, StoppedNetwork) for network in networks):
        return joined(networks, images)
    first, *others = networks
    if not all(_same_module(first, other) for other in others):
        return None
    layers = [network.layers for network in networks]
    together = StoppedNetwork(first.module, list(dict.fromkeys(layers)), input_size=images.shape[-1],
                              channels=images.shape[1])
    return lambda x: [found[layer] for found in [together(x)] for layer in layers]


def _same_module(one: StoppedNetwork, other: StoppedNetwork) -> bool:
    """Whether both stop copies of one network."""
    ours, theirs = one.module.state_dict(), other.module.state_dict()
    return (ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
            and one.description() == other.description())


def layer_name(module: nn.Module, layer: str | nn.Module) -> str:
    """The name of a layer that is given by itself; ValueError if it is none of the module's.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    >>> layer_name(network, network[1]), layer_name(network, "0")
    ('1', '0')
    """
    if isinstance(layer, str):
        return layer
    if not isinstance(layer, nn.Module):
        raise ValueError(f"layer is {layer!r}; expected a name from named_modules(), or the submodule itself")
    names = [name for name, one in module.named_modules() if one is layer and name]
    if not names:
        raise ValueError(f"layer is a {type(layer).__name__} that is not part of this {type(module).__name__}; give "
                         "one of its own submodules, or a name from named_modules()")
    return names[0]


def _path(module: nn.Module, layer: str) -> str:
    """The submodule that `layer` names, in either style of naming Inception blocks."""
    known = [name for name, _ in module.named_modules() if name]
    if layer not in known:
        named = {canonical(name): name for name in reversed(known)}
        if canonical(layer) not in named:
            raise unknown_layer(module, layer, known)
        return named[canonical(layer)]
    return layer


def _counted(module: nn.Module, paths: list[str], images: Tensor) -> dict[str, int]:
    """How often each submodule is called for an image; what fails after its first call lies beyond it."""
    calls = dict.fromkeys(paths, 0)

    def counter(path: str) -> Any:
        def count(*_: Any) -> None:
            calls[path] += 1

        return count

    handles = [module.get_submodule(path).register_forward_hook(counter(path)) for path in paths]
    try:
        with torch.no_grad():
            module(images)
    except Exception as error:
        if not all(calls.values()):
            raise does_not_run(module, images, error) from error
    finally:
        for handle in handles:
            handle.remove()
    silent = [path for path, count in calls.items() if not count]
    if silent:
        raise ValueError(f"layer {silent[0]!r} of {type(module).__name__} is never called for an image; choose another")
    return calls


def _one_tensor(output: Any, layer: str) -> Tensor:
    """The output, or the only tensor of a tuple of one, such as blocks of some transformers give."""
    if isinstance(output, tuple | list):
        tensors = [one for one in output if isinstance(one, Tensor)]
        output = tensors[0] if len(tensors) == 1 == len([one for one in output if one is not None]) else output
    if not isinstance(output, Tensor):
        raise ValueError(f"layer {layer!r} gives a {type(output).__name__}; expected one tensor: choose a layer "
                         "inside it")
    return output
