"""Progress bars that a caller, or the environment variable TQDM_DISABLE, can switch off."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm


def progress_bar(show: bool = True, **settings: Any) -> tqdm:
    """A tqdm bar; hidden if `show` is False or TQDM_DISABLE is set, which tqdm's notebook bar ignores by itself."""
    return tqdm(disable=not show or os.environ.get("TQDM_DISABLE", "0") not in ("", "0"), **settings)
