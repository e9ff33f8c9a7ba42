"""The group that a saved artefact was made for, read back from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groupcc_lite.groups.finite import FiniteGroup


def saved_group(folder: str | Path, config: dict[str, Any], what: str, expected: FiniteGroup | None) -> FiniteGroup:
    """The group in a configuration; ValueError unless it is `expected` (None: any).

    >>> config = {"table": [[0, 1], [1, 0]], "names": ["e", "r"], "group": "C_2"}
    >>> saved_group("runs/one", config, "crosscoder", expected=None)
    C_2 (order 2)
    """
    found = FiniteGroup(config["table"], names=config["names"], name=config["group"])
    if expected is not None and found != expected:
        raise ValueError(f"the {what} in {folder} was trained for {found.name}, not for {expected.name}; load it with "
                         "its own group or train a new one")
    return found
