"""groups."""

from groupcc_lite.groups.finite import FiniteGroup, cyclic, dihedral, parse_group, permutation_group, product, trivial
from groupcc_lite.groups.fourier import power
from groupcc_lite.groups.irreps import Irrep
from groupcc_lite.groups.presentations import Word, generating_words
from groupcc_lite.groups.saved import saved_group
from groupcc_lite.groups.subgroups import Subgroup, representatives

__all__ = [
    "FiniteGroup", "Irrep", "Subgroup", "Word", "cyclic", "dihedral", "generating_words", "parse_group",
    "permutation_group", "power", "product", "representatives", "saved_group", "trivial",
]
