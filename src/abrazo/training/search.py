"""Search for hyper-parameters: trials in processes of their own, bad ones stopped early.

open the study, or go on with it                     search.db
write model and rows once                            trials/start/
until there are enough trials, or time is up:
    let the sampler choose hyper-parameters
    start a trial                                    trials/N/, trials/N.log
    after each of its evaluations: ask the pruner
    take its figure, or the reason it failed
    keep the runs of the best trials only
write the report                                     search.html
"""

import dataclasses
import hashlib
import json
import logging
import math
import multiprocessing
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from abrazo.config import Config
from abrazo.data.rows import RowSource
from abrazo.errors import ConfigError, TrainingError, one_of
from abrazo.models.multi_task import MultiTaskModel
from abrazo.training import search_study as studies
from abrazo.training.callbacks.defaults import default_callbacks
from abrazo.training.resuming import describe_run, digest_of_config
from abrazo.training.search_report import SearchReport, TrialSummary, write_search_report
from abrazo.training.search_space import (
    NOT_SEARCHED,
    Searched,
    Space,
    Value,
    describe_space,
    settle_space,
    suggest,
)
from abrazo.training.trainer import Trainer
from abrazo.training.trial import (
    Began,
    Completed,
    Evaluated,
    Failed,
    Ingredients,
    Job,
    Message,
    TrialProcess,
    wait_for_any,
    write_start,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

logger = logging.getLogger("abrazo")

STUDY_FILE = "search.db"
REPORT_FILE = "search.html"
TRIALS = "trials"

_DIRECTIONS: dict[str, studies.Direction] = {
    "max": "max",
    "maximize": "max",
    "min": "min",
    "minimize": "min",
}
_ROWS_OF_DIGEST = 200


@dataclasses.dataclass(frozen=True)
class BestRun:
    """The best trial of a search."""

    number: int
    """Which one, from 0."""
    value: float
    """Its best figure of the metric searched by."""
    hyperparameters: dict[str, Value]
    """Its settings, as far as they were searched."""
    folder: Path
    """Its run: `Trainer.from_pretrained(folder)` takes the model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions(Config):
    """How to search."""

    ALIASES: ClassVar = {"trials": "n_trials", "pruning": "pruner"}

    n_trials: int = 20
    """Trials of the whole study, those of earlier stretches included."""
    metric: str | None = None
    """The figure to search by; None takes `metric_for_best_model` of the run, else the loss."""
    direction: str | None = None
    """Whether the greatest figure is best (max) or the least (min); None lets the metric say."""
    timeout: float | None = None
    """Seconds after which no further trial starts."""
    storage: Any = None
    """Where the study is kept: a path, a database's URL or an optuna storage; None takes
    `search.db` in `output_dir`. One search at a time can work on a study."""
    study_name: str | None = None
    """The study's name there; None takes "search"."""
    pruner: Any = "median"
    """What stops trials that fall behind: median, none, or an optuna pruner."""
    seed: int | None = None
    """Of what trials are tried; None takes that of the run."""
    n_jobs: int = 1
    """Trials at a time; on the processor they share its threads."""
    keep: int = 1
    """How many runs to keep, the best ones."""

    def __post_init__(self) -> None:
        problems = []
        for name in ("n_trials", "n_jobs", "keep"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                problems.append(f"`{name}` must be a whole number of at least 1, but is {count!r}.")
        seconds = self.timeout
        if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
            problems.append(f"`timeout` must be above 0, but is {seconds!r}.")
        if self.direction is not None and self.direction not in _DIRECTIONS:
            problems.append(one_of("`direction`", self.direction, _DIRECTIONS))
        if problems:
            raise ConfigError("\n".join(problems))


def search(
    trainer: Trainer,
    space: Space | None = None,
    options: SearchOptions | None = None,
    *,
    launch: "Callable[[Job], TrialProcess]" = TrialProcess,
) -> BestRun:
    """Search for the best hyper-parameters of a trainer's run.

    Args:
        trainer: Has the model that trials start from, the rows and all other settings.
        space: What to try; None takes usual ranges.
        options: How to search.
        launch: Starts a trial.

    Raises:
        ConfigError: Something is wrong with space, options or trainer.
        TrainingError: The study is another one, or no trial came to a figure.
        MissingExtraError: optuna is not installed.
        KeyboardInterrupt: Ctrl-C; the same search goes on with what there is.
    """
    studies.require_optuna()
    options = options or SearchOptions()
    _refuse_unguarded_script()
    _require_evaluation(trainer)
    metric = (options.metric or trainer.args.metric_for_best_model or "loss").removeprefix("eval_")
    searched = Searched(trainer.args, trainer.task.settings)
    space = settle_space(space, searched)
    direction = _direction(trainer, options, metric)
    pruner = studies.make_pruner(options.pruner)
    folder = trainer.args.folder
    ingredients = Ingredients.of(trainer, folder / TRIALS / "start", _default_types(trainer))
    identity = _identity(trainer, space, metric, direction)
    with (
        studies.quiet_optuna(),
        studies.open_storage(options.storage, folder / STUDY_FILE) as storage,
    ):
        study = studies.open_study(
            storage,
            options.study_name or "search",
            identity,
            pruner=pruner,
            direction=direction,
            seed=trainer.args.seed if options.seed is None else options.seed,
            anew=trainer.args.overwrite_output_dir,
        )
        if not study.trials:
            shutil.rmtree(folder / TRIALS, ignore_errors=True)
        write_start(trainer, ingredients.start)
        run = _Search(study, space, searched, options, metric, ingredients, launch)
        return run.run()


class _Search:
    """A search while it runs."""

    def __init__(
        self,
        study: "Study",
        space: Space,
        searched: Searched,
        options: SearchOptions,
        metric: str,
        ingredients: Ingredients,
        launch: "Callable[[Job], TrialProcess]",
    ) -> None:
        self.study, self.space, self.searched = study, space, searched
        self.options, self.metric, self.ingredients = options, metric, ingredients
        self.launch = launch
        self.running: dict[int, TrialProcess] = {}
        self.trials: dict[int, Trial] = {}
        self.started: dict[int, float] = {}
        self.evaluations: dict[int, int] = {}
        self.any_has_begun = False
        self.ends_at = math.inf if options.timeout is None else time.monotonic() + options.timeout

    @property
    def folder(self) -> Path:
        return self.searched.args.folder

    def run(self) -> BestRun:
        """Run trials until there are enough, and return the best."""
        ended = sum(map(studies.has_ended, self.study.trials))
        if ended:
            logger.info("The study goes on: %d of %d trials are done.", ended, self._wanted)
        try:
            self._run_trials()
        except KeyboardInterrupt:
            logger.warning(
                "The search is broken off. Run the same again to go on; what was running is run "
                "again."
            )
            raise
        finally:
            for trial in self.running.values():
                trial.close(kills=True)
            self._write_report()
        return self._best()

    @property
    def _wanted(self) -> int:
        return self.options.n_trials

    def _run_trials(self) -> None:
        while True:
            while self._may_start():
                self._start()
            if not self.running:
                return
            for number in wait_for_any(self.running):
                message = self.running[number].message()
                if message is not None:
                    self._take(number, message)

    def _may_start(self) -> bool:
        if len(self.running) >= self.options.n_jobs or time.monotonic() >= self.ends_at:
            return False
        ended = sum(map(studies.has_ended, self.study.trials))
        return ended + len(self.running) < self._wanted

    def _start(self) -> None:
        """Let the study choose, and start a trial; settings that contradict each other fail."""
        trial = self.study.ask()
        number = trial.number
        try:
            values = suggest(self.space, trial, self.searched)
        except BaseException:
            self.study.tell(trial, state=_state("FAIL"))
            raise
        trial.set_user_attr(studies.VALUES, values)
        self.trials[number], self.started[number] = trial, time.monotonic()
        self.evaluations[number] = 0
        try:
            changed = self.searched.changed(values)
        except ConfigError as error:
            self._end(number, Failed(str(error)))
            return
        ended = sum(map(studies.has_ended, self.study.trials)) + len(self.running)
        logger.info("Trial %d (%d of %d): %s", number, ended + 1, self._wanted, _listed(values))
        direction = _direction_of(self.study)
        run = self.folder / TRIALS / str(number)
        args = changed.args.replace(
            output_dir=str(run),
            run_name=f"trial {number}",
            overwrite_output_dir=True,
            resume_from_checkpoint=None,
            metric_for_best_model=self.metric,
            greater_is_better=direction == "max",
            save_strategy="no",
            save_steps=None,
            save_total_limit=1,
        )
        of_task = {name: values[name] for name in values if name not in args.to_dict()}
        threads = max(1, torch.get_num_threads() // self.options.n_jobs)
        log = run.with_name(f"{number}.log")
        job = Job(self.ingredients, args, of_task, threads, log)
        self.running[number] = self.launch(job)

    def _take(self, number: int, message: Message) -> None:
        if isinstance(message, Began):
            self.any_has_begun = True
        elif isinstance(message, Evaluated):
            # counted in evaluations: steps mean little where batch sizes differ
            self.trials[number].report(message.value, self.evaluations[number])
            self.evaluations[number] += 1
            self.running[number].answer(self.trials[number].should_prune())
        else:
            trial = self.running.pop(number)
            trial.close()
            if isinstance(message, Failed) and not (trial.has_begun or self.any_has_begun):
                raise TrainingError(
                    f"A trial's process could not begin. {message.reason} What it printed is "
                    "above. In a script, what starts the search must stand under "
                    '`if __name__ == "__main__":`.'
                )
            self._end(number, message)
            if not isinstance(message, Completed):
                trial.remove_files()

    def _end(self, number: int, message: Message) -> None:
        """Enter what became of a trial, tell it, and remove the runs that are no longer best."""
        trial = self.trials.pop(number)
        seconds = time.monotonic() - self.started.pop(number)
        trial.set_user_attr(studies.SECONDS, round(seconds, 1))
        if isinstance(message, Completed):
            trial.set_user_attr(studies.METRICS, _finite(message.metrics))
            self.study.tell(trial, message.value)
            best = studies.ranked(self.study)[0]
            logger.info(
                "Trial %d: %s %.4g after %.0f s; the best is %.4g, of trial %d.",
                number,
                self.metric,
                message.value,
                seconds,
                best.value,
                best.number,
            )
            for worse in studies.ranked(self.study)[self.options.keep :]:
                shutil.rmtree(self.folder / TRIALS / str(worse.number), ignore_errors=True)
        elif isinstance(message, Failed):
            trial.set_user_attr(studies.REASON, message.reason)
            self.study.tell(trial, state=_state("FAIL"))
            logger.warning("Trial %d failed: %s", number, message.reason)
        else:
            self.study.tell(trial, state=_state("PRUNED"))
            logger.info("Trial %d is stopped: it fell behind the others.", number)

    def _best(self) -> BestRun:
        done = studies.ranked(self.study)
        if not done:
            reasons = dict.fromkeys(
                str(trial.user_attrs[studies.REASON])
                for trial in self.study.trials
                if studies.is_failure(trial)
            )
            listed = "\n".join(f"  {reason}" for reason in reasons)
            raise TrainingError(
                "No trial came to a figure"
                + (f":\n{listed}\nWhat they printed is in " if listed else "; see ")
                + f"`{self.folder / TRIALS}`."
            )
        best = done[0]
        assert best.value is not None
        return BestRun(
            best.number,
            best.value,
            dict(best.user_attrs[studies.VALUES]),
            self.folder / TRIALS / str(best.number),
        )

    def _write_report(self) -> None:
        report = SearchReport(
            title=self.searched.args.run_name or self.folder.absolute().name,
            model=self.ingredients.model_type.__name__,
            metric=self.metric,
            direction=_direction_of(self.study),
            trials=[_summary(trial) for trial in self.study.trials],
        )
        write_search_report(self.folder / REPORT_FILE, report)
        logger.info("The report of the search is `%s`.", self.folder / REPORT_FILE)


def _summary(trial: "FrozenTrial") -> TrialSummary:
    known = trial.user_attrs
    state = trial.state.name.lower()
    if state == "fail":
        state = "failed" if studies.is_failure(trial) else "broken off"
    return TrialSummary(
        number=trial.number,
        state={"complete": "completed", "running": "broken off", "waiting": "to come"}.get(
            state, state
        ),
        value=trial.value if state == "complete" else None,
        hyperparameters=known.get(studies.VALUES, trial.params),
        seconds=known.get(studies.SECONDS),
        reason=str(known.get(studies.REASON, "")),
    )


def _refuse_unguarded_script() -> None:
    # set while a spawned process imports the script that started it
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "Trials run in processes of their own, which import your script: put what starts the "
            'search under `if __name__ == "__main__":`.'
        )


def _require_evaluation(trainer: Trainer) -> None:
    """Refuse to search where no figure will come of it."""
    problems = []
    if isinstance(trainer.model, MultiTaskModel):
        problems.append("A search is for models of one task, but this one has several.")
    if trainer.train_source is None:
        problems.append("There is nothing to train on: give the Trainer a `train_dataset`.")
    if trainer.eval_source is None:
        problems.append("A search compares evaluations: give the Trainer an `eval_dataset`.")
    elif trainer.args.eval_strategy == "no":
        problems.append("A search compares evaluations: set `eval_strategy` to 'epoch' or 'steps'.")
    if problems:
        raise ConfigError("\n".join(problems))


def _direction(trainer: Trainer, options: SearchOptions, metric: str) -> studies.Direction:
    """Return which figures are best, as the user or the metric says."""
    of_metric = trainer.metric.direction_of(metric)
    if options.direction is not None:
        return _DIRECTIONS[options.direction]
    wished = trainer.args.greater_is_better
    if wished is None or metric != (trainer.args.metric_for_best_model or "").removeprefix("eval_"):
        return of_metric
    return "max" if wished else "min"


def _direction_of(study: "Study") -> studies.Direction:
    return "max" if study.direction.name == "MAXIMIZE" else "min"


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _default_types(trainer: Trainer) -> frozenset[type]:
    return frozenset(type(callback) for callback in default_callbacks(trainer.args))


def _identity(
    trainer: Trainer, space: Space, metric: str, direction: studies.Direction
) -> dict[str, Any]:
    """Return what makes a search the one that it is."""
    assert trainer.train_source is not None
    assert trainer.eval_source is not None
    run = describe_run(
        trainer.args,
        data=_digest(trainer.train_source) + " " + _digest(trainer.eval_source),
        model=digest_of_config(trainer.model),
        loss=getattr(trainer.loss, "__qualname__", str(trainer.loss)),
    )
    settings = run.pop("settings")
    of_run = {name: value for name, value in settings.items() if name not in NOT_SEARCHED}
    of_task = {f"{n} of the task": v for n, v in trainer.task.settings.to_dict().items()}
    named = {"space": describe_space(space), "metric": metric, "direction": direction}
    return {**named, **of_run, **of_task, **run}


def _digest(source: RowSource) -> str:
    rows = source.rows(range(min(len(source), _ROWS_OF_DIGEST)))
    text = json.dumps([len(source), rows], default=str)
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _listed(values: dict[str, Value]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def _finite(metrics: Any) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
