"""Groups of all kinds for laws that must hold for any, and the largest cosine by its definition."""

import torch
from hypothesis import strategies as st

from groupcc_lite.groups import cyclic, dihedral, permutation_group, product
from groupcc_lite.symmetry import act, normalised

A4 = permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4")
S4 = permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)], name="S4")
Q8 = permutation_group([(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)], name="Q8")  # quaternionic irreps
GROUPS = st.sampled_from([*(cyclic(n) for n in range(1, 9)), *(dihedral(n) for n in range(1, 7)),
                          *(product(cyclic(a), dihedral(b)) for a in range(1, 5) for b in range(1, 4)), A4, S4, Q8])


def max_cosine_direct(D, G):
    """One matrix product per element, and the first element that is best up to rounding: the oracle for max_cosine."""
    F = normalised(D.double()).flatten(1)
    C = torch.stack([F @ normalised(act(D.double(), G, h)).flatten(1).T for h in range(G.order)])
    S = C.amax(0)
    return S, (C >= S - 5e-6).byte().argmax(0)  # numbers of a kind for which argmax is the first
