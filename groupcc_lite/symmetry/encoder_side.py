"""What the other half of a coder says: the symmetry of a feature's encoder, measured on held-out orbits.

The decoder writes, the encoder reads, and they are separate matrices. Where both have the same symmetry, a label is
confirmed: by weights that were trained for another job, on images that neither was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder
from groupcc_lite.groups import FiniteGroup, rotations_of
from groupcc_lite.orbits import StoredOrbits, TensorOrbits
from groupcc_lite.symmetry.stabiliser import INVARIANT, TAU, Stabiliser, read_for


@torch.no_grad()
def encoder_profile(coder: GroupCrosscoder | FittedCrosscoder,
                    source: StoredOrbits | TensorOrbits) -> Float[Tensor, "m g"]:
    """Invariance of every latent's encoder on orbits x: c(h) = sum_xg r(x[g]) r(x[hg]) / sum_xg r(x[g])^2.

    r is the latent's input after ReLU, before any selection. The image J = gI becomes hJ, so the element acts from the
    *left*: comparing x[g] with x[gh] would average over conjugacy classes and could not tell one mirror from another.
    c(e) = 1 and c(h) = c(h^-1) as for `self_similarity`, and a feature that looks for a pattern P has the same
    stabiliser, {h : hP = P}, on both sides. Rows are NaN for latents that never respond. Take orbits that the coder
    was not trained on. On the coder's device, in single precision. ValueError for no orbits, and for a coder of another
    group than the orbits'; a coder of single blocks, such as an SAE, goes with any.

    >>> from groupcc_lite.coders import GroupCrosscoder
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.orbits import TensorOrbits
    >>> G = cyclic(2)
    >>> coder = GroupCrosscoder(G, 2, 3, seed=1)
    >>> with torch.no_grad():
    ...     _ = coder.W_e.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    >>> x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # the half turn exchanges both channels
    >>> encoder_profile(coder, TensorOrbits(x, G))
    tensor([[1., 0.],
            [1., 0.],
            [1., 1.]])
    """
    G = source.group
    if coder.group.order not in (1, G.order):
        raise ValueError(f"the coder's group is {coder.group.name}, the orbits' {G.name}; expected the same")
    gram: Tensor | None = None
    for batch in source.in_order():
        x = batch.to(coder.device).float()
        for part in x.split(max(1, 4096 // G.order)):
            r = coder.preactivations(part.flatten(0, 1)).relu().unflatten(0, part.shape[:2]).permute(2, 1, 0)
            # Pairs of elements first, (m, g, g): a product of matrices, whatever is to be compared with what.
            pairs = r @ r.mT
            gram = pairs.double() if gram is None else gram.add_(pairs)
    if gram is None:
        raise ValueError("source holds no orbits; expected at least one")
    left = torch.as_tensor(G.table, device=coder.device)  # left[h, g] is hg
    total = gram.flatten(1)[:, (left * G.order + torch.arange(G.order, device=coder.device)).flatten()]
    total = total.unflatten(1, left.shape).sum(2)
    return (total / total[:, :1].where(total[:, :1] > 0, torch.nan)).float()


def confirmed(found: Sequence[Stabiliser], c: Float[Tensor, "m g"], *, tau: float = TAU) -> Bool[Tensor, " m"]:
    """Which labels, read from one half of a coder, the other half's profiles `c` (not centred) bear out.

    A label is confirmed if the other half's centred cosine is at least `tau` on all of the subgroup; for an invariant
    feature, if its cosine is at least `INVARIANT` for all elements. For an encoder that is a low bar: responses are not
    negative, so even independent ones have a cosine above 0, 1 / pi for Gaussian inputs, and sparse ones less. Judge
    invariance confirmed by an encoder beside that of untrained weights and of pixels. There is nothing to confirm about
    a feature without symmetry, and nothing to be had from a row of NaN: both count as not confirmed.

    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.symmetry import profile_stabilisers
    >>> decoder, encoder = torch.tensor([[1.0, -0.8, 0.8, -0.8]]), torch.tensor([[1.0, -0.5, 0.6, -0.5]])
    >>> confirmed(profile_stabilisers(decoder, cyclic(4)), encoder)
    tensor([True])
    """
    if len(found) != len(c):
        raise ValueError(f"{len(found)} labels for {len(c)} profiles; expected one each")
    profiles, plain = read_for(c), c.detach().cpu()
    agree = []
    for s, centred_row, row in zip(found, profiles, plain, strict=True):
        elements = list(s.subgroup.elements[1:])
        whole = s.subgroup.order == c.shape[1]
        agree.append(bool(elements) and bool(row.min() >= INVARIANT if whole else centred_row[elements].min() >= tau))
    return torch.tensor(agree, dtype=torch.bool)


class MirrorAgreement(NamedTuple):
    """How far the mirrors of the two halves of a coder lie apart.

    >>> MirrorAgreement(torch.tensor([4, 7]), torch.tensor([0, 1]), torch.tensor([0.25, 0.5, 0.25])).near
    1.0
    """

    features: Int[Tensor, " k"]
    """Which features were compared: those with a single mirror whose encoder responds."""
    steps: Int[Tensor, " k"]
    """Steps of the group between the decoder's mirror and the encoder's best one, 0 to n / 2."""
    chance: Float[Tensor, " s"]
    """Probability of each number of steps if every decoder were given the encoder of a random *other* feature among
    these: what both owe to a preference of the whole layer for some axes. NaN for fewer than two features."""

    @property
    def exact(self) -> float:
        """Share of features whose mirrors are the same."""
        return float((self.steps == 0).double().mean())

    @property
    def near(self) -> float:
        """Share of features whose mirrors are the same or neighbours."""
        return float((self.steps <= 1).double().mean())


def mirror_agreement(found: Sequence[Stabiliser], c: Float[Tensor, "m g"], G: FiniteGroup) -> MirrorAgreement:
    """The mirror of each decoder that has a single one, against the mirror under which the encoder changes least.

    `found`: labels of the decoder; `c`: profiles of the encoder, not centred (centring moves no maximum). Mirrors are
    counted in steps of the group: s r^k and s r^(k+1) are neighbours, their axes half a rotation step apart. Features
    with other labels, and encoders that never respond, are left out. ValueError unless G is a D_n.

    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import profile_stabilisers
    >>> decoder = torch.tensor([[1, 0, 0, 0, 0.1, 0.9, 0.1, 0]])  # D_4: the mirror s r
    >>> encoder = torch.tensor([[1, 0, 0, 0, 0.1, 0.4, 0.6, 0]])  # rather s r^2
    >>> mirror_agreement(profile_stabilisers(decoder, dihedral(4)), encoder, dihedral(4)).steps
    tensor([1])
    """
    n = rotations_of(G)
    if n is None or G.order != 2 * n:
        raise ValueError(f"{G.name} is no dihedral group; expected D_n, whose mirrors are its last n elements")
    if len(found) != len(c):
        raise ValueError(f"{len(found)} labels for {len(c)} profiles; expected one each")
    mirrors = [(i, s.subgroup.elements[1] - n) for i, s in enumerate(found)
               if s.subgroup.order == 2 and s.subgroup.elements[1] >= n and not c[i].isnan().any()]
    features = torch.tensor([i for i, _ in mirrors], dtype=torch.long)
    ours = torch.tensor([k for _, k in mirrors], dtype=torch.long)
    theirs = c.cpu()[features, n:].argmax(1) if len(mirrors) else features
    steps, others = _steps(ours, theirs, n), len(mirrors) * (len(mirrors) - 1)
    if not others:
        return MirrorAgreement(features, steps, torch.full((n // 2 + 1,), torch.nan))
    apart = _steps(torch.arange(n)[:, None], torch.arange(n), n)
    pairs = torch.outer(torch.bincount(ours, minlength=n), torch.bincount(theirs, minlength=n))
    count = torch.zeros(n // 2 + 1, dtype=torch.long).index_add_(0, apart.flatten(), pairs.flatten())
    count -= torch.bincount(steps, minlength=len(count))  # a feature with its own encoder
    return MirrorAgreement(features, steps, (count.double() / others).float())


def _steps(a: Tensor, b: Tensor, n: int) -> Tensor:
    apart = (a - b).abs() % n
    return torch.minimum(apart, n - apart)


def inside_by_chance(found: Sequence[Stabiliser], c: Float[Tensor, "m g"], *, permutations: int = 20,
                     seed: int = 0) -> tuple[Float[Tensor, " k"], Float[Tensor, "p k"]]:
    """Smallest centred cosine of each encoder on its decoder's stabiliser, and on that of others with the same label.

    For every feature with some symmetry, but not all, whose encoder responds, and that is not the only one with its
    label: (its own value, values under permutations of the features within each label). Where both halves have the same
    axis, the first is the larger; where a layer only prefers some labels or axes, both are alike.

    >>> from groupcc_lite.groups import dihedral
    >>> from groupcc_lite.symmetry import profile_stabilisers
    >>> c = torch.tensor([[1.0, 0, 1, 0], [1.0, 0, 0, 1]])  # D_2: two features, one mirror each
    >>> own, other = inside_by_chance(profile_stabilisers(c, dihedral(2)), c, permutations=50)
    >>> own.tolist(), sorted(set(other.flatten().tolist()))
    ([1.0, 1.0], [-1.0, 1.0])
    """
    if len(found) != len(c):
        raise ValueError(f"{len(found)} labels for {len(c)} profiles; expected one each")
    profiles, by_label = read_for(c), dict[str, list[int]]()
    for i, s in enumerate(found):
        if 1 < s.subgroup.order < c.shape[1] and not c[i].isnan().any():
            by_label.setdefault(s.subgroup.label, []).append(i)
    groups = [torch.tensor(members) for members in by_label.values() if len(members) > 1]
    generator = torch.Generator().manual_seed(seed)

    def smallest(encoders: list[Tensor]) -> Tensor:
        pairs = [(i, j) for own, other in zip(groups, encoders, strict=True) for i, j in zip(own, other, strict=True)]
        return torch.tensor([float(profiles[j, list(found[i].subgroup.elements[1:])].min()) for i, j in pairs])

    shuffled = [smallest([g[torch.randperm(len(g), generator=generator)] for g in groups]) for _ in range(permutations)]
    return smallest(groups), torch.stack(shuffled) if shuffled else torch.zeros(0, sum(map(len, groups)))
