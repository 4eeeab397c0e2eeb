"""Text generation: a decoder learns texts, prompts with answers, or conversations, and goes on.

What is learned: of plain texts every word, of prompts and conversations the answers alone. Texts
longer than the model reads are learned in blocks, one after the other.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError
from abrazo.generation.decoding import prompt_ids
from abrazo.heads.base import IGNORED_LABEL
from abrazo.heads.causal_lm import next_labels
from abrazo.layers.packing import PackedBatch
from abrazo.metrics.base import Metric
from abrazo.metrics.perplexity import PerplexityMetrics
from abrazo.models.auto import load_to_write
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Features, TaskSettings, row_name
from abrazo.tasks.columns import find_column, text_of
from abrazo.tasks.conversations import Message, in_template, learned_conversation, messages_of
from abrazo.tasks.token_rows import token_columns
from abrazo.tasks.writing import WritingSettings, WritingTask
from abrazo.tasks.written import (
    WRITTEN,
    Request,
    WrittenText,
    continuation,
    counts_of,
    scored_tokens,
)
from abrazo.tokenization.tokenizer import Tokenizer

TEXT_COLUMNS = ("text", "content", "sentence", "document", "story", "poem")
MESSAGES_COLUMNS = ("messages", "conversation", "conversations")
PROMPT_COLUMNS = ("prompt", "instruction", "question", "source", "input")
COMPLETION_COLUMNS = ("completion", "response", "answer", "output", "target")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextGenerationSettings(WritingSettings):
    """Which columns are read, and how is written."""

    text_column: str | None = None
    """Column of plain texts; found by its name unless given."""
    messages_column: str | None = None
    """Column of conversations: lists of messages with `role` and `content`."""
    prompt_column: str | None = None
    """Column of what is answered; found by its name unless given."""
    completion_column: str | None = None
    """Column of the answers to learn; found by its name unless given."""
    ends_texts: bool = True
    """Whether a text to learn ends with the token that ends texts."""
    return_full_text: bool = True
    """Whether answers begin with the prompt."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Prompt:
    """What a task remembers of a row that is gone on with."""

    given: str | Sequence[Message]
    """The prompt, or the conversation so far."""
    tokenizer: Tokenizer


class TextGeneration(WritingTask):
    """Texts to learn, or prompts to go on from."""

    name = "text-generation"
    head_name = "causal_lm"
    stand_ins = ("masked_lm",)
    settings_type: ClassVar[type[TaskSettings]] = TextGenerationSettings
    settings: TextGenerationSettings
    reads_tokens = True
    usual_label_column = "labels"

    def __init__(self, settings: TextGenerationSettings) -> None:
        """Take settings that leave nothing open but `max_length`."""
        self.settings = settings
        self._fills_masks = False

    @classmethod
    def load_to_serve(cls, name_or_path: str | Path, **options: Any) -> PretrainedModel:
        """Load a model that goes on word by word, or that fills masks where it knows no more."""
        return load_to_write(name_or_path, **options)

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find the columns: messages, or prompt and completion, or text; rows of ids need none."""
        assert isinstance(settings, TextGenerationSettings)
        columns = rows.column_names
        if "input_ids" in columns:
            return cls(settings)
        given = settings
        if (given.prompt_column is None) != (given.completion_column is None):
            raise ConfigError("`prompt_column` and `completion_column` go together; give both.")
        if given.text_column is None and given.prompt_column is None:
            messages = find_column(
                columns, given.messages_column, MESSAGES_COLUMNS, "messages", is_optional=True
            )
            if messages is not None:
                return cls(settings.replace(messages_column=messages))
        if given.text_column is None:
            prompt = find_column(
                columns, given.prompt_column, PROMPT_COLUMNS, "prompt", is_optional=True
            )
            completion = find_column(
                [column for column in columns if column != prompt],
                given.completion_column,
                COMPLETION_COLUMNS,
                "completion",
                is_optional=True,
            )
            if prompt is not None and completion is not None:
                return cls(settings.replace(prompt_column=prompt, completion_column=completion))
            if prompt is not None and not set(columns) & set(TEXT_COLUMNS):
                raise DataError(
                    f"There are prompts in `{prompt}`, but no column of answers to learn. Name it "
                    f"with `completion_column=...`, or learn all of the prompts as texts: "
                    f"`text_column={prompt!r}`."
                )
        text = find_column(columns, given.text_column, TEXT_COLUMNS, "text")
        return cls(settings.replace(text_column=text))

    def fit_length(self, model: PretrainedModel) -> None:
        """Settle how long texts may be: at least two tokens, one to read and one to guess.

        Raises:
            ConfigError: The settings ask for less, or for more than the model reads.
        """
        wanted = self.settings.max_length
        if wanted is not None and wanted < 2:
            raise ConfigError(f"`max_length` must be at least 2, but is {wanted}.")
        super().fit_length(model)
        self._fills_masks = model.head_name in self.stand_ins

    def prepare_model(self, model: PretrainedModel) -> None:
        """Settle the length of rows, and what ends the texts that will be written."""
        super().prepare_model(model)
        options, tokenizer = model.generation_config, model.tokenizer
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        if self.settings.ends_texts and not options.end_ids and end is not None:
            model.generation_config = options.replace(eos_token_id=end)

    # The way of a row ----------------------------------------------------------------------

    @property
    def messages_column(self) -> str:
        """The column of conversations."""
        return self.settings.messages_column or MESSAGES_COLUMNS[0]

    def prompt_column(self, row: Mapping[str, Any]) -> str:
        """Return the column of what is gone on from; by its name where the settings are open."""
        given = self.settings.prompt_column or self.settings.text_column
        usual = (*TEXT_COLUMNS, *PROMPT_COLUMNS)
        return given or next((name for name in usual if name in row), usual[0])

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a text, a conversation, or a mapping with one of the columns."""
        if isinstance(item, str):
            return {self.prompt_column({}): item}
        if isinstance(item, Mapping):
            if "role" in item:
                return {self.messages_column: [item]}
            return item
        if isinstance(item, Sequence) and all(isinstance(part, Mapping) for part in item):
            return {self.messages_column: list(item)}
        raise DataError(f"A text, a conversation or a mapping is wanted, not {item!r:.80}.")

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Turn rows into blocks to learn or, without labels, into prompts to go on from.

        Raises:
            ConfigError: Texts are to be scored by a model that fills masks.
            DataError: A text is missing or empty, a conversation is none, or a prompt is longer
                than the model reads; the row is named.
        """
        if with_labels and self._fills_masks:
            raise ConfigError(
                "The model writes by filling masks and has not learned which word follows, so it "
                f"cannot be evaluated on {self.name!r}. Evaluate it on 'fill-mask', or train it."
            )
        if rows and "input_ids" in rows[0]:
            pairs = zip(rows, numbers, strict=True)
            return [_read_tokens(token_columns(row, n, origin), n) for row, n in pairs]
        if not with_labels:
            return self._prompts(rows, numbers, tokenizer, origin)
        features = []
        for (ids, labels), number in zip(
            self._texts(rows, numbers, tokenizer, origin), numbers, strict=True
        ):
            features += self._blocks(ids, labels, number, origin)
        return features

    def _texts(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        origin: Callable[[int], str],
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return ids and labels of whole rows."""
        settings = self.settings
        if settings.messages_column is not None:
            return [
                learned_conversation(row, settings.messages_column, number, tokenizer, origin)
                for row, number in zip(rows, numbers, strict=True)
            ]
        pairs = list(zip(rows, numbers, strict=True))
        if settings.prompt_column is None or settings.completion_column is None:
            column = settings.text_column or TEXT_COLUMNS[0]
            texts = [text_of(row, column, n, origin, may_be_empty=False) for row, n in pairs]
            return [(ids, ids) for ids in self._ended(texts, tokenizer)]
        prompts = [text_of(row, settings.prompt_column, n, origin) for row, n in pairs]
        answers = [
            text_of(row, settings.completion_column, n, origin, may_be_empty=False)
            for row, n in pairs
        ]
        asked = prompt_ids(prompts, tokenizer)
        whole = self._ended([p + a for p, a in zip(prompts, answers, strict=True)], tokenizer)
        found = []
        for before, ids in zip(asked, whole, strict=True):
            labels = ids.copy()
            labels[: _common(before, ids)] = IGNORED_LABEL
            found.append((ids, labels))
        return found

    def _ended(self, texts: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
        """Return the ids of texts to learn, with the token that ends texts."""
        encoded = tokenizer.encode_rows(texts, max_length=None)
        ids = np.split(encoded.input_ids, encoded.offsets[1:-1])
        end = tokenizer.eos_token_id
        if end is None or not self.settings.ends_texts:
            return ids
        return [each if len(each) and each[-1] == end else np.append(each, end) for each in ids]

    def _blocks(
        self,
        ids: np.ndarray,
        labels: np.ndarray,
        number: int,
        origin: Callable[[int], str],
    ) -> list[Features]:
        """Cut a row into blocks that the model can read; the last has two tokens at least."""
        length = self.settings.max_length
        assert length is not None
        if len(ids) < 2:
            raise DataError(
                f"{origin(number)}: there is nothing to guess in a text of one token. Leave it out."
            )
        starts = list(range(0, len(ids), length))
        if len(ids) - starts[-1] < 2:
            starts[-1] -= 1  # a token alone has none before it that it could be guessed from
        blocks, unread = [], 0
        for start in starts:
            part = slice(start, start + length)
            label = labels[part].astype(np.int32)
            if (label[1:] == IGNORED_LABEL).all():  # of a prompt that is longer than the model
                unread += len(label)
                continue
            blocks.append(Features(ids[part].astype(np.int32), None, label, number, unread))
            unread = 0
        if not blocks:
            raise DataError(
                f"{origin(number)}: there is nothing to learn: the answer has no token that "
                "follows another one within what the model reads. Leave it out."
            )
        return blocks

    def _prompts(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        origin: Callable[[int], str],
    ) -> list[Features]:
        features = []
        for row, number in zip(rows, numbers, strict=True):
            given: str | Sequence[Message]
            column = self.prompt_column(row)
            if self.messages_column in row and column not in row:
                given = messages_of(row, self.messages_column, number, origin, tokenizer)
                chat = in_template(given, tokenizer, origin(number), add_generation_prompt=True)
                ids = np.array(chat["input_ids"], np.int32)
            else:
                given = text_of(row, column, number, origin)
                (ids,) = prompt_ids([given], tokenizer)
            self._require_room(len(ids), origin(number))
            features.append(Features(ids, None, None, number, source=_Prompt(given, tokenizer)))
        return features

    def _require_room(self, num_tokens: int, where: str) -> None:
        """Check that a prompt is there, and leaves room for what is to be written.

        Raises:
            DataError: It is empty, or too long.
        """
        length, options = self.settings.max_length, self.settings.generation
        assert length is not None
        if not num_tokens:
            raise DataError(
                f"{where}: the prompt is empty, and the tokenizer has no token that begins texts. "
                "Give at least one word."
            )
        if num_tokens >= length:
            raise DataError(
                f"{where}: the prompt has {num_tokens} tokens, and the model reads at most "
                f"{length} with what it writes. Shorten the prompt."
            )
        wished = options.get("max_new_tokens") or 0
        if num_tokens + wished > length:
            raise DataError(
                f"{where}: the prompt has {num_tokens} tokens and `max_new_tokens={wished}` more "
                f"are asked for, but the model reads at most {length}. Shorten the prompt or lower "
                "`max_new_tokens`."
            )
        most = options.get("max_length")
        if most is not None and num_tokens >= most:
            raise DataError(
                f"{where}: the prompt has {num_tokens} tokens, so `max_length={most}` leaves no "
                "room for a word. Raise it, or give `max_new_tokens`, which counts new words alone."
            )

    def join_labels(self, features: Sequence[Features]) -> Tensor | None:
        """Join the labels of all tokens, (T,)."""
        if features[0].label is None:
            return None
        return torch.from_numpy(np.concatenate([feature.label for feature in features]))

    # What the model writes -----------------------------------------------------------------

    def requests(self, features: Features) -> list[Request]:
        """Return what is to be written for a row: nothing where its text is known."""
        return [] if features.label is not None else [Request(features.input_ids)]

    def condense(
        self, answers: dict[str, Tensor], batch: PackedBatch, *, with_labels: bool
    ) -> dict[str, Tensor]:
        """Keep (N,) loss and whether it is right of the tokens that have something to guess."""
        return scored_tokens(answers["logits"], next_labels(batch))

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> Any:
        """Return counts of a text that is known, or what was written to a prompt."""
        if WRITTEN not in outputs[0]:
            return sum(counts for output in outputs if (counts := counts_of(output)) is not None)
        prompt: _Prompt = features[0].source
        (writings,) = outputs[0][WRITTEN].tolist()
        texts = [continuation(features[0].input_ids, w.ids, prompt.tokenizer) for w in writings]
        return WrittenText([self._full(prompt, t) for t in texts], [w.score for w in writings])

    def _full(self, prompt: _Prompt, text: str) -> Any:
        """Return an answer with what it answers, if wished."""
        if not self.settings.return_full_text:
            return text
        if isinstance(prompt.given, str):
            return prompt.given + text
        return [*prompt.given, {"role": "assistant", "content": text}]

    def row_label(self, features: Sequence[Features]) -> Any:
        """Return how many tokens of the row are to be guessed."""
        labels = [feature.label for feature in features if feature.label is not None]
        return int(sum((label[1:] != IGNORED_LABEL).sum() for label in labels))

    def new_metrics(self) -> Metric:
        """Return counters of how well words are foreseen."""
        return PerplexityMetrics()


def _common(first: np.ndarray, second: np.ndarray) -> int:
    """Return how many ids two rows begin with in common."""
    length = min(len(first), len(second))
    differs = first[:length] != second[:length]
    return int(differs.argmax()) if differs.any() else length


def _read_tokens(columns: Mapping[str, np.ndarray], number: int) -> Features:
    """Take ids as they are; without labels, all of them are learned."""
    ids = columns["input_ids"]
    return Features(ids, None, columns.get("labels", ids), number)
