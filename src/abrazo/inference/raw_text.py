"""Raw texts that a model is called with: an output computed when it is read, and a data set.

    output = model(["a fine film", "a bore"], labels=["good", "bad"])
    output.loss.backward()                            # computed now, with gradients
    loss, logits = output                             # computed already
    output[0]                                         # the first row, encoded
    Trainer(model=model, train_dataset=output)        # which the model computes nothing for

What a call means is said by the task of the model (`Task.rows_of_call`), so that this module knows
none of them.

Shapes: R rows, L lines (a row each, or a window of a long one), S columns of the longest.
"""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from abrazo.data.collate import require_torch
from abrazo.data.mixture import Mixture
from abrazo.data.rows import Indices, Row, RowSource, as_rows
from abrazo.errors import ConfigError, DataError, one_of
from abrazo.heads.base import IGNORED_LABEL, Loss
from abrazo.heads.masked_lm import weigh_targets
from abrazo.heads.outputs import BackboneOutput, ModelOutput
from abrazo.inference.engine import cut, units_of, usual_budget
from abrazo.layers.packing import PackedBatch, Padding
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MultiTaskModel
from abrazo.tasks.auto import task_type, text_task_of
from abrazo.tasks.base import Features, Task
from abrazo.tokenization.inputs import as_list, is_listing
from abrazo.tokenization.tokenizer import Tokenizer

_ENCODED_AT_ONCE = 2_048

logger = logging.getLogger("abrazo")


def call(
    model: PretrainedModel,
    *inputs: Any,
    task: Task | type[Task] | str | None = None,
    return_tensors: str | None = None,
    output_hidden_states: bool = False,
    output_attentions: bool = False,
    **named: Any,
) -> ModelOutput:
    """Call a model on raw texts, or on what a tokenizer returned.

    Args:
        model: The model, with its tokenizer.
        inputs: Texts, and what else the task reads, in its order (`Task.call_arguments`): a text
            each, or one for each row, as lists, arrays or columns of a table. A single text among
            lists counts for all rows. Or a mapping with `input_ids`.
        task: What the texts mean, where it is a task of your own; None goes by the model. Of a
            model of several tasks, the name of the one that is asked.
        return_tensors: `pt`, or left out.
        output_hidden_states: As in `PretrainedModel.forward`.
        output_attentions: As in `PretrainedModel.forward`.
        named: The same by name, `labels` among it.

    Returns:
        A `RawTextOutput`; for a mapping with `input_ids` the output itself.

    Raises:
        ConfigError: An argument is unknown or given twice, or the model has no task, or several
            of which none is named.
        DataError: There is no text, something is none, or lists differ in length.
        TokenizerError: The model has no tokenizer.
    """
    require_torch(return_tensors or "pt")
    if isinstance(model, MultiTaskModel):
        model, task = _part_of(model, task), None
    wished = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
    if inputs and isinstance(inputs[0], Mapping) and "input_ids" in inputs[0]:
        output: ModelOutput = model(**_tensors(inputs[0]), **named, **wished)
        return output
    if not isinstance(task, Task):
        task = _task_of(model, task)
    tokenizer = model.tokenizer
    columns, labels = _read_call(task, inputs, named)
    if labels is not None and not model.head_name:
        raise DataError(
            f"{type(model).__name__} is a bare backbone, so it learns from no labels. Load a model "
            "with a head, such as BertForSequenceClassification; without labels, a Trainer lets "
            "it learn the words of the texts."
        )
    rows = task.rows_of_call(columns, labels, tokenizer)
    return RawTextOutput(model, task, rows, with_labels=labels is not None, wished=wished)


class RawTextOutput(ModelOutput):
    """The output for raw texts, computed when it is first read, and their data set.

    `.logits`, `["logits"]` and unpacking read the tensors, as of any output; `len()` and `[0]`
    read rows, encoded, as a data loader does; `dataset` iterates over them. The trainer takes it
    as raw rows. What was computed stays as it is, also when the model's weights change.
    """

    def __init__(
        self,
        model: PretrainedModel,
        task: Task,
        rows: Sequence[Row],
        *,
        with_labels: bool,
        wished: Mapping[str, bool],
    ) -> None:
        """Take rows of a call.

        Args:
            model: Computes.
            task: Reads the rows.
            rows: The rows.
            with_labels: Whether rows have labels, so that there is a loss.
            wished: Options of `PretrainedModel.output_of`.
        """
        self._model, self._given_task = model, task
        self._rows: RowSource = as_rows(list(rows))
        self._with_labels, self._wished = with_labels, wished
        self.tokenizer: Tokenizer = model.tokenizer
        """The tokenizer of the model that was called."""

    def __repr__(self) -> str:
        state = "computed" if "computed" in self.__dict__ else "computed when read"
        return f"RawTextOutput({len(self)} rows, {type(self._model).__name__}, {state})"

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    # The rows --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns of raw rows."""
        return self._rows.column_names

    def rows(self, indices: Indices) -> list[Row]:
        """Return raw rows, as the trainer reads them."""
        return self._rows.rows(indices)

    def origin(self, row: int) -> str:
        """Say which row it is, counted from 1."""
        return self._rows.origin(row)

    @functools.cached_property
    def dataset(self) -> "EncodedTexts":
        """The rows, encoded: a list of dicts of tensors, as a tokenizer returns them."""
        return EncodedTexts(self._task, self._features, len(self), self.tokenizer)

    # The tensors -----------------------------------------------------------------------------

    @property
    def row_of_line(self) -> list[int]:
        """The number of the row that each line of the tensors is from.

        Long texts have several lines, where the task reads them in windows.
        """
        return [feature.row for feature in self._features]

    def __getitem__(self, key: Any) -> Any:
        """Return a tensor by its name, or encoded rows by their number or a slice."""
        return self.computed[key] if isinstance(key, str) else self.dataset[key]

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the tensors, so that an output unpacks in order."""
        return iter(self.computed)

    def keys(self) -> list[str]:
        """Return the names of the tensors, in order."""
        return self.computed.keys()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in _tensor_names(self._model):
            raise AttributeError(f"The output of {type(self._model).__name__} has no `{name}`.")
        if name == "loss" and not self._model.head_name:
            raise AttributeError(
                f"This output has no `loss`: {type(self._model).__name__} is a bare backbone. Load "
                "a model with a head, or give the output to a Trainer as `train_dataset`, which "
                "lets the model learn the words of the texts."
            )
        return getattr(self.computed, name)

    @functools.cached_property
    def computed(self) -> ModelOutput:
        """The output itself."""
        features, task = self._features, self._task
        order, batches = [], []
        for places in self._cut(features):
            order += sorted(places, key=lambda place: len(features[place].input_ids))
            batches.append(task.collate([features[place] for place in places]))
        weigh_targets(batches)
        # The graph of a single batch is kept, as for tokenised inputs; those of many are not, or
        # long lists of texts would take all memory. The backward pass computes them again.
        is_large = torch.is_grad_enabled() and len(batches) > 1
        parts = [
            checkpoint(self._compute, batch, use_reentrant=False)
            if is_large
            else self._compute(batch)
            for batch in batches
        ]
        return _joined(parts, torch.from_numpy(np.argsort(order)))

    def _compute(self, batch: PackedBatch) -> tuple[ModelOutput, Loss | None]:
        batch = batch.to(self._model.device)
        return self._model.output_of(batch, Padding.of_layout(batch.layout), **self._wished)

    def _cut(self, features: Sequence[Features]) -> Iterable[list[int]]:
        """Cut features into batches; a loss that compares rows has them all in one."""
        whole_rows = self._task.keeps_rows_whole and self._with_labels
        if whole_rows:
            return [list(range(len(features)))]
        return cut(features, units_of(features, False), usual_budget(self._model.device))

    @functools.cached_property
    def _task(self) -> Task:
        """The task that reads the rows, its labels settled."""
        if self._with_labels:
            return self._given_task.settle_labels(self._rows, self._model)
        return self._given_task

    @functools.cached_property
    def _features(self) -> list[Features]:
        """The features of all rows, in order."""
        task, features = self._task, list[Features]()
        for start in range(0, len(self), _ENCODED_AT_ONCE):
            numbers = range(start, min(start + _ENCODED_AT_ONCE, len(self)))
            features += task.encode_call(
                self.rows(numbers), numbers, self.tokenizer, with_labels=self._with_labels
            )
        if self._with_labels:
            features = task.augment(features, seed=0, epoch=0)  # as in evaluation
        self._tell(features)
        return features

    def _tell(self, features: Sequence[Features]) -> None:
        """Say what becomes of texts that are longer than the model reads, and what labels show."""
        longest = self._task.settings.max_length
        cut_rows = {feature.row for feature in features if feature.dropped and not feature.window}
        if cut_rows:
            logger.warning(
                "%d of %d rows are longer than the model reads (%s tokens) and are cut.",
                *(len(cut_rows), len(self), longest),
            )
        is_windowed = any(feature.window is not None for feature in features)
        if is_windowed and len(features) > len(self):
            logger.warning(
                "Some of %d rows are longer than the model reads (%s tokens): the output has %d "
                "lines, one for each stretch of a text; `row_of_line` says which row each is from.",
                *(len(self), longest, len(features)),
            )
        if self._with_labels:
            remarks = self._task.new_remarks()
            remarks.look_at(features)
            for message in remarks.messages(self.origin):
                logger.warning("%s", message)


class EncodedTexts(Sequence[dict[str, Tensor]]):
    """Encoded rows as a data set: `input_ids`, `attention_mask`, `labels` and so on of each.

    Values are (tokens,); of rows with several texts or windows (lines, tokens), padded.
    """

    def __init__(
        self, task: Task, features: Sequence[Features], count: int, tokenizer: Tokenizer
    ) -> None:
        """Take the features of `count` rows."""
        self._task, self._tokenizer = task, tokenizer
        self._of_row: list[list[Features]] = [[] for _ in range(count)]
        for feature in features:
            self._of_row[feature.row].append(feature)

    def __len__(self) -> int:
        return len(self._of_row)

    @overload
    def __getitem__(self, key: int) -> dict[str, Tensor]: ...
    @overload
    def __getitem__(self, key: slice) -> list[dict[str, Tensor]]: ...
    def __getitem__(self, key: int | slice) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Return one row, or several."""
        if isinstance(key, slice):
            return [self._encoded(features) for features in self._of_row[key]]
        return self._encoded(self._of_row[key])

    def _encoded(self, features: Sequence[Features]) -> dict[str, Tensor]:
        lines = [_columns(self._task, feature) for feature in features]
        if len(lines) == 1:
            return lines[0]
        fill = {"labels": IGNORED_LABEL, "input_ids": self._tokenizer.pad_token_id or 0}
        return {
            name: _stacked([line[name] for line in lines], fill.get(name, 0)) for name in lines[0]
        }


def require_tokenizer(data: object, model: PretrainedModel) -> None:
    """Refuse a data set that a model with another tokenizer was called for.

    Raises:
        DataError: It is one, or is made of one.
    """
    if isinstance(data, Mixture):
        for part in data.sources.values():
            require_tokenizer(part, model)
    if isinstance(data, RawTextOutput) and not data.tokenizer.is_same_as(model.tokenizer):
        raise DataError(
            f"The data set was made by calling a {type(data._model).__name__} with another "
            f"tokenizer than that of the {type(model).__name__} it is for. Call the model itself: "
            "`model(texts, labels=labels)`."
        )


def _part_of(model: MultiTaskModel, name: object) -> PretrainedModel:
    """Return the model of the task that a call asks."""
    if isinstance(name, str):
        return model.part(name)
    names = ", ".join(model.names)
    given = "" if name is None else f", but is {name!r:.80}"
    raise ConfigError(
        f"The model has several tasks ({names}), so a call must name one{given}: "
        f"`model(texts, task={model.names[0]!r})`."
    )


def _task_of(model: PretrainedModel, given: type[Task] | str | None) -> Task:
    """Return the task that reads a call; a bare backbone lacks the head, but reads as if it had."""
    kind = text_task_of(model) if given is None else task_type(given)
    if model.head_name:
        return kind.of_model(model)
    task = kind(kind.settings_type())
    task.fit_length(model)
    return task


# What a call is made of ------------------------------------------------------------------------


def _read_call(
    task: Task, inputs: Sequence[Any], named: Mapping[str, Any]
) -> tuple[list[list[Any]], list[Any] | None]:
    """Return the columns of a call, one entry a row each, and its labels."""
    given = _bound(task, inputs, named)
    labels = given.pop(task.label_argument, None)
    listed = {name: as_list(v) if is_listing(v) else None for name, v in given.items()}
    counts = {name: len(values) for name, values in listed.items() if values is not None}
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{count} `{name}`" for name, count in counts.items())
        raise DataError(f"The texts of a call must be equally many, but there are {said}.")
    count = next(iter(counts.values()), 1)
    if count == 0:
        raise DataError(f"`{next(iter(counts))}` is empty: there is no text to read.")
    columns = [
        [value] * count if (values := listed[name]) is None else values
        for name, value in given.items()
    ]
    _refuse_ids(columns[0][0])
    if labels is None:
        return columns, None
    return columns, _read_labels(task, labels, count, is_single=not counts)


def _bound(task: Task, inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by their names, in order; those that are None left out."""
    names = task.call_arguments
    if len(inputs) > len(names):
        listed = ", ".join(names)
        raise ConfigError(
            f"A model for {task.name} is called on ({listed}), but there are {len(inputs)} "
            "arguments. Give labels by name: `labels=...`."
        )
    given = dict(zip(names, inputs, strict=False))
    usable = list(dict.fromkeys((*names, task.label_argument, "labels")))
    for name, value in named.items():
        if name not in usable:
            raise ConfigError(one_of("An argument beside raw texts", name, usable))
        known = task.label_argument if name == "labels" else name
        if given.get(known) is not None and value is not None:
            raise ConfigError(f"`{known}` is given twice; leave one out.")
        given[known] = value if given.get(known) is None else given[known]
    order = sorted(given, key=usable.index)
    first = names[0]
    if first not in given:
        raise ConfigError(
            f"A model for {task.name} is called on ({', '.join(names)}), but `{first}` is missing."
        )
    return {name: given[name] for name in order if given[name] is not None or name == first}


def _read_labels(task: Task, labels: Any, count: int, *, is_single: bool) -> list[Any]:
    """Return one label for each row."""
    name = task.label_argument
    if is_single and (task.labels_are_lists or not is_listing(labels)):
        return [labels]
    if not is_listing(labels):
        raise DataError(
            f"`{name}` must be a list with one for each of the {count} texts, but is "
            f"{labels!r:.80}."
        )
    listed = as_list(labels)
    if len(listed) != count:
        texts = "text" if count == 1 else "texts"
        raise DataError(
            f"There are {count} {texts}, but {len(listed)} `{name}`. Give each text one, in the "
            "same order."
        )
    return listed


def _refuse_ids(first: Any) -> None:
    """Refuse numbers where texts should be."""
    inner = first[0] if isinstance(first, Sequence) and len(first) else first
    if isinstance(inner, int | float | np.number) and not isinstance(inner, bool):
        raise DataError(
            f"A model is called on texts or on token ids as a tensor, but not on {first!r:.80}. "
            "Make a tensor of ids: `torch.tensor([[...]])`."
        )


def _tensors(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return what a tokenizer returned as arguments of `forward`."""
    for name, value in inputs.items():
        if not isinstance(value, Tensor):
            raise DataError(
                f"`{name}` must be a tensor, but is of type {type(value).__name__}. Call the "
                'tokenizer with `return_tensors="pt", padding=True`, or the model on the texts '
                "themselves."
            )
    return dict(inputs)


# From packed batches to what a user reads -----------------------------------------------------


def _tensor_names(model: PretrainedModel) -> set[str]:
    kind = BackboneOutput if model.head is None else model.head.output
    extra = {"logits", "loss"} if model.head is None else set()
    return {field.name for field in dataclasses.fields(kind)} | extra


def _joined(parts: Sequence[tuple[ModelOutput, Loss | None]], order: Tensor) -> ModelOutput:
    """Return the outputs of several batches as one, its lines in order.

    Args:
        parts: Outputs and losses.
        order: (L,) for each line its place among those of all batches.
    """
    outputs = [output for output, _ in parts]
    joined: dict[str, Any] = {
        name: _join([getattr(output, name) for output in outputs], order)
        for name in outputs[0].keys()  # noqa: SIM118
        if name != "loss"
    }
    losses = [loss for _, loss in parts if loss is not None]
    if losses:
        total = torch.stack([loss.total for loss in losses]).sum()
        joined["loss"] = Loss(total, sum(loss.count for loss in losses)).mean
    output = type(outputs[0])(**joined)
    if isinstance(output, BackboneOutput):
        output.scored_by(lambda: _join([part.logits for part in outputs], order))  # type: ignore[attr-defined]
    return output


def _join(values: Sequence[Any], order: Tensor) -> Any:
    """Join tensors along their lines, padded to the longest, or tuples of them."""
    if isinstance(values[0], tuple):
        return tuple(_join(each, order) for each in zip(*values, strict=True))
    longest = np.max([value.shape[1:] for value in values], axis=0).tolist()
    return torch.cat([_padded_to(value, longest, 0) for value in values])[
        order.to(values[0].device)
    ]


def _padded_to(value: Tensor, sizes: Sequence[int], fill: float) -> Tensor:
    """Return a tensor with all dimensions but the first filled up to some sizes."""
    missing = [size - own for size, own in zip(sizes, value.shape[1:], strict=True)]
    if not any(missing):
        return value
    amounts = [amount for size in reversed(missing) for amount in (0, size)]
    return F.pad(value, amounts, value=fill)


def _columns(task: Task, feature: Features) -> dict[str, Tensor]:
    """Return features as the arguments of a model."""
    count = len(feature.input_ids)
    columns = {"input_ids": feature.input_ids, "attention_mask": np.ones(count, dtype=np.int64)}
    if feature.token_type_ids is not None:
        columns["token_type_ids"] = feature.token_type_ids
    columns |= task.columns_of_label(feature)
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in columns.items()}
    return {n: t if t.is_floating_point() else t.long() for n, t in tensors.items()}


def _stacked(values: Sequence[Tensor], fill: float) -> Tensor:
    """Stack (n,) or () tensors of the lines of a row, filled up to the longest."""
    longest = np.max([value.shape for value in values], axis=0).astype(int).tolist()
    return torch.cat([_padded_to(value[None], longest, fill) for value in values])
