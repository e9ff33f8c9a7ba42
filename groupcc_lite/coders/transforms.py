"""How activations move when their image is transformed: one matrix per generator, rho(g) psi(x) ~ psi(g x).

Erdogan & Lucic 2025 (section 3, equation 3) learn one matrix M for a cyclic group; here every generator of a finite
group has one, and rho(g) is their product along a word (`groups.presentations`). Relators are the words of
the identity that define the group: M^|G| = I for a cyclic one.

Activations vary along some directions 10^4 times as much as along others, and along the faintest little but noise
remains to be fitted. So closed forms shrink towards the identity, the paper's starting point, and an exact
representation is best looked for in coordinates in which the activations are white: there it is orthogonal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from groupcc_lite.coders.saved_module import SavedModule, check_blocks, check_source
from groupcc_lite.coders.second_moments import TINY, SecondMoments
from groupcc_lite.groups import FiniteGroup, Word, generating_words

RIDGE = 1e-5  # what `project` adds to second moments, in units of their mean eigenvalue


class TransformMatrix(SavedModule):
    """M (k, d, d), one matrix per generator, starting at the identity: rho(g) psi(x) ~ psi(g x).

    `scale` multiplies activations in the loss, as a coder's does; M does not depend on it. With the default generators
    of a cyclic group this is the M of Erdogan & Lucic 2025, section 3. ValueError for a trivial group or bad sizes.

    >>> import torch
    >>> from groupcc_lite.coders import TransformMatrix
    >>> from groupcc_lite.groups import cyclic
    >>> quarter = TransformMatrix(cyclic(4), channels=2)
    >>> quarter.M.data[0] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> quarter(torch.tensor([[1.0, 0.0]]))[0, 1].tolist(), quarter.relation_error()
    ([0.0, 1.0], 0.0)
    """

    what = "transform"
    format = 2

    def __init__(self, group: FiniteGroup, channels: int, *, generators: Iterable[int] | None = None,
                 scale: float = 1.0):
        super().__init__()
        if group.order < 2 or channels < 1 or not scale > 0:
            raise ValueError(f"group is {group.name}, channels={channels}, scale={scale}: expected a group of at least "
                             "2 elements, at least 1 channel and a positive scale")
        self.group, self.channels, self.words = group, channels, generating_words(group, generators)
        self.M = nn.Parameter(torch.eye(channels).repeat(len(self.words.generators), 1, 1))
        self.register_buffer("scale", torch.tensor(float(scale)))
        # E[x x^T], in which `project` measures, and the batches that it is a mean over. In double precision: where
        # activations hardly vary, the rounding of large entries would make their variance negative.
        self.register_buffer("moment", torch.eye(channels, dtype=torch.float64))
        self.register_buffer("seen", torch.tensor(0.0, dtype=torch.float64))

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return super().config | dict(channels=self.channels, generators=list(self.words.generators),
                                     scale=float(self.scale))

    def matrices(self) -> Float[Tensor, "g d d"]:
        """rho(g) of every element; rho(e) = I."""
        return self(torch.eye(self.channels, dtype=self.M.dtype, device=self.device)).permute(1, 2, 0)

    def forward(self, x0: Float[Tensor, "b d"]) -> Float[Tensor, "b g d"]:
        """rho(g) x0 for every g: the orbits of untransformed activations, in the model's units."""
        if x0.ndim != 2 or x0.shape[1] != self.channels:
            raise ValueError(f"x0 has shape {tuple(x0.shape)}; expected (batch, {self.channels})")
        return torch.stack(self._walk(x0, self.words.words), dim=1)

    def loss(self, x: Float[Tensor, "b g d"], *,
             relations: float = 0.0) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(total, parts) in normalised units: `error` + `relations` * sum over relators of ||rho - I||_F^2 / d.

        `error` is the mean over images and terms of the squared error, summed over channels, and has one term for each
        g but e, rho(g) x[e] against x[g], and one for each relator, against x[e]. For a cyclic group these are
        p = 1 .. |G| of Erdogan & Lucic 2025, equation 3, where p = |G| asks that M^|G| psi(x) = psi(x). In training
        mode the batch's second moments join the mean that `project` measures in.
        """
        if not relations >= 0:
            raise ValueError(f"relations is {relations}; expected a weight of 0 or more")
        normalised = check_blocks(self, x) * self.scale
        reached = torch.stack(self._walk(normalised[:, 0], (*self.words.words[1:], *self.words.relators)), dim=1)
        elements = [*range(1, self.group.order), *(0 for _ in self.words.relators)]
        parts = {"error": (reached - normalised[:, elements]).float().square().sum(2).mean()}
        if relations:  # near I, in bfloat16, the difference would be rounding only
            with torch.autocast(x.device.type, enabled=False):
                parts["relations"] = relations * self._relation_residuals().square().sum() / self.channels
        if self.training:
            self._note(x)
        total = torch.stack(list(parts.values())).sum()
        return total, {name: part.detach() for name, part in parts.items()}

    @torch.no_grad()
    def diagnostics(self, x: Float[Tensor, "b g d"], parts: dict[str, float]) -> dict[str, float]:
        """R^2 about zero on a batch, over all elements but e."""
        error = (self(x[:, 0]) - x)[:, 1:].square().sum()
        return dict(r2=float(1 - error / x[:, 1:].square().sum().clamp(min=torch.finfo(x.dtype).tiny)))

    def check_source(self, source: Any) -> None:
        """ValueError unless the source's orbits are of this group and these channels."""
        check_source(self, source)

    @torch.no_grad()
    def begin(self, x: Float[Tensor, "b g d"]) -> None:
        """Note the second moments of x[e] for `project`; M starts at the identity. ValueError if x is not finite.

        The mean over training batches begins anew.
        """
        if not torch.isfinite(check_blocks(self, x)).all():
            raise ValueError("the first batch holds NaN or infinite activations; check the base model and the store")
        self.moment.copy_(_second_moments(x))
        self.seen.zero_()

    @torch.no_grad()
    def _note(self, x: Float[Tensor, "b g d"]) -> None:
        """Take a training batch into the mean second moments: a single one may have fewer rows than channels."""
        self.seen.add_(1)
        self.moment.lerp_(_second_moments(x), 1 / self.seen)

    @torch.no_grad()
    def relation_error(self) -> float:
        """Largest absolute entry of any relator's matrix minus I: 0 for an exact representation."""
        return float(self._relation_residuals().abs().max())

    def constrain_(self, steps: int = 100, orthogonal: bool = False) -> TransformMatrix:
        """Replace M by its `project`ion, between steps of an optimiser but not before M is near one; returns self."""
        with torch.no_grad():
            self.M.copy_(project(self, steps, orthogonal).M)
        return self

    @classmethod
    def _from_config(cls, config: dict[str, Any], group: FiniteGroup) -> TransformMatrix:
        return cls(group, config["channels"], generators=config["generators"], scale=config["scale"])

    def _walk(self, x: Tensor, words: Iterable[Word]) -> list[Tensor]:
        """x moved along each word; words that end alike share their steps."""
        index = {a: k for k, a in enumerate(self.words.generators)}
        reached, ends = {(): x}, []
        for word in words:
            for start in reversed(range(len(word))):
                if word[start:] not in reached:
                    reached[word[start:]] = nn.functional.linear(reached[word[start + 1:]], self.M[index[word[start]]])
            ends.append(reached[word])
        return ends

    def _relation_residuals(self) -> Float[Tensor, "relators d d"]:
        """rho(relator)^T - I."""
        identity = torch.eye(self.channels, dtype=self.M.dtype, device=self.device)
        return torch.stack(self._walk(identity, self.words.relators)) - identity


# ------------------------------------------------------------------------------------------------- closed forms

def least_squares(batches: Iterable[Tensor], group: FiniteGroup, *, generators: Iterable[int] | None = None,
                  ridge: float = 1e-8, scale: float = 1.0) -> TransformMatrix:
    """M_a with the least mean of ||x[a g] - M_a x[g]||^2 over all g, shrunk towards the identity; on the CPU.

    `batches`: orbit vectors (b, g, d), read once, their moments summed in float64. `ridge` is in units of the mean
    eigenvalue of E[x x^T]; where activations do not vary, M is the identity. ValueError for batches that do not fit.
    What independent maps x[e] -> x[g], which know no group, can reach is `symmetry.linear_ceiling`.

    >>> import torch
    >>> from groupcc_lite.coders import least_squares
    >>> from groupcc_lite.groups import cyclic
    >>> x0 = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> orbits = torch.stack([x0, x0 @ quarter.T, -x0, -x0 @ quarter.T], dim=1)
    >>> torch.allclose(least_squares([orbits], cyclic(4)).M[0], quarter, atol=1e-4)
    True
    """
    transform, S, C = _fitted(batches, group, generators, ridge, scale)
    return _filled(transform, torch.linalg.solve(S, C.mT).mT)


def procrustes(batches: Iterable[Tensor], group: FiniteGroup, *, generators: Iterable[int] | None = None,
               ridge: float = 1e-8, scale: float = 1.0) -> TransformMatrix:
    """As `least_squares`, over orthogonal M_a (Schoenemann 1966, A generalized solution of the Procrustes problem).

    >>> import torch
    >>> from groupcc_lite.coders import procrustes
    >>> from groupcc_lite.groups import cyclic
    >>> x0 = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> orbits = torch.stack([x0, x0 @ quarter.T, -x0, -x0 @ quarter.T], dim=1)
    >>> torch.allclose(procrustes([orbits], cyclic(4)).M[0], quarter, atol=1e-4)
    True
    """
    transform, _, C = _fitted(batches, group, generators, ridge, scale)
    U, _, V = torch.linalg.svd(C)
    return _filled(transform, U @ V)


def _fitted(batches: Iterable[Tensor], group: FiniteGroup, generators: Iterable[int] | None, ridge: float,
            scale: float) -> tuple[TransformMatrix, Float[Tensor, "d d"], Float[Tensor, "k d d"]]:
    """An untrained transform that knows its activations, S = E_g x[g] x[g]^T and C_a = E_g x[a g] x[g]^T.

    S and C_a have ridge I added, which makes I the solution where activations do not vary.
    """
    summed, transform = SecondMoments(), None
    for batch in batches:
        if transform is None:
            transform = TransformMatrix(group, batch.shape[-1], generators=generators, scale=scale)
        x = check_blocks(transform, batch).detach().double()
        moved = torch.stack([x[:, group.table[a]] for a in transform.words.generators], dim=2)
        summed.add(rearrange(x, "b g d -> (b g) d"), rearrange(moved, "b g k d -> (b g) k d"))
    if transform is None or not summed.count or not torch.isfinite(summed.sums.xy).all():
        raise ValueError("batches is empty or holds NaN or infinite activations; expected orbit vectors (b, g, d)")
    S = summed.sums.xx.cpu() / summed.count
    C = rearrange(summed.sums.xy.cpu() / summed.count, "c (k d) -> k d c", d=len(S))
    transform.moment.copy_(S)
    damping = ridge * S.trace() / len(S) * torch.eye(len(S), dtype=torch.float64)
    return transform, S + damping, C + damping


@torch.no_grad()
def _filled(transform: TransformMatrix, M: Float[Tensor, "k d d"]) -> TransformMatrix:
    transform.M.copy_(M)
    return transform.eval()


# ------------------------------------------------------------------------------------- exact representations

@torch.no_grad()
def project(transform: TransformMatrix, steps: int = 100, orthogonal: bool = False) -> TransformMatrix:
    """A true representation near a learned one, so that all relations hold; `transform` itself stays as it is.

    The orbits rho(g) x[e] that the learned matrices predict, for x[e] with second moments `transform.moment`, have
    C(h) = E_g rho(h g) x x^T rho(g)^T. In coordinates in which C(e) = I, an exact representation is orthogonal and
    equal to C, so it comes back as it was; anything else is averaged over the group until it is one, with quadratic
    convergence (after Grove, Karcher & Ruh 1974; Kazhdan 1982). The result leaves those coordinates' lengths as they
    are; with `orthogonal` it leaves the given ones' lengths, which fits activations of unequal spread badly. ValueError
    if M is too far from any representation, or `steps` are too few.

    >>> import torch
    >>> from groupcc_lite.coders import TransformMatrix, project
    >>> from groupcc_lite.groups import cyclic
    >>> learned = TransformMatrix(cyclic(4), channels=2)
    >>> learned.M.data[0] = torch.tensor([[0.1, -1.0], [1.0, 0.0]])
    >>> learned.relation_error() > 0.1, project(learned).relation_error() < 1e-6
    (True, True)
    """
    group, learned = transform.group, copy.deepcopy(transform).double()
    closing = torch.eye(transform.channels).to(learned.M) + learned._relation_residuals()
    likeness = closing.diagonal(dim1=1, dim2=2).sum(1) / (transform.channels ** 0.5 * closing.flatten(1).norm(dim=1))
    if not likeness.mean() > 0.25:  # unrelated matrices give 0, one that is right on half of the space 0.7
        raise ValueError(f"M is too far from any representation of {group.name}: its relators have a mean cosine of "
                         f"{likeness.mean():.2f} to I; train longer, or with a weight on `relations`")
    rho, S = learned.matrices(), torch.eye(transform.channels).to(learned.M)
    if not orthogonal:
        S = learned.moment + RIDGE * learned.moment.trace() / transform.channels * S
    C = _convolved(rho @ S, rho.mT, group)
    root, inverse = _roots(S if orthogonal else C[0])
    rho = _sharpened(inverse @ C @ inverse, group, steps)
    defect = float(max((rho[group.table[h]] - rho[h] @ rho).abs().max() for h in range(group.order)))
    if not defect < 1e-8:
        raise ValueError(f"after {steps} steps rho(g h) and rho(g) rho(h) still differ by {defect:.1g}; raise `steps`, "
                         "or train longer")
    learned.M.copy_((root @ rho @ inverse)[list(learned.words.generators)])
    return learned.to(transform.M.dtype)


def _sharpened(T: Float[Tensor, "g d d"], group: FiniteGroup, steps: int) -> Float[Tensor, "g d d"]:
    """An orthogonal representation from a positive-definite function on the group.

    With T(e) = I, T splits every direction among the irreducible representations. T * T squares the shares, and
    rescaling to T(e) = I restores their sum, so each direction goes to where it had most. What stays undecided, a tie
    or less than a whole irreducible representation, keeps still: the identity, as in the paper's start.
    """
    T = _normalised(T)
    for _ in range(steps):
        T, before = _normalised(_convolved(T, T.mT, group)), T
        if (T - before).abs().max() < 1e-12:
            break
    share, U = torch.linalg.eigh(_convolved(T, T.mT, group)[0])
    decided = (U * (share > 1 - 1e-6)) @ U.mT
    return decided @ T @ decided + torch.eye(len(U)).to(T) - decided


def _normalised(T: Float[Tensor, "g d d"]) -> Float[Tensor, "g d d"]:
    inverse = _roots(T[0])[1]
    return inverse @ T @ inverse


def _convolved(left: Tensor, right: Tensor, group: FiniteGroup) -> Float[Tensor, "g d d"]:
    """mean_g left(h g) right(g), for every h."""
    return sum(left[group.table[:, g]] @ right[g] for g in range(group.order)) / group.order


def _second_moments(x: Float[Tensor, "b g d"]) -> Float[Tensor, "d d"]:
    """Of the untransformed blocks of a batch, in double precision, which autocast leaves alone."""
    first = x[:, 0].double()
    return first.T @ first / len(first)


def _roots(S: Float[Tensor, "d d"]) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """S^(1/2) and S^(-1/2); ValueError unless S is positive definite."""
    values, U = torch.linalg.eigh(S)
    if not values[0] > 1e-14 * values[-1]:
        raise ValueError(f"second moments have eigenvalues from {values[0]:.1g} to {values[-1]:.1g}; expected positive "
                         "ones (a larger ridge makes them so)")
    return (U * values.sqrt()) @ U.mT, (U / values.sqrt()) @ U.mT


# --------------------------------------------------------------------------------------------- how good is M

@torch.no_grad()
def r2(transform: TransformMatrix, x: Tensor | Iterable[Tensor], *,
       about: Literal["zero", "mean"] = "zero") -> Float[Tensor, " g"]:
    """R^2 of rho(g) x[e] for x[g], per element, over all samples and channels of `x` (b, g, d) or batches of it.

    1 - sum of squared errors / sum of squares, about zero or about each channel's mean. The entry of e is that of the
    first relator, for a cyclic group p = |G|: rho along it is learned, not I. ValueError for another `about`.

    >>> import torch
    >>> from groupcc_lite.coders import TransformMatrix, r2
    >>> from groupcc_lite.groups import cyclic
    >>> x = torch.tensor([[[2.0], [2.0]], [[1.0], [-1.0]]])  # M = I misses the second orbit by 2: 1 - 4 / (4 + 1)
    >>> [round(value, 3) for value in r2(TransformMatrix(cyclic(2), channels=1), x).tolist()]
    [1.0, 0.2]
    """
    if about not in ("zero", "mean"):
        raise ValueError(f"about is {about!r}; expected 'zero' or 'mean'")
    words = (transform.words.relators[0], *transform.words.words[1:])
    count, total, error, squares = 0, 0.0, 0.0, 0.0
    for batch in (x,) if isinstance(x, Tensor) else x:
        batch = check_blocks(transform, batch).to(transform.M)
        reached = torch.stack(transform._walk(batch[:, 0], words), dim=1)
        error = error + (reached - batch).double().square().sum((0, 2))
        squares = squares + batch.double().square().sum((0, 2))
        count, total = count + len(batch), total + batch.double().sum(0)
    if not count:
        raise ValueError("there are no orbits to judge on; expected at least one batch (b, g, d)")
    spread = squares - total.square().sum(1) / count if about == "mean" else squares
    least = float(1e-12 * squares.sum()) + TINY
    return (1 - error / spread.clamp(min=least)).float().cpu()


def mean_r2(transform: TransformMatrix, x: Tensor | Iterable[Tensor], *,
            about: Literal["zero", "mean"] = "zero") -> float:
    """`r2` averaged over p = 1 .. |G|, the closing relator included (Erdogan & Lucic 2025, result 1)."""
    return float(r2(transform, x, about=about).mean())


def identity_r2(x: Tensor | Iterable[Tensor], group: FiniteGroup, channels: int, *,
                about: Literal["zero", "mean"] = "zero") -> Float[Tensor, " g"]:
    """`r2` of M = I, the paper's naive baseline: 1 for the closing relator by definition, below 0 about the mean where
    activations of different elements are unrelated. Equation 3 runs over all p = 1 .. |G|, so `mean_r2` does too; the
    paper does not say whether its averages do.
    """
    return r2(TransformMatrix(group, channels), x, about=about)
