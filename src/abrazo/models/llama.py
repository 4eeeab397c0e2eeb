"""Llama: a decoder with rotary positions, RMS norms and a gated feed-forward half.

Touvron et al. 2023, https://arxiv.org/abs/2302.13971 and https://arxiv.org/abs/2307.09288; Dubey et
al. 2024, https://arxiv.org/abs/2407.21783. Mistral, Qwen and Gemma are built of the same parts:
their configurations say in properties what sets them apart.

Shapes: T tokens of all rows, E hidden width.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from abrazo.checkpoints.keymap import Row
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PreNormBlock, SandwichNormBlock
from abrazo.layers.embeddings import WordEmbeddings
from abrazo.layers.feedforward import GatedFeedForward
from abrazo.layers.norms import RMSNorm
from abrazo.layers.packing import PackedBatch
from abrazo.layers.positions import Rotation
from abrazo.layers.rotary import Rotary, rope_settings, wrong_rope_settings
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.decoder import LAST_TOKEN_CLASSIFIER, DecoderBackbone, causal_lm, in_each_block
from abrazo.models.encoder import by_head, wrong_kinds, wrong_sizes
from abrazo.models.family import Family, HeadPlan

FULL, NEAR = "full_attention", "sliding_attention"
"""The kinds of blocks: tokens see all that comes before them, or a window of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlamaConfig(ModelConfig):
    """The defaults are those of Llama-7B."""

    model_type: ClassVar[str] = "llama"
    HAS_HEAD_NORMS: ClassVar[bool] = False
    """Whether the queries and keys of each head are normalised."""
    HAS_OUTPUT_NORMS: ClassVar[bool] = False
    """Whether what comes out of each half of a block is normalised too."""
    NORM_OFFSET: ClassVar[float] = 0.0
    """What is added to the weights of norms."""

    vocab_size: int = 32000
    """Number of pieces in the vocabulary."""
    hidden_size: int = 4096
    """Width of a token's vector."""
    intermediate_size: int = 11008
    """Width in the middle of the feed-forward half."""
    num_hidden_layers: int = 32
    """Number of blocks."""
    num_attention_heads: int = 32
    """Number of heads of queries in a block."""
    num_key_value_heads: int | None = None
    """Number of heads of keys and values; None takes as many as of queries."""
    head_dim: int | None = None
    """Width of a head; None shares the hidden width among the heads."""
    hidden_act: str = "silu"
    """Activation of the gate of the feed-forward half."""
    max_position_embeddings: int = 2048
    """The most tokens a row can have."""
    rms_norm_eps: float = 1e-6
    """Added to the mean square in norms."""
    pad_token_id: int | None = None
    """The id that pads rows."""
    bos_token_id: int | None = 1
    """The id that begins texts."""
    eos_token_id: int | list[int] | None = 2
    """The id that ends texts, or several."""
    tie_word_embeddings: bool = False
    """Whether the next-word head shares the embedding matrix."""
    rope_theta: float = 10_000.0
    """Base of the rotary wave lengths, where `rope_parameters` does not say."""
    rope_parameters: Mapping[str, Any] | None = None
    """Rotary settings."""
    rope_scaling: Mapping[str, Any] | None = None
    """Rotary settings as older files have them, which go before `rope_parameters`."""
    attention_bias: bool = False
    """Whether the products of attention have a bias."""
    attention_dropout: float = 0.0
    """Share of attention weights dropped."""
    mlp_bias: bool = False
    """Whether the products of the feed-forward half have a bias."""

    def __post_init__(self) -> None:
        """Settle what is left open, and check every field."""
        if self.num_key_value_heads is None:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        super().__post_init__()

    @property
    def kv_heads(self) -> int:
        """The number of heads of keys and values."""
        given = self.num_key_value_heads
        return self.num_attention_heads if given is None else given

    @property
    def head_width(self) -> int:
        """The width of a head."""
        given = self.head_dim
        return self.hidden_size // self.num_attention_heads if given is None else given

    @property
    def activation(self) -> str:
        """Activation of the gate of the feed-forward half."""
        return self.hidden_act

    @property
    def output_bias(self) -> bool:
        """Whether the second product of attention has a bias."""
        return self.attention_bias

    @property
    def score_scale(self) -> float | None:
        """What scores are multiplied with; None takes one over the root of a head's width."""
        return None

    @property
    def score_cap(self) -> float | None:
        """What scores are bent to stay below."""
        return None

    @property
    def word_scale(self) -> float:
        """What embeddings are multiplied with."""
        return 1.0

    @property
    def kinds(self) -> list[str]:
        """The kind of each block."""
        return [FULL] * self.num_hidden_layers

    @property
    def window(self) -> int | None:
        """How many tokens a token sees in blocks with a window, itself included; None sees all."""
        return None

    @property
    def max_length(self) -> int:
        """The most tokens of a row."""
        return self.rotary(FULL).max_length

    def rope(self, kind: str) -> dict[str, Any]:
        """Return the rotary settings of blocks of a kind."""
        return rope_settings(
            self.rope_parameters,
            self.rope_scaling,
            theta=self.rope_theta,
            num_positions=self.max_position_embeddings,
        )

    def rotary(self, kind: str) -> Rotary:
        """Return what turns heads in blocks of a kind."""
        return Rotary(self.head_width, self.rope(kind), self.max_position_embeddings)

    def to_hf(self) -> dict[str, Any]:
        """Return what belongs into `config.json`; a width of heads that follows is left out."""
        values = super().to_hf()
        if self.head_dim is None:
            del values["head_dim"]
        return values

    def _wrong_values(self) -> list[str]:
        sizes = wrong_sizes(self, is_rotary=True, head_width=self.head_dim)
        problems = [*super()._wrong_values(), *sizes]
        heads, shared = self.num_attention_heads, self.kv_heads
        if shared == 0 or heads % shared:
            problems.append(
                f"`num_attention_heads` must be a multiple of `num_key_value_heads` ({shared}), "
                f"but is {heads}."
            )
        if self.window == 0:
            problems.append("`sliding_window` must be at least 1, but is 0.")
        if not problems:
            problems += wrong_kinds(self.kinds, self.num_hidden_layers, (FULL, NEAR))
            problems += self._wrong_rope()
        return problems

    def _wrong_rope(self) -> list[str]:
        """Return a line for each rotary setting that is not known or out of range."""
        problems = []
        for field in ("rope_parameters", "rope_scaling"):
            if settings := getattr(self, field):
                problems += wrong_rope_settings(field, settings, self.head_width)
        return problems


class LlamaBackbone(DecoderBackbone):
    """Embeddings, blocks, norm."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.kinds = config.kinds
        self.rotaries = {kind: config.rotary(kind) for kind in self.kinds}
        self.embeddings = WordEmbeddings(
            config.vocab_size,
            config.hidden_size,
            max_length=config.max_length,
            scale=config.word_scale,
        )
        self.blocks = nn.ModuleList(_block(config) for _ in self.kinds)
        self.final_norm = _norm(config)(config.hidden_size, config.rms_norm_eps)

    def kind_of(self, number: int) -> str:
        """Return the kind of a block."""
        return self.kinds[number]

    def rotation(self, batch: PackedBatch, positions: Tensor, kind: str) -> Rotation:
        """Return the angles for (T,) positions in blocks of a kind."""
        lengths = batch.layout.lengths if batch.past is None else batch.past.lengths
        return self.rotaries[kind].angles(positions, batch.layout, lengths)

    def window(self, kind: str) -> int | None:
        """Return how many tokens before it a token sees besides itself; None sees all."""
        window = self.config.window
        return window - 1 if kind == NEAR and window is not None else None


def _norm(config: LlamaConfig) -> partial[RMSNorm]:
    return partial(RMSNorm, offset=config.NORM_OFFSET)


def _attention(config: LlamaConfig) -> Attention:
    norms = {}
    if config.HAS_HEAD_NORMS:
        norms = {
            name: _norm(config)(config.head_width, config.rms_norm_eps)
            for name in ("query_norm", "key_norm")
        }
    return Attention(
        config.hidden_size,
        config.num_attention_heads,
        config.attention_dropout,
        bias=config.attention_bias,
        output_bias=config.output_bias,
        num_kv_heads=config.kv_heads,
        head_width=config.head_width,
        scale=config.score_scale,
        softcap=config.score_cap,
        **norms,
    )


def _block(config: LlamaConfig) -> PreNormBlock:
    feedforward = GatedFeedForward(
        config.hidden_size, config.intermediate_size, config.activation, bias=config.mlp_bias
    )
    kind = SandwichNormBlock if config.HAS_OUTPUT_NORMS else partial(PreNormBlock, dropout=0.0)
    return kind(
        _attention(config),
        feedforward,
        width=config.hidden_size,
        norm_eps=config.rms_norm_eps,
        norm=_norm(config),
    )


def _rows(config: LlamaConfig) -> tuple[Row, ...]:
    layer, ours = "layers.{i}.", "blocks.{i}."
    heads = (
        Row(ours + "attention.query_norm", layer + "self_attn.q_norm"),
        Row(ours + "attention.key_norm", layer + "self_attn.k_norm"),
    )
    before_second = Row(ours + "feedforward_norm", layer + "post_attention_layernorm")
    norms: tuple[Row, ...] = (before_second,)
    if config.HAS_OUTPUT_NORMS:
        norms = (
            Row(ours + "mixed_norm", layer + "post_attention_layernorm"),
            Row(ours + "feedforward_norm", layer + "pre_feedforward_layernorm"),
            Row(ours + "changed_norm", layer + "post_feedforward_layernorm"),
        )
    return (
        Row("embeddings.tokens", "embed_tokens"),
        Row(ours + "attention_norm", layer + "input_layernorm"),
        Row(
            ours + "attention.query_key_value",
            layer + "self_attn.q_proj",
            layer + "self_attn.k_proj",
            layer + "self_attn.v_proj",
            shares=(config.num_attention_heads // config.kv_heads, 1, 1),
        ),
        Row(ours + "attention.output", layer + "self_attn.o_proj"),
        *(heads if config.HAS_HEAD_NORMS else ()),
        *norms,
        Row(ours + "feedforward.up", layer + "mlp.gate_proj", layer + "mlp.up_proj"),
        Row(ours + "feedforward.down", layer + "mlp.down_proj"),
        Row("final_norm", "norm"),
    )


def llama_family(config: type[LlamaConfig], next_word: HeadPlan | None = None) -> Family:
    """Return a family that is Llama but for what its configuration says.

    Args:
        config: The family's configuration.
        next_word: How the head that guesses the next word is built; None builds a plain one.
    """
    return Family(
        config=config,
        backbone=LlamaBackbone,
        rows=_rows,
        prefix="model.",
        heads={
            "causal_lm": next_word or causal_lm(),
            "sequence_classification": LAST_TOKEN_CLASSIFIER,
        },
        elsewhere=("lm_head.", "score.", *in_each_block("layers.{i}.self_attn.rotary_emb.")),
    )


FAMILY = llama_family(LlamaConfig)


class LlamaModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class LlamaForCausalLM(PretrainedModel):
    """Llama that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class LlamaForSequenceClassification(PretrainedModel):
    """Llama with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(LlamaModel, LlamaForCausalLM, LlamaForSequenceClassification)
