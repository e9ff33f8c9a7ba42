"""Features compared by what they say to the same orbits, instead of by their dictionary vectors.

The *response vector* of a feature has one entry for each image and element, q_i[j, g] = f_i(x_j[g]), what it says to
image j moved by g. The group permutes entries within an image (Gorton 2024, appendix A). So any coder of single blocks,
an ordinary SAE for instance, gets similarities over the group, profiles and stabilisers, without blocks of its own.

Which permutation? A dictionary vector says what the layer does when the *pattern* is moved first, F[g] = a(gP), and the
pattern hP has the blocks F[gh]: the element acts from the right. A response says what is found in the *image*. Who
looks for hP finds it in J where another finds P in h^-1 J, so its responses are q[h^-1 g]: the element acts from the
left. The paper has the same permutation for both. In a commutative group both give the same similarities, at inverse
elements; else the right one compares responses to J with those to g h g^-1 J, averages over conjugates, and cannot tell
one mirror from another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.orbits import StoredOrbits, TensorOrbits
from groupcc_lite.symmetry import Correlations, MaxCosine, max_over_group

SIDES = ("left", "right")
_AT_ONCE = 2**16  # numbers of one feature, images times elements, that are transformed in one go


class ResponseVectors:
    """Cosines over the group between response vectors, added up batch by batch; the vectors are never held.

    The paper gives the length of the vectors, images x |G|, as the weakness of the method. But <q_i, h . q_k> is a sum
    over images. In Fourier space it takes |G| numbers for each pair of features, and each batch adds to them: what is
    held is |G| m^2 numbers in double precision for m features, however many images come, and 2^16 m beside them while a
    batch is added. Nothing is approximated; batches are in single precision, sums in double.

    `side`: (h . q)[j, g] is q[j, h^-1 g] for "left", which is how responses of a moved feature are related, and
    q[j, gh] for "right", as printed in the paper and as for dictionary vectors. ValueError for another side, and for
    batches of another number of elements or features.

    >>> from groupcc_lite.groups import cyclic
    >>> vectors = ResponseVectors(cyclic(4), 2)
    >>> q = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]])  # feature 1 fires one step later
    >>> vectors.add(q)
    >>> S, element = vectors.similarity(elements=True)
    >>> S.tolist(), int(element[1, 0])  # feature 1 is feature 0, moved by one step
    ([[1.0, 1.0], [1.0, 1.0]], 1)
    """

    def __init__(self, group: FiniteGroup, features: int, *, side: str = "left", device: torch.device | str = "cpu"):
        if side not in SIDES:
            raise ValueError(f"side is {side!r}; expected one of {', '.join(SIDES)}")
        self.group, self.features, self.side, self.device = group, features, side, torch.device(device)
        self._sums = torch.zeros((group.order, features, features), dtype=torch.double, device=self.device)
        self._back: Tensor | None = None

    @torch.no_grad()
    def add(self, q: Float[Tensor, "n g m"]) -> None:
        """Responses to more orbits: of n samples, by element, of all features."""
        if q.ndim != 3 or q.shape[1:] != (self.group.order, self.features):
            raise ValueError(f"q has shape {tuple(q.shape)}; expected (samples, {self.group.order}, {self.features}): "
                             f"the elements of {self.group.name} and the features")
        for part in q.split(max(1, _AT_ONCE // self.group.order)):
            if self.side == "left":  # (h . q)[g^-1] is q[(gh)^-1]: turned over, the left action is the right one
                part = part[:, self.group.inverse.tolist()]
            part = part.to(self.device)
            found = Correlations(part.permute(2, 1, 0), self.group, unit=False)
            for start in range(0, self.features, found.tile):
                rows = slice(start, start + found.tile)
                self._sums[:, rows] += found.coefficients(found.left(rows), slice(0, self.features))
            self._back = found.back.double()

    @property
    def norms(self) -> Float[Tensor, " m"]:
        """Length of each feature's response vector; 0 for one that never responded, and before anything was added."""
        if self._back is None:
            return torch.zeros(self.features, dtype=torch.double, device=self.device)
        return (self._back[0] @ self._sums.diagonal(dim1=1, dim2=2)).clamp(min=0).sqrt()

    def self_similarity(self) -> Float[Tensor, "m h"]:
        """c_i(h), the cosine of a feature's responses with the same moved by h; NaN if it never responded.

        Responses are not negative, so these cosines are not either, and independent ones are above 0: centre them
        before a stabiliser is read.
        """
        if self._back is None:
            return torch.full((self.features, self.group.order), torch.nan, device=self.device)
        inner = self._back @ self._sums.diagonal(dim1=1, dim2=2)
        return (inner / inner[0].where(inner[0] > 0, torch.nan)).T.float()

    def similarity(self, *, elements: bool = False) -> Tensor | MaxCosine:
        """S_ik = max_h cos(q_i, h . q_k), and with `elements` the h that attains it; as `max_cosine`.

        Rows of features that never responded are 0. ValueError if nothing was added.
        """
        if self._back is None:
            raise ValueError("no responses were added; expected at least one batch")
        return max_over_group(_Summed(self), self.group, elements=elements)


class _Summed:
    """The sums as `max_over_group` reads them."""

    def __init__(self, vectors: ResponseVectors):
        self.count, self.device, self.tile = vectors.features, vectors.device, 256
        self._vectors, norms = vectors, vectors.norms
        self._inverse = torch.where(norms > 0, 1 / norms.clamp(min=1e-300), 0.0)

    def left(self, rows: slice) -> slice:
        return rows

    def between(self, rows: slice, columns: slice) -> Float[Tensor, "g i j"]:
        tile = self._vectors._sums[:, rows, columns]
        inner = (self._vectors._back @ tile.flatten(1)).view_as(tile)
        return (inner * self._inverse[rows, None] * self._inverse[columns]).float()


@torch.no_grad()
def response_vectors(coder: GroupCrosscoder, orbits: StoredOrbits | TensorOrbits | Iterable[Tensor],
                     group: FiniteGroup,
                     features: Sequence[int] | Int[np.ndarray, " k"] | Int[Tensor, " k"] | None = None, *,
                     side: str = "left") -> ResponseVectors:
    """Response vectors of a coder's latents on orbits, streamed: what it encodes of every block as it stands.

    `orbits`: batches (b, |G|, channels), or a store of them. `features`: numbers of the latents to compare; all by
    default. `side`: see `ResponseVectors`. For a group crosscoder this uses its encoder, which reads one block, and
    none of its dictionary. The coder encodes as it is: BatchTopK in training mode would look at whole batches, so
    `eval()` it. ValueError for orbits or a coder of another group, and for features that are no numbers of latents.

    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> from groupcc_lite.groups import dihedral
    >>> coder = SparseAutoencoder(3, 5, activation="topk", k=2)
    >>> vectors = response_vectors(coder, [torch.randn(7, 8, 3)], dihedral(4), [0, 3])
    >>> vectors.similarity().shape
    torch.Size([2, 2])
    """
    features = features.cpu() if isinstance(features, Tensor) else features
    chosen = torch.arange(coder.latents) if features is None else torch.as_tensor(np.asarray(features))
    if chosen.dtype == torch.bool or not ((chosen >= 0) & (chosen < coder.latents)).all():
        raise ValueError(f"features are {chosen.dtype} up to {chosen.max()}; expected numbers of latents, 0 to "
                         f"{coder.latents - 1}")
    for what, other in (("orbits", getattr(orbits, "group", group)), ("coder", coder.group)):
        if other != group and (what == "orbits" or other.order > 1):
            raise ValueError(f"group is {group.name}, that of the {what} {other.name}; expected the same")
    chosen = chosen.long().to(coder.device)
    vectors = ResponseVectors(group, len(chosen), side=side, device=coder.device)
    batches = orbits.in_order() if hasattr(orbits, "in_order") else orbits
    for batch in batches:
        x = batch.to(coder.device).float()
        for part in x.split(max(1, 8192 // group.order)):
            f = coder.encode(part.flatten(0, 1)).unflatten(0, part.shape[:2])
            vectors.add(f[..., chosen])
    return vectors
