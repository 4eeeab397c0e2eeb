"""DeBERTa v2 and v3: attention that scores content and distance apart.

He et al. 2020, https://arxiv.org/abs/2006.03654, and 2021, https://arxiv.org/abs/2111.09543. What
sets it apart: a vector for each bucket of distances, shared by all blocks, scored against content
in both directions; in some sizes a convolution beside the first block.

Shapes: L the longest row, S buckets on either side.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from abrazo.checkpoints.keymap import Row
from abrazo.heads.sequence import DenseClassificationHead
from abrazo.layers.blocks import PostNormBlock
from abrazo.layers.disentangled import (
    ConvolvedBlock,
    DisentangledAttention,
    DistanceGuide,
    RowConvolution,
)
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.feedforward import FeedForward, activation
from abrazo.layers.packing import PackedBatch
from abrazo.layers.positions import Guide, distances, signed_buckets
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import (
    CLASSIFIER_ROWS,
    SPAN_FINDER,
    TOKEN_CLASSIFIER,
    EncoderConfig,
    bert_masked_lm_rows,
    by_head,
    masked_lm_head,
    masked_lm_rows,
    post_norm_block,
    wrong_sizes,
)
from abrazo.models.family import Backbone, Family, HeadPlan

_TERMS = ("c2p", "p2c")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DebertaV2Config(EncoderConfig):
    """The defaults are those of deberta-v3-base."""

    model_type: ClassVar[str] = "deberta-v2"
    LOWEST: ClassVar[Mapping[str, int]] = {"max_relative_positions": -1, "position_buckets": -1}
    ABSENT: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 1536,
        "num_hidden_layers": 24,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
        "relative_attention": False,
        "position_buckets": -1,
        "norm_rel_ebd": "none",
        "share_att_key": False,
        "pos_att_type": None,
        "position_biased_input": True,
    }

    vocab_size: int = 128100
    """Number of pieces in the vocabulary."""
    type_vocab_size: int = 0
    """Number of segments that rows can be made of."""
    layer_norm_eps: float = 1e-7
    """Added to the variance in norms."""
    relative_attention: bool = True
    """Whether attention knows distances."""
    max_relative_positions: int = -1
    """The farthest distance told apart; below 1 it is `max_position_embeddings`."""
    position_buckets: int = 256
    """Buckets of distances on either side; below 1 each distance has its own."""
    norm_rel_ebd: str = "layer_norm"
    """Whether the distances' vectors are normalised: `layer_norm` or `none`."""
    share_att_key: bool = True
    """Whether distances go through the products of the content."""
    pos_att_type: str | list[str] | None = dataclasses.field(default_factory=lambda: [*_TERMS])
    """Which scores there are besides content with content: `c2p`, `p2c`, or `c2p|p2c`."""
    position_biased_input: bool = False
    """Whether the embeddings have positions."""
    conv_kernel_size: int = 0
    """Tokens that the convolution beside the first block sees; 0 has none."""
    conv_groups: int = 1
    """Groups of channels of the convolution."""
    conv_act: str = "tanh"
    """Activation of the convolution."""
    pooler_dropout: float = 0.0
    """Share dropped before the classifier's own layer."""
    pooler_hidden_act: str = "gelu"
    """Activation of the classifier's own layer."""
    cls_dropout: float | None = None
    """Share dropped before the classifier of rows; None takes `hidden_dropout_prob`."""
    legacy: bool = True
    """Whether the head that guesses words goes by BERT's names or by those of v3."""

    @property
    def terms(self) -> list[str]:
        """The scores besides content with content."""
        given = self.pos_att_type or []
        return (
            [term.strip().lower() for term in given.split("|")] if isinstance(given, str) else given
        )

    @property
    def farthest(self) -> int:
        """The farthest distance told apart."""
        given = self.max_relative_positions
        return self.max_position_embeddings if given < 1 else given

    @property
    def span(self) -> int:
        """S, the number of kinds of distances on either side."""
        return self.position_buckets if self.position_buckets > 0 else self.farthest

    @property
    def normalises_distances(self) -> bool:
        """Whether the distances' vectors are normalised."""
        return "layer_norm" in [part.strip() for part in self.norm_rel_ebd.lower().split("|")]

    def _wrong_sizes(self) -> list[str]:
        problems = wrong_sizes(self)
        for term in self.terms:
            if term not in _TERMS:
                problems.append(f"`pos_att_type` {term!r} is none of {', '.join(_TERMS)}.")
        if self.position_buckets in (0, 1) or (
            self.position_buckets > 0 and self.farthest <= self.position_buckets // 2 + 1
        ):
            problems.append(
                f"`position_buckets` must be -1, or from 2 to less than twice the farthest "
                f"distance ({self.farthest}), but is {self.position_buckets}."
            )
        if self.conv_kernel_size and (self.conv_kernel_size % 2 == 0 or self.conv_kernel_size > 99):
            problems.append(
                f"`conv_kernel_size` must be 0 or an odd number below 100, "
                f"but is {self.conv_kernel_size}."
            )
        if self.conv_groups == 0 or self.hidden_size % self.conv_groups:
            problems.append(
                f"`hidden_size` must be a multiple of `conv_groups` {self.conv_groups}."
            )
        for name in ("embedding_size", "pooler_hidden_size"):
            if self.extra.get(name, self.hidden_size) != self.hidden_size:
                problems.append(f"`{name}` must be `hidden_size`, but is {self.extra[name]!r}.")
        if not self.legacy and not self.tie_word_embeddings:
            problems.append("`legacy` false needs `tie_word_embeddings` true, but that is false.")
        return problems


_ATTENTION = "encoder.layer.{i}.attention.self."
ROWS = (
    Row("embeddings.tokens", "embeddings.word_embeddings"),
    Row("embeddings.positions", "embeddings.position_embeddings"),
    Row("embeddings.segments", "embeddings.token_type_embeddings"),
    Row("embeddings.norm", "embeddings.LayerNorm"),
    Row("distances", "encoder.rel_embeddings"),
    Row("distances_norm", "encoder.LayerNorm"),
    Row(
        "blocks.{i}.attention.query_key_value",
        _ATTENTION + "query_proj",
        _ATTENTION + "key_proj",
        _ATTENTION + "value_proj",
    ),
    Row("blocks.{i}.attention.position_query", _ATTENTION + "pos_query_proj"),
    Row("blocks.{i}.attention.position_key", _ATTENTION + "pos_key_proj"),
    Row("blocks.{i}.attention.output", "encoder.layer.{i}.attention.output.dense"),
    Row("blocks.{i}.attention_norm", "encoder.layer.{i}.attention.output.LayerNorm"),
    Row("blocks.{i}.feedforward.up", "encoder.layer.{i}.intermediate.dense"),
    Row("blocks.{i}.feedforward.down", "encoder.layer.{i}.output.dense"),
    Row("blocks.{i}.feedforward_norm", "encoder.layer.{i}.output.LayerNorm"),
    Row("blocks.0.neighbours.convolution", "encoder.conv.conv"),
    Row("blocks.0.neighbours_norm", "encoder.conv.LayerNorm"),
)


class DebertaV2Backbone(Backbone):
    """Embeddings, vectors of distances, blocks."""

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.config = config
        positions = config.max_position_embeddings if config.position_biased_input else 0
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=positions,
            num_segments=config.type_vocab_size,
            width=config.hidden_size,
            dropout=config.hidden_dropout_prob,
            norm_eps=config.layer_norm_eps,
            max_length=config.max_position_embeddings,
        )
        self.distances: nn.Embedding | None = None
        self.distances_norm: nn.LayerNorm | None = None
        if config.relative_attention:
            self.distances = nn.Embedding(2 * config.span, config.hidden_size)
        if config.normalises_distances:
            self.distances_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(_block(config, i) for i in range(config.num_hidden_layers))

    def steps(self, batch: PackedBatch) -> Iterator[tuple[nn.Module, Guide | None]]:
        """Yield the blocks, all with the same vectors of distances."""
        guide = None
        if self.distances is not None:
            kinds = self._kinds(batch.layout.max_length)  # (2L - 1,), ascending
            first, last = int(kinds[0]), int(kinds[-1])
            vectors = self.distances.weight[first : last + 1]
            if self.distances_norm is not None:
                vectors = self.distances_norm(vectors)
            device = batch.layout.device
            length = batch.layout.max_length
            between = (kinds - first).to(device)[distances(length, device) + length - 1]
            guide = DistanceGuide(batch.layout, vectors, between)
        for block in self.blocks:
            yield block, guide

    def _kinds(self, length: int) -> Tensor:
        """Return the kind of each distance from 1 - L to L - 1, a number below 2S."""
        distance, span = torch.arange(1 - length, length), self.config.span
        if self.config.position_buckets > 0:
            distance = signed_buckets(distance, span, self.config.farthest)
        return (distance + span).clamp(0, 2 * span - 1)


def _block(config: DebertaV2Config, number: int) -> PostNormBlock:
    width = config.hidden_size
    attention = DisentangledAttention(
        width,
        config.num_attention_heads,
        config.attention_probs_dropout_prob,
        terms=config.terms,
        has_own_projections=config.relative_attention and not config.share_att_key,
        position_dropout=config.hidden_dropout_prob,
    )
    if number > 0 or config.conv_kernel_size == 0:
        return post_norm_block(config, attention)
    return ConvolvedBlock(
        attention,
        FeedForward(width, config.intermediate_size, config.hidden_act),
        width=width,
        dropout=config.hidden_dropout_prob,
        norm_eps=config.layer_norm_eps,
        convolution=RowConvolution(width, config.conv_kernel_size, config.conv_groups),
        activation=activation(config.conv_act),
    )


def _sequence_head(config: DebertaV2Config) -> DenseClassificationHead:
    given = config.cls_dropout
    return DenseClassificationHead(
        config.hidden_size,
        config.num_labels,
        config.pooler_hidden_act,
        input_dropout=config.pooler_dropout,
        dropout=config.hidden_dropout_prob if given is None else given,
        problem_type=config.problem_type,
    )


def _masked_lm_rows(config: DebertaV2Config) -> tuple[Row, ...]:
    if config.legacy:
        return bert_masked_lm_rows(config)
    head = "lm_predictions.lm_head."
    return masked_lm_rows(
        config, head + "dense", head + "LayerNorm", head + "decoder", head + "bias"
    )


FAMILY = Family(
    config=DebertaV2Config,
    backbone=DebertaV2Backbone,
    rows=ROWS,
    prefix="deberta.",
    heads={
        "sequence_classification": HeadPlan(
            _sequence_head, lambda config: (Row("dense", "pooler.dense"), *CLASSIFIER_ROWS)
        ),
        "token_classification": TOKEN_CLASSIFIER,
        "question_answering": SPAN_FINDER,
        "masked_lm": HeadPlan(masked_lm_head, _masked_lm_rows),
    },
    elsewhere=(
        "cls.",
        "lm_predictions.",
        "mask_predictions.",
        "pooler.",
        "classifier.",
        "qa_outputs.",
        "embeddings.position_ids",
        "embeddings.position_embeddings.",
    ),
)


class DebertaV2Model(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class DebertaV2ForSequenceClassification(PretrainedModel):
    """DeBERTa with a classifier on the first token."""

    family = FAMILY
    head_name = "sequence_classification"


class DebertaV2ForTokenClassification(PretrainedModel):
    """DeBERTa with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class DebertaV2ForQuestionAnswering(PretrainedModel):
    """DeBERTa that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class DebertaV2ForMaskedLM(PretrainedModel):
    """DeBERTa that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


MODELS = by_head(
    DebertaV2Model,
    DebertaV2ForSequenceClassification,
    DebertaV2ForTokenClassification,
    DebertaV2ForQuestionAnswering,
    DebertaV2ForMaskedLM,
)
