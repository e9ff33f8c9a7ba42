"""What a large crosscoder would cost on many GPUs, on paper: nothing here was measured on any."""

from __future__ import annotations

import math
from typing import Any

from groupcc_lite.distributed import step_traffic

IMAGES, POINTS, ORDER, BATCH, K, AUX_K = 1_281_167, 10, 32, 1024, 64, 64
"""ImageNet-1k's training images, points of each, |G|, orbits a step, latents that fire, dead ones that may revive."""
SIZES = ((480, 4096), (2048, 16_384), (2048, 65_536))
"""(channels, latents)."""
GPUS = (1, 8, 64)
PER_MACHINE = 8
BFLOAT16, USED = 989e12, 0.4
"""An H100's dense products in bfloat16 in a second by its data sheet, and the share that is assumed to be reached."""
MEMORY_SPEED, NVLINK, NETWORK = 3.35e12, 450e9, 50e9
"""Bytes a second by data sheets: an H100's memory, its NVLink in one direction, and 400 Gbit/s of network a GPU."""
SENT = 0.8
"""Share of a link's speed that is assumed to be reached."""


def cluster_cost(channels: int, latents: int, gpus: int) -> dict[str, Any]:
    """One pass of a BatchTopK crosscoder over stored orbits of ImageNet-1k on H100s, computed and not measured.

    Steps and FLOP; bytes of the store, of the checkpoint, on each GPU (weights, gradients and Adam's moments in
    float32, W_d once more in bfloat16, a batch with its residual, latents), handed over by each GPU in a step; seconds
    of a step, and hours. Assumed: dense products; reading keeps up; nothing overlaps; a ring for every sum; a link
    between machines wherever an axis reaches beyond one; extraction is not counted. ValueError for no GPU.

    >>> facts = cluster_cost(2048, 65_536, gpus=8)
    >>> facts["steps"], facts["layout"], round(facts["GB on each GPU"])
    (12511, '1 x 8', 13)
    """
    if gpus < 1:
        raise ValueError(f"gpus is {gpus}; expected at least 1")
    group = math.gcd(gpus, ORDER)
    data, own = gpus // group, ORDER // group
    block, encoder, b = latents * channels, latents * channels, BATCH // data
    sent = step_traffic(activation="batchtopk", order=ORDER, channels=channels, latents=latents, batch=BATCH, data=data,
                        group=group, k=K, revived=AUX_K)
    flop = BATCH * block * (6 * ORDER + 4 * group)  # each of a group computes the encoder, and both of its gradients
    steps = IMAGES * POINTS // BATCH
    computing = flop / gpus / (BFLOAT16 * USED) + 28 * (block * own + encoder) / MEMORY_SPEED
    step = computing + _sending(sent, dict(data=data, group=group, whole=gpus), group)
    on_gpu = 16 * (block * own + encoder) + 2 * block * own + 6 * b * own * channels + 12 * b * latents
    return {"channels": channels, "latents": latents, "GPUs": gpus, "layout": f"{data} x {group}", "steps": steps,
            "EFLOP": flop * steps / 1e18, "store TB": 2 * IMAGES * POINTS * ORDER * channels / 1e12,
            "checkpoint GB": 12 * (block * ORDER + encoder) / 1e9, "GB on each GPU": on_gpu / 1e9,
            "MB sent a step": sum(sent.values()) / 1e6, "ms a step": 1e3 * step, "hours": step * steps / 3600}


def _sending(sent: dict[tuple[str, str], int], sizes: dict[str, int], group: int) -> float:
    """Seconds that a step's messages take."""
    total = 0.0
    for (axis, operation), size in sent.items():
        P = sizes[axis]
        reach = P * (group if axis == "data" else 1)  # neighbours share blocks, so partners in data are apart
        carried = size * ((P - 1) if operation == "gather" else 2 * (P - 1) / P)
        total += carried / (SENT * (NVLINK if reach <= PER_MACHINE else NETWORK))
    return total


def cluster_table() -> list[dict[str, Any]]:
    """`cluster_cost` of every size in `SIZES` on every number of `GPUS`.

    >>> len(cluster_table())
    9
    """
    return [cluster_cost(channels, latents, gpus) for channels, latents in SIZES for gpus in GPUS]
