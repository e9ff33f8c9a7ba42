"""Response vectors, D_16 and 256 features: vectors as long as all images against sums that grow with none of them.

The long way keeps a number for each feature, image and element, and compares the vectors by the definition; the other
is `responses.ResponseVectors`. Peak memory is that of a process of its own, above one that has only drawn a batch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = (100, 1000, 10_000)

CHILD = """
import json, sys, time
import torch
from groupcc_lite.base import provenance
from groupcc_lite.groups import dihedral
from groupcc_lite.responses import ResponseVectors
from groupcc_lite.symmetry import act, normalised

way, images, G, m = sys.argv[1], int(sys.argv[2]), dihedral(16), 256

def batches():
    generator = torch.Generator().manual_seed(0)
    for start in range(0, images, 100):
        yield torch.randn(100, G.order, m, generator=generator).sub(1.5).relu()

began = time.perf_counter()
if way == "long":
    # With elements inverted, the left action of responses is the right one of dictionary vectors.
    F = normalised(torch.cat([q[:, G.inverse.tolist()].permute(2, 1, 0) for q in batches()], 2))
    best = torch.full((m, m), -torch.inf)
    for h in range(G.order):
        torch.maximum(best, F.flatten(1) @ act(F, G, h).flatten(1).T, out=best)
elif way == "streamed":
    vectors = ResponseVectors(G, m)
    for q in batches():
        vectors.add(q)
    best = vectors.similarity()
else:
    best = next(iter(batches()))[0]
print(json.dumps([time.perf_counter() - began, provenance()["peak_memory_gib"], best[:64, :64].flatten().tolist()]))
"""


def measure(images: tuple[int, ...] = IMAGES) -> dict[str, float]:
    """Seconds and GiB of both ways, and how far they differ, for each number of images."""
    results = {}
    _, nothing, _ = _child("none", 100)
    for count in images:
        found = {way: _child(way, count) for way in ("long", "streamed")}
        for way, (seconds, peak, _) in found.items():
            results |= {f"{count} images: {way}, seconds": seconds, f"{count} images: {way}, GiB": peak - nothing}
        long, streamed = found["long"], found["streamed"]
        results |= {f"{count} images: long / streamed, time": long[0] / streamed[0],
                    f"{count} images: largest difference of 4,096 similarities (target: at most 1e-5)":
                        max(abs(a - b) for a, b in zip(long[2], streamed[2], strict=True))}
    return results


def _child(way: str, images: int) -> tuple[float, float, list[float]]:
    child = subprocess.run([sys.executable, "-c", CHILD, way, str(images)], cwd=ROOT, capture_output=True, text=True,
                           check=False)
    if child.returncode:
        raise RuntimeError(f"the measured process failed:\n{child.stderr[-2000:]}")
    return tuple(json.loads(child.stdout.splitlines()[-1]))
