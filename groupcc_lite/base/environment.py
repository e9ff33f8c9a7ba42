"""Where a result comes from: commit, date, versions, hardware, threads, memory."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from groupcc_lite.base.precision import AMPERE
from groupcc_lite.base.workspace import repository_root

PACKAGES = ("groupcc-lite", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "umap-learn", "xgboost", "pillow",
            "kornia", "torch-lucent")
"""Those whose version can change a number."""
_ALSO_CALLED = {"xgboost": "xgboost-cpu"}  # the same library without its GPU code


def provenance(**facts: Any) -> dict[str, Any]:
    """Commit, date, versions and hardware of this run, and what else it depended on.

    >>> found = provenance(seed=0)
    >>> found["seed"], sorted(found["versions"])[:3]
    (0, ['groupcc-lite', 'kornia', 'numpy'])
    """
    versions = {package: package_version(package) for package in PACKAGES}
    return dict(commit=_commit(_checkout()), date=datetime.now(UTC).isoformat(timespec="seconds"),
                versions={"python": platform.python_version(), **versions}, hardware=_hardware(),
                peak_memory_gib=peak_memory(), **facts)


@cache
def package_version(package: str) -> str:
    """The installed version of a package, or "not installed".

    Part of the key of what another library's algorithm makes, such as UMAP's maps.

    >>> package_version("no-such-package")
    'not installed'
    """
    for name in filter(None, (package, _ALSO_CALLED.get(package))):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"


def peak_memory() -> float | None:
    """Largest resident memory of this process so far in GiB; None where the system does not say.

    >>> peak_memory() is None or peak_memory() > 0.01
    True
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else []:
        if line.startswith("VmHWM"):  # ru_maxrss would on Linux begin with the peak of whoever started this process
            return round(int(line.split()[1]) / 2**20, 2)
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 2)


def _checkout() -> Path | None:
    """The checkout that this very code lies in, whatever folder somebody works in; None for an installed copy."""
    package = Path(__file__).resolve().parents[1]
    return package.parent if repository_root(package) == package.parent else None


@cache
def _commit(root: Path | None) -> str:
    """Asked for once: this process has imported its code by then, whatever is edited later."""
    if root is None or shutil.which("git") is None:
        return "unknown"
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    if head.returncode:
        return "unknown"
    dirty = subprocess.run(["git", "status", "--porcelain", "groupcc_lite", "notebooks"], cwd=root,
                           capture_output=True, text=True, check=False).stdout.strip()
    return head.stdout.strip() + (" with uncommitted changes" if dirty else "")


def _tf32() -> str:
    """Which float32 operations a GPU may shorten to TF32, of 10 bits: PyTorch lets convolutions, unless told otherwise.

    Where it is said has changed: newer versions say "tf32", "ieee" or "none", which leaves it to the older flag.
    """
    if torch.version.hip is not None or torch.cuda.get_device_capability() < AMPERE:
        return "no TF32"
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    places = {"products": (products, products), "convolutions": (getattr(convolutions, "conv", None), convolutions)}
    named = [name for name, (new, old) in places.items()
             if (said := getattr(new, "fp32_precision", "none")) == "tf32" or (said == "none" and old.allow_tf32)]
    return f"TF32 in {' and '.join(named)}" if named else "no TF32"


def _hardware() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {_tf32()}"
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    threads = torch.get_num_threads()
    return f"{model}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}"
