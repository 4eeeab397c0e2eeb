"""What a model gives back: dataclasses that also unpack in order and answer to names."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, Self

from torch import Tensor


@dataclasses.dataclass(kw_only=True)
class ModelOutput:
    """Base of all outputs. Fields that were not computed are `None` and left out when unpacking."""

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the computed fields, in order."""
        return tuple(self)

    def keys(self) -> list[str]:
        """Return the names of the computed fields, in order."""
        names = [field.name for field in dataclasses.fields(self)]
        return [name for name in names if getattr(self, name) is not None]

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, name) for name in self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(f"`{key}` is not in this output; it has {', '.join(self.keys())}.")
            return getattr(self, key)
        return self.to_tuple()[key]


@dataclasses.dataclass(kw_only=True)
class BackboneOutput(ModelOutput):
    """What a bare backbone gives back.

    Shapes for a padded call; a packed call has (tokens, width) in place of (rows, columns, width).
    """

    last_hidden_state: Tensor
    """(rows, columns, width) vectors of the last block."""
    pooler_output: Tensor | None = None
    """(rows, width) one vector a row, where the backbone has a pooler."""
    hidden_states: tuple[Tensor, ...] | None = None
    """(rows, columns, width) after the embeddings and after each block, when asked for."""
    attentions: tuple[Tensor, ...] | None = None
    """(rows, heads, columns, columns) of each block, when asked for."""

    def __post_init__(self) -> None:
        self._score_words: Callable[[], Tensor] | None = None

    def scored_by(self, score_words: Callable[[], Tensor]) -> Self:
        """Take what computes `logits` when they are first read."""
        self._score_words = functools.cache(score_words)
        return self

    @property
    def logits(self) -> Tensor:
        """(rows, columns, vocabulary) scores of words, where the checkpoint has a head for them.

        Raises:
            AttributeError: It has none.
        """
        if self._score_words is None:
            raise AttributeError("This output has no `logits`: the model has no head.")
        return self._score_words()


@dataclasses.dataclass(kw_only=True)
class SequenceClassifierOutput(ModelOutput):
    """One line of logits for each row."""

    loss: Tensor | None = None
    """Mean loss, when labels were given."""
    logits: Tensor
    """(rows, labels) scores before softmax."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(kw_only=True)
class MaskedLMOutput(ModelOutput):
    """One line of logits for each token."""

    loss: Tensor | None = None
    """Mean loss over the labelled tokens, when labels were given."""
    logits: Tensor
    """(rows, columns, vocabulary) scores; of labelled tokens alone in a packed call with labels."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(kw_only=True)
class CausalLMOutput(ModelOutput):
    """One line of logits for each token, about the next one."""

    loss: Tensor | None = None
    """Mean loss over the tokens that have something to guess, when labels were given."""
    logits: Tensor
    """(rows, columns, vocabulary) scores; in a packed call with labels only of the tokens that have
    something to guess, and (rows, vocabulary) of the last tokens where rows are gone on with."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(kw_only=True)
class NextSentencePredictorOutput(ModelOutput):
    """Two logits for each row: follows, or random."""

    loss: Tensor | None = None
    logits: Tensor
    """(rows, 2) scores before softmax."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(kw_only=True)
class PreTrainingOutput(ModelOutput):
    """Masked words and next sentence together."""

    loss: Tensor | None = None
    """Sum of the two mean losses, when both kinds of labels were given."""
    prediction_logits: Tensor
    """(rows, columns, vocabulary) scores; of labelled tokens alone in a packed call with labels."""
    seq_relationship_logits: Tensor
    """(rows, 2) scores."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(kw_only=True)
class TokenClassifierOutput(ModelOutput):
    """One line of logits for each token."""

    loss: Tensor | None = None
    """Mean loss over the labelled tokens, when labels were given."""
    logits: Tensor
    """(rows, columns, labels) scores before softmax."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(kw_only=True)
class QuestionAnsweringOutput(ModelOutput):
    """How likely the answer starts, and ends, at each token."""

    loss: Tensor | None = None
    """Mean of the losses of start and end, when positions were given."""
    start_logits: Tensor
    """(rows, columns) scores before softmax over the row."""
    end_logits: Tensor
    """(rows, columns) scores before softmax over the row."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(kw_only=True)
class Seq2SeqModelOutput(ModelOutput):
    """What a bare encoder-decoder gives back.

    Shapes for a padded call; in a packed call all that is (rows, columns, width) has no padding,
    and what the encoder gave last is left out.
    """

    last_hidden_state: Tensor
    """(rows, columns, width) vectors of the decoder's last block."""
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    """(rows, columns, width) after the decoder's embeddings and each block, when asked for."""
    decoder_attentions: tuple[Tensor, ...] | None = None
    """(rows, heads, columns, columns) of each block of the decoder, when asked for."""
    cross_attentions: tuple[Tensor, ...] | None = None
    """(rows, heads, columns, columns of sources) of each block of the decoder, when asked for."""
    encoder_last_hidden_state: Tensor | None = None
    """(rows, columns of sources, width) what the encoder made of the sources."""
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    """(rows, columns of sources, width) like `decoder_hidden_states`."""
    encoder_attentions: tuple[Tensor, ...] | None = None
    """(rows, heads, columns of sources, columns of sources) of each block of the encoder."""


@dataclasses.dataclass(kw_only=True)
class Seq2SeqLMOutput(ModelOutput):
    """One line of logits for each token of the decoder, about the next one.

    Fields without a description are those of `Seq2SeqModelOutput`.
    """

    loss: Tensor | None = None
    """Mean loss over the labelled tokens, when labels were given."""
    logits: Tensor
    """(rows, columns, vocabulary) scores; of labelled tokens alone in a packed call with labels,
    and (rows, vocabulary) of the last tokens where rows are gone on with."""
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None
