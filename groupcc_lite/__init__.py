"""Group crosscoders: find features of a neural network together with the symmetry that each of them has.

The flow is images -> orbits -> coder -> symmetry -> page, one module for each arrow:

    from groupcc_lite.groups import dihedral
    from groupcc_lite.actions import PlanarAction
    from groupcc_lite.models import load_model
    from groupcc_lite.orbits import OrbitStore
    from groupcc_lite.coders import GroupCrosscoder
    from groupcc_lite.symmetry import max_cosine

`groupcc_lite.runs.Run` does all of it from a profile, and `groupcc --help` from a terminal.
"""
