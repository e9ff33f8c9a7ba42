"""Laws of finite groups over random cyclic, dihedral and product groups, and the errors for tables that are none."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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

# Made beforehand: beartype draws random numbers, which a strategy must not.
FAMILIES = [*map(cyclic, range(1, 13)), *map(dihedral, range(1, 9))]
families = st.sampled_from(FAMILIES)
groups = st.sampled_from(FAMILIES + [product(G, cyclic(n)) for G in FAMILIES for n in (2, 3, 4)])


@st.composite
def group_and_elements(draw, count):
    G = draw(groups)
    return G, [draw(st.integers(0, G.order - 1)) for _ in range(count)]


def is_group(table):
    """The axioms word for word: the slow oracle for the checks of FiniteGroup."""
    n = len(table)
    R = range(n)
    return (all(0 <= table[g][h] < n for g in R for h in R)
            and all(table[0][g] == g == table[g][0] for g in R)
            and all(any(table[g][h] == 0 == table[h][g] for h in R) for g in R)
            and all(table[table[g][h]][k] == table[g][table[h][k]] for g in R for h in R for k in R))


# ------------------------------------------------------------------------------------------------------- laws

@given(groups.filter(lambda G: G.order <= 18))
def test_axioms(G):
    assert is_group(G.table.tolist())


@given(group_and_elements(3))
def test_products_powers_inverses(case):
    G, (g, h, k) = case
    assert G.multiply(G.multiply(g, h), k) == G.multiply(g, G.multiply(h, k)) == G.table[g, G.table[h, k]]
    assert G.multiply(g, G.inverse[g]) == G.multiply(G.inverse[g], g) == 0
    assert G.inverse[G.multiply(g, h)] == G.multiply(G.inverse[h], G.inverse[g])
    assert G.power(g, 5) == G.multiply(g, G.power(g, 4)) and G.power(g, -1) == G.inverse[g] and G.power(g, 0) == 0
    order = int(G.element_orders[g])
    assert G.power(g, order) == 0 and all(G.power(g, j) for j in range(1, order)) and G.order % order == 0


@given(group_and_elements(2))
def test_regular_is_a_left_action_on_orbit_vectors(case):
    G, (h1, h2) = case
    x = np.random.default_rng(0).normal(size=G.order)
    R = G.regular
    np.testing.assert_array_equal(x[R[h2]][R[h1]], x[R[G.multiply(h1, h2)]])  # h1 . (h2 . x) = (h1 h2) . x
    assert all(x[R[h1]][g] == x[G.multiply(g, h1)] for g in range(G.order))


def test_arrays_index_tensors_without_a_warning():
    G, x = dihedral(4), torch.arange(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert x[G.regular[3]][1] == 0  # r r^3 = e
        assert torch.equal(x[G.inverse], torch.as_tensor(G.inverse)) and x[G.table[:, 1]][4] == 5


@given(group_and_elements(2))
def test_subgroups_and_cosets(case):
    G, elements = case
    H = G.generated(elements)
    assert set(elements) <= set(H) and all(G.multiply(a, b) in H for a in H for b in H)
    for cosets, member in ((G.left_cosets(H), lambda g, h: G.multiply(g, h)),
                           (G.right_cosets(H), lambda g, h: G.multiply(h, g))):
        assert cosets[0] == H
        assert sorted(g for coset in cosets for g in coset) == list(range(G.order))  # a partition: Lagrange's theorem
        assert all(len(coset) == len(H) for coset in cosets)
        for coset in cosets:
            assert {member(coset[-1], h) for h in H} == set(coset)


@given(groups)
def test_conjugacy_classes(G):
    classes = G.conjugacy_classes
    assert classes[0] == (0,) and sorted(g for c in classes for g in c) == list(range(G.order))
    for c in classes:
        slow = {G.multiply(G.multiply(k, c[0]), G.inverse[k]) for k in range(G.order)}
        assert slow == set(c)
    assert (len(classes) == G.order) == G.is_abelian


@given(families, families, st.sampled_from(FAMILIES[:3]))
def test_products_of_groups(G, H, K):
    P = product(G, H)
    assert P.order == G.order * H.order and P.name == f"{G.name} x {H.name}"
    g, h = G.order - 1, H.order - 1
    assert P.multiply(g * H.order, h) == g * H.order + h == P.order - 1
    assert P.is_abelian == (G.is_abelian and H.is_abelian)
    left, right = product(P, K), product(G, product(H, K))
    assert left == right and left.names == right.names


# ----------------------------------------------------------------------------------------------- known groups

@pytest.mark.parametrize("n", [1, 2, 3, 4, 16])
def test_dihedral_conventions(n):
    G = dihedral(n)
    r, s = 1 % n, n
    assert G.order == 2 * n and G.name == f"D_{n}" and repr(G) == f"D_{n} (order {2 * n})"
    for k in range(n):
        assert G.power(r, k) == k and G.multiply(s, k) == n + k  # element n + k is s r^k
    assert G.multiply(r, s) == G.multiply(s, G.inverse[r])
    assert G.multiply(s, s) == 0 and G.is_abelian == (n <= 2)


def test_names():
    assert dihedral(3).names == ("e", "r", "r^2", "s", "s r", "s r^2")
    assert cyclic(1).names == trivial().names == ("e",) and trivial().order == 1
    assert dihedral(16).index("s r^5") == 21 and dihedral(16).latex[21] == "$s r^{5}$"
    assert product(cyclic(2), cyclic(2)).names == ("(e, e)", "(e, r)", "(r, e)", "(r, r)")
    assert FiniteGroup([[0, 1], [1, 0]]).names == ("e", "g1")
    assert FiniteGroup([[0, 1], [1, 0]], names=("keep", "swap & co")).latex == ("$keep$", "swap & co")
    assert FiniteGroup([[0, 1], [1, 0]]).name == "group of order 2"


def test_d4_by_hand():
    G = dihedral(4)
    assert G.element_orders.tolist() == [1, 4, 2, 4, 2, 2, 2, 2]
    assert G.conjugacy_classes == ((0,), (1, 3), (2,), (4, 6), (5, 7))
    assert G.generated([2, 4]) == (0, 2, 4, 6) and G.generated([]) == (0,)
    assert G.left_cosets((0, 4)) == ((0, 4), (1, 7), (2, 6), (3, 5))
    assert G.right_cosets((0, 4)) == ((0, 4), (1, 5), (2, 6), (3, 7))  # not the left ones: {e, s} is not normal


def test_permutation_groups():
    quarter, mirror = (1, 2, 3, 0), (0, 3, 2, 1)
    G = permutation_group([quarter, mirror], name="square")
    assert G.order == 8 and sorted(G.element_orders) == sorted(dihedral(4).element_orders) and G.name == "square"
    assert permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)]).order == 24
    assert permutation_group([(0, 1)]).order == 1
    # gh is "first h, then g": the generators come first, so 1 = a, 2 = b, and ab is found by composing
    a, b = (1, 2, 0), (1, 0, 2)
    G = permutation_group([a, b])
    points = {0: (0, 1, 2), 1: a, 2: b}
    composed = tuple(a[b[i]] for i in range(3))
    c = permutation_group([a, b, composed])
    points[3] = composed
    assert composed not in (a, b) and c.multiply(1, 2) == 3 and c == c and G.order == 6


def test_parse_group():
    for name in ("trivial", "C_1", "C_8", "D_16", "C_4 x C_2", "D_3 x C_2 x C_2"):
        assert parse_group(name).name == name
    assert parse_group("D_16") == dihedral(16) and parse_group("C4") == cyclic(4)
    assert [parse_group(name).name for name in ("d_16", "c4 X c2", "Trivial")] == ["D_16", "C_4 x C_2", "trivial"]
    assert parse_group("C_4 x C_2").names == product(cyclic(4), cyclic(2)).names
    for bad in ("", "D_0", "S_3", "C_4 x", "C_4xC_2", "e_16", "C_-3", "C_100000"):
        with pytest.raises(ValueError, match="expected trivial, C_n"):
            parse_group(bad)


def test_equality_hash_pickle_immutability():
    assert dihedral(4) == dihedral(4) and hash(dihedral(4)) == hash(dihedral(4)) and dihedral(4) != cyclic(8)
    assert dihedral(2) == product(cyclic(2), cyclic(2)) and dihedral(2) != cyclic(4) and dihedral(2) != "D_2"
    G = pickle.loads(pickle.dumps(dihedral(4)))
    assert G == dihedral(4) and G.names == dihedral(4).names and G.name == "D_4"
    for array in (G.table, G.inverse, G.regular, G.element_orders):
        array[:] = 1
    assert G == dihedral(4) and is_group(G.table.tolist())
    with pytest.raises(AttributeError, match="immutable"):
        G.order = 3
    table = np.array([[0, 1], [1, 0]])
    H = FiniteGroup(table)
    table[1, 1] = 1
    assert H.table[1, 1] == 0


# -------------------------------------------------------------------------------------------------- bad input

def broken(row, column, value, n=4):
    table = np.array(dihedral(n).table)
    table[row, column] = value
    return table


# A loop (identity, unique inverses, a Latin square) that is not associative: only the last check can find it out.
LOOP = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]


@pytest.mark.parametrize("table, message", [
    (broken(1, 2, 8), "not closed: r times r\\^2 is 8"),
    (broken(1, 2, -1), "not closed"),
    (broken(0, 3, 2), "element 0 \\(e\\) is not the identity: e times r\\^3 is r\\^2"),
    (broken(3, 0, 1), "r\\^3 times e is r"),
    (broken(1, 3, 1), "r has no inverse"),
    (broken(1, 2, 4), "not associative: \\(.*\\) .* is .*, but"),
    ([[0, 1], [1]], "different lengths"),
    ([[0, 1]], "shape \\(1, 2\\)"),
    ([], "shape \\(0,\\)"),
    ([[0.0, 1.0], [1.0, 0.0]], "float64; expected integers"),
])
def test_tables_that_are_no_groups(table, message):
    names = dihedral(4).names if len(table) == 8 else None
    with pytest.raises(ValueError, match=message):
        FiniteGroup(table, names=names)


def test_a_loop_that_is_no_group():
    assert not is_group(LOOP)
    with pytest.raises(ValueError, match="not associative: \\(g1 g1\\) g2 is g2, but g1 \\(g1 g2\\) is g4"):
        FiniteGroup(LOOP)


@given(groups.filter(lambda G: G.order > 2), st.data())
def test_one_wrong_entry_never_passes(G, data):
    """Negative control: a group's table with one entry changed is no group's table, and is refused."""
    g, h = (data.draw(st.integers(0, G.order - 1)) for _ in range(2))
    table = np.array(G.table)
    table[g, h] = (table[g, h] + data.draw(st.integers(1, G.order - 1))) % G.order
    with pytest.raises(ValueError, match="closed|identity|inverse|associative"):
        FiniteGroup(table)


@pytest.mark.parametrize("names, message", [
    (("e",), "expected 2 strings"), (("e", 1), "expected 2 strings"), (("e", "e"), "'e' is given to 2 elements")])
def test_bad_names(names, message, unchecked):
    with pytest.raises(ValueError, match=message):
        FiniteGroup([[0, 1], [1, 0]], names=names)


def test_bad_elements_and_subgroups(unchecked):
    G = dihedral(4)
    for g in (8, -1, 1.0, "r", True):
        with pytest.raises(ValueError, match="element is .*; expected an integer from 0 to 7 for D_4"):
            G.multiply(0, g)
        with pytest.raises(ValueError, match="expected an integer from 0 to 7"):
            G.generated([g])
    with pytest.raises(ValueError, match="no element 'sr'; its elements are e, r, r\\^2"):
        G.index("sr")
    with pytest.raises(ValueError, match="lacks the identity"):
        G.left_cosets([4])
    with pytest.raises(ValueError, match="r times r is r\\^2, which it lacks"):
        G.right_cosets([0, 1])


def test_bad_sizes_and_permutations(unchecked):
    for bad in (0, -2, 1.5, "4", True):
        with pytest.raises(ValueError, match="expected the number of rotations"):
            dihedral(bad)
        with pytest.raises(ValueError, match="expected the number of rotations"):
            cyclic(bad)
    with pytest.raises(ValueError, match="no permutation"):
        permutation_group([(0, 0, 1)])
    with pytest.raises(ValueError, match="expected one length"):
        permutation_group([(0, 1), (0, 1, 2)])
    with pytest.raises(ValueError, match="expected one length"):
        permutation_group([])
    with pytest.raises(ValueError, match="more than max_order = 100"):
        permutation_group([(1, 0, 2, 3, 4, 5), (1, 2, 3, 4, 5, 0)], max_order=100)


def test_rotations_are_read_off_the_group():
    assert rotations_of(dihedral(16)) == 16 and rotations_of(cyclic(8)) == 8
    assert rotations_of(product(cyclic(4), cyclic(2))) is None
    assert rotations_of(dihedral(2), 4) == 4
    with pytest.raises(ValueError, match="n_rotations is 3; expected 8"):
        rotations_of(dihedral(4), 3)
