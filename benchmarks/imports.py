"""`import groupcc_lite` against `import torch`, each in fresh processes, in turn; the fastest of several.

The library brings a package when a name of it is first used, so the second row is the one that a user pays who uses
them all: every name of the front door.
"""

from __future__ import annotations

import subprocess
import sys

WAYS = {
    "import torch": "import torch",
    "import groupcc_lite": "import groupcc_lite",
    "every name of it": "from groupcc_lite import *",
}
ROUNDS = 5
TARGET = 1.3
UNWANTED = ("matplotlib", "umap", "sklearn", "xgboost", "lucent", "ipywidgets", "pandas", "torchvision")

_TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
_LOADED = "import sys; from groupcc_lite import *; print(' '.join(name for name in {!r} if name in sys.modules))"


def _child(code: str) -> str:
    """What a fresh process prints."""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"the measured process failed:\n{child.stderr[-2000:]}")
    return child.stdout.strip()


def measure() -> dict[str, float]:
    """Seconds of each import, ratios to torch's, and how many heavy packages of the extras were loaded."""
    for way in WAYS.values():  # fills the disk's cache and writes bytecode, untimed
        _child(way)
    rounds = [{name: float(_child(_TIMED.format(code))) for name, code in WAYS.items()} for _ in range(ROUNDS)]
    best = {name: min(times[name] for times in rounds) for name in WAYS}
    torch, *ours = best
    return ({f"{name}, s": seconds for name, seconds in best.items()}
            | {f"{name} / {torch} (target: at most {TARGET})": best[name] / best[torch] for name in ours}
            | {"heavy packages loaded by every name (target: 0)": float(len(_child(_LOADED.format(UNWANTED)).split()))})
