"""What a sparse autoencoder of another package comes down to, and the coder of ours that does the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from groupcc_lite.coders import SparseAutoencoder


@dataclass(frozen=True)
class ForeignWeights:
    """f = act(W_e (x - b) + b_e), x^ = W_d f + b_d, whatever the weights were called where they come from.

    `W_e`, `W_d` (m, d), `b_e` and `threshold` (m,), `b`, `b_d` (d,); None for a bias that is not there. `threshold`
    goes with JumpReLU, `k` with TopK, which compares latents as they are.

    >>> import torch
    >>> found = ForeignWeights(W_e=torch.eye(3), W_d=torch.eye(3), b_e=torch.tensor([0.0, -1.0, 0.0]))
    >>> found.coder().encode(torch.tensor([[1.0, 3.0, -2.0]]))
    tensor([[1., 2., 0.]], grad_fn=<ReluBackward0>)
    """

    W_e: Tensor
    W_d: Tensor
    b_e: Tensor | None = None
    b: Tensor | None = None
    b_d: Tensor | None = None
    activation: str = "relu"
    k: int | None = None
    threshold: Tensor | None = None

    @torch.no_grad()
    def coder(self, *, scale: float = 1.0, where: str = "the dictionary") -> SparseAutoencoder:
        """Our coder with these weights in float32, in evaluation mode; it multiplies activations by `scale` first.

        ValueError, naming `where`, for numbers that are not finite, and for a k that is no number of latents.
        """
        given = {name: value.detach() for name, value in vars(self).items() if isinstance(value, Tensor)}
        m, d = self.W_d.shape
        for name, value in given.items():
            # A threshold of infinity is a latent that is switched off; of minus infinity, one with a plain ReLU.
            if (value.isnan() if name == "threshold" else ~value.isfinite()).any():
                raise ValueError(f"{where}: {MEANING[name]} holds numbers that are not finite")
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale is {scale}; expected a positive number, by which activations are multiplied")
        if self.activation == "topk" and not (isinstance(self.k, int) and 0 < self.k <= m):
            raise ValueError(f"{where}: k is {self.k}; expected 1 to {m}, the number of latents")
        coder = SparseAutoencoder(d, m, activation=self.activation, k=self.k, scale=scale,
                                  select="latent" if self.activation == "topk" else "contribution")
        for name in ("W_e", "b_e", "b", "threshold"):
            getattr(coder, name).copy_(given[name]) if name in given else getattr(coder, name).zero_()
        coder.W_d[:, 0] = given["W_d"]
        coder.b_d[0] = given.get("b_d", torch.zeros(d))
        return coder.eval()


MEANING = {"W_e": "the encoder", "W_d": "the decoder", "b_e": "the encoder's bias", "b": "the bias of the input",
           "b_d": "the decoder's bias", "threshold": "the threshold"}


def folded(weights: Tensor, encoder: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decoder (m, d), encoder (m, d) and its bias with the decoder's norms moved into the encoder: the same x^.

    >>> import torch
    >>> folded(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([3.0]))
    (tensor([[0., 1.]]), tensor([[2., 0.]]), tensor([6.]))
    """
    norms = weights.norm(dim=1)
    unit = weights / torch.where(norms > 0, norms, 1.0)[:, None]
    return unit, encoder * norms[:, None], bias * norms


def gated(encoder: Tensor, log_gain: Tensor, gate_bias: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Encoder, its bias and the thresholds of the JumpReLU that a gated encoder with shared weights is.

    u > -b_gate opens the gate, and relu(e^r u + b) passes: that is e^r u + b where it exceeds b - e^r b_gate
    (Rajamanoharan et al. 2024, on gated autoencoders).

    >>> import torch
    >>> gated(torch.tensor([[2.0]]), torch.tensor([0.0]), torch.tensor([-1.0]), torch.tensor([0.5]))
    (tensor([[2.]]), tensor([0.5000]), tensor([1.5000]))
    """
    gain = log_gain.exp()
    return encoder * gain[:, None], bias, bias - gain * gate_bias


def reached(threshold: Tensor) -> Tensor:
    """The threshold that a number exceeds exactly when it reaches the given one: > instead of >=.

    >>> import torch
    >>> limit = reached(torch.tensor([1.0]))
    >>> bool(torch.tensor(1.0) > limit), bool(torch.tensor(0.9999999) > limit)
    (True, False)
    """
    return torch.nextafter(threshold.float(), torch.tensor(-torch.inf))
