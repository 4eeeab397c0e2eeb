"""GPT-NeoX: a decoder whose halves of a block both start from what comes in; Pythia is one.

Black et al. 2022, https://arxiv.org/abs/2204.06745; Biderman et al. 2023, Pythia,
https://arxiv.org/abs/2304.01373. What else sets it apart: a quarter of each head is turned, and
files hold queries, keys and values head by head.

Shapes: T tokens of all rows, H heads, D width of one head.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from abrazo.checkpoints.keymap import Form, Row
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import ParallelBlock, PreNormBlock
from abrazo.layers.feedforward import FeedForward
from abrazo.layers.packing import PackedBatch
from abrazo.layers.positions import Rotation
from abrazo.layers.rotary import Rotary, rope_settings, wrong_rope_settings
from abrazo.layers.shared_embeddings import SharedEmbeddings
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.decoder import LAST_TOKEN_CLASSIFIER, DecoderBackbone, causal_lm, in_each_block
from abrazo.models.encoder import by_head, wrong_sizes
from abrazo.models.family import Family


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPTNeoXConfig(ModelConfig):
    """The defaults are those of GPT-NeoX-20B."""

    model_type: ClassVar[str] = "gpt_neox"

    vocab_size: int = 50432
    """Number of pieces in the vocabulary."""
    hidden_size: int = 6144
    """Width of a token's vector."""
    num_hidden_layers: int = 44
    """Number of blocks."""
    num_attention_heads: int = 64
    """Number of attention heads in a block."""
    intermediate_size: int = 24576
    """Width in the middle of the feed-forward half."""
    hidden_act: str = "gelu"
    """Activation of the feed-forward half."""
    attention_dropout: float = 0.0
    """Share of attention weights dropped."""
    hidden_dropout: float = 0.0
    """Share of elements dropped after the embeddings and after each half of a block."""
    max_position_embeddings: int = 2048
    """The most tokens a row can have."""
    layer_norm_eps: float = 1e-5
    """Added to the variance in norms."""
    bos_token_id: int | None = 0
    """The id that begins texts."""
    eos_token_id: int | list[int] | None = 2
    """The id that ends texts, or several."""
    pad_token_id: int | None = None
    """The id that pads rows."""
    tie_word_embeddings: bool = False
    """Whether the next-word head shares the embedding matrix."""
    use_parallel_residual: bool = True
    """Whether both halves of a block start from what comes in."""
    rotary_pct: float = 0.25
    """Share of a head that is turned, where `rope_parameters` does not say."""
    rotary_emb_base: float = 10_000.0
    """Base of the rotary wave lengths, where `rope_parameters` does not say."""
    rope_parameters: Mapping[str, Any] | None = None
    """Rotary settings."""
    rope_scaling: Mapping[str, Any] | None = None
    """Rotary settings as older files have them, which go before `rope_parameters`."""
    attention_bias: bool = True
    """Whether the products of attention have a bias."""

    @property
    def rotary(self) -> Rotary:
        """What turns heads."""
        settings = rope_settings(
            self.rope_parameters,
            self.rope_scaling,
            theta=self.rotary_emb_base,
            num_positions=self.max_position_embeddings,
        )
        return Rotary(self._turned, settings, self.max_position_embeddings)

    @property
    def _turned(self) -> int:
        """How many elements of a head are turned."""
        given = self.rope_scaling or self.rope_parameters or {}
        share = given.get("partial_rotary_factor", self.rotary_pct)
        return int(self.hidden_size // self.num_attention_heads * share)

    def _wrong_values(self) -> list[str]:
        problems = [*super()._wrong_values(), *wrong_sizes(self)]
        for field in ("rope_parameters", "rope_scaling"):
            if not problems and (settings := getattr(self, field)):
                problems += wrong_rope_settings(field, settings, 2)
        if not problems and (self._turned < 2 or self._turned % 2):
            problems.append(
                "The part of a head that is turned must have an even width of 2 or more, but has "
                f"{self._turned} (`rotary_pct`, or `rope_parameters.partial_rotary_factor`)."
            )
        return problems


class GPTNeoXBackbone(DecoderBackbone):
    """Embeddings, blocks, norm."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__()
        self.rotary = config.rotary
        self.embeddings = SharedEmbeddings(
            nn.Embedding(config.vocab_size, config.hidden_size),
            max_length=self.rotary.max_length,
            dropout=config.hidden_dropout,
        )
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_hidden_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def rotation(self, batch: PackedBatch, positions: Tensor, kind: Any) -> Rotation:
        """Return the angles for (T,) positions."""
        lengths = batch.layout.lengths if batch.past is None else batch.past.lengths
        return self.rotary.angles(positions, batch.layout, lengths)


def _block(config: GPTNeoXConfig) -> PreNormBlock:
    kind = ParallelBlock if config.use_parallel_residual else PreNormBlock
    return kind(
        Attention(
            config.hidden_size,
            config.num_attention_heads,
            config.attention_dropout,
            bias=config.attention_bias,
        ),
        FeedForward(config.hidden_size, config.intermediate_size, config.hidden_act),
        width=config.hidden_size,
        dropout=config.hidden_dropout,
        norm_eps=config.layer_norm_eps,
    )


def _by_head(config: GPTNeoXConfig) -> Form:
    """Return the form of matrices that have the query, key and value of each head together."""

    def to_ours(tensor: Tensor) -> Tensor:
        heads: Tensor = tensor.unflatten(0, (config.num_attention_heads, 3, -1))  # (H, 3, D, ...)
        return heads.transpose(0, 1).flatten(0, 2)

    def to_theirs(tensor: Tensor) -> Tensor:
        parts: Tensor = tensor.unflatten(0, (3, config.num_attention_heads, -1))  # (3, H, D, ...)
        return parts.transpose(0, 1).flatten(0, 2)

    return Form(to_ours, to_theirs)


def _rows(config: GPTNeoXConfig) -> tuple[Row, ...]:
    layer, ours = "layers.{i}.", "blocks.{i}."
    return (
        Row("embeddings.tokens", "embed_in"),
        Row(ours + "attention_norm", layer + "input_layernorm"),
        Row(
            ours + "attention.query_key_value",
            layer + "attention.query_key_value",
            form=_by_head(config),
        ),
        Row(ours + "attention.output", layer + "attention.dense"),
        Row(ours + "feedforward_norm", layer + "post_attention_layernorm"),
        Row(ours + "feedforward.up", layer + "mlp.dense_h_to_4h"),
        Row(ours + "feedforward.down", layer + "mlp.dense_4h_to_h"),
        Row("final_norm", "final_layer_norm"),
    )


FAMILY = Family(
    config=GPTNeoXConfig,
    backbone=GPTNeoXBackbone,
    rows=_rows,
    prefix="gpt_neox.",
    heads={
        "causal_lm": causal_lm(),
        "sequence_classification": LAST_TOKEN_CLASSIFIER,
    },
    elsewhere=(
        *("lm_head.", "embed_out.", "score."),
        *in_each_block(
            "layers.{i}.attention.bias",
            "layers.{i}.attention.masked_bias",
            "layers.{i}.attention.rotary_emb.",
        ),
    ),
    aliases={"lm_head.weight": ("embed_out.weight",)},
)


class GPTNeoXModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class GPTNeoXForCausalLM(PretrainedModel):
    """GPT-NeoX that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class GPTNeoXForSequenceClassification(PretrainedModel):
    """GPT-NeoX with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(GPTNeoXModel, GPTNeoXForCausalLM, GPTNeoXForSequenceClassification)
