"""Guessing hidden words: how encoders are pretrained, and how they fill gaps in a text.

Texts longer than the model reads are cut into blocks; nothing of them is lost. Which words are
hidden is drawn anew each epoch from the seed, the epoch and the row's number.

Shapes: T tokens of a batch, N labelled tokens of it, V vocabulary, M masks of a text, K candidates.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from abrazo.data.collate import PURPOSE
from abrazo.data.masking import IGNORED, Masker
from abrazo.data.rows import RowSource
from abrazo.data.sampling import generator_for
from abrazo.errors import ConfigError, DataError, did_you_mean
from abrazo.heads.base import IGNORED_LABEL
from abrazo.layers.packing import PackedBatch
from abrazo.metrics.base import Metric
from abrazo.metrics.masked_words import MaskedWordMetrics
from abrazo.models.base import PretrainedModel
from abrazo.models.sharing import with_head
from abrazo.tasks.base import Features, Task, TaskSettings, row_name
from abrazo.tasks.columns import find_column, text_of
from abrazo.tasks.token_rows import token_columns
from abrazo.tasks.windows import Window, windows_of
from abrazo.tokenization.tokenizer import Tokenizer

TEXT_COLUMNS = ("text", "sentence", "content", "line", "document")
"""Usual names of the column with the text."""
MOST_CANDIDATES = 100
"""Candidates that are kept for each mask unless more are asked for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedLMSettings(TaskSettings):
    """How words are hidden."""

    ALIASES: ClassVar[Mapping[str, str]] = {
        "block_size": "max_length",
        "mlm_probability": "mask_probability",
        "whole_word": "whole_words",
    }

    text_column: str | None = None
    """Column of the text; found by its name unless given."""
    mask_probability: float = 0.15
    """Share of the words that are hidden."""
    whole_words: bool = False
    """Whether all pieces of a word are hidden together."""
    chinese_words: bool = False
    """Whether this holds for Chinese words too; needs `abrazo[chinese]`."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.mask_probability <= 1:
            raise ConfigError(
                f"`mask_probability` must be above 0 and at most 1, but is {self.mask_probability}."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedText:
    """A text with masks, and what may stand in their place."""

    input_ids: np.ndarray
    """The ids of the whole text, special tokens included."""
    places: np.ndarray
    """(M,) where the masks are."""
    tokens: np.ndarray
    """(M, K) ids of the candidates, the likeliest first."""
    scores: np.ndarray
    """(M, K) their probabilities."""
    tokenizer: Tokenizer
    """Turns ids into text."""

    def candidates(self, mask: int, top_k: int | None) -> list[dict[str, Any]]:
        """Return the best candidates of one mask, as `score`, `token`, `token_str`, `sequence`."""
        found = []
        for token, score in zip(self.tokens[mask][:top_k], self.scores[mask][:top_k], strict=True):
            ids = self.input_ids.copy()
            ids[self.places[mask]] = token
            found.append(
                {
                    "score": float(score),
                    "token": int(token),
                    "token_str": self.tokenizer.decode([int(token)]),
                    "sequence": self.tokenizer.decode(
                        ids.tolist(), skip_special_tokens=len(self.places) == 1
                    ),
                }
            )
        return found


class MaskedLM(Task):
    """Texts, or rows of ids, to the words that are hidden in them."""

    name = "fill-mask"
    head_name = "masked_lm"
    settings_type: ClassVar[type[TaskSettings]] = MaskedLMSettings
    settings: MaskedLMSettings
    reads_tokens = True
    call_arguments: ClassVar[tuple[str, ...]] = ("texts",)
    usual_label_column = "labels"
    logits_name: ClassVar[str] = "logits"
    """The tensor of the head that scores words."""

    def __init__(self, settings: MaskedLMSettings) -> None:
        """Take settings that leave nothing open but `max_length`."""
        self.settings = settings
        self._masker: tuple[Tokenizer, Masker] | None = None
        self._targets: tuple[int, ...] | None = None
        self._most = MOST_CANDIDATES

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find the column of the text; rows with `input_ids` need none.

        Raises:
            DataError: No column is known for the text, or all texts are empty.
        """
        assert isinstance(settings, MaskedLMSettings)
        if "input_ids" in rows.column_names:
            return cls(settings)
        column = find_column(rows.column_names, settings.text_column, TEXT_COLUMNS, "text")
        texts = (rows.rows([number])[0].get(column) for number in range(len(rows)))
        if all(isinstance(text, str) and not text.strip() for text in texts):
            raise DataError(f"Every `{column}` is empty, so there is nothing to learn.")
        return cls(settings.replace(text_column=column))

    @classmethod
    def adopt(cls, model: PretrainedModel) -> PretrainedModel:
        """Return a model that guesses words, if the model's checkpoint has the head for it."""
        trained_for = model.task_settings.get("task")
        if model.head_name in ("", "pretraining") and trained_for in (None, "pretraining"):
            return with_head(model, cls.head_name, is_known=True) or model
        return model

    def asking(self, top_k: int | None, targets: Sequence[int] | None) -> Self:
        """Return the task with other candidates: so many of them, or only some tokens.

        Args:
            top_k: Candidates of each mask; None takes the whole vocabulary.
            targets: Ids of the only candidates.

        Raises:
            ConfigError: `top_k` is below 1.
        """
        if top_k is not None and top_k < 1:
            raise ConfigError(f"`top_k` must be at least 1 or None, but is {top_k}.")
        task = copy.copy(self)
        task._targets = None if targets is None else tuple(targets)
        task._most = 2**31 if top_k is None else top_k
        return task

    # The way of a row ----------------------------------------------------------------------

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a text, or a mapping with the text's column or `text`."""
        column = self.settings.text_column or TEXT_COLUMNS[0]
        if isinstance(item, str):
            return {column: item}
        if isinstance(item, Mapping):
            if column in item or "input_ids" in item or "text" not in item:
                return item
            return {column: item["text"]}
        raise DataError(f"A text or a mapping is wanted, not {item!r:.80}.")

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Cut each text into blocks of at most `max_length` tokens.

        Without labels, long texts are read in overlapping windows, and each must have a mask.
        """
        masker = self.masker(tokenizer)
        features = (
            self._read_tokens(rows, numbers, masker, origin)
            if rows and "input_ids" in rows[0]
            else self._cut_texts(rows, numbers, tokenizer, origin, overlap=not with_labels)
        )
        if with_labels:
            return [
                feature
                if feature.label is not None
                else dataclasses.replace(
                    feature,
                    label=np.full(len(feature.input_ids), IGNORED, dtype=np.int32),
                    source=masker.words(feature.input_ids),
                )
                for feature in features
            ]
        return self._seek_masks(features, tokenizer, masker.mask_id, origin)

    def masker(self, tokenizer: Tokenizer) -> Masker:
        """Return what hides words of that tokenizer."""
        if self._masker is None or self._masker[0] is not tokenizer:
            masker = Masker(
                tokenizer,
                probability=self.settings.mask_probability,
                whole_words=self.settings.whole_words,
                chinese_words=self.settings.chinese_words,
            )
            self._masker = (tokenizer, masker)
        return self._masker[1]

    def _cut_texts(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        origin: Callable[[int], str],
        *,
        overlap: bool,
    ) -> list[Features]:
        column = self.settings.text_column or TEXT_COLUMNS[0]
        texts = [
            text_of(row, column, number, origin) for row, number in zip(rows, numbers, strict=True)
        ]
        length = self.settings.max_length or tokenizer.model_max_length
        encoded = tokenizer.encode_windows(texts, max_length=length, stride=None if overlap else 0)
        ends = encoded.offsets.tolist()
        segments = encoded.token_type_ids
        return [
            Features(
                encoded.input_ids[start:end],
                None if segments is None else segments[start:end],
                None,
                numbers[row],
                window=window,
            )
            for start, end, row, window in zip(
                ends, ends[1:], encoded.rows.tolist(), windows_of(encoded), strict=False
            )
        ]

    def _read_tokens(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        masker: Masker,
        origin: Callable[[int], str],
    ) -> list[Features]:
        """Take rows of ids as they are; those with `labels` are masked already."""
        features = []
        for row, number in zip(rows, numbers, strict=True):
            own = token_columns(row, number, origin)
            try:
                masker.words(own["input_ids"])
            except DataError as error:
                raise DataError(f"{origin(number)}: {error}") from error
            count = len(own["input_ids"])
            features.append(
                Features(
                    own["input_ids"],
                    own.get("token_type_ids"),
                    own.get("labels"),
                    number,
                    window=Window(0, 0, count, (0, count)),
                )
            )
        return features

    def _seek_masks(
        self,
        features: Sequence[Features],
        tokenizer: Tokenizer,
        mask_id: int,
        origin: Callable[[int], str],
    ) -> list[Features]:
        """Label the masks that belong to each window, so that the head scores words there alone.

        Raises:
            DataError: A text has no mask.
        """
        found, with_mask = [], set()
        for feature in features:
            assert feature.window is not None
            place = feature.window.kept_places
            is_mask = np.zeros(len(feature.input_ids), dtype=bool)
            is_mask[place] = feature.input_ids[place] == mask_id
            if is_mask.any():
                with_mask.add(feature.row)
            label = np.where(is_mask, mask_id, IGNORED).astype(np.int32)
            found.append(dataclasses.replace(feature, label=label, source=tokenizer))
        for feature in found:
            if feature.row not in with_mask:
                raise DataError(
                    f"{origin(feature.row)}: the text has no mask. Put `{tokenizer.mask_token}` "
                    "where a word is to be guessed."
                )
        return found

    def augment(self, features: list[Features], *, seed: int, epoch: int) -> list[Features]:
        """Hide words, others in each epoch."""
        generators: dict[int, np.random.Generator] = {}
        for feature in features:
            if feature.row not in generators:
                generators[feature.row] = generator_for(seed, epoch, feature.row, PURPOSE)
        return [
            feature if feature.source is None else self._hidden(feature, generators[feature.row])
            for feature in features
        ]

    def _hidden(self, feature: Features, generator: np.random.Generator) -> Features:
        assert self._masker is not None
        ids, targets = self._masker[1].mask(feature.input_ids, feature.source, generator)
        return dataclasses.replace(feature, input_ids=ids, label=targets, source=None)

    def join_labels(self, features: Sequence[Features]) -> Tensor | None:
        """Join the targets of all tokens, (T,)."""
        if features[0].label is None:
            return None
        return torch.from_numpy(np.concatenate([feature.label for feature in features]))

    # Raw texts that a model is called with -------------------------------------------------

    def rows_of_call(
        self,
        columns: Sequence[Sequence[Any]],
        labels: Sequence[Any] | None,
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """Turn texts into rows; with labels, texts without masks, into rows of ids.

        Raises:
            DataError: A text and its label are not the same but for masks; the row is named.
        """
        rows = super().rows_of_call(columns, None, tokenizer)
        if labels is None:
            return rows
        return [
            self._filled_row(row, label, number, tokenizer)
            for number, (row, label) in enumerate(zip(rows, labels, strict=True))
        ]

    def _filled_row(
        self, row: Mapping[str, Any], label: Any, number: int, tokenizer: Tokenizer
    ) -> dict[str, Any]:
        """Return the ids of a text, and at its masks the ids of the same text without masks."""
        column = self.settings.text_column or TEXT_COLUMNS[0]
        both = [text_of({column: text}, column, number, row_name) for text in (row[column], label)]
        encoded = tokenizer.encode_rows(both, max_length=self.settings.max_length)
        ids, right = np.split(encoded.input_ids, encoded.offsets[1:-1])
        is_mask = ids == self.masker(tokenizer).mask_id
        if len(ids) != len(right) or (ids[~is_mask] != right[~is_mask]).any():
            raise DataError(
                f"{row_name(number)}: the label must be the text with one token in place of each "
                f"`{tokenizer.mask_token}`, but is {label!r:.80} for {row[column]!r:.80}."
            )
        filled: dict[str, Any] = {
            "input_ids": ids.tolist(),
            "labels": np.where(is_mask, right, IGNORED).tolist(),
        }
        if encoded.token_type_ids is not None:
            filled["token_type_ids"] = encoded.token_type_ids[: len(ids)].tolist()
        return filled

    def encode_call(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
    ) -> list[Features]:
        """Cut texts into blocks, with or without masks in them."""
        if with_labels:
            return self.encode(rows, numbers, tokenizer, with_labels=True)
        return self._cut_texts(rows, numbers, tokenizer, row_name, overlap=False)

    # What the model says -------------------------------------------------------------------

    def condense(
        self, answers: dict[str, Tensor], batch: PackedBatch, *, with_labels: bool
    ) -> dict[str, Tensor]:
        """Keep (N,) loss and whether it is right, or (N, K) candidates, of the labelled tokens."""
        logits = answers[self.logits_name].float()
        if with_labels:
            assert batch.labels is not None
            targets = batch.labels[batch.labels != IGNORED_LABEL].long()
            if len(logits) != len(targets):
                logits = logits[batch.labels != IGNORED_LABEL]
            loss = F.cross_entropy(logits, targets, reduction="none")
            return {"loss": loss, "right": logits.argmax(-1) == targets}
        shares = logits.softmax(-1)  # (N, V)
        asked = None
        if self._targets is not None:
            asked = torch.tensor(self._targets, device=shares.device)
            shares = shares[:, asked]
        scores, tokens = shares.topk(min(self._most, shares.shape[-1]))
        return {"scores": scores, "tokens": tokens if asked is None else asked[tokens]}

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> Any:
        """Return the row's counts as `metrics.masked_words.COUNTS`, or its `MaskedText`."""
        if "loss" in outputs[0]:
            return sum(
                np.array([found["loss"].sum(), found["right"].sum(), len(found["loss"])])
                for found in outputs
            )
        return _joined_text(features, outputs)

    def row_label(self, features: Sequence[Features]) -> Any:
        """Return how many words of the row are hidden."""
        labels = [feature.label for feature in features if feature.label is not None]
        return int(sum((label != IGNORED).sum() for label in labels))

    def answer(self, prediction: Any, *, top_k: int | None = 1) -> Any:
        """Return the best candidates of the mask, or for each of several masks.

        Each is `{score, token, token_str, sequence}`; there are `MOST_CANDIDATES` at most unless
        `asking` was told otherwise.
        """
        masks = [prediction.candidates(m, top_k) for m in range(len(prediction.places))]
        return masks[0] if len(masks) == 1 else masks

    def new_metrics(self) -> Metric:
        """Return counters of guessed words."""
        return MaskedWordMetrics()


def find_targets(tokenizer: Tokenizer, targets: str | Sequence[str]) -> list[int]:
    """Return the ids of words that may fill a mask.

    Raises:
        DataError: There is no word, or one of them is no single token.
    """
    words = [targets] if isinstance(targets, str) else list(targets)
    vocabulary = tokenizer.get_vocab()
    ids, problems = [], []
    for word in words:
        tokens = [word] if word in vocabulary else tokenizer.tokenize(word)
        if len(tokens) != 1 or tokens[0] == tokenizer.unk_token:
            made = f" (it is cut into {', '.join(tokens)})" if len(tokens) > 1 else ""
            hint = did_you_mean(word, vocabulary)
            problems.append(f"`targets`: {word!r} is not one token of the vocabulary{made}.{hint}")
        else:
            ids.append(vocabulary[tokens[0]])
    if problems or not words:
        raise DataError("\n".join(problems) or "`targets` names no word.")
    return list(dict.fromkeys(ids))


def _joined_text(
    features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
) -> MaskedText:
    """Put the windows of a text together again."""
    first, last = features[0], features[-1]
    assert first.window is not None
    assert last.window is not None
    pieces = [first.input_ids[: first.window.kept_places.start]]
    places, length = [], len(pieces[0])
    for feature in features:
        assert feature.window is not None
        kept = feature.window.kept_places
        pieces.append(feature.input_ids[kept])
        places.append(np.flatnonzero(feature.label != IGNORED) - kept.start + length)
        length += kept.stop - kept.start
    pieces.append(last.input_ids[last.window.kept_places.stop :])
    return MaskedText(
        np.concatenate(pieces),
        np.concatenate(places),
        np.concatenate([found["tokens"] for found in outputs]),
        np.concatenate([found["scores"] for found in outputs]),
        first.source,
    )
