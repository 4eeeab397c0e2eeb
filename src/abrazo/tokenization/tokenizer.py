"""`Tokenizer`: text to ids, with one implementation for all families.

The compiled `tokenizers` library splits texts; special tokens, truncation, windows and padding
are done here on what it returns, so that the shared object is never changed by a call and any
number of threads can use one tokenizer.
"""

import copy
import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

from abrazo.errors import ConfigError, TokenizerError
from abrazo.tokenization.chat import Chats
from abrazo.tokenization.encoding import BatchEncoding, TensorType
from abrazo.tokenization.inputs import Text, Texts, read_texts, require_texts
from abrazo.tokenization.languages import Sides
from abrazo.tokenization.loading import holds_tokenizer, load_folder, save_folder
from abrazo.tokenization.native import NativeEncoding, NativeTokenizer, encode_texts
from abrazo.tokenization.options import CallOptions, Padding, Plan, Truncation, make_plan
from abrazo.tokenization.padding import pad_columns, read_columns
from abrazo.tokenization.row import RowEncoding, Segment, Source, framed, text_segment
from abrazo.tokenization.rows import EncodedRows, RowEncoder
from abrazo.tokenization.settings import SOME_LIMIT, TokenizerSettings
from abrazo.tokenization.shorten import encode_shortened
from abrazo.tokenization.template import Frame, read_template
from abrazo.tokenization.truncation import Side, kept_lengths, windows
from abrazo.tokenization.windows import EncodedWindows, WindowEncoder

logger = logging.getLogger("abrazo")


class Tokenizer(Sides, Chats):
    """Turns texts into ids and back.

    Made by `from_pretrained` or `from_folder`, or around a `tokenizers.Tokenizer` of one's own.
    """

    family: ClassVar[str | None] = None
    """Whose vocabulary a folder is taken to hold where it does not say; set by subclasses."""

    def __init__(self, backend: NativeTokenizer, settings: TokenizerSettings | None = None) -> None:
        if backend.truncation is not None or backend.padding is not None:
            backend = copy.deepcopy(backend)
            backend.no_truncation()
            backend.no_padding()
        super().__init__(backend, settings or TokenizerSettings())
        self._template = read_template(backend)
        self._told: set[str] = set()
        self._read_languages()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | PathLike[str],
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load the tokenizer of a model: a name, a local folder or a repository on a hub.

        Raises:
            HubError: the name cannot be resolved to files.
            TokenizerError: the files are damaged or not safe to use.
        """
        from abrazo.hub.resolve import find_model

        place = Path(name_or_path).expanduser()
        if holds_tokenizer(place):  # a tokenizer may stand alone, without a model
            return cls.from_folder(place)
        folder = find_model(
            str(name_or_path),
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        return cls.from_folder(folder)

    @classmethod
    def from_folder(cls, folder: str | PathLike[str]) -> Self:
        """Load the tokenizer in a local folder.

        Raises:
            TokenizerError: there is none, or its files are damaged or not safe to use.
        """
        backend, settings = load_folder(Path(folder), cls.family)
        tokenizer = cls.__new__(cls)
        Tokenizer.__init__(tokenizer, backend, settings)
        return tokenizer

    def save_pretrained(self, folder: str | PathLike[str]) -> list[Path]:
        """Write the tokenizer's files to `folder`, as `from_pretrained` and others read them."""
        return save_folder(self.backend, self.settings, Path(folder))

    def __repr__(self) -> str:
        kind = type(self.backend.model).__name__
        return f"{type(self).__name__}({kind}, {len(self)} tokens, {self.special_tokens_map})"

    @property
    def model_max_length(self) -> int:
        """Tokens that the model reads at most; 10^30 when no limit is known."""
        return self.settings.model_max_length

    @model_max_length.setter
    def model_max_length(self, length: int) -> None:
        self.settings.model_max_length = length

    @property
    def padding_side(self) -> Side:
        """Where padding goes unless a call says otherwise."""
        return self.settings.padding_side

    @padding_side.setter
    def padding_side(self, side: Side) -> None:
        self.settings.padding_side = side

    @property
    def truncation_side(self) -> Side:
        """Which end of a text is cut off."""
        return self.settings.truncation_side

    @truncation_side.setter
    def truncation_side(self, side: Side) -> None:
        self.settings.truncation_side = side

    @property
    def model_input_names(self) -> tuple[str, ...]:
        """What the model reads, and so what calls return unless asked otherwise."""
        return self.settings.model_input_names

    def __call__(
        self,
        text: Text | Sequence[Text] | Sequence[Sequence[Text]] | None = None,
        text_pair: Text | Sequence[Text] | None = None,
        *,
        text_target: Text | Sequence[Text] | None = None,
        add_special_tokens: bool = True,
        padding: Padding = False,
        truncation: Truncation = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """Encode a text, a pair of texts, or a list of either.

        Args:
            text: A text, a list of texts, or a list of pairs.
            text_pair: The second text, or one for each row of `text`.
            text_target: What the model is to write for each row; its ids are returned as `labels`,
                or alone if `text` is left out. See `encode_targets`.
            add_special_tokens: Whether to put the model's special tokens around texts.
            padding: `True` or `"longest"` pads to the longest row, `"max_length"` to `max_length`.
            truncation: `True` or `"longest_first"` shortens the longer text of a row first,
                `"only_first"` and `"only_second"` just that one. Left out, rows are shortened when
                `max_length` is given without padding.
            max_length: Tokens a row has at most; left out, what the model reads at most.
            stride: Tokens that neighbouring windows share, with `return_overflowing_tokens`.
            is_split_into_words: Whether each text is a list of words.
            pad_to_multiple_of: Pad to a multiple of this.
            padding_side: Where padding goes; left out, as the tokenizer is set.
            return_tensors: `"pt"` for torch tensors, `"np"` for numpy arrays; left out, lists.
            return_token_type_ids: Whether to return segments; left out, if the model reads them.
            return_attention_mask: Whether to return the mask; left out, if the model reads it.
            return_overflowing_tokens: Whether to return the rest of long texts as further rows;
                `overflow_to_sample_mapping` then names the text of each row.
            return_special_tokens_mask: Whether to return 1 for added special tokens.
            return_offsets_mapping: Whether to return the characters of each token.
            return_length: Whether to return the number of tokens of each row.

        Returns:
            The columns asked for, (rows, tokens). `num_dropped_tokens` of it counts what
            truncation left out.

        Raises:
            ConfigError: options are wrong, do not go together, or rows are too ragged for tensors.
            TokenizerError: a row is no text, or cannot be shortened as asked.
        """
        if text_target is not None:
            options = CallOptions(
                add_special_tokens=add_special_tokens,
                padding=padding,
                truncation=truncation,
                max_length=max_length,
                is_split_into_words=is_split_into_words,
                pad_to_multiple_of=pad_to_multiple_of,
                padding_side=padding_side,
                return_tensors=return_tensors,
            )
            labels = self.encode_targets(text_target, **options)
            if text is None:
                return labels
            encoding = self(text, text_pair, **options)
            encoding["labels"] = labels["input_ids"]
            return encoding
        plan = make_plan(
            self.settings,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
        )
        texts = read_texts(text, text_pair, words=is_split_into_words)
        frame = self._template.frame(pair=texts.second is not None, special=add_special_tokens)
        room = _room(plan, frame)
        sources = self._sources(
            texts, is_split_into_words, None if return_overflowing_tokens else room
        )
        rows: list[RowEncoding] = []
        samples: list[int] = []
        dropped: list[int] = []
        for number, (first, second) in enumerate(sources):
            try:
                made, lost = self._rows(first, second, frame, plan, room, return_overflowing_tokens)
            except TokenizerError as error:
                raise TokenizerError(f"Row {number}: {error}") from error
            rows += made
            samples += [number] * len(made)
            dropped += [lost] * len(made)
        self._tell(rows, dropped, plan)
        rows = self._padded(rows, plan)
        columns: dict[str, list[Any]] = {"input_ids": [row.ids for row in rows]}
        if self._wanted("token_type_ids", return_token_type_ids):
            columns["token_type_ids"] = [row.type_ids for row in rows]
        if self._wanted("attention_mask", return_attention_mask):
            columns["attention_mask"] = [row.attention_mask for row in rows]
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if return_offsets_mapping:
            columns["offset_mapping"] = [row.offsets for row in rows]
        if return_length:
            columns["length"] = [len(row) for row in rows]
        if return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = samples
        elif not texts.is_batch and return_tensors is None:
            columns = {
                name: values[0] if isinstance(values[0], list) else values
                for name, values in columns.items()
            }
        return BatchEncoding(columns, rows, tensor_type=return_tensors, num_dropped_tokens=dropped)

    def _wanted(self, name: str, asked: bool | None) -> bool:
        return name in self.settings.model_input_names if asked is None else asked

    def _sources(
        self, texts: Texts, words: bool, room: int | None
    ) -> list[tuple[Source, Source | None]]:
        """Encode all texts; of very long ones only what matters, if `room` bounds the rows."""

        def encode(
            part: Sequence[str] | Sequence[Sequence[str]], rows: Sequence[int]
        ) -> list[NativeEncoding]:
            return encode_texts(self.backend, part, words=words, rows=rows)

        def column(part: list[str] | list[list[str]]) -> list[Source]:
            numbers = range(len(part))
            if words or room is None or self.truncation_side == "left":
                return [Source(native) for native in encode(part, numbers)]
            strings = [text for text in part if isinstance(text, str)]
            return [Source(native) for native in encode_shortened(encode, strings, room, "right")]

        first = column(texts.first)
        second = [None] * len(first) if texts.second is None else column(texts.second)
        return list(zip(first, second, strict=True))

    def _rows(
        self,
        first: Source,
        second: Source | None,
        frame: Frame,
        plan: Plan,
        room: int | None,
        overflowing: bool,
    ) -> tuple[list[RowEncoding], int]:
        """Return the row of one sample, or all its windows, and how many tokens are left out."""
        lengths = (len(first), None if second is None else len(second))
        kept = lengths if room is None else kept_lengths(*lengths, room, plan.truncation)
        first_spans = self._spans(lengths[0], kept[0], plan.stride, overflowing)
        firsts = [text_segment(first, span, 0, frame.first_type) for span in first_spans]
        if second is None or lengths[1] is None or kept[1] is None:
            rows = [framed(frame, segment, None) for segment in firsts]
            return rows, 0 if overflowing else lengths[0] - kept[0]
        second_spans = self._spans(lengths[1], kept[1], plan.stride, overflowing)
        seconds = [text_segment(second, span, 1, frame.second_type) for span in second_spans]
        rows = [framed(frame, firsts[0], seconds[0])]
        rows += [framed(frame, a, b) for a in firsts[1:] for b in seconds]
        rows += [framed(frame, firsts[0], b) for b in seconds[1:]]
        lost = sum(lengths[i] or 0 for i in (0, 1)) - sum(kept[i] or 0 for i in (0, 1))
        return rows, 0 if overflowing else lost

    def _spans(
        self, length: int, kept: int, stride: int, overflowing: bool
    ) -> list[tuple[int, int]]:
        if overflowing:
            return windows(length, kept, stride, self.truncation_side)
        return [(0, kept) if self.truncation_side == "right" else (length - kept, length)]

    def _padded(self, rows: list[RowEncoding], plan: Plan) -> list[RowEncoding]:
        if plan.padding == "do_not_pad" or not rows:
            return rows
        length = plan.padded_length(max(len(row) for row in rows))
        token, number = self.pad_token, self.pad_token_id
        assert token is not None  # `make_plan` has asked for it
        assert number is not None
        padded = []
        for row in rows:
            missing = max(length - len(row), 0)
            types = [self.settings.pad_token_type_id] * missing
            padding = Segment([number] * missing, types, attended=0, tokens=(token,) * missing)
            padded.append(row.padded(padding, plan.padding_side))
        return padded

    def _tell(self, rows: list[RowEncoding], dropped: list[int], plan: Plan) -> None:
        """Say, once for each tokenizer, what the caller may not be aware of."""
        if plan.is_implied and any(dropped):
            cut = sum(count > 0 for count in dropped)
            self._tell_once(
                f"{cut} of {len(rows)} rows were cut to `max_length={plan.max_length}`. Pass "
                "`truncation=True` if that is meant, `truncation=False` if not; "
                "`num_dropped_tokens` of the result has the counts."
            )
        if plan.padding == "longest" and plan.max_length and plan.truncation == "do_not_truncate":
            self._tell_once(
                "`max_length` has no effect with `padding=True` and no truncation. Pass "
                '`padding="max_length"` or `truncation=True`.'
            )
        limit = self.settings.model_max_length
        longest = max((len(row) for row in rows), default=0)
        if limit < longest and limit < SOME_LIMIT and plan.truncation == "do_not_truncate":
            self._tell_once(
                f"A row has {longest} tokens, but the model reads at most {limit}. Pass "
                "`truncation=True`, or `return_overflowing_tokens=True` for windows."
            )

    def _tell_once(self, message: str) -> None:
        kind = message.partition("`")[2]
        if kind not in self._told:
            self._told.add(kind)
            logger.warning(message)

    def encode_rows(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None,
    ) -> EncodedRows:
        """Encode many rows as fast as it goes, into flat arrays without padding.

        Special tokens are included. Of texts far longer than `max_length` only as much is encoded
        as is kept; the result's `dropped` is then a lower bound.

        Args:
            texts: The texts.
            pairs: The second texts, one a row.
            max_length: Tokens a row has at most, longer texts being shortened first; None keeps
                all.

        Raises:
            TokenizerError: a row is no text, or `texts` and `pairs` differ in number.
            ConfigError: `max_length` leaves no room for the special tokens.
        """
        first = require_texts(texts, "texts")
        second = None if pairs is None else require_texts(pairs, "pairs")
        if second is not None and len(first) != len(second):
            raise TokenizerError(f"`texts` has {len(first)} rows, but `pairs` has {len(second)}.")
        encoder = RowEncoder(
            backend=self.backend,
            frame=self._template.frame(pair=second is not None, special=True),
            max_length=max_length,
            side=self.truncation_side,
            with_types="token_type_ids" in self.model_input_names,
        )
        return encoder.encode(first, second)

    def encode_windows(
        self,
        texts: Sequence[str],
        questions: Sequence[str] | None = None,
        *,
        max_length: int,
        stride: int | None = None,
    ) -> EncodedWindows:
        """Encode many texts whole, long ones as overlapping windows, with each token's characters.

        Args:
            texts: The texts; only these are cut into windows.
            questions: What stands before the text in each of its windows, one a text; at most half
                of a window, the rest is left out and counted.
            max_length: Tokens a window has at most.
            stride: Tokens that neighbouring windows of a text share; None takes a quarter of a
                window, 128 at most.

        Raises:
            TokenizerError: a row is no text, or `texts` and `questions` differ in number.
            ConfigError: `max_length` leaves no room for a text, or `stride` none to move on.
        """
        first = require_texts(texts, "texts")
        second = None if questions is None else require_texts(questions, "questions")
        if second is not None and len(first) != len(second):
            raise TokenizerError(
                f"`texts` has {len(first)} rows, but `questions` has {len(second)}."
            )
        encoder = WindowEncoder(
            backend=self.backend,
            frame=self._template.frame(pair=second is not None, special=True),
            max_length=max_length,
            stride=stride,
            with_types="token_type_ids" in self.model_input_names,
        )
        return encoder.encode(first, second)

    def encode_targets(
        self, text: Text | Sequence[Text], **options: Unpack[CallOptions]
    ) -> BatchEncoding:
        """Encode what the model is to write, as `target` does; the options are those of a call.

        Raises:
            ConfigError: The model has languages, and `tgt_lang` is not set.
        """
        return self.target(text, **options)

    def encode(
        self,
        text: Text,
        text_pair: Text | None = None,
        **options: Unpack[CallOptions],
    ) -> list[int]:
        """Return the ids of a text, or of a pair; the options are those of a call."""
        ids: list[int] = self(text, text_pair, **options)["input_ids"]
        return ids

    def encode_plus(
        self, text: Text, text_pair: Text | None = None, **options: Unpack[CallOptions]
    ) -> BatchEncoding:
        """Encode one text or pair; the same as a call."""
        return self(text, text_pair, **options)

    def batch_encode_plus(
        self,
        batch_text_or_text_pairs: Sequence[Text] | Sequence[Sequence[Text]],
        **options: Unpack[CallOptions],
    ) -> BatchEncoding:
        """Encode a list of texts or of pairs; the same as a call."""
        return self(batch_text_or_text_pairs, **options)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False
    ) -> list[str]:
        """Return the tokens of a text, or of a pair, as text."""
        return self(text, pair, add_special_tokens=add_special_tokens).tokens()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens a row of one text, or a pair, gets."""
        return self._template.frame(pair=pair, special=True).num_special

    def build_inputs_with_special_tokens(
        self, ids: Sequence[int], pair_ids: Sequence[int] | None = None
    ) -> list[int]:
        """Put special tokens around the ids of one text or two."""
        return self._built(ids, pair_ids).ids

    def create_token_type_ids_from_sequences(
        self, ids: Sequence[int], pair_ids: Sequence[int] | None = None
    ) -> list[int]:
        """Return the segments that the row of one text or two has, special tokens included."""
        return self._built(ids, pair_ids).type_ids

    def _built(self, ids: Sequence[int], pair_ids: Sequence[int] | None) -> RowEncoding:
        frame = self._template.frame(pair=pair_ids is not None, special=True)
        first = Segment(list(ids), [frame.first_type] * len(ids), 0)
        if pair_ids is None:
            return framed(frame, first, None)
        second = Segment(list(pair_ids), [frame.second_type] * len(pair_ids), 1)
        return framed(frame, first, second)

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: Padding = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: TensorType | None = None,
    ) -> BatchEncoding:
        """Pad rows that are encoded already: one row, a batch, or a list of rows.

        Args:
            encoded_inputs: Mappings with `input_ids` and other columns, as lists or tensors.
            padding: As in a call; by default to the longest row.
            max_length: The length for `padding="max_length"`.
            pad_to_multiple_of: Pad to a multiple of this.
            padding_side: Where padding goes; left out, as the tokenizer is set.
            return_attention_mask: Whether to make a mask; left out, if the model reads it.
            return_tensors: `"pt"` or `"np"`; left out, what was given.

        Raises:
            ConfigError: there are no `input_ids`, or rows and columns do not fit together.
        """
        plan = make_plan(
            self.settings,
            padding=padding,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
        )
        main = "input_ids"
        columns, is_single, kind = read_columns(encoded_inputs, main)
        if self._wanted("attention_mask", return_attention_mask):
            columns.setdefault("attention_mask", [[1] * len(row) for row in columns[main]])
        fill = {"attention_mask": 0, "special_tokens_mask": 1}
        fill["token_type_ids"] = self.settings.pad_token_type_id
        fill[main] = self.pad_token_id if self.pad_token_id is not None else 0
        padded: dict[str, Any] = dict(pad_columns(columns, plan, fill, main))
        if is_single:
            padded = {name: rows[0] for name, rows in padded.items()}
        given: TensorType | None = "np" if kind == "np" else "pt" if kind == "pt" else None
        return BatchEncoding(padded, tensor_type=return_tensors or given)


def _room(plan: Plan, frame: Frame) -> int | None:
    """Return how many text tokens a row may hold, None for any number."""
    if plan.truncation == "do_not_truncate" or plan.max_length is None:
        return None
    if plan.max_length < frame.num_special:
        raise ConfigError(
            f"`max_length` must be at least {frame.num_special}, the number of special tokens in "
            f"a row, but is {plan.max_length}."
        )
    return plan.max_length - frame.num_special
