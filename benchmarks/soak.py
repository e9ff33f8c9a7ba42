"""`python -m benchmarks.soak [COUNT]`: a crosscoder trains on 200,000 streamed drawings and is killed on the way.

One process draws, another takes orbits through a network and trains on them. It is killed (-9) three times, a quarter
of the way apart and between two checkpoints, and started again each time. Said are seconds, how many steps were taken
twice and whether they came out the same, what is left of the killed processes, and by how much the memory of a life
moves once it has warmed up.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
KILLS, BATCH, POINTS, EVERY = 3, 512, 4, 10
NOTES = 5
"""From one checkpoint to the next."""
FLAT = 0.05
"""By how much of its median the memory of a life may move, from its first tenth on."""

CHILD = """
import json, os, signal, sys
import psutil, torch
from torch import nn
from groupcc_lite.actions import PlanarAction
from groupcc_lite.coders import GroupCrosscoder, train
from groupcc_lite.groups import dihedral
from groupcc_lite.models import wrap_model
from groupcc_lite.orbits import OrbitStream
from groupcc_lite.stimuli import DrawingSource

folder, count, steps, batch, points, every, notes, fatal = sys.argv[1], *map(int, sys.argv[2:])
torch.manual_seed(0)
model = wrap_model(nn.Sequential(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU()), "1", input_size=32)
action = PlanarAction(dihedral(4))
source = DrawingSource(count, action.source_size(32), seed=1)
stream = OrbitStream(model, action, source, points_per_image=points, images_per_step=64, buffer=8192, mask_radius=10.0,
                     workers=1)
me = psutil.Process()

def note(row):
    helpers = me.children(recursive=True)
    memory = me.memory_info().rss + sum(one.memory_info().rss for one in helpers)
    line = dict(pid=me.pid, helpers=[one.pid for one in helpers], step=row["step"], loss=row["loss"],
                mib=memory / 2**20)
    with open(folder + "/log.jsonl", "a") as log:
        log.write(json.dumps(line) + "\\n")
    if row["step"] == fatal:
        os.kill(me.pid, signal.SIGKILL)

coder = GroupCrosscoder(action.group, model.channels, 256, activation="topk", k=8, scale=stream.scale, seed=0)
train(coder, stream, steps=steps, batch_size=batch, folder=folder + "/coder", checkpoint_every=notes * every,
      log_every=every, progress=False, on_log=note)
coder.save(folder + "/saved")
"""


def soak(folder: str | Path, count: int, kills: int = KILLS, every: int = EVERY) -> list[dict[str, Any]]:
    """Train on `count` drawings, once over, in that many lives and one more; what was noted, in the order of noting.

    A step in `every` is noted, and after `NOTES` notes there is a checkpoint. The trained coder lies in `folder`/saved.
    RuntimeError if a life ends by itself before it should.
    """
    steps = count * POINTS // BATCH
    for life in range(kills + 1):
        fatal = fatal_step(steps * (life + 1) // (kills + 1), every) if life < kills else 0
        ended = subprocess.run([sys.executable, "-c", CHILD, str(folder),
                                *map(str, (count, steps, BATCH, POINTS, every, NOTES, fatal))],
                               cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
        if ended.returncode != (-signal.SIGKILL if fatal else 0):
            raise RuntimeError(f"a life ended before step {fatal or steps}:\n{ended.stderr[-2000:]}")
    return _noted(Path(folder))


def fatal_step(step: int, every: int) -> int:
    """The first step from this one on that is noted and at which there is no checkpoint: it will be taken again.

    A life kills itself there. Whoever killed it from outside, once he had read of the step, would come some steps late
    on a fast machine, and might meet a checkpoint.
    """
    noted = -(-step // every)
    return (noted + (noted % NOTES == 0)) * every


def _noted(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of the log: the last one may have been cut off."""
    path = folder / "log.jsonl"
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.split("\n")[:-1] if line.endswith("}")]


def left_behind(rows: list[dict[str, Any]], seconds: float = 30.0) -> list[int]:
    """Processes of earlier lives that are still there after so long."""
    known = {pid for row in rows for pid in (row["pid"], *row["helpers"])}
    until = time.monotonic() + seconds
    while (alive := sorted(pid for pid in known if _runs_this(pid))) and time.monotonic() < until:
        time.sleep(0.1)
    return alive


def _runs_this(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "OrbitStream" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def repeated(rows: list[dict[str, Any]]) -> tuple[int, bool]:
    """(how many noted steps were taken again by another life, whether all came out with the same loss)."""
    first: dict[int, float] = {}
    again = []
    for row in rows:
        if row["step"] in first:
            again.append(row["loss"] == first[row["step"]])
        first.setdefault(row["step"], row["loss"])
    return len(again), all(again)


def moved(rows: list[dict[str, Any]]) -> dict[int, float]:
    """(largest - smallest) / median memory of each life, its first tenth left out."""
    found = {}
    for pid in dict.fromkeys(row["pid"] for row in rows):
        mib = np.array([row["mib"] for row in rows if row["pid"] == pid])
        settled = mib[len(mib) // 10:]
        found[pid] = float((settled.max() - settled.min()) / np.median(settled))
    return found


def main(count: int = 200_000) -> None:
    """Run it and print; status 1 if memory moved by more than `FLAT`, or anything came out otherwise or was left."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = soak(folder, count)
    (again, same), moves, left = repeated(rows), moved(rows), left_behind(rows)
    print(f"{count} drawings, {count * POINTS // BATCH} steps, {KILLS} kills: {time.perf_counter() - began:.0f} s")
    print(f"{again} noted steps taken twice, {'all the same' if same else 'NOT the same'}; processes left: {len(left)}")
    for pid, move in moves.items():
        mib = [row["mib"] for row in rows if row["pid"] == pid]
        print(f"a life of {len(mib)} notes: median {np.median(mib):.0f} MiB, moved by {move:.1%} after its first tenth")
    if left or not same or max(moves.values()) > FLAT:
        sys.exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
