"""DistilBERT: half of BERT's blocks, taught by BERT.

Sanh et al. 2019, https://arxiv.org/abs/1910.01108. What sets it apart: no segments, no pooler, and
fields of its own names in `config.json`.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from abrazo.checkpoints.keymap import Row
from abrazo.heads.masked_lm import MaskedLMHead
from abrazo.heads.sequence import DenseClassificationHead
from abrazo.heads.spans import QuestionAnsweringHead
from abrazo.heads.tokens import TokenClassificationHead
from abrazo.layers.embeddings import Embeddings
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.encoder import (
    CLASSIFIER_ROWS,
    EncoderConfig,
    by_head,
    masked_lm_head,
    masked_lm_rows,
    post_norm_blocks,
    wrong_sizes,
)
from abrazo.models.family import Backbone, Family, HeadPlan

_NORM_EPS = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilBertConfig(ModelConfig):
    """The defaults are those of distilbert-base-uncased."""

    model_type: ClassVar[str] = "distilbert"
    ALIASES: ClassVar[Mapping[str, str]] = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    }

    vocab_size: int = 30522
    """Number of pieces in the vocabulary."""
    max_position_embeddings: int = 512
    """The most tokens a row can have."""
    sinusoidal_pos_embds: bool = False
    """Whether the positions started as sines; files hold them either way."""
    n_layers: int = 6
    """Number of blocks."""
    n_heads: int = 12
    """Number of attention heads in a block."""
    dim: int = 768
    """Width of a token's vector."""
    hidden_dim: int = 3072
    """Width in the middle of the feed-forward half."""
    dropout: float = 0.1
    """Share of elements dropped after the embeddings and after each half of a block."""
    attention_dropout: float = 0.1
    """Share of attention weights dropped."""
    activation: str = "gelu"
    """Activation of the feed-forward half."""
    qa_dropout: float = 0.1
    """Share dropped before the head that finds answers."""
    seq_classif_dropout: float = 0.2
    """Share dropped before the classifier of rows."""
    pad_token_id: int | None = 0
    """The id that pads rows."""

    def _wrong_values(self) -> list[str]:
        return [*super()._wrong_values(), *wrong_sizes(self, width="dim", heads="n_heads")]

    def as_encoder(self) -> EncoderConfig:
        """Return the same sizes under the names that other families have."""
        return EncoderConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.dim,
            num_hidden_layers=self.n_layers,
            num_attention_heads=self.n_heads,
            intermediate_size=self.hidden_dim,
            hidden_act=self.activation,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.attention_dropout,
            max_position_embeddings=self.max_position_embeddings,
            layer_norm_eps=_NORM_EPS,
            pad_token_id=self.pad_token_id,
        )


ROWS = (
    Row("embeddings.tokens", "embeddings.word_embeddings"),
    Row("embeddings.positions", "embeddings.position_embeddings"),
    Row("embeddings.norm", "embeddings.LayerNorm"),
    Row(
        "blocks.{i}.attention.query_key_value",
        "transformer.layer.{i}.attention.q_lin",
        "transformer.layer.{i}.attention.k_lin",
        "transformer.layer.{i}.attention.v_lin",
    ),
    Row("blocks.{i}.attention.output", "transformer.layer.{i}.attention.out_lin"),
    Row("blocks.{i}.attention_norm", "transformer.layer.{i}.sa_layer_norm"),
    Row("blocks.{i}.feedforward.up", "transformer.layer.{i}.ffn.lin1"),
    Row("blocks.{i}.feedforward.down", "transformer.layer.{i}.ffn.lin2"),
    Row("blocks.{i}.feedforward_norm", "transformer.layer.{i}.output_layer_norm"),
)


class DistilBertBackbone(Backbone):
    """Embeddings and blocks."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=config.max_position_embeddings,
            num_segments=0,
            width=config.dim,
            dropout=config.dropout,
            norm_eps=_NORM_EPS,
        )
        self.blocks = post_norm_blocks(config.as_encoder())


def _sequence_head(config: DistilBertConfig) -> DenseClassificationHead:
    return DenseClassificationHead(
        config.dim,
        config.num_labels,
        "relu",
        input_dropout=0.0,
        dropout=config.seq_classif_dropout,
        problem_type=config.problem_type,
    )


def _masked_lm_head(config: DistilBertConfig) -> MaskedLMHead:
    return masked_lm_head(config.as_encoder())


def _masked_lm_rows(config: DistilBertConfig) -> tuple[Row, ...]:
    return masked_lm_rows(
        config, "vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector.bias"
    )


FAMILY = Family(
    config=DistilBertConfig,
    backbone=DistilBertBackbone,
    rows=ROWS,
    prefix="distilbert.",
    heads={
        "sequence_classification": HeadPlan(
            _sequence_head, lambda config: (Row("dense", "pre_classifier"), *CLASSIFIER_ROWS)
        ),
        "token_classification": HeadPlan(
            lambda config: TokenClassificationHead(config.dim, config.num_labels, config.dropout),
            lambda config: CLASSIFIER_ROWS,
        ),
        "question_answering": HeadPlan(
            lambda config: QuestionAnsweringHead(config.dim, config.qa_dropout),
            lambda config: (Row("classifier", "qa_outputs"),),
        ),
        "masked_lm": HeadPlan(_masked_lm_head, _masked_lm_rows),
    },
    elsewhere=("vocab_", "pre_classifier.", "classifier.", "qa_outputs."),
)


class DistilBertModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class DistilBertForSequenceClassification(PretrainedModel):
    """DistilBERT with a classifier on the first token."""

    family = FAMILY
    head_name = "sequence_classification"


class DistilBertForTokenClassification(PretrainedModel):
    """DistilBERT with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class DistilBertForQuestionAnswering(PretrainedModel):
    """DistilBERT that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class DistilBertForMaskedLM(PretrainedModel):
    """DistilBERT that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


MODELS = by_head(
    DistilBertModel,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertForQuestionAnswering,
    DistilBertForMaskedLM,
)
