"""GTE: BERT's blocks with rotary positions and gated feed-forward, for long texts.

Zhang et al. 2024, https://arxiv.org/abs/2407.19669. What sets it apart from Nomic BERT: products
with biases, GELU in the gate, wave lengths for longer texts.
"""

import dataclasses
from typing import ClassVar

from abrazo.checkpoints.keymap import Row
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PostNormBlock
from abrazo.layers.feedforward import GatedFeedForward
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import (
    POOLED_CLASSIFIER,
    SPAN_FINDER,
    TOKEN_CLASSIFIER,
    by_head,
    masked_lm_head,
)
from abrazo.models.family import Family, HeadPlan
from abrazo.models.nomic_bert import RotaryBackbone, RotaryConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class GteConfig(RotaryConfig):
    """The defaults are those of gte-multilingual-base."""

    model_type: ClassVar[str] = "gte"
    DEFAULT_THETA: ClassVar[float] = 160_000.0

    vocab_size: int = 250048
    """Number of pieces in the vocabulary."""
    attention_probs_dropout_prob: float = 0.0
    """Share of attention weights dropped."""
    max_position_embeddings: int = 8192
    """The most tokens a row can have."""
    type_vocab_size: int = 1
    """Number of segments that rows can be made of; 0 has none."""
    pad_token_id: int | None = 1
    """The id that pads rows."""


_LAYER = "encoder.layer.{i}."
ROWS = (
    Row("embeddings.tokens", "embeddings.word_embeddings"),
    Row("embeddings.segments", "embeddings.token_type_embeddings"),
    Row("embeddings.norm", "embeddings.LayerNorm"),
    Row("blocks.{i}.attention.query_key_value", _LAYER + "attention.qkv_proj"),
    Row("blocks.{i}.attention.output", _LAYER + "attention.o_proj"),
    Row("blocks.{i}.attention_norm", _LAYER + "attn_ln"),
    Row("blocks.{i}.feedforward.up", _LAYER + "mlp.up_gate_proj"),
    Row("blocks.{i}.feedforward.down", _LAYER + "mlp.down_proj"),
    Row("blocks.{i}.feedforward_norm", _LAYER + "mlp_ln"),
    Row("pooler.dense", "pooler.dense"),
)


def _backbone(config: GteConfig) -> RotaryBackbone:
    return RotaryBackbone(config, (_block(config) for _ in range(config.num_hidden_layers)))


def _block(config: GteConfig) -> PostNormBlock:
    width = config.hidden_size
    return PostNormBlock(
        Attention(width, config.num_attention_heads, config.attention_probs_dropout_prob),
        GatedFeedForward(
            width,
            config.intermediate_size,
            config.hidden_act,
            output_bias=True,
            is_gate_last=True,
            dropout=config.hidden_dropout_prob,
        ),
        width=width,
        dropout=config.hidden_dropout_prob,
        norm_eps=config.layer_norm_eps,
    )


def _masked_lm_rows(config: GteConfig) -> tuple[Row, ...]:
    return (
        Row("transform.dense", "lm_head.dense"),
        Row("transform.norm", "lm_head.norm"),
        Row("decoder", "lm_head.decoder"),
    )


FAMILY = Family(
    config=GteConfig,
    backbone=_backbone,
    rows=ROWS,
    prefix="gte.",
    heads={
        "sequence_classification": POOLED_CLASSIFIER,
        "token_classification": TOKEN_CLASSIFIER,
        "question_answering": SPAN_FINDER,
        "masked_lm": HeadPlan(lambda config: masked_lm_head(config, "gelu"), _masked_lm_rows),
    },
    elsewhere=("lm_head.", "classifier.", "qa_outputs.", "pooler."),
)


class GteModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class GteForSequenceClassification(PretrainedModel):
    """GTE with a classifier on the pooled vector."""

    family = FAMILY
    head_name = "sequence_classification"


class GteForTokenClassification(PretrainedModel):
    """GTE with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class GteForQuestionAnswering(PretrainedModel):
    """GTE that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class GteForMaskedLM(PretrainedModel):
    """GTE that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


MODELS = by_head(
    GteModel,
    GteForSequenceClassification,
    GteForTokenClassification,
    GteForQuestionAnswering,
    GteForMaskedLM,
)
