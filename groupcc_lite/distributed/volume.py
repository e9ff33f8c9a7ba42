"""What a training step sends between processes, as a formula; a test counts the same in a run."""

from __future__ import annotations

from collections import Counter

FLOAT = 4
"""Bytes of a number that is sent; sums are in float32 also where products of matrices are in bfloat16."""
PARTS = 3
"""Parts of a loss that are logged and of which each process has only a share."""


def step_traffic(*, activation: str, order: int, channels: int, latents: int, batch: int, data: int = 1,
                 group: int = 1, k: int | None = None, revived: int = 0, hidden: int | None = None,
                 select: str = "contribution") -> Counter[tuple[str, str]]:
    """Bytes that each of data x group processes hands over in a training step, by axis and operation, as `Traffic`.

    `order` of the coder's group, `batch` of all processes together, `revived` dead latents that a sample may revive:
    `aux_k` on a GPU, on a CPU no more than are dead.

    Along `group`: the gradients of codes, b m numbers (b k with topk), those of revived latents, and m squared norms.
    Along `data`: all gradients of a process, a mask of m latents, and for the cut of batchtopk k numbers for each
    sample of the whole batch.

    >>> step_traffic(activation="topk", order=8, channels=6, latents=20, batch=10, group=4, k=3)
    Counter({('group', 'sum'): 200, ('whole', 'sum'): 12})
    """
    sent: Counter[tuple[str, str]] = Counter()
    b = batch // data
    if group > 1:
        gradients = b * (k if activation == "topk" else latents) + b * revived
        norms = latents if select == "contribution" or activation in ("relu", "jumprelu") else 0
        sent["group", "sum"] = FLOAT * (gradients + norms)
    if data > 1:
        thresholds = latents if activation == "jumprelu" else 0
        encoder = latents * (hidden or channels) + latents + channels + thresholds
        encoder += 0 if hidden is None else hidden * (channels + 1)
        sent["data", "sum"] = FLOAT * (encoder + (latents + 1) * channels * (order // group))
        sent["data", "any"] = latents
        if activation == "batchtopk":
            sent["data", "gather"] = FLOAT * min(k * batch, b * latents)
    if data * group > 1:
        sent["whole", "sum"] = FLOAT * PARTS
    return sent
