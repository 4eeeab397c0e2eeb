"""T5: an encoder-decoder that takes every task as text to text.

Raffel et al. 2019, https://arxiv.org/abs/1910.10683. What sets it apart: no positions but a bias
by distance, the same in all blocks of a stack; RMS norms before each part; no biases; attention
scores that are not scaled. Version 1.1, which Flan-T5 goes on from, has a gated feed-forward part
(Shazeer 2020, https://arxiv.org/abs/2002.05202) and a head of its own.

Shapes: H heads, L tokens of the longest row, Q new tokens.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from abrazo.checkpoints.folder import WeightFiles
from abrazo.checkpoints.keymap import Row
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PreNormBlock
from abrazo.layers.cross_attention import CrossAttention
from abrazo.layers.decoder_blocks import PreNormDecoderBlock
from abrazo.layers.dropout import Dropout
from abrazo.layers.feedforward import ACTIVATIONS, FeedForward, GatedFeedForward
from abrazo.layers.norms import RMSNorm
from abrazo.layers.packing import PackedBatch
from abrazo.layers.positions import Guide, distances, one_sided_buckets, two_sided_buckets
from abrazo.layers.shared_embeddings import SharedEmbeddings
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.encoder import by_head
from abrazo.models.family import Backbone, Family, Step
from abrazo.models.seq2seq import (
    SHARED_WORDS,
    CrossDecoder,
    Seq2SeqBackbone,
    Seq2SeqConfig,
    seq2seq_lm,
)
from abrazo.models.seq2seq_model import HEAD_WORDS, Seq2SeqModel

_NO_LIMIT = 1_000_000
"""Distances have no end; memory has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5Config(Seq2SeqConfig):
    """The defaults are those of t5-small."""

    model_type: ClassVar[str] = "t5"
    ALIASES: ClassVar[Mapping[str, str]] = {
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "head_dim": "d_kv",
    }

    d_model: int = 512
    """Width of a token's vector."""
    d_kv: int = 64
    """Width of a head."""
    d_ff: int = 2048
    """Width in the middle of the feed-forward part."""
    num_layers: int = 6
    """Number of blocks of the encoder."""
    num_decoder_layers: int | None = None
    """Number of blocks of the decoder; None takes as many as the encoder has."""
    num_heads: int = 8
    """Number of attention heads in a block."""
    relative_attention_num_buckets: int = 32
    """Number of buckets that distances fall into."""
    relative_attention_max_distance: int = 128
    """The distance from which on all share a bucket."""
    dropout_rate: float = 0.1
    """Share of elements, and of attention weights, dropped."""
    layer_norm_epsilon: float = 1e-6
    """Added to the mean square in norms."""
    feed_forward_proj: str = "relu"
    """Activation of the feed-forward part, with `gated-` before it where a gate is activated."""
    scale_decoder_outputs: bool | None = None
    """Whether vectors are scaled before words are scored; None does so with shared embeddings."""
    initializer_factor: float = 1.0
    """What the standard deviations of new weights are multiplied with."""

    def __post_init__(self) -> None:
        """Settle what is left open, and check every field."""
        if self.num_decoder_layers is None:
            object.__setattr__(self, "num_decoder_layers", self.num_layers)
        if self.scale_decoder_outputs is None:
            object.__setattr__(self, "scale_decoder_outputs", self.tie_word_embeddings)
        super().__post_init__()

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward part has a gate."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        """The activation of the feed-forward part."""
        if self.feed_forward_proj == "gated-gelu":
            return "gelu_new"  # what the name has stood for since version 1.1
        return self.feed_forward_proj.removeprefix("gated-")

    @property
    def output_scale(self) -> float:
        """What vectors are multiplied with before words are scored."""
        return self.d_model**-0.5 if self.scale_decoder_outputs else 1.0

    def _wrong_values(self) -> list[str]:
        problems = super()._wrong_values()
        layers = ("num_layers", "num_decoder_layers")
        for name in ("vocab_size", "d_model", "d_kv", "num_heads", *layers):
            if getattr(self, name) == 0:
                problems.append(f"`{name}` must be at least 1, but is 0.")
        if self.layer_norm_epsilon == 0:
            problems.append("`layer_norm_epsilon` must be above 0, but is 0.")
        if self.activation not in ACTIVATIONS:
            problems.append(
                f"`feed_forward_proj` {self.feed_forward_proj!r} is none of "
                f"{', '.join(ACTIVATIONS)}, alone or after `gated-`."
            )
        buckets = self.relative_attention_num_buckets
        if buckets < 4 or buckets % 2:
            problems.append(
                "`relative_attention_num_buckets` must be an even number of 4 or more, but is "
                f"{buckets}."
            )
        elif self.relative_attention_max_distance <= buckets // 2:
            problems.append(
                f"`relative_attention_max_distance` must be above {buckets // 2}, half of "
                f"`relative_attention_num_buckets`, but is {self.relative_attention_max_distance}."
            )
        return problems


class _FinalNorm(RMSNorm):
    """The norm behind the last block, with the dropout that follows it."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config.d_model, config.layer_norm_epsilon)
        self.dropout = Dropout(config.dropout_rate)

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn (T, E) into (T, E)."""
        return self.dropout(super().forward(hidden))  # type: ignore[no-any-return]


class T5Encoder(Backbone):
    """Words, blocks with a shared bias by distance, norm."""

    rounds_tokens = True

    def __init__(self, config: T5Config, tokens: nn.Embedding | None = None) -> None:
        """Build new weights.

        Args:
            config: The family's configuration.
            tokens: The words; None makes new ones.
        """
        super().__init__()
        self.config = config
        self.embeddings = _embeddings(config, tokens)
        self.distance_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)
        self.blocks = nn.ModuleList(
            PreNormBlock(Attention(**_sizes(config)), _feedforward(config), **_norms(config))
            for _ in range(config.num_layers)
        )
        self.final_norm = _FinalNorm(config)

    def steps(self, batch: PackedBatch) -> Iterator[tuple[Step, Guide | None]]:
        """Yield the blocks, all with the same bias."""
        layout = batch.layout
        buckets = two_sided_buckets(
            distances(layout.max_length, layout.device),
            self.config.relative_attention_num_buckets,
            self.config.relative_attention_max_distance,
        )
        guide = Guide(layout, bias=_by_head(self.distance_bias, buckets))
        for block in self.blocks:
            yield block, guide

    def start_weights(self) -> None:
        """Draw new weights as T5 does."""
        _start(self, self.config)


class T5Decoder(CrossDecoder):
    """The same with cross-attention, and a bias for the distance of what came before."""

    def __init__(self, config: T5Config, tokens: nn.Embedding) -> None:
        """Build new weights; the words are shared."""
        super().__init__()
        self.config = config
        self.embeddings = _embeddings(config, tokens)
        self.distance_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)
        self.blocks = nn.ModuleList(
            PreNormDecoderBlock(
                Attention(**_sizes(config)),
                CrossAttention(**_sizes(config)),
                _feedforward(config),
                **_norms(config),
            )
            for _ in range(config.num_decoder_layers or 0)
        )
        self.final_norm = _FinalNorm(config)

    def bias_of(self, distances: Tensor) -> Tensor:
        """Return (1, H, Q, L) for (Q, L) distances of keys before queries."""
        buckets = one_sided_buckets(
            distances,
            self.config.relative_attention_num_buckets,
            self.config.relative_attention_max_distance,
        )
        return _by_head(self.distance_bias, buckets)

    def start_weights(self) -> None:
        """Draw new weights as T5 does."""
        _start(self, self.config)


class T5Backbone(Seq2SeqBackbone):
    """Encoder and decoder over the same words."""

    def __init__(self, config: T5Config) -> None:
        encoder = T5Encoder(config)
        super().__init__(encoder, T5Decoder(config, encoder.embeddings.tokens))

    def start_weights(self) -> None:
        """Draw new weights as T5 does."""
        for stack in (self.encoder, self.decoder):
            stack.start_weights()


def _embeddings(config: T5Config, tokens: nn.Embedding | None) -> SharedEmbeddings:
    if tokens is None:
        tokens = nn.Embedding(config.vocab_size, config.d_model)
    return SharedEmbeddings(tokens, max_length=_NO_LIMIT, dropout=config.dropout_rate)


def _sizes(config: T5Config) -> dict[str, Any]:
    """Return what attention of either kind is built with."""
    return {
        "width": config.d_model,
        "num_heads": config.num_heads,
        "dropout_probability": config.dropout_rate,
        "bias": False,
        "head_width": config.d_kv,
        "scale": 1.0,
    }


def _feedforward(config: T5Config) -> nn.Module:
    kind = GatedFeedForward if config.is_gated else FeedForward
    return kind(
        config.d_model, config.d_ff, config.activation, bias=False, dropout=config.dropout_rate
    )


def _norms(config: T5Config) -> dict[str, Any]:
    return {
        "width": config.d_model,
        "dropout": config.dropout_rate,
        "norm_eps": config.layer_norm_epsilon,
        "norm": RMSNorm,
    }


def _by_head(table: nn.Embedding, buckets: Tensor) -> Tensor:
    """Return (1, H, Q, L) out of a table for (Q, L) buckets."""
    biases: Tensor = table(buckets)
    return biases.permute(2, 0, 1)[None]


@torch.no_grad()
def _start(stack: T5Encoder | T5Decoder, config: T5Config) -> None:
    """Draw the weights of a stack from normal distributions of many widths.

    Source: Raffel et al. 2019, released code: scores are not scaled, so queries start smaller.
    """
    inner = config.num_heads * config.d_kv
    stds = {
        "tokens": 1.0,
        "distance_bias": config.d_model**-0.5,
        "query": (config.d_model * config.d_kv) ** -0.5,
        "query_key_value": config.d_model**-0.5,
        "key_value": config.d_model**-0.5,
        "output": inner**-0.5,
        "up": config.d_model**-0.5,
        "down": config.d_ff**-0.5,
    }
    for name, module in stack.named_modules():
        kind = name.rpartition(".")[2]
        if kind in stds:
            weight = module.get_parameter("weight")
            nn.init.normal_(weight, std=config.initializer_factor * stds[kind])
            if kind == "query_key_value":
                nn.init.normal_(weight[:inner], std=config.initializer_factor * stds["query"])


def _stack_rows(config: T5Config, ours: str, theirs: str, *, is_decoder: bool) -> tuple[Row, ...]:
    """Return the rows of one stack, whose names begin so on either side."""
    layer = theirs + "block.{i}.layer."
    block = ours + "blocks.{i}."
    middle = f"{layer}{2 if is_decoder else 1}"
    up = ("wi_0", "wi_1") if config.is_gated else ("wi",)
    across = (
        Row(block + "cross_attention.query", layer + "1.EncDecAttention.q"),
        Row(
            block + "cross_attention.key_value",
            layer + "1.EncDecAttention.k",
            layer + "1.EncDecAttention.v",
        ),
        Row(block + "cross_attention.output", layer + "1.EncDecAttention.o"),
        Row(block + "cross_norm", layer + "1.layer_norm"),
    )
    return (
        Row(
            ours + "distance_bias",
            theirs + "block.0.layer.0.SelfAttention.relative_attention_bias",
        ),
        Row(
            block + "attention.query_key_value",
            *(f"{layer}0.SelfAttention.{name}" for name in "qkv"),
        ),
        Row(block + "attention.output", layer + "0.SelfAttention.o"),
        Row(block + "attention_norm", layer + "0.layer_norm"),
        *(across if is_decoder else ()),
        Row(block + "feedforward.up", *(f"{middle}.DenseReluDense.{name}" for name in up)),
        Row(block + "feedforward.down", middle + ".DenseReluDense.wo"),
        Row(block + "feedforward_norm", middle + ".layer_norm"),
        Row(ours + "final_norm", theirs + "final_layer_norm"),
    )


def _rows(config: T5Config) -> tuple[Row, ...]:
    return (
        Row("encoder.embeddings.tokens", "shared"),
        *_stack_rows(config, "encoder.", "encoder.", is_decoder=False),
        *_stack_rows(config, "decoder.", "decoder.", is_decoder=True),
    )


def _encoder_rows(config: T5Config) -> tuple[Row, ...]:
    return (
        Row("embeddings.tokens", "shared"),
        *_stack_rows(config, "", "encoder.", is_decoder=False),
    )


FAMILY = Family(
    config=T5Config,
    backbone=T5Backbone,
    rows=_rows,
    prefix="",
    heads={"seq2seq_lm": seq2seq_lm(scale=lambda config: config.output_scale)},
    elsewhere=(
        "encoder.embed_tokens.",
        "decoder.embed_tokens.",
        "lm_head.",
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.",  # of no effect
    ),
    aliases=SHARED_WORDS,
)
ENCODER_FAMILY = dataclasses.replace(
    FAMILY,
    backbone=T5Encoder,
    rows=_encoder_rows,
    heads={},
    elsewhere=("encoder.embed_tokens.", "decoder.", "lm_head."),
)
"""The encoder alone."""


class T5Model(Seq2SeqModel):
    """The bare encoder and decoder."""

    family = FAMILY


class T5ForConditionalGeneration(Seq2SeqModel):
    """T5 that writes a text for a text."""

    family = FAMILY
    head_name = "seq2seq_lm"

    @classmethod
    def config_for(cls, config: ModelConfig, weights: WeightFiles) -> ModelConfig:
        """Return the configuration as the files have it: a head is shared unless they have one."""
        if HEAD_WORDS not in weights.names():
            return config.replace(tie_word_embeddings=True)
        return super().config_for(config, weights)


class T5EncoderModel(PretrainedModel):
    """The encoder alone, as models of sentences use it."""

    family = ENCODER_FAMILY


MODELS = {**by_head(T5Model, T5ForConditionalGeneration), "encoder": T5EncoderModel}
