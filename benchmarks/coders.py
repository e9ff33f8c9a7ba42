"""Crosscoder training against a plain fp32 loop, and against a public SAE library's training on the same shapes.

Same batch, same dictionary size (m x |G| d), same number of optimiser steps; data in memory, so that only training is
timed. The library is `overcomplete`, whose SAE encodes the whole concatenated orbit (it has no notion of a block).
Where few of many latents fire, sparse codes are compared with products of whole matrices.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.timing import interleaved
from groupcc_lite.base import matrix_products
from groupcc_lite.coders import GroupCrosscoder, Training, train
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import TensorOrbits

BATCH, CHANNELS, LATENTS, K, STEPS = 1024, 480, 1024, 64, 3
FEW = {4096: 2, 16_384: 4}
"""Sizes of dictionaries of which few latents fire, and how many times faster that should be."""


def plain_layers(x: torch.Tensor, latents: int = LATENTS) -> list[nn.Module]:
    """Encoder and decoder of the plain loop."""
    return [nn.Linear(x.shape[2], latents).to(x.device), nn.Linear(latents, x[0].numel()).to(x.device)]


def plain_loop(x: torch.Tensor, layers: list[nn.Module] | None = None, size: int = BATCH) -> None:
    """What one writes first: two dense layers in fp32, squared error plus L1, Adam with its default settings."""
    encoder, decoder = layers or plain_layers(x)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for batch in x.split(size):
        f = encoder(batch[:, 0]).relu()
        loss = (batch.flatten(1) - decoder(f)).square().sum(1).mean()
        loss = loss + 1e-3 * (f * decoder.weight.norm(dim=0)).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def overcomplete_sae(x: torch.Tensor, latents: int = LATENTS, k: int = K) -> nn.Module:
    """The library's TopK autoencoder of whole orbits."""
    import matplotlib.pyplot as plt

    plt.cm.get_cmap = plt.get_cmap  # overcomplete 0.3 still asks for the place it had before matplotlib 3.9
    from overcomplete.sae import TopKSAE

    return TopKSAE(x[0].numel(), latents, top_k=k).to(x.device)


def overcomplete_loop(x: torch.Tensor, sae: nn.Module | None = None, size: int = BATCH) -> None:
    sae, flat = sae or overcomplete_sae(x), x.flatten(1)
    from overcomplete.sae import train_sae

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(flat), batch_size=size)
    optimiser = torch.optim.Adam(sae.parameters(), lr=1e-3)

    def criterion(x, x_hat, pre_codes, codes, dictionary):
        return (x - x_hat).square().sum(1).mean()

    train_sae(sae, loader, criterion, optimiser, nb_epochs=1, device=str(x.device))


def measure() -> dict[str, float]:
    """Samples per second of each way, and their ratios."""
    x = torch.randn(BATCH * STEPS, 32, CHANNELS, generator=torch.Generator().manual_seed(0))
    source = TensorOrbits(x, dihedral(16))

    def ours(activation: str, k: int | None, amp: bool) -> None:
        coder = GroupCrosscoder(source.group, CHANNELS, LATENTS, activation=activation, k=k)
        train(coder, source, steps=STEPS, batch_size=BATCH, sparsity=1e-3, amp=amp, progress=False)

    others = few_of_many() | compiled()  # these need nobody else's package
    seconds = interleaved({
        "crosscoder, ReLU + L1": lambda: ours("relu", None, True),
        "crosscoder, BatchTopK": lambda: ours("batchtopk", K, True),
        "crosscoder, ReLU + L1, fp32": lambda: ours("relu", None, False),
        "plain fp32 loop": lambda: plain_loop(x),
        "overcomplete TopKSAE": lambda: overcomplete_loop(x),
    }, rounds=3)
    rates = {f"{name}, samples per second": len(x) / value for name, value in seconds.items()}
    mine = seconds["crosscoder, ReLU + L1"]
    return rates | {
        "ours / plain fp32 loop (target: at least 2)": seconds["plain fp32 loop"] / mine,
        "ours / overcomplete": seconds["overcomplete TopKSAE"] / mine,
    } | others


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
