"""Features of many lengths in, tensors in the same order out, in batches of about equal work.

Features are taken some thousands at a time, sorted by length and cut into batches of a number of
tokens rather than rows, so that short ones do not wait for long ones and nothing is padded.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from abrazo.heads.base import Head
from abrazo.layers.packing import PackedBatch
from abrazo.layers.precision import precision_name, resolve_precision
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Features

Outputs = dict[str, np.ndarray]
Collate = Callable[[Sequence[Features]], PackedBatch]

_BUDGETS = {"cpu": 4_096, "cuda": 65_536}
_BATCHES_AT_ONCE = 64
"""How many full batches are sorted together."""


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
            ConfigError: The device does not have that precision.
        """
        dtype = resolve_precision(precision, model.device)
        self.model = model if model.dtype == dtype else _copy_in(model, dtype)
        self.precision = precision_name(dtype)
        self.token_budget = token_budget or _BUDGETS.get(model.device.type, _BUDGETS["cpu"])

    def run(
        self, features: Iterable[Features], collate: Collate, loss: LossMeter | None = None
    ) -> Iterator[tuple[Features, Outputs]]:
        """Yield each of the features with what the head says of it, in the order they come.

        Args:
            features: May be endless; some thousands are read ahead.
            collate: Packs features, keeping their order if they are sorted by length.
            loss: Where the loss is added up, for features with labels.
        """
        with _evaluating(self.model):
            for stretch in self._stretches(features):
                yield from zip(stretch, self._run_stretch(stretch, collate, loss), strict=True)

    def _run_stretch(
        self, stretch: Sequence[Features], collate: Collate, loss: LossMeter | None
    ) -> list[Outputs]:
        """Run features shortest first; return what was said of each in their own order."""
        order = np.argsort([len(feature.input_ids) for feature in stretch], kind="stable")
        outputs: list[Outputs] = [{} for _ in stretch]
        for batch in self._cut(stretch, order.tolist()):
            members = [stretch[i] for i in batch]
            for i, output in zip(batch, self._run_batch(collate(members), loss), strict=True):
                outputs[i] = output
        return outputs

    def _stretches(self, features: Iterable[Features]) -> Iterator[list[Features]]:
        """Cut a stream into stretches that are worth sorting."""
        enough, stretch, tokens = _BATCHES_AT_ONCE * self.token_budget, [], 0
        for feature in features:
            stretch.append(feature)
            tokens += len(feature.input_ids)
            if tokens >= enough:
                yield stretch
                stretch, tokens = [], 0
        if stretch:
            yield stretch

    def _cut(self, stretch: Sequence[Features], order: Sequence[int]) -> Iterator[list[int]]:
        """Cut sorted features into batches within the token budget, at least one in each."""
        batch: list[int] = []
        tokens = 0
        for i in order:
            length = len(stretch[i].input_ids)
            if batch and tokens + length > self.token_budget:
                yield batch
                batch, tokens = [], 0
            batch.append(i)
            tokens += length
        yield batch

    def _run_batch(self, batch: PackedBatch, loss: LossMeter | None) -> list[Outputs]:
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
            return _split(answers, batch, head)


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
    columns: dict[str, list[np.ndarray]] = {}
    for name, tensor in answers.items():
        array = tensor.float().cpu().numpy()
        by_token = head.answers_tokens(name)
        assert len(array) == (batch.layout.num_tokens if by_token else rows)
        columns[name] = np.split(array, ends) if by_token else list(array)
    return [{name: column[i] for name, column in columns.items()} for i in range(rows)]
