"""Writes the report of a run: curves, figures, settings, and the rows that are got most wrong."""

import datetime
import logging
import os
import platform
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from abrazo.metrics.classification import ClassificationDetails
from abrazo.training.callbacks.base import Callback

if TYPE_CHECKING:
    from abrazo.inference.evaluation import Evaluation
    from abrazo.training.report import Mistake, Sample, SplitSummary
    from abrazo.training.trainer import Trainer

logger = logging.getLogger("abrazo")

REPORT_FILE = "report.html"


class HtmlReportCallback(Callback):
    """Writes `report.html` into the run's folder at the end of training."""

    def __init__(self) -> None:
        self._started = ""

    def on_train_start(self, trainer: "Trainer") -> None:
        """Note when the run began, unless it goes on."""
        if not self._started:
            self._started = _now().isoformat()

    def on_train_end(self, trainer: "Trainer") -> None:
        """Write the report."""
        from abrazo.training.report import RunReport, write_report

        evaluation = trainer.evaluation_to_show()
        figures = dict(evaluation.metrics) if evaluation else {}
        path = trainer.args.folder / REPORT_FILE
        write_report(
            path,
            RunReport(
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
                mistakes=_mistakes(trainer, evaluation),
                samples=_samples(trainer, evaluation),
                notes=trainer.notes,
            ),
        )
        logger.info("The report of the run is `%s`.", path)

    def state_dict(self) -> dict[str, Any]:
        """Return when the run began."""
        return {"started": self._started}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over when the run began."""
        self._started = str(state["started"])


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


def _mistakes(trainer: "Trainer", evaluation: "Evaluation | None") -> "list[Mistake]":
    from abrazo.training.report import Mistake

    source = trainer.eval_source
    if evaluation is None or source is None:
        return []
    return [
        Mistake(
            text=_text_of(source.rows([wrong.number])[0], trainer),
            label=wrong.label,
            predicted=wrong.predicted,
            score=wrong.score,
            origin=source.origin(wrong.number),
        )
        for wrong in evaluation.wrong
    ]


def _samples(trainer: "Trainer", evaluation: "Evaluation | None") -> "list[Sample]":
    from abrazo.training.report import Sample

    source = trainer.eval_source
    if evaluation is None or source is None:
        return []
    return [
        Sample(
            text=_source_of(source.rows([sample.number])[0], trainer),
            right=sample.right,
            written=sample.written,
        )
        for sample in evaluation.samples
    ]


def _source_of(row: Mapping[str, Any], trainer: "Trainer") -> str:
    """Return what a row gives to read."""
    column = str(getattr(trainer.task.settings, "source_column", None))
    return str(row[column]) if column in row else _text_of(row, trainer)


def _text_of(row: Mapping[str, Any], trainer: "Trainer") -> str:
    """Return a row's texts; of tokenised rows, the text that their ids stand for."""
    if "input_ids" in row:
        ids = [int(number) for number in _flat(row["input_ids"])]
        return str(trainer.tokenizer.decode(ids, skip_special_tokens=True))
    hidden = getattr(trainer.task.settings, "label_column", None)
    texts = [value for name, value in row.items() if isinstance(value, str) and name != hidden]
    return " | ".join(texts)


def _flat(values: Any) -> list[Any]:
    import numpy as np

    return list(np.asarray(values).reshape(-1))
