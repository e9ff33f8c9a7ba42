"""Finite groups as Cayley tables: elements are the integers 0 .. |G|-1, 0 is the identity, table[g, h] is gh.

Everything else (inverses, orders, cosets, conjugacy classes, the regular representation) is derived from the table; no
permutation is written by hand. A table is checked when a group is made, so a `FiniteGroup` that exists is a group.

The dihedral group with n rotations has order 2n and is called D_n here, `dihedral(n)`. Papers that name it by its order
call the same group D_2n: the "D_32" of Gorton 2024 is `dihedral(16)`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int

from groupcc_lite.groups.irreps import Irrep, find_irreps
from groupcc_lite.groups.subgroups import Subgroup, find_subgroups


class FiniteGroup:
    """A finite group, immutable; two groups are equal when their tables are.

    `table`: (|G|, |G|) integers, table[g, h] = gh, element 0 the identity. `names`: one distinct string per element
    (default e, g1, g2, ...). ValueError if the table is not a group's, naming the elements at fault.

    >>> FiniteGroup([[0, 1, 2], [1, 2, 0], [2, 0, 1]], names=("e", "a", "b"), name="threes").index("b")
    2
    >>> D = dihedral(3)
    >>> D, D.names[D.multiply(D.index("r"), D.index("s"))], D.inverse.tolist()
    (D_3 (order 6), 's r^2', [0, 2, 1, 3, 4, 5])
    """

    def __init__(self, table: Any, names: Sequence[str] | None = None, name: str | None = None):
        table = _square_integers(table)
        order = len(table)
        names = ("e", *(f"g{k}" for k in range(1, order))) if names is None else tuple(names)
        _check_names(names, order)
        _check_closure(table, names)
        _check_identity(table, names)
        _check_inverses(table, names)
        _check_associativity(table, names)
        vars(self).update(_table=table, names=names, name=name or f"group of order {order}", order=order)

    _table: Int[np.ndarray, "g g"]
    names: tuple[str, ...]
    name: str
    order: int

    def __setattr__(self, attribute: str, value: Any) -> None:
        raise AttributeError(f"a group is immutable; cannot set {attribute!r}")

    def __repr__(self) -> str:
        return f"{self.name} (order {self.order})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FiniteGroup) and np.array_equal(self._table, other._table)

    def __hash__(self) -> int:
        return hash(self._table.tobytes())

    def __reduce__(self) -> tuple:
        return FiniteGroup, (self._table, self.names, self.name)

    # ------------------------------------------------------------------------- what follows from the table

    # Arrays are handed out as copies: read-only ones would protect the group as well, but torch warns about indexing
    # with them.

    @property
    def table(self) -> Int[np.ndarray, "g g"]:
        """table[g, h] = gh."""
        return self._table.copy()

    @property
    def regular(self) -> Int[np.ndarray, "h g"]:
        """Right-regular action as gathers: (h . x)[g] = x[regular[h, g]] = x[gh]."""
        return self._table.T.copy()

    @property
    def inverse(self) -> Int[np.ndarray, " g"]:
        """inverse[g] is the element with g inverse[g] = e."""
        return (self._table == 0).argmax(axis=1)

    @property
    def element_orders(self) -> Int[np.ndarray, " g"]:
        """The smallest k >= 1 with g^k = e, for each g."""
        elements = np.arange(self.order)
        orders, power, k = np.zeros(self.order, dtype=np.int64), elements, 1
        while not orders.all():
            orders[(power == 0) & (orders == 0)] = k
            power, k = self._table[power, elements], k + 1
        return orders

    @cached_property
    def is_abelian(self) -> bool:
        """Whether gh = hg for all pairs."""
        return bool(np.array_equal(self._table, self._table.T))

    @cached_property
    def conjugacy_classes(self) -> tuple[tuple[int, ...], ...]:
        """Classes {k g k^-1}, each sorted, in the order of their smallest elements."""
        conjugates = self._table[self._table, self.inverse[:, None]]  # [k, g] -> k g k^-1
        return _unique(_sorted(conjugates[:, g]) for g in range(self.order))

    @cached_property
    def latex(self) -> tuple[str, ...]:
        """The elements' names as TeX for figures, such as "$s r^{5}$"; names beyond products of powers stay plain."""
        formula = re.compile(r"[a-z0-9^(), -]+")
        braced = [re.sub(r"\^(-?[0-9]+)", r"^{\1}", name) for name in self.names]
        return tuple(f"${tex}$" if formula.fullmatch(name) else name
                     for name, tex in zip(self.names, braced, strict=True))

    def subgroups(self) -> tuple[Subgroup, ...]:
        """All subgroups, each with .elements, .name, .conjugacy_class and .label, by size, then by elements."""
        return self._subgroups

    def irreps(self) -> tuple[Irrep, ...]:
        """Real orthogonal irreps, each with .name, .dim, .kind (1, 2 or 4) and .matrices, the trivial one first."""
        return self._irreps

    # Found once: groups are immutable, and so is what is handed out.

    @cached_property
    def _subgroups(self) -> tuple[Subgroup, ...]:
        return find_subgroups(self._table, self.names)

    @cached_property
    def _irreps(self) -> tuple[Irrep, ...]:
        return find_irreps(self._table, self.names)

    # ------------------------------------------------------------------------------- working with elements

    def index(self, name: str) -> int:
        """The element called `name`; ValueError lists the names."""
        if name not in self.names:
            raise ValueError(f"{self.name} has no element {name!r}; its elements are {', '.join(self.names)}")
        return self.names.index(name)

    def multiply(self, g: SupportsIndex, h: SupportsIndex) -> int:
        """gh: of two transformations, h acts first."""
        return int(self._table[self._element(g), self._element(h)])

    def power(self, g: SupportsIndex, k: SupportsIndex) -> int:
        """g^k for any integer k, negative ones included."""
        cycle, g = [0], self._element(g)
        while (following := int(self._table[cycle[-1], g])) != 0:
            cycle.append(following)
        return cycle[operator.index(k) % len(cycle)]

    def generated(self, elements: Iterable[SupportsIndex]) -> tuple[int, ...]:
        """The smallest subgroup that contains `elements`, sorted."""
        mask = np.zeros(self.order, dtype=bool)
        mask[[0, *(self._element(g) for g in elements)]] = True
        return _sorted(np.flatnonzero(_closed(mask, self._table)))

    def left_cosets(self, subgroup: Iterable[SupportsIndex]) -> tuple[tuple[int, ...], ...]:
        """The cosets gH, each sorted, H first; ValueError if `subgroup` is not a subgroup."""
        H = self._subgroup(subgroup)
        return _unique(_sorted(self._table[g, H]) for g in range(self.order))

    def right_cosets(self, subgroup: Iterable[SupportsIndex]) -> tuple[tuple[int, ...], ...]:
        """The cosets Hg, each sorted, H first; ValueError if `subgroup` is not a subgroup."""
        H = self._subgroup(subgroup)
        return _unique(_sorted(self._table[H, g]) for g in range(self.order))

    def _element(self, g: SupportsIndex) -> int:
        # A negative number would silently index from the end, so it is refused like any other stranger.
        if isinstance(g, bool) or not hasattr(g, "__index__") or not 0 <= operator.index(g) < self.order:
            raise ValueError(f"element is {g!r}; expected an integer from 0 to {self.order - 1} for {self.name} "
                             "(index(name) finds an element by its name)")
        return operator.index(g)

    def _subgroup(self, subgroup: Iterable[SupportsIndex]) -> list[int]:
        H = sorted({self._element(g) for g in subgroup})
        if 0 not in H:
            raise ValueError(f"{H} is not a subgroup of {self.name}: it lacks the identity, element 0")
        for g in H:  # a finite set that is closed under products contains its inverses
            outside = set(self._table[g, H].tolist()) - set(H)
            if outside:
                h = next(h for h in H if self._table[g, h] in outside)
                raise ValueError(f"{H} is not a subgroup of {self.name}: {self.names[g]} times {self.names[h]} is "
                                 f"{self.names[self._table[g, h]]}, which it lacks; `generated` completes a set")
        return H


# -------------------------------------------------------------------------------------------- the families

def trivial() -> FiniteGroup:
    """The group with one element; its crosscoder is a sparse autoencoder.

    >>> trivial().names
    ('e',)
    """
    return FiniteGroup([[0]], names=("e",), name="trivial")


def cyclic(n: SupportsIndex) -> FiniteGroup:
    """C_n, the rotations by multiples of 2 pi / n: element k is r^k.

    >>> cyclic(4).names
    ('e', 'r', 'r^2', 'r^3')
    """
    n = _count(n)
    k = np.arange(n)
    return FiniteGroup(np.add.outer(k, k) % n, names=_rotation_names(n), name=f"C_{n}")


def dihedral(n: SupportsIndex) -> FiniteGroup:
    """D_n, order 2n, n rotations and n reflections: element k is r^k, element n + k is s r^k (first r^k, then s).

    r s = s r^-1. Gorton 2024 calls `dihedral(16)`, of order 32, "D_32".

    >>> dihedral(2).names, dihedral(16).order
    (('e', 'r', 's', 's r'), 32)
    """
    n = _count(n)
    k = np.arange(n)
    plus, minus = np.add.outer(k, k) % n, np.subtract.outer(-k, -k) % n  # a + b and b - a
    table = np.block([[plus, n + minus], [n + plus, minus]])
    rotations = _rotation_names(n)
    return FiniteGroup(table, names=(*rotations, "s", *(f"s {r}" for r in rotations[1:])), name=f"D_{n}")


def product(G: FiniteGroup, H: FiniteGroup) -> FiniteGroup:
    """G x H, the pairs (g, h) multiplied componentwise; (g, h) is element g |H| + h.

    >>> product(cyclic(2), cyclic(2)).names
    ('(e, e)', '(e, r)', '(r, e)', '(r, r)')
    """
    first, second = np.divmod(np.arange(G.order * H.order), H.order)
    table = G.table[np.ix_(first, first)] * H.order + H.table[np.ix_(second, second)]
    names = [f"({_inside(g)}, {_inside(h)})" for g in G.names for h in H.names]
    return FiniteGroup(table, names=names, name=f"{G.name} x {H.name}")


def permutation_group(generators: Iterable[Sequence[int]], *, name: str | None = None,
                      max_order: int = 1024) -> FiniteGroup:
    """The group that permutations of 0 .. n-1 generate; gh is "first h, then g", that is g[h[i]].

    Elements are numbered in the order in which products of the generators reach them. ValueError for something that is
    no permutation, for generators of different lengths, or for a group larger than `max_order`.

    >>> permutation_group([(1, 2, 0), (1, 0, 2)], name="S_3")
    S_3 (order 6)
    """
    generators = [_permutation(p) for p in generators]
    if not generators or len({len(p) for p in generators}) > 1:
        raise ValueError(f"generators have lengths {[len(p) for p in generators]}; expected one length, at least once")
    found = {tuple(range(len(generators[0]))): 0}
    waiting = list(found)
    for element in waiting:  # grows while it is walked: breadth first
        for generator in generators:
            new = tuple(generator[i] for i in element)
            if new not in found:
                found[new] = len(found)
                waiting.append(new)
        if len(found) > max_order:
            raise ValueError(f"the permutations generate more than max_order = {max_order} elements; raise max_order, "
                             "knowing that a table has its square in entries")
    points = np.array(waiting)
    keys = {row.tobytes(): k for k, row in enumerate(points)}
    table = [[keys[row.tobytes()] for row in np.ascontiguousarray(g[points])] for g in points]
    return FiniteGroup(table, name=name)


def parse_group(name: str) -> FiniteGroup:
    """The group of this name: "trivial", "C_8", "D_16", or a product such as "C_4 x C_2".

    D_n has n rotations and order 2n. "d4" is read as "D_4". ValueError for anything else.

    >>> parse_group("D_4"), parse_group("C_4 x C_2")
    (D_4 (order 8), C_4 x C_2 (order 8))
    """
    groups = [_parse_factor(factor, name) for factor in re.split(r"\s+[xX]\s+", name.strip())]
    result = groups[0]
    for group in groups[1:]:
        result = product(result, group)
    return result


def rotations_of(G: FiniteGroup, n_rotations: int | None = None) -> int | None:
    """How many of the group's first elements are rotations by equal steps; None if it is not C_n or D_n.

    Read off the name of the group unless given; ValueError if the group cannot be laid out like this.

    >>> rotations_of(dihedral(16)), rotations_of(product(cyclic(4), cyclic(2)))
    (16, None)
    """
    if n_rotations is None:
        match = re.fullmatch(r"([CD])_(\d+)", G.name)
        if not match:
            return None
        n_rotations = int(match[2])
    if n_rotations < 1 or G.order not in (n_rotations, 2 * n_rotations):
        raise ValueError(f"n_rotations is {n_rotations}; expected {G.order} (rotations only) or half of it for {G}")
    return n_rotations


def _parse_factor(factor: str, name: str) -> FiniteGroup:
    if factor.lower() == "trivial":
        return trivial()
    match = re.fullmatch(r"([CD])_?([1-9]\d{0,3})", factor.upper())
    if not match:
        raise ValueError(f"group is {name!r}; expected trivial, C_n (n rotations), D_n (n rotations and n reflections, "
                         "order 2n), or a product such as 'C_4 x C_2'")
    return (cyclic if match[1] == "C" else dihedral)(int(match[2]))


# -------------------------------------------------------------------------------------- checks and helpers

def _square_integers(table: Any) -> np.ndarray:
    try:
        table = np.array(table)
    except ValueError as error:
        raise ValueError("table has rows of different lengths; expected a square of integers") from error
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size:
        raise ValueError(f"table has shape {table.shape}; expected a square, one row and one column per element")
    if not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"table has type {table.dtype}; expected integers, the numbers of the elements")
    return table.astype(np.int64)


def _check_names(names: tuple[str, ...], order: int) -> None:
    if len(names) != order or not all(isinstance(name, str) for name in names):
        raise ValueError(f"names is {names}; expected {order} strings, one per element")
    if len(set(names)) != order:
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} is given to {names.count(twice)} elements; expected distinct names")


def _check_closure(table: np.ndarray, names: tuple[str, ...]) -> None:
    wrong = np.argwhere((table < 0) | (table >= len(table)))
    if len(wrong):
        g, h = wrong[0]
        raise ValueError(f"not closed: {names[g]} times {names[h]} is {table[g, h]}, which is no element; expected "
                         f"entries from 0 to {len(table) - 1}")


def _check_identity(table: np.ndarray, names: tuple[str, ...]) -> None:
    elements = np.arange(len(table))
    wrong = np.flatnonzero((table[0] != elements) | (table[:, 0] != elements))
    if len(wrong):
        g = wrong[0]
        raise ValueError(f"element 0 ({names[0]}) is not the identity: {names[0]} times {names[g]} is "
                         f"{names[table[0, g]]} and {names[g]} times {names[0]} is {names[table[g, 0]]}; expected "
                         f"{names[g]} both times (number the elements so that the identity comes first)")


def _check_inverses(table: np.ndarray, names: tuple[str, ...]) -> None:
    both_sides = (table == 0) & (table.T == 0)
    wrong = np.flatnonzero(~both_sides.any(axis=1))
    if len(wrong):
        raise ValueError(f"{names[wrong[0]]} has no inverse: no element h gives {names[0]} both as "
                         f"{names[wrong[0]]} h and as h {names[wrong[0]]}")


def _check_associativity(table: np.ndarray, names: tuple[str, ...]) -> None:
    """Light's test: it is enough that (g a) h = g (a h) for generators a, because such a are closed under products."""
    reached = np.zeros(len(table), dtype=bool)
    for a in range(len(table)):
        if reached[a]:
            continue
        left, right = table[table[:, a]], table[:, table[a]]
        wrong = np.argwhere(left != right)
        if len(wrong):
            g, h = wrong[0]
            raise ValueError(f"not associative: ({names[g]} {names[a]}) {names[h]} is {names[left[g, h]]}, but "
                             f"{names[g]} ({names[a]} {names[h]}) is {names[right[g, h]]}")
        reached[a] = True
        reached = _closed(reached, table)


def _closed(mask: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The smallest set of elements that contains `mask` and all products of its members."""
    while True:
        members = np.flatnonzero(mask)
        larger = mask.copy()
        larger[table[np.ix_(members, members)]] = True
        if np.array_equal(larger, mask):
            return mask
        mask = larger


def _permutation(values: Sequence[int]) -> tuple[int, ...]:
    values = tuple(operator.index(v) for v in values)
    if sorted(values) != list(range(len(values))):
        raise ValueError(f"{values} is no permutation; expected each of 0 .. {len(values) - 1} once")
    return values


def _count(n: SupportsIndex) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__") or operator.index(n) < 1:
        raise ValueError(f"n is {n!r}; expected the number of rotations, a positive integer")
    return operator.index(n)


def _rotation_names(n: int) -> tuple[str, ...]:
    return tuple(["e", "r", *(f"r^{k}" for k in range(2, n))][:n])


def _inside(name: str) -> str:
    """Without the brackets of a pair: (a, (b, c)) and ((a, b), c) are the same triple (a, b, c)."""
    return name[1:-1] if name.startswith("(") and name.endswith(")") else name


def _sorted(elements: Iterable[Any]) -> tuple[int, ...]:
    return tuple(sorted({int(g) for g in elements}))


def _unique(sets: Iterable[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    return tuple(dict.fromkeys(sets))
