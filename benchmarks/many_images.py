"""`python -m benchmarks.many_images [COUNT]`: 50,000 tiny images where a process may open 256 files.

Once in a folder and once in tar shards they go through a store of orbits and a stream. Seconds, and how many files the
store has, are printed; the tests do the same with fewer images and fewer files.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FILES, SIDE, PER_TAR = 256, 16, 100

CHILD = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]),) * 2)
import torch
from torch import nn
from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic
from groupcc_lite.models import wrap_model
from groupcc_lite.orbits import OrbitStore, OrbitStream
from groupcc_lite.stimuli import image_source

torch.manual_seed(0)
model = wrap_model(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU()), "1", input_size=16)
action, settings = PlanarAction(cyclic(2)), dict(points_per_image=2, mask_radius=5.0, workers=2)
began, found = time.perf_counter(), {}

def lap(name):
    global began
    now = time.perf_counter()
    found[f"{name}, s"], began = round(now - began, 1), now

def opened():
    return image_source(sys.argv[1], 16, index=sys.argv[2] + "-index", workers=2)

source = opened()
lap("first look")
assert len(opened()) == len(source)
lap("opened again")
store = OrbitStore.make(sys.argv[2], model, action, source, progress=False, **settings)
lap("store made")
assert len(OrbitStore(sys.argv[2])) == 2 * len(source)
lap("store opened again")
found["rows read from the store"] = sum(len(x) for x in store.batches(500))
lap("store read")
stream = OrbitStream(model, action, source, images_per_step=64, **settings)
found["rows read from the stream"] = sum(len(x) for x in stream.batches(500))
lap("stream read")
found |= {"images": len(source), "shards of the store": store.config["shards"], "files of rows": len(store._files)}
print(json.dumps(found))
"""


def write_images(folder: Path, count: int) -> tuple[Path, Path]:
    """The same PNG files of noise in a folder of folders, and in tar shards."""
    photos, shards = folder / "photos", folder / "shards"
    shards.mkdir()
    random = np.random.default_rng(0)
    for first in range(0, count, PER_TAR):
        below = photos / f"{first // PER_TAR:04d}"
        below.mkdir(parents=True)
        with tarfile.open(shards / f"{first // PER_TAR:04d}.tar", "w") as tar:
            for number in range(first, min(first + PER_TAR, count)):
                content = io.BytesIO()
                Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(content, "png")
                (below / f"{number:06d}.png").write_bytes(content.getvalue())
                member = tarfile.TarInfo(f"{number:06d}.png")
                member.size = len(content.getvalue())
                tar.addfile(member, io.BytesIO(content.getvalue()))
    return photos, shards


def measure(count: int = 50_000) -> dict[str, dict[str, float]]:
    """What a process that may open 256 files reports of each; RuntimeError if it fails."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for place in write_images(Path(folder), count):
            child = subprocess.run([sys.executable, "-c", CHILD, place, f"{place}-store", str(FILES)], cwd=ROOT,
                                   capture_output=True, text=True, check=False)
            if child.returncode:
                raise RuntimeError(f"with {place.name} the process failed:\n{child.stderr[-2000:]}")
            results[place.name] = json.loads(child.stdout.splitlines()[-1])
    return results


if __name__ == "__main__":
    start = time.perf_counter()
    for name, result in measure(*map(int, sys.argv[1:])).items():
        print(f"{name}, at most {FILES} open files")
        for label, value in result.items():
            print(f"  {value:>10}  {label}")
    print(f"all in {time.perf_counter() - start:.0f} s")
