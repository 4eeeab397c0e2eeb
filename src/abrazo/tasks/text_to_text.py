"""Text to text: what an encoder reads, a decoder writes anew.

Translation and summarisation are this task with other columns and answers. Sources longer than
the model reads are cut in pieces at the ends of sentences, and what is written for them is joined.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError
from abrazo.generation.config import GenerationConfig
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.metrics.base import Metric, MetricGroup
from abrazo.metrics.summaries import RougeMetrics
from abrazo.metrics.translation import BleuMetrics, ChrfMetrics
from abrazo.models.base import PretrainedModel
from abrazo.models.seq2seq import Seq2SeqConfig
from abrazo.models.seq2seq_model import Seq2SeqModel
from abrazo.tasks.base import Features, TaskSettings, row_name
from abrazo.tasks.columns import find_column, text_of, texts_of
from abrazo.tasks.pieces import Piece, read_in_pieces
from abrazo.tasks.writing import (
    MOST_NEW_TOKENS,
    WritingSettings,
    WritingTask,
    names_limit,
    require_writable,
)
from abrazo.tasks.written import (
    WRITTEN,
    Request,
    WrittenText,
    as_objects,
    counts_of,
    scored_tokens,
    written_text,
)
from abrazo.tokenization.tokenizer import Tokenizer

SOURCE_COLUMNS = ("source", "input", "text", "src", "document", "article", "question")
TARGET_COLUMNS = ("target", "output", "tgt", "summary", "translation", "response", "answer")
REFERENCES_COLUMNS = ("references", "all_references", "all_targets")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextToTextSettings(WritingSettings):
    """Which columns are read, and how is written."""

    ALIASES: ClassVar[Mapping[str, str]] = {
        "src_lang": "source_language",
        "tgt_lang": "target_language",
    }

    source_column: str | None = None
    """Column of the text that is read; found by its name unless given."""
    target_column: str | None = None
    """Column of the text that is to be written; found by its name unless given. Where it holds
    lists, the first text is learned and evaluation compares with all of them."""
    references_column: str | None = None
    """Column of lists of texts that evaluation compares with instead; found by its name unless
    given, and rows need not have it."""
    prefix: str = ""
    """What is put before each text that is read, as T5 was taught."""
    source_language: str | None = None
    """Language of what is read, in models with several."""
    target_language: str | None = None
    """Language of what is written, in models with several."""
    max_target_length: int | None = None
    """The most tokens of a text to learn; None takes what the model can write."""
    writes_in_evaluation: bool = True
    """Whether evaluation writes every text, to compare it; else there is only the loss."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.max_target_length is not None and self.max_target_length < 2:
            raise ConfigError(
                f"`max_target_length` must be at least 2, but is {self.max_target_length}."
            )
        super().__post_init__()


@dataclasses.dataclass(frozen=True, eq=False)
class _Source:
    """What a task remembers of a row."""

    pieces: Sequence[Piece]
    """The source, whole or in pieces."""
    ids: Sequence[np.ndarray]
    """The ids of each piece."""
    references: Sequence[str]
    """The texts that are right, where they are known."""
    tokenizer: Tokenizer


class TextToText(WritingTask):
    """A text to another one."""

    name = "text2text-generation"
    head_name = "seq2seq_lm"
    settings_type: ClassVar[type[TaskSettings]] = TextToTextSettings
    settings: TextToTextSettings
    source_columns: ClassVar[tuple[str, ...]] = SOURCE_COLUMNS
    """Usual names of the column that is read."""
    target_columns: ClassVar[tuple[str, ...]] = TARGET_COLUMNS
    """Usual names of the column that is to be written."""
    references_columns: ClassVar[tuple[str, ...]] = REFERENCES_COLUMNS
    """Usual names of the column of all that is right."""

    def __init__(self, settings: TextToTextSettings) -> None:
        """Take settings that leave nothing open but lengths."""
        self.settings = settings
        self._config: Seq2SeqConfig | None = None
        self._most_written: int | None = None
        self._usual_limit: int | None = None

    @property
    def writes_in_evaluation(self) -> bool:
        """Whether evaluation writes texts, to compare them with those wished for."""
        return self.settings.writes_in_evaluation

    @property
    def label_column(self) -> str:
        """The column of the text to be written."""
        return self.settings.target_column or self.target_columns[0]

    @property
    def source_column(self) -> str:
        """The column of the text that is read."""
        return self.settings.source_column or self.source_columns[0]

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Find the columns."""
        assert isinstance(settings, TextToTextSettings)
        columns = rows.column_names
        source = find_column(
            columns, settings.source_column, cls.source_columns, "text that is read, the source"
        )
        others = [column for column in columns if column != source]
        target = find_column(
            others,
            settings.target_column,
            (*cls.target_columns, *cls.references_columns),
            "text to be written, the target",
        )
        return cls(settings.replace(source_column=source, target_column=target))

    def fit_length(self, model: PretrainedModel) -> None:
        """Settle how long sources and targets may be."""
        super().fit_length(model)
        assert isinstance(model, Seq2SeqModel)
        limit, wanted = model.backbone.decoder.max_length, self.settings.max_target_length
        if wanted is not None and wanted > limit:
            raise ConfigError(
                f"`max_target_length` must be at most {limit}, the model's own, but is {wanted}."
            )
        self.settings = self.settings.replace(max_target_length=wanted or limit)
        self._config, self._most_written = model.config, limit
        self._usual_limit = None
        if not names_limit(model.generation_config.set_fields()):
            self._usual_limit = min(MOST_NEW_TOKENS, wanted or limit, limit - 1)

    def generation_config(self, tokenizer: Tokenizer) -> GenerationConfig:
        """Return the options that go before the model's own, and the language to write in.

        Raises:
            ConfigError: The model has no such language, or none to choose from, or its decoder
                reads less than is to be written.
        """
        self._set_languages(tokenizer)
        options = dict(self.settings.generation)
        language, languages = tokenizer.tgt_lang, tokenizer.languages
        if language is not None and languages is not None:
            assert self._config is not None
            starts_with_it = languages.place == "after" and self._config.STARTS_WITH_LAST
            name = "decoder_start_token_id" if starts_with_it else "forced_bos_token_id"
            options.setdefault(name, tokenizer.get_lang_id(language))
        if self._usual_limit is not None and not names_limit(options):
            options["max_new_tokens"] = self._usual_limit
        if self._most_written is not None:
            require_writable(options, self._most_written)
        return GenerationConfig(**options)

    # The way of a row ----------------------------------------------------------------------

    def as_row(self, item: Any) -> Mapping[str, Any]:
        """Accept a text, or a mapping with the column that is read or a usual name of it."""
        column = self.source_column
        if isinstance(item, str):
            return {column: item}
        if isinstance(item, Mapping):
            if column in item:
                return item
            usual = next((name for name in self.source_columns if name in item), None)
            return item if usual is None else {column: item[usual]}
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
        """Turn each row into one source and, with labels, what is to be written.

        What is learned from is the first piece of a long source; all pieces are written for.
        """
        self._set_languages(tokenizer)
        column = self.column_read(rows)
        sources = [
            text_of(row, column, number, origin, may_be_empty=False)
            for row, number in zip(rows, numbers, strict=True)
        ]
        references: list[list[str]] = []
        targets: list[str] = []
        if with_labels:
            for row, number in zip(rows, numbers, strict=True):
                right = self._right_texts(row, number, origin)
                targets.append(right[0])
                references.append(self._references(row, number, origin) or right)
        prefixed = [self.settings.prefix + source for source in sources]
        encoded = tokenizer.encode_rows(prefixed, max_length=self.settings.max_length)
        labels = self._encode_targets(targets, tokenizer)
        offsets, segments = encoded.offsets.tolist(), encoded.token_type_ids
        features = []
        for place, number in enumerate(numbers):
            span = slice(offsets[place], offsets[place + 1])
            ids, dropped = encoded.input_ids[span], int(encoded.dropped[place])
            label, cut = labels[place] if labels else (None, 0)
            pieces = [Piece(sources[place], "")], [ids]
            if dropped:
                length = self.settings.max_length
                assert length is not None
                pieces = read_in_pieces(sources[place], tokenizer, length, self.settings.prefix)
            known = references[place] if references else ()
            segment = None if segments is None else segments[span]
            source = _Source(*pieces, known, tokenizer)
            features.append(Features(ids, segment, label, number, dropped + cut, source=source))
        return features

    def column_read(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Return the column of what is read; by its name where the settings are open."""
        given, columns = self.settings.source_column, list(rows[0]) if rows else []
        found = find_column(columns, None, self.source_columns, "source", is_optional=True)
        return given or found or self.source_columns[0]

    def _right_texts(
        self, row: Mapping[str, Any], number: int, origin: Callable[[int], str]
    ) -> list[str]:
        """Return what may be written for a row, the text to learn first.

        Raises:
            DataError: There is none, or one is no text; the row is named.
        """
        usual = (*self.target_columns, *self.references_columns)
        columns = [name for name, value in row.items() if value is not None]
        found = find_column(columns, None, usual, "target", is_optional=True)
        column = self.settings.target_column or found or usual[0]
        if isinstance(row.get(column), list | tuple | np.ndarray):
            return texts_of(row, column, number, origin)
        return [text_of(row, column, number, origin, may_be_empty=False)]

    def _references(
        self, row: Mapping[str, Any], number: int, origin: Callable[[int], str]
    ) -> list[str]:
        """Return what evaluation compares with, where the row has more than its target.

        Raises:
            DataError: One is no text; the row is named.
        """
        given = self.settings.references_column
        names = self.references_columns if given is None else (given,)
        column = next((name for name in names if row.get(name) is not None), None)
        return [] if column is None else texts_of(row, column, number, origin)

    def _set_languages(self, tokenizer: Tokenizer) -> None:
        """Make the tokenizer read and write the languages of the settings.

        Raises:
            ConfigError: The model has no such language, or none to choose from.
        """
        source, target = self.settings.source_language, self.settings.target_language
        if source is not None and tokenizer.src_lang != source:
            tokenizer.src_lang = source
        if target is not None and tokenizer.tgt_lang != target:
            tokenizer.tgt_lang = target

    def _encode_targets(
        self, targets: Sequence[str], tokenizer: Tokenizer
    ) -> list[tuple[np.ndarray, int]]:
        """Return the ids of each target, and how many tokens of it were left out."""
        if not targets:
            return []
        encoded = tokenizer.target.encode_rows(targets, max_length=self.settings.max_target_length)
        ids = np.split(encoded.input_ids, encoded.offsets[1:-1])
        return list(zip(ids, encoded.dropped.tolist(), strict=True))

    def collate(self, features: Sequence[Features]) -> PackedBatch:
        """Pack both sides, rows with short sources first."""
        ordered = sorted(features, key=lambda feature: len(feature.input_ids))
        source = super().collate([dataclasses.replace(f, label=None) for f in ordered])
        assert self._config is not None
        is_known = ordered[0].label is not None
        start = np.zeros(1, dtype=np.int32)  # stands for what is to be written
        targets = [feature.label if is_known else start for feature in ordered]
        layout = Layout([len(target) for target in targets])
        labels = torch.from_numpy(np.concatenate(targets))
        return PackedBatch(
            input_ids=self._config.shift_right(labels, layout),
            layout=layout,
            labels=labels if is_known else None,
            source=source,
            rows=source.rows,
        )

    # What the model writes -----------------------------------------------------------------

    def requests(self, features: Features) -> list[Request]:
        """Return what is to be written for a row: one text for each piece of its source."""
        source: _Source = features.source
        if features.label is not None and not self.writes_in_evaluation:
            return []
        return [Request(None, ids) for ids in source.ids]

    def condense(
        self, answers: dict[str, Tensor], batch: PackedBatch, *, with_labels: bool
    ) -> dict[str, Tensor]:
        """Keep (N,) loss and whether it is right of the tokens that are learned."""
        return scored_tokens(answers["logits"], batch.labels)

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> WrittenText:
        """Return what was written."""
        (feature,), (output,) = features, outputs
        source: _Source = feature.source
        counts = counts_of(output)
        if WRITTEN not in output:
            return WrittenText([], [], counts)
        return written_text(output[WRITTEN].tolist(), source.pieces, source.tokenizer, counts)

    def row_label(self, features: Sequence[Features]) -> Any:
        """Return the text to be written, or the list of those that are right; None without."""
        right = features[0].source.references
        return (right[0] if len(right) == 1 else list(right)) if right else None

    def to_arrays(
        self, predictions: Sequence[WrittenText], labels: Sequence[Any]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield texts, as arrays of objects; a label may be a list of texts."""
        if predictions[0].texts:
            yield as_objects([each.texts[0] for each in predictions]), as_objects(labels)

    def new_metrics(self) -> Metric:
        """Return counters of how near texts are to those wished for."""
        return MetricGroup(self._text_metrics() if self.writes_in_evaluation else ())

    def _text_metrics(self) -> list[Metric]:
        return [RougeMetrics(), ChrfMetrics()]


class Translation(TextToText):
    """A text to the same in another language."""

    name = "translation"
    source_columns = ("source", "src", "text", "input")
    target_columns = ("target", "tgt", "translation", "output")
    answer_key = "translation_text"

    def _text_metrics(self) -> list[Metric]:
        return [BleuMetrics(), ChrfMetrics()]


class Summarization(TextToText):
    """A text to a shorter one with what matters."""

    name = "summarization"
    source_columns = ("text", "document", "article", "source", "dialogue", "input")
    target_columns = ("summary", "highlights", "title", "target", "output")
    references_columns = ("all_summaries", "summaries")  # `references` of a paper are others
    answer_key = "summary_text"

    def _text_metrics(self) -> list[Metric]:
        return [RougeMetrics()]
