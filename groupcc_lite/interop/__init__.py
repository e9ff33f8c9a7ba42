"""Sparse autoencoders of other packages, read exactly or refused, and ours written for them.

`load_dictionary` reads what SAELens, sparsify, dictionary_learning and overcomplete have saved, `from_module` what they
have in memory; neither needs the package itself. What comes out is a `coders.SparseAutoencoder`, to which `fit_blocks`
gives the blocks of a group. `to_saelens` goes the other way.
"""

from groupcc_lite.interop.reading import FORMATS, from_module, load_dictionary
from groupcc_lite.interop.saelens import to_saelens

__all__ = ["FORMATS", "from_module", "load_dictionary", "to_saelens"]
