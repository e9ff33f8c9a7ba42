"""How activations move when their image is transformed: one matrix per generator, rho(g) psi(x) ~ psi(g x).

Erdogan & Lucic 2025 (section 3, equation 3) learn one matrix M for a cyclic group; here every generator of a finite
group has one, and rho(g) is their product along a word (`words`). Relators are the words of the identity that define
the group: M^|G| = I for a cyclic one.

Activations vary along some directions 10^4 times as much as along others, and along the faintest little but noise
remains to be fitted. So closed forms shrink towards the identity, the paper's starting point, and an exact
representation is best looked for in coordinates in which the activations are white: there it is orthogonal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from groupcc_lite.base import save_module, saved_config, with_saved_weights
from groupcc_lite.groups import FiniteGroup, Word, generating_words, saved_group

FORMAT = 1
RIDGE = 1e-5  # what `project` adds to second moments, in units of their mean eigenvalue


class TransformMatrix(nn.Module):
    """M (k, d, d), one matrix per generator, starting at the identity: rho(g) psi(x) ~ psi(g x).

    `scale` multiplies activations in the loss, as a coder's does; M does not depend on it. With the default generators
    of a cyclic group this is the M of Erdogan & Lucic 2025, section 3. ValueError for a trivial group or bad sizes.
    """

    def __init__(self, group: FiniteGroup, channels: int, *, generators: Iterable[int] | None = None,
                 scale: float = 1.0):
        super().__init__()
        if group.order < 2 or channels < 1 or not scale > 0:
            raise ValueError(f"group is {group.name}, channels={channels}, scale={scale}: expected a group of at least "
                             "2 elements, at least 1 channel and a positive scale")
        self.group, self.channels, self.words = group, channels, generating_words(group, generators)
        self.M = nn.Parameter(torch.eye(channels).repeat(len(self.words.generators), 1, 1))
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("moment", torch.eye(channels))  # E[x x^T], in which `project` measures

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the weights."""
        return dict(format=FORMAT, kind=type(self).__name__, group=self.group.name, names=list(self.group.names),
                    table=self.group.table.tolist(), channels=self.channels, generators=list(self.words.generators),
                    scale=float(self.scale))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.M.device

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
        p = 1 .. |G| of Erdogan & Lucic 2025, equation 3, where p = |G| asks that M^|G| psi(x) = psi(x).
        """
        if not relations >= 0:
            raise ValueError(f"relations is {relations}; expected a weight of 0 or more")
        normalised = _check_blocks(self.group, self.channels, x) * self.scale
        reached = torch.stack(self._walk(normalised[:, 0], (*self.words.words[1:], *self.words.relators)), dim=1)
        elements = [*range(1, self.group.order), *(0 for _ in self.words.relators)]
        parts = {"error": (reached - normalised[:, elements]).float().square().sum(2).mean()}
        if relations:  # near I, in bfloat16, the difference would be rounding only
            with torch.autocast(x.device.type, enabled=False):
                parts["relations"] = relations * self._relation_residuals().square().sum() / self.channels
        total = torch.stack(list(parts.values())).sum()
        return total, {name: part.detach() for name, part in parts.items()}

    @torch.no_grad()
    def diagnostics(self, x: Float[Tensor, "b g d"], parts: dict[str, float], dead_after: int) -> dict[str, float]:
        """R^2 about zero on a batch, over all elements but e."""
        error = (self(x[:, 0]) - x)[:, 1:].square().sum()
        return dict(r2=float(1 - error / x[:, 1:].square().sum().clamp(min=1e-12)))

    def check_source(self, source: Any) -> None:
        """ValueError unless the source's orbits are of this group and these channels."""
        if (self.group, self.channels) != (source.group, source.channels):
            raise ValueError(f"the matrices are for {self.group.name} with {self.channels} channels, the orbits are "
                             f"for {source.group.name} with {source.channels}; make one of them anew to match")

    @torch.no_grad()
    def begin(self, x: Float[Tensor, "b g d"]) -> None:
        """Note the second moments of x[e] for `project`; M starts at the identity. ValueError if x is not finite."""
        if not torch.isfinite(_check_blocks(self.group, self.channels, x)).all():
            raise ValueError("the first batch holds NaN or infinite activations; check the base model and the store")
        self.moment.copy_(x[:, 0].T @ x[:, 0] / len(x))

    @torch.no_grad()
    def relation_error(self) -> float:
        """Largest absolute entry of any relator's matrix minus I: 0 for an exact representation."""
        return float(self._relation_residuals().abs().max())

    def constrain_(self, steps: int = 100, orthogonal: bool = False) -> TransformMatrix:
        """Replace M by its `project`ion, between steps of an optimiser but not before M is near one; returns self."""
        with torch.no_grad():
            self.M.copy_(project(self, steps, orthogonal).M)
        return self

    def save(self, folder: str | Path) -> None:
        """Write `weights.safetensors`, then `config.json` with its sha256; neither file is ever half written."""
        save_module(self, self.config, folder)

    @classmethod
    def load(cls, folder: str | Path, *, group: FiniteGroup | None = None) -> TransformMatrix:
        """Read saved matrices; ValueError if files are missing or damaged, or if their group is not `group`."""
        config = saved_config(folder, "transform")
        if config.get("kind") != "TransformMatrix":
            raise ValueError(f"{folder} holds a {config.get('kind')}, not a TransformMatrix; load it by its own class")
        found = saved_group(folder, config, "transform", group)
        transform = cls(found, config["channels"], generators=config["generators"], scale=config["scale"])
        return with_saved_weights(transform, folder)

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
    """
    transform, S, C = _fitted(batches, group, generators, ridge, scale)
    return _filled(transform, torch.linalg.solve(S, C.mT).mT)


def procrustes(batches: Iterable[Tensor], group: FiniteGroup, *, generators: Iterable[int] | None = None,
               ridge: float = 1e-8, scale: float = 1.0) -> TransformMatrix:
    """As `least_squares`, over orthogonal M_a (Schoenemann 1966, A generalized solution of the Procrustes problem)."""
    transform, _, C = _fitted(batches, group, generators, ridge, scale)
    U, _, V = torch.linalg.svd(C)
    return _filled(transform, U @ V)


def _fitted(batches: Iterable[Tensor], group: FiniteGroup, generators: Iterable[int] | None, ridge: float,
            scale: float) -> tuple[TransformMatrix, Float[Tensor, "d d"], Float[Tensor, "k d d"]]:
    """An untrained transform that knows its activations, S = E_g x[g] x[g]^T and C_a = E_g x[a g] x[g]^T.

    S and C_a have ridge I added, which makes I the solution where activations do not vary.
    """
    words = generating_words(group, generators)
    count, sums = 0, None
    for batch in batches:
        x = _check_blocks(group, batch.shape[-1], batch).detach().double().cpu()
        flat = rearrange(x, "b g d -> (b g) d")
        moved = [x, *(x[:, group.table[a]] for a in words.generators)]
        terms = torch.stack([rearrange(y, "b g d -> (b g) d").mT @ flat for y in moved])
        count, sums = count + len(flat), terms if sums is None else sums + terms
    if sums is None or not torch.isfinite(sums).all():
        raise ValueError("batches is empty or holds NaN or infinite activations; expected orbit vectors (b, g, d)")
    means = sums / count
    transform = TransformMatrix(group, len(means[0]), generators=words.generators, scale=scale)
    transform.moment.copy_(means[0])
    means += ridge * means[0].trace() / len(means[0]) * torch.eye(len(means[0]), dtype=torch.float64)
    return transform, means[0], means[1:]


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
    """
    if about not in ("zero", "mean"):
        raise ValueError(f"about is {about!r}; expected 'zero' or 'mean'")
    words = (transform.words.relators[0], *transform.words.words[1:])
    count, total, error, squares = 0, 0.0, 0.0, 0.0
    for batch in (x,) if isinstance(x, Tensor) else x:
        batch = _check_blocks(transform.group, transform.channels, batch).to(transform.M)
        reached = torch.stack(transform._walk(batch[:, 0], words), dim=1)
        error = error + (reached - batch).double().square().sum((0, 2))
        squares = squares + batch.double().square().sum((0, 2))
        count, total = count + len(batch), total + batch.double().sum(0)
    if not count:
        raise ValueError("there are no orbits to judge on; expected at least one batch (b, g, d)")
    spread = squares - total.square().sum(1) / count if about == "mean" else squares
    return (1 - error / spread.clamp(min=1e-12)).float().cpu()


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


def _check_blocks(group: FiniteGroup, channels: int, x: Tensor) -> Tensor:
    if x.ndim != 3 or tuple(x.shape[1:]) != (group.order, channels):
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, {group.order}, {channels}): one block of "
                         f"{channels} channels per element of {group.name}")
    return x
