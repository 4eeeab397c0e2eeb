"""Features of many lengths in, tensors in the same order out, in batches of about equal work.

Features are taken some thousands at a time, sorted by length and cut into batches of a number of
tokens rather than rows, so that short ones do not wait for long ones and nothing is padded.
"""

import contextlib
import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from abrazo.errors import ConfigError
from abrazo.heads.base import IGNORED_LABEL, Head
from abrazo.layers.heap import freed_memory_kept
from abrazo.layers.packing import PackedBatch
from abrazo.layers.precision import precision_name, resolve_precision
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Features

Outputs = dict[str, np.ndarray]
Collate = Callable[[Sequence[Features]], PackedBatch]
Condense = Callable[[dict[str, Tensor], PackedBatch], dict[str, Tensor]]

_BUDGETS = {"cpu": 4_096, "cuda": 65_536}
_BATCHES_AT_ONCE = 64
"""How many full batches are sorted together at most."""


@dataclasses.dataclass
class LossMeter:
    """Adds up the loss over batches."""

    total: float = 0.0
    count: int = 0

    @property
    def mean(self) -> float:
        """The mean over all targets; NaN before the first."""
        return self.total / self.count if self.count else float("nan")


class Engine:
    """Runs a model over features."""

    def __init__(
        self,
        model: PretrainedModel,
        *,
        precision: str = "auto",
        token_budget: int | None = None,
    ) -> None:
        """Make the model ready.

        Args:
            model: Left as it is; another precision is computed on a copy of its weights.
            precision: `auto`, `fp32`, `bf16` or `fp16`.
            token_budget: Tokens of a batch; None takes what suits the device.

        Raises:
            ConfigError: The device does not have that precision, or the budget holds no token.
        """
        if token_budget is not None and token_budget < 1:
            raise ConfigError(f"`token_budget` must be at least 1, but is {token_budget}.")
        dtype = resolve_precision(precision, model.device)
        self.model = model if model.dtype == dtype else _copy_in(model, dtype)
        self.precision = precision_name(dtype)
        self.token_budget = token_budget or usual_budget(model.device)

    def run(
        self,
        features: Iterable[Features],
        collate: Collate,
        loss: LossMeter | None = None,
        *,
        condense: Condense | None = None,
        whole_rows: bool = False,
    ) -> Iterator[tuple[Features, Outputs]]:
        """Yield each of the features with what the head says of it, in the order they come.

        Args:
            features: May be endless; some are read ahead, thousands as time goes on.
            collate: Packs features, the shortest first, equally long ones in their order.
            loss: Where the loss is added up, for features with labels.
            condense: Keeps of the head's tensors what is needed; None keeps all.
            whole_rows: Whether all features of a row must be in one batch.
        """
        with _evaluating(self.model), contextlib.ExitStack() as while_there_is_more:
            for number, stretch in enumerate(self._stretches(features, whole_rows)):
                if number == 1:  # a few rows are not worth it
                    while_there_is_more.enter_context(freed_memory_kept())
                units = units_of(stretch, whole_rows)
                outputs = self._run_stretch(stretch, units, collate, loss, condense)
                yield from zip(stretch, outputs, strict=True)

    def _run_stretch(
        self,
        stretch: Sequence[Features],
        units: Sequence[Sequence[int]],
        collate: Collate,
        loss: LossMeter | None,
        condense: Condense | None,
    ) -> list[Outputs]:
        """Run features shortest first; return what was said of each in their own order."""
        outputs: list[Outputs] = [{} for _ in stretch]
        for batch in cut(stretch, units, self.token_budget):
            found = self._run_batch(collate([stretch[i] for i in batch]), loss, condense)
            packed = sorted(batch, key=lambda i: len(stretch[i].input_ids))
            for i, output in zip(packed, found, strict=True):
                outputs[i] = output
        return outputs

    def _stretches(
        self, features: Iterable[Features], whole_rows: bool
    ) -> Iterator[list[Features]]:
        """Cut a stream into stretches that are worth sorting.

        The first has one batch, each further one twice as many, so that the first answer does not
        wait for thousands of rows.
        """
        enough, tokens = self.token_budget, 0
        stretch: list[Features] = []
        for feature in features:
            if tokens >= enough and not (whole_rows and feature.row == stretch[-1].row):
                yield stretch
                stretch, tokens = [], 0
                enough = min(2 * enough, _BATCHES_AT_ONCE * self.token_budget)
            stretch.append(feature)
            tokens += len(feature.input_ids)
        if stretch:
            yield stretch

    def _run_batch(
        self, batch: PackedBatch, loss: LossMeter | None, condense: Condense | None
    ) -> list[Outputs]:
        with torch.inference_mode():
            batch = batch.to(self.model.device)
            answers = self.model.answer_packed(batch)
            head = self.model.head
            assert head is not None
            if loss is not None:
                found = head.loss(answers, batch)
                if found is not None:
                    loss.total += float(found.total)
                    loss.count += int(found.count)
            if condense is not None:
                answers = condense(answers, batch)
            return _split(answers, batch, head)


def usual_budget(device: torch.device) -> int:
    """Return how many tokens of a batch suit a device."""
    return _BUDGETS.get(device.type, _BUDGETS["cpu"])


def units_of(stretch: Sequence[Features], whole_rows: bool) -> list[list[int]]:
    """Return what must stay together, as places in the stretch, the shortest first."""
    if not whole_rows:
        order = np.argsort([len(feature.input_ids) for feature in stretch], kind="stable")
        return [[i] for i in order.tolist()]
    rows = itertools.groupby(range(len(stretch)), key=lambda i: stretch[i].row)
    units = [list(places) for _, places in rows]
    return sorted(units, key=lambda unit: sum(len(stretch[i].input_ids) for i in unit))


def cut(
    stretch: Sequence[Features], units: Sequence[Sequence[int]], token_budget: int
) -> Iterator[list[int]]:
    """Cut sorted units into batches within the token budget, at least one in each."""
    batch: list[int] = []
    tokens = 0
    for unit in units:
        length = sum(len(stretch[i].input_ids) for i in unit)
        if batch and tokens + length > token_budget:
            yield batch
            batch, tokens = [], 0
        batch.extend(unit)
        tokens += length
    yield batch


def _copy_in(model: PretrainedModel, dtype: torch.dtype) -> PretrainedModel:
    """Return the model with its weights in another dtype, never holding them a third time."""
    converted: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach().to(dtype)) for weight in model.parameters()
    }
    return copy.deepcopy(model, converted)


@contextlib.contextmanager
def _evaluating(model: PretrainedModel) -> Iterator[None]:
    """Switch dropout off for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _split(answers: dict[str, Tensor], batch: PackedBatch, head: Head) -> list[Outputs]:
    """Cut each tensor into one array a row; those with a line for each token at the rows' ends."""
    rows, ends = batch.layout.num_rows, batch.layout.offsets[1:-1]
    labelled = _labelled_ends(batch, head)
    columns: dict[str, list[np.ndarray]] = {}
    for name, tensor in answers.items():
        array = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
        by_token = head.answers_tokens(name)
        if by_token and len(array) != batch.layout.num_tokens:  # of the labelled tokens alone
            assert labelled is not None
            assert len(array) == labelled[-1]
            columns[name] = np.split(array, labelled[:-1])
            continue
        assert len(array) == (batch.layout.num_tokens if by_token else rows)
        columns[name] = np.split(array, ends) if by_token else list(array)
    return [{name: column[i] for name, column in columns.items()} for i in range(rows)]


def _labelled_ends(batch: PackedBatch, head: Head) -> np.ndarray | None:
    """Return how many tokens with a target there are up to the end of each row, where any have."""
    targets = head.targets(batch)
    if targets is None or targets.shape != batch.input_ids.shape:
        return None
    counts = (targets != IGNORED_LABEL).cumsum(0).cpu().numpy()
    ends: np.ndarray = counts[batch.layout.offsets[1:] - 1]
    return ends
