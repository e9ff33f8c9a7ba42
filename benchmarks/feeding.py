"""Photographs and orbits on their way to a coder: processes and threads against one loop that does everything in turn.

JPEG files of 500 x 375 pixels, as ImageNet's are on average, are cut to 320. "The consumer waits" stands for a device
that needs the processor as little as a GPU does: the loop sleeps as long as one process takes to load the batch, so the
most that can be gained is 2. "The consumer computes" is extraction on the processor itself, with one thread.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.timing import interleaved
from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import load_model
from groupcc_lite.orbits import OrbitStore, sample_orbits
from groupcc_lite.stimuli import ImageSource, PhotoFolder, load_ahead, sample_drawings

PHOTOS, BATCH, SIZE, WORKERS = 320, 16, 320, 2
ROWS, ORBIT = 4096, 1024


def write_photos(folder: Path) -> Path:
    """JPEG files that cost as much to decode as photographs: drawings with noise, quality 90."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    drawings = sample_drawings(range(16), 500, seed=0).images[:, :, :375]
    for number in range(PHOTOS):
        picture = drawings[number % 16] + 0.08 * torch.randn(3, 375, 500, generator=generator)
        pixels = (255 * picture.clamp(0, 1)).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{number:04d}.jpg", quality=90)
    return folder


def plain_loop(source: ImageSource, batches: Sequence[Sequence[int]]) -> Iterator[Tensor]:
    """What one writes first."""
    for batch in batches:
        yield source.load(batch)


def of_photographs(folder: Path) -> dict[str, float]:
    """Images per second with 0 and 2 processes, and ratios."""
    source = PhotoFolder(write_photos(folder / "photos"), SIZE)
    batches = [list(range(first, first + BATCH)) for first in range(0, PHOTOS, BATCH)]
    model, action = load_model("tiny-inception").at_size(224), PlanarAction(cyclic(2))
    began = time.perf_counter()
    source.load(batches[0])
    seconds = time.perf_counter() - began

    def consumer(images: Tensor, kind: str) -> None:
        if kind == "waits":
            time.sleep(seconds)
        elif kind == "computes":
            sample_orbits(model, action, images, points_per_image=10)

    def run(way: Iterator[Tensor], kind: str) -> None:
        for images in way:
            consumer(images, kind)

    kinds = ("takes nothing", "waits", "computes")
    timed = interleaved(
        {f"{name}, the consumer {kind}": lambda make=make, kind=kind: run(make(), kind) for kind in kinds
         for name, make in (("plain loop", lambda: plain_loop(source, batches)),
                            (f"{WORKERS} processes", lambda: load_ahead(source, batches, WORKERS)))}, rounds=3)
    rates = {f"{name}: images per second": PHOTOS / value for name, value in timed.items()}
    return rates | {f"plain loop / {WORKERS} processes, the consumer {kind}":
                    timed[f"plain loop, the consumer {kind}"] / timed[f"{WORKERS} processes, the consumer {kind}"]
                    for kind in kinds}


def of_first_looks(folder: Path) -> dict[str, float]:
    """A folder that is opened for the first time and again, with an index."""
    photos, index = folder / "photos", folder / "index"

    def first(workers: int) -> None:
        shutil.rmtree(index, ignore_errors=True)
        PhotoFolder(photos, SIZE, index=index, workers=workers)

    timed = interleaved({"first": lambda: first(0), "again": lambda: PhotoFolder(photos, SIZE, index=index)}, rounds=3)
    return {"opening a folder, first time / again": timed["first"] / timed["again"]}


def of_stores(folder: Path) -> dict[str, float]:
    """Batches of a store while the consumer waits as long as gathering one takes."""
    group = dihedral(16)
    x = torch.randn(256, group.order, 480, generator=torch.Generator().manual_seed(0))
    store = OrbitStore.from_batches(folder / "store", (x for _ in range(ROWS // 256)), group)
    numbers = store.order(0, 0)
    began = time.perf_counter()
    store.rows(numbers[:ORBIT])
    seconds = time.perf_counter() - began

    def in_turn() -> None:
        for first in range(0, ROWS, ORBIT):
            store.rows(numbers[first:first + ORBIT])
            time.sleep(seconds)

    def ahead() -> None:
        for _ in store.batches(ORBIT):
            time.sleep(seconds)

    timed = interleaved({"in turn": in_turn, "ahead": ahead}, rounds=3)
    return {"rows of a store gathered in turn / by a thread, the consumer waits": timed["in turn"] / timed["ahead"]}


def measure() -> dict[str, float]:
    """Images per second of each way, and ratios of their times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return of_photographs(folder) | of_first_looks(folder) | of_stores(folder)
