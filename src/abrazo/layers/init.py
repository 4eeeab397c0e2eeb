"""How new weights start."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from abrazo.layers.norms import RMSNorm


class SkipInit(TorchFunctionMode):
    """A context in which new modules are not given values, for modules without memory.

    On the meta device what `torch.nn.init` does has no effect, but its first use costs seconds:
    torch then imports its compiler, which knows about random numbers there.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Pass over initialisers and do all else."""
        named = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def init_weights(module: nn.Module, std: float) -> None:
    """Draw matrices from a normal distribution, zero biases, leave norms at one.

    Source: Devlin et al. 2018, BERT, released code (truncation left out, as `transformers` does).

    Args:
        module: The module to start, with all modules inside it.
        std: Standard deviation of the normal distribution.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding | nn.Conv1d):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        if isinstance(part, RMSNorm):
            part.reset_parameters()
        if isinstance(part, nn.Linear | nn.Conv1d | nn.LayerNorm) and part.bias is not None:
            nn.init.zeros_(part.bias)
