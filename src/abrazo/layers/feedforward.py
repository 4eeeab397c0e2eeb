"""The feed-forward half of a block, and the activations families ask for by name.

Shapes: T tokens, E hidden width, M width in the middle.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abrazo.errors import ConfigError, one_of
from abrazo.layers.dropout import Dropout
from abrazo.layers.linear import Linear


def _gelu_tanh(values: Tensor) -> Tensor:
    return F.gelu(values, approximate="tanh")


def _quick_gelu(values: Tensor) -> Tensor:
    return values * torch.sigmoid(1.702 * values)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": nn.Identity(),
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the activation of that name in `config.json`.

    Raises:
        ConfigError: There is no such activation.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(one_of("`hidden_act`", name, ACTIVATIONS))
    return ACTIVATIONS[name]


class FeedForward(nn.Module):
    """Two products with an activation in between, each token by itself."""

    def __init__(
        self,
        width: int,
        middle_width: int,
        activation_name: str,
        *,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """Build new weights.

        Args:
            width: E.
            middle_width: M.
            activation_name: Activation in between.
            bias: Whether the products have a bias.
            dropout: Share dropped in the middle.
        """
        super().__init__()
        self.activation_name = activation_name
        self.activation = activation(activation_name)
        self.up = Linear(width, middle_width, bias=bias)
        self.dropout = Dropout(dropout)
        self.down = Linear(middle_width, width, bias=bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn (T, E) into (T, E)."""
        if self.up.fuses(hidden, self.activation_name):
            middle = self.up.forward_activated(hidden, self.activation_name)  # (T, M)
        else:
            middle = self.activation(self.up(hidden))  # (T, M)
        return self.down(self.dropout(middle))  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Return the activation's name, for `print(model)`."""
        return self.activation_name


class GatedFeedForward(nn.Module):
    """Two products, where one half of the first, activated, weighs the other half.

    Source: Shazeer 2020, GLU Variants Improve Transformer, https://arxiv.org/abs/2002.05202.
    """

    def __init__(
        self,
        width: int,
        middle_width: int,
        activation_name: str,
        *,
        bias: bool = False,
        output_bias: bool | None = None,
        is_gate_last: bool = False,
        dropout: float = 0.0,
    ) -> None:
        """Build new weights.

        Args:
            width: E.
            middle_width: M, the width of either half.
            activation_name: Activation of the gate.
            bias: Whether the products have a bias.
            output_bias: The same for the second product alone; None takes `bias`.
            is_gate_last: Whether the gate is the second half of the first product.
            dropout: Share dropped in the middle.
        """
        super().__init__()
        self.activation_name = activation_name
        self.activation = activation(activation_name)
        self.is_gate_last = is_gate_last
        self.up = Linear(width, 2 * middle_width, bias=bias)
        self.dropout = Dropout(dropout)
        self.down = Linear(middle_width, width, bias=bias if output_bias is None else output_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn (T, E) into (T, E)."""
        gate, middle = self.up(hidden).chunk(2, -1)  # (T, M) each
        if self.is_gate_last:
            gate, middle = middle, gate
        return self.down(self.dropout(self.activation(gate) * middle))  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Return the activation's name, for `print(model)`."""
        return self.activation_name


class Transform(nn.Module):
    """One product, an activation and a norm, as several heads start with.

    Source: Devlin et al. 2018, BERT, released code.
    """

    def __init__(
        self,
        width: int,
        output_width: int,
        activation_name: str,
        *,
        norm_eps: float,
        bias: bool = True,
        norm_bias: bool = True,
    ) -> None:
        super().__init__()
        self.dense = Linear(width, output_width, bias=bias)
        self.activation = activation(activation_name)
        self.norm = nn.LayerNorm(output_width, eps=norm_eps, bias=norm_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn (T, E) into (T, output width)."""
        return self.norm(self.activation(self.dense(hidden)))  # type: ignore[no-any-return]
