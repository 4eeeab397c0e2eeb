"""What decoders share: causal attention, and going on from what rows hold already.

Shapes: T tokens of all rows, R rows, E hidden width.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from torch import Tensor

from abrazo.checkpoints.keymap import Row
from abrazo.heads.causal_lm import CausalLMHead
from abrazo.heads.sequence import LastTokenClassificationHead
from abrazo.layers.cache import Cache
from abrazo.layers.packing import PackedBatch
from abrazo.layers.positions import Guide, PastGuide, Rotation
from abrazo.models.config import MAX_LAYERS
from abrazo.models.family import Backbone, HeadPlan, Step


class DecoderBackbone(Backbone):
    """Base of backbones whose tokens see nothing that follows them."""

    counts_columns: ClassVar[bool] = False
    rounds_tokens: ClassVar[bool] = True

    first_position: int = 0
    """Position of a row's first token."""

    def forward(
        self,
        batch: PackedBatch,
        hidden_states: list[Tensor] | None = None,
        attentions: list[list[Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Encode a packed batch, whose rows may hold tokens already; see `Backbone.forward`.

        Raises:
            DataError: The rows get longer than the model reads, or are not those of the cache.
        """
        if batch.past is not None:
            batch.past.advance(batch.layout)
            batch.position_ids = batch.past.positions(batch.layout) + self.first_position
        return super().forward(batch, hidden_states, attentions)

    def new_cache(self, limit: int | None = None) -> Cache:
        """Return an empty cache for rows of at most `limit` tokens."""
        return Cache(len(self.blocks), limit)

    def steps(self, batch: PackedBatch) -> Iterator[tuple[Step, Guide | None]]:
        """Yield the blocks, each with its guide and with what its rows hold."""
        positions = batch.layout.positions if batch.position_ids is None else batch.position_ids
        guides: dict[Any, Guide] = {}
        biases: dict[Any, Tensor | None] = {}
        for number, block in enumerate(self.blocks):
            kind = self.kind_of(number)
            if kind not in guides:
                guides[kind] = guide = Guide(
                    batch.layout,
                    rotation=self.rotation(batch, positions, kind),
                    window=self.window(kind),
                    is_causal=True,
                )
                biases[kind] = None if batch.past is None else batch.past.bias(guide.window)
            guide = guides[kind]
            if batch.past is not None:
                guide = PastGuide(guide, batch.past.layer(number), biases[kind])
            yield block, guide

    def kind_of(self, number: int) -> Any:
        """Return the kind of a block; blocks of one kind share angles and window."""
        return None

    def rotation(self, batch: PackedBatch, positions: Tensor, kind: Any) -> Rotation | None:
        """Return the angles for (T,) positions in blocks of a kind, in families that turn."""
        return None

    def window(self, kind: Any) -> int | None:
        """Return how many tokens before it a token sees besides itself; None sees all."""
        return None


def causal_lm(
    rows: Sequence[Row] = (Row("decoder", "lm_head"),),
    **options: Callable[[Any], Any],
) -> HeadPlan:
    """Plan a head that guesses the next word.

    Args:
        rows: What its tensors are called in files.
        options: From the config to further arguments of `CausalLMHead`.
    """
    return HeadPlan(
        lambda config: CausalLMHead(
            config.hidden_size,
            config.vocab_size,
            **{name: of_config(config) for name, of_config in options.items()},
        ),
        lambda config: tuple(rows),
    )


LAST_TOKEN_CLASSIFIER = HeadPlan(
    lambda config: LastTokenClassificationHead(
        config.width, config.num_labels, config.problem_type
    ),
    lambda config: (Row("classifier", "score"),),
)
"""A classifier on the last token of each row."""


def in_each_block(*names: str) -> tuple[str, ...]:
    """Return beginnings of names, in which `{i}` stands for a block, for any number of it."""
    return tuple(name.replace("{i}", str(i)) for name in names for i in range(MAX_LAYERS))
