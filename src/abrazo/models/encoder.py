"""What BERT and its relatives share: config fields, a stack of post-norm blocks, the usual heads.

Shapes: T tokens of all rows, R rows, E hidden width.
"""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from abrazo.checkpoints.folder import WeightFiles
from abrazo.checkpoints.keymap import Row
from abrazo.errors import one_of
from abrazo.heads.causal_lm import CausalLMHead
from abrazo.heads.masked_lm import MaskedLMHead
from abrazo.heads.sequence import DenseClassificationHead, SequenceClassificationHead
from abrazo.heads.spans import QuestionAnsweringHead
from abrazo.heads.tokens import TokenClassificationHead
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PostNormBlock
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.feedforward import ACTIVATIONS, FeedForward, Transform
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.family import HeadPlan

logger = logging.getLogger("abrazo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig(ModelConfig):
    """Fields of a stack of post-norm blocks; the defaults are those of bert-base-uncased."""

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
    """Number of positions."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in norms."""
    pad_token_id: int | None = 0
    """The id that pads rows."""

    @property
    def head_dropout(self) -> float:
        """Share dropped before a classifier."""
        return self.hidden_dropout_prob

    def _wrong_sizes(self) -> list[str]:
        """Return a line for each size that no model can have; families add theirs."""
        return wrong_sizes(self)

    def _wrong_values(self) -> list[str]:
        problems = [*super()._wrong_values(), *self._wrong_sizes()]
        if self.extra.get("position_embedding_type", "absolute") != "absolute":
            kind = self.extra["position_embedding_type"]
            problems.append(f"`position_embedding_type` must be 'absolute', but is {kind!r}.")
        return problems


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentedConfig(EncoderConfig):
    """The same with segments and with a dropout of the classifier's own."""

    type_vocab_size: int = 2
    """Number of segments that rows can be made of."""
    classifier_dropout: float | None = None
    """Share dropped before a classifier; None takes `hidden_dropout_prob`."""

    @property
    def head_dropout(self) -> float:
        """Share dropped before a classifier."""
        given = self.classifier_dropout
        return self.hidden_dropout_prob if given is None else given


def wrong_sizes(
    config: ModelConfig,
    *,
    width: str = "hidden_size",
    heads: str = "num_attention_heads",
    embedding_width: str | None = None,
    is_rotary: bool = False,
    head_width: int | None = None,
) -> list[str]:
    """Return a line for each size, epsilon or activation of a config that no model can have.

    Args:
        config: Fields are known by their names: `..._eps`, `...act...`.
        width: Name of the field that holds the hidden width.
        heads: Name of the field that holds the number of heads.
        embedding_width: Name of the field that holds the width of the embeddings, where there is
            one.
        is_rotary: Whether elements of a head are turned in pairs.
        head_width: The width of a head, where heads do not share the hidden width.
    """
    problems = []
    positive = ["vocab_size", width, heads, "max_position_embeddings"]
    for name in [*positive, embedding_width] if embedding_width else positive:
        if getattr(config, name) == 0:
            problems.append(f"`{name}` must be at least 1, but is 0.")
    wide, many = getattr(config, width), getattr(config, heads)
    if many and wide % many and head_width is None:
        problems.append(f"`{width}` must be a multiple of `{heads}` ({many}), but is {wide}.")
    if is_rotary and many:
        head_width = wide // many if head_width is None else head_width
        if head_width % 2 or head_width == 0:
            problems.append(f"The width of a head must be even, but is {head_width}.")
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name.endswith("_eps") and value == 0:
            problems.append(f"`{field.name}` must be above 0, but is 0.")
        is_activation = field.name.endswith(("_act", "activation", "activation_function"))
        if is_activation and isinstance(value, str) and value not in ACTIVATIONS:
            problems.append(f"`{field.name}` {value!r} is none of {', '.join(ACTIVATIONS)}.")
    return problems


def wrong_kinds(kinds: Sequence[str], num_blocks: int, known: Sequence[str]) -> list[str]:
    """Return a line for what is wrong with `layer_types`, the kind of attention of each block."""
    problems = [one_of("`layer_types`", kind, known) for kind in kinds if kind not in known]
    if len(kinds) != num_blocks:
        problems.append(
            f"`layer_types` must name {num_blocks} blocks, as many as `num_hidden_layers`, but "
            f"names {len(kinds)}."
        )
    return problems


def rope_theta(parameters: Mapping[str, Any] | None, default: float) -> float:
    """Return the base of the rotary wave lengths that the settings name, or the default."""
    return float((parameters or {}).get("rope_theta", default))


def wrong_rope(field: str, parameters: Any) -> list[str]:
    """Return a line for each rotary setting that is not known here."""
    if not isinstance(parameters, Mapping):
        return [f"`{field}` must map names to values, but is {parameters!r:.80}."]
    problems = []
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        problems.append(f"`{field}.rope_type` must be 'default', but is {kind!r:.80}.")
    theta = parameters.get("rope_theta", 1.0)
    is_number = isinstance(theta, int | float) and not isinstance(theta, bool)
    if not is_number or not 1 <= theta < math.inf:
        problems.append(
            f"`{field}.rope_theta` must be a number of 1 or more, but is {theta!r:.80}."
        )
    return problems


def embeddings(config: SegmentedConfig) -> Embeddings:
    """Return words, positions and segments, as BERT has them."""
    return Embeddings(
        vocab_size=config.vocab_size,
        num_positions=config.max_position_embeddings,
        num_segments=config.type_vocab_size,
        width=config.hidden_size,
        dropout=config.hidden_dropout_prob,
        norm_eps=config.layer_norm_eps,
    )


def post_norm_block(config: EncoderConfig, attention: Attention | None = None) -> PostNormBlock:
    """Return one block, with plain attention unless another is given."""
    width = config.hidden_size
    if attention is None:
        attention = Attention(
            width, config.num_attention_heads, config.attention_probs_dropout_prob
        )
    return PostNormBlock(
        attention,
        FeedForward(width, config.intermediate_size, config.hidden_act),
        width=width,
        dropout=config.hidden_dropout_prob,
        norm_eps=config.layer_norm_eps,
    )


def post_norm_blocks(config: EncoderConfig) -> nn.ModuleList:
    """Return the whole stack with plain attention."""
    return nn.ModuleList(post_norm_block(config) for _ in range(config.num_hidden_layers))


BERT_ROWS = (
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
"""Key map of BERT's backbone, which its nearest relatives took over."""

CLASSIFIER_ROWS = (Row("classifier", "classifier"),)

POOLED_CLASSIFIER = HeadPlan(
    lambda config: SequenceClassificationHead(
        config.hidden_size, config.num_labels, config.head_dropout, config.problem_type
    ),
    lambda config: CLASSIFIER_ROWS,
)
"""A classifier on what the backbone's pooler gives."""

TOKEN_CLASSIFIER = HeadPlan(
    lambda config: TokenClassificationHead(
        config.hidden_size, config.num_labels, config.head_dropout
    ),
    lambda config: CLASSIFIER_ROWS,
)

SPAN_FINDER = HeadPlan(
    lambda config: QuestionAnsweringHead(config.hidden_size),
    lambda config: (Row("classifier", "qa_outputs"),),
)


def dense_classifier(activation_name: str) -> HeadPlan:
    """Plan a classifier on the first token with a dense layer of its own, as RoBERTa has it."""
    return HeadPlan(
        lambda config: DenseClassificationHead(
            config.hidden_size,
            config.num_labels,
            activation_name,
            input_dropout=config.head_dropout,
            dropout=config.head_dropout,
            problem_type=config.problem_type,
        ),
        lambda config: (
            Row("dense", "classifier.dense"),
            Row("classifier", "classifier.out_proj"),
        ),
    )


def masked_lm_head(config: EncoderConfig, activation_name: str | None = None) -> MaskedLMHead:
    """Return a head as wide as the blocks, with the blocks' activation unless another is given."""
    transform = Transform(
        config.hidden_size,
        config.hidden_size,
        activation_name or config.hidden_act,
        norm_eps=config.layer_norm_eps,
    )
    return MaskedLMHead(transform, config.vocab_size)


def next_word_head(config: EncoderConfig, activation_name: str | None = None) -> CausalLMHead:
    """Return a head of the same parts that guesses the next word."""
    transform = masked_lm_head(config, activation_name).transform
    return CausalLMHead(config.hidden_size, config.vocab_size, bias=True, transform=transform)


def masked_lm_rows(
    config: ModelConfig, dense: str, norm: str, decoder: str, bias: str
) -> tuple[Row, ...]:
    """Return the rows of a head that guesses words.

    Args:
        config: Tells whether the decoder is tied.
        dense: Their name of the product.
        norm: Their name of the norm.
        decoder: Their name of the product with the vocabulary.
        bias: The name that the bias goes by alone, where the decoder shares the embeddings.
    """
    return (
        Row("transform.dense", dense),
        Row("transform.norm", norm),
        Row("decoder.bias", bias if config.tie_word_embeddings else f"{decoder}.bias"),
        Row("decoder.weight", f"{decoder}.weight"),
    )


def bert_masked_lm_rows(config: Any) -> tuple[Row, ...]:
    """Return the rows of the head that guesses words, as BERT's files name them."""
    return masked_lm_rows(
        config,
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.decoder",
        "cls.predictions.bias",
    )


def _lm_head_rows(config: ModelConfig) -> tuple[Row, ...]:
    return masked_lm_rows(
        config, "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"
    )


LM_HEAD = HeadPlan(lambda config: masked_lm_head(config, "gelu"), _lm_head_rows)
"""A head that guesses words as RoBERTa's files name it; its activation is always GELU."""

NEXT_WORD_HEAD = HeadPlan(lambda config: next_word_head(config, "gelu"), _lm_head_rows)
"""The same that guesses the next word."""


class LeftToRightModel(PretrainedModel):
    """Base of encoders whose tokens see nothing that follows them, to guess the next word."""

    head_name = "causal_lm"

    def __init__(self, config: ModelConfig) -> None:
        """Build with new weights; the configuration then says `is_decoder`, as files have it."""
        if isinstance(config, self.family.config):
            config = config.replace(is_decoder=True)
        super().__init__(config)

    @classmethod
    def config_for(cls, config: ModelConfig, weights: WeightFiles) -> ModelConfig:
        """Return the configuration; one of a model that has not learned to be one is told."""
        if not config.is_decoder:  # type: ignore[attr-defined]
            logger.warning(
                "%s: the checkpoint has not learned to read from left to right; train before use. "
                "`BertLM.from_pretrained` loads it to write by filling masks.",
                cls.__name__,
            )
        return super().config_for(config, weights)


def by_head(*models: type[PretrainedModel]) -> dict[str, type[PretrainedModel]]:
    """Return the classes of a family by the head they carry; the bare backbone is `""`."""
    return {model.head_name: model for model in models}
