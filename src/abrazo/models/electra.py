"""ELECTRA: an encoder that learned to tell true tokens from those a small generator put in.

Clark et al. 2020, https://arxiv.org/abs/2003.10555. What sets it apart: embeddings may be narrower
than the blocks, there is no pooler, and pretraining judges every token. The generator is the same
model with a head that guesses words.
"""

import dataclasses
from typing import ClassVar

from abrazo.checkpoints.keymap import Row
from abrazo.heads.masked_lm import MaskedLMHead
from abrazo.heads.tokens import ReplacedTokenHead
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.feedforward import Transform
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import (
    BERT_ROWS,
    SPAN_FINDER,
    TOKEN_CLASSIFIER,
    SegmentedConfig,
    by_head,
    dense_classifier,
    masked_lm_rows,
    post_norm_blocks,
    wrong_sizes,
)
from abrazo.models.family import Backbone, Family, HeadPlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElectraConfig(SegmentedConfig):
    """The defaults are those of electra-small-discriminator."""

    model_type: ClassVar[str] = "electra"

    embedding_size: int = 128
    """Width of the embeddings."""
    hidden_size: int = 256
    """Width of a token's vector."""
    num_attention_heads: int = 4
    """Number of attention heads in a block."""
    intermediate_size: int = 1024
    """Width in the middle of the feed-forward half."""

    def _wrong_sizes(self) -> list[str]:
        return wrong_sizes(self, embedding_width="embedding_size")


class ElectraBackbone(Backbone):
    """Embeddings and blocks."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        is_narrow = config.embedding_size != config.hidden_size
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=config.max_position_embeddings,
            num_segments=config.type_vocab_size,
            width=config.embedding_size,
            dropout=config.hidden_dropout_prob,
            norm_eps=config.layer_norm_eps,
            hidden_width=config.hidden_size if is_narrow else None,
        )
        self.blocks = post_norm_blocks(config)


def _masked_lm_head(config: ElectraConfig) -> MaskedLMHead:
    transform = Transform(
        config.hidden_size, config.embedding_size, "gelu", norm_eps=config.layer_norm_eps
    )
    return MaskedLMHead(transform, config.vocab_size)


def _masked_lm_rows(config: ElectraConfig) -> tuple[Row, ...]:
    return masked_lm_rows(
        config,
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "generator_lm_head",
        "generator_lm_head.bias",
    )


FAMILY = Family(
    config=ElectraConfig,
    backbone=ElectraBackbone,
    rows=(*BERT_ROWS, Row("embeddings.projection", "embeddings_project")),
    prefix="electra.",
    heads={
        "sequence_classification": dense_classifier("gelu"),
        "token_classification": TOKEN_CLASSIFIER,
        "question_answering": SPAN_FINDER,
        "masked_lm": HeadPlan(_masked_lm_head, _masked_lm_rows),
        "pretraining": HeadPlan(
            lambda config: ReplacedTokenHead(config.hidden_size, config.hidden_act),
            lambda config: (
                Row("dense", "discriminator_predictions.dense"),
                Row("classifier", "discriminator_predictions.dense_prediction"),
            ),
        ),
    },
    elsewhere=(
        "generator_",
        "discriminator_predictions.",
        "classifier.",
        "qa_outputs.",
        "embeddings.position_ids",
    ),
)


class ElectraModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class ElectraForSequenceClassification(PretrainedModel):
    """ELECTRA with a classifier on the first token."""

    family = FAMILY
    head_name = "sequence_classification"


class ElectraForTokenClassification(PretrainedModel):
    """ELECTRA with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class ElectraForQuestionAnswering(PretrainedModel):
    """ELECTRA that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class ElectraForMaskedLM(PretrainedModel):
    """ELECTRA's generator, which guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


class ElectraForPreTraining(PretrainedModel):
    """ELECTRA's discriminator, which tells replaced tokens from true ones."""

    family = FAMILY
    head_name = "pretraining"


MODELS = by_head(
    ElectraModel,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraForQuestionAnswering,
    ElectraForMaskedLM,
    ElectraForPreTraining,
)
