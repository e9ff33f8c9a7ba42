"""Finite groups as tables, and what symmetry needs of them: subgroups, irreps, the Fourier transform, presentations.

A reader meets `cyclic(n)` and `dihedral(n)` first, both a `FiniteGroup`: elements are the numbers 0 .. |G|-1 with 0 the
identity, `G.table[g, h]` is gh, and of two transformations the right one acts first. `G.subgroups()` and `G.irreps()`
hand out `Subgroup`s and real orthogonal `Irrep`s; `fourier` takes functions on a group apart by irrep, `fourier_power`
is how much of each there is, and `convolve` puts patterns down in every orientation.
"""

from groupcc_lite.groups.convolution import convolve
from groupcc_lite.groups.finite import (
    FiniteGroup,
    cyclic,
    dihedral,
    parse_group,
    permutation_group,
    product,
    rotations_of,
    trivial,
)
from groupcc_lite.groups.fourier_transform import fourier, fourier_power, inverse_fourier
from groupcc_lite.groups.irreps import Irrep
from groupcc_lite.groups.presentations import Word, generating_words
from groupcc_lite.groups.saved import saved_group
from groupcc_lite.groups.subgroups import Subgroup, representatives

__all__ = [
    "FiniteGroup", "Irrep", "Subgroup", "Word", "convolve", "cyclic", "dihedral", "fourier", "fourier_power",
    "generating_words", "inverse_fourier", "parse_group", "permutation_group", "product", "representatives",
    "rotations_of", "saved_group", "trivial",
]
