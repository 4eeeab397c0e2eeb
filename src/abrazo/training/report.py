"""The report of a run: one HTML file that needs nothing else, for training and for evaluation.

All that comes from data is escaped, and the page's own policy forbids scripts and the network.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from numbers import Integral
from pathlib import Path

from abrazo.metrics.classification import ClassificationDetails
from abrazo.training.report_plots import (
    MOST_LABELLED,
    SERIES_INKS,
    Series,
    calibration_chart,
    confusion_chart,
    length_chart,
    line_chart,
)

_SECRET = re.compile(r"(^|_)(token|password|secret|key)$")
_NOT_FIGURES = ("loss", "runtime", "per_second", "rows", "samples", "steps", "epoch", "step")
_FIRST = ("accuracy", "subset_accuracy", "macro_f1", "r2", "spearman", "pearson", "auc", "loss")
_NUM_CARDS = 5
_MOST_TEXT = 600
_MOST_BARS = 60
_MOST_CONFUSED = 12


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """What one split of the data was like."""

    name: str
    rows: int
    label_counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by label; empty where labels are not classes."""
    token_lengths: Mapping[int, int] = field(default_factory=dict)
    """Rows by length in tokens, before truncation; empty if not counted."""
    max_length: int | None = None
    """The length in tokens at which rows were cut; None if none can be."""
    truncated_rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A row that was predicted wrong."""

    text: str
    label: str
    predicted: str
    score: float
    """Probability of what was predicted."""
    origin: str
    """Where the row is from, for example `dev.csv, row 17`."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A text that the model wrote."""

    text: str
    """What it read."""
    right: str
    """What was wished for."""
    written: str
    score: float | None = None
    """How like they are, if that is known."""
    origin: str = ""
    """Where the row is from."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """All that a report shows; what is empty is left out."""

    title: str
    task: str
    model: str
    started: datetime
    ended: datetime
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings by name; values whose names end in token, password, secret or key are not shown."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Machine, device, precision, versions."""
    data: Sequence[SplitSummary] = ()
    log: Sequence[Mapping[str, float]] = ()
    """What was logged, in order: `step` with `loss`, `learning_rate`, `grad_norm`,
    `rows_per_second`, or with `eval_loss` and the other figures of an evaluation."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The final figures."""
    details: ClassificationDetails | None = None
    mistakes: Sequence[Mistake] = ()
    """The most confidently wrong rows."""
    samples: Sequence[Sample] = ()
    """Some texts that the model wrote."""
    unlike: Sequence[Sample] = ()
    """Texts that are least like those wished for, the least first."""
    unlike_by: str = ""
    """The figure of a row that says so."""
    notes: Sequence[str] = ()
    """Warnings and remarks."""


@dataclass(frozen=True)
class _Chart:
    title: str
    svg: str
    is_small: bool = False
    series: Sequence[tuple[str, str]] = ()
    """Names of lines with their inks."""
    remark: str = ""


def write_report(path: str | Path, report: RunReport) -> None:
    """Write `report` as one HTML file; folders are made as needed.

    Raises:
        OSError: The file cannot be written.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    # a text may hold half a surrogate pair, which has no UTF-8
    file.write_bytes(render_report(report).encode("utf-8", "replace"))


def render_page(template: str, **values: object) -> str:
    """Return a page that needs nothing else, in the style of all reports.

    Args:
        template: Name of a file in `templates`.
        values: What it shows; texts are escaped, drawings pass through its `svg`.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    page = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page.filters |= {
        "figure": _figure,
        "words": _words,
        "clipped": _clipped,
        "setting": _setting,
        "duration": _duration,
    }
    folder = resources.files("abrazo.training") / "templates"
    style = Markup((folder / "report.css").read_text(encoding="utf-8"))
    source = (folder / template).read_text(encoding="utf-8")
    return page.from_string(source).render(style=style, svg=Markup, **values)


def render_report(report: RunReport) -> str:
    """Return `report` as an HTML page."""
    details = report.details
    confusion = details.confusion if details else None
    return render_page(
        "report.html.j2",
        report=report,
        duration=_duration((report.ended - report.started).total_seconds()),
        cards=_cards(report.metrics),
        curves=_curves(report.log),
        labels=_label_rows(report.data),
        lengths=_length_charts(report.data),
        settings=_shown_settings(report.settings),
        confusion=confusion_chart(details.labels, confusion) if details and confusion else "",
        most_labelled=MOST_LABELLED,
        confused=_most_confused(details) if details else [],
        calibration=_calibration(details) if details else None,
        mistakes=sorted(report.mistakes, key=lambda mistake: -mistake.score),
    )


def _cards(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the figures to show large: the best known first."""
    by_name = {name.removeprefix("eval_"): value for name, value in metrics.items()}
    names = [name for name in _FIRST if name in by_name]
    names += [name for name in by_name if name not in names and not name.endswith(_NOT_FIGURES)]
    return [(name, by_name[name]) for name in names[:_NUM_CARDS]]


def _curves(log: Sequence[Mapping[str, float]]) -> list[_Chart]:
    """Return the charts of a training run; none where nothing was logged."""
    charts = [
        _chart(log, "Loss", {"loss": "training", "eval_loss": "evaluation"}),
        _chart(log, "Evaluation", {key: _words(key) for key in _figures_up_to(1, log)}),
        _chart(log, "Evaluation, of 100", {key: _words(key) for key in _figures_up_to(100, log)}),
        _chart(log, "Learning rate", {"learning_rate": ""}, is_small=True),
        _chart(log, "Gradient norm", {"grad_norm": ""}, is_small=True),
        _chart(log, "Rows per second", {"rows_per_second": ""}, is_small=True),
    ]
    return [chart for chart in charts if chart is not None]


def _chart(
    log: Sequence[Mapping[str, float]],
    title: str,
    names: Mapping[str, str],
    *,
    is_small: bool = False,
) -> _Chart | None:
    """Return the chart of what is logged under the keys of `names`."""
    lines = []
    for ink, (key, name) in zip(SERIES_INKS, names.items(), strict=False):
        points = [(entry["step"], entry[key]) for entry in log if key in entry and "step" in entry]
        points = [(step, value) for step, value in points if math.isfinite(value)]
        if points:
            steps, values = zip(*points, strict=True)
            lines.append(Series(name, steps, values, ink, has_markers=key.startswith("eval_")))
    if not lines:
        return None
    shown = [(line.name, line.ink) for line in lines] if len(names) > 1 else []
    return _Chart(title, line_chart(lines, is_small=is_small), is_small, shown)


def _figures_up_to(most: int, log: Sequence[Mapping[str, float]]) -> list[str]:
    """Return up to four logged figures of evaluation that share a scale, that up to 1 or to 100."""
    values: dict[str, list[float]] = {}
    for entry in log:
        for key, value in entry.items():
            if key.startswith("eval_") and not key.endswith(_NOT_FIGURES):
                values.setdefault(key, []).append(value)
    largest = {
        key: max((abs(v) for v in seen if v == v), default=0) for key, seen in values.items()
    }
    fit = [key for key, value in largest.items() if most == (1 if value <= 1 else 100) >= value]
    known = [f"eval_{name}" for name in _FIRST if f"eval_{name}" in fit]
    return [*known, *(key for key in fit if key not in known)][:4]


def _label_rows(
    data: Sequence[SplitSummary],
) -> list[tuple[str, list[tuple[int, float]]]]:
    """Return for each label its rows in each split, and these as share of the split's largest."""
    labels = list(dict.fromkeys(label for split in data for label in split.label_counts))
    largest = [max(split.label_counts.values(), default=0) or 1 for split in data]
    rows = [
        (
            label,
            [
                (split.label_counts.get(label, 0), split.label_counts.get(label, 0) / most)
                for split, most in zip(data, largest, strict=True)
            ],
        )
        for label in labels
    ]
    if len(rows) > _MOST_BARS:
        rows.sort(key=lambda row: -sum(count for count, _ in row[1]))
    return rows


def _length_charts(data: Sequence[SplitSummary]) -> list[_Chart]:
    charts = []
    for split in data:
        if not any(split.token_lengths.values()):
            continue
        remark = " · ".join(
            f"{name} {_quantile(split.token_lengths, share):,}"
            for name, share in (("median", 0.5), ("95 %", 0.95), ("99 %", 0.99), ("longest", 1.0))
        )
        if split.max_length is not None:
            remark += f" · cut at {split.max_length:,}"
        svg = length_chart(split.token_lengths, limit=split.max_length)
        charts.append(_Chart(f"Tokens per row, {split.name}", svg, remark=remark))
    return charts


def _quantile(lengths: Mapping[int, int], share: float) -> int:
    """Return the least length that at least `share` of the rows do not exceed."""
    needed = share * sum(lengths.values())
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= needed:
            return length
    return max(lengths)


def _most_confused(details: ClassificationDetails) -> list[tuple[str, str, int, float]]:
    """Return true class, predicted class, rows and share of the true class, most rows first."""
    pairs = [
        (details.labels[true], details.labels[predicted], rows, rows / sum(row))
        for true, row in enumerate(details.confusion or ())
        for predicted, rows in enumerate(row)
        if rows and true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:_MOST_CONFUSED]


def _calibration(details: ClassificationDetails) -> _Chart | None:
    if not any(each.rows for each in details.calibration):
        return None
    remark = "On the dashed line, confidence is as good as it says. Larger dots are more rows."
    return _Chart("Calibration", calibration_chart(details.calibration), remark=remark)


def _shown_settings(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    return [
        (
            name,
            "not shown" if _SECRET.search(name) and value else "–" if value is None else str(value),
        )
        for name, value in settings.items()
    ]


def _figure(value: float | None) -> str:
    """Return a number for reading: whole ones in groups of three, others to four digits."""
    if value is None or math.isnan(value):
        return "–"
    if isinstance(value, Integral) or math.isinf(value):
        return f"{value:,}"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.2f}"


def _setting(value: object) -> str:
    """Return a setting's value for reading: floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return name.removeprefix("eval_").replace("_", " ")


def _clipped(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + " …"


def _duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
