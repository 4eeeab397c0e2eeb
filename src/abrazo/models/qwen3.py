"""Qwen3: Qwen2 with norms of queries and keys in place of biases.

Yang et al. 2025, https://arxiv.org/abs/2505.09388.
"""

import dataclasses
from typing import ClassVar

from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import by_head
from abrazo.models.llama import llama_family
from abrazo.models.qwen2 import Qwen2Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Qwen3Config(Qwen2Config):
    """The defaults are those of `transformers`."""

    model_type: ClassVar[str] = "qwen3"
    HAS_HEAD_NORMS = True

    head_dim: int | None = 128
    """Width of a head; None shares the hidden width among the heads."""
    attention_bias: bool = False
    """Whether the products of attention have a bias."""

    @property
    def output_bias(self) -> bool:
        """Whether the second product of attention has a bias."""
        return self.attention_bias


FAMILY = llama_family(Qwen3Config)


class Qwen3Model(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class Qwen3ForCausalLM(PretrainedModel):
    """Qwen3 that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class Qwen3ForSequenceClassification(PretrainedModel):
    """Qwen3 with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(Qwen3Model, Qwen3ForCausalLM, Qwen3ForSequenceClassification)
