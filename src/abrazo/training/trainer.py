"""The trainer keeps time: epochs, steps, evaluation, checkpoints. This is the whole of it.

    train
        check everything                                 tell every mistake at once
        go on from a checkpoint, or start
        on_train_start
        until the last step, or until told to stop:
            on_epoch_start
            for the rows of each step:
                loss and gradients, batch by batch
                one step of the optimizer
                on_step_end
                log                                      on_log
                evaluate, keep the best                  on_evaluate
                save a checkpoint                        on_save
            on_epoch_end
        save the last checkpoint                         on_save
        load the best weights
        on_train_end
        (on_exception, whenever the run is broken off)

What is optional is a callback; what is minimised, an objective; where it is computed, a strategy.
"""

import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

from abrazo.checkpoints.atomic import is_whole, prune, require_intact
from abrazo.data.rows import RowSource, as_rows
from abrazo.errors import ConfigError, TrainingError
from abrazo.heads.outputs import ModelOutput
from abrazo.hub.resolve import find_run_model
from abrazo.inference.evaluation import Evaluation
from abrazo.layers.heap import freed_memory_kept
from abrazo.layers.linear import bf16_copies_kept
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from abrazo.tasks.auto import task_type
from abrazo.tasks.base import Task
from abrazo.tokenization.tokenizer import Tokenizer
from abrazo.training.arguments import TrainingArguments
from abrazo.training.callbacks.base import Callback
from abrazo.training.callbacks.defaults import default_callbacks
from abrazo.training.checkpoint import (
    BEST,
    Snapshot,
    checkpoint_path,
    load_model_weights,
    save_best,
    save_checkpoint,
)
from abrazo.training.clock import Clock
from abrazo.training.collating import Collator
from abrazo.training.evaluating import (
    Evaluator,
    PredictionOutput,
    Watch,
    choose_metric,
    make_evaluator,
    with_prefix,
)
from abrazo.training.feeding import Feeder, StepRows, computes_rows
from abrazo.training.objectives import LossFunction, make_objective
from abrazo.training.parts import rows_by_task
from abrazo.training.plan import Cadence, Plan
from abrazo.training.preflight import CHECKED_ROWS, check_run
from abrazo.training.resuming import Start, describe_run, digest_of_config, find_start
from abrazo.training.settling import has_labels, rows_to_predict, settle_model, settle_task
from abrazo.training.state import LogEntry, TrainerState
from abrazo.training.stepping import Stepper
from abrazo.training.strategies import SingleDevice
from abrazo.training.tokenised import learns_per_token, reading_task, with_ids

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

    from abrazo.training.search import BestRun
    from abrazo.training.search_space import Space

logger = logging.getLogger("abrazo")


class TrainOutput(NamedTuple):
    """What training comes to."""

    global_step: int
    """Steps taken, also before the run was resumed."""
    training_loss: float
    """Mean loss of all steps."""
    metrics: dict[str, float]
    """`train_loss`, `train_runtime` and rates; `eval_` figures of the best weights."""


class _EvaluationInterrupted(BaseException):
    """Leaves an evaluation that a signal came into."""


class Trainer:
    """Trains, evaluates and predicts with one model."""

    def __init__(
        self,
        model: PretrainedModel | None = None,
        args: TrainingArguments | None = None,
        train_dataset: object | None = None,
        eval_dataset: object | None = None,
        *,
        task: Task | type[Task] | str | None = None,
        tokenizer: Tokenizer | None = None,
        processing_class: Tokenizer | None = None,
        data_collator: Collator | None = None,
        compute_metrics: Callable[[Any], Any] | None = None,
        metrics: object | None = None,
        callbacks: Iterable[Callback] = (),
        loss: str | LossFunction | None = None,
        output_class: type[ModelOutput] | None = None,
        model_init: Callable[[], PretrainedModel] | None = None,
    ) -> None:
        """Put a run together. Mistakes in data and settings are told by `train`, all at once.

        Args:
            model: A model with a head.
            args: How to train.
            train_dataset: Raw or tokenised rows: a `Dataset`, a list of dicts, a DataFrame, a
                `torch.utils.data.Dataset`, or a dict of columns.
            eval_dataset: Rows to evaluate on, of the same kinds.
            task: What is learned: a task's name, a task of your own, its class, or where that is,
                as `my_file.py:MyTask`; None goes by the model's head.
            tokenizer: None takes the model's own.
            processing_class: Another name for `tokenizer`.
            data_collator: From a list of rows to a mapping of padded tensors, in place of the
                task's own way.
            compute_metrics: A function of all predictions and labels that returns figures.
            metrics: The same as `compute_metrics`; also metrics that count batch by batch.
            callbacks: Besides those that are always there.
            loss: `weighted`, `focal`, `label_smoothing`, `r_drop`, or a function of logits and
                labels that returns the mean loss or one loss a target.
            output_class: A subclass of the model's output class that defines
                `loss(self, logits, labels)`.
            model_init: Makes the model, after `args.seed` was set, in place of `model`.

        Raises:
            ConfigError: Arguments contradict each other.
            DataError: A data set is empty or of a kind that cannot be read.
        """
        if (model is None) == (model_init is None):
            raise ConfigError("The Trainer needs a `model`, or a `model_init` that makes one.")
        if tokenizer is not None and processing_class is not None:
            raise ConfigError("`tokenizer` and `processing_class` are one thing; leave one out.")
        self.args = TrainingArguments() if args is None else args
        self.strategy = SingleDevice(self.args.device, self.args.wanted_precision)
        self.model_init = model_init
        if model is None:
            assert model_init is not None
            self.strategy.seed(self.args.seed)
            model = model_init()
        self.model = model
        given = tokenizer or processing_class
        if given is not None:
            self.model.tokenizer = given
        train_dataset = rows_by_task(self.model, train_dataset)
        eval_dataset = rows_by_task(self.model, eval_dataset)
        if data_collator is not None:
            train_dataset = with_ids(train_dataset, self.model)
            eval_dataset = with_ids(eval_dataset, self.model)
        self.train_data = train_dataset
        self.train_source = None if train_dataset is None else as_rows(train_dataset)
        self.eval_source = None if eval_dataset is None else as_rows(eval_dataset)
        self.eval_is_computed = self.eval_source is not None and computes_rows(
            eval_dataset, self.eval_source
        )
        self.data_collator = data_collator
        if task is not None:
            kind = task_type(task)
            task = task if isinstance(task, Task) else kind
        self.model = settle_model(self.model, task, self.train_source, data_collator)
        self.task = settle_task(task, self.model, self.train_source, data_collator)
        self.metric = choose_metric(compute_metrics, metrics, self.task)
        self.loss, self.output_class = loss, output_class
        self.callbacks = [*default_callbacks(self.args), *callbacks]
        self.state = TrainerState()
        self.watch = Watch("loss", "min")
        """The figure that says which weights are best."""
        self.watch_problem = ""
        """Why `metric_for_best_model` cannot be watched, if so."""
        self.best_evaluation: Evaluation | None = None
        """The evaluation of the best weights, where it was made in this stretch of the run."""
        self.last_evaluation: Evaluation | None = None
        """The newest evaluation."""
        self.interruption: signal.Signals | None = None
        """The signal that asked the run to stop."""
        self._is_evaluating = False

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        task: type[Task] | str | None = None,
        model_class: type[PretrainedModel] | str | None = None,
    ) -> Self:
        """Return a trainer around the model of a run's folder: the best, else the newest whole one.

        Args:
            folder: The run's `output_dir`.
            task: The class of a task of your own that the run learned, or `my_file.py:MyTask`.
            model_class: The model's class where its family is your own, or `my_file.py:MyModel`.

        Raises:
            ConfigError: There is none, or the task or the family is not known.
        """
        found = find_run_model(folder)
        if found is None:
            raise ConfigError(
                f"`{folder}` holds no model: neither `best/` nor a whole `checkpoint-N/` is there."
            )
        args = TrainingArguments(output_dir=str(folder))
        if task is None:
            return cls(load_model(found, model_class=model_class), args)
        kind = task_type(task)
        return cls(kind.load_model(found, model_class=model_class), args, task=kind)

    # What users call ----------------------------------------------------------------------

    def train(self, resume_from_checkpoint: bool | str | None = None) -> TrainOutput:
        """Train, or go on training where the same run stopped.

        Args:
            resume_from_checkpoint: As in `TrainingArguments`, which it goes before.

        Raises:
            TrainingError: The run cannot start (all mistakes are listed), or cannot go on because
                the loss is not a number (the rows are named).
            CheckpointError: A checkpoint cannot be written, or the one asked for cannot be read.
            KeyboardInterrupt: Ctrl-C; a checkpoint is saved.
            SystemExit: SIGTERM; a checkpoint is saved.
        """
        resume = resume_from_checkpoint
        self._prepare(self.args.resume_from_checkpoint if resume is None else resume)
        try:
            self._call("on_train_start")
            with freed_memory_kept(), bf16_copies_kept(self.model):
                self._fit()
            self._finish()
            self._call("on_train_end")
        except BaseException as error:
            for callback in self.callbacks:
                callback.on_exception(self, error)
            raise
        if self.interruption is not None:
            self._leave()
        return self._output()

    def evaluate(self, eval_dataset: object | None = None) -> dict[str, float]:
        """Return the loss and the metrics of a data set, named `eval_loss` and so on.

        Args:
            eval_dataset: Labelled rows; None takes the trainer's own.

        Raises:
            ConfigError: There is no data to evaluate on.
            DataError: A row cannot be used; it is named.
        """
        eval_dataset = rows_by_task(self.model, eval_dataset, all_tasks=False)
        if self.data_collator is not None:
            eval_dataset = with_ids(eval_dataset, self.model)
        source = self.eval_source if eval_dataset is None else as_rows(eval_dataset)
        if source is None:
            raise ConfigError(
                "There is nothing to evaluate on: give `evaluate` rows, or the Trainer an "
                "`eval_dataset`."
            )
        self.strategy.place(self.model)
        self.last_evaluation = self._evaluator(source).evaluate(self.model, source)
        return with_prefix(self.last_evaluation)

    def predict(self, inputs: object) -> PredictionOutput:
        """Return predictions for texts, rows, a data set or tokenised inputs; one line each.

        Raises:
            DataError: A row cannot be used; it is named.
        """
        source, task = rows_to_predict(inputs, self.task)
        self.strategy.place(self.model)
        evaluator = self._evaluator(source, task)
        return evaluator.predict(self.model, source, with_labels=has_labels(task, source))

    def hyperparameter_search(
        self,
        space: "Space | None" = None,
        *,
        n_trials: int = 20,
        metric: str | None = None,
        direction: str | None = None,
        timeout: float | None = None,
        storage: "str | Path | BaseStorage | None" = None,
        study_name: str | None = None,
        pruner: "str | BasePruner" = "median",
        seed: int | None = None,
        n_jobs: int = 1,
        keep: int = 1,
    ) -> "BestRun":
        """Search for the hyper-parameters with which this run comes out best.

        Each trial trains in its own process, from the weights that the model has now; the model
        itself is left as it is. The same call goes on with a search that was broken off.

        Args:
            space: Settings to try, such as `{"learning_rate": Uniform(1e-5, 1e-3, log=True)}`, or
                a function from an optuna trial to a dict of values; None takes usual ranges.
            n_trials: As the other arguments, a field of `SearchOptions`, which says more.
            metric: The figure to search by.
            direction: `max` or `min`.
            timeout: Seconds after which no further trial starts.
            storage: Where the study is kept.
            study_name: The study's name there.
            pruner: What stops trials that fall behind.
            seed: Of what trials are tried.
            n_jobs: Trials at a time.
            keep: How many runs to keep.

        Raises:
            ConfigError: A setting, a range or an option is wrong.
            TrainingError: The folder holds another search, or no trial came to a figure.
            MissingExtraError: optuna is not installed.
            KeyboardInterrupt: Ctrl-C; trials that run are ended.
        """
        from abrazo.training.search import SearchOptions, search  # which is built on this module

        options = SearchOptions(
            n_trials=n_trials,
            metric=metric,
            direction=direction,
            timeout=timeout,
            storage=storage,
            study_name=study_name,
            pruner=pruner,
            seed=seed,
            n_jobs=n_jobs,
            keep=keep,
        )
        return search(self, space, options)

    def save_model(self, folder: str | Path | None = None) -> None:
        """Save the model and its tokenizer; None saves into `output_dir`."""
        self.model.save_pretrained(self.args.folder if folder is None else folder)

    def add_callback(self, callback: Callback) -> None:
        """Add a callback; it is called after those that are there."""
        self.callbacks.append(callback)

    # What callbacks read and call ---------------------------------------------------------

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self.model.tokenizer

    def stop(self, reason: str) -> None:
        """End the run in good order after the running step."""
        self.state.stop_reason = reason

    @property
    def notes(self) -> list[str]:
        """Remarks on the run, for its report."""
        state, notes = self.state, []
        if state.stop_reason:
            notes.append(f"Stopped after step {state.global_step}: {state.stop_reason}.")
        if state.best_step is None:
            notes.append("There was no evaluation: `best/` has the weights of the last step.")
        elif self._takes_best:
            notes.append(f"The figures are those of step {state.best_step}, the best.")
        if state.skipped_steps:
            notes.append(f"{state.skipped_steps} steps moved no weights because fp16 overflowed.")
        return notes

    def interrupt(self, number: signal.Signals) -> None:
        """Break off the run for a signal: after the running step, or at once if evaluating."""
        self.interruption = number
        if self._is_evaluating:
            raise _EvaluationInterrupted

    def evaluation_to_show(self) -> Evaluation | None:
        """Return the evaluation of the weights in the model, made again if the run was resumed."""
        if self.eval_source is None or self.plan.evaluation.strategy == "no":
            return None
        known = self.best_evaluation if self._takes_best else self.last_evaluation
        return known or self._evaluator(self.eval_source).evaluate(self.model, self.eval_source)

    # The loop -----------------------------------------------------------------------------

    def _fit(self) -> None:
        if self.state.awaits_evaluation:
            self.state.awaits_evaluation = False
            self._evaluate_and_save(saves=self._is_due(self.plan.saving))
        while not self._is_over:
            self._run_epoch()

    def _run_epoch(self) -> None:
        state = self.state
        if state.rows_in_epoch == 0:
            self._call("on_epoch_start")
        for step_rows in self.feeder.steps(state.epoch_number, state.rows_in_epoch):
            self._train_step(step_rows)
            self._call("on_step_end")
            if self._is_due(self.plan.logging) or (
                self.args.logging_first_step and state.global_step == 1
            ):
                self._log_window()
            if self._is_due(self.plan.evaluation):
                self._evaluate_and_save(saves=self._is_due(self.plan.saving))
            elif self._is_due(self.plan.saving) and not self._is_over:
                self._save()
            if self.interruption is not None and not self._is_over:
                self._leave()
            if self._is_over:
                break
        if state.rows_in_epoch == len(self.feeder):
            self._call("on_epoch_end")
            state.epoch_number, state.rows_in_epoch = state.epoch_number + 1, 0

    def _train_step(self, step_rows: StepRows) -> None:
        rate = self.plan.learning_rate(self.args, self.state.global_step)
        result = self.stepper.step(step_rows.batches, rate, self.feeder.source.origin)
        self.state.count_step(result, len(step_rows.rows), len(self.feeder))
        self._last = result

    @property
    def _is_over(self) -> bool:
        state = self.state
        return (
            state.is_finished
            or bool(state.stop_reason)
            or state.global_step >= self.plan.total_steps
        )

    def _is_due(self, cadence: Cadence) -> bool:
        state = self.state
        return cadence.is_due(
            state.global_step,
            ends_epoch=state.rows_in_epoch == len(self.feeder),
            is_last=state.global_step >= self.plan.total_steps,
        )

    # Around the loop ----------------------------------------------------------------------

    def _prepare(self, resume: bool | str | None) -> None:
        """Check everything, then start or go on."""
        if self.train_data is None or self.train_source is None:
            raise TrainingError("There is nothing to train on: give the Trainer a `train_dataset`.")
        args, self.interruption = self.args, None
        self.task.prepare_model(self.model)
        self.strategy.place(self.model.float())
        self.feeder = Feeder(
            self.train_data,
            reading_task(self.task, self.train_source, self.model),
            self.tokenizer,
            seed=args.seed,
            batch_size=args.per_device_train_batch_size,
            accumulation=args.gradient_accumulation_steps,
            collator=self.data_collator,
            per_token=learns_per_token(self.model),
            num_workers=args.dataloader_num_workers,
            group_by_length=args.group_by_length,
        )
        self.plan = Plan.of(args, len(self.feeder), has_eval_rows=self.eval_source is not None)
        self._settle_watch()
        check_run(self)
        run = describe_run(
            args,
            data=self.feeder.fingerprint(CHECKED_ROWS),
            model=digest_of_config(self.model),
            loss=getattr(self.loss, "__qualname__", str(self.loss)),
        )
        start = find_start(args, resume, run)
        objective = make_objective(
            self.loss,
            self.output_class,
            lambda: self.feeder.count_labels(self.model.config.num_labels),
        )
        self._run, self._saved_at = run, -1
        self.stepper = Stepper(self.model, objective, args, self.strategy)
        self._start(start)
        self._clock = Clock(self.state)

    def _settle_watch(self) -> None:
        """Find the figure that says which weights are best, or why it cannot be found."""
        name, greater = self.args.metric_for_best_model, self.args.greater_is_better
        self.watch_problem = ""
        try:
            self.watch = Watch.of(name, greater, self.metric)
        except ConfigError as error:
            self.watch_problem = str(error)

    def _start(self, start: Start) -> None:
        """Begin, or take over what a checkpoint holds."""
        self.best_evaluation = self.last_evaluation = None
        if start.snapshot is None or start.folder is None:
            self.state = TrainerState()
            self.strategy.seed(self.args.seed)
        else:
            load_model_weights(self.model, start.folder)
            self.stepper.load_state_tensors(start.snapshot.optimizer)
            for name, callback in self._named_callbacks().items():
                if name in start.snapshot.callbacks:
                    callback.load_state_dict(start.snapshot.callbacks[name])
            self.state = start.snapshot.state
            self.strategy.load_random_state(start.snapshot.random)
            self._tell_start(start)
        self.state.max_steps = self.plan.total_steps

    def _tell_start(self, start: Start) -> None:
        state, total = self.state, self.plan.total_steps
        if start.is_changed and state.global_step < total:
            state.is_finished, state.stop_reason = False, ""
        if state.is_finished:
            logger.warning(
                "The run in `%s` is finished (%d steps): nothing is trained. To train more, raise "
                "`num_train_epochs` with `resume_from_checkpoint=True`; to train anew, set "
                "`overwrite_output_dir=True` or choose another `output_dir`.",
                self.args.folder,
                state.global_step,
            )
        else:
            logger.info(
                "Going on from `%s`: step %d of %d.", start.folder, state.global_step, total
            )

    def _finish(self) -> None:
        """Save the end of the run, and take the best weights."""
        state, output = self.state, self.args.folder
        if not state.is_finished:
            self._log(self._summary())
            state.is_finished = True
            self._save()
        if state.best_step is None and not is_whole(output / BEST):
            logger.info("No evaluation has chosen the best weights: `%s/` has the last.", BEST)
            save_best(output, self.model, {"step": state.global_step, "metric": None})
        elif self._takes_best and state.best_step not in (None, state.global_step):
            require_intact(output / BEST)
            load_model_weights(self.model, output / BEST)
            logger.info("The model has the weights of step %d, the best.", state.best_step)
        self.model.eval()

    def _leave(self) -> NoReturn:
        """Save a checkpoint that verifies, and end as the signal asks for."""
        assert self.interruption is not None
        state, name = self.state, self.interruption.name
        said = f"Stopped by {name} after the run's last step."
        if not state.is_finished:
            if self._saved_at != state.global_step or state.awaits_evaluation:
                self._save()
            folder = checkpoint_path(self.args.folder, state.global_step)
            require_intact(folder)
            said = (
                f"Stopped by {name} after step {state.global_step}; `{folder}` is saved. Run the "
                "same command again to go on."
            )
        logger.warning(said)
        if self.interruption == signal.SIGINT:
            raise KeyboardInterrupt(said)
        raise SystemExit(128 + self.interruption)

    # Evaluation, log and checkpoints ------------------------------------------------------

    def _evaluator(self, source: RowSource, task: Task | None = None) -> Evaluator:
        task = reading_task(task or self.task, source, self.model)
        return make_evaluator(task, self.tokenizer, self.metric, self.strategy.precision)

    def _evaluate_and_save(self, *, saves: bool) -> None:
        """Evaluate, keep the best weights, and save a checkpoint if one is due."""
        assert self.eval_source is not None
        if self.interruption is not None:
            self.state.awaits_evaluation = True
            self._leave()
        try:
            self._is_evaluating = True
            with self._clock.pausing():
                evaluator = self._evaluator(self.eval_source)
                evaluation = evaluator.evaluate(self.model, self.eval_source)
            self._is_evaluating = False
        except _EvaluationInterrupted:
            self._is_evaluating = False
            self.state.awaits_evaluation = True
            self._leave()
        self.last_evaluation = evaluation
        self._keep_if_best(evaluation)
        self._log(with_prefix(evaluation))
        self._call("on_evaluate", evaluation)
        if saves and not self._is_over:
            self._save()

    def _keep_if_best(self, evaluation: Evaluation) -> None:
        state, figure = self.state, self.watch.figure(evaluation)
        if not self.watch.is_better(figure, state.best_metric):
            return
        state.best_metric, state.best_step = figure, state.global_step
        state.best_metrics = with_prefix(evaluation)
        self.best_evaluation = evaluation
        figures = {
            "step": state.global_step,
            "metric": self.watch.name,
            "value": figure,
            "metrics": evaluation.metrics,
        }
        with self._clock.pausing():
            save_best(self.args.folder, self.model, figures)

    @property
    def _takes_best(self) -> bool:
        wished = self.args.load_best_model_at_end
        return self.plan.evaluation.strategy != "no" if wished is None else wished

    def _log_window(self) -> None:
        """Log the steps since the last entry."""
        state = self.state
        rows_rate, tokens_rate = self._clock.rates(state)
        self._log(
            {
                **state.take_window(),
                "grad_norm": self._last.gradient_norm,
                "learning_rate": self.plan.learning_rate(self.args, state.global_step - 1),
                "rows_per_second": round(rows_rate, 2),
                "tokens_per_second": round(tokens_rate, 1),
            }
        )

    def _log(self, figures: Mapping[str, float]) -> None:
        entry: LogEntry = {"step": self.state.global_step, "epoch": self.state.epoch, **figures}
        self.state.log_history.append(entry)
        self._call("on_log", entry)

    def _save(self) -> None:
        """Save a checkpoint of this step, and remove those beyond the limit."""
        self.state.seconds += self._clock.take()
        snapshot = Snapshot(
            state=self.state,
            run=self._run,
            callbacks={n: c.state_dict() for n, c in self._named_callbacks().items()},
            optimizer=self.stepper.state_tensors(),
            random=self.strategy.random_state(),
        )
        with self._clock.pausing():
            folder = save_checkpoint(self.args.folder, self.model, snapshot)
            if self.args.save_total_limit is not None:
                prune(self.args.folder, self.args.save_total_limit)
        self._saved_at = self.state.global_step
        self._call("on_save", folder)

    def _named_callbacks(self) -> dict[str, Callback]:
        """Return the callbacks by the names their states are kept under."""
        named: dict[str, Callback] = {}
        for callback in self.callbacks:
            name = type(callback).__name__
            same = sum(known.partition("#")[0] == name for known in named)
            named[f"{name}#{same + 1}" if same else name] = callback
        return named

    def _call(self, moment: str, *details: object) -> None:
        for callback in list(self.callbacks):
            getattr(callback, moment)(self, *details)

    def _summary(self) -> dict[str, float]:
        state = self.state
        seconds = state.seconds + self._clock.elapsed
        return {
            "train_loss": state.train_loss,
            "train_runtime": round(seconds, 3),
            "train_rows_per_second": round(state.num_rows_seen / max(seconds, 1e-9), 2),
            "train_steps_per_second": round(state.global_step / max(seconds, 1e-9), 3),
        }

    def _output(self) -> TrainOutput:
        summary = next((e for e in reversed(self.state.log_history) if "train_loss" in e), {})
        figures = {name: value for name, value in summary.items() if name != "step"}
        return TrainOutput(
            self.state.global_step,
            self.state.train_loss,
            {**figures, **self.state.best_metrics},
        )
