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

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


def _find_onednn() -> Any:
    """Return oneDNN's product, which has no public name in torch, or None in builds without it."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _dtypes_of_onednn() -> tuple[torch.dtype, ...]:
    """Return what this processor's oneDNN multiplies natively."""
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32, torch.bfloat16
    return (torch.float32,)


_onednn = _find_onednn()
_DTYPES = () if _onednn is None else _dtypes_of_onednn()


class _OneDNNLinear(torch.autograd.Function):
    """`F.linear` with all three products on oneDNN."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return _onednn(hidden, weight, bias, "none", [], "")  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad
        grad = grad.contiguous()
        return (
            _onednn(grad, weight.t(), None, "none", [], "") if needs_hidden else None,
            _onednn(grad.t(), hidden.t(), None, "none", [], "") if needs_weight else None,
            grad.sum(0) if needs_bias else None,
        )


class _Bf16Linear(torch.autograd.Function):
    """The product of an fp32 layer in bf16, as autocast has it.

    Autocast keeps a node for each cast and turned matrix, and turns the gradient of the matrix
    around while it is copied to fp32, which takes longer than the product. Here it is computed the
    right way round.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        hidden, weight16 = hidden.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(hidden, weight16)
        bias16 = None if bias is None else bias.to(torch.bfloat16)
        return _onednn(hidden, weight16, bias16, "none", [], "")  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight16 = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad
        grad = grad.contiguous()
        return (
            grad @ weight16 if needs_hidden else None,
            grad.t() @ hidden if needs_weight else None,
            grad.sum(0) if needs_bias else None,
        )


def _trains_in_bf16(hidden: Tensor, weight: Tensor) -> bool:
    return (
        torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and torch.bfloat16 in _DTYPES
        and torch.is_grad_enabled()
        and weight.dtype == torch.float32
        and _is_packed_on_cpu(hidden)
    )


def _suits_onednn(hidden: Tensor, weight: Tensor) -> bool:
    return (
        hidden.dtype in _DTYPES
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
        self._made_of = _state(weight)

    def is_of(self, weight: Tensor) -> bool:
        """Tell whether the matrix is still the same."""
        return self._made_of == _state(weight)

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return type(None), ()  # a copy of a layer starts without


def _state(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), weight._version


class Linear(nn.Linear):
    """`nn.Linear` on the fastest kernel there is."""

    _packed: _Packed | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn (T, I) into (T, O)."""
        if _suits_onednn(hidden, self.weight):
            if not torch.is_grad_enabled():
                return _onednn(hidden, self._blocks(), self.bias, "none", [], "")  # type: ignore[no-any-return]
            if hidden.dtype == torch.float32:
                return _OneDNNLinear.apply(hidden, self.weight, self.bias)  # type: ignore[no-any-return, no-untyped-call]
        elif _trains_in_bf16(hidden, self.weight):
            return _Bf16Linear.apply(hidden, self.weight, self.bias)  # type: ignore[no-any-return, no-untyped-call]
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
        return _onednn(hidden, self._blocks(), self.bias, name, [], form)  # type: ignore[no-any-return]

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


def _can_be_packed(weight: Tensor) -> bool:
    is_native = weight.dtype == torch.bfloat16 and weight.dtype in _DTYPES
    # tensors made in inference mode do not tell when they change
    return is_native and weight.device.type == "cpu" and not weight.is_inference()


def rounded_up(hidden: Tensor) -> Tensor:
    """Return (T, E) with zeros behind it, up to a number of tokens that kernels are kept for."""
    if hidden.device.type != "cpu":
        return hidden
    return F.pad(hidden, (0, 0, 0, -hidden.shape[0] % _TOKEN_STEP))
