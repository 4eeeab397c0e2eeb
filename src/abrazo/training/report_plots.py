"""The plots of a report: inline SVG whose colours and fonts are the page's own.

Matplotlib draws with stand-in colours, which are then replaced by the page's CSS variables, so one
drawing serves light and dark. Text stays text, so that the reader's fonts show every script, and
lengths of labels are estimated here because matplotlib's own font may lack their characters.
"""

import importlib
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from abrazo.metrics.classification import CalibrationBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELLED = 100
"""A confusion matrix of more classes than this has no names along its sides."""

_INKS = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "paper": "#040404",
    "blue": "#050505",
    "orange": "#060606",
    "green": "#070707",
    "violet": "#080808",
    "red": "#090909",
}
_COLOUR = re.compile(r"(fill|stroke): (#0[1-9]0[1-9]0[1-9])")
_NAMES = {colour: f"var(--{name})" for name, colour in _INKS.items()}
SERIES_INKS = ("blue", "orange", "green", "violet", "red")

_MOST_POINTS = 400
_WIDTH = 500.0
_HEIGHT = 230.0
_SMALL_WIDTH = 312.0
_SMALL_HEIGHT = 170.0
_MARGINS = (46.0, 10.0, 8.0, 38.0)  # left, right, top, bottom
_SETTINGS: dict[Any, Any] = {  # matplotlib types its keys as one huge `Literal`
    "svg.fonttype": "none",
    "svg.hashsalt": "abrazo",
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": _INKS["grid"],
    "axes.labelcolor": _INKS["muted"],
    "axes.labelsize": 11,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _INKS["grid"],
    "grid.linewidth": 1,
    "xtick.color": _INKS["grid"],
    "ytick.color": _INKS["grid"],
    "xtick.labelcolor": _INKS["muted"],
    "ytick.labelcolor": _INKS["muted"],
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "ytick.major.size": 0,
    "text.color": _INKS["ink"],
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    ink: str
    has_markers: bool = False


def line_chart(series: Sequence[Series], *, is_small: bool = False) -> str:
    """Return lines over steps as SVG; long ones are thinned to means of neighbours."""

    def draw(axes: "Axes") -> None:
        for line in series:
            x, y = _thinned(line.x, line.y)
            marker = "o" if line.has_markers or len(x) == 1 else ""
            axes.plot(
                x,
                y,
                color=_INKS[line.ink],
                marker=marker,
                markersize=5 if len(x) <= 40 else 3,
                markeredgecolor=_INKS["paper"],
                markeredgewidth=1,
            )
        axes.margins(x=0.02, y=0.08)
        axes.set_xlabel("step")
        axes.locator_params(axis="y", nbins=5)
        axes.locator_params(axis="x", nbins=4 if is_small else 7, integer=True)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("e-0", "e-"))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")

    if is_small:
        return _drawn(draw, _SMALL_WIDTH, _SMALL_HEIGHT, margins=_MARGINS)
    return _drawn(draw, _WIDTH, _HEIGHT, margins=_MARGINS)


@dataclass(frozen=True)
class Dots:
    """Points of one kind in a scatter."""

    name: str
    x: Sequence[float | str]
    y: Sequence[float]
    ink: str


def scatter_chart(
    dots: Sequence[Dots],
    *,
    label: str,
    has_log_scale: bool = False,
    best: Sequence[float] = (),
) -> str:
    """Return points as SVG.

    Args:
        dots: Points by kind, drawn in order; where one's x is a text, all are, and each text has a
            place on the axis.
        label: Of the horizontal axis.
        has_log_scale: Whether orders of magnitude are equally wide.
        best: (n,) a line of steps over 0, 1, ..., n-1: the best so far; NaN where there is none.
    """
    from matplotlib.ticker import LogLocator

    values = [value for kind in dots for value in kind.x]
    has_texts = any(isinstance(value, str) for value in values)
    texts = sorted({str(value) for value in values}) if has_texts else []

    def draw(axes: "Axes") -> None:
        if len(best):
            axes.step(
                range(len(best)), best, where="post", color=_INKS["muted"], linewidth=1.5, zorder=1
            )
        for kind in dots:
            places = [texts.index(str(x)) if has_texts else float(x) for x in kind.x]
            axes.scatter(
                places, kind.y, s=30, color=_INKS[kind.ink], edgecolors=_INKS["paper"], zorder=3
            )
        axes.margins(x=0.06, y=0.1)
        axes.set_xlabel(_shortened(label))
        axes.locator_params(axis="y", nbins=5)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("e-0", "e-"))
        if has_texts:
            axes.set_xticks(range(len(texts)), [_shortened(text, 12) for text in texts])
            return
        numbers = [float(value) for value in values]
        if has_log_scale:
            axes.set_xscale("log")
            is_narrow = max(numbers) < 1000 * min(numbers)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if is_narrow else (1,)))
        else:
            are_whole = all(number.is_integer() for number in numbers)
            axes.locator_params(axis="x", nbins=5, integer=are_whole)
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("e-0", "e-"))

    return _drawn(draw, _WIDTH, _HEIGHT, margins=_MARGINS)


def length_chart(lengths: Mapping[int, int], *, limit: int | None) -> str:
    """Return a histogram of row lengths as SVG.

    Args:
        lengths: Rows by length in tokens.
        limit: The length at which rows are cut, marked by a line.
    """
    values = np.array(sorted(lengths))
    rows = np.array([lengths[value] for value in values.tolist()])
    width = max(1, -(-int(values[-1]) // 60))
    counts = np.bincount(values // width, rows)

    def draw(axes: "Axes") -> None:
        starts = np.arange(len(counts)) * width
        axes.bar(starts, counts, width=width * 0.86, align="edge", color=_INKS["blue"])
        if limit is not None:
            axes.axvline(limit + 1, color=_INKS["orange"], linewidth=1.5, linestyle=(0, (4, 3)))
        axes.margins(x=0.02)
        axes.set_xlabel("tokens")
        axes.locator_params(axis="y", nbins=5)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")

    return _drawn(draw, _WIDTH, _HEIGHT, margins=_MARGINS)


def calibration_chart(bins: Sequence[CalibrationBin]) -> str:
    """Return accuracy over confidence as SVG; on the dashed line the two are equal."""
    filled = [each for each in bins if each.rows]
    most = max(each.rows for each in filled)

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=_INKS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        confidence = [each.confidence for each in filled]
        accuracy = [each.accuracy for each in filled]
        axes.plot(confidence, accuracy, color=_INKS["blue"], linewidth=1.5)
        axes.scatter(
            confidence,
            accuracy,
            s=[20 + 130 * each.rows / most for each in filled],
            color=_INKS["blue"],
            edgecolors=_INKS["paper"],
            zorder=3,
        )
        axes.set_xlim(-0.02, 1.04)
        axes.set_ylim(-0.04, 1.08)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")

    return _drawn(draw, _WIDTH, 330, margins=_MARGINS)


def confusion_chart(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix as SVG: true classes down, predicted ones across.

    Shades are shares of the true class. Counts are written in up to 25 classes, names along the
    sides of up to `MOST_LABELLED`.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    size = len(labels)
    counts = np.array(matrix)
    shade = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))  # rare ones show too
    names = [_shortened(label) for label in labels] if size <= MOST_LABELLED else []
    font = 12.0 if size <= 25 else 9.0
    room = 30 + max((_text_width(name, font) for name in names), default=0)
    largest = 64.0 if size <= 6 else 46.0
    cell = min(largest, max(9.5 if names else 0.0, (960 - room) / size))
    upright = any(_text_width(name, font) > cell - 6 for name in names)
    head = room if upright else 44.0

    def draw(axes: "Axes") -> None:
        there = [(int(row), int(column)) for row, column in np.argwhere(counts)]
        gap = 0.04
        squares = [Rectangle((c + gap / 2, r + gap / 2), 1 - gap, 1 - gap) for r, c in there]
        shades = [
            _with_alpha("blue" if r == c else "orange", 0.05 + 0.95 * shade[r, c]) for r, c in there
        ]
        axes.add_collection(PatchCollection(squares, facecolors=shades, edgecolors="none"))
        if size <= 25:
            for r, c in there:
                ink = _INKS["paper" if shade[r, c] > 0.7 else "ink"]
                text = f"{counts[r, c]:,}"
                small = min(font, 1.5 * cell / max(len(text), 2))
                axes.text(
                    c + 0.5, r + 0.5, text, color=ink, fontsize=small, ha="center", va="center"
                )
        _label_sides(axes, names, font, upright=upright)
        axes.set_xlim(0, size)
        axes.set_ylim(size, 0)
        axes.grid(False)
        for place in (0, size):
            axes.axhline(place, color=_INKS["grid"], linewidth=1)
            axes.axvline(place, color=_INKS["grid"], linewidth=1)

    side = cell * size
    return _drawn(draw, room + side + 6, head + side + 6, margins=(room, 6, head, 6))


def _label_sides(axes: "Axes", names: Sequence[str], font: float, *, upright: bool) -> None:
    """Write `names` to the left of the rows and above the columns."""
    axes.set_xticks([])
    axes.set_yticks([])
    for place, name in enumerate(names):
        axes.annotate(
            name,
            (0, place + 0.5),
            xytext=(-7, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=font,
        )
        axes.annotate(
            name,
            (place + 0.5, 0),
            xytext=(0, 7),
            textcoords="offset points",
            ha="left" if upright else "center",
            va="center" if upright else "bottom",
            rotation=90 if upright else 0,
            rotation_mode="anchor",
            fontsize=font,
        )


def load_library() -> None:
    """Import what `_drawn` needs, which takes a third of a second."""
    importlib.import_module("matplotlib.figure")
    importlib.import_module("matplotlib.backends.backend_svg")


def _drawn(
    draw: "Callable[[Axes], None]",
    width: float,
    height: float,
    *,
    margins: tuple[float, float, float, float],
) -> str:
    """Return what `draw` draws as SVG; all sizes in pixels, margins left, right, top, bottom."""
    import matplotlib
    from matplotlib.figure import Figure

    left, right, top, bottom = margins
    with warnings.catch_warnings(), matplotlib.rc_context(_SETTINGS):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        box = (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - top - bottom) / height,
        )
        axes = figure.add_axes(box)
        draw(axes)
        file = StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    return _for_page(file.getvalue(), width)


def _for_page(svg: str, width: float) -> str:
    """Return the `<svg>` element alone, in the page's colours and fonts and without global ids."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<!--.*?-->", "", element, flags=re.DOTALL)
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    element = _COLOUR.sub(lambda found: f"{found[1]}: {_NAMES[found[2]]}", element)
    element = re.sub(r"<style.*?</style>", "", element, flags=re.DOTALL)  # would hold for the page
    element = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", element)  # up to 3.10
    element = re.sub(r"font-family: [^;\"]*;? ?", "", element)
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        rf'<svg viewBox="\1" style="max-width: {width:.0f}px" role="img">',
        element,
        count=1,
    )


def _thinned(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return at most `_MOST_POINTS` points, each the mean of equally many neighbours."""
    step = -(-len(x) // _MOST_POINTS)
    if step <= 1:
        return list(x), list(y)
    starts = range(0, len(x), step)
    return (
        [float(np.mean(x[start : start + step])) for start in starts],
        [float(np.mean(y[start : start + step])) for start in starts],
    )


def _with_alpha(ink: str, alpha: float) -> tuple[float, float, float, float]:
    level = int(_INKS[ink][1:3], 16) / 255
    return (level, level, level, alpha)


def _shortened(label: str, most: int = 28) -> str:
    """Return a label fit for an axis: one line, printable, at most `most` half-wide characters."""
    shown = "".join(c if c.isprintable() else " " for c in label)
    if _half_widths(shown) <= most:
        return shown
    while _half_widths(shown) > most - 1:
        shown = shown[:-1]
    return shown + "…"


def _half_widths(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _text_width(text: str, font: float) -> float:
    """Return about how wide `text` is in pixels; Chinese characters are as wide as high."""
    return _half_widths(text) * font * 0.6
