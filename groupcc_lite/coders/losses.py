"""The squared error of a sparse reconstruction, with its gradient written out: the inner loop of all training here,
and the variance that it is compared with. Also JumpReLU, whose thresholds have no gradient but one that is made up."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

PIECE = 2**22
"""How many gathered numbers a gradient of sparse codes holds at once, if one sample does not need more: 16 MiB, which
a CPU's cache may hold, so that pieces take half the time of the whole."""


def squared_error(f: Float[Tensor, "b m"], W_d: Float[Tensor, "m g d"], b_d: Float[Tensor, "g d"],
                  x: Float[Tensor, "b g d"], scale: float) -> tuple[Float[Tensor, ""], Float[Tensor, "b g d"]]:
    """(mean over b of ||scale x - b_d - f W_d||^2, the residual); the residual itself carries no gradient."""
    return _SquaredError.apply(f, W_d, b_d, x, scale)


def few_latents_error(values: Float[Tensor, "b k"], indices: Int[Tensor, "b k"], W_d: Float[Tensor, "m g d"],
                      b_d: Float[Tensor, "g d"], x: Float[Tensor, "b g d"],
                      scale: float) -> tuple[Float[Tensor, ""], Float[Tensor, "b g d"]]:
    """`squared_error` where sample b has `values` at the latents `indices` and zeros elsewhere.

    It reads and writes k dictionary vectors for each sample instead of all m: the same numbers but for rounding.
    """
    return _FewLatentsError.apply(values, indices, W_d, b_d, x, scale)


def scattered_error(values: Float[Tensor, " p"], latents: Int[Tensor, " p"], samples: Int[Tensor, " p"],
                    W_d: Float[Tensor, "m g d"], b_d: Float[Tensor, "g d"], x: Float[Tensor, "b g d"],
                    scale: float) -> tuple[Float[Tensor, ""], Float[Tensor, "b g d"]]:
    """`few_latents_error` where each sample has a number of latents of its own: one value, latent and sample for each
    code that is not 0, in the order of the samples."""
    return _ScatteredError.apply(values, latents, samples, W_d, b_d, x, scale)


def sparse_product(f: Float[Tensor, "b m"], W: Float[Tensor, "m n"]) -> Float[Tensor, "b n"]:
    """f W, read from the rows of W where f is not 0 alone."""
    samples, latents = f.nonzero(as_tuple=True)
    return embedding_bag(latents, W, _first_of(samples, f), mode="sum",
                         per_sample_weights=f[samples, latents].to(W.dtype))


def _first_of(samples: Int[Tensor, " p"], batch: Tensor) -> Int[Tensor, " b"]:
    """Where the codes of each sample begin."""
    return torch.searchsorted(samples, torch.arange(len(batch), device=samples.device))


def jump_relu(pre: Float[Tensor, "b m"], threshold: Float[Tensor, " m"],
              width: Float[Tensor, " m"]) -> tuple[Float[Tensor, "b m"], Float[Tensor, ""]]:
    """(p where p > theta and else 0, the mean number of latents where it is so), with pseudo-gradients for theta > 0.

    Neither moves with theta but at the jumps. In place of their derivatives stand those of the two smoothed over theta
    +- width / 2: with K = 1 where |p - theta| < width / 2 and else 0, d f / d theta = -K theta / width and d 1[p >
    theta] / d theta = -K / width; p has the plain gradient where f is on and none from the count (Rajamanoharan et al.
    2024, section 4). Averaged over samples they estimate the gradient of the mean loss; the smaller the width, the less
    is smoothed and the fewer samples speak.
    """
    return _JumpReLU.apply(pre, threshold, width)


def batch_variance(x: Float[Tensor, "b g d"]) -> Float[Tensor, ""]:
    """Mean squared distance of orbit vectors from the mean of each of their numbers: what a constant would leave."""
    return (x - x.mean(0)).square().sum((1, 2)).mean()


class _SquaredError(torch.autograd.Function):
    """(mean over b of ||scale x - b_d - f W_d||^2, the residual), with its gradient written out.

    Autograd would keep and revisit several tensors of the batch's full size (b, |G| d); this makes one pass over each
    and keeps the residual only, in the precision of the matrix products. The residual itself carries no gradient.
    """

    @staticmethod
    def forward(ctx: Any, f: Tensor, W_d: Tensor, b_d: Tensor, x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        device = x.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        f_low, W_low = f.to(low), W_d.flatten(1).to(low)
        residual = torch.add(-b_d, x, alpha=scale).flatten(1)
        residual -= f_low @ W_low
        error = torch.linalg.vector_norm(residual).square() / len(x)
        ctx.block_shape = x.shape[1:]
        ctx.save_for_backward(f_low, W_low, residual.to(low))
        residual = residual.view_as(x)
        ctx.mark_non_differentiable(residual)
        return error, residual

    @staticmethod
    def backward(ctx: Any, grad_error: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        f, W_d, residual = ctx.saved_tensors
        factor = -2 / len(f) * grad_error
        grad_f = (residual @ W_d.T).float() * factor
        grad_W = ((f * factor).to(f.dtype).T @ residual).float()
        grad_b = residual.sum(0, dtype=torch.float32) * factor
        shape = (-1, *ctx.block_shape)
        return grad_f, grad_W.view(shape), grad_b.view(ctx.block_shape), None, None


class _JumpReLU(torch.autograd.Function):
    """`jump_relu`: both outputs at once, because their pseudo-gradients come from the same few samples."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        on = pre > threshold
        ctx.save_for_backward(pre, threshold, width, on)
        return pre * on, on.sum(dtype=pre.dtype) / len(pre)

    @staticmethod
    def backward(ctx: Any, grad_f: Tensor, grad_count: Tensor) -> tuple[Tensor | None, ...]:
        pre, threshold, width, on = ctx.saved_tensors
        near = (pre - threshold).abs() < width / 2
        lost = near * (threshold * grad_f + grad_count / len(pre))
        return grad_f * on, -lost.sum(0) / width, None


class _FewLatentsError(torch.autograd.Function):
    """`_SquaredError` with sparse codes: gathered rows of W_d forwards, added to rows of its gradient backwards.

    In float32 throughout: with so few numbers a lower precision would save nothing. A gradient needs two tensors of k
    dictionary vectors for each sample; they are made for so many samples at a time as fit into `PIECE`.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, indices: Tensor, W_d: Tensor, b_d: Tensor, x: Tensor,
                scale: float) -> tuple[Tensor, Tensor]:
        residual = torch.add(-b_d, x, alpha=scale).flatten(1)
        residual -= embedding_bag(indices, W_d.flatten(1), per_sample_weights=values, mode="sum")
        error = torch.linalg.vector_norm(residual).square() / len(x)
        ctx.save_for_backward(values, indices, W_d, residual)
        residual = residual.view_as(x)
        ctx.mark_non_differentiable(residual)
        return error, residual

    @staticmethod
    def backward(ctx: Any, grad_error: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        values, indices, W_d, residual = ctx.saved_tensors
        grad = residual * (-2 / len(values) * grad_error)
        grad_values, grad_W = torch.empty_like(values), torch.zeros_like(W_d.flatten(1))
        rows = max(1, PIECE // (values.shape[1] * grad.shape[1]))
        for v, i, g, out in zip(*(t.split(rows) for t in (values, indices, grad, grad_values)), strict=True):
            out.copy_(torch.einsum("bkd,bd->bk", embedding(i, W_d.flatten(1)), g))
            grad_W.index_add_(0, i.flatten(), (v[..., None] * g[:, None]).flatten(0, 1))
        return grad_values, None, grad_W.view_as(W_d), grad.sum(0).view(W_d.shape[1:]), None, None


class _ScatteredError(torch.autograd.Function):
    """`_FewLatentsError` for any number of latents of a sample, in pieces of so many codes as fit into `PIECE`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, latents: Tensor, samples: Tensor, W_d: Tensor, b_d: Tensor, x: Tensor,
                scale: float) -> tuple[Tensor, Tensor]:
        residual = torch.add(-b_d, x, alpha=scale).flatten(1)
        residual -= embedding_bag(latents, W_d.flatten(1), _first_of(samples, x), mode="sum", per_sample_weights=values)
        error = torch.linalg.vector_norm(residual).square() / len(x)
        ctx.save_for_backward(values, latents, samples, W_d, residual)
        residual = residual.view_as(x)
        ctx.mark_non_differentiable(residual)
        return error, residual

    @staticmethod
    def backward(ctx: Any, grad_error: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        values, latents, samples, W_d, residual = ctx.saved_tensors
        grad = residual * (-2 / len(residual) * grad_error)
        grad_values, grad_W = torch.empty_like(values), torch.zeros_like(W_d.flatten(1))
        codes = max(1, PIECE // grad.shape[1])
        for v, i, b, out in zip(*(t.split(codes) for t in (values, latents, samples, grad_values)), strict=True):
            written = embedding(b, grad)
            out.copy_((embedding(i, W_d.flatten(1)) * written).sum(1))
            grad_W.index_add_(0, i, v[:, None] * written)
        return grad_values, None, None, grad_W.view_as(W_d), grad.sum(0).view(W_d.shape[1:]), None, None
