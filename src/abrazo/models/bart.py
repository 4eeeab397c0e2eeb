"""BART: an encoder-decoder that learned to restore texts.

Lewis et al. 2019, https://arxiv.org/abs/1910.13461. What sets it apart: learned positions behind
two that no token takes, a norm behind the embeddings, post-norm blocks. mBART, Marian, Pegasus and
M2M-100 are its relatives: they differ in positions, in where norms stand, and in what the decoder
reads first.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from abrazo.checkpoints.keymap import Row
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PostNormBlock, PreNormBlock
from abrazo.layers.cross_attention import CrossAttention
from abrazo.layers.decoder_blocks import PostNormDecoderBlock, PreNormDecoderBlock
from abrazo.layers.feedforward import FeedForward
from abrazo.layers.shared_embeddings import LearnedPositions, SharedEmbeddings
from abrazo.models.encoder import by_head, wrong_sizes
from abrazo.models.family import Backbone, Family
from abrazo.models.seq2seq import (
    SHARED_WORDS,
    CrossDecoder,
    Seq2SeqBackbone,
    Seq2SeqConfig,
    seq2seq_lm,
)
from abrazo.models.seq2seq_model import Seq2SeqModel

NORM_EPS = 1e-5
_OFFSET = 2
"""Positions that no token takes, whatever the padding id."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BartConfig(Seq2SeqConfig):
    """The defaults are those of bart-large.

    Blocks are never dropped as a whole: `encoder_layerdrop` is kept but not read.
    """

    model_type: ClassVar[str] = "bart"
    REPEATS_SOURCE: ClassVar[bool] = True
    ALIASES: ClassVar[Mapping[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_hidden_layers": "encoder_layers",
    }

    vocab_size: int = 50265
    """Number of pieces in the vocabulary."""
    max_position_embeddings: int = 1024
    """The most tokens a row of either side can have."""
    d_model: int = 1024
    """Width of a token's vector."""
    encoder_layers: int = 12
    """Number of blocks of the encoder."""
    encoder_attention_heads: int = 16
    """Number of attention heads in a block of the encoder."""
    encoder_ffn_dim: int = 4096
    """Width in the middle of the feed-forward part of the encoder."""
    decoder_layers: int = 12
    """Number of blocks of the decoder."""
    decoder_attention_heads: int = 16
    """Number of attention heads in a block of the decoder."""
    decoder_ffn_dim: int = 4096
    """Width in the middle of the feed-forward part of the decoder."""
    activation_function: str = "gelu"
    """Activation of the feed-forward part."""
    dropout: float = 0.1
    """Share of elements dropped after the embeddings and after each part of a block."""
    attention_dropout: float = 0.0
    """Share of attention weights dropped."""
    activation_dropout: float = 0.0
    """Share dropped in the middle of the feed-forward part."""
    scale_embedding: bool = False
    """Whether words are multiplied with the square root of the width."""
    pad_token_id: int | None = 1
    """The id that pads rows."""
    bos_token_id: int | None = 0
    """The id that begins texts."""
    eos_token_id: int | list[int] | None = 2
    """The id that ends texts, or several."""
    decoder_start_token_id: int | None = 2
    """The id that the decoder reads first."""

    @property
    def scale(self) -> float:
        """What words are multiplied with."""
        return math.sqrt(self.d_model) if self.scale_embedding else 1.0

    @property
    def shares_words(self) -> bool:
        """Whether either side reads the same words; without a shared head nothing is shared."""
        return self.tie_word_embeddings

    def _wrong_values(self) -> list[str]:
        problems = super()._wrong_values()
        for side in ("encoder", "decoder"):
            problems += wrong_sizes(self, width="d_model", heads=f"{side}_attention_heads")
        return list(dict.fromkeys(problems))


@dataclasses.dataclass(frozen=True)
class Design:
    """In what BART and its relatives differ."""

    is_pre_norm: bool = False
    """Whether norms stand before each part of a block and behind the last one."""
    has_embedding_norm: bool = True
    """Whether there is a norm behind the embeddings."""
    counts_columns: bool = True
    """Whether positions of a padded call are its columns, or count real tokens alone."""
    positions: Callable[[Any], nn.Module] = lambda config: LearnedPositions(
        config.max_position_embeddings, config.d_model, offset=_OFFSET
    )
    """From the config to what turns positions into vectors."""

    def embeddings(self, config: BartConfig, tokens: nn.Embedding) -> SharedEmbeddings:
        """Return the embeddings of one side."""
        return SharedEmbeddings(
            tokens,
            max_length=config.max_position_embeddings,
            dropout=config.dropout,
            scale=config.scale,
            positions=self.positions(config),
            norm=nn.LayerNorm(config.d_model, eps=NORM_EPS) if self.has_embedding_norm else None,
        )

    def final_norm(self, config: BartConfig) -> nn.Module | None:
        """Return the norm behind the last block, where blocks do not end with one."""
        return nn.LayerNorm(config.d_model, eps=NORM_EPS) if self.is_pre_norm else None


class BartEncoder(Backbone):
    """Embeddings and blocks."""

    rounds_tokens = True

    def __init__(self, config: BartConfig, tokens: nn.Embedding, design: Design) -> None:
        """Build new weights but for the words."""
        super().__init__()
        self.counts_columns = design.counts_columns  # type: ignore[misc]
        self.embeddings = design.embeddings(config, tokens)
        kind = PreNormBlock if design.is_pre_norm else PostNormBlock
        heads = config.encoder_attention_heads
        self.blocks = nn.ModuleList(
            kind(
                Attention(config.d_model, heads, config.attention_dropout),
                _feedforward(config, config.encoder_ffn_dim),
                width=config.d_model,
                dropout=config.dropout,
                norm_eps=NORM_EPS,
            )
            for _ in range(config.encoder_layers)
        )
        self.final_norm = design.final_norm(config)


class BartDecoder(CrossDecoder):
    """Embeddings and blocks with cross-attention."""

    def __init__(self, config: BartConfig, tokens: nn.Embedding, design: Design) -> None:
        """Build new weights but for the words."""
        super().__init__()
        self.counts_columns = design.counts_columns  # type: ignore[misc]
        self.embeddings = design.embeddings(config, tokens)
        kind = PreNormDecoderBlock if design.is_pre_norm else PostNormDecoderBlock
        heads = config.decoder_attention_heads
        self.blocks = nn.ModuleList(
            kind(
                Attention(config.d_model, heads, config.attention_dropout),
                CrossAttention(config.d_model, heads, config.attention_dropout),
                _feedforward(config, config.decoder_ffn_dim),
                width=config.d_model,
                dropout=config.dropout,
                norm_eps=NORM_EPS,
            )
            for _ in range(config.decoder_layers)
        )
        self.final_norm = design.final_norm(config)


def _feedforward(config: BartConfig, middle_width: int) -> FeedForward:
    return FeedForward(
        config.d_model,
        middle_width,
        config.activation_function,
        dropout=config.activation_dropout,
    )


class BartBackbone(Seq2SeqBackbone):
    """Encoder and decoder, usually over the same words."""

    design: ClassVar[Design] = Design()

    def __init__(self, config: BartConfig) -> None:
        words = _words(config, config.vocab_size)
        encoder = BartEncoder(config, words, self.design)
        if not config.shares_words:
            words = _words(config, config.target_vocab_size)
        super().__init__(encoder, BartDecoder(config, words, self.design))


def _words(config: BartConfig, size: int) -> nn.Embedding:
    """Return the words of one side or both; that of padding is not learned where it is read."""
    pad = config.pad_token_id
    return nn.Embedding(
        size, config.d_model, padding_idx=pad if pad is not None and pad < size else None
    )


def _side_rows(side: str) -> tuple[Row, ...]:
    """Return the rows of `encoder` or `decoder`; those about no module of it have no effect."""
    theirs, ours = side + ".layers.{i}.", side + ".blocks.{i}."
    own, across = theirs + "self_attn.", theirs + "encoder_attn."
    return (
        Row(f"{side}.embeddings.positions", f"{side}.embed_positions"),
        Row(f"{side}.embeddings.norm", f"{side}.layernorm_embedding"),
        Row(
            ours + "attention.query_key_value",
            *(own + name for name in ("q_proj", "k_proj", "v_proj")),
        ),
        Row(ours + "attention.output", own + "out_proj"),
        Row(ours + "attention_norm", theirs + "self_attn_layer_norm"),
        Row(ours + "cross_attention.query", across + "q_proj"),
        Row(ours + "cross_attention.key_value", across + "k_proj", across + "v_proj"),
        Row(ours + "cross_attention.output", across + "out_proj"),
        Row(ours + "cross_norm", theirs + "encoder_attn_layer_norm"),
        Row(ours + "feedforward.up", theirs + "fc1"),
        Row(ours + "feedforward.down", theirs + "fc2"),
        Row(ours + "feedforward_norm", theirs + "final_layer_norm"),
        Row(f"{side}.final_norm", f"{side}.layer_norm"),
    )


def _rows(config: BartConfig) -> tuple[Row, ...]:
    """Return the key map of BART or a relative."""
    own = (
        Row("encoder.embeddings.tokens", "encoder.embed_tokens"),
        Row("decoder.embeddings.tokens", "decoder.embed_tokens"),
    )
    words = (Row("encoder.embeddings.tokens", "shared"),) if config.shares_words else own
    return (*words, *_side_rows("encoder"), *_side_rows("decoder"))


SINES = ("encoder.embed_positions.", "decoder.embed_positions.")
"""Positions that relatives compute, although files may have them."""

FAMILY = Family(
    config=BartConfig,
    backbone=BartBackbone,
    rows=_rows,
    prefix="model.",
    heads={"seq2seq_lm": seq2seq_lm(has_fixed_bias=True)},
    elsewhere=(
        *("shared.", "encoder.embed_tokens.", "decoder.embed_tokens."),
        *("lm_head.", "final_logits_bias"),
        *("encoder.version", "decoder.version", "classification_head.", "qa_outputs."),
    ),
    aliases=SHARED_WORDS,
)


class BartModel(Seq2SeqModel):
    """The bare encoder and decoder."""

    family = FAMILY


class BartForConditionalGeneration(Seq2SeqModel):
    """BART that writes a text for a text."""

    family = FAMILY
    head_name = "seq2seq_lm"


MODELS = by_head(BartModel, BartForConditionalGeneration)
