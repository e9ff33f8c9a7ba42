"""What the other half of a coder says: the symmetry of a feature's encoder, measured on held-out orbits.

The decoder writes, the encoder reads, and they are separate matrices. Where both have the same symmetry, a label is
confirmed: by weights that were trained for another job, on images that neither was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groupcc_lite.coders import FittedCrosscoder, GroupCrosscoder
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
    left = torch.as_tensor(G.table, device=coder.device)  # left[h, g] is hg
    total: Tensor | None = None
    for batch in source.in_order():
        x = batch.to(coder.device).float()
        for part in x.split(64):
            responses = coder.preactivations(part.flatten(0, 1)).relu().unflatten(0, part.shape[:2]).movedim(1, 0)
            sums = torch.stack([(responses * responses[left[h]]).sum((0, 1)) for h in range(G.order)], dim=1)
            total = sums.double() if total is None else total + sums
    if total is None:
        raise ValueError("source holds no orbits; expected at least one")
    return (total / total[:, :1].where(total[:, :1] > 0, torch.nan)).float()


def confirmed(found: Sequence[Stabiliser], c: Float[Tensor, "m g"], *, tau: float = TAU) -> Bool[Tensor, " m"]:
    """Which labels, read from one half of a coder, the other half's profiles `c` (not centred) bear out.

    A label is confirmed if the other half's centred cosine is at least `tau` on all of the subgroup; for an invariant
    feature, if its cosine is at least `INVARIANT` for all elements. There is nothing to confirm about a feature without
    symmetry, and nothing to be had from a row of NaN: both count as not confirmed.

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
