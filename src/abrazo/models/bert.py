"""BERT: a stack of post-norm blocks that reads both ways, learned by guessing masked words.

Devlin et al. 2018, https://arxiv.org/abs/1810.04805. What sets it apart: learned positions, a
segment embedding for pairs of texts, and a pooler on the first token.

Shapes: T tokens of all rows, R rows, E hidden width.
"""

import dataclasses
from typing import ClassVar

from torch import nn

from abrazo.checkpoints.keymap import Row
from abrazo.heads.masked_lm import MaskedLMHead, PreTrainingHead
from abrazo.heads.sequence import NextSentenceHead, SequenceClassificationHead
from abrazo.heads.spans import QuestionAnsweringHead
from abrazo.heads.tokens import TokenClassificationHead
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PostNormBlock
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.feedforward import ACTIVATIONS, FeedForward
from abrazo.layers.pooling import Pooler
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.family import Backbone, Family, HeadPlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig(ModelConfig):
    """The defaults are those of bert-base-uncased."""

    model_type: ClassVar[str] = "bert"

    vocab_size: int = 30522
    """Number of pieces in the vocabulary."""
    hidden_size: int = 768
    """Width of a token's vector."""
    num_hidden_layers: int = 12
    """Number of blocks."""
    num_attention_heads: int = 12
    """Number of attention heads in a block."""
    intermediate_size: int = 3072
    """Width in the middle of the feed-forward half."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward half."""
    hidden_dropout_prob: float = 0.1
    """Share of elements dropped after the embeddings and after each half of a block."""
    attention_probs_dropout_prob: float = 0.1
    """Share of attention weights dropped."""
    max_position_embeddings: int = 512
    """The most tokens a row can have."""
    type_vocab_size: int = 2
    """Number of segments that rows can be made of."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in norms."""
    pad_token_id: int | None = 0
    """The id that pads rows."""
    classifier_dropout: float | None = None
    """Share dropped before a classifier; None takes `hidden_dropout_prob`."""

    def _wrong_values(self) -> list[str]:
        problems = super()._wrong_values()
        for name in ("vocab_size", "hidden_size", "num_attention_heads", "max_position_embeddings"):
            if getattr(self, name) == 0:
                problems.append(f"`{name}` must be at least 1, but is 0.")
        if self.num_attention_heads and self.hidden_size % self.num_attention_heads:
            problems.append(
                f"`hidden_size` must be a multiple of `num_attention_heads` "
                f"({self.num_attention_heads}), but is {self.hidden_size}."
            )
        if self.layer_norm_eps == 0:
            problems.append("`layer_norm_eps` must be above 0, but is 0.")
        if self.hidden_act not in ACTIVATIONS:
            problems.append(
                f"`hidden_act` {self.hidden_act!r} is none of {', '.join(ACTIVATIONS)}."
            )
        if self.extra.get("position_embedding_type", "absolute") != "absolute":
            kind = self.extra["position_embedding_type"]
            problems.append(f"`position_embedding_type` must be 'absolute', but is {kind!r}.")
        return problems


ROWS = (
    Row("embeddings.tokens", "embeddings.word_embeddings"),
    Row("embeddings.positions", "embeddings.position_embeddings"),
    Row("embeddings.segments", "embeddings.token_type_embeddings"),
    Row("embeddings.norm", "embeddings.LayerNorm"),
    Row(
        "blocks.{i}.attention.query_key_value",
        "encoder.layer.{i}.attention.self.query",
        "encoder.layer.{i}.attention.self.key",
        "encoder.layer.{i}.attention.self.value",
    ),
    Row("blocks.{i}.attention.output", "encoder.layer.{i}.attention.output.dense"),
    Row("blocks.{i}.attention_norm", "encoder.layer.{i}.attention.output.LayerNorm"),
    Row("blocks.{i}.feedforward.up", "encoder.layer.{i}.intermediate.dense"),
    Row("blocks.{i}.feedforward.down", "encoder.layer.{i}.output.dense"),
    Row("blocks.{i}.feedforward_norm", "encoder.layer.{i}.output.LayerNorm"),
    Row("pooler.dense", "pooler.dense"),
)


class BertBackbone(Backbone):
    """Embeddings, blocks, pooler."""

    embeddings: Embeddings

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=config.max_position_embeddings,
            num_segments=config.type_vocab_size,
            width=width,
            dropout=config.hidden_dropout_prob,
            norm_eps=config.layer_norm_eps,
        )
        self.blocks = nn.ModuleList(
            PostNormBlock(
                Attention(width, config.num_attention_heads, config.attention_probs_dropout_prob),
                FeedForward(width, config.intermediate_size, config.hidden_act),
                width=width,
                dropout=config.hidden_dropout_prob,
                norm_eps=config.layer_norm_eps,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.pooler = Pooler(width)

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The matrix that token ids look up."""
        return self.embeddings.tokens

    @property
    def max_length(self) -> int:
        """The number of positions."""
        return self.embeddings.positions.num_embeddings


def _masked_lm_head(config: BertConfig) -> MaskedLMHead:
    return MaskedLMHead(
        config.hidden_size, config.vocab_size, config.hidden_act, config.layer_norm_eps
    )


def _masked_lm_rows(config: BertConfig) -> tuple[Row, ...]:
    # A tied decoder shares the embedding matrix, and its bias goes by a shorter name.
    bias = "cls.predictions.bias" if config.tie_word_embeddings else "cls.predictions.decoder.bias"
    return (
        Row("dense", "cls.predictions.transform.dense"),
        Row("norm", "cls.predictions.transform.LayerNorm"),
        Row("decoder.bias", bias),
        Row("decoder.weight", "cls.predictions.decoder.weight"),
    )


def _pretraining_head(config: BertConfig) -> PreTrainingHead:
    return PreTrainingHead(
        config.hidden_size, config.vocab_size, config.hidden_act, config.layer_norm_eps
    )


def _pretraining_rows(config: BertConfig) -> tuple[Row, ...]:
    return (
        *(row.under("masked_lm.", "") for row in _masked_lm_rows(config)),
        Row("next_sentence.classifier", "cls.seq_relationship"),
    )


def _classifier_dropout(config: BertConfig) -> float:
    given = config.classifier_dropout
    return config.hidden_dropout_prob if given is None else given


def _sequence_head(config: BertConfig) -> SequenceClassificationHead:
    return SequenceClassificationHead(
        config.hidden_size, config.num_labels, _classifier_dropout(config), config.problem_type
    )


def _token_head(config: BertConfig) -> TokenClassificationHead:
    return TokenClassificationHead(
        config.hidden_size, config.num_labels, _classifier_dropout(config)
    )


FAMILY = Family(
    config=BertConfig,
    backbone=BertBackbone,
    rows=ROWS,
    prefix="bert.",
    heads={
        "sequence_classification": HeadPlan(
            _sequence_head, lambda config: (Row("classifier", "classifier"),)
        ),
        "token_classification": HeadPlan(
            _token_head, lambda config: (Row("classifier", "classifier"),)
        ),
        "question_answering": HeadPlan(
            lambda config: QuestionAnsweringHead(config.hidden_size),
            lambda config: (Row("classifier", "qa_outputs"),),
        ),
        "masked_lm": HeadPlan(_masked_lm_head, _masked_lm_rows),
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


class BertForNextSentencePrediction(PretrainedModel):
    """BERT that tells whether the second text follows the first."""

    family = FAMILY
    head_name = "next_sentence"


class BertForPreTraining(PretrainedModel):
    """BERT with both heads of its pretraining."""

    family = FAMILY
    head_name = "pretraining"


MODELS: dict[str, type[PretrainedModel]] = {
    model.head_name: model
    for model in (
        BertModel,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertForQuestionAnswering,
        BertForMaskedLM,
        BertForNextSentencePrediction,
        BertForPreTraining,
    )
}
"""The classes of this family by the head they carry; the bare backbone is `""`."""
