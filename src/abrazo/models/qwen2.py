"""Qwen2: Llama whose queries, keys and values have biases.

Yang et al. 2024, https://arxiv.org/abs/2407.10671.
"""

import dataclasses
from typing import ClassVar

from abrazo.models.base import PretrainedModel
from abrazo.models.decoder import causal_lm
from abrazo.models.encoder import by_head
from abrazo.models.family import Family
from abrazo.models.llama import LlamaBackbone, LlamaConfig, llama_rows


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
    """Whether some blocks see a window alone, which is not known here."""

    @property
    def output_bias(self) -> bool:
        """Whether the second product of attention has a bias: it has none."""
        return False

    def _wrong_values(self) -> list[str]:
        problems = super()._wrong_values()
        if self.use_sliding_window:
            problems.append("`use_sliding_window` must be false: windows of Qwen2 are not known.")
        return problems


FAMILY = Family(
    config=Qwen2Config,
    backbone=LlamaBackbone,
    rows=llama_rows,
    prefix="model.",
    heads={"causal_lm": causal_lm()},
    elsewhere=("lm_head.", "score."),
)


class Qwen2Model(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class Qwen2ForCausalLM(PretrainedModel):
    """Qwen2 that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


MODELS = by_head(Qwen2Model, Qwen2ForCausalLM)
