"""Google Colab: where results and data lie there, and what the machine has.

A notebook's first cell installs the library and calls `prepare_colab`; nothing else knows about Colab.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from groupcc_lite.base.command_line import say

DRIVE = "drive/MyDrive/groupcc"
"""The folder on the reader's Google Drive, once it is mounted."""


def prepare_colab(content: str | Path, *, keep_on_drive: bool = False) -> None:
    """Choose the folders for results and data, and say which versions and which GPU there are.

    `content`: the folder of the Colab machine, /content. With `keep_on_drive` the reader's Google Drive is mounted
    there, and results outlive the machine. GROUPCC_WORK and GROUPCC_DATA stay as they are where they are set.
    ValueError if there is no such folder.

    >>> prepare_colab("/no/such/folder")
    Traceback (most recent call last):
    ...
    ValueError: content is '/no/such/folder'; expected the folder /content of a Colab machine
    """
    import torch

    content = Path(content)
    if not content.is_dir():
        raise ValueError(f"content is {str(content)!r}; expected the folder /content of a Colab machine")
    if keep_on_drive:
        import_module("google.colab.drive").mount(str(content / "drive"))  # nothing else has it, so nobody lists it
    home = content / (DRIVE if keep_on_drive else "groupcc")
    os.environ.setdefault("GROUPCC_WORK", str(home / "work"))
    if (home / "data").is_dir():  # weights and photographs for the profile "inception"
        os.environ.setdefault("GROUPCC_DATA", str(home / "data"))
    kept = [f"{name}=={version(name)}" for name in ("torch", "torchvision", "numpy")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    say(" ".join(["groupcc-lite", version("groupcc-lite"), *kept, "GPU:", gpu]))
    say(f"Results go to {os.environ['GROUPCC_WORK']}")
