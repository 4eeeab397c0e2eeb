"""Parts of a model that stay as they are while the rest trains."""

from abrazo.errors import ConfigError
from abrazo.models.base import PretrainedModel


def freeze(model: PretrainedModel, *, embeddings: bool = True, blocks: int = 0) -> int:
    """Keep the lowest parts of a model from training.

    Less memory and time are needed, since gradients end where all below is frozen. What was frozen
    before stays so; `model.requires_grad_(True)` lets everything train again. A head that shares
    the embedding matrix keeps it frozen too.

    Args:
        model: Changed in place; the Trainer and its checkpoints need not know.
        embeddings: Whether the embeddings are frozen.
        blocks: How many blocks are frozen, counted from below, those of an encoder first.

    Returns:
        The number of weights that still train.

    Raises:
        ConfigError: The model has fewer blocks.
    """
    count = len(model.blocks)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or not 0 <= blocks <= count:
        raise ConfigError(
            f"`blocks` must be a whole number from 0 to {count}, the blocks of "
            f"{type(model).__name__}, but is {blocks!r}."
        )
    stacks = model.backbone.stacks.values()
    inputs = [stack.embeddings for stack in stacks] if embeddings else []
    for part in (*inputs, *model.blocks[:blocks]):
        part.requires_grad_(False)
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
