"""GPT-2: a decoder with learned positions and norms before each half of a block.

Radford et al. 2019, Language Models are Unsupervised Multitask Learners. Its files hold matrices
transposed, as (input, output).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from abrazo.checkpoints.keymap import TRANSPOSED, Row
from abrazo.errors import one_of
from abrazo.layers.attention import Attention
from abrazo.layers.blocks import PreNormBlock
from abrazo.layers.feedforward import ACTIVATIONS, FeedForward
from abrazo.layers.shared_embeddings import LearnedPositions, SharedEmbeddings
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.decoder import LAST_TOKEN_CLASSIFIER, DecoderBackbone, causal_lm, in_each_block
from abrazo.models.encoder import by_head, wrong_sizes
from abrazo.models.family import Family


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPT2Config(ModelConfig):
    """The defaults are those of the small GPT-2."""

    model_type: ClassVar[str] = "gpt2"
    ALIASES: ClassVar[Mapping[str, str]] = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 50257
    """Number of pieces in the vocabulary."""
    n_positions: int = 1024
    """The most tokens a row can have."""
    n_embd: int = 768
    """Width of a token's vector."""
    n_layer: int = 12
    """Number of blocks."""
    n_head: int = 12
    """Number of attention heads in a block."""
    n_inner: int | None = None
    """Width in the middle of the feed-forward half; None takes four times the width."""
    activation_function: str = "gelu_new"
    """Activation of the feed-forward half."""
    resid_pdrop: float = 0.1
    """Share of elements dropped after each half of a block."""
    embd_pdrop: float = 0.1
    """Share of elements dropped after the embeddings."""
    attn_pdrop: float = 0.1
    """Share of attention weights dropped."""
    layer_norm_epsilon: float = 1e-5
    """Added to the variance in norms."""
    scale_attn_weights: bool = True
    """Whether scores are divided by the root of the width of a head."""
    scale_attn_by_inverse_layer_idx: bool = False
    """Whether scores are divided by the number of the block too."""
    add_cross_attention: bool = False
    """Whether blocks look at an encoder too, which is not known here."""
    bos_token_id: int | None = 50256
    """The id that begins texts."""
    eos_token_id: int | list[int] | None = 50256
    """The id that ends texts, or several."""
    pad_token_id: int | None = None
    """The id that pads rows."""

    @property
    def hidden_size(self) -> int:
        """Width of a token's vector."""
        return self.n_embd

    @property
    def max_position_embeddings(self) -> int:
        """The most tokens a row can have."""
        return self.n_positions

    def _wrong_values(self) -> list[str]:
        problems = [
            *super()._wrong_values(),
            *wrong_sizes(self, width="n_embd", heads="n_head"),
        ]
        if self.layer_norm_epsilon == 0:
            problems.append("`layer_norm_epsilon` must be above 0, but is 0.")
        if self.activation_function not in ACTIVATIONS:
            problems.append(one_of("`activation_function`", self.activation_function, ACTIVATIONS))
        if self.add_cross_attention:
            problems.append("`add_cross_attention` must be false; it is not known here.")
        return problems

    def scale(self, number: int) -> float:
        """Return what the scores of a block are multiplied with."""
        width = self.n_embd // self.n_head
        scale = width**-0.5 if self.scale_attn_weights else 1.0
        return scale / (number + 1) if self.scale_attn_by_inverse_layer_idx else scale


class GPT2Backbone(DecoderBackbone):
    """Embeddings, blocks, norm."""

    counts_columns = True

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        width = config.n_embd
        self.embeddings = SharedEmbeddings(
            nn.Embedding(config.vocab_size, width),
            max_length=config.n_positions,
            dropout=config.embd_pdrop,
            positions=LearnedPositions(config.n_positions, width, offset=0),
        )
        self.blocks = nn.ModuleList(_block(config, number) for number in range(config.n_layer))
        self.final_norm = nn.LayerNorm(width, eps=config.layer_norm_epsilon)

    def start_weights(self) -> None:
        """Draw smaller what is added to the residual path, the more so the more blocks add to it.

        Source: Radford et al. 2019, section 2.3.
        """
        std = self.config.initializer_range / math.sqrt(2 * self.config.n_layer)
        for block in self.blocks:
            for name in ("attention.output.weight", "feedforward.down.weight"):
                nn.init.normal_(block.get_parameter(name), std=std)


def _block(config: GPT2Config, number: int) -> PreNormBlock:
    width = config.n_embd
    return PreNormBlock(
        Attention(width, config.n_head, config.attn_pdrop, scale=config.scale(number)),
        FeedForward(width, config.n_inner or 4 * width, config.activation_function),
        width=width,
        dropout=config.resid_pdrop,
        norm_eps=config.layer_norm_epsilon,
    )


ROWS = (
    Row("embeddings.tokens", "wte"),
    Row("embeddings.positions", "wpe"),
    Row("blocks.{i}.attention_norm", "h.{i}.ln_1"),
    Row("blocks.{i}.attention.query_key_value", "h.{i}.attn.c_attn", form=TRANSPOSED),
    Row("blocks.{i}.attention.output", "h.{i}.attn.c_proj", form=TRANSPOSED),
    Row("blocks.{i}.feedforward_norm", "h.{i}.ln_2"),
    Row("blocks.{i}.feedforward.up", "h.{i}.mlp.c_fc", form=TRANSPOSED),
    Row("blocks.{i}.feedforward.down", "h.{i}.mlp.c_proj", form=TRANSPOSED),
    Row("final_norm", "ln_f"),
)

FAMILY = Family(
    config=GPT2Config,
    backbone=GPT2Backbone,
    rows=ROWS,
    prefix="transformer.",
    heads={"causal_lm": causal_lm(), "sequence_classification": LAST_TOKEN_CLASSIFIER},
    elsewhere=(
        *("lm_head.", "score."),
        *in_each_block("h.{i}.attn.bias", "h.{i}.attn.masked_bias"),  # masks, which are no weights
    ),
)


class GPT2Model(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class GPT2LMHeadModel(PretrainedModel):
    """GPT-2 that guesses the next word."""

    family = FAMILY
    head_name = "causal_lm"


class GPT2ForSequenceClassification(PretrainedModel):
    """GPT-2 with a classifier on the last token."""

    family = FAMILY
    head_name = "sequence_classification"


MODELS = by_head(GPT2Model, GPT2LMHeadModel, GPT2ForSequenceClassification)
