"""What counts of symmetry are worth: profiles with the same spectrum and no common axis, and false discovery rates.

A broad feature resembles its copies under many elements, and one that changes little resembles all of them. Shuffled
blocks or noise have neither property, so they are too easy a null for a count of mirrors. The surrogate keeps both: it
has the same power in every irrep, and each irrep's own shape, but the irreps no longer agree on an axis or a subgroup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup, Subgroup, fourier, inverse_fourier
from groupcc_lite.symmetry.spectra import check_profiles
from groupcc_lite.symmetry.stabiliser import TAU, Stabiliser, lowest_on_subgroups, profile_stabilisers, read_for

FALSE_RATE = 0.1
"""False discovery rate up to which a symmetry counts as supported."""
DRAWS = 20
"""Surrogates of each feature."""


def surrogate(c: Float[Tensor, "m g"], G: FiniteGroup, *, seed: int = 0) -> Float[Tensor, "m g"]:
    """Profiles with the irrep powers of `c`, axes unrelated: a null for symmetry that keeps the spectrum.

    c(h) = sum_rho d / (|G| e) tr(rho(h)^T C_rho) with C_rho = sum_h c(h) rho(h). Each C_rho is conjugated by an
    orthogonal matrix of its own, uniformly distributed over those in the algebra that the rho(h) span. Every trace,
    hence every irrep's power, stays, and C_rho stays positive semidefinite, so the result is the profile of some
    feature. In D_n rotations are left as they are, and the mirror axes of different frequencies are made unrelated. In
    an abelian group the powers determine c, so the surrogate is c itself: it can refute nothing there.

    ValueError for profiles that do not fit the group.

    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import self_similarity
    >>> G, f = dihedral(8), torch.randn(1, 16, 5, generator=torch.Generator().manual_seed(0))
    >>> c = self_similarity(f, G)
    >>> s = surrogate(c, G)
    >>> torch.allclose(s[:, :8], c[:, :8], atol=1e-6), torch.allclose(s[:, 8:], c[:, 8:], atol=0.01)
    (True, False)
    """
    check_profiles(c, G)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for irrep, part in zip(G.irreps(), fourier(c.detach().cpu().double()[..., None], G), strict=True):
        if irrep.dim > 1:
            matrices = torch.as_tensor(irrep.matrices, dtype=torch.double)
            weights = torch.randn(len(c), G.order, generator=generator, dtype=torch.double)
            turn = _nearest_orthogonal(einsum(weights, matrices, "m g, g a b -> m a b"))
            part = einsum(turn, part, turn, "m a i, m i j n, m b j -> m a b n")
        parts.append(part)
    return inverse_fourier(parts, G)[..., 0].to(c)


def _nearest_orthogonal(X: Float[Tensor, "m d d"]) -> Float[Tensor, "m d d"]:
    """X (X^T X)^(-1/2). It lies in every algebra that holds X and X^T; for Gaussian X it is uniform among its
    orthogonal matrices."""
    left, _, right = torch.linalg.svd(X)
    return left @ right


class Supported(NamedTuple):
    """Symmetries with the chance that they are none.

    >>> Supported._fields
    ('stabilisers', 'rate')
    """

    stabilisers: list[Stabiliser]
    """For each feature the largest subgroup that passes the threshold and whose rate is low enough."""
    rate: Float[Tensor, " m"]
    """Its false discovery rate; for a feature without a supported symmetry the lowest of what passed, NaN if nothing
    did, and NaN for an invariant one: power, which the surrogate keeps, decides that."""


def supported_stabilisers(c: Float[Tensor, "m g"], G: FiniteGroup, *, tau: float = TAU, rate: float = FALSE_RATE,
                          draws: int = DRAWS, seed: int = 0) -> Supported:
    """Stabilisers from profiles, as `profile_stabilisers`, but only those that the surrogate does not have as often.

    For the subgroups of one label (all single mirrors, say) and a strength t, the rate is the mean number of surrogate
    features whose best such subgroup reaches t, divided by the number of real ones that do; a feature's rate is the
    lowest for any t up to its own. Elements of a subgroup without mirrors keep their cosines in the surrogate of a
    dihedral group, so nothing can be said against chance there, and such labels are never supported.

    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import self_similarity
    >>> G = dihedral(8)
    >>> f = torch.randn(200, 16, 20, generator=torch.Generator().manual_seed(0))
    >>> f[:40] += f[:40, G.regular[9]]  # forty features with the mirror s r
    >>> found = supported_stabilisers(self_similarity(f, G), G)
    >>> sum(s.subgroup.elements == (0, 9) for s in found.stabilisers[:40]), sum(s.subgroup.order > 1 for s in found[0])
    (40, 40)
    """
    plain = profile_stabilisers(c, G, tau=tau)
    subgroups = [H for H in G.subgroups() if 1 < H.order < G.order]
    if not subgroups:
        return Supported(plain, torch.full((len(c),), torch.nan))
    by_label: dict[str, list[int]] = {}
    for number, H in enumerate(subgroups):
        by_label.setdefault(H.label, []).append(number)
    strength = lowest_on_subgroups(read_for(c), subgroups)
    null = torch.stack([lowest_on_subgroups(read_for(surrogate(c, G, seed=seed + k)), subgroups)
                        for k in range(draws)])
    rates = torch.empty_like(strength)
    for numbers in by_label.values():
        best, chance = strength[:, numbers].amax(1), null[:, :, numbers].amax(2)
        at = _false_rates(best, chance)
        # A feature's second-best subgroup of one label has the rate of a feature whose best is as strong.
        for number in numbers:
            rates[:, number] = _rate_at(strength[:, number], best, at)
    return _choose(c, G, plain, subgroups, strength, rates, tau, rate)


def _false_rates(real: Float[Tensor, " m"], null: Float[Tensor, "k m"]) -> Float[Tensor, " m"]:
    """False discovery rate at each real strength, made monotone: the lowest at any threshold up to it."""
    order = real.argsort()
    rising = real[order].contiguous()
    false = (null.numel() - torch.searchsorted(null.flatten().sort().values, rising)) / len(null)
    true = torch.arange(len(real), 0, -1, dtype=real.dtype)
    rate = torch.empty_like(real)
    rate[order] = torch.cummin((false / true).clamp(max=1), 0).values
    return rate


def _rate_at(values: Float[Tensor, " m"], real: Float[Tensor, " m"], rate: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    order = real.argsort()
    place = torch.searchsorted(real[order].contiguous(), values.contiguous(), right=True) - 1
    return torch.where(place < 0, 1.0, rate[order][place.clamp(min=0)])


def _choose(c: Tensor, G: FiniteGroup, plain: list[Stabiliser], subgroups: Sequence[Subgroup], strength: Tensor,
            rates: Tensor, tau: float, rate: float) -> Supported:
    """The largest supported subgroup of every feature that is not invariant."""
    centred, found, lowest = read_for(c), [], torch.full((len(c),), torch.nan)
    size = torch.tensor([H.order for H in subgroups])
    nothing = next(H for H in G.subgroups() if H.order == 1)
    for i, s in enumerate(plain):
        passing = strength[i] >= tau
        if s.subgroup.order == G.order or not passing.any():
            found.append(s)
            continue
        good = passing & (rates[i] <= rate)
        if good.any():
            best = int(torch.where(good, 2 * size + strength[i], -1.0).argmax())
            lowest[i] = rates[i, best]
            found.append(Stabiliser.of(subgroups[best], centred[i], s.trivial, tau))
        else:
            lowest[i] = rates[i][passing].min()
            found.append(Stabiliser.of(nothing, centred[i], s.trivial, tau))
    return Supported(found, lowest)
