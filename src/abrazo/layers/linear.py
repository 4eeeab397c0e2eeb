"""The matrix product with a bias, on the fastest kernel there is.

On CPUs `torch` sends fp32 products to MKL and bf16 products to oneDNN. MKL leaves the AVX-512 units
of some processors idle, so fp32 goes to oneDNN too (measured on two Zen 5 cores, width 384 to 1536,
400 tokens: 1.0 ms against 2.3 ms). Without gradients oneDNN also applies the activation on the way
out.

In bf16 oneDNN multiplies with a matrix in blocks, and puts a plain one into blocks at every call.
With few tokens, as in steps of decoding, that takes longer than the product: `pack_weights` lets
layers keep the blocks.

Shapes: T tokens, I input width, O output width.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.layers import onednn
from abrazo.layers.bf16 import Bf16Copy, bf16_linear, state_of
from abrazo.layers.owners import count_owners

_FUSED_ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
    "swish": ("swish", ""),
}
"""What oneDNN calls activations, and the form of it."""

_TOKEN_STEP = 32
"""Numbers of tokens are rounded up to a multiple of this on CPUs, where that can be done.

oneDNN prepares a kernel for every new shape, which takes longer than multiplying a few tokens
more, and keeps it in memory: packed batches hardly ever have the same number of tokens twice.
"""
_MOST_PACKED = 2 << 30
"""Bytes of the matrices of a module above which they are not kept a second time."""
_FEW_TOKENS = 64
"""For how many tokens blocks are laid out; they serve any number."""


class _OneDNNLinear(torch.autograd.Function):
    """`F.linear` with all three products on oneDNN."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return onednn.product(hidden, weight, bias, "none", [], "")  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad
        grad = grad.contiguous()
        return (
            onednn.product(grad, weight.t(), None, "none", [], "") if needs_hidden else None,
            onednn.product(grad.t(), hidden.t(), None, "none", [], "") if needs_weight else None,
            grad.sum(0) if needs_bias else None,
        )


def _trains_in_bf16(hidden: Tensor, weight: Tensor) -> bool:
    return (
        torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and torch.bfloat16 in onednn.DTYPES
        and torch.is_grad_enabled()
        and weight.dtype == torch.float32
        and _is_packed_on_cpu(hidden)
    )


def _suits_onednn(hidden: Tensor, weight: Tensor) -> bool:
    return (
        hidden.dtype in onednn.DTYPES
        and hidden.dtype == weight.dtype
        and not torch.is_autocast_enabled("cpu")
        and _is_packed_on_cpu(hidden)
    )


def _is_packed_on_cpu(hidden: Tensor) -> bool:
    """Tell whether these are tokens, (T, I), that oneDNN's product can be called with."""
    return (
        hidden.device.type == "cpu"
        and hidden.dim() == 2
        and hidden.shape[0] > 0
        and not torch.compiler.is_compiling()
    )


class _Packed:
    """A matrix in blocks, as it was when they were made."""

    def __init__(self, weight: Tensor) -> None:
        self.blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _FEW_TOKENS)
        self._made_of = state_of(weight)

    def is_of(self, weight: Tensor) -> bool:
        """Tell whether the matrix is still the same."""
        return self._made_of == state_of(weight)

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return type(None), ()  # a copy of a layer starts without


class Linear(nn.Linear):
    """`nn.Linear` on the fastest kernel there is."""

    bf16_copy: Bf16Copy | None = None
    """The matrix as products in bf16 take it, kept while it is trained; see `bf16_copies_kept`."""
    _packed: _Packed | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn (T, I) into (T, O)."""
        if _suits_onednn(hidden, self.weight):
            if not torch.is_grad_enabled():
                return onednn.product(hidden, self._blocks(), self.bias, "none", [], "")  # type: ignore[no-any-return]
            if hidden.dtype == torch.float32:
                return _OneDNNLinear.apply(hidden, self.weight, self.bias)  # type: ignore[no-any-return, no-untyped-call]
        elif _trains_in_bf16(hidden, self.weight):
            return bf16_linear(hidden, self.weight, self.bias, self.bf16_copy)
        return F.linear(hidden, self.weight, self.bias)

    def matrix(self) -> Tensor:
        """Return the matrix (O, I) that is multiplied with."""
        return self.weight

    def fuses(self, hidden: Tensor, activation: str) -> bool:
        """Tell whether `forward_activated` can be used here: no gradients, a known activation."""
        return (
            activation in _FUSED_ACTIVATIONS
            and not torch.is_grad_enabled()
            and _suits_onednn(hidden, self.weight)
        )

    def forward_activated(self, hidden: Tensor, activation: str) -> Tensor:
        """Turn (T, I) into (T, O) and apply the activation in the same pass."""
        name, form = _FUSED_ACTIVATIONS[activation]
        return onednn.product(hidden, self._blocks(), self.bias, name, [], form)  # type: ignore[no-any-return]

    def pack(self) -> None:
        """Keep the matrix in blocks too, until it changes, moves or is trained."""
        if self._packed is None or not self._packed.is_of(self.weight):
            self._packed = _Packed(self.weight)

    def train(self, mode: bool = True) -> Self:
        """Set whether it is trained."""
        if mode:
            self._packed = None
        return super().train(mode)

    def _apply(self, *arguments: Any, **options: Any) -> Self:
        self._packed = None  # the weights are moved or converted
        return super()._apply(*arguments, **options)  # type: ignore[no-any-return, no-untyped-call]

    def _blocks(self) -> Tensor:
        """Return the matrix as it is multiplied with the fastest."""
        packed = self._packed
        if packed is None or not packed.is_of(self.weight):
            return self.weight
        return packed.blocks  # type: ignore[no-any-return]


def pack_weights(module: nn.Module) -> None:
    """Let the layers of a module keep their matrices in blocks, where that pays.

    It pays in bf16 on CPUs: measured on a core with AMX, 1 to 64 tokens take half the time, 256
    three quarters, and results are the same. Matrices of more than 2 GiB together are left alone,
    as blocks take as much memory again.
    """
    layers = [part for part in module.modules() if isinstance(part, Linear)]
    matrices = {id(layer.weight): layer.weight for layer in layers}.values()
    if sum(matrix.nbytes for matrix in matrices) > _MOST_PACKED:
        return
    for layer in layers:
        if _can_be_packed(layer.weight):
            layer.pack()


@contextlib.contextmanager
def bf16_copies_kept(module: nn.Module) -> Iterator[None]:
    """Let layers that train in bf16 on a CPU keep a copy of their matrix for a while.

    The gradients of matrices wait in the copies until they are handed over, and who moves weights
    tells the copies; see `Bf16Copy`. Matrices that another module shares are left alone.
    """
    owners = count_owners(module)
    layers = [
        part
        for part in module.modules()
        if isinstance(part, Linear) and owners[part.weight] == 1 and _has_copy(part.weight)
    ]
    for layer in layers:
        layer.bf16_copy = Bf16Copy()
    try:
        yield
    finally:
        for layer in layers:
            layer.bf16_copy = None


def _has_copy(weight: Tensor) -> bool:
    has_hooks = weight._backward_hooks or weight._post_accumulate_grad_hooks  # of autograd
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and not has_hooks


def _can_be_packed(weight: Tensor) -> bool:
    is_native = weight.dtype == torch.bfloat16 and weight.dtype in onednn.DTYPES
    # tensors made in inference mode do not tell when they change
    return is_native and weight.device.type == "cpu" and not weight.is_inference()


def rounded_up(hidden: Tensor) -> Tensor:
    """Return (T, E) with zeros behind it, up to a number of tokens that kernels are kept for."""
    if hidden.device.type != "cpu":
        return hidden
    return F.pad(hidden, (0, 0, 0, -hidden.shape[0] % _TOKEN_STEP))
