"""Mistral: Llama whose tokens see a window of those before them.

Jiang et al. 2023, https://arxiv.org/abs/2310.06825.
"""

import dataclasses
from typing import ClassVar

from abrazo.models.base import PretrainedModel
from abrazo.models.decoder import causal_lm
from abrazo.models.encoder import by_head
from abrazo.models.family import Family
from abrazo.models.llama import LlamaBackbone, LlamaConfig, llama_rows


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
    def window(self) -> int | None:
        """How many tokens before it a token sees besides itself; None sees all."""
        return None if self.sliding_window is None else self.sliding_window - 1


FAMILY = Family(
    config=MistralConfig,
    backbone=LlamaBackbone,
    rows=llama_rows,
    prefix="model.",
    heads={"causal_lm": causal_lm()},
    elsewhere=("lm_head.", "score."),
)


class MistralModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class MistralForCausalLM(PretrainedModel):
    """Mistral that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


MODELS = by_head(MistralModel, MistralForCausalLM)
