"""Calls of encoder-decoders, with rows of either side.

    output = model(input_ids, attention_mask, labels=labels)       # padded in, padded out
    output = model(PackedBatch(..., source=PackedBatch(...)))      # packed in, packed out

Shapes: B rows, S padded columns of sources, C padded columns of the decoder's rows, T tokens of
these rows, Z tokens of all sources, E hidden width, H heads.
"""

import dataclasses
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from abrazo.checkpoints.folder import WeightFiles
from abrazo.errors import DataError
from abrazo.heads.base import IGNORED_LABEL, Encoded, Loss
from abrazo.heads.outputs import ModelOutput, Seq2SeqModelOutput
from abrazo.layers.cross_attention import Pairing
from abrazo.layers.embeddings import OTHER_TOKENIZER, check_range
from abrazo.layers.packing import PackedBatch, Padding, pack
from abrazo.models.base import PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.seq2seq import Seq2SeqBackbone, Seq2SeqConfig

HEAD_WORDS = "lm_head.weight"
"""The head's own matrix in files, where it does not share the words of the decoder."""
_DECODER_WORDS = ("decoder.embed_tokens.weight", "shared.weight", "encoder.embed_tokens.weight")
"""What the words of the decoder are called in files, the surest name first."""


class Seq2SeqModel(PretrainedModel):
    """Base of all encoder-decoders."""

    config: Seq2SeqConfig
    backbone: Seq2SeqBackbone

    @classmethod
    def config_for(cls, config: ModelConfig, weights: WeightFiles) -> ModelConfig:
        """Return the configuration as the files have it: one of their own goes before sharing.

        `transformers` since 5.0 writes `tie_word_embeddings: true` also where the head has a matrix
        of its own, and looks at the files.
        """
        plain = {name.removeprefix(cls.family.prefix): name for name in weights.names()}
        words = next((plain[name] for name in _DECODER_WORDS if name in plain), None)
        if words is None or HEAD_WORDS not in plain or not config.tie_word_embeddings:
            return config
        if torch.equal(weights.tensor(words), weights.tensor(HEAD_WORDS)):
            return config
        return config.replace(tie_word_embeddings=False)

    def forward(  # type: ignore[override]  # sources go with rows of the decoder
        self,
        input_ids: Tensor | PackedBatch | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        labels: Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> ModelOutput:
        """Compute the output of a batch, and its loss where there are labels.

        Args:
            input_ids: (B, S) ids of the sources, or a `PackedBatch`, which carries all the rest.
            attention_mask: (B, S) with 1 at tokens and 0 at padding; None takes all as tokens.
            decoder_input_ids: (B, C) what the decoder reads; None moves the labels on by one.
            decoder_attention_mask: (B, C) like `attention_mask`.
            encoder_outputs: What the encoder has made of the sources, (B, S, width), or an output
                or a tuple that begins with it; the encoder is then not asked.
            labels: (B, C) what each token of the decoder is to guess, -100 where nothing.
            token_type_ids: (B, S) segments of the sources, in encoders that have them.
            output_hidden_states: Whether to return the vectors after each block.
            output_attentions: Whether to return the attention weights of each block.

        Raises:
            DataError: Shapes do not fit, a row is empty or too long, an id is out of range, or
                there is no source or nothing for the decoder.
        """
        output_of = partial(
            self.output_of,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        if isinstance(input_ids, PackedBatch):
            return output_of(input_ids, None)[0]
        source, source_padding = self._pack_source(
            input_ids, attention_mask, token_type_ids, encoder_outputs
        )
        if decoder_input_ids is None and labels is None and self.config.REPEATS_SOURCE:
            decoder_input_ids, decoder_attention_mask = self._repeated(source, source_padding)
        batch, padding = self._pack_target(decoder_input_ids, decoder_attention_mask, labels)
        batch.source = source
        return output_of(batch, padding, source_padding=source_padding)[0]

    def _pack_source(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        encoder_outputs: Any,
    ) -> tuple[PackedBatch, Padding]:
        encoded = encoder_outputs
        if encoded is not None and not isinstance(encoded, Tensor):
            encoded = encoded[0]
        if input_ids is None and encoded is None:
            raise DataError(
                "An encoder-decoder needs what its encoder reads: give `input_ids`, or "
                "`encoder_outputs` that were computed before."
            )
        if input_ids is None:  # what stands there is not read
            input_ids = torch.zeros(encoded.shape[:2], dtype=torch.long, device=encoded.device)
        source, padding = pack(input_ids, attention_mask, token_type_ids)
        if not self.backbone.encoder.counts_columns:
            source.position_ids = None
        if encoded is not None:
            if encoded.dim() != 3 or encoded.shape[-1] != self.config.width:
                raise DataError(
                    f"`encoder_outputs` must have the shape (rows, columns, {self.config.width}), "
                    f"but have {tuple(encoded.shape)}."
                )
            source.encoded = padding.pack(encoded)
        return source, padding

    def _repeated(self, source: PackedBatch, padding: Padding) -> tuple[Tensor, Tensor]:
        """Return the source, moved on by one, as what the decoder reads, and its mask."""
        moved = self.config.shift_right(source.input_ids, source.layout)
        return padding.pad(moved), padding.kept

    def _pack_target(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, labels: Tensor | None
    ) -> tuple[PackedBatch, Padding]:
        if labels is not None:
            labels = torch.atleast_2d(labels)
            self._check_labels(labels)
        if input_ids is None and labels is None:
            raise DataError("The decoder needs something to read: `decoder_input_ids` or `labels`.")
        if input_ids is None:
            assert labels is not None
            padding = Padding(_up_to_last(labels) if attention_mask is None else attention_mask)
            packed = padding.pack(labels)
            moved = self.config.shift_right(packed, padding.layout)
            batch = PackedBatch(input_ids=moved, layout=padding.layout, labels=packed)
            batch.position_ids = padding.column_of_token
        else:
            batch, padding = pack(input_ids, attention_mask, None)
            if labels is not None:
                batch.labels = padding.pack(labels)
        if not self.backbone.decoder.counts_columns:
            batch.position_ids = None
        return batch, padding

    def _check_labels(self, labels: Tensor) -> None:
        """Check that labels are words that the decoder writes.

        Raises:
            DataError: One is not.
        """
        if labels.is_cuda or torch.compiler.is_compiling():
            return  # reading the extremes would wait for the GPU
        words = labels[labels != IGNORED_LABEL]
        if len(words):
            check_range("Labels", words, self.config.target_vocab_size, OTHER_TOKENIZER)

    def output_of(
        self,
        batch: PackedBatch,
        padding: Padding | None,
        *,
        source_padding: Padding | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> tuple[ModelOutput, Loss | None]:
        """Compute the output of a packed batch, and its loss as a sum and a count.

        Args:
            batch: Rows of the decoder with their sources.
            padding: Where the output's tokens stand in a padded one; None leaves them packed.
            source_padding: The same for sources; None pads them on the right.
            output_hidden_states: As in `forward`.
            output_attentions: As in `forward`.

        Raises:
            DataError: There is no source; or attention weights are asked for in a packed call.
        """
        of_encoder, of_decoder = (
            _Trace.wanted(output_hidden_states, output_attentions) for _ in range(2)
        )
        if batch.past is None or batch.past.is_empty:
            batch = self.backbone.encode(batch, of_encoder.hidden_states, of_encoder.attentions)
        hidden, _ = self.backbone(batch, of_decoder.hidden_states, of_decoder.attentions)
        if padding is None:
            extras = _packed_extras(of_encoder, of_decoder)
        else:
            assert batch.source is not None
            source_padding = source_padding or Padding.of_layout(batch.source.layout)
            extras = _padded_extras(of_encoder, of_decoder, batch.source, padding, source_padding)
        if self.head is None:
            shown = hidden if padding is None else padding.pad(hidden)
            return Seq2SeqModelOutput(last_hidden_state=shown, **extras), None
        answers = self.head(Encoded(hidden, None, batch, is_packed_call=padding is None))
        loss = self.head.loss(answers, batch)
        if padding is not None:
            answers = {name: padding.pad(value) for name, value in answers.items()}
        mean = None if loss is None else loss.mean
        return self.head.output(loss=mean, **answers, **extras), loss  # type: ignore[call-arg]


@dataclasses.dataclass
class _Trace:
    """What a stack tells of its inner states."""

    hidden_states: list[Tensor] | None
    attentions: list[list[Tensor]] | None

    @classmethod
    def wanted(cls, hidden_states: bool, attentions: bool) -> Self:
        return cls([] if hidden_states else None, [] if attentions else None)


def _packed_extras(encoder: _Trace, decoder: _Trace) -> dict[str, Any]:
    """Return the inner states as callers of packed batches get them.

    Raises:
        DataError: Attention weights are asked for, which have no rectangle here.
    """
    if decoder.attentions is not None:
        raise DataError("`output_attentions` needs padded `input_ids`, not a packed batch.")
    states = {
        "encoder_hidden_states": encoder.hidden_states,
        "decoder_hidden_states": decoder.hidden_states,
    }
    return {name: tuple(value) for name, value in states.items() if value}


def _padded_extras(
    encoder: _Trace,
    decoder: _Trace,
    source: PackedBatch,
    padding: Padding,
    source_padding: Padding,
) -> dict[str, Any]:
    """Return what the encoder gave, and inner states, as callers of padded batches get them."""
    assert source.encoded is not None
    extras: dict[str, Any] = {"encoder_last_hidden_state": source_padding.pad(source.encoded)}
    if encoder.hidden_states:
        extras["encoder_hidden_states"] = tuple(map(source_padding.pad, encoder.hidden_states))
    if decoder.hidden_states:
        extras["decoder_hidden_states"] = tuple(map(padding.pad, decoder.hidden_states))
    if encoder.attentions:
        extras["encoder_attentions"] = tuple(map(source_padding.pad_pairs, encoder.attentions))
    if decoder.attentions:
        own = len(padding.layout.groups)  # the weights of cross-attention follow
        among = [weights[:own] for weights in decoder.attentions]
        across = [weights[own:] for weights in decoder.attentions]
        extras["decoder_attentions"] = tuple(map(padding.pad_pairs, among))
        extras["cross_attentions"] = tuple(
            _pad_across(weights, padding, source_padding) for weights in across
        )
    return extras


def _pad_across(grouped: list[Tensor], target: Padding, source: Padding) -> Tensor:
    """Turn one (N, H, Q, L) tensor a group of the pairing into (B, H, C, S)."""
    whole = grouped[0].new_zeros(
        target.shape[0], grouped[0].shape[1], target.shape[1], source.shape[1]
    )
    columns, seen = (
        padding.column_of_token.split(padding.layout.lengths.tolist())
        for padding in (target, source)
    )
    pairing = Pairing(target.layout, source.layout)
    for (group, _), weights in zip(pairing.groups, grouped, strict=True):
        for place, row in enumerate(group.rows.tolist()):
            at, to = columns[row], seen[row]
            whole[row, :, at[:, None], to] = weights[place, :, : len(at), : len(to)]
    return whole


def _up_to_last(labels: Tensor) -> Tensor:
    """Return (B, C) which columns of labels hold a row: all up to its last label, and the first."""
    columns = torch.arange(1, labels.shape[1] + 1, device=labels.device)
    length = (columns * (labels != IGNORED_LABEL)).amax(1, keepdim=True).clamp(min=1)
    return columns <= length
