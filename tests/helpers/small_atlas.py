"""An atlas whose symmetries and relatives are known: dictionary vectors made symmetric by averaging, moved copies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.atlas import storage
from groupcc_lite.atlas.contents import Atlas, Pictures, placed, run_facts
from groupcc_lite.base import sha256_of
from groupcc_lite.coders import GroupCrosscoder, Metrics, SparseAutoencoder
from groupcc_lite.groups import FiniteGroup, dihedral, representatives
from groupcc_lite.runs import FamilyMap, FeatureTable, Run, feature_table
from groupcc_lite.symmetry import act, families, self_similarity, testable

COPIES = 4
CHANNELS = 24
SILENT = 5
"""Row of the feature whose encoder never responds."""


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


def planted_encoder(D: torch.Tensor, G: FiniteGroup) -> torch.Tensor:
    """Profiles of encoders: in every second row that of the dictionary vector, else of unrelated noise."""
    noise = torch.randn(D.shape, generator=torch.Generator().manual_seed(7))
    profiles = self_similarity(torch.where((torch.arange(len(D)) % 2 == 0)[:, None, None], D, noise), G)
    profiles[SILENT:SILENT + 1] = torch.nan
    return profiles


def crosscoder_table(G: FiniteGroup, count: int = 8) -> FeatureTable:
    """A table of the planted features; the coder has one latent more, number 3, which is dead."""
    D, _ = planted_dictionary(G)
    coder = GroupCrosscoder(G, CHANNELS, len(D) + 1, activation="relu")
    alive = np.delete(np.arange(len(D) + 1), 3)
    with torch.no_grad():
        coder.W_d[torch.as_tensor(alive)] = D
    return placed(feature_table(family_map(coder, alive), metrics(len(D) + 1, alive, G.order), planted_encoder(D, G),
                                count=count))


def every_verdict(table: FeatureTable, G: FiniteGroup) -> FeatureTable:
    """The table with supported labels, which so few features cannot have: the first of each kind that can be tested is
    supported; of the second one only a subgroup, if it has one with two elements."""
    subgroups, found = G.subgroups(), table.symmetries
    supported, rate, seen = found.supported.copy(), found.rate.copy(), set()
    for row, k in enumerate(found.subgroup):
        smaller = [j for j, H in enumerate(subgroups) if H.order == 2 and {*H.elements} < {*subgroups[k].elements}]
        if testable(subgroups[k], G) and subgroups[k].label not in seen:
            supported[row], rate[row] = k, 0.05
            if smaller:
                supported[row + 1], rate[row + 1] = smaller[-1], 0.02
            seen.add(subgroups[k].label)
    return dataclasses.replace(table, symmetries=found._replace(supported=supported, rate=rate))


def sae_table(latents: int = 30) -> FeatureTable:
    coder, alive = SparseAutoencoder(CHANNELS, latents, activation="relu", seed=1), np.arange(latents)
    return placed(feature_table(family_map(coder, alive, seed=1), metrics(latents, alive, 1)))


def discs(count: int, size: int = 24) -> np.ndarray:
    """Pictures that differ from each other and from their turned copies: (k, s, s, 3) bytes."""
    y, x = np.mgrid[:size, :size] / (size - 1)
    ramps = [np.stack([255 * x, 255 * y, np.full_like(x, 255 * k / count)], axis=-1) for k in range(count)]
    return np.stack(ramps).astype(np.uint8)


def planted_atlas(work: Path, group: FiniteGroup | None = None, action: PlanarAction | None = None) -> Atlas:
    """The planted crosscoder (D_8 unless another group is given) beside a random SAE; every fifth feature not drawn."""
    action = PlanarAction(dihedral(8) if group is None else group) if action is None else action
    run = Run("smoke", model=small_model(), images=noise_images(4, 48), action=action, work=work)
    tables = {"crosscoder": every_verdict(crosscoder_table(action.group), action.group), "sae": sae_table()}
    drawn = {kind: np.flatnonzero(np.arange(len(table.features)) % 5) for kind, table in tables.items()}
    pictures = {kind: Pictures(rows, discs(len(rows))) for kind, rows in drawn.items()}
    return Atlas(dict(fingerprint="planted", **run_facts(run, tables, size=12, steps=1)), tables, pictures)


def make_old(folder: Path) -> Path:
    """Rewrite the data of an atlas as format 1 had them: no centred profiles, no verdicts, a threshold of its own."""
    facts, table = (storage.read_script(folder / f"{name}.js") for name in ("atlas", "crosscoder"))
    for key in ("centred", "trivial", "supported", "rate", "confirmed", "encoder"):
        del table[key]
    for key in ("invariant", "false_rate"):
        del facts[key]
    for subgroup in facts["subgroups"].values():
        del subgroup["testable"]
    path = folder / "crosscoder.js"
    path.write_text(storage.script("crosscoder", table))
    facts |= dict(format=1, tau=0.7)
    facts["files"][path.name] = dict(bytes=path.stat().st_size, sha256=sha256_of(path))
    (folder / "atlas.js").write_text(storage.script("atlas", facts))
    return folder
