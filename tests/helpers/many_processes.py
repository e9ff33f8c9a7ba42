"""A training that one process, or several that torchrun starts, can do: what it says and leaves must be the same.

Run as a script it trains every case on every mesh of its processes and leaves, in a folder, `WORLD-GROUP-CASE.json` and
the saved coders beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.distributed import Processes, ShardedCrosscoder, SharedBatches, joined, train_sharded
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import TensorOrbits

GROUP, CHANNELS, BATCH, STEPS = dihedral(2), 8, 32, 50
DEAD_AFTER = 3 * BATCH
CASES: dict[str, dict[str, Any]] = {
    "relu": dict(latents=24, activation="relu"),
    "relu with a hidden layer": dict(latents=24, activation="relu", hidden=10),
    "topk": dict(latents=24, activation="topk", k=3),
    "topk by latent": dict(latents=24, activation="topk", k=3, select="latent"),
    "topk of many": dict(latents=192, activation="topk", k=2),
    "batchtopk": dict(latents=24, activation="batchtopk", k=3),
    "jumprelu": dict(latents=24, activation="jumprelu", bandwidth=0.3),
}
COMMAND = ("--latents", "24", "--k", "3", "--batch-size", "32", "--dead-after", "96", "--device", "cpu", "--timeout",
           "60", "--log-every", "1", "--checkpoint-every", "20")
"""Settings of `groupcc train` but for where and how long."""
SPARSITY = 0.02
"""Lambda of the activations that have one; large enough that latents die where they can be revived."""


def orbits(count: int = 256) -> TensorOrbits:
    """Orbit vectors that a few planted features make."""
    generator = torch.Generator().manual_seed(3)
    truth = torch.randn(6, GROUP.order, CHANNELS, generator=generator)
    amounts = torch.rand(count, 6, generator=generator) * (torch.rand(count, 6, generator=generator) < 0.3)
    return TensorOrbits(torch.einsum("bm,mgd->bgd", amounts, truth), GROUP)


def coder_of(case: str) -> GroupCrosscoder:
    settings = dict(CASES[case])
    return GroupCrosscoder(GROUP, CHANNELS, settings.pop("latents"), scale=orbits().scale, seed=1, **settings)


def training(steps: int = STEPS) -> dict[str, Any]:
    """Keywords of `train` and `train_sharded`."""
    return dict(steps=steps, batch_size=BATCH, lr=5e-3, sparsity=SPARSITY, dead_after=DEAD_AFTER, seed=5, log_every=1,
                progress=False)


def torchrun(processes: int, *command: str, root: Path, timeout: float = 240, options: tuple[str, ...] = (
        "--standalone",)) -> subprocess.CompletedProcess[str]:
    """Start processes as a user would and wait for them."""
    return subprocess.run([sys.executable, "-m", "torch.distributed.run", *options, "--nproc-per-node", str(processes),
                           *command], cwd=root, env=environment(root), capture_output=True, text=True, check=False,
                          timeout=timeout)


def environment(root: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests' / 'helpers'}", "OMP_NUM_THREADS": "1"}


def traffic_of_a_step(coder: ShardedCrosscoder) -> tuple[Counter[tuple[str, str]], int]:
    """What one more step sends from this process, and how many latents are dead in it."""
    processes = coder.processes
    dead, before = int((coder.idle > DEAD_AFTER).sum()), Counter(processes.traffic.bytes)
    x = next(SharedBatches(orbits(), processes).batches(BATCH, seed=9))
    coder.train()
    coder.loss(x, sparsity=SPARSITY, dead_after=DEAD_AFTER)[0].backward()
    return processes.traffic.bytes - before, dead


def encoder_digest(coder: ShardedCrosscoder) -> str:
    """Of all that every process has whole."""
    content = [t.detach().cpu().numpy().tobytes() for name, t in sorted(coder.state_dict().items())
               if name not in ("W_d", "b_d")]
    return hashlib.sha256(b"".join(content)).hexdigest()


def work(case: str, processes: Processes, folder: Path) -> None:
    """Train a case on a mesh; rank 0 leaves rows, traffic and whether all encoders are the same, and the coder."""
    coder = ShardedCrosscoder(coder_of(case), processes)
    rows = train_sharded(coder, orbits(), **training())
    name = f"{processes.world.size}-{processes.group.size}-{case}"
    coder.save(folder / name)
    digest = encoder_digest(coder)
    sent, dead = traffic_of_a_step(coder)
    everybody: list[Any] = [None] * processes.world.size
    torch.distributed.all_gather_object(everybody, (digest, sorted(sent.items())))
    if processes.world.first:
        digests, traffics = zip(*everybody, strict=True)
        (folder / f"{name}.json").write_text(json.dumps(dict(
            rows=rows, dead=dead, encoders=len(set(digests)), traffic=traffics)))


def main(folder: str) -> None:
    with joined(device="cpu", timeout=60) as world:
        for group in (1, 2, 4):
            if world.size % group == 0:
                for case in CASES:
                    work(case, Processes(world, GROUP.order, group), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1])
