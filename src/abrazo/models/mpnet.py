"""MPNet: an encoder that learned masked and permuted words at once.

Song et al. 2020, https://arxiv.org/abs/2004.09297. What sets it apart: to every block's attention
scores one bias is added, the same in all blocks, that depends on the distance of two tokens.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import nn

from abrazo.checkpoints.keymap import Row
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.packing import PackedBatch
from abrazo.layers.pooling import Pooler
from abrazo.layers.positions import Guide, distances, two_sided_buckets
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import (
    LM_HEAD,
    SPAN_FINDER,
    TOKEN_CLASSIFIER,
    EncoderConfig,
    by_head,
    dense_classifier,
    post_norm_blocks,
    wrong_sizes,
)
from abrazo.models.family import Backbone, Family

_NUM_BUCKETS = 32
_FIRST_POSITION = 2
"""Whatever the padding id, positions count from here in every file there is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MPNetConfig(EncoderConfig):
    """The defaults are those of mpnet-base."""

    model_type: ClassVar[str] = "mpnet"
    ABSENT: ClassVar[Mapping[str, Any]] = {
        "max_position_embeddings": 512,
        "layer_norm_eps": 1e-12,
    }

    vocab_size: int = 30527
    """Number of pieces in the vocabulary."""
    max_position_embeddings: int = 514
    """Number of positions, the first two of which no token takes."""
    layer_norm_eps: float = 1e-5
    """Added to the variance in norms."""
    relative_attention_num_buckets: int = 32
    """Number of buckets that distances fall into."""
    pad_token_id: int | None = 1
    """The id that pads rows."""

    def _wrong_sizes(self) -> list[str]:
        problems = wrong_sizes(self)
        if self.relative_attention_num_buckets < _NUM_BUCKETS:
            problems.append(
                f"`relative_attention_num_buckets` must be at least {_NUM_BUCKETS}, "
                f"but is {self.relative_attention_num_buckets}."
            )
        if self.max_position_embeddings <= _FIRST_POSITION:
            problems.append(
                f"`max_position_embeddings` must be above {_FIRST_POSITION}, "
                f"but is {self.max_position_embeddings}."
            )
        return problems


_ATTENTION = "encoder.layer.{i}.attention.attn."
ROWS = (
    Row("embeddings.tokens", "embeddings.word_embeddings"),
    Row("embeddings.positions", "embeddings.position_embeddings"),
    Row("embeddings.norm", "embeddings.LayerNorm"),
    Row("distance_bias", "encoder.relative_attention_bias"),
    Row(
        "blocks.{i}.attention.query_key_value",
        _ATTENTION + "q",
        _ATTENTION + "k",
        _ATTENTION + "v",
    ),
    Row("blocks.{i}.attention.output", _ATTENTION + "o"),
    Row("blocks.{i}.attention_norm", "encoder.layer.{i}.attention.LayerNorm"),
    Row("blocks.{i}.feedforward.up", "encoder.layer.{i}.intermediate.dense"),
    Row("blocks.{i}.feedforward.down", "encoder.layer.{i}.output.dense"),
    Row("blocks.{i}.feedforward_norm", "encoder.layer.{i}.output.LayerNorm"),
    Row("pooler.dense", "pooler.dense"),
)


class MPNetBackbone(Backbone):
    """Embeddings, blocks with a shared bias by distance, pooler."""

    counts_columns = False

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=config.max_position_embeddings,
            num_segments=0,
            width=config.hidden_size,
            dropout=config.hidden_dropout_prob,
            norm_eps=config.layer_norm_eps,
            first_position=_FIRST_POSITION,
        )
        self.distance_bias = nn.Embedding(
            config.relative_attention_num_buckets, config.num_attention_heads
        )
        self.blocks = post_norm_blocks(config)
        self.pooler = Pooler(config.hidden_size)

    def steps(self, batch: PackedBatch) -> Iterator[tuple[nn.Module, Guide | None]]:
        """Yield the blocks, all with the same bias."""
        layout = batch.layout
        buckets = two_sided_buckets(distances(layout.max_length, layout.device), _NUM_BUCKETS)
        bias = self.distance_bias(buckets).permute(2, 0, 1)[None]  # (1, H, L, L)
        guide = Guide(layout, bias=bias)
        for block in self.blocks:
            yield block, guide


FAMILY = Family(
    config=MPNetConfig,
    backbone=MPNetBackbone,
    rows=ROWS,
    prefix="mpnet.",
    heads={
        "sequence_classification": dense_classifier("tanh"),
        "token_classification": TOKEN_CLASSIFIER,
        "question_answering": SPAN_FINDER,
        "masked_lm": LM_HEAD,
    },
    elsewhere=("lm_head.", "classifier.", "qa_outputs.", "pooler.", "embeddings.position_ids"),
)


class MPNetModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class MPNetForSequenceClassification(PretrainedModel):
    """MPNet with a classifier on the first token."""

    family = FAMILY
    head_name = "sequence_classification"


class MPNetForTokenClassification(PretrainedModel):
    """MPNet with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class MPNetForQuestionAnswering(PretrainedModel):
    """MPNet that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class MPNetForMaskedLM(PretrainedModel):
    """MPNet that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


MODELS = by_head(
    MPNetModel,
    MPNetForSequenceClassification,
    MPNetForTokenClassification,
    MPNetForQuestionAnswering,
    MPNetForMaskedLM,
)
