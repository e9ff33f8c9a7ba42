"""Progress bars that a caller, or the environment variable TQDM_DISABLE, can switch off."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm


def progress_bar(show: bool = True, **settings: Any) -> tqdm:
    """A tqdm bar; hidden if `show` is False or TQDM_DISABLE is set, which tqdm's notebook bar ignores by itself.

    >>> sum(progress_bar(False, iterable=[1, 2, 3]))
    6
    """
    return tqdm(disable=not show or os.environ.get("TQDM_DISABLE", "0") not in ("", "0"), **settings)


def minutes(seconds: float) -> str:
    """A duration for people: "2.3 s", "48 s", "3 min 20 s", "2 h 5 min".

    >>> minutes(200.0)
    '3 min 20 s'
    """
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"
