"""Checkpoints of a run: a model folder like any other, and beside it all that the run goes on from.

checkpoint-120/
    config.json  model.safetensors  tokenizer.json  abrazo.json    loads like any model
    optimizer.safetensors      moments of the optimizer
    rng.safetensors            generators that dropout draws from
    trainer_state.json         position, log, best figure, settings, callbacks
    MANIFEST.json              sizes and SHA-256 of all of it, written last
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from abrazo.checkpoints.atomic import MANIFEST, atomic_folder, newest_whole, verify
from abrazo.checkpoints.jsonfile import read_json_object, write_json
from abrazo.checkpoints.safetensors import open_tensors, save_tensors
from abrazo.checkpoints.temporary import discard
from abrazo.errors import CheckpointError
from abrazo.models.base import PretrainedModel
from abrazo.training.state import TrainerState

logger = logging.getLogger("abrazo")

STATE_FILE = "trainer_state.json"
OPTIMIZER_FILE = "optimizer.safetensors"
RANDOM_FILE = "rng.safetensors"
BEST = "best"
BEST_FILE = "best.json"
_FORMAT = 1
_PATTERN = "checkpoint-*"


@dataclasses.dataclass
class Snapshot:
    """All that a run goes on from, besides the model."""

    state: TrainerState
    """Position, log, best figure."""
    run: dict[str, Any]
    """What the run was started with: settings, and digests of data and model."""
    callbacks: dict[str, Any]
    """What callbacks keep, by their names."""
    optimizer: Mapping[str, Tensor]
    """Moments of the optimizer."""
    random: Mapping[str, Tensor]
    """States of random generators."""


def checkpoint_path(output: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return output / f"checkpoint-{step}"


def save_checkpoint(output: Path, model: PretrainedModel, snapshot: Snapshot) -> Path:
    """Write the checkpoint of the step that a run has reached, whole or not at all.

    Returns:
        Its folder.

    Raises:
        CheckpointError: The system refused to write; earlier checkpoints are untouched.
    """
    folder = checkpoint_path(output, snapshot.state.global_step)
    record = {
        "format": _FORMAT,
        "state": snapshot.state.to_dict(),
        "run": snapshot.run,
        "callbacks": snapshot.callbacks,
    }
    with _telling_what_is_left(output), atomic_folder(folder, needs=bytes_needed(model)) as place:
        model.save_pretrained(place)
        save_tensors(snapshot.optimizer, place / OPTIMIZER_FILE)
        save_tensors(snapshot.random, place / RANDOM_FILE)
        write_json(place / STATE_FILE, record)
    return folder


def save_best(output: Path, model: PretrainedModel, figures: Mapping[str, Any]) -> Path:
    """Write `best/`: the model, and the figures that make it the best.

    Raises:
        CheckpointError: The system refused to write; the best so far is untouched.
    """
    folder = output / BEST
    with _telling_what_is_left(output), atomic_folder(folder) as place:
        model.save_pretrained(place)
        write_json(place / BEST_FILE, figures)
    return folder


def bytes_needed(model: PretrainedModel) -> int:
    """Return about how much a checkpoint takes on disk: the weights and two moments of each."""
    return 3 * sum(weight.nbytes for weight in model.parameters())


def load_model_weights(model: PretrainedModel, folder: Path) -> None:
    """Copy the weights of a checkpoint into a model that is there already.

    Raises:
        CheckpointError: They are damaged, or those of another model.
    """
    model.load_weights(folder)


def load_snapshot(folder: Path) -> Snapshot:
    """Read what a run goes on from.

    Raises:
        CheckpointError: The folder is damaged, or a model folder that no run can go on from.
    """
    if not (folder / STATE_FILE).exists():
        raise CheckpointError(
            f"`{folder}` has no `{STATE_FILE}`, so no run can go on from it. It may be a model to "
            "start from: load it with `from_pretrained`."
        )
    problems = verify(folder)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise CheckpointError(f"The checkpoint `{folder}` is damaged:\n{listed}")
    record = read_json_object(folder / STATE_FILE)
    if record.get("format") != _FORMAT:
        raise CheckpointError(
            f"`{folder / STATE_FILE}` has the format {record.get('format')!r}, but this version of "
            f"abrazo reads {_FORMAT}."
        )
    parts = {name: record.get(name) for name in ("state", "run", "callbacks")}
    wrong = [name for name, part in parts.items() if not isinstance(part, dict)]
    if wrong:
        raise CheckpointError(f"`{folder / STATE_FILE}` has no {' and no '.join(wrong)}.")
    return Snapshot(
        state=TrainerState.from_dict(record["state"]),
        run=record["run"],
        callbacks=record["callbacks"],
        optimizer=_read_tensors(folder / OPTIMIZER_FILE),
        random=_read_tensors(folder / RANDOM_FILE),
    )


def _read_tensors(path: Path) -> dict[str, Tensor]:
    file = open_tensors(path)
    return {name: file.tensor(name) for name in file.names}


def find_checkpoint(output: Path) -> Path | None:
    """Return the newest whole checkpoint of a run's folder; put damaged newer ones aside."""
    newest = newest_whole(output, _PATTERN)
    for path, reason in newest.skipped:
        aside = _free_name(path.with_name(f"damaged-{path.name}"))
        os.rename(path, aside)
        logger.warning("`%s` is damaged and now called `%s`: %s", path, aside.name, reason)
    if newest.skipped and newest.path is not None:
        logger.warning("The run goes on from `%s` instead.", newest.path)
    return newest.path


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while os.path.lexists(free):
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free


def remove_run(output: Path) -> list[Path]:
    """Delete the checkpoints and the best model of an earlier run; other files are left.

    Returns:
        What was deleted.
    """
    folders = [path for path in [*output.glob(_PATTERN), output / BEST] if _is_ours(path)]
    for path in folders:
        discard(path)
    return folders


def _is_ours(path: Path) -> bool:
    return path.is_dir() and (path / MANIFEST).is_file()


@contextlib.contextmanager
def _telling_what_is_left(output: Path) -> Iterator[None]:
    """Add to an error in saving from where the run can go on."""
    try:
        yield
    except CheckpointError as error:
        left = sorted(path for path in output.glob(_PATTERN) if _is_ours(path))
        newest = max(left, key=lambda path: path.stat().st_mtime, default=None)
        raise CheckpointError(
            f"{error}\nMake room or choose another `output_dir`. "
            + (
                f"`{newest}` is untouched: run the same command again to go on from there."
                if newest
                else "There is no earlier checkpoint."
            )
        ) from error
