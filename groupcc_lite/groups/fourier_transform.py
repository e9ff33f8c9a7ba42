"""The Fourier transform of functions on a finite group, f: G -> R^n, over its real irreps.

F^(rho) = sum_g f[g] rho(g), one d x d matrix per irrep and channel, and back:
f[g] = sum_rho d / (|G| e) tr(rho(g)^T F^(rho)), where e is 1, 2 or 4 for irreps of real, complex or quaternionic type.
The right-regular action (h . f)[g] = f[gh] becomes a product, F^(rho) -> F^(rho) rho(h)^T, so moving f leaves the size
of each part as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.groups.finite import FiniteGroup
from groupcc_lite.groups.irreps import Irrep


def fourier(f: Float[Tensor, "*m g n"], G: FiniteGroup) -> list[Float[Tensor, "*m _ _ n"]]:
    """F^(rho) = sum_g f[g] rho(g), (..., d, d, n) for every irrep in the order of `G.irreps()`, in f's precision.

    >>> from groupcc_lite.groups import dihedral
    >>> [tuple(part.shape) for part in fourier(torch.ones(6, 10), dihedral(3))]
    [(1, 1, 10), (1, 1, 10), (2, 2, 10)]
    """
    _check(f, G)
    return [einsum(f, _like(irrep.matrices, f), "... g n, g a b -> ... a b n") for irrep in G.irreps()]


def inverse_fourier(spectrum: Sequence[Float[Tensor, "*m _ _ n"]], G: FiniteGroup) -> Float[Tensor, "*m g n"]:
    """f[g] = sum_rho d / (|G| e) tr(rho(g)^T F^(rho)): what `fourier` was given.

    >>> from groupcc_lite.groups import cyclic
    >>> f = torch.tensor([[1.0], [0.0], [2.0]])
    >>> torch.allclose(inverse_fourier(fourier(f, cyclic(3)), cyclic(3)), f, atol=1e-6)
    True
    """
    irreps = G.irreps()
    if [part.shape[-3:-1] for part in spectrum] != [(irrep.dim, irrep.dim) for irrep in irreps]:
        raise ValueError(f"spectrum has the shapes {[tuple(part.shape) for part in spectrum]}; expected (..., d, d, "
                         f"channels) with d = {', '.join(str(irrep.dim) for irrep in irreps)} for {G.name}")
    parts = (einsum(part, _like(irrep.matrices, part), "... a b n, g a b -> ... g n") * plancherel_weight(irrep, G)
             for irrep, part in zip(irreps, spectrum, strict=True))
    return sum(parts, start=torch.zeros((), dtype=spectrum[0].dtype, device=spectrum[0].device))


def fourier_power(f: Float[Tensor, "*m g n"], G: FiniteGroup) -> Float[Tensor, "*m k"]:
    """d / (|G| e) ||F^(rho)||^2 for every irrep: the squared norm of f, shared out (Parseval).

    >>> from groupcc_lite.groups import cyclic
    >>> G = cyclic(4)
    >>> f = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])  # changes sign with every step
    >>> [irrep.name for irrep in G.irreps()], fourier_power(f, G).round().tolist()
    (['A', 'E1', 'B'], [0.0, 0.0, 4.0])
    """
    return torch.stack([part.square().sum((-3, -2, -1)) * plancherel_weight(irrep, G)
                        for irrep, part in zip(G.irreps(), fourier(f, G), strict=True)], dim=-1)


def plancherel_weight(irrep: Irrep, G: FiniteGroup) -> float:
    """d / (|G| e): how much an irrep counts on the way back, and in Parseval's sum."""
    return irrep.dim / (G.order * irrep.kind)


def _like(matrices: np.ndarray, f: Tensor) -> Tensor:
    return torch.as_tensor(matrices, dtype=f.dtype, device=f.device)


def _check(f: Tensor, G: FiniteGroup) -> None:
    if f.ndim < 2 or f.shape[-2] != G.order or not f.is_floating_point():
        raise ValueError(f"f has shape {tuple(f.shape)} and type {f.dtype}; expected (..., {G.order}, channels), "
                         f"floating point, for {G.name}")
