"""The way of the training rows: from the data to packed batches, in an order that can be resumed.

    order of the epoch --> rows --encode--> features (kept) --collate--> packed batches of a step

The position is the number of rows that steps have consumed, never what was read ahead.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from abrazo.data.dataset import Dataset
from abrazo.data.mixture import Mixture
from abrazo.data.rows import RowSource, as_rows
from abrazo.data.sampling import EpochSampler
from abrazo.data.squad import NestedQuestions
from abrazo.errors import DataError
from abrazo.heads.masked_lm import weigh_targets
from abrazo.heads.multi_task import weigh_parts
from abrazo.layers.packing import PackedBatch
from abrazo.tasks.base import Features, Task
from abrazo.tokenization.tokenizer import Tokenizer
from abrazo.training.collating import Collator, call_collator, pack_collated
from abrazo.training.randomness import own_randomness

Row = Mapping[str, Any]

READ_AHEAD = 512
"""Rows that are encoded in one call."""
KEPT_TOKENS = 50_000_000
"""Tokens whose features are kept over epochs, about 400 MB; rows beyond are encoded each time."""


@dataclasses.dataclass(frozen=True)
class StepRows:
    """What one step of the optimizer learns from."""

    rows: np.ndarray
    """(rows,) their numbers."""
    batches: list[PackedBatch]
    """The same rows, one batch for each pass."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What training rows are like."""

    lengths: Counter[int]
    """Rows by tokens, before truncation."""
    classes: Counter[int]
    """Rows by class, where labels are classes."""


class Feeder:
    """Gives the batches of each step, from any position of any epoch."""

    def __init__(
        self,
        data: object,
        task: Task,
        tokenizer: Tokenizer,
        *,
        seed: int,
        batch_size: int,
        accumulation: int = 1,
        collator: Collator | None = None,
        per_token: bool = False,
        num_workers: int = 0,
        group_by_length: bool = False,
    ) -> None:
        """Prepare to read.

        Args:
            data: Anything `as_rows` takes.
            task: Encodes and collates, unless there is a collator.
            tokenizer: The model's tokenizer.
            seed: Decides the order of each epoch.
            batch_size: Rows of a batch.
            accumulation: Batches of a step.
            collator: The user's own way from rows to padded tensors.
            per_token: With a collator: whether the head learns from a label for each token.
            num_workers: Processes that read rows of a user's data set ahead.
            group_by_length: Whether rows of like length come together.

        Raises:
            DataError: The data is empty or of a kind that cannot be read.
        """
        self.source: RowSource = as_rows(data)
        self.task, self.tokenizer, self.collator = task, tokenizer, collator
        self.seed, self.batch_size, self.accumulation = seed, batch_size, accumulation
        self.per_token, self.num_workers = per_token, num_workers
        self.group_by_length = group_by_length
        self.computes_rows = computes_rows(data, self.source)
        """Whether the data makes each row when it is asked, perhaps anew each time."""
        self.num_truncated = 0
        """Rows that were cut because they are longer than the model reads, among those encoded."""
        self.remarks = task.new_remarks()
        """What else those rows show that users should know."""
        self._kept: dict[int, list[Features]] = {}
        self._kept_tokens = 0
        self._lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.source)

    @property
    def keeps_features(self) -> bool:
        """Whether features of a row serve all epochs."""
        return self.collator is None and not self.computes_rows

    def steps(self, epoch: int, start: int = 0) -> Iterator[StepRows]:
        """Yield the batches of each step of an epoch, from the row where a run stopped.

        Raises:
            DataError: A row cannot be used; it is named.
        """
        rows_per_step = self.batch_size * self.accumulation
        order = self._sampler().order(epoch)[start:]
        supply = self._raw(order, epoch) if self.collator else self._features(order, epoch)
        for at in range(0, len(order), rows_per_step):
            rows = order[at : at + rows_per_step]
            batches = []
            for first in range(0, len(rows), self.batch_size):
                numbers = rows[first : first + self.batch_size]
                parts = [next(supply) for _ in numbers]
                with own_randomness(self.seed, epoch, start + at + first, "collate"):
                    batches += self._collate(parts, numbers, epoch)
            weigh_targets(batches)
            weigh_parts(batches)
            yield StepRows(rows, batches)

    def features_of(self, numbers: Sequence[int]) -> list[Features]:
        """Return the features of some rows, for checks and counts.

        Raises:
            DataError: A row cannot be used; it is named.
        """
        parts = self._features(np.asarray(numbers, dtype=np.int64), 0)
        return [feature for part in parts for feature in part]

    def fingerprint(self, most_rows: int) -> str:
        """Return a digest of what is learned from: of the first rows, and of their number."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((len(self), self.source.column_names)).encode())
        if isinstance(self.source, Mixture):
            digest.update(self.source.describe().encode())
        if self.keeps_features:
            for feature in self.features_of(range(min(most_rows, len(self)))):
                digest.update(np.ascontiguousarray(feature.input_ids).tobytes())
                digest.update(_label_bytes(feature.label))
        return digest.hexdigest()

    def count_labels(self, num_labels: int) -> Tensor:
        """Return the number of targets of each class (num_labels,).

        Raises:
            DataError: Labels are not one class a target.
        """
        counts = np.zeros(num_labels, dtype=np.int64)
        for feature in self.features_of(range(len(self))):
            label = np.asarray(feature.label)
            if label.dtype.kind not in "iu":
                raise DataError("`loss='weighted'` needs labels that are one class a target.")
            classes = label[label >= 0].reshape(-1)
            counts += np.bincount(classes, minlength=num_labels)[:num_labels]
        return torch.from_numpy(counts)

    def summary(self) -> "Summary":
        """Return lengths and classes of the rows whose features are kept."""
        lengths, classes = Counter[int](), Counter[int]()
        for features in self._kept.values():
            lengths[sum(len(f.input_ids) + f.dropped for f in features)] += 1
            label = features[0].label
            if isinstance(label, int | np.integer) and not features[0].part:
                classes[int(label)] += 1
        return Summary(lengths, classes)

    # From numbers to features ----------------------------------------------------------------

    def _sampler(self) -> EpochSampler:
        if self.group_by_length and self._lengths is None:
            self._lengths = np.zeros(len(self), dtype=np.int64)
            for feature in self.features_of(range(len(self))):
                self._lengths[feature.row] += len(feature.input_ids)
        return EpochSampler(
            num_rows=len(self),
            batch_size=self.batch_size,
            seed=self.seed,
            lengths=self._lengths,
            draw=self.source.order if isinstance(self.source, Mixture) else None,
        )

    def _features(self, order: np.ndarray, epoch: int) -> Iterator[Any]:
        """Yield each row's features, encoding many rows in one call."""
        raw = self._raw(order, epoch) if self.computes_rows else None
        ahead = max(READ_AHEAD, self.batch_size * self.accumulation)
        for at in range(0, len(order), ahead):
            numbers = order[at : at + ahead].tolist()
            if raw is None:
                new = [number for number in dict.fromkeys(numbers) if number not in self._kept]
                encoded = self._encode(self.source.rows(new), new)
            else:
                computed = {number: next(raw) for number in numbers}
                encoded = self._encode(list(computed.values()), list(computed))
            for number in numbers:
                yield self._kept[number] if number in self._kept else encoded[number]

    def _encode(self, rows: Sequence[Row], numbers: Sequence[int]) -> dict[int, list[Features]]:
        """Encode rows, and keep the features while there is room."""
        by_row: dict[int, list[Features]] = {number: [] for number in numbers}
        if not numbers:
            return by_row
        found = self.task.encode(
            rows, numbers, self.tokenizer, with_labels=True, origin=self.source.origin
        )
        self.remarks.look_at(found)
        for feature in found:
            by_row[feature.row].append(feature)
        for number, features in by_row.items():
            self.num_truncated += any(feature.dropped for feature in features)
            tokens = sum(len(feature.input_ids) for feature in features)
            if self.keeps_features and self._kept_tokens + tokens <= KEPT_TOKENS:
                self._kept[number] = features
                self._kept_tokens += tokens
        return by_row

    def _raw(self, order: np.ndarray, epoch: int) -> Iterator[Row]:
        """Yield rows as the data gives them."""
        if not self.computes_rows:
            for at in range(0, len(order), READ_AHEAD):
                yield from self.source.rows(order[at : at + READ_AHEAD])
            return
        reader = _SeededRows(self.source, self.seed)
        places = [(epoch, int(number)) for number in order]
        if not self.num_workers:
            yield from map(reader.__getitem__, places)
            return
        yield from DataLoader(
            reader,  # type: ignore[arg-type]
            batch_size=None,
            sampler=places,
            num_workers=self.num_workers,
            collate_fn=cast(Any, _as_is),
            generator=torch.Generator(),  # or the loader would draw from that of dropout
            prefetch_factor=2 * self.batch_size,
        )

    def _collate(self, parts: Sequence[Any], numbers: np.ndarray, epoch: int) -> list[PackedBatch]:
        """Return the batch of some rows, or several where rows have several features."""
        if self.collator is None:
            features = [feature for part in parts for feature in part]
            features = self.task.choose(features, seed=self.seed, epoch=epoch)
            features = self.task.augment(features, seed=self.seed, epoch=epoch)
            # long texts, which have several features, must not take more memory than short ones
            size = len(features) if self.task.keeps_rows_whole else self.batch_size
            return [
                self.task.collate(features[at : at + size]) for at in range(0, len(features), size)
            ]
        collated = call_collator(self.collator, parts, numbers.tolist(), self.seed, epoch)
        rows = tuple(numbers.tolist())
        return [pack_collated(collated, per_token=self.per_token, rows=rows)]


def _label_bytes(label: Any) -> bytes:
    values = np.asarray(label)
    return repr(label).encode() if values.dtype == object else values.tobytes()


class _SeededRows:
    """Rows of a user's data set, each read with randomness of its own; goes to workers."""

    def __init__(self, source: RowSource, seed: int) -> None:
        self.source, self.seed = source, seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, place: tuple[int, int]) -> Row:
        epoch, number = place
        with own_randomness(self.seed, epoch, number, "row"):
            return self.source.rows([number])[0]


def _as_is(row: Row) -> Row:
    return row


def computes_rows(data: object, source: RowSource) -> bool:
    """Return whether the rows come from a user's `__getitem__`, not from memory."""
    if isinstance(source, Mixture):
        return any(computes_rows(source.given[name], part) for name, part in source.sources.items())
    is_table = isinstance(source, Dataset | NestedQuestions)
    if source is data or is_table or isinstance(data, Sequence):
        return False
    return type(data).__module__.partition(".")[0] != "datasets"
