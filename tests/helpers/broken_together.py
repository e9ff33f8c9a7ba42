"""Negative control: how far losses are from those of one process, whole and with one thing left out at a time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from many_processes import GROUP, coder_of, orbits, training

from groupcc_lite.coders import GroupCrosscoder, train
from groupcc_lite.distributed import Processes, ShardedCrosscoder, World, joined, train_sharded

LEFT_OUT = {
    "nothing": (2, {}),
    "gradients of other blocks": (2, dict(_for_decoding=lambda self, codes, active: codes)),
    "gradients of other samples": (1, dict(_average_gradient=lambda self, parameter: None)),
    "cuts of other samples": (1, dict(_cut=GroupCrosscoder._cut)),
}
"""How many of two processes share blocks, and the methods that are replaced."""


def distance(world: World, group: int, methods: dict) -> float:
    coder = type("Broken", (ShardedCrosscoder,), methods)(coder_of("batchtopk"), Processes(world, GROUP.order, group))
    rows = train_sharded(coder, orbits(), **training())
    alone = train(coder_of("batchtopk"), orbits(), **training())
    return max(abs(a["loss"] - b["loss"]) / a["loss"] for a, b in zip(alone, rows, strict=True))


with joined(device="cpu", timeout=60) as world:
    found = {name: distance(world, group, methods) for name, (group, methods) in LEFT_OUT.items()}
    if world.first:
        Path(sys.argv[1]).write_text(json.dumps(found))
