"""Mistral: Llama whose tokens see a window of those before them.

Jiang et al. 2023, https://arxiv.org/abs/2310.06825.
"""

import dataclasses
from typing import ClassVar

from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import by_head
from abrazo.models.llama import FULL, NEAR, LlamaConfig, llama_family


@dataclasses.dataclass(frozen=True, kw_only=True)
class MistralConfig(LlamaConfig):
    """The defaults are those of Mistral-7B."""

    model_type: ClassVar[str] = "mistral"

    intermediate_size: int = 14336
    """Width in the middle of the feed-forward half."""
    num_key_value_heads: int | None = 8
    """Number of heads of keys and values."""
    max_position_embeddings: int = 131072
    """The most tokens a row can have."""
    sliding_window: int | None = 4096
    """How many tokens a token sees, itself included; None sees all."""

    @property
    def kinds(self) -> list[str]:
        """The kind of each block."""
        return [FULL if self.sliding_window is None else NEAR] * self.num_hidden_layers

    @property
    def window(self) -> int | None:
        """How many tokens a token sees, itself included; None sees all."""
        return self.sliding_window


FAMILY = llama_family(MistralConfig)


class MistralModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class MistralForCausalLM(PretrainedModel):
    """Mistral that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class MistralForSequenceClassification(PretrainedModel):
    """Mistral with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(MistralModel, MistralForCausalLM, MistralForSequenceClassification)
