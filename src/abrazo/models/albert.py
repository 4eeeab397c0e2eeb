"""ALBERT: BERT with the same weights in every block.

Lan et al. 2019, https://arxiv.org/abs/1909.11942. What sets it apart: blocks are shared, embeddings
are narrow and brought to the blocks' width by a product, and pretraining judges the order of two
sentences.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import nn

from abrazo.checkpoints.keymap import Row
from abrazo.heads.masked_lm import MaskedLMHead
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.feedforward import Transform
from abrazo.layers.packing import PackedBatch
from abrazo.layers.pooling import Pooler
from abrazo.layers.positions import Guide
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import (
    POOLED_CLASSIFIER,
    SPAN_FINDER,
    TOKEN_CLASSIFIER,
    EncoderConfig,
    by_head,
    masked_lm_rows,
    post_norm_block,
    wrong_sizes,
)
from abrazo.models.family import Backbone, Family, HeadPlan

_MAX_BLOCKS = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlbertConfig(EncoderConfig):
    """The defaults are those of albert-base-v2."""

    model_type: ClassVar[str] = "albert"
    ABSENT: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 4096,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
    }

    vocab_size: int = 30000
    """Number of pieces in the vocabulary."""
    embedding_size: int = 128
    """Width of the embeddings."""
    num_hidden_groups: int = 1
    """Number of groups of blocks with weights of their own; layers are spread evenly over them."""
    inner_group_num: int = 1
    """Number of blocks in a group, all of which a layer passes through."""
    type_vocab_size: int = 2
    """Number of segments that rows can be made of."""
    hidden_act: str = "gelu_new"
    """Activation of the feed-forward half."""
    hidden_dropout_prob: float = 0.0
    """Share of elements dropped after the embeddings and after each half of a block."""
    attention_probs_dropout_prob: float = 0.0
    """Share of attention weights dropped."""
    classifier_dropout_prob: float | None = 0.1
    """Share dropped before a classifier; None takes `hidden_dropout_prob`."""

    @property
    def head_dropout(self) -> float:
        """Share dropped before a classifier."""
        given = self.classifier_dropout_prob
        return self.hidden_dropout_prob if given is None else given

    def _wrong_sizes(self) -> list[str]:
        problems = wrong_sizes(self, embedding_width="embedding_size")
        if not 1 <= self.num_hidden_groups * self.inner_group_num <= _MAX_BLOCKS:
            problems.append(
                f"`num_hidden_groups` times `inner_group_num` must be from 1 to {_MAX_BLOCKS}, "
                f"but is {self.num_hidden_groups} times {self.inner_group_num}."
            )
        return problems


_GROUP = "encoder.albert_layer_groups.{i}.albert_layers.{j}."
ROWS = (
    Row("embeddings.tokens", "embeddings.word_embeddings"),
    Row("embeddings.positions", "embeddings.position_embeddings"),
    Row("embeddings.segments", "embeddings.token_type_embeddings"),
    Row("embeddings.norm", "embeddings.LayerNorm"),
    Row("embeddings.projection", "encoder.embedding_hidden_mapping_in"),
    Row(
        "blocks.{i}.{j}.attention.query_key_value",
        _GROUP + "attention.query",
        _GROUP + "attention.key",
        _GROUP + "attention.value",
    ),
    Row("blocks.{i}.{j}.attention.output", _GROUP + "attention.dense"),
    Row("blocks.{i}.{j}.attention_norm", _GROUP + "attention.LayerNorm"),
    Row("blocks.{i}.{j}.feedforward.up", _GROUP + "ffn"),
    Row("blocks.{i}.{j}.feedforward.down", _GROUP + "ffn_output"),
    Row("blocks.{i}.{j}.feedforward_norm", _GROUP + "full_layer_layer_norm"),
    Row("pooler.dense", "pooler"),
)


class AlbertBackbone(Backbone):
    """Embeddings, groups of blocks, pooler."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.num_layers = config.num_hidden_layers
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=config.max_position_embeddings,
            num_segments=config.type_vocab_size,
            width=config.embedding_size,
            dropout=config.hidden_dropout_prob,
            norm_eps=config.layer_norm_eps,
            hidden_width=config.hidden_size,
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(post_norm_block(config) for _ in range(config.inner_group_num))
            for _ in range(config.num_hidden_groups)
        )
        self.pooler = Pooler(config.hidden_size)

    def steps(self, batch: PackedBatch) -> Iterator[tuple[nn.Module, Guide | None]]:
        """Yield the blocks of each layer's group, layer by layer."""
        for layer in range(self.num_layers):
            group = self.blocks[layer * len(self.blocks) // self.num_layers]
            assert isinstance(group, nn.ModuleList)
            for block in group:
                yield block, None


def _masked_lm_head(config: AlbertConfig) -> MaskedLMHead:
    transform = Transform(
        config.hidden_size, config.embedding_size, config.hidden_act, norm_eps=config.layer_norm_eps
    )
    return MaskedLMHead(transform, config.vocab_size)


def _masked_lm_rows(config: AlbertConfig) -> tuple[Row, ...]:
    return masked_lm_rows(
        config,
        "predictions.dense",
        "predictions.LayerNorm",
        "predictions.decoder",
        "predictions.bias",
    )


FAMILY = Family(
    config=AlbertConfig,
    backbone=AlbertBackbone,
    rows=ROWS,
    prefix="albert.",
    heads={
        "sequence_classification": POOLED_CLASSIFIER,
        "token_classification": TOKEN_CLASSIFIER,
        "question_answering": SPAN_FINDER,
        "masked_lm": HeadPlan(_masked_lm_head, _masked_lm_rows),
    },
    elsewhere=(
        "predictions.",
        "sop_classifier.",
        "classifier.",
        "qa_outputs.",
        "pooler.",
        "embeddings.position_ids",
    ),
)


class AlbertModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class AlbertForSequenceClassification(PretrainedModel):
    """ALBERT with a classifier on the pooled vector."""

    family = FAMILY
    head_name = "sequence_classification"


class AlbertForTokenClassification(PretrainedModel):
    """ALBERT with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class AlbertForQuestionAnswering(PretrainedModel):
    """ALBERT that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class AlbertForMaskedLM(PretrainedModel):
    """ALBERT that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


MODELS = by_head(
    AlbertModel,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertForQuestionAnswering,
    AlbertForMaskedLM,
)
