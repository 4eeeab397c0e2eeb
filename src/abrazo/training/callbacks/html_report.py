"""Writes the report of a run: curves, figures, settings, and the rows that are got most wrong."""

import datetime
import logging
import os
import platform
import threading
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from abrazo.metrics.classification import ClassificationDetails
from abrazo.training.callbacks.base import Callback

if TYPE_CHECKING:
    from abrazo.inference.evaluation import Evaluation
    from abrazo.training.report import SplitSummary
    from abrazo.training.state import LogEntry
    from abrazo.training.trainer import Trainer

logger = logging.getLogger("abrazo")

REPORT_FILE = "report.html"


class HtmlReportCallback(Callback):
    """Writes `report.html` into the run's folder at the end of training."""

    def __init__(self) -> None:
        self._started = ""
        self._loading: threading.Thread | None = None

    def on_train_start(self, trainer: "Trainer") -> None:
        """Note when the run began, unless it goes on."""
        if not self._started:
            self._started = _now().isoformat()

    def on_log(self, trainer: "Trainer", entry: "LogEntry") -> None:
        """Load what draws curves while the end of the run is saved, which waits for the disk."""
        if "train_runtime" in entry:
            self._loading = threading.Thread(target=_load_plots, daemon=True)
            self._loading.start()

    def on_train_end(self, trainer: "Trainer") -> None:
        """Write the report."""
        if self._loading is not None:
            self._loading.join()
            self._loading = None
        from abrazo.training.report import RunReport, write_report
        from abrazo.training.report_rows import with_rows

        evaluation, rows = trainer.evaluation_to_show(), trainer.eval_source
        figures = dict(evaluation.metrics) if evaluation else {}
        path = trainer.args.folder / REPORT_FILE
        report = RunReport(
            title=trainer.args.run_name or trainer.args.folder.absolute().name,
            task=trainer.task.name,
            model=type(trainer.model).__name__,
            started=datetime.datetime.fromisoformat(self._started),
            ended=_now(),
            settings=trainer.args.to_dict(),
            environment=_environment(trainer),
            data=_splits(trainer, evaluation),
            log=[_numbers(entry) for entry in trainer.state.log_history],
            metrics={"train_loss": trainer.state.train_loss, **figures},
            details=_details(evaluation),
            notes=trainer.notes,
        )
        if evaluation is not None and rows is not None:
            report = with_rows(report, evaluation, rows, trainer.task, trainer.tokenizer)
        write_report(path, report)
        logger.info("The report of the run is `%s`.", path)

    def state_dict(self) -> dict[str, Any]:
        """Return when the run began."""
        return {"started": self._started}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over when the run began."""
        self._started = str(state["started"])


def _load_plots() -> None:
    from abrazo.training.report_plots import load_library

    load_library()


def _now() -> datetime.datetime:
    return datetime.datetime.now().astimezone()


def _environment(trainer: "Trainer") -> dict[str, str]:
    packages = ("abrazo", "torch", "tokenizers", "numpy")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return {
        "device": trainer.strategy.describe(),
        "processors": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def _numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in entry.items() if isinstance(value, int | float)}


def _details(evaluation: "Evaluation | None") -> ClassificationDetails | None:
    details = evaluation.details if evaluation else None
    return details if isinstance(details, ClassificationDetails) else None


def _splits(trainer: "Trainer", evaluation: "Evaluation | None") -> "list[SplitSummary]":
    from abrazo.training.report import SplitSummary

    summary = trainer.feeder.summary()
    limit = trainer.task.settings.max_length
    labels = trainer.model.config.labels
    splits = [
        SplitSummary(
            name="training",
            rows=len(trainer.feeder),
            label_counts={
                labels[number]: count
                for number, count in sorted(summary.classes.items())
                if number < len(labels)
            },
            token_lengths=summary.lengths,
            max_length=limit,
            truncated_rows=trainer.feeder.num_truncated,
        )
    ]
    if evaluation is not None:
        details = _details(evaluation)
        counts = Counter[str]()
        if details is not None and details.confusion is not None:
            counts.update(
                {
                    label: sum(row)
                    for label, row in zip(details.labels, details.confusion, strict=True)
                }
            )
        splits.append(
            SplitSummary(
                name="evaluation",
                rows=evaluation.num_rows,
                label_counts=counts,
                max_length=limit,
                truncated_rows=evaluation.num_truncated,
            )
        )
    return splits
