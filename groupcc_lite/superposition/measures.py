"""How much superposition there is, and how much an attack costs.

Directions w_i of features are the columns of W, (dimensions, features), or of a stack of such matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite.superposition.attacks import pgd, random_noise


def features_per_dimension(W: Float[Tensor, "*k m n"]) -> Float[Tensor, "*k"]:
    """||W||_F^2 / m: with directions of length 1 or 0, how many features share a dimension.

    Source: Elhage et al. 2022, whose plots show its inverse, m / ||W||_F^2.

    >>> features_per_dimension(torch.eye(3).repeat(1, 2))
    tensor(2.)
    """
    return W.square().sum((-2, -1)) / W.shape[-2]


def represented(W: Float[Tensor, "*k m n"], threshold: float = 0.5) -> Int[Tensor, "*k"]:
    """How many features have a direction longer than `threshold`; directions that are used tend to length 1.

    >>> represented(torch.tensor([[1.0, 0.9, 0.2]]))
    tensor(2)
    """
    return (W.norm(dim=-2) > threshold).sum(-1)


def interference(W: Float[Tensor, "*k m n"]) -> Float[Tensor, "*k n"]:
    """sum over j != i of (w_i . w_j)^2, for each feature i: the squared error that others' presence brings it.

    >>> interference(torch.tensor([[1.0, -1.0, 0.0]]))
    tensor([1., 1., 0.])
    """
    return _overlaps(W).square().sum(-1)


def attack_gain(W: Float[Tensor, "*k m n"]) -> Float[Tensor, "*k n"]:
    """||W^T w_i||^2 = ||w_i||^4 + interference of i: most that an attack of norm 1 adds to output i, squared.

    Derivation: the output's preactivation is w_i . W x + b_i, linear in x with the gradient W^T w_i. That gradient is
    the attack: on input j it has w_i . w_j, so the attack on i is made of i and of whatever overlaps with it. For
    directions of length 1 that are spread evenly, W W^T = (n / m) I, the gain is n / m, `features_per_dimension`.

    >>> attack_gain(torch.eye(2)), attack_gain(torch.tensor([[1.0, -1.0]]))
    (tensor([1., 1.]), tensor([2., 2.]))
    """
    return W.square().sum(-2).square() + interference(W)


def feature_dimensions(W: Float[Tensor, "*k m n"]) -> Float[Tensor, "*k n"]:
    """||w_i||^2 / sum_j (u_i . w_j)^2, u_i = w_i / ||w_i||: the share of a dimension that feature i has, 0 for none.

    1 alone, 1/2 in an antipodal pair, 2/3 in a triangle. Source: Elhage et al. 2022, "feature dimensionality".

    >>> feature_dimensions(torch.tensor([[1.0, -1.0, 0.0]]))
    tensor([0.5000, 0.5000, 0.0000])
    """
    return torch.where(W.square().sum(-2) > 0, W.square().sum(-2).square() / attack_gain(W), 0.0)


def antipodal_share(W: Float[Tensor, "*k m n"], *, cosine: float = 0.9) -> Float[Tensor, "*k"]:
    """Share of represented features with another one that points the opposite way: their cosine is below -`cosine`.

    NaN where nothing is represented.

    >>> antipodal_share(torch.tensor([[1.0, -0.9, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]))
    tensor(0.5000)
    """
    lengths = W.norm(dim=-2)
    there = lengths > 0.5
    unit = W / lengths.clamp(min=1e-12).unsqueeze(-2)
    both = there.unsqueeze(-1) & there.unsqueeze(-2)
    paired = (both & (unit.transpose(-1, -2) @ unit < -cosine)).any(-1)
    return paired.sum(-1) / there.sum(-1)


def effective_features(activations: Float[Tensor, "samples n"], dimensions: int) -> float:
    """psi = exp(H(p)) / N: features that share a dimension, each counting as it is used; N = `dimensions`.

    p is each feature's share of the activation mass, sum over samples of |activation|, and H its entropy in nats, so
    that exp(H) is the number of features that would give this entropy if all were used alike. Activations are those of
    features: an SAE's latents, or a toy's inputs times ||w_i||^2. ValueError without dimensions or without activation.

    Source: Bereska et al. 2025 (arXiv 2512.13568).

    >>> round(effective_features(torch.eye(6), dimensions=3), 3)
    2.0
    >>> round(effective_features(torch.tensor([[8.0, 0.0, 0.0]]), dimensions=1), 3)
    1.0
    """
    mass = activations.abs().double().sum(0)
    if dimensions < 1 or not 0 < float(mass.sum()) < float("inf"):
        raise ValueError(f"dimensions is {dimensions} and the activations add up to {float(mass.sum())}; expected at "
                         "least one dimension and a positive, finite sum")
    p = mass / mass.sum()
    return float(torch.special.entr(p).sum().exp()) / dimensions


@dataclass(frozen=True, eq=False)
class Vulnerability:
    """Mean losses of clean, attacked and noisy inputs, one number each or one for each model; `vulnerability` makes it.

    >>> found = Vulnerability(torch.tensor(2.0), torch.tensor(3.0), torch.tensor(2.2))
    >>> round(float(found.attacked_ratio), 3), round(float(found.noise_ratio), 3), round(float(found.excess), 3)
    (1.5, 1.1, 5.0)
    """

    clean: Tensor
    attacked: Tensor
    noisy: Tensor

    @property
    def attacked_ratio(self) -> Tensor:
        """loss(attacked) / loss(clean), from 1: the vulnerability."""
        return self.attacked / self.clean

    @property
    def noise_ratio(self) -> Tensor:
        """The same for noise of the attack's radius: without it beside it, the vulnerability says nothing."""
        return self.noisy / self.clean

    @property
    def excess(self) -> Tensor:
        """How many times more the attack adds to the loss than noise does; it needs no division by the clean loss."""
        return (self.attacked - self.clean) / (self.noisy - self.clean)


def vulnerability(loss: Callable[[Tensor], Tensor], x: Tensor, eps: float | Tensor, *, steps: int = 20,
                  restarts: int = 1, draws: int = 4, seed: int = 0,
                  box: tuple[float, float] | None = None) -> Vulnerability:
    """What `pgd` and `random_noise` of radius eps do to a loss: the mean over the batch, the last dimension of losses.

    `draws`: directions of noise for each sample. Other arguments, and errors, as for `pgd`.

    >>> w = torch.tensor([3.0, 4.0])
    >>> found = vulnerability(lambda x: 1 + (x @ w).relu(), torch.zeros(100, 2), eps=0.1)
    >>> round(float(found.attacked_ratio), 2), float(found.noise_ratio) < 1.3
    (1.5, True)
    """
    attacked = pgd(loss, x, eps, steps=steps, restarts=restarts, seed=seed, box=box)
    with torch.no_grad():
        clean = loss(x)
        noisy = [loss(random_noise(x, eps, lead=clean.ndim, seed=seed + draw, box=box)) for draw in range(draws)]
        return Vulnerability(clean.mean(-1), loss(attacked).mean(-1), torch.stack(noisy).mean(0).mean(-1))


def _overlaps(W: Float[Tensor, "*k m n"]) -> Float[Tensor, "*k n n"]:
    """w_i . w_j off the diagonal."""
    gram = W.transpose(-1, -2) @ W
    return gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))
