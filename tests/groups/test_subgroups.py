"""Subgroups against brute force, known counts and sympy; names that do not depend on the numbering; labels."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import factorint
from sympy.combinatorics import Permutation, PermutationGroup

from groupcc_lite.groups.finite import FiniteGroup, cyclic, dihedral, permutation_group, product, trivial
from groupcc_lite.groups.subgroups import is_cyclic, is_dihedral, representatives

Q8 = permutation_group([(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)], name="Q8")
A4 = permutation_group([(1, 2, 0, 3), (0, 2, 3, 1)], name="A4")
S4 = permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)], name="S4")
A5 = permutation_group([(1, 2, 0, 3, 4), (1, 2, 3, 4, 0)], name="A5")
S5 = permutation_group([(1, 0, 2, 3, 4), (1, 2, 3, 4, 0)], name="S5")
DIC3 = permutation_group([(1, 2, 0, 3, 4, 5, 6), (0, 2, 1, 4, 5, 6, 3)], name="Dic3")
SMALL = [*map(cyclic, range(1, 13)), *map(dihedral, range(1, 7)), Q8, A4, DIC3, product(cyclic(4), cyclic(2)),
         product(dihedral(2), cyclic(3)), product(cyclic(2), dihedral(3))]
LARGER = [S4, dihedral(16), product(dihedral(4), cyclic(2)), product(Q8, cyclic(3)), product(dihedral(3), dihedral(3)),
          product(cyclic(8), cyclic(8)), product(A4, cyclic(2))]


def renumbered(G, seed):
    """The same group with its elements, but for the identity, in random order."""
    order = np.array([0, *1 + np.random.default_rng(seed).permutation(G.order - 1)])
    return FiniteGroup(np.argsort(order)[G.table[np.ix_(order, order)]])


def is_closed(elements, table):
    return all(int(table[g, h]) in elements for g in elements for h in elements)


def by_brute_force(G):
    """Every set of elements that contains the identity and is closed under products."""
    table, rest = G.table, range(1, G.order)
    sizes = (k for k in range(G.order) if G.order % (k + 1) == 0)
    sets = (frozenset((0, *chosen)) for k in sizes for chosen in itertools.combinations(rest, k))
    return {elements for elements in sets if is_closed(elements, table)}


def moved(G, elements, k):
    return tuple(sorted(G.multiply(G.multiply(k, g), G.inverse[k]) for g in elements))


# ------------------------------------------------------------------------------------------------------- laws

@pytest.mark.parametrize("G", SMALL, ids=str)
def test_all_subgroups_are_found_and_nothing_else(G):
    found = [H.elements for H in G.subgroups()]
    assert len(set(found)) == len(found) and set(map(frozenset, found)) == by_brute_force(G)


def test_negative_control_brute_force_sees_a_set_that_is_not_closed():
    assert not is_closed({0, 1}, dihedral(4).table) and frozenset((0, 1)) not in by_brute_force(cyclic(4))


@given(st.sampled_from(SMALL + LARGER), st.integers(0, 2**16))
def test_order_classes_and_generation(G, seed):
    subgroups = G.subgroups()
    assert [H.elements for H in subgroups] == sorted((H.elements for H in subgroups), key=lambda e: (len(e), e))
    assert subgroups[0].elements == (0,) and subgroups[-1].elements == tuple(range(G.order))
    H, k = subgroups[seed % len(subgroups)], seed // 7 % G.order
    assert G.generated(H.elements) == H.elements and G.order % H.order == 0 and H.order == len(H.elements)
    by_elements = {K.elements: K for K in subgroups}
    conjugate = by_elements[moved(G, H.elements, k)]
    assert (conjugate.conjugacy_class, conjugate.name, conjugate.label) == (H.conjugacy_class, H.name, H.label)
    orbit = {moved(G, H.elements, g) for g in range(G.order)}
    assert orbit == {K.elements for K in subgroups if K.conjugacy_class == H.conjugacy_class}
    first = representatives(subgroups)
    assert [K.conjugacy_class for K in first] == list(range(len(first)))
    assert all(K == min((J for J in subgroups if J.conjugacy_class == K.conjugacy_class), key=subgroups.index)
               for K in first)


@given(st.sampled_from(SMALL + LARGER), st.integers(0, 2**16))
def test_names_do_not_depend_on_the_numbering(G, seed):
    other = renumbered(G, seed)
    for select in (lambda subgroups: subgroups, representatives):
        assert (Counter(H.name for H in select(other.subgroups()))
                == Counter(H.name for H in select(G.subgroups())))


# ------------------------------------------------------------------------------- known counts, other libraries

def divisors(n):
    return [k for k in range(1, n + 1) if n % k == 0]


@pytest.mark.parametrize("n", [1, 2, 3, 6, 12, 16, 30])
def test_counts_of_cyclic_and_dihedral_groups(n):
    assert len(cyclic(n).subgroups()) == len(divisors(n))
    assert len(dihedral(n).subgroups()) == len(divisors(n)) + sum(divisors(n))
    # The k subgroups D_{n/k} form one class, or two (through the mirrors s and s r) if k is even.
    assert len(representatives(dihedral(n).subgroups())) == sum(2 + (k % 2 == 0) for k in divisors(n))


@pytest.mark.parametrize("G, subgroups, classes", [(Q8, 6, 6), (A4, 10, 5), (S4, 30, 11), (A5, 59, 9), (S5, 156, 19),
                                                   (product(cyclic(8), cyclic(8)), 37, 37)], ids=str)
def test_counts_of_the_literature(G, subgroups, classes):
    assert len(G.subgroups()) == subgroups and len(representatives(G.subgroups())) == classes


def test_the_most_subgroups_that_a_group_of_order_64_has():
    """C_2^6: its subgroups are the subspaces of a space of dimension 6 over two elements."""
    G = cyclic(2)
    for _ in range(5):
        G = product(G, cyclic(2))
    names = Counter(H.name for H in G.subgroups())
    assert names == {"C1": 1, "C2": 63, "C2 x C2": 651, "C2 x C2 x C2": 1395, " x ".join(["C2"] * 4): 651,
                     " x ".join(["C2"] * 5): 63, " x ".join(["C2"] * 6): 1}


@pytest.mark.parametrize("G", [S4, A4, Q8, DIC3, dihedral(12), product(cyclic(4), cyclic(6)), product(Q8, cyclic(3))],
                         ids=str)
def test_names_agree_with_sympy(G):
    for H in representatives(G.subgroups()):
        theirs = PermutationGroup([Permutation(G.table[g].tolist()) for g in H.elements])
        assert theirs.order() == H.order and len(theirs.conjugacy_classes()) == len(inside(G, H).conjugacy_classes)
        assert theirs.is_abelian == all(part[0] == "C" for part in H.name.split(" x "))
        assert bool(theirs.is_cyclic) == (H.name == f"C{H.order}")
        if H.order > 4:
            assert bool(theirs.is_dihedral) == (H.name == f"D{H.order // 2}")
        if theirs.is_abelian:
            factors = [int(part[1:]) for part in H.name.split(" x ")]
            assert all(a % b == 0 for a, b in itertools.pairwise(factors))
            powers = sorted(p**k for n in factors for p, k in factorint(n).items())
            assert powers == sorted(theirs.abelian_invariants())


def inside(G, H):
    position = {g: k for k, g in enumerate(H.elements)}
    return FiniteGroup([[position[int(G.table[g, h])] for h in H.elements] for g in H.elements])


# ------------------------------------------------------------------------------------------- names and labels

def test_d4_by_hand():
    found = [(H.elements, H.name, H.conjugacy_class, H.label) for H in dihedral(4).subgroups()]
    assert found == [
        ((0,), "C1", 0, "none"),
        ((0, 2), "C2", 1, "half turn"),
        ((0, 4), "C2", 2, "one mirror"), ((0, 5), "C2", 3, "one mirror"),
        ((0, 6), "C2", 2, "one mirror"), ((0, 7), "C2", 3, "one mirror"),
        ((0, 1, 2, 3), "C4", 4, "C4"),
        ((0, 2, 4, 6), "C2 x C2", 5, "C2 x C2"), ((0, 2, 5, 7), "C2 x C2", 6, "C2 x C2"),
        (tuple(range(8)), "D4", 7, "all")]
    assert repr(dihedral(4).subgroups()[-2]) == "C2 x C2 (order 4, class 6)"


def test_names_of_groups_that_are_recognised():
    whole = {
        "C1": trivial(), "C12": cyclic(12), "C6": product(cyclic(2), cyclic(3)),
        "C6 x C2": product(cyclic(6), cyclic(2)), "D3": permutation_group([(1, 2, 0), (1, 0, 2)]),
        "D6": product(cyclic(2), dihedral(3)), "Q8": Q8, "Dic3": DIC3, "A4": A4, "S4": S4, "A5": A5,
        "A4 x C2": product(cyclic(2), A4), "D3 x D3": product(dihedral(3), dihedral(3)),
        "D4 x C2": product(cyclic(2), dihedral(4)), "Q8 x C3": product(cyclic(3), Q8),
        "D3 x C2 x C2": product(dihedral(6), cyclic(2)),
        "order 21 (non-abelian)": permutation_group([(1, 2, 3, 4, 5, 6, 0), (0, 2, 4, 6, 1, 3, 5)])}
    assert {name: G.subgroups()[-1].name for name, G in whole.items()} == {name: name for name in whole}


def test_labels_speak_of_mirrors_only_where_there_are_some():
    def of_order_two(G):
        return {H.label for H in G.subgroups() if H.order == 2}

    assert of_order_two(dihedral(5)) == {"one mirror"} and of_order_two(cyclic(6)) == {"half turn"}
    assert of_order_two(dihedral(2)) == {"half turn", "one mirror"}
    for G in (product(cyclic(2), cyclic(2)), S4, product(dihedral(3), cyclic(2))):
        assert of_order_two(G) == {"C2"}
    assert [H.label for H in trivial().subgroups()] == ["all"] == [H.label for H in dihedral(1).subgroups()][1:]


def test_layouts_are_recognised_and_only_they():
    assert all(is_cyclic(cyclic(n).table) and is_dihedral(dihedral(n).table, dihedral(n).names) for n in range(1, 9))
    assert not any(is_cyclic(dihedral(n).table) for n in range(2, 9))
    assert not is_dihedral(dihedral(2).table) and not is_dihedral(cyclic(2).table, cyclic(2).names)
    for G in (Q8, S4, product(cyclic(2), dihedral(3)), product(cyclic(4), cyclic(2)), renumbered(dihedral(4), 1)):
        assert not is_cyclic(G.table) and not is_dihedral(G.table, G.names)


def test_subgroups_are_found_once_and_cannot_be_changed():
    G = dihedral(3)
    assert G.subgroups() is G.subgroups()
    with pytest.raises(dataclasses.FrozenInstanceError):
        G.subgroups()[0].name = "C7"
