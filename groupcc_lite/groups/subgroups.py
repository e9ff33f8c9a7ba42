"""All subgroups of a finite group, with names and conjugacy classes, from its Cayley table.

A set of elements is one integer, bit g set for element g, so that unions, intersections and inclusions are single
operations. `FiniteGroup.subgroups()` is the way in; the functions here know tables only.

Names say the isomorphism type: C4, C4 x C2, D3, Q8, A4, ...; C1 is the trivial subgroup. As everywhere in the library,
D4 has four rotations and order 8. A label adds what the type cannot say in a group of rotations and mirrors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest
from math import prod
from operator import and_

import numpy as np
from jaxtyping import Int

# Types that the number of elements of each order decides, once abelian, dihedral and dicyclic groups are set apart.
_BY_ORDERS = {((1, 1), (2, 3), (3, 8)): "A4", ((1, 1), (2, 9), (3, 8), (4, 6)): "S4",
              ((1, 1), (2, 15), (3, 20), (5, 24)): "A5"}


@dataclass(frozen=True)
class Subgroup:
    """One subgroup, as `FiniteGroup.subgroups()` gives it.

    >>> from groupcc_lite.groups import dihedral
    >>> mirrors = [H for H in dihedral(4).subgroups() if H.label == "one mirror"]
    >>> [(H.elements, H.conjugacy_class) for H in mirrors]
    [((0, 4), 2), ((0, 5), 3), ((0, 6), 2), ((0, 7), 3)]
    """

    elements: tuple[int, ...]
    """Its elements, sorted."""
    name: str
    """Its isomorphism type, such as "C2 x C2"; a mirror and a half turn both generate a "C2"."""
    conjugacy_class: int
    """Number of its class {g H g^-1}: equal for subgroups that are the same up to a change of viewpoint."""
    label: str
    """The name for people: "all", "none", "half turn", "one mirror", and the plain name for everything else."""

    @property
    def order(self) -> int:
        """How many elements it has."""
        return len(self.elements)

    def __repr__(self) -> str:
        return f"{self.name} (order {self.order}, class {self.conjugacy_class})"


def find_subgroups(table: Int[np.ndarray, "g g"], names: Sequence[str] = ()) -> tuple[Subgroup, ...]:
    """All subgroups of the group with this table, by size, then by elements; classes are numbered in that order.

    `names` of the elements are needed only to tell D_1 and D_2 from C_2 and C_2 x C_2, whose tables are the same. Takes
    about half a second for the 2825 subgroups of C_2^6; time grows with the number of subgroups.
    """
    lattice, mirrors = _Lattice(table), _first_mirror(table, names)
    return tuple(Subgroup(elements, lattice.names[H], lattice.classes[H],
                          _label(elements, len(table), lattice.names[H], mirrors))
                 for H in lattice.masks for elements in [tuple(_members(H))])


def representatives(subgroups: Sequence[Subgroup]) -> tuple[Subgroup, ...]:
    """The first subgroup of each conjugacy class, in the order of the classes.

    >>> from groupcc_lite.groups import dihedral
    >>> representatives(dihedral(3).subgroups())
    (C1 (order 1, class 0), C2 (order 2, class 1), C3 (order 3, class 2), D3 (order 6, class 3))
    """
    first: dict[int, Subgroup] = {}
    for subgroup in subgroups:
        first.setdefault(subgroup.conjugacy_class, subgroup)
    return tuple(first.values())


# --------------------------------------------------------------------------------------- rotations and mirrors

def is_cyclic(table: Int[np.ndarray, "g g"]) -> bool:
    """Whether element k is the k-th power of element 1, as in `cyclic(n)`."""
    n = len(table)
    return np.array_equal(table[1 % n], (np.arange(n) + 1) % n)


def is_dihedral(table: Int[np.ndarray, "g g"], names: Sequence[str] = ()) -> bool:
    """Whether element k is r^k and element n + k is s r^k with r s = s r^-1 and s s = e, as in `dihedral(n)`.

    For n = 1 and 2 that is also the table of C_2 and of C_2 x C_2; then element n must be named "s".
    """
    n, odd = divmod(len(table), 2)
    if odd or not np.array_equal(table[1 % n, :n], (np.arange(n) + 1) % n):
        return False
    follows = np.array_equal(table[n, :n], n + np.arange(n))
    relations = follows and table[n, n] == 0 and table[1 % n, n] == table[n, n - 1]
    return bool(relations and (n > 2 or (len(names) > n and names[n] == "s")))


def _first_mirror(table: np.ndarray, names: Sequence[str]) -> int | None:
    """The element at which mirrors begin; the order of a group of rotations alone; None for any other group."""
    if is_dihedral(table, names):
        return len(table) // 2
    return len(table) if is_cyclic(table) else None


def _label(elements: tuple[int, ...], order: int, name: str, mirrors: int | None) -> str:
    if len(elements) == order:
        return "all"
    if len(elements) == 1:
        return "none"
    if len(elements) == 2 and mirrors is not None:
        return "half turn" if elements[1] < mirrors else "one mirror"
    return name


# ------------------------------------------------------------------------------------------------- the lattice

class _Lattice:
    """Every subgroup as a bit mask, with generators, found by adding one element at a time."""

    def __init__(self, table: Int[np.ndarray, "g g"]):
        self.table = table
        order = len(table)
        # Bits beyond 64 need Python's integers; numpy then does the same, more slowly.
        bits = np.array([1 << g for g in range(order)], dtype=np.uint64 if order <= 64 else object)
        self.products = bits[table]
        inverse = (table == 0).argmax(axis=1)
        self.conjugated = bits[table[table, inverse[:, None]]]  # [k, g] -> the bit of k g k^-1
        self.centraliser = [sum(1 << int(g) for g in np.flatnonzero(row)) for row in table == table.T]
        self.powers = [_powers(table, g) for g in range(order)]
        self.orders = [mask.bit_count() for mask in self.powers]
        self.generators = self._find()
        self.masks = sorted(self.generators, key=lambda H: (H.bit_count(), list(_members(H))))
        self.classes: dict[int, int] = {}
        self.names: dict[int, str] = {}
        number = 0
        for H in self.masks:
            if H not in self.classes:
                conjugates = self._conjugates(H)
                self.classes.update(dict.fromkeys(conjugates, number))
                self.names.update(dict.fromkeys(conjugates, self._isomorphism_type(H)))
                number += 1

    def _find(self) -> dict[int, tuple[int, ...]]:
        """Subgroups with generators. Each but the trivial one is <H, z> for a smaller H: single elements suffice."""
        rows = self.table.tolist()
        found: dict[int, tuple[int, ...]] = {1: ()}
        waiting = [1]
        for H in waiting:  # grows while it is walked
            cosets = np.bitwise_or.reduce(self.products[list(_members(H))], axis=0).tolist()  # x -> Hx
            untried = (1 << len(rows)) - 1 & ~H
            while untried:
                z = (untried & -untried).bit_length() - 1
                generators = (*found[H], z)
                K = _join(cosets, generators, rows)
                if K not in found:
                    found[K] = generators
                    waiting.append(K)
                # Nothing lies between H and K if the index is prime: then every z in K, not in H, gives the same K.
                untried &= ~(K if _is_prime(K.bit_count() // H.bit_count()) else cosets[z])
        return found

    def _conjugates(self, H: int) -> set[int]:
        return set(np.bitwise_or.reduce(self.conjugated[:, list(_members(H))], axis=1).tolist())

    def _isomorphism_type(self, H: int) -> str:
        """Name of H, all smaller subgroups having theirs."""
        order, counts = H.bit_count(), Counter(self.orders[g] for g in _members(H))
        if not H & ~self._centraliser(H):
            return _abelian_name(counts)
        for r in (g for g in _members(H) if 2 * self.orders[g] == order):
            outside = {self.orders[g] for g in _members(H & ~self.powers[r])}
            if outside == {2}:
                return f"D{order // 2}"
            if outside == {4}:  # dicyclic: a generalised quaternion group if the order is a power of 2
                return f"Q{order}" if order & (order - 1) == 0 else f"Dic{order // 4}"
        return (_BY_ORDERS.get(tuple(sorted(counts.items()))) or self._product_name(H)
                or f"order {order} (non-abelian)")

    def _product_name(self, H: int) -> str | None:
        """Name of H as a direct product A x B with A the smallest non-abelian factor (unique: Krull-Schmidt)."""
        pairs, order = [], H.bit_count()
        for A in self._inside(H, range(6, order // 2 + 1)):
            size, commuting = A.bit_count(), H & self._centraliser(A)
            if pairs and size > pairs[0][0]:
                break
            if A & ~commuting and size * commuting.bit_count() == order * (A & commuting).bit_count():
                pairs += [(size, f"{self.names[A]} x {self.names[B]}")
                          for B in self._inside(commuting, range(order // size, order // size + 1)) if A & B == 1]
        return min(pairs)[1] if pairs else None

    def _inside(self, H: int, sizes: range) -> Iterator[int]:
        """Subgroups of H with these sizes, small ones first."""
        for K in self.masks:
            if K.bit_count() >= sizes.stop:
                return
            if not K & ~H and K.bit_count() >= sizes.start:
                yield K

    def _centraliser(self, H: int) -> int:
        return reduce(and_, (self.centraliser[g] for g in self.generators[H]), (1 << len(self.table)) - 1)


def _join(cosets: list[int], generators: tuple[int, ...], rows: list[list[int]]) -> int:
    """<H, z> as a union of cosets Hx: closed as soon as it contains x s for every generator s."""
    K, reached = cosets[0], [0]
    for x in reached:  # grows while it is walked
        for s in generators:
            y = rows[x][s]
            if not K >> y & 1:
                K |= cosets[y]
                reached.append(y)
    return K


def _powers(table: np.ndarray, g: int) -> int:
    mask, power = 1, g
    while power:
        mask |= 1 << power
        power = int(table[power, g])
    return mask


def _members(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))


def _abelian_name(orders: Counter[int]) -> str:
    """C4 x C2, the largest invariant factor first, from how many elements have which order."""
    size, columns = sum(orders.values()), []
    for p in (p for p in range(2, size + 1) if size % p == 0 and _is_prime(p)):
        # p^a elements have an order that divides p^k; a grows by one for each cyclic factor of at least p^k.
        factors, power, before = [], p, 1
        while (count := sum(orders[k] for k in orders if power % k == 0)) > before:
            grown = round(np.log(count / before) / np.log(p))
            factors = [f * p for f in factors[:grown]] + factors[grown:] + [p] * (grown - len(factors))
            power, before = power * p, count
        columns.append(factors)
    return " x ".join(f"C{prod(factors)}" for factors in zip_longest(*columns, fillvalue=1)) or "C1"
