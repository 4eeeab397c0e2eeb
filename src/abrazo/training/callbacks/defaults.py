"""The callbacks that every run has, and those that settings add."""

from collections.abc import Callable

from abrazo.training.arguments import TrainingArguments
from abrazo.training.callbacks.base import Callback
from abrazo.training.callbacks.html_report import HtmlReportCallback
from abrazo.training.callbacks.jsonl import JsonlCallback
from abrazo.training.callbacks.progress import ProgressCallback
from abrazo.training.callbacks.signals import SignalCallback
from abrazo.training.callbacks.tensorboard import TensorBoardCallback

REPORTERS: dict[str, Callable[[], Callback]] = {"tensorboard": TensorBoardCallback}
"""What `report_to` may name."""


def default_callbacks(args: TrainingArguments) -> list[Callback]:
    """Return the callbacks of a run, in the order they are called.

    Raises:
        MissingExtraError: `report_to` names something that is not installed.
    """
    progress: list[Callback] = [] if args.disable_tqdm else [ProgressCallback()]
    reporters = [REPORTERS[name]() for name in args.report_to]
    return [SignalCallback(), *progress, JsonlCallback(), *reporters, HtmlReportCallback()]
