"""Finite groups by generators and relations: a word for every element, and the words of the identity.

A word (a, b) is a tuple of element numbers and stands for the product a b of the table: of two transformations, b acts
first. Whoever has a matrix M_a for each generator has rho(a b) = M_a M_b for all elements, and rho is a representation
exactly if every relator gives the identity matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import numpy as np

from groupcc_lite.groups.finite import FiniteGroup, cyclic, dihedral

Word = tuple[int, ...]
"""A product of elements, by their numbers; the empty one is the identity."""


class Words(NamedTuple):
    """A group by generators and relations; letters are element numbers."""

    generators: Word
    words: tuple[Word, ...]
    """A shortest word of each element, e's empty."""
    relators: tuple[Word, ...]
    """Words of the identity that define the group."""


def generating_words(group: FiniteGroup, generators: Iterable[int] | None = None) -> Words:
    """Words for the elements, found breadth first, and defining relators without inverse letters.

    Default generators: r of a cyclic group, r and s of a dihedral one, else greedily the elements that enlarge the
    generated subgroup most. ValueError for generators that are no elements, trivial, repeated, or too few.

    >>> generating_words(dihedral(3)).relators  # r r r, s s and s r s r
    ((1, 1, 1), (3, 3), (3, 1, 3, 1))
    """
    chosen = _default_generators(group) if generators is None else tuple(int(a) for a in generators)
    if not all(0 < a < group.order for a in chosen) or len(set(chosen)) < len(chosen):
        raise ValueError(f"generators are {chosen}; expected distinct elements from 1 to {group.order - 1} of "
                         f"{group.name} (0 is the identity)")
    table, found = group.table, {0: ()}
    waiting = [0]
    for g in waiting:  # grows while it is walked: breadth first
        for a in chosen:
            new = int(table[a, g])
            if new not in found:
                found[new] = (a, *found[g])
                waiting.append(new)
    if len(found) < group.order:
        missing = next(g for g in range(group.order) if g not in found)
        raise ValueError(f"generators are {chosen}; they generate {len(found)} of the {group.order} elements of "
                         f"{group.name}, without {group.names[missing]}; add it, or give no generators")
    words = tuple(found[g] for g in range(group.order))
    return Words(chosen, words, _relators(group, chosen, words))


def _default_generators(group: FiniteGroup) -> Word:
    n, chosen = group.order, ()
    if n > 1 and group == cyclic(n):
        return (1,)
    if n % 2 == 0 and group == dihedral(n // 2):
        return 1, n // 2
    while len(inside := group.generated(chosen)) < n:
        chosen += (max(set(range(n)) - set(inside), key=lambda a: (len(group.generated((*chosen, a))), -a)),)
    return chosen


def _relators(group: FiniteGroup, generators: Word, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """A small complete set (Cannon 1973, Construction of defining relators for finite groups).

    An edge g -> a g of the Cayley graph is known once a word(g) = word(a g) follows; tree edges are. A relator traced
    around a loop with one unknown edge makes it known; when no loop does, the shortest relation among the unknown edges
    becomes a relator.
    """
    table, inverse, orders = group.table, group.inverse, group.element_orders
    edges = {(a, g) for a in generators for g in range(group.order)}
    known = {(a, g) for a, g in edges if words[table[a, g]] == (a, *words[g])}
    relators = [[(a, 1)] * int(orders[a]) for a in generators]

    def loop(relator: list[tuple[int, int]], g: int) -> list[tuple[int, int]]:
        path = []
        for a, sign in reversed(relator):
            after = int(table[a if sign > 0 else inverse[a], g])
            path.append((a, g if sign > 0 else after))
            g = after
        return path

    def deduce() -> None:
        before = -1
        while before < len(known):
            before = len(known)
            for relator in relators:
                for g in range(group.order):
                    unknown = [edge for edge in loop(relator, g) if edge not in known]
                    known.update(unknown if len(unknown) == 1 else ())

    def relation(edge: tuple[int, int]) -> list[tuple[int, int]]:
        a, g = edge
        relator = [*((b, -1) for b in reversed(words[table[a, g]])), (a, 1), *((b, 1) for b in words[g])]
        while relator[0] == (relator[-1][0], -relator[-1][1]):  # conjugation adds nothing
            relator = relator[1:-1]
        return relator

    deduce()
    while unknown := edges - known:
        relators.append(min((relation(edge) for edge in sorted(unknown)), key=len))
        deduce()
    return tuple(_positive_word(relator, orders) for relator in relators)


def _positive_word(relator: list[tuple[int, int]], orders: np.ndarray) -> Word:
    """The relator, or its inverse if that is shorter, with a^(k - 1) in place of a^-1, where a^k = e."""
    candidates = []
    for letters in (relator, [(a, -sign) for a, sign in reversed(relator)]):
        runs = [(a, sum(sign for _, sign in run)) for a, run in groupby(letters, key=lambda letter: letter[0])]
        # A relator of one run only is a^k itself, which must not be cut down to nothing.
        lengths = [power % int(orders[a]) or int(orders[a]) for a, power in runs]
        candidates.append(tuple(a for (a, _), length in zip(runs, lengths, strict=True) for _ in range(length)))
    return min(candidates, key=len)
