"""Llama: a decoder with rotary positions, RMS norms and a gated feed-forward half.

Touvron et al. 2023, https://arxiv.org/abs/2302.13971 and https://arxiv.org/abs/2307.09288.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from abrazo.checkpoints.keymap import Row
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PreNormBlock
from abrazo.layers.embeddings import WordEmbeddings
from abrazo.layers.feedforward import GatedFeedForward
from abrazo.layers.norms import RMSNorm
from abrazo.layers.positions import Rotation, rotary_angles
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.decoder import DecoderBackbone, causal_lm
from abrazo.models.encoder import by_head, rope_theta, wrong_rope, wrong_sizes
from abrazo.models.family import Family


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlamaConfig(ModelConfig):
    """The defaults are those of Llama-7B."""

    model_type: ClassVar[str] = "llama"
    ABSENT: ClassVar[Mapping[str, Any]] = {"tie_word_embeddings": False}

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
    def theta(self) -> float:
        """The base of the rotary wave lengths."""
        return rope_theta(self.rope_parameters, self.rope_theta)

    @property
    def output_bias(self) -> bool:
        """Whether the second product of attention has a bias."""
        return self.attention_bias

    @property
    def window(self) -> int | None:
        """How many tokens before it a token sees besides itself; None sees all."""
        return None

    def to_hf(self) -> dict[str, Any]:
        """Return what belongs into `config.json`; a width of heads that follows is left out."""
        values = super().to_hf()
        if self.head_dim is None:
            del values["head_dim"]
        return values

    def _wrong_values(self) -> list[str]:
        problems = [*super()._wrong_values(), *wrong_sizes(self, is_rotary=True)]
        if self.rope_parameters is not None:
            problems += wrong_rope("rope_parameters", self.rope_parameters)
        return problems


class LlamaBackbone(DecoderBackbone):
    """Embeddings, blocks, norm."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = WordEmbeddings(
            config.vocab_size, config.hidden_size, max_length=config.max_position_embeddings
        )
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_hidden_layers))
        self.final_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def rotation(self, positions: Tensor, kind: Any) -> Rotation:
        """Return the angles for (T,) positions."""
        return rotary_angles(positions, self.config.head_width, self.config.theta)

    def window(self, kind: Any) -> int | None:
        """Return how many tokens before it a token sees besides itself; None sees all."""
        return self.config.window


def _block(config: LlamaConfig) -> PreNormBlock:
    return PreNormBlock(
        Attention(
            config.hidden_size,
            config.num_attention_heads,
            config.attention_dropout,
            bias=config.attention_bias,
            output_bias=config.output_bias,
            num_kv_heads=config.kv_heads,
            head_width=config.head_width,
        ),
        GatedFeedForward(
            config.hidden_size, config.intermediate_size, config.hidden_act, bias=config.mlp_bias
        ),
        width=config.hidden_size,
        dropout=0.0,
        norm_eps=config.rms_norm_eps,
        norm=RMSNorm,
    )


def llama_rows(config: LlamaConfig) -> tuple[Row, ...]:
    """Return the key map of the backbone, as Llama's files name it."""
    layer = "layers.{i}."
    queries_per_key = config.num_attention_heads // config.kv_heads
    return (
        Row("embeddings.tokens", "embed_tokens"),
        Row("blocks.{i}.attention_norm", layer + "input_layernorm"),
        Row(
            "blocks.{i}.attention.query_key_value",
            layer + "self_attn.q_proj",
            layer + "self_attn.k_proj",
            layer + "self_attn.v_proj",
            shares=(queries_per_key, 1, 1),
        ),
        Row("blocks.{i}.attention.output", layer + "self_attn.o_proj"),
        Row("blocks.{i}.feedforward_norm", layer + "post_attention_layernorm"),
        Row("blocks.{i}.feedforward.up", layer + "mlp.gate_proj", layer + "mlp.up_proj"),
        Row("blocks.{i}.feedforward.down", layer + "mlp.down_proj"),
        Row("final_norm", "norm"),
    )


FAMILY = Family(
    config=LlamaConfig,
    backbone=LlamaBackbone,
    rows=llama_rows,
    prefix="model.",
    heads={"causal_lm": causal_lm()},
    elsewhere=("lm_head.", "score."),
)


class LlamaModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class LlamaForCausalLM(PretrainedModel):
    """Llama that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


MODELS = by_head(LlamaModel, LlamaForCausalLM)
