"""One trial of a search: a training run in a process of its own, which tells of its evaluations.

    the search                                the trial's process
        start(job)         ------>                imports, unpacks the job
                           <------                Began
        asks the pruner    <------                Evaluated, after each evaluation
                           ------>                whether to stop
                           <------                Completed, Pruned or Failed

A process that ends without a last word has crashed; the search goes on.
"""

import copy
import dataclasses
import logging
import math
import multiprocessing
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from abrazo.checkpoints.atomic import atomic_folder
from abrazo.data.dataset import Dataset
from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError
from abrazo.heads.outputs import ModelOutput
from abrazo.layers.lora import adapted_layers
from abrazo.metrics.base import Metric
from abrazo.models.adapters import load_adapter, remove_lora, save_adapter
from abrazo.models.base import PretrainedModel
from abrazo.own_code import load_file, loaded_files
from abrazo.tasks.base import Task
from abrazo.training.arguments import TrainingArguments
from abrazo.training.callbacks.base import Callback
from abrazo.training.callbacks.signals import SignalCallback
from abrazo.training.collating import CollatedTask, Collator
from abrazo.training.objectives import LossFunction
from abrazo.training.trainer import Trainer

if TYPE_CHECKING:
    from abrazo.inference.evaluation import Evaluation

logger = logging.getLogger("abrazo")

_MODEL, _ADAPTER, _TRAIN, _EVAL = "model", "adapter", "train.parquet", "eval.parquet"
_SECONDS_TO_END = 20


@dataclasses.dataclass(frozen=True)
class Began:
    """The process has everything it needs."""


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The trial has evaluated, and waits to be told whether to stop."""

    value: float


@dataclasses.dataclass(frozen=True)
class Completed:
    """The trial has run to its end."""

    value: float
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Pruned:
    """The trial has stopped as told."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """The trial has not come to a figure."""

    reason: str


Message: TypeAlias = Began | Evaluated | Completed | Pruned | Failed


class _PrunedError(Exception):
    """Leaves a training run that is not worth going on with."""


@dataclasses.dataclass(frozen=True)
class Ingredients:
    """What all trials of a search have in common; it is sent to their processes."""

    start: Path
    """Folder with the model that trials start from, and with the rows."""
    model_type: type[PretrainedModel]
    """The model's class."""
    task: Task | None
    """What is learned; None where a collator alone knows."""
    metric: Metric
    """What is counted."""
    collator: Collator | None
    """The user's own way from rows to tensors."""
    loss: str | LossFunction | None
    """As for `Trainer`."""
    output_class: type[ModelOutput] | None
    """As for `Trainer`."""
    callbacks: tuple[Callback, ...]
    """The user's own callbacks."""
    frozen: frozenset[str]
    """Names of the weights that do not train."""
    kinds: frozenset[type[Callback]]
    """Types of all callbacks of the trainer; defaults that were taken off are not put back."""

    @classmethod
    def of(
        cls, trainer: Trainer, start: Path, defaults: frozenset[type[Callback]]
    ) -> "Ingredients":
        """Take from a trainer what its trials need.

        Raises:
            ConfigError: Something cannot be sent to another process; all such things are listed.
        """
        task = trainer.task
        kinds = frozenset(type(callback) for callback in trainer.callbacks)
        trainer.metric.reset()
        whole = cls(
            start,
            type(trainer.model),
            task.inner if isinstance(task, CollatedTask) else task,
            trainer.metric,
            trainer.data_collator,
            trainer.loss,
            trainer.output_class,
            tuple(c for c in trainer.callbacks if type(c) not in defaults),
            frozenset(n for n, w in trainer.model.named_parameters() if not w.requires_grad),
            kinds - {SignalCallback},
        )
        problems = []
        for field in dataclasses.fields(cls):
            try:
                ForkingPickler.dumps(getattr(whole, field.name))
            except Exception as error:
                problems.append(
                    f"`{field.name}` cannot be sent to the processes of trials: {error}. Define "
                    "it by name at the top level of a module."
                )
        if problems:
            raise ConfigError("\n".join(problems))
        return whole


@dataclasses.dataclass(frozen=True)
class Job:
    """What one trial does."""

    ingredients: Ingredients
    """What it has in common with the others."""
    args: TrainingArguments
    """How to train."""
    task_settings: Mapping[str, Any]
    """Changes of the task's settings."""
    num_threads: int
    """Threads for torch on the processor."""
    log: Path
    """File for what the process prints."""


def write_start(trainer: Trainer, folder: Path) -> None:
    """Write the model and the rows that trials start from, unless an earlier search has."""
    if folder.exists():
        return
    assert trainer.train_source is not None
    assert trainer.eval_source is not None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as place:
        _write_model(trainer.model, place)
        _write_rows(trainer.train_source, place / _TRAIN)
        _write_rows(trainer.eval_source, place / _EVAL)


def _write_model(model: PretrainedModel, place: Path) -> None:
    """Write a model; one with adapters as it is without them, and the adapters apart."""
    if adapted_layers(model):
        save_adapter(model, place / _ADAPTER)
        model = copy.deepcopy(model)
        remove_lora(model)
    model.save_pretrained(place / _MODEL)


def _write_rows(source: RowSource, file: Path) -> None:
    if isinstance(source, Dataset):
        source.to_parquet(file)
        return
    rows = source.rows(range(len(source)))
    Dataset.from_list([{k: _plain(v) for k, v in row.items()} for row in rows]).to_parquet(file)


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        listed = value.tolist()
        # a leading dimension of 1, as `return_tensors="pt"` gives, says nothing
        return listed[0] if value.ndim == 2 and len(listed) == 1 else listed
    return value


# In the trial's process ------------------------------------------------------------------------


class _ReportCallback(Callback):
    """Tells the search of evaluations; ends the run if told to, or if the search is gone."""

    def __init__(self, pipe: "Connection[Message, bool]") -> None:
        self.pipe = pipe

    def on_step_end(self, trainer: Trainer) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)

    def on_evaluate(self, trainer: Trainer, evaluation: "Evaluation") -> None:
        value = trainer.watch.figure(evaluation)
        if math.isnan(value):
            return
        self.pipe.send(Evaluated(value))
        if self.pipe.recv():
            raise _PrunedError


def run_trial(job: Job, pipe: "Connection[Message, bool]") -> None:
    """Train as a trial's process; whatever happens is told through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the search, which ends its trials
    _write_output_to(job.log)
    torch.set_num_threads(job.num_threads)
    pipe.send(Began())
    try:
        trainer = _make_trainer(job)
        trainer.add_callback(_ReportCallback(pipe))
        trainer.train()
        best = trainer.state.best_metric
        if best is None or math.isnan(best):
            pipe.send(Failed(f"`{trainer.watch.name}` was not a number in any evaluation."))
        else:
            pipe.send(Completed(best, trainer.state.best_metrics))
    except _PrunedError:
        pipe.send(Pruned())
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        pipe.send(Failed(f"{type(error).__name__}: {error}"))


def _unpack_and_run(
    files: Sequence[Path], packed: bytes, pipe: "Connection[Message, bool]"
) -> None:
    """Run a trial in its process, after the user's own files, whose classes a job may have."""
    for file in files:
        load_file(file)
    run_trial(ForkingPickler.loads(packed), pipe)


def load_start(shared: Ingredients) -> PretrainedModel:
    """Return the model that trials start from."""
    model = shared.model_type.from_pretrained(shared.start / _MODEL)
    if (shared.start / _ADAPTER).exists():
        load_adapter(model, shared.start / _ADAPTER)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name not in shared.frozen)
    return model


def _make_trainer(job: Job) -> Trainer:
    shared = job.ingredients
    train = Dataset.from_parquet(shared.start / _TRAIN)
    task = shared.task
    if task is not None and job.task_settings:
        task = type(task).learn(train, task.settings.replace(**job.task_settings))
    trainer = Trainer(
        load_start(shared),
        job.args,
        train,
        Dataset.from_parquet(shared.start / _EVAL),
        task=task,
        data_collator=shared.collator,
        metrics=shared.metric,
        callbacks=shared.callbacks,
        loss=shared.loss,
        output_class=shared.output_class,
    )
    trainer.callbacks = [c for c in trainer.callbacks if type(c) in shared.kinds]
    return trainer


def _write_output_to(file: Path) -> None:
    """Send what this process prints, also from other languages, to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.setLevel(logging.INFO)


# In the search's process -----------------------------------------------------------------------


class TrialProcess:
    """A trial that runs."""

    def __init__(self, job: Job) -> None:
        """Start it."""
        self.job = job
        self.has_begun = False
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        packed = bytes(ForkingPickler.dumps(job))
        args = (loaded_files(), packed, theirs)
        self.process = context.Process(target=_unpack_and_run, args=args, name=job.log.stem)
        self.process.start()
        theirs.close()  # its end is then closed once the process has ended

    def message(self) -> Message | None:
        """Return what the trial says, if anything; `Failed` where it has ended without a word."""
        is_alive = self.process.is_alive()  # asked first, for it may speak and end just now
        try:
            if self.pipe.poll():
                message: Message = self.pipe.recv()
                self.has_begun = True
                return message
        except (EOFError, OSError):
            self.process.join(_SECONDS_TO_END)
            is_alive = False
        return None if is_alive else Failed(_how_it_ended(self.process.exitcode))

    def handles(self) -> list["Connection[bool, Message] | int"]:
        """Return what becomes ready when the trial speaks or ends."""
        return [self.pipe, self.process.sentinel]

    def answer(self, is_pruned: bool) -> None:
        """Tell a trial that has evaluated whether to stop."""
        try:
            self.pipe.send(is_pruned)
        except OSError:
            logger.debug("A trial ended before it was answered.")

    def close(self, *, kills: bool = False) -> None:
        """Wait for the end of the process, or bring it about."""
        if not kills:
            self.process.join(_SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()
        self.process.close()

    def remove_files(self) -> None:
        """Remove the run's folder; what the process printed is kept."""
        shutil.rmtree(self.job.args.folder, ignore_errors=True)


def wait_for_any(trials: Mapping[int, TrialProcess], timeout: float = 1.0) -> list[int]:
    """Wait until a trial has something to say or has ended, and return which ones."""
    places = {place: number for number, trial in trials.items() for place in trial.handles()}
    return sorted({places[place] for place in wait([*places], timeout)})  # type: ignore[index]


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; perhaps memory ran out" if -code == signal.SIGKILL else ""
        return f"The process was ended by {name}{hint}."
    return f"The process ended without a word, with exit code {code}."
