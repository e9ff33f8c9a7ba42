"""Similarity over the group, D_16 and 480 channels: 32 matrix products against the group Fourier transform.

The direct way is the definition: the dictionary times itself moved by each element, and the maximum. Peak memory is
that of a process of its own, dictionary and PyTorch with it, which also returns the element that attains each maximum:
of all pairs, or of the nearest neighbours of each feature alone.
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
NEIGHBOURS = 50

CHILD = """
import json, sys, time
from benchmarks.similarity import dictionary
from groupcc_lite.base import provenance
from groupcc_lite.groups import dihedral
from groupcc_lite.symmetry import max_cosine, nearest_neighbours

m, half, channels, neighbours = map(int, sys.argv[1:])
G = dihedral(half)
D = dictionary(G, m, channels)
began = time.perf_counter()
nearest_neighbours(D, G, neighbours) if neighbours else max_cosine(D, G, elements=True)
print(json.dumps([(time.perf_counter() - began) / 60, provenance()["peak_memory_gib"]]))
"""


def dictionary(G: FiniteGroup, m: int, channels: int = CHANNELS) -> Float[Tensor, "m g d"]:
    """Random dictionary vectors: timing does not depend on the values."""
    return torch.randn(m, G.order, channels, generator=torch.Generator().manual_seed(0))


def direct(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, "m m"]:
    """One product of all pairs per element."""
    F = normalised(D)
    left = F.flatten(1)
    best = torch.full((len(F), len(F)), -torch.inf, device=D.device)
    for h in range(G.order):
        torch.maximum(best, left @ act(F, G, h).flatten(1).T, out=best)
    return best


def measure(targets: dict[int, int] = TARGETS, large: int = 16_384) -> dict[str, float]:
    """Seconds of both ways, their ratio and difference for each size; minutes and GiB of the largest."""
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
    for name, half, channels, neighbours, most in (
            ("all pairs, D_16 x 480 numbers", 16, CHANNELS, 0, 8),
            (f"{NEIGHBOURS} neighbours, D_16 x 480 numbers", 16, CHANNELS, NEIGHBOURS, 4),
            (f"{NEIGHBOURS} neighbours, D_4 x 64 numbers", 4, 64, NEIGHBOURS, 2)):
        minutes, peak = alone(large, half, channels, neighbours)
        results |= {f"m = {large}, {name}, minutes": minutes,
                    f"m = {large}, {name}, peak memory, GiB (target: under {most})": peak}
    return results


def alone(m: int, half: int, channels: int, neighbours: int) -> tuple[float, float]:
    """Minutes and GiB of a process that seeks elements for all pairs (0 neighbours), or the nearest of each feature."""
    child = subprocess.run([sys.executable, "-c", CHILD, *map(str, (m, half, channels, neighbours))], cwd=ROOT,
                           capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"the measured process failed:\n{child.stderr[-2000:]}")
    return tuple(json.loads(child.stdout.splitlines()[-1]))
