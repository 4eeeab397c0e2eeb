"""Qwen2: Llama whose queries, keys and values have biases, and whose upper blocks may have windows.

Yang et al. 2024, https://arxiv.org/abs/2407.10671.
"""

import dataclasses
from typing import ClassVar

from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import by_head
from abrazo.models.llama import FULL, NEAR, LlamaConfig, llama_family


@dataclasses.dataclass(frozen=True, kw_only=True)
class Qwen2Config(LlamaConfig):
    """The defaults are those of `transformers`."""

    model_type: ClassVar[str] = "qwen2"

    vocab_size: int = 151936
    """Number of pieces in the vocabulary."""
    intermediate_size: int = 22016
    """Width in the middle of the feed-forward half."""
    num_key_value_heads: int | None = 32
    """Number of heads of keys and values."""
    max_position_embeddings: int = 32768
    """The most tokens a row can have."""
    bos_token_id: int | None = None
    """The id that begins texts."""
    eos_token_id: int | list[int] | None = None
    """The id that ends texts, or several."""
    attention_bias: bool = True
    """Whether queries, keys and values have a bias."""
    use_sliding_window: bool = False
    """Whether there are blocks whose tokens see a window."""
    sliding_window: int | None = 4096
    """How many tokens a token sees in such blocks, itself included."""
    max_window_layers: int = 28
    """From which block on there is a window, where `layer_types` does not say."""
    layer_types: list[str] | None = None
    """For each block `full_attention` or `sliding_attention`."""

    @property
    def window(self) -> int | None:
        """How many tokens a token sees in blocks with a window; None sees all."""
        return self.sliding_window if self.use_sliding_window else None

    @property
    def kinds(self) -> list[str]:
        """The kind of each block."""
        if self.layer_types is not None:
            return self.layer_types
        first = self.num_hidden_layers if self.window is None else self.max_window_layers
        return [FULL if number < first else NEAR for number in range(self.num_hidden_layers)]

    @property
    def output_bias(self) -> bool:
        """Whether the second product of attention has a bias: it has none."""
        return False


FAMILY = llama_family(Qwen2Config)


class Qwen2Model(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class Qwen2ForCausalLM(PretrainedModel):
    """Qwen2 that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class Qwen2ForSequenceClassification(PretrainedModel):
    """Qwen2 with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(Qwen2Model, Qwen2ForCausalLM, Qwen2ForSequenceClassification)
