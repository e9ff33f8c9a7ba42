"""What every trained thing here has: a device, a configuration, and a folder that it is saved in and loaded from."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from groupcc_lite.base import atomic_write, digest, require, save_module, saved_config, with_saved_weights
from groupcc_lite.groups import FiniteGroup, saved_group

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
"""The name of a repository on the Hugging Face Hub."""
CARD = """---
library_name: groupcc-lite
tags: [sparse-autoencoder, group-crosscoder, mechanistic-interpretability]
---

# {kind} of {group}

{sizes}. Read it with `groupcc_lite.coders.{kind}.from_pretrained(...)`; `config.json` holds all settings and the sha256
of the weights.
"""


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

    @property
    def fingerprint(self) -> str:
        """Content address of configuration and all that is saved: equal exactly for coders with the same of both.

        Coders that do the same with every input may differ in it: what is saved tells too how long each latent has been
        idle, for training that goes on.
        """
        weights = {name: [str(t.dtype), list(t.shape), hashlib.sha256(_bytes(t)).hexdigest()]
                   for name, t in sorted(self.state_dict().items())}
        return digest([self.config, weights], length=64)

    def save_pretrained(self, folder: str | Path) -> None:
        """What `save` writes, and a model card `README.md` beside it.

        >>> import tempfile
        >>> from groupcc_lite.coders import SparseAutoencoder
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     SparseAutoencoder(channels=6, latents=20).save_pretrained(folder)
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['README.md', 'config.json', 'weights.safetensors']
        """
        self.save(folder)
        sizes = ", ".join(f"{value:,} {name}" for name, value in self.config.items() if name in ("channels", "latents"))
        atomic_write(Path(folder) / "README.md", CARD.format(kind=type(self).__name__, group=self.group.name,
                                                             sizes=sizes or self.what.capitalize()))

    @classmethod
    def from_pretrained(cls, place: str | Path, *, revision: str | None = None,
                        group: FiniteGroup | None = None) -> Any:
        """A saved coder from a folder, or from a repository "owner/name" on the Hugging Face Hub at a `revision`.

        A folder of that name on this machine comes first. ValueError as for `load`, and for a place that is neither.

        >>> import tempfile
        >>> from groupcc_lite.coders import SparseAutoencoder
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     SparseAutoencoder(channels=6, latents=20).save_pretrained(folder)
        ...     SparseAutoencoder.from_pretrained(folder).latents
        20
        """
        if Path(place).is_dir():
            return cls.load(place, group=group)
        if not REPOSITORY.fullmatch(str(place)):
            raise ValueError(f"{str(place)!r} is neither a folder nor the name of a repository, 'owner/name'")
        hub = require("huggingface_hub", "hub")
        wanted = ["*.json", "*.safetensors"]
        return cls.load(hub.snapshot_download(str(place), revision=revision, allow_patterns=wanted),
                        group=group)

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None,
                    message: str = "Upload a coder of groupcc-lite") -> str:
        """Upload what `save_pretrained` writes to "owner/name" on the Hugging Face Hub; the address of the commit.

        The repository is made if there is none. Without `token`, that of `hf auth login`. ValueError for another name.
        """
        if not REPOSITORY.fullmatch(repository):
            raise ValueError(f"repository is {repository!r}; expected 'owner/name'")
        api = require("huggingface_hub", "hub").HfApi(token=token)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(repository, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message))

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> Any:
        raise NotImplementedError


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


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
