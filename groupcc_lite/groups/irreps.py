"""Real orthogonal irreducible representations of a finite group, from its Cayley table.

`FiniteGroup.irreps()` is the way in; the functions here know tables only. Cyclic and dihedral groups and products have
closed forms; any other table is resolved numerically inside its regular representation.

Over the real numbers an irrep is of real, complex or quaternionic type: the matrices that commute with it are the real
numbers, the complex numbers or the quaternions, an algebra of dimension e = 1, 2 or 4. The group algebra is the direct
sum of the algebras that irreps span, of dimension d^2 / e each, so sum d^2 / e = |G|. The basis is always such that the
commuting matrices are block diagonal with blocks of size e. Then columns 0, e, 2e, ... of rho(g) determine the rest.

Names follow the habit of chemists: A and B have one dimension, E two, T three. In C_n and D_n, E_k turns k times as
fast as the plane (E_1 is the plane itself), B changes sign with every step, and of A1, A2 and B1, B2 the first is blind
to the mirror s while the second changes sign with it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Complex, Float, Int

from groupcc_lite.groups.subgroups import is_cyclic, is_dihedral

_LETTERS = {1: "A", 2: "E", 3: "T", 4: "G", 5: "H", 6: "I"}
# (mean of chi(g)^2, mean of chi(g g)) -> e. Nothing reducible has any of these pairs.
_TYPES = {(1, 1): 1, (2, 0): 2, (4, -2): 4}
_KINDS = {1: "real", 2: "complex", 4: "quaternionic"}


@dataclass(frozen=True, eq=False)
class Irrep:
    """A real orthogonal irreducible representation, as `FiniteGroup.irreps()` gives it.

    >>> from groupcc_lite.groups import dihedral
    >>> rho = dihedral(3).irreps()[-1]
    >>> rho, rho.matrices.shape, rho.character.round().astype(int).tolist()
    (E1 (dimension 2, real type), (6, 2, 2), [2, -1, -1, 0, 0, 0])
    """

    name: str
    """Such as "A1" or "E3"; in a product group one name per factor, such as "E1 x B"."""
    kind: int
    """e: 1, 2 or 4 for real, complex or quaternionic type."""
    frequency: int | None
    """How many periods a full turn has, for cyclic and dihedral groups; None for others."""
    meaning: str
    """What a function that lies in this irrep does, in words."""
    _matrices: Float[np.ndarray, "g d d"]

    def __repr__(self) -> str:
        return f"{self.name} (dimension {self.dim}, {_KINDS[self.kind]} type)"

    @property
    def matrices(self) -> Float[np.ndarray, "g d d"]:
        """rho(g) for every element g; rho(g) rho(h) = rho(gh)."""
        return self._matrices.copy()

    @property
    def dim(self) -> int:
        """d, the dimension over the real numbers."""
        return self._matrices.shape[1]

    @property
    def character(self) -> Float[np.ndarray, " g"]:
        """tr rho(g)."""
        return np.trace(self._matrices, axis1=1, axis2=2)


def find_irreps(table: Int[np.ndarray, "g g"], names: Sequence[str] = ()) -> tuple[Irrep, ...]:
    """All real irreps of the group with this table, up to equivalence, the trivial one first.

    Order: cyclic and dihedral groups by frequency; products with the last factor running fastest; others by dimension.
    `names` of the elements tell D_1 and D_2 from C_2 and C_2 x C_2, whose tables are the same.
    """
    if is_dihedral(table, names):
        return _dihedral(len(table) // 2)
    if is_cyclic(table):
        return _cyclic(len(table))
    factors = _factors(table)
    pairs = list(itertools.product(*map(find_irreps, factors))) if factors else []
    # Quaternions times complex numbers or quaternions is a matrix algebra: then a x b falls into equal parts.
    if factors and all(4 not in (a.kind, b.kind) or 1 in (a.kind, b.kind) for a, b in pairs):
        return tuple(irrep for a, b in pairs for irrep in _tensor(a, b))
    return _numerical(table)


# ------------------------------------------------------------------------------------------------ closed forms

def _cyclic(n: int) -> tuple[Irrep, ...]:
    k = np.arange(n)
    found = [_line("A", 0, "the same for every element", np.ones(n))]
    found += [Irrep(f"E{f}", 2, f, _periods(f), _real(np.exp(-2j * np.pi * (f * k % n) / n)[:, None, None]))
              for f in range(1, (n + 1) // 2)]
    if n % 2 == 0:
        found.append(_line("B", n // 2, "changes sign with every step", (-1.0) ** k))
    return tuple(found)


def _dihedral(n: int) -> tuple[Irrep, ...]:
    rotations, mirror = _cyclic(n), np.diag([-1.0, 1.0])  # left <-> right
    found = []
    for irrep in rotations:
        turned = irrep.matrices
        if irrep.dim == 2:
            found.append(replace(irrep, kind=1, _matrices=np.concatenate([turned, mirror @ turned])))
            continue
        for number, sign, says in ((1, 1, "unchanged by s"), (2, -1, "changes sign with s")):
            found.append(replace(irrep, name=f"{irrep.name}{number}", meaning=f"{irrep.meaning}, {says}",
                                 _matrices=np.concatenate([turned, sign * turned])))
    found[0] = replace(found[0], meaning="the same for every element")
    found[1] = replace(found[1], meaning="the same for every rotation, changes sign with mirrors")
    return tuple(found)


def _line(name: str, frequency: int, meaning: str, values: np.ndarray) -> Irrep:
    return Irrep(name, 1, frequency, meaning, values[:, None, None])


def _periods(frequency: int) -> str:
    return f"{frequency} period{'s' if frequency > 1 else ''} in a full turn"


def _factors(table: Int[np.ndarray, "g g"]) -> tuple[np.ndarray, np.ndarray] | None:
    """Tables T, U with element (g, h) = g |U| + h, as `product` numbers them; None if there are none."""
    order = len(table)
    for k in (k for k in range(2, order) if order % k == 0):
        first, second = table[::k, ::k] // k, table[:k, :k]
        g, h = np.divmod(np.arange(order), k)
        if second.max() < k and np.array_equal(table, first[np.ix_(g, g)] * k + second[np.ix_(h, h)]):
            return first, second
    return None


def _tensor(a: Irrep, b: Irrep) -> list[Irrep]:
    """The irreps inside a x b, at most one of them quaternionic and then the other of real type."""
    name, meaning = f"{a.name} x {b.name}", f"{a.meaning}; {b.meaning}"
    if a.kind == b.kind == 2:
        # Complex times complex numbers, over the real ones, are two copies of the complex numbers.
        x, y = _complex(a._matrices), _complex(b._matrices)
        return [Irrep(f"{name} {sign}", 2, None, f"{meaning}; turning in {sense}", _real(_kronecker(x, z)))
                for sign, sense, z in (("+", "the same sense", y), ("-", "opposite senses", y.conj()))]
    # The last factor's index runs fastest, so the factor whose blocks are to stay together comes last.
    matrices = _kronecker(a._matrices, b._matrices, swap=a.kind > 1)
    return [Irrep(name, a.kind * b.kind, None, meaning, matrices)]


def _kronecker(x: np.ndarray, y: np.ndarray, swap: bool = False) -> np.ndarray:
    """x(g) (x) y(h), or y(h) (x) x(g), for the elements (g, h) of a product."""
    product = np.einsum("gij,hkl->ghkilj" if swap else "gij,hkl->ghikjl", x, y)
    return product.reshape(len(x) * len(y), x.shape[1] * y.shape[1], -1)


def _real(z: Complex[np.ndarray, "g c c"]) -> Float[np.ndarray, "g d d"]:
    """Each complex entry as the block [[Re, -Im], [Im, Re]]."""
    blocks = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return blocks.transpose(2, 3, 0, 4, 1).reshape(len(z), 2 * z.shape[1], -1)


def _complex(matrices: Float[np.ndarray, "g d d"]) -> Complex[np.ndarray, "g c c"]:
    """The inverse of `_real`."""
    return matrices[:, 0::2, 0::2] + 1j * matrices[:, 1::2, 0::2]


# ----------------------------------------------------------------------------------------------- any other table

def _numerical(table: Int[np.ndarray, "g g"]) -> tuple[Irrep, ...]:
    """Irreps as eigenspaces of a random symmetric operator that commutes with the regular representation.

    (L(g) f)(h) = f(g^-1 h) commutes with convolution from the right. A convolution with random c(h) = c(h^-1) is
    symmetric, and almost surely each of its eigenspaces is one irreducible subspace. Characters then say which of them
    are equivalent and of what type (Frobenius-Schur indicator); a chance coincidence shows in them and is drawn again.
    """
    generator = np.random.default_rng(0)
    for _ in range(20):
        found = _resolve(table, generator)
        if sum(dim**2 // kind for dim, kind, *_ in found) == len(table):
            break
    else:
        raise RuntimeError(f"the irreps of a group of order {len(table)} could not be told apart in 20 attempts")
    found.sort(key=lambda entry: (entry[0], *-entry[2]))
    many, counts = Counter(dim for dim, *_ in found), Counter()
    irreps = []
    for dim, kind, _, matrices in found:
        counts[dim] += 1
        name = _LETTERS.get(dim, f"dim{dim} ") + (str(counts[dim]) if many[dim] > 1 else "")
        says = f"{_KINDS[kind]} type" if irreps else "the same for every element"
        irreps.append(Irrep(name.strip(), kind, None, says, matrices))
    return tuple(irreps)


def _resolve(table: np.ndarray, generator: np.random.Generator) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """(dimension, kind, rounded character, matrices) of every irrep that one random operator tells apart."""
    inverse = (table == 0).argmax(axis=1)
    from_left = table[inverse]  # [g, h] -> g^-1 h
    symmetric, *skew = generator.normal(size=(3, len(table)))
    values, vectors = np.linalg.eigh((symmetric + symmetric[inverse])[from_left])
    edges = np.flatnonzero(np.diff(values) > 1e-7 * np.ptp(values)) + 1
    turns = [(c - c[inverse])[from_left] for c in skew]
    found: dict[tuple[float, ...], tuple[int, int, np.ndarray, np.ndarray]] = {}
    for space in np.split(vectors, edges, axis=1):
        character = np.einsum("hk,ghk->g", space, space[from_left])
        squares = character @ character / len(table), character[np.diag(table)].mean()
        kind = _TYPES.get(tuple(int(round(value)) for value in squares))
        rounded = np.round(character, 4) + 0.0
        if kind and tuple(rounded) not in found:
            basis = _block_basis(space, turns[:{1: 0, 2: 1, 4: 2}[kind]])
            matrices = np.einsum("hk,ghl->gkl", basis, basis[from_left])
            # In one dimension only 1 and -1 are orthogonal: no rounding errors there.
            found[tuple(rounded)] = space.shape[1], kind, rounded, matrices if len(basis.T) > 1 else matrices.round()
    return list(found.values())


def _block_basis(space: Float[np.ndarray, "g d"], turns: list[Float[np.ndarray, "g g"]]) -> Float[np.ndarray, "g d"]:
    """An orthonormal basis v, iv, jv, kv, w, iw, ... of an irreducible space; i, j, k from its skew commuting maps.

    Built from projections of single elements, so that it does not depend on the basis in which the space is given.
    """
    project = space @ space.T
    units: list[np.ndarray] = []
    for turn in turns:  # a skew commuting map is a multiple of an imaginary unit
        unit = project @ turn @ project
        for other in units:
            unit -= np.vdot(other, unit) / space.shape[1] * other
        units.append(unit / np.linalg.norm(unit) * space.shape[1] ** 0.5)
    if len(units) == 2:
        units.append(units[0] @ units[1])
    basis = np.empty((len(space), 0))
    while basis.shape[1] < space.shape[1]:
        left = project - basis @ (basis.T @ project)
        lengths = np.linalg.norm(left, axis=0)
        v = left[:, np.flatnonzero(lengths > 0.9 * lengths.max())[0]]
        v = v / np.linalg.norm(v)
        basis = np.column_stack([basis, v, *(unit @ v for unit in units)])
    return basis
