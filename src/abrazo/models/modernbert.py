"""ModernBERT: an encoder for long texts.

Warner et al. 2024, https://arxiv.org/abs/2412.13663. What sets it apart: norms before each half of
a block, rotary positions, gated feed-forward, few biases; most blocks see a window of near tokens,
every third one the whole text.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import nn

from abrazo.checkpoints.keymap import Row
from abrazo.heads.masked_lm import MaskedLMHead
from abrazo.heads.sequence import TransformedClassificationHead
from abrazo.heads.spans import QuestionAnsweringHead
from abrazo.heads.tokens import TokenClassificationHead
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PreNormBlock
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.feedforward import GatedFeedForward, Transform
from abrazo.layers.packing import PackedBatch
from abrazo.layers.pooling import POOLINGS
from abrazo.layers.positions import Guide, rotary_angles
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.encoder import (
    CLASSIFIER_ROWS,
    by_head,
    rope_theta,
    wrong_kinds,
    wrong_rope,
    wrong_sizes,
)
from abrazo.models.family import Backbone, Family, HeadPlan

_FULL, _NEAR = "full_attention", "sliding_attention"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModernBertConfig(ModelConfig):
    """The defaults are those of ModernBERT-base."""

    model_type: ClassVar[str] = "modernbert"

    vocab_size: int = 50368
    """Number of pieces in the vocabulary."""
    hidden_size: int = 768
    """Width of a token's vector."""
    intermediate_size: int = 1152
    """Width in the middle of the feed-forward half."""
    num_hidden_layers: int = 22
    """Number of blocks."""
    num_attention_heads: int = 12
    """Number of attention heads in a block."""
    hidden_activation: str = "gelu"
    """Activation of the gate of the feed-forward half."""
    max_position_embeddings: int = 8192
    """The most tokens a row can have."""
    norm_eps: float = 1e-5
    """Added to the variance in norms."""
    norm_bias: bool = False
    """Whether norms have a bias."""
    pad_token_id: int | None = 50283
    """The id that pads rows."""
    attention_bias: bool = False
    """Whether the products of attention have a bias."""
    attention_dropout: float = 0.0
    """Share of attention weights dropped."""
    global_attn_every_n_layers: int = 3
    """The first and then every nth block see the whole row, where `layer_types` is not given."""
    layer_types: list[str] | None = None
    """For each block `full_attention` or `sliding_attention`."""
    local_attention: int = 128
    """Width of the window, to both sides together."""
    global_rope_theta: float = 160_000.0
    """Base of the rotary wave lengths in blocks that see the whole row."""
    local_rope_theta: float | None = 10_000.0
    """The same in blocks with a window; None takes that of the others."""
    rope_parameters: Mapping[str, Any] | None = None
    """Rotary settings by kind of block; their `rope_theta` goes before the two above."""
    embedding_dropout: float = 0.0
    """Share of elements dropped after the embeddings."""
    mlp_bias: bool = False
    """Whether the products of the feed-forward half have a bias."""
    mlp_dropout: float = 0.0
    """Share dropped in the middle of the feed-forward half."""
    decoder_bias: bool = True
    """Whether the product with the vocabulary has a bias."""
    classifier_pooling: str = "cls"
    """What the classifier of rows reads: `cls`, the first token, or `mean`, all of them."""
    classifier_dropout: float = 0.0
    """Share dropped before a classifier."""
    classifier_bias: bool = False
    """Whether the first product of a head has a bias."""
    classifier_activation: str = "gelu"
    """Activation of the first product of a head."""

    @property
    def kinds(self) -> list[str]:
        """The kind of attention of each block."""
        if self.layer_types is not None:
            return self.layer_types
        return [
            _NEAR if number % self.global_attn_every_n_layers else _FULL
            for number in range(self.num_hidden_layers)
        ]

    def theta(self, kind: str) -> float:
        """Return the base of the rotary wave lengths in blocks of a kind."""
        local = self.global_rope_theta if self.local_rope_theta is None else self.local_rope_theta
        default = self.global_rope_theta if kind == _FULL else local
        return rope_theta((self.rope_parameters or {}).get(kind), default)

    def _wrong_values(self) -> list[str]:
        problems = [*super()._wrong_values(), *wrong_sizes(self, is_rotary=True)]
        if self.global_attn_every_n_layers == 0:
            problems.append("`global_attn_every_n_layers` must be at least 1, but is 0.")
        elif self.layer_types is not None:
            problems += wrong_kinds(self.layer_types, self.num_hidden_layers, (_FULL, _NEAR))
        if self.classifier_pooling not in ("cls", "mean"):
            problems.append(
                f"`classifier_pooling` must be 'cls' or 'mean', but is {self.classifier_pooling!r}."
            )
        for kind, parameters in (self.rope_parameters or {}).items():
            problems += wrong_rope(f"rope_parameters.{kind}", parameters)
        return problems


ROWS = (
    Row("embeddings.tokens", "embeddings.tok_embeddings"),
    Row("embeddings.norm", "embeddings.norm"),
    Row("blocks.{i}.attention_norm", "layers.{i}.attn_norm"),
    Row("blocks.{i}.attention.query_key_value", "layers.{i}.attn.Wqkv"),
    Row("blocks.{i}.attention.output", "layers.{i}.attn.Wo"),
    Row("blocks.{i}.feedforward_norm", "layers.{i}.mlp_norm"),
    Row("blocks.{i}.feedforward.up", "layers.{i}.mlp.Wi"),
    Row("blocks.{i}.feedforward.down", "layers.{i}.mlp.Wo"),
    Row("final_norm", "final_norm"),
)


class ModernBertBackbone(Backbone):
    """Embeddings, blocks, norm."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=0,
            num_segments=0,
            width=width,
            dropout=config.embedding_dropout,
            norm_eps=config.norm_eps,
            norm_bias=config.norm_bias,
            max_length=config.max_position_embeddings,
        )
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_hidden_layers))
        for first in self.blocks[:1]:
            first.attention_norm = nn.Identity()  # the embeddings are normalised already
        self.final_norm = nn.LayerNorm(width, eps=config.norm_eps, bias=config.norm_bias)

    def steps(self, batch: PackedBatch) -> Iterator[tuple[nn.Module, Guide | None]]:
        """Yield the blocks, each with the angles and the window of its kind."""
        config, layout = self.config, batch.layout
        positions = layout.positions if batch.position_ids is None else batch.position_ids
        head_width = config.hidden_size // config.num_attention_heads
        guides = {
            kind: Guide(
                layout,
                rotation=rotary_angles(positions, head_width, config.theta(kind)),
                window=config.local_attention // 2 if kind == _NEAR else None,
            )
            for kind in set(config.kinds)
        }
        for block, kind in zip(self.blocks, config.kinds, strict=True):
            yield block, guides[kind]


def _block(config: ModernBertConfig) -> PreNormBlock:
    width = config.hidden_size
    return PreNormBlock(
        Attention(
            width, config.num_attention_heads, config.attention_dropout, bias=config.attention_bias
        ),
        GatedFeedForward(
            width,
            config.intermediate_size,
            config.hidden_activation,
            bias=config.mlp_bias,
            dropout=config.mlp_dropout,
        ),
        width=width,
        dropout=0.0,
        norm_eps=config.norm_eps,
        norm_bias=config.norm_bias,
    )


def _transform(config: ModernBertConfig) -> Transform:
    return Transform(
        config.hidden_size,
        config.hidden_size,
        config.classifier_activation,
        norm_eps=config.norm_eps,
        bias=config.classifier_bias,
        norm_bias=config.norm_bias,
    )


def _sequence_head(config: ModernBertConfig) -> TransformedClassificationHead:
    return TransformedClassificationHead(
        config.hidden_size,
        config.num_labels,
        config.classifier_dropout,
        config.problem_type,
        pool=POOLINGS[config.classifier_pooling],
        transform=_transform(config),
    )


def _token_head(config: ModernBertConfig) -> TokenClassificationHead:
    return TokenClassificationHead(
        config.hidden_size, config.num_labels, config.classifier_dropout, _transform(config)
    )


def _span_head(config: ModernBertConfig) -> QuestionAnsweringHead:
    return QuestionAnsweringHead(config.hidden_size, config.classifier_dropout, _transform(config))


def _masked_lm_head(config: ModernBertConfig) -> MaskedLMHead:
    return MaskedLMHead(_transform(config), config.vocab_size, bias=config.decoder_bias)


_TRANSFORM_ROWS = (Row("transform.dense", "head.dense"), Row("transform.norm", "head.norm"))


def _classifier_rows(config: ModernBertConfig) -> tuple[Row, ...]:
    return (*_TRANSFORM_ROWS, *CLASSIFIER_ROWS)


def _masked_lm_rows(config: ModernBertConfig) -> tuple[Row, ...]:
    return (*_TRANSFORM_ROWS, Row("decoder", "decoder"))


FAMILY = Family(
    config=ModernBertConfig,
    backbone=ModernBertBackbone,
    rows=ROWS,
    prefix="model.",
    heads={
        "sequence_classification": HeadPlan(_sequence_head, _classifier_rows),
        "token_classification": HeadPlan(_token_head, _classifier_rows),
        "question_answering": HeadPlan(_span_head, _classifier_rows),
        "masked_lm": HeadPlan(_masked_lm_head, _masked_lm_rows),
    },
    elsewhere=("head.", "decoder.", "classifier."),
)


class ModernBertModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class ModernBertForSequenceClassification(PretrainedModel):
    """ModernBERT with a classifier on the first token or on all of them."""

    family = FAMILY
    head_name = "sequence_classification"


class ModernBertForTokenClassification(PretrainedModel):
    """ModernBERT with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class ModernBertForQuestionAnswering(PretrainedModel):
    """ModernBERT that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class ModernBertForMaskedLM(PretrainedModel):
    """ModernBERT that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


MODELS = by_head(
    ModernBertModel,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    ModernBertForQuestionAnswering,
    ModernBertForMaskedLM,
)
