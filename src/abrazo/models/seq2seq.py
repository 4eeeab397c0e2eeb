"""What encoder-decoders share: two stacks, a decoder that looks at sources, labels moved by one.

A batch is the decoder's side; `batch.source` is the encoder's. In steps of decoding `batch.past`
has keys and values of the sources, and the encoder is not asked again.

Shapes: T tokens of the decoder's rows, Z tokens of all sources, H heads, E hidden width, N rows of
a group, Q its longest row, L its longest source.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from abrazo.checkpoints.keymap import Form, Row
from abrazo.errors import ConfigError, DataError
from abrazo.heads.base import IGNORED_LABEL
from abrazo.heads.causal_lm import Seq2SeqLMHead
from abrazo.layers.cache import Cache
from abrazo.layers.cross_attention import Pairing, ReadSources, RememberedSources, Sources
from abrazo.layers.layout import Layout
from abrazo.layers.linear import Linear, rounded_up
from abrazo.layers.packing import PackedBatch
from abrazo.layers.positions import Guide, PastGuide, distances
from abrazo.models.config import ModelConfig
from abrazo.models.decoder import DecoderBackbone
from abrazo.models.family import Backbone, HeadPlan, Step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig(ModelConfig):
    """Fields that all encoder-decoders have."""

    STARTS_WITH_LAST: ClassVar[bool] = False
    """Whether the decoder first reads what its row ends with, such as the id of a language."""
    REPEATS_SOURCE: ClassVar[bool] = False
    """Whether a decoder that is given nothing reads the source, as in learning to denoise."""

    vocab_size: int = 32128
    """Number of pieces in the vocabulary."""
    pad_token_id: int | None = 0
    """The id that pads rows."""
    eos_token_id: int | list[int] | None = 1
    """The id that ends texts, or several."""
    decoder_start_token_id: int | None = 0
    """The id that the decoder reads first."""

    @property
    def target_vocab_size(self) -> int:
        """Number of pieces that the decoder writes."""
        return self.vocab_size

    def shift_right(self, labels: Tensor, layout: Layout) -> Tensor:
        """Return what the decoder reads to guess labels: each row moved on by one.

        Args:
            labels: (T,) ids; what is ignored is read as padding.
            layout: Where the rows begin and end.

        Returns:
            (T,) ids.

        Raises:
            ConfigError: The configuration does not say what the decoder reads first.
        """
        if self.STARTS_WITH_LAST:
            start = labels[torch.from_numpy(layout.offsets[1:] - 1).to(labels.device)]
        elif self.decoder_start_token_id is None:
            raise ConfigError(
                "`decoder_start_token_id` must be the id that the decoder reads first, but is "
                "None. Give it on loading, such as `decoder_start_token_id=101`, or give "
                "`decoder_input_ids` yourself."
            )
        else:
            start = labels.new_full((layout.num_rows,), self.decoder_start_token_id)
        moved = labels.roll(1).index_copy(0, layout.first_tokens, start)
        return moved.masked_fill(moved == IGNORED_LABEL, self.pad_token_id or 0)


class CrossDecoder(DecoderBackbone):
    """Base of decoders that look at what an encoder has made of a source."""

    def bias_of(self, distances: Tensor) -> Tensor | None:
        """Return (1, H, Q, L) for (Q, L) distances of keys before queries, where there is one."""
        return None

    def steps(self, batch: PackedBatch) -> Iterator[tuple[Step, Guide | None]]:
        """Yield the blocks with the sources, each with its guide and with what its rows hold."""
        sources, past = _sources(batch), batch.past
        if past is not None and not past.is_first:
            bias = self._past_bias(past)
            guide = Guide(batch.layout, is_causal=True)
        else:
            bias = None
            layout = batch.layout
            between = self.bias_of(distances(layout.max_length, layout.device))
            guide = Guide(layout, bias=between, is_causal=True)
        for number, block in enumerate(self.blocks):
            own = guide if past is None else PastGuide(guide, past.layer(number), bias)
            yield partial(block, sources=sources), own

    def _past_bias(self, past: Cache) -> Tensor | None:
        """Return what is added to the scores of new tokens against all columns."""
        hidden = past.bias()
        columns = torch.arange(past.num_columns, device=self.word_embeddings.weight.device)
        between = self.bias_of(columns[past.first_new :, None] - columns)
        if between is None or hidden is None:
            return hidden if between is None else between
        return between + hidden


def _sources(batch: PackedBatch) -> Sources:
    """Return what blocks are told of the encoder's side; a new cache will remember it."""
    past, source = batch.past, batch.source
    if past is not None and not past.is_first:
        return RememberedSources(batch.layout.num_tokens, past.source_bias)
    assert source is not None
    assert source.encoded is not None
    pairing = Pairing(batch.layout, source.layout)
    if past is not None:
        past.source_bias = source.layout.group(np.arange(source.layout.num_rows)).key_bias
    return ReadSources(rounded_up(source.encoded), pairing)


class Seq2SeqBackbone(Backbone):
    """An encoder, and a decoder that looks at what it has read."""

    def __init__(
        self, encoder: Backbone, decoder: CrossDecoder, projection: Linear | None = None
    ) -> None:
        """Join the stacks.

        Args:
            encoder: Reads sources.
            decoder: Reads rows, each with its source.
            projection: Brings the encoder's vectors to the decoder's width; None leaves them.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.projection = projection

    @property
    def embeddings(self) -> nn.Module:  # type: ignore[override]
        """The embeddings of the encoder."""
        return self.encoder.embeddings

    @property
    def stacks(self) -> Mapping[str, Backbone]:
        """Encoder and decoder, by what stands before the names of their parts."""
        return {"encoder.": self.encoder, "decoder.": self.decoder}

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """The blocks of the encoder, then those of the decoder."""
        return nn.ModuleList([*self.encoder.blocks, *self.decoder.blocks])

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The matrix that the decoder's ids look up, which heads may share."""
        return self.decoder.word_embeddings

    @property
    def max_length(self) -> int:
        """The most tokens of a source."""
        return self.encoder.max_length

    def new_cache(self, limit: int | None = None) -> Cache:
        """Return an empty cache for rows of the decoder of at most `limit` tokens."""
        return self.decoder.new_cache(limit)

    def encode(
        self,
        batch: PackedBatch,
        hidden_states: list[Tensor] | None = None,
        attentions: list[list[Tensor]] | None = None,
    ) -> PackedBatch:
        """Return a batch whose source the encoder has read; one that it has read stays.

        Args:
            batch: Rows of the decoder with their sources.
            hidden_states: As for `Backbone.forward`, of the encoder.
            attentions: As for `Backbone.forward`, of the encoder.

        Raises:
            DataError: There is no source, or not one for each row.
        """
        source = batch.source
        if source is None:
            raise DataError(
                "An encoder-decoder needs what its encoder reads: `input_ids` beside "
                "`decoder_input_ids` or `labels`, or `source` in a packed batch."
            )
        if source.encoded is not None:
            return batch
        encoded, _ = self.encoder(source, hidden_states, attentions)  # (Z, width)
        return dataclasses.replace(batch, source=dataclasses.replace(source, encoded=encoded))

    def forward(
        self,
        batch: PackedBatch,
        hidden_states: list[Tensor] | None = None,
        attentions: list[list[Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Decode a packed batch; its source is read first, unless it was or a cache remembers it.

        Args:
            batch: Rows of the decoder with their sources.
            hidden_states: As for `Backbone.forward`, of the decoder.
            attentions: Likewise; the weights of cross-attention follow those of self-attention, one
                (N, H, Q, L) tensor for each group of the `Pairing`.

        Returns:
            (T, E) vectors of the decoder's last block, and None.

        Raises:
            DataError: There is no source, or not one for each row; or a row is too long.
        """
        if batch.past is None or batch.past.is_empty:
            batch = self._projected(self.encode(batch))
        hidden, _ = self.decoder(batch, hidden_states, attentions)
        return hidden, None

    def _projected(self, batch: PackedBatch) -> PackedBatch:
        source = batch.source
        if self.projection is None or source is None or source.encoded is None:
            return batch
        encoded = self.projection(source.encoded)
        return dataclasses.replace(batch, source=dataclasses.replace(source, encoded=encoded))


AS_ONE_LINE = Form(lambda tensor: tensor.flatten(), lambda tensor: tensor[None])
"""A vector that files have as a matrix of one line."""

_OF_ENCODER, _OF_DECODER = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
SHARED_WORDS = {
    "shared.weight": (_OF_ENCODER, _OF_DECODER, "lm_head.weight"),
    _OF_ENCODER: ("shared.weight",),
    _OF_DECODER: ("shared.weight",),
}
"""Under which other names files may have words that both sides and the head share."""


def seq2seq_lm(*, has_fixed_bias: bool = False, **options: Callable[[Any], Any]) -> HeadPlan:
    """Plan a head that guesses the next word, as files of `transformers` name it.

    Args:
        has_fixed_bias: Whether a bias that is not trained is added to the scores.
        options: From the config to further arguments of `Seq2SeqLMHead`.
    """

    def build(config: Any) -> Seq2SeqLMHead:
        given = {name: of_config(config) for name, of_config in options.items()}
        width, size = config.d_model, config.target_vocab_size
        head = Seq2SeqLMHead(width, size, bias=has_fixed_bias, **given)
        if head.decoder.bias is not None:
            head.decoder.bias.requires_grad_(False)
        return head

    bias = Row("decoder.bias", "final_logits_bias", form=AS_ONE_LINE, zero_if_absent=True)
    return HeadPlan(build, lambda config: (Row("decoder.weight", "lm_head.weight"), bias))
