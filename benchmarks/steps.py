"""A training step and a decoder where few of many latents fire, against whole matrices; and against `torch.compile`."""

from __future__ import annotations

import torch

from benchmarks.timing import interleaved
from groupcc_lite.base import matrix_products
from groupcc_lite.coders import GroupCrosscoder, Training
from groupcc_lite.groups import dihedral

CHANNELS, LATENTS = 480, 1024
FEW = {4096: 2, 16_384: 4}
"""Sizes of dictionaries of which few latents fire, and how many times faster that should be."""


def measure() -> dict[str, float]:
    """Ratios of seconds: above 1 where the library's way is the faster one."""
    return few_of_many() | compiled()


def few_of_many(k: int = 32, batch: int = 256, channels: int = CHANNELS, sizes: dict[int, int] = FEW,
                rounds: int = 3) -> dict[str, float]:
    """Sparse codes against products of whole matrices, for D_4: a decoder forwards, and a training step without aux.

    What is timed is what is plain to write: x^ = f W_d, with the squared error's gradient, for the whole matrices in
    float32, and in bfloat16 where the processor multiplies in it.
    """
    G, results = dihedral(4), {}
    x = torch.randn(batch, G.order, channels, generator=torch.Generator().manual_seed(0))
    for m, target in sizes.items():
        coder = GroupCrosscoder(G, channels, m, activation="topk", k=k)
        f = coder.encode(x[:, 0]).detach()
        batchtopk = GroupCrosscoder(G, channels, m, activation="batchtopk", k=k)
        seconds = interleaved({
            "decode": lambda c=coder, f=f: c.decode(f), "decode, whole": lambda c=coder, f=f: f @ c.W_d.flatten(1),
            "TopK": lambda c=coder: step(c, x), "BatchTopK": lambda c=batchtopk: step(c, x),
            "whole": lambda c=coder: step(c, x, whole=True), "low": lambda c=coder: step(c, x, whole=True, amp=True),
        }, rounds=rounds)
        size = f"{m} latents, {k} fire"
        results |= {f"{size}: whole decoder / ours (target: at least {target})":
                    seconds["decode, whole"] / seconds["decode"]}
        for kind in ("TopK", "BatchTopK"):
            results |= {f"{size}, {kind}: whole step in float32 / ours (target: at least {target})":
                        seconds["whole"] / seconds[kind],
                        f"{size}, {kind}: whole step in bfloat16 / ours": seconds["low"] / seconds[kind]}
    return results


def compiled(batch: int = 256, latents: int = LATENTS, rounds: int = 3) -> dict[str, float]:
    """A training step as it is against one whose loss went through `torch.compile`."""
    G, results = dihedral(4), {}
    for kind, channels, settings in (("ReLU + L1", 480, {}), ("BatchTopK", 120, dict(activation="batchtopk", k=60))):
        x = torch.randn(batch, G.order, channels, generator=torch.Generator().manual_seed(0))
        for amp in (False, True):
            ways = {}
            for name in ("plain", "compiled"):
                coder = GroupCrosscoder(G, channels, latents, **settings).train()
                training = Training(coder, steps=1000, amp=amp, terms=dict(sparsity=1e-3))
                if name == "compiled":
                    coder.loss = torch.compile(coder.loss)
                ways[name] = lambda training=training, x=x: [training.step(x) for _ in range(3)]
            seconds = interleaved(ways, rounds=rounds)  # the first round, in which it is compiled, is not timed
            precision = "bfloat16" if amp else "float32"
            results[f"{kind}, {precision}: plain step / compiled step"] = seconds["plain"] / seconds["compiled"]
    return results


def step(coder: GroupCrosscoder, x: torch.Tensor, *, whole: bool = False, amp: bool = False) -> None:
    """Loss and gradients, with TopK's codes as a whole matrix or as the library has them."""
    coder.zero_grad()
    with matrix_products(x.device, amp):
        if not whole:
            total, _ = coder.loss(x, aux=0.0)
        else:
            pre = coder.preactivations(x[:, 0]).relu()
            kept = (pre.detach() * coder.W_d.detach().flatten(1).norm(dim=1)).topk(coder.k, dim=1).indices
            f = torch.zeros_like(pre).scatter(1, kept, pre.gather(1, kept))
            total = (x.flatten(1) - f @ coder.W_d.flatten(1) - coder.b_d.flatten()).square().sum(1).mean()
    total.backward()
