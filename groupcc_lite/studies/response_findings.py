"""Features compared by what they say to images in all orientations, beside what they write."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.answers import agreement
from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.orbits import StoredOrbits, TensorOrbits
from groupcc_lite.responses import response_vectors
from groupcc_lite.symmetry import max_cosine, profile_stabilisers, self_similarity


class ByResponses(NamedTuple):
    """Features compared by their responses, beside the same features compared by their dictionary vectors.

    >>> ByResponses._fields
    ('said', 'written', 'agreement', 'agreement_right', 'agreement_chance', 'same', 'same_right', 'same_chance')
    """

    said: Float[Tensor, "m m"]
    """Similarity by responses."""
    written: Float[Tensor, "m m"]
    """Similarity of dictionary vectors."""
    agreement: float
    """Rank correlation of the two, over pairs."""
    agreement_right: float
    """The same if responses are moved from the right."""
    agreement_chance: float
    """The same if features change places with others that respond about as strongly."""
    same: float
    """Share of features with the same stabiliser on both sides."""
    same_right: float
    """The same if responses are moved from the right."""
    same_chance: float
    """The same if labels were paired at random."""


def compare_responses(coder: GroupCrosscoder | FittedCrosscoder, sae: GroupCrosscoder,
                      orbits: StoredOrbits | TensorOrbits, features: Sequence[int] | Int[np.ndarray, " m"], *,
                      seed: int = 0) -> ByResponses:
    """Compare these features of `sae`, by what they say to `orbits`, with the blocks that `coder` writes.

    `coder` has the same latents in the same order: the SAE with fitted blocks, or the crosscoder itself. `seed` deals
    features out anew for what chance agrees on. ValueError as for `response_vectors`.

    >>> from groupcc_lite.groups import cyclic
    >>> coder = GroupCrosscoder(cyclic(4), channels=6, latents=12, activation="topk", k=3)
    >>> orbits = TensorOrbits(torch.randn(50, 4, 6, generator=torch.Generator().manual_seed(0)), cyclic(4))
    >>> compare_responses(coder, coder, orbits, range(5)).said.shape
    torch.Size([5, 5])
    """
    G = coder.group
    left, right = (response_vectors(sae, orbits, G, features, side=side) for side in ("left", "right"))
    D = coder.dictionary.detach()[torch.as_tensor(np.asarray(features))]
    said, turned, written = left.similarity().cpu(), right.similarity().cpu(), max_cosine(D, G).cpu()
    order = _among_alike(left.norms.cpu().numpy(), seed)
    ours, lefts, rights = (_labels(c, G) for c in (self_similarity(D, G), left.self_similarity(),
                                                   right.self_similarity()))
    same, chance = agreement(ours, lefts)
    return ByResponses(said, written, _rank_correlation(said, written), _rank_correlation(turned, written),
                       _rank_correlation(said[order][:, order], written), same, agreement(ours, rights)[0], chance)


def reads_what_it_writes(coder: GroupCrosscoder) -> GroupCrosscoder:
    """A copy whose latents are read by their own dictionary vectors: another opinion of what a feature is about.

    Labels by drawn shapes come from encoders. Who compares encoders with dictionary vectors must hear both sides.

    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> copy = reads_what_it_writes(SparseAutoencoder(3, 5))
    >>> torch.allclose(copy.W_e.norm(dim=1), torch.ones(5))
    True
    """
    other = copy.deepcopy(coder)
    with torch.no_grad():
        other.W_e.copy_(torch.nn.functional.normalize(coder.W_d[:, 0], dim=1))
        other.b_e.zero_()
    return other


def _rank_correlation(a: Float[Tensor, "m m"], b: Float[Tensor, "m m"]) -> float:
    from scipy.stats import spearmanr  # slow to import

    upper = tuple(torch.triu_indices(len(a), len(a), 1))
    return float(spearmanr(a[upper].numpy(), b[upper].numpy()).statistic)


def _among_alike(strength: Float[np.ndarray, " m"], seed: int, bins: int = 10) -> Int[np.ndarray, " m"]:
    """A permutation within tenths of the features by strength."""
    generator, order = np.random.default_rng(seed), np.empty(len(strength), dtype=int)
    for alike in np.array_split(np.argsort(strength), bins):
        order[alike] = generator.permutation(alike)
    return order


def _labels(c: Float[Tensor, "m g"], G: FiniteGroup) -> list[str]:
    """Stabilisers by name; features that never respond have none, and agree with nobody."""
    heard = ~c.isnan().any(1).cpu().numpy()
    found = iter(profile_stabilisers(c.cpu()[heard], G))
    labels = [str(next(found).subgroup.elements) if each else f"silent {number}" for number, each in enumerate(heard)]
    return labels
