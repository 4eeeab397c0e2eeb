"""Several tasks learned together by one model, each from rows of its own.

A row knows its task (`abrazo.data.mixture`). It is encoded as that task encodes it, and a batch
joins the rows of all tasks. What is asked of the model afterwards is asked of one of its parts.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, DataError, one_of
from abrazo.layers.packing import PackedBatch, join_parts
from abrazo.metrics.base import Metric
from abrazo.metrics.parts import PartMetrics
from abrazo.models.auto import SIMILARITY
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MULTI_TASK, MultiTaskModel
from abrazo.tasks.base import Features, Task, TaskSettings, row_name
from abrazo.tasks.remarks import Remarks
from abrazo.tasks.writing import WritingTask
from abrazo.tokenization.tokenizer import Tokenizer


class MultiTask(Task):
    """A task that is made of tasks."""

    name: ClassVar[str] = MULTI_TASK
    head_name: ClassVar[str] = MultiTaskModel.head_name
    settings_type: ClassVar[type[TaskSettings]] = TaskSettings

    def __init__(
        self, parts: Mapping[str, Task], weights: Mapping[str, float] | None = None
    ) -> None:
        """Put tasks together.

        Args:
            parts: Tasks by the names that rows know them by.
            weights: What the loss of each is multiplied with; 1 unless given.
        """
        super().__init__(TaskSettings())
        self.parts = dict(parts)
        self.weights = {name: (weights or {}).get(name, 1.0) for name in parts}
        self.keeps_rows_whole = any(  # type: ignore[misc]
            part.keeps_rows_whole for part in parts.values()
        )

    @classmethod
    def learn(cls, rows: RowSource, settings: TaskSettings) -> Self:
        """Refuse: each part is learned from rows of its own."""
        raise ConfigError("Several tasks are learned one by one, each from its own rows.")

    @classmethod
    def of_model(cls, model: PretrainedModel, settings: TaskSettings | None = None) -> Self:
        """Refuse: each part is that of a part of the model."""
        raise ConfigError(_ask_one(getattr(model, "names", ("...",))))

    def part(self, name: str) -> Task:
        """Return one of the tasks.

        Raises:
            DataError: There is none of that name; names the nearest.
        """
        if name not in self.parts:
            raise DataError(one_of("The task of a row", name, self.parts))
        return self.parts[name]

    def load_parts(self, name_or_path: str | Path, **options: Any) -> MultiTaskModel:
        """Load a model with the heads of all tasks.

        Args:
            name_or_path: A folder, a built-in name, or a repository.
            options: As for `load_model`.

        Raises:
            ConfigError: The model's family does not have a head.
            HubError: The name leads to no folder.
            CheckpointError: The weights are damaged or do not fit; every tensor is listed.
        """
        return MultiTaskModel(
            {
                name: part.load_model(name_or_path, **options, **part.model_options())
                for name, part in self.parts.items()
            }
        )

    def prepare_model(self, model: PretrainedModel) -> None:
        """Let each task prepare its part of the model."""
        if not isinstance(model, MultiTaskModel):
            raise ConfigError(
                f"Several tasks need a `MultiTaskModel`, but are given a {type(model).__name__}."
            )
        for name, part in self.parts.items():
            part.prepare_model(model.part(name))
        model.head.weights = {**model.head.weights, **self.weights}

    # The way of a row ----------------------------------------------------------------------

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[Features]:
        """Turn rows of several tasks into features, each as its own task does."""
        found: dict[int, list[Features]] = {number: [] for number in numbers}
        for name, places in _places_of_tasks(rows, self.parts).items():
            features = self.part(name).encode(
                [rows[place]["row"] for place in places],
                [numbers[place] for place in places],
                tokenizer,
                with_labels=with_labels,
                origin=origin,
            )
            for feature in features:
                found[feature.row].append(dataclasses.replace(feature, part=name))
        return [feature for features in found.values() for feature in features]

    def choose(self, features: list[Features], *, seed: int, epoch: int) -> list[Features]:
        """Let each task choose among its features."""
        return self._by_task(features, lambda part, some: part.choose(some, seed=seed, epoch=epoch))

    def augment(self, features: list[Features], *, seed: int, epoch: int) -> list[Features]:
        """Let each task change its features."""
        return self._by_task(
            features, lambda part, some: part.augment(some, seed=seed, epoch=epoch)
        )

    def _by_task(
        self,
        features: Iterable[Features],
        change: Callable[[Task, list[Features]], list[Features]],
    ) -> list[Features]:
        """Return features changed task by task, row by row in the order they came."""
        of_task: dict[str, list[Features]] = {}
        places: dict[int, int] = {}
        for feature in features:
            of_task.setdefault(feature.part, []).append(feature)
            places.setdefault(feature.row, len(places))
        changed = [
            dataclasses.replace(feature, part=name)
            for name, some in of_task.items()
            for feature in change(self.part(name), some)
        ]
        return sorted(changed, key=lambda feature: places[feature.row])

    def collate(self, features: Sequence[Features]) -> PackedBatch:
        """Pack the features of each task, and join them to one batch."""
        of_task = _by_part(features)
        return join_parts({name: self.part(name).collate(some) for name, some in of_task.items()})

    # What only a part can say ----------------------------------------------------------------

    def predict(
        self, features: Sequence[Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> NoReturn:
        """Refuse: a part predicts."""
        raise ConfigError(_ask_one(self.parts))

    def answer(self, prediction: Any, *, top_k: int | None = 1) -> NoReturn:
        """Refuse: a part answers."""
        raise ConfigError(_ask_one(self.parts))

    def as_row(self, item: Any) -> NoReturn:
        """Refuse: a text does not say which task is meant."""
        raise ConfigError(_ask_one(self.parts))

    def new_metrics(self) -> Metric:
        """Return the metrics of all tasks, each figure behind the name of its task."""
        return PartMetrics({name: part.new_metrics() for name, part in self.parts.items()})

    def new_remarks(self) -> Remarks:
        """Return the remarks of all tasks."""
        return _PartRemarks({name: part.new_remarks() for name, part in self.parts.items()})


def unfit_as_part(kind: type[Task]) -> str | None:
    """Return why a task cannot be learned together with others, or None where it can."""
    if issubclass(kind, WritingTask):
        return f"{kind.name!r} writes texts, which takes a model of its own: learn it alone."
    if kind.head_name == SIMILARITY:
        return (
            f"{kind.name!r} compares whole vectors and has no head of its own. Learn it alone, or "
            "scores of pairs as numbers, by `text-classification`, which reads pairs too."
        )
    return None


class _PartRemarks(Remarks):
    """Shows each task its own rows."""

    def __init__(self, parts: Mapping[str, Remarks]) -> None:
        self.parts = parts

    def look_at(self, features: Sequence[Features]) -> None:
        for name, some in _by_part(features).items():
            self.parts[name].look_at(some)

    def messages(self, origin: Callable[[int], str]) -> list[str]:
        return [message for part in self.parts.values() for message in part.messages(origin)]


def _by_part(features: Iterable[Features]) -> dict[str, list[Features]]:
    """Return the features of each task, in order."""
    of_task: dict[str, list[Features]] = {}
    for feature in features:
        of_task.setdefault(feature.part, []).append(feature)
    return of_task


def _places_of_tasks(
    rows: Sequence[Mapping[str, Any]], tasks: Iterable[str]
) -> dict[str, list[int]]:
    """Return which rows belong to each task.

    Raises:
        ConfigError: Rows do not say which task they belong to.
    """
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if set(row) != {"task", "row"}:
            raise ConfigError(_ask_one(tasks))
        places.setdefault(str(row["task"]), []).append(place)
    return places


def _ask_one(names: Iterable[str]) -> str:
    first = next(iter(names))
    return (
        "A model of several tasks learns from rows by task, `{'intent': rows, 'slots': rows}`, and "
        f"answers by one of them: `model.part({first!r})` is a model like any other."
    )
