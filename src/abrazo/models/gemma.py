"""Gemma: Llama with scaled embeddings and with norms whose weights count from one.

Mesnard et al. 2024, https://arxiv.org/abs/2403.08295.
"""

import dataclasses
import math
from typing import ClassVar

from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import by_head
from abrazo.models.llama import LlamaConfig, llama_family


@dataclasses.dataclass(frozen=True, kw_only=True)
class GemmaConfig(LlamaConfig):
    """The defaults are those of Gemma-7B."""

    model_type: ClassVar[str] = "gemma"
    NORM_OFFSET = 1.0

    vocab_size: int = 256000
    """Number of pieces in the vocabulary."""
    hidden_size: int = 3072
    """Width of a token's vector."""
    intermediate_size: int = 24576
    """Width in the middle of the feed-forward half."""
    num_hidden_layers: int = 28
    """Number of blocks."""
    num_attention_heads: int = 16
    """Number of heads of queries in a block."""
    num_key_value_heads: int | None = 16
    """Number of heads of keys and values."""
    head_dim: int | None = 256
    """Width of a head."""
    hidden_act: str = "gelu_pytorch_tanh"
    """Activation of the gate of the feed-forward half; `gelu` means its approximation too."""
    max_position_embeddings: int = 8192
    """The most tokens a row can have."""
    pad_token_id: int | None = 0
    """The id that pads rows."""
    bos_token_id: int | None = 2
    """The id that begins texts."""
    eos_token_id: int | list[int] | None = 1
    """The id that ends texts, or several."""
    tie_word_embeddings: bool = True
    """Whether the next-word head shares the embedding matrix."""
    use_bidirectional_attention: bool | None = None
    """Whether tokens see what follows them too, which is not known here."""

    @property
    def activation(self) -> str:
        """Activation of the gate of the feed-forward half."""
        return "gelu_pytorch_tanh" if self.hidden_act == "gelu" else self.hidden_act

    @property
    def word_scale(self) -> float:
        """What embeddings are multiplied with."""
        return math.sqrt(self.hidden_size)

    def _wrong_values(self) -> list[str]:
        problems = super()._wrong_values()
        if self.use_bidirectional_attention:
            problems.append("`use_bidirectional_attention` must be false; it is not known here.")
        return problems


FAMILY = llama_family(GemmaConfig)


class GemmaModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class GemmaForCausalLM(PretrainedModel):
    """Gemma that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class GemmaForSequenceClassification(PretrainedModel):
    """Gemma with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(GemmaModel, GemmaForCausalLM, GemmaForSequenceClassification)
