"""How equivariant a dictionary vector's blocks are, whether f[g] and f[h] differ by g^-1 h alone; and how symmetric
orbits are as a whole, whether a set of them looks the same after the group has moved its blocks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups import FiniteGroup
from groupcc_lite.symmetry.block_action import act, check_vectors, in_parts


def equivariance_score(D: Float[Tensor, "m g d"], G: FiniteGroup) -> Float[Tensor, " m"]:
    """Share of the variance of B[g, h] = cos(f[g], f[h]) that a function of g^-1 h explains, per feature.

    1 if the blocks are one vector moved by an orthogonal representation, f[g] = rho(g) v, as in an exactly equivariant
    network, and where B does not vary at all. Only pairs of different blocks count, since B[g, g] = 1 says nothing.
    Chance level: blocks without structure score between 1 / |G| and 2 / |G| in large groups, since the function has
    many values to fit. ValueError for vectors that are zero or not finite.

    >>> from groupcc_lite.groups import cyclic
    >>> f = torch.eye(4).roll(1, 1)[None]  # four orthogonal blocks, each the one before it moved on by one channel
    >>> equivariance_score(f, cyclic(4))
    tensor([1.])
    """
    check_vectors(D, G)
    quotient = torch.as_tensor(G.table[G.inverse], device=D.device).flatten()  # g^-1 h for all (g, h)
    apart = quotient != 0

    def score(part: Float[Tensor, "m g d"]) -> Float[Tensor, " m"]:
        unit = torch.nn.functional.normalize(part, dim=-1)
        B = (unit @ unit.mT).flatten(1)[:, apart]
        number = quotient[apart].expand_as(B)
        means = B.new_zeros(len(B), G.order).scatter_add_(1, number, B) / G.order
        residual = (B - means.gather(1, number)).square().sum(1)
        variance = (B - B.mean(1, keepdim=True)).square().sum(1)
        return torch.where(variance > 1e-9, 1 - residual / variance, 1.0)

    return in_parts(D, score).float()


def orbit_asymmetry(a: Float[Tensor, "n g d"], b: Float[Tensor, "k g d"], G: FiniteGroup) -> float:
    """Which share of the second moments of orbit vectors is changed by the group: 1 - mean_h <h.C, C> / <C, C>.

    C holds the products of all entries of an orbit vector, about the mean over blocks and orbits, and h.C those of
    moved orbits, (h . x)[g] = x[gh]. If images come in all poses alike and moving them costs nothing, it is 0, *however
    little the network is equivariant*: the orbit of the moved image holds the same blocks. What makes it larger is
    poses that occur more often, and whatever belongs to an element and not to the picture, such as being interpolated.

    `a` and `b` must be of different images: <h.C, C> is the mean of (h.x . y)^2 over pairs of one orbit of each, so
    noise does not count, and a symmetric set may come out a little below 0. C itself is never formed. ValueError for
    shapes that do not fit, and for orbits whose second moments agree in nothing.

    >>> from groupcc_lite.groups import cyclic
    >>> x = torch.randn(400, 4, 5, generator=torch.Generator().manual_seed(0))
    >>> loud = x * torch.tensor([3.0, 1.0, 1.0, 1.0])[:, None]  # one element has louder blocks
    >>> abs(orbit_asymmetry(x[:200], x[200:], cyclic(4))) < 0.1
    True
    >>> orbit_asymmetry(loud[:200], loud[200:], cyclic(4)) > 0.4
    True
    """
    if a.shape[1:] != b.shape[1:] or a.ndim != 3 or a.shape[1] != G.order or not len(a) or not len(b):
        raise ValueError(f"orbits have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected (n, {G.order}, channels) "
                         f"twice, for {G.name}")
    mean = torch.cat([a, b]).mean((0, 1))
    a, b = a - mean, (b - mean).flatten(1)
    agree = torch.stack([(act(a, G, h).flatten(1) @ b.T).double().square().mean() for h in range(G.order)])
    if not agree[0] > 0:
        raise ValueError("the two sets of orbits have no second moments in common; expected orbits of one layer")
    return float(1 - agree.mean() / agree[0])
