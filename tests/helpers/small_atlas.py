"""An atlas whose symmetries and relatives are known: dictionary vectors made symmetric by averaging, moved copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.atlas.contents import Atlas, FeatureTable, Pictures, feature_table, run_facts
from groupcc_lite.coders import GroupCrosscoder, Metrics, SparseAutoencoder
from groupcc_lite.groups import FiniteGroup, dihedral, representatives
from groupcc_lite.runs import FamilyMap, Run
from groupcc_lite.symmetry import act, families

COPIES = 4
CHANNELS = 24


def planted_dictionary(G: FiniteGroup, seed: int = 0) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """`COPIES` features for each class of subgroups, (m, |G|, d), and for each (class, the element that moved it).

    The first of a class is left alone by exactly the class's first subgroup; the others are h . f for growing h.
    """
    generator, found, origin = torch.Generator().manual_seed(seed), [], []
    for number, H in enumerate(representatives(G.subgroups())):
        f = torch.randn(G.order, CHANNELS, generator=generator)
        f = torch.stack([act(f, G, h) for h in H.elements]).mean(0)
        for h in range(COPIES):
            found.append(act(f, G, h % G.order))
            origin.append((number, h % G.order))
    return torch.stack(found), origin


def family_map(coder: GroupCrosscoder, features: np.ndarray, seed: int = 0) -> FamilyMap:
    """A map of these features at random places, in three families, every second one preferring some drawing."""
    generator, m = np.random.default_rng(seed), len(features)
    two = generator.normal(size=(m, 2)).astype(np.float32)
    labels = families.ResponseLabels(np.where(np.arange(m) % 2, np.arange(m) % 14, -1), np.zeros(m), np.zeros((m, 14)))
    return FamilyMap(coder, np.zeros((m, m)), features, families.Embedding(np.repeat(two, 2, axis=1), two),
                     np.arange(m) % 4 - 1, labels, None)


def metrics(latents: int, alive: np.ndarray, order: int) -> Metrics:
    """Feature k fires on (k + 1) / 100 of the samples if it is alive."""
    frequency = np.zeros(latents)
    frequency[alive] = (alive + 1) / 100
    return Metrics(0.5, np.full(order, 0.5), 0.75, float("nan"), 0.25, 8.0, 0.125, frequency)


def crosscoder_table(G: FiniteGroup, count: int = 8) -> FeatureTable:
    """A table of the planted features; the coder has one latent more, number 3, which is dead."""
    D, _ = planted_dictionary(G)
    coder = GroupCrosscoder(G, CHANNELS, len(D) + 1, activation="relu")
    alive = np.delete(np.arange(len(D) + 1), 3)
    with torch.no_grad():
        coder.W_d[torch.as_tensor(alive)] = D
    return feature_table(family_map(coder, alive), metrics(len(D) + 1, alive, G.order), count=count)


def sae_table(latents: int = 30) -> FeatureTable:
    coder, alive = SparseAutoencoder(CHANNELS, latents, activation="relu", seed=1), np.arange(latents)
    return feature_table(family_map(coder, alive, seed=1), metrics(latents, alive, 1))


def discs(count: int, size: int = 24) -> np.ndarray:
    """Pictures that differ from each other and from their turned copies: (k, s, s, 3) bytes."""
    y, x = np.mgrid[:size, :size] / (size - 1)
    ramps = [np.stack([255 * x, 255 * y, np.full_like(x, 255 * k / count)], axis=-1) for k in range(count)]
    return np.stack(ramps).astype(np.uint8)


def planted_atlas(work: Path, group: FiniteGroup | None = None, action: PlanarAction | None = None) -> Atlas:
    """The planted crosscoder (D_8 unless another group is given) beside a random SAE; every fifth feature not drawn."""
    action = PlanarAction(dihedral(8) if group is None else group) if action is None else action
    run = Run("smoke", model=small_model(), images=noise_images(4, 48), action=action, work=work)
    tables = {"crosscoder": crosscoder_table(action.group), "sae": sae_table()}
    drawn = {kind: np.flatnonzero(np.arange(len(table.features)) % 5) for kind, table in tables.items()}
    pictures = {kind: Pictures(rows, discs(len(rows))) for kind, rows in drawn.items()}
    return Atlas(dict(fingerprint="planted", **run_facts(run, tables, size=12, steps=1)), tables, pictures)
