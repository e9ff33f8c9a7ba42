import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy.combinatorics.fp_groups import FpGroup
from sympy.combinatorics.free_groups import free_group

from groupcc_lite.groups.finite import cyclic, dihedral, permutation_group, product
from groupcc_lite.groups.presentations import Words, generating_words

GROUPS = st.sampled_from([*(cyclic(n) for n in range(1, 13)), *(dihedral(n) for n in range(1, 9)), dihedral(16),
                          *(product(cyclic(a), dihedral(b)) for a in range(2, 5) for b in range(2, 4)),
                          permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)], name="S_4")])


def value(group, word):
    """The element that a word stands for, by the table."""
    element = 0
    for letter in word:
        element = int(group.table[element, letter])
    return element


def presented_order(words: Words) -> int:
    """The order of the group that generators and relators alone define, by sympy's coset enumeration."""
    if not words.generators:
        return 1
    free, *symbols = free_group(",".join(f"x{a}" for a in words.generators))
    letters, relators = dict(zip(words.generators, symbols, strict=True)), []
    for word in words.relators:
        relator = free.identity
        for letter in word:
            relator = relator * letters[letter]
        relators.append(relator)
    table = FpGroup(free, relators).coset_enumeration([], max_cosets=5000)
    table.compress()
    return len(table.table)


@given(GROUPS)
def test_words_and_relators_evaluate_to_their_elements(group):
    words = generating_words(group)
    assert [value(group, word) for word in words.words] == list(range(group.order))
    assert all(word and value(group, word) == 0 for word in words.relators)
    assert words.words[0] == () and set().union(*words.words, *words.relators) <= set(words.generators)


@given(GROUPS)
def test_words_are_shortest_and_share_their_ends(group):
    words = generating_words(group)
    within = [{0}]  # elements that some word of at most this length reaches
    while len(within[-1]) < group.order:
        within.append(within[-1] | {int(group.table[a, g]) for a in words.generators for g in within[-1]})
    assert [len(w) for w in words.words] == [next(n for n, s in enumerate(within) if g in s)
                                             for g in range(group.order)]
    assert all(word[1:] in words.words for word in words.words)


@given(GROUPS)
def test_the_relators_define_the_group(group):
    assert presented_order(generating_words(group)) == group.order


def test_negative_control_fewer_relators_define_a_larger_group():
    words = generating_words(dihedral(4))
    with pytest.raises(ValueError, match="coset enumeration"):
        presented_order(words._replace(relators=words.relators[:2]))
    assert presented_order(words._replace(relators=(*words.relators, (1, 1)))) == 4


@pytest.mark.parametrize("n", range(3, 17))
def test_the_presentations_of_textbooks(n):
    assert generating_words(cyclic(n)) == ((1,), tuple((1,) * k for k in range(n)), ((1,) * n,))
    generators, _, relators = generating_words(dihedral(n))
    assert generators == (1, n) and relators[:2] == ((1,) * n, (n, n)) and len(relators) == 3
    assert relators[2] in ((n, 1, n, 1), (1, n, 1, n))


def test_other_generators():
    words = generating_words(cyclic(6), (2, 3))
    assert words.generators == (2, 3) and presented_order(words) == 6
    assert [value(cyclic(6), word) for word in words.words] == list(range(6))
    redundant = generating_words(cyclic(4), [1, 3])
    assert redundant.words[3] == (3,) and presented_order(redundant) == 4
    assert generating_words(dihedral(4), (4, 5)).generators == (4, 5)
    assert generating_words(product(cyclic(2), cyclic(3))).generators == (4,)  # one element of order 6 is enough


@pytest.mark.parametrize("generators, message", [
    ((2,), r"generate 2 of the 4 elements of C_4, without r;"), ((), "generate 1 of the 4"),
    ((0, 1), "0 is the identity"), ((1, 1), "distinct elements"), ((4,), "from 1 to 3")])
def test_generators_that_do_not_generate(generators, message):
    with pytest.raises(ValueError, match=message):
        generating_words(cyclic(4), generators)
