"""BERT: a stack of post-norm blocks that reads both ways, learned by guessing masked words.

Devlin et al. 2018, https://arxiv.org/abs/1810.04805. What sets it apart: learned positions, a
segment embedding for pairs of texts, and a pooler on the first token.
"""

import dataclasses
from typing import ClassVar

from abrazo.checkpoints.keymap import Row
from abrazo.heads.masked_lm import PreTrainingHead
from abrazo.heads.sequence import NextSentenceHead
from abrazo.layers.pooling import Pooler
from abrazo.models.base import PretrainedModel
from abrazo.models.decoder import DecoderBackbone
from abrazo.models.encoder import (
    BERT_ROWS,
    POOLED_CLASSIFIER,
    SPAN_FINDER,
    TOKEN_CLASSIFIER,
    LeftToRightModel,
    SegmentedConfig,
    bert_masked_lm_rows,
    by_head,
    embeddings,
    masked_lm_head,
    next_word_head,
    post_norm_blocks,
)
from abrazo.models.family import Backbone, Family, HeadPlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig(SegmentedConfig):
    """The defaults are those of bert-base-uncased."""

    model_type: ClassVar[str] = "bert"

    is_decoder: bool = False
    """Whether tokens see nothing that follows them."""


class BertBackbone(Backbone):
    """Embeddings, blocks, pooler."""

    rounds_tokens = True

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = embeddings(config)
        self.blocks = post_norm_blocks(config)
        self.pooler = Pooler(config.hidden_size)


class LeftToRightBert(DecoderBackbone, BertBackbone):
    """The same, whose tokens see nothing that follows them."""

    counts_columns = BertBackbone.counts_columns


def _backbone(config: BertConfig) -> BertBackbone:
    return LeftToRightBert(config) if config.is_decoder else BertBackbone(config)


def _pretraining_head(config: BertConfig) -> PreTrainingHead:
    return PreTrainingHead(masked_lm_head(config), NextSentenceHead(config.hidden_size))


def _pretraining_rows(config: BertConfig) -> tuple[Row, ...]:
    return (
        *(row.under("masked_lm.", "") for row in bert_masked_lm_rows(config)),
        Row("next_sentence.classifier", "cls.seq_relationship"),
    )


FAMILY = Family(
    config=BertConfig,
    backbone=_backbone,
    rows=BERT_ROWS,
    prefix="bert.",
    heads={
        "sequence_classification": POOLED_CLASSIFIER,
        "token_classification": TOKEN_CLASSIFIER,
        "question_answering": SPAN_FINDER,
        "masked_lm": HeadPlan(masked_lm_head, bert_masked_lm_rows),
        "causal_lm": HeadPlan(next_word_head, bert_masked_lm_rows),
        "next_sentence": HeadPlan(
            lambda config: NextSentenceHead(config.hidden_size),
            lambda config: (Row("classifier", "cls.seq_relationship"),),
        ),
        "pretraining": HeadPlan(_pretraining_head, _pretraining_rows),
    },
    elsewhere=("cls.", "classifier.", "qa_outputs.", "pooler.", "embeddings.position_ids"),
)


class BertModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class BertForSequenceClassification(PretrainedModel):
    """BERT with a classifier on the pooled vector."""

    family = FAMILY
    head_name = "sequence_classification"


class BertForTokenClassification(PretrainedModel):
    """BERT with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class BertForQuestionAnswering(PretrainedModel):
    """BERT that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class BertForMaskedLM(PretrainedModel):
    """BERT that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


class BertLMHeadModel(LeftToRightModel):
    """BERT that reads from left to right and guesses the next word."""

    family = FAMILY


class BertForNextSentencePrediction(PretrainedModel):
    """BERT that tells whether the second text follows the first."""

    family = FAMILY
    head_name = "next_sentence"


class BertForPreTraining(PretrainedModel):
    """BERT with both heads of its pretraining."""

    family = FAMILY
    head_name = "pretraining"


MODELS = by_head(
    BertModel,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertForQuestionAnswering,
    BertForMaskedLM,
    BertLMHeadModel,
    BertForNextSentencePrediction,
    BertForPreTraining,
)
