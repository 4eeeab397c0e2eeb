"""RoBERTa: BERT trained longer on more text, without the next-sentence task.

Liu et al. 2019, https://arxiv.org/abs/1907.11692. What sets it apart: byte-level pieces, positions
that count from one past the padding id, a classifier with a dense layer of its own. XLM-R and
CamemBERT are the same model over other vocabularies.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from abrazo.layers.embeddings import Embeddings
from abrazo.layers.pooling import Pooler
from abrazo.models.base import PretrainedModel
from abrazo.models.decoder import DecoderBackbone
from abrazo.models.encoder import (
    BERT_ROWS,
    LM_HEAD,
    NEXT_WORD_HEAD,
    SPAN_FINDER,
    TOKEN_CLASSIFIER,
    LeftToRightModel,
    SegmentedConfig,
    by_head,
    dense_classifier,
    post_norm_blocks,
)
from abrazo.models.family import Backbone, Family


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobertaConfig(SegmentedConfig):
    """The defaults are those of roberta-base."""

    model_type: ClassVar[str] = "roberta"
    ABSENT: ClassVar[Mapping[str, Any]] = {
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
    }

    vocab_size: int = 50265
    """Number of pieces in the vocabulary."""
    max_position_embeddings: int = 514
    """Number of positions, those up to the padding id included, which no token takes."""
    type_vocab_size: int = 1
    """Number of segments that rows can be made of."""
    layer_norm_eps: float = 1e-5
    """Added to the variance in norms."""
    pad_token_id: int = 1
    """The id that pads rows; positions count from the number after it."""
    is_decoder: bool = False
    """Whether tokens see nothing that follows them."""

    def _wrong_sizes(self) -> list[str]:
        problems = super()._wrong_sizes()
        if self.max_position_embeddings <= self.pad_token_id + 1:
            problems.append(
                f"`max_position_embeddings` must be above `pad_token_id` + 1 "
                f"({self.pad_token_id + 1}), but is {self.max_position_embeddings}."
            )
        return problems


class RobertaBackbone(Backbone):
    """Embeddings, blocks, pooler."""

    counts_columns = False

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=config.max_position_embeddings,
            num_segments=config.type_vocab_size,
            width=config.hidden_size,
            dropout=config.hidden_dropout_prob,
            norm_eps=config.layer_norm_eps,
            first_position=config.pad_token_id + 1,
        )
        self.blocks = post_norm_blocks(config)
        self.pooler = Pooler(config.hidden_size)


class LeftToRightRoberta(DecoderBackbone, RobertaBackbone):
    """The same, whose tokens see nothing that follows them."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.first_position = config.pad_token_id + 1


def _backbone(config: RobertaConfig) -> RobertaBackbone:
    return LeftToRightRoberta(config) if config.is_decoder else RobertaBackbone(config)


FAMILY = Family(
    config=RobertaConfig,
    backbone=_backbone,
    rows=BERT_ROWS,
    prefix="roberta.",
    heads={
        "sequence_classification": dense_classifier("tanh"),
        "token_classification": TOKEN_CLASSIFIER,
        "question_answering": SPAN_FINDER,
        "masked_lm": LM_HEAD,
        "causal_lm": NEXT_WORD_HEAD,
    },
    elsewhere=("lm_head.", "classifier.", "qa_outputs.", "pooler.", "embeddings.position_ids"),
)


class RobertaModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class RobertaForSequenceClassification(PretrainedModel):
    """RoBERTa with a classifier on the first token."""

    family = FAMILY
    head_name = "sequence_classification"


class RobertaForTokenClassification(PretrainedModel):
    """RoBERTa with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class RobertaForQuestionAnswering(PretrainedModel):
    """RoBERTa that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class RobertaForMaskedLM(PretrainedModel):
    """RoBERTa that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


class RobertaForCausalLM(LeftToRightModel):
    """RoBERTa that reads from left to right and guesses the next word."""

    family = FAMILY


MODELS = by_head(
    RobertaModel,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaForQuestionAnswering,
    RobertaForMaskedLM,
    RobertaForCausalLM,
)
