"""Laws of real irreps for random groups, their types by brute force, known characters, and sympy's class counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy.combinatorics import Permutation, PermutationGroup

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import irreps as module
from groupcc_lite.groups.finite import FiniteGroup, cyclic, dihedral, permutation_group, product, trivial

Q8 = permutation_group([(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)], name="Q8")
A4 = permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4")
S4 = permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)], name="S4")
A5 = permutation_group([(1, 2, 0, 3, 4), (1, 2, 3, 4, 0)], name="A5")
C7_C3 = permutation_group([(1, 2, 3, 4, 5, 6, 0), (0, 2, 4, 6, 1, 3, 5)], name="C7 : C3")


def renumbered(G, seed):
    """The same group with its elements, but for the identity, in random order: no closed form applies."""
    order = np.array([0, *1 + np.random.default_rng(seed).permutation(G.order - 1)])
    return FiniteGroup(np.argsort(order)[G.table[np.ix_(order, order)]], name=f"{G.name}, renumbered"), order


CLOSED = [*map(cyclic, range(1, 9)), *map(dihedral, range(1, 8)), dihedral(16), product(cyclic(4), cyclic(2)),
          product(cyclic(5), cyclic(6)), product(cyclic(3), dihedral(4)), product(dihedral(3), cyclic(4)),
          product(dihedral(5), dihedral(3)), product(product(cyclic(4), cyclic(3)), cyclic(4))]
NUMERICAL = [Q8, A4, S4, A5, C7_C3, product(Q8, cyclic(3)), product(Q8, Q8), product(A4, A4), product(Q8, dihedral(3)),
             *(renumbered(G, 1)[0] for G in CLOSED[-8:])]
groups = st.sampled_from(CLOSED + NUMERICAL)


def is_homomorphism(matrices, table):
    return all(np.allclose(matrices[g] @ matrices, matrices[table[g]], atol=1e-10) for g in range(len(table)))


def commutant_dimension(matrices):
    """Dimension of {X: X rho(g) = rho(g) X}, from the equations word for word: the slow oracle for `kind`."""
    d = matrices.shape[1]
    equations = [np.kron(np.eye(d), rho) - np.kron(rho.T, np.eye(d)) for rho in matrices]
    return d * d - np.linalg.matrix_rank(np.concatenate(equations), tol=1e-8)


# ------------------------------------------------------------------------------------------------------- laws

@given(groups)
def test_homomorphisms_into_orthogonal_matrices(G):
    for irrep in G.irreps():
        assert irrep.matrices.shape == (G.order, irrep.dim, irrep.dim) and irrep.matrices.dtype == np.float64
        assert is_homomorphism(irrep.matrices, G.table)
        np.testing.assert_allclose(irrep.matrices @ irrep.matrices.swapaxes(1, 2),
                                   np.broadcast_to(np.eye(irrep.dim), irrep.matrices.shape), atol=1e-10)


@given(groups)
def test_irreps_are_irreducible_different_and_all_there_are(G):
    irreps = G.irreps()
    assert sum(irrep.dim**2 / irrep.kind for irrep in irreps) == G.order
    characters = np.array([irrep.character for irrep in irreps])
    products = characters @ characters.T / G.order
    np.testing.assert_allclose(products, np.diag([irrep.kind for irrep in irreps]), atol=1e-9)
    np.testing.assert_array_equal(irreps[0].matrices, np.ones((G.order, 1, 1)))
    assert len({irrep.name for irrep in irreps}) == len(irreps)


@given(groups)
def test_columns_of_blocks_are_an_orthonormal_basis_of_functions(G):
    """Schur orthogonality, and the promise that columns 0, e, 2e, ... determine the matrix."""
    kept = [irrep.matrices[:, :, ::irrep.kind].reshape(G.order, -1) * irrep.dim**0.5 for irrep in G.irreps()]
    basis = np.concatenate(kept, axis=1)
    np.testing.assert_allclose(basis.T @ basis / G.order, np.eye(G.order), atol=1e-9)


@pytest.mark.parametrize("G", [cyclic(5), dihedral(4), Q8, A4, S4, C7_C3, product(Q8, cyclic(3)), product(Q8, Q8),
                               product(cyclic(3), dihedral(3)), product(cyclic(3), cyclic(4))], ids=str)
def test_the_type_is_the_dimension_of_the_commutant(G):
    assert [irrep.kind for irrep in G.irreps()] == [commutant_dimension(irrep.matrices) for irrep in G.irreps()]


def test_negative_controls_of_the_oracles():
    rotation = cyclic(5).irreps()[1].matrices
    assert not is_homomorphism(rotation[[0, 2, 1, 3, 4]], cyclic(5).table)
    assert not is_homomorphism(-rotation, cyclic(5).table)
    reducible = dihedral(3).irreps()[2].matrices[:3]  # the rotations of a plane as a representation of C_3
    assert commutant_dimension(reducible) == 2 and commutant_dimension(np.ones((3, 1, 1)) * np.eye(3)) == 9


# -------------------------------------------------------------------------------- known groups, other libraries

@pytest.mark.parametrize("G", [Q8, A4, S4, A5, C7_C3, dihedral(6), product(cyclic(3), cyclic(4))], ids=str)
def test_there_are_as_many_as_sympy_finds_classes_of_elements_and_their_inverses(G):
    theirs = PermutationGroup([Permutation(row) for row in G.table.tolist()])
    classes = {frozenset(c) for c in theirs.conjugacy_classes()}
    up_to_inverses = {frozenset((c, frozenset(g**-1 for g in c))) for c in classes}
    assert len(G.irreps()) == len(up_to_inverses)
    # complex type: two complex irreps with conjugate characters; otherwise one
    assert sum(2 if irrep.kind == 2 else 1 for irrep in G.irreps()) == len(classes)


@given(st.sampled_from(CLOSED), st.integers(0, 2**16))
def test_the_numerical_way_finds_the_closed_forms(G, seed):
    other, order = renumbered(G, seed)
    characters = [sorted(tuple(np.round(irrep.character, 6) + 0.0) for irrep in H.irreps()) for H in (G, other)]
    characters[0] = sorted(tuple(np.array(character)[order]) for character in characters[0])
    assert characters[0] == characters[1]


def test_characters_of_s4():
    by_cycles = {1: 0, 2: 1, 3: 3, 4: 4}  # columns: identity, swap, two swaps, three-cycle, four-cycle
    known = {"A1": [1, 1, 1, 1, 1], "A2": [1, -1, 1, 1, -1], "E": [2, 0, 2, -1, 0], "T1": [3, 1, -1, 0, -1],
             "T2": [3, -1, -1, 0, 1]}
    squares = {S4.power(g, 2) for g in range(24) if S4.element_orders[g] == 4}
    column = [2 if g in squares else by_cycles[int(S4.element_orders[g])] for g in range(24)]
    for irrep in S4.irreps():
        np.testing.assert_allclose(irrep.character, np.array(known[irrep.name])[column], atol=1e-10)


def test_quaternions():
    *lines, last = Q8.irreps()
    assert [irrep.name for irrep in lines] == ["A1", "A2", "A3", "A4"] and all(irrep.dim == 1 for irrep in lines)
    assert (last.name, last.dim, last.kind) == ("G", 4, 4) and repr(last) == "G (dimension 4, quaternionic type)"
    assert sorted(last.character.round(9)) == [-4, *[0] * 6, 4]


def test_the_first_plane_is_the_plane_itself():
    for G in (cyclic(5), dihedral(3), dihedral(16)):
        plane = next(irrep for irrep in G.irreps() if irrep.frequency == 1)
        assert plane.name == "E1"
        np.testing.assert_allclose(plane.matrices, PlanarAction(G).matrices, atol=1e-12)


def test_names_frequencies_and_meanings():
    def table(G):
        return [(irrep.name, irrep.frequency) for irrep in G.irreps()]

    assert table(trivial()) == [("A", 0)] and table(cyclic(2)) == [("A", 0), ("B", 1)]
    assert table(dihedral(1)) == [("A1", 0), ("A2", 0)]
    assert table(dihedral(2)) == [("A1", 0), ("A2", 0), ("B1", 1), ("B2", 1)]
    assert table(cyclic(6)) == [("A", 0), ("E1", 1), ("E2", 2), ("B", 3)]
    assert table(dihedral(5)) == [("A1", 0), ("A2", 0), ("E1", 1), ("E2", 2)]
    assert table(dihedral(6)) == [("A1", 0), ("A2", 0), ("E1", 1), ("E2", 2), ("B1", 3), ("B2", 3)]
    assert [irrep.meaning for irrep in dihedral(4).irreps()] == [
        "the same for every element", "the same for every rotation, changes sign with mirrors",
        "1 period in a full turn", "changes sign with every step, unchanged by s",
        "changes sign with every step, changes sign with s"]
    assert [irrep.name for irrep in product(cyclic(4), cyclic(2)).irreps()] == [
        "A x A", "A x B", "E1 x A", "E1 x B", "B x A", "B x B"]
    assert [irrep.name for irrep in product(cyclic(3), cyclic(3)).irreps()] == [
        "A x A", "A x E1", "E1 x A", "E1 x E1 +", "E1 x E1 -"]
    assert repr(dihedral(4).irreps()[2]) == "E1 (dimension 2, real type)"


def test_signs_of_the_lines_of_d4():
    """Element k is r^k, element 4 + k is s r^k."""
    values = {irrep.name: irrep.matrices[:, 0, 0].tolist() for irrep in dihedral(4).irreps() if irrep.dim == 1}
    assert values == {"A1": [1] * 8, "A2": [1] * 4 + [-1] * 4, "B1": [1, -1] * 4, "B2": [1, -1, 1, -1, -1, 1, -1, 1]}


def test_irreps_are_found_once_and_cannot_be_changed():
    G = dihedral(3)
    assert G.irreps() is G.irreps()
    G.irreps()[0].matrices[:] = 7
    np.testing.assert_array_equal(G.irreps()[0].matrices, np.ones((6, 1, 1)))


def test_coincidences_are_drawn_again_and_end_in_an_error(monkeypatch):
    resolve, calls = module._resolve, []

    def unlucky(table, generator):
        calls.append(1)
        return resolve(table, generator)[:len(calls)]  # with one irrep, then two, ...: A4 has three

    monkeypatch.setattr(module, "_resolve", unlucky)
    assert len(module.find_irreps(A4.table)) == 3 == len(calls)
    monkeypatch.setattr(module, "_resolve", lambda table, generator: [])
    with pytest.raises(RuntimeError, match="order 12 could not be told apart"):
        module.find_irreps(A4.table)
