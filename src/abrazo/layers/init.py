"""How new weights start."""

from torch import nn


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
        if isinstance(part, nn.Linear | nn.Conv1d | nn.LayerNorm) and part.bias is not None:
            nn.init.zeros_(part.bias)
