"""A second device that every machine has: its tensors say they lie elsewhere, and behave as those of a GPU do.

    with FakeDevice() as device:
        coder = GroupCrosscoder(G, channels=6, latents=12).to(DEVICE)
        ...
    assert device.reads == {}

A `DeviceTensor` wraps a tensor of the CPU and says its device is "meta", which no machine lacks. Inside the context
every operation passes through `FakeDevice`: one that mixes it with tensors of the CPU is refused, as CUDA refuses it
(single numbers may be mixed, and so may the CPU's indices into its tensors), and one for which the host must wait for a
number is counted. So the code that runs is that of a GPU, and its results are those of the CPU. It says nothing about
speed, precision or memory. Threads that are started inside see the device's tensors but cannot move new ones to it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

DEVICE = torch.device("meta")
HOST = torch.device("cpu")

# What makes the host wait: its result, or the size of its result, depends on the numbers.
_READS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount", "_unique", "_unique2",
          "unique_dim", "unique_consecutive", "repeat_interleave", "_linalg_check_errors"}
_INDEXING = {"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"}
# Their own arguments may lie anywhere.
_CROSSING = {"_to_copy", "copy_"}


class DeviceTensor(Tensor):
    """A tensor whose numbers, `inner`, lie on the CPU and which says that they lie on `DEVICE`."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> DeviceTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=DEVICE)

    def __init__(self, inner: Tensor):
        self.inner = inner

    # torch asks for these two when `module.to(device)` exchanges the parameters of a module for such tensors.

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], meta: None, size: Any, stride: Any) -> DeviceTensor:
        return DeviceTensor(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if FakeDevice.active is None:
            raise RuntimeError(f"{function}: a tensor of the fake device is used outside its context")
        return FakeDevice.active.run(function, args, kwargs or {})

    def __repr__(self) -> str:
        return f"DeviceTensor({self.inner!r})"

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return DeviceTensor, (self.inner,)

    def __format__(self, form: str) -> str:
        return format(self.item(), form) if self.ndim == 0 else repr(self)

    def __getitem__(self, where: Any) -> Tensor:
        return super().__getitem__(_tensors(where))

    def __setitem__(self, where: Any, value: Any) -> None:
        super().__setitem__(_tensors(where), value)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> np.ndarray:
        raise TypeError("can't convert a tensor of the fake device to numpy. Use Tensor.cpu() first")

    def __array__(self, *_: Any) -> np.ndarray:
        return self.numpy()


class _Factories(TorchFunctionMode):
    """`torch.tensor` and `torch.as_tensor` for the device: made on the CPU, then moved, as they are for a GPU."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor, torch.asarray) and _is_device(kwargs.get("device")):
            kwargs.pop("device")
            return function(*args, **kwargs).to(DEVICE)
        return function(*args, **kwargs)


class FakeDevice(TorchDispatchMode):
    """The context in which the device exists, and what has happened on it.

    `reads`: how often the host waited for numbers, by operation; `uploads`: tensors moved to the device;
    `operations`: everything that ran on it.
    """

    active: FakeDevice | None = None

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.uploads, self.operations = 0, 0
        self._factories = _Factories()

    def __enter__(self) -> FakeDevice:
        if FakeDevice.active is not None:
            raise RuntimeError("there is one fake device; its context cannot be entered twice")
        super().__enter__()
        self._factories.__enter__()
        FakeDevice.active = self
        return self

    def __exit__(self, *error: Any) -> None:
        FakeDevice.active = None
        self._factories.__exit__(*error)
        super().__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        ours = _is_device(kwargs.get("device")) or any(isinstance(t, DeviceTensor) for t in tree_iter((args, kwargs)))
        return self.run(function, args, kwargs) if ours else function(*args, **kwargs)

    def run(self, function: Any, args: tuple, kwargs: dict) -> Any:
        """One operation that makes or takes tensors of the device."""
        name = function._schema.name.split("::")[1]
        tensors = [t for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)]
        ours = [t for t in tensors if isinstance(t, DeviceTensor)]
        here = _is_device(kwargs["device"]) if kwargs.get("device") is not None else bool(ours)
        arrives = isinstance(args[0], DeviceTensor) if name == "copy_" else here
        if name in _CROSSING and ours and not arrives:
            self.reads[f"{name} to the host"] += 1
        elif name in _CROSSING:
            self.uploads += len(ours) < len(tensors) or not ours
        else:
            _refuse_mixed(name, args, kwargs, tensors, ours, here)
            self.reads[name] += bool(ours) and _waits(name, args)
        self.reads += Counter()  # drops zeros
        self.operations += 1
        outcome = function(*_inner(args), **_inner(_on_host(kwargs)))
        known = {id(t.inner): t for t in ours}  # an operation in place hands back the tensor it was given

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return known[id(value)] if id(value) in known else DeviceTensor(value)

        return tree_map(wrapped, outcome) if arrives else outcome


def _is_device(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _tensors(where: Any) -> Any:
    """Lists and arrays among indices as tensors of the CPU; torch would make them on the device, without numbers."""
    if isinstance(where, tuple):
        return tuple(map(_tensors, where))
    if isinstance(where, list | range | np.ndarray):
        return torch.as_tensor(np.asarray(where))
    return where


def _inner(values: Any) -> Any:
    return tree_map(lambda t: t.inner if isinstance(t, DeviceTensor) else t, values)


def _on_host(kwargs: dict) -> dict:
    kwargs = {key: value for key, value in kwargs.items() if key not in ("non_blocking", "pin_memory")}
    return kwargs | {"device": HOST} if kwargs.get("device") is not None else kwargs


def _waits(name: str, args: tuple) -> bool:
    """Whether the host has to wait for numbers: also where a mask selects, unless it only fills in one number."""
    if name not in _INDEXING:
        return name in _READS
    masks = any(isinstance(t, Tensor) and t.dtype in (torch.bool, torch.uint8) for t in args[1])
    return masks and not ("put" in name and args[2].numel() == 1)


def _refuse_mixed(name: str, args: tuple, kwargs: dict, tensors: list[Tensor], ours: list[Tensor], here: bool) -> None:
    generators = [g for g in tree_iter((args, kwargs)) if isinstance(g, torch.Generator)]
    if here and generators:
        raise RuntimeError(f"{name}: expected a generator of the device, found one of the CPU")
    lost = [t for t in tensors if t.device == DEVICE and not isinstance(t, DeviceTensor)]
    if lost:
        raise RuntimeError(f"{name}: a tensor of shape {tuple(lost[0].shape)} was moved to the device by a thread that "
                           "does not know it, and has no numbers")
    if name in _INDEXING and isinstance(args[0], DeviceTensor):
        indices = {id(t) for t in args[1]}
        tensors = [t for t in tensors if id(t) not in indices]
    strangers = [t for t in tensors if not isinstance(t, DeviceTensor) and t.ndim > 0]
    if ours and strangers:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found the fake device "
                           f"{[tuple(t.shape) for t in ours]} and the CPU {[tuple(t.shape) for t in strangers]}")
