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
from groupcc_lite.symmetry.encoder_side import confirmed
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
    feature. In D_n rotations are left as they are, and the mirror axes of different frequencies are made unrelated;
    irreps of dimension 1 have no axis, so that B1 and B2 still say which of the two classes of mirrors is preferred. In
    an abelian group the powers determine c, and the surrogate is c itself: it can refute nothing there.

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


def testable(H: Subgroup, G: FiniteGroup) -> bool:
    """Whether a symmetry can be tested against chance, that is, whether a feature's `surrogate` can do without it.

    The surrogate leaves c(h) alone where all conjugates of h are h or its inverse, as those of a rotation in a dihedral
    group are, and those of any element in an abelian one. What it leaves alone it has as well. Invariance is power,
    which it keeps, and the trivial subgroup is no symmetry: neither can be tested.

    >>> from groupcc_lite.groups import dihedral
    >>> {H.label: testable(H, dihedral(4)) for H in dihedral(4).subgroups() if H.order in (2, 8)}
    {'half turn': False, 'one mirror': True, 'all': False}
    """
    moved = {h for conjugates in G.conjugacy_classes for h in conjugates if not {*conjugates} <= {h, int(G.inverse[h])}}
    return H.order < G.order and not moved.isdisjoint(H.elements)


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
    lowest for any t from `tau` up to its own. Weaker ones are never claimed, and would lend it their number. Labels
    take their turn from the largest subgroups down, and a feature with a supported one is out of the count for what is
    smaller, with its surrogates: a line has mirrors too, and would otherwise lend its strength to accidental mirrors of
    others. Invariant features are out from the start.

    What the surrogate cannot change it cannot refute: in a dihedral group subgroups without mirrors keep their cosines,
    in an abelian group all do. Such labels are never supported; `testable` says which they are.

    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import self_similarity
    >>> G = dihedral(8)
    >>> f = torch.randn(200, 16, 20, generator=torch.Generator().manual_seed(0))
    >>> f[:40] += f[:40, G.regular[9]]  # forty features with the mirror s r
    >>> found = supported_stabilisers(self_similarity(f, G), G)
    >>> sum(s.subgroup.elements == (0, 9) for s in found.stabilisers[:40]), sum(s.subgroup.order > 1 for s in found[0])
    (40, 40)
    """
    if draws < 1 or not 0 < rate < 1:
        raise ValueError(f"draws is {draws}, rate {rate}; expected at least one surrogate and a rate between 0 and 1")
    plain = profile_stabilisers(c, G, tau=tau)
    subgroups = [H for H in G.subgroups() if 1 < H.order < G.order]
    lowest, chosen = torch.full((len(c),), torch.nan), [-1] * len(c)
    if not subgroups or not len(c):
        return Supported(plain, lowest)
    strength = lowest_on_subgroups(read_for(c), subgroups)
    null = torch.stack([lowest_on_subgroups(read_for(surrogate(c, G, seed=seed + k)), subgroups)
                        for k in range(draws)])
    open_ = torch.tensor([s.subgroup.order < G.order for s in plain])
    for numbers in _by_label(subgroups):
        rows = torch.nonzero(open_).flatten()
        best, which = strength[rows][:, numbers].max(1)
        rates = _false_rates(best, null[:, rows][:, :, numbers].amax(2), tau)
        for i, b, w, r in zip(rows.tolist(), best.tolist(), which.tolist(), rates.tolist(), strict=True):
            if b >= tau and not lowest[i] <= r:
                lowest[i] = r
            if b >= tau and r <= rate:
                open_[i], chosen[i] = False, numbers[w]
    profiles, nothing = read_for(c), next(H for H in G.subgroups() if H.order == 1)
    found = [s if s.subgroup.order == G.order else
             Stabiliser.of(subgroups[k] if k >= 0 else nothing, profiles[i], s.trivial, tau)
             for i, (s, k) in enumerate(zip(plain, chosen, strict=True))]
    return Supported(found, lowest)


def _by_label(subgroups: Sequence[Subgroup]) -> list[list[int]]:
    """Numbers of the subgroups with each label and order, the largest first."""
    labels: dict[tuple[int, str], list[int]] = {}
    for number, H in enumerate(subgroups):
        labels.setdefault((-H.order, H.label), []).append(number)
    return [labels[key] for key in sorted(labels)]


def _false_rates(real: Float[Tensor, " m"], null: Float[Tensor, "k m"], tau: float) -> Float[Tensor, " m"]:
    """False discovery rate at each real strength, made monotone: the lowest at any threshold from tau up to it.

    NaN below tau, where nothing is claimed."""
    claimed = torch.nonzero(real >= tau).flatten()
    order = claimed[real[claimed].argsort()]
    rising = real[order].contiguous()
    # A surrogate that is as strong but for rounding counts, or what it leaves alone would look supported.
    false = (null.numel() - torch.searchsorted(null.flatten().sort().values, rising - 1e-6)).double() / len(null)
    true = len(rising) - torch.searchsorted(rising, rising)
    rate = torch.full_like(real, torch.nan)
    rate[order] = torch.cummin((false / true).clamp(max=1), 0).values
    return rate


class Witnessed(NamedTuple):
    """How many labels the other half of a coder bears out, and how many it would by chance.

    >>> Witnessed(40, 6.0, 8.0).rate
    0.2
    """

    count: int
    """Labels that are confirmed, the invariant ones left out."""
    surrogate: float
    """Mean number of them if the other half's irreps had unrelated axes."""
    permuted: float
    """Mean number of them if each feature had the other half of another one with the same label. Where a whole layer
    prefers some axes, both halves share these without knowing of each other. Features that are the only ones with their
    label count as for `surrogate`."""

    @property
    def by_chance(self) -> float:
        """The larger of both."""
        return max(self.surrogate, self.permuted)

    @property
    def rate(self) -> float:
        """False discovery rate of the confirmed labels, at most 1; NaN if there are none."""
        return min(1.0, self.by_chance / self.count) if self.count else float("nan")


def witnessed(found: Sequence[Stabiliser], c: Float[Tensor, "m g"], G: FiniteGroup, *, tau: float = TAU,
              draws: int = DRAWS, seed: int = 0) -> Witnessed:
    """Labels of one half that the other half's profiles `c` confirm, against two kinds of chance.

    The labels may come from any rule, supported or not: the other half has had no part in them. If a label is an
    accident, the other half knows nothing of its axis. Then it confirms the label as often as its surrogate does, whose
    axes are uniform; or, if the whole layer prefers some axes, as often as the other half of another feature with the
    same label does. The rate is that of the larger one. Counts are of labels with some symmetry, but not all; rows of
    NaN confirm nothing.

    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import self_similarity
    >>> G = dihedral(8)
    >>> f = torch.randn(64, 16, 20, generator=torch.Generator().manual_seed(0))
    >>> f += torch.cat([f[8 * k:8 * k + 8, G.regular[8 + k]] for k in range(8)])  # each of the eight mirrors
    >>> c = self_similarity(f, G)
    >>> w = witnessed(profile_stabilisers(c, G), c, G)
    >>> w.count, round(w.rate, 1)
    (64, 0.2)
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; expected at least one surrogate")
    partly = torch.tensor([1 < s.subgroup.order < G.order for s in found], dtype=torch.bool)
    count = int((confirmed(found, c, tau=tau) & partly).sum())
    rows = torch.nonzero(partly & ~c.cpu().isnan().any(1)).flatten()
    if not len(rows):
        return Witnessed(count, 0.0, 0.0)
    kept, labels = c.cpu()[rows], [found[i] for i in rows.tolist()]
    chance = torch.stack([confirmed(labels, surrogate(kept, G, seed=seed + k), tau=tau) for k in range(draws)])
    share = chance.double().mean(0)
    return Witnessed(count, float(share.sum()), float(_by_others(labels, kept, share, tau).sum()))


def _by_others(found: Sequence[Stabiliser], c: Float[Tensor, "m g"], alone: Float[Tensor, " m"],
               tau: float) -> Float[Tensor, " m"]:
    """How often each label is confirmed by the profiles of all others with this label; `alone` where there are none."""
    agree = alone.clone()
    kinds, profiles = dict[str, list[int]](), read_for(c)
    for i, s in enumerate(found):
        kinds.setdefault(s.subgroup.label, []).append(i)
    for members in kinds.values():
        if len(members) > 1:
            subgroups = {found[i].subgroup.elements: found[i].subgroup for i in members}
            passes = (lowest_on_subgroups(profiles[members], list(subgroups.values())) >= tau).double()
            column = [list(subgroups).index(found[i].subgroup.elements) for i in members]
            own = passes[range(len(members)), column]
            agree[members] = (passes.sum(0)[column] - own) / (len(members) - 1)
    return agree
