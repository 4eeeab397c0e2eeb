"""Nomic BERT: BERT's blocks with rotary positions and gated feed-forward, for long texts.

Nussbaum et al. 2024, https://arxiv.org/abs/2402.01613. What sets it apart from BERT: rotary
positions in place of learned ones, SwiGLU, no biases in the blocks' products.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

from torch import nn

from abrazo.checkpoints.keymap import Row
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PostNormBlock
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.feedforward import GatedFeedForward
from abrazo.layers.packing import PackedBatch
from abrazo.layers.pooling import Pooler
from abrazo.layers.positions import Guide, rotary_angles
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import (
    POOLED_CLASSIFIER,
    SPAN_FINDER,
    TOKEN_CLASSIFIER,
    SegmentedConfig,
    by_head,
    masked_lm_head,
    masked_lm_rows,
    rope_theta,
    wrong_rope,
    wrong_sizes,
)
from abrazo.models.family import Backbone, Family, HeadPlan

_OLD_NAMES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "activation_function": "hidden_act",
    "layer_norm_epsilon": "layer_norm_eps",
    "resid_pdrop": "hidden_dropout_prob",
    "attn_pdrop": "attention_probs_dropout_prob",
    "rotary_emb_base": "rope_parameters",
}
"""Fields of the first published files, and what they are called since."""
_OLD_RULES: dict[str, tuple[Any, ...]] = {
    "rotary_emb_fraction": (1, 1.0),
    "rotary_emb_interleaved": (False,),
    "rotary_emb_scale_base": (None,),
    "rotary_scaling_factor": (None,),
    "qkv_proj_bias": (False,),
    "mlp_fc1_bias": (False,),
    "mlp_fc2_bias": (False,),
    "prenorm": (False,),
    "parallel_block": (False,),
    "use_rms_norm": (False, None),
    "causal": (False,),
}
"""Fields of the first published files that have one meaning here."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RotaryConfig(SegmentedConfig):
    """Fields of BERT with rotary positions in place of learned ones."""

    DEFAULT_THETA: ClassVar[float]
    """The base of the rotary wave lengths where `rope_parameters` does not name it."""

    rope_parameters: Mapping[str, Any] | None = None
    """Rotary settings; `rope_theta` is the base of the wave lengths."""

    @property
    def theta(self) -> float:
        """The base of the rotary wave lengths."""
        return rope_theta(self.rope_parameters, self.DEFAULT_THETA)

    def _wrong_sizes(self) -> list[str]:
        problems = wrong_sizes(self, is_rotary=True)
        return problems + wrong_rope("rope_parameters", self.rope_parameters or {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class NomicBertConfig(RotaryConfig):
    """The defaults are those of nomic-embed-text-v1.5."""

    model_type: ClassVar[str] = "nomic_bert"
    DEFAULT_THETA: ClassVar[float] = 1000.0

    vocab_size: int = 30528
    """Number of pieces in the vocabulary."""
    hidden_act: str = "silu"
    """Activation of the gate of the feed-forward half."""
    hidden_dropout_prob: float = 0.0
    """Share of elements dropped after the embeddings and after each half of a block."""
    attention_probs_dropout_prob: float = 0.0
    """Share of attention weights dropped."""
    max_position_embeddings: int = 2048
    """The most tokens a row can have."""
    head_dim: int | None = None
    """Width of a head, which must be `hidden_size` / `num_attention_heads`."""

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], *, where: str = "config.json") -> Self:
        """Read the fields of a `config.json`, be they of the first published files or of later.

        Raises:
            ConfigError: A known field has the wrong type or size; all of them are listed.
        """
        renamed = {_OLD_NAMES.get(name, name): value for name, value in values.items()}
        if "activation_function" in values and values["activation_function"] == "swiglu":
            renamed["hidden_act"] = "silu"
        if "rotary_emb_base" in values:
            renamed["rope_parameters"] = {
                "rope_type": "default",
                "rope_theta": values["rotary_emb_base"],
            }
        return super().from_hf(renamed, where=where)

    def _wrong_sizes(self) -> list[str]:
        problems = super()._wrong_sizes()
        if (
            self.head_dim is not None
            and self.head_dim * self.num_attention_heads != self.hidden_size
        ):
            problems.append(
                f"`head_dim` times `num_attention_heads` ({self.num_attention_heads}) must be "
                f"`hidden_size` ({self.hidden_size}), but `head_dim` is {self.head_dim}."
            )
        for name, allowed in _OLD_RULES.items():
            if self.extra.get(name, allowed[0]) not in allowed:
                problems.append(f"`{name}` must be {allowed[0]}, but is {self.extra[name]!r}.")
        return problems


_LAYER = "encoder.layers.{i}."
ROWS = (
    Row("embeddings.tokens", "embeddings.word_embeddings"),
    Row("embeddings.segments", "embeddings.token_type_embeddings"),
    Row("embeddings.norm", "emb_ln"),
    Row("blocks.{i}.attention.query_key_value", _LAYER + "attn.Wqkv"),
    Row("blocks.{i}.attention.output", _LAYER + "attn.out_proj"),
    Row("blocks.{i}.attention_norm", _LAYER + "norm1"),
    Row("blocks.{i}.feedforward.up", _LAYER + "mlp.fc12", _LAYER + "mlp.fc11"),
    Row("blocks.{i}.feedforward.down", _LAYER + "mlp.fc2"),
    Row("blocks.{i}.feedforward_norm", _LAYER + "norm2"),
    Row("pooler.dense", "pooler.dense"),
)


class RotaryBackbone(Backbone):
    """Embeddings without positions, blocks that turn queries and keys, pooler."""

    def __init__(self, config: RotaryConfig, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(
            vocab_size=config.vocab_size,
            num_positions=0,
            num_segments=config.type_vocab_size,
            width=config.hidden_size,
            dropout=config.hidden_dropout_prob,
            norm_eps=config.layer_norm_eps,
            max_length=config.max_position_embeddings,
        )
        self.blocks = nn.ModuleList(blocks)
        self.pooler = Pooler(config.hidden_size)

    def steps(self, batch: PackedBatch) -> Iterator[tuple[nn.Module, Guide | None]]:
        """Yield the blocks, all with the same angles."""
        positions = batch.layout.positions if batch.position_ids is None else batch.position_ids
        head_width = self.config.hidden_size // self.config.num_attention_heads
        rotation = rotary_angles(positions, head_width, self.config.theta)
        guide = Guide(batch.layout, rotation=rotation)
        for block in self.blocks:
            yield block, guide


def _backbone(config: NomicBertConfig) -> RotaryBackbone:
    return RotaryBackbone(config, (_block(config) for _ in range(config.num_hidden_layers)))


def _block(config: NomicBertConfig) -> PostNormBlock:
    width, dropout = config.hidden_size, config.attention_probs_dropout_prob
    return PostNormBlock(
        Attention(width, config.num_attention_heads, dropout, bias=False),
        GatedFeedForward(width, config.intermediate_size, config.hidden_act),
        width=width,
        dropout=config.hidden_dropout_prob,
        norm_eps=config.layer_norm_eps,
    )


def _masked_lm_rows(config: NomicBertConfig) -> tuple[Row, ...]:
    return masked_lm_rows(
        config,
        "cls.predictions.transform.dense",
        "cls.predictions.transform.layer_norm",
        "cls.predictions.decoder",
        "cls.predictions.bias",
    )


FAMILY = Family(
    config=NomicBertConfig,
    backbone=_backbone,
    rows=ROWS,
    prefix="nomic_bert.",
    heads={
        "sequence_classification": POOLED_CLASSIFIER,
        "token_classification": TOKEN_CLASSIFIER,
        "question_answering": SPAN_FINDER,
        "masked_lm": HeadPlan(masked_lm_head, _masked_lm_rows),
    },
    elsewhere=("cls.", "classifier.", "qa_outputs.", "pooler."),
)


class NomicBertModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class NomicBertForSequenceClassification(PretrainedModel):
    """Nomic BERT with a classifier on the pooled vector."""

    family = FAMILY
    head_name = "sequence_classification"


class NomicBertForTokenClassification(PretrainedModel):
    """Nomic BERT with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class NomicBertForQuestionAnswering(PretrainedModel):
    """Nomic BERT that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class NomicBertForMaskedLM(PretrainedModel):
    """Nomic BERT that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


MODELS = by_head(
    NomicBertModel,
    NomicBertForSequenceClassification,
    NomicBertForTokenClassification,
    NomicBertForQuestionAnswering,
    NomicBertForMaskedLM,
)
