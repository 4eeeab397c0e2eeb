"""Gemma 3, which reads texts: Gemma 2 with norms of queries and keys in place of capped scores.

Kamath et al. 2025, https://arxiv.org/abs/2503.19786. What else sets it apart: five blocks of six
have a window, and turn heads by other waves than those that see the whole row.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from abrazo.layers.rotary import rope_settings, wrong_rope_settings
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import by_head
from abrazo.models.gemma2 import CAPPED_LM, Gemma2Config
from abrazo.models.llama import FULL, NEAR, llama_family


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gemma3TextConfig(Gemma2Config):
    """The defaults are those of `transformers`."""

    model_type: ClassVar[str] = "gemma3_text"
    HAS_HEAD_NORMS = True

    vocab_size: int = 262_208
    """Number of pieces in the vocabulary."""
    max_position_embeddings: int = 131_072
    """The most tokens a row can have."""
    sliding_window_pattern: int = 6
    """Every so many-th block sees the whole row, where `layer_types` is not given."""
    final_logit_softcapping: float | None = None
    """What the scores of words are bent to stay below; None leaves them."""
    attn_logit_softcapping: float | None = None
    """Not read: the scores of attention are not capped."""
    rope_theta: float = 1_000_000.0
    """Base of the rotary wave lengths in blocks that see the whole row."""
    rope_local_base_freq: float = 10_000.0
    """The same in blocks with a window."""
    rope_parameters: Mapping[str, Any] | None = None
    """Rotary settings by kind of block; their `rope_theta` goes before the two above."""
    use_bidirectional_attention: bool | None = False
    """Whether tokens see what follows them too, which is not known here."""

    @property
    def score_cap(self) -> None:
        """What scores are bent to stay below: they are not."""
        return None

    @property
    def max_length(self) -> int:
        """The most tokens of a row, with which waves are stretched already."""
        return self.max_position_embeddings

    @property
    def kinds(self) -> list[str]:
        """The kind of each block."""
        if self.layer_types is not None:
            return self.layer_types
        period = self.sliding_window_pattern
        return [NEAR if (number + 1) % period else FULL for number in range(self.num_hidden_layers)]

    def rope(self, kind: str) -> dict[str, Any]:
        """Return the rotary settings of blocks of a kind."""
        given = (self.rope_parameters or {}).get(kind) or {}
        if kind == FULL:
            given = {**given, **(self.rope_scaling or {})}
        return rope_settings(
            given,
            theta=self.rope_theta if kind == FULL else self.rope_local_base_freq,
            num_positions=self.max_position_embeddings,
        )

    def _wrong_values(self) -> list[str]:
        if self.sliding_window_pattern == 0:
            return ["`sliding_window_pattern` must be at least 1, but is 0."]
        return super()._wrong_values()

    def _wrong_rope(self) -> list[str]:
        problems = []
        for kind, settings in (self.rope_parameters or {}).items():
            if settings is not None:
                name = f"rope_parameters.{kind}"
                problems += wrong_rope_settings(name, settings, self.head_width)
        if self.rope_scaling:
            problems += wrong_rope_settings("rope_scaling", self.rope_scaling, self.head_width)
        return problems


FAMILY = llama_family(Gemma3TextConfig, CAPPED_LM)


class Gemma3TextModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class Gemma3ForCausalLM(PretrainedModel):
    """Gemma 3 that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class Gemma3TextForSequenceClassification(PretrainedModel):
    """Gemma 3 with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(Gemma3TextModel, Gemma3ForCausalLM, Gemma3TextForSequenceClassification)
