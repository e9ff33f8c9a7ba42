"""Similarity over the group, D_16 and 480 channels: 32 matrix products against the group Fourier transform.

The direct way is the definition: the dictionary times itself moved by each element, and the maximum. Peak memory is
that of a process of its own, which also returns the element that attains each maximum.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.timing import interleaved
from groupcc_lite.groups import FiniteGroup, dihedral
from groupcc_lite.symmetry import act, max_cosine, normalised

ROOT = Path(__file__).resolve().parents[1]
CHANNELS = 480
TARGETS = {1024: 8, 4096: 12}

CHILD = """
import json, sys, time
from benchmarks.similarity import dictionary
from groupcc_lite.base import provenance
from groupcc_lite.groups import dihedral
from groupcc_lite.symmetry import max_cosine

D = dictionary(dihedral(16), int(sys.argv[1]))
began = time.perf_counter()
max_cosine(D, dihedral(16), elements=True)
print(json.dumps([time.perf_counter() - began, provenance()["peak_memory_gib"]]))
"""


def dictionary(G: FiniteGroup, m: int) -> Float[Tensor, "m g d"]:
    """Random dictionary vectors: timing does not depend on the values."""
    return torch.randn(m, G.order, CHANNELS, generator=torch.Generator().manual_seed(0))


def direct(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, "m m"]:
    """One product of all pairs per element."""
    F = normalised(D)
    left = F.flatten(1)
    best = torch.full((len(F), len(F)), -torch.inf)
    for h in range(G.order):
        torch.maximum(best, left @ act(F, G, h).flatten(1).T, out=best)
    return best


def measure(targets: dict[int, int] = TARGETS, large: int = 16_384) -> dict[str, float]:
    """Seconds of both ways, their ratio and difference for each size; minutes and GiB of the largest dictionary."""
    G, results = dihedral(16), {}
    for m, target in targets.items():
        D, found = dictionary(G, m), {}
        seconds = interleaved({
            "direct": lambda D=D, found=found: found.update({"direct": direct(D, G)}),
            "Fourier": lambda D=D, found=found: found.update({"Fourier": max_cosine(D, G)}),
        }, rounds=3 if m <= 1024 else 1)
        difference = float((found["direct"] - found["Fourier"]).abs().max())
        results |= {
            f"m = {m}: direct, seconds": seconds["direct"],
            f"m = {m}: group Fourier transform, seconds": seconds["Fourier"],
            f"m = {m}: direct / Fourier (target: at least {target})": seconds["direct"] / seconds["Fourier"],
            f"m = {m}: largest difference (target: at most 1e-5)": difference,
        }
    child = subprocess.run([sys.executable, "-c", CHILD, str(large)], cwd=ROOT, capture_output=True, text=True,
                           check=False)
    if child.returncode:
        raise RuntimeError(f"the measured process failed:\n{child.stderr[-2000:]}")
    seconds, peak = json.loads(child.stdout.splitlines()[-1])
    return results | {f"m = {large} with elements, minutes": seconds / 60,
                      f"m = {large} with elements, peak memory, GiB (target: under 8)": peak}
