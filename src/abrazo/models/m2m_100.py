"""M2M-100 and NLLB: translation between a hundred languages and more.

Fan et al. 2020, https://arxiv.org/abs/2010.11125; NLLB Team 2022, https://arxiv.org/abs/2207.04672.
What sets it apart from BART: positions are sines and count real tokens, words are scaled, norms
stand before each part of a block and behind the last one. The decoder first reads the end of text,
then the id of the language.
"""

import dataclasses
import math
from typing import Any, ClassVar

import torch

from abrazo.layers.shared_embeddings import SinePositions
from abrazo.models import bart
from abrazo.models.encoder import by_head
from abrazo.models.marian import wrong_sines
from abrazo.models.seq2seq import seq2seq_lm
from abrazo.models.seq2seq_model import Seq2SeqModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class M2M100Config(bart.BartConfig):
    """The defaults are those of m2m100_418M."""

    model_type: ClassVar[str] = "m2m_100"
    REPEATS_SOURCE: ClassVar[bool] = False

    vocab_size: int = 128112
    """Number of pieces in the vocabulary."""
    activation_function: str = "relu"
    """Activation of the feed-forward part."""
    attention_dropout: float = 0.1
    """Share of attention weights dropped."""
    scale_embedding: bool = True
    """Whether words are multiplied with the square root of the width."""
    pad_token_id: int = 1
    """The id that pads rows; positions count from the number after it."""

    def _wrong_values(self) -> list[str]:
        problems = [*super()._wrong_values(), *wrong_sines(self)]
        if self.d_model < 4:
            problems.append(f"`d_model` must be at least 4, but is {self.d_model}.")
        return problems


def _positions(config: Any) -> SinePositions:
    """Return positions as tensor2tensor computes them, whose last wave length is 10,000 exactly."""
    half = config.d_model // 2
    steps = torch.arange(half, device="cpu").float()
    return SinePositions(
        config.max_position_embeddings,
        torch.exp(steps * -(math.log(10_000) / (half - 1))),
        offset=config.pad_token_id + 1,
    )


class M2M100Backbone(bart.BartBackbone):
    """BART's, with sines for positions that count real tokens, and norms in other places."""

    design = bart.Design(
        is_pre_norm=True, has_embedding_norm=False, counts_columns=False, positions=_positions
    )


FAMILY = dataclasses.replace(
    bart.FAMILY,
    config=M2M100Config,
    backbone=M2M100Backbone,
    heads={"seq2seq_lm": seq2seq_lm()},
    elsewhere=(*bart.FAMILY.elsewhere, *bart.SINES),
)


class M2M100Model(Seq2SeqModel):
    """The bare encoder and decoder."""

    family = FAMILY


class M2M100ForConditionalGeneration(Seq2SeqModel):
    """M2M-100 that translates."""

    family = FAMILY
    head_name = "seq2seq_lm"


MODELS = by_head(M2M100Model, M2M100ForConditionalGeneration)
