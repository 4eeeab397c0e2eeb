"""The study behind a search: kept in a file, and gone on with only as the search that it is."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from abrazo.errors import ConfigError, MissingExtraError, TrainingError, one_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

logger = logging.getLogger("abrazo")

PRUNERS = ("median", "none")
IDENTITY, REASON, VALUES, METRICS, SECONDS = "search", "reason", "values", "metrics", "seconds"
"""Names under which a study keeps what it is, and its trials what became of them."""

Direction = Literal["max", "min"]


def require_optuna() -> None:
    """Refuse to search without optuna.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Searching for hyper-parameters", "search") from error


def make_pruner(pruner: object) -> "BasePruner":
    """Return an optuna pruner by its name, or the user's own.

    Raises:
        ConfigError: There is no such pruner.
    """
    from optuna.pruners import BasePruner, MedianPruner, NopPruner

    if isinstance(pruner, BasePruner):
        return pruner
    if pruner not in PRUNERS:
        raise ConfigError(one_of("`pruner`", pruner, PRUNERS) + " An optuna pruner will do too.")
    return MedianPruner() if pruner == "median" else NopPruner()


@contextlib.contextmanager
def open_storage(storage: object, file: Path) -> "Iterator[BaseStorage]":
    """Open where studies are kept, and close it again.

    Args:
        storage: A database's URL, the path of an SQLite file, an optuna storage, or None.
        file: The SQLite file to use for None.

    Raises:
        ConfigError: It cannot be opened.
    """
    from optuna.storages import BaseStorage, RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    if isinstance(storage, BaseStorage):
        yield storage
        return
    place = file if storage is None else storage
    if not isinstance(place, str | Path):
        raise ConfigError(
            f"`storage` must be a database's URL, a path or an optuna storage, but is {place!r}."
        )
    url = str(place)
    if "://" not in url:
        Path(url).expanduser().parent.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{Path(url).expanduser()}"
    try:
        opened = RDBStorage(url)
    except (SQLAlchemyError, ImportError, ValueError, RuntimeError) as error:
        raise ConfigError(f"The studies in `{place}` cannot be read: {error}") from error
    try:
        yield opened
    finally:
        opened.remove_session()
        opened.engine.dispose()


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep optuna from logging beside us."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(
    storage: "BaseStorage",
    name: str,
    identity: Mapping[str, Any],
    *,
    pruner: "BasePruner",
    direction: Direction,
    seed: int,
    anew: bool,
) -> "Study":
    """Begin a study, or go on with it; trials that were broken off are lined up again.

    Args:
        storage: Where studies are kept.
        name: The study's name there.
        identity: What a study is: it goes on only where all of this is the same.
        pruner: Decides which trials are not worth going on with.
        direction: Whether the greatest or the least figure is best.
        seed: Of the sampler.
        anew: Whether to remove a study of that name.

    Raises:
        TrainingError: The study is another one.
    """
    import optuna

    known = name in optuna.get_all_study_names(storage)
    if known and anew:
        logger.warning("Removed the study `%s` of an earlier search.", name)
        optuna.delete_study(study_name=name, storage=storage)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize" if direction == "max" else "minimize",
        pruner=pruner,
        load_if_exists=True,
    )
    said = json.loads(json.dumps(identity, default=str))
    _refuse_another(study.user_attrs.get(IDENTITY, {} if study.trials else said), said, name)
    study.set_user_attr(IDENTITY, said)
    _line_up_again(study)
    # another seed for each stretch, so that it does not repeat the first one's draws
    study.sampler = optuna.samplers.TPESampler(seed=(seed + len(study.trials)) % 2**32)
    return study


def _refuse_another(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    changes = [
        f"  {key} was {str(before.get(key))[:300]} and is {str(value)[:300]}"
        for key, value in now.items()
        if before.get(key) != value
    ]
    if changes:
        raise TrainingError(
            f"The study `{name}` is of another search:\n" + "\n".join(changes) + "\nSet them back "
            "to go on with it, choose another `output_dir` or `study_name`, or set "
            "`overwrite_output_dir=True` to remove it."
        )


def _line_up_again(study: "Study") -> None:
    """Line up the trials that were running when their search was broken off."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
        logger.info("Trial %d was broken off; it is run again.", trial.number)


def has_ended(trial: "FrozenTrial") -> bool:
    """Tell whether a trial has come to an end of its own, rather than been broken off."""
    return bool(trial.state.is_finished() and (trial.state.name != "FAIL" or is_failure(trial)))


def is_failure(trial: "FrozenTrial") -> bool:
    """Tell whether a trial has failed for a reason of its own."""
    return REASON in trial.user_attrs


def ranked(study: "Study") -> "list[FrozenTrial]":
    """Return the completed trials, the best first."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    done = study.get_trials(states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    return sorted(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number))
