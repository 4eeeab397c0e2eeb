"""What can be known to go wrong before the first step, found all at once.

Rows are read once here; what they are turned into is kept for training, so little is lost.
"""

import dataclasses
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from abrazo.data.rows import RowSource
from abrazo.errors import AbrazoError, DataError, TrainingError
from abrazo.heads.base import IGNORED_LABEL
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MultiTaskModel
from abrazo.tasks.base import Features
from abrazo.tasks.remarks import Remarks
from abrazo.training.checkpoint import bytes_needed
from abrazo.training.tokenised import reading_task

if TYPE_CHECKING:
    from abrazo.training.trainer import Trainer

logger = logging.getLogger("abrazo")

CHECKED_ROWS = 100_000
"""Rows of each data set that are read before the first step."""
CHECKED_COMPUTED_ROWS = 64
"""The same for data sets that compute their rows, which may take long."""
_MOST_LISTED = 10
_AT_ONCE = 512


def check_run(trainer: "Trainer") -> None:
    """Look for everything that would stop the run later.

    Raises:
        TrainingError: The run cannot succeed; every mistake found is listed with its remedy.
    """
    problems = [
        *_settings_problems(trainer),
        *_folder_problems(trainer),
        *_vocabulary_problems(trainer),
        *_training_rows(trainer),
        *_evaluation_rows(trainer),
        *(problem for callback in trainer.callbacks for problem in callback.check(trainer)),
    ]
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise TrainingError(f"The run cannot start:\n{listed}")


def _settings_problems(trainer: "Trainer") -> Iterator[str]:
    args, has_rows = trainer.args, trainer.eval_source is not None
    if not has_rows:
        if trainer.plan.evaluation.strategy != "no":
            yield (
                f"`eval_strategy` is {trainer.plan.evaluation.strategy!r}, but there is no "
                "`eval_dataset`. Give one to the Trainer, or leave `eval_strategy` out."
            )
        if args.load_best_model_at_end:
            yield (
                "`load_best_model_at_end` needs evaluation: give the Trainer an `eval_dataset`, or "
                "leave it out."
            )
    elif args.load_best_model_at_end and trainer.plan.evaluation.strategy == "no":
        yield (
            "`load_best_model_at_end` needs evaluation, but `eval_strategy` is 'no'. Set it to "
            "'epoch' or 'steps'."
        )
    if args.metric_for_best_model is not None and trainer.watch_problem:
        yield f"`metric_for_best_model`: {trainer.watch_problem}"
    if isinstance(trainer.model, MultiTaskModel) and (trainer.loss or trainer.output_class):
        yield "`loss` and `output_class` are for models of one task; each of several has its own."
    least = trainer.task.least_rows
    for size, remedy in (
        (trainer.feeder.batch_size, "Raise `per_device_train_batch_size` to 8 or more."),
        (len(trainer.feeder), "Give more rows to train on."),
    ):
        if size < least:
            yield (
                f"The loss compares the rows of a batch, which has {size}, so nothing would be "
                f"learned. {remedy}"
            )
    if not any(weight.requires_grad for weight in trainer.model.parameters()):
        yield "All weights of the model are frozen. Let some train: `model.requires_grad_(True)`."


def _folder_problems(trainer: "Trainer") -> Iterator[str]:
    folder = trainer.args.folder.absolute()
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        yield f"`output_dir` is `{folder}`, but `{there}` is a file. Choose another folder."
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield f"`output_dir` is `{folder}`, but `{there}` may not be written to. Choose another."
        return
    free, needed = shutil.disk_usage(there).free, bytes_needed(trainer.model)
    if free < needed:
        yield (
            f"A checkpoint takes about {_megabytes(needed)}, but `{there}` has {_megabytes(free)} "
            "free. Make room or choose another `output_dir`."
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def _vocabulary_problems(trainer: "Trainer") -> Iterator[str]:
    tokenizer = trainer.tokenizer
    pieces = trainer.model.backbone.word_embeddings.num_embeddings
    if tokenizer is not None and len(tokenizer) > pieces:
        yield (
            f"The tokenizer has {len(tokenizer):,} pieces, but the model has embeddings for "
            f"{pieces:,}. Take the model's own tokenizer, `model.tokenizer`."
        )


def _training_rows(trainer: "Trainer") -> Iterator[str]:
    feeder = trainer.feeder
    if feeder.collator is not None:
        try:
            next(feeder.steps(0))
        except AbrazoError as error:
            yield f"The training data: {error}"
        return
    checked = _Checked(trainer, feeder.source, feeder.computes_rows, feeder.features_of)
    yield from checked.problems("training")
    if feeder.num_truncated and not feeder.remarks.tells_cut_rows:
        logger.warning(
            "%d of %d training rows are longer than the model reads and are cut.",
            feeder.num_truncated,
            len(feeder),
        )
    _tell(feeder.remarks, feeder.source)


def _evaluation_rows(trainer: "Trainer") -> Iterator[str]:
    source = trainer.eval_source
    if source is None or trainer.plan.evaluation.strategy == "no":
        return

    task = reading_task(trainer.task, source, trainer.model)
    remarks = task.new_remarks()

    def features_of(numbers: range) -> list[Features]:
        features = task.encode(
            source.rows(numbers),
            numbers,
            trainer.tokenizer,
            with_labels=True,
            origin=source.origin,
        )
        remarks.look_at(features)
        return features

    yield from _Checked(trainer, source, trainer.eval_is_computed, features_of).problems(
        "evaluation"
    )
    _tell(remarks, source)


def _tell(remarks: Remarks, source: RowSource) -> None:
    for message in remarks.messages(source.origin):
        logger.warning("%s", message)


@dataclasses.dataclass
class _Checked:
    """Rows of a data set that are read to find mistakes."""

    trainer: "Trainer"
    source: RowSource
    is_computed: bool
    features_of: Callable[[range], Iterable[Features]]

    def problems(self, name: str) -> Iterator[str]:
        """Yield what is wrong, up to some mistakes, and whether there are more."""
        found = list(itertools.islice(self._find(), _MOST_LISTED + 1))
        yield from found[:_MOST_LISTED]
        if len(found) > _MOST_LISTED:
            yield f"There are more such rows in the {name} data."

    def _find(self) -> Iterator[str]:
        most = CHECKED_COMPUTED_ROWS if self.is_computed else CHECKED_ROWS
        for start in range(0, min(most, len(self.source)), _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, len(self.source)))
            try:
                yield from self._wrong_values(self.features_of(numbers))
            except DataError:
                yield from self._one_by_one(numbers)

    def _one_by_one(self, numbers: range) -> Iterator[str]:
        """Find every bad row of a stretch that has one."""
        for number in numbers:
            try:
                yield from self._wrong_values(self.features_of(range(number, number + 1)))
            except DataError as error:
                yield str(error)

    def _wrong_values(self, features: Iterable[Features]) -> Iterator[str]:
        """Find ids and classes that the model does not have; only rows with ids can have them."""
        model = self.trainer.model
        num_pieces = model.backbone.word_embeddings.num_embeddings
        num_labels = model.config.num_labels
        for feature in features:
            where = self.source.origin(feature.row)
            if int(feature.input_ids.max(initial=0)) >= num_pieces:
                yield (
                    f"{where}: `input_ids` has the id {int(feature.input_ids.max())}, but the "
                    f"model's vocabulary has {num_pieces:,}. Tokenise with `model.tokenizer`."
                )
            if len(feature.input_ids) > model.max_length:
                yield (
                    f"{where}: there are {len(feature.input_ids)} tokens, but the model reads at "
                    f"most {model.max_length}. Cut them when tokenising: `truncation=True`."
                )
            label = np.asarray(feature.label)
            if _has_classes(model) and label.dtype.kind in "iu":
                wrong = label[((label < 0) & (label != IGNORED_LABEL)) | (label >= num_labels)]
                if wrong.size:
                    yield (
                        f"{where}: the label {int(wrong.flat[0])} is out of range: the model has "
                        f"{num_labels} labels, 0 to {num_labels - 1}. Load it with the right "
                        "`num_labels`."
                    )


def _has_classes(model: PretrainedModel) -> bool:
    """Return whether whole-number labels are classes of the model."""
    return model.head_name in ("sequence_classification", "token_classification") and (
        model.config.problem_type in (None, "single_label_classification")
        and model.config.num_labels > 1
    )
