"""Whether a run goes on from a checkpoint, and from which."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abrazo.errors import CheckpointError, TrainingError
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MultiTaskModel
from abrazo.training.arguments import TrainingArguments
from abrazo.training.checkpoint import Snapshot, find_checkpoint, load_snapshot, remove_run

logger = logging.getLogger("abrazo")

_INERT = (
    "output_dir",
    "overwrite_output_dir",
    "resume_from_checkpoint",
    "run_name",
    "report_to",
    "logging_dir",
    "disable_tqdm",
    "device",
    "dataloader_num_workers",
    "per_device_eval_batch_size",
    "save_total_limit",
)
"""Settings that may change at any time: they do not touch what is learned."""

_ORDERING = ("seed", "group_by_length")
"""Settings without which the position in the data means nothing."""

_NAMES = {"data": "the training data", "model": "the model's configuration", "loss": "the loss"}


def describe_run(args: TrainingArguments, *, data: str, model: str, loss: str) -> dict[str, Any]:
    """Return what identifies a run: a run goes on only as the run that it is.

    Args:
        args: The settings.
        data: Digest of the training data.
        model: Digest of the model's configuration.
        loss: Name of the loss.
    """
    settings = {name: value for name, value in args.to_dict().items() if name not in _INERT}
    return {"settings": settings, "data": data, "model": model, "loss": loss}


def digest_of_config(model: PretrainedModel) -> str:
    """Return a digest of a model's configuration."""
    parts = [model.part(name) for name in model.names] if isinstance(model, MultiTaskModel) else []
    configs = [part.config.to_hf() for part in (model, *parts)]
    text = json.dumps([type(model).__name__, *configs], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a run starts."""

    folder: Path | None = None
    """The checkpoint it goes on from; None for a new run."""
    snapshot: Snapshot | None = None
    """What was read from it."""
    is_changed: bool = False
    """Whether settings were changed on purpose."""


def find_start(args: TrainingArguments, resume: bool | str | None, run: dict[str, Any]) -> Start:
    """Decide where a run starts.

    Args:
        args: The settings.
        resume: As `TrainingArguments.resume_from_checkpoint`.
        run: What `describe_run` gave.

    Raises:
        TrainingError: The folder holds another run, or one with other settings.
        CheckpointError: There is nothing to go on from although it is asked for, or it is damaged.
    """
    if args.overwrite_output_dir:
        removed = remove_run(args.folder)
        if removed:
            logger.warning("Removed from an earlier run: %s.", ", ".join(map(str, removed)))
        return Start()
    folder = Path(resume).expanduser() if isinstance(resume, str) else find_checkpoint(args.folder)
    if folder is None:
        if resume is True:
            raise CheckpointError(
                f"`{args.folder}` has no whole checkpoint to go on from. Leave "
                "`resume_from_checkpoint` out: a run then goes on if it can, and else starts."
            )
        return Start()
    if resume is False:
        raise TrainingError(
            f"`{args.folder}` holds a run, and `resume_from_checkpoint` is False. Set "
            "`overwrite_output_dir=True` to remove that run, or choose another `output_dir`."
        )
    snapshot = load_snapshot(folder)
    changes = _changes(snapshot.run, run)
    _refuse_another_run(folder, args, changes, is_asked=bool(resume))
    if changes:
        logger.warning("The run goes on with changed settings:\n%s", _listing(changes))
    return Start(folder, snapshot, bool(changes))


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return what differs between two runs, each with a line that says how."""
    old, new = before.get("settings", {}), json.loads(json.dumps(now["settings"]))
    changes = {
        name: f"`{name}` was {old.get(name)!r} and is {value!r}"
        for name, value in new.items()
        if old.get(name) != value
    }
    for name, words in _NAMES.items():
        if before.get(name) != now[name]:
            changes[name] = f"{words} is another"
    return changes


def _refuse_another_run(
    folder: Path, args: TrainingArguments, changes: Mapping[str, str], *, is_asked: bool
) -> None:
    ways_out = "Set `overwrite_output_dir=True` to remove that run, or choose another `output_dir`."
    if "data" in changes or "model" in changes:
        raise TrainingError(f"`{folder}` belongs to another run:\n{_listing(changes)}\n{ways_out}")
    if changes and not is_asked:
        raise TrainingError(
            f"`{args.folder}` holds a run with other settings:\n{_listing(changes)}\n"
            f"Set them back to go on with it, or `resume_from_checkpoint=True` to go on with the "
            f"new ones. {ways_out}"
        )
    ordering = {name: line for name, line in changes.items() if name in _ORDERING}
    if ordering:
        raise TrainingError(
            f"The run in `{folder}` cannot go on in another order of rows:\n{_listing(ordering)}"
        )


def _listing(changes: Mapping[str, str]) -> str:
    return "\n".join(f"  {line}" for line in changes.values())
