"""Another head on a backbone that is there already: both models have the same weights."""

import copy

from abrazo.checkpoints.folder import open_weights
from abrazo.errors import ConfigError
from abrazo.heads.base import Head
from abrazo.heads.masked_lm import PreTrainingHead
from abrazo.layers.init import init_weights
from abrazo.models.auto import class_with_head
from abrazo.models.base import PretrainedModel
from abrazo.models.family import Backbone


def with_head(
    model: PretrainedModel, head_name: str, *, is_known: bool = False
) -> PretrainedModel | None:
    """Return a model with that head on the weights of another one; training one trains both.

    The head's weights come from the model's own head where it contains the wished one, else from
    the folder that the model was loaded from, and start new where neither has them.

    Args:
        model: A model; it is left as it is.
        head_name: The head, one of the family's.
        is_known: Whether the head must not start new; without weights for it there is no model.

    Raises:
        ConfigError: The family has no such head, or the backbone lacks what the head reads.
    """
    kind = class_with_head(model, head_name)
    head = _head_of(model, kind, is_known=is_known)
    if head is None:
        return None
    other = kind.__new__(kind)
    other.__dict__.update(copy.copy(model).__dict__)
    other._modules = dict(model._modules)
    other.backbone = _shared_backbone(model, head)
    other.head = head.to(model.device, model.dtype).train(model.training)
    other.task_settings = {}
    if model.config.tie_word_embeddings:
        head.tie(other.backbone.word_embeddings)
    return other


def has_head(model: PretrainedModel, head_name: str) -> bool:
    """Tell whether the folder that a model was loaded from has weights of a head."""
    if model.source is None or head_name not in model.family.heads:
        return False
    names = tuple(open_weights(model.source).names())
    rows = model.family.head_rows(model.config, head_name)
    return any(name.startswith(row.theirs) for row in rows for name in names)


def _head_of(model: PretrainedModel, kind: type[PretrainedModel], *, is_known: bool) -> Head | None:
    if model.head_name == kind.head_name:
        return model.head
    if isinstance(model.head, PreTrainingHead) and kind.head_name == "masked_lm":
        return model.head.masked_lm
    if model.source is not None and has_head(model, kind.head_name):
        return kind.from_pretrained(model.source).head
    if is_known:
        return None
    head = model.family.heads[kind.head_name].build(model.config)
    init_weights(head, model.config.initializer_range)
    return head


def _shared_backbone(model: PretrainedModel, head: Head) -> Backbone:
    """Return the backbone's parts as another module, without a pooler that no one reads."""
    if head.needs_pooler and model.pooler is None:
        raise ConfigError(
            f"{type(model).__name__} has no pooler, which {type(head).__name__} reads. Load the "
            "checkpoint by the class that has the head."
        )
    backbone: Backbone = copy.copy(model.backbone)
    backbone._modules = dict(model.backbone._modules)
    if not head.needs_pooler:
        backbone.pooler = None
    return backbone
