"""The product of an fp32 layer that trains in bf16 on a CPU, and what it keeps between steps.

Weights stay fp32, products are bf16. Casting each matrix on its way into a product, and each
gradient of a matrix on its way out, is work that waits for memory: in a small BERT it takes as long
as moving the weights does.

Shapes: T tokens, I input width, O output width.
"""

from typing import Any

import torch
from torch import Tensor

from abrazo.layers import onednn


class Bf16Copy:
    """A matrix in bf16, and the gradient of the matrix as products leave it.

    Autograd would cast the gradient to fp32 at once, into memory that is read again when the
    weights are moved. Here it waits in bf16 until it is asked for.
    """

    def __init__(self) -> None:
        self.gradient: Tensor | None = None
        """(O, I) in bf16, or in fp32 once there are several to add."""
        self._values: Tensor | None = None
        self._made_of: tuple[int, int] | None = None

    def of(self, weight: Tensor) -> Tensor:
        """Return the matrix in bf16, made anew if `weight` has changed."""
        if self._values is None:
            self._values = torch.empty_like(weight, dtype=torch.bfloat16, requires_grad=False)
        if self._made_of != state_of(weight):
            self.renew(weight)
        return self._values

    def renew(self, weight: Tensor) -> None:
        """Take over a change that tensors do not count, if products in bf16 have used the matrix.

        torch's fused optimizers make such changes: the version of a weight stays what it was.
        """
        if self._values is not None:
            self._values.copy_(weight.detach())
            self._made_of = state_of(weight)

    def add(self, gradient: Tensor) -> None:
        """Add a gradient, in fp32 if it is not the first."""
        known = self.gradient
        self.gradient = gradient if known is None else known.float().add_(gradient)

    def hand_over(self, weight: Tensor) -> None:
        """Add the gradient that waits here to that of the weight, in fp32."""
        waiting, self.gradient = self.gradient, None
        if waiting is not None:
            weight.grad = waiting.float() if weight.grad is None else weight.grad.add_(waiting)

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return type(None), ()  # a copy of a layer starts without


def state_of(weight: Tensor) -> tuple[int, int]:
    """Return what changes when a tensor is written to or moves."""
    return weight.data_ptr(), weight._version


def bf16_linear(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, copy: Bf16Copy | None
) -> Tensor:
    """Turn (T, I) into (T, O) in bf16, with gradients.

    Args:
        hidden: (T, I).
        weight: (O, I) in fp32.
        bias: (O,) in fp32, or None.
        copy: Holds the matrix in bf16 and gets its gradient; None leaves both to autograd.
    """
    result: Tensor = _Bf16Linear.apply(hidden, weight, bias, copy)  # type: ignore[no-untyped-call]
    return result


class _Bf16Linear(torch.autograd.Function):
    """The product of an fp32 layer in bf16, as autocast has it.

    Autocast keeps a node for each cast and turned matrix, and turns the gradient of the matrix
    around while it is copied to fp32, which takes longer than the product. Here it is computed the
    right way round.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, copy: Bf16Copy | None
    ) -> Tensor:
        hidden = hidden.to(torch.bfloat16)
        weight16 = weight.to(torch.bfloat16) if copy is None else copy.of(weight)
        ctx.save_for_backward(hidden, weight16)
        ctx.copy = copy
        bias16 = None if bias is None else bias.to(torch.bfloat16)
        return onednn.product(hidden, weight16, bias16, "none", [], "")  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight16 = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias, _ = ctx.needs_input_grad
        grad = grad.contiguous()
        for_weight = grad.t() @ hidden if needs_weight else None
        if for_weight is not None and ctx.copy is not None:
            ctx.copy.add(for_weight)
            for_weight = None
        return (
            grad @ weight16 if needs_hidden else None,
            for_weight,
            grad.sum(0) if needs_bias else None,
            None,
        )
