"""What makes a family: its config, its backbone, its heads, and the names its files use."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from abrazo.checkpoints.keymap import KeyMap, Row, SameNames
from abrazo.checkpoints.loading import Expectations
from abrazo.errors import ConfigError
from abrazo.heads.base import Head
from abrazo.layers.cache import Cache
from abrazo.layers.embeddings import Embeddings, WordEmbeddings
from abrazo.layers.linear import rounded_up
from abrazo.layers.packing import PackedBatch
from abrazo.layers.positions import Guide
from abrazo.layers.shared_embeddings import SharedEmbeddings
from abrazo.models.config import ModelConfig

OWN_HEAD = "own_head."
"""What the tensors of heads that no family has are called in files, unless they say otherwise."""
TASK_HEADS = "heads."
"""What the tensors of heads are called in files with several, followed by the task's name."""

Step = Callable[..., Tensor]
"""A block, or one that has been told what it needs beside the arguments of all blocks."""


class Backbone(nn.Module):
    """Base of all backbones: embeddings, blocks and, in some, a pooler."""

    counts_columns: ClassVar[bool] = True
    """Whether positions of a padded call are its columns, or count real tokens alone."""

    rounds_tokens: ClassVar[bool] = False
    """Whether the blocks take more tokens than the layout has, and leave those at the end alone."""

    embeddings: Embeddings | WordEmbeddings | SharedEmbeddings
    blocks: nn.ModuleList

    def __init__(self) -> None:
        super().__init__()
        self.final_norm: nn.Module | None = None
        """Normalises what the last block gives, in families whose blocks do not."""
        self.pooler: nn.Module | None = None

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The matrix that token ids look up, which heads may share."""
        return self.embeddings.tokens

    @property
    def max_length(self) -> int:
        """The most tokens of a row."""
        return self.embeddings.max_length

    @property
    def stacks(self) -> "Mapping[str, Backbone]":
        """The stacks of blocks, by what stands before the names of their parts."""
        return {"": self}

    def start_weights(self) -> None:
        """Draw new weights again that do not start as those of other families do."""

    def steps(self, batch: PackedBatch) -> Iterable[tuple[Step, Guide | None]]:
        """Yield the blocks in the order they are applied, each with what guides its attention."""
        return ((block, None) for block in self.blocks)

    def new_cache(self, limit: int | None = None) -> Cache:
        """Return an empty cache for rows of at most `limit` tokens.

        Raises:
            ConfigError: The backbone does not go on word by word.
        """
        raise ConfigError(
            f"{type(self).__name__} reads whole texts and does not go on word by word. Load a "
            "model that generates, such as LlamaForCausalLM."
        )

    def forward(
        self,
        batch: PackedBatch,
        hidden_states: list[Tensor] | None = None,
        attentions: list[list[Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Encode a packed batch.

        Args:
            batch: T tokens of R rows.
            hidden_states: When given, (T, E) is appended after the embeddings and each block.
            attentions: When given, each block appends its weights, one (N, H, L, L) tensor for
                each group of `batch.layout`.

        Returns:
            (T, E) vectors of the last block and (R, E) pooled vectors, or None without a pooler.
        """
        hidden = self.embeddings(batch)  # (T, E)
        if hidden.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # norms and residual sums then stay in bf16 too, which halves what they move
            hidden = hidden.to(torch.get_autocast_dtype("cpu"))
        num_tokens = hidden.shape[0]
        if self.rounds_tokens and batch.past is None:
            hidden = rounded_up(hidden)
        if hidden_states is not None:
            hidden_states.append(hidden[:num_tokens])
        for block, guide in self.steps(batch):
            weights: list[Tensor] | None = None if attentions is None else []
            hidden = block(hidden, batch.layout, weights, guide)  # (T, E), rounded up
            if hidden_states is not None:
                hidden_states.append(hidden[:num_tokens])
            if attentions is not None and weights is not None:
                attentions.append(weights)
        hidden = hidden[:num_tokens]  # (T, E)
        if self.final_norm is not None:
            hidden = self.final_norm(hidden)
            if hidden_states is not None:
                hidden_states[-1] = hidden
        pooled = None if self.pooler is None else self.pooler(hidden, batch.layout)  # (R, E)
        return hidden, pooled


@dataclasses.dataclass(frozen=True)
class HeadPlan:
    """How a family builds a head and what its tensors are called in files."""

    build: Callable[[Any], Head]
    """From the family's config to the head."""
    rows: Callable[[Any], tuple[Row, ...]] | None = None
    """From the family's config to the rows of the key map, ours without `head.`; without them the
    tensors keep our names, under `own_head.` and the head's name."""


@dataclasses.dataclass(frozen=True)
class Family:
    """One model family."""

    config: type[ModelConfig]
    """Its configuration; `config.model_type` is the family's name."""
    backbone: Callable[[Any], Backbone]
    """From the config to the backbone."""
    rows: tuple[Row, ...] | Callable[[Any], tuple[Row, ...]]
    """Key map of the backbone, ours without `backbone.`, theirs without the prefix; or what makes
    it of the config."""
    prefix: str
    """What stands before the backbone's names in files of a model with a head."""
    heads: Mapping[str, HeadPlan]
    """The heads that models of this family can have."""
    elsewhere: tuple[str, ...]
    """Prefixes of tensors in files that may be left alone: other heads, buffers."""
    aliases: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Names, theirs without the prefix, of tensors that files may have under another one alone."""

    @property
    def name(self) -> str:
        """The family's name in `config.json`."""
        return self.config.model_type

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Prefixes of tensors in files that are no concern of a model: `elsewhere`, other heads."""
        return (*self.elsewhere, OWN_HEAD, TASK_HEADS)

    def expectations(self, *optional: str) -> Expectations:
        """Return what is known about files of the family.

        Args:
            optional: Parts, by our names, that may be absent as a whole.
        """
        return Expectations(self.prefix, optional, self.left_alone, self.aliases)

    def key_map(self, config: ModelConfig, head: str) -> KeyMap:
        """Return the whole key map of a model with that head, or of the bare backbone for `""`."""
        prefix = self.prefix if head else ""
        rows = [row.under("backbone.", prefix) for row in self.backbone_rows(config)]
        if head:
            rows += [row.under("head.", "") for row in self.head_rows(config, head)]
        return KeyMap(rows)

    def backbone_rows(self, config: ModelConfig) -> tuple[Row, ...]:
        """Return the rows of the backbone's key map, ours without `backbone.`."""
        return self.rows(config) if callable(self.rows) else self.rows

    def head_rows(self, config: ModelConfig, head: str) -> tuple[Row, ...]:
        """Return the rows of a head's key map, ours without `head.`."""
        rows = self.heads[head].rows
        return (SameNames("", f"{OWN_HEAD}{head}."),) if rows is None else rows(config)

    def with_head(self, name: str, plan: HeadPlan) -> "Family":
        """Return the family with one more head.

        Raises:
            ConfigError: It has a head of that name, or the name is not made of letters, digits and
                underscores.
        """
        if name in self.heads:
            raise ConfigError(
                f"{self.name} models have a head {name!r}; call one of your own otherwise."
            )
        if not name.isidentifier():
            raise ConfigError(
                f"The name of a head must be letters, digits and underscores, but is {name!r}."
            )
        return dataclasses.replace(self, heads={**self.heads, name: plan})
