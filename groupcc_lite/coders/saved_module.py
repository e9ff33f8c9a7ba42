"""What every trained thing here has: a device, a configuration, and a folder that it is saved in and loaded from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from groupcc_lite.base import save_module, saved_config, with_saved_weights
from groupcc_lite.groups import FiniteGroup, saved_group


class SavedModule(nn.Module):
    """A module with a group that can be saved. Subclasses give `config` and how to build one from it.

    >>> import tempfile
    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> folder, sae = tempfile.TemporaryDirectory(), SparseAutoencoder(channels=6, latents=20)
    >>> sae.save(folder.name)
    >>> SparseAutoencoder.load(folder.name).latents
    20
    >>> folder.cleanup()
    """

    what: ClassVar[str] = "coder"
    """What messages call it."""
    format: ClassVar[int] = 1
    """Raised when saved weights no longer fit."""
    group: FiniteGroup

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return dict(format=self.format, kind=type(self).__name__, group=self.group.name, names=list(self.group.names),
                    table=self.group.table.tolist())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def save(self, folder: str | Path) -> None:
        """Write `weights.safetensors`, then `config.json` with its sha256; neither file is ever half written."""
        save_module(self, self.config, folder)

    @classmethod
    def load(cls, folder: str | Path, *, group: FiniteGroup | None = None) -> Any:
        """What `save` wrote, in evaluation mode.

        ValueError if files are missing or damaged, hold another kind of thing, or if its group is not `group`.
        """
        config = saved_config(folder, cls.what)
        kind, found = config.get("kind"), config.get("format")
        if (kind, found) != (cls.__name__, cls.format):
            raise ValueError(f"{folder} holds a {kind} of format {found}, not a {cls.__name__} of format {cls.format}; "
                             + (f"load it as {kind}" if kind != cls.__name__ else "make it anew"))
        return with_saved_weights(cls._from_config(config, saved_group(folder, config, cls.what, group)), folder)

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> Any:
        raise NotImplementedError


def check_source(module: Any, source: Any) -> None:
    """ValueError unless the source's orbits are of the module's group and channels."""
    if (module.group, module.channels) != (source.group, source.channels):
        raise ValueError(f"the {module.what} is for {module.group.name} with {module.channels} channels, the orbits "
                         f"are for {source.group.name} with {source.channels}; make one of them anew to match")


def check_blocks(module: Any, x: torch.Tensor) -> torch.Tensor:
    """x itself; ValueError unless it is a batch of orbit vectors of the module's group and channels."""
    expected = (module.group.order, module.channels)
    if x.ndim != 3 or tuple(x.shape[1:]) != expected:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, {expected[0]}, {expected[1]}): one block "
                         f"of {module.channels} channels per element of {module.group.name}")
    return x
