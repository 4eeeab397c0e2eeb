"""The report of a search: how it went, what each hyper-parameter does, and all trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from abrazo.checkpoints.atomic import atomic_file
from abrazo.training.report import render_page
from abrazo.training.report_plots import Dots, scatter_chart

COMPLETED = "completed"

_MOST_MAGNITUDES = 10
"""Positive numbers whose greatest is more than this times the least are drawn on a log scale."""


@dataclass(frozen=True, kw_only=True)
class TrialSummary:
    """What became of a trial."""

    number: int
    """From 0."""
    state: str
    """completed, pruned, failed, broken off or to come."""
    value: float | None
    """Its best figure; None unless it was completed."""
    hyperparameters: Mapping[str, object]
    """Its settings, as far as they were searched."""
    seconds: float | None
    """How long it took."""
    reason: str = ""
    """Why it failed, if so."""


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """All that the report of a search shows."""

    title: str
    model: str
    metric: str
    """The figure searched by."""
    direction: Literal["max", "min"]
    """Whether the greatest or the least is best."""
    trials: Sequence[TrialSummary]


@dataclass(frozen=True)
class _Chart:
    title: str
    svg: str


def write_search_report(path: Path, report: SearchReport) -> None:
    """Write `report` as one HTML file.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as place:
        # a value may hold half a surrogate pair, which has no UTF-8
        place.write_bytes(render_search_report(report).encode("utf-8", "replace"))


def render_search_report(report: SearchReport) -> str:
    """Return `report` as an HTML page."""
    names = list(dict.fromkeys(name for trial in report.trials for name in trial.hyperparameters))
    done = [trial for trial in report.trials if trial.value is not None]
    sign = -1 if report.direction == "max" else 1
    done.sort(key=lambda trial: (sign * (trial.value or 0.0), trial.number))
    rest = [trial for trial in report.trials if trial.value is None]
    counts = {"trials": len(report.trials)}
    for trial in report.trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    return render_page(
        "search.html.j2",
        report=report,
        best=done[0] if done else None,
        names=names,
        counts=counts,
        charts=[_history(report), *(_scatter(done, name) for name in names)] if done else [],
        rows=[*done, *rest],
    )


def _history(report: SearchReport) -> _Chart:
    """Return the figures of trials in order, and the best so far as a line."""
    choose = max if report.direction == "max" else min
    best: list[float] = []
    for trial in sorted(report.trials, key=lambda trial: trial.number):
        known = [value for value in (*best[-1:], trial.value) if value is not None]
        known = [value for value in known if not math.isnan(value)]
        best.append(choose(known) if known else math.nan)
    done = [trial for trial in report.trials if trial.value is not None]
    dots = Dots(
        "trials",
        [trial.number for trial in done],
        [trial.value for trial in done if trial.value is not None],
        "blue",
    )
    return _Chart(
        f"{report.metric} of each trial, and the best so far",
        scatter_chart([dots], label="trial", best=best),
    )


def _scatter(ranked: Sequence[TrialSummary], name: str) -> _Chart:
    """Return the figures of trials over one hyper-parameter; the best is marked."""
    points = [
        (_place(trial.hyperparameters[name]), trial.value)
        for trial in ranked
        if name in trial.hyperparameters and trial.value is not None
    ]
    kinds = [("trials", points[1:], "blue"), ("best", points[:1], "orange")]
    dots = [Dots(kind, [x for x, _ in at], [y for _, y in at], ink) for kind, at, ink in kinds]
    numbers = [x for x, _ in points if not isinstance(x, str)]
    is_wide = len(numbers) == len(points) and bool(numbers) and min(numbers) > 0
    has_log_scale = is_wide and max(numbers) / min(numbers) > _MOST_MAGNITUDES
    svg = scatter_chart([kind for kind in dots if kind.x], label=name, has_log_scale=has_log_scale)
    return _Chart(name.replace("_", " "), svg)


def _place(value: object) -> float | str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return str(value)
