"""mT5: T5 version 1.1 over a hundred languages.

Xue et al. 2020, https://arxiv.org/abs/2010.11934. The model is T5's, see `abrazo.models.t5`, with
vectors that are never scaled before words are scored.
"""

import dataclasses
from typing import ClassVar

from abrazo.models import t5
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import by_head
from abrazo.models.seq2seq_model import Seq2SeqModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class MT5Config(t5.T5Config):
    """The defaults are those of mt5-small."""

    model_type: ClassVar[str] = "mt5"

    vocab_size: int = 250112
    """Number of pieces in the vocabulary."""
    d_ff: int = 1024
    """Width in the middle of the feed-forward part."""
    num_layers: int = 8
    """Number of blocks of the encoder."""
    num_heads: int = 6
    """Number of attention heads in a block."""
    feed_forward_proj: str = "gated-gelu"
    """Activation of the feed-forward part, with `gated-` before it where a gate is activated."""

    @property
    def output_scale(self) -> float:
        """What vectors are multiplied with before words are scored: nothing."""
        return 1.0


FAMILY = dataclasses.replace(t5.FAMILY, config=MT5Config)


class MT5Model(Seq2SeqModel):
    """The bare encoder and decoder."""

    family = FAMILY


class MT5ForConditionalGeneration(t5.T5ForConditionalGeneration):
    """MT5 that writes a text for a text."""

    family = FAMILY


class MT5EncoderModel(PretrainedModel):
    """The encoder alone, as models of sentences use it."""

    family = dataclasses.replace(t5.ENCODER_FAMILY, config=MT5Config)


MODELS = {**by_head(MT5Model, MT5ForConditionalGeneration), "encoder": MT5EncoderModel}
