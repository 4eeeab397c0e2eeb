"""Gemma 2: Gemma with norms on either side of each half, capped scores, and windows in turns.

Riviere et al. 2024, https://arxiv.org/abs/2408.00118.
"""

import dataclasses
import math
from typing import ClassVar

from abrazo.models.base import PretrainedModel
from abrazo.models.decoder import causal_lm
from abrazo.models.encoder import by_head
from abrazo.models.gemma import GemmaConfig
from abrazo.models.llama import FULL, NEAR, llama_family


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gemma2Config(GemmaConfig):
    """The defaults are those of Gemma-2-2B."""

    model_type: ClassVar[str] = "gemma2"
    HAS_OUTPUT_NORMS = True

    hidden_size: int = 2304
    """Width of a token's vector."""
    intermediate_size: int = 9216
    """Width in the middle of the feed-forward half."""
    num_hidden_layers: int = 26
    """Number of blocks."""
    num_attention_heads: int = 8
    """Number of heads of queries in a block."""
    num_key_value_heads: int | None = 4
    """Number of heads of keys and values."""
    hidden_activation: str = "gelu_pytorch_tanh"
    """Activation of the gate of the feed-forward half, which goes before `hidden_act`."""
    query_pre_attn_scalar: int = 256
    """Scores are divided by its root."""
    sliding_window: int | None = 4096
    """How many tokens a token sees in blocks with a window, itself included."""
    layer_types: list[str] | None = None
    """For each block `full_attention` or `sliding_attention`; None takes turns."""
    final_logit_softcapping: float | None = 30.0
    """What the scores of words are bent to stay below; None leaves them."""
    attn_logit_softcapping: float | None = 50.0
    """What the scores of attention are bent to stay below; None leaves them."""

    @property
    def activation(self) -> str:
        """Activation of the gate of the feed-forward half."""
        return self.hidden_activation

    @property
    def score_scale(self) -> float:
        """What scores are multiplied with."""
        return 1 / math.sqrt(self.query_pre_attn_scalar)

    @property
    def score_cap(self) -> float | None:
        """What scores are bent to stay below."""
        return self.attn_logit_softcapping

    @property
    def window(self) -> int | None:
        """How many tokens a token sees in blocks with a window, itself included."""
        return self.sliding_window

    @property
    def kinds(self) -> list[str]:
        """The kind of each block."""
        if self.layer_types is not None:
            return self.layer_types
        return [FULL if number % 2 else NEAR for number in range(self.num_hidden_layers)]

    def _wrong_values(self) -> list[str]:
        problems = super()._wrong_values()
        names = ("query_pre_attn_scalar", "final_logit_softcapping", "attn_logit_softcapping")
        return problems + [
            f"`{name}` must be above 0, but is 0." for name in names if getattr(self, name) == 0
        ]


CAPPED_LM = causal_lm(softcap=lambda config: config.final_logit_softcapping)
"""The next-word head, whose scores may be capped."""


FAMILY = llama_family(Gemma2Config, CAPPED_LM)


class Gemma2Model(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class Gemma2ForCausalLM(PretrainedModel):
    """Gemma 2 that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class Gemma2ForSequenceClassification(PretrainedModel):
    """Gemma 2 with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(Gemma2Model, Gemma2ForCausalLM, Gemma2ForSequenceClassification)
