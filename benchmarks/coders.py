"""Crosscoder training against a plain fp32 loop, and against a public SAE library's training on the same shapes.

Same batch, same dictionary size (m x |G| d), same number of optimiser steps; data in memory, so that only training is
timed. The library is `overcomplete`, whose SAE encodes the whole concatenated orbit (it has no notion of a block).
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.timing import interleaved
from groupcc_lite.coders import GroupCrosscoder, train
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import TensorOrbits

BATCH, CHANNELS, LATENTS, K, STEPS = 1024, 480, 1024, 64, 3


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
    }
