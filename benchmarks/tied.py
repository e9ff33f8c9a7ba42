"""A training step of the tied crosscoder against the crosscoder with as many latents: D_16, 480 channels.

Both have 1,024 latents, the tied one as 32 bases in 32 poses, and read the same batches of whole orbits. Peak memory is
that of a process of its own, above one that has only drawn the data.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CHILD = """
import json, sys, time
import torch
from groupcc_lite.base import provenance
from groupcc_lite.coders import GroupCrosscoder, TiedCrosscoder, Training
from groupcc_lite.groups import dihedral

way, steps, G = sys.argv[1], int(sys.argv[2]), dihedral(16)
x = torch.randn(512, G.order, 480, generator=torch.Generator().manual_seed(0)).relu()
seconds = 0.0
if way != "none":
    coder = (TiedCrosscoder(G, 480, 32, activation="topk", k=32) if way == "tied"
             else GroupCrosscoder(G, 480, 1024, activation="topk", k=32))
    training = Training(coder, steps=steps + 1)
    training.step(x)
    began = time.perf_counter()
    for _ in range(steps):
        training.step(x)
    seconds = (time.perf_counter() - began) / steps
parameters = sum(p.numel() for p in coder.parameters()) if way != "none" else 0
print(json.dumps([seconds, provenance()["peak_memory_gib"], parameters]))
"""


def measure(steps: int = 5, rounds: int = 3) -> dict[str, float]:
    """Seconds a step, GiB and parameters of both, taken in turns, the best of some rounds; and their ratios."""
    nothing = _child("none", 0)[1]
    found: dict[str, list[list[float]]] = {"crosscoder": [], "tied": []}
    for _ in range(rounds):
        for way, runs in found.items():
            runs.append(_child(way, steps))
    results: dict[str, float] = {}
    for way, runs in found.items():
        seconds, peak, parameters = (min(column) for column in zip(*runs, strict=True))
        results |= {f"{way}: seconds a step": seconds, f"{way}: GiB": peak - nothing, f"{way}: parameters": parameters}
    for what in ("seconds a step", "GiB", "parameters"):
        results[f"crosscoder / tied, {what}"] = results[f"crosscoder: {what}"] / results[f"tied: {what}"]
    return results


def _child(way: str, steps: int) -> list[float]:
    done = subprocess.run([sys.executable, "-c", CHILD, way, str(steps)], capture_output=True, text=True, check=True,
                          cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])
